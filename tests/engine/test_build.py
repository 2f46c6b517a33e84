"""Sites of small knowledge bases: what they need, what ends their build, and what stands in each page."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from quaere.errors import AuthorError, Faults, MisuseError
from quaere.site import policy
from quaere.site.build import build
from tests.engine.conftest import SOUND, Base

PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def built(base: Base, **more: Any) -> list[str]:
    """Build the site of a knowledge base, and return what is wrong, each as it is printed."""
    project = base.project
    try:
        return [str(fault) for fault in build(project, project.read()[0], base.root / "site", **more)[0]]
    except Faults as faults:
        return [str(fault) for fault in faults.errors]
    except AuthorError as error:
        return [str(error)]


def page(base: Base, path: str = "") -> str:
    return (base.root / "site" / path / "index.html").read_text(encoding="utf-8")


def contents(folder: Path) -> Mapping[str, tuple[bytes, int]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


# What a site needs: nothing


def test_a_card_and_a_bibliography_make_a_whole_site(base: Base) -> None:
    assert built(base) == []
    assert "Toys" in page(base, "papers/toy")
    assert "<title>base</title>" in page(base)
    for path in ("", "papers", "questions", "tags", "affiliations", "experiments", "reference", "papers/toy"):
        assert "md-tabs" in page(base, path), path
    for path in ("404.html", "feeds/all.xml", "assets/data/search/names.json", "assets/quaere.css"):
        assert (base.root / "site" / path).is_file(), path
    vendor = base.root / "site/assets/vendor"
    assert (vendor / "katex/katex.min.css").is_file()
    assert not (vendor / "katex/katex.min.js").exists()
    assert (vendor / "mermaid/mermaid.esm.min.mjs").is_file()
    assert not (base.root / "docs").exists()


def test_without_a_repository_nothing_can_be_edited_and_no_source_is_linked(base: Base) -> None:
    assert built(base) == []
    for path in (base.root / "site").rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r'rel="edit"|/blob/|/edit/|md-source', text), path


def test_with_a_repository_pages_link_to_their_sources(base: Base) -> None:
    base.write({"mkdocs.yml": "repo_url: https://example.org/toys\n", "docs/index.md": "# Home\n"})
    assert built(base) == []
    assert 'href="https://example.org/toys/edit/main/papers/toy.yml"' in page(base, "papers/toy")
    assert 'href="https://example.org/toys/edit/main/docs/index.md"' in page(base)


def test_hand_written_pages_come_into_the_navigation_by_themselves(base: Base) -> None:
    base.write(
        {"docs/index.md": "# Mine\n\n[[toy]]", "docs/notes.md": "# Notes\n", "docs/how_to/first.md": "# First\n"}
    )
    assert built(base) == []
    assert '<a href="papers/toy/">Toys</a>' in page(base)
    assert 'href="notes/"' in page(base)
    assert re.search(r'href="how_to/first/"[^>]*>\s*How to', page(base))


def test_mkdocs_yml_overrides_what_it_names_and_leaves_the_rest(base: Base) -> None:
    base.write({"mkdocs.yml": "site_name: Shelf\ntheme: {language: de}\nplugins: [quaere]\n"})
    assert built(base) == []
    assert "<title>Shelf</title>" in page(base)
    assert '<html lang="de"' in page(base)
    assert "palette" in page(base), "what the theme was told besides stays"
    assert "mkdocstrings" not in page(base), "the list of plugins is the file's own"


def test_pages_may_be_files_instead_of_folders(base: Base) -> None:
    base.write({"mkdocs.yml": "use_directory_urls: false\n"})
    assert built(base) == []
    card = (base.root / "site/papers/toy.html").read_text(encoding="utf-8")
    assert 'href="index.html"' in card
    assert 'href="../assets/quaere.css"' in card


def test_a_template_of_the_library_stands_in_for_ours(base: Base) -> None:
    text = '{% extends "quaere/card.html" %}{% block head %}{{ super() }}<p>Mine: {{ paper.slug }}</p>{% endblock %}'
    base.write({"templates/card.html": text})
    assert built(base) == []
    assert "<p>Mine: toy</p>" in page(base, "papers/toy")
    assert 'class="q-idea"' in page(base, "papers/toy")


# What is in a page


def test_search_and_map_know_the_generated_pages(base: Base) -> None:
    base.write({"mkdocs.yml": "site_url: https://example.org/toys/\n"})
    assert built(base) == []
    found = base.root / "site/assets/data/search"
    assert "papers/toy/" in json.loads((found / "names.json").read_text(encoding="utf-8"))["addresses"].split("\n")
    texts = [path.read_text(encoding="utf-8") for path in (found / "pages").iterdir()]
    assert any('["why","Q",' in text and "A sound idea." in text for text in texts)
    assert "https://example.org/toys/papers/toy/" in (base.root / "site/sitemap.xml").read_text(encoding="utf-8")
    assert '<link rel="canonical" href="https://example.org/toys/papers/toy/">' in page(base, "papers/toy")


def test_pictures_beside_the_cards_are_copied_and_other_files_are_not(base: Base) -> None:
    card = "cite: toy2020\nidea: Sound.\nimplementation: null\nnotes: '![It](figures/it.png)'\n"
    base.write(
        {
            "papers/toy.yml": card,
            "papers/figures/it.png": PICTURE,
            "papers/it.html": "<script></script>",
            "papers/x.js": "1",
        }
    )
    assert built(base) == []
    assert 'src="../figures/it.png"' in page(base, "papers/toy")
    assert (base.root / "site/papers/figures/it.png").read_bytes() == PICTURE
    assert not (base.root / "site/papers/it.html").exists()
    assert not (base.root / "site/papers/x.js").exists()


def test_markup_in_a_title_is_text_in_all_places_of_the_page(base: Base) -> None:
    title = "<b>A</b> \\& \"b\" 'c' [[x]] $y$"
    base.write({"papers/references.bib": f"@misc{{toy2020, author={{A}}, title={{{title}}}, year={{2020}}}}"})
    assert built(base) == []
    text = page(base, "papers/toy")
    found = re.search(r"<title>(.*?) - base</title>", text)
    assert found
    assert html.unescape(found[1]).startswith("<b>A</b> & ")
    assert "<b>A</b>" not in text


def scripts(text: str) -> list[str]:
    return re.findall(r"<script>(.*?)</script>", text, re.DOTALL)


def test_the_policy_lets_the_scripts_of_the_theme_run_and_no_other(base: Base) -> None:
    base.write({"docs/index.md": "# Home\n\n<script>window.mine = 1</script>\n"})
    assert built(base) == []
    for path in (base.root / "site").rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert text.index("Content-Security-Policy") < text.index("<script"), path
        stated = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
        assert stated
        allowed = set(re.findall(r"'sha256-([^']*)'", stated[1]))
        theirs = [one for one in scripts(text) if "window.mine" not in one]
        assert {base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in theirs} == allowed, path
        assert theirs, path
        assert "unsafe" not in stated[1], path
        assert "default-src 'self'" in stated[1], path


def test_links_out_of_the_folder_of_pages_are_not_followed(base: Base) -> None:
    base.write({"secret/page.md": "# Secret\n", "secret/data.txt": "secret", "docs/own.txt": "own"})
    for name in ("page.md", "data.txt"):
        (base.root / "docs" / name).symlink_to(base.root / "secret" / name)
    assert built(base) == []
    site = base.root / "site"
    assert (site / "own.txt").is_file()
    assert [name for name in ("page", "data.txt") if (site / name).exists()] == []


def test_only_pages_with_diagrams_allow_styles_inside_them(base: Base) -> None:
    notes = "notes: |\n  ```mermaid\n  sequenceDiagram\n    a->>b: c\n  ```\n"
    plain = notes.replace("sequenceDiagram\n    a->>b: c", "flowchart LR\n    a --> b")
    base.write({"papers/plain.yml": f"cite: toy2020\nidea: Sound.\nimplementation: null\n{plain}"})
    base.write({"papers/drawn.yml": f"cite: toy2020\nidea: Sound.\nimplementation: null\n{notes}"})
    assert built(base) == []
    assert "style-src 'self' 'unsafe-inline';" in page(base, "papers/drawn")
    assert "style-src 'self';" in page(base, "papers/toy")
    assert "<svg" in page(base, "papers/plain"), "a plain flowchart is drawn already"
    assert "unsafe-inline" not in page(base, "papers/plain")


def test_served_pages_say_nothing_of_scripts_since_live_reload_adds_its_own(base: Base) -> None:
    assert built(base, served_at="http://127.0.0.1:1234/") == []
    assert "Content-Security-Policy" in page(base, "papers/toy")
    assert "script-src" not in page(base, "papers/toy")
    assert "default-src" not in page(base, "papers/toy")


def test_a_policy_goes_behind_the_encoding_and_before_all_else() -> None:
    text = '<head>\n<meta charset="utf-8">\n<script>1</script><script src="x.js"></script>'
    text += '<script id="c" type="application/json">{}</script></head>'
    put = policy.put(text, text, "", is_served=False)
    assert put.index("charset") < put.index("Content-Security-Policy") < put.index("<script>")
    assert put.count("sha256-") == 1


# What ends a build


def test_a_dead_link_of_a_hand_written_page_is_told_with_its_place_and_nothing_is_written(base: Base) -> None:
    base.write(
        {
            "docs/index.md": "# Home\n",
            "docs/guide/first.md": "# First\n\nSee [gone](nowhere.md)\nand ![no](no.png).\n",
        }
    )
    assert built(base) == [
        "docs/guide/first.md:3:12: `nowhere.md` leads nowhere",
        "docs/guide/first.md:4:11: `no.png` leads nowhere",
    ]
    assert not (base.root / "site").exists()
    assert [path for path in base.root.iterdir() if path.name.startswith(".quaere-")] == []


DEAD = {
    "[a](fisrt.md)": "3:5: `fisrt.md` leads nowhere\n  hint: did you mean `first.md`?",
    "[a](first.md#gone)": "3:5: `first.md#gone` leads nowhere",
    "[a](#gone)": "3:5: `#gone` leads nowhere",
    "[a](papers/toy.md#whi)": "3:5: `papers/toy.md#whi` leads nowhere\n  hint: did you mean `why`?",
    "[a](papers/tay.md)": "3:5: `papers/tay.md` leads nowhere\n"
    "  hint: did you mean `papers/toy.md` or `papers/index.md`?",
    "[a](/first.md)": "3:5: `/first.md` leads nowhere\n  hint: did you mean `first.md`?",
    "[a](first)": "3:5: `first` leads nowhere\n  hint: did you mean `first.md`?",
}
# MkDocs looks at no HTML.
DEAD_HTML = {
    '<a href="gone/">a</a>': "3:10: `gone/` leads nowhere, on the page {page}",
    '<img src="gone.png">': "3:11: `gone.png` leads nowhere, on the page {page}",
    '<a href="../papers/toy/#gone">a</a>': "3:10: `../papers/toy/#gone` leads nowhere, on the page {page}",
    '<a href="../papers/toy/#whi">a</a>': "3:10: `../papers/toy/#whi` leads nowhere, on the page {page}\n"
    "  hint: did you mean `why`?",
}
ALIVE = [
    "[a](papers/toy.md) [a](papers/toy.md#why) [a](first.md#first) [a](https://example.org/gone) `[a](gone.md)`",
    '<a href="../first/#first">a</a> <a href="../papers/toy/#why">a</a> <a href="mailto:a@example.org">a</a>',
]


@pytest.mark.parametrize("texts", [DEAD, DEAD_HTML])
def test_each_kind_of_dead_link_is_found_where_it_is_written(base: Base, texts: dict[str, str]) -> None:
    pages = {f"p{number}": text for number, text in enumerate([*texts, *ALIVE])}
    base.write({"docs/index.md": "# Home\n", "docs/first.md": "# First\n"})
    base.write({f"docs/{name}.md": f"# Page\n\n{text}\n" for name, text in pages.items()})
    told = [f"docs/{name}.md:{told.format(page=name)}" for name, told in zip(pages, texts.values(), strict=False)]
    assert sorted(built(base)) == sorted(told)


def test_a_wikilink_of_a_hand_written_page_stands_wherever_text_does(base: Base) -> None:
    text = "# About\n\n| a | b |\n| --- | --- |\n| [[toy\\|bar]] | `[[toy]]` |\n\n"
    text += "![of [[toy]] and more](p.png) [to [[toy]]](about.md) [[toy]](beside) [see [[toy]], too]\n\n"
    text += '!!! note "On [[toy]]"\n    [[toy|a -- b]]\n'
    base.write({"docs/about.md": text, "docs/p.png": "x"})
    assert built(base) == []
    shown = page(base, "about")
    to = '<a href="../papers/toy/">'
    assert f"<td>{to}bar</a></td>" in shown
    assert "<td><code>[[toy]]</code></td>" in shown
    assert 'alt="of Toys and more"' in shown
    assert '<a href="./">to Toys</a>' in shown
    assert f"{to}Toys</a>(beside) [see {to}Toys</a>, too]" in shown
    assert f'<p class="admonition-title">On {to}Toys</a></p>' in shown
    assert f"{to}a -- b</a>" in shown


def test_a_link_of_a_card_to_a_part_that_is_not_there_is_told_with_the_line_in_the_card(base: Base) -> None:
    base.write(
        {
            "papers/toy.yml": "cite: toy2020\nidea: Sound.\nimplementation: null\n"
            "notes: |\n  One.\n\n  [part](#gone)\n",
        }
    )
    assert built(base) == ["papers/toy.yml:7:10: `#gone` leads nowhere, on the page papers/toy"]


def test_a_template_with_a_dead_link_ends_the_build(base: Base) -> None:
    base.write({"templates/tags.html": "", "templates/papers.html": '<h1 id="papers">P</h1><a href="../gone/">x</a>'})
    assert built(base) == ["papers/index: `../gone/` leads nowhere, on the page papers/index"]


def test_a_figure_that_can_not_be_drawn_ends_the_build_with_its_place(base: Base) -> None:
    figure = {"kind": "pictures", "id": "it", "title": "It", "caption": "It.", "alt": "It.", "pictures": []}
    known = {
        "experiment": "toy",
        "size": "small",
        "key": "0",
        "commit": "",
        "at": "2026",
        "device": "x",
        "versions": {},
    }
    result = {**known, "schema": 3, "seeds": [0], "seconds": 1, "figures": [figure]}
    base.write({"papers/results/toy-small.json": json.dumps(result)})
    (told,) = built(base)
    assert told.startswith("papers/results/toy-small.json:1:1: this figure can't be drawn: ")
    assert "(at $.figures[0])\n  hint: run it again" in told


@pytest.mark.parametrize("setting", ['docs = "papers"', 'docs = "."', 'templates = "papers/looks"', 'docs = "../docs"'])
def test_no_setting_makes_pages_or_templates_of_what_lies_beside_the_cards(base: Base, setting: str) -> None:
    base.write({"pyproject.toml": f"[tool.quaere]\n{setting}\n"})
    assert re.match(
        r"pyproject.toml:2:1: .*(overlap|a path relative to this file's folder|or outside of it)", base.report()
    )


@pytest.mark.parametrize("name", ["card.html", "module.html", "states.html"])
def test_a_template_at_fault_ends_the_build_with_its_line(base: Base, name: str) -> None:
    base.write({f"templates/{name}": "<p>\n{{ nothing }}", "docs/index.md": "# Home\n\n<!-- quaere:states -->\n"})
    told = f"templates/{name}:2:1: this template can't be filled in: 'nothing' is undefined"
    assert built(base) == [f"{told}\n  hint: compare it with quaere's own"]
    assert not (base.root / "site").exists()


def test_a_former_site_stays_as_it_is_when_the_build_ends(base: Base) -> None:
    assert built(base) == []
    before = contents(base.root / "site")
    base.write({"docs/index.md": "[gone](nowhere.md)"})
    assert built(base)
    assert contents(base.root / "site") == before


def test_a_second_build_touches_no_file_that_is_the_same_and_removes_what_is_gone(base: Base) -> None:
    base.write({"papers/other.yml": "cite: toy2020\nidea: Other.\nimplementation: null\n"})
    assert built(base) == []
    before = contents(base.root / "site")
    (base.root / "papers/other.yml").unlink()
    assert built(base) == []
    after = contents(base.root / "site")
    assert not (base.root / "site/papers/other").exists()
    assert after["assets/quaere.css"] == before["assets/quaere.css"]
    assert after["papers/toy/index.html"] == before["papers/toy/index.html"]


def test_what_begins_with_a_dot_stays_in_the_folder_of_the_site(base: Base) -> None:
    assert built(base) == []
    base.write({"site/.git/HEAD": "ref", "site/.nojekyll": "", "site/old.html": ""})
    assert built(base) == []
    assert (base.root / "site/.git/HEAD").read_text() == "ref"
    assert (base.root / "site/.nojekyll").exists()
    assert not (base.root / "site/old.html").exists()


def test_a_folder_that_can_not_hold_a_site_is_told(base: Base) -> None:
    base.write({"file": "", "docs/index.md": "# Home\n"})
    with pytest.raises(MisuseError, match="the site can't be written: File exists"):
        build(base.project, base.library(), base.root / "file/site")
    with pytest.raises(MisuseError, match="this and the path of `docs` overlap"):
        build(base.project, base.library(), base.root / "docs/site")


def test_pages_that_mkdocs_leaves_out_are_linked_from_nowhere(base: Base) -> None:
    base.write({"docs/index.md": "# Home\n", "docs/draft.md": "# Draft\n\n[[toy]]\n"})
    base.write({"mkdocs.yml": "exclude_docs: draft.md\n"})
    assert built(base) == []
    assert "Draft" not in page(base, "papers/toy")


def test_a_card_links_to_what_is_shown_of_the_code_that_answers(base: Base) -> None:
    answer = "Answers: toy.{}\n{}    >>> 1\n{}    1\n"
    hidden = answer.format("why", "    ", "    ")
    code = f'"""Toy."""\n\n\ndef _hidden():\n    """It.\n\n    {hidden}    """\n'
    base.write({"papers/toy.yml": SOUND["papers/toy.yml"].replace("implementation: null\n", "")})
    base.write({"reference_impl/toy.py": code, "tests/papers/test_toy.py": ""})
    assert built(base) == []
    assert 'href="../../reference/toy/#reference_impl.toy"' in page(base, "papers/toy")
    base.write({"mkdocs.yml": "plugins: [quaere]\n"})
    assert built(base) == []
    assert 'href="../../reference/toy/"><code>_hidden</code>' in page(base, "papers/toy")


ANSWERING = '''"""Toy.

