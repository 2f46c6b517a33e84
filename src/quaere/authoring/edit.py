"""Change one part of a card's YAML and nothing else of its file.

The parser says where the part stands, ruamel.yaml writes the new one, and it takes the old one's place in the text. So
comments, order, quotes and unknown keys stay as they are, whoever wrote them. What comes out is read again: an edit
that would change anything else is refused.
"""

from __future__ import annotations

import datetime
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

from quaere.content import located_yaml
from quaere.content.located_yaml import Path
from quaere.errors import CardError

Value = str | int | float | bool | datetime.date | None | Sequence[Any] | Mapping[str, Any]
"""What a card can hold."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_resolver: Any = yaml.resolver.Resolver()
_COMMENT = re.compile(r"(?:^|\s)(#.*)$")


def put(text: str, path: Path, value: Value, file: str = "") -> str:
    """Return a document with another value at a path.

    Args:
        text: The document.
        path: Keys and indices from its root. Where the last key is missing, it is added behind the others.
        value: The value; of several lines, a text becomes a literal block.
        file: The file, for errors.

    Raises:
        CardError: The path leads nowhere, or the document can't be changed there without changing more.
    """
    return _changed(text, path, file, lambda document: document.put(path, value), lambda data: _put(data, path, value))


def put_first(text: str, key: str, value: Value, file: str = "") -> str:
    """Return a document with a key more, which stands before all others, below the comments at the beginning.

    Raises:
        CardError: The document can't be changed there without changing more.
    """
    return _changed(
        text, (), file, lambda document: document.put_first(key, value), lambda data: _put(data, (key,), value)
    )


def append(text: str, path: Path, value: Value, file: str = "") -> str:
    """Return a document with a value more at the end of the list at a path; a missing list is made.

    Raises:
        CardError: The path leads nowhere, or the document can't be changed there without changing more.
    """

    def appended(data: Any) -> Any:
        return _put(data, path, [*(_get(data, path) or ()), value])

    return _changed(text, path, file, lambda document: document.append(path, value), appended)


def remove(text: str, path: Path, file: str = "") -> str:
    """Return a document without the part at a path; a list or mapping that it leaves empty goes, too.

    Raises:
        CardError: The path leads nowhere, or the document can't be changed there without changing more.
    """
    return _changed(text, path, file, lambda document: document.remove(path), lambda data: _without(data, path))


def fields(text: str) -> dict[str, Any]:
    """Return what a card's text holds, with lists where it has sequences; nothing if it is no mapping."""
    value = plain(located_yaml.read(text.encode(), "").value)
    return value if isinstance(value, dict) else {}


def written(value: Mapping[str, Any]) -> str:
    """Write a whole document."""
    return _block(value, 0) + "\n"


def with_comments(text: str, lost: Iterable[str]) -> str:
    """Return a document with comments more at its end."""
    made = f"{text.rstrip(chr(10))}\n" + "".join(f"{comment}\n" for comment in lost)
    # The line ends of a last text may be a part of it.
    return made if fields(made) == fields(text) else text


def _changed(text: str, path: Path, file: str, change: Callable[[_Text], str], expected: Callable[[Any], Any]) -> str:
    before = located_yaml.read(text.encode(), file)
    try:
        wanted = plain(expected(before.value))
        for source in dict.fromkeys((text, _ended(text))):
            document = _Text(source)
            made = change(document)
            # At the end of a file, the last line of a block needs an end of its own.
            for one in dict.fromkeys((made, made if made.endswith("\n") else f"{made}\n")):
                lost = comments(text) - comments(one)
                is_kept = all(comment in document.gone for comment in lost)
                if is_kept and plain(located_yaml.read(one.encode(), file).value) == wanted:
                    return one
    except (LookupError, TypeError, AttributeError, ValueError, yaml.YAMLError, CardError):
        pass
    problem = "this can't be changed without changing more"
    raise CardError(before.place(path), problem, "change it in an editor")


def _ended(text: str) -> str:
    """Return a document whose last line has an end, which a text in it that has none does not get."""
    node: Any = yaml.compose(text, Loader=_Loader)
    while isinstance(node, yaml.CollectionNode) and node.value:
        node = node.value[-1][1] if isinstance(node, yaml.MappingNode) else node.value[-1]
    if text.endswith("\n") or not isinstance(node, yaml.ScalarNode) or node.style not in ("|", ">"):
        return text
    start = node.start_mark.index
    # As YAML writes that the line's end is no part of it.
    return text[:start] + re.sub(r"^([|>])[+-]?(\d?)[+-]?", r"\1\2-", text[start:]) + "\n"


