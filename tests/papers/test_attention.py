"""layers.attention against torch's own attention, loops over pairs, and numerical gradients."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaAttention

from reference_impl.layers.attention import (
    AdditiveScore,
    GeneralScore,
    GroupedQueryAttention,
    LocationScore,
    MultiHeadAttention,
    causal_mask,
    cosine_score,
    dot_score,
    masked_softmax,
    padding_mask,
    scaled_dot_product_attention,
    scaled_dot_score,
)

PRECISION = [(torch.float64, 1e-10), (torch.float32, 1e-5)]
SIZES = [(2, 5, 7, 12, 3), (3, 4, 4, 8, 8), (1, 6, 6, 10, 1), (2, 1, 3, 6, 2), (1, 1, 1, 4, 1)]


def close(one: Tensor, other: Tensor, tolerance: float) -> bool:
    return torch.allclose(one, other, rtol=0, atol=tolerance)


def torchs(mine: MultiHeadAttention, bias: bool) -> nn.MultiheadAttention:
    """Return torch's module with the same weights."""
    d = mine.query.in_features
    theirs = nn.MultiheadAttention(d, mine.heads, bias=bias, batch_first=True).to(mine.query.weight.dtype)
    parts = (mine.query, mine.key, mine.value)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        theirs.out_proj.weight.copy_(mine.output.weight)
        if bias:
            theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
            theirs.out_proj.bias.copy_(mine.output.bias)
    return theirs


def a_mask(kind: str, b: int, n: int, m: int) -> Tensor | None:
    if kind == "none":
        return None
    padding = padding_mask(torch.arange(b) % m + 1, m)
    causal = torch.ones(n, m, dtype=torch.bool).tril()
    return {"padding": padding, "causal": causal, "both": padding & causal}[kind]


@pytest.mark.parametrize("kind", ["none", "padding", "causal", "both"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("b", "n", "m", "d", "heads"), SIZES)
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISION)
def test_multi_head_attention_agrees_with_torch(
    dtype: torch.dtype, tolerance: float, b: int, n: int, m: int, d: int, heads: int, bias: bool, kind: str
) -> None:
    torch.manual_seed(0)
    mine = MultiHeadAttention(d, heads, bias=bias).to(dtype)
    theirs = torchs(mine, bias)
    mask = a_mask(kind, b, n, m)
    forbidden = None if mask is None else ~mask.expand(b, n, m).repeat_interleave(heads, dim=0)
    inputs = [torch.randn(b, length, d, dtype=dtype, requires_grad=True) for length in (n, m, m)]
    output, weights = theirs(*inputs, attn_mask=forbidden, average_attn_weights=False)
    assert close(mine(*inputs, mask), output, tolerance)
    assert close(mine.attention_weights(inputs[0], inputs[1], mask), weights, tolerance)

    pull = torch.randn(b, n, d, dtype=dtype)
    parts = [mine.query, mine.key, mine.value]
    expected = torch.autograd.grad((output * pull).sum(), [*inputs, theirs.in_proj_weight, theirs.out_proj.weight])
    found = torch.autograd.grad(
        (mine(*inputs, mask) * pull).sum(), [*inputs, *(part.weight for part in parts), mine.output.weight]
    )
    assert all(close(one, other, 10 * tolerance) for one, other in zip(found[:3], expected[:3], strict=True))
    assert close(torch.cat(found[3:6]), expected[3], 10 * tolerance)
    assert close(found[6], expected[4], 10 * tolerance)


