"""Ask arXiv, Crossref and DataCite for papers, by identifier or by title, and for what has become of them.

Their clients are installed by `pip install 'quaere[add]'`. Environment variables name other addresses, for a mirror or
a test: `QUAERE_ARXIV`, `QUAERE_CROSSREF`, `QUAERE_DATACITE`; `QUAERE_MAILTO` tells them whom to write to;
`QUAERE_TIMEOUT` is the number of seconds that an answer may take.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from quaere.authoring.entries import value_of
from quaere.authoring.sources import csl_json, datacite
from quaere.authoring.sources.found import Made, alike, without_version
from quaere.authoring.sources.people import people
from quaere.content.bibliography import names
from quaere.content.bibliography.dates import MONTHS
from quaere.content.bibliography.reference import Name
from quaere.errors import AuthorError, MisuseError, Place

if TYPE_CHECKING:
    import arxiv
    import requests

T = TypeVar("T")
INSTALL = "pip install 'quaere[add]'"
OFFLINE = "files and pasted entries can be added without it: `quaere add FILE`, `quaere add -`"
_PATIENCE = 60
"""Seconds that a service may ask to wait."""
_TRIES = 3
_LARGEST = 64_000_000
_PAGE = 100
_DOIS = 40
"""DOIs in one question to Crossref: its address must not be too long."""


class ServiceError(AuthorError):
    """A service that can't be reached, refuses, or answers with something else than it should."""


class _RefusedError(Exception):
    """A service answers with a status of failure."""

    def __init__(self, status: int, wait: str | None) -> None:
        super().__init__(status)
        self.status, self.wait = status, wait


class _StrangeError(Exception):
    """An answer that is not what was asked for; the message says why."""


@dataclass(frozen=True)
class Record:
    """A paper as a service knows it.

    Attributes:
        made: Its entry.
        title: Its title.
        authors: The surnames of its authors.
        arxiv: Its arXiv identifier with the newest version.
        doi: Its DOI.
        updates: What has become of it: `retraction`, `withdrawal`, `correction` …, with a DOI or a day behind it.
        updated: The day of its newest version.
    """

    made: Made
    title: str
    authors: tuple[str, ...]
    arxiv: str = ""
    doi: str = ""
    updates: tuple[tuple[str, str], ...] = ()
    updated: str = ""


