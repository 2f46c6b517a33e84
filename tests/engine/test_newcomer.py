"""A newcomer's first minutes: the guide's first page, done to the letter with the wheel in an empty environment.

Its transcripts are what the commands print. To write them anew: QUAERE_WRITE=1, and run this file.
"""

import os
import re
import shlex
import subprocess
import sys
import venv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from itertools import product
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from benchmarks.generated import FAMILIES, GIVEN, KINDS, MANNERS, THINGS
from quaere.authoring.entries import ascii_of

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/guide/your-own-site.md"
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


def run(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    # What the newcomer has is Python: no node, no git, and nothing of this project's environment.
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment = {**clean, "PATH": str(folder), "COLUMNS": "100", "NO_COLOR": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def needed(requirements: Iterable[str], extra: str = "") -> Iterator[metadata.Distribution]:
    """Yield the distributions of this environment that pip would install for these requirements, some several times."""
    for one in map(Requirement, requirements):
        if not one.marker or one.marker.evaluate({"extra": extra}):
            found = metadata.distribution(one.name)
            assert one.specifier.contains(found.version, prereleases=True), f"{one}: {found.version} works"
            yield found
            for name in ("", *one.extras):
                yield from needed(found.requires or (), name)


@dataclass(frozen=True)
class Environment:
    """Python in an environment of its own, into which the wheel is installed by steps.

    What it needs is linked from this environment, for pip takes half a minute to load and unpack the same. That pip
    finds as much by itself is seen by `make test-all`.
    """

    python: Path
    wheel: Path

    @property
    def packages(self) -> Path:
        (packages,) = self.python.parents[1].glob("lib/python*/site-packages")
        return packages

    def install(self, extra: str) -> None:
        (told,) = self.packages.glob("quaere-*.dist-info")
        for distribution in needed(metadata.Distribution.at(told).requires or (), extra):
            tops = {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}
            for top in tops:
                if not (self.packages / top).exists():
                    (self.packages / top).symlink_to(str(distribution.locate_file(top)))

    def pip(self, *arguments: str | Path, folder: Path) -> None:
        # By the pip of this environment: to unpack one more takes seconds.
        pip = (sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet", "--no-compile")
        done = run(*pip, *arguments, folder=folder)
        assert done.returncode == 0, done.stderr

    def quaere(self, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
        return run(self.python, "-m", "quaere", *arguments, folder=folder)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    made = Environment(folder / "bin/python", wheel)
    made.pip("--no-deps", wheel, folder=folder)
    made.install("")
    return made


def test_without_what_builds_a_site_a_library_begins_and_its_answer_holds(
    tmp_path: Path, environment: Environment
) -> None:
    assert environment.quaere("init", folder=tmp_path).returncode == 0
    bare = environment.quaere("build", folder=tmp_path)
    assert bare.returncode == 2, bare.stderr
    assert re.fullmatch(
        r"a site is built with .*mkdocs.*, not installed here\n  hint: pip install 'quaere\[site\]'\n", bare.stderr
    )
    unasked = environment.quaere("mcp", folder=tmp_path)
    assert (unasked.returncode, unasked.stderr) == (
        2,
        "language models are answered with mcp, quickjs-ng, not installed here\n  hint: pip install 'quaere[mcp]'\n",
    )
    assert environment.quaere("check", folder=tmp_path).stdout == "1 papers, 3 questions, 1 answers: no faults\n"
    assert "1 run, 0 unchanged, 0 broken" in environment.quaere("verify", folder=tmp_path).stderr


EXPORTED = r"""
@misc{kingma_adam_2017,
	title = {Adam: {A} {Method} for {Stochastic} {Optimization}},
	shorttitle = {Adam},
	url = {http://arxiv.org/abs/1412.6980},
	doi = {10.48550/arXiv.1412.6980},
	abstract = {We introduce Adam, an algorithm for first-order gradient-based optimization of 100\% of it.},
	urldate = {2026-11-02},
	publisher = {arXiv},
	author = {Kingma, Diederik P. and Ba, Jimmy},
	month = jan,
	year = {2017},
	note = {arXiv:1412.6980 [cs]},
	keywords = {Computer Science - Machine Learning},
	file = {Preprint PDF:/home/ann/Zotero/storage/ABCD1234/Kingma and Ba - 2017.pdf:application/pdf},
}
"""


def zotero_export(count: int) -> str:
    """Write entries as Zotero exports them, each of another paper."""
    entries = [EXPORTED]
    for number, (kind, thing, manner) in enumerate(product(KINDS, THINGS, MANNERS[:2]), 1):
        if number == count:
            break
        family = FAMILIES[number % len(FAMILIES)]
        entry = EXPORTED.replace("kingma_adam_2017", re.sub(r"\W", "", ascii_of(f"{family}_{kind}_{number}".lower())))
        entry = entry.replace("Kingma, Diederik P.", f"{family}, {GIVEN[number % len(GIVEN)]}")
        entry = entry.replace("Adam: {A} {Method} for {Stochastic} {Optimization}", f"{manner} {kind} for {{{thing}}}")
        entries.append(re.sub("1412[.]6980", f"{1501 + number // 100}.{number:05}", entry))
    assert len(entries) == count
    return "".join(entries)


def same(transcript: str) -> str:
    """Leave out of a transcript what differs from run to run."""
    return re.sub(r"\d+\.\d s\b", "1.0 s", "".join(f"{line.rstrip()}\n" for line in transcript.splitlines()))


@dataclass
class Day:
    """What somebody does who follows the page: files are written, commands are run one after another."""

    environment: Environment
    folder: Path

    def transcript(self, commands: str) -> Iterator[str]:
        for found in COMMAND.finditer(commands):
            line, printed = found[1], ""
            words = shlex.split(line)
            if words[0] == "cd":
                self.folder /= words[1]
            else:
                assert words[0] == "quaere"
                done = self.environment.quaere(*words[1:], folder=self.folder)
                assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
                # What goes to standard error is told first.
                printed = done.stderr + done.stdout
            lines = [told.rstrip() for told in printed.strip("\n").splitlines()]
            yield f"$ {line}\n" + "".join(f"{told}\n" for told in lines)

    def write(self, name: str, text: str) -> None:
        file = self.folder / name
        file.parent.mkdir(exist_ok=True)
        known = file.read_text(encoding="utf-8") if file.exists() else ""
        # A function stands for the skeleton of its name.
        begin = known.find(text.partition("(")[0]) if name.endswith(".py") else -1
        assert (begin >= 0) == bool(known), f"{name} holds no skeleton of what the page shows"
        file.write_text(known[: max(begin, 0)] + text, encoding="utf-8")


def test_the_first_page_of_the_guide_leads_from_nothing_to_a_whole_site(
    tmp_path: Path, environment: Environment
) -> None:
    page = PAGE.read_text(encoding="utf-8")
    first, mark, rest = page.partition("## Editors")
    day, transcripts = Day(environment, tmp_path), dict[str, str]()
    (tmp_path / "zotero.bib").write_text(zotero_export(1000), encoding="utf-8")
    for kind, name, text in BLOCK.findall(first):
        if kind == "sh":
            assert text == "pip install 'quaere[site]'\n"
            environment.install("site")
        elif kind == "console":
            transcripts[text] = "".join(day.transcript(text))
        else:
            day.write(name, text)
    if os.environ.get("QUAERE_WRITE"):
        for known, now in transcripts.items():
            first = first.replace(f"```console\n{known}", f"```console\n{known if same(known) == same(now) else now}")
        PAGE.write_text(first + mark + rest, encoding="utf-8")
    else:
        assert list(map(same, transcripts)) == list(map(same, transcripts.values())), "write them anew: QUAERE_WRITE=1"

    assert day.folder == tmp_path / "library"
    card = (day.folder / "site/papers/attention/index.html").read_text(encoding="utf-8")
    for shown in (
        r'<annotation encoding="application/x-tex">\operatorname{softmax}(QK^\top/\sqrt{d_k})</annotation>',
        '<div class="q-flow" ',
        '<div class="admonition note">',
        'type="checkbox"',
        '<h3 id="why-scale">Why are the scores divided by the root of the width?',
        '<h3 id="which-keys-query-zeros-choose">Which keys does a query of zeros choose?',
    ):
        assert shown in card
    assert "Why are some of the chosen words kept?" in (day.folder / "site/papers/bert/index.html").read_text()
    adam = (day.folder / "site/papers/adam/index.html").read_text(encoding="utf-8")
    assert "Adam: A Method for Stochastic Optimization" in adam
    assert "<title>library</title>" in (day.folder / "site/index.html").read_text(encoding="utf-8")
    for path in ("katex/katex.min.css", "mermaid/mermaid.esm.min.mjs"):
        assert (day.folder / "site/assets/vendor" / path).is_file()
    assert len(list((day.folder / "site/assets/vendor/katex/fonts").iterdir())) > 10
    assert len(list((day.folder / "site/assets/vendor/mermaid/chunks/mermaid.esm.min").iterdir())) > 50


@pytest.mark.slow
def test_all_that_zotero_exports_becomes_cards(tmp_path: Path, wheel: Path) -> None:
    venv.create(tmp_path / "environment")
    environment = Environment(tmp_path / "environment/bin/python", wheel)
    environment.pip("--constraint", ROOT / "constraints.txt", f"{wheel}[site]", folder=tmp_path)
    (tmp_path / "zotero.bib").write_text(zotero_export(1000), encoding="utf-8")
    for command in ("init", "add --card zotero.bib", "build"):
        done = environment.quaere(*command.split(), folder=tmp_path)
        assert done.returncode == 0, done.stderr
    assert "\n1000 papers, 1 questions, " in done.stdout
    assert len(list((tmp_path / "site/papers").glob("*/index.html"))) >= 1000
