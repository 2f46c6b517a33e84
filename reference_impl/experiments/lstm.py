r"""LSTM against a plain RNN and attention: over which time lags can they remember?

Claims: The error that flows back in a plain recurrent network vanishes with the lag, and in the memory cell it does not
    (Sections 3.1 and 3.2); so plain networks fail at lags of 10, and LSTM succeeds at 100 (Section 5.2). It stores
    numbers (Section 5.4), and learns the embedded Reber grammar more often and sooner (Section 5.1).

Tasks: *Repeat*: the noise-free sequences of Section 5.2, task 2a. There are only two: x or y, then other
    symbols, always the same, then x or y again; the next symbol is to be predicted at each step. *Recall*: as there,
    but the symbols between are random, and the loss is at the end alone. *Adding*: the sum of two marked numbers, as
    in Section 5.4, at a fixed length. *Embedded Reber*: predict the next symbol of a string of the grammar.

Arms: the LSTM of 1997 (`LSTM1997Cell`), which has no forget gate, and today's with a forget bias of 0 and of 1. Today's
    and the plain RNN run in `torch.nn.LSTM` and `torch.nn.RNN`, with the reference cells' initial weights, for speed.
    Attention is one Transformer encoder layer, read at the last position. The paper's models learn by gradient descent;
    where it says that others fail, the LSTM of 1997 and the plain RNN do so, too. Adam, which they had not, stands
    beside it.

Budget: within a task all models have the same number of parameters within 6 %, the same sequences and number of steps,
    and gradients clipped to a norm of 1. Learning rates were chosen among 0.001, 0.003, 0.01 and 0.03 with Adam, and
    among 0.1, 0.3, 1 and 3 with gradient descent, for each model and task, under seed 100, which no size runs, at the
    longest lag or length of `small` at which any rate teaches the model anything: the one with the best final score,
    and among equals with the best mean over the curve. One rate serves all lags.

Measures: *Reach*: the norm of the last output's gradient at the first input, relative to that at the next-to-last.
    Accuracy of the first symbol at the end; the share of wrong sums; the share of right strings, where a string is
    right if, at each of its positions, the symbols that may follow have the highest scores.

Gates: the plain RNN learns the repeat task at its shortest lag, so that it fails for the lag; at each lag both learn
    the symbols that are always the same, so that they were trained long enough; the plain RNN does no better than a
    constant answer on sums, so that they take a memory; some arm learns the grammar, and trials have as many strings as
    the paper's LSTM took; three seeds or more.

Rules: an earlier rule compared models trained with Adam on the recall task, where the plain RNN solved lags of 100. It
    was replaced, since the paper's rivals learn task 2a by gradient descent. The gate on symbols that are always the
    same was added after a run in which the LSTM of 1997 had not learned them at a lag of 100, that on the number of
    strings after one with half as many, in which it solved two of five trials of the grammar, and the plain RNN all.

Stands in: some 5,000 to 50,000 sequences a trial. Training sequences of the grammar are drawn anew at each step,
    independently of the test strings: short strings may occur among both.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from quaere.content.results import Finding, Lines, Report, Table, spread
from quaere.running.experiments import Run
from reference_impl.experiments.arms import count_built, match_width, measure_seeds, train_seeds
from reference_impl.experiments.curves import Curve, Sweep, curve_series, final_values, list_means, select, sweep_series
from reference_impl.experiments.judging import (
    all_runs_above,
    enough_seeds,
    gate,
    judge,
    no_experiment,
    quantity,
)
from reference_impl.experiments.training import Batch, Loss, Training, count_parameters, device_of
from reference_impl.layers.positions import sinusoidal_positions
from reference_impl.lstm import RNN, LSTM1997Cell, LSTMCell, RNNCell
from reference_impl.transformer import EncoderLayer, PreNorm


@dataclass(frozen=True)
class Size:
    """The settings of a run: lags and lengths of sequences, steps of training, and the number of LSTM cells."""

    seeds: int
    num_cells: int
    batch_size: int
    test_sequences: int
    reach_lags: tuple[int, ...]
    repeat_lags: tuple[int, ...]
    repeat_steps: int
    recall_lags: tuple[int, ...]
    recall_steps: int
    adding_lengths: tuple[int, ...]
    adding_steps: int
    trials: int
    reber_steps: int


PAPER_STRINGS = 39_740
"""The strings of the embedded Reber grammar that the slowest of the paper's LSTMs took (Table 1)."""
PAPER_LENGTH = 1000
"""The length of the paper's longest sequences in the adding problem: a minimal lag of 500."""
SIZES = {
    "smoke": Size(1, 8, 8, 16, (1, 5, 20), (2, 5), 5, (3, 6), 5, (12, 16), 5, 1, 5),
    "small": Size(
        3, 24, 32, 512, (1, 2, 5, 10, 20, 50, 100, 200), (2, 10, 100), 2500, (10, 100), 800, (20, 50), 1500, 5, 1300
    ),
    "full": Size(
        10,
        64,
        64,
        2560,
        (1, 10, 100, 1000),
        (2, 10, 100),
        50_000,
        (10, 100, 1000),
        20_000,
        (100, 500, 1000),
        50_000,
        30,
        10_000,
    ),
}


