"""Read what DataCite's REST API says of a DOI, as the CSL item that Crossref's answers are read as, too."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from quaere.content.bibliography import names

_TYPES = {
    "Audiovisual": "motion_picture", "Book": "book", "BookChapter": "chapter", "ComputationalNotebook": "software",
    "ConferencePaper": "paper-conference", "ConferenceProceeding": "book", "DataPaper": "article-journal",
    "Dataset": "dataset", "Dissertation": "thesis", "Image": "graphic", "JournalArticle": "article-journal",
    "PeerReview": "review", "Preprint": "article", "Report": "report", "Software": "software", "Standard": "standard",
}  # fmt: skip
_WITHIN = ("article-journal", "chapter", "paper-conference")
_LATER = ("IsPreviousVersionOf", "IsObsoletedBy")


def item(attributes: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the CSL item of a DOI, and its subtitle.

    Args:
        attributes: `attributes` of the answer's `data`.
    """
    titles = _mappings(attributes.get("titles"))
    title = next((one for one in titles if not one.get("titleType")), titles[0] if titles else {})
    subtitle = next((one for one in titles if one.get("titleType") == "Subtitle"), {})
    publisher, around = attributes.get("publisher"), _mapping(attributes.get("container"))
    types = _mapping(attributes.get("types"))
    kind = _TYPES.get(str(types.get("resourceTypeGeneral")), "") or str(types.get("citeproc") or "document")
    if kind == "article-journal" and not around.get("title"):
        kind = "article"  # what nobody has printed
    made: dict[str, Any] = {
        "type": kind,
        "title": title.get("title"),
        "author": list(_people(attributes.get("creators"))),
        "editor": list(
            _people(one for one in _mappings(attributes.get("contributors")) if one.get("contributorType") == "Editor")
        ),
        "issued": _issued(attributes),
        "publisher": publisher.get("name") if isinstance(publisher, Mapping) else publisher,
        "version": attributes.get("version"),
        "DOI": attributes.get("doi"),
    }
    if kind in _WITHIN:
        pages = [str(around[name]) for name in ("firstPage", "lastPage") if around.get(name)]
        made |= {"container-title": around.get("title"), "volume": around.get("volume"), "issue": around.get("issue")}
        made["page"] = "-".join(dict.fromkeys(pages))
    if kind == "thesis":
        made["genre"] = types.get("resourceType")
    return {name: value for name, value in made.items() if value}, str(subtitle.get("title") or "")


def updates(attributes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what has become of what a DOI names: its later versions."""
    for one in _mappings(attributes.get("relatedIdentifiers")):
        if one.get("relationType") in _LATER and one.get("relatedIdentifierType") == "DOI":
            yield "new-version", str(one.get("relatedIdentifier", ""))


def _people(written: object) -> Iterator[dict[str, str]]:
    for one in _mappings(written):
        name, family = str(one.get("name") or "").strip(), str(one.get("familyName") or "").strip()
        is_person = one.get("nameType") == "Personal" or bool(one.get("nameIdentifiers"))
        if family:
            yield {"family": family, "given": str(one.get("givenName") or "")}
        elif one.get("nameType") != "Organizational" and (found := re.fullmatch(r"([^,]+),\s*([^,]+)", name)):
            yield {"family": found[1], "given": found[2]}
        elif is_person and one.get("nameType") != "Organizational" and " " in name:
            yield _person(name)
        elif name:
            yield {"literal": name}


def _person(name: str) -> dict[str, str]:
    try:
        (read,) = names.read(name, lambda text: text)
    except ValueError:
        return {"literal": name}
    return {
        "family": read.family, "given": read.given, "suffix": read.suffix, "dropping-particle": read.dropping,
        "non-dropping-particle": read.non_dropping,
    }  # fmt: skip


def _issued(attributes: Mapping[str, Any]) -> dict[str, Any] | None:
    year = str(attributes.get("publicationYear") or "")
    for one in _mappings(attributes.get("dates")):
        found = re.match(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?(?:T|$)", str(one.get("date", "")))
        if one.get("dateType") == "Issued" and found and found[1] == (year or found[1]):
            return {"date-parts": [[int(part) for part in found.groups() if part]]}
    return {"date-parts": [[int(year)]]} if re.fullmatch(r"\d{4}", year) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: object) -> list[Mapping[str, Any]]:
    try:
        listed = list(value) if not isinstance(value, (str, Mapping)) else []  # type: ignore[call-overload]
    except TypeError:
        return []
    return [one for one in listed if isinstance(one, Mapping)]
