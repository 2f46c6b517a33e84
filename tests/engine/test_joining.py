"""A second import of edited notes: what they left out goes where the card has not changed it, or else is told."""

import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quaere.authoring import changes, edit
from quaere.authoring.notes import plan
from quaere.authoring.notes.joining import Conflict
from quaere.authoring.notes.plan import Plan, Planned
from quaere.content.bibliography.bibtex import Bibliography
from tests.engine.conftest import SOUND, Base, Inside
from tests.engine.test_add import BIB, bib, reader
from tests.engine.test_notes import card, imported

NOTE = """\
---
tags: [tin, wood]
status: reading
affiliations: [Toy Works, Tin Works]
---
# A Paper on Toys That Wind

[[code](https://github.com/a/b)] [[video](https://youtu.be/x)]

TL;DR: Toys can be wound up.

My own words.

> We wind up all toys. (p. 5)

> They run down alone again. (p. 6)

- Why tin?
  - It is light.
- How many toys?
"""

LEFT_OUT = [
    ("tags", "[tin, wood]", "[wood]", "tags: [tin, wood]", "tags:\n  - tin  # heavy\n  - wood", "tags.tin"),
    ("tags", "tags: [tin, wood]\n", "", "tags: [tin, wood]", "tags:\n  - tin\n  - wood  # soft", "tags.wood"),
    ("affiliations", ", Tin Works]", "]", "", "", ""),
    ("reading", "status: reading\n", "", "state: reading", "state: read", "reading"),
    ("links", "[[code](https://github.com/a/b)] ", "", "title: code", "title: The code", "links[0]"),
    ("idea", "TL;DR: Toys can be wound up.\n\n", "", "idea: Toys can", "idea: All toys can", "idea"),
    ("notes", "My own words.\n\n", "", "notes: My own words", "notes: My words", "notes"),
    ("quotes", "> We wind up all toys. (p. 5)\n\n", "", "page: 5\n", "page: 5\n    note: So what?\n", "quotes[0]"),
    ("quotes", "> They run down alone again. (p. 6)\n\n", "", "page: 6\n", "page: 6\n    private: true\n", "quotes[1]"),
    ("quotes", "> We wind up all toys. (p. 5)\n\n", "", "wind up all toys", "wind up all our toys", "quotes"),
    ("quotes", " (p. 5)", "", "page: 5", "page: 4", "quotes[0].page"),
    ("questions", "- How many toys?\n", "", "many toys?\n", "many toys?\n    by: Ann\n", "questions.how-many-toys"),
    ("questions", "- How many toys?\n", "", "How many toys?\n", "How many toys then?\n", "questions"),
    ("questions", "- Why tin?\n  - It is light.\n", "", "It is light", "It is very light", "questions.why-tin"),
    ("questions", "  - It is light.\n", "", "It is light", "It is very light", "questions.why-tin.answer"),
]
"""The field; words of the notes, and what is left; words of the card, and what became of them; what is told."""


def changed(base: Base, old: str, new: str) -> Planned:
    """Import the notes again after an edit."""
    assert NOTE.count(old) == 1
    (made,) = imported(base, {"toys.md": NOTE.replace(old, new)}).cards
    return made


@pytest.mark.parametrize(("field", "old", "new", "was", "is_now", "told"), LEFT_OUT)
def test_what_the_notes_left_out_goes_unless_the_card_has_changed_it(
    base: Base, field: str, old: str, new: str, was: str, is_now: str, told: str
) -> None:
    imported(base, {"toys.md": NOTE})
    begun = card(base, "toys")
    made = changed(base, old, new)
    assert (made.status, made.conflicts) == ("changed", [])
    after = card(base, "toys")
    # It is gone, and nothing else is.
    assert after.get(field) != begun[field]
    assert {name: value for name, value in after.items() if name != field} == {
        name: value for name, value in begun.items() if name != field
    }
    assert changed(base, old, new).status == "same"


