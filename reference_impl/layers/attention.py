r"""Attention: scores that align queries with keys, and weighted means of values.

Source: Vaswani et al. 2017, Section 3.2; the scores from Graves et al. 2014, Bahdanau et al. 2015, Luong et al. 2015

Axes: $n$ queries, $m$ keys and values, $b$ sequences of a batch, $h$ heads. A mask is a tensor of booleans that is true
where a query may attend. It broadcasts to (b, n, m); a query that may attend nowhere receives zeros.

Answers: transformer.alignment-scores
    Six, for a query $q$ and a key $k$. *Dot*: $q^\top k$. *Scaled dot*: $q^\top k/\sqrt{d}$. *Content-based*: the
    cosine of $q$ and $k$. *General*: $q^\top W k$. *Additive*: $v^\top\tanh(Wq + Uk)$, in Luong's terms *concat*.
    *Location-based*: $Wq$, one number a place, which never looks at the keys. The first three learn nothing.

    >>> import torch
    >>> from reference_impl.layers.attention import AdditiveScore, GeneralScore, LocationScore
    >>> from reference_impl.layers.attention import cosine_score, dot_score, scaled_dot_score
    >>> _ = torch.manual_seed(0)
    >>> queries, keys = torch.randn(3, 4), torch.randn(5, 4)
    >>> general, additive, location = GeneralScore(4, 4), AdditiveScore(4, 4, d_hidden=6), LocationScore(4, 9)
    >>> q, k = queries[1], keys[2]
    >>> by_hand = {
    ...     dot_score: q @ k,
    ...     scaled_dot_score: q @ k / 2,
    ...     cosine_score: q @ k / (q.norm() * k.norm()),
    ...     general: q @ general.key.weight @ k,
    ...     additive: additive.vector.weight[0] @ torch.tanh(additive.query.weight @ q + additive.key.weight @ k),
    ...     location: location.projection.weight[2] @ q,
    ... }
    >>> [torch.allclose(score(queries, keys)[1, 2], expected, atol=1e-6) for score, expected in by_hand.items()]
    [True, True, True, True, True, True]
    >>> [sum(w.numel() for w in score.parameters()) for score in (general, additive, location)]
    [16, 54, 36]
    >>> torch.equal(location(queries, keys), location(queries, 0 * keys))
    True

Answers: transformer.score-decides-self
    No. A score sees one query and one key, and not where they come from; any of the six makes either kind. What
    decides is the source of the keys and values: below, place 0 depends on place 3 of its own sequence when that is
    the source, and does not when another sequence is, with every score alike.

    >>> import torch
    >>> from reference_impl.layers.attention import AdditiveScore, GeneralScore, LocationScore
    >>> from reference_impl.layers.attention import masked_softmax, cosine_score, dot_score, scaled_dot_score
    >>> _ = torch.manual_seed(0)
    >>> x, other = torch.randn(5, 4, requires_grad=True), torch.randn(7, 4)
    >>> def reads_its_own(score, source):
    ...     output = masked_softmax(score(x, source)) @ source
    ...     (gradient,) = torch.autograd.grad(output[0].sum(), x, allow_unused=True)
    ...     return gradient is not None and bool(gradient[3].any())
    >>> scores = [dot_score, scaled_dot_score, cosine_score]
    >>> scores += [GeneralScore(4, 4), AdditiveScore(4, 4, 6), LocationScore(4, 9)]
    >>> [reads_its_own(score, source=x) for score in scores]
    [True, True, True, True, True, True]
    >>> [reads_its_own(score, source=other) for score in scores]
    [False, False, False, False, False, False]
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


def dot_score(query: Float[Tensor, "*b n d"], key: Float[Tensor, "*b m d"]) -> Float[Tensor, "*b n m"]:
    r"""Score each pair by its inner product.

    Source: Luong et al. 2015, Section 3.1 (dot)
        $$s_{ij} = q_i^\top k_j$$
    """
    return query @ key.mT


def scaled_dot_score(query: Float[Tensor, "*b n d"], key: Float[Tensor, "*b m d"]) -> Float[Tensor, "*b n m"]:
    r"""Score each pair by its inner product over the root of the width.

    Source: Vaswani et al. 2017, Eq. 1
        $$s_{ij} = q_i^\top k_j / \sqrt{d_k}$$

    Answers: transformer.scaled-dot-product
        The factor is $1/\sqrt{d_k}$, with $d_k$ the width of one head's keys, 64 in the paper; the length of the
        sequence has no part in it (an $n$ in that place is a width too). If the components of $q$ and $k$ are
        independent with variance 1, then $q^\top k$ is a sum of $d_k$ products and has variance $d_k$.

        >>> import torch
        >>> from reference_impl.layers.attention import masked_softmax, dot_score, scaled_dot_score
        >>> _ = torch.manual_seed(0)
        >>> draw = {d: (torch.randn(64, d), torch.randn(1000, d)) for d in (16, 64, 256, 1024)}
        >>> [round(float(dot_score(q, k).std())) for q, k in draw.values()]
        [4, 8, 16, 32]
        >>> [round(float(scaled_dot_score(q, k).std())) for q, k in draw.values()]
        [1, 1, 1, 1]
        >>> [round(float(dot_score(torch.randn(512, 64), torch.randn(n, 64)).std())) for n in (8, 64, 512)]
        [8, 8, 8]

        Scores that far apart saturate the softmax: one key takes nearly all of the weight, and since
        $\partial\alpha_j/\partial s_j = \alpha_j(1 - \alpha_j)$, next to no gradient passes.

        >>> q, k = draw[1024]
        >>> unscaled, scaled = masked_softmax(dot_score(q, k)), masked_softmax(scaled_dot_score(q, k))
        >>> bool(unscaled.max(dim=1).values.mean() > 0.8), bool(scaled.max(dim=1).values.mean() < 0.05)
        (True, True)
        >>> gradient = [float((w * (1 - w)).sum(dim=1).mean()) for w in (unscaled, scaled)]
        >>> gradient[1] > 5 * gradient[0]
        True
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

    Source: Luong et al. 2015, Section 3.1 (general)
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

    Source: Luong et al. 2015, Eq. 8 (location)
        $$s_{i\cdot} = W q_i$$

    A sentence shorter than the longest uses the first scores.

    Departs: the paper ignores the words that a longer sentence has beyond those; here it is refused.

    Args:
        d_query: The width of a query.
        max_length: How many places have a score.
    """

    def __init__(self, d_query: int, max_length: int) -> None:
        super().__init__()
        self.projection = nn.Linear(d_query, max_length, bias=False)

    def forward(
        self, query: Float[Tensor, "*b n d_query"], key: Float[Tensor, "*b m d_key"]
    ) -> Float[Tensor, "*b n m"]:
        """Return the scores of the first m places.

        Raises:
            ValueError: There are more keys than places.
        """
        m, places = key.shape[-2], self.projection.out_features
        if m > places:
            raise ValueError(f"{m} keys exceed the {places} places that have a score")
        return self.projection(query)[..., :m]


def causal_mask(n: int, device: torch.device | str | None = None) -> Bool[Tensor, "n n"]:
    """Let each position attend to itself and to what precedes it."""
    return torch.ones(n, n, dtype=torch.bool, device=device).tril()


def padding_mask(lengths: Int[Tensor, " b"], n: int) -> Bool[Tensor, "b 1 n"]:
    """Let every query attend to the first `lengths[b]` of n keys, and not to the padding after them."""
    return (torch.arange(n, device=lengths.device) < lengths[:, None])[:, None, :]


def masked_softmax(scores: Float[Tensor, "*b n m"], mask: Bool[Tensor, "..."] | None = None) -> Float[Tensor, "*b n m"]:
    r"""Turn scores into weights that sum to 1 over the keys, or to 0 for a query that may attend nowhere.

    Source: Vaswani et al. 2017, Eq. 1 and Section 3.2.3 (masking)
        $$\alpha_{ij} = \frac{\exp s_{ij}}{\sum_{j'} \exp s_{ij'}}$$

    Answers: transformer.soft-hard-global-local
        Two questions, not one. *Soft or hard* asks how the weights are used: soft attention takes the mean under them,
        hard attention draws one place. *Global or local* asks which places have a weight at all: every one, or those in
        a window. So soft is not global and hard is not local: Luong's local attention is soft within its window.

        >>> import torch
        >>> from reference_impl.layers.attention import masked_softmax
        >>> _ = torch.manual_seed(0)
        >>> scores, values = torch.randn(1, 8, requires_grad=True), torch.randn(8, 1)
        >>> window = (torch.arange(8) - 3).abs() <= 1
        >>> everywhere, nearby = masked_softmax(scores), masked_softmax(scores, window)
        >>> def places_with_a_gradient(output):
        ...     return int(torch.autograd.grad(output.sum(), scores, retain_graph=True)[0].count_nonzero())
        >>> places_with_a_gradient(everywhere @ values), places_with_a_gradient(nearby @ values)
        (8, 3)

        A draw returns one of the values as it stands, and passes no gradient to the scores; it may be local too.

        >>> drawn, drawn_nearby = (w.multinomial(100_000, replacement=True)[0] for w in (everywhere, nearby))
        >>> drawn.unique().tolist(), drawn_nearby.unique().tolist()
        ([0, 1, 2, 3, 4, 5, 6, 7], [2, 3, 4])
        >>> values[drawn].requires_grad
        False

        So hard attention learns by REINFORCE: weigh the gradient of each draw's log-probability by what the draw
        earned. Here it earns the value drawn, and the mean over many draws is soft attention's gradient.

        >>> rewarded = (everywhere.log()[0, drawn] * values[drawn, 0]).mean()
        >>> (estimate,) = torch.autograd.grad(rewarded, scores, retain_graph=True)
        >>> (exact,) = torch.autograd.grad((everywhere @ values).sum(), scores)
        >>> torch.allclose(estimate, exact, atol=0.02), bool(exact.abs().max() > 0.1)
        (True, True)
    """
    if mask is None:
        return scores.softmax(dim=-1)
    # The lowest finite number: a row of -inf would be NaN until zeros overwrite it, and anomaly detection stops there.
    allowed = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return allowed.softmax(dim=-1).masked_fill(~mask, 0.0)


def scaled_dot_product_attention(
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

    Answers: transformer.self-or-cross
        The source. In *self*-attention (*intra*-attention) queries, keys and values are made of one sequence, and the
        weights are $n \times n$. A decoder's *cross*-attention (*inter*-attention) asks with its own sequence and finds
        keys and values in the encoder's output: $n \times m$. The module is the same. Alter one word, and count the
        outputs that change: with one source all of them, with two only that word's own, unless the word is one of the
        memory.

        >>> import torch
        >>> from reference_impl.layers.attention import MultiHeadAttention
        >>> _ = torch.manual_seed(0)
        >>> attention = MultiHeadAttention(d_model=16, heads=2).eval()
        >>> x, memory = torch.randn(1, 5, 16), torch.randn(1, 7, 16)
        >>> attention.attention_weights(x, x).shape, attention.attention_weights(x, memory).shape
        (torch.Size([1, 2, 5, 5]), torch.Size([1, 2, 5, 7]))
        >>> def altered(sequence):
        ...     return sequence.index_add(1, torch.tensor([2]), torch.ones(1, 1, 16))
        >>> def changed(one, other):
        ...     return int((one - other).abs().amax(dim=-1).gt(1e-5).sum())
        >>> changed(attention(x, x, x), attention(altered(x), altered(x), altered(x)))
        5
        >>> changed(attention(x, memory, memory), attention(altered(x), memory, memory))
        1
        >>> changed(attention(x, memory, memory), attention(x, altered(memory), altered(memory)))
        5

    Answers: transformer.how-self-attention-works
        For each word and each head: project the word to a query; score it against the key of every word by a dot
        product over $\sqrt{d_k}$; turn the scores into weights that sum to 1; take the mean of the values under these
        weights. Then lay the heads side by side and project once more. Written out as loops over words and heads:

        >>> import math, torch
        >>> from reference_impl.layers.attention import MultiHeadAttention
        >>> _ = torch.manual_seed(0)
        >>> n, heads, width = 5, 2, 4
        >>> attention = MultiHeadAttention(heads * width, heads).double()
        >>> x = torch.randn(1, n, heads * width, dtype=torch.float64)
        >>> query, key, value = attention.query(x[0]), attention.key(x[0]), attention.value(x[0])
        >>> rows = []
        >>> for i in range(n):
        ...     row = []
        ...     for h in range(heads):
        ...         part = slice(h * width, (h + 1) * width)
        ...         scores = [(query[i, part] @ key[j, part]).item() / math.sqrt(width) for j in range(n)]
        ...         total = sum(math.exp(score) for score in scores)
        ...         row.append(sum(math.exp(scores[j]) / total * value[j, part] for j in range(n)))
        ...     rows.append(attention.output(torch.cat(row)))
        >>> torch.allclose(attention(x, x, x)[0], torch.stack(rows), rtol=0, atol=1e-12)
        True

        No step looks at where a word stands: words in another order give the same outputs in that order.

        >>> order = torch.tensor([3, 0, 4, 1, 2])
        >>> torch.allclose(attention(x[:, order], x[:, order], x[:, order]), attention(x, x, x)[:, order])
        True

    Answers: transformer.single-head
        Yes: one head is plain attention between projections, with as many weights as any other number of heads has.
        What more heads buy is more than one mean at a time. Below, one query must fetch the contents of two marked
        words and keep them apart: two heads learn it, one blends them. In the paper (Table 3, rows A) one head scores
        0.9 BLEU less than the best setting.

        >>> import torch
        >>> from reference_impl.layers.attention import MultiHeadAttention
        >>> [sum(w.numel() for w in MultiHeadAttention(512, h).parameters()) for h in (1, 8, 64)]
        [1050624, 1050624, 1050624]
        >>> def trained_error(heads, steps=100):
        ...     _ = torch.manual_seed(0)
        ...     attention = MultiHeadAttention(8, heads)
        ...     optimizer = torch.optim.Adam(attention.parameters(), lr=0.05)
        ...     for _ in range(steps):
        ...         words = torch.cat([torch.randn(64, 6, 3), torch.zeros(64, 6, 5)], dim=-1)
        ...         words[:, 0, 6] = words[:, 1, 7] = 1  # the marks; without positions the order is nothing
        ...         fetched = attention(torch.ones(64, 1, 8), words, words)[:, 0, :6]
        ...         error = (fetched - words[:, :2, :3].flatten(1)).square().mean()
        ...         optimizer.zero_grad()
        ...         error.backward()
        ...         optimizer.step()
        ...     return error.item()
        >>> trained_error(heads=1) > 0.2, trained_error(heads=2) < 0.02
        (True, True)
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
        heads = scaled_dot_product_attention(self._split(self.query(query)), key, value, mask, dropout)
        return self.output(heads.transpose(1, 2).flatten(2))

    def attention_weights(
        self, query: Float[Tensor, "b n d"], key: Float[Tensor, "b m d"], mask: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "b h n m"]:
        """Return the weights that `forward` uses when it drops none: the fused kernel does not show them."""
        scores = scaled_dot_score(self._split(self.query(query)), self._split(self.key(key)))
        return masked_softmax(scores, None if mask is None else mask.unsqueeze(-3))

    def _split(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b h n dh"]:
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)
