"""Reading notes as people keep them, into cards: each spelling, and an account of each line."""

import datetime
from collections import Counter
from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quaere.authoring import changes, entries
from quaere.authoring.notes import paper, plan
from quaere.authoring.notes.lines import scan
from quaere.authoring.notes.paper import Draft
from quaere.authoring.notes.plan import Plan
from quaere.content import located_yaml
from quaere.errors import Faults
from tests.engine.conftest import Base, Inside

DAY = datetime.date(2026, 2, 3)


def draft(text: str, name: str = "note.md") -> Draft:
    """Read a note of one paper."""
    read = paper.read("note.md", scan(text), name=name)
    assert [fate.line for fate in read.fates] == [line.number for line in scan(text)]
    return read


def planned(base: Base, sources: dict[str, str], files: Collection[str] = ()) -> Plan:
    """Plan an import; each line of the notes has one fate."""

    def text(file: str) -> str | None:
        path = base.root / file
        return path.read_text(encoding="utf-8") if path.exists() else None

    made = plan.plan(sources, base.project.read()[0], text, files=files, asked=DAY)
    lines = {(file, line.number) for file, source in sources.items() for line in scan(source)}
    assert Counter((fate.file, fate.line) for fate in made.fates) == Counter(lines)
    assert all(bool(fate.to) != bool(fate.why) for fate in made.fates)
    return made


def imported(base: Base, sources: dict[str, str], files: Collection[str] = ()) -> Plan:
    """Import notes; the knowledge base is sound afterwards."""
    made = planned(base, sources, files)
    changes.apply(base.root, made.changes)
    for source, target in made.pictures:
        base.write({f"papers/{target}": f"picture {source}"})
    faults = base.project.check()[1]
    assert not faults, str(Faults(faults))
    return made


def card(base: Base, slug: str) -> dict[str, Any]:
    value = located_yaml.read((base.root / f"papers/{slug}.yml").read_bytes(), slug).value
    assert isinstance(value, dict)
    return value


# One paper


@pytest.mark.parametrize(
    ("text", "name", "title"),
    [
        ("# Attention Is All You Need\n\nText.", "x.md", "Attention Is All You Need"),
        ("# Attention Is All You Need (2017)\n\nText.", "x.md", "Attention Is All You Need"),
        ("# Attention Is All You Need [NIPS 2017]\n", "x.md", "Attention Is All You Need"),
        (
            "## [Attention Is All You Need](https://arxiv.org/abs/1706.03762)\n\nText.",
            "x.md",
            "Attention Is All You Need",
        ),
        ("---\ntitle: 'Attention: All You Need'\n---\n\n# Notes\n\nText.", "x.md", "Attention: All You Need"),
        (
            "# Paper\n\n* **Title**: Attention: All You Need\n* **Year**: 2017\n\n# Summary\n\nText.",
            "x.md",
            "Attention: All You Need",
        ),
        ("- **Attention Is All You Need**\n- text", "x.md", "Attention Is All You Need"),
        (
            "**Attention Is All You Need** [[pdf](https://arxiv.org/pdf/1706.03762)]\n\nText.",
            "x.md",
            "Attention Is All You Need",
        ),
        (
            "Attention Is All You Need. Ashish Vaswani, Noam Shazeer. 2017. [[paper](https://arxiv.org/abs/1706.03762)]\n\nText.",
            "x.md",
            "Attention Is All You Need",
        ),
        (
            "* DRAW: A Recurrent Neural Network\n* Karol Gregor\n\n# Generation\n\nText.",
            "x.md",
            "DRAW: A Recurrent Neural Network",
        ),
        (
            "Just text without a heading, which goes on for a while.",
            "2017-06-12-attention-is-all-you-need.md",
            "Attention is all you need",
        ),
        ("Just text.", "1706.03762 Attention Is All You Need.md", "Attention Is All You Need"),
        ("Just text.", "1706.03762v5.md", "arXiv:1706.03762"),
        ("# 注意力机制\n\n文本。", "x.md", "注意力机制"),
    ],
)
def test_the_title_is_found(text: str, name: str, title: str) -> None:
    assert draft(text, name).title == title


