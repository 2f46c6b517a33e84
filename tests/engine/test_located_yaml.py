"""YAML is read as plain values, each with the place where a person finds it."""

import dataclasses
import datetime
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from quaere.content import located_yaml
from quaere.errors import CardError, Place

TEXT = """\
title: plain
quoted: "with \\u00e9"
flow: [one, {two: 2}, [three]]
block:
  - first
  -
    second: |
      Several
      lines.
empty:
"""


def read(text: str) -> located_yaml.Document:
    document = located_yaml.read(textwrap.dedent(text).encode(), "card.yml")
    assert not document.faults
    return document


def test_lists_become_tuples_and_nothing_else_changes() -> None:
    assert read(TEXT).value == {
        "title": "plain",
        "quoted": "with é",
        "flow": ("one", {"two": 2}, ("three",)),
        "block": ("first", {"second": "Several\nlines.\n"}),
        "empty": None,
    }


@pytest.mark.parametrize(
    ("path", "line", "column"),
    [
        ((), 1, 1),
        (("title",), 1, 8),
        (("quoted",), 2, 9),
        (("flow",), 3, 7),
        (("flow", 1), 3, 13),
        (("flow", 1, "two"), 3, 19),
        (("flow", 2, 0), 3, 24),
        (("block",), 4, 1),  # a part on later lines stands where its key does
        (("block", 0), 5, 5),
        (("block", 1), 7, 5),
        (("block", 1, "second"), 7, 13),
        (("empty",), 10, 7),
        (("block", 1, "third", 4), 7, 5),  # what is not there stands where the nearest part around it does
    ],
)
def test_each_part_knows_its_place(path: located_yaml.Path, line: int, column: int) -> None:
    assert read(TEXT).place(path) == Place("card.yml", line, column, located_yaml.show(path))


def test_a_path_is_shown_as_json_path_shows_it() -> None:
    assert located_yaml.show(()) == "$"
    assert located_yaml.show(("questions", 1, "answer")) == "$.questions[1].answer"


def test_scalars_are_kept_as_written() -> None:
    document = read("number: 0x1F\ntruth: yes\nday: 2026-01-31\nquoted: 'it''s'\n")
    assert document.value == {"number": 31, "truth": True, "day": datetime.date(2026, 1, 31), "quoted": "it's"}
    assert document.written == {("number",): "0x1F", ("truth",): "yes", ("day",): "2026-01-31", ("quoted",): "it's"}


@pytest.mark.parametrize("written", ["2026-01-31 10:00:00", "2026-01-31T10:00:00Z"])
def test_a_time_of_day_stays_text(written: str) -> None:
    assert read(f"at: {written}").value == {"at": written}


def test_names_that_yaml_gives_a_meaning_are_plain_keys() -> None:
    assert read("<<: 1\n=: 2\n1: 3\nyes: 4\n~: 5\n").value == {"<<": 1, "=": 2, "1": 3, "yes": 4, "~": 5}


def test_of_a_key_that_stands_twice_the_second_counts_with_its_places() -> None:
    document = located_yaml.read(b"a: {b: 1}\na:\n  b: [2]\n", "card.yml")
    assert list(map(str, document.faults)) == [
        "card.yml:2:1: key `a` stands here twice (at $.a)\n  hint: the first stands in line 1: keep one of them"
    ]
    assert document.value == {"a": {"b": (2,)}}
    assert document.place(("a", "b")) == Place("card.yml", 3, 6, "$.a.b")


def test_faults_that_reading_survives_come_together() -> None:
    document = located_yaml.read(b"\xef\xbb\xbfa: 1\r\na: 2026-02-30\r\n", "card.yml")
    assert [fault.problem for fault in document.faults] == [
        "the file starts with a byte-order mark",
        "the line ends with CR LF",
        "key `a` stands here twice",
        "`2026-02-30` is no date",
    ]
    assert document.value == {"a": "2026-02-30"}
    assert document.text == "a: 1\na: 2026-02-30\n"


