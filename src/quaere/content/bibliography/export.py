"""References in the formats that other programs read.

Other distributions add theirs by the entry point `quaere.exports`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from quaere.content import plugins
from quaere.content.model import Name, Reference

# BibTeX's kinds of entry in CSL's words and in RIS's; what is not listed is a document of no special kind.
_KINDS = {
    "article": ("article-journal", "JOUR"),
    "book": ("book", "BOOK"),
    "booklet": ("pamphlet", "PAMP"),
    "conference": ("paper-conference", "CPAPER"),
    "inbook": ("chapter", "CHAP"),
    "incollection": ("chapter", "CHAP"),
    "inproceedings": ("paper-conference", "CPAPER"),
    "manual": ("report", "RPRT"),
    "mastersthesis": ("thesis", "THES"),
    "phdthesis": ("thesis", "THES"),
    "proceedings": ("book", "CONF"),
    "techreport": ("report", "RPRT"),
    "unpublished": ("manuscript", "UNPB"),
}


def bibtex(references: Iterable[Reference]) -> str:
    """Return the entries as they are written in the bibliography, with @strings resolved."""
    return "\n".join(reference.source for reference in references)


def csl_json(references: Iterable[Reference]) -> str:
    """Return the references as CSL-JSON, which citation processors such as pandoc and Zotero read."""
    return _json([_csl(reference) for reference in references])


def plain_json(references: Iterable[Reference]) -> str:
    """Return the references as JSON with the bibliography's own field names and Unicode text."""
    return _json(
        [
            {
                **reference.fields,
                "key": reference.key,
                "kind": reference.kind,
                "author": [str(name) for name in reference.authors],
                "editor": [str(name) for name in reference.editors],
            }
            for reference in references
        ]
    )


def ris(references: Iterable[Reference]) -> str:
    """Return the references as RIS, which reference managers import."""
    return "\n".join(_ris(reference) for reference in references)


FORMATS: dict[str, Callable[[Iterable[Reference]], str]] = {
    "json": plain_json,
    "bibtex": bibtex,
    "csl-json": csl_json,
    "ris": ris,
}


def formats() -> dict[str, Callable[[Iterable[Reference]], str]]:
    """Return the formats by name, ours and those of plugins; a plugin's stands in for ours of the same name.

    Raises:
        PluginError: A plugin can't be loaded.
    """
    return FORMATS | dict(plugins.loaded("quaere.exports"))


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _csl(reference: Reference) -> dict[str, object]:
    fields = reference.fields
    kind = "article" if _is_preprint(reference) else _KINDS.get(reference.kind, ("document", ""))[0]
    item: dict[str, object] = {"id": reference.key, "type": kind, "title": reference.title}
    for role, names in (("author", reference.authors), ("editor", reference.editors)):
        if names:
            item[role] = [_csl_name(name) for name in names]
    if reference.year:
        item["issued"] = {"date-parts": [[reference.year]]}
    copied = {
        "container-title": fields.get("journal") or fields.get("booktitle"),
        "collection-title": fields.get("series"),
        "publisher": fields.get("publisher") or fields.get("institution") or fields.get("school"),
        "publisher-place": fields.get("address"),
        "volume": fields.get("volume"),
        "issue": fields.get("number"),
        "page": fields.get("pages"),
        "number": f"arXiv:{reference.arxiv}" if _is_preprint(reference) else None,
        "DOI": fields.get("doi"),
        "ISBN": fields.get("isbn"),
        "ISSN": fields.get("issn"),
        "URL": fields.get("url"),
        "note": fields.get("note"),
    }
    return item | {name: value for name, value in copied.items() if value}


def _csl_name(name: Name) -> dict[str, str]:
    return {"family": name.family, "given": name.given} if name.given else {"literal": name.family}


def _ris(reference: Reference) -> str:
    fields = reference.fields
    kind = "UNPB" if _is_preprint(reference) else _KINDS.get(reference.kind, ("", "GEN"))[1]
    first, _, last = fields.get("pages", "").replace("--", "–").partition("–")
    rows = [
        ("TY", kind),
        *(("AU", _ris_name(name)) for name in reference.authors),
        *(("ED", _ris_name(name)) for name in reference.editors),
        ("TI", reference.title),
        ("T2", fields.get("journal") or fields.get("booktitle") or ""),
        ("T3", fields.get("series", "")),
        ("PY", str(reference.year or "")),
        ("VL", fields.get("volume", "")),
        ("IS", fields.get("number", "")),
        ("SP", first),
        ("EP", last),
        ("PB", fields.get("publisher", "")),
        ("CY", fields.get("address", "")),
        ("DO", fields.get("doi", "")),
        ("SN", fields.get("isbn") or fields.get("issn") or ""),
        ("UR", fields.get("url", "")),
        ("ID", reference.key),
    ]
    # RIS has one line a field: a line break inside a value would start another.
    lines = [f"{tag}  - {' '.join(value.split())}" for tag, value in rows if value]
    return "\n".join([*lines, "ER  - ", ""])


def _ris_name(name: Name) -> str:
    return f"{name.family}, {name.given}" if name.given else name.family


def _is_preprint(reference: Reference) -> bool:
    return reference.kind == "misc" and reference.arxiv is not None
