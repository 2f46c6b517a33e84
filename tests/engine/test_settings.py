"""No setting can hurt: each is told what is wrong with it, and nothing is moved, written over or shown by one."""

import os
import re
from itertools import product
from pathlib import Path

import pytest

from quaere.content.settings import Settings, read
from quaere.errors import ConfigError, Faults
from tests.engine.conftest import Base

PATHS = ("papers", "bibliography", "tests", "docs", "templates", "evidence", "benchmarks")
USERS = (
    "papers/toy.yml",
    "docs/index.md",
    "mkdocs.yml",
    "README.md",
    ".git/config",
    "reference_impl/toy.py",
    "data.json",
)


def told(base: Base, table: str) -> str:
    """Return what is told of a table of settings, in a folder with files of the author's."""
    base.write({name: name for name in USERS if not (base.root / name).exists()})
    base.write({"pyproject.toml": f"[tool.quaere]\n{table}\n"})
    return base.report()


# Where things lie


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize(
    "value",
    [
        *("", "/", "/etc", "..", "../x", "x/../..", "x/..", "~", "~/x", "C:\\x", "C:/x", "a\\b"),
        *("a\\nb", "a\\u0000b", "\\u001b[31m", "x" * 5000),
    ],
)
def test_a_path_that_leads_elsewhere_somewhere_is_told(tmp_path: Path, name: str, value: str) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text("[tool.quaere]\n" + f'{name} = "{value}"'.replace("C:\\x", "C:\\\\x").replace("a\\b", "a\\\\b"))
    with pytest.raises((ConfigError, Faults)) as caught:
        read(file)
    assert str(caught.value) == f"{file}:2:1: expected a path relative to this file's folder (at tool.quaere.{name})"


@pytest.mark.parametrize("value", ["", "a.b", "a/b", "1", "a\\nb", "../x", "a b", "a\\u0000"])
def test_a_name_that_is_no_package_is_told(tmp_path: Path, value: str) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text(f'[tool.quaere]\nimplementation = "{value}"')
    with pytest.raises((ConfigError, Faults), match="2:1: expected the name of a package"):
        read(file)


@pytest.mark.parametrize("name", ["papers", "docs", "templates", "evidence", "benchmarks"])
@pytest.mark.parametrize(
    "value", [".", "./", "./.", "papers/toy.yml", *USERS, "papers/new", "docs/new", "reference_impl/new"]
)
def test_nothing_of_the_author_is_another_settings_place(base: Base, name: str, value: str) -> None:
    own = {"papers": "papers/", "docs": "docs/"}.get(name)
    if own and value.startswith(own) and value.endswith("new"):
        return  # a folder in its own default place
    if name == "benchmarks" and value in ("README.md", "data.json"):
        return  # what can't be read as a result is told, and no command writes there
    said = told(base, f'{name} = "{value}"')
    assert re.match(rf"pyproject\.toml:2:1: .+ \(at tool\.quaere\.{name}\)\n  hint: ", said), said


@pytest.mark.parametrize(
    ("one", "other"), [pair for pair in product((*PATHS, "implementation"), repeat=2) if pair[0] != pair[1]]
)
def test_no_two_settings_share_a_place(tmp_path: Path, one: str, other: str) -> None:
    file = tmp_path / "pyproject.toml"
    for first, second in (("same", "same"), ("same", "./same/"), ("same", "same/deep/er")):
        if "implementation" in (one, other) and "/" in (first if one == "implementation" else second):
            continue
        file.write_text(f'[tool.quaere]\n{one} = "{first}"\n{other} = "{second}"\n')
        reads = {one, other} & {"bibliography", "tests"}
        if reads and (second.endswith("er") or len(reads) == 2):
            assert read(file), "what is only read may lie in a folder, and hold others"
        else:
            with pytest.raises(Faults, match=r"and the path of `(same|\w+)` overlap"):
                read(file)


@pytest.mark.parametrize("name", [*PATHS, "implementation"])
def test_a_link_that_leads_out_or_to_another_place_is_told(tmp_path: Path, name: str) -> None:
    root = tmp_path / "base"
    (root / "papers").mkdir(parents=True)
    (root / "out").symlink_to(tmp_path)
    (root / "link").symlink_to("docs/deep" if name != "docs" else "papers")
    (root / "self").symlink_to("self")
    file = root / "pyproject.toml"
    for value in ("out", "out/x"):
        if name == "implementation" and "/" in value:
            continue
        file.write_text(f'[tool.quaere]\n{name} = "{value}"\n')
        with pytest.raises(Faults, match=rf":2:1: `{value}` is this file's folder, or outside of it"):
            read(file)
    if name not in ("bibliography", "tests"):
        file.write_text(f'[tool.quaere]\n{name} = "link"\n')
        with pytest.raises(Faults, match=r":2:1: `link` and the path of `(docs|papers)` overlap"):
            read(file)


@pytest.mark.parametrize("value", [".", "papers", "papers/toy.yml", "data.json", ".git"])
def test_verify_moves_nothing_that_evidence_could_name(base: Base, value: str) -> None:
    assert told(base, f'evidence = "{value}"')
    before = base.files()
    run = base.quaere("verify")
    assert (run.returncode, run.stderr.split("\n")[0].startswith(f"{base.root}/pyproject.toml:2:1: ")) == (1, True)
    assert base.files() == before


