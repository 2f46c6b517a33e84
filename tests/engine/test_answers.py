"""Answers are read out of docstrings without importing them, and their keys change when what they reach does."""

import sys
from pathlib import Path

import griffe
import pytest

from quaere.content import answers
from quaere.content.model import Answer


def read(root: Path, files: dict[str, str], **versions: str) -> dict[str, Answer]:
    """Write a package and read its answers, which must be sound."""
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    found, _, faults = answers.read(root, "pkg", versions)
    assert not faults, "\n".join(map(str, faults))
    assert len({answer.id for answer in found}) == len(found)
    return {answer.id: answer for answer in found}


def answering(id: str, code: str) -> str:
    """Write a docstring with an answer."""
    lines = "".join(f"    {line}\n" for line in code.split("\n"))
    return f'r"""A module.\n\nAnswers: {id}\n    Prose.\n\n{lines}"""\n'


WHERE = '''\
"""A module.

Answers: toy.module
    >>> 1
    1
"""


def act():
    """Act.

    Args: none.

    Answers: toy.function
        First $x$.

        >>> 2
        2

        Then:

        - a list
        - of two

        >>> 3
        3
    """


class Toy:
    """A toy.

    Answers: toy.class
        >>> 4
        4

    Answers: toy.second
        >>> 5
        5
    """

    def play(self):
        """Play.

        Returns:
            Nothing.

        Answers: toy.method
            >>> 6  # doctest: +ELLIPSIS
            6
        """
'''


def test_answers_are_found_wherever_a_docstring_stands(tmp_path: Path) -> None:
    found = read(tmp_path, {"pkg/__init__.py": "", "pkg/toy.py": WHERE})
    assert [(one.id, one.object, one.place.column) for one in found.values()] == [
        ("toy.module", "pkg.toy", 1),
        ("toy.function", "pkg.toy.act", 5),
        ("toy.class", "pkg.toy.Toy", 5),
        ("toy.second", "pkg.toy.Toy", 5),
        ("toy.method", "pkg.toy.Toy.play", 9),
    ]
    lines = WHERE.split("\n")
    assert [lines[one.place.line - 1].strip() for one in found.values()] == [f"Answers: {id}" for id in found]
    assert {(one.module, one.place.file) for one in found.values()} == {("pkg.toy", "pkg/toy.py")}
    assert found["toy.function"].parts == (
        ("text", "First $x$."),
        ("code", ">>> 2\n2"),
        ("text", "Then:\n\n- a list\n- of two"),
        ("code", ">>> 3\n3"),
    )
    assert found["toy.method"].code == ">>> 6  # doctest: +ELLIPSIS\n6", "directives are part of the code"


def test_modules_come_with_the_first_line_of_their_docstring(tmp_path: Path) -> None:
    read(
        tmp_path,
        {"pkg/__init__.py": '"""The whole.\n\nMore."""\n', "pkg/sub/__init__.py": "", "pkg/sub/part.py": "x = 1\n"},
    )
    _, modules, _ = answers.read(tmp_path, "pkg", {})
    assert [(one.name, one.file, one.summary) for one in modules] == [
        ("pkg", "pkg/__init__.py", "The whole."),
        ("pkg.sub", "pkg/sub/__init__.py", ""),
        ("pkg.sub.part", "pkg/sub/part.py", ""),
    ]


def test_nothing_is_imported_or_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    code = f"open({str(marker)!r}, 'w')\n"
    read(tmp_path, {"pkg/__init__.py": code, "pkg/toy.py": answering("toy.why", f">>> {code}") + code})
    assert not marker.exists()
    assert "pkg" not in sys.modules


def test_a_missing_package_holds_nothing(tmp_path: Path) -> None:
    assert answers.read(tmp_path, "pkg", {}) == ((), (), [])


