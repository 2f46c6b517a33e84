"""A build that makes only what has changed gives what a clean one gives, whatever was kept and whatever has changed."""

import ast
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from quaere import stamp
from quaere.content import answers
from quaere.content.model import Verdict
from quaere.errors import AuthorError
from quaere.pages import render, seen
from quaere.pages.page import Page
from quaere.pages.view import View
from quaere.project import Project
from quaere.site.build import build
from tests.engine.conftest import SOUND, Base

CARD = """\
cite: {cite}
idea: {idea}
implementation: {implementation}
tags: [{tags}]
builds_on: [{before}]
notes: |
  {notes}
questions:
  - {{id: why, ask: {ask}, asked: 2026-01-31{answer}}}
"""
MODULE = '''"""A toy: {summary}"""


def play():
    """Play.

    Answers: {slug}.why
        {prose}

        >>> 1 + {number}
        {sum}
    """
    return {number}
'''
ENTRY = "@article{{{key}, author={{{author}}}, title={{{title}}}, year={{{year}}}}}\n"
START: dict[str, str] = {
    **SOUND,
    "mkdocs.yml": "site_name: Base\nplugins: [quaere]\nrepo_url: https://example.org/a\n",
    "docs/index.md": "# Home\n\n## Of [[toy]]\n\n[[toy]] and [[toy.how]].\n\n"
    "<!-- quaere:states -->\n\n<!-- quaere:newest -->\n",
    "docs/about.md": "# About\n\n[A card](papers/toy.md#how)\n",
}
SLUGS = ("toy", "ball", "doll", "kite")
WORDS = st.sampled_from(["red", "Of *two*", "$x^2$", "[[toy]]", "[[ball]]", "[[doll.why]]", "![p](p.png)", "a & <b>"])
Files = dict[str, str]
Edit = Callable[[DataObject, Files], None]


def bibliography(data: DataObject, files: Files) -> None:
    made = SOUND["papers/references.bib"]
    for slug in SLUGS[1:]:
        author, year = data.draw(st.sampled_from(["Doe, Jane", "Roe, R."])), data.draw(st.integers(2001, 2003))
        title = data.draw(st.sampled_from(["On Balls", "On: Dolls", "Balls"]))
        made += ENTRY.format(key=f"{slug}2020", author=author, title=title, year=year)
    files["papers/references.bib"] = made


def card(data: DataObject, files: Files) -> None:
    slug = data.draw(st.sampled_from(SLUGS[1:]))
    has_code = data.draw(st.booleans())
    answer = data.draw(st.sampled_from(["", ", answer: Because.", ", answer: Because of [[toy]]."]))
    files[f"papers/{slug}.yml"] = CARD.format(
        cite=f"{slug}2020" if f"{slug}2020" in files["papers/references.bib"] else "toy2020",
        idea=json.dumps(data.draw(WORDS)),
        implementation="null" if not has_code else slug,
        tags=data.draw(st.sampled_from(["", "light", "light, heavy", "Light"])),
        before=data.draw(st.sampled_from(["", "toy"])),
        notes=data.draw(WORDS),
        ask=json.dumps(data.draw(WORDS)),
        answer="" if has_code else answer,
    )
    files.pop(f"reference_impl/{slug}.py", None)
    if has_code:
        module(data, files, slug)


def module(data: DataObject, files: Files, slug: str) -> None:
    number = data.draw(st.integers(1, 2))
    prose = data.draw(st.sampled_from(["So it is.", "See [[toy.how]]."]))
    files[f"reference_impl/{slug}.py"] = MODULE.format(
        summary=data.draw(st.sampled_from(["a.", "b."])), slug=slug, prose=prose, number=number, sum=1 + number
    )


def deletion(data: DataObject, files: Files) -> None:
    slug = data.draw(st.sampled_from(SLUGS[1:]))
    files.pop(f"papers/{slug}.yml", None)
    files.pop(f"reference_impl/{slug}.py", None)


def renaming(data: DataObject, files: Files) -> None:
    former = data.draw(st.sampled_from(SLUGS[1:]))
    if text := files.pop(f"papers/{former}.yml", None):
        files.pop(f"reference_impl/{former}.py", None)
        text = text.replace(f"implementation: {former}", "implementation: null")
        files["papers/boat.yml"] = f"formerly: [{former}]\n{text}"