HEADS = {
    "front matter": """\
---
title: "Attention Is All You Need"
authors: [Ashish Vaswani, Noam Shazeer]
year: 2017
venue: NeurIPS 2017
tags: [transformer, NLP]
affiliations:
  - Google Brain
  - University of Toronto
arxiv: 1706.03762
status: reading
---
""",
    "front matter with links": """\
---
title: Attention Is All You Need
authors: [[Ashish Vaswani]], [[Noam Shazeer]]
published: 2017-06-12
journal: [[NeurIPS]]
tags: #transformer #[[NLP]]
institutions: [[Google Brain]], [[University of Toronto]]
url: https://arxiv.org/abs/1706.03762v5
status: in progress
---
""",
    "bold bullets": """\
# Attention Is All You Need

- **Authors:** Ashish Vaswani, Noam Shazeer
- **Year:** 2017
- **Venue**: NeurIPS 2017
- **Tags**: `transformer`, `NLP`
- **Affiliations**: Google Brain, University of Toronto
- **Link**: https://arxiv.org/abs/1706.03762
- **Status**: Reading
""",
    "lists below labels": """\
# Attention Is All You Need

Ashish Vaswani, Noam Shazeer

2017

NeurIPS 2017

Tags:
- transformer
- NLP

Affiliations:

1. Google Brain
2. University of Toronto

Link: [arXiv](https://arxiv.org/abs/1706.03762)
Status: half
""",
    "headings": """\
# Attention Is All You Need (NeurIPS 2017)

## Authors

Ashish Vaswani and Noam Shazeer

## Tags

transformer · NLP

## Affiliations

- Google Brain
- University of Toronto

## Link

<https://arxiv.org/pdf/1706.03762.pdf>

I read maybe 5 pages so far
""",
    "properties of Logseq": """\
title:: Attention Is All You Need
authors:: [[Ashish Vaswani]], [[Noam Shazeer]]
tags:: #transformer, #[[NLP]], #2017, #NeurIPS
affiliations:: Google Brain; University of Toronto
arxiv:: 1706.03762
status:: reading
""",
}


@pytest.mark.parametrize("head", HEADS)
def test_metadata_is_read_in_each_spelling(head: str) -> None:
    read = draft(HEADS[head] + "\n## Method\n\nSome words.\n")
    assert read.title == "Attention Is All You Need"
    assert read.authors == ["Ashish Vaswani", "Noam Shazeer"]
    assert (read.year, read.arxiv, read.reading) == (2017, "1706.03762", "reading")
    assert read.venue in ("NeurIPS", "NeurIPS 2017")
    assert read.tags == ["transformer", "NLP"]
    assert read.affiliations == ["Google Brain", "University of Toronto"]
    assert read.notes == "## Method\n\nSome words."


@pytest.mark.parametrize(
    ("line", "idea"),
    [
        ("TL;DR: Attention is enough.", "Attention is enough."),
        ("TLDR; Attention is enough.", "Attention is enough."),
        ("**TL;DR** Attention is enough.", ""),  # no mark between label and text: it stays a note
        ("**TL;DR:** Attention is enough.", "Attention is enough."),
        ("- **One-sentence summary**: Attention is enough.", "Attention is enough."),
        ("一句话总结：注意力就够了。", "注意力就够了。"),
        ("要約: 注意だけで十分。", "注意だけで十分。"),
        ("En bref : L'attention suffit.", "L'attention suffit."),
        ("Kurzfassung: Aufmerksamkeit reicht.", "Aufmerksamkeit reicht."),
        ("## TL;DR\n\nAttention is enough.", "Attention is enough."),
    ],
)
def test_the_idea_is_read_in_several_languages(line: str, idea: str) -> None:
    read = draft(f"# A title of a paper\n\n{line}\n\n## Method\n\nWords.")
    assert read.idea == idea
    assert ("Attention" in read.notes) == (not idea)


