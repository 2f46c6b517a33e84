"""Answers as pytest items, named after their questions: `pytest -k scaled-dot-product`."""

from __future__ import annotations

import doctest
import io
from collections.abc import Iterable
from pathlib import Path

import pytest

from quaere.content import answers
from quaere.content.model import Answer
from quaere.errors import AnswerError

_READ = pytest.StashKey[dict[Path, tuple[tuple[Answer, ...], list[AnswerError]]]]()


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect the answers of a module inside a package."""
    if file_path.suffix != ".py" or not (file_path.parent / "__init__.py").exists():
        return None
    try:
        if "Answers: " not in file_path.read_text(encoding="utf-8", errors="replace"):
            return None
    except OSError:
        pass  # reading the answers tells why
    return AnswersFile.from_parent(parent, path=file_path)


class AnswersFile(pytest.File):
    """A module with answers."""

    def collect(self) -> Iterable[pytest.Item]:
        """Yield one item per answer."""
        top = self.path.parent
        while (top.parent / "__init__.py").exists():
            top = top.parent
        read = self.session.stash.setdefault(_READ, {})
        if top not in read:
            found, _, faults = answers.read(top.parent, top.name, {})
            read[top] = found, faults
        file = self.path.relative_to(top.parent).as_posix()
        if own := [fault for fault in read[top][1] if fault.place.file == file]:
            raise self.CollectError("\n".join(map(str, own)))
        for answer in read[top][0]:
            if answer.place.file == file:
                yield AnswerItem.from_parent(self, name=answer.id, answer=answer)


class AnswerFailed(Exception):  # noqa: N818  (pytest shows its text alone)
    """An answer's doctest did not print what it says."""


class AnswerItem(pytest.Item):
    """An answer."""

    def __init__(self, *, answer: Answer, **rest: object) -> None:
        super().__init__(**rest)  # type: ignore[arg-type]  # pytest's own keywords, passed through
        self._answer = answer

    def runtest(self) -> None:
        """Run the doctest with empty globals."""
        globals = {"__name__": "__main__"}
        test = doctest.DocTestParser().get_doctest(self._answer.code, globals, self.name, None, None)
        report = io.StringIO()
        if doctest.DocTestRunner(verbose=False).run(test, out=report.write).failed:
            raise AnswerFailed(report.getvalue())

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        """Show doctest's own report."""
        return f"{self._answer.place}\n{excinfo.value}"

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return the place of the answer."""
        return self.path, self._answer.place.line - 1, self.name
