r"""The Transformer against recurrent encoder-decoders: quality, training time, parallelism, long-range dependencies.

Source: Vaswani et al. 2017, Abstract, Section 4 (Table 1) and Section 6.1 (Table 2)

Claims: Attention alone translates better than recurrent models, trains in less time, processes all positions of a
    sequence in parallel, and connects distant positions by short paths, which makes long-range dependencies easier to
    learn.

Tasks: the first is English to French: messages of Django and Sphinx, some 900 pairs of at most 12 words. The second is
    to reverse a sequence of symbols, trained and tested at one length after the other. One length is the easier setting
    for the Transformer, whose positions then determine where each symbol goes, and it was chosen after mixed lengths
    had gone badly for it in a pilot run. So mixed lengths are run as well, and count as much.

Arms:
    - the Transformer, pre-norm at `small`, as in the authors' later code;
    - RNNsearch (Bahdanau et al. 2015), a recurrent encoder and a recurrent decoder with attention;
    - an LSTM encoder-decoder (Sutskever et al. 2014, with one layer), torch's LSTM, which passes on its last state.

Budget: all have the same number of parameters (within 5 %), the same number of steps, the same optimizer (Section 5.3,
    with another peak learning rate), label smoothing, dropout and one matrix for all embeddings (Sections 3.4 and 5.4).
    Each model has a peak learning rate for each task. It was selected under a seed that `small` does not use: on an
    eighth of the training pairs, held out, by BLEU after 250 steps (RNNsearch, which is slow, 150), and on new
    sequences of length 16 by token accuracy after 200 (150). Starting from 0.005 or 0.01, neighbors among 0.001, 0.002,
    0.005, 0.01, 0.02 and 0.05 were tried until the best one had a worse one on either side. Mixed lengths take the peak
    of the single lengths. The Transformer alone had a second choice: post-norm, as in the paper, or pre-norm, at 0.002
    and 0.005. Pre-norm was far ahead in translation, and at 0.005 a little ahead in both settings of reversal; so the
    comparison favors the Transformer. There are as many steps as there is time for, and the report says how much each
    model still gains in the second half of them.

Measures: BLEU by sacrebleu on held-out messages, token accuracy on new sequences, and seconds per step on this machine,
    in reversal at each length.

Stands in: some 900 pairs for 36 million.

Sizes: at `small` everything is tiny, two layers of width 64, and RNNsearch is a loop in Python where torch's LSTM is
    one call; it takes about ten minutes. `full` has the base model, ten languages, and lengths up to 128; its learning
    rates are not tuned.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from quaere.content.results import Finding, Heatmap, Lines, Report, Series, Table, spread
from quaere.running.experiments import Run
from reference_impl.bahdanau import RNNsearch
from reference_impl.experiments.arms import count_built, match_width, train_seeds
from reference_impl.experiments.curves import (
    Curve,
    curve_series,
    final_averages,
    final_values,
    list_means,
    list_spreads,
    moving_average,
    select,
)
from reference_impl.experiments.judging import all_runs_above, not_tried, outcome
from reference_impl.experiments.timing import time_in_turns
from reference_impl.experiments.training import Batch, Training, accelerator, device_of
from reference_impl.experiments.translation import (
    BOS,
    EOS,
    UNK,
    Corpus,
    Pair,
    PairDataset,
    ScoreFunction,
    SubwordTokenizer,
    TranslateFunction,
    accuracy,
    attention_heatmap,
    bleu_figure,
    encode_example,
    evaluate_bleu,
    load_corpus,
    reversal_figure,
    reversals_to_test,
    sample_mixed_reversals,
    sample_reversals,
    score_recurrent,
    target_mask,
    translate_pairs,
    translate_recurrent,
)
from reference_impl.layers.attention import causal_mask, padding_mask
from reference_impl.layers.positions import sinusoidal_positions
from reference_impl.transformer import (
    DecoderLayer,
    EncoderLayer,
    PostNorm,
    PreNorm,
    Transformer,
    greedy_search,
    label_smoothed_cross_entropy,
    noam_learning_rate,
)

TRANSFORMER, RNNSEARCH, LSTM = "Transformer", "RNNsearch", "LSTM encoder-decoder"


@dataclass(frozen=True)
class Size:
    """The size of a run: of the data, of the models, and of the training."""

    languages: tuple[str, ...]
    max_words: int
    vocab_size: int
    d_model: int
    heads: int
    d_ff: int
    layers: int
    dropout: float
    seeds: int
    batch_size: int
    pre_norm: bool
    peak_learning_rates: Mapping[str, Mapping[str, float]]
    warmup: int
    steps: int
    eval_interval: int
    reversal_lengths: tuple[int, ...]
    reversal_steps: int
    mixed_max_length: int
    mixed_steps: int
    num_symbols: int
    timed_lengths: tuple[int, ...]
    timing_repeats: int


PEAK_LEARNING_RATES = {
    "translation": {TRANSFORMER: 0.01, RNNSEARCH: 0.005, LSTM: 0.01},
    "reversal": {TRANSFORMER: 0.005, RNNSEARCH: 0.002, LSTM: 0.02},
}
"""The peak learning rate for each task and model, selected as described above."""
SIZES = {
    "smoke": Size(
        languages=("fr",), max_words=4, vocab_size=300, d_model=32, heads=2, d_ff=64, layers=1, dropout=0.1, seeds=1,
        batch_size=8, pre_norm=True, peak_learning_rates=PEAK_LEARNING_RATES, warmup=4, steps=6, eval_interval=3,
        reversal_lengths=(2, 4), reversal_steps=4, mixed_max_length=4, mixed_steps=4, num_symbols=8,
        timed_lengths=(2, 4), timing_repeats=2,
    ),
    "small": Size(
        languages=("fr",), max_words=12, vocab_size=800, d_model=64, heads=4, d_ff=256, layers=2, dropout=0.1,
        seeds=3, batch_size=32, pre_norm=True, peak_learning_rates=PEAK_LEARNING_RATES, warmup=100, steps=600,
        eval_interval=50, reversal_lengths=(8, 16, 32), reversal_steps=200, mixed_max_length=16, mixed_steps=500,
        num_symbols=22, timed_lengths=(16, 32, 64, 128), timing_repeats=5,
    ),
    "full": Size(
        languages=("fr", "es", "pt_BR", "ca", "it", "de", "nl", "sv", "pl", "ru"), max_words=40, vocab_size=8000,
        d_model=512, heads=8, d_ff=2048, layers=6, dropout=0.1, seeds=3, batch_size=256, pre_norm=False,
        peak_learning_rates={task: dict.fromkeys(peaks, 7e-4) for task, peaks in PEAK_LEARNING_RATES.items()},
        warmup=4000, steps=20_000, eval_interval=1000, reversal_lengths=(8, 16, 32, 64, 128), reversal_steps=2000,
        mixed_max_length=64, mixed_steps=5000, num_symbols=62, timed_lengths=(16, 32, 64, 128, 256),
        timing_repeats=20,
    ),
}  # fmt: skip


# Arms


@dataclass(frozen=True)
class Arm:
    """A model, its functions for logits and translations, and its peak learning rate for each task."""

    build_model: Callable[[], nn.Module]
    score: ScoreFunction
    translate: TranslateFunction
    peak_learning_rates: Mapping[str, float]


def build_arms(size: Size, vocab_size: int) -> dict[str, Arm]:
    """Return the three models; the recurrent ones have about as many parameters as the Transformer."""

    def build_transformer() -> nn.Module:
        residual = PreNorm if size.pre_norm else PostNorm
        return Transformer(
            vocab_size, size.d_model, size.heads, size.d_ff, size.layers, size.dropout, residual=residual
        )

    budget = count_built(build_transformer)
    peaks = {
        name: {task: of_task[name] for task, of_task in size.peak_learning_rates.items()}
        for name in (TRANSFORMER, RNNSEARCH, LSTM)
    }
    found = {TRANSFORMER: Arm(build_transformer, _transformer_logits, _transformer_translate, peaks[TRANSFORMER])}
    for name, kind in ((RNNSEARCH, build_rnnsearch), (LSTM, LSTMEncoderDecoder)):

        def make(width: int, kind: Any = kind) -> nn.Module:
            return kind(vocab_size, size.d_model, width, size.dropout)

        found[name] = Arm(partial(make, match_width(make, budget)), score_recurrent, translate_recurrent, peaks[name])
    return found


def _transformer_logits(model: Any, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
    return model(source, target, padding_mask(lengths, source.shape[1]))


def _transformer_translate(model: Any, source: Tensor, lengths: Tensor, max_length: int) -> Tensor:
    return greedy_search(model, source, lengths, BOS, EOS, extra_length=max_length - source.shape[1])[:, :max_length]


class ScaledEmbedding(nn.Module):
    """Token embedding as in the Transformer, but without positions: the same initialization, scale and dropout."""

    def __init__(self, embedding: nn.Embedding, dropout: float) -> None:
        super().__init__()
        self.embedding, self.dropout = embedding, nn.Dropout(dropout)
        nn.init.normal_(embedding.weight, std=embedding.embedding_dim**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the embeddings of tokens."""
        return self.dropout(self.embedding(tokens) * self.embedding.embedding_dim**0.5)