@pytest.mark.parametrize("axes", [(), (3,), (2, 3)])
@pytest.mark.parametrize("kind", ["none", "causal"])
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISION)
def test_the_fused_kernel_computes_the_equation(
    dtype: torch.dtype, tolerance: float, kind: str, axes: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    query, key, value = (
        torch.randn(*axes, length, d, dtype=dtype, requires_grad=True) for length, d in ((4, 6), (5, 6), (5, 3))
    )
    mask = a_mask(kind, 1, 4, 5)
    with sdpa_kernel(SDPBackend.MATH):
        oracle = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    written_out = masked_softmax(scaled_dot_score(query, key), mask) @ value
    fused = scaled_dot_product_attention(query, key, value, mask)
    for output in (written_out, fused):
        assert close(output, oracle, tolerance)
        found, expected = (
            torch.autograd.grad(out.square().sum(), (query, key, value), retain_graph=True) for out in (output, oracle)
        )
        assert all(close(one, other, 10 * tolerance) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("masked", [False, True])
def test_no_matrix_of_all_pairs_is_kept_for_the_backward_pass(masked: bool) -> None:
    n = 64
    query, key, value = (torch.randn(2, 3, n, 8, requires_grad=True) for _ in range(3))
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point():
            kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        if masked:
            lengths = torch.tensor([n, n - 1])
            scaled_dot_product_attention(query, key, value, padding_mask(lengths, n).unsqueeze(1))
        else:
            scaled_dot_product_attention(query, key, value)
    assert kept
    assert max(kept) < 2 * 3 * n * n


def test_a_query_that_may_attend_nowhere_gets_zeros_and_no_nan() -> None:
    torch.manual_seed(0)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    query, key, value = (torch.randn(2, length, 4, requires_grad=True) for length in (2, 3, 3))
    for output in (
        scaled_dot_product_attention(query, key, value, mask),
        masked_softmax(scaled_dot_score(query, key), mask) @ value,
    ):
        assert (output[:, 1] == 0).all()
        assert (output[:, 0] != 0).all()
        with torch.autograd.set_detect_anomaly(True):
            gradients = torch.autograd.grad(output.square().sum() + output.sum(), (query, key, value))
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert (gradients[0][:, 1] == 0).all()
        assert (gradients[0][:, 0] != 0).any()
        assert (gradients[2][:, 2] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_an_empty_sentence_passes_through_every_precision_without_nan(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    attention = MultiHeadAttention(8, 2).to(dtype)
    x = torch.randn(3, 4, 8, dtype=dtype, requires_grad=True)
    mask = padding_mask(torch.tensor([4, 0, 1]), 4)
    output = attention(x, x, x, mask)
    assert torch.equal(output[1], attention.output.bias.expand(4, 8))
    assert (attention.attention_weights(x, x, mask)[1] == 0).all()
    output.square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert (x.grad[1] == 0).all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in attention.parameters())


def test_a_masked_score_may_be_anything() -> None:
    scores = torch.tensor([[0.0, 1.0, math.inf], [math.nan, 3.0, -math.inf]], requires_grad=True)
    mask = torch.tensor([[True, True, False], [False, True, False]])
    weights = masked_softmax(scores, mask)
    assert torch.equal(weights[0, :2], scores[0, :2].softmax(dim=0))
    assert torch.equal(weights[1], torch.tensor([0.0, 1.0, 0.0]))
    (gradient,) = torch.autograd.grad(weights[0, 0], scores)
    assert gradient.isfinite().all()
    assert (gradient[~mask] == 0).all()


def test_a_mask_is_exact_however_low_the_allowed_scores_are() -> None:
    scores, mask = torch.tensor([[-100.0, -101.0, 0.0]]), torch.tensor([[True, True, False]])
    expected = F.pad(scores[:, :2].softmax(dim=-1), (0, 1))
    assert close(masked_softmax(scores, mask), expected, 1e-6)
    query, key = torch.tensor([[[1.0]]]), scores[..., None]
    assert close(scaled_dot_product_attention(query, key, torch.eye(3)[None], mask)[0], expected, 1e-6)


def test_large_scores_do_not_overflow() -> None:
    weights = masked_softmax(torch.tensor([[1e30, -1e30, 0.0]]), torch.tensor([[False, True, True]]))
    assert torch.equal(weights, torch.tensor([[0.0, 0.0, 1.0]]))


masks = st.integers(0, 2**32 - 1).map(lambda seed: torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=50)
@given(masks, st.integers(1, 3), st.integers(1, 5), st.integers(1, 6))
def test_weights_sum_to_one_where_anything_is_allowed_and_are_zero_where_not(
    generator: torch.Generator, b: int, n: int, m: int
) -> None:
    mask = torch.rand(b, n, m, generator=generator) < 0.5
    weights = masked_softmax(torch.randn(b, n, m, generator=generator, dtype=torch.float64), mask)
    assert close(weights.sum(dim=-1), mask.any(dim=-1).double(), 1e-12)
    assert (weights >= 0).all()
    assert (weights[~mask] == 0).all()


@settings(deadline=None, max_examples=50)
@given(masks, st.integers(1, 6), st.sampled_from([1, 2, 4]))
def test_self_attention_is_equivariant_to_order(generator: torch.Generator, n: int, heads: int) -> None:
    attention = MultiHeadAttention(8, heads).double()
    x = torch.randn(2, n, 8, generator=generator, dtype=torch.float64)
    order = torch.randperm(n, generator=generator)
    shuffled = x[:, order]
    assert close(attention(shuffled, shuffled, shuffled), attention(x, x, x)[:, order], 1e-12)


@settings(deadline=None, max_examples=50)
@given(masks, st.integers(1, 5), st.integers(0, 4))
def test_the_content_of_padding_changes_nothing(generator: torch.Generator, length: int, padding: int) -> None:
    attention = MultiHeadAttention(8, 2).double()
    x = torch.randn(1, length + padding, 8, generator=generator, dtype=torch.float64)
    mask = padding_mask(torch.tensor([length]), length + padding)
    alone = x[:, :length]
    assert close(attention(x, x, x, mask)[:, :length], attention(alone, alone, alone), 1e-12)


def test_a_causal_mask_lets_no_gradient_pass_from_the_past_to_the_future() -> None:
    torch.manual_seed(0)
    attention = MultiHeadAttention(8, 2)
    x = torch.randn(1, 5, 8, requires_grad=True)
    for i in range(5):
        (gradient,) = torch.autograd.grad(attention(x, x, x, causal_mask(5))[0, i].sum(), x)
        assert (gradient[0, i + 1 :] == 0).all()
        assert (gradient[0, : i + 1] != 0).any(dim=-1).all()


def test_masks_are_true_where_a_query_may_attend() -> None:
    assert causal_mask(3).tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    assert padding_mask(torch.tensor([0, 2, 3]), 3).tolist() == [
        [[False, False, False]],
        [[True, True, False]],
        [[True, True, True]],
    ]
    assert causal_mask(2, device="meta").device.type == "meta"
    assert padding_mask(torch.zeros(2, dtype=torch.long, device="meta"), 3).device.type == "meta"


def test_cached_keys_and_values_give_the_same_as_all_at_once() -> None:
    torch.manual_seed(0)
    attention = MultiHeadAttention(12, 3).double()
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    whole = attention(x, x, x, causal_mask(5))
    kept = attention.keys_values(x[:, :2], x[:, :2])
    for i in range(2, 5):
        new = attention.keys_values(x[:, i : i + 1], x[:, i : i + 1])
        kept = torch.cat([kept[0], new[0]], dim=2), torch.cat([kept[1], new[1]], dim=2)
        assert close(attention.attend(x[:, i : i + 1], *kept), whole[:, i : i + 1], 1e-12)


@pytest.mark.parametrize("masked", [False, True])
def test_dropout_drops_weights_at_its_rate_and_scales_the_others(masked: bool) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(1, 5, 4), torch.randn(1, 400, 4), torch.eye(400)[None]
    mask = torch.arange(400) < 300 if masked else None
    weights, dropped = (scaled_dot_product_attention(query, key, value, mask, rate) for rate in (0.0, 0.25))
    kept = dropped != 0
    assert close(dropped[kept], weights[kept] / 0.75, 1e-6)
    assert abs(kept[weights != 0].float().mean().item() - 0.75) < 0.05


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "attention",
    [MultiHeadAttention(8, 4, dropout=0.5), GroupedQueryAttention(8, 4, 2, dropout=0.5)],
    ids=["multi-head", "grouped-query"],
)
def test_weights_are_dropped_in_training_only(attention: MultiHeadAttention, masked: bool) -> None:
    x, mask = torch.randn(1, 6, 8), causal_mask(6) if masked else None
    without = MultiHeadAttention(8, 4) if type(attention) is MultiHeadAttention else GroupedQueryAttention(8, 4, 2)
    without.load_state_dict(attention.state_dict())
    assert torch.equal(attention.eval()(x, x, x, mask), without(x, x, x, mask))
    assert (attention.train()(x, x, x, mask) - without(x, x, x, mask)).abs().max() > 0.01
    assert torch.equal(without.train()(x, x, x, mask), without.eval()(x, x, x, mask))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("heads", "key_heads"), [(4, 4), (4, 2), (4, 1), (6, 3)])
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISION)
def test_grouped_query_attention_is_llamas_without_positions(
    dtype: torch.dtype, tolerance: float, heads: int, key_heads: int, bias: bool
) -> None:
    torch.manual_seed(0)
    d, n = 24, 5
    mine = GroupedQueryAttention(d, heads, key_heads, bias=bias).to(dtype)
    config = LlamaConfig(hidden_size=d, num_attention_heads=heads, num_key_value_heads=key_heads, attention_bias=bias)
    config._attn_implementation = "eager"
    theirs = LlamaAttention(config, layer_idx=0).to(dtype)
    names = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "o_proj"}
    parts = [name.split(".") for name in mine.state_dict()]
    theirs.load_state_dict({f"{names[part]}.{kind}": mine.state_dict()[f"{part}.{kind}"] for part, kind in parts})
    x = torch.randn(2, n, d, dtype=dtype, requires_grad=True)
    unturned = torch.ones(1, n, d // heads, dtype=dtype), torch.zeros(1, n, d // heads, dtype=dtype)
    forbidden = torch.zeros(n, n, dtype=dtype).masked_fill(~causal_mask(n), -math.inf)[None, None]
    output, weights = theirs(x, unturned, forbidden)
    # In float64 too, the softmax of that code has the precision of float32.
    tolerance = max(tolerance, 1e-6)
    assert close(mine(x, x, x, causal_mask(n)), output, tolerance)
    assert close(mine.attention_weights(x, x, causal_mask(n)), weights, tolerance)
    everywhere, weights = theirs(x, unturned, None)
    assert close(mine(x, x, x), everywhere, tolerance)
    assert close(mine.attention_weights(x, x), weights, tolerance)
    pull = torch.randn_like(x)
    leaves = [([x, *mine.parameters()], mine(x, x, x, causal_mask(n))), ([x, *theirs.parameters()], output)]
    found, expected = (torch.autograd.grad((out * pull).sum(), inputs) for inputs, out in leaves)
    assert all(close(one, other, 20 * tolerance) for one, other in zip(found, expected, strict=True))


def test_a_cache_of_fewer_key_heads_is_smaller_in_proportion() -> None:
    attention, x = GroupedQueryAttention(24, 6, 2), torch.randn(3, 5, 24)
    assert [part.shape for part in attention.keys_values(x, x)] == [(3, 2, 5, 4)] * 2
    with pytest.raises(ValueError, match=r"^heads 6 is not a multiple of key_heads 4$"):
        GroupedQueryAttention(24, 6, 4)
    with pytest.raises(ValueError, match=r"^heads 6 is not a multiple of key_heads 0$"):
        GroupedQueryAttention(24, 6, 0)


@pytest.mark.parametrize(("bias", "expected"), [(True, 1_050_624), (False, 1_048_576)])
def test_the_base_transformers_attention_has_its_number_of_parameters(bias: bool, expected: int) -> None:
    assert sum(p.numel() for p in MultiHeadAttention(512, 8, bias=bias).parameters()) == expected


@pytest.mark.parametrize("heads", [7, 0, -2])
def test_a_width_that_does_not_divide_is_refused_with_both_numbers(heads: int) -> None:
    with pytest.raises(ValueError, match=f"^d_model 512 is not a multiple of heads {heads}$"):
        MultiHeadAttention(512, heads)


Score = Callable[[Tensor, Tensor], Tensor]
ByHand = Callable[[Tensor, Tensor, int], Tensor]


def scores_and_their_formulas() -> list[tuple[Score, ByHand]]:
    torch.manual_seed(1)
    general, additive, location = GeneralScore(4, 4), AdditiveScore(4, 4, 6), LocationScore(4, 9)
    for module in (general, additive, location):
        module.double()
    w, u = additive.query.weight, additive.key.weight
    return [
        (dot_score, lambda q, k, j: sum(a * b for a, b in zip(q, k, strict=True))),
        (scaled_dot_score, lambda q, k, j: sum(a * b for a, b in zip(q, k, strict=True)) / 2),
        (cosine_score, lambda q, k, j: F.cosine_similarity(q, k, dim=0)),
        (general, lambda q, k, j: F.bilinear(q, k, general.key.weight[None])[0]),
        (additive, lambda q, k, j: (additive.vector.weight[0] * (w @ q + u @ k).tanh()).sum()),
        (location, lambda q, k, j: location.projection.weight[j] @ q),
    ]


@pytest.mark.parametrize("which", range(6))
@pytest.mark.parametrize("axes", [(), (2,), (2, 3)])
def test_a_score_agrees_with_its_formula_pair_by_pair(axes: tuple[int, ...], which: int) -> None:
    score, formula = scores_and_their_formulas()[which]
    query, key = (torch.randn(*axes, n, 4, dtype=torch.float64, requires_grad=True) for n in (3, 5))
    found = score(query, key)
    rows = [
        torch.stack([torch.stack([formula(q, k, j) for j, k in enumerate(ks)]) for q in qs])
        for qs, ks in zip(query.reshape(-1, 3, 4), key.reshape(-1, 5, 4), strict=True)
    ]
    expected = torch.stack(rows).reshape(*axes, 3, 5)
    assert close(found, expected, 1e-10)
    pull = torch.randn_like(found)
    gradients = (
        torch.autograd.grad((scores * pull).sum(), (query, key), allow_unused=True) for scores in (found, expected)
    )
    for one, other in zip(*gradients, strict=True):
        assert (one is None) == (other is None)
        assert one is None or close(one, other, 1e-10)


@pytest.mark.parametrize("which", range(6))
def test_the_gradient_of_a_score_agrees_with_finite_differences(which: int) -> None:
    score, _ = scores_and_their_formulas()[which]
    query, key = (torch.randn(2, n, 4, dtype=torch.float64, requires_grad=True) for n in (3, 5))
    assert torch.autograd.gradcheck(score, (query, key))


@pytest.mark.parametrize("make", [GeneralScore, lambda d_query, d_key: AdditiveScore(d_query, d_key, 5)])
def test_learned_scores_compare_queries_and_keys_of_different_widths(make: Callable[[int, int], nn.Module]) -> None:
    assert make(3, 6)(torch.randn(2, 4, 3), torch.randn(2, 7, 6)).shape == (2, 4, 7)


def test_the_cosine_score_of_a_zero_vector_is_zero_and_not_nan() -> None:
    query = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    scores = cosine_score(query, torch.tensor([[30.0, 40.0], [0.0, 0.0]]))
    assert torch.allclose(scores, torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    (gradient,) = torch.autograd.grad(scores.sum(), query)
    assert gradient.isfinite().all()


def test_location_scores_ignore_the_keys_and_refuse_more_than_max_length() -> None:
    score = LocationScore(4, max_length=3)
    query = torch.randn(2, 5, 4)
    assert torch.equal(score(query, torch.randn(2, 3, 6)), score(query, torch.zeros(2, 3, 6)))
    assert torch.equal(score(query, torch.randn(2, 2, 6)), score(query, torch.zeros(2, 3, 6))[..., :2])
    with pytest.raises(ValueError, match=r"^4 keys exceed max_length 3$"):
        score(query, torch.randn(2, 4, 6))
