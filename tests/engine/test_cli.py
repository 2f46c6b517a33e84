"""The command: what each verb prints, its exit code, and that it starts no more than it needs."""

import io
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import click
import pytest
import typer.main

import quaere.site.build
import quaere.site.serve
from quaere import cli
from quaere.errors import AuthorError, PageError, Place
from tests.engine.conftest import SOUND, Base

VERBS: dict[str, click.Command] = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
CODE = {"reference_impl/toy.py": '"""Toy.\n\nAnswers: toy.why\n    In code.\n\n    >>> print("one")\n    one\n"""\n'}
WRONG = {"reference_impl/toy.py": CODE["reference_impl/toy.py"].replace("\n    one\n", "\n    two\n")}
FAULT = {"papers/wrong.yml": "cite: toy2020\nidea: 7\nimplementation: null\n"}
TOLD = "papers/wrong.yml:2:7: expected text, found int `7` (at $.idea)\n  hint: quote it\n"


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Call = Callable[..., Result]


@pytest.fixture
def call(base: Base, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Call the command in the folder of the knowledge base, in this process."""
    monkeypatch.chdir(base.root)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")

    def call(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["quaere", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        streams = capsys.readouterr()
        code = caught.value.code
        assert "Traceback" not in streams.out + streams.err.replace(
            "Traceback (most recent call last):\n      File", ""
        )
        return Result(code if isinstance(code, int) else 0, streams.out, streams.err)

    return call


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Stand in for what builds and serves a site, which takes seconds, and note how it is called."""
    calls: list[tuple[Any, ...]] = []

    def build(*arguments: Any, **_: Any) -> tuple[list[AuthorError], bool]:
        calls.append(arguments)
        return [], True

    monkeypatch.setattr(quaere.site.build, "build", build)
    monkeypatch.setattr(quaere.site.serve, "serve", lambda *arguments, **_: calls.append(arguments))
    return calls


# Help


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_explains_itself_and_all_its_options(call: Call, verb: str) -> None:
    result = call(verb, "--help")
    assert (result.code, result.err) == (0, "")
    text = " ".join(result.out.split())
    assert " ".join((VERBS[verb].help or "").split()) in text
    for parameter in VERBS[verb].params:
        said = getattr(parameter, "help", "")
        assert said, parameter.name
        assert " ".join(said.split()) in text, parameter.name


def test_the_help_lists_all_verbs_with_what_they_do(call: Call) -> None:
    result = call("--help")
    assert (result.code, result.err) == (0, "")
    # Which there are, tests/engine/test_house.py holds by their pages.
    for verb, command in VERBS.items():
        first = (command.help or "").partition(".")[0]
        assert f"\n  {verb}{' ' * (11 - len(verb))}{first}.\n" in result.out


def test_without_a_verb_the_help_is_shown_as_a_misuse(call: Call) -> None:
    result = call()
    assert result.code == 2
    assert "Commands:" in result.out + result.err


@pytest.mark.parametrize(("arguments", "allowed"), [(["--help"], set()), (["export", "--help"], {"pydantic"})])
def test_the_help_loads_no_more_than_typer(arguments: list[str], allowed: set[str]) -> None:
    script = "import sys; from quaere.cli import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    run = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in run.stderr.split()}
    assert "typer" in loaded
    heavy = {"pydantic", "rich", "yaml", "griffe", "bibtexparser", "pylatexenc", "mkdocs", "torch", "numpy"}
    assert loaded & heavy <= allowed  # Typer itself checks the arguments of a verb by pydantic


# Exit codes


@pytest.mark.parametrize(
    ("arguments", "files", "code"),
    [
        (["check"], {}, 0),
        (["check"], FAULT, 1),
        (["verify"], CODE, 0),
        (["verify"], WRONG, 1),
        (["verify"], FAULT, 1),
        (["verify", "toy.why"], CODE, 0),
        (["verify", "toy"], WRONG, 1),
        (["build"], CODE, 0),
        (["build"], WRONG, 1),
        (["build"], FAULT, 1),
        (["serve"], CODE, 0),
        (["serve"], FAULT, 0),
        (["questions"], {}, 0),
        (["questions"], FAULT, 1),
        (["questions", "--json"], FAULT, 1),
        (["questions", "--state", "done"], {}, 2),
        (["show", "toy"], {}, 0),
        (["show", "toy.why"], CODE, 0),
        (["show", "toy"], FAULT, 1),
        (["show"], {}, 2),
        (["export"], {}, 0),
        (["export", "toy"], FAULT, 1),
        (["export", "--format", "endnote"], {}, 2),
        (["check", "more"], {}, 2),
        (["check", "--fast"], {}, 2),
        (["chekc"], {}, 2),
        (["check", "--project", "nowhere"], {}, 2),
        (["check", "--project", "/"], {}, 2),
        (["check"], {"pyproject.toml": "[tool.quaere]\npaper = 1\n"}, 1),
        (["check"], {"pyproject.toml": "[tool.quaere]\npapers =\n"}, 1),
        (["verify", "--timeout", "0"], {}, 2),
        (["verify", "--timeout", "soon"], {}, 2),
        (["verify", "--timeout", "nan"], {}, 2),
        (["verify", "--timeout", "inf"], {}, 2),
        (["serve", "--port", "70000"], {}, 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_the_exit_code_tells_well_from_content_at_fault_from_misuse(
    base: Base, call: Call, built: list[tuple[Any, ...]], arguments: list[str], files: dict[str, str], code: int
) -> None:
    base.write(files)
    result = call(*arguments)
    assert result.code == code, result
    if code:
        assert result.err.strip(), "nothing says why"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["show", "toi"], "there is no paper or question `toi`\n  hint: did you mean `toy`?\n"),
        (
            ["show", "toy.whi"],
            "there is no paper or question `toy.whi`\n  hint: did you mean `toy.why` or `toy.how` or `toy`?\n",
        ),
        (
            ["verify", "toy.why", "zebra"],
            "there is no paper or question `zebra`\n  hint: known: `toy`, `toy.how`, `toy.why`\n",
        ),
        (["verify", "toy.how"], "`toy.how` has no answer in code\n"),
        (["verify", "quiet"], "the card `quiet` asks no question\n"),
        (["export", "toy", "tou"], "there is no paper `tou`\n  hint: did you mean `toy`?\n"),
        (["questions", "--paper", "toyz"], "there is no paper `toyz`\n  hint: did you mean `toy`?\n"),
        (["questions", "--tag", "atention"], "there is no tag `atention`\n  hint: did you mean `attention`?\n"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_an_unknown_name_is_answered_with_the_nearest_known_ones(
    base: Base, call: Call, arguments: list[str], told: str
) -> None:
    base.write(CODE)
    base.write({"papers/quiet.yml": "cite: toy2020\nidea: Sound.\nimplementation: null\ntags: [attention]\n"})
    if arguments[0] in ("show", "verify") and "quiet" not in arguments:
        (base.root / "papers/quiet.yml").unlink()
    assert call(*arguments) == Result(2, "", told)


# check


def test_check_counts_what_is_sound(base: Base, call: Call) -> None:
    base.write(CODE)
    assert call("check") == Result(0, "1 papers, 2 questions, 1 answers: no faults\n", "")


def test_check_shows_faults_apart_from_their_count(base: Base, call: Call) -> None:
    base.write(FAULT)
    before = base.files()
    assert call("check") == Result(1, "1 fault; `quaere check --fix` mends 1\n", TOLD)
    for arguments in (["questions"], ["show", "toy"], ["export"]):
        assert call(*arguments).err == TOLD
    assert base.files() == before, "reading wrote something"


def test_check_leaves_even_corrupt_evidence_where_it_is(base: Base, call: Call) -> None:
    base.write({".quaere/evidence.json": "[]"})
    before = base.files()
    assert call("check") == Result(0, "1 papers, 2 questions, 0 answers: no faults\n", "")
    assert base.files() == before


def test_a_long_path_is_not_broken_into_lines(base: Base, call: Call) -> None:
    base.write({f"papers/{'long' * 30}.yml": "cite: toy2020\nidea: 7\n"})
    assert f"papers/{'long' * 30}.yml:2:7: expected text, found int `7` (at $.idea)\n" in call("check").err


def test_markup_in_a_card_is_shown_as_it_is(base: Base, call: Call) -> None:
    base.write({"papers/toy.yml": SOUND["papers/toy.yml"].replace("Why?", '"[bold]Why[/bold] :smile: [[toy.how]]?"')})
    assert "[bold]Why[/bold] :smile: [[toy.how]]?" in call("questions").out
    assert "[bold]Why[/bold] :smile: [[toy.how]]?" in call("show", "toy.why").out
    base.write({"papers/wrong.yml": "cite: toy2020\nidea: Sound.\n'[red]': 1\n"})
    assert "unknown key `[red]`" in call("check").err


# verify


def test_verify_runs_once_and_then_nothing(base: Base, call: Call) -> None:
    base.write(CODE)
    first, second = call("verify"), call("verify")
    assert re.fullmatch(r"\s*1 answers: 1 run, 0 unchanged, 0 broken; \d+\.\d s\n", first.err), first.err
    assert re.fullmatch(r"\s*1 answers: 0 run, 1 unchanged, 0 broken; \d+\.\d s\n", second.err), second.err
    assert first.out == second.out == ""


def test_a_named_answer_runs_in_any_case_and_is_shown_as_it_ran(base: Base, call: Call) -> None:
    base.write(CODE)
    call("verify")
    result = call("verify", "toy.why")
    lines = [line.rstrip() for line in result.out.splitlines()]
    assert lines[:3] == ["toy.why  reference_impl/toy.py:3:1", '>>> print("one")', "one"]
    assert re.fullmatch(r"demonstrated in \d+\.\d\d s on python \S+, commit none, \S+", lines[3]), lines[3]
    assert "1 answers: 1 run, 0 unchanged, 0 broken" in result.err


def test_a_broken_answer_is_shown_with_its_failure(base: Base, call: Call) -> None:
    base.write(WRONG)
    result = call("verify")
    assert result.out == ""
    assert "broken in " in result.err
    assert "Line 1, in toy.why\nFailed example:" in re.sub(r" +\n", "\n", result.err)
    assert "Expected:\n    two\nGot:\n    one\n" in re.sub(r" +\n", "\n", result.err)


def test_the_time_limit_can_be_given(base: Base, call: Call) -> None:
    base.write(
        {"reference_impl/toy.py": CODE["reference_impl/toy.py"].replace('print("one")', "import time; time.sleep(99)")}
    )
    result = call("verify", "--timeout", "0.2")
    assert "took longer than the time limit of 0.2 s" in result.err
    assert result.code == 1


def test_faults_do_not_keep_sound_answers_from_running(base: Base, call: Call) -> None:
    base.write(CODE | FAULT)
    result = call("verify")
    assert result.code == 1
    assert "1 answers: 1 run, 0 unchanged, 0 broken" in result.err
    assert result.err.endswith(TOLD)


def test_evidence_set_aside_is_told_and_does_not_spoil_json(base: Base, call: Call) -> None:
    base.write(CODE | {".quaere/evidence.json": "[]"})
    result = call("questions", "--json")
    assert result.code == 0
    assert json.loads(result.out)[0]["state"] == "unverified"
    assert re.fullmatch(r"warning: \S+/\.quaere/evidence\.json is not trusted \(.+\); it is now .+\n", result.err)


# questions, show, export


def test_questions_are_listed_with_their_states(base: Base, call: Call) -> None:
    base.write(CODE)
    result = call("questions")
    rows = [line.split() for line in result.out.splitlines() if line.strip()]
    assert rows[0] == ["state", "question"]
    assert rows[2:] == [["unverified", "toy.why", "Why?"], ["answered", "toy.how", "How?"], ["2", "questions"]]


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ([], ["first.open", "toy.why", "toy.how"]),
        (["--state", "answered"], ["toy.how"]),
        (["--state", "open"], ["first.open"]),
        (["--state", "broken"], []),
        (["--paper", "toy"], ["toy.why", "toy.how"]),
        (["--tag", "scale"], ["first.open"]),
        (["--paper", "toy", "--state", "open"], []),
        (["--tag", "scale", "--paper", "toy"], []),
    ],
)
def test_questions_can_be_chosen_by_state_tag_and_paper(
    base: Base, call: Call, options: list[str], ids: list[str]
) -> None:
    base.write(CODE)
    base.write(
        {
            "papers/first.yml": "cite: toy2020\nidea: Sound.\nimplementation: null\ntags: [scale]\n"
            "questions: [{id: open, ask: Ünïcode?, asked: 2026-01-31}]\n"
        }
    )
    result = call("questions", "--json", *options)
    assert (result.code, result.err) == (0, "")
    rows: list[dict[str, Any]] = json.loads(result.out)
    assert [f"{row['paper']}.{row['id']}" for row in rows] == ids
    assert all(row in base.project.rows(base.library()) for row in rows)
    assert ("Ünïcode?" in result.out) is ("first.open" in ids), "people read JSON too"
    table = call("questions", *options)
    assert [id for id in ("first.open", "toy.why", "toy.how") if f" {id} " in table.out] == ids
    assert table.out.endswith(f"{len(ids)} question{'s' * (len(ids) != 1)}\n")


def test_a_card_is_shown_with_its_reference_and_questions(base: Base, call: Call) -> None:
    base.write(
        {
            "papers/toy.yml": SOUND["papers/toy.yml"]
            + "tags: [scale, RNN]\nreading: {state: reading, through: page 5}\nbuilds_on: [old]\n"
            "links: [{kind: code, title: Sources, url: 'https://example.org/a'}]\nnotes: Some **notes**.\n",
            "papers/old.yml": "cite: toy2020\nidea: Old.\nimplementation: null\n",
        }
    )
    out = call("show", "toy").out
    assert out.startswith("Toys\nAnn Maker. 2020\nA sound idea.\n")
    facts = dict(re.findall(r"^(tags|reading|builds on|card|code) +(.*?) *$", out, re.MULTILINE))
    assert facts == {
        "tags": "scale, RNN",
        "reading": "reading, through page 5",
        "builds on": "old",
        "card": "papers/toy.yml",
        "code": "Sources https://example.org/a",
    }
    assert "Some notes." in out
    assert re.search(r"open +toy\.why +Why\?", out)


def test_a_question_is_shown_with_prose_code_and_what_came_of_it(base: Base, call: Call) -> None:
    base.write(CODE)
    before = call("show", "toy.why").out
    assert [line.rstrip() for line in before.splitlines()] == [
        "Why?",
        "unverified  toy.why  papers/toy.yml:5:5",
        "",
        "In code.",
        "",
        '>>> print("one")',
        "one",
        "",
        "reference_impl.toy  reference_impl/toy.py:3:1",
    ]
    call("verify")
    after = [line.rstrip() for line in call("show", "toy.why").out.splitlines()]
    assert after[1] == "demonstrated  toy.why  papers/toy.yml:5:5"
    assert after[-1].startswith("demonstrated in ")
    assert "By hand." in call("show", "toy.how").out


@pytest.mark.parametrize("form", ["json", "bibtex", "csl-json", "ris"])
def test_export_prints_what_the_format_makes_of_the_papers_named(base: Base, call: Call, form: str) -> None:
    from quaere.content.bibliography.export import FORMATS

    base.write(
        {
            "papers/other.yml": "cite: other2021\nidea: Other.\nimplementation: null\n",
            "papers/again.yml": "cite: toy2020\nidea: The same paper.\nimplementation: null\n",
            "papers/references.bib": SOUND["papers/references.bib"]
            + "@misc{other2021, author = {Maker, Bob}, title = {Öthers}, year = {2021}}\n",
        }
    )
    papers = base.library().papers
    toy, other = papers["toy"].reference, papers["other"].reference
    assert call("export", "--format", form) == Result(0, FORMATS[form]([toy, other]), "")
    assert call("export", "--format", form, "other", "toy", "other") == Result(0, FORMATS[form]([other, toy]), "")
    assert "Öthers" in call("export", "--format", form).out


def test_bibtex_is_the_format_where_none_is_named(call: Call) -> None:
    assert call("export").out == (
        "@article{toy2020,\n  author = {Maker, Ann},\n  title = {Toys},\n  year = {2020},\n}\n"
    )


# build, serve


def test_build_checks_verifies_builds_and_sums_up(base: Base, call: Call, built: list[tuple[Any, ...]]) -> None:
    base.write(CODE)
    result = call("build", "--site", "out")
    assert [arguments[2] for arguments in built] == [base.root / "out"]
    assert re.search(r"demonstrated +1\n", re.sub(r" +\n", "\n", result.out))
    assert re.search(r"^1 papers, 2 questions, \d+\.\d s$", result.out, re.MULTILINE)
    assert result.out.endswith("open out/index.html, or run `quaere serve`\n")


def test_build_offline_also_writes_a_copy_and_names_it(base: Base, call: Call, built: list[tuple[Any, ...]]) -> None:
    base.write({"site/index.html": '<a href="papers/">', "site/papers/index.html": "", "site/assets/quaere.css": ""})
    result = call("build", "--offline")
    assert len(built) == 1
    assert (base.root / "site-offline/index.html").read_text(encoding="utf-8") == '<a href="papers/index.html">'
    assert result.out.endswith("open site-offline/index.html, or run `quaere serve`\n")


def test_a_knowledge_base_at_fault_is_not_built(base: Base, call: Call, built: list[tuple[Any, ...]]) -> None:
    base.write(CODE | FAULT)
    result = call("build")
    assert (result.code, result.out, result.err) == (1, "", TOLD)
    assert not built
    assert call("serve").code == 0  # it shows them in the page
    assert not (base.root / ".quaere/evidence.json").exists(), "an answer was run"
    assert not (base.root / "site").exists()


def test_a_fault_of_the_pages_is_shown(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = PageError(Place("docs/index.md", 3, 5), "`gone.md` leads nowhere")
    told = "docs/index.md:3:5: `gone.md` leads nowhere\n"
    monkeypatch.setattr(quaere.site.build, "build", lambda *_, **__: ([fault], False))
    result = call("build")
    assert (result.code, result.out) == (1, "")
    assert result.err.endswith(told)
    monkeypatch.setattr(quaere.site.build, "build", lambda *_, **__: ([fault], True))
    loose = call("build")
    assert loose.code == 0, "where mkdocs.yml says so"
    assert loose.err.endswith(told)


def test_serve_takes_the_port_given_or_a_free_one(call: Call, built: list[tuple[Any, ...]]) -> None:
    call("serve", "--port", "8123")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8000))
            taken.listen()
        except OSError:
            pass  # then somebody else listens there
        call("serve")
    ports = [arguments[3] for arguments in built]
    assert ports[0] == 8123
    assert ports[1] not in (0, 8000)


@pytest.mark.parametrize("verb", ["build", "serve"])
def test_without_what_builds_a_site_it_is_said_before_anything_runs(
    base: Base, call: Call, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    def version(name: str) -> str:
        if name in ("mkdocs", "nh3"):
            raise metadata.PackageNotFoundError(name)
        return "1"

    base.write(CODE | FAULT)
    monkeypatch.setattr(metadata, "version", version)
    told = "a site is built with mkdocs, nh3, not installed here\n  hint: pip install 'quaere[site]'\n"
    assert call(verb) == Result(2, "", told)
    assert not (base.root / ".quaere").exists()


# As a process


def test_reading_verbs_and_a_verify_with_nothing_to_do_import_neither_torch_nor_the_implementation(base: Base) -> None:
    base.write(CODE | {"pyproject.toml": "[tool.quaere]\nversions = ['torch']\n"})
    assert base.quaere("verify").returncode == 0
    script = """
import json, sys
from quaere.cli import app
for arguments in (["check"], ["verify"], ["questions", "--json"], ["show", "toy.why"], ["export"]):
    try:
        app(arguments)
    except SystemExit as end:
        assert end.code == 0, arguments
print(*sys.modules, file=sys.stderr)
"""
    run = subprocess.run([sys.executable, "-c", script], cwd=base.root, capture_output=True, text=True, check=True)
    assert '"state": "demonstrated"' in run.stdout
    assert "1 answers: 0 run, 1 unchanged, 0 broken" in run.stderr
    loaded = {name.partition(".")[0] for name in run.stderr.split()}
    assert "pydantic" in loaded
    assert not loaded & {"torch", "numpy", "reference_impl", "mkdocs"}


# Output waits in the process until there is much of it, or it ends; with PYTHONUNBUFFERED it does not.
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("verb", [["questions", "--json"], ["export"], ["check"], ["show", "toy"]], ids=" ".join)
def test_a_reader_that_has_enough_causes_no_complaint(base: Base, verb: list[str], unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        assert printed_to(pipe, base, verb, unbuffered).stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_for_what_is_printed_is_told(base: Base, unbuffered: str) -> None:
    with Path("/dev/full").open("w") as full:
        run = printed_to(full, base, ["export"], unbuffered)
    assert (run.returncode, run.stderr) == (2, "the machine: No space left on device\n  hint: make room on the disk\n")


def printed_to(file: IO[str], base: Base, verb: list[str], unbuffered: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from quaere.cli import main; main()", *verb],
        cwd=base.root,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        stdout=file,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


# Experiments


TOY = {
    "papers/toy.yml": """\
cite: toy2020
idea: A sound idea.
claims:
  - {id: lucky, says: It draws high numbers., where: Abstract, reported: "0.9"}
""",
    "reference_impl/toy.py": '"""Toy."""\n',
    "reference_impl/experiments/__init__.py": "",
    "reference_impl/experiments/toy.py": """\
\"\"\"Draws a number.\"\"\"

import random

from quaere.content.results import Finding, Lines, Outcome, Quantity, Report, Series, Table
from quaere.running.experiments import DeviceError, Run


SIZES = {"smoke": 1, "small": 2, "gpu": 3}


def experiment(run: Run) -> Report:
    if run.device == "cuda":
        raise DeviceError("there is no device cuda here; there is auto")
    drawn = run.piece("draw", lambda: random.Random(run.seed).random())
    outcome = Outcome.YES if drawn > 0.5 else Outcome.NO
    series = Series(name="luck", x=(1.0,), runs=((drawn,),))
    curve = Lines(id="luck", title="Luck", caption="It is.", alt="One point.", x="draws", y="number", series=(series,))
    return Report(
        findings=(
            Finding(
                claim="lucky",
                outcome=outcome,
                rule="above a half",
                ran="one draw",
                quantities=(Quantity(name="number", arms={"drawn": (drawn,)}),),
            ),
        ),
        tables=(Table(title="Draws", columns=("seed", "number"), rows=((run.seed, drawn),)),),
        figures=(curve,),
        seeds=(run.seed,),
    )
""",
}


@pytest.fixture
def toy(base: Base) -> Base:
    """A knowledge base with an experiment. It runs in processes of its own: here its package has another's name."""
    base.write(TOY)
    return base


def run_toy(toy: Base, *arguments: str) -> subprocess.CompletedProcess[str]:
    return toy.quaere("run", "toy", *arguments)


def test_run_shows_what_came_out_and_draws_it(toy: Base) -> None:
    result = run_toy(toy)
    assert result.returncode == 0, result.stderr
    assert re.search(r"lucky\s+reproduced\s+one draw\s+number:\s+drawn: 0\.844\s+above a half", result.stdout)
    assert re.search(r"0\s+0\.844", result.stdout)
    assert "toy, size smoke, seed 0;" in result.stdout
    figure = re.search(r"^figure: (.*)$", result.stderr, re.MULTILINE)
    assert figure
    assert "<svg" in (toy.root / figure[1]).read_text()


def test_run_keeps_the_result_beside_the_cards_unless_it_is_for_smoke(toy: Base) -> None:
    run_toy(toy)
    assert not (toy.root / "papers/results").exists()
    run_toy(toy, "--size", "small", "--seed", "3")
    library = toy.library()
    (result,) = library.results["toy"]
    assert (result.seeds, library.is_stale("toy", result)) == ((3,), False)
    assert result.findings[0].quantities[0].arms["drawn"] == (0.237965,)
    code = TOY["reference_impl/experiments/toy.py"]
    toy.write({"reference_impl/experiments/toy.py": f"# A word.\n{code}".replace("Draws a", "Takes a")})
    assert not toy.library().is_stale("toy", result)
    toy.write({"reference_impl/experiments/toy.py": code.replace("0.5", "0.6")})
    assert toy.library().is_stale("toy", result)


def test_run_names_the_commit_that_it_began_on_whatever_results_came_since(toy: Base) -> None:
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
        command = ["git", "-C", str(toy.root), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    toy.write({"papers/results/toy-small.json": "{}"})
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--no-gpg-sign", "--message", "First")
    for _ in range(2):  # the first run changes the result that was committed
        assert run_toy(toy, "--size", "small").returncode == 0
        assert toy.library().results["toy"][0].commit == git("rev-parse", "--short=10", "HEAD")


def test_run_lists_the_experiments_with_what_they_found(toy: Base, call: Call) -> None:
    assert re.search(r"toy\s+Draws a number\.\s+none", call("run", "--list").out)
    run_toy(toy, "--size", "small")
    result = call("run", "--list")
    assert result.code == 0
    assert re.search(r"toy\s+Draws a number\.\s+small, \d{4}-\d\d-\d\d\s+1 reproduced", result.out)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, ""),
        (["toi"], 2, "there is no experiment `toi`\n  hint: did you mean `toy`?\n"),
        (["toy", "--size", "huge"], 2, "'huge' is not one of"),
        (["toy", "--seed", "-1"], 2, "greater than or equal to 0"),
        (["toy", "--device", "cuda"], 2, "there is no device cuda here; there is auto\n"),
        (["toy", "--size", "full"], 2, "the experiment has no size full; it has smoke, small, gpu\n"),
        (["toy", "--size", "gpu"], 2, "the size gpu needs a GPU, and there is none here\n"),
    ],
)
def test_run_called_wrongly_says_how_it_is_called(toy: Base, arguments: list[str], code: int, said: str) -> None:
    result = toy.quaere("run", *arguments)
    assert result.returncode == code
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_run_of_a_paper_whose_card_is_at_fault_says_what_is_wrong_with_it(toy: Base) -> None:
    toy.write({"papers/toy.yml": TOY["papers/toy.yml"].replace("Abstract", "7")})
    result = run_toy(toy)
    assert (result.returncode, "papers/toy.yml:4:" in result.stderr) == (1, True)


def test_run_names_a_package_that_is_missing(toy: Base) -> None:
    toy.write({"reference_impl/experiments/toy.py": '"""Draws."""\nimport nowhere_to_be_found\n'})
    result = run_toy(toy)
    assert result.returncode == 2
    assert result.stderr.startswith("the experiment needs `nowhere_to_be_found`, which is not installed\n  hint: pip")


def test_run_shows_what_an_experiment_says_of_a_package_that_it_misses(toy: Base) -> None:
    raising = "def experiment(run):\n    raise ModuleNotFoundError('weights: pip install the-weights')\n"
    toy.write({"reference_impl/experiments/toy.py": f'"""Draws."""\n{raising}'})
    result = run_toy(toy)
    assert (result.returncode, result.stderr) == (2, "weights: pip install the-weights\n")


def test_run_has_nothing_to_go_on_with(toy: Base) -> None:
    result = run_toy(toy, "--resume")
    assert result.returncode == 2
    assert result.stderr.startswith("there is no run of this size and seed to resume\n  hint: start anew: quaere")


def test_run_goes_on_with_the_same_code_only(toy: Base) -> None:
    run_toy(toy)
    assert run_toy(toy, "--resume").returncode == 0
    code = TOY["reference_impl/experiments/toy.py"]
    toy.write({"reference_impl/experiments/toy.py": code.replace("0.5", "0.6")})
    result = run_toy(toy, "--resume")
    assert (result.returncode, "the code has changed since that run" in result.stderr) == (2, True)
    assert run_toy(toy).returncode == 0


def test_run_that_is_stopped_says_how_to_go_on(toy: Base) -> None:
    code = TOY["reference_impl/experiments/toy.py"]
    toy.write({"reference_impl/experiments/toy.py": code.replace("drawn = ", "raise KeyboardInterrupt\n    drawn = ")})
    result = run_toy(toy, "--size", "small", "--seed", "2", "--device", "cpu", "--project", str(toy.root))
    assert result.returncode == 130
    told = f"quaere run toy --size small --seed 2 --device cpu --project {toy.root} --resume"
    assert result.stderr == f"stopped; resume with `{told}`\n"


def test_notebook_writes_a_file_once(toy: Base) -> None:
    assert toy.quaere("notebook", "toy").stdout == "wrote toy.ipynb; open it with `jupyter lab toy.ipynb`\n"
    again = toy.quaere("notebook", "toy")
    assert (again.returncode, again.stderr.split("\n")[0]) == (2, "toy.ipynb is there already")
    assert toy.quaere("notebook", "toy", "--force", "--size", "small").returncode == 0
    assert 'size=\\"small\\"' in (toy.root / "toy.ipynb").read_text()
    assert toy.quaere("notebook", "toi").returncode == 2


def test_several_processes_show_the_result_once(toy: Base) -> None:
    result = toy.quaere("run", "toy", RANK="1", WORLD_SIZE="2")
    assert (result.returncode, result.stdout) == (0, "")


# Verbs that change files


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("ask", "toy", "Why \x07?"), "the control character U+0007 is not allowed\n  hint: remove it"),
        (("answer", "toy.how", "A\x0cB", "--add"), "the control character U+000C is not allowed\n  hint: remove it"),
        (("topic", "Heads \x01"), "the control character U+0001 is not allowed\n  hint: remove it"),
        (("tag", "toy", "a", ""), "the text is empty\n  hint: fill it in, or remove the key"),
    ],
)
def test_no_verb_writes_a_card_that_no_verb_could_read(
    base: Base, call: Call, words: tuple[str, ...], problem: str
) -> None:
    before = base.files()
    card = "heads" if words[0] == "topic" else "toy"
    for option in (), ("--dry-run",):
        assert call(*words, *option) == Result(2, "", f"this can't stand on the card papers/{card}.yml: {problem}\n")
    assert {path: told for path, told in base.files().items() if not path.startswith(".quaere")} == before


