"""The cells against torch's, the memory cell of 1997 against its paper's own recursions and weight counts."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.overrides import TorchFunctionMode

from reference_impl.lstm import RNN, LSTM1997Cell, LSTMCell, RNNCell, truncated_bptt

# Batch, steps, width of the input, width of the state: among them each at its least.
SIZES = [(3, 7, 5, 4), (1, 7, 5, 4), (3, 1, 5, 4), (3, 7, 1, 1), (1, 1, 1, 1)]
PRECISION = [(torch.float64, 1e-10), (torch.float32, 1e-5)]


def close(ours: Tensor | None, theirs: Tensor | None, tolerance: float) -> None:
    assert ours is not None, "no gradient"
    torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def blank(cell: LSTMCell, *drives: float) -> LSTMCell:
    """Set every weight to zero, and the four biases of every unit to the given drives."""
    with torch.no_grad():
        for p in cell.parameters():
            p.zero_()
        cell.bias_ih.copy_(torch.tensor(drives, dtype=cell.bias_ih.dtype).repeat_interleave(cell.hidden_size))
    return cell


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISION)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("ours", "peer"), [(RNNCell, nn.RNNCell), (LSTMCell, nn.LSTMCell)])
def test_a_step_equals_torchs_forwards_and_backwards(ours, peer, size, dtype, tolerance):
    b, _, d, h = size
    oracle = peer(d, h, dtype=dtype)
    cell = ours(d, h).to(dtype)
    cell.load_state_dict(oracle.state_dict())
    x = torch.randn(b, d, dtype=dtype)
    state = tuple(torch.randn(b, h, dtype=dtype) for _ in cell.init_state(x))
    leaves = [[part.clone().requires_grad_() for part in (x, *state)] for _ in range(2)]
    mine = cell(leaves[0][0], tuple(leaves[0][1:]))
    theirs = oracle(leaves[1][0], leaves[1][1] if ours is RNNCell else tuple(leaves[1][1:]))
    theirs = (theirs,) if isinstance(theirs, Tensor) else theirs
    for a, c in zip(mine, theirs, strict=True):
        close(a, c, tolerance)
    weights = [torch.randn_like(part) for part in mine]
    for parts in (mine, theirs):
        sum((part * weight).sum() for part, weight in zip(parts, weights, strict=True)).backward()
    for a, c in zip([*leaves[0], *cell.parameters()], [*leaves[1], *oracle.parameters()], strict=True):
        close(a.grad, c.grad, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISION)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("ours", "peer"), [(RNNCell, nn.RNN), (LSTMCell, nn.LSTM)])
@pytest.mark.parametrize("fused", [False, True])
def test_a_sequence_equals_torchs_forwards_and_backwards(ours, peer, fused, size, dtype, tolerance):
    b, n, d, h = size
    oracle = peer(d, h, batch_first=True, dtype=dtype)
    layer = RNN(ours(d, h), fused).to(dtype)
    layer.cell.load_state_dict({name.removesuffix("_l0"): p for name, p in oracle.state_dict().items()})
    x = torch.randn(b, n, d, dtype=dtype)
    mine_x, their_x = x.clone().requires_grad_(), x.clone().requires_grad_()
    mine, last = layer(mine_x)
    theirs, their_last = oracle(their_x)
    close(mine, theirs, tolerance)
    for a, c in zip(last, (their_last,) if ours is RNNCell else their_last, strict=True):
        close(a, c[0], tolerance)
    weight = torch.randn_like(mine)
    (mine * weight).sum().backward()
    (theirs * weight).sum().backward()
    close(mine_x.grad, their_x.grad, tolerance)
    for a, c in zip(layer.parameters(), oracle.parameters(), strict=True):
        close(a.grad, c.grad, tolerance)


@pytest.mark.parametrize("cell", [RNNCell(3, 4), LSTMCell(3, 4)])
def test_torchs_kernel_goes_on_from_a_state_as_the_loop_does(cell):
    x = torch.randn(2, 5, 3)
    state = tuple(torch.randn(2, 4) for _ in cell.init_state(x))
    (shown, last), (fused, fused_last) = RNN(cell)(x, state), RNN(cell, fused=True)(x, state)
    close(shown, fused, 1e-5)
    assert len(last) == len(fused_last)
    for one, other in zip(last, fused_last, strict=True):
        close(one, other, 1e-5)
        assert other.requires_grad
        gradients = [
            torch.autograd.grad(part.square().sum(), list(cell.parameters()), retain_graph=True)
            for part in (one, other)
        ]
        for a, b in zip(*gradients, strict=True):
            close(a, b, 1e-5)


class Calls(TorchFunctionMode):
    """Write down which functions of torch are called."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[object] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.seen.append(func)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("cell", "kernel"), [(RNNCell(3, 4), torch.rnn_tanh), (LSTMCell(3, 4), torch.lstm)])
