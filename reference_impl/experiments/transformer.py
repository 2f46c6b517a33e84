r"""The Transformer against recurrent encoder-decoders: quality, training time, parallelism, long-range dependencies.

Source: Vaswani et al. 2017, Abstract, Section 4 (Table 1) and Section 6.1 (Table 2)

Claims: Attention alone translates better than recurrent models, trains in less time, processes all positions of a
    sequence in parallel, and connects distant positions by short paths, which makes long-range dependencies easier to
    learn.

Tasks:
    - sentences of a fragment of English and French, made without end (`reference_impl.experiments.translation`);
    - recall: name the first symbol of a sequence at its last position. The sequences are all of one length, or of
      lengths from 2 to the greatest;
    - no task, but a count: the longest chain of operations of which each needs the one before, from the input of a
      layer or model to its output, by the length of the sequence.

Arms:
    - the Transformer, pre-norm, as in the authors' later code;
    - RNNsearch (Bahdanau et al. 2015), a recurrent encoder-decoder with attention, in a loop in Python;
    - an LSTM encoder-decoder with attention (Luong et al. 2015), whose recurrences are torch's;
    - in recall two self-attention layers, or two layers of an LSTM (forget bias 1), since there the paper compares
      layers.

Budget: all arms of a task have the same number of parameters (within 5 %), of steps, the same batches, no dropout, and
    Adam. In translation the learning rate rises for 100 steps and then falls to zero. Recall ends when it is learned
    (99 % of 256 new sequences), or after the last step. Each arm has a peak learning rate for each task, selected under
    a seed that `small` does not use: in translation by held-out BLEU after 300 steps (RNNsearch takes the rate of
    `reference_impl.experiments.bahdanau`), in recall by the steps until length 32 is learned, or else the accuracy.
    The Transformer was as good at 0.01 as at 0.003.

Measures: BLEU (sacrebleu, by words) on held-out sentences, as the mean of the last three measurements; steps until
    recall is learned; operations; seconds of a training step, in turns, on the machine of the run.

    An operation is one of torch's, as one matrix product, whatever its size, as in Table 1; the steps of an LSTM are
    counted one by one, not as the fused kernel that they often are. Counted is what training does, with all target
    tokens given. When it translates, the Transformer, too, takes a step for each token.

Gates: tasks are learned, all arms have converged, learning rates lie inside the range that was tried, three seeds.
    Quality is judged only where the recurrent arms leave room above them. Seconds are judged on a GPU alone: on a CPU,
    operations that need not wait for each other do.

Rules: until now parallelism was judged by seconds on a CPU thread, and long-range dependencies by reversed sequences
    with a budget in which no arm converged; quality and time by 900 pairs. Rules and tasks are new, and were set before
    this size was run, those of recall after one seed at four lengths. That recurrent arms must leave room was made a
    gate after pilots in which RNNsearch translated without a mistake; that seconds are not judged on a CPU, and what a
    chain of operations is, after a count at short lengths.

Stands in: a fragment with 98 words, and one right translation for each sentence, for the 36 million pairs of WMT 2014.

Sizes: `gpu` is `small` with seconds at lengths from 128 to 4,096. The learning rates of `full` are not tuned.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from quaere.content.results import Finding, Gate, Lines, Report, Series, Table
from quaere.running.experiments import Run
from reference_impl.bahdanau import Encoder, RNNsearch
from reference_impl.experiments.arms import count_built, match_width, train_seeds
from reference_impl.experiments.curves import (
    Curve,
    final_averages,
    final_values,
    list_means,
    moving_average,
    select,
    sweep_series,
)
from reference_impl.experiments.judging import (
    all_runs_above,
    converged,
    enough_seeds,
    gate,
    judge,
    learned,
    no_experiment,
    quantity,
    tuned,
)
from reference_impl.experiments.timing import time_in_turns
from reference_impl.experiments.training import Batch, Training, accelerator, device_of
from reference_impl.experiments.translation import (
    BOS,
    EOS,
    EXAMPLE,
    VOCABULARY,
    ScoreFunction,
    TranslateFunction,
    attention_heatmap,
    bleu_figure,
    build_optimizer,
    build_training,
    collate,
    compute_loss,
    held_out_pairs,
    score_recurrent,
    translate_recurrent,
)
from reference_impl.layers.attention import causal_mask, masked_softmax, padding_mask
from reference_impl.transformer import DecoderLayer, Embedding, EncoderLayer, PreNorm, Transformer, greedy_search

TRANSFORMER, RNNSEARCH, LSTM = "Transformer", "RNNsearch", "LSTM with attention"
ATTENTION_LAYERS, LSTM_LAYERS = "self-attention layers", "LSTM layers"
MIXED = "mixed"


@dataclass(frozen=True)
class Size:
    """The size of a run: of the sentences, the models, the trainings, recall, and what is counted and timed."""

    max_words: int
    d_model: int
    heads: int
    d_ff: int
    layers: int
    seeds: int
    batch_size: int
    steps: int
    test_pairs: int
    peaks: Mapping[str, float]
    tried: Mapping[str, Sequence[float]]
    recall_lengths: tuple[int, ...]
    recall_steps: int
    recall_width: int
    symbols: int
    counted_lengths: tuple[int, ...]
    timed_lengths: tuple[int, ...]
    timed_batch: int
    timing_repeats: int


PEAKS = {TRANSFORMER: 0.003, RNNSEARCH: 0.01, LSTM: 0.01, ATTENTION_LAYERS: 0.01, LSTM_LAYERS: 0.001}
"""The peak learning rate of each arm, selected as described above."""
TRIED = {
    TRANSFORMER: (0.001, 0.003, 0.01),
    RNNSEARCH: (0.005, 0.01, 0.02),
    LSTM: (0.005, 0.01, 0.02),
    ATTENTION_LAYERS: (0.001, 0.003, 0.01, 0.03),
    LSTM_LAYERS: (0.0003, 0.001, 0.003, 0.01),
}
_SMALL = Size(
    max_words=14, d_model=64, heads=4, d_ff=256, layers=2, seeds=3, batch_size=64, steps=900, test_pairs=128,
    peaks=PEAKS, tried=TRIED, recall_lengths=(8, 16, 32, 64), recall_steps=2000, recall_width=32, symbols=8,
    counted_lengths=(16, 32, 64, 128, 256), timed_lengths=(16, 64), timed_batch=8, timing_repeats=3,
)  # fmt: skip
SIZES = {
    "smoke": replace(
        _SMALL, max_words=6, d_model=16, d_ff=32, layers=1, seeds=1, batch_size=4, steps=15, test_pairs=4,
        recall_lengths=(2, 4), recall_steps=50, recall_width=8, counted_lengths=(2, 4), timed_lengths=(2, 4),
        timing_repeats=2,
    ),
    "small": _SMALL,
    "gpu": replace(_SMALL, timed_lengths=(128, 256, 512, 1024, 2048, 4096), timed_batch=1),
    "full": replace(
        _SMALL, max_words=30, d_model=512, heads=8, d_ff=2048, layers=6, batch_size=256, steps=10_000, test_pairs=512,
        peaks=dict.fromkeys(PEAKS, 7e-4), tried=dict.fromkeys(PEAKS, (7e-4,)), recall_lengths=(16, 64, 256),
        timed_lengths=(128, 256, 512, 1024), timed_batch=1,
    ),
}  # fmt: skip


# Arms


@dataclass(frozen=True)
class Arm:
    """A model, and its functions for logits and translations."""

    build_model: Callable[[], nn.Module]
    score: ScoreFunction
    translate: TranslateFunction


def build_arms(size: Size) -> dict[str, Arm]:
    """Return the three translators; the recurrent ones have about as many parameters as the Transformer."""
    v = len(VOCABULARY)

    def build_transformer() -> nn.Module:
        return Transformer(v, size.d_model, size.heads, size.d_ff, size.layers, dropout=0.0, residual=PreNorm)

    def build_rnnsearch(width: int) -> nn.Module:
        return RNNsearch(v, v, size.d_model, width, alignment_size=size.d_model, maxout_size=size.d_model)

    def build_lstm(width: int) -> nn.Module:
        return LSTMWithAttention(v, size.d_model, width)

    budget = count_built(build_transformer)
    recurrent = {
        name: Arm(partial(build, match_width(build, budget)), score_recurrent, translate_recurrent)
        for name, build in ((RNNSEARCH, build_rnnsearch), (LSTM, build_lstm))
    }
    return {TRANSFORMER: Arm(build_transformer, _transformer_logits, _transformer_translate), **recurrent}


def _transformer_logits(model: Any, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
    return model(source, target, padding_mask(lengths, source.shape[1]))


def _transformer_translate(model: Any, source: Tensor, lengths: Tensor, max_length: int) -> Tensor:
    return greedy_search(model, source, lengths, BOS, EOS, extra_length=max_length - source.shape[1])[:, :max_length]


class LSTMWithAttention(nn.Module):
    r"""LSTM encoder-decoder with global attention.

    Source: Luong et al. 2015, Section 3.1 (general), Eqs. 5 and 7, with one bidirectional layer and no input feeding
        $$\tilde h_t = \tanh(W_c [c_t; h_t])$$

    Without input feeding no step of the decoder waits for its attention, so that torch runs all steps in one call.
    """

    def __init__(self, vocab_size: int, d_embedding: int, d_hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, d_embedding)
        self.encoder = nn.LSTM(d_embedding, d_hidden, batch_first=True, bidirectional=True)
        self.decoder = nn.LSTM(d_embedding, d_hidden, batch_first=True)
        self.key = nn.Linear(2 * d_hidden, d_hidden, bias=False)
        self.combine, self.output = nn.Linear(3 * d_hidden, d_embedding), nn.Linear(d_embedding, vocab_size)

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of the token after each target token, and the attention weights."""
        memory, mask, state = self._read(source, lengths)
        return self._attend(self.decoder(self.embedding(target), state)[0], memory, mask)

    def translate(self, source: Tensor, lengths: Tensor, bos: int, eos: int, max_length: int) -> Tensor:
        """Return the greedy translations, as `RNNsearch.translate` does."""
        memory, mask, state = self._read(source, lengths)
        word, words = torch.full_like(lengths, bos), list[Tensor]()
        over = torch.zeros_like(lengths, dtype=torch.bool)
        while len(words) < max_length and not over.all():
            h, state = self.decoder(self.embedding(word[:, None]), state)
            word = self._attend(h, memory, mask)[0][:, 0].argmax(dim=-1).masked_fill(over, eos)
            words.append(word)
            over = over | (word == eos)
        return torch.stack(words, dim=1)

    def _read(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        x = nn.utils.rnn.pack_padded_sequence(
            self.embedding(source), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        packed, (h, c) = self.encoder(x)
        memory = nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)[0]  # (b, n, 2 d_hidden)
        # The decoder starts from the backward direction's state at the first word, as RNNsearch's does.
        return memory, padding_mask(lengths, memory.shape[1]), (h[1:].contiguous(), c[1:].contiguous())

    def _attend(self, h: Tensor, memory: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        weights = masked_softmax(h @ self.key(memory).mT, mask)  # (b, m, n)
        return self.output(self.combine(torch.cat([weights @ memory, h], dim=-1)).tanh()), weights


class Recall(nn.Module):
    """Layers over symbols; the logits of the first symbol are read from the last position.

    Args:
        symbols: The number of symbols.
        width: The width of the layers.
        is_recurrent: Whether they are those of an LSTM, rather than self-attention layers.
    """

    def __init__(self, symbols: int, width: int, is_recurrent: bool) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, num_layers=2, batch_first=True) if is_recurrent else None
        self.embedding = nn.Embedding(symbols, width) if is_recurrent else Embedding(symbols, width, dropout=0.0)
        self.layers = nn.ModuleList(
            EncoderLayer(width, 4, 2 * width, dropout=0.0, residual=PreNorm) for _ in range(0 if is_recurrent else 2)
        )
        self.norm = nn.Identity() if is_recurrent else nn.LayerNorm(width)
        self.output = nn.Linear(width, symbols)
        with torch.no_grad():
            for name, parameter in self.lstm.named_parameters() if self.lstm is not None else ():
                if name.startswith("bias"):
                    # Of the two biases that torch adds, one has the forget gate's 1.
                    nn.init.zeros_(parameter)[width : 2 * width] = float("bias_ih" in name)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (b, symbols) of the first symbol of x (b, n)."""
        x = self.embedding(x)
        x = x if self.lstm is None else self.lstm(x)[0]
        for layer in self.layers:
            x = layer(x)
        return self.output(self.norm(x[:, -1]))


RECALLED = 0.99
"""The accuracy at which recall counts as learned."""


def build_recall(size: Size, name: str, shortest: int, longest: int) -> Training:
    """Return the training of layers on recall with these lengths, one for each batch, tested on the longest."""
    test = torch.randint(size.symbols, (256, longest), generator=torch.Generator().manual_seed(10**9))

    def batch(generator: torch.Generator) -> Batch:
        length = int(torch.randint(shortest, longest + 1, (), generator=generator))
        return (torch.randint(size.symbols, (size.batch_size, length), generator=generator),)

    def loss(model: nn.Module, x: Tensor) -> tuple[Tensor, int]:
        return F.cross_entropy(model(x), x[:, 0], reduction="sum"), len(x)

    def measure(model: nn.Module) -> dict[str, float]:
        x = test.to(device_of(model))
        return {"recalled": float((model(x).argmax(dim=-1) == x[:, 0]).float().mean())}

    return Training(
        model=partial(Recall, size.symbols, size.recall_width, name == LSTM_LAYERS),
        loss=loss,
        batch=batch,
        steps=size.recall_steps,
        optimizer=lambda model: torch.optim.Adam(model.parameters(), lr=size.peaks[name]),
        clip=1.0,
        measure=measure,
        every=25,
        stop=lambda curve: curve[-1]["recalled"] >= RECALLED,
    )


# Sequential operations


class ChainOfOperations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Counts torch's operations while it is entered, and the longest chain of them that leads to each tensor."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0
        # The tensors are kept, so that no id is used twice.
        self._chains: dict[int, tuple[int, Tensor]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation; its outputs' chains are one longer than the longest of its inputs."""
        outputs = func(*args, **(kwargs or {}))
        longest = max(
            (self.length(each) for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)), default=0
        )
        self._chains |= {id(each): (longest + 1, each) for each in tree_leaves(outputs) if isinstance(each, Tensor)}
        self.operations += 1
        return outputs

    def length(self, tensor: Tensor) -> int:
        """Return the number of operations in the longest chain that leads to a tensor."""
        return self._chains.get(id(tensor), (0, tensor))[0]


