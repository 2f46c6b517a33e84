"""Results as files: nothing is lost on the way to the disk and back, and nothing else is taken for one."""

import base64
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from quaere.content import results
from quaere.content.results import Finding, Gate, Heatmap, Lines, Outcome, Quantity, Result, Series, Table


def result(**more: object) -> Result:
    known = {"experiment": "toy", "size": "small", "key": "1", "commit": "", "at": "2026-01-31T10:20:30+00:00"}
    ran = {"seconds": 61.0, "device": "a machine", "versions": {"python": "3.11"}, "seeds": (0, 1)}
    return Result.model_validate({**known, **ran, **more})


def curve(runs: list[list[float | None]], **more: object) -> Lines:
    series = Series(name="one", x=tuple(map(float, range(len(runs[0])))), runs=tuple(map(tuple, runs)))
    known = {"id": "curve", "title": "A curve", "caption": "It falls.", "alt": "Falls from 2 to 1."}
    return Lines.model_validate({**known, "x": "step", "y": "loss", "series": (series,), **more})


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=5))
def test_what_is_written_is_what_is_read(ys: list[float | None]) -> None:
    table = Table(title="T", columns=("a", "b"), rows=(("x]\n[1, 2", 3), (None, 0.5)))
    written = result(figures=(curve([ys, ys]),), tables=(table,), settings={"steps": [1, 2], "name": "é"})
    assert results.read(written.json_text()) == written


def test_a_list_of_numbers_stands_on_one_line() -> None:
    assert "[ 2.0, 1.0, null ]" in result(figures=(curve([[2.0, 1.0, None]]),)).json_text()


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_has_not_is_stored_as_null(number: float) -> None:
    figure = curve([[1.0, number]])
    assert figure.series[0].runs[0] == (1.0, None)
    assert "NaN" not in result(figures=(figure,), seconds=number).json_text()


@pytest.mark.parametrize(
    ("number", "kept"), [(63_082_496.0, 63_082_496), (63_082_496.5, 63_082_500), (1 / 3, 0.333333)]
)
def test_a_count_keeps_all_its_digits_and_a_measurement_six(number: float, kept: float) -> None:
    assert Quantity(name="parameters", arms={"base": (number,)}).arms["base"] == (kept,)


@pytest.mark.parametrize(
    "wrong",
    [
        {"schema": 2},
        {"figures": [{"kind": "pie"}]},
        {"findings": [{"claim": "faster", "outcome": "true", "needed": "so"}]},
        {"findings": [{"claim": "faster", "outcome": "partly", "rule": "so", "ran": "so"}]},
        {"extra": 1},
    ],
)
def test_what_is_not_a_result_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        result(**wrong)


def test_a_run_of_a_curve_is_as_long_as_its_axis() -> None:
    with pytest.raises(ValidationError, match="2 values for 3 places"):
        Series(name="one", x=(1.0, 2.0, 3.0), runs=((1.0, 2.0),))


def test_a_curve_is_taken_from_the_points_of_each_seed() -> None:
    first: list[dict[str, int | None]] = [{"step": 5, "score": 1, "loss": 3}, {"step": 10, "score": None, "loss": 2}]
    second: list[dict[str, int | None]] = [{"score": 2}, {"score": 4}]
    assert Series.of("one", [first, second], "score") == Series(name="one", x=(5, 10), runs=((1, None), (2, 4)))
    assert Series.of("one", [first], "step", x="loss").x == (3, 2)


def test_a_run_that_ended_early_has_no_values_from_there_on() -> None:
    short, whole = [{"step": 5, "score": 1}], [{"step": 5, "score": 2}, {"step": 10, "score": 4}]
    assert Series.of("one", [short, whole], "score") == Series(name="one", x=(5, 10), runs=((1, None), (2, 4)))


def test_a_map_has_a_value_for_each_row_and_column() -> None:
    with pytest.raises(ValidationError, match="not 2 by 1"):
        Heatmap(id="a", title="T", caption="C", alt="A", rows=("r", "s"), columns=("c",), values=((1.0,), (1.0, 2.0)))


def test_a_row_of_a_table_has_a_cell_for_each_column() -> None:
    with pytest.raises(ValidationError, match="a row of 1 in a table of 2 columns"):
        Table(title="T", columns=("a", "b"), rows=((1,),))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (3, "3"), (12345, "12,345"), (0.12345, "0.123"), (12345.6, "12,346"), (1e-7, "1e-07"), ("x", "x")],
)
def test_a_cell_shows_the_digits_that_a_reader_needs(value: float | str | None, shown: str) -> None:
    assert results.cell(value) == shown