def test_notes_with_signs_that_no_card_can_hold_become_cards_that_can_be_read(base: Base, call: Call) -> None:
    signs = "a \x07, b\x0bc, \x1cd, \x7fe\x85f\u2028"
    fields = ("Authors: Ann", "Venue:", "Tags:", "Affiliations:", "Code: https://e.org/", "Idea:")
    texts = [f"# On bells {signs}", *(f"{field} {signs}" for field in fields), f"- [ ] Why {signs}?\n  A: So {signs}."]
    # What joins letters and pictures to one sign is part of a word.
    base.write({"notes/a.md": "\n\n".join([*texts, "A 👨‍👩‍👧, می‌خواهم.", f"> quoted {signs} (p. 5)"])})
    base.write({"notes/Rung \x07 bells.md": "- [ ] Why?\n"})
    done = call("import", "notes")
    assert done.code == 0
    assert "bells.md: its name holds a control character, and it was left out: give it another name\n" in done.err
    assert call("check").code == 0
    (card,) = base.root.glob("papers/*bells*.yml")
    assert "A 👨‍👩‍👧, می‌خواهم." in card.read_text(encoding="utf-8")


def test_a_verb_shows_its_changes_makes_them_and_tells_them_as_json(base: Base, call: Call) -> None:
    before = base.files()
    shown = call("ask", "toy", "Which way?", "--asked", "2026-01-02", "--dry-run")
    line = "+  - {id: which-way, ask: Which way?, asked: 2026-01-02}\n"
    assert (shown.code, shown.err) == (0, "")
    assert line in shown.out
    assert {path: told for path, told in base.files().items() if not path.startswith(".quaere")} == before
    asked = json.loads(call("ask", "toy", "Which way?", "--asked", "2026-01-02", "--json").out)
    assert (asked["said"], asked["files"], asked["diff"]) == ("asked toy.which-way", ["papers/toy.yml"], shown.out)
    assert call("answer", "toy.which-way", "That way.") == Result(0, "answered toy.which-way\n", "")
    assert call("tag", "toy", "a", "b") == Result(0, "toy: a, b\n", "")
    assert call("read", "toy", "reading", "--through", "Section 2").out == "toy: reading, through Section 2\n"
    assert call("rename", "toy", "puppet").out == "renamed toy to puppet\n"
    assert call("answer", "puppet.why", "--code").code == 0
    assert call("questions", "--state", "answered").out.count("puppet.") == 2
    led = call("answer", "puppet.how", "As [[nowhere]] says.", "--force")
    assert (led.code, led.out) == (0, "answered puppet.how\n")
    assert led.err.startswith("to mend\npapers/puppet.yml:")
    assert "[[nowhere]] leads nowhere" in led.err
    # Of other files nothing is told.
    assert call("topic", "Heads") == Result(0, "began the topic heads\n", "")
    told = call("ask", "toi", "Why?")
    assert (told.code, told.err) == (2, "there is no paper `toi`\n  hint: known: `heads`, `puppet`\n")


