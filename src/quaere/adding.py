"""The verb `add`: entries of the bibliography, and cards for them, from what one has or names."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from quaere.author import (
    AsJson,
    Base,
    DryRun,
    _done,
    _find,
    _library,
    _print_json,
    _progress_of,
    _services,
    apply,
    text_of,
)

# What the verb needs is imported inside it, so that `quaere --help` answers at once.
if TYPE_CHECKING:
    from quaere.authoring.additions import Addition, Choice, Plan, Twin
    from quaere.authoring.sources.found import Reading
    from quaere.authoring.sources.named import Named
    from quaere.content.model import Library
    from quaere.project import Project

_LONG = 1_000_000
"""Characters of a text from which on its reading is shown."""


def add(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            help="arXiv identifiers, DOIs, addresses of papers, files (BibTeX, CSL-JSON, RIS, PDF), keys of entries "
            "that get a card; `-` or nothing: what stands on standard input."
        ),
    ] = None,
    card: Annotated[
        bool | None, typer.Option("--card/--no-card", help="Make a card for each; default: if it is one.")
    ] = None,
    zotero: Annotated[
        str | None,
        typer.Option(metavar="COLLECTION", help="Add a collection of Zotero, which runs; `all`: everything."),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Ask what has become of the papers of the library, or of the named keys: new "
            "versions, retractions. Nothing is added.",
        ),
    ] = False,
    mark: Annotated[
        bool, typer.Option("--mark", help="With --check: write on cards which papers were retracted or withdrawn.")
    ] = False,
    merge: Annotated[
        bool,
        typer.Option("--merge", help="Add what they say to entries of the same paper, where it is but one."),
    ] = False,
    into: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY", help="Add what one says to this entry, of several that may be its paper; may be repeated."
        ),
    ] = None,
    skip: Annotated[bool, typer.Option("--skip", help="Leave out papers that are there already.")] = False,
    keep_both: Annotated[bool, typer.Option("--keep-both", help="Add them in any case.")] = False,
    form: Annotated[
        str | None, typer.Option("--format", help="The format of the files, which a plugin brings.", show_default=False)
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    project: Base = Path(),
) -> None:
    """Add papers to the bibliography, and cards for them.

    Identifiers and addresses are looked up on arXiv, Crossref and DataCite.
    """
    from quaere.authoring import additions, changes
    from quaere.authoring.additions import Choice
    from quaere.errors import nearest

    chosen = [one for one, is_said in zip(Choice, (merge, skip, keep_both), strict=True) if is_said]
    if len(chosen) > 1:
        _misuse("--merge, --skip and --keep-both exclude each other", "give one of them")
    base = _find(project)
    library = _library(base, may_be_new=True)
    if mark and not check:
        _misuse("--mark goes with --check", "say both")
    if check:
        _check(base, library, what or [], mark=mark, dry_run=dry_run, as_json=as_json)
        return
    if what and all(one in library.bibliography and not Path(one).exists() for one in what):
        keys = what
        _done(base, lambda library: additions.cards(library, keys, text_of(base)), dry_run, as_json)
        return
    reading = _read_as(form, what or ["-"]) if form else _read(what or ([] if zotero else ["-"]), zotero)
    is_asking = sys.stdin.isatty() and sys.stdout.isatty() and not as_json
    if card is None:
        card = len(reading.found) == 1
        if len(reading.found) > 1 and is_asking and not dry_run:
            card = typer.confirm(f"Make a card for each of {len(reading.found)} entries?", default=False)
    choices: dict[int, Choice | Twin] = {}
    if is_asking and not chosen:
        ask = _asking()

        def asked(addition: Addition) -> Choice | Twin:
            choices[id(addition.found)] = choice = _named_twin(addition, into or ()) or ask(addition)
            return choice

        # Others are not kept waiting while somebody thinks.
        additions.plan(reading, library, text_of(base), choose=asked, cards=False)

    def choose(addition: Addition) -> Choice | Twin | None:
        named = _named_twin(addition, into or ())
        return named or (chosen[0] if chosen else choices.get(id(addition.found)))

    with contextlib.nullcontext() if dry_run else changes.alone(base.root):
        made = additions.plan(reading, _library(base, may_be_new=True), text_of(base), choose=choose, cards=card)
        known = {twin.key for one in made.additions for twin in one.twins}
        for key in into or ():
            if key not in known:
                _misuse(f"no entry that is added is of the same paper as `{key}`", nearest(key, known))
        apply(base, made.changes, dry_run)
    if as_json:
        _print_json(_told(made, reading))
    else:
        _show(made, reading, dry_run=dry_run)
    if made.unread or made.of(additions.Status.UNDECIDED):
        raise typer.Exit(1)


# What is added


def _read(what: list[str], collection: str | None) -> Reading:
    from quaere.authoring.sources import texts, zotero
    from quaere.authoring.sources.found import Reading

    parts: list[Reading | tuple[str, Named]] = []
    if collection:
        parts.append(_read_text(zotero.read(collection), f"Zotero: {collection}"))
    for one in what:
        if one == "-":
            if sys.stdin.isatty():
                _misuse("nothing to add", "name a paper or a file, or pipe an entry: `pbpaste | quaere add -`")
            parts += _read_data(sys.stdin.buffer.read(), "standard input")
        elif Path(one).is_file():
            parts += _read_data(Path(one).read_bytes(), one)
        elif Path(one).is_dir():
            _misuse(f"{one} is a folder", "name files; notes in Markdown are taken in by `quaere import`")
        elif texts.format_of(one) != texts.WORDS:
            parts.append(_read_text(one, "argument"))
        else:
            parts.append((one, _named(one)))
    reading = Reading()
    known = _look_up([part[1] for part in parts if isinstance(part, tuple)])
    for part in parts:
        reading.add(known[part[1]] if isinstance(part, tuple) else part)
    return reading


def _read_as(form: str, what: list[str]) -> Reading:
    """Return what was read of files in a format that a plugin brings."""
    from quaere.authoring.importers import Format
    from quaere.authoring.sources import texts
    from quaere.authoring.sources.found import Reading

    reading, importer = Reading(), Format(form)
    for one in what:
        if one != "-" and not Path(one).is_file():
            _misuse(f"there is no file `{one}`", "give a file, or `-` for standard input")
        data = sys.stdin.buffer.read() if one == "-" else Path(one).read_bytes()
        for file, text in importer.texts(data, "standard input" if one == "-" else one).items():
            reading.add(texts.read(text, file))
    return reading


def _named(written: str) -> Named:
    from quaere.authoring.sources import named

    if not (found := named.named(written)):
        if named.is_address(written):
            _misuse(f"neither a DOI nor an arXiv identifier can be seen in {written}", named.hint(written))
        if re.search(r"[.](?:bib|json|ris|pdf|txt)$|^[./~]", written):
            _misuse(f"there is no file `{written}`", "look at the folder and the name")
        problem = f"`{written}` is no file, no key of an entry, no arXiv identifier, no DOI and no address"
        _misuse(problem, "give one of these, or `-` for standard input")
    return found


def _look_up(wanted: list[Named]) -> dict[Named, Reading]:
    """Return what arXiv, Crossref and DataCite know of some papers."""
    from quaere.authoring.sources.found import Found, Reading, Unread, of_made
    from quaere.errors import Place

    services = _services()
    wanted = list(dict.fromkeys(wanted))
    readings: dict[Named, Reading] = {}
    unknown = "neither Crossref nor DataCite knows it; if it is another's, paste the entry as BibTeX"
    for is_arxiv, ask, problem in (
        (True, services.on_arxiv, "arXiv does not know it"),
        (False, services.by_doi, unknown),
    ):
        names = {one.id: one for one in wanted if one.is_arxiv == is_arxiv}
        for id, record in ask(list(names)) if names else ():
            place = Place(f"{'arXiv' if is_arxiv else 'doi'}:{id}", 0)
            reading = readings[names[id]] = Reading()
            if record is None:
                reading.unread.append(Unread(place, problem, ""))
                continue
            for found in of_made([record.made]):
                if isinstance(found, Found):
                    reading.found.append(found)
                else:
                    reading.unread.append(found)
            for kind, note in record.updates:
                reading.remarks.append(f"{place} has a {kind}: {note}".rstrip(": "))
    return readings


def _read_data(data: bytes, file: str) -> Iterator[Reading | tuple[str, Named]]:
    """Yield what was read of a file, and the papers that it names: a PDF is one, a list may name many."""
    from quaere.authoring.sources import named, pdf, texts
    from quaere.authoring.sources.found import Reading, Unread
    from quaere.errors import Place

    if data.lstrip()[:5] == b"%PDF-":
        yield file, pdf.read(data, file)
        return
    text, remarks = texts.decoded(data, file)
    yield Reading(remarks=remarks)
    lines = {number: line.strip() for number, line in enumerate(text.splitlines(), 1) if line.strip()}
    if texts.format_of(text) != texts.WORDS or not any(map(named.named, lines.values())):
        yield _read_text(text, file)
        return
    for number, line in lines.items():
        if found := named.named(line):
            yield line, found
        elif not line.startswith(("#", "%")):
            why = f": {named.hint(line)}" if named.is_address(line) else ""
            yield Reading(unread=[Unread(Place(file, number), f"`{line}` names no paper{why}", line)])


def _read_text(text: str, file: str) -> Reading:
    from quaere.authoring.sources import texts

    with _progress(text) as tell:
        return texts.read(text, file, tell)


@contextlib.contextmanager
def _progress(text: str) -> Iterator[Callable[[int], None]]:
    """Show how many entries of a long text have been read, on a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from quaere.terminal import Terminal

    console = Terminal(stderr=True)
    if len(text) < _LONG or not console.is_terminal:
        yield lambda _: None
        return
    total = max(text.count("\n@"), text.count("\nTY  -"), text.count('"type"'))
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("entries", total=total)
        yield lambda count: progress.advance(task, count)