def test_torchs_kernel_is_called_if_it_is_asked_for(cell, kernel, training):
    for fused, calls in ((True, 1), (False, 0)):
        with Calls() as made:
            RNN(cell, fused).train(training)(torch.randn(2, 5, 3))
        assert made.seen.count(kernel) == calls


def test_a_cell_that_torch_does_not_know_is_not_fused():
    with pytest.raises(ValueError, match="no kernel for LSTM1997Cell"):
        RNN(LSTM1997Cell(3, 2), fused=True)


@pytest.mark.parametrize(("kind", "bound"), [(RNNCell, 0.25), (LSTMCell, 0.25), (LSTM1997Cell, 0.1)])
def test_initial_weights_are_uniform_between_the_bounds(kind, bound):
    torch.manual_seed(0)
    cell = kind(9, 16)
    for weight in (cell.weight_ih, cell.weight_hh):
        assert 0.95 * bound < weight.max() <= bound
        assert -bound <= weight.min() < -0.95 * bound
        assert abs(weight.std() / (bound / 3**0.5) - 1) < 0.15


@pytest.mark.parametrize(("ours", "peer"), [(RNNCell, nn.RNNCell), (LSTMCell, nn.LSTMCell)])
@pytest.mark.parametrize(("d", "h"), [(1, 1), (20, 16), (512, 512)])
def test_parameters_are_torchs_by_name_order_and_number(ours, peer, d, h):
    mine, theirs = ours(d, h), peer(d, h)
    assert [(n, p.shape) for n, p in mine.named_parameters()] == [(n, p.shape) for n, p in theirs.named_parameters()]
    assert count(mine) == (4 if ours is LSTMCell else 1) * (h * (d + h) + 2 * h)


def test_a_flat_vector_of_torchs_parameters_gives_torchs_cell():
    theirs, mine = nn.LSTMCell(20, 16), LSTMCell(20, 16)
    vector = parameters_to_vector(theirs.parameters())
    assert vector.numel() == 2432  # the controller of AttentionAgent
    vector_to_parameters(vector, mine.parameters())
    x, state = torch.randn(2, 20), (torch.randn(2, 16), torch.randn(2, 16))
    close(mine(x, state)[0], theirs(x, state)[0], 1e-6)


@pytest.mark.parametrize("cell", [RNNCell(3, 4), LSTM1997Cell(3, 2, block_size=2), LSTMCell(3, 4)])
def test_a_run_goes_on_from_the_state_it_ended_in(cell):
    layer, x = RNN(cell), torch.randn(2, 9, 3)
    whole, end = layer(x)
    first, middle = layer(x[:, :4])
    rest, last = layer(x[:, 4:], middle)
    close(torch.cat([first, rest], dim=1), whole, 1e-6)
    for a, c in zip(last, end, strict=True):
        close(a, c, 1e-6)


def test_windows_show_the_whole_run_and_give_the_gradient_of_each_window_alone():
    oracle = nn.LSTM(3, 4, batch_first=True, dtype=torch.float64)
    layer = RNN(LSTMCell(3, 4)).double()
    layer.cell.load_state_dict({name.removesuffix("_l0"): p for name, p in oracle.state_dict().items()})
    x = torch.randn(2, 10, 3, dtype=torch.float64)
    shown = []
    for window in truncated_bptt(layer, x, window_length=4):
        torch.autograd.backward(window.square().sum())  # before the next window runs, as in training
        shown.append(window.detach())
    assert [window.shape[1] for window in shown] == [4, 4, 2]
    close(torch.cat(shown, dim=1), oracle(x)[0], 1e-10)
    state = None
    for window in (x[:, :4], x[:, 4:8], x[:, 8:]):
        output, (hidden, cell) = oracle(window, state)
        output.square().sum().backward()
        state = hidden.detach(), cell.detach()
    for a, c in zip(layer.parameters(), oracle.parameters(), strict=True):
        close(a.grad, c.grad, 1e-10)


def test_no_steps_are_refused_with_the_numbers():
    with pytest.raises(ValueError, match="2 sequences of 0 steps"):
        RNN(RNNCell(3, 4))(torch.zeros(2, 0, 3))
    with pytest.raises(ValueError, match="window_length 0 is less than 1"):
        next(truncated_bptt(RNN(RNNCell(3, 4)), torch.zeros(2, 5, 3), window_length=0))


def biases(cell: LSTM1997Cell) -> Tensor:
    assert cell.bias is not None
    return cell.bias


def random_cell(d: int, blocks: int, size: int) -> LSTM1997Cell:
    """Return a memory cell whose weights are large enough to matter."""
    cell = LSTM1997Cell(d, blocks, size).double()
    with torch.no_grad():
        for p in cell.parameters():
            p.normal_(std=0.7)
    return cell


