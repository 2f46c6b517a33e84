"""A copied doctest, in the three places where one pastes it: a file, Python's shell, a cell of a notebook."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from quaere.pages import scripts

DOCTESTS = {
    "a statement": (">>> x = 1\n>>> x\n1\n", "x = 1\nx\n# 1\n"),
    "a block": (
        ">>> def double(x):\n...     y = x\n...\n...     return 2 * y\n>>> double(2)\n4\n",
        "def double(x):\n    y = x\n    return 2 * y\n\ndouble(2)\n# 4\n",
    ),
    "a block on one line": (">>> for x in (1, 2): print(x)\n1\n2\n", "for x in (1, 2): print(x)\n\n# 1\n# 2\n"),
    "a block with a decorator": (
        ">>> from functools import cache\n>>> @cache\n... def f(): return 1\n>>> f()\n1\n",
        "from functools import cache\n@cache\ndef f(): return 1\n\nf()\n# 1\n",
    ),
    "a choice": (
        ">>> x = 1\n>>> match x:\n...     case 1: y = 2\n>>> y\n2\n",
        "x = 1\nmatch x:\n    case 1: y = 2\n\ny\n# 2\n",
    ),
    "a string of several lines": (
        ">>> text = '''a\n...\n... b'''\n>>> text\n'a\\n\\nb'\n",
        "text = '''a\n\nb'''\ntext\n# 'a\\n\\nb'\n",
    ),
    "separators in a string": (">>> len('a\x0c\x0cb\u2028\u2028c')\n7\n", "len('a\x0c\x0cb\u2028\u2028c')\n# 7\n"),
    "brackets over several lines": (">>> (1 +\n...     2)\n3\n", "(1 +\n    2)\n# 3\n"),
    "an exception": (
        ">>> int('x')\nTraceback (most recent call last):\n    ...\nValueError: invalid\n",
        "try:\n    int('x')\nexcept Exception as error:\n    print(f'{type(error).__name__}: {error}')\n\n"
        "# ValueError: invalid\n",
    ),
    "flags": (">>> [1, 2]  # doctest: +ELLIPSIS\n[1...\n", "[1, 2]\n# [1...\n"),
    "an empty line that is shown": (">>> print('a', '', 'b', sep='\\n')\na\n<BLANKLINE>\nb\n", None),
}


@pytest.mark.parametrize("name", DOCTESTS)
def test_a_script_is_the_code_with_what_it_shows_below(name: str) -> None:
    code, script = DOCTESTS[name]
    assert script is None or scripts.script(code) == script


@pytest.mark.parametrize("name", DOCTESTS)
@pytest.mark.parametrize("shell", [True, False])
def test_a_script_runs_in_a_file_and_in_the_shell(name: str, shell: bool, tmp_path: Path) -> None:
    text = scripts.script(DOCTESTS[name][0])
    if shell:
        done = subprocess.run([sys.executable, "-i", "-q"], input=text, text=True, capture_output=True, check=False)
        assert "Error" not in done.stderr.replace("except Exception", "")
    else:
        (tmp_path / "script.py").write_text(text)
        done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_doctest_that_is_copied_with_its_empty_lines_is_what_the_shell_wants() -> None:
    code = ">>> def f():\n...     return 1\n>>> f()\n1\n>>> for x in (1,): x\n1\n"
    assert scripts.block_ends(code) == {1, 4}


def test_the_commands_get_the_repository_and_what_the_answer_needs() -> None:
    assert scripts.command("toy.one", "https://host/me/it.git", "make dev") == (
        "git clone https://host/me/it.git\ncd it\nmake dev\nquaere verify toy.one\n"
    )
    assert scripts.command("toy.one", "", "make dev") == "quaere verify toy.one\n"


def test_every_script_is_python() -> None:
    for code, _ in DOCTESTS.values():
        ast.parse(scripts.script(code))
