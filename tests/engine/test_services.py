"""`quaere add` by identifiers, addresses, PDFs and Zotero: as the services answer, and when they do not."""

import io
import itertools
import json
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pypdf
import pytest

from quaere import cli
from quaere.authoring import changes, notices
from quaere.authoring.sources import pdf, zotero
from quaere.authoring.sources.named import Named, hint, named
from quaere.authoring.sources.services import Record, ServiceError, Services
from quaere.errors import AuthorError, MisuseError
from tests.engine.conftest import SOUND, Base, Inside
from tests.engine.test_kills import debris, killed_at

BIB = "papers/references.bib"

ENTRY = """\
  <entry>
    <id>http://arxiv.org/abs/{id}v{version}</id>
    <title>{title}</title>
    <updated>2023-08-02T00:41:18Z</updated>
    <link href="https://arxiv.org/abs/{id}v{version}" rel="alternate" type="text/html"/>
    <link href="https://arxiv.org/pdf/{id}v{version}" rel="related" type="application/pdf" title="pdf"/>
    <summary>We propose a new simple network architecture.</summary>
    <category term="cs.CL" scheme="http://arxiv.org/schemas/atom"/>
    <published>2017-06-12T17:57:34Z</published>
    <arxiv:comment>{comment}</arxiv:comment>
    <arxiv:primary_category term="cs.CL"/>
    {more}
    <author><name>Ashish Vaswani</name></author>
    <author><name>Guido van Rossum</name></author>
    <author><name>The ATLAS Collaboration</name></author>
  </entry>
"""
ARXIV = {
    "1706.03762": ENTRY.format(
        id="1706.03762", version=7, title="Attention Is All\n  You Need", comment="15 pages", more=""
    ),
    "hep-th/9901001": ENTRY.format(
        id="hep-th/9901001", version=2, title="Strings &amp; $\\alpha$-branes", comment="This paper has been withdrawn",
        more="<arxiv:doi>10.1000/strings</arxiv:doi><arxiv:journal_ref>J. Str. 1 (1999)</arxiv:journal_ref>",
    ),
}  # fmt: skip


def feed(entries: str, count: int) -> bytes:
    return f"""<?xml version='1.0' encoding='UTF-8'?>
<feed xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/" xmlns:arxiv="http://arxiv.org/schemas/atom"
      xmlns="http://www.w3.org/2005/Atom">
  <id>https://arxiv.org/api/x</id>
  <title>arXiv Query: search_query=&amp;id_list=&amp;start=0&amp;max_results=1</title>
  <updated>2026-11-27T00:00:00Z</updated>
  <opensearch:itemsPerPage>{count}</opensearch:itemsPerPage>
  <opensearch:totalResults>{count}</opensearch:totalResults>
  <opensearch:startIndex>0</opensearch:startIndex>
{entries}</feed>
""".encode()


WORK: dict[str, object] = {
    "DOI": "10.1038/s41586-020-2649-2",
    "type": "journal-article",
    "title": ["Array programming with <i>NumPy</i>"],
    "container-title": ["Nature"],
    "short-container-title": ["Nature"],
    "author": [
        {"ORCID": "https://orcid.org/0000-0002-5263-5070", "given": "Charles R.", "family": "Harris",
         "sequence": "first", "affiliation": []},
        {"name": "NumPy Developers", "sequence": "additional", "affiliation": []},
    ],
    "issued": {"date-parts": [[2020, 9, 16]]},
    "volume": "585", "issue": "7825", "page": "357-362", "publisher": "Springer Science and Business Media LLC",
    "ISSN": ["0028-0836", "1476-4687"], "URL": "https://doi.org/10.1038/s41586-020-2649-2",
    "abstract": "<jats:p>Array programming provides a powerful syntax.</jats:p>", "is-referenced-by-count": 1,
    "relation": {}, "language": "en",
    "updated-by": [
        {"DOI": "10.1038/notice", "type": "retraction", "label": "Retraction", "source": "retraction-watch",
         "updated": {"date-time": "2021-01-01T00:00:00Z"}, "record-id": 1},
        {"DOI": "10.1038/notice", "type": "retraction", "label": "Retraction", "source": "publisher"},
    ],
}  # fmt: skip
CHAPTER: dict[str, object] = {
    "DOI": "10.1007/978-3-030-01234-2_1", "type": "book-chapter", "title": ["A Chapter"], "subtitle": ["Of a Book"],
    "container-title": ["Lecture Notes", "A Book"], "issued": {"date-parts": [[2018]]}, "publisher": "Springer",
    "author": [{"given": "Ann", "family": "Maker"}], "ISBN": ["9783030012335"],
}  # fmt: skip


