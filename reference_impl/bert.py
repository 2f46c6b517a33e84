r"""BERT: the encoder half of a Transformer, trained to fill in hidden words and moved whole to other tasks.

Source: Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding"; sections
    below are this paper's. What it leaves unsaid is taken from the authors' public code, google-research/bert.

Axes: $b$ inputs of a batch, $n$ tokens, $d$ the width, $v$ word pieces of the vocabulary, $k$ chosen tokens, $t$ tokens
of a batch that are no padding, $c$ classes. Masks are true where one may look, and real where there is no padding.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from reference_impl.layers.attention import MultiHeadAttention, scaled_dot_product_attention
from reference_impl.layers.positions import LearnedPositions

Attend = Callable[[MultiHeadAttention, Tensor], Tensor]


@dataclass(frozen=True)
class Batch:
    """Texts, padded to one length: what `Bert` is called with."""

    tokens: Int[Tensor, "b n"]
    segments: Int[Tensor, "b n"]
    mask: Bool[Tensor, "b 1 n"]


class WordPieces:
    """Cut texts into word pieces, by the `tokenizers` library.

    Source: Section 3, Input/Output Representations; Figure 2

    A text becomes `[CLS] text [SEP]`, in segment 0. A pair becomes `[CLS] text [SEP] other [SEP]`; the other and its
    `[SEP]` are segment 1.

    Args:
        vocabulary: The number of each piece, or the file `vocab.txt` of a published model, one piece a line.
        lower: Whether the model is uncased: letters are made small and lose their accents.
    """

    def __init__(self, vocabulary: Mapping[str, int] | Path, lower: bool = True) -> None:
        from tokenizers import BertWordPieceTokenizer

        known = str(vocabulary) if isinstance(vocabulary, Path) else dict(vocabulary)
        self.tokenizer = BertWordPieceTokenizer(known, lowercase=lower)

    def __call__(self, texts: Sequence[str | tuple[str, str]], length: int | None = None) -> Batch:
        """Return the texts, or pairs of texts, as a batch; given a length, cut off what is longer."""
        if length is None:
            self.tokenizer.no_truncation()
        else:
            self.tokenizer.enable_truncation(length)
        self.tokenizer.enable_padding()
        read = self.tokenizer.encode_batch(list(texts))
        real = torch.tensor([one.attention_mask for one in read], dtype=torch.bool)
        return Batch(
            torch.tensor([one.ids for one in read]), torch.tensor([one.type_ids for one in read]), real[:, None]
        )


def layer_norm(d: int) -> nn.LayerNorm:
    """Return a norm with the authors' epsilon, which is far below the usual."""
    return nn.LayerNorm(d, eps=1e-12)