# Tasks and data


@dataclass(frozen=True)
class Task:
    """A task to learn.

    Attributes:
        sample: Draws a number of sequences with their targets.
        loss: Returns the summed loss of a model on them, and the number to divide it by.
        score: Returns the score of a model's outputs.
        sizes: The widths of the input and of the output.
        batch_size, num_cells: As the size says, unless the task has its own.
    """

    name: str
    sample: Callable[[int, torch.Generator], Batch]
    loss: Loss
    score: Callable[..., float]
    sizes: tuple[int, int]
    batch_size: int | None = None
    num_cells: int | None = None


def repeat_task(lag: int) -> Task:
    """Return the task of repeating the first symbol, with the eight cells and the two sequences of a step."""
    return Task("repeat", partial(sample_repeat, lag), repeat_loss, repeat_accuracy, (lag + 1, lag + 1), 2, 8)


def recall_task(lag: int) -> Task:
    """Return the task of recalling the first symbol."""
    return Task("recall", partial(sample_recall, lag), recall_loss, recall_accuracy, (2 + NUM_DISTRACTORS, 2))


def adding_task(length: int) -> Task:
    """Return the adding problem."""
    return Task("adding", partial(sample_adding, length), adding_loss, adding_error_rate, (2, 1))


def sample_repeat(lag: int, count: int, generator: torch.Generator) -> Batch:
    """Return the two sequences of task 2a in turns, as one-hot symbols, and the symbol that follows each of them."""
    first = torch.arange(count)[:, None] % 2
    symbols = torch.cat([first, torch.arange(2, lag + 1).expand(count, -1), first], dim=1)
    return F.one_hot(symbols[:, :-1], lag + 1).float(), symbols[:, 1:]


NUM_DISTRACTORS = 8


def sample_recall(lag: int, count: int, generator: torch.Generator) -> Batch:
    """Draw sequences of one of two symbols and `lag` distractors, with the first symbol as target."""
    first = torch.randint(2, (count, 1), generator=generator)
    others = 2 + torch.randint(NUM_DISTRACTORS, (count, lag), generator=generator)
    return F.one_hot(torch.cat([first, others], dim=1), 2 + NUM_DISTRACTORS).float(), first[:, 0]


