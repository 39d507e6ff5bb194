"""`adbench list backbones`: a table of their kinds, sizes and licences, and of whether their weights are here."""

from __future__ import annotations

from collections.abc import Iterator

from adbench.backbone.config import Architecture, BackboneConfig
from adbench.backbone.weights import architecture, is_here, parameters
from adbench.config import layers
from adbench.errors import AdbenchError
from adbench.plugins import registry
from adbench.system.progress import track

HEADER = ("name", "kind", "title", "parameters", "input", "patch or strides", "licence", "weights")


def backbone_rows() -> Iterator[tuple[str, ...]]:
    """Yield a row of `HEADER` for each registered backbone; of one that can't be used, why."""
    names = list(registry.shipped("backbone"))
    for name in track(names, "backbones", len(names)):
        try:
            config = layers.section(BackboneConfig, "backbone", name)
            shape = architecture(config, name)
            count = parameters(config, name)
            size = "text not here" if count is None else f"{count / 1e6:.1f} M"
            here = "random" if config.weights == "random" else "here" if is_here(config, name) else "not here"
        except AdbenchError as error:
            packages = ", ".join(registry.shipped("backbone")[name])
            yield name, "", f"broken: {error}  [{packages}]", "", "", "", "", ""
            continue
        yield (
            name, config.kind, config.title, size, f"{config.input_size} px", patch_or_strides(shape),
            config.licence or "not stated", here,
        )  # fmt: skip


def patch_or_strides(shape: Architecture) -> str:
    """Write the pixels of a patch, or of the steps of a CNN's stages with the first one's number.

    >>> from adbench.backbone.config import Stage
    >>> patch_or_strides(Architecture(12, 384, 14, 384, kind="vit", registers=4))
    '14, 4 registers'
    >>> patch_or_strides(Architecture(0, 0, 0, 512, kind="cnn", stages=(Stage(0, 64, 2), Stage(1, 64, 4))))
    'stages 0-1: 2, 4'
    """
    if shape.stages:
        first, last = shape.stages[0].number, shape.stages[-1].number
        return f"stages {first}-{last}: {', '.join(str(stage.stride) for stage in shape.stages)}"
    extra = [f"{shape.registers} registers"] if shape.registers else []
    extra += [] if shape.class_token else ["no class token"]
    return ", ".join([str(shape.patch), *extra])
