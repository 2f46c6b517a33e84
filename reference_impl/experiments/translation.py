r"""Data and metrics for translation: sentence pairs, and reversed sequences with known alignment.

The sentence pairs are the user messages of Django and Sphinx with their translations, from the message catalogs that
both packages install: "Enter a valid date." and "Saisissez une date valide.". French has some 1,000 that are sentences;
the papers had 36 million pairs. So the models are small and the scores low; they can only be compared with each other.

A reversal is a sequence of random symbols with the reversed sequence as its target. The target symbol at position $i$
is aligned with position $n - 1 - i$ of the source.

Axes: $b$ pairs of a batch, $n$ source tokens, $m$ target tokens, $v$ tokens of the vocabulary.
"""

import hashlib
import importlib.util
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from babel.messages.mofile import read_mo
from jaxtyping import Float, Int
from sacrebleu.metrics.bleu import BLEU
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn

from quaere.content.results import Heatmap, Lines, Series
from reference_impl.experiments.curves import Curve, curve_series, final_averages, list_means
from reference_impl.experiments.training import device_of

EOS, BOS, UNK = 0, 1, 2
"""The tokens at the end of a sentence (also the padding), at its beginning, and for unknown characters."""

PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%[sdr]|\{\w*\}")
_Batch = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Pair:
    """A sentence and its translation.

    Attributes:
        language: The language of the translation, such as `fr`.
    """

    source: str
    target: str
    language: str = ""


@dataclass(frozen=True)
class Corpus:
    """Training pairs and test pairs, without a source or a target in common."""

    train: tuple[Pair, ...]
    test: tuple[Pair, ...]

    def __str__(self) -> str:
        return (
            f"{len(self.train):,} pairs to train on and {len(self.test):,} held out, from the catalogs of Django and "
            "Sphinx. No English message and no translation is in both, but many differ in one word only."
        )


def load_corpus(languages: Sequence[str] = ("fr",), max_words: int = 16) -> Corpus:
    """Return English messages of 2 to `max_words` words with their translations into these languages.

    About an eighth is test data, chosen by a hash of the English letters: "Search:" and "search" are in the same part.

    Raises:
        ModuleNotFoundError: A package is not installed.
        ValueError: There is no catalog in one of the languages.
    """
    found: dict[str, list[Pair]] = {"train": [], "test": []}
    for language in languages:
        pairs = {_letters(pair.source): pair for pair in _messages(language) if _is_sentence(pair, max_words)}
        if not pairs:
            raise ValueError(f"no message of Django or Sphinx is translated into {language}")
        for letters, pair in sorted(pairs.items()):
            found["test" if hashlib.sha256(letters.encode()).digest()[0] < 32 else "train"].append(pair)
    known = {_letters(pair.target) for pair in found["train"]}
    return Corpus(tuple(found["train"]), tuple(pair for pair in found["test"] if _letters(pair.target) not in known))


def _messages(language: str) -> Iterator[Pair]:
    """Yield the pairs in the catalogs of one language, with numbered placeholders, in a fixed order."""
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
    """Return text on one line, with ASCII spaces, quotation marks and dots."""
    for sign, common in (("\u2019", "'"), ("\u201c", '"'), ("\u201d", '"'), ("\u2026", "..."), ("\u200b", "")):
        text = text.replace(sign, common)
    return " ".join(text.split())


def _numbered(source: str, target: str, language: str) -> Pair | None:
    """Return a pair with placeholders {1}, {2}, …; None if source and target have different placeholders."""
    names = PLACEHOLDER.findall(source)
    if Counter(names) != Counter(PLACEHOLDER.findall(target)):
        return None
    numbers = {name: f"{{{number}}}" for number, name in enumerate(dict.fromkeys(names), start=1)}
    source, target = (PLACEHOLDER.sub(lambda name: numbers[name[0]], text) for text in (source, target))
    return Pair(source, target, language)


def _is_sentence(pair: Pair, max_words: int) -> bool:
    lengths = [len(text.split()) for text in (pair.source, pair.target)]
    has_markup = any(sign in pair.source + pair.target for sign in ("<", "http", "`", "\\"))
    return (
        2 <= lengths[0] <= max_words and 1 <= lengths[1] <= max_words and not has_markup and pair.source != pair.target
    )


def _letters(text: str) -> str:
    return "".join(sign for sign in text.casefold() if sign.isalnum())


