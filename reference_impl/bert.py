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

from reference_impl.layers.attention import MultiHeadAttention, scaled_dot_product
from reference_impl.layers.positions import LearnedPositions

Attend = Callable[[MultiHeadAttention, Tensor], Tensor]


@dataclass(frozen=True)
class BertConfig:
    """The sizes of a BERT; the defaults are BERT-base, uncased.

    Source: Section 3, Model Architecture; names from the authors' code

    Large: `BertConfig(d_model=1024, heads=16, d_ff=4096, layers=24)`; cased base: `BertConfig(vocab_size=28_996)`.

    Attributes:
        vocab_size: Number of word pieces.
        d_model: Width of every layer's input and output ($H$, `hidden_size`).
        heads: Attention heads ($A$, `num_attention_heads`).
        d_ff: Width inside the feed-forward network (`intermediate_size`).
        layers: Number of layers ($L$, `num_hidden_layers`).
        max_position_embeddings: Rows of the position table, the longest input.
        type_vocab_size: Number of segments, the texts that an input may join.
        dropout: Dropout rate of the embeddings, the attention weights and each sublayer's output.
        gelu: The form of GELU: the tanh approximation, as in the authors' code, or the error function.
        initializer_range: Standard deviation of the initial weights, those of the heads too.
    """

    vocab_size: int = 30_522
    d_model: int = 768
    heads: int = 12
    d_ff: int = 3072
    layers: int = 12
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    dropout: float = 0.1
    gelu: Literal["tanh", "erf"] = "tanh"
    initializer_range: float = 0.02


@dataclass(frozen=True)
class BatchEncoding:
    """Texts, padded to one length: what `BertModel` is called with."""

    input_ids: Int[Tensor, "b n"]
    token_type_ids: Int[Tensor, "b n"]
    mask: Bool[Tensor, "b 1 n"]


class WordPieceTokenizer:
    """Cut texts into word pieces, by the `tokenizers` library.

    Source: Section 3, Input/Output Representations; Figure 2

    A text becomes `[CLS] text [SEP]`, in segment 0. A pair becomes `[CLS] text [SEP] other [SEP]`; the other and its
    `[SEP]` are segment 1.

    Args:
        vocab: The number of each piece, or the file `vocab.txt` of a published model, one piece a line.
        lowercase: Whether the model is uncased: texts are lowercased and accents stripped.
    """

    def __init__(self, vocab: Mapping[str, int] | Path, lowercase: bool = True) -> None:
        from tokenizers import BertWordPieceTokenizer

        known = str(vocab) if isinstance(vocab, Path) else dict(vocab)
        self.tokenizer = BertWordPieceTokenizer(known, lowercase=lowercase)

    def __call__(self, texts: Sequence[str | tuple[str, str]], max_length: int | None = None) -> BatchEncoding:
        """Return the texts, or pairs of texts, as a padded batch; given a maximal length, truncate to it."""
        if max_length is None:
            self.tokenizer.no_truncation()
        else:
            self.tokenizer.enable_truncation(max_length)
        self.tokenizer.enable_padding()
        encodings = self.tokenizer.encode_batch(list(texts))
        attention_mask = torch.tensor([one.attention_mask for one in encodings], dtype=torch.bool)
        return BatchEncoding(
            input_ids=torch.tensor([one.ids for one in encodings]),
            token_type_ids=torch.tensor([one.type_ids for one in encodings]),
            mask=attention_mask[:, None],
        )


def layer_norm(d: int) -> nn.LayerNorm:
    """Return a norm with the authors' epsilon, which is far below the usual."""
    return nn.LayerNorm(d, eps=1e-12)


class BertEmbeddings(nn.Module):
    r"""Sum up what a token is, where it stands and to which text it belongs.

    Source: Section 3, Figure 2; norm and dropout from the authors' code
        $$h^0_i = \operatorname{Dropout}(\operatorname{LayerNorm}(T_{x_i} + P_i + S_{s_i}))$$

    Asked: bert.segments-and-positions, bert.longest-input
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.d_model)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.d_model)
        self.position_embeddings = LearnedPositions(config.max_position_embeddings, config.d_model)
        self.norm, self.dropout = layer_norm(config.d_model), nn.Dropout(config.dropout)

    def forward(self, input_ids: Int[Tensor, "b n"], token_type_ids: Int[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
        """Return the vectors that enter the first layer.

        Raises:
            ValueError: There are more tokens than positions.
        """
        words, token_types = self.word_embeddings(input_ids), self.token_type_embeddings(token_type_ids)  # (b, n, d)
        positions = self.position_embeddings(input_ids.shape[1])  # (n, d)
        return self.dropout(self.norm(words + positions + token_types))


class BertLayer(nn.Module):
    r"""Let each token look at all of them, then change each by itself, with a norm after either sum.

    Source: Section 3, Model Architecture: the Transformer's encoder, with GELU in the place of ReLU
        $$y = \operatorname{LayerNorm}(x + \operatorname{Attention}(x)), \qquad
          x' = \operatorname{LayerNorm}(y + W_2 \operatorname{GELU}(W_1 y + b_1) + b_2)$$

    Asked: bert.which-half, bert.which-gelu
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        d_model, d_ff = config.d_model, config.d_ff
        self.attention = MultiHeadAttention(d_model, config.heads, dropout=config.dropout)
        self.intermediate, self.output = nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model)
        self.gelu = nn.GELU("tanh" if config.gelu == "tanh" else "none")
        self.attention_norm, self.output_norm = layer_norm(d_model), layer_norm(d_model)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Float[Tensor, "b n d"], attend: Attend) -> Float[Tensor, "b n d"]:
        """Return the tokens as the next layer sees them; `attend` says which may look at which."""
        x = self.attention_norm(x + self.dropout(attend(self.attention, x)))
        return self.output_norm(x + self.dropout(self.output(self.gelu(self.intermediate(x)))))