def count_operations(size: Size, length: int) -> dict[str, tuple[int, int]]:
    """Return the longest chain of operations, and how many there are in all, of layers and of whole models.

    Table 1 is about layers: one with self-attention, one of an LSTM, and RNNsearch's encoder, a bidirectional GRU. The
    models are given a source and a target of the length.
    """
    width, v, lengths = size.d_model, len(VOCABULARY), torch.tensor([length])
    x, tokens = torch.zeros(1, length, width), torch.zeros(1, length, dtype=torch.long)
    attention = EncoderLayer(width, size.heads, size.d_ff)
    # Torch has no fused kernel for an LSTM in double precision on a CPU, and takes its steps one by one.
    lstm = nn.LSTM(width, width, batch_first=True, dtype=torch.double)
    gru, models = Encoder(v, width, width), {name: arm.build_model() for name, arm in build_arms(size).items()}
    runs: dict[str, Callable[[], Tensor]] = {
        "self-attention layer": lambda: attention(x),
        "LSTM layer": lambda: lstm(x.double())[0],
        "bidirectional GRU layer": lambda: gru(tokens, lengths),
        TRANSFORMER: lambda: models[TRANSFORMER](tokens, tokens),
        RNNSEARCH: lambda: models[RNNSEARCH](tokens, lengths, tokens)[0],
    }
    found = {}
    for name, run in runs.items():
        with torch.no_grad(), ChainOfOperations() as chain:
            output = run()
        found[name] = (chain.length(output), chain.operations)
    return found