QUESTIONS = [
    ("- [ ] Q: Why scale?", [("Why scale?", "")]),
    ("- [x] Why scale?", [("Why scale?", "")]),  # a ticked box answers nothing
    ("- [ ] Why scale? The variance would grow.", [("Why scale?", "The variance would grow.")]),
    ("- [ ] Why scale? #question #to/ask ^ab-1", [("Why scale? #question #to/ask ^ab-1", "")]),
    ("- [x] Q: Why scale? #question", [("Why scale? #question", "")]),
    ("- [ ] Why scale? #2 says it.", [("Why scale?", "#2 says it.")]),
    ("Q: Why scale? A: The variance grows.", [("Why scale?", "The variance grows.")]),
    ("Q: Why scale?\nA: The variance grows.", [("Why scale?", "The variance grows.")]),
    ("**Q1:** Why scale?\n\n**A1:** The variance grows.\nA lot.", [("Why scale?", "The variance grows.\nA lot.")]),
    ("Q1：为什么？", [("为什么？", "")]),
    ("## Questions\n\n- Why scale?\n- How many heads?", [("Why scale?", ""), ("How many heads?", "")]),
    (
        "## Open questions\n\n1. Why scale?\n   - The variance grows.\n2. The number of heads",
        [("Why scale?", "- The variance grows."), ("The number of heads", "")],
    ),
    ("#### Notes/Questions\n\n- Love it.\n- Why scale?", [("Why scale?", "")]),
    (
        "### Why scale?\n\nThe variance grows.\n\nA lot.\n\n### Next\n\nWords.",
        [("Why scale?", "The variance grows.\n\nA lot.")],
    ),
    ("- The scores are scaled. Why?", [("The scores are scaled. Why?", "")]),
    ("Why scale？", [("Why scale？", "")]),
    (
        "- Why scale?\n    - Because of the variance.\n    - And its gradient.",
        [("Why scale?", "- Because of the variance.\n- And its gradient.")],
    ),
    ("- Why scale?\n    - Or not?", [("Why scale?", ""), ("Or not?", "")]),
    ("- A long question that goes\n  on in the next line?", [("A long question that goes on in the next line?", "")]),
    # These ask nothing of the paper.
    ("- [ ] TODO: read the appendix", []),
    ("- [ ] read the appendix", []),
    ("The authors ask whether it scales? They say so. It does.", []),
    ("```\nwhy?\n```", []),
    ("- values of x (2 or 3?)", []),
]


@pytest.mark.parametrize(("text", "asked"), QUESTIONS)
def test_questions_are_told_from_chores_with_their_answers(text: str, asked: list[tuple[str, str]]) -> None:
    read = draft(f"# A title of a paper\n\nWords first.\n\n{text}\n")
    assert [(one.ask, one.answer) for one in read.questions] == asked
    assert read.notes.startswith("Words first.")
    for ask, _ in asked:
        assert ask.split("?")[0] not in read.notes


def test_links_of_several_kinds_are_kept_and_the_paper_s_own_goes_to_its_entry() -> None:
    read = draft(
        "# A title of a paper\n\n[[paper](https://arxiv.org/abs/1706.03762)] [[code](https://github.com/a/b)] "
        "[[video](https://youtu.be/x)] [[blog](https://b.example.com/p)]\n\nWords."
    )
    assert read.arxiv == "1706.03762"
    assert [(one["kind"], one["title"]) for one in read.links] == [
        ("code", "code"),
        ("video", "video"),
        ("blog", "blog"),
    ]
    assert read.notes == "Words."


# Several papers


LONG = """\
# My reading notes

Some words on all of them.

## [One Paper of Mine](https://arxiv.org/abs/1706.03762)

Tags: a, b

- [ ] Q: Why?

## [Another Paper](https://arxiv.org/abs/1810.04805)

Words.

### Details

More.
"""
INDEX = """\
# Papers

## 2017

- [x] One Paper of Mine [[paper](https://arxiv.org/abs/1706.03762)] [[notes](one.md)]
  - seq2seq, attention
- [ ] A Paper That I Want to Read [[arXiv](https://arxiv.org/abs/1810.04805)]
- Third Paper on Something [[pdf](https://arxiv.org/pdf/1412.6980v3)] [[code](https://github.com/a/b)]
- see below
"""
TABLE = """\
| Title | Authors | Year | Link | Status |
| --- | --- | --- | --- | --- |
| One Paper of Mine | Ann Maker, Bob Roe | 2017 | [arXiv](https://arxiv.org/abs/1706.03762) | read |
| Another Paper | Jo Doe and Al Poe | 2018 | https://doi.org/10.1000/182 | to read |
| Third Paper on Something | Zoë Müller, Łukasz Kaiser | 2019 | | reading |
"""
BOLD = """\
**One Paper of Mine** ([arXiv](https://arxiv.org/abs/1706.03762))

Words on it.

**Another Paper** ([arXiv](https://arxiv.org/abs/1810.04805))

Tags: x
"""