class _Text:
    """A document with the places of its nodes."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.root: Any = yaml.compose(text, Loader=_Loader)
        self.gone = ""
        """What was removed, with the comments in it."""

    def put(self, path: Path, value: Value) -> str:
        *parents, last = path
        around = self._node(tuple(parents))
        if isinstance(around, yaml.MappingNode):
            for key, node in around.value:
                if key.value == last:
                    return self._replace(around, key, node, value)
            return self._add(around, str(last), value)
        return self._replace_item(around, around.value[last], value)

    def put_first(self, key: str, value: Value) -> str:
        start = self.root.value[0][0].start_mark.index if self.root.value else self.root.start_mark.index + 1
        if self.root.flow_style:
            return self._spliced(start, start, _flow({key: value})[1:-1] + ", " * bool(self.root.value))
        column = self._column(self.root.value[0][0])
        return self._spliced(start, start, f"{_block({key: value}, column)[column:]}\n{' ' * column}")

    def append(self, path: Path, value: Value) -> str:
        try:
            node = self._node(path)
        except KeyError:
            return self.put(path, [value])
        if not isinstance(node, yaml.SequenceNode):
            return self.put(path, [value])  # nothing is written there
        if node.flow_style:
            at = self._end(node.value[-1]) if node.value else node.start_mark.index + 1
            return self._spliced(at, at, (", " if node.value else "") + _flow(value))
        column = node.start_mark.column
        flows = [isinstance(one, yaml.CollectionNode) and one.flow_style for one in node.value]
        line = f"{' ' * column}- {_flow(value)}"
        if not (all(flows) and len(line) <= 120 and "\\n" not in line):
            line = _item(value, column)
        return self._inserted_below(node.value[-1], line)

    def remove(self, path: Path) -> str:
        *parents, last = path
        around = self._node(tuple(parents))
        if len(around.value) == 1 and parents:
            return self.remove(tuple(parents))
        if isinstance(around, yaml.MappingNode):
            index = next(n for n, (key, _) in enumerate(around.value) if key.value == last)
            starts, ends = [key for key, _ in around.value], [node for _, node in around.value]
        else:
            index = int(last)
            starts = ends = around.value
        start, end = starts[index].start_mark.index, self._end(ends[index])
        if around.flow_style:
            if index + 1 < len(starts):
                return self._cut(start, starts[index + 1].start_mark.index)
            return self._cut(self._end(ends[index - 1]) if index else start, end)
        # A block: whole lines, with the comment at the end of the last.
        first = self.text.rfind("\n", 0, start) + 1
        is_item = isinstance(around, yaml.SequenceNode)
        lead = self.text[first:start].lstrip(" ")
        if index == 0 and lead and not (is_item and re.fullmatch("- +", lead)):
            # It stands behind the dash of an item, or of several: the next takes its place.
            after = starts[1].start_mark.index
            if is_item:
                start, after = (self.text.rfind("-", 0, at) for at in (start, after))
            return self._cut(start, after)
        # Comments that stand deeper below it are its own.
        stop = self._line_end(end) + 1
        if deeper := re.match(
            rf"(?:[ \t]*\n)*(?: {{{starts[index].start_mark.column + 1},}}#[^\n]*(?:\n|\Z))+", self.text[stop:]
        ):
            stop += deeper.end()
        return self._cut(first, stop)

    def _node(self, path: Path) -> Any:
        node = self.root
        for part in path:
            if isinstance(node, yaml.MappingNode):
                found = {key.value: value for key, value in node.value}
                node = found[part]
            else:
                node = node.value[part]
        return node

    def _replace(self, around: Any, key: Any, node: Any, value: Value) -> str:
        if around.flow_style:
            if _is_long(value) and self._is_line(around):
                return self._as_block(around, key.value, value)
            return self._spliced(node.start_mark.index, self._end(node), _flow(value))
        column = self._column(key)
        written = _block({key.value: value}, column)[column:]
        colon = re.match(r"[^\n]*?:(?=\s|$)", written)
        return self._rewritten(self._after_colon(key), node, written[colon.end() :] if colon else "")

    def _replace_item(self, around: Any, node: Any, value: Value) -> str:
        if around.flow_style:
            return self._spliced(node.start_mark.index, self._end(node), _flow(value))
        column = around.start_mark.column
        dash = self.text.rfind("-", 0, node.start_mark.index)
        return self._rewritten(dash + 1, node, _item(value, column)[column + 1 :])

    def _rewritten(self, after: int, node: Any, written: str) -> str:
        """Put what is written in the place of a node, from behind its colon or dash on; a comment stays in its line."""
        start, end = node.start_mark.index, self._end(node)
        if not self.text[after:end].strip():
            end = after  # an empty value stands nowhere
        tail = self.text[end : self._line_end(end)]
        if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
            # The comment of a literal block stands behind its sign.
            header = self.text[start : self.text.find("\n", start)]
            tail = found[0] if (found := re.search(r"\s+#.*", header)) else ""
        first, line_break, body = written.partition("\n")
        return self._spliced(after, self._line_end(end), first + tail.rstrip() + line_break + body)

    def _add(self, around: Any, key: str, value: Value) -> str:
        if around.flow_style:
            if _is_long(value) and self._is_line(around):
                return self._as_block(around, key, value)
            at = self._end(around.value[-1][1]) if around.value else around.start_mark.index + 1
            return self._spliced(at, at, (", " if around.value else "") + _flow({key: value})[1:-1])
        last_key, last = around.value[-1]
        line = _block({key: value}, self._column(last_key))
        if not last.value and isinstance(last, yaml.ScalarNode):
            at = self._line_end(max(self._after_colon(last_key), self._end(last)))
            return self._spliced(at, at, f"\n{line}")
        return self._inserted_below(last, line)

    def _is_line(self, around: Any) -> bool:
        """Tell whether braces are alone in their line, behind a key or a dash: no others around, no comment inside."""
        start, end = around.start_mark.index, around.end_mark.index
        tail = self.text[end : self._line_end(end)]
        before = self.text[self.text.rfind("\n", 0, start) + 1 : start]
        is_alone = not tail.strip() or tail.lstrip().startswith("#")
        return is_alone and "#" not in self.text[start:end] and not re.search(r"[\[{]", before)

    def _as_block(self, around: Any, key: str, value: Value) -> str:
        """Write a mapping in braces on lines of its own, with a value of several lines."""
        held = {name.value: located_yaml.read(self._of(node).encode(), "").value for name, node in around.value}
        held[key] = value
        start, column = around.start_mark.index, around.start_mark.column
        lead = self.text[self.text.rfind("\n", 0, start) + 1 : start]
        if lead.strip(" -"):  # behind a key
            column = len(lead) - len(lead.lstrip(" ")) + 2
            written = "\n" + _block(held, column)
            start = self.text.rfind(":", 0, start) + 1
        else:
            written = _block(held, column)[column:]
        stop = self._line_end(around.end_mark.index)
        first, line_break, body = written.partition("\n")
        return self._spliced(start, stop, first + self.text[around.end_mark.index : stop] + line_break + body)

    def _of(self, node: Any) -> str:
        return self.text[node.start_mark.index : self._end(node)]

    def _column(self, key: Any) -> int:
        return int(key.start_mark.column)

    def _after_colon(self, key: Any) -> int:
        return self.text.index(":", key.end_mark.index) + 1

    def _end(self, node: Any) -> int:
        """Return where a node ends, without what follows it."""
        if isinstance(node, yaml.ScalarNode):
            end = int(node.end_mark.index)
            if node.style in ("|", ">"):
                kept = self.text[node.start_mark.index : end]
                return int(node.start_mark.index) + len(kept.rstrip("\n ")) if kept.strip() else end
            return end
        if node.flow_style or not node.value:
            return int(node.end_mark.index)
        last = node.value[-1]
        end = self._end(last[1] if isinstance(last, tuple) else last)
        return max(end, self._after_colon(last[0])) if isinstance(last, tuple) else end

    def _line_end(self, at: int) -> int:
        found = self.text.find("\n", at)
        return len(self.text) if found < 0 else found

    def _inserted_below(self, node: Any, lines: str) -> str:
        at = self._line_end(self._end(node))
        return self._spliced(at, at, f"\n{lines}")

    def _cut(self, start: int, end: int) -> str:
        self.gone = self.text[start:end]
        return self._spliced(start, end, "")

    def _spliced(self, start: int, end: int, new: str) -> str:
        return self.text[:start] + new + self.text[end:]


def _is_long(value: Value) -> bool:
    return isinstance(value, str) and "\n" in value.rstrip("\n")


def _block(value: Mapping[str, Any], column: int) -> str:
    """Write a mapping on lines of its own, indented, without the last line's end."""
    return _indented(_dumped(_prepared(value, is_flow=False)), column)


