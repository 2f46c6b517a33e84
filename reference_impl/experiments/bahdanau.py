r"""RNNsearch, with attention, against RNNencdec, with one fixed vector.

Source: Bahdanau, Cho and Bengio 2015, Section 5 (Table 1, Figures 2 and 3)

Claims: RNNsearch translates better than RNNencdec, even if it was trained on shorter sentences only; it does not get
    worse on long sentences; and its alignments agree with those that people would draw.

Tasks:
    - English to French: messages of Django and Sphinx, some 900 pairs of at most 12 English words, in subwords, instead
      of 36 million pairs of up to 50 words.
    - Rows of symbols to be written backwards. There the right alignment is known, and every length can be tested, also
      lengths beyond those of training.

Arms: as in Table 1, RNNsearch and RNNencdec, each trained on all sentences and on short ones alone. All are tested on
    all sentences.

Budget: all train for the same number of steps. In RNNencdec the alignment model and half of each context have no
    effect, so its hidden size is increased until its effective parameters are as many as RNNsearch's, within 5 %; in
    the paper both have the same hidden size. Each model has a learning rate for each task, the same on all sentences
    and on short ones. It was chosen under a seed that `small` does not use: by BLEU on an eighth of the training pairs,
    held out, and by token accuracy on new rows after 200 steps, fewer than the run's. Rates of 0.002, 0.005, 0.01 and
    0.02 were tried until the best had a worse one on either side. In translation that was after 120 steps, where both
    were best at 0.01; at the run's own 400 steps 0.005 and 0.01 were tried again for both, and 0.002 for RNNencdec, for
    which 0.005 was best.

Measures: sacrebleu's BLEU on held-out messages, the share of right tokens of rows by length, and where the largest
    attention weight is.

Departs: Adam at a constant learning rate for some hundred steps, instead of Adadelta for days. No beam search.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from quaere.content.results import Finding, Heatmap, Report, Table, spread
from quaere.running.experiments import Run
from reference_impl.bahdanau import RNNencdec, RNNsearch
from reference_impl.experiments.arms import count_built, match_width, train_seeds
from reference_impl.experiments.curves import Curve, final_averages, final_values, select
from reference_impl.experiments.judging import all_runs_above, each_seed_above, not_tried, outcome
from reference_impl.experiments.training import Batch, Training, count_parameters, device_of
from reference_impl.experiments.translation import (
    UNK,
    Corpus,
    Pair,
    PairDataset,
    SubwordTokenizer,
    accuracy,
    attention_heatmap,
    bleu_figure,
    encode_example,
    evaluate_bleu,
    load_corpus,
    reversal_figure,
    reversals_to_test,
    sample_mixed_reversals,
    score_recurrent,
    target_mask,
    translate_recurrent,
)  # fmt: skip


@dataclass(frozen=True)
class Size:
    """The settings of a run: words of long and short sentences; subwords; widths; steps; lengths of rows."""

    max_words: int
    short_words: int
    vocab_size: int
    width: int
    learning_rates: Mapping[str, Mapping[str, float]]
    seeds: int
    batch_size: int
    steps: int
    measure_every: int
    row_length: int
    short_row_length: int
    row_steps: int
    num_symbols: int
    tested_row_lengths: tuple[int, ...]


MODELS: Mapping[str, type[RNNsearch]] = {"RNNsearch": RNNsearch, "RNNencdec": RNNencdec}
LEARNING_RATES = {
    "translation": {"RNNsearch": 0.01, "RNNencdec": 0.005},
    "rows": {"RNNsearch": 0.005, "RNNencdec": 0.005},
}
"""Of Adam, for each task and model; see "Budget" above for how they were chosen."""
SIZES = {
    "smoke": Size(
        max_words=4, short_words=3, vocab_size=300, width=16, learning_rates=LEARNING_RATES, seeds=1, batch_size=8,
        steps=4, measure_every=2, row_length=4, short_row_length=2, row_steps=4, num_symbols=8,
        tested_row_lengths=(2, 4, 6),
    ),
    "small": Size(
        max_words=12, short_words=5, vocab_size=800, width=64, learning_rates=LEARNING_RATES, seeds=3, batch_size=32,
        steps=400, measure_every=50, row_length=16, short_row_length=8, row_steps=900, num_symbols=22,
        tested_row_lengths=(2, 4, 8, 12, 16, 20, 24, 32),
    ),
    "full": Size(
        max_words=50, short_words=30, vocab_size=8000, width=1000,
        learning_rates={task: dict.fromkeys(rates, 0.0003) for task, rates in LEARNING_RATES.items()}, seeds=3,
        batch_size=80, steps=50_000, measure_every=5000, row_length=50, short_row_length=30, row_steps=20_000,
        num_symbols=62, tested_row_lengths=(5, 10, 20, 30, 40, 50, 60),
    ),
}  # fmt: skip


# Arms


def count_effective_parameters(model: RNNsearch) -> int:
    """Count the parameters that affect the output: in RNNencdec, not the alignment model nor the backward half."""
    if not isinstance(model, RNNencdec):
        return count_parameters(model)
    half = model.encoder.hidden_size
    rows = model.decoder.gru.input.out_features + model.decoder.readout.out_features
    return count_parameters(model) - count_parameters(model.decoder.score) - half * rows


def model_factories(size: Size, vocabulary: int) -> dict[str, Callable[[], RNNsearch]]:
    """Return factories of the two models, with the same number of effective parameters."""

    def make(kind: type[RNNsearch], hidden: int) -> RNNsearch:
        return kind(vocabulary, vocabulary, size.width, hidden, alignment_size=size.width, maxout_size=size.width)

    budget = count_built(partial(make, RNNsearch, size.width), count_effective_parameters)
    wider = match_width(partial(make, RNNencdec), budget, count_effective_parameters)
    return {"RNNsearch": partial(make, RNNsearch, size.width), "RNNencdec": partial(make, RNNencdec, wider)}


# Training


def loss(model: nn.Module, source: Tensor, lengths: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the summed cross-entropy of the target tokens, and their number."""
    counts = target_mask(target[:, 1:])
    logits = score_recurrent(model, source, lengths, target[:, :-1])
    return F.cross_entropy(logits[counts], target[:, 1:][counts], reduction="sum"), counts.sum()


