r"""RNNsearch, with attention, against RNNencdec, with one fixed vector.

Source: Bahdanau, Cho and Bengio 2015, Section 5 (Table 1, Figures 2 and 3)

Claims: RNNsearch translates better than RNNencdec, even if it was trained on shorter sentences only; it does not get
    worse on long sentences; and its alignments agree with those that people would draw.

Task: sentences of a fragment of English and French, made without end, with their alignments
    (`reference_impl.experiments.translation`). The limits of 50 and 30 words are 14 and 9 here.

Arms: as in Table 1, RNNsearch-14 and RNNencdec-14, trained on all sentences, and RNNsearch-9, trained on those of up to
    9 words: the same data, with another limit. All are tested on sentences of up to 14 words, none of them trained on.

Budget: in RNNencdec the alignment model and half of each context have no effect, so its hidden size is increased until
    its effective parameters are as many as RNNsearch's, within 5 %; in the paper both have the same hidden size. Both
    train with Adam, whose learning rate rises for 100 steps and then stays, until BLEU on validation sentences has
    stopped improving, or the last step. RNNencdec learns more slowly, and may take more steps. The learning rate was
    selected for each model by that BLEU, as the mean of the last three measurements after 600 steps (5,000 for
    RNNencdec) under a seed that `small` does not use; RNNsearch-9 takes that of RNNsearch-14.

Measures: BLEU (sacrebleu, by words) of greedy translations of test sentences, in all and by length; and where the
    largest attention weight is.

Gates: the task is learned, all arms have converged, learning rates lie inside the range that was tried, three seeds.

Rules: until now random rows of symbols to be reversed stood in for long sentences, and were judged up to twice the
    trained length, of which the paper says nothing; and the short sentences were fewer than the others. Rules and tasks
    are new, and were set before this size was run; the length of sentences, the lexicon and the hidden size after
    pilots of RNNencdec, such that it converges, which it did not on longer sentences. That an alignment next to the
    right one counts in part is gone. In a first run the learning rate fell to zero, and RNNencdec still improved at the
    last step; with a hidden size of 48 and three times as many steps it translated without a mistake, so that nothing
    could be better. Therefore models are half as wide, and trainings end where they stop improving. A second run had
    a rate for RNNencdec that was the best after 1,500 steps and not after 5,000, and less patience; 6 % of its gain
    came in the last third.

Stands in: a fragment with 98 words and one right translation for each sentence, for 348 million words of French and
    English. Departs: Adam for minutes, not Adadelta for days. No beam search.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from quaere.content.results import Finding, Gate, Lines, Quantity, Report, Series
from quaere.running.experiments import Run
from reference_impl.bahdanau import RNNencdec, RNNsearch
from reference_impl.experiments.arms import count_built, match_width, train_seeds
from reference_impl.experiments.curves import Curve, has_plateaued, list_means, select
from reference_impl.experiments.judging import (
    all_runs_above,
    converged,
    differences,
    each_seed_above,
    enough_seeds,
    judge,
    learned,
    no_experiment,
    quantity,
    tuned,
)
from reference_impl.experiments.training import Training, count_parameters, device_of
from reference_impl.experiments.translation import (
    EXAMPLE,
    VOCABULARY,
    Pair,
    attention_heatmap,
    bleu,
    bleu_figure,
    build_training,
    collate,
    held_out_pairs,
    rise_and_hold,
    score_recurrent,
    translate_pairs,
    translate_recurrent,
)

SEARCH, FIXED = "RNNsearch", "RNNencdec"


@dataclass(frozen=True)
class Size:
    """The settings of a run: words of long and short sentences; widths; seeds; trainings; test sentences.

    Attributes:
        steps: The most steps of each model.
        every: Steps between two measurements.
        patience: Measurements without improvement after which a training ends.
    """

    max_words: int
    short_words: int
    width: int
    learning_rates: Mapping[str, float]
    tried: Mapping[str, Sequence[float]]
    seeds: int
    batch_size: int
    steps: Mapping[str, int]
    every: int
    patience: int
    test_pairs: int

    @property
    def arms(self) -> dict[str, tuple[str, int]]:
        """The kind of each arm, and the most words of the sentences that it is trained on."""
        limits = ((SEARCH, self.max_words), (FIXED, self.max_words), (SEARCH, self.short_words))
        return {f"{kind}-{words}": (kind, words) for kind, words in limits}

    @property
    def lengths(self) -> list[tuple[int, int]]:
        """The fewest and the most words of the test sentences, from the shortest on."""
        return [(words, words + 1) for words in range(5, self.max_words, 2)]


MODELS: Mapping[str, type[RNNsearch]] = {SEARCH: RNNsearch, FIXED: RNNencdec}
LEARNING_RATES = {SEARCH: 0.005, FIXED: 0.01}
"""The learning rate of each model; see "Budget" above for how it was selected."""
TRIED = {SEARCH: (0.0025, 0.005, 0.01, 0.02), FIXED: (0.0025, 0.005, 0.01, 0.02, 0.04)}
SIZES = {
    "smoke": Size(
        max_words=8, short_words=6, width=16, learning_rates=LEARNING_RATES, tried=TRIED, seeds=1, batch_size=8,
        steps={SEARCH: 15, FIXED: 15}, every=5, patience=5, test_pairs=4,
    ),
    "small": Size(
        max_words=14, short_words=9, width=24, learning_rates=LEARNING_RATES, tried=TRIED, seeds=3, batch_size=64,
        steps={SEARCH: 3000, FIXED: 8000}, every=100, patience=15, test_pairs=128,
    ),
    "full": Size(
        max_words=30, short_words=18, width=256, learning_rates=dict.fromkeys(MODELS, 0.001),
        tried=dict.fromkeys(MODELS, (0.001,)), seeds=3, batch_size=80, steps={SEARCH: 50_000, FIXED: 200_000},
        every=500, patience=10, test_pairs=512,
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


def model_factories(size: Size) -> dict[str, Callable[[], RNNsearch]]:
    """Return factories of the two models, with the same number of effective parameters."""

    def make(kind: type[RNNsearch], hidden: int) -> RNNsearch:
        v = len(VOCABULARY)
        return kind(v, v, size.width, hidden, alignment_size=size.width, maxout_size=size.width)

    budget = count_built(partial(make, RNNsearch, size.width), count_effective_parameters)
    wider = match_width(partial(make, RNNencdec), budget, count_effective_parameters)
    return {SEARCH: partial(make, RNNsearch, size.width), FIXED: partial(make, RNNencdec, wider)}


def build_arm_training(size: Size, kind: str, words: int) -> Training:
    """Return the training of a model on sentences of up to so many words, until it stops improving."""
    training = build_training(
        model_factories(size)[kind],
        score_recurrent,
        translate_recurrent,
        peak=size.learning_rates[kind],
        steps=size.steps[kind],
        max_words=words,
        test=held_out_pairs(size.test_pairs, (5, size.max_words), VALIDATION_SEED),
        batch_size=size.batch_size,
        ending=partial(measure_at_end, size),
    )
    return replace(
        training,
        schedule=partial(rise_and_hold, size.learning_rates[kind], 100),
        every=size.every,
        stop=partial(has_plateaued, measure="bleu", patience=size.patience),
    )


# Measures

VALIDATION_SEED, TEST_SEED = 1, 0
"""The seeds of the held-out sentences that decide when a training ends, and of those that it is tested on."""


def measure_at_end(size: Size, model: RNNsearch) -> dict[str, Any]:
    """Return BLEU on test sentences, in all and by length.

    Of RNNsearch also the accuracy of its alignments, and the weights of one sentence.
    """

    def score(pairs: Sequence[Pair]) -> float:
        return bleu(translate_pairs(model, translate_recurrent, pairs), pairs)

    pairs, *by_length = (
        held_out_pairs(size.test_pairs, words, TEST_SEED) for words in ((5, size.max_words), *size.lengths)
    )
    found: dict[str, Any] = {"bleu": score(pairs), "by_length": [score(each) for each in by_length]}
    if not isinstance(model, RNNencdec):
        n = len(EXAMPLE.target) + 1
        found |= alignment_accuracy(align(model, pairs), pairs)
        found["weights"] = [row[: len(EXAMPLE.source) + 1] for row in align(model, [EXAMPLE])[0, :n].tolist()]
    return found


@torch.no_grad()
def align(model: Any, pairs: Sequence[Pair]) -> Tensor:
    """Return the attention weights of pairs, by target token and source token (b, m, n)."""
    source, lengths, target = (part.to(device_of(model)) for part in collate(pairs))
    return model(source, lengths, target[:, :-1])[1].cpu()


def alignment_accuracy(weights: Tensor, pairs: Sequence[Pair]) -> dict[str, float]:
    """Return how often the largest weight is on the word translated: of all target words, and of those out of place.

    A word is out of place if its index in the sentence is not that of the word that it translates, as where adjective
    and noun are swapped.
    """
    looked = weights.argmax(dim=-1).tolist()
    words = [(looked[row][i], at, i) for row, pair in enumerate(pairs) for i, at in enumerate(pair.alignment)]
    moved = [(found, at) for found, at, i in words if at != i]
    return {
        "aligned": sum(found == at for found, at, _ in words) / len(words),
        "aligned, out of place": sum(found == at for found, at in moved) / max(1, len(moved)),
    }


# Claims

NOT_WORSE = 2.0
"""The loss of BLEU from the shortest to the longest sentences that still counts as none."""
Scores = Mapping[str, Sequence[float]]
"""A score of each seed, by arm."""
ByLength = Mapping[str, Sequence[Sequence[float]]]
"""BLEU of each seed, from the shortest to the longest sentences, by arm."""


def judge_better(claim: str, ran: str, scores: Scores, ours: str, theirs: str, gates: Sequence[Gate]) -> Finding:
    """Judge whether one arm translates better than another."""
    return judge(
        claim,
        f"Reproduced if the worst seed of {ours} has more BLEU on all sentences than the best of {theirs}; partly if "
        "each seed has more than the same seed of the other.",
        ran=ran,
        quantities=[_bleu("BLEU, all sentences", {arm: scores[arm] for arm in (ours, theirs)})],
        reproduced=all_runs_above(scores[ours], scores[theirs]),
        partly=each_seed_above(scores[ours], scores[theirs]),
        gates=gates,
    )


def judge_long_sentences(ran: str, scores: Sequence[Sequence[float]], arm: str, gates: Sequence[Gate]) -> Finding:
    """Judge whether RNNsearch is as good on the longest sentences that it was trained on as on the shortest."""
    shortest, longest = [one[0] for one in scores], [one[-1] for one in scores]
    return judge(
        "length-does-not-hurt",
        f"Reproduced if in every seed of {arm} BLEU on the longest sentences of training is less than {NOT_WORSE:g} "
        "below that on the shortest.",
        ran=ran,
        quantities=[
            _bleu("BLEU by length", {f"{arm}, shortest": shortest, f"{arm}, longest": longest}),
        ],
        reproduced=each_seed_above(longest, shortest, margin=-NOT_WORSE),
        gates=[learned({f"{arm}, shortest": shortest}, GOOD, GOOD_IS), *gates],
    )


def judge_robustness(ran: str, scores: ByLength, ours: str, theirs: str, gates: Sequence[Gate]) -> Finding:
    """Judge whether RNNsearch loses less with length than RNNencdec, both on lengths that they were trained on."""
    shortest = {arm: [one[0] for one in scores[arm]] for arm in (ours, theirs)}
    falls = {arm: differences(shortest[arm], [one[-1] for one in scores[arm]]) for arm in (ours, theirs)}
    return judge(
        "robust-to-length",
        f"Reproduced if with every seed of {ours} BLEU falls by less, from the shortest sentences to the longest of "
        f"training, than with any of {theirs}.",
        ran=ran,
        quantities=[
            quantity("fall of BLEU from the shortest to the longest sentences", falls, "lower"),
            _bleu("BLEU, shortest sentences", shortest),
        ],
        reproduced=all_runs_above(falls[theirs], falls[ours]),
        # What was never learned can't fall.
        gates=[learned(shortest, GOOD, GOOD_IS, by_all=True), *gates],
    )


def judge_alignments(ran: str, aligned: Scores, gates: Sequence[Gate]) -> Finding:
    """Judge whether the largest attention weight is on the word that is translated, also where words are swapped."""
    worst = min(min(values) for values in aligned.values())
    return judge(
        "alignments-make-sense",
        "Reproduced if in every seed the largest attention weight is on the word translated for at least 90 % of all "
        "target words, and of those that are out of place; partly if for more than half of both.",
        ran=ran,
        quantities=[quantity("target words with the largest weight on the word translated", aligned, "higher")],
        reproduced=worst >= 0.9,
        partly=worst > 0.5,
        gates=gates,
    )


GOOD, GOOD_IS = 50.0, "half of a perfect BLEU"


def _bleu(name: str, arms: Scores) -> Quantity:
    return quantity(name, arms, "higher", levels={"perfect": 100.0})


def judge_claims(
    size: Size, curves: Mapping[str, Sequence[Curve]], scores: Scores, by_length: ByLength, aligned: Scores
) -> tuple[Finding, ...]:
    """Judge each claim of the card.

    Args:
        size: The size of the run.
        curves: The learning curves of each arm, on validation sentences.
        scores: BLEU on all test sentences of each arm.
        by_length: BLEU by length of each arm.
        aligned: The share of words that RNNsearch aligns rightly: of all, and of those out of place.
    """
    searched, fixed, short = size.arms

    def ran(*arms: str) -> str:
        steps = " and ".join(f"{size.steps[size.arms[arm][0]]:,} for {arm}" for arm in arms)
        return f"generated sentences of up to {size.max_words} words, {size.batch_size} a step, steps at most: {steps}"

    def gates(*arms: str) -> list[Gate]:
        kinds = {size.arms[arm][0] for arm in arms}
        rates = {kind: size.learning_rates[kind] for kind in kinds}
        return [
            learned({arm: scores[arm] for arm in arms}, GOOD, GOOD_IS),
            converged({arm: curves[arm] for arm in arms}, "bleu"),
            tuned(rates, {kind: size.tried[kind] for kind in kinds}, "the learning rate"),
            enough_seeds({arm: scores[arm] for arm in arms}),
        ]

    both, mixed = (searched, fixed), (short, fixed)
    return (
        judge_better("better-than-fixed", ran(*both), scores, *both, gates(*both)),
        judge_better("shorter-training-suffices", ran(*mixed), scores, *mixed, gates(*mixed)),
        judge_long_sentences(ran(searched), by_length[searched], searched, gates(searched)),
        judge_robustness(ran(*both), by_length, *both, gates(*both)),
        judge_alignments(ran(searched), aligned, gates(searched)),
        *NO_EXPERIMENT,
    )


NO_EXPERIMENT = no_experiment(
    {
        "as-good-as-phrases": "A phrase-based system (Moses), and the 348 million words that both were trained on.",
    }
)


# Report


def experiment(run: Run) -> Report:
    """Train RNNsearch on all and on short sentences, and RNNencdec on all, and test each on all."""
    size = SIZES[run.size]
    seeds = tuple(run.seeds(size.seeds))
    run.expect(len(size.arms) * len(seeds))
    trained = {
        arm: train_seeds(
            run,
            arm,
            build_arm_training(size, kind, words),
            seeds,
        )
        for arm, (kind, words) in size.arms.items()
    }
    curves, scores, by_length = (select(trained, name) for name in ("curve", "bleu", "by_length"))
    searched = trained[f"{SEARCH}-{size.max_words}"]
    names = {"all words": "aligned", "words out of place": "aligned, out of place"}
    aligned = {name: [one[key] for one in searched] for name, key in names.items()}
    longest = {arm: [one[-1] for one in found] for arm, found in by_length.items()}
    counts = {kind: count_built(make, count_effective_parameters) for kind, make in model_factories(size).items()}
    return Report(
        findings=judge_claims(size, curves, scores, by_length, aligned),
        figures=(
            bleu_figure(
                curves,
                "Validation sentences of all lengths. The number behind a model's name is the most words that the "
                "sentences of its training had.",
            ),
            Lines(
                id="length",
                title="BLEU by length of the sentence",
                caption=f"As in Figure 2 of the paper, up to {size.max_words} words, the limit of training, with "
                f"{size.test_pairs} sentences for each point.",
                alt=f"BLEU on the longest: {list_means(longest, '.1f')}",
                x="English words, at most",
                y="BLEU",
                series=tuple(
                    Series(name=arm, x=tuple(most for _, most in size.lengths), runs=tuple(map(tuple, found)))
                    for arm, found in by_length.items()
                ),
            ),
            attention_heatmap(
                "alignment", "Where RNNsearch looks in a sentence", "First seed.", EXAMPLE, searched[0]["weights"]
            ),
        ),
        seeds=seeds,
        settings=asdict(size),
        notes="Effective parameters: " + ", ".join(f"{kind} {count:,}" for kind, count in counts.items()) + ".",
    )
