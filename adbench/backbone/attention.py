"""Multi-head attention with one product of matrices for all tokens of a batch, where torch makes one for each token."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MultiheadAttention(nn.MultiheadAttention):
    """torch's attention of batches first, (B, L, width); its parameters, their names and its figures, up to rounding.

    With gradients, a mask or autocast, torch turns a batch around before its projections, and if they are frozen
    multiplies it token by token. Here they stay one product, which makes a block of ViT-L half again as fast on a CPU,
    and under bf16 many times. In other cases torch has a kernel of its own, and that one is used.
    """

    @classmethod
    def of(cls, other: nn.MultiheadAttention) -> MultiheadAttention:
        """Return this attention with the parameters of torch's own one, which are shared."""
        made = cls(other.embed_dim, other.num_heads, other.dropout, batch_first=True, device="meta")
        made.load_state_dict(other.state_dict(keep_vars=True), assign=True)
        return made.train(other.training)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None,
        need_weights: bool = True, attn_mask: Tensor | None = None, average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """Attend from `query` (B, N, width) to `key` and `value` (B, L, width); the weights are returned if asked for.

        attn_mask: (N, L) or (B * heads, N, L), added to the logits, or boolean: true where nothing is attended to.
        """
        if self._has_kernel(query, key, value, attn_mask) or need_weights or key_padding_mask is not None:
            return super().forward(
                query, key, value, key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal
            )
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            attn_mask = ~attn_mask
        if attn_mask is not None and attn_mask.dim() == 3:
            attn_mask = attn_mask.unflatten(0, (-1, self.num_heads))
        projected = self._projected(query, key, value)
        return self.out_proj(
            by_head(projected, self.num_heads, attn_mask, self.dropout if self.training else 0.0)
        ), None

    def _has_kernel(self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None) -> bool:
        """Whether torch has a kernel of its own for this."""
        learns = torch.is_grad_enabled() and any(each.requires_grad for each in (query, *self.parameters()))
        half = torch.is_autocast_enabled(query.device.type)
        return attn_mask is None and query is key is value and not learns and not half

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        """Return the projections of query, key and value, those of the same input as one product."""
        weight, bias, width = self.in_proj_weight, self.in_proj_bias, self.embed_dim
        if query is key is value:
            return F.linear(query, weight, bias).chunk(3, dim=-1)
        if key is value:
            return (
                F.linear(query, weight[:width], bias[:width]),
                *F.linear(key, weight[width:], bias[width:]).chunk(2, dim=-1),
            )
        inputs = zip((query, key, value), weight.chunk(3), bias.chunk(3), strict=True)
        return tuple(F.linear(each, w, b) for each, w, b in inputs)


def by_head(projected: Iterable[Tensor], heads: int, mask: Tensor | None = None, dropout: float = 0.0) -> Tensor:
    """Attend head by head from queries (B, N, C) to keys and values (B, L, C); return what the heads found (B, N, C).

    projected: queries, keys, values. mask: as torch's `scaled_dot_product_attention` takes it.
    """
    q, k, v = (each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in projected)
    return F.scaled_dot_product_attention(q, k, v, mask, dropout).transpose(1, 2).flatten(2)


def with_one_product(model: nn.Module) -> None:
    """Put this attention in the place of each of torch's in a model; they share the parameters."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.MultiheadAttention and child._qkv_same_embed_dim and child.batch_first:
                setattr(module, name, MultiheadAttention.of(child))