def varlen_attention(
    attention: MultiHeadAttention, x: Float[Tensor, "1 t d"], lengths: Sequence[int]
) -> Float[Tensor, "1 t d"]:
    r"""Attend within each of the sequences that stand end to end in x, as if each were alone.

    Not in the paper. All that a layer does beside attention, it does to each token by itself: so the tokens of a batch
    may stand in one row without their padding, as long as attention keeps the sequences apart.

    Asked: bert.what-padding-costs
    """
    queries, keys, values = (  # one (1, heads, n, d / heads) for each sequence
        linear(x).unflatten(-1, (attention.heads, -1)).transpose(1, 2).split(list(lengths), dim=2)
        for linear in (attention.query, attention.key, attention.value)
    )
    dropout = attention.dropout if attention.training else 0.0
    heads = [scaled_dot_product(*one, dropout=dropout) for one in zip(queries, keys, values, strict=True)]
    return attention.output(torch.cat(heads, dim=2).transpose(1, 2).flatten(2))  # (1, t, d)


class BertModel(nn.Module):
    r"""Read tokens, and return a vector for each that knows of all the others.

    Source: Section 3

    Departs: the paper names no initialization; weights begin as in the authors' code, drawn from a normal distribution
    that is cut off at twice its deviation. A token that may look nowhere attends to nothing: in public code it
    attends to all tokens alike.

    Args:
        config: The sizes; BERT-base, uncased, if none are given.
        add_pooling_layer: Whether there is a layer on `[CLS]` for tasks on the whole input.
        unpadded: Whether, given a mask, the layers compute the real tokens only; the others come out as zeros.

    Asked: bert.no-decoder, bert.where-the-parameters-are
    """

    def __init__(
        self, config: BertConfig = BertConfig(), add_pooling_layer: bool = True, unpadded: bool = False
    ) -> None:
        super().__init__()
        self.config, self.unpadded = config, unpadded
        self.embeddings = BertEmbeddings(config)
        self.layers = nn.ModuleList(BertLayer(config) for _ in range(config.layers))
        self.pooler = nn.Linear(config.d_model, config.d_model) if add_pooling_layer else None
        init_weights(self, config.initializer_range)

    def forward(
        self,
        input_ids: Int[Tensor, "b n"],
        token_type_ids: Int[Tensor, "b n"] | None = None,
        mask: Bool[Tensor, "b 1 n"] | None = None,
    ) -> Float[Tensor, "b n d"]:
        """Return the last layer's vectors.

        Args:
            input_ids: The ids of the word pieces.
            token_type_ids: The segment of each token; 0 if not given.
            mask: True at real tokens, false at padding, where the output has no meaning.

        Raises:
            ValueError: There are more tokens than positions.
        """
        token_type_ids = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        x = self.embeddings(input_ids, token_type_ids)  # (b, n, d)
        if mask is None or not self.unpadded:
            return self._encode(x, lambda attention, x: attention(x, x, x, mask))
        real = mask[:, 0]  # (b, n)
        lengths = real.sum(dim=1).tolist()
        packed = x[real][None]  # (1, t, d)
        packed = self._encode(packed, lambda attention, x: varlen_attention(attention, x, lengths))
        return torch.zeros_like(x).masked_scatter(real[..., None], packed)  # (b, n, d)

    def _encode(self, x: Float[Tensor, "b n d"], attend: Attend) -> Float[Tensor, "b n d"]:
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
        return self.pooler(x[:, 0]).tanh()  # (b, d)