@pytest.mark.parametrize(
    ("sources", "slugs"),
    [
        ({"notes.md": LONG}, ["another_paper", "one_paper_mine"]),
        (
            {"README.md": INDEX, "one.md": "# One Paper of Mine\n\nWords."},
            ["one", "paper_want_read", "third_paper_something"],
        ),
        ({"list.md": TABLE}, ["another_paper", "one_paper_mine", "third_paper_something"]),
        ({"notes.md": BOLD}, ["another_paper", "one_paper_mine"]),
        (
            {"gan/README.md": "Words on it.", "vae/notes.md": "# Auto-Encoding Variational Bayes\n\nWords."},
            ["gan", "vae"],
        ),
        ({"aa.md": "# The Same Paper Twice\n\nOne.", "bb.md": "# The same paper twice.\n\nTwo."}, ["aa"]),
    ],
)
def test_one_paper_is_a_file_a_folder_a_section_a_bold_line_or_a_row(
    base: Base, sources: dict[str, str], slugs: list[str]
) -> None:
    made = imported(base, sources)
    assert sorted(one.slug for one in made.cards) == slugs


def test_the_rows_of_an_index_say_what_was_read_and_complete_the_notes(base: Base) -> None:
    imported(base, {"README.md": INDEX, "one.md": "# One Paper of Mine\n\nWords."})
    one, wanted = card(base, "one"), card(base, "paper_want_read")
    assert (one["reading"], one["tags"], one["notes"]) == ({"state": "read"}, ("seq2seq", "attention"), "Words.")
    assert (wanted["reading"], "notes" in wanted) == ({"state": "to-read"}, False)
    written = (base.root / "papers/references.bib").read_text(encoding="utf-8")
    assert "eprint        = {1706.03762}" in written
    assert "eprint        = {1412.6980}" in written


def test_a_table_gives_authors_years_and_identifiers(base: Base) -> None:
    imported(base, {"list.md": TABLE})
    papers = base.library().papers
    assert papers["another_paper"].reference.doi == "10.1000/182"
    assert papers["third_paper_something"].reference.credits == "Zoë Müller, Łukasz Kaiser"
    assert papers["third_paper_something"].card.cite == "muller2019third"


def test_templates_talks_and_files_about_the_collection_are_left_out_and_said(base: Base) -> None:
    same = "## What problem does it solve?\n\nIt solves {}.\n"
    made = imported(
        base,
        {
            "TEMPLATE.md": "# {{title}}\n\n**Authors**:\n**Tags**:\n",
            "talks/keynote.md": "# A keynote\n\nWords.",
            "README.md": "# My notes\n\nWhat this is.",
            **{f"p{n}.md": f"# The paper number {n}\n\n{same.format(n)}" for n in range(3)},
        },
    )
    assert {one.file: one.why for one in made.asides} == {
        "TEMPLATE.md": "a template",
        "talks/keynote.md": "notes on a talk",
        "README.md": "about the collection, not about a paper",
    }
    # What every note asks is the template's question: it stays a heading.
    assert all("questions" not in card(base, f"p{n}") for n in range(3))
    assert "## What problem does it solve?" in card(base, "p1")["notes"]


# Texts


def test_texts_stay_as_they_were_with_links_and_pictures_led_to_where_they_are(base: Base) -> None:
    text = """\
# A Paper With Everything

> A quote.

$$
why = 1?
$$

![a plot](img/plot.png "Title") <img src="img/plot.png" width="3"> ![[img/plot.png|200]] ![gone](img/gone.png)

> [!note] A callout
> with text

See [[other]], [[Other Paper|that one]], [[Somebody's page]] and [this](sub/other.md), [gone](gone.md).

```python
x = [[1, 2]]  # [[other]] ![a](img/plot.png)
```
"""
    other = "# Other Paper\n\nWords."
    made = imported(base, {"aa.md": text, "sub/other.md": other}, files=["img/plot.png"])
    assert made.pictures == [("img/plot.png", "aa/plot.png")]
    assert (
        card(base, "aa")["notes"].rstrip()
        == """\
> A quote.

$$
why = 1?
$$

![a plot](aa/plot.png) ![](aa/plot.png) ![](aa/plot.png) (picture: gone)

> [!note] A callout
> with text

See [[other]], [[other|that one]], \\[\\[Somebody's page\\]\\] and [[other|this]], gone (gone.md).

```python
x = [[1, 2]]  # [[other]] ![a](img/plot.png)
```"""
    )


