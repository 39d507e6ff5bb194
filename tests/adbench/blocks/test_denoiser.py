from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from adbench.blocks.denoiser import (
    Attention,
    DecoderLayer,
    Denoiser,
    EncoderLayer,
    GridPosition,
    check,
    denoiser_of,
    half_grid,
    initialise,
    neighbour_mask,
)
from adbench.errors import AdbenchError


def attention(a: torch.nn.MultiheadAttention, q, k, v, mask=None):
    """Multi-head attention written out: softmax(q k / sqrt(d)) v per head."""
    wq, wk, wv = a.in_proj_weight.chunk(3)
    bq, bk, bv = a.in_proj_bias.chunk(3)
    q, k, v = (
        (x @ w.T + b).unflatten(-1, (a.num_heads, a.head_dim)).transpose(1, 2)
        for x, w, b in ((q, wq, bq), (k, wk, bk), (v, wv, bv))
    )
    logits = q @ k.transpose(-1, -2) / a.head_dim**0.5
    if mask is not None:
        logits = logits.masked_fill(mask, float("-inf"))
    return (logits.softmax(-1) @ v).transpose(1, 2).flatten(2) @ a.out_proj.weight.T + a.out_proj.bias


def test_the_mask_by_hand() -> None:
    blocked = neighbour_mask(5, 3)
    corner, middle = blocked[0].view(5, 5), blocked[12].view(5, 5)
    assert corner.nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert middle.nonzero().tolist() == [[i, j] for i in (1, 2, 3) for j in (1, 2, 3)]
    assert torch.equal(blocked, blocked.T)


def test_both_senses_are_opposites_and_none_is_none() -> None:
    assert torch.equal(neighbour_mask(14, 7, "allowed"), ~neighbour_mask(14, 7, "blocked"))
    assert neighbour_mask(14, 7, "none") is None


@pytest.mark.parametrize(("grid", "largest"), [(14, 13), (8, 7), (7, 5), (3, 1)])
def test_the_largest_window_still_leaves_every_patch_one_to_see(grid: int, largest: int) -> None:
    assert not neighbour_mask(grid, largest).all(1).any()
    with pytest.raises(AdbenchError, match=rf"method.neighbours={largest + 2} .* {grid} x {grid}.*at most {largest},"):
        neighbour_mask(grid, largest + 2)
    assert neighbour_mask(grid, largest + 2, "allowed") is not None


def test_an_even_window_is_refused() -> None:
    for size in (4, -1):
        with pytest.raises(AdbenchError, match=f"method.neighbours={size} is not possible: an odd number"):
            neighbour_mask(14, size)


def test_half_of_the_grid_is_always_a_possible_window() -> None:
    assert [half_grid(grid) for grid in (14, 16, 17, 24)] == [7, 7, 7, 11]
    for grid in range(2, 30):
        assert neighbour_mask(grid, half_grid(grid)) is not None


def test_positions_tell_column_and_row() -> None:
    position = GridPosition(3, 4)
    p = position().view(3, 3, 4)
    torch.testing.assert_close(p[2, 1], torch.cat([position.column[1], position.row[2]]))


def test_layers_by_hand() -> None:
    torch.manual_seed(0)
    x, memory, position = torch.randn(2, 9, 8), torch.randn(2, 9, 8), torch.randn(9, 8)
    mask = neighbour_mask(3, 1)

    def norm(layer, values):
        return F.layer_norm(values, (8,), layer.norm.weight, layer.norm.bias)

    def mlp(layer, values):
        first, _, _, second = layer.layers
        return norm(layer, values + F.relu(values @ first.weight.T + first.bias) @ second.weight.T + second.bias)

    encoder = EncoderLayer(8, 2, 16, 0.5).eval()
    wanted = norm(encoder.attend, x + attention(encoder.attend.attention, x + position, x + position, x, mask))
    torch.testing.assert_close(encoder(x, mask, position), mlp(encoder.feed_forward, wanted), atol=1e-5, rtol=1e-4)

    decoder = DecoderLayer(9, 8, 2, 16, 0.5).eval()
    q = decoder.queries.expand(2, -1, -1)
    first, second = decoder.memory, decoder.previous
    y = norm(first, q + attention(first.attention, q + position, memory + position, memory, mask))
    y = norm(second, y + attention(second.attention, y + position, x + position, x, mask))
    torch.testing.assert_close(decoder(x, memory, mask, position), mlp(decoder.feed_forward, y), atol=1e-5, rtol=1e-4)


