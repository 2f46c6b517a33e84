r"""Data and metrics for translation: sentences of a fragment of English and French, generated without end.

A sentence is "his blue doors that hid the cat followed my cold dogs": subject, verb, object. A noun has up to two
adjectives and may be followed by a prepositional phrase or a relative clause, nested up to two deep. In French,
adjectives come after the noun and agree with it in gender and number, as does the determiner; a verb agrees with its
subject in number, across whatever stands between, where the English past tense doesn't show it: "ses portes bleues qui
cachaient le chat suivaient mes chiens froids". Every French word translates one English word, so the alignment is
known. There is one right translation, so a model can learn all of it.

Sentences whose hash says so are held out: no model is trained on them. The two papers had millions of pairs of real
sentences, with ambiguous words and free translations; here a model shows whether it finds the words, orders them and
lets them agree.

Axes: $b$ pairs of a batch, $n$ source tokens, $m$ target tokens, $v$ tokens of the vocabulary.
"""

import itertools
import random
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from sacrebleu.metrics.bleu import BLEU
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from quaere.content.results import Heatmap, Lines
from reference_impl.experiments.curves import Curve, curve_series, final_averages, list_means
from reference_impl.experiments.training import Batch, Training, device_of

NOUNS = {
    "book": "livre m", "cat": "chat m", "dog": "chien m", "garden": "jardin m", "chair": "chaise f", "door": "porte f",
    "flower": "fleur f", "house": "maison f",
}  # fmt: skip
"""English nouns, with the French noun and its gender; the plural adds an s in both languages."""
ADJECTIVES = {"black": "noir", "blue": "bleu", "cold": "froid", "flat": "plat", "green": "vert", "heavy": "lourd"}
"""English adjectives, with the French masculine singular; the feminine adds an e, the plural an s."""
DETERMINERS = {"his": "son sa ses", "my": "mon ma mes", "the": "le la les"}
"""English determiners, with the French masculine, feminine and plural."""
VERBS = {"carried": "port", "followed": "suiv", "guarded": "gard", "hid": "cach", "loved": "aim"}
"""English verbs in the past tense, with the stem of the French imperfect, which ends in -ait or -aient."""
PREPOSITIONS = {"before": "devant", "behind": "derrière", "under": "sous"}
RELATIVE = {"that": "qui"}

_Aligned = list[tuple[str, int]]