@pytest.mark.parametrize(
    "table",
    [
        "",
        'papers = "./papers"\nbibliography = "papers//references.bib"\nevidence = "kept/verdicts"',
        'papers = "papers/"\nbibliography = "refs.bib"\ntests = "tests"\nevidence = "verdicts.json"',
        'docs = "site/pages"\ntemplates = "a/b"\nevidence = ".quaere/more/e.json"\nbenchmarks = ".quaere/b"',
        'papers = "Überblick/Karten für alle"\nbibliography = "papers/references.bib"',
        'tests = "reference_impl/tests"\nbibliography = "docs/references.bib"',
    ],
)
def test_places_of_their_own_are_all_right_however_written(base: Base, table: str) -> None:
    base.write({"pyproject.toml": f"[tool.quaere]\n{table}\n"})
    settings = read(base.root / "pyproject.toml")
    assert settings
    assert settings.papers in ("papers", "Überblick/Karten für alle")


def test_evidence_that_was_named_before_is_evidence_still(base: Base) -> None:
    code = '"""Toy.\n\nAnswers: toy.why\n    >>> 1\n    1\n"""\n'
    base.write({"pyproject.toml": '[tool.quaere]\nevidence = "kept.json"\n', "reference_impl/toy.py": code})
    assert base.quaere("verify").returncode == 0
    assert "0 run, 1 unchanged" in base.quaere("verify").stderr
    base.write({"kept.json": base.files()["kept.json"][0][:-20]})
    assert "it is now kept.set-aside.json" in base.quaere("verify").stderr


# Other values


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("timeout = nan", "expected a number of seconds, at most a day"),
        ("timeout = -inf", "expected a number of seconds above 0"),
        ("timeout = inf", "expected a number of seconds, at most a day"),
        ("timeout = 1e400", "expected a number of seconds, at most a day"),
        ("timeout = true", "expected a number"),
        ("timeout = '60'", "expected a number"),
        ("environment = {'' = '1'}", "expected the name of a variable"),
        ("environment = {'A=B' = '1'}", "expected the name of a variable"),
        ('environment = {"A\\u0000" = "1"}', "expected the name of a variable"),
        ('environment = {"A B" = "1"}', "expected the name of a variable"),
        ('environment = {A = "1\\u0000"}', "the value of a variable can't hold U+0000"),
        ("environment = {A = 1}", "expected text"),
        ("environment = {PYTHONPATH = 'x'}", "`PYTHONPATH` is set already"),
        ("versions = ['']", "expected the name of a distribution"),
        ("versions = ['../x']", "expected the name of a distribution"),
        ('versions = ["a\\nb"]', "expected the name of a distribution"),
        ("versions = ['python']", "`python` is the name of another field"),
        ("versions = ['state']", "`state` is the name of another field"),
        ("preload = ['']", "expected the name of a module"),
        ("preload = ['a b']", "expected the name of a module"),
        ("preload = ['.a']", "expected the name of a module"),
        ('"a\\u001b[31m" = 1', "unknown setting `a\\x1b[31m`"),
    ],
)
def test_each_odd_value_is_told_with_its_line(tmp_path: Path, table: str, problem: str) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text(f"[tool.quaere]\n{table}\n")
    with pytest.raises(Faults) as caught:
        read(file)
    assert re.match(rf"{re.escape(str(file))}:[12]:1: {re.escape(problem)}", str(caught.value)), str(caught.value)
    assert str(caught.value).isprintable() or "\n  hint" in str(caught.value)


def test_values_that_work(base: Base) -> None:
    table = (
        "timeout = 5\nversions = ['scikit-learn', 'ruamel.yaml', 'a_b']\npreload = ['a.b']\nenvironment = {_A1 = 'x=y'}"
    )
    base.write({"pyproject.toml": f"[tool.quaere]\n{table}\n"})
    assert base.project.settings == Settings(
        timeout=5, versions=["scikit-learn", "ruamel.yaml", "a_b"], preload=["a.b"], environment={"_A1": "x=y"}
    )


# What is no settings file


@pytest.mark.parametrize("kind", ["folder", "pipe", "link to nowhere", "link to a device", "loop"])
def test_a_pyproject_that_is_no_file_is_told(base: Base, kind: str) -> None:
    file = base.root / "pyproject.toml"
    if kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to({"link to nowhere": "nowhere", "link to a device": "/dev/zero", "loop": "pyproject.toml"}[kind])
    run = base.quaere("check")
    problem = {
        "folder": "this is a folder where a file is expected",
        "pipe": "this is a pipe where a file is expected",
        "link to a device": "this is a device where a file is expected",
    }.get(kind, "the file can't be read: ")
    assert run.returncode == 1
    assert run.stderr.startswith(f"{file}:1:1: {problem}")
    assert "hint: " in run.stderr


def test_a_pyproject_of_a_terabyte_is_not_read(base: Base) -> None:
    file = base.root / "pyproject.toml"
    file.touch()
    os.truncate(file, 2**40)
    assert base.report().startswith("pyproject.toml:1:1: the file has 1,099,512 MB, and 64 MB is the most")


@pytest.mark.parametrize("text", ["x = " + "[" * 100_000, "x = 1" + "0" * 5000])
def test_what_python_does_not_read_is_no_traceback(base: Base, text: str) -> None:
    base.write({"pyproject.toml": text})
    assert base.report() == ""
    base.write({"pyproject.toml": f"[tool.quaere]\n{text}"})
    assert base.report().startswith("pyproject.toml:")


def test_a_byte_order_mark_before_the_settings_is_told(base: Base) -> None:
    base.write({"pyproject.toml": "\ufeff[tool.quaere]\n"})
    told = "pyproject.toml:1:1: the file starts with a byte-order mark\n  hint: save it as UTF-8 without BOM"
    assert base.report().strip() == told
