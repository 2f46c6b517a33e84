"""AttentionAgent's step in plain numpy."""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from reference_impl.attention_agent import AttentionAgent


def sigmoid(x: Any) -> Any:
    """Return the logistic function."""
    return 1 / (1 + np.exp(-x))


class NumpyAgent:
    """The agent with the weights of ours, at the start of an episode."""

    def __init__(self, agent: AttentionAgent) -> None:
        self.numbers = {name: tensor.numpy() for name, tensor in agent.state_dict().items()}
        self.centers = agent.centers.numpy()
        self.image_size, self.patch_size = agent.image_size, agent.patch_size
        self.stride, self.top_k = agent.stride, agent.top_k
        self.hidden = self.cell = np.zeros(agent.controller.hidden_size, np.float32)

    def linear(self, name: str, x: Any) -> Any:
        """Apply a layer."""
        return x @ self.numbers[f"{name}.weight"].T + self.numbers[f"{name}.bias"]

    def __call__(self, frame: Any) -> Any:
        """Return the action for a frame."""
        size, stride = self.patch_size, self.stride
        windows = sliding_window_view(frame, (size, size), axis=(0, 1))[::stride, ::stride]
        patches = windows.transpose(0, 1, 3, 4, 2).reshape(len(self.centers), -1)
        scores = self.linear("vote.key", patches) @ self.linear("vote.query", patches).T
        scores = scores / np.float32(np.sqrt(patches.shape[1]))
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        votes = (shares / shares.sum(axis=1, keepdims=True)).sum(axis=0)
        best = np.argsort(-votes, kind="stable")[: self.top_k]
        return self.act(self.centers[best].flatten() / np.float32(self.image_size))

    def act(self, seen: Any) -> Any:
        """Return the controller's action for the selected centers."""
        w = self.numbers
        net = w["controller.weight_ih"] @ seen + w["controller.bias_ih"]
        net = net + w["controller.weight_hh"] @ self.hidden + w["controller.bias_hh"]
        write, keep, candidate, read = np.split(net, 4)
        cell = sigmoid(keep) * self.cell + sigmoid(write) * np.tanh(candidate)
        return np.tanh(self.linear("action", sigmoid(read) * np.tanh(cell)))
