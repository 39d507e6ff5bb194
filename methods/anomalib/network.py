"""The network that a model of anomalib's starts from, as adbench describes a backbone: timm's name, and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adbench.backbone.config import BackboneConfig
from adbench.config.schema import OWN
from adbench.errors import AdbenchError

from .models import Model

SCRATCH = "from scratch"  # what leaderboards show of a model without pretrained network


def names_a_tag(weights: str) -> bool:
    """Whether weights are those of a tag of timm's, and neither a file, `random`, nor `none`.

    >>> names_a_tag("a1_in1k"), names_a_tag("r18.safetensors"), names_a_tag("random")
    (True, False, False)
    """
    return weights not in ("random", "none") and not ("." in weights or "/" in weights)


def describe(
    name: str, row: Model, args: Mapping[str, Any], textures: str | None, weights: str | None
) -> BackboneConfig:
    """Return the description of a model's network; AdbenchError for weights or textures that it can't take.

    weights: what the user says of them; None: the pretrained ones of timm's default tag.
    """
    _check_pasted(name, row, args, textures)
    if not row.network:
        if weights is not None:
            raise AdbenchError(
                f"backbone.weights={weights} is not possible: anomalib's {name} is trained from scratch."
            )
        return BackboneConfig(
            title=row.title, model=SCRATCH, weights="none", input_size=row.input_size, normalisation="none", kind=OWN,
        )  # fmt: skip
    network, _, tag = str(args.get(row.argument, row.network) if row.argument else row.network).partition(".")
    pretrained = _pretrained(f"{network}.{tag}" if tag else network)
    check_weights(name, row, network, weights or pretrained.tag)
    return BackboneConfig(
        title=row.title, model=network, weights=weights or pretrained.tag, input_size=row.input_size,
        normalisation="none", kind=OWN, licence=getattr(pretrained, "license", None) or "",
    )  # fmt: skip


def check_weights(name: str, row: Model, network: str, weights: str) -> None:
    """Raise AdbenchError for weights that a model's constructor can't be given."""
    if row.switch or (names_a_tag(weights) and (row.argument or weights == default_tag(network))):
        return
    raise AdbenchError(
        f"backbone.weights={weights} is not possible: anomalib's {name} always takes the pretrained weights of "
        f"{network} from the Hugging Face cache, which HF_HOME names."
    )


def default_tag(network: str) -> str:
    """Return the tag of the weights that timm takes for a plain name.

    >>> default_tag("resnet18")
    'a1_in1k'
    """
    return str(_pretrained(network).tag)


def _pretrained(name: str) -> Any:
    from timm.models import get_pretrained_cfg, is_model

    if not is_model(name) or (found := get_pretrained_cfg(name)) is None:
        raise AdbenchError(f"timm has no network {name!r} with pretrained weights, as method.args= asks for.")
    return found


def _check_pasted(name: str, row: Model, args: Mapping[str, Any], textures: str | None) -> None:
    """Raise AdbenchError for pictures that a model doesn't paste, or that it lacks."""
    if row.textures and row.textures in args:
        raise AdbenchError(
            f"method.args={{{row.textures}: {args[row.textures]}}} is not possible: the folder of pictures that "
            f"anomalib's {name} pastes is named by method.textures=FOLDER, whose content is part of the key."
        )
    if not row.textures:
        if textures is not None:
            raise AdbenchError(f"method.textures= has no effect: anomalib's {name} pastes no pictures.")
    elif textures is None or not Path(textures).expanduser().is_dir():
        where = " is missing" if textures is None else f"={textures} is not a folder"
        raise AdbenchError(
            f"method.textures{where}: anomalib's {name} pastes pictures from a folder, of which its authors take the "
            "Describable Textures Dataset. Name it: method.textures=FOLDER"
        )
