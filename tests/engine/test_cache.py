"""What is kept is made once, and never trusted."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment

from quaere import cache as cache_module
from quaere.cache import Cache
from quaere.content.model import Library
from quaere.pages import compiled, render


def counting(made: list[str], text: str = "drawn") -> Callable[[], str]:
    def make() -> str:
        made.append(text)
        return text

    return make


@pytest.mark.parametrize("text", ["", "drawn", "<svg>\n\u00e9\u795e\r\n</svg>\n", "a\x00b"])
def test_what_is_kept_is_made_once(tmp_path: Path, text: str) -> None:
    made: list[str] = []
    for _ in range(3):
        assert Cache(tmp_path / "cache").get(b"one", counting(made, text)) == text
    assert made == [text]


def test_another_source_is_made_anew(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert [cache.get(source, source.decode) for source in (b"a", b"b", b"a")] == ["a", "b", "a"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: data[:100],
        lambda data: data[1:],
        lambda data: data.replace(b"drawn", b"dawn!"),
        lambda data: data.replace(b"drawn", b"d\xffawn"),
        lambda data: os.urandom(len(data)),
    ],
)
def test_what_was_damaged_is_made_again(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    cache, made = Cache(tmp_path), list[str]()
    cache.get(b"one", counting(made))
    cache.close()
    file = tmp_path / "kept.sqlite"
    file.write_bytes(damage(file.read_bytes()))
    assert Cache(tmp_path).get(b"one", counting(made)) == "drawn"
    assert Cache(tmp_path).get(b"one", counting(made)) == "drawn"
    assert len(made) <= 2


def test_what_another_source_gave_is_not_trusted(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.get(b"one", lambda: "1")
    cache.get(b"two", lambda: "2")
    cache.close()
    with sqlite3.connect(tmp_path / "kept.sqlite") as opened:
        rows = opened.execute("SELECT name, digest, day, data FROM kept").fetchall()
        (first, *told), (second, *other) = rows
        opened.execute("DELETE FROM kept")
        opened.executemany("INSERT INTO kept VALUES (?, ?, ?, ?)", [(first, *other), (second, *told)])
    opened.close()
    assert (Cache(tmp_path).get(b"one", lambda: "1"), Cache(tmp_path).get(b"two", lambda: "2")) == ("1", "2")


def test_whatever_is_in_the_way_it_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert Cache(tmp_path / "file").get(b"one", lambda: "drawn") == "drawn"
    (tmp_path / "cache/kept.sqlite").mkdir(parents=True)
    assert Cache(tmp_path / "cache").get(b"one", lambda: "again") == "again"


def test_half_of_a_character_is_not_kept(tmp_path: Path) -> None:
    assert Cache(tmp_path).get(b"one", lambda: "\ud800") == "\ud800"
    assert Cache(tmp_path).find(b"one") is None


def test_what_nobody_asks_for_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, made, today = Cache(tmp_path), list[str](), cache_module._today()
    for name in (b"old", b"used"):
        cache.get(name, counting(made))
    monkeypatch.setattr(cache_module, "_today", lambda: today + 61)
    cache.get(b"used", counting(made))
    cache.prune()
    cache.get(b"used", counting(made))
    assert len(made) == 2
    cache.get(b"old", counting(made))
    assert len(made) == 3


def test_what_a_build_does_not_ask_for_is_held_no_longer(tmp_path: Path) -> None:
    cache, made = Cache(tmp_path), list[str]()
    for name in ("old", "used"):
        assert cache.held(name, counting(made, name)) == name
    cache.prune()
    assert cache.held("used", counting(made, "used")) == "used"
    cache.prune()
    assert cache.held("used", counting(made, "used")) == "used"
    assert made == ["old", "used"]
    assert cache.held("old", counting(made, "old")) == "old"
    assert made == ["old", "used", "old"]


def test_templates_are_compiled_once_and_never_read_from_a_knowledge_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "FOLDER", tmp_path / "compiled")
    again: list[str] = []

    def load(name: str = "head.html") -> None:
        monkeypatch.setattr(compiled, "_HELD", {})  # as in another process
        cache = Cache(tmp_path / "cache")
        mine = Library({}, {}, (), (), {}, templates={"mine.html": "{{ view.name }}"})
        render.view(mine, {}, store=cache, kept=cache.get).templates.get_template(name)
        cache.flush()

    def compile_again(self: Environment, *given: Any, **named: Any) -> Any:
        again.append("compiled")
        return whole(self, *given, **named)

    whole = Environment.compile
    load()
    monkeypatch.setattr(Environment, "compile", compile_again)
    load()
    assert not again
    for file in (tmp_path / "compiled").iterdir():
        file.write_bytes(file.read_bytes()[:-9])
    load()
    assert again == ["compiled"]
    load("mine.html")
    assert not (tmp_path / "cache").exists()
    shutil.rmtree(tmp_path / "compiled")
    (tmp_path / "compiled").write_bytes(b"in the way")
    load()
    assert len(again) == 3
