"""relative_positions against a loop over pairs in numpy, torch's plain attention, and its card's departures."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reference_impl.layers.attention import causal_mask, padding_mask
from reference_impl.layers.positions import sinusoidal_positions
from reference_impl.relative_positions import (
    RelativeMultiHeadAttention,
    RelativePositionEmbedding,
    relative_positions_matrix,
    relative_scores,
    relative_values,
)

SIZES = [(2, 7, 12, 3, 2), (1, 5, 8, 1, 4), (3, 4, 8, 8, 0), (1, 1, 4, 2, 3), (2, 3, 6, 2, 20)]


def close(one: Tensor, other: Tensor, tolerance: float) -> bool:
    return torch.allclose(one, other, rtol=0, atol=tolerance)


def numpy_of(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def pair_by_pair(attention: RelativeMultiHeadAttention, x: Tensor, mask: Tensor) -> np.ndarray:
    """Return Eqs. 3 and 4 in numpy, one pair at a time."""
    b, n, d = x.shape
    width = d // attention.heads
    query, key, value = (
        numpy_of(x) @ numpy_of(part.weight).T for part in (attention.query, attention.key, attention.value)
    )
    of_keys, of_values = numpy_of(attention.key_positions.table), numpy_of(attention.value_positions.table)
    k = (of_keys.shape[1] - 1) // 2
    z = np.zeros((b, n, d))
    for s in range(b):
        for head in range(attention.heads):
            part, table = slice(head * width, (head + 1) * width), head % len(of_keys)
            for i in range(n):
                reach = [j for j in range(n) if mask[s, i, j]]
                rows = {j: max(-k, min(k, j - i)) + k for j in reach}
                e = [query[s, i, part] @ (key[s, j, part] + of_keys[table, rows[j]]) / math.sqrt(width) for j in reach]
                exponentials = np.exp(np.array(e) - max(e))
                for alpha, j in zip(exponentials / exponentials.sum(), reach, strict=True):
                    z[s, i, part] += alpha * (value[s, j, part] + of_values[table, rows[j]])
    return z @ numpy_of(attention.output.weight).T


def differentiable(attention: RelativeMultiHeadAttention, x: Tensor, mask: Tensor) -> Tensor:
    """Return Eqs. 3 and 4 with the vectors added to keys and values of every pair, without the split of Eq. 5."""
    b, n, d = x.shape
    h = attention.heads
    query, key, value = (
        part(x).view(b, n, h, d // h).permute(0, 2, 1, 3) for part in (attention.query, attention.key, attention.value)
    )
    k = attention.key_positions.max_relative_position
    row = torch.tensor([[max(-k, min(k, j - i)) + k for j in range(n)] for i in range(n)])
    keys = key[:, :, None] + attention.key_positions.table[:, row]
    values = value[:, :, None] + attention.value_positions.table[:, row]
    e = (query[:, :, :, None] * keys).sum(-1) / math.sqrt(d // h)
    alpha = e.masked_fill(~mask[:, None], -math.inf).softmax(-1)
    return attention.output((alpha[..., None] * values).sum(3).permute(0, 2, 1, 3).reshape(b, n, d))


def a_mask(kind: str, b: int, n: int) -> Tensor:
    padding = padding_mask(torch.arange(b) % n + 1, n)
    everything = torch.ones(b, n, n, dtype=torch.bool)
    return everything & {"all": everything, "padding": padding, "both": padding & causal_mask(n)}[kind]


@pytest.mark.parametrize("kind", ["all", "padding", "both"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(("b", "n", "d", "heads", "k"), SIZES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_attention_agrees_with_a_loop_over_pairs(
    dtype: torch.dtype, tolerance: float, b: int, n: int, d: int, heads: int, k: int, shared: bool, kind: str
) -> None:
    torch.manual_seed(0)
    attention = RelativeMultiHeadAttention(d, heads, k, shared).to(dtype)
    x = torch.randn(b, n, d, dtype=dtype, requires_grad=True)
    mask = a_mask(kind, b, n)
    found, expected = attention(x, mask), differentiable(attention, x, mask)
    assert close(found.double(), torch.from_numpy(pair_by_pair(attention, x, mask)), tolerance)
    assert close(found, expected, tolerance)
    pull = torch.randn_like(found)
    leaves = [x, *attention.parameters()]
    gradients = (torch.autograd.grad((output * pull).sum(), leaves) for output in (found, expected))
    assert all(close(one, other, 10 * tolerance) for one, other in zip(*gradients, strict=True))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_without_relative_positions_it_is_torchs_attention(heads: int, shared: bool) -> None:
    torch.manual_seed(0)
    mine = RelativeMultiHeadAttention(8, heads, 3, shared).double()
    theirs = nn.MultiheadAttention(8, heads, bias=False, batch_first=True).double()
    with torch.no_grad():
        mine.key_positions.table.zero_()
        mine.value_positions.table.zero_()
        theirs.in_proj_weight.copy_(torch.cat([part.weight for part in (mine.query, mine.key, mine.value)]))
        theirs.out_proj.weight.copy_(mine.output.weight)
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    output, weights = theirs(x, x, x, average_attn_weights=False)
    assert close(mine(x), output, 1e-10)
    assert close(mine.attention_weights(x), weights, 1e-10)


def test_gradients_agree_with_finite_differences() -> None:
    torch.manual_seed(0)
    attention = RelativeMultiHeadAttention(4, 2, 1, heads_share_relative_embedding=False).double()
    x = torch.randn(1, 4, 4, dtype=torch.float64, requires_grad=True)
    names = ["key_positions.table", "value_positions.table"]
    tables = [attention.get_parameter(name) for name in names]

    def compute(x: Tensor, *tables: Tensor) -> Tensor:
        return torch.func.functional_call(attention, dict(zip(names, tables, strict=True)), (x,))

    assert torch.autograd.gradcheck(compute, (x, *tables))


def test_the_key_term_is_in_the_scores() -> None:
    """Departure: Eq. 4. For equal words, plain attention has uniform weights."""
    torch.manual_seed(0)
    attention = RelativeMultiHeadAttention(8, 1, 2)
    words = torch.randn(1, 1, 8).expand(1, 5, 8)
    weights = attention.attention_weights(words)[0, 0]
    extra = attention.query(words)[0, 0] @ attention.key_positions.table[0].T / math.sqrt(8)
    expected = extra[[2, 3, 4, 4, 4]].softmax(dim=0)  # from the first place: distances 0, 1, 2 and beyond
    assert close(weights[0], expected, 1e-6)
    assert (weights - 1 / 5).abs().max() > 0.03


def test_the_value_term_is_in_the_output() -> None:
    """Departure: Eq. 3. With zero values, the output is the weighted mean of the relative positions."""
    torch.manual_seed(0)
    attention = RelativeMultiHeadAttention(8, 1, 2)
    nn.init.zeros_(attention.value.weight)
    words = torch.randn(1, 4, 8)
    rows = torch.tensor([[2, 3, 4, 4], [1, 2, 3, 4], [0, 1, 2, 3], [0, 0, 1, 2]])
    vectors = attention.value_positions.table[0, rows]
    expected = attention.output((attention.attention_weights(words)[0, 0, :, :, None] * vectors).sum(dim=1))
    assert close(attention(words)[0], expected, 1e-6)
    assert expected.abs().max() > 0.05


def test_distances_are_signed_and_clipped() -> None:
    """Departure: Section 3.2."""
    assert relative_positions_matrix(5, 2).tolist() == [
        [2, 3, 4, 4, 4],
        [1, 2, 3, 4, 4],
        [0, 1, 2, 3, 4],
        [0, 0, 1, 2, 3],
        [0, 0, 0, 1, 2],
    ]
    assert relative_positions_matrix(3, 0).tolist() == [[0, 0, 0]] * 3
    assert RelativePositionEmbedding(1, 2, 4)(50).shape == (1, 50, 50, 4)


def test_the_output_does_not_depend_on_the_absolute_position_of_a_sentence() -> None:
    """Departure: Section 4.2. No absolute positions are added; added sinusoids do change the output."""
    torch.manual_seed(0)
    attention = RelativeMultiHeadAttention(8, 2, 3).double()
    sentence = torch.randn(1, 5, 8, dtype=torch.float64)
    for before, after in ((1, 0), (4, 2), (30, 30)):
        n = before + 5 + after
        window = torch.randn(1, n, 8, dtype=torch.float64)
        window[:, before : before + 5] = sentence
        place = torch.arange(n)
        mask = ((place >= before) & (place < before + 5))[None, None]
        here = slice(before, before + 5)
        assert close(attention(window, mask)[:, here], attention(sentence), 1e-12)
        moved = attention(window + sinusoidal_positions(n, 8).double(), mask)[:, here]
        assert (moved - attention(sentence + sinusoidal_positions(5, 8).double())).abs().max() > 1e-3


def test_the_tables_have_the_sizes_of_the_published_models() -> None:
    """Departure: Section 4.1. Twelve layers of self-attention; base: k = 16, a table per head; big: k = 8, shared."""
    base = RelativeMultiHeadAttention(512, 8, 16, heads_share_relative_embedding=False)
    big = RelativeMultiHeadAttention(1024, 16, 8, heads_share_relative_embedding=True)
    assert base.key_positions.table.shape == base.value_positions.table.shape == (8, 33, 64)
    assert big.key_positions.table.shape == big.value_positions.table.shape == (1, 17, 64)
    assert sum(p.numel() for p in base.parameters()) == 4 * 512**2 + 405_504 // 12
    assert sum(p.numel() for p in big.parameters()) == 4 * 1024**2 + 26_112 // 12


def test_a_query_that_may_attend_nowhere_returns_zeros_without_nan() -> None:
    """Departure of the code: the paper's softmax is undefined there."""
    torch.manual_seed(0)
    attention = RelativeMultiHeadAttention(8, 2, 3)
    x = torch.randn(2, 4, 8, requires_grad=True)
    output = attention(x, padding_mask(torch.tensor([0, 2]), 4))
    assert (output[0] == 0).all()
    assert (output[1] != 0).all()
    output.square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert (x.grad[0] == 0).all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in attention.parameters())


