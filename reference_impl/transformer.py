r"""The Transformer: an encoder-decoder made of attention, without recurrence.

Source: Vaswani et al. 2017, "Attention Is All You Need"; sections and equations below are this paper's

Axes: $b$ sentences of a batch, $n$ source tokens, $m$ target tokens, $d$ the width $d_{model}$, $v$ tokens of the
vocabulary, $h$ heads, each $d_h$ wide, $k$ hypotheses of a beam. Masks are true where attention is allowed.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from reference_impl.layers.attention import MultiHeadAttention, causal_mask, padding_mask
from reference_impl.layers.positions import sinusoidal_positions

KeyValue = tuple[Float[Tensor, "b h _ dh"], Float[Tensor, "b h _ dh"]]


class PostNorm(nn.Module):
    r"""Post-norm residual connection: add the sublayer's output to its input, then normalize, as in the paper.

    Source: Section 3.1; the dropout is Section 5.4's
        $$\operatorname{LayerNorm}(x + \operatorname{Dropout}(\operatorname{Sublayer}(x)))$$
    """

    def __init__(self, d_model: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.dropout = nn.LayerNorm(d_model), nn.Dropout(dropout)

    def input(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return the sublayer's input: x itself."""
        return x

    def output(self, x: Float[Tensor, "b n d"], sublayer_output: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return the normalized sum of x and the sublayer's output."""
        return self.norm(x + self.dropout(sublayer_output))

    @staticmethod
    def final_norm(d_model: int) -> nn.Module:
        """Return the module at the end of a stack: the identity, since the last sum is already normalized."""
        return nn.Identity()


class PreNorm(nn.Module):
    r"""Pre-norm residual connection: normalize the sublayer's input, as in the authors' code since its second version.

    Source: tensor2tensor, `transformer_base_v2`; not in the paper
        $$x + \operatorname{Dropout}(\operatorname{Sublayer}(\operatorname{LayerNorm}(x)))$$

    Asked: transformer.pre-norm
    """

    def __init__(self, d_model: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.dropout = nn.LayerNorm(d_model), nn.Dropout(dropout)

    def input(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return the sublayer's input: x, normalized."""
        return self.norm(x)

    def output(self, x: Float[Tensor, "b n d"], sublayer_output: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return the sum of x and the sublayer's output."""
        return x + self.dropout(sublayer_output)

    @staticmethod
    def final_norm(d_model: int) -> nn.Module:
        """Return the module at the end of a stack: a layer norm, since the residual stream is not normalized."""
        return nn.LayerNorm(d_model)


class FeedForward(nn.Sequential):
    r"""Position-wise feed-forward network: the same two linear layers at every position.

    Source: Section 3.3, Eq. 2
        $$\operatorname{FFN}(x) = \max(0, xW_1 + b_1) W_2 + b_2$$
    """

    def __init__(self, d_model: int, d_ff: int) -> None:
        # In place: nothing else needs the hidden layer, the largest tensor here, as it is before ReLU.
        super().__init__(nn.Linear(d_model, d_ff), nn.ReLU(inplace=True), nn.Linear(d_ff, d_model))


class EncoderLayer(nn.Module):
    r"""Encoder layer: self-attention over all positions, then a feed-forward network.

    Source: Section 3.1, Encoder; Figure 1, left

    Asked: transformer.path-length
    """

    def __init__(
        self,
        d_model: int,
        heads: int,
        d_ff: int,
        dropout: float = 0.1,
        bias: bool = True,
        residual: type[PostNorm] | type[PreNorm] = PostNorm,
    ) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(d_model, heads, bias)
        self.feed_forward = FeedForward(d_model, d_ff)
        self.around_self_attention = residual(d_model, dropout)
        self.around_feed_forward = residual(d_model, dropout)

    def forward(self, x: Float[Tensor, "b n d"], mask: Bool[Tensor, "..."] | None = None) -> Float[Tensor, "b n d"]:
        """Return the layer's output.

        Args:
            x: The input of the layer.
            mask: True where a query may attend; broadcasts to (b, n, n).
        """
        inner = self.around_self_attention.input(x)
        x = self.around_self_attention.output(x, self.self_attention(inner, inner, inner, mask))
        inner = self.around_feed_forward.input(x)
        return self.around_feed_forward.output(x, self.feed_forward(inner))


class DecoderLayer(nn.Module):
    """Decoder layer: causal self-attention, cross-attention to the memory, then a feed-forward network.

    Source: Section 3.1, Decoder; Section 3.2.3; Figure 1, right

    Keys and values are arguments and results, so that a decoder can cache them: those of the memory stay the same, and
    those of the past get longer with every step. In training the past is empty, and all positions are computed at once.

    Asked: transformer.layer-anatomy
    """

    def __init__(
        self,
        d_model: int,
        heads: int,
        d_ff: int,
        dropout: float = 0.1,
        bias: bool = True,
        residual: type[PostNorm] | type[PreNorm] = PostNorm,
    ) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(d_model, heads, bias)
        self.cross_attention = MultiHeadAttention(d_model, heads, bias)
        self.feed_forward = FeedForward(d_model, d_ff)
        self.around_self_attention = residual(d_model, dropout)
        self.around_cross_attention = residual(d_model, dropout)
        self.around_feed_forward = residual(d_model, dropout)

    def forward(
        self,
        y: Float[Tensor, "b m d"],
        memory: KeyValue,
        past: KeyValue,
        mask: Bool[Tensor, "..."] | None = None,
        memory_mask: Bool[Tensor, "..."] | None = None,
    ) -> tuple[Float[Tensor, "b m d"], KeyValue]:
        """Return the layer's output, and the past with the keys and values of the new positions appended."""
        inner = self.around_self_attention.input(y)
        new_keys, new_values = self.self_attention.keys_values(inner, inner)  # (b, h, m, dh) each
        past = torch.cat([past[0], new_keys], dim=2), torch.cat([past[1], new_values], dim=2)  # (b, h, past + m, dh)
        y = self.around_self_attention.output(y, self.self_attention.attend(inner, *past, mask))
        inner = self.around_cross_attention.input(y)
        y = self.around_cross_attention.output(y, self.cross_attention.attend(inner, *memory, memory_mask))
        inner = self.around_feed_forward.input(y)
        return self.around_feed_forward.output(y, self.feed_forward(inner)), past


class Embedding(nn.Module):
    r"""Token embedding with positions; source, target and output projection share its matrix.

    Source: Sections 3.4 and 3.5
        $$x_i = \sqrt{d_{model}} \, E_{t_i} + PE_i, \qquad logits = y E^\top$$

    The entries of $E$ are initialized with variance $1/d_{model}$, as in the public code. Then the entries of
    $\sqrt{d_{model}} \, E$ have variance 1, comparable to the sines, and so have the logits of a normalized output.

    Args:
        vocab_size: How many tokens, shared by source and target.
        d_model: The width of an embedding.
        dropout: The dropout rate on the sum of embeddings and positions (Section 5.4).

    Asked: transformer.input-embeddings
    """

    def __init__(self, vocab_size: int, d_model: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab_size, d_model).normal_(std=d_model**-0.5))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Int[Tensor, "b n"], past_length: int = 0) -> Float[Tensor, "b n d"]:
        """Return the embeddings of tokens at the positions from `past_length` on."""
        d_model = self.weight.shape[1]
        positions = sinusoidal_positions(past_length + tokens.shape[1], d_model)[past_length:].to(self.weight)
        return self.dropout(F.embedding(tokens, self.weight) * math.sqrt(d_model) + positions)  # (b, n, d)

    def logits(self, y: Float[Tensor, "b m d"]) -> Float[Tensor, "b m v"]:
        """Return the logits of all tokens of the vocabulary at every position."""
        return y @ self.weight.T  # (b, m, v)


@dataclass(frozen=True)
class DecoderState:
    """The decoder's cache: the keys and values of each layer, of the memory and of the past.

    Asked: transformer.key-value-cache
    """

    memory: tuple[KeyValue, ...]
    past: tuple[KeyValue, ...]
    memory_mask: Bool[Tensor, "..."] | None = None

    @property
    def length(self) -> int:
        """The number of positions that have been decoded."""
        return self.past[0][0].shape[2]

    def index_select(self, rows: Int[Tensor, " picked"]) -> "DecoderState":
        """Return the state of a batch that consists of these rows of this one; a row may be selected twice."""
        memory = tuple((keys[rows], values[rows]) for keys, values in self.memory)
        past = tuple((keys[rows], values[rows]) for keys, values in self.past)
        return DecoderState(memory, past, None if self.memory_mask is None else self.memory_mask[rows])


class Transformer(nn.Module):
    r"""The encoder-decoder Transformer.

    Source: Section 3 and Figure 1
        $$p(y_1, \dots, y_m \mid x) = \prod_{j=1}^m p(y_j \mid y_{<j}, z), \qquad z = \operatorname{encode}(x)$$

    The defaults are the base model of Table 3. The big one: `d_model=1024, heads=16, d_ff=4096, dropout=0.3`; for
    English to French `dropout=0.1` (Section 6.1).

    Departs: the projections of attention have biases (`bias=False` removes them). Weights are initialized by Xavier's
    (Glorot's) uniform distribution, in each layer independently, and biases with 0: the paper names no initialization.

    Args:
        vocab_size: How many tokens, shared by source and target; Section 5.1 has about 37,000 for German, 32,000 for
            French.
        d_model: The width of every sublayer's input and output.
        heads: How many heads share that width.
        d_ff: The width inside the feed-forward network.
        layers: How many layers in each of the two stacks.
        dropout: The dropout rate on each sublayer's output and on the embeddings.
        bias: Whether the projections of attention have biases.
        residual: The residual connection: `PostNorm`, as in the paper, or `PreNorm`.

    Raises:
        ValueError: `layers` is less than 1, or `d_model` is not a multiple of `heads`.

    Asked: transformer.why-not-an-rnn, transformer.sequence-transduction
    """

    def __init__(
        self,
        vocab_size: int = 37_000,
        d_model: int = 512,
        heads: int = 8,
        d_ff: int = 2048,
        layers: int = 6,
        dropout: float = 0.1,
        bias: bool = True,
        residual: type[PostNorm] | type[PreNorm] = PostNorm,
    ) -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"layers {layers} is less than 1")
        size = (d_model, heads, d_ff, dropout, bias, residual)
        self.embedding = Embedding(vocab_size, d_model, dropout)
        self.encoder = nn.ModuleList(EncoderLayer(*size) for _ in range(layers))
        self.decoder = nn.ModuleList(DecoderLayer(*size) for _ in range(layers))
        self.encoder_norm, self.decoder_norm = residual.final_norm(d_model), residual.final_norm(d_model)
        for linear in (module for module in self.modules() if isinstance(module, nn.Linear)):
            nn.init.xavier_uniform_(linear.weight)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)

    def forward(
        self,
        source: Int[Tensor, "b n"],
        target: Int[Tensor, "b m"],
        source_mask: Bool[Tensor, "b 1 n"] | None = None,
        target_mask: Bool[Tensor, "b 1 m"] | None = None,
    ) -> Float[Tensor, "b m v"]:
        """Return the logits of the token after each target token, for all positions at once (teacher forcing).

        Args:
            source: The source sentences.
            target: The target sentences, shifted right: the token `bos` comes first, and the last token is left out.
            source_mask: True where a source token is not padding.
            target_mask: True where a target token is not padding; not needed if padding is at the end.

        Asked: transformer.lengths-of-input-and-output
        """
        memory = self.encode(source, source_mask)  # (b, n, d)
        logits, _ = self.decode_step(target, self.init_state(memory, source_mask), target_mask)  # (b, m, v)
        return logits

    def encode(
        self, source: Int[Tensor, "b n"], source_mask: Bool[Tensor, "b 1 n"] | None = None
    ) -> Float[Tensor, "b n d"]:
        r"""Encode the source: return the memory, one vector for each token.

        Asked: transformer.any-length
        """
        return self.run_encoder(self.embedding(source), source_mask)

    def run_encoder(
        self, x: Float[Tensor, "b n d"], source_mask: Bool[Tensor, "b 1 n"] | None = None
    ) -> Float[Tensor, "b n d"]:
        """Run the encoder's layers on embeddings.

        Asked: transformer.order-without-positions
        """
        for layer in self.encoder:
            x = layer(x, source_mask)
        return self.encoder_norm(x)

    def init_state(
        self, memory: Float[Tensor, "b n d"], source_mask: Bool[Tensor, "b 1 n"] | None = None
    ) -> DecoderState:
        """Return the decoder's state before the first target token: the memory's keys and values, and an empty past."""
        layers = cast(Iterable[DecoderLayer], self.decoder)  # to mypy a ModuleList holds plain modules
        keys_values = tuple(layer.cross_attention.keys_values(memory, memory) for layer in layers)  # (b, h, n, dh) each
        empty = tuple((keys[:, :, :0], values[:, :, :0]) for keys, values in keys_values)  # (b, h, 0, dh) each
        return DecoderState(keys_values, empty, source_mask)

    def decode_step(
        self, target: Int[Tensor, "b m"], state: DecoderState, target_mask: Bool[Tensor, "b 1 seen"] | None = None
    ) -> tuple[Float[Tensor, "b m v"], DecoderState]:
        """Return the logits after each of these target tokens, which follow those of the state, and the new state."""
        y, state = self.run_decoder(self.embedding(target, state.length), state, target_mask)  # (b, m, d)
        return self.embedding.logits(y), state  # (b, m, v)

    def run_decoder(
        self, y: Float[Tensor, "b m d"], state: DecoderState, target_mask: Bool[Tensor, "b 1 seen"] | None = None
    ) -> tuple[Float[Tensor, "b m d"], DecoderState]:
        """Run the decoder's layers on embeddings of the next target tokens."""
        mask = target_mask  # (b, 1, seen)
        if y.shape[1] > 1:  # a single token comes last and may attend to all
            causal = causal_mask(state.length + y.shape[1], y.device)[state.length :]  # (m, seen)
            mask = causal if target_mask is None else causal & target_mask  # (b, m, seen)
        pasts = []
        for layer, memory, past in zip(self.decoder, state.memory, state.past, strict=True):
            y, past = layer(y, memory, past, mask, state.memory_mask)
            pasts.append(past)
        return self.decoder_norm(y), DecoderState(state.memory, tuple(pasts), state.memory_mask)


