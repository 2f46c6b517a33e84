"""What only bears the name of a file: in every place where one is expected it is told, and nothing waits or breaks."""

import errno
import os
import pkgutil
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from quaere.content import files
from quaere.errors import AuthorError, CardError, Faults, Place, visible
from quaere.site.build import build
from tests.engine.conftest import Base

# Where a file is expected, or a folder.
FILES = (
    "papers/toy.yml",
    "papers/other.yaml",
    "papers/references.bib",
    "papers/results/toy-small.json",
    "papers/in/a.png",
    "papers/a.pdf",
    "papers/a.svg",
    "reference_impl/__init__.py",
    "reference_impl/toy.py",
    "docs/index.md",
    "docs/in/page.md",
    "docs/a.png",
    "templates/card.html",
    "tests/papers/test_toy.py",
    "benchmarks/results.json",
    "mkdocs.yml",
    "renamed.txt",
)
FOLDERS = ("papers", "papers/results", "reference_impl", "docs", "templates", "tests/papers")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the address of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def device(path: Path) -> None:
    try:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero, which has no end
    except PermissionError:
        pytest.skip("only root makes devices")


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def circle(path: Path) -> None:
    path.symlink_to(path.name)


def elsewhere(path: Path) -> None:
    outside = path.parents[len(path.parents) - path.parts.index("base")] / "outside"
    outside.write_text("secret")
    path.symlink_to(outside)


def to_folder(path: Path) -> None:
    path.symlink_to(path.parent, target_is_directory=True)


def endless(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


def file(path: Path) -> None:
    path.write_text("text")


ALWAYS = (pipe, listening, device, dangling, circle, elsewhere, to_folder)


def put(base: Base, place: str, make: Callable[[Path], object]) -> None:
    """Put something in the place of a file or a folder."""
    path = base.root / place
    if path.is_dir():
        subprocess.run(["rm", "-r", path], check=True)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    make(path)


def told(base: Base) -> list[AuthorError]:
    """Return what is wrong with a knowledge base, or with its site if nothing is; fail if anything waits."""

    def wake(*_: object) -> None:
        raise AssertionError("it waits")

    former = signal.signal(signal.SIGALRM, wake)
    signal.alarm(100)
    try:
        library, faults = base.project.check()
        return faults or build(base.project, library, base.root / "site")[0]
    except AuthorError as error:
        return [error]
    except Faults as several:
        return list(several.errors)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)


@pytest.fixture
def named(base: Base) -> Base:
    """A knowledge base that is found by its settings, whatever becomes of its folders."""
    base.write({"pyproject.toml": "[tool.quaere]\n"})
    return base


@pytest.mark.parametrize("place", FILES)
@pytest.mark.parametrize("make", [*ALWAYS, Path.mkdir], ids=lambda make: make.__name__)
def test_in_the_place_of_a_file_anything_else_is_told_by_its_name(
    named: Base, place: str, make: Callable[[Path], object]
) -> None:
    put(named, place, make)
    faults = told(named)
    if make is Path.mkdir and place.startswith("docs/"):
        assert faults == []  # a folder of pages may have any name
        return
    about = [fault for fault in faults if fault.place.file == place]
    # A link to a folder is told as such, and as no file.
    assert len(about) == 1 or (make is to_folder and len(about) == 2), faults
    assert all(fault.hint for fault in about)


@pytest.mark.parametrize("place", FOLDERS)
@pytest.mark.parametrize("make", [*ALWAYS[:-1], file], ids=lambda make: make.__name__)
def test_in_the_place_of_a_folder_anything_else_is_told_by_its_name(
    named: Base, place: str, make: Callable[[Path], object]
) -> None:
    put(named, place, make)
    about = [fault for fault in told(named) if fault.place.file == place]
    assert len(about) == 1
    assert about[0].hint


@pytest.mark.parametrize("place", ["papers", "reference_impl", "docs", "templates", "tests/papers"])
def test_a_folder_of_the_settings_may_be_a_link_and_one_inside_it_may_not(named: Base, place: str) -> None:
    (named.root / place).mkdir(parents=True, exist_ok=True)
    (named.root / place).rename(named.root / "moved")
    (named.root / place).symlink_to(named.root / "moved", target_is_directory=True)
    assert told(named) == []
    (named.root / place / "in").symlink_to(named.root / "moved", target_is_directory=True)
    wanted = [f"{place}/in"] if place != "tests/papers" else []
    assert [fault.place.file for fault in told(named)] == wanted


