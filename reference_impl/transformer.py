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
from reference_impl.layers.positions import sinusoidal_positions

KeyValue = tuple[Float[Tensor, "b h _ dh"], Float[Tensor, "b h _ dh"]]


class PostNorm(nn.Module):
    r"""Go round a sublayer and normalise the sum, as the paper prints it.

    Source: Section 3.1; the dropout is Section 5.4's
        $$\operatorname{LayerNorm}(x + \operatorname{Dropout}(\operatorname{Sublayer}(x)))$$
    """

    def __init__(self, d_model: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.dropout = nn.LayerNorm(d_model), nn.Dropout(dropout)

    def input(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return what the sublayer is given: x itself."""
        return x

    def output(self, x: Float[Tensor, "b n d"], change: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return what the next sublayer is given, x and the sublayer's change to it."""
        return self.norm(x + self.dropout(change))

    @staticmethod
    def final_norm(d_model: int) -> nn.Module:
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

    def input(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return what the sublayer is given: x, normalised."""
        return self.norm(x)

    def output(self, x: Float[Tensor, "b n d"], change: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return what the next sublayer is given, x and the sublayer's change to it."""
        return x + self.dropout(change)

    @staticmethod
    def final_norm(d_model: int) -> nn.Module:
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
    r"""Let each position look at all of them, then change each by itself.

    Source: Section 3.1, Encoder; Figure 1, left

    Answers: transformer.path-length
        Attention joins any two positions in one step, so what lies between them does not count: the path has length
        $O(1)$, where a recurrent network has $O(n)$ (Section 4, Table 1). Walk back through the operations from the
        last output to the first word, by the shortest way. With attention it is as long for 64 words as for 4; with
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

        A gradient goes the same ways. Compare what reaches the first word with what reaches the last word but one,
        before any training. Through attention it is about as much. Through an LSTM hardly any is left, even with a
        forget gate that begins open (a bias of 1).

        >>> def first_to_last(read, n):
        ...     x = torch.randn(1, n, 32, requires_grad=True)
        ...     output = read(x)[0, -1]
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
        inner = self.around_self_attention.input(x)
        x = self.around_self_attention.output(x, self.self_attention(inner, inner, inner, mask))
        inner = self.around_feed_forward.input(x)
        return self.around_feed_forward.output(x, self.feed_forward(inner))


class DecoderLayer(nn.Module):
    """Let each position look back, then at the memory, then change each by itself.

    Source: Section 3.1, Decoder; Section 3.2.3; Figure 1, right

    Keys and values come in and go out: those of the memory never change, and those of the past only grow. A decoder
    that keeps them computes each once. Training starts from an empty past and goes through all positions at once.

    Answers: transformer.layer-anatomy
        An encoder's layer has two sublayers, self-attention and a feed-forward network; a decoder's has attention to
        the memory between them. Round each goes a residual connection, and a norm follows the sum. Here are their
        numbers in the base model; six layers of each kind and one matrix of 37,000 embeddings make the whole.

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

        The sublayers share the work: attention alone carries something from one position to another. Change one
        word, and see which positions each part lets know.

        >>> layer, x = EncoderLayer(16, 2, 32, dropout=0.0), torch.randn(1, 5, 16)
        >>> other = x.index_fill(1, torch.tensor([2]), 0.0)
        >>> def knows(part):
        ...     return (part(x) != part(other)).any(dim=-1)[0].tolist()
        >>> knows(layer.feed_forward)
        [False, False, True, False, False]
        >>> knows(lambda x: layer.self_attention(x, x, x))
        [True, True, True, True, True]

        Put together by hand, they are the layer.

        >>> first_norm, second_norm = layer.around_self_attention.norm, layer.around_feed_forward.norm
        >>> middle = first_norm(x + layer.self_attention(x, x, x))
        >>> torch.allclose(layer(x), second_norm(middle + layer.feed_forward(middle)), atol=1e-6)
        True
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
        """Return the positions as the next layer sees them, and the past with their keys and values at its end."""
        inner = self.around_self_attention.input(y)
        new_keys, new_values = self.self_attention.keys_values(inner, inner)
        past = torch.cat([past[0], new_keys], dim=2), torch.cat([past[1], new_values], dim=2)
        y = self.around_self_attention.output(y, self.self_attention.attend(inner, *past, mask))
        inner = self.around_cross_attention.input(y)
        y = self.around_cross_attention.output(y, self.cross_attention.attend(inner, *memory, memory_mask))
        inner = self.around_feed_forward.input(y)
        return self.around_feed_forward.output(y, self.feed_forward(inner)), past


class Embedding(nn.Module):
    r"""Hold one vector a token: it stands for the token in both languages, and it scores the token as an output.

    Source: Sections 3.4 and 3.5
        $$x_i = \sqrt{d_{model}} \, E_{t_i} + PE_i, \qquad logits = y E^\top$$

    The numbers of $E$ begin with variance $1/d_{model}$, as in the public code: then the entries of
    $\sqrt{d_{model}} \, E$ have variance 1, the size of a sine, and so have the logits of a normalised output.

    Args:
        vocab_size: How many tokens, shared by source and target.
        d_model: The width of a vector.
        dropout: The share of the sum's entries that are dropped in training (Section 5.4).

    Answers: transformer.input-embeddings
        A token is a number that means nothing: which row of a matrix is its own. That row, $d_{model}$ learnt numbers,
        stands for it. To look a row up is to multiply a one-hot vector by the matrix. Then come the factor
        $\sqrt{d_{model}}$ and the position.

        >>> import torch
        >>> from torch.nn import functional as F
        >>> from reference_impl.layers.positions import sinusoidal_positions
        >>> from reference_impl.transformer import Embedding, Transformer, label_smoothed_cross_entropy
        >>> _ = torch.manual_seed(0)
        >>> embedding, tokens = Embedding(vocab_size=9, d_model=16, dropout=0.0), torch.tensor([[3, 1, 3]])
        >>> by_hand = F.one_hot(tokens, 9).float() @ embedding.weight * 16**0.5 + sinusoidal_positions(3, 16)
        >>> torch.allclose(embedding(tokens), by_hand, atol=1e-6)
        True

        As an input, a token teaches its own row and no other.

        >>> torch.autograd.grad(embedding(tokens).square().sum(), embedding.weight)[0].any(dim=1).nonzero().flatten()
        tensor([1, 3])

        What is learnt is use. Let 32 words be 16 pairs of synonyms, and let the model learn what each pair translates
        to. No two rows begin alike; afterwards those of synonyms do, though nobody told which belong together.

        >>> words = torch.arange(32)
        >>> meaning, begin = 32 + words // 2, torch.full((32, 1), 48)
        >>> model = Transformer(49, d_model=16, heads=2, d_ff=32, layers=1, dropout=0.0)
        >>> def likeness():
        ...     rows = F.normalize(model.embedding.weight.detach()[:32], dim=1)
        ...     cosines, synonyms = rows @ rows.T, meaning[:, None] == meaning
        ...     return cosines[synonyms.triu(1)].mean(), cosines[~synonyms].mean()
        >>> synonyms, others = likeness()
        >>> bool(abs(synonyms - others) < 0.2)
        True
        >>> adam = torch.optim.Adam(model.parameters(), lr=0.01)
        >>> for _ in range(40):
        ...     adam.zero_grad()
        ...     label_smoothed_cross_entropy(model(words[:, None], begin), meaning[:, None]).backward()
        ...     _ = adam.step()
        >>> synonyms, others = likeness()
        >>> bool(synonyms > others + 0.2)
        True
    """

    def __init__(self, vocab_size: int, d_model: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab_size, d_model).normal_(std=d_model**-0.5))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Int[Tensor, "b n"], past_length: int = 0) -> Float[Tensor, "b n d"]:
        """Return the tokens' vectors with their positions, the first of which is `past_length`."""
        d_model = self.weight.shape[1]
        positions = sinusoidal_positions(past_length + tokens.shape[1], d_model)[past_length:].to(self.weight)
        return self.dropout(F.embedding(tokens, self.weight) * math.sqrt(d_model) + positions)

    def logits(self, y: Float[Tensor, "b m d"]) -> Float[Tensor, "b m v"]:
        """Score every token of the vocabulary at every position."""
        return y @ self.weight.T


@dataclass(frozen=True)
class DecoderState:
    """What decoding carries from one step to the next: each layer's keys and values, of the memory and of the past."""

    memory: tuple[KeyValue, ...]
    past: tuple[KeyValue, ...]
    memory_mask: Bool[Tensor, "..."] | None = None

    @property
    def length(self) -> int:
        """Count the positions that have been decoded."""
        return self.past[0][0].shape[2]

    def index_select(self, rows: Int[Tensor, " picked"]) -> "DecoderState":
        """Return the state of a batch made of these rows of this one; a row may be picked twice."""
        memory = tuple((keys[rows], values[rows]) for keys, values in self.memory)
        past = tuple((keys[rows], values[rows]) for keys, values in self.past)
        return DecoderState(memory, past, None if self.memory_mask is None else self.memory_mask[rows])


class Transformer(nn.Module):
    r"""Read one sequence, and write another with an eye on it.

    Source: Section 3 and Figure 1
        $$p(y_1, \dots, y_m \mid x) = \prod_{j=1}^m p(y_j \mid y_{<j}, z), \qquad z = \operatorname{encode}(x)$$

    The defaults are the base model of Table 3. The big one: `d_model=1024, heads=16, d_ff=4096, dropout=0.3`.

    Departs: the projections of attention have biases (`bias=False` takes them away). Weights begin as Glorot and Bengio
    draw them and biases at 0, each layer apart: the paper names no initialisation.

    Args:
        vocab_size: How many tokens, shared by source and target; Section 5.1 has about 37,000 for German.
        d_model: The width of every sublayer's input and output.
        heads: How many heads share that width.
        d_ff: The width inside the feed-forward network.
        layers: How many layers in each of the two stacks.
        dropout: The share dropped from each sublayer's output and from the embeddings.
        bias: Whether the projections of attention have biases.
        residual: Where the norm stands: `PostNorm`, as in the paper, or `PreNorm`.

    Raises:
        ValueError: There is no layer, or the width does not divide among the heads.

    Answers: transformer.why-not-an-rnn
        Both are encoder-decoders; what differs is how a position learns of others. The Transformer needs no order of
        work: in training, one call scores all target positions, where a recurrent network must go from one to the
        next. Position by position gives the same scores, so nothing is lost by going through all at once.

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

        The decoder may look at every source token, while an RNN hands over one vector, however long the source
        ([[bahdanau]] mended that first). Change the first of 200 tokens: the last state of an untrained GRU hardly
        differs, and the Transformer's output does.

        >>> embed, gru = nn.Embedding(50, 64), nn.GRU(64, 64, batch_first=True)
        >>> other = source.index_fill(1, torch.tensor([0]), (source[0, 0].item() + 1) % 50)
        >>> def handed_over(source):
        ...     return model.encode(source).numel(), gru(embed(source))[1].numel()
        >>> [handed_over(source[:, :n]) for n in (5, 50)]
        [(320, 64), (3200, 64)]
        >>> bool((gru(embed(source))[1] - gru(embed(other))[1]).abs().max() < 1e-6)
        True
        >>> bool((model(source, target) - model(other, target)).abs().max() > 1e-3)
        True

        A layer also costs less while a sentence is short against the width of a vector: $O(n^2 d)$ for attention's
        mixing, $O(n d^2)$ for recurrence's (Table 1). Count the operations at $d = 64$, attention's by recurrence's.
        They draw level at $n = d/2$, since attention takes two products to recurrence's one.

        >>> from torch.utils.flop_counter import FlopCounterMode
        >>> def attention(x):
        ...     return (x @ x.T).softmax(dim=-1) @ x
        >>> def recurrence(x):
        ...     state, matrix = x.new_zeros(1, 64), torch.randn(64, 64)
        ...     for word in x:
        ...         state = (state @ matrix + word).tanh()
        >>> def cost(mix, n):
        ...     with FlopCounterMode(display=False) as counter:
        ...         _ = mix(torch.randn(n, 64))
        ...     return counter.get_total_flops()
        >>> [cost(attention, n) / cost(recurrence, n) for n in (16, 32, 256)]
        [0.5, 1.0, 8.0]

    Answers: transformer.sequence-transduction
        Digits go in and Roman numerals come out: two signs become one to eight. 120 steps over the numbers below 100
        teach it, by the paper's own optimizer. Three numbers are kept out of the training, and come out right too.
        (From 96 examples that is luck in part: with another seed one of the three may fail.)

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
        """Score the token after each target token, all at once: the target is known in training.

        Args:
            source: The sentences to read.
            target: The sentences to write, shifted right: a token of beginning stands first, and the last is left out.
            source_mask: True where a source token is no padding.
            target_mask: True where a target token is no padding; not needed where padding stands at the end.

        Answers: transformer.lengths-of-input-and-output
            The memory $z$ has as many vectors as the source $x$ has tokens, since self-attention returns a vector for
            each that asks, and a residual sum adds the two. The target may have any length $m$: its positions ask, and
            the source answers.

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

            The output's length is not chosen beforehand: the writer stops where it writes the end. From 30 sources,
            each five tokens long, even an untrained model makes outputs of many lengths.

            >>> _ = torch.manual_seed(3)
            >>> model, sources = Transformer(3, 16, 2, 32, layers=2).eval(), torch.randint(3, (30, 5))
            >>> written = greedy_search(model, sources, torch.full((30,), 5), bos=0, eos=1, extra_length=20)
            >>> len((written != 1).sum(dim=1).unique()) > 3
            True

            Equal length is not equal width. A token is one number and its vector has $d$; attention itself returns
            vectors as wide as its values (20 here, from queries and keys of 8). Only the residual sum asks that the
            width going in be the width coming out, and $W^O$ sees to that.

            >>> scaled_dot_product_attention(torch.randn(4, 8), torch.randn(3, 8), torch.randn(3, 20)).shape
            torch.Size([4, 20])
        """
        return self.decode_step(target, self.init_state(self.encode(source, source_mask), source_mask), target_mask)[0]

    def encode(
        self, source: Int[Tensor, "b n"], source_mask: Bool[Tensor, "b 1 n"] | None = None
    ) -> Float[Tensor, "b n d"]:
        r"""Read the source: return the memory, one vector a token.

        Answers: transformer.any-length
            Of any length up to a maximum, and the maximum is in nothing that attention learns: the same weights read 5
            tokens or 2,000.

            >>> import torch
            >>> from reference_impl.layers.attention import padding_mask
            >>> from reference_impl.layers.positions import LearnedPositions, sinusoidal_positions
            >>> from reference_impl.transformer import Transformer
            >>> _ = torch.manual_seed(0)
            >>> model = Transformer(20, d_model=16, heads=2, d_ff=32, layers=1).eval()
            >>> [model.encode(torch.randint(20, (1, n))).shape[1] for n in (5, 2000)]
            [5, 2000]

            It comes from three places. First, a table of learnt positions (BERT's has 512 rows) ends; sinusoids are
            defined at every position. Defined is not learnt, though: how well a model does beyond the lengths of its
            training is another question, which the paper hopes about and does not test.

            >>> sinusoidal_positions(100_000, 16)[-1].isfinite().all().item()
            True
            >>> LearnedPositions(max_length=512, d=16)(513)
            Traceback (most recent call last):
                ...
            ValueError: length 513 exceeds the 512 positions of the table

            Second, each layer weighs every pair, so ten times the length costs a hundred times the memory.

            >>> attention = model.encoder[0].self_attention
            >>> short, long = torch.randn(1, 30, 16), torch.randn(1, 300, 16)
            >>> pairs = [attention.attention_weights(x, x).numel() for x in (short, long)]
            >>> pairs[1] // pairs[0]
            100

            Third, a batch is as long as its longest sentence. The others are padded, and a mask keeps every position
            from looking at the padding: it changes nothing, whatever stands there.

            >>> sentence, padding = torch.randint(20, (1, 5)), torch.randint(20, (1, 7))
            >>> alone = model.encode(sentence)
            >>> padded = model.encode(torch.cat([sentence, padding], dim=1), padding_mask(torch.tensor([5]), 12))
            >>> torch.allclose(alone, padded[:, :5], atol=1e-5)
            True
            >>> careless = model.encode(torch.cat([sentence, padding], dim=1))
            >>> torch.allclose(alone, careless[:, :5], atol=0.01)
            False
        """
        return self.run_encoder(self.embedding(source), source_mask)

    def run_encoder(
        self, x: Float[Tensor, "b n d"], source_mask: Bool[Tensor, "b 1 n"] | None = None
    ) -> Float[Tensor, "b n d"]:
        """Take vectors through the encoder's stack.

        Answers: transformer.order-without-positions
            Not in the encoder. Without positions it is equivariant to permutations: put the words in another order,
            and the same vectors come out, in that order. Positions are what breaks this.

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

            In the decoder, the causal mask is a second source of order, though a weak one: a position knows what came
            before it as a set. The last of six words may look at all; put the five before it in another order. One
            layer cannot tell; two can, for by then each word has itself taken up what stood before it.

            >>> def last(words, layers):
            ...     torch.manual_seed(1)
            ...     model = Transformer(20, d_model=16, heads=2, d_ff=32, layers=layers).eval()
            ...     return model.run_decoder(words, model.init_state(torch.ones(1, 1, 16)))[0][:, -1]
            >>> before = torch.tensor([4, 2, 0, 1, 3, 5])
            >>> [torch.allclose(last(words, layers), last(words[:, before], layers), atol=1e-4) for layers in (1, 2)]
            [True, False]
        """
        for layer in self.encoder:
            x = layer(x, source_mask)
        return self.encoder_norm(x)

    def init_state(
        self, memory: Float[Tensor, "b n d"], source_mask: Bool[Tensor, "b 1 n"] | None = None
    ) -> DecoderState:
        """Return the state before the first target token: all of the memory, and nothing of the past."""
        layers = cast(Iterable[DecoderLayer], self.decoder)  # a ModuleList does not tell what it holds
        keys_values = tuple(layer.cross_attention.keys_values(memory, memory) for layer in layers)
        nothing = tuple((keys[:, :, :0], values[:, :, :0]) for keys, values in keys_values)
        return DecoderState(keys_values, nothing, source_mask)

    def decode_step(
        self, target: Int[Tensor, "b m"], state: DecoderState, target_mask: Bool[Tensor, "b 1 seen"] | None = None
    ) -> tuple[Float[Tensor, "b m v"], DecoderState]:
        """Score the token after each of these target tokens, which follow those that the state has seen."""
        y, state = self.run_decoder(self.embedding(target, state.length), state, target_mask)
        return self.embedding.logits(y), state

    def run_decoder(
        self, y: Float[Tensor, "b m d"], state: DecoderState, target_mask: Bool[Tensor, "b 1 seen"] | None = None
    ) -> tuple[Float[Tensor, "b m d"], DecoderState]:
        """Take vectors through the decoder's stack."""
        mask = causal_mask(state.length + y.shape[1], y.device)[state.length :]
        mask = mask if target_mask is None else mask & target_mask
        pasts = []
        for layer, memory, past in zip(self.decoder, state.memory, state.past, strict=True):
            y, past = layer(y, memory, past, mask, state.memory_mask)
            pasts.append(past)
        return self.decoder_norm(y), DecoderState(state.memory, tuple(pasts), state.memory_mask)


def noam_learning_rate(step: int, d_model: int = 512, warmup: int = 4000) -> float:
    r"""Return the rate of a step: it climbs in a line, and falls with the root of the steps.

    Source: Section 5.3, Eq. 3
        $$lrate = d_{model}^{-0.5} \cdot \min(step^{-0.5}, step \cdot warmup^{-1.5})$$

    Raises:
        ValueError: The step comes before the first, which is 1.
    """
    if step < 1:
        raise ValueError(f"step {step} comes before the first step, 1")
    return d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)


def build_optimizer(model: Transformer, warmup: int = 4000) -> tuple[torch.optim.Adam, LambdaLR]:
    """Return the optimizer and its schedule; call `step` of the one, then of the other, after each batch.

    Source: Section 5.3
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9)
    d_model = model.embedding.weight.shape[1]
    return optimizer, LambdaLR(optimizer, lambda done: noam_learning_rate(done + 1, d_model, warmup))


def label_smoothed_cross_entropy(
    logits: Float[Tensor, "b m v"],
    target: Int[Tensor, "b m"],
    mask: Bool[Tensor, "b m"] | None = None,
    label_smoothing: float = 0.1,
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
        mask: True where the target is no padding; padding does not count.
        label_smoothing: The share that is spread, in [0, 1).

    Raises:
        ValueError: The share is none.
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing {label_smoothing} is not in [0, 1)")
    log_p = logits.log_softmax(dim=-1)
    right = log_p.gather(-1, target[..., None]).squeeze(-1)
    loss = -(1 - label_smoothing) * right - label_smoothing * log_p.mean(dim=-1)
    if mask is None:
        return loss.mean()
    return loss.masked_fill(~mask, 0.0).sum() / mask.sum().clamp(min=1)


def average_checkpoints(checkpoints: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of the states of one model; the paper takes the last 5 of the base model, and 20 of the big one.

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
    """Write the likeliest token, time after time.

    Source: Section 3.1 (auto-regressive); Section 6.1 for the longest output

    Args:
        model: A model, set to `eval()`.
        source: The sentences, padded at their ends with anything.
        lengths: How long each is.
        bos: The token that stands before the first.
        eos: The token that ends a sentence.
        extra_length: By how much an output may outgrow its source.

    Returns:
        What was written, filled up with `eos`.
    """
    mask = padding_mask(lengths, source.shape[1])
    state = model.init_state(model.encode(source, mask), mask)
    tokens = source.new_full((len(source), 1), bos)
    done = lengths + extra_length < 1
    while not done.all():
        logits, state = model.decode_step(tokens[:, -1:], state)
        token = logits[:, -1].argmax(dim=-1).masked_fill(done, eos)
        tokens = torch.cat([tokens, token[:, None]], dim=1)
        done = done | (token == eos) | (tokens.shape[1] > lengths + extra_length)
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
    log_probs: Float[Tensor, "b k"]
    length: Int[Tensor, "b k"]
    done: Bool[Tensor, "b k"]

    def grow(
        self, log_probs: Float[Tensor, "b k v"], eos: int, max_length: Int[Tensor, "b 1"], alpha: float
    ) -> tuple["Beam", Int[Tensor, "b k"]]:
        """Return the best of all hypotheses that are one token longer, and which of the old ones each comes from.

        A finished one stays as it is: it has one continuation, `eos`, which is certain and adds nothing to its length.
        """
        log_probs = log_probs.masked_fill(self.done[..., None], -math.inf)
        log_probs[..., eos] = log_probs[..., eos].masked_fill(self.done, 0.0)
        total, length = self.log_probs[..., None] + log_probs, self.length + ~self.done
        ranked = (total / length_penalty(length, alpha)[..., None]).flatten(1)
        best = ranked.topk(self.log_probs.shape[1], dim=1).indices
        parent, token = best // log_probs.shape[2], best % log_probs.shape[2]
        tokens = torch.cat([self.tokens.take_along_dim(parent[..., None], dim=1), token[..., None]], dim=2)
        length = length.gather(1, parent)
        return Beam(tokens, total.flatten(1).gather(1, best), length, (token == eos) | (length >= max_length)), parent


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
    r"""Write with several hypotheses in mind, and return the best that was found.

    Source: Section 6.1; the score is Wu et al. 2016 (GNMT), Eq. 14 without its coverage
        $$s(Y, X) = \log P(Y \mid X) / lp(Y)$$

    A search with `beam_size=1` is greedy.

    Departs: a finished hypothesis keeps its place in the beam for as long as its score lasts there. The public code
    keeps the finished ones apart.

    Args:
        model: A model, set to `eval()`.
        source: The sentences, padded at their ends with anything.
        lengths: How long each is.
        bos: The token that stands before the first.
        eos: The token that ends a sentence.
        beam_size: How many hypotheses are kept of each sentence.
        alpha: The exponent of the length penalty; 0 for none.
        extra_length: By how much an output may outgrow its source.

    Returns:
        What was written, filled up with `eos`, and its score.

    Raises:
        ValueError: The beam size is less than 1.
    """
    if beam_size < 1:
        raise ValueError(f"beam_size {beam_size} is less than 1")
    b, mask = len(source), padding_mask(lengths, source.shape[1])
    rows = torch.arange(b, device=source.device)[:, None]
    state = model.init_state(model.encode(source, mask), mask).index_select(rows.expand(b, beam_size).flatten())
    max_length = (lengths + extra_length)[:, None]
    # All hypotheses are equal at the start: only the first may be extended, or each would be found `beam_size` times.
    log_probs = torch.full((b, beam_size), -math.inf, device=source.device).index_fill(1, rows[:1, 0], 0.0)
    length = torch.zeros_like(log_probs, dtype=torch.long)
    beam = Beam(source.new_full((b, beam_size, 1), bos), log_probs, length, length >= max_length)
    while not beam.done.all():
        logits, state = model.decode_step(beam.tokens[:, :, -1].reshape(-1, 1), state)
        beam, parent = beam.grow(logits[:, -1].log_softmax(dim=-1).reshape(b, beam_size, -1), eos, max_length, alpha)
        state = state.index_select((rows * beam_size + parent).flatten())
    score, best = (beam.log_probs / length_penalty(beam.length, alpha)).max(dim=1)
    longest = int(beam.length[rows[:, 0], best].max())
    return beam.tokens[rows[:, 0], best, 1 : longest + 1], score
