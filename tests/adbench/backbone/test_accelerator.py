"""Encoding on an accelerator: the batches on a CPU, the copies where there is a CUDA device."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import torch

from adbench.backbone import accelerator
from adbench.backbone.build import build
from adbench.backbone.contract import Backbone
from adbench.backbone.features import FrozenFeatures
from adbench.backbone.outputs import Outputs

CPU = torch.device("cpu")


@pytest.mark.parametrize("side", [1, 32, 112, 224, 240, 336, 448, 518, 1024, 2000, 8192])
def test_a_batch_is_as_large_as_its_images_allow(side: int) -> None:
    allowed = accelerator.sizes(side)
    assert list(allowed) == sorted(set(allowed))
    assert allowed[-1] * side**2 <= accelerator.PIXELS or allowed == (1,)
    assert allowed[-1] < 8 or allowed[-1] % 8 == 0


@pytest.mark.parametrize(
    ("count", "passes"), [(1, [2]), (2, [2]), (3, [4]), (4, [4]), (5, [4, 2]), (11, [4, 4, 4]), (12, [4, 4, 4])]
)
def test_each_image_is_computed_once_in_its_order_and_copies_are_dropped(count: int, passes: list[int]) -> None:
    seen: list[int] = []

    def compute(images: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append(len(images))
        return {"sum": images.flatten(1).sum(1), "same": images}

    images = torch.arange(count * 12, dtype=torch.float32).view(count, 3, 2, 2)
    made = list(accelerator.encoded(compute, images, (2, 4), CPU))
    assert seen == passes
    assert torch.equal(torch.cat([each["same"] for each in made]), images)
    assert torch.equal(torch.cat([each["sum"] for each in made]), images.flatten(1).sum(1))


def test_the_next_batch_is_staged_before_one_is_computed_and_computed_before_one_is_returned() -> None:
    order: list[str] = []

    def noted(name: str, items: Iterable[int]) -> Iterator[int]:
        for item in items:
            order.append(f"{name} {item}")
            yield item

    staged = accelerator.ahead(noted("staged", [1, 2, 3]))
    assert list(noted("returned", accelerator.ahead(noted("made", staged)))) == [1, 2, 3]
    assert order == [
        "staged 1", "staged 2", "made 1", "staged 3", "made 2", "returned 1", "made 3", "returned 2", "returned 3",
    ]  # fmt: skip


def test_the_features_of_batches_are_those_of_the_backbone(random_clip: Backbone, noise: torch.Tensor) -> None:
    frozen = FrozenFeatures(random_clip, "weights", Outputs((3, 12), pooled=True), "32-true", None)
    made = frozen._on_accelerator(noise, frozen.parts)
    plain = frozen(noise)
    for part, value in plain.tensors():
        assert value.shape == made[part].shape
        torch.testing.assert_close(made[part], value, rtol=1e-4, atol=1e-4)


def built(facts: Callable[..., object], compiler: str | None) -> Backbone:
    """phantom-clip's architecture with random weights, its blocks compiled."""
    backbone = build("phantom-clip", facts(weights="random"), 112)  # type: ignore[arg-type]
    if compiler:
        accelerator.compile_blocks(backbone, compiler)
    return backbone


@pytest.mark.parametrize("compiler", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_blocks_compute_the_same(facts: Callable[..., object], noise: torch.Tensor, compiler: str) -> None:
    torch._dynamo.reset()
    made, plain = (built(facts, one).features(noise, (3, 12), True) for one in (compiler, None))
    for (_, one), (_, other) in zip(made.tensors(), plain.tensors(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_all_blocks_are_compiled_as_one_and_a_stream_runs_through_them_with_its_gradient(
    facts: Callable[..., object], noise: torch.Tensor
) -> None:
    graphs: list[int] = []

    def counted(graph: torch.fx.GraphModule, _: object) -> Callable[..., object]:
        graphs.append(len(graph.graph.nodes))
        return graph.forward

    torch._dynamo.reset()
    backbone = build("phantom-clip", facts(weights="random"), 112)  # type: ignore[arg-type]
    for block in backbone.layers:
        block.compile(backend=counted)
    assert len(backbone.layers) == 12
    with torch.no_grad():
        backbone.features(noise, (12,))
        assert len(graphs) == 1, "twelve blocks, one kernel"
        copy.deepcopy(backbone.layers[0])(backbone.features(noise, (1,)).blocks[1])  # as methods that train copies do
    stream = torch.randn(2, 65, backbone.architecture.width, requires_grad=True)
    backbone.run_blocks(stream, 4, 6).sum().backward()
    assert stream.grad is not None
    assert bool(stream.grad.abs().sum() > 0)


@pytest.mark.parametrize("deterministic", [True, False])
def test_the_kernels_of_a_process(deterministic: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic
    try:
        accelerator.use_kernels(deterministic)
        assert torch.are_deterministic_algorithms_enabled() is deterministic
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.backends.cudnn.deterministic is deterministic
        assert torch.backends.cudnn.benchmark is not deterministic
        assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == (":4096:8" if deterministic else None)
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before[1], False


@pytest.fixture
def on_cuda(facts: Callable[..., object]) -> Backbone:
    """phantom-clip's architecture with random weights, on a CUDA device."""
    return build("phantom-clip", facts(weights="random"), 112).to(torch.device("cuda"))  # type: ignore[arg-type]


@pytest.mark.cuda
@pytest.mark.parametrize("count", [1, 9, 33, 1200])
def test_features_of_a_gpu_are_those_of_a_cpu(on_cuda: Backbone, random_clip: Backbone, count: int) -> None:
    images = torch.randint(0, 256, (count, 3, 112, 112), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    frozen = FrozenFeatures(on_cuda, "weights", Outputs((3, 12), pooled=True), "32-true", None)
    down, stayed = frozen(images), frozen(images, stay=True)
    some = list(range(count))[:3] + list(range(count))[-3:]
    with torch.no_grad():
        expected = dict(random_clip.features(images[some], (3, 12), True).tensors())
    for (part, value), (_, there) in zip(down.tensors(), stayed.tensors(), strict=True):
        assert value.device.type == "cpu"
        assert there.device.type == "cuda"
        assert torch.equal(value, there.cpu()), "copies to and fro lose nothing"
        torch.testing.assert_close(value[some], expected[part], rtol=1e-3, atol=1e-3)


@pytest.mark.cuda
def test_compiled_blocks_compute_the_same_on_a_gpu(on_cuda: Backbone, facts: Callable[..., object]) -> None:
    compiled = built(facts, None).to(torch.device("cuda"))
    accelerator.compile_blocks(compiled)
    images = torch.randint(0, 256, (40, 3, 112, 112), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    outputs = Outputs((3, 12), pooled=True)
    made, plain = (FrozenFeatures(one, "weights", outputs, "32-true", None)(images) for one in (compiled, on_cuda))
    for (_, one), (_, other) in zip(made.tensors(), plain.tensors(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.cuda
def test_on_a_gpu_too_a_warm_cache_gives_the_same_bits(on_cuda: Backbone, tmp_path: Path) -> None:
    images = torch.randint(0, 256, (40, 3, 112, 112), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    outputs = Outputs((3, 12), pooled=True)
    cold, warm = (FrozenFeatures(on_cuda, "weights", outputs, "32-true", tmp_path)(images) for _ in range(2))
    for (_, one), (_, other) in zip(cold.tensors(), warm.tensors(), strict=True):
        assert torch.equal(one, other)
