"""The command `quaere`: verbs for people. Each wires parts of `project` together and shows what came out.

Exit codes: 0, all is well; 1, content is at fault; 2, the command was called wrongly; 130, Ctrl-C has stopped it.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import json
import os
import re
import shlex
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from quaere import adding, author, completion, upkeep
from quaere.author import Base
from quaere.content.states import State
from quaere.running.options import Device, Size

# What a verb needs is imported inside it, so that `quaere --help` answers at once.
if TYPE_CHECKING:
    from rich.console import Console

    from quaere.content.model import Answer, Library, Module
    from quaere.errors import AuthorError
    from quaere.project import Project


class _Verbs(TyperGroup):
    """The verbs: one that Ctrl-C stops, at a prompt too, ends as shells expect it of a program."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run a verb."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            pass
        except typer.Abort as error:
            if not isinstance(error.__context__, KeyboardInterrupt):
                raise
        _stopped()
        raise typer.Exit(130)


app = typer.Typer(
    cls=_Verbs,
    name="quaere",
    help="A knowledge base of annotated papers whose answers run.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Help by Rich takes twice as long to start.
    rich_markup_mode=None,
)


Timeout = Annotated[
    float | None, typer.Option(min=0.1, max=86400, help="Seconds that an answer may take; default: 60.")
]

Private = Annotated[bool, typer.Option("--private", help="Also show what cards call private.")]


app.command()(upkeep.check)


@app.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Papers or questions (`paper.question`); default: all stale answers.", autocompletion=completion.names
        ),
    ] = None,
    timeout: Timeout = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Answers to run in parallel; default: one per CPU, 4 at most, if there are many."),
    ] = None,
    private: Private = False,
    project: Base = Path(),
) -> None:
    """Run the answers whose code or versions changed since.

    A named one runs in any case, and is shown as it ran.
    """
    base = _find(project, private)
    library, faults = base.read()
    chosen = _answers(library, names) if names else base.stale(library)
    broken = _run(base, library, chosen, timeout, jobs, show=bool(names))
    _show_faults(faults)
    raise typer.Exit(1 if broken or faults else 0)


@app.command()
def build(
    site: Annotated[Path | None, typer.Option(help="The output folder; default: `site` in the knowledge base.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Also write a copy that opens without a server.")] = False,
    timeout: Timeout = None,
    private: Private = False,
    project: Base = Path(),
) -> None:
    """Check, verify, and build the site."""
    from quaere import stamp

    started = time.monotonic()
    # What is kept of the last build doesn't say whether it showed what is private.
    if said := None if private else stamp.unchanged(project, site):
        for remark in said["remarks"]:
            _tell_remark(remark)
        _show_built(said, started, offline=offline)
        return
    _require_site()
    from quaere.content.check import remarks
    from quaere.site.build import build as build_site

    base = _find(project, private)
    folder = Path(os.path.realpath(site)) if site else base.root / "site"
    inputs = base.look(folder)
    library = _sound(base)
    stale = base.stale(library)
    broken = _run(base, library, stale, timeout)
    said = _said(base, library, folder) | {"remarks": [_told(one) for one in remarks(library)]}
    # The verdicts of this run are newer than what was looked at.
    is_settled = not stale and not private
    faults, is_built = build_site(
        base, library, folder, tell=_tell_remark, inputs=inputs, said=said if is_settled else None
    )
    _show_faults(faults)
    if not is_built:
        raise typer.Exit(1)
    _show_built(said, started, offline=offline)
    raise typer.Exit(1 if broken else 0)


def _said(base: Project, library: Library, folder: Path) -> dict[str, Any]:
    """Return what there is to say of a site that was built."""
    from collections import Counter

    from quaere import terminal

    verdicts = base.verdicts(library)
    states = Counter(one.state(verdicts).value for one in library.questions.values())
    return {
        "states": states,
        "counts": f"{terminal.size(library)}, {len(library.questions)} questions",
        "index": str(folder / "index.html"),
    }


def _show_built(said: Mapping[str, Any], started: float, *, offline: bool) -> None:
    from quaere import terminal

    _out(terminal.states(said["states"]))
    _out(f"{said['counts']}, {time.monotonic() - started:.1f} s")
    index = Path(said["index"])
    if offline:
        from quaere.site.offline import copy

        index = copy(index.parent) / index.name
    _out(f"open {os.path.relpath(index) if index.is_relative_to(Path.cwd()) else index}, or run `quaere serve`")