class Embeddings(nn.Module):
    r"""Sum up what a token is, where it stands and to which text it belongs.

    Source: Section 3, Figure 2; norm and dropout from the authors' code
        $$h^0_i = \operatorname{Dropout}(\operatorname{LayerNorm}(T_{x_i} + P_i + S_{s_i}))$$

    Answers: bert.segments-and-positions
        They tell apart what the words alone do not. Without positions, the same words in another order give the same
        vectors in that order: attention has no order of its own. Without segments, nothing but `[SEP]` says which text
        a word belongs to. Both are learnt tables, added to the word's vector before the first norm.

        >>> import torch
        >>> from reference_impl.bert import Bert
        >>> _ = torch.manual_seed(0)
        >>> bert = Bert(vocabulary=120, d_model=16, heads=2, d_ff=32, layers=2, deviation=0.2).eval()
        >>> tokens, segments = torch.tensor([[101, 104, 105, 106, 107, 102]]), torch.tensor([[0, 0, 0, 1, 1, 1]])
        >>> e = bert.embeddings
        >>> total = e.token.weight[tokens] + e.position.table[:6] + e.segment.weight[segments]
        >>> torch.equal(e(tokens, segments), e.norm(total))
        True

        >>> def same_in_another_order():
        ...     order = torch.tensor([0, 3, 1, 4, 2, 5])
        ...     return torch.allclose(bert(tokens[:, order]), bert(tokens)[:, order], atol=1e-5)
        >>> def same_with_another_boundary():
        ...     return torch.allclose(bert(tokens, segments), bert(tokens, segments.roll(1)), atol=1e-5)
        >>> same_in_another_order(), same_with_another_boundary()
        (False, False)
        >>> _ = e.position.table.data.zero_(), e.segment.weight.data.zero_()
        >>> same_in_another_order(), same_with_another_boundary()
        (True, True)

    Answers: bert.longest-input
        It is refused. No layer would mind: attention and the feed-forward network have weights for any length. The
        table of positions ends at its 512th row, and a row that was never trained would say nothing. So a longer text
        is cut, or read in windows.

        >>> import torch
        >>> from reference_impl.bert import Bert
        >>> _ = torch.manual_seed(0)
        >>> bert = Bert(vocabulary=120, d_model=16, heads=2, d_ff=32, layers=2).eval()
        >>> bert(torch.full((1, 512), 104)).shape
        torch.Size([1, 512, 16])
        >>> bert(torch.full((1, 513), 104))
        Traceback (most recent call last):
        ValueError: length 513 exceeds the 512 positions of the table
        >>> x = torch.randn(1, 513, 16)
        >>> for layer in bert.layers:
        ...     x = layer(x, lambda attention, x: attention(x, x, x))
        >>> x.shape
        torch.Size([1, 513, 16])
    """

    def __init__(self, vocabulary: int, d_model: int, max_length: int, segments: int, dropout: float) -> None:
        super().__init__()
        self.token, self.segment = nn.Embedding(vocabulary, d_model), nn.Embedding(segments, d_model)
        self.position = LearnedPositions(max_length, d_model)
        self.norm, self.dropout = layer_norm(d_model), nn.Dropout(dropout)

    def forward(self, tokens: Int[Tensor, "b n"], segments: Int[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
        """Return the vectors that enter the first layer.

        Raises:
            ValueError: There are more tokens than positions.
        """
        return self.dropout(self.norm(self.token(tokens) + self.position(tokens.shape[1]) + self.segment(segments)))


class EncoderLayer(nn.Module):
    r"""Let each token look at all of them, then change each by itself, with a norm after either sum.

    Source: Section 3, Model Architecture: the Transformer's encoder, with GELU in the place of ReLU
        $$y = \operatorname{LayerNorm}(x + \operatorname{Attention}(x)), \qquad
          x' = \operatorname{LayerNorm}(y + W_2 \operatorname{GELU}(W_1 y + b_1) + b_2)$$

    Answers: bert.which-half
        The encoder. One layer of BERT is one layer of the Transformer's encoder, in which GELU has taken the place of
        ReLU: with the same weights both return the same. A decoder's layer would have a second attention in it, to a
        memory, which BERT has not.

        >>> import torch
        >>> from torch import nn
        >>> from reference_impl import transformer
        >>> from reference_impl.bert import Bert, EncoderLayer
        >>> _ = torch.manual_seed(0)
        >>> ours = EncoderLayer(d_model=16, heads=2, d_ff=32, dropout=0.0, gelu="erf")
        >>> theirs = transformer.EncoderLayer(d_model=16, heads=2, d_ff=32, dropout=0.0)
        >>> theirs.feed_forward[1] = nn.GELU()
        >>> numbers = dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True))
        >>> theirs.load_state_dict(numbers)
        <All keys matched successfully>
        >>> x = torch.randn(3, 5, 16)
        >>> torch.allclose(ours(x, lambda attention, x: attention(x, x, x)), theirs(x), atol=1e-4)
        True

        >>> with torch.device("meta"):
        ...     kinds = transformer.EncoderLayer, transformer.DecoderLayer
        ...     models = [*(nn.ModuleList(kind(768, 12, 3072) for _ in range(12)) for kind in kinds), Bert().layers]
        >>> encoder, decoder, bert = (sum(w.numel() for w in model.parameters()) for model in models)
        >>> encoder, decoder, bert
        (85054464, 113421312, 85054464)

    Answers: bert.which-gelu
        GELU is $x\,\Phi(x)$ with the normal distribution's $\Phi$, which takes an error function. The authors' code
        computes it by a hyperbolic tangent that comes within 0.0005; much other code, Hugging Face's too, takes the
        error function. Through twelve layers the difference stays small, but is far more than rounding: to compare
        numbers with those of another program, take its form.

        >>> import torch
        >>> from reference_impl.bert import EncoderLayer
        >>> _ = torch.manual_seed(0)
        >>> by_tanh, by_erf = (EncoderLayer(64, 4, 256, dropout=0.0, gelu=form) for form in ("tanh", "erf"))
        >>> x = torch.linspace(-6, 6, 10_001)
        >>> apart = (by_tanh.gelu(x) - by_erf.gelu(x)).abs()
        >>> bool(0.0004 < apart.max() < 0.0005), round(float(x[apart.argmax()].abs()), 1)
        (True, 2.7)
        >>> _ = by_erf.load_state_dict(by_tanh.state_dict())
        >>> x = y = torch.randn(1, 20, 64)
        >>> for _ in range(12):
        ...     x, y = (layer(h, lambda attention, h: attention(h, h, h)) for layer, h in ((by_tanh, x), (by_erf, y)))
        >>> bool(1e-4 < (x - y).abs().max() < 1e-2)
        True
    """

    def __init__(self, d_model: int, heads: int, d_ff: int, dropout: float, gelu: Literal["tanh", "erf"]) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(d_model, heads, dropout=dropout)
        self.expand, self.contract = nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model)
        self.gelu = nn.GELU("tanh" if gelu == "tanh" else "none")
        self.attention_norm, self.feed_forward_norm = layer_norm(d_model), layer_norm(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "b n d"], attend: Attend) -> Float[Tensor, "b n d"]:
        """Return the tokens as the next layer sees them; `attend` says which may look at which."""
        x = self.attention_norm(x + self.dropout(attend(self.attention, x)))
        return self.feed_forward_norm(x + self.dropout(self.contract(self.gelu(self.expand(x)))))


