"""A method of somebody else that reads blocks and knows nothing of kinds of backbones."""

from dataclasses import dataclass

from adbench import Architecture, Batch, Capability, Method, Scores


@dataclass
class Params:
    block: int = 0
    activation: str = "native"


class BlocksOnly(Method[Params]):
    """Scores an image by the mean of its tokens."""

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        block = params.block or architecture.depth // 2
        return Capability(support="normal", blocks=(block,), maps=False, stochastic=False, activation=params.activation)

    def score(self, batch: Batch) -> Scores:
        return Scores(batch.features.blocks[self.blocks[0]][:, 1:].mean((1, 2)))