@pytest.mark.parametrize(("field", "old", "new", "was", "is_now", "told"), [case for case in LEFT_OUT if case[-1]])
def test_what_the_card_has_changed_stays_and_is_told(
    base: Base, field: str, old: str, new: str, was: str, is_now: str, told: str
) -> None:
    imported(base, {"toys.md": NOTE})
    file = base.root / "papers/toys.yml"
    text = file.read_text()
    assert text.count(was) == 1
    file.write_text(text.replace(was, is_now))
    begun = card(base, "toys")[field]
    made = changed(base, old, new)
    assert (made.status, made.conflicts) == ("conflict", [Conflict("toys", told, is_gone=True)])
    now = card(base, "toys")[field]
    # What has a comment is kept with it; its neighbour may go.
    assert now == begun if field != "tags" else told.partition(".")[2] in now
    assert all(line in file.read_text() for line in is_now.splitlines() if "#" in line)


MODULE = '''\
def toys() -> int:
    """Count.

    Answers: toys.how-many-toys
        Seven.

        >>> 3 + 4
        7
    """
    return 7
'''


def test_what_both_sides_add_is_added(base: Base) -> None:
    imported(base, {"toys.md": NOTE})
    file = base.root / "papers/toys.yml"
    file.write_text(file.read_text().replace("[tin, wood]", "[tin, wood, mine]").replace(", Tin Works]", "]"))
    made = changed(base, "[tin, wood]", "[lead, wood]")
    assert (made.status, made.conflicts) == ("changed", [])
    assert card(base, "toys")["tags"] == ("wood", "mine", "lead")
    assert card(base, "toys")["affiliations"] == ("Toy Works",)


def test_a_question_whose_spelling_is_mended_stays_the_same_one(base: Base) -> None:
    imported(base, {"toys.md": NOTE.replace("How many toys?", "How many toyss?")})
    file = base.root / "papers/toys.yml"
    file.write_text(file.read_text() + "    answer: Seven.\n")
    made = changed(base, "How many toys?", "How many toys?\n- How many more?")
    assert (made.status, made.conflicts) == ("changed", [])
    asked = card(base, "toys")["questions"][1:]
    assert [(one["id"], one["ask"], one.get("answer")) for one in asked] == [
        ("how-many-toyss", "How many toys?", "Seven."),
        ("how-many-more", "How many more?", None),
    ]
    # Another question in its place does not take its answer.
    (made,) = imported(base, {"toys.md": NOTE.replace("How many toys?", "How many trains?\n- How many more?")}).cards
    assert made.conflicts == [Conflict("toys", "questions.how-many-toyss", is_gone=True)]
    asked = card(base, "toys")["questions"][1:]
    assert [(one["ask"], one.get("answer")) for one in asked] == [
        ("How many toys?", "Seven."),
        ("How many more?", None),
        ("How many trains?", None),
    ]


@pytest.mark.parametrize(
    "files",
    [
        {"papers/toy.yml": "cite: toy2020\nimplementation: null\nnotes: See [[toys.how-many-toys]].\n"},
        {"reference_impl/toy.py": MODULE},
    ],
)
def test_a_question_on_which_something_rests_stays_and_is_told(base: Base, files: dict[str, str]) -> None:
    imported(base, {"toys.md": NOTE})
    base.write(files)
    made = changed(base, "- How many toys?\n", "")
    assert made.conflicts == [Conflict("toys", "questions.how-many-toys", is_gone=True)]
    assert [one["id"] for one in card(base, "toys")["questions"]] == ["why-tin", "how-many-toys"]


def test_what_other_notes_of_the_same_card_say_stays(base: Base, inside: Inside) -> None:
    other = (
        NOTE.replace("Paper on Toys That Wind", "Study of Trains That Run")
        .replace("Why tin", "Why so")
        .replace("https://github.com/a/b", "https://github.com/a/c")
    )
    imported(base, {"toys.md": NOTE, "trains.md": other})
    assert inside("merge", "toys", "trains").returncode == 0
    before = card(base, "toys")
    assert [len(before[name]) for name in ("tags", "links", "quotes", "questions")] == [2, 3, 2, 4]
    left = other.replace("[tin, wood]", "[wood]").replace("> We wind up all toys. (p. 5)\n", "")
    left = left.replace("[[code](https://github.com/a/c)] ", "")
    for sources, tags, quotes in (
        ({"toys.md": NOTE, "trains.md": left}, 2, 2),
        # When the last notes have left it out, it goes.
        ({"toys.md": left.replace("Study of Trains That Run", "Paper on Toys That Wind"), "trains.md": left}, 1, 1),
    ):
        made = imported(base, sources).cards
        assert [one.conflicts for one in made] == [[], []]
        now = card(base, "toys")
        assert [len(now[name]) for name in ("tags", "quotes")] == [tags, quotes]
        assert "https://github.com/a/c" not in str(now["links"])