def init_weights(model: nn.Module, initializer_range: float) -> None:
    """Draw all weights anew, as the authors' code does; biases begin at 0, and norms as they are."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.trunc_normal_(parameter, std=initializer_range, a=-2 * initializer_range, b=2 * initializer_range)
    for linear in (module for module in model.modules() if isinstance(module, nn.Linear)):
        nn.init.zeros_(linear.bias)


@dataclass(frozen=True)
class SpecialTokens:
    """The numbers of the tokens that are no words, as in the published vocabularies."""

    pad: int = 0
    cls: int = 101
    sep: int = 102
    mask: int = 103


def mask_tokens(
    input_ids: Int[Tensor, "b n"],
    vocab_size: int = 30_522,
    masked_lm_prob: float = 0.15,
    max_predictions_per_seq: int | None = None,
    special_tokens: SpecialTokens = SpecialTokens(),
    generator: torch.Generator | None = None,
) -> tuple[Int[Tensor, "b n"], Bool[Tensor, "b n"]]:
    """Choose tokens to ask for, and hide most of them.

    Source: Section 3.1, Task 1; Appendix A.1; how many is from the authors' code

    Of each input of $n$ tokens, `[CLS]` and `[SEP]` counted, round(0.15 n) are chosen and at least one; never
    `[CLS]`, `[SEP]` or padding. A chosen token becomes `[MASK]` in 80% of all cases, and any token of the vocabulary
    in 10%. In the last 10% it stays, and is asked for all the same.

    Args:
        input_ids: The inputs, padded.
        vocab_size: Number of tokens to draw a random one from.
        masked_lm_prob: The share that is chosen.
        max_predictions_per_seq: The most that are chosen of one input; the authors take 20 of 128, and 77 of 512.
        special_tokens: The numbers of the special tokens.
        generator: Source of randomness.

    Returns:
        The masked inputs, and a mask that is true at the chosen tokens.

    Asked: bert.how-a-token-is-masked
    """
    draw, fate = torch.rand(2, *input_ids.shape, generator=generator, device=input_ids.device)
    is_real = input_ids != special_tokens.pad
    candidates = is_real & (input_ids != special_tokens.cls) & (input_ids != special_tokens.sep)
    length = is_real.sum(dim=1, keepdim=True).double()
    count = (length * masked_lm_prob).round().clamp(min=1, max=max_predictions_per_seq)
    masked_indices = candidates & (draw.masked_fill(~candidates, 2.0).argsort(dim=1).argsort(dim=1) < count)
    random_tokens = torch.randint(vocab_size, input_ids.shape, generator=generator, device=input_ids.device)
    masked = input_ids.masked_fill(masked_indices & (fate < 0.8), special_tokens.mask)
    return torch.where(masked_indices & (fate >= 0.9), random_tokens, masked), masked_indices


class BertLMPredictionHead(nn.Module):
    r"""Score every word piece as the one that stood there.

    Source: Section 3.1, Task 1; the layer before the scores is from the authors' code
        $$\operatorname{LayerNorm}(\operatorname{GELU}(W h + b)) \, T^\top + c$$

    The table $T$ is that of the token embeddings: it is given, and not this head's own.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.d_model, config.d_model)
        self.gelu = nn.GELU("tanh" if config.gelu == "tanh" else "none")
        self.norm = layer_norm(config.d_model)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        init_weights(self, config.initializer_range)

    def forward(self, x: Float[Tensor, "*b d"], word_embeddings: Float[Tensor, "v d"]) -> Float[Tensor, "*b v"]:
        """Return the scores."""
        return F.linear(self.norm(self.gelu(self.dense(x))), word_embeddings, self.bias)


class BertForMaskedLM(nn.Module):
    r"""Fill in hidden words, and nothing else.

    Source: Section 3.1, Task 1; Section 5.1, where it is called No NSP

    Asked: bert.why-masking
    """

    def __init__(self, bert: BertModel) -> None:
        super().__init__()
        self.bert, self.predictions = bert, BertLMPredictionHead(bert.config)

    def forward(
        self,
        input_ids: Int[Tensor, "b n"],
        token_type_ids: Int[Tensor, "b n"] | None = None,
        mask: Bool[Tensor, "b 1 n"] | None = None,
        masked_indices: Bool[Tensor, "b n"] | None = None,
    ) -> Float[Tensor, "*k v"]:
        """Score the words at all positions; given `masked_indices`, at these alone, one after the other."""
        x = self.bert(input_ids, token_type_ids, mask)  # (b, n, d)
        x = x if masked_indices is None else x[masked_indices]  # (k, d)
        return self.predictions(x, self.bert.embeddings.word_embeddings.weight)  # (b, n, v) or (k, v)


