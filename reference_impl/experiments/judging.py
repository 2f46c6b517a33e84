"""How claims are judged: what all experiments mean by better, and by reproduced."""

from collections.abc import Sequence

from quaere.content.results import Outcome


def outcome(whole: bool, part: bool = False) -> Outcome:
    """Return the word for a claim of which all came out, or else a part, or else nothing.

    [](){ #reference_impl.experiments.judging.verdict }
    """
    return Outcome.YES if whole else Outcome.PARTLY if part else Outcome.NO


def apart(higher: Sequence[float], lower: Sequence[float]) -> bool:
    """Say whether each run of the one lies above each run of the other.

    Three seeds of each, if there were no difference, would come out so in one of twenty cases. One seed says nothing.
    """
    return min(len(higher), len(lower)) > 1 and min(higher) > max(lower)


def in_every_seed(higher: Sequence[float], lower: Sequence[float], by: float = 0.0) -> bool:
    """Say whether the one lies above the other by more than so much in each seed, both from the same draws."""
    return all(one - other > by for one, other in zip(higher, lower, strict=True))
