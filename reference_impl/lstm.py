r"""Recurrent cells: the plain RNN cell, the LSTM's memory cell of 1997, and the LSTM cell in use since 2000.

Source: Hochreiter and Schmidhuber 1997, Sections 3 and 4 and Appendix A.1; the forget gate from Gers et al. 2000

Axes: $b$ sequences of a batch, $n$ steps, `input_size` and `hidden_size` units. A cell computes one step: it takes an
input and a state, a tuple of tensors, and returns the next state. The first tensor of a state is the cell's output.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

State = tuple[Tensor, ...]


class RNNCell(nn.Module):
    r"""Compute one step of a plain (Elman) recurrent network.

    Source: Section 3.1 (conventional units), with tanh as activation
        $$h_t = \tanh(W x_t + b + U h_{t-1} + b')$$

    Args:
        input_size: The width of the input.
        hidden_size: The width of the state, whose values lie in (-1, 1).

    Asked: transformer.long-sequences
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size, bound = hidden_size, hidden_size**-0.5
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size).uniform_(-bound, bound))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size).uniform_(-bound, bound))
        self.bias_ih = nn.Parameter(torch.zeros(hidden_size))
        self.bias_hh = nn.Parameter(torch.zeros(hidden_size))

    def init_state(self, x: Float[Tensor, "b ..."]) -> tuple[Float[Tensor, "b hidden_size"]]:
        """Return the state before the first step: zeros, for as many sequences as x has."""
        return (x.new_zeros(len(x), self.hidden_size),)

    def forward(
        self, x: Float[Tensor, "b input_size"], state: tuple[Float[Tensor, "b hidden_size"]]
    ) -> tuple[Float[Tensor, "b hidden_size"]]:
        """Return the next state."""
        return self.step(self.project(x), state)

    def project(self, x: Float[Tensor, "*b input_size"]) -> Float[Tensor, "*b hidden_size"]:
        """Return $W x_t + b + b'$, the part of the pre-activations that needs no state."""
        return F.linear(x, self.weight_ih, self.bias_ih + self.bias_hh)

    def step(
        self, projected: Float[Tensor, "b hidden_size"], state: tuple[Float[Tensor, "b hidden_size"]]
    ) -> tuple[Float[Tensor, "b hidden_size"]]:
        """Return the next state, given the output of `project` for the input."""
        return (torch.addmm(projected, state[0], self.weight_hh.T).tanh(),)