@dataclass(frozen=True)
class Pair:
    """A sentence and its translation.

    Attributes:
        alignment: For each target word, the index of the source word that it translates.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    alignment: tuple[int, ...]

    @property
    def is_held_out(self) -> bool:
        """Whether it is test data: one sentence in eight, by a hash of its words."""
        return zlib.crc32(" ".join(self.source).encode()) % 8 == 0


def sample_pair(rng: random.Random) -> Pair:
    """Sample a sentence of 5 to 33 words; half of them have at most 10."""
    subject, aligned, is_plural = _noun_phrase(rng, depth=2)
    verb, stem = rng.choice(list(VERBS.items()))
    object_, aligned_object, _ = _noun_phrase(rng, depth=2)
    n = len(subject)
    aligned = [*aligned, (stem + _ending(is_plural), n), *((word, n + 1 + at) for word, at in aligned_object)]
    return Pair((*subject, verb, *object_), tuple(word for word, _ in aligned), tuple(at for _, at in aligned))


def _noun_phrase(rng: random.Random, depth: int) -> tuple[list[str], _Aligned, bool]:
    """Return the English words, the French ones, each with the index of its English word, and whether it is plural."""
    determiner, noun, is_plural = rng.choice(list(DETERMINERS)), rng.choice(list(NOUNS)), rng.random() < 0.5
    adjectives = [rng.choice(list(ADJECTIVES)) for _ in range(rng.choice((0, 0, 1, 1, 2)))]
    (french, gender), plural = NOUNS[noun].split(), "s" * is_plural
    form = 2 if is_plural else "mf".index(gender)
    agreed = ("e" if gender == "f" else "") + plural
    source = [determiner, *adjectives, noun + plural]
    aligned = [(DETERMINERS[determiner].split()[form], 0), (french + plural, len(adjectives) + 1)]
    aligned += [(ADJECTIVES[word] + agreed, at) for at, word in reversed(list(enumerate(adjectives, start=1)))]
    if depth and rng.random() < 0.4:
        n, preposition, verb = len(source), rng.choice(list(PREPOSITIONS)), rng.choice(list(VERBS))
        if rng.random() < 0.5:
            source, aligned = [*source, preposition], [*aligned, (PREPOSITIONS[preposition], n)]
        else:
            source = [*source, "that", verb]
            aligned += [(RELATIVE["that"], n), (VERBS[verb] + _ending(is_plural), n + 1)]
        n = len(source)
        more, aligned_more, _ = _noun_phrase(rng, depth - 1)
        source, aligned = source + more, aligned + [(word, n + at) for word, at in aligned_more]
    return source, aligned, is_plural


def _ending(is_plural: bool) -> str:
    return "aient" if is_plural else "ait"


def sample_pairs(rng: random.Random, words: tuple[int, int], held_out: bool) -> Iterator[Pair]:
    """Yield pairs without end, of the training or of the held-out sentences.

    Args:
        rng: What they are sampled by.
        words: The fewest and the most English words of a sentence.
        held_out: Whether these are the sentences that no model is trained on.
    """
    while True:
        pair = sample_pair(rng)
        if words[0] <= len(pair.source) <= words[1] and pair.is_held_out is held_out:
            yield pair


def held_out_pairs(count: int, words: tuple[int, int], seed: int = 0) -> list[Pair]:
    """Return held-out pairs of so many words, the same ones at each call with a seed."""
    return list(itertools.islice(sample_pairs(random.Random(seed), words, held_out=True), count))


# Tokens

EOS, BOS = 0, 1
"""The tokens at the end of a sentence (also the padding), and at its beginning."""


def _vocabulary() -> list[str]:
    words = {*DETERMINERS, *ADJECTIVES, *VERBS, *PREPOSITIONS, *PREPOSITIONS.values(), *RELATIVE, *RELATIVE.values()}
    words |= {form for forms in DETERMINERS.values() for form in forms.split()}
    words |= {stem + ending for stem in VERBS.values() for ending in ("ait", "aient")}
    for plural in ("", "s"):
        words |= {noun + plural for nouns in NOUNS.items() for noun in (nouns[0], nouns[1].split()[0])}
        words |= {french + gender + plural for french in ADJECTIVES.values() for gender in ("", "e")}
    return ["<end>", "<begin>", *sorted(words)]


VOCABULARY = _vocabulary()
"""All words of both languages, after the two special tokens."""
_IDS = {word: index for index, word in enumerate(VOCABULARY)}


def decode(tokens: Sequence[int]) -> str:
    """Return the words of tokens, up to `EOS`."""
    tokens = list(tokens)
    return " ".join(VOCABULARY[token] for token in (tokens[: tokens.index(EOS)] if EOS in tokens else tokens))


def collate(pairs: Sequence[Pair]) -> Batch:
    """Return sources and their lengths, and targets that begin with `BOS`; both end with `EOS` and are padded by it."""
    sources = [torch.tensor([*map(_IDS.__getitem__, pair.source), EOS]) for pair in pairs]
    targets = [torch.tensor([BOS, *map(_IDS.__getitem__, pair.target), EOS]) for pair in pairs]
    pad = nn.utils.rnn.pad_sequence
    lengths = torch.tensor([len(source) for source in sources])
    return pad(sources, batch_first=True, padding_value=EOS), lengths, pad(targets, batch_first=True, padding_value=EOS)


def sample_batch(count: int, max_words: int, generator: torch.Generator) -> Batch:
    """Sample training pairs of up to so many words: a random quarter of four times as many, sorted by length."""
    seed, quarter = (int(torch.randint(high, (), generator=generator)) for high in (1 << 40, 4))
    drawn = sample_pairs(random.Random(seed), (1, max_words), held_out=False)
    pairs = sorted((next(drawn) for _ in range(4 * count)), key=lambda pair: len(pair.source))
    return collate(pairs[quarter * count : (quarter + 1) * count])


# Metrics

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
def translate_pairs(model: nn.Module, translate: TranslateFunction, pairs: Sequence[Pair]) -> list[str]:
    """Return the model's translations, decoded greedily."""
    source, lengths, target = (part.to(device_of(model)) for part in collate(pairs))
    return [decode(row) for row in translate(model, source, lengths, target.shape[1] + 4).tolist()]


