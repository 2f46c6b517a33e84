"""Dates as BibLaTeX, BibTeX and people write them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quaere.content.bibliography.dates import OPEN, Date, DateError, of_fields, of_text, of_year


@pytest.mark.parametrize(
    ("written", "parts", "shown"),
    [
        ("2020", [(2020,)], "2020"),
        ("2020-05", [(2020, 5)], "2020"),
        ("2020-05-06", [(2020, 5, 6)], "2020"),
        ("2020-5-6", [(2020, 5, 6)], "2020"),
        ("2020/05/06", [(2020, 5, 6)], "2020"),
        ("2020-05-06T12:00:00Z", [(2020, 5, 6)], "2020"),
        ("2020-05-06T12:00:00+01:00", [(2020, 5, 6)], "2020"),
        ("2020/2021", [(2020,), (2021,)], "2020–2021"),
        ("2020-05/2020-06", [(2020, 5), (2020, 6)], "2020"),
        ("2020-05-30/2020-06-02", [(2020, 5, 30), (2020, 6, 2)], "2020"),
        ("2020/", [(2020,), OPEN], "2020–"),
        ("2020/..", [(2020,), OPEN], "2020–"),
        ("../2020", [OPEN, (2020,)], "–2020"),
        ("-0043", [(-44,)], "44 BC"),
        ("0000", [(-1,)], "1 BC"),
        ("-0002/0003", [(-3,), (3,)], "3 BC–3"),
        ("y-1700000002", [(-1700000003,)], "1700000003 BC"),
        ("0033", [(33,)], "33"),
        ("199X", [(1990,), (1999,)], "1990–1999"),
        ("19XX", [(1900,), (1999,)], "1900–1999"),
        ("2020-05-XX", [(2020, 5)], "2020"),
        ("2020-XX-XX", [(2020,)], "2020"),
        ("2004-02-29", [(2004, 2, 29)], "2004"),
        ("in press", [], "in press"),
        ("6 May 2020", [(2020,)], "6 May 2020"),
    ],
)
def test_dates_of_biblatex(written: str, parts: list[tuple[int, ...]], shown: str) -> None:
    date = of_text(written)
    assert (list(date.parts), str(date)) == (parts, shown)


@pytest.mark.parametrize("written", ["2004?", "2004~", "2004%", "2004~/2005", "2004/2005~", "2004-05?", "2004-21~"])
def test_what_is_not_certain_is_about(written: str) -> None:
    date = of_text(written)
    assert date.is_circa
    assert str(date).startswith("c. 2004")


@pytest.mark.parametrize(("written", "season"), [("2020-21", 1), ("2020-22", 2), ("2020-23", 3), ("2020-24", 4)])
def test_seasons(written: str, season: int) -> None:
    assert of_text(written) == Date(((2020,),), season=season)
    assert of_text(f"{written}/2021") == Date(((2020,), (2021,)), season=season)


def test_what_is_known_of_decades_and_open_spans() -> None:
    assert of_text("199X~").is_circa
    assert (of_text("../2020").year, of_text("../2020-05").iso) == (2020, "2020-05")


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("2020-13", "there is no month 13"),
        ("2020-00", "no date"),
        ("2020-02-30", "that month has no day 30"),
        ("2021-02-29", "that month has no day 29"),
        ("2020-04-31", "that month has no day 31"),
        ("2021/2020", "ends before it begins"),
        ("XXXX", "is no date"),
        ("1X90", "is no date"),
        ("2020/soon", "no date"),
        ("1" * 5000, "a year of 5,000 characters"),
        ("20l8", "`20l8` can't be read"),
        ("y1234567890123456789", "can't be read"),
    ],
)
def test_what_is_no_date_is_told(written: str, problem: str) -> None:
    with pytest.raises(DateError) as caught:
        of_text(written)
    assert problem in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("written", "parts", "shown"),
    [
        ("2020", [(2020,)], "2020"),
        ("79", [(79,)], "79"),
        ("[1999]", [(1999,)], "1999"),
        ("(1999)", [(1999,)], "1999"),
        ("2020.", [(2020,)], "2020"),
        ("-300", [(-300,)], "300 BC"),
        ("300 BC", [(-300,)], "300 BC"),
        ("44 B.C.", [(-44,)], "44 B.C."),
        ("44 B.C.E.", [(-44,)], "44 B.C.E."),
        ("AD 79", [(79,)], "AD 79"),
        ("79 CE", [(79,)], "79 CE"),
        ("500--400 BC".replace("--", "–"), [(-500,), (-400,)], "500 BC–400 BC"),
        ("c. 1900", [(1900,)], "c. 1900"),
        ("ca. 1850", [(1850,)], "c. 1850"),
        ("1850?", [(1850,)], "c. 1850"),
        ("1999–2000", [(1999,), (2000,)], "1999–2000"),
        ("1999/2000", [(1999,), (2000,)], "1999–2000"),
        ("1999-2000", [(1999,), (2000,)], "1999–2000"),
        ("1999/00", [(1999,), (2000,)], "1999–2000"),
        ("1968–90", [(1968,), (1990,)], "1968–1990"),
        ("1999–", [(1999,), OPEN], "1999–"),
        ("2020a", [(2020,)], "2020a"),
        ("\u2212300", [(-300,)], "300 BC"),
        ("c. 1900–1910", [(1900,), (1910,)], "c. 1900–1910"),
        ("ca. 300–250 BCE", [(-300,), (-250,)], "c. 300 BC–250 BC"),
        ("12/2020", [(2020, 12)], "2020"),
        ("100–44 BC", [(-100,), (-44,)], "100 BC–44 BC"),
        ("05/2020", [(2020, 5)], "2020"),
        ("2020-05-06", [(2020, 5, 6)], "2020"),
        ("2020-05", [(2020, 5)], "2020"),
        ("2020, in press", [(2020,)], "2020, in press"),
        ("to appear 2021", [(2021,)], "to appear 2021"),
        ("1999 [1998]", [(1999,)], "1999 [1998]"),
        ("in press", [], "in press"),
        ("forthcoming", [], "forthcoming"),
        ("n.d.", [], "n.d."),
        ("MMXX", [], "MMXX"),
        ("", [], ""),
    ],
)
def test_years_of_bibtex(written: str, parts: list[tuple[int, ...]], shown: str) -> None:
    date = of_year(written)
    assert (list(date.parts), str(date), bool(date)) == (parts, shown, bool(written))


@pytest.mark.parametrize("written", ["0", "20199", "20l8", "'99", "20 20", "2001–1999", "0–5", "1" * 5000])
def test_a_year_with_digits_that_is_none_is_told(written: str) -> None:
    with pytest.raises(DateError):
        of_year(written)


@pytest.mark.parametrize(
    ("month", "parts"),
    [
        ("August", [(2020, 8)]),
        ("Sept.", [(2020, 9)]),
        ("8", [(2020, 8)]),
        ("08", [(2020, 8)]),
        ("August 10", [(2020, 8, 10)]),
        ("10 August", [(2020, 8, 10)]),
        ("August\u00a010", [(2020, 8, 10)]),
        ("August 10–12", [(2020, 8, 10), (2020, 8, 12)]),
        ("January/February", [(2020, 1), (2020, 2)]),
        ("March–April", [(2020, 3), (2020, 4)]),
        ("Aug 31 – Sep 2", [(2020, 8, 31), (2020, 9, 2)]),
        ("5--6", [(2020, 5), (2020, 6)]),
        ("5/6", [(2020, 5), (2020, 6)]),
        ("5/5", [(2020, 5)]),
        ("August 1, 8, 15", [(2020, 8, 1), (2020, 8, 15)]),
        ("January/February/March", [(2020, 1), (2020, 3)]),
        ("January 5/February", [(2020, 1), (2020, 2)]),
        ("März", [(2020, 3)]),
        ("Dezember", [(2020, 12)]),
        ("juin", [(2020, 6)]),
        ("juillet/août", [(2020, 7), (2020, 8)]),
        ("10 de octubre", [(2020, 10, 10)]),
        ("Michaelmas", [(2020,)]),
        ("", [(2020,)]),
    ],
)
def test_months(month: str, parts: list[tuple[int, ...]]) -> None:
    assert list(of_fields({"year": "2020", "month": month}).parts) == parts


def test_a_day_may_have_its_own_field_and_a_season_the_months() -> None:
    assert of_fields({"year": "2020", "month": "August", "day": "3"}).parts == ((2020, 8, 3),)
    assert of_fields({"year": "2020", "month": "Spring"}) == Date(((2020,),), season=1)
    # BibLaTeX's date comes first.
    assert of_fields({"year": "2020", "date": "2019-05"}).parts == ((2019, 5),)


@pytest.mark.parametrize("month", ["13", "0", "99", "12--13", "August 32", "February 30"])
def test_a_month_that_is_none_is_told(month: str) -> None:
    with pytest.raises(DateError):
        of_fields({"year": "2020", "month": month})


@settings(deadline=None, derandomize=True, max_examples=500)
@given(st.text("0123456789-/.~?%XyYTabc BCADin press–[]()", max_size=20))
def test_any_text_is_a_date_or_told(written: str) -> None:
    for read in (of_text, of_year):
        try:
            date = read(written)
        except DateError:
            continue
        assert bool(date) is bool(written.strip() or date.words), written
        assert all(part[0] != 0 or part == OPEN for part in date.parts)
        assert all(1 <= month <= 12 for part in date.parts for month in part[1:2])
