"""Weights that hold NaN or infinity are refused where they are loaded, by file and tensor."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from adbench.backbone.build import build
from adbench.backbone.contract import Backbone
from adbench.backbone.tensors import refuse_endless
from adbench.errors import AdbenchError
from tests.adbench.backbone.conftest import timm_facts


@pytest.mark.parametrize("values", [[nan, 1.0], [1.0, inf], [-inf, 1.0], [inf, -inf]])
def test_one_number_that_is_not_finite_is_enough(values: list[float]) -> None:
    with pytest.raises(AdbenchError, match=r"^w\.safetensors is refused: 'b' in it holds NaN or infinity\. "):
        refuse_endless("w.safetensors", {"a": torch.ones(3), "b": torch.tensor(values)})


def test_finite_numbers_are_taken_though_their_sum_overflows() -> None:
    large = torch.full((4,), torch.finfo(torch.float32).max)
    refuse_endless("w.safetensors", {"a": large, "steps": torch.tensor(3), "none": torch.empty(0)})


def test_a_clip_with_such_weights_is_not_built(tmp_path: Path, random_clip: Backbone, facts) -> None:
    state = {key: value.clone() for key, value in random_clip.model.state_dict().items()}
    whole, torn = tmp_path / "whole.safetensors", tmp_path / "torn.safetensors"
    save_file(state, whole)
    build("phantom-clip", facts(weights=str(whole)), 112)
    state["visual.positional_embedding"][3, 5] = nan
    save_file(state, torn)
    for size in (112, 56):  # positions are resampled before they are looked at
        with pytest.raises(AdbenchError, match=r"torn\.safetensors is refused: 'visual\.positional_embedding' in it"):
            build("phantom-clip", facts(weights=str(torn)), size)


@pytest.mark.parametrize("model", ["vit_small_patch14_dinov2", "test_resnet"])
def test_a_model_of_timm_with_such_weights_is_not_built(
    tmp_path: Path, small: Callable[[str], Backbone], model: str
) -> None:
    backbone, file = small(model), tmp_path / "torn.safetensors"
    state = {key: value.clone() for key, value in backbone.model.state_dict().items()}
    key = next(name for name, value in state.items() if value.is_floating_point() and value.ndim > 1)
    state[key].view(-1)[-1] = inf
    save_file(state, file)
    with pytest.raises(AdbenchError, match=rf"torn\.safetensors is refused: '{key}' in it holds NaN or infinity"):
        build(model, timm_facts(model, weights=str(file)), backbone.input_size)


def test_a_tensor_that_the_model_leaves_out_may_hold_anything(tmp_path: Path, small: Callable[[str], Backbone]) -> None:
    backbone, file = small("test_resnet"), tmp_path / "classified.safetensors"
    state = {key: value.clone() for key, value in backbone.model.state_dict().items()}
    save_file(state | {"fc.weight": torch.full((2, 2), nan)}, file)
    build("test_resnet", timm_facts("test_resnet", weights=str(file)), backbone.input_size)
