"""Build a site in a folder; leave it unchanged if a link is dead or MkDocs reports an error or a warning."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from itertools import chain, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from quaere import atomic, stamp
from quaere.content import addresses
from quaere.content.model import Library
from quaere.content.settings import places
from quaere.errors import AuthorError, ConfigError, Faults, MisuseError, PageError, Place
from quaere.pages import render, search, seen
from quaere.pages.output import Output
from quaere.pages.view import View
from quaere.project import Project
from quaere.site import equations, links
from quaere.site.equations import Equations
from quaere.site.front import Front, MissingShellError
from quaere.site.kept import Kept, Made, Questions
from quaere.stamp import Inputs

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
    project: Project,
    library: Library,
    site: Path,
    *,
    served_at: str = "",
    tell: Callable[[str], object] = str,
    inputs: Inputs | None = None,
    said: Mapping[str, Any] | None = None,
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
        inputs: The files of the knowledge base, as they looked before it was read.
        said: What to say again where the next build has nothing to do (`stamp.unchanged`); without it the next build
            looks at everything.

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
            work = _Build(project, library, site, scratch / "site", served_at)
            faults, is_strict = work.make(inputs)
            remarks = list(dict.fromkeys(_unread(library, *one) for one in work.unread))
            for remark in remarks:
                tell(remark)
            is_written = not (faults and is_strict)
            if is_written:
                _update(site, scratch / "site", work.files.keys(), work.there)
                if not faults:
                    work.keep(said and {**said, "remarks": [*said.get("remarks", ()), *remarks]})
                project.cache.prune()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        problem = f"the site can't be written: {error.strerror or error}"
        hint = "make room, or name a folder on another disk with --site" if error.errno in _FULL else ""
        raise MisuseError(Place(str(site), 0), problem, hint or "name another folder with --site") from error
    return faults, is_written


def _key(project: Project, site: Path, served_at: str) -> str:
    """Return a digest of what all that is kept of a site depends on."""
    told = (
        project.code,
        str(project.root),
        str(site),
        served_at,
        project.settings.model_dump_json(),
        project.shows_private,
    )
    return hashlib.sha256(repr(told).encode(errors="surrogatepass")).hexdigest()


def also_read(project: Project, site: Path, served_at: str) -> tuple[str, ...]:
    """Return the paths that MkDocs reads besides the knowledge base for a site that is served, as far as known."""
    return project.cache.held(("read", _key(project, Path(os.path.realpath(site)), served_at)), tuple)


class _Build:
    """One build: what is still good of the last one is left, all else is made in a folder of its own.

    Attributes:
        files: The files of the site, those left included, by their paths.
        unread: The equations that can't be drawn: the page, what was written, and the problem.
    """

    def __init__(self, project: Project, library: Library, site: Path, fresh: Path, served_at: str) -> None:
        self.project, self.library, self.site, self.fresh, self.served_at = project, library, site, fresh, served_at
        self.file = stamp.file(project.root, site, "pages", served_at)
        self.key = _key(project, site, served_at)
        # A site that is served ends with the process.
        self.former = project.cache.held(("site", self.key), Kept) if served_at else Kept.read(self.file, self.key)
        self.there = stamp.files_of(site)
        self.files: dict[str, Made] = {}
        self.unread: list[tuple[str, str, str]] = []
        self.written: set[str] = set()

    def make(self, inputs: Inputs | None) -> tuple[list[AuthorError], bool]:
        """Make what has changed; return what is wrong, and whether that prevents that it is written."""
        self.fresh.mkdir(parents=True)
        self._look_at(inputs, self.former.names)
        if front := self._kept_front():
            try:
                return self._fill(front), True
            except MissingShellError:
                shutil.rmtree(self.fresh)
                self.fresh.mkdir()
                self.unread.clear()
        return self._make_all()

    def _look_at(self, inputs: Inputs | None, names: tuple[str, ...]) -> None:
        """Look at the files that the site follows from, as far as nobody has yet; `names` are those of MkDocs alone."""
        root = self.project.root
        known = inputs or stamp.look(root, self.project.names, stamp.file(root, self.site, "stamp", self.served_at))
        more = stamp.scan(root, set(names) - set(known.names), {}, 0)
        self.inputs = Inputs((*known.names, *names), {**known.files, **more}, known.at)
        self.digests = self.inputs.digests

    def _kept_front(self) -> Front | None:
        """Return what MkDocs made for the last build, if it would make the same now, and if all of it is there."""
        former = self.former
        environment = {name: os.environ.get(name) for name in former.environment}
        if former.front is None or environment != former.environment or not self._are_there(former.by_mkdocs):
            return None
        front = Front.read(former.front)
        self._show(front, None)
        if former.front_key != self._front_key() or seen.answers(self.view, former.front_asked) != former.front_asked:
            return None
        self.by_mkdocs, self.asked = dict(former.by_mkdocs), dict(former.front_asked)
        self.names, self.environment, self.is_known = former.names, former.environment, True
        return front

    def _are_there(self, made: Mapping[str, Made]) -> bool:
        return all(self.there.get(path) == list(one.looks) for path, one in made.items())

    def _show(self, front: Front, view: View | None) -> None:
        kept = {path: text for path, text in self.library.docs.items() if path in front.docs}
        self.shown = replace(self.library, docs=kept)
        self.view = view or self.project.view(self.shown, **front.view)

    def _front_key(self) -> str:
        """Return a digest of what MkDocs reads, and of what it knows of the library without asking."""
        settings = self.library.settings
        folders = (settings.docs, settings.implementation, settings.templates)
        read = ("mkdocs.yml", *folders, settings.renamed, *self.former_names())
        attached = set(self.library.attachments.values())
        inputs = {
            path: digest
            for path, digest in self.digests.items()
            if path in attached or any(path == name or path.startswith(f"{name}/") for name in read)
        }
        paths = [output.path for output in (*render.page_outputs(self.view), *render.file_outputs(self.view))]
        modules = [(module.name, module.file) for module in self.library.modules]
        told = (inputs, sorted(paths), modules, self.library.attachments, bool(self.library.experiments))
        return hashlib.sha256(repr(told).encode(errors="surrogatepass")).hexdigest()

    def former_names(self) -> tuple[str, ...]:
        """Return what MkDocs reads besides the knowledge base."""
        return getattr(self, "names", self.former.names)

    def _make_all(self) -> tuple[list[AuthorError], bool]:
        """Have MkDocs make its pages and the shells, and fill those."""
        from mkdocs.commands.build import build as build_pages

        from quaere.site import defaults

        project, library = self.project, self.library
        docs = project.root / library.settings.docs
        if not docs.is_dir():
            docs = self.fresh.parent / "docs"
            docs.mkdir()
        found: list[AuthorError] = []
        with _said() as records, _without_time():
            config = defaults.load(project.root, library, self.fresh, docs)
            is_strict, config.strict = config.strict, False  # what is said is told below, with its place
            config.site_url = self.served_at or config.site_url
            reach = defaults.reach(project.root, config)
            self.names, self.environment = reach.names, reach.environment
            self.project.cache.hold(("read", self.key), tuple(reach.names))
            self._look_at(self.inputs, self.names)
            plugin = cast("QuaerePlugin", config.plugins["quaere"])
            plugin.use(project, library, is_served=bool(self.served_at))
            try:
                build_pages(config)
                self._show(plugin.front, plugin.view)
                self.by_mkdocs = {path: Made(found=self._look(path)) for path in stamp.files_of(self.fresh)}
                self._check_links = config.validation.links.not_found >= logging.WARNING
                self.asked = dict(plugin.asked)
                self.is_known = is_strict and self._check_links and reach.is_known
                found = self._fill(plugin.front)
            except (AuthorError, Faults):
                raise
            except (Exception, SystemExit) as error:
                if isinstance(error, OSError) and error.errno:  # a template that is missing has no number
                    raise
                # Of a plugin, a hook or a template of the theme's: MkDocs lets all of them do what they like.
                said = [record.getMessage() for record in records] or [f"MkDocs can't build the site: {error!r}"]
                raise Faults(_fault(defaults.without_trace(one), project.root, library) for one in said) from error
        told = [_fault(record.getMessage(), project.root, library) for record in records]
        places = {fault.place for fault in told}
        told += (fault for fault in found if fault.place not in places)  # MkDocs follows most links of its pages
        return list({str(fault): fault for fault in told}.values()), is_strict

    def _look(self, file: str) -> links.Found | None:
        """Look through a page that MkDocs wrote."""
        if not file.endswith(".html"):
            return None
        return links.found(self._pages.get(file, ""), (self.fresh / file).read_text(encoding="utf-8"))

    @cached_property
    def _pages(self) -> Mapping[str, str]:
        """The paths of all pages by their files."""
        return {addresses.file(path, self.view.has_folders): path for path in self.library.pages}

    _check_links = True

    def _fill(self, front: Front) -> list[AuthorError]:
        """Make the outputs that are not up to date; return what is wrong with the links of the site."""
        self.front, self.outputs = front, dict[str, Made]()
        self.words, self._folders = search.Words(), set[str]()
        self.settled = self._settled(front)
        # What the view is made of besides the library, all of it depends on.
        former = self.former.outputs if self.former.settled == self.settled else {}
        # A copy: should this build fail, the former one stays what is known.
        self.questions = Questions(self.former.questions.answers.items() if former else ())
        changed = self.questions.changed(seen.answers(self.view, self.questions.answers))
        draw = Equations(self.view.kept)
        made: list[str] = []
        numbers = search.numbers(self.shown.pages)
        pages, files = render.page_outputs(self.view), render.file_outputs(self.view)
        todo = chain(
            ((path, True, partial(self._written, path, draw)) for path in front.written),
            ((page.path, True, partial(self._page, page, draw)) for page in pages),
            ((file.path, False, partial(self._file, file)) for file in files),
        )
        for path, is_page, make in todo:
            file = addresses.file(path, self.view.has_folders) if is_page else path
            one = former.get(file)
            shell = front.written.get(path, "") if is_page else ""
            # What is written by hand now may have been made before, and had a shell.
            shell = shell or (front.digest(one.kind) if one and one.kind else "")
            is_same = (
                one is not None
                and self.there.get(file) == list(one.looks)
                and shell == one.shell
                and changed.isdisjoint(one.asked)
            )
            number = numbers.get(path, 0)
            if one and is_same and one.entry:
                is_same = one.entry.number == number and self._is_left(former, one.entry.parts)
            if one is None or not is_same:
                one = make(file, number)
                made.append(file)
            elif one.entry:
                self.outputs[one.entry.parts] = former[one.entry.parts]
            self.outputs[file] = one
            self.unread += ((path, *equation) for equation in one.unread)
        self._search(former)
        self.files = {**self.by_mkdocs, **self.outputs}
        if not self._check_links:
            return []
        found = {file: one.found for file, one in self.files.items() if one.found}
        # A link is dead if its page or its target has changed: mostly no target loses an anchor.
        before = {**self.former.by_mkdocs, **former}
        lost = before.keys() - self.files.keys() or any(
            (was := one.found) and not (file in found and was.ids <= found[file].ids)
            for file, one in before.items()
            if self.files[file] is not one
        )
        is_known = self.former.front is not None and self.by_mkdocs == self.former.by_mkdocs
        followed = made if is_known and not lost else list(self.files)
        followed = [file for file in followed if file in found and found[file].path in self.library.pages]
        return list(links.dead(sorted(followed), found, self.files.keys(), self.shown))

    def _settled(self, front: Front) -> str:
        """Return a digest of what is the same for all pages and depends on files: settings of mkdocs.yml, templates."""
        told = (sorted(front.view.items()), front.has_tabs, sorted(self.library.templates.items()))
        return hashlib.sha256(repr(told).encode(errors="surrogatepass")).hexdigest()

    def _is_left(self, former: Mapping[str, Made], file: str) -> bool:
        """Return whether a file is as the last build wrote it."""
        return file in former and self.there.get(file) == list(former[file].looks)

    def _search(self, former: Mapping[str, Made]) -> None:
        """Write the files of the search; in those of words, what has changed."""
        before, now = (
            {id(one.entry): one.entry for one in some.values() if one.entry} for some in (former, self.outputs)
        )
        gone = [before[one] for one in before.keys() - now.keys()]
        come = [now[one] for one in now.keys() - before.keys()]
        words = {path for path in former if path.startswith(search.WORDS)}
        made = self.words.files()
        if words and all(self._is_left(former, path) for path in (*words, *(one.parts for one in gone))):
            changes = search.changes(self._again(self.site, gone), self._again(self.fresh, come))
            self.outputs |= {path: former[path] for path in words - changes.keys()}
            texts = {path: (self.site / path).read_bytes().decode() for path in words & changes.keys()}
            made = ((path, search.changed(texts.get(path, ""), some)) for path, some in changes.items())
        else:
            for read in self._again(self.site, [now[one] for one in now.keys() & before.keys()]):
                self.words.add(read)
        for path, text in chain(search.files(self.view, now.values()), made):
            if text:
                self._write(path, text.encode())
                self.outputs[path] = Made()

    def _again(self, folder: Path, entries: Iterable[search.Entry]) -> Iterator[search.Read]:
        """Read pages again from the files of their parts in a folder."""
        return (search.Read.again(one, (folder / one.parts).read_bytes().decode()) for one in entries)

    def _written(self, path: str, draw: Equations, file: str, number: int) -> Made:
        """Complete a page that MkDocs made."""
        written = self.front.page(path, self.project.cache)
        with seen.noting(self.view) as notes:
            body, description = written.shown(self.view)
            read = search.read(self.view, path, number, written.title, body) if written.is_found else None
            page = written.fill(self.view, body, description, draw, is_served=bool(self.served_at))
        self._write(file, page.encode("utf-8", errors="xmlcharrefreplace"))
        found, unread = links.found(path, page), tuple(equations.unread(page))
        shell = self.front.written[path]
        asked = self.questions.add(notes)
        return Made(shell=shell, asked=asked, found=found, unread=unread, entry=self._entry(read))

    def _entry(self, read: search.Read | None) -> search.Entry | None:
        """Write the file of a page's parts; return what the search knows of the page."""
        if not read:
            return None
        self.words.add(read)
        self._write(read.entry.parts, read.parts.encode())
        self.outputs[read.entry.parts] = Made()
        return read.entry

    def _page(self, output: Output, draw: Equations, file: str, number: int) -> Made:
        with seen.noting(self.view) as notes:
            page = self.front.placed(output.page(self.view))
            entry = self._entry(search.read_page(self.view, page, number))
        kind, shell = self.front.shell(page)
        drawn = draw.drawn(render.with_flowcharts(self.view, page.body))
        filled = self.front.fill(page, shell, self.view, drawn)
        self._write(file, filled.encode("utf-8", errors="xmlcharrefreplace"))
        found = links.found(page.path, "", page.body, shell.ids)
        unread = tuple(equations.unread(drawn))
        asked, shell_digest = self.questions.add(notes), self.front.digest(kind.name)
        return Made(kind=kind.name, shell=shell_digest, asked=asked, found=found, unread=unread, entry=entry)

    def _file(self, output: Output, file: str, _number: int) -> Made:
        with seen.noting(self.view) as notes:
            self._write(file, output.parts(self.view))
        return Made(asked=self.questions.add(notes), found=self._look(file))

    def _write(self, file: str, data: bytes | Iterator[bytes]) -> None:
        self.written.add(file)
        # Paths as text: a site has many files.
        folder, path = file.rpartition("/")[0], f"{self.fresh}/{file}"
        if folder not in self._folders:
            (self.fresh / folder).mkdir(parents=True, exist_ok=True)
            self._folders.add(folder)
        with open(path, "wb") as opened:  # noqa: PTH123
            opened.writelines([data] if isinstance(data, bytes) else data)

    def _files_now(self) -> Mapping[str, list[int]]:
        """Return what the site consists of; what was left is as it was."""
        if self.front.make:
            return stamp.files_of(self.site)
        left = {path: looks for path, looks in self.there.items() if path in self.files}
        return left | {path: stamp.looks(self.site / path) for path in self.written}

    def keep(self, said: Mapping[str, Any] | None) -> None:
        """Remember what was made, once it is where it belongs; `said` is what a build without changes would say."""
        there = self._files_now()

        def looks(made: Mapping[str, Made]) -> dict[str, Made]:
            return {path: one._replace(looks=(there[path][0], there[path][1])) for path, one in made.items()}

        is_kept = self.is_known and all(shell.is_plain for shell in self.front.shells.values())
        if is_kept:
            self.front.keep(self.project.cache)
        kept = Kept(
            self.key,
            self.settled,
            self.front.tell() if is_kept else None,
            self._front_key(),
            self.asked,
            looks(self.by_mkdocs),
            looks(self.outputs),
            self.questions,
            tuple(self.names),
            self.environment,
        )
        if self.served_at:
            self.project.cache.hold(("site", self.key), kept)
            return
        kept.write(self.file)
        if self.is_known and said:
            stamp.keep(self.project.root, self.site, self.inputs, self.environment, there, said)


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
        place, _ = links.written(library, found["page"], "")
        return PageError(
            Place(place.file), f"this page can't be made: {found['what']}", "look at the last change to it"
        )
    if (found := _CODE.match(message)) and Path(found["file"]).is_relative_to(root):
        file = Path(found["file"]).relative_to(root).as_posix()
        return PageError(Place(file, int(found["line"])), f"this can't be documented: {found['what']}")
    found = _DEAD.match(message)
    if not found:
        return ConfigError(Place("mkdocs.yml", 0), message)
    place, _ = links.written(library, found["page"], found["link"])
    hint = f"did you mean `{found['near']}`?" if found["near"] else links.hint(library, found["page"], found["link"])
    return PageError(place, f"`{found['link']}` leads nowhere", hint)


