"""A training step on a GPU reads nothing back: it would wait until the GPU is through with all that it was given.

No GPU is needed. torch's fake tensors have a device, shapes and types, and no numbers: what asks for one is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from adbench.backbone.build import build
from adbench.backbone.config import BackboneConfig
from adbench.blocks import maps
from adbench.method import Method
from adbench.system import finite
from tests.methods.conftest import Bench, toy_support

GPU = torch.device("cuda", 0)
OURS = ("adbench", "torch.nn", "open_clip", "timm")
FEW: dict[str, dict[str, object]] = {
    "madclip": {"views": 1}, "mvfa": {"views": 1}, "april_gan": {}, "crossmodal": {}, "clip_finetune": {},
    "mediclip": {}, "dinomaly": {"epoch_steps": 1},
}  # fmt: skip


def on_fake_gpu(thing: Any, seen: dict[int, tuple[Any, Any]]) -> Any:
    """Put every tensor below a thing on the fake GPU: of objects in place, of tuples in new ones.

    seen: what was moved, by its id, and what became of it; what is kept there can't lend its id to another.
    """
    if id(thing) in seen:
        return seen[id(thing)][1]
    made = thing
    if isinstance(thing, torch.device):
        return GPU
    if isinstance(thing, Tensor):
        made = torch.empty(thing.shape, dtype=thing.dtype, device=GPU)
        made = nn.Parameter(made, thing.requires_grad) if isinstance(thing, nn.Parameter) else made
    elif isinstance(thing, tuple):
        parts = [on_fake_gpu(part, seen) for part in thing]
        made = type(thing)(*parts) if hasattr(thing, "_fields") else tuple(parts)
    seen[id(thing)] = thing, made
    if isinstance(thing, dict):
        for key, value in list(thing.items()):
            thing[key] = on_fake_gpu(value, seen)
    elif isinstance(thing, list):
        thing[:] = [on_fake_gpu(value, seen) for value in thing]
    elif type(thing).__module__.startswith(OURS) and hasattr(thing, "__dict__"):
        on_fake_gpu(thing.__dict__, seen)
    return made


class Downloads(TorchDispatchMode):
    """Refuses copies from the fake GPU to the CPU, which fake tensors allow."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        down = func is torch.ops.aten._to_copy.default and str(kwargs.get("device")) == "cpu"
        assert not (down and args[0].device.type == "cuda"), "a copy to the CPU"
        return func(*args, **kwargs)


@pytest.fixture
def own_bench(facts: Callable[..., BackboneConfig]) -> Bench:
    """A backbone of one test's own, which it takes apart."""
    return Bench(build("phantom-clip", facts(weights="random"), 112))


def prepared(bench: Bench, name: str) -> tuple[Method, list[Any]]:
    """Return a method after a step on the CPU, in which it embeds its prompts once, and a batch."""
    method = bench.new(name, epochs=1, batch_size=4, **FEW[name])
    assert method._frozen is not None
    method._frozen.sizes = (8,)  # which sizes a CPU computes alike is no question here
    method.prepare(bench.usable(method, toy_support()))
    method.train()
    batch = next(iter(method.train_dataloader()))
    method.training_step(batch, 0)
    return method, batch


@pytest.fixture(autouse=True)
def no_fake_weights() -> Iterator[None]:
    """Forget the weights of interpolation, which are kept by device: those of a fake GPU are of no use on another."""
    maps._interpolation.cache_clear()
    yield
    maps._interpolation.cache_clear()


@pytest.mark.parametrize("name", FEW)
def test_a_step_reads_nothing_back(own_bench: Bench, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method, batch = prepared(own_bench, name)
    seen: dict[int, tuple[Any, Any]] = {}
    with FakeTensorMode(), finite.collecting(GPU), Downloads():
        on_fake_gpu(method, seen)
        on_fake_gpu(method.backbone, seen)
        method._frozen.built = None  # it was taken apart on purpose
        method._device = GPU
        loss = method.training_step([on_fake_gpu(part, seen) for part in batch], 0)
        later = finite.collected()
    assert loss.device == GPU
    assert loss.requires_grad
    assert later is not None
    assert later._kept, "the loss is looked at later"
