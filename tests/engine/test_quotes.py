"""Quotations in reading notes: which are the paper's own words, where they stand, and what a second import does."""

import pytest

from tests.engine.conftest import Base
from tests.engine.test_notes import draft, imported

WORDS = "The toys are wound up once, and run down alone."


def read(body: str) -> tuple[list[tuple[str, str]], str]:
    """Return the quotes of a note, each with its page, and its notes."""
    made = draft(f"# A Paper on Toys\n\nAuthors: Ann Maker, Bo Turner\n\n{body}\n")
    told = {fate.line: fate for fate in made.fates}
    assert len(told) == len(made.fates)
    assert all(bool(fate.to) != bool(fate.why) for fate in made.fates)
    return [(one.text, one.page) for one in made.quotes], made.notes


@pytest.mark.parametrize(
    ("body", "page"),
    [
        # where the page may stand
        (f"> {WORDS} (p. 5)", "5"),
        (f"> {WORDS} p.5", "5"),
        (f"> {WORDS} [p. 12]", "12"),
        (f"> {WORDS} [pp. 4-5].", "4–5"),
        (f"> {WORDS} (page 7)", "7"),
        (f"> {WORDS}（第5页）", "5"),
        (f"> {WORDS} 第 5 页", "5"),
        (f"> {WORDS} (S. 9)", "9"),
        (f"> {WORDS} (§3.2)", "§3.2"),
        (f"> {WORDS} (Section 3.2)", "§3.2"),
        (f"> {WORDS} (p. 4, §3.2)", "4, §3.2"),
        (f"> “{WORDS}” (p. 5)", "5"),
        (f"> p. 5: {WORDS}", "5"),
        (f'> "{WORDS} (p. 5)"', "5"),
        (f"> “{WORDS}” ([Maker et al., 2017, p. 5](zotero://select/x/A1)) ([pdf](zotero://open-pdf/x/B2?page=5))", "5"),
        (f"> “{WORDS}” ([Maker, 2017](zotero://select/x/A1))", ""),
        (f"> [p. 5] {WORDS}", "5"),
        (f"> {WORDS}\n>\n> (p. 5)", "5"),
        (f"> {WORDS}\n> — Maker et al., p. 5", "5"),
        (f"> {WORDS}\n(p. 5)", "5"),
        (f"> {WORDS}\n\n— p. 5", "5"),
        (f"p. 5\n> {WORDS}", "5"),
        (f"**Page 5:**\n\n> {WORDS}", "5"),
        (f"## p. 5\n\n> {WORDS}", "5"),
        # without one
        (f'> "{WORDS}"', ""),
        (f"> 「{WORDS}」", ""),
        (f"## Key quotes\n\n> {WORDS}", ""),
        (f"## 摘录\n\n> {WORDS}", ""),
        (f"> {WORDS}\n> -- Maker and Turner", ""),
    ],
)
def test_the_paper_s_words_become_a_quote_with_their_page(body: str, page: str) -> None:
    if "Maker and Turner" in body:  # who says it is no place, and these words may be a summary's
        body = body.replace(WORDS, f"“{WORDS}”")
    assert read(body) == ([(WORDS, page)], "")


ZOTERO = (
    "([Maker et al., 2020, p. 5](zotero://select/library/items/AB12)) "
    "([pdf](zotero://open-pdf/library/items/CD34?page=7&annotation=EF56))"
)
ANNOTATION = "(zotero://open-pdf/library/items/CD34?page=5&annotation=EF56)"


