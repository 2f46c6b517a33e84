"""The rules that all experiments judge their claims by: what counts as better, and what as reproduced."""

from collections.abc import Sequence

from quaere.content.results import Outcome


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


def each_seed_above(higher: Sequence[float], lower: Sequence[float], margin: float = 0.0) -> bool:
    """Return whether the first arm lies above the second by more than the margin in each seed, seeds paired."""
    return all(one - other > margin for one, other in zip(higher, lower, strict=True))
