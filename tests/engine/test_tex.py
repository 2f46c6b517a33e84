"""TeX becomes Unicode, with its marks and its mathematics; what can't be set is told."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quaere.content.bibliography import tex
from quaere.content.bibliography.tex import TexError, literal, read
from tests.engine.test_time import assert_linear, repeated


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        # Accents: with braces and without, piled up, on letters without a dot, with nothing below them.
        (r"\'{\^e} \'{\v{s}} \d{\'{o}} \"{\=u} \={\"u} \'{\aa}", "ế š́ ọ́ ṻ ǖ ǻ"),
        (r"{\'\i} \^{\i} {\"\i} \`{\i} \.{\i} \'\j \i \j", "í î ï ì i̇ j́ıȷ"),
        (r"\c{c}\c c\k{a}\.{z}\H{o}\r{a}\v{s}\u{g}\b{d}\=o\~n\U{o}\h{o}\G{o}\f{o}", "ççążőåšğḏōño̎ỏȍȏ"),
        (r"\t{oo} \textcommabelow{s} \' e \'{ab}", "o͡o ș é áb"),
        (r"\d{\i} \k\i", "ı\u0323 ı\u0328"),
        (r"\~{} \^{} \'{}e x\"", "~ ^ 'e x\""),
        (r"{\dj}{\DH}{\TH}{\ng}{\ae}{\OE}{\ss}{\l}{\aa}{\o}{\L}", "đÐÞŋæŒßłåøŁ"),
        (r"\ss{} \ss x na{\"i}ve \^\i le \o re", "ß ßx naïve île øre"),
        # Signs and words.
        (r"\&\%\$\#\_\{\} \copyright\textregistered\pounds\euro\S\P", "&%$#_{} ©®£€§¶"),
        (r"\LaTeX{} and \TeX, \textendash\textemdash{}x \ldots", "LaTeX and TeX, –—x …"),
        (r"\textasciitilde\textbackslash\textbar\textless\textgreater\textquotesingle", r"~\|<>'"),
        (r"!`Hola! ?`Qu\'e? a! b?", "¡Hola! ¿Qué? a! b?"),
        (r"\guillemotleft a\guillemotright{} \quotedblbase b\textquotedblleft", "«a» „b“"),
        ('\\char233\\symbol{233}\\char"E9', "ééé"),
        (r"a\-b A\slash B a\,b\;c\ d\!e a\\b", "ab A/B a\u202fb c de a b"),
        # Commands that only say how to set it, and those that nobody knows.
        (r"{\relax Ch}x \mbox{a b} \texttt{c}\textsf{d}\hbox{e} \uppercase{f}\MakeLowercase{G}", "Chx a b cde Fg"),
        (r"\foo{bar} \baz qux", r"bar \baz qux"),
        (r"\enquote{q} \mkbibquote{w} \bibstring{phdthesis}", "“q” “w” PhD thesis"),
        (r"\url{http://x.org/a_b\%20c} \href{http://x.org}{text}", "http://x.org/a_b%20c text"),
        # Mathematics as far as Unicode has it.
        (r"$\beta$-sheets, CO$_2$, $^{13}$C, $\mu$m, $10^{-3}$", "β-sheets, CO₂, ¹³C, μm, 10⁻³"),
        (r"$O(n^2 \log n)$ $x_{i+1}^{2k}$ $\alpha^{\beta_i}$ $W_Q$", "O(n² log n) xᵢ₊₁²ᵏ α^(βᵢ) W_Q"),
        (r"$\frac{a+b}{2}$ $\frac12$ $\sqrt{n}$ $\sqrt[3]{n+1}$ $\hat{x}'$", "(a+b)/2 1/2 √n ∛(n+1) x̂′"),
        (r"$\mathbb{R}^n$ $\mathcal{O}$ $\mathrm{SE}(3)$ $\not\in$ \ensuremath{\leq}", "ℝⁿ O SE(3) ∉ ≤"),
        (r"\(a\) \[b\] $$c$$", "a b c"),
        (r"H\textsubscript{2}O, 10\textsuperscript{6}, 19\textsuperscript{th}", "H₂O, 10⁶, 19th"),
        (r"$n\log n$ $\mathsf{P} \neq \mathsf{NP}$ $a\in A$ $\alpha \beta$", "n log n P ≠ NP a∈A αβ"),
        (r"5$^\circ$C $x^\prime$ $x^\top$ $x\sp2\sb{i}$ $T_\mathrm{eff}$ 3$^\text{rd}$", "5°C x′ xᵀ x²ᵢ T_(eff) 3ʳᵈ"),
        (r"${\cal N}=4$ $\mathcal O(n)$ $\mathbf x$ $\vec v$ $\mathbb R$", "N=4 O(n) x v ℝ"),
        (r"$\tfrac12$ $\dfrac{a}{b+c}$ $\binom{n}{k}$ $\ensuremath{\alpha}$", "1/2 a/(b+c) (n choose k) α"),
        # Of databases of mathematics, of Vietnamese, and of packages.
        (r"{\cprime}\cdprime{}\polhk{a}\udot{h}\ocirc{u}\soft{l}\lfhook{s}\Dbar{}\dbar", "ʹʺąḥůľșĐđ"),
        (r"\'{\uhorn}\`{\ohorn}\UHORN\OHORN{}", "ứờƯƠ"),
        (r"\texorpdfstring{$\alpha$}{alpha} \bibinfo{year}{2020}", "α 2020"),
        (r"a\footnote{b}\thanks{c}\index{d}\phantom{e} f\hfill g\xspace{}", "a fg"),
        (r"\foo{} a\ ", r"\foo a"),
        # Money, and dollars that nobody closed.
        ("$5 million, or \\$6", "$5 million, or $6"),
        ("a$", "a$"),
        ("$$ $ $", "$$ $ $"),
        ("{a $b} c$", "a $b c$"),
        # Not TeX's: percent signs, ampersands and the like that somebody forgot to escape.
        ("100% of R&D, #1, a_b, x^y", "100% of R&D, #1, a_b, x^y"),
        (r"\begin{tabular}{c}a & b\\c\end{tabular}", "a b; c"),
        ("", ""),
        ("  a \n  b ", "a b"),
    ],
)
def test_tex_is_shown_as_unicode(written: str, shown: str) -> None:
    assert read(written).plain == shown


def test_marks_are_tags_of_csl_one_inside_the_other() -> None:
    assert read(r"\emph{a \textbf{b}} {\bf c {\em d} e} f").html == "<i>a <b>b</b></i> <b>c <i>d</i> e</b> f"
    assert read(r"{\em a \rm b} \textsc{c}").html == '<i>a </i>b <span style="font-variant:small-caps;">c</span>'
    assert read(r"CO$_2$ \textsuperscript{3}He").html == "CO<sub>2</sub> <sup>3</sup>He"


def test_mathematics_keeps_its_source() -> None:
    assert [run.text for run in read(r"From $\beta$ to \(\gamma\)") if run.is_math] == [r"\beta", r"\gamma"]


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (r"\sqrt[ n]", r"`\sqrt` lacks its argument"),
        (r"\href", r"`\href` lacks its argument"),
        (r"\href{a}", r"`\href` lacks its argument"),
        (r"\frac1", r"`\frac` lacks its argument"),
        (r"\emph", r"`\emph` lacks its argument"),
        (r"\begin{array}{c}", r"`\begin{array}` has no `\end{array}`"),
        (r"\begin", r"`\begin` lacks its argument"),
        (r"\char", r"`\char` lacks its number"),
        (r"\char55555555", "`\\char` names no character"),
        (r"\char27", "`\\char` names no character"),
        (r"\symbol{55296}", "`\\symbol` names no character"),
        ("{" * 3000, "braces are nested more than 100 levels deep"),
        ("{" * 99 + "a", "a brace is opened and not closed"),
        ("a}", "a brace is closed that was not opened"),
        (r"\noopsort", r"`\noopsort` lacks its argument"),
        (r"\frac" * 3000, "commands are nested more than 30 levels deep"),
    ],
)
def test_what_tex_could_not_set_is_told(written: str, problem: str) -> None:
    with pytest.raises(TexError) as caught:
        read(written)
    assert str(caught.value) == problem


def test_commands_of_a_preamble_are_expanded() -> None:
    preamble = r"\newcommand{\noop}[1]{} \def\pair#1#2{#2, #1} \renewcommand*\name{Ann \pair{a}{b}}"
    defined = tex.commands(preamble)
    assert read(r"\noop{x}1973 \pair{c}d \name", defined).plain == "1973 d, c Ann b, a"
    # Those of BibTeX's own example need no preamble.
    assert read(r"{\noopsort{1973a}}{\switchargs{--90}{1968}}").plain == "1968–90"


@pytest.mark.parametrize("preamble", [r"\newcommand{\a}{\a}", r"\newcommand{\a}{\b\b}\newcommand{\b}{\a\a}"])
def test_commands_without_end_are_told(preamble: str) -> None:
    with pytest.raises(TexError, match="without end"):
        read(r"\a", tex.commands(preamble))


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        (r"\url{https://x.org/\~{}a/b\_c\%20d}", "https://x.org/~a/b_c%20d"),
        (r"http://x.org/$\sim$ann/{\textasciitilde}b/\#c", "http://x.org/~ann/~b/#c"),
        (r"10.1002/a{\textless}1::B{\textgreater}3.0.CO;2-2", "10.1002/a<1::B>3.0.CO;2-2"),
        (r"10.1000/a\_b%3C$<$c", "10.1000/a_b%3C<c"),
        ("https://x.org/very/\n  \\linebreak long", "https://x.org/very/long"),
        (r"a\textunderscore b", "a_b"),
        (r"\href{https://x.org/a\_b}{c}", "https://x.org/a_b"),
    ],
)
def test_addresses_are_freed_of_tex(written: str, taken: str) -> None:
    assert literal(written) == taken


COMMANDS = [
    r"\'",
    r"\"",
    r"\emph",
    r"\textbf{",
    r"\sqrt[",
    r"\frac",
    r"\begin{a}",
    r"\end{a}",
    r"\href{",
    r"\url{",
    r"$$",
    r"\(",
    r"\)",
    r"\c",
    r"\i",
    r"\noopsort{",
    r"\char",
    r"\em",
    r"\alpha",
]
FRAGMENTS = st.sampled_from([*"ab {}$\\~-'`\"^_&%#[]().,é\n", *COMMANDS])


@settings(deadline=None, derandomize=True, max_examples=500)
@given(st.lists(FRAGMENTS, max_size=40).map("".join))
def test_any_text_is_read_or_told(written: str) -> None:
    try:
        found = read(written)
    except TexError:
        return
    assert found.plain == found.plain.strip(" ")
    assert isinstance(found.html, str)


@pytest.mark.parametrize(
    "part",
    [r"\'e", "$a$", "{a}", "{a", "$", "$a", "--", r"\emph{a}", r"\begin{a}", r"\(", "``", r"\noopsort{a}", r"\foo "],
)
def test_a_text_is_read_in_linear_time(part: str) -> None:
    def run(text: str) -> None:
        with contextlib.suppress(TexError):
            _ = read(text).plain

    assert_linear(run, repeated(part), 2_000)
    assert_linear(run, repeated(part, after=r"{\)\]}"), 2_000)
