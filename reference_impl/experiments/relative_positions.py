r"""Relative, sinusoidal and learned positions in otherwise the same model, at the training length and at longer ones.

Claims: Relative positions do better than sinusoids (Table 1), and sinusoids in addition gain nothing (Section 4.2); the
    clipping distance hardly matters from k = 2 on (Table 2); the vectors on the keys may be enough (Table 3); the cost
    is 7% of the steps per second (Section 3.3); and clipping lets the model generalize to lengths not seen in training
    (Section 3.2).

Tasks:
    - *Look back*, where distance is enough: predict the symbol five positions before. A model trained on 32 positions
      should solve it at more.
    - *Mirror*, where distance is not enough: predict the symbol that is as far from the end as this one is from the
      beginning. No encoding has to generalize to other lengths here, and clipped distances can't even represent the
      task.
    - *Fill gaps*, on English text: predict the masked characters, 15% of all. The test text is the same at every
      length, with the same characters masked, cut into windows of 32 (the training length) or more. The clipping
      distance, and keys and values separately, are compared on this task.

Arms: they differ in their positions alone. All are small encoders, two pre-norm layers of the Transformer with a
    classifier over symbols at each position. Learned positions do not exist beyond the training length. So that
    something can be measured there, the table is extended by rows that are initialized like the others and never
    trained, as in a table that was made longer in advance. Rows are initialized at the scale of the token embeddings:
    with BERT's 0.02 and embeddings of scale 1 they are not learned in this time.

Budget: within a task all arms train on the same batches for the same number of steps. On text each arm has its own
    learning rate. The run selects it first, from the same few for all arms, by a shorter training under a seed of its
    own, on parts of the training files that no arm trains on. On the synthetic tasks all arms have one learning rate;
    it was chosen by hand, so that every arm that can represent the task learns it. An arm that predicts hardly more
    than the most frequent character, a space, has not learned the task yet, and nothing is judged by it. That happened
    to sinusoids in an earlier run, with windows of 64 and fewer steps at one learning rate for all. So windows, steps
    and the learning rates to choose from were set anew, in a pilot run on the training files alone, under seeds that
    `small` does not use: such that sinusoids get above that level. (In the run after that, one seed of three did not,
    after 500 steps; nor does it after 650, which is as many as there is time for.) A higher learning rate, at which
    they did not, and neither relative nor learned positions did better, was removed.

Measures: accuracy at the training length and at longer ones, and steps per second of an encoder layer of the paper's
    base model. BLEU is not tried.

Stands in: masked docstrings for WMT 2014, and an encoder for an encoder-decoder.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from quaere.content.results import Finding, Heatmap, Lines, Outcome, Report, Table, spread
from quaere.running.experiments import Run
from reference_impl.experiments.arms import train_seeds
from reference_impl.experiments.curves import curve_series, final_values, list_means, select, sweep_series
from reference_impl.experiments.judging import differences, each_seed_above, not_tried, outcome, outcome_above
from reference_impl.experiments.prose import character_ids
from reference_impl.experiments.timing import time_in_turns
from reference_impl.experiments.training import Training, accelerator, count_parameters, device_of
from reference_impl.layers.attention import masked_softmax, scaled_dot_score
from reference_impl.layers.positions import LearnedPositions, sinusoidal_positions
from reference_impl.relative_positions import RelativeMultiHeadAttention
from reference_impl.transformer import EncoderLayer, PreNorm


@dataclass(frozen=True)
class Size:
    """The size of a run.

    Attributes:
        seeds: Models of each arm.
        synthetic_steps, text_steps: Training steps on the synthetic tasks, and on text.
        selection_steps: Training steps on text for the selection of the learning rate.
        learning_rates: The learning rates to select from.
        batch_size: Sequences per step.
        d_model: The width of the model.
        num_files: Files of each package that the text is read from.
        test_characters: Characters of the held-out text.
        timing_repeats: How often a step of each layer is timed, in turns.
        timed_d_model: The width of the timed layer; its feed-forward network is twice as wide.
        timed_lengths: The sequence lengths at which it is timed.
    """

    seeds: int
    synthetic_steps: int
    text_steps: int
    selection_steps: int
    learning_rates: tuple[float, ...]
    batch_size: int
    d_model: int
    num_files: int
    test_characters: int
    timing_repeats: int
    timed_d_model: int
    timed_lengths: tuple[int, ...]


SIZES = {
    "smoke": Size(1, 3, 3, 2, (0.002, 0.005), 4, 16, 10, 1024, 2, 32, (8, 16)),
    "small": Size(3, 200, 650, 200, (0.002, 0.005), 32, 64, 60, 12_288, 8, 512, (32, 128)),
    "full": Size(5, 5000, 100_000, 10_000, (1e-4, 3e-4, 1e-3), 256, 512, 1000, 32_768, 50, 512, (32, 128)),
}


# Arms


@dataclass(frozen=True)
class Arm:
    """A kind of positions: the absolute ones added to the embeddings, and the relative ones on keys and values."""

    name: str
    absolute: str = "nothing"
    k: int = 8
    keys: bool = False
    values: bool = False


RELATIVE = Arm("relative, k = 8", keys=True, values=True)
SINUSOIDS, LEARNED, NONE = Arm("sinusoids", "sinusoids"), Arm("learned", "learned"), Arm("none")
MAIN_ARMS = (RELATIVE, SINUSOIDS, LEARNED, NONE)
"""The arms that are compared on every task."""
BOTH = Arm("relative and sinusoids", "sinusoids", keys=True, values=True)
KEYS_ONLY, VALUES_ONLY = Arm("on keys only", keys=True), Arm("on values only", values=True)
CLIPPING_ARMS = tuple(Arm(f"relative, k = {k}", k=k, keys=True, values=True) for k in (1, 2, 4, 16))


class PartialRelativeAttention(RelativeMultiHeadAttention):
    """Attention with relative positions on keys, values, both or neither; unused tables are removed.

    Args:
        d_model: The width.
        heads: The number of heads, which share the tables.
        arm: Which tables are used, and their clipping distance.
    """

    def __init__(self, d_model: int, heads: int, arm: Arm) -> None:
        super().__init__(d_model, heads, arm.k)
        self.arm = arm
        if not arm.keys:
            del self.key_positions
        if not arm.values:
            del self.value_positions

    def forward(self, x: Float[Tensor, "b n d"], mask: Bool[Tensor, "..."] | None = None) -> Float[Tensor, "b n d"]:
        """Return the output, with or without relative positions on the values."""
        if self.arm.values:
            return super().forward(x, mask)
        heads = self.attention_weights(x, mask) @ self._split(self.value(x))
        return self.output(heads.transpose(1, 2).flatten(2))

    def attention_weights(
        self, x: Float[Tensor, "b n d"], mask: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "b h n n"]:
        """Return the attention weights, with or without relative positions on the keys."""
        if self.arm.keys:
            return super().attention_weights(x, mask)
        scores = scaled_dot_score(self._split(self.query(x)), self._split(self.key(x)))
        return masked_softmax(scores, None if mask is None else mask.unsqueeze(-3))


class SelfAttentionAdapter(nn.Module):
    """Self-attention with the signature of `MultiHeadAttention`: queries, keys and values are the same."""

    def __init__(self, attention: PartialRelativeAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(
        self, query: Float[Tensor, "b n d"], key: Any, value: Any, mask: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "b n d"]:
        """Return the output of self-attention on the query."""
        return self.attention(query, mask)


def build_layer(d_model: int, heads: int, d_ff: int, arm: Arm) -> EncoderLayer:
    """Return an encoder layer with an arm's attention."""
    encoder_layer = EncoderLayer(d_model, heads, d_ff, dropout=0.0, bias=False, residual=PreNorm)
    encoder_layer.self_attention = SelfAttentionAdapter(PartialRelativeAttention(d_model, heads, arm))  # type: ignore[assignment]  # same call
    return encoder_layer


