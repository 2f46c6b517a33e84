"""A kill at any write leaves what was before or what comes after, and the next command leaves no trace of it.

A copy of this process does the work, and kills itself before the nth time that it opens a file for writing, syncs one,
or makes, moves or removes something in the folder: for n = 1, 2, 3 …, until it comes to its end.
"""

import itertools
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from quaere.running.evidence import Evidence
from quaere.running.options import Device, Size
from quaere.site import build as site_build
from tests.engine.conftest import SOUND, Base
from tests.engine.test_cli import CODE, TOY

EVENTS = {
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.chmod",
    "os.utime",
    "os.truncate",
}


def killed_at(number: int, folder: Path, work: Callable[[], object]) -> bool:
    """Do some work in a copy of this process, which is killed before its nth write below a folder; say if it was."""
    if not (pid := os.fork()):
        writes, sync = itertools.count(1), os.fsync

        def write() -> None:
            if next(writes) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        def hear(event: str, arguments: tuple[object, ...]) -> None:
            if any(path.is_relative_to(folder) for path in written(event, arguments)):
                write()

        def synced(file: int) -> None:
            if Path(f"/proc/self/fd/{file}").readlink().is_relative_to(folder):
                write()
            sync(file)

        os.fsync = synced  # type: ignore[assignment]
        sys.addaudithook(hear)
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert status in (0, signal.SIGKILL), status
    return status != 0


def written(event: str, arguments: tuple[object, ...]) -> Iterator[Path]:
    """Yield the paths that an event of Python's own is about to change."""
    if event == "open":
        path, _, flags = arguments
        named = [path] if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else []
    else:
        named = list(arguments[: 1 + (event == "os.rename")]) if event in EVENTS else []
    # A name without its folder comes with the folder's descriptor.
    descriptors = arguments[1:] if event in ("os.remove", "os.rmdir") else ()
    within = [one for one in descriptors if isinstance(one, int) and one >= 0]
    start = Path(f"/proc/self/fd/{within[0]}").readlink() if within else Path.cwd()
    for path in named:
        if isinstance(path, str | bytes | os.PathLike):
            yield start / os.fsdecode(path)


def kills(folder: Path, work: Callable[[], object], numbers: Iterable[int] | None = None) -> Iterator[int]:
    """Do some work again and again, killed ever later, until it comes to its end; yield after each kill."""
    number = 0
    for number in numbers or itertools.count(1):
        if not killed_at(number, folder, work):
            break
        yield number
    assert number > 4, "there was hardly a write"


def debris(folder: Path) -> list[str]:
    """Return what lies there and should not after a command that came to its end."""
    return [str(path) for path in folder.rglob("*") if path.name.startswith(".quaere-") or path.name.endswith(".part")]


def test_a_kill_of_verify_leaves_the_verdicts_before_or_after(base: Base) -> None:
    base.write(CODE)
    file = base.root / ".quaere/evidence.json"

    def verify() -> None:
        project = base.project
        library = project.read()[0]
        list(project.verify(library, library.answers))

    verify()
    old = "2026-01-31T00:00:00+00:00"
    for number in kills(base.root, verify):
        found = Evidence(file)
        assert (found.warning, list(found.verdicts)) == ("", ["toy.why"]), number
        verify()
        assert debris(base.root) == [], number
        # What comes is not what was.
        verdict = Evidence(file).verdicts["toy.why"]
        assert verdict.at != old
        file.write_text(file.read_text().replace(verdict.at, old))
    file.unlink()
    for number in kills(base.root, verify):
        assert Evidence(file).warning == "", number
        verify()
        assert (list(Evidence(file).verdicts), debris(base.root)) == (["toy.why"], []), number
        file.unlink()


def test_a_kill_where_evidence_is_set_aside_loses_nothing(base: Base) -> None:
    base.write(CODE)
    file = base.root / ".quaere/evidence.json"
    base.write({".quaere/evidence.json": "corrupt"})

    def mend() -> None:
        found = Evidence(file)
        found.save([])

    for number in kills(base.root, mend):
        texts = [path.read_text() for path in file.parent.glob("*.json")]
        assert texts.count("corrupt") == 1, number
        mend()
        assert debris(base.root) == [], number
        for path in file.parent.glob("*.json"):
            path.unlink()
        base.write({".quaere/evidence.json": "corrupt"})