READ = [place for place in FILES if not place.endswith((".png", ".pdf"))]


@pytest.mark.parametrize("place", READ)
def test_a_file_of_a_terabyte_is_not_read(named: Base, place: str) -> None:
    put(named, place, endless)
    problems = [fault.problem for fault in told(named) if fault.place.file == place]
    assert problems == ["the file has 1,099,512 MB, and 64 MB is the most"]


@pytest.mark.parametrize("place", [place for place in FILES if place.endswith((".md", ".html", ".py", ".bib", ".yml"))])
def test_what_is_not_utf8_is_told_with_its_place(named: Base, place: str) -> None:
    put(named, place, lambda path: path.write_bytes(b"# a\n# \xc3\xa9 \xe9\n"))
    about = [fault for fault in told(named) if fault.place.file == place and "UTF-8" in fault.problem]
    assert [(fault.place.line, fault.place.column, fault.problem) for fault in about] == [
        (2, 5, "byte 0xe9 is not UTF-8")
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
@pytest.mark.parametrize("place", ["papers/toy.yml", "reference_impl/toy.py", "docs/a.png", "docs/in", "papers/in"])
def test_what_may_not_be_read_is_told(named: Base, place: str) -> None:
    put(named, place, Path.mkdir if place.endswith("in") else file)
    (named.root / place).chmod(0)
    for folder in (named.root, *named.root.parents[:-2]):
        folder.chmod(0o755)
    # Python itself may lie where only root reads: all that is imported on the way is imported before.
    code = (
        "import os; from pathlib import Path; from quaere import cli, project\nproject.Project.find(Path()).check()\n"
    )
    code += "cli._show_faults([]); os.setgid(65534); os.setuid(65534); cli.main()"
    run = named.python(code, "check")
    assert "Traceback" not in run.stderr
    assert re.search(rf"^{place}(:1:1)?: the (file|folder) can't be read: Permission denied$", run.stderr, re.MULTILINE)


def test_nothing_is_lost_or_followed_where_folders_are_deep_or_lead_round(named: Base) -> None:
    deep = named.root / "docs"
    descriptor = os.open(named.root, os.O_RDONLY)
    for name in ("docs", *(["deep"] * 1200)):
        os.mkdir(name, dir_fd=descriptor)
        below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    (deep / "round").symlink_to(".")
    (deep / "all").symlink_to("/")
    faults = {fault.place.file: fault.problem for fault in told(named)}
    place = "/".join(["docs", *(["deep"] * files.DEEPEST)])
    assert faults == {
        place: f"this folder lies more than {files.DEEPEST - 1} levels deep",
        "docs/all": "this is a link to a folder",
        "docs/round": "this is a link to a folder",
    }
    subprocess.run(["rm", "-r", deep], check=True)


def test_a_hidden_link_to_a_folder_is_not_followed_by_mkdocs_either(named: Base) -> None:
    named.write({"docs/.hidden/own.txt": "own", "mkdocs.yml": "exclude_docs: |\n  !.hidden\n"})
    for name in (".all", ".hidden/round"):
        (named.root / "docs" / name).symlink_to("..", target_is_directory=True)
    assert told(named) == []
    assert (named.root / "site/.hidden/own.txt").is_file()
    assert not (named.root / "site/.hidden/round").exists()


NAMES = {
    "new\nline": "control character",
    "red \x1b[31m": "control character",
    "c1\x9b31m": "control character",
    "half \udcff": "not UTF-8",
    "long" * 60: "200 is the most",
}
FINE = ("dot.", "blank ", " blank", "-rf", "con", "Straße", "A", "a", "e\u0301", "\xe9", "a\u202eb", "#?%&<>\"'`[]|*")


FORMS = ("papers/{}.yml", "reference_impl/{}.py", "docs/{}.md", "docs/{}/a.md", "papers/{}.png")


def assert_obeyed_by_nothing(faults: Sequence[AuthorError]) -> None:
    """Check that a terminal shows what is told of a file without obeying its name, and in few lines."""
    shown = str(Faults(faults))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", shown)
    assert shown.count("\n") < 12
    shown.encode()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_that_would_be_obeyed_or_break_something_is_told(named: Base, form: str, name: str) -> None:
    put(named, os.fsencode(form.format(name)).decode(errors="surrogateescape"), file)
    faults = told(named)
    assert any(NAMES[name] in fault.problem for fault in faults), faults
    assert_obeyed_by_nothing(faults)


@pytest.mark.parametrize("form", FORMS)
def test_no_other_name_obeys_or_breaks_anything(named: Base, form: str) -> None:
    # What is told of one keeps no other from the site, in which those that are sound stand together.
    for name in FINE:
        place = form.format(name)
        put(named, place, file)
        faults = named.project.check()[1]
        assert_obeyed_by_nothing(faults)
        if faults:
            (named.root / place).unlink()
    assert told(named) == []


def test_a_pipe_with_an_odd_name_is_a_pipe(named: Base) -> None:
    for place in ("docs/a\nb.txt", "papers/a\nb.png"):
        put(named, place, pipe)
    problems = {fault.problem for fault in told(named)}
    assert problems == {"its name holds a control character", "this is a pipe where a file is expected"}
    assert not named.project.read()[0].attachments


def test_what_a_terminal_would_obey_is_shown_escaped() -> None:
    assert visible("a\x1b[31m\x9b\u202e\udcff\r\x07 \té\n") == r"a\x1b[31m\x9b\u202e\udcff\r\x07 " + "\té\n"
    error = CardError(Place("a\nb\x1b.yml"), "found `\x1b]0;t\x07`", "write \x9b")
    assert str(error) == "a\\nb\\x1b.yml:1:1: found `\\x1b]0;t\\x07`\n  hint: write \\x9b"


ESCAPES = "\x1b]0;title\x07\x1b[31m\x9b\u202eé"


@pytest.fixture
def hostile(base: Base) -> Base:
    """A knowledge base whose texts would rule the terminal."""
    quoted = f'"{ascii(ESCAPES)[1:-1]}"'
    card = f"cite: toy2020\nidea: {quoted}\ntags: [{quoted}]\nnotes: {quoted}\nimplementation: null\n"
    base.write({"papers/toy.yml": f"{card}questions:\n  - {{id: why, ask: {quoted}, asked: 2026-01-31}}\n"})
    base.write(
        {"papers/references.bib": f"@misc{{toy2020, author = {{A {ESCAPES}}}, title = {{T {ESCAPES}}}, year = 2020}}"}
    )
    base.write(
        {"reference_impl/toy.py": f'"""Toy.\n\nAnswers: toy.why\n    So {ESCAPES}\n\n    >>> print("{ESCAPES}")\n"""\n'}
    )
    return base


@pytest.mark.parametrize(
    "arguments",
    [
        ("check",),
        ("show", "toy"),
        ("show", "toy.why"),
        ("questions",),
        ("questions", "--json"),
        ("verify",),
        ("verify", "toy.why"),
        ("export",),
        ("export", "--format", "json"),
        ("export", "--format", "ris"),
        ("build",),
        ("show", ESCAPES),
    ],
    ids=lambda arguments: ascii(" ".join(arguments)),
)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_no_verb_hands_a_terminal_what_it_would_obey(hostile: Base, arguments: tuple[str, ...], encoding: str) -> None:
    run = hostile.quaere(*arguments, PYTHONIOENCODING=encoding, LC_ALL="C.UTF-8")
    assert "Traceback" not in run.stderr
    assert (run.returncode, run.stdout + run.stderr) != (0, "")
    # What is exported is data: in it, words may turn their direction.
    shown = run.stdout.replace("\u202e", "") if arguments[0] == "export" else run.stdout
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", shown + run.stderr)
    assert "there is no" not in run.stderr or arguments == ("show", ESCAPES)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("OSError(errno.ENOSPC, 'No space left on device', 'x')", "x: No space left on device\n  hint: make room"),
        ("OSError(errno.EROFS, 'Read-only file system', 'x')", "x: Read-only file system\n  hint: the disk can only"),
        ("PermissionError(errno.EACCES, 'Permission denied', 'x')", "x: Permission denied\n  hint: let whoever"),
        ("MemoryError()", "the memory is full\n  hint: "),
        ("RecursionError()", "something is nested too deep to be read, in upkeep.py:"),
        ("UnicodeEncodeError('ascii', 'é', 0, 1, 'x')", "ascii has no sign for '\\xe9'\n  hint: set PYTHONIO"),
    ],
)
def test_what_the_machine_refuses_is_a_message(base: Base, error: str, said: str) -> None:
    code = f"import errno\nfrom quaere import cli, project\ndef fail(*_, **__):\n    raise {error}\n"
    code += "project.Project.examine = fail\ncli.main()"
    run = base.python(code, "check")
    assert run.stderr.startswith(said)
    assert "Traceback" not in run.stderr
    assert run.returncode == 2