class SubwordTokenizer:
    """Byte-pair encoding with one vocabulary for all languages, trained on the training pairs.

    Args:
        text: The tokenizer as JSON, as `train` returns it.
    """

    def __init__(self, text: str) -> None:
        self._tokenizer = Tokenizer.from_str(text)
        self.vocab_size: int = self._tokenizer.get_vocab_size()

    @staticmethod
    def train(pairs: Sequence[Pair], vocab_size: int) -> str:
        """Train a tokenizer with a vocabulary of this size, and return it as JSON."""
        tokenizer = Tokenizer(models.BPE(unk_token="<unknown>"))
        kinds = Regex(r"▁?(\{\d\}|[\p{L}\p{M}]+|\p{N}+|[^▁\p{L}\p{M}\p{N}]|$)")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.Split(kinds, "isolated")]
        )
        tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
        special = ["<end>", "<begin>", "<unknown>"]
        languages = sorted({f"<{pair.language}>" for pair in pairs})
        trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=special + languages, show_progress=False)
        tokenizer.train_from_iterator((text for pair in pairs for text in (pair.source, pair.target)), trainer)
        return tokenizer.to_str()

    def encode(self, pair: Pair) -> tuple[list[int], list[int]]:
        """Return the tokens of a pair: the source begins with the target language; both end with `EOS`."""
        language = self._tokenizer.token_to_id(f"<{pair.language}>")
        source, target = (self._tokenizer.encode(text).ids for text in (pair.source, pair.target))
        return [UNK if language is None else language, *source, EOS], [*target, EOS]

    def convert_ids_to_tokens(self, tokens: Sequence[int]) -> list[str]:
        """Return the tokens as readable text."""
        names = [self._tokenizer.id_to_token(token) or "" for token in tokens]
        return [name.replace("▁", " ").strip() or name for name in names]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, up to `EOS`."""
        tokens = list(tokens)
        return self._tokenizer.decode(tokens[: tokens.index(EOS)] if EOS in tokens else tokens)


class PairDataset:
    """Pairs as tokens, from which batches are sampled."""

    def __init__(self, tokens: Sequence[tuple[list[int], list[int]]]) -> None:
        self.tokens = list(tokens)

    def sample_batch(self, count: int, generator: torch.Generator) -> _Batch:
        """Sample pairs of about the same length, so that there is little padding."""
        sample = torch.randperm(len(self.tokens), generator=generator)[: 4 * count].tolist()
        sample.sort(key=lambda index: tuple(map(len, self.tokens[index])))
        start = int(torch.randint(max(1, len(sample) - count + 1), (), generator=generator))
        return collate([self.tokens[index] for index in sample[start : start + count]])


def collate(pairs: Sequence[tuple[list[int], list[int]]]) -> _Batch:
    """Return sources and their lengths, and targets that begin with `BOS`; both are padded with `EOS`."""
    sources = [torch.tensor(source) for source, _ in pairs]
    targets = [torch.tensor([BOS, *target]) for _, target in pairs]
    pad = nn.utils.rnn.pad_sequence
    lengths = torch.tensor([len(source) for source in sources])
    return pad(sources, batch_first=True, padding_value=EOS), lengths, pad(targets, batch_first=True, padding_value=EOS)


def sample_reversals(count: int, length: int, num_symbols: int, generator: torch.Generator) -> _Batch:
    """Sample sequences of symbols and their reversals: a batch as `collate` returns it."""
    source = torch.randint(UNK, UNK + num_symbols, (count, length), generator=generator)
    begin, end = torch.full((count, 1), BOS), torch.full((count, 1), EOS)
    return source, torch.full((count,), length), torch.cat([begin, source.flip(1), end], dim=1)


def sample_mixed_reversals(
    count: int, shortest: int, longest: int, num_symbols: int, generator: torch.Generator
) -> _Batch:
    """Sample reversals of one length, which is drawn from `shortest` to `longest`."""
    length = int(torch.randint(shortest, longest + 1, (), generator=generator))
    return sample_reversals(count, length, num_symbols, generator)


def reversals_to_test(length: int, num_symbols: int) -> _Batch:
    """Return the 64 reversals of a length that every model is tested on."""
    return sample_reversals(64, length, num_symbols, torch.Generator().manual_seed(10**9))


ScoreFunction = Callable[[Any, Int[Tensor, "b n"], Int[Tensor, " b"], Int[Tensor, "b m"]], Float[Tensor, "b m v"]]
"""Takes a model, sources, their lengths and target prefixes; returns the logits of the next tokens."""

TranslateFunction = Callable[[Any, Int[Tensor, "b n"], Int[Tensor, " b"], int], Int[Tensor, "b m"]]
"""Takes a model, sources, their lengths and the maximum length of outputs; returns the outputs."""


def score_recurrent(model: Any, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
    """Return the logits of a model that also returns alignments (a `ScoreFunction`)."""
    return model(source, lengths, target)[0]


def translate_recurrent(model: Any, source: Tensor, lengths: Tensor, max_length: int) -> Tensor:
    """Return the outputs of a model with a method `translate` (a `TranslateFunction`)."""
    return model.translate(source, lengths, BOS, EOS, max_length)


def target_mask(target: Int[Tensor, "b m"]) -> Tensor:
    """Return the mask of a target without its `BOS`: true up to its first `EOS`, false at padding."""
    ended = (target == EOS).cumsum(dim=1) - (target == EOS).long()
    return ended == 0


@torch.no_grad()
def accuracy(model: nn.Module, score: ScoreFunction, batch: _Batch) -> float:
    """Return the accuracy of next-token prediction, given the previous target tokens."""
    source, lengths, target = (part.to(device_of(model)) for part in batch)
    counts = target_mask(target[:, 1:])
    right = score(model, source, lengths, target[:, :-1]).argmax(dim=-1) == target[:, 1:]
    return float(right[counts].float().mean())


@torch.no_grad()
def translate_pairs(
    model: nn.Module,
    translate: TranslateFunction,
    tokenizer: SubwordTokenizer,
    pairs: Sequence[Pair],
    max_length: int = 60,
    batch_size: int = 128,
) -> list[str]:
    """Return the model's translations, decoded greedily."""
    device = device_of(model)
    texts: list[str] = []
    for start in range(0, len(pairs), batch_size):
        source, lengths, _ = collate([tokenizer.encode(pair) for pair in pairs[start : start + batch_size]])
        written = translate(model, source.to(device), lengths.to(device), max_length)
        texts += [tokenizer.decode(row) for row in written.tolist()]
    return texts


