r"""Put the Transformer beside encoder-decoders that recur: as good, as fast, and as far-sighted?

Source: Vaswani et al. 2017, Abstract, Section 4 (Table 1) and Section 6.1 (Table 2)

Claimed: attention alone translates better than models that recur, trains in less time, works on all places of a
sequence at once, and joins far places by short paths, which makes what spans them easier to learn.

Two tasks, three models of one budget (within 5 %), which take the same steps with the same optimiser (Section 5.3, with
a lower peak), label smoothing, dropout and one matrix of embeddings for everything (Sections 3.4 and 5.4):

- the Transformer;
- RNNsearch (Bahdanau et al. 2015), recurrent on both sides, with attention between them;
- an LSTM encoder-decoder (Sutskever et al. 2014, with one layer), torch's own LSTM, that hands over its last state.

The first task is English to French: messages of Django and Sphinx, some 900 pairs of at most 12 words, instead of 36
million pairs. Quality is BLEU by sacrebleu on messages held out, and time is seconds a step on this machine. The second
is to write a row of symbols backwards, trained and tested at one length after the other. There each step is timed too.
It is the easier way for the Transformer, whose positions then say where each symbol goes, and it was chosen after rows
of mixed lengths had gone badly for it in a probe. So these are run as well, and count as much.

Each has its own peak of the rate, the better one of 0.005 and 0.01 on a part of the pairs to train on. At `small`
everything is tiny, two layers of width 64, and RNNsearch loops in Python where torch's LSTM is one call; `full` has the
base model, ten languages, and lengths up to 128.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from quaere.results import Finding, Heatmap, Lines, Outcome, Reproduced, Series, Table, spread
from quaere.run import Run
from reference_impl.bahdanau import RNNsearch
from reference_impl.experiments.training import Training, accelerator, parameters
from reference_impl.experiments.translation import (
    BEGIN,
    END,
    UNKNOWN,
    Corpus,
    Pair,
    Pairs,
    Scores,
    Shown,
    Subwords,
    Writes,
    accuracy,
    bleu,
    corpus,
    matched_width,
    real,
    reversals,
    search_scores,
    search_writes,
    short_example,
    translated,
)
from reference_impl.layers.attention import causal_mask, padding_mask
from reference_impl.layers.positions import sinusoidal
from reference_impl.transformer import (
    DecoderLayer,
    EncoderLayer,
    Transformer,
    greedy_search,
    learning_rate,
    smoothed_loss,
)

OURS, SEARCH, LSTM = "Transformer", "RNNsearch", "LSTM encoder-decoder"


@dataclass(frozen=True)
class Size:
    """How much is run: languages, words of a sentence, pieces of words, widths, steps, pairs of a batch, symbols."""

    languages: tuple[str, ...]
    longest: int
    vocabulary: int
    d_model: int
    heads: int
    d_ff: int
    layers: int
    dropout: float
    seeds: int
    batch: int
    peak: float
    recurrent_peak: float
    warmup: int
    steps: int
    every: int
    lengths: tuple[int, ...]
    reversal_steps: int
    mixed_longest: int
    mixed_steps: int
    symbols: int
    timed_lengths: tuple[int, ...]
    timings: int


SIZES = {
    "smoke": Size(
        languages=("fr",),
        longest=4,
        vocabulary=300,
        d_model=32,
        heads=2,
        d_ff=64,
        layers=1,
        dropout=0.1,
        seeds=1,
        batch=8,
        peak=0.005,
        recurrent_peak=0.01,
        warmup=4,
        steps=6,
        every=3,
        lengths=(2, 4),
        reversal_steps=4,
        mixed_longest=4,
        mixed_steps=4,
        symbols=8,
        timed_lengths=(2, 4),
        timings=1,
    ),
    "small": Size(
        languages=("fr",),
        longest=12,
        vocabulary=800,
        d_model=64,
        heads=4,
        d_ff=256,
        layers=2,
        dropout=0.1,
        seeds=3,
        batch=32,
        peak=0.005,
        recurrent_peak=0.01,
        warmup=100,
        steps=500,
        every=50,
        lengths=(4, 8, 16, 32),
        reversal_steps=200,
        mixed_longest=16,
        mixed_steps=300,
        symbols=22,
        timed_lengths=(4, 8, 16, 32, 64, 128),
        timings=5,
    ),
    "full": Size(
        languages=("fr", "es", "pt_BR", "ca", "it", "de", "nl", "sv", "pl", "ru"),
        longest=40,
        vocabulary=8000,
        d_model=512,
        heads=8,
        d_ff=2048,
        layers=6,
        dropout=0.1,
        seeds=3,
        batch=256,
        peak=7e-4,
        recurrent_peak=7e-4,
        warmup=4000,
        steps=20_000,
        every=1000,
        lengths=(8, 16, 32, 64, 128),
        reversal_steps=2000,
        mixed_longest=64,
        mixed_steps=5000,
        symbols=62,
        timed_lengths=(8, 16, 32, 64, 128, 256),
        timings=20,
    ),
}


class Embedded(nn.Module):
    """Look tokens up as the Transformer does, but without positions: begun and scaled as there, with dropout."""

    def __init__(self, table: nn.Embedding, dropout: float) -> None:
        super().__init__()
        self.table, self.dropout = table, nn.Dropout(dropout)
        nn.init.normal_(table.weight, std=table.embedding_dim**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the tokens' vectors."""
        return self.dropout(self.table(tokens) * self.table.embedding_dim**0.5)


