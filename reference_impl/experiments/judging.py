"""The rules that all experiments judge their claims by: what counts as better, and what as reproduced."""

from collections.abc import Mapping, Sequence

from quaere.content.results import Finding, Outcome


def outcome(whole: bool, part: bool = False) -> Outcome:
    """Return a claim's outcome: reproduced if all of it holds, partly if a part does, not reproduced otherwise.

    [](){ #reference_impl.experiments.judging.verdict }
    """
    return Outcome.YES if whole else Outcome.PARTLY if part else Outcome.NO


def all_runs_above(higher: Sequence[float], lower: Sequence[float]) -> bool:
    """Return whether every run of the first arm lies above every run of the second.

    With three seeds an arm, and no difference between the arms, this happens in one of twenty cases. With a single
    seed it is always false.
    """
    return min(len(higher), len(lower)) > 1 and min(higher) > max(lower)


def differences(minuend: Sequence[float], subtrahend: Sequence[float]) -> list[float]:
    """Return by how much the first arm lies above the second in each seed, seeds paired."""
    return [one - other for one, other in zip(minuend, subtrahend, strict=True)]


def each_seed_above(higher: Sequence[float], lower: Sequence[float], margin: float = 0.0) -> bool:
    """Return whether the first arm lies above the second by more than the margin in each seed, seeds paired."""
    return all(gap > margin for gap in differences(higher, lower))


def outcome_above(higher: Sequence[float], lower: Sequence[float]) -> Outcome:
    """Return the outcome of a comparison: reproduced if all runs are above the other arm's, partly if each seed is."""
    return outcome(all_runs_above(higher, lower), each_seed_above(higher, lower))


def not_tried(why: Mapping[str, str]) -> tuple[Finding, ...]:
    """Return the findings on claims that were not put to the test, with the reason for each."""
    return tuple(Finding(claim=claim, outcome=Outcome.NOT_TRIED, why=each) for claim, each in why.items())
