r"""The Transformer: an encoder-decoder that attends where others recur.

Source: Vaswani et al. 2017, "Attention Is All You Need"; sections and equations below are this paper's

Axes: $b$ sentences of a batch, $n$ source tokens, $m$ target tokens, $d$ the width $d_{model}$, $v$ tokens of the
vocabulary, $h$ heads, each $d_h$ wide, $k$ hypotheses of a beam. Masks are true where one may look.
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
from reference_impl.layers.positions import sinusoidal

KeysValues = tuple[Float[Tensor, "b h _ dh"], Float[Tensor, "b h _ dh"]]


class PostNorm(nn.Module):
    r"""Go round a sublayer and normalise the sum, as the paper prints it.

    Source: Section 3.1; the dropout is Section 5.4's
        $$\operatorname{LayerNorm}(x + \operatorname{Dropout}(\operatorname{Sublayer}(x)))$$
    """

    def __init__(self, d_model: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.dropout = nn.LayerNorm(d_model), nn.Dropout(dropout)

    def before(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return what the sublayer is given: x itself."""
        return x

    def after(self, x: Float[Tensor, "b n d"], change: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return what the next sublayer is given, x and the sublayer's change to it."""
        return self.norm(x + self.dropout(change))

    @staticmethod
    def last(d_model: int) -> nn.Module:
        """Return what ends a stack: nothing, since the last sum has been normalised."""
        return nn.Identity()


class PreNorm(nn.Module):
    r"""Go round a sublayer that is given a normalised input, as the authors' public code does since its second version.

    Source: tensor2tensor, `transformer_base_v2`; not in the paper
        $$x + \operatorname{Dropout}(\operatorname{Sublayer}(\operatorname{LayerNorm}(x)))$$
    """

    def __init__(self, d_model: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.dropout = nn.LayerNorm(d_model), nn.Dropout(dropout)

    def before(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return what the sublayer is given: x, normalised."""
        return self.norm(x)

    def after(self, x: Float[Tensor, "b n d"], change: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return what the next sublayer is given, x and the sublayer's change to it."""
        return x + self.dropout(change)

    @staticmethod
    def last(d_model: int) -> nn.Module:
        """Return what ends a stack: a norm, since nothing else bounds the sum of all changes."""
        return nn.LayerNorm(d_model)


class FeedForward(nn.Sequential):
    r"""Change each position by itself, and each in the same way.

    Source: Section 3.3, Eq. 2
        $$\operatorname{FFN}(x) = \max(0, xW_1 + b_1) W_2 + b_2$$
    """

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__(nn.Linear(d_model, d_ff), nn.ReLU(), nn.Linear(d_ff, d_model))


class EncoderLayer(nn.Module):
    """Let each position look at all of them, then change each by itself.

    Source: Section 3.1, Encoder; Figure 1, left
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
        """Return the positions as the next layer sees them."""
        inner = self.around_self_attention.before(x)
        x = self.around_self_attention.after(x, self.self_attention(inner, inner, inner, mask))
        inner = self.around_feed_forward.before(x)
        return self.around_feed_forward.after(x, self.feed_forward(inner))


class DecoderLayer(nn.Module):
    """Let each position look back, then at the memory, then change each by itself.

    Source: Section 3.1, Decoder; Section 3.2.3; Figure 1, right

    Keys and values come in and go out: those of the memory never change, and those of the past only grow. A decoder
    that keeps them computes each once. Training starts from an empty past and goes through all positions at once.
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
        memory: KeysValues,
        past: KeysValues,
        mask: Bool[Tensor, "..."] | None = None,
        memory_mask: Bool[Tensor, "..."] | None = None,
    ) -> tuple[Float[Tensor, "b m d"], KeysValues]:
        """Return the positions as the next layer sees them, and the past with their keys and values at its end."""
        inner = self.around_self_attention.before(y)
        new_keys, new_values = self.self_attention.keys_values(inner, inner)
        past = torch.cat([past[0], new_keys], dim=2), torch.cat([past[1], new_values], dim=2)
        y = self.around_self_attention.after(y, self.self_attention.attend(inner, *past, mask))
        inner = self.around_cross_attention.before(y)
        y = self.around_cross_attention.after(y, self.cross_attention.attend(inner, *memory, memory_mask))
        inner = self.around_feed_forward.before(y)
        return self.around_feed_forward.after(y, self.feed_forward(inner)), past


class Embedding(nn.Module):
    r"""Hold one vector a token: it stands for the token in both languages, and it scores the token as an output.

    Source: Sections 3.4 and 3.5
        $$x_i = \sqrt{d_{model}} \, E_{t_i} + PE_i, \qquad logits = y E^\top$$

    The numbers of $E$ begin with variance $1/d_{model}$, as in the public code: then the entries of
    $\sqrt{d_{model}} \, E$ have variance 1, the size of a sine, and so have the logits of a normalised output.

    Args:
        vocabulary: How many tokens, shared by source and target.
        d_model: The width of a vector.
        dropout: The share of the sum's entries that are dropped in training (Section 5.4).
    """

    def __init__(self, vocabulary: int, d_model: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(vocabulary, d_model) * d_model**-0.5)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Int[Tensor, "b n"], start: int = 0) -> Float[Tensor, "b n d"]:
        """Return the tokens' vectors with their positions, the first of which is `start`."""
        d_model = self.weight.shape[1]
        positions = sinusoidal(start + tokens.shape[1], d_model)[start:].to(self.weight)
        return self.dropout(F.embedding(tokens, self.weight) * math.sqrt(d_model) + positions)

    def logits(self, y: Float[Tensor, "b m d"]) -> Float[Tensor, "b m v"]:
        """Score every token of the vocabulary at every position."""
        return y @ self.weight.T


@dataclass(frozen=True)
class State:
    """What decoding carries from one step to the next: each layer's keys and values, of the memory and of the past."""

    memory: tuple[KeysValues, ...]
    past: tuple[KeysValues, ...]
    memory_mask: Bool[Tensor, "..."] | None = None

    @property
    def length(self) -> int:
        """Count the positions that have been decoded."""
        return self.past[0][0].shape[2]

    def pick(self, rows: Int[Tensor, " picked"]) -> "State":
        """Return the state of a batch made of these rows of this one; a row may be picked twice."""
        memory = tuple((keys[rows], values[rows]) for keys, values in self.memory)
        past = tuple((keys[rows], values[rows]) for keys, values in self.past)
        return State(memory, past, None if self.memory_mask is None else self.memory_mask[rows])


class Transformer(nn.Module):
    r"""Read one sequence, and write another with an eye on it.

    Source: Section 3 and Figure 1
        $$p(y_1, \dots, y_m \mid x) = \prod_{j=1}^m p(y_j \mid y_{<j}, z), \qquad z = \operatorname{encode}(x)$$

    The defaults are the base model of Table 3. The big one: `d_model=1024, heads=16, d_ff=4096, dropout=0.3`.

    Departs: the projections of attention have biases (`bias=False` takes them away). Weights begin as Glorot and Bengio
    draw them and biases at 0, each layer apart: the paper names no initialisation.

    Args:
        vocabulary: How many tokens, shared by source and target; Section 5.1 has about 37,000 for German.
        d_model: The width of every sublayer's input and output.
        heads: How many heads share that width.
        d_ff: The width inside the feed-forward network.
        layers: How many layers in each of the two stacks.
        dropout: The share dropped from each sublayer's output and from the embeddings.
        bias: Whether the projections of attention have biases.
        residual: Where the norm stands: `PostNorm`, as in the paper, or `PreNorm`.

    Raises:
        ValueError: There is no layer, or the width does not divide among the heads.
    """

    def __init__(
        self,
        vocabulary: int = 37_000,
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
        self.embedding = Embedding(vocabulary, d_model, dropout)
        self.encoder = nn.ModuleList(EncoderLayer(*size) for _ in range(layers))
        self.decoder = nn.ModuleList(DecoderLayer(*size) for _ in range(layers))
        self.encoder_last, self.decoder_last = residual.last(d_model), residual.last(d_model)
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
        """Score the token after each target token, all at once: the target is known in training.

        Args:
            source: The sentences to read.
            target: The sentences to write, shifted right: a token of beginning stands first, and the last is left out.
            source_mask: True where a source token is no padding.
            target_mask: True where a target token is no padding; not needed where padding stands at the end.
        """
        return self.step(target, self.start(self.encode(source, source_mask), source_mask), target_mask)[0]

    def encode(
        self, source: Int[Tensor, "b n"], source_mask: Bool[Tensor, "b 1 n"] | None = None
    ) -> Float[Tensor, "b n d"]:
        """Read the source: return the memory, one vector a token."""
        return self.read(self.embedding(source), source_mask)

    def read(
        self, x: Float[Tensor, "b n d"], source_mask: Bool[Tensor, "b 1 n"] | None = None
    ) -> Float[Tensor, "b n d"]:
        """Take vectors through the encoder's stack."""
        for layer in self.encoder:
            x = layer(x, source_mask)
        return self.encoder_last(x)

    def start(self, memory: Float[Tensor, "b n d"], source_mask: Bool[Tensor, "b 1 n"] | None = None) -> State:
        """Return the state before the first target token: all of the memory, and nothing of the past."""
        layers = cast(Iterable[DecoderLayer], self.decoder)  # a ModuleList does not tell what it holds
        keys_values = tuple(layer.cross_attention.keys_values(memory, memory) for layer in layers)
        nothing = tuple((keys[:, :, :0], values[:, :, :0]) for keys, values in keys_values)
        return State(keys_values, nothing, source_mask)

    def step(
        self, target: Int[Tensor, "b m"], state: State, target_mask: Bool[Tensor, "b 1 seen"] | None = None
    ) -> tuple[Float[Tensor, "b m v"], State]:
        """Score the token after each of these target tokens, which follow those that the state has seen."""
        y, state = self.write(self.embedding(target, state.length), state, target_mask)
        return self.embedding.logits(y), state

    def write(
        self, y: Float[Tensor, "b m d"], state: State, target_mask: Bool[Tensor, "b 1 seen"] | None = None
    ) -> tuple[Float[Tensor, "b m d"], State]:
        """Take vectors through the decoder's stack."""
        mask = causal_mask(state.length + y.shape[1], y.device)[state.length :]
        mask = mask if target_mask is None else mask & target_mask
        pasts = []
        for layer, memory, past in zip(self.decoder, state.memory, state.past, strict=True):
            y, past = layer(y, memory, past, mask, state.memory_mask)
            pasts.append(past)
        return self.decoder_last(y), State(state.memory, tuple(pasts), state.memory_mask)


def learning_rate(step: int, d_model: int = 512, warmup: int = 4000) -> float:
    r"""Return the rate of a step: it climbs in a line, and falls with the root of the steps.

    Source: Section 5.3, Eq. 3
        $$lrate = d_{model}^{-0.5} \cdot \min(step^{-0.5}, step \cdot warmup^{-1.5})$$

    Raises:
        ValueError: The step comes before the first, which is 1.
    """
    if step < 1:
        raise ValueError(f"step {step} comes before the first step, 1")
    return d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)


def adam(model: Transformer, warmup: int = 4000) -> tuple[torch.optim.Adam, LambdaLR]:
    """Return the optimiser and its schedule; call `step` of the one, then of the other, after each batch.

    Source: Section 5.3
    """
    optimiser = torch.optim.Adam(model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9)
    d_model = model.embedding.weight.shape[1]
    return optimiser, LambdaLR(optimiser, lambda done: learning_rate(done + 1, d_model, warmup))


def smoothed_loss(
    logits: Float[Tensor, "b m v"],
    target: Int[Tensor, "b m"],
    real: Bool[Tensor, "b m"] | None = None,
    smoothing: float = 0.1,
) -> Float[Tensor, ""]:
    r"""Return the mean cross-entropy with targets that are never quite certain, in nats a token.

    Source: Section 5.4, which cites Szegedy et al. 2016, Section 7
        $$q(k) = (1 - \epsilon_{ls}) \, [k = y] + \epsilon_{ls} / v$$

    Every token has a share of $\epsilon_{ls}$, the right one too, as in the work that is cited and in torch.

    Departs: the public code spreads $\epsilon_{ls}$ over the $v - 1$ wrong tokens, and then takes off the least value
    that the loss can have. Its $\epsilon$ is ours times $(v - 1)/v$.

    Args:
        logits: The scores of all tokens.
        target: The right tokens.
        real: True where the target is no padding; padding does not count.
        smoothing: The share that is spread, in [0, 1).

    Raises:
        ValueError: The share is none.
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing {smoothing} is not in [0, 1)")
    log_p = logits.log_softmax(dim=-1)
    right = log_p.gather(-1, target[..., None]).squeeze(-1)
    loss = -(1 - smoothing) * right - smoothing * log_p.mean(dim=-1)
    if real is None:
        return loss.mean()
    return loss.masked_fill(~real, 0.0).sum() / real.sum().clamp(min=1)


def average(checkpoints: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of the states of one model; the paper takes the last 5 of the base model, and 20 of the big one.

    Source: Section 6.1
    """
    return {name: torch.stack([state[name] for state in checkpoints]).mean(dim=0) for name in checkpoints[0]}


@torch.no_grad()
def greedy_search(
    model: Transformer,
    source: Int[Tensor, "b n"],
    lengths: Int[Tensor, " b"],
    begin: int,
    end: int,
    extra: int = 50,
) -> Int[Tensor, "b m"]:
    """Write the likeliest token, time after time.

    Source: Section 3.1 (auto-regressive); Section 6.1 for the longest output

    Args:
        model: A model, set to `eval()`.
        source: The sentences, padded at their ends with anything.
        lengths: How long each is.
        begin: The token that stands before the first.
        end: The token that ends a sentence.
        extra: By how much an output may outgrow its source.

    Returns:
        What was written, filled up with `end`.
    """
    mask = padding_mask(lengths, source.shape[1])
    state = model.start(model.encode(source, mask), mask)
    tokens = source.new_full((len(source), 1), begin)
    done = lengths + extra < 1
    while not done.all():
        logits, state = model.step(tokens[:, -1:], state)
        token = logits[:, -1].argmax(dim=-1).masked_fill(done, end)
        tokens = torch.cat([tokens, token[:, None]], dim=1)
        done = done | (token == end) | (tokens.shape[1] > lengths + extra)
    return tokens[:, 1:]


def length_penalty(length: Int[Tensor, "*b"], alpha: float = 0.6) -> Float[Tensor, "*b"]:
    r"""Return what a hypothesis's log-probability is divided by: long ones would lose to short ones without.

    Source: Wu et al. 2016 (GNMT), Eq. 14, which Section 6.1 cites
        $$lp(Y) = \frac{(5 + |Y|)^\alpha}{(5 + 1)^\alpha}$$

    The token of the end counts; that of the beginning does not.
    """
    return ((5.0 + length) / 6.0) ** alpha


@dataclass(frozen=True)
class Beam:
    """The hypotheses of each sentence, best first."""

    tokens: Int[Tensor, "b k m"]
    log_p: Float[Tensor, "b k"]
    length: Int[Tensor, "b k"]
    done: Bool[Tensor, "b k"]

    def grow(
        self, log_p: Float[Tensor, "b k v"], end: int, limit: Int[Tensor, "b 1"], alpha: float
    ) -> tuple["Beam", Int[Tensor, "b k"]]:
        """Return the best of all hypotheses that are one token longer, and which of the old ones each comes from.

        A finished one stays as it is: it has one continuation, `end`, which is certain and adds nothing to its length.
        """
        log_p = log_p.masked_fill(self.done[..., None], -math.inf)
        log_p[..., end] = log_p[..., end].masked_fill(self.done, 0.0)
        total, length = self.log_p[..., None] + log_p, self.length + ~self.done
        ranked = (total / length_penalty(length, alpha)[..., None]).flatten(1)
        best = ranked.topk(self.log_p.shape[1], dim=1).indices
        parent, token = best // log_p.shape[2], best % log_p.shape[2]
        tokens = torch.cat([self.tokens.take_along_dim(parent[..., None], dim=1), token[..., None]], dim=2)
        length = length.gather(1, parent)
        return Beam(tokens, total.flatten(1).gather(1, best), length, (token == end) | (length >= limit)), parent


@torch.no_grad()
def beam_search(
    model: Transformer,
    source: Int[Tensor, "b n"],
    lengths: Int[Tensor, " b"],
    begin: int,
    end: int,
    width: int = 4,
    alpha: float = 0.6,
    extra: int = 50,
) -> tuple[Int[Tensor, "b m"], Float[Tensor, " b"]]:
    r"""Write with several hypotheses in mind, and return the best that was found.

    Source: Section 6.1; the score is Wu et al. 2016 (GNMT), Eq. 14 without its coverage
        $$s(Y, X) = \log P(Y \mid X) / lp(Y)$$

    A search of width 1 is greedy.

    Departs: a finished hypothesis keeps its place in the beam for as long as its score lasts there. The public code
    keeps the finished ones apart.

    Args:
        model: A model, set to `eval()`.
        source: The sentences, padded at their ends with anything.
        lengths: How long each is.
        begin: The token that stands before the first.
        end: The token that ends a sentence.
        width: How many hypotheses are kept of each sentence.
        alpha: The exponent of the length penalty; 0 for none.
        extra: By how much an output may outgrow its source.

    Returns:
        What was written, filled up with `end`, and its score.

    Raises:
        ValueError: The width is less than 1.
    """
    if width < 1:
        raise ValueError(f"width {width} is less than 1")
    b, mask = len(source), padding_mask(lengths, source.shape[1])
    rows = torch.arange(b, device=source.device)[:, None]
    state = model.start(model.encode(source, mask), mask).pick(rows.expand(b, width).flatten())
    limit = (lengths + extra)[:, None]
    # All hypotheses begin alike, so all but the first are out of the question: else each would be found `width` times.
    log_p = torch.full((b, width), -math.inf, device=source.device).index_fill(1, rows[:1, 0], 0.0)
    length = torch.zeros_like(log_p, dtype=torch.long)
    beam = Beam(source.new_full((b, width, 1), begin), log_p, length, length >= limit)
    while not beam.done.all():
        logits, state = model.step(beam.tokens[:, :, -1].reshape(-1, 1), state)
        beam, parent = beam.grow(logits[:, -1].log_softmax(dim=-1).reshape(b, width, -1), end, limit, alpha)
        state = state.pick((rows * width + parent).flatten())
    score, best = (beam.log_p / length_penalty(beam.length, alpha)).max(dim=1)
    longest = int(beam.length[rows[:, 0], best].max())
    return beam.tokens[rows[:, 0], best, 1 : longest + 1], score
