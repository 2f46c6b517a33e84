"""layers.positions against formulas entry by entry, against transformers' models, and against known properties."""

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import BloomConfig, LlamaConfig
from transformers.models.bloom.modeling_bloom import BloomAttention, build_alibi_tensor
from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb as rotate_as_gptj
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

from reference_impl.layers.attention import (
    MultiHeadAttention,
    causal_mask,
    masked_softmax,
    scaled_dot_score,
)
from reference_impl.layers.positions import (
    LearnedPositions,
    alibi_bias,
    alibi_slopes,
    apply_rotary_positions,
    integer_positions,
    sigmoid_positions,
    sinusoidal_positions,
)


@pytest.fixture
def float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def by_hand(position: int, column: int, d: int) -> float:
    angle = position / 10000 ** (column // 2 * 2 / d)
    return math.cos(angle) if column % 2 else math.sin(angle)


@pytest.mark.parametrize(("length", "d"), [(7, 8), (1, 6), (5, 7), (3, 1), (60, 512)])
@pytest.mark.usefixtures("float64")
def test_sinusoids_agree_with_the_formula_in_float64(length: int, d: int) -> None:
    expected = torch.tensor([[by_hand(t, c, d) for c in range(d)] for t in range(length)])
    assert sinusoidal_positions(length, d).dtype == torch.float64
    assert torch.allclose(sinusoidal_positions(length, d), expected, rtol=0, atol=1e-10)


def test_sinusoids_at_late_positions_are_exact_in_float32() -> None:
    last = sinusoidal_positions(100_000, 8)[-1]
    assert last.dtype == torch.float32
    assert torch.allclose(last, torch.tensor([by_hand(99_999, c, 8) for c in range(8)]), rtol=0, atol=1e-6)


def test_sines_and_cosines_alternate_from_position_zero() -> None:
    assert torch.equal(sinusoidal_positions(1, 6)[0], torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0, 1.0]))
    assert sinusoidal_positions(0, 6).shape == (0, 6)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 400), st.integers(0, 400), st.integers(0, 100))
def test_the_product_of_two_positions_depends_on_their_offset_alone(first: int, second: int, offset: int) -> None:
    positions = sinusoidal_positions(501, 32).double()
    one, other = (positions[start] @ positions[start + offset] for start in (first, second))
    assert torch.allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("max_length", "d", "weights"), [(512, 768, 393_216), (197, 768, 151_296)])
def test_learned_positions_have_one_row_for_each_position(max_length: int, d: int, weights: int) -> None:
    positions = LearnedPositions(max_length, d)
    assert sum(p.numel() for p in positions.parameters()) == weights
    assert torch.equal(positions(5), positions.table[:5])
    assert positions(max_length).shape == (max_length, d)
    assert 0.019 < positions.table.std().item() < 0.021


def test_learned_positions_refuse_a_longer_sequence_with_both_numbers() -> None:
    with pytest.raises(ValueError, match=r"^length 513 exceeds the 512 positions of the table$"):
        LearnedPositions(512, 4)(513)


def test_only_the_positions_in_use_get_a_gradient() -> None:
    positions = LearnedPositions(6, 4)
    positions(2).sum().backward()
    assert positions.table.grad is not None
    assert positions.table.grad.sum(dim=1).tolist() == [4, 4, 0, 0, 0, 0]


def test_positions_are_computed_on_the_device_of_what_they_are_for() -> None:
    x, positions = torch.zeros(3, 4, device="meta"), torch.arange(3, device="meta")
    made = [apply_rotary_positions(x, positions), alibi_slopes(2, "meta"), alibi_bias(2, 3, "meta")]
    assert [one.device.type for one in made] == ["meta"] * 3


def test_integer_and_sigmoid_positions_are_columns_that_can_be_added_to_any_width() -> None:
    assert integer_positions(4).tolist() == [[0], [1], [2], [3]]
    expected = [[1 / (1 + math.exp(-t))] for t in range(4)]
    assert torch.allclose(sigmoid_positions(4), torch.tensor(expected))
    assert (torch.zeros(4, 8) + sigmoid_positions(4)).shape == (4, 8)


