"""Libraries of any size, to measure and to test with: the same bytes for the same seed.

    python -m benchmarks.generated 1000 FOLDER           a knowledge base
    python -m benchmarks.generated 1000 FOLDER --plain   the same cards as Markdown, for MkDocs with plain Material

A card has about 4 KB: notes with headings, mathematics, code, a table and links to older cards, two to six questions,
claims, links; some of it in Chinese or with accents. Card number n is the same in a library of any size.
"""

import argparse
import itertools
import json
import random
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path


def _split(text: str, mark: str | None = None) -> list[str]:
    return [part.strip() for part in text.split(mark)]


KINDS = _split("""
attention memory recurrence convolution evolution retrieval routing alignment pruning distillation contrast diffusion
sampling planning search translation segmentation detection captioning parsing summarization regression clustering
normalization regularization quantization pre-training tuning prompting masking tokenization embedding ranking
""")
MANNERS = _split("""
sparse dense linear deep recurrent latent discrete causal bidirectional hierarchical local global equivariant modular
robust calibrated adaptive amortized federated continual multilingual self-supervised hyperbolic spectral low-rank
""")
THINGS = _split("""
images speech proteins graphs code tables video point-clouds music mathematics dialogue robots maps molecules weather
handwriting games markets genomes sensors documents faces gestures signals
""")
COMMON = _split("""
the of and to in a is that for with as on by it are from this at be an which not or we its than each more their one
model layer weights input output loss data training gradient token sequence position head value query key score step
error rate batch size width depth mean variance norm residual feature vector matrix product sum network parameter
learns computes reduces increases depends grows holds fails converges improves compares samples predicts selects
""")
SYLLABLES = _split("""
ba ce di fo gu ha je ki lo mu na pe qui ro su ta ve wi xo yu zan bre cli dra flo gri plu sta tri vor
""")
AFFILIATIONS = _split(
    """
Google Brain|Google Research|Google DeepMind|Google Japan|DeepMind|Meta AI|FAIR|Microsoft Research|OpenAI|
University of Toronto|Université de Montréal|ETH Zürich|Tsinghua University|清华大学|Stanford University|UC Berkeley|
Universität Tübingen|CNRS|Universidad de São Paulo|IDSIA
""",
    "|",
)
FAMILIES = _split(
    """
Müller|Nguyễn|García|Łukasiewicz|Vaswani|Schmidhuber|Çelik|Østergaard|Sørensen|Dvořák|Chen|Wang|Kim|Tanaka|Okafor|
Lefèvre|Ivanov|Rossi|Silva|Kowalska|O'Brien|van der Berg|李|王|张
""",
    "|",
)
GIVEN = _split("Ana José Wei Yuki Zoë Björn Chiamaka Dmitri Élise Farid Grace Hans Ines Jürgen Kwame Lü Mei Noam Olga")
CHINESE = (
    "注意力机制让神经网络关注输入的不同部分",
    "循环神经网络按时间处理序列",
    "参数的数量随宽度的平方增长",
    "预训练模型在小数据上微调",
)
VENUES = (
    "Advances in Neural Information Processing Systems",
    "International Conference on Learning Representations",
    "Proceedings of the International Conference on Machine Learning",
)
EQUATIONS = (
    r"\operatorname{softmax}\Bigl(\tfrac{QK^\top}{\sqrt{d_k}}\Bigr) V",
    r"\mathcal{L}(\theta) = -\sum_{i=1}^{n} \log p_\theta(x_i \mid x_{<i})",
    r"h_t = \tanh(W h_{t-1} + U x_t + b)",
    r"\nabla_\theta J = \mathbb{E}\bigl[R\,\nabla_\theta \log \pi_\theta(a \mid s)\bigr]",
)
SYMBOLS = ("d_k", r"\theta", r"O(n^2)", r"\sqrt{d}", "h_t", r"\lambda = 0.1", "W_q x", r"\mathbb{R}^{n \times d}")
DRAWING = """\
<svg xmlns="http://www.w3.org/2000/svg" width="240" height="80" viewBox="0 0 240 80">
<path d="M10 70 L60 40 L110 50 L160 20 L230 10" fill="none" stroke="#4051b5" stroke-width="3"/>
</svg>
"""
SETTINGS = '[tool.quaere]\nimplementation = "none"\n'
MKDOCS = """\
site_name: Generated
theme:
  name: material
  font: false
plugins: [search]
# A list of all pages on each page would grow with the square of their number.
nav: [index.md]
not_in_nav: "*.md"
markdown_extensions:
  - admonition
  - attr_list
  - tables
  - toc: {permalink: true}
  - pymdownx.arithmatex: {generic: true}
  - pymdownx.highlight
  - pymdownx.superfences
"""


@dataclass(frozen=True)
class Asked:
    """A question of a generated card, with its answer in prose, if it has one."""

    id: str
    ask: str
    at: str
    answer: str


