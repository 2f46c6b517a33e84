"""References in CSL-JSON, which citation processors such as pandoc and Zotero read.

Variables and types: CSL 1.0.2, appendices III and IV. Which field goes where follows pandoc, and Zotero beside it.
"""

from __future__ import annotations

from collections.abc import Mapping

from quaere.content.bibliography import identifiers, kinds, tex
from quaere.content.bibliography.dates import Date, DateError, of_text
from quaere.content.bibliography.reference import Name, Reference, joined
from quaere.content.bibliography.tex import Text

COPIED = {
    "shorttitle": "title-short",
    "origtitle": "original-title",
    "origpublisher": "original-publisher",
    "origlocation": "original-publisher-place",
    "shortjournal": "container-title-short",
    "eventtitle": "event-title",
    "series": "collection-title",
    "volumes": "number-of-volumes",
    "chapter": "chapter-number",
    "edition": "edition",
    "version": "version",
    "pagetotal": "number-of-pages",
    "isbn": "ISBN",
    "issn": "ISSN",
    "pmcid": "PMCID",
    "abstract": "abstract",
    "keywords": "keyword",
    "library": "call-number",
}
_ROLES = {
    "author": "author",
    "editor": "editor",
    "translator": "translator",
    "bookauthor": "container-author",
    "holder": "authority",
    **dict.fromkeys(("editora", "editorb", "editorc", "annotator", "commentator"), "contributor"),
    **dict.fromkeys(("introduction", "foreword", "afterword"), "contributor"),
}
_PARTS = {"chapter", "paper-conference", "entry-encyclopedia", "entry-dictionary"}
_EDITORS = {"compiler": "compiler", "translator": "translator", "director": "director", "founder": "series-creator"}
DATES = {"urldate": "accessed", "origdate": "original-date", "eventdate": "event-date"}

# Babel's names of languages, which BibLaTeX takes, as the tags that CSL takes.
LANGUAGES = {
    **dict.fromkeys(("english", "american", "usenglish", "en-us"), "en-US"),
    **dict.fromkeys(("british", "ukenglish", "en-gb"), "en-GB"),
    "australian": "en-AU",
    "canadian": "en-CA",
    "newzealand": "en-NZ",
    **dict.fromkeys(("german", "ngerman"), "de-DE"),
    **dict.fromkeys(("austrian", "naustrian"), "de-AT"),
    **dict.fromkeys(("swissgerman", "nswissgerman"), "de-CH"),
    **dict.fromkeys(("french", "francais", "acadian"), "fr-FR"),
    "canadien": "fr-CA",
    "spanish": "es-ES",
    "mexican": "es-MX",
    "italian": "it-IT",
    **dict.fromkeys(("portuguese", "portuges"), "pt-PT"),
    **dict.fromkeys(("brazilian", "brazil"), "pt-BR"),
    "catalan": "ca-AD",
    "galician": "gl",
    "basque": "eu",
    "dutch": "nl-NL",
    "danish": "da-DK",
    "swedish": "sv-SE",
    **dict.fromkeys(("norsk", "norwegian"), "nb-NO"),
    "nynorsk": "nn-NO",
    "icelandic": "is-IS",
    "finnish": "fi-FI",
    "estonian": "et-EE",
    "latvian": "lv-LV",
    "lithuanian": "lt-LT",
    "polish": "pl-PL",
    "czech": "cs-CZ",
    "slovak": "sk-SK",
    **dict.fromkeys(("slovene", "slovenian"), "sl-SI"),
    "croatian": "hr-HR",
    "serbian": "sr-RS",
    "hungarian": "hu-HU",
    "magyar": "hu-HU",
    "romanian": "ro-RO",
    "bulgarian": "bg-BG",
    "russian": "ru-RU",
    "ukrainian": "uk-UA",
    **dict.fromkeys(("greek", "polutonikogreek"), "el-GR"),
    "turkish": "tr-TR",
    "hebrew": "he-IL",
    "arabic": "ar",
    **dict.fromkeys(("farsi", "persian"), "fa-IR"),
    "chinese": "zh-CN",
    "japanese": "ja-JP",
    "korean": "ko-KR",
    "vietnamese": "vi-VN",
    "thai": "th-TH",
    "latin": "la",
    "welsh": "cy",
    "irish": "ga",
    "esperanto": "eo",
}


