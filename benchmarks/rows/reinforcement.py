"""Agents that learn or act from pixels, against the same mathematics in the order of the public codes."""

import torch
from torch import Tensor

from benchmarks.peers.attention_agent import NumpyAgent
from benchmarks.peers.curl import PublicCURL, PublicMCURL
from benchmarks.row import Pair, Setting, row
from reference_impl.attention_agent import AttentionAgent
from reference_impl.curl import CURL, ConvEncoder, PixelEncoder, ReplayBuffer, SoftActorCritic
from reference_impl.m_curl import MCURL, MCURLConfig

ACTIONS = 6


def build_encoder(at: Setting) -> PixelEncoder:
    """Return the paper's encoder."""
    return at.sized(PixelEncoder(), tiny=PixelEncoder(12, 8, ConvEncoder(9, 4, 2)))


def fill_replay_buffer(at: Setting) -> ReplayBuffer:
    """Return a replay buffer that holds one episode of noise."""
    frames, side = at.sized((256, 100), tiny=(20, 16))
    buffer = ReplayBuffer(frames + 1, ACTIONS, (3, side, side))
    buffer.add_first(torch.randint(256, (3, side, side), dtype=torch.uint8))
    for _ in range(frames - 1):
        frame = torch.randint(256, (3, side, side), dtype=torch.uint8)
        buffer.add(2 * torch.rand(ACTIONS) - 1, float(torch.rand(())), frame)
    return buffer


def gradients(agent: SoftActorCritic) -> dict[str, Tensor]:
    """Return the gradients after an update: each is of the last loss that reached its parameter."""
    left = {f"actor.{name}": p.grad for name, p in agent.actor.named_parameters() if p.grad is not None}
    left |= {f"critic.{name}": p.grad for name, p in agent.critic.named_parameters() if p.grad is not None}
    return left


ORDER = "the public code's order, written out"
CONVOLUTIONS = "Convolutions and their gradients are most of the time, and both sides take the same ones."


@row(ORDER, "transitions", trains=True, tolerance=1e-3, slower=CONVOLUTIONS)
def curl_update(at: Setting) -> Pair:
    """A full update of SAC and CURL: critic, actor, temperature, target networks, contrast; 64 transitions."""
    batch, hidden = at.sized((64, 1024), tiny=(5, 16))
    buffer, ours = fill_replay_buffer(at), CURL(build_encoder(at), ACTIONS, hidden)
    theirs = PublicCURL(ours, buffer)

    def update() -> dict[str, Tensor]:
        ours.update(buffer, step=0, batch_size=batch)
        return gradients(ours)

    return Pair(update, lambda: theirs.update(batch), items=batch)


@row(ORDER, "transitions and timesteps", trains=True, tolerance=1e-3, slower=CONVOLUTIONS)
def m_curl_update(at: Setting) -> Pair:
    """A full update of SAC and M-CURL; 64 transitions, 4 windows of 16 timesteps; without dropout."""
    batch, hidden, windows, length = at.sized((64, 1024, 4, 16), tiny=(5, 16, 2, 4))
    buffer = fill_replay_buffer(at)
    config = MCURLConfig(dropout=0.0, mtm_bsz=windows, mtm_length=length)
    ours = MCURL(build_encoder(at), ACTIONS, hidden, config=config)
    theirs = PublicMCURL(ours, buffer, windows, length)

    def update() -> dict[str, Tensor]:
        ours.update(buffer, step=0, batch_size=batch)
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