@pytest.mark.parametrize(("d", "blocks", "size"), [(3, 2, 2), (3, 1, 3), (1, 3, 1), (1, 1, 1)])
def test_the_memory_cell_equals_the_papers_equations_unit_by_unit(d, blocks, size):
    cell = random_cell(d, blocks, size)
    w_in, w_back, bias = (p.detach().numpy() for p in cell.parameters())
    cells, x = blocks * size, torch.randn(6, d, dtype=torch.float64)
    y, s = np.zeros(cells + 2 * blocks), np.zeros(cells)
    state = cell.init_state(x[:1])
    for step in x.numpy():
        net = [float(w_in[u] @ step + w_back[u] @ y + bias[u]) for u in range(len(y))]
        new = [0.0] * cells + [1 / (1 + math.exp(-value)) for value in net[cells:]]  # Eqs. 3, 7, 8
        for v in range(cells):
            s[v] += new[cells + v // size] * (4 / (1 + math.exp(-net[v])) - 2)  # Eqs. 5, 9
            new[v] = new[cells + blocks + v // size] * (2 / (1 + math.exp(-s[v])) - 1)  # Eq. 4
        y = np.array(new)
        state = cell(torch.from_numpy(step)[None], state)
        close(torch.cat([state[0], state[2]], dim=-1)[0], torch.from_numpy(y), 1e-10)
        close(state[1][0], torch.from_numpy(s), 1e-10)


def test_the_memory_cell_equals_torchs_lstm_whose_forget_gate_is_stuck_open():
    # 4σ(x) - 2 = 2 tanh(x/2) and 2σ(s) - 1 = tanh(s/2): torch's cell state is half the internal state.
    d, h = 3, 4
    cell, oracle = random_cell(d, h, 1), nn.LSTM(d, h, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        cell.weight_hh[:, h:] = 0.0  # torch's gates do not see gates
        unused = torch.zeros(3 * h, dtype=torch.float64)
        for ours, theirs in zip(
            [cell.weight_ih, cell.weight_hh[:, :h], biases(cell), unused], oracle.parameters(), strict=True
        ):
            candidate, write, read = ours.chunk(3)
            forget = torch.full_like(write, 50.0 if ours.dim() == 1 else 0.0)
            theirs.copy_(torch.cat([write, forget, candidate / 2, read]))
    x = torch.randn(2, 20, d, dtype=torch.float64)
    mine, (_, internal, _) = RNN(cell)(x)
    theirs, (_, state) = oracle(x)
    close(mine, theirs, 1e-10)
    close(internal, 2 * state[0], 1e-10)


def test_the_memory_cells_gradient_is_that_of_the_papers_forward_recursion():
    d, blocks, size, steps = 3, 2, 2, 8
    cell, cells = random_cell(d, blocks, size), blocks * size
    x, e = torch.randn(steps, d, dtype=torch.float64), torch.randn(cells, dtype=torch.float64)
    (RNN(cell)(x[None])[0][0, -1] @ e).backward()

    weights = torch.cat([p.detach().reshape(cells + 2 * blocks, -1) for p in cell.parameters()], dim=1).numpy()
    y, s = np.zeros(cells + 2 * blocks), np.zeros(cells)
    by_gate, by_cell = (np.zeros((cells, weights.shape[1])) for _ in range(2))  # ∂s/∂w for w into in_j and into c_j
    for step in x.numpy():
        seen = np.concatenate([step, y, [1.0]])
        sigma = 1 / (1 + np.exp(-weights @ seen))
        write, read = np.repeat(sigma[cells : cells + blocks], size), np.repeat(sigma[cells + blocks :], size)
        g = 4 * sigma[:cells] - 2
        by_gate += (g * write * (1 - write))[:, None] * seen  # Eq. 25
        by_cell += (4 * sigma[:cells] * (1 - sigma[:cells]) * write)[:, None] * seen  # Eq. 27
        s += write * g
        h = 2 / (1 + np.exp(-s)) - 1
        y = np.concatenate([read * h, sigma[cells:]])
    error = read * (1 - h**2) / 2 * e.numpy()  # Eq. 23; h' = (1 - h²)/2
    into_cells = error[:, None] * by_cell  # Eq. 28
    into_write = (error[:, None] * by_gate).reshape(blocks, size, -1).sum(axis=1)  # Eq. 26
    into_read = (h * read * (1 - read) * e.numpy()).reshape(blocks, size).sum(axis=1)[:, None] * seen  # Eqs. 21, 22
    expected = torch.from_numpy(np.concatenate([into_cells, into_write, into_read]))
    ours = [torch.zeros(0) if p.grad is None else p.grad.reshape(cells + 2 * blocks, -1) for p in cell.parameters()]
    close(torch.cat(ours, dim=1), expected, 1e-10)


@pytest.mark.parametrize(
    ("inputs", "blocks", "size", "outputs", "biased", "weights"),
    [
        (7, 4, 1, 7, "gates", 264),  # Table 1: embedded Reber grammar
        (7, 3, 2, 7, "gates", 276),
        (54, 2, 1, 2, "none", 364),  # Table 3: task 2c
        (1004, 2, 1, 2, "none", 6064),
        (1, 3, 1, 1, "hidden", 102),  # Table 4: task 3a
        (2, 2, 2, 1, "all", 93),  # Table 7: adding
        (8, 2, 2, 4, "all", 156),  # Table 9: temporal order
        (8, 3, 2, 8, "all", 308),
    ],
)
def test_the_memory_cell_has_the_published_number_of_weights(inputs, blocks, size, outputs, biased, weights):
    cell = LSTM1997Cell(inputs, blocks, size, bias=biased != "none")
    output = nn.Linear(cell.hidden_size, outputs, bias=biased == "all")
    unbiased_cells = cell.hidden_size if biased == "gates" else 0
    assert count(cell) + count(output) - unbiased_cells == weights


# The departures, in the card's order.


def test_the_carousel_carries_an_error_unchanged_for_a_thousand_steps():
    cell = random_cell(3, 2, 2)
    output, internal, gates = cell.init_state(torch.zeros(1, 3, dtype=torch.float64))
    state = (output, internal.requires_grad_(), gates)
    for x in torch.randn(1000, 1, 3, dtype=torch.float64):
        state = cell(x, state)
    rows = [torch.autograd.grad(unit, internal, retain_graph=True)[0][0] for unit in state[1][0]]
    assert torch.equal(torch.stack(rows), torch.eye(4, dtype=torch.float64))


def test_the_modern_cell_can_forget_what_the_cell_of_1997_must_keep():
    x, kept = torch.zeros(1, 3), torch.full((1, 4), 5.0)
    shut = blank(LSTMCell(3, 4), -30.0, -30.0, 0.0, 0.0)
    assert shut(x, (kept, kept))[1].abs().max() < 1e-10
    old = LSTM1997Cell(3, 4)
    with torch.no_grad():
        biases(old).copy_(torch.tensor([0.0, -30.0, -30.0]).repeat_interleave(4))
    assert torch.allclose(old(x, (kept, kept, torch.zeros(1, 8)))[1], kept)


def test_the_modern_cell_sends_errors_through_its_gates_to_earlier_steps():
    x = torch.randn(1, 3)
    hidden = torch.randn(1, 4, requires_grad=True)
    modern = LSTMCell(3, 4)(x, (hidden, torch.zeros(1, 4)))
    assert torch.autograd.grad(modern[0].sum(), hidden)[0].abs().min() > 0
    old = LSTM1997Cell(3, 4)(x, (hidden, torch.zeros(1, 4), torch.zeros(1, 8)))
    assert torch.autograd.grad(old[0].sum(), hidden, allow_unused=True)[0] is None


def test_the_modern_cell_takes_in_less_than_one_a_step_where_the_paper_takes_two():
    x = torch.zeros(1, 1)
    modern = blank(LSTMCell(1, 1), 30.0, 30.0, 30.0, 0.0)
    assert modern(x, modern.init_state(x))[1].item() == pytest.approx(1.0)
    old = LSTM1997Cell(1, 1)
    with torch.no_grad():
        biases(old).fill_(30.0)
    assert old(x, old.init_state(x))[1].item() == pytest.approx(2.0)


def test_a_modern_gate_sees_cells_and_no_gates_and_serves_one_cell():
    assert LSTMCell(5, 4).weight_hh.shape == (4 * 4, 4)
    assert LSTM1997Cell(5, num_blocks=2, block_size=2).weight_hh.shape == (4 + 2 * 2, 4 + 2 * 2)


def test_a_modern_unit_has_two_biases_where_the_paper_has_one_at_most():
    assert [n for n, p in LSTMCell(5, 4).named_parameters() if p.shape == (16,)] == ["bias_ih", "bias_hh"]
    assert [n for n, p in LSTM1997Cell(5, 4).named_parameters() if p.shape == (12,)] == ["bias"]


def test_the_forget_gate_begins_open_by_a_bias_of_one_and_all_other_biases_at_zero():
    cell = LSTMCell(5, 4)
    assert (cell.bias_ih + cell.bias_hh).tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8
    assert biases(LSTM1997Cell(5, 4)).abs().sum() == 0


def test_weights_of_the_memory_cell_are_drawn_between_a_tenth_and_minus_a_tenth():
    cell = LSTM1997Cell(50, 50)
    for weight in (cell.weight_ih, cell.weight_hh):
        assert -0.1 <= weight.min() < -0.0999
        assert 0.0999 < weight.max() <= 0.1