Answers: toy.why
    So {}.

    >>> 1
    1
"""


def f() -> None:
    """F.

    Asked: toy.why
    """
'''


def test_a_text_of_a_card_leads_to_the_same_places_wherever_it_is_shown(base: Base) -> None:
    # Beside the page where it is shown lies another page and another picture of the same names.
    text = "![Pic](pic.png) [other](other.md), [way](../docs.md), [up](#why)"
    sound, shown = SOUND["papers/toy.yml"], "<!-- quaere:question toy.why -->\n"
    base.write(
        {
            "papers/toy.yml": sound.replace("implementation: null\n", "").replace("Why?", f"'Why {text}?'"),
            "papers/other.yml": sound.replace("A sound idea.", f"'An idea {text}'"),
            "reference_impl/toy.py": ANSWERING.format(text),
            "reference_impl/other.py": '"""Other."""\n',
            "tests/papers/test_toy.py": "",
            "docs/index.md": f"# Home\n\n{shown}\n<!-- quaere:newest -->\n",
            "docs/deep/shown.md": f"# Shown ![Pic](pic.png)\n\nSee [[toy]].\n\n{shown}",
            "docs/deep/linked.md": "# Linked\n\n[[toy.why]]\n",
            "docs/docs.md": "# Docs\n",
            "docs/other.md": "# Another\n",
        }
    )
    for picture in ("papers/pic.png", "docs/pic.png", "docs/deep/pic.png"):
        (base.root / picture).parent.mkdir(exist_ok=True)
        (base.root / picture).write_bytes(PICTURE)
    assert built(base) == []
    for path in ("papers/toy/", "", "deep/shown/", "code/toy/"):
        (prose,) = re.findall(r"<p>So (.*?)\.</p>", page(base, path), re.DOTALL)
        led = [urljoin(f"/{path}", found) for found in re.findall(r' (?:src|href)="([^"]*)"', prose)]
        assert led == ["/papers/pic.png", "/papers/other/", "/docs/", "/papers/toy/#why"], path
        pictures = re.findall(r'Why <img[^>]* src="([^"]*)"[^>]*> other, way, up\?', page(base, path))
        assert {urljoin(f"/{path}", found) for found in pictures} == {"/papers/pic.png"}, path
    # Those that are taken along have addresses of their own place, and the words of links.
    for path in ("assets/cards/toy.md", "assets/notebooks/toy.ipynb", "llms.txt"):
        led = [
            urljoin(f"/{path}", found)
            for found in re.findall(r"\]\(([^)]*)\)", (base.root / "site" / path).read_text())
        ]
        asked = ["/papers/pic.png", "/papers/other/", "/docs/", "/papers/toy/#why"]
        assert led[: len(asked)] == asked or path == "llms.txt", path
        assert set(led) <= {*asked, "/papers/other/#why", "/assets/cards/toy.md", "/assets/cards/other.md"}, path
    # What a question asks is shown wherever one links to it; and what a page is called, on cards that it discusses.
    for path, words in (("deep/linked/", "Why"), ("papers/toy/", "Shown")):
        (picture,) = re.findall(rf'<a href="[^"]*">{words} <img[^>]* src="([^"]*)"', page(base, path))
        assert urljoin(f"/{path}", picture) == ("/papers/pic.png" if words == "Why" else "/deep/pic.png")
    # On lists a text is told in words: it is the same on each.
    for path in ("questions", "papers", "board", "tags"):
        assert "<img" not in page(base, path), path
    assert "Why Pic other, way, up?" in page(base, "questions")
    assert "An idea Pic other, way, up" in page(base, "papers")


def test_questions_and_headings_of_the_same_name_have_ids_of_their_own_on_a_page(base: Base) -> None:
    noted = """\