class Services:
    """arXiv, Crossref and DataCite, asked no more often than they like."""

    def __init__(self, tell: Callable[[str], None] = lambda _: None) -> None:
        self._tell = tell
        self._timeout = float(os.environ.get("QUAERE_TIMEOUT") or 20)
        self._arxiv: arxiv.Client | None = None

    # arXiv

    def on_arxiv(self, ids: Sequence[str]) -> Iterator[tuple[str, Record | None]]:
        """Yield papers by their arXiv identifiers, with or without a version; None for one that is not there."""
        arxiv = _client("arxiv")
        for start in range(0, len(ids), _PAGE):
            page = list(ids[start : start + _PAGE])
            search = arxiv.Search(id_list=page, max_results=len(page))
            results = self._search(search)
            found = {without_version(one.get_short_id()): one for one in results}
            for id in page:
                one = found.get(without_version(id))
                yield id, _of_arxiv(one, id) if one else None

    def _by_title_on_arxiv(self, title: str) -> Iterator[Record]:
        arxiv = _client("arxiv")
        words = " ".join(re.findall(r"\w+", title))
        search = arxiv.Search(query=f'ti:"{words}"', max_results=5)
        for one in self._search(search):
            yield _of_arxiv(one, without_version(one.get_short_id()))

    def _search(self, search: arxiv.Search) -> list[arxiv.Result]:
        found = self._patiently("arXiv", lambda: list(self._arxiv_client().results(search))) or []
        # What it does not understand is told in an entry, too.
        return [one for one in found if "/api/errors" not in one.entry_id]

    def _arxiv_client(self) -> arxiv.Client:
        if self._arxiv is None:
            arxiv = _client("arxiv")
            base = os.environ.get("QUAERE_ARXIV", "")
            # Three seconds between two questions are what arXiv asks for.
            client = arxiv.Client(page_size=_PAGE, delay_seconds=0.0 if base else 3.0, num_retries=0)
            if base:
                client.query_url_format = f"{base.rstrip('/')}/api/query?{{}}"
            # It has neither a time limit nor a look at what an answer is.
            client._session = _session(self._timeout)
            self._arxiv = client
        return self._arxiv

    # Crossref

    def by_doi(self, dois: Sequence[str]) -> Iterator[tuple[str, Record | None]]:
        """Yield papers by their DOIs; None for one that neither Crossref nor DataCite knows."""
        single = [doi for doi in dois if len(dois) == 1 or re.search(r"[,\s]", doi)]
        for doi in single:
            message = self._crossref("works", ids=[quote(doi, safe="")])
            yield doi, _of_crossref(message) if message else self._in_datacite(doi)
        rest = [doi for doi in dois if doi not in single]
        for start in range(0, len(rest), _DOIS):
            page = rest[start : start + _DOIS]
            message = self._crossref("works", filter={"doi": page}, limit=len(page))
            found = {str(item.get("DOI", "")).casefold(): item for item in _items(message)}
            for doi in page:
                item = found.get(doi.casefold())
                yield doi, _of_crossref(item) if item else self._in_datacite(doi)

    def _by_title_in_crossref(self, title: str) -> Iterator[Record]:
        yield from map(_of_crossref, _items(self._crossref("works", query_bibliographic=title, limit=5)))

    def _crossref(self, name: str, **question: Any) -> Mapping[str, Any] | None:
        habanero = _client("habanero")
        import httpx2

        base = os.environ.get("QUAERE_CROSSREF") or "https://api.crossref.org"
        client = habanero.Crossref(
            base_url=base.rstrip("/"), mailto=os.environ.get("QUAERE_MAILTO") or None, timeout=self._timeout
        )

        def ask() -> Any:
            try:
                return getattr(client, name)(**question)
            except httpx2.HTTPStatusError as error:
                raise _RefusedError(error.response.status_code, error.response.headers.get("Retry-After")) from error
            except habanero.RequestError as error:
                raise _StrangeError(f"it answers with something else than JSON, {str(error.error)[:80]!r}") from error
            except KeyError as error:
                raise _StrangeError(f"its answer lacks {error}") from error
            except RuntimeError as error:
                # habanero's own name for what its client raises.
                raise error.__cause__ or error from error

        answer = self._patiently("Crossref", ask, is_unknown=404)
        if answer is None:
            return None
        if not isinstance(answer, Mapping) or not isinstance(answer.get("message"), Mapping):
            raise _fault("Crossref", "its answer has no `message`")
        message: Mapping[str, Any] = answer["message"]
        return message

    # DataCite, where data, software and many preprints are registered

    def _in_datacite(self, doi: str) -> Record | None:
        requests = _client("requests")
        base = os.environ.get("QUAERE_DATACITE") or "https://api.datacite.org"
        mailto = os.environ.get("QUAERE_MAILTO")
        headers = {"User-Agent": f"quaere (mailto:{mailto})"} if mailto else {}

        def ask() -> Any:
            address = f"{base.rstrip('/')}/dois/{quote(doi, safe='')}"
            with requests.get(address, timeout=self._timeout, stream=True, headers=headers) as response:
                return json.loads(_content(response, "json", "JSON"))

        answer = self._patiently("DataCite", ask, is_unknown=404)
        if answer is None:
            return None
        data = answer.get("data") if isinstance(answer, Mapping) else None
        attributes = data.get("attributes") if isinstance(data, Mapping) else None
        if not isinstance(attributes, Mapping):
            raise _fault("DataCite", "its answer has no `data.attributes`")
        return _of_datacite({"doi": doi, **attributes})

    # All

    def by_title(self, title: str, authors: Iterable[str]) -> Record | None:
        """Return the paper of a title, if Crossref or arXiv has one of just this title and of one of the authors."""
        wanted, surnames = alike(title), {alike(name) for name in authors}
        if len(wanted) < 8:
            return None
        for search in (self._by_title_in_crossref, self._by_title_on_arxiv):
            for record in search(title):
                known = {alike(name) for name in record.authors}
                if alike(record.title) == wanted and (not surnames or not known or surnames & known):
                    return record
        return None

    def _patiently(self, service: str, ask: Callable[[], T], is_unknown: int = 0) -> T | None:
        """Ask a service; wait as long as it asks to, or a little, where it refuses for the moment."""
        for attempt in range(_TRIES):
            try:
                return ask()
            except _RefusedError as refused:
                if refused.status == is_unknown:
                    return None
                wait = _seconds(refused.wait)
                if refused.status == 429 or refused.status >= 500:
                    pause = 2.0**attempt if wait is None else wait
                    if attempt + 1 < _TRIES and pause <= _PATIENCE:
                        self._tell(f"{service} answers {refused.status}: asked again in {pause:.0f} s")
                        time.sleep(pause)
                        continue
                raise _refused(service, refused.status, wait) from refused
            except _StrangeError as error:
                raise _fault(service, str(error)) from error
            except Exception as error:
                if told := _of_network(error, self._timeout):
                    raise ServiceError(Place(service, 0), told, OFFLINE) from error
                raise
        raise AssertionError  # the last try returns or raises


