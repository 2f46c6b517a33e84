"""The page on which a module's code is read: rows of lines with what explains them, links on names, and sections."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quaere.content import addresses
from quaere.content.model import Library, Module
from quaere.pages import docstrings, render, search, sections, seen, source
from quaere.pages.page import Page
from quaere.pages.view import View
from tests.engine.test_pages import Reading, answer, library, paper, question, verdict
from tests.site import vectors

HOSTILE = [text for kind in vectors.MARKDOWN.values() for text in kind[::4]] + list(vectors.WORDS[::2])
ROOT = Path(__file__).parents[2]
FILES = [*sorted((ROOT / "reference_impl").glob("*.py")), *sorted((ROOT / "src/quaere/pages").glob("*.py"))]


def shown(text: str) -> list[int]:
    """Return the lines of a source in the order in which its rows hold them."""
    numbers: list[int] = []
    for row in source.read(text).rows:
        beside = {n for part in row.prose for n in range(part.first, part.last + 1)}
        code = [line for line in row.lines if not line.is_docstring]
        assert [line.first for line in row.lines] == sorted(line.first for line in row.lines)
        numbers += sorted([*beside, *(line.first for line in code)])
    return numbers


def page(*texts: tuple[str, str], of: Library | None = None) -> Page:
    """Make the page of the first of some modules, each given by its name and its source."""
    modules = tuple(Module(name, f"{name.replace('.', '/')}.py", "", "k", text) for name, text in texts)
    of = of or library()
    made = Library(of.papers, {}, of.answers, modules, {})
    return render.pages(render.view(made, {"red.held": verdict()}))[addresses.code(texts[0][0])]


def linked(page: Page, line: int) -> dict[str, str]:
    """Return where the names on a line lead."""
    (found,) = re.findall(rf'<span id="L{line}".*?(?=<span id="L|<span data-n|</code>)', page.body, re.DOTALL)
    return {words: href for href, words in re.findall(r'href="([^"]*)">([^<]*)</a>', found)}


# Lines


def test_each_line_is_in_one_row_once_and_in_order() -> None:
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        assert shown(text) == list(range(1, text.count("\n") + 1)), file


PIECES = (
    *(
        "class A:",
        "def f(x):",
        "    def g(self):",
        "@d",
        "if x:",
        "else:",
        "    return x",
        "    pass",
        "\tpass",
        "x = 1",
    ),
    *(
        '"""a',
        'b"""',
        '    """a."""',
        "    r'''a",
        "'''",
        'x = """',
        "# b",
        "    # b",
        "# Answers",
        "# noqa",
        "",
        "\x0c",
    ),
)
CODE = st.lists(st.sampled_from(PIECES), max_size=12).map("\n".join)


@given(CODE | st.text(max_size=40))
@example('class A:\n# b\n    """a."""')
@example('def f(\n# b\n    x):\n\n    # b\n    """a"""')
def test_each_line_of_any_text_is_in_one_row(text: str) -> None:
    count = len(re.sub("\r\n?", "\n", text).removesuffix("\n").split("\n"))
    assert shown(text) == list(range(1, count + 1))


def test_what_python_cannot_read_is_shown_as_it_stands() -> None:
    text = 'def f(:\n    """Not read."""\n# why\n'
    made = page(("house", text))
    assert "it is shown as it stands" in Reading(made.body).text
    assert [line.strip() for line in Reading(made.body).texts["code"][-1].splitlines()] == [
        line.strip() for line in text.splitlines()
    ]


def test_each_line_has_an_anchor_and_each_definition() -> None:
    text = (ROOT / "reference_impl/transformer.py").read_text(encoding="utf-8")
    made = page(("house.transformer", text))
    counts = Counter(Reading(made.body).ids())
    assert {n: counts[f"L{n}"] for n in range(1, text.count("\n") + 1) if counts[f"L{n}"] != 1} == {}
    assert {id for id, count in counts.items() if count > 1} == set()
    assert {"PostNorm", "Transformer.forward", "KeyValue", "Embedding.weight"} <= counts.keys()
    assert [one.words for one in made.headings[0].below[:2]] == ["PostNorm", "PreNorm"]


