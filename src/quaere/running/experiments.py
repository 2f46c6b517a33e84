"""Run an experiment so that it can be stopped at any moment and resumed.

An experiment is a function `experiment(run) -> Report` in `<implementation>.experiments.<slug>`. It consists of named
pieces. The result of a piece is stored, so a resumed run skips it. A long piece is a loop, whose state is saved at
regular intervals. This module doesn't depend on what the loops compute. With several processes, only the
first one writes.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from quaere import atomic
from quaere.errors import WriteError

_KEY, _DEVICE, _SECONDS = "key", "device", "seconds"


class Loop(Protocol):
    """Steps whose state can be saved and restored. After `restore` the numbers are those of an uninterrupted run."""

    steps: int
    """The number of steps, at most."""
    interval: int
    """Steps between two checkpoints."""
    is_done: bool
    """Whether the loop ends before the last step, such as a training that has converged."""

    def step(self, index: int) -> float:
        """Take one step, and return its loss."""

    def save(self, folder: Path) -> None:
        """Write the whole state, including the random state, into an empty folder."""

    def restore(self, folder: Path) -> None:
        """Read what `save` wrote."""

    def result(self) -> Any:
        """Return the result after the last step, as a value that can be stored as JSON."""


class SizeError(ValueError):
    """The experiment has no such size."""


class DeviceError(ValueError):
    """The selected device is not available."""


class ResumeError(RuntimeError):
    """A run can't be resumed."""


class BusyError(RuntimeError):
    """Another process is working on the same run."""


