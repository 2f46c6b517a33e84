"""Runs that are killed at any moment and taken up again, with a loop of random numbers in plain Python."""

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from quaere.run import ResumeError, Run

HERE = Path(__file__)


class Walk:
    """A random walk, whose place and whose random numbers must both be saved."""

    interval = 10

    def __init__(self, seed: int, steps: int = 100, pause: float = 0.0) -> None:
        self.steps, self.pause = steps, pause
        self.random, self.place = random.Random(seed), 0.0
        self.taken: list[int] = []

    def step(self, index: int) -> float:
        time.sleep(self.pause)
        self.taken.append(index)
        self.place += self.random.gauss(0, 1)
        return self.place

    def save(self, folder: Path) -> None:
        version, numbers, rest = self.random.getstate()
        (folder / "state.json").write_text(json.dumps([self.place, version, numbers, rest]))

    def restore(self, folder: Path) -> None:
        self.place, version, numbers, rest = json.loads((folder / "state.json").read_text())
        self.random.setstate((version, tuple(numbers), rest))

    def result(self) -> Any:
        return self.place


class Broken(Walk):
    """A walk that fails at a step."""

    def step(self, index: int) -> float:
        if index == 57:
            raise OSError("the disk is full")
        return super().step(index)


def test_a_piece_is_done_once_and_returns_what_json_makes_of_it(tmp_path: Path) -> None:
    first = Run(tmp_path / "run").piece("two words/of it", lambda: {"x": (1, 2), 3: None})
    assert first == {"x": [1, 2], "3": None}
    again = Run(tmp_path / "run", resume=True).piece("two words/of it", lambda: pytest.fail("done before"))
    assert again == first


def test_pieces_with_names_that_look_alike_are_kept_apart(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    names = ["∅ at 1", "? at 1", "a/b", "a b", "a_b", "..", "."]
    assert [run.piece(name, lambda name=name: name) for name in names] == names  # type: ignore[misc]
    again = Run(tmp_path / "run", resume=True)
    assert [again.piece(name, lambda: "anew") for name in names] == names


def test_a_loop_that_failed_goes_on_from_its_last_checkpoint_to_the_same_number(tmp_path: Path) -> None:
    whole = Run(tmp_path / "whole").loop("walk", lambda: Walk(1))
    with pytest.raises(OSError, match="full"):
        Run(tmp_path / "run").loop("walk", lambda: Broken(1))
    resumed = Walk(1)
    assert Run(tmp_path / "run", resume=True).loop("walk", lambda: resumed) == whole
    assert resumed.taken == list(range(50, 100))
    assert not list((tmp_path / "run").glob("*.checkpoint"))


def test_a_checkpoint_that_was_cut_off_is_not_taken_for_one(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full"):
        Run(tmp_path / "run").loop("walk", lambda: Broken(1))
    part = tmp_path / "run" / "walk.checkpoint" / "part-60"
    part.mkdir()
    (part / "state.json").write_text("[0.1, ")
    resumed = Walk(1)
    Run(tmp_path / "run", resume=True).loop("walk", lambda: resumed)
    assert resumed.taken[0] == 50


def test_a_run_that_is_not_taken_up_again_starts_anew_and_sets_the_last_one_aside(tmp_path: Path) -> None:
    Run(tmp_path / "run").piece("a", lambda: 1)
    assert Run(tmp_path / "run").piece("a", lambda: 2) == 2
    assert json.loads((tmp_path / "run.former" / "a.json").read_text()) == 1


def test_a_run_of_other_code_is_not_taken_up_again(tmp_path: Path) -> None:
    Run(tmp_path / "run", key="then").piece("a", lambda: 1)
    with pytest.raises(ResumeError, match="the code has changed"):
        Run(tmp_path / "run", key="now", resume=True)
    assert Run(tmp_path / "run", key="then", resume=True).piece("a", lambda: 2) == 1


def test_only_the_first_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert Run(tmp_path / "run").loop("walk", lambda: Walk(1)) == Run(tmp_path / "other").loop("walk", lambda: Walk(1))
    assert not [path for path in tmp_path.glob("*/*") if path.suffix != ".checkpoint"]


def test_seeds_follow_the_first(tmp_path: Path) -> None:
    assert list(Run(tmp_path / "run", seed=5).seeds(3)) == [5, 6, 7]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill"])
def test_a_process_that_is_stopped_in_a_loop_goes_on_to_the_same_number(tmp_path: Path, how: signal.Signals) -> None:
    code = f"""
        import importlib.util, pathlib, sys
        from quaere.run import Run
        spec = importlib.util.spec_from_file_location("walks", {str(HERE)!r})
        walks = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(walks)
        run = Run(pathlib.Path("run"), resume="--resume" in sys.argv)
        with run.shown():
            print(run.loop("walk", lambda: walks.Walk(1, pause=0 if "--resume" in sys.argv else 0.02)))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ}
    )
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("run/walk.checkpoint/[0-9]*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(how)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode != 0, out) == (True, b"")
    resumed = subprocess.run(
        [*command, "--resume"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert float(resumed.stdout) == Run(tmp_path / "whole").loop("walk", lambda: Walk(1))


def test_a_run_counts_the_seconds_before_it_was_stopped_too(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.piece("slow", lambda: time.sleep(0.2))
    with pytest.raises(OSError, match="full"):
        run.loop("walk", lambda: Broken(1))
    assert Run(tmp_path / "run", resume=True).seconds >= 0.2
    assert Run(tmp_path / "run").seconds < 0.2


def test_ctrl_c_in_a_piece_ends_the_run_once_the_piece_is_kept(tmp_path: Path) -> None:
    def work() -> int:
        os.kill(os.getpid(), signal.SIGINT)
        return 1

    def both() -> None:
        run = Run(tmp_path / "run")
        with run.shown():
            run.piece("first", work)
            run.piece("second", lambda: pytest.fail("the run was to be stopped"))

    with pytest.raises(KeyboardInterrupt):
        both()
    assert Run(tmp_path / "run", resume=True).piece("first", lambda: 2) == 1
