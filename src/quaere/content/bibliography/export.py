"""Export references in the formats of other programs.

Other distributions add theirs by the entry point `quaere.exports`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from quaere.content import plugins
from quaere.content.bibliography import csl
from quaere.content.bibliography import ris as ris_
from quaere.content.bibliography.reference import Reference


def bibtex(references: Iterable[Reference]) -> str:
    """Return the entries as they are written in the bibliography, with @strings resolved.

    Those that others inherit from come last, as BibTeX wants them.
    """
    references = list(references)
    sources: dict[str, str] = {}
    for reference in references:
        for key, source in reference.sources.items():
            # A parent stands behind the last of its heirs, cited or not.
            sources.pop(key, None)
            sources[key] = source
    return "\n".join(sources.values())


def csl_json(references: Iterable[Reference]) -> str:
    """Return the references as CSL-JSON, which citation processors such as pandoc and Zotero read."""
    return _json([csl.item(reference) for reference in references])


def plain_json(references: Iterable[Reference]) -> str:
    """Return the references as JSON with the bibliography's own field names and Unicode text."""
    return _json(
        [
            {
                **reference.fields,
                "key": reference.key,
                "kind": reference.kind,
                **({"year": str(reference.issued)} if reference.issued else {}),
                "author": [str(name) for name in reference.authors],
                "editor": [str(name) for name in reference.editors],
            }
            for reference in references
        ]
    )


def ris(references: Iterable[Reference]) -> str:
    """Return the references as RIS, which reference managers import."""
    return "\n".join(map(ris_.record, references))


FORMATS: dict[str, Callable[[Iterable[Reference]], str]] = {
    "json": plain_json,
    "bibtex": bibtex,
    "csl-json": csl_json,
    "ris": ris,
}


def formats() -> dict[str, Callable[[Iterable[Reference]], str]]:
    """Return the formats by name, ours and those of plugins; a plugin's overrides ours of the same name.

    Raises:
        PluginError: A plugin can't be loaded.
    """
    return FORMATS | dict(plugins.loaded("quaere.exports"))


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