def _refused(service: str, status: int, wait: float | None) -> ServiceError:
    if status == 429:
        until = f"in {wait:.0f} s" if wait is not None else "later"
        return ServiceError(Place(service, 0), "it has been asked too often (429)", f"run the command again {until}")
    hint = "run the command again later" if status >= 500 else "look at what was asked for"
    return ServiceError(Place(service, 0), f"it answers with an error ({status})", f"{hint}; {OFFLINE}")


def _fault(service: str, problem: str) -> ServiceError:
    return ServiceError(Place(service, 0), problem, f"run the command again later; {OFFLINE}")


def _of_network(error: Exception, timeout: float) -> str:
    """Say what failed between here and a service; empty if it is none of that."""
    kinds = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    name = type(error).__name__
    if not kinds & {"requests", "httpx2", "urllib3", "httpcore2"} and not isinstance(error, OSError):
        return "its answer is no JSON" if isinstance(error, json.JSONDecodeError) else ""
    if isinstance(error, json.JSONDecodeError):
        return "its answer is no JSON"
    if "Timeout" in name:
        return f"it did not answer within {timeout:g} s"
    if any(one in name for one in ("Chunked", "Protocol", "Incomplete", "ContentDecoding", "ReadError")):
        return "its answer broke off"
    return "it can't be reached"


def _seconds(written: str | None) -> float | None:
    """Return the seconds that `Retry-After` asks to wait."""
    if not written:
        return None
    if re.fullmatch(r"\s*\d{1,9}\s*", written):
        return float(written)
    try:
        until = parsedate_to_datetime(written)
    except ValueError:
        return None
    return max(0.0, (until - datetime.datetime.now(until.tzinfo)).total_seconds())


