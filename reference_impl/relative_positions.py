r"""Self-attention with relative position representations: a learned vector for the distance of each pair of positions.

Source: Shaw, Uszkoreit and Vaswani 2018, Section 3

Axes: $b$ sequences, $h$ heads, $n$ positions; $i$ is the position of the query, $j$ that of the key. $d_z$ is the width
of a head, and of the vectors whose width the paper calls $d_a$.

Asked: relative_positions.headline
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from reference_impl.layers.attention import masked_softmax


def relative_positions_matrix(
    n: int, max_relative_position: int, device: torch.device | str | None = None
) -> Int[Tensor, "n n"]:
    r"""Return the clipped relative position $j - i$ of each pair of positions, as an index into the embeddings.

    Source: Section 3.2
        $$\operatorname{clip}(j - i, k) = \max(-k, \min(k, j - i))$$

    Args:
        n: The number of positions.
        max_relative_position: The clipping distance $k$.
        device: The device of the indices.

    Returns:
        The clipped distance plus $k$: from 0 ($k$ or more to the left) to $2k$ ($k$ or more to the right).
    """
    positions, k = torch.arange(n, device=device), max_relative_position
    return (positions[None, :] - positions[:, None]).clamp(-k, k) + k  # (n, n)


class RelativePositionEmbedding(nn.Module):
    r"""Embedding of clipped relative positions, one learned vector for each: $w^K$ or $w^V$ of the paper.

    Source: Section 3.2
        $$a_{ij} = w_{\operatorname{clip}(j-i, k)}, \qquad w = (w_{-k}, \dots, w_k)$$

    Args:
        num_tables: 1 if all heads share it (Section 3.3, and the big model), or the number of heads (the base model,
            Section 4.1).
        max_relative_position: The clipping distance $k$: the largest distance with a vector of its own.
        d_z: The width of a vector.

    Raises:
        ValueError: `max_relative_position` is negative.

    Asked: relative_positions.why-clip, relative_positions.zero-distance
    """

    def __init__(self, num_tables: int, max_relative_position: int, d_z: int) -> None:
        super().__init__()
        if max_relative_position < 0:
            raise ValueError(f"max_relative_position {max_relative_position} is less than 0")
        self.max_relative_position = max_relative_position
        self.table = nn.Parameter(torch.randn(num_tables, 2 * max_relative_position + 1, d_z) / math.sqrt(d_z))

    def forward(self, n: int) -> Float[Tensor, "tables n n d_z"]:
        """Return the vectors of all pairs of n positions."""
        indices = relative_positions_matrix(n, self.max_relative_position, self.table.device)  # (n, n)
        return self.table[:, indices]  # (tables, n, n, d_z)


class RelativeMultiHeadAttention(nn.Module):
    r"""Multi-head self-attention with relative position representations on keys and values.

    Source: Section 3.1, Eqs. 3 and 4
        $$z_i = \sum_j \alpha_{ij} (x_j W^V + a_{ij}^V), \qquad
        e_{ij} = \frac{x_i W^Q (x_j W^K + a_{ij}^K)^\top}{\sqrt{d_z}}$$

    In every head, with $\alpha_{ij}$ the softmax of $e_{ij}$ over $j$. No positions are added to the input.

    Departs: a query that may attend nowhere returns zeros; the paper has no such query.

    Args:
        d_model: The width of input and output.
        heads: How many heads share that width.
        max_relative_position: The clipping distance $k$.
        heads_share_relative_embedding: Whether all heads share their two tables, or each head has its own.

    Raises:
        ValueError: `d_model` is not a multiple of `heads`, or `max_relative_position` is negative.

    Asked: relative_positions.central-idea, relative_positions.shift, relative_positions.unseen-lengths
    Asked: relative_positions.beyond-the-clip, relative_positions.without-each-part
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
        """Return the output of self-attention.

        Args:
            x: The sequences.
            mask: True where a query may attend; broadcasts to (b, n, n).
        """
        weights = self.attention_weights(x, mask)  # (b, h, n, n)
        value = self._split(self.value(x))  # (b, h, n, d_z)
        heads = weights @ value + relative_values(weights, self.value_positions(x.shape[1]))  # (b, h, n, d_z)
        return self.output(heads.transpose(1, 2).flatten(2))  # (b, n, d)

    def attention_weights(
        self, x: Float[Tensor, "b n d"], mask: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "b h n n"]:
        r"""Return the attention weights of all heads.

        Source: Section 3.3, Eq. 5
            $$e_{ij} = \frac{x_i W^Q (x_j W^K)^\top + x_i W^Q (a_{ij}^K)^\top}{\sqrt{d_z}}$$
        """
        query, key = self._split(self.query(x)), self._split(self.key(x))  # (b, h, n, d_z)
        scores = query @ key.mT + relative_scores(query, self.key_positions(x.shape[1]))  # (b, h, n, n)
        return masked_softmax(scores / math.sqrt(query.shape[-1]), None if mask is None else mask.unsqueeze(-3))

    def _split(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b h n d_z"]:
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)


