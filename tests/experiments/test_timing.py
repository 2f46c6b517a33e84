"""Arms are timed in turns."""

from reference_impl.experiments.timing import time_in_turns


def test_arms_take_turns_and_the_first_input_is_for_warm_up() -> None:
    calls: list[tuple[str, int]] = []
    arms = {name: lambda each, name=name: calls.append((name, each)) for name in ("ours", "theirs")}
    seconds = time_in_turns(arms, [0, 1, 2], "cpu")
    assert calls == [(name, each) for each in (0, 1, 2) for name in ("ours", "theirs")]
    assert {name: len(taken) for name, taken in seconds.items()} == {"ours": 2, "theirs": 2}
    assert all(second >= 0 for taken in seconds.values() for second in taken)