def noam_learning_rate(step: int, d_model: int = 512, warmup: int = 4000) -> float:
    r"""Return the learning rate of a step: linear warm-up, then decay with the inverse square root.

    Source: Section 5.3, Eq. 3
        $$lrate = d_{model}^{-0.5} \cdot \min(step^{-0.5}, step \cdot warmup^{-1.5})$$

    Asked: transformer.why-warm-up

    Raises:
        ValueError: `step` is less than 1, the first step.
    """
    if step < 1:
        raise ValueError(f"step {step} is less than 1")
    return d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)


def build_optimizer(model: Transformer, warmup: int = 4000) -> tuple[torch.optim.Adam, LambdaLR]:
    """Return Adam and the learning rate schedule; call `step` of the optimizer, then of the schedule, after each batch.

    Source: Section 5.3
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9)
    d_model = model.embedding.weight.shape[1]
    return optimizer, LambdaLR(optimizer, lambda step: noam_learning_rate(step + 1, d_model, warmup))


def label_smoothed_cross_entropy(
    logits: Float[Tensor, "b m v"],
    target: Int[Tensor, "b m"],
    mask: Bool[Tensor, "b m"] | None = None,
    label_smoothing: float = 0.1,
) -> Float[Tensor, ""]:
    r"""Return the mean cross-entropy with label smoothing, in nats a token.

    Source: Section 5.4, which cites Szegedy et al. 2016, Section 7
        $$q(k) = (1 - \epsilon_{ls}) \, [k = y] + \epsilon_{ls} / v$$

    $\epsilon_{ls}$ is spread over all tokens, the target included, as in the cited paper and in torch.

    Departs: the public code spreads $\epsilon_{ls}$ over the other $v - 1$ tokens, and subtracts the lowest possible
    value of the loss. Its $\epsilon$ is ours times $(v - 1)/v$.

    Args:
        logits: The logits of all tokens.
        target: The target tokens.
        mask: True where the target is not padding; padding is ignored.
        label_smoothing: The probability that is spread over all tokens, in [0, 1).

    Raises:
        ValueError: `label_smoothing` is not in [0, 1).
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing {label_smoothing} is not in [0, 1)")
    log_p = logits.log_softmax(dim=-1)  # (b, m, v)
    nll_loss = -log_p.gather(-1, target[..., None]).squeeze(-1)  # (b, m)
    smooth_loss = -log_p.mean(dim=-1)  # (b, m)
    loss = (1 - label_smoothing) * nll_loss + label_smoothing * smooth_loss
    if mask is None:
        return loss.mean()
    return loss.masked_fill(~mask, 0.0).sum() / mask.sum().clamp(min=1)


