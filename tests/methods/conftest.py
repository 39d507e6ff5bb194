"""A toy support and a way to fit any registered method on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from adbench.backbone.build import build
from adbench.backbone.config import BackboneConfig
from adbench.backbone.contract import Backbone
from adbench.config import layers
from adbench.config import words as config
from adbench.data.items import DatasetConfig
from adbench.method import Batch, Method, Support
from adbench.plugins import registry
from adbench.scoring.score import show_test_images
from adbench.training.fit import fit


def toy_support(masks: bool = True, shots: int = 3) -> Support:
    """Smooth noise; the abnormal ones carry a bright square."""
    g = torch.Generator().manual_seed(7)
    coarse = torch.rand(2 * shots, 1, 8, 8, generator=g)
    images = torch.nn.functional.interpolate(coarse, size=(112, 112), mode="bilinear").expand(-1, 3, -1, -1) * 0.6
    labels = torch.tensor([0] * shots + [1] * shots)
    where = torch.zeros(2 * shots, 112, 112, dtype=torch.bool)
    for i in range(shots, 2 * shots):
        where[i, 20 + 8 * i : 48 + 8 * i, 30:60] = True
    images = torch.where(where[:, None], torch.ones(()), images)
    n = 2 * shots
    return Support(
        (images * 255).to(torch.uint8).contiguous(),
        labels,
        where if masks else torch.zeros_like(where),
        torch.full((n,), masks),
        tuple(f"valid/{i}" for i in range(n)),
        ("brainmri",) * n,
        ("Brain",) * n,
    )


def of_class(support: Support, classes: tuple[int, ...]) -> Support:
    """Keep the images of some classes."""
    keep = [i for i, label in enumerate(support.labels.tolist()) if label in classes]
    rows = {
        f.name: (value[keep] if isinstance(value, torch.Tensor) else tuple(value[i] for i in keep))
        for f in dataclasses.fields(support)
        for value in [getattr(support, f.name)]
    }
    return Support(**rows)


@dataclasses.dataclass
class Bench:
    """Build, fit and score methods on one backbone."""

    backbone: Backbone

    def new(self, name: str, seed: int = 0, **params: object) -> Method:
        """Return an untrained method, its generators seeded as the harness does."""
        words = [f"method={name}", *(f"method.{key}={value}" for key, value in params.items())]
        (run,) = config.parse(words)
        method_class = registry.find("method", name).load()
        resolved = layers.method_params(method_class.Params, run.method, run.schedule, run.words("method"))
        torch.manual_seed(seed)
        method: Method[Any] = method_class.create(resolved, self.backbone, seed)
        return method

    def fitted(self, name: str, support: Support | None = None, seed: int = 0, **params: object) -> Method:
        """Return a method fitted on what it can use of the toy support."""
        method = self.new(name, seed, **params)
        (run,) = config.parse([])
        fit(method, self.usable(method, support or toy_support()), run, torch.device("cpu"))
        return method

    def usable(self, method: Method, support: Support) -> Support:
        """Return the part of a support that a method learns from, by class."""
        return of_class(support, {"none": (), "normal": (0,), "both": (0, 1)}[self.capability(method).support])

    def capability(self, method: Method) -> Any:
        """Return what a method declares."""
        return method.declared

    def observed(self, method: Method, images: torch.Tensor, precision: str = "32-true") -> Method:
        """Return the method after a look at all uint8 images (N, 3, H, W), where it is transductive."""
        if self.capability(method).transductive:
            pixels = images.permute(0, 2, 3, 1).numpy()
            show_test_images(method, pixels, "brainmri", "Brain", 4, precision)
        return method

    def batch(self, method: Method, images: torch.Tensor) -> Batch:
        """Return uint8 images as scoring sees them."""
        return Batch.of(method, images, "brainmri", "Brain")


@pytest.fixture(scope="session")
def bench(random_clip: Backbone) -> Bench:
    return Bench(random_clip)


@pytest.fixture(scope="session")
def cnn_bench() -> Bench:
    """A ResNet-18 with random weights at 112 px: stages 1, 2, 3 are 28, 14 and 7 positions wide."""
    facts: BackboneConfig = layers.section(BackboneConfig, "backbone", "resnet-18")
    facts.weights = "random"
    return Bench(build("resnet-18", facts, 112))


@pytest.fixture(scope="session")
def support() -> Callable[..., Support]:
    return toy_support


@pytest.fixture(scope="session")
def dataset_facts() -> DatasetConfig:
    facts: DatasetConfig = layers.section(DatasetConfig, "dataset", "brainmri")
    return facts


@dataclasses.dataclass
class PlainCLIP:
    """CLIP written out on the tensors of a weights file: no open_clip. Exact GELU, heads of 64 channels."""

    weights: Mapping[str, torch.Tensor]

    def image(
        self, images: torch.Tensor, patch: int, after: Callable[[int, torch.Tensor], torch.Tensor | None]
    ) -> None:
        """Run images (B, 3, H, H) in [0, 1] through the image tower; `after` sees, or replaces, what leaves a block."""
        w = {name.removeprefix("visual."): value for name, value in self.weights.items() if name.startswith("visual.")}
        grid = images.shape[-1] // patch
        parts = images[..., : grid * patch, : grid * patch].unfold(2, patch, patch).unfold(3, patch, patch)
        x = parts.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2) @ w["conv1.weight"].flatten(1).T
        own, places = w["positional_embedding"][:1], w["positional_embedding"][1:]
        side = round(len(places) ** 0.5)
        square = places.T.reshape(1, -1, side, side)
        places = F.interpolate(square, (grid, grid), mode="bicubic", antialias=True, align_corners=False)[0]
        x = torch.cat([(w["class_embedding"] + own).expand(len(x), 1, -1), x + places.flatten(1).T], dim=1)
        x = self._norm(x, "visual.ln_pre")
        for i in range(sum(name.endswith("ln_1.weight") for name in w)):
            x = self._block(x, f"visual.transformer.resblocks.{i}.")
            changed = after(i + 1, x)
            x = x if changed is None else changed

    def text(self, words: torch.Tensor, end: torch.Tensor, causal: bool) -> torch.Tensor:
        """Run word vectors (N, L, C) through the text tower and read it at `end`: (N, D), not normalised."""
        w, length = self.weights, words.shape[1]
        mask = torch.full((length, length), -torch.inf).triu(1) if causal else torch.zeros(length, length)
        x = words + w["positional_embedding"][:length]
        for i in range(sum(name.startswith("transformer.") and name.endswith("ln_1.weight") for name in w)):
            x = self._block(x, f"transformer.resblocks.{i}.", mask)
        return self._norm(x, "ln_final")[range(len(x)), end] @ w["text_projection"]

    def _block(self, x: torch.Tensor, at: str, mask: torch.Tensor | float = 0.0) -> torch.Tensor:
        heads = self._layer(self._norm(x, at + "ln_1"), at + "attn.in_proj_").unflatten(2, (3, -1, 64))
        q, k, v = heads.permute(2, 0, 3, 1, 4)
        seen = (q @ k.transpose(2, 3) / 8 + mask).softmax(-1) @ v
        x = x + self._layer(seen.transpose(1, 2).flatten(2), at + "attn.out_proj.")
        hidden = self._layer(self._norm(x, at + "ln_2"), at + "mlp.c_fc.")
        return x + self._layer(hidden * (1 + torch.erf(hidden / 2**0.5)) / 2, at + "mlp.c_proj.")

    def _layer(self, x: torch.Tensor, at: str) -> torch.Tensor:
        return x @ self.weights[at + "weight"].T + self.weights[at + "bias"]

    def _norm(self, x: torch.Tensor, at: str) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        unit = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return unit * self.weights[at + ".weight"] + self.weights[at + ".bias"]


@pytest.fixture
def full_size(facts: Callable[..., Any], tmp_path: Path) -> tuple[Bench, PlainCLIP, Support]:
    """The papers' backbone, a file of random weights at 336 px read at 240; one normal and one abnormal image."""
    file = tmp_path / "random.safetensors"
    published = build("ViT-L-14-336", facts("ViT-L-14-336", weights="random"), 336).model.state_dict()
    assert published["visual.positional_embedding"].shape == (1 + 24 * 24, 1024)
    g = torch.Generator().manual_seed(0)
    for value in published.values():  # norms and biases begin as ones and zeros, which would hide a mistake
        if value.ndim == 1:
            value += 0.1 * torch.randn(value.shape, generator=g)
    save_file({name: value.contiguous() for name, value in published.items()}, file)
    backbone = build("ViT-L-14-336", facts("ViT-L-14-336", weights=str(file)), 240, "gelu", "none")
    file.unlink()
    toy = toy_support(shots=1)
    images = torch.randint(0, 256, (2, 3, 240, 240), generator=g, dtype=torch.uint8)
    masks = torch.zeros(2, 240, 240, dtype=torch.bool)
    masks[1, 60:150, 100:180] = True
    return Bench(backbone), PlainCLIP(published), dataclasses.replace(toy, images=images, masks=masks)