def item(reference: Reference) -> dict[str, object]:
    """Return a reference as an item of CSL-JSON."""
    made: dict[str, object] = {"id": reference.key, "type": kind(reference).csl}
    made |= _names(reference)
    for field, variable in DATES.items():
        if date := read_date(reference.fields.get(field, "")):
            made[variable] = _date(date)
    if reference.issued:
        made["issued"] = _date(reference.issued)
    plain = {variable: reference.texts.get(field) for field, variable in COPIED.items()}
    texts = {**plain, **_titles(reference), **_computed(reference)}
    # Only what is prose may hold tags.
    return made | {name: text.html if name in _PROSE else text.plain for name, text in texts.items() if text}


_PROSE = {"title", "container-title", "collection-title", "volume-title", "title-short", "abstract", "note", "annote"}
_PROSE |= {"original-title", "event-title", "container-title-short"}


def kind(reference: Reference) -> kinds.Kind:
    """Return what a reference is."""
    subtype = kinds.SUBTYPES.get((reference.kind, reference.fields.get("entrysubtype", "").lower()))
    # Without anything that it appeared in, what is on arXiv is a preprint.
    if reference.kind in ("misc", "online", "unpublished", "electronic") and reference.arxiv:
        return kinds.PREPRINT
    # A talk that nobody printed.
    if reference.kind == "unpublished" and reference.fields.get("eventtitle"):
        return kinds.KINDS["presentation"]
    return subtype or kinds.KINDS.get(reference.kind, kinds.OTHER)


def language(reference: Reference) -> str:
    """Return the language as a tag, such as de-DE, or as it is written; empty if none is."""
    written = (
        reference.fields.get("langid") or reference.fields.get("language") or reference.fields.get("hyphenation", "")
    )
    return LANGUAGES.get(written.lower().strip(), written)


def genre(reference: Reference) -> str:
    """Return what kind of thesis, report or the like a reference is; empty if that is not said."""
    return tex.bibstring(reference.fields.get("type") or kinds.THESES.get(reference.kind, ""))


def status(reference: Reference) -> str:
    """Return how far the publication is, such as in press; empty if that is not said."""
    return tex.bibstring(reference.fields.get("pubstate", ""))


def _titles(reference: Reference) -> dict[str, Text | None]:
    """Return the titles: that of the reference, that of what holds it, and that of a volume between them."""
    texts = reference.texts
    title = joined(". ", joined(": ", texts.get("title"), texts.get("subtitle")), texts.get("titleaddon"))
    book = joined(". ", joined(": ", texts.get("booktitle"), texts.get("booksubtitle")), texts.get("booktitleaddon"))
    main = joined(". ", joined(": ", texts.get("maintitle"), texts.get("mainsubtitle")), texts.get("maintitleaddon"))
    journal = texts.get("journaltitle") or texts.get("journal")
    journal = joined(". ", joined(": ", journal, texts.get("journalsubtitle")), texts.get("journaltitleaddon"))
    found: dict[str, Text | None] = {}
    if book and reference.kind not in kinds.WHOLES | kinds.SETS or kind(reference).csl in _PARTS:
        found = {"title": title, "container-title": main or book, "volume-title": book if main else None}
    elif main:
        found = {"title": main, "volume-title": title}
    else:
        found = {"title": title or book}
    if journal:
        found["container-title"] = journal
    elif reference.kind == "periodical":
        found = {"title": texts.get("issuetitle") or title, "container-title": title}
    if not found.get("title"):
        found["title"] = reference.heading
    if len(title) and (texts.get("subtitle") or texts.get("titleaddon")) and not texts.get("shorttitle") and not main:
        found["title-short"] = texts.get("title")
    return found