def average_checkpoints(checkpoints: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of checkpoints; the paper averages the last 5 of the base model, and the last 20 of the big one.

    Source: Section 6.1
    """
    return {name: torch.stack([state[name] for state in checkpoints]).mean(dim=0) for name in checkpoints[0]}


@torch.no_grad()
def greedy_search(
    model: Transformer,
    source: Int[Tensor, "b n"],
    lengths: Int[Tensor, " b"],
    bos: int,
    eos: int,
    extra_length: int = 50,
) -> Int[Tensor, "b m"]:
    """Decode greedily: append the most probable token at each step.

    Source: Section 3.1 (auto-regressive); Section 6.1 for the longest output

    Args:
        model: A model, set to `eval()`.
        source: The source sentences, padded at the end with any token.
        lengths: Their lengths without padding.
        bos: The token at the beginning of a sentence.
        eos: The token at the end of a sentence.
        extra_length: By how many tokens an output may be longer than its source.

    Returns:
        The outputs, padded with `eos`.
    """
    mask = padding_mask(lengths, source.shape[1])  # (b, 1, n)
    state = model.init_state(model.encode(source, mask), mask)
    tokens = source.new_full((len(source), 1), bos)
    done = lengths + extra_length < 1  # (b,)
    while not done.all():
        logits, state = model.decode_step(tokens[:, -1:], state)  # (b, 1, v)
        token = logits[:, -1].argmax(dim=-1).masked_fill(done, eos)  # (b,)
        tokens = torch.cat([tokens, token[:, None]], dim=1)
        done = done | (token == eos) | (tokens.shape[1] > lengths + extra_length)
    return tokens[:, 1:]


def length_penalty(length: Int[Tensor, "*b"], alpha: float = 0.6) -> Float[Tensor, "*b"]:
    r"""Return the length penalty, by which a hypothesis's log-probability is divided.

    Source: Wu et al. 2016 (GNMT), Eq. 14, which Section 6.1 cites
        $$lp(Y) = \frac{(5 + |Y|)^\alpha}{(5 + 1)^\alpha}$$

    Without it, short hypotheses would win. The length counts `eos`, but not `bos`.
    """
    return ((5.0 + length) / 6.0) ** alpha


@dataclass(frozen=True)
class Beam:
    """The hypotheses of each sentence, best first."""

    tokens: Int[Tensor, "b k m"]
    log_probs: Float[Tensor, "b k"]
    length: Int[Tensor, "b k"]
    done: Bool[Tensor, "b k"]

    def grow(
        self, log_probs: Float[Tensor, "b k v"], eos: int, max_length: Int[Tensor, "b 1"], alpha: float
    ) -> tuple["Beam", Int[Tensor, "b k"]]:
        """Return the best hypotheses that are one token longer, and the index of the hypothesis that each extends.

        A finished hypothesis stays as it is: its only continuation is `eos`, with probability 1 and no added length.
        """
        log_probs = log_probs.masked_fill(self.done[..., None], -math.inf)
        log_probs[..., eos] = log_probs[..., eos].masked_fill(self.done, 0.0)
        log_probs = self.log_probs[..., None] + log_probs  # (b, k, v)
        length = self.length + ~self.done  # (b, k)
        scores = log_probs / length_penalty(length, alpha)[..., None]  # (b, k, v)
        best = scores.flatten(1).topk(scores.shape[1], dim=1).indices  # (b, k), into k · v continuations
        parent, token = best // scores.shape[2], best % scores.shape[2]  # (b, k) each
        tokens = torch.cat([self.tokens.take_along_dim(parent[..., None], dim=1), token[..., None]], dim=2)
        log_probs, length = log_probs.flatten(1).gather(1, best), length.gather(1, parent)
        return Beam(tokens, log_probs, length, done=(token == eos) | (length >= max_length)), parent


@torch.no_grad()
def beam_search(
    model: Transformer,
    source: Int[Tensor, "b n"],
    lengths: Int[Tensor, " b"],
    bos: int,
    eos: int,
    beam_size: int = 4,
    alpha: float = 0.6,
    extra_length: int = 50,
) -> tuple[Int[Tensor, "b m"], Float[Tensor, " b"]]:
    r"""Decode by beam search, and return the best hypothesis of each sentence.

    Source: Section 6.1; the score is Wu et al. 2016 (GNMT), Eq. 14 without its coverage
        $$s(Y, X) = \log P(Y \mid X) / lp(Y)$$

    A search with `beam_size=1` is greedy.

    Departs: finished hypotheses stay in the beam and compete with the others. The public code keeps them in a list of
    their own.

    Args:
        model: A model, set to `eval()`.
        source: The source sentences, padded at the end with any token.
        lengths: Their lengths without padding.
        bos: The token at the beginning of a sentence.
        eos: The token at the end of a sentence.
        beam_size: The number of hypotheses for each sentence.
        alpha: The exponent of the length penalty; 0 for none.
        extra_length: By how many tokens an output may be longer than its source.

    Returns:
        The best outputs, padded with `eos`, and their scores.

    Raises:
        ValueError: `beam_size` is less than 1.
    """
    if beam_size < 1:
        raise ValueError(f"beam_size {beam_size} is less than 1")
    b, mask = len(source), padding_mask(lengths, source.shape[1])  # (b, 1, n)
    rows = torch.arange(b, device=source.device)[:, None]  # (b, 1)
    state = model.init_state(model.encode(source, mask), mask).index_select(rows.expand(b, beam_size).flatten())
    max_length = (lengths + extra_length)[:, None]
    # All hypotheses are equal at the start: only the first may be extended, or each would be found `beam_size` times.
    log_probs = torch.full((b, beam_size), -math.inf, device=source.device).index_fill(1, rows[:1, 0], 0.0)
    length = torch.zeros_like(log_probs, dtype=torch.long)
    beam = Beam(source.new_full((b, beam_size, 1), bos), log_probs, length, length >= max_length)
    while not beam.done.all():
        logits, state = model.decode_step(beam.tokens[:, :, -1].reshape(-1, 1), state)  # (b · k, 1, v)
        beam, parent = beam.grow(logits[:, -1].log_softmax(dim=-1).reshape(b, beam_size, -1), eos, max_length, alpha)
        state = state.index_select((rows * beam_size + parent).flatten())
    score, best = (beam.log_probs / length_penalty(beam.length, alpha)).max(dim=1)
    longest = int(beam.length[rows[:, 0], best].max())
    return beam.tokens[rows[:, 0], best, 1 : longest + 1], score


# Answers


def path_length() -> None:
    """
    Answers: transformer.path-length
        Attention connects any two positions in one step, however far apart they are: the path between them has length
        $O(1)$, in a recurrent network $O(n)$ (Section 4, Table 1). Below, the graph of autograd is searched for the
        shortest path from the last output to the first word. With attention it is as long for 64 words as for 4; with
        recurrence it is 16 times as long.

        >>> import torch
        >>> from torch import nn
        >>> from reference_impl.transformer import EncoderLayer
        >>> def operations_between(word, output):
        ...     steps, front = 0, {output.grad_fn}
        ...     while not any(getattr(node, "variable", None) is word for node in front):
        ...         front = {before for node in front for before, _ in node.next_functions if before}
        ...         steps += 1
        ...     return steps
        >>> _ = torch.manual_seed(0)
        >>> layer, cell = EncoderLayer(16, 2, 32), nn.RNNCell(16, 16)
        >>> attended, recurred = [], []
        >>> for n in (4, 16, 64):
        ...     words = [torch.randn(16, requires_grad=True) for _ in range(n)]
        ...     attended.append(operations_between(words[0], layer(torch.stack(words)[None])[0, -1]))
        ...     state = torch.zeros(16)
        ...     for word in words:
        ...         state = cell(word, state)
        ...     recurred.append(operations_between(words[0], state))
        >>> len(set(attended))
        1
        >>> [steps // recurred[0] for steps in recurred]
        [1, 4, 16]

        Gradients take the same paths. Compare the gradient's norm at the first word with that at the last word but one,
        before training. With attention, both have the same order of magnitude. With an LSTM, the gradient at the first
        word vanishes, even if the forget gate's bias is initialized with 1.

        >>> def first_to_last(layer, n):
        ...     x = torch.randn(1, n, 32, requires_grad=True)
        ...     output = layer(x)[0, -1]
        ...     gradient, = torch.autograd.grad(output @ torch.randn(32), x)
        ...     return (gradient[0, 0].norm() / gradient[0, -2].norm()).item()
        >>> attention, lstm = EncoderLayer(32, 4, 64, dropout=0.0), nn.LSTM(32, 32, batch_first=True)
        >>> with torch.no_grad():
        ...     _ = lstm.bias_ih_l0[32:64].fill_(1.0), lstm.bias_hh_l0.zero_()
        >>> [first_to_last(attention, n) > 0.1 for n in (16, 64, 256)]
        [True, True, True]
        >>> [first_to_last(lambda x: lstm(x)[0], n) < limit for n, limit in ((16, 0.3), (64, 1e-3), (256, 1e-9))]
        [True, True, True]
    """


def why_not_an_rnn() -> None:
    """
    Answers: transformer.why-not-an-rnn
        First, for parallel training. One call of the Transformer computes the logits of all target positions, where a
        recurrent network must go from one position to the next. Decoding position by position, with a cache of keys and
        values, gives the same logits.

        >>> import torch
        >>> from torch import nn
        >>> from reference_impl.transformer import Transformer
        >>> _ = torch.manual_seed(0)
        >>> model = Transformer(50, d_model=64, heads=4, d_ff=128, layers=2).eval()
        >>> source, target = torch.randint(50, (1, 200)), torch.randint(50, (1, 6))
        >>> state, one_by_one = model.init_state(model.encode(source)), []
        >>> for token in target.split(1, dim=1):
        ...     logits, state = model.decode_step(token, state)
        ...     one_by_one.append(logits)
        >>> torch.allclose(model(source, target), torch.cat(one_by_one, dim=1), atol=1e-4)
        True

        Second, for access to the whole source. The decoder attends to every source token, where an RNN encoder-decoder
        passes on one vector of fixed size ([[bahdanau]] was the first to change that). Change the first of 200 tokens:
        the last state of an untrained GRU stays the same up to rounding, and the Transformer's output changes. Its
        gradient reaches all 200 vectors of the memory directly.

        >>> embed, gru = nn.Embedding(50, 64), nn.GRU(64, 64, batch_first=True)
        >>> other = source.index_fill(1, torch.tensor([0]), (source[0, 0].item() + 1) % 50)
        >>> def memory_sizes(source):
        ...     return model.encode(source).numel(), gru(embed(source))[1].numel()
        >>> [memory_sizes(source[:, :n]) for n in (5, 50)]
        [(320, 64), (3200, 64)]
        >>> bool((gru(embed(source))[1] - gru(embed(other))[1]).abs().max() < 1e-6)
        True
        >>> bool((model(source, target) - model(other, target)).abs().max() > 1e-3)
        True
        >>> memory = model.encode(source).detach().requires_grad_()
        >>> model.decode_step(target, model.init_state(memory))[0].square().sum().backward()
        >>> int(memory.grad.any(dim=-1).sum())
        200

        Third, for cost: a self-attention layer takes $O(n^2 d)$ operations and a recurrent layer $O(n d^2)$ (Table 1),
        so attention is cheaper if the sentence is short relative to the width. Below is the ratio of both counts at $d
        = 64$. It is 1 at $n = d/2$, since attention takes two matrix products and recurrence one.

        >>> from torch.utils.flop_counter import FlopCounterMode
        >>> def attention(x):
        ...     return (x @ x.T).softmax(dim=-1) @ x
        >>> def recurrence(x):
        ...     state, matrix = x.new_zeros(1, 64), torch.randn(64, 64)
        ...     for word in x:
        ...         state = (state @ matrix + word).tanh()
        >>> def cost(layer, n):
        ...     with FlopCounterMode(display=False) as counter:
        ...         _ = layer(torch.randn(n, 64))
        ...     return counter.get_total_flops()
        >>> [cost(attention, n) / cost(recurrence, n) for n in (16, 32, 256)]
        [0.5, 1.0, 8.0]
    """


def any_length() -> None:
    """
    Answers: transformer.any-length
        Of any length up to a maximum. The maximum is not in the weights of attention: the same model encodes 5 tokens
        or 2,000.

        >>> import torch
        >>> from reference_impl.layers.attention import padding_mask
        >>> from reference_impl.layers.positions import LearnedPositions, sinusoidal_positions
        >>> from reference_impl.transformer import Transformer
        >>> _ = torch.manual_seed(0)
        >>> model = Transformer(20, d_model=16, heads=2, d_ff=32, layers=1).eval()
        >>> [model.encode(torch.randint(20, (1, n))).shape[1] for n in (5, 2000)]
        [5, 2000]

        Three things set the maximum. First, learned positions: their table has a fixed number of rows (BERT's has 512).
        Sinusoids are defined at every position. Whether a model is any good at lengths that it was not trained on is
        another question; Section 3.5 hopes so, and the paper does not test it.

        >>> sinusoidal_positions(100_000, 16)[-1].isfinite().all().item()
        True
        >>> LearnedPositions(max_length=512, d=16)(513)
        Traceback (most recent call last):
            ...
        ValueError: length 513 exceeds the 512 positions of the table

        Second, memory: attention weights are computed for every pair of positions, so ten times the length takes a
        hundred times the memory.

        >>> attention = model.encoder[0].self_attention
        >>> short, long = torch.randn(1, 30, 16), torch.randn(1, 300, 16)
        >>> pairs = [attention.attention_weights(x, x).numel() for x in (short, long)]
        >>> pairs[1] // pairs[0]
        100

        Third, the batch: all its sentences are padded to the longest one. A mask excludes the padding from attention,
        so the tokens at padded positions change no output. Without the mask they do.

        >>> sentence, padding = torch.randint(20, (1, 5)), torch.randint(20, (1, 7))
        >>> alone = model.encode(sentence)
        >>> padded = model.encode(torch.cat([sentence, padding], dim=1), padding_mask(torch.tensor([5]), 12))
        >>> torch.allclose(alone, padded[:, :5], atol=1e-5)
        True
        >>> unmasked = model.encode(torch.cat([sentence, padding], dim=1))
        >>> torch.allclose(alone, unmasked[:, :5], atol=0.01)
        False
    """


def lengths_of_input_and_output() -> None:
    """
    Answers: transformer.lengths-of-input-and-output
        The memory $z$ has as many vectors as the source $x$ has tokens: self-attention returns one vector for each
        query, and the residual connection adds the two. The target may have any length $m$: in cross-attention the
        queries come from the target, and the keys and values from the memory.

        >>> import torch
        >>> from reference_impl.layers.attention import scaled_dot_product_attention
        >>> from reference_impl.transformer import Transformer, greedy_search
        >>> _ = torch.manual_seed(0)
        >>> model = Transformer(20, d_model=16, heads=2, d_ff=32, layers=2).eval()
        >>> source = torch.randint(2, 20, (1, 5))
        >>> model.encode(source).shape
        torch.Size([1, 5, 16])
        >>> [tuple(model(source, torch.randint(20, (1, m))).shape) for m in (1, 5, 9)]
        [(1, 1, 20), (1, 5, 20), (1, 9, 20)]

        The length of the output is not fixed beforehand: decoding stops after the token `eos`. For 30 sources of five
        tokens each, even an untrained model generates outputs of more than three different lengths. After the first
        `eos` of an output there is only padding, which is `eos` too.

        >>> _ = torch.manual_seed(1)
        >>> model, sources = Transformer(4, 16, 2, 32, layers=2).eval(), torch.randint(4, (30, 5))
        >>> written = greedy_search(model, sources, torch.full((30,), 5), bos=0, eos=1, extra_length=20)
        >>> len((written != 1).sum(dim=1).unique()) > 3, bool((written == 1).int().diff(dim=1).min() >= 0)
        (True, True)

        Equal length does not imply equal width. A token is one integer, its embedding has $d$ entries, and attention
        returns vectors as wide as its values (20 here, with queries and keys of 8). Only the residual connection
        requires that input and output have the same width, and the projection $W^O$ provides it.

        >>> scaled_dot_product_attention(torch.randn(4, 8), torch.randn(3, 8), torch.randn(3, 20)).shape
        torch.Size([4, 20])
    """


def order_without_positions() -> None:
    """
    Answers: transformer.order-without-positions
        Not in the encoder. Without positions, the encoder is equivariant to permutations: if the words are permuted,
        the outputs are the same vectors, permuted likewise. With positions it is not.

        >>> import torch
        >>> from reference_impl.transformer import Transformer
        >>> _ = torch.manual_seed(0)
        >>> model = Transformer(20, d_model=16, heads=2, d_ff=32, layers=2).eval()
        >>> words, order = torch.randn(1, 6, 16), torch.tensor([4, 2, 0, 5, 1, 3])
        >>> torch.allclose(model.run_encoder(words[:, order]), model.run_encoder(words)[:, order], atol=1e-5)
        True
        >>> tokens = torch.arange(6)[None]
        >>> torch.allclose(model.encode(tokens[:, order]), model.encode(tokens)[:, order], atol=0.01)
        False

        In the decoder, the causal mask is a second source of order: each position attends to the set of positions
        before it. Below, the first five of six words are permuted, and the output at the last word is compared. With
        one layer it stays the same, since that layer sees a set. With two layers it changes, since the inputs of the
        second layer depend on what preceded each word.

        >>> def last(words, layers):
        ...     torch.manual_seed(1)
        ...     model = Transformer(20, d_model=16, heads=2, d_ff=32, layers=layers).eval()
        ...     return model.run_decoder(words, model.init_state(torch.ones(1, 1, 16)))[0][:, -1]
        >>> before = torch.tensor([4, 2, 0, 1, 3, 5])
        >>> [torch.allclose(last(words, layers), last(words[:, before], layers), atol=1e-4) for layers in (1, 2)]
        [True, False]
    """


def layer_anatomy() -> None:
    """
    Answers: transformer.layer-anatomy
        An encoder layer has two sublayers, self-attention and a feed-forward network; a decoder layer has
        cross-attention to the memory between them. Around each sublayer is a residual connection, followed by layer
        normalization. Below are their numbers of parameters in the base model. Six layers of each kind and one matrix
        of 37,000 embeddings are the whole model.

        >>> import torch
        >>> from reference_impl.transformer import DecoderLayer, EncoderLayer, Transformer
        >>> def size(module):
        ...     return sum(p.numel() for p in module.parameters())
        >>> encoder_layer, decoder_layer = EncoderLayer(512, 8, 2048), DecoderLayer(512, 8, 2048)
        >>> for name, part in decoder_layer.named_children():
        ...     print(f"{name:24}{size(part):>9,}")
        self_attention          1,050,624
        cross_attention         1,050,624
        feed_forward            2,099,712
        around_self_attention       1,024
        around_cross_attention      1,024
        around_feed_forward         1,024
        >>> size(decoder_layer) - size(encoder_layer) == size(decoder_layer.cross_attention) + 1024
        True
        >>> 6 * size(encoder_layer) + 6 * size(decoder_layer) + 37_000 * 512, size(Transformer(vocab_size=37_000))
        (63082496, 63082496)

        Attention mixes positions; the feed-forward network works on each position separately. Change one word, and see
        at which positions the output of each sublayer changes.

        >>> layer, x = EncoderLayer(16, 2, 32, dropout=0.0), torch.randn(1, 5, 16)
        >>> other = x.index_fill(1, torch.tensor([2]), 0.0)
        >>> def changed(part):
        ...     return (part(x) != part(other)).any(dim=-1)[0].tolist()
        >>> changed(layer.feed_forward)
        [False, False, True, False, False]
        >>> changed(lambda x: layer.self_attention(x, x, x))
        [True, True, True, True, True]

        Composed by hand, the sublayers give the output of the layer.

        >>> first_norm, second_norm = layer.around_self_attention.norm, layer.around_feed_forward.norm
        >>> middle = first_norm(x + layer.self_attention(x, x, x))
        >>> torch.allclose(layer(x), second_norm(middle + layer.feed_forward(middle)), atol=1e-6)
        True
    """


def input_embeddings() -> None:
    r"""
    Answers: transformer.input-embeddings
        A token is an integer, the index of a row in the embedding matrix. That row, with $d_{model}$ learned entries,
        is the token's embedding. The lookup equals the product of a one-hot vector with the matrix. The embedding is
        then multiplied by $\sqrt{d_{model}}$, and the positional encoding is added.

        >>> import torch
        >>> from torch.nn import functional as F
        >>> from reference_impl.layers.positions import sinusoidal_positions
        >>> from reference_impl.transformer import Embedding, Transformer, label_smoothed_cross_entropy
        >>> _ = torch.manual_seed(0)
        >>> embedding, tokens = Embedding(vocab_size=9, d_model=16, dropout=0.0), torch.tensor([[3, 1, 3]])
        >>> by_hand = F.one_hot(tokens, 9).float() @ embedding.weight * 16**0.5 + sinusoidal_positions(3, 16)
        >>> torch.allclose(embedding(tokens), by_hand, atol=1e-6)
        True

        The gradient through the input reaches only the rows of the tokens that occur.

        >>> torch.autograd.grad(embedding(tokens).square().sum(), embedding.weight)[0].any(dim=1).nonzero().flatten()
        tensor([1, 3])

        Embeddings learn how a token is used. Let 32 words be 16 pairs of synonyms, and train the model to translate
        both words of a pair to the same token. Before training the rows of synonyms are no more similar than others;
        afterwards they are, though the pairs were never given to the model.

        >>> words = torch.arange(32)
        >>> meaning, bos = 32 + words // 2, torch.full((32, 1), 48)
        >>> model = Transformer(49, d_model=16, heads=2, d_ff=32, layers=1, dropout=0.0)
        >>> def similarity():
        ...     rows = F.normalize(model.embedding.weight.detach()[:32], dim=1)
        ...     cosines, synonyms = rows @ rows.T, meaning[:, None] == meaning
        ...     return cosines[synonyms.triu(1)].mean(), cosines[~synonyms].mean()
        >>> synonyms, others = similarity()
        >>> bool(abs(synonyms - others) < 0.2)
        True
        >>> optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        >>> for _ in range(40):
        ...     optimizer.zero_grad()
        ...     label_smoothed_cross_entropy(model(words[:, None], bos), meaning[:, None]).backward()
        ...     _ = optimizer.step()
        >>> synonyms, others = similarity()
        >>> bool(synonyms > others + 0.2)
        True
    """


def sequence_transduction() -> None:
    """
    Answers: transformer.sequence-transduction
        An example: decimal numbers to Roman numerals, from two characters to between one and eight. The model is
        trained for 120 steps on the numbers below 100 with the paper's optimizer. Three numbers are held out of the
        training, and the model gets them right too. (With 96 training examples that is partly luck: with another seed,
        one of the three may be wrong.)

        >>> import torch
        >>> from reference_impl.transformer import Transformer, build_optimizer, greedy_search
        >>> from reference_impl.transformer import label_smoothed_cross_entropy
        >>> tens = ["", "X", "XX", "XXX", "XL", "L", "LX", "LXX", "LXXX", "XC"]
        >>> ones = ["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"]
        >>> roman = {10 * ten + one: tens[ten] + ones[one] for ten in range(10) for one in range(10)}
        >>> unseen = [17, 42, 93]
        >>> seen = [number for number in range(1, 100) if number not in unseen]
        >>> signs = "<>0123456789IVXLC"
        >>> def tokens(texts):
        ...     longest = max(map(len, texts))
        ...     return torch.tensor([[signs.index(sign) for sign in text.ljust(longest, ">")] for text in texts])
        >>> source = tokens([f"{number:02}" for number in seen])
        >>> target = tokens([f"<{roman[number]}>" for number in seen])
        >>> real = target[:, :-1] != 1
        >>> _ = torch.manual_seed(2)
        >>> model = Transformer(len(signs), d_model=32, heads=4, d_ff=64, layers=1, dropout=0.0)
        >>> optimizer, schedule = build_optimizer(model, warmup=300)
        >>> for _ in range(120):
        ...     optimizer.zero_grad()
        ...     label_smoothed_cross_entropy(model(source, target[:, :-1]), target[:, 1:], real).backward()
        ...     _ = optimizer.step(), schedule.step()
        >>> def transduce(numbers):
        ...     source, lengths = tokens([f"{number:02}" for number in numbers]), torch.full((len(numbers),), 2)
        ...     written = greedy_search(model.eval(), source, lengths, bos=0, eos=1)
        ...     return ["".join(signs[token] for token in row).rstrip(">") for row in written.tolist()]
        >>> transduce(seen) == [roman[number] for number in seen]
        True
        >>> transduce(unseen)
        ['XVII', 'XLII', 'XCIII']
    """


def why_warm_up() -> None:
    r"""
    Answers: transformer.why-warm-up
        Because a stack with post-norm does not survive large steps at the beginning. Below, ten layers learn to replace
        each of 8 tokens by another. With the schedule of Eq. 3 they learn it. If the same schedule starts at its
        highest rate, they have learned nothing after 60 steps: the loss is that of guessing, $\ln 8 = 2.08$. With
        pre-norm they learn it without warm-up. Xiong et al. 2020 found the same in translation, and suppose that one
        reason is the large gradients near the output ([[transformer.pre-norm]]). It can't be the only one, since Adam
        divides each gradient by its own scale.

        >>> import torch
        >>> from torch import nn
        >>> from torch.nn import functional as F
        >>> from reference_impl.transformer import Embedding, EncoderLayer, PostNorm, PreNorm, noam_learning_rate
        >>> def rising(step):
        ...     return noam_learning_rate(step, d_model=100, warmup=40)
        >>> def highest_at_once(step):
        ...     return rising(max(step, 40))
        >>> [[round(rate(step), 4) for step in (1, 20, 40, 60)] for rate in (rising, highest_at_once)]
        [[0.0004, 0.0079, 0.0158, 0.0129], [0.0158, 0.0158, 0.0158, 0.0129]]
        >>> def loss_in_the_end(residual, rate):
        ...     _ = torch.manual_seed(0)
        ...     layers = [EncoderLayer(16, 2, 32, dropout=0.0, residual=residual) for _ in range(10)]
        ...     embedding, stack = Embedding(8, 16, dropout=0.0), nn.Sequential(*layers, residual.final_norm(16))
        ...     weights = [*embedding.parameters(), *stack.parameters()]
        ...     optimizer, losses = torch.optim.Adam(weights, betas=(0.9, 0.98), eps=1e-9), []
        ...     for step in range(1, 61):
        ...         optimizer.param_groups[0]["lr"] = rate(step)
        ...         tokens = torch.randint(8, (8, 6))
        ...         logits = embedding.logits(stack(embedding(tokens)))
        ...         loss = F.cross_entropy(logits.flatten(0, 1), ((tokens + 1) % 8).flatten())
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         optimizer.step()
        ...         losses.append(loss.item())
        ...     return sum(losses[-5:]) / 5
        >>> loss_in_the_end(PostNorm, rising) < 0.5, loss_in_the_end(PostNorm, highest_at_once) > 2
        (True, True)
        >>> loss_in_the_end(PreNorm, highest_at_once) < 0.2
        True
    """


def pre_norm() -> None:
    r"""
    Answers: transformer.pre-norm
        Their size, and how it depends on depth. Below is the norm of the gradient of each decoder layer's $W_2$ before
        training. With post-norm that of the last layer is about the same for 2 and for 18 layers, and layers further
        from the output get ever less. With pre-norm the last layer's gets smaller with the number of layers $L$ (the
        bound in Theorem 1 of Xiong et al. 2020 goes with $1/\sqrt L$), and the first layer's is of the same order.

        >>> import torch
        >>> from reference_impl.transformer import PostNorm, PreNorm, Transformer, label_smoothed_cross_entropy
        >>> def gradients(residual, layers):
        ...     _ = torch.manual_seed(0)
        ...     norms = torch.zeros(layers)
        ...     for _ in range(4):
        ...         model = Transformer(50, 32, heads=2, d_ff=64, layers=layers, dropout=0.0, residual=residual)
        ...         source, target = torch.randint(50, (4, 12)), torch.randint(50, (4, 13))
        ...         label_smoothed_cross_entropy(model(source, target[:, :-1]), target[:, 1:]).backward()
        ...         norms += torch.stack([layer.feed_forward[2].weight.grad.norm() for layer in model.decoder]) / 4
        ...     return norms
        >>> post, pre = ([gradients(residual, layers) for layers in (2, 18)] for residual in (PostNorm, PreNorm))
        >>> bool(0.7 < post[1][-1] / post[0][-1] < 1.5), bool(1.6 < pre[0][-1] / pre[1][-1] < 4)
        (True, True)
        >>> bool(post[1][0] / post[1][-1] < 0.05), bool(0.5 < pre[1][0] / pre[1][-1] < 4)
        (True, True)

        The reason: with pre-norm each layer adds to the residual stream, whose variance grows with depth, and the final
        layer norm divides by its root, in the backward pass too. With post-norm each sum is normalized at once.

        >>> def variances(residual):
        ...     _ = torch.manual_seed(0)
        ...     model = Transformer(50, 32, heads=2, d_ff=64, layers=18, residual=residual).eval()
        ...     x, found = model.embedding(torch.randint(50, (4, 12))), []
        ...     for layer in model.encoder:
        ...         x = layer(x)
        ...         found.append(x.var().item())
        ...     return found
        >>> post, pre = variances(PostNorm), variances(PreNorm)
        >>> max(abs(variance - 1) for variance in post) < 0.01, pre[17] > pre[8] + 4 > pre[0] + 8
        (True, True)
    """


def key_value_cache() -> None:
    """
    Answers: transformer.key-value-cache
        Memory: for each token two vectors in each layer, a key and a value of all heads. In the base model in float32
        that is 2 · 6 · 512 · 4 = 24,576 bytes for each target token. The keys and values of cross-attention take as
        much for each source token; they are computed once.

        >>> import torch
        >>> from torch.utils.flop_counter import FlopCounterMode
        >>> from reference_impl.transformer import Transformer
        >>> _ = torch.manual_seed(0)
        >>> model = Transformer(vocab_size=100).eval()
        >>> source, target = torch.randint(100, (1, 7)), torch.randint(100, (1, 12))
        >>> def size(keys_values):
        ...     return sum(part.numel() * part.element_size() for layer in keys_values for part in layer)
        >>> with torch.no_grad():
        ...     start = model.init_state(model.encode(source))
        ...     state, sizes, logits = start, [], []
        ...     for token in target.split(1, dim=1):
        ...         new, state = model.decode_step(token, state)
        ...         sizes.append(size(state.past))
        ...         logits.append(new)
        >>> sizes == [24_576 * seen for seen in range(1, 13)], size(state.memory) == 24_576 * 7
        (True, True)

        It saves computing these again: without it, each new token costs a pass over all tokens so far. The logits are
        the same, and without a cache the last of 12 tokens takes 12 times as many operations.

        >>> with torch.no_grad():
        ...     uncached = [model.decode_step(target[:, :seen], start)[0][:, -1:] for seen in range(1, 13)]
        >>> all(torch.allclose(one, other, atol=1e-4) for one, other in zip(logits, uncached))
        True
        >>> def operations(tokens, state):
        ...     with torch.no_grad(), FlopCounterMode(display=False) as counter:
        ...         _ = model.decode_step(tokens, state)
        ...     return counter.get_total_flops()
        >>> before = model.decode_step(target[:, :-1], start)[1]
        >>> round(operations(target, start) / operations(target[:, -1:], before), 1)
        12.0
    """
