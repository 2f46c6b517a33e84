"""Names, identifiers, what entries inherit, and what the pages and the commands make of a bibliography."""

import html
import io
import json
import re

import pytest
from rich.console import Console

from quaere import terminal
from quaere.content.bibliography import export
from quaere.content.bibliography.bibtex import Bibliography
from quaere.content.bibliography.reference import OTHERS, Name, Reference
from quaere.content.check import remarks
from tests.engine.conftest import Base


def all_of(text: str) -> tuple[dict[str, Reference], list[str]]:
    book = Bibliography(text, "r.bib")
    found, faults = book.references(book.entries)
    return found, [str(fault) for fault in (*book.faults, *faults)]


def one(fields: str, kind: str = "article") -> Reference:
    found, faults = all_of(f"@{kind}{{k, {fields}}}")
    assert not faults
    return found["k"]


def fault(fields: str) -> str:
    """Return the one fault of an entry."""
    found, (said,) = all_of(f"@misc{{k,\n  title = {{T}},\n  {fields}\n}}")
    assert not found
    return said


# Names


@pytest.mark.parametrize(
    ("written", "name", "shown"),
    [
        ("King, Jr., Martin L.", Name("King", "Martin L.", "Jr."), "Martin L. King Jr."),
        ("Martin L. King Jr.", Name("King", "Martin L.", "Jr."), "Martin L. King Jr."),
        ("King Jr., Martin L.", Name("King", "Martin L.", "Jr."), "Martin L. King Jr."),
        ("Guy L. Steele, Jr.", Name("Steele", "Guy L.", "Jr."), "Guy L. Steele Jr."),
        ("Smith, John, III", Name("Smith", "John", "III"), "John Smith III"),
        ("Adam Smith, III", Name("Smith", "Adam", "III"), "Adam Smith III"),
        ("Henry VIII", Name("Henry", suffix="VIII"), "Henry VIII"),
        ("Meier, sen., Hans", Name("Meier", "Hans", "sen."), "Hans Meier sen."),
        # Names of people, and initials, that look like suffixes.
        ("Sen, Amartya", Name("Sen", "Amartya"), "Amartya Sen"),
        ("Amartya Sen", Name("Sen", "Amartya"), "Amartya Sen"),
        ("Wang, Jun", Name("Wang", "Jun"), "Jun Wang"),
        ("Nguyen, Vi", Name("Nguyen", "Vi"), "Vi Nguyen"),
        ("Lenin, VI", Name("Lenin", "VI"), "VI Lenin"),
        ("Doe, Jr., III", Name("Doe", "III", "Jr."), "III Doe Jr."),
        ("Doe, jane", Name("Doe", "jane"), "jane Doe"),
        ("saint-Exupéry, Antoine", Name("saint-Exupéry", "Antoine"), "Antoine saint-Exupéry"),
        (r"Anna {\'o} Dea", Name("Dea", "Anna", dropping="ó"), "Anna ó Dea"),
        ("Llion Jones 0001", Name("Jones", "Llion"), "Llion Jones"),
        (r"{\bf Team}", Name("Team", is_literal=True), "Team"),
        ("Doe, Jane (ed.)", Name("Doe", "Jane (ed.)"), "Jane (ed.) Doe"),
        (r"Doe, J.\ ", Name("Doe", "J."), "J. Doe"),
        (r"Doe, J.\footnote{Of Acme}", Name("Doe", "J."), "J. Doe"),
        (r"Sol{\cprime}ev, A.", Name("Solʹev", "A."), "A. Solʹev"),
        ("von der Leyen, Ursula", Name("Leyen", "Ursula", dropping="von der"), "Ursula von der Leyen"),
        ("Ludwig van Beethoven", Name("Beethoven", "Ludwig", dropping="van"), "Ludwig van Beethoven"),
        ("Beethoven, Ludwig van", Name("Beethoven", "Ludwig", dropping="van"), "Ludwig van Beethoven"),
        ("d'Alembert, Jean", Name("Alembert", "Jean", non_dropping="d'"), "Jean d'Alembert"),
        ("d’Ormesson, Jean", Name("Ormesson", "Jean", non_dropping="d’"), "Jean d’Ormesson"),
        ("Ali al-Hasan", Name("Hasan", "Ali", non_dropping="al-"), "Ali al-Hasan"),
        ("'t Hooft, Gerard", Name("Hooft", "Gerard", dropping="'t"), "Gerard 't Hooft"),
        ("de' Medici, Lorenzo", Name("Medici", "Lorenzo", dropping="de'"), "Lorenzo de' Medici"),
        (r"{de la Vall{\'e}e}, Charles", Name("Vallée", "Charles", non_dropping="de la"), "Charles de la Vallée"),
        ("Ангел да Винчи", Name("Винчи", "Ангел", dropping="да"), "Ангел да Винчи"),
        ("Drummond de Andrade, Carlos", Name("Drummond de Andrade", "Carlos"), "Carlos Drummond de Andrade"),
        ("Jean de La Fontaine", Name("La Fontaine", "Jean", dropping="de"), "Jean de La Fontaine"),
        ("D'Angelo, X", Name("D'Angelo", "X"), "X D'Angelo"),
        ("O'Neil, Shaquille", Name("O'Neil", "Shaquille"), "Shaquille O'Neil"),
        ("McCarthy, John-Paul", Name("McCarthy", "John-Paul"), "John-Paul McCarthy"),
        (r"{\'E}variste Galois", Name("Galois", "Évariste"), "Évariste Galois"),
        (r"Nguy{\~{\^e}}n, V{\u a}n", Name("Nguyễn", "Văn"), "Văn Nguyễn"),
        ("毛泽东", Name("毛泽东"), "毛泽东"),
        ("Plato", Name("Plato"), "Plato"),
        ("bell hooks", Name("hooks", dropping="bell"), "bell hooks"),
        ("Gödel, K.~F.", Name("Gödel", "K. F."), "K. F. Gödel"),
        ("{Google Brain}", Name("Google Brain", is_literal=True), "Google Brain"),
        ("{Barnes and Noble}", Name("Barnes and Noble", is_literal=True), "Barnes and Noble"),
        ("others", OTHERS, "et al."),
        ("{et al.}", OTHERS, "et al."),
        ("family=Harman, given=Hans, prefix=von", Name("Harman", "Hans", dropping="von"), "Hans von Harman"),
        (
            "given=Hans, family=Harman, prefix=von, suffix={Jr}, useprefix=true, given-i=H",
            Name("Harman", "Hans", "Jr", non_dropping="von"),
            "Hans von Harman Jr",
        ),
        ('"family={d\'Arc, the}, given={Jeanne, called}"', Name("d'Arc, the", "Jeanne, called"), None),
        ("given=Ann", Name("Ann"), "Ann"),
    ],
)
def test_a_name_is_read_into_its_parts(written: str, name: Name, shown: str | None) -> None:
    (found,) = one(f"author = {{{written}}}").authors
    if shown is None:
        assert (found.surname, found.given) == (name.family, name.given)
    else:
        assert (found, str(found)) == (name, shown)


