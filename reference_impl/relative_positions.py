r"""Attention whose every pair of places carries a vector for the distance between them.

Source: Shaw, Uszkoreit and Vaswani 2018, Section 3

Axes: $b$ sequences, $h$ heads, $n$ places, of which $i$ asks and $j$ is asked. $d_z$ is the width of a head, and of the
vectors that the paper calls $d_a$ wide.

Answers: relative_positions.headline
    On one of four comparisons: English to German with the big model, in the authors' own run of it. The other three
    gain 0.3 to 0.5, and against the figures that the Transformer's paper printed (27.3 and 28.4) the same two models
    stand 0.5 lower and 0.8 higher. No spread over seeds is given. Size is no explanation: the tables add less than one
    weight in a hundred.

    >>> from reference_impl.layers.attention import MultiHeadAttention
    >>> from reference_impl.relative_positions import RelativeMultiHeadAttention
    >>> absolute = {"base, German": 26.5, "base, French": 38.2, "big, German": 27.9, "big, French": 41.2}  # Table 1
    >>> relative = {"base, German": 26.8, "base, French": 38.7, "big, German": 29.2, "big, French": 41.5}
    >>> {model: round(relative[model] - absolute[model], 1) for model in absolute}
    {'base, German': 0.3, 'base, French': 0.5, 'big, German': 1.3, 'big, French': 0.3}
    >>> round(relative["base, German"] - 27.3, 1), round(relative["big, German"] - 28.4, 1)
    (-0.5, 0.8)
    >>> def size(module):
    ...     return sum(w.numel() for w in module.parameters())
    >>> base = RelativeMultiHeadAttention(512, 8, max_relative_position=16, heads_share_relative_embedding=False)
    >>> big = RelativeMultiHeadAttention(1024, 16, max_relative_position=8, heads_share_relative_embedding=True)
    >>> plain_base, plain_big = MultiHeadAttention(512, 8, bias=False), MultiHeadAttention(1024, 16, bias=False)
    >>> layers = 6 + 6  # the encoder's and the decoder's self-attention
    >>> [layers * (size(relative) - size(plain)) for relative, plain in ((base, plain_base), (big, plain_big))]
    [405504, 26112]
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from reference_impl.layers.attention import masked_softmax


def relative_positions_matrix(
    n: int, max_relative_position: int, device: torch.device | str | None = None
) -> Int[Tensor, "n n"]:
    r"""Label each pair of places by how far the second stands to the right of the first, up to k.

    Source: Section 3.2
        $$\operatorname{clip}(j - i, k) = \max(-k, \min(k, j - i))$$

    Returns:
        The clipped distance plus k: a row of the tables, from 0 (k or more to the left) to 2k (k or more to the right).
    """
    places = torch.arange(n, device=device)
    return (places[None, :] - places[:, None]).clamp(
        -max_relative_position, max_relative_position
    ) + max_relative_position


class RelativePositionEmbedding(nn.Module):
    r"""A table with one learnt vector for each clipped distance: $w^K$ or $w^V$ of the paper.

    Source: Section 3.2
        $$a_{ij} = w_{\operatorname{clip}(j-i, k)}, \qquad w = (w_{-k}, \dots, w_k)$$

    Args:
        num_tables: One for all heads (Section 3.3, and the big model), or one a head (the base model, Section 4.1).
        k: The largest distance that has a vector of its own.
        d_z: The width of a vector.

    Raises:
        ValueError: k is negative.

    Answers: relative_positions.why-clip
        So that every vector is trained, and none is missing later. Without clipping each distance has its own vector:
        those beyond the longest training sentence get no gradient, and the longest distance in it comes from a single
        pair. With $k = 4$ there are nine vectors at any length, and in 12 words each end has 36 pairs to learn from.

        >>> import torch
        >>> from reference_impl.relative_positions import RelativeMultiHeadAttention, relative_positions_matrix
        >>> _ = torch.manual_seed(0)
        >>> twelve_words = torch.randn(1, 12, 16)
        >>> def untrained(k):
        ...     attention = RelativeMultiHeadAttention(16, 2, k)
        ...     attention(twelve_words).square().sum().backward()
        ...     touched = attention.value_positions.table.grad[0].any(dim=-1)
        ...     return int((~touched).sum()), len(touched)
        >>> untrained(k=47), untrained(k=4)
        ((72, 95), (0, 9))
        >>> [relative_positions_matrix(12, k).flatten().bincount()[-1].item() for k in (11, 4)]
        [1, 36]

    Answers: relative_positions.zero-distance
        With $k = 0$ one vector serves every pair. Added to all keys, it moves all scores of a query alike, which the
        softmax does not see; added to all values, it is a constant. So order is lost, and the paper's two tables print
        the same 12.5 BLEU for $k = 0$ and for no relative positions at all.

        >>> import torch
        >>> from reference_impl.relative_positions import RelativeMultiHeadAttention
        >>> _ = torch.manual_seed(0)
        >>> words, order = torch.randn(1, 6, 16), torch.tensor([3, 0, 5, 1, 4, 2])
        >>> def blind_to_order(k):
        ...     attention = RelativeMultiHeadAttention(16, 2, k)
        ...     return torch.allclose(attention(words[:, order]), attention(words)[:, order], atol=1e-5)
        >>> [blind_to_order(k) for k in (0, 1, 2)]
        [True, False, False]
    """

    def __init__(self, num_tables: int, max_relative_position: int, d_z: int) -> None:
        super().__init__()
        if max_relative_position < 0:
            raise ValueError(f"clipping distance {max_relative_position} is less than 0")
        self.max_relative_position = max_relative_position
        self.table = nn.Parameter(torch.randn(num_tables, 2 * max_relative_position + 1, d_z) / math.sqrt(d_z))

    def forward(self, n: int) -> Float[Tensor, "tables n n d_z"]:
        """Return the vector of every pair among n places."""
        return self.table[:, relative_positions_matrix(n, self.max_relative_position, self.table.device)]


class RelativeMultiHeadAttention(nn.Module):
    r"""Multi-head self-attention in which scores and values both see the distance between two places.

    Source: Section 3.1, Eqs. 3 and 4
        $$z_i = \sum_j \alpha_{ij} (x_j W^V + a_{ij}^V), \qquad
        e_{ij} = \frac{x_i W^Q (x_j W^K + a_{ij}^K)^\top}{\sqrt{d_z}}$$

    In every head, with $\alpha_{ij}$ the softmax of $e_{ij}$ over $j$. No positions are added to the input.

    Departs: a query that may attend nowhere returns zeros; the paper has no such query.

    Args:
        d_model: The width of input and output.
        heads: How many heads share that width.
        max_relative_position: The clipping distance.
        heads_share_relative_embedding: Whether all heads use the same two tables, or each has its own.

    Raises:
        ValueError: The width does not divide among the heads, or k is negative.

    Answers: relative_positions.central-idea
        The pair carries it. Nothing is added to a word; for each pair of places a learnt vector, chosen by their
        distance, is added to the key when the pair is scored and to the value when it is read. Pair by pair:

        >>> import math, torch
        >>> from reference_impl.relative_positions import RelativeMultiHeadAttention
        >>> _ = torch.manual_seed(0)
        >>> n, k, d = 6, 2, 8
        >>> attention = RelativeMultiHeadAttention(d, heads=1, max_relative_position=k).double()
        >>> x = torch.randn(1, n, d, dtype=torch.float64)
        >>> query, key, value = attention.query(x[0]), attention.key(x[0]), attention.value(x[0])
        >>> of_keys, of_values = attention.key_positions.table[0], attention.value_positions.table[0]
        >>> rows = []
        >>> for i in range(n):
        ...     label = [max(-k, min(k, j - i)) + k for j in range(n)]
        ...     scores = [(query[i] @ (key[j] + of_keys[label[j]])).item() / math.sqrt(d) for j in range(n)]
        ...     total = sum(math.exp(score) for score in scores)
        ...     rows.append(sum(math.exp(scores[j]) / total * (value[j] + of_values[label[j]]) for j in range(n)))
        >>> torch.allclose(attention(x)[0], attention.output(torch.stack(rows)), rtol=0, atol=1e-12)
        True

    Answers: relative_positions.shift
        No. A distance is the same wherever the sentence stands, so that only its neighbours could tell, and here they
        are masked. Add sinusoids to the words and the same sentence gives another output five places on.

        >>> import torch
        >>> from reference_impl.layers.positions import sinusoidal_positions
        >>> from reference_impl.relative_positions import RelativeMultiHeadAttention
        >>> _ = torch.manual_seed(0)
        >>> attention = RelativeMultiHeadAttention(16, 2, max_relative_position=4)
        >>> sentence, padding = torch.randn(1, 6, 16), torch.randn(1, 5, 16)
        >>> late, real = torch.cat([padding, sentence], dim=1), torch.arange(11)[None, None] >= 5
        >>> torch.allclose(attention(late, real)[:, 5:], attention(sentence), atol=1e-5)
        True
        >>> here = attention(sentence + sinusoidal_positions(6, 16))
        >>> there = attention(late + sinusoidal_positions(11, 16), real)[:, 5:]
        >>> bool((here - there).abs().max() > 0.05)
        True

    Answers: relative_positions.unseen-lengths
        For what lies within $k$, yes. Both models learn to name the word two places back in sequences of 12 words.
        Four times that length brings no new distance to the relative one; the absolute one meets positions that it
        never saw.

        >>> import torch
        >>> from torch import nn
        >>> from reference_impl.layers.positions import sinusoidal_positions
        >>> from reference_impl.relative_positions import RelativeMultiHeadAttention
        >>> def accuracies(k, add_sinusoids, steps=100):
        ...     _ = torch.manual_seed(0)
        ...     embed, attention, name = nn.Embedding(8, 32), RelativeMultiHeadAttention(32, 2, k), nn.Linear(32, 8)
        ...     def logits(words):
        ...         places = sinusoidal_positions(words.shape[1], 32) if add_sinusoids else 0.0
        ...         return name(attention(embed(words) + places))[:, 2:]
        ...     model = nn.ModuleList([embed, attention, name])
        ...     optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        ...     for _ in range(steps):
        ...         words = torch.randint(8, (16, 12))
        ...         loss = nn.functional.cross_entropy(logits(words).flatten(0, 1), words[:, :-2].flatten())
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         optimizer.step()
        ...     tests = [torch.randint(8, (32, length)) for length in (12, 48)]
        ...     return [(logits(words).argmax(dim=-1) == words[:, :-2]).float().mean().item() for words in tests]
        >>> relative = accuracies(k=4, add_sinusoids=False)
        >>> absolute = accuracies(k=0, add_sinusoids=True)  # with one vector for all pairs, plain attention
        >>> min(relative) > 0.98
        True
        >>> absolute[0] > 0.9, absolute[1] < 0.7
        (True, True)

    Answers: relative_positions.beyond-the-clip
        Not one layer alone: words further off than $k$ share one vector, so that they may change places unnoticed. A
        second layer reads what the first wrote about *their* neighbours, and does notice. That is the paper's guess
        (Section 4.3) at why BLEU hardly moves from $k = 2$ up to 256.

        >>> import torch
        >>> from reference_impl.relative_positions import RelativeMultiHeadAttention
        >>> _ = torch.manual_seed(0)
        >>> one, two = (RelativeMultiHeadAttention(16, 2, max_relative_position=2) for _ in range(2))
        >>> words = 3 * torch.randn(1, 10, 16)
        >>> swapped = words[:, [0, 1, 2, 3, 4, 8, 6, 7, 5, 9]]
        >>> def difference_at_first_place(layers):
        ...     return float((layers(words) - layers(swapped)).detach()[0, 0].abs().max())
        >>> difference_at_first_place(one) < 1e-5
        True
        >>> difference_at_first_place(lambda x: two(one(x))) > 1e-3
        True

    Answers: relative_positions.without-each-part
        Without $a^K$ the weights no longer know the order: shuffle the words, and the weights are shuffled with them.
        Without $a^V$ a word is found by its place, but nothing says from where it came: in a row of equal words all
        outputs are equal. In translation (Table 3) either alone nearly does, $a^K$ with 25.8 BLEU, $a^V$ with 25.3;
        without both it is 12.5.

        >>> import torch
        >>> from torch import nn
        >>> from reference_impl.relative_positions import RelativeMultiHeadAttention
        >>> _ = torch.manual_seed(0)
        >>> words, order = torch.randn(1, 6, 16), torch.tensor([3, 0, 5, 1, 4, 2])
        >>> def weights_are_shuffled_along(attention):
        ...     expected = attention.attention_weights(words)[:, :, order][:, :, :, order]
        ...     return torch.allclose(attention.attention_weights(words[:, order]), expected, atol=1e-5)
        >>> def equal_words_give_equal_outputs(attention):
        ...     outputs = attention(words[:, :1].expand(1, 6, 16))
        ...     return torch.allclose(outputs, outputs[:, :1].expand(1, 6, 16), atol=1e-5)
        >>> attention = RelativeMultiHeadAttention(16, 2, max_relative_position=3)
        >>> weights_are_shuffled_along(attention), equal_words_give_equal_outputs(attention)
        (False, False)
        >>> without_keys = RelativeMultiHeadAttention(16, 2, max_relative_position=3)
        >>> _ = nn.init.zeros_(without_keys.key_positions.table)
        >>> without_values = RelativeMultiHeadAttention(16, 2, max_relative_position=3)
        >>> _ = nn.init.zeros_(without_values.value_positions.table)
        >>> weights_are_shuffled_along(without_keys), equal_words_give_equal_outputs(without_keys)
        (True, False)
        >>> weights_are_shuffled_along(without_values), equal_words_give_equal_outputs(without_values)
        (False, True)
    """

    def __init__(
        self, d_model: int, heads: int, max_relative_position: int, heads_share_relative_embedding: bool = True
    ) -> None:
        super().__init__()
        if heads < 1 or d_model % heads:
            raise ValueError(f"d_model {d_model} is not a multiple of heads {heads}")
        self.heads = heads
        self.query = nn.Linear(d_model, d_model, bias=False)
        self.key = nn.Linear(d_model, d_model, bias=False)
        self.value = nn.Linear(d_model, d_model, bias=False)
        self.output = nn.Linear(d_model, d_model, bias=False)
        num_tables = 1 if heads_share_relative_embedding else heads
        self.key_positions = RelativePositionEmbedding(num_tables, max_relative_position, d_model // heads)
        self.value_positions = RelativePositionEmbedding(num_tables, max_relative_position, d_model // heads)

    def forward(self, x: Float[Tensor, "b n d"], mask: Bool[Tensor, "..."] | None = None) -> Float[Tensor, "b n d"]:
        """Attend from each place to every place that its row of the mask allows.

        Args:
            x: The sequences.
            mask: True where a place may attend; broadcasts to (b, n, n).
        """
        weights = self.attention_weights(x, mask)
        edges = relative_values(weights, self.value_positions(x.shape[1]))
        heads = weights @ self._split(self.value(x)) + edges
        return self.output(heads.transpose(1, 2).flatten(2))

    def attention_weights(
        self, x: Float[Tensor, "b n d"], mask: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "b h n n"]:
        r"""Return how much each place attends to each, in every head.

        Source: Section 3.3, Eq. 5
            $$e_{ij} = \frac{x_i W^Q (x_j W^K)^\top + x_i W^Q (a_{ij}^K)^\top}{\sqrt{d_z}}$$
        """
        query, key = self._split(self.query(x)), self._split(self.key(x))
        scores = query @ key.mT + relative_scores(query, self.key_positions(x.shape[1]))
        return masked_softmax(scores / math.sqrt(query.shape[-1]), None if mask is None else mask.unsqueeze(-3))

    def _split(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b h n d_z"]:
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)


def relative_scores(query: Float[Tensor, "b h n d_z"], edges: Float[Tensor, "#h n n d_z"]) -> Float[Tensor, "b h n n"]:
    r"""Score every query against the edges that leave its place, without a copy of the edges for each sequence.

    Source: Section 3.3
        $$q_i (a_{ij}^K)^\top$$

    Where the heads share a table, these are $n$ products of a $bh \times d_z$ and a $d_z \times n$ matrix.

    Answers: relative_positions.cost
        As many multiplications again as the scores of the words took, and as many again for the values. Memory is what
        the split of Eq. 5 is for: adding the vectors to the keys first would give each sequence and head an
        $n \times n \times d_z$ array of its own, $bh$ times what the split keeps where the heads share a table. The
        paper measured 7% fewer steps a second.

        >>> import torch
        >>> from torch.utils.flop_counter import FlopCounterMode
        >>> from reference_impl.relative_positions import RelativePositionEmbedding, relative_scores
        >>> b, h, n, d_z = 4, 8, 32, 16
        >>> query, key = torch.randn(b, h, n, d_z, requires_grad=True), torch.randn(b, h, n, d_z)
        >>> edges = RelativePositionEmbedding(num_tables=1, max_relative_position=16, d_z=d_z)(n)
        >>> def multiplications(compute):
        ...     with FlopCounterMode(display=False) as counter:
        ...         compute()
        ...     return counter.get_total_flops() // 2
        >>> of_words = multiplications(lambda: query @ key.mT)
        >>> of_edges = multiplications(lambda: relative_scores(query, edges))
        >>> of_words == of_edges == b * h * n * n * d_z
        True
        >>> def largest_kept_for_backward(compute):
        ...     sizes = []
        ...     def keep(tensor):
        ...         sizes.append(tensor.numel())
        ...         return tensor
        ...     with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        ...         compute()
        ...     return max(sizes)
        >>> split = largest_kept_for_backward(lambda: query @ key.mT + relative_scores(query, edges))
        >>> unsplit = largest_kept_for_backward(lambda: (query.unsqueeze(3) * (key.unsqueeze(2) + edges)).sum(dim=-1))
        >>> split == n * n * d_z, unsplit // split == b * h
        (True, True)
    """
    return torch.einsum("bhid,hijd->bhij", query, edges)


def relative_values(
    weights: Float[Tensor, "b h n n"], edges: Float[Tensor, "#h n n d_z"]
) -> Float[Tensor, "b h n d_z"]:
    r"""Return the mean of the edges that leave each place, under its weights.

    Source: Section 3.3, as it applies to Eq. 3
        $$\sum_j \alpha_{ij} a_{ij}^V$$
    """
    return torch.einsum("bhij,hijd->bhid", weights, edges)
