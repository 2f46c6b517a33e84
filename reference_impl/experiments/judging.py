"""The rules that all experiments judge their claims by: what counts as better, and what any verdict needs.

A claim is judged only in its regime: the task was learned, the arms have converged, the baselines were tuned. Each such
condition is a gate. Unless all gates of a claim are met, there is no verdict at this size.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean

from quaere.content.results import Finding, Gate, Outcome, Quantity
from reference_impl.experiments.curves import Curve, moving_average


def judge(
    claim: str,
    rule: str,
    *,
    ran: str,
    quantities: Sequence[Quantity],
    reproduced: bool,
    partly: bool = False,
    gates: Sequence[Gate] = (),
    needed: str = "",
) -> Finding:
    """Return the finding on a claim: no verdict unless all gates are met, then the strongest outcome that holds.

    Args:
        claim: The claim's id on the card.
        rule: The criterion of the outcome, in one sentence.
        ran: What was run, in one line: data, size, steps.
        quantities: What was measured.
        reproduced, partly: Whether the claim holds, or a part of it.
        gates: What any verdict needs.
        needed: What a verdict would take, if a gate is not met; by default, that the gates are met.
    """
    unmet = [gate.needs for gate in gates if not gate.is_met]
    return Finding(
        claim=claim,
        outcome=Outcome.NO_VERDICT if unmet else outcome(reproduced, partly),
        rule=rule,
        ran=ran,
        quantities=tuple(quantities),
        gates=tuple(gates),
        needed=(needed or "; ".join(unmet)) if unmet else "",
    )


def outcome(whole: bool, part: bool = False) -> Outcome:
    """Return a claim's outcome: reproduced if all of it holds, partly if a part does, not reproduced otherwise.

    [](){ #reference_impl.experiments.judging.verdict }
    """
    return Outcome.YES if whole else Outcome.PARTLY if part else Outcome.NO


def no_experiment(needed: Mapping[str, str]) -> tuple[Finding, ...]:
    """Return the findings on claims that no experiment tests, with what it would take for each."""
    return tuple(Finding(claim=claim, outcome=Outcome.NO_EXPERIMENT, needed=each) for claim, each in needed.items())


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


# Gates


def learned(values: Mapping[str, Sequence[float]], level: float, what: str, *, by_all: bool = False) -> Gate:
    """Return the gate that the task was learned: every seed of some arm, or of all arms, lies above a level.

    Args:
        values: What was reached by each arm and seed; higher is better.
        level: The level that takes no learning, such as chance, or the best baseline without it.
        what: What the level is, as in "the accuracy of the most frequent class".
        by_all: Whether all arms must have learned it.
    """
    worst = {arm: min(seeds) for arm, seeds in values.items()}
    is_met = (all if by_all else any)(value > level for value in worst.values())
    who = "every arm" if by_all else "some arm"
    return Gate(
        needs=f"The task is learned: every seed of {who} is above {what}, {level:.3g}.",
        is_met=is_met,
        measured="worst seeds: " + "; ".join(f"{arm} {value:.3g}" for arm, value in worst.items()),
    )


def converged(
    curves: Mapping[str, Sequence[Curve]], measure: str, tolerance: float = 0.05, *, higher_is_better: bool = True
) -> Gate:
    """Return the gate that all arms have converged: the last third of a training brings little of all that it brought.

    The gain of a run is that of a moving average of three measurements: over the last third of the measurements, as a
    share of the gain since the first. It is averaged over the seeds. At least six measurements are needed.

    Args:
        curves: The learning curves of each arm and seed.
        measure: The measure that the claim is about.
        tolerance: The largest share, 0 to 1.
        higher_is_better: Whether the measure rises as the model learns.
    """
    shares = {arm: _late_share(runs, measure, 1 if higher_is_better else -1) for arm, runs in curves.items()}
    return Gate(
        needs=f"All arms have converged: the last third of training brings at most {tolerance:.0%} of the whole gain.",
        is_met=all(share is not None and share <= tolerance for share in shares.values()),
        measured="; ".join(
            f"{arm} {'too few measurements' if share is None else f'{share:.0%}'}" for arm, share in shares.items()
        ),
    )


def _late_share(runs: Sequence[Curve], measure: str, sign: int) -> float | None:
    shares = []
    for run in runs:
        if len(run) < 6:
            return None
        values = [sign * value for value in moving_average(run, measure)]
        late, whole = values[-1] - values[-1 - len(values) // 3], values[-1] - values[0]
        # What got worse, or learned nothing at all, gains nothing any more.
        shares.append(late / whole if whole > 0 else 0.0)
    return max(0.0, fmean(shares))


def tuned(chosen: Mapping[str, float], options: Mapping[str, Sequence[float]] | Sequence[float], what: str) -> Gate:
    """Return the gate that all arms were tuned: the best of the options is not the lowest or the highest of them.

    Args:
        chosen: The option that was best for each arm, on validation data.
        options: The options that were tried: for all arms, or by arm.
        what: What was tuned, as in "the learning rate".
    """
    tried = {arm: sorted(options[arm] if isinstance(options, Mapping) else options) for arm in chosen}
    edges = [arm for arm, best in chosen.items() if best in (tried[arm][0], tried[arm][-1])]
    return Gate(
        needs=f"All arms are tuned: {what} that is best for each lies inside the range that was tried.",
        is_met=not edges,
        measured="; ".join(
            f"{arm} {best:g} of {', '.join(f'{one:g}' for one in tried[arm])}" for arm, best in chosen.items()
        ),
    )


def enough_seeds(values: Mapping[str, Sequence[float]], at_least: int = 3) -> Gate:
    """Return the gate that there are seeds enough to tell a difference from chance."""
    counts = {arm: len(seeds) for arm, seeds in values.items()}
    return Gate(
        needs=f"Every arm has {at_least} seeds or more.",
        is_met=min(counts.values()) >= at_least,
        measured="; ".join(f"{arm} {count}" for arm, count in counts.items()),
    )


def gate(needs: str, is_met: bool, measured: str = "") -> Gate:
    """Return a gate of an experiment's own: what it needs as a sentence, and the numbers that decided."""
    return Gate(needs=needs, is_met=bool(is_met), measured=measured)


def quantity(
    name: str,
    arms: Mapping[str, Sequence[float]],
    better: str = "",
    *,
    unit: str = "",
    reported: Mapping[str, float] | None = None,
    levels: Mapping[str, float] | None = None,
    log: bool = False,
) -> Quantity:
    """Return a measured quantity: one value a seed for each arm (`quaere.content.results.Quantity`)."""
    return Quantity.model_validate(
        {
            "name": name,
            "unit": unit,
            "better": better,
            "arms": {arm: tuple(float(value) for value in values) for arm, values in arms.items()},
            "reported": reported or {},
            "levels": levels or {},
            "log": log,
        }
    )
