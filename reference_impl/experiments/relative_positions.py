r"""Relative and sinusoidal positions in otherwise the same model, with rotary positions and linear biases beside them.

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
    - *Fill gaps*, on English text in lower case: all vowels are hidden, and are to be predicted. The test text is the
      same at every length, cut into windows of 16 (the training length) or more. The clipping distance, and vectors
      on the keys alone, are compared on this task.

Arms: they differ in their positions alone. All are small encoders, two pre-norm layers of the Transformer with a
    classifier over symbols at each position. Rotary positions (RoPE) and linear biases (ALiBi, in its symmetric variant
    for an encoder) are later encodings, and no claim is judged by them.

Budget: every arm trains until its accuracy on validation data stops improving, on the same batches. The learning rate
    is selected on validation data, under a seed that no arm is trained with: on text for relative positions, sinusoids,
    rotary positions and linear biases, each for itself. The other arms are variants of relative positions and take
    theirs. On the synthetic tasks all arms have one learning rate, chosen by hand, so that every arm that can represent
    the task learns it. With a quarter of the text, accuracy was still rising after as many steps as there is time for.
    So the models train on a sixteenth of it at `small`, and stop where more training only fits that part.

Measures: accuracy at the training length and at longer ones; steps per second, and FLOPs, of a layer of the paper's
    base model. BLEU is not tried.

Gates: an arm that a claim is about predicts more than the most frequent vowel by a margin, in every seed; all such arms
    have converged; learning rates are tuned; three seeds; and steps per second are those of a GPU.

Rules: an earlier task, 15% of all characters hidden, was replaced since sinusoids did not learn it in ten minutes. The
    hidden vowels, the window, the share of the text, the steps and the learning rates to choose from were set in pilot
    runs of relative positions and sinusoids under seeds that `small` does not use, such that both learn and converge;
    their accuracy on the test was seen there. In a first run the highest rate, 0.01, was the best for relative
    positions, and k = 2 still improved; since then a higher one is tried, and there are more steps. Learned absolute
    positions are no longer an arm, since no claim is about them, nor are vectors on the values alone.

Stands in: docstrings without vowels for WMT 2014, and an encoder for an encoder-decoder.
"""

import math
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
from torch.utils.flop_counter import FlopCounterMode

from quaere.content.results import Finding, Gate, Lines, Report, Table, spread
from quaere.running.experiments import Run
from reference_impl.experiments.arms import train_seeds
from reference_impl.experiments.cost import is_gpu
from reference_impl.experiments.curves import Curve, has_plateaued, list_spreads, select, sweep_series
from reference_impl.experiments.judging import (
    all_runs_above,
    converged,
    differences,
    each_seed_above,
    enough_seeds,
    gate,
    judge,
    learned,
    no_experiment,
    quantity,
    tuned,
)
from reference_impl.experiments.prose import character_ids, split_validation
from reference_impl.experiments.timing import time_in_turns
from reference_impl.experiments.training import Training, accelerator, count_parameters, device_of
from reference_impl.layers.attention import masked_softmax
from reference_impl.layers.positions import alibi_bias, apply_rotary_positions, sinusoidal_positions
from reference_impl.relative_positions import RelativeMultiHeadAttention, relative_scores, relative_values
from reference_impl.transformer import EncoderLayer, PreNorm


@dataclass(frozen=True)
class Size:
    """The size of a run.

    Attributes:
        seeds: Models of each arm.
        synthetic_steps, text_steps: Training steps on the synthetic tasks, and on text, at most.
        selection_steps: Training steps on text for the selection of the learning rate.
        every: Steps between two measurements, at most.
        learning_rates: The learning rates to select from.
        batch_positions: Positions per step, in sequences of the training length.
        d_model: The width of the model.
        num_files: Files of each package that the text is read from.
        keep_every: Of the training text, keep each chunk of 512 characters whose number is a multiple of this.
        test_characters: Characters of the held-out text.
        timing_repeats: How often a step of each layer is timed, in turns.
        timed_d_model: The width of the timed layer; its feed-forward network is twice as wide.
    """

    seeds: int
    synthetic_steps: int
    text_steps: int
    selection_steps: int
    every: int
    learning_rates: tuple[float, ...]
    batch_positions: int
    d_model: int
    num_files: int
    keep_every: int
    test_characters: int
    timing_repeats: int
    timed_d_model: int


