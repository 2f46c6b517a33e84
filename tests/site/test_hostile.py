"""What a stranger writes is shown and can do nothing else: attacks in every field, read, built, opened in a browser.

The attacks are data, in vectors.py. Each is put on a page of one small site, with a marker that must still be read
there. The pages are opened as they were built, and without their policy: neither may hide a hole in the other.
"""

import base64
import contextlib
import datetime
import json
import os
import re
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from pathlib import Path
from textwrap import indent
from typing import Any
from urllib.parse import quote, unquote

import pytest
import yaml
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, Request, TimeoutError, WebError

from quaere.errors import AuthorError, Faults
from quaere.pages import render
from quaere.site.build import build
from tests.engine.conftest import SOUND, Base
from tests.site import vectors
from tests.site.conftest import PATIENCE, served, settle, visit

TABS = 6
# How many cards the attacks in Markdown are dealt to, and how many answers stand in code. A page takes time to open.
TEXTS, ANSWERS = 2, 60
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
SETTINGS = "site_name: Hostile\nstrict: false\n"
# The smallest PNG, of one gray point.
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==")
EXECUTED = "from pathlib import Path\nPath(__file__).parents[{depth}].joinpath('executed').write_text('alive')\n"
"""Code that leaves a file in the folder of the knowledge base if it is ever run."""

# What is written


@dataclass(frozen=True)
class Placed:
    """An attack in a field, which a page shows, or a drawing: `page` is its path in the site."""

    marker: str
    kind: str
    field: str
    text: str
    page: str


@dataclass
class Written:
    """Attacks as they are put into fields, each with a number of its own."""

    placed: list[Placed] = field(default_factory=list)

    def put(self, text: str, kind: str, where: str, page: str) -> str:
        """Note an attack, and return it with its marker, its script and its host filled in."""
        number = len(self.placed) + 1
        marker = f"vek{number:04}"
        filled = text.replace("POP", f"alert({number})").replace("RUN", f"(window.ran??=[]).push({number})")
        filled = filled.replace("EVIL", f"host{number:04}.evil.invalid").replace("VEK", marker)
        self.placed.append(Placed(marker, kind, where, filled, page))
        return filled


@dataclass
class Turn:
    """Attacks of one sort for the fields of one page, one after another."""

    written: Written
    page: str
    rest: Iterator[tuple[str, str]]

    def __call__(self, where: str, first: str = "") -> str:
        kind, text = next(self.rest)
        return self.written.put(first + text, kind, where, self.page)

    def some(self, count: int, where: str) -> list[str]:
        return [self(where) for _ in range(count)]