PARALLEL = ("self-attention layer", TRANSFORMER)
"""What the claim says takes a constant number of sequential operations; all else takes one or more a position."""


# Seconds


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


def time_by_length(size: Size, device: torch.device) -> dict[str, list[list[float]]]:
    """Return the seconds of a training step at each length, `timing_repeats` times."""
    found = []
    for length in size.timed_lengths:
        tokens = torch.randint(2, len(VOCABULARY), (size.timed_batch, length))
        batch = tokens, torch.full((size.timed_batch,), length), tokens
        found.append(time_steps(build_arms(size), [batch] * size.timing_repeats, device))
    return {name: [list(turn) for turn in zip(*(one[name] for one in found), strict=True)] for name in found[0]}


def time_translation(size: Size, device: torch.device) -> dict[str, float]:
    """Return the mean seconds of a training step of translation, with the same batches for all models."""
    pairs = held_out_pairs(4 * size.timing_repeats * size.batch_size, (5, size.max_words))
    batches = [collate(pairs[start : start + size.batch_size]) for start in range(0, len(pairs), size.batch_size)]
    return {name: statistics.fmean(found) for name, found in time_steps(build_arms(size), batches, device).items()}


# Claims

ROOM = 99.0
"""BLEU above which there is no room for a better model."""


def judge_quality(ran: str, last: Mapping[str, Sequence[float]], gates: Sequence[Gate]) -> Finding:
    """Judge whether the Transformer translates better than both recurrent models."""
    clear = [all_runs_above(last[TRANSFORMER], found) for name, found in last.items() if name != TRANSFORMER]
    rivals = {name: statistics.fmean(found) for name, found in last.items() if name != TRANSFORMER}
    return judge(
        "better-than-recurrent",
        "Reproduced if the Transformer's worst seed has more BLEU than the best of both recurrent models; partly if "
        "than the best of one.",
        ran=ran,
        quantities=[quantity("BLEU on held-out sentences", last, "higher", levels={"perfect": 100.0})],
        reproduced=all(clear),
        partly=any(clear),
        gates=[
            *gates,
            gate(
                f"The task leaves room for a better model: the recurrent ones stay below {ROOM:g} BLEU.",
                max(rivals.values()) < ROOM,
                "; ".join(f"{name} {mean:.1f}" for name, mean in rivals.items()),
            ),
        ],
        needed="A task that recurrent models of this size don't master, with data enough for all to converge: real "
        "translation, with millions of pairs.",
    )