@pytest.mark.parametrize(
    ("body", "page"),
    [
        # Zotero's own, with and without links and colors
        (f"“{WORDS}” {ZOTERO}", "5"),
        (f'"{WORDS}" {ZOTERO}', "5"),
        (f"“{WORDS}” (Maker et al., 2020, p. 5)", "5"),
        (f"“{WORDS}” (Maker and Turner, 2020, pp. 5–6).", "5–6"),
        (f"“{WORDS}” ([Maker et al., 2020, p. xii](zotero://select/groups/1/items/AB12))", "xii"),
        (f"“{WORDS}” ([“A Paper on Toys,” 2020, p. 5](zotero://select/library/items/AB12))", "5"),
        (f"“{WORDS}” ([pdf]{ANNOTATION})", "5"),
        (f'<mark style="background-color: #ffd40080">“{WORDS}”</mark> {ZOTERO}', "5"),
        (f"# Annotations  \n(6/24/2022, 10:57:42 AM)\n\n“{WORDS}” {ZOTERO}", "5"),
        # templates of other programs
        (f"- “{WORDS}” {ZOTERO}", "5"),
        (f"=={WORDS}== [(p. 5)]{ANNOTATION}", "5"),
        (f"- ==“{WORDS}”== [Page 5]{ANNOTATION}", "5"),
        (f"- “=={WORDS}==” ([p. 5]{ANNOTATION})", "5"),
        (f"- <mark>{WORDS}</mark> [p. 5]{ANNOTATION}", "5"),
        (f'"{WORDS}" ([Maker et al 2020:5]{ANNOTATION})', "5"),
        (f'- "{WORDS}" (Maker & Turner 2020:5)', "5"),
        (f"“{WORDS}” ([[maker.pdf#page=5&selection=1,2|maker, p. 5]])", "5"),
        (f"- {WORDS}\n  ls-type:: annotation\n  hl-page:: 5\n  hl-color:: yellow", "5"),
        (f"- Mine\n  - “{WORDS}” {ZOTERO}", "5"),
        # by hand
        (f"“{WORDS}” (p. 5)", "5"),
        (f'- "{WORDS}" (p. 5)', "5"),
        (f"*“{WORDS}”* (p. 5)", "5"),
        (f'"{WORDS}" [@maker2020, p. 5]', "5"),
        (f'"{WORDS}" [@maker2020, 5]', "5"),
        (f"Page 5: “{WORDS}”", "5"),
        (f"## Highlights:\n\n- “{WORDS}” (p. 5)", "5"),
        (f"> “{WORDS}” {ZOTERO}", "5"),
    ],
)
def test_a_quotation_with_a_citation_becomes_a_quote(body: str, page: str) -> None:
    assert read(body) == ([(WORDS, page)], "- Mine" if "- Mine" in body else "")


def test_several_quotations_are_quotes_of_their_own() -> None:
    first, second = f"“{WORDS}” {ZOTERO}", "“They are made of “tin”.” (p. 6)"
    for between in ("\n", "\n\n"):
        assert read(f"{first}{between}{second}")[0] == [(WORDS, "5"), ("They are made of “tin”.", "6")]
    nested = [(WORDS, "5"), ("They are tin.", "5")]
    assert read(f"- “{WORDS}” {ZOTERO}\n  - “They are tin.” {ZOTERO}")[0] == nested
    assert read("“The toys are wound up once,\nand run down alone.” (p. 5)")[0] == [(WORDS.replace(", ", ",\n"), "5")]


def test_what_markdown_puts_around_a_program_s_words_is_none_of_them() -> None:
    body = f"“Toys \\[12\\] are *wound* **up**; 2<sup>n</sup> of my\\_toys &amp; 3 \\* 4.” {ZOTERO}"
    assert read(body)[0] == [("Toys [12] are wound up; 2n of my_toys & 3 * 4.", "5")]
    assert read(f"“tin” {ZOTERO}")[0] == [("tin", "5")]


def test_the_reader_s_words_on_a_quotation_stand_apart() -> None:
    for body, note in (
        (f"“{WORDS}” {ZOTERO} So **what**?", "So **what**?"),
        (f"> “{WORDS}” {ZOTERO} So what", "So what"),
        (f"- “{WORDS}” {ZOTERO} – So\n  - Why they run.\n    - It is tin.", "So\n\n- Why they run.\n  - It is tin."),
    ):
        made = draft(f"# A Paper on Toys\n\n{body}\n")
        assert [(one.text, one.note) for one in made.quotes] == [(WORDS, note)]
        assert made.notes == ""
    # A question among them is a question.
    made = draft(f"# A Paper on Toys\n\n- “{WORDS}” {ZOTERO}\n  - Mine.\n  - But why?\n")
    assert ([one.note for one in made.quotes], [one.ask for one in made.questions]) == (["- Mine."], ["But why?"])