@pytest.mark.parametrize("mark", ["\ufeff", "# A comment.\n\x0c\n"], ids=["byte-order mark", "form feed"])
def test_lines_are_counted_as_python_counts_them(tmp_path: Path, mark: str) -> None:
    text = mark + "\n" + answering("toy.why", ">>> 1\n1")
    found = read(tmp_path, {"pkg/toy.py": text})
    assert text.split("\n")[found["toy.why"].place.line - 1] == "Answers: toy.why"


def test_a_header_hidden_by_an_escape_is_a_fault_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg/toy.py").write_text(
        'def act():\n    """Act.\n\\nAnswers: toy.why\n        >>> 1\n        1\n    """\n'
    )
    _, _, faults = answers.read(tmp_path, "pkg", {})
    assert [(fault.place.line, fault.problem) for fault in faults] == [
        (4, "no answer holds this example, so nobody runs it")
    ]


# Keys

LATE = """\
class Late:
    async def act(self):
        try:
            pass
        except ValueError:
            with self:
                match self:
                    case 1:
                        for _ in self:
                            pass
                        else:
                            while self:
                                import pkg.layer
        finally:
            if self:
                pass
            elif self:
                import pkg.lone
"""

PACKAGE = {
    "pkg/__init__.py": '"""The package."""\n',
    "pkg/layer.py": "from pkg.deep import core\n",
    "pkg/relative.py": "from . import lone\nfrom .deep.core import x\n",
    "pkg/late.py": LATE,
    "pkg/lone.py": "x = 1\n",
    "pkg/ring.py": "import pkg.ring2\n",
    "pkg/ring2.py": "import pkg.ring\n",
    "pkg/deep/__init__.py": "from .other import y\n",
    "pkg/deep/core.py": "x = 1\n",
    "pkg/deep/other.py": "y = 1\n",
    "pkg/toy.py": "\n\n".join(
        f'def f{number}():\n    """Act.\n\n    Answers: toy.{id}\n        >>> {code}\n    """\n'
        for number, (id, code) in enumerate(
            {
                "nothing": "import math",
                "layer": "import pkg.layer",
                "relative": "from pkg import relative",
                "late": "from pkg.late import act",
                "ring": "import pkg.ring as r",
                "star": "from pkg.deep.core import *",
                "own": "from pkg.toy import f0",
                "inner": "def act():\n        ...     import pkg.lone",
            }.items()
        )
    ),
}
REACHED = {
    "nothing": set(),
    "layer": {"", ".layer", ".deep", ".deep.core", ".deep.other"},
    "relative": {"", ".relative", ".lone", ".deep", ".deep.core", ".deep.other"},
    "late": {"", ".late", ".lone", ".layer", ".deep", ".deep.core", ".deep.other"},
    "ring": {"", ".ring", ".ring2"},
    "star": {"", ".deep", ".deep.core", ".deep.other"},
    "own": {"", ".toy"},
    "inner": {"", ".lone"},
}


def test_an_answer_reaches_what_it_imports_however_indirectly(tmp_path: Path) -> None:
    found = read(tmp_path, PACKAGE)
    assert {id.removeprefix("toy."): set(one.imports) for id, one in found.items()} == {
        id: {f"pkg{name}" for name in names} for id, names in REACHED.items()
    }


@pytest.mark.parametrize("edited", [path for path in PACKAGE if path != "pkg/toy.py"])
def test_an_edited_line_changes_the_keys_of_the_answers_that_reach_it_and_no_others(
    tmp_path: Path, edited: str
) -> None:
    before = read(tmp_path, PACKAGE)
    after = read(tmp_path, {edited: PACKAGE[edited] + "# edited\n"})
    module = edited.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    changed = {id for id in before if before[id].key != after[id].key}
    assert changed == {f"toy.{id}" for id, names in REACHED.items() if module.removeprefix("pkg") in names}
    assert changed, "no answer reaches this file: the case shows nothing"