def judge_training_time(
    ran: str,
    curves: Mapping[str, Sequence[Curve]],
    step_seconds: Mapping[str, float],
    device: str,
    gates: Sequence[Gate],
) -> Finding:
    """Judge how long the Transformer takes to reach the quality that the better recurrent model ends with."""
    rivals = {name: found for name, found in final_averages(curves, "bleu").items() if name != TRANSFORMER}
    goal = 0.99 * max(map(statistics.fmean, rivals.values()))
    budget = max(curve[-1]["step"] for runs in curves.values() for curve in runs)
    steps = {name: [_steps_until(curve, "bleu", goal, 2 * budget) for curve in runs] for name, runs in curves.items()}
    seconds = {name: [step_seconds[name] * each for each in found] for name, found in steps.items()}
    fastest = min(min(seconds[name]) for name in rivals)
    ours = max(seconds[TRANSFORMER]) if max(steps[TRANSFORMER]) <= budget else float("inf")
    return judge(
        "less-time",
        "Reproduced if every seed of the Transformer reaches the goal, 99 % of the final BLEU of the better recurrent "
        "model, in at most half the time of the fastest seed of either; partly if in less time.",
        ran=f"{ran}; seconds are steps times the mean seconds of a step, timed in turn",
        quantities=[
            quantity(f"steps until {goal:.1f} BLEU (twice the budget, if never)", steps, "lower"),
            quantity(
                "time of a training step", {name: [each] for name, each in step_seconds.items()}, "lower", unit="s"
            ),
        ],
        reproduced=ours <= fastest / 2,
        partly=ours < fastest,
        gates=[*gates, gate("Seconds are those of a GPU.", device == "cuda", f"the device is {device}")],
        needed="The same run on a GPU: `--size gpu`.",
    )