def test_the_first_decoder_layer_starts_from_the_encoders_output() -> None:
    torch.manual_seed(0)
    denoiser = Denoiser(4, 8, 2, 1, 2, 16, 0.0, neighbour_mask(4, 1)).eval()
    x, position = torch.randn(1, 16, 8), denoiser.position()
    memory = denoiser.encoder[0](x, denoiser.mask, position)
    one = denoiser.decoder[0](memory, memory, denoiser.mask, position)
    two = denoiser.decoder[1](one, memory, denoiser.mask, position)
    torch.testing.assert_close(denoiser(x), denoiser.norm(two))


def test_a_blocked_patch_does_not_reach_its_own_query() -> None:
    torch.manual_seed(0)
    layer = DecoderLayer(16, 8, 2, 16, 0.0).eval()
    x = torch.randn(1, 16, 8)
    changed = x.clone()
    changed[0, 5] += 1
    difference = (
        (
            layer(x, x, neighbour_mask(4, 3), torch.zeros(16, 8))
            - layer(changed, changed, neighbour_mask(4, 3), torch.zeros(16, 8))
        )
        .abs()
        .amax(-1)[0]
    )
    around = neighbour_mask(4, 3)[5]
    assert torch.equal(difference > 1e-6, ~around)


def test_the_mask_is_not_saved_and_uniads_size_is_uniads() -> None:
    with torch.device("meta"):
        denoiser = Denoiser(14, 256, 8, 4, 4, 1024, 0.1, neighbour_mask(14, 7))
    assert not any("mask" in key for key in denoiser.state_dict())
    # 7,717,392 with the projections 272 -> 256 -> 272 of its EfficientNet features
    projections = 272 * 256 + 256 + 256 * 272 + 272
    assert sum(p.numel() for p in denoiser.parameters()) + projections == 7_717_392


def test_initial_values() -> None:
    torch.manual_seed(0)
    attend = Attention(64, 8, 0.0)
    linear = torch.nn.Linear(64, 32)
    for module in (attend, linear):
        initialise(module)
    bound = (6 / (64 + 32)) ** 0.5
    assert bound * 0.95 < float(linear.weight.detach().abs().max()) <= bound
    assert not linear.bias.any()
    assert not attend.attention.out_proj.bias.any()


def test_its_operations_can_be_counted() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    denoiser = Denoiser(4, 16, 2, 1, 1, 32, 0.0, None).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        denoiser(torch.randn(1, 16, 16))
    assert counter.get_total_flops() > 0


UNIAD = {
    "width": 256, "heads": 8, "encoder_layers": 4, "decoder_layers": 4, "feed_forward": 1024, "dropout": 0.1,
    "neighbours": 0, "mask": "blocked",
}  # fmt: skip


@pytest.mark.parametrize(("grid", "neighbours", "window"), [(14, 0, 7), (8, 0, 3), (8, 5, 5), (14, 3, 3)])
def test_of_a_methods_parameters_its_window_follows_the_grid(grid: int, neighbours: int, window: int) -> None:
    params = SimpleNamespace(**UNIAD | {"width": 16, "feed_forward": 8, "neighbours": neighbours})
    made = denoiser_of(params, grid)
    middle = grid // 2 * grid + grid // 2
    assert torch.equal(made.mask, neighbour_mask(grid, window))
    assert made.mask[middle].sum() == window**2
    assert denoiser_of(SimpleNamespace(**vars(params) | {"mask": "none"}), grid).mask is None


def test_of_uniads_parameters_it_has_uniads_parts() -> None:
    with torch.device("meta"):
        made = denoiser_of(SimpleNamespace(**UNIAD), 14)
    assert (len(made.encoder), len(made.decoder), made.encoder[0].attend.attention.num_heads) == (4, 4, 8)
    assert [part.p for part in made.modules() if isinstance(part, torch.nn.Dropout)] == [0.1] * (4 * 3 + 4 * 4)
    assert made.decoder[3].queries.shape == (196, 256)
    assert made.decoder[0].feed_forward.layers[0].out_features == 1024


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("mask", "odd", "method.mask=odd is not possible: choose from blocked, allowed, none"),
        ("width", 100, "method.width=100 is not possible with method.heads=8: give a multiple of 16"),
        ("width", 0, "method.width=0 is not possible: at least 1"),
        ("heads", 0, "method.heads=0 is not possible: at least 1"),
        ("decoder_layers", -1, "method.decoder_layers=-1 is not possible: at least 0"),
        ("dropout", 1.5, "method.dropout=1.5 is not possible: a share from 0 to 1"),
    ],
)
def test_what_no_grid_allows_is_refused(key: str, value: object, said: str) -> None:
    check(SimpleNamespace(**UNIAD))
    with pytest.raises(AdbenchError, match=said):
        check(SimpleNamespace(**UNIAD | {key: value}))