def _item(value: Value, column: int) -> str:
    """Write an item of a list on lines of its own, with its dash."""
    return _indented(_dumped(CommentedSeq([_prepared(value, is_flow=False)])), column)


def _indented(text: str, column: int) -> str:
    return "\n".join(" " * column + line if line else line for line in text.rstrip("\n").split("\n"))


def _flow(value: Value) -> str:
    """Write a value in one line."""
    prepared = _prepared(value, is_flow=True)
    # A pair in a list would lose its braces.
    return _dumped(prepared, flow=True).strip() if isinstance(value, Mapping) else _dumped([prepared], flow=True)[1:-2]


def _dumped(value: Any, *, flow: bool = False) -> str:
    writer = YAML()
    writer.width = 10**9
    writer.indent(mapping=2, sequence=4, offset=2) if not isinstance(value, list) else writer.indent(2, 2, 0)
    writer.allow_unicode = True
    writer.default_flow_style = flow
    stream = io.StringIO()
    writer.dump(value, stream)
    return stream.getvalue()


def _prepared(value: Any, *, is_flow: bool) -> Any:
    """Return a value whose texts ruamel.yaml, which writes YAML 1.2, writes so that YAML 1.1 reads them, too."""
    if isinstance(value, Mapping):
        return {str(key): _prepared(part, is_flow=is_flow) for key, part in value.items()}
    if isinstance(value, str):
        if not is_flow and "\n" in value and _can_be_literal(value):
            return LiteralScalarString(value)
        is_text = _resolver.resolve(yaml.ScalarNode, value, (True, False)) == "tag:yaml.org,2002:str"
        # What begins with a sign may be one of YAML's.
        return value if is_text and value[0].isalnum() and "\n" not in value else DoubleQuotedScalarString(value)
    if isinstance(value, Sequence):
        items = CommentedSeq(_prepared(part, is_flow=is_flow) for part in value)
        if not any(isinstance(part, Mapping | list | LiteralScalarString) for part in items):
            items.fa.set_flow_style()  # a list of words is a line
        return items
    # A date that stands twice would become an anchor and an alias.
    return value.replace() if isinstance(value, datetime.date) else value


