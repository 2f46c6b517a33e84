"""Parse dates of publication: BibLaTeX's dates (EDTF), BibTeX's years and months, and common free forms."""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

# Not by `calendar`, whose names follow the reader's language.
NAMES = (
    *("", "January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
MONTHS = {name[:3].lower(): number for number, name in enumerate(NAMES) if number}
"""The numbers of the months by the names that BibTeX's styles define."""

# In German, French, Spanish, Italian, Portuguese and Dutch, where they begin otherwise than in English.
_ABROAD = {
    name: number
    for number, names in enumerate(
        (
            *("", "ene gen", "fév fev", "mär maa mrt", "avr abr", "mai mag mei", "juin giu", "juil lug"),
            *("aoû ago", "set", "okt ott out", "", "dez déc dic"),
        )
    )
    for name in names.split()
}
SEASONS = ("", "Spring", "Summer", "Autumn", "Winter")
_SEASONS = {name.lower(): number for number, name in enumerate(SEASONS) if number} | {"fall": 3}
OPEN = (0,)
"""The end of a span that has none, or its beginning."""


class DateError(ValueError):
    """An invalid date; the message says why."""


@dataclass(frozen=True)
class Date:
    """A day, a month, a year, or a span of two; or words in its place, such as "in press".

    `parts` hold one or two tuples of year, month and day; a year before Christ is negative, and there is no year 0.
    `season` goes from 1, spring, to 4. `words` are what was written, where that is more than the parts say.
    """

    parts: tuple[tuple[int, ...], ...] = ()
    season: int = 0
    is_circa: bool = False
    words: str = ""

    def __bool__(self) -> bool:
        return bool(self.parts or self.words)

    @property
    def year(self) -> int | None:
        """The first year that is known."""
        return next((part[0] for part in self.parts if part != OPEN), None)

    def __str__(self) -> str:
        """Return the year or the years, or the words in their place."""
        if self.words:
            return self.words
        years = list(dict.fromkeys("" if part == OPEN else _year(part[0]) for part in self.parts))
        return "c. " * self.is_circa + "–".join(years)

    @property
    def iso(self) -> str:
        """The first day, month or year as 2020-05-06, as far as it is known."""
        known = next((part for part in self.parts if part != OPEN), ())
        return "-".join(f"{number:04d}" if n == 0 else f"{number:02d}" for n, number in enumerate(known))


def _year(year: int) -> str:
    return f"{-year} BC" if year < 0 else str(year)


def of_fields(fields: Mapping[str, str]) -> Date:
    """Read when an entry appeared, from `date`, or from `year`, `month` and `day`.

    Args:
        fields: The entry's fields as Unicode text.

    Raises:
        DateError: What stands there is no date.
    """
    if written := fields.get("date", "").strip():
        return of_text(written)
    date = of_year(fields.get("year", "").strip())
    if len(date.parts) == 1 and len(date.parts[0]) == 1:
        return _with_month(date, fields.get("month", "").strip(), fields.get("day", "").strip())
    return date


_SIDE = re.compile(
    r"(?:(?P<year>-?[\dX]{4})|[yY](?P<long>-?\d{1,12}))"
    r"(?:-(?P<month>\d{1,2}|XX)(?:-(?P<day>\d{1,2}|XX))?)?(?:T[\d:.]+(?:Z|[+-]\d\d:?\d\d)?)?\s*(?P<sign>[?~%]?)"
)


def of_text(written: str) -> Date:
    """Read a date as BibLaTeX has it: ISO 8601-2 (EDTF), levels 0 and 1.

    Raises:
        DateError: It is no date.
    """
    if re.fullmatch(r"\d{4}/\d{1,2}/\d{1,2}", written):
        written = written.replace("/", "-")
    sides = written.split("/")
    if len(sides) > 2 or not any(_SIDE.fullmatch(side.strip()) for side in sides):
        return of_year(written)
    read = [_side(side.strip(), written) for side in sides]
    if len(read) == 1:
        return read[0]
    first, last = read
    parts = (first.parts[0] if first.parts else OPEN, last.parts[-1] if last.parts else OPEN)
    if OPEN not in parts and parts[1] < parts[0][: len(parts[1])]:
        raise DateError(f"the span `{written}` ends before it begins")
    return Date(parts, first.season, first.is_circa or last.is_circa)


def _side(side: str, written: str) -> Date:
    if side in ("", ".."):
        return Date((OPEN,))
    found = _SIDE.fullmatch(side)
    if not found:
        raise DateError(f"`{_short(written)}` is no date")
    circa = found["sign"] in ("~", "%", "?") and found["sign"] != ""
    if found["year"] and "X" in found["year"]:
        if not re.fullmatch(r"\d+X+", found["year"]):
            raise DateError(f"`{_short(written)}` is no date")
        span = tuple((int(found["year"].replace("X", digit)),) for digit in "09")
        return Date(span, is_circa=circa)
    year = int(found["year"] or found["long"])
    # ISO counts a year 0, which is 1 BC.
    shown = year if year > 0 else year - 1
    if "00" in (found["month"], found["day"]):
        raise DateError(f"`{_short(written)}` is no date")
    month, day = (int(part) if part and part != "XX" else 0 for part in (found["month"], found["day"]))
    if 21 <= month <= 24:
        return Date(((shown,),), season=month - 20, is_circa=circa)
    return Date((_checked(shown, month, day, written),), is_circa=circa)


def _checked(year: int, month: int, day: int, written: str) -> tuple[int, ...]:
    if not 0 <= month <= 12:
        raise DateError(f"`{_short(written)}` is no date: there is no month {month}")
    # The calendar repeats itself every 400 years.
    if day and (not month or day > calendar.monthrange(2000 + year % 400, month)[1]):
        raise DateError(f"`{_short(written)}` is no date: that month has no day {day}")
    return (year, *([month] if month else []), *([day] if day else []))


_ERA = re.compile(r"(?i)\s*\b(?P<before>b\.?\s?c\.?(?:\s?e\.?)?)(?!\w)|\b(?:a\.?\s?d\.?|c\.?\s?e\.?)(?!\w)\s*")
_CIRCA = re.compile(r"(?i)^(?:c\.|ca\.?|circa|about|approx\.?|around|~|≈|um)\s*(?=\d)|(?<=\d)\s*[?~%]$")
_DASH = r"\s*(?:[-–—‐‑−/]+|to|bis|through)\s*"


def of_year(written: str) -> Date:
    """Read a year as BibTeX has it: a number, a span, or what people write there, such as "in press" or "c. 1900".

    Raises:
        DateError: There are digits, and they are no year.
    """
    if not written:
        return Date()
    text = written.replace("\u00a0", " ").replace("\u2212", "-").strip()
    if len(text) > 200:
        raise DateError(f"a year of {len(text):,} characters can't be read")
    if not any(one.isdecimal() for one in text):
        return Date(words=text)
    if re.fullmatch(r"\d{4}-(?:0[1-9]|1[0-2])|\d{4}-\d{1,2}-\d{1,2}", text):
        return of_text(text)
    core = re.sub(r"^[\[(<{]+|[\])>}.,;]+$", "", text)
    is_circa = bool(_CIRCA.search(core))
    core = _CIRCA.sub("", core).strip()
    era = _ERA.search(core)
    sign = -1 if era and era["before"] else 1
    core = _ERA.sub("", core, count=1).strip() if era else core
    if found := re.fullmatch(r"-?\d{1,4}", core):
        year = int(found[0]) * sign
        if year == 0:
            raise DateError("there is no year 0")
        exact = core if sign == 1 and not era else _year(year)
        return Date(
            ((year,),), is_circa=is_circa, words="" if text.strip("[]().,") in (core, exact) or is_circa else text
        )
    if found := re.fullmatch(r"(0?[1-9]|1[0-2])/(\d{4})", core):
        return Date(((int(found[2]), int(found[1])),), is_circa=is_circa)
    if found := re.fullmatch(rf"(\d{{1,4}}){_DASH}(\d{{1,4}})?", core):
        return replace(_span(found[1], found[2], sign, text), is_circa=is_circa)
    if found := re.fullmatch(r"(\d{4})\s*[a-z]", core):
        return Date(((int(found[1]),),), is_circa=is_circa, words=text)
    return _in_words(text)


def _span(first: str, last: str | None, sign: int, written: str) -> Date:
    start = int(first) * sign
    if last is None:
        return Date(((start,), OPEN))
    # 1999/00 and 1968–90 leave out what they share; 100–44 BC does not.
    whole = last if len(last) >= len(first) or sign < 0 else first[: len(first) - len(last)] + last
    end = int(whole) * sign
    if end < start and len(last) < len(first):
        end += 10 ** len(last)
    if end < start or not start:
        raise DateError(f"the span `{written}` ends before it begins")
    return Date(((start,), (end,)))


def _in_words(written: str) -> Date:
    """Read the year out of a sentence; all of it is shown."""
    years = re.findall(r"(?<![\d.])[12]\d{3}(?!\d)", written)
    if not years:
        raise DateError(f"the year `{_short(written)}` can't be read")
    return Date(((int(years[0]),),), words=written)


def _with_month(date: Date, month: str, day: str) -> Date:
    """Add month and day, in any order and form."""
    if not month:
        return date
    year = date.parts[0][0]
    lowered = month.lower()
    words = re.findall(r"[^\W\d_]+", lowered)
    known = MONTHS | _ABROAD
    months = [known.get(word[:3]) or known.get(word[:4], 0) for word in words]
    months = [one for one in months if one]
    numbers = [int(number) for number in re.findall(r"(?<!\d)\d{1,2}(?!\d)", lowered)]
    if re.fullmatch(rf"\s*\d+(?:{_DASH}\d{{1,2}})?\s*", month):
        if not numbers or not all(1 <= number <= 12 for number in numbers):
            raise DateError(f"there is no month `{_short(month)}`")
        months, numbers = numbers, []
    if not months:
        season = next((_SEASONS[word] for word in words if word in _SEASONS), 0)
        return replace(date, season=season)
    numbers = numbers or ([int(day)] if re.fullmatch(r"\d{1,2}", day) else [])
    if len(months) == 1:
        parts = [_checked(year, months[0], number, month) for number in numbers[:1] + numbers[1:][-1:] or [0]]
    else:
        days = numbers if len(numbers) == len(months) else [0] * len(months)
        both = (_checked(year, one, number, month) for one, number in zip(months, days, strict=True))
        parts = [part for n, part in enumerate(both) if n in (0, len(months) - 1)]
    return replace(date, parts=tuple(dict.fromkeys(parts)))


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"
