"""What other distributions add: a small one, installed in a folder of its own, brings a check and a format."""

import os

import pytest

from tests.engine.conftest import Base

CODE = """
from quaere.errors import CardError, Severity


def shouting(library):
    for paper in library.papers.values():
        if paper.card.idea.isupper():
            yield CardError(paper.place("idea"), "the idea shouts", "write it in lower case")


def mild(library):
    for paper in library.papers.values():
        yield CardError(paper.place("idea"), "the idea is short", severity=Severity.WARNING)


def keys(references):
    return "".join(f"{one.key}\\n" for one in references)


def broken(*_):
    raise ZeroDivisionError("by zero")


number = 1
"""


def install(base: Base, *points: str) -> str:
    """Install a distribution beside the knowledge base that names these entry points; return its folder."""
    info = "plugin/toy_plugin-1.2.dist-info"
    groups = "\n".join(f"[quaere.{point.partition('/')[0]}]\n{point.partition('/')[2]}" for point in points)
    base.write(
        {
            "plugin/toy_plugin.py": CODE,
            f"{info}/METADATA": "Metadata-Version: 2.1\nName: toy-plugin\nVersion: 1.2\n",
            f"{info}/entry_points.txt": groups,
        }
    )
    return os.pathsep.join([str(base.root / "plugin"), os.environ.get("PYTHONPATH", "")])


def test_a_plugin_adds_a_check(base: Base) -> None:
    path = install(base, "checks/shouting = toy_plugin:shouting")
    assert base.quaere("check", PYTHONPATH=path).returncode == 0
    base.write({"papers/toy.yml": "cite: toy2020\nidea: AN IDEA!\nimplementation: null\n"})
    run = base.quaere("check", PYTHONPATH=path)
    assert run.stderr == "papers/toy.yml:2:7: the idea shouts (at $.idea)\n  hint: write it in lower case\n"
    assert run.returncode == 1
    assert base.quaere("check").returncode == 0


def test_a_plugin_adds_a_format(base: Base) -> None:
    path = install(base, "exports/keys = toy_plugin:keys")
    assert base.quaere("export", "--format", "keys", PYTHONPATH=path).stdout == "toy2020\n"
    run = base.quaere("export", "--format", "keys")
    told = "there is no format `keys`\n  hint: known: `bibtex`, `csl-json`, `json`, `ris`\n"
    assert (run.returncode, run.stdout, run.stderr) == (2, "", told)


@pytest.mark.parametrize(
    ("point", "problem"),
    [
        ("broken = toy_plugin:broken", "broken of `quaere.{}` failed: ZeroDivisionError: by zero"),
        ("number = toy_plugin:number", "number of `quaere.{}` is no function: toy_plugin:number"),
        (
            "gone = nowhere:f",
            "gone of `quaere.{}` can't be loaded: ModuleNotFoundError: No module named 'nowhere'",
        ),
    ],
)
@pytest.mark.parametrize("group", ["checks", "exports"])
def test_a_plugin_that_fails_is_named(base: Base, group: str, point: str, problem: str) -> None:
    path = install(base, f"{group}/{point}")
    verb = ["check"] if group == "checks" else ["export", "--format", point.partition(" ")[0]]
    run = base.quaere(*verb, PYTHONPATH=path)
    assert run.stderr.startswith(f"plugin toy-plugin 1.2: {problem.format(group)}\n"), run.stderr
    assert run.returncode == 1
