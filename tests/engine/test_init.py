"""`quaere init` makes a folder a knowledge base that holds, and changes nothing of what is there."""

import datetime
import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import markdown
import pytest
import yaml
from packaging.specifiers import SpecifierSet

from quaere.authoring import changes
from quaere.authoring.init import begin
from quaere.content.check import remarks
from quaere.content.model import VERSION
from quaere.content.states import State
from quaere.errors import MisuseError
from tests.engine.conftest import SOUND, Base
from tests.engine.test_kills import killed_at

ROOT = Path(__file__).parents[2]
DAY = datetime.date(2026, 2, 3)


@pytest.fixture
def empty(tmp_path: Path) -> Base:
    (tmp_path / "my library").mkdir()
    return Base(tmp_path / "my library")


def init(base: Base) -> Base:
    changes.apply(base.root, begin(base.root, DAY).changes)
    return base


def git(base: Base, *words: str) -> None:
    subprocess.run(["git", "-C", base.root, *words], check=True, capture_output=True)


def test_an_empty_folder_becomes_a_library_whose_example_holds_and_fails_where_it_is_false(empty: Base) -> None:
    library = init(empty).library()
    assert remarks(library) == []
    assert {paper.card.version for paper in library.papers.values()} == {VERSION}
    assert not [path for path, (data, _) in empty.files().items() if re.search(rb"@\w+@", data)]
    project = empty.project
    ((answer, verdict, _),) = project.verify(library, project.stale(library))
    assert verdict.passed, verdict.failure
    states = [asked.state(project.verdicts(library)) for asked in library.questions.values()]
    assert states == [State.DEMONSTRATED, State.ANSWERED, State.OPEN]
    module = empty.root / answer.place.file
    module.write_text(module.read_text().replace(" / math.sqrt(len(query))", ""))
    library = empty.library()
    ((_, verdict, _),) = project.verify(library, project.stale(library))
    assert not verdict.passed


def test_a_second_time_nothing_changes(empty: Base) -> None:
    first = begin(empty.root, DAY)
    assert first.changes.said == "made 13 files"
    changes.apply(empty.root, first.changes)
    before = {name: told for name, told in empty.files().items() if not name.startswith(".quaere/")}
    done = json.loads(empty.quaere("init", "--json").stdout)
    assert (done["said"], done["files"], done["diff"]) == ("nothing is missing here", {}, "")
    assert {".gitignore", "mkdocs.yml", "papers/references.bib"} < set(done["kept"])
    assert {name: told for name, told in empty.files().items() if not name.startswith(".quaere/")} == before


def test_what_is_there_stays_and_is_put_to_use(empty: Base) -> None:
    there = {
        "zotero/all.bib": SOUND["papers/references.bib"],
        "notes/deep/a.md": "# A note\n",
        "Ideas (old).md": "# Another\n",
        "README.md": "# Mine\n",
        ".gitignore": "*.log\n",
        ".vscode/settings.json": "{}",
        "mkdocs.yml": "site_name: Mine\nplugins: [search]\n",
        "docs/index.md": "# Mine\n",
    }
    empty.write(there)
    before = empty.files()
    told = empty.quaere("init")
    after = empty.files()
    assert {name: after[name] for name in before} == before
    kept, _, rest = told.stdout.partition("kept as it is\n")[2].partition("next\n")
    assert [line.split("  ")[1:] for line in re.sub(" {3,}", "  ", kept).splitlines()] == [
        [".gitignore", "it lacks /site/ and .quaere/"],
        [".vscode/settings.json", 'it lacks "yaml.schemas": {"papers/card.schema.json": "papers/*.yml"}'],
        ["docs/index.md"],
        ["mkdocs.yml"],
        ["zotero/all.bib"],
    ]
    then, _, wrong = rest.partition("to mend first\n")
    assert "  quaere add --card zotero/all.bib      makes cards of all its entries\n" in then
    assert "  quaere import 'Ideas (old).md' notes  makes cards of these notes\n" in then
    assert wrong.startswith("mkdocs.yml:2:1: `plugins` leaves out `quaere`")
    # A card for the entry that is there, without an example in code.
    cards = [paper.card for paper in empty.library().papers.values()]
    assert [(card.cite, card.version) for card in cards] == [("toy2020", VERSION)]
    assert "reference_impl" not in {Path(name).parts[0] for name in after}


def test_nothing_that_a_folder_brings_is_run(empty: Base) -> None:
    ran = f"open({str(empty.root / 'ran')!r}, 'w')"
    called = f'!!python/object/apply:eval ["{ran}"]'
    named = "!!python/name:material.extensions.emoji.twemoji"
    empty.write({"evil.py": f"{ran}\n", "parent.yml": f"extra: {{b: {called}}}\n"})
    for settings in (
        f"site_name: {called}\nextra:\n  a: {named} \n  b: !ENV [A, b]\n",
        "site_name: Mine\nhooks: [evil.py]\n",
        "site_name: Mine\nINHERIT: parent.yml\n",
    ):
        empty.write({"mkdocs.yml": settings})
        told = empty.quaere("init")
        assert (told.returncode, told.stderr) == (0, "")
        assert "to mend" not in told.stdout
    assert not (empty.root / "ran").exists()


def test_cards_that_are_there_get_what_they_lack(base: Base) -> None:
    (base.root / "papers/references.bib").rename(base.root / "own.bib")
    made = init(base)
    assert base.project.settings.bibliography == "own.bib"
    assert list(made.library().papers) == ["toy"]
    assert json.loads((base.root / "papers/card.schema.json").read_text())["$defs"]["Paper"]["enum"] == ["toy"]


