"""Every experiment at size smoke: as a command, as a notebook, killed and taken up again, and in two processes."""

import contextlib
import functools
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from quaere.content import results
from quaere.content.model import Library
from quaere.content.results import Figure, Lines, Outcome, Result
from quaere.project import Project
from tests.experiments.test_training import gradients, launched

ROOT = Path(__file__).parents[2]
LIBRARY = Project.find(ROOT).read()[0]
SLUGS = sorted(slug for slug, paper in LIBRARY.papers.items() if paper.card.implementation)
RUNS = ROOT / ".quaere" / "runs"
SEED = 1000
"""Of the runs of these tests, which so leave a person's own alone."""
# What two processes can share: the others draw no batches, or none that is trained on.
IN_TWO = [slug for slug in SLUGS if slug not in ("performer", "attention_agent")]


@pytest.fixture(scope="module")
def library() -> Library:
    return LIBRARY


def environment() -> dict[str, str]:
    """Shapes are not checked in a run, and small nets are fastest with one thread."""
    without = {name: value for name, value in os.environ.items() if name != "REFERENCE_IMPL_CHECK_SHAPES"}
    return {**without, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default", "COLUMNS": "200"}


def command(slug: str, *more: str, processes: int = 1) -> list[str]:
    run = ["-m", "quaere", "run", slug, "--size", "smoke", "--seed", str(SEED), *more]
    return launched(processes, *run)


def folder_of(slug: str) -> Path:
    return RUNS / f"{slug}-smoke-{SEED}"


def result_of(slug: str) -> Result:
    return results.read((folder_of(slug) / "result.json").read_text(encoding="utf-8"))


@functools.cache
def smoke(slug: str) -> tuple[str, Result]:
    """Run an experiment at size smoke, once for all tests; return what it printed, and its result."""
    run = subprocess.run(command(slug), cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return run.stdout, result_of(slug)


def numbers(result: Result) -> dict[str, Any]:
    """Return what must be the same whenever a run is the same: all but where, when and how long."""
    return result.model_dump(include={"findings", "figures", "tables", "seeds", "settings", "notes"})


def judged(result: Result) -> list[str]:
    return sorted(finding.claim for finding in result.findings)


def claims(slug: str) -> list[str]:
    return sorted(claim.id for claim in LIBRARY.papers[slug].card.claims)


def test_every_implemented_paper_has_an_experiment() -> None:
    assert set(LIBRARY.experiments) == set(SLUGS)


@pytest.mark.parametrize("slug", SLUGS)
def test_a_smoke_run_ends_well_and_judges_every_claim_of_the_card(slug: str) -> None:
    printed, result = smoke(slug)
    assert judged(result) == claims(slug)
    for finding in result.findings:
        assert bool(finding.measured) == (finding.outcome is not Outcome.NOT_TRIED), finding.claim
        assert finding.outcome in printed
    assert len({figure.id for figure in result.figures}) == len(result.figures) > 0
    assert all(table.title in printed for table in result.tables)
    assert all((folder_of(slug) / f"{figure.id}.svg").exists() for figure in result.figures)


@pytest.mark.parametrize("slug", SLUGS)
def test_its_notebook_runs_from_top_to_bottom(slug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / f"{slug}.ipynb"
    written = [sys.executable, "-m", "quaere", "notebook", slug, "--output", str(file)]
    subprocess.run(written, cwd=ROOT, env=environment(), capture_output=True, check=True)
    book = nbformat.read(file, as_version=4)
    monkeypatch.setattr(os, "environ", environment())
    NotebookClient(book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    shown = str(book.cells[-2:])
    assert shown.count("<svg") == len(smoke(slug)[1].figures)
    assert all(f"`{claim.id}`: **" in shown for claim in LIBRARY.papers[slug].card.claims)


@pytest.mark.parametrize("slug", ["vit", "curl", "attention_agent"])
def test_a_run_that_is_killed_and_taken_up_again_ends_in_the_same_numbers(slug: str) -> None:
    _, whole = smoke(slug)
    folder = folder_of(slug)
    process = subprocess.Popen(command(slug), cwd=ROOT, env=environment(), stderr=subprocess.DEVNULL)
    try:
        # Somewhere between the first piece and the last.
        started, deadline = time.time_ns(), time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None and not kept(folder, since=started):
            time.sleep(0.02)
        time.sleep(random.Random(slug).random() * (whole.seconds or 0) / 4)
        assert process.poll() is None, "it ended before it could be killed"
    finally:
        process.kill()
        process.wait()
    assert not (folder / "result.json").exists()
    before = kept(folder, since=started)
    assert before
    resumed = subprocess.run(
        command(slug, "--resume"), cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert resumed.returncode == 0, resumed.stderr
    assert numbers(result_of(slug)) == numbers(whole)
    assert before.items() <= kept(folder, since=started).items(), "what was there has been done again"


def kept(folder: Path, since: int) -> dict[str, int]:
    """Return the pieces that lie in a run's folder, with when they were written, if they were since then."""
    found = {}
    # The folder of the run before may be set aside at this moment.
    with contextlib.suppress(FileNotFoundError):
        for file in folder.glob("*.json"):
            found[file.name] = file.stat().st_mtime_ns
    return {name: at for name, at in found.items() if at > since}


@pytest.fixture(scope="module")
def first_gradients() -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    return gradients(1, *IN_TWO), gradients(2, *IN_TWO)


@pytest.mark.parametrize("slug", IN_TWO)
def test_two_processes_have_the_gradients_of_one_on_the_joined_batch(
    slug: str, first_gradients: tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]
) -> None:
    one, two = first_gradients
    names = [name for name in one if name.startswith(f"{slug} ")]
    assert names
    for name in names:
        alone, together = one[name], two[name]
        assert alone.keys() == together.keys()
        size = max(value for weight, value in alone.items() if weight.endswith(" norm"))
        assert size > 0
        worst = max(abs(alone[weight] - together[weight]) for weight in alone if weight != "loss")
        assert worst < 2e-5 * (size + 1), name
        # DETR's is the mean of what its processes show: its classes are weighed by the share.
        assert together["loss"] == pytest.approx(alone["loss"], rel=1e-3), name


@pytest.mark.parametrize("slug", ["vit", "curl"])
def test_a_run_in_two_processes_comes_to_the_findings_of_one_and_is_written_once(slug: str) -> None:
    _, alone = smoke(slug)
    two = command(slug, processes=2)
    run = subprocess.run(two, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count(alone.tables[0].title) == 1
    together = result_of(slug)
    assert together.device == f"{alone.device}, 2 processes"
    assert [finding.claim for finding in together.findings] == [finding.claim for finding in alone.findings]
    # These nets have no dropout, so that they learn the same, up to how sums are rounded.
    for figure, other in zip(alone.figures, together.figures, strict=True):
        assert points(other) == pytest.approx(points(figure), abs=1e-3), figure.id


def points(figure: Figure) -> list[float]:
    series = figure.series if isinstance(figure, Lines) else ()
    return [y for one in series for run in one.runs for y in run if y is not None]


def test_every_committed_result_is_of_a_real_run_and_judges_every_claim() -> None:
    assert set(LIBRARY.results) == set(SLUGS)
    for slug, result in LIBRARY.results.items():
        assert result.size in ("small", "full"), slug
        assert judged(result) == claims(slug), slug
        assert len(json.dumps(result.model_dump(mode="json"))) < 400_000, slug