@dataclass(frozen=True)
class Card:
    """A generated card; links in its texts are `[[slug]]`."""

    slug: str
    title: str
    idea: str
    authors: tuple[tuple[str, str], ...]
    year: int
    venue: str
    arxiv: str
    tags: tuple[str, ...]
    affiliations: tuple[str, ...]
    reading: str
    builds_on: tuple[str, ...]
    notes: str
    questions: tuple[Asked, ...]
    claims: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        """The key of the card's entry in the bibliography."""
        return f"{self.slug}{self.year}"


@cache
def _words() -> tuple[list[str], list[float]]:
    """Return a vocabulary with cumulative weights, as frequent as words of a language are: by Zipf's law."""
    chance = random.Random("words")
    made = {"".join(chance.choices(SYLLABLES, k=chance.randint(2, 4))) for _ in range(12_000)}
    words = [*COMMON, *KINDS, *MANNERS, *THINGS, *sorted(made)]
    return words, list(itertools.accumulate(1 / (place + 3) for place in range(len(words))))


def _phrase(chance: random.Random, least: int, most: int) -> str:
    words, weights = _words()
    text = " ".join(chance.choices(words, cum_weights=weights, k=chance.randint(least, most)))
    return text[0].upper() + text[1:]


def _sentence(chance: random.Random, least: int = 8, most: int = 18) -> str:
    said = _phrase(chance, least, most)
    return f"{said} ${chance.choice(SYMBOLS)}$." if chance.random() < 0.25 else f"{said}."


def _paragraph(chance: random.Random, sentences: int) -> str:
    return " ".join(_sentence(chance) for _ in range(sentences))


def slug(number: int, seed: int = 0) -> str:
    """Return the slug of card number `number`."""
    chance = random.Random(f"{seed} {number} slug")
    return f"{chance.choice(MANNERS)}_{chance.choice(KINDS)}_{number:05}".replace("-", "_")


def card(number: int, seed: int = 0) -> Card:
    """Generate a card; it builds on and links to cards of lower numbers, the lowest most often."""
    chance = random.Random(f"{seed} {number}")

    def older() -> str:
        return slug(int(number * chance.random() ** 2), seed)

    name = slug(number, seed)
    manner, kind = name.split("_")[0].title(), name.split("_")[-2].title()
    things = chance.sample(THINGS, 2)
    year = 1997 + int(29 * (number % 97) / 97)
    authors = tuple((chance.choice(FAMILIES), chance.choice(GIVEN)) for _ in range(chance.randint(1, 6)))
    links = [f"[[{older()}]]" for _ in range(3)] if number else ["itself"]
    code = f"def {kind.lower()}(x, width={chance.randint(2, 64)}):\n    " + "\n    ".join(
        f"x = {chance.choice(('norm', 'attend', 'project', 'mix'))}(x, {n})  # {chance.choice(COMMON)}"
        for n in range(chance.randint(3, 6))
    )
    rows = "\n".join(
        f"| {chance.choice(THINGS)} | {chance.randint(1, 999)} | {chance.random():.3f} |" for _ in range(4)
    )
    chinese = f"\n\n{chance.choice(CHINESE)}。" if number % 7 == 0 else ""
    drawn = "\n\n![The loss falls.](figures/loss.svg)" if number % 10 == 0 else ""
    notes = f"""\
### What it does

{_paragraph(chance, 4)} It builds on {links[0]}.{chinese}

$${chance.choice(EQUATIONS)}$$

{_paragraph(chance, 3)}

### How it is computed

```python
{code}
    return x
```

- {_sentence(chance)}
- {_sentence(chance)} See {links[-1]}.
- **{chance.choice(KINDS)}**: {_sentence(chance)}

### What was measured

| data | size | error |
| --- | --- | --- |
{rows}

{_paragraph(chance, 4)} Compare {links[len(links) // 2]}.{drawn}

> [!note]
> {_sentence(chance)}
"""
    questions = []
    for place in range(chance.randint(2, 6)):
        about, other = chance.choice(KINDS), chance.choice(THINGS)
        asked = f"{_phrase(chance, 4, 8)} {about} of {other}?"
        at = f"{chance.randint(2019, 2026)}-{chance.randint(1, 10):02}-{chance.randint(1, 28):02}"
        answer = _paragraph(chance, 2) if chance.random() < 0.6 else ""
        questions.append(Asked(f"{about}-of-{other}-{place}", asked, at, answer))
    return Card(
        slug=name,
        title=f"{manner} {kind} for {things[0].title()} and {things[1].title()}: {_phrase(chance, 3, 6)}",
        idea=_sentence(chance, 10, 16),
        authors=authors,
        year=year,
        venue=chance.choice(VENUES),
        arxiv=f"{year % 100:02}{chance.randint(1, 12):02}.{number:05}",
        tags=tuple(sorted({kind.lower(), *chance.sample(KINDS, 2), chance.choice(MANNERS)})),
        affiliations=tuple(sorted(set(chance.choices(AFFILIATIONS, k=chance.randint(1, 2))))),
        reading=chance.choice(("to-read", "reading", "read")),
        builds_on=tuple(sorted({older() for _ in range(chance.randint(1, 3))})) if number else (),
        notes=notes,
        questions=tuple(questions),
        claims=tuple((_sentence(chance), f"{chance.random():.3f}") for _ in range(chance.randint(0, 2))),
    )