def _adam(rate: float, model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=rate)


def build_translation(
    size: Size, kind: str, make: Callable[[], RNNsearch], pairs: Corpus, subwords: SubwordTokenizer, words: int
) -> Training:
    """Return the training on sentences of up to so many words; it ends with the alignment of one sentence."""
    train = PairDataset([subwords.encode(pair) for pair in pairs.train if _is_short(pair, words)])

    def show(model: RNNsearch) -> dict[str, Any]:
        batch, tokens = encode_example(subwords, pairs.test)
        return {**tokens, "weights": _aligned(model, *batch)[0].tolist()}

    return Training(
        model=make,
        loss=loss,
        batch=partial(train.sample_batch, size.batch_size),
        steps=size.steps,
        optimizer=partial(_adam, size.learning_rates["translation"][kind]),
        clip=1.0,
        measure=partial(evaluate_bleu, translate_recurrent, subwords, pairs.test),
        every=size.measure_every,
        ending=show,
    )


def build_reversal(size: Size, kind: str, make: Callable[[], RNNsearch], longest: int) -> Training:
    """Return the training on rows of up to a length, one length for each batch; it ends with one row's alignment."""

    def batch(generator: torch.Generator) -> Batch:
        return sample_mixed_reversals(size.batch_size, 2, longest, size.num_symbols, generator)

    def fresh(length: int) -> tuple[Tensor, Tensor, Tensor]:
        return reversals_to_test(length, size.num_symbols)

    def measure(model: nn.Module) -> dict[str, float]:
        found = {f"right {n}": accuracy(model, score_recurrent, fresh(n)) for n in size.tested_row_lengths}
        return found | {
            name: alignment_accuracy(model, off, *fresh(size.row_length)) for name, off in (("looked", 0), ("near", 1))
        }

    def show(model: RNNsearch) -> dict[str, Any]:
        source, lengths, target = fresh(min(size.row_length, 12))
        return {"weights": _aligned(model, source[:1], lengths[:1], target[:1, :-2])[0].tolist()}

    return Training(
        model=make,
        loss=loss,
        batch=batch,
        steps=size.row_steps,
        optimizer=partial(_adam, size.learning_rates["rows"][kind]),
        clip=1.0,
        measure=measure,
        ending=show,
    )