class TokenClassifier(nn.Module):
    """An encoder with a classifier over symbols at each position.

    Args:
        arm: The kind of positions.
        d_model: The width.
        train_length: The number of rows that are trained, if positions are learned.
        max_length: The length of the longest sequence; rows from `train_length` on keep their initial values.
    """

    untrained_rows: Tensor

    def __init__(self, arm: Arm, d_model: int, train_length: int, max_length: int) -> None:
        super().__init__()
        self.arm = arm
        self.embedding = nn.Embedding(VOCAB_SIZE, d_model)
        self.layers = nn.ModuleList(build_layer(d_model, 4, 2 * d_model, arm) for _ in range(2))
        self.norm, self.classifier = PreNorm.final_norm(d_model), nn.Linear(d_model, VOCAB_SIZE)
        if arm.absolute == "learned":
            self.positions = LearnedPositions(train_length, d_model)
            nn.init.normal_(self.positions.table)
            self.register_buffer("untrained_rows", torch.randn(max_length - train_length, d_model))

    def forward(self, symbols: Int[Tensor, "b n"]) -> Float[Tensor, "b n v"]:
        """Return the logits of all symbols at every position."""
        x = self.embedding(symbols)
        if self.arm.absolute != "nothing":
            x = x + self.position_encoding(symbols.shape[1]).to(x)
        for each in self.layers:
            x = each(x)
        return self.classifier(self.norm(x))

    def position_encoding(self, length: int) -> Float[Tensor, "n d"]:
        """Return the positional encoding that is added to the embeddings."""
        if self.arm.absolute == "sinusoids":
            return sinusoidal_positions(length, self.embedding.embedding_dim)
        own = len(self.positions.table)
        return torch.cat([self.positions(min(length, own)), self.untrained_rows[: max(0, length - own)]])


