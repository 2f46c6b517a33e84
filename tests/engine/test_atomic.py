"""Files are written whole or not at all."""

from pathlib import Path

import pytest

from quaere import atomic


def test_a_file_gets_its_folders_and_the_rights_of_any_other(tmp_path: Path) -> None:
    file, other = tmp_path / "new" / "folder" / "file.json", tmp_path / "other"
    atomic.write(file, "text")
    other.write_text("text")
    assert file.read_text() == "text"
    assert file.stat().st_mode == other.stat().st_mode


def test_a_write_that_fails_leaves_the_former_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file.json"
    atomic.write(file, "former")

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="full"):
        atomic.write(file, "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file.json"]
    assert file.read_text() == "former"
