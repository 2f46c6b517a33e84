"""Recurrent cells, against torch.nn's."""

import torch
from torch import Tensor, nn

from benchmarks.row import Pair, Setting, row
from reference_impl.bahdanau import GRUCell
from reference_impl.lstm import RNN, LSTMCell, RNNCell


def compare_layers(
    at: Setting, cell: RNNCell | LSTMCell, theirs: nn.RNNBase, x: Tensor, *, fused: bool = False
) -> Pair:
    """Return an RNN over a cell, and torch's layer with the same weights."""
    theirs.load_state_dict({f"{name}_l0": tensor for name, tensor in cell.state_dict().items()})
    ours, peer, steps = at.put(RNN(cell, fused)), at.put(theirs), at.put(x)
    return Pair(lambda: ours(steps)[0], lambda: peer(steps)[0], items=x.shape[0] * x.shape[1])


def sequences(at: Setting) -> tuple[Tensor, int]:
    """Return 32 sequences of 64 steps, 128 wide, and the width of a state."""
    *shape, hidden_size = at.sized((32, 64, 128, 256), tiny=(2, 5, 3, 4))
    return torch.randn(shape), hidden_size


@row("torch.nn.RNN", "steps")
def rnn(at: Setting) -> Pair:
    """A plain recurrent layer, 128 to 256, forward; 32 sequences of 64 steps."""
    x, hidden_size = sequences(at)
    theirs = nn.RNN(x.shape[2], hidden_size, batch_first=True)
    return compare_layers(at, RNNCell(x.shape[2], hidden_size), theirs, x)


@row(
    "torch.nn.LSTM",
    "steps",
    slower="The peer is one call of oneDNN's kernel for the whole sequence, which packs the weights once. In the loop "
    "the products of states with the recurrent weights alone take longer. `RNN(cell, fused=True)` makes the same call.",
)
def lstm(at: Setting) -> Pair:
    """An LSTM layer as a loop over its steps, 128 to 256, forward; 32 sequences of 64 steps."""
    x, hidden_size = sequences(at)
    theirs = nn.LSTM(x.shape[2], hidden_size, batch_first=True)
    return compare_layers(at, LSTMCell(x.shape[2], hidden_size), theirs, x)


@row("torch.nn.LSTM", "steps", slower="Both sides are the same call of oneDNN's kernel.")
def lstm_fused(at: Setting) -> Pair:
    """An LSTM layer through torch's kernel, 128 to 256, forward; 32 sequences of 64 steps."""
    x, hidden_size = sequences(at)
    theirs = nn.LSTM(x.shape[2], hidden_size, batch_first=True)
    return compare_layers(at, LSTMCell(x.shape[2], hidden_size), theirs, x, fused=True)


@row(
    "torch.nn.GRU",
    "steps",
    slower="The peer takes one product a step. Ours takes two, one after the other: the paper resets the state before "
    "the matrix and not after it, so that the candidate waits for the reset gate. Products are 58 % of our time.",
)
def gru(at: Setting) -> Pair:
    """Bahdanau's GRU cell, 128 to 256, forward; 32 sequences of 64 steps; U is diagonal, where both cells agree."""
    x, hidden_size = sequences(at)
    cell = GRUCell(x.shape[2], hidden_size)
    theirs = nn.GRU(x.shape[2], hidden_size, batch_first=True)
    with torch.no_grad():
        cell.candidate.weight.copy_(cell.candidate.weight.diagonal().diag())
        for theirs_part, ours_part in zip(theirs.parameters(), torch_gru_parameters(cell), strict=True):
            theirs_part.copy_(ours_part)
    ours, peer, steps = at.put(cell), at.put(theirs), at.put(x)

    def run() -> Tensor:
        state, states = steps.new_zeros(len(steps), hidden_size), []
        for projected in ours.input(steps).unbind(dim=1):
            state = ours.step(projected, state)
            states.append(state)
        return torch.stack(states, dim=1)

    return Pair(run, lambda: peer(steps)[0], items=x.shape[0] * x.shape[1])


def torch_gru_parameters(cell: GRUCell) -> list[Tensor]:
    """Return a cell's weights in the order of torch.nn.GRU, whose update gate weighs the old state."""
    proposal, update, reset = cell.input.weight.chunk(3)
    own_update, own_reset = cell.gates.weight.chunk(2)
    bias, update_bias, reset_bias = cell.input.bias.chunk(3)
    return [
        torch.cat([reset, -update, proposal]),
        torch.cat([own_reset, -own_update, cell.candidate.weight]),
        torch.cat([reset_bias, -update_bias, bias]),
        torch.zeros_like(cell.input.bias),
    ]


@row(
    "torch.nn.LSTMCell",
    "steps",
    slower="Both take the same two products, about two thirds of the time. The peer takes the small operations after "
    "them from C++ and in place, some 4 % of the time; autograd forbids that to ours, whose gates are views.",
)
def lstm_cell(at: Setting) -> Pair:
    """One step of an LSTM cell, 128 to 256; 32 sequences."""
    b, input_size, hidden_size = at.sized((32, 128, 256), tiny=(2, 3, 4))
    ours, theirs = LSTMCell(input_size, hidden_size), nn.LSTMCell(input_size, hidden_size)
    theirs.load_state_dict(ours.state_dict())
    x, hidden, cell = (at.put(torch.randn(b, d)) for d in (input_size, hidden_size, hidden_size))
    ours, theirs = at.put(ours), at.put(theirs)
    return Pair(lambda: ours(x, (hidden, cell)), lambda: theirs(x, (hidden, cell)), items=b)