def attend_apart(
    attention: MultiHeadAttention, x: Float[Tensor, "1 t d"], lengths: Sequence[int]
) -> Float[Tensor, "1 t d"]:
    r"""Attend within each of the sequences that stand end to end in x, as if each were alone.

    Not in the paper. All that a layer does beside attention, it does to each token by itself: so the tokens of a batch
    may stand in one row without their padding, as long as attention keeps the sequences apart.

    Answers: bert.what-padding-costs
        As much as real tokens cost: in a padded batch every input is as long as the longest. Given `unpadded=True`, the
        layers compute the real tokens only. Their vectors are the same, and of the multiplications by weights just
        the share of real tokens is left, here 180 of 512.

        >>> import torch
        >>> from torch.utils.flop_counter import FlopCounterMode
        >>> from reference_impl.bert import Bert
        >>> from reference_impl.layers.attention import padding_mask
        >>> _ = torch.manual_seed(0)
        >>> bert = Bert(vocabulary=120, d_model=32, heads=2, d_ff=128, layers=2, max_length=128).eval()
        >>> tokens, mask = torch.randint(104, 120, (4, 128)), padding_mask(torch.tensor([128, 30, 20, 2]), 128)
        >>> vectors, cost = [], []
        >>> for bert.unpadded in (False, True):
        ...     with FlopCounterMode(display=False) as counter:
        ...         vectors.append(bert(tokens, mask=mask))
        ...     cost.append(counter.get_flop_counts()["Global"][torch.ops.aten.addmm])
        >>> real = mask[:, 0]
        >>> torch.allclose(vectors[0][real], vectors[1][real], atol=1e-5), bool(vectors[1][~real].any())
        (True, False)
        >>> int(real.sum()), real.numel(), cost[1] * real.numel() == cost[0] * int(real.sum())
        (180, 512, True)
    """
    queries, keys, values = (
        linear(x).unflatten(-1, (attention.heads, -1)).transpose(1, 2).split(list(lengths), dim=2)
        for linear in (attention.query, attention.key, attention.value)
    )
    dropout = attention.dropout if attention.training else 0.0
    heads = [scaled_dot_product_attention(*one, dropout=dropout) for one in zip(queries, keys, values, strict=True)]
    return attention.output(torch.cat(heads, dim=2).transpose(1, 2).flatten(2))