def test_files_that_are_not_imported_again_have_left_nothing_out(base: Base) -> None:
    index = (
        "# Papers\n\n## 2020\n\n"
        "- [ ] A Paper on Toys That Wind [[paper](https://arxiv.org/abs/2001.00001)] [[notes](toys.md)]\n"
        "  - lead, seen\n"
        "- [x] A Study of Trains [[paper](https://arxiv.org/abs/2001.00002)]\n"
        "- [x] A Study of Dolls [[paper](https://arxiv.org/abs/2001.00003)]\n"
    )
    note = NOTE.replace("status: reading\n", "")
    imported(base, {"README.md": index, "toys.md": note})
    begun = card(base, "toys")
    assert (begun["tags"], begun["reading"]) == (("tin", "wood", "lead", "seen"), {"state": "to-read"})
    before = base.files()
    for some in ({"toys.md": note}, {"README.md": index}, {"README.md": index, "toys.md": note}):
        assert {one.status for one in imported(base, some).cards} == {"same"}
        assert base.files() == before
    assert (base.root / "papers/imported/toys.yml").read_text().startswith("# Imported from toys.md\n")
    # What comes to one of them comes to the card, and nothing goes until all are imported again.
    edited = note.replace("[tin, wood]", "[steel, wood]").replace("My own words.\n\n", "")
    for _ in range(2):
        imported(base, {"toys.md": edited})
    now = card(base, "toys")
    assert (now["tags"], now["notes"]) == (("tin", "wood", "lead", "seen", "steel"), "My own words.")
    both = {"README.md": index.replace("lead, seen", "seen"), "toys.md": edited}
    assert {tuple(one.conflicts) for one in imported(base, both).cards} == {()}
    now = card(base, "toys")
    assert (now["tags"], "notes" in now) == (("wood", "seen", "steel"), False)


def test_an_index_alone_takes_nothing_from_a_card(base: Base) -> None:
    note = NOTE.replace("---\n# A", "year: 2020\n---\n# A")
    imported(base, {"toys.md": note})
    before = card(base, "toys")
    index = "".join(f"- [x] {title} (2019) [[pdf](https://example.org/{n}.pdf)]\n" for n, title in enumerate(
        ("A Paper on Toys That Wind", "A Study of Trains", "A Study of Dolls")
    ))  # fmt: skip
    made = {one.slug: one for one in imported(base, {"README.md": f"# Papers\n\n## 2019\n\n{index}"}).cards}
    # What the notes say, they know better.
    assert ([one.field for one in made["toys"].conflicts], card(base, "toys")) == ([], before)
    kept = (base.root / "papers/imported/toys.yml").read_text()
    assert kept.startswith("# Imported from toys.md\n")
    assert "year  = {2020}" in bib(base)
    assert (edit.fields(kept)["reading"], edit.fields(kept)["entry"]["year"]) == ({"state": "reading"}, "2020")
    imported(base, {"toys.md": note.replace("status: reading\n", "")})
    assert card(base, "toys") == before


