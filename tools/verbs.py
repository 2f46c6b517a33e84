"""Write a page for each command of `quaere`, from what its --help says: docs/guide/verbs/. Run by `make schema`."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer.main
from markdown.extensions.toc import slugify

from quaere import cli

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/guide/verbs"
_GUIDE = ROOT / "docs/guide/command-line.md"
_MADE = "<!-- Written by tools/verbs.py from what `--help` says: change the command, and run `make schema`. -->"


def pages() -> dict[str, str]:
    """Return the text of each page by the name of its file."""
    sections = {
        heading.split()[1]: slugify(heading, "-")
        for heading in re.findall(r"^## `(quaere .*?)`$", _GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    }
    commands = typer.main.get_group(cli.app).commands
    made = {f"{verb}.md": _page(verb, commands[verb], sections.get(verb, "")) for verb in commands}
    rows = ((f"[`quaere {verb}`]({verb}.md)", _lines(commands[verb].help)[0]) for verb in sorted(commands))
    table = _table("command", "does", rows)
    return {
        "index.md": f"# Commands\n\n{_MADE}\n\n{table}\n[The command line](../command-line.md) tells of exit codes, "
        "formats and settings.\n",
        **made,
    }


def _page(verb: str, command: Any, section: str) -> str:
    with command.make_context(f"quaere {verb}", [], resilient_parsing=True) as context:
        usage = " ".join([f"quaere {verb}", *command.collect_usage_pieces(context)])
        records: dict[str, list[tuple[str, str]]] = {"argument": [], "option": []}
        for one in command.get_params(context):
            if record := one.get_help_record(context):
                records[one.param_type_name].append((f"`{record[0]}`", record[1]))
    tables = "".join(f"{_table(kind, 'means', rows)}\n" for kind, rows in records.items() if rows)
    said = "\n\n".join(_lines(command.help))
    more = f"[The command line](../command-line.md#{section}) tells more." if section else ""
    links = f"[All commands](index.md) · {more}".removesuffix(" · ")
    return f"# `quaere {verb}`\n\n{_MADE}\n\n{said}\n\n```\n{usage}\n```\n\n{tables}{links}\n"


def _lines(help: str | None) -> list[str]:
    return [" ".join(part.split()) for part in (help or "").strip().split("\n\n")]


def _table(name: str, means: str, rows: Iterable[tuple[str, str]]) -> str:
    return "".join(f"| {one} | {other} |\n" for one, other in [(name, means), ("---", "---"), *rows])


if __name__ == "__main__":
    written = pages()
    FOLDER.mkdir(exist_ok=True)
    for file in FOLDER.glob("*.md"):
        if file.name not in written:
            file.unlink()
    for name, text in written.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