def test_names_that_the_theme_or_a_line_has_are_ids_of_no_definition() -> None:
    ids = Reading(page(("house", "def __search(): ...\nclass L1: ...\n")).body).ids()
    assert {"def.__search", "def.L1", "L1", "L2"} <= set(ids)
    assert len(ids) == len(set(ids))


def test_what_documents_a_name_leads_to_its_code_and_is_found_by_its_name_alone() -> None:
    text = "SIZE = 3\n\n\nclass Part:\n    side: int = 1\n\n    def L7(self): ...\n\n\ndef L7(): ...\n"
    names = ("SIZE", "Part", "Part.side", "Part.L7", "L7", "nowhere", "Part.nowhere")
    headings = "".join(
        f'<h2 id="house.part.{name}" class="doc doc-heading">{name}<a href="#" class="headerlink">#</a></h2>'
        for name in names
    )
    made = Library({}, {}, (), (Module("house.part", "house/part.py", "", "k", text),), {})
    view = render.view(made, {})
    documented = render.module(view, "house.part", headings)
    links = re.findall(r'<h2 id="house\.part\.([^"]*)"[^>]*>[^<]*<a class="q-code" href="([^"]*)"', documented.body)
    there, anchors = "../../code/part/", re.findall(r' id="([^"]*)"', page(("house.part", text)).body)
    assert [name for name, _ in links] == list(names[:5])
    assert all(href.removeprefix(f"{there}#") in anchors for _, href in links), links
    assert dict(links)["L7"] == f"{there}#def.L7"
    found = search.read_page(view, documented, 0)
    assert found
    assert [title for _, _, title, _, _ in json.loads(found.parts)[1:]] == list(names)


# What stands beside the code


def test_a_docstring_and_a_comment_stand_beside_the_code_and_a_directive_stays_in_it() -> None:
    text = (
        'def f():\n    """Say why."""\n    # Since it rains.\n    x = 1\n    # noqa: E501\n    # y = 2\n    return x\n'
    )
    first, second = source.read(text).rows
    assert [part.text for part in first.prose] == ["Say why."]
    assert [part.text for part in second.prose] == ["Since it rains."]
    code = ["".join(token.text for token in line.tokens) for line in second.lines]
    assert code == ["    x = 1", "    # noqa: E501", "    # y = 2", "    return x"]


def test_a_constructor_stands_beside_what_its_class_says_of_arguments() -> None:
    text = 'class A:\n    """A."""\n    x = 1\n    def __init__(self): ...\n    def f(self): ...\n'
    rows = source.read(text).rows
    assert [row.definition.name for row in rows if row.definition] == ["A", "A.f"]
    assert [line.first for line in rows[0].lines] == [1, 2, 3, 4]


def test_what_stands_below_a_constant_stands_beside_it() -> None:
    first, second = source.read('A = 1\n"""The a."""\nB = 2\n').rows
    assert [part.text for part in first.prose] == ["The a."]
    assert (second.first, second.prose) == (3, ())


def test_a_source_goes_on_to_an_equation_or_an_empty_line() -> None:
    label, text = docstrings.parts("Source: Section 1,\n    Eq. 2\n    $$x$$\n\nMore.", 1, 5)
    assert (label.title, label.said, label.text, text.text) == ("Source", "Section 1, Eq. 2", "$$x$$", "More.")


STYLES = {
    "google": """Say.

Args:
    x (int): The x.
        More.
    *y: The y.

Returns:
    It.

Raises:
    E: If so.""",
    "numpy": """Say.

Parameters
----------
x : int
    The x.
    More.
*y
    The y.

Returns
-------
It.

Raises
------
E
    If so.""",
    "sphinx": """Say.

:param int x: The x.
    More.
:param *y: The y.
:returns: It.
:raises E: If so.""",
}