def page(data: DataObject, files: Files) -> None:
    path = data.draw(st.sampled_from(["docs/index.md", "docs/about.md", "docs/more/other.md"]))
    if data.draw(st.booleans()):
        shown = data.draw(st.sampled_from(["", "<!-- quaere:newest -->", "<!-- quaere:question toy.how -->"]))
        files[path] = f"# {data.draw(st.sampled_from(['A', 'B $y$']))}\n\n{data.draw(WORDS)}\n\n{shown}\n"
    else:
        files.pop(path, None)


def template(data: DataObject, files: Files) -> None:
    name = data.draw(st.sampled_from(["card.html", "papers.html", "states.html"]))
    if files.pop(f"templates/{name}", None) is None:
        block = "{% block head %}{{ super() }}{{ library.questions | length }}{{ view.name }}{% endblock %}"
        texts = {"card.html": f'{{% extends "quaere/card.html" %}}{block}'}
        files[f"templates/{name}"] = texts.get(name, f'<h1 id="x">{{{{ view.states | length }}}} {name}</h1>')


def setting(data: DataObject, files: Files) -> None:
    url = data.draw(st.sampled_from(["", "site_url: https://example.org/b/\n"]))
    tabs = data.draw(st.sampled_from(["", "theme: {features: []}\n"]))
    repository = data.draw(st.sampled_from(["a", "b"]))
    files["mkdocs.yml"] = f"site_name: Base\nplugins: [quaere]\nrepo_url: https://example.org/{repository}\n{url}{tabs}"


def evidence(data: DataObject, files: Files) -> None:
    project = Project.find(Path(files["root"]))
    verdicts = {}
    for answer in project.read()[0].answers:
        told = {
            "passed": data.draw(st.booleans()),
            "failure": "it failed",
            "commit": "",
            "versions": {},
            "seconds": 0.5,
        }
        verdicts[answer.id] = {"key": answer.key, "at": "2026-01-31T00:00:00+00:00", **told}
    files[".quaere/evidence.json"] = json.dumps({"schema": 1, "verdicts": verdicts})


def picture(data: DataObject, files: Files) -> None:
    if files.pop("papers/p.svg", None) is None:
        files["papers/p.svg"] = '<svg xmlns="http://www.w3.org/2000/svg"/>'


MORE = (
    *("private: true", "status: {state: retracted}", "status: {state: superseded, by: toy}", "extra: {rank: A}"),
    *("quotes: [{text: Words., page: 3}]", "quotes: [{text: Words., page: 3, private: true}]", ""),
)
REPLIES = ("{text: So., by: Ann}", "{text: Or so.}", "{code: doll.why}", "{code: topic.said}")


def fields(data: DataObject, files: Files) -> None:
    slug = data.draw(st.sampled_from(SLUGS))
    if text := files.get(f"papers/{slug}.yml"):
        files[f"papers/{slug}.yml"] = f"{text.partition('# more')[0]}# more\n{data.draw(st.sampled_from(MORE))}\n"


def topic(data: DataObject, files: Files) -> None:
    number, replies = (
        data.draw(st.integers(1, 2)),
        ", ".join(data.draw(st.lists(st.sampled_from(REPLIES), unique=True))),
    )
    asked = f"{{id: asked, ask: {json.dumps(data.draw(WORDS))}, asked: 2026-02-01, by: Ann, answers: [{replies}]}}"
    files["papers/topic.yml"] = f"title: A topic\ntags: [light]\nquestions:\n  - {asked}\n"
    said = MODULE.format(summary="c.", slug="topic", prose="So it is.", number=number, sum=1 + number)
    files["reference_impl/said.py"] = said.replace("topic.why", "topic.said" if "said" in replies else "topic.asked")
    files["papers/extra.schema.json"] = data.draw(
        st.sampled_from(["{}", '{"properties": {"rank": {"enum": ["A"]}}}', '{"properties": {"rank": {"title": "R"}}}'])
    )


EDITS: tuple[Edit, ...] = (
    *(bibliography, card, card, deletion, renaming, page, template, setting, evidence, picture),
    *(fields, fields, topic, topic),
)


