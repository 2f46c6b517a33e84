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

from quaere.errors import WriteError
from quaere.running.experiments import BusyError, ResumeError, Run

HERE = Path(__file__)


class Walk:
    """A random walk, whose place and whose random numbers must both be saved."""

    interval = 10
    is_done = False

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
    (part / "of another save").touch()
    resumed = Broken(1)
    with pytest.raises(OSError, match="full"):
        Run(tmp_path / "run", resume=True).loop("walk", lambda: resumed)
    assert resumed.taken[0] == 50
    assert not part.exists()


def test_a_run_that_is_not_taken_up_again_starts_anew_and_sets_the_last_one_aside(tmp_path: Path) -> None:
    Run(tmp_path / "run").piece("a", lambda: 1)
    assert Run(tmp_path / "run").piece("a", lambda: 2) == 2
    assert json.loads((tmp_path / "run.former" / "a.json").read_text()) == 1


def test_a_run_of_other_code_is_not_taken_up_again(tmp_path: Path) -> None:
    Run(tmp_path / "run", key="then").piece("a", lambda: 1)
    with pytest.raises(ResumeError, match="the code has changed"):
        Run(tmp_path / "run", key="now", resume=True)
    assert Run(tmp_path / "run", key="then", resume=True).piece("a", lambda: 2) == 1


def test_a_run_on_another_device_is_not_taken_up_again(tmp_path: Path) -> None:
    Run(tmp_path / "run", device="cpu").piece("a", lambda: 1)
    with pytest.raises(ResumeError, match="started with --device cpu"):
        Run(tmp_path / "run", resume=True)


def test_a_run_that_is_not_there_is_not_taken_up_again(tmp_path: Path) -> None:
    with pytest.raises(ResumeError, match="no run of this size and seed"):
        Run(tmp_path / "run", resume=True)


def test_two_pieces_of_a_run_have_two_names(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.piece("a", lambda: 1)
    with pytest.raises(ValueError, match="called a"):
        run.piece("a", lambda: 2)


def test_another_process_cannot_be_at_the_same_run(tmp_path: Path) -> None:
    start = "import pathlib; from quaere.running.experiments import Run; run = Run(pathlib.Path('run'))"
    code = f"{start}; print(1); input()"
    other = subprocess.Popen([sys.executable, "-uc", code], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout
    assert other.stdout.readline() == b"1\n"
    try:
        for resume in (False, True):
            with pytest.raises(BusyError, match="another process"):
                Run(tmp_path / "run", resume=resume)
        assert not list(tmp_path.glob("*.former"))
    finally:
        other.kill()
        other.communicate()
    Run(tmp_path / "run", resume=True)
    Run(tmp_path / "run")


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
        from quaere.running.experiments import Run
        spec = importlib.util.spec_from_file_location("walks", {str(HERE)!r})
        walks = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(walks)
        run = Run(pathlib.Path("run"), resume="--resume" in sys.argv)
        with run.shown():
            walk = walks.Walk(1, pause=0 if "--resume" in sys.argv else 0.02)
            print(run.loop("walk", lambda: walk), walk.taken[0])
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ}
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("run/walk.checkpoint/[0-9]*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.1)  # into the next step: the first is still being put on the disk
    process.send_signal(how)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode != 0, out) == (True, b"")
    newest = max(int(path.name) for path in tmp_path.glob("run/walk.checkpoint/[0-9]*"))
    # Ctrl-C saves the step in hand, whatever the interval is.
    assert newest > Walk.interval if how is signal.SIGINT else newest % Walk.interval == 0
    resumed = subprocess.run(
        [*command, "--resume"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    place, first = resumed.stdout.split()
    assert (float(place), int(first)) == (Run(tmp_path / "whole").loop("walk", lambda: Walk(1)), newest)


def test_a_run_counts_the_seconds_before_it_was_stopped_too(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.piece("slow", lambda: time.sleep(0.2))
    with pytest.raises(OSError, match="full"):
        run.loop("walk", lambda: Broken(1, pause=0.004))
    # All but the seven steps after the last checkpoint.
    assert Run(tmp_path / "run", resume=True).seconds >= 0.4
    assert Run(tmp_path / "run").seconds < 0.2


def test_ctrl_c_in_the_last_step_of_a_loop_ends_the_run_once_its_result_is_kept(tmp_path: Path) -> None:
    class Stopped(Walk):
        def step(self, index: int) -> float:
            if index == self.steps - 1:
                os.kill(os.getpid(), signal.SIGINT)
            return super().step(index)

    def both() -> None:
        run = Run(tmp_path / "run")
        with run.shown():
            run.loop("walk", lambda: Stopped(1))
            run.piece("second", lambda: pytest.fail("the run was to be stopped"))

    with pytest.raises(KeyboardInterrupt):
        both()
    again = Run(tmp_path / "run", resume=True).loop("walk", lambda: pytest.fail("its result was to be kept"))
    assert again == Run(tmp_path / "whole").loop("walk", lambda: Walk(1))


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


def test_a_folder_that_can_not_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(WriteError, match="this can't be written: "):
        Run(tmp_path / "runs" / "toy")