def test_an_answer_comes_from_the_editor(base: Base, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = base.root / "editor"
    editor.write_text("#!/bin/sh\necho 'In the *editor*.' > \"$1\"\n", encoding="utf-8")
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    assert call("answer", "toy.why").out == "answered toy.why\n"
    assert base.library().questions["toy.why"].question.answer == "In the *editor*."
    monkeypatch.setenv("EDITOR", "false")
    failed = call("answer", "toy.how", "--force")
    assert (failed.code, failed.err.partition(":")[0]) == (2, "the editor `false` has failed")


def test_a_quote_comes_from_the_editor_or_standard_input(
    base: Base, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = base.root / "editor"
    editor.write_text("#!/bin/sh\necho '*Their* words.' > \"$1\"\n", encoding="utf-8")
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    assert call("quote", "toy", "--page", "3").out == "quoted toy, page 3\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("Line one – \r\nline two.\n".encode())))
    assert json.loads(call("quote", "toy", "-", "--json").out)["said"] == "quoted toy"
    assert [one.text for one in base.library().papers["toy"].card.quotes] == [
        "*Their* words.",
        "Line one –\nline two.\n",
    ]
    told = call("quote", "toy")  # the same again
    assert told.err.endswith(f"what you wrote is in {base.root}/.quaere/answer.md\n")
    assert call("topic", "What is play?").out == "began the topic play\n"


def test_notes_are_imported_with_an_account_of_each_line(base: Base, call: Call) -> None:
    base.write({"notes/gan.md": "# Generative Nets\n\n![a](a.png)\n\n- [ ] Q: Why?\n", "notes/a.png": b"picture"})
    planned = call("import", "notes", "--dry-run", "--lines")
    assert planned.code == 0
    assert re.search(r"^gan +new +1 +authors, year +gan.md:1$", planned.out, re.MULTILINE)
    assert "gan.md:5: questions.question-1" not in planned.out
    assert "gan.md:5: questions.why\n" in planned.out
    assert not (base.root / "papers/gan.yml").exists()
    made = json.loads(call("import", "notes", "--json").out)
    assert [(one["slug"], one["status"], one["questions"]) for one in made["cards"]] == [("gan", "new", 1)]
    assert len(made["lines"]) == 6
    assert (base.root / "papers/gan/a.png").read_bytes() == b"picture"
    assert call("check").code == 0
    again = call("import", "notes")
    assert (again.code, "gan   same" in again.out) == (0, True)


def test_a_single_note_brings_what_it_names_and_is_read_beside_a_folder(base: Base, call: Call) -> None:
    base.write({"one/gan.md": "# Generative Nets\n\n![a](pics/a%20b.png)\n", "one/pics/a b.png": b"picture"})
    base.write({"one/other.md": "# Not Named\n\nWords.\n", "two/vae.md": "# Variational Coders\n\nWords.\n"})
    made = json.loads(call("import", "one/gan.md", "two", "--json").out)
    assert [one["slug"] for one in made["cards"]] == ["gan", "vae"]
    assert (base.root / "papers/gan/a-b.png").read_bytes() == b"picture"
    assert call("check").code == 0
