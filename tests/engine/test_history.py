"""What git tells of a knowledge base: by real commits, in clones, and where there is nothing to tell."""

import datetime
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from quaere.cache import Cache
from quaere.content import history
from quaere.content.history import History
from quaere.pages import feeds
from tests.engine.conftest import SOUND, Base

CARD = SOUND["papers/toy.yml"]
ANSWER = '''"""A module."""


def answer():
    """Answer.

    Answers: toy.why
        Because.

        >>> 1 + 1
        2
    """
'''


class Repository:
    """A knowledge base under git; commit number n is n days after the first of January."""

    def __init__(self, base: Base) -> None:
        self.base = base
        self.number = 0
        base.write({".gitignore": ".quaere\n"})
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str, cwd: Path | None = None) -> str:
        at = f"{1767225600 + 86400 * self.number} +0100"
        names = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        environment = {**os.environ, **names, "GIT_AUTHOR_DATE": "2001-01-01T00:00Z", "GIT_COMMITTER_DATE": at}
        environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        command = ["git", *arguments]
        folder = cwd or self.base.root
        return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout

    def commit(self, files: dict[str, str] | None = None) -> None:
        self.base.write(files or {})
        self.number += 1
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "x")

    def read(self) -> History:
        return history.read(self.base.root, self.base.library(), lambda source, make: make())


@pytest.fixture
def repository(base: Base) -> Repository:
    return Repository(base)


def day(number: int) -> datetime.datetime:
    return datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(days=number)


def told(found: History) -> dict[str, dict[str, int]]:
    start = day(0)
    spans = {path: (span.added, span.changed) for path, span in found.files.items()}
    return {
        "added": {path: (added - start).days for path, (added, _) in spans.items()},
        "changed": {path: (changed - start).days for path, (_, changed) in spans.items()},
        "prose": {id: (at - start).days for id, at in found.prose.items()},
        "code": {id: (at - start).days for id, at in found.code.items()},
    }


def test_a_card_and_its_answers_have_the_dates_of_the_first_commits_that_hold_them(repository: Repository) -> None:
    repository.commit({"papers/toy.yml": CARD.replace(", answer: By hand.", "")})
    repository.commit({"papers/toy.yml": CARD})
    repository.commit({"reference_impl/house.py": ANSWER, "docs/a.md": "# A\n"})
    repository.commit({"papers/toy.yml": CARD.replace("By hand.", "By a hand.")})
    # In another module, and reworded.
    (repository.base.root / "reference_impl/house.py").unlink()
    repository.commit({"reference_impl/home.py": ANSWER.replace("Because", "So")})
    found = told(repository.read())
    assert found["added"].items() >= {"papers/toy.yml": 1, "docs/a.md": 3, "reference_impl/home.py": 5}.items()
    assert found["changed"].items() >= {"papers/toy.yml": 4, "docs/a.md": 3}.items()
    assert (found["prose"], found["code"]) == ({"toy.how": 2}, {"toy.why": 3})


def test_renaming_changes_no_date_and_no_id(repository: Repository) -> None:
    def told_by_feeds() -> list[tuple[str, ...]]:
        view = repository.base.project.view(repository.base.library(), repo="https://example.org/toys")
        text = next(output.data(view).decode() for output in feeds.outputs(view) if output.path == "feeds/all.xml")
        return sorted(re.findall("<(?:id|updated|published)>(.*?)</", text))

    repository.commit({"papers/toy.yml": CARD.replace(", answer: By hand.", ""), "reference_impl/house.py": ANSWER})
    repository.commit({"papers/toy.yml": CARD})
    before, ids = told(repository.read()), told_by_feeds()
    renamed = CARD.replace("id: how,", "id: by-what, formerly: [how],") + "formerly: [toy]\n"
    (repository.base.root / "papers/toy.yml").unlink()
    repository.commit({"papers/game.yml": renamed, "reference_impl/house.py": ANSWER.replace("toy.why", "game.why")})
    after = told(repository.read())
    assert (after["added"]["papers/game.yml"], after["changed"]["papers/game.yml"]) == (1, 3)
    assert (after["prose"], after["code"]) == ({"game.by-what": 2}, {"game.why": 1})
    assert (before["prose"], before["code"]) == ({"toy.how": 2}, {"toy.why": 1})
    assert told_by_feeds() == ids