def cards(count: int, seed: int = 0) -> Iterator[Card]:
    """Generate the first cards."""
    return (card(number, seed) for number in range(count))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def yaml(one: Card) -> str:
    """Return a card's file."""
    lines = [
        f"cite: {one.key}",
        f"idea: {_quoted(one.idea)}",
        "implementation: null",
        f"tags: [{', '.join(one.tags)}]",
        f"affiliations: [{', '.join(_quoted(name) for name in one.affiliations)}]",
        f"reading: {{state: {one.reading}}}",
        "links:",
        f"  - {{kind: code, title: The authors' code, url: https://code.example.org/{one.slug}}}",
        f"builds_on: [{', '.join(one.builds_on)}]",
        "notes: |",
        textwrap.indent(one.notes, "  ").rstrip(),
        "questions:",
    ]
    for asked in one.questions:
        lines += [f"  - id: {asked.id}", f"    ask: {_quoted(asked.ask)}", f"    asked: {asked.at}"]
        lines += [f"    answer: {_quoted(asked.answer)}"] * bool(asked.answer)
    lines += ["claims:"] * bool(one.claims)
    for place, (says, reported) in enumerate(one.claims):
        lines.append(
            f"  - {{id: claim-{place}, says: {_quoted(says)}, where: Table {place + 1}, reported: '{reported}'}}"
        )
    return "\n".join(lines) + "\n"


def entry(one: Card) -> str:
    """Return a card's entry in the bibliography."""
    authors = " and ".join(f"{{{family}}}, {given}" for family, given in one.authors)
    return (
        f"@inproceedings{{{one.key},\n  author = {{{authors}}},\n  title = {{{one.title}}},\n"
        f"  booktitle = {{{one.venue}}},\n  year = {{{one.year}}},\n  doi = {{10.9999/{one.slug}}},\n"
        f"  eprint = {{{one.arxiv}}},\n  archiveprefix = {{arXiv}},\n}}\n"
    )


def markdown(one: Card) -> str:
    """Return a card as a page for plain Material."""
    notes = re.sub(r"\[\[(\w+)\]\]", r"[\1](\1.md)", one.notes).replace("> [!note]\n> ", "!!! note\n    ")
    lines = [
        f"# {one.title}",
        ", ".join(f"{given} {family}" for family, given in one.authors) + f". {one.venue}, {one.year}.",
        one.idea,
        f"Tags: {', '.join(one.tags)}. Affiliations: {', '.join(one.affiliations)}.",
        "Builds on: " + ", ".join(f"[{name}]({name}.md)" for name in one.builds_on) + ".",
        "## Notes",
        notes.strip(),
        "## Questions",
    ]
    for asked in one.questions:
        lines += [f"### {asked.ask} {{ #{asked.id} }}", f"Asked {asked.at}.", asked.answer or "Open."]
    lines += ["## Claims"] * bool(one.claims)
    lines += [f"- {says} Reported: {reported}." for says, reported in one.claims]
    return "\n\n".join(lines) + "\n"


def write_library(folder: Path, count: int, seed: int = 0) -> None:
    """Write a knowledge base of `count` cards into a folder; files that are as they should be are not touched."""
    made = list(cards(count, seed))
    files = {f"papers/{one.slug}.yml": yaml(one) for one in made}
    files |= {
        "papers/references.bib": "\n".join(entry(one) for one in made),
        "papers/figures/loss.svg": DRAWING,
        "pyproject.toml": SETTINGS,
    }
    _write(folder, "papers", files)


def write_plain(folder: Path, count: int, seed: int = 0) -> None:
    """Write the same cards as Markdown, with the configuration of a plain site of Material."""
    made = list(cards(count, seed))
    files = {f"docs/{one.slug}.md": markdown(one) for one in made}
    listed = "".join(f"- [{one.title}]({one.slug}.md)\n" for one in made)
    files |= {"docs/index.md": f"# Papers\n\n{listed}", "docs/figures/loss.svg": DRAWING, "mkdocs.yml": MKDOCS}
    _write(folder, "docs", files)


def _write(folder: Path, cleared: str, files: dict[str, str]) -> None:
    for old in (folder / cleared).glob("*.*"):
        if old.relative_to(folder).as_posix() not in files:
            old.unlink()
    for path, text in files.items():
        file = folder / path
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")


def main() -> None:
    """Write what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generated", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("cards", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--plain", action="store_true", help="Markdown for plain Material instead of cards")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    (write_plain if given.plain else write_library)(given.folder, given.cards, given.seed)


if __name__ == "__main__":
    main()
