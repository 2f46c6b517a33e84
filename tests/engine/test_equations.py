"""Equations drawn when the site is built: what is drawn, what a stranger's TeX can do, and what is kept."""

import html
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from quaere.cache import Cache
from quaere.site import equations, policy
from quaere.site.equations import Equations


def made(source: bytes, make: Callable[[], str]) -> str:
    return make()


def drawn(tex: str, *, display: bool = False) -> str:
    opening, closing = ("\\[", "\\]") if display else ("\\(", "\\)")
    return Equations(made).drawn(f'<span class="arithmatex">{opening}{html.escape(tex)}{closing}</span>')


def problem(tex: str) -> str:
    page = drawn(tex)
    ((written, said),) = equations.unread(page) or [("", "it was drawn")]
    assert written in ("", f"\\({tex}\\)")
    return said


# What is drawn


def test_an_equation_becomes_html_and_mathml_without_styles() -> None:
    page = drawn(r"\frac{1}{\sqrt{d_k}} < \alpha")
    assert "<math xmlns" in page
    assert '<span class="katex-html" aria-hidden="true">' in page
    assert '<annotation encoding="application/x-tex">\\frac{1}{\\sqrt{d_k}} &lt; \\alpha</annotation>' in page
    assert "style=" not in page
    assert equations.unread(page) == []


def test_displays_on_neighboring_lines_are_two_and_all_else_of_a_page_stays() -> None:
    page = '<p>$a$ \\(b\\)</p><div class="arithmatex">\\[a$$\n$$b\\]</div><code>arithmatex</code>'
    shown = Equations(made).drawn(page)
    assert shown.count('<span class="katex-display">') == 2
    assert shown.startswith("<p>$a$ \\(b\\)</p>")
    assert shown.endswith("<code>arithmatex</code>")


def test_each_declaration_is_a_class_named_after_it_and_the_sheet_follows_from_the_page() -> None:
    page = drawn(r"x_i \color{red} y")
    sheet = equations.sheet(page)
    assert re.search(r'class="[^"]*\bheight:0\.\d+em[ "]', page)
    assert re.search(r"\.height\\:0\\\.\d+em\{height:0\.\d+em!important\}", sheet)
    assert ".color\\:red{color:red!important}" in sheet
    rules = sheet.split("}")[:-1]
    assert rules == sorted(set(rules))
    assert equations.sheet(page + page) == sheet
    # What else a page says in its classes makes no rules.
    others = '<span class="color:red;x top:1emx background:url(x)"><p class="top:1em">'
    assert equations.sheet(page + others) == sheet
    assert equations.sheet('<span class="color:red">') == ""


def test_a_page_with_equations_links_the_style_sheet_and_its_policy_allows_its_own_rules_and_no_others() -> None:
    page = drawn("x_i")
    sheet = equations.sheet(page)
    links = equations.links(page, "../katex.min.css", sheet)
    assert links == f'<link rel="stylesheet" href="../katex.min.css"><style>{sheet}</style>'
    assert equations.put("<head><title></title></head>", links) == f"<head><title></title>{links}</head>"
    assert re.fullmatch(r" 'sha256-[\w+/]{43}='", policy.styles(page, sheet))
    # Beside a hash, a browser takes no notice of 'unsafe-inline', which Mermaid needs.
    assert policy.styles('<div class="diagram">', sheet) == " 'unsafe-inline'"
    assert equations.links("<p>no equation</p>", "x", "") == policy.styles("<p>no equation</p>", "") == ""


# What a stranger's TeX can do


@pytest.mark.parametrize(
    ("tex", "said"),
    [
        (r"\foo", r"Undefined control sequence: \foo"),
        (r"\frac{1}", "Unexpected end of input in a macro argument"),
        (r"\href{javascript:alert(1)}{x}", r"\href is not allowed here"),
        (r"\url{https://example.org}", r"\url is not allowed here"),
        (r"\includegraphics{https://example.org/x.png}", r"\includegraphics is not allowed here"),
        (r"\htmlClass{md-nav}{x}", r"\htmlClass is not allowed here"),
        (r"\htmlId{a}{x}", r"\htmlId is not allowed here"),
        (r"\htmlStyle{color: red}{x}", r"\htmlStyle is not allowed here"),
        (r"\htmlData{a=b}{x}", r"\htmlData is not allowed here"),
        (r"\def\a{\a\a}\a", r"\def is not allowed here"),
        (r"\let\a\b", r"\let is not allowed here"),
        (r"x\\\newcommand{\a}{\a\a}\a", r"\newcommand is not allowed here"),
        (r"\show\a", r"\show is not allowed here"),
        (r"\color{red;background:url(//example.org)}{x}", "Invalid color: 'red;background:url(//example.org)'"),
        ("{" * 1500 + "}" * 1500, "it is nested too deep"),
        ("x" * 5000, "it has 5,000 characters, and 4,000 are drawn"),
        (r"\begin{matrix}" + "&" * 3900 + r"\end{matrix}", "it is too large"),
        ("\ud800", "KaTeX can only parse string typed expression"),
    ],
)
def test_what_cannot_be_drawn_stays_as_written_with_the_reason(tex: str, said: str) -> None:
    assert said in problem(tex)