# Again


def test_a_second_import_changes_nothing_and_of_an_edited_file_only_what_changed(base: Base) -> None:
    text = "# A Paper of Mine\n\nTags: a, b\n\nWords.\n\n- [ ] Q: Why?\n"
    imported(base, {"mine.md": text})
    before = base.files()
    again = imported(base, {"mine.md": text})
    assert [one.status for one in again.cards] == ["same"]
    assert base.files() == before
    # The card's author works on it.
    file = base.root / "papers/mine.yml"
    file.write_text(file.read_text().replace("notes: Words.", "notes: My own words.  # mine"), encoding="utf-8")
    edited = text.replace("a, b", "a, b, c") + "- [ ] Q: How?\n"
    changed = imported(base, {"mine.md": edited})
    assert [(one.status, one.conflicts) for one in changed.cards] == [("changed", [])]
    mine = card(base, "mine")
    assert (mine["tags"], mine["notes"]) == (("a", "b", "c"), "My own words.")
    assert [one["ask"] for one in mine["questions"]] == ["Why?", "How?"]
    assert "# mine" in file.read_text()
    # Both have changed the same: it is said, and the card stays.
    conflict = imported(base, {"mine.md": edited.replace("Words.", "Other words.")})
    assert [(one.status, [c.field for c in one.conflicts]) for one in conflict.cards] == [("conflict", ["notes"])]
    assert card(base, "mine")["notes"] == "My own words."


def test_a_second_import_knows_a_paper_of_a_short_title_and_one_that_was_renamed(base: Base, inside: Inside) -> None:
    picture = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
    base.write({"notes/Toy.md": "# Toy\n\n![A drawing](a.svg)\n", "notes/a.svg": picture})
    assert inside("import", "notes").returncode == 0
    (slug,) = base.library().papers.keys() - {"toy"}
    for _ in range(2):
        before = base.files()
        again = inside("import", "notes")
        assert f"{slug}  same" in again.stdout
        assert {name: data for name, (data, _) in base.files().items()} == {
            name: data for name, (data, _) in before.items()
        }
        if slug != "puppet":
            assert inside("rename", slug, "puppet").returncode == 0
            slug = "puppet"


def test_a_second_import_tells_what_stands_twice_apart(base: Base) -> None:
    text = """\
# A Paper of Mine

Q: Why?
A: So.

Q: Why?
A: Otherwise.

> We wind up all toys. (p. 1)

> We wind up all toys. (p. 7)
"""
    untitled = "# Papers\n\n## \n\nhttps://example.org/a.pdf\n\nOne.\n\n## \n\nhttps://example.org/b.pdf\n\nTwo.\n"
    imported(base, {"mine.md": text, "untitled.md": untitled})
    before = base.files()
    assert {one.status for one in imported(base, {"mine.md": text, "untitled.md": untitled}).cards} == {"same"}
    assert base.files() == before
    (changed, *_) = imported(base, {"mine.md": text.replace("Otherwise", "Not so").replace("p. 7", "p. 8")}).cards
    assert (changed.status, changed.conflicts) == ("changed", [])
    assert [one["answer"] for one in card(base, changed.slug)["questions"]] == ["So.", "Not so."]
    assert [one["page"] for one in card(base, changed.slug)["quotes"]] == [1, 8]