def _unread(library: Library, page: str, equation: str, problem: str) -> str:
    """Return a remark on an equation that can't be drawn, with the place where it was written."""
    inner = equation[2:-2].strip()
    place, _ = links.written(library, page, inner.partition("\n")[0])
    short = inner if len(inner) <= _SHOWN else f"{inner[:_SHOWN]}…"
    hint = "it is shown as written; pages draw what KaTeX knows"
    return f"{place}: the equation `{short}` can't be drawn: {problem}\n  hint: {hint}"


@contextmanager
def _without_time() -> Iterator[None]:
    """Have MkDocs write no time of today: a site follows from its files alone."""
    known = os.environ.get("SOURCE_DATE_EPOCH")
    os.environ.setdefault("SOURCE_DATE_EPOCH", "0")
    try:
        yield
    finally:
        if known is None:
            del os.environ["SOURCE_DATE_EPOCH"]


def _update(site: Path, fresh: Path, files: Set[str] = frozenset(), there: Collection[str] | None = None) -> None:
    """Update a site to a fresh one; identical files are not touched, and the folder's modification time is now.

    Args:
        site: The folder of the site.
        fresh: A folder with the files that are new or may have changed.
        files: The paths of further files that the site keeps.
        there: The paths of the files that it has; without it they are looked for.
    """
    if not site.exists() or not any(site.iterdir()):
        if site.exists():
            site.rmdir()  # Windows puts no folder in another's place
        fresh.replace(site)
        return
    there = stamp.files_of(site) if there is None else there
    kept = {path.relative_to(fresh): path.suffix == ".html" and path.is_file() for path in fresh.rglob("*")}
    # What pages need comes before them, and goes after them, should this be interrupted.
    for path in sorted(kept, key=lambda path: (kept[path], path)):
        source, target = fresh / path, site / path
        if source.is_dir():
            if target.is_symlink() or (target.exists() and not target.is_dir()):
                target.unlink()
            target.mkdir(exist_ok=True)
        elif not (target.is_file() and filecmp.cmp(source, target, shallow=False)):
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            source.replace(target)
    for name in sorted({*there} - files - set(map(os.fspath, kept)), reverse=True):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            (site / name).unlink()
        with contextlib.suppress(OSError):  # something is left in one of them
            for folder in takewhile(lambda folder: folder != site, (site / name).parents):
                folder.rmdir()
    os.utime(site)
