"""The benchmarks' own arithmetic, on clocks and rows that are made up, and every row at a tiny size."""

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from benchmarks import __main__ as command
from benchmarks import measure, report
from benchmarks.measure import Times
from benchmarks.row import ROWS as KNOWN
from benchmarks.row import DifferentOutputsError, Measured, Pair, Row, Setting, measured, outputs_agree
from benchmarks.rows import ROWS
from benchmarks.rows.performer import LENGTHS
from quaere.content.results import Result

TINY = Setting(tiny=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "product_rate", lambda *_, **__: 1e9)


class Clock:
    """A clock that stands still but for the work that is told to it."""

    def __init__(self) -> None:
        self.now, self.log = 0.0, ""

    def __call__(self) -> float:
        return self.now

    def work(self, name: str, seconds: float) -> Any:
        def run() -> None:
            self.now += seconds
            self.log += name

        return run


def made_up(ours: Any, theirs: Any, **settings: Any) -> Row:
    return Row("made-up", "Nothing.", "nobody", "things", lambda at: Pair(ours, theirs, items=6), **settings)


def found(ratio: float, **settings: Any) -> Measured:
    times = Times(tuple((1.0, ratio * spread) for spread in (0.99, 1.0, 1.01)))
    row = made_up(None, None, **settings)
    return Measured(row, TINY, 6, times, operations=100, memory=(10, 20), rate=100.0)


# Pairs and ratios


def test_two_pieces_of_work_take_turns_and_change_who_is_first() -> None:
    clock = Clock()
    times = measure.paired(clock.work("a", 1.0), clock.work("b", 3.0), seconds=14, clock=clock)
    assert clock.log == "ab" + "abbaab"
    assert times.pairs == ((1.0, 3.0),) * 3
    assert times.ratio == 3.0


def test_it_goes_on_for_the_time_that_is_given_and_no_further_than_the_most_pairs() -> None:
    clock = Clock()
    assert len(measure.paired(clock.work("a", 1.0), clock.work("b", 1.0), seconds=20, clock=clock).pairs) == 9
    clock = Clock()
    times = measure.paired(clock.work("a", 1.0), clock.work("b", 1.0), seconds=1e6, clock=clock)
    assert len(times.pairs) == measure.MOST


def test_short_work_is_repeated_within_a_sample_and_its_time_is_that_of_a_call() -> None:
    clock = Clock()
    times = measure.paired(clock.work("a", 1 / 256), clock.work("b", 1.0), seconds=0, clock=clock)
    assert clock.log.count("a") == 1 + 3 * 6
    assert times.pairs == ((1 / 256, 1.0),) * 3


def test_a_ratio_is_the_median_of_paired_ratios_and_not_the_ratio_of_medians() -> None:
    times = Times(((1.0, 2.0), (10.0, 30.0), (2.0, 8.0), (4.0, 20.0), (100.0, 100.0)))
    assert times.ratios == [2.0, 3.0, 4.0, 5.0, 1.0]
    assert times.ratio == 3.0
    assert times.quartiles == (2.0, 4.0)
    assert (times.ours, times.theirs) == (4.0, 20.0)


# Outputs


def test_differences_are_shares_of_the_largest_number_and_whole_numbers_must_be_equal() -> None:
    one, other = torch.tensor([1.0, 200.0]), torch.tensor([1.0, 100.0])
    assert measure.difference(one, other) == 1.0
    assert measure.difference({"a": one, "b": [one]}, {"b": [one], "a": one}) == 0.0
    assert measure.difference(np.array([2.0]), torch.tensor([1.0])) == 1.0
    assert measure.difference(torch.tensor([1, 2]), torch.tensor([1, 3])) == math.inf
    assert measure.difference(torch.ones(2), torch.ones(3)) == math.inf
    assert measure.difference(torch.tensor([math.nan]), torch.tensor([1.0])) == math.inf


def test_a_row_whose_outputs_differ_is_refused_with_the_difference() -> None:
    row = made_up(lambda: torch.tensor([1.0]), lambda: torch.tensor([1.5]))
    with pytest.raises(DifferentOutputsError, match=r"^made-up: outputs differ by 0.333, more than 0.0001$"):
        measured(row, TINY, seconds=0)


def test_a_command_that_meets_such_a_row_stops_with_1_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(KNOWN, "made-up", made_up(lambda: torch.ones(1), lambda: torch.zeros(1)))
    assert command.main(["--row", "made-up", "--output", str(tmp_path / "out.json")]) == 1
    assert "made-up: outputs differ" in capsys.readouterr().out
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize("name", ROWS)
def test_both_sides_of_a_row_return_the_same(name: str) -> None:
    row = ROWS[name]
    torch.manual_seed(0)
    pair = row.make(TINY)
    with torch.set_grad_enabled(row.trains):
        outputs_agree(row, pair, TINY)
    assert pair.items > 0
    assert row.tolerance or "exact" in name
    assert row.what.endswith(".")


def test_a_training_step_agrees_with_torchs_in_double_precision() -> None:
    setting = replace(TINY, dtype=torch.float64)
    outputs_agree(replace(ROWS["transformer-step"], tolerance=1e-12), ROWS["transformer-step"].make(setting), setting)


def test_numbers_of_16_bits_may_differ_by_more() -> None:
    row, pair = made_up(None, None), Pair(lambda: torch.tensor([1.0]), lambda: torch.tensor([1.03]), items=1)
    outputs_agree(row, pair, replace(TINY, dtype=torch.bfloat16))
    with pytest.raises(DifferentOutputsError):
        outputs_agree(row, pair, TINY)


# Operations and memory


