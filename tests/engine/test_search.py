"""The files of the search: what is found by which words, and that they are small, the same each time, and only text."""

import gzip
import itertools
import json
from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks import generated
from quaere.content import addresses
from quaere.pages import render, search
from quaere.pages.view import View
from quaere.project import Project
from tests.engine.conftest import Base
from tests.engine.test_pages import library, paper, small

BODY = """
<p><a class="q-back" href="../">← Papers</a></p>
<h1 id="red">Red<a class="headerlink" href="#red">#</a></h1>
<p>An <em>idea</em> of H<sub>2</sub>O with <span class="arithmatex">\\(\\alpha^2\\)</span>.</p>
<div class="arithmatex">\\[\\frac{never}{read}\\]</div>
<details class="q-question"><summary><h3 id="held">Does it hold?</h3> <span class="q-badge">open</span>
<p class="q-brief">Yes.</p></summary><p>Yes, <a title="a > b" href="#">always</a>.</p></details>
<h2 id="notes_">Notes</h2><p>Remarks.</p>
<h3 id="deep">Deep &amp; wide</h3><p>Well.</p>
<div class="q-claim" id="fast_claim">
<p>It is fast.</p><p>size small</p></div>
<details><summary><h2 id="cite_">Cite</h2></summary><pre>@misc{zzz}</pre></details>
"""


def view(**changes: Any) -> View:
    return render.view(small(**changes), {})


def parts(body: str, path: str = "papers/red.md") -> list[list[str]]:
    found: list[list[str]] = json.loads(search.read(view(), path, 7, "Red", body).parts)
    return found


def files(shown: View) -> dict[str, Any]:
    """Return what the files hold by their names, those of pages by the pages' paths."""
    numbers = search.numbers(shown.library.pages)
    made, read = {}, []
    for path, page in render.pages(shown).items():
        if found := search.read_page(shown, page, numbers.get(path, 0)):
            read.append(found)
            made[path] = json.loads(found.parts)
    for path, text in all_files(shown, read).items():
        made[path.removeprefix(search.FOLDER)] = json.loads(text)
    return made