def test_a_second_file_on_a_paper_is_put_below_the_first(base: Base) -> None:
    other = "# A Paper on Toys That Wind\n\nTags: wood, steel\n\nTL;DR: Toys.\n\nQuite other words, from a talk.\n"
    imported(base, {"toys.md": NOTE})
    before = card(base, "toys")
    (made,) = imported(base, {"talk.md": other}).cards
    assert (made.slug, made.status, made.conflicts) == ("toys", "changed", [])
    both = {
        **before,
        "tags": ("tin", "wood", "steel"),
        "notes": "My own words.\n\n## talk\n\nQuite other words, from a talk.\n",
    }
    assert card(base, "toys") == both
    for some in ({"talk.md": other}, {"toys.md": NOTE}):
        assert {one.status for one in imported(base, some).cards} == {"same"}, some
        assert card(base, "toys") == both
    # What is edited of one alone can't be told from the rest.
    for some in ({"talk.md": other.replace("a talk", "two talks")}, {"toys.md": NOTE.replace("own words", "words")}):
        (made,) = imported(base, some).cards
        assert (made.conflicts, card(base, "toys")) == ([Conflict("toys", "notes")], both)
    # Together they say it all.
    (made,) = imported(base, {"talk.md": other.replace("a talk", "two talks"), "toys.md": NOTE}).cards
    assert made.conflicts == []
    assert all(words in str(card(base, "toys")["notes"]) for words in ("My own words.", "from two talks."))


@pytest.mark.parametrize(
    ("name", "words"),
    [("renamed.md", "My own few words."), ("2020/toys.md", "Quite other thoughts, which nobody had.")],
)
def test_notes_are_known_under_another_name_and_from_another_folder(base: Base, name: str, words: str) -> None:
    imported(base, {"toys.md": NOTE})
    edited = NOTE.replace("My own words.", words).replace("status: reading\n", "").replace("[tin, wood]", "[wood]")
    (made,) = imported(base, {name: edited}).cards
    assert (made.slug, made.status, made.conflicts) == ("toys", "changed", [])
    now = card(base, "toys")
    assert (now["notes"], now["tags"], "reading" in now) == (words, ("wood",), False)


def test_questions_of_the_same_words_go_together(base: Base) -> None:
    (made,) = imported(base, {"a.md": f"{ENTRY}\n- [ ] Why?\n- How?\n- Why?\n  - So.\n"}).cards
    imported(base, {"a.md": f"{ENTRY}\n- How?\n"})
    assert [one["ask"] for one in card(base, made.slug)["questions"]] == ["How?"]


LINES = [
    "Tags: tin, wood", "Year: 2021", "Venue: ICML", "Authors: Ann Maker, Bo Turner", "status: reading",
    "[[code](https://github.com/a/b)]", "[[video](https://youtu.be/x)]", "TL;DR: Toys can be wound up.",
]  # fmt: skip
PARAGRAPHS = [
    "Words.", "## More\n\nWords of mine.", "> We wind up all toys. (p. 5)", "> They run down alone again. (p. 6)",
    "“They are made of tin.” ([Maker, 2020, p. 3](zotero://select/x/A)) Mine.", "- Why tin?\n  - It is light.",
    "- How many toys?", "Q: What else?\nA: Nothing.",
]  # fmt: skip
NOTES = st.builds(
    lambda head, body: "\n\n".join(["# A Paper on Toys That Wind", "\n".join(head), *body]) + "\n",
    st.lists(st.sampled_from(LINES), unique=True),
    st.lists(st.sampled_from(PARAGRAPHS), unique=True),
)


def said(base: Base) -> dict[str, object]:
    """Return what the card says, whatever the order, the ids and the key."""
    return {
        name: sorted(str({**item, "id": ""} if name == "questions" else item) for item in value)
        if isinstance(value, tuple)
        else value
        for name, value in card(base, "toys").items()
        if name != "cite"
    }


