"""Render the pages of a library, without a shell and without reading or writing files."""

from __future__ import annotations

import html
import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Set
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import quote

from jinja2 import (
    ChoiceLoader,
    Environment,
    FunctionLoader,
    PackageLoader,
    PrefixLoader,
    StrictUndefined,
    TemplateError,
    TemplateSyntaxError,
)
from jinja2.runtime import Context

from quaere.content import addresses
from quaere.content.history import History
from quaere.content.model import Library, Module, Paper, Verdict
from quaere.content.results import cell
from quaere.errors import ConfigError, Place
from quaere.pages import (
    board,
    card,
    claims,
    code,
    dump,
    exports,
    facets,
    feeds,
    figures,
    flowchart,
    head,
    lineage,
    lists,
    notebook,
    previews,
    reference,
    result,
    scripts,
    seen,
    sitemap,
)
from quaere.pages.compiled import Compiled
from quaere.pages.markup import Ids
from quaere.pages.output import Output
from quaere.pages.page import Page
from quaere.pages.view import MEANINGS, NOTHING, Here, Kept, Store, View, anchor, not_kept

PARTS: Mapping[str, str] = {
    "states": "states.html",
    "newest": "newest.html",
    "lineage": "lineage_part.html",
    "question": "shown.html",
    "figure": "figure.html",
    "benchmarks": "benchmarks.html",
}
"""The parts that a hand-written page can contain by `<!-- quaere:NAME -->`, and their templates."""

_DIAGRAM = re.compile(r'<div class="diagram">([^<]*)</div>')


def view(
    library: Library,
    verdicts: Mapping[str, Verdict],
    *,
    citations: Mapping[str, Mapping[str, str]] | None = None,
    repo: str = "",
    branch: str = "main",
    name: str = "",
    has_folders: bool = True,
    has_documentation: bool = True,
    kept: Kept = not_kept,
    store: Store = NOTHING,
    made_by: str = "",
    site_url: str = "",
    description: str = "",
    history: History | None = None,
) -> View:
    """Make the view of a library that its pages show.

    Args:
        library: What was read.
        verdicts: What came of running the answers, by question.
        citations: Each paper's citation in each format, by slug and by the format's name.
        repo: The address of the repository; without one there are no links to sources.
        branch: The branch of it that is linked.
        name: The site's name.
        has_folders: Whether each page has a folder of its own, as with MkDocs' `use_directory_urls`.
        has_documentation: Whether the modules' pages document what is in them.
        kept: What keeps the drawings; without it they are drawn each time.
        store: What keeps what follows from a card.
        made_by: A digest of the code that makes it.
        site_url: The whole address of the site; without one, feeds and previews name no whole addresses.
        description: What the site is, in a sentence.
        history: When cards and answers came, as far as it is known.
    """
    own, folder = PackageLoader("quaere.pages"), library.settings.templates

    def found(name: str) -> tuple[str, str, None] | None:
        return (library.templates[name], f"{folder}/{name}", None) if name in library.templates else None

    # A template of the library stands in for ours of the same name, and extends it as `quaere/NAME`.
    loader = ChoiceLoader([FunctionLoader(found), own, PrefixLoader({"quaere": own})])
    environment = _Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=Compiled("pages"),
        auto_reload=False,  # what is made from one view is made from the same templates
    )
    # Templates and filters reach the library by this alone, so that what they ask of it is known.
    shown = seen.seen(
        View(
            library,
            verdicts,
            environment,
            citations or {},
            repo.rstrip("/"),
            branch,
            name,
            has_folders,
            has_documentation,
            kept=kept,
            store=store,
            code=made_by,
            derive=seen.derived,
            tell=dump.card,
            site_url=f"{site_url.rstrip('/')}/" if site_url else "",
            description=description,
            history=history or History(),
        )
    )
    environment.globals.update(view=shown, library=shown.library, meanings=MEANINGS, addresses=addresses)
    environment.filters.update(
        address=_address,
        coins=exports.coins,
        export=exports.path,
        feed=feeds.path,
        feed_of_tag=feeds.of_tag,
        feed_title=feeds.TITLES.__getitem__,
        command=lambda id: scripts.command(id, shown.repo, library.settings.install),
        anchor=anchor,
        cell=cell,
        commit_name=_commit_name,
        drawing_size=figures.size,
        counted_claims=claims.by_outcome,
        counted_outcomes=lambda slugs: result.counted(shown, slugs),
        duration=_duration,
        at_home=lineage.at_home,
        counted_pairs=dict,
        instant=lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        is_wide=result.is_wide,
        moment=_moment,
        newest=lists.newest,
        outline=flowchart.outline,
        notebook=notebook.path,
        script=scripts.script,
        settings=result.settings,
    )
    return shown


def pages(view: View) -> dict[str, Page]:
    """Make all generated pages of a library, by path, but those of the modules, which need their documentation.

    Raises:
        ConfigError: A template of the library is at fault.
    """
    return {output.path: output.page(view) for output in page_outputs(view)}


