"""Bibliographies beside what other programs read in them, field by field: pandoc, pybtex, bibtexparser, rispy.

The files under bibliographies/ were written for this. Where another program is wrong, the right value stands here.
"""

import functools
import json
from pathlib import Path
from typing import Any

import pybtex.database
import pybtex.errors
import pypandoc
import pytest
import rispy
from bibtexparser.entrypoint import parse_string

from quaere.content.bibliography import export
from quaere.content.bibliography.bibtex import Bibliography
from quaere.content.bibliography.reference import Reference

FILES = {path.stem: path for path in (Path(__file__).parent / "bibliographies").glob("*.bib")}
DIALECTS = {"bibtex": "bibtex", "biblatex": "biblatex", "better-biblatex": "biblatex", "exports": "bibtex"}


def text(name: str) -> str:
    return FILES[name].read_text(encoding="utf-8")


@functools.cache
def references(written: str) -> dict[str, Reference]:
    book = Bibliography(written, "references.bib")
    found, faults = book.references(book.entries)
    assert not [str(fault) for fault in (*book.faults, *faults)]
    return found


@functools.cache
def by_pandoc(written: str, dialect: str) -> dict[str, dict[str, Any]]:
    read = json.loads(pypandoc.convert_text(written, "csljson", format=dialect))
    return {item["id"]: item for item in read}


def by_us(written: str) -> dict[str, dict[str, Any]]:
    return {item["id"]: item for item in json.loads(export.csl_json(references(written).values()))}


def test_each_file_has_a_dialect() -> None:
    assert FILES.keys() == DIALECTS.keys()


# Pandoc's own: its apostrophes are typographic, and its English titles in sentence case.
def alike(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: alike(part) for name, part in value.items()}
    if isinstance(value, list):
        return list(map(alike, value))
    return value.replace("’", "'").replace("\u00a0", " ").casefold().strip() if isinstance(value, str) else value


OTHERS = {"literal": "et al."}
JANE = {"family": "Doe", "given": "Jane"}

# The right values, by key and variable, where pandoc has another or none. None stands for none.
BETTER: dict[str, dict[tuple[str, str], Any]] = {
    "biblatex": {
        # BibLaTeX: a book in a set inherits its authors as authors.
        ("volume", "container-author"): None,
        ("suppbook", "container-title"): "Outer",
        ("suppcollection", "container-title"): "Collected",
        ("misc", "type"): "document",
        ("patent", "authority"): [{"literal": "Thing Corp."}],
        ("standard", "type"): "standard",
        ("many", "author"): [JANE, {"family": "Roe", "given": "Rik"}, OTHERS],
        ("many", "page"): "e1234",
        ("pubmed", "PMID"): "12345678",
        # CSL counts seasons from 1.
        ("season", "issued"): {"date-parts": [[2020]], "season": 1},
        # To pandoc É and Đ in braces are small letters, and so particles.
        ("inproceedings", "author"): [
            {"family": "Hasan", "given": "Ali", "non-dropping-particle": "al-"},
            {"family": "Galois", "given": "Évariste", "non-dropping-particle": "de"},
        ],
        ("accents", "author"): [
            {"family": "Čapek", "given": "Karel"},
            {"family": "Erdős", "given": "Pál"},
            {"family": "Ångström", "given": "Anders"},
            {"family": "Łukasz", "given": "Søren"},
            {"family": "Şahin", "given": "Đorđe"},
            {"family": "Nguyễn", "given": "Văn"},
        ],
    },
    "bibtex": {
        ("inbook", "issued"): {"date-parts": [[1973, 1, 10]]},
        ("manual", "issued"): {"date-parts": [[1986, 4], [1986, 5]]},
        ("masters", "author"): [{"family": "Masterly", "given": "Édouard"}],
        ("masters", "issued"): {"date-parts": [[1988, 6], [1988, 8]]},
        ("misc", "type"): "document",
        ("unpub", "issued"): {"date-parts": [[1988, 11], [1988, 12]]},
        ("spans", "issued"): {"date-parts": [[1971], [1974]]},
        ("press", "issued"): {"literal": "in press"},
        ("idiom", "issued"): {"date-parts": [[1968], [1990]]},
        ("conference", "author"): [
            {"family": "Wang", "given": "Tao"},
            {"family": "Cruz", "given": "Ana María", "dropping-particle": "de la"},
        ],
        ("conference", "container-title"): "Annual ACM Symposium on the Theory of Computing",
        ("conference", "issued"): {"date-parts": [[2004, 5, 10]]},
        ("conference", "type"): "paper-conference",
        ("journal", "author"): [{"family": "Vaswani", "given": "A."}, OTHERS],
        ("preprint", "number"): "arXiv:2001.00001",
        ("preprint", "type"): "article",
        ("identifiers", "DOI"): "10.1002/(SICI)1097-0258(19980815)17:15<1661::AID-SIM968>3.0.CO;2-2",
        ("identifiers", "URL"): "https://example.org/~doe/a_b",
        ("identifiers", "title"): "From β-sheets to CO<sub>2</sub>",
        ("tech", "title"): "An O(n log n / log log n) Sorting Algorithm",
    },
    "exports": {
        ("DBLP:journals/corr/VaswaniSPUJGKP17", "author"): [
            {"family": "Vaswani", "given": "Ashish"},
            {"family": "Shazeer", "given": "Noam"},
            {"family": "Jones", "given": "Llion"},
            {"family": "Kaiser", "given": "Łukasz"},
        ],
        # Nobody comments out half of an abstract.
        ("10.1145/3292500.3330701", "abstract"): (
            "The purpose of this study is to introduce new design-criteria for 50% of next-generation hyperparameter "
            "optimization software. a_b $5"
        ),
        ("10.1145/3292500.3330701", "event-place"): "Anchorage, AK, USA",
        ("10.1145/3292500.3330701", "title-short"): None,
        ("9451544", "issue"): None,
        ("9451544", "title"): "A k-NN Survey",
        ("2016PhRvL.116f1102A", "container-title"): "Physical Review Letters",
        ("Hochreiter1997", "URL"): "http://www.mitpressjournals.org/doi/abs/10.1162/neco.1997.9.8.1735#.V_x",
        ("Hochreiter1997", "annote"): "From Duplicate 1 (LSTM) Nice one.",
        ("https://doi.org/10.48550/arxiv.1412.6980", "number"): "arXiv:1412.6980",
        ("https://doi.org/10.48550/arxiv.1412.6980", "title-short"): None,
        ("https://doi.org/10.48550/arxiv.1412.6980", "type"): "article",
    },
    "better-biblatex": {
        ("kingma_adam_2017", "number"): "arXiv:1412.6980",
        ("kingma_adam_2017", "type"): "article",
    },
}