def test_useprefix_of_an_entry_keeps_particles() -> None:
    kept, dropped = Name("Beethoven", "Ludwig", non_dropping="van"), Name("Beethoven", "Ludwig", dropping="van")
    for options, name in (
        ("useprefix=true", kept),
        ("maxnames=3, useprefix", kept),
        ("useprefix = true, maxnames=3", kept),
        ("useprefix=false", dropped),
    ):
        assert one(f"author = {{van Beethoven, Ludwig}}, options = {{{options}}}").authors == (name,), options


def test_and_parts_names_outside_of_braces_only() -> None:
    found = one("author = {A Band and {Simon and Garfunkel} AND , and ~ and Sandy Anders\n and others}").authors
    assert list(map(str, found)) == ["A Band", "Simon and Garfunkel", "Sandy Anders", "et al."]


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("author = {A, B, C, D and E}", "the name `A, B, C, D` can't be read: too many commas"),
        ("author = {Doe, J.; Roe, R.}", "the name `Doe, J.; Roe, R.` can't be read: semicolons don't separate names"),
        ("author = {family=A, given}", "the name `family=A, given` can't be read: `given` has no `=`"),
        ("author = {prefix=von, suffix=Jr}", "it has no `family=`"),
        (r"author = {\emph}", r"`\emph` lacks its argument"),
    ],
)
def test_a_name_that_cannot_be_read_is_told_with_its_line(written: str, problem: str) -> None:
    said = fault(written)
    assert said.startswith("r.bib:3:1: entry `k`: ")
    assert problem in said


@pytest.mark.parametrize(
    ("written", "all_names", "few"),
    [
        ("Ng, Ada and others", "Ada Ng et al.", "Ng et al."),
        ("Ng, Ada and Roe, Rik", "Ada Ng, Rik Roe", "Ng and Roe"),
        ("Ng, Ada and Roe, Rik and {The Team}", "Ada Ng, Rik Roe, The Team", "Ng et al."),
        ("van Dam, Ann", "Ann van Dam", "van Dam"),
    ],
)
def test_a_line_of_names(written: str, all_names: str, few: str) -> None:
    found = one(f"author = {{{written}}}")
    assert (found.credits, found.short_credits) == (all_names, few)


def test_et_al_in_every_output() -> None:
    found = [one("author = {Ng, Ada and others}, title = {T}, year = 2020")]
    assert '"literal": "et al."' in export.csl_json(found)
    assert "AU  - et al.\n" in export.ris(found)
    assert json.loads(export.plain_json(found))[0]["author"] == ["Ada Ng", "et al."]
    assert "and others" in export.bibtex(found)


# Identifiers