class BertForPreTraining(nn.Module):
    """Fill in hidden words, and tell whether the second text followed the first.

    Source: Section 3.1

    Raises:
        ValueError: The model has no pooler, which the second task stands on.

    Asked: bert.next-sentence-prediction
    """

    def __init__(self, bert: BertModel) -> None:
        super().__init__()
        self.bert, self.predictions = bert, BertLMPredictionHead(bert.config)
        self.seq_relationship = _pooled_classifier(bert, 2)

    def forward(
        self,
        input_ids: Int[Tensor, "b n"],
        token_type_ids: Int[Tensor, "b n"] | None = None,
        mask: Bool[Tensor, "b 1 n"] | None = None,
        masked_indices: Bool[Tensor, "b n"] | None = None,
    ) -> tuple[Float[Tensor, "*k v"], Float[Tensor, "b 2"]]:
        """Return the scores of words, as `BertForMaskedLM` does, and of next (0) and not next (1)."""
        x = self.bert(input_ids, token_type_ids, mask)  # (b, n, d)
        masked = x if masked_indices is None else x[masked_indices]  # (k, d)
        prediction_logits = self.predictions(masked, self.bert.embeddings.word_embeddings.weight)  # (k, v)
        return prediction_logits, self.seq_relationship(self.bert.pool(x))


def pretraining_loss(
    prediction_logits: Float[Tensor, "k v"],
    labels: Int[Tensor, " k"],
    seq_relationship_logits: Float[Tensor, "b 2"],
    is_next: Bool[Tensor, " b"],
) -> Float[Tensor, ""]:
    r"""Return the sum of the two tasks' mean cross-entropies, in nats.

    Source: Appendix A.2
        $$-\frac{1}{k}\sum_{i \in M} \log p(x_i) - \frac{1}{b}\sum_j \log p(is\_next_j)$$

    Args:
        prediction_logits: The scores of words at the chosen positions.
        labels: The tokens that stood there.
        seq_relationship_logits: The scores of next and of not next.
        is_next: Whether the second text followed the first.
    """
    return F.cross_entropy(prediction_logits, labels) + F.cross_entropy(seq_relationship_logits, (~is_next).long())


def build_optimizer(
    model: nn.Module, lr: float = 1e-4, num_warmup_steps: int = 10_000, num_train_steps: int = 1_000_000
) -> tuple[torch.optim.AdamW, LambdaLR]:
    """Return the optimizer and its schedule; call `step` of the one, then of the other, after each batch.

    Source: Appendix A.2; epsilon, and what is not decayed, from the authors' code

    The rate climbs in a line from 0 over the first steps, and falls in a line that would have begun at step 0. Norms
    and biases are not decayed. The authors scale gradients down to a norm of 1 before each step.

    Departs: the authors' code leaves out Adam's correction for moments that begin at zero; this is torch's, with it.
    """
    decayed = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    rest = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.999), eps=1e-6)

    def factor(step: int) -> float:
        return step / num_warmup_steps if step < num_warmup_steps else max(0.0, 1 - step / num_train_steps)

    return optimizer, LambdaLR(optimizer, factor)


class BertForSequenceClassification(nn.Module):
    """Sort inputs, or pairs of texts, into classes: a new layer on the pooled vector.

    Source: Section 4.1

    Args:
        bert: A model that has been pre-trained, with its pooler.
        num_labels: Number of classes.

    Raises:
        ValueError: The model has no pooler.

    Asked: bert.what-fine-tuning-moves
    """

    def __init__(self, bert: BertModel, num_labels: int) -> None:
        super().__init__()
        self.bert, self.dropout = bert, nn.Dropout(bert.config.dropout)
        self.classifier = _pooled_classifier(bert, num_labels)

    def forward(
        self,
        input_ids: Int[Tensor, "b n"],
        token_type_ids: Int[Tensor, "b n"] | None = None,
        mask: Bool[Tensor, "b 1 n"] | None = None,
    ) -> Float[Tensor, "b c"]:
        """Score the classes."""
        x = self.bert(input_ids, token_type_ids, mask)  # (b, n, d)
        return self.classifier(self.dropout(self.bert.pool(x)))  # (b, c)


class BertForQuestionAnswering(nn.Module):
    r"""Find where an answer begins and ends: two new vectors, each scored against every token.

    Source: Section 4.2
        $$p(i \text{ begins}) = \operatorname{softmax}_i(S \cdot h_i), \qquad
          p(j \text{ ends}) = \operatorname{softmax}_j(E \cdot h_j)$$

    Departs: each of the two has a bias, as in the authors' code; the softmax over the tokens takes it out again.
    """

    def __init__(self, bert: BertModel) -> None:
        super().__init__()
        self.bert, self.qa_outputs = bert, nn.Linear(bert.config.d_model, 2)
        init_weights(self.qa_outputs, bert.config.initializer_range)

    def forward(
        self,
        input_ids: Int[Tensor, "b n"],
        token_type_ids: Int[Tensor, "b n"] | None = None,
        mask: Bool[Tensor, "b 1 n"] | None = None,
    ) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b n"]]:
        """Score each token as the first and as the last of the answer."""
        x = self.bert(input_ids, token_type_ids, mask)  # (b, n, d)
        start_logits, end_logits = self.qa_outputs(x).unbind(dim=-1)  # (b, n) each
        return start_logits, end_logits


