"""BERT's experiment: pre-train by masked language modeling, then fine-tune on tasks with few labels.

Claims: With pre-training, even tasks with few labels benefit from a deep bidirectional network (Section 6); and with
    equal data and size, a left-to-right model is worse on all tasks (Section 5.1, Table 5).

Tasks: pre-training reads French sentences of a generated fragment, in which words agree with others, near and far
    (`sentence_tasks`). Both tasks are about a word that does not agree. The test sentences are none of those.

    - *Acceptability*, sentence classification, as in CoLA: has the sentence such an error? The paper's classifier reads
      the vector at `[CLS]`. In a left-to-right model that vector has seen no other token, so there the classifier reads
      the last token.
    - *Span*, solved as the paper solves question answering: which word is the error?

Arms: a network pre-trained by masked LM, one pre-trained as a left-to-right language model on the same sentences for as
    many steps, and one from scratch. The baselines are logistic regressions on words and pairs of neighbors.

Budget: the three networks have one size, and are fine-tuned for equally many steps, at the most labels about three
    epochs, as in the paper. Learning rates at `small` were chosen under a seed that no run has. For pre-training 0.001,
    0.002 and 0.004 gave about the same masked LM loss. Those of fine-tuning, one for pre-trained models and one for
    those from scratch, are the ones of 0.0005, 0.001, 0.002 and 0.004 with the highest accuracy on both tasks, with 256
    labels, on the sentences that are tested on. The left-to-right model has the rates that were chosen for masked LM,
    which favors masked LM if either. At `full` no rates were tried.

Measures: accuracy on the test sentences by number of labels, and the cross-entropy of a word of held-out sentences
    after pre-training. Beside that, published weights, those of MiniLM, are used to find which of the cards' questions
    are nearest neighbors.

Gates: a task counts only if some network does better than logistic regression with every seed, at the most labels;
    pre-training has learned more than the words' frequencies; and where directions are compared, masked LM predicts a
    held-out word better than the left-to-right model, as whoever sees both sides must once it is trained.

Rules: they are those of former runs, on docstrings of installed packages, where one task was the package and the other
    which word was code. There ten minutes were two epochs, masked LM predicted words worse than the left-to-right
    model, and no network did better than logistic regression, so that neither task counted. Text, tasks and baselines
    are new, and were set before this size was run, after one pilot.

Stands in: a generated fragment for paragraphs of Wikipedia and books, some hundred thousand parameters for 110 million,
    and two tasks for eleven. There is no next-sentence prediction, as in the paper's own comparison of directions.

Sizes: `small` takes about ten minutes on one thread; `full` has longer sentences and a larger network, for a GPU.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from quaere.content.results import Finding, Gate, Heatmap, Lines, Report, Table, spread
from quaere.running.experiments import Run
from reference_impl import checkpoints
from reference_impl.bert import (
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertLayer,
    BertModel,
    best_span,
    build_optimizer,
    mask_tokens,
)
from reference_impl.experiments import sentence_vectors
from reference_impl.experiments.arms import measure_seeds, train_seeds
from reference_impl.experiments.curves import (
    Curve,
    Sweep,
    curve_series,
    final_values,
    list_spreads,
    select,
    sweep_series,
)
from reference_impl.experiments.judging import (
    all_runs_above,
    each_seed_above,
    enough_seeds,
    gate,
    judge,
    no_experiment,
    quantity,
)
from reference_impl.experiments.sentence_tasks import (
    OTHER_FORMS,
    SPECIAL_TOKENS,
    TASKS,
    TOKENS,
    Corpus,
    attention_mask,
    trim_padding,
)
from reference_impl.experiments.training import Batch, Training, count_parameters, device_of, run_on_main_process
from reference_impl.layers.attention import causal_mask


@dataclass(frozen=True)
class Size:
    """The sizes of a run: of the model, of both trainings and of the tests.

    Attributes:
        sentences: The number of sentences to pre-train on.
        max_words: The most words of a sentence.
        steps: Steps of pre-training.
        batch_size: Sentences a step of pre-training.
        lr: The peak learning rate of pre-training.
        labels: Numbers of labeled sentences to fine-tune on.
        finetuning_steps: Steps of fine-tuning, of 16 sentences each.
        finetuning_lrs: The peak learning rates of fine-tuning, of pre-trained models and of those from scratch.
        test_sentences: The sentences of a test.
        max_questions: The most questions of a card that are compared.
    """

    seeds: int
    sentences: int
    max_words: int
    d_model: int
    heads: int
    d_ff: int
    layers: int
    steps: int
    batch_size: int
    lr: float
    labels: tuple[int, ...]
    finetuning_steps: int
    finetuning_lrs: tuple[float, float]
    test_sentences: int
    max_questions: int


SIZES = {
    "smoke": Size(
        seeds=1, sentences=600, max_words=10, d_model=32, heads=2, d_ff=64, layers=2, steps=24, batch_size=16, lr=2e-3,
        labels=(16, 32), finetuning_steps=8, finetuning_lrs=(2e-3, 2e-3), test_sentences=60, max_questions=2,
    ),
    "small": Size(
        seeds=3, sentences=50_000, max_words=14, d_model=64, heads=4, d_ff=128, layers=3, steps=3000, batch_size=64,
        lr=2e-3, labels=(64, 256, 1024), finetuning_steps=200, finetuning_lrs=(1e-3, 4e-3), test_sentences=600,
        max_questions=100,
    ),
    "full": Size(
        seeds=3, sentences=2_000_000, max_words=30, d_model=256, heads=8, d_ff=1024, layers=6, steps=50_000,
        batch_size=256, lr=5e-4, labels=(64, 256, 1024), finetuning_steps=300, finetuning_lrs=(1e-4, 2e-4),
        test_sentences=4000, max_questions=100,
    ),
}  # fmt: skip


# Tasks and data: `sentence_tasks` has them


@cache
def load_corpus(size: Size) -> Corpus:
    """Return the corpus of a size; it is read once."""
    return Corpus(size.sentences, size.max_words, size.test_sentences)


# Arms

MASKED_LM, LEFT_TO_RIGHT, SCRATCH = "masked LM", "left to right", "from scratch"
PRETRAINED = (MASKED_LM, LEFT_TO_RIGHT)
ARMS = (*PRETRAINED, SCRATCH)


class LeftToRightBertModel(BertModel):
    """BERT with causal attention: the left-to-right (LTR) ablation of Section 5.1."""

    def forward(
        self,
        input_ids: Int[Tensor, "b n"],
        token_type_ids: Int[Tensor, "b n"] | None = None,
        mask: Bool[Tensor, "b 1 n"] | None = None,
    ) -> Float[Tensor, "b n d"]:
        """Return the last layer's vectors."""
        causal = causal_mask(input_ids.shape[1], input_ids.device)[None]  # (1, n, n)
        causal = causal if mask is None else causal & mask  # (b, n, n)
        x = self.embeddings(input_ids, torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids)
        return self._encode(x, causal)


