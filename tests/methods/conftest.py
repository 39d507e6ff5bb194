"""A toy support and a way to fit any registered method on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from adbench import config, registry
from adbench.backbone import Backbone
from adbench.data.items import DatasetConfig
from adbench.features import FrozenFeatures
from adbench.method import Batch, Method, Support
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
        resolved = config.method_params(method_class.Params, run)
        capability = method_class.capability(resolved, self.backbone.architecture)
        torch.manual_seed(seed)
        method: Method = method_class(resolved, self.backbone, seed)
        method.build()
        method.attach(FrozenFeatures(self.backbone, "w", capability.blocks, capability.pooled, "32-true", folder=None))
        return method

    def fitted(self, name: str, support: Support | None = None, seed: int = 0, **params: object) -> Method:
        """Return a method fitted on what it can use of the toy support."""
        method = self.new(name, seed, **params)
        (run,) = config.parse([])
        fit(method, self.own(method, support or toy_support()), run, torch.device("cpu"))
        return method

    def own(self, method: Method, support: Support) -> Support:
        """Return the images of the classes that a method learns from."""
        return of_class(support, {"none": (), "normal": (0,), "both": (0, 1)}[self.capability(method).support])

    def capability(self, method: Method) -> Any:
        """Return what a method declares."""
        return type(method).capability(method.params, self.backbone.architecture)

    def batch(self, method: Method, images: torch.Tensor) -> Batch:
        """Return uint8 images as scoring sees them."""
        n = len(images)
        return Batch(images, method.encode(images.float() / 255), ("brainmri",) * n, ("Brain",) * n)


@pytest.fixture(scope="session")
def bench(random_clip: Backbone) -> Bench:
    return Bench(random_clip)


@pytest.fixture(scope="session")
def support() -> Callable[..., Support]:
    return toy_support


@pytest.fixture(scope="session")
def dataset_facts() -> DatasetConfig:
    facts: DatasetConfig = config.section_config(DatasetConfig, "dataset", "brainmri", config.parse([])[0])
    return facts