@app.command()
def serve(
    port: Annotated[int | None, typer.Option(help="The port; default: a free one.", min=1, max=65535)] = None,
    timeout: Timeout = None,
    private: Private = False,
    project: Base = Path(),
) -> None:
    """Verify, and serve the site with live reload."""
    _require_site()
    from quaere.site.serve import serve as serve_site

    if port and not _is_free(port):
        _misuse(f"somebody listens on port {port} already", "name another with --port, or leave it out")
    base = _find(project, private)
    inputs = base.look(base.root / "site")
    library, faults = base.check(keep=True)
    if not faults:
        _remark(library)
        _run(base, library, base.stale(library), timeout)

    def tell(said: str) -> None:
        _err().print(said, markup=False, soft_wrap=True)

    serve_site(base, library, inputs, port or _free_port(), tell, faults)


@app.command()
def questions(
    state: Annotated[State | None, typer.Option(help="Only questions in this state.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only questions of papers with this tag.")] = None,
    paper: Annotated[
        str | None, typer.Option(help="Only questions of this paper.", autocompletion=completion.papers)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    private: Private = False,
    project: Base = Path(),
) -> None:
    """List the questions with their states."""
    from quaere import terminal
    from quaere.errors import visible

    base = _find(project, private)
    library, faults = base.read()
    tags = {tag for one in library.papers.values() for tag in one.card.tags}
    paper = paper and _today(library, paper)
    if paper is not None and paper not in library.papers:
        _unknown("paper", paper, library.papers)
    if tag is not None and tag not in tags:
        _unknown("tag", tag, tags)
    verdicts = base.verdicts(library)
    asked = {
        one.id: one
        for one in library.questions.values()
        if (state is None or one.state(verdicts) is state)
        and paper in (None, one.paper.slug)
        and (tag is None or tag in one.paper.card.tags)
    }
    if as_json:
        rows = [row for row in base.rows(library) if f"{row['paper']}.{row['id']}" in asked]
        # What a terminal would obey or can't show, JSON can write by numbers.
        is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        print(visible(json.dumps(rows, indent=2, ensure_ascii=not is_utf8), json.dumps))
    else:
        _out(terminal.questions(asked.values(), verdicts))
        _out(f"{len(asked)} question{'s' * (len(asked) != 1)}")
    _show_faults(faults)
    raise typer.Exit(1 if faults else 0)


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(help="A paper, or a question as `paper.question`.", autocompletion=completion.names)
    ],
    private: Private = False,
    project: Base = Path(),
) -> None:
    """Show a card, or a question with its answer and the code."""
    from quaere import terminal

    base = _find(project, private)
    library, faults = base.read()
    name = _today(library, name)
    if asked := library.questions.get(name):
        _out(terminal.question(asked, base.verdicts(library)))
    elif paper := library.papers.get(name):
        _out(terminal.paper(library, paper, base.verdicts(library)))
    else:
        _unknown("paper or question", name, [*library.papers, *library.questions])
    _show_faults(faults)
    raise typer.Exit(1 if faults else 0)


@app.command()
def run(
    slug: Annotated[
        str | None, typer.Argument(help="The paper whose experiment to run.", autocompletion=completion.papers)
    ] = None,
    size: Annotated[
        Size,
        typer.Option(help="smoke: seconds; small: minutes on a CPU; gpu: minutes on a GPU; full: the paper's."),
    ] = Size.SMOKE,
    seed: Annotated[int, typer.Option(help="The first seed.", min=0)] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the last run of this size and seed.")] = False,
    device: Annotated[Device, typer.Option(help="The device to run on.")] = Device.AUTO,
    listed: Annotated[bool, typer.Option("--list", help="List the experiments.")] = False,
    private: Private = False,
    project: Base = Path(),
) -> None:
    """Run a paper's experiment, and show the outcome of each claim."""
    from quaere import terminal

    base = _find(project, private)
    library, faults = base.read()
    if listed or slug is None:
        _out(terminal.experiments(library))
        _show_faults(faults)
        raise typer.Exit(0 if listed else 2)
    slug = _today(library, slug)
    module = _experiment(library, faults, slug)
    options = [f"--size {size}"]
    options += [f"--seed {seed}"] * (seed != 0) + [f"--device {device}"] * (device is not Device.AUTO)
    options += ["--private"] * private
    options += [f"--project {shlex.quote(str(project))}"] * (project != Path())
    with _stopping(f"quaere run {slug} {' '.join(options)}"):
        result, one = base.run(module, slug, size, seed, device, resume)
    if one.is_first:
        _out(terminal.result(result))
        for file in base.write_figures(result, one.folder):
            _err().print(f"figure: {file}", markup=False, soft_wrap=True)


