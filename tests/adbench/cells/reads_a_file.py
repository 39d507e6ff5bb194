"""A method of somebody else with a parameter that names a file, or a folder of them."""

from dataclasses import dataclass
from pathlib import Path

import torch

from adbench import Architecture, Batch, Capability, Method, Scores, Support


@dataclass
class Params:
    table: str | None = None


class ReadsAFile(Method[Params]):
    """Scores every image by the number of bytes that the file had when it was fitted."""

    files = ("table",)

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        return Capability(support="normal", pooled=True, class_token=False, maps=False, stochastic=False)

    def build(self) -> None:
        self.register_buffer("length", torch.zeros(()))

    def prepare(self, support: Support) -> None:
        self.length.fill_(len(Path(self.params.table or "").read_bytes()))

    def score(self, batch: Batch) -> Scores:
        return Scores(self.length.expand(len(batch.images)))