# rotary positions


@pytest.mark.parametrize("axes", [(), (2,), (2, 3)])
def test_rotary_positions_multiply_pairs_by_complex_numbers_of_absolute_value_one(axes: tuple[int, ...]) -> None:
    x, positions = (
        torch.randn(*axes, 5, 8, dtype=torch.float64, requires_grad=True),
        torch.tensor([0, 1, 2, 7, 100_000]),
    )
    rates = torch.tensor([10000 ** (-2 * i / 8) for i in range(4)], dtype=torch.float64)
    angles = positions[:, None] * rates
    pairs = torch.view_as_complex(x.unflatten(-1, (4, 2)))
    expected = torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)
    found = apply_rotary_positions(x, positions)
    assert torch.allclose(found, expected, rtol=0, atol=1e-10)
    pull = torch.randn_like(x)
    gradients = [torch.autograd.grad((output * pull).sum(), x)[0] for output in (found, expected)]
    assert torch.allclose(gradients[0], gradients[1], rtol=0, atol=1e-10)
    assert torch.equal(found[..., 0, :], x[..., 0, :])


def test_neighboring_columns_are_rotated_as_in_gptj() -> None:
    x, angles = torch.randn(2, 6, 3, 8), torch.arange(6.0).outer(10000.0 ** (-torch.arange(0, 8, 2) / 8))
    expected = rotate_as_gptj(x, angles.sin()[None], angles.cos()[None])  # b, n, h, d
    found = apply_rotary_positions(x.transpose(1, 2), torch.arange(6)).transpose(1, 2)
    assert torch.allclose(found, expected, rtol=0, atol=1e-5)


def by_halves(x: Tensor) -> Tensor:
    """Put the first columns of all pairs before the second ones."""
    return torch.cat([x[..., 0::2], x[..., 1::2]], dim=-1)


def test_llama_rotates_the_same_columns_in_another_order() -> None:
    """Departure: the rotated pairs are neighbors. Scores are the same if queries and keys are permuted alike."""
    query, key = torch.randn(2, 3, 6, 8), torch.randn(2, 3, 6, 8)
    embedding = LlamaRotaryEmbedding(LlamaConfig(hidden_size=24, num_attention_heads=3, head_dim=8))
    cos, sin = embedding(query, torch.arange(6)[None])
    theirs = apply_rotary_pos_emb(by_halves(query), by_halves(key), cos, sin)
    ours = apply_rotary_positions(query, torch.arange(6)), apply_rotary_positions(key, torch.arange(6))
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(by_halves(mine), other, rtol=0, atol=1e-5)
        assert not torch.allclose(mine, other, atol=0.1)
    assert torch.allclose(ours[0] @ ours[1].mT, theirs[0] @ theirs[1].mT, rtol=0, atol=1e-5)


def test_rotary_positions_are_exact_at_late_positions_in_float32() -> None:
    x, late = torch.randn(1, 8), torch.tensor([99_999])
    rates = torch.tensor([10000 ** (-2 * i / 8) for i in range(4)], dtype=torch.float64)
    pairs = torch.view_as_complex(x.double().unflatten(-1, (4, 2)))
    expected = torch.view_as_real(pairs * (99_999j * rates).exp()).flatten(-2).float()
    assert apply_rotary_positions(x, late).dtype == torch.float32
    assert torch.allclose(apply_rotary_positions(x, late), expected, rtol=0, atol=1e-6)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(-100, 100))
def test_scores_of_rotated_vectors_depend_on_the_distance_alone(first: int, second: int, distance: int) -> None:
    """Departure: Su et al., Eq. 16. And added sinusoids do change the score."""
    query, key = torch.randn(1, 16, dtype=torch.float64), torch.randn(1, 16, dtype=torch.float64)

    def score(position: int) -> Tensor:
        there = torch.tensor([position + distance])
        return apply_rotary_positions(query, torch.tensor([position])) @ apply_rotary_positions(key, there).mT

    assert torch.allclose(score(first), score(second), rtol=0, atol=1e-8)


