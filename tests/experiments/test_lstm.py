"""What the LSTM's experiment draws, that its fast layers are the reference cells, and how it judges."""

import itertools
import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from quaere.content.results import Outcome
from reference_impl.experiments.lstm import (
    ATTENTION,
    BY_GRADIENT_DESCENT,
    CELL,
    CELL_1997,
    LEARNING_RATES,
    OPEN,
    PLAIN,
    PLAIN_1997,
    REBER_TASK,
    SHUT,
    SIZES,
    LastPositionEncoder,
    adding_error_rate,
    adding_task,
    build_model,
    build_training,
    gradient_reach,
    judge_adding,
    judge_lags,
    judge_reach,
    judge_reber,
    reber_accuracy,
    recall_task,
    regular_accuracy,
    repeat_accuracy,
    repeat_task,
    sample_adding,
    sample_reber,
    sample_reber_string,
    sample_recall,
    sample_repeat,
    to_torch,
)
from reference_impl.experiments.training import count_parameters
from reference_impl.lstm import RNN, LSTMCell, RNNCell

YES, PARTLY, NO, WAITS = Outcome.YES, Outcome.PARTLY, Outcome.NO, Outcome.NO_VERDICT


def drawing(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("cell", [RNNCell(5, 7), LSTMCell(5, 7, forget_bias=1.0), LSTMCell(5, 7, forget_bias=0.0)])
def test_torchs_layers_compute_what_the_reference_cells_do_and_so_do_their_gradients(cell):
    x = torch.randn(3, 20, 5)
    layer, outputs, gradients = to_torch(cell), [], []
    for network in (RNN(cell), layer):
        leaf = x.clone().requires_grad_()
        outputs.append(network(leaf)[0])
        weights = [weight for _, weight in sorted(network.named_parameters())]
        gradients.append(torch.autograd.grad(outputs[-1][:, -1].square().sum(), [leaf, *weights]))
    torch.testing.assert_close(outputs[1], outputs[0], atol=1e-5, rtol=1e-5)
    ours = dict(zip(["x", *sorted(name for name, _ in cell.named_parameters())], gradients[0], strict=True))
    theirs = dict(zip(["x", *sorted(name for name, _ in layer.named_parameters())], gradients[1], strict=True))
    for name, gradient in ours.items():
        other = theirs["x" if name == "x" else f"{name}_l0"]
        torch.testing.assert_close(other, gradient, atol=1e-5, rtol=1e-5)


def test_attention_read_at_the_last_place_is_the_whole_layers_last_place():
    model = LastPositionEncoder(5, 3, d_model=8, d_ff=12)
    x = torch.randn(2, 9, 5)
    whole = model.head(model.norm(model.layer(model.embed(x))))
    torch.testing.assert_close(model(x), whole[:, -1:], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("task", "name"),
    [(repeat_task(10), "repeat"), (recall_task(5), "recall"), (adding_task(20), "adding"), (REBER_TASK, "reber")],
    ids=["repeat", "recall", "adding", "reber"],
)
def test_the_models_of_a_problem_have_as_many_parameters_up_to_six_in_a_hundred(task, name):
    input_size, output_size = task.sizes
    counts = {
        arm: count_parameters(build_model(arm, input_size, output_size, task.num_cells or SIZES["small"].num_cells))
        for arm in LEARNING_RATES[name]
    }
    assert max(counts.values()) < 1.06 * min(counts.values()), counts


def test_the_two_sequences_of_task_2a_differ_in_their_first_symbol_alone_which_comes_again():
    x, following = sample_repeat(lag=10, count=2, generator=drawing())
    assert x.shape == (2, 10, 11)
    assert x.argmax(dim=2)[:, 0].tolist() == following[:, -1].tolist() == [0, 1]
    assert torch.equal(x.argmax(dim=2)[0, 1:], x.argmax(dim=2)[1, 1:])
    assert torch.equal(x.argmax(dim=2)[:, 1:], following[:, :-1])
    right = F.one_hot(following, 11).float()
    assert repeat_accuracy(right, following) == 1
    assert repeat_accuracy(right[[0, 0]], following) == 0.5
    right[0, 0] = torch.eye(11)[0]
    assert regular_accuracy(Always(right), x, following) == pytest.approx(17 / 18)


class Always(nn.Module):
    """A model with one parameter, and always the same answer."""

    def __init__(self, answer):
        super().__init__()
        self.answer = nn.Parameter(answer)

    def forward(self, x):
        return self.answer


def test_the_arms_of_1997_learn_by_gradient_descent_and_the_others_by_adam():
    for arm in LEARNING_RATES["repeat"]:
        made = build_training(repeat_task(2), arm, 3, SIZES["smoke"], 0)
        optimizer = made.optimizer(made.model())
        assert type(optimizer) is (torch.optim.SGD if arm in (PLAIN_1997, CELL_1997) else torch.optim.Adam)
        assert optimizer.param_groups[0]["lr"] == LEARNING_RATES["repeat"][arm]


def test_recall_asks_for_what_only_the_first_place_tells():
    x, first = sample_recall(lag=30, count=200, generator=drawing())
    symbols = x.argmax(dim=2)
    assert x.shape == (200, 31, 10)
    assert torch.equal(x.sum(dim=2), torch.ones(200, 31))
    assert torch.equal(symbols[:, 0], first)
    assert 60 < first.sum() < 140
    assert symbols[:, 1:].unique().tolist() == list(range(2, 10))


def test_adding_sums_what_is_marked_and_loses_a_mark_on_the_first_place():
    x, target = sample_adding(length=20, count=2000, generator=drawing())
    values, marks = x.unbind(dim=2)
    marked = marks == 1
    assert (marks[:, [0, -1]] == -1).all()
    assert not marked[:, 10:].any(), "a mark in the second half: the lag is shorter than half of the length"
    lost = marked.sum(dim=1) == 1
    assert 0.1 < lost.float().mean() < 0.3
    assert (marked.sum(dim=1)[~lost] == 2).all()
    by_hand = [
        0.5 + sum(v for v, m in zip(*row, strict=True) if m == 1) / 4
        for row in zip(values.tolist(), marks.tolist(), strict=True)
    ]
    torch.testing.assert_close(target[:, 0], torch.tensor(by_hand))


def test_a_sum_is_wrong_from_four_hundredths_on():
    sums = torch.tensor([[[9.0], [0.5]], [[9.0], [0.545]], [[9.0], [0.4]], [[9.0], [0.53]]])
    assert adding_error_rate(sums, torch.full((4, 1), 0.5)) == 0.5


def test_strings_are_embedded_rebers_and_each_symbol_is_among_those_that_may_follow():
    inner = re.compile(r"B(TS*X(XT*V(PXT*V)*(PS|V)|S)|PT*V(PXT*V)*(PS|V))E")
    generator = drawing()
    for text, follow in itertools.starmap(lambda *found: found, (sample_reber_string(generator) for _ in range(300))):
        assert text[0] == "B"
        assert text[-1] == "E"
        assert text[1] == text[-2]
        assert inner.fullmatch(text[2:-2]), text
        assert len(follow) == len(text) - 1
        assert all(after in may for after, may in zip(text[1:], follow, strict=True))


def test_a_string_is_right_only_if_the_last_symbol_but_one_repeats_the_second():
    _, target, may = sample_reber(50, drawing())
    perfect = may.clone()
    assert reber_accuracy(perfect, target, may) == 1
    rows, before_last = torch.arange(50), (target >= 0).sum(dim=1) - 2
    forgetful = perfect.clone()
    forgetful[rows, before_last] = torch.eye(7)[1]  # always T
    share = (target[rows, before_last] == 1).float().mean().item()
    assert 0.2 < share < 0.8
    assert reber_accuracy(forgetful, target, may) == pytest.approx(share)
    assert reber_accuracy(torch.zeros_like(may), target, may) == 0


def test_reach_is_the_share_of_the_last_gradient_but_one_that_is_left_at_the_first():
    class Halving(nn.Module):
        def forward(self, x):
            weights = 0.5 ** torch.arange(x.shape[1] - 1, -1, -1, dtype=x.dtype)
            return (x * weights[:, None]).sum(dim=1, keepdim=True)

    assert gradient_reach(Halving(), torch.randn(2, 12, 3)) == pytest.approx(0.5**10)


def test_the_reach_of_the_cell_of_1997_is_longer_than_that_of_the_plain_one():
    torch.manual_seed(0)
    x = sample_recall(lag=60, count=4, generator=drawing())[0]
    found = {
        arm: gradient_reach(build_model(arm, *recall_task(1).sizes, 8), x)
        for arm in (PLAIN, CELL, SHUT, OPEN, ATTENTION)
    }
    assert found[PLAIN] < found[SHUT] * 1e6
    assert found[SHUT] < found[OPEN] < found[CELL]
    assert found[CELL] > 0.1
    assert found[ATTENTION] > 0.1


THREE = 3 * [1e-9]


@pytest.mark.parametrize(
    ("plain", "cell", "outcome"),
    [
        ([1e-9, 1e-8, 1e-8], [0.5, 2.0, 1.0], YES),
        ([1e-9, 1e9, 1e-9], [0.5, 2.0, 1.0], YES),  # some vanish, one explodes
        ([1e-9, 0.2, 1e-9], [0.5, 2.0, 1.0], PARTLY),
        (THREE, [0.5, 0.01, 1.0], NO),
        (THREE, [0.5, 30.0, 1.0], NO),  # what explodes is not constant
        (THREE[:2], [0.5, 1.0], WAITS),
    ],
)
def test_reach_is_judged_at_the_longest_lag_before_training(plain, cell, outcome):
    before = {PLAIN: {1: [1.0, 1.0], 200: plain}, CELL: {1: [1.0, 1.0], 200: cell}}
    found = judge_reach(before, 24)
    assert found.outcome is outcome
    assert found.quantities[0].arms[CELL] == tuple(cell)


ALL, NONE = [1.0, 1.0, 0.995], [0.5, 0.5, 0.0]


@pytest.mark.parametrize(
    ("plain", "cell", "outcome"),
    [
        ({2: ALL, 10: NONE, 100: NONE}, {2: ALL, 10: ALL, 100: ALL}, YES),
        ({2: ALL, 10: [0.5, 1.0, 0.5], 100: NONE}, {2: ALL, 10: ALL, 100: ALL}, PARTLY),
        ({2: ALL, 10: NONE, 100: NONE}, {2: ALL, 10: ALL, 100: [1.0, 1.0, 0.5]}, PARTLY),
        ({2: ALL, 10: ALL, 100: [0.5, 1.0, 0.5]}, {2: ALL, 10: ALL, 100: ALL}, NO),
        ({2: [1.0, 1.0, 0.5], 10: NONE, 100: NONE}, {2: ALL, 10: ALL, 100: ALL}, WAITS),  # it learns nothing at all
        ({2: ALL[:2], 10: NONE[:2], 100: NONE[:2]}, {2: ALL[:2], 10: ALL[:2], 100: ALL[:2]}, WAITS),
    ],
)
def test_lags_are_judged_by_who_learns_them_by_gradient_descent(plain, cell, outcome):
    adam = dict.fromkeys(plain, ALL)
    repeated = {PLAIN_1997: plain, CELL_1997: cell, PLAIN: adam}
    regular = {arm: {lag: [1.0] * 3 for lag in plain} for arm in BY_GRADIENT_DESCENT}
    assert judge_lags(repeated, regular, 2500).outcome is outcome
    regular[CELL_1997][100] = [1.0, 0.9, 1.0]  # not trained long enough
    assert judge_lags(repeated, regular, 2500).outcome is WAITS


@pytest.mark.parametrize(
    ("longest", "cell", "plain", "outcome"),
    [
        (1000, [0.01, 0.02, 0.0], [0.9, 0.8, 0.8], YES),
        (50, [0.01, 0.02, 0.0], [0.9, 0.8, 0.8], PARTLY),
        (1000, [0.01, 0.3, 0.0], [0.9, 0.8, 0.8], NO),
        (50, [0.01, 0.06, 0.0], [0.9, 0.8, 0.8], NO),  # far less than the plain network's, and not stored
        (50, [0.01, 0.02, 0.0], [0.9, 0.6, 0.8], WAITS),  # a sum that takes no memory
        (50, [0.01, 0.02], [0.9, 0.8], WAITS),
    ],
)
def test_adding_is_judged_by_the_worst_trial_at_the_longest(longest, cell, plain, outcome):
    found = judge_adding({PLAIN: {20: [0.1] * 3, longest: plain}, CELL: {20: [0.0] * 3, longest: cell}}, 1500)
    assert found.outcome is outcome
    assert 0.8 < found.quantities[0].levels["always 0.5"] < 0.88


@pytest.mark.parametrize(
    ("plain", "cell", "outcome"),
    [
        ((30, 30, None), (10, 20, 20), YES),
        ((30, 30, 30), (10, 20, 20), PARTLY),
        ((20, 30, 30), (10, 20, 20), NO),  # sooner on average, and not apart
        ((None, 20, 20), (10, 20, 20), NO),  # more often, and not apart
        ((10, 10, 10), (10, 20, 20), NO),
        ((10, 10, 10), (None, 10, 10), NO),
        ((None, None, None), (None, None, 10), WAITS),  # nobody learns it
        ((30, 30), (10, 20), WAITS),
    ],
)
def test_reber_is_judged_by_how_often_and_how_soon_the_cell_of_1997_learns_it(plain, cell, outcome):
    def curve(at: int | None) -> list[dict[str, float]]:
        return [{"step": float(step), "score": float(at is not None and step >= at)} for step in (10, 20, 30)]

    arms = {PLAIN_1997: plain, CELL_1997: cell, OPEN: (None,) * len(cell)}
    curves = {arm: [*map(curve, solved)] for arm, solved in arms.items()}
    found = judge_reber(curves, batch=1325)  # 39,750 strings
    assert found.outcome is outcome
    assert judge_reber(curves, batch=1324).outcome is WAITS
