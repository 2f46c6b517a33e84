"""What all experiments mean by better, and by reproduced."""

import pytest

from quaere.content.results import Outcome
from reference_impl.experiments.judging import (
    all_runs_above,
    converged,
    differences,
    each_seed_above,
    enough_seeds,
    gate,
    judge,
    learned,
    no_experiment,
    outcome,
    quantity,
    tuned,
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


def test_claims_without_an_experiment_say_what_one_would_take() -> None:
    (finding,) = no_experiment({"at-scale": "a cluster"})
    assert (finding.claim, finding.outcome, finding.needed) == ("at-scale", Outcome.NO_EXPERIMENT, "a cluster")


SCORE = quantity("score", {"a": [1.0, 2.0]}, "higher", reported={"a": 3.0}, levels={"chance": 0.5})


@pytest.mark.parametrize(
    ("reproduced", "partly", "met", "said"),
    [
        (True, False, True, Outcome.YES),
        (False, True, True, Outcome.PARTLY),
        (False, False, True, Outcome.NO),
        (True, True, False, Outcome.NO_VERDICT),
        (False, False, False, Outcome.NO_VERDICT),
    ],
)
def test_there_is_no_verdict_unless_all_gates_are_met(reproduced: bool, partly: bool, met: bool, said: Outcome) -> None:
    gates = (gate("It is warm.", True), gate("They converge.", met, "20%"))
    found = judge(
        "big", "Higher.", ran="3 steps", quantities=[SCORE], reproduced=reproduced, partly=partly, gates=gates
    )
    assert (found.outcome, found.needed) == (said, "" if met else "They converge.")
    assert found.quantities == (SCORE,)


def test_a_verdict_takes_what_the_experiment_says_if_it_says_so() -> None:
    found = judge(
        "big", "It is.", ran="3", quantities=[SCORE], reproduced=True, gates=[gate("a", False)], needed="a GPU"
    )
    assert (found.outcome, found.needed) == (Outcome.NO_VERDICT, "a GPU")


def test_a_task_is_learned_if_every_seed_of_some_arm_is_above_the_level() -> None:
    values = {"a": [0.6, 0.9], "b": [0.2, 0.9]}
    assert learned(values, 0.5, "chance").is_met
    assert not learned(values, 0.5, "chance", by_all=True).is_met
    assert not learned(values, 0.6, "chance").is_met
    assert "0.6" in learned(values, 0.5, "chance").measured


def curve(*values: float) -> list[dict[str, float]]:
    return [{"step": step, "score": value} for step, value in enumerate(values)]


FLAT, RISING = curve(0, 5, 8, 10, 10, 10, 10, 10, 10), curve(0, 1, 2, 3, 4, 5, 6, 7, 8)


def test_arms_have_converged_if_the_last_third_brings_little() -> None:
    assert converged({"a": [FLAT, FLAT]}, "score").is_met
    assert not converged({"a": [FLAT, FLAT], "b": [RISING, RISING]}, "score").is_met
    assert converged({"b": [RISING]}, "score", tolerance=0.5).is_met
    falling = curve(*(10 - point["score"] for point in FLAT))
    assert converged({"a": [falling]}, "score", higher_is_better=False).is_met
    assert not converged({"b": [RISING[::-1]]}, "score", higher_is_better=False).is_met


def test_few_measurements_say_nothing_of_convergence_and_what_never_learned_gains_nothing() -> None:
    found = converged({"a": [FLAT[:5]]}, "score")
    assert (found.is_met, found.measured) == (False, "a too few measurements")
    assert converged({"a": [curve(*[3.0] * 9)]}, "score").is_met


def test_runs_that_ended_at_different_times_are_judged_each_by_its_own() -> None:
    assert converged({"a": [FLAT, FLAT[:7]]}, "score").is_met


def test_an_option_at_the_edge_of_those_that_were_tried_is_not_tuned() -> None:
    rates = (0.1, 0.01, 0.001)
    assert tuned({"a": 0.01}, rates, "the learning rate").is_met
    assert not tuned({"a": 0.01, "b": 0.1}, rates, "the learning rate").is_met
    assert tuned({"a": 0.01, "b": 0.1}, {"a": rates, "b": (0.01, 0.1, 1.0)}, "the learning rate").is_met


def test_seeds_are_counted() -> None:
    assert enough_seeds({"a": [1.0, 2.0, 3.0]}).is_met
    assert not enough_seeds({"a": [1.0, 2.0, 3.0], "b": [1.0]}).is_met


def test_a_quantity_keeps_each_seed_and_what_the_paper_reports() -> None:
    assert (SCORE.arms, SCORE.reported, SCORE.levels) == ({"a": (1.0, 2.0)}, {"a": 3.0}, {"chance": 0.5})
