"""Read a collection of Zotero by the local API of its desktop program: nothing is written there.

The environment variable `QUAERE_ZOTERO` names another address than that of this machine.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.parse import quote

from quaere.errors import AuthorError, MisuseError, Place, nearest

_ADDRESS = "http://127.0.0.1:23119"
_EVERYTHING = "all"


class ZoteroError(AuthorError):
    """Zotero does not run, refuses, or answers with something else than it should."""


def read(collection: str) -> str:
    """Return the items of a collection, and of those in it, as BibLaTeX.

    Args:
        collection: Its name, its path such as `Thesis/Methods`, or its key; `all` for the whole library.

    Raises:
        ZoteroError: Zotero can't be asked.
        MisuseError: There is no such collection.
    """
    if collection == _EVERYTHING:
        return _get("/api/users/0/items/top?format=biblatex")
    texts = []
    for key in _keys(collection):
        texts.append(_get(f"/api/users/0/collections/{quote(key)}/items/top?format=biblatex"))
    return "\n".join(texts)


def _keys(wanted: str) -> list[str]:
    """Return the keys of a collection and of all below it."""
    try:
        told = json.loads(_get("/api/users/0/collections"))
    except json.JSONDecodeError:
        raise _strange("something else than JSON") from None
    if not isinstance(told, list) or not all(
        isinstance(one, dict) and isinstance(one.get("data"), dict) for one in told
    ):
        raise _strange("something else than collections")
    collections: dict[str, Mapping[str, Any]] = {str(one.get("key")): one["data"] for one in told}
    paths = {key: "/".join(_path(key, collections)) for key in collections}
    found = [key for key, path in paths.items() if wanted in (key, path, path.rpartition("/")[2])]
    if not found:
        hint = nearest(wanted, paths.values()) or "`all` is the whole library"
        raise MisuseError(Place("", 0), f"Zotero has no collection `{wanted}`", hint)
    if len(found) > 1:
        named = ", ".join(f"`{paths[key]}` ({key})" for key in found)
        raise MisuseError(Place("", 0), f"Zotero has {len(found)} collections `{wanted}`", f"name one of {named}")
    return [key for key in paths if found[0] in _chain(key, collections)]


def _path(key: str, collections: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [str(collections[one].get("name", "")) for one in reversed(_chain(key, collections))]


def _chain(key: str, collections: Mapping[str, Mapping[str, Any]]) -> list[str]:
    chain: list[str] = []
    while key in collections and key not in chain:
        chain.append(key)
        key = str(collections[key].get("parentCollection") or "")
    return chain


def _get(path: str) -> str:
    address = (os.environ.get("QUAERE_ZOTERO") or _ADDRESS).rstrip("/")
    timeout = float(os.environ.get("QUAERE_TIMEOUT") or 60)
    # On this machine: no proxy stands between.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(address + path, headers={"Zotero-API-Version": "3"})
    try:
        with opener.open(request, timeout=timeout) as answer:
            data: bytes = answer.read()
            kind = answer.headers.get_content_type()
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 403:
            hint = (
                "in Zotero: Settings, Advanced, `Allow other applications on this computer to communicate with Zotero`"
            )
            raise ZoteroError(Place("Zotero", 0), "its local API is off", hint) from None
        raise ZoteroError(Place("Zotero", 0), f"it answers with an error ({error.code})", _EXPORT) from None
    except TimeoutError:
        raise ZoteroError(Place("Zotero", 0), f"it did not answer within {timeout:g} s", _EXPORT) from None
    except (OSError, HTTPException) as error:
        is_cut = isinstance(error, HTTPException)
        problem = "its answer broke off" if is_cut else f"it does not answer at {address}"
        raise ZoteroError(Place("Zotero", 0), problem, f"start Zotero 7 or later; {_EXPORT}") from None
    if kind == "text/html":
        raise _strange("a web page")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _strange("something else than text") from None


_EXPORT = "or export the collection there, as BibLaTeX or CSL-JSON, and add the file"


def _strange(what: str) -> ZoteroError:
    return ZoteroError(Place("Zotero", 0), f"it answers with {what}", _EXPORT)
