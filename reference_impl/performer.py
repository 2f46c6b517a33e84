r"""The Performer: softmax attention estimated by random features, in time and memory linear in the length.

Source: Choromanski et al. 2021, "Rethinking Attention with Performers"; sections below are this paper's

Axes: $n$ queries ($L$ in the paper), $l$ keys and values, $d$ the width of a head, $e$ the width of a value, $m$ random
directions, $r$ features of a vector ($m$, or $2m$ for kernels that make two of each direction). Masks are true where
one may look; only keys can be hidden, so a mask has one row for all queries.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from reference_impl.layers.attention import MultiHeadAttention

CreateProjection = Callable[[int, int], Float[Tensor, "m d"]]
FeatureMap = Callable[[Float[Tensor, "*b n d"], Float[Tensor, "m d"]], tuple[Tensor, Tensor]]


def gaussian_random_matrix(m: int, d: int) -> Float[Tensor, "m d"]:
    r"""Draw each direction by itself.

    Source: Section 2.3
        $$\omega_1, \dots, \omega_m \sim \mathcal{N}(0, I_d)$$
    """
    return torch.randn(m, d)


def gaussian_orthogonal_random_matrix(m: int, d: int) -> Float[Tensor, "m d"]:
    r"""Draw directions that stand at right angles to each other, in blocks of d, each as long as a Gaussian vector is.

    Source: Section 2.4
        $$\omega_i^\top \omega_j = 0 \quad (i \ne j, \text{ of one block}), \qquad
          \lVert \omega_i \rVert \sim \chi(d)$$

    Each direction by itself is still drawn from $\mathcal{N}(0, I_d)$, so that estimates stay unbiased. That needs the
    signs of a QR decomposition put right: as it comes from LAPACK, the first number of the first vector is negative
    in every draw.

    Departs: the public codes take the vectors as LAPACK returns them, which biases their estimates.

    Asked: performer.why-orthogonal
    """
    q, r = torch.linalg.qr(torch.randn(-(-m // d), d, d))
    q = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    lengths = torch.randn(m, d).norm(dim=1, keepdim=True)
    return q.mT.flatten(0, 1)[:m] * lengths


def positive_features(x: Float[Tensor, "*b n d"], projection: Float[Tensor, "m d"]) -> tuple[Tensor, Tensor]:
    r"""Return the factor and the exponent of FAVOR+'s features, none of which is negative.

    Source: Section 2.3, Lemma 1; the error is Lemma 2's, for independent directions
        $$\phi(x) = \frac{1}{\sqrt m} \exp\Bigl(Wx - \frac{\lVert x\rVert^2}{2}\Bigr), \qquad
          \mathbb{E}\, \phi(x)^\top \phi(y) = \exp(x^\top y)$$
        $$\operatorname{MSE} = \frac{1}{m} \exp(\lVert x + y\rVert^2) \exp(x^\top y)^2
          \bigl(1 - \exp(-\lVert x + y\rVert^2)\bigr)$$

    Asked: performer.unbiased, performer.why-positive
    """
    norms = x.square().sum(dim=-1, keepdim=True)
    return x.new_ones(()), x @ projection.mT - norms / 2


def hyperbolic_features(x: Float[Tensor, "*b n d"], projection: Float[Tensor, "m d"]) -> tuple[Tensor, Tensor]:
    r"""Return the factor and the exponent of positive features that use each direction both ways.

    Source: Section 2.3, Lemma 1; its mean squared error is, by Lemma 2, not above half of that of `positive_features`
        $$\phi(x) = \frac{1}{\sqrt{2m}} \exp\Bigl(-\frac{\lVert x\rVert^2}{2}\Bigr)
          \bigl[\exp(Wx),\ \exp(-Wx)\bigr]$$
    """
    factor, exponent = positive_features(x, torch.cat([projection, -projection]))
    return factor * 0.5**0.5, exponent


def trigonometric_features(x: Float[Tensor, "*b n d"], projection: Float[Tensor, "m d"]) -> tuple[Tensor, Tensor]:
    r"""Return the factor and the exponent of the features that the paper argues against.

    Source: Section 2.3; the error is Lemma 2's, for independent directions
        $$\phi(x) = \frac{1}{\sqrt m} \exp\Bigl(\frac{\lVert x\rVert^2}{2}\Bigr) \bigl[\sin(Wx),\ \cos(Wx)\bigr]$$
        $$\operatorname{MSE} = \frac{1}{2m} \exp(\lVert x + y\rVert^2) \exp(x^\top y)^{-2}
          \bigl(1 - \exp(-\lVert x - y\rVert^2)\bigr)^2$$

    Asked: performer.when-positive-loses
    """
    angles = x @ projection.mT
    return torch.cat([angles.sin(), angles.cos()], dim=-1), x.square().sum(dim=-1, keepdim=True) / 2


def relu_features(x: Float[Tensor, "*b n d"], projection: Float[Tensor, "m d"]) -> tuple[Tensor, Tensor]:
    r"""Return the factor and the exponent (none: 0) of features for attention by another kernel than softmax's.

    Source: Section 2.2, generalised attention; the small number is the public codes', so that no row sum is zero
        $$\phi(x) = \frac{1}{\sqrt m} \bigl(\max(0, Wx) + 10^{-3}\bigr)$$

    With the identity as directions, these are the public code's deterministic features.

    Asked: performer.any-kernel
    """
    return F.relu(x @ projection.mT) + 1e-3, torch.zeros_like(x[..., :1])


def random_features(
    x: Float[Tensor, "*b n d"],
    projection: Float[Tensor, "m d"],
    feature_map: FeatureMap = positive_features,
    stabilizer_dims: tuple[int, ...] = (),
    valid: Bool[Tensor, "..."] | None = None,
) -> Float[Tensor, "*b n r"]:
    r"""Return what stands for each vector: the product of two vectors' features estimates their kernel.

    Source: Section 2.3, Eq. 5, with $g$ the kernel's factor and $s$ its exponent; the maximum $c$ is the public codes'
        $$\phi(x) = \frac{1}{\sqrt m}\, g(x) \exp(s(x) - c)$$

    Departs: the public codes subtract the maximum of $Wx$ alone, and add $10^{-4}$ or $10^{-6}$ to the exponentials.
    Then a query long enough has features that are all next to zero before that number is added, and all such queries
    attend alike, whatever they ask. Here the largest exponential is 1, and nothing is added.

    Args:
        x: The vectors; for softmax over $\sqrt d$, queries and keys times $d^{-1/4}$.
        projection: The random directions, one a row.
        feature_map: Which features.
        stabilizer_dims: The axes over which the maximum is taken that is subtracted: (-1,) for queries, (-2, -1) for
            keys, () for none.
        valid: True where a vector is no padding, of shape (..., n, 1); padding has features of 0.

    Asked: performer.stabiliser
    """
    factor, exponent = feature_map(x, projection)
    if valid is not None:  # the lowest finite number, not -inf: where nothing is real, inf - inf would be NaN
        exponent = exponent.masked_fill(~valid, torch.finfo(exponent.dtype).min)
    if stabilizer_dims:
        exponent = exponent - exponent.detach().amax(dim=stabilizer_dims, keepdim=True)
    found = factor / projection.shape[0] ** 0.5 * exponent.exp()
    return found if valid is None else found.masked_fill(~valid, 0.0)


def prefix_sum(
    query: Float[Tensor, "*b n r"], key: Float[Tensor, "*b n r"], value: Float[Tensor, "*b n e"], chunk_size: int = 128
) -> Float[Tensor, "*b n e"]:
    r"""Sum what stands at each position and before it, weighted by products of features.

    Source: Section 2.2 and Appendix B (Algorithm 1, unidirectional); the chunks are ours
        $$y_i = \sum_{j \le i} (q_i^\top k_j)\, c_j = S_i^\top q_i, \qquad S_i = \sum_{j \le i} k_j c_j^\top$$

    The sums $S_i$ of a chunk's start are $r \times e$ and the only ones made; within a chunk products are masked. So
    the memory besides inputs and output is $re + chunk^2$, whatever the length. The gradients are prefix sums
    themselves:

    $$\bar q_i = \sum_{j \le i} (\bar y_i^\top c_j)\, k_j, \qquad
      \bar k_j = \sum_{i \ge j} (c_j^\top \bar y_i)\, q_i, \qquad
      \bar c_j = \sum_{i \ge j} (k_j^\top q_i)\, \bar y_i,$$

    so that the backward pass keeps queries, keys and contents, and no sum at all.

    Departs: Algorithm 1 makes all $S_i$ at once, $n \times r \times e$ numbers, and sums them in parallel.

    Args:
        query: The features of queries.
        key: The features of keys.
        value: What is summed.
        chunk_size: How many positions are taken at a time.

    Raises:
        ValueError: A chunk has no position.

    Asked: performer.causal-without-a-mask
    """
    if chunk_size < 1:
        raise ValueError(f"chunk_size {chunk_size} is less than 1")
    return PrefixSum.apply(query, key, value, chunk_size)  # type: ignore[no-untyped-call]


class PrefixSum(torch.autograd.Function):
    """Run `prefix_sum` forth and back; not to be called itself."""

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
        past = key[..., :0, :].mT @ value[..., :0, :]  # zeros: nothing has been seen
        sums = []
        for q, k, v in zip(*(torch.split(tensor, chunk_size, dim=-2) for tensor in (query, key, value)), strict=True):
            sums.append((q @ k.mT).tril() @ v + q @ past)
            past = past + k.mT @ v
        return torch.cat(sums, dim=-2)

    @staticmethod
    def backward(ctx: Any, grad_output: Float[Tensor, "*b n e"]) -> tuple[Tensor, Tensor, Tensor, None]:
        """Return the gradients, which are prefix sums: one as it stands, two from the end."""
        query, key, value = ctx.saved_tensors
        grad_query = prefix_sum(grad_output, value, key, ctx.chunk_size)
        back = [tensor.flip(-2) for tensor in (query, key, value, grad_output)]
        grad_key = prefix_sum(back[2], back[3], back[0], ctx.chunk_size).flip(-2)
        grad_value = prefix_sum(back[1], back[0], back[3], ctx.chunk_size).flip(-2)
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
    r"""Return the values' means under attention that is estimated, without a matrix of its weights.

    Source: Section 2.2, Eq. 4, and Appendix B, Algorithm 1
        $$\widehat{\operatorname{Att}}(Q, K, V) = \hat D^{-1} \bigl(Q' ((K')^\top V)\bigr), \qquad
          \hat D = \operatorname{diag}\bigl(Q' ((K')^\top 1_L)\bigr)$$

    $Q'$ and $K'$ are the features of queries and keys, each times $d^{-1/4}$: then their product estimates $\exp(q^\top
    k / \sqrt d)$. Values and $1_L$ are multiplied as one, as Algorithm 1 does. Rows of weight zero return zeros.

    Departs: nothing is added to denominators; the public codes add $10^{-6}$ times the sum of a query's features if
    causal, or $2 \cdot 10^{-6}$ to those that are nearly zero. Hidden keys have no weight; a public code hides their
    values alone, and its denominators count them.

    Args:
        query: What is asked for.
        key: What each value is found by.
        value: What is returned.
        projection: The random directions, one a row.
        feature_map: Which features.
        mask: True where a key may be seen, of shape (..., 1, l), the same for all queries.
        causal: Whether a query sees its own and earlier positions only.
        chunk_size: How many positions causal attention takes at a time.

    Raises:
        ValueError: The mask tells queries apart; there are no such weights to mask. Or attention is causal, and there
            are not as many queries as keys.

    Asked: performer.no-attention-matrix, performer.how-many-features, performer.where-linear-pays
    """
    if mask is not None and mask.shape[-2] != 1:
        raise ValueError(f"the mask has {mask.shape[-2]} rows, not 1: only keys can be hidden, from all queries alike")
    if causal and query.shape[-2] != key.shape[-2]:
        raise ValueError(f"{query.shape[-2]} queries and {key.shape[-2]} keys cannot be causal: their numbers differ")
    scale = query.shape[-1] ** -0.25
    query_features = random_features(query * scale, projection, feature_map, stabilizer_dims=(-1,))
    key_features = random_features(
        key * scale, projection, feature_map, stabilizer_dims=(-2, -1), valid=None if mask is None else mask.mT
    )
    value = F.pad(value, (0, 1), value=1.0)  # [V 1], so that one product gives the sums below the line too
    mixed = (
        prefix_sum(query_features, key_features, value, chunk_size)
        if causal
        else query_features @ (key_features.mT @ value)
    )
    total, weight = mixed[..., :-1], mixed[..., -1:]
    return total / weight.masked_fill(weight == 0, 1.0)


class FavorAttention(MultiHeadAttention):
    r"""Run an attention's own weights by FAVOR+.

    Source: Section 2; the heads share their directions, and redraw them in training (Section 4.3), as the public code
    does

    Departs: the projection is redrawn in training only, each time after `feature_redraw_interval` calls. One public
    code redraws in every call, in evaluation too; the other in training, after 1,000 calls and one. There is no dropout
    of attention weights: no weights are computed that could be dropped.

    Args:
        attention: What is run; its four projections are shared, not copied.
        nb_features: How many directions, $m$.
        causal: Whether a position sees its own and earlier ones only.
        feature_map: Which features.
        create_projection: How directions are drawn.
        feature_redraw_interval: After how many uses in training directions are drawn anew; None for never.

    Raises:
        ValueError: There is no feature.

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
        """Draw the directions anew."""
        # Not in place: a backward pass to come may still need the old ones.
        self.projection = self.create_projection(*self.projection.shape).to(self.projection)
        self.calls_since_last_redraw = 0

    def attend(
        self,
        query: Float[Tensor, "b n d"],
        key: Float[Tensor, "b h m dh"],
        value: Float[Tensor, "b h m dh"],
        mask: Bool[Tensor, "..."] | None = None,
    ) -> Float[Tensor, "b n d"]:
        """Attend to keys and values that have been projected already."""
        if self.training:
            if self.calls_since_last_redraw == self.feature_redraw_interval:
                self.redraw_projection()
            self.calls_since_last_redraw += 1
        return self.output(self._mixed(query, key, value, mask).transpose(1, 2).flatten(2))

    def attention_weights(
        self, query: Float[Tensor, "b n d"], key: Float[Tensor, "b m d"], mask: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "b h n m"]:
        """Return the weights that the outputs are means under: for looking at, since this makes the matrix."""
        keys, _ = self.keys_values(key, key)
        one_hot = torch.eye(key.shape[1]).to(keys).expand(*keys.shape[:2], -1, -1)
        return self._mixed(query, keys, one_hot, mask)

    def _mixed(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Float[Tensor, "b h n e"]:
        mask = None if mask is None else mask.unsqueeze(-3)  # the same for every head
        return favor_attention(
            self._split(self.query(query)), key, value, self.projection, self.feature_map, mask, self.causal
        )


def replace_attention(
    model: nn.Module, make_attention: Callable[[MultiHeadAttention], nn.Module] = FavorAttention
) -> nn.Module:
    """Return a copy of a model in which each attention is run by FAVOR+, with the weights that it has.

    Source: Section 4.3 (a pre-trained Transformer's weights in a Performer, then fine-tuned)

    Args:
        model: A model with attentions anywhere in it, or an attention. It stays as it is.
        make_attention: What an attention becomes; give settings as `functools.partial(FavorAttention, features=64)`.

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
        By moving brackets. Where weights are products of features, $(Q'K'^\top)V = Q'(K'^\top V)$, and the right side
        never has more than $L \times m$ numbers at a time.

        >>> import torch
        >>> from reference_impl.performer import favor_attention, random_features, gaussian_orthogonal_random_matrix
        >>> _ = torch.manual_seed(0)
        >>> q, k, v = torch.randn(3, 50, 8, dtype=torch.float64)
        >>> W = gaussian_orthogonal_random_matrix(32, 8).double()
        >>> matrix = random_features(q * 8**-0.25, W) @ random_features(k * 8**-0.25, W).mT
        >>> weights = matrix / matrix.sum(dim=-1, keepdim=True)
        >>> torch.allclose(favor_attention(q, k, v, W), weights @ v, rtol=0, atol=1e-12)
        True

        Count, on tensors without numbers in them, the multiplications and the largest result, at 4,096 positions and at
        8,192: plain attention takes four times as much of both for twice the length, this one twice.

        >>> from torch.utils._python_dispatch import TorchDispatchMode
        >>> from torch.utils.flop_counter import FlopCounterMode
        >>> class Largest(TorchDispatchMode):
        ...     numbers = 0
        ...     def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        ...         result = operation(*args, **(kwargs or {}))
        ...         self.numbers = max(self.numbers, result.numel())
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
        >>> [most // 4096 for most in (cost(plain, 4096)[1], cost(fast, 4096)[1])]
        [4096, 256]
    """


def unbiased() -> None:
    r"""
    Answers: performer.unbiased
        Yes: the mean of products of features goes to $\exp(x^\top y)$ for every kernel and either way to draw
        directions.

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

        Attention divides two such means, and a quotient of unbiased estimates is biased. With one feature it does not
        even look at the query, which stands above and below the line. With more features the bias goes.

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
        Since most weights of attention are near zero, and there sines and cosines fail. Their error *grows* as the
        kernel vanishes; that of exponentials vanishes with it. At $y = -x$ each single product of exponentials is
        exact.

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

        Then products come out negative, and row sums by which attention divides with them. With queries and keys of
        unit scale, $d = 16$ and $m = 64$, the outputs are lost; the same directions serve the positive features well.

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
        Where query and key are near each other: both short, or nearly alike. At $x = y$ sines and cosines are exact for
        every direction, since $\sin^2 + \cos^2 = 1$; the exponentials are at their worst.

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

        With queries and keys of half scale at $d = 16$ all are short, and the whole of attention comes out better.

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
        Accuracy, for one QR decomposition a draw. Each direction keeps its distribution, so the mean stays right; but
        directions that cannot point the same way repeat each other less, and the mean over $m$ of them varies less.
        Below, the mean squared error of the kernel over 20,000 draws of one block, as a share of that of independent
        ones. Most is won where features are even in the direction; those of FAVOR+ win a tenth.

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
        >>> share(positive_features) < 0.97, share(hyperbolic_features) < 0.75, share(trigonometric_features) < 0.6
        (True, True, True)

        The signs matter too: directions as LAPACK returns them point to one side on the mean, ours to none.

        >>> raw = torch.linalg.qr(torch.randn(4000, 4, 4)).Q.mT[:, 0].mean(dim=0)
        >>> ours = gaussian_orthogonal_random_matrix(4 * 4000, 4).reshape(4000, 4, 4)[:, 0].mean(dim=0)
        >>> bool(raw[0] < -0.4), bool(ours.abs().max() < 0.1)
        (True, True)
    """


def how_many_features() -> None:
    """
    Answers: performer.how-many-features
        The error falls with the root of $m$: four times the features halve it. For vectors that are no longer than some
        radius it does not grow with the length. Below, the error of the matrix of weights over its size.

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

        The radius matters. Among more Gaussian vectors the longest is longer, and there the error does grow.

        >>> error(64, length=512, bounded=False) > 1.3 * error(64, length=64, bounded=False)
        True

        The paper's bound (Theorem 4) is for all weights at once, for sines and cosines, and for vectors of a radius as
        well.
    """


def causal_without_a_mask() -> None:
    r"""
    Answers: performer.causal-without-a-mask
        By running sums. What a position may see is summed up in one $m \times (d + 1)$ matrix, to which each new key
        and value add their product. So decoding a token costs the same at every length, and needs no past but that
        matrix.

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

        It is what a mask would give, if there were a matrix to mask; and the backward pass does not make one either.
        Count the largest tensor of both passes for a double length: it doubles.

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
        Nothing more. Directions are drawn and not learned, so parameters are the same in number and name, and a
        Transformer's can be loaded.

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

        What training may not learn is one draw: so it is renewed in training, and stands still otherwise.

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
        Whatever stands both above and below the line of a query's quotient. That is one number for each query, and one
        number for all keys together. One for each key would weigh the keys anew.

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

        Causal attention too may take the maximum over all keys, the later ones with them: that cancels. A number
        *added* to the features does not, and the public codes add one. There a last key with large features, by which
        all others shrink, is felt by outputs before it; here it is not.

        >>> from reference_impl.performer import prefix_sum
        >>> loud = torch.cat([k[:-1], W[W.norm(dim=1).argmax()][None]])
        >>> def tenth(keys, epsilon):
        ...     query = random_features(q, W, stabilizer_dims=(-1,)) + epsilon
        ...     key = random_features(keys, W, stabilizer_dims=(-2, -1)) + epsilon
        ...     mixed = prefix_sum(query, key, torch.cat([v, torch.ones_like(v[:, :1])], dim=-1), 8)
        ...     return mixed[9, :-1] / mixed[9, -1]
        >>> [bool((tenth(loud, epsilon) - tenth(k, epsilon)).abs().max() > 1e-6) for epsilon in (0.0, 1e-4)]
        [False, True]

        Without any maximum the exponentials overflow: here in single precision, at a length of 30.

        >>> x = torch.full((1, 4), 15.0)
        >>> W = torch.full((1, 4), 10.0)
        >>> random_features(x, W).isfinite().item(), random_features(x, W, stabilizer_dims=(-1,)).isfinite().item()
        (False, True)
    """


def any_kernel() -> None:
    r"""
    Answers: performer.any-kernel
        No. Any features that are not negative define an attention: its weights sum to 1, and it costs as much. With
        $\max(0, Wx)$ the weights are, for many directions, in proportion to the arc-cosine kernel, $\lVert q\rVert
        \lVert k\rVert (\sin\theta + (\pi - \theta)\cos\theta) / 2\pi$ for the angle $\theta$ of $q$ and $k$.

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

        It is another attention, not an estimate of softmax's: a model has to be trained with it.

        >>> softmax = (q @ k.mT / 2).softmax(dim=-1)
        >>> bool((weights - softmax).abs().max() > 0.1)
        True
    """


def where_linear_pays() -> None:
    """
    Answers: performer.where-linear-pays
        A little above $L = 2m$. Plain attention multiplies $2L^2d$ times. FAVOR+ takes $2Lmd$ to make features of
        queries and keys, and $2Lm(d + 1)$ to use them.

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

        The base Transformer has $d = 64$. With 256 features, the number of the public code, nothing is saved below 517
        positions; exponentials, and what a machine does well, are not in this count.
    """


def swap_into_a_trained_model() -> None:
    """
    Answers: performer.swap-into-a-trained-model
        Yes, for a small one that we train here; its weights stay, and the more features, the nearer. What is lost
        comes back with a little fine-tuning. The layer learns to look up, for the key that each position asks for, the
        value that stands beside it.

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

        Sharp weights are the hard ones to estimate, and the loss shows it. Ten steps of fine-tuning, on one draw:

        >>> models = [estimated(64) for _ in range(4)]
        >>> before = sum(loss(model, x, right).item() for model in models)
        >>> for model in models:
        ...     train(model, steps=10, rate=0.003)
        >>> after = sum(loss(model, x, right).item() for model in models)
        >>> before > 10 * exact, after < before / 4
        (True, True)
    """
