"""Every experiment at size smoke: as a notebook, as a command, killed and taken up again, and in two processes."""

import functools
import json
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from quaere.content import results
from quaere.content.results import Figure, Lines, Result
from tests.experiments.called import called, kept, shown_and_called
from tests.experiments.conftest import environment, in_two, pool_of
from tests.experiments.test_training import launched
from tests.own import LIBRARY, ROOT

SLUGS = sorted(slug for slug, paper in LIBRARY.papers.items() if paper.card.implementation == slug)
RUNS = ROOT / ".quaere" / "runs"
SEED = 1000
"""Of the runs of these tests, which so leave a person's own alone."""


def slow(slug: str) -> Any:
    return pytest.param(slug, marks=pytest.mark.slow)


def run_of(slug: str) -> list[str]:
    return ["run", slug, "--size", "smoke", "--seed", str(SEED)]


def folder_of(slug: str) -> Path:
    return RUNS / f"{slug}-smoke-{SEED}"


def result_of(slug: str) -> Result:
    return results.read((folder_of(slug) / "result.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Smoke:
    """What its notebook showed of a run at size smoke, what the command printed, and its result."""

    shown: str
    printed: str
    result: Result


@pytest.fixture(scope="session")
def smoke(server: Any) -> Iterator[Callable[[str], Smoke]]:
    """Return what runs an experiment at size smoke, once for all tests."""
    with pool_of(1, server) as pool:

        def alone(work: Callable[..., Any], *arguments: Any) -> Any:
            return pool.submit(work, *arguments).result(timeout=300)

        yield functools.cache(lambda slug: smoked(slug, alone))


def smoked(slug: str, alone: Callable[..., Any]) -> Smoke:
    """Run an experiment at size smoke, in a process of its own.

    The notebook trains, since a name that its cells lack is missed only where it is used. The command goes on from the
    notebook's pieces; that it can train by itself is seen where it is killed, and of each module by its gradients.
    The cells run in a process forked from one with torch; that a kernel of Jupyter does the same is a test of its own.
    """
    folder, book = folder_of(slug), notebook(slug)
    cells = [cell.source for cell in book.cells if cell.cell_type == "code"]
    shown, trained, printed = alone(shown_and_called, cells, [*run_of(slug), "--resume"], folder)
    assert trained
    assert trained.items() <= kept(folder, since=0).items(), "what was there has been done again"
    return Smoke(shown, printed, result_of(slug))


def notebook(slug: str) -> Any:
    """Write the notebook of an experiment, and return it with the run of these tests in the place of its own."""
    folder, key = folder_of(slug), LIBRARY.experiments[slug].key
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / f"{slug}.ipynb"
        assert called(["notebook", slug, "--output", str(file)])[0] == 0
        book = nbformat.read(file, as_version=4)
    run = next(cell for cell in book.cells if cell.source.startswith("from quaere.running.experiments import Run"))
    written = f'"{slug}-smoke-notebook", size="smoke"'
    assert run.source.count(written) == 1
    run.source = run.source.replace(written, f'"{folder.name}", size="smoke", seed={SEED}, key="{key}"')
    return book


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
def test_a_smoke_run_ends_well_and_judges_every_claim_of_the_card(slug: str, smoke: Callable[[str], Smoke]) -> None:
    printed, result = smoke(slug).printed, smoke(slug).result
    assert judged(result) == claims(slug)
    for finding in result.findings:
        assert bool(finding.quantities) or not finding.outcome.is_verdict, finding.claim
        assert finding.outcome in printed
    assert len({figure.id for figure in result.figures}) == len(result.figures) > 0
    assert all(table.title in printed for table in result.tables)
    assert all((folder_of(slug) / f"{figure.id}.svg").exists() for figure in result.figures)


@pytest.mark.parametrize("slug", SLUGS)
def test_its_notebook_runs_from_top_to_bottom(slug: str, smoke: Callable[[str], Smoke]) -> None:
    shown, result = smoke(slug).shown, smoke(slug).result
    assert shown.count("<svg") == len(result.figures)
    assert all(f"`{claim.id}`: **" in shown for claim in LIBRARY.papers[slug].card.claims)


@pytest.mark.parametrize("slug", [slug if slug == "detr" else slow(slug) for slug in SLUGS])
def test_its_notebook_runs_in_a_kernel(slug: str, smoke: Callable[[str], Smoke]) -> None:
    result = smoke(slug).result
    book = notebook(slug)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", environment())
        NotebookClient(book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    assert str(book.cells[-2:]).count("<svg") == len(result.figures)


# Each kind of loop is stopped and taken up again in its own tests; all else of the way is the same for all.
@pytest.mark.parametrize("slug", ["lstm", *map(slow, ("attention_agent", "curl", "detr", "vit"))])
def test_a_run_that_is_killed_and_taken_up_again_ends_in_the_same_numbers(
    slug: str, smoke: Callable[[str], Smoke], server: Any
) -> None:
    whole = smoke(slug).result
    folder = folder_of(slug)
    process = server.Process(target=called, args=(run_of(slug),))
    # Somewhere between the first piece and the last.
    started, deadline = time.time_ns(), time.monotonic() + 600
    process.start()
    try:
        while time.monotonic() < deadline and process.is_alive() and not kept(folder, since=started):
            time.sleep(0.02)
        time.sleep(random.Random(slug).random() * (whole.seconds or 0) / 4)
        assert process.is_alive(), "it ended before it could be killed"
    finally:
        process.kill()
        process.join()
    assert not (folder / "result.json").exists()
    before = kept(folder, since=started)
    assert before
    with pool_of(1, server) as pool:
        code, printed = pool.submit(called, [*run_of(slug), "--resume"]).result(timeout=300)
    assert code == 0, printed
    assert numbers(result_of(slug)) == numbers(whole)
    assert before.items() <= kept(folder, since=started).items(), "what was there has been done again"


# What the first process alone computes, as curl's agents, is written in two processes in test_training, too.
@pytest.mark.parametrize("slug", ["lstm", *map(slow, ("curl", "detr", "vit"))])
def test_a_run_in_two_processes_comes_to_the_findings_of_one_and_is_written_once(
    slug: str, smoke: Callable[[str], Smoke], server: Any, tmp_path: Path
) -> None:
    alone = smoke(slug).result
    printed = printed_by_two(slug, server, tmp_path) if slug == "lstm" else printed_by_launched(slug)
    assert printed.count(alone.tables[0].title) == 1
    together = result_of(slug)
    assert together.device == f"{alone.device}, 2 processes"
    assert [finding.claim for finding in together.findings] == [finding.claim for finding in alone.findings]
    # These nets have no dropout, so that they learn the same, up to how sums are rounded.
    for figure, other in zip(alone.figures, together.figures, strict=True):
        assert points(other) == pytest.approx(points(figure), abs=1e-3), figure.id


def printed_by_launched(slug: str) -> str:
    """Return what a run in two processes prints, as a person launches it."""
    command = launched(2, "-m", "quaere", *run_of(slug))
    run = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return run.stdout


def printed_by_two(slug: str, server: Any, folder: Path) -> str:
    """Return what a run in two forked processes prints."""
    ended = in_two(server, folder, called, run_of(slug))
    assert [code for code, _ in ended] == [0, 0], ended
    return "".join(printed for _, printed in ended)


def points(figure: Figure) -> list[float]:
    series = figure.series if isinstance(figure, Lines) else ()
    return [y for one in series for run in one.runs for y in run if y is not None]


def test_every_committed_result_is_of_a_real_run_and_judges_every_claim() -> None:
    assert set(LIBRARY.results) == set(SLUGS)
    for slug, result in ((slug, result) for slug, each in LIBRARY.results.items() for result in each):
        assert judged(result) == claims(slug), slug
        assert len(json.dumps(result.model_dump(mode="json"))) < 400_000, slug
