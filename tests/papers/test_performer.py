"""performer against performer-pytorch with its directions, a loop over pairs in numpy, and its card's departures."""

import copy
import math
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from reference_impl import performer
from reference_impl.layers.attention import MultiHeadAttention, causal_mask, padding_mask
from reference_impl.performer import (
    FavorAttention,
    FeatureMap,
    favor_attention,
    gaussian_orthogonal_random_matrix,
    gaussian_random_matrix,
    hyperbolic_features,
    positive_features,
    prefix_sum,
    random_features,
    relu_features,
    replace_attention,
    trigonometric_features,
)
from reference_impl.transformer import EncoderLayer, PreNorm, Transformer

with warnings.catch_warnings():  # it imports distutils, and a deprecated name of torch's
    warnings.simplefilter("ignore")
    from performer_pytorch import performer_pytorch as public

# batch, heads, queries, keys, width, directions
SIZES = [(2, 3, 7, 9, 8, 32), (1, 1, 1, 1, 4, 5), (2, 1, 6, 6, 1, 3), (1, 2, 1, 6, 16, 40)]
TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-5}
FEATURE_MAPS = [positive_features, hyperbolic_features, trigonometric_features, relu_features]


def close(one: Tensor, other: Tensor, tolerance: float) -> bool:
    return torch.allclose(one, other, rtol=0, atol=tolerance)


def vectors(
    b: int, h: int, n: int, m: int, d: int, dtype: torch.dtype = torch.float64, scale: float = 0.7
) -> tuple[Tensor, Tensor, Tensor]:
    query, key, value = torch.randn(b, h, n, d), torch.randn(b, h, m, d), torch.randn(b, h, m, d)
    leaves = [x.to(dtype).requires_grad_() for x in (scale * query, scale * key, value)]
    return leaves[0], leaves[1], leaves[2]


def gradients(output: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    weighting = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).reshape(output.shape)
    return list(torch.autograd.grad((output * weighting).sum(), inputs))


def fast_attention(projection: Tensor, **settings: Any) -> Any:
    theirs = public.FastAttention(projection.shape[1], nb_features=projection.shape[0], **settings)
    theirs.projection_matrix = projection
    return theirs


