"""`adbench weights convert`: a published file of tensors becomes safetensors, without running what it may hold."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adbench.backbone.config import BackboneConfig
from adbench.backbone.weights import PICKLES
from adbench.config import layers
from adbench.errors import AdbenchError
from adbench.system.files import write_output

# What published files put around the tensors: dictionaries under these keys, and the beginnings of names.
NESTED = ("state_dict", "model_state_dict", "teacher", "model", "model_ema", "params", "weights")
HEADS = ("head", "dino_head", "ibot_head")
PREFIXES = ("module.", "_orig_mod.", "teacher.", "backbone.")


def convert(file: Path, backbone: str, out: Path | None) -> tuple[Path, str]:
    """Write the tensors of a file as safetensors that fit a backbone; return the new file and its SHA-256.

    file: what `torch.save` wrote. It is read with `weights_only=True`, which unpickles tensors and plain containers
    alone and runs nothing; a file with anything else is refused, as is one whose tensors are not the backbone's. out:
    by default next to the file, with the ending .safetensors; one that exists is not overwritten.
    """
    config = layers.section(BackboneConfig, "backbone", backbone)
    out = file.with_suffix(".safetensors") if out is None else out
    if out.suffix != ".safetensors":
        raise AdbenchError(f"--out {out} is not possible: the file's name has to end in .safetensors.")
    if out.exists():
        raise AdbenchError(f"{out} exists already. Give another file: --out FILE.safetensors")
    state = unwrapped(_read(file), str(file))
    from safetensors.torch import save

    from adbench.backbone.fit import fitted

    tensors = {name: value.contiguous().clone() for name, value in fitted(state, config, backbone, str(file)).items()}
    write_output(out, save(tensors), "file with --out FILE.safetensors", [file])
    return out, hashlib.sha256(out.read_bytes()).hexdigest()


def _read(file: Path) -> Any:
    """Return what a file of `torch.save`, or a safetensors file, holds."""
    import torch

    if not file.is_file():
        raise AdbenchError(f"{file} is not a file.")
    if file.suffix == ".safetensors":
        from adbench.backbone.tensors import read_safetensors

        return read_safetensors(file)
    if file.suffix not in PICKLES:
        raise AdbenchError(f"{file} can't be converted: give a file that ends in {', '.join(PICKLES)} or .safetensors.")
    try:
        with warnings.catch_warnings(action="ignore"):  # of TorchScript archives, with paths of torch's
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever is wrong with the bytes of a pickle or archive
        refused = re.search(r"Unsupported (?:global|class|operand)[^\n]*?([\w.]+)(?= was not)", str(error))
        why = f"it names {refused[1]}" if refused else type(error).__name__  # torch's text advises to run it anyway
        raise AdbenchError(
            f"{file} is refused: it can't be read as tensors alone ({why}). A file that holds Python objects, "
            "or a TorchScript archive, would run code of its author's when it is loaded. Ask for a state dict."
        ) from error


def unwrapped(content: Any, file: str) -> dict[str, Any]:
    """Return the tensors by name, out of the dictionaries and prefixes that training frameworks put around them.

    >>> import torch
    >>> sorted(unwrapped({"epoch": 3, "state_dict": {"module.a": torch.ones(1), "module.b": torch.ones(1)}}, "x.pth"))
    ['a', 'b']
    """
    import torch

    from adbench.backbone.tensors import check_type

    found, outer = content, list[Any]()
    while isinstance(found, Mapping) and not any(isinstance(value, torch.Tensor) for value in found.values()):
        outer.append(found)
        inner = [key for key in NESTED if isinstance(found.get(key), Mapping)]
        if not inner or any(found[inner[0]] is one for one in outer):  # a dictionary may hold itself
            break
        found = found[inner[0]]
    if not isinstance(found, Mapping) or not found:
        raise AdbenchError(f"{file} is refused: it holds no tensors by name, but a {type(content).__name__}.")
    for key, value in found.items():
        if not isinstance(key, str):
            raise AdbenchError(f"{file} is refused: its tensors are called by {type(key).__name__}, not by names.")
        if not isinstance(value, torch.Tensor):
            kind = type(value).__name__
            raise AdbenchError(f"{file} is refused: {key[:80]!r} in it is a {kind}, where tensors alone are needed.")
        if value.layout is not torch.strided or value.device.type != "cpu":
            raise AdbenchError(f"{file} is refused: {key[:80]!r} in it is a sparse tensor, or one without values.")
        check_type(value, key, file)
    names = dict(found)
    parts = {name.partition(".")[0] for name in names}
    if "backbone" in parts and parts <= {"backbone", *HEADS}:  # of a teacher's or student's training
        names = {name: value for name, value in names.items() if name.startswith("backbone.")}
    if not names:
        raise AdbenchError(f"{file} is refused: of its tensors, those of a backbone are missing.")
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in names)), None):
        names = {name.removeprefix(prefix): value for name, value in names.items()}
    return names