SOFTWARE: dict[str, object] = {
    "doi": "10.5281/zenodo.4321", "identifiers": [], "prefix": "10.5281", "suffix": "zenodo.4321",
    "creators": [
        {"name": "Maker, Ann", "givenName": "Ann", "familyName": "Maker", "affiliation": ["Toy Works"],
         "nameIdentifiers": [], "nameType": "Personal"},
        {"name": "Turner, Bo", "affiliation": [], "nameIdentifiers": []},
        {"name": "The Toy Developers", "nameType": "Organizational", "affiliation": [], "nameIdentifiers": []},
        {"name": "Cy van Winder", "affiliation": [], "nameIdentifiers": [{"nameIdentifier": "0000-0000-0000-0001"}]},
    ],
    "titles": [{"title": "Jouets", "titleType": "TranslatedTitle"}, {"title": "Toys & <em>Springs</em>"},
               {"title": "A Library", "titleType": "Subtitle"}],
    "publisher": "Zenodo", "container": {"type": "DataRepository", "title": "Zenodo"},
    "publicationYear": 2021, "subjects": [], "contributors": [],
    "dates": [{"date": "2020-12-01", "dateType": "Created"}, {"date": "2021-03-04", "dateType": "Issued"}],
    "language": "en", "version": "1.2.0", "state": "findable", "url": "https://zenodo.org/record/4321",
    "types": {"ris": "COMP", "bibtex": "misc", "citeproc": "article", "schemaOrg": "SoftwareSourceCode",
              "resourceTypeGeneral": "Software"},
    "relatedIdentifiers": [
        {"relationType": "IsVersionOf", "relatedIdentifier": "10.5281/zenodo.4320", "relatedIdentifierType": "DOI"},
        {"relationType": "IsPreviousVersionOf", "relatedIdentifier": "10.5281/zenodo.4399",
         "relatedIdentifierType": "DOI"},
        {"relationType": "IsSupplementTo", "relatedIdentifier": "https://example.org", "relatedIdentifierType": "URL"},
    ],
}  # fmt: skip
PREPRINT: dict[str, object] = {
    "doi": "10.6084/m9.figshare.777", "titles": [{"title": "Winding Up"}], "publisher": {"name": "figshare"},
    "creators": [{"name": "Winders", "nameType": "Personal"}], "publicationYear": 2019, "container": None,
    "dates": [{"date": "2019", "dateType": "Issued"}], "version": None,
    "types": {"citeproc": "article-journal", "resourceTypeGeneral": "Text", "resourceType": "Article"},
}  # fmt: skip
ARTICLE: dict[str, object] = {
    "doi": "10.22002/toys", "titles": [{"title": "Run Down"}], "publisher": "A University", "publicationYear": 2018,
    "creators": [{"givenName": "Ann", "familyName": "Maker"}],
    "contributors": [{"name": "Old, Eve", "contributorType": "Editor"}, {"name": "X", "contributorType": "Other"}],
    "container": {"type": "Journal", "title": "J. Toys", "volume": "3", "issue": "2",
                  "firstPage": "7", "lastPage": "9"},
    "dates": [{"date": "2018-02", "dateType": "Issued"}], "types": {"resourceTypeGeneral": "JournalArticle"},
}  # fmt: skip


@dataclass
class Web:
    """A server that answers as arXiv, Crossref, DataCite and Zotero do; `faults` are what it does instead."""

    address: str
    asked: list[str] = field(default_factory=list)
    faults: list[Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=list)
    works: dict[str, dict[str, object]] = field(default_factory=dict)
    dois: dict[str, dict[str, object]] = field(default_factory=dict)


def reply(
    handler: BaseHTTPRequestHandler, data: bytes, kind: str, status: int = 200, *, missing: int = 0, retry: str = ""
) -> None:
    """Answer; of a body, the end may be missing."""
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(data)))
    if retry:
        handler.send_header("Retry-After", retry)
    handler.end_headers()
    handler.wfile.write(data[: len(data) - missing])