# Tasks and data


@dataclass(frozen=True)
class Task:
    """Sequences, with a target symbol at each position.

    Attributes:
        train_length: The length of the training sequences.
        test_lengths: The lengths of the test sequences.
        arms: The arms that are compared.
        sample_batch: Samples so many sequences of a length, with targets, or `IGNORE_INDEX`.
        test_set: Returns the test sequences of a length, with targets.
    """

    name: str
    train_length: int
    test_lengths: tuple[int, ...]
    arms: tuple[Arm, ...]
    steps: int
    sample_batch: Callable[[int, int, torch.Generator], tuple[Tensor, Tensor]]
    test_set: Callable[[int], tuple[Tensor, Tensor]]


LOOK_BACK, MIRROR, FILL_GAPS = "look back", "mirror", "fill gaps"
MAJORITY = "always a space"
VOCAB_SIZE = 128
"""The number of symbols: all of ASCII, of which the synthetic tasks use 16."""
IGNORE_INDEX = -100
"""The target at positions without a prediction, as in `torch.nn.functional.cross_entropy`."""


def build_tasks(size: Size) -> tuple[Task, ...]:
    """Return the synthetic tasks, the task for selecting learning rates, and the task on text."""
    train, aside = split_validation(character_ids(size.num_files, held_out=False))
    test = character_ids(size.num_files, held_out=True)[: size.test_characters]
    synthetic = (
        Task(name, 32, (32, 48, 64, 128), MAIN_ARMS, size.synthetic_steps, draw, partial(sample_test_set, draw, 8192))
        for name, draw in {LOOK_BACK: sample_look_back, MIRROR: sample_mirror}.items()
    )
    text = Task(
        FILL_GAPS,
        32,
        (32, 64, 128, 256),
        (*MAIN_ARMS, BOTH, KEYS_ONLY, VALUES_ONLY, *CLIPPING_ARMS),
        size.text_steps,
        partial(sample_gaps, train),
        partial(masked_windows, test),
    )
    choice = replace(
        text,
        name="rates",
        test_lengths=(text.train_length,),
        steps=size.selection_steps,
        test_set=partial(masked_windows, aside),
    )
    return *synthetic, choice, text  # fmt: skip


