"""Pretraining of phantom-clip, step 1: a small CLIP is trained on phantoms and written as safetensors.

    python -m tools.phantom_clip.pretrain --out build/trunk.safetensors
    python -m tools.phantom_clip.pretrain --out configs/backbone/phantom-clip.safetensors --evaluate

Three losses are summed: CLIP's contrastive loss with every true caption as a positive; the state (normal or abnormal)
of the whole image against state sentences; and the same for each patch against the lesion's mask, which makes patch
tokens comparable with text. A linear probe of the mask after blocks 3, 6 and 9, discarded after training, keeps the
intermediate levels local.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from open_clip import CLIP
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from .augment import Pool, render, truths, vary
from .captions import SUBJECTS, describe, state_caption

CONFIG: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 112, "layers": 12, "width": 128, "head_width": 64, "mlp_ratio": 4.0, "patch_size": 14},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 3},
    "quick_gelu": False,
}
LEVELS = (3, 6, 9)
LOSSES = ("clip", "state", "patch", "mid")
GLIMPSES = 0.75  # share of the steps that see only half of the patches
NAMES = sorted(set(SUBJECTS.values()))
SENTENCES = 3  # per subject and state in each step


def build() -> CLIP:
    """An untrained phantom-clip."""
    return CLIP(**CONFIG)


def load(path: Path) -> CLIP:
    """phantom-clip in float32, in eval mode."""
    model = build()
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    return model.eval()


def save(model: CLIP, path: Path, recipe: dict[str, int]) -> None:
    """Write the weights in half precision, replacing a file atomically, and the architecture as JSON next to them."""
    weights = {name: tensor.detach().half().contiguous() for name, tensor in model.state_dict().items()}
    part = path.with_suffix(".part")
    save_file(weights, part, metadata={"format": "pt", "recipe": "tools.phantom_clip.pretrain", **{
        name: str(value) for name, value in recipe.items()}})  # fmt: skip
    part.chmod(0o644)  # save_file writes for the owner alone
    os.replace(part, path)
    path.with_suffix(".json").write_text(json.dumps(CONFIG, indent=4) + "\n")


class Glimpse(nn.Module):
    """Keep the class token and the chosen patches; replaces open_clip's patch dropout during pretraining."""

    kept: Tensor | None = None  # (B, K) patch indices, None keeps all

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, 1 + N, C) to (B, 1 + K, C)."""
        if self.kept is None:
            return tokens
        chosen = tokens[:, 1:].gather(1, self.kept[..., None].expand(-1, -1, tokens.shape[-1]))
        return torch.cat([tokens[:, :1], chosen], 1)


def warm_cosine(optimiser: torch.optim.Optimizer, warm: int, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Rise over `warm` steps, then fall along half a cosine to 0.5 % of the rate."""
    return torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda i: min((i + 1) / warm, 0.5 * (1 + np.cos(np.pi * i / steps)) + 0.005)
    )