cite: toy2020
implementation: null
questions:
  - id: why
    ask: Why?
    asked: 2026-01-31
    answer: |
      Yes[^1].

      ## Same

      [^1]: Of """
    for slug in ("toy", "other"):
        base.write({f"papers/{slug}.yml": f"{noted}{slug}.\n"})
    shown = "<!-- quaere:question toy.why -->\n\n<!-- quaere:question other.why -->\n"
    base.write({"docs/shown.md": f"# Shown\n\n## Why\n\n## Same\n\n{shown}"})
    assert built(base) == []
    found = page(base, "shown")
    ids = re.findall(r' id="([^"]*)"', found)
    assert sorted(set(ids)) == sorted(ids)
    # Each note is the one of its own answer.
    notes = [
        re.search(rf'id="{note}".*?<p>(.*?) <a', found, re.DOTALL)
        for note in re.findall(r'href="#(fn[^"]*)" id', found)
    ]
    assert [note and note[1] for note in notes] == ["Of toy.", "Of other."]


def test_a_module_may_have_the_name_of_its_package(base: Base) -> None:
    base.write(
        {"reference_impl/reference_impl.py": '"""The module."""\n', "reference_impl/index.py": '"""An index."""\n'}
    )
    base.write({"reference_impl/__init__.py": '"""The package."""\n'})
    assert built(base) == []
    assert "The package." in page(base, "reference/reference_impl")
    assert "The module." in page(base, "reference/reference_impl_")
    assert "An index." in page(base, "reference/index_")


def test_without_tabs_a_card_keeps_the_navigation_at_the_side(base: Base) -> None:
    base.write({"mkdocs.yml": "theme: {features: []}\n"})
    assert built(base) == []
    assert 'data-md-type="navigation" hidden' not in page(base, "papers/toy")


def test_links_to_sources_name_the_branch_that_is_edited(base: Base) -> None:
    base.write({"mkdocs.yml": "repo_url: https://example.org/toys\nedit_uri: edit/dev/docs/\n"})
    assert built(base) == []
    assert "https://example.org/toys/edit/dev/papers/toy.yml#L" in page(base, "papers/toy")
    assert "/main/" not in page(base, "papers/toy")


def test_a_folder_that_holds_something_else_is_no_site(base: Base) -> None:
    base.write({"site/letter.txt": "Dear"})
    with pytest.raises(MisuseError, match="this contains something other than a site"):
        build(base.project, base.library(), base.root / "site")
    assert (base.root / "site/letter.txt").read_text() == "Dear"


def test_where_mkdocs_yml_is_not_strict_the_site_is_built_all_the_same(base: Base) -> None:
    base.write({"mkdocs.yml": "strict: false\n", "docs/index.md": "# Home\n\n[gone](zzzzzz.md)\n"})
    assert built(base) == ["docs/index.md:3:8: `zzzzzz.md` leads nowhere"]
    assert "gone" in page(base)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "site_name: X\nplugins:\n  - search\n",
            "mkdocs.yml:2:1: `plugins` leaves out `quaere`, and with it every page of the cards\n"
            "  hint: add `- quaere` to the list, or remove `plugins`",
        ),
        (
            "theme: readthedocs\n",
            "mkdocs.yml:1:1: the theme is `readthedocs`, and the pages are made for `material`\n"
            "  hint: write `name: material`, or remove `theme`",
        ),
        (
            "site_name: X\ndocs_dir: pages\n",
            "mkdocs.yml:2:1: `docs_dir` is not read here\n  hint: use `docs` in [tool.quaere], and remove it",
        ),
        (
            "theme:\n  features: [navigation.instant]\n",
            "mkdocs.yml:1:1: `navigation.instant` keeps the first page's policy, and leaves diagrams undrawn"
            "\n  hint: remove that feature",
        ),
        ("- a\n- b\n", "mkdocs.yml:1:1: expected a mapping\n  hint: write `name: value`"),
        (
            "site_name: X\nnav: [a\n",
            "mkdocs.yml:3:1: not YAML: expected ',' or ']', but got '<stream end>'\n"
            "  hint: look at the indentation of this line",
        ),
        (
            "site_name: X\nsite_url: 7\n",
            "mkdocs.yml:2:1: site_url: Expected a string, got <class 'int'>",
        ),
        ("", ""),
        ("# nothing\n", ""),
    ],
)
def test_a_mkdocs_yml_at_fault_is_told_with_its_place(base: Base, text: str, told: str) -> None:
    base.write({"mkdocs.yml": text})
    assert built(base) == ([told] if told else [])
    assert (base.root / "site").exists() is not bool(told)


def test_a_page_named_in_the_navigation_must_be_there(base: Base) -> None:
    base.write({"mkdocs.yml": "nav: [index.md, gone.md]\n", "docs/index.md": "# Home\n"})
    assert len(told := built(base)) == 1
    assert told[0].startswith("mkdocs.yml: A reference to 'gone.md' is included in the 'nav' configuration")


def test_an_equation_that_cannot_be_drawn_is_told_with_its_place_and_ends_no_build(base: Base) -> None:
    base.write({"docs/index.md": "# Home\n\nAn equation: $\\frac{1}{2}$.\n\nAnother: $\\foo + 1$.\n"})
    told: list[str] = []
    assert built(base, tell=told.append) == []
    hint = "it is shown as written; pages draw what KaTeX knows"
    said = "the equation `\\foo + 1` can't be drawn: Undefined control sequence: \\foo"
    assert told == [f"docs/index.md:5:11: {said}\n  hint: {hint}"]
    shown = page(base)
    assert '<span class="arithmatex q-unread" title="Undefined control sequence: \\foo">\\(\\foo + 1\\)</span>' in shown
    assert shown.count('class="katex-html"') == 1
    assert "<style>" in shown.partition("</head>")[0]


def test_an_address_that_leads_nowhere_is_answered_with_the_ways_in_whatever_its_depth(base: Base) -> None:
    base.write({"mkdocs.yml": "site_url: https://example.org/sub/path/\n"})
    assert built(base) == []
    shown = (base.root / "site/404.html").read_text(encoding="utf-8")
    assert '<li><a href="/sub/path/papers/">Papers</a></li>' in shown
    assert '<li><a href="/sub/path/questions/">Questions</a></li>' in shown
    assert '<script src="/sub/path/assets/missing.js" type="module"></script>' in shown
    assert "Content-Security-Policy" in shown
