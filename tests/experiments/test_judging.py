"""What all experiments mean by better, and by reproduced."""

import pytest

from quaere.content.results import Outcome
from reference_impl.experiments.judging import (
    all_runs_above,
    differences,
    each_seed_above,
    not_tried,
    outcome,
    outcome_above,
)


@pytest.mark.parametrize(
    ("whole", "part", "word"),
    [
        (True, True, "reproduced"),
        (True, False, "reproduced"),
        (False, True, "partly"),
        (False, False, "not reproduced"),
    ],
)
def test_the_outcome_is_the_strongest_that_holds(whole: bool, part: bool, word: str) -> None:
    assert outcome(whole, part) is Outcome(word)


def test_all_runs_of_an_arm_are_above_if_the_worst_of_the_one_is_better_than_the_best_of_the_other() -> None:
    assert all_runs_above([3.0, 4.0, 5.0], [1.0, 2.0, 2.9])
    assert not all_runs_above([3.0, 4.0, 50.0], [1.0, 2.0, 3.0])
    assert not all_runs_above([1.0, 2.0], [3.0, 4.0])


def test_one_seed_says_nothing() -> None:
    assert not all_runs_above([3.0], [1.0, 2.0])
    assert not all_runs_above([3.0, 4.0], [1.0])


def test_each_seed_above_compares_seed_with_seed() -> None:
    assert each_seed_above([2.0, 11.0], [1.0, 10.0])
    assert not each_seed_above([2.0, 10.0], [1.0, 10.0])
    assert not each_seed_above([2.0, 11.0], [1.0, 10.0], margin=1.0)
    with pytest.raises(ValueError, match="shorter"):
        each_seed_above([1.0, 2.0], [0.0])


def test_differences_are_of_seeds_paired() -> None:
    assert differences([3.0, 5.0], [1.0, 6.0]) == [2.0, -1.0]


def test_a_comparison_is_reproduced_by_all_runs_and_partly_by_each_seed() -> None:
    assert outcome_above([3.0, 4.0], [1.0, 2.0]) is Outcome.YES
    assert outcome_above([3.0, 4.0], [1.0, 3.5]) is Outcome.PARTLY
    assert outcome_above([3.0, 4.0], [1.0, 4.5]) is Outcome.NO


def test_claims_that_were_not_tried_are_listed_with_the_reasons() -> None:
    (finding,) = not_tried({"at-scale": "It takes a cluster."})
    assert (finding.claim, finding.outcome, finding.why) == ("at-scale", Outcome.NOT_TRIED, "It takes a cluster.")
