"""A copy for `file://`: where links lead, what becomes of modules and data, and which folders are written."""

from pathlib import Path

import pytest

from quaere.errors import MisuseError
from quaere.site import offline

PAGE = """<head><link rel="canonical" href="https://example.org/papers/a/">
<link rel="alternate" href="../../fr/" hreflang="fr">
<link rel="alternate " type="text/markdown" title="This card" href="../../a.md">
<script src="https://x.invalid/" type="module">
</script></head>
<a title="a > b" href="../../">Home</a><a href="../b/?x=1#y">B</a><a href=".">A</a><a href="#id">here</a>
<a href="mailto:a/">mail</a><a href="../../a.md">file</a><a href='../b/'>quoted</a><code>&lt;a href="../b/"&gt;</code>
<script src="../../assets/one.js" type="module"></script><script src="../../assets/two.js" type="module"></script>
"""
ONE = """import { load, addressOf as to } from "./two.js";
// import { load } from "./two.js";
const later = () => import("./two.js");
export const shown = [load, to, later, import.meta.url];
"""
TWO = """export const load = () => 1;
export function addressOf(path) { return path; }
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    files = {
        "index.html": '<a href="papers/a/">A</a>',
        "papers/a/index.html": PAGE,
        "papers/b/index.html": "",
        "404.html": "",
        "a.md": "text",
        "assets/quaere.css": "",
        "assets/one.js": ONE,
        "assets/two.js": TWO,
        "assets/data/names/all.json": '{"a": "\u2028</script>"}',
        ".git/config": "",
    }
    for name, text in files.items():
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "site"


def read(site: Path, name: str) -> str:
    return (site.with_name("site-offline") / name).read_text(encoding="utf-8")


def test_a_page_that_only_leads_on_does_so(site: Path) -> None:
    moved = '<meta http-equiv="refresh" content="0; url=../a/"><script src="../../assets/one.js" defer></script>'
    (site / "papers" / "b" / "index.html").write_text(moved, encoding="utf-8")
    offline.copy(site)
    page = read(site, "papers/b/index.html")
    assert 'content="0; url=../a/index.html"' in page
    # Its script asks for a module, of which the bundle must be there.
    assert page.index('<script src="../../assets/modules.js" defer>') < page.index('src="../../assets/one.js" defer>')


def test_links_lead_to_files_and_the_site_stays_as_it_is(site: Path) -> None:
    before = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}
    assert offline.copy(site) == site.with_name("site-offline")
    assert {path: path.read_bytes() for path in site.rglob("*") if path.is_file()} == before
    assert read(site, "index.html") == '<a href="papers/a/index.html">A</a>'
    page = read(site, "papers/a/index.html")
    for link in (
        'title="a > b" href="../../index.html"',
        'href="../b/index.html?x=1#y"',
        'href="./index.html">A',
        'href="#id"',
        'href="mailto:a/"',
        'href="../../a.md"',
        'href="https://example.org/papers/a/"',
        '<code>&lt;a href="../b/"&gt;</code>',
    ):
        assert link in page
    assert "hreflang" not in page
    assert 'rel="alternate " type="text/markdown"' in page
    assert not site.with_name("site-offline").joinpath("404.html").exists()
    assert not site.with_name("site-offline").joinpath(".git").exists()


def test_modules_become_one_classic_script_and_data_become_scripts(site: Path) -> None:
    offline.copy(site)
    page = read(site, "papers/a/index.html")
    first = '<script src="../../assets/modules.js" defer></script><script src="../../assets/one.js" defer></script>'
    assert f'{first}<script src="../../assets/two.js" defer></script>' in page
    assert '<script src="https://x.invalid/" type="module">' in page
    assert read(site, "assets/one.js") == 'quaereModule("one.js");\n'
    bundle = read(site, "assets/modules.js")
    assert 'const { load, addressOf: to } = quaereModule("two.js");\n// import { load }' in bundle
    assert 'const later = () => Promise.resolve(quaereModule("two.js"));' in bundle
    assert "const shown = [load, to, later, quaereAddress];\n" in bundle
    assert "Object.assign(quaereExported, { load, addressOf });" in bundle
    assert read(site, "assets/data/names/all.json.js") == (
        'quaereData("assets/data/names/all.json", {"a": "\u2028</script>"});\n'
    )
    assert not site.with_name("site-offline").joinpath("assets/data/names/all.json").exists()


@pytest.mark.parametrize("line", ['import all from "./two.js";', "export default 1;", 'export { a } from "./two.js";'])
def test_a_module_that_a_classic_script_cannot_hold_is_refused(site: Path, line: str) -> None:
    (site / "assets/one.js").write_text(line, encoding="utf-8")
    with pytest.raises(ValueError, match=r"one\.js"):
        offline.copy(site)
    assert [path.name for path in site.parent.iterdir()] == ["site"]


def test_a_former_copy_is_replaced_and_all_else_is_left(site: Path) -> None:
    copy = offline.copy(site)
    (copy / "former.html").write_text("", encoding="utf-8")
    assert offline.copy(site) == copy
    assert not (copy / "former.html").exists()
    (copy / "assets/quaere.css").unlink()
    (copy / "own.txt").write_text("", encoding="utf-8")
    with pytest.raises(MisuseError, match="something other than a site"):
        offline.copy(site)
    assert (copy / "own.txt").exists()
    assert sorted(path.name for path in site.parent.iterdir()) == ["site", "site-offline"]