RATES = (0.0003, 0.001, 0.003, 0.01)
SIZES = {
    "smoke": Size(1, 3, 3, 2, 1, (0.002, 0.005), 128, 16, 10, 1, 1024, 2, 32),
    "small": Size(3, 400, 3000, 300, 50, (*RATES[1:], 0.03), 1024, 64, 60, 16, 24_576, 8, 512),
    "gpu": Size(3, 1000, 4000, 600, 100, RATES, 4096, 128, 60, 4, 24_576, 50, 512),
    "full": Size(5, 5000, 100_000, 10_000, 1000, (1e-5, 3e-5, 1e-4, *RATES), 16_384, 512, 1000, 1, 65_536, 50, 512),
}
TIMED_LENGTHS = (32, 128)
"""The sequence lengths at which a layer is timed."""
PATIENCE = 6
"""The number of last measurements none of which is better, when training ends."""


# Arms


@dataclass(frozen=True)
class Arm:
    """A kind of positions.

    Attributes:
        k: The clipping distance.
        keys, values: Whether relative positions are added to the keys, and to the values.
        sinusoids: Whether sinusoids are added to the embeddings.
        rotary: Whether queries and keys are rotated.
        biases: Whether linear biases are added to the scores.
    """

    name: str
    k: int = 8
    keys: bool = False
    values: bool = False
    sinusoids: bool = False
    rotary: bool = False
    biases: bool = False


RELATIVE = Arm("relative, k = 8", keys=True, values=True)
SINUSOIDS, NONE = Arm("sinusoids", sinusoids=True), Arm("none")
ROTARY, BIASES = Arm("rotary (RoPE)", rotary=True), Arm("linear biases (ALiBi)", biases=True)
MAIN_ARMS = (RELATIVE, SINUSOIDS, ROTARY, BIASES, NONE)
"""The arms that are compared on every task."""
TUNED_ARMS = MAIN_ARMS[:4]
"""The arms with a learning rate of their own on text."""
BOTH = Arm("relative and sinusoids", keys=True, values=True, sinusoids=True)
KEYS_ONLY = Arm("on keys only", keys=True)
CLIPPING_ARMS = tuple(Arm(f"relative, k = {k}", k=k, keys=True, values=True) for k in (1, 2, 16))
UNCLIPPED = CLIPPING_ARMS[-1]
"""Relative positions without clipping at the training length of text: the outermost vectors are never trained."""


class PositionalAttention(RelativeMultiHeadAttention):
    """Self-attention with an arm's positions, and the signature of `MultiHeadAttention`; unused tables are removed.

    Args:
        d_model: The width.
        heads: The number of heads, which share the tables.
        arm: The kind of positions.
    """

    def __init__(self, d_model: int, heads: int, arm: Arm) -> None:
        super().__init__(d_model, heads, arm.k)
        self.arm = arm
        if not arm.keys:
            del self.key_positions
        if not arm.values:
            del self.value_positions

    def forward(  # type: ignore[override]  # queries, keys and values are the same
        self, x: Float[Tensor, "b n d"], key: Any, value: Any, mask: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "b n d"]:
        """Return the output of self-attention."""
        weights = self.attention_weights(x, mask)  # (b, h, n, n)
        heads = weights @ self._split(self.value(x))  # (b, h, n, d_z)
        if self.arm.values:
            heads = heads + relative_values(weights, self.value_positions(x.shape[1]))
        return self.output(heads.transpose(1, 2).flatten(2))  # (b, n, d)

    def attention_weights(
        self, x: Float[Tensor, "b n d"], mask: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "b h n n"]:
        """Return the attention weights of all heads."""
        n = x.shape[1]
        query, key = self._split(self.query(x)), self._split(self.key(x))  # (b, h, n, d_z)
        if self.arm.rotary:
            query, key = (apply_rotary_positions(part, torch.arange(n, device=x.device)) for part in (query, key))
        scores = query @ key.mT  # (b, h, n, n)
        if self.arm.keys:
            scores = scores + relative_scores(query, self.key_positions(n))
        scores = scores / math.sqrt(query.shape[-1])
        if self.arm.biases:
            scores = scores + alibi_bias(self.heads, n, x.device)
        return masked_softmax(scores, None if mask is None else mask.unsqueeze(-3))