def test_the_words_for_what_became_of_a_claim_are_those_that_pages_show() -> None:
    words = ["reproduced", "partly", "not reproduced", "no verdict at this size", "no experiment"]
    assert [str(one) for one in Outcome] == words
    assert [one.is_verdict for one in Outcome] == [True, True, True, False, False]


MEASURED = {"rule": "Higher.", "ran": "3 steps", "quantities": (Quantity(name="score", arms={"a": (1.0,)}),)}
MET, UNMET = Gate(needs="They converge.", is_met=True), Gate(needs="They are tuned.", is_met=False)


@pytest.mark.parametrize("outcome", [Outcome.YES, Outcome.PARTLY, Outcome.NO])
def test_a_verdict_needs_what_was_measured_and_all_gates(outcome: Outcome) -> None:
    found = Finding.model_validate({"claim": "a", "outcome": outcome, **MEASURED, "gates": (MET,)})
    assert found.gates == (MET,)
    for gap, nothing in {"rule": "", "ran": "", "quantities": ()}.items():
        with pytest.raises(ValidationError, match="needs a rule, what was run, and what was measured"):
            Finding.model_validate({"claim": "a", "outcome": outcome, **MEASURED, gap: nothing})
    with pytest.raises(ValidationError, match="a gate is not met: They are tuned"):
        Finding.model_validate({"claim": "a", "outcome": outcome, **MEASURED, "gates": (MET, UNMET)})


def test_without_a_verdict_a_finding_says_what_one_would_take() -> None:
    known = {"claim": "a", "outcome": Outcome.NO_VERDICT, **MEASURED, "gates": (UNMET,)}
    assert Finding.model_validate({**known, "needed": "more seeds"}).needed == "more seeds"
    with pytest.raises(ValidationError, match="not what one would take"):
        Finding.model_validate(known)
    assert Finding(claim="a", outcome=Outcome.NO_EXPERIMENT, needed="ImageNet").quantities == ()
    with pytest.raises(ValidationError, match="of which there is no experiment"):
        Finding.model_validate({**known, "outcome": Outcome.NO_EXPERIMENT, "needed": "ImageNet"})


def test_an_arm_has_a_value() -> None:
    with pytest.raises(ValidationError, match="no value of the arm `b` in `score`"):
        Quantity(name="score", arms={"a": (1.0,), "b": ()})
    with pytest.raises(ValidationError, match="at least 1"):
        Quantity(name="score", arms={})


@pytest.mark.parametrize("beside", ["reported", "levels"])
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_values_are_held_against_is_finite(beside: str, number: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        Quantity.model_validate({"name": "score", "arms": {"a": (1.0,)}, beside: {"b": number}})


def test_a_quantity_says_its_unit_its_direction_and_its_axis() -> None:
    assert Quantity(name="score", arms={"a": (1.0,)}).title == "score"
    full = Quantity(name="time", unit="s", better="lower", arms={"a": (1.0,)}, log=True)
    assert full.title == "time (s, lower is better, logarithmic)"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((0.1, 0.2, 0.6), "0.3 (0.1 to 0.6)"),
        ((12345.0, 12347.0), "12,346 (12,345 to 12,347)"),
        ((2.0, 2.0), "2"),
        ((0.25,), "0.25"),
        ((1.7e308, 1.7e308), f"{1.7e308:,.0f}"),
        ((None, 1.0), "1 of 2 seeds not finite"),
    ],
)
def test_values_of_seeds_are_said_as_a_mean_and_a_range(values: tuple[float | None, ...], said: str) -> None:
    assert results.mean_and_range(values) == said


def test_results_come_largest_and_newest_first_and_their_names_tell_size_and_device() -> None:
    small, newer, gpu = result(), result(at="2026-02-01T00:00:00+00:00", accelerator="cuda"), result(size="gpu")
    assert results.largest_first([small, gpu, newer]) == (gpu, newer, small)
    assert [one.stem for one in (small, newer, gpu)] == ["toy-small", "toy-small-cuda", "toy-gpu"]


def test_a_spread_says_the_mean_the_lowest_and_the_highest() -> None:
    assert results.spread([0.1, 0.2, 0.6]) == "0.300 (0.100 to 0.600)"
    assert results.spread([10, 20], ".0f") == "15 (10 to 20)"
    assert results.spread([1.0]) == "1.000"
    assert results.spread([math.nan, 1.0], ".1f").startswith("–")


def test_an_image_is_written_as_figures_hold_it() -> None:
    assert base64.b64decode(results.encoded(Image.new("RGB", (2, 2)))).startswith(b"\x89PNG")