class Bert(nn.Module):
    r"""Read tokens, and return a vector for each that knows of all the others.

    Source: Section 3

    The defaults are BERT-base, uncased. Large: `d_model=1024, heads=16, d_ff=4096, layers=24`; cased base:
    `vocabulary=28_996`.

    Departs: the paper names no initialisation; weights begin as in the authors' code, drawn from a normal distribution
    that is cut off at twice its deviation. A token that may look nowhere attends to nothing: in public code it
    attends to all tokens alike.

    Args:
        vocabulary: How many word pieces.
        d_model: The width of every layer's input and output.
        heads: How many heads share that width.
        d_ff: The width inside the feed-forward network.
        layers: How many layers.
        max_length: How many positions have a vector.
        segments: How many texts an input may join.
        dropout: The share dropped from the embeddings, the attention weights and each sublayer's output.
        gelu: The form of GELU: by the hyperbolic tangent, as in the authors' code, or by the error function.
        pooler: Whether there is a layer on `[CLS]` for tasks on the whole input.
        unpadded: Whether, given a mask, the layers compute the real tokens only; the others come out as zeros.
        deviation: How far from 0 weights begin; that of the heads too. Narrow models learn sooner from more.

    Answers: bert.no-decoder
        Alter one word and see which outputs change. In BERT each of them does, the earlier ones too; in the
        Transformer's decoder no word can reach an output before it, since it writes from left to right. Nor is there
        a memory to attend to: one attention a layer, where a decoder's layer has two. And nothing is written: six words
        go in, and six vectors come out.

        >>> import torch
        >>> from reference_impl.bert import Bert
        >>> from reference_impl.layers.attention import MultiHeadAttention
        >>> from reference_impl.transformer import Transformer
        >>> _ = torch.manual_seed(0)
        >>> bert = Bert(vocabulary=120, d_model=16, heads=2, d_ff=32, layers=2, deviation=0.2).eval()
        >>> transformer = Transformer(vocab_size=120, d_model=16, heads=2, d_ff=32, layers=2).eval()
        >>> words, source = torch.arange(104, 110)[None], torch.arange(110, 117)[None]
        >>> def changed(model, place):
        ...     altered = words.index_fill(1, torch.tensor(place), 119)
        ...     return (model(altered) - model(words)).abs().amax(dim=-1)[0].gt(1e-6).nonzero()[:, 0].tolist()
        >>> changed(bert, place=4)
        [0, 1, 2, 3, 4, 5]
        >>> changed(lambda target: transformer(source, target), place=4)
        [4, 5]
        >>> def attentions(layer):
        ...     return sum(isinstance(module, MultiHeadAttention) for module in layer.modules())
        >>> attentions(bert.layers[0]), attentions(transformer.encoder[0]), attentions(transformer.decoder[0])
        (1, 1, 2)
        >>> bert(words).shape
        torch.Size([1, 6, 16])

    Answers: bert.where-the-parameters-are
        More than three quarters are in the twelve layers, and in each of them two thirds in the feed-forward network.
        Nearly all of the rest is the table of tokens. The heads of pre-training add little, since the scores of words
        take that table once more. The paper writes 110M, and 340M for the large model.

        >>> import torch
        >>> from reference_impl.bert import Bert, BertPreTraining
        >>> def count(*modules):
        ...     return sum(w.numel() for module in modules for w in module.parameters())
        >>> with torch.device("meta"):
        ...     bert, large = Bert(), Bert(d_model=1024, heads=16, d_ff=4096, layers=24)
        ...     whole = BertPreTraining(bert)
        >>> count(bert.embeddings), count(bert.layers), count(bert.pooler), count(bert)
        (23837184, 85054464, 590592, 109482240)
        >>> layer = bert.layers[0]
        >>> count(bert.embeddings.token), count(layer.attention), count(layer.expand, layer.contract)
        (23440896, 2362368, 4722432)
        >>> count(whole) - count(bert), count(whole), count(large)
        (624188, 110106428, 335141888)
    """

    def __init__(
        self,
        vocabulary: int = 30_522,
        d_model: int = 768,
        heads: int = 12,
        d_ff: int = 3072,
        layers: int = 12,
        max_length: int = 512,
        segments: int = 2,
        dropout: float = 0.1,
        gelu: Literal["tanh", "erf"] = "tanh",
        pooler: bool = True,
        unpadded: bool = False,
        deviation: float = 0.02,
    ) -> None:
        super().__init__()
        self.embeddings = Embeddings(vocabulary, d_model, max_length, segments, dropout)
        self.layers = nn.ModuleList(EncoderLayer(d_model, heads, d_ff, dropout, gelu) for _ in range(layers))
        self.pooler = nn.Linear(d_model, d_model) if pooler else None
        self.d_model, self.gelu, self.dropout, self.deviation = d_model, gelu, dropout, deviation
        self.unpadded = unpadded
        initialise(self, deviation)

    def forward(
        self,
        tokens: Int[Tensor, "b n"],
        segments: Int[Tensor, "b n"] | None = None,
        mask: Bool[Tensor, "b 1 n"] | None = None,
    ) -> Float[Tensor, "b n d"]:
        """Return the last layer's vectors.

        Args:
            tokens: The numbers of the word pieces.
            segments: To which text each token belongs; to the first, if nothing is given.
            mask: True where a token is no padding; at padding, what is returned has no meaning.

        Raises:
            ValueError: There are more tokens than positions.
        """
        x = self.embeddings(tokens, torch.zeros_like(tokens) if segments is None else segments)
        if mask is None or not self.unpadded:
            return self._read(x, lambda attention, x: attention(x, x, x, mask))
        real = mask[:, 0]
        lengths = real.sum(dim=1).tolist()
        read = self._read(x[real][None], lambda attention, x: attend_apart(attention, x, lengths))
        return torch.zeros_like(x).masked_scatter(real[..., None], read)

    def _read(self, x: Float[Tensor, "b n d"], attend: Attend) -> Float[Tensor, "b n d"]:
        for layer in self.layers:
            x = layer(x, attend)
        return x

    def pool(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b d"]:
        r"""Return one vector an input, made of what stands at `[CLS]`.

        Source: Section 3 (the vector $C$); its layer is from the authors' code
            $$\tanh(W h^L_1 + b)$$

        Raises:
            ValueError: This model was built without a pooler.
        """
        if self.pooler is None:
            raise ValueError("this model has no pooler")
        return self.pooler(x[:, 0]).tanh()


def initialise(model: nn.Module, deviation: float) -> None:
    """Draw all weights anew, as the authors' code does; biases begin at 0, and norms as they are."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.trunc_normal_(parameter, std=deviation, a=-2 * deviation, b=2 * deviation)
    for linear in (module for module in model.modules() if isinstance(module, nn.Linear)):
        nn.init.zeros_(linear.bias)


@dataclass(frozen=True)
class Special:
    """The numbers of the tokens that are no words, as in the published vocabularies."""

    pad: int = 0
    cls: int = 101
    sep: int = 102
    mask: int = 103


def mask_words(
    tokens: Int[Tensor, "b n"],
    vocabulary: int = 30_522,
    rate: float = 0.15,
    most: int | None = None,
    special: Special = Special(),
    generator: torch.Generator | None = None,
) -> tuple[Int[Tensor, "b n"], Bool[Tensor, "b n"]]:
    """Choose tokens to ask for, and hide most of them.

    Source: Section 3.1, Task 1; Appendix A.1; how many is from the authors' code

    Of each input of $n$ tokens, `[CLS]` and `[SEP]` counted, round(0.15 n) are chosen and at least one; never
    `[CLS]`, `[SEP]` or padding. A chosen token becomes `[MASK]` in 80% of all cases, and any token of the vocabulary
    in 10%. In the last 10% it stays, and is asked for all the same.

    Args:
        tokens: The inputs, padded.
        vocabulary: How many tokens there are to draw from.
        rate: The share that is chosen.
        most: The most that are chosen of one input; the authors take 20 of 128 tokens, and 77 of 512.
        special: The numbers of the tokens that are no words.
        generator: Where the chance comes from.

    Returns:
        The inputs with what is hidden, and where a token is chosen.

    Answers: bert.how-a-token-is-masked
        Of each input, 15% of the tokens are chosen. Of these, 80% become `[MASK]`, 10% a random token, and 10% stay.

        >>> import torch
        >>> from torch.nn import functional as F
        >>> from reference_impl.bert import Bert, BertMaskedWords, mask_words
        >>> _ = torch.manual_seed(0)
        >>> text = torch.randint(1000, 30_000, (4000, 100))
        >>> hidden, chosen = mask_words(text)
        >>> chosen.sum(dim=1).unique().tolist()
        [15]
        >>> masked, kept = hidden[chosen] == 103, hidden[chosen] == text[chosen]
        >>> [round(100 * float(share.float().mean())) for share in (masked, kept, ~masked & ~kept)]
        [80, 10, 10]

        The last two are for a model that will never meet `[MASK]` again. If every chosen word were masked, the loss
        would ask about no visible word, and say nothing of what should stand in its place. Below, texts say each word
        twice; both models learn to fill in, and one of them is several times less sure of what it has before its
        eyes.

        >>> def trained(always_masked):
        ...     _ = torch.manual_seed(0)
        ...     bert = Bert(vocabulary=120, d_model=32, heads=2, d_ff=64, layers=1, dropout=0.0, deviation=0.2)
        ...     model = BertMaskedWords(bert)
        ...     optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
        ...     for _ in range(100):
        ...         text = torch.randint(104, 120, (64, 4)).repeat(1, 2)
        ...         hidden, chosen = mask_words(text, vocabulary=120)
        ...         hidden = text.masked_fill(chosen, 103) if always_masked else hidden
        ...         loss = F.cross_entropy(model(hidden, chosen=chosen), text[chosen])
        ...         optimiser.zero_grad()
        ...         loss.backward()
        ...         optimiser.step()
        ...     text = torch.randint(104, 120, (500, 4)).repeat(1, 2)
        ...     filled_in = model(text.index_fill(1, torch.tensor(5), 103))[:, 5].argmax(dim=-1) == text[:, 5]
        ...     in_sight = F.cross_entropy(model(text).flatten(0, 1), text.flatten())
        ...     return filled_in.float().mean().item(), in_sight.item()
        >>> (one, unsure), (other, sure) = trained(always_masked=True), trained(always_masked=False)
        >>> one > 0.95, other > 0.95, unsure > 3 * sure
        (True, True, True)
    """
    draw, fate = torch.rand(2, *tokens.shape, generator=generator, device=tokens.device)
    words = (tokens != special.pad) & (tokens != special.cls) & (tokens != special.sep)
    wanted = ((tokens != special.pad).sum(dim=1, keepdim=True).double() * rate).round().clamp(min=1, max=most)
    chosen = words & (draw.masked_fill(~words, 2.0).argsort(dim=1).argsort(dim=1) < wanted)
    any_token = torch.randint(vocabulary, tokens.shape, generator=generator, device=tokens.device)
    hidden = tokens.masked_fill(chosen & (fate < 0.8), special.mask)
    return torch.where(chosen & (fate >= 0.9), any_token, hidden), chosen


class MaskedWordHead(nn.Module):
    r"""Score every word piece as the one that stood there.

    Source: Section 3.1, Task 1; the layer before the scores is from the authors' code
        $$\operatorname{LayerNorm}(\operatorname{GELU}(W h + b)) \, T^\top + c$$

    The table $T$ is that of the token embeddings: it is given, and not this head's own.
    """

    def __init__(self, bert: Bert) -> None:
        super().__init__()
        d_model = bert.d_model
        self.dense, self.gelu = nn.Linear(d_model, d_model), nn.GELU("tanh" if bert.gelu == "tanh" else "none")
        self.norm = layer_norm(d_model)
        self.bias = nn.Parameter(torch.zeros(bert.embeddings.token.num_embeddings))
        initialise(self, bert.deviation)

    def forward(self, x: Float[Tensor, "*b d"], table: Float[Tensor, "v d"]) -> Float[Tensor, "*b v"]:
        """Return the scores."""
        return F.linear(self.norm(self.gelu(self.dense(x))), table, self.bias)


class BertMaskedWords(nn.Module):
    r"""Fill in hidden words, and nothing else.

    Source: Section 3.1, Task 1; Section 5.1, where it is called No NSP

    Answers: bert.why-masking
        Because nothing else hides the word that is asked for. A causal mask hides what comes after, and with it half of
        the context. To hide only the asked word from its own place is of no use from the second layer on: its
        neighbours have seen it, and bring it along.

        >>> import torch
        >>> from torch.nn import functional as F
        >>> from reference_impl.bert import Bert, BertMaskedWords, mask_words
        >>> _ = torch.manual_seed(0)
        >>> bert = Bert(vocabulary=120, d_model=16, heads=2, d_ff=32, layers=2, deviation=0.2).eval()
        >>> all_but_the_next = ~torch.eye(6).roll(1, dims=1).bool()
        >>> x = words = torch.randn(1, 6, 16, requires_grad=True)
        >>> for layer in bert.layers:
        ...     x = layer(x, lambda attention, x: attention(x, x, x, all_but_the_next))
        ...     (gradient,) = torch.autograd.grad(x[0, 2, 0], words, retain_graph=True)
        ...     print("position 2 knows of word 3:", bool(gradient[0, 3].any()))
        position 2 knows of word 3: False
        position 2 knows of word 3: True

        So BERT hides the word itself. Trained to name words that it can see, a model copies them and needs no other:
        its loss is nearly 0, and it has learnt nothing. These texts say each word twice, yet it can't fill in the
        second from the first better than by chance, which is 1 in 16. With words hidden it learns to.

        >>> def trained(hiding):
        ...     _ = torch.manual_seed(0)
        ...     bert = Bert(vocabulary=120, d_model=32, heads=2, d_ff=64, layers=1, dropout=0.0, deviation=0.2)
        ...     model = BertMaskedWords(bert)
        ...     optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
        ...     for _ in range(100):
        ...         text = torch.randint(104, 120, (64, 4)).repeat(1, 2)
        ...         hidden, chosen = mask_words(text, vocabulary=120)
        ...         loss = F.cross_entropy(model(hidden if hiding else text, chosen=chosen), text[chosen])
        ...         optimiser.zero_grad()
        ...         loss.backward()
        ...         optimiser.step()
        ...     text = torch.randint(104, 120, (500, 4)).repeat(1, 2)
        ...     filled_in = model(text.index_fill(1, torch.tensor(5), 103))[:, 5].argmax(dim=-1) == text[:, 5]
        ...     return loss.item(), filled_in.float().mean().item()
        >>> loss, filled_in = trained(hiding=False)
        >>> loss < 0.1, filled_in < 0.2
        (True, True)
        >>> loss, filled_in = trained(hiding=True)
        >>> filled_in > 0.95
        True
    """

    def __init__(self, bert: Bert) -> None:
        super().__init__()
        self.bert, self.masked_word = bert, MaskedWordHead(bert)

    def forward(
        self,
        tokens: Int[Tensor, "b n"],
        segments: Int[Tensor, "b n"] | None = None,
        mask: Bool[Tensor, "b 1 n"] | None = None,
        chosen: Bool[Tensor, "b n"] | None = None,
    ) -> Float[Tensor, "*k v"]:
        """Score the words at all positions; given `chosen`, at these alone, one after the other."""
        x = self.bert(tokens, segments, mask)
        return self.masked_word(x if chosen is None else x[chosen], self.bert.embeddings.token.weight)


class BertPreTraining(nn.Module):
    """Fill in hidden words, and tell whether the second text followed the first.

    Source: Section 3.1

    Raises:
        ValueError: The model has no pooler, which the second task stands on.

    Answers: bert.next-sentence-prediction
        The second task of pre-training: did text B follow text A, or was it drawn from anywhere? Half of the pairs are
        of each kind, and label 0 means that it followed. What decides is the vector at `[CLS]` alone, so that all it
        takes must have come there by attention. Below, a text keeps to one topic in four.

        >>> import torch
        >>> from reference_impl.bert import Bert, BertPreTraining, mask_words, pretraining_loss
        >>> _ = torch.manual_seed(0)
        >>> bert = Bert(vocabulary=120, d_model=32, heads=2, d_ff=64, layers=2, dropout=0.0, deviation=0.2)
        >>> model = BertPreTraining(bert)
        >>> def pairs(b, n=5):
        ...     cls, sep = torch.full((b, 1), 101), torch.full((b, 1), 102)
        ...     follows, topic = torch.rand(b) < 0.5, torch.randint(4, (b, 1))
        ...     other = torch.where(follows[:, None], topic, (topic + torch.randint(1, 4, (b, 1))) % 4)
        ...     one, two = (104 + 4 * about + torch.randint(4, (b, n)) for about in (topic, other))
        ...     segments = torch.tensor([0] * (n + 2) + [1] * (n + 1)).repeat(b, 1)
        ...     return torch.cat([cls, one, sep, two, sep], dim=1), segments, follows
        >>> optimiser = torch.optim.Adam(model.parameters(), lr=0.005)
        >>> for _ in range(120):
        ...     tokens, segments, follows = pairs(32)
        ...     hidden, chosen = mask_words(tokens, vocabulary=120)
        ...     words, next_sentence = model(hidden, segments, chosen=chosen)
        ...     optimiser.zero_grad()
        ...     pretraining_loss(words, tokens[chosen], next_sentence, follows).backward()
        ...     optimiser.step()
        >>> tokens, segments, follows = pairs(500)
        >>> right = (model(tokens, segments)[1].argmax(dim=1) == 0) == follows
        >>> right.float().mean().item() > 0.9
        True
        >>> x = bert(tokens, segments).detach().requires_grad_()
        >>> model.next_sentence(bert.pool(x)).sum().backward()
        >>> x.grad.abs().amax(dim=(0, 2)).nonzero().tolist()
        [[0]]
    """

    def __init__(self, bert: Bert) -> None:
        super().__init__()
        self.bert, self.masked_word = bert, MaskedWordHead(bert)
        self.next_sentence = _on_the_pooler(bert, 2)

    def forward(
        self,
        tokens: Int[Tensor, "b n"],
        segments: Int[Tensor, "b n"] | None = None,
        mask: Bool[Tensor, "b 1 n"] | None = None,
        chosen: Bool[Tensor, "b n"] | None = None,
    ) -> tuple[Float[Tensor, "*k v"], Float[Tensor, "b 2"]]:
        """Return the scores of words, as `BertMaskedWords` does, and of next (0) and not next (1)."""
        x = self.bert(tokens, segments, mask)
        words = self.masked_word(x if chosen is None else x[chosen], self.bert.embeddings.token.weight)
        return words, self.next_sentence(self.bert.pool(x))


def pretraining_loss(
    words: Float[Tensor, "k v"],
    originals: Int[Tensor, " k"],
    next_sentence: Float[Tensor, "b 2"],
    follows: Bool[Tensor, " b"],
) -> Float[Tensor, ""]:
    r"""Return the sum of the two tasks' mean cross-entropies, in nats.

    Source: Appendix A.2
        $$-\frac{1}{k}\sum_{i \in M} \log p(x_i) - \frac{1}{b}\sum_j \log p(follows_j)$$

    Args:
        words: The scores at the chosen positions.
        originals: What stood there.
        next_sentence: The scores of next and of not next.
        follows: Whether the second text did follow the first.
    """
    return F.cross_entropy(words, originals) + F.cross_entropy(next_sentence, (~follows).long())


def adam(
    model: nn.Module, rate: float = 1e-4, warmup: int = 10_000, steps: int = 1_000_000
) -> tuple[torch.optim.AdamW, LambdaLR]:
    """Return the optimiser and its schedule; call `step` of the one, then of the other, after each batch.

    Source: Appendix A.2; epsilon, and what is not decayed, from the authors' code

    The rate climbs in a line from 0 over the first steps, and falls in a line that would have begun at step 0. Norms
    and biases are not decayed. The authors scale gradients down to a norm of 1 before each step.

    Departs: the authors' code leaves out Adam's correction for moments that begin at zero; this is torch's, with it.
    """
    decayed = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    rest = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.999), eps=1e-6)
    return optimiser, LambdaLR(optimiser, lambda done: done / warmup if done < warmup else max(0.0, 1 - done / steps))


class BertClassifier(nn.Module):
    """Sort inputs, or pairs of texts, into classes: a new layer on the pooled vector.

    Source: Section 4.1

    Args:
        bert: A model that has been pre-trained, with its pooler.
        classes: How many.

    Raises:
        ValueError: The model has no pooler.

    Answers: bert.what-fine-tuning-moves
        All of them. A task adds one layer, for two classes on the base model 1,538 numbers beside 109 million that it
        finds; and then all are trained, a little.

        >>> import copy, torch
        >>> from torch.nn import functional as F
        >>> from reference_impl.bert import Bert, BertClassifier, BertMaskedWords, mask_words
        >>> with torch.device("meta"):
        ...     sum(w.numel() for w in BertClassifier(Bert(), classes=2).classifier.parameters())
        1538

        What pre-training is for shows in the words that the task has no example of. Texts keep to one topic in four,
        with four words to a topic. Pre-training sees all the words and no topic; the task names topics, for 16 texts of
        half the words, and is then tested on the other half.

        >>> _ = torch.manual_seed(0)
        >>> def texts(b, words):
        ...     topic = torch.randint(4, (b,))
        ...     return 104 + 4 * topic[:, None] + words[torch.randint(len(words), (b, 6))], topic
        >>> def train(model, steps, lr, loss):
        ...     optimiser = torch.optim.Adam(model.parameters(), lr=lr)
        ...     for _ in range(steps):
        ...         optimiser.zero_grad()
        ...         loss().backward()
        ...         optimiser.step()
        >>> def fill_in():
        ...     text, _ = texts(64, torch.arange(4))
        ...     hidden, chosen = mask_words(text, vocabulary=120)
        ...     return F.cross_entropy(reader(hidden, chosen=chosen), text[chosen])
        >>> fresh = Bert(vocabulary=120, d_model=32, heads=2, d_ff=64, layers=1, dropout=0.0, deviation=0.2)
        >>> bert = copy.deepcopy(fresh)
        >>> reader = BertMaskedWords(bert)
        >>> train(reader, 80, 0.01, fill_in)

        >>> text, topic = texts(16, torch.tensor([0, 1]))
        >>> unseen, truth = texts(1000, torch.tensor([2, 3]))
        >>> def tested(start):
        ...     model = BertClassifier(copy.deepcopy(start), classes=4)
        ...     train(model, 30, 0.003, lambda: F.cross_entropy(model(text), topic))
        ...     moved = [bool((a != b).any()) for a, b in zip(model.bert.parameters(), start.parameters())]
        ...     right = (model(unseen).argmax(dim=1) == truth).float().mean()
        ...     return all(moved), right.item()
        >>> (moved, pre_trained), (_, from_scratch) = tested(bert), tested(fresh)
        >>> moved, pre_trained > 0.95, from_scratch < 0.75
        (True, True, True)
    """

    def __init__(self, bert: Bert, classes: int) -> None:
        super().__init__()
        self.bert, self.dropout, self.classifier = bert, nn.Dropout(bert.dropout), _on_the_pooler(bert, classes)

    def forward(
        self,
        tokens: Int[Tensor, "b n"],
        segments: Int[Tensor, "b n"] | None = None,
        mask: Bool[Tensor, "b 1 n"] | None = None,
    ) -> Float[Tensor, "b c"]:
        """Score the classes."""
        return self.classifier(self.dropout(self.bert.pool(self.bert(tokens, segments, mask))))


class BertSpanFinder(nn.Module):
    r"""Find where an answer begins and ends: two new vectors, each scored against every token.

    Source: Section 4.2
        $$p(i \text{ begins}) = \operatorname{softmax}_i(S \cdot h_i), \qquad
          p(j \text{ ends}) = \operatorname{softmax}_j(E \cdot h_j)$$

    Departs: each of the two has a bias, as in the authors' code; the softmax over the tokens takes it out again.
    """

    def __init__(self, bert: Bert) -> None:
        super().__init__()
        self.bert, self.ends = bert, nn.Linear(bert.d_model, 2)
        initialise(self.ends, bert.deviation)

    def forward(
        self,
        tokens: Int[Tensor, "b n"],
        segments: Int[Tensor, "b n"] | None = None,
        mask: Bool[Tensor, "b 1 n"] | None = None,
    ) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b n"]]:
        """Score each token as the first and as the last of the answer."""
        begins, ends = self.ends(self.bert(tokens, segments, mask)).unbind(dim=-1)
        return begins, ends


def best_span(
    begins: Float[Tensor, "b n"], ends: Float[Tensor, "b n"], most: int = 30
) -> tuple[Int[Tensor, " b"], Int[Tensor, " b"]]:
    r"""Return the first and the last token of the best span that does not end before it begins.

    Source: Section 4.2; the longest span is from the authors' code
        $$\arg\max_{j \ge i} \, (S \cdot h_i + E \cdot h_j)$$

    Args:
        begins: The scores of first tokens; minus infinity where none may stand.
        ends: The scores of last tokens.
        most: How many tokens a span may have.
    """
    n = begins.shape[1]
    possible = torch.ones(n, n, dtype=torch.bool, device=begins.device).triu().tril(most - 1)
    scores = (begins[:, :, None] + ends[:, None, :]).masked_fill(~possible, -torch.inf)
    best = scores.flatten(1).argmax(dim=1)
    return best // n, best % n


def _on_the_pooler(bert: Bert, classes: int) -> nn.Linear:
    if bert.pooler is None:
        raise ValueError("this model has no pooler")
    linear = nn.Linear(bert.d_model, classes)
    initialise(linear, bert.deviation)
    return linear
