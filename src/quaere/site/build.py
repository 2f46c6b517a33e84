"""Build a site in a folder; leave it unchanged if a link is dead or MkDocs reports an error or a warning."""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from quaere import atomic
from quaere.content.model import Library
from quaere.content.settings import places
from quaere.errors import AuthorError, ConfigError, Faults, MisuseError, PageError, Place
from quaere.project import Project
from quaere.site import links

if TYPE_CHECKING:
    from quaere.site.plugin import QuaerePlugin

# Material announces the end of MkDocs 1 at every start; docs/decisions/ says what follows from it.
os.environ.setdefault("NO_MKDOCS_2_WARNING", "1")

_DEAD = re.compile(
    r"Doc file '(?P<page>[^']+)' contains (?:a link|an unrecognized relative link|an absolute link) '(?P<link>[^']*)'"
    r"[^?]*?(?:Did you mean '(?P<near>[^']*)'\?)?$",
    re.DOTALL,
)
_PAGE = re.compile(r"Error (?:reading|building) page '(?P<page>[^']+)': (?P<what>.*)", re.DOTALL)
_CODE = re.compile(r"griffe: (?P<file>.+?):(?P<line>\d+): (?P<what>.*)", re.DOTALL)
_FORMER = "assets/quaere.css"
_SHOWN = 60
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def build(
    project: Project, library: Library, site: Path, *, served_at: str = "", tell: Callable[[str], object] = str
) -> tuple[list[AuthorError], bool]:
    """Build the site of a library.

    Args:
        project: The knowledge base.
        library: What was read of it, without faults.
        site: The folder, which is new, empty, or holds a former site. It changes at the end: a new one all at once, a
            former one file by file, each of which is the former or the new one. What is then interrupted, the next
            build completes.
        served_at: The address at which the pages are served with live reload, if they are.
        tell: Shows a remark to whoever called the command: an equation that can't be drawn.

    Returns:
        What is wrong with the pages, and whether the site was written: if nothing is, or if mkdocs.yml says
        `strict: false`.

    Raises:
        ConfigError: mkdocs.yml is at fault, or a template.
        MisuseError: The folder holds something else.
    """
    site = Path(os.path.realpath(site))
    for name, place in places(project.root, library.settings).items():
        if place == site or site in place.parents or place in site.parents:
            problem = f"this and the path of `{name}` overlap"
            raise MisuseError(Place(str(site), 0), problem, "name a folder elsewhere")
    try:
        if os.path.lexists(site) and not (site.is_dir() and (not any(site.iterdir()) or (site / _FORMER).exists())):
            raise MisuseError(Place(str(site), 0), "this contains something other than a site", "name a new folder")
        site.parent.mkdir(parents=True, exist_ok=True)
        atomic.sweep(site.parent)
        scratch = atomic.scratch(site.parent)
        scratch.mkdir()
        try:
            fresh = scratch / "site"
            faults, is_strict = _made(project, library, fresh, scratch, served_at, tell)
            is_written = not (faults and is_strict)
            if is_written:
                _update(site, fresh)
                project.cache.prune()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        problem = f"the site can't be written: {error.strerror or error}"
        hint = "make room, or name a folder on another disk with --site" if error.errno in _FULL else ""
        raise MisuseError(Place(str(site), 0), problem, hint or "name another folder with --site") from error
    return faults, is_written