def _check(base: Project, library: Library, keys: list[str], *, mark: bool, dry_run: bool, as_json: bool) -> None:
    """Ask what has become of papers, and show it."""
    from rich.table import Table
    from rich.text import Text

    from quaere.authoring import changes, notices
    from quaere.authoring.changes import Changes
    from quaere.errors import nearest
    from quaere.terminal import Terminal

    for key in keys:
        if key not in library.bibliography:
            _misuse(f"there is no entry `{key}`", nearest(key, library.bibliography))
    with _progress_of("papers") as tell:
        found = notices.ask(library, text_of(base)(base.settings.bibliography) or "", _services(), keys, tell)
    made = Changes("")
    if mark:
        with contextlib.nullcontext() if dry_run else changes.alone(base.root):
            made = notices.mark(_library(base, may_be_new=True), found.notices, text_of(base))
            apply(base, made, dry_run)
    if as_json:
        told = [
            {"key": one.key, "title": one.title, "kind": one.kind, "note": one.note, "card": one.slug or None}
            for one in found.notices
        ]
        said = {"said": made.said, "files": sorted(made.files), "diff": made.diff}
        _print_json({"notices": told, "asked": found.asked, "entries": found.count, **(said if mark else {})})
        return
    console = Terminal()
    table = Table(box=None, pad_edge=False)
    for column in ("entry", "", "", "card"):
        table.add_column(column, overflow="fold")
    for one in found.notices:
        table.add_row(Text(one.key), Text(one.kind), Text(one.note), Text(one.slug))
    if found.notices:
        console.print(table)
    have = "has" if found.asked == 1 else "have"
    console.print(
        f"{found.asked} of {found.count} entries {have} an arXiv identifier or a DOI; {len(found.notices)} notices"
    )
    if mark:
        console.print(made.diff if dry_run else made.said, markup=False, soft_wrap=True, end="" if dry_run else "\n")