def _client(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        problem = f"asking arXiv, Crossref and DataCite needs `{error.name}`, which is not installed"
        raise MisuseError(Place("", 0), problem, f"{INSTALL}; {OFFLINE}") from None


def _session(timeout: float) -> Any:
    """Return a session for arXiv's client that looks at what an answer is."""
    import requests

    class Session(requests.Session):
        def get(self, url: str | bytes, **options: Any) -> requests.Response:  # type: ignore[override]
            # Questions are seconds apart: no connection is kept for the next.
            with contextlib.closing(self), super().get(url, timeout=timeout, stream=True, **options) as response:
                if response.status_code == 400:
                    told = re.search(rb"<summary[^>]*>([^<]+)</summary>", response.raw.read(100_000, True))
                    said = told[1].decode(errors="replace") if told else ""
                    raise _StrangeError(f"it does not understand the question: {said}".rstrip(": "))
                content = _content(response, "xml", "Atom")
                if not content.rstrip().endswith(b"</feed>"):
                    raise _StrangeError("its answer broke off")
                response._content = content
                return response

    return Session()


def _content(response: requests.Response, kind: str, name: str) -> bytes:
    """Return what a service answers, if it is of the kind that it should be."""
    if response.status_code != 200:
        raise _RefusedError(response.status_code, response.headers.get("Retry-After"))
    given = response.headers.get("Content-Type", "")
    if kind not in given:
        raise _StrangeError(f"it answers with `{given.partition(';')[0]}` in place of {name}")
    content = b""
    for part in response.iter_content(1 << 16):
        content += part
        if len(content) > _LARGEST:
            raise _StrangeError("its answer is too long")
    return content


# What they answer


def _of_arxiv(one: Any, asked: str) -> Record:
    newest = re.search(r"v(\d+)$", one.get_short_id())
    authors = [_person(author.name) for author in one.authors]
    # Only who asks for a version wants that one.
    id = asked if re.search(r"v\d+$", asked) else without_version(one.get_short_id())
    fields = {
        "author": people(authors),
        "title": value_of("title", one.title),
        "year": str(one.published.year),
        "month": list(MONTHS)[one.published.month - 1],
        "doi": value_of("doi", one.doi or ""),
        "eprint": id,
        "archiveprefix": "arXiv",
        "primaryclass": one.primary_category,
        "version": "" if id == asked and "v" in id.rpartition(".")[2] else newest[1] if newest else "",
        "url": f"https://arxiv.org/abs/{id}",
        "note": value_of("note", one.journal_ref or ""),
    }
    withdrawn = re.search(r"(?i)\b(?:paper|article|manuscript|submission)\b[^.]{0,40}\bwithdrawn\b|^withdrawn\b",
                          f"{one.comment or ''}. {one.summary}")  # fmt: skip
    made = Made(
        "misc", "", {name: value for name, value in fields.items() if value}, Place(f"arXiv:{id}", 0), one.entry_id
    )
    return Record(
        made=made,
        title=one.title,
        authors=tuple(name.surname for name in authors),
        arxiv=one.get_short_id(),
        doi=one.doi or "",
        updates=(("withdrawal", (one.comment or "").strip()),) if withdrawn else (),
        updated=one.updated.date().isoformat(),
    )


def _person(name: str) -> Name:
    if re.search(r"(?i)\b(?:collaborations?|consortium|team|group|project)\b", name):
        return Name(name, is_literal=True)
    try:
        read = names.read(name, lambda text: text)
    except names.NameFormError:
        read = ()
    return read[0] if len(read) == 1 else Name(name, is_literal=True)


_TYPES = {
    "book": "book", "book-chapter": "chapter", "book-part": "chapter", "book-section": "chapter",
    "database": "dataset", "dataset": "dataset", "dissertation": "thesis", "edited-book": "book",
    "journal-article": "article-journal", "monograph": "book", "peer-review": "review", "posted-content": "article",
    "proceedings": "book", "proceedings-article": "paper-conference", "reference-book": "book",
    "reference-entry": "entry-encyclopedia", "report": "report", "report-component": "report", "standard": "standard",
}  # fmt: skip
_TAKEN = (
    *("author", "editor", "translator", "container-title", "issued", "volume", "issue", "page", "publisher", "DOI"),
    *("edition-number", "article-number"),
)


def _items(message: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    items = (message or {}).get("items")
    if message is not None and not isinstance(items, list):
        raise _fault("Crossref", "its answer has no `items`")
    return [one for one in items or [] if isinstance(one, Mapping)]


def _of_crossref(message: Mapping[str, Any]) -> Record:
    item: dict[str, Any] = {name: message[name] for name in _TAKEN if message.get(name)}
    item["type"] = _TYPES.get(str(message.get("type")), "document")
    title, subtitle = _first(message.get("title")), _first(message.get("subtitle"))
    item["title"] = title
    if number := item.pop("article-number", None):
        item.setdefault("page", number)
    if edition := item.pop("edition-number", None):
        item["edition"] = edition
    item["container-title"] = _first(message.get("container-title"))
    institution = message.get("institution")
    if item["type"] == "article" and isinstance(institution, list) and institution:
        item["publisher"] = _first([one.get("name", "") for one in institution if isinstance(one, Mapping)])
    for name in ("ISBN", "ISSN"):
        if numbers := message.get(name):
            item[name] = numbers[0] if isinstance(numbers, list) else numbers
    return _of_csl(item, subtitle, message, _updates(message, title))


def _of_datacite(attributes: Mapping[str, Any]) -> Record:
    item, subtitle = datacite.item(attributes)
    item["title"] = _first(item.get("title"))
    return _of_csl(item, _first(subtitle), attributes, datacite.updates(attributes))


def _of_csl(
    item: Mapping[str, Any], subtitle: str, told: Mapping[str, Any], updates: Iterable[tuple[str, str]]
) -> Record:
    """Return the record of a CSL item, with what a service told of it."""
    kind, fields = csl_json.entry(item)
    title, doi = str(item.get("title", "")), str(item.get("DOI", ""))
    if subtitle and alike(subtitle) not in alike(title):
        fields["subtitle"] = value_of("title", subtitle)
    authors = [one for one in item.get("author") or [] if isinstance(one, Mapping)]
    return Record(
        made=Made(kind, "", fields, Place(f"doi:{doi}", 0), json.dumps(told, indent=2, ensure_ascii=False)),
        title=re.sub(r"</?[a-z]+>", "", title),
        authors=tuple(str(one.get("family") or one.get("name") or one.get("literal") or "") for one in authors),
        doi=doi,
        updates=tuple(updates),
    )


def _updates(message: Mapping[str, Any], title: str) -> Iterator[tuple[str, str]]:
    seen = set()
    for one in message.get("updated-by") or []:
        if isinstance(one, Mapping) and one.get("type"):
            kind, doi = str(one["type"]).replace("_", "-").casefold(), str(one.get("DOI", ""))
            if (kind, doi) not in seen:
                seen.add((kind, doi))
                yield kind, doi
    relation = message.get("relation")
    if isinstance(relation, Mapping):
        for name, kind in (("is-preprint-of", "publication"), ("has-version", "new-version")):
            for other in relation.get(name) or []:
                if isinstance(other, Mapping) and other.get("id-type") == "doi":
                    yield kind, str(other.get("id", ""))
    if re.match(r"(?i)\W*(?:retracted|withdrawn)\b", title) and not any(
        kind in ("retraction", "withdrawal") for kind, _ in seen
    ):
        yield "retraction", ""


def _first(value: object) -> str:
    """Return the first of a list of titles, without the tags that CSL does not know."""
    text = value[0] if isinstance(value, list) and value else value if isinstance(value, str) else ""
    text = re.sub(r"<(/?)(?:em|italic)>", r"<\1i>", str(text))
    return " ".join(re.sub(r"<(?!/?(?:i|b|sub|sup)>)/?[A-Za-z][^<>]*>", "", text).split())