def test_rotary_positions_distinguish_far_distances() -> None:
    """Departure: nothing is clipped."""
    x, positions = torch.ones(1, 64), torch.tensor([0])
    scores = [apply_rotary_positions(x, positions + r) @ apply_rotary_positions(x, positions).mT for r in (500, 501)]
    assert (scores[0] - scores[1]).abs() > 1


def test_an_odd_width_can_not_be_rotated() -> None:
    with pytest.raises(ValueError, match=r"^d 7 is odd: columns are rotated in pairs$"):
        apply_rotary_positions(torch.randn(2, 7), torch.arange(2))


# linear biases


def test_slopes_are_those_that_the_paper_prints() -> None:
    assert alibi_slopes(8).tolist() == [1 / 2**k for k in range(1, 9)]
    assert torch.allclose(alibi_slopes(16), torch.tensor([2 ** (-k / 2) for k in range(1, 17)]))


@pytest.mark.parametrize("heads", [1, 2, 4, 8, 16, 32])
def test_for_a_power_of_two_slopes_are_those_of_bloom_and_mpt(heads: int) -> None:
    bloom = build_alibi_tensor(torch.ones(1, 2), heads, torch.float32)[:, 0, 1]
    mpt = -build_mpt_alibi_tensor(heads, 2)[:, 0, 0]  # type: ignore[no-untyped-call]
    assert torch.allclose(alibi_slopes(heads), bloom)
    assert torch.allclose(alibi_slopes(heads), mpt)


def test_otherwise_slopes_follow_the_papers_formula_and_not_the_authors_code() -> None:
    """Departure: the formula of Section 3 holds for any number of heads."""
    assert torch.allclose(alibi_slopes(12), torch.tensor([2 ** (-8 * k / 12) for k in range(1, 13)]))
    bloom = build_alibi_tensor(torch.ones(1, 2), 12, torch.float32)[:, 0, 1]
    assert torch.equal(bloom[:8], alibi_slopes(8))
    assert not torch.allclose(alibi_slopes(12), bloom, atol=0.1)


def test_attention_with_linear_biases_is_blooms() -> None:
    """Departure: a bias proportional to the distance is added to the scores, after their division by √d."""
    d, heads, n = 16, 4, 6
    bloom = BloomAttention(BloomConfig(hidden_size=d, n_head=heads), layer_idx=0).eval()
    mine = MultiHeadAttention(d, heads)
    fused = [
        torch.stack([getattr(p, kind).unflatten(0, (heads, -1)) for p in (mine.query, mine.key, mine.value)], 1)
        for kind in ("weight", "bias")
    ]
    with torch.no_grad():
        bloom.query_key_value.weight.copy_(fused[0].flatten(0, 2))
        bloom.query_key_value.bias.copy_(fused[1].flatten())
        bloom.dense.weight.copy_(mine.output.weight)
        bloom.dense.bias.copy_(mine.output.bias)
    x = 3 * torch.randn(2, n, d)
    forbidden = torch.zeros(n, n).masked_fill(~causal_mask(n), torch.finfo(torch.float32).min)
    alibi = build_alibi_tensor(torch.ones(2, n), heads, torch.float32)
    expected = bloom(x, torch.zeros_like(x), alibi, forbidden[None, None])[0]
    query, key, value = (
        part(x).unflatten(-1, (heads, -1)).transpose(1, 2) for part in (mine.query, mine.key, mine.value)
    )
    weights = masked_softmax(scaled_dot_score(query, key) + alibi_bias(heads, n), causal_mask(n))
    found = mine.output((weights @ value).transpose(1, 2).flatten(2))
    assert torch.allclose(found, expected, rtol=0, atol=1e-5)
    plain = mine(x, x, x, causal_mask(n))
    assert (found - plain).abs().max() > 0.1


def test_biases_are_symmetric_and_grow_with_the_distance() -> None:
    """Departure: for an encoder, which the paper does not treat, later keys are penalized like earlier ones."""
    bias = alibi_bias(2, 4)
    assert bias[0].tolist() == [[-abs(i - j) / 16 for j in range(4)] for i in range(4)]
    assert torch.equal(bias, bias.mT)
    assert torch.equal(bias[1] * 16, bias[0])