def written(root: Path, files: Mapping[str, str], former: Mapping[str, str]) -> None:
    """Write those files that differ, and remove those that are gone."""
    for path in former.keys() - files.keys():
        (root / path).unlink()
    for path, text in files.items():
        if former.get(path) != text and path != "root":
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def built(root: Path, site: Path) -> list[str]:
    project = Project.find(root)
    library, faults = project.check(keep=True)
    return [str(one) for one in faults or build(project, library, site)[0]]


def check(data: DataObject, root: Path, edits: int) -> None:
    files = {**START, "root": str(root)}
    written(root, files, {})
    assert built(root, root / "site") == []
    for _ in range(data.draw(st.integers(1, edits))):
        before = dict(files)
        data.draw(st.sampled_from(EDITS))(data, files)
        written(root, files, before)
        faults = built(root, root / "site")
    clean = root / "clean"
    assert built(root, clean) == faults
    if not faults:
        assert contents(root / "site") == contents(clean)


def test_a_library_is_read_as_it_was_from_what_is_kept(base: Base) -> None:
    base.write(
        {
            "papers/ball.yml": CARD.format(
                cite="toy2020",
                idea="Of $x$ [[toy]]",
                implementation="null",
                tags="a",
                before="toy",
                notes="[[toy.how]]\n\n  See ![p](p.png) and [x](toy.md).",
                ask=json.dumps("Why [[toy]]?"),
                answer=", answer: So.",
            ),
            "papers/bad.yml": "cite: [",
            "papers/p.png": "x",
        }
    )
    cold, told = base.project.check(keep=True)
    kept, again = base.project.check()
    assert [str(one) for one in told] == [str(one) for one in again]
    assert kept.papers.keys() == cold.papers.keys() == {"toy", "ball"}
    for slug, paper in cold.papers.items():
        assert kept.papers[slug] == dataclasses.replace(paper, places=kept.papers[slug].places), slug
        assert dict(kept.papers[slug].places) == dict(paper.places)
        assert kept.papers[slug].links == paper.links
    assert kept.papers["ball"].links


def test_a_reference_is_kept_with_all_that_it_follows_from(base: Base) -> None:
    book = "@string{{v = {{{}}}}}\n@article{{toy2020, title={{Toys}}, journal=v}}\n"
    book += "@inproceedings{{ball2020, title={{Balls}}, crossref={{all}}}}\n@proceedings{{all, title={{{}}}}}\n"
    base.write({"papers/ball.yml": "cite: ball2020\nimplementation: null\n"})
    for keep in (True, False):
        for journal, conference in (("A", "B"), ("C", "B"), ("C", "D")):
            base.write({"papers/references.bib": book.format(journal, conference)})
            papers = base.project.check(keep=keep)[0].papers
            assert (papers["toy"].reference.venue, papers["ball"].reference.venue) == (journal, conference)


def test_a_build_that_fails_leaves_what_is_known_of_the_site(base: Base) -> None:
    base.write({"mkdocs.yml": START["mkdocs.yml"]})
    site, project = base.root / "site", base.project

    def serve(project: Project, files: Mapping[str, str]) -> tuple[Project, list[AuthorError]]:
        base.write(files)
        project = project.again()
        library, faults = project.check(keep=True)
        assert not faults
        return project, build(project, library, site, served_at="http://127.0.0.1:8000/")[0]

    project, faults = serve(project, {"papers/ball.yml": "cite: toy2020\nimplementation: null\n"})
    assert not faults
    changed = SOUND["papers/toy.yml"].replace("A sound idea", "Another idea")
    ball = "cite: toy2020\nimplementation: null\n"
    bad = {"papers/toy.yml": changed, "papers/ball.yml": f"{ball}notes: '[x](#nowhere)'\n"}
    project, faults = serve(project, bad)
    assert len(faults) == 1
    project, faults = serve(project, {"papers/ball.yml": ball})
    assert not faults
    assert b"Another idea" in contents(site)["papers/toy/index.html"]