@pytest.mark.parametrize("style", STYLES)
def test_docstrings_of_each_style_have_the_same_parts(style: str) -> None:
    parts = docstrings.parts(STYLES[style], 1, 1 + STYLES[style].count("\n"))
    told = [(one.title, [(field.name, field.type, field.text.split()) for field in one.fields]) for one in parts]
    assert told == [
        ("", []),
        ("Arguments", [("x", "int", ["The", "x.", "More."]), ("*y", "", ["The", "y."])]),
        ("Returns", []),
        ("Raises", [("E", "", ["If", "so."])]),
    ]
    assert [one.text for one in parts[:3:2]] == ["Say.", "It."]


ASKED = '''class Door:
    """A door.

    Asked: red.held, red.gone
    """


# Answers


def held() -> None:
    """
    Answers: red.held
        Because.

        >>> 1 + 1
        2
    """
'''


def test_what_is_asked_opens_its_answer_and_answers_apart_are_folded() -> None:
    red = paper("red", questions=(question("held"),))
    made = page(("house.red", ASKED), of=library(red, answers=(answer("red.held"),)))
    reading = Reading(made.body)
    (fold,) = [one for one in reading.all("details") if one.get("id") == "asked.red.held"]
    assert fold["data-state"] == "demonstrated"
    assert "../../papers/red/#held" in reading.links()
    # Once where it opens, and once with its source, from where a link leads there.
    assert reading.text.count("Why held?") == 2
    assert reading.links().count("#asked.red.held") == 1
    assert "red.gone" in reading.text
    (row,) = [row for row in source.read(ASKED).rows if row.is_answers]
    assert (row.first, row.last) == (8, ASKED.count("\n"))


def test_a_stranger_s_docstring_can_do_nothing_but_be_shown() -> None:
    for text in HOSTILE:
        fields = f"Args:\n        x ({text}): {text}\n\n    Source: {text}\n"
        written = f'class A:\n    """{text}\n\n    {fields}    """\n# {text}\n'
        quoted = f"class A:\n    {written!r}\n"
        for one in (written, quoted):
            assert Reading(page(("house", one)).body).faults() == [], one


def test_an_answer_that_is_asked_nowhere_opens_with_its_source() -> None:
    red = paper("red", questions=(question("held"),))
    apart = ASKED[ASKED.index("# Answers") :]
    made = page(("house.red", apart), of=library(red, answers=(answer("red.held"),)))
    assert made.body.index('class="q-fold q-apart"') < made.body.index('id="asked.red.held"')


# What a page depends on


def test_a_page_follows_from_its_module_the_names_of_others_and_the_states_of_its_questions() -> None:
    red = paper("red", questions=(question("held"), question("other")))

    def view_of(house: str = "", other: str = "def help(): ...", ran: str = "now") -> View:
        texts = {
            "house.red": f"from house.other import help\n{ASKED}{house}",
            "house.other": other,
            "house.third": other,
        }
        modules = tuple(Module(name, f"{name}.py", "", "k", text) for name, text in texts.items())
        of = Library({"red": red}, {}, (answer("red.held"),), modules, {})
        return render.view(of, {"red.held": verdict(key=ran)})

    before = view_of()
    (output,) = [one for one in render.page_outputs(before) if one.path == "code/red.md"]
    with seen.noting(before) as notes:
        output.page(before)

    def is_same(**changed: str) -> bool:
        return seen.answers(view_of(**changed), notes) == notes

    assert notes
    assert is_same()
    assert not is_same(house="\nx = 1\n")
    assert not is_same(ran="then")
    assert not is_same(other="def gone(): ...")


# Names


