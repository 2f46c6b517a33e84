"""Measure the site beside one of plain Material over the same cards, print a table, and keep it.

    python -m benchmarks.site                    all of it, within 15 minutes; goes into benchmarks/results.json
    python -m benchmarks.site --part builds      one part; writes nothing, unless --output says where

Seconds are those of the processor, of whole processes with their children; memory is the most that one process held.
"""

import argparse
import contextlib
import datetime
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from playwright.sync_api import Browser, CDPSession, Page, Request, TimeoutError, sync_playwright

from benchmarks import lighthouse
from benchmarks.served import served
from quaere import atomic
from quaere.content import results
from quaere.content.results import Cell, Figure, Lines, Result, Series, Table
from quaere.running import hardware, verify

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results.json"
QUAERE = (sys.executable, "-m", "quaere")
PLAIN = (sys.executable, "-m", "mkdocs", "build", "--quiet")
SIZES = (100, 300, 1000, 3000, 5000, 10000)
PLAIN_MOST = 5000
"""The size up to which plain Material is measured: more of it would take all of the time."""
BOX = "dialog.q-search input, .md-search__input"
OF_SEARCH = re.compile(r"search|/(?:find|data)\.js")
SEARCHED = ("retrieval", "regul", "atention", "trasnlation", "Vasvani", "神经网络")
"""A name, the beginning of one, typing errors, and Chinese that is said in texts only."""
BETWEEN_KEYS = 100
"""Milliseconds; few type faster."""
WATCH = """
const typed = [], frames = [];
const box = () => document.querySelector("dialog.q-search input, .md-search__input");
const type = ({ timeStamp, target }) => target === box() && typed.push(timeStamp);
addEventListener("keydown", type, true);
// An input method writes without a key.
addEventListener("input", (event) => event.data?.length > 1 && type(event), true);
new MutationObserver(() => {
  if (!document.querySelector(".q-hit, .md-search-result__item")) return;
  const { value } = box();
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => frames.push([performance.now(), value]);
  requestAnimationFrame(() => port2.postMessage(0));
}).observe(document, { childList: true, subtree: true });
globalThis.seen = (word) => {
  const whole = frames.find(([, value]) => value === word);
  return whole && [frames[0][0] - typed[0], whole[0] - typed.at(-1), performance.timeOrigin + whole[0]];
};
"""
"""Notes when letters are typed and when a frame with results has been drawn; the times of a word are told by `seen`."""
TITLE, GROWTH, LIGHTHOUSE = "The site", "site-growth", "What Lighthouse says, as on a phone"
COLUMNS = ("work", "unit", "ours", "plain Material", "at most")
NOTE = (
    "Seconds of the processor, of whole processes with their children, unless the unit says otherwise; plain Material "
    "builds the same cards as Markdown, with its search, and does all of it each time. Memory is the most that one "
    "process held. A search counts from the first letter typed on a page, 100 ms before the next, to the frame that "
    "shows a result, or from the last letter to the frame with one for the word: the longer, and of a name, the "
    "beginning of one, three typing errors and Chinese the worst."
)
PAGES = {
    "home": "",
    "card (Transformer)": "papers/transformer/",
    "code (Transformer)": "code/transformer/",
    "questions": "questions/",
}


@dataclass(frozen=True)
class Spent:
    """What a process took, with its children: seconds of the processor, and bytes held at most by one of them."""

    seconds: float
    memory: int


@dataclass(frozen=True)
class Row:
    """A line of the table; `most` is what is aimed at."""

    work: str
    unit: str
    ours: float | None
    plain: float | None = None
    most: float | None = None


