"""Former addresses of a card and of a question, followed by a browser."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.engine.conftest import SOUND, Base
from tests.site.conftest import PATIENCE, SUB_PATH, UnderSubPath, served

CARD = (
    SOUND["papers/toy.yml"]
    .replace("idea:", "formerly: [plaything]\nidea:")
    .replace("id: how,", "id: how, formerly: [means],")
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a site is served whose one card was renamed, with a question of it."""
    base = Base(tmp_path_factory.mktemp("renamed"))
    base.write({**SOUND, "papers/toy.yml": CARD})
    built = base.quaere("build")
    assert built.returncode == 0, built.stderr
    with served(Path(base.root / "site"), UnderSubPath) as root:
        yield root.removesuffix("/") + SUB_PATH


def opened(browser: Browser, home: str, address: str, *, has_scripts: bool = True) -> Iterator[Page]:
    with browser.new_context(base_url=home, java_script_enabled=has_scripts) as context:
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.goto(address)
        yield page


def test_a_former_address_leads_to_the_card_and_to_the_same_part_of_it(browser: Browser, home: str) -> None:
    for page in opened(browser, home, "papers/plaything/?from=there#means"):
        expect(page).to_have_url(f"{home}papers/toy/?from=there#means")
        # The former name of the question opens it.
        expect(page.locator("details.q-question[open] h3")).to_have_text("How?")
        assert page.locator("details.q-question[open]").count() == 1
        page.go_back()
        assert "plaything" not in page.url


def test_a_former_address_leads_on_without_javascript(browser: Browser, home: str) -> None:
    for page in opened(browser, home, "papers/plaything/#means", has_scripts=False):
        expect(page).to_have_url(re.compile(r"/papers/toy/"))
        expect(page.locator("h1")).to_contain_text("Toys")


@pytest.mark.parametrize("has_scripts", [True, False])
def test_a_former_address_leads_on_in_a_copy_of_files(browser: Browser, tmp_path: Path, has_scripts: bool) -> None:
    base = Base(tmp_path)
    base.write({**SOUND, "papers/toy.yml": CARD})
    assert base.quaere("build", "--offline").returncode == 0
    copy = (base.root / "site-offline").as_uri()
    for page in opened(browser, copy, f"{copy}/papers/plaything/index.html#means", has_scripts=has_scripts):
        expect(page).to_have_url(f"{copy}/papers/toy/index.html{'#means' if has_scripts else ''}")
        expect(page.locator("h1")).to_contain_text("Toys")


def test_a_former_name_of_a_card_still_chooses_its_questions(browser: Browser, home: str) -> None:
    for page in opened(browser, home, "questions/?paper=plaything"):
        expect(page.get_by_role("status")).to_have_text("2 of 2 questions.")
