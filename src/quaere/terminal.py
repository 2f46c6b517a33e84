"""Print cards, questions and verdicts in a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markdown import Markdown
from rich.segment import Segment
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from quaere.content import own_fields
from quaere.content.agenda import Task
from quaere.content.model import Answer, Asked, Library, Paper, Status, Verdict
from quaere.content.results import Finding, Outcome, Result, cell, mean_and_range
from quaere.content.states import Kind, State
from quaere.errors import visible

_STYLES = {
    State.OPEN: "bright_black",
    State.ANSWERED: "blue",
    State.DEMONSTRATED: "green",
    State.UNVERIFIED: "yellow",
    State.BROKEN: "bold red",
}
_OUTCOMES = {
    Outcome.YES: "green",
    Outcome.PARTLY: "yellow",
    Outcome.NO: "red",
    Outcome.NO_VERDICT: "bright_black",
    Outcome.NO_EXPERIMENT: "bright_black",
}
_FAINT = "bright_black"
_TASKS = {
    Kind.BROKEN: ("answer that fails", "answers that fail", "quaere verify NAME"),
    Kind.UNVERIFIED: (
        "answer that has not run as it is now",
        "answers that have not run as they are now",
        "quaere verify",
    ),
    Kind.OPEN: ("open question", "open questions", "quaere answer NAME"),
    Kind.TO_READ: ("paper to read", "papers to read", "quaere read NAME"),
    Kind.NO_IDEA: ("card without an idea", "cards without an idea", "write `idea:` on the card"),
    Kind.NO_CARD: (
        "entry of the bibliography without a card",
        "entries of the bibliography without a card",
        "quaere add KEY",
    ),
}


class Terminal(Console):
    """A console that escapes control characters, and characters that the terminal can't show."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, emoji=False)

    def render(self, *arguments: Any) -> Iterable[Segment]:
        """Render, as Rich does; all that is printed comes through here."""
        for segment in super().render(*arguments):
            yield segment if segment.control else segment._replace(text=self._visible(segment.text))

    def _visible(self, text: str) -> str:
        return visible(text).encode(self.encoding, "backslashreplace").decode(self.encoding)


def size(library: Library) -> str:
    """Say how many papers and topics there are."""
    topics = sum(paper.is_topic for paper in library.papers.values())
    return f"{len(library.papers) - topics} papers" + (f", {topics} topic{'s' * (topics != 1)}" if topics else "")


def questions(asked: Iterable[Asked], verdicts: Mapping[str, Verdict]) -> RenderableType:
    """Show questions as a table, one per line."""
    table = _table("state", "question", "")
    for one in asked:
        table.add_row(_badge(one.state(verdicts)), Text(one.id), Text(one.question.ask))
    return table


def states(counts: Mapping[str, int]) -> RenderableType:
    """Show how many questions have each state."""
    table = _table("state", "questions")
    for state in State:
        table.add_row(_badge(state), str(counts.get(state, 0)))
    return table


def tasks(shown: Iterable[Task], counts: Mapping[Kind, int]) -> RenderableType:
    """Show what there is to do, kind by kind; `counts` says how much there is of each."""
    parts: list[RenderableType] = []
    listed = list(shown)
    for kind in (kind for kind in Kind if counts.get(kind)):
        one, several, command = _TASKS[kind]
        title = one if counts[kind] == 1 else several
        number = sum(task.kind is kind for task in listed)
        few = f", {number} of them here" if 0 < number < counts[kind] else ""
        parts.append(Text.assemble((f"{counts[kind]} {title}", "bold"), few, (f"  {command}", _FAINT)))
        table = Table(box=None, show_header=False, pad_edge=False)
        for is_whole in (True, False, True):
            table.add_column(overflow="fold", no_wrap=is_whole)
        for task in listed:
            if task.kind is kind:
                table.add_row(Text(f"  {task.name}"), Text(task.says or str(task.place)), Text(_waits(task), _FAINT))
        parts += [table, Text("")] if number else []
    return Group(*(parts or [Text("nothing to do")]))


def _waits(task: Task) -> str:
    days = "" if task.days is None else f"{task.days} day{'s' * (task.days != 1)}"
    cards = f"{task.rests} card{'s' * (task.rests != 1)} on it" if task.rests else ""
    return ", ".join(filter(None, [days, cards]))


def paper(library: Library, one: Paper, verdicts: Mapping[str, Verdict]) -> RenderableType:
    """Show a card."""
    card, reference, module = one.card, one.reference, library.module_of(one)
    reading = card.reading and ", through ".join(filter(None, (card.reading.state, card.reading.through)))
    facts = [
        ("tags", ", ".join(card.tags)),
        ("affiliations", ", ".join(card.affiliations)),
        ("reading", reading),
        ("builds on", ", ".join(card.builds_on)),
        ("module", module and module.name),
        ("card", one.file),
        *((name, ", ".join(own_fields.values(value)) or str(value)) for name, value in card.extra.items()),
        *((link.kind, f"{link.title} {link.url}") for link in card.links),
    ]
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in facts:
        if value:
            table.add_row(Text(name, _FAINT), Text(value))
    asked = [question for question in library.questions.values() if question.paper is one]
    published = reference.venue, str(reference.issued) or "no year"
    notes: list[RenderableType] = [Text(""), Markdown(card.notes)] if card.notes else []
    for quote in card.quotes:
        notes += [Text(""), Text(f"“{quote.text}”" + (f" ({quote.page})" if quote.page else ""))]
        notes += [Markdown(quote.note)] if quote.note else []
    return Group(
        Text(reference.title, "bold"),
        *([Text(status(card.status), "bold red")] if card.status else []),
        Text("a topic" if card.is_topic else f"{reference.credits}. {', '.join(filter(None, published))}"),
        *([Text(f"{card.idea}\n", "italic")] if card.idea else []),
        table,
        *notes,
        *([questions(asked, verdicts)] if asked else []),
    )


