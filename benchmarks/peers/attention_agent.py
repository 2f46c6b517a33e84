"""AttentionAgent's step as plain numpy, one operation after the other."""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from reference_impl.attention_agent import AttentionAgent


def sigmoid(x: Any) -> Any:
    """Return the logistic function."""
    return 1 / (1 + np.exp(-x))


class NumpyAgent:
    """The agent with the numbers of ours, at the beginning of an episode."""

    def __init__(self, agent: AttentionAgent) -> None:
        self.numbers = {name: tensor.numpy() for name, tensor in agent.state_dict().items()}
        self.centres = agent.centres.numpy()
        self.side, self.size, self.stride, self.k = agent.side, agent.size, agent.stride, agent.k
        self.hidden = self.cell = np.zeros(agent.controller.hidden_size, np.float32)

    def linear(self, name: str, x: Any) -> Any:
        """Apply a layer."""
        return x @ self.numbers[f"{name}.weight"].T + self.numbers[f"{name}.bias"]

    def __call__(self, frame: Any) -> Any:
        """Return the action for a frame."""
        windows = sliding_window_view(frame, (self.size, self.size), axis=(0, 1))[:: self.stride, :: self.stride]
        patches = windows.transpose(0, 1, 3, 4, 2).reshape(len(self.centres), -1)
        scores = self.linear("vote.key", patches) @ self.linear("vote.query", patches).T
        scores = scores / np.float32(np.sqrt(patches.shape[1]))
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        votes = (shares / shares.sum(axis=1, keepdims=True)).sum(axis=0)
        best = np.argsort(-votes, kind="stable")[: self.k]
        return self.act(self.centres[best].flatten() / np.float32(self.side))

    def act(self, seen: Any) -> Any:
        """Return what the controller does about the centres it sees."""
        w = self.numbers
        net = w["controller.weight_ih"] @ seen + w["controller.bias_ih"]
        net = net + w["controller.weight_hh"] @ self.hidden + w["controller.bias_hh"]
        write, keep, candidate, read = np.split(net, 4)
        cell = sigmoid(keep) * self.cell + sigmoid(write) * np.tanh(candidate)
        return np.tanh(self.linear("action", sigmoid(read) * np.tanh(cell)))