@pytest.mark.parametrize(
    "written",
    [
        "10.1000/182",
        "doi:10.1000/182",
        "DOI 10.1000/182.",
        "https://doi.org/10.1000/182",
        "http://dx.doi.org/10.1000/182",
        r"\url{https://doi.org/10.1000/182}",
        "https://doi.org/10.1000%2F182",
        "{10.1000/182}",
        "10.1000/182, 10.1000/183",
        "10.1000/182 10.1000/183",
        r"\href{https://doi.org/10.1000/182}{10.1000/182}",
    ],
)
def test_a_doi_is_put_right(written: str) -> None:
    found = one(f"doi = {{{written}}}")
    assert (found.doi, found.fields["doi"]) == ("10.1000/182", "10.1000/182")


@pytest.mark.parametrize(
    ("written", "doi"),
    [
        (r"10.1002/(SICI)1097-0258(19980815)17:15{\textless}1661::A{\textgreater}3.0.CO;2-2", None),
        ("(10.1000/182)", "10.1000/182"),
        ("10.1000/a(b)", "10.1000/a(b)"),
        (r"10.1000/a\_b", "10.1000/a_b"),
        ("10.1000/1&lt;2::3&gt;4", "10.1000/1<2::3>4"),
        (r"10.1000/1\%3C2::3\%3E4", "10.1000/1<2::3>4"),
    ],
)
def test_a_doi_may_hold_brackets(written: str, doi: str | None) -> None:
    assert one(f"doi = {{{written}}}").doi == (doi or "10.1002/(SICI)1097-0258(19980815)17:15<1661::A>3.0.CO;2-2")


def test_what_is_no_doi_is_kept_and_not_linked() -> None:
    found = one("doi = {to follow}")
    assert (found.doi, found.fields["doi"]) == (None, "tofollow")
    assert one("url = {https://doi.org/10.1000/182?from=mail}").doi == "10.1000/182"


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("isbn", "ISBN 3161484100"),
        ("isbn", "ISBN-10: 3161484100"),
        ("issn", "ISSN: 1234-5678"),
        ("pmid", "PMID: 12345"),
    ],
)
def test_a_number_does_not_repeat_the_name_of_its_field(name: str, written: str) -> None:
    assert one(f"{name} = {{{written}}}").fields[name] == written.rpartition(" ")[2]


@pytest.mark.parametrize(
    "fields",
    [
        "eprint = {2001.00001}, archivePrefix = {arXiv}",
        "eprint = {2001.00001}, eprinttype = {arxiv}",
        "eprint = {2001.00001}",
        "eprint = {arXiv:2001.00001}, archivePrefix = {arXiv}",
        "eprint = {https://arxiv.org/abs/2001.00001}, archivePrefix = {arXiv}",
        "eprint = {arXiv:2001.00001 [cs]}, eprinttype = {arXiv}",
        "eprint = {2001.00001 [cs.CL]}",
        "arxivId = {2001.00001}, archivePrefix = {arXiv}",
        "journal = {arXiv}, volume = {2001.00001}",
        "journal = {arXiv [cs.CL]}, number = {2001.00001}",
        "journal = {arXiv preprint arXiv:2001.00001}",
        "journal = {CoRR}, volume = {abs/2001.00001}",
        "url = {http://arxiv.org/abs/2001.00001}",
        "url = {https://arxiv.org/pdf/2001.00001.pdf}",
        "doi = {10.48550/arXiv.2001.00001}",
        "number = {arXiv:2001.00001}",
        "note = {arXiv: 2001.00001 [cs, stat]}",
        r"howpublished = {\url{https://arxiv.org/abs/2001.00001}}",
    ],
)
def test_an_arxiv_identifier_is_found(fields: str) -> None:
    assert one(f"title = {{T}}, {fields}").arxiv == "2001.00001"