def test_a_backslash_before_a_word_is_no_definition() -> None:
    assert equations.unread(drawn(r"a \\ definition \default")) != []
    assert equations.unread(drawn(r"\begin{matrix} a \\def \end{matrix}")) == []


def test_sizes_are_bounded_and_markup_is_text() -> None:
    rule = drawn(r"\rule{100000em}{100000em}")
    assert "100000" not in rule.partition('class="katex-html"')[2]
    assert "width:60em" in rule or "border-right-width:60em" in rule
    for tex in (r"\text{<script>alert(1)</script>}", r"\verb|</annotation></semantics></math><script>|"):
        assert "<script" not in drawn(tex)
        assert equations.unread(drawn(tex)) == []


@pytest.mark.parametrize(
    "markup",
    [
        "<script>x</script>",
        '<span onclick="x">x</span>',
        '<span style="background:url(x)">x</span>',
        '<span style="position:fixed">x</span>',
        '<span style="top:99999em">x</span>',
        '<a href="https://example.org">x</a>',
        "<span>x",
        "x</span>",
        "<span><math></span></math>",
        "<span class=a>x</span>",
        '<svg href="x"></svg>',
    ],
)
def test_only_what_is_on_the_list_passes_whatever_katex_writes(markup: str) -> None:
    with pytest.raises(equations._UnreadError):
        equations._allowed(markup)


def test_an_engine_that_ran_out_of_something_is_replaced_and_what_follows_is_drawn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kept = Cache(tmp_path)
    monkeypatch.setattr(equations, "_MEMORY", 8 << 20)
    one = Equations(kept.get)
    hungry, small = r"\begin{matrix}" + "x&" * 1900 + r"\end{matrix}", "x_2"
    page = one.drawn("".join(f'<span class="arithmatex">\\({html.escape(tex)}\\)</span>' for tex in (hungry, small)))
    assert [said for _, said in equations.unread(page)] == ["it takes too much time or memory"]
    assert page.count("katex-html") == 1
    monkeypatch.setattr(equations, "_MEMORY", 64 << 20)
    monkeypatch.setattr(equations, "_SECONDS", 0)
    again = Equations(kept.get).drawn(f'<span class="arithmatex">\\({html.escape(hungry)}\\)</span>')
    assert [said for _, said in equations.unread(again)] == ["it takes too much time or memory"]


def test_thousands_of_equations_are_drawn_in_one_engine() -> None:
    many = "".join(f'<span class="arithmatex">\\(x_{{{number}}}\\)</span>' for number in range(1000))
    started = time.process_time()
    page = Equations(made).drawn(many)
    assert page.count('class="katex-html"') == 1000
    # Half a second of an idle core; an engine for each would take a minute.
    assert time.process_time() - started < 20


# What is kept


def test_an_equation_is_drawn_once_and_a_corrupt_cache_is_not_trusted(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    page = '<span class="arithmatex">\\(x_1\\)</span><div class="arithmatex">\\[x_1\\]</div><p>x</p>'
    first = Equations(cache.get)
    shown = first.drawn(page)
    assert first._context is not None
    second = Equations(cache.get)
    assert second.drawn(page) == shown
    assert second._context is None
    for file in tmp_path.glob("*/*"):
        file.write_bytes(b"0" * 64 + b"\n<script>alert(1)</script>")
    assert Equations(cache.get).drawn(page) == shown


def test_a_process_with_other_hashes_draws_the_same() -> None:
    code = (
        "from quaere.site import equations\n"
        "one = equations.Equations(lambda source, make: make())\n"
        "page = one.drawn('<span class=\"arithmatex\">\\\\(\\\\sqrt{x}^2_{ij} \\\\to \\\\boxed{y}\\\\)</span>')\n"
        "print(page, equations.sheet(page))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed}
        ).stdout
        for seed in "12"
    }
    assert len(said) == 1
    assert b"katex-html" in said.pop()
