"""Whatever comes in is read, or told as a fault with its place, in little time, and what comes out can be written.

A find becomes a test of its own where its kind is tested; this file only looks for them.
"""

import contextlib
import io
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown import Markdown

from quaere import terminal
from quaere.content import answers, cards, check, load, located_yaml, markdown, settings, wikilinks
from quaere.content.bibliography import export
from quaere.content.bibliography.bibtex import Bibliography
from quaere.content.model import Library, Paper
from quaere.content.results import Result
from quaere.errors import AuthorError, CardError, Faults, Place, visible
from quaere.pages import markup, render
from quaere.pages.markup import Ids
from quaere.pages.view import Here, View
from quaere.running.evidence import Evidence
from quaere.site import defaults, handwritten
from tests.engine.conftest import SOUND, Base
from tests.fuzz import inputs
from tests.fuzz.conftest import PROFILE

SECONDS = 2.0
"""Of the processor, for one input; most take some thousandths."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    made = Base(tmp_path_factory.mktemp("fuzz") / "base")
    made.write({**SOUND, "papers/a.png": b"", "docs/index.md": "# Home\n"})
    return made


@pytest.fixture(scope="module")
def library(base: Base) -> Library:
    return base.library()


@pytest.fixture(scope="module")
def view(library: Library) -> View:
    return render.view(library, {})


@contextlib.contextmanager
def soon() -> Iterator[None]:
    """Fail if what is done inside takes long."""
    started = time.process_time()
    yield
    taken = time.process_time() - started
    assert taken < SECONDS, f"{taken:.1f} s"


def assert_told(faults: Iterable[AuthorError], file: str, source: str) -> None:
    """Check that faults stand in the file, and that a terminal shows them."""
    last = len(source.splitlines()) + 1
    for fault in faults:
        assert fault.place.file == file, fault
        assert 0 <= fault.place.line <= last, fault
        assert fault.place.column >= 1, fault
        assert_written(str(fault))


def assert_written(text: str) -> None:
    assert visible(text) == text
    text.encode()


def assert_checked(library: Library, paper: Paper) -> None:
    """Run all checks on a library in which a paper stands for another."""
    found = check.check(replace(library, papers={paper.slug: paper}))
    own = [fault for fault in found if fault.place.file == paper.file]
    assert_told(own, paper.file, paper.source)
    for fault in found:
        assert_written(str(fault))


def read_card(library: Library, source: str) -> None:
    data = source.encode(errors="surrogatepass")
    with soon():
        try:
            document = located_yaml.read(data, "papers/toy.yml")
        except CardError as error:
            assert_told([error], "papers/toy.yml", data.decode(errors="replace"))
            return
        card, faults = cards._card(document, "toy", "papers/toy.yml")
        assert_told([*document.faults, *faults], "papers/toy.yml", document.text)
        if card:
            reference = library.papers["toy"].reference
            assert_checked(library, Paper("toy", "papers/toy.yml", card, reference, document.places, document.text))


@PROFILE
@given(source=inputs.text(*inputs.YAML))
def test_any_text_is_a_card_or_at_fault(library: Library, source: str) -> None:
    read_card(library, source)


VALUES = st.sampled_from(
    [
        *(
            "toy",
            "null",
            "[]",
            "{}",
            "7",
            "2026-01-31",
            "Why?",
            "https://e.org",
            "http://e.org",
            "why",
            "read",
            "test_a",
        ),
        *(
            "'[[no]]'",
            "paper",
            "[toy, b]",
            "{id: why, ask: Why?, asked: 2026-01-31}",
            "'\\'",
            '"\\e"',
            "~",
            "yes",
            "code",
        ),
        *("implementation", "|\n      [a](b.md)\n"),
    ]
)
KEYS = st.sampled_from(
    inputs.words(
        "id ask asked answer kind title url of from where what test says reported state x text page by answers private"
    )
)
ITEM = st.dictionaries(KEYS, VALUES, max_size=5).map(
    lambda item: "\n    ".join(f"{key}: {value}" for key, value in item.items()) or "{}"
)
ITEMS = st.lists(ITEM, max_size=3).map(lambda items: "".join(f"\n  - {item}" for item in items))
PARTS = st.sampled_from(
    inputs.words(
        "cite idea tags affiliations implementation reading links builds_on notes departures questions claims schema "
        "title quotes status private extra"
    )
)


@PROFILE
@given(parts=st.dictionaries(PARTS, ITEMS | VALUES, max_size=6), notes=inputs.text(*inputs.MARKDOWN, most=8))
def test_a_card_of_right_and_wrong_parts_is_read_or_at_fault(
    library: Library, parts: dict[str, str], notes: str
) -> None:
    written = {"cite": "toy2020", "idea": "An idea.", "notes": json.dumps(notes), **parts}
    read_card(library, "".join(f"{name}: {value}\n" for name, value in written.items()))


@PROFILE
@given(source=inputs.text(*inputs.MARKDOWN))
def test_any_text_is_shown_and_its_links_are_found_in_it(library: Library, view: View, source: str) -> None:
    here = Here(view, "papers/toy.md")
    with soon():
        for is_line in (True, False):
            for link in markdown.links(source, inline=is_line):
                assert 0 <= link.offset <= len(source)
                assert link.kind != "wikilink" or source.startswith("[[", link.offset), link
        for shown in (markup.block(source, here, Ids(), 2), markup.inline(source, here), markup.words(source, here)):
            shown.encode()
        toy = library.papers["toy"]
        notes = json.dumps(source, ensure_ascii=False)
        card = toy.card.model_copy(update={"notes": source})
        assert_checked(library, replace(toy, card=card, source=f"notes: {notes}\n", places={(): Place(toy.file)}))


@PROFILE
@given(source=inputs.text(*inputs.MARKDOWN))
def test_any_page_is_shown_with_its_wikilinks(view: View, source: str) -> None:
    here = Here(view, "index.md")
    extensions = ["abbr", "admonition", "attr_list", "def_list", "footnotes", "md_in_html", "tables", "toc"]
    with soon():
        for offset, target in wikilinks.wikilinks(source):
            assert source.startswith("[[", offset)
            assert target in source
        converted = Markdown(extensions=[*extensions, handwritten.Wikilinks(lambda: here)]).convert(source)
        page = handwritten.marked(converted, is_module=False)
        told = {"path": "index.md", "title": "", "description": "", "module": "", "is_found": True}
        written = handwritten.Written.of(page, **told)
        assert written
        written.shown(view)[0].encode(errors="xmlcharrefreplace")


DOC = inputs.text(*inputs.PYTHON, most=12).map(lambda doc: doc.replace('"""', "").replace("\\", "").replace("\0", ""))
HOLDERS = st.sampled_from(
    [
        '"""A.\n\n{}\n"""\n',
        '"""A.\n\nAnswers: toy.why\n    {}\n"""\nimport code.x\n',
        'def f(x):\n    """A.\n\n    Answers: toy.why\n        >>> {}\n        1\n    """\n',
        'class A:\n    """A."""\n\n    def f(self):\n        r"""{}\n\n        Answers: toy.how\n            {}"""\n',
        'if x:\n    def f():\n        """Args:\n            x ({}): a\n\n        Answers: a.b\n            >>> 1"""\n',
    ]
)
MODULES = inputs.text(*inputs.PYTHON) | st.tuples(HOLDERS, DOC).map(lambda parts: parts[0].replace("{}", parts[1]))