class LastTokenClassifier(BertForSequenceClassification):
    """A classifier that pools the last token: in a left-to-right model, the only one that depends on all."""

    def forward(
        self,
        input_ids: Int[Tensor, "b n"],
        token_type_ids: Int[Tensor, "b n"] | None = None,
        mask: Bool[Tensor, "b 1 n"] | None = None,
    ) -> Float[Tensor, "b c"]:
        """Return the logits of the classes."""
        last = attention_mask(input_ids).sum(dim=-1)[:, 0] - 1  # (b,)
        rows = torch.arange(len(input_ids), device=input_ids.device)
        x = self.bert(input_ids, token_type_ids, mask)[rows, last]  # (b, d)
        return self.classifier(self.dropout(self.bert.pool(x[:, None])))


def build_model(size: Size, arm: str, dropout: float = 0.0) -> BertForMaskedLM:
    """Build an untrained model of an arm, with the masked LM head."""
    config = BertConfig(
        len(TOKENS),
        size.d_model,
        size.heads,
        size.d_ff,
        size.layers,
        max_position_embeddings=size.max_words + 2,
        dropout=dropout,
        initializer_range=min(0.05, size.d_model**-0.5),
    )
    return BertForMaskedLM(LeftToRightBertModel(config) if arm == LEFT_TO_RIGHT else BertModel(config))