class LSTMEncoderDecoder(nn.Module):
    """LSTM encoder-decoder: the decoder starts from the last state of the encoder.

    Source: Sutskever et al. 2014, with one layer; the forget gates' bias is 1, as in `reference_impl.lstm`
    """

    def __init__(self, vocab_size: int, d_embedding: int, d_hidden: int, dropout: float) -> None:
        super().__init__()
        self.embedding = ScaledEmbedding(nn.Embedding(vocab_size, d_embedding), dropout)
        self.encoder = nn.LSTM(d_embedding, d_hidden, batch_first=True)
        self.decoder = nn.LSTM(d_embedding, d_hidden, batch_first=True)
        self.projection, self.dropout = nn.Linear(d_hidden, d_embedding), nn.Dropout(dropout)
        with torch.no_grad():
            for lstm in (self.encoder, self.decoder):
                nn.init.zeros_(cast(Tensor, lstm.bias_hh_l0))
                nn.init.zeros_(cast(Tensor, lstm.bias_ih_l0))[d_hidden : 2 * d_hidden] = 1.0

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> tuple[Tensor, None]:
        """Return the logits of the token after each target token, and no alignment."""
        return self._scores(self.decoder(self.embedding(target), self._read(source, lengths))[0]), None

    def translate(self, source: Tensor, lengths: Tensor, bos: int, eos: int, max_length: int) -> Tensor:
        """Return the greedy translations, as `RNNsearch.translate` does."""
        state, word = self._read(source, lengths), torch.full_like(lengths, bos)
        words: list[Tensor] = []
        over = torch.zeros_like(lengths, dtype=torch.bool)
        while len(words) < max_length and not over.all():
            output, state = self.decoder(self.embedding(word[:, None]), state)
            word = self._scores(output)[:, 0].argmax(dim=-1).masked_fill(over, eos)
            words.append(word)
            over = over | (word == eos)
        return torch.stack(words, dim=1)

    def _read(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        x = nn.utils.rnn.pack_padded_sequence(
            self.embedding(source), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        return self.encoder(x)[1]

    def _scores(self, output: Tensor) -> Tensor:
        return self.dropout(self.projection(output)) @ self.embedding.embedding.weight.T


def build_rnnsearch(vocab_size: int, d_embedding: int, d_hidden: int, dropout: float) -> RNNsearch:
    """Return RNNsearch with one matrix for all embeddings and dropout, as in the Transformer."""
    model = RNNsearch(
        vocab_size, vocab_size, d_embedding, d_hidden, alignment_size=d_embedding, maxout_size=d_embedding
    )
    embedded = ScaledEmbedding(model.encoder.embedding, dropout)
    output = model.decoder.output
    output.weight = embedded.embedding.weight
    # Any module with the same signature can replace these.
    model.encoder.embedding = model.decoder.embedding = cast(nn.Embedding, embedded)
    model.decoder.output = cast(nn.Linear, nn.Sequential(nn.Dropout(dropout), output))
    return model


# Training


def compute_loss(
    score: ScoreFunction, model: nn.Module, source: Tensor, lengths: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the sum of the label-smoothed cross-entropy over the target tokens, and their number."""
    counts = target_mask(target[:, 1:])
    number = counts.sum()
    return label_smoothed_cross_entropy(
        score(model, source, lengths, target[:, :-1]), target[:, 1:], counts
    ) * number, number


def build_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """Return the paper's Adam, with a learning rate of 1 that the schedule multiplies."""
    return torch.optim.Adam(model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9)


def noam_schedule(size: Size, peak: float, optimizer: torch.optim.Optimizer) -> LambdaLR:
    """Return the learning rate schedule of Eq. 3, scaled to a peak."""
    highest = noam_learning_rate(size.warmup, size.d_model, size.warmup)
    return LambdaLR(optimizer, lambda done: peak / highest * noam_learning_rate(done + 1, size.d_model, size.warmup))


def build_translation(size: Size, arm: Arm, pairs: Corpus, tokenizer: SubwordTokenizer) -> Training:
    """Return an arm's training on translation; it ends with some translations and attention weights."""
    train = PairDataset([tokenizer.encode(pair) for pair in pairs.train])
    return Training(
        model=arm.build_model,
        loss=partial(compute_loss, arm.score),
        batch=partial(train.sample_batch, size.batch_size),
        steps=size.steps,
        optimizer=build_optimizer,
        schedule=partial(noam_schedule, size, arm.peak_learning_rates["translation"]),
        clip=1.0,
        measure=partial(evaluate_bleu, arm.translate, tokenizer, pairs.test),
        every=size.eval_interval,
        ending=partial(_show, arm, tokenizer, pairs.test),
    )


def build_reversal(size: Size, arm: Arm, shortest: int, longest: int) -> Training:
    """Return an arm's training on sequences of these lengths, one length for each batch, tested on the longest."""
    steps = size.reversal_steps if shortest == longest else size.mixed_steps
    test = reversals_to_test(longest, size.num_symbols)

    def batch(generator: torch.Generator) -> Batch:
        return sample_mixed_reversals(size.batch_size, shortest, longest, size.num_symbols, generator)

    return Training(
        model=arm.build_model,
        loss=partial(compute_loss, arm.score),
        batch=batch,
        steps=steps,
        optimizer=build_optimizer,
        schedule=partial(noam_schedule, size, arm.peak_learning_rates["reversal"]),
        clip=1.0,
        measure=lambda model: {"right": accuracy(model, arm.score, test)},
        every=max(1, steps // 10),
    )


# Measures


def _show(arm: Arm, tokenizer: SubwordTokenizer, test: Sequence[Pair], model: Any) -> dict[str, Any]:
    """Return some translations, and for the Transformer the attention weights in one sentence."""
    shown: dict[str, Any] = {"texts": translate_pairs(model, arm.translate, tokenizer, test[:5])}
    if isinstance(model, Transformer):
        (source, _, target), tokens = encode_example(tokenizer, test)
        inner, cross = mean_attention_weights(model, source, target)
        shown |= {**tokens, "inner": inner, "weights": cross}
    return shown


def mean_attention_weights(
    model: Transformer, source: Tensor, target: Tensor
) -> tuple[list[list[float]], list[list[float]]]:
    """Return attention weights, as means over heads: of encoder layer 1, and of the last layer's cross-attention."""
    device = device_of(model)
    source, target = source.to(device), target.to(device)
    x, y = model.embedding(source), model.embedding(target)
    first = cast(EncoderLayer, model.encoder[0])
    inner = first.around_self_attention.input(x)
    self_weights = first.self_attention.attention_weights(inner, inner)
    memory, mask = model.encode(source), causal_mask(target.shape[1], device)
    state = model.init_state(memory)
    for layer, keys_values, past in zip(model.decoder, state.memory, state.past, strict=True):
        layer = cast(DecoderLayer, layer)
        inner = layer.around_self_attention.input(y)
        query = layer.around_self_attention.output(y, layer.self_attention(inner, inner, inner, mask))
        cross = layer.cross_attention.attention_weights(layer.around_cross_attention.input(query), memory)
        y, _ = layer(y, keys_values, past, mask)
    return self_weights[0].mean(dim=0).tolist(), cross[0].mean(dim=0).tolist()


def time_steps(arms: Mapping[str, Arm], batches: Sequence[Batch], device: torch.device) -> dict[str, list[float]]:
    """Return the seconds of a training step on each batch, with models in turn, after a warm-up step."""
    torch.manual_seed(0)

    def build_step(arm: Arm) -> Callable[[Batch], None]:
        model = arm.build_model().to(device)
        adam = build_optimizer(model)

        def step(batch: Batch) -> None:
            total, number = compute_loss(arm.score, model, *(part.to(device) for part in batch))
            torch.autograd.backward(total / number)
            adam.step()
            adam.zero_grad()

        return step

    return time_in_turns({name: build_step(arm) for name, arm in arms.items()}, (batches[0], *batches), device.type)


def _step_seconds(size: Size, arms: Mapping[str, Arm], train: PairDataset, device: torch.device) -> dict[str, float]:
    """Time a training step of translation, with the same batches for all models."""
    batches = [
        train.sample_batch(size.batch_size, torch.Generator().manual_seed(index))
        for index in range(4 * size.timing_repeats)
    ]
    return {name: statistics.mean(found) for name, found in time_steps(arms, batches, device).items()}


def _seconds_by_length(size: Size, arms: Mapping[str, Arm], device: torch.device) -> dict[str, list[list[float]]]:
    """Time a training step of reversal at each length, `timing_repeats` times."""
    batches = [sample_reversals(size.batch_size, n, size.num_symbols, torch.Generator()) for n in size.timed_lengths]
    found = [time_steps(arms, [batch] * size.timing_repeats, device) for batch in batches]
    return {name: [list(turn) for turn in zip(*(one[name] for one in found), strict=True)] for name in arms}


def growth_exponent(lengths: Sequence[int], seconds: Sequence[float]) -> float:
    """Return the exponent with which time grows with length: the slope of a line through the logarithms."""
    return statistics.linear_regression([math.log(n) for n in lengths], [math.log(each) for each in seconds]).slope


def describe_convergence(curves: Mapping[str, Sequence[Curve]], mixed: Mapping[str, Sequence[Curve]]) -> str:
    """Describe how much each model still gains in the second half of training."""

    def gains(found: Mapping[str, Sequence[Curve]], measure: str, form: str) -> str:
        settling = {name: [moving_average(curve, measure) for curve in one] for name, one in found.items()}
        return "; ".join(
            f"{name} {statistics.mean(values[-1] - values[(len(values) - 1) // 2] for values in one):+{form}}"
            for name, one in settling.items()
        )

    return (
        "Have the models converged? In the second half of training they gain, as a mean over seeds, in "
        f"BLEU: {gains(curves, 'bleu', '.1f')}. In token accuracy on mixed lengths: "
        f"{gains(mixed, 'right', '.2f')}. Models that still gain have not converged."
    )


# Claims


def judge_claims(
    size: Size,
    curves: Mapping[str, Sequence[Curve]],
    step_seconds: Mapping[str, float],
    single: Mapping[str, Sequence[Sequence[float]]],
    mixed: Mapping[str, Sequence[Curve]],
    seconds: Mapping[str, Sequence[Sequence[float]]],
    sizes: Mapping[str, int],
) -> tuple[Finding, ...]:
    """Judge the claims of the card."""
    last = final_averages(curves, "bleu")
    at_longest = {name: [one[-1] for one in found] for name, found in single.items()}
    at_end = final_values(mixed, "right")
    return (
        judge_quality(
            "better-than-recurrent", [(last, "BLEU on held-out messages, mean of the last three measurements", ".1f")]
        ),
        judge_training_time(curves, step_seconds),
        judge_step_time(size.timed_lengths, seconds),
        judge_quality(
            "far-places",
            [
                (at_longest, f"token accuracy at length {size.reversal_lengths[-1]}, trained on this length", ".3f"),
                (at_end, f"at length {size.mixed_max_length}, trained on lengths 2 to {size.mixed_max_length}", ".3f"),
            ],
            "Mixed lengths were tried first and went badly for the Transformer in a pilot run; single lengths, which "
            "are easier for it, were added after that, and both are needed.",
        ),
        judge_parameter_counts(sizes),
        *NOT_TRIED,
    )


def judge_quality(
    claim: str, tasks: Sequence[tuple[Mapping[str, Sequence[float]], str, str]], note: str = ""
) -> Finding:
    """Judge whether the Transformer scores higher than the other models on every task."""
    clear = [
        [all_runs_above(scores[TRANSFORMER], found) for name, found in scores.items() if name != TRANSFORMER]
        for scores, _, _ in tasks
    ]
    whole = all(map(all, clear))
    return Finding(
        claim=claim,
        outcome=outcome(whole, any(map(all, clear)) or any(map(all, zip(*clear, strict=True)))),
        measured=". ".join(f"{what}: {list_spreads(scores, form)}" for scores, what, form in tasks),
        why="Reproduced if the Transformer's worst seed is above the best seed of both others, in all measures; partly "
        "if in one measure, or against one of them in all measures. All have the same number of parameters, data and "
        f"steps. {note}".rstrip(),
    )


def judge_training_time(curves: Mapping[str, Sequence[Curve]], step_seconds: Mapping[str, float]) -> Finding:
    """Judge how long the Transformer takes to reach the final quality of the better of the other models."""
    ends = final_averages(curves, "bleu")
    rival = max((name for name in curves if name != TRANSFORMER), key=lambda name: statistics.mean(ends[name]))
    steps = [point["step"] for point in curves[TRANSFORMER][0]]
    goal, ours, theirs = max(ends[rival]), steps[-1] * step_seconds[TRANSFORMER], steps[-1] * step_seconds[rival]
    reached = [
        next(
            (
                step * step_seconds[TRANSFORMER]
                for step, bleu in zip(steps, moving_average(curve, "bleu"), strict=True)
                if bleu >= goal
            ),
            math.inf,
        )
        for curve in curves[TRANSFORMER]
    ]
    there = [seconds for seconds in reached if seconds < math.inf]
    took = f", in {spread(there, '.3g')} s" if there else ""
    return Finding(
        claim="less-time",
        outcome=outcome(max(reached) <= theirs / 2, max(reached) < theirs),
        measured=f"{rival} trains for {theirs:.3g} s, and its best seed reaches {goal:.1f} BLEU; {TRANSFORMER} trains "
        f"for {ours:.3g} s, and reaches it with {len(there)} of {len(reached)} seeds{took}",
        why="Reproduced if every seed of the Transformer reaches the final BLEU of the best seed of the better of the "
        "two others in half its time or less; partly if in less time. BLEU is the mean of three consecutive "
        "measurements. Seconds are steps times the mean seconds per step, timed in turn on this machine.",
    )


def judge_step_time(lengths: Sequence[int], seconds: Mapping[str, Sequence[Sequence[float]]]) -> Finding:
    """Judge whether a step of the Transformer is the fastest on long sequences, and grows the least with length."""
    at_longest = {name: [turn[-1] for turn in found] for name, found in seconds.items()}
    growth = {name: [growth_exponent(lengths, turn) for turn in found] for name, found in seconds.items()}
    fastest, flattest = (
        all(all_runs_above(found, by_name[TRANSFORMER]) for name, found in by_name.items() if name != TRANSFORMER)
        for by_name in (at_longest, growth)
    )
    grown = (
        f"{name} {spread([1000 * value for value in at_longest[name]], '.0f')} ms, "
        f"exponent {spread(growth[name], '.2f')}"
        for name in seconds
    )
    return Finding(
        claim="all-at-once",
        outcome=outcome(fastest and flattest, fastest or flattest),
        measured=f"seconds per step at length {lengths[-1]}, and the exponent of their growth with length from "
        f"{lengths[0]} on: " + "; ".join(grown),
        why=f"Each model was timed {len(at_longest[TRANSFORMER])} times at each length, in turn. Reproduced if at the "
        "greatest length the Transformer's slowest step is faster than the fastest of both others, and its time grows "
        "with a lower exponent, fitted to each turn, in all turns; partly if one of the two. It holds for the machine "
        "and the number of threads of the result: with few threads, parallel operations are run one after the other. "
        "RNNsearch is a loop in Python, torch's LSTM is one call.",
    )


def judge_parameter_counts(sizes: Mapping[str, int]) -> Finding:
    """Judge the reported numbers of parameters by a count with 37,000 tokens."""
    off = [abs(sizes["base"] / 65e6 - 1), abs(sizes["big"] / 213e6 - 1)]
    return Finding(
        claim="sizes",
        outcome=outcome(max(off) < 0.01, max(off) < 0.05),
        measured=f"{sizes['base']:,} and {sizes['big']:,} with 37,000 tokens: off by {off[0]:.1%} and {off[1]:.1%}",
        why="Counted. Reproduced if both are within 1 % of the reported number, partly if within 5 %. The paper does "
        "not state the size of its vocabulary; some 40,800 tokens would give the base model's 65 million.",
    )


NOT_TRIED = not_tried(
    {
        "english-german": "The 4.5 million pairs of WMT 2014 and days on eight GPUs are out of reach here.",
        "english-french": "The 36 million pairs of WMT 2014 and days on eight GPUs are out of reach here.",
        "training-cost": "The numbers compare training runs at full size with those of other groups.",
        "one-head": "It needs the paper's size: on so few pairs a difference of one BLEU says nothing.",
        "learnt-positions": "It needs the paper's size: on so few pairs a difference of one BLEU says nothing.",
        "parsing": "The Penn Treebank is not free.",
    }
)


# Report


def experiment(run: Run) -> Report:
    """Train and time the three models on both tasks."""
    size = SIZES[run.size]
    seeds = tuple(run.seeds(size.seeds))
    run.expect(3 + len(seeds) * 3 * (2 + len(size.reversal_lengths)))
    pairs = load_corpus(size.languages, size.max_words)
    tokenizer = SubwordTokenizer(run.piece("subwords", lambda: SubwordTokenizer.train(pairs.train, size.vocab_size)))
    translation_arms, reversal_arms = build_arms(size, tokenizer.vocab_size), build_arms(size, UNK + size.num_symbols)
    draws = [*((n, n) for n in size.reversal_lengths), (2, size.mixed_max_length)]
    trained = {
        name: train_seeds(run, f"translation {name}", build_translation(size, arm, pairs, tokenizer), seeds)
        for name, arm in translation_arms.items()
    }
    reversals = {
        (name, draw): train_seeds(run, "reversal {} {}-{}".format(name, *draw), build_reversal(size, arm, *draw), seeds)
        for name, arm in reversal_arms.items()
        for draw in draws
    }
    curves, reversal_curves = select(trained, "curve"), select(reversals, "curve")
    right = final_values(reversal_curves, "right")
    single = {name: list(zip(*(right[name, draw] for draw in draws[:-1]), strict=True)) for name in reversal_arms}
    mixed = {name: reversal_curves[name, draws[-1]] for name in reversal_arms}
    train = PairDataset([tokenizer.encode(pair) for pair in pairs.train])
    device = accelerator(run.device).device
    step_seconds = run.piece(
        "seconds a step, translation", partial(_step_seconds, size, translation_arms, train, device)
    )
    seconds = run.piece("seconds a step, reversal", partial(_seconds_by_length, size, reversal_arms, device))
    base = partial(Transformer, vocab_size=37_000)
    sizes = {"base": count_built(base), "big": count_built(partial(base, d_model=1024, heads=16, d_ff=4096))}
    counts = [
        {name: count_built(arm.build_model) for name, arm in arms.items()} for arms in (translation_arms, reversal_arms)
    ]
    return Report(
        findings=judge_claims(size, curves, step_seconds, single, mixed, seconds, sizes),
        tables=(_quality(curves, step_seconds, counts), _backwards(size, single, mixed), _samples(trained, pairs)),
        figures=_figures(size, len(seeds), curves, single, mixed, seconds, trained[TRANSFORMER][0]),
        seeds=seeds,
        settings=asdict(size),
        notes=f"{pairs} BLEU on so few pairs compares these models, and says nothing about {TRANSFORMER}s at their own "
        f"size.\n\n{describe_convergence(curves, mixed)}",
    )


def _quality(
    curves: Mapping[str, Sequence[Curve]], step_seconds: Mapping[str, float], counts: Sequence[Mapping[str, int]]
) -> Table:
    rows = tuple(
        (name, counts[0][name], counts[1][name], spread(found, ".1f"), round(1000 * step_seconds[name], 1))
        for name, found in final_averages(curves, "bleu").items()
    )
    return Table(
        title="Translation from English, three models with equal numbers of parameters",
        columns=("model", "parameters", "parameters, reversal", "BLEU", "ms per step"),
        rows=rows,
        note="BLEU: mean of the last three measurements; mean over seeds, and the lowest and highest. RNNsearch is a "
        "loop in Python, torch's LSTM is not.",
    )


def _backwards(
    size: Size, single: Mapping[str, Sequence[Sequence[float]]], mixed: Mapping[str, Sequence[Curve]]
) -> Table:
    at_end = final_values(mixed, "right")
    return Table(
        title="Reversing sequences: token accuracy",
        columns=("model", *(f"length {n}" for n in size.reversal_lengths), f"length {size.mixed_max_length}, mixed"),
        rows=tuple(
            (name, *(spread(values, ".2f") for values in zip(*found, strict=True)), spread(at_end[name], ".2f"))
            for name, found in single.items()
        ),
        note=f"Trained on that length alone for {size.reversal_steps} steps; in the last column on lengths 2 "
        f"to {size.mixed_max_length}, {size.mixed_steps} steps. Mean over seeds, and the lowest and highest.",
    )


def _samples(trained: Mapping[str, Sequence[Mapping[str, Any]]], pairs: Corpus) -> Table:
    """Return the translations of the first held-out messages by the first seed of each model."""
    texts = [found[0]["texts"] for found in trained.values()]
    return Table(
        title="The first five held-out messages",
        columns=("English", "reference", *trained),
        rows=tuple(
            (pair.source, pair.target, *translations) for pair, *translations in zip(pairs.test, *texts, strict=False)
        ),
        note="By the first seed. {1}, {2}, … are placeholders.",
    )


def _figures(
    size: Size,
    seeds: int,
    curves: Mapping[str, Sequence[Curve]],
    single: Mapping[str, Sequence[Sequence[float]]],
    mixed: Mapping[str, Sequence[Curve]],
    seconds: Mapping[str, Sequence[Sequence[float]]],
    shown: Mapping[str, Any],
) -> tuple[Lines | Heatmap, ...]:
    slow = {name: statistics.median(turn[-1] for turn in found) for name, found in seconds.items()}
    into = "French" if size.languages == ("fr",) else f"{len(size.languages)} languages"
    return (
        bleu_figure(
            curves,
            f"Held-out English messages into {into}; the band is from the lowest to the highest of "
            f"{seeds} seeds. All three models have the same number of parameters and see the same number of pairs.",
        ),
        reversal_figure(
            single,
            size.reversal_lengths,
            size.reversal_lengths[-1],
            size.num_symbols,
            f"Token accuracy after {size.reversal_steps} steps at that length, given the previous tokens. At "
            "the right end, the LSTM's one state has to hold the longest sequences.",
        ),
        Lines(
            id="mixed",
            title="Reversing sequences of mixed lengths during training",
            caption=f"Token accuracy at length {size.mixed_max_length}; trained on lengths from 2 on.",
            alt=f"accuracy at the end: {list_means(final_values(mixed, 'right'), '.2f')}",
            x="step",
            y="token accuracy",
            series=curve_series(mixed, "right"),
            levels={"chance": 1 / size.num_symbols},
        ),
        Lines(
            id="seconds",
            title="Time of a training step, by length",
            caption="Both axes are logarithmic: slope 1 is time proportional to the length. "
            "With more parallelism, as on a GPU, the Transformer's line is flatter.",
            alt=f"milliseconds at length {size.timed_lengths[-1]}: "
            + "; ".join(f"{name} {1000 * value:.0f}" for name, value in slow.items()),
            x="length",
            y="seconds per step",
            log=("x", "y"),
            series=tuple(
                Series(name=name, x=size.timed_lengths, runs=tuple(map(tuple, found)))
                for name, found in seconds.items()
            ),
        ),
        attention_heatmap(
            "cross-attention", "Cross-attention", "Mean over the heads of the last layer; first seed.", shown
        ),
        Heatmap(
            id="self-attention",
            title="Self-attention of the encoder",
            caption="Mean over the heads of the first layer: every position attends to all positions, near or far.",
            alt=f"the greatest weight is {max(map(max, shown['inner'])):.2f}",
            rows=tuple(shown["source"]),
            columns=tuple(shown["source"]),
            values=tuple(map(tuple, shown["inner"])),
        ),
        Heatmap(
            id="positions",
            title="Sinusoidal positional encodings",
            caption="Alternating sines and cosines, each pair of columns with a lower frequency than the one before; "
            "here for a width of 24. No two rows are equal.",
            alt="20 positions by 24 numbers from -1 to 1: high frequencies on the left, nearly constant on the right",
            rows=tuple(map(str, range(20))),
            columns=tuple(map(str, range(24))),
            x="feature",
            y="position",
            values=tuple(map(tuple, sinusoidal_positions(20, 24).tolist())),
        ),
    )