def split_validation(text: Int[Tensor, " n"]) -> tuple[Int[Tensor, " m"], Int[Tensor, " k"]]:
    """Split a text into chunks of 512 characters, and return all but every tenth, and every tenth."""
    stretches = text[: len(text) // 5120 * 5120].view(-1, 10, 512)
    return stretches[:, :-1].flatten(), stretches[:, -1].flatten()


def sample_look_back(count: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Sample symbols, with the symbol five positions before as the target at each position."""
    symbols = torch.randint(16, (count, length), generator=generator)
    return symbols, F.pad(symbols[:, :-5], (5, 0), value=IGNORE_INDEX)


def sample_mirror(count: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Sample symbols, with the reversed sequence as the target."""
    symbols = torch.randint(16, (count, length), generator=generator)
    return symbols, symbols.flip(1)


def sample_test_set(draw: Callable[..., tuple[Tensor, Tensor]], total: int, length: int) -> tuple[Tensor, Tensor]:
    """Sample test sequences with a fixed seed: about as many positions at each length."""
    return draw(max(1, total // length), length, torch.Generator().manual_seed(2**20))


def sample_gaps(text: Tensor, count: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Sample windows of text with 15% of the characters masked, which are the targets."""
    starts = torch.randint(len(text) - length, (count, 1), generator=generator)
    drawn = text[starts + torch.arange(length)]
    return mask_characters(drawn, torch.rand(drawn.shape, generator=generator) < 0.15)


def masked_windows(text: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Split a text into windows; the masked characters are the same at every length."""
    masked = torch.rand(len(text), generator=torch.Generator().manual_seed(2**20)) < 0.15
    whole = len(text) // 512 * 512
    return mask_characters(text[:whole].view(-1, length), masked[:whole].view(-1, length))


def mask_characters(text: Int[Tensor, "b n"], masked: Bool[Tensor, "b n"]) -> tuple[Tensor, Tensor]:
    """Replace masked characters by 0, which no text has, and make them the only targets."""
    return text.masked_fill(masked, 0), text.masked_fill(~masked, IGNORE_INDEX)


def majority_baseline(task: Task) -> float:
    """Return the accuracy of always predicting a test's most frequent masked character; in English, a space."""
    _, right = task.test_set(task.train_length)
    counts = right[right != IGNORE_INDEX].bincount()
    return float(counts.max() / counts.sum())


# Training

SELECTION_SEED = 1000
"""The seed for the selection of learning rates."""
SYNTHETIC_LEARNING_RATE = 0.005
"""The learning rate of all arms on the synthetic tasks."""


def train_arm(run: Run, task: Task, arm: Arm, seeds: Iterable[int], size: Size, learning_rate: float) -> list[Any]:
    """Train an arm on a task with each seed; return the results of `build_training`."""
    training = build_training(task, arm, size, learning_rate)
    return train_seeds(run, f"{task.name}, {arm.name}, rate {learning_rate:g}", training, seeds)


def build_training(task: Task, arm: Arm, size: Size, learning_rate: float) -> Training:
    """Return an arm's training; it ends with the accuracies by length, and the relative keys of layer 1."""

    def right(model: nn.Module, *lengths: int) -> dict[str, float]:
        return {str(length): accuracy(model, *task.test_set(length)) for length in lengths}

    def ending(model: TokenClassifier) -> dict[str, Any]:
        tables = [weight for name, weight in model.named_parameters() if name.endswith("key_positions.table")]
        return {"right": right(model, *task.test_lengths), "table": tables[0][0].tolist() if tables else []}

    return Training(
        model=lambda: TokenClassifier(arm, size.d_model, task.train_length, max(task.test_lengths)),
        loss=compute_loss,
        batch=partial(task.sample_batch, size.batch_size, task.train_length),
        steps=task.steps,
        optimizer=lambda model: torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0),
        clip=1.0,
        measure=lambda model: right(model, task.train_length),
        every=max(1, task.steps // 6) if task.name == FILL_GAPS else 0,
        ending=ending,
    )


def select_learning_rate(run: Run, task: Task, arm: Arm, size: Size) -> float:
    """Return the learning rate with which an arm has the highest accuracy on the validation text."""
    at_end = {
        rate: train_arm(run, task, arm, [SELECTION_SEED], size, rate)[0]["right"][str(task.train_length)]
        for rate in size.learning_rates
    }
    return max(at_end, key=at_end.__getitem__)


def compute_loss(model: nn.Module, symbols: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of the cross-entropy over all targets, and the number of targets."""
    loss = F.cross_entropy(model(symbols).flatten(0, 1), right.flatten(), ignore_index=IGNORE_INDEX, reduction="sum")
    return loss, (right != IGNORE_INDEX).sum()


# Measures


@torch.no_grad()
def accuracy(model: nn.Module, symbols: Tensor, right: Tensor) -> float:
    """Return the accuracy over all targets, computed on some sequences at a time."""
    parts = [
        model(part.to(device_of(model))).argmax(dim=-1).cpu()
        for part in torch.split(symbols, max(1, 2048 // symbols.shape[1]))
    ]
    return float((torch.cat(parts) == right)[right != IGNORE_INDEX].float().mean())


FUSED, PLAIN = "torch's fused attention", "attention written out"


def measure_speed(size: Size, device: str) -> dict[str, dict[str, list[float]]]:
    """Return the steps per second of a layer of the base model by length, with and without relative positions."""
    return {str(length): measure_speed_at(length, size, device) for length in size.timed_lengths}


def measure_speed_at(length: int, size: Size, device: str) -> dict[str, list[float]]:
    """Return the steps per second of each layer at one length, timed in turns."""
    torch.manual_seed(0)
    relative = Arm("relative", k=16, keys=True, values=True)
    layers = {
        PLAIN: build_layer(size.timed_d_model, 8, 2 * size.timed_d_model, NONE),
        relative.name: build_layer(size.timed_d_model, 8, 2 * size.timed_d_model, relative),
        FUSED: EncoderLayer(size.timed_d_model, 8, 2 * size.timed_d_model, dropout=0.0, bias=False, residual=PreNorm),
    }
    x = torch.randn(32, length, size.timed_d_model, device=device)

    def build_step(layer: nn.Module) -> Callable[[Tensor], None]:
        adam = torch.optim.Adam(layer.to(device).parameters(), lr=1e-4)

        def step(x: Tensor) -> None:
            adam.zero_grad()
            layer(x).square().mean().backward()
            adam.step()

        return step

    steps = {name: build_step(layer) for name, layer in layers.items()}
    seconds = time_in_turns(steps, [x] * (size.timing_repeats + 1), device)
    return {name: [1 / each for each in taken] for name, taken in seconds.items()}


# Claims

AccuracyByLength = Mapping[str, Sequence[Mapping[str, float]]]
"""For each arm and seed, the accuracies by length."""
Accuracy = Mapping[str, Sequence[float]]
"""For each arm and seed, the accuracy at the training length."""
MIN_GAIN = 0.05
"""By how much an arm must beat the majority baseline, in every seed, for anything to be judged by it."""


def judge_lengths(tasks: Mapping[str, AccuracyByLength]) -> Finding:
    """Judge whether relative positions keep their accuracy beyond the training length."""
    learned, kept, said = [], [], []
    for task, arms in tasks.items():
        lengths = sorted(map(int, arms[RELATIVE.name][0]))
        ends = {
            arm: [[each[str(length)] for each in arms[arm]] for length in (lengths[0], lengths[-1])] for arm in arms
        }
        here, there = ends[RELATIVE.name]
        # What was never learned can't be lost.
        learned.append(each_seed_above(here, ends[NONE.name][0], MIN_GAIN))
        kept.append(each_seed_above(there, here, -0.02))
        summary = ", ".join(
            f"{arm} {spread(ends[arm][0])} then {spread(ends[arm][1])}"
            for arm in (RELATIVE.name, SINUSOIDS.name, LEARNED.name)
        )
        said.append(f"{task}, {lengths[0]} then {lengths[-1]} positions: {summary}")
    measured = f"Accuracy; {'; '.join(said)}."
    judged = (
        f"Judged only if in both, relative positions are more than {MIN_GAIN} ahead of no positions at the training "
        "length in every seed."
    )
    if not all(learned):
        return not_tried({"unseen-lengths": f"{judged} It is not so. {measured}"})[0]
    return Finding(
        claim="unseen-lengths",
        outcome=outcome(all(kept), any(kept)),
        measured=measured,
        why=(
            "Reproduced if in every seed relative positions lose less than 0.02 of accuracy from the training length "
            f"to the longest, both in looking back and in filling gaps; partly if in one of the two. {judged}"
        ),
    )


def judge_against_sinusoids(here: Mapping[str, Accuracy], baseline: float) -> Finding:
    """Judge whether relative positions do better than sinusoids on text."""
    relative, sinusoids = (here[FILL_GAPS][arm.name] for arm in (RELATIVE, SINUSOIDS))
    synthetic = "; ".join(
        f"{task} {spread(here[task][RELATIVE.name])} and {spread(here[task][SINUSOIDS.name])}"
        for task in (LOOK_BACK, MIRROR)
    )
    return judge_on_text(
        "beats-sinusoids",
        {"relative positions": relative, "sinusoids": sinusoids},
        baseline,
        outcome_above(relative, sinusoids),
        measured=(
            f"Masked characters predicted at the training length: {spread(relative)} with relative positions, "
            f"{spread(sinusoids)} with sinusoids; always a space {baseline:.3f}. In the same order, on the synthetic "
            f"tasks: {synthetic}."
        ),
        why=(
            "Reproduced if every run with relative positions predicts more than every run with sinusoids, after the "
            "same steps, each at its own learning rate; partly if each does so within its seed only. The claim is "
            "about language: the synthetic tasks don't count, each of which suits one kind of positions or both. The "
            "training is short: what is ahead early needn't be so in the end."
        ),
    )


def judge_both(both: Sequence[float], relative: Sequence[float], baseline: float) -> Finding:
    """Judge whether sinusoids in addition to relative positions give no gain."""
    gains = differences(both, relative)
    return judge_on_text(
        "no-gain-from-both",
        {"both": both, "relative positions alone": relative},
        baseline,
        judge_margins([MAX_GAIN - gain for gain in gains]),
        measured=(
            f"Masked characters predicted: {spread(both)} with both, {spread(relative)} with relative ones alone; "
            f"always a space {baseline:.3f}. Sinusoids in addition add {spread(gains, '+.3f')}."
        ),
        why=(
            f"Reproduced if in every seed sinusoids in addition add at most {MAX_GAIN} of accuracy; partly if on the "
            "mean, or in most seeds."
        ),
    )


def judge_clipping(by_distance: Mapping[int, Sequence[float]], baseline: float) -> Finding:
    """Judge whether from k = 2 on each clipping distance has nearly the gain of the best."""
    far = {k: right for k, right in by_distance.items() if k >= 2}
    best, worst = (pick(far, key=lambda k: fmean(far[k])) for pick in (max, min))
    two, least = (gain_shares(far[k], far[best], by_distance[0], baseline) for k in (2, worst))
    return judge_on_text(
        "clipping-hardly-matters",
        {f"k = {best}, the best": far[best]},
        baseline,
        judge_margins([share - MIN_SHARE for share in least]),
        measured=(
            "Masked characters predicted, "
            + "; ".join(f"k = {k}: {spread(by_distance[k])}" for k in sorted(by_distance))
            + f"; always a space {baseline:.3f}. Of what the best, k = {best}, gains over {BASELINE}, k = 2 gains "
            f"{spread(two, '.0%')} and k = {worst}, the worst from 2 on, {spread(least, '.0%')}. "
            + describe_no_positions(by_distance[0], baseline)
        ),
        why=(
            f"{SHARE_RULE.format('the distance that is worst from k = 2 on gains', 'the best gains')} Best and worst "
            "are those by the mean. In the paper's table it is 99%."
        ),
    )


def judge_parts(here: Accuracy, baseline: float) -> Finding:
    """Judge whether relative positions on the keys alone have nearly the gain of both."""
    both, keys, values, neither = (here[arm.name] for arm in (RELATIVE, KEYS_ONLY, VALUES_ONLY, NONE))
    of_keys, of_values = (gain_shares(part, both, neither, baseline) for part in (keys, values))
    return judge_on_text(
        "keys-suffice",
        {"both": both},
        baseline,
        judge_margins([share - MIN_SHARE for share in of_keys]),
        measured=(
            f"Masked characters predicted: both {spread(both)}; keys only {spread(keys)}; values only "
            f"{spread(values)}; neither {spread(neither)}; always a space {baseline:.3f}. Of what both gain over "
            f"{BASELINE}, keys alone gain {spread(of_keys, '.0%')}, values alone {spread(of_values, '.0%')}. "
            f"{describe_no_positions(neither, baseline)}"
        ),
        why=SHARE_RULE.format("keys alone gain", "both gain"),
    )


MAX_GAIN, MIN_SHARE = 0.005, 0.95
BASELINE = "no positions or always a space, whichever is more"
SHARE_RULE = (
    f"Reproduced if in every seed {{0}} at least {MIN_SHARE:.0%} of what {{1}} over {BASELINE}; partly if on the "
    "mean, or in most seeds."
)


def judge_on_text(claim: str, needed: Accuracy, baseline: float, found: Outcome, measured: str, why: str) -> Finding:
    """Return a finding on text, or that it is not tried if an arm that it needs is not above the baseline."""
    if all(each_seed_above(right, [baseline] * len(right), MIN_GAIN) for right in needed.values()):
        return Finding(
            claim=claim, outcome=found, measured=measured, why=f"{why} {PRECONDITION.format(' and '.join(needed))}"
        )
    summary = ", ".join(f"{spread(right)} with {arm}" for arm, right in needed.items())
    why = f"{PRECONDITION.format(' and '.join(needed))} It is not so: {summary}; always a space {baseline:.3f}."
    return not_tried({claim: why})[0]


PRECONDITION = (
    f"Judged only if in every seed more than {MIN_GAIN} more is predicted than by always answering a space, with {{}}."
)


def gain_shares(
    part: Sequence[float], whole: Sequence[float], without: Sequence[float], baseline: float
) -> list[float]:
    """Return, for each seed, the share of the gain of `whole` over no positions or the baseline that `part` has."""
    zeros = [max(baseline, right) for right in without]
    return [
        (one - zero) / (all_of_it - zero) if all_of_it > zero else 0.0
        for one, all_of_it, zero in zip(part, whole, zeros, strict=True)
    ]


def describe_no_positions(right: Sequence[float], baseline: float) -> str:
    """Describe the accuracy without positions, from which gains are counted."""
    stay = max(right) - baseline <= MIN_GAIN
    return (
        f"No positions stay within {MIN_GAIN} of always a space: they give all gaps of a window one answer, however "
        "long they train."
        if stay
        else f"No positions come more than {MIN_GAIN} above always a space in some seeds."
    )


def judge_margins(margins: Sequence[float]) -> Outcome:
    """Judge whether all seeds are above a threshold, or at least their mean or most of them."""
    passed = sum(margin >= 0 for margin in margins)
    return outcome(passed == len(margins), fmean(margins) >= 0 or passed > len(margins) / 2)


def judge_speed(speeds: Mapping[str, Mapping[str, Sequence[float]]]) -> Finding:
    """Judge the slowdown by relative positions: the median over pairs of steps timed in turns."""
    lost = {
        length: {other: 1 - float(np.median(np.divide(of["relative"], of[other]))) for other in (PLAIN, FUSED)}
        for length, of in speeds.items()
    }
    most = max(of[PLAIN] for of in lost.values())
    summary = "; ".join(f"at {length} positions {of[PLAIN]:.0%} and {of[FUSED]:.0%}" for length, of in lost.items())
    return Finding(
        claim="small-slowdown",
        outcome=outcome(most <= 0.1, most <= 0.25),
        measured=(
            "Fewer steps per second than with the same attention without relative positions, and than with torch's "
            f"fused kernel, which did not exist then and does not support relative positions: {summary}."
        ),
        why=(
            "Reproduced if at every length that is timed it takes away at most 10% of the steps per second of an "
            "encoder layer of the base model's shape (k = 16) with the same attention written out; partly if at most "
            "25%. On the machine that is named."
        ),
    )


NOT_TRIED = not_tried(
    {
        "better-than-absolute": "BLEU on newstest2014 needs WMT 2014 and eight GPUs; `beats-sinusoids` compares at our "
        "size."
    }
)


# Report


def experiment(run: Run) -> Report:
    """Train every arm on its tasks, time the steps, and judge the claims."""
    size = SIZES[run.size]
    *synthetic, choice, text = build_tasks(size)
    seeds = run.seeds(size.seeds)
    tried = len(size.learning_rates) * len(choice.arms)
    run.expect(tried + len(seeds) * sum(len(task.arms) for task in (*synthetic, text)) + 1)
    rates = {task.name: dict.fromkeys((arm.name for arm in task.arms), SYNTHETIC_LEARNING_RATE) for task in synthetic}
    rates[text.name] = {arm.name: select_learning_rate(run, choice, arm, size) for arm in text.arms}
    found = {
        task.name: {arm.name: train_arm(run, task, arm, seeds, size, rates[task.name][arm.name]) for arm in task.arms}
        for task in (*synthetic, text)
    }
    right = {task: select(arms, "right") for task, arms in found.items()}
    speeds = run.piece("steps per second", partial(measure_speed, size, str(accelerator(run.device).device)))
    baseline = majority_baseline(text)
    here = {task.name: select(right[task.name], str(task.train_length)) for task in (*synthetic, text)}
    filled = here[FILL_GAPS]
    by_distance = {0: filled[NONE.name]} | {arm.k: filled[arm.name] for arm in (*CLIPPING_ARMS, RELATIVE)}
    return Report(
        findings=(
            judge_lengths({name: right[name] for name in (LOOK_BACK, FILL_GAPS)}),
            judge_against_sinusoids(here, baseline),
            judge_both(filled[BOTH.name], filled[RELATIVE.name], baseline),
            judge_clipping(by_distance, baseline),
            judge_parts(filled, baseline),
            judge_speed(speeds),
            *NOT_TRIED,
        ),
        tables=(
            arm_table((*synthetic, text), right, rates, size, baseline),
            speed_table(speeds),
        ),
        figures=(
            *(length_figure(task, right[task.name], 1 / 16) for task in synthetic),
            length_figure(text, right[FILL_GAPS], baseline),
            learning_figure(found[FILL_GAPS], baseline),
            clipping_figure(filled, baseline),
            similarity_figure(found[FILL_GAPS][RELATIVE.name][0]["table"]),
        ),
        seeds=tuple(seeds),
        settings=asdict(size),
        notes=(
            "Learned positions beyond the training length are rows that were initialized and never trained. With k = 0 "
            "all pairs share one vector, which has no effect: the arm without positions stands for it. That arm "
            "predicts the same for all gaps of a window, and can hardly do better than the majority baseline, always "
            f"a space, which is right for {baseline:.3f} of the masked characters of the test. "
            "All of this is early in training, where what is easy to learn counts most. "
            f"*Mirror* shows what relative positions can't represent. {describe_mirror(here[MIRROR])}"
        ),
    )  # fmt: skip


def describe_mirror(here: Accuracy) -> str:
    """Describe the accuracy of each arm on the mirror task at the training length."""
    summary = (f"{spread(here[arm.name])} with {arm.name}" for arm in MAIN_ARMS)
    return f"At the training length accuracy is {', '.join(summary)}."


def arm_table(
    tasks: Sequence[Task],
    right: Mapping[str, AccuracyByLength],
    rates: Mapping[str, Mapping[str, float]],
    size: Size,
    baseline: float,
) -> Table:
    """Return each arm's parameters, learning rate, and accuracy at the training length and at the longest one."""
    rows = []
    for task in tasks:
        for arm in task.arms:
            count = count_parameters(TokenClassifier(arm, size.d_model, task.train_length, max(task.test_lengths)))
            ends: list[Any] = [
                spread([each[str(length)] for each in right[task.name][arm.name]])
                for length in (task.train_length, max(task.test_lengths))
            ]
            rows.append((task.name, arm.name, count, rates[task.name][arm.name], task.steps, *ends))
    lengths = "; ".join(f"{task.name} {task.train_length} and {max(task.test_lengths)}" for task in tasks)
    return Table(
        title="Accuracy: mean (lowest to highest seed)",
        columns=("task", "positions", "parameters", "rate", "steps", "at the training length", "at the longest"),
        rows=tuple(rows),
        note=(
            f"Training length and longest length: {lengths}. Chance is 1/16 in the synthetic tasks; in filling gaps, "
            f"always a space is right in {baseline:.3f}."
        ),
    )  # fmt: skip


def speed_table(speeds: Mapping[str, Mapping[str, Sequence[float]]]) -> Table:
    """Return the steps per second."""
    rows = tuple(
        (int(length), name, float(np.median(each)), min(each), max(each))
        for length, of in speeds.items()
        for name, each in of.items()
    )
    columns = ("length", "attention", "steps per second, median", "lowest", "highest")
    return Table(title="Steps per second of one layer of the base model's shape", columns=columns, rows=rows)


def length_figure(task: Task, right: AccuracyByLength, known: float) -> Lines:
    """Return accuracy against test length, with the accuracy of a baseline as a level."""
    sweeps = {
        arm.name: {length: [each[str(length)] for each in right[arm.name]] for length in task.test_lengths}
        for arm in MAIN_ARMS
    }
    shortest, longest = task.test_lengths[0], task.test_lengths[-1]
    summary = "; ".join(
        f"{name} {fmean(sweep[shortest]):.2f} to {fmean(sweep[longest]):.2f}" for name, sweep in sweeps.items()
    )
    return Lines(
        id=f"lengths-{task.name.replace(' ', '-')}",
        title=f"Accuracy beyond the training length: {task.name}",
        caption=(
            f"The leftmost point, {task.train_length} positions, is the training length; all others are longer than "
            f"anything seen in training. Bands span the seeds."
        ),
        alt=f"Mean accuracy from {shortest} to {longest} positions: {summary}.",
        x=f"length that is tested (positions; trained: {task.train_length})",
        y="accuracy",
        log=("x",),
        series=sweep_series(sweeps),
        levels={MAJORITY if task.name == FILL_GAPS else "chance": known},
    )


def learning_figure(found: Mapping[str, Sequence[Any]], baseline: float) -> Lines:
    """Return accuracy at the training length against the training step."""
    *_, train_length = found[RELATIVE.name][0]["curve"][0]
    shown = (arm.name for arm in (*MAIN_ARMS, KEYS_ONLY, VALUES_ONLY))
    curves = select({name: found[name] for name in shown}, "curve")
    ends = list_means(final_values(curves, train_length), ".3f")
    return Lines(
        id="learning",
        title="Accuracy while learning to fill gaps",
        caption=f"On the test, {train_length} positions. When does each arm get above the level of always a space?",
        alt=f"Always a space is right in {baseline:.3f}; mean accuracy after the last step: {ends}.",
        x="step",
        y="masked characters predicted",
        series=curve_series(curves, train_length),
        levels={MAJORITY: baseline},
    )


def clipping_figure(here: Accuracy, baseline: float) -> Lines:
    """Return accuracy against the clipping distance, with sinusoids as a level."""
    by_distance = {arm.k: here[arm.name] for arm in sorted((*CLIPPING_ARMS, RELATIVE), key=lambda arm: arm.k)}
    levels = {arm.name: float(np.mean(here[arm.name])) for arm in (SINUSOIDS, NONE)} | {MAJORITY: baseline}
    return Lines(
        id="clipping-distance",
        title="Accuracy against the clipping distance",
        caption="Filling gaps, at the training length. From where on is the curve flat? The band spans the seeds.",
        alt="Mean accuracy: " + ", ".join(f"k = {k} {np.mean(right):.3f}" for k, right in by_distance.items()) + ".",
        x="clipping distance k",
        y="masked characters predicted",
        log=("x",),
        series=sweep_series({"relative": by_distance}),
        levels=levels,
    )


def similarity_figure(table: Sequence[Sequence[float]]) -> Heatmap:
    """Return the cosine similarities of the learned vectors of all distances."""
    vectors = np.array(table)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    k = len(table) // 2
    names = tuple(f"{distance:+d}" if distance else "0" for distance in range(-k, k + 1))
    near, opposite = float(np.diag(cosines, 1).mean()), float(np.diag(cosines[:, ::-1]).mean())
    return Heatmap(
        id="similarity-of-distances",
        title="Similarity of the vectors of two distances",
        caption=(
            "Cosines of the learned vectors on the keys, first layer, first seed of filling gaps. Minus is to the "
            "left; the outermost stand for all that is further off."
        ),
        alt=(
            f"A matrix of {2 * k + 1} distances. Neighboring distances have a mean cosine of {near:.2f}; a distance "
            f"and its opposite, the middle included, {opposite:.2f}."
        ),
        x="distance",
        y="distance",
        rows=names,
        columns=names,
        values=tuple(map(tuple, cosines.round(3).tolist())),
    )