class Run:
    """One run of an experiment.

    Attributes:
        size: `smoke`, `small`, `gpu` or `full`.
        seed: The first seed.
        device: `auto`, `cpu`, `cuda` or `mps`.
        folder: Where pieces, checkpoints and figures lie.
    """

    def __init__(
        self,
        folder: Path,
        size: str = "smoke",
        seed: int = 0,
        device: str = "auto",
        *,
        key: str = "",
        resume: bool = False,
        console: Console | None = None,
    ) -> None:
        self.size, self.seed, self.device, self.folder, self._resume = size, seed, device, folder, resume
        self.is_first = int(os.environ.get("RANK", "0")) == 0
        self._is_alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
        self._console = console or Console(stderr=True, highlight=False, emoji=False)
        self._progress = _bar(self._console, hidden=not (self.is_first and self._console.is_terminal))
        self._bar = self._progress.add_task("", total=None, loss="")
        self._stopping = False
        self._names = set[str]()
        if resume:
            self._compare_with_former(key)
        if self.is_first:
            self._lock = _locked(folder)
            if folder.exists():
                atomic.sweep(folder)
            if not resume and folder.exists():
                # The last run is set aside, for whoever meant to take it up again.
                former = folder.with_name(f"{folder.name}.former")
                # One that ended before it began holds nothing to take up again.
                if (folder / _DEVICE).exists():
                    shutil.rmtree(former, ignore_errors=True)
                    folder.rename(former)
            atomic.write(folder / _KEY, key)
            atomic.write(folder / _DEVICE, device)
        before = folder / _SECONDS
        self._started = time.monotonic() - (float(before.read_text()) if resume and before.exists() else 0.0)

    def _compare_with_former(self, key: str) -> None:
        if not (self.folder / _DEVICE).exists():
            raise ResumeError("there is no run of this size and seed to resume")
        if (self.folder / _KEY).read_text(encoding="utf-8") != key:
            raise ResumeError("the code has changed since that run: its numbers and new ones are not comparable")
        device = (self.folder / _DEVICE).read_text(encoding="utf-8")
        if device != self.device:
            raise ResumeError(f"that run was started with --device {device}: its numbers and others are not comparable")

    def seeds(self, count: int) -> range:
        """Return the seeds of a run with `count` repetitions."""
        return range(self.seed, self.seed + count)

    def expect(self, loops: int) -> None:
        """Set the number of pieces and loops, so that the remaining time can be estimated."""
        self._progress.update(self._bar, total=loops)

    @property
    def seconds(self) -> float:
        """The seconds that the run has taken, including those before it was resumed."""
        return time.monotonic() - self._started

    def piece(self, name: str, work: Callable[[], Any]) -> Any:
        """Return the result of a piece of work, a value that JSON can store; from the disk if it was done before.

        The work sets its own seed: a resumed run skips finished work, which must not change the numbers of later work.

        Raises:
            ValueError: Another piece of this run has the name.
        """
        if name in self._names:
            raise ValueError(f"two pieces of a run are called {name}")
        self._names.add(name)
        file = self._file(name, ".json")
        # Unless a run is taken up again, what lies there can only be an earlier one's.
        if not (self._resume and file.exists()):
            self._progress.update(self._bar, description=name, loss="")
            # Through JSON at once, so that a piece returns the same whether or not it was read from the disk.
            text = json.dumps(work())
            if self.is_first:
                atomic.write(file, text)
                atomic.write(self.folder / _SECONDS, str(self.seconds))
                self._log(name)
        else:
            text = file.read_text(encoding="utf-8")
        self._progress.update(self._bar, advance=1)
        if self._stopping:
            raise KeyboardInterrupt
        return json.loads(text)

    def loop(self, name: str, make: Callable[[], Loop]) -> Any:
        """Run a loop to its end, and return its result, as `piece` does."""
        before = self._progress.tasks[self._bar].completed
        value = self.piece(name, lambda: self._looped(name, make()))
        self._progress.update(self._bar, completed=before + 1)
        if self.is_first:
            shutil.rmtree(self._file(name, ".checkpoint"), ignore_errors=True)
        return value

    def _looped(self, name: str, loop: Loop) -> Any:
        checkpoint = self._file(name, ".checkpoint")
        start = 0
        for part in checkpoint.glob("part-*") if self.is_first else ():
            shutil.rmtree(part)
        if self._resume and (newest := _newest(checkpoint)) is not None:
            loop.restore(checkpoint / str(newest))
            start = newest
        before = self._progress.tasks[self._bar].completed
        for index in range(start, loop.steps):
            loss = loop.step(index)
            done = index + 1
            self._progress.update(self._bar, completed=before + done / loop.steps, loss=f"loss {loss:.4g}")
            if loop.is_done:
                break
            # After the last step there is a result, which `piece` keeps before it stops.
            if done < loop.steps and (done % loop.interval == 0 or self._stopping):
                self._save(loop, checkpoint, done)
                if self._stopping:
                    raise KeyboardInterrupt
        return loop.result()

    def _save(self, loop: Loop, checkpoint: Path, done: int) -> None:
        """Save a loop's state atomically, then remove the former ones."""
        part = checkpoint / f"part-{done}"
        part.mkdir(parents=True, exist_ok=True)
        loop.save(part)
        if self.is_first:
            part.rename(checkpoint / str(done))
            atomic.write(self.folder / _SECONDS, str(self.seconds))
            for former in checkpoint.iterdir():
                if former.name != str(done):
                    shutil.rmtree(former)

    def _log(self, name: str) -> None:
        """Print a line for a finished piece where a progress bar can't be shown, such as in a log."""
        if not self._console.is_terminal:
            self._console.print(f"done: {name}", markup=False, soft_wrap=True)

    def _file(self, name: str, suffix: str) -> Path:
        return self.folder / (quote(name, safe=" ,=+()") + suffix)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show the progress, and let Ctrl-C stop the run after the current step, with its state saved."""

        def stop(number: int, frame: types.FrameType | None) -> None:
            # Several processes may be at different steps, and have no common state to save.
            if self._stopping or not self._is_alone:
                signal.default_int_handler(number, frame)
            self._stopping = True

        is_main = threading.current_thread() is threading.main_thread()
        former = signal.signal(signal.SIGINT, stop) if is_main else None
        try:
            with self._progress:
                yield
        finally:
            if is_main:
                signal.signal(signal.SIGINT, former)


def _locked(folder: Path) -> FileLock:
    """Lock a run's folder until this process ends."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # A notebook makes its run anew in the same process, which is no other.
        lock = FileLock(f"{folder}.lock", timeout=0, is_singleton=True)
        lock.acquire()
    except Timeout:
        raise BusyError(f"another process is working on this run, in {folder}") from None
    except OSError as error:
        raise WriteError.refused(folder, error) from error
    return lock


def _newest(checkpoint: Path) -> int | None:
    found = [int(path.name) for path in checkpoint.iterdir() if path.name.isdecimal()] if checkpoint.is_dir() else []
    return max(found, default=None)


def _bar(console: Console, hidden: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        transient=True,
        disable=hidden,
    )