def _steps_until(curve: Curve, measure: str, goal: float, otherwise: float) -> float:
    values = zip(curve, moving_average(curve, measure), strict=True)
    return next((float(point["step"]) for point, value in values if value >= goal), otherwise)


def judge_parallelism(
    lengths: Sequence[int],
    counts: Mapping[str, Sequence[tuple[int, int]]],
    seconds: Mapping[str, Sequence[Sequence[float]]],
    timed: int,
    device: str,
) -> Finding:
    """Judge whether the longest chain of operations is constant with self-attention, and grows without.

    Args:
        lengths: The lengths, at least two.
        counts: At each length the longest chain, and the number of all operations.
        seconds: The seconds of a training step, by model, turn and length; shown if they are those of a GPU.
        timed: The greatest length that was timed.
        device: What the seconds were measured on.
    """
    span = lengths[-1] - lengths[0]
    growth = {name: (found[-1][0] - found[0][0]) / span for name, found in counts.items()}
    is_constant = {name: len({chain for chain, _ in counts[name]}) == 1 for name in PARALLEL}
    recurrent = [name for name in counts if name not in PARALLEL]
    grows = all(growth[name] >= 1 for name in recurrent)
    unrolled = {name: (counts[name][-1][1] - counts[name][0][1]) / span for name in recurrent}
    shown = [
        quantity(
            f"longest chain of operations, length {lengths[-1]}",
            {name: [float(found[-1][0])] for name, found in counts.items()},
            "lower",
            log=True,
        ),
        quantity(
            f"growth of the chain from length {lengths[0]} to {lengths[-1]}, per position",
            {name: [each] for name, each in growth.items()},
            "lower",
        ),
    ]
    if device == "cuda":
        at_longest = {name: [turn[-1] for turn in found] for name, found in seconds.items()}
        shown.append(quantity(f"time of a training step, length {timed}", at_longest, "lower", unit="s", log=True))
    return judge(
        "all-at-once",
        "Reproduced if the longest chain of operations of which each needs the one before is equally long at all "
        "lengths in a self-attention layer and in the Transformer, and in the recurrent layers and model grows by at "
        "least one for each position; partly if so in the layers alone. Seconds are not judged.",
        ran=f"operations counted in the forward pass at lengths {', '.join(map(str, lengths))}; no training",
        quantities=shown,
        reproduced=grows and all(is_constant.values()),
        partly=grows and is_constant["self-attention layer"],
        gates=[
            gate(
                "The steps of recurrent layers are seen one by one, not as one fused operation.",
                min(unrolled.values()) >= 1,
                "operations per position: " + "; ".join(f"{name} {each:.1f}" for name, each in unrolled.items()),
            )
        ],
    )