def answer(web: Web, handler: BaseHTTPRequestHandler) -> None:
    parts = urlsplit(handler.path)
    query = parse_qs(parts.query)
    if parts.path == "/api/query":
        if "id_list" in query:
            found = [ARXIV[id] for one in query["id_list"][0].split(",") if (id := re.sub(r"v\d+$", "", one)) in ARXIV]
        else:
            words = re.sub(r'^ti:"|"$', "", query["search_query"][0])
            found = [one for one in ARXIV.values() if words in " ".join(one.split())]
        reply(handler, feed("".join(found), len(found)), "application/atom+xml; charset=utf-8")
    elif parts.path.startswith("/works/"):
        work = web.works.get(unquote(parts.path.removeprefix("/works/")).casefold())
        if work is None:
            reply(handler, b"Resource not found.", "text/plain", 404)
            return
        reply(
            handler, json.dumps({"status": "ok", "message-type": "work", "message": work}).encode(), "application/json"
        )
    elif parts.path == "/works":
        wanted = query.get("filter", [""])[0]
        dois = [one.removeprefix("doi:").casefold() for one in wanted.split(",")]
        title = query.get("query.bibliographic", [""])[0]
        items = [
            work for doi, work in web.works.items()
            if doi in dois or (title and re.sub("<.*?>", "", str(work["title"])).startswith(f"['{title}"))
        ]  # fmt: skip
        message = {"total-results": len(items), "items": items, "items-per-page": 20}
        reply(handler, json.dumps({"status": "ok", "message": message}).encode(), "application/json")
    elif parts.path.startswith("/dois/"):
        doi = unquote(parts.path.removeprefix("/dois/")).casefold()
        if doi in web.dois:
            data = {"id": doi, "type": "dois", "attributes": web.dois[doi], "relationships": {}}
            reply(handler, json.dumps({"data": data}).encode(), "application/json; charset=utf-8")
        else:
            none = {"errors": [{"status": "404", "title": "The resource you are looking for doesn't exist."}]}
            reply(handler, json.dumps(none).encode(), "application/json; charset=utf-8", 404)
    elif parts.path == "/api/users/0/collections":
        told = [
            {"key": "AAAA", "version": 1, "data": {"key": "AAAA", "name": "Thesis", "parentCollection": False}},
            {"key": "BBBB", "version": 1, "data": {"key": "BBBB", "name": "Methods", "parentCollection": "AAAA"}},
            {"key": "CCCC", "version": 1, "data": {"key": "CCCC", "name": "Methods", "parentCollection": False}},
        ]
        reply(handler, json.dumps(told).encode(), "application/json")
    elif item := re.fullmatch(r"/api/users/0/(?:collections/(\w+)/)?items/top", parts.path):
        assert query["format"] == ["biblatex"]
        name = (item[1] or "all").lower()
        text = f"@article{{{name}_2020,\n\ttitle = {{In {{{name.upper()}}}}},\n\tdate = {{2020-05}},\n}}\n"
        reply(handler, text.encode(), "text/plain")
    else:
        reply(handler, b"no", "text/plain", 404)


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    made = Web("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            if made.faults:
                made.faults.pop(0)(self)
            else:
                answer(made, self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    made.address = f"http://127.0.0.1:{server.server_port}"
    made.works = {str(one["DOI"]).casefold(): one for one in (WORK, CHAPTER)}
    made.dois = {str(one["doi"]): one for one in (SOFTWARE, PREPRINT, ARTICLE)}
    for name in ("ARXIV", "CROSSREF", "DATACITE", "ZOTERO"):
        monkeypatch.setenv(f"QUAERE_{name}", made.address)
    monkeypatch.setenv("QUAERE_TIMEOUT", "60")
    monkeypatch.setenv("NO_PROXY", "*")
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


# Identifiers and addresses


@pytest.mark.parametrize(
    ("written", "id"),
    [
        ("1706.03762", "1706.03762"), ("arXiv:1706.03762v5", "1706.03762v5"), ("hep-th/9901001", "hep-th/9901001"),
        ("math.GT/0309136v2", "math.GT/0309136v2"), ("arXiv: 1706.03762 [cs.CL]", "1706.03762"),
        ("https://arxiv.org/abs/1706.03762", "1706.03762"), ("http://arxiv.org/pdf/1706.03762v7.pdf", "1706.03762v7"),
        ("arxiv.org/html/2401.00001v1#S2", "2401.00001v1"),
        ("https://export.arxiv.org/abs/hep-th/9901001?a=b", "hep-th/9901001"),
        ("https://www.alphaxiv.org/overview/2401.00001v1", "2401.00001v1"),
        ("https://ar5iv.labs.arxiv.org/html/1706.03762", "1706.03762"),
        ("https://huggingface.co/papers/1706.03762", "1706.03762"),
        ("https://doi.org/10.48550/arXiv.1706.03762", "1706.03762"),
        ("https://www.alphaxiv.org/abs/1706.03762", "1706.03762"),
    ],
)  # fmt: skip
def test_a_paper_on_arxiv_is_named(written: str, id: str) -> None:
    assert named(written) == Named(id, is_arxiv=True)


@pytest.mark.parametrize(
    ("written", "doi"),
    [
        ("10.1038/nature14539", "10.1038/nature14539"), ("doi:10.1145/3292500.3330701", "10.1145/3292500.3330701"),
        ("https://dx.doi.org/10.1000/a(b)c", "10.1000/a(b)c"), ("https://doi.org/10.1000/a%2Fb.", "10.1000/a/b"),
        ("https://www.nature.com/articles/s41586-020-2649-2#Sec1", "10.1038/s41586-020-2649-2"),
        ("https://www.nature.com/articles/nature14539.pdf", "10.1038/nature14539"),
        ("https://dl.acm.org/doi/pdf/10.1145/3292500.3330701", "10.1145/3292500.3330701"),
        ("https://link.springer.com/content/pdf/10.1007/978-3-030-01234-2_1.pdf", "10.1007/978-3-030-01234-2_1"),
        ("https://link.springer.com/chapter/10.1007%2F978-3-030-01234-2_1", "10.1007/978-3-030-01234-2_1"),
        ("https://onlinelibrary.wiley.com/doi/full/10.1002/rob.21945", "10.1002/rob.21945"),
        ("https://www.frontiersin.org/articles/10.3389/fnins.2020.00001/full", "10.3389/fnins.2020.00001"),
        ("https://www.biorxiv.org/content/10.1101/2020.01.01.123456v2.full.pdf", "10.1101/2020.01.01.123456"),
        ("https://aclanthology.org/N19-1423/", "10.18653/v1/N19-1423"),
        ("https://aclanthology.org/2020.acl-main.1.pdf", "10.18653/v1/2020.acl-main.1"),
        ("https://journals.plos.org/plosone/article?id=10.1371/journal.pone.0033693", "10.1371/journal.pone.0033693"),
    ],
)  # fmt: skip
def test_a_paper_with_a_doi_is_named(written: str, doi: str) -> None:
    assert named(written) == Named(doi, is_arxiv=False)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("https://openreview.net/forum?id=rJ4km2R5t7", "BibTeX"),
        ("https://ieeexplore.ieee.org/document/7780459", "DOI"),
        ("https://aclanthology.org/P02-1040/", ".bib"),
        ("https://example.org/paper", "paste the DOI"),
        ("https://arxiv.org/list/cs.CL/recent", "paste the DOI"),
    ],
)
def test_an_address_that_names_no_paper_is_told_what_to_do(written: str, told: str) -> None:
    assert named(written) is None
    assert told in hint(written)