@pytest.mark.parametrize(("ends", "told"), [("\r\n", "CR LF"), ("\r", "CR")])
def test_lines_are_counted_alike_whatever_ends_them(ends: str, told: str) -> None:
    document = located_yaml.read(f"a: 1{ends}b: |{ends}  text{ends}c: 2".encode(), "card.yml")
    assert [str(fault) for fault in document.faults] == [
        f"card.yml:1:5: the line ends with {told}\n  hint: save the file with LF line ends"
    ]
    assert document.place(("c",)).line == 4
    assert document.text == "a: 1\nb: |\n  text\nc: 2"


@pytest.mark.parametrize("size", [located_yaml.LARGEST, located_yaml.LARGEST + 1])
def test_the_largest_file_is_read_and_a_larger_one_is_not(size: int) -> None:
    data = b"a: " + b"x" * (size - 3)
    if size == located_yaml.LARGEST:
        assert located_yaml.read(data, "card.yml").value == {"a": "x" * (size - 3)}
    else:
        with pytest.raises(CardError, match="may have 1 MB"):
            located_yaml.read(data, "card.yml")


@pytest.mark.parametrize("depth", [located_yaml.DEEPEST, located_yaml.DEEPEST + 1])
def test_the_deepest_nesting_is_read_and_a_deeper_one_is_not(depth: int) -> None:
    data = b"[" * depth + b"1" + b"]" * depth
    if depth == located_yaml.DEEPEST:
        assert located_yaml.read(data, "card.yml").place((0,) * depth).column == depth + 1
    else:
        with pytest.raises(CardError, match="nested more than 20 levels deep"):
            located_yaml.read(data, "card.yml")


def test_a_control_character_is_found_behind_its_escape_too() -> None:
    document = located_yaml.read(b'a: [1, "red \\e[31m"]\n', "card.yml")
    assert list(map(str, document.faults)) == [
        "card.yml:1:8: the control character U+001B is not allowed (at $.a[1])\n  hint: remove it"
    ]


def test_nothing_of_an_alias_bomb_is_built() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 60)]
    with pytest.raises(CardError, match=r"alias \*a0 is not allowed"):
        located_yaml.read("\n".join(lines).encode(), "card.yml")


# Surrogates are no text, and control characters and line ends that only YAML knows may not be in a card.
TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x85\u2028\u2029\ufeff"), max_size=30
).filter(lambda text: not yaml.reader.Reader.NON_PRINTABLE.search(text))
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXTS)
DOCUMENTS = st.dictionaries(
    TEXTS,
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
        max_leaves=12,
    ),
    max_size=6,
)


class Dumper(yaml.SafeDumper):
    """Writes every value out, without anchors."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def frozen(value: Any) -> object:
    if isinstance(value, list):
        return tuple(map(frozen, value))
    return {key: frozen(part) for key, part in value.items()} if isinstance(value, dict) else value


@settings(deadline=None, derandomize=True)
@given(
    value=DOCUMENTS,
    style=st.sampled_from([None, '"', "'", "|", ">"]),
    flow=st.sampled_from([None, True, False]),
    width=st.sampled_from([20, 80, 10_000]),
)
def test_whatever_yaml_writes_is_read_back_and_each_scalar_stands_at_its_place(
    value: dict[str, Any], style: str | None, flow: bool | None, width: int
) -> None:
    text = yaml.dump(
        value, Dumper=Dumper, default_style=style, default_flow_style=flow, width=width, allow_unicode=True
    )
    document = located_yaml.read(text.encode(), "card.yml")
    assert not document.faults
    assert document.value == frozen(value)
    lines = document.text.split("\n")
    for path, written in document.written.items():
        place = document.place(path)
        here = lines[place.line - 1][place.column - 1 :]
        assert here[:1] in ("'", '"', "|", ">", "!") or here.startswith(written.split(" ")[0]), (path, here)


ROOT = Path(__file__).parents[2]


def read_by(loader: Any, data: bytes, monkeypatch: pytest.MonkeyPatch) -> tuple[object, list[str]]:
    """Return what one of PyYAML's parsers makes of a file, and what is wrong with it, as it is printed."""
    monkeypatch.setattr(located_yaml, "_Loader", loader)
    try:
        document = located_yaml.read(data, "card.yml")
    except CardError as error:
        return None, [str(error)]
    return dataclasses.replace(document, faults=[]), list(map(str, document.faults))