def _made(
    project: Project, library: Library, site: Path, scratch: Path, served_at: str, tell: Callable[[str], object]
) -> tuple[list[AuthorError], bool]:
    """Have MkDocs build a site; return its errors, and whether they prevent that it is written."""
    from mkdocs.commands.build import build as build_pages

    from quaere.site import defaults

    docs = project.root / library.settings.docs
    if not docs.is_dir():
        docs = scratch / "docs"
        docs.mkdir()
    with _said() as records:
        config = defaults.load(project.root, library, site, docs)
        is_strict, config.strict = config.strict, False  # what is said is told below, with its place
        config.site_url = served_at or config.site_url
        plugin = cast("QuaerePlugin", config.plugins["quaere"])
        plugin.use(project, library, is_served=bool(served_at))
        try:
            build_pages(config)
        except (AuthorError, Faults):
            raise
        except (Exception, SystemExit) as error:
            if isinstance(error, OSError) and error.errno:  # a template that is missing has no number
                raise
            # Of a plugin, a hook or a template of the theme's: MkDocs lets all of them do what they like.
            said = [record.getMessage() for record in records] or [f"MkDocs can't build the site: {error!r}"]
            raise Faults(_fault(defaults.without_trace(one), project.root, library) for one in said) from error
    for remark in dict.fromkeys(_unread(library, *one) for one in plugin.unread):
        tell(remark)
    faults = {str(fault): fault for fault in (_fault(record.getMessage(), project.root, library) for record in records)}
    found = list(faults.values())
    if not found and config.validation.links.not_found >= logging.WARNING:
        found = links.dead(site, library, config.use_directory_urls)
    return found, is_strict


@contextmanager
def _said() -> Iterator[list[logging.LogRecord]]:
    """Collect the warnings of MkDocs and its plugins instead of printing them."""
    records: list[logging.LogRecord] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    logger, collector = logging.getLogger("mkdocs"), Collector(logging.WARNING)
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(collector)
    try:
        yield records
    finally:
        logger.removeHandler(collector)
        logger.propagate = propagates


def _fault(message: str, root: Path, library: Library) -> AuthorError:
    """Return a warning of MkDocs as an error with its place."""
    if found := _PAGE.match(message):
        file, _, _ = links.written(library, found["page"], "")
        return PageError(Place(file), f"this page can't be made: {found['what']}", "look at the last change to it")
    if (found := _CODE.match(message)) and Path(found["file"]).is_relative_to(root):
        file = Path(found["file"]).relative_to(root).as_posix()
        return PageError(Place(file, int(found["line"])), f"this can't be documented: {found['what']}")
    found = _DEAD.match(message)
    if not found:
        return ConfigError(Place("mkdocs.yml", 0), message)
    file, line, column = links.written(library, found["page"], found["link"])
    hint = f"did you mean `{found['near']}`?" if found["near"] else links.hint(library, found["page"], found["link"])
    return PageError(Place(file, line, column), f"`{found['link']}` leads nowhere", hint)


def _unread(library: Library, page: str, equation: str, problem: str) -> str:
    """Return a remark on an equation that can't be drawn, with the place where it was written."""
    inner = equation[2:-2].strip()
    file, line, column = links.written(library, page, inner.partition("\n")[0])
    short = inner if len(inner) <= _SHOWN else f"{inner[:_SHOWN]}…"
    hint = "it is shown as written; pages draw what KaTeX knows"
    return f"{Place(file, line, column)}: the equation `{short}` can't be drawn: {problem}\n  hint: {hint}"


def _update(site: Path, fresh: Path) -> None:
    """Update a site to a fresh one; identical files are not touched, and the folder's modification time is now."""
    if not site.exists() or not any(site.iterdir()):
        if site.exists():
            site.rmdir()  # Windows puts no folder in another's place
        fresh.replace(site)
        return
    kept = {path.relative_to(fresh): path.suffix == ".html" and path.is_file() for path in fresh.rglob("*")}
    # What pages need comes before them, and goes after them, should this be interrupted.
    for path in sorted(kept, key=lambda path: (kept[path], path)):
        source, target = fresh / path, site / path
        if source.is_dir():
            if target.is_symlink() or (target.exists() and not target.is_dir()):
                target.unlink()
            target.mkdir(exist_ok=True)
        elif not (target.is_file() and target.read_bytes() == source.read_bytes()):
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            source.replace(target)
    for path in sorted(site.rglob("*"), reverse=True):
        # What begins with a dot is somebody else's, such as git's.
        is_hidden = path.relative_to(site).parts[0].startswith(".")
        if path.relative_to(site) not in kept and not is_hidden:
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    os.utime(site)