class LSTMTranslator(nn.Module):
    """Read a sequence into the last state of one LSTM, and write from there with another.

    Source: Sutskever et al. 2014, with one layer; forget gates begin open, as in `reference_impl.lstm`
    """

    def __init__(self, vocabulary: int, d_embedding: int, d_hidden: int, dropout: float) -> None:
        super().__init__()
        self.embedding = Embedded(nn.Embedding(vocabulary, d_embedding), dropout)
        self.reader = nn.LSTM(d_embedding, d_hidden, batch_first=True)
        self.writer = nn.LSTM(d_embedding, d_hidden, batch_first=True)
        self.narrow, self.dropout = nn.Linear(d_hidden, d_embedding), nn.Dropout(dropout)
        with torch.no_grad():
            for lstm in (self.reader, self.writer):
                nn.init.zeros_(cast(Tensor, lstm.bias_hh_l0))
                nn.init.zeros_(cast(Tensor, lstm.bias_ih_l0))[d_hidden : 2 * d_hidden] = 1.0

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> tuple[Tensor, None]:
        """Return the scores of the token after each target token, and no alignment."""
        return self._scores(self.writer(self.embedding(target), self._read(source, lengths))[0]), None

    def translate(self, source: Tensor, lengths: Tensor, begin: int, end: int, limit: int) -> Tensor:
        """Return the greedy translations, as `RNNsearch.translate` does."""
        state, word = self._read(source, lengths), torch.full_like(lengths, begin)
        words: list[Tensor] = []
        over = torch.zeros_like(lengths, dtype=torch.bool)
        while len(words) < limit and not over.all():
            output, state = self.writer(self.embedding(word[:, None]), state)
            word = self._scores(output)[:, 0].argmax(dim=-1).masked_fill(over, end)
            words.append(word)
            over = over | (word == end)
        return torch.stack(words, dim=1)

    def _read(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        x = nn.utils.rnn.pack_padded_sequence(
            self.embedding(source), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        return self.reader(x)[1]

    def _scores(self, output: Tensor) -> Tensor:
        return self.dropout(self.narrow(output)) @ self.embedding.table.weight.T


def search_model(vocabulary: int, d_embedding: int, d_hidden: int, dropout: float) -> RNNsearch:
    """Return RNNsearch with what the Transformer has too: one matrix for all embeddings, and dropout."""
    model = RNNsearch(vocabulary, vocabulary, d_embedding, d_hidden, d_alignment=d_embedding, d_maxout=d_embedding)
    embedded = Embedded(model.encoder.embedding, dropout)
    output = model.decoder.output
    output.weight = embedded.table.weight
    # The modules' own places take any module that maps the same.
    model.encoder.embedding = model.decoder.embedding = cast(nn.Embedding, embedded)
    model.decoder.output = cast(nn.Linear, nn.Sequential(nn.Dropout(dropout), output))
    return model


@dataclass(frozen=True)
class Arm:
    """A model, and how it is asked."""

    make: Callable[[], nn.Module]
    scores: Scores
    writes: Writes
    peak: float


def arms(size: Size, vocabulary: int) -> dict[str, Arm]:
    """Return the three models, those that recur as wide as the Transformer's budget allows."""

    def ours() -> nn.Module:
        return Transformer(vocabulary, size.d_model, size.heads, size.d_ff, size.layers, size.dropout)

    with torch.device("meta"):
        budget = parameters(ours())
    found = {OURS: Arm(ours, _transformer_scores, _transformer_writes, size.peak)}
    for name, kind in ((SEARCH, search_model), (LSTM, LSTMTranslator)):

        def make(width: int, kind: Any = kind) -> nn.Module:
            return kind(vocabulary, size.d_model, width, size.dropout)

        found[name] = Arm(partial(make, matched_width(make, budget)), search_scores, search_writes, size.recurrent_peak)
    return found


def _transformer_scores(model: Any, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
    return model(source, target, padding_mask(lengths, source.shape[1]))


def _transformer_writes(model: Any, source: Tensor, lengths: Tensor, limit: int) -> Tensor:
    return greedy_search(model, source, lengths, BEGIN, END, extra=limit - source.shape[1])[:, :limit]


def loss(scores: Scores, model: nn.Module, source: Tensor, lengths: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of the smoothed losses over the target's tokens, and their number."""
    counts = real(target[:, 1:])
    number = counts.sum()
    return smoothed_loss(scores(model, source, lengths, target[:, :-1]), target[:, 1:], counts) * number, number


def optimiser(model: nn.Module) -> torch.optim.Optimizer:
    """Return the paper's Adam, at a rate of 1 that the schedule multiplies."""
    return torch.optim.Adam(model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9)


def rising_and_falling(size: Size, peak: float, made: torch.optim.Optimizer) -> LambdaLR:
    """Return the schedule of Eq. 3, scaled to a peak."""
    highest = learning_rate(size.warmup, size.d_model, size.warmup)
    return LambdaLR(made, lambda done: peak / highest * learning_rate(done + 1, size.d_model, size.warmup))


def experiment(run: Run) -> Outcome:
    """Train and time the three models on both tasks."""
    size = SIZES[run.size]
    seeds = tuple(run.seeds(size.seeds))
    run.expect(3 + len(seeds) * 3 * (2 + len(size.lengths)))
    pairs = corpus(size.languages, size.longest)
    subwords = Subwords(run.piece("subwords", lambda: Subwords.learnt(pairs.train, size.vocabulary)))
    translators, writers = arms(size, subwords.vocabulary), arms(size, UNKNOWN + size.symbols)
    trained = {
        name: [
            run.loop(f"translation {name} seed {seed}", partial(_translating, run, size, arm, pairs, subwords, seed))
            for seed in seeds
        ]
        for name, arm in translators.items()
    }
    far = {
        name: [
            [
                run.loop(f"reversal {name} {n} seed {seed}", partial(_reversing, run, size, arm, n, seed))[-1]["right"]
                for n in size.lengths
            ]
            for seed in seeds
        ]
        for name, arm in writers.items()
    }
    mixed = {
        name: [
            run.loop(f"reversal {name} mixed seed {seed}", partial(_mixed, run, size, arm, seed))[-1]["right"]
            for seed in seeds
        ]
        for name, arm in writers.items()
    }
    read = Pairs([subwords.read(pair) for pair in pairs.train])
    device = accelerator(run.device).device
    paces = run.piece("seconds a step, translation", partial(_paces, size, translators, read, device))
    seconds = run.piece("seconds a step, reversal", partial(_seconds_by_length, size, writers, device))
    sizes = run.piece("sizes", lambda: {"base": _count(), "big": _count(d_model=1024, heads=16, d_ff=4096)})
    curves = {name: [one["curve"] for one in found] for name, found in trained.items()}
    counts = [{name: _of_arm(arm) for name, arm in chosen.items()} for chosen in (translators, writers)]
    return Outcome(
        findings=findings(size, curves, paces, far, mixed, seconds, sizes),
        tables=(_quality(curves, paces, counts), _backwards(size, far, mixed), _samples(trained, pairs)),
        figures=_figures(size, seeds, curves, far, seconds, trained[OURS][0]["shown"]),
        seeds=seeds,
        settings=asdict(size),
        notes=f"{len(pairs.train):,} pairs to train on and {len(pairs.test):,} held out, from the catalogues of Django "
        "and Sphinx; no English message and no translation is on both sides, but many differ in a word only. "
        f"BLEU on so few says which model is better here, and nothing of {OURS}s at their own size.",
    )


def _translating(run: Run, size: Size, arm: Arm, pairs: Corpus, subwords: Subwords, seed: int) -> Training:
    train = Pairs([subwords.read(pair) for pair in pairs.train])

    def measure(model: nn.Module) -> dict[str, float]:
        return {"bleu": bleu(translated(model, arm.writes, subwords, pairs.test), pairs.test)}

    return Shown(
        partial(_show, arm, subwords, pairs.test),
        model=arm.make,
        loss=partial(loss, arm.scores),
        batch=partial(train.batch, size.batch),
        steps=size.steps,
        seed=seed,
        optimiser=optimiser,
        schedule=partial(rising_and_falling, size, arm.peak),
        measure=measure,
        every=size.every,
        clip=1.0,
        interval=min(200, size.steps // 2),
        device=run.device,
    )


def _reversing(run: Run, size: Size, arm: Arm, length: int, seed: int) -> Training:
    return _writing(run, size, arm, length, size.reversal_steps, partial(_rows, size, length, length), seed)


def _mixed(run: Run, size: Size, arm: Arm, seed: int) -> Training:
    """Train on rows of all lengths up to one, a length for each batch, and test on the longest."""
    longest = size.mixed_longest
    return _writing(run, size, arm, longest, size.mixed_steps, partial(_rows, size, 2, longest), seed)


def _rows(size: Size, shortest: int, longest: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    length = int(torch.randint(shortest, longest + 1, (), generator=generator))
    return reversals(size.batch, length, size.symbols, generator)


def _writing(
    run: Run,
    size: Size,
    arm: Arm,
    tested: int,
    steps: int,
    batch: Callable[[torch.Generator], tuple[Tensor, ...]],
    seed: int,
) -> Training:
    fresh = reversals(64, tested, size.symbols, torch.Generator().manual_seed(10**9))
    return Training(
        arm.make,
        partial(loss, arm.scores),
        batch,
        steps,
        seed,
        optimiser=optimiser,
        schedule=partial(rising_and_falling, size, arm.peak),
        measure=lambda model: {"right": accuracy(model, arm.scores, fresh)},
        clip=1.0,
        interval=min(200, steps // 2),
        device=run.device,
    )


def _show(arm: Arm, subwords: Subwords, test: Sequence[Pair], model: Any) -> dict[str, Any]:
    """Return some translations; and where the Transformer attends in one sentence."""
    example = short_example(test, subwords)
    shown: dict[str, Any] = {"texts": translated(model, arm.writes, subwords, test[:5])}
    if isinstance(model, Transformer):
        source, target = subwords.read(example)
        inner, cross = attended(model, torch.tensor([source]), torch.tensor([[BEGIN, *target[:-1]]]))
        shown |= {"source": subwords.pieces(source), "target": subwords.pieces(target), "inner": inner, "cross": cross}
    return shown


def attended(model: Transformer, source: Tensor, target: Tensor) -> tuple[list[list[float]], list[list[float]]]:
    """Return the weights of the encoder's first layer and of the decoder's last one on the memory: means over heads."""
    device = next(model.parameters()).device
    source, target = source.to(device), target.to(device)
    x, y = model.embedding(source), model.embedding(target)
    first = cast(EncoderLayer, model.encoder[0])
    inner = first.around_self_attention.before(x)
    own = first.self_attention.weights(inner, inner)
    memory, mask = model.encode(source), causal_mask(target.shape[1], device)
    state = model.start(memory)
    for layer, keys_values, past in zip(model.decoder, state.memory, state.past, strict=True):
        layer = cast(DecoderLayer, layer)
        inner = layer.around_self_attention.before(y)
        query = layer.around_self_attention.after(y, layer.self_attention(inner, inner, inner, mask))
        cross = layer.cross_attention.weights(layer.around_cross_attention.before(query), memory)
        y, _ = layer(y, keys_values, past, mask)
    return own[0].mean(dim=0).tolist(), cross[0].mean(dim=0).tolist()


def _paces(size: Size, chosen: Mapping[str, Arm], train: Pairs, device: torch.device) -> dict[str, float]:
    """Time a step of translation: the same batches for all."""
    batches = [train.batch(size.batch, torch.Generator().manual_seed(index)) for index in range(4 * size.timings)]
    return {name: statistics.mean(timed(arm, batches, device)) for name, arm in chosen.items()}


def _seconds_by_length(size: Size, chosen: Mapping[str, Arm], device: torch.device) -> dict[str, list[float]]:
    """Time a step of reversal at each length."""

    def median(arm: Arm, length: int) -> float:
        batch = reversals(size.batch, length, size.symbols, torch.Generator())
        return statistics.median(timed(arm, [batch] * size.timings, device))

    return {name: [median(arm, length) for length in size.timed_lengths] for name, arm in chosen.items()}


def timed(arm: Arm, batches: Sequence[tuple[Tensor, ...]], device: torch.device) -> list[float]:
    """Return the seconds that a step of training takes on each batch, after one that does not count."""
    torch.manual_seed(0)
    model, seconds = arm.make().to(device), []
    adam = optimiser(model)
    for batch in (batches[0], *batches):
        started = time.perf_counter()
        total, number = loss(arm.scores, model, *(part.to(device) for part in batch))
        torch.autograd.backward(total / number)
        adam.step()
        adam.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def _count(**widths: Any) -> int:
    with torch.device("meta"):
        return parameters(Transformer(vocabulary=37_000, **widths))


def _of_arm(arm: Arm) -> int:
    with torch.device("meta"):
        return parameters(arm.make())


# What became of the claims: rules, and no numbers.


def findings(
    size: Size,
    curves: Mapping[str, Sequence[Sequence[Mapping[str, float]]]],
    paces: Mapping[str, float],
    far: Mapping[str, Sequence[Sequence[float]]],
    mixed: Mapping[str, Sequence[float]],
    seconds: Mapping[str, Sequence[float]],
    sizes: Mapping[str, int],
) -> tuple[Finding, ...]:
    """Judge each claim of the card."""
    last = {name: [curve[-1]["bleu"] for curve in found] for name, found in curves.items()}
    at_longest = {name: [one[-1] for one in found] for name, found in far.items()}
    untried = {
        "english-german": "The 4.5 million pairs of WMT 2014 and days on eight GPUs are out of reach here.",
        "english-french": "The 36 million pairs of WMT 2014 and days on eight GPUs are out of reach here.",
        "training-cost": "The numbers compare training runs at full size with those of other groups.",
        "one-head": "It takes the paper's size: on so few pairs one BLEU more or less says nothing.",
        "learnt-positions": "It takes the paper's size: on so few pairs one BLEU more or less says nothing.",
        "parsing": "The Penn Treebank is not free.",
    }
    return (
        beaten("better-than-recurrent", [(last, "BLEU on messages held out", ".1f")]),
        sooner(curves, paces),
        steadier(size.timed_lengths, seconds),
        beaten(
            "far-places",
            [
                (at_longest, f"right tokens of rows of {size.lengths[-1]}, trained on these alone", ".3f"),
                (mixed, f"of rows of {size.mixed_longest}, trained on rows of 2 to {size.mixed_longest}", ".3f"),
            ],
        ),
        counted(sizes),
        *(Finding(claim=claim, verdict=Reproduced.NOT_TRIED, why=why) for claim, why in untried.items()),
    )


def beaten(claim: str, tasks: Sequence[tuple[Mapping[str, Sequence[float]], str, str]]) -> Finding:
    """Judge whether the Transformer's scores are above those of the others, in every task."""
    pairs = [(scores[OURS], found) for scores, _, _ in tasks for name, found in scores.items() if name != OURS]
    clearly = [min(ours) > max(theirs) for ours, theirs in pairs]
    on_average = [statistics.mean(ours) > statistics.mean(theirs) for ours, theirs in pairs]
    verdict = Reproduced.YES if all(clearly) else Reproduced.PARTLY if any(on_average) else Reproduced.NO
    return Finding(
        claim=claim,
        verdict=verdict,
        measured=". ".join(
            f"{what}: " + "; ".join(f"{name} {spread(found, form)}" for name, found in scores.items())
            for scores, what, form in tasks
        ),
        why="Reproduced if the Transformer's worst seed is above the best seed of both others, in all that was "
        "measured; partly if its mean is above that of one of them in one thing. All have the same budget, data and "
        "steps.",
    )


def sooner(curves: Mapping[str, Sequence[Sequence[Mapping[str, float]]]], paces: Mapping[str, float]) -> Finding:
    """Judge how long the Transformer takes to get as good as the better of the others gets in the end."""

    def means(name: str) -> list[float]:
        return [statistics.mean(point["bleu"] for point in points) for points in zip(*curves[name], strict=True)]

    rival = max((name for name in curves if name != OURS), key=lambda name: means(name)[-1])
    steps = [point["step"] for point in curves[OURS][0]]
    goal, theirs = means(rival)[-1], steps[-1] * paces[rival]
    reached = next((step * paces[OURS] for step, mean in zip(steps, means(OURS), strict=True) if mean >= goal), None)
    verdict = Reproduced.NO
    if reached is not None and reached < theirs:
        verdict = Reproduced.YES if reached <= theirs / 2 else Reproduced.PARTLY
    outcome = f"does not in {steps[-1] * paces[OURS]:.3g} s" if reached is None else f"gets there in {reached:.3g} s"
    return Finding(
        claim="less-time",
        verdict=verdict,
        measured=f"{rival} trains to {goal:.1f} BLEU (mean over seeds) in {theirs:.3g} s; {OURS} {outcome}",
        why="Reproduced if the Transformer is as good as the better of the two others ends, in half its time or less; "
        "partly if in less time. Seconds are steps by the mean seconds of a step on this machine.",
    )


def steadier(lengths: Sequence[int], seconds: Mapping[str, Sequence[float]]) -> Finding:
    """Judge whether a step of the Transformer takes the least time on long sequences, and grows the least with them."""
    rivals = [name for name in seconds if name != OURS]
    growth = {name: found[-1] / found[0] for name, found in seconds.items()}
    fastest = all(seconds[OURS][-1] < seconds[name][-1] for name in rivals)
    flattest = all(growth[OURS] < growth[name] for name in rivals)
    verdict = Reproduced.YES if fastest and flattest else Reproduced.PARTLY if fastest or flattest else Reproduced.NO
    grown = (
        f"{name} {found[0] * 1000:.0f} to {found[-1] * 1000:.0f} ms ({growth[name]:.1f} times)"
        for name, found in seconds.items()
    )
    return Finding(
        claim="all-at-once",
        verdict=verdict,
        measured=f"a step from length {lengths[0]} to {lengths[-1]}: " + "; ".join(grown),
        why="Reproduced if at the greatest length a step of the Transformer takes the least time of the three, and its "
        "time grows by the smallest factor; partly if one of both. On few cores, what could be done at once is "
        "done one after the other.",
    )


def counted(sizes: Mapping[str, int]) -> Finding:
    """Judge the printed sizes by a count with 37,000 tokens."""
    off = [abs(sizes["base"] / 65e6 - 1), abs(sizes["big"] / 213e6 - 1)]
    verdict = Reproduced.YES if max(off) < 0.01 else Reproduced.PARTLY if max(off) < 0.05 else Reproduced.NO
    return Finding(
        claim="sizes",
        verdict=verdict,
        measured=f"{sizes['base']:,} and {sizes['big']:,} with 37,000 tokens: off by {off[0]:.1%} and {off[1]:.1%}",
        why="Counted. Reproduced if both are within 1 % of what is printed, partly if within 5 %. The paper does not "
        "say how many tokens it counts; some 40,800 would give the base model's 65 million.",
    )


# Tables and figures.


def _quality(
    curves: Mapping[str, Sequence[Sequence[Mapping[str, float]]]],
    paces: Mapping[str, float],
    counts: Sequence[Mapping[str, int]],
) -> Table:
    rows = tuple(
        (
            name,
            counts[0][name],
            counts[1][name],
            spread([curve[-1]["bleu"] for curve in found], ".1f"),
            round(1000 * paces[name], 1),
        )
        for name, found in curves.items()
    )
    return Table(
        title="Three models of one size translate from English",
        columns=("model", "parameters", "parameters, reversal", "BLEU", "ms a step"),
        rows=rows,
        note="Mean over seeds, and the lowest and highest. RNNsearch loops in Python, torch's LSTM does not.",
    )


def _backwards(size: Size, far: Mapping[str, Sequence[Sequence[float]]], mixed: Mapping[str, Sequence[float]]) -> Table:
    return Table(
        title="Writing backwards: share of right tokens",
        columns=("model", *(f"rows of {n}" for n in size.lengths), f"rows of {size.mixed_longest}, mixed"),
        rows=tuple(
            (name, *(spread(values, ".2f") for values in zip(*found, strict=True)), spread(mixed[name], ".2f"))
            for name, found in far.items()
        ),
        note=f"Trained on rows of that length alone for {size.reversal_steps} steps; in the last column on rows of 2 "
        f"to {size.mixed_longest}, {size.mixed_steps} steps. Mean over seeds, and the lowest and highest.",
    )


def _samples(trained: Mapping[str, Sequence[Mapping[str, Any]]], pairs: Corpus) -> Table:
    """Return what the first seed of each makes of the first messages held out, good or bad."""
    texts = [found[0]["shown"]["texts"] for found in trained.values()]
    return Table(
        title="The first five messages held out",
        columns=("English", "people", *trained),
        rows=tuple((pair.source, pair.target, *said) for pair, *said in zip(pairs.test, *texts, strict=False)),
        note="Of the first seed. What a program fills in is {1}, {2}, …",
    )


def _figures(
    size: Size,
    seeds: Sequence[int],
    curves: Mapping[str, Sequence[Sequence[Mapping[str, float]]]],
    far: Mapping[str, Sequence[Sequence[float]]],
    seconds: Mapping[str, Sequence[float]],
    shown: Mapping[str, Any],
) -> tuple[Lines | Heatmap, ...]:
    last = {name: statistics.mean(curve[-1]["bleu"] for curve in found) for name, found in curves.items()}
    right = {name: statistics.mean(one[-1] for one in found) for name, found in far.items()}
    into = "French" if size.languages == ("fr",) else f"{len(size.languages)} languages"
    return (
        Lines(
            id="bleu",
            title="Quality of translation while learning",
            caption=f"English messages that were not trained on, into {into}; the band is from the lowest to the "
            f"highest of {len(seeds)} seeds. All three models have one budget and see the same number of pairs.",
            alt="BLEU at the last step: " + "; ".join(f"{name} {value:.1f}" for name, value in last.items()),
            x="step",
            y="BLEU",
            series=tuple(
                Series(
                    name=name,
                    x=tuple(point["step"] for point in found[0]),
                    runs=tuple(tuple(point["bleu"] for point in curve) for curve in found),
                )
                for name, found in curves.items()
            ),
        ),
        Lines(
            id="length",
            title="Writing backwards, by length",
            caption=f"Share of right tokens after {size.reversal_steps} steps at that length, given what stands "
            "before. Look at the right end: there one state has to hold the longest rows.",
            alt=f"right at length {size.lengths[-1]}: "
            + "; ".join(f"{name} {value:.2f}" for name, value in right.items()),
            x="length",
            y="share of right tokens",
            log=("x",),
            series=tuple(
                Series(name=name, x=size.lengths, runs=tuple(map(tuple, found))) for name, found in far.items()
            ),
            levels={"chance": 1 / size.symbols},
        ),
        Lines(
            id="seconds",
            title="Time of a training step, by length",
            caption="Both axes are logarithmic: a line that climbs one for one is a time in proportion to the length. "
            "Where many places can be worked on at once, as on a GPU, the Transformer's line is flatter.",
            alt=f"milliseconds at length {size.timed_lengths[-1]}: "
            + "; ".join(f"{name} {1000 * found[-1]:.0f}" for name, found in seconds.items()),
            x="length",
            y="seconds a step",
            log=("x", "y"),
            series=tuple(
                Series(name=name, x=size.timed_lengths, runs=(tuple(found),)) for name, found in seconds.items()
            ),
        ),
        *_heatmaps(shown),
    )


def _heatmaps(shown: Mapping[str, Any]) -> tuple[Heatmap, ...]:
    source, target = tuple(shown["source"]), tuple(shown["target"])
    sharpest = max(range(len(target)), key=lambda row: max(shown["cross"][row]))
    seen = max(range(len(source)), key=lambda column: shown["cross"][sharpest][column])
    waves = sinusoidal(20, 24)
    return (
        Heatmap(
            id="cross-attention",
            title="Where the decoder looks",
            caption="Down: the piece that is to be written next, from the translation by people. Across: the pieces of "
            "the source, the language first. Mean over the heads of the last layer; first seed.",
            alt=f"{len(target)} by {len(source)} weights; the greatest, {shown['cross'][sharpest][seen]:.2f}, joins "
            f"“{target[sharpest]}” with “{source[seen]}”",
            rows=target,
            columns=source,
            x="source",
            y="written next",
            values=tuple(map(tuple, shown["cross"])),
        ),
        Heatmap(
            id="self-attention",
            title="Where the encoder looks",
            caption="Mean over the heads of the first layer: every place looks at all, near or far.",
            alt=f"{len(source)} by {len(source)} weights; the greatest is {max(map(max, shown['inner'])):.2f}",
            rows=source,
            columns=source,
            values=tuple(map(tuple, shown["inner"])),
        ),
        Heatmap(
            id="positions",
            title="The numbers that tell positions",
            caption="Sines and cosines in turns, each pair of columns slower than the one before it; here for a width "
            "of 24. No two rows are alike.",
            alt="20 positions by 24 numbers from -1 to 1: short waves on the left, nearly still ones on the right",
            rows=tuple(map(str, range(20))),
            columns=tuple(map(str, range(24))),
            x="feature",
            y="position",
            values=tuple(map(tuple, waves.tolist())),
        ),
    )