@pytest.mark.skipif(not hasattr(yaml, "CSafeLoader"), reason="PyYAML was built without libyaml")
@pytest.mark.parametrize(
    "file",
    [*sorted((ROOT / "papers").glob("*.yml")), *sorted((ROOT / "tests/engine/cards").rglob("*.yml"))],
    ids=lambda file: file.relative_to(ROOT).as_posix(),
)
def test_a_card_is_the_same_whether_or_not_pyyaml_has_libyaml(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = file.read_bytes()
    assert read_by(located_yaml._Pure, data, monkeypatch) == read_by(yaml.CSafeLoader, data, monkeypatch)


SAME = (
    "questions: [{id: why, ask: Why?, asked: 2026-01-31}]",
    "a: {b?: c?d, e: ?f}",
    "a: b\tc \t d # e\nf:\t- g",
    "[a,\tb,\t{c:\td}]",
    "a: b\n  c\t\n  d\n\n  e",
    "a: !\nb: ! 1\nc: ! 'd'",
    "a: \ufeffb",
    "%YAML 1.1\n---\na: 1",
    "# a\n%b\n---\na: 1",
    "a: 'b",
    'a: "\\q"',
    "a: [b\nc: d",
    "a: b: c",
    "a:\n\t- b",
    "- a\nb: c",
    "a: &b c\nd: *b",
    "a: @b",
    "a: `b`",
    "[" * 20_000,
    "{a: " * 20_000,
    "- " * 20_000,
    "".join(f"{' ' * depth}a:\n" for depth in range(200)),
    "a: 1" + ":59" * 5_000,
    "a: 1:59.5\nb: 0x1F\nc: .inf\nd: ~\ne: 2026-01-31 10:00:00",
)


@pytest.mark.skipif(not hasattr(yaml, "CSafeLoader"), reason="PyYAML was built without libyaml")
@pytest.mark.parametrize("text", SAME, ids=lambda text: ascii(text[:40]))
def test_what_the_two_parsers_once_read_differently_is_read_alike(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = text.encode()
    assert read_by(located_yaml._Pure, data, monkeypatch) == read_by(yaml.CSafeLoader, data, monkeypatch)


@pytest.mark.skipif(not hasattr(yaml, "CSafeLoader"), reason="PyYAML was built without libyaml")
@settings(deadline=None, derandomize=True)
@given(value=DOCUMENTS, style=st.sampled_from([None, '"', "'", "|", ">"]), flow=st.sampled_from([None, True, False]))
def test_the_two_parsers_read_alike_whatever_yaml_writes(
    value: dict[str, Any], style: str | None, flow: bool | None
) -> None:
    text = yaml.dump(value, Dumper=Dumper, default_style=style, default_flow_style=flow, width=20, allow_unicode=True)
    with pytest.MonkeyPatch.context() as monkeypatch:
        own = read_by(located_yaml._Pure, text.encode(), monkeypatch)
        assert own == read_by(yaml.CSafeLoader, text.encode(), monkeypatch)


def test_a_number_longer_than_python_reads_is_a_fault_and_a_long_key_ends_reading() -> None:
    for written in ("1" * 5_000, "1" + ":59" * 5_000, "1" + ":59" * 60 + ".5" + "9" * 300, "0x" + "1" * 300):
        document = located_yaml.read(f"a: {written}\n".encode(), "card.yml")
        (fault,) = document.faults
        assert fault.problem.startswith(f"`{written:.60}` is no "), written
    with pytest.raises(CardError, match="a key of 201 characters"):
        located_yaml.read(b"k" * 201 + b": 1", "card.yml")