def best_span(
    start_logits: Float[Tensor, "b n"], end_logits: Float[Tensor, "b n"], max_answer_length: int = 30
) -> tuple[Int[Tensor, " b"], Int[Tensor, " b"]]:
    r"""Return the first and the last token of the best span that does not end before it begins.

    Source: Section 4.2; the longest span is from the authors' code
        $$\arg\max_{j \ge i} \, (S \cdot h_i + E \cdot h_j)$$

    Args:
        start_logits: The scores of first tokens; minus infinity where no answer may start.
        end_logits: The scores of last tokens.
        max_answer_length: The most tokens of a span.
    """
    n = start_logits.shape[1]
    allowed = torch.ones(n, n, dtype=torch.bool, device=start_logits.device).triu().tril(max_answer_length - 1)
    scores = (start_logits[:, :, None] + end_logits[:, None, :]).masked_fill(~allowed, -torch.inf)  # (b, n, n)
    best = scores.flatten(1).argmax(dim=1)  # (b,)
    return best // n, best % n


def _pooled_classifier(bert: BertModel, num_labels: int) -> nn.Linear:
    if bert.pooler is None:
        raise ValueError("this model has no pooler")
    linear = nn.Linear(bert.config.d_model, num_labels)
    init_weights(linear, bert.config.initializer_range)
    return linear


# Answers


def which_half() -> None:
    """
    Answers: bert.which-half
        The encoder. One layer of BERT is one layer of the Transformer's encoder, in which GELU has taken the place of
        ReLU: with the same weights both return the same. A decoder's layer would have a second attention in it, to a
        memory, which BERT has not.

        >>> import torch
        >>> from torch import nn
        >>> from reference_impl import transformer
        >>> from reference_impl.bert import BertConfig, BertLayer, BertModel
        >>> _ = torch.manual_seed(0)
        >>> ours = BertLayer(BertConfig(d_model=16, heads=2, d_ff=32, dropout=0.0, gelu="erf"))
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
        ...     models = [nn.ModuleList(kind(768, 12, 3072) for _ in range(12)) for kind in kinds]
        ...     models.append(BertModel().layers)
        >>> encoder, decoder, bert = (sum(w.numel() for w in model.parameters()) for model in models)
        >>> encoder, decoder, bert
        (85054464, 113421312, 85054464)
    """


def no_decoder() -> None:
    """
    Answers: bert.no-decoder
        Alter one word and see which outputs change. In BERT each of them does, the earlier ones too; in the
        Transformer's decoder no word can reach an output before it, since it writes from left to right. Nor is there
        a memory to attend to: one attention a layer, where a decoder's layer has two. And nothing is written: six words
        go in, and six vectors come out.

        >>> import torch
        >>> from reference_impl.bert import BertConfig, BertModel
        >>> from reference_impl.layers.attention import MultiHeadAttention
        >>> from reference_impl.transformer import Transformer
        >>> _ = torch.manual_seed(0)
        >>> config = BertConfig(vocab_size=120, d_model=16, heads=2, d_ff=32, layers=2, initializer_range=0.2)
        >>> bert = BertModel(config).eval()
        >>> transformer = Transformer(vocabulary=120, d_model=16, heads=2, d_ff=32, layers=2).eval()
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
    """


def why_masking() -> None:
    """
    Answers: bert.why-masking
        Because nothing else hides the word that is asked for. A causal mask hides what comes after, and with it half of
        the context. To hide only the asked word from its own place is of no use from the second layer on: its
        neighbors have seen it, and bring it along.

        >>> import torch
        >>> from torch.nn import functional as F
        >>> from reference_impl.bert import BertConfig, BertForMaskedLM, BertModel, mask_tokens
        >>> _ = torch.manual_seed(0)
        >>> config = BertConfig(vocab_size=120, d_model=16, heads=2, d_ff=32, layers=2, initializer_range=0.2)
        >>> bert = BertModel(config).eval()
        >>> all_but_the_next = ~torch.eye(6).roll(1, dims=1).bool()
        >>> x = words = torch.randn(1, 6, 16, requires_grad=True)
        >>> for layer in bert.layers:
        ...     x = layer(x, lambda attention, x: attention(x, x, x, all_but_the_next))
        ...     (gradient,) = torch.autograd.grad(x[0, 2, 0], words, retain_graph=True)
        ...     print("position 2 knows of word 3:", bool(gradient[0, 3].any()))
        position 2 knows of word 3: False
        position 2 knows of word 3: True

        So BERT hides the word itself. Trained to name words that it can see, a model copies them and needs no other:
        its loss is nearly 0, and it has learned nothing. These texts say each word twice, yet it can't fill in the
        second from the first better than by chance, which is 1 in 16. With words hidden it learns to.

        >>> def train(masking):
        ...     _ = torch.manual_seed(0)
        ...     config = BertConfig(
        ...         vocab_size=120, d_model=32, heads=2, d_ff=64, layers=1, dropout=0.0, initializer_range=0.2
        ...     )
        ...     bert = BertModel(config)
        ...     model = BertForMaskedLM(bert)
        ...     optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        ...     for _ in range(100):
        ...         text = torch.randint(104, 120, (64, 4)).repeat(1, 2)
        ...         inputs, masked_indices = mask_tokens(text, vocab_size=120)
        ...         logits = model(inputs if masking else text, masked_indices=masked_indices)
        ...         loss = F.cross_entropy(logits, text[masked_indices])
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         optimizer.step()
        ...     text = torch.randint(104, 120, (500, 4)).repeat(1, 2)
        ...     accuracy = model(text.index_fill(1, torch.tensor(5), 103))[:, 5].argmax(dim=-1) == text[:, 5]
        ...     return loss.item(), accuracy.float().mean().item()
        >>> loss, accuracy = train(masking=False)
        >>> loss < 0.1, accuracy < 0.2
        (True, True)
        >>> loss, accuracy = train(masking=True)
        >>> accuracy > 0.95
        True
    """


