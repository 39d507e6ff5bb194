from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from adbench.backbone.build import build
from adbench.backbone.config import Stage
from adbench.backbone.contract import Backbone
from adbench.backbone.weights import architecture
from adbench.errors import AdbenchError
from tests.adbench.backbone.conftest import CNNS, timm_facts

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("model", CNNS)
def test_stages_are_the_maps_of_timms_own_pyramid_to_the_bit(small: Callable[[str], Backbone], model: str) -> None:
    backbone = small(model)
    stages = backbone.architecture.stages
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole = timm.create_model(model, num_classes=0).eval()
    pyramid = timm.create_model(model, features_only=True, out_indices=tuple(range(len(stages)))).eval()
    named = whole.state_dict()
    if model == "test_convnext":  # there the pyramid has other names for the same tensors, in the same order
        named = dict(zip(pyramid.state_dict(), named.values(), strict=False))
    pyramid.load_state_dict({key: named[key] for key in pyramid.state_dict()})
    with torch.no_grad():
        pixels = backbone.normalise(IMAGES)
        features = backbone.features(IMAGES, (), pooled=True, stages=[stage.number for stage in stages])
        maps = pyramid(pixels)
        assert torch.equal(features.pooled, whole(pixels))
    assert list(pyramid.feature_info.channels()) == [stage.channels for stage in stages]
    assert list(pyramid.feature_info.reduction()) == [stage.stride for stage in stages]
    assert [torch.equal(features.stages[s.number], own) for s, own in zip(stages, maps, strict=True)] == [True] * len(
        maps
    )
    assert all(features.stages[s.number].shape == (2, s.channels, 64 // s.stride, 64 // s.stride) for s in stages)


def test_stage_1_is_a_resnets_layer1(small: Callable[[str], Backbone]) -> None:
    backbone = small("test_resnet")
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        getattr(backbone.model, f"layer{n}").register_forward_hook(lambda _m, _i, out, n=n: seen.__setitem__(n, out))
        for n in (1, 2, 3)
    ]
    with torch.no_grad():
        stages = backbone.features(IMAGES, (), stages=(1, 3)).stages
    for hook in hooks:
        hook.remove()
    assert torch.equal(stages[1], seen[1])
    assert torch.equal(stages[3], seen[3])
    shape = backbone.architecture
    assert shape.stage(1) == Stage(1, 32, 4)
    assert (shape.depth, shape.patch, backbone.grid) == (0, 0, 0)


def test_the_published_cnns_have_the_channels_of_the_papers(facts: Callable[..., object]) -> None:
    wide = architecture(facts("wide-resnet-50-2"), "wide-resnet-50-2")
    assert [wide.stage(n)[1:] for n in (1, 2, 3)] == [(256, 4), (512, 8), (1024, 16)]
    uniad = architecture(facts("efficientnet-b4"), "efficientnet-b4")
    assert sum(uniad.stage(n).channels for n in (0, 1, 2, 3)) == 272
    assert [uniad.stage(n).stride for n in (0, 1, 2, 3)] == [2, 4, 8, 16]


def test_weights_with_a_classifier_and_without_counters_are_read(
    small: Callable[[str], Backbone], tmp_path: Path
) -> None:
    ours = small("test_resnet").model.state_dict()
    published = {key: value for key, value in ours.items() if not key.endswith("num_batches_tracked")}
    published |= {"fc.weight": torch.zeros(10, 96), "fc.bias": torch.zeros(10)}
    file = tmp_path / "resnet.safetensors"
    save_file(published, file)
    read = build("x", timm_facts("test_resnet", weights=str(file), seed=1), 64).model.state_dict()
    assert all(torch.equal(read[key], ours[key]) for key in ours)
    save_file(published | {"layer9.weight": torch.zeros(1)}, file)
    with pytest.raises(AdbenchError, match=r"first is layer9\.weight: the file has \(1,\), the model needs nothing"):
        build("x", timm_facts("test_resnet", weights=str(file)), 64)


def test_what_a_cnn_lacks_is_refused(small: Callable[[str], Backbone]) -> None:
    backbone = small("test_resnet")
    with pytest.raises(AdbenchError, match="block 3 of test_resnet can't be read: it has blocks none"):
        backbone.features(IMAGES, (3,))
    with pytest.raises(AdbenchError, match="stage 5 of test_resnet can't be read: it has stages 0 to 4"):
        backbone.features(IMAGES, (), stages=(5,))
    with pytest.raises(AdbenchError, match="has no final norm of tokens"):
        backbone.norm(torch.zeros(1, 4))
    with pytest.raises(AdbenchError, match="input_size=16 is smaller than one position of test_resnet's last stage"):
        build("test_resnet", timm_facts("test_resnet"), 16)
    with pytest.raises(AdbenchError, match="vit_base_patch16_224.* is not a CNN of timm"):
        architecture(timm_facts("vit_base_patch16_224", kind="cnn"), "x")
