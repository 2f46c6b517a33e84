r"""RNNsearch: a recurrent encoder and decoder, and an attention that aligns them.

Source: Bahdanau, Cho and Bengio 2015, Section 3 and Appendix A

Axes: $b$ sentence pairs of a batch, $n$ source words ($T_x$), $m$ target words ($T_y$), `d_hidden` units of a state
($n$ in the paper), `d_annotation` = 2 · `d_hidden`. Words are integers; a source sentence is padded on the right and
its length is given. The first target word, $y_0$, is whatever symbol the caller lets sentences begin with.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from reference_impl.layers.attention import AdditiveScore, attention_weights, padding_mask


class GatedUnit(nn.Module):
    r"""Take one step of the gated hidden unit (Cho et al. 2014), now known as a gated recurrent unit.

    Source: Appendix A.1.1
        $$s_i = (1 - z_i) \circ s_{i-1} + z_i \circ \tilde s_i, \qquad
          \tilde s_i = \tanh(W e_i + U [r_i \circ s_{i-1}] + C c_i)$$
        $$z_i = \sigma(W_z e_i + U_z s_{i-1} + C_z c_i), \qquad r_i = \sigma(W_r e_i + U_r s_{i-1} + C_r c_i)$$

    The input is $[e_i; c_i]$ in the decoder and $e_i$ in the encoder, so that $W$ and $C$ are one matrix. torch.nn.GRU
    is another unit: there $z$ keeps the old state, and $r$ acts on $U s_{i-1}$, after the matrix.

    Args:
        d_input: The width of the input.
        d_hidden: The width of the state, whose values lie in (-1, 1).
    """

    def __init__(self, d_input: int, d_hidden: int) -> None:
        super().__init__()
        self.input = nn.Linear(d_input, 3 * d_hidden)
        self.gates = nn.Linear(d_hidden, 2 * d_hidden, bias=False)
        self.proposal = nn.Linear(d_hidden, d_hidden, bias=False)

    def forward(self, x: Float[Tensor, "b d_input"], state: Float[Tensor, "b d_hidden"]) -> Float[Tensor, "b d_hidden"]:
        """Return the next state."""
        proposal, gates = torch.split(self.input(x), [state.shape[-1], 2 * state.shape[-1]], dim=-1)
        update, reset = (gates + self.gates(state)).sigmoid().chunk(2, dim=-1)
        proposed = (proposal + self.proposal(reset * state)).tanh()
        return (1 - update) * state + update * proposed


class Encoder(nn.Module):
    r"""Annotate each source word by what two recurrent networks know of it, one from either side.

    Source: Section 3.2 and Appendix A.2.1, Eq. 7
        $$h_j = [\overrightarrow h_j; \overleftarrow h_j]$$

    The two networks share the embedding and nothing else. A state stays as it is over padding: zero for the network
    that comes from the right and meets the padding first.

    Args:
        words: The size of the source vocabulary.
        d_embedding: The width of a word's embedding.
        d_hidden: The width of either state.
    """

    def __init__(self, words: int, d_embedding: int, d_hidden: int) -> None:
        super().__init__()
        self.d_hidden = d_hidden
        self.embedding = nn.Embedding(words, d_embedding)
        self.from_left = GatedUnit(d_embedding, d_hidden)
        self.from_right = GatedUnit(d_embedding, d_hidden)

    def forward(self, source: Int[Tensor, "b n"], lengths: Int[Tensor, " b"]) -> Float[Tensor, "b n d_annotation"]:
        """Return the annotations; those of padding mean nothing."""
        words = self.embedding(source).unbind(dim=1)
        real = padding_mask(lengths, len(words)).transpose(1, 2).unbind(dim=1)

        def read(unit: GatedUnit, order: Iterable[int]) -> dict[int, Tensor]:
            state, states = words[0].new_zeros(len(source), self.d_hidden), {}
            for j in order:
                states[j] = state = torch.where(real[j], unit(words[j], state), state)
            return states

        left = read(self.from_left, range(len(words)))
        right = read(self.from_right, reversed(range(len(words))))
        return torch.stack([torch.cat([left[j], right[j]], dim=-1) for j in range(len(words))], dim=1)


class Decoder(nn.Module):
    r"""Write one target word: align, look there, and read out.

    Source: Section 3.1, Eqs. 4-6, and Appendix A.2.2
        $$e_{ij} = v_a^\top \tanh(W_a s_{i-1} + U_a h_j), \qquad \alpha_{ij} = \operatorname{softmax}_j(e_{ij}), \qquad
          c_i = \sum_j \alpha_{ij} h_j$$
        $$\tilde t_i = U_o s_{i-1} + V_o E y_{i-1} + C_o c_i, \qquad
          t_i = [\max(\tilde t_{i,2k-1}, \tilde t_{i,2k})]_{k=1..l}, \qquad p(y_i) \propto \exp(y_i^\top W_o t_i)$$

    The readout sees $s_{i-1}$, as Appendix A.2.2 and the authors' code have it; Eq. 4 writes $s_i$.

    Departs: the embedded words, contexts and states that a layer adds up stand side by side before one matrix. The paper
    leaves its biases out of the equations; here gates, initial state, readout and output have one, alignment none.

    Args:
        words: The size of the target vocabulary.
        d_embedding: The width of a word's embedding.
        d_hidden: The width of the state, and half an annotation's.
        d_alignment: The width of the alignment model's hidden layer.
        d_maxout: How many maxout units the readout has, each the larger of two.
    """

    def __init__(self, words: int, d_embedding: int, d_hidden: int, d_alignment: int, d_maxout: int) -> None:
        super().__init__()
        d_annotation = 2 * d_hidden
        self.embedding = nn.Embedding(words, d_embedding)
        self.initial = nn.Linear(d_hidden, d_hidden)
        self.score = AdditiveScore(d_hidden, d_annotation, d_alignment)
        self.unit = GatedUnit(d_embedding + d_annotation, d_hidden)
        self.readout = nn.Linear(d_hidden + d_embedding + d_annotation, 2 * d_maxout)
        self.output = nn.Linear(d_maxout, words, bias=True)

    def start(self, annotations: Float[Tensor, "b n d_annotation"]) -> Float[Tensor, "b d_hidden"]:
        r"""Return the state before the first word, from what has read the sentence back to its beginning.

        Source: Appendix A.2.2
            $$s_0 = \tanh(W_s \overleftarrow h_1)$$
        """
        return self.initial(annotations[:, 0, self.initial.in_features :]).tanh()

    def forward(
        self,
        word: Int[Tensor, " b"],
        state: Float[Tensor, "b d_hidden"],
        annotations: Float[Tensor, "b n d_annotation"],
        mask: Bool[Tensor, "b 1 n"],
    ) -> tuple[Float[Tensor, "b words"], Float[Tensor, "b d_hidden"], Float[Tensor, "b n"]]:
        """Return the next word's logits, the next state, and the alignment with the source words.

        Args:
            word: The last word written.
            state: The state that wrote it.
            annotations: Of the source words.
            mask: True at words, false at padding.
        """
        weights = attention_weights(self.score(state[:, None], annotations), mask)
        context = (weights @ annotations)[:, 0]
        embedded = self.embedding(word)
        maxout = self.readout(torch.cat([state, embedded, context], dim=-1)).unflatten(-1, (-1, 2)).amax(dim=-1)
        return self.output(maxout), self.unit(torch.cat([embedded, context], dim=-1), state), weights[:, 0]


class RNNsearch(nn.Module):
    r"""Translate by searching the source sentence anew for every word that is written.

    Source: Section 3, Eqs. 2 and 4
        $$p(y \mid x) = \prod_i p(y_i \mid y_1, \dots, y_{i-1}, x)$$

    The sizes are those of Appendix A.2.3.

    Departs: weights begin as torch's layers do, not as in Appendix B.1, which takes days of training to leave; and
    translation is greedy, where the paper's is a beam search.

    Args:
        source_words: The size of the source vocabulary.
        target_words: The size of the target vocabulary.
        d_embedding: The width of a word's embedding ($m$).
        d_hidden: The width of each recurrent state ($n$).
        d_alignment: The width of the alignment model's hidden layer ($n'$).
        d_maxout: The number of maxout units ($l$).
    """

    def __init__(
        self,
        source_words: int,
        target_words: int,
        d_embedding: int = 620,
        d_hidden: int = 1000,
        d_alignment: int = 1000,
        d_maxout: int = 500,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(source_words, d_embedding, d_hidden)
        self.decoder = Decoder(target_words, d_embedding, d_hidden, d_alignment, d_maxout)

    def encode(
        self, source: Int[Tensor, "b n"], lengths: Int[Tensor, " b"]
    ) -> tuple[Float[Tensor, "b k d_annotation"], Bool[Tensor, "b 1 k"], Float[Tensor, "b d_hidden"]]:
        """Return the annotations to search, where they are words, and the decoder's first state.

        Raises:
            ValueError: A sentence is longer than its row.
        """
        if int(lengths.max()) > source.shape[1]:
            raise ValueError(f"length {int(lengths.max())} exceeds the {source.shape[1]} words of a row")
        annotations = self.encoder(source, lengths)
        return annotations, padding_mask(lengths, source.shape[1]), self.decoder.start(annotations)

    def forward(
        self, source: Int[Tensor, "b n"], lengths: Int[Tensor, " b"], target: Int[Tensor, "b m"]
    ) -> tuple[Float[Tensor, "b m words"], Float[Tensor, "b m k"]]:
        """Return the logits of the word after each target word, given those before, and the alignments.

        Args:
            source: The source sentences, padded.
            lengths: How many words each source sentence has.
            target: The target sentences from $y_0$ on; what follows a sentence's end is computed and means nothing.
        """
        annotations, mask, state = self.encode(source, lengths)
        logits, alignments = [], []
        for word in target.unbind(dim=1):
            logit, state, alignment = self.decoder(word, state, annotations, mask)
            logits.append(logit)
            alignments.append(alignment)
        return torch.stack(logits, dim=1), torch.stack(alignments, dim=1)

    def log_probability(
        self, source: Int[Tensor, "b n"], lengths: Int[Tensor, " b"], target: Int[Tensor, "b m"], end: int
    ) -> Float[Tensor, " b"]:
        """Return the log-probability of target sentences: the sum over their words after $y_0$, the end included.

        Args:
            source: The source sentences, padded.
            lengths: How many words each source sentence has.
            target: The target sentences from $y_0$ on; what follows the end symbol does not count.
            end: The symbol that ends a sentence.
        """
        logits, _ = self(source, lengths, target[:, :-1])
        words = target[:, 1:]
        chosen = logits.log_softmax(dim=-1).gather(-1, words[..., None])[..., 0]
        ended = (words == end).cumsum(dim=1) - (words == end).long()
        return chosen.masked_fill(ended > 0, 0.0).sum(dim=1)

    @torch.no_grad()
    def translate(
        self, source: Int[Tensor, "b n"], lengths: Int[Tensor, " b"], begin: int, end: int, limit: int
    ) -> Int[Tensor, "b m"]:
        """Return the greedy translations, from the first word to the end symbol, which also fills what follows it.

        Args:
            source: The source sentences, padded.
            lengths: How many words each source sentence has.
            begin: The symbol $y_0$.
            end: The symbol that ends a sentence.
            limit: How many words a translation may have, its end included.
        """
        annotations, mask, state = self.encode(source, lengths)
        word, words = torch.full_like(lengths, begin), []
        over = torch.zeros_like(lengths, dtype=torch.bool)
        while len(words) < limit and not over.all():
            logits, state, _ = self.decoder(word, state, annotations, mask)
            word = logits.argmax(dim=-1).masked_fill(over, end)
            words.append(word)
            over = over | (word == end)
        return torch.stack(words, dim=1)


class RNNencdec(RNNsearch):
    r"""Translate from one fixed vector: the encoder-decoder that the paper sets out to improve.

    Source: Appendix A.2.2, "the model becomes RNN Encoder-Decoder if we fix $c_i$"
        $$c_i = \overrightarrow h_{T_x}$$

    There is one annotation to search, so that its weight is 1 and the alignment model has nothing to decide. The half
    of the annotation that comes from the right is zero.
    """

    def encode(
        self, source: Int[Tensor, "b n"], lengths: Int[Tensor, " b"]
    ) -> tuple[Float[Tensor, "b k d_annotation"], Bool[Tensor, "b 1 k"], Float[Tensor, "b d_hidden"]]:
        """Return the last state of the network that reads from the left as the one annotation."""
        annotations, mask, state = super().encode(source, lengths)
        last = annotations[:, -1:, : state.shape[-1]]  # over padding, the state stays that of the last word
        return torch.cat([last, torch.zeros_like(last)], dim=-1), torch.ones_like(mask[..., :1]), state