@dataclass
class Found:
    """What has been measured up to now."""

    rows: list[Row] = field(default_factory=list)
    growth: dict[str, dict[int, float]] = field(default_factory=dict)
    scores: list[tuple[Cell, ...]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def add(self, *row: str | float | None) -> None:
        """Add a row, and print it."""
        self.rows.append(one := Row(*row))  # type: ignore[arg-type]
        ours, plain, most = (results.cell(value) for value in (one.ours, one.plain, one.most))
        print(f"{one.work:58} {one.unit:12} {ours:>9} {plain:>9} {most:>9}", flush=True)

    def grew(self, name: str, cards: int, seconds: float) -> None:
        """Note a point of a curve."""
        self.growth.setdefault(name, {})[cards] = seconds


def spent(command: Iterable[str], folder: Path) -> Spent:
    """Run a command in a folder and return what it took.

    Raises:
        RuntimeError: It failed.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([*command], cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise RuntimeError(f"{' '.join(command)} in {folder}: {output.read().decode()[-2000:]}")
    return Spent(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def median(measure: Callable[[], Spent], times: int = 3) -> Spent:
    """Measure some times, and return the one in the middle."""
    return sorted((measure() for _ in range(times)), key=lambda one: one.seconds)[times // 2]


def changed(card: Path, word: str) -> None:
    """Change the idea of a card."""
    text = card.read_text(encoding="utf-8")
    card.write_text(re.sub(r'^(idea: (?:>-\n +|["\']?))', rf"\g<1>{word} ", text, count=1, flags=re.MULTILINE), "utf-8")


def generate(cards: int, folder: Path, *options: str) -> Path:
    """Write a library in a process of its own: what a parent holds counts as what its children held."""
    spent((sys.executable, "-m", "benchmarks.generated", str(cards), str(folder), *options), ROOT)
    return folder


def copy_of_this(folder: Path) -> Path:
    """Copy this repository as git sees it, with what was drawn and verified before."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    drawn = [path.relative_to(ROOT).as_posix() for path in (ROOT / "docs/assets/figures").glob("*.svg")]
    for path in [*listed.split("\0")[:-1], *drawn, ".quaere/evidence.json"]:
        if (ROOT / path).is_file():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, folder / path)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x", "-C", str(folder)]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message=copy"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    return folder


def three_builds(folder: Path, card: Path) -> tuple[Spent, Spent, Spent]:
    """Build a library clean, without a change, and with one card changed."""
    words = iter(("changed", "again", "thrice"))

    def one_card() -> Spent:
        changed(card, next(words))
        return spent((*QUAERE, "build"), folder)

    clean = spent((*QUAERE, "build"), folder)
    same = median(lambda: spent((*QUAERE, "build"), folder))
    return clean, same, median(one_card)


