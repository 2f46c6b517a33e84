"""`quaere add`: what comes in is there once, under a key of its own, and nothing that was there is changed."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from quaere.authoring import additions, amending, changes, entries
from quaere.authoring.additions import Choice, Plan, Status
from quaere.authoring.sources import csl_json, ris, texts
from quaere.authoring.sources.found import Found, of_made
from quaere.content.bibliography import csl
from quaere.content.bibliography import ris as ris_out
from quaere.content.bibliography.bibtex import Bibliography
from tests.engine.conftest import SOUND, Base, Inside
from tests.engine.test_kills import killed_at

BIB = "papers/references.bib"
ITEM = {
    "id": "http://zotero.org/users/1/items/A",
    "type": "paper-conference",
    "title": "On <i>Toys</i> & LSTMs",
    "author": [
        {"family": "García Márquez", "given": "Ana"},
        {"family": "Rossum", "given": "G.", "non-dropping-particle": "van"},
    ],
    "container-title": "Proc. of Toys",
    "issued": {"date-parts": [[2021, 5, 6]]},
    "page": "1-10",
    "DOI": "10.1000/Toys.1",
    "source": "DOI.org",
}  # fmt: skip
RECORD = """\
TY  - CONF
AU  - Maker, Bo
TI  - Wooden toys
T2  - Proc. of Toys
PY  - 2021
DA  - 2021/05/06/
SP  - 3
EP  - 9
DO  - 10.1000/wood
XX  - kept
ER  -
"""


def planned(base: Base, text: str, choice: Choice | None = None, *, cards: bool = False) -> Plan:
    """Plan what is added of a text."""
    library = base.project.read()[0]
    reading = texts.read(text, "in.txt")
    return additions.plan(reading, library, reader(base), choose=lambda _: choice, cards=cards)


def added(base: Base, text: str, choice: Choice | None = None, *, cards: bool = False) -> Plan:
    """Add a text; the knowledge base must be sound then."""
    made = planned(base, text, choice, cards=cards)
    changes.apply(base.root, made.changes)
    base.library()
    return made


def reader(base: Base) -> Callable[[str], str | None]:
    return lambda path: (base.root / path).read_bytes().decode() if (base.root / path).is_file() else None


def bib(base: Base) -> str:
    return (base.root / BIB).read_bytes().decode()


# Formats


def test_an_entry_in_bibtex_comes_in_as_it_is_written(base: Base) -> None:
    entry = "@Article{ Wood2020 ,\n\ttitle = {{W}ood}, % why\n    year = 2020 , note={x}}"
    made = added(base, f"% mine\n{entry}\n@comment{{no}}\n", cards=True)
    assert made.changes.said == "added Wood2020, with a card `wood`"
    assert bib(base) == SOUND[BIB] + "\n" + entry.replace("{ Wood2020", "{ Wood2020") + "\n"
    card = base.library().papers["wood"]
    assert (card.reference.title, card.card.reading and card.card.reading.state) == ("Wood", "to-read")


def test_strings_are_put_in_and_preambles_brought_along(base: Base) -> None:
    added(base, '@string{nat = "Nature"}\n@preamble{"\\newcommand{\\x}{Y}"}\n@article{a, title={\\x}, journal = nat}')
    assert "journal = {Nature}" in bib(base)
    assert "@string" not in bib(base)
    base.write({"papers/a.yml": "cite: a\nimplementation: null\n"})
    assert base.library().papers["a"].reference.title == "Y"


def test_items_of_csl_json_and_records_of_ris_become_entries(base: Base) -> None:
    added(base, json.dumps([ITEM]))
    added(base, RECORD)
    book = Bibliography(bib(base), BIB)
    assert sorted(book.entries) == ["garciamarquez2021toys", "maker2021wooden", "toy2020"]
    one, other = book.references(["garciamarquez2021toys", "maker2021wooden"])[0].values()
    assert (one.kind, one.title, one.credits) == (
        "inproceedings",
        "On Toys & LSTMs",
        "Ana García Márquez, G. van Rossum",
    )
    assert (one.doi, one.fields["csl-source"]) == ("10.1000/Toys.1", "DOI.org")
    assert (other.kind, other.venue, other.doi, other.fields["ris-xx"]) == (
        "inproceedings", "Proc. of Toys", "10.1000/wood", "kept"
    )  # fmt: skip
    assert (other.issued.iso, other.fields["pages"]) == ("2021-05-06", "3–9")


@pytest.mark.parametrize(
    ("parts", "fields"),
    [
        ([["2014", "5"]], {"year": "2014", "month": "may"}),
        ([[2014, 13]], {"note": "2014-13"}),
        ([["2014", "spring"]], {"year": "2014-spring"}),
        ([[2014, 5], ["later"]], {"year": "2014-5/later"}),
        ([[None]], {}),
        ([], {}),
    ],
)
def test_parts_that_are_no_date_are_kept_as_they_are_written(base: Base, parts: object, fields: dict[str, str]) -> None:
    added(base, json.dumps([{"id": "sooner", "type": "book", "title": "Sooner", "issued": {"date-parts": parts}}]))
    entry = bib(base).partition("{sooner,")[2]
    assert dict(re.findall(r"(year|month|note) += \{?([^{},]+)", entry)) == fields


def test_json_that_nests_too_deep_is_told_with_its_file() -> None:
    (unread,) = texts.read("[" * 100_000, "in.json").unread
    assert (unread.place.file, unread.problem) == ("in.json", "it nests too deep to be read")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "this is empty"),
        ("Attention is all you need.", "this is neither BibTeX, nor CSL-JSON, nor RIS"),
        ("@comment{only}", "there is no entry in this BibTeX"),
        ("[]", "there is no entry in this CSL-JSON"),
    ],
)
def test_what_is_no_bibliography_is_told(text: str, problem: str) -> None:
    with pytest.raises(texts.UnknownFormatError, match=re.escape(f"in.txt:1:1: {problem}")):
        texts.read(text, "in.txt")


@pytest.mark.parametrize(
    ("text", "line", "problem", "kept"),
    [
        ("@misc{a, title={A}}\n\n@misc{b, title={B\n@misc{c, title={C}}", 3, "not BibTeX: ", "@misc{b, title={B"),
        ("@misc{a, title={A}}\n@misc{b, title={B}, title={C}}\n", 2, "has the field `title` twice", "title={C}}"),
        ("@misc{a, title={A}}\n@misc{b, title=who}\n", 2, "no @string defines", "title=who"),
        ("@misc{a, title={A}}\n@misc{b, title={\\frac{1}}}\n", 2, "the TeX of `title` can't be read", "\\frac{1}"),
        ("@misc{a, title={A}}\n@misc{b, title={B\x07}}\n", 2, "the control character U+0007", "\x07"),
        ('[{"title": "A"},\n 3]', 2, "no item of CSL-JSON", "3"),
        ('[{"title": "A"},\n {"type": "book"}]', 2, "neither a title nor a DOI", '"book"'),
        ('[{"title": "A"},\n {"title": "B",,}]', 2, "not JSON: ", '"title": "B",,'),
        ("TY  - BOOK\nTI  - A\nER  -\nstray\n", 4, "outside of all records", "stray"),
        ("TY  - BOOK\nTI  - A\nER  -\nTY  - BOOK\nAU  - B\nER  -\n", 4, "neither a title nor a DOI", "AU  - B"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_told_with_its_line_and_kept(
    base: Base, text: str, line: int, problem: str, kept: str
) -> None:
    made = added(base, text)
    (unread,) = made.unread
    assert unread.place.line == line
    assert problem in unread.problem
    assert len(made.of(Status.ADDED)) == (2 if "{c" in text else 1)
    beside = (base.root / "papers/references.unread.txt").read_text()
    assert kept in beside
    # A second time it is not kept twice.
    added(base, text)
    assert (base.root / "papers/references.unread.txt").read_text() == beside


def test_a_text_of_windows_or_with_a_mark_is_read() -> None:
    assert texts.decoded("@misc{a, title={Köln}}".encode("utf-8-sig"), "x") == ("@misc{a, title={Köln}}", [])
    assert texts.decoded("Köln".encode("utf-16"), "x")[0].lstrip("\ufeff") == "Köln"
    text, (remark,) = texts.decoded(b"a\nK\xf6ln", "x.bib")
    assert text == "a\nKöln"
    assert remark.startswith("x.bib:2:1: this is not UTF-8")


# Papers that are there already


@pytest.mark.parametrize(
    ("there", "new", "why"),
    [
        ("@misc{a, title={A b}, doi={10.1000/X}}", "@misc{b, title={Else}, doi={https://doi.org/10.1000/x}}",
         "DOI 10.1000/x"),
        ("@misc{a, title={A b}, eprint={1706.03762v5}}", "@misc{b, title={Else}, note={arXiv:1706.03762v7}}",
         "arXiv:1706.03762v5, here 1706.03762v7"),
        ("@misc{a, title={A b}, eprint={1706.03762}}", "@misc{b, title={E}, doi={10.48550/arXiv.1706.03762}}",
         "arXiv:1706.03762"),
        ("@misc{a, title={The {G}{\\\"o}del--Machine}, author={M{\\\"u}ller, A.}}",
         "@misc{b, title={the gödel machine}, author={Anna Müller and B}}", "title"),
    ],
)  # fmt: skip
def test_a_paper_that_is_there_is_told_by_doi_arxiv_identifier_and_title(
    base: Base, there: str, new: str, why: str
) -> None:
    base.write({BIB: SOUND[BIB] + there})
    made = planned(base, new)
    assert [(one.status, [(twin.key, twin.why) for twin in one.twins]) for one in made.additions] == [
        (Status.UNDECIDED, [("a", why)])
    ]
    assert not made.changes.files


def test_one_title_of_two_authors_is_of_two_papers(base: Base) -> None:
    base.write({BIB: SOUND[BIB] + "@book{a, title={Logic}, author={Ann A}}"})
    assert added(base, "@book{b, title={Logic}, author={Bo B}}").of(Status.ADDED)


def test_what_becomes_of_a_paper_that_is_there_is_chosen(base: Base) -> None:
    there = "@misc{a, % mine\n  title = {A b},\n  doi = {10.1000/x}\n}\n\nforeign text\n"
    base.write({BIB: there + SOUND[BIB]})
    new = "@article{a, title={A B}, doi={10.1000/x}, journal={J}, year=2020, keywords={k}}\n"
    assert not planned(base, new, Choice.SKIP).changes.files
    both = planned(base, new, Choice.KEEP_BOTH).changes.files[BIB].after or ""
    assert both.startswith(there + SOUND[BIB].rstrip())
    assert "@article{aa, title={A B}" in both
    added(base, new, Choice.MERGE)
    assert bib(base) == there.replace("{10.1000/x}\n", "{10.1000/x},\n  journal = {J},\n  year = {2020}\n") + SOUND[BIB]


def test_fields_are_put_where_no_comment_takes_them() -> None:
    assert amending.with_fields("@misc{a, title={A} % x\n}", {"doi": "10.1000/x"}) == (
        "@misc{a,\n  doi = {10.1000/x}, title={A} % x\n}"
    )
    assert amending.with_fields("@misc(a, title={A})", {"year": "1"}) == "@misc(a, title={A},\n  year = {1}\n)"
    assert amending.with_fields("@misc{a}", {"year": "1"}) == "@misc{a,\n  year = {1}\n}"


@pytest.mark.parametrize(
    ("written", "changed"),
    [
        ("@misc{a, title = {A {B} c}, year = 2020}", "@misc{a, title = {A {B} c}, year = {1}}"),
        ('@misc{a,\n  year = "20{"}20" % why\n}', "@misc{a,\n  year = {1} % why\n}"),
        ("@misc{a,\n  Year = 2020\n}", "@misc{a,\n  Year = {1}\n}"),
        ('@misc(a, year = jan # "x", title = {year = 2})', "@misc(a, year = {1}, title = {year = 2})"),
        ("@misc{a, title = {\\} b {c}}, year={2020}}", "@misc{a, title = {\\} b {c}}, year={1}}"),
        ("@misc{a, year = {2020} # jan}", "@misc{a, year = {2020} # jan}"),
        ("@misc{a, title = {T}}", "@misc{a, title = {T}}"),
    ],
)
def test_a_value_is_changed_and_nothing_else(written: str, changed: str) -> None:
    assert amending.with_value(written, "year", "1") == changed


def test_a_source_is_compared_with_itself_and_a_second_time_changes_nothing(base: Base) -> None:
    text = "@misc{a, title={A b}, doi={10.1000/x}}\n@misc{b, title={Else}, doi={10.1000/X}}\n@misc{c, title={C}}"
    made = added(base, text)
    assert [one.status for one in made.additions] == [Status.ADDED, Status.UNDECIDED, Status.ADDED]
    again = planned(base, text)
    assert not again.changes.files
    assert [one.status for one in again.additions] == [Status.THERE, Status.UNDECIDED, Status.THERE]


# Keys


def test_keys_are_unique_whatever_their_case_and_lead_parents_along(base: Base) -> None:
    text = (
        "@inproceedings{Toy2020, title={A paper}, crossref = {procs}}\n@proceedings{procs, title={Procs}}\n"
        "@misc{toy2020, title={Third}}\n@misc{, title={Of nobody}, year=2020}\n@misc{toy2020, title={Third, too}}\n"
    )
    base.write({BIB: SOUND[BIB] + "@book{procs, title={Other}}\n"})
    made = added(base, text, cards=True)
    assert [one.key for one in made.additions] == ["Toy2020a", "procsa", "toy2020b", "anonymous2020nobody", "toy2020c"]
    library = base.library()
    paper = next(one for one in library.papers.values() if one.card.cite == "Toy2020a")
    assert paper.reference.fields["booktitle"] == "Procs"
    # Proceedings are no paper.
    assert [one.slug for one in made.additions if one.key == "procsa"] == [""]


def test_entries_that_are_there_get_the_cards_that_they_lack(base: Base) -> None:
    base.write({BIB: SOUND[BIB] + "\n@misc{a, title={A thing}}\n"})
    made = added(base, bib(base), cards=True)
    assert made.changes.said == "there already: 2; made the card `thing`"
    assert list(base.library().papers) == ["thing", "toy"]


def test_line_ends_and_foreign_text_stay(base: Base) -> None:
    base.write({BIB: "% mine\r\n" + SOUND[BIB].replace("\n", "\r\n") + "@comment{jabref}\r\n"})
    before = bib(base)
    added(base, "@misc{a,\n title={A}}\n")
    assert bib(base) == before + "\r\n@misc{a,\r\n title={A}}\r\n"


# The command


def test_the_command_adds_and_says_so(base: Base, inside: Inside) -> None:
    (base.root / "in.bib").write_text("@misc{a, title={A thing}, doi={10.1000/x}}\n")
    diff = inside("add", "in.bib", "--dry-run")
    assert (diff.returncode, diff.stderr) == (0, "")
    assert "+@misc{a, title={A thing}" in diff.stdout
    assert "+cite: a" in diff.stdout
    done = inside("add", "in.bib")
    assert (done.returncode, done.stdout, done.stderr) == (0, "added a, with a card `thing`\n", "")
    assert inside("add", "in.bib").stdout == "there already: a\n"
    (base.root / "in.bib").write_text("@misc{b, title={B}, doi={10.1000/X}}\n@misc{c, title={C}}@misc{d, title={D\n")
    told = inside("add", "in.bib", "--json")
    assert told.returncode == 1
    read = json.loads(told.stdout)
    assert [(one["key"], one["status"]) for one in read["entries"]] == [("a", "undecided"), ("c", "added")]
    assert read["entries"][0]["same"] == [{"key": "a", "title": "A thing", "why": "DOI 10.1000/x"}]
    assert [(one["file"], one["line"]) for one in read["unread"]] == [("in.bib", 2)]
    shown = inside("add", "in.bib")
    assert (
        "in.bib:1:1: there already: a (DOI 10.1000/x): B\nthis entry was not added\n  hint: say --merge" in shown.stderr
    )
    made = inside("add", "c")
    assert (made.returncode, made.stdout) == (0, "made the card c\n")
    assert "`c` has a card, `c`" in inside("add", "c").stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("nothing.bib",), "there is no file `nothing.bib`"),
        (("papers",), "papers is a folder"),
        (("--merge", "--skip", BIB), "exclude each other"),
        (("-",), "standard input:1:1: this is empty"),
    ],
)
def test_a_misuse_is_told(base: Base, inside: Inside, arguments: tuple[str, ...], problem: str) -> None:
    # What stands on standard input needs one of its own.
    refused = (base.quaere if "-" in arguments else inside)("add", *arguments)
    assert refused.returncode in (1, 2)
    assert problem in refused.stderr
    assert "hint: " in refused.stderr
    assert refused.stdout == ""


def test_the_first_entry_makes_the_bibliography(tmp_path: Path) -> None:
    base = Base(tmp_path)
    (tmp_path / "papers").mkdir()
    assert added(base, "@misc{a, title={A}}", cards=True).changes.said == "added a, with a card `a`"


def test_a_kill_at_any_write_of_add_leaves_before_or_after(make_base: Callable[[str], Base]) -> None:
    text = "@misc{a, title={A thing}}\n@misc{b, title={B\n"

    def files(base: Base) -> dict[str, bytes]:
        base.project  # the next command  # noqa: B018
        return {path: text for path, (text, _) in base.files().items() if not path.startswith(".quaere/")}

    whole = make_base("whole")
    before = files(whole)
    added(whole, text, cards=True)
    after = files(whole)
    assert len(after) == len(before) + 2
    for number in range(1, 99):
        base = make_base(f"killed{number}")
        was_killed = killed_at(number, base.root, lambda base=base: added(base, text, cards=True))  # type: ignore[misc]
        assert files(base) in ((before, after) if was_killed else (after,))
        if not was_killed:
            break
    assert 10 < number < 99


# Round trips


WORDS = st.text(st.sampled_from(list("abcXYZ  019-–.,:;'\"!?()/&%#_<>@+*=äößéø中Ω`{}\\~^")), max_size=24).map(
    lambda text: " ".join(text.split())
)
TEXT = WORDS.filter(lambda text: any(sign.isalnum() for sign in text))
LETTERS = st.sampled_from(
    ["Maker", "Müller", "García Márquez", "O’Neil", "de la Cruz", "III", "Ng", "Li and Co", "A, B"]
)
DATE = st.dates().map(lambda day: [day.year, day.month, day.day]).flatmap(
    lambda day: st.integers(1, 3).map(lambda count: day[:count])
).filter(lambda day: day[0] > 99)  # fmt: skip
NAME = st.one_of(
    st.builds(lambda family, given: {"family": family, "given": given}, LETTERS, LETTERS),
    st.builds(lambda name: {"literal": name}, TEXT.filter(lambda text: text.casefold() not in ("others", "et al."))),
)
ITEMS = st.fixed_dictionaries(
    {"type": st.sampled_from(sorted(csl_json.KINDS)), "title": TEXT},
    optional={
        "author": st.lists(NAME, min_size=1, max_size=3),
        "editor": st.lists(NAME, min_size=1, max_size=2),
        "issued": DATE.map(lambda day: {"date-parts": [day]}),
        "accessed": DATE.map(lambda day: {"date-parts": [day]}),
        "container-title": TEXT, "publisher": TEXT, "publisher-place": TEXT, "volume": TEXT, "issue": TEXT,
        "number": TEXT, "collection-title": TEXT, "edition": TEXT, "abstract": TEXT, "note": TEXT, "genre": TEXT,
        "language": st.sampled_from(["en-US", "de-DE"]), "page": st.sampled_from(["1", "1-9", "S1-S9", "1-3, 5"]),
        "DOI": st.just("10.1000/x(1)<2>"), "URL": st.just("https://example.org/~a_b?c=%20&d#e"),
        "ISBN": st.just("978-3-16-148410-0"), "custom": TEXT,
    },
)  # fmt: skip


def reference_of(made: object) -> Found:
    (found,) = of_made([made])  # type: ignore[list-item]
    assert isinstance(found, Found), found
    return found


@settings(max_examples=30, deadline=None)
@given(ITEMS)
def test_an_item_of_csl_json_comes_back(item: dict[str, object]) -> None:
    def there_and_back(item: dict[str, object]) -> dict[str, object]:
        (made,) = csl_json.read(json.dumps([item]), "x")
        return csl.item(reference_of(made).reference)

    back = there_and_back(item)
    assert there_and_back(back) == back
    plain = {name: value for name, value in item.items() if isinstance(value, str) and name in back}
    kept = {name: value.replace("–", "-") if name == "page" else value for name, value in plain.items()}
    assert {name: back[name] for name in kept if name != "type"} == {
        name: value for name, value in kept.items() if name != "type"
    }
    assert {"title", *(name for name in ("author", "issued", "accessed") if name in item)} <= back.keys()
    # What has no place in CSL stands in a field of its own.
    fields = reference_of(next(iter(csl_json.read(json.dumps([item]), "x")))).reference.fields
    assert set(item) <= {*back, *(name.removeprefix("csl-") for name in fields)}


@settings(max_examples=30, deadline=None)
@given(ITEMS)
def test_a_record_of_ris_comes_back(item: dict[str, object]) -> None:
    def there_and_back(record: str) -> str:
        (made,) = ris.read(record, "x")
        return ris_out.record(reference_of(made).reference)

    (made,) = csl_json.read(json.dumps([item]), "x")
    record = ris_out.record(reference_of(made).reference)
    # A comma parts a name.
    assume(not re.search(r"^A[U23]  - (?!(A, B|.*[^,], [^,]+$)).*,", record, re.MULTILINE))
    assert sorted(there_and_back(record).splitlines()) == sorted(record.splitlines())


@settings(max_examples=30, deadline=None)
@example({"title": "a--b ``c'' !`d ?`e ~f ^g {h} \\i 5$ #j &k_l 6%", "note": "---"})
@given(st.dictionaries(st.sampled_from(["title", "note", "journal", "series"]), TEXT, min_size=1))
def test_text_comes_back_from_bibtex(fields: dict[str, str]) -> None:
    assume(not any(re.search(r"\$([A-Za-z]\$|[^$]*[\\^_=][^$]*\$)", text) for text in fields.values()))
    book = Bibliography(entries.bibtex("misc", "a", fields), "x")
    assert book.references(["a"])[0]["a"].fields == fields


# On a terminal

SEVERAL = """\
@article{one, title = {Toys of Wood}, author = {Maker, Ann}, doi = {10.1000/TOYS}, volume = {3}}
@article{two, title = {On a new  toy}, author = {Turner, Bo}, note = {mine}}
@article{three, title = {Toys}, author = {Maker, Ann}, volume = {7}}
@article{four, title = {Quite another}, author = {Winder, Cy}}
"""
THERE = """\
@article{toy2020, title = {Toys}, author = {Maker, Ann}, year = {2020}}
@article{wood2019, title = {Toys of {Wood}}, author = {Maker, Ann}, doi = {10.1000/toys}}
@misc{new2018, title = {On a New Toy}, author = {Turner, Bo}, year = {2018}}
"""


def _hears_keys() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # whatever started the tests


class Typist:
    """Somebody at a terminal in front of the command."""

    def __init__(self, base: Base, *arguments: str) -> None:
        self.screen = ""
        self._terminal, here = pty.openpty()
        program = "from quaere.cli import main; main()"
        environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "xterm"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdin=here, stdout=here, stderr=here, cwd=base.root, env=environment, start_new_session=True,
            preexec_fn=_hears_keys,
        )  # fmt: skip
        os.close(here)

    def sees(self, words: str) -> str:
        """Wait for words, and return what the screen showed up to them."""
        while (at := self.screen.find(words)) < 0:
            assert self._read(), self.screen
        seen, self.screen = self.screen[: at + len(words)], self.screen[at + len(words) :]
        return seen

    def types(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def is_answered(self, seconds: float) -> bool:
        """Tell whether the command writes more than the keys that it was given."""
        end = time.monotonic() + seconds
        while "\n" not in self.screen and time.monotonic() < end:
            if select.select([self._terminal], [], [], 0.1)[0] and not self._read():
                return True
        return "\n" in self.screen

    def leaves(self) -> int:
        """Return the exit code."""
        while self._read():
            pass
        os.close(self._terminal)
        return self._process.wait(60)

    def _read(self) -> bool:
        if not select.select([self._terminal], [], [], 30)[0]:
            self._process.kill()
            raise TimeoutError(self.screen)
        try:
            told = os.read(self._terminal, 1 << 16)
        except OSError:  # nobody is at the other end any more
            return False
        self.screen += told.decode().replace("\r\n", "\n")
        return bool(told)


def test_duplicates_are_listed_on_a_terminal_to_choose_from(base: Base) -> None:
    base.write({BIB: THERE, "more.bib": SEVERAL})
    before = (base.root / BIB).read_bytes()
    typist = Typist(base, "add", "more.bib")
    typist.sees("Make a card for each of 4 entries? [y/N]: ")
    typist.types("\n")
    choose = "[m]erge, [s]kip, [k]eep both; capitals: all [s]: "
    seen = typist.sees(choose)
    assert "more.bib:1:1: Toys of Wood (Maker)\n  there already as wood2019: Toys of Wood (DOI 10.1000/toys)\n" in seen
    typist.types("x\n")  # no choice
    typist.sees(choose)
    typist.types("m\n")
    assert "more.bib:2:1: On a new toy (Turner)\n  there already as new2018: On a New Toy (" in typist.sees(choose)
    assert (base.root / BIB).read_bytes() == before  # until all is said
    typist.types("K\n")  # and so for the third
    assert typist.leaves() == 0, typist.screen
    assert "merged: wood2019" in typist.screen
    book = (base.root / BIB).read_text()
    assert re.findall(r"@\w+\{(\w+)", book) == ["toy2020", "wood2019", "new2018", "two", "three", "four"]
    assert re.search(r"doi = \{10.1000/toys\},\s+volume = +\{3\}", book)
    assert sorted(base.library().papers) == ["toy"]


TWICE = """\
@misc{toy2020, title = {Toys of wood}, author = {Maker, Ann}, doi = {10.1000/toys}}
@misc{title, title = {On a new toy}, author = {Turner, Bo}, eprint = {2101.00001}, archiveprefix = {arXiv}}
@misc{other, title = {On a New Toy}, author = {Turner, Bo}, year = {2018}}
"""
BOTH = """\
@misc{a, title = {On a new toy}, author = {Turner, Bo}, doi = {10.1000/toys}, note = {A}}
@misc{b, title = {On a new toy!}, author = {Turner, Bo}, note = {B}}
@misc{c, title = {Toys of wood}, author = {Maker, Ann}, doi = {10.1000/toys}, note = {C}}
"""


def notes(base: Base) -> dict[str, str]:
    """Return the note of each entry by its key."""
    book = Bibliography(bib(base), BIB)
    return {key: book.values(entry).get("note", "") for key, entry in book.entries.items()}


@pytest.mark.parametrize("arguments", [(), ("--merge",)])
def test_nothing_is_merged_with_one_of_several(base: Base, inside: Inside, arguments: tuple[str, ...]) -> None:
    base.write({BIB: TWICE, "more.bib": BOTH})
    done = inside("add", "more.bib", "--no-card", *arguments)
    assert done.returncode == 1
    listed = "toy2020 (DOI 10.1000/toys); title (title); other (title)"
    assert f"more.bib:1:1: there already: {listed}: On a new toy\n" in done.stderr
    assert "more.bib:2:1: there already: title (title); other (title): On a new toy!\n" in done.stderr
    assert "not added\n  hint: say --merge, --skip or --keep-both; of several, choose one by --into KEY" in done.stderr
    # What is there but once is not in doubt.
    assert bib(base) == (TWICE if not arguments else TWICE.replace("toys}}", "toys},\n  note = {C}\n}"))
    told = json.loads(inside("add", "more.bib", "--no-card", *arguments, "--json").stdout)["entries"]
    assert [(one["key"], one["status"]) for one in told[:2]] == [(None, "undecided")] * 2
    assert [[same["key"] for same in one["same"]] for one in told[:2]] == [
        ["toy2020", "title", "other"],
        ["title", "other"],
    ]


def test_one_of_several_is_named(base: Base, inside: Inside) -> None:
    base.write({BIB: TWICE, "more.bib": BOTH})
    # Both of two that are named may be the first's.
    done = inside("add", "more.bib", "--no-card", "--into", "other", "--into", "toy2020")
    assert (done.returncode, done.stdout) == (1, "merged: 2\n")
    assert notes(base) == {"toy2020": "C", "title": "", "other": "B"}
    done = inside("add", "more.bib", "--no-card", "--into", "title", "--skip")
    assert (done.returncode, done.stdout) == (0, "merged: 2; there already: toy2020\n")
    before = bib(base)
    refused = inside("add", "more.bib", "--into", "titel")
    assert (refused.returncode, bib(base)) == (2, before)
    assert "the same paper as `titel`\n  hint: did you mean `title`?" in refused.stderr


def test_several_are_listed_on_a_terminal_to_choose_from(base: Base) -> None:
    both = BOTH.replace(", doi = {10.1000/toys}, note = {A}", ", note = {A}")
    base.write({BIB: TWICE, "more.bib": both + both.replace("{a,", "{d,").replace("{b,", "{e,").replace("{c,", "{f,")})
    typist = Typist(base, "add", "more.bib", "--no-card")
    choose = "merge with one of them (1-2), [s]kip, [k]eep as a new entry; capitals: all [s]: "
    seen = typist.sees(choose)
    assert seen.endswith(
        "\nmore.bib:1:1: On a new toy (Turner)\n"
        f"  1. title: On a new toy (title)\n  2. other: On a New Toy (title)\n{choose}"
    )
    for wrong in ("0", "3", "m", "1 2", "-1"):
        typist.types(f"{wrong}\n")
        typist.sees(choose)
    typist.types("2\n")
    typist.sees(choose)
    typist.types("k\n")
    typist.sees("[m]erge, [s]kip, [k]eep both; capitals: all [s]: ")
    typist.types("M\n")
    # That all are to be merged says nothing of several; and now there is one more.
    assert "more.bib:4:1" in typist.sees("(1-3), [s]kip, [k]eep as a new entry; capitals: all [s]: ")
    typist.types("S\n")
    assert typist.leaves() == 0, typist.screen
    assert typist.screen.endswith("added b; merged: 2; skipped: title; there already: 2\n")
    assert notes(base) == {"toy2020": "C", "title": "", "other": "A", "b": "B"}