def _experiment(library: Library, faults: Iterable[AuthorError], slug: str) -> Module:
    """Return a paper's experiment; end if there is none, or if its card can't be read."""
    if slug in library.unsound:
        _show_faults(faults)
        raise typer.Exit(1)
    if slug not in library.experiments:
        _unknown("experiment", slug, library.experiments)
    return library.experiments[slug]


@contextlib.contextmanager
def _stopping(command: str) -> Iterator[None]:
    """Say how a run that ended early can go on, or what it lacks."""
    from quaere.running.experiments import BusyError, DeviceError, ResumeError, SizeError

    try:
        yield
    except KeyboardInterrupt:
        # Of several processes the first says it, for all.
        if os.environ.get("RANK", "0") == "0":
            _err().print(f"stopped; resume with `{command} --resume`", markup=False, soft_wrap=True)
        raise typer.Exit(130) from None
    except BusyError as error:
        _misuse(str(error), "wait for it, or choose another --seed")
    except (DeviceError, SizeError) as error:
        _misuse(str(error))
    except ResumeError as error:
        _misuse(str(error), f"start anew: {command}")
    except ModuleNotFoundError as error:
        if not error.name:
            _misuse(str(error))
        _misuse(f"the experiment needs `{error.name}`, which is not installed", "pip install -e '.[experiments]'")


@app.command()
def notebook(
    slug: Annotated[str, typer.Argument(help="The paper whose experiment to write.", autocompletion=completion.papers)],
    output: Annotated[Path | None, typer.Option(help="The output file; default: SLUG.ipynb.", dir_okay=False)] = None,
    size: Annotated[Size, typer.Option(help="The size that the notebook runs.")] = Size.SMOKE,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    private: Private = False,
    project: Base = Path(),
) -> None:
    """Write an experiment as a Jupyter notebook.

    It runs from top to bottom.
    """
    base = _find(project, private)
    library, faults = base.read()
    slug = _today(library, slug)
    module = _experiment(library, faults, slug)
    file = output or Path(f"{slug}.ipynb")
    if file.exists() and not force:
        _misuse(f"{file} is there already", "name another with --output, or write over it with --force")
    base.write_notebook(module, size, file)
    _out(f"wrote {file}; open it with `jupyter lab {file}`")


@app.command()
def export(
    slugs: Annotated[
        list[str] | None, typer.Argument(help="Papers; default: all.", autocompletion=completion.papers)
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="bibtex, csl-json, ris or json, or the format of a plugin.")
    ] = "bibtex",
    private: Private = False,
    project: Base = Path(),
) -> None:
    """Print the references of papers for other programs."""
    from quaere.content.bibliography.export import formats

    known = formats()
    if form not in known:
        _unknown("format", form, known)
    library, faults = _find(project, private).read()
    slugs = [_today(library, slug) for slug in slugs or ()]
    for slug in slugs:
        if slug not in library.papers:
            _unknown("paper", slug, library.papers)
    papers = [paper for slug in slugs or library.papers if not (paper := library.papers[slug]).is_topic]
    references = {paper.reference.key: paper.reference for paper in papers}
    print(known[form](references.values()), end="")
    _show_faults(faults)
    raise typer.Exit(1 if faults else 0)


@app.command()
def mcp(
    verify: Annotated[
        bool, typer.Option("--verify", help="Also let the program run answers, which executes code of the library.")
    ] = False,
    private: Private = False,
    project: Base = Path(),
) -> None:
    """Answer language models about the library.

    Speaks the Model Context Protocol on standard input and output.
    """
    _require("mcp", "language models are answered")
    import quaere
    from quaere.mcp.server import serve as answer_programs

    base = quaere.Project.open(project, private=private)
    if sys.stdin.isatty():
        _err().print("waiting for a program to ask on standard input; an editor starts this command by itself")
    answer_programs(base, verify=verify)