def judge_long_range(
    size: Size,
    steps: Mapping[str, Mapping[str, Sequence[float]]],
    at_end: Mapping[str, Mapping[str, Sequence[float]]],
) -> Finding:
    """Judge whether self-attention learns to recall the first of many symbols in fewer steps than an LSTM.

    Args:
        size: The size of the run.
        steps: The steps until it was learned, or the budget, by the lengths of the sequences, arm and seed.
        at_end: The accuracy at the end, likewise.
    """
    shortest, longest = str(size.recall_lengths[0]), str(size.recall_lengths[-1])
    clear = [all_runs_above(steps[what][LSTM_LAYERS], steps[what][ATTENTION_LAYERS]) for what in (longest, MIXED)]
    slowest = max(max(steps[what][ATTENTION_LAYERS]) for what in (longest, MIXED))
    names = {longest: f"length {longest}", MIXED: f"lengths 2 to {longest}"}
    budget = {"budget": float(size.recall_steps)}
    return judge(
        "far-places",
        f"Reproduced if at length {longest}, and trained on lengths from 2 to {longest}, the slowest seed of "
        "self-attention learns to recall the first symbol in fewer steps than the fastest of the LSTM; partly if in "
        "one of the two.",
        ran=f"random symbols, {size.batch_size} rows a step, {size.recall_steps:,} steps at most, or until 99 % right",
        quantities=[
            *(
                quantity(f"steps until learned, {name}", steps[what], "lower", levels=budget, log=True)
                for what, name in names.items()
            ),
            quantity(f"accuracy at the end, length {longest}", at_end[longest], "higher", levels=_chance(size)),
        ],
        reproduced=all(clear),
        partly=any(clear),
        gates=[
            learned(at_end[shortest], 0.95, f"an accuracy of 95 % at length {shortest}", by_all=True),
            gate(
                "No arm is cut short: the budget is ten times the steps that self-attention needs, or more.",
                size.recall_steps >= 10 * slowest,
                f"{size.recall_steps} and {slowest:.0f}",
            ),
            _tuned(size, ATTENTION_LAYERS, LSTM_LAYERS),
            enough_seeds(steps[longest]),
        ],
    )


