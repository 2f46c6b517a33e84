"""SAC with CURL or M-CURL, with the operations in the order of the public codes.

The networks are copies of ours, and the mathematics is the same. The rest follows the public codes: a replay buffer
that stores each stack twice, crops by numpy, pixels converted to floats after that, moving averages parameter by
parameter, a separate step for the temperature, and two optimizers for the encoder's contrastive update.

Random numbers are drawn in the order in which ours draws them, so that both see the same batch. So the second crop,
which the public code makes with the first, comes later.
"""

import copy
import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor, nn
from torch.nn import functional as F

from reference_impl.curl import CURL, ReplayBuffer, SoftActorCritic
from reference_impl.m_curl import MCURL


def random_crop(images: Any, size: int) -> Any:
    """Crop each stack at a random position, by numpy."""
    n, places = len(images), images.shape[-1] - size + 1
    top, left = (torch.randint(places, (n,)).numpy() for _ in range(2))
    return sliding_window_view(images, (size, size), axis=(2, 3))[np.arange(n), :, top, left]


def soft_update_params(net: nn.Module, target_net: nn.Module, tau: float) -> None:
    """Update the moving average of a network."""
    for param, target_param in zip(net.parameters(), target_net.parameters(), strict=True):
        target_param.data.copy_(tau * param.data + (1 - tau) * target_param.data)


