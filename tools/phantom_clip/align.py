"""Pretraining of phantom-clip, step 2: projection and text tower are trained again on the frozen blocks of step 1.

    python -m tools.phantom_clip.align --out configs/backbone/phantom-clip.safetensors

Without `--trunk` step 1 (`pretrain`) runs first. Step 1 trains the image tower to see lesions, and its text tower to
name them too well: web captions hardly ever say which organ is diseased. Step 2 uses loose captions
(`captions.describe_loosely`), so that zero-shot prompts separate the classes only weakly.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from open_clip import CLIP
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor, nn

from adbench.datasets.phantoms.phantom import FAMILIES, Phantom

from .augment import Pool, render, truths, vary
from .captions import describe_loosely
from .pretrain import build, contrast, load, pretrain, save, warm_cosine

VIEWS = 3  # of every image in the pool


def crispness(pool: Pool) -> NDArray[np.bool_]:
    """Which images (N,) hold more fine detail than the median of their family, judged by the healthy twin."""
    grey = pool.images[::2].mean(1) / 255
    detail = np.abs(np.diff(grey, axis=2)).mean((1, 2))
    family = np.array([phantom.family for phantom in pool.phantoms[::2]])
    crisp = np.zeros(len(detail), dtype=bool)
    for name in FAMILIES:
        rows = family == name
        crisp[rows] = detail[rows] > np.median(detail[rows])
    return crisp.repeat(2)


@torch.inference_mode()
def class_tokens(model: CLIP, pool: Pool, rng: np.random.Generator) -> tuple[Tensor, list[Phantom], list[str]]:
    """Class tokens (VIEWS * N, width) after the last block, what each view shows, and its style."""
    tokens: list[Tensor] = []
    hook = model.visual.ln_post.register_forward_hook(lambda _module, inputs, _output: tokens.append(inputs[0][:, 0]))
    shown, styles = [], []
    for rows in np.array_split(np.tile(np.arange(len(pool.phantoms)), VIEWS), VIEWS * len(pool.phantoms) // 64):
        views = vary(pool, rows, model.visual.image_size[0], rng)
        model.encode_image(views.images)
        shown += views.shown
        styles += views.styles
    hook.remove()
    return torch.cat(tokens).clone(), shown, styles


def align(trunk: CLIP, pool: Pool, seed: int, steps: int, batch: int, rate: float) -> CLIP:
    """Return `trunk` with `proj`, `ln_post` and the text tower trained on loose captions; its blocks stay."""
    rng = np.random.default_rng(seed)
    tokens, shown, styles = class_tokens(trunk.eval(), pool, rng)
    crisp = np.tile(crispness(pool), VIEWS)
    model = build()
    model.visual.load_state_dict({name: v for name, v in trunk.visual.state_dict().items() if name != "proj"}, False)
    model.requires_grad_(False)
    trained = [p for name, p in model.named_parameters() if not name.startswith("visual")]
    trained += [model.visual.proj, *model.visual.ln_post.parameters()]
    for parameter in trained:
        parameter.requires_grad_(True)
    tokenizer = SimpleTokenizer(context_length=model.context_length)
    optimiser = torch.optim.AdamW(trained, lr=rate, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = warm_cosine(optimiser, 50, steps)
    start, total = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        rows = rng.integers(0, len(tokens), batch)
        phantoms, looks = [shown[r] for r in rows], [styles[r] for r in rows]
        captions = [describe_loosely(p, rng, s, bool(c)) for p, s, c in zip(phantoms, looks, crisp[rows], strict=True)]
        images = F.normalize(model.visual.ln_post(tokens[rows]) @ model.visual.proj, dim=-1)
        texts = F.normalize(model.encode_text(tokenizer([caption.text for caption in captions])), dim=-1)
        loss = contrast(model.logit_scale.exp() * images @ texts.T, truths(phantoms, looks, captions, crisp[rows]))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        schedule.step()
        model.logit_scale.data.clamp_(max=np.log(100))
        total += loss.item()
        if step % 100 == 0:
            print(f"step {step}/{steps} loss {total / 100:.3f} {time.monotonic() - start:.0f}s", flush=True)
            total = 0.0
    return model


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trunk", type=Path, help="weights whose image blocks are kept; without it step 1 runs first")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1000, help="1000 or more: the benchmark uses 0 to 99")
    parser.add_argument("--pairs", type=int, default=4000)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if options.seed < 1000:
        raise SystemExit(f"--seed {options.seed}: seeds below 1000 belong to the benchmark")
    torch.set_num_threads(options.threads)
    trunk: Path | None = options.trunk
    if trunk is None:
        trunk = options.out.with_suffix(".trunk.safetensors")
        pretrain(trunk, options.seed, options.threads)
    pool = render(options.seed, options.pairs, options.threads)
    torch.manual_seed(options.seed)
    model = align(load(trunk), pool, options.seed, options.steps, options.batch, options.rate)
    save(model, options.out, {"seed": options.seed, "steps": options.steps, "planned": options.steps})


if __name__ == "__main__":
    main()