def build_layer(d_model: int, heads: int, d_ff: int, arm: Arm) -> EncoderLayer:
    """Return an encoder layer with an arm's attention."""
    encoder_layer = EncoderLayer(d_model, heads, d_ff, dropout=0.0, bias=False, residual=PreNorm)
    encoder_layer.self_attention = PositionalAttention(d_model, heads, arm)  # type: ignore[assignment]  # same call
    return encoder_layer


class TokenClassifier(nn.Module):
    """An encoder with a classifier over symbols at each position.

    Args:
        arm: The kind of positions.
        d_model: The width.
    """

    def __init__(self, arm: Arm, d_model: int) -> None:
        super().__init__()
        self.arm = arm
        self.embedding = nn.Embedding(VOCAB_SIZE, d_model)
        self.layers = nn.ModuleList(build_layer(d_model, 4, 2 * d_model, arm) for _ in range(2))
        self.norm, self.classifier = PreNorm.final_norm(d_model), nn.Linear(d_model, VOCAB_SIZE)

    def forward(self, symbols: Int[Tensor, "b n"]) -> Float[Tensor, "b n v"]:
        """Return the logits of all symbols at every position."""
        x = self.embedding(symbols)
        if self.arm.sinusoids:
            x = x + sinusoidal_positions(symbols.shape[1], x.shape[-1]).to(x)
        for each in self.layers:
            x = each(x)
        return self.classifier(self.norm(x))


# Tasks and data


@dataclass(frozen=True)
class Task:
    """Sequences, with a target symbol at each position.

    Attributes:
        data: What they are, in a few words.
        train_length: The length of the training sequences.
        test_lengths: The lengths of the test sequences.
        arms: The arms that are compared.
        steps: Training steps, at most.
        sample_batch: Samples so many sequences of a length, with targets, or `IGNORE_INDEX`.
        validation: The validation sequences of the training length, with targets.
        test_set: Returns the test sequences of a length, with targets.
    """

    name: str
    data: str
    train_length: int
    test_lengths: tuple[int, ...]
    arms: tuple[Arm, ...]
    steps: int
    sample_batch: Callable[[int, int, torch.Generator], tuple[Tensor, Tensor]]
    validation: tuple[Tensor, Tensor]
    test_set: Callable[[int], tuple[Tensor, Tensor]]


LOOK_BACK, MIRROR, FILL_GAPS = "look back", "mirror", "fill gaps"
MAJORITY = "the most frequent vowel"
VOCAB_SIZE = 128
"""The number of symbols: all of ASCII, of which the synthetic tasks use 16."""
IGNORE_INDEX = -100
"""The target at positions without a prediction, as in `torch.nn.functional.cross_entropy`."""
VOWELS = torch.tensor([chr(code) in "aeiou" for code in range(VOCAB_SIZE)])


def build_tasks(size: Size) -> tuple[Task, Task, Task]:
    """Return the two synthetic tasks and the task on text."""
    train, validation = split_validation(lower_case(character_ids(size.num_files, held_out=False)), size.keep_every)
    test = lower_case(character_ids(size.num_files, held_out=True)[: size.test_characters])
    look_back, mirror = (
        Task(
            name, "16 symbols at random", 32, (32, 48, 64, 128), MAIN_ARMS, size.synthetic_steps, draw,
            draw(128, 32, torch.Generator().manual_seed(2**20 + 1)), partial(sample_test_set, draw, 8192),
        )
        for name, draw in {LOOK_BACK: sample_look_back, MIRROR: sample_mirror}.items()
    )  # fmt: skip
    text_arms = (*MAIN_ARMS, BOTH, KEYS_ONLY, *CLIPPING_ARMS)
    text = Task(
        FILL_GAPS, f"{len(train):,} characters of English", 16, (16, 32, 64, 128), text_arms, size.text_steps,
        partial(sample_gaps, train), windows_with_gaps(validation[:12_288], 16), partial(windows_with_gaps, test),
    )  # fmt: skip
    return look_back, mirror, text


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