class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Remember how many numbers the largest tensor had that any operation returned."""

    numbers = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return result


def largest(run: Callable[[], Tensor]) -> int:
    with Largest() as counter:  # type: ignore[no-untyped-call]
        torch.autograd.backward(run().sum())
    return counter.numbers


def saved(run: Callable[[], Tensor]) -> int:
    """Return how many numbers the backward pass keeps, each storage counted once."""
    storages: dict[int, int] = {}
    kept = []  # so that no address is used twice

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        kept.append(run())
    return sum(storages.values())


def g_and_exponent(kernel: FeatureMap, w: np.ndarray, x: np.ndarray) -> list[float]:
    """Return the features of one vector for one direction, as the paper writes them."""
    half = float(x @ x) / 2
    if kernel is positive_features:
        return [math.exp(w @ x - half)]
    if kernel is hyperbolic_features:
        return [math.exp(w @ x - half) / math.sqrt(2), math.exp(-w @ x - half) / math.sqrt(2)]
    if kernel is trigonometric_features:
        return [math.exp(half) * math.sin(w @ x), math.exp(half) * math.cos(w @ x)]
    return [max(0.0, float(w @ x)) + 1e-3]


def pair_by_pair(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    W: Tensor,
    kernel: FeatureMap,
    valid: list[bool] | None = None,
    causal: bool = False,
) -> np.ndarray:
    """Return the estimate for one head in numpy: no stabilizer, one weight at a time."""
    query, key, value, projection = (x.detach().double().numpy() for x in (q, k, v, W))
    d = query.shape[1]

    def phi(x: np.ndarray) -> np.ndarray:
        return np.array([f for w in projection for f in g_and_exponent(kernel, w, x * d**-0.25)])

    out = np.zeros((len(query), value.shape[1]))
    for i in range(len(query)):
        seen = [j for j in range(len(key)) if (valid is None or valid[j]) and (not causal or j <= i)]
        weight = {j: phi(query[i]) @ phi(key[j]) for j in seen}
        for j in seen:
            out[i] += weight[j] / sum(weight.values()) * value[j]
    return out


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("b", "h", "n", "m", "d", "r"), SIZES)
def test_it_agrees_with_performer_pytorch(
    b: int, h: int, n: int, m: int, d: int, r: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(public, "softmax_kernel", partial(public.softmax_kernel, eps=0.0))
    torch.manual_seed(0)
    inputs, W = vectors(b, h, n, m, d, dtype), gaussian_orthogonal_random_matrix(r, d).to(dtype)
    ours, theirs = favor_attention(*inputs, W), fast_attention(W)(*inputs)
    assert close(ours, theirs, TOLERANCE[dtype])
    for one, other in zip(gradients(ours, inputs), gradients(theirs, inputs), strict=True):
        assert close(one, other, TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("b", "h", "n", "d", "r"), [(2, 3, 9, 8, 32), (1, 1, 1, 4, 5), (2, 1, 140, 2, 3)])
def test_causal_it_agrees_with_performer_pytorch(
    b: int, h: int, n: int, d: int, r: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(public, "softmax_kernel", partial(public.softmax_kernel, eps=0.0))
    torch.manual_seed(0)
    inputs, W = vectors(b, h, n, n, d, dtype), gaussian_orthogonal_random_matrix(r, d).to(dtype)
    peer = fast_attention(W, causal=True)
    peer.causal_linear_fn = partial(public.causal_linear_attention_noncuda, eps=0.0)
    ours, theirs = favor_attention(*inputs, W, causal=True), peer(*inputs)
    assert close(ours, theirs, TOLERANCE[dtype])
    for one, other in zip(gradients(ours, inputs), gradients(theirs, inputs), strict=True):
        assert close(one, other, TOLERANCE[dtype])


@pytest.mark.parametrize("causal", [False, True])
def test_relu_agrees_with_the_generalized_attention_of_performer_pytorch(causal: bool) -> None:
    torch.manual_seed(0)
    inputs, W = vectors(2, 2, 7, 7, 4), gaussian_orthogonal_random_matrix(10, 4).double()
    peer = fast_attention(W, causal=causal, generalized_attention=True)
    if causal:
        peer.causal_linear_fn = partial(public.causal_linear_attention_noncuda, eps=0.0)
    ours, theirs = favor_attention(*inputs, W, relu_features, causal=causal), peer(*inputs)
    assert close(ours, theirs, 1e-8)
    for one, other in zip(gradients(ours, inputs), gradients(theirs, inputs), strict=True):
        assert close(one, other, 1e-8)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kernel", FEATURE_MAPS)
def test_it_agrees_with_a_loop_over_pairs(kernel: FeatureMap, causal: bool) -> None:
    torch.manual_seed(0)
    (q, k, v), W = vectors(1, 1, 6, 6, 3, scale=0.5), gaussian_orthogonal_random_matrix(7, 3).double()
    valid = [True, False, True, True, True, False]
    out = favor_attention(q, k, v, W, kernel, torch.tensor(valid)[None], causal, chunk_size=4)
    assert np.allclose(out[0, 0].detach(), pair_by_pair(q[0, 0], k[0, 0], v[0, 0], W, kernel, valid, causal), atol=1e-8)


@pytest.mark.parametrize("causal", [False, True])
def test_float32_is_as_good_as_float64(causal: bool) -> None:
    torch.manual_seed(0)
    inputs, W = vectors(2, 2, 200, 200, 16), gaussian_orthogonal_random_matrix(64, 16)
    exact = favor_attention(*inputs, W.double(), causal=causal)
    query, key, value = (x.float() for x in inputs)
    single = favor_attention(query, key, value, W, causal=causal)
    assert close(single.double(), exact, 1e-5)


@pytest.mark.parametrize(("a", "b"), [(0.6, 0.5), (0.7, -0.5), (0.0, 0.8)])
def test_the_errors_are_those_of_the_papers_lemma(a: float, b: float) -> None:
    torch.manual_seed(0)
    x, y = a * torch.eye(3)[:1].double(), b * (torch.eye(3)[:1] + torch.eye(3)[1:2]).double()
    W = gaussian_random_matrix(400_000, 3).double()
    exact = (x @ y.T).exp()

    def mean_squared_error(kernel: FeatureMap) -> Tensor:
        products = random_features(x, W, kernel) * random_features(y, W, kernel) * len(W)
        return (products.reshape(-1, len(W)).sum(dim=0) - exact).square().mean()

    def grown(z: Tensor) -> Tensor:
        return z.square().sum().exp()

    of_positive = grown(x + y) * exact**2 * (1 - 1 / grown(x + y))
    of_hyperbolic = (1 - 1 / grown(x + y)) / 2 * of_positive
    of_trigonometric = grown(x + y) / exact**2 * (1 - 1 / grown(x - y)) ** 2 / 2
    assert (mean_squared_error(positive_features) / of_positive - 1).abs() < 0.1
    assert (mean_squared_error(hyperbolic_features) / of_hyperbolic - 1).abs() < 0.1
    assert (mean_squared_error(trigonometric_features) / of_trigonometric - 1).abs() < 0.1


@pytest.mark.parametrize(("m", "d"), [(10, 4), (3, 8), (1, 1), (8, 4)])
def test_directions_are_orthogonal_in_blocks_and_as_long_as_gaussian_vectors(m: int, d: int) -> None:
    torch.manual_seed(0)
    W = gaussian_orthogonal_random_matrix(m, d)
    assert W.shape == (m, d)
    for start in range(0, m, d):
        gram = W[start : start + d] @ W[start : start + d].T
        assert close(gram, torch.diag(gram.diagonal()), 1e-5)
    squares = gaussian_orthogonal_random_matrix(4000 * d, d).square().sum(dim=1)
    assert abs(squares.mean() / d - 1) < 0.1  # χ²(d) has mean d and variance 2d
    assert abs(squares.var() / (2 * d) - 1) < 0.3


def test_directions_point_everywhere() -> None:
    torch.manual_seed(0)
    ours = torch.stack([gaussian_orthogonal_random_matrix(3, 3) for _ in range(2000)])
    theirs = torch.stack([public.gaussian_orthogonal_random_matrix(3, 3) for _ in range(2000)])
    assert ours.mean(dim=0).abs().max() < 0.15  # 1/√2000 is 0.022
    assert theirs.mean(dim=0).abs().max() > 0.5
    z = torch.tensor([0.7, 0.0, 0.0])  # the mean of exp(w·z) is exp(z·z/2) for every row, where rows are Gaussian
    mean_of_each_row = (ours @ z).exp().mean(dim=0)
    assert (mean_of_each_row / math.exp(0.49 / 2) - 1).abs().max() < 0.12
    assert ((theirs @ z).exp().mean(dim=0) / math.exp(0.49 / 2) - 1).abs().max() > 0.25


def test_prefix_sums_have_the_right_gradients_twice() -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(3, size, dtype=torch.float64, requires_grad=True) for size in (2, 2, 1)]
    assert torch.autograd.gradcheck(partial(prefix_sum, chunk_size=2), inputs)
    assert torch.autograd.gradgradcheck(partial(prefix_sum, chunk_size=2), inputs)


@pytest.mark.parametrize("chunk", [1, 2, 5, 11, 500])
def test_the_size_of_a_chunk_does_not_matter(chunk: int) -> None:
    torch.manual_seed(0)
    inputs, W = vectors(1, 2, 11, 11, 4), gaussian_orthogonal_random_matrix(9, 4).double()
    one, other = favor_attention(*inputs, W, causal=True), favor_attention(*inputs, W, causal=True, chunk_size=chunk)
    assert close(one, other, 1e-12)
    for first, second in zip(gradients(one, inputs), gradients(other, inputs), strict=True):
        assert close(first, second, 1e-12)


@pytest.mark.parametrize("kernel", FEATURE_MAPS)
@pytest.mark.parametrize("chunk", [1, 2, 5])
def test_bidirectional_attention_is_the_same_in_chunks(
    chunk: int, kernel: FeatureMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    inputs, W = vectors(2, 2, 7, 11, 4), gaussian_orthogonal_random_matrix(9, 4).double()
    query, key, value = inputs
    key = key * torch.linspace(0.5, 3, 11).double()[:, None]  # the maxima of chunks are far apart
    mask = padding_mask(torch.tensor([3, 0]), 11)  # chunks of padding alone, and a sentence
    for allowed in (None, mask[:, None]):
        whole = favor_attention(query, key, value, W, kernel, allowed)
        with monkeypatch.context() as patched:
            patched.setattr(performer, "BIDIRECTIONAL_CHUNK_SIZE", chunk)
            chunked = favor_attention(query, key, value, W, kernel, allowed)
        assert close(chunked, whole, 1e-12)
        weighting = torch.linspace(-1, 1, whole.numel()).double().reshape(whole.shape)
        for one, other in zip(
            *(torch.autograd.grad((out * weighting).sum(), inputs, retain_graph=True) for out in (chunked, whole)),
            strict=True,
        ):
            assert close(one, other, 1e-11)


@pytest.mark.parametrize("causal", [False, True])
def test_the_matrix_of_weights_is_never_made(causal: bool) -> None:
    W = gaussian_orthogonal_random_matrix(16, 8)
    for n in (1024, 2048):
        inputs = vectors(1, 1, n, n, 8, torch.float32)
        most = n * 16 if causal else max(performer.BIDIRECTIONAL_CHUNK_SIZE * 16, n * (8 + 1))
        assert largest(partial(favor_attention, *inputs, W, causal=causal)) == most


def test_the_backward_pass_of_causal_attention_keeps_no_prefix_sums() -> None:
    d, r = 8, 16
    W = gaussian_orthogonal_random_matrix(r, d)
    inputs = {n: vectors(1, 1, n, n, d, torch.float32) for n in (1024, 2048)}
    ours = {n: saved(partial(favor_attention, *inputs[n], W, causal=True)) for n in inputs}
    theirs = saved(partial(fast_attention(W, causal=True), *inputs[1024]))
    # A position has features and their exponentials, for query and key, its value with the 1, the scaled query and key,
    # and what the quotient needs. None of these is as large as a product of r and d.
    assert ours[2048] - ours[1024] <= 1024 * (4 * r + 8 * d)
    assert theirs > 1024 * r * d


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kernel", FEATURE_MAPS)
def test_padding_changes_nothing(kernel: FeatureMap, causal: bool) -> None:
    torch.manual_seed(0)
    (q, k, v), W = vectors(2, 2, 7, 7, 4), gaussian_orthogonal_random_matrix(9, 4).double()
    mask = padding_mask(torch.tensor([1, 4]), 7)[:, None]
    out = favor_attention(q, k, v, W, kernel, mask, causal)
    for row, length in enumerate((1, 4)):
        alone = favor_attention(q[row, :, :length], k[row, :, :length], v[row, :, :length], W, kernel, causal=causal)
        assert close(out[row, :, :length], alone, 1e-10)
    loud = k.detach().clone()
    loud[0, :, 1:], loud[1, :, 4:] = 100.0, -100.0
    assert close(favor_attention(q, loud, v, W, kernel, mask, causal), out, 1e-10)
    of_query, of_key, of_value = gradients(out, [q, k, v])
    assert of_key[0, :, 1:].abs().max() == 0
    assert of_value[1, :, 4:].abs().max() == 0
    assert of_query.isfinite().all()


@pytest.mark.parametrize("causal", [False, True])
def test_padding_is_no_key_s_maximum_however_long_the_keys(causal: bool) -> None:
    W = gaussian_orthogonal_random_matrix(9, 4)
    key = torch.full((1, 1, 4, 4), 200.0)  # exponents far below −10,000
    mask = padding_mask(torch.tensor([3]), 4)[:, None]
    weights = favor_attention(torch.zeros(1, 1, 4, 4), key, torch.eye(4)[None, None], W, mask=mask, causal=causal)
    assert close(weights.sum(dim=-1), torch.ones(1, 1, 4), 1e-5)
    assert weights[..., 3].abs().max() == 0


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kernel", FEATURE_MAPS)
@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_a_query_that_may_see_nothing_gets_zeros(kernel: FeatureMap, causal: bool) -> None:
    inputs, W = vectors(1, 2, 5, 5, 4), gaussian_orthogonal_random_matrix(9, 4).double()
    with torch.autograd.detect_anomaly(check_nan=True):
        out = favor_attention(*inputs, W, kernel, torch.zeros(1, 5, dtype=torch.bool), causal)
        assert out.abs().max() == 0
        assert all(gradient.abs().max() == 0 for gradient in gradients(out, inputs))


def test_faults_name_both_numbers() -> None:
    (q, k, v), W = vectors(1, 1, 5, 5, 4), gaussian_orthogonal_random_matrix(9, 4).double()
    with pytest.raises(ValueError, match="mask has 5 rows, not 1"):
        favor_attention(q, k, v, W, mask=causal_mask(5))
    with pytest.raises(ValueError, match="3 queries and 5 keys"):
        favor_attention(q[0, ..., :3, :], k[0], v[0], W, causal=True)
    with pytest.raises(ValueError, match="chunk_size 0 is less than 1"):
        favor_attention(q, k, v, W, causal=True, chunk_size=0)
    with pytest.raises(ValueError, match="nb_features 0 is less than 1"):
        FavorAttention(MultiHeadAttention(8, 2), nb_features=0)
    x = torch.ones(1, 3, 8)
    assert FavorAttention(MultiHeadAttention(8, 2), nb_features=1)(x, x, x).shape == x.shape


some_sizes = {"n": st.integers(1, 12), "d": st.integers(1, 6), "m": st.integers(1, 20), "seed": st.integers(0, 1000)}
some_kernels = st.sampled_from([positive_features, hyperbolic_features, relu_features])


@settings(deadline=None, max_examples=30)
@given(**some_sizes, kernel=some_kernels)
def test_positions_in_another_order_give_the_same_outputs_in_that_order(
    n: int, d: int, m: int, seed: int, kernel: FeatureMap
) -> None:
    torch.manual_seed(seed)
    (q, k, v), W = vectors(1, 1, n, n, d), gaussian_orthogonal_random_matrix(m, d).double()
    queries, keys = torch.randperm(n), torch.randperm(n)
    moved = favor_attention(q[..., queries, :], k[..., keys, :], v[..., keys, :], W, kernel)
    assert close(moved, favor_attention(q, k, v, W, kernel)[..., queries, :], 1e-9)


@settings(deadline=None, max_examples=30)
@given(**some_sizes, kernel=some_kernels, chunk=st.integers(1, 5), data=st.data())
def test_later_positions_do_not_change_earlier_outputs(
    n: int, d: int, m: int, seed: int, kernel: FeatureMap, chunk: int, data: st.DataObject
) -> None:
    torch.manual_seed(seed)
    inputs, W = vectors(1, 1, n, n, d), gaussian_orthogonal_random_matrix(m, d).double()
    cut = data.draw(st.integers(0, n - 1))
    q, k, v = (torch.cat([x[..., :cut, :], 3 * torch.randn_like(x[..., cut:, :])], dim=-2) for x in inputs)
    one = favor_attention(*inputs, W, kernel, causal=True, chunk_size=chunk)
    other = favor_attention(q, k, v, W, kernel, causal=True, chunk_size=chunk)
    assert torch.allclose(one[..., :cut, :], other[..., :cut, :], rtol=1e-9, atol=1e-9)
    (gradient,) = torch.autograd.grad(one[..., :cut, :].sum(), inputs[1])
    assert gradient[..., cut:, :].abs().max() == 0


@settings(deadline=None, max_examples=30)
@given(**some_sizes, kernel=some_kernels, causal=st.booleans())
def test_weights_are_positive_and_sum_to_one(
    n: int, d: int, m: int, seed: int, kernel: FeatureMap, causal: bool
) -> None:
    torch.manual_seed(seed)
    (q, k, v), W = vectors(1, 1, n, n, d), gaussian_orthogonal_random_matrix(m, d).double()
    weights = favor_attention(q, k, torch.eye(n).double()[None, None], W, kernel, causal=causal)[0, 0]
    assert close(weights.sum(dim=-1), torch.ones(n).double(), 1e-10)
    assert bool((weights > 0).equal(causal_mask(n) if causal else torch.ones(n, n, dtype=torch.bool)))
    out = favor_attention(q, k, v, W, kernel, causal=causal)
    assert bool(
        (out <= v.amax(dim=-2, keepdim=True) + 1e-9).all() and (out >= v.amin(dim=-2, keepdim=True) - 1e-9).all()
    )


def test_a_long_query_keeps_its_attention() -> None:
    torch.manual_seed(0)
    (q, k, v), W = vectors(1, 1, 4, 6, 16), gaussian_orthogonal_random_matrix(32, 16).double()
    q = 16 * q.detach()  # exp(−‖x‖²/2) is below the least number of single precision
    exact = pair_by_pair(q[0, 0], k[0, 0], v[0, 0], W, positive_features)
    q, k, v, W = q.float(), k.detach().float(), v.detach().float(), W.float()
    ours, theirs = favor_attention(q, k, v, W)[0, 0], fast_attention(W)(q, k, v)[0, 0]
    assert np.allclose(ours, exact, atol=1e-4)
    assert close(theirs, theirs[:1].expand(4, -1), 1e-5)  # whatever the query
    assert not np.allclose(theirs, exact, atol=1e-1)


def test_nothing_is_added_to_features() -> None:
    torch.manual_seed(0)
    (q, k, v), W = vectors(1, 1, 5, 5, 16, scale=1.5), gaussian_orthogonal_random_matrix(32, 16).double()
    exact = torch.tensor(pair_by_pair(q[0, 0], k[0, 0], v[0, 0], W, positive_features))
    assert close(favor_attention(q, k, v, W)[0, 0], exact, 1e-10)
    assert not close(fast_attention(W)(q, k, v)[0, 0], exact, 1e-4)


def test_nothing_is_added_to_causal_denominators() -> None:
    torch.manual_seed(0)
    (q, k, v), W = vectors(1, 1, 7, 7, 4), gaussian_orthogonal_random_matrix(9, 4).double()
    query = public.softmax_kernel(q, projection_matrix=W, is_query=True, eps=0.0)
    key = public.softmax_kernel(k, projection_matrix=W, is_query=False, eps=0.0)
    theirs = public.causal_linear_attention_noncuda(query, key, v, eps=1e-2)
    added = 1e-2 * query.sum(dim=-1, keepdim=True)
    ours = prefix_sum(query, key, v) / (prefix_sum(query, key, torch.ones_like(v[..., :1])) + added)
    assert close(ours, theirs, 1e-8)
    same_as_masked = [
        favor_attention(q[..., : i + 1, :], k[..., : i + 1, :], v[..., : i + 1, :], W)[..., -1, :] for i in range(7)
    ]
    assert close(favor_attention(q, k, v, W, causal=True), torch.stack(same_as_masked, dim=-2), 1e-10)


def test_the_maximum_over_later_keys_cancels() -> None:
    torch.manual_seed(0)
    (q, k, v), W = vectors(1, 1, 8, 8, 4), gaussian_orthogonal_random_matrix(16, 4).double()
    louder = k.detach().clone()
    louder[..., -1, :] = W[W.norm(dim=1).argmax()] * 4**0.25  # where the exponent of the features is largest
    query, key = random_features(q * 4**-0.25, W), random_features(louder * 4**-0.25, W)
    unstabilized = prefix_sum(query, key, v) / prefix_sum(query, key, torch.ones_like(v[..., :1]))
    assert close(favor_attention(q, louder, v, W, causal=True), unstabilized, 1e-10)
    assert close(
        favor_attention(q, louder, v, W, causal=True)[..., :7, :],
        favor_attention(q, k, v, W, causal=True)[..., :7, :],
        1e-10,
    )
    peer = fast_attention(W, causal=True)
    assert not close(peer(q, louder, v)[..., :7, :], peer(q, k, v)[..., :7, :], 1e-4)


def test_hidden_keys_are_not_counted_in_denominators() -> None:
    torch.manual_seed(0)
    (q, k, v), W = vectors(1, 1, 5, 5, 4), gaussian_orthogonal_random_matrix(9, 4).double()
    mask = padding_mask(torch.tensor([2]), 5)
    weights = favor_attention(q, k, torch.eye(5).double()[None, None], W, mask=mask)
    assert close(weights.sum(dim=-1), torch.ones(1, 1, 5).double(), 1e-12)
    their_values = v.detach() * torch.tensor([1.0, 1, 0, 0, 0])[:, None]  # what performer-pytorch does with a mask
    assert not close(fast_attention(W)(q, k, their_values), favor_attention(q, k, v, W, mask=mask), 0.05)


def test_directions_are_redrawn_in_training_only() -> None:
    torch.manual_seed(0)
    attention = FavorAttention(MultiHeadAttention(8, 2), nb_features=5, feature_redraw_interval=3)
    x = torch.randn(1, 4, 8)

    def draws(uses: int) -> list[float]:
        seen = []
        for _ in range(uses):
            attention(x, x, x)
            seen.append(float(attention.projection[0, 0]))
        return seen

    seen = draws(9)
    assert [seen.index(one) for one in seen] == [0, 0, 0, 3, 3, 3, 6, 6, 6]
    attention.eval()
    assert len(set(draws(9))) == 1
    attention.train().feature_redraw_interval = None
    assert len(set(draws(9))) == 1


def test_a_redraw_leaves_a_backward_pass_to_come_as_it_was() -> None:
    torch.manual_seed(0)
    attention = FavorAttention(MultiHeadAttention(8, 2), nb_features=5, feature_redraw_interval=1)
    x = torch.randn(1, 4, 8)
    (attention(x, x, x) + attention(x, x, x)).sum().backward()
    assert attention.query.weight.grad is not None


def test_weights_are_not_dropped() -> None:
    torch.manual_seed(0)
    attention = FavorAttention(MultiHeadAttention(8, 2, dropout=0.5), nb_features=5)
    x = torch.randn(1, 4, 8)
    assert torch.equal(attention.train()(x, x, x), attention.eval()(x, x, x))


@pytest.mark.parametrize("heads", [1, 4])
@pytest.mark.parametrize("causal", [False, True])
def test_an_attention_runs_on_its_own_weights(heads: int, causal: bool) -> None:
    torch.manual_seed(0)
    exact = MultiHeadAttention(8, heads).double().eval()
    attention = FavorAttention(exact, nb_features=7, causal=causal)
    x, mask = torch.randn(2, 5, 8).double(), padding_mask(torch.tensor([5, 2]), 5)
    mixed = []
    for row, length in enumerate((5, 2)):
        query, key, value = (
            part(x[row]).reshape(5, heads, -1).transpose(0, 1) for part in (exact.query, exact.key, exact.value)
        )
        valid = [j < length for j in range(5)]
        one_head = partial(pair_by_pair, W=attention.projection, kernel=positive_features, valid=valid, causal=causal)
        mixed.append(np.concatenate([one_head(query[h], key[h], value[h]) for h in range(heads)], axis=-1))
    assert close(attention(x, x, x, mask), exact.output(torch.tensor(np.stack(mixed))), 1e-8)
    weights = attention.attention_weights(x, x, mask)
    _, value = exact.keys_values(x, x)
    assert close(exact.output((weights @ value).transpose(1, 2).flatten(2)), attention(x, x, x, mask), 1e-10)
    assert all(one is other for one, other in zip(attention.parameters(), exact.parameters(), strict=True))


@pytest.mark.parametrize("kernel", FEATURE_MAPS)
@pytest.mark.parametrize("causal", [False, True])
def test_an_attention_uses_the_features_that_it_is_given(kernel: FeatureMap, causal: bool) -> None:
    torch.manual_seed(0)
    exact = MultiHeadAttention(6, 2).double()
    attention = FavorAttention(exact, 5, causal, kernel, feature_redraw_interval=1)
    x = torch.randn(1, 4, 6).double()
    for _ in range(2):  # the second after a redraw
        output = attention(x, x, x)
        heads = [
            pair_by_pair(q, k, v, attention.projection, kernel, causal=causal)
            for q, k, v in zip(
                *(part(x)[0].split(3, dim=1) for part in (exact.query, exact.key, exact.value)), strict=True
            )
        ]
        assert close(output[0], exact.output(torch.tensor(np.concatenate(heads, axis=1))), 1e-8)


def test_an_attention_draws_its_directions_as_it_is_told() -> None:
    drawn: list[Tensor] = []

    def draw(m: int, d: int) -> Tensor:
        drawn.append(torch.full((m, d), float(len(drawn))))
        return drawn[-1]

    attention = FavorAttention(MultiHeadAttention(8, 2).double(), 5, create_projection=draw, feature_redraw_interval=2)
    x = torch.randn(1, 3, 8).double()
    numbers = [attention(x, x, x) is not None and attention.projection[0, 0].item() for _ in range(5)]
    assert numbers == [0, 0, 1, 1, 2]
    assert attention.projection.shape == (5, 4)
    assert attention.projection.dtype == torch.float64


def test_an_attention_s_defaults_are_the_public_code_s() -> None:
    attention = FavorAttention(MultiHeadAttention(8, 2))
    assert attention.projection.shape == (256, 4)
    assert attention.feature_redraw_interval == 1000
    assert attention.feature_map is positive_features
    assert attention.create_projection is gaussian_orthogonal_random_matrix
    assert not attention.causal


def test_relu_features_are_never_zero() -> None:
    W = torch.tensor([[1.0, 0.0]])
    weights = favor_attention(
        torch.tensor([[-1.0, 0.0]]), torch.tensor([[-1.0, 0.0], [-2.0, 0.0]]), torch.eye(2), W, relu_features
    )
    assert close(weights, torch.tensor([[0.5, 0.5]]), 1e-6)


def test_independent_directions_are_gaussian() -> None:
    W = gaussian_random_matrix(4000, 3)
    assert W.mean(dim=0).abs().max() < 0.1
    assert close(W.T @ W / 4000, torch.eye(3), 0.12)


@pytest.mark.parametrize("bias", [False, True])
def test_a_switched_layer_nears_the_exact_one_as_features_grow(bias: bool) -> None:
    torch.manual_seed(0)
    layer = EncoderLayer(16, heads=2, d_ff=32, dropout=0.0, bias=bias, residual=PreNorm)
    before, x = copy.deepcopy(layer.state_dict()), torch.randn(2, 12, 16)

    def error(m: int) -> float:
        draws = [replace_attention(layer, partial(FavorAttention, nb_features=m))(x) - layer(x) for _ in range(10)]
        return float(torch.stack(draws).detach().square().mean())

    errors = [error(m) for m in (8, 64, 512)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2] > 0
    assert all(torch.equal(before[name], weight) for name, weight in layer.state_dict().items())


@pytest.mark.parametrize("training", [False, True])
def test_a_switched_layer_has_the_gradients_of_its_estimate(training: bool) -> None:
    torch.manual_seed(0)
    layer = EncoderLayer(8, heads=2, d_ff=16, dropout=0.0).double().train(training)
    estimate = replace_attention(layer, partial(FavorAttention, nb_features=40_000))
    x = 0.5 * torch.randn(2, 5, 8).double()
    assert isinstance(estimate.self_attention, FavorAttention)
    assert estimate.self_attention.training == training
    exact, near = (torch.autograd.grad(one(x).square().mean(), list(one.parameters())) for one in (layer, estimate))
    size = torch.cat([gradient.flatten() for gradient in exact]).norm()
    assert torch.cat([(one - other).flatten() for one, other in zip(exact, near, strict=True)]).norm() < 0.02 * size


def test_an_attention_can_be_switched_itself_and_stays_as_it_was() -> None:
    exact = MultiHeadAttention(8, 2)
    attention = replace_attention(exact)
    assert isinstance(attention, FavorAttention)
    assert attention.query.weight is not exact.query.weight
    assert torch.equal(attention.query.weight, exact.query.weight)


def test_a_transformers_encoder_runs_switched_and_keeps_its_count() -> None:
    torch.manual_seed(0)
    model = Transformer(11, d_model=16, heads=2, d_ff=32, layers=2).eval()
    estimate = replace_attention(model, partial(FavorAttention, nb_features=2000))
    assert isinstance(estimate, Transformer)
    tokens, mask = torch.randint(11, (2, 6)), padding_mask(torch.tensor([6, 1]), 6)
    error = estimate.encode(tokens, mask) - model.encode(tokens, mask)
    assert error[0].square().mean() < 0.1
    assert error[1, 0].abs().max() < 1e-5  # one key: all the weight there is
    with torch.device("meta"):
        base = Transformer().encoder
        performer = replace_attention(base)
    assert sum(w.numel() for w in performer.parameters()) == sum(w.numel() for w in base.parameters()) == 18_914_304
    assert sum(w.numel() for w in performer.buffers()) == 6 * 256 * 64


def test_a_decoders_mask_is_refused() -> None:
    model = replace_attention(Transformer(11, d_model=16, heads=2, d_ff=32, layers=1))
    with pytest.raises(ValueError, match="mask has 4 rows, not 1"):
        model(torch.randint(11, (1, 4)), torch.randint(11, (1, 4)))


def test_directions_are_redrawn_after_1000_steps_unless_it_is_said_otherwise() -> None:
    assert FavorAttention(MultiHeadAttention(8, 2)).feature_redraw_interval == 1000