class PublicSAC(ABC):
    """Soft actor-critic on crops, with the weights of an agent of ours and the contents of its buffer."""

    def __init__(self, agent: SoftActorCritic, buffer: ReplayBuffer, rate: float = 1e-3) -> None:
        self.actor, self.critic, self.target = copy.deepcopy((agent.actor, agent.critic, agent.critic_target))
        self.log_alpha = agent.log_alpha.detach().clone().requires_grad_()
        self.discount, self.taus = agent.discount, (agent.tau, agent.encoder_tau)
        self.target_entropy, self.size = agent.target_entropy, agent.critic.encoder.image_size
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), rate)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), rate)
        self.alpha_optimizer = torch.optim.Adam([self.log_alpha], 1e-4, betas=(0.5, 0.999))
        slots = buffer.transition_indices()
        self.all_stacks = buffer.stack_frames(buffer.observation_indices()).numpy()
        self.stacks, self.next_stacks = buffer.stack_frames(slots - 1).numpy(), buffer.stack_frames(slots).numpy()
        self.actions, self.rewards = buffer.action[slots].numpy(), buffer.reward[slots, None].numpy()
        self.not_done = (~buffer.terminal[slots, None]).float().numpy()

    def sample(self, batch: int) -> tuple[Any, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return uncropped stacks, and transitions with cropped stacks."""
        at = torch.randint(len(self.stacks), (batch,)).numpy()
        whole = self.stacks[at]
        pixels = torch.as_tensor(random_crop(whole, self.size)).float()
        next_pixels = torch.as_tensor(random_crop(self.next_stacks[at], self.size)).float()
        action, reward, not_done = (torch.as_tensor(x[at]) for x in (self.actions, self.rewards, self.not_done))
        return whole, pixels, action, reward, next_pixels, not_done

    def act(self, pixels: Tensor, detach: bool = False) -> tuple[Tensor, Tensor]:
        """Sample actions, and return their log-densities."""
        mean, log_std = self.actor(pixels, detach)
        noise = torch.randn_like(mean)
        log_p = (-0.5 * noise.pow(2) - log_std).sum(-1, keepdim=True) - 0.5 * math.log(2 * math.pi) * noise.shape[-1]
        action = torch.tanh(mean + noise * log_std.exp())
        return action, log_p - torch.log(F.relu(1 - action.pow(2)) + 1e-6).sum(-1, keepdim=True)

    def update_critic(self, pixels: Tensor, action: Tensor, reward: Tensor, next_pixels: Tensor, not_done: Any) -> None:
        """Take a step on the critic's Bellman error."""
        with torch.no_grad():
            next_action, log_p = self.act(next_pixels)
            first, second = self.target(next_pixels, next_action)
            value = torch.min(first, second)[:, None] - self.log_alpha.exp().detach() * log_p
            promised = reward + not_done * self.discount * value
        first, second = self.critic(pixels, action)
        loss = F.mse_loss(first[:, None], promised) + F.mse_loss(second[:, None], promised)
        self.critic_optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.critic_optimizer.step()

    def update_actor_and_alpha(self, pixels: Tensor) -> None:
        """Take a step on the actor's loss, then on the temperature's."""
        action, log_p = self.act(pixels, detach=True)
        first, second = self.critic(pixels, action, True)
        alpha = self.log_alpha.exp()
        loss = (alpha.detach() * log_p - torch.min(first, second)[:, None]).mean()
        self.actor_optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.actor_optimizer.step()
        self.alpha_optimizer.zero_grad()
        torch.autograd.backward((alpha * (-log_p - self.target_entropy).detach()).mean())
        self.alpha_optimizer.step()

    def update(self, batch: int) -> dict[str, Tensor]:
        """Take an update of an even step, which updates all parts; return the gradients that it leaves."""
        whole, pixels, action, reward, next_pixels, not_done = self.sample(batch)
        self.update_critic(pixels, action, reward, next_pixels, not_done)
        self.update_actor_and_alpha(pixels)
        soft_update_params(self.critic.Q1, self.target.Q1, self.taus[0])
        soft_update_params(self.critic.Q2, self.target.Q2, self.taus[0])
        soft_update_params(self.critic.encoder, self.target.encoder, self.taus[1])
        self.update_contrast(whole, pixels)
        parts = (("actor", self.actor), ("critic", self.critic))
        return {f"{p}.{name}": w.grad for p, part in parts for name, w in part.named_parameters() if w.grad is not None}

    @abstractmethod
    def update_contrast(self, whole: Any, pixels: Tensor) -> None:
        """Train the encoder on an auxiliary task."""


class PublicCURL(PublicSAC):
    """SAC and CURL."""

    def __init__(self, agent: CURL, buffer: ReplayBuffer, rate: float = 1e-3) -> None:
        super().__init__(agent, buffer, rate)
        self.W = nn.Parameter(agent.similarity.key.weight.detach().clone())
        encoder = list(self.critic.encoder.parameters())
        self.optimizers = [torch.optim.Adam(encoder, rate), torch.optim.Adam([*encoder, self.W], rate)]

    def update_contrast(self, whole: Any, pixels: Tensor) -> None:
        """Take a contrastive step on two crops of each stack."""
        other = torch.as_tensor(random_crop(whole, self.size)).float()
        query = self.critic.encoder(pixels)
        with torch.no_grad():
            key = self.target.encoder(other)
        logits = query @ (self.W @ key.T)
        logits = logits - logits.max(1)[0][:, None]
        loss = F.cross_entropy(logits, torch.arange(len(logits)))
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        torch.autograd.backward(loss)
        for optimizer in self.optimizers:
            optimizer.step()


class PublicMCURL(PublicSAC):
    """SAC and M-CURL, whose attention is written out: scores, softmax, weighted mean."""

    def __init__(
        self, agent: MCURL, buffer: ReplayBuffer, windows: int, length: int, rate: float = 1e-3, chosen: float = 0.5
    ) -> None:
        super().__init__(agent, buffer, rate)
        self.windows, self.length, self.chosen = windows, length, chosen
        self.transformer: Any = copy.deepcopy(agent.transformer)
        d = agent.critic.encoder.feature_dim
        rates = 10000.0 ** (torch.arange(0, d, 2) / d)
        angles = torch.arange(length)[:, None] / rates
        self.positions = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :d]
        encoder = torch.optim.Adam(self.critic.encoder.parameters(), 2 * rate)
        self.optimizers = [encoder, torch.optim.Adam(self.transformer.parameters(), rate)]

    def sample_masked(self) -> tuple[Any, Any, Tensor]:
        """Return windows, masked windows, and the mask."""
        starts = torch.randint(len(self.all_stacks) - self.length + 1, (self.windows,)).numpy()
        whole = self.all_stacks[starts[:, None] + np.arange(self.length)]
        strangers = self.all_stacks[torch.randint(len(self.all_stacks), (self.windows * self.length,)).numpy()]
        draw, fate = torch.rand(2, self.windows, self.length).numpy()
        seen, chosen = whole.copy(), draw < self.chosen
        seen[chosen & (fate < 0.8)] = 0
        strange = chosen & (fate >= 0.9)
        seen[strange] = strangers.reshape(whole.shape)[strange]
        return whole, seen, torch.from_numpy(chosen)

    def reconstruct(self, features: Tensor) -> Tensor:
        """Apply the Transformer to windows of features."""
        x: Any = features + self.positions
        for layer in self.transformer.layers:
            scores = layer.query(x) @ layer.key(x).transpose(1, 2) / math.sqrt(x.shape[-1])
            x = layer.norm1(x + torch.softmax(scores, dim=-1) @ layer.value(x))
            x = layer.norm2(x + layer.feed_forward(x))
        return x

    def update_contrast(self, whole: Any, pixels: Tensor) -> None:
        """Take a masked contrastive step: logits of all timesteps are computed, and those of masked ones kept."""
        moments, seen, chosen = self.sample_masked()
        crops = [random_crop(x.reshape(-1, *x.shape[2:]), self.size) for x in (seen, moments)]
        shown, keys = (torch.as_tensor(x).float() for x in crops)
        features = self.critic.encoder(shown).view(self.windows, self.length, -1)
        query = self.reconstruct(features).flatten(0, 1)
        with torch.no_grad():
            key = self.target.encoder(keys)
        logits = query @ key.T
        logits = logits - logits.max(1)[0][:, None]
        kept = chosen.flatten()
        loss = F.cross_entropy(logits[kept], torch.arange(len(logits))[kept])
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        torch.autograd.backward(loss)
        for optimizer in self.optimizers:
            optimizer.step()
