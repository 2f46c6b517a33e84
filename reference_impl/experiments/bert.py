"""BERT put to the test: fill in hidden words first, then learn a task from a few labels.

Claimed: what was learnt by filling in words lets even a task with few labels profit from a deep network that reads both
ways (Section 6); and at equal data and size, a left-to-right network is worse on all tasks (Section 5.1, Table 5).

The text is what installed packages say about themselves, in `prose`. Three networks of one size learn two tasks, with
the same steps of fine-tuning for all: one that was pre-trained on hidden words, one that was pre-trained as a
left-to-right language model on the same sentences for the same number of steps, and one from scratch.

- *Topic*, a task on the whole sentence: which package is it from? Sentences that name a package are left out. The paper
  reads the vector at `[CLS]`; left to right, nothing has come there, so that network is read at its last token.
- *Span*, a task on tokens, solved as the paper solves question answering: which word was set as code? The markup is
  gone; only sentences with one such word of small letters are taken, so that its spelling does not tell.

Files are held out whole, from pre-training as well. Beside the networks stands logistic regression on counts of words.

What stands in: sentences of 5 to 16 words for paragraphs of Wikipedia and books, some hundred thousand weights for 110
million, and two tasks for eleven. Next-sentence prediction is left out, as in the paper's own comparison of directions.
At `small` the pre-training is cut to about two passes over the text, not long after hidden words begin to be learnt at
all, and takes most of about ten minutes; `full` is the base model, for a GPU.

Fairness: rates at `small` were chosen under seeds that no run has, on files of the training alone. The rate of
pre-training is the one of 0.0005, 0.001 and 0.002 with the lowest loss on hidden words after 800 steps; batches are
small because more steps on as much text lower it further. Rates of fine-tuning, one for what was pre-trained and one
for what starts from scratch, are those of 0.001, 0.002 and 0.004 with the most right answers on both tasks, trained on
256 labelled sentences and asked 300 others, for two draws of both; lower rates did worse. The network that was tuned
there had been pre-trained on about as much text, in batches twice as large. Left to right takes the rates that were
chosen on hidden words; what is unequal in that favours hidden words. At `full` no rates were tried.

The trained weights that everyone can have, MiniLM's, are asked which of the cards' questions lie next to each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from importlib import metadata
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from quaere.content.results import Finding, Heatmap, Lines, Outcome, Report, Series, Table, spread
from quaere.running.experiments import Run
from reference_impl import checkpoints
from reference_impl.bert import (
    Bert,
    BertClassifier,
    BertMaskedWords,
    BertSpanFinder,
    EncoderLayer,
    adam,
    best_span,
    mask_words,
)
from reference_impl.experiments import prose, sentence_vectors
from reference_impl.experiments.judging import all_runs_above, outcome
from reference_impl.experiments.sentence_tasks import SPECIAL, TASKS, Corpus, real, trimmed
from reference_impl.experiments.training import Batch, Training, parameters
from reference_impl.layers.attention import causal_mask


@dataclass(frozen=True)
class Size:
    """How much is run: widths and layers, steps of one batch of sentences, labelled sentences of a task.

    Attributes:
        files: The most files that are read of a package; all if None.
        length: The most tokens of a sentence.
        rate: The highest rate of pre-training.
        tuning: The steps of fine-tuning.
        tuning_rates: The highest rate of fine-tuning, of what was pre-trained and of what starts from scratch.
        tested: The most sentences of a test.
        asked: The most questions of a card that are compared.
    """

    seeds: int
    files: int | None
    vocabulary: int
    length: int
    d_model: int
    heads: int
    d_ff: int
    layers: int
    steps: int
    batch: int
    rate: float
    labels: tuple[int, ...]
    tuning: int
    tuning_rates: tuple[float, float]
    tested: int
    asked: int


SIZES = {
    "smoke": Size(
        seeds=1, files=40, vocabulary=500, length=24, d_model=32, heads=2, d_ff=64, layers=2, steps=24, batch=16,
        rate=2e-3, labels=(16, 32), tuning=8, tuning_rates=(2e-3, 2e-3), tested=60, asked=2,
    ),
    "small": Size(
        seeds=3, files=None, vocabulary=3000, length=24, d_model=128, heads=4, d_ff=256, layers=2, steps=2200, batch=24,
        rate=1e-3, labels=(64, 256, 1024), tuning=100, tuning_rates=(2e-3, 4e-3), tested=600, asked=100,
    ),
    "full": Size(
        seeds=3, files=None, vocabulary=20_000, length=64, d_model=768, heads=12, d_ff=3072, layers=12, steps=50_000,
        batch=256, rate=1e-4, labels=(64, 256, 1024), tuning=300, tuning_rates=(5e-5, 1e-4), tested=4000, asked=100,
    ),
}  # fmt: skip

HIDDEN_WORDS, LEFT_TO_RIGHT, SCRATCH = "hidden words", "left to right", "from scratch"
PRE_TRAINED = (HIDDEN_WORDS, LEFT_TO_RIGHT)
ARMS = (*PRE_TRAINED, SCRATCH)

Scores = Mapping[tuple[str, str], Mapping[int, Sequence[float]]]
"""The share answered right by task and network, then by number of labels: one for each seed."""


class LeftToRight(Bert):
    """The same network, in which no token sees what follows it: the ablation of Section 5.1 (LTR)."""

    def forward(
        self,
        tokens: Int[Tensor, "b n"],
        segments: Int[Tensor, "b n"] | None = None,
        mask: Bool[Tensor, "b 1 n"] | None = None,
    ) -> Float[Tensor, "b n d"]:
        """Return the last layer's vectors."""
        seen = causal_mask(tokens.shape[1], tokens.device)[None]
        seen = seen if mask is None else seen & mask
        x = self.embeddings(tokens, torch.zeros_like(tokens) if segments is None else segments)
        return self._read(x, lambda attention, x: attention(x, x, x, seen))