@pytest.mark.parametrize("error", ["ValueError('x')", "OSError(errno.EBADF, 'x')", "KeyError('x')"])
def test_a_mistake_of_ours_is_a_traceback(base: Base, error: str) -> None:
    code = f"import errno\nfrom quaere import cli, project\ndef fail(*_, **__):\n    raise {error}\n"
    code += "project.Project.examine = fail\ncli.main()"
    run = base.python(code, "check")
    assert "Traceback" in run.stderr


def test_a_full_disk_ends_a_build_with_a_message_and_without_a_part_of_a_site(base: Base) -> None:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    command = [sys.executable, "-c", "from quaere.cli import main; main()", "build"]
    run = subprocess.run(
        command,
        cwd=base.root,
        capture_output=True,
        text=True,
        preexec_fn=limit,
        check=False,
    )
    assert "Traceback" not in run.stderr
    assert f"site: the site can't be written: {os.strerror(errno.EFBIG)}\n  hint: make room" in run.stderr
    assert run.returncode == 2
    assert sorted({path.name for path in base.root.iterdir()} - {".quaere"}) == ["papers", "reference_impl"]


@pytest.mark.parametrize("make", [*ALWAYS[:-1], file], ids=lambda make: make.__name__)
def test_a_site_is_built_in_a_folder_and_over_nothing_else(base: Base, make: Callable[[Path], object]) -> None:
    make(base.root / "there")
    run = base.quaere("build", "--site", "there")
    assert "Traceback" not in run.stderr
    assert (run.returncode, "there: " in run.stderr) == (2, True) or "outside: " in run.stderr or make is dangling


