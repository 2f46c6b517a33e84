r"""Attention: alignment scores, masks, scaled dot-product attention and multi-head attention.

Source: Vaswani et al. 2017, Section 3.2; the scores from Graves et al. 2014, Bahdanau et al. 2015, Luong et al. 2015

Axes: $n$ queries, $m$ keys and values, $b$ sequences of a batch, $h$ heads. A mask is a boolean tensor, true where a
query may attend, as in torch. It broadcasts to (b, n, m); a query that may attend nowhere gets zeros.

Asked: transformer.alignment-scores, transformer.score-decides-self
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


def dot_score(query: Float[Tensor, "*b n d"], key: Float[Tensor, "*b m d"]) -> Float[Tensor, "*b n m"]:
    r"""Dot-product score.

    Source: Luong et al. 2015, Section 3.1 (dot)
        $$s_{ij} = q_i^\top k_j$$
    """
    return query @ key.mT


def scaled_dot_score(query: Float[Tensor, "*b n d"], key: Float[Tensor, "*b m d"]) -> Float[Tensor, "*b n m"]:
    r"""Dot-product score divided by the square root of the width of the keys.

    Source: Vaswani et al. 2017, Eq. 1
        $$s_{ij} = q_i^\top k_j / \sqrt{d_k}$$

    Asked: transformer.scaled-dot-product
    """
    return dot_score(query, key) / math.sqrt(query.shape[-1])


def cosine_score(query: Float[Tensor, "*b n d"], key: Float[Tensor, "*b m d"]) -> Float[Tensor, "*b n m"]:
    r"""Cosine similarity, in [-1, 1]; 0 for a zero vector.

    Source: Graves et al. 2014, Eq. 6 (content-based addressing, without its key strength)
        $$s_{ij} = \frac{q_i^\top k_j}{\lVert q_i\rVert \lVert k_j\rVert}$$
    """
    return dot_score(F.normalize(query, dim=-1), F.normalize(key, dim=-1))


class GeneralScore(nn.Module):
    r"""Bilinear score with a learned matrix; queries and keys may have different widths.

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
    r"""Additive score: a network with one hidden layer on each pair of query and key.

    Source: Bahdanau et al. 2015, Appendix A.1.2
        $$s_{ij} = v^\top \tanh(W q_i + U k_j)$$

    The hidden layer is computed for every pair, which takes $n m d_{hidden}$ memory, not $n m$.
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
        pairs = self.query(query).unsqueeze(-2) + self.key(key).unsqueeze(-3)  # (*b, n, m, d_hidden)
        return self.vector(pairs.tanh()).squeeze(-1)  # (*b, n, m)


class LocationScore(nn.Module):
    r"""Location-based score: a linear layer on the query, with one output for each position; keys are ignored.

    Source: Luong et al. 2015, Eq. 8 (location)
        $$s_{i\cdot} = W q_i$$

    A sequence shorter than `max_length` uses the first scores.

    Departs: the paper ignores the words beyond `max_length`; here a longer sequence is an error.

    Args:
        d_query: The width of a query.
        max_length: The number of positions that have a score.
    """

    def __init__(self, d_query: int, max_length: int) -> None:
        super().__init__()
        self.projection = nn.Linear(d_query, max_length, bias=False)

    def forward(
        self, query: Float[Tensor, "*b n d_query"], key: Float[Tensor, "*b m d_key"]
    ) -> Float[Tensor, "*b n m"]:
        """Return the scores of the first m positions.

        Raises:
            ValueError: There are more than `max_length` keys.
        """
        m, max_length = key.shape[-2], self.projection.out_features
        if m > max_length:
            raise ValueError(f"{m} keys exceed max_length {max_length}")
        return self.projection(query)[..., :m]  # (*b, n, m)


def causal_mask(n: int, device: torch.device | str | None = None) -> Bool[Tensor, "n n"]:
    """Return the mask by which each position attends to itself and to the positions before it."""
    return torch.ones(n, n, dtype=torch.bool, device=device).tril()


def padding_mask(lengths: Int[Tensor, " b"], n: int) -> Bool[Tensor, "b 1 n"]:
    """Return the mask by which every query attends to the first `lengths[b]` of n keys, and not to the padding."""
    return (torch.arange(n, device=lengths.device) < lengths[:, None])[:, None, :]


def masked_softmax(scores: Float[Tensor, "*b n m"], mask: Bool[Tensor, "..."] | None = None) -> Float[Tensor, "*b n m"]:
    r"""Softmax over the keys that the mask allows; all weights are 0 for a query that may attend nowhere.

    Source: Vaswani et al. 2017, Eq. 1 and Section 3.2.3 (masking)
        $$\alpha_{ij} = \frac{\exp s_{ij}}{\sum_{j'} \exp s_{ij'}}$$

    Asked: transformer.soft-hard-global-local
    """
    if mask is None:
        return scores.softmax(dim=-1)
    # The lowest finite number: a row of -inf would be NaN until zeros overwrite it, and anomaly detection stops there.
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(dim=-1).masked_fill(~mask, 0.0)


def scaled_dot_product_attention(
    query: Float[Tensor, "*b n d"],
    key: Float[Tensor, "*b m d"],
    value: Float[Tensor, "*b m dv"],
    mask: Bool[Tensor, "..."] | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "*b n dv"]:
    r"""Scaled dot-product attention, by torch's fused kernel.

    Source: Vaswani et al. 2017, Eq. 1
        $$\operatorname{softmax}\Bigl(\frac{QK^\top}{\sqrt{d_k}}\Bigr)V$$

    Args:
        query: The queries.
        key: The keys.
        value: The values.
        mask: True where a query may attend; broadcasts to (..., n, m).
        dropout: The dropout rate on the attention weights; pass 0 when not training.
    """
    if mask is None:
        return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
    # Kernels differ on rows without any allowed key: allow all keys there, then set the output to 0.
    is_empty = ~mask.any(dim=-1, keepdim=True)
    output = F.scaled_dot_product_attention(query, key, value, attn_mask=mask | is_empty, dropout_p=dropout)
    return output.masked_fill(is_empty, 0.0)


class MultiHeadAttention(nn.Module):
    r"""Multi-head attention.

    Source: Vaswani et al. 2017, Section 3.2.2
        $$\operatorname{MultiHead}(Q, K, V) = \operatorname{Concat}(head_1, \dots, head_h) W^O$$
        $$head_i = \operatorname{Attention}(QW_i^Q, KW_i^K, VW_i^V)$$

    The $h$ matrices of each kind are one linear layer; a head is $d_{model}/h$ wide.

    Departs: the projections have biases, the paper's have none (`bias=False`).

    Args:
        d_model: The width of queries, keys, values and the output.
        heads: How many heads share that width.
        bias: Whether the four projections add a bias.
        dropout: The dropout rate on the attention weights.

    Raises:
        ValueError: `d_model` is not a multiple of `heads`.

    Asked: transformer.self-or-cross, transformer.how-self-attention-works, transformer.single-head
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
        """Return the output for each query; for one that may attend nowhere, the bias of the output projection."""
        return self.attend(query, *self.keys_values(key, value), mask)

    def keys_values(
        self, key: Float[Tensor, "b m d"], value: Float[Tensor, "b m d"]
    ) -> tuple[Float[Tensor, "b h m dh"], Float[Tensor, "b h m dh"]]:
        """Return the projected keys and values of all heads, which a decoder caches."""
        return self._split(self.key(key)), self._split(self.value(value))

    def attend(
        self,
        query: Float[Tensor, "b n d"],
        key: Float[Tensor, "b h m dh"],
        value: Float[Tensor, "b h m dh"],
        mask: Bool[Tensor, "..."] | None = None,
    ) -> Float[Tensor, "b n d"]:
        """Return the output for each query, given keys and values from `keys_values`."""
        mask = None if mask is None else mask.unsqueeze(-3)  # the same for every head
        dropout = self.dropout if self.training else 0.0
        query = self._split(self.query(query))  # (b, h, n, dh)
        heads = scaled_dot_product_attention(query, key, value, mask, dropout)  # (b, h, n, dh)
        return self.output(heads.transpose(1, 2).flatten(2))  # (b, n, d)

    def attention_weights(
        self, query: Float[Tensor, "b n d"], key: Float[Tensor, "b m d"], mask: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "b h n m"]:
        """Return the attention weights, before dropout; torch's fused kernel does not return them."""
        scores = scaled_dot_score(self._split(self.query(query)), self._split(self.key(key)))  # (b, h, n, m)
        return masked_softmax(scores, None if mask is None else mask.unsqueeze(-3))

    def _split(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b h n dh"]:
        return x.unflatten(-1, (-1, self.query.out_features // self.heads)).transpose(1, 2)


class GroupedQueryAttention(MultiHeadAttention):
    r"""Grouped-query attention (GQA): each group of query heads shares one head of keys and values.

    Source: Ainslie et al. 2023, Section 2.2; with one head of keys it is multi-query attention (MQA, Shazeer 2019)

    `keys_values` returns fewer heads than there are queries, so that a cache is smaller.

    Args:
        d_model: The width of queries, keys, values and the output.
        heads: How many query heads share that width.
        key_heads: How many heads of keys and values there are: 1 for multi-query, `heads` for multi-head attention.
        bias: Whether the four projections add a bias.
        dropout: The dropout rate on the attention weights.

    Raises:
        ValueError: `d_model` is not a multiple of `heads`, or `heads` is not a multiple of `key_heads`.

    Asked: transformer.fewer-key-heads
    """

    def __init__(self, d_model: int, heads: int, key_heads: int, bias: bool = True, dropout: float = 0.0) -> None:
        super().__init__(d_model, heads, bias, dropout)
        if key_heads < 1 or heads % key_heads:
            raise ValueError(f"heads {heads} is not a multiple of key_heads {key_heads}")
        self.key = nn.Linear(d_model, d_model // heads * key_heads, bias=bias)
        self.value = nn.Linear(d_model, d_model // heads * key_heads, bias=bias)

    def attend(
        self,
        query: Float[Tensor, "b n d"],
        key: Float[Tensor, "b g m dh"],
        value: Float[Tensor, "b g m dh"],
        mask: Bool[Tensor, "..."] | None = None,
    ) -> Float[Tensor, "b n d"]:
        """Return the output for each query, given the fewer heads of keys and values from `keys_values`."""
        return super().attend(query, self._repeat(key), self._repeat(value), mask)

    def attention_weights(
        self, query: Float[Tensor, "b n d"], key: Float[Tensor, "b m d"], mask: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "b h n m"]:
        """Return the attention weights of all query heads, before dropout."""
        scores = scaled_dot_score(self._split(self.query(query)), self._repeat(self._split(self.key(key))))
        return masked_softmax(scores, None if mask is None else mask.unsqueeze(-3))

    def _repeat(self, x: Float[Tensor, "b g m dh"]) -> Float[Tensor, "b h m dh"]:
        return x.repeat_interleave(self.heads // x.shape[1], dim=1)  # heads of a group are neighbors


# Answers


def self_or_cross() -> None:
    r"""
    Answers: transformer.self-or-cross
        The source of keys and values. In *self*-attention (*intra*-attention) queries, keys and values come from one
        sequence, and the weights are $n \times n$. In a decoder's *cross*-attention (*inter*-attention) the queries
        come from the decoder, and the keys and values from the encoder's output: $n \times m$. The module is the same.
        Below, one word is changed, and the outputs that change are counted: in self-attention all of them; in
        cross-attention only the output at that word, unless the word is part of the memory.

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
    """


def how_self_attention_works() -> None:
    r"""
    Answers: transformer.how-self-attention-works
        For each word and each head: project the word to a query; score the query against the key of every word by a dot
        product divided by $\sqrt{d_k}$; turn the scores into weights by a softmax; take the mean of the values under
        these weights. Then concatenate the heads and apply the output projection. Written out as loops over words and
        heads:

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

        No step depends on the position of a word: if the words are permuted, the outputs are the same, permuted
        likewise.

        >>> order = torch.tensor([3, 0, 4, 1, 2])
        >>> torch.allclose(attention(x[:, order], x[:, order], x[:, order]), attention(x, x, x)[:, order])
        True
    """


def scaled_dot_product() -> None:
    r"""
    Answers: transformer.scaled-dot-product
        To keep the variance of the scores at 1, so that the softmax does not saturate. The factor is $1/\sqrt{d_k}$,
        with $d_k$ the width of a head's keys, 64 in the paper; the length of the sequence does not enter (an $n$ in
        that place is a width too). If the components of $q$ and $k$ are independent with mean 0 and variance 1, then
        $q^\top k$ is a sum of $d_k$ products and has variance $d_k$.

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

        Without the factor, scores are so far apart that the softmax saturates: one key gets nearly all of the weight,
        and since $\partial\alpha_j/\partial s_j = \alpha_j(1 - \alpha_j)$, the gradient nearly vanishes.

        >>> q, k = draw[1024]
        >>> unscaled, scaled = masked_softmax(dot_score(q, k)), masked_softmax(scaled_dot_score(q, k))
        >>> bool(unscaled.max(dim=1).values.mean() > 0.8), bool(scaled.max(dim=1).values.mean() < 0.05)
        (True, True)
        >>> gradient = [float((w * (1 - w)).sum(dim=1).mean()) for w in (unscaled, scaled)]
        >>> gradient[1] > 5 * gradient[0]
        True
    """


def alignment_scores() -> None:
    r"""
    Answers: transformer.alignment-scores
        Six, for a query $q$ and a key $k$. *Dot*: $q^\top k$. *Scaled dot*: $q^\top k/\sqrt{d}$. *Content-based*: the
        cosine of $q$ and $k$. *General*: $q^\top W k$. *Additive*: $v^\top\tanh(Wq + Uk)$, called *concat* by Luong et
        al. *Location-based*: $Wq$, one score for each position, independent of the keys. The first three have no
        parameters.

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
    """


def score_decides_self() -> None:
    """
    Answers: transformer.score-decides-self
        No. A score is a function of a query and a key, wherever they come from; each of the six can be used for both.
        What decides is the source of keys and values. Below, for every score, the output at position 0 depends on
        position 3 of the sequence if keys and values come from that sequence, and does not if they come from another
        one.

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


def soft_hard_global_local() -> None:
    """
    Answers: transformer.soft-hard-global-local
        These are two distinctions. *Soft or hard* is how the weights are used: soft attention takes the weighted mean
        of the values, hard attention samples one position. *Global or local* is which positions can have weight: all of
        them, or those in a window. They are independent: Luong's local attention is soft within its window.

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

        A sample is one of the values, unchanged, and passes no gradient to the scores; hard attention may be local too.

        >>> samples, samples_nearby = (w.multinomial(100_000, replacement=True)[0] for w in (everywhere, nearby))
        >>> samples.unique().tolist(), samples_nearby.unique().tolist()
        ([0, 1, 2, 3, 4, 5, 6, 7], [2, 3, 4])
        >>> values[samples].requires_grad
        False

        So hard attention is trained by REINFORCE: the gradient of each sample's log-probability is weighted by its
        reward. Below the reward is the sampled value, and the mean over many samples approximates the gradient of soft
        attention.

        >>> rewarded = (everywhere.log()[0, samples] * values[samples, 0]).mean()
        >>> (estimate,) = torch.autograd.grad(rewarded, scores, retain_graph=True)
        >>> (exact,) = torch.autograd.grad((everywhere @ values).sum(), scores)
        >>> torch.allclose(estimate, exact, atol=0.02), bool(exact.abs().max() > 0.1)
        (True, True)
    """


def single_head() -> None:
    """
    Answers: transformer.single-head
        Yes. One head is plain attention between linear projections, with as many parameters as any other number of
        heads. More heads give more than one weighted mean. Below, one query must retrieve the contents of two marked
        words separately: two heads learn it, one head can only mix them. In the paper (Table 3, rows A) one head is 0.9
        BLEU worse than the best number of heads.

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


def fewer_key_heads() -> None:
    """
    Answers: transformer.fewer-key-heads
        The cache and the projections of keys and values, in proportion; neither the queries nor the multiplications of
        attention. With 16 query heads of width 64, the cache of one layer takes 8,192 bytes a token (in float32), 2,048
        with four key heads (grouped queries, Ainslie et al. 2023) and 512 with one (multi-query, Shazeer 2019). A
        decoder reads the whole cache for every token that it writes, so it gets faster by reading less.

        >>> import torch
        >>> from torch.utils.flop_counter import FlopCounterMode
        >>> from reference_impl.layers.attention import GroupedQueryAttention, MultiHeadAttention, causal_mask
        >>> _ = torch.manual_seed(0)
        >>> x, layers = torch.randn(1, 6, 1024), {g: GroupedQueryAttention(1024, 16, g).eval() for g in (16, 4, 1)}
        >>> def cached_bytes(layer, x):
        ...     return sum(part.numel() * part.element_size() for part in layer.keys_values(x, x))
        >>> [cached_bytes(layer, x[:, :1]) for layer in layers.values()]
        [8192, 2048, 512]
        >>> [sum(w.numel() for w in layer.parameters()) for layer in layers.values()]
        [4198400, 2624000, 2230400]
        >>> def operations(layer):
        ...     keys_values = layer.keys_values(x, x)
        ...     with FlopCounterMode(display=False) as counter:
        ...         _ = layer.attend(x, *keys_values)
        ...     return counter.get_total_flops()
        >>> len({operations(layer) for layer in layers.values()})
        1

        Token by token with the small cache, the outputs are those of all positions at once.

        >>> def decode(layer):
        ...     keys_values, outputs = layer.keys_values(x[:, :0], x[:, :0]), []
        ...     for token in x.split(1, dim=1):
        ...         new = layer.keys_values(token, token)
        ...         keys_values = [torch.cat(both, dim=2) for both in zip(keys_values, new)]
        ...         outputs.append(layer.attend(token, *keys_values))
        ...     return torch.cat(outputs, dim=1)
        >>> [torch.allclose(decode(layer), layer(x, x, x, causal_mask(6)), atol=1e-5) for layer in layers.values()]
        [True, True, True]

        What is lost: it is multi-head attention in which the heads of a group have equal projections for keys and
        values, so they can ask different things only.

        >>> full, grouped = MultiHeadAttention(1024, 16).eval(), layers[4]
        >>> state = grouped.state_dict()
        >>> for name in ("key.weight", "key.bias", "value.weight", "value.bias"):
        ...     state[name] = state[name].unflatten(0, (4, 64)).repeat_interleave(4, dim=0).flatten(0, 1)
        >>> _ = full.load_state_dict(state)
        >>> torch.allclose(full(x, x, x), grouped(x, x, x), atol=1e-5)
        True
    """