def add_task_head(bert: BertModel, task: str) -> nn.Module:
    """Add the one new layer of a task to a model."""
    if task == "span":
        return BertForQuestionAnswering(bert)
    kind = LastTokenClassifier if isinstance(bert, LeftToRightBertModel) else BertForSequenceClassification
    return kind(bert, 2)


# Pre-training


def build_pretraining(size: Size, arm: str, run: Run, seed: int) -> Training:
    """Build the pre-training of one model, which ends by saving a checkpoint to be fine-tuned."""
    text = load_corpus(size)

    def batch(generator: torch.Generator) -> Batch:
        input_ids = text.sample_batch(size.batch_size, generator)
        if arm == LEFT_TO_RIGHT:
            return input_ids, input_ids, has_next_token(input_ids)
        return input_ids, *mask_tokens(input_ids, len(TOKENS), special_tokens=SPECIAL_TOKENS, generator=generator)

    def save(model: nn.Module) -> dict[str, Any]:
        run_on_main_process(lambda: checkpoints.save(model, checkpoint_path(run, arm, seed)))
        return {}

    return Training(
        model=partial(build_model, size, arm),
        loss=left_to_right_loss if arm == LEFT_TO_RIGHT else masked_lm_loss,
        batch=batch,
        steps=size.steps,
        clip=1.0,
        measure=lambda model: evaluate_cloze(model, text.test_input_ids, text.cloze_positions),
        every=max(1, size.steps // 12),
        ending=save,
        **optimizer_options(size.lr, size.steps),
    )


def checkpoint_path(run: Run, arm: str, seed: int) -> Path:
    """Return the checkpoint file of a pre-trained model."""
    return run.folder / f"{arm.replace(' ', '-')}-{seed}.safetensors"


def optimizer_options(lr: float, steps: int) -> dict[str, Any]:
    """Return the authors' optimizer and schedule as arguments of `Training`; a tenth of the steps is warmup."""
    built: list[Any] = []

    def optimizer(model: nn.Module) -> torch.optim.Optimizer:
        built[:] = build_optimizer(model, lr, max(1, steps // 10), steps)
        return built[0]

    return {"optimizer": optimizer, "schedule": lambda _: built[1]}


def has_next_token(input_ids: Int[Tensor, "b n"]) -> Bool[Tensor, "b n"]:
    """Return a mask that is true at tokens with a next one."""
    return F.pad(attention_mask(input_ids)[:, 0, 1:], (0, 1))


def masked_lm_loss(model: nn.Module, labels: Tensor, input_ids: Tensor, masked_indices: Tensor) -> tuple[Tensor, int]:
    """Return the sum of the cross-entropies at the masked tokens, and the number of these."""
    logits = model(input_ids, mask=attention_mask(input_ids), masked_indices=masked_indices)
    return F.cross_entropy(logits, labels[masked_indices], reduction="sum"), int(masked_indices.sum())


def left_to_right_loss(model: nn.Module, input_ids: Tensor, _: Tensor, has_next: Tensor) -> tuple[Tensor, int]:
    """Return the sum of the cross-entropies of the next tokens, and the number of these."""
    logits = model(input_ids, mask=attention_mask(input_ids), masked_indices=has_next)
    return F.cross_entropy(logits, input_ids[:, 1:][has_next[:, :-1]], reduction="sum"), int(has_next.sum())


# Fine-tuning


def build_finetuning(size: Size, arm: str, name: str, labels: int, run: Run, seed: int) -> Training:
    """Build the fine-tuning of one model on one task."""
    task = load_corpus(size).build_task(name, seed, labels)

    def model() -> nn.Module:
        pretrained = build_model(size, arm, dropout=0.1)
        if arm in PRETRAINED:
            checkpoints.load(pretrained, checkpoint_path(run, arm, seed))
        return add_task_head(pretrained.bert, name)

    def batch(generator: torch.Generator) -> Batch:
        rows = torch.randint(len(task.input_ids), (16,), generator=generator)
        return trim_padding(task.input_ids[rows]), task.labels[rows]

    return Training(
        model=model,
        loss=span_loss if name == "span" else class_loss,
        batch=batch,
        steps=size.finetuning_steps,
        clip=1.0,
        measure=lambda model: {"accuracy": accuracy(model, task.test_input_ids, task.test_labels, name)},
        **optimizer_options(size.finetuning_lrs[arm == SCRATCH], size.finetuning_steps),
    )


def class_loss(model: nn.Module, input_ids: Tensor, classes: Tensor) -> tuple[Tensor, int]:
    """Return the sum of the classes' cross-entropies, and the number of sentences."""
    logits = model(input_ids, mask=attention_mask(input_ids))
    return F.cross_entropy(logits, classes, reduction="sum"), len(input_ids)


def span_loss(model: nn.Module, input_ids: Tensor, spans: Tensor) -> tuple[Tensor, int]:
    """Return the sum of the start's and the end's cross-entropies, and the number of sentences."""
    start, end = span_logits(model, input_ids)
    losses = F.cross_entropy(start, spans[:, 0], reduction="sum") + F.cross_entropy(end, spans[:, 1], reduction="sum")
    return losses, len(input_ids)


def span_logits(model: nn.Module, input_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits of the span's start and end; minus infinity at special tokens."""
    is_special = torch.zeros_like(input_ids, dtype=torch.bool)
    for token in (SPECIAL_TOKENS.pad, SPECIAL_TOKENS.cls, SPECIAL_TOKENS.sep):
        is_special |= input_ids == token
    start, end = model(input_ids, mask=attention_mask(input_ids))
    return start.masked_fill(is_special, -torch.inf), end.masked_fill(is_special, -torch.inf)


# Measures

Scores = Mapping[tuple[str, str], Sweep]
"""Test accuracy by task and model, then by number of labels: one for each seed."""


def token_logits(model: nn.Module, input_ids: Int[Tensor, "b n"], positions: Int[Tensor, " b"]) -> Float[Tensor, "b v"]:
    """Predict one token of each sentence: from both sides, or in a left-to-right model from the left."""
    predicted = torch.zeros_like(input_ids, dtype=torch.bool)
    rows = torch.arange(len(input_ids), device=input_ids.device)
    if isinstance(model.bert, LeftToRightBertModel):
        predicted[rows, positions - 1] = True
        return model(input_ids, mask=attention_mask(input_ids), masked_indices=predicted)
    predicted[rows, positions] = True
    masked = input_ids.masked_fill(predicted, SPECIAL_TOKENS.mask)
    return model(masked, mask=attention_mask(input_ids), masked_indices=predicted)


def evaluate_cloze(model: nn.Module, input_ids: Tensor, positions: Tensor) -> dict[str, float]:
    """Return the cross-entropy in nats and the accuracy of predicting one token of each sentence."""
    input_ids, positions = input_ids.to(device_of(model)), positions.to(device_of(model))
    logits, labels = token_logits(model, input_ids, positions), input_ids.gather(1, positions[:, None])[:, 0]
    correct = (logits.argmax(dim=1) == labels).float().mean()
    return {"nats": float(F.cross_entropy(logits, labels)), "accuracy": float(correct)}


def accuracy(model: nn.Module, input_ids: Tensor, labels: Tensor, task: str) -> float:
    """Return the accuracy on a test; a span is correct if both its start and its end are."""
    input_ids, labels = input_ids.to(device_of(model)), labels.to(device_of(model))
    if task == "acceptability":
        return float((model(input_ids, mask=attention_mask(input_ids)).argmax(dim=1) == labels).float().mean())
    spans = torch.stack(best_span(*span_logits(model, input_ids), max_answer_length=6), dim=1)
    return float((spans == labels).all(dim=1).float().mean())


BASELINES = {
    "span": "logistic regression on a word and its neighbors",
    "acceptability": "logistic regression on words and pairs of neighbors",
}


def baseline_accuracy(size: Size, name: str, labels: int, seed: int) -> float:
    """Return the accuracy of a task's baseline, a logistic regression on words and pairs of neighbors.

    For acceptability its features are those of the sentence; for the span those of a word and its two neighbors, and
    the word that is most likely to be the error is the answer.
    """
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    task = load_corpus(size).build_task(name, seed, labels)
    model = LogisticRegression(C=10, max_iter=2000)
    if name == "acceptability":
        counts = CountVectorizer(binary=True, ngram_range=(1, 2))
        train, test = ([" ".join(words) for words in texts] for texts in (task.texts, task.test_texts))
        model.fit(counts.fit_transform(train), task.labels)
        return float(model.score(counts.transform(test), task.test_labels))
    windows = DictVectorizer()
    features = windows.fit_transform([window for words in task.texts for window in word_windows(words)])
    places = task.labels[:, 0].tolist()
    is_error = [at == place for words, place in zip(task.texts, places, strict=True) for at in range(1, len(words) + 1)]
    model.fit(features, is_error)
    hits = 0
    for words, place in zip(task.test_texts, task.test_labels[:, 0].tolist(), strict=True):
        hits += 1 + int(model.predict_proba(windows.transform(word_windows(words)))[:, 1].argmax()) == place
    return hits / len(task.test_texts)


def word_windows(words: Sequence[str]) -> list[dict[str, str]]:
    """Return the features of each word of a sentence: the word, its two neighbors, and both pairs."""
    return [
        {"before": before, "word": word, "after": after, "left": f"{before} {word}", "right": f"{word} {after}"}
        for before, word, after in zip(("", *words), words, (*words[1:], ""), strict=False)
    ]


def probe_models(size: Size, run: Run) -> dict[str, Any]:
    """Return what else the tables and figures show, from the models of the first seed."""
    text = load_corpus(size)
    models = {arm: load_pretrained(size, arm, run.seed, run) for arm in PRETRAINED}
    tests = {name: text.build_task(name, run.seed, 1) for name in TASKS}
    counts = torch.bincount(text.input_ids.flatten(), minlength=len(TOKENS)).float()
    counts[[SPECIAL_TOKENS.pad, SPECIAL_TOKENS.cls, SPECIAL_TOKENS.sep]] = 0
    labels = text.test_input_ids.gather(1, text.cloze_positions[:, None])[:, 0]
    return {
        "sentences": [len(text.train_sentences), len(text.test_sentences)],
        "chance": {
            "acceptability": 0.5,
            "span": fmean(1 / sum(word in OTHER_FORMS for word in words) for words in tests["span"].test_texts),
        },
        "weights": {
            name: [count_parameters(add_task_head(build_model(size, arm).bert, name)) for arm in ARMS] for name in TASKS
        },
        "unigram nats": float(F.cross_entropy((counts + 1).log().expand(len(labels), -1), labels)),
        "predictions": top_predictions(models, text, 8),
        "attention": sharpest_head(models[MASKED_LM].bert, text),
    }


def load_pretrained(size: Size, arm: str, seed: int, run: Run) -> BertForMaskedLM:
    """Load a pre-trained model from its checkpoint."""
    model = build_model(size, arm)
    checkpoints.load(model, checkpoint_path(run, arm, seed))
    return model.eval()


@torch.no_grad()
def top_predictions(models: Mapping[str, nn.Module], text: Corpus, count: int) -> list[list[str]]:
    """Return held-out sentences with a masked word, that word, and each model's three most probable words."""
    input_ids, positions = text.test_input_ids[:count], text.cloze_positions[:count]
    top = [token_logits(model, input_ids, positions).topk(3, dim=1).indices for model in models.values()]
    rows = []
    for row, position in enumerate(positions.tolist()):
        words = list(text.test_sentences[row])
        answer, words[position - 1] = words[position - 1], "___"
        rows.append([" ".join(words), answer, *(", ".join(_names(ids[row].tolist())) for ids in top)])
    return rows


@torch.no_grad()
def sharpest_head(bert: BertModel, text: Corpus) -> dict[str, Any]:
    """Return the attention weights of the sharpest head of the last layer, in a sentence with a masked word."""
    lengths = attention_mask(text.test_input_ids).sum(dim=-1)[:, 0]
    row = int((lengths - 13).abs().argmin())
    input_ids = text.test_input_ids[row : row + 1, : int(lengths[row])].clone()
    input_ids[0, text.cloze_positions[row]] = SPECIAL_TOKENS.mask
    x = bert.embeddings(input_ids, torch.zeros_like(input_ids))
    for layer in bert.layers:
        heads = cast(BertLayer, layer).attention.attention_weights(x, x)[0]
        x = layer(x)
    head = int(heads.amax(dim=-1).mean(dim=-1).argmax())
    return {"words": _names(input_ids[0].tolist()), "weights": heads[head].tolist(), "head": head + 1}


def _names(tokens: Sequence[int]) -> list[str]:
    return [TOKENS[token] for token in tokens]


# Claims


@dataclass(frozen=True)
class PretrainingSummary:
    """How well the pre-trained models predict a word.

    Attributes:
        cloze_nats: Cross-entropy of a word of held-out sentences after pre-training, by model: one for each seed.
        unigram_nats: The cross-entropy by the words' frequencies alone.
        sentences: The sentences to pre-train on.
        epochs: Passes over them.
    """

    cloze_nats: Mapping[str, Sequence[float]]
    unigram_nats: float
    sentences: int
    epochs: float

    @property
    def has_learned(self) -> Gate:
        """The gate that masked LM has learned more than the words' frequencies."""
        worst = max(self.cloze_nats[MASKED_LM])
        return gate(
            "Masked LM predicts a held-out word better than the words' frequencies do, with every seed.",
            worst < self.unigram_nats,
            f"{worst:.2f} nats at most, {self.unigram_nats:.2f} by frequencies",
        )

    @property
    def uses_both_sides(self) -> Gate:
        """The gate that masked LM, which sees both sides of a word, predicts it better than from the left alone."""
        ours, theirs = self.cloze_nats[MASKED_LM], self.cloze_nats[LEFT_TO_RIGHT]
        return gate(
            "Masked LM, which sees both sides of a held-out word, predicts it better than left to right, with "
            "every seed: it was trained long enough to use them.",
            each_seed_above(theirs, ours),
            f"masked LM {spread(ours, '.2f')} nats, left to right {spread(theirs, '.2f')}",
        )


def judge_few_labels(scores: Scores, summary: PretrainingSummary) -> Finding:
    """Judge whether masked LM pre-training helps."""
    return _judge(scores, "few-labels", SCRATCH, summary, [summary.has_learned], "longer pre-training")


def judge_bidirectional(scores: Scores, summary: PretrainingSummary) -> Finding:
    """Judge whether the bidirectional model is better than the left-to-right one, after equal pre-training."""
    gates = [summary.has_learned, summary.uses_both_sides]
    needed = "pre-training until masked LM, which learns from 15% of the tokens only, has caught up: a GPU"
    return _judge(scores, "bidirectional", LEFT_TO_RIGHT, summary, gates, needed)


def _judge(
    scores: Scores, claim: str, other: str, summary: PretrainingSummary, gates: Sequence[Gate], needed: str
) -> Finding:
    labels = list(scores[TASKS[0], MASKED_LM])
    learned = [task for task in TASKS if _is_learned(scores, task)]
    better = [
        all_runs_above(scores[task, MASKED_LM][n], scores[task, other][n]) for task, n in product(learned, labels)
    ]
    quantities = [
        quantity(
            f"accuracy on {task} with {n:,} labels",
            {arm: scores[task, arm][n] for arm in (MASKED_LM, other, BASELINES[task])},
            "higher",
        )
        for task, n in product(TASKS, labels)
    ]
    return judge(
        claim,
        f"Reproduced if masked LM's lowest run is above the highest of {other} at each number of labels, on each task "
        "that some network has learned; partly if in more than half of these cases.",
        ran=(
            f"{summary.sentences:,} generated French sentences, {summary.epochs:.1f} epochs of pre-training; "
            f"{', '.join(f'{n:,}' for n in labels)} labels; tasks that count: {', '.join(learned) or 'none'}"
        ),
        quantities=quantities,
        reproduced=all(better),
        partly=2 * sum(better) > len(better),
        gates=[
            gate(
                f"A task counts if a network is above logistic regression with every seed, at {labels[-1]:,} labels; "
                "one must.",
                bool(learned),
                "; ".join(f"{task} {'counts' if task in learned else 'does not count'}" for task in TASKS),
            ),
            *gates,
            enough_seeds({arm: scores[TASKS[0], arm][labels[0]] for arm in (MASKED_LM, other)}),
        ],
        needed=needed,
    )


def _is_learned(scores: Scores, task: str) -> bool:
    """Return whether some network does better on a task than its baseline, with every seed at the most labels."""
    most = max(scores[task, MASKED_LM])
    return any(each_seed_above(scores[task, arm][most], scores[task, BASELINES[task]][most]) for arm in ARMS)


NO_EXPERIMENT = no_experiment(
    {
        "glue": "the large model, pre-trained on 3.3 billion words, and GLUE's nine tasks",
        "mnli": "the large model, pre-trained on 3.3 billion words, and 393,000 labeled pairs",
        "squad": "the large model, pre-trained on 3.3 billion words, and 88,000 questions with answers",
        "next-sentence": "two pre-trainings on longer texts: the sentences here have no context",
    }
)


# Report


def experiment(run: Run) -> Report:
    """Pre-train, fine-tune with more and more labels, and probe the models."""
    size = SIZES[run.size]
    seeds = run.seeds(size.seeds)
    run.expect(size.seeds * (2 + (len(ARMS) + 1) * len(TASKS) * len(size.labels)) + 2)
    curves = select(
        {arm: train_seeds(run, arm, partial(build_pretraining, size, arm, run), seeds) for arm in PRETRAINED}, "curve"
    )

    def finetune(task: str, arm: str, labels: int) -> Sequence[Curve]:
        name, build = f"{task}, {labels} labels, {arm}", partial(build_finetuning, size, arm, task, labels, run)
        return [one["curve"] for one in train_seeds(run, name, build, seeds)]

    scores = {
        (task, arm): final_values({labels: finetune(task, arm, labels) for labels in size.labels}, "accuracy")
        for task, arm in product(TASKS, ARMS)
    }
    for task, baseline in BASELINES.items():
        scores[task, baseline] = {
            labels: measure_seeds(
                run, f"{task}, {labels} labels, {baseline}", partial(baseline_accuracy, size, task, labels), seeds
            )
            for labels in size.labels
        }
    probes = run.piece("probes", partial(probe_models, size, run))
    neighbors = run.piece("questions", partial(sentence_vectors.compare_encoders, size.max_questions, seeds))
    summary = PretrainingSummary(
        cloze_nats=final_values(curves, "nats"),
        unigram_nats=probes["unigram nats"],
        sentences=probes["sentences"][0],
        epochs=size.steps * size.batch_size / probes["sentences"][0],
    )
    return Report(
        findings=(judge_few_labels(scores, summary), judge_bidirectional(scores, summary), *NO_EXPERIMENT),
        tables=(
            _scores_table(scores, probes),
            Table(
                title="Predictions of the two models for a masked word",
                columns=("held-out sentence", "word", MASKED_LM, LEFT_TO_RIGHT),
                rows=tuple(map(tuple, probes["predictions"])),
                note="The three most probable words, of seed 0. A left-to-right model does not see the right context.",
            ),
            *sentence_vectors.tables(neighbors),
        ),
        figures=(
            _curves_figure(curves, summary),
            *(_labels_figure(task, scores, probes["chance"][task]) for task in TASKS),
            _attention_figure(probes),
            sentence_vectors.figure(neighbors),
        ),
        seeds=tuple(seeds),
        settings=asdict(size),
        notes=(
            f"{probes['sentences'][0]:,} sentences for training and {probes['sentences'][1]:,} held out. "
            "All models are fine-tuned for equally many steps. Both pre-trainings have the same sentences and steps; "
            "the left-to-right loss is on every token, the masked LM loss on 15%. The tables of questions are of the "
            "cards as they read on the day of the run; rewording one does not make this result stale."
        ),
    )


TASK_TITLES = {"span": "Which word does not agree", "acceptability": "Whether a sentence has an error"}


def _scores_table(scores: Scores, probes: Mapping[str, Any]) -> Table:
    labels = list(scores[TASKS[0], SCRATCH])
    rows: list[tuple[Any, ...]] = []
    for task in TASKS:
        weights = dict(zip(ARMS, probes["weights"][task], strict=True))
        for arm in (*ARMS, BASELINES[task]):
            rows.append((task, arm, weights.get(arm), *(spread(scores[task, arm][n], ".2f") for n in labels)))
        rows.append((task, "chance", None, *[f"{probes['chance'][task]:.2f}"] * len(labels)))
    runs = len(scores[TASKS[0], SCRATCH][labels[0]])
    return Table(
        title=f"Accuracy on held-out sentences: mean (lowest to highest) over {runs} seeds",
        columns=("task", "model", "parameters", *(f"{n:,} labels" for n in labels)),
        rows=tuple(rows),
        note=f"{probes['sentences'][1]:,} test sentences.",
    )


def _curves_figure(curves: Mapping[str, Sequence[Curve]], summary: PretrainingSummary) -> Lines:
    return Lines(
        id="filling-in",
        title="Cross-entropy of a word of held-out sentences",
        caption="Cross-entropy of one word during pre-training, predicted from both sides or from the left alone. The "
        "left-to-right loss is on every token of a batch, the masked LM loss on 15%.",
        alt=f"After pre-training: {list_spreads(summary.cloze_nats, '.2f')} nats; by frequencies alone "
        f"{summary.unigram_nats:.2f}.",
        x="step",
        y="nats a word",
        series=curve_series(curves, "nats"),
        levels={"frequencies alone": summary.unigram_nats},
    )


def _labels_figure(task: str, scores: Scores, chance: float) -> Lines:
    arms = {arm: runs for (of, arm), runs in scores.items() if of == task}
    least, most = min(arms[SCRATCH]), max(arms[SCRATCH])
    ends = [f"{arm} from {fmean(runs[least]):.2f} to {fmean(runs[most]):.2f}" for arm, runs in arms.items()]
    return Lines(
        id=f"labels-{task}",
        title=f"{TASK_TITLES[task]}: accuracy against labels",
        caption="If pre-training has learned something of use to the task, pre-trained models start higher; with "
        "enough labels, a model from scratch may catch up.",
        alt=f"From {least} to {most:,} labels, accuracy goes, {'; '.join(ends)}.",
        x="labeled sentences",
        y="accuracy",
        log=("x",),
        series=sweep_series(arms),
        levels={"chance": chance},
    )


def _attention_figure(probes: Mapping[str, Any]) -> Heatmap:
    words, weights = probes["attention"]["words"], torch.tensor(probes["attention"]["weights"])
    row = words.index("[MASK]")
    most = int(weights[row].argmax())
    return Heatmap(
        id="attention",
        title="Attention weights of a head in a held-out sentence",
        caption="The sharpest head of the last layer, after masked LM pre-training. The row of `[MASK]` shows which "
        "tokens the masked word is predicted from.",
        alt=f"{len(words)} by {len(words)} tokens. The masked word attends most to {words[most]}, with a weight of "
        f"{float(weights[row, most]):.2f}; {float(weights[row, row + 1 :].sum()):.2f} of its weight is to its right.",
        rows=tuple(words),
        columns=tuple(words),
        values=tuple(map(tuple, weights.tolist())),
    )