for _verb in (author.ask, author.answer, author.quote, author.topic, author.tag, author.read):
    app.command()(_verb)
app.command()(author.rename)
app.command()(author.merge)
app.command()(author.remove)
app.command()(adding.add)
app.command("import")(author.import_notes)
app.command()(author.migrate)
app.command("next")(upkeep.show_agenda)
app.command()(author.init)
app.command()(author.schema)


_MACHINE = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room on the disk",
    errno.EFBIG: "raise the limit of a file's size (ulimit -f), or make room on the disk",
    errno.EROFS: "the disk can only be read: copy the knowledge base to another",
    errno.EACCES: "let whoever runs this read and write there",
    errno.EPERM: "let whoever runs this read and write there",
    errno.EIO: "look after the disk",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close other programs",
    errno.ENOMEM: "close other programs",
}
"""What the machine may refuse, by the number of the error, and what to do. Anything else is a mistake of ours."""


def main() -> None:
    """Run the command; an author's mistake is shown, not traced, and so is what the machine refuses."""
    from quaere.errors import AuthorError, Faults, MisuseError

    # A library is thousands of objects that stay: to look through them for circles again and again takes a quarter of
    # the time of a build.
    gc.set_threshold(100_000, 50, 100)
    # At the end of the process Python looks once more: a quarter of the time of a short command.
    atexit.register(gc.freeze)
    if "_QUAERE_COMPLETE" in os.environ:
        # Rich breaks long help texts, and a shell takes each line for a proposal.
        os.environ["COLUMNS"] = "10000"
    try:
        try:
            app()
        finally:
            # What is still to be printed is refused here, or at the end of the process, where nobody can say so.
            sys.stdout.flush()
    except KeyboardInterrupt:
        _stopped()
        sys.exit(130)
    except BrokenPipeError:
        # Whoever reads it has had enough.
        _print_nothing_more()
        sys.exit(1)
    except AuthorError as error:
        _show_faults([error])
        sys.exit(2 if isinstance(error, MisuseError) else 1)
    except Faults as faults:
        _show_faults(faults.errors)
        sys.exit(1)
    except UnicodeEncodeError as error:
        _misused(f"{error.encoding} has no sign for {error.object[error.start]!a}", "set PYTHONIOENCODING=utf-8")
    except MemoryError:
        _misused("the memory is full", "look for a file that is far larger than the others, or close other programs")
    except RecursionError as error:
        _misused(f"something is nested too deep to be read, in {_innermost(error)}", "look for what was written last")
    except OSError as error:
        if error.errno not in _MACHINE:
            raise
        _print_nothing_more()
        _misused(f"{error.filename or 'the machine'}: {error.strerror}", _MACHINE[error.errno])


def _stopped() -> None:
    """Say that somebody has pressed Ctrl-C, below the line on which the terminal shows it."""
    console = _err()
    console.print("\nstopped" if console.is_terminal else "stopped")


def _print_nothing_more() -> None:
    """Let what could not be printed go, which would be tried again at the end of the process."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _misused(problem: str, hint: str) -> NoReturn:
    """End as `_misuse` does, outside of the command."""
    with contextlib.suppress(typer.Exit):
        _misuse(problem, hint)
    sys.exit(2)


def _innermost(error: BaseException) -> str:
    """Return where of quaere's own code an error arose, for whoever is asked about it."""
    import traceback

    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "quaere" in Path(frame.filename).parts]
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "quaere"


def _require_site() -> None:
    """End if what builds a site is not installed."""
    _require("site", "a site is built")


def _require(extra: str, done: str) -> None:
    """End if what an extra asks for is not installed; `done` says what is done with it."""
    wanted = [text for text in metadata.requires("quaere") or () if re.search(f"extra == ['\"]{extra}['\"]", text)]
    missing = []
    for text in wanted:
        name = re.match(r"[\w.-]+", text)
        try:
            metadata.version(name[0] if name else "")
        except metadata.PackageNotFoundError:
            missing.append(name[0] if name else text)
    if missing:
        _misuse(f"{done} with {', '.join(missing)}, not installed here", f"pip install 'quaere[{extra}]'")