def test_a_template_that_stands_in_for_none_is_told(base: Base) -> None:
    base.write(
        {
            "templates/home.html": '{% extends "quaere/home.html" %}{# {% include "mine.html" %} #}',
            "templates/mine.html": "used",
            "templates/crad.html": "lost",
            "templates/zzzzzzzz.html": "lost",
            "templates/card.htm": "lost",
            "templates/README.md": "notes",
        }
    )
    assert [(fault.place.file, fault.hint[:24]) for fault in told(base)] == [
        ("templates/card.htm", "did you mean `card.html`"),
        ("templates/crad.html", "did you mean `card.html`"),
        ("templates/zzzzzzzz.html", "name it as the template "),
    ]


@pytest.mark.parametrize(("folder", "look"), [("papers", "os.lstat"), ("papers/deeper", "_problem")])
def test_what_is_read_is_what_was_looked_at(
    base: Base, monkeypatch: pytest.MonkeyPatch, folder: str, look: str
) -> None:
    """A file that becomes a pipe or a link between the look at it and its opening."""
    file = base.root / folder / "a.yml"
    looked = pkgutil.resolve_name(f"quaere.content.files:{look}")
    makes: tuple[Callable[[Path], object], ...] = (
        pipe,
        lambda path: path.symlink_to(base.root / "secret"),
        Path.mkdir,
    )
    for make in makes:
        base.write({f"{folder}/a.yml": "a", "secret": "secret"})
        waiting = [make]

        def change(path: str | Path, *others: object, waiting: list[Callable[[Path], object]] = waiting) -> object:
            found = looked(path, *others)
            if str(path) == str(file) and waiting:
                file.unlink()
                waiting.pop()(file)
            return found

        with monkeypatch.context() as patch:
            patch.setattr(f"quaere.content.files.{look}", change)
            with pytest.raises(CardError):
                files.read(base.root, f"{folder}/a.yml", CardError, "papers")
        assert not waiting
        subprocess.run(["rm", "-r", file], check=True)


