"""`quaere serve` in a browser: an open page follows the files, and the reader stays where they were."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.engine.conftest import SOUND, Base
from tests.engine.test_serve import HOSTILE, serving, until

NOTES = "notes: |\n" + "".join(f"  ## Part {n}\n\n  Words.\n\n" for n in range(30))
CARD = SOUND["papers/toy.yml"] + NOTES


@pytest.mark.slow
def test_a_page_that_is_loaded_anew_stays_where_it_was_and_shows_faults_until_they_are_mended(
    browser: Browser, tmp_path: Path
) -> None:
    base = Base(tmp_path / "base")
    base.write(SOUND | {"papers/toy.yml": CARD})
    with serving(base) as (address, _):
        until(f"{address}papers/toy/", lambda page: "A sound idea" in page)
        page = browser.new_page()
        said: list[str] = []
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.goto(f"{address}papers/toy/")
        # Nobody reads at the end, where nothing can keep its place.
        page.evaluate("document.querySelector('[id$=part-9]').scrollIntoView({behavior: 'instant'})")
        where = "document.querySelector('[id$=part-9]').getBoundingClientRect().top"
        before, from_top = page.evaluate(where), page.evaluate("scrollY")
        base.write({"papers/toy.yml": CARD.replace("sound idea", "sound idea, " + "told at length, " * 100)})
        expect(page.get_by_text("told at length").first).to_be_attached()
        page.wait_for_load_state("load")
        page.wait_for_function(f"Math.abs({where} - {before}) < 3")
        assert page.evaluate("scrollY") > from_top + 50, "nothing was added above"
        base.write({"papers/toy.yml": CARD + f"tags: ['{HOSTILE}', '{HOSTILE}']\n"})
        expect(page.locator(".q-faults li")).to_contain_text(HOSTILE)
        page.wait_for_function(f"Math.abs({where} - {before}) < 3")
        base.write({"papers/toy.yml": CARD})
        expect(page.locator(".q-faults")).to_have_count(0)
        assert said == []
        page.close()
