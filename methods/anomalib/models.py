"""What is known of anomalib's models without importing it, which takes half a minute: the rows of models.yaml."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from adbench.config.layers import load_yaml, merge
from adbench.errors import AdbenchError, did_you_mean


@dataclass
class Model:
    """A row of models.yaml.

    title, paper: what it is and where it was published.
    why_not: a sentence that says why it can't run here; empty where it can.
    network: the timm model whose pretrained weights it starts from, with or without a tag; empty: trained from scratch.
    licence: of these weights, as timm states it.
    argument: the constructor's argument that names another network; empty: there is none.
    switch: whether the constructor can leave out fetching pretrained weights.
    textures: the constructor's argument for a folder of pictures that it pastes into images; empty: it takes none.
    input_size: pixels of the square images that enter it, of a centre crop those of the crop.
    epochs: how many anomalib's configurations or README train; 0: it says itself, or only collects features.
    least_support: with how few images it can be fitted.
    maps: whether it draws maps.
    """

    title: str
    paper: str
    why_not: str = ""
    network: str = ""
    licence: str = ""
    argument: str = ""
    switch: bool = False
    textures: str = ""
    input_size: int = 256
    epochs: int = 0
    least_support: int = 1
    maps: bool = True


@functools.cache
def models() -> Mapping[str, Model]:
    """Return the rows of models.yaml by the name of anomalib's class."""
    file = resources.files(__package__) / "models.yaml"
    return {name: merge(Model, row, {}, f"{file}: {name}") for name, row in load_yaml(file).items()}


def runnable(name: str) -> Model:
    """Return the row of a model; AdbenchError for one that is unknown, or that can't run, with the reason."""
    known = models()
    able = [one for one, row in known.items() if not row.why_not]
    if name not in known:
        raise AdbenchError(f"method.model={name} is no image model of anomalib: {did_you_mean(name, able)}")
    if why := known[name].why_not:
        raise AdbenchError(f"method.model={name} can't run here: {why} Models that can: {', '.join(able)}.")
    return known[name]