# What is said and asked


def _named_twin(addition: Addition, keys: Collection[str]) -> Twin | None:
    """Return the one of an entry's twins whose key is given; None if it is none of them, or several."""
    named = [twin for twin in addition.twins if twin.key in keys]
    return named[0] if len(named) == 1 else None


def _asking() -> Callable[[Addition], Choice | Twin]:
    """Return what asks about each entry whose paper is there already, until one answer is given for all."""
    from quaere.authoring.additions import Choice
    from quaere.terminal import Terminal

    letters = {"m": Choice.MERGE, "s": Choice.SKIP, "k": Choice.KEEP_BOTH}
    for_all: list[Choice] = []

    def ask(addition: Addition) -> Choice | Twin:
        twins = addition.twins
        is_single = len(twins) == 1
        # Which of several to merge it with can't be said for all.
        if for_all and (is_single or for_all[0] != Choice.MERGE):
            return for_all[0]
        console = Terminal(stderr=True)
        about = f" ({credits})" if (credits := _credits(addition)) else ""
        console.print(f"\n{addition.found.place}: {addition.found.reference.title}{about}", markup=False)
        for number, twin in enumerate(twins, 1):
            lead = "there already as" if is_single else f"{number}."
            console.print(f"  {lead} {twin.key}: {twin.title} ({twin.why})", markup=False)
        offered = "[m]erge, [s]kip, [k]eep both; capitals: all"
        if not is_single:
            offered = f"merge with one of them (1-{len(twins)}), [s]kip, [k]eep as a new entry; capitals: all"
        while True:
            said = typer.prompt(offered, default="s", err=True).strip()
            if not is_single and said.isdecimal() and 1 <= int(said) <= len(twins):
                return twins[int(said) - 1]
            choice = letters.get(said[:1].lower())
            if choice and (is_single or choice != Choice.MERGE):
                if said[:1].isupper():
                    for_all[:] = [choice]
                return choice

    return ask