def lower_case(text: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Return ASCII codes with all letters in lower case."""
    return torch.where((text >= ord("A")) & (text <= ord("Z")), text + 32, text)


def sample_gaps(text: Tensor, count: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Sample windows of text with all vowels hidden, which are the targets."""
    starts = torch.randint(len(text) - length, (count, 1), generator=generator)
    return hide_vowels(text[starts + torch.arange(length)])


def windows_with_gaps(text: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Split a text into windows with all vowels hidden; the text is the same at every length that divides 512."""
    return hide_vowels(text[: len(text) // 512 * 512].view(-1, length))


def hide_vowels(text: Int[Tensor, "b n"]) -> tuple[Tensor, Tensor]:
    """Replace vowels by 0, which no text has, and make them the only targets."""
    return text.masked_fill(VOWELS[text], 0), text.masked_fill(~VOWELS[text], IGNORE_INDEX)


def majority_baseline(task: Task) -> float:
    """Return the accuracy of always predicting a test's most frequent target."""
    _, right = task.test_set(task.train_length)
    counts = right[right != IGNORE_INDEX].bincount()
    return float(counts.max() / counts.sum())


# Training

SELECTION_SEED = 1000
"""The seed for the selection of learning rates."""
SYNTHETIC_LEARNING_RATE = 0.005
"""The learning rate of all arms on the synthetic tasks."""


def build_training(task: Task, arm: Arm, size: Size, learning_rate: float) -> Training:
    """Return an arm's training until it stops improving; it ends with the accuracies on the test by length."""
    return Training(
        model=lambda: TokenClassifier(arm, size.d_model),
        loss=compute_loss,
        batch=partial(task.sample_batch, size.batch_positions // task.train_length, task.train_length),
        steps=task.steps,
        optimizer=lambda model: torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0),
        clip=1.0,
        measure=lambda model: {"validation": accuracy(model, *task.validation)},
        every=max(1, min(size.every, task.steps // 16)),
        stop=partial(has_plateaued, measure="validation", patience=PATIENCE),
        ending=lambda model: {
            "right": {str(length): accuracy(model, *task.test_set(length)) for length in task.test_lengths}
        },
    )


def train_arm(run: Run, task: Task, arm: Arm, seeds: Iterable[int], size: Size, learning_rate: float) -> list[Any]:
    """Train an arm on a task with each seed; return the results of `build_training`."""
    training = build_training(task, arm, size, learning_rate)
    return train_seeds(run, f"{task.name}, {arm.name}, rate {learning_rate:g}", training, seeds)


def select_learning_rates(run: Run, task: Task, size: Size) -> dict[str, float]:
    """Return the learning rate of each arm on text: that with the highest accuracy on the validation text."""
    task = replace(task, steps=size.selection_steps, test_lengths=())
    chosen = {}
    for arm in TUNED_ARMS:
        at_end = {}
        for rate in size.learning_rates:
            training = replace(build_training(task, arm, size, rate), stop=None)
            (found,) = train_seeds(run, f"selection, {arm.name}, rate {rate:g}", training, [SELECTION_SEED])
            at_end[rate] = found["curve"][-1]["validation"]
        chosen[arm.name] = max(at_end, key=at_end.__getitem__)
    return {arm.name: chosen.get(arm.name, chosen[RELATIVE.name]) for arm in task.arms}


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


WITHOUT, WITH, FUSED = "without", "relative", "torch's fused attention, without"
PACE_ARM = Arm(WITH, k=16, keys=True, values=True)


def build_timed_layers(d_model: int) -> dict[str, nn.Module]:
    """Return a layer of the base model's shape with and without relative positions, and with torch's attention."""
    return {
        WITHOUT: build_layer(d_model, 8, 2 * d_model, NONE),
        WITH: build_layer(d_model, 8, 2 * d_model, PACE_ARM),
        FUSED: EncoderLayer(d_model, 8, 2 * d_model, dropout=0.0, bias=False, residual=PreNorm),
    }


def measure_speed(size: Size, device: str) -> dict[str, dict[str, list[float]]]:
    """Return the steps per second of each layer by length, timed in turns."""
    found = {}
    for length in TIMED_LENGTHS:
        torch.manual_seed(0)
        x = torch.randn(32, length, size.timed_d_model, device=device)
        steps = {name: build_step(layer.to(device)) for name, layer in build_timed_layers(size.timed_d_model).items()}
        seconds = time_in_turns(steps, [x] * (size.timing_repeats + 1), device)
        found[str(length)] = {name: [1 / each for each in taken] for name, taken in seconds.items()}
    return found


def build_step(layer: nn.Module) -> Callable[[Tensor], None]:
    """Return a training step of a layer."""
    adam = torch.optim.Adam(layer.parameters(), lr=1e-4)

    def step(x: Tensor) -> None:
        adam.zero_grad()
        layer(x).square().mean().backward()
        adam.step()

    return step


def count_flops(length: int, d_model: int) -> dict[str, int]:
    """Return the FLOPs of a forward and a backward pass over one sequence, without and with relative positions."""
    with torch.device("meta"):
        layers, x = build_timed_layers(d_model), torch.empty(1, length, d_model)
    found = {}
    for name in (WITHOUT, WITH):
        with FlopCounterMode(display=False) as counter:
            layers[name](x).sum().backward()
        found[name] = counter.get_total_flops()
    return found


# Claims

Accuracies = Mapping[str, Sequence[float]]
"""For each arm and seed, the accuracy at the training length."""
Curves = Mapping[str, Sequence[Curve]]
"""For each arm and seed, the learning curve."""
MIN_GAIN = 0.05
"""By how much an arm must beat the majority baseline, in every seed, for anything to be judged by it."""
MAX_LOSS = 0.02
"""How much accuracy may be lost at a longer length."""
MAX_GAIN, MIN_SHARE = 0.005, 0.95


@dataclass(frozen=True)
class Found:
    """What the arms reached on a task.

    Attributes:
        right: For each arm and seed, the accuracies on the test by length.
        curves: For each arm and seed, the learning curve.
        baseline: The accuracy of the most frequent target.
        ran: What was run, in a line.
    """

    right: Mapping[str, Sequence[Mapping[str, float]]]
    curves: Curves
    baseline: float
    ran: str

    @property
    def lengths(self) -> list[int]:
        """The lengths of the test, from the training length."""
        return sorted(map(int, self.right[RELATIVE.name][0]))

    def at(self, length: int) -> dict[str, list[float]]:
        """Return the accuracies of each arm and seed at a length."""
        return select(self.right, str(length))

    @property
    def here(self) -> dict[str, list[float]]:
        """The accuracies of each arm and seed at the training length."""
        return self.at(self.lengths[0])

    def gates(self, *arms: str) -> list[Gate]:
        """Return the gates of any claim about these arms."""
        return [
            learned(
                {arm: self.here[arm] for arm in arms},
                self.baseline + MIN_GAIN,
                f"the accuracy of {MAJORITY} and {MIN_GAIN:g} more",
                by_all=True,
            ),
            converged({arm: self.curves[arm] for arm in arms}, "validation"),
            enough_seeds({arm: self.here[arm] for arm in arms}),
        ]

    def quantity(self, *arms: str) -> Any:
        """Return the accuracies of some arms as a quantity."""
        return quantity(
            "accuracy of hidden vowels at the training length",
            {arm: self.here[arm] for arm in arms},
            "higher",
            levels={MAJORITY: self.baseline},
        )


def judge_against_sinusoids(text: Found, rates: Mapping[str, float], size: Size) -> Finding:
    """Judge whether relative positions do better than sinusoids on text."""
    arms = RELATIVE.name, SINUSOIDS.name
    relative, sinusoids = (text.here[arm] for arm in arms)
    return judge(
        "beats-sinusoids",
        "Reproduced if every run with relative positions predicts more hidden vowels than every run with sinusoids; "
        "partly if each does so within its seed only.",
        ran=text.ran,
        quantities=[text.quantity(*(arm.name for arm in MAIN_ARMS))],
        reproduced=all_runs_above(relative, sinusoids),
        partly=each_seed_above(relative, sinusoids),
        gates=[*text.gates(*arms), tuned({arm: rates[arm] for arm in arms}, size.learning_rates, "the learning rate")],
    )


def judge_both(text: Found) -> Finding:
    """Judge whether sinusoids in addition to relative positions give no gain."""
    arms = BOTH.name, RELATIVE.name
    gains = differences(*(text.here[arm] for arm in arms))
    whole, part = pass_bar([MAX_GAIN - gain for gain in gains])
    return judge(
        "no-gain-from-both",
        f"Reproduced if in every seed sinusoids in addition add at most {MAX_GAIN} of accuracy; partly if on the mean, "
        "or in most seeds.",
        ran=text.ran,
        quantities=[
            text.quantity(*arms),
            quantity("accuracy that sinusoids add", {BOTH.name: gains}, levels={"allowed": MAX_GAIN}),
        ],
        reproduced=whole,
        partly=part,
        gates=text.gates(*arms),
    )


def judge_clipping(text: Found) -> Finding:
    """Judge whether from k = 2 on each clipping distance has nearly the gain of the best."""
    arms = sorted((*CLIPPING_ARMS, RELATIVE), key=lambda arm: arm.k)
    far = {arm.name: text.here[arm.name] for arm in arms if arm.k >= 2}
    best = max(far, key=lambda name: fmean(far[name]))
    shares = {
        arm.name: gain_shares(text.here[arm.name], far[best], text.here[NONE.name], text.baseline) for arm in arms
    }
    worst = min((shares[name] for name in far), key=fmean)
    whole, part = pass_bar([share - MIN_SHARE for share in worst])
    return judge(
        "clipping-hardly-matters",
        SHARE_RULE.format(
            "the distance that is worst on the mean from k = 2 on gains", "the best on the mean, which gains,"
        ),
        ran=text.ran,
        quantities=[
            text.quantity(NONE.name, *(arm.name for arm in arms)),
            quantity(f"share of the gain of {best}", shares, "higher", levels={"needed": MIN_SHARE}),
        ],
        reproduced=whole,
        partly=part,
        gates=text.gates(*far),
    )


def judge_parts(text: Found) -> Finding:
    """Judge whether relative positions on the keys alone have nearly the gain of both."""
    both, neither = text.here[RELATIVE.name], text.here[NONE.name]
    shares = gain_shares(text.here[KEYS_ONLY.name], both, neither, text.baseline)
    whole, part = pass_bar([share - MIN_SHARE for share in shares])
    return judge(
        "keys-suffice",
        SHARE_RULE.format("vectors on the keys alone gain", "vectors on both gain"),
        ran=text.ran,
        quantities=[
            text.quantity(RELATIVE.name, KEYS_ONLY.name, NONE.name),
            quantity("share of the gain of both", {KEYS_ONLY.name: shares}, "higher", levels={"needed": MIN_SHARE}),
        ],
        reproduced=whole,
        partly=part,
        gates=text.gates(RELATIVE.name, KEYS_ONLY.name),
    )


SHARE_RULE = (
    f"Reproduced if in every seed {{}} at least {MIN_SHARE:.0%} of what {{}} over no positions, or over {MAJORITY} if "
    "that is more; partly if on the mean, or in most seeds."
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


def pass_bar(margins: Sequence[float]) -> tuple[bool, bool]:
    """Return whether all seeds reach a bar, and whether at least their mean or most of them do."""
    passed = sum(margin >= 0 for margin in margins)
    return passed == len(margins), fmean(margins) >= 0 or passed > len(margins) / 2


def judge_lengths(look_back: Found, text: Found) -> Finding:
    """Judge whether relative positions keep their accuracy beyond the training length."""
    tasks = {LOOK_BACK: look_back, FILL_GAPS: text}
    changes, margins = {}, {}
    for name, task in tasks.items():
        first, last = task.lengths[0], task.lengths[-1]
        shown = [arm.name for arm in (RELATIVE, SINUSOIDS, ROTARY, BIASES, UNCLIPPED) if arm.name in task.right]
        changes[name] = {arm: differences(task.at(last)[arm], task.at(first)[arm]) for arm in shown}
        margins[name] = differences(task.here[RELATIVE.name], task.here[NONE.name])
    kept = [all(change >= -MAX_LOSS for change in of[RELATIVE.name]) for of in changes.values()]
    return judge(
        "unseen-lengths",
        f"Reproduced if in every seed relative positions (k = 8) lose at most {MAX_LOSS} of accuracy from the training "
        "length to the longest, both in looking back and in filling gaps; partly if in one of the two.",
        ran=f"{look_back.ran}; {text.ran}",
        quantities=[
            quantity(
                f"{name}: accuracy gained from the training length to {task.lengths[-1] // task.lengths[0]} times it",
                changes[name],
                "higher",
                levels={"allowed": -MAX_LOSS},
            )
            for name, task in tasks.items()
        ],
        reproduced=all(kept),
        partly=any(kept),
        gates=[
            # What was never learned can't be lost.
            gate(
                f"On both tasks, in every seed, relative positions are more than {MIN_GAIN} ahead of none at the "
                "training length.",
                all(min(margin) > MIN_GAIN for margin in margins.values()),
                list_spreads(margins),
            ),
            converged({name: task.curves[RELATIVE.name] for name, task in tasks.items()}, "validation"),
            enough_seeds(margins),
        ],
    )


def judge_speed(speeds: Mapping[str, Mapping[str, Sequence[float]]], size: Size, device: str) -> Finding:
    """Judge the slowdown by relative positions: the median over pairs of steps timed in turns."""
    lost = {
        f"{length} positions": [1 - one / other for one, other in zip(of[WITH], of[WITHOUT], strict=True)]
        for length, of in speeds.items()
    }
    flops = {length: count_flops(int(length), size.timed_d_model) for length in speeds}
    more = {f"{length} positions": [of[WITH] / of[WITHOUT] - 1] for length, of in flops.items()}
    most = max(float(np.median(each)) for each in lost.values())
    return judge(
        "small-slowdown",
        "Reproduced if at every length that is timed relative positions (k = 16) take away at most 10% of the steps "
        "per second of an encoder layer of the base model's shape with the same attention written out, by the median "
        "over pairs of steps; partly if at most 25%.",
        ran=f"one layer of width {size.timed_d_model}, 32 sequences, {size.timing_repeats} steps of each in turns",
        quantities=[
            quantity("share of the steps per second that is lost", lost, "lower", levels={"the paper's model": 0.07}),
            quantity("share of FLOPs that is added", more, "lower"),
        ],
        reproduced=most <= 0.1,
        partly=most <= 0.25,
        gates=[
            gate("Steps per second are those of a GPU, as in Section 3.3.", is_gpu(device), device),
            gate("The layer has the base model's width, 512.", size.timed_d_model == 512, str(size.timed_d_model)),
            enough_seeds(lost),
        ],
        needed="a run of size gpu on a GPU, since steps per second are of the machine; the FLOPs are counted exactly",
    )


NO_EXPERIMENT = no_experiment(
    {
        "better-than-absolute": "BLEU on newstest2014 needs WMT 2014 and eight GPUs; `beats-sinusoids` compares at our "
        "size."
    }
)


# Report


def experiment(run: Run) -> Report:
    """Train every arm on its tasks, time the steps, and judge the claims."""
    size = SIZES[run.size]
    tasks = build_tasks(size)
    *_, text = tasks
    seeds = run.seeds(size.seeds)
    tried = len(size.learning_rates) * len(TUNED_ARMS)
    run.expect(tried + len(seeds) * sum(len(task.arms) for task in tasks) + 1)
    rates = {task.name: {arm.name: SYNTHETIC_LEARNING_RATE for arm in task.arms} for task in tasks}
    rates[FILL_GAPS] = select_learning_rates(run, text, size)
    found = {
        task.name: as_found(
            task,
            {arm.name: train_arm(run, task, arm, seeds, size, rates[task.name][arm.name]) for arm in task.arms},
            count_parameters(TokenClassifier(RELATIVE, size.d_model)),
        )
        for task in tasks
    }
    device = str(accelerator(run.device).device)
    speeds = run.piece("steps per second", partial(measure_speed, size, device))
    filled = found[FILL_GAPS]
    return Report(
        findings=(
            judge_lengths(found[LOOK_BACK], filled),
            judge_against_sinusoids(filled, rates[FILL_GAPS], size),
            judge_both(filled),
            judge_clipping(filled),
            judge_parts(filled),
            judge_speed(speeds, size, device),
            *NO_EXPERIMENT,
        ),
        tables=(arm_table(found, rates), speed_table(speeds)),
        figures=(*(length_figure(name, each) for name, each in found.items()), clipping_figure(filled)),
        seeds=tuple(seeds),
        settings=asdict(size),
        notes=(
            "With k = 0 all pairs share one vector, which has no effect: the arm without positions stands for it. It "
            "predicts the same for all gaps of a window, and can hardly do better than the most frequent vowel. "
            "*Mirror* shows what clipped relative positions can't represent. At the training length of text no "
            "distance reaches 16, so that k = 16 clips nothing there, and its outermost vectors are never trained."
        ),
    )


def as_found(task: Task, results: Mapping[str, Sequence[Any]], num_parameters: int) -> Found:
    """Return what the arms reached on a task."""
    curves = select(results, "curve")
    steps = [int(curve[-1]["step"]) for runs in curves.values() for curve in runs]
    return Found(
        right=select(results, "right"),
        curves=curves,
        baseline=majority_baseline(task),
        ran=f"{task.name}: {task.data}, {task.train_length} positions, {num_parameters:,} parameters, {min(steps):,} "
        f"to {max(steps):,} steps until validation accuracy stops improving, {task.steps:,} at most",
    )


def arm_table(found: Mapping[str, Found], rates: Mapping[str, Mapping[str, float]]) -> Table:
    """Return each arm's learning rate, steps, and accuracy at the training length and at the longest one."""
    rows: tuple[tuple[str | float, ...], ...] = tuple(
        (
            name,
            arm,
            rates[name][arm],
            spread([curve[-1]["step"] for curve in task.curves[arm]], ".0f"),
            *(spread(task.at(length)[arm]) for length in (task.lengths[0], task.lengths[-1])),
        )
        for name, task in found.items()
        for arm in task.right
    )
    lengths = "; ".join(f"{name} {task.lengths[0]} and {task.lengths[-1]}" for name, task in found.items())
    return Table(
        title="Accuracy: mean (lowest to highest seed)",
        columns=("task", "positions", "rate", "steps", "at the training length", "at the longest"),
        rows=rows,
        note=f"Training length and longest length: {lengths}. Chance is 1/16 in the synthetic tasks; in filling gaps, "
        f"{MAJORITY} is right in {found[FILL_GAPS].baseline:.3f}.",
    )


def speed_table(speeds: Mapping[str, Mapping[str, Sequence[float]]]) -> Table:
    """Return the steps per second."""
    rows = tuple(
        (int(length), name, float(np.median(each)), min(each), max(each))
        for length, of in speeds.items()
        for name, each in of.items()
    )
    columns = ("length", "relative positions", "steps per second, median", "lowest", "highest")
    return Table(title="Steps per second of one layer of the base model's shape", columns=columns, rows=rows)


def length_figure(name: str, task: Found) -> Lines:
    """Return accuracy against test length, with the accuracy of a baseline as a level."""
    arms = [arm.name for arm in (*MAIN_ARMS, UNCLIPPED) if arm.name in task.right]
    sweeps = {arm: {length: task.at(length)[arm] for length in task.lengths} for arm in arms}
    shortest, longest = task.lengths[0], task.lengths[-1]
    summary = "; ".join(
        f"{arm} {fmean(sweep[shortest]):.2f} to {fmean(sweep[longest]):.2f}" for arm, sweep in sweeps.items()
    )
    return Lines(
        id=f"lengths-{name.replace(' ', '-')}",
        title=f"Accuracy beyond the training length: {name}",
        caption=(
            f"The leftmost point, {shortest} positions, is the training length; all others are longer than anything "
            "seen in training. Bands span the seeds."
        ),
        alt=f"Mean accuracy from {shortest} to {longest} positions: {summary}.",
        x=f"length that is tested (positions; trained: {shortest})",
        y="accuracy",
        log=("x",),
        series=sweep_series(sweeps),
        levels={MAJORITY: task.baseline} if name == FILL_GAPS else {"chance": 1 / 16},
    )


def clipping_figure(text: Found) -> Lines:
    """Return accuracy against the clipping distance, with sinusoids and no positions as levels."""
    by_distance = {arm.k: text.here[arm.name] for arm in sorted((*CLIPPING_ARMS, RELATIVE), key=lambda arm: arm.k)}
    levels = {arm.name: fmean(text.here[arm.name]) for arm in (SINUSOIDS, NONE)} | {MAJORITY: text.baseline}
    return Lines(
        id="clipping-distance",
        title="Accuracy against the clipping distance",
        caption="Filling gaps, at the training length. From where on is the curve flat? The band spans the seeds.",
        alt="Mean accuracy: " + ", ".join(f"k = {k} {fmean(right):.3f}" for k, right in by_distance.items()) + ".",
        x="clipping distance k",
        y="hidden vowels predicted",
        log=("x",),
        series=sweep_series({"relative": by_distance}),
        levels=levels,
    )