def test_what_others_import_orders_the_imports_of_an_answer_and_leaves_its_key(tmp_path: Path) -> None:
    files = {
        "pkg/__init__.py": "",
        "pkg/a.py": "",
        "pkg/z.py": "",
        "pkg/toy.py": answering("toy.why", ">>> import pkg.a, pkg.z"),
    }
    before = read(tmp_path, files)["toy.why"]
    after = read(tmp_path, {"pkg/more.py": "import pkg.z\n"})["toy.why"]
    assert (before.imports, after.imports) == (("pkg", "pkg.a", "pkg.z"), ("pkg", "pkg.z", "pkg.a"))
    assert before.key == after.key


def test_an_edited_docstring_changes_the_key_of_its_own_answer_if_that_does_not_import_the_module(
    tmp_path: Path,
) -> None:
    before = read(tmp_path, PACKAGE)
    text = PACKAGE["pkg/toy.py"].replace("import math", "import cmath")
    after = read(tmp_path, {"pkg/toy.py": text})
    assert {id for id in before if before[id].key != after[id].key} == {"toy.nothing", "toy.own"}


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("Prose.", "Other prose.", False),
        (">>> 1", ">>> 1 + 0", True),
        ("    1\n", "    2\n", True),
        (">>> 1\n", ">>> 1  # doctest: +ELLIPSIS\n", True),
        ('"""\n', '"""\n\n\nx = 1\n', False),
    ],
)
def test_the_key_of_an_answer_is_made_of_its_doctest(tmp_path: Path, old: str, new: str, changes: bool) -> None:
    text = answering("toy.why", ">>> 1\n1")
    before = read(tmp_path, {"pkg/toy.py": text})["toy.why"].key
    after = read(tmp_path, {"pkg/toy.py": new.join(text.rsplit(old, 1))})["toy.why"].key
    assert (before != after) is changes


def test_another_version_changes_all_keys_and_the_order_of_versions_none(tmp_path: Path) -> None:
    keys = {id: one.key for id, one in read(tmp_path, PACKAGE, python="3.11", torch="2.8").items()}
    assert keys == {id: one.key for id, one in read(tmp_path, {}, torch="2.8", python="3.11").items()}
    for versions in ({"python": "3.12", "torch": "2.8"}, {"python": "3.11", "torch": "2.9"}, {"python": "3.11"}):
        other = read(tmp_path, {}, **versions)
        assert all(other[id].key != key for id, key in keys.items())


def test_a_module_that_is_no_python_still_counts_as_reached(tmp_path: Path) -> None:
    files = {"pkg/toy.py": answering("toy.why", ">>> import pkg.broken"), "pkg/broken.py": "def act(:\n"}
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    (before,), modules, faults = answers.read(tmp_path, "pkg", {})
    assert [one.name for one in modules] == ["pkg.broken", "pkg.toy"]
    assert len(faults) == 1
    (tmp_path / "pkg/broken.py").write_text("def act():\n    pass\n")
    (after,), _, faults = answers.read(tmp_path, "pkg", {})
    assert not faults
    assert before.imports == after.imports == ("pkg.broken",)
    assert before.key != after.key


# The API pages' door