@pytest.mark.parametrize(
    "body",
    [
        f"“{WORDS}”",
        f"“{WORDS}” (2020)",
        f"“{WORDS}” (see p. 5)",
        f"“{WORDS}” [here](https://example.org/a.pdf#page=5)",
        f"The authors say “{WORDS}” (p. 5)",
        f"The authors say\n“{WORDS}” (p. 5)",
        f"“{WORDS}” (p. 5), which I like.",
        f"“{WORDS}” (p. 5) I like it.",
        f"- Winding\n\n  “{WORDS}” (p. 5)",
        f"“{WORDS}” (p. 5)\nI like it.",
        f"“{WORDS}” {ZOTERO} and “They are tin.” {ZOTERO}",
        f"“{WORDS}” (Lovelace, 1843, p. 5)",  # somebody else's
        f"“{WORDS}” ([Lovelace, 1843, p. 5](zotero://select/library/items/AB12))",
        f"The authors say:\n\n- “{WORDS}” (p. 5)",
        f"- Winding\n  - “{WORDS}” (p. 5)",
        f"- [ ] “{WORDS}” (p. 5)",
        f"=={WORDS}== (p. 5)",
        f"{WORDS} (p. 5)",
        f"My own words. {ZOTERO}",
        "“Toys” and “trains are wound up” (p. 5)",
        '"Toys" and "trains are wound up" (p. 5)',
        "“Toys” (p. 5)",
        f"TODO: “{WORDS}” (p. 5)",
        f"“**{WORDS}**” (p. 5)",
        "- [:span]\n  ls-type:: annotation\n  hl-page:: 5",
    ],
)
def test_words_in_quotation_marks_without_a_citation_of_their_own_stay(body: str) -> None:
    assert read(f"Before.\n\n## Toys\n\n{body}\n\nAfter.") == ([], f"Before.\n\n## Toys\n\n{body}\n\nAfter.")


def test_a_file_that_zotero_exports_is_a_card_with_quotes(base: Base) -> None:
    text = f"# Annotations  \n(6/24/2022, 10:57:42 AM)\n\n“{WORDS}” {ZOTERO} Mine, and [[x]].\n\nMore of mine.\n"
    (made,) = imported(base, {"Maker et al. - 2020 - A paper on tin.md": text}).cards
    paper = base.library().papers[made.slug]
    assert [(one.text, one.page, one.note) for one in paper.card.quotes] == [(WORDS, "5", "Mine, and \\[\\[x\\]\\].")]
    assert (paper.reference.title, str(paper.reference.issued), paper.card.notes) == (
        "A paper on tin", "2020", "More of mine."
    )  # fmt: skip
    assert [name.surname for name in paper.reference.people][:1] == ["Maker"]
    before = base.files()
    edited = {"Maker et al. - 2020 - A paper on tin.md": text.replace("Mine, and [[x]]", "Ours")}
    assert [one.status for one in imported(base, {"Maker et al. - 2020 - A paper on tin.md": text}).cards] == ["same"]
    assert base.files() == before
    assert [(one.status, one.conflicts) for one in imported(base, edited).cards] == [("changed", [])]
    assert [one.note for one in base.library().papers[made.slug].card.quotes] == ["Ours."]


def test_paragraphs_with_pages_of_their_own_are_quotes_of_their_own() -> None:
    two = f'> "{WORDS}" (p. 5)\n>\n> “They are made of tin.”\n>'
    assert read(f"{two}\n\nMine.") == ([(WORDS, "5"), ("They are made of tin.", "")], "Mine.")
    assert len(read("> We wind up all toys.\n>\n> We never stop any toy.")[0]) == 1
    # One page for all of it.
    assert read(f"> {WORDS}\n>\n> They are made of tin. (p. 5)")[0] == [(f"{WORDS}\n\nThey are made of tin.", "5")]


def test_words_that_speak_for_the_authors_are_the_paper_s() -> None:
    assert read("> We wind up all toys.\n> They run down.") == ([("We wind up all toys.\nThey run down.", "")], "")
    assert read("> 我们给所有玩具上发条。")[0] == [("我们给所有玩具上发条。", "")]


@pytest.mark.parametrize(
    "body",
    [
        "> Toys run down.",  # whose words?
        "> I think that we need more toys.",
        "> Do we need toys?",
        "> TL;DR we wind up toys (p. 5)",
        "> [!note] We wind toys\n> up. (p. 5)",
        "> [!quote]\n> We wind up all toys.",
        "> We wind **all** toys up. (p. 5)",
        "> We wind $n$ toys up. (p. 5)",
        "> We wind up [toys](https://example.org/). (p. 5)",
        "> - We wind up toys (p. 5)\n> - and more",
        "> > We wind up all toys. (p. 5)",
        "> “We wind up all toys.”\n> — Ada Lovelace",
        "> We wind up all our\ntoys once.",  # goes on in the next line
        "The authors say:\n\n> We wind up all toys. (p. 5)",
        "- A list\n> We wind up all toys. (p. 5)",
        "- A list\n\n  > We wind up all toys. (p. 5)",
        "> one (p. 5)",
        "> Ref papers: we wind up all toys.",
    ],
)
def test_what_may_be_something_else_stays_in_the_notes_in_its_place(body: str) -> None:
    assert read(f"Before.\n\n## Toys\n\n{body}\n\nAfter.") == ([], f"Before.\n\n## Toys\n\n{body}\n\nAfter.")


