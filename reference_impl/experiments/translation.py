r"""Sequences to translate: real sentence pairs, and made ones whose right translation and alignment are known.

The real pairs are the messages that Django and Sphinx show to people, with their translations, from the message
catalogues that both packages install: "Enter a valid date." and "Saisissez une date valide.". There are some 1,000 in
French that are sentences, where the papers had 36 million pairs. So the models stay small, and the scores low; what
can be compared is models with each other.

A made pair is a row of symbols and the same row from its end to its beginning. The symbol at place $i$ of the target
stands at place $n - 1 - i$ of the source.

Axes: $b$ pairs of a batch, $n$ source tokens, $m$ target tokens, $v$ tokens of the vocabulary.
"""

import bisect
import hashlib
import importlib.util
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from babel.messages.mofile import read_mo
from jaxtyping import Float, Int
from sacrebleu.metrics.bleu import BLEU
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn

from quaere.content.results import Heatmap, Lines, Series
from reference_impl.experiments.training import count_parameters

END, BEGIN, UNKNOWN = 0, 1, 2
"""The token that ends a sentence, and fills up what follows; the one that stands before the first; any unknown sign."""

PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%[sdr]|\{\w*\}")
Curve = Sequence[Mapping[str, float]]
"""What was measured of one training: points in the order of steps."""
_Batch = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Pair:
    """A sentence and its translation.

    Attributes:
        language: Of the translation, such as `fr`.
    """

    source: str
    target: str
    language: str = ""


@dataclass(frozen=True)
class Corpus:
    """Pairs to learn from and pairs to be tested on: no source and no target of the one is in the other."""

    train: tuple[Pair, ...]
    test: tuple[Pair, ...]

    def __str__(self) -> str:
        return (
            f"{len(self.train):,} pairs to train on and {len(self.test):,} held out, from the catalogues of Django and "
            "Sphinx. No English message and no translation is on both sides, but many differ in a word only."
        )


def corpus(languages: Sequence[str] = ("fr",), longest: int = 16) -> Corpus:
    """Return English messages of 2 to `longest` words with their translations into these languages.

    About an eighth is for the test. A hash of the English letters decides: "Search:" and "search" fall on one side.

    Raises:
        ModuleNotFoundError: A package is not installed.
        ValueError: No catalogue is in one of the languages.
    """
    found: dict[str, list[Pair]] = {"train": [], "test": []}
    for language in languages:
        pairs = {_letters(pair.source): pair for pair in _messages(language) if _is_sentence(pair, longest)}
        if not pairs:
            raise ValueError(f"no message of Django or Sphinx is translated into {language}")
        for letters, pair in sorted(pairs.items()):
            found["test" if hashlib.sha256(letters.encode()).digest()[0] < 32 else "train"].append(pair)
    known = {_letters(pair.target) for pair in found["train"]}
    return Corpus(tuple(found["train"]), tuple(pair for pair in found["test"] if _letters(pair.target) not in known))


def _messages(language: str) -> Iterator[Pair]:
    """Yield what the catalogues of one language hold, with placeholders numbered, in the same order everywhere."""
    for package in ("django", "sphinx"):
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"pairs are read from the package {package}: pip install 'quaere[experiments]'")
        for file in sorted(Path(spec.origin).parent.rglob(f"{language}/LC_MESSAGES/*.mo")):
            for message in read_mo(io.BytesIO(file.read_bytes())):
                if not (isinstance(message.id, str) and isinstance(message.string, str)):
                    continue  # a plural
                if pair := _numbered(_plain(message.id), _plain(message.string), language):
                    yield pair


def _plain(text: str) -> str:
    """Return text on one line, with the common blanks, quotation marks and dots."""
    for sign, common in (("\u2019", "'"), ("\u201c", '"'), ("\u201d", '"'), ("\u2026", "..."), ("\u200b", "")):
        text = text.replace(sign, common)
    return " ".join(text.split())


def _numbered(source: str, target: str, language: str) -> Pair | None:
    """Return a pair with what a program fills in called {1}, {2}, …; nothing if source and target differ in it."""
    names = PLACEHOLDER.findall(source)
    if Counter(names) != Counter(PLACEHOLDER.findall(target)):
        return None
    numbers = {name: f"{{{number}}}" for number, name in enumerate(dict.fromkeys(names), start=1)}
    source, target = (PLACEHOLDER.sub(lambda name: numbers[name[0]], text) for text in (source, target))
    return Pair(source, target, language)


def _is_sentence(pair: Pair, longest: int) -> bool:
    lengths = [len(text.split()) for text in (pair.source, pair.target)]
    has_markup = any(sign in pair.source + pair.target for sign in ("<", "http", "`", "\\"))
    return 2 <= lengths[0] <= longest and 1 <= lengths[1] <= longest and not has_markup and pair.source != pair.target