@pytest.mark.parametrize("name", FILES)
def test_csl_json_says_what_pandoc_reads(name: str) -> None:
    ours, theirs = by_us(text(name)), by_pandoc(text(name), DIALECTS[name])
    better = dict(BETTER[name])
    assert theirs.keys() <= ours.keys()
    for key, item in theirs.items():
        # CSL 1.0.2 calls `event` event-title.
        read = {"event-title" if variable == "event" else variable: value for variable, value in item.items()}
        for variable in {*read, *ours[key]}:
            found = ours[key].get(variable)
            if (key, variable) in better:
                assert found == better.pop((key, variable)), (key, variable)
            else:
                assert alike(found) == alike(read.get(variable)), (key, variable)
    assert not better, "each exception is one"


@pytest.mark.parametrize("name", FILES)
def test_bibtex_goes_out_as_pandoc_read_it(name: str) -> None:
    dialect = DIALECTS[name]
    assert by_pandoc(export.bibtex(references(text(name)).values()), dialect) == by_pandoc(text(name), dialect)


def by_pybtex(written: str) -> pybtex.database.BibliographyData:
    # It complains of BibLaTeX's format of names, and goes on.
    with pybtex.errors.capture():
        return pybtex.database.parse_string(written, "bibtex")


def plain(value: str) -> str:
    return " ".join(value.split())


@pytest.mark.parametrize("name", FILES)
def test_bibtex_goes_out_as_pybtex_read_it(name: str) -> None:
    written, original = map(by_pybtex, (export.bibtex(references(text(name)).values()), text(name)))
    assert set(written.entries) == set(original.entries)
    for key, entry in original.entries.items():
        found = written.entries[key]
        assert found.type == entry.type
        assert {name.lower(): plain(value) for name, value in found.fields.items()} == {
            name.lower(): plain(value) for name, value in entry.fields.items()
        }
        assert found.persons == {role.lower(): people for role, people in entry.persons.items()}


