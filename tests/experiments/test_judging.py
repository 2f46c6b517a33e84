"""What all experiments mean by better, and by reproduced."""

import pytest

from quaere.content.results import Outcome
from reference_impl.experiments.judging import apart, in_every_seed, outcome


@pytest.mark.parametrize(
    ("whole", "part", "word"),
    [
        (True, True, "reproduced"),
        (True, False, "reproduced"),
        (False, True, "partly"),
        (False, False, "not reproduced"),
    ],
)
def test_the_word_is_for_the_most_that_came_out(whole: bool, part: bool, word: str) -> None:
    assert outcome(whole, part) is Outcome(word)


def test_arms_are_apart_if_the_worst_of_the_one_is_better_than_the_best_of_the_other() -> None:
    assert apart([3.0, 4.0, 5.0], [1.0, 2.0, 2.9])
    assert not apart([3.0, 4.0, 50.0], [1.0, 2.0, 3.0])
    assert not apart([1.0, 2.0], [3.0, 4.0])


def test_one_seed_says_nothing() -> None:
    assert not apart([3.0], [1.0, 2.0])
    assert not apart([3.0, 4.0], [1.0])


def test_in_every_seed_compares_seed_with_seed() -> None:
    assert in_every_seed([2.0, 11.0], [1.0, 10.0])
    assert not in_every_seed([2.0, 10.0], [1.0, 10.0])
    assert not in_every_seed([2.0, 11.0], [1.0, 10.0], by=1.0)
    with pytest.raises(ValueError, match="shorter"):
        in_every_seed([1.0, 2.0], [0.0])