def bleu(texts: Sequence[str], pairs: Sequence[Pair]) -> float:
    """Return sacrebleu's corpus BLEU of translations, by words."""
    references = [" ".join(pair.target) for pair in pairs]
    return float(BLEU(tokenize="none").corpus_score(list(texts), [references]).score)


def evaluate_bleu(translate: TranslateFunction, pairs: Sequence[Pair], model: nn.Module) -> dict[str, float]:
    """Return the BLEU of a model's greedy translations."""
    return {"bleu": bleu(translate_pairs(model, translate, pairs), pairs)}


# Training


def compute_loss(
    score: ScoreFunction, model: nn.Module, source: Tensor, lengths: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the summed cross-entropy of the target tokens, and their number."""
    counts = target_mask(target[:, 1:])
    logits = score(model, source, lengths, target[:, :-1])
    return F.cross_entropy(logits[counts], target[:, 1:][counts], reduction="sum"), counts.sum()


def build_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """Return Adam as in the Transformer's Section 5.3, with a learning rate of 1 that a schedule multiplies."""
    return torch.optim.Adam(model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9)


def rise_and_fall(peak: float, warmup: int, steps: int, optimizer: torch.optim.Optimizer) -> LambdaLR:
    """Return a schedule: a linear rise to the peak during warm-up, and a linear fall to zero at the last step."""
    return LambdaLR(optimizer, lambda step: peak * min((step + 1) / warmup, (steps - step) / max(1, steps - warmup)))


def rise_and_hold(peak: float, warmup: int, optimizer: torch.optim.Optimizer) -> LambdaLR:
    """Return a schedule: a linear rise to the peak during warm-up, and then the peak."""
    return LambdaLR(optimizer, lambda step: peak * min(1.0, (step + 1) / warmup))


def build_training(
    build_model: Callable[[], nn.Module],
    score: ScoreFunction,
    translate: TranslateFunction,
    *,
    peak: float,
    steps: int,
    max_words: int,
    test: Sequence[Pair],
    batch_size: int,
    ending: Callable[[Any], Mapping[str, Any]] | None = None,
) -> Training:
    """Return the training of a model on sentences of up to so many words, with 15 measurements of BLEU on the test."""
    return Training(
        model=build_model,
        loss=partial(compute_loss, score),
        batch=partial(sample_batch, batch_size, max_words),
        steps=steps,
        optimizer=build_optimizer,
        schedule=partial(rise_and_fall, peak, min(100, steps // 2), steps),
        clip=1.0,
        measure=partial(evaluate_bleu, translate, test),
        every=max(1, steps // 15),
        ending=ending,
    )


# Figures


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


def attention_heatmap(id: str, title: str, caption: str, pair: Pair, weights: Sequence[Sequence[float]]) -> Heatmap:
    """Return the attention weights of a pair as a heatmap: a row for each target token, a column for each source."""
    source, target = (*pair.source, VOCABULARY[EOS]), (*pair.target, VOCABULARY[EOS])
    most = [source[max(range(len(source)), key=row.__getitem__)] for row in weights]
    return Heatmap(
        id=id,
        title=title,
        caption=f"Rows: the French word that comes next. Columns: the English words. {caption}",
        alt="most weight, word by word: "
        + ", ".join(f"“{to}” from “{of}”" for to, of in zip(target, most, strict=True)),
        rows=target,
        columns=source,
        x="source",
        y="next target word",
        values=tuple(map(tuple, weights)),
    )


EXAMPLE = next(
    pair
    for pair in sample_pairs(random.Random(1), (11, 12), held_out=True)
    if "that" in pair.source and sum(word in ADJECTIVES for word in pair.source) >= 2
)
"""A held-out pair for figures, with adjectives and a relative clause."""