@pytest.mark.parametrize("name", FILES)
def test_bibtex_goes_out_as_bibtexparser_reads_it(name: str) -> None:
    written = parse_string(export.bibtex(references(text(name)).values()))
    assert not written.failed_blocks
    # It takes a @commentary for a comment.
    assert {entry.key for entry in written.entries} == references(text(name)).keys() - {"commentary"}
    for entry in written.entries:
        own = references(text(name))[entry.key]
        assert {field.key for field in entry.fields} <= own.fields.keys()


@pytest.mark.parametrize("name", FILES)
def test_names_are_those_of_pybtex(name: str) -> None:
    """Where a name has particles or a suffix, programs part it differently; its words are the same."""
    for key, entry in by_pybtex(text(name)).entries.items():
        for role, people in entry.persons.items():
            if any("=" in str(person) or str(person) == "others" for person in people):
                continue
            theirs = [pybtex_words(person) for person in people]
            ours = [str(one).replace("\u00a0", " ").split() for one in references(text(name))[key].names[role.lower()]]
            assert [sorted(words) for words in ours] == [sorted(words) for words in theirs], (key, role)


def pybtex_words(person: pybtex.database.Person) -> list[str]:
    parts = (person.first_names, person.middle_names, person.prelast_names, person.last_names, person.lineage_names)
    latex = " ".join(word for part in parts for word in part)
    found = references(f"@misc{{k, title = {{{latex}}}}}")["k"].title
    return found.replace("\u00a0", " ").split()


# RIS


def by_rispy(written: str) -> dict[str, dict[str, Any]]:
    return {item["id"]: item for item in rispy.loads(export.ris(references(written).values()))}


@pytest.mark.parametrize("name", FILES)
def test_ris_says_what_csl_json_says(name: str) -> None:
    read, items = by_rispy(text(name)), by_us(text(name))
    assert list(read) == list(items)
    for key, item in items.items():
        reference, found = references(text(name))[key], read[key]
        assert "unknown_tag" not in found
        assert found["title"] == reference.title
        assert found.get("doi") == item.get("DOI")
        assert found.get("urls", [None])[0] == item.get("URL")
        assert found.get("volume") == reference.fields.get("volume")
        assert len(found.get("authors", ())) == len(item.get("author", ()))
        # Where it is: the year, or the words in its place.
        assert found.get("year", "") == reference_year(reference)
        first, last = found.get("start_page", ""), found.get("end_page", "")
        assert "-".join(filter(None, (first, last))) == (item.get("page") or item.get("number-of-pages", "")), key
        for variable, tag in (
            ("publisher", "publisher"),
            ("language", "language"),
            ("edition", "edition"),
            ("genre", "type_of_work"),
            ("number-of-volumes", "number_of_volumes"),
            ("collection-title", "tertiary_title"),
            ("abstract", "abstract"),
        ):
            if variable in item and variable != "abstract":
                assert plain(found[tag]) == item[variable], (key, variable)
        if "note" in item:
            assert set(found["notes"]) >= {reference.fields[one] for one in ("note",) if one in reference.fields}


def reference_year(reference: Reference) -> str:
    if not reference.issued.parts:
        return reference.issued.words
    year = reference.year
    assert year is not None
    return f"{year:04d}" if year > 0 else f"{-year} BC"


def test_ris_of_a_paper_its_book_and_a_preprint() -> None:
    latex, bib = by_rispy(text("biblatex")), by_rispy(text("bibtex"))
    paper = latex["inproceedings"]
    assert paper["type_of_reference"] == "CPAPER"
    assert paper["authors"] == ["al-Hasan, Ali", "de Galois, Évariste"]
    assert (paper["secondary_title"], paper["custom3"]) == ("Proceedings of Things", "Conference on Things")
    assert (paper["secondary_authors"], paper["date"]) == (["Poe, Ed"], "2018///")
    assert latex["proceedings"]["tertiary_authors"] == ["Poe, Ed"]
    assert latex["book"]["subsidiary_authors"] == ["d'Alembert, Jean"]
    assert latex["book"]["date"] == "1999///1999–2001"
    assert latex["suffix"]["authors"] == ["King, Martin L., Jr.", "Google Brain"]
    assert latex["suffix"]["keywords"] == ["dream", "speech"]
    assert latex["many"]["authors"][-1] == "et al."
    assert bib["identifiers"]["title"] == "From β-sheets to CO₂"
    assert bib["press"]["year"] == "in press"
    assert (bib["preprint"]["accession_number"], bib["preprint"]["urls"]) == (
        "arXiv:2001.00001",
        ["https://arxiv.org/abs/2001.00001"],
    )