def _is_short(pair: Pair, words: int) -> bool:
    return len(pair.source.split()) <= words


# Measures


@torch.no_grad()
def _aligned(model: Any, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
    return model(*(part.to(device_of(model)) for part in (source, lengths, target)))[1]


def alignment_accuracy(model: Any, tolerance: int, source: Tensor, lengths: Tensor, target: Tensor) -> float:
    """Return how often the largest attention weight is within `tolerance` places of the symbol to copy."""
    n = source.shape[1]
    weights = _aligned(model, source, lengths, target[:, :-1])[:, :n]  # not that of the end
    return float(((weights.argmax(dim=-1).cpu() - torch.arange(n - 1, -1, -1)).abs() <= tolerance).float().mean())


def _by_length(size: Size, curve: Curve) -> list[float]:
    return [curve[-1][f"right {n}"] for n in size.tested_row_lengths]


# Claims

LEARNED_ACCURACY = 0.9
"""The token accuracy on short rows that counts as having learned to write them backwards."""
TOLERANCE = 0.02
"""The loss of token accuracy from short to long rows that still counts as none."""
Scores = Mapping[tuple[str, bool], Sequence[float]]
"""A score of each seed, by model and by whether it was trained on all lengths."""
ByLength = Mapping[tuple[str, bool], Sequence[Sequence[float]]]
"""Scores of each seed at each tested length, by model and by whether it was trained on all lengths."""


def findings(
    size: Size, last: Scores, right: ByLength, looked: Sequence[float], near: Sequence[float]
) -> tuple[Finding, ...]:
    """Judge each claim of the card."""
    seen = size.tested_row_lengths.index(size.row_length)
    overall = {arm: [statistics.mean(one[: seen + 1]) for one in found] for arm, found in right.items()}
    return (
        judge_better("better-than-fixed", size, last, overall, searched_all=True),
        judge_better("shorter-training-suffices", size, last, overall, searched_all=False),
        judge_long_rows(size, right["RNNsearch", True]),
        judge_robustness(size, right),
        judge_alignments(size, looked, near),
        *NOT_TRIED,
    )


def judge_better(claim: str, size: Size, last: Scores, overall: Scores, searched_all: bool) -> Finding:
    """Judge whether RNNsearch, trained on all sentences or on the short ones, is above RNNencdec trained on all."""
    ours, theirs = ("RNNsearch", searched_all), ("RNNencdec", True)
    tasks = ((last, "BLEU", ".1f"), (overall, "right tokens of rows", ".3f"))
    clear = [all_runs_above(scores[ours], scores[theirs]) for scores, _, _ in tasks]
    compared = (
        f"{what}: {spread(scores[ours], form)} for {ours[0]}-{size.max_words if searched_all else size.short_words} "
        f"against {spread(scores[theirs], form)} for {theirs[0]}-{size.max_words}"
        for scores, what, form in tasks
    )
    return Finding(
        claim=claim,
        outcome=outcome(all(clear), any(clear)),
        measured="; ".join(compared)
        + f". Rows were trained on up to {size.row_length} and {size.short_row_length} symbols.",
        why="Reproduced if on both tasks the worst seed of the one is above the best seed of the other; partly if on "
        "one of them. BLEU jumps from one measurement to the next, so that of a seed is the mean of its last three.",
    )


def judge_long_rows(size: Size, searched: Sequence[Sequence[float]]) -> Finding:
    """Judge whether RNNsearch is as accurate on the longest training rows, and on longer ones, as on short rows."""
    found = dict(zip(size.tested_row_lengths, map(list, zip(*searched, strict=True)), strict=True))
    shortest, longest = min(size.tested_row_lengths), max(size.tested_row_lengths)
    learned = min(found[shortest]) >= LEARNED_ACCURACY
    holds = [
        learned and each_seed_above(found[n], found[shortest], margin=-TOLERANCE) for n in (size.row_length, longest)
    ]
    return Finding(
        claim="length-does-not-hurt",
        outcome=outcome(all(holds), any(holds)),
        measured="right tokens of rows: "
        + ", ".join(f"{spread(found[n])} at length {n}" for n in (shortest, size.row_length, longest))
        + f"; trained on up to {size.row_length}",
        why="Rows to be written backwards stand in for sentences of 50 words and more. The shortest must be right in "
        f"{LEARNED_ACCURACY:.0%} of their tokens in every seed. Then reproduced if in every seed the share is less "
        f"than {TOLERANCE} below that of the shortest rows, both at the longest of training and at the "
        "longest of all; partly if at one of them.",
    )


def judge_robustness(size: Size, right: ByLength) -> Finding:
    """Judge whether RNNsearch loses less accuracy with length than RNNencdec, on lengths that both were trained on."""
    seen = size.tested_row_lengths.index(size.row_length)
    falls = {kind: [one[0] - one[seen] for one in right[kind, True]] for kind in MODELS}
    learned = min(one[0] for one in right["RNNsearch", True]) >= LEARNED_ACCURACY
    return Finding(
        claim="robust-to-length",
        outcome=outcome(learned and all_runs_above(falls["RNNencdec"], falls["RNNsearch"])),
        measured=f"right tokens of rows fall from length {size.tested_row_lengths[0]} to {size.row_length} by "
        + "; ".join(f"{spread(found)} for {kind}" for kind, found in falls.items()),
        why="Reproduced if with every seed of RNNsearch the share falls by less than with any of RNNencdec, and begins "
        f"at {LEARNED_ACCURACY:.0%} or more: what was never learned can't fall. Both were trained on all these "
        "lengths.",
    )


def judge_alignments(size: Size, looked: Sequence[float], near: Sequence[float]) -> Finding:
    """Judge whether the largest attention weight is at the right position."""
    return Finding(
        claim="alignments-make-sense",
        outcome=outcome(min(looked) >= 0.9, min(near) >= 0.9),
        measured=f"the greatest weight is on the right symbol for {spread(looked, '.1%')} of those written, in rows "
        f"of {size.row_length}, and on it or its neighbor for {spread(near, '.1%')}; chance is "
        f"{1 / size.row_length:.1%} and at most {3 / size.row_length:.1%}",
        why="Rows to be written backwards have one right alignment, which sentences have not. Reproduced if in every "
        "seed the greatest weight is right for 90 % or more; partly if in every seed it is right or one place off for "
        "as many. What counts as partly was set after a look: a probe with one seed had come out one place off, as a "
        "recurrent reader notes at a place what stands next to it too. The alignment of a sentence is shown, and not "
        "judged.",
    )


NOT_TRIED = not_tried(
    {
        "as-good-as-phrases": "It takes a phrase-based system (Moses), and the 348 million words that both were "
        "trained on.",
    }
)


# Report


def experiment(run: Run) -> Report:
    """Train both models on all and on short sentences and rows, and test each on all."""
    size = SIZES[run.size]
    seeds = tuple(run.seeds(size.seeds))
    run.expect(1 + 8 * len(seeds))
    pairs = load_corpus(("fr",), size.max_words)
    subwords = SubwordTokenizer(run.piece("subwords", lambda: SubwordTokenizer.train(pairs.train, size.vocab_size)))
    translators, writers = model_factories(size, subwords.vocab_size), model_factories(size, UNK + size.num_symbols)
    translation, rows = {}, {}
    for kind in MODELS:
        for words, row in ((size.max_words, size.row_length), (size.short_words, size.short_row_length)):
            on_all = words == size.max_words
            translating = build_translation(size, kind, translators[kind], pairs, subwords, words)
            translation[kind, on_all] = train_seeds(run, f"translation {kind} up to {words}", translating, seeds)
            reversing = build_reversal(size, kind, writers[kind], row)
            rows[kind, on_all] = train_seeds(run, f"rows {kind} up to {row}", reversing, seeds)
    curves, row_curves = select(translation, "curve"), select(rows, "curve")
    last = final_averages(curves, "bleu")
    right = {arm: [_by_length(size, curve) for curve in found] for arm, found in row_curves.items()}
    looked, near = (final_values(row_curves, key)["RNNsearch", True] for key in ("looked", "near"))
    counts = {
        kind: tuple(count_built(arms[kind], count_effective_parameters) for arms in (translators, writers))
        for kind in MODELS
    }
    return Report(
        findings=findings(size, last, right, looked, near),
        tables=(_quality(size, last, right, counts),),
        figures=(
            bleu_figure(
                {_name(size, *arm): found for arm, found in curves.items()},
                "English to French messages that were not trained on. A number behind a model's name is how many words "
                "the sentences that it saw had at most. Look whether the short-sighted RNNsearch passes the other "
                "RNNencdec.",
            ),
            reversal_figure(
                {
                    f"{kind}, trained on up to {size.row_length if on_all else size.short_row_length}": found
                    for (kind, on_all), found in right.items()
                },
                size.tested_row_lengths,
                size.row_length,
                size.num_symbols,
                f"Share of right tokens, given what stands before. Lengths above {size.row_length} were never trained "
                "on.",
            ),
            attention_heatmap(
                "alignment", "Where RNNsearch looks in a sentence", "First seed.", translation["RNNsearch", True][0]
            ),
            _diagonal(rows["RNNsearch", True][0]["weights"]),
        ),
        seeds=seeds,
        settings=asdict(size),
        notes=f"{pairs} {sum(_is_short(pair, size.short_words) for pair in pairs.train):,} of those to train on have "
        f"at most {size.short_words} English words.",
    )


def _name(size: Size, kind: str, on_all: bool) -> str:
    return f"{kind}-{size.max_words if on_all else size.short_words}"


def _quality(size: Size, last: Scores, right: ByLength, counts: Mapping[str, Sequence[int]]) -> Table:
    rows = tuple(
        (
            _name(size, *arm),
            counts[arm[0]][0],
            spread(last[arm], ".1f"),
            counts[arm[0]][1],
            *(round(statistics.mean(values), 3) for values in zip(*right[arm], strict=True)),
        )
        for arm in last
    )
    return Table(
        title="Searching, or one vector; trained on all lengths, or on the short ones",
        columns=(
            "model",
            "working weights",
            "BLEU",
            "working weights, rows",
            *(f"right, rows of {n}" for n in size.tested_row_lengths),
        ),
        rows=rows,
        note=f"BLEU is on messages of up to {size.max_words} words for all. Rows were trained on up to "
        f"{size.row_length} symbols, and up to {size.short_row_length} for the models that end in {size.short_words}. "
        "Means over seeds; BLEU of the last three measurements.",
    )


def _diagonal(row: Sequence[Sequence[float]]) -> Heatmap:
    on_diagonal = statistics.mean(weights[len(row) - 1 - index] for index, weights in enumerate(row))
    return Heatmap(
        id="reversal",
        title="Where RNNsearch looks in a row that it writes backwards",
        caption="The right places are on the diagonal from the upper right to the lower left. First seed.",
        alt=f"the weights on the diagonal that is right are {on_diagonal:.2f} on average",
        rows=tuple(map(str, range(1, len(row) + 1))),
        columns=tuple(map(str, range(1, len(row[0]) + 1))),
        x="place in the source",
        y="place written next",
        values=tuple(map(tuple, row)),
    )