def test_a_kill_of_run_leaves_the_result_before_or_after(base: Base) -> None:
    base.write(TOY)
    base.write({"reference_impl/__init__.py": ""})
    result = base.root / "papers/results/toy-small.json"

    def run(seed: int = 0) -> None:
        # Another test may have imported the package of this name that is not this base's.
        for name in [name for name in sys.modules if name.partition(".")[0] == "reference_impl"]:
            del sys.modules[name]
        project = base.project
        module = project.read()[0].experiments["toy"]
        project.run(module, "toy", Size.SMALL, seed, Device.AUTO, resume=False)

    def in_a_copy(seed: int) -> None:
        assert not killed_at(0, base.root, lambda: run(seed))

    in_a_copy(7)
    before = result.read_bytes()
    for number in kills(base.root, run):
        library, faults = base.project.check()
        assert not faults, number
        seeds = library.results["toy"][0].seeds
        assert seeds == (0,) or result.read_bytes() == before, number
        in_a_copy(0)
        assert debris(base.root) == [], number
        assert base.library().results["toy"][0].seeds == (0,)
        result.write_bytes(before)


# The site


def tree(folder: Path) -> dict[str, str | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_text() if path.is_file() else None for path in folder.rglob("*")
    }


def lay(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


FORMER = {
    "assets/quaere.css": "1",
    "index.html": "former",
    "gone/index.html": "x",
    "same.html": "s",
    "turns/a": "1",
    "b": "1",
}
FRESH = {
    "assets/quaere.css": "2",
    "index.html": "fresh",
    "new/index.html": "n",
    "same.html": "s",
    "turns": "2",
    "b/c": "2",
}


def test_a_kill_in_the_exchange_leaves_whole_files_and_the_next_build_completes_it(tmp_path: Path) -> None:
    site = lay(tmp_path / "site", FORMER | {".git/HEAD": "ref"})
    fresh = tmp_path / "fresh"
    for number in kills(tmp_path, lambda: site_build._update(site, lay(fresh, FRESH))):
        now = {name: text for name, text in tree(site).items() if text is not None}
        assert all(text in (FORMER.get(name), FRESH.get(name), "ref") for name, text in now.items()), number
        assert "assets/quaere.css" in now, "it is a site no more"
        lay(fresh, FRESH)
        site_build._update(site, fresh)
        after = {name: text for name, text in tree(site).items() if text is not None}
        assert after == FRESH | {".git/HEAD": "ref"}, number
        for path in (site, fresh):
            shutil.rmtree(path, ignore_errors=True)
        lay(site, FORMER | {".git/HEAD": "ref"})


def test_a_kill_in_the_exchange_leaves_a_new_site_or_none(tmp_path: Path) -> None:
    site, fresh = tmp_path / "site", tmp_path / "fresh"
    for is_empty in (True, False):
        for number in range(1, 10):
            if is_empty:
                site.mkdir()
            lay(fresh, FRESH)
            if not killed_at(number, tmp_path, lambda: site_build._update(site, fresh)):
                break
            assert not site.exists() or not any(site.iterdir()) or tree(site).get("index.html") == "fresh"
            for path in (site, fresh):
                shutil.rmtree(path, ignore_errors=True)
        assert tree(site).get("index.html") == "fresh"
        shutil.rmtree(site)


@pytest.mark.slow
def test_a_kill_of_build_leaves_a_site_and_the_next_build_completes_it(base: Base) -> None:
    card, site = SOUND["papers/toy.yml"], base.root / "site"
    former = {"papers/toy.yml": card, "papers/old.yml": card}
    fresh = {"papers/toy.yml": card.replace("sound", "sounder"), "papers/new.yml": card}

    def build() -> None:
        project = base.project
        assert site_build.build(project, project.read()[0], site) == ([], True)

    def build_of(files: dict[str, str]) -> dict[str, bytes]:
        for path in ("papers/old.yml", "papers/new.yml"):
            (base.root / path).unlink(missing_ok=True)
        base.write(files)
        assert not killed_at(0, base.root, build)
        return tree_of_bytes(site)

    after, before, met = build_of(fresh), build_of(former), set()
    # Every write to the site itself, and some of those that make the fresh one beside it.
    for folder, numbers in ((site, None), (base.root, (1, 2, 3, 20, 100, 300))):
        base.write(fresh)
        (base.root / "papers/old.yml").unlink()
        for number in kills(folder, build, numbers):
            now = tree_of_bytes(site)
            assert all(data in (before.get(name), after.get(name)) for name, data in now.items()), number
            met.add("before" if now == before else "after" if now == after else "between")
            assert build_of(fresh) == after, number
            assert debris(base.root) == [], number
            build_of(former)
            base.write(fresh)
            (base.root / "papers/old.yml").unlink()
        build_of(former)
    assert met == {"before", "between", "after"}, "the walk missed the exchange"


def tree_of_bytes(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
