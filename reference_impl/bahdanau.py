r"""RNNsearch: a recurrent encoder and a recurrent decoder with attention over the source words.

Source: Bahdanau, Cho and Bengio 2015, Section 3 and Appendix A

Axes: $b$ sentence pairs of a batch, $n$ source words ($T_x$), $m$ target words ($T_y$), `hidden_size` units of a state
($n$ in the paper), `annotation_size` = 2 · `hidden_size`. Words are integer ids; source sentences are padded on the
right and come with their lengths. The first target word, $y_0$, is a start symbol of the caller's choice.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from reference_impl.layers.attention import AdditiveScore, masked_softmax, padding_mask


class GRUCell(nn.Module):
    r"""Compute one step of the gated recurrent unit (Cho et al. 2014), which the paper calls a gated hidden unit.

    Source: Appendix A.1.1
        $$s_i = (1 - z_i) \circ s_{i-1} + z_i \circ \tilde s_i, \qquad
          \tilde s_i = \tanh(W e_i + U [r_i \circ s_{i-1}] + C c_i)$$
        $$z_i = \sigma(W_z e_i + U_z s_{i-1} + C_z c_i), \qquad r_i = \sigma(W_r e_i + U_r s_{i-1} + C_r c_i)$$

    The input is $[e_i; c_i]$ in the decoder and $e_i$ in the encoder, so that $W$ and $C$ are one matrix. torch.nn.GRU
    differs: there $z$ weighs the old state, and $r$ is applied to $U s_{i-1}$, after the matrix.

    Args:
        input_size: The width of the input.
        hidden_size: The width of the state, whose values lie in (-1, 1).
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input = nn.Linear(input_size, 3 * hidden_size)
        self.gates = nn.Linear(hidden_size, 2 * hidden_size, bias=False)
        self.candidate = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(
        self, x: Float[Tensor, "b input_size"], state: Float[Tensor, "b hidden_size"]
    ) -> Float[Tensor, "b hidden_size"]:
        """Return the next state."""
        return self.step(self.input(x), state)

    def step(
        self, projected: Float[Tensor, "b units"], state: Float[Tensor, "b hidden_size"]
    ) -> Float[Tensor, "b hidden_size"]:
        """Return the next state, given the output of `self.input`, which does not depend on the state."""
        candidate, gates = torch.split(projected, [state.shape[-1], 2 * state.shape[-1]], dim=-1)
        update, reset = torch.addmm(gates, state, self.gates.weight.T).sigmoid().chunk(2, dim=-1)
        candidate = torch.addmm(candidate, reset * state, self.candidate.weight.T).tanh()
        return torch.lerp(state, candidate, update)  # (1 - z) s + z s~


