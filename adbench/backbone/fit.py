"""Whether tensors are the weights of a backbone, and the tensors in the names of its model."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from adbench.backbone.config import BackboneConfig
from adbench.backbone.outline import outlines
from adbench.backbone.tensors import refuse_unfit
from adbench.backbone.weights import model_config
from adbench.errors import AdbenchError


def fitted(state: Mapping[str, Tensor], config: BackboneConfig, name: str, file: str) -> dict[str, Tensor]:
    """Return the tensors of a file as a backbone reads them; raises AdbenchError where they are not its weights.

    Of timm's models the published names become timm's, and a classifier is left out. The positions keep their number: a
    run resamples them to its input size.
    """
    if config.kind == "clip":
        from adbench.backbone.openclip import outline

        wanted = {key: tuple(value.shape) for key, value in outline(model_config(config, name)).state_dict().items()}
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
            raise AdbenchError(
                f"{file} does not hold weights of {config.model} (backbone {name!r}): {error}"
            ) from error
    refuse_unfit(file, config, name, ours, missing, extra)
    return ours


_DERIVED = ("input_resolution", "context_length", "vocab_size")  # numbers that OpenAI's files keep among the tensors