@pytest.mark.parametrize(
    "written", ["arXiv:2001.00001v3", "https://arxiv.org/abs/2001.00001v3", "arXiv:2001.00001v3 [cs]"]
)
def test_an_eprint_is_freed_of_its_prefix(written: str) -> None:
    assert one(f"eprint = {{{written}}}, eprinttype = {{arxiv}}").fields["eprint"] == "2001.00001v3"


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ("eprint = {2001.00001v2}, archivePrefix = {arXiv}", "2001.00001v2"),
        ("eprint = {hep-th/9901001}, archivePrefix = {arXiv}", "hep-th/9901001"),
        ("eprint = {9901001}, archivePrefix = {arXiv}, primaryClass = {hep-th}", "hep-th/9901001"),
        ("eprint = {math.GT/0309136}, archivePrefix = {arXiv}", "math.GT/0309136"),
        ("eprint = {0309136}, archivePrefix = {arXiv}, primaryClass = {math.GT}", "math/0309136"),
        ("eprint = {arXiv:2001.1}, archivePrefix = {arXiv}", "2001.1"),
        ("note = {arXiv:2001.0000123}", None),
        ("eprint = {12345678}, eprinttype = {pubmed}", None),
        ("eprint = {2001.00001}, eprinttype = {jstor}", None),
        ("doi = {10.1000/2001.00001}", None),
        ("journal = {Journal 2001.00001}", None),
        ("journal = {Journal}, number = {2001.00001}", None),
    ],
)
def test_versions_and_old_arxiv_identifiers(fields: str, found: str | None) -> None:
    assert one(fields).arxiv == found


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        (r"url = {\url{https://example.org/\~{}doe/a\_b}}", "https://example.org/~doe/a_b"),
        ("url = {https://example.org/a; https://example.com/b}", "https://example.org/a"),
        *((f"url = {{{kept}}}", kept) for kept in ["https://web.archive.org/web/2020/https://example.org/"]),
        ("url = {https://example.org/a and https://example.com/b}", "https://example.org/a"),
        ("url = {https://example.org/a?b=1&amp;c=2}", "https://example.org/a?b=1&c=2"),
        ("url = {example.org/a}", "https://example.org/a"),
        ("note = {There (at https://example.org/a)}", "https://example.org/a"),
        (r"url = {\href{https://example.org/a}{here}}", "https://example.org/a"),
        (r"howpublished = {See \href{https://example.org/a\_b}{here}}", "https://example.org/a_b"),
        (r"note = {\href{https://example.org/a}{A}}, url = {https://example.org/own}", "https://example.org/own"),
        ("url = {www.example.org/a}", "https://www.example.org/a"),
        ("url = {<https://example.org/a>}", "https://example.org/a"),
        (r"howpublished = {\url{https://example.org/a_b}}", "https://example.org/a_b"),
        (r"note = {Available at \url{https://example.org/a}, last seen in May}", "https://example.org/a"),
        ("url = {javascript:alert(1)}", ""),
        ("howpublished = {Handed out}", ""),
    ],
)
def test_an_address_is_put_right(fields: str, url: str) -> None:
    assert one(fields).url == url


def test_the_journals_of_astronomy_have_names() -> None:
    assert one(r"journal = {\apj}, title = {T}").venue == "The Astrophysical Journal"


@pytest.mark.parametrize("name", ["eprinttype", "archivePrefix"])
def test_an_eprint_of_another_archive_has_its_address(name: str) -> None:
    found = one(f"{name} = {{jstor}}, eprint = {{2269}}, title = {{T}}")
    assert json.loads(export.csl_json([found]))[0]["URL"] == "https://www.jstor.org/stable/2269"
    assert "AN  - jstor:2269\n" in export.ris([found])


# Inheritance

PROCEEDINGS = """
@proceedings{p,
  title = {Proc.}, booktitle = {Proc.}, editor = {Poe, Ed}, year = {1988}, publisher = {Pub}, shorttitle = {P},
}
"""


def test_a_paper_inherits_from_its_proceedings() -> None:
    found, faults = all_of(
        "@inproceedings{c, author = {Roe, Jane}, title = {T}, pages = {3--7}, crossref = {p}}" + PROCEEDINGS
    )
    assert not faults
    heir = found["c"]
    assert (heir.title, heir.venue, heir.year, str(heir.editors[0])) == ("T", "Proc.", 1988, "Ed Poe")
    assert "shorttitle" not in heir.fields
    assert list(heir.sources) == ["c", "p"]


@pytest.mark.parametrize(
    ("child", "parent", "expected"),
    [
        ("inbook", "book", {"title": "C", "booktitle": "P", "booksubtitle": "S", "bookauthor": "A Parent"}),
        ("incollection", "collection", {"booktitle": "P", "booksubtitle": "S"}),
        ("incollection", "book", {"booktitle": "P"}),
        ("inproceedings", "proceedings", {"booktitle": "P"}),
        ("inproceedings", "book", {"booktitle": "P"}),
        ("conference", "proceedings", {"booktitle": "P"}),
        ("inreference", "reference", {"booktitle": "P"}),
        ("suppbook", "book", {"booktitle": "P", "bookauthor": "A Parent"}),
        ("article", "periodical", {"journaltitle": "P", "journalsubtitle": "S"}),
        ("book", "mvbook", {"maintitle": "P", "mainsubtitle": "S"}),
        ("inbook", "mvbook", {"maintitle": "P", "bookauthor": "A Parent"}),
        ("proceedings", "mvproceedings", {"maintitle": "P"}),
        ("collection", "mvcollection", {"maintitle": "P"}),
        ("misc", "misc", {"title": "C", "subtitle": "S"}),
        ("inbook", "collection", {"booktitle": "P", "bookauthor": None}),
        ("misc", "periodical", {"title": "C", "journaltitle": None, "subtitle": "S"}),
    ],
)
def test_a_title_becomes_what_it_is_to_the_heir(child: str, parent: str, expected: dict[str, str | None]) -> None:
    text = f"""
    @{child}{{c, title = {{C}}, crossref = {{p}}}}
    @{parent}{{p, title = {{P}}, subtitle = {{S}}, author = {{A Parent}}, date = {{1999}}, note = {{N}}, ids = {{q}}}}
    """
    found = all_of(text)[0]["c"].fields
    assert {name: found.get(name) for name in expected} == expected
    assert (found["title"], found["note"], found["date"]) == ("C", "N", "1999")
    assert "ids" not in found