CARD = "cite: toy2020\nidea: A\nimplementation: null\nnotes: "
RESULT = '{"schema":3,"experiment":"toy","size":"small","key":"k","commit":"","at":"2026","seconds":1,"device":"d",'
RESULT += '"versions":{},"seeds":[0],"settings":%s}'
DOCTEST = '"""Toy.\n\nAnswers: toy.why\n    >>> %s\n    1\n"""\n'
DEEP = {
    ("reference_impl/toy.py", "x = " + "-" * 20_000 + "1\n"): "reference_impl/toy.py:1:1: not Python: nested too deep",
    ("reference_impl/toy.py", "x = " + "(" * 5_000): "reference_impl/toy.py:1:205: not Python: too many nested",
    ("reference_impl/toy.py", 'x = "\0"\n'): "reference_impl/toy.py:1:1: not Python: source code string cannot contain",
    ("reference_impl/toy.py", "x = " + "1" * 5_000): "reference_impl/toy.py:1:1: not Python: Exceeds the limit",
    ("reference_impl/toy.py", "x = " + "1 + " * 3_000 + "1\n"): "reference_impl/toy.py:1:1: this can't be documented: ",
    (
        "reference_impl/toy.py",
        "if a:\n    b\n" + "elif a:\n    b\n" * 3_000,
    ): "reference_impl/__init__.py:1:1: this page",
    ("reference_impl/toy.py", DOCTEST % ("-" * 20_000 + "1")): "reference_impl/toy.py:4:9: the doctest of `toy.why` is",
    ("papers/toy.yml", "[" * 20_000): "papers/toy.yml:1:22: the card is nested more than 20 levels deep",
    ("papers/toy.yml", "{a: " * 20_000): "papers/toy.yml:1:85: the card is nested more than 20 levels deep",
    ("papers/toy.yml", "- " * 20_000): "papers/toy.yml:1:43: the card is nested more than 20 levels deep",
    (
        "papers/results/toy-small.json",
        RESULT % ("[" * 20_000),
    ): "papers/results/toy-small.json:1:1: not the result of an experiment",
    (
        "papers/results/toy-small.json",
        RESULT % ("1" * 5_000),
    ): "papers/results/toy-small.json:1:1: not the result of an experiment",
    ("papers/results/toy-small.json", RESULT % '{"a": 1e999999, "b": NaN}'): "",
    ("papers/toy.yml", CARD + '"' + ">" * 5_000 + ' x"'): "",
    ("papers/toy.yml", CARD + '"' + "- " * 5_000 + 'x"'): "",
    ("papers/toy.yml", CARD + '"' + "[" * 5_000 + '"'): "",
    ("papers/toy.yml", CARD + '"' + "*a " * 5_000 + '"'): "",
    ("docs/x.md", "# x\n\n" + ">" * 5_000 + " x\n"): "",
    ("docs/x.md", "# x\n\n" + "- " * 5_000 + "x\n"): "docs/x.md:1:1: this page can't be made: maximum recursion depth",
    ("docs/x.md", "# x\n\n[a](http://[x)\n"): "docs/x.md:1:1: this page can't be made: Invalid IPv6 URL",
    ("docs/x.md", "# x\n\n[a](" + "a" * 300 + ".md)\n"): "docs/x.md:3:5: `aaaaaaaaaa",
    ("docs/x.md", "---\nsearch: 7\n---\n# x\n"): "",
    ("templates/card.html", "{{ " + "(" * 3_000): "templates/card.html:1:1: this template is nested too deep",
    (
        "templates/card.html",
        "{% for x in y %}" * 300 + "{% endfor %}" * 300,
    ): "templates/card.html:1:1: this template",
    ("templates/card.html", '{% include "card.html" %}'): "templates/card.html:1:1: this template can't be filled in",
    ("papers/a.svg", '<svg xmlns="http://www.w3.org/2000/svg">' + "<g>" * 20_000 + "</g>" * 20_000 + "</svg>"): "",
}


@pytest.mark.parametrize(("written", "fault"), DEEP.items(), ids=lambda one: ascii(one)[:70])
def test_whatever_is_nested_is_told_with_its_place_or_shown(base: Base, written: tuple[str, str], fault: str) -> None:
    path, text = written
    base.write({path: text, "docs/index.md": "# Home\n"})
    faults = list(map(str, told(base)))
    assert any(one.startswith(fault) for one in faults) if fault else faults == []


@pytest.fixture(autouse=True)
def writable(tmp_path: Path) -> Iterator[None]:
    """Leave nothing that pytest can't remove."""
    yield
    subprocess.run(["chmod", "-R", "u+rwX", tmp_path], check=False, capture_output=True)