@pytest.mark.parametrize(
    "written", ["", "word", "1706", "1799.00001", "10.1000", "a/b", "papers/toy.yml", "https://[", "v1"]
)
def test_what_is_no_identifier_names_nothing(written: str) -> None:
    assert named(written) is None


# What the services answer


def records(found: Iterator[tuple[str, Record | None]]) -> dict[str, Record | None]:
    return dict(found)


def test_arxiv_answers_with_entries(web: Web) -> None:
    found = records(Services().on_arxiv(["1706.03762v5", "1706.03762", "hep-th/9901001", "2401.99999"]))
    assert found["2401.99999"] is None
    one, other, old = found["1706.03762v5"], found["1706.03762"], found["hep-th/9901001"]
    assert one
    assert other
    assert old
    assert dict(other.made.fields) == {
        "author": "Vaswani, Ashish and van Rossum, Guido and {The {ATLAS} Collaboration}".replace("{ATLAS}", "ATLAS"),
        "title": "Attention Is All You Need", "year": "2017", "month": "jun", "eprint": "1706.03762",
        "archiveprefix": "arXiv", "primaryclass": "cs.CL", "version": "7", "url": "https://arxiv.org/abs/1706.03762",
    }  # fmt: skip
    assert one.made.fields["eprint"] == "1706.03762v5"
    assert "version" not in one.made.fields
    assert (old.made.fields["title"], old.made.fields["doi"]) == ("Strings \\& $\\alpha$-branes", "10.1000/strings")
    assert old.updates == (("withdrawal", "This paper has been withdrawn"),)
    assert other.updates == ()
    assert len(web.asked) == 1


def test_crossref_answers_with_entries(web: Web) -> None:
    found = records(Services().by_doi(["10.1038/S41586-020-2649-2", "10.1007/978-3-030-01234-2_1"]))
    assert len(web.asked) == 1
    assert records(Services().by_doi(["10.1000/none"])) == {"10.1000/none": None}
    one, chapter = found["10.1038/S41586-020-2649-2"], found["10.1007/978-3-030-01234-2_1"]
    assert one
    assert chapter
    assert (one.made.kind, dict(one.made.fields)) == ("article", {
        "author": "Harris, Charles R. and {NumPy Developers}", "title": "Array programming with \\emph{{NumPy}}",
        "journal": "Nature", "year": "2020", "month": "sep", "day": "16", "volume": "585", "number": "7825",
        "pages": "357--362", "publisher": "Springer Science and Business Media LLC", "issn": "0028-0836",
        "doi": "10.1038/s41586-020-2649-2",
    })  # fmt: skip
    assert one.updates == (("retraction", "10.1038/notice"),)
    assert (chapter.made.kind, chapter.made.fields["booktitle"], chapter.made.fields["subtitle"]) == (
        "incollection", "Lecture Notes", "Of a Book"
    )  # fmt: skip


def test_datacite_answers_for_what_crossref_does_not_know(web: Web) -> None:
    dois = ["10.5281/Zenodo.4321", "10.6084/m9.figshare.777", "10.22002/toys", "10.1038/s41586-020-2649-2", "10.9/no"]
    found = records(Services().by_doi(dois))
    assert [one.partition("?")[0] for one in web.asked] == [
        "/works", "/dois/10.5281%2FZenodo.4321",
        "/dois/10.6084%2Fm9.figshare.777", "/dois/10.22002%2Ftoys", "/dois/10.9%2Fno"
    ]  # fmt: skip
    software, preprint, article, crossref, unknown = (found[doi] for doi in dois)
    assert software
    assert preprint
    assert article
    assert crossref
    assert unknown is None
    assert (software.made.kind, dict(software.made.fields)) == ("software", {
        "author": "Maker, Ann and Turner, Bo and {The Toy Developers} and van Winder, Cy",
        "title": "Toys \\& \\emph{Springs}", "subtitle": "A Library", "year": "2021", "month": "mar", "day": "4",
        "publisher": "Zenodo", "version": "1.2.0", "doi": "10.5281/zenodo.4321",
    })  # fmt: skip
    assert software.authors == ("Maker", "Turner", "The Toy Developers", "Winder")
    assert software.updates == (("new-version", "10.5281/zenodo.4399"),)
    assert (preprint.made.kind, dict(preprint.made.fields)) == ("misc", {
        "author": "{Winders}", "title": "Winding Up", "year": "2019", "publisher": "figshare",
        "doi": "10.6084/m9.figshare.777",
    })  # fmt: skip
    assert (article.made.kind, dict(article.made.fields)) == ("article", {
        "author": "Maker, Ann", "editor": "Old, Eve", "title": "Run Down", "journal": "J. Toys", "volume": "3",
        "number": "2", "pages": "7--9", "year": "2018", "month": "feb", "publisher": "A University",
        "doi": "10.22002/toys",
    })  # fmt: skip


