"""Whether tensors are the weights of a backbone, and the tensors in the names of its model."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from adbench.backbone import clip_configs, other_models
from adbench.backbone.config import BackboneConfig
from adbench.backbone.outline import outlines
from adbench.backbone.tensors import refuse_unfit
from adbench.backbone.weights import clip_config, model_config, text_folder
from adbench.errors import AdbenchError


def fitted(state: Mapping[str, Tensor], config: BackboneConfig, name: str, file: str) -> dict[str, Tensor]:
    """Return the tensors of a file as a backbone reads them; raises AdbenchError where they are not its weights.

    Of timm's models the published names become timm's, and a classifier is left out. The positions keep their number: a
    run resamples them to its input size.
    """
    described = clip_config(config, name) if config.kind == "clip" else {}
    if described and not clip_configs.is_native(described):
        with outlines():
            built = other_models.new_model(described, config, name, text_folder(config, name))
        try:
            ours, missing, extra = other_models.fitting(state, built)
        except AdbenchError as error:
            raise _not_of(file, config, name, error) from error
    elif described:
        from adbench.backbone.openclip import outline

        with clip_configs.building(config.model, name):
            model = outline(model_config(config, name))
        wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
        ours = {key: value for key, value in state.items() if key not in _DERIVED}
        missing = {k: shape for k, shape in wanted.items() if k not in ours or tuple(ours[k].shape) != shape}
        extra = {key: tuple(value.shape) for key, value in ours.items() if key not in wanted}
    else:
        from adbench.backbone.timm_models import fitting, new_model

        with outlines():
            model = new_model(config, name)  # of the published size: positions stay as they are
        try:
            ours, missing, extra = fitting(state, model)
        except AdbenchError as error:
            raise _not_of(file, config, name, error) from error
    refuse_unfit(file, config, name, ours, missing, extra)
    return ours


def _not_of(file: str, config: BackboneConfig, name: str, error: AdbenchError) -> AdbenchError:
    return AdbenchError(f"{file} does not hold weights of {config.model} (backbone {name!r}): {error}")


_DERIVED = ("input_resolution", "context_length", "vocab_size")  # numbers that OpenAI's files keep among the tensors
