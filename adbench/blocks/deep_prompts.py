"""Deep prompts: learnable vectors inside the text tower (MaPLe, Khattak et al., CVPR 2023; here of text alone)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adbench.backbone.contract import Backbone


class DeepPrompts(nn.Module):
    """Learnable vectors that take the place of the first words of every prompt before some blocks of the text tower.

    Before each block from 2 to `last`, the `length` tokens behind the start token are thrown away, and vectors of the
    block's own, the same for all prompts, stand there instead: those of the block before have been read by then. A
    tower with fewer blocks has them in all but its first. With a `last` below 2 there are none.
    """

    def __init__(self, backbone: Backbone, last: int, length: int, std: float = 0.02) -> None:
        super().__init__()
        shape = backbone.architecture
        blocks = max(0, min(last, shape.text_depth) - 1)
        self.vectors = nn.Parameter(nn.init.normal_(torch.empty(blocks, length, shape.text_width), std=std))

    def forward(self, backbone: Backbone, embedded: Tensor, end: Tensor) -> Tensor:
        """Return (N, embed_dim), not normalised, of word vectors (N, L, text width) with ends (N,).

        Under the tower's own mask. Nothing behind the last end reaches the result, and it is cut off.
        """
        first, behind = backbone.lead, backbone.lead + self.vectors.shape[1]
        stream = backbone.enter_text(embedded)[:, : int(end.max()) + 1]
        for i, block in enumerate(backbone.text_blocks):
            if 1 <= i <= len(self.vectors):
                own = self.vectors[i - 1].expand(len(stream), -1, -1)
                stream = torch.cat([stream[:, :first], own, stream[:, behind:]], dim=1)
            stream = backbone.run_text_block(block, stream, end)
        return backbone.read_text(stream, end)
