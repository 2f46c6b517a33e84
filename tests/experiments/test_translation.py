"""The generated sentences: right French, a right alignment, no leak from training to test; batches and metrics."""

import random
from collections.abc import Iterator
from itertools import islice

import pytest
import torch

from reference_impl.experiments.translation import (
    ADJECTIVES,
    BOS,
    DETERMINERS,
    EOS,
    NOUNS,
    PREPOSITIONS,
    RELATIVE,
    VERBS,
    VOCABULARY,
    Pair,
    bleu,
    collate,
    decode,
    held_out_pairs,
    rise_and_fall,
    sample_batch,
    sample_pair,
    sample_pairs,
    target_mask,
)


def sampled(count: int) -> list[Pair]:
    rng = random.Random(3)
    return [sample_pair(rng) for _ in range(count)]


def stems(word: str) -> Iterator[str]:
    """Yield what any French translation of an English word begins with."""
    yield from DETERMINERS.get(word, "").split()
    for known in (PREPOSITIONS, RELATIVE, ADJECTIVES, VERBS):
        if word in known:
            yield known[word]
    if word.removesuffix("s") in NOUNS:
        yield NOUNS[word.removesuffix("s")].split()[0]


def test_each_french_word_is_aligned_with_an_english_word_that_it_translates() -> None:
    for pair in sampled(200):
        assert sorted(pair.alignment) == list(range(len(pair.source)))
        for word, at in zip(pair.target, pair.alignment, strict=True):
            assert word.startswith(tuple(stems(pair.source[at]))), (word, pair.source[at])


def test_adjectives_follow_their_noun_and_agree_with_it() -> None:
    seen = set()
    for pair in sampled(400):
        noun = ""
        for word, at in zip(pair.target, pair.alignment, strict=True):
            english = pair.source[at]
            if english.removesuffix("s") in NOUNS:
                noun = english
            if english in ADJECTIVES:
                is_feminine, is_plural = NOUNS[noun.removesuffix("s")].endswith("f"), noun.endswith("s")
                assert word == ADJECTIVES[english] + "e" * is_feminine + "s" * is_plural
                seen.add((is_feminine, is_plural))
    assert len(seen) == 4


@pytest.mark.parametrize("number", ["", "s"])
def test_a_verb_agrees_with_its_subject_across_what_stands_between(number: str) -> None:
    found = 0
    for pair in sampled(1000):
        words = pair.source
        verbs = [i for i, word in enumerate(words) if word in VERBS and words[i - 1] != "that"]
        (main,) = verbs
        nouns = [word for word in words[:main] if word.removesuffix("s") in NOUNS]
        # Another noun stands next to the verb, of the other number.
        if nouns[0].endswith("s") is (number == "s") is not nouns[-1].endswith("s"):
            assert pair.target[main] == VERBS[words[main]] + ("aient" if number else "ait")
            found += 1
    assert found > 20


def test_no_held_out_sentence_is_trained_on() -> None:
    held_out = {pair.source for pair in held_out_pairs(100, (5, 6))}
    trained = {pair.source for pair in islice(sample_pairs(random.Random(1), (5, 6), held_out=False), 1500)}
    assert not held_out & trained
    # Without the hash, some would be in both: there are few short sentences.
    both = {pair.source for pair in islice(sample_pairs(random.Random(1), (5, 6), held_out=True), 500)}
    assert held_out & both


def test_half_of_the_sentences_have_at_most_ten_words() -> None:
    lengths = [len(pair.source) for pair in sampled(2000)]
    assert sum(length <= 10 for length in lengths) / 2000 == pytest.approx(0.5, abs=0.05)
    assert (min(lengths), max(lengths)) >= (5, 20)


def test_decoding_inverts_collating() -> None:
    pairs = sampled(20)
    source, lengths, target = collate(pairs)
    assert lengths.tolist() == [len(pair.source) + 1 for pair in pairs]
    assert [decode(row) for row in source.tolist()] == [" ".join(pair.source) for pair in pairs]
    assert [decode(row) for row in target[:, 1:].tolist()] == [" ".join(pair.target) for pair in pairs]
    assert (target[:, 0] == BOS).all()
    assert len(set(VOCABULARY)) == len(VOCABULARY)


def test_a_batch_has_one_quarter_of_the_lengths_and_all_quarters_are_equally_likely() -> None:
    batches = [sample_batch(8, 12, torch.Generator().manual_seed(seed))[1] for seed in range(200)]
    assert all(len(lengths) == 8 and int(lengths.max()) <= 13 for lengths in batches)
    means = [float(lengths.float().mean()) for lengths in batches]
    assert float(torch.tensor(means).mean()) == pytest.approx(
        sum(len(pair.source) + 1 for pair in islice(sample_pairs(random.Random(9), (1, 12), held_out=False), 2000))
        / 2000,
        abs=0.4,
    )
    assert min(means) < 6.6 < 11 < max(means)


def test_only_tokens_up_to_the_first_end_count() -> None:
    target = torch.tensor([[BOS, 7, EOS, EOS, EOS], [BOS, 7, 8, 9, EOS]])
    assert target_mask(target[:, 1:]).tolist() == [[True, True, False, False], [True, True, True, True]]


def test_bleu_is_100_for_the_reference_alone() -> None:
    pairs = sampled(5)
    references = [" ".join(pair.target) for pair in pairs]
    assert bleu(references, pairs) == pytest.approx(100)
    assert bleu([" ".join(pair.source) for pair in pairs], pairs) < 5
    # Half of the words, in order.
    assert 20 < bleu([" ".join(text.split()[: len(text.split()) // 2]) for text in references], pairs) < 60


def test_the_learning_rate_rises_to_its_peak_and_falls_to_zero() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = rise_and_fall(0.5, 4, 10, optimizer)
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:4] == pytest.approx([0.125, 0.25, 0.375, 0.5])
    assert rates[4:] == pytest.approx([0.5, 5 / 12, 1 / 3, 0.25, 1 / 6, 1 / 12])