def _find(folder: Path, private: bool) -> Project:
    from quaere.project import Project

    base = Project.find(folder, shows_private=private)
    if base.evidence.warning:
        _err().print(f"warning: {base.evidence.warning}", markup=False, soft_wrap=True)
    return base


def _sound(base: Project) -> Library:
    """Return the library if nothing is wrong with it; end otherwise."""
    library, faults = base.check(keep=True)
    if faults:
        _show_faults(faults)
        raise typer.Exit(1)
    _remark(library)
    return library


def _remark(library: Library) -> None:
    """Say what is no fault, and worth knowing."""
    from quaere.content.check import remarks

    for one in remarks(library):
        _tell_remark(_told(one))


def _told(remark: AuthorError) -> str:
    return str(remark).removeprefix("remark: ")


def _tell_remark(remark: str) -> None:
    _err().print(f"remark: {remark}", markup=False, soft_wrap=True)


def _today(library: Library, name: str) -> str:
    """Return what a card or a question is called today; tell if that is another name."""
    if (today := library.today(name)) != name:
        _err().print(f"`{name}` is called `{today}` now", markup=False, soft_wrap=True)
    return today


def _answers(library: Library, names: Sequence[str]) -> list[Answer]:
    """Return the answers that the names stand for; end for an unknown name, or for one without code."""
    chosen: dict[str, Answer] = {}
    for name in map(partial(_today, library), names):
        asked = [one for one in library.questions.values() if name in (one.id, one.paper.slug)]
        if not asked:
            if name in library.papers:
                _misuse(f"the card `{name}` asks no question")
            _unknown("paper or question", name, [*library.papers, *library.questions])
        answers = {answer.id: answer for one in asked for answer in one.running}
        if not answers:
            _misuse(f"`{name}` has no answer in code")
        chosen |= answers
    return list(chosen.values())


def _run(
    base: Project,
    library: Library,
    answers: Sequence[Answer],
    timeout: float | None,
    jobs: int | None = None,
    *,
    show: bool = False,
) -> int:
    """Run answers under a progress bar; return how many are broken."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from quaere import terminal

    started, broken = time.monotonic(), 0
    # Those that reach the same modules follow each other, so that these are imported once.
    answers = sorted(answers, key=lambda answer: answer.imports)
    left = dict.fromkeys(answer.id for answer in answers)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=_err(), transient=True) as progress:
        task = progress.add_task(next(iter(left), ""), total=len(answers))
        for answer, verdict, transcript in base.verify(library, answers, timeout, jobs):
            del left[answer.id]
            # Of those that run it began first.
            progress.update(task, advance=1, description=next(iter(left), ""))
            broken += not verdict.passed
            if show or not verdict.passed:
                (_console() if show else progress.console).print(terminal.ran(answer, verdict, transcript))
    total = len({answer.id for asked in library.questions.values() for answer in asked.running})
    counts = f"{total} answers: {len(answers)} run, {total - len(answers)} unchanged, {broken} broken"
    _err().print(f"{counts}; {time.monotonic() - started:.1f} s")
    return broken


def _free_port() -> int:
    """Return a port that nobody listens on, 8000 if it is free."""
    if _is_free(8000):
        return 8000
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    """Tell whether nobody listens on a port of this machine."""
    with contextlib.suppress(OSError), socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return True
    return False


def _unknown(kind: str, name: str, known: Iterable[str]) -> NoReturn:
    from quaere.errors import nearest

    _misuse(f"there is no {kind} `{name}`", nearest(name, known))


def _misuse(problem: str, hint: str = "") -> NoReturn:
    """End as a command that was called wrongly."""
    _err().print(problem + (f"\n  hint: {hint}" if hint else ""), markup=False, soft_wrap=True)
    raise typer.Exit(2)


def _show_faults(faults: Iterable[AuthorError]) -> None:
    from quaere.errors import Faults

    if text := str(Faults(faults)):
        _err().print(text, markup=False, soft_wrap=True)


def _console() -> Console:
    from quaere.terminal import Terminal

    return Terminal()


def _err() -> Console:
    from quaere.terminal import Terminal

    return Terminal(stderr=True)


def _out(shown: object) -> None:
    _console().print(shown, soft_wrap=isinstance(shown, str))
