r"""Attention: scores that align queries with keys, and weighted means of values.

Source: Vaswani et al. 2017, Section 3.2; the scores from Graves et al. 2014, Bahdanau et al. 2015, Luong et al. 2015

Axes: $n$ queries, $m$ keys and values, $b$ sequences of a batch, $h$ heads. A mask is a tensor of booleans that is true
where a query may attend. It broadcasts to (b, n, m); a query that may attend nowhere receives zeros.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


def dot_score(query: Float[Tensor, "*b n d"], key: Float[Tensor, "*b m d"]) -> Float[Tensor, "*b n m"]:
    r"""Score each pair by its inner product.

    Source: Luong et al. 2015, Eq. 8 (dot)
        $$s_{ij} = q_i^\top k_j$$
    """
    return query @ key.mT


def scaled_dot_score(query: Float[Tensor, "*b n d"], key: Float[Tensor, "*b m d"]) -> Float[Tensor, "*b n m"]:
    r"""Score each pair by its inner product over the root of the width.

    Source: Vaswani et al. 2017, Eq. 1
        $$s_{ij} = q_i^\top k_j / \sqrt{d_k}$$
    """
    return dot_score(query, key) / math.sqrt(query.shape[-1])


def cosine_score(query: Float[Tensor, "*b n d"], key: Float[Tensor, "*b m d"]) -> Float[Tensor, "*b n m"]:
    r"""Score each pair by the cosine of its angle; a zero vector scores 0. In [-1, 1].

    Source: Graves et al. 2014, Eq. 6 (content-based addressing, without its key strength)
        $$s_{ij} = \frac{q_i^\top k_j}{\lVert q_i\rVert \lVert k_j\rVert}$$
    """
    return dot_score(F.normalize(query, dim=-1), F.normalize(key, dim=-1))


class GeneralScore(nn.Module):
    r"""Score each pair by a learnt bilinear form; query and key may differ in width.

    Source: Luong et al. 2015, Eq. 8 (general)
        $$s_{ij} = q_i^\top W k_j$$
    """

    def __init__(self, d_query: int, d_key: int) -> None:
        super().__init__()
        self.key = nn.Linear(d_key, d_query, bias=False)

    def forward(
        self, query: Float[Tensor, "*b n d_query"], key: Float[Tensor, "*b m d_key"]
    ) -> Float[Tensor, "*b n m"]:
        """Return the scores of all pairs."""
        return dot_score(query, self.key(key))


class AdditiveScore(nn.Module):
    r"""Score each pair by a network with one hidden layer.

    Source: Bahdanau et al. 2015, Appendix A.1.2
        $$s_{ij} = v^\top \tanh(W q_i + U k_j)$$

    Every pair has a hidden layer of its own, so the memory is $n m d_{hidden}$, not $n m$.
    """

    def __init__(self, d_query: int, d_key: int, d_hidden: int) -> None:
        super().__init__()
        self.query = nn.Linear(d_query, d_hidden, bias=False)
        self.key = nn.Linear(d_key, d_hidden, bias=False)
        self.vector = nn.Linear(d_hidden, 1, bias=False)

    def forward(
        self, query: Float[Tensor, "*b n d_query"], key: Float[Tensor, "*b m d_key"]
    ) -> Float[Tensor, "*b n m"]:
        """Return the scores of all pairs."""
        pairs = self.query(query).unsqueeze(-2) + self.key(key).unsqueeze(-3)
        return self.vector(pairs.tanh()).squeeze(-1)


class LocationScore(nn.Module):
    r"""Score each place by the query alone: what stands there is not looked at.

    Source: Luong et al. 2015, Eq. 9 (location); a sentence shorter than the longest uses the first scores
        $$s_{i\cdot} = W q_i$$
    """

    def __init__(self, d_query: int, max_length: int) -> None:
        super().__init__()
        self.places = nn.Linear(d_query, max_length, bias=False)

    def forward(
        self, query: Float[Tensor, "*b n d_query"], key: Float[Tensor, "*b m d_key"]
    ) -> Float[Tensor, "*b n m"]:
        """Return the scores of the first m places.

        Raises:
            ValueError: There are more keys than places.
        """
        m, places = key.shape[-2], self.places.out_features
        if m > places:
            raise ValueError(f"{m} keys exceed the {places} places that have a score")
        return self.places(query)[..., :m]


def causal_mask(n: int, device: torch.device | str | None = None) -> Bool[Tensor, "n n"]:
    """Let each position attend to itself and to what precedes it."""
    return torch.ones(n, n, dtype=torch.bool, device=device).tril()


def padding_mask(lengths: Int[Tensor, " b"], n: int) -> Bool[Tensor, "b 1 n"]:
    """Let every query attend to the first `lengths[b]` of n keys, and not to the padding after them."""
    return (torch.arange(n, device=lengths.device) < lengths[:, None])[:, None, :]


def attention_weights(
    scores: Float[Tensor, "*b n m"], mask: Bool[Tensor, "..."] | None = None
) -> Float[Tensor, "*b n m"]:
    r"""Turn scores into weights that sum to 1 over the keys, or to 0 for a query that may attend nowhere.

    Source: Vaswani et al. 2017, Eq. 1 and Section 3.2.3 (masking)
        $$\alpha_{ij} = \frac{\exp s_{ij}}{\sum_{j'} \exp s_{ij'}}$$
    """
    if mask is None:
        return scores.softmax(dim=-1)
    # The lowest finite number, not -inf: a row of -inf would be NaN, in the gradient even where it is overwritten.
    allowed = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return allowed.softmax(dim=-1).masked_fill(~mask, 0.0)


def scaled_dot_product(
    query: Float[Tensor, "*b n d"],
    key: Float[Tensor, "*b m d"],
    value: Float[Tensor, "*b m dv"],
    mask: Bool[Tensor, "..."] | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "*b n dv"]:
    r"""Return the values' means under scaled dot-product attention, by torch's fused kernel.

    Source: Vaswani et al. 2017, Eq. 1
        $$\operatorname{softmax}\Bigl(\frac{QK^\top}{\sqrt{d_k}}\Bigr)V$$

    Args:
        query: What is asked for.
        key: What each value is found by.
        value: What is returned.
        mask: True where a query may attend; broadcasts to (..., n, m).
        dropout: The share of the weights that are dropped; give 0 when not training.
    """
    if mask is None:
        return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
    # Kernels differ over rows that may attend nowhere: let those see everything, then take it back.
    somewhere = mask.any(dim=-1, keepdim=True)
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask | ~somewhere, dropout_p=dropout)
    return mixed.masked_fill(~somewhere, 0.0)


class MultiHeadAttention(nn.Module):
    r"""Attend in several subspaces at once.

    Source: Vaswani et al. 2017, Section 3.2.2
        $$\operatorname{MultiHead}(Q, K, V) = \operatorname{Concat}(head_1, \dots, head_h) W^O$$
        $$head_i = \operatorname{Attention}(QW_i^Q, KW_i^K, VW_i^V)$$

    The $h$ matrices of each kind stand side by side in one; a head is $d_{model}/h$ wide.

    Departs: the paper's projections have no bias. Give `bias=False` for those.

    Args:
        d_model: The width of queries, keys, values and the output.
        heads: How many heads share that width.
        bias: Whether the four projections add a bias.
        dropout: The share of weights dropped in training.

    Raises:
        ValueError: The width does not divide among the heads.
    """

    def __init__(self, d_model: int, heads: int, bias: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        if heads < 1 or d_model % heads:
            raise ValueError(f"d_model {d_model} is not a multiple of heads {heads}")
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(d_model, d_model, bias=bias)
        self.key = nn.Linear(d_model, d_model, bias=bias)
        self.value = nn.Linear(d_model, d_model, bias=bias)
        self.output = nn.Linear(d_model, d_model, bias=bias)

    def forward(
        self,
        query: Float[Tensor, "b n d"],
        key: Float[Tensor, "b m d"],
        value: Float[Tensor, "b m d"],
        mask: Bool[Tensor, "..."] | None = None,
    ) -> Float[Tensor, "b n d"]:
        """Attend from each query to the keys, and return the values found there.

        A query that may attend nowhere returns the output's bias.
        """
        return self.attend(query, *self.keys_values(key, value), mask)

    def keys_values(
        self, key: Float[Tensor, "b m d"], value: Float[Tensor, "b m d"]
    ) -> tuple[Float[Tensor, "b h m dh"], Float[Tensor, "b h m dh"]]:
        """Return the heads' keys and values: what a decoder keeps from one step to the next."""
        return self._split(self.key(key)), self._split(self.value(value))

    def attend(
        self,
        query: Float[Tensor, "b n d"],
        key: Float[Tensor, "b h m dh"],
        value: Float[Tensor, "b h m dh"],
        mask: Bool[Tensor, "..."] | None = None,
    ) -> Float[Tensor, "b n d"]:
        """Attend to keys and values that have been projected already."""
        mask = None if mask is None else mask.unsqueeze(-3)  # the same for every head
        dropout = self.dropout if self.training else 0.0
        heads = scaled_dot_product(self._split(self.query(query)), key, value, mask, dropout)
        return self.output(heads.transpose(1, 2).flatten(2))

    def weights(
        self, query: Float[Tensor, "b n d"], key: Float[Tensor, "b m d"], mask: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "b h n m"]:
        """Return the weights that `forward` uses when it drops none: the fused kernel does not show them."""
        scores = scaled_dot_score(self._split(self.query(query)), self._split(self.key(key)))
        return attention_weights(scores, None if mask is None else mask.unsqueeze(-3))

    def _split(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b h n dh"]:
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)