@PROFILE
@given(source=MODULES)
def test_any_module_is_read_or_at_fault(base: Base, source: str) -> None:
    data = source.encode(errors="surrogatepass")
    base.write({"code/__init__.py": data})
    with soon():
        found, modules, faults = answers.read(base.root, "code", {})
    assert_told(faults, "code/__init__.py", data.decode(errors="replace"))
    for answer in found:
        assert answer.place.line <= len(source.splitlines())
        assert terminal_shows(terminal._code(answer.code))
    assert len(modules) == 1


SETTING = st.tuples(
    st.sampled_from([*settings.Settings.model_fields, "unknown", "'a b'"]), inputs.text(*inputs.TOML, most=3)
)
TABLE = st.lists(SETTING, max_size=4).map(lambda found: "".join(f"{name} = {value}\n" for name, value in found))


@PROFILE
@given(source=inputs.text(*inputs.TOML) | TABLE)
def test_any_settings_are_read_or_at_fault(base: Base, source: str) -> None:
    file = base.root / "settings.toml"
    file.write_bytes(f"[tool.quaere]\n{source}".encode(errors="surrogatepass"))
    with soon():
        try:
            settings.read(file)
        except AuthorError as error:
            assert_written(str(error))
        except Faults as faults:
            assert_written(str(faults))


EVIDENCE: dict[str, Any] = {
    "schema": 1,
    "verdicts": {
        "toy.why": {
            "key": "k",
            "passed": True,
            "failure": "",
            "commit": "",
            "versions": {"python": "3"},
            "at": "2026-01-31T00:00:00+00:00",
            "seconds": 1.0,
        }
    },
}


@st.composite
def spoiled(draw: st.DrawFn, whole: Any) -> Any:
    """Make a copy of a value with some parts of it changed or left out."""
    if draw(st.integers(0, 12)) == 0:
        return draw(inputs.LEAVES | inputs.documents(inputs.LEAVES))
    if isinstance(whole, dict):
        return {name: draw(spoiled(part)) for name, part in whole.items() if draw(st.integers(0, 40))}
    return [draw(spoiled(part)) for part in whole] if isinstance(whole, list) else whole


