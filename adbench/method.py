"""The contract between the harness and a method. A method never sees a test label, a test mask or a test loader."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor

from adbench import registry
from adbench.backbone import Architecture, Backbone, Features
from adbench.data.decode import Filter
from adbench.data.fingerprint import digest
from adbench.errors import AdbenchError, RecordError
from adbench.features import FrozenFeatures


@dataclass(frozen=True)
class Capability:
    """What a method declares about itself.

    `support`: the images it learns from. `blocks` and `pooled`: the outputs of the frozen backbone that it asks for,
    cached by the harness. `normalisation`, `activation` (`native`: as the weights were trained), `resize` and `grey`:
    how images reach the backbone. `threshold`: the method's own decision threshold on the image score, or none.
    `transductive`: scores depend on the other images that are scored, which `gather` sees first; a leaderboard shows
    them apart. `gpu_share` (0 to 1, of one GPU) and `memory_gb` (of the machine): what a cell asks of a cluster.
    """

    support: Literal["none", "normal", "both"]
    blocks: tuple[int, ...] = ()
    pooled: bool = False
    maps: bool = True
    normalisation: str = "native"
    activation: str = "native"
    resize: Filter = "bicubic"
    grey: bool = False
    threshold: float | None = None
    transductive: bool = False
    gpu_share: float = 1.0
    memory_gb: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.gpu_share <= 1:
            raise AdbenchError(f"gpu_share={self.gpu_share:g} is not possible: a share of one GPU, as in 0.5.")
        if self.memory_gb is not None and not 0 < self.memory_gb < float("inf"):
            raise AdbenchError(f"memory_gb={self.memory_gb:g} is not possible: gigabytes above 0, or None.")


@dataclass(frozen=True)
class Support:
    """The labelled images a method may learn from.

    `images` uint8 (N, 3, H, W) at network resolution, `labels` (N,) in {0, 1}, `masks` bool (N, H, W), `has_mask`
    bool (N,): false where the dataset has none, in which case the mask is all zero. Normal images have an (empty) mask
    wherever the dataset has masks.
    """

    images: Tensor
    labels: Tensor
    masks: Tensor
    has_mask: Tensor
    ids: tuple[str, ...]
    datasets: tuple[str, ...]
    object_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def objects(self) -> tuple[list[str], Tensor]:
        """Return the objects' names, each once and sorted, and for each image the place (N,) of its own among them."""
        names = sorted(set(self.object_names))
        return names, torch.tensor([names.index(name) for name in self.object_names], dtype=torch.long)


@dataclass(frozen=True)
class Batch:
    """What scoring sees of B images: uint8 `images` (B, 3, H, W), their frozen features, and where they come from."""

    images: Tensor
    features: Features
    datasets: tuple[str, ...]
    object_names: tuple[str, ...]


@dataclass(frozen=True)
class Scores:
    """Higher is more abnormal. `image` (B,); `maps` (B, h, w) at any resolution, or none."""

    image: Tensor
    maps: Tensor | None = None


class Method(pl.LightningModule):
    """An anomaly detector.

    The constructor stores its arguments. The harness then calls `build`, `prepare`, Lightning's fit for `epochs`
    epochs (zero is legal), `memorise`, and from then on `score`. A subclass with epochs also defines Lightning's
    `train_dataloader`, `training_step` and `configure_optimizers`.
    """

    Params: ClassVar[type]
    version: ClassVar[str] = "1"
    editable: ClassVar[tuple[str, ...]] = ()  # parameters that may change after training, such as "prompts"

    def __init__(self, params: Any, backbone: Backbone, seed: int = 0) -> None:
        super().__init__()
        self.params = params
        self.backbone = backbone
        self.seed = seed
        self.loader_workers = 0  # what `loader_workers=` asks for; for a method whose DataLoader does costly work
        self._frozen: FrozenFeatures | None = None

    @classmethod
    @abstractmethod
    def capability(cls, params: Any, architecture: Architecture) -> Capability:
        """Declare what the method is, from its parameters and the backbone's shape alone."""

    @property
    def epochs(self) -> int:
        """How many epochs Lightning runs."""
        return 0

    def build(self) -> None:
        """Create trainable modules and buffers from `params` and the backbone's shape: no data."""

    @abstractmethod
    def prepare(self, support: Support) -> None:
        """Look at the support before the first epoch: augment, encode, keep what the epochs need."""

    def memorise(self, support: Support) -> None:
        """Gather from the support what scoring needs beside trained weights, such as a memory bank.

        Called after the fit, and before each scoring in the middle of it.
        """

    def gather(self, batches: Iterable[Batch]) -> None:
        """See, without labels, all images that are about to be scored; called where `transductive` is declared."""
        raise NotImplementedError(f"{type(self).__name__} declares transductive=True and has no `gather`")

    @abstractmethod
    def score(self, batch: Batch) -> Scores:
        """Score images one by one: a score depends on its own image, the support and what was gathered, if declared."""

    def level_maps(self, batch: Batch) -> dict[int, Tensor]:
        """Return one map (B, h, w) for each block that the method reads, for pictures alone; none by default."""
        return {}

    def adapted(self, batch: Batch) -> Tensor:
        """Return one vector (B, C) for each image as the method has adapted it, for pictures alone.

        Only called where a subclass defines it: without it, `adbench plot features` refuses.
        """
        raise NotImplementedError(f"{type(self).__name__} adapts no features")

    @property
    def adapted_block(self) -> int | None:
        """The block whose frozen patches, their mean, `adapted` is drawn beside; none: CLIP's image embedding.

        By default the last one; a method whose `adapted` reads an earlier block says which.
        """
        return self.backbone.architecture.depth

    def attach(self, frozen: FrozenFeatures) -> None:
        """Receive the cached way to the backbone; the harness calls this once."""
        self._frozen = frozen

    def encode(self, images: Tensor, progress: str = "") -> Features:
        """Return the declared features of (B, 3, H, W) float images in [0, 1]; on the CPU, without gradient."""
        if self._frozen is None:
            raise RuntimeError("encode() before attach(): the harness attaches the frozen features")
        return self._frozen(images, progress)

    def generator(self, purpose: str) -> torch.Generator:
        """Return a random generator of the method's own for `purpose`, seeded from the cell's seed."""
        return torch.Generator().manual_seed(int(digest(f"{self.seed} {purpose}")[:12], 16))

    def load_fitted(self, state: Mapping[str, Tensor]) -> None:
        """Take the trained state; buffers that were empty at `build` (memory banks) take the saved shape."""
        own = dict(self.named_buffers())
        if set(state) != set(self.state_dict()):
            odd = sorted(set(state) ^ set(self.state_dict()))
            raise RecordError(f"the saved parameters do not belong to {type(self).__name__}: {odd[0]} is in one only.")
        for key, value in state.items():
            if key in own and own[key].shape != value.shape:
                parent, _, leaf = key.rpartition(".")
                setattr(self.get_submodule(parent), leaf, torch.empty_like(value))
        self.load_state_dict(dict(state))


def defining(name: str) -> list[str]:
    """Return the registered methods whose class defines the optional `name`; those that can't be imported are left out.

    >>> "mvfa" in defining("level_maps"), "clip" in defining("level_maps")
    (True, False)
    """
    found = []
    for entry in registry.entries("method").values():
        with contextlib.suppress(AdbenchError):
            if getattr(entry.load(), name, None) not in (None, getattr(Method, name)):
                found.append(entry.name)
    return found