class LastTokenClassifier(BertClassifier):
    """Sort inputs by the vector at the last token: left to right, no other has seen the whole input."""

    def forward(
        self,
        tokens: Int[Tensor, "b n"],
        segments: Int[Tensor, "b n"] | None = None,
        mask: Bool[Tensor, "b 1 n"] | None = None,
    ) -> Float[Tensor, "b c"]:
        """Score the classes."""
        last = real(tokens).sum(dim=-1)[:, 0] - 1
        x = self.bert(tokens, segments, mask)[torch.arange(len(tokens), device=tokens.device), last]
        return self.classifier(self.dropout(self.bert.pool(x[:, None])))


@cache
def corpus(size: Size) -> Corpus:
    """Return the text as a size asks for it; it is read once."""
    return Corpus(size.files, size.vocabulary, size.length, size.tested)


# Pre-training


class PreTraining(Training):
    """A training that writes the weights to a file at its end, to be fine-tuned."""

    def __init__(self, file: Path, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._file = file

    def result(self) -> Any:
        """Return the curve, after writing the weights."""
        self.written(lambda model: checkpoints.save(model, self._file))
        return super().result()


def network(size: Size, arm: str, dropout: float = 0.0) -> BertMaskedWords:
    """Return a network of an arm, untrained, with the head that scores words."""
    kind = LeftToRight if arm == LEFT_TO_RIGHT else Bert
    bert = kind(
        size.vocabulary,
        size.d_model,
        size.heads,
        size.d_ff,
        size.layers,
        max_length=size.length,
        dropout=dropout,
        deviation=min(0.05, size.d_model**-0.5),
    )
    return BertMaskedWords(bert)


def pre_training(size: Size, arm: str, seed: int, run: Run) -> PreTraining:
    """Return the loop that pre-trains one network."""
    text = corpus(size)

    def batch(generator: torch.Generator) -> Batch:
        tokens = text.batch(size.batch, generator)
        if arm == LEFT_TO_RIGHT:
            return tokens, tokens, followed(tokens)
        return tokens, *mask_words(tokens, size.vocabulary, special=SPECIAL, generator=generator)

    return PreTraining(
        weights(run, arm, seed),
        partial(network, size, arm),
        left_to_right_loss if arm == LEFT_TO_RIGHT else hidden_words_loss,
        batch,
        size.steps,
        seed,
        measure=lambda model: filled_in(model, text.test_tokens, text.asked),
        every=max(1, size.steps // 12),
        clip=1.0,
        interval=max(1, size.steps // 5),
        device=run.device,
        **adam_of(size.rate, size.steps),
    )


def adam_of(rate: float, steps: int) -> dict[str, Any]:
    """Return the authors' optimiser and schedule in the form that `Training` asks for; a tenth is warm-up."""
    made: list[Any] = []

    def optimiser(model: nn.Module) -> torch.optim.Optimizer:
        made[:] = adam(model, rate, max(1, steps // 10), steps)
        return made[0]

    return {"optimiser": optimiser, "schedule": lambda _: made[1]}


def weights(run: Run, arm: str, seed: int) -> Path:
    """Return the file of a pre-trained network."""
    return run.folder / f"{arm.replace(' ', '-')}-{seed}.safetensors"


def followed(tokens: Int[Tensor, "b n"]) -> Bool[Tensor, "b n"]:
    """Return which tokens have another after them."""
    return F.pad(real(tokens)[:, 0, 1:], (0, 1))


def hidden_words_loss(model: nn.Module, tokens: Tensor, hidden: Tensor, chosen: Tensor) -> tuple[Tensor, int]:
    """Return the nats that the chosen words cost, and how many these are."""
    scores = model(hidden, mask=real(hidden), chosen=chosen)
    return F.cross_entropy(scores, tokens[chosen], reduction="sum"), int(chosen.sum())


def left_to_right_loss(model: nn.Module, tokens: Tensor, _: Tensor, chosen: Tensor) -> tuple[Tensor, int]:
    """Return the nats that each next token costs, and how many these are."""
    scores = model(tokens, mask=real(tokens), chosen=chosen)
    return F.cross_entropy(scores, tokens[:, 1:][chosen[:, :-1]], reduction="sum"), int(chosen.sum())


def word_scores(model: nn.Module, tokens: Int[Tensor, "b n"], places: Int[Tensor, " b"]) -> Float[Tensor, "b v"]:
    """Score the words for one place of each sentence: hidden, or unread as yet if the network reads left to right."""
    chosen = torch.zeros_like(tokens, dtype=torch.bool)
    rows = torch.arange(len(tokens), device=tokens.device)
    if isinstance(model.bert, LeftToRight):
        chosen[rows, places - 1] = True
        return model(tokens, mask=real(tokens), chosen=chosen)
    chosen[rows, places] = True
    return model(tokens.masked_fill(chosen, SPECIAL.mask), mask=real(tokens), chosen=chosen)


def filled_in(model: nn.Module, tokens: Tensor, places: Tensor) -> dict[str, float]:
    """Measure how well one word a sentence is guessed: nats, and the share that is guessed right."""
    device = next(model.parameters()).device
    tokens, places = tokens.to(device), places.to(device)
    scores, truth = word_scores(model, tokens, places), tokens.gather(1, places[:, None])[:, 0]
    right = (scores.argmax(dim=1) == truth).float().mean()
    return {"nats": float(F.cross_entropy(scores, truth)), "right": float(right)}


# Fine-tuning


def fine_tuning(size: Size, arm: str, name: str, labels: int, seed: int, run: Run) -> Training:
    """Return the loop that fine-tunes one network on one task."""
    task = corpus(size).task(name, seed, labels)

    def model() -> nn.Module:
        start = network(size, arm, dropout=0.1)
        if arm in PRE_TRAINED:
            checkpoints.load(start, weights(run, arm, seed))
        return with_head(start.bert, name)

    def batch(generator: torch.Generator) -> Batch:
        rows = torch.randint(len(task.tokens), (16,), generator=generator)
        return trimmed(task.tokens[rows]), task.answers[rows]

    return Training(
        model,
        topic_loss if name == "topic" else span_loss,
        batch,
        size.tuning,
        seed,
        measure=lambda model: {"right": right(model, task.test_tokens, task.test_answers, name)},
        clip=1.0,
        interval=1000,
        device=run.device,
        **adam_of(size.tuning_rates[arm == SCRATCH], size.tuning),
    )


def with_head(bert: Bert, task: str) -> nn.Module:
    """Return a network with the one fresh layer that a task takes."""
    if task == "span":
        return BertSpanFinder(bert)
    kind = LastTokenClassifier if isinstance(bert, LeftToRight) else BertClassifier
    return kind(bert, len(prose.PACKAGES))


def topic_loss(model: nn.Module, tokens: Tensor, topics: Tensor) -> tuple[Tensor, int]:
    """Return the cross-entropy of the topics."""
    return F.cross_entropy(model(tokens, mask=real(tokens)), topics, reduction="sum"), len(tokens)


def span_scores(model: nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scores of the first and the last token; none where no word stands."""
    words = (tokens != SPECIAL.pad) & (tokens != SPECIAL.cls) & (tokens != SPECIAL.sep)
    begins, ends = model(tokens, mask=real(tokens))
    return begins.masked_fill(~words, -torch.inf), ends.masked_fill(~words, -torch.inf)


def span_loss(model: nn.Module, tokens: Tensor, spans: Tensor) -> tuple[Tensor, int]:
    """Return the cross-entropies of the first and of the last token."""
    begins, ends = span_scores(model, tokens)
    losses = F.cross_entropy(begins, spans[:, 0], reduction="sum") + F.cross_entropy(ends, spans[:, 1], reduction="sum")
    return losses, len(tokens)


def right(model: nn.Module, tokens: Tensor, answers: Tensor, task: str) -> float:
    """Return the share of a test that is answered right; a span must be right at both ends."""
    device = next(model.parameters()).device
    tokens, answers = tokens.to(device), answers.to(device)
    if task == "topic":
        return float((model(tokens, mask=real(tokens)).argmax(dim=1) == answers).float().mean())
    found = torch.stack(best_span(*span_scores(model, tokens), most=6), dim=1)
    return float((found == answers).all(dim=1).float().mean())


def counted_words(size: Size, labels: int, seed: int) -> float:
    """Return the share of topics that logistic regression on weighted counts of words gets right."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    task, counts = corpus(size).task("topic", seed, labels), TfidfVectorizer(sublinear_tf=True)
    model = LogisticRegression(max_iter=1000).fit(counts.fit_transform(task.texts), task.answers)
    return float(model.score(counts.transform(task.test_texts), task.test_answers))


# What is shown


def experiment(run: Run) -> Report:
    """Pre-train, fine-tune with ever more labels, and look into what was learnt."""
    size = SIZES[run.size]
    seeds = run.seeds(size.seeds)
    run.expect(size.seeds * (2 + (len(ARMS) * len(TASKS) + 1) * len(size.labels)) + 2)
    curves = {
        arm: [run.loop(f"{arm}, seed {seed}", partial(pre_training, size, arm, seed, run)) for seed in seeds]
        for arm in PRE_TRAINED
    }
    scores: dict[tuple[str, str], dict[int, list[float]]] = {
        (task, arm): {
            labels: [
                run.loop(
                    f"{task}, {labels} labels, {arm}, seed {seed}",
                    partial(fine_tuning, size, arm, task, labels, seed, run),
                )[-1]["right"]
                for seed in seeds
            ]
            for labels in size.labels
        }
        for task, arm in product(TASKS, ARMS)
    }
    scores["topic", COUNTS] = {
        labels: [
            run.piece(f"counts, {labels} labels, seed {seed}", partial(counted_words, size, labels, seed))
            for seed in seeds
        ]
        for labels in size.labels
    }
    inside = run.piece("inside", partial(looked_into, size, run))
    lying = run.piece("questions", partial(compared_questions, size, run))
    learnt = Learnt(
        nats={arm: [curve[-1]["nats"] for curve in of_arm] for arm, of_arm in curves.items()},
        by_frequency=inside["nats by frequency"],
        passes=size.steps * size.batch / inside["sentences"][0],
    )
    return Report(
        findings=(judged_few_labels(scores, learnt), judged_bidirectional(scores, learnt), *NOT_TRIED),
        tables=(
            _scores_table(scores, inside),
            Table(
                title="What the two networks put in the gap",
                columns=("held-out sentence", "word", HIDDEN_WORDS, LEFT_TO_RIGHT),
                rows=tuple(map(tuple, inside["guesses"])),
                note="Their three first choices, of seed 0. Left to right, a network sees nothing after the gap.",
            ),
            *sentence_vectors.tables(lying),
        ),
        figures=(
            _curves_figure(curves, learnt),
            *(_labels_figure(task, scores, inside["chance"][task]) for task in TASKS),
            _attention_figure(inside),
            sentence_vectors.figure(lying),
        ),
        seeds=tuple(seeds),
        settings=asdict(size),
        notes=(
            f"{inside['sentences'][0]:,} sentences for training and {inside['sentences'][1]:,} held out, from the "
            f"docstrings of {_listed([f'{name} {version}' for name, version in inside['versions'].items()])}. "
            "All networks have the same steps of fine-tuning; both pre-trainings have the same sentences and steps, of "
            "which the one from left to right learns from every token and the other from 15%. The tables of questions "
            "are of the cards as they read on the day of the run; rewording one does not make this result stale."
        ),
    )


def looked_into(size: Size, run: Run) -> dict[str, Any]:
    """Return all else that tables and figures show, from the weights of the first seed."""
    text = corpus(size)
    models = {arm: pre_trained(size, arm, run.seed, run) for arm in PRE_TRAINED}
    tests = {name: text.task(name, run.seed, 1) for name in TASKS}
    counts = torch.bincount(text.tokens.flatten(), minlength=size.vocabulary).float()
    counts[[SPECIAL.pad, SPECIAL.cls, SPECIAL.sep]] = 0
    truth = text.test_tokens.gather(1, text.asked[:, None])[:, 0]
    return {
        "sentences": [len(text.seen), len(text.unseen)],
        "versions": {name: metadata.version(DISTRIBUTIONS.get(name, name)) for name in prose.PACKAGES},
        "chance": {
            "topic": 1 / len(prose.PACKAGES),
            "span": fmean(1 / len(sentence.split()) for sentence in tests["span"].test_texts),
        },
        "tested": {name: len(task.test_texts) for name, task in tests.items()},
        "weights": {name: [parameters(with_head(network(size, arm).bert, name)) for arm in ARMS] for name in TASKS},
        "nats by frequency": float(F.cross_entropy((counts + 1).log().expand(len(truth), -1), truth)),
        "guesses": guesses(models, text, 8),
        "attention": attention(models[HIDDEN_WORDS].bert, text),
    }


def compared_questions(size: Size, run: Run) -> dict[str, Any]:
    """Return how the cards' questions lie to each other, by MiniLM and by the networks of this run."""
    seeds = run.seeds(size.seeds)
    small = [(pre_trained(size, HIDDEN_WORDS, seed, run).bert, corpus(size).pieces) for seed in seeds]
    return sentence_vectors.neighbours(small, size.asked, seeds)


def pre_trained(size: Size, arm: str, seed: int, run: Run) -> BertMaskedWords:
    """Return a network with the weights that its pre-training has written."""
    model = network(size, arm)
    checkpoints.load(model, weights(run, arm, seed))
    return model.eval()


@torch.no_grad()
def guesses(models: Mapping[str, nn.Module], text: Corpus, count: int) -> list[list[str]]:
    """Return some held-out sentences with a gap, the word that was there, and each network's three first choices."""
    tokens, places = text.test_tokens[:count], text.asked[:count]
    best = [word_scores(model, tokens, places).topk(3, dim=1).indices for model in models.values()]
    rows = []
    for row, place in enumerate(places.tolist()):
        gap = tokens[row].clone()
        gap[place] = SPECIAL.mask
        shown = text.pieces.tokenizer.decode(gap.tolist(), skip_special_tokens=False)
        for mark, plain in {"[CLS] ": "", " [SEP]": "", " [PAD]": "", "[MASK]": "___"}.items():
            shown = shown.replace(mark, plain)
        names = [_names(text, [int(tokens[row, place])]), *(_names(text, some[row].tolist()) for some in best)]
        rows.append([shown, *(", ".join(some) for some in names)])
    return rows


@torch.no_grad()
def attention(bert: Bert, text: Corpus) -> dict[str, Any]:
    """Return the weights of the most decided head of the last layer, in a sentence of middling length with a gap."""
    lengths = real(text.test_tokens).sum(dim=-1)[:, 0]
    row = int((lengths - 13).abs().argmin())
    tokens = text.test_tokens[row : row + 1, : int(lengths[row])].clone()
    tokens[0, text.asked[row]] = SPECIAL.mask
    x = bert.embeddings(tokens, torch.zeros_like(tokens))
    for layer in bert.layers:
        heads = cast(EncoderLayer, layer).attention.attention_weights(x, x)[0]
        x = layer(x, lambda attention, x: attention(x, x, x))
    head = int(heads.amax(dim=-1).mean(dim=-1).argmax())
    return {"words": _names(text, tokens[0].tolist()), "weights": heads[head].tolist(), "head": head + 1}


# What becomes of the claims

RULE = (
    "A network is better where its lowest run is above the other's highest. Reproduced if it is better in both tasks "
    "and at each number of labels; partly if in more than half of these cases."
)


def compared(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> Outcome:
    """Judge whether one network is better than another, given the runs of each in several cases."""
    better = [all_runs_above(a, b) for a, b in zip(one, other, strict=True)]
    return outcome(all(better), 2 * sum(better) > len(better))


@dataclass(frozen=True)
class Learnt:
    """How far pre-training has come.

    Attributes:
        nats: What a word of a held-out sentence costs at the end, by network: one for each seed.
        by_frequency: What it costs by the words' frequencies alone.
        passes: How often the text was gone over.
    """

    nats: Mapping[str, Sequence[float]]
    by_frequency: float
    passes: float

    def said(self, *arms: str) -> str:
        """Say what a word costs some networks."""
        told = " and ".join(f"{spread(self.nats[arm], '.2f')} nats with {arm}" for arm in arms)
        return f"When pre-training ended, a held-out word cost {told}; by frequencies alone, {self.by_frequency:.2f}."

    @property
    def limit(self) -> str:
        """What an outcome does not speak of."""
        return (
            f"After {self.passes:.1f} passes over the text, a held-out word costs the network that fills in hidden "
            f"words still {fmean(self.nats[HIDDEN_WORDS]) / self.by_frequency:.0%} of what it costs by frequencies "
            "alone: the outcome is on this pre-training, not on the paper's 40 passes over 3.3 billion words."
        )


def judged_few_labels(scores: Scores, learnt: Learnt) -> Finding:
    """Judge whether pre-training on hidden words helps."""
    return _judged(scores, "few-labels", SCRATCH, learnt.said(HIDDEN_WORDS), f"{RULE} {learnt.limit}")


def judged_bidirectional(scores: Scores, learnt: Learnt) -> Finding:
    """Judge whether reading both ways is better than left to right, after equal pre-training."""
    fewer = "Of hidden words, only 15% of the tokens teach anything."
    why = f"{RULE} {learnt.limit} {fewer}"
    return _judged(scores, "bidirectional", LEFT_TO_RIGHT, learnt.said(*PRE_TRAINED), why)


def _judged(scores: Scores, claim: str, other: str, besides: str, why: str) -> Finding:
    labels = list(scores[TASKS[0], HIDDEN_WORDS])
    cases = list(product(TASKS, labels))
    runs = {arm: [scores[task, arm][n] for task, n in cases] for arm in (HIDDEN_WORDS, other)}
    measured = "; ".join(
        f"{task}, {n:,} labels: {spread(scores[task, HIDDEN_WORDS][n], '.2f')} against "
        f"{spread(scores[task, other][n], '.2f')}"
        for task, n in cases
    )
    return Finding(
        claim=claim,
        outcome=compared(runs[HIDDEN_WORDS], runs[other]),
        measured=f"Pre-trained on hidden words against {other}: {measured}. {besides}",
        why=why,
    )


NOT_TRIED = tuple(
    Finding(claim=claim, outcome=Outcome.NOT_TRIED, why=why)
    for claim, why in {
        "glue": "It takes the large model, pre-trained on 3.3 billion words, and GLUE's nine tasks.",
        "mnli": "It takes the large model, pre-trained on 3.3 billion words, and 393,000 labelled pairs.",
        "squad": "It takes the large model, pre-trained on 3.3 billion words, and 88,000 questions with answers.",
        "next-sentence": "It takes pre-training twice on longer texts: the sentences here stand alone.",
    }.items()
)


# Tables and figures

COUNTS = "logistic regression on words"
DISTRIBUTIONS = {"sklearn": "scikit-learn"}
WHAT = {"span": "Which word is code", "topic": "Which package a sentence is from"}


def _scores_table(scores: Scores, inside: Mapping[str, Any]) -> Table:
    labels = list(scores[TASKS[0], SCRATCH])
    rows: list[tuple[Any, ...]] = []
    for task in TASKS:
        counted = dict(zip(ARMS, inside["weights"][task], strict=True))
        for arm in (*ARMS, COUNTS):
            if (task, arm) in scores:
                rows.append((task, arm, counted.get(arm), *(spread(scores[task, arm][n], ".2f") for n in labels)))
        rows.append((task, "a guess", None, *[f"{inside['chance'][task]:.2f}"] * len(labels)))
    runs = len(scores[TASKS[0], SCRATCH][labels[0]])
    return Table(
        title=f"Share of held-out sentences that are answered right: mean (lowest to highest) over {runs} seeds",
        columns=("task", "network", "weights", *(f"{n:,} labels" for n in labels)),
        rows=tuple(rows),
        note=f"{inside['tested']['span']:,} sentences test the span, {inside['tested']['topic']:,} the topic.",
    )


def _curves_figure(curves: Mapping[str, Sequence[Sequence[Mapping[str, float]]]], learnt: Learnt) -> Lines:
    return Lines(
        id="filling-in",
        title="How well a word of a held-out sentence is guessed",
        caption="What one word costs while the networks are pre-trained: with both sides in sight, or with the left "
        "side alone. Left to right, a network learns from every token of a batch, the other from 15%.",
        alt=learnt.said(*PRE_TRAINED),
        x="step",
        y="nats a word",
        series=tuple(Series.of(arm, runs, "nats") for arm, runs in curves.items()),
        levels={"frequencies alone": learnt.by_frequency},
    )


def _labels_figure(task: str, scores: Scores, chance: float) -> Lines:
    arms = {arm: runs for (of, arm), runs in scores.items() if of == task}
    least, most = min(arms[SCRATCH]), max(arms[SCRATCH])
    ends = [f"{arm} from {fmean(runs[least]):.2f} to {fmean(runs[most]):.2f}" for arm, runs in arms.items()]
    return Lines(
        id=f"labels-{task}",
        title=f"{WHAT[task]}: right answers against labels",
        caption="What was pre-trained starts higher if filling in words has taught it something of use; a network that "
        "catches up with many labels had no need of it.",
        alt=f"From {least} to {most:,} labels, the share of right answers goes, {'; '.join(ends)}.",
        x="labelled sentences",
        y="share answered right",
        log=("x",),
        series=tuple(
            Series(name=arm, x=tuple(runs), runs=tuple(zip(*runs.values(), strict=True))) for arm, runs in arms.items()
        ),
        levels={"a guess": chance},
    )


def _attention_figure(inside: Mapping[str, Any]) -> Heatmap:
    words, shares = inside["attention"]["words"], torch.tensor(inside["attention"]["weights"])
    row = words.index("[MASK]")
    most = int(shares[row].argmax())
    return Heatmap(
        id="attention",
        title="Where a head looks in a held-out sentence",
        caption="The most decided head of the last layer, after pre-training on hidden words. The row of `[MASK]` "
        "shows where the hidden word is guessed from.",
        alt=f"{len(words)} by {len(words)} tokens. The hidden word looks most at {words[most]}, with a weight of "
        f"{float(shares[row, most]):.2f}; {float(shares[row, row + 1 :].sum()):.2f} of its weight follows it.",
        rows=tuple(words),
        columns=tuple(words),
        values=tuple(map(tuple, shares.tolist())),
    )


def _names(text: Corpus, tokens: Sequence[int]) -> list[str]:
    return [str(text.pieces.tokenizer.id_to_token(token)) for token in tokens]


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