def test_a_title_is_looked_for_and_taken_only_if_it_is_the_same(web: Web) -> None:
    services = Services()
    found = services.by_title("Array programming with NumPy", ["Charles R. Harris", "Harris"])
    assert found
    assert found.doi == "10.1038/s41586-020-2649-2"
    assert services.by_title("Array programming with NumPy", ["Somebody"]) is None
    found = services.by_title("Attention Is All You Need", [])
    assert found
    assert found.arxiv == "1706.03762v7"
    assert services.by_title("Attention Is All You Need, Not", []) is None


# When they do not answer


def refuse(status: int, retry: str = "") -> Callable[[BaseHTTPRequestHandler], None]:
    return lambda handler: reply(handler, b"no", "text/plain", status, retry=retry)


def cut(kind: str, body: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    return lambda handler: reply(handler, body, kind, missing=5)


def hang(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(3)


def say(kind: str, body: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    return lambda handler: reply(handler, body, kind)


ATOM, JSON = "application/atom+xml", "application/json"
ASKED: dict[str, Callable[[], object]] = {
    "arXiv": lambda: list(Services().on_arxiv(["1706.03762"])),
    "Crossref": lambda: list(Services().by_doi(["10.1038/s41586-020-2649-2"])),
    "DataCite": lambda: Services()._in_datacite("10.5281/zenodo.4321"),
    "Zotero": lambda: zotero.read("Thesis"),
}


@pytest.mark.parametrize(
    ("service", "faults", "told"),
    [
        (
            "arXiv", [refuse(429, "3600")],
            r"asked too often \(429\)\n  hint: run the command again in 3600 s",
        ),
        ("arXiv", [refuse(403)], r"answers with an error \(403\)"),
        ("arXiv", [hang], "did not answer within 0.2 s"),
        ("arXiv", [cut(ATOM, feed("", 0))], "its answer broke off"),
        ("arXiv", [say(ATOM, feed(ARXIV["1706.03762"], 1)[:-30])], "its answer broke off"),
        ("arXiv", [say("text/html", b"<html>Sign in</html>")], "answers with `text/html` in place of Atom"),
        ("Crossref", [refuse(429, "3600")], r"asked too often \(429\)"),
        ("Crossref", [refuse(400)], r"answers with an error \(400\)"),
        ("Crossref", [hang], "did not answer within 0.2 s"),
        ("Crossref", [cut(JSON, b'{"message": {}}')], "its answer broke off"),
        ("Crossref", [say(JSON, b'{"message": {"DOI')], "its answer is no JSON"),
        ("Crossref", [say(JSON, b'["message"]')], "its answer has no `message`"),
        ("Crossref", [say("text/html", b"<html>Sign in</html>")], "answers with something else than JSON"),
        ("DataCite", [refuse(429, "3600")], r"asked too often \(429\)"),
        ("DataCite", [refuse(403)], r"answers with an error \(403\)"),
        ("DataCite", [hang], "did not answer within 0.2 s"),
        ("DataCite", [cut(JSON, b'{"data": {}}')], "its answer broke off"),
        ("DataCite", [say(JSON, b'{"data": {"attr')], "its answer is no JSON"),
        ("DataCite", [say(JSON, b'{"data": []}')], "its answer has no `data.attributes`"),
        ("DataCite", [say("text/html", b"<html>Sign in</html>")], "answers with `text/html` in place of JSON"),
        ("Zotero", [refuse(403)], "its local API is off\n  hint: in Zotero: Settings"),
        ("Zotero", [refuse(500)], r"answers with an error \(500\)"),
        ("Zotero", [hang], "did not answer within 0.2 s"),
        ("Zotero", [cut(JSON, b"[]    ")], "its answer broke off"),
        ("Zotero", [say(JSON, b'{"a": 1}')], "answers with something else than collections"),
        ("Zotero", [say("text/html", b"<html></html>")], "answers with a web page"),
    ],
)  # fmt: skip
def test_a_service_that_fails_is_told(
    web: Web,
    monkeypatch: pytest.MonkeyPatch,
    service: str,
    faults: list[Callable[[BaseHTTPRequestHandler], None]],
    told: str,
) -> None:
    if hang in faults:
        monkeypatch.setenv("QUAERE_TIMEOUT", "0.2")
    web.faults += faults
    with pytest.raises(AuthorError, match=told) as refused:
        ASKED[service]()
    assert str(refused.value).startswith(f"{service}: ")
    assert refused.value.hint


@pytest.mark.parametrize("service", ["arXiv", "Crossref", "DataCite"])
def test_a_service_that_asks_to_wait_is_waited_for(web: Web, service: str) -> None:
    web.faults += [refuse(429, "0"), refuse(503, "Fri, 27 Nov 2020 00:00:00 GMT")]
    assert ASKED[service]()
    assert len(web.asked) == 3
    web.faults += [refuse(500, "0")] * 3
    with pytest.raises(ServiceError, match=r"answers with an error \(500\)"):
        ASKED[service]()
    assert len(web.asked) == 6


@pytest.mark.parametrize("service", ["arXiv", "Crossref", "DataCite", "Zotero"])
def test_without_a_network_the_command_says_what_else_works(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"QUAERE_{service.upper()}", "http://127.0.0.1:9")
    with pytest.raises(AuthorError, match=r"it can't be reached|it does not answer at") as refused:
        ASKED[service]()
    assert (
        "add the file" in refused.value.hint or "files and pasted entries can be added without it" in refused.value.hint
    )


# The command


def test_papers_are_added_by_what_names_them(base: Base, inside: Inside, web: Web) -> None:
    (base.root / "list.txt").write_text("# to read\nhttps://arxiv.org/abs/hep-th/9901001v2\n\nnonsense\n")
    done = inside("add", "https://arxiv.org/pdf/1706.03762", "10.1038/s41586-020-2649-2", "list.txt", "--card")
    assert done.returncode == 1
    assert "list.txt:4:1: `nonsense` names no paper" in done.stderr
    assert "remark: doi:10.1038/s41586-020-2649-2 has a retraction: 10.1038/notice" in done.stderr
    assert done.stdout == "added 3 entries, with 3 cards\n"
    assert [re.sub(r"\?.*", "", one) for one in web.asked] == ["/api/query", "/works/10.1038%2Fs41586-020-2649-2"]
    assert sorted(base.library().papers) == ["array_programming_numpy", "attention_all_need", "strings_branes", "toy"]
    again = inside("add", "arXiv:1706.03762v7", "10.1000/none")
    assert "there already: vaswani2017attention (arXiv:1706.03762, here 1706.03762v7)" in again.stderr
    assert "doi:10.1000/none: neither Crossref nor DataCite knows it" in again.stderr
    assert again.stdout == "nothing was added\n"


def test_nothing_is_written_when_a_service_fails(base: Base, inside: Inside, web: Web) -> None:
    before = base.files()
    web.faults.append(refuse(429, "100"))
    (base.root / "in.bib").write_text("@misc{a, title={A}}")
    failed = inside("add", "in.bib", "1706.03762")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "run the command again in 100 s" in failed.stderr
    after = {path: text for path, text in base.files().items() if not path.startswith(".quaere/") and path != "in.bib"}
    assert after == before


def test_a_collection_of_zotero_is_added_with_what_is_in_it(base: Base, inside: Inside, web: Web) -> None:
    done = inside("add", "--zotero", "Thesis")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("added 2 entries\n")
    assert "@article{bbbb_2020,\n\ttitle = {In {BBBB}}" in (base.root / BIB).read_text()
    assert (base.root / BIB).read_text().startswith(SOUND[BIB])
    assert "cccc" in zotero.read("CCCC")
    assert "all_2020" in zotero.read("all")
    assert "bbbb" in zotero.read("Thesis/Methods")
    with pytest.raises(MisuseError, match=r"Zotero has 2 collections `Methods`\n  hint: name one of `Thesis/Methods` "):
        zotero.read("Methods")
    with pytest.raises(MisuseError, match=r"Zotero has no collection `Thesi`\n  hint: did you mean `Thesis`"):
        zotero.read("Thesi")


# PDFs


def a_pdf(*pages: str, **about: str) -> bytes:
    """Make a PDF of some lines of text."""
    writer = pypdf.PdfWriter()
    for text in pages:
        page = writer.add_blank_page(612, 792)
        lines = " ".join(f"({line.replace('(', '').replace(')', '')}) Tj T*" for line in text.split("\n"))
        stream = pypdf.generic.StreamObject()
        stream.set_data(f"BT /F1 10 Tf 12 TL 20 700 Td {lines} ET".encode())
        font = pypdf.generic.DictionaryObject({
            pypdf.generic.NameObject("/Type"): pypdf.generic.NameObject("/Font"),
            pypdf.generic.NameObject("/Subtype"): pypdf.generic.NameObject("/Type1"),
            pypdf.generic.NameObject("/BaseFont"): pypdf.generic.NameObject("/Helvetica"),
        })  # fmt: skip
        page[pypdf.generic.NameObject("/Contents")] = writer._add_object(stream)
        page[pypdf.generic.NameObject("/Resources")] = pypdf.generic.DictionaryObject({
            pypdf.generic.NameObject("/Font"): pypdf.generic.DictionaryObject(
                {pypdf.generic.NameObject("/F1"): writer._add_object(font)}
            )
        })  # fmt: skip
    writer.add_metadata({f"/{name}": value for name, value in about.items()})
    made = io.BytesIO()
    writer.write(made)
    return made.getvalue()


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (a_pdf("Attention\narXiv:1706.03762v5 [cs.CL] 6 Dec 2017\nsee doi:10.1000/cited"),
         Named("1706.03762v5", is_arxiv=True)),
        (a_pdf("An Article\nhttps://doi.org/10.1038/nature14539\n"), Named("10.1038/nature14539", is_arxiv=False)),
        (a_pdf("Text", Subject="Journal, doi:10.1000/meta"), Named("10.1000/meta", is_arxiv=False)),
        (a_pdf("Title", "DOI: 10.1000/second. "), Named("10.1000/second", is_arxiv=False)),
    ],
)  # fmt: skip
def test_a_pdf_says_which_paper_it_is(made: bytes, wanted: Named) -> None:
    assert pdf.read(made, "x.pdf") == wanted


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (a_pdf("No name"), "neither an arXiv identifier nor a DOI stands on its first pages"),
        (a_pdf(""), "its first pages have no text"),
        (b"%PDF-1.7\nbroken", "this PDF can't be read"),
    ],
)
def test_a_pdf_that_does_not_is_told(made: bytes, told: str) -> None:
    with pytest.raises(pdf.PdfError, match=re.escape(f"x.pdf: {told}")):
        pdf.read(made, "x.pdf")