def test_what_is_not_committed_has_no_date(repository: Repository) -> None:
    repository.commit({"papers/toy.yml": CARD.replace(", answer: By hand.", "")})
    repository.base.write({"papers/toy.yml": CARD, "reference_impl/house.py": ANSWER, "docs/a.md": "# A\n"})
    found = told(repository.read())
    assert (found["prose"], found["code"]) == ({}, {})
    assert "docs/a.md" not in found["added"]


def test_an_answer_of_a_card_with_one_version_is_as_old_as_the_card(repository: Repository) -> None:
    repository.commit()
    assert told(repository.read())["prose"] == {"toy.how": 1}


def test_of_two_branches_the_earlier_counts(repository: Repository) -> None:
    repository.commit({"papers/toy.yml": CARD.replace(", answer: By hand.", "")})
    repository.git("switch", "-q", "-c", "side")
    repository.commit({"papers/toy.yml": CARD})
    repository.git("switch", "-q", "main")
    repository.commit({"docs/a.md": "# A\n"})
    repository.git("merge", "-q", "--no-edit", "side")
    assert told(repository.read())["prose"] == {"toy.how": 2}


def test_without_git_and_in_a_shallow_clone_nothing_is_known(
    repository: Repository, base: Base, tmp_path: Path
) -> None:
    # Before the first commit.
    assert repository.read() == History()
    repository.commit()
    repository.commit({"docs/a.md": "# A\n"})
    repository.git("clone", "-q", "--depth=1", f"file://{base.root}", str(tmp_path / "shallow"))
    repository.git("clone", "-q", f"file://{base.root}", str(tmp_path / "whole"))
    library = base.library()
    assert history.read(tmp_path / "shallow", library, lambda source, make: make()) == History()
    assert history.read(tmp_path / "whole", library, lambda source, make: make()) == repository.read()
    (base.root / ".git").rename(tmp_path / "git")
    assert repository.read() == History()


def test_a_clone_without_former_versions_fetches_nothing(repository: Repository, base: Base, tmp_path: Path) -> None:
    repository.commit({"papers/toy.yml": CARD.replace(", answer: By hand.", "")})
    repository.commit({"papers/toy.yml": CARD})
    repository.git("config", "uploadpack.allowFilter", "true")
    repository.git("clone", "-q", "--filter=blob:none", f"file://{base.root}", str(tmp_path / "partial"))
    found = told(history.read(tmp_path / "partial", base.library(), lambda source, make: make()))
    assert found["changed"]["papers/toy.yml"] == 2
    assert found["prose"] == {}
    missing = repository.git("rev-list", "--objects", "--all", "--missing=print", cwd=tmp_path / "partial")
    assert "?" in missing


def test_a_folder_inside_a_repository_has_paths_of_its_own(make_base: Callable[[str], Base], tmp_path: Path) -> None:
    inner = make_base("outer/inner")
    outer = Repository(Base(tmp_path / "outer"))
    outer.commit()
    found = history.read(inner.root, inner.library(), lambda source, make: make())
    assert told(found)["added"].keys() >= {"papers/toy.yml"}
    assert told(found)["prose"] == {"toy.how": 1}


def test_what_is_kept_of_an_earlier_commit_is_completed(repository: Repository, tmp_path: Path) -> None:
    kept = Cache(tmp_path / "cache")
    asked: list[bool] = []

    def get(source: bytes, make: Callable[[], str]) -> str:
        def made() -> str:
            text = make()
            asked.append(True)
            return text

        return kept.get(source, made)

    def read() -> History:
        return history.read(repository.base.root, repository.base.library(), get)

    repository.commit()
    read()
    for number in range(3):
        repository.commit({f"docs/{number}.md": "# A\n"})
    repository.git("switch", "-q", "-c", "side", "HEAD~2")
    repository.commit({"papers/toy.yml": CARD.replace("By hand.", "By a hand.")})
    repository.git("switch", "-q", "main")
    repository.git("merge", "-q", "--no-edit", "side")
    assert read() == repository.read()
    asked.clear()
    assert read() == repository.read()
    assert asked == []


def test_feeds_of_two_clones_are_the_same_bytes(repository: Repository, tmp_path: Path) -> None:
    repository.commit()
    repository.commit({"docs/a.md": "# A\n"})
    repository.git("clone", "-q", f"file://{repository.base.root}", str(tmp_path / "clone"))
    made = []
    for base in (repository.base, Base(tmp_path / "clone")):
        view = base.project.view(base.library(), repo="https://example.org/toys")
        made.append({output.path: output.data(view).decode() for output in feeds.outputs(view)})
    assert made[0] == made[1]
    assert "<updated>2026-01-02T00:00:00Z</updated>" in made[0]["feeds/papers.xml"]