@dataclass
class Author:
    """Writes cards and what belongs to them: `lines` go where a line of Markdown is read, `words` where plain text is.

    Several authors deal from the same two packs, one after another, so that the attacks come to all fields in turn.
    """

    slug: str
    written: Written
    words: Turn
    lines: Turn

    def card(self, answers: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """Make a card with each answer under a question of its own; a few questions are attacks, and some claims."""
        words, lines, count = self.words, self.lines, len(answers)
        page = f"papers/{self.slug}/index.html"
        titles = (f"{word} {n}" for n, word in enumerate(words.some(4, "title of a link")))
        return {
            "cite": f"{self.slug}2020",
            "idea": lines("idea"),
            "tags": words.some(4, "tag"),
            "affiliations": words.some(4, "affiliation"),
            "implementation": None,
            "reading": {"state": "reading", "through": words("reading, through")},
            "links": [{"kind": "blog", "title": title, "url": "https://example.org/"} for title in titles],
            "notes": lines("notes"),
            "departures": [
                {
                    "of": "paper",
                    "from": words("departure, from"),
                    "where": lines("departure, where"),
                    "what": lines("what"),
                }
                for _ in range(count // 6)
            ],
            "questions": [
                {
                    "id": f"q{n}",
                    "ask": "What?" if n % 3 else lines("ask"),
                    "asked": datetime.date(2026, 1, 31),
                    "answer": self.written.put(text, kind, "answer", page),
                    **({} if n % 9 else {"by": words("by"), "answers": [self.reply(), self.reply()]}),
                }
                for n, (kind, text) in enumerate(answers)
            ],
            "claims": [
                {"id": f"c{n}", "says": lines("says"), "where": lines("claim, where"), "reported": lines("reported")}
                for n in range(count // 6)
            ],
            "quotes": [{"text": words("quote"), "page": words("page"), "note": lines("note")} for _ in range(3)],
            "status": {"state": "superseded", "by": lines("status, by"), "note": lines("status, note")},
            "extra": {words("name of an own field"): words("own field"), "list": [words("own field")]},
        }

    def reply(self) -> dict[str, str]:
        """Make one of several answers to a question."""
        return {"text": self.lines("answer of several"), "by": self.words("by, of an answer")}

    def entry(self, latex: Turn, *, by: str = "author") -> str:
        """Make the card's entry in the bibliography."""
        names = " and ".join(f"{{{name}}}" for name in (*self.words.some(3, by), latex(by)))
        return f"""\
@article{{{self.slug}2020,
  {by} = {{{names}}},
  title = {{{latex("title")}}},
  journal = {{{latex("journal")}}},
  publisher = {{{self.words("publisher")}}},
  doi = {{10.1/{self.words("doi")}}},
  url = {{https://example.org/{self.words("url")}}},
  archiveprefix = {{arXiv}},
  eprint = {{{self.words("eprint")}}},
  year = {{2020}},
}}
"""

    def result(self, claims: int) -> dict[str, Any]:
        """Make what came of the card's experiment."""
        words, lines = self.words, self.lines
        return {
            "schema": 3,
            "experiment": self.slug,
            "size": "small",
            "key": "0",
            "commit": words("commit"),
            "at": words("at"),
            "seconds": 1.5,
            "device": words("device"),
            "versions": {words("name of a version"): words("version") for _ in range(3)},
            "seeds": [0],
            "notes": lines("notes of a result"),
            "settings": {
                **{words("setting"): words("value of a setting") for _ in range(3)},
                words("group of settings"): {words("setting"): words.some(2, "value of a setting")},
            },
            "findings": [
                {
                    "claim": f"c{n}",
                    "outcome": "partly",
                    "rule": lines("rule"),
                    "ran": lines("what was run"),
                    "quantities": [
                        {
                            "name": lines("quantity"),
                            "unit": lines("unit"),
                            "arms": {lines("arm"): [0, 1]},
                            "reported": {lines("reported"): 1},
                            "levels": {lines("level"): 0},
                        }
                    ],
                    "gates": [{"needs": lines("gate"), "is_met": True, "measured": lines("gate, measured")}],
                }
                for n in range(claims)
            ],
            "tables": [
                {
                    "title": lines("table, title"),
                    "columns": lines.some(2, "column"),
                    "rows": [lines.some(2, "cell"), [lines("cell"), 1]],
                    "note": lines("table, note"),
                }
                for _ in range(6)
            ],
            "figures": self._figures(),
        }

    def _figures(self) -> list[dict[str, Any]]:
        drawn: Iterable[Callable[[Callable[[str], str]], dict[str, Any]]] = (
            lambda words: {
                "kind": "lines",
                "x": words("axis"),
                "y": words("axis"),
                "series": [{"name": words("name of a curve"), "x": [0, 1], "runs": [[0, 1]]} for _ in range(6)],
                "levels": {words("level"): 0.5},
            },
            lambda words: {
                "kind": "heatmap",
                "rows": [words("row") for _ in range(4)],
                "columns": [words("column of a map") for _ in range(4)],
                "x": words("axis"),
                "y": words("axis"),
                "values": [[0, 1, 2, 3]] * 4,
            },
            lambda words: {
                "kind": "pictures",
                "pictures": [
                    {
                        "title": words("title of a picture"),
                        "png": base64.b64encode(PNG).decode(),
                        "boxes": [{"left": 0, "top": 0, "right": 1, "bottom": 1, "label": words("label")}],
                    }
                ],
            },
        )
        figures = []
        for n, draw in enumerate(drawn):
            words = Turn(self.written, f"assets/results/{self.slug}-small-f{n}-light.svg", self.words.rest)
            about = {"title": self.lines("figure, title"), "caption": self.lines("caption"), "alt": self.words("alt")}
            # A drawing has room for the start of a name.
            figures.append({"id": f"f{n}", **about, **draw(partial(words, first="VEK "))})
        return figures

    def module(self, answers: int, prose: Turn) -> str:
        """Make a module whose docstrings answer: attacks in the prose, in the code, and in what it prints."""
        functions = []
        for n in range(answers):
            code = self.words("doctest")
            section = f"{prose('docstring')}\n\n>>> print({code!r})\n{code}"
            text = f"Be inert.\n\nAnswers: {self.slug}.q{n}\n{indent(section, ' ' * 4)}\n"
            functions.append(f"def answer_{n}() -> None:\n{indent(docstring(text), ' ' * 4)}\n")
        return "\n\n".join([docstring("Code."), EXECUTED.format(depth=1), *functions])


def docstring(text: str) -> str:
    """Write a text as the literal of a docstring."""
    return '"""' + text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"') + '"""'


def yaml_of(card: Mapping[str, Any]) -> str:
    return yaml.dump(card, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), allow_unicode=True, sort_keys=False)


def spread(base: Base, written: Written) -> None:
    """Write all attacks into one knowledge base."""
    markdown = [(kind, text) for kind, texts in vectors.MARKDOWN.items() for text in texts]
    equations = [("mathematics", text) for text in vectors.EQUATIONS]
    diagrams = [("diagrams", f"```mermaid\n{text}\n```") for text in vectors.DIAGRAMS]
    answers = {f"text{n}": markdown[n::TEXTS] for n in range(TEXTS)}
    answers |= {"sound": equations, "diagrams": diagrams, "answers": [("nothing", "VEK")] * ANSWERS}

    words = cycle(("words", text) for text in vectors.WORDS)
    lines = cycle([*markdown, *equations])
    titles = cycle(("LaTeX", text) for text in vectors.LATEX)
    files: dict[str, str | bytes] = {"papers/own.png": PNG, "mkdocs.yml": SETTINGS}
    entries = []
    for slug, texts in answers.items():
        page = f"papers/{slug}/index.html"
        author = Author(slug, written, Turn(written, page, words), Turn(written, page, lines))
        made = author.card(texts)
        if slug == "sound":
            made["questions"].append({"id": "html", "ask": author.lines("ask"), "asked": datetime.date(2026, 1, 31)})
            addresses = (written.put(text, "addresses", "url", page) for text in vectors.ADDRESSES)
            made["links"] += [{"kind": "code", "title": "x", "url": url} for url in addresses]
        entries.append(author.entry(Turn(written, page, titles), by="editor" if slug == "sound" else "author"))
        if slug == "text0":
            files[f"papers/results/{slug}-small.json"] = json.dumps(author.result(len(made["claims"])))
            files[f"reference_impl/experiments/{slug}.py"] = docstring("Code.")
        if slug == "answers":
            files[f"reference_impl/{slug}.py"] = author.module(ANSWERS, Turn(written, page, cycle(markdown[::9])))
        files[f"papers/{slug}.yml"] = yaml_of(made)
    files |= {"papers/references.bib": "\n".join(entries), "papers/data/e.py": EXECUTED.format(depth=2)}
    files |= {"reference_impl/__init__.py": "", "reference_impl/experiments/__init__.py": ""}
    files["docs/links.md"] = "\n".join(
        ["# Links", "<!-- quaere:states -->", "<!-- quaere:newest -->", "[[sound.html]]"]
        + [f"- [[{slug}]], [[{slug}.q0]], [[{slug}.q3|VEK]]" for slug in answers]
    )
    base.write(files)
    verdicts = {}
    failures = cycle(("failures", text) for text in vectors.FAILURES)
    page = "papers/answers/index.html"
    for index, answer in enumerate(base.project.read()[0].answers):
        word, failure = Turn(written, page, words), Turn(written, page, failures)
        is_broken = index % 2 == 0
        verdicts[answer.id] = {
            "key": answer.key if is_broken else "0",
            "passed": not is_broken,
            "failure": failure("failure") if is_broken else "",
            "commit": word("commit of a verdict"),
            "at": word("at, of a verdict"),
            "seconds": 0.5,
            "versions": {word("name of a version"): word("version")},
        }
    base.write({".quaere/evidence.json": json.dumps({"schema": 1, "verdicts": verdicts})})


def name(base: Base, written: Written) -> None:
    """Write a knowledge base whose pictures are attacks, or have the names of attacks."""
    page = "papers/sound/index.html"
    files: dict[str, str | bytes] = {"mkdocs.yml": SETTINGS, "reference_impl/__init__.py": ""}
    pictures = []
    for text in vectors.NAMES:
        picture = written.put(text, "names", "name of a picture", page)
        pictures.append("![x]({0}) [x]({0})".format(quote(f"./{picture}.png")))
        files[f"papers/{picture}.png"] = PNG
    for suffix in (".html", ".htm", ".HTML", ".xhtml", ".xml", ".js", ".css", ".svgz", ".md", ".swf", ".mht", ".wasm"):
        files[f"papers/page{suffix}"] = "<script>window.ran=[1]</script>"
    for text, content in vectors.PICTURES.items():
        encoding = "utf-8" if isinstance(content, str) else "utf-16"
        drawn = content if isinstance(content, str) else content.decode(encoding)
        files[f"papers/pictures/{text}.svg"] = written.put(drawn, "pictures", text, "").encode(encoding)
    files |= {"papers/harmless.svg": vectors.HARMLESS, "papers/harmless.pdf": "%PDF-1.4"}
    author = harmless("sound", written, page)
    card = author.card([])
    files["papers/sound.yml"] = yaml_of(card | {"notes": "\n\n".join([card["notes"], *pictures])})
    files["papers/references.bib"] = author.entry(author.words)
    # A result of no card is at fault, and drawn all the same.
    stray = written.put(vectors.NAMES[3], "names", "name of a result", "")
    files[f"papers/results/{stray}.json"] = json.dumps(harmless("sound", Written(), "").result(0))
    base.write(files)
    link(base)


def entitle(base: Base, written: Written) -> None:
    """Write a knowledge base whose pages written by hand, and their folders, have the names of attacks."""
    page = "papers/sound/index.html"
    author = harmless("sound", written, page)
    files: dict[str, str | bytes] = {"mkdocs.yml": SETTINGS}
    files |= {"papers/sound.yml": yaml_of(author.card([])), "papers/references.bib": author.entry(author.words)}
    for number, text in enumerate(vectors.NAMES):
        folder = ""
        if number % 6 == 1:
            folder = written.put(vectors.NAMES[-number], "names", "name of a folder", page) + "/"
        files[f"docs/{folder}{written.put(text, 'names', 'name of a page', page)}.md"] = "Of [[sound]]."
    base.write(files)


def harmless(slug: str, written: Written, page: str) -> Author:
    """Make an author of markers alone."""
    turn = Turn(written, page, cycle([("nothing", "VEK")]))
    return Author(slug, written, turn, turn)


def link(base: Base) -> None:
    """Link files of another folder into the knowledge base."""
    outside = Base(base.root.parent / "outside")
    said = "secretword"
    picture = vectors.HARMLESS.replace("x</text>", f"{said}</text>")
    outside.write({"a.png": PNG + said.encode(), "a.svg": picture, "a.pdf": said, "folder/a.png": said})
    outside.write({"a.md": said, "a.py": f'"""{said}"""\n'})
    outside.write({"a.yml": f"cite: sound2020\nidea: {said}\nimplementation: null\n"})
    links = {"papers": ("a.png", "a.svg", "a.pdf", "a.yml", "folder"), "docs": ("a.md", "a.png", "folder")}
    for folder, names in {**links, "reference_impl": ("a.py",)}.items():
        (base.root / folder).mkdir(exist_ok=True)
        for one in names:
            (base.root / folder / one).symlink_to(outside.root / one)


# How pages are looked at

BEFORE = """
  window.watched = {violations: [], failed: 0};
  const drawn = () => document.querySelectorAll(".diagram[data-drawn]").length;
  document.addEventListener("securitypolicyviolation", (event) => {
    const {violatedDirective, blockedURI, sourceFile} = event;
    // Mermaid takes scripts out of labels in a document of its own, where they don't run, and the policy speaks all the
    // same. Without the policy they would be found out, if they ran.
    const isCleaning = violatedDirective === "script-src-attr" && sourceFile.includes("/vendor/mermaid/");
    const after = `after diagram ${drawn() + watched.failed}`;
    if (!isCleaning) watched.violations.push(`${violatedDirective} ${blockedURI} ${after}`);
  });
  const log = console.error;
  console.error = (...words) => {
    watched.failed += String(words[0]).startsWith("diagram ");
    log(...words);
  };
"""

IS_DRAWN = """() =>
  [...document.querySelectorAll(".arithmatex")].every((one) => one.querySelector("span") || one.matches(".q-unread")) &&
  document.querySelectorAll(".diagram").length ===
    document.querySelectorAll(".diagram[data-drawn]").length + watched.failed
"""

_NODE = ":is(.node, .actor, .task, .clickable, .person-man, .statediagram-state, a)"
NODES = f".diagram svg {_NODE}, .diagram svg:not(:has({_NODE})) text, .q-flow g"

# Where the pointer goes: the middle of a node that was brought into sight. Links lead nowhere meanwhile.
POINT = """(node) => {
  window.stay ??= addEventListener("click", (event) => event.target.closest("a") && event.preventDefault()) ?? true;
  node.scrollIntoView({block: "center", inline: "center"});
  const {x, y, width, height} = node.getBoundingClientRect();
  return [x + width / 2, y + height / 2];
}"""

LOOK = """() => {
  const faults = [];
  const article = document.querySelector("article");
  const markerOf = (element) =>
    element?.closest(".diagram, .q-flow, li, tr, .q-question")?.textContent.match(/vek\\d{4}/)?.[0] ?? "";
  const told = (what, element, by = element) =>
    faults.push(`${what}: ${element.outerHTML.replace(/\\s+/g, " ").slice(0, 120)} ${markerOf(by)}`);
  const url = (value) => { try { return new URL(value, document.baseURI); } catch { return null; } };
  const fetches = (css) => /@import|@font-face|image-set\\(|url\\((?!["']?(#|data:image\\/))/i.test(css);
  const leads = new Set([
    "href", "src", "action", "formaction", "data", "poster", "background", "ping", "to", "values",
  ]);
  for (const element of document.querySelectorAll("*")) {
    const tag = element.localName.toLowerCase();
    const isWritten = article?.contains(element) && element !== article;
    for (const {localName, value} of element.attributes) {
      const name = localName.toLowerCase();
      if (name.startsWith("on")) told("a script in an attribute", element);
      if (isWritten && name === "srcset") told("a set of pictures", element);
      if (!leads.has(name) || (["to", "values"].includes(name) && !/^animate|^set/.test(tag))) continue;
      const to = url(value);
      if (!to) continue;
      const isShown = ["img", "image"].includes(tag) && /^data:image\\/(png|jpeg|gif|webp)/.test(to.href);
      if (!["http:", "https:", "mailto:"].includes(to.protocol) && !isShown) told("an address of a script", element);
      const isFollowed = ["a", "area"].includes(tag);
      if (!isFollowed && !isShown && to.origin !== location.origin) told("an address of another host", element);
    }
    if (fetches(element.style?.cssText ?? "")) told("a style that fetches", element);
    if (!isWritten) continue;
    const isDiagrams = tag === "style" && element.closest(".diagram svg");
    const never = ["script", "iframe", "frame", "object", "embed", "base", "meta", "style", "link", "template"];
    if (never.includes(tag) && !isDiagrams) told(`a <${tag}> in the text`, element);
    if (element.closest(".diagram") && ["fixed", "absolute", "sticky"].includes(getComputedStyle(element).position))
      told("what leaves its diagram", element);
    if (isDiagrams && [...(element.sheet?.cssRules ?? [])].some((rule) => fetches(rule.cssText)))
      told("a style that fetches", element);
  }
  const diagrams = document.querySelectorAll(".diagram");
  for (const one of document.querySelectorAll("body > [id^=ddiagram-]"))
    told("a drawing left behind", one, diagrams[one.id.split("-")[1]]);
  for (const one of document.querySelectorAll("details")) one.open = true;
  for (const one of document.querySelectorAll(".tabbed-block")) one.style.display = "block";
  for (const one of document.querySelectorAll(".katex-mathml")) one.style.display = "none";
  const all = (selector, name) =>
    [...(article ?? document).querySelectorAll(selector)].map((one) => one.getAttribute(name));
  const drawn = [...document.querySelectorAll("svg text")].map((one) => one.textContent);
  return {
    faults,
    ran: window.ran ?? [],
    violations: watched.violations,
    text: [(article ?? document.body)?.innerText ?? "", ...all("img", "alt"), ...drawn].join("\\n"),
    addresses: [...all("a", "href"), ...all("img", "src")].join("\\n"),
  };
}"""


@dataclass
class Eyes:
    """Sees what pages do: what they ask for, what they open, what they throw."""

    context: BrowserContext
    home: str
    touches: bool = True
    patience: float = PATIENCE
    faults: set[str] = field(default_factory=set)
    texts: dict[str, str] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    opening: bool = False

    def __post_init__(self) -> None:
        self.context.set_default_timeout(self.patience)
        self.context.add_init_script(BEFORE)
        self.context.on("request", self._asks)
        self.context.on("dialog", self._speaks)
        self.context.on("weberror", self._throws)
        self.context.on("page", self._opens)

    def look(self, paths: Sequence[str]) -> None:
        """Open each page, wait until it is drawn, point at and click on what was drawn, and look at what is there."""
        tabs = [self.context.new_page() for _ in range(min(TABS, len(paths)))]
        self.opening = True
        for start in range(0, len(paths), TABS):
            some = list(zip(tabs, paths[start : start + TABS], strict=False))
            for tab, path in some:
                tab.goto(self.home + quote(path), wait_until="commit")
            settle(*(tab for tab, _ in some))
            for tab, path in some:
                self._read(tab, path)
        self.opening = False
        for tab in tabs:
            tab.close()

    def _read(self, tab: Page, path: str) -> None:
        try:
            tab.wait_for_function(IS_DRAWN)
        except TimeoutError:
            self.note(tab, "mathematics or a diagram is neither drawn nor left as it was written")
        for node in tab.query_selector_all(NODES) if self.touches else ():
            x, y = node.evaluate(POINT)
            tab.mouse.click(x, y)
        if tab.url.partition("#")[0] != self.home + quote(path):
            self.note(tab, f"this page stands where {path} was")
        self.texts[path], self.addresses[path] = self.check(tab)

    def check(self, tab: Page) -> tuple[str, str]:
        """Note what a page holds and did; return its text, and the addresses in it."""
        seen = tab.evaluate(LOOK)
        for fault in seen["faults"]:
            self.note(tab, fault)
        for number in seen["ran"]:
            self.note(tab, f"vek{number:04} ran")
        for violation in seen["violations"]:
            self.note(tab, f"the policy had to stop {violation}")
        return seen["text"], seen["addresses"]

    def note(self, page: Page | None, what: str) -> None:
        address = unquote(page.url.removeprefix(self.home)) if page else "?"
        self.faults.add(f"{address}: {what}")

    def _asks(self, request: Request) -> None:
        if not request.url.startswith((self.home, "data:", "blob:")):
            self.note(request.frame.page, f"asks for {request.url}")

    def _speaks(self, dialog: Dialog) -> None:
        self.note(dialog.page, f"a dialog says {dialog.message}")
        dialog.dismiss()

    def _throws(self, error: WebError) -> None:
        self.note(error.page, f"throws {error.error}")

    def _opens(self, page: Page) -> None:
        if self.opening:
            self.note(page, "a page was opened")


def pages(site: Path) -> list[str]:
    """List the pages of a site, and its pictures, which a reader can open alone; paths from its folder."""
    paths = (path.relative_to(site).as_posix() for path in site.rglob("*") if path.suffix in {".html", ".svg"})
    # A drawing for dark pages is the one for light pages in other colors.
    return sorted(path for path in paths if not path.startswith("assets/images/") and not path.endswith("-dark.svg"))


def without_policy(site: Path, bare: Path) -> None:
    """Make a copy of a site whose pages have no policy."""
    shutil.copytree(site, bare, copy_function=os.link)
    for page in bare.rglob("*.html"):
        html, count = POLICY.subn("", page.read_text(encoding="utf-8"))
        assert count == 1, f"{page} has {count} policies"
        page.unlink()
        page.write_text(html, encoding="utf-8")


@dataclass(frozen=True)
class Site:
    """A knowledge base, and the folder that holds its site twice: as it was built, and `bare` of its policy."""

    base: Base
    placed: Sequence[Placed]
    folder: Path


def made(root: Path, write: Callable[[Base, Written], None]) -> Site:
    """Write a knowledge base, read it and build its site, as if somebody stood in its folder."""
    base, written = Base(root / "base"), Written()
    write(base, written)
    with contextlib.chdir(base.root), pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.syspath_prepend(str(base.root))
        # Of letters that no font of this machine has.
        warnings.filterwarnings("ignore", category=UserWarning)
        # Links lead nowhere: that is told, and the site is written.
        build(base.project, base.project.read()[0], root / "site")
    without_policy(root / "site", root / "bare")
    return Site(base, written.placed, root)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The site of all attacks."""
    return made(tmp_path_factory.mktemp("hostile"), spread)


@pytest.fixture(scope="module")
def entitled(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The site of pages whose names are attacks."""
    return made(tmp_path_factory.mktemp("entitled"), entitle)


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The site of files whose names, and of pictures whose content, are attacks."""
    return made(tmp_path_factory.mktemp("named"), name)


def seen(
    browser: Browser, folder: Path, paths: Sequence[str], *, touches: bool = True, patience: float = PATIENCE
) -> Eyes:
    """Look at some pages of a folder.

    `touches` tells whether to point at and click on what was drawn; `patience` are the milliseconds for drawing it.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    with served(folder) as address, contextlib.closing(context):
        eyes = Eyes(context, address, touches, patience)
        eyes.look(paths)
        return eyes


def unread(placed: Iterable[Placed], eyes: Eyes) -> list[str]:
    """List the attacks whose marker a reader does not find on the page where they stand."""

    def shown(one: Placed) -> str:
        is_address = one.kind in {"names", "addresses"} or one.field in {"url", "doi", "eprint"}
        return eyes.texts[one.page] + (unquote(eyes.addresses[one.page]) if is_address else "")

    return [
        f"{one.page}: {one.field} does not show {one.text!r} ({one.kind})"
        for one in placed
        if one.page in eyes.texts and one.marker not in shown(one)
    ]


# What is shown


# With the policy, a page can do less than without: what is bare is looked at each time.
BOTH = [pytest.param("site", marks=pytest.mark.slow), "bare"]


@pytest.mark.parametrize("kind", BOTH)
def test_attacks_are_shown_and_do_nothing(browser: Browser, hostile: Site, kind: str) -> None:
    paths = pages(hostile.folder / "site")
    assert {one.page for one in hostile.placed} <= set(paths), "an attack is on no page"
    # What a click does, it does without the policy first of all.
    eyes = seen(browser, hostile.folder / kind, paths, touches=kind == "bare")
    faults = [*eyes.faults, *unread(hostile.placed, eyes)]
    assert not faults, "\n".join(sorted(faults))


@pytest.mark.parametrize("kind", BOTH)
def test_pictures_and_their_names_are_shown_and_do_nothing(browser: Browser, named: Site, kind: str) -> None:
    drawn = [path for path in pages(named.folder / "site") if path.endswith(".svg")]
    eyes = seen(browser, named.folder / kind, ["papers/sound/index.html", *drawn])
    faults = [*eyes.faults, *unread(named.placed, eyes)]
    assert not faults, "\n".join(sorted(faults))


@pytest.mark.parametrize("kind", BOTH)
def test_names_of_pages_are_shown_and_do_nothing(browser: Browser, entitled: Site, kind: str) -> None:
    # Each page names all others in the navigation.
    eyes = seen(browser, entitled.folder / kind, ["papers/sound/index.html", "index.html"])
    faults = [*eyes.faults, *unread(entitled.placed, eyes)]
    assert not faults, "\n".join(sorted(faults))


def test_the_search_shows_attacks_and_they_do_nothing(browser: Browser, hostile: Site) -> None:
    context = browser.new_context()
    shown = []
    with served(hostile.folder / "bare") as address, contextlib.closing(context):
        eyes = Eyes(context, address)
        page = context.new_page()
        visit(page, f"{address}tags/index.html")
        page.keyboard.press("/")
        # Each query finds those that begin with it.
        for tens in range(20):
            page.locator("dialog.q-search input").fill(f"vek{tens:03}")
            page.wait_for_selector("dialog[data-searched]")
            shown.append(page.locator(".q-search-hits").inner_text())
            eyes.check(page)
    assert not eyes.faults, "\n".join(sorted(eyes.faults))
    assert len(set(re.findall(r"vek\d{4}", "".join(shown)))) > 200


def test_an_address_that_is_an_attack_does_nothing(browser: Browser, named: Site) -> None:
    attack = quote('"><img src=x onerror=alert(1)>')
    context = browser.new_context()
    with served(named.folder / "bare") as address, contextlib.closing(context):
        eyes = Eyes(context, address)
        page = context.new_page()
        for part in ("?q=", "?state=", "#"):
            page.goto(f"{address}questions/{part}{attack}")
            settle(page)
            eyes.check(page)
    assert not eyes.faults


# What is not in the site


def test_nothing_of_a_knowledge_base_is_run_by_reading_and_building(hostile: Site) -> None:
    assert not (hostile.base.root / "executed").exists()
    assert not {"papers.data.e", "papers.data", "reference_impl.answers"} & set(sys.modules)


def test_of_what_lies_beside_the_cards_only_what_is_inert_gets_into_the_site(named: Site) -> None:
    papers = named.folder / "site" / "papers"
    found = {path.relative_to(papers).as_posix() for path in papers.rglob("*") if path.is_file()}
    names = {one.text for one in named.placed if one.field == "name of a picture"}
    pages = {"index.html", "sound/index.html"}
    assert found == {*pages, "harmless.svg", "harmless.pdf", *(f"{name}.png" for name in names)}


def test_a_picture_that_is_an_attack_is_refused_by_its_name(named: Site) -> None:
    said = named.base.report()
    assert [name for name in vectors.PICTURES if f"papers/pictures/{name}.svg: this picture" not in said] == []


def test_links_to_files_elsewhere_are_not_followed(named: Site) -> None:
    leaks = [
        path.relative_to(named.folder / "site").as_posix()
        for path in (named.folder / "site").rglob("*")
        if path.is_file() and b"secretword" in path.read_bytes()
    ]
    assert not leaks


@pytest.mark.parametrize(
    ("setting", "file"),
    [
        ('templates = "papers"', "papers/card.html"),
        ('templates = "papers/x"', "papers/x/card.html"),
        ('docs = "papers"', "papers/index.md"),
        ('docs = "."', "papers/index.md"),
    ],
)
def test_settings_make_neither_a_template_nor_a_page_of_what_lies_beside_the_cards(
    tmp_path: Path, setting: str, file: str
) -> None:
    base = sound(tmp_path)
    code = f"{{{{ cycler.__init__.__globals__.os.mkdir({str(base.root / 'executed')!r}) }}}}<script>RUN</script>"
    base.write({"pyproject.toml": f"[tool.quaere]\n{setting}\n", file: code, "papers/page.html": code})
    with contextlib.suppress(AuthorError, Faults):
        build(base.project, base.project.read()[0], tmp_path / "site")
    assert not (base.root / "executed").exists()
    pages = (tmp_path / "site").rglob("*.html")
    assert [page for page in pages if "<script>RUN</script>" in page.read_text(encoding="utf-8")] == []


# What is refused


def sound(folder: Path) -> Base:
    """Write a small sound knowledge base."""
    base = Base(folder / "base")
    base.write({**SOUND, "mkdocs.yml": SETTINGS})
    return base


@pytest.mark.parametrize("name", vectors.REFUSED)
def test_what_cannot_be_read_is_refused_with_a_message(tmp_path: Path, name: str) -> None:
    path, content, said = vectors.REFUSED[name]
    base, written = sound(tmp_path), Written()
    filled = written.put(content, "refused", name, "").encode(errors="surrogatepass")
    base.write({written.put(path, "refused", name, ""): filled})
    message = base.report()
    assert said in message
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]|Traceback", message), "a terminal would obey this message"


@pytest.mark.parametrize("title", vectors.UNREADABLE, ids=lambda title: title[:20])
def test_latex_that_is_hard_to_read_is_shown_or_refused(tmp_path: Path, title: str) -> None:
    base = sound(tmp_path)
    entry = f"@misc{{toy2020, author = {{Maker, Ann}}, title = {{a {title}}}, year = {{2020}}}}\n"
    base.write({"papers/references.bib": entry})
    library, faults = base.project.read()
    assert faults or library.papers["toy"].reference.title.startswith("a")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", vectors.UNDRAWN)
def test_a_figure_that_cannot_be_drawn_is_refused(tmp_path: Path, name: str) -> None:
    base = sound(tmp_path)
    report = harmless("toy", Written(), "").result(0) | {"figures": [vectors.UNDRAWN[name]]}
    base.write({"papers/results/toy-small.json": json.dumps(report)})
    library, faults = base.project.read()
    if not faults:
        view = base.project.view(library)
        with pytest.raises((AuthorError, Faults)):
            render.files(view)


def test_verdicts_of_another_form_are_not_trusted(tmp_path: Path) -> None:
    base = sound(tmp_path)
    verdict = {"key": "0", "passed": True, "failure": "", "commit": "", "at": "", "seconds": 1.0, "versions": {}}
    for spoiled in ({"at": ["<script>"]}, {"versions": {"x": 1}}, {"<script>": 1}, {"seconds": "1"}, {"passed": 1}):
        base.write({".quaere/evidence.json": json.dumps({"schema": 1, "verdicts": {"toy.why": verdict | spoiled}})})
        evidence = base.project.evidence
        assert not evidence.verdicts
        assert "is not trusted" in evidence.warning


# The attacks themselves, and the eyes


def test_there_are_many_attacks_of_each_kind_and_each_is_somewhere(hostile: Site, named: Site) -> None:
    texts = {kind: set(some) for kind, some in vectors.MARKDOWN.items()}
    texts |= {"mathematics": set(vectors.EQUATIONS), "diagrams": set(vectors.DIAGRAMS), "words": set(vectors.WORDS)}
    assert min(map(len, texts.values())) >= 10
    every = [*texts.values(), vectors.LATEX, vectors.FAILURES, vectors.ADDRESSES, vectors.NAMES]
    assert len({text for some in [*every, vectors.PICTURES.values()] for text in some}) >= 300
    placed = Counter(one.kind for one in (*hostile.placed, *named.placed))
    assert all(placed[kind] >= len(some) for kind, some in texts.items())
    markers = [one.marker for one in hostile.placed]
    assert len(markers) == len(set(markers))


ALIVE: Mapping[str, str] = {
    "<script>window.ran=[1]</script>": "vek0001 ran",
    "<img src=x onerror=(window.ran??=[]).push(2)>": "vek0002 ran",
    "<script>alert(3)</script>": "a dialog says 3",
    "<img src=https://host0004.evil.invalid/a.png>": "asks for https://host0004.evil.invalid/a.png",
    "<a href=javascript:alert(5)>x</a>": "an address of a script: <a",
    "<svg><a xlink:href=javascript:alert(6)></a></svg>": "an address of a script: <a xlink",
    "<iframe></iframe>": "a <iframe> in the text",
    "<form action=javascript:alert(7)></form>": "an address of a script: <form",
    "<script>throw Error('eight')</script>": "throws eight",
    "<link rel=preconnect href=https://host0009.evil.invalid>": "an address of another host: <link",
    "<p style='background:url(https://host0010.evil.invalid/)'>x</p>": "a style that fetches: <p",
    "<div class=diagram data-drawn><svg><style>g{mask:ur\\l(https://host0011.evil.invalid/)}</style>"
    "<g class=node id=twelve><rect width=99 height=30 /></g></svg></div>": "a style that fetches: <style",
    "<script>twelve.addEventListener('click', () => window.ran.push(12))</script>": "vek0012 ran",
    "<script>twelve.addEventListener('mouseover', () => window.ran.push(13))</script>": "vek0013 ran",
    "<svg><set attributeName=href to=javascript:alert(14) /></svg>": "an address of a script: <set",
    "<script>fetch('https://host0015.evil.invalid/')</script>": "asks for https://host0015.evil.invalid/",
}
"""What would be alive on a page, and what must be said of it."""


def test_the_eyes_see_what_is_alive_and_nothing_on_a_sound_page(browser: Browser, hostile: Site) -> None:
    with contextlib.ExitStack() as stack:
        for kind in ("site", "bare"):
            page = (hostile.folder / kind / "tags/index.html").read_text(encoding="utf-8")
            # A diagram of ours is drawn already.
            page = re.sub(r"<script[^>]*render\.js[^>]*>", "", page)
            spoiled = hostile.folder / kind / "tags/spoiled.html"
            stack.callback(spoiled.unlink)
            spoiled.write_text(page.replace("</article>", "".join(ALIVE) + "</article>"), encoding="utf-8")
        # Nothing is drawn there, however long one waits.
        eyes = seen(browser, hostile.folder / "bare", ["tags/spoiled.html", "index.html"], patience=3_000)
        stopped = seen(browser, hostile.folder / "site", ["tags/spoiled.html"], patience=3_000)
    assert [said for said in ALIVE.values() if not any(said in fault for fault in eyes.faults)] == []
    assert [fault for fault in eyes.faults if fault.startswith("index.html")] == []
    assert "Questions by state" in eyes.texts["index.html"]
    assert any("the policy had to stop script-src" in fault for fault in stopped.faults)
    assert any("the policy had to stop img-src https://host0004" in fault for fault in stopped.faults)
    assert not any(" ran" in fault or "a dialog" in fault for fault in stopped.faults)
    lost = Placed("vek9999", "x", "x", "x", "tags/spoiled.html")
    assert len(unread([lost], eyes)) == 1