def bleu(texts: Sequence[str], pairs: Sequence[Pair]) -> float:
    """Return sacrebleu's corpus BLEU of translations, with its default tokenization and smoothing."""
    return float(BLEU().corpus_score(list(texts), [[pair.target for pair in pairs]]).score)


def evaluate_bleu(
    translate: TranslateFunction, tokenizer: SubwordTokenizer, pairs: Sequence[Pair], model: nn.Module
) -> dict[str, float]:
    """Return the BLEU of a model's greedy translations."""
    return {"bleu": bleu(translate_pairs(model, translate, tokenizer, pairs), pairs)}


def encode_example(tokenizer: SubwordTokenizer, pairs: Sequence[Pair]) -> tuple[_Batch, dict[str, list[str]]]:
    """Return a pair that fits in a figure, as a batch and as readable tokens."""
    source, target = tokenizer.encode(short_example(pairs, tokenizer))
    batch = torch.tensor([source]), torch.tensor([len(source)]), torch.tensor([[BOS, *target[:-1]]])
    tokens = {"source": tokenizer.convert_ids_to_tokens(source), "target": tokenizer.convert_ids_to_tokens(target)}
    return batch, tokens


def short_example(pairs: Sequence[Pair], tokenizer: SubwordTokenizer, max_tokens: int = 16) -> Pair:
    """Return the first of the longest pairs that fit in a figure: the same one for every model."""
    lengths = [max(map(len, tokenizer.encode(pair))) for pair in pairs]
    return pairs[lengths.index(max((length for length in lengths if length <= max_tokens), default=min(lengths)))]


def bleu_figure(curves: Mapping[str, Sequence[Curve]], caption: str) -> Lines:
    """Return the learning curves in BLEU, by model."""
    return Lines(
        id="bleu",
        title="BLEU during training",
        caption=caption,
        alt=f"BLEU at the end: {list_means(final_averages(curves, 'bleu'), '.1f')}",
        x="step",
        y="BLEU",
        series=curve_series(curves, "bleu"),
    )


def reversal_figure(
    accuracies: Mapping[str, Sequence[Sequence[float]]],
    lengths: Sequence[int],
    at_length: int,
    num_symbols: int,
    caption: str,
) -> Lines:
    """Return token accuracy by length, one curve for each model; the text alternative states it at one length."""
    there = {name: [one[lengths.index(at_length)] for one in found] for name, found in accuracies.items()}
    return Lines(
        id="length",
        title="Reversing sequences: accuracy by length",
        caption=caption,
        alt=f"accuracy at length {at_length}: {list_means(there, '.2f')}",
        x="length",
        y="token accuracy",
        log=("x",),
        series=tuple(
            Series(name=name, x=tuple(lengths), runs=tuple(map(tuple, found))) for name, found in accuracies.items()
        ),
        levels={"chance": 1 / num_symbols},
    )


def attention_heatmap(id: str, title: str, caption: str, example: Mapping[str, Any]) -> Heatmap:
    """Return the attention weights of one sentence as a heatmap: `source`, `target` and `weights` of the example."""
    source, target = tuple(example["source"]), tuple(example["target"])
    most = [source[max(range(len(source)), key=weights.__getitem__)] for weights in example["weights"]]
    return Heatmap(
        id=id,
        title=title,
        caption="Rows: the next target token, from the reference translation. Columns: the source tokens, the first "
        f"of which is the target language. {caption}",
        alt="most weight, token by token: "
        + ", ".join(f"“{predicted}” from “{attended}”" for predicted, attended in zip(target, most, strict=True)),
        rows=target,
        columns=source,
        x="source",
        y="next target token",
        values=tuple(map(tuple, example["weights"])),
    )
