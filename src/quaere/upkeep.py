"""The verbs that keep a library in order: what is wrong with it, and what there is to do."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from quaere.author import AsJson, Base
from quaere.content.states import Kind

_FEW = 5


def show_agenda(
    kind: Annotated[list[Kind] | None, typer.Option(help="Only this kind; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="How many of each kind to show.")] = _FEW,
    everything: Annotated[bool, typer.Option("--all", help="Show all of them.")] = False,
    as_json: AsJson = False,
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
