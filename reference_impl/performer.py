r"""The Performer: softmax attention approximated by random features, in time and memory linear in the length.

Source: Choromanski et al. 2021, "Rethinking Attention with Performers"; sections below are this paper's

Axes: $n$ queries ($L$ in the paper), $l$ keys and values, $d$ the width of a head, $e$ the width of a value, $m$ random
directions (the rows of the projection matrix $W$), $r$ features of a vector ($m$, or $2m$ where each direction gives
two). Masks are true where a query may attend; only keys can be masked, so a mask has one row for all queries.
"""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from reference_impl.layers.attention import MultiHeadAttention

# Draws a projection matrix of m random directions.
CreateProjection = Callable[[int, int], Float[Tensor, "m d"]]
# Returns features in two parts, a factor and an exponent, so that a maximum can be subtracted from the exponent.
FeatureMap = Callable[[Float[Tensor, "*b n d"], Float[Tensor, "m d"]], tuple[Tensor, Tensor]]

BIDIRECTIONAL_CHUNK_SIZE = 1024
"""The number of positions whose features are computed at a time, so that they stay in a CPU's cache."""


def gaussian_random_matrix(m: int, d: int) -> Float[Tensor, "m d"]:
    r"""Draw a projection matrix whose rows are independent Gaussian vectors.

    Source: Section 2.3
        $$\omega_1, \dots, \omega_m \sim \mathcal{N}(0, I_d)$$
    """
    return torch.randn(m, d)  # (m, d)