def test_settings_that_are_there_say_where_all_of_it_goes(empty: Base) -> None:
    places = {"papers": "cards", "bibliography": "cards/all.bib", "implementation": "shown", "docs": "pages"}
    table = "".join(f"{name} = {json.dumps(place)}\n" for name, place in places.items())
    empty.write({"pyproject.toml": f"[tool.quaere]\n{table}"})
    library = init(empty).library()
    ((answer, verdict, _),) = empty.project.verify(library, library.answers)
    assert (answer.place.file, verdict.failure) == ("shown/attention.py", "")
    names = {name.partition("/")[0] for name in empty.files() if not name.startswith(".")}
    assert names == {"cards", "shown", "pages", "pyproject.toml", "requirements.txt", "mkdocs.yml"}
    assert (empty.root / "pages/index.md").is_file()


def test_the_name_of_the_folder_is_text_whatever_it_holds(make_base: Callable[[str], Base]) -> None:
    base = make_base("a *b* <i>c\\'\"#1")
    init(base)
    heading = (base.root / "docs/index.md").read_text().splitlines()[4]
    assert markdown.markdown(heading) == "<h1>a *b* &lt;i&gt;c\\'\"#1</h1>"
    assert (
        yaml.safe_load((base.root / "mkdocs.yml").read_text().partition("site_author")[0])["site_name"]
        == base.root.name
    )


def test_of_several_bibliographies_none_is_chosen(empty: Base) -> None:
    empty.write(dict.fromkeys(("a.bib", "b/c.bib"), SOUND["papers/references.bib"]))
    kept = begin(empty.root, DAY).kept
    assert kept["b/c.bib"] == 'to use it, set `bibliography = "b/c.bib"` under [tool.quaere] in pyproject.toml'
    init(empty)
    assert empty.project.settings.bibliography == "papers/references.bib"
    assert "a.bib" in begin(empty.root, DAY).kept


def test_git_tells_who_and_where_but_no_password(empty: Base) -> None:
    git(empty, "init")
    git(empty, "config", "user.name", 'Ann "A" Maker')
    git(empty, "remote", "add", "origin", "https://ann:secret@git.example.org:8443/some/where.git")
    (empty.root / "inner").mkdir()
    init(empty)
    text = (empty.root / "mkdocs.yml").read_text()
    assert 'site_author: "Ann \\"A\\" Maker"\n' in text
    assert '"https://git.example.org/some/where"' in text
    assert not [name for name, (data, _) in empty.files().items() if b"secret" in data and name != ".git/config"]
    inner = begin(empty.root / "inner", DAY)
    assert inner.kept == {
        ".github/workflows/site.yml": f"not made: GitHub reads it in the repository's folder, {empty.root}"
    }


@pytest.mark.parametrize("folder", ["papers", "reference_impl", ".vscode"])
def test_a_file_in_the_place_of_a_folder_is_refused_before_anything_is_made(empty: Base, folder: str) -> None:
    empty.write({folder: "a file"})
    with pytest.raises(MisuseError, match="this is no folder"):
        begin(empty.root, DAY)
    assert list(empty.files()) == [folder]


def test_a_folder_that_can_not_be_written_and_a_file_are_refused(empty: Base) -> None:
    empty.write({"file": ""})
    done = empty.quaere("init", "file")
    assert (done.returncode, done.stderr) == (2, "file: this is no folder\n  hint: name another\n")
    # Nobody can write there, not even root.
    done = empty.quaere("init", "/proc/self/fdinfo")
    assert done.returncode == 1
    assert re.search(r"^/proc/\S+: this can't be written: ", done.stderr)
    assert "Traceback" not in done.stderr


def test_a_dry_run_makes_nothing_not_even_the_folder(empty: Base) -> None:
    done = empty.quaere("init", "new/folder", "--dry-run")
    assert "+++ b/papers/attention.yml\n" in done.stdout
    assert list(empty.root.iterdir()) == []


@pytest.mark.slow
def test_a_kill_at_any_write_leaves_what_the_next_command_completes(empty: Base) -> None:
    def contents() -> dict[str, bytes]:
        return {name: data for name, (data, _) in empty.files().items() if not name.startswith(".quaere/")}

    init(empty)
    wanted = contents()
    for number in itertools.count(1):
        shutil.rmtree(empty.root)
        empty.root.mkdir()
        was_killed = killed_at(number, empty.root, lambda: init(empty))
        changes.complete(empty.root)
        # What was begun is found by any command.
        assert not contents() or empty.project
        assert contents() in ({}, wanted), f"killed at write {number}"
        if not was_killed:
            break
    assert contents() == wanted
    assert number > len(wanted)


# What it makes


def test_the_workflow_uses_the_actions_of_this_project_and_the_requirements_this_version(empty: Base) -> None:
    def actions(file: Path) -> set[str]:
        return set(re.findall(r"uses: (\S+ # \S+)", file.read_text(encoding="utf-8")))

    init(empty)
    workflow = empty.root / ".github/workflows/site.yml"
    used = actions(workflow)
    assert len(used) == 5
    assert used <= actions(ROOT / ".github/workflows/site.yml")
    assert set(yaml.safe_load(workflow.read_text())["jobs"]) == {"build", "publish"}
    (wanted,) = re.findall(r"^quaere\[site\](.*)$", (empty.root / "requirements.txt").read_text(), re.MULTILINE)
    assert SpecifierSet(wanted).contains(metadata.version("quaere"))