def test_what_an_entry_says_itself_counts_and_a_date_goes_as_a_whole() -> None:
    text = """
    @inbook{c, title = {C}, year = {2001}, note = {mine}, publisher = {}, crossref = {p}}
    @book{p, title = {P}, date = {1999-05-06}, month = may, note = {N}, publisher = {Pub}}
    """
    found = all_of(text)[0]["c"]
    assert (str(found.issued), found.issued.parts) == ("2001", ((2001,),))
    assert (found.fields["note"], found.fields["publisher"]) == ("mine", "Pub")


def test_a_field_without_a_value_is_inherited_and_a_parent_says_under_which_title() -> None:
    text = """
    @inproceedings{c, title = {C}, year = {}, crossref = {p}}
    @proceedings{p, booktitle = {B}, title = {P}, year = {1999}}
    """
    found = all_of(text)[0]["c"]
    assert (found.year, found.venue) == (1999, "B")


def test_inheritance_goes_over_several_entries() -> None:
    text = """
    @inbook{c, title = {C}, crossref = {v}}
    @book{v, title = {V}, volume = {2}, crossref = {m}}
    @mvbook{m, title = {M}, author = {Doe, Jo}, date = {1999}}
    """
    found = all_of(text)[0]["c"]
    assert [found.fields[name] for name in ("title", "booktitle", "maintitle", "volume")] == ["C", "V", "M", "2"]
    assert (list(found.sources), str(found.authors[0]), found.year) == (["c", "v", "m"], "Jo Doe", 1999)


def test_data_that_several_share() -> None:
    text = """
    @book{c, title = {C}, xdata = {x, y}}
    @xdata{x, publisher = {Pub}, xdata = {z}, ids = {w}}
    @xdata{y, location = {Loc}, publisher = {Other}}
    @xdata{z, note = {N}}
    """
    found = all_of(text)[0]["c"]
    assert [found.fields[name] for name in ("publisher", "location", "note")] == ["Pub", "Loc", "N"]
    assert (list(found.sources), "ids" in found.fields) == (["c", "x", "z", "y"], False)


def test_a_set_is_shown_as_its_first_member() -> None:
    found = all_of("@set{s, entryset = {a, b}}\n@misc{a, title = {A}}\n@misc{b, title = {B}, note = {N}}")[0]["s"]
    assert (found.title, "note" in found.fields, list(found.sources)) == ("A", False, ["s", "a"])


@pytest.mark.parametrize(("date", "publisher"), [("year", "Taylor and Francis"), ("date", "Taylor; Francis")])
def test_publishers_are_a_list_to_biblatex_only(date: str, publisher: str) -> None:
    assert one(f"publisher = {{Taylor and Francis}}, {date} = {{2020}}").fields["publisher"] == publisher


def test_data_that_go_by_single_fields() -> None:
    text = """
    @book{c, title = {C}, author = {Roe, Rik and xdata=all-data-author-2}, publisher = {xdata = all-data-publisher}}
    @xdata{all-data, author = {A, B and Doe, Jane}, publisher = {Pub}}
    """
    found = all_of(text)[0]["c"]
    assert (found.credits, found.fields["publisher"]) == ("Rik Roe, Jane Doe", "Pub")
    assert list(found.sources) == ["c", "all-data"]
    assert "author = {Roe, Rik and xdata=all-data-author-2}" in found.sources["c"]


def test_a_parent_is_found_whatever_the_case_of_its_key() -> None:
    found, faults = all_of("@inproceedings{c, title = {C}, crossref = {P}}" + PROCEEDINGS)
    assert not faults
    assert found["c"].venue == "Proc."
    assert "crossref = {p}" in export.bibtex([found["c"]])


@pytest.mark.parametrize(
    ("text", "problem", "line"),
    [
        ("@book{c,\n author = {xdata=x-author}}", "inherits from `x`, which is not there", 2),
        (
            "@book{c,\n author = {xdata=x-author-3}}\n@xdata{x, author = {A, B}}",
            "`x` has nothing for `xdata=x-author-3`",
            2,
        ),
        (
            "@inbook{c,\n crossref = {nothere}}\n@book{nowhere, title = {T}}",
            "inherits from `nothere`, which is not there",
            2,
        ),
        ("@inbook{c,\n xdata = {x}}", "inherits from `x`, which is not there", 2),
        ("@book{c,\n crossref = {c}}", "inherits from itself, by way of `c`", 2),
        ("@book{c, crossref = {d}}\n@book{d,\n crossref = {c}}", "inherits from itself, by way of `c`", 3),
    ],
)
def test_inheritance_that_cannot_be_is_told(text: str, problem: str, line: int) -> None:
    _, faults = Bibliography(text, "r.bib").references(["c"])
    assert [said for said in map(str, faults) if problem in said and said.startswith(f"r.bib:{line}:")]