def test_answers_are_read_anew_only_if_a_module_changes(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    module = MODULE.format(summary="As.", slug="toy", prose="Since.", number=1, sum=2)
    base.write({"reference_impl/__init__.py": "", "reference_impl/play.py": module})
    cold, _ = base.project.check(keep=True)
    parse, again = answers._parsed, list[str]()

    def parse_again(code: str) -> ast.Module:
        again.append(code)
        return parse(code)

    monkeypatch.setattr(answers, "_parsed", parse_again)
    kept, _ = base.project.check()
    assert (kept.answers, kept.modules) == (cold.answers, cold.modules)
    assert kept.answers
    assert not again
    base.write({"reference_impl/play.py": module.replace("Since.", "So.")})
    assert base.project.check()[0].answers != cold.answers
    assert any("So." in code for code in again)


def test_without_a_change_nothing_is_imported_that_takes_time(base: Base) -> None:
    base.write({"mkdocs.yml": START["mkdocs.yml"]})
    assert base.quaere("build").returncode == 0
    slow = "{'griffe', 'mkdocs', 'jinja2', 'nh3', 'yaml'}"
    told = f"import atexit, sys; atexit.register(lambda: print(sorted({slow} & set(sys.modules)), file=sys.stderr)); "
    command = [sys.executable, "-c", told + "from quaere.cli import main; main()", "build"]
    same = subprocess.run(command, cwd=base.root, capture_output=True, text=True, check=True)
    assert (same.stderr.strip(), "1 papers, 2 questions" in same.stdout) == ("[]", True)
    for path, change in {"papers/toy.yml": "# changed\n", "site/index.html": "changed"}.items():
        with (base.root / path).open("a") as opened:
            opened.write(change)
        built = (base.root / "site").stat().st_mtime_ns
        assert base.quaere("build").returncode == 0
        assert (base.root / "site").stat().st_mtime_ns > built, path
        assert "changed" not in (base.root / "site/index.html").read_text()
        again = subprocess.run(command, cwd=base.root, capture_output=True, text=True, check=True)
        assert again.stderr.strip() == "[]", path


def test_a_check_without_a_change_ends_at_once_and_sees_each_change(base: Base) -> None:
    slow = "{'griffe', 'markdown_it', 'rich', 'yaml'}"
    code = "import atexit, sys; from quaere.cli import main\n"
    code += f"atexit.register(lambda: print(sorted({slow} & sys.modules.keys()))); main()"

    def checked() -> list[str]:
        ran = subprocess.run([sys.executable, "-c", code, "check"], cwd=base.root, capture_output=True, text=True)
        return [*ran.stdout.splitlines(), *ran.stderr.splitlines()]

    before = checked()
    assert not (base.root / ".quaere").exists(), "a check makes no folder"
    (base.root / ".quaere/cache").mkdir(parents=True)
    checked()
    assert checked() == [before[0], "[]"]
    assert stamp.checked(base.root) == before[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stamp, "code", lambda: "another")
        assert stamp.checked(base.root) is None
    base.write({"papers/toy.yml": SOUND["papers/toy.yml"].replace("cite: toy2020", "cite: toy2021")})
    assert any("no entry `toy2021`" in line for line in checked())
    assert any("no entry `toy2021`" in line for line in checked())


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data.replace(b"toy", b"yot")])
@pytest.mark.parametrize("kind", ["pages", "sqlite"])
def test_what_is_kept_is_not_trusted_when_it_is_corrupt(
    base: Base, kind: str, damage: Callable[[bytes], bytes]
) -> None:
    base.write({"mkdocs.yml": START["mkdocs.yml"]})
    site = base.root / "site"
    assert built(base.root, site) == []
    before = contents(site)
    for file in (base.root / ".quaere/cache").glob(f"*{kind}"):
        file.write_bytes(damage(file.read_bytes()))
    (site / "papers/index.html").write_text("other")
    base.write({"papers/toy.yml": SOUND["papers/toy.yml"].replace("sound", "sounder")})
    assert built(base.root, site) == []
    assert contents(site)["papers/index.html"] != before["papers/index.html"]
    shutil.rmtree(base.root / ".quaere/cache")
    assert built(base.root, base.root / "clean") == []
    assert contents(site) == contents(base.root / "clean")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the pages that are made."""
    paths: list[str] = []
    page = render._page

    def noted(view: View, path: str, *arguments: Any, **more: Any) -> Page:
        paths.append(path)
        return page(view, path, *arguments, **more)

    monkeypatch.setattr(render, "_page", noted)
    return paths


def test_what_other_code_or_another_folder_kept_is_not_used(
    base: Base, made: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base.write({"mkdocs.yml": START["mkdocs.yml"]})
    site = base.root / "site"
    assert built(base.root, site) == []
    made.clear()
    assert built(base.root, site) == []
    assert made == []
    shutil.copytree(base.root, tmp_path / "copy")
    assert built(tmp_path / "copy", tmp_path / "copy/site") == []
    assert "papers/toy.md" in made
    made.clear()
    code = stamp.code()
    monkeypatch.setattr(stamp, "code", lambda: f"another {code}")
    assert built(base.root, site) == []
    assert "papers/toy.md" in made


def test_other_code_is_what_is_installed_otherwise_and_not_what_python_has_compiled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    packages = tmp_path / "site-packages"
    (packages / "one-1.0.dist-info").mkdir(parents=True)
    (packages / "one.py").write_text("")
    monkeypatch.syspath_prepend(packages)
    codes = [stamp.code()]

    def changes() -> bool:
        codes.append(stamp.code())
        return codes[-1] != codes[-2]

    (packages / "__pycache__").mkdir()
    assert not changes()
    (packages / "two-1.0.dist-info").mkdir()
    assert changes()
    (packages / "two-1.0.dist-info").rename(packages / "two-1.1.dist-info")
    assert changes()
    os.utime(packages / "one-1.0.dist-info", ns=(0, 0))
    assert changes()
    (packages / "three.pth").write_text("/elsewhere")
    assert changes()


COMMON = {"cite": "toy2020", "idea": "Balls.", "implementation": "null", "tags": "", "before": "", "answer": ""}


def ball(notes: str, ask: str) -> dict[str, str]:
    return {"papers/ball.yml": CARD.format(notes=notes, ask=ask, **COMMON)}


@pytest.mark.parametrize(
    ("change", "again", "left"),
    [
        # A card that links to another shows no more of it than its name and its questions.
        (ball("Other.", "Why?"), {"papers/ball.md"}, {"papers/doll.md", "papers/index.md", "questions.md"}),
        (ball("Notes.", "Why not?"), {"papers/ball.md", "papers/doll.md", "papers/index.md", "questions.md"}, set()),
        ({"papers/ball.yml": "short: Other\n" + ball("Notes.", "Why?")["papers/ball.yml"]}, {"papers/doll.md"}, set()),
        ({"docs/about.md": "# About\n\nOther.\n"}, set(), {"papers/ball.md", "papers/doll.md"}),
    ],
)
def test_only_what_asked_for_what_has_changed_is_made(
    base: Base, made: list[str], change: dict[str, str], again: set[str], left: set[str]
) -> None:
    base.write({"mkdocs.yml": START["mkdocs.yml"], "docs/about.md": "# About\n", **ball("Notes.", "Why?")})
    links = "[[ball]], [[ball.why]], [[ball#notes]]"
    base.write({"papers/doll.yml": CARD.format(notes=links, ask="Why?", **{**COMMON, "before": "ball"})})
    assert built(base.root, base.root / "site") == []
    made.clear()
    base.write(dict(change))
    assert built(base.root, base.root / "site") == []
    assert again <= set(made)
    assert not {*left, "papers/toy.md"} & set(made)


SHOWN = "# About\n\n[[ball]], [[ball.why]]\n\n<!-- quaere:question ball.why -->\n\n[why](papers/ball.md#why)\n"


def test_pages_of_mkdocs_own_show_the_cards_of_today_without_mkdocs(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = MODULE.format(summary="As [[toy]] & <so>.", slug="toy", prose="Since.", number=1, sum=2)
    base.write({"mkdocs.yml": START["mkdocs.yml"], "docs/about.md": SHOWN, **ball("Notes.", "Why?")})
    base.write({"reference_impl/__init__.py": "", "reference_impl/play.py": module})
    site = base.root / "site"
    assert built(base.root, site) == []
    before = contents(site)
    monkeypatch.setattr("mkdocs.commands.build.build", None)
    base.write(ball("Notes.", "Why not?"))
    base.write({"papers/toy.yml": f"short: Other\n{SOUND['papers/toy.yml']}"})
    assert built(base.root, site) == []
    after = contents(site)
    assert b"Why not?" not in before["about/index.html"]
    assert after["about/index.html"].count(b"Why not?") == 2
    assert b'content="A toy: As Toys &amp; &lt;so&gt;."' in before["reference/play/index.html"]
    assert after["reference/play/index.html"].count(b'content="A toy: As Other &amp; &lt;so&gt;."') == 2
    card = ball("Notes.", "Why?")["papers/ball.yml"].replace("id: why", "id: how")
    base.write({"papers/ball.yml": card, "docs/about.md": "# About\n\n[why](papers/ball.md#why)\n"})
    monkeypatch.undo()
    assert built(base.root, site) == ["docs/about.md:3:7: `papers/ball.md#why` leads nowhere"]


def test_a_page_can_be_written_where_one_was_made(base: Base) -> None:
    base.write({"mkdocs.yml": START["mkdocs.yml"]})
    site = base.root / "site"
    assert built(base.root, site) == []
    base.write({"docs/index.md": "# Own\n"})
    assert built(base.root, site) == []
    assert b"Own" in contents(site)["index.html"]
    (base.root / "docs/index.md").unlink()
    assert built(base.root, site) == []
    assert b"Own" not in contents(site)["index.html"]


def test_what_is_kept_of_a_card_shows_the_names_of_others_as_they_are_now(base: Base) -> None:
    card = CARD.format(notes="Notes.", ask="Why?", **{**COMMON, "idea": json.dumps("After [[toy]].")})
    base.write({"mkdocs.yml": START["mkdocs.yml"], "papers/ball.yml": card})
    site = base.root / "site"
    assert built(base.root, site) == []
    assert b"After Toys." in contents(site)["papers/index.html"]
    base.write({"papers/toy.yml": f"short: Other\n{SOUND['papers/toy.yml']}"})
    assert built(base.root, site) == []
    assert b"After Other." in contents(site)["papers/index.html"]


def test_what_is_held_of_a_card_shows_the_names_of_others_as_they_are_now(base: Base) -> None:
    card = CARD.format(notes="Notes.", ask="Why?", **{**COMMON, "idea": json.dumps("After [[toy]].")})
    base.write({"papers/ball.yml": card})
    project = base.project
    before = project.view(project.read()[0]).summaries["ball"]
    again = project.again()
    assert again.view(again.read()[0]).summaries["ball"] is before
    base.write({"papers/toy.yml": f"short: Other\n{SOUND['papers/toy.yml']}"})
    later = again.again()
    assert (before.words, later.view(later.read()[0]).summaries["ball"].words) == ("After Toys.", "After Other.")


def test_the_lineage_on_a_card_shows_the_names_and_states_of_others_as_they_are_now(base: Base) -> None:
    base.write({"mkdocs.yml": START["mkdocs.yml"], **ball("Notes.", "Why?")})
    base.write({"papers/doll.yml": CARD.format(notes="Notes.", ask="Why?", **{**COMMON, "before": "ball"})})
    site, page = base.root / "site", "papers/doll/index.html"
    assert built(base.root, site) == []
    card = ball("Notes.", "Why?")["papers/ball.yml"]
    for change in (f"short: Sphere\n{card}", f"short: Sphere\n{card.replace('}', ', answer: So.}')}"):
        before = contents(site)[page]
        base.write({"papers/ball.yml": change})
        assert built(base.root, site) == []
        assert contents(site)[page] != before
        clean = base.root.parent / f"clean{len(change)}"
        assert built(base.root, clean) == []
        assert contents(site)[page] == contents(clean)[page]


@pytest.mark.parametrize(
    ("question", "is_own"),
    [
        (["library", "papers", "keys"], False),
        (["states", "value"], False),
        (["library", "papers", "get", "keys"], True),
        (["states", "get", "keys.why"], True),
        (["states", "get", "keysmith.why"], False),
        (["states", "get", "keys"], False),
        (["verdicts", "get", "keys.why"], True),
        (["verdicts", "get", "keys.helper"], False),
        (["count", "call", ["keys.why", "keys.how"]], True),
        (["count", "call", ["keys.why", "toy.why"]], False),
        (["count", "call", []], False),
        (["history", "files", "get", "papers/keys.yml"], True),
        (["history", "files", "get", "papers/toy.yml"], False),
        (["library", "is_stale", "call", "keys", {"Result": ["keys", "keys-small"]}], True),
        (["library", "is_stale", "call", "toy", {"Result": ["keys", "keys-small"]}], False),
    ],
)
def test_of_a_card_named_like_a_question_only_its_own_answers_are_covered(
    base: Base, question: list[Any], is_own: bool
) -> None:
    base.write({"papers/keys.yml": SOUND["papers/toy.yml"]})
    assert (seen._owner(question, base.library()) == "keys") is is_own


def test_what_a_card_shows_of_its_experiment_is_that_of_today(base: Base) -> None:
    claim = "claims: [{id: fast, says: It is fast., where: Table, reported: '2'}]\n"
    code = '"""{}"""\n\nSIZES = ("small",)\n'
    base.write({"mkdocs.yml": START["mkdocs.yml"], "papers/toy.yml": SOUND["papers/toy.yml"] + claim})
    base.write({f"reference_impl/{name}__init__.py": "" for name in ("", "experiments/")})
    base.write({"reference_impl/experiments/toy.py": code.format("Takes long.")})
    site = base.root / "site"
    assert built(base.root, site) == []
    assert b"Takes long." in contents(site)["papers/toy/index.html"]
    base.write({"reference_impl/experiments/toy.py": code.format("Takes a while.")})
    assert built(base.root, site) == []
    assert b"Takes a while." in contents(site)["papers/toy/index.html"]


def test_of_a_card_all_is_covered_that_its_pages_may_ask(base: Base) -> None:
    answer = (
        '"""Toys."""\n\n\ndef play():\n    """Play.\n\n    Answers: toy.helper\n        >>> 1\n        1\n    """\n'
    )
    base.write({"reference_impl/__init__.py": "", "reference_impl/play.py": answer})
    named = SOUND["papers/toy.yml"].replace("asked: 2026-01-31}", "asked: 2026-01-31, answers: [{code: toy.helper}]}")
    base.write({"papers/ball.yml": named})
    library = base.library()
    first, again = (
        render.view(library, {"toy.helper": Verdict("k", True, "", "", {}, at, 1.0)})
        for at in ("2026-01-01", "2026-01-02")
    )
    for slug, is_same in (("toy", True), ("ball", False)):
        assert (first.of_cards[slug] == again.of_cards[slug]) is is_same
    with seen.noting(first) as asked:
        assert all(first.library.papers.get(slug) for slug in ("toy", "ball"))
        assert first.verdicts.get("toy.helper")
    assert seen.answers(again, asked) != asked


def test_what_is_asked_is_noted_with_its_answer(base: Base) -> None:
    view = base.project.view(base.library())
    with seen.noting(view) as asked:
        assert view.library.papers["toy"].name == "Toys"
        assert "ball" not in view.summaries
        assert len(view.states) == 2
        with seen.noting(view) as inner:
            assert view.count(["toy.why"])
    assert seen.answers(view, asked) == asked
    # What was asked within is asked of a card that was asked for as a whole.
    assert list(inner) == ['["count", "call", ["toy.why"]]']
    assert '["of_cards", "get", "toy"]' in asked
    assert not asked.keys() & {*inner, '["library", "papers", "get", "toy"]'}
    base.write({"papers/ball.yml": SOUND["papers/toy.yml"]})
    other = base.project.view(base.library())
    now = seen.answers(other, asked)
    assert {question for question in asked if now[question] != asked[question]} == {
        '["summaries", "has", "ball"]',
        '["states", "keys"]',
    }


def test_what_is_asked_for_any_file_can_be_asked_again(base: Base) -> None:
    # What can't be is made in each build.
    code = MODULE.format(summary="a.", slug="toy", prose="See [[toy.how]].", number=1, sum=2)
    card = SOUND["papers/toy.yml"].replace("implementation: null\n", "notes: '[[toy.why]]'\n")
    page = f"{START['docs/index.md']}\n<!-- quaere:question toy.why -->\n"
    base.write({**START, "docs/index.md": page, "papers/toy.yml": card, "reference_impl/toy.py": code})
    site = base.root / "site"
    assert built(base.root, site) == []
    _, questions, *files = stamp.read_all(stamp.file(base.root, site, "pages"))
    asked = {path: {questions[number][0] for number in numbers} for _, path, _, _, _, numbers, *_ in files}
    assert {"index.html", "papers/toy/index.html", "assets/notebooks/toy.ipynb", "assets/cards/toy.md"} <= asked.keys()
    assert [path for path, some in asked.items() if seen._NEVER in some] == []


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_after_some_edits_a_site_is_what_a_clean_build_gives(
    data: DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    check(data, tmp_path_factory.mktemp("base"), edits=4)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_after_many_edits_a_site_is_what_a_clean_build_gives(
    data: DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    check(data, tmp_path_factory.mktemp("base"), edits=8)