class LSTM1997Cell(nn.Module):
    r"""Compute one step of the LSTM of 1997: no forget gate, and a gradient through the internal state alone.

    Source: Section 4 and Appendix A.1, Eqs. 3-9
        $$s_t = s_{t-1} + y^{in}_t \, g(net_t), \qquad y_t = y^{out}_t \, h(s_t)$$
        $$g(x) = 4\sigma(x) - 2, \qquad h(x) = 2\sigma(x) - 1$$

    $y^{in}$ and $y^{out}$ are sigmoid gates, one of each for a block of `block_size` cells. All net inputs are affine
    in the input and in the outputs of cells and gates at the step before. The gradient of a net input reaches its
    weights but no earlier step (Section 4, "Learning"), hence the `detach`. It flows back through the internal state
    alone, whose self-connection has the fixed weight 1, so $\partial s_t/\partial s_{t-1} = 1$. That is the constant
    error carousel.

    The state holds the cells' outputs in (-1, 1), the unbounded internal states, and the gates in (0, 1).

    Departs: biases are initialized to 0; the paper initializes those of gates below 0, by amounts that vary by
    experiment.

    Args:
        input_size: The width of the input.
        num_blocks: The number of blocks; each has an input gate and an output gate.
        block_size: The number of cells in a block, which share its gates.
        bias: Whether cells and gates have biases; in some of the paper's experiments they have none.

    Asked: lstm.constant-error-carousel, lstm.forget-gate
    """

    def __init__(self, input_size: int, num_blocks: int, block_size: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.num_blocks, self.block_size, self.hidden_size = num_blocks, block_size, num_blocks * block_size
        units = self.hidden_size + 2 * num_blocks
        self.weight_ih = nn.Parameter(torch.empty(units, input_size).uniform_(-0.1, 0.1))
        self.weight_hh = nn.Parameter(torch.empty(units, units).uniform_(-0.1, 0.1))
        self.bias = nn.Parameter(torch.zeros(units)) if bias else None

    def init_state(
        self, x: Float[Tensor, "b ..."]
    ) -> tuple[Float[Tensor, "b hidden_size"], Float[Tensor, "b hidden_size"], Float[Tensor, "b gates"]]:
        """Return the state before the first step: zeros, for as many sequences as x has."""
        cells = x.new_zeros(len(x), self.hidden_size)
        return cells, cells, x.new_zeros(len(x), 2 * self.num_blocks)

    def forward(
        self,
        x: Float[Tensor, "b input_size"],
        state: tuple[Float[Tensor, "b hidden_size"], Float[Tensor, "b hidden_size"], Float[Tensor, "b gates"]],
    ) -> tuple[Float[Tensor, "b hidden_size"], Float[Tensor, "b hidden_size"], Float[Tensor, "b gates"]]:
        """Return the next state."""
        return self.step(self.project(x), state)

    def project(self, x: Float[Tensor, "*b input_size"]) -> Float[Tensor, "*b units"]:
        """Return the part of the nets that needs no state."""
        return F.linear(x, self.weight_ih, self.bias)

    def step(
        self,
        projected: Float[Tensor, "b units"],
        state: tuple[Float[Tensor, "b hidden_size"], Float[Tensor, "b hidden_size"], Float[Tensor, "b gates"]],
    ) -> tuple[Float[Tensor, "b hidden_size"], Float[Tensor, "b hidden_size"], Float[Tensor, "b gates"]]:
        """Return the next state, given the output of `project` for the input."""
        y, s, gates = state
        net = projected + F.linear(torch.cat([y, gates], dim=-1).detach(), self.weight_hh)  # (b, units)
        cells, gates = torch.split(net, [self.hidden_size, 2 * self.num_blocks], dim=-1)
        gates = gates.sigmoid()
        y_in, y_out = gates.repeat_interleave(self.block_size, dim=-1).chunk(2, dim=-1)  # (b, hidden_size) each
        s = s + y_in * (4 * cells.sigmoid() - 2)
        return y_out * (2 * s.sigmoid() - 1), s, gates


class LSTMCell(nn.Module):
    r"""Compute one step of the LSTM in use since 2000, with a forget gate and the full gradient.

    Source: Section 4 for input gate, output gate and cell; Gers et al. 2000 for the forget gate
        $$c_t = f_t \odot c_{t-1} + i_t \odot g_t, \qquad h_t = o_t \odot \tanh c_t$$
        $$i_t, f_t, o_t = \sigma(\cdot), \quad g_t = \tanh(\cdot), \quad \cdot = W x_t + b + U h_{t-1} + b'$$

    The rows of the weights are those of $i, f, g, o$, in this order, as in torch.nn.LSTMCell. The state holds $h$ in
    (-1, 1) and $c$, which is unbounded.

    Departs: the paper has no forget gate, $f = 1$. It cuts the gradient where it leaves a cell, squashes the cell's
    input to (-2, 2), feeds every gate's output to all units, gives a unit one bias at most, and lets cells share gates.

    Args:
        input_size: The width of the input.
        hidden_size: The number of cells.
        forget_bias: The initial bias of the forget gates; all other biases are initialized to 0.

    Asked: lstm.what-gates-do, lstm.two-states, lstm.how-far-gradient, lstm.parameter-count, lstm.forget-bias
    """

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float = 1.0) -> None:
        super().__init__()
        self.hidden_size, bound = hidden_size, hidden_size**-0.5
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size).uniform_(-bound, bound))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size).uniform_(-bound, bound))
        self.bias_ih = nn.Parameter(torch.zeros(4 * hidden_size))
        self.bias_hh = nn.Parameter(torch.zeros(4 * hidden_size))
        with torch.no_grad():
            self.bias_ih[hidden_size : 2 * hidden_size] = forget_bias

    def init_state(
        self, x: Float[Tensor, "b ..."]
    ) -> tuple[Float[Tensor, "b hidden_size"], Float[Tensor, "b hidden_size"]]:
        """Return the state before the first step: zeros, for as many sequences as x has."""
        zeros = x.new_zeros(len(x), self.hidden_size)
        return zeros, zeros

    def forward(
        self,
        x: Float[Tensor, "b input_size"],
        state: tuple[Float[Tensor, "b hidden_size"], Float[Tensor, "b hidden_size"]],
    ) -> tuple[Float[Tensor, "b hidden_size"], Float[Tensor, "b hidden_size"]]:
        """Return the next state."""
        return self.step(self.project(x), state)

    def project(self, x: Float[Tensor, "*b input_size"]) -> Float[Tensor, "*b units"]:
        """Return $W x_t + b + b'$, the part of the pre-activations that needs no state."""
        return F.linear(x, self.weight_ih, self.bias_ih + self.bias_hh)

    def step(
        self,
        projected: Float[Tensor, "b units"],
        state: tuple[Float[Tensor, "b hidden_size"], Float[Tensor, "b hidden_size"]],
    ) -> tuple[Float[Tensor, "b hidden_size"], Float[Tensor, "b hidden_size"]]:
        """Return the next state, given the output of `project` for the input."""
        h, c = state
        i, f, g, o = torch.addmm(projected, h, self.weight_hh.T).chunk(4, dim=-1)  # (b, hidden_size) each
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class RNN(nn.Module):
    r"""Run a cell over sequences, step by step.

    Source: Section 3.1
        $$s_t = \operatorname{cell}(x_t, s_{t-1})$$

    Args:
        cell: One of this module's cells.
        fused: Whether torch's kernel runs the cell, an `RNNCell` or an `LSTMCell`, in place of the loop over the steps.

    Raises:
        ValueError: torch has no kernel for the cell.

    Asked: lstm.what-breaks, transformer.why-rnns-are-slow
    """

    def __init__(self, cell: RNNCell | LSTM1997Cell | LSTMCell, fused: bool = False) -> None:
        super().__init__()
        if fused and isinstance(cell, LSTM1997Cell):
            raise ValueError("torch has no kernel for LSTM1997Cell, so it can't be fused")
        self.cell, self.fused = cell, fused

    def forward(
        self, x: Float[Tensor, "b n input_size"], state: State | None = None
    ) -> tuple[Float[Tensor, "b n hidden_size"], State]:
        """Return the cell's output at every step, and its last state.

        Args:
            x: The sequences, all of the same length.
            state: The initial state; zeros if None.

        Raises:
            ValueError: The sequences have no steps.
        """
        if not x.shape[1]:
            raise ValueError(f"{len(x)} sequences of {x.shape[1]} steps: at least 1 is needed")
        state = self.cell.init_state(x) if state is None else state
        if self.fused:
            return self._run_kernel(x, state)
        outputs = []
        # One product takes the inputs of all steps; what needs the state is left for each step.
        for projected in self.cell.project(x).unbind(dim=1):
            state = self.cell.step(projected, state)  # type: ignore[arg-type]  # its own kind of state
            outputs.append(state[0])
        return torch.stack(outputs, dim=1), state  # (b, n, hidden_size)

    def _run_kernel(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        weights: list[Tensor] = [*self.cell.parameters()]
        # With biases, of one layer, without dropout, (b, n, ...); the kernel has an axis of layers in front of a state.
        options = (True, 1, 0.0, self.training, False, True)
        if isinstance(self.cell, LSTMCell):
            outputs, hidden, cell = torch.lstm(x, [part[None] for part in state], weights, *options)
            return outputs, (hidden[0], cell[0])
        outputs, hidden = torch.rnn_tanh(x, state[0][None], weights, *options)
        return outputs, (hidden[0],)


def truncated_bptt(
    rnn: RNN, x: Float[Tensor, "b n input_size"], window_length: int
) -> Iterator[Float[Tensor, "b w hidden_size"]]:
    """Run a network over windows of the sequences and detach the state between them: truncated backpropagation.

    Source: Williams and Peng 1990, in the form that is usual today, with windows that do not overlap

    The state is passed from window to window, so that the outputs are those of one run over the whole sequence. The
    loss of one window can be backpropagated before the next is run: the memory and the backward chain of dependent
    steps are `window_length` long, not n.

    Args:
        rnn: The network to run.
        x: The sequences.
        window_length: The number of steps in a window; the last window may have fewer.

    Yields:
        The cell's outputs in each window.

    Raises:
        ValueError: window_length is less than 1.
    """
    if window_length < 1:
        raise ValueError(f"window_length {window_length} is less than 1")
    state: State | None = None
    for window in torch.split(x, window_length, dim=1):
        output, state = rnn(window, state)
        state = tuple(part.detach() for part in state)
        yield output  # (b, window_length, hidden_size)


# Answers


def constant_error_carousel() -> None:
    """
    Answers: lstm.constant-error-carousel
        A unit with the identity as activation and a self-connection of weight exactly 1: the error that it passes back
        in time is unchanged. After 1,000 steps of noise the derivative of the internal state with respect to the first
        is still exactly the identity, because the gradient is cut on every other path.

        >>> import torch
        >>> from reference_impl.lstm import LSTM1997Cell
        >>> _ = torch.manual_seed(0)
        >>> cell = LSTM1997Cell(input_size=3, num_blocks=4)
        >>> output, first, gates = cell.init_state(torch.zeros(1, 3))
        >>> inputs = torch.randn(1000, 1, 3, requires_grad=True)
        >>> states = [(output, first.requires_grad_(), gates)]
        >>> for x in inputs:
        ...     states.append(cell(x, states[-1]))
        >>> def gradient(internal_state, of):
        ...     return torch.autograd.grad(internal_state.sum(), of, retain_graph=True, materialize_grads=True)[0]
        >>> [gradient(unit, first).tolist() for unit in states[-1][1][0]][:2]
        [[[1.0, 0.0, 0.0, 0.0]], [[0.0, 1.0, 0.0, 0.0]]]

        What was written at the first step has the same gradient after the last as it had at once.

        >>> at_once, at_last = gradient(states[1][1], inputs)[0], gradient(states[-1][1], inputs)[0]
        >>> torch.equal(at_once, at_last), bool((at_once != 0).all())
        (True, True)
    """


def what_gates_do() -> None:
    """
    Answers: lstm.what-gates-do
        Each gate is a number in (0, 1) that multiplies: the input gate what is written, the forget gate what is kept,
        the output gate what is shown. Here each of four inputs drives one of the input gate, the forget gate, the
        candidate and the output gate of one cell.

        >>> import torch
        >>> from reference_impl.lstm import LSTMCell
        >>> cell = LSTMCell(input_size=4, hidden_size=1, forget_bias=0.0)
        >>> cell.weight_ih.data, cell.weight_hh.data = 20 * torch.eye(4), torch.zeros(4, 1)
        >>> program = {  # input gate, forget gate, candidate, output gate: 1 opens, -1 shuts
        ...     "write, hidden": [1.0, 1.0, 1.0, -1.0],
        ...     "hold, refuse -1": [-1.0, 1.0, -1.0, -1.0],
        ...     "hold, show": [-1.0, 1.0, -1.0, 1.0],
        ...     "write again, show": [1.0, 1.0, 1.0, 1.0],
        ...     "clear, show": [-1.0, -1.0, 1.0, 1.0],
        ... }
        >>> state = cell.init_state(torch.zeros(1, 4))
        >>> for what, drive in program.items():
        ...     state = cell(torch.tensor([drive]), state)
        ...     print(f"{what:<18} c = {state[1].item():.2f}   h = {state[0].item():.2f}")
        write, hidden      c = 1.00   h = 0.00
        hold, refuse -1    c = 1.00   h = 0.00
        hold, show         c = 1.00   h = 0.76
        write again, show  c = 2.00   h = 0.96
        clear, show        c = 0.00   h = 0.00
    """


def two_states() -> None:
    """
    Answers: lstm.two-states
        $c$ is the memory and $h$ the output. $c$ is not squashed from step to step, so that it can count and pass the
        gradient back unchanged; $h$ is squashed and gated, so that the memory does not disturb what reads it when it
        need not. A cell whose only state is $h$ loses both the stored number and the gradient.

        >>> import torch
        >>> from reference_impl.lstm import LSTMCell
        >>> cell = LSTMCell(input_size=1, hidden_size=1)
        >>> _ = cell.weight_ih.data.zero_(), cell.weight_hh.data.zero_()
        >>> cell.bias_ih.data = torch.tensor([-30.0, 30.0, 0.0, 30.0])  # write nothing, keep all, show all
        >>> def after(steps, states):
        ...     begin = torch.ones(1, 1, requires_grad=True)
        ...     hidden, kept = begin.tanh(), begin
        ...     for _ in range(steps):
        ...         hidden, kept = cell(torch.zeros(1, 1), (hidden, kept if states == 2 else hidden))
        ...     return round(kept.item(), 2), round(torch.autograd.grad(kept.sum(), begin)[0].item(), 4)
        >>> after(100, states=2)
        (1.0, 1.0)
        >>> value, error = after(100, states=1)
        >>> value < 0.2, error < 0.01
        (True, True)

        And $c$ counts: with all gates open it reaches 100 while $h$ stays below 1.

        >>> cell.bias_ih.data = torch.tensor([30.0, 30.0, 30.0, 0.0])
        >>> state = cell.init_state(torch.zeros(1, 1))
        >>> for _ in range(100):
        ...     state = cell(torch.zeros(1, 1), state)
        >>> round(state[1].item()), round(state[0].item(), 2)
        (100, 0.5)
    """


def forget_gate() -> None:
    """
    Answers: lstm.forget-gate
        The cell of 1997 can add but never reset. On an endless stream its internal state grows without bound, the
        output saturates, and new inputs no longer change it. A forget gate below 1 bounds the state at $ig/(1-f)$, and
        lets the cell reset itself (Gers et al. 2000).

        >>> import torch
        >>> from reference_impl.lstm import LSTMCell, LSTM1997Cell
        >>> _ = torch.manual_seed(0)
        >>> def stream(cell, steps):  # the internal state, and what the newest input still changes in the output
        ...     state, x = cell.init_state(torch.ones(1, 1)), torch.ones(1, 1, requires_grad=True)
        ...     for _ in range(steps - 1):
        ...         state = cell(x.detach(), state)
        ...     state = cell(x, state)
        ...     return state[1].item(), torch.autograd.grad(state[0].sum(), x)[0].abs().item()
        >>> old, new = LSTM1997Cell(input_size=1, num_blocks=1), LSTMCell(input_size=1, hidden_size=1)
        >>> for cell in (old, new):  # the same inflow for both: an input weight of 1 to the cell
        ...     _ = cell.weight_hh.data.zero_(), cell.weight_ih.data.zero_()
        >>> old.weight_ih.data[0] = new.weight_ih.data[2] = 1.0
        >>> [round(stream(old, steps)[0] / stream(old, 3)[0]) for steps in (3, 30, 300)]
        [1, 10, 100]
        >>> [round(stream(new, steps)[0], 2) for steps in (3, 30, 300)]
        [0.86, 1.42, 1.42]
        >>> stream(old, 300)[1] < 1e-6, stream(new, 300)[1] > 0.01
        (True, True)
    """


def forget_bias() -> None:
    """
    Answers: lstm.forget-bias
        With a bias of 0 the forget gate starts half open, and of a gradient that goes back 30 steps along $c$ a
        billionth is left, $2^{-30}$: nothing to learn from. With a bias of 3 the same cell learns within 40 updates to
        recall the first of 30 inputs, where all others are noise.

        >>> import torch
        >>> from torch import nn
        >>> from reference_impl.lstm import LSTMCell, RNN
        >>> def accuracy(cell, n=30, updates=40):  # over the last ten batches, each of them fresh
        ...     layer, head, right = RNN(cell), nn.Linear(16, 1), []
        ...     optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr=0.02)
        ...     for _ in range(updates):
        ...         bit, x = torch.randint(2, (64, 1)).float(), torch.randn(64, n, 2)
        ...         x[:, :, 1] = 0
        ...         x[:, :1, 1] = 2 * bit - 1  # the bit has a line of its own, and is shown once
        ...         guess = head(layer(x)[0][:, -1])
        ...         optimizer.zero_grad()
        ...         nn.functional.binary_cross_entropy_with_logits(guess, bit).backward()
        ...         optimizer.step()
        ...         right.append(((guess > 0) == (bit > 0)).float().mean().item())
        ...     return sum(right[-10:]) / 10
        >>> _ = torch.manual_seed(0)
        >>> accuracy(LSTMCell(2, 16, forget_bias=0.0)) < 0.65, accuracy(LSTMCell(2, 16, forget_bias=3.0)) > 0.9
        (True, True)
    """


def how_far_gradient() -> None:
    r"""
    Answers: lstm.how-far-gradient
        Along $c$ the gradient is multiplied by $f$ at every step, so that half of it is left after $\ln 2 / -\ln f$
        steps. The forget bias sets this half-life. Measured on the gradient itself, the steps until half is lost:

        >>> import math
        >>> import torch
        >>> from reference_impl.lstm import LSTMCell
        >>> def half_life(forget_bias):
        ...     cell = LSTMCell(input_size=1, hidden_size=1, forget_bias=forget_bias)
        ...     _ = cell.weight_ih.data.zero_(), cell.weight_hh.data.zero_()
        ...     begin = torch.ones(1, 1, requires_grad=True)
        ...     state, steps, left = (torch.zeros(1, 1), begin), 0, 1.0
        ...     while left > 0.5 and steps < 200:
        ...         state, steps = cell(torch.zeros(1, 1), state), steps + 1
        ...         left = torch.autograd.grad(state[1].sum(), begin, retain_graph=True)[0].item()
        ...     return steps
        >>> {bias: half_life(bias) for bias in (-1.0, 0.5, 1.0, 3.0, 5.0)}
        {-1.0: 1, 0.5: 2, 1.0: 3, 3.0: 15, 5.0: 104}

        That is the formula, rounded up, with $f = \sigma(b)$ for a bias $b$:

        >>> [math.ceil(math.log(2) / math.log(1 + math.exp(-bias))) for bias in (-1.0, 0.5, 1.0, 3.0, 5.0)]
        [1, 2, 3, 15, 104]
    """


def parameter_count() -> None:
    """
    Answers: lstm.parameter-count
        Three gates and a candidate, each with the weights of a plain cell: exactly four times as many. The paper speaks
        of up to nine times: its cell has two gates, hence three units for one, and each unit also receives the gates'
        activations.

        >>> from reference_impl.lstm import LSTMCell, LSTM1997Cell, RNNCell
        >>> def count(module):
        ...     return sum(p.numel() for p in module.parameters())
        >>> [count(LSTMCell(d, h)) / count(RNNCell(d, h)) for d, h in [(1, 1), (3, 16), (512, 512)]]
        [4.0, 4.0, 4.0]
        >>> LSTM1997Cell(1, num_blocks=16).weight_hh.numel() / RNNCell(1, 16).weight_hh.numel()
        9.0

        The counts of the paper's Table 3 (two cells without biases, $p + 4$ inputs, two outputs), for $p$ = 50, 100,
        200, 500 and 1000:

        >>> [count(LSTM1997Cell(p + 4, num_blocks=2, bias=False)) + 2 * 2 for p in (50, 100, 200, 500, 1000)]
        [364, 664, 1264, 3064, 6064]
    """


def what_breaks() -> None:
    """
    Answers: lstm.what-breaks
        One cell with weights set by hand keeps a running sum: it adds a value when the write input is on, shows the sum
        when the read input is on, and starts again when the reset input is on. Then each gate in turn is fixed open or
        shut. With the input gate open noise gets in, with the forget gate open old sums stay, with it shut nothing
        stays, and with the output gate open the sum shows all the time. (A task without resets needs no forget gate,
        and so on: the paper says the same of its gates.)

        >>> import torch
        >>> from reference_impl.lstm import LSTMCell, RNN
        >>> _ = torch.manual_seed(0)
        >>> value, rates = 0.3 * torch.randn(200), torch.tensor([[0.3], [0.3], [0.05]])
        >>> write, read, reset = (torch.rand(3, 200) < rates).float()
        >>> total, wanted = 0.0, []
        >>> for v, w, r, clear in zip(value.tolist(), write.tolist(), read.tolist(), reset.tolist(), strict=True):
        ...     total = (1 - clear) * total + w * v
        ...     wanted.append(r * total)
        >>> lines = torch.stack([value, write, read, reset], dim=-1)[None]
        >>> def error(**stuck):
        ...     cell = LSTMCell(input_size=4, hidden_size=1)
        ...     cell.weight_hh.data.zero_()
        ...     cell.weight_ih.data = torch.tensor([[0, 40, 0, 0], [0, 0, 0, -40], [0.1, 0, 0, 0], [0, 0, 40.0, 0]])
        ...     cell.bias_ih.data = torch.tensor([-20, 20, 0, -20.0])
        ...     for gate, drive in stuck.items():
        ...         row = ["input", "forget", "candidate", "output"].index(gate)
        ...         cell.weight_ih.data[row], cell.bias_ih.data[row] = 0.0, drive
        ...     output = RNN(cell)(lines)[0].flatten() / 0.1  # small values: tanh hardly bends them
        ...     return (output - torch.tensor(wanted)).square().mean().sqrt().item()
        >>> error() < 0.01
        True
        >>> error(input=20) > 0.2, error(forget=20) > 0.2, error(forget=-20) > 0.2, error(output=20) > 0.2
        (True, True, True, True)
    """


def long_sequences() -> None:
    """
    Answers: transformer.long-sequences
        A gradient that goes back one step is multiplied by the Jacobian of that step. Over $n$ steps it shrinks or
        grows like the $n$-th power of what one step does to it: it vanishes or explodes.

        >>> import math
        >>> import torch
        >>> from torch import nn
        >>> from reference_impl.lstm import LSTMCell, RNN, RNNCell
        >>> def plain(scale):
        ...     cell = RNNCell(input_size=1, hidden_size=16)
        ...     cell.weight_hh.data = scale * nn.init.orthogonal_(torch.empty(16, 16))
        ...     return cell
        >>> def reach(cell, n):  # how much of the gradient at the last input is left at the first
        ...     x = torch.zeros(1, n, 1, requires_grad=True)
        ...     RNN(cell)(x)[0][0, -1].sum().backward()
        ...     return (x.grad[0, 0].norm() / x.grad[0, -1].norm()).item()
        >>> _ = torch.manual_seed(0)
        >>> [reach(plain(0.5), n) < bound for n, bound in [(10, 0.1), (50, 1e-12), (100, 1e-27)]]
        [True, True, True]
        >>> [reach(plain(1.5), n) > bound for n, bound in [(10, 3), (50, 1e6), (100, 1e14)]]
        [True, True, True]

        Once the gradient exceeds the range of a float, one update makes every weight, and the loss, NaN. Gradient
        clipping by norm (Pascanu et al. 2013) helps against a gradient that is too large; it cannot restore one that
        has vanished.

        >>> def losses(scale, n, updates, clip):
        ...     layer, x = RNN(plain(scale)), torch.zeros(1, n, 1)
        ...     for _ in range(updates):
        ...         loss = (layer(x)[0][0, -1] - 0.5).square().mean()
        ...         gradients = torch.autograd.grad(loss, list(layer.parameters()))
        ...         norm = torch.stack([g.norm() for g in gradients]).norm()
        ...         with torch.no_grad():
        ...             for p, g in zip(layer.parameters(), gradients, strict=True):
        ...                 p -= 0.1 * g * min(1.0, clip / norm)
        ...         yield round(loss.item(), 2)
        >>> list(losses(1.5, n=250, updates=2, clip=math.inf))
        [0.25, nan]
        >>> [list(losses(1.1, n=50, updates=30, clip=clip))[-1] < 0.15 for clip in (math.inf, 0.1)]
        [False, True]

        Along the LSTM's cell state the gradient is multiplied by the forget gate alone. With a forget gate that is half
        open it vanishes as in a plain cell; with one that starts open it does not.

        >>> plainly = reach(RNNCell(input_size=1, hidden_size=16), 64)
        >>> half, begun, opened = (reach(LSTMCell(1, 16, forget_bias), 64) for forget_bias in (0.0, 1.0, 5.0))
        >>> plainly < 1e-9, half < 1e-9, begun > 1e-6, opened > 1
        (True, True, True, True)
    """


def why_rnns_are_slow() -> None:
    """
    Answers: transformer.why-rnns-are-slow
        $h_t$ depends on $h_{t-1}$, so the $n$ steps are sequential, and no processor, however parallel, can run two of
        them at once. The number of operations is not the reason. Here is the longest chain of dependent operations in
        autograd's graph: it grows with $n$ in a plain cell and in an LSTM, and not at all in attention.

        >>> import torch
        >>> from reference_impl.layers.attention import MultiHeadAttention
        >>> from reference_impl.lstm import LSTMCell, RNN, RNNCell, truncated_bptt
        >>> def chain(result):
        ...     longest, todo = {None: 0}, [result.grad_fn]
        ...     while todo:
        ...         before = [node for node, _ in todo[-1].next_functions]
        ...         unknown = [node for node in before if node not in longest]
        ...         todo += unknown
        ...         if not unknown:
        ...             longest[todo.pop()] = 1 + max((longest[node] for node in before), default=0)
        ...     return longest[result.grad_fn]
        >>> plain, lstm, attention = RNN(RNNCell(4, 4)), RNN(LSTMCell(4, 4)), MultiHeadAttention(4, heads=1)
        >>> lengths = (16, 32, 64, 128)
        >>> [chain(plain(torch.zeros(1, n, 4))[0]) for n in lengths]
        [38, 70, 134, 262]
        >>> [chain(lstm(torch.zeros(1, n, 4))[0]) for n in lengths]
        [118, 230, 454, 902]
        >>> len({chain(attention(x, x, x)) for x in (torch.zeros(1, n, 4) for n in lengths)})
        1

        Truncated backpropagation limits the backward pass: the chain, and the memory, have the length of a window,
        whatever $n$ is. The forward pass still takes $n$ steps, and no gradient crosses the boundary of a window, so
        that nothing can be learned from what lies before it.

        >>> [chain(list(truncated_bptt(plain, torch.zeros(1, n, 4), window_length=16))[-1]) for n in lengths]
        [38, 38, 38, 38]
        >>> _ = torch.manual_seed(0)
        >>> x = torch.randn(1, 128, 4, requires_grad=True)
        >>> *_, last = truncated_bptt(plain, x, window_length=16)
        >>> touched = torch.autograd.grad(last.sum(), x)[0].abs().sum(dim=-1)[0] > 0
        >>> touched[:112].any().item(), touched[112:].all().item()
        (False, True)
        >>> windows = list(truncated_bptt(plain, x, window_length=16))
        >>> torch.equal(torch.cat(windows, dim=1), plain(x)[0])  # the values are the same
        True
    """