def test_a_second_import_knows_papers_that_were_merged(base: Base, inside: Inside) -> None:
    note = "# {title}\n\nTags: {tag}\n\n{words}\n\n![A drawing](a.svg)\n\n- [ ] Q: Why {tag}?\n"
    notes = {
        "notes/first.md": note.format(title="Toys That Wind Up", tag="tin", words="Mine."),
        "notes/second.md": note.format(title="A Study of Toys That Wind", tag="wood", words="Mine, too."),
        "notes/a.svg": '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    }
    base.write(notes)
    assert inside("import", "notes").returncode == 0
    assert inside("merge", "first", "second").returncode == 0
    assert sorted(base.library().papers) == ["first", "toy"]
    before = {name: data for name, (data, _) in base.files().items()}
    again = inside("import", "notes")
    assert again.stdout.count("first  same") == 2
    assert {name: data for name, (data, _) in base.files().items()} == before
    # What comes to either note comes to the one card; what both sides have changed is told.
    base.write(
        {f"notes/{name}.md": notes[f"notes/{name}.md"] + f"- [ ] Q: How {name}?\n" for name in ("first", "second")}
    )
    assert inside("import", "notes").returncode == 0
    library = base.library()
    assert sorted(library.papers) == ["first", "toy"]
    assert [one.ask for one in library.papers["first"].card.questions] == [
        "Why tin?",
        "Why wood?",
        "How first?",
        "How second?",
    ]
    base.write({"notes/first.md": notes["notes/first.md"].replace("Mine", "Ours")})
    told = inside("import", "notes")
    assert (told.returncode, "notes was changed on both sides" in " ".join(told.stdout.split())) == (1, True)


def test_a_question_that_the_card_no_longer_asks_does_not_come_back(base: Base) -> None:
    text = "# A Paper of Mine\n\nWords.\n\n- [ ] Q: Why?\n- [ ] Q: How?\n"
    imported(base, {"mine.md": text})
    file = base.root / "papers/mine.yml"
    lines = [line for line in file.read_text().split("\n") if "Why?" not in line and "id: why" not in line]
    file.write_text("\n".join(lines).replace("questions:\n    asked: 2026-02-03\n", "questions:\n"), encoding="utf-8")
    imported(base, {"mine.md": text})
    assert [one["ask"] for one in card(base, "mine")["questions"]] == ["How?"]


def test_a_paper_that_the_library_has_keeps_its_entry_and_its_key(base: Base) -> None:
    base.write(
        {
            "papers/references.bib": (base.root / "papers/references.bib")
            .read_text()
            .replace("Toys", "Toys of the Trade")
        }
    )
    made = imported(base, {"x.md": "# Toys of the trade\n\nTags: a\n\nSome words."})
    assert [(one.slug, one.entry, one.status) for one in made.cards] == [("toy", "", "changed")]
    assert card(base, "toy")["tags"] == ("a",)


# Entries


@pytest.mark.parametrize(
    ("title", "written"),
    [
        ("BERT and GPT-2 in NLP", "{BERT} and {GPT-2} in {NLP}"),
        ("50% of A & B_c #1", "50\\% of A \\& B\\_c \\#1"),
        ("The cost of $O(n^2)$", "The cost of $O(n^2)$"),
        ("5$ and {braces", "5\\$ and \\{braces"),
        ("DeepMind's AlphaGo", "{DeepMind}'s {AlphaGo}"),
    ],
)
def test_titles_survive_bibtex(base: Base, title: str, written: str) -> None:
    entry = entries.bibtex("misc", "key2020", {"author": "Ann Maker", "title": title, "year": "2020"})
    assert f"{{{written}}}" in entry
    base.write({"papers/references.bib": entry, "papers/toy.yml": "cite: key2020\nimplementation: null\n"})
    read = base.library().papers["toy"].reference
    assert read.title == title if "$O" not in title else "O(n²)" in read.title


@given(
    st.text(max_size=300), st.sampled_from(["", "---\n", "# T\n", "| a | b |\n| - | - |\n", "- [ ] ", "$$\n", "```\n"])
)
def test_any_text_is_read_and_each_line_accounted_for(text: str, head: str) -> None:
    read = draft(head + text)
    assert all(bool(fate.to) != bool(fate.why) for fate in read.fates)


# As other collections write


@pytest.mark.parametrize(
    ("cited", "authors", "year", "venue", "within"),
    [
        ('*Maker, Ann, et al. "Toys that wind up." Journal of Toys 24.2 (2009): 8-12.*',
         ["Ann Maker", "others"], 2009, "Journal of Toys", {"volume": "24", "number": "2", "pages": "8-12"}),
        ("Maker, A. B., Turner, C., & Old, E. (2019). Toys that wind up. In Proceedings of the Toy Conference.",
         ["A. B. Maker", "C. Turner", "E. Old"], 2019, "Proceedings of the Toy Conference", {}),
        ("A. Maker, B. Turner, and E. van Old, “Toys that wind up,” NeurIPS, 2020.",
         ["A. Maker", "B. Turner", "E. van Old"], 2020, "NeurIPS", {}),
        ('_Maker, Ann, Bo Turner and Cy Old. "Toys That Wind Up." arXiv preprint arXiv:1702.01715 (2017). APA_',
         ["Ann Maker", "Bo Turner", "Cy Old"], 2017, "", {}),
        ("Maker, Ann; Turner, Bo: Toys that wind up?", ["Ann Maker", "Bo Turner"], None, "", {}),
    ],
)  # fmt: skip
def test_a_line_that_cites_the_paper_in_any_style_is_read(
    cited: str, authors: list[str], year: int | None, venue: str, within: dict[str, str]
) -> None:
    made = draft(f"# Toys that wind up [[pdf]](https://example.org/t.pdf)\n\n{cited}\n\nMine.\n")
    assert made.title == "Toys that wind up"
    assert (made.authors, made.venue, made.within, made.notes, made.questions) == (authors, venue, within, "Mine.", [])
    assert made.year == year
    assert made.arxiv == ("1702.01715" if "arXiv" in cited else "")


@pytest.mark.parametrize(
    "line", ["Toys that wind up are the best.", "It is not as in Toys that wind up.", "See: Toys that wind up (2019)."]
)
def test_a_sentence_that_names_the_paper_is_no_citation(line: str) -> None:
    made = draft(f"# Toys that wind up\n\n{line}\n")
    assert (made.authors, made.notes) == ([], line)


def test_a_cited_journal_makes_an_article(base: Base) -> None:
    text = '# Toys that wind up\n\n*Maker, Ann, et al. "Toys that wind up." J. Toys 24.2 (2009): 8-12.*\n'
    (one,) = imported(base, {"wind.md": text}).cards
    assert "@article{maker2009toys,\n  author  = {Ann Maker and others},\n" in one.entry
    reference = base.library().papers[one.slug].reference
    assert (reference.venue, reference.short_credits) == ("J. Toys", "Maker et al.")


@pytest.mark.parametrize(
    ("heading", "title", "tags", "year"),
    [
        ("# Toys That Wind Up 阅读笔记", "Toys That Wind Up", [], None),
        ("# Toys That Wind Up阅读笔记", "Toys That Wind Up", [], None),
        ("# 论文笔记：Toys That Wind Up", "Toys That Wind Up", [], None),
        ("# Toys That Wind Up - Reading Notes", "Toys That Wind Up", [], None),
        ("# Paper notes: Toys That Wind Up", "Toys That Wind Up", [], None),
        ("# Reading Notes of a Toy", "Reading Notes of a Toy", [], None),
        ("# [wooden toys] Toys That Wind Up", "Toys That Wind Up", ["wooden toys"], None),
        ("# [ICLR 2021] Toys That Wind Up", "Toys That Wind Up", [], 2021),
        ("# Toys That Wind Up, TOYS 2021", "Toys That Wind Up", [], 2021),
        ("# Toys That Wind Up, The Journal of Toys, 2021", "Toys That Wind Up", [], 2021),
        ("# Toys That Wind Up, 2021 [[paper]](https://example.org/p.pdf)", "Toys That Wind Up", [], 2021),
        ("# Toys That Wind Up, and Those of 2021", "Toys That Wind Up, and Those of 2021", [], None),
        ("#[Toys That Wind Up](https://example.org/p.pdf)", "Toys That Wind Up", [], None),
        ("##Toys That Wind Up", "Toys That Wind Up", [], None),
    ],
)
def test_a_title_is_freed_of_what_else_a_heading_says(heading: str, title: str, tags: list[str], year: int) -> None:
    made = draft(f"{heading}\n\nMine.\n")
    assert (made.title, made.tags, made.year, made.notes) == (title, tags, year, "Mine.")


def test_tags_are_no_headings() -> None:
    made = draft("# Toys That Wind Up\n\n#toys #[[wood and iron]]\n\n#[[tin toys]]\n\n#wood\n\nMine.\n")
    assert (made.title, made.tags) == ("Toys That Wind Up", ["toys", "wood and iron", "tin toys", "wood"])


@pytest.mark.parametrize(
    ("line", "ask"),
    [
        ("(*Note: Why are they wound up (by hand)?*)", "Why are they wound up (by hand)?"),
        ("(Why are they wound up?)", "Why are they wound up?"),
        ("*Side note: why are they wound up?*", "why are they wound up?"),
        ("**Why are they wound up?**", "Why are they wound up?"),
    ],
)
def test_a_question_is_freed_of_the_marks_of_a_remark(line: str, ask: str) -> None:
    assert [one.ask for one in draft(f"# A Paper on Toys\n\nMine.\n\n{line}\n").questions] == [ask]
    assert draft("# A Paper on Toys\n\nMine, of them (really?)\n").questions == []


def test_a_row_of_an_index_finds_its_note_by_an_encoded_address(base: Base) -> None:
    rows = [f"- Toys That Wind Up {n} [[note]](./wound/a%20toy%2C%20{n}%20%E7%AC%94.md)" for n in range(3)]
    notes = {f"wound/a toy, {n} 笔.md": "Mine.\n" for n in range(3)}
    made = planned(base, {"README.md": "# Toys\n\n" + "\n".join(rows) + "\n", **notes})
    assert len(made.cards) == 3
    assert [fate.to for fate in made.fates if fate.file == "README.md"][2:5] == ["title"] * 3


def test_a_library_without_a_bibliography_is_imported_into(base: Base, inside: Inside) -> None:
    for name in ("papers/references.bib", "papers/toy.yml"):
        (base.root / name).unlink()
    base.write({"notes/toys.md": "# Toys That Wind Up\n\nMine.\n"})
    assert inside("import", "notes").returncode == 0
    assert list(base.library().papers) == ["toys"]


@pytest.mark.parametrize(
    ("line", "authors"),
    [
        ("Reference: Maker et al. Toys of Science. NIPS 2014.", ["Maker", "others"]),
        ("Toys of Science. Ann Maker, Bo Turner. NIPS 2014. [[paper](https://example.org/a.pdf)]", None),
    ],
)
def test_a_reference_tells_the_venue_and_the_first_of_several_authors(line: str, authors: list[str] | None) -> None:
    read = draft(f"{line}\n\nWords.\n")
    assert (read.title, read.venue, read.year, read.notes) == ("Toys of Science", "NIPS", 2014, "Words.")
    assert read.authors == (authors or ["Ann Maker", "Bo Turner"])


OUTLINE = """\
- tags:: #zotero, [[b c]]
  date:: 2021
  title:: @A Paper From Zotero
  item-type:: [[journalArticle]]
  authors:: [[Ann Maker]]
  id:: 64f0-ab
- ## Questions
  collapsed:: true
\t- Why not?
\t  id:: 64f0-ac
\t  collapsed:: true
\t- How many? Two.
\t- The number of wheels
- Mine.
  - Questions that I had
"""


def test_what_an_outline_says_of_its_blocks_is_neither_question_nor_answer() -> None:
    read = draft(OUTLINE)
    assert (read.title, read.authors, read.year, read.tags) == (
        "A Paper From Zotero", ["Ann Maker"], 2021, ["zotero", "b c"]
    )  # fmt: skip
    assert [(one.ask, one.answer) for one in read.questions] == [
        ("Why not?", ""),
        ("How many?", "Two."),
        ("The number of wheels", ""),
    ]
    assert read.notes == "  item-type:: [[journalArticle]]\n- Mine.\n  - Questions that I had"
    assert {fate.line for fate in read.fates if fate.why == "a mark of an outline"} == {6, 8, 10, 11}


def test_notes_of_other_programs_are_read_and_what_is_no_text_is_told(base: Base, inside: Inside) -> None:
    base.write(
        {
            "notes/wide.md": "# A Study of Wide Toys\n\nWords.\n".encode("utf-16"),
            "notes/latin.md": "# A Study of Café Toys\n\n“Words”.\n".encode("cp1252"),
            "notes/data.md": b"\x00\x01\x02",
        }
    )
    done = inside("import", "notes")
    assert done.returncode == 0
    assert "notes/data.md" not in done.stdout
    assert "remark: data.md: this is no text, and was left out\n" in done.stderr
    assert "remark: latin.md:1:1: this is not UTF-8; the file was read as Windows-1252\n" in done.stderr
    titles = {paper.reference.title: paper.card.notes for paper in base.library().papers.values()}
    assert titles == {"Toys": None, "A Study of Wide Toys": "Words.", "A Study of Café Toys": "“Words”."}
