"""The benchmark of the site: how a process is measured, and what becomes of the numbers."""

import gzip
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from benchmarks import generated, site
from benchmarks.served import served
from quaere.content import results
from quaere.content.results import Result

WORK = """
import subprocess, sys, time
held = bytearray({held})
end = time.process_time() + {own}
while time.process_time() < end: pass
if {children}: subprocess.run([sys.executable, "-c", "import time\\nwhile time.process_time() < {children}: pass"])
"""


def test_what_a_process_takes_is_its_own_time_and_its_childrens_and_not_the_waiting(tmp_path: Path) -> None:
    def spent(**given: float) -> site.Spent:
        return site.spent([sys.executable, "-c", WORK.format(**given)], tmp_path)

    idle = spent(held=1, own=0, children=0)
    assert spent(held=1, own=0.3, children=0.3).seconds == pytest.approx(idle.seconds + 0.6, abs=0.2)
    assert spent(held=400_000_000, own=0, children=0).memory > 400_000_000
    assert site.spent([sys.executable, "-c", "import time; time.sleep(0.5)"], tmp_path).seconds < 0.4


def test_a_command_that_fails_says_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="this is why"):
        site.spent([sys.executable, "-c", "raise SystemExit('this is why')"], tmp_path)


@pytest.mark.parametrize("idea", ['idea: "A b."', "idea: A b.", "idea: >-\n  A b.", "idea: 'A b.'"])
def test_a_card_is_changed_in_its_idea(tmp_path: Path, idea: str) -> None:
    card = tmp_path / "a.yml"
    card.write_text(f"cite: a\n{idea}\nnotes: a\n")
    site.changed(card, "Crimson")
    assert card.read_text().replace("Crimson ", "") == f"cite: a\n{idea}\nnotes: a\n"
    assert "Crimson A b." in card.read_text()


def test_a_copy_of_this_repository_is_sound(tmp_path: Path) -> None:
    copied = site.copy_of_this(tmp_path)
    assert (copied / "papers/vit.yml").read_bytes() == (site.ROOT / "papers/vit.yml").read_bytes()
    assert (copied / ".git").is_dir()


def test_what_was_measured_takes_the_place_of_what_was_there_and_of_nothing_else() -> None:
    old = results.read(site.RESULTS.read_text(encoding="utf-8"))
    others = [table.title for table in old.tables if table.title not in (site.TITLE, site.LIGHTHOUSE)]
    found = site.Found()
    found.add("1,000 cards, clean", "CPU s", 5.0, 13.0, 6.0)
    found.scores.append(("home", 100, 100, 100, 100))
    for cards, seconds in ((100, 1.0), (1000, 5.0)):
        found.grew("clean", cards, seconds)
    for _ in range(2):
        old = site.merged(old, site.tables(found, "Measured here."), site.figures(found))
        whole: Result = results.read(old.json_text())
        assert [table.title for table in whole.tables] == [*others, site.TITLE, site.LIGHTHOUSE]
        assert [figure.id for figure in whole.figures][-1] == site.GROWTH
        assert len({figure.id for figure in whole.figures}) == len(whole.figures)
    assert site.of_site(whole) == (site.tables(found, "Measured here."), site.figures(found))
    part = site.Found()
    part.add("1,000 cards, clean", "CPU s", 4.0, 12.0, 6.0)
    part.add("1,000 cards, one card", "CPU s", 2.0, 12.0, None)
    now = site.merged(whole, site.tables(part, "Measured later."), site.figures(part), is_part=True)
    (table, scores), drawn = site.of_site(now)
    assert [row[2] for row in table.rows] == [4.0, 2.0]
    assert scores.rows == (("home", 100, 100, 100, 100),)
    assert drawn == site.figures(found)


def test_pages_are_sent_compressed_and_an_unknown_address_gets_the_page_of_errors(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("home" * 100)
    (tmp_path / "404.html").write_text("nothing here")
    with served(tmp_path) as root:
        with urllib.request.urlopen(root) as answer:
            body = answer.read()
        assert gzip.decompress(body).decode() == "home" * 100
        assert int(answer.headers["Content-Length"]) == len(body) < 100
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(f"{root}nothing")
        assert error.value.code == 404
        assert gzip.decompress(error.value.read()) == b"nothing here"
        error.value.close()


def test_a_generated_card_is_changed_where_a_page_shows_it(tmp_path: Path) -> None:
    generated.write_library(tmp_path, 1)
    (card,) = (tmp_path / "papers").glob("*.yml")
    site.changed(card, "Crimson")
    assert 'idea: "Crimson ' in card.read_text(encoding="utf-8")