def gaussian_orthogonal_random_matrix(m: int, d: int) -> Float[Tensor, "m d"]:
    r"""Draw a projection matrix whose rows are orthogonal in blocks of d, with the norms of Gaussian vectors.

    Source: Section 2.4
        $$\omega_i^\top \omega_j = 0 \quad (i \ne j, \text{ of one block}), \qquad
          \lVert \omega_i \rVert \sim \chi(d)$$

    Each row by itself still has the distribution $\mathcal{N}(0, I_d)$, so that estimates stay unbiased. For that the
    signs of the QR decomposition are corrected: as LAPACK returns it, the first component of the first vector is
    negative in every draw.

    Departs: the public codes use the vectors as LAPACK returns them, which biases their estimates; one of them corrects
    the signs on request (`qr_uniform_q`).

    Asked: performer.why-orthogonal
    """
    q, r = torch.linalg.qr(torch.randn(-(-m // d), d, d))  # (ceil(m / d), d, d)
    q = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    norms = torch.randn(m, d).norm(dim=1, keepdim=True)  # (m, 1)
    return q.mT.flatten(0, 1)[:m] * norms  # (m, d)


def positive_features(x: Float[Tensor, "*b n d"], projection: Float[Tensor, "m d"]) -> tuple[Tensor, Tensor]:
    r"""Return the factor and the exponent of FAVOR+'s positive random features.

    Source: Section 2.3, Lemma 1; the error is Lemma 2's, for independent directions
        $$\phi(x) = \frac{1}{\sqrt m} \exp\Bigl(Wx - \frac{\lVert x\rVert^2}{2}\Bigr), \qquad
          \mathbb{E}\, \phi(x)^\top \phi(y) = \exp(x^\top y)$$
        $$\operatorname{MSE} = \frac{1}{m} \exp(\lVert x + y\rVert^2) \exp(x^\top y)^2
          \bigl(1 - \exp(-\lVert x + y\rVert^2)\bigr)$$

    Asked: performer.unbiased, performer.why-positive
    """
    norms = x.square().sum(dim=-1, keepdim=True)
    return x.new_ones(()), x @ projection.mT - norms / 2  # (), (*b, n, m)


def hyperbolic_features(x: Float[Tensor, "*b n d"], projection: Float[Tensor, "m d"]) -> tuple[Tensor, Tensor]:
    r"""Return the factor and the exponent of positive features that use each direction with both signs.

    Source: Section 2.3, Lemma 1; by Lemma 2 its mean squared error is at most half of that of `positive_features`
        $$\phi(x) = \frac{1}{\sqrt{2m}} \exp\Bigl(-\frac{\lVert x\rVert^2}{2}\Bigr)
          \bigl[\exp(Wx),\ \exp(-Wx)\bigr]$$
    """
    factor, exponent = positive_features(x, torch.cat([projection, -projection]))
    return factor * 0.5**0.5, exponent  # (), (*b, n, 2 m)


def trigonometric_features(x: Float[Tensor, "*b n d"], projection: Float[Tensor, "m d"]) -> tuple[Tensor, Tensor]:
    r"""Return the factor and the exponent of sine and cosine features, which the paper compares with positive ones.

    Source: Section 2.3; the error is Lemma 2's, for independent directions
        $$\phi(x) = \frac{1}{\sqrt m} \exp\Bigl(\frac{\lVert x\rVert^2}{2}\Bigr) \bigl[\sin(Wx),\ \cos(Wx)\bigr]$$
        $$\operatorname{MSE} = \frac{1}{2m} \exp(\lVert x + y\rVert^2) \exp(x^\top y)^{-2}
          \bigl(1 - \exp(-\lVert x - y\rVert^2)\bigr)^2$$

    Asked: performer.when-positive-loses
    """
    angles = x @ projection.mT  # (*b, n, m)
    # (*b, n, 2 m), (*b, n, 1)
    return torch.cat([angles.sin(), angles.cos()], dim=-1), x.square().sum(dim=-1, keepdim=True) / 2


def relu_features(x: Float[Tensor, "*b n d"], projection: Float[Tensor, "m d"]) -> tuple[Tensor, Tensor]:
    r"""Return the factor and the exponent (0) of ReLU features, for attention with another kernel than softmax.

    Source: Section 2.2, generalized attention; the constant is the public codes', so that no row sum is zero
        $$\phi(x) = \frac{1}{\sqrt m} \bigl(\max(0, Wx) + 10^{-3}\bigr)$$

    With the identity as projection, these are the public code's deterministic features.

    Asked: performer.any-kernel
    """
    return F.relu(x @ projection.mT) + 1e-3, torch.zeros_like(x[..., :1])  # (*b, n, m), (*b, n, 1)


def random_features(
    x: Float[Tensor, "*b n d"],
    projection: Float[Tensor, "m d"],
    feature_map: FeatureMap = positive_features,
    stabilizer_dims: tuple[int, ...] = (),
    valid: Bool[Tensor, "..."] | None = None,
) -> Float[Tensor, "*b n r"]:
    r"""Map each vector to random features: the inner product of two vectors' features estimates their kernel.

    Source: Section 2.3, Eq. 5, with the factor $g$ and the exponent $s$ of a feature map; the maximum $c$ is the public
    codes'
        $$\phi(x) = \frac{1}{\sqrt m}\, g(x) \exp(s(x) - c)$$

    Departs: the public codes subtract the maximum of $Wx$ alone, and add $10^{-4}$ or $10^{-6}$ to the exponentials.
    The features of a query with a large norm are then nearly zero before that constant is added, and all such queries
    get the same attention weights. Here the largest exponential is 1, and nothing is added.

    Args:
        x: The vectors; for softmax over $\sqrt d$, queries and keys times $d^{-1/4}$.
        projection: The random directions, one a row.
        feature_map: The kind of features.
        stabilizer_dims: The dimensions over which to take the maximum that is subtracted from the exponent: (-1,) for
            queries, (-2, -1) for keys, () to subtract nothing.
        valid: A mask of shape (..., n, 1), true where a vector is not padding; the features of padding are 0.

    Asked: performer.stabiliser
    """
    return _features_and_maximum(x, projection, feature_map, stabilizer_dims, valid)[0]


def _features_and_maximum(
    x: Tensor, projection: Tensor, feature_map: FeatureMap, stabilizer_dims: tuple[int, ...], valid: Tensor | None
) -> tuple[Float[Tensor, "*b n r"], Tensor]:
    factor, exponent = feature_map(x, projection)  # broadcast to (*b, n, r)
    if valid is not None:  # the lowest finite number, not -inf: where all is padding, inf - inf would be NaN
        exponent = exponent.masked_fill(~valid, torch.finfo(exponent.dtype).min)
    maximum = exponent.new_zeros(())
    if stabilizer_dims:
        maximum = exponent.detach().amax(dim=stabilizer_dims, keepdim=True)
        exponent = exponent - maximum
    features = factor / projection.shape[0] ** 0.5 * exponent.exp()  # (*b, n, r)
    return (features if valid is None else features.masked_fill(~valid, 0.0)), maximum


def prefix_sum(
    query: Float[Tensor, "*b n r"], key: Float[Tensor, "*b n r"], value: Float[Tensor, "*b n e"], chunk_size: int = 128
) -> Float[Tensor, "*b n e"]:
    r"""Compute unnormalized causal linear attention by prefix sums.

    Source: Section 2.2 and Appendix B (Algorithm 1, unidirectional); the chunks are ours
        $$y_i = \sum_{j \le i} (q_i^\top k_j)\, v_j = S_i^\top q_i, \qquad S_i = \sum_{j \le i} k_j v_j^\top$$

    Only the sums $S_i$ at the start of a chunk are computed, each $r \times e$; within a chunk the products of queries
    and keys are masked. So the memory besides inputs and output is $re + chunk\_size^2$, whatever the length. The
    gradients are prefix sums as well:

    $$\bar q_i = \sum_{j \le i} (\bar y_i^\top v_j)\, k_j, \qquad
      \bar k_j = \sum_{i \ge j} (v_j^\top \bar y_i)\, q_i, \qquad
      \bar v_j = \sum_{i \ge j} (k_j^\top q_i)\, \bar y_i,$$

    so that queries, keys and values are saved for the backward pass, and no sums.

    Departs: Algorithm 1 computes all $S_i$ at once, $n \times r \times e$ numbers, by a parallel prefix sum.

    Args:
        query: The features of the queries.
        key: The features of the keys.
        value: The values.
        chunk_size: The number of positions in a chunk.

    Raises:
        ValueError: chunk_size is less than 1.

    Asked: performer.causal-without-a-mask
    """
    if chunk_size < 1:
        raise ValueError(f"chunk_size {chunk_size} is less than 1")
    return PrefixSum.apply(query, key, value, chunk_size)  # type: ignore[no-untyped-call]


class PrefixSum(torch.autograd.Function):
    """The forward and the backward pass of `prefix_sum`, which is what to call."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Float[Tensor, "*b n r"],
        key: Float[Tensor, "*b n r"],
        value: Float[Tensor, "*b n e"],
        chunk_size: int,
    ) -> Float[Tensor, "*b n e"]:
        """Return the sums, chunk by chunk."""
        ctx.save_for_backward(query, key, value)
        ctx.chunk_size = chunk_size
        past = key[..., :0, :].mT @ value[..., :0, :]  # (*b, r, e), zeros
        sums = []
        for q, k, v in zip(*(torch.split(tensor, chunk_size, dim=-2) for tensor in (query, key, value)), strict=True):
            sums.append((q @ k.mT).tril() @ v + q @ past)  # (*b, chunk_size, e)
            past = past + k.mT @ v
        return torch.cat(sums, dim=-2)  # (*b, n, e)

    @staticmethod
    def backward(ctx: Any, grad_output: Float[Tensor, "*b n e"]) -> tuple[Tensor, Tensor, Tensor, None]:
        """Return the gradients, which are prefix sums: that of queries forward, those of keys and values in reverse."""
        query, key, value = ctx.saved_tensors
        grad_query = prefix_sum(grad_output, value, key, ctx.chunk_size)
        query, key, value, grad_output = (tensor.flip(-2) for tensor in (query, key, value, grad_output))
        grad_key = prefix_sum(value, grad_output, query, ctx.chunk_size).flip(-2)
        grad_value = prefix_sum(key, query, grad_output, ctx.chunk_size).flip(-2)
        return grad_query, grad_key, grad_value, None


def favor_attention(
    query: Float[Tensor, "*b n d"],
    key: Float[Tensor, "*b l d"],
    value: Float[Tensor, "*b l e"],
    projection: Float[Tensor, "m d"],
    feature_map: FeatureMap = positive_features,
    mask: Bool[Tensor, "..."] | None = None,
    causal: bool = False,
    chunk_size: int = 128,
) -> Float[Tensor, "*b n e"]:
    r"""Compute attention by random features (FAVOR+), without the matrix of attention weights.

    Source: Section 2.2, Eq. 4, and Appendix B, Algorithm 1
        $$\widehat{\operatorname{Att}}(Q, K, V) = \hat D^{-1} \bigl(Q' ((K')^\top V)\bigr), \qquad
          \hat D = \operatorname{diag}\bigl(Q' ((K')^\top 1_L)\bigr)$$

    $Q'$ and $K'$ are the features of queries and keys, each times $d^{-1/4}$: then their product estimates $\exp(q^\top
    k / \sqrt d)$. Values and $1_L$ are concatenated, as in Algorithm 1. Queries whose keys are all masked get zeros.
    Features are computed chunk by chunk unless attention is causal: $(K')^\top V$ is a sum over keys, and a row of $Q'$
    needs no other.

    Departs: nothing is added to denominators; the public codes add $10^{-6}$ times the sum of a query's features if
    causal, or $2 \cdot 10^{-6}$ to those that are nearly zero. Masked keys have weight 0; a public code masks their
    values alone, and counts them in its denominators.

    Args:
        query: The queries.
        key: The keys.
        value: The values.
        projection: The random directions, one a row.
        feature_map: The kind of features.
        mask: A mask of shape (..., 1, l), true where keys may be attended to, the same for all queries.
        causal: Whether a query attends to its own and earlier positions only.
        chunk_size: The number of positions in a chunk of causal attention.

    Raises:
        ValueError: The mask differs from query to query: there is no matrix of weights to apply it to. Or attention is
            causal, and the numbers of queries and keys differ.

    Asked: performer.no-attention-matrix, performer.how-many-features, performer.where-linear-pays
    Asked: performer.fused-attention
    """
    if mask is not None and mask.shape[-2] != 1:
        raise ValueError(f"the mask has {mask.shape[-2]} rows, not 1: keys can only be masked for all queries")
    if causal and query.shape[-2] != key.shape[-2]:
        raise ValueError(f"{query.shape[-2]} queries and {key.shape[-2]} keys cannot be causal: their numbers differ")
    scale = query.shape[-1] ** -0.25
    query, key, valid = query * scale, key * scale, None if mask is None else mask.mT
    value = F.pad(value, (0, 1), value=1.0)  # [V 1], (*b, l, e + 1): one product gives the denominators too
    query_features = partial(random_features, projection=projection, feature_map=feature_map, stabilizer_dims=(-1,))
    if causal:
        key_features = random_features(key, projection, feature_map, stabilizer_dims=(-2, -1), valid=valid)
        output = prefix_sum(query_features(query), key_features, value, chunk_size)  # (*b, n, e + 1)
    else:
        keys_values = _sum_over_keys(key, value, projection, feature_map, valid)  # (*b, r, e + 1)
        chunks = query.split(BIDIRECTIONAL_CHUNK_SIZE, dim=-2)
        output = torch.cat([query_features(chunk) @ keys_values for chunk in chunks], dim=-2)  # (*b, n, e + 1)
    numerator, denominator = output[..., :-1], output[..., -1:]
    return numerator / denominator.masked_fill(denominator == 0, 1.0)  # (*b, n, e)


def _sum_over_keys(
    key: Tensor, value: Tensor, projection: Tensor, feature_map: FeatureMap, valid: Tensor | None
) -> Float[Tensor, "*b r e"]:
    """Return $(K')^T V$ as a sum over chunks; each subtracts its own maximum, which is then made that of all keys."""
    sums, maxima = [], []
    for start in range(0, key.shape[-2], BIDIRECTIONAL_CHUNK_SIZE):
        chunk = (..., slice(start, start + BIDIRECTIONAL_CHUNK_SIZE), slice(None))
        chunk_valid = None if valid is None else valid[chunk]
        # (*b, chunk_size, r), (*b, 1, 1)
        features, maximum = _features_and_maximum(key[chunk], projection, feature_map, (-2, -1), chunk_valid)
        sums.append(features.mT @ value[chunk])
        maxima.append(maximum)
    of_chunks = torch.stack(maxima)  # (chunks, *b, 1, 1)
    return ((of_chunks - of_chunks.amax(dim=0)).exp() * torch.stack(sums)).sum(dim=0)  # (*b, r, e)


class FavorAttention(MultiHeadAttention):
    r"""Multi-head attention by FAVOR+, with the projection layers of a given exact attention.

    Source: Section 2; all heads share one projection matrix, which is redrawn in training (Section 4.2), as in the
    public code

    Departs: the projection is redrawn in training only, each time after `feature_redraw_interval` calls. One public
    code redraws in every call, in evaluation too; the other in training, after 1,000 calls and one. There is no dropout
    of attention weights: no weights are computed that could be dropped.

    Args:
        attention: An exact attention; its four linear layers are shared, not copied.
        nb_features: The number of random directions, $m$.
        causal: Whether a position attends to itself and earlier positions only.
        feature_map: The kind of features.
        create_projection: Draws the projection matrix.
        feature_redraw_interval: After how many calls in training the projection is redrawn; None for never.

    Raises:
        ValueError: nb_features is less than 1.

    Asked: performer.what-is-learned
    """

    projection: Tensor

    def __init__(
        self,
        attention: MultiHeadAttention,
        nb_features: int = 256,
        causal: bool = False,
        feature_map: FeatureMap = positive_features,
        create_projection: CreateProjection = gaussian_orthogonal_random_matrix,
        feature_redraw_interval: int | None = 1000,
    ) -> None:
        if nb_features < 1:
            raise ValueError(f"nb_features {nb_features} is less than 1")
        weight = attention.query.weight
        super().__init__(weight.shape[1], attention.heads)
        self.query, self.key = attention.query, attention.key
        self.value, self.output = attention.value, attention.output
        self.causal, self.feature_map, self.create_projection = causal, feature_map, create_projection
        self.feature_redraw_interval, self.calls_since_last_redraw = feature_redraw_interval, 0
        self.register_buffer("projection", weight.new_empty(nb_features, weight.shape[0] // attention.heads))
        self.redraw_projection()
        self.train(attention.training)

    def redraw_projection(self) -> None:
        """Draw a new projection matrix."""
        # Not in place: a pending backward pass may still need the old one.
        self.projection = self.create_projection(*self.projection.shape).to(self.projection)
        self.calls_since_last_redraw = 0

    def attend(
        self,
        query: Float[Tensor, "b n d"],
        key: Float[Tensor, "b h m dh"],
        value: Float[Tensor, "b h m dh"],
        mask: Bool[Tensor, "..."] | None = None,
    ) -> Float[Tensor, "b n d"]:
        """Attend to keys and values that are already projected and split into heads."""
        if self.training:
            if self.calls_since_last_redraw == self.feature_redraw_interval:
                self.redraw_projection()
            self.calls_since_last_redraw += 1
        heads = self._favor(query, key, value, mask)  # (b, h, n, dh)
        return self.output(heads.transpose(1, 2).flatten(2))  # (b, n, d)

    def attention_weights(
        self, query: Float[Tensor, "b n d"], key: Float[Tensor, "b m d"], mask: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "b h n m"]:
        """Return the estimated attention weights, for inspection: this computes the matrix."""
        keys, _ = self.keys_values(key, key)
        one_hot = torch.eye(key.shape[1]).to(keys).expand(*keys.shape[:2], -1, -1)
        return self._favor(query, keys, one_hot, mask)

    def _favor(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Float[Tensor, "b h n e"]:
        mask = None if mask is None else mask.unsqueeze(-3)  # the same for every head
        return favor_attention(
            self._split(self.query(query)), key, value, self.projection, self.feature_map, mask, self.causal
        )


def replace_attention(
    model: nn.Module, make_attention: Callable[[MultiHeadAttention], nn.Module] = FavorAttention
) -> nn.Module:
    """Return a copy of a model in which FAVOR+ replaces each multi-head attention, with the same weights.

    Source: Section 4.3 (a pre-trained Transformer's weights in a Performer, then fine-tuned)

    Args:
        model: A model that contains multi-head attentions, or such an attention; it is not changed.
        make_attention: Returns the replacement of an attention, such as `partial(FavorAttention, nb_features=64)`.

    Asked: performer.swap-into-a-trained-model
    """
    model = copy.deepcopy(model)
    if isinstance(model, MultiHeadAttention):
        return make_attention(model)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, MultiHeadAttention):
                setattr(parent, name, make_attention(child))
    return model


# Answers


def no_attention_matrix() -> None:
    r"""
    Answers: performer.no-attention-matrix
        By reordering the products. Where the weights are products of features, $(Q'K'^\top)V = Q'(K'^\top V)$, and the
        right side never holds more than $L \times m$ numbers at a time.

        >>> import torch
        >>> from reference_impl.performer import favor_attention, random_features, gaussian_orthogonal_random_matrix
        >>> _ = torch.manual_seed(0)
        >>> q, k, v = torch.randn(3, 50, 8, dtype=torch.float64)
        >>> W = gaussian_orthogonal_random_matrix(32, 8).double()
        >>> matrix = random_features(q * 8**-0.25, W) @ random_features(k * 8**-0.25, W).mT
        >>> weights = matrix / matrix.sum(dim=-1, keepdim=True)
        >>> torch.allclose(favor_attention(q, k, v, W), weights @ v, rtol=0, atol=1e-12)
        True

        Count the multiplications and the largest intermediate result on meta tensors, at 4,096 and at 8,192 positions:
        for twice the length, exact attention needs four times as much of both, FAVOR+ twice as much.

        >>> from torch.utils._python_dispatch import TorchDispatchMode
        >>> from torch.utils._pytree import tree_leaves
        >>> from torch.utils.flop_counter import FlopCounterMode
        >>> class Largest(TorchDispatchMode):
        ...     numbers = 0
        ...     def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        ...         result = operation(*args, **(kwargs or {}))
        ...         self.numbers = max(self.numbers, *(part.numel() for part in tree_leaves(result)))
        ...         return result
        >>> def cost(attend, length):
        ...     q, k, v = torch.empty(3, length, 64, device="meta")
        ...     with FlopCounterMode(display=False) as flops, Largest() as largest:
        ...         attend(q, k, v)
        ...     return flops.get_total_flops() // 2, largest.numbers
        >>> def plain(q, k, v):
        ...     return (q @ k.mT / 8).softmax(dim=-1) @ v
        >>> def fast(q, k, v):
        ...     return favor_attention(q, k, v, torch.empty(256, 64, device="meta"))
        >>> for attend in (plain, fast):
        ...     [long / short for long, short in zip(cost(attend, 8192), cost(attend, 4096))]
        [4.0, 4.0]
        [2.0, 2.0]

        A row of the exact matrix has 4,096 numbers. FAVOR+ needs 256 features of a position, but of 1,024 positions at
        a time: its largest result is the values with the ones, 65 wide.

        >>> [most // 4096 for most in (cost(plain, 4096)[1], cost(fast, 4096)[1])]
        [4096, 65]
    """


def unbiased() -> None:
    r"""
    Answers: performer.unbiased
        Of the kernel, yes: the mean of products of features converges to $\exp(x^\top y)$, for all three kinds of
        softmax features and for independent and orthogonal directions.

        >>> import torch
        >>> from reference_impl.performer import gaussian_orthogonal_random_matrix, gaussian_random_matrix
        >>> from reference_impl.performer import hyperbolic_features, positive_features, trigonometric_features
        >>> from reference_impl.performer import random_features
        >>> _ = torch.manual_seed(0)
        >>> x, y = 0.3 * torch.randn(2, 1, 8)
        >>> exact = (x @ y.T).exp()
        >>> for draw in (gaussian_random_matrix, gaussian_orthogonal_random_matrix):
        ...     W = draw(40_000, 8)
        ...     for kernel in (positive_features, hyperbolic_features, trigonometric_features):
        ...         estimate = random_features(x, W, kernel) @ random_features(y, W, kernel).T
        ...         print(bool((estimate / exact - 1).abs() < 0.04))
        True
        True
        True
        True
        True
        True

        Of attention, no: it is the quotient of two such means, and a quotient of unbiased estimates is biased. With one
        feature the weight does not depend on the query at all, since the query's feature cancels in the quotient. With
        more features the bias vanishes.

        >>> keys = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
        >>> query = torch.tensor([[1.0, 0.5]])
        >>> W = gaussian_random_matrix(40_960, 2)
        >>> products = random_features(query, W) * random_features(keys, W)
        >>> def mean_weight(m):
        ...     groups = products.reshape(2, -1, m).sum(dim=-1)
        ...     return float((groups[0] / groups.sum(dim=0)).mean())
        >>> exact = float((query @ keys.T).softmax(dim=-1)[0, 0])
        >>> abs(mean_weight(1) - exact) > 0.2, abs(mean_weight(512) - exact) < 0.02
        (True, True)
    """


def why_positive() -> None:
    """
    Answers: performer.why-positive
        Because most attention weights are near zero, and there sines and cosines fail: their relative error *grows* as
        the kernel vanishes, and that of exponentials vanishes with it. At $y = -x$ each single product of exponentials
        is exact.

        >>> import torch
        >>> from reference_impl.performer import gaussian_random_matrix, random_features
        >>> from reference_impl.performer import positive_features, trigonometric_features
        >>> _ = torch.manual_seed(0)
        >>> x = torch.full((1, 16), 0.5)
        >>> exact = float((-x @ x.T).exp())
        >>> def relative_errors(kernel):
        ...     draws = (gaussian_random_matrix(64, 16) for _ in range(200))
        ...     products = [random_features(x, W, kernel) @ random_features(-x, W, kernel).T for W in draws]
        ...     return (torch.cat(products) / exact - 1).abs()
        >>> bool(relative_errors(positive_features).max() < 1e-4)
        True
        >>> bool(relative_errors(trigonometric_features).median() > 100)
        True

        Products of sines and cosines can be negative, and so can the row sums by which attention divides. With queries
        and keys of unit scale, $d = 16$ and $m = 64$, the outputs are useless; with the same directions, positive
        features estimate them well.

        >>> def attention(kernel, q, k, v, W):
        ...     weights = random_features(q / 2, W, kernel) @ random_features(k / 2, W, kernel).mT
        ...     return weights @ v / weights.sum(-1, keepdim=True), int((weights.sum(-1) <= 0).sum())
        >>> errors = {positive_features: [], trigonometric_features: []}
        >>> not_positive = dict.fromkeys(errors, 0)
        >>> for _ in range(20):
        ...     q, k, v = torch.randn(3, 128, 16)
        ...     W, exact = gaussian_random_matrix(64, 16), (q @ k.mT / 4).softmax(dim=-1) @ v
        ...     for kernel in errors:
        ...         out, count = attention(kernel, q, k, v, W)
        ...         errors[kernel].append((out - exact).square().mean())
        ...         not_positive[kernel] += count
        >>> median = {kernel: float(torch.stack(errors[kernel]).median()) for kernel in errors}
        >>> median[positive_features] < 0.1, median[trigonometric_features] > 10 * median[positive_features]
        (True, True)
        >>> not_positive[positive_features], not_positive[trigonometric_features] > 100
        (0, True)
    """


def when_positive_loses() -> None:
    r"""
    Answers: performer.when-positive-loses
        When query and key are close to each other: both short, or nearly equal. At $x = y$ sines and cosines are exact
        for every direction, since $\sin^2 + \cos^2 = 1$, and exponentials have their largest error.

        >>> import torch
        >>> from reference_impl.performer import gaussian_random_matrix, random_features
        >>> from reference_impl.performer import positive_features, trigonometric_features
        >>> _ = torch.manual_seed(0)
        >>> x = torch.full((1, 16), 0.25)
        >>> exact, W = (x @ x.T).exp(), gaussian_random_matrix(64, 16)
        >>> def is_exact(kernel):
        ...     return bool((random_features(x, W, kernel).square().sum() / exact - 1).abs() < 1e-5)
        >>> is_exact(trigonometric_features), is_exact(positive_features)
        (True, False)

        At half scale and $d = 16$ all queries and keys are short, and the attention outputs have the smaller error too.

        >>> errors = {positive_features: 0.0, trigonometric_features: 0.0}
        >>> for _ in range(20):
        ...     q, k, v = torch.randn(3, 128, 16) * torch.tensor([0.5, 0.5, 1.0])[:, None, None]
        ...     W, exact = gaussian_random_matrix(64, 16), (q @ k.mT / 4).softmax(dim=-1) @ v
        ...     for kernel in errors:
        ...         weights = random_features(q / 2, W, kernel) @ random_features(k / 2, W, kernel).mT
        ...         errors[kernel] += float((weights @ v / weights.sum(-1, keepdim=True) - exact).square().mean())
        >>> errors[trigonometric_features] < 0.5 * errors[positive_features]
        True
    """


def why_orthogonal() -> None:
    """
    Answers: performer.why-orthogonal
        For a lower error, at the cost of one QR decomposition per draw. Each direction keeps its distribution, so the
        estimate stays unbiased; but orthogonal directions are less redundant than independent ones, and the mean over
        $m$ of them has a lower variance. Below, the mean squared error of the kernel over 20,000 draws of one block,
        divided by that with independent directions. The gain is largest for features that are even in the direction;
        for those of FAVOR+ it is about a tenth.

        >>> import torch
        >>> from reference_impl.performer import gaussian_orthogonal_random_matrix, gaussian_random_matrix
        >>> from reference_impl.performer import hyperbolic_features, positive_features, trigonometric_features
        >>> from reference_impl.performer import random_features
        >>> _ = torch.manual_seed(0)
        >>> W = gaussian_orthogonal_random_matrix(10, 4)
        >>> gram = W @ W.T
        >>> [int(gram[block, block].abs().gt(1e-5).sum()) for block in (slice(0, 4), slice(4, 8), slice(8, 10))]
        [4, 4, 2]
        >>> x, y = torch.tensor([[0.5, 0.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.5, 0.0, 0.0]])
        >>> def error(draw, kernel, blocks=20_000):
        ...     W = draw(4 * blocks, 4)
        ...     products = random_features(x, W, kernel) * random_features(y, W, kernel) * len(W)
        ...     means = products.reshape(-1, blocks, 4).sum(dim=0).mean(dim=-1)
        ...     return float((means - (x @ y.T).exp()).square().mean())
        >>> def share(kernel):
        ...     return error(gaussian_orthogonal_random_matrix, kernel) / error(gaussian_random_matrix, kernel)
        >>> 0.85 < share(positive_features) < 0.97
        True
        >>> share(hyperbolic_features) < 0.7, share(trigonometric_features) < 0.6
        (True, True)

        The signs matter too: directions as LAPACK returns them have a mean far from zero, ours do not.

        >>> raw = torch.linalg.qr(torch.randn(4000, 4, 4)).Q.mT[:, 0].mean(dim=0)
        >>> ours = gaussian_orthogonal_random_matrix(4 * 4000, 4).reshape(4000, 4, 4)[:, 0].mean(dim=0)
        >>> bool(raw[0] < -0.4), bool(ours.abs().max() < 0.1)
        (True, True)
    """


def how_many_features() -> None:
    r"""
    Answers: performer.how-many-features
        The error falls with $1/\sqrt m$: four times the features halve it. For vectors of bounded length it does not
        grow with the length of the sequence. Below, the Frobenius norm of the error of the attention matrix, relative
        to that of the matrix.

        >>> import torch
        >>> from torch.nn import functional as F
        >>> from reference_impl.performer import favor_attention, gaussian_orthogonal_random_matrix
        >>> def error(m, length, bounded=True, draws=8):
        ...     _ = torch.manual_seed(0)
        ...     total = 0.0
        ...     for _ in range(draws):
        ...         q, k = torch.randn(2, length, 16)
        ...         if bounded:
        ...             q, k = 2 * F.normalize(q, dim=-1), 2 * F.normalize(k, dim=-1)
        ...         exact = (q @ k.mT / 4).softmax(dim=-1)
        ...         weights = favor_attention(q, k, torch.eye(length), gaussian_orthogonal_random_matrix(m, 16))
        ...         total += float((weights - exact).norm() / exact.norm()) / draws
        ...     return total
        >>> by_features = [error(m, length=128) for m in (32, 128, 512)]
        >>> [1.7 < more / fewer < 2.3 for more, fewer in zip(by_features, by_features[1:])]
        [True, True]
        >>> error(64, length=512) < 1.15 * error(64, length=64)
        True

        The bound is needed. Among more Gaussian vectors the longest is longer, and there the error does grow.

        >>> error(64, length=512, bounded=False) > 1.3 * error(64, length=64, bounded=False)
        True

        The paper's bound (Theorem 4) is on the largest error of all weights, for sines and cosines, and for vectors of
        bounded length as well.
    """


def causal_without_a_mask() -> None:
    r"""
    Answers: performer.causal-without-a-mask
        By prefix sums. What a position may attend to is summed up in one $m \times (d + 1)$ matrix, to which each new
        key and value add their product. So decoding a token costs the same at every length, and needs no other cache
        than that matrix.

        >>> import torch
        >>> from reference_impl.performer import favor_attention, random_features, gaussian_orthogonal_random_matrix
        >>> _ = torch.manual_seed(0)
        >>> n, d = 300, 8
        >>> q, k, v = torch.randn(3, n, d, dtype=torch.float64)
        >>> W = gaussian_orthogonal_random_matrix(32, d).double()
        >>> fast = favor_attention(q, k, v, W, causal=True)
        >>> query, key = random_features(q * d**-0.25, W), random_features(k * d**-0.25, W)
        >>> state, steps = torch.zeros(32, d + 1, dtype=torch.float64), []
        >>> for i in range(n):
        ...     state += key[i, :, None] * torch.cat([v[i], torch.ones(1)])
        ...     seen = query[i] @ state
        ...     steps.append(seen[:d] / seen[d])
        >>> torch.allclose(fast, torch.stack(steps), rtol=0, atol=1e-10)
        True

        The result is that of a causal mask on the matrix of weights, and the backward pass does not compute that matrix
        either. The largest tensor of both passes doubles when the length doubles.

        >>> masked = (query @ key.mT).tril()
        >>> torch.allclose(fast, masked @ v / masked.sum(dim=-1, keepdim=True), rtol=0, atol=1e-10)
        True
        >>> from torch.utils._python_dispatch import TorchDispatchMode
        >>> class Largest(TorchDispatchMode):
        ...     numbers = 0
        ...     def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        ...         result = operation(*args, **(kwargs or {}))
        ...         for tensor in result if isinstance(result, (tuple, list)) else [result]:
        ...             self.numbers = max(self.numbers, tensor.numel())
        ...         return result
        >>> def largest(n):
        ...     q, k, v = torch.randn(3, n, d, requires_grad=True)
        ...     with Largest() as counter:
        ...         favor_attention(q, k, v, W.float(), causal=True).sum().backward()
        ...     return counter.numbers
        >>> [largest(n) // n for n in (1024, 2048)]
        [32, 32]
    """


def what_is_learned() -> None:
    """
    Answers: performer.what-is-learned
        No. The projection is drawn at random and not learned, so the parameters are the same in number and name, and a
        Transformer's checkpoint can be loaded.

        >>> import torch
        >>> from reference_impl.layers.attention import MultiHeadAttention
        >>> from reference_impl.performer import FavorAttention
        >>> _ = torch.manual_seed(0)
        >>> exact = MultiHeadAttention(512, 8)
        >>> estimated = FavorAttention(exact, nb_features=256)
        >>> [sum(w.numel() for w in attention.parameters()) for attention in (exact, estimated)]
        [1050624, 1050624]
        >>> estimated.projection.shape, estimated.projection.requires_grad
        (torch.Size([256, 64]), False)
        >>> estimated.load_state_dict(exact.state_dict(), strict=False)
        _IncompatibleKeys(missing_keys=['projection'], unexpected_keys=[])

        The model should not adapt to one draw: so the projection is redrawn in training, and is fixed in evaluation.

        >>> small = FavorAttention(MultiHeadAttention(8, 2), nb_features=16, feature_redraw_interval=2)
        >>> x = torch.randn(1, 5, 8)
        >>> def draws_seen(uses):
        ...     seen = set()
        ...     for _ in range(uses):
        ...         _ = small(x, x, x)
        ...         seen.add(float(small.projection[0, 0]))
        ...     return len(seen)
        >>> _ = small.train()
        >>> in_training = draws_seen(uses=6)
        >>> _ = small.eval()
        >>> in_training, draws_seen(uses=6)
        (3, 1)
    """


def stabiliser() -> None:
    """
    Answers: performer.stabiliser
        A maximum that cancels between the numerator and the denominator of attention: one for each query, and one for
        all keys together. One for each key would change the keys' weights.

        >>> import torch
        >>> from reference_impl.performer import random_features, gaussian_orthogonal_random_matrix
        >>> _ = torch.manual_seed(0)
        >>> q, k, v = torch.randn(3, 20, 8, dtype=torch.float64)
        >>> W = gaussian_orthogonal_random_matrix(32, 8).double()
        >>> def attention(of_queries, of_keys):
        ...     key_features = random_features(k, W, stabilizer_dims=of_keys)
        ...     weights = random_features(q, W, stabilizer_dims=of_queries) @ key_features.mT
        ...     return weights @ v / weights.sum(dim=-1, keepdim=True)
        >>> none = attention((), ())
        >>> def same(of_queries, of_keys):
        ...     return torch.allclose(attention(of_queries, of_keys), none, rtol=0, atol=1e-12)
        >>> same((-1,), (-2, -1)), same((-2, -1), (-2, -1)), same((-1,), (-1,))
        (True, True, False)

        Causal attention may also take the maximum over all keys, later ones included: it cancels. A constant *added* to
        the features does not cancel, and the public codes add one. There a last key with large features, which makes
        those of all other keys small, changes the outputs before it; here it does not.

        >>> from reference_impl.performer import prefix_sum
        >>> loud = torch.cat([k[:-1], W[W.norm(dim=1).argmax()][None]])
        >>> def tenth(keys, epsilon):
        ...     query = random_features(q, W, stabilizer_dims=(-1,)) + epsilon
        ...     key = random_features(keys, W, stabilizer_dims=(-2, -1)) + epsilon
        ...     mixed = prefix_sum(query, key, torch.cat([v, torch.ones_like(v[:, :1])], dim=-1), 8)
        ...     return mixed[9, :-1] / mixed[9, -1]
        >>> [bool((tenth(loud, epsilon) - tenth(k, epsilon)).abs().max() > 1e-6) for epsilon in (0.0, 1e-4)]
        [False, True]

        Without a maximum the exponentials overflow: here in single precision, for a vector of norm 30.

        >>> x = torch.full((1, 4), 15.0)
        >>> W = torch.full((1, 4), 10.0)
        >>> random_features(x, W).isfinite().item(), random_features(x, W, stabilizer_dims=(-1,)).isfinite().item()
        (False, True)
    """


def any_kernel() -> None:
    r"""
    Answers: performer.any-kernel
        Also with others. Any features that are not negative define an attention: its weights sum to 1, and it costs as
        much. With $\max(0, Wx)$ and many directions the weights are proportional to the arc-cosine kernel, $\lVert
        q\rVert \lVert k\rVert (\sin\theta + (\pi - \theta)\cos\theta) / 2\pi$ for the angle $\theta$ between $q$ and
        $k$.

        >>> import math, torch
        >>> from torch.nn import functional as F
        >>> from reference_impl.performer import favor_attention, gaussian_orthogonal_random_matrix, relu_features
        >>> _ = torch.manual_seed(0)
        >>> q, k, v = torch.randn(3, 6, 4)
        >>> angle = (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT).acos()
        >>> lengths = q.norm(dim=-1)[:, None] * k.norm(dim=-1)
        >>> arc_cosine = lengths * (angle.sin() + (math.pi - angle) * angle.cos()) / (2 * math.pi)
        >>> exact = arc_cosine / arc_cosine.sum(dim=-1, keepdim=True)
        >>> weights = favor_attention(q, k, torch.eye(6), gaussian_orthogonal_random_matrix(40_000, 4), relu_features)
        >>> bool((weights - exact).abs().max() < 0.02), bool((weights.sum(dim=-1) - 1).abs().max() < 1e-4)
        (True, True)

        It is not an estimate of softmax attention: a model has to be trained with it.

        >>> softmax = (q @ k.mT / 2).softmax(dim=-1)
        >>> bool((weights - softmax).abs().max() > 0.1)
        True
    """


def where_linear_pays() -> None:
    """
    Answers: performer.where-linear-pays
        From a little above $L = 2m$ on. Exact attention takes $2L^2d$ multiplications. FAVOR+ takes $2Lmd$ to compute
        the features of queries and keys, and $2Lm(d + 1)$ to use them.

        >>> import torch
        >>> from torch.utils.flop_counter import FlopCounterMode
        >>> from reference_impl.performer import favor_attention
        >>> d, m = 64, 128
        >>> def multiplications(attend, length):
        ...     q, k, v = torch.empty(3, length, d, device="meta")
        ...     with FlopCounterMode(display=False) as counter:
        ...         attend(q, k, v)
        ...     return counter.get_total_flops() // 2
        >>> def plain(q, k, v):
        ...     return (q @ k.mT / 8).softmax(dim=-1) @ v
        >>> def fast(q, k, v):
        ...     return favor_attention(q, k, v, torch.empty(m, d, device="meta"))
        >>> multiplications(plain, 512) == 2 * 512**2 * d, multiplications(fast, 512) == 512 * (4 * m * d + 2 * m)
        (True, True)
        >>> [length for length in range(250, 264) if multiplications(fast, length) < multiplications(plain, length)][0]
        259

        The base Transformer has $d = 64$. With 256 features, the public code's default, nothing is saved below 517
        positions. Exponentials, and how efficiently hardware runs either, are not in this count.
    """


def fused_attention() -> None:
    r"""
    Answers: performer.fused-attention
        In memory no longer, in time from a greater length on. A fused kernel (FlashAttention, Dao et al. 2022; torch's
        `scaled_dot_product_attention`) uses the scores of one tile of queries and keys at once, with a running maximum
        and a running sum for the softmax, and stores none of them. So it is exact, and linear in memory. Its time stays
        quadratic: it takes the same $2L^2d$ multiplications.

        >>> import torch
        >>> from torch.nn.functional import scaled_dot_product_attention
        >>> from torch.utils._python_dispatch import TorchDispatchMode
        >>> from torch.utils._pytree import tree_leaves
        >>> from torch.utils.flop_counter import FlopCounterMode
        >>> from reference_impl.performer import favor_attention
        >>> _ = torch.manual_seed(0)
        >>> def plain(q, k, v):
        ...     return (q @ k.mT / 8).softmax(dim=-1) @ v
        >>> def tiled(q, k, v, tile=128):
        ...     rows = []
        ...     for queries in q.split(tile):
        ...         output, total, maximum = 0.0, 0.0, queries.new_full((len(queries), 1), -torch.inf)
        ...         for keys, values in zip(k.split(tile), v.split(tile)):
        ...             scores, earlier = queries @ keys.mT / 8, maximum
        ...             maximum = torch.maximum(earlier, scores.amax(dim=1, keepdim=True))
        ...             weights, rescale = (scores - maximum).exp(), (earlier - maximum).exp()
        ...             output = rescale * output + weights @ values
        ...             total = rescale * total + weights.sum(dim=1, keepdim=True)
        ...         rows.append(output / total)
        ...     return torch.cat(rows)
        >>> def fused(q, k, v):
        ...     return scaled_dot_product_attention(*(x[None, None] for x in (q, k, v)))[0, 0]
        >>> def favor(q, k, v):
        ...     return favor_attention(q, k, v, torch.zeros(256, 64))
        >>> q, k, v = torch.randn(3, 512, 64, dtype=torch.float64)
        >>> [torch.allclose(attend(q, k, v), plain(q, k, v), rtol=0, atol=1e-12) for attend in (tiled, fused)]
        [True, True]
        >>> class Traffic(TorchDispatchMode):  # each operation reads its arguments and writes its result
        ...     numbers = largest = 0
        ...     def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        ...         result = operation(*args, **(kwargs or {}))
        ...         if not operation.is_view:
        ...             self.numbers += sum(x.numel() for x in tree_leaves((args, result)) if torch.is_tensor(x))
        ...             self.largest = max(self.largest, *(x.numel() for x in tree_leaves(result)))
        ...         return result
        >>> def cost(attend, length):
        ...     q, k, v = torch.zeros(3, length, 64)
        ...     with FlopCounterMode(display=False) as flops, Traffic() as traffic:
        ...         attend(q, k, v)
        ...     return flops.get_total_flops() // 2, traffic.numbers, traffic.largest
        >>> [cost(tiled, length)[0] == 2 * length**2 * 64 for length in (256, 512)]
        [True, True]
        >>> for length in (1024, 2048):  # the largest result that is stored, in numbers for each position
        ...     print([cost(attend, length)[2] // length for attend in (plain, fused)])
        [1024, 64]
        [2048, 64]

        What a fused kernel saves is traffic with the main memory. Exact attention moves $6L + 4d$ numbers for each
        position if every operation reads its arguments there and writes its result. In tiles of 128 queries it reads
        all keys and values once a tile, and queries once, and writes its output: $L + 2d$ numbers for $d = 64$. FAVOR+
        with 256 features, as computed here, moves 7,700. So FAVOR+ saves multiplications from 517 positions on, but
        traffic only from about 1,250 on where exact attention is not fused, and from about 7,600 on where it is. (A
        fused kernel for FAVOR+, with less traffic, would save earlier.)

        >>> [cost(plain, length)[1] == length * (6 * length + 4 * 64) for length in (512, 1024)]
        [True, True]
        >>> multiplications, moved, _ = (count / 4096 for count in cost(favor, 4096))
        >>> next(length for length in range(10_000) if multiplications < 2 * length * 64)
        517
        >>> 1200 < (moved - 4 * 64) / 6 < 1300, 7500 < moved - 2 * 64 < 7700
        (True, True)
    """


def swap_into_a_trained_model() -> None:
    """
    Answers: performer.swap-into-a-trained-model
        Yes, for a small model that we train here, which keeps its weights: the error falls with the number of features,
        and a little fine-tuning recovers what is lost. The model learns an associative recall: for the key that each
        position asks for, it returns the value that is paired with it.

        >>> import torch
        >>> from functools import partial
        >>> from torch import nn
        >>> from torch.nn import functional as F
        >>> from reference_impl.performer import FavorAttention, replace_attention
        >>> from reference_impl.transformer import EncoderLayer
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Linear(12, 16), EncoderLayer(16, heads=1, d_ff=32, dropout=0.0), nn.Linear(16, 4))
        >>> def batch(size=32):
        ...     keys, asked = torch.rand(2, size, 4).argsort(dim=-1)
        ...     values = torch.randint(4, (size, 4))
        ...     right = values.gather(1, (keys[:, None] == asked[:, :, None]).int().argmax(dim=-1))
        ...     return torch.cat([F.one_hot(x, 4) for x in (keys, values, asked)], dim=-1).float(), right
        >>> def loss(model, x, right):
        ...     return F.cross_entropy(model(x).flatten(0, 1), right.flatten())
        >>> def train(model, steps, rate):
        ...     optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        ...     for _ in range(steps):
        ...         optimizer.zero_grad()
        ...         loss(model, *batch()).backward()
        ...         optimizer.step()
        >>> train(model, steps=150, rate=0.01)
        >>> x, right = batch(200)
        >>> exact = loss(model, x, right).item()
        >>> exact < 0.05
        True
        >>> def estimated(m):
        ...     return replace_attention(model, partial(FavorAttention, nb_features=m, feature_redraw_interval=None))
        >>> inner = model[0](x)
        >>> def error(m, draws=8):
        ...     layers = [estimated(m)[1] for _ in range(draws)]
        ...     return sum((layer(inner) - model[1](inner)).square().mean().item() for layer in layers) / draws
        >>> errors = [error(m) for m in (8, 128, 2048)]
        >>> errors[0] > 2 * errors[1] > 4 * errors[2]
        True

        Peaked attention weights are hard to estimate, as the loss shows. Ten steps of fine-tuning, with one fixed
        projection:

        >>> models = [estimated(64) for _ in range(4)]
        >>> before = sum(loss(model, x, right).item() for model in models)
        >>> for model in models:
        ...     train(model, steps=10, rate=0.003)
        >>> after = sum(loss(model, x, right).item() for model in models)
        >>> before > 10 * exact, after < before / 4
        (True, True)
    """
