"""timm's ViTs as backbones: DINOv2, DINOv3, MAE, supervised ones and the image towers of SigLIP. Images only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from adbench.backbone.config import BackboneConfig
from adbench.backbone.contract import Backbone, Features
from adbench.backbone.entering import entering
from adbench.backbone.outputs import Outputs
from adbench.backbone.timm_models import build_model
from adbench.backbone.vv import attend, vv_stream


class ViT(Backbone):
    """A timm `VisionTransformer`, or an `Eva`, whose positions are rotated into queries and keys."""

    def build(self, config: BackboneConfig) -> None:
        """Build timm's model."""
        self.model = build_model(config, self.name, self.input_size, self.weights_path)

    @property
    def trunk(self) -> Any:
        """The model of timm."""
        return self.model

    def pooled(self, last: Tensor) -> Tensor:
        """Return the pooled embedding (B, embed_dim) of what leaves timm's last norm."""
        embedding: Tensor = self.trunk.forward_head(last, pre_logits=True)
        return embedding

    @classmethod
    def activations(cls, config: BackboneConfig) -> Sequence[str]:
        """The model's own alone."""
        return ("own",)

    def read(self, images: Tensor, wanted: Outputs) -> Features:
        """Read blocks, their register tokens, the V-V stream and the pooled embedding."""
        blocks = wanted.streams
        pooled = wanted.pooled or not blocks
        later = sorted(blocks - {0})
        with entering(self.trunk.norm_pre) as stream:
            out = self.trunk.forward_intermediates(
                images, indices=[b - 1 for b in later or [1]], stop_early=not pooled, intermediates_only=not pooled,
                output_fmt="NLC", return_prefix_tokens=True,
            )  # fmt: skip
        last, streams = out if pooled else (None, out)
        whole = dict(zip(later, map(_whole, streams), strict=False))
        if 0 in blocks:
            whole[0] = stream[0]
        shape = self.architecture
        first, patches = shape.prefix, shape.prefix + shape.registers

        def without_registers(stream: Tensor) -> Tensor:
            return torch.cat([stream[:, :first], stream[:, patches:]], dim=1) if shape.registers else stream

        return Features(
            {block: without_registers(whole[block]) for block in sorted(wanted.blocks)},
            None if last is None else self.pooled(last),
            registers={block: whole[block][:, first:patches] for block in sorted(wanted.registers)},
            vv={b: without_registers(z) for b, z in vv_stream(whole, wanted, self._attend_values).items()},
        )

    def norm(self, tokens: Tensor) -> Tensor:
        """Apply the final norm of the image tower to last-block tokens (..., width)."""
        last = self.trunk.norm
        normed: Tensor = (self.trunk.fc_norm if isinstance(last, nn.Identity) else last)(tokens)
        return normed

    def run_blocks(self, tokens: Tensor, first: int, last: int) -> Tensor:
        """Run a stream (B, 1 + patches, width), as it enters block `first`, onward through block `last`.

        Refused for a model with registers, which are no part of the stream, or with rotary positions.
        """
        blocks = self.image_blocks
        self.check_run(first, last)
        for block in blocks[first - 1 : last]:
            tokens = block(tokens)
        return tokens

    @property
    def image_blocks(self) -> Sequence[nn.Module]:
        """The blocks of the image tower; refused as in `run_blocks`."""
        from timm.models import VisionTransformer

        if self.architecture.registers or not isinstance(self.trunk, VisionTransformer):
            return super().image_blocks
        blocks: Any = self.trunk.blocks
        return list(blocks)

    @property
    def layers(self) -> Sequence[nn.Module]:
        """The blocks of any model, for torch.compile."""
        blocks: Any = self.trunk.blocks
        return list(blocks)

    def _attend_values(self, number: int, stream: Tensor) -> Tensor:
        block = self.trunk.blocks[number - 1]
        attention = block.attn
        z = attention.proj(attend(_values(attention, block.norm1(stream)), attention.num_heads))
        if hasattr(block, "ls1"):
            return block.ls1(z)
        return z if block.gamma_1 is None else block.gamma_1 * z


def _whole(stream: Any) -> Tensor:
    """Join the prefix tokens that timm hands out apart, where a model has any."""
    return torch.cat([stream[1], stream[0]], dim=1) if isinstance(stream, (tuple, list)) else stream


def _values(attention: Any, x: Tensor) -> Tensor:
    """Return the values (B, L, width) of timm's attention, whose projections are in one layer or in three."""
    if attention.qkv is None:
        return attention.v_proj(x)
    third = attention.qkv.weight.shape[0] // 3
    bias = attention.qkv.bias
    own = getattr(attention, "v_bias", None) if bias is None else bias[2 * third :]
    return nn.functional.linear(x, attention.qkv.weight[2 * third :], own)