def _credits(addition: Addition) -> str:
    reference = addition.found.reference
    return ". ".join(filter(None, (reference.short_credits, str(reference.issued), reference.venue)))


def _show(made: Plan, reading: Reading, *, dry_run: bool) -> None:
    from quaere.authoring.additions import Status
    from quaere.terminal import Terminal

    console, errors = Terminal(), Terminal(stderr=True)
    for remark in reading.remarks:
        errors.print(f"remark: {remark}", markup=False, soft_wrap=True)
    for one in made.unread:
        errors.print(f"{one.place}: {one.problem}", markup=False, soft_wrap=True)
    undecided = made.of(Status.UNDECIDED)
    for addition in undecided:
        twins = "; ".join(f"{twin.key} ({twin.why})" for twin in addition.twins)
        title = addition.found.reference.title
        errors.print(f"{addition.found.place}: there already: {twins}: {title}", markup=False, soft_wrap=True)
    if undecided:
        count = "this entry was" if len(undecided) == 1 else f"these {len(undecided)} entries were"
        into = "" if all(len(one.twins) == 1 for one in undecided) else "; of several, choose one by --into KEY"
        errors.print(f"{count} not added\n  hint: say --merge, --skip or --keep-both{into}", markup=False)
    if kept := [file for file in made.changes.files if file.endswith(".unread.txt")]:
        errors.print(f"what could not be understood is in {kept[0]}", markup=False, soft_wrap=True)
    if dry_run:
        console.print(made.changes.diff, markup=False, soft_wrap=True, end="")
        return
    console.print(made.changes.said, markup=False, soft_wrap=True)
    if len(made.of(Status.ADDED)) > 1 and not any(one.slug for one in made.additions):
        console.print("a card for one of them: `quaere add KEY`; for all of them: `--card`", markup=False)


def _told(made: Plan, reading: Reading) -> dict[str, Any]:
    from quaere.authoring.additions import Status

    return {
        "said": made.changes.said,
        "entries": [
            {
                "key": one.key if one.status is not Status.UNDECIDED or len(one.twins) == 1 else None,
                "status": one.status.value,
                "title": one.found.reference.title,
                "card": one.slug or None,
                "file": one.found.place.file,
                "line": one.found.place.line,
                "same": [{"key": twin.key, "title": twin.title, "why": twin.why} for twin in one.twins],
            }
            for one in made.additions
        ],
        "unread": [{"file": one.place.file, "line": one.place.line, "problem": one.problem} for one in made.unread],
        "remarks": reading.remarks,
        "files": sorted(made.changes.files),
        "diff": made.changes.diff,
    }


def _misuse(problem: str, hint: str) -> NoReturn:
    from quaere.errors import MisuseError, Place

    raise MisuseError(Place("", 0), problem, hint)