@pytest.mark.parametrize("order", [1, -1])
def test_strings_made_of_each_other_are_read_in_any_order(order: int) -> None:
    strings = [f"@string{{s{n + 1} = s{n} # {{x}}}}\n" for n in range(1000)]
    found, faults = all_of(f"@string{{s0 = {{}}}}\n{''.join(strings[::order])}@misc{{k, note = s1000}}")
    assert not faults
    assert found["k"].fields["note"] == "x" * 1000


def test_strings_that_double_without_end_are_told() -> None:
    strings = "".join(f"@string{{s{n + 1} = s{n} # s{n}}}\n" for n in range(50))
    faults = all_of(f"@string{{s0 = {{x}}}}\n{strings}")[1]
    assert faults[0].startswith("r.bib:21:1: @string `s20` has more than 1,000,000 characters")


def test_a_long_chain_ends() -> None:
    chain = "".join(f"@book{{b{n}, title = {{T}}, crossref = {{b{n + 1}}}}}\n" for n in range(3000))
    _, faults = Bibliography(chain, "r.bib").references(["b0"])
    assert len(faults) == 1


def test_a_parent_goes_out_behind_all_its_heirs_once() -> None:
    heirs = "@inproceedings{c, title = {C}, crossref = {p}}\n@inproceedings{d, title = {D}, crossref = {p}}\n"
    found, _ = all_of(heirs + PROCEEDINGS)
    for keys in (["c", "d"], ["p", "c", "d"], ["c", "p", "d"]):
        written = export.bibtex([found[key] for key in keys])
        assert re.findall(r"^@\w+\{(\w+),", written, re.MULTILINE) == ["c", "d", "p"], keys


def test_an_entry_is_known_by_its_other_keys() -> None:
    book = Bibliography("@book{k, ids = {old, older}, title = {T}}", "r.bib")
    assert book.has("older")
    assert book.references(["old"])[0]["old"].key == "k"


# Values


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ('month = aug # "~10"', "August\u00a010"),
        ('note = "a" # { b} # 3 # acm', "a b3ACM Press"),
        ("note = ACM", "ACM Press"),
        ("note = chain", "The ACM Press of ACM Press"),
        ('note = "a {"} b"', 'a " b'),
        ('note = {a "b" # c}', 'a "b" # c'),
        ("note = {a} % {b}\n # % c\n acm % d", "aACM Press"),
        ("% title = {T},\n note = {a 100% of b}", "a 100% of b"),
    ],
)
def test_values_are_joined(written: str, value: str) -> None:
    strings = '@string{chain = "The " # acm # { of } # later}\n@string{acm = {ACM Press}}\n@string{later = acm}\n'
    found, faults = all_of(f"{strings}@misc{{k, {written}}}")
    assert not faults
    assert value in found["k"].fields.values()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("@string{a = b}\n@string{b = a}\n", "@string `a` holds `b`, which no @string defines"),
        ("@string{a = a}\n", "@string `a` holds `a`, which no @string defines"),
        ("@misc{k, note = {a} #}", "field `note` has no value"),
        ("@misc{k, note = {a} {b}}", "field `note` is more than one text"),
        ("@misc{k, note\n title = {b}}", "entry `k`: no field is named `note\n title`"),
        ("@misc{k l, note = {b}}", "the key `k l` is more than one word"),
        ("@misc{k, note = jmlr # {b}}", "field `note` holds `jmlr`, which no @string defines"),
    ],
)
def test_values_that_cannot_be_joined_are_told(text: str, problem: str) -> None:
    assert problem in all_of(text)[1][0]


def test_a_field_that_stands_thrice_is_told_with_the_first_line() -> None:
    book = Bibliography("@misc{k,\n note = {a},\n note = {b},\n note = {c}}", "r.bib")
    said = book.references(["k"])[1]
    assert ["line 2" in fault.hint for fault in said] == [True, True]


def test_a_title_that_asks_needs_no_colon() -> None:
    assert [one(f"title = {{{title}}}, subtitle = {{B}}").title for title in ("A?", "A")] == ["A? B", "A: B"]


def test_a_comment_is_no_field_and_does_not_go_out() -> None:
    entry = one("author = {A, B}, % who\n title = {T},\n % year = {1999},\n note = {N}\n % the end\n")
    assert set(entry.fields) == {"author", "title", "note"}
    assert "%" not in export.bibtex([entry])


def test_a_brace_may_stand_below_the_type() -> None:
    text = "@misc\n{k,\n note = x}\n@string\n{y = {Y}}\n@misc{l, note = {see\n@foo\n(bar)}}"
    book = Bibliography(text, "r.bib")
    assert list(book.entries) == ["k", "l"]
    assert [str(one.place) for one in book.references(["k"])[1]] == ["r.bib:3:1"]
    assert book.references(["l"])[0]["l"].fields["note"] == "see @foo (bar)"


# The whole


def with_entry(base: Base, entry: str, key: str = "k") -> Base:
    base.write({"papers/references.bib": entry, "papers/toy.yml": f"cite: {key}\nidea: A toy.\nimplementation: null\n"})
    return base