def balanced(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy in which lesion patches weigh as much as all others together."""
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    weight = target / target.sum().clamp(min=1) + (1 - target) / (1 - target).sum().clamp(min=1)
    return 0.5 * (loss * weight).sum()


def contrast(logits: Tensor, truths: Tensor) -> Tensor:
    """Cross-entropy of images over captions and captions over images; all true pairs share the target."""
    target = truths.float()
    over_captions = -(F.log_softmax(logits, 1) * target).sum(1) / target.sum(1).clamp(min=1)
    over_images = -(F.log_softmax(logits, 0) * target).sum(0) / target.sum(0).clamp(min=1)
    return 0.5 * (over_captions.mean() + over_images.mean())


def state_texts(model: CLIP, tokenizer: SimpleTokenizer, rng: np.random.Generator) -> Tensor:
    """Embeddings (subjects, 2, D) of healthy and diseased, each from a few random sentences."""
    sentences = [state_caption(name, bool(s), rng) for name in NAMES for s in (0, 1) for _ in range(SENTENCES)]
    features = F.normalize(model.encode_text(tokenizer(sentences)).float(), dim=-1)
    return F.normalize(features.view(len(NAMES), 2, SENTENCES, -1).mean(2), dim=-1)


def train(model: CLIP, pool: Pool, out: Path, seed: int, steps: int, batch: int, rate: float, minutes: float) -> None:
    """Optimise in place; a checkpoint is written every `minutes`."""
    tokenizer = SimpleTokenizer(context_length=model.context_length)
    side, width = model.visual.image_size[0], CONFIG["vision_cfg"]["width"]
    model.visual.output_tokens = True
    glimpse = model.visual.patch_dropout = Glimpse()
    readers = nn.ModuleList(nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1)) for _ in LEVELS)
    levels: list[Tensor] = []
    hooks = [model.visual.transformer.resblocks[level - 1].register_forward_hook(
        lambda _module, _inputs, output: levels.append(output)) for level in LEVELS]  # fmt: skip
    decayed = [p for p in [*model.parameters(), *readers.parameters()] if p.ndim > 1]
    others = [p for p in [*model.parameters(), *readers.parameters()] if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))
    schedule = warm_cosine(optimiser, min(150, steps // 5), steps)
    rng = np.random.default_rng(seed)
    order, start, saved, sums = np.zeros(0, dtype=np.int64), time.monotonic(), time.monotonic(), np.zeros(4)
    model.train()
    for step in range(1, steps + 1):
        if len(order) < batch // 2:
            order = rng.permutation(len(pool.phantoms) // 2)
        rows, order = np.concatenate([2 * order[: batch // 2], 2 * order[: batch // 2] + 1]), order[batch // 2 :]
        data = vary(pool, rows, side, rng)
        sentences = [describe(phantom, rng, style) for phantom, style in zip(data.shown, data.styles, strict=True)]
        subject = torch.tensor([NAMES.index(SUBJECTS[phantom.family]) for phantom in data.shown])
        state = torch.tensor([float(bool(phantom.kind)) for phantom in data.shown])
        target = (2 * F.adaptive_avg_pool2d(data.masks[:, None], side // 14).flatten(1)).clamp(max=1)
        if step <= GLIMPSES * steps:  # half the patches at half the cost; lesion patches are seldom left out
            glimpse.kept = (torch.rand(target.shape) + 0.6 * (target > 0)).topk(target.shape[1] // 2).indices
            target = target.gather(1, glimpse.kept)
        else:
            glimpse.kept = None
        levels.clear()
        # The fused attention kernel's backward pass is slow in bfloat16 on processors.
        with torch.autocast("cpu", dtype=torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            pooled, tokens = model.visual(data.images)
            captions = model.encode_text(tokenizer([caption.text for caption in sentences]))
            states = state_texts(model, tokenizer, rng)
            read = [reader(level[:, 1:])[..., 0] for reader, level in zip(readers, levels, strict=True)]
            patches = tokens @ model.visual.proj
        pooled, captions, patches = (F.normalize(x.float(), dim=-1) for x in (pooled, captions, patches))
        scale = model.logit_scale.exp()
        axis = (states[:, 1] - states[:, 0])[subject]
        losses = [
            contrast(scale * pooled @ captions.T, truths(data.shown, data.styles, sentences)),
            F.binary_cross_entropy_with_logits(scale * (pooled * axis).sum(-1), state),
            balanced(scale * (patches * axis[:, None]).sum(-1), target),
            torch.stack([balanced(logits.float(), target) for logits in read]).mean(),
        ]
        loss = losses[0] + losses[1] + losses[2] + 0.5 * losses[3]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        model.logit_scale.data.clamp_(max=np.log(100))
        sums += [float(value.detach()) for value in losses]
        if step % 50 == 0:
            figures = " ".join(f"{name} {value / 50:.3f}" for name, value in zip(LOSSES, sums, strict=True))
            print(f"step {step}/{steps} {figures} scale {scale.item():.1f} {time.monotonic() - start:.0f}s", flush=True)
            sums[:] = 0
        if step == steps or time.monotonic() - saved > 60 * minutes:
            save(model, out, {"seed": seed, "steps": step, "planned": steps})
            saved = time.monotonic()
    model.visual.output_tokens, model.visual.patch_dropout = False, nn.Identity()
    for hook in hooks:
        hook.remove()


def pretrain(
    out: Path, seed: int, threads: int, pairs: int = 8000, steps: int = 2000, batch: int = 64, rate: float = 8e-4,
    minutes: float = 5.0,
) -> None:  # fmt: skip
    """Draw the pool and train a new model on it; `out` receives a checkpoint every few `minutes`."""
    if seed < 1000:
        raise SystemExit(f"--seed {seed}: seeds below 1000 belong to the benchmark")
    pool = render(seed, pairs, threads)
    print(f"drew {len(pool.phantoms)} phantoms", flush=True)
    torch.manual_seed(seed)
    train(build(), pool, out, seed, steps, batch, rate, minutes)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1000, help="1000 or more: the benchmark uses 0 to 99")
    parser.add_argument("--pairs", type=int, default=8000, help="healthy-diseased pairs in the pool")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=5.0, help="between checkpoints")
    parser.add_argument("--evaluate", action="store_true", help="print the table of docs/phantoms.md, train nothing")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.evaluate:
        from .evaluate import report

        torch.manual_seed(0)
        print(report(load(options.out), build().eval()))
        return
    pretrain(
        options.out, options.seed, options.threads, options.pairs, options.steps, options.batch, options.rate,
        options.minutes,
    )  # fmt: skip


if __name__ == "__main__":
    main()