def test_the_extension_leaves_a_link_to_the_question_in_the_place_of_an_answer(tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text(WHERE)
    extensions = griffe.load_extensions(answers.AnswersExtension())
    module = griffe.load("toy", search_paths=[tmp_path], extensions=extensions)
    assert isinstance(module, griffe.Module)
    for name, question in (("act", "function"), ("Toy", "class")):
        docstring = module[name].docstring
        assert docstring.value.count(f"*Answers* [[toy.{question}]]") == 1
        assert ">>>" not in docstring.value
    kinds = {section.kind for section in module["act"].docstring.parse("google")}
    assert kinds == {griffe.DocstringSectionKind.text}, "what is left is read as prose"


def test_what_stands_around_an_answer_stays(tmp_path: Path) -> None:
    answers_ = "Answers: toy.one\n    Prose.\n\n    >>> 1\n    1\n\nAnswers: toy.two\n    >>> 2\n    2\n"
    (tmp_path / "toy.py").write_text(f'"""Toy.\n\nBefore.\n\n{answers_}\nReturns:\n    It.\n"""\n')
    module = griffe.load("toy", search_paths=[tmp_path], extensions=griffe.load_extensions(answers.AnswersExtension()))
    assert module.docstring
    lines = [line for line in module.docstring.value.split("\n") if line]
    assert lines == ["Toy.", "Before.", "*Answers* [[toy.one]]", "*Answers* [[toy.two]]", "Returns:", "    It."]


APART = '''\
"""A module."""

import os


class Net:
    """A net.

    Asked: toy.depth, toy.width
    """

    def forward(self):
        """Run it.

        Answers: toy.short
            >>> 1
            1
        """


# Answers


def depth():
    """
    Answers: toy.depth
        Deep.

        >>> from pkg import Net
        >>> Net().__class__.__name__
        'Net'
    """


def width():
    r"""
    Answers: toy.width
        >>> 2
        2

        So $\\alpha$.
    """
'''


def test_an_answer_may_stand_apart_from_what_it_is_about(tmp_path: Path) -> None:
    found = read(tmp_path, {"pkg/__init__.py": APART})
    assert {id: (one.object, one.place.line) for id, one in found.items()} == {
        "toy.depth": ("pkg.Net", 26),
        "toy.short": ("pkg.Net.forward", 15),
        "toy.width": ("pkg.Net", 37),
    }
    assert (found["toy.depth"].prose, found["toy.width"].code) == ("Deep.", ">>> 2\n2")
    assert found["toy.depth"].imports == ("pkg",)


def test_an_answer_apart_that_no_docstring_names_is_about_its_module(tmp_path: Path) -> None:
    # A page of the module has no place for the function.
    found = read(tmp_path, {"pkg/__init__.py": APART.replace("Asked: toy.depth, toy.width", "A net.")})
    assert {id: one.object for id, one in found.items()} == {
        "toy.depth": "pkg",
        "toy.short": "pkg.Net.forward",
        "toy.width": "pkg",
    }


def test_what_stands_apart_is_no_code_of_its_module(tmp_path: Path) -> None:
    def key(text: str) -> str:
        (tmp_path / "pkg").mkdir(exist_ok=True)
        (tmp_path / "pkg/__init__.py").write_text(text, encoding="utf-8")
        return answers.read(tmp_path, "pkg", {})[1][0].key

    without = APART[: APART.index("# Answers")]
    assert key(APART) == key(without)
    assert key(APART + "\n\ndef run():\n    return 1\n") != key(without)


def test_an_answer_that_is_asked_for_and_missing_is_named_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg/__init__.py").write_text(APART.replace("Asked: toy.depth", "Asked: toy.dept"), encoding="utf-8")
    (fault,) = answers.read(tmp_path, "pkg", {})[2]
    assert str(fault).splitlines() == [
        "pkg/__init__.py:9:12: no answer `toy.dept` in this module",
        "  hint: did you mean `toy.depth` or `toy.width`?",
    ]


def test_an_answer_is_asked_for_in_vain_in_a_module_without_any(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg/__init__.py").write_text('"""A module.\n\nAsked: toy.depth\n"""\n', encoding="utf-8")
    (fault,) = answers.read(tmp_path, "pkg", {})[2]
    assert str(fault).startswith("pkg/__init__.py:3:8: no answer `toy.depth` in this module")


def test_the_extension_leaves_out_what_stands_apart_and_nothing_that_does_something(tmp_path: Path) -> None:
    acting = APART.split("# Answers")[1].split("def width")[0].replace("depth", "act") + "    return 1\n"
    read(tmp_path, {"pkg/__init__.py": APART + acting})
    extensions = griffe.load_extensions(answers.AnswersExtension)
    module = griffe.load("pkg", search_paths=[tmp_path], extensions=extensions)
    assert list(module.members) == ["os", "Net", "act"]
    assert module["Net"].docstring.value == "A net.\n\n\n*Answers* [[toy.depth]]\n\n*Answers* [[toy.width]]\n"
