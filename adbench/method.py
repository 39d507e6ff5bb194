"""The contract between the harness and a method. A method never sees a test label, a test mask or a test loader."""

from __future__ import annotations

import contextlib
import inspect
import traceback
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar, get_args, get_origin

import torch
from torch import Tensor
from torch.utils.data import Dataset

from adbench.backbone.capability import Capability, unmet
from adbench.backbone.config import Architecture, BackboneConfig
from adbench.backbone.contract import Backbone, Features
from adbench.backbone.faults import fault_of
from adbench.backbone.features import FrozenFeatures
from adbench.backbone.intact import marks
from adbench.backbone.kept import DISK
from adbench.data.fingerprint import digest
from adbench.errors import AdbenchError, MethodError, RecordError, ReturnError
from adbench.plugins import registry
from adbench.plugins.blame import blaming
from adbench.system.lightning import pl
from adbench.system.text import said_of

__all__ = [
    "Batch", "Capability", "Method", "Scores", "Support",
    "defining", "fault_in", "naming_the_method", "said_of", "unmet", "unwritten",
]  # fmt: skip

P = TypeVar("P")
LIBRARIES = ("pytorch_lightning", "lightning_fabric", "torch")  # between the harness and a method's function


@dataclass(frozen=True)
class Support:
    """The labelled images that a method may learn from.

    images: uint8 (N, 3, H, W) at network resolution, on the CPU.
    labels: int64 (N,), 0 normal, 1 abnormal.
    masks: bool (N, H, W), true where a pixel is abnormal. Normal images have an empty mask wherever the dataset has
        masks.
    has_mask: bool (N,), false where the dataset has no masks, in which case the mask is all zero.
    ids, datasets, object_names: N texts each; object_names stand for {} in prompts, as in "Brain".
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
    """What `score` sees of B images.

    images: uint8 (B, 3, H, W) on the method's device.
    features: the declared outputs of the frozen backbone, on the same device; see `Features`.
    datasets, object_names: B texts each.
    """

    images: Tensor
    features: Features
    datasets: tuple[str, ...]
    object_names: tuple[str, ...]

    @classmethod
    def of(
        cls, method: Method[Any], images: Tensor, dataset: str, object_name: str, features: Features | None = None
    ) -> Batch:
        """Return uint8 images (B, 3, H, W) of one dataset as `score` sees them, encoded unless `features` are given."""
        device, n = method.backbone.device, len(images)
        if features is None:
            features = method.encode(images) if device.type == "cpu" else method.encode(images, stay=True)
        if not isinstance(features, Features):
            raise ReturnError(
                f"encode() of {type(method).__name__} returned a {type(features).__name__}; Features are needed."
            )
        return cls(images.to(device), features.to(device), (dataset,) * n, (object_name,) * n)


@dataclass(frozen=True)
class Scores:
    """What a method says of B images; higher is more abnormal.

    image: floats (B,). maps: floats (B, h, w) at any resolution, which the harness resizes, or none.
    """

    image: Tensor
    maps: Tensor | None = None


class Method(pl.LightningModule, Generic[P]):
    """An anomaly detector. `class MyMethod(Method[Params])` names the dataclass of its parameters.

    The constructor stores its arguments. The harness then calls `build`, `prepare`, Lightning's fit for
    `Capability.epochs` epochs, `build_memory`, and from then on `score`. A subclass with epochs also defines
    Lightning's `train_dataloader`, `training_step` and `configure_optimizers`.

    The harness sets `declared`, the method's Capability; `blocks`, those of it; `loader_workers`, what
    `loader_workers=` asks for, for a method whose DataLoader does costly work; and `features_gb`, how many GB of
    training data may lie in the memory of a GPU (`blocks/rows.py`).

    Of a parameter that `files` names, the content enters a cell's key and not the path. In a method that is rebuilt
    from its record it is the hash of that content, `sha256:...`: what is needed of the file then has to be saved.
    """

    Params: ClassVar[type[Any]]
    version: ClassVar[str] = "1"
    editable: ClassVar[tuple[str, ...]] = ()  # parameters that may change after training, such as "prompts"
    concurrent: ClassVar[bool] = True  # several threads may call `score` at a time; False where it changes the method
    files: ClassVar[tuple[str, ...]] = ()  # parameters that name a file or folder, which count by its content
    declared: Capability
    blocks: tuple[int, ...]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in cls.__dict__.get("__orig_bases__", ()):
            params = get_args(base)[0] if get_origin(base) is Method else None
            if isinstance(params, type) and params is not Any and "Params" not in cls.__dict__:
                cls.Params = params

    def __init__(self, params: P, backbone: Backbone, seed: int = 0) -> None:
        super().__init__()
        self.params: P = params
        self.backbone = backbone
        self.seed = seed
        self.loader_workers = 0
        self.features_gb = 8.0
        self._frozen: FrozenFeatures | None = None

    @classmethod
    def create(
        cls, params: P, backbone: Backbone, seed: int = 0, *, weights: str = "", precision: str = "32-true",
        cache: Path | None = None, kept: str = DISK,
    ) -> Self:  # fmt: skip
        """Build the untrained method on a backbone and its device.

        Frozen features are kept where `kept` says, by the hash `weights` and `precision`: on disk in the folder
        `cache`, in memory, or auto (`adbench/backbone/kept.py`); without `cache` they are computed each time. Seeding
        torch's global generator is up to the caller.
        """
        built = marks(backbone.model)
        method = cls(params, backbone, seed)
        method.declared = cls.capability(params, backbone.architecture)
        method.blocks = method.declared.blocks
        method.build()
        own = method.declared.own_backbone  # it is the method's to train, and there is nothing to keep
        method._frozen = FrozenFeatures(
            backbone, weights, method.declared.outputs, precision, None if own else cache, kept, None if own else built
        )
        return method.to(backbone.device)

    @classmethod
    @abstractmethod
    def capability(cls, params: P, architecture: Architecture) -> Capability:
        """Declare what the method is, from its parameters and the backbone's shape alone."""

    @classmethod
    def own_backbone(cls, params: P, weights: str | None) -> BackboneConfig:
        """Describe the network that the method brings, of kind `own`; called where `own_backbone` is declared.

        weights: what the user says of its weights (`backbone.weights=`), or None. `model` is what leaderboards show;
        `weights` is hashed into the cell's key, and a file is `self.backbone.weights_path` in `build`.
        """
        raise NotImplementedError(f"{cls.__name__} declares own_backbone=True and does not describe it")

    def build(self) -> None:
        """Create trainable modules and buffers from `params` and the backbone's shape: no data."""

    def prepare(self, support: Support) -> None:
        """Look at the support before the first epoch: augment, encode, keep what the epochs need."""

    def build_memory(self, support: Support) -> None:
        """Build from the support what scoring needs besides trained weights, such as a memory bank.

        Called after the fit, and before each scoring in the middle of it.
        """

    def forget_training(self) -> None:
        """Drop what no score needs once a fit is over: attributes that are datasets, and Lightning's Trainer.

        Features of the support, in many views, are most of what a method holds. One that keeps them elsewhere too drops
        them here.
        """
        for name, value in list(vars(self).items()):
            if isinstance(value, Dataset):
                delattr(self, name)
        self.trainer = None

    def observe_test_images(self, batches: Iterable[Batch]) -> None:
        """See, without labels, all images that are about to be scored; called where `transductive` is declared."""
        raise NotImplementedError(f"{type(self).__name__} declares transductive=True and has no `observe_test_images`")

    @abstractmethod
    def score(self, batch: Batch) -> Scores:
        """Score images one by one: a score depends on its own image and the support, and on what was observed."""

    def level_maps(self, batch: Batch) -> dict[int, Tensor]:
        """Optional, for the gallery: one map (B, h, w) for each block that the method reads."""
        return {}

    def adapted_features(self, batch: Batch) -> Tensor:
        """Optional, for `adbench plot features`: one vector (B, C) for each image as the method has adapted it."""
        raise NotImplementedError(f"{type(self).__name__} adapts no features")

    def memory_of(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Optional, for `adbench serve`: patches (B, patches, C) as they are compared with the rows (M, C) of a memory.

        Both lie in the space in which the row nearest to a patch, by Euclidean distance, is the one that its distance
        is measured to; of several levels the last one.
        """
        raise NotImplementedError(f"{type(self).__name__} has no memory of patches")

    @property
    def adapted_block(self) -> int | None:
        """The block whose mean patch token is plotted next to `adapted_features`; None: CLIP's image embedding.

        By default the last one; a method whose `adapted_features` read an earlier block says which.
        """
        return self.backbone.architecture.depth or None

    def encode(self, images: Tensor, progress: str = "", keep: bool | Tensor = True, stay: bool = False) -> Features:
        """Return the declared features of images (B, 3, H, W), uint8 or floats in [0, 1]: on the CPU, without gradient.

        `progress` names a progress bar. keep: in the cache; False for changed images, which no later step sees again,
        or which of the images (B,) are unchanged. stay: what a GPU computes without the cache stays there, for a step
        that goes on with it there.
        """
        if self._frozen is None:
            raise RuntimeError("encode() of a method that was not made by Method.create()")
        return self._frozen(images, progress, keep, stay)

    def encoding_notes(self) -> list[str]:
        """Return what a record says of how features were computed; nothing where that is as usual."""
        return [] if self._frozen is None else self._frozen.notes

    def generator(self, purpose: str) -> torch.Generator:
        """Return a random generator of the method's own for `purpose`, seeded from the cell's seed."""
        return torch.Generator().manual_seed(int(digest(f"{self.seed} {purpose}")[:12], 16))

    def load_fitted(self, state: Mapping[str, Tensor]) -> None:
        """Take the trained state; buffers that were empty at `build` (memory banks) take the saved shape."""
        buffers = dict(self.named_buffers())
        if set(state) != set(self.state_dict()):
            odd = sorted(set(state) ^ set(self.state_dict()))
            raise RecordError(f"the saved parameters do not belong to {type(self).__name__}: {odd[0]} is in one only.")
        for key, value in state.items():
            if key in buffers and buffers[key].shape != value.shape:
                parent, _, leaf = key.rpartition(".")
                setattr(self.get_submodule(parent), leaf, torch.empty_like(value))
        self.load_state_dict(dict(state))


def unwritten(method_class: type[Method[Any]]) -> str | None:
    """Return in a sentence which function that every method has is not written, or None.

    >>> class Half(Method[Any]):
    ...     def scores(self, batch): ...
    >>> unwritten(Half)
    'Half has no capability(cls, params, architecture), which returns its Capability; write it'
    """
    must = {
        "capability": "capability(cls, params, architecture), which returns its Capability",
        "score": "score(self, batch), which returns Scores(image, maps)",
    }
    for name, what in must.items():
        if inspect.getattr_static(method_class, name) is inspect.getattr_static(Method, name):
            return f"{method_class.__name__} has no {what}; write it"
    return None


def naming_the_method(name: str, function: str | None = None) -> contextlib.AbstractContextManager[None]:
    """Turn what a method's own code raises in the block into a MethodError that names method and function.

    `name`: the method, as the user calls it. `function`: what the block calls; None: an error that comes through no
    function of a method is the harness's own, and passes.
    """
    return blaming(f"the method {name}", function, MethodError, _function_of)


def _function_of(error: BaseException) -> str | None:
    """Return the method's function that the harness or Lightning called and that raised; None where there is none."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        own = module not in LIBRARIES and frame.f_globals.get("__name__") != __name__
        called, of_class = frame.f_locals.get("self"), frame.f_locals.get("cls")
        if own and (isinstance(called, Method) or (isinstance(of_class, type) and issubclass(of_class, Method))):
            return frame.f_code.co_name
    return None


def fault_in(capability: object, shape: Architecture) -> str | None:
    """Return in words what is wrong with what `capability` returned on a backbone of that shape; None: nothing."""
    fault = fault_of(capability, shape)
    return None if fault is None else str(fault)


def defining(name: str) -> list[str]:
    """Return the registered methods whose class defines the optional `name`; those that can't be imported are left out.

    >>> "mvfa" in defining("level_maps"), "clip" in defining("level_maps")
    (True, False)
    """
    names = []
    for entry in registry.entries("method").values():
        with contextlib.suppress(AdbenchError):
            if getattr(entry.load(), name, None) not in (None, getattr(Method, name)):
                names.append(entry.name)
    return names
