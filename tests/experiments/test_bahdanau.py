"""The baseline's working weights, the measure of where a model looks, and the rules by which claims are judged."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from quaere.content.results import Outcome
from reference_impl.bahdanau import RNNencdec, RNNsearch
from reference_impl.experiments.bahdanau import (
    SIZES,
    Scores,
    alignment_accuracy,
    count_effective_parameters,
    judge_alignments,
    judge_better,
    judge_long_rows,
    judge_robustness,
    model_factories,
)
from reference_impl.experiments.training import count_parameters
from reference_impl.experiments.translation import sample_reversals

SIZE = dataclasses.replace(SIZES["small"], row_length=4, tested_row_lengths=(2, 4, 8))


@pytest.mark.parametrize("kind", [RNNsearch, RNNencdec])
def test_working_weights_are_those_that_the_loss_reaches(kind: type[RNNsearch]) -> None:
    torch.manual_seed(0)
    model = kind(6, 6, embedding_dim=3, hidden_size=4, alignment_size=5, maxout_size=7)
    reached = torch.zeros(count_parameters(model), dtype=torch.bool)
    for _ in range(20):  # a maxout unit passes a gradient to one of its two halves, mostly the same one
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.5)
        source, target = torch.randint(6, (64, 5)), torch.randint(6, (64, 4))
        model.zero_grad()
        model(source, torch.full((64,), 5), target)[0].square().sum().backward()
        reached |= (
            torch.cat([torch.zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in model.parameters()]) != 0
        )
    assert int(reached.sum()) == count_effective_parameters(model)


@pytest.mark.parametrize("size", ["smoke", "small", "full"])
@pytest.mark.parametrize("vocabulary", [24, 800])
def test_both_models_have_one_budget_of_working_weights(size: str, vocabulary: int) -> None:
    with torch.device("meta"):
        counts = {
            kind: count_effective_parameters(make()) for kind, make in model_factories(SIZES[size], vocabulary).items()
        }
    assert max(counts.values()) < 1.05 * min(counts.values()), counts


class Looking(nn.Module):
    """A model that looks at certain places, one for each symbol that it writes and one for the end."""

    def __init__(self, *places: int) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.tensor(places), requires_grad=False)

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> tuple[None, Tensor]:
        return None, nn.functional.one_hot(self.places, 5).float().expand(len(source), *target.shape[1:], 5)


def test_looking_right_is_looking_at_the_symbol_to_be_copied() -> None:
    batch = sample_reversals(3, 5, 4, torch.Generator().manual_seed(0))

    assert alignment_accuracy(Looking(4, 3, 2, 1, 0, 0), 0, *batch) == 1.0
    assert alignment_accuracy(Looking(4, 3, 2, 0, 0, 4), 0, *batch) == pytest.approx(0.8)
    assert alignment_accuracy(Looking(3, 4, 2, 0, 4, 4), 1, *batch) == pytest.approx(0.8)


def scores(searched: list[float], fixed: list[float]) -> dict[tuple[str, bool], list[float]]:
    return {
        ("RNNsearch", True): searched,
        ("RNNencdec", True): fixed,
        ("RNNsearch", False): fixed,
        ("RNNencdec", False): [0.0],
    }


CLEAR, OVERLAP, WORSE = (
    scores([5.0, 6.0], [1.0, 4.0]),
    scores([3.0, 6.0], [1.0, 4.0]),
    scores([0.5, 0.6], [1.0, 4.0]),
)


@pytest.mark.parametrize(
    ("bleu", "right", "outcome"),
    [
        (CLEAR, CLEAR, Outcome.YES),
        (CLEAR, OVERLAP, Outcome.PARTLY),
        (WORSE, CLEAR, Outcome.PARTLY),
        (OVERLAP, OVERLAP, Outcome.NO),  # above on average, but not with every seed
        (WORSE, WORSE, Outcome.NO),
    ],
)
def test_better_is_every_seed_above_every_seed_on_both_tasks(bleu: Scores, right: Scores, outcome: Outcome) -> None:
    assert judge_better("better-than-fixed", SIZE, bleu, right, searched_all=True).outcome == outcome


def test_shorter_training_is_judged_by_the_model_that_saw_short_sentences() -> None:
    finding = judge_better("shorter-training-suffices", SIZE, CLEAR, CLEAR, searched_all=False)
    assert finding.outcome == Outcome.NO  # its scores are the same as those of the fixed vector here
    assert "2.5 (1.0 to 4.0) for RNNsearch-5 against 2.5" in finding.measured


@pytest.mark.parametrize(
    ("right", "outcome"),
    [
        ([(0.99, 0.99, 0.98)], Outcome.YES),
        ([(0.99, 0.98, 0.5)], Outcome.PARTLY),
        ([(0.99, 0.99, 0.98), (0.99, 0.96, 0.98)], Outcome.PARTLY),  # on average it holds
        ([(0.99, 0.9, 0.5)], Outcome.NO),
        ([(0.3, 0.3, 0.3)], Outcome.NO),  # nothing has been learned
    ],
)
def test_length_does_not_hurt_where_long_rows_are_as_good_as_short_ones_in_every_seed(
    right: list[tuple[float, ...]], outcome: Outcome
) -> None:
    assert judge_long_rows(SIZE, right).outcome == outcome


@pytest.mark.parametrize(
    ("searched", "outcome"),
    [
        ([(0.9, 0.9, 0.1)] * 2, Outcome.YES),
        ([(0.9, 0.9, 0.1), (0.9, 0.5, 0.1)], Outcome.NO),  # by less on average, but not with every seed
        ([(0.9, 0.1, 0.1)] * 2, Outcome.NO),
        ([(0.3, 0.3, 0.3)] * 2, Outcome.NO),  # nothing has been learned
    ],
)
def test_falling_less_is_judged_among_lengths_that_were_trained_on(
    searched: list[tuple[float, ...]], outcome: Outcome
) -> None:
    fixed = [(0.9, 0.6, 0.6), (0.9, 0.5, 0.5)]
    assert judge_robustness(SIZE, {("RNNsearch", True): searched, ("RNNencdec", True): fixed}).outcome == outcome


@pytest.mark.parametrize(
    ("looked", "near", "outcome"),
    [
        ([0.95, 0.95], [0.97, 0.97], Outcome.YES),
        ([0.88, 0.95], [0.97, 0.97], Outcome.PARTLY),  # right for 90 % on average, but not in every seed
        ([0.5, 0.5], [0.95, 0.95], Outcome.PARTLY),
        ([0.5, 0.5], [0.88, 0.95], Outcome.NO),
    ],
)
def test_an_alignment_makes_sense_where_it_is_right_or_next_to_right_in_every_seed(
    looked: list[float], near: list[float], outcome: Outcome
) -> None:
    assert judge_alignments(SIZE, looked, near).outcome == outcome