def _letters(text: str) -> str:
    return "".join(sign for sign in text.casefold() if sign.isalnum())


class Subwords:
    """Text as pieces of words, the same for all languages: byte-pair encoding, learnt from the pairs to train on.

    Args:
        text: What `learnt` returned.
    """

    def __init__(self, text: str) -> None:
        self._tokenizer = Tokenizer.from_str(text)
        self.vocabulary: int = self._tokenizer.get_vocab_size()

    @staticmethod
    def learnt(pairs: Sequence[Pair], vocabulary: int) -> str:
        """Learn so many pieces, and return them as JSON."""
        tokenizer = Tokenizer(models.BPE(unk_token="<unknown>"))
        kinds = Regex(r"▁?(\{\d\}|[\p{L}\p{M}]+|\p{N}+|[^▁\p{L}\p{M}\p{N}]|$)")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.Split(kinds, "isolated")]
        )
        tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
        special = ["<end>", "<begin>", "<unknown>"]
        languages = sorted({f"<{pair.language}>" for pair in pairs})
        trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=special + languages, show_progress=False)
        tokenizer.train_from_iterator((text for pair in pairs for text in (pair.source, pair.target)), trainer)
        return tokenizer.to_str()

    def read(self, pair: Pair) -> tuple[list[int], list[int]]:
        """Return the tokens of a pair: the source says first into which language; the target ends with `END`."""
        language = self._tokenizer.token_to_id(f"<{pair.language}>")
        source, target = (self._tokenizer.encode(text).ids for text in (pair.source, pair.target))
        return [UNKNOWN if language is None else language, *source, END], [*target, END]

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """Return each token as people can read it."""
        names = [self._tokenizer.id_to_token(token) or "" for token in tokens]
        return [name.replace("▁", " ").strip() or name for name in names]

    def text(self, tokens: Sequence[int]) -> str:
        """Return what was written, up to its end."""
        tokens = list(tokens)
        return self._tokenizer.decode(tokens[: tokens.index(END)] if END in tokens else tokens)


class Pairs:
    """Pairs as tokens, from which batches are drawn."""

    def __init__(self, tokens: Sequence[tuple[list[int], list[int]]]) -> None:
        self.tokens = list(tokens)

    def batch(self, count: int, generator: torch.Generator) -> _Batch:
        """Draw some pairs that are about equally long, so that little is padding."""
        drawn = torch.randperm(len(self.tokens), generator=generator)[: 4 * count].tolist()
        drawn.sort(key=lambda index: tuple(map(len, self.tokens[index])))
        start = int(torch.randint(max(1, len(drawn) - count + 1), (), generator=generator))
        return joined([self.tokens[index] for index in drawn[start : start + count]])


def joined(pairs: Sequence[tuple[list[int], list[int]]]) -> _Batch:
    """Return sources, filled up with `END`; how long they are; and targets, `BEGIN` first, filled up likewise."""
    sources = [torch.tensor(source) for source, _ in pairs]
    targets = [torch.tensor([BEGIN, *target]) for _, target in pairs]
    pad = nn.utils.rnn.pad_sequence
    lengths = torch.tensor([len(source) for source in sources])
    return pad(sources, batch_first=True, padding_value=END), lengths, pad(targets, batch_first=True, padding_value=END)


def reversals(count: int, length: int, symbols: int, generator: torch.Generator) -> _Batch:
    """Draw rows of symbols of one length, and write each from its end: a batch as `joined` returns it."""
    source = torch.randint(UNKNOWN, UNKNOWN + symbols, (count, length), generator=generator)
    begin, end = torch.full((count, 1), BEGIN), torch.full((count, 1), END)
    return source, torch.full((count,), length), torch.cat([begin, source.flip(1), end], dim=1)


Scores = Callable[[Any, Int[Tensor, "b n"], Int[Tensor, " b"], Int[Tensor, "b m"]], Float[Tensor, "b m v"]]
"""From a model, sources, their lengths and what stands before each target token to the scores of that token."""

Writes = Callable[[Any, Int[Tensor, "b n"], Int[Tensor, " b"], int], Int[Tensor, "b m"]]
"""From a model, sources, their lengths and the most tokens to write to what it writes."""


