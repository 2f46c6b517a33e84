"""The verbs that keep a library in order: what is wrong with it, and what there is to do."""

from __future__ import annotations

import contextlib
import datetime
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quaere import stamp
from quaere.author import AsJson, Base, text_of
from quaere.content.states import Kind
from quaere.errors import Severity

# What a verb needs is imported inside it, so that `quaere --help` answers at once.
if TYPE_CHECKING:
    from quaere.authoring.mending import Mending
    from quaere.content.model import Library
    from quaere.errors import AuthorError
    from quaere.project import Project

_FEW = 5


class Format(StrEnum):
    """How findings are written."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    SARIF = "sarif"


class FailOn(StrEnum):
    """The least severity that makes a check fail."""

    ERROR = "error"
    WARNING = "warning"
    REMARK = "remark"
    NEVER = "never"


def check(
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended without a doubt.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --fix: print a diff, and change nothing.")] = False,
    form: Annotated[Format, typer.Option("--format", help="How to write the findings.")] = Format.TEXT,
    fail_on: Annotated[FailOn, typer.Option(help="The least severity that makes the check fail.")] = FailOn.ERROR,
    project: Base = Path(),
) -> None:
    """Check cards, bibliography and answers, and report all faults. Nothing is run."""
    if dry_run and not fix:
        raise typer.BadParameter("it shows what --fix would change: add --fix", param_hint="--dry-run")
    is_plain = form is Format.TEXT and not fix
    if is_plain and (line := stamp.checked(project)):
        print(line)
        return
    from quaere.authoring import changes
    from quaere.content import plugins
    from quaere.project import Project

    base = Project.find(project)
    kept = base.root / stamp.CACHE
    inputs = stamp.look(base.root, base.names, kept / stamp.CHECKED) if is_plain and kept.is_dir() else None
    diff, said = "", ""
    with changes.alone(base.root) if fix and not dry_run else contextlib.nullcontext():
        library, found, mending = _findings(base)
        if fix:
            diff, said = mending.changes.diff, mending.changes.said
            if not dry_run and mending.changes.files:
                changes.apply(base.root, mending.changes)
                library, found, mending = _findings(base)
    counts = Counter(one.severity for one in found)
    if form is Format.TEXT:
        _show(library, found, mending, said, diff if dry_run else "")
    else:
        _print(form, base, found, mending, {"counts": counts, "said": said, "diff": diff})
    # What plugins check may follow from anything.
    if inputs and not found and not mending.mended and not plugins.names("quaere.checks"):
        stamp.keep_check(base.root, inputs, _sound(library))
    # With a dry run, what would be mended does not count.
    left = [one for one in found if not (dry_run and any(one is other for other in mending.mended))]
    order = list(Severity)
    if fail_on is not FailOn.NEVER and any(order.index(one.severity) <= order.index(Severity(fail_on)) for one in left):
        raise typer.Exit(1)


def _findings(base: Project) -> tuple[Library, list[AuthorError], Mending]:
    """Return the library, all that is found in it, in the order of places, and what of it can be mended."""
    from quaere.authoring.mending import mend
    from quaere.content.check import remarks

    library, faults = base.examine(keep=(base.root / stamp.CACHE).is_dir())
    found = [*faults, *remarks(library)]
    texts = text_of(base)

    def readable(path: str) -> str | None:
        # What can't be read is told already.
        with contextlib.suppress(OSError, ValueError):
            return texts(path)
        return None

    mending = mend(library, found, readable)
    # A remark of the check on what is mended says it already.
    told = {(one.place.file, one.place.line, one.rule) for one in found}
    found += [one for one in mending.found if (one.place.file, one.place.line, one.rule) not in told]
    return library, sorted(found, key=lambda one: (one.place, one.problem)), mending


def _show(library: Library, found: Sequence[AuthorError], mending: Mending, said: str, diff: str) -> None:
    from quaere.terminal import Terminal

    out, err = Terminal(), Terminal(stderr=True)
    order = list(Severity)
    for one in sorted(found, key=lambda one: order.index(one.severity)):
        err.print(str(one), markup=False, soft_wrap=True)
    if diff:
        out.print(diff, markup=False, soft_wrap=True, end="")
    if said:
        out.print(said.replace("mended", "would mend") if diff else said)
    counts = Counter(one.severity for one in found)
    faults = counts[Severity.ERROR]
    mendable = f"; `quaere check --fix` mends {len(mending.mended)}" if mending.mended and not diff else ""
    if faults:
        out.print(f"{faults} fault{'s' * (faults != 1)}{mendable}")
    else:
        out.print(f"{_sound(library)}{mendable}", markup=False, highlight=False, soft_wrap=True)


def _sound(library: Library) -> str:
    """Say that a library has no faults."""
    from quaere.terminal import size

    return f"{size(library)}, {len(library.questions)} questions, {len(library.answers)} answers: no faults"


def _print(
    form: Format, base: Project, found: Sequence[AuthorError], mending: Mending, more: Mapping[str, object]
) -> None:
    from quaere import findings

    match form:
        case Format.JSON:
            print(findings.as_json(found, mending.mended, **more))
        case Format.GITHUB:
            print(findings.as_github(found, base.root), end="")
        case _:
            print(findings.as_sarif(found, base.root))


def show_agenda(
    kind: Annotated[list[Kind] | None, typer.Option(help="Only this kind; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="How many of each kind to show.")] = _FEW,
    everything: Annotated[bool, typer.Option("--all", help="Show all of them.")] = False,
    as_json: AsJson = False,
    private: Annotated[bool, typer.Option("--private", help="Also list what is private.")] = False,
    project: Base = Path(),
) -> None:
    """List what there is to do now.

    Answers that fail or have not run, open questions, papers to read, cards without an idea, entries without a card.
    """
    from quaere import terminal
    from quaere.content.agenda import tasks
    from quaere.errors import Faults, visible
    from quaere.project import Project

    base = Project.find(project)
    library, faults = base.read()
    found = [
        task for task in tasks(library, base.verdicts(library), datetime.date.today()) if task.kind in (kind or Kind)
    ]
    counts = Counter(task.kind for task in found)
    shown, seen = [], Counter[Kind]()
    for task in found:
        seen[task.kind] += 1
        if everything or seen[task.kind] <= limit:
            shown.append(task)
    if as_json:
        rows = [
            {
                "kind": task.kind,
                "name": task.name,
                "says": task.says,
                "file": task.place.file,
                "line": task.place.line,
                "days": task.days,
                "rests": task.rests,
                "command": task.command or None,
            }
            for task in shown
        ]
        print(visible(json.dumps({"counts": counts, "tasks": rows}, indent=2), json.dumps))
    else:
        terminal.Terminal().print(terminal.tasks(shown, counts))
    if faults:
        terminal.Terminal(stderr=True).print(str(Faults(faults)), markup=False, soft_wrap=True)
        raise typer.Exit(1)