def rows(made: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the rows of the names by address."""
    names = made["names.json"]
    columns = [names[name].split("\n") for name in ("addresses", "titles", "shorts", "authors", "years")]
    return {row[0]: row for row in zip(*columns, names["kinds"], strict=True)}


# A page


def test_a_page_is_read_by_its_questions_its_headings_and_its_claims() -> None:
    assert [(id, kind, title) for id, kind, title, _, _ in parts(BODY)] == [
        ("", "", "Red"),
        ("held", "Q", "Does it hold?"),
        ("notes_", "", "Notes"),
        ("deep", "S", "Deep & wide"),
        ("fast_claim", "C", "It is fast."),
    ]


def test_the_text_of_a_part_is_what_a_reader_sees_once() -> None:
    texts = {id: text for id, _, _, text, _ in parts(BODY)}
    assert texts == {
        "": "An idea of H2O with α².",
        "held": "Yes, always.",
        "notes_": "Remarks.",
        "deep": "Well.",
        "fast_claim": "size small",
    }


def test_a_question_has_its_state() -> None:
    assert {id: state for id, kind, *_, state in parts(BODY) if kind == "Q"} == {"held": "unverified"}


def test_what_is_excluded_is_not_read() -> None:
    body = '<h1 id="a">A</h1><p data-search-exclude="1">secret</p><p>told</p><script>hidden</script>'
    assert parts(body, "notes.md") == [["", "", "Red", "told", ""]]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Ünïcode naïve Łódź straße", {"unicode", "naive", "lodz", "strasse"}),
        ("U\u0308ber", {"uber"}),
        ("scaled_dot_product", {"scaled", "dot", "product"}),
        ("循环神经网络 in BERT模型", {"循环", "环神", "神经", "经网", "网络", "络", "bert", "模型", "型"}),
        ("カタカナ", {"カタ", "タカ", "カナ", "ナ"}),
        ("신경망은", {"신경", "경망", "망은", "은"}),
        ("1706.03762", {"1706", "03762"}),
        ("the of x 7", set()),
        ("x" * 5000, {"x" * 40}),
        ("half \ud800 a character", {"half", "character"}),
    ],
)
def test_a_text_is_found_by_its_words_without_accents(text: str, found: set[str]) -> None:
    assert search.terms(text) == found


# The files


def test_names_have_cards_pages_tags_and_affiliations() -> None:
    found = rows(files(view()))
    assert found["papers/red/"][1:] == ("Red: a color", "", "Doe, Roe", "2020", "P")
    assert {row[-1] for row in found.values()} >= {"P", "H", "T"}
    assert [row[1] for row in found.values() if row[-1] == "T"] == list(view().tags)


def test_a_paper_on_which_many_build_weighs_more_up_to_a_digit() -> None:
    followers = [paper(f"p{n:02}", builds_on=("red", "blue")[: 1 + (n < 3)]) for n in range(12)]
    names = files(render.view(library(paper("red"), paper("blue"), *followers), {}))["names.json"]
    weights = dict(zip(names["addresses"].split("\n"), names["weights"], strict=True))
    assert (weights["papers/red/"], weights["papers/blue/"], weights["papers/p00/"]) == ("9", "3", "0")


def test_words_lead_to_the_pages_and_parts_that_hold_them() -> None:
    made = files(view())
    number = search.numbers(view().library.pages)["papers/red.md"]
    texts = made["papers/red.md"]
    held = next(at for at, part in enumerate(texts) if part[0] == "held")
    word = next(iter(sorted(search.terms(texts[held][2]))))
    line = next(
        one for one in made[search.shard(word).removeprefix(search.FOLDER)].split("\n") if one.startswith(f"{word}|")
    )
    assert f"{number}Q{held}" in line.split("|")[2].split(" ")
    for name, text in made.items():
        lines = [one.split("|")[0] for one in text.split("\n")] if name.startswith("words/") else []
        assert lines == sorted(set(lines))
        assert {search.shard(one) for one in lines} <= {search.FOLDER + name}


def test_a_paper_is_found_by_its_identifiers(base: Base) -> None:
    ids = "eprint={math.GT/0309136v2}, archiveprefix={arXiv}, doi={10.9999/Ab.C}"
    bib = f"@misc{{toy2020, title={{Toys}}, year={{2020}}, {ids}}}"
    base.write({"papers/references.bib": bib})
    shown = render.view(base.library(), {})
    number = search.numbers(shown.library.pages)["papers/toy.md"]
    assert files(shown)["identifiers.json"] == {"math/0309136": number, "10.9999/ab.c": number}


def read_of(shown: View, **changed: str) -> list[search.Read]:
    """Read all pages, some with another body."""
    numbers = search.numbers(shown.library.pages)
    pages = (page for page in render.pages(shown).values() if page.path in numbers)
    return [
        search.read(shown, page.path, numbers[page.path], page.title, changed.get(page.path, page.body))
        for page in pages
    ]


def files_of_words(pages: list[search.Read]) -> dict[str, str]:
    words = search.Words()
    for page in pages:
        words.add(page)
    return dict(words.files())


def all_files(shown: View, pages: list[search.Read]) -> dict[str, str]:
    return {**dict(search.files(shown, [page.entry for page in pages])), **files_of_words(pages)}


def test_files_do_not_depend_on_the_order_of_the_pages() -> None:
    shown = view()
    pages = read_of(shown)
    assert all_files(shown, pages) == all_files(shown, pages[::-1])


def test_files_of_words_are_changed_where_words_come_or_go() -> None:
    shown = view()
    pages = {
        "papers/blue.md": '<h1 id="a">Blue</h1><h2 id="b">Zebras</h2><p>Quagga, 斑马.</p>',
        "papers/red.md": '<h1 id="a">Red</h1><p>Zebras</p>',
    }
    states = [read_of(shown), read_of(shown, **pages), read_of(shown)[1:], []]
    for before, now in itertools.permutations(states, 2):
        former, whole = files_of_words(before), files_of_words(now)
        changes = search.changes(before, now)
        assert changes.keys() == {path for path in {*former, *whole} if former.get(path) != whole.get(path)}
        for path, some in changes.items():
            assert search.changed(former.get(path, ""), some) == whole.get(path, "")


def test_a_page_is_read_again_from_its_entry_and_the_file_of_its_parts() -> None:
    for read in read_of(view()):
        kept = search.Entry.read(json.loads(json.dumps(read.entry.tell())))
        assert search.Read.again(kept, read.parts) == read


def test_a_page_that_comes_or_goes_leaves_the_numbers_of_others() -> None:
    paths = [f"papers/card_{number}.md" for number in range(3000)]
    before, after = search.numbers(paths), search.numbers([*paths, "papers/new.md"])
    assert list(before.values()) == sorted(set(before.values()))
    assert sum(before[path] != after[path] for path in paths) <= 1
    assert search.numbers(reversed(paths)) == before


def test_without_cards_there_are_files_all_the_same() -> None:
    made = files(render.view(library(), {}))
    assert made["identifiers.json"] == {}
    assert set(rows(made)) == {render.view(library(), {}).url(path) for path in addresses.LISTS}


def test_what_is_fetched_before_the_first_result_is_small(base: Base) -> None:
    generated.write_library(base.root, 300)
    project = Project.find(base.root)
    shown = project.view(project.read()[0])
    numbers = search.numbers(map(addresses.card, shown.summaries))
    entries = [
        search.read(shown, addresses.card(slug), numbers[addresses.card(slug)], one.title, "").entry
        for slug, one in shown.summaries.items()
    ]
    made = dict(search.files(shown, entries))
    size = len(gzip.compress(made[f"{search.FOLDER}names.json"].encode(), 6))
    # 300 KB for 5,000 cards.
    assert size < 300 * 60


def test_hostile_texts_stay_texts() -> None:
    attack = '"><img src=x onerror=alert(1)>\n</script>|9Q1 \u2028'
    body = f"<h1 id='a'>A</h1><h2 id=\"b\">{html_of(attack)}</h2><p>{html_of(attack)}</p>"
    [_, part] = parts(body, "notes.md")
    assert part[2] == part[3] == " ".join(attack.split())
    entry = search.read(view(), "notes.md", 7, attack, body).entry
    assert "\n" not in entry.name[2]
    assert all(set(line.partition(" ")[0]).isdisjoint('|"<\n') for line in entry.named.split("\n"))


def html_of(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