def how_a_token_is_masked() -> None:
    """
    Answers: bert.how-a-token-is-masked
        Of each input, 15% of the tokens are chosen. Of these, 80% become `[MASK]`, 10% a random token, and 10% stay.

        >>> import torch
        >>> from torch.nn import functional as F
        >>> from reference_impl.bert import BertConfig, BertForMaskedLM, BertModel, mask_tokens
        >>> _ = torch.manual_seed(0)
        >>> text = torch.randint(1000, 30_000, (4000, 100))
        >>> inputs, masked_indices = mask_tokens(text)
        >>> masked_indices.sum(dim=1).unique().tolist()
        [15]
        >>> masked, kept = inputs[masked_indices] == 103, inputs[masked_indices] == text[masked_indices]
        >>> [round(100 * float(share.float().mean())) for share in (masked, kept, ~masked & ~kept)]
        [80, 10, 10]

        The last two are for a model that will never meet `[MASK]` again. If every chosen word were masked, the loss
        would ask about no visible word, and say nothing of what should stand in its place. Below, texts say each word
        twice; both models learn to fill in, and one of them is several times less sure of what it has before its
        eyes.

        >>> def train(always_masked):
        ...     _ = torch.manual_seed(0)
        ...     config = BertConfig(
        ...         vocab_size=120, d_model=32, heads=2, d_ff=64, layers=1, dropout=0.0, initializer_range=0.2
        ...     )
        ...     bert = BertModel(config)
        ...     model = BertForMaskedLM(bert)
        ...     optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        ...     for _ in range(100):
        ...         text = torch.randint(104, 120, (64, 4)).repeat(1, 2)
        ...         inputs, masked_indices = mask_tokens(text, vocab_size=120)
        ...         inputs = text.masked_fill(masked_indices, 103) if always_masked else inputs
        ...         loss = F.cross_entropy(model(inputs, masked_indices=masked_indices), text[masked_indices])
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         optimizer.step()
        ...     text = torch.randint(104, 120, (500, 4)).repeat(1, 2)
        ...     accuracy = model(text.index_fill(1, torch.tensor(5), 103))[:, 5].argmax(dim=-1) == text[:, 5]
        ...     in_sight = F.cross_entropy(model(text).flatten(0, 1), text.flatten())
        ...     return accuracy.float().mean().item(), in_sight.item()
        >>> (one, unsure), (other, sure) = train(always_masked=True), train(always_masked=False)
        >>> one > 0.95, other > 0.95, unsure > 3 * sure
        (True, True, True)
    """


def segments_and_positions() -> None:
    """
    Answers: bert.segments-and-positions
        They tell apart what the words alone do not. Without positions, the same words in another order give the same
        vectors in that order: attention has no order of its own. Without segments, nothing but `[SEP]` says which text
        a word belongs to. Both are learned tables, added to the word's vector before the first norm.

        >>> import torch
        >>> from reference_impl.bert import BertConfig, BertModel
        >>> _ = torch.manual_seed(0)
        >>> config = BertConfig(vocab_size=120, d_model=16, heads=2, d_ff=32, layers=2, initializer_range=0.2)
        >>> bert = BertModel(config).eval()
        >>> input_ids = torch.tensor([[101, 104, 105, 106, 107, 102]])
        >>> token_type_ids = torch.tensor([[0, 0, 0, 1, 1, 1]])
        >>> e = bert.embeddings
        >>> total = e.word_embeddings(input_ids) + e.position_embeddings(6) + e.token_type_embeddings(token_type_ids)
        >>> torch.equal(e(input_ids, token_type_ids), e.norm(total))
        True

        >>> def same_in_another_order():
        ...     order = torch.tensor([0, 3, 1, 4, 2, 5])
        ...     return torch.allclose(bert(input_ids[:, order]), bert(input_ids)[:, order], atol=1e-5)
        >>> def same_with_another_boundary():
        ...     x, y = bert(input_ids, token_type_ids), bert(input_ids, token_type_ids.roll(1))
        ...     return torch.allclose(x, y, atol=1e-5)
        >>> same_in_another_order(), same_with_another_boundary()
        (False, False)
        >>> _ = e.position_embeddings.table.data.zero_(), e.token_type_embeddings.weight.data.zero_()
        >>> same_in_another_order(), same_with_another_boundary()
        (True, True)
    """