def sample_adding(length: int, count: int, generator: torch.Generator) -> Batch:
    """Draw sequences of the adding problem, with 0.5 plus a quarter of the sum of the marked numbers as target.

    One mark is among the first ten places, another in the first half; the first and the last place have -1 instead, so
    that a mark that falls on the first is lost.
    """
    values, marks = 2 * torch.rand(count, length, generator=generator) - 1, torch.zeros(count, length)
    first = torch.randint(min(10, length), (count, 1), generator=generator)
    second = torch.randint(length // 2 - 2, (count, 1), generator=generator)
    second += (second >= first).long()  # any place of the half but the one that is taken
    marks.scatter_(1, torch.cat([first, second], dim=1), 1.0)
    marks[:, [0, -1]] = -1.0
    return torch.stack([values, marks], dim=2), 0.5 + (values * (marks == 1)).sum(dim=1, keepdim=True) / 4


SYMBOLS = "BTPSXVE"
REBER_GRAMMAR = {0: "T1P2", 1: "S1X3", 2: "T2V4", 3: "X2S5", 4: "P3V5", 5: "E6"}
"""The Reber grammar: for each state, the symbols that may follow, each with the state that it leads to."""


def sample_reber(count: int, generator: torch.Generator) -> Batch:
    """Draw strings without their last symbol, the next symbols (-1 beyond the end), and all that may follow."""
    drawn = [sample_reber_string(generator) for _ in range(count)]
    n = max(len(follow) for _, follow in drawn)
    x, may = torch.zeros(2, count, n, len(SYMBOLS))
    target = torch.full((count, n), -1)
    for row, (text, follow) in enumerate(drawn):
        for place, symbols in enumerate(follow):
            x[row, place, SYMBOLS.index(text[place])] = 1
            target[row, place] = SYMBOLS.index(text[place + 1])
            may[row, place, [SYMBOLS.index(symbol) for symbol in symbols]] = 1
    return x, target, may


def sample_reber_string(generator: torch.Generator) -> tuple[str, list[str]]:
    """Draw a string of the embedded Reber grammar, and the symbols that may follow at each of its positions."""

    def toss(symbols: str) -> str:
        return symbols[int(torch.randint(len(symbols), (1,), generator=generator))]

    outer = toss("TP")
    text, follow, state = f"B{outer}B", ["TP", "B"], 0
    while state < 6:
        ways = dict(zip(REBER_GRAMMAR[state][::2], REBER_GRAMMAR[state][1::2], strict=True))
        follow.append("".join(ways))
        text += toss(follow[-1])
        state = int(ways[text[-1]])
    return f"{text}{outer}E", [*follow, outer, "E"]


# Arms

PLAIN, CELL, SHUT = "plain RNN", "LSTM of 1997", "LSTM, forget bias 0"
OPEN, ATTENTION = "LSTM, forget bias 1", "attention"
BY_GRADIENT_DESCENT = {f"{model}, gradient descent": model for model in (PLAIN, CELL)}
"""The models that learn by gradient descent, by the names of these arms; all others learn by Adam."""
PLAIN_1997, CELL_1997 = BY_GRADIENT_DESCENT
LEARNING_RATES = {
    "repeat": {PLAIN_1997: 0.3, CELL_1997: 0.3, PLAIN: 0.01},
    "recall": {PLAIN: 0.01, CELL: 0.001, SHUT: 0.001, OPEN: 0.001, ATTENTION: 0.01},
    "adding": {PLAIN: 0.001, CELL: 0.03, OPEN: 0.001, ATTENTION: 0.003},
    "reber": {PLAIN_1997: 1.0, CELL_1997: 3.0, PLAIN: 0.01, CELL: 0.01, OPEN: 0.03},
}
"""For each problem and each arm that is tried on it."""


class RNNModel(nn.Module):
    """A recurrent network with a linear output layer.

    Args:
        cell: The initial cell; LSTMCell and RNNCell are run by torch's layers.
        output_size: The width of the output.
    """

    def __init__(self, cell: RNNCell | LSTM1997Cell | LSTMCell, output_size: int) -> None:
        super().__init__()
        self.layer = RNN(cell) if isinstance(cell, LSTM1997Cell) else to_torch(cell)
        self.head = nn.Linear(cell.hidden_size, output_size)

    def forward(self, x: Float[Tensor, "b n input_size"]) -> Float[Tensor, "b n _"]:
        """Return the output at each step."""
        return self.head(self.layer(x)[0])


def to_torch(cell: RNNCell | LSTMCell) -> nn.RNNBase:
    """Return torch's layer with the weights of a cell."""
    kind = nn.LSTM if isinstance(cell, LSTMCell) else nn.RNN
    layer = kind(cell.weight_ih.shape[1], cell.hidden_size, batch_first=True)
    layer.load_state_dict({f"{name}_l0": weight for name, weight in cell.state_dict().items()})
    return layer


class LastPositionEncoder(nn.Module):
    """One pre-norm Transformer encoder layer, computed at the last position alone, with a linear output layer.

    Args:
        input_size: The width of the input.
        output_size: The width of the output.
        d_model: The width of the layer.
        d_ff: The width of its feed-forward network.
    """

    def __init__(self, input_size: int, output_size: int, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.project, self.head = nn.Linear(input_size, d_model), nn.Linear(d_model, output_size)
        self.layer, self.norm = EncoderLayer(d_model, 2, d_ff, dropout=0.0, residual=PreNorm), nn.LayerNorm(d_model)

    def embed(self, x: Float[Tensor, "b n input_size"]) -> Float[Tensor, "b n d"]:
        """Return the projected sequences plus positional encodings."""
        return self.project(x) + sinusoidal_positions(x.shape[1], self.project.out_features).to(x)

    def forward(self, x: Float[Tensor, "b n input_size"]) -> Float[Tensor, "b 1 _"]:
        """Return the output at the last position."""
        y, layer = self.embed(x), self.layer
        inner, last = layer.around_self_attention.input(y), y[:, -1:]
        last = layer.around_self_attention.output(last, layer.self_attention(inner[:, -1:], inner, inner))
        inner = layer.around_feed_forward.input(last)
        return self.head(self.norm(layer.around_feed_forward.output(last, layer.feed_forward(inner))))


def build_model(arm: str, input_size: int, output_size: int, num_cells: int) -> nn.Module:
    """Return a new model of an arm with about as many parameters as an LSTM with `num_cells` cells."""
    arm = BY_GRADIENT_DESCENT.get(arm, arm)
    makers: dict[str, Callable[[int], nn.Module]] = {
        PLAIN: lambda width: RNNModel(RNNCell(input_size, width), output_size),
        CELL: lambda width: RNNModel(LSTM1997Cell(input_size, width), output_size),
        SHUT: lambda width: RNNModel(LSTMCell(input_size, width, forget_bias=0.0), output_size),
        OPEN: lambda width: RNNModel(LSTMCell(input_size, width, forget_bias=1.0), output_size),
        ATTENTION: lambda width: LastPositionEncoder(input_size, output_size, d_model=2 * (num_cells // 3), d_ff=width),
    }
    if arm in (SHUT, OPEN):
        return makers[arm](num_cells)
    budget = count_built(partial(makers[OPEN], num_cells))
    return makers[arm](match_width(makers[arm], budget, max_width=5 * num_cells - 1))


# Training


def repeat_loss(model: nn.Module, x: Tensor, following: Tensor) -> tuple[Tensor, int]:
    """Return the summed cross-entropy of the next symbols, and the number of sequences: errors add up over time."""
    return F.cross_entropy(model(x).mT, following, reduction="sum"), len(x)


def recall_loss(model: nn.Module, x: Tensor, first: Tensor) -> tuple[Tensor, int]:
    """Return the summed cross-entropy of the first symbol at the last step, and the number of sequences."""
    return F.cross_entropy(model(x)[:, -1], first, reduction="sum"), len(x)


def adding_loss(model: nn.Module, x: Tensor, target: Tensor) -> tuple[Tensor, int]:
    """Return the summed squared error at the last step, and the number of sequences."""
    return (model(x)[:, -1] - target).square().sum(), len(x)


def reber_loss(model: nn.Module, x: Tensor, target: Tensor, may: Tensor) -> tuple[Tensor, Tensor]:
    """Return the summed cross-entropy of the next symbols, and their number."""
    return F.cross_entropy(model(x).mT, target, ignore_index=-1, reduction="sum"), (target >= 0).sum()


def build_training(task: Task, arm: str, steps: int, size: Size, seed: int) -> Training:
    """Return the training of a model on a task; it ends with the gradient reach after training."""
    test = task.sample(task.batch_size or size.test_sequences, torch.Generator().manual_seed(2**31 + seed))
    optimizer = torch.optim.SGD if arm in BY_GRADIENT_DESCENT else torch.optim.Adam

    def measure(model: nn.Module) -> dict[str, float]:
        return {"score": task.score(model(test[0].to(device_of(model))).cpu(), *test[1:])}

    return Training(
        model=partial(build_model, arm, *task.sizes, task.num_cells or size.num_cells),
        loss=task.loss,
        batch=partial(task.sample, task.batch_size or size.batch_size),
        steps=steps,
        optimizer=lambda model: optimizer(model.parameters(), lr=LEARNING_RATES[task.name][arm]),
        clip=1.0,
        measure=measure,
        every=max(1, steps // 40),
        ending=lambda model: {
            "reach": gradient_reach(model, test[0][:16].to(device_of(model))),
            **({"regular": regular_accuracy(model, *test)} if task.name == "repeat" else {}),
        },
    )


# Measures

Results = Mapping[str, Sweep]
"""By model and by lag or length: a number for each seed."""


def repeat_accuracy(scores: Float[Tensor, "b n v"], following: Int[Tensor, "b n"]) -> float:
    """Return the share of sequences at whose end the first symbol is repeated."""
    return float((scores[:, -1].argmax(dim=1) == following[:, -1]).float().mean())


def regular_accuracy(model: nn.Module, x: Float[Tensor, "b n v"], following: Int[Tensor, "b n"]) -> float:
    """Return the accuracy on the symbols of task 2a that are always the same: all but the last."""
    right = model(x.to(device_of(model))).argmax(dim=2).cpu() == following
    return float(right[:, :-1].float().mean())


def recall_accuracy(scores: Float[Tensor, "b n c"], first: Int[Tensor, " b"]) -> float:
    """Return the accuracy of recalling the first symbol."""
    return float((scores[:, -1].argmax(dim=1) == first).float().mean())


def adding_error_rate(sums: Float[Tensor, "b n 1"], target: Float[Tensor, "b 1"]) -> float:
    """Return the share of sequences that the paper counts as wrong: the scaled sum is off by 0.04 or more."""
    return float(((sums[:, -1] - target).abs() >= 0.04).float().mean())


def constant_answer_error_rate(length: int) -> float:
    """Return the error rate of the constant answer 0.5, the mean of all targets."""
    target = sample_adding(length, 5000, torch.Generator().manual_seed(0))[1]
    return adding_error_rate(torch.full((5000, 1, 1), 0.5), target)


def reber_accuracy(scores: Float[Tensor, "b n v"], target: Int[Tensor, "b n"], may: Float[Tensor, "b n v"]) -> float:
    """Return the share of strings in which, at each position, the symbols that may follow score above all others."""
    lowest = scores.masked_fill(may == 0, torch.inf).amin(dim=2)
    highest = scores.masked_fill(may == 1, -torch.inf).amax(dim=2)
    return float(((lowest > highest) | (target < 0)).all(dim=1).float().mean())


REBER_TASK = Task("reber", sample_reber, reber_loss, reber_accuracy, (len(SYMBOLS), len(SYMBOLS)))


def gradient_reach(model: nn.Module, x: Float[Tensor, "b n input_size"]) -> float:
    """Return the ratio of the last output's gradients with respect to the first and to the next-to-last input.

    It is a ratio of norms, each over all outputs and sequences, in float64 so that little is not taken for nothing.
    """
    exact, inputs = copy.deepcopy(model).double(), x.double().requires_grad_()
    with torch.enable_grad():
        last = exact(inputs)[:, -1]
        gradients = torch.stack([torch.autograd.grad(o.sum(), inputs, retain_graph=True)[0] for o in last.unbind(1)])
    return float(gradients[:, :, 0].norm() / gradients[:, :, -2].norm())


def untrained_reaches(arm: str, lags: Sequence[int], num_cells: int, seed: int) -> list[float]:
    """Return the gradient reach of an untrained model over each lag."""
    torch.manual_seed(seed)
    model, generator = build_model(arm, *recall_task(1).sizes, num_cells), torch.Generator().manual_seed(seed)
    # One step more than the lag, so that even at a lag of 1 the last but one is the first.
    return [gradient_reach(model, sample_recall(lag, 16, generator)[0]) for lag in lags]


# Claims

SOLVED_ACCURACY = 0.99
"""The accuracy from which on a trial of the recall task counts as solved."""
CONSTANT_ERROR_RANGE = 0.1, 10.0
"""The range of gradient ratios in which the error counts as constant: it neither vanishes nor explodes."""


def judge_reach(before: Results, num_cells: int) -> Finding:
    """Judge whether the gradient vanishes or explodes in the plain network, and not in the cell of 1997."""
    longest = max(before[PLAIN])
    low, high = CONSTANT_ERROR_RANGE
    flows = {arm: [low <= share <= high for share in of[longest]] for arm, of in before.items()}
    reach = {arm: of[longest] for arm, of in before.items()}
    return judge(
        "constant-error",
        f"Reproduced if at the longest lag the share that is left lies between {low:g} and {high:g} in each cell of "
        "1997, and outside in each plain network; partly if only the former holds.",
        ran=f"untrained models of {num_cells} cells or as many parameters, lags up to {longest}",
        quantities=[
            quantity(
                f"gradient left at the first input after {longest} steps", reach, levels={"none lost": 1.0}, log=True
            )
        ],
        reproduced=all(flows[CELL]) and not any(flows[PLAIN]),
        partly=all(flows[CELL]),
        gates=[enough_seeds(reach)],
    )


def judge_lags(repeated: Results, regular: Results, steps: int) -> Finding:
    """Judge whether LSTM solves lags at which plain networks fail, both by gradient descent."""
    shortest, *lags = repeated[PLAIN_1997]
    longest = lags[-1]
    plain, cell = (
        {lag: [one >= SOLVED_ACCURACY for one in repeated[arm][lag]] for lag in repeated[arm]}
        for arm in (PLAIN_1997, CELL_1997)
    )
    return judge(
        "where-others-fail",
        f"Reproduced if by gradient descent all trials of the LSTM of 1997 learn the lag of {longest}, and no trial of "
        f"the plain network that of {lags[0]}; partly if at some lag all of the former do and none of the latter.",
        ran=f"task 2a: two sequences, 8 cells or as many parameters, {2 * steps:,} sequences a trial",
        quantities=[
            quantity(
                f"first symbol repeated after {lag} steps",
                {arm: of[lag] for arm, of in repeated.items()},
                "higher",
                levels={"guesses": 0.5},
            )
            for lag in (shortest, *lags)
        ],
        reproduced=all(cell[longest]) and not any(plain[lags[0]]),
        partly=any(all(cell[lag]) and not any(plain[lag]) for lag in lags),
        gates=[
            gate(
                f"The plain network learns a lag of {shortest}, so that it is the lag that it fails for.",
                all(plain[shortest]),
                f"{sum(plain[shortest])} of {len(plain[shortest])} trials",
            ),
            gate(
                "By gradient descent all trials learn the symbols that are always the same, at each lag.",
                all(min(regular[arm][lag]) == 1 for arm in BY_GRADIENT_DESCENT for lag in regular[arm]),
                "; ".join(
                    f"{arm} {', '.join(f'{min(shares):.2f}' for shares in regular[arm].values())}"
                    for arm in BY_GRADIENT_DESCENT
                ),
            ),
            enough_seeds({arm: of[longest] for arm, of in repeated.items()}),
        ],
    )


def judge_adding(wrong_at: Results, steps: int) -> Finding:
    """Judge whether LSTM solves the adding problem where the plain network does no better than a constant."""
    longest = max(wrong_at[CELL])
    constant = constant_answer_error_rate(longest)
    solves, plain = max(wrong_at[CELL][longest]) < 0.05, wrong_at[PLAIN][longest]
    shares = {arm: of[longest] for arm, of in wrong_at.items()}
    return judge(
        "adding",
        f"Reproduced if in each trial at a length of {PAPER_LENGTH:,} or more the LSTM of 1997 has less than 5% wrong; "
        "partly if the longest that was tried is shorter, and it has so there.",
        ran=f"sequences of {longest} numbers, a minimal lag of {longest // 2}, {steps:,} steps",
        quantities=[
            quantity(
                "test sequences wrong",
                shares,
                "lower",
                reported={CELL: 1 / 2560} if longest >= PAPER_LENGTH else {},
                levels={"always 0.5": constant},
            )
        ],
        reproduced=solves and longest >= PAPER_LENGTH,
        partly=solves,
        gates=[
            gate(
                "Sums take a memory: no trial of the plain network has less than 0.9 of what a constant answer has "
                "wrong.",
                min(plain) >= 0.9 * constant,
                f"plain {min(plain):.3f}, constant {constant:.3f}",
            ),
            enough_seeds(shares),
        ],
    )


def judge_reber(spelt: Mapping[str, Sequence[Curve]], batch: int) -> Finding:
    """Judge whether LSTM learns the grammar more often and sooner than the plain network, by gradient descent."""
    solved = {arm: [_solved(curve) for curve in curves] for arm, curves in spelt.items()}
    often = {arm: [float(at is not None) for at in found] for arm, found in solved.items()}
    late = {
        arm: [batch * (at or curve[-1]["step"]) for at, curve in zip(found, spelt[arm], strict=True)]
        for arm, found in solved.items()
    }
    more = sum(often[CELL_1997]) - sum(often[PLAIN_1997])
    sooner = all_runs_above(late[PLAIN_1997], late[CELL_1997])
    most = int(spelt[CELL_1997][0][-1]["step"])
    return judge(
        "reber",
        "Reproduced if by gradient descent the LSTM of 1997 solves more trials than the plain network, and each of its "
        "trials sooner than each of the plain network's, where an unsolved trial counts as after its last string; "
        "partly if it solves as many, each sooner.",
        ran=f"embedded Reber grammar, {batch * most:,} strings a trial in batches of {batch}; of the paper's rivals "
        "only the plain network",
        quantities=[
            quantity("trials with all test strings right", often, "higher"),
            quantity("strings until then, or all", late, "lower"),
        ],
        reproduced=more > 0 and sooner,
        partly=more >= 0 and sooner,
        gates=[
            gate(
                f"A trial has {PAPER_STRINGS:,} strings or more, as many as the paper's slowest LSTM took.",
                batch * most >= PAPER_STRINGS,
                f"{batch * most:,}",
            ),
            gate(
                "The grammar is learned in most trials of some arm.",
                any(fmean(each) > 0.5 for each in often.values()),
                "; ".join(f"{arm} {sum(each):.0f} of {len(each)}" for arm, each in often.items()),
            ),
            enough_seeds(often),
        ],
    )


def _solved(curve: Curve) -> float | None:
    return next((at["step"] for at in curve if at["score"] == 1), None)


NO_EXPERIMENT = no_experiment(
    {
        "thousand-steps": "tens of thousands of sequences of 1,001 places in each of 20 trials: hours of the cell of "
        "1997 on a CPU, by what a lag of 100 takes"
    }
)


# Report


def experiment(run: Run) -> Report:
    """Measure gradient reaches, then train each model on each task."""
    size, seeds = SIZES[run.size], run.seeds(SIZES[run.size].seeds)
    trials = run.seeds(size.trials)
    tried = [
        *(("repeat", repeat_task(lag), lag, size.repeat_steps, seeds) for lag in size.repeat_lags),
        *(("recall", recall_task(lag), lag, size.recall_steps, seeds) for lag in size.recall_lags),
        *(("adding", adding_task(length), length, size.adding_steps, seeds) for length in size.adding_lengths),
        ("reber", REBER_TASK, 0, size.reber_steps, trials),
    ]
    begins = [*LEARNING_RATES["recall"]]
    run.expect(
        len(begins) * len(seeds) + sum(len(LEARNING_RATES[name]) * len(of_seeds) for name, *_, of_seeds in tried)
    )
    begun = {
        arm: measure_seeds(
            run, f"reach of {arm}", partial(untrained_reaches, arm, size.reach_lags, size.num_cells), seeds
        )
        for arm in begins
    }
    done: dict[str, dict[str, dict[int, list[Any]]]] = {name: {} for name in LEARNING_RATES}
    for name, task, long, steps, of_seeds in tried:
        for arm in LEARNING_RATES[name]:
            build = partial(build_training, task, arm, steps, size)
            done[name].setdefault(arm, {})[long] = train_seeds(run, f"{name} {long} {arm}", build, of_seeds)
    curves = {name: {arm: select(of_arm, "curve") for arm, of_arm in arms.items()} for name, arms in done.items()}
    repeated, named_at, wrong_at = (
        {arm: final_values(of_arm, "score") for arm, of_arm in curves[name].items()}
        for name in ("repeat", "recall", "adding")
    )
    regular = {arm: select(of_arm, "regular") for arm, of_arm in done["repeat"].items()}
    after = {arm: select(of_arm, "reach") for arm, of_arm in done["recall"].items()}
    spelt = {arm: of_arm[0] for arm, of_arm in curves["reber"].items()}
    before = {arm: dict(zip(size.reach_lags, zip(*of, strict=True), strict=True)) for arm, of in begun.items()}
    return Report(
        findings=(
            judge_reach(before, size.num_cells),
            judge_lags(repeated, regular, size.repeat_steps),
            judge_adding(wrong_at, size.adding_steps),
            judge_reber(spelt, size.batch_size),
            *NO_EXPERIMENT,
        ),
        tables=(_counts(size), _scores(named_at, wrong_at)),
        figures=(
            _reach("reach", "How much of the gradient is left at the start, before training", before),
            _recalled(named_at),
            _reach("reach-after", "How much is left after training on the recall problem", after),
            _added(wrong_at),
            _spelt(spelt, size.batch_size),
        ),
        seeds=tuple(seeds),
        settings={**asdict(size), "rates": LEARNING_RATES},
        notes=(
            "A gradient's reach is not a memory's. A state that has settled in one of two places keeps a symbol while "
            "the gradient through it vanishes. Recall is with Adam and random symbols between; the claims are about "
            "gradient descent on the paper's own sequences."
        ),
    )


def _counts(size: Size) -> Table:
    tasks = {task.name: task for task in (repeat_task(10), recall_task(1), adding_task(20), REBER_TASK)}
    return Table(
        title="Parameters",
        columns=("model", *tasks),
        rows=tuple(
            (
                arm,
                *(
                    count_parameters(build_model(arm, *task.sizes, task.num_cells or size.num_cells))
                    if arm in LEARNING_RATES[name]
                    else None
                    for name, task in tasks.items()
                ),
            )
            for arm in dict.fromkeys(arm for of in LEARNING_RATES.values() for arm in of)
        ),
        note="The repeat task at a lag of 10.",
    )


def _scores(named_at: Results, wrong_at: Results) -> Table:
    return Table(
        title="After training: accuracy on recall by lag, and share wrong in adding by length",
        columns=(
            "model",
            *(f"recall {lag}" for lag in named_at[PLAIN]),
            *(f"adding {length}" for length in wrong_at[PLAIN]),
        ),
        rows=tuple(
            (
                arm,
                *(spread(of, ".2f") for of in named_at[arm].values()),
                *(spread(wrong_at[arm][length], ".2f") if arm in wrong_at else None for length in wrong_at[PLAIN]),
            )
            for arm in named_at
        ),
        note="The mean over seeds, with the lowest and the highest. Guesses have 0.5 right in recall.",
    )


def _ends(found: Results, form: str) -> str:
    return list_means({arm: of[max(of)] for arm, of in found.items()}, form)


def _reach(name: str, title: str, found: Results) -> Lines:
    return Lines(
        id=name,
        title=title,
        caption=(
            "The gradient of the last output at the first input, as a share of that at the last input but one: 1 means "
            "that distance is no matter. A straight line down is a loss by the same factor at every step. After "
            "training the share also counts how shut an input gate is at the later of both inputs."
        ),
        alt=f"Share against lag; at the longest, {max(found[PLAIN])}: {_ends(found, '.0e')}.",
        x="lag (steps)",
        y="share of the gradient",
        log=("x", "y"),
        series=sweep_series(found),
        levels={"nothing lost": 1.0},
    )


def _recalled(found: Results) -> Lines:
    return Lines(
        id="recall",
        title="Naming the first symbol after a lag",
        caption="Accuracy on test sequences after as many steps: at which lag does each curve fall to chance?",
        alt=f"Accuracy against lag; at the longest, {max(found[PLAIN])}: {_ends(found, '.2f')}. Chance is 0.5.",
        x="lag (steps)",
        y="accuracy",
        log=("x",),
        series=sweep_series(found),
        levels={"chance": 0.5},
    )


def _added(found: Results) -> Lines:
    constant = constant_answer_error_rate(max(found[PLAIN]))
    return Lines(
        id="adding",
        title="The adding problem",
        caption="Test sequences whose sum is off by 0.04 or more. The upper line has learned nothing but the mean.",
        alt=(
            f"Share wrong against length; at {max(found[PLAIN])}: {_ends(found, '.2f')}. Always to answer 0.5 has "
            f"{constant:.2f} wrong."
        ),
        x="length (steps)",
        y="share wrong",
        series=sweep_series(found),
        levels={"always 0.5": constant},
    )


def _spelt(spelt: Mapping[str, Sequence[Curve]], batch: int) -> Lines:
    ends = list_means(final_values(spelt, "score"), ".2f", ", ")
    return Lines(
        id="reber",
        title="The embedded Reber grammar",
        caption=(
            "Test strings that are right at every place. Half are right when all is learned but that the last symbol "
            "but one repeats the second: to get there is the memory's part."
        ),
        alt=f"Share right against steps; in the end: {ends}.",
        x=f"steps (of {batch} strings)",
        y="share right",
        series=curve_series(spelt, "score"),
        levels={"without memory": 0.5},
    )