def status(one: Status) -> str:
    """Say what has become of a paper."""
    by, since = f" by {one.by}" if one.by else "", f" since {one.since}" if one.since else ""
    return f"{one.state}{by}{since}" + (f": {one.note}" if one.note else "")


def question(asked: Asked, verdicts: Mapping[str, Verdict]) -> RenderableType:
    """Show a question with its answers, the code, and the verdicts."""
    parts: list[RenderableType] = [
        Text(asked.question.ask, "bold"),
        Text.assemble(_badge(asked.state(verdicts)), f"  {asked.id}  ", (str(asked.place), _FAINT)),
    ]
    if asked.question.by:
        parts.append(Text(f"asked by {asked.question.by}, {asked.question.asked}", _FAINT))
    for reply, answer in asked.replies:
        if reply.text:
            parts += [Text(""), Markdown(reply.text)]
        if answer:
            for kind, part in answer.parts:
                parts += [Text(""), Markdown(part) if kind == "text" else _code(part)]
            parts += [Text(""), Text(f"{answer.object}  {answer.place}", _FAINT)]
            if (verdict := verdicts.get(answer.id)) and verdict.key == answer.key:
                parts.append(_verdict(verdict))
        if given := ", ".join(str(one) for one in (reply.by, reply.answered) if one):
            parts.append(Text(f"answered: {given}", _FAINT))
    return Group(*parts)


def experiments(library: Library) -> RenderableType:
    """List the experiments, with the outcomes of their claims."""
    table = _table("experiment", "", "last result", "")
    for slug, module in library.experiments.items():
        kept = library.results.get(slug, ())
        outcomes = Counter(finding.outcome for finding, _ in library.findings(slug).values())
        counts = ", ".join(f"{outcomes[outcome]} {outcome}" for outcome in Outcome if outcomes.get(outcome))
        state = "; ".join(
            f"{one.size}, {one.at[:10]}{', stale' if library.is_stale(slug, one) else ''}" for one in kept
        )
        table.add_row(Text(slug), Text(module.summary), Text(state or "none"), Text(counts))
    return table


def result(one: Result) -> RenderableType:
    """Show the result of an experiment: its tables, and the outcome of each claim."""
    parts: list[RenderableType] = []
    for table in one.tables:
        shown = _table(*table.columns)
        for row in table.rows:
            shown.add_row(*(Text(cell(value)) for value in row))
        parts += [Text(table.title, "bold"), shown, *([Text(f"{table.note}\n", _FAINT)] if table.note else [])]
    claims = _table("claim", "outcome", "")
    for finding in one.findings:
        claims.add_row(Text(finding.claim), Text(finding.outcome, _OUTCOMES[finding.outcome]), _measured(finding))
    seeds = f"seed{'s' * (len(one.seeds) != 1)} {', '.join(map(str, one.seeds))}"
    ran = f"{one.seconds:.0f} s on {one.device}; commit {one.commit or 'none'}"
    where = f"{one.experiment}, size {one.size}, {seeds}; {ran}"
    return Group(
        *parts, Text("Claims", "bold"), claims, *([Markdown(one.notes)] if one.notes else []), Text(where, _FAINT)
    )


def _measured(finding: Finding) -> Text:
    """Say what was measured for a claim, and by which rule it was judged."""
    lines = [Text(finding.ran)] if finding.ran else []
    for quantity in finding.quantities:
        lines.append(Text(f"{quantity.title}:"))
        lines += (Text(f"  {arm}: {mean_and_range(values)}") for arm, values in quantity.arms.items())
    lines += [Text(finding.rule, _FAINT)] if finding.rule else []
    for gate in finding.gates:
        lines.append(Text(f"{'met' if gate.is_met else 'not met'}: {gate.needs} {gate.measured}", _FAINT))
    lines += [Text(f"a verdict would take: {finding.needed}", _FAINT)] if finding.needed else []
    return Text("\n").join(lines)


def ran(answer: Answer, verdict: Verdict, transcript: str) -> RenderableType:
    """Show an answer as it ran."""
    title = Text.assemble((answer.id, "bold"), f"  {answer.place}")
    return Group(title, *([_code(transcript.rstrip())] if transcript else []), _verdict(verdict))


def _verdict(verdict: Verdict) -> RenderableType:
    """Show a verdict."""
    versions = " · ".join(f"{name} {version}" for name, version in verdict.versions.items())
    on = f" in {verdict.seconds:.2f} s on {versions}, commit {verdict.commit or 'none'}, {verdict.at}"
    if verdict.passed:
        return Text.assemble(_badge(State.DEMONSTRATED), on)
    return Group(Text.assemble(_badge(State.BROKEN), on), Text(verdict.failure))


def _badge(state: State) -> Text:
    return Text(state.value, _STYLES[state])


def _code(code: str) -> RenderableType:
    return Syntax(code, "pycon", background_color="default", word_wrap=True)


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for name in columns:
        # Names are for copying: they stay whole, and the text beside them is folded.
        table.add_column(name, overflow="fold", no_wrap=bool(name))
    return table