def next_sentence_prediction() -> None:
    """
    Answers: bert.next-sentence-prediction
        The second task of pre-training: did text B follow text A, or was it drawn from anywhere? Half of the pairs are
        of each kind, and label 0 means that it followed. What decides is the vector at `[CLS]` alone, so that all it
        takes must have come there by attention. Below, a text keeps to one topic in four.

        >>> import torch
        >>> from reference_impl.bert import BertConfig, BertForPreTraining, BertModel, mask_tokens, pretraining_loss
        >>> _ = torch.manual_seed(0)
        >>> config = BertConfig(
        ...     vocab_size=120, d_model=32, heads=2, d_ff=64, layers=2, dropout=0.0, initializer_range=0.2
        ... )
        >>> bert = BertModel(config)
        >>> model = BertForPreTraining(bert)
        >>> def pairs(b, n=5):
        ...     cls, sep = torch.full((b, 1), 101), torch.full((b, 1), 102)
        ...     is_next, topic = torch.rand(b) < 0.5, torch.randint(4, (b, 1))
        ...     other = torch.where(is_next[:, None], topic, (topic + torch.randint(1, 4, (b, 1))) % 4)
        ...     one, two = (104 + 4 * about + torch.randint(4, (b, n)) for about in (topic, other))
        ...     token_type_ids = torch.tensor([0] * (n + 2) + [1] * (n + 1)).repeat(b, 1)
        ...     return torch.cat([cls, one, sep, two, sep], dim=1), token_type_ids, is_next
        >>> optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
        >>> for _ in range(120):
        ...     input_ids, token_type_ids, is_next = pairs(32)
        ...     inputs, masked_indices = mask_tokens(input_ids, vocab_size=120)
        ...     word_logits, next_logits = model(inputs, token_type_ids, masked_indices=masked_indices)
        ...     optimizer.zero_grad()
        ...     loss = pretraining_loss(word_logits, input_ids[masked_indices], next_logits, is_next)
        ...     loss.backward()
        ...     optimizer.step()
        >>> input_ids, token_type_ids, is_next = pairs(500)
        >>> right = (model(input_ids, token_type_ids)[1].argmax(dim=1) == 0) == is_next
        >>> right.float().mean().item() > 0.9
        True
        >>> x = bert(input_ids, token_type_ids).detach().requires_grad_()
        >>> model.seq_relationship(bert.pool(x)).sum().backward()
        >>> x.grad.abs().amax(dim=(0, 2)).nonzero().tolist()
        [[0]]
    """


def what_fine_tuning_moves() -> None:
    """
    Answers: bert.what-fine-tuning-moves
        All of them. A task adds one layer, for two classes on the base model 1,538 numbers beside 109 million that it
        finds; and then all are trained, a little.

        >>> import copy, torch
        >>> from torch.nn import functional as F
        >>> from reference_impl.bert import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel
        >>> from reference_impl.bert import mask_tokens
        >>> with torch.device("meta"):
        ...     sum(w.numel() for w in BertForSequenceClassification(BertModel(), num_labels=2).classifier.parameters())
        1538

        What pre-training is for shows in the words that the task has no example of. Texts keep to one topic in four,
        with four words to a topic. Pre-training sees all the words and no topic; the task names topics, for 16 texts of
        half the words, and is then tested on the other half.

        >>> _ = torch.manual_seed(0)
        >>> def texts(b, words):
        ...     topic = torch.randint(4, (b,))
        ...     return 104 + 4 * topic[:, None] + words[torch.randint(len(words), (b, 6))], topic
        >>> def train(model, steps, lr, loss):
        ...     optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        ...     for _ in range(steps):
        ...         optimizer.zero_grad()
        ...         loss().backward()
        ...         optimizer.step()
        >>> def masked_lm_loss():
        ...     text, _ = texts(64, torch.arange(4))
        ...     inputs, masked_indices = mask_tokens(text, vocab_size=120)
        ...     return F.cross_entropy(reader(inputs, masked_indices=masked_indices), text[masked_indices])
        >>> config = BertConfig(
        ...     vocab_size=120, d_model=32, heads=2, d_ff=64, layers=1, dropout=0.0, initializer_range=0.2
        ... )
        >>> fresh = BertModel(config)
        >>> bert = copy.deepcopy(fresh)
        >>> reader = BertForMaskedLM(bert)
        >>> train(reader, 80, 0.01, masked_lm_loss)

        >>> text, topic = texts(16, torch.tensor([0, 1]))
        >>> unseen, truth = texts(1000, torch.tensor([2, 3]))
        >>> def tested(start):
        ...     model = BertForSequenceClassification(copy.deepcopy(start), num_labels=4)
        ...     train(model, 30, 0.003, lambda: F.cross_entropy(model(text), topic))
        ...     moved = [bool((a != b).any()) for a, b in zip(model.bert.parameters(), start.parameters())]
        ...     right = (model(unseen).argmax(dim=1) == truth).float().mean()
        ...     return all(moved), right.item()
        >>> (moved, pre_trained), (_, from_scratch) = tested(bert), tested(fresh)
        >>> moved, pre_trained > 0.95, from_scratch < 0.75
        (True, True, True)
    """


