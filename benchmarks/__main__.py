"""Measure this project beside its peers, print a table, and keep it.

    python -m benchmarks                       all rows; writes benchmarks/results.json
    python -m benchmarks --row bert-padded     one row; writes nothing, unless --output says where
    python -m benchmarks --device cuda         with a GPU's rows too

Exits with 1 if two sides return different outputs, and with 2 if it is called wrongly.
"""

import argparse
import itertools
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

# They must stand before torch and what is measured are imported: shapes are checked in tests, not in what is timed, and
# the profiler prints no notes of its own.
if __name__ == "__main__":
    os.environ["REFERENCE_IMPL_CHECK_SHAPES"] = "0"
os.environ.setdefault("KINETO_LOG_LEVEL", "9")
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from rich.console import Console

from benchmarks import report, site
from benchmarks.row import DifferentOutputsError, Measured, Row, Setting, measured
from benchmarks.rows import ROWS
from quaere import atomic
from quaere.content import results
from quaere.errors import nearest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results.json"


def settings(row: Row, device: str) -> Iterator[Setting]:
    """Yield the settings in which a row is run: on the CPU, and on a GPU with two precisions, compiled or not."""
    yield Setting()
    if device == "cuda" and row.gpu:
        for dtype, compiled in itertools.product((torch.float32, torch.bfloat16), (False, True)):
            yield Setting(device, dtype, compiled)


def run(rows: list[Row], device: str, minutes: float, console: Console) -> list[Measured]:
    """Measure rows; each gets its share of the time that is left, so that what one does not need goes to the others."""
    end = time.monotonic() + 60 * minutes
    planned = [(row, setting) for row in rows for setting in settings(row, device)]
    done: list[Measured] = []
    for index, (row, setting) in enumerate(planned):
        share = (end - time.monotonic()) / (len(planned) - index)
        done.append(measured(row, setting, share))
        console.print(report.line(done[-1]), highlight=False, markup=False)
    return done


def arguments(given: list[str]) -> argparse.Namespace:
    """Read the command line; exit with 2 if there is a fault in it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda adds a GPU's rows")
    parser.add_argument("--row", action="append", metavar="NAME", help="measure this row only; may be repeated")
    parser.add_argument("--minutes", type=float, default=12, help="about how long all of it may take")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the result goes")
    parser.add_argument("--list", action="store_true", help="list the rows")
    options = parser.parse_args(given)
    for name in options.row or ():
        if name not in ROWS:
            hint = nearest(name, ROWS) or "--list shows them"
            parser.error(f"no row is called {name}; hint: {hint}")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU here that torch can use; leave --device out to measure on the CPU")
    return options


def main(given: list[str]) -> int:
    """Run what the command line says, and return the exit code."""
    options, console, started = arguments(given), Console(soft_wrap=True), time.monotonic()
    if options.list:
        for row in ROWS.values():
            console.print(f"{row.name:22} {row.what} Peer: {row.peer}", highlight=False, markup=False)
        return 0
    torch.backends.cudnn.allow_tf32 = False  # convolutions would have fewer digits than products
    rows = [row for row in ROWS.values() if not options.row or row.name in options.row]
    try:
        done = run(rows, options.device, options.minutes, console)
    except DifferentOutputsError as error:
        console.print(f"error: {error}", highlight=False, markup=False)
        return 1
    # A run of some rows must not take the place of one of all.
    if file := options.output or (None if options.row else RESULTS):
        found = report.result(report.summarize(done, options.minutes), ROOT, options.device, time.monotonic() - started)
        # What `benchmarks.site` measured stays.
        kept = site.of_site(results.read(RESULTS.read_text(encoding="utf-8"))) if RESULTS.exists() else ((), ())
        atomic.write(file, site.merged(found, *kept).json_text())
        console.print(f"written to {file}", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
