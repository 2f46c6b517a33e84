"""pytest collects the answers as items named by their questions, and shows a failure as doctest reports it."""

import re

import pytest

pytest_plugins = ["pytester"]

TOY = '''\
"""A toy.

Answers: toy.why
    Prose first.

    >>> from pkg.other import x
    >>> x
    1
"""


def act():
    """Act.

    Answers: toy.scaled-dot-product
        Prose first.

        >>> 1 + 1
        2

        Prose between.

        >>> leaked = 2 + 2
        >>> leaked
        5
    """
'''

OTHER = '''\
"""Another.

Answers: other.what
    >>> leaked
    Traceback (most recent call last):
    NameError: name 'leaked' is not defined
"""

x = 1
'''


@pytest.fixture
def package(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyprojecttoml(
        "[tool.pytest.ini_options]\n"
        'pythonpath = ["."]\naddopts = ["--import-mode=importlib"]\nfilterwarnings = ["error"]\n'
    )
    folder = pytester.mkpydir("pkg")
    (folder / "toy.py").write_text(TOY)
    (folder / "other.py").write_text(OTHER)
    (folder / "plain.py").write_text('"""No answers here."""\n\nraise RuntimeError("imported")\n')
    pytester.makepyfile(script='"""Answers: outside.any\n    >>> package\n"""\nraise RuntimeError("imported")\n')
    return pytester


def run(package: pytest.Pytester, *arguments: str) -> tuple[pytest.RunResult, str]:
    """Run pytest with this plugin alone, which starts fast."""
    result = package.runpytest_subprocess("--disable-plugin-autoload", "-p", "quaere.running.pytest_plugin", *arguments)
    return result, "\n".join(result.outlines)


def test_each_answer_is_an_item_of_its_name_and_ends_by_itself(package: pytest.Pytester) -> None:
    result = package.runpytest_subprocess("-v")  # with the plugin as it was installed
    assert result.parseoutcomes() == {"passed": 2, "failed": 1}
    # pytest shows a dot in a name as it shows classes.
    result.stdout.fnmatch_lines(
        [
            "pkg/other.py::other::what PASSED*",
            "pkg/toy.py::toy::why PASSED*",
            "pkg/toy.py::toy::scaled-dot-product FAILED*",
        ]
    )


def test_items_are_named_by_their_questions_and_chosen_by_a_part_of_them(package: pytest.Pytester) -> None:
    result, report = run(package, "--collect-only", "-q")
    items = ["pkg/other.py::other.what", "pkg/toy.py::toy.why", "pkg/toy.py::toy.scaled-dot-product"]
    assert [line for line in result.outlines if "::" in line] == items
    result, report = run(package, "-q", items[1])
    assert result.parseoutcomes() == {"passed": 1}, report


def test_a_failure_shows_its_place_and_the_report_of_doctest(package: pytest.Pytester) -> None:
    result, report = run(package, "-k", "dot-product")
    assert result.parseoutcomes() == {"failed": 1, "deselected": 2}
    assert re.search(
        r"_{3,} toy\.scaled-dot-product _{3,}\n"
        r"pkg/toy\.py:15:5\n"
        r"\*+\n"
        r"Line 5, in toy\.scaled-dot-product\n"
        r"Failed example:\n    leaked\nExpected:\n    5\nGot:\n    4\n",
        report,
    ), report
    assert "Traceback" not in report


def test_a_module_at_fault_fails_to_be_collected_and_no_other(package: pytest.Pytester) -> None:
    (package.path / "pkg/toy.py").write_text(TOY.replace(">>> leaked = 2 + 2", ">>> leaked = 2 +"))
    result, report = run(package, "--continue-on-collection-errors")
    assert result.parseoutcomes() == {"passed": 1, "errors": 1}
    assert re.search(
        r"_{3,} ERROR collecting pkg/toy.py _{3,}\n"
        r"pkg/toy\.py:23:25: the doctest of `toy\.scaled-dot-product` is not Python: invalid syntax\n"
        r"  hint: paste it into a Python shell\n",
        report,
    ), report
    assert "Traceback" not in report