def test_names_lead_to_where_they_are_defined() -> None:
    other = "class Base:\n    def run(self): ...\n\n\ndef help(): ...\n"
    own = """\
from house.other import Base, help as aid
import house.other
LIMIT = 1
class Part(Base):
    size: int = LIMIT
    def go(self, help):
        self.left = Base()
        help(); aid(); house.other.help()
        return self.run() + self.left.run() + self.size + self.unknown
def use(part: Part | None, é="é", *parts):
    return part.left, é, part.go(LIMIT), [LIMIT for LIMIT in parts], Part(1).size
"""
    made = page(("house.red", own), ("house.other", other), ("house", ""))
    there = "../other/"
    assert linked(made, 1) == {"house.other": there, "Base": f"{there}#Base", "help": f"{there}#help"}
    assert linked(made, 4) == {"Base": f"{there}#Base"}
    assert linked(made, 5) == {"LIMIT": "#LIMIT"}
    assert linked(made, 7) == {"Base": f"{there}#Base"}
    # What a parameter is called is none of the module's names.
    assert linked(made, 8) == {"aid": f"{there}#help", "house": "../house/", "other": there, "help": f"{there}#help"}
    assert linked(made, 9) == {"run": f"{there}#Base.run", "left": "#Part.left", "size": "#Part.size"}
    assert linked(made, 10) == {"Part": "#Part"}
    assert linked(made, 11) == {
        "left": "#Part.left",
        "go": "#Part.go",
        "LIMIT": "#LIMIT",
        "Part": "#Part",
        "size": "#Part.size",
    }
    assert set(Reading(made.body).ids()) >= {"LIMIT", "Part.left", "Part.size", "Part.go"}


def test_names_are_links_in_modules_that_import_each_other_or_nest_deep() -> None:
    around = "from house.b import x\n"
    assert linked(page(("house.a", around), ("house.b", "from house.a import x\n")), 1) == {"house.b": "../b/"}
    deep = "x = 1\ny = " + "(" * 60 + "x" + ")" * 60 + " + x" * 1500 + "\nz = x\n"
    made = page(("house", deep))
    assert 'id="L2"' in made.body
    assert "it is shown as it stands" not in made.body


# Sections


def order(texts: Iterable[str]) -> list[str]:
    found = sorted((one for text in texts for one in sections.named(text, "")), key=lambda one: one.order)
    return [f"{one.work}{': ' if one.work else ''}{one.kind} {one.number}" for one in found]


def test_sections_stand_in_the_paper_s_order() -> None:
    assert order(["Appendix A.2, Eq. 9", "Section 10.1", "Sections 3.4 and 3.5", "Eq. 2", "Section 3, Figure 1"]) == [
        "Section 3",
        "Section 3.4",
        "Section 3.5",
        "Section 10.1",
        "Appendix A.2",
        "Eq. 2",
    ]


def test_a_section_of_another_paper_is_told_apart() -> None:
    assert order(
        ["Section 5.4, which cites Szegedy et al. 2016, Section 7", "Wu and Li 2016, Eq. 14, which Section 6 cites"]
    ) == [
        "Section 5.4",
        "Section 6",
        "Szegedy et al. 2016: Section 7",
        "Wu and Li 2016: Eq. 14",
    ]


def test_the_contents_name_what_implements_a_section() -> None:
    text = '"""A.\n\nSource: Doe 2020\n"""\nclass A:\n    """A.\n\n    Source: Section 3.3, Eq. 2\n    """\n'
    reading = Reading(page(("house", text)).body)
    assert "Doe 2020 Section 3.3 A Eq. 2" in reading.text


# Shapes


def test_the_axes_of_a_shape_are_explained_by_the_docstring_or_else_by_a_table_of_the_guide() -> None:
    text = '"""A.\n\nAxes: $b$ sentences, each short, $n$ tokens. More.\n"""\nfrom jaxtyping import Float\n'
    text += 'def f(x: Float[T, "*b n d"]) -> Float[T, ""]: ...\n'
    module = Module("house", "house.py", "", "k", text)
    table = "| axis | is |\n| --- | --- |\n| `d`, `e` | width |\n| `n` | no |\n"
    docs = {"guide/words.md": f"# Words\n\n## Axes\n\n{table}\n## B\n"}
    body = render.pages(render.view(Library({}, {}, (), (module,), {}, docs=docs), {}))["code/house.md"].body
    shapes = re.findall(r'<span class="q-axes"(?: title="([^"]*)")?>([^<]*)</span>', body)
    assert shapes == [("b: sentences, each short; n: tokens; d: width", "*b n d"), ("", "scalar")]
    assert 'class="s2 q-axes">&#34;*b n d&#34;' in body