def search_scores(model: Any, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
    """Score as the modules do that return their alignments too (`Scores`)."""
    return model(source, lengths, target)[0]


def search_writes(model: Any, source: Tensor, lengths: Tensor, limit: int) -> Tensor:
    """Write as the modules do that have a `translate` (`Writes`)."""
    return model.translate(source, lengths, BEGIN, END, limit)


def real(target: Int[Tensor, "b m"]) -> Tensor:
    """Return where a target, without its `BEGIN`, has tokens to be learnt: up to its first `END`."""
    ended = (target == END).cumsum(dim=1) - (target == END).long()
    return ended == 0


@torch.no_grad()
def accuracy(model: nn.Module, scores: Scores, batch: _Batch) -> float:
    """Return the share of target tokens that get the highest score, given all that stand before them."""
    source, lengths, target = (part.to(next(model.parameters()).device) for part in batch)
    counts = real(target[:, 1:])
    right = scores(model, source, lengths, target[:, :-1]).argmax(dim=-1) == target[:, 1:]
    return float(right[counts].float().mean())


@torch.no_grad()
def translated(
    model: nn.Module, writes: Writes, subwords: Subwords, pairs: Sequence[Pair], limit: int = 60, batch: int = 128
) -> list[str]:
    """Return the model's own translations, written greedily."""
    device = next(model.parameters()).device
    texts: list[str] = []
    for start in range(0, len(pairs), batch):
        source, lengths, _ = joined([subwords.read(pair) for pair in pairs[start : start + batch]])
        written = writes(model, source.to(device), lengths.to(device), limit)
        texts += [subwords.text(row) for row in written.tolist()]
    return texts


def bleu(texts: Sequence[str], pairs: Sequence[Pair]) -> float:
    """Return sacrebleu's corpus BLEU of translations, with its own tokenisation and smoothing."""
    return float(BLEU().corpus_score(list(texts), [[pair.target for pair in pairs]]).score)


def short_example(pairs: Sequence[Pair], subwords: Subwords, pieces: int = 16) -> Pair:
    """Return the longest pair that a figure can show, the first of them: the same for every model."""
    lengths = [max(map(len, subwords.read(pair))) for pair in pairs]
    return pairs[lengths.index(max((length for length in lengths if length <= pieces), default=min(lengths)))]


def matched_width(
    make: Callable[[int], nn.Module], budget: int, count: Callable[[Any], int] = count_parameters, widest: int = 1 << 14
) -> int:
    """Return the width at which a model has about so many numbers; more width is more numbers."""

    def size(width: int) -> int:
        with torch.device("meta"):  # shapes alone
            return count(make(width))

    above = bisect.bisect_left(range(1, widest), budget, key=size) + 1
    return min((max(1, above - 1), above), key=lambda width: abs(size(width) - budget))


def settled(curve: Curve, measure: str = "bleu", last: int = 3) -> list[float]:
    """Return at each point the mean of it and the two before it: single ones jump on so few sentences."""
    values = [point[measure] for point in curve]
    return [fmean(values[max(0, end - last) : end]) for end in range(1, len(values) + 1)]


def quality(curves: Mapping[str, Sequence[Curve]], caption: str) -> Lines:
    """Return BLEU while learning, by model."""
    last = {name: fmean(settled(curve)[-1] for curve in found) for name, found in curves.items()}
    return Lines(
        id="bleu",
        title="Quality of translation while learning",
        caption=caption,
        alt="BLEU at the end: " + "; ".join(f"{name} {value:.1f}" for name, value in last.items()),
        x="step",
        y="BLEU",
        series=tuple(Series.of(name, found, "bleu") for name, found in curves.items()),
    )


def backwards(
    right: Mapping[str, Sequence[Sequence[float]]], lengths: Sequence[int], at: int, symbols: int, caption: str
) -> Lines:
    """Return the share of right tokens by length, a curve for each model, and say what it is at one length."""
    told = {name: fmean(one[lengths.index(at)] for one in found) for name, found in right.items()}
    return Lines(
        id="length",
        title="Writing backwards, by length",
        caption=caption,
        alt=f"right at length {at}: " + "; ".join(f"{name} {value:.2f}" for name, value in told.items()),
        x="length",
        y="share of right tokens",
        log=("x",),
        series=tuple(
            Series(name=name, x=tuple(lengths), runs=tuple(map(tuple, found))) for name, found in right.items()
        ),
        levels={"chance": 1 / symbols},
    )


def alignment(id: str, title: str, of_whom: str, shown: Mapping[str, Any]) -> Heatmap:
    """Return where a model looks in one sentence: `source`, `target` and `weights` of what is shown."""
    source, target = tuple(shown["source"]), tuple(shown["target"])
    most = [source[max(range(len(source)), key=weights.__getitem__)] for weights in shown["weights"]]
    return Heatmap(
        id=id,
        title=title,
        caption="Down: the piece that is to be written next, from the translation by people. Across: the pieces of the "
        f"source, the language first. {of_whom}",
        alt="most weight, piece by piece: "
        + ", ".join(f"“{wrote}” from “{read}”" for wrote, read in zip(target, most, strict=True)),
        rows=target,
        columns=source,
        x="source",
        y="written next",
        values=tuple(map(tuple, shown["weights"])),
    )