DOE = "author = {Doe, Jo}, title = {T}, year = {2020}"


@pytest.mark.parametrize(
    "value",
    [
        r"\sqrt[ n]",
        r"\href",
        r"\begin{array}{c}",
        "{" * 3000 + "}" * 3000,
        r"\frac{}",
        r"\emph",
        r"\'" * 3000 + "e",
        "".join(rf"\begin{{a{n}}}" for n in range(999)) + "".join(rf"\end{{a{n}}}" for n in reversed(range(999))),
    ],
    ids=range(8),
)
@pytest.mark.parametrize("field", ["title", "editor", "journal", "note", "publisher"])
def test_broken_tex_is_told_with_its_line(base: Base, field: str, value: str) -> None:
    with_entry(base, f"@misc{{k,\n  author = {{Doe, Jo}},\n  year = {{2020}},\n  {field} = {{{value}}},\n}}")
    line, hint = base.report().splitlines()
    assert line.startswith(f"papers/references.bib:4:1: entry `k`: the TeX of `{field}` can't be read: ")
    assert hint == "  hint: look at the commands and their braces"


def test_a_year_of_five_thousand_digits_is_told(base: Base) -> None:
    with_entry(base, f"@misc{{k,\n  author = {{Doe, Jo}}, title = {{T}},\n  year = {{{'1' * 5000}}}}}")
    assert base.report() == (
        "papers/references.bib:3:1: entry `k`: a year of 5,000 characters can't be read\n"
        "  hint: write 2020, 2020-05-06, a span as 1999/2000, or words such as `in press`"
    )


def test_uncited_entries_are_counted_in_one_line(base: Base) -> None:
    others = "".join(f"@misc{{other{n}, {DOE}}}\n" for n in range(1234))
    with_entry(base, f"@misc{{k, {DOE}}}\n{others}@misc{{p, note = {{\\sqrt[ n]}}}}")
    ran = base.quaere("check")
    assert (ran.returncode, ran.stderr) == (0, "remark: papers/references.bib: 1,235 entries that no card cites\n")
    base.write({"pyproject.toml": "[tool.quaere]\nevery_entry_cited = true\n"})
    library, faults = base.project.check()
    assert (sum("no card cites" in fault.problem for fault in faults), remarks(library)) == (1235, [])


def test_a_parent_is_cited_by_its_heirs(base: Base) -> None:
    with_entry(base, f"@inproceedings{{k, author = {{Roe, Jane}}, title = {{T}}, crossref = {{p}}}}\n{PROCEEDINGS}")
    base.write({"pyproject.toml": "[tool.quaere]\nevery_entry_cited = true\n"})
    library = base.library()
    assert remarks(library) == []
    assert "@proceedings{p," in export.bibtex([library.papers["toy"].reference])


@pytest.mark.parametrize(
    ("entry", "remark"),
    [
        (
            "@manual{k, organization = {Some Institute}, title = {H}, year = {2001}}",
            ": `Some Institute` is shown instead",
        ),
        ("@proceedings{k, title = {P}, year = {2001}}", ""),
        ("@misc{k, title = {P}, year = {2001}}", ""),
    ],
)
def test_who_stands_in_for_the_author_is_said_in_a_remark(base: Base, entry: str, remark: str) -> None:
    library = with_entry(base, entry).library()
    assert [str(one) for one in remarks(library)] == [
        f"remark: papers/references.bib:1:1: entry `k` has no author{remark}"
    ]
    reference = library.papers["toy"].reference
    assert (reference.credits, reference.venue) == ("Some Institute" if remark else "", "")


def test_what_an_entry_lacks_is_a_remark(base: Base) -> None:
    library = with_entry(base, "@article{k, title = {P}}").library()
    place = "papers/references.bib:1:1"
    told = [f"remark: {place}: entry `k` has no author", f"remark: {place}: entry `k` has no year"]
    assert [str(one) for one in remarks(library)] == told


@pytest.mark.parametrize("year", ["in press", "300 BC", "c. 1900", "1999/2000", "n.d.", r"{\noopsort{a}}1973"])
def test_a_year_is_shown_as_it_is_or_told(base: Base, year: str) -> None:
    with_entry(base, f"@misc{{k, author = {{Doe, Jo}}, title = {{T}}, year = {{{year}}}}}")
    library = base.library()
    found = library.papers["toy"].reference
    shown = {"1999/2000": "1999–2000", r"{\noopsort{a}}1973": "1973"}.get(year, year)
    printed = io.StringIO()
    Console(file=printed, width=100).print(terminal.paper(library, library.papers["toy"], {}))
    assert f"T\nJo Doe. {shown}\n" in printed.getvalue()
    assert json.loads(export.plain_json([found]))[0]["year"] == shown
    assert re.search(rf"^(PY|DA)  - .*{re.escape(shown.removeprefix('c. '))}$", export.ris([found]), re.MULTILINE)