def _chance(size: Size) -> dict[str, float]:
    return {"chance": 1 / size.symbols}


def _tuned(size: Size, *arms: str) -> Gate:
    return tuned({arm: size.peaks[arm] for arm in arms}, size.tried, "the learning rate")


def judge_parameter_counts(sizes: Mapping[str, int]) -> Finding:
    """Judge the reported numbers of parameters by a count with 37,000 tokens."""
    reported = {"base": 65e6, "big": 213e6}
    off = [abs(sizes[name] / reported[name] - 1) for name in reported]
    return judge(
        "sizes",
        "Reproduced if both numbers are within 1 % of the reported ones, partly if within 5 %.",
        ran="counted with 37,000 tokens (the paper: about); 40,800 would give the base model's 65 million",
        quantities=[quantity("parameters", {name: [float(each)] for name, each in sizes.items()}, reported=reported)],
        reproduced=max(off) < 0.01,
        partly=max(off) < 0.05,
    )


NO_EXPERIMENT = no_experiment(
    {
        "english-german": "The 4.5 million pairs of WMT 2014, and days on eight GPUs.",
        "english-french": "The 36 million pairs of WMT 2014, and days on eight GPUs.",
        "training-cost": "Training runs at full size, and those of the other groups.",
        "one-head": "Translation at the paper's size: generated sentences are mastered with one head too.",
        "learnt-positions": "Translation at the paper's size: generated sentences are mastered with both.",
        "parsing": "The Penn Treebank, which is not free.",
    }
)


# Report


def mean_cross_attention(model: Transformer, source: Tensor, target: Tensor) -> list[list[float]]:
    """Return the cross-attention weights of the last layer in one sentence, as the mean over heads."""
    device = device_of(model)
    source, target = source.to(device), target.to(device)
    y, memory, mask = model.embedding(target), model.encode(source), causal_mask(target.shape[1], device)
    state = model.init_state(memory)
    for layer, keys_values, past in zip(model.decoder, state.memory, state.past, strict=True):
        layer = cast(DecoderLayer, layer)
        inner = layer.around_self_attention.input(y)
        query = layer.around_self_attention.output(y, layer.self_attention(inner, inner, inner, mask))
        cross = layer.cross_attention.attention_weights(layer.around_cross_attention.input(query), memory)
        y, _ = layer(y, keys_values, past, mask)
    return cross[0].mean(dim=0).tolist()


def _show(model: Any) -> dict[str, Any]:
    """Return the Transformer's attention in the example."""
    source, _, target = collate([EXAMPLE])
    return {"weights": mean_cross_attention(model, source, target[:, :-1])} if isinstance(model, Transformer) else {}