def builds(found: Found, folder: Path, has_time: Callable[[float], bool]) -> None:
    """Measure builds of this repository and of generated libraries, and how they grow."""
    spent((*QUAERE, "verify"), ROOT)
    clean, same, one = three_builds(this := copy_of_this(folder / "this"), this / "papers/vit.yml")
    found.add("this repository, clean, evidence there", "CPU s", clean.seconds, None, 15)
    found.add("this repository, no change", "CPU s", same.seconds, None, 0.7)
    found.add("this repository, one card", "CPU s", one.seconds, None, 1.5)
    last = 0.0
    for cards in SIZES:
        library = folder / str(cards)
        # What it took for the last size says what it takes for this one.
        if not has_time(last * 3.5):
            found.missing.append(f"{cards} cards")
            continue
        began = time.monotonic()
        generate(cards, library)
        card = sorted((library / "papers").glob("*.yml"))[cards // 2]
        clean, same, one = three_builds(library, card)
        plain = None
        if cards <= PLAIN_MOST and has_time(20 * cards / 1000):
            plain = spent(PLAIN, generate(cards, folder / f"plain-{cards}", "--plain"))
            found.grew("plain Material", cards, plain.seconds)
        last = time.monotonic() - began
        for name, of in (("clean", clean), ("no change", same), ("one card", one)):
            found.grew(name, cards, of.seconds)
        theirs, held = (plain.seconds, plain.memory / 1e6) if plain else (None, None)
        most = {1000: (6, None, None), 5000: (25, 0.7, 1.2)}.get(cards, (None, None, None))
        found.add(f"{cards:,} cards, clean", "CPU s", clean.seconds, theirs, most[0])
        found.add(f"{cards:,} cards, clean: memory", "MB", clean.memory / 1e6, held, 250 if cards == 5000 else None)
        found.add(f"{cards:,} cards, no change", "CPU s", same.seconds, theirs, most[1])
        found.add(f"{cards:,} cards, one card", "CPU s", one.seconds, theirs, most[2])


def loads(found: Found, folder: Path, has_time: Callable[[float], bool]) -> None:
    """Measure how long 5,000 cards take to load and to check, for the first time and again."""
    library = generate(5000, folder / "5000")
    shutil.rmtree(library / ".quaere", ignore_errors=True)
    check = (*QUAERE, "check")
    found.add("5,000 cards, load and check, cold", "CPU s", spent(check, library).seconds, None, 3)
    # What is kept is kept where a build has made the folder for it.
    (library / ".quaere" / "cache").mkdir(parents=True)
    spent(check, library)
    found.add("5,000 cards, load and check, cached", "CPU s", median(lambda: spent(check, library)).seconds, None, 0.5)


@contextlib.contextmanager
def running(command: Iterable[str], folder: Path, port: int) -> Iterator[None]:
    """Run a server until the block ends, which begins when it answers."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([*command], cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        try:
            end = time.monotonic() + 300
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
                    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    connection.settimeout(60)
                    if connection.recv(12).endswith(b"200"):
                        break
                if process.poll() is not None or time.monotonic() > end:
                    output.seek(0)
                    raise RuntimeError(f"{' '.join(command)}: {output.read().decode()[-2000:]}")
                time.sleep(0.2)
            yield
        finally:
            # An interrupt is ignored by what a shell started in the background.
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def browsing() -> Iterator[Browser]:
    """Start a browser that reaches this machine only."""
    flags = ["--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=lighthouse.chromium(), args=flags, chromium_sandbox=False)
        yield browser
        browser.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _until_seen(page: Page, file: Path, change: Callable[[str], None], settle: float = 3) -> float:
    """Return the seconds from a changed file to the change in an open page; the second time counts, warmed up."""
    seconds = []
    for word in ("Ebony", "Crimson", "Azure"):
        time.sleep(settle)
        began = time.monotonic()
        change(word)
        page.get_by_text(word).first.wait_for(state="attached", timeout=120_000)
        seconds.append(time.monotonic() - began)
    return statistics.median(seconds)


def serving(found: Found, folder: Path, has_time: Callable[[float], bool]) -> None:
    """Measure how long a saved card takes to be seen in the browser, at 1,000 cards."""
    ours, plain = generate(1000, folder / "1000"), generate(1000, folder / "plain-1000", "--plain")
    card = sorted((ours / "papers").glob("*.yml"))[500]
    page_of_it = plain / "docs" / f"{card.stem}.md"

    def in_markdown(word: str) -> None:
        page_of_it.write_text(f"{page_of_it.read_text(encoding='utf-8')}\n{word}\n", encoding="utf-8")

    with browsing() as browser:
        port = _free_port()
        with running((*QUAERE, "serve", "--port", str(port)), ours, port):
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{port}/papers/{card.stem}/")
            seen = _until_seen(page, card, partial(changed, card))
            page.close()
        theirs = None
        if has_time(150):
            port = _free_port()
            mkdocs = (sys.executable, "-m", "mkdocs", "serve", "--quiet", "--livereload")
            with running((*mkdocs, "--dev-addr", f"127.0.0.1:{port}"), plain, port):
                page = browser.new_page()
                page.goto(f"http://127.0.0.1:{port}/{card.stem}/")
                theirs = _until_seen(page, page_of_it, in_markdown)
                page.close()
    found.add("1,000 cards, served: saved to seen in the browser", "s", seen, theirs, 1)


def _processor(session: CDPSession) -> float:
    """Return the seconds that all processes of a browser have taken."""
    return float(sum(one["cpuTime"] for one in session.send("SystemInfo.getProcessInfo")["processInfo"]))


def _settled(page: Page, session: CDPSession) -> float:
    """Wait until the browser has nothing left to do, and return the seconds that it has taken."""
    before = _processor(session)
    while True:
        page.wait_for_timeout(400)
        if (now := _processor(session)) - before < 0.05:
            return now
        before = now


@dataclass(frozen=True)
class Searched:
    """A search: seconds and bytes up to the first result, as `search` counts them; seconds of the browser for all."""

    clock: float
    fetched: int
    processor: float


def search(browser: Browser, root: str, word: str) -> Searched:
    """Open a site's home, open the search by its key, and type a word as soon as its box has the focus.

    The clock runs from the first letter to the frame that shows a result for what is typed by then, and from the last
    letter to the frame that shows one for the word; the longer of the two counts. Of the search only its scripts came
    with the page, and they count with all that was fetched up to the later frame. What is no letter of a keyboard comes
    at once, as from an input method.
    """
    session = browser.new_browser_cdp_session()
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.add_init_script(WATCH)
    page = context.new_page()
    # What the worker of Material's search fetches is no request of the page: the network counts for all.
    fetched: list[Request] = []
    context.on("requestfinished", lambda one: fetched.append(one))
    page.goto(root, wait_until="load")
    before = _settled(page, session)
    page.keyboard.press("/")
    page.locator(BOX).and_(page.locator(":focus")).wait_for()
    if word.isascii():
        page.keyboard.type(word, delay=BETWEEN_KEYS)
    else:
        page.keyboard.insert_text(word)
    first, whole, end = page.wait_for_function(
        "word => seen(word)", arg=word, polling=100, timeout=180_000
    ).json_value()
    processor = _settled(page, session) - before
    needed = [one for one in fetched if OF_SEARCH.search(one.url) and one.timing["startTime"] < end]
    size = sum(one.sizes()["responseBodySize"] for one in needed)
    context.close()
    return Searched(max(first, whole) / 1000, size, processor)


def searches(found: Found, folder: Path, has_time: Callable[[float], bool]) -> None:
    """Measure the search and the page of all questions at 5,000 cards."""
    ours, plain = generate(5000, folder / "5000"), generate(5000, folder / "plain-5000", "--plain")
    sites = {"ours": ours / "site", "plain": plain / "site"}
    if not sites["ours"].is_dir():
        spent((*QUAERE, "build"), ours)
    if not sites["plain"].is_dir() and has_time(150):
        spent(PLAIN, plain)
    of: dict[str, list[Searched]] = {}
    with browsing() as browser:
        for name, site in sites.items():
            if site.is_dir():
                with served(site) as root:
                    words, times = (SEARCHED, 3) if name == "ours" else (SEARCHED[:1], 1)
                    of[name] = []
                    for word in words:
                        all = [search(browser, root, word) for _ in range(times)]
                        of[name].append(sorted(all, key=lambda one: one.clock)[times // 2])
                        print(f"{name}, {word}: {of[name][-1]}", flush=True)
        with served(sites["ours"]) as root:
            session = browser.new_browser_cdp_session()
            page = browser.new_page()
            page.goto("about:blank")
            before = _settled(page, session)
            page.goto(f"{root}questions/", wait_until="load", timeout=180_000)
            interactive = _settled(page, session) - before
    for work, unit, most, value in (
        ("typed to first result", "s", 0.1, lambda one: one.clock),
        ("fetched for it", "MB", 0.3, lambda one: one.fetched / 1e6),
        ("a whole search", "CPU s", None, lambda one: one.processor),
    ):
        ours_at_most, theirs = (max(map(value, of[name])) if name in of else None for name in sites)
        found.add(f"5,000 cards, {work}", unit, ours_at_most, theirs, most)
    found.add("5,000 cards, all questions interactive", "CPU s", interactive, None, 1)


def scores(found: Found, folder: Path, has_time: Callable[[float], bool]) -> None:
    """Let Lighthouse judge four pages of this site."""
    if not (ROOT / "site" / "index.html").is_file():
        spent((*QUAERE, "build"), ROOT)
    with served(ROOT / "site") as root:
        for name, path in PAGES.items():
            report = lighthouse.report(root + path)
            found.scores.append((name, *lighthouse.scores(report)))
            print(f"Lighthouse, {name}: {found.scores[-1][1:]}", flush=True)


PARTS = {"scores": scores, "loads": loads, "searches": searches, "serving": serving, "builds": builds}


def tables(found: Found, about: str) -> tuple[Table, ...]:
    """Return what was found as tables."""
    rows = tuple((one.work, one.unit, one.ours, one.plain, one.most) for one in found.rows)
    missing = f" Not measured: {', '.join(found.missing)}." if found.missing else ""
    made = [Table(title=TITLE, columns=COLUMNS, rows=rows, note=f"{NOTE}{missing} {about}")] if rows else []
    if found.scores:
        columns = ("page", *(name.replace("-", " ") for name in lighthouse.CATEGORIES))
        made.append(Table(title=LIGHTHOUSE, columns=columns, rows=tuple(found.scores), note="Of 100."))
    return tuple(made)


def figures(found: Found) -> tuple[Lines, ...]:
    """Return the plot of growth."""
    if not found.growth:
        return ()
    ends = {
        name: f"{name}: {curve[min(curve)]:.3g} s at {min(curve):,}, {curve[max(curve)]:.3g} s at {max(curve):,} cards"
        for name, curve in found.growth.items()
    }
    return (
        Lines(
            id=GROWTH,
            title="How a build of the site grows with the number of cards",
            caption="On both axes a step is a factor: a line at 45 degrees is linear growth.",
            alt=f"Seconds of the processor against the number of cards, a line each. {'; '.join(ends.values())}.",
            x="cards",
            y="CPU (s)",
            log=("x", "y"),
            series=tuple(
                Series(name=name, x=tuple(curve), runs=(tuple(curve.values()),)) for name, curve in found.growth.items()
            ),
        ),
    )


def merged(old: Result, tables: Iterable[Table], figures: Iterable[Figure], *, is_part: bool = False) -> Result:
    """Return a result with the site's tables and figures in place of those it held.

    Args:
        old: The result.
        tables: The tables.
        figures: The figures.
        is_part: Whether only a part was measured: then rows and figures stay of which there are no new ones.
    """
    own_tables, own_figures = of_site(old)
    kept = [table for table in old.tables if table not in own_tables]
    drawn = [figure for figure in old.figures if figure not in own_figures]
    new, drawn_now = {table.title: table for table in tables}, list(figures)
    if is_part:
        for table in own_tables:
            fresh = new.get(table.title, table.model_copy(update={"rows": ()}))
            rows = {row[:2]: row for row in (*table.rows, *fresh.rows)}
            new[table.title] = (fresh if fresh.rows else table).model_copy(update={"rows": tuple(rows.values())})
        drawn_now = drawn_now or list(own_figures)
    return old.model_copy(update={"tables": (*kept, *new.values()), "figures": (*drawn, *drawn_now)})


def of_site(found: Result) -> tuple[tuple[Table, ...], tuple[Figure, ...]]:
    """Return the tables and figures of a result that are of the site."""
    return (
        tuple(table for table in found.tables if table.title in (TITLE, LIGHTHOUSE)),
        tuple(figure for figure in found.figures if figure.id == GROWTH),
    )


def main(given: list[str]) -> int:
    """Run what the command line says, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.site", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--part", action="append", choices=PARTS, help="measure this part only; may be repeated")
    parser.add_argument("--minutes", type=float, default=15, help="about how long all of it may take")
    parser.add_argument("--output", type=Path, metavar="FILE", help="a result that the tables are put into")
    options = parser.parse_args(given)
    end = time.monotonic() + 60 * options.minutes
    found = Found()
    with tempfile.TemporaryDirectory(prefix="quaere-bench-") as folder:
        for name, part in PARTS.items():
            if not options.part or name in options.part:
                try:
                    part(found, Path(folder), lambda seconds: time.monotonic() + seconds < end)
                except (RuntimeError, subprocess.SubprocessError, TimeoutError) as error:
                    # What the others found is kept.
                    found.missing.append(name)
                    print(f"error: {name}: {error}", flush=True)
    at = datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes").replace("+00:00", " UTC")
    about = f"Measured {at} on {hardware.describe('cpu')}, commit {verify.commit(ROOT)}."
    if file := options.output or (None if options.part else RESULTS):
        old = results.read(RESULTS.read_text(encoding="utf-8"))
        atomic.write(file, merged(old, tables(found, about), figures(found), is_part=bool(options.part)).json_text())
        print(f"written to {file}")
    return 1 if set(found.missing) & PARTS.keys() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
