"""Reading a weights file, and saying in one sentence that it is not one of the model's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from adbench.backbone.config import BackboneConfig
from adbench.errors import AdbenchError

Shapes = Mapping[str, tuple[int, ...]]


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, floats as float32."""
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise AdbenchError(f"{path} is not a readable safetensors file: {error}.") from error
    for key, value in state.items():
        check_type(value, key, str(path))
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def check_type(value: Tensor, key: str, file: str) -> None:
    """Raise AdbenchError for a tensor of quantised, complex or boolean numbers; int64 are counters and indices."""
    if not value.is_floating_point() and value.dtype != torch.int64:
        kind = str(value.dtype).removeprefix("torch.")
        raise AdbenchError(f"{file} is refused: {key[:80]!r} in it holds {kind} numbers, where floats are needed.")


def refuse_unfit(
    file: str, config: BackboneConfig, name: str, state: Mapping[str, Tensor], missing: Shapes, extra: Shapes
) -> None:
    """Raise AdbenchError where a file's tensors are not those of the model, or are not finite.

    missing: shapes that the model needs and the file lacks or has otherwise, by name; extra: shapes of tensors that the
    model has no place for.
    """
    wrong = [*sorted(missing), *sorted(extra)]
    if wrong:
        key = wrong[0]
        has = tuple(state[key].shape) if key in state else "nothing"
        raise AdbenchError(
            f"{file} does not hold weights of {config.model} (backbone {name!r}): {len(wrong)} tensors differ, the "
            f"first is {key}: the file has {has}, the model needs {missing.get(key, 'nothing')}. Choose the backbone "
            "that the weights belong to."
        )
    refuse_endless(file, state)


def refuse_endless(file: str, state: Mapping[str, Tensor]) -> None:
    """Raise AdbenchError for a tensor that holds NaN or infinity.

    What a tensor's sum says is enough where it is finite, and reads the memory once.
    """
    for key, value in state.items():
        if value.is_floating_point() and not bool(value.sum().isfinite()) and not bool(value.isfinite().all()):
            raise AdbenchError(
                f"{file} is refused: {key[:80]!r} in it holds NaN or infinity. Fetch the file or export it again."
            )
