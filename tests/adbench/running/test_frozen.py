"""A method that changes the backbone that all methods share: refused, before a feature of it is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

METHOD = """
from dataclasses import dataclass

import torch

from adbench import Capability, Method, Scores


@dataclass
class Params:
    how: str = "not"


class Meddler(Method[Params]):
    @classmethod
    def capability(cls, params, architecture):
        return Capability(support="normal", blocks=architecture.levels(4)[-1:])

    def build(self):
        self.register_buffer("mean", torch.zeros(self.backbone.architecture.width))
        first = self.backbone.image_blocks[0]
        if self.params.how == "forward":
            plain = first.mlp.forward
            first.mlp.forward = lambda x: 0.7 * plain(x)
        elif self.params.how == "hook":
            first.register_forward_hook(lambda module, given, output: 0.7 * output)
        elif self.params.how == "module":
            first.mlp = torch.nn.Identity()
        elif self.params.how == "mode":
            self.backbone.model.train()

    def build_memory(self, support):
        (tokens,) = self.encode(support.images).blocks.values()
        self.mean = tokens[:, 1:].mean((0, 1))
        if self.params.how == "weights":
            with torch.no_grad():
                next(self.backbone.model.parameters()).mul_(1.01)

    def score(self, batch):
        (tokens,) = batch.features.blocks.values()
        distance = (tokens[:, 1:] - self.mean).norm(dim=-1)
        return Scores(distance.amax(1), distance.unflatten(1, (self.backbone.grid,) * 2))
"""


@pytest.mark.parametrize(
    ("how", "cache", "says"),
    [
        ("weights", "disk", "was written into or replaced"),
        ("forward", "disk", "resblocks.0.mlp runs other code than it was built with"),
        ("forward", "off", "resblocks.0.mlp runs other code than it was built with"),
        ("hook", "disk", "resblocks.0 runs other code"),
        ("module", "disk", "resblocks.0.mlp"),
        ("mode", "disk", "isn't in eval mode"),
    ],
)
def test_a_method_that_changes_its_backbone_is_refused(
    adbench, tiny: Path, tmp_path: Path, how: str, cache: str, says: str
) -> None:
    (tmp_path / "meddler.py").write_text(METHOD)
    words = [
        "run", f"method={tmp_path / 'meddler.py'}:Meddler", "shots=2", "gallery=0", f"data_root={tiny}",
        f"cache={tmp_path / 'cache'}", f"feature_cache={cache}",
    ]  # fmt: skip
    answer = adbench(*words, f"method.how={how}", f"runs={tmp_path / 'runs'}")
    assert answer.code == 1
    assert "a method has changed its backbone, which must stay as it was built" in answer.err
    assert says in answer.err
    figures = []
    for runs, more in (("after", []), ("alone", [f"cache={tmp_path / 'other'}"])):
        given = [word for word in words if not (more and word.startswith("cache="))]
        assert adbench(*given, *more, f"runs={tmp_path / runs}").code == 0
        (file,) = (tmp_path / runs).glob("*/record.json")
        figures.append(json.loads(file.read_text())["metrics"])
    assert figures[0] == figures[1], "what it left in the cache changes no other cell"