@PROFILE
@given(source=inputs.text(*inputs.JSON) | spoiled(EVIDENCE).map(json.dumps))
def test_any_evidence_is_read_or_set_aside(base: Base, source: str) -> None:
    file = base.root / "evidence.json"
    file.write_bytes(source.encode(errors="surrogatepass"))
    with soon():
        evidence = Evidence(file)
    assert bool(evidence.warning) is not file.exists()
    assert not evidence.warning or not evidence.verdicts
    if not evidence.warning:
        evidence.save(evidence.verdicts)


RESULT: dict[str, Any] = {
    "schema": 3,
    "experiment": "toy",
    "size": "small",
    "key": "k",
    "commit": "",
    "at": "2026-01-31T00:00:00+00:00",
    "seconds": 1.0,
    "device": "a",
    "versions": {},
    "seeds": [0],
    "findings": [
        {
            "claim": "a",
            "outcome": "reproduced",
            "rule": "b",
            "ran": "c",
            "quantities": [{"name": "d", "arms": {"e": [1.0, None]}, "levels": {"f": 0.5}, "log": True}],
            "gates": [{"needs": "g", "is_met": True}],
        }
    ],
    "tables": [{"title": "a", "columns": ["a", "b"], "rows": [[1, "c"]], "note": ""}],
    "figures": [],
    "settings": {"a": 1},
    "notes": "",
}


@PROFILE
@given(source=inputs.text(*inputs.JSON, most=12) | spoiled(RESULT).map(json.dumps))
def test_any_result_is_read_or_at_fault(base: Base, source: str) -> None:
    base.write({"papers/results/toy-small.json": source.encode(errors="surrogatepass")})
    with soon():
        result, faults = load._result(base.root, "papers/results/toy-small.json")
    assert (result is None) is bool(faults)
    assert_told(faults, "papers/results/toy-small.json", source)
    if result:
        assert terminal_shows(terminal.result(result))
        assert Result.model_validate_json(result.json_text()) is not None


FIELD = st.tuples(
    st.sampled_from(
        inputs.words("author editor title year month doi url eprint archiveprefix journal pages note Title")
    ),
    st.sampled_from(["{%s}", '"%s"', "{{%s}}", "%s", "%s # {x}"]),
    inputs.text(*inputs.BIBTEX, most=5),
)
ENTRY = st.tuples(st.sampled_from(inputs.words("article misc book inproceedings x")), st.lists(FIELD, max_size=4)).map(
    lambda entry: (
        f"@{entry[0]}{{toy2020,\n" + "".join(f"  {name} = {form % value},\n" for name, form, value in entry[1])
    )
)
ENTRIES = st.lists(ENTRY, min_size=1, max_size=2).map(lambda entries: "".join(f"{entry}}}\n" for entry in entries))


@PROFILE
@given(source=inputs.text(*inputs.BIBTEX) | ENTRIES)
def test_any_bibliography_is_read_or_at_fault(source: str) -> None:
    source = located_yaml.without_control_characters(source)
    with soon():
        book = Bibliography(source, "papers/references.bib")
        references, faults = book.references(book.entries)
        assert_told([*book.faults, *faults], "papers/references.bib", source)
        for reference in references.values():
            assert reference.year is None or reference.year >= 0
            assert str(reference.title) is not None
        for written in export.FORMATS.values():
            written(references.values()).encode()


@pytest.fixture(scope="module")
def loaded(base: Base, library: Library) -> Callable[[str], None]:
    """Read an mkdocs.yml as a build does."""

    def run(source: str) -> None:
        base.write({"mkdocs.yml": source.encode(errors="surrogatepass")})
        defaults.load(base.root, library, base.root / "site", base.root / "docs")

    return run


# Of what a tag names, MkDocs makes anything, so these have none but harmless ones.
SITE = st.dictionaries(
    st.sampled_from(
        inputs.words(
            "site_name nav theme plugins hooks extra extra_css markdown_extensions INHERIT validation repo_url"
        )
        + inputs.words("exclude_docs not_in_nav site_url strict use_directory_urls extra_templates edit_uri watch x")
    ),
    inputs.documents(st.sampled_from(inputs.SITE_LEAVES)),
    max_size=3,
).map(lambda found: json.dumps(found))


@PROFILE
@given(source=inputs.text(*inputs.SETTINGS, most=16) | SITE)
def test_any_mkdocs_yml_is_read_or_at_fault(loaded: Callable[[str], None], source: str) -> None:
    with soon():
        try:
            loaded(source)
        except AuthorError as error:
            assert_written(str(error))
        except Faults as faults:
            assert_written(str(faults))


def terminal_shows(shown: Any) -> bool:
    """Tell whether a terminal shows something without obeying it."""
    printed = io.StringIO()
    console = terminal.Terminal()
    console.file = printed
    console.print(shown)
    return visible(printed.getvalue()) == printed.getvalue()