def test_a_title_shows_its_mathematics_on_pages_and_unicode_elsewhere(base: Base) -> None:
    title = r"From $\beta$-sheets to CO$_2$ \emph{and} <b>"
    with_entry(base, f"@misc{{k, author = {{Doe, Jo}}, title = {{{title}}}, year = {{2020}}}}")
    assert base.quaere("build").returncode == 0
    drawn = [rf'<annotation encoding="application/x-tex">{tex}</annotation>' for tex in (r"\beta", "_2")]
    plain = "From β-sheets to CO₂ and <b>"
    card, cards = (
        (base.root / "site" / path / "index.html").read_text(encoding="utf-8") for path in ("papers/toy", "papers")
    )
    heading = re.search(r"<h1 .*?</h1>", card, re.DOTALL)
    assert heading
    for shown in (heading[0], cards):
        assert all(one in shown for one in drawn)
        assert "-sheets to CO<" in shown
        assert "<em>and</em> &lt;b&gt;" in shown
    assert f"<title>{html.escape(plain)}" in card
    assert r"$\beta$" not in re.sub(r"<pre.*?</pre>|<code.*?</code>", "", card, flags=re.DOTALL)
    names = json.loads((base.root / "site/assets/data/search/names.json").read_text(encoding="utf-8"))
    assert plain in names["titles"].split("\n")
    found = base.library().papers["toy"].reference
    assert f"TI  - {plain}\n" in export.ris([found])
    assert json.loads(export.csl_json([found]))[0]["title"] == "From β-sheets to CO<sub>2</sub> <i>and</i> <b>"


def test_a_preprint_is_found_again_in_ris() -> None:
    record = export.ris([one(f"{DOE}, eprint = {{2001.00001}}, archivePrefix = {{arXiv}}", kind="misc")])
    assert "AN  - arXiv:2001.00001\n" in record
    assert "UR  - https://arxiv.org/abs/2001.00001\n" in record


@pytest.mark.parametrize(
    ("fields", "row"),
    [
        ("date = {2020-21}", "DA  - 2020///Spring"),
        ("date = {2020-05~}", "DA  - 2020/05//c. 2020"),
        ("urldate = {2020-05-06T10:00:00Z}", "Y2  - 2020/05/06"),
        ("urldate = {2020-05}", "Y2  - 2020/05"),
        ("urldate = {6 May 2020}", "Y2  - 6 May 2020"),
        ("number = {2}, issue = {Spring}", "IS  - 2, Spring"),
        ("pubstate = {inpress}", "N1  - in press"),
        ("maintitle = {Works}", "T2  - Works"),
    ],
)
def test_ris_has_a_row_for_what_it_can_hold(fields: str, row: str) -> None:
    assert row in export.ris([one(f"title = {{T}}, {fields}")]).splitlines()


def test_ris_has_no_day_before_christ() -> None:
    rows = export.ris([one("title = {T}, year = {300 BC}")]).splitlines()
    assert [row for row in rows if row.startswith(("PY", "DA"))] == ["PY  - 300 BC"]


@pytest.mark.parametrize(
    ("fields", "variable", "value"),
    [
        ("year = {2020, in press}", "issued", {"date-parts": [[2020]]}),
        ("pages = {1—9}", "page", "1-9"),
        ("pages = {1---9}", "page", "1-9"),
        (r"howpublished = {\url{https://example.org}}", "publisher", None),
        ("howpublished = {Handed out}", "publisher", "Handed out"),
    ],
)
def test_csl_json_has_a_variable_as_it_should_be(fields: str, variable: str, value: object) -> None:
    assert json.loads(export.csl_json([one(f"title = {{T}}, {fields}")]))[0].get(variable) == value


def test_a_talk_and_where_a_patent_holds() -> None:
    talk = json.loads(export.csl_json([one("title = {T}, eventtitle = {E}", "unpublished")]))[0]
    assert (talk["type"], talk["event-title"]) == ("speech", "E")
    fields = "title = {T}, date = {2020}, location = {countryus and countryde and Mars}"
    patent = json.loads(export.csl_json([one(fields, "patent")]))[0]
    assert patent["jurisdiction"] == "United States of America; Germany; Mars"


@pytest.mark.parametrize(
    ("pages", "rows"),
    [
        ("1-9", ["SP  - 1", "EP  - 9"]),
        ("1--9", ["SP  - 1", "EP  - 9"]),
        ("1–9", ["SP  - 1", "EP  - 9"]),
        ("73+", ["SP  - 73+"]),
        ("1--3, 7--9", ["SP  - 1–3, 7–9"]),
        ("12:1--12:9", ["SP  - 12:1", "EP  - 12:9"]),
        ("i--iv", ["SP  - i", "EP  - iv"]),
    ],
)
def test_pages_in_ris(pages: str, rows: list[str]) -> None:
    record = export.ris([one(f"{DOE}, pages = {{{pages}}}")])
    assert [line for line in record.splitlines() if line.startswith(("SP", "EP"))] == rows
