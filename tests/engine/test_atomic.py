"""Files are written whole or not at all, and what is told when they can't be."""

import os
import resource
import signal
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from quaere import atomic
from quaere.errors import WriteError


def test_a_file_gets_its_folders_and_the_rights_of_any_other(tmp_path: Path) -> None:
    file, other = tmp_path / "new" / "folder" / "file.json", tmp_path / "other"
    atomic.write(file, "text")
    other.write_text("text")
    assert file.read_text() == "text"
    assert file.stat().st_mode == other.stat().st_mode


def test_a_file_that_was_there_hands_on_its_rights(tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    file.write_text("former")
    file.chmod(0o640)
    atomic.write(file, "new")
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("new", 0o640)


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("other")
    for target in ("other", "nowhere"):
        link = tmp_path / f"to-{target}"
        link.symlink_to(target)
        atomic.write(link, "new")
        assert (link.is_symlink(), link.read_text()) == (False, "new")
    assert (tmp_path / "other").read_text() == "other"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("error", [OSError("the disk is full"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["os.fsync", "pathlib.Path.replace", "os.fdopen"])
def test_a_write_that_ends_early_leaves_the_former_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: BaseException
) -> None:
    file = tmp_path / "file.json"
    atomic.write(file, "former")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(where, fail)
    with pytest.raises((WriteError, KeyboardInterrupt)):
        atomic.write(file, "new")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["file.json"]
    assert file.read_text() == "former"


def test_content_is_on_the_disk_before_its_name_and_the_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    sync, replace = os.fsync, Path.replace

    def synced(file: int) -> None:
        sync(file)
        is_folder = stat.S_ISDIR(os.fstat(file).st_mode)
        steps.append("folder" if is_folder else Path(f"/proc/self/fd/{file}").resolve().read_text())

    def replaced(part: Path, target: Path) -> Path:
        steps.append("name")
        return replace(part, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    atomic.write(tmp_path / "file", "all of it")
    assert steps == ["all of it", "name", "folder"]


# What can't be written


def told(file: Path, text: str = "text") -> str:
    with pytest.raises(WriteError) as caught:
        atomic.write(file, text)
    return str(caught.value)


def test_what_is_no_file_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "null").symlink_to("/dev/null")
    for name in ("folder", "fifo", "null"):
        path = tmp_path / name
        assert told(path) == f"{path}: this is not a regular file\n  hint: name another file"
        assert not path.is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fifo", "folder", "null"]


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("1")
    for path in (tmp_path / "file/below", tmp_path / "file/deep/below"):
        assert told(path).startswith(f"{path}: this can't be written: ")
    assert told(tmp_path / ("x" * 300)).startswith(f"{tmp_path}/xxx")


def told_after(change: Callable[[], object], file: Path) -> str:
    """Write 100,000 bytes in a copy of this process after a change to it, and return what is told."""
    reader, writer = os.pipe()
    if not (pid := os.fork()):
        try:
            change()
            atomic.write(file, "x" * 100_000)
        except WriteError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said


def test_a_full_disk_is_told_and_the_former_file_stays(tmp_path: Path) -> None:
    def full() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    (tmp_path / "file").write_text("former")
    assert told_after(full, tmp_path / "file").startswith(f"{tmp_path}/file: this can't be written: File too large\n")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "former")]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_folder_of_somebody_else_is_told() -> None:
    # Not below pytest's own folder, which is its user's alone.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        said = told_after(lambda: os.setuid(65534), folder / "file")
        assert said.startswith(f"{folder}/file: this can't be written: Permission denied\n  hint: "), said
        assert list(folder.iterdir()) == []


# What was left


def test_what_a_process_that_is_gone_was_at_is_removed_and_nothing_else(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    token = "0" * 16
    left = [f".quaere-{gone.pid}-{token}", f".quaere-{os.getpid()}-{token}"]
    stays = [f".quaere-{os.getppid()}-{token}", ".quaere", ".quaere-1", ".part", f"quaere-{gone.pid}-{token}"]
    for name in [*left, *stays]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("1")
    (tmp_path / f".quaere-{gone.pid}-{'1' * 16}").write_text("a file")
    own = atomic.scratch(tmp_path)
    own.mkdir()
    atomic.write(tmp_path / "file", "1")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*stays, own.name, "file"])