def page_outputs(view: View) -> Iterator[Output]:
    """Yield the pages of a library, the lists first. What somebody wrote by hand is left out.

    To add a page, yield it here. A page about many cards is made of `view.summaries`.

    Raises:
        ConfigError: A template of the library is at fault.
    """
    for name in view.library.templates:
        _compile(view, name)
    cards = (_card(slug) for slug in view.library.papers)
    for output in (*_lists(view), *cards, *map(_code, view.library.named_modules)):
        if output.path not in view.library.docs:
            yield output


def _lists(view: View) -> Iterator[Output]:
    def listed(
        path: str,
        template: str,
        title: str,
        context: Callable[[View], Mapping[str, Any]] = lambda view: {},
        hide: tuple[str, ...] = (),
    ) -> Output:
        return Output(path, lambda view: _page(view, path, template, title, hide=hide, **context(view)), title)

    def parted(
        path: str,
        template: str,
        title: str,
        context: Callable[[View, int], Mapping[str, Any]],
        hide: tuple[str, ...] = (),
    ) -> Iterator[Output]:
        for number in range(1, lists.lengths(view)[path] + 1):
            named = title if number == 1 else f"{title}, page {number}"
            yield listed(addresses.part(path, number), template, named, partial(_part, context, number), hide)

    # What the first two would hide has its place in them.
    bare = ("navigation", "toc")
    yield from parted(addresses.PAPERS, "papers.html", "Papers", lists.papers, bare)
    yield from parted(addresses.QUESTIONS, "questions.html", "Questions", lists.questions, bare)
    yield from parted(addresses.TAGS, "groups.html", "Tags", lists.tags)
    yield from parted(addresses.AFFILIATIONS, "groups.html", "Affiliations", lists.affiliations)
    yield from parted(addresses.LINEAGE, "lineage.html", "Lineage", lists.by_year, ("navigation",))
    yield listed(addresses.BOARD, "board.html", "Board", board.context, hide=("navigation",))
    yield listed(
        addresses.EXPERIMENTS,
        "experiments.html",
        "Experiments",
        lambda view: {"reserved": _slugs(view)},
        hide=("navigation",),
    )
    yield listed(addresses.REFERENCE, "reference.html", "Reference")
    yield listed(
        addresses.HOME,
        "home.html",
        view.name or "Papers",
        lambda view: {"reserved": _slugs(view) | {"what-holds", "newest-cards", "what-builds-on-what"}},
        hide=("navigation", "toc"),
    )


def _part(context: Callable[[View, int], Mapping[str, Any]], number: int, view: View) -> Mapping[str, Any]:
    """Return the context of a page of a long list."""
    # The search finds each card by itself.
    known = {"reserved": _slugs(view), "downloads": exports.WHOLE, "is_searched": number == 1}
    return {**known, **context(view, number)}


def _slugs(view: View) -> Set[str]:
    return set(view.library.papers)


def _card(slug: str) -> Output:
    def make(view: View) -> Page:
        path, paper = addresses.card(slug), view.library.papers[slug]
        return _page(
            view,
            path,
            "card.html",
            paper.reference.title,
            description=Here(view, path).said(paper.card.idea),
            source=paper.file,
            hide=("navigation",),
            **card.context(view, paper),
        )

    return Output(addresses.card(slug), make)


def module(view: View, name: str, documentation: str) -> Page:
    """Make the page of a module around its documentation, which is HTML."""
    found, path = view.library.named_modules[name], addresses.module(name)
    body = _rendered(view, "module.html", Here(view, path), reference.context(view, found, documentation))
    return module_page(found, body, Here(view, path).said(found.summary))


def module_page(module: Module, body: str, description: str) -> Page:
    """Return the page of a module."""
    return Page(addresses.module(module.name), module.name, body, description, module.file, hide=("navigation",))


def _code(name: str) -> Output:
    """Return the page on which a module's code is read."""

    def make(view: View) -> Page:
        path, module = addresses.code(name), view.library.named_modules[name]
        return _page(
            view,
            path,
            "source.html",
            f"{name}: the code",
            description=Here(view, path).said(module.summary),
            source=module.file,
            hide=("navigation", "toc"),
            is_searched=False,  # its words are those of the page that documents the module
            **code.context(view, module),
        )

    return Output(addresses.code(name), make)


def part(view: View, template: str, path: str, of: str | None = None, ids: Ids | None = None) -> str:
    """Make a part of the page at `path`, which somebody wrote by hand.

    Args:
        view: The library.
        template: The part's template.
        path: The page.
        of: What it shows: a question, `paper.question`, or a figure of an experiment, `paper.figure`.
        ids: The ids of the page; those of the part are added.
    """
    context: dict[str, Any] = {}
    if of and template == PARTS["figure"]:
        context = dict(zip(("result", "figure"), view.library.figure(of) or (), strict=True))
    elif of:
        context = {"one": view.library.questions[of]}
    return _rendered(view, template, Here(view, path, ids or Ids()), context)


def headed(view: View, path: str, title: str, description: str, paper: Paper | None = None) -> str:
    """Make what the head of a page tells programs; `paper` is the one whose card the page is."""
    return _rendered(view, "head.html", Here(view, path), head.context(view, path, title, description, paper))