def experiment(run: Run) -> Report:
    """Train the translators and the layers that recall, count operations, and time training steps."""
    size = SIZES[run.size]
    seeds = tuple(run.seeds(size.seeds))
    arms, layers = build_arms(size), (ATTENTION_LAYERS, LSTM_LAYERS)
    run.expect(3 + len(seeds) * (len(arms) + len(layers) * (1 + len(size.recall_lengths))))
    test = held_out_pairs(size.test_pairs, (5, size.max_words))
    trained = {
        name: train_seeds(
            run,
            name,
            build_training(
                arm.build_model,
                arm.score,
                arm.translate,
                peak=size.peaks[name],
                steps=size.steps,
                max_words=size.max_words,
                test=test,
                batch_size=size.batch_size,
                ending=_show,
            ),
            seeds,
        )
        for name, arm in arms.items()
    }
    curves = select(trained, "curve")
    draws = {str(n): (n, n) for n in size.recall_lengths} | {MIXED: (2, size.recall_lengths[-1])}
    recall = {
        what: select(
            {
                name: train_seeds(run, f"recall {what} {name}", build_recall(size, name, *draw), seeds)
                for name in layers
            },
            "curve",
        )
        for what, draw in draws.items()
    }
    counts = run.piece("operations", lambda: [count_operations(size, length) for length in size.counted_lengths])
    by_name = {name: [tuple(one[name]) for one in counts] for name in counts[0]}
    device = accelerator(run.device).device
    step_seconds = run.piece("seconds a step", partial(time_translation, size, device))
    seconds = run.piece("seconds a step, by length", partial(time_by_length, size, device))
    base = partial(Transformer, vocab_size=37_000)
    sizes = {"base": count_built(base), "big": count_built(partial(base, d_model=1024, heads=16, d_ff=4096))}
    last = final_averages(curves, "bleu")
    steps = {
        what: {name: [float(curve[-1]["step"]) for curve in found] for name, found in of.items()}
        for what, of in recall.items()
    }
    at_end = {what: final_values(found, "recalled") for what, found in recall.items()}
    gates = [
        learned(last, 50.0, "half of a perfect BLEU"),
        converged(curves, "bleu"),
        _tuned(size, *arms),
        enough_seeds(last),
    ]
    ran = f"generated sentences of up to {size.max_words} words, {size.batch_size} a step, {size.steps:,} steps"
    return Report(
        findings=(
            judge_quality(ran, last, gates),
            judge_training_time(ran, curves, step_seconds, device.type, gates),
            judge_parallelism(size.counted_lengths, by_name, seconds, size.timed_lengths[-1], device.type),
            judge_long_range(size, steps, at_end),
            judge_parameter_counts(sizes),
            *NO_EXPERIMENT,
        ),
        tables=(_seconds_table(size, seconds, {name: count_built(arm.build_model) for name, arm in arms.items()}),),
        figures=(
            bleu_figure(curves, "Held-out sentences. All models have the same number of parameters."),
            _operations_figure(size, by_name),
            _recall_figure(size, steps),
            attention_heatmap(
                "cross-attention",
                "Cross-attention",
                "Mean over the heads of the last layer; first seed.",
                EXAMPLE,
                trained[TRANSFORMER][0]["weights"],
            ),
        ),
        seeds=seeds,
        settings=asdict(size),
    )


def _seconds_table(
    size: Size, seconds: Mapping[str, Sequence[Sequence[float]]], parameters: Mapping[str, int]
) -> Table:
    return Table(
        title="Milliseconds of a training step, by length",
        columns=("model", "parameters", *(f"length {n}" for n in size.timed_lengths)),
        rows=tuple(
            (
                name,
                parameters[name],
                *(round(1000 * statistics.median(values), 1) for values in zip(*found, strict=True)),
            )
            for name, found in seconds.items()
        ),
        note=f"The median of {size.timing_repeats}, on the machine of the run; {size.timed_batch} sequences a step. "
        "RNNsearch is a loop in Python, torch's LSTM is one call. Not judged.",
    )


def _operations_figure(size: Size, counts: Mapping[str, Sequence[tuple[int, int]]]) -> Lines:
    chains = {name: [chain for chain, _ in found] for name, found in counts.items()}
    return Lines(
        id="operations",
        title="Sequential operations, by length",
        caption="The longest chain of operations of which each needs the one before, in a forward pass. A flat line "
        "is a constant number, O(1); slope 1 is O(n).",
        alt=f"at length {size.counted_lengths[-1]}: " + "; ".join(f"{name} {of[-1]:,}" for name, of in chains.items()),
        x="length",
        y="operations in the longest chain",
        log=("x", "y"),
        series=tuple(Series(name=name, x=size.counted_lengths, runs=(tuple(of),)) for name, of in chains.items()),
    )


def _recall_figure(size: Size, steps: Mapping[str, Mapping[str, Sequence[float]]]) -> Lines:
    by_length = {name: {n: steps[str(n)][name] for n in size.recall_lengths} for name in steps[MIXED]}
    longest = {name: of[size.recall_lengths[-1]] for name, of in by_length.items()}
    return Lines(
        id="recall",
        title="Steps until the first symbol is recalled, by length",
        caption=f"Each length by itself. Training ends when {RECALLED:.0%} are right, or with the budget.",
        alt=f"steps at length {size.recall_lengths[-1]}: {list_means(longest, '.0f')}",
        x="length",
        y="steps",
        log=("x", "y"),
        series=sweep_series(by_length),
        levels={"budget": size.recall_steps},
    )