def _computed(reference: Reference) -> dict[str, Text | None]:
    """Return what is made of more fields than one, or depends on what the reference is."""
    fields, texts = reference.fields, reference.texts
    number = texts.get("number")
    what = kind(reference)
    eprint = f"arXiv:{reference.arxiv}" if what is kinds.PREPRINT and reference.arxiv else ""
    is_article = what.csl.startswith(("article-", "review"))
    is_numbered = what.csl in ("report", "patent", "standard", "legislation", "legal_case", "software")
    issue = joined(", ", number, texts.get("issue")) if is_article else texts.get("issue")
    return {
        "publisher": publisher(reference),
        ("jurisdiction" if what.csl == "patent" else "publisher-place"): texts.get("address") or texts.get("location"),
        # Who names both means the conference by the location, as the ACM does.
        "event-place": texts.get("venue") or (texts.get("location") if texts.get("address") else None),
        "volume": joined(".", texts.get("volume"), texts.get("part")),
        "issue": issue,
        "number": Text.of(eprint) or (number if is_numbered else None),
        "collection-number": number if not (is_article or is_numbered or eprint) else None,
        "page": Text.of(fields.get("pages", "").replace("—", "-").replace("–", "-").replace("−", "-"))
        or texts.get("eid"),
        "DOI": Text.of(reference.doi or fields.get("doi", "")),
        "URL": Text.of(address(reference)),
        "genre": Text.of(genre(reference)),
        "status": Text.of(status(reference)),
        "PMID": texts.get("pmid") or (texts.get("eprint") if reference.eprint_type == "pubmed" else None),
        "language": Text.of(language(reference)),
        "note": joined(". ", texts.get("note"), texts.get("addendum")),
        "annote": texts.get("annotation") or texts.get("annote"),
        "archive": Text.of(_archive(reference)),
        "archive_location": texts.get("eprint") if _archive(reference) else None,
    }


def publisher(reference: Reference) -> Text:
    """Return who brought a reference out, or how."""
    names = ("publisher", "institution", "school", "organization", "howpublished")
    # The address of a page is said elsewhere.
    said = (name for name in names if not (name == "howpublished" and identifiers.url(reference.fields.get(name, ""))))
    return joined("; ", *(reference.texts.get(name) for name in said))


def _archive(reference: Reference) -> str:
    """Return the archive of an eprint, unless its address names it."""
    kind = reference.eprint_type
    return kind if reference.fields.get("eprint") and kind.lower() not in identifiers.HOMES else ""


def address(reference: Reference) -> str:
    """Return the address at which a reference is found, other than by its DOI; empty if there is none."""
    if reference.url:
        return reference.url
    if reference.arxiv:
        return identifiers.HOMES["arxiv"] + reference.arxiv
    return identifiers.home(reference.eprint_type, reference.fields.get("eprint", ""))


def _names(reference: Reference) -> dict[str, object]:
    found: dict[str, list[dict[str, object]]] = {}
    for field, names in reference.names.items():
        role = _ROLES.get(field, "")
        if field == "editor":
            role = _EDITORS.get(reference.fields.get("editortype", "").lower(), "editor")
        if role and names:
            found.setdefault(role, []).extend(map(_name, names))
    return dict(found)


def _name(name: Name) -> dict[str, object]:
    if name.is_literal:
        return {"literal": name.family}
    parts: Mapping[str, str] = {
        "family": name.family,
        "given": name.given,
        "suffix": name.suffix,
        "dropping-particle": name.dropping,
        "non-dropping-particle": name.non_dropping,
    }
    return {part: text for part, text in parts.items() if text}


def read_date(written: str) -> Date:
    """Return a date that is not when a reference appeared; as words where it can't be read."""
    try:
        return of_text(written.strip()) if written.strip() else Date()
    except DateError:
        # A day on which somebody looked at a page is not worth a fault.
        return Date(words=written)


def _date(date: Date) -> dict[str, object]:
    made: dict[str, object] = {}
    if date.parts:
        made["date-parts"] = [list(part) for part in date.parts]
    if date.season:
        made["season"] = date.season
    if date.is_circa:
        made["circa"] = True
    if date.words and not date.parts:
        made["literal"] = date.words
    return made