class Encoder(nn.Module):
    r"""Encode each source word by a bidirectional RNN; the concatenated states are its annotation.

    Source: Section 3.2 and Appendix A.2.1, Eq. 7
        $$h_j = [\overrightarrow h_j; \overleftarrow h_j]$$

    The two RNNs share the embedding and nothing else. Padding does not change a state: the backward RNN, which reads
    the padding first, is still at zero when it reaches the last word.

    Args:
        vocab_size: The size of the source vocabulary.
        embedding_dim: The width of a word's embedding.
        hidden_size: The width of either state.

    Asked: bahdanau.two-directions
    """

    def __init__(self, vocab_size: int, embedding_dim: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.embedding = nn.Embedding(vocab_size, embedding_dim)
        self.forward_rnn = GRUCell(embedding_dim, hidden_size)
        self.backward_rnn = GRUCell(embedding_dim, hidden_size)

    def forward(self, source: Int[Tensor, "b n"], lengths: Int[Tensor, " b"]) -> Float[Tensor, "b n annotation_size"]:
        """Return the annotations; ignore those of padding."""
        n, embedded = source.shape[1], self.embedding(source)  # (b, n, embedding_dim)
        valid = padding_mask(lengths, n).transpose(1, 2).unbind(dim=1)  # n times (b, 1)

        def run(cell: GRUCell, order: Iterable[int]) -> dict[int, Tensor]:
            # One product takes the words of all steps.
            projected = cell.input(embedded).unbind(dim=1)  # n times (b, units)
            state, states = embedded.new_zeros(len(source), self.hidden_size), {}
            for j in order:
                states[j] = state = torch.where(valid[j], cell.step(projected[j], state), state)
            return states

        forward, backward = run(self.forward_rnn, range(n)), run(self.backward_rnn, reversed(range(n)))
        annotations = [torch.cat([forward[j], backward[j]], dim=-1) for j in range(n)]
        return torch.stack(annotations, dim=1)  # (b, n, annotation_size)


class Decoder(nn.Module):
    r"""Decode one target word: attend to the annotations, predict the word, and update the state.

    Source: Section 3.1, Eqs. 4-6, and Appendix A.2.2
        $$e_{ij} = v_a^\top \tanh(W_a s_{i-1} + U_a h_j), \qquad \alpha_{ij} = \operatorname{softmax}_j(e_{ij}), \qquad
          c_i = \sum_j \alpha_{ij} h_j$$
        $$\tilde t_i = U_o s_{i-1} + V_o E y_{i-1} + C_o c_i, \qquad
          t_i = [\max(\tilde t_{i,2k-1}, \tilde t_{i,2k})]_{k=1..l}, \qquad p(y_i) \propto \exp(y_i^\top W_o t_i)$$

    The readout sees $s_{i-1}$, as Appendix A.2.2 and the authors' code have it; Eq. 4 writes $s_i$.

    Where the equations add several products, the inputs are concatenated and multiplied by one matrix.

    Departs: the paper leaves biases out of its equations, and does not say which layers have them. Here the gates, the
    initial state, the readout and the output layer have a bias, the alignment model has none.

    Args:
        vocab_size: The size of the target vocabulary.
        embedding_dim: The width of a word's embedding.
        hidden_size: The width of the state, and half an annotation's.
        alignment_size: The width of the alignment model's hidden layer.
        maxout_size: The number of maxout units in the readout, each the maximum of two.

    Asked: bahdanau.soft-alignment, bahdanau.alignment-cost, bahdanau.input-feeding
    """

    def __init__(
        self, vocab_size: int, embedding_dim: int, hidden_size: int, alignment_size: int, maxout_size: int
    ) -> None:
        super().__init__()
        annotation_size = 2 * hidden_size
        self.embedding = nn.Embedding(vocab_size, embedding_dim)
        self.initial = nn.Linear(hidden_size, hidden_size)
        self.score = AdditiveScore(hidden_size, annotation_size, alignment_size)
        self.gru = GRUCell(embedding_dim + annotation_size, hidden_size)
        self.readout = nn.Linear(hidden_size + embedding_dim + annotation_size, 2 * maxout_size)
        self.output = nn.Linear(maxout_size, vocab_size)

    def init_state(self, annotations: Float[Tensor, "b n annotation_size"]) -> Float[Tensor, "b hidden_size"]:
        r"""Return the initial state, computed from the backward RNN's state at the first word.

        Source: Appendix A.2.2
            $$s_0 = \tanh(W_s \overleftarrow h_1)$$
        """
        return self.initial(annotations[:, 0, self.initial.in_features :]).tanh()

    def forward(
        self,
        word: Int[Tensor, " b"],
        state: Float[Tensor, "b hidden_size"],
        annotations: Float[Tensor, "b n annotation_size"],
        mask: Bool[Tensor, "b 1 n"],
    ) -> tuple[Float[Tensor, "b vocab_size"], Float[Tensor, "b hidden_size"], Float[Tensor, "b n"]]:
        """Return the next word's logits, the next state, and the alignment with the source words.

        Args:
            word: The previous target word.
            state: The previous state.
            annotations: The annotations of the source words.
            mask: True at words, false at padding.
        """
        weights = masked_softmax(self.score(state[:, None], annotations), mask)  # (b, 1, n)
        context = (weights @ annotations)[:, 0]  # (b, annotation_size)
        embedded = self.embedding(word)  # (b, embedding_dim)
        readout = self.readout(torch.cat([state, embedded, context], dim=-1))  # (b, 2 maxout_size)
        maxout = readout.unflatten(-1, (-1, 2)).amax(dim=-1)  # (b, maxout_size)
        return self.output(maxout), self.gru(torch.cat([embedded, context], dim=-1), state), weights[:, 0]


class RNNsearch(nn.Module):
    r"""Encoder-decoder with attention for machine translation.

    Source: Section 3, Eqs. 2 and 4
        $$p(y \mid x) = \prod_i p(y_i \mid y_1, \dots, y_{i-1}, x)$$

    The sizes are those of Appendix A.2.3.

    Departs: weights are initialized by torch's defaults, not as in Appendix B.1 (narrow normal distributions,
    orthogonal recurrent matrices, $v_a = 0$), which is meant for days of training. Decoding is greedy; the paper uses
    beam search.

    Args:
        source_vocab_size: The size of the source vocabulary.
        target_vocab_size: The size of the target vocabulary.
        embedding_dim: The width of a word's embedding ($m$).
        hidden_size: The width of each recurrent state ($n$).
        alignment_size: The width of the alignment model's hidden layer ($n'$).
        maxout_size: The number of maxout units ($l$).

    Asked: bahdanau.machine-translation, bahdanau.what-makes-it-neural, bahdanau.alignment, bahdanau.parameter-count
    """

    def __init__(
        self,
        source_vocab_size: int,
        target_vocab_size: int,
        embedding_dim: int = 620,
        hidden_size: int = 1000,
        alignment_size: int = 1000,
        maxout_size: int = 500,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(source_vocab_size, embedding_dim, hidden_size)
        self.decoder = Decoder(target_vocab_size, embedding_dim, hidden_size, alignment_size, maxout_size)

    def encode(
        self, source: Int[Tensor, "b n"], lengths: Int[Tensor, " b"]
    ) -> tuple[Float[Tensor, "b k annotation_size"], Bool[Tensor, "b 1 k"], Float[Tensor, "b hidden_size"]]:
        """Return the annotations, their mask, and the decoder's initial state.

        Raises:
            ValueError: A length exceeds the padded length of source.
        """
        if int(lengths.max()) > source.shape[1]:
            raise ValueError(f"length {int(lengths.max())} exceeds the padded length {source.shape[1]}")
        annotations = self.encoder(source, lengths)
        return annotations, padding_mask(lengths, source.shape[1]), self.decoder.init_state(annotations)

    def forward(
        self, source: Int[Tensor, "b n"], lengths: Int[Tensor, " b"], target: Int[Tensor, "b m"]
    ) -> tuple[Float[Tensor, "b m vocab_size"], Float[Tensor, "b m k"]]:
        """Return the logits of the word after each target word, given those before, and the alignments.

        Args:
            source: The source sentences, padded.
            lengths: The number of words of each source sentence.
            target: The target sentences from $y_0$ on; ignore the logits after a sentence's end.
        """
        annotations, mask, state = self.encode(source, lengths)
        logits, alignments = [], []
        for word in target.unbind(dim=1):
            logit, state, alignment = self.decoder(word, state, annotations, mask)
            logits.append(logit)
            alignments.append(alignment)
        return torch.stack(logits, dim=1), torch.stack(alignments, dim=1)  # (b, m, vocab_size), (b, m, k)

    def log_probability(
        self, source: Int[Tensor, "b n"], lengths: Int[Tensor, " b"], target: Int[Tensor, "b m"], eos: int
    ) -> Float[Tensor, " b"]:
        """Return the log-probability of target sentences: the sum over the words after $y_0$ up to the end symbol.

        Args:
            source: The source sentences, padded.
            lengths: The number of words of each source sentence.
            target: The target sentences from $y_0$ on; words after the end symbol are ignored.
            eos: The symbol that ends a sentence.
        """
        logits, _ = self(source, lengths, target[:, :-1])  # (b, m - 1, vocab_size)
        words = target[:, 1:]
        log_p = logits.log_softmax(dim=-1).gather(-1, words[..., None])[..., 0]  # (b, m - 1)
        is_end = words == eos
        after_end = is_end.cumsum(dim=1) > is_end.long()
        return log_p.masked_fill(after_end, 0.0).sum(dim=1)

    @torch.no_grad()
    def translate(
        self, source: Int[Tensor, "b n"], lengths: Int[Tensor, " b"], bos: int, eos: int, max_length: int
    ) -> Int[Tensor, "b m"]:
        """Return the greedy translations, from the first word to the end symbol, and padded with it.

        Args:
            source: The source sentences, padded.
            lengths: The number of words of each source sentence.
            bos: The symbol $y_0$.
            eos: The symbol that ends a sentence.
            max_length: The largest number of words of a translation, the end symbol included.
        """
        annotations, mask, state = self.encode(source, lengths)
        words: list[Tensor] = []
        word = torch.full_like(lengths, bos)
        done = torch.zeros_like(lengths, dtype=torch.bool)
        while len(words) < max_length and not done.all():
            logits, state, _ = self.decoder(word, state, annotations, mask)  # (b, vocab_size)
            word = logits.argmax(dim=-1).masked_fill(done, eos)  # (b,)
            words.append(word)
            done = word == eos  # also where a translation had ended before
        return torch.stack(words, dim=1)  # (b, m)


class RNNencdec(RNNsearch):
    r"""Encoder-decoder with one fixed context vector, the paper's baseline.

    Source: Appendix A.2.2, "the model becomes RNN Encoder-Decoder if we fix $c_i$"
        $$c_i = \overrightarrow h_{T_x}$$

    There is a single annotation, so that its weight is 1 and the alignment model has no effect. The backward half of
    this annotation is zero.

    Asked: bahdanau.fixed-vector
    """

    def encode(
        self, source: Int[Tensor, "b n"], lengths: Int[Tensor, " b"]
    ) -> tuple[Float[Tensor, "b k annotation_size"], Bool[Tensor, "b 1 k"], Float[Tensor, "b hidden_size"]]:
        """Return the forward RNN's last state as the single annotation, with its mask and the decoder's state."""
        annotations, mask, state = super().encode(source, lengths)
        last = annotations[:, -1:, : state.shape[-1]]  # (b, 1, hidden_size); padding does not change the state
        return torch.cat([last, torch.zeros_like(last)], dim=-1), torch.ones_like(mask[..., :1]), state


# Answers


def machine_translation() -> None:
    """
    Answers: bahdanau.machine-translation
        A translation model gives every target sentence a probability, given the source sentence; to translate is to
        search for the most probable one. The probability is a product over words, each given those before it. Here are
        all 31 outputs that a decoder with two words and an end symbol can produce in at most four steps.

        >>> import itertools
        >>> import torch
        >>> from reference_impl.bahdanau import RNNsearch
        >>> _ = torch.manual_seed(0)
        >>> model = RNNsearch(5, 3, embedding_dim=8, hidden_size=8, alignment_size=8, maxout_size=8)
        >>> source, length, end = torch.tensor([[1, 2, 3, 4]]), torch.tensor([4]), 0
        >>> def cut(words):
        ...     return words[: words.index(end) + 1] if end in words else words
        >>> sentences = sorted({cut(words) for words in itertools.product(range(3), repeat=4)})
        >>> def log_probability(words):
        ...     return model.log_probability(source, length, torch.tensor([[end, *words]]), end).item()
        >>> log_probabilities = {words: log_probability(words) for words in sentences}
        >>> len(sentences), round(sum(torch.tensor(list(log_probabilities.values())).exp()).item(), 5)
        (31, 1.0)

        The log-probability of one of them is the sum of those of its words:

        >>> annotations, mask, state = model.encode(source, length)
        >>> total, before = 0.0, torch.tensor([end])
        >>> for word in (2, 1, 1, end):
        ...     logits, state, _ = model.decoder(before, state, annotations, mask)
        ...     total, before = total + logits.log_softmax(dim=-1)[0, word].item(), torch.tensor([word])
        >>> abs(total - log_probabilities[2, 1, 1, end]) < 1e-5
        True
    """


def what_makes_it_neural() -> None:
    r"""
    Answers: bahdanau.what-makes-it-neural
        A phrase-based system combines components that are trained separately: a phrase table, a reordering model, a
        language model. Here a single loss, that of the next word, trains all parameters of one network, and the
        alignment is one of its layers.

        >>> import torch
        >>> from reference_impl.bahdanau import RNNsearch
        >>> _ = torch.manual_seed(0)
        >>> model = RNNsearch(9, 9, embedding_dim=8, hidden_size=8, alignment_size=8, maxout_size=8)
        >>> target = torch.tensor([[0, 5, 6, 7, 0]])
        >>> model.log_probability(torch.tensor([[1, 2, 3, 4]]), torch.tensor([4]), target, eos=0).sum().backward()
        >>> moved = {name: p.grad is not None and bool(p.grad.any()) for name, p in model.named_parameters()}
        >>> print(*sorted({".".join(name.split(".")[:2]) for name in moved}), sep="\n")
        decoder.embedding
        decoder.gru
        decoder.initial
        decoder.output
        decoder.readout
        decoder.score
        encoder.backward_rnn
        encoder.embedding
        encoder.forward_rnn
        >>> len(moved), all(moved.values())
        (23, True)
    """


def alignment() -> None:
    r"""
    Answers: bahdanau.alignment
        A matrix of attention weights: row $i$ shows where in the source the decoder attends when it writes word $i$.
        For English and French it is close to the diagonal, with adjectives and nouns swapped (Figure 3). Here a small
        model learns from examples alone to write words backwards, and its alignment is the antidiagonal. ($v_a$ is
        initialized ten times as large as usual, which shortens training.)

        >>> import torch
        >>> from torch.nn.functional import cross_entropy, pad
        >>> from reference_impl.bahdanau import RNNsearch
        >>> _ = torch.manual_seed(1)
        >>> model = RNNsearch(27, 27, embedding_dim=32, hidden_size=32, alignment_size=32, maxout_size=32)
        >>> model.decoder.score.vector.weight.data *= 10
        >>> def words(count):  # of five letters, 1 to 26, none twice; 0 begins a sentence
        ...     return 1 + torch.rand(count, 26).argsort(dim=1)[:, :5]
        >>> def write(source):
        ...     return model(source, torch.full((len(source),), 5), pad(source.flip(1)[:, :-1], (1, 0)))
        >>> optimizer = torch.optim.Adam(model.parameters(), lr=0.015)
        >>> for _ in range(70):
        ...     source = words(64)
        ...     optimizer.zero_grad()
        ...     cross_entropy(write(source)[0].transpose(1, 2), source.flip(1)).backward()
        ...     optimizer.step()

        One row for each letter that is written; the shades mean a weight above a half (black), a quarter and a ninth.

        >>> venus = torch.tensor([[ord(letter) - 96 for letter in "venus"]])
        >>> written = model.translate(venus, torch.tensor([5]), bos=0, eos=0, max_length=5)[0]
        >>> def row(letter, weights):
        ...     shades = ["·▒▓█"[sum(weight > edge for edge in (0.11, 0.25, 0.5))] for weight in weights]
        ...     return f"{chr(letter + 96)} {''.join(shades)}"
        >>> print("  venus", *map(row, written, write(venus)[1][0]), sep="\n")
          venus
        s ····█
        u ···█▒
        n ··█··
        e ·█···
        v █▓···

        On 200 new words, nearly every letter is aligned with its place in the source:

        >>> aligned = write(words(200))[1].argmax(dim=-1)
        >>> bool((aligned == torch.arange(4, -1, -1)).float().mean() > 0.85)
        True
    """


def fixed_vector() -> None:
    """
    Answers: bahdanau.fixed-vector
        Whatever the length of the sentence, the decoder sees one vector, and the longer the sentence, the less of a
        word in the middle is left in it. A decoder with attention reads each word's own annotation, at any distance.
        How much the first word written depends on the middle word of the source, in a sentence of 81 words relative to
        one of 5:

        >>> import torch
        >>> from torch.nn.functional import cross_entropy, pad
        >>> from reference_impl.bahdanau import RNNencdec, RNNsearch
        >>> def influence(kind, n):
        ...     _ = torch.manual_seed(0)
        ...     model = kind(27, 27, embedding_dim=32, hidden_size=32, alignment_size=32, maxout_size=32)
        ...     source = torch.randint(26, (1, n))
        ...     source[0, n // 2] = 26  # it stands nowhere else
        ...     logits, _ = model(source, torch.tensor([n]), torch.tensor([[0]]))
        ...     return torch.autograd.grad(logits.square().sum(), model.encoder.embedding.weight)[0][26].norm().item()
        >>> left = {kind: influence(kind, 81) / influence(kind, 5) for kind in (RNNencdec, RNNsearch)}
        >>> left[RNNencdec] < 1e-6, left[RNNsearch] > 0.03
        (True, True)

        The difference shows in training. Both models write words of six letters backwards; after the same 50 updates
        only one has learned most of it.

        >>> def accuracy(kind):
        ...     _ = torch.manual_seed(2)
        ...     model, right = kind(27, 27, embedding_dim=32, hidden_size=32, alignment_size=32, maxout_size=32), []
        ...     model.decoder.score.vector.weight.data *= 10
        ...     optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        ...     for _ in range(50):
        ...         source = 1 + torch.rand(64, 26).argsort(dim=1)[:, :6]
        ...         target = source.flip(1)
        ...         logits, _ = model(source, torch.full((64,), 6), pad(target[:, :-1], (1, 0)))
        ...         optimizer.zero_grad()
        ...         cross_entropy(logits.transpose(1, 2), target).backward()
        ...         optimizer.step()
        ...         right.append((logits.argmax(dim=-1) == target).float().mean().item())
        ...     return sum(right[-10:]) / 10
        >>> accuracy(RNNsearch) > accuracy(RNNencdec) + 0.2
        True
    """


def two_directions() -> None:
    """
    Answers: bahdanau.two-directions
        What a word means may depend on what follows it. A forward RNN does not know that yet: when the last word
        changes, only the backward RNN's state at the first word does. Both halves know most about nearby words, which
        lets the decoder locate a position.

        >>> import torch
        >>> from reference_impl.bahdanau import Encoder
        >>> _ = torch.manual_seed(0)
        >>> encoder, lengths = Encoder(vocab_size=10, embedding_dim=8, hidden_size=8), torch.tensor([7])
        >>> source = torch.tensor([[1, 2, 3, 4, 5, 6, 7]])
        >>> changed = source.clone()
        >>> changed[0, 6] = 8
        >>> change = (encoder(source, lengths) - encoder(changed, lengths))[0].abs()
        >>> from_left, from_right = change[:, :8].sum(dim=1), change[:, 8:].sum(dim=1)
        >>> (from_left > 0).tolist()
        [False, False, False, False, False, False, True]
        >>> (from_right > 0).tolist()
        [True, True, True, True, True, True, True]
        >>> bool((from_right.diff() > 0).all())  # the nearer, the more of it is known
        True
    """


def soft_alignment() -> None:
    """
    Answers: bahdanau.soft-alignment
        The alignment is not a latent variable to be marginalized or sampled. It is a weighted mean with differentiable
        weights, so that the gradient of the loss reaches the alignment model itself. Had the decoder picked the single
        best position, there would be no gradient towards another.

        >>> import torch
        >>> from reference_impl.bahdanau import RNNsearch
        >>> _ = torch.manual_seed(0)
        >>> model = RNNsearch(9, 9, embedding_dim=8, hidden_size=8, alignment_size=8, maxout_size=8)
        >>> annotations, mask, state = model.encode(torch.tensor([[1, 2, 3, 4, 5]]), torch.tensor([5]))
        >>> scores = model.decoder.score(state[:, None], annotations.detach())
        >>> soft, hard = scores.softmax(dim=-1), torch.nn.functional.one_hot(scores.argmax(dim=-1), 5).float()
        >>> (soft @ annotations.detach()).requires_grad, (hard @ annotations.detach()).requires_grad
        (True, False)
        >>> logits, _, _ = model.decoder(torch.tensor([0]), state, annotations, mask)
        >>> (gradient,) = torch.autograd.grad(logits[0, 3], model.decoder.score.vector.weight, allow_unused=True)
        >>> gradient is not None and bool((gradient != 0).all())
        True
    """


def alignment_cost() -> None:
    """
    Answers: bahdanau.alignment-cost
        Every target word is scored against every source word: $T_x T_y$ evaluations of the alignment model, and a
        matrix of that size. That is why the model is small. The part that depends on the source, $U_a h_j$, is the same
        for every target word and could be computed once (Appendix A.1.2); it is recomputed here to keep the equation in
        one place.

        >>> import torch
        >>> from reference_impl.bahdanau import RNNsearch
        >>> def count(layer, n, m):  # how many vectors a layer of the alignment model is applied to
        ...     model, seen = RNNsearch(9, 9, embedding_dim=4, hidden_size=4, alignment_size=4, maxout_size=4), []
        ...     model.decoder.score.get_submodule(layer).register_forward_pre_hook(
        ...         lambda _, inputs: seen.append(inputs[0].shape[:-1].numel())
        ...     )
        ...     _ = model(torch.zeros(1, n, dtype=int), torch.tensor([n]), torch.zeros(1, m, dtype=int))
        ...     return sum(seen)
        >>> [[count("vector", n, m) for n in (10, 20, 40)] for m in (10, 20)]  # pairs that get a score
        [[100, 200, 400], [200, 400, 800]]
        >>> count("key", n=10, m=20), count("query", n=10, m=20)  # U_a h_j and W_a s
        (200, 20)
    """


def input_feeding() -> None:
    r"""
    Answers: bahdanau.input-feeding
        The result of attending is part of the next step's input, so that an alignment can take into account the
        alignments before it. Luong et al. (2015) attend after the recurrent step, with its state $h_t$ as query. Their
        states would depend on the target words alone, and each alignment would be chosen without regard to the others.
        So they feed $\tilde h_t = \tanh(W_c [c_t; h_t])$ to the next step (Section 3.3), which gains 1.3 BLEU from
        English to German (Table 1). RNNsearch has such a path already: the context $c_i$ is an input of the state $s_i$
        (Appendix A.2.2), which is the next query. Below, only the first step reads `first`. Does it affect the
        alignments of the three steps after it?

        >>> import torch
        >>> from reference_impl.bahdanau import GRUCell, RNNsearch
        >>> from reference_impl.layers.attention import GeneralScore
        >>> _ = torch.manual_seed(0)
        >>> model = RNNsearch(9, 9, embedding_dim=8, hidden_size=8, alignment_size=8, maxout_size=8)
        >>> annotations, mask, start = model.encode(torch.tensor([[1, 2, 3, 4, 5]]), torch.tensor([5]))
        >>> words = torch.tensor([[0], [6], [7], [8]])
        >>> def rnnsearch(first, state=start):
        ...     for step, word in enumerate(words):
        ...         _, state, weights = model.decoder(word, state, annotations if step else first, mask)
        ...         yield weights
        >>> gru, score, combine = GRUCell(16, 8), GeneralScore(8, 16), torch.nn.Linear(24, 8)
        >>> def luong(first, state=start, input_feeding=True):
        ...     feed = none = torch.zeros(1, 8)
        ...     for step, word in enumerate(words):
        ...         state = gru(torch.cat([model.decoder.embedding(word), feed], dim=1), state)
        ...         weights = score(state[:, None], annotations).softmax(dim=-1)
        ...         context = (weights @ (annotations if step else first))[:, 0]
        ...         feed = combine(torch.cat([context, state], dim=1)).tanh() if input_feeding else none
        ...         yield weights
        >>> def affected(decode):
        ...     first = annotations.detach().clone()
        ...     before, after = list(decode(first)), list(decode(first.flip(2)))
        ...     return [not torch.allclose(one, other) for one, other in zip(before, after, strict=True)][1:]
        >>> affected(lambda first: luong(first, input_feeding=False))
        [False, False, False]
        >>> affected(luong), affected(rnnsearch)
        ([True, True, True], [True, True, True])

        It has a cost. Without input feeding the states of all target words can be computed before any attention, and
        all alignments in one product. With it, each state has to wait for the attention of the step before.

        >>> states = [start]
        >>> for word in words:
        ...     states.append(gru(torch.cat([model.decoder.embedding(word), torch.zeros(1, 8)], dim=1), states[-1]))
        >>> at_once = score(torch.stack(states[1:], dim=1), annotations).softmax(dim=-1)
        >>> for input_feeding in (False, True):
        ...     in_turn = torch.cat(list(luong(annotations, input_feeding=input_feeding)), dim=1)
        ...     torch.allclose(at_once, in_turn, atol=1e-6)
        True
        False
    """


def parameter_count() -> None:
    """
    Answers: bahdanau.parameter-count
        The model of the paper's tables, with a vocabulary of 30,000 words on either side, has some 80 million
        parameters, two thirds of them in the embeddings and the output layer. The alignment model, which is new, has 3
        million.

        >>> import torch
        >>> from reference_impl.bahdanau import RNNsearch
        >>> with torch.device("meta"):  # shapes alone
        ...     model = RNNsearch(source_vocab_size=30_000, target_vocab_size=30_000)
        >>> def count(*modules):
        ...     return sum(p.numel() for module in modules for p in module.parameters())
        >>> encoder, decoder = model.encoder, model.decoder
        >>> count(model), sum(p.numel() for name, p in model.named_parameters() if not name.endswith("bias"))
        (80442000, 80401000)
        >>> count(encoder.embedding, decoder.embedding, decoder.output), count(decoder.score)
        (52230000, 3001000)
    """