@settings(max_examples=12, deadline=None)
@given(first=NOTES, then=NOTES)
def test_a_card_that_nobody_changed_follows_its_notes(
    first: str, then: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    followed, fresh = (Base(tmp_path_factory.mktemp("base")) for _ in range(2))
    for base in (followed, fresh):
        base.write(SOUND)
    imported(followed, {"toys.md": first})
    (made,) = imported(followed, {"toys.md": then}).cards
    imported(fresh, {"toys.md": then})
    assert (made.conflicts, said(followed)) == ([], said(fresh))
    assert [one.status for one in imported(followed, {"toys.md": then}).cards] == ["same"]


def test_an_import_on_another_day_changes_nothing(base: Base) -> None:
    def on(day: int) -> Plan:
        date = datetime.date(2026, 3, day)
        return plan.plan({"toys.md": NOTE}, base.project.read()[0], reader(base), asked=date)

    changes.apply(base.root, on(1).changes)
    assert on(2).changes.files == {}


# The entry of the bibliography

ENTRY = "# Attention on Trees\n\nAuthors: Ann Maker, Bo Turner\nYear: 2021\n\nWords.\n"


def entry(base: Base) -> dict[str, str]:
    book = Bibliography(bib(base), BIB)
    return {"type": book.entries["maker2021attention"].entry_type, **book.values(book.entries["maker2021attention"])}


def test_what_notes_say_later_comes_to_the_entry(base: Base) -> None:
    imported(base, {"a.md": "# Attention on Trees\n\nWords.\n"})
    before = bib(base)
    later = ENTRY.replace("\n\nWords", "\nVenue: ICML\nDOI: 10.1000/trees\n\nWords")
    made = imported(base, {"a.md": later}).cards
    assert [(one.slug, one.status, one.conflicts) for one in made] == [("attention_trees", "changed", [])]
    # The key stays, and so does all else.
    assert bib(base) == before.replace(
        "@misc{anonymousattention,\n  title = {Attention on Trees},\n",
        "@inproceedings{anonymousattention,\n  title = {Attention on Trees},\n  author = {Ann Maker and Bo Turner},\n"
        "  booktitle = {ICML},\n  year = {2021},\n  doi = {10.1000/trees},\n",
    )
    assert [one.status for one in imported(base, {"a.md": later}).cards] == ["same"]


def test_what_notes_change_of_an_entry_is_changed_unless_it_was_changed_there(base: Base) -> None:
    imported(base, {"a.md": ENTRY})
    base.write({BIB: bib(base).replace("Bo Turner},", "Bo Turner}, % both").replace("{2021}", "2021 # {}")})
    made = imported(base, {"a.md": ENTRY.replace("on Trees", "on big Trees")}).cards
    assert [(one.slug, one.status, one.conflicts) for one in made] == [("attention_trees", "changed", [])]
    assert entry(base)["title"] == "Attention on big Trees"
    assert "Bo Turner}, % both" in bib(base)
    # What the notes leave out is still true.
    imported(base, {"a.md": ENTRY.replace("on Trees", "on big Trees").replace("Year: 2021\n", "")})
    assert entry(base)["year"] == "2021"
    imported(base, {"a.md": ENTRY.replace("on Trees", "on big Trees")})
    base.write({BIB: bib(base).replace("on big Trees", "on {Trees} Again")})
    changed = ENTRY.replace("on Trees", "on small Trees").replace("2021", "2022")
    (last,) = imported(base, {"a.md": changed}).cards
    assert last.conflicts == [Conflict("attention_trees", "entry.title")]
    assert (entry(base)["title"], entry(base)["year"]) == ("Attention on {Trees} Again", "2022")
    assert [one.status for one in imported(base, {"a.md": changed}).cards] == ["same"]


def test_an_entry_that_the_library_has_only_gets_what_it_lacks(base: Base) -> None:
    note = "# Toys\n\nAuthors: Bo Turner, Cy Spin\nYear: 1999\nDOI: 10.1000/toys\n"
    before = bib(base)
    # Its DOI tells that they are one.
    base.write({BIB: before.replace("year = {2020}", "year = {2020}, doi = {10.1000/toys}")})
    (made,) = imported(base, {"x.md": note.replace("\n\nA", "\n\nVenue: ICML\nA")}).cards
    assert (made.slug, made.conflicts) == ("toy", [])
    assert bib(base) == before.replace(
        "year = {2020},\n", "year = {2020}, doi = {10.1000/toys},\n  booktitle = {ICML},\n"
    )


@pytest.mark.parametrize("other", ["Winding up Toys of Tin\n", "Attention on big Trees\n\narXiv: 2101.00002"])
def test_other_notes_in_the_same_file_are_another_card(base: Base, other: str) -> None:
    imported(base, {"a.md": ENTRY.replace("Year", "arXiv: 2101.00001\nYear")})
    (made,) = imported(base, {"a.md": ENTRY.replace("Attention on Trees\n", other)}).cards
    assert made.status == "new"
    assert len(base.library().papers) == 3