def test_a_pdf_is_added(base: Base, inside: Inside, web: Web) -> None:
    (base.root / "x.pdf").write_bytes(a_pdf("arXiv:1706.03762v5 [cs.CL]"))
    done = inside("add", "x.pdf")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "added vaswani2017attention, with a card `attention_all_need`\n"


def test_without_the_clients_the_command_says_what_to_install(
    base: Base, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    (base.root / "x.pdf").write_bytes(a_pdf("arXiv:1706.03762v5 [cs.CL]"))
    for what, name in (("1706.03762", "arxiv"), ("10.1000/a", "habanero"), ("x.pdf", "pypdf")):
        monkeypatch.setitem(sys.modules, name, None)
        refused = inside("add", what)
        assert refused.returncode == 2
        assert f"needs `{name}`, which is not installed" in refused.stderr
        assert "hint: pip install 'quaere[add]'" in refused.stderr


# Notes, and what has become of papers


def test_notes_are_completed(base: Base, inside: Inside, web: Web, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "attention.md").write_text(
        "# Attention is all you need\n\n**DOI**: https://doi.org/10.48550/arXiv.1706.03762\n\n- Q: Why?\n"
    )
    (notes / "numpy.md").write_text("# Array programming with NumPy\n\nFast.\n")
    (notes / "other.md").write_text("# Quite another paper\n\nhttps://arxiv.org/abs/hep-th/9901001\n")
    (notes / "none.md").write_text("# Something that nobody has printed\n\nText.\n")
    (notes / "toys.md").write_text("# Toys and springs\n\nDOI: 10.5281/zenodo.4321\n\nWound up.\n")
    done = inside("import", "--lookup", str(notes))
    assert done.returncode == 0, done.stderr
    assert "other.md:1: arXiv:hep-th/9901001 is called `Strings & $\\alpha$-branes`: it was not taken" in done.stderr
    assert "none.md:1: neither Crossref nor arXiv has a paper of this title" in done.stderr
    library = base.library()
    read = {slug: paper.reference for slug, paper in library.papers.items()}
    assert read["attention"].credits == "Ashish Vaswani, Guido van Rossum, The ATLAS Collaboration"
    assert (read["numpy"].venue, read["numpy"].doi) == ("Nature", "10.1038/s41586-020-2649-2")
    assert (read["attention"].key, read["other"].arxiv) == ("vaswani2017attention", "hep-th/9901001")
    toys = library.papers["toys"].reference
    assert (toys.kind, toys.doi, toys.year) == ("software", "10.5281/zenodo.4321", 2021)
    # What is in the library is not asked for again.
    web.asked.clear()
    again = inside("import", "--lookup", str(notes / "attention.md"), str(notes / "numpy.md"))
    assert (again.returncode, web.asked) == (0, [])


def test_an_import_that_cannot_look_up_writes_nothing(base: Base, inside: Inside, web: Web, tmp_path: Path) -> None:
    (tmp_path / "attention.md").write_text("# Attention is all you need\n\nhttps://arxiv.org/abs/1706.03762\n")
    web.faults.append(refuse(403))
    before = base.files()
    failed = inside("import", "--lookup", str(tmp_path / "attention.md"))
    assert (failed.returncode, failed.stdout) == (1, "")
    assert {path: text for path, text in base.files().items() if not path.startswith(".quaere/")} == before


CHECKED = """\
@misc{attention, title={Attention is all you need}, eprint={1706.03762v5}}
@misc{noted, title={The same}, eprint={1706.03762}, version={7}}
@misc{strings, title={Strings}, eprint={hep-th/9901001}}
@article{numpy, title={Array programming}, doi={10.1038/S41586-020-2649-2}}
@article{chapter, title={A Chapter}, doi={10.1007/978-3-030-01234-2_1}}
@misc{bare, title={Bare}}
"""


def test_what_has_become_of_papers_is_asked_and_written_only_if_said(base: Base, inside: Inside, web: Web) -> None:
    base.write({BIB: SOUND[BIB] + CHECKED, "papers/np.yml": "cite: numpy  # mine\nimplementation: null\n"})
    before = base.files()
    asked = inside("add", "--check", "--json")
    assert asked.returncode == 0, asked.stderr
    told = json.loads(asked.stdout)
    assert [(one["key"], one["kind"], one["note"], one["card"]) for one in told["notices"]] == [
        ("attention", "new version", "v7 of 2023-08-02, here v5", None),
        ("strings", "withdrawn", "This paper has been withdrawn", None),
        ("strings", "published", "10.1000/strings", None),
        ("numpy", "retracted", "10.1038/notice", "np"),
    ]
    assert (told["asked"], told["entries"]) == (5, 7)
    assert len(web.asked) == 2
    assert {path: text for path, text in base.files().items() if not path.startswith(".quaere/")} == before
    shown = inside("add", "--check", "numpy", "bare")
    assert "numpy" in shown.stdout
    assert "retracted" in shown.stdout
    assert "strings" not in shown.stdout
    assert "1 of 2 entries has an arXiv identifier or a DOI" in shown.stdout
    diff = inside("add", "--check", "--mark", "--dry-run")
    assert "+status: {state: retracted" in diff.stdout or "+  state: retracted" in diff.stdout
    marked = inside("add", "--check", "--mark")
    assert marked.stdout.rstrip().endswith("marked np")
    card = base.library().papers["np"].card
    assert card.status
    assert (card.status.state, card.status.note) == ("retracted", "10.1038/notice")
    assert (base.root / "papers/np.yml").read_text().startswith("cite: numpy  # mine\n")
    assert inside("add", "--check", "--mark").stdout.rstrip().endswith("no card to be marked")
    refused = inside("add", "--check", "nump")
    assert (refused.returncode, "did you mean `numpy`" in refused.stderr) == (2, True)


def test_a_kill_at_any_write_of_marks_leaves_before_or_after(make_base: Callable[[str], Base], web: Web) -> None:
    two = {BIB: SOUND[BIB] + CHECKED, "papers/np.yml": "cite: numpy\nimplementation: null\n"}

    def work(base: Base) -> None:
        library = base.project.read()[0]

        def texts(path: str) -> str | None:
            return (base.root / path).read_text() if (base.root / path).is_file() else None

        found = notices.ask(library, texts(BIB) or "", Services())
        changes.apply(base.root, notices.mark(library, found.notices, texts))

    def files(base: Base) -> dict[str, bytes]:
        base.project  # the next command  # noqa: B018
        return {path: text for path, (text, _) in base.files().items() if ".quaere" not in path}

    whole = make_base("whole")
    whole.write(two)
    before = files(whole)
    work(whole)
    after = files(whole)
    assert before != after
    for number in itertools.count(1):
        base = make_base(f"killed{number}")
        base.write(two)
        was_killed = killed_at(number, base.root, lambda base=base: work(base))  # type: ignore[misc]
        assert files(base) in ((before, after) if was_killed else (after,))
        if not was_killed:
            break
    assert number > 3


@pytest.mark.slow
def test_a_kill_of_an_import_that_looks_up_leaves_before_or_after(
    base: Base, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(base.root)
    base.write(
        {"notes/toys.md": "# Toys and springs\n\nDOI: 10.5281/zenodo.4321\n\n![a](a.png)\n", "notes/a.png": b"\x89"}
    )
    base.write({"notes/attention.md": "# Attention is all you need\n\nhttps://arxiv.org/abs/1706.03762\n"})

    def files() -> dict[str, bytes]:
        every = (path for path in base.root.rglob("*") if path.is_file())
        return {
            path.relative_to(base.root).as_posix(): path.read_bytes()
            for path in every
            if ".quaere" not in path.parts and str(path) not in debris(base.root)
        }

    def work() -> None:
        cli.app(["import", "--lookup", "notes"], standalone_mode=False)

    before, met, after = files(), set[str](), dict[str, bytes]()
    whole = tmp_path / "whole"
    shutil.copytree(base.root, whole)
    assert not killed_at(0, base.root, work)
    after = files()
    assert b"Zenodo" in after[BIB]
    assert "papers/toys/a.png" in after
    for number in itertools.count(1):
        shutil.rmtree(base.root)
        shutil.copytree(whole, base.root)
        monkeypatch.chdir(base.root)
        was_killed = killed_at(number, base.root, work)
        assert base.project.root == base.root  # the next command, whichever it is, completes it
        now = files()
        assert now in (before, after), number
        met.add("after" if now == after else "before")
        if not was_killed:
            break
        # And the same command again comes to its end.
        if number % 4 == 0:
            assert not killed_at(0, base.root, work)
            assert (files(), debris(base.root)) == (after, []), number
    assert met == {"before", "after"}
    assert number > 10
