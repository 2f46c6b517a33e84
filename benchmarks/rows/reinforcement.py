"""Agents that learn or act from pixels, against the same mathematics in the order of the public codes."""

import torch
from torch import Tensor

from benchmarks.peers.attention_agent import NumpyAgent
from benchmarks.peers.curl import PublicCURL, PublicMCURL
from benchmarks.row import Pair, Setting, row
from reference_impl.attention_agent import AttentionAgent
from reference_impl.curl import CURL, Convolutions, PixelEncoder, ReplayBuffer, SoftActorCritic
from reference_impl.m_curl import MCURL

ACTIONS = 6


def encoder(at: Setting) -> PixelEncoder:
    """Return the paper's encoder."""
    return at.sized(PixelEncoder(), tiny=PixelEncoder(12, 8, Convolutions(9, 4, 2)))


def seen(at: Setting) -> ReplayBuffer:
    """Return a buffer that holds one episode of noise."""
    frames, side = at.sized((256, 100), tiny=(20, 16))
    buffer = ReplayBuffer(frames + 1, ACTIONS, (3, side, side))
    buffer.begin(torch.randint(256, (3, side, side), dtype=torch.uint8))
    for _ in range(frames - 1):
        frame = torch.randint(256, (3, side, side), dtype=torch.uint8)
        buffer.add(2 * torch.rand(ACTIONS) - 1, float(torch.rand(())), frame)
    return buffer


def gradients(agent: SoftActorCritic) -> dict[str, Tensor]:
    """Return what an update leaves behind: each gradient is of the last loss that reached its weight."""
    left = {f"actor.{name}": p.grad for name, p in agent.actor.named_parameters() if p.grad is not None}
    left |= {f"critic.{name}": p.grad for name, p in agent.critic.named_parameters() if p.grad is not None}
    return left


ORDER = "the public code's order, written out"
CONVOLUTIONS = "Convolutions and their gradients are most of the time, and both sides take the same ones."


@row(ORDER, "transitions", trains=True, tolerance=1e-3, slower=CONVOLUTIONS)
def curl_update(at: Setting) -> Pair:
    """A full update of SAC and CURL: critic, actor, temperature, averages, contrast; 64 transitions."""
    batch, hidden = at.sized((64, 1024), tiny=(5, 16))
    buffer, ours = seen(at), CURL(encoder(at), ACTIONS, hidden)
    theirs = PublicCURL(ours, buffer)

    def update() -> dict[str, Tensor]:
        ours.update(buffer, step=0, batch=batch)
        return gradients(ours)

    return Pair(update, lambda: theirs.update(batch), items=batch)


@row(ORDER, "transitions and moments", trains=True, tolerance=1e-3, slower=CONVOLUTIONS)
def m_curl_update(at: Setting) -> Pair:
    """A full update of SAC and M-CURL; 64 transitions, 4 windows of 16 moments; without dropout."""
    batch, hidden, windows, length = at.sized((64, 1024, 4, 16), tiny=(5, 16, 2, 4))
    buffer = seen(at)
    ours = MCURL(encoder(at), ACTIONS, hidden, dropout=0.0, batch=windows, length=length)
    theirs = PublicMCURL(ours, buffer, windows, length)

    def update() -> dict[str, Tensor]:
        ours.update(buffer, step=0, batch=batch)
        return gradients(ours)

    return Pair(update, lambda: theirs.update(batch), items=batch + windows * length)


@row("numpy, written out", "frames")
def attention_agent(at: Setting) -> Pair:
    """A step of AttentionAgent: from a frame of 96 × 96 to an action."""
    agent = at.put(AttentionAgent()).eval()
    frame = torch.rand(96, 96, 3)
    ours, state = at.put(frame), agent.controller.init_state(at.put(torch.zeros(1, 1)))
    theirs, pixels = NumpyAgent(agent), frame.numpy()
    return Pair(lambda: agent(ours, state)[0], lambda: theirs(pixels), items=1)
