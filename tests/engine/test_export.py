"""What is exported reads back: BibTeX by two readers, CSL-JSON by its schema and a processor, RIS by its form."""

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import citeproc.source.json
import pybtex.database
import pytest
from bibtexparser.entrypoint import parse_string
from hypothesis import given, settings
from hypothesis import strategies as st

from quaere.content.bibliography import export, kinds
from quaere.content.bibliography.bibtex import Bibliography
from quaere.content.bibliography.reference import Reference

REAL = (Path(__file__).parents[2] / "papers/references.bib").read_text(encoding="utf-8")

NASTY = r"""
@string{acm = {Association for Computing Machinery}}
@comment{a comment}
@preamble{"\newcommand{\noop}[1]{}"}

@InProceedings{accents2020,
  AUTHOR    = "Maker, {\'E}l{\'e}onore and {\L}ukasz Kaiser and Jos{\'e} {de la} Cruz and G{\"o}del, Kurt",
  title     = {{{\"U}ber} {DNA} and $O(n^2)$: \emph{all} \& ``more'' --- 100\% of it
               over two   lines},
  booktitle = acm,
  month     = sep,
  year      = 2020,
  pages     = "10--20",
}

@misc{team2021,
  author       = {{Google Brain} and {Barnes and Noble} and others},
  title        = {{A} "quoted" {"}title{"}, with \{braces\} and # and @ and , and =},
  year         = {2021},
  eprint       = {2101.00001v2},
  archiveprefix = {arXiv},
  primaryclass = {cs.LG},
  note         = {Kept: {nested {braces {deep}}}},
}

@book{editors1999,
  editor    = {van der Berg, Jan and King, Jr., Martin Luther},
  title     = {Toys \textit{and} games},
  publisher = {North-Holland},
  address   = {Amsterdam},
  isbn      = {978-3-16-148410-0},
  series    = {Lecture Notes},
  volume    = 3,
  year      = 1999,
}

@phdthesis{thesis1991, author = {Sepp Hochreiter}, title = {Untersuchungen}, school = {TU M\"unchen}, year = 1991}

@techreport{report1986, author = {A. B. Maker}, title = {T}, institution = {MIT}, number = {12}, year = {1986}}

@article{key+odd:2000/x.y-z_1,
  author = {Maker, Ann},
  title  = {Odd key},
  journal = {J. Toys},
  number = {4},
  doi    = {10.1000/(SICI)1097\_0258<1::AID>3.0.CO;2-A},
  url    = {https://example.org/~ann/a%20b?x=1&y=2#top},
  issn   = {1234-5678},
  key    = {a field called key},
  kind   = {a field called kind},
  year   = {2000},
}

@online{online2022, author = {Maker, Ann}, title = {On line}, url = {https://example.org}, year = {2022}}
"""


def references(text: str) -> list[Reference]:
    book = Bibliography(text, "references.bib")
    found, faults = book.references(book.entries)
    assert not [*book.faults, *faults]
    return list(found.values())


def plain(text: str) -> str:
    return " ".join(text.split())


def read_by_bibtexparser(text: str) -> dict[str, tuple[str, dict[str, str]]]:
    library = parse_string(text)
    assert not library.failed_blocks
    months = {"sep": "September"}  # which this reader leaves as they are
    return {
        entry.key: (
            entry.entry_type,
            {field.key.lower(): plain(months.get(str(field.value), str(field.value))) for field in entry.fields},
        )
        for entry in library.entries
    }


def read_by_pybtex(text: str) -> pybtex.database.BibliographyData:
    return pybtex.database.parse_string(text, "bibtex")


@pytest.mark.parametrize("text", [REAL, NASTY], ids=["real", "nasty"])
def test_bibtex_reads_back_equal_by_bibtexparser(text: str) -> None:
    written = read_by_bibtexparser(export.bibtex(references(text)))
    assert written == read_by_bibtexparser(text)
    assert len(written) >= 7


@pytest.mark.parametrize("text", [REAL, NASTY], ids=["real", "nasty"])
def test_bibtex_reads_back_equal_by_pybtex(text: str) -> None:
    written, original = read_by_pybtex(export.bibtex(references(text))), read_by_pybtex(text)
    assert list(written.entries) == list(original.entries)
    for key, entry in original.entries.items():
        assert written.entries[key].type == entry.type
        assert {name.lower(): plain(value) for name, value in written.entries[key].fields.items()} == {
            name.lower(): plain(value) for name, value in entry.fields.items()
        }
        assert written.entries[key].persons == {role.lower(): people for role, people in entry.persons.items()}