def files(view: View) -> dict[str, bytes]:
    """Make what pages show or offer besides themselves, by path: drawings, notebooks, exports."""
    return {output.path: output.data(view) for output in file_outputs(view)}


def file_outputs(view: View) -> Iterator[Output]:
    """Yield what pages show or offer besides themselves: drawings, notebooks, exports, feeds.

    To add a file, yield it here.
    """
    whole = (notebook.outputs, exports.outputs, feeds.outputs, sitemap.outputs, previews.outputs)
    made = (*whole, result.outputs, code.outputs, facets.outputs, _moved)
    # What somebody has written stands in for what is made.
    yield from (output for outputs in made for output in outputs(view) if output.path not in view.library.files)


def _moved(view: View) -> Iterator[Output]:
    """Yield a page for each former address of a card, which leads to today's."""
    for old, slug in view.library.former_slugs.items():
        path = addresses.card(old)
        if path not in view.library.docs:
            yield Output(addresses.file(path, view.has_folders), partial(_leading_on, path, slug))


def _leading_on(path: str, slug: str, view: View) -> str:
    here = Here(view, path)
    return _rendered(
        view, "moved.html", here, {"title": view.summaries[slug].title, "url": here.to(addresses.card(slug))}
    )


def with_flowcharts(view: View, page: str) -> str:
    """Return a page's HTML with its flowcharts drawn, as far as they are plain ones."""

    def drawn(found: re.Match[str]) -> str:
        figures = flowchart.figures(html.unescape(found[1]))
        return view.templates.get_template("flowchart.html").render(figures=figures) if figures else found[0]

    return _DIAGRAM.sub(drawn, page)


def _page(
    view: View,
    path: str,
    template: str,
    title: str,
    *,
    description: str = "",
    source: str | None = None,
    hide: tuple[str, ...] = (),
    is_searched: bool = True,
    reserved: Set[str] = frozenset(),
    **context: Any,
) -> Page:
    """Make a page; its headings leave the reserved ids to what has them from elsewhere."""
    here = Here(view, path)
    here.ids.taken |= reserved
    body = _rendered(view, template, here, {"title": title, **context})
    told = headed(view, path, title, description, context.get("paper"))
    return Page(path, title, body, description, source, hide, told, is_searched)


class _Context(Context):
    """The variables of a template, from which functions are called as they are.

    Jinja looks at each call whether the function wants to know of the template; none of those here does.
    """

    def call(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        """Call a function."""
        named.pop("_loop_vars", None)
        named.pop("_block_vars", None)
        return function(*arguments, **named)


class _Environment(Environment):
    context_class = _Context


def _compile(view: View, name: str) -> None:
    """Load a template of the library, so that an error in it is reported with its name."""
    place = Place(f"{view.library.settings.templates}/{name}")
    try:
        view.templates.get_template(name)
    except TemplateSyntaxError as error:
        place = Place(place.file, error.lineno)
        raise ConfigError(place, f"this template can't be read: {error}", "compare it with quaere's own") from error
    except (RecursionError, MemoryError, SyntaxError) as error:
        raise ConfigError(place, "this template is nested too deep", "flatten it") from error


def _rendered(view: View, template: str, here: Here, context: Mapping[str, Any]) -> str:
    try:
        # Macros see what is global, and each page has its own `here`.
        return view.templates.get_template(template).render(here=here, **context)
    except Exception as error:
        # Whatever a template of the library asks for that can't be done is its author's mistake.
        if place := _place(view.library, error):
            problem = f"this template can't be filled in: {error or type(error).__name__}"
            raise ConfigError(place, problem, "compare it with quaere's own") from error
        if view.library.templates and isinstance(error, TemplateError):
            # Ours asks for what one of the library's that stands in for another has not.
            place = Place(view.library.settings.templates, 0)
            raise ConfigError(
                place, f"a template here uses something that is not defined: {error}", "compare it with ours"
            ) from error
        raise


def _place(library: Library, error: Exception) -> Place | None:
    """Return where in a template of the library an error arose; None if it did not."""
    files = {f"{library.settings.templates}/{name}" for name in library.templates}
    if isinstance(error, TemplateSyntaxError) and error.filename in files:
        return Place(str(error.filename), error.lineno)
    # Jinja gives the frames of templates their own files and lines.
    frames = traceback.extract_tb(error.__traceback__)
    lines = [Place(frame.filename, frame.lineno or 1) for frame in frames if frame.filename in files]
    return lines[-1] if lines else None


def _address(url: str) -> str:
    """Write an address so that it holds no character which an attribute or a header would mistake."""
    return quote(url, safe="/:?#@!&,;=+%~-._()")


def _moment(at: str) -> datetime | None:
    try:
        return datetime.fromisoformat(at)
    except ValueError:
        return None


def _commit_name(commit: str) -> str:
    """Return the name at the start of a commit's description, which may also say that files were changed."""
    found = re.match(r"[0-9a-f]{7,40}", commit)
    return found[0] if found else ""


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 60 else f"{seconds / 60:.0f} min"