def test_operations_are_those_of_products_and_of_fused_attention() -> None:
    one, other = torch.randn(3, 5), torch.randn(5, 7)
    assert measure.operations(lambda: one @ other) == 2 * 3 * 5 * 7
    q, k, v = torch.randn(1, 2, 4, 8), torch.randn(1, 2, 6, 8), torch.randn(1, 2, 6, 8)
    attend = torch.nn.functional.scaled_dot_product_attention
    assert measure.operations(lambda: attend(q, k, v)) == 2 * 2 * (2 * 4 * 6 * 8)


def test_the_most_that_was_held_leaves_out_what_was_there_before() -> None:
    events = [(1, 100), (9, -400), (2, 50), (1, -100), (3, 70), (2, -50)]
    assert measure.most_held(events) == 150


@pytest.mark.filterwarnings("ignore")  # the profiler's own
def test_memory_is_that_of_torch_and_of_numpy_and_not_of_inputs() -> None:
    x, y = torch.ones(2**18), np.ones(2**18, np.float32)
    held = 4 * 2**18
    assert measure.peak_memory(lambda: (x + 1) + 1, "cpu") == pytest.approx(2 * held, rel=0.05)
    assert measure.peak_memory(lambda: (y + 1) + 1, "cpu") == pytest.approx(2 * held, rel=0.05)


def test_a_slope_is_the_power_of_growth() -> None:
    assert measure.slope([1, 2, 4], [3, 12, 48]) == pytest.approx(2)


# Remarks


def test_a_row_says_why_it_falls_short_and_only_then() -> None:
    assert found(1.2, slower="It loops.").remark == ""
    assert found(0.5, slower="It loops.").remark == "It loops."
    assert found(1.4, aim=1.4, slower="It loops.").remark == ""
    assert found(1.4, aim=1.5).remark == "Slower than aimed at; not profiled yet."


def test_a_row_that_is_as_fast_as_its_peer_is_called_level() -> None:
    level = "Level: the quartiles lie on both sides of 1."
    assert found(0.998).remark == level
    assert found(0.998, slower="It loops.").remark == f"{level} It loops."
    assert found(1.002, slower="It loops.").remark == level


def test_a_row_that_leaves_the_machine_idle_says_why() -> None:
    row = made_up(None, None, share=0.8, idle="It copies.")
    assert replace(found(2.0), row=row, operations=50).remark == "It copies."
    assert replace(found(2.0), row=row, operations=90).remark == ""


# Results


def all_measured(power: float = 1.0) -> Iterator[Measured]:
    for (name, n), exact in itertools.product(LENGTHS.items(), ("", "-exact")):
        ours = n**power * 1e-6
        times = Times(((ours, (n / 1024) ** 2 * 1e-3 if exact else 2 * ours),) * 3)
        row = ROWS[f"performer-{name}{exact}"]
        yield Measured(row, TINY, n, times, operations=n, memory=(100 * n, 10 * n if exact else 300 * n), rate=1e9)


def test_growth_that_is_steeper_than_aimed_at_says_why() -> None:
    notes = [report.summarize(list(all_measured(power)), minutes=1).tables[1].note for power in (1.0, 1.2)]
    assert ["steeper in time" in note for note in notes] == [False, True]


def test_a_whole_run_becomes_a_result_with_the_powers_of_growth() -> None:
    outcome = report.summarize(list(all_measured()), minutes=1)
    growth = next(table for table in outcome.tables if table.title.startswith("Growth"))
    assert [tuple(map(str, row)) for row in growth.rows] == [
        ("FAVOR+, ours", "1.0", "1.0"),
        ("FAVOR+, performer-pytorch", "1.0", "1.0"),
        ("exact attention", "2.0", "1.0"),
    ]
    text = report.result(outcome, command.ROOT, "cpu", 3.0).json_text()
    result = Result.model_validate(json.loads(text))
    assert [figure.id for figure in result.figures] == ["performer-time", "performer-memory"]
    assert len(result.tables[0].rows) == len(LENGTHS) * 2
    assert {"torch", "transformers", "performer-pytorch"} <= set(result.versions)


def test_some_rows_make_no_figures() -> None:
    assert report.summarize([found(1.0)], minutes=1).figures == ()


def a_quick_row() -> Row:
    return made_up(lambda: torch.ones(1), lambda: torch.ones(1))


def test_a_run_of_some_rows_leaves_the_committed_results_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results.json")
    monkeypatch.setitem(KNOWN, "made-up", a_quick_row())
    assert command.main(["--row", "made-up", "--minutes", "0"]) == 0
    assert not (tmp_path / "results.json").exists()
    for name in set(KNOWN) - {"made-up"}:
        monkeypatch.delitem(KNOWN, name)
    assert command.main(["--minutes", "0"]) == 0
    written = Result.model_validate_json((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert written.tables[0].rows[0][0] == "made-up"


def test_an_unknown_row_is_refused_with_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        command.main(["--row", "bert-paded"])
    assert refused.value.code == 2
    assert "no row is called bert-paded; hint: did you mean `bert-padded`?" in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_said_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as refused:
        command.main(["--device", "cuda"])
    assert refused.value.code == 2
    assert "there is no GPU here" in capsys.readouterr().err


def test_a_gpu_adds_two_precisions_compiled_or_not() -> None:
    names = [setting.named("vit") for setting in command.settings(ROWS["vit"], "cuda")]
    assert names == [
        "vit",
        "vit, cuda, float32",
        "vit, cuda, float32, compiled",
        "vit, cuda, bfloat16",
        "vit, cuda, bfloat16, compiled",
    ]
    assert len(list(command.settings(ROWS["lstm"], "cuda"))) == 1


def test_a_run_prints_each_row_as_soon_as_it_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    command.run([a_quick_row()], "cpu", minutes=0, console=Console(soft_wrap=True))
    assert "made-up" in capsys.readouterr().out