def _can_be_literal(text: str) -> bool:
    return not re.search(r"[^\S\n]\n|[^\S\n]\Z|\t", text) and bool(text.strip()) and not text[0].isspace()


def comments(text: str) -> Counter[str]:
    """Return the comments of a document: what follows a hash outside of all scalars."""
    outside = list(text)
    nodes: list[Any] = [yaml.compose(text, Loader=_Loader)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, yaml.ScalarNode):
            start = node.start_mark.index
            if node.style in ("|", ">"):
                start = text.find("\n", start)  # a comment may stand behind the sign
            outside[start : node.end_mark.index] = re.sub(r"[^\n]", " ", text[start : node.end_mark.index])
        else:
            nodes += [part for pair in node.value for part in (pair if isinstance(pair, tuple) else (pair,))]
    return Counter(found[1].rstrip() for line in "".join(outside).split("\n") if (found := _COMMENT.search(line)))


def plain(value: Any) -> Any:
    """Return a value with dicts and lists where it has other mappings and sequences."""
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(part) for part in value]
    return value


def _get(data: Any, path: Path) -> Any:
    for part in path:
        if isinstance(data, Mapping) and part not in data:
            return None
        data = data[part]
    return data


def _put(data: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    first, rest = path[0], path[1:]
    if isinstance(data, Mapping):
        if rest and first not in data:
            raise KeyError(first)
        return {**data, first: _put(data.get(first), rest, value)}
    return [*data[:first], _put(data[first], rest, value), *data[int(first) + 1 :]]


def _without(data: Any, path: Path) -> Any:
    first, rest = path[0], path[1:]
    inner = _without(data[first], rest) if rest else None
    if rest and inner:
        return _put(data, (first,), inner)
    if isinstance(data, Mapping):
        return {key: part for key, part in data.items() if key != first}
    return [part for index, part in enumerate(data) if index != first]
