"""Sentence pairs and reversals: no leak from training to test, and tokenization is invertible."""

import pytest
import torch

from reference_impl.experiments.translation import (
    BOS,
    EOS,
    UNK,
    Corpus,
    Pair,
    PairDataset,
    SubwordTokenizer,
    _letters,
    _numbered,
    bleu,
    collate,
    load_corpus,
    sample_reversals,
    target_mask,
)


@pytest.fixture(scope="module")
def french() -> Corpus:
    return load_corpus(("fr",), max_words=8)


@pytest.fixture(scope="module")
def tokenizer(french: Corpus) -> SubwordTokenizer:
    return SubwordTokenizer(SubwordTokenizer.train(french.train, 400))


def test_no_source_and_no_target_of_the_test_was_trained_on(french: Corpus) -> None:
    assert len(french.train) > 500
    assert len(french.test) > 50
    for side in ("source", "target"):
        known = {_letters(getattr(pair, side)) for pair in french.train}
        assert not known & {_letters(getattr(pair, side)) for pair in french.test}, side


def test_an_english_message_is_on_the_same_side_in_every_language(french: Corpus) -> None:
    both = load_corpus(("es", "fr"), max_words=8)
    trained = {_letters(pair.source) for pair in both.train}
    assert not trained & {_letters(pair.source) for pair in both.test}
    assert {pair.language for pair in both.test} == {"es", "fr"}


def test_a_language_without_a_catalog_is_refused() -> None:
    with pytest.raises(ValueError, match="no message of Django or Sphinx is translated into xx"):
        load_corpus(("xx",))


def test_placeholders_are_numbered_as_the_source_has_them_and_must_agree() -> None:
    assert _numbered("%(a)s of %s", "%s von %(a)s", "de") == Pair("{1} of {2}", "{2} von {1}", "de")
    assert _numbered("%(a)s of %s", "von %(a)s", "de") is None


def test_decoding_inverts_encoding(french: Corpus, tokenizer: SubwordTokenizer) -> None:
    # Characters that occur in no training pair become unknown tokens.
    known = [pair for pair in french.test if UNK not in tokenizer.encode(pair)[1]]
    assert len(known) > 0.9 * len(french.test)
    assert [tokenizer.decode(tokenizer.encode(pair)[1]) for pair in known] == [pair.target for pair in known]


def test_a_source_begins_with_the_target_language_and_a_placeholder_is_one_token(tokenizer: SubwordTokenizer) -> None:
    source, target = tokenizer.encode(Pair("Delete {1}", "Supprimer {1}", "fr"))
    assert tokenizer.convert_ids_to_tokens(source)[0] == "<fr>"
    assert tokenizer.convert_ids_to_tokens(target)[-2:] == ["{1}", "<end>"]


def test_tokenizer_training_is_deterministic(french: Corpus) -> None:
    assert SubwordTokenizer.train(french.train, 400) == SubwordTokenizer.train(french.train, 400)


def test_a_batch_holds_pairs_that_belong_together(french: Corpus, tokenizer: SubwordTokenizer) -> None:
    pairs = PairDataset([tokenizer.encode(pair) for pair in french.train])
    source, lengths, target = pairs.sample_batch(16, torch.Generator().manual_seed(1))
    assert len(source) == 16
    for row, length, written in zip(source.tolist(), lengths.tolist(), target.tolist(), strict=True):
        assert written[0] == BOS
        read = row[:length], written[1 : written.index(EOS) + 1]
        assert read in pairs.tokens


def test_only_tokens_up_to_the_first_end_count() -> None:
    _, _, target = collate([([5, EOS], [7, EOS]), ([5, EOS], [7, 8, 9, EOS])])
    assert target_mask(target[:, 1:]).tolist() == [[True, True, False, False], [True, True, True, True]]


def test_targets_are_reversed_sources_without_special_tokens() -> None:
    source, lengths, target = sample_reversals(50, 5, 7, torch.Generator().manual_seed(0))
    assert torch.equal(target[:, 1:-1].flip(1), source)
    assert (lengths == 5).all()
    assert (target[:, 0] == BOS).all()
    assert (target[:, -1] == EOS).all()
    assert set(source.flatten().tolist()) == set(range(UNK, UNK + 7))


def test_bleu_is_100_for_the_reference_alone() -> None:
    pairs = [Pair("Please choose a valid file.", "Veuillez choisir un fichier valide.")]
    assert bleu(["Veuillez choisir un fichier valide."], pairs) == pytest.approx(100)
    assert bleu(["Un fichier."], pairs) < 20