def relative_scores(query: Float[Tensor, "b h n d_z"], edges: Float[Tensor, "#h n n d_z"]) -> Float[Tensor, "b h n n"]:
    r"""Return the relative term of the scores, without a copy of the edges for each sequence.

    Source: Section 3.3
        $$q_i (a_{ij}^K)^\top$$

    Where the heads share a table, these are $n$ products of a $bh \times d_z$ and a $d_z \times n$ matrix.

    Asked: relative_positions.cost
    """
    return torch.einsum("bhid,hijd->bhij", query, edges)


def relative_values(
    weights: Float[Tensor, "b h n n"], edges: Float[Tensor, "#h n n d_z"]
) -> Float[Tensor, "b h n d_z"]:
    r"""Return the relative term of the output: the mean of the edges of each query under its attention weights.

    Source: Section 3.3, as it applies to Eq. 3
        $$\sum_j \alpha_{ij} a_{ij}^V$$
    """
    return torch.einsum("bhij,hijd->bhid", weights, edges)


# Answers


def central_idea() -> None:
    """
    Answers: relative_positions.central-idea
        By pairs of positions. Nothing is added to the embeddings; for each pair of positions a learned vector, selected
        by their distance, is added to the key in the score, and another one to the value in the weighted mean. Written
        out pair by pair:

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
    """


def shift() -> None:
    """
    Answers: relative_positions.shift
        No. The distance of two words is the same wherever the sentence stands; only the words around it could make a
        difference, and here they are masked. With sinusoids added to the embeddings, the same sentence has another
        output five positions later.

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
    """


def unseen_lengths() -> None:
    """
    Answers: relative_positions.unseen-lengths
        For dependencies within distance $k$, yes. Two models learn to predict the word two positions back, on sequences
        of 12 words, and are tested on sequences of 48. With relative positions there is no new distance. With sinusoids
        there are positions that training never showed.

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
    """


def why_clip() -> None:
    """
    Answers: relative_positions.why-clip
        So that every vector is trained, and every distance has a vector. Without clipping, each distance has a vector
        of its own: those of distances longer than the training sequences get no gradient, and that of the longest
        distance is trained on a single pair. With $k = 4$ there are nine vectors for any length, and in a sequence of
        12 words the outermost ones are trained on 36 pairs each.

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
    """


def beyond_the_clip() -> None:
    """
    Answers: relative_positions.beyond-the-clip
        One layer alone can't: all words at a distance of more than $k$ share one vector, so swapping two of them
        changes nothing. A second layer can, since its inputs depend on the neighbors of those words. The paper supposes
        (Section 4.3) that this is why BLEU hardly changes from $k = 2$ to 256.

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
    """


def zero_distance() -> None:
    """
    Answers: relative_positions.zero-distance
        With $k = 0$ all pairs share one vector. Added to all keys, it shifts all scores of a query by the same number,
        which the softmax ignores; added to all values, it is a constant. So the model has no information on order, and
        both tables of the paper report 12.5 BLEU, for $k = 0$ and for no relative positions.

        >>> import torch
        >>> from reference_impl.relative_positions import RelativeMultiHeadAttention
        >>> _ = torch.manual_seed(0)
        >>> words, order = torch.randn(1, 6, 16), torch.tensor([3, 0, 5, 1, 4, 2])
        >>> def is_equivariant(k):
        ...     attention = RelativeMultiHeadAttention(16, 2, k)
        ...     return torch.allclose(attention(words[:, order]), attention(words)[:, order], atol=1e-5)
        >>> [is_equivariant(k) for k in (0, 1, 2)]
        [True, False, False]
    """


def without_each_part() -> None:
    """
    Answers: relative_positions.without-each-part
        Without $a^K$ the attention weights do not depend on order: if the words are permuted, the weights are permuted
        likewise. Without $a^V$ the weights depend on the distance, but the output does not say from which distance a
        value comes: in a sequence of equal words all outputs are equal. In translation (Table 3) one of the two is
        almost enough: 25.8 BLEU with $a^K$ alone, 25.3 with $a^V$ alone, 12.5 without both.

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


def cost() -> None:
    r"""
    Answers: relative_positions.cost
        The relative term takes as many multiplications as the scores do, and as many again for the values. The split of
        Eq. 5 saves memory: without it, adding the vectors to the keys would give each sequence and head its own $n
        \times n \times d_z$ tensor, $bh$ times what the split stores for the backward pass if the heads share a table.
        The paper measured 7% fewer steps per second.

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


def headline() -> None:
    """
    Answers: relative_positions.headline
        On one of four: English to German with the big model, against the authors' own run of the baseline. The other
        three comparisons gain 0.3 to 0.5 BLEU. Against the scores in the Transformer's paper (27.3 and 28.4), the same
        two models are 0.5 lower and 0.8 higher. The paper gives no spread over seeds. The number of parameters does not
        explain the gain: the tables add less than 1% to the parameters of the model.

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
        >>> plain = [MultiHeadAttention(512, 8, bias=False), MultiHeadAttention(1024, 16, bias=False)]
        >>> layers = 6 + 6  # the encoder's and the decoder's self-attention
        >>> [layers * (size(with_tables) - size(without)) for with_tables, without in zip((base, big), plain)]
        [405504, 26112]
    """