@pytest.mark.parametrize("text", [REAL, NASTY], ids=["real", "nasty"])
def test_what_was_exported_is_exported_the_same_again(text: str) -> None:
    once = references(text)
    again = references(export.bibtex(once))
    for form in export.FORMATS.values():
        assert form(again) == form(once)


# CSL-JSON


def schema(name: str) -> set[str]:
    """Return the words that a part of the CSL schema lists, as the citeproc package ships it."""
    text = (files("citeproc") / f"data/schema/schemas/styles/{name}.rnc").read_text()
    return set(re.findall(r'"([\w-]+)"', re.sub(r"^namespace.*$", "", text, flags=re.MULTILINE)))


TYPES, VARIABLES = schema("csl-types"), schema("csl-variables")
NAMES = {"author", "editor"}
PARTS = {"family", "given", "suffix", "dropping-particle", "non-dropping-particle"}


def csl(text: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(export.csl_json(references(text)))
    return items


def test_the_schema_was_read() -> None:
    assert {"article-journal", "paper-conference", "document"} <= TYPES
    assert {"container-title", "DOI", "issued", "author"} <= VARIABLES
    assert not {"journal", "inproceedings"} & (TYPES | VARIABLES)


@pytest.mark.parametrize("text", [REAL, NASTY], ids=["real", "nasty"])
def test_csl_json_holds_types_and_variables_of_the_schema_in_its_forms(text: str) -> None:
    for item in csl(text):
        assert item.pop("type") in TYPES
        assert re.fullmatch(r"\S+", item.pop("id"))
        assert set(item) <= VARIABLES
        for name, value in item.items():
            if name in NAMES:
                assert value
                assert all(set(one) == {"literal"} or (set(one) <= PARTS and "family" in one) for one in value)
                assert all(isinstance(part, str) and part for one in value for part in one.values())
            elif name == "issued":
                assert set(value) == {"date-parts"}
                assert {type(part) for date in value["date-parts"] for part in date} == {int}
            else:
                assert isinstance(value, str), name
                assert value, name


@pytest.mark.parametrize("kind", ["", *kinds.KINDS])
def test_every_kind_of_entry_has_a_type_of_the_schema(kind: str) -> None:
    (item,) = csl(f"@{kind or 'unheardof'}{{toy2020, title = {{T}}}}\n")
    assert item["type"] in TYPES
    assert (item["type"] == "document") is (kind in ("", "misc", "set"))


@pytest.mark.parametrize("text", [REAL, NASTY], ids=["real", "nasty"])
def test_a_citation_processor_reads_csl_json(text: str) -> None:
    items = csl(text)
    read = citeproc.source.json.CiteProcJSON(items)  # a warning would be an error here
    for item in items:
        one = read[item["id"].lower()]
        assert one.type == item["type"].replace("-", "_") or one.type == item["type"]
        assert str(one["title"]) == item["title"]
        if "issued" in item:
            assert one["issued"].year == item["issued"]["date-parts"][0][0]
        assert len(one.get("author", [])) == len(item.get("author", []))


def test_csl_json_says_what_the_entry_says() -> None:
    items = {item["id"]: item for item in csl(NASTY)}
    accents, team, editors = items["accents2020"], items["team2021"], items["editors1999"]
    assert accents == {
        "id": "accents2020",
        "type": "paper-conference",
        "title": "Über DNA and O(n<sup>2</sup>): <i>all</i> & “more” — 100% of it over two lines",
        "author": [
            {"family": "Maker", "given": "Éléonore"},
            {"family": "Kaiser", "given": "Łukasz"},
            {"family": "Cruz", "given": "José de la"},
            {"family": "Gödel", "given": "Kurt"},
        ],
        "issued": {"date-parts": [[2020, 9]]},
        "container-title": "Association for Computing Machinery",
        "page": "10-20",
    }
    assert team["author"] == [{"literal": "Google Brain"}, {"literal": "Barnes and Noble"}, {"literal": "et al."}]
    assert (team["type"], team["number"], team["note"]) == ("article", "arXiv:2101.00001v2", "Kept: nested braces deep")
    assert team["title"] == 'A "quoted" "title", with {braces} and # and @ and , and ='
    assert editors["editor"] == [
        {"family": "Berg", "given": "Jan", "dropping-particle": "van der"},
        {"family": "King", "given": "Martin Luther", "suffix": "Jr."},
    ]
    assert (editors["publisher"], editors["publisher-place"], editors["ISBN"], editors["volume"]) == (
        ("North-Holland", "Amsterdam", "978-3-16-148410-0", "3")
    )
    assert (items["thesis1991"]["type"], items["thesis1991"]["publisher"]) == ("thesis", "TU München")
    odd = items["key+odd:2000/x.y-z_1"]
    assert odd["DOI"] == "10.1000/(SICI)1097_0258<1::AID>3.0.CO;2-A"
    assert odd["URL"] == "https://example.org/~ann/a%20b?x=1&y=2#top"


# JSON


def test_json_has_the_fields_of_the_bibliography_and_names_as_text() -> None:
    items = {item["key"]: item for item in json.loads(export.plain_json(references(NASTY)))}
    assert items["report1986"] == {
        "key": "report1986",
        "kind": "techreport",
        "author": ["A. B. Maker"],
        "editor": [],
        "title": "T",
        "institution": "MIT",
        "number": "12",
        "year": "1986",
    }
    assert items["key+odd:2000/x.y-z_1"]["kind"] == "article", "a field of that name does not cover it"


def test_json_is_written_as_people_read_it() -> None:
    text = export.plain_json(references(NASTY))
    assert "Éléonore" in text
    assert text.endswith("]\n")


# RIS


def ris(text: str) -> list[list[tuple[str, str]]]:
    """Read RIS by its form: a tag of two characters, two spaces, a hyphen, a space, a value; TY first and ER last."""
    records: list[list[tuple[str, str]]] = []
    for line in export.ris(references(text)).splitlines():
        if not line:
            continue
        match = re.fullmatch(r"([A-Z][A-Z0-9])  - (.*)", line)
        assert match, line
        if match[1] == "TY":
            records.append([])
        records[-1].append((match[1], match[2]))
    return records


@pytest.mark.parametrize("text", [REAL, NASTY], ids=["real", "nasty"])
def test_ris_has_its_form_and_a_record_for_each_reference(text: str) -> None:
    records = ris(text)
    assert [dict(record)["ID"] for record in records] == [one.key for one in references(text)]
    for record in records:
        tags = [tag for tag, _ in record]
        assert (tags[0], tags[-1], tags.count("TY"), tags.count("ER")) == ("TY", "ER", 1, 1)
        assert {tag for tag in tags if tags.count(tag) > 1} <= {"AU", "A3", "N1"}
        assert record[-1] == ("ER", "")
        assert all(value == plain(value) for tag, value in record), "a value is one line"
        assert all(value for tag, value in record if tag != "ER")


def test_ris_says_what_the_entry_says() -> None:
    records = {dict(record)["ID"]: record for record in ris(NASTY)}
    assert records["accents2020"] == [
        ("TY", "CPAPER"),
        ("AU", "Maker, Éléonore"),
        ("AU", "Kaiser, Łukasz"),
        ("AU", "Cruz, José de la"),
        ("AU", "Gödel, Kurt"),
        ("TI", "Über DNA and O(n²): all & “more” — 100% of it over two lines"),
        ("T2", "Association for Computing Machinery"),
        ("PY", "2020"),
        ("DA", "2020/09//"),
        ("SP", "10"),
        ("EP", "20"),
        ("ID", "accents2020"),
        ("ER", ""),
    ]
    assert dict(records["team2021"])["TY"] == "UNPB"
    assert dict(records["online2022"])["TY"] == "ELEC"
    assert records["editors1999"][1:3] == [("A3", "van der Berg, Jan"), ("A3", "King, Martin Luther, Jr.")]
    assert dict(records["editors1999"])["SN"] == "978-3-16-148410-0"


# Any names and titles

WORDS = st.text(st.sampled_from("abcXYZ éßŁ.-'&%$#_~\\{}\"@,=`"), max_size=20).map(plain)


def escaped(text: str) -> str:
    """Write text as LaTeX has it."""
    special = {"\\": r"{\textbackslash}", "~": r"{\textasciitilde}", "`": "{`}", "'": "{'}"}
    return "".join(special.get(one) or (f"\\{one}" if one in "&%$#_{}" else one) for one in text).replace("-", "{-}")


@settings(deadline=None, derandomize=True)
@given(title=WORDS)
def test_any_title_survives_every_format(title: str) -> None:
    (one,) = references(f"@misc{{toy2020, title = {{{escaped(title)}}}}}\n")
    assert one.title == (title or "toy2020")
    assert read_by_bibtexparser(one.sources["toy2020"]) == read_by_bibtexparser(
        f"@misc{{toy2020, title = {{{escaped(title)}}}}}\n"
    )
    assert json.loads(export.csl_json([one]))[0]["title"] == one.title
    assert json.loads(export.plain_json([one]))[0]["title"] == title
    assert f"TI  - {title}\n" in export.ris([one]) or not title