def test_a_quotation_in_an_answer_stays_there() -> None:
    nested = "- Why are they wound up?\n  - They say:\n    > We wind up all toys. (p. 5)\n"
    for answered in (nested, "Q: Why are they wound up?\n> We wind up all toys. (p. 5)\n"):
        made = draft(f"# A Paper on Toys\n\n{answered}")
        told = [(one.ask, "> We wind up all toys. (p. 5)" in one.answer) for one in made.questions]
        assert (told, made.quotes) == ([("Why are they wound up?", True)], [])


def test_a_heading_stays_where_it_says_more_than_that_there_are_quotes() -> None:
    assert read("## Winding\n\n> We wind up all toys. (p. 5)") == ([("We wind up all toys.", "5")], "## Winding")
    two = "## Quotes\n\n> We wind up all toys. (p. 5)\n\n> And then they run down again.\n\nMine."
    assert read(two)[0] == [("We wind up all toys.", "5"), ("And then they run down again.", "")]
    assert read(two)[1] == "## Quotes\n\nMine."


NOTE = """\
# A Paper on Toys

My own words.

> We wind up all toys; they run down alone. (p. 5)

More of mine, and [[x]].

> “*No* quote”, they say, of [[y]].

> “Two lines: # of theirs\x02
> and <more>; 50 % of it.” [p. 6]
"""
CARD = """\
quotes:
  - text: We wind up all toys; they run down alone.
    page: 5
"""


def test_quotes_are_imported_word_for_word_and_an_edited_one_changes_only_itself(base: Base) -> None:
    note = NOTE.replace("and <more>", "and more")
    made = imported(base, {"toys.md": note})
    (slug,) = (one.slug for one in made.cards)
    file = base.root / f"papers/{slug}.yml"

    def quotes() -> list[tuple[str, str | None]]:
        return [(one.text, one.page) for one in base.library().papers[slug].card.quotes]

    first = "We wind up all toys; they run down alone."
    second = "Two lines: # of theirs\ufffd\nand more; 50 % of it.\n"
    assert quotes() == [(first, "5"), (second, "6")]
    assert CARD in file.read_text()
    assert base.library().papers[slug].card.notes == (
        "My own words.\n\nMore of mine, and \\[\\[x\\]\\].\n\n> “*No* quote”, they say, of \\[\\[y\\]\\].\n"
    )
    before = base.files()
    assert [one.status for one in imported(base, {"toys.md": note}).cards] == ["same"]
    assert base.files() == before
    # An edited quotation changes itself, a new one comes below; one that the card lost stays away.
    edited = note.replace("run down alone", "run down on their own").replace("p. 6", "p. 7")
    edited += "\n> We never wind them again. (p. 9)\n"
    text = file.read_text()
    file.write_text(text.replace("    page: 5\n", "    page: 5\n    note: Mine.  # kept\n"), encoding="utf-8")
    was = file.read_text().splitlines()
    assert [(one.status, one.conflicts) for one in imported(base, {"toys.md": edited}).cards] == [("changed", [])]
    assert quotes() == [
        ("We wind up all toys; they run down on their own.", "5"),
        (second, "7"),
        ("We never wind them again.", "9"),
    ]
    lost = [line.strip() for line in was if line not in file.read_text().splitlines()]
    assert lost == ["- text: We wind up all toys; they run down alone.", "page: 6"]
    # What the card's author has reworded or taken out is kept as it is.
    text = file.read_text().replace("- text: We never wind them again.\n    page: 9\n", "")
    file.write_text(text.replace("on their own.", "by themselves."), encoding="utf-8")
    kept = imported(base, {"toys.md": edited})
    assert [(one.status, one.conflicts) for one in kept.cards] == [("same", [])]
    both = imported(base, {"toys.md": edited.replace("on their own", "on their own at last")})
    assert [[one.field for one in card.conflicts] for card in both.cards] == [["quotes"]]
    assert quotes()[0][0].endswith("by themselves.")


def test_a_quote_that_becomes_two_is_changed_once(base: Base) -> None:
    note = "# A Paper on Toys\n\n> We wind up all toys, and they run down. (p. 5)\n"
    (slug,) = (one.slug for one in imported(base, {"toys.md": note}).cards)
    edited = note.replace("and they", "but they") + "\n> We wind up all toys, so they run down. (p. 6)\n"
    assert [(one.status, one.conflicts) for one in imported(base, {"toys.md": edited}).cards] == [("changed", [])]
    assert [one.page for one in base.library().papers[slug].card.quotes] == ["5", "6"]
