"""SAC with CURL or M-CURL in the order in which the public codes take their operations.

The networks are ours, copied, and so is the mathematics. What differs is what the public codes do otherwise: a buffer
that keeps each stack twice, crops by numpy, pixels that are floats from then on, averages parameter by parameter, a
temperature of its own step, and a contrast with two optimisers for one encoder.

Random numbers are drawn in the order in which ours draws them, so that both see the same batch: hence the second crop,
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
    """Cut a square out of each stack, by numpy."""
    n, places = len(images), images.shape[-1] - size + 1
    top, left = (torch.randint(places, (n,)).numpy() for _ in range(2))
    return sliding_window_view(images, (size, size), axis=(2, 3))[np.arange(n), :, top, left]


def soft_update(network: nn.Module, average: nn.Module, share: float) -> None:
    """Move an average towards a network."""
    for fast, slow in zip(network.parameters(), average.parameters(), strict=True):
        slow.data.copy_(share * fast.data + (1 - share) * slow.data)


class PublicSAC(ABC):
    """Soft actor-critic on crops, with the numbers of an agent of ours and what its buffer holds."""

    def __init__(self, agent: SoftActorCritic, buffer: ReplayBuffer, rate: float = 1e-3) -> None:
        self.actor, self.critic, self.target = copy.deepcopy((agent.actor, agent.critic, agent.critic_target))
        self.log_alpha = agent.log_alpha.detach().clone().requires_grad_()
        self.discount, self.shares = agent.discount, (agent.tau, agent.encoder_tau)
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
        """Return whole stacks, and transitions whose stacks are cropped."""
        at = torch.randint(len(self.stacks), (batch,)).numpy()
        whole = self.stacks[at]
        pixels = torch.as_tensor(random_crop(whole, self.size)).float()
        next_pixels = torch.as_tensor(random_crop(self.next_stacks[at], self.size)).float()
        action, reward, not_done = (torch.as_tensor(x[at]) for x in (self.actions, self.rewards, self.not_done))
        return whole, pixels, action, reward, next_pixels, not_done

    def act(self, pixels: Tensor, detach: bool = False) -> tuple[Tensor, Tensor]:
        """Draw actions, and return their log-densities."""
        mean, log_std = self.actor(pixels, detach)
        noise = torch.randn_like(mean)
        log_p = (-0.5 * noise.pow(2) - log_std).sum(-1, keepdim=True) - 0.5 * math.log(2 * math.pi) * noise.shape[-1]
        action = torch.tanh(mean + noise * log_std.exp())
        return action, log_p - torch.log(F.relu(1 - action.pow(2)) + 1e-6).sum(-1, keepdim=True)

    def update_critic(self, pixels: Tensor, action: Tensor, reward: Tensor, next_pixels: Tensor, not_done: Any) -> None:
        """Move the critic towards what the next moment promises."""
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
        """Move the actor, then the temperature."""
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
        """Take an update of an even number, in which all parts take part; return the gradients that it leaves."""
        whole, pixels, action, reward, next_pixels, not_done = self.sample(batch)
        self.update_critic(pixels, action, reward, next_pixels, not_done)
        self.update_actor_and_alpha(pixels)
        soft_update(self.critic.Q1, self.target.Q1, self.shares[0])
        soft_update(self.critic.Q2, self.target.Q2, self.shares[0])
        soft_update(self.critic.encoder, self.target.encoder, self.shares[1])
        self.update_contrast(whole, pixels)
        parts = (("actor", self.actor), ("critic", self.critic))
        return {f"{p}.{name}": w.grad for p, part in parts for name, w in part.named_parameters() if w.grad is not None}

    @abstractmethod
    def update_contrast(self, whole: Any, pixels: Tensor) -> None:
        """Train the encoder on another task."""


class PublicCURL(PublicSAC):
    """SAC and CURL."""

    def __init__(self, agent: CURL, buffer: ReplayBuffer, rate: float = 1e-3) -> None:
        super().__init__(agent, buffer, rate)
        self.W = nn.Parameter(agent.similarity.key.weight.detach().clone())
        encoder = list(self.critic.encoder.parameters())
        self.optimizers = [torch.optim.Adam(encoder, rate), torch.optim.Adam([*encoder, self.W], rate)]

    def update_contrast(self, whole: Any, pixels: Tensor) -> None:
        """Tell each crop by another crop of its stack."""
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
    """SAC and M-CURL, whose attention is written out: scores, softmax, mean."""

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

    def hidden(self) -> tuple[Any, Any, Tensor]:
        """Return windows as they were, windows with what is hidden, and where a moment is asked for."""
        starts = torch.randint(len(self.all_stacks) - self.length + 1, (self.windows,)).numpy()
        whole = self.all_stacks[starts[:, None] + np.arange(self.length)]
        strangers = self.all_stacks[torch.randint(len(self.all_stacks), (self.windows * self.length,)).numpy()]
        draw, fate = torch.rand(2, self.windows, self.length).numpy()
        seen, chosen = whole.copy(), draw < self.chosen
        seen[chosen & (fate < 0.8)] = 0
        strange = chosen & (fate >= 0.9)
        seen[strange] = strangers.reshape(whole.shape)[strange]
        return whole, seen, torch.from_numpy(chosen)

    def rebuilt(self, features: Tensor) -> Tensor:
        """Take windows of features through the Transformer."""
        x: Any = features + self.positions
        for layer in self.transformer.layers:
            scores = layer.query(x) @ layer.key(x).transpose(1, 2) / math.sqrt(x.shape[-1])
            x = layer.around_attention.norm(x + torch.softmax(scores, dim=-1) @ layer.value(x))
            x = layer.around_feed_forward.norm(x + layer.feed_forward(x))
        return x

    def update_contrast(self, whole: Any, pixels: Tensor) -> None:
        """Tell each hidden moment, as rebuilt, from all moments: all products are made, and those asked for kept."""
        moments, seen, chosen = self.hidden()
        crops = [random_crop(x.reshape(-1, *x.shape[2:]), self.size) for x in (seen, moments)]
        shown, keys = (torch.as_tensor(x).float() for x in crops)
        features = self.critic.encoder(shown).view(self.windows, self.length, -1)
        query = self.rebuilt(features).flatten(0, 1)
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