def where_the_parameters_are() -> None:
    """
    Answers: bert.where-the-parameters-are
        More than three quarters are in the twelve layers, and in each of them two thirds in the feed-forward network.
        Nearly all of the rest is the table of tokens. The heads of pre-training add little, since the scores of words
        take that table once more. The paper writes 110M, and 340M for the large model.

        >>> import torch
        >>> from reference_impl.bert import BertConfig, BertForPreTraining, BertModel
        >>> def count(*modules):
        ...     return sum(w.numel() for module in modules for w in module.parameters())
        >>> with torch.device("meta"):
        ...     bert, large = BertModel(), BertModel(BertConfig(d_model=1024, heads=16, d_ff=4096, layers=24))
        ...     whole = BertForPreTraining(bert)
        >>> count(bert.embeddings), count(bert.layers), count(bert.pooler), count(bert)
        (23837184, 85054464, 590592, 109482240)
        >>> layer = bert.layers[0]
        >>> count(bert.embeddings.word_embeddings), count(layer.attention), count(layer.intermediate, layer.output)
        (23440896, 2362368, 4722432)
        >>> count(whole) - count(bert), count(whole), count(large)
        (624188, 110106428, 335141888)
    """


def longest_input() -> None:
    """
    Answers: bert.longest-input
        It is refused. No layer would mind: attention and the feed-forward network have weights for any length. The
        table of positions ends at its 512th row, and a row that was never trained would say nothing. So a longer text
        is cut, or read in windows.

        >>> import torch
        >>> from reference_impl.bert import BertConfig, BertModel
        >>> _ = torch.manual_seed(0)
        >>> bert = BertModel(BertConfig(vocab_size=120, d_model=16, heads=2, d_ff=32, layers=2)).eval()
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


def which_gelu() -> None:
    r"""
    Answers: bert.which-gelu
        GELU is $x\,\Phi(x)$ with the normal distribution's $\Phi$, which takes an error function. The authors' code
        computes it by a hyperbolic tangent that comes within 0.0005; much other code, Hugging Face's too, takes the
        error function. Through twelve layers the difference stays small, but is far more than rounding: to compare
        numbers with those of another program, take its form.

        >>> import torch
        >>> from reference_impl.bert import BertConfig, BertLayer
        >>> _ = torch.manual_seed(0)
        >>> configs = (BertConfig(d_model=64, heads=4, d_ff=256, dropout=0.0, gelu=form) for form in ("tanh", "erf"))
        >>> by_tanh, by_erf = (BertLayer(config) for config in configs)
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


def what_padding_costs() -> None:
    """
    Answers: bert.what-padding-costs
        As much as real tokens cost: in a padded batch every input is as long as the longest. Given `unpadded=True`, the
        layers compute the real tokens only. Their vectors are the same, and of the multiplications by weights just
        the share of real tokens is left, here 180 of 512.

        >>> import torch
        >>> from torch.utils.flop_counter import FlopCounterMode
        >>> from reference_impl.bert import BertConfig, BertModel
        >>> from reference_impl.layers.attention import padding_mask
        >>> _ = torch.manual_seed(0)
        >>> config = BertConfig(vocab_size=120, d_model=32, heads=2, d_ff=128, layers=2, max_position_embeddings=128)
        >>> bert = BertModel(config).eval()
        >>> input_ids, mask = torch.randint(104, 120, (4, 128)), padding_mask(torch.tensor([128, 30, 20, 2]), 128)
        >>> vectors, cost = [], []
        >>> for bert.unpadded in (False, True):
        ...     with FlopCounterMode(display=False) as counter:
        ...         vectors.append(bert(input_ids, mask=mask))
        ...     cost.append(counter.get_flop_counts()["Global"][torch.ops.aten.addmm])
        >>> real = mask[:, 0]
        >>> torch.allclose(vectors[0][real], vectors[1][real], atol=1e-5), bool(vectors[1][~real].any())
        (True, False)
        >>> int(real.sum()), real.numel(), cost[1] * real.numel() == cost[0] * int(real.sum())
        (180, 512, True)
    """