def test_tables_are_read_on_their_device() -> None:
    with torch.device("meta"):
        attention, x = RelativeMultiHeadAttention(8, 2, 3), torch.zeros(1, 4, 8)
    assert attention(x).device.type == "meta"
    assert relative_positions_matrix(3, 1, "meta").device.type == "meta"


def test_vectors_are_drawn_as_long_as_a_unit_vector_and_separately() -> None:
    torch.manual_seed(0)
    attention = RelativeMultiHeadAttention(256, 4, 100, heads_share_relative_embedding=False)
    tables = attention.key_positions.table.detach(), attention.value_positions.table.detach()
    for table in tables:
        assert abs(table.square().sum(dim=-1).mean().item() - 1) < 0.05
        assert abs(table.mean().item()) < 0.005
    assert abs(torch.corrcoef(torch.stack([table.flatten() for table in tables]))[0, 1].item()) < 0.05
    assert abs(torch.corrcoef(tables[0].flatten(1))[0, 1].item()) < 0.05


def test_heads_with_their_own_tables_differ_from_heads_that_share_them() -> None:
    torch.manual_seed(0)
    own, shared = (
        RelativeMultiHeadAttention(8, 2, 1, heads_share_relative_embedding=False),
        RelativeMultiHeadAttention(8, 2, 1, heads_share_relative_embedding=True),
    )
    x = torch.randn(1, 4, 8)
    with torch.no_grad():
        for part in (own.query, own.key):
            part.weight.copy_(torch.eye(8))
            part.weight[4:, :4], part.weight[4:, 4:] = torch.eye(4), 0.0
        shared.query.weight.copy_(own.query.weight)
        shared.key.weight.copy_(own.key.weight)
    alike, different = shared.attention_weights(x)[0], own.attention_weights(x)[0]
    assert close(alike[0], alike[1], 1e-6)
    assert (different[0] - different[1]).abs().max() > 0.01


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(0, 7), st.booleans())
def test_weights_sum_to_one_where_anything_is_allowed(seed: int, n: int, k: int, shared: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(2, n, n, generator=generator) < 0.5
    attention = RelativeMultiHeadAttention(4, 2, k, shared).double()
    weights = attention.attention_weights(torch.randn(2, n, 4, generator=generator, dtype=torch.float64), mask)
    assert close(weights.sum(dim=-1), mask.any(dim=-1).double()[:, None].expand(2, 2, n), 1e-12)
    assert (weights[~mask[:, None].expand_as(weights)] == 0).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_with_k_0_order_is_lost_and_with_k_1_it_is_not(seed: int, n: int) -> None:
    torch.manual_seed(seed)
    x, order = torch.randn(1, n, 8, dtype=torch.float64), torch.arange(n).roll(1)
    one, more = (RelativeMultiHeadAttention(8, 2, k).double() for k in (0, 1))
    assert close(one(x[:, order]), one(x)[:, order], 1e-12)
    assert not close(more(x[:, order]), more(x)[:, order], 1e-6)


@pytest.mark.parametrize("tables", [1, 3])
def test_products_with_edges_agree_with_sums_over_pairs(tables: int) -> None:
    torch.manual_seed(0)
    query, weights = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.rand(2, 3, 4, 4, dtype=torch.float64)
    edges = torch.randn(tables, 4, 4, 5, dtype=torch.float64)
    assert close(relative_scores(query, edges), (query[:, :, :, None] * edges).sum(-1), 1e-12)
    assert close(relative_values(weights, edges), (weights[..., None] * edges).sum(3), 1e-12)


def test_errors_name_the_invalid_arguments() -> None:
    with pytest.raises(ValueError, match=r"^d_model 10 is not a multiple of heads 4$"):
        RelativeMultiHeadAttention(10, 4, 2)
    with pytest.raises(ValueError, match=r"^max_relative_position -1 is less than 0$"):
        RelativeMultiHeadAttention(8, 2, -1)


def test_distances_are_computed_on_the_device_that_is_named() -> None:
    assert relative_positions_matrix(3, 2, device="meta").device.type == "meta"


def test_heads_share_their_tables_unless_it_is_said_otherwise() -> None:
    assert len(RelativeMultiHeadAttention(8, 2, 3).key_positions.table) == 1
