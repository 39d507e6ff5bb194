"""V-V attention: a second stream next to a tower's own, in which every token attends to tokens of similar values.

AnomalyCLIP (ICLR 2024), section 3.2, there called DPAM: patches of the stream stay local, and so can be compared with
texts. The stream is constant, as the backbone is, and cached like a block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from adbench.backbone.outputs import Outputs


def attend(values: Tensor, heads: int) -> Tensor:
    """Return softmax(V V' / sqrt(d)) V of values (B, L, width), by head of d = width / heads channels."""
    v = values.unflatten(2, (heads, -1)).transpose(1, 2)
    weights = (v @ v.transpose(2, 3) / v.shape[-1] ** 0.5).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2)


def vv_stream(
    streams: Mapping[int, Tensor], wanted: Outputs, attended: Callable[[int, Tensor], Tensor]
) -> dict[int, Tensor]:
    """Return the V-V stream after the blocks of `wanted`, each (B, L, width).

    It starts as what enters block `vv_from`; each block adds `attended(block, s)`, its value-value attention of the own
    stream s as it enters the block, and no MLP. streams: by block, what leaves it, from `vv_from` - 1 on.
    """
    found: dict[int, Tensor] = {}
    if not wanted.vv:
        return found
    z = streams[wanted.vv_from - 1]
    for number in range(wanted.vv_from, max(wanted.vv) + 1):
        z = z + attended(number, streams[number - 1])
        if number in wanted.vv:
            found[number] = z
    return found
