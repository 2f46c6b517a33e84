r"""CURL: soft actor-critic from pixels, whose encoder also learns to tell an observation's crops from all others.

Source: Laskin, Srinivas and Abbeel 2020, "CURL: Contrastive Unsupervised Representations for Reinforcement Learning";
    sections, equations and tables below are this paper's. What it leaves unsaid is taken from the authors' public
    code, MishaLaskin/curl. The defaults are those of Table 3.

An observation is a stack of three frames, nine channels of pixels in [0, 255]. The buffer holds frames of 100 × 100;
networks read 84 × 84 of them. A *decision* is one action, which the environment may repeat.

Axes: $b$ observations or examples of a batch, $n$ queries or places of a window, $m$ keys, $d$ features, and by name
the channels, rows and columns of images and the numbers of an action.
"""

import copy
import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int, Num, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from reference_impl.layers.attention import GeneralScore


class ConvEncoder(nn.Sequential):
    """Turn pixels into maps: 3 × 3 filters throughout, the first layer with a stride of 2.

    Source: Appendix A, Architecture; Table 3
    """

    def __init__(self, in_channels: int = 9, num_filters: int = 32, layers: int = 4) -> None:
        super().__init__()
        self.num_filters, self.layers = num_filters, layers
        for layer in range(layers):
            width, stride = (num_filters, 1) if layer else (in_channels, 2)
            self.append(nn.Conv2d(width, num_filters, 3, stride)).append(nn.ReLU())

    def output_size(self, image_size: int) -> int:
        """Return how many rows and columns a map has when the pixels have `image_size` of each.

        Raises:
            ValueError: None is left.
        """
        side = (image_size - 3) // 2 + 1 - 2 * (self.layers - 1)
        if side < 1:
            raise ValueError(f"{image_size} rows of pixels are too few for {self.layers} convolutions")
        return side


class PixelEncoder(nn.Module):
    r"""Turn an observation into the few numbers that all else reads.

    Source: Appendix A, Architecture
        $$f(o) = \tanh(\operatorname{LayerNorm}(W \operatorname{conv}(o / 255) + b))$$

    Departs: the paper's sketch has a hidden layer of 1,024 between the maps and the features. The public code has none,
    and nor has this. The public code switches the tanh off (`squash=False`).

    Args:
        image_size: How many rows and columns of pixels are read.
        feature_dim: How many features come out.
        convs: What sees the pixels; two encoders may share one.
        squash: Whether tanh comes last.

    Raises:
        ValueError: So few pixels leave nothing after the convolutions.

    Asked: curl.encoder-size
    """

    def __init__(
        self, image_size: int = 84, feature_dim: int = 50, convs: ConvEncoder | None = None, squash: bool = True
    ) -> None:
        super().__init__()
        self.image_size, self.feature_dim, self.squash = image_size, feature_dim, squash
        self.convs = ConvEncoder() if convs is None else convs
        maps = self.convs.num_filters * self.convs.output_size(image_size) ** 2
        self.fc, self.ln = nn.Linear(maps, feature_dim), nn.LayerNorm(feature_dim)

    def forward(
        self, obs: Num[Tensor, "b channels rows columns"], detach: bool = False
    ) -> Float[Tensor, "b feature_dim"]:
        """Return the features of each observation, in [-1, 1] where they are squashed.

        Args:
            obs: In [0, 255].
            detach: Whether gradients stop before the convolutions.
        """
        maps = self.convs(obs.to(self.fc.weight.dtype) / 255).flatten(1)
        features = self.ln(self.fc(maps.detach() if detach else maps))
        return features.tanh() if self.squash else features


def weight_init(module: nn.Module) -> None:
    """Make linear layers orthogonal, and of each convolution's filters an orthogonal centre; biases begin at 0.

    Source: the public code; the centre is Xiao et al. 2018 (delta-orthogonal), with a gain for the ReLU
    """
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.dim() == 2:
            nn.init.orthogonal_(parameter)
        elif parameter.dim() == 4:
            nn.init.zeros_(parameter)
            nn.init.orthogonal_(parameter.data[:, :, 1, 1], nn.init.calculate_gain("relu"))


def mlp(input_dim: int, hidden_dim: int, output_dim: int) -> nn.Sequential:
    """Return a network with two hidden layers.

    Source: Table 3, Hidden units
    """
    first, second = nn.Linear(input_dim, hidden_dim), nn.Linear(hidden_dim, hidden_dim)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Linear(hidden_dim, output_dim))


def squashed_gaussian(
    mean: Float[Tensor, "b actions"], log_std: Float[Tensor, "b actions"], noise: Float[Tensor, "b actions"]
) -> tuple[Float[Tensor, "b actions"], Float[Tensor, " b"]]:
    r"""Return the action that a draw of noise makes, and the log of its density.

    Source: Section 3.1; the density is Haarnoja et al. 2018 (SAC and its applications), Appendix C
        $$u = \mu + \sigma \odot \xi, \qquad a = \tanh u, \qquad \xi \sim \mathcal N(0, I)$$

        $$\log \pi(a) = \sum_i \log \mathcal N(u_i; \mu_i, \sigma_i^2) - \log(1 - \tanh^2 u_i)$$

    Departs: the public code adds $10^{-6}$ to $1 - \tanh^2 u$. Here it is exact for every $u$, since
    $1 - \tanh^2 u = 4 e^{-2u} \sigma(2u)^2$, where $\sigma$ is the logistic function.

    Args:
        mean: Of the Gaussian, before tanh.
        log_std: The log of its standard deviation.
        noise: Standard normal.

    Returns:
        Actions in [-1, 1], and one log-density an action.

    Asked: curl.squashed-density
    """
    u = mean + log_std.exp() * noise
    log_normal = -noise.square() / 2 - log_std - math.log(2 * math.pi) / 2
    log_slope = 2 * (math.log(2) - u + F.logsigmoid(2 * u))
    return u.tanh(), (log_normal - log_slope).sum(dim=1)


class Actor(nn.Module):
    """Choose actions: features in, the mean and the spread of a Gaussian out.

    Source: Section 3.1; Appendix A. The limits of the spread are the public code's.
    """

    def __init__(self, encoder: PixelEncoder, action_dim: int, hidden_dim: int = 1024) -> None:
        super().__init__()
        self.encoder, self.trunk = encoder, mlp(encoder.feature_dim, hidden_dim, 2 * action_dim)

    def forward(
        self, obs: Num[Tensor, "b channels rows columns"], detach: bool = False
    ) -> tuple[Float[Tensor, "b actions"], Float[Tensor, "b actions"]]:
        """Return the mean, and the log of the standard deviation, which is in [-10, 2]."""
        mean, log_std = self.trunk(self.encoder(obs, detach)).chunk(2, dim=1)
        return mean, 6 * log_std.tanh() - 4

    def sample(
        self, obs: Num[Tensor, "b channels rows columns"], detach: bool = False
    ) -> tuple[Float[Tensor, "b actions"], Float[Tensor, " b"]]:
        """Draw an action for each observation, and return its log-density too."""
        mean, log_std = self(obs, detach)
        return squashed_gaussian(mean, log_std, torch.randn_like(mean))


class Critic(nn.Module):
    """Judge an action twice over: two networks read the same features.

    Source: Section 3.1
    """

    def __init__(self, encoder: PixelEncoder, action_dim: int, hidden_dim: int = 1024) -> None:
        super().__init__()
        self.encoder = encoder
        self.Q1, self.Q2 = (mlp(encoder.feature_dim + action_dim, hidden_dim, 1) for _ in range(2))

    def forward(
        self,
        obs: Num[Tensor, "b channels rows columns"],
        action: Float[Tensor, "b actions"],
        detach: bool = False,
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
        """Return both values of each action."""
        known = torch.cat([self.encoder(obs, detach), action], dim=1)
        return self.Q1(known).squeeze(1), self.Q2(known).squeeze(1)


@dataclass(frozen=True)
class Transitions:
    """What was seen, what was done, what it earned, what was seen next, and whether that was the end of the task."""

    obs: Num[Tensor, "b channels rows columns"]
    action: Float[Tensor, "b actions"]
    reward: Float[Tensor, " b"]
    next_obs: Num[Tensor, "b channels rows columns"]
    terminal: Bool[Tensor, " b"]


class ReplayBuffer:
    r"""Keep the latest frames, each once, with what was done to reach it; stacks are made when they are asked for.

    Source: Table 3 (size, stacked frames); Section 4.3 (stacks)

    A slot holds a frame in bytes, its age (how many frames came before it in its episode), and the action, the reward
    and the end that came with it. With frames of 3 × 100 × 100 and $a$ numbers in an action a slot takes
    $30{,}009 + 4a$ bytes: 100,000 take 3.0 GB. At an episode's beginning its first frame stands in for those before it.

    Departs: the public code keeps every stack twice, as what was seen and as what was seen next: six times the bytes.

    Args:
        capacity: How many frames are kept.
        action_dim: How many numbers make an action.
        frame_shape: The channels, rows and columns of a frame.
        frame_stack: How many frames make an observation.

    Raises:
        ValueError: Not even one transition with full stacks fits.

    Asked: curl.buffer-memory, curl.what-is-a-step
    """

    def __init__(
        self, capacity: int, action_dim: int, frame_shape: tuple[int, int, int] = (3, 100, 100), frame_stack: int = 3
    ) -> None:
        if capacity <= frame_stack:
            raise ValueError(f"capacity {capacity} is too small for a transition between stacks of {frame_stack}")
        self.capacity, self.frame_stack, self.num_frames, self.idx = capacity, frame_stack, 0, 0
        self.frames = torch.empty(capacity, *frame_shape, dtype=torch.uint8)
        self.episode_step = torch.full((capacity,), -1, dtype=torch.int32)
        self.action, self.reward = torch.zeros(capacity, action_dim), torch.zeros(capacity)
        self.terminal = torch.zeros(capacity, dtype=torch.bool)

    @property
    def nbytes(self) -> int:
        """Count the bytes that the buffer takes, full or empty."""
        return sum(part.nbytes for part in (self.frames, self.episode_step, self.action, self.reward, self.terminal))

    def add_first(self, frame: UInt8[Tensor, "channels rows columns"]) -> None:
        """Take the first frame of an episode."""
        self._write(frame, episode_step=0, action=torch.zeros_like(self.action[0]), reward=0.0, terminal=False)

    def add(
        self,
        action: Float[Tensor, " actions"],
        reward: float,
        frame: UInt8[Tensor, "channels rows columns"],
        terminal: bool = False,
    ) -> None:
        """Take what a decision led to. An episode that runs out of time is not terminal: its task goes on.

        Raises:
            ValueError: No episode has begun.
        """
        if not self.num_frames:
            raise ValueError("no episode has begun: 0 frames are kept")
        self._write(frame, int(self.episode_step[self.idx - 1]) + 1, action, reward, terminal)

    def _write(self, frame: Tensor, episode_step: int, action: Tensor, reward: float, terminal: bool) -> None:
        index = self.idx
        self.frames[index], self.episode_step[index], self.action[index] = frame, episode_step, action
        self.reward[index], self.terminal[index] = reward, terminal
        self.idx, self.num_frames = (index + 1) % self.capacity, min(self.num_frames + 1, self.capacity)

    def stack_frames(self, indices: Int[Tensor, "*b"]) -> UInt8[Tensor, "*b channels rows columns"]:
        """Return the observations that end with these frames, the latest frame last."""
        back = torch.arange(self.frame_stack - 1, -1, -1, device=indices.device)
        back = torch.minimum(back, self.episode_step[indices][..., None])
        return self.frames[(indices[..., None] - back) % self.capacity].flatten(-4, -3)

    def num_older(self) -> Int[Tensor, " slots"]:
        """Count the frames that came before each and are kept; below 0 where no frame is."""
        indices = torch.arange(self.capacity, device=self.episode_step.device)
        return (indices - self.idx) % self.capacity - (self.capacity - self.num_frames)

    def observation_indices(self) -> Int[Tensor, " slots"]:
        """Return the slots whose stacks are whole: none of their frames has been overwritten."""
        needed = self.episode_step.clamp(max=self.frame_stack - 1)
        return ((self.episode_step >= 0) & (self.num_older() >= needed)).nonzero().squeeze(1)

    def transition_indices(self) -> Int[Tensor, " slots"]:
        """Return the slots that a decision led to, from a stack that is whole."""
        needed = self.episode_step.clamp(max=self.frame_stack)
        return ((self.episode_step >= 1) & (self.num_older() >= needed)).nonzero().squeeze(1)

    def sample(self, batch_size: int) -> Transitions:
        """Draw transitions, each as likely as any other.

        Raises:
            ValueError: There is none.
        """
        indices = sample(self.transition_indices(), batch_size)
        obs, next_obs = self.stack_frames((indices - 1) % self.capacity), self.stack_frames(indices)
        return Transitions(obs, self.action[indices], self.reward[indices], next_obs, self.terminal[indices])


def sample(indices: Int[Tensor, " slots"], n: int) -> Int[Tensor, " b"]:
    """Draw this many of the slots, with replacement.

    Raises:
        ValueError: There is no slot to draw.
    """
    if not len(indices):
        raise ValueError(f"cannot draw {n} from 0 slots")
    return indices[torch.randint(len(indices), (n,), device=indices.device)]


def random_crop(
    imgs: Num[Tensor, "b channels rows columns"], output_size: int
) -> Num[Tensor, "b channels {output_size} {output_size}"]:
    """Cut a square out of each observation, anywhere in it; the frames of a stack are cut alike.

    Source: Section 4.3; Appendix A, Data Augmentation

    Departs: the paper's listing and the public code draw an offset with numpy's `randint(0, 100 - 84)`, which leaves
    the upper end out, so that the last of the 17 offsets never occurs. Here each is as likely as any other.

    Raises:
        ValueError: The square does not fit.

    Asked: curl.what-crops-teach, curl.crop-offsets
    """
    b, _, rows, columns = imgs.shape
    if output_size > min(rows, columns):
        raise ValueError(f"a crop of {output_size} does not fit into {rows} × {columns}")
    top = torch.randint(rows - output_size + 1, (b,), device=imgs.device)
    left = torch.randint(columns - output_size + 1, (b,), device=imgs.device)
    windows = imgs.unfold(2, output_size, 1).unfold(3, output_size, 1)  # a view: only the chosen crops are copied
    return windows[torch.arange(b, device=imgs.device), :, top, left]


def center_crop(
    imgs: Num[Tensor, "b channels rows columns"], output_size: int
) -> Num[Tensor, "b channels {output_size} {output_size}"]:
    """Cut a square out of the middle: what the agent sees when it acts.

    Source: Appendix A, Data Augmentation

    Raises:
        ValueError: The square does not fit.
    """
    rows, columns = imgs.shape[2:]
    if output_size > min(rows, columns):
        raise ValueError(f"a crop of {output_size} does not fit into {rows} × {columns}")
    top, left = (rows - output_size) // 2, (columns - output_size) // 2
    return imgs[:, :, top : top + output_size, left : left + output_size]


def info_nce(logits: Float[Tensor, "n m"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    r"""Return the mean loss of telling each query's own key from all others, in nats; 0 for no query.

    Source: Section 3.3, Eq. 4 (InfoNCE, van den Oord et al. 2018)
        $$\mathcal L_q = -\log \frac{\exp s_+}{\sum_{j=1}^{m} \exp s_j}$$

    $s_j$ is the query's similarity to key $j$, and $s_+$ that to its own, which is among the $m$.

    Departs: Eq. 4 as printed has no minus sign, and adds $K$ negatives to the positive; as a softmax over $K$ classes,
    which the text says and the code does, it has $K - 1$.

    Args:
        logits: The similarities, not normalised.
        labels: Which key is a query's own.

    Asked: curl.positive-pair, curl.loss-is-cross-entropy, curl.more-negatives
    """
    log_p = logits.log_softmax(dim=1)
    return -log_p.gather(1, labels[:, None]).sum() / max(len(logits), 1)


class BilinearSimilarity(GeneralScore):
    r"""Compare queries with keys by a learnt bilinear form.

    Source: Section 4.4; Section 4.7 for how $W$ begins
        $$s_{ij} = q_i^\top W k_j$$

    It is Luong's general score. Its numbers begin anywhere in [0, 1].

    Asked: curl.chance-level, curl.why-bilinear
    """

    def __init__(self, feature_dim: int = 50) -> None:
        super().__init__(feature_dim, feature_dim)
        nn.init.uniform_(self.key.weight)


@torch.no_grad()
def ema_update(target_net: nn.Module, net: nn.Module, tau: float) -> None:
    r"""Move a network's average a little towards the network.

    Source: Section 4.5, with $m = 1 - share$
        $$\theta_k \leftarrow m \theta_k + (1 - m) \theta_q$$

    Asked: curl.why-a-moving-average
    """
    for slow, fast in zip(target_net.parameters(), net.parameters(), strict=True):
        slow.lerp_(fast, tau)


def optimizer_step(optimizer: torch.optim.Optimizer, loss: Float[Tensor, ""]) -> None:
    """Take one step down a loss."""
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()


class SoftActorCritic(nn.Module):
    r"""Learn to act from pixels: soft actor-critic on random crops, with no other task for its encoder.

    Source: Section 3.1; Appendix A; Haarnoja et al. 2018 (SAC and its applications) for the learnt temperature

    Actor and critic share their convolutions. Only the critic's loss moves them: the actor's stops before. The order of
    the steps, and that actor, temperature and averages take every second one, is the public code's.

    Args:
        encoder: The critic's encoder; the actor gets one with the same convolutions.
        action_dim: How many numbers make an action, each in [-1, 1].
        hidden_dim: The width of the hidden layers.
        lr: The learning rate of all but the temperature; the paper takes 2e-4 for cheetah.
        discount: $\gamma$.
        tau: How far the averages of the two value networks move at a time.
        encoder_tau: How far the average of the encoder moves.
        init_temperature: $\alpha$ at the beginning.
    """

    def __init__(
        self,
        encoder: PixelEncoder,
        action_dim: int,
        hidden_dim: int = 1024,
        lr: float = 1e-3,
        discount: float = 0.99,
        tau: float = 0.01,
        encoder_tau: float = 0.05,
        init_temperature: float = 0.1,
    ) -> None:
        super().__init__()
        self.discount, self.tau, self.encoder_tau = discount, tau, encoder_tau
        actors = PixelEncoder(encoder.image_size, encoder.feature_dim, encoder.convs, encoder.squash)
        self.actor, self.critic = Actor(actors, action_dim, hidden_dim), Critic(encoder, action_dim, hidden_dim)
        weight_init(self.actor)
        weight_init(self.critic)
        self.critic_target = copy.deepcopy(self.critic).requires_grad_(False)
        self.log_alpha = nn.Parameter(torch.tensor(math.log(init_temperature)))
        self.target_entropy = -float(action_dim)
        own = [*actors.fc.parameters(), *actors.ln.parameters(), *self.actor.trunk.parameters()]
        self.actor_optimizer = torch.optim.Adam(own, lr)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), lr)
        self.log_alpha_optimizer = torch.optim.Adam([self.log_alpha], 1e-4, betas=(0.5, 0.999))

    @torch.no_grad()
    def act(self, obs: UInt8[Tensor, "b channels rows columns"], explore: bool = False) -> Float[Tensor, "b actions"]:
        """Return an action for each whole observation: the likeliest before tanh, or one that is drawn."""
        seen = center_crop(obs, self.critic.encoder.image_size)
        return self.actor.sample(seen)[0] if explore else self.actor(seen)[0].tanh()

    def critic_loss(self, batch: Transitions) -> Float[Tensor, ""]:
        r"""Return how far both values are from what the next moment promises.

        Source: Section 3.1, Eqs. 1 and 2
            $$\sum_{i=1,2} \bigl(Q_i(o, a) - (r + \gamma (1 - d) \mathcal T)\bigr)^2$$

            $$\mathcal T = \min_{i=1,2} \bar Q_i(o', a') - \alpha \log \pi(a' \mid o')$$

        $\bar Q_i$ is the average of $Q_i$, and $a'$ is drawn from the policy.
        """
        with torch.no_grad():
            action, log_p = self.actor.sample(batch.next_obs)
            worse = torch.minimum(*self.critic_target(batch.next_obs, action))
            promised = worse - self.log_alpha.exp() * log_p
            target = batch.reward + self.discount * ~batch.terminal * promised
        first, second = self.critic(batch.obs, batch.action)
        return F.mse_loss(first, target) + F.mse_loss(second, target)

    def actor_losses(self, obs: Num[Tensor, "b channels rows columns"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        r"""Return the actor's loss and the temperature's.

        Source: Section 3.1, Eq. 3; Haarnoja et al. 2018 (SAC and its applications) for the temperature
            $$\mathbb E_{a \sim \pi}[\alpha \log \pi(a \mid o) - \min_i Q_i(o, a)]$$

            $$\mathbb E_{a \sim \pi}[\alpha (-\log \pi(a \mid o) - \bar{\mathcal H})]$$

        $\bar{\mathcal H}$, the entropy that is aimed at, is minus the numbers of an action.

        Departs: Eq. 3 is what the actor raises; this is minus that, to be lowered.
        """
        action, log_p = self.actor.sample(obs, detach=True)
        worse = torch.minimum(*self.critic(obs, action, detach=True))
        alpha = self.log_alpha.exp()
        actor_loss = (alpha.detach() * log_p - worse).mean()
        return actor_loss, (alpha * (-log_p - self.target_entropy).detach()).mean()

    def update(self, replay_buffer: ReplayBuffer, step: int, batch_size: int = 512) -> None:
        """Take one step of learning: critic; every second time actor, temperature and averages; then the other task.

        Departs: Section 4.7 moves the average of the encoder after each step of the contrast. The public code moves it
        before that step, every second time; so does this.

        Args:
            replay_buffer: What has been seen.
            step: The number of the decision; the paper begins after 1,000.
            batch_size: How many transitions are drawn: 512 in Table 3, 128 in the published script.
        """
        transitions, image_size = replay_buffer.sample(batch_size), self.critic.encoder.image_size
        crops = random_crop(transitions.obs, image_size), random_crop(transitions.next_obs, image_size)
        cropped = replace(transitions, obs=crops[0], next_obs=crops[1])
        optimizer_step(self.critic_optimizer, self.critic_loss(cropped))
        if step % 2 == 0:
            actor_loss, alpha_loss = self.actor_losses(cropped.obs)
            optimizer_step(self.actor_optimizer, actor_loss)
            optimizer_step(self.log_alpha_optimizer, alpha_loss)
            ema_update(self.critic_target.Q1, self.critic.Q1, self.tau)
            ema_update(self.critic_target.Q2, self.critic.Q2, self.tau)
            ema_update(self.critic_target.encoder, self.critic.encoder, self.encoder_tau)
        self.update_representation(replay_buffer, transitions, cropped)

    def update_representation(
        self, replay_buffer: ReplayBuffer, transitions: Transitions, cropped: Transitions
    ) -> None:
        """Train the encoder on another task: there is none here."""


class CURL(SoftActorCritic):
    """Learn to act from pixels, and to tell an observation by two of its crops.

    Source: Section 4

    The average of the critic's encoder, which soft actor-critic has anyway, makes the keys. Both tasks have the same
    weight and rate.

    Departs: the public code steps the encoder twice at each contrast, by two optimisers of one rate that see the same
    gradient: exactly one optimiser of twice the rate. Here there is one, as in the paper's listing.

    Args:
        encoder: The critic's encoder, which makes the queries.
        action_dim: How many numbers make an action.
        hidden_dim: The width of the hidden layers.
        lr: The learning rate of all but the temperature.
        kwargs: As for `SoftActorCritic`.

    Asked: curl.who-moves-the-encoder, curl.two-optimisers
    """

    def __init__(
        self, encoder: PixelEncoder, action_dim: int, hidden_dim: int = 1024, lr: float = 1e-3, **kwargs: float
    ) -> None:
        super().__init__(encoder, action_dim, hidden_dim, lr, **kwargs)
        self.similarity = BilinearSimilarity(encoder.feature_dim)
        self.cpc_optimizer = torch.optim.Adam([*encoder.parameters(), *self.similarity.parameters()], lr)

    def contrastive_loss(
        self,
        obs_anchor: Num[Tensor, "b channels rows columns"],
        obs_pos: Num[Tensor, "b channels rows columns"],
    ) -> Float[Tensor, ""]:
        """Return how hard it is to tell each query's own key; the keys are fixed.

        Source: Section 4.7
        """
        query = self.critic.encoder(obs_anchor)
        with torch.no_grad():
            key = self.critic_target.encoder(obs_pos)
        return info_nce(self.similarity(query, key), torch.arange(len(query), device=query.device))

    def update_representation(
        self, replay_buffer: ReplayBuffer, transitions: Transitions, cropped: Transitions
    ) -> None:
        """Tell each observation's crop, which actor and critic have seen too, by another crop of it."""
        obs_pos = random_crop(transitions.obs, self.critic.encoder.image_size)
        optimizer_step(self.cpc_optimizer, self.contrastive_loss(cropped.obs, obs_pos))


# Answers


def positive_pair() -> None:
    r"""
    Answers: curl.positive-pair
        They are crops of one observation. The wrong keys are those of the other observations in the batch, which were
        drawn for the update anyway: nothing is stored for them. The loss pulls on every entry of the table of
        similarities, up at a query's own key and down at all others.

        >>> import torch
        >>> from reference_impl.curl import info_nce
        >>> _ = torch.manual_seed(0)
        >>> similarities = torch.randn(4, 4, requires_grad=True)
        >>> info_nce(similarities, labels=torch.arange(4)).backward()
        >>> (-similarities.grad.sign()).int().tolist()
        [[1, -1, -1, -1], [-1, 1, -1, -1], [-1, -1, 1, -1], [-1, -1, -1, 1]]

        Being different *draws* is all that is asked of the others. If one moment was drawn twice, its twin counts as a
        wrong key, and no encoder can get below $\log 2$ there: features that name each moment perfectly still pay it.

        >>> features = torch.eye(4)[[0, 1, 2, 2]]
        >>> best = 100 * features @ features.T
        >>> [round(abs(info_nce(best[i : i + 1], torch.tensor([i])).item()), 3) for i in range(4)]
        [0.0, 0.0, 0.693, 0.693]
    """


def loss_is_cross_entropy() -> None:
    """
    Answers: curl.loss-is-cross-entropy
        No. It is cross-entropy over as many classes as there are keys, where the label of a query is its row number:
        "which of these is mine?". As printed, Eq. 4 lacks its minus sign, and going down *that* would make each query's
        own key the least likely.

        >>> import math, torch
        >>> from torch.nn import functional as F
        >>> from reference_impl.curl import info_nce
        >>> _ = torch.manual_seed(0)
        >>> similarities = torch.randn(6, 6, dtype=torch.float64)
        >>> by_hand = 0.0
        >>> for i in range(6):
        ...     own = math.exp(similarities[i, i])
        ...     others = sum(math.exp(similarities[i, j]) for j in range(6) if j != i)
        ...     by_hand += -math.log(own / (own + others)) / 6
        >>> loss = info_nce(similarities, torch.arange(6)).item()
        >>> abs(loss - by_hand) < 1e-12, abs(loss - F.cross_entropy(similarities, torch.arange(6)).item()) < 1e-12
        (True, True)
        >>> free = torch.zeros(6, 6, requires_grad=True)
        >>> optimizer = torch.optim.SGD([free], lr=10.0)
        >>> for _ in range(50):
        ...     optimizer.zero_grad()
        ...     (-info_nce(free, torch.arange(6))).backward()  # Eq. 4 as printed
        ...     optimizer.step()
        >>> torch.equal(free.argmin(dim=1), torch.arange(6))
        True
    """


def chance_level() -> None:
    r"""
    Answers: curl.chance-level
        $\log K$ for $K$ keys, and that is the loss if all similarities are equal: 4.85 for 128. Where observations
        differ, training starts above it. A matrix of random numbers prefers keys at random, and strongly, since 2,500
        products are added up; wrong keys that look right cost more than knowing nothing. (With the tanh switched off,
        as in the public code, features are larger, and it is worse.) A falling loss therefore shows nothing until it
        has passed $\log K$.

        >>> import math, torch
        >>> from torch import nn
        >>> from reference_impl.curl import BilinearSimilarity, info_nce
        >>> _ = torch.manual_seed(0)
        >>> features = nn.LayerNorm(50)(torch.randn(128, 50)).detach()
        >>> similarity, own = BilinearSimilarity(50), torch.arange(128)
        >>> squashed, published = (info_nce(similarity(x, x), own).item() for x in (features.tanh(), features))
        >>> squashed > 2 * math.log(128), published > 5 * math.log(128)
        (True, True)
        >>> _ = nn.init.zeros_(similarity.key.weight)
        >>> round(info_nce(similarity(features, features), own).item(), 2), round(math.log(128), 2)
        (4.85, 4.85)
    """


def why_a_moving_average() -> None:
    """
    Answers: curl.why-a-moving-average
        So that the keys hold still while the queries learn: below they move half as far at a step as keys by the
        encoder itself would. That is a matter of degree. Nothing collapses without it, since the wrong keys push
        features apart, whoever makes them; the paper reports that the average did better (Figure 5, on one task). What
        collapses is a loss without wrong keys. (And the average costs nothing: soft actor-critic has it for its
        targets.) Three ways to train one encoder:

        >>> import copy, torch
        >>> from torch import nn
        >>> from reference_impl.curl import BilinearSimilarity, ema_update, info_nce, optimizer_step
        >>> def trained(keys_from_average, wrong_keys, steps=100):
        ...     _ = torch.manual_seed(0)
        ...     encoder = nn.Sequential(nn.Linear(12, 6), nn.LayerNorm(6), nn.Linear(6, 6))
        ...     similarity = BilinearSimilarity(6)
        ...     target_net, probe, moved = copy.deepcopy(encoder), torch.randn(256, 12), torch.zeros(2)
        ...     optimizer = torch.optim.Adam([*encoder.parameters(), *similarity.parameters()], lr=0.01)
        ...     for _ in range(steps):
        ...         seen, noise = (torch.randn(64, 12) * torch.linspace(1, 0.1, 12) for _ in range(2))
        ...         query = encoder(seen)
        ...         other = seen + 0.1 * noise
        ...         key = target_net(other).detach() if keys_from_average else encoder(other)
        ...         table = similarity(query, key)
        ...         before = torch.stack([encoder(probe), target_net(probe)]).detach()
        ...         alike = (query - key).square().mean()
        ...         optimizer_step(optimizer, info_nce(table, torch.arange(64)) if wrong_keys else alike)
        ...         ema_update(target_net, encoder, tau=0.05)
        ...         after = torch.stack([encoder(probe), target_net(probe)]).detach()
        ...         moved += (after - before).square().mean(dim=(1, 2)).sqrt()
        ...     return encoder(probe).std(dim=0).mean().item(), moved
        >>> spread, (encoder_moved, average_moved) = trained(keys_from_average=True, wrong_keys=True)
        >>> bool(average_moved < 0.75 * encoder_moved)
        True
        >>> without_average, without_wrong_keys = (trained(False, wrong_keys)[0] for wrong_keys in (True, False))
        >>> spread > 0.5, without_average > 0.5, without_wrong_keys < 0.1
        (True, True, True)
    """


def what_crops_teach() -> None:
    """
    Answers: curl.what-crops-teach
        Where in the frame things stand. Two crops of one observation show the same things shifted, and the encoder is
        paid for giving both the same features. Below, each observation has a colour and a square somewhere. Of two
        encoders that train alike, one gets two crops of each, the other the same crop twice. Then all is shifted by
        four pixels: how far do the features move, compared with the distance between different observations?

        >>> import torch
        >>> from reference_impl.curl import CURL, ConvEncoder, PixelEncoder, ema_update, optimizer_step, random_crop
        >>> def observations(n):
        ...     imgs = (255 * torch.rand(n, 3, 1, 1)).expand(n, 3, 16, 16).clone()
        ...     for i, (row, column) in enumerate(torch.randint(13, (n, 2)).tolist()):
        ...         imgs[i, :, row : row + 4, column : column + 4] = 255 * (i % 2)
        ...     return imgs.to(torch.uint8)
        >>> def moved(encoder):
        ...     seen = observations(64)
        ...     one, shifted = encoder(seen[:, :, :12, :12]), encoder(seen[:, :, 4:, 4:])
        ...     return ((one - shifted).square().sum() / (one - one.roll(1, 0)).square().sum()).item()
        >>> def trained(two_crops, steps=30):
        ...     _ = torch.manual_seed(0)
        ...     agent = CURL(PixelEncoder(12, 8, ConvEncoder(3, 8, 2)), action_dim=1, hidden_dim=8, lr=0.02)
        ...     before = moved(agent.critic.encoder)
        ...     for _ in range(steps):
        ...         whole = observations(32)
        ...         query = random_crop(whole, 12)
        ...         key = random_crop(whole, 12) if two_crops else query
        ...         optimizer_step(agent.cpc_optimizer, agent.contrastive_loss(query, key))
        ...         ema_update(agent.critic_target.encoder, agent.critic.encoder, 0.05)
        ...     return before, moved(agent.critic.encoder)
        >>> (before, two_crops), (_, one_crop) = trained(two_crops=True), trained(two_crops=False)
        >>> two_crops < one_crop / 2, two_crops < before / 4
        (True, True)

        That is a choice, and not free of risk: a task whose reward depends on where in the picture a thing stands has
        to tell it from other things that the crop shifts too.
    """


def why_bilinear() -> None:
    r"""
    Answers: curl.why-bilinear
        Weights of its own. A cosine counts every feature alike. $W$ can learn that some say nothing about which
        observation it is, and need not force the encoder to drop them: what the crops disturb may still be what acting
        needs. Below, 16 of 40 features survive the crop; in a cosine the other 24 drown them.

        >>> import math, torch
        >>> from reference_impl.curl import BilinearSimilarity, info_nce, optimizer_step
        >>> from reference_impl.layers.attention import cosine_score
        >>> _ = torch.manual_seed(0)
        >>> def crops(n):
        ...     lasting = torch.randn(n, 16)
        ...     return [torch.cat([lasting, 1.5 * torch.randn(n, 24)], dim=1) for _ in range(2)]
        >>> similarity = BilinearSimilarity(40)
        >>> optimizer = torch.optim.Adam(similarity.parameters(), lr=0.02)
        >>> for _ in range(150):
        ...     optimizer_step(optimizer, info_nce(similarity(*crops(128)), torch.arange(128)))
        >>> query, key = crops(128)
        >>> def found(table):
        ...     return int((table.argmax(dim=1) == torch.arange(128)).sum())
        >>> found(similarity(query, key)) > 100, found(cosine_score(query, key)) < 40
        (True, True)

        It also sets its own scale. Cosines end at 1, so that their softmax stays flat, unless they are divided by a
        temperature, as elsewhere they are: even perfect features can't get far below $\log 128 = 4.85$.

        >>> perfect = torch.eye(128)
        >>> round(info_nce(cosine_score(perfect, perfect), torch.arange(128)).item(), 2)
        3.87
    """


def who_moves_the_encoder() -> None:
    """
    Answers: curl.who-moves-the-encoder
        The critic's loss and the contrast. The actor reads features of the same convolutions, but its gradient stops
        before them (its own linear layer behind them learns), and the temperature's has nothing to do with pixels. The
        keys' encoder gets no gradient from anyone.

        >>> import torch
        >>> from reference_impl.curl import CURL, ConvEncoder, PixelEncoder, Transitions
        >>> _ = torch.manual_seed(0)
        >>> agent = CURL(PixelEncoder(12, 8, ConvEncoder(3, 8, 2)), action_dim=2, hidden_dim=16)
        >>> one, other = torch.randint(256, (2, 4, 3, 12, 12), dtype=torch.uint8)
        >>> done = torch.zeros(4, dtype=torch.bool)
        >>> actor_loss, alpha_loss = agent.actor_losses(one)
        >>> losses = {
        ...     "critic": agent.critic_loss(Transitions(one, torch.rand(4, 2), torch.rand(4), other, done)),
        ...     "contrast": agent.contrastive_loss(one, other),
        ...     "actor": actor_loss,
        ...     "temperature": alpha_loss,
        ... }
        >>> def reaches(loss, module):
        ...     gradients = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)
        ...     return any(gradient is not None and bool(gradient.any()) for gradient in gradients)
        >>> convs, actors_layer = agent.critic.encoder.convs, agent.actor.encoder.fc
        >>> agent.actor.encoder.convs is convs
        True
        >>> for name, loss in losses.items():
        ...     print(name, reaches(loss, convs), reaches(loss, actors_layer))
        critic True False
        contrast True False
        actor False True
        temperature False False
        >>> any(numbers.requires_grad for numbers in agent.critic_target.parameters())
        False
    """


def more_negatives() -> None:
    r"""
    Answers: curl.more-negatives
        There are more keys to confuse one's own with. The same features, each with the same noise in both crops, are
        told apart nearly always among 4 and mostly not among 1,024, and the loss that guessing costs, $\log K$, grows
        as well. So losses of different batches can't be compared; and a batch of $K$ can prove no more than $\log K$
        nats of what the two crops have in common.

        >>> import math, torch
        >>> from reference_impl.curl import info_nce
        >>> from reference_impl.layers.attention import dot_score
        >>> _ = torch.manual_seed(0)
        >>> content = torch.randn(1024, 16)
        >>> query, key = (content + 0.6 * torch.randn(1024, 16) for _ in range(2))
        >>> losses, right = [], []
        >>> for K in (4, 32, 256, 1024):
        ...     batches = zip(query.split(K), key.split(K))
        ...     tables = [dot_score(q, k) for q, k in batches]
        ...     losses.append(sum(info_nce(table, torch.arange(K)).item() for table in tables) / len(tables))
        ...     right.append(sum(int((t.argmax(dim=1) == torch.arange(K)).sum()) for t in tables) / 1024)
        >>> losses == sorted(losses), right == sorted(right, reverse=True)
        (True, True)
        >>> right[0] > 0.9, right[-1] < 0.5, [round(math.log(K), 2) for K in (4, 32, 256, 1024)]
        (True, True, [1.39, 3.47, 5.55, 6.93])
    """


def encoder_size() -> None:
    """
    Answers: curl.encoder-size
        Four convolutions, which shrink 84 rows to 35, and one linear layer, which holds 98 of each 100 numbers because
        it reads every place of every map. An observation of 63,504 bytes leaves as 50 numbers.

        >>> import torch
        >>> from reference_impl.curl import PixelEncoder
        >>> encoder = PixelEncoder()
        >>> maps = torch.zeros(1, 9, 84, 84)
        >>> for layer in encoder.convs:
        ...     maps = layer(maps)
        ...     if hasattr(layer, "weight"):
        ...         print(tuple(layer.weight.shape), "to", tuple(maps.shape[1:]))
        (32, 9, 3, 3) to (32, 41, 41)
        (32, 32, 3, 3) to (32, 39, 39)
        (32, 32, 3, 3) to (32, 37, 37)
        (32, 32, 3, 3) to (32, 35, 35)
        >>> parts = (encoder.convs, encoder.fc, encoder.ln, encoder)
        >>> [sum(numbers.numel() for numbers in part.parameters()) for part in parts]
        [30368, 1960050, 100, 1990518]
        >>> encoder(torch.zeros(1, 9, 84, 84)).shape
        torch.Size([1, 50])
    """


def two_optimisers() -> None:
    """
    Answers: curl.two-optimisers
        It doubles the encoder's learning rate for the contrast, and does nothing else. Both optimisers see the same
        gradients at every contrast and no others, so that their moments are equal, and so are their steps. M-CURL's
        code has one optimiser for the encoder, at twice the rate: the same.

        >>> import torch
        >>> from reference_impl.curl import CURL, ConvEncoder, PixelEncoder
        >>> def trained(encoder_rates):
        ...     _ = torch.manual_seed(0)
        ...     agent = CURL(PixelEncoder(12, 8, ConvEncoder(3, 8, 2)), action_dim=1, hidden_dim=8).double()
        ...     optimizers = [torch.optim.Adam(agent.similarity.parameters(), lr=1e-3)]
        ...     optimizers += [torch.optim.Adam(agent.critic.encoder.parameters(), lr=lr) for lr in encoder_rates]
        ...     for _ in range(20):
        ...         one, other = torch.randint(256, (2, 8, 3, 12, 12), dtype=torch.uint8)
        ...         for optimizer in optimizers:
        ...             optimizer.zero_grad()
        ...         agent.contrastive_loss(one, other).backward()
        ...         for optimizer in optimizers:
        ...             optimizer.step()
        ...     return agent.critic.encoder(one).detach()
        >>> published, doubled, single = trained([1e-3, 1e-3]), trained([2e-3]), trained([1e-3])
        >>> torch.allclose(published, doubled, rtol=0, atol=1e-6), torch.allclose(published, single, rtol=0, atol=1e-2)
        (True, False)
    """


def squashed_density() -> None:
    """
    Answers: curl.squashed-density
        Because tanh crowds actions together near -1 and 1. Equal steps of $u$ are shorter and shorter steps of $a$
        there, so the same chance stands on less room, and the density rises by the inverse of tanh's slope. With that
        factor the chances of all actions add up to 1, as they must; without it they don't.

        >>> import torch
        >>> from reference_impl.curl import squashed_gaussian
        >>> noise = torch.linspace(-6, 6, 4001, dtype=torch.float64)[:, None]
        >>> mean, log_std = torch.full_like(noise, 0.5), torch.full_like(noise, -0.2)
        >>> action, log_p = squashed_gaussian(mean, log_std, noise)
        >>> gaussian = torch.distributions.Normal(0.5, log_std.exp()).log_prob(0.5 + log_std.exp() * noise)
        >>> for density in (log_p.exp(), gaussian.squeeze(1).exp()):
        ...     print(round(torch.trapezoid(density, action.squeeze(1)).item(), 2))
        1.0
        0.62

        The learner needs it right: the temperature holds the mean of this number at a target.
    """


def buffer_memory() -> None:
    """
    Answers: curl.buffer-memory
        3.0 GB for 100,000 frames, and it never grows. Each frame is in three stacks, and each stack is seen once as
        what came before an action and once as what came after: stored as stacks, as in the public code, every frame
        would lie there six times.

        >>> import torch
        >>> from reference_impl.curl import ReplayBuffer
        >>> with torch.device("meta"):  # sizes only
        ...     buffer = ReplayBuffer(capacity=100_000, action_dim=6)
        >>> buffer.nbytes, 100_000 * 2 * 9 * 100 * 100
        (3003300000, 18000000000)

        Nothing is lost by it. A buffer of six frames has seen an episode of four, and now one of five: what it can
        still make are stacks as they were seen, and none that mixes two episodes or lacks a frame.

        >>> buffer, frame = ReplayBuffer(capacity=6, action_dim=1, frame_shape=(1, 1, 1)), 0
        >>> for length in (4, 5):
        ...     buffer.add_first(torch.full((1, 1, 1), frame, dtype=torch.uint8))
        ...     for frame in range(frame + 1, frame + length):
        ...         buffer.add(torch.zeros(1), 0.0, torch.full((1, 1, 1), frame, dtype=torch.uint8))
        ...     frame += 1
        >>> buffer.frames.flatten().tolist()
        [6, 7, 8, 3, 4, 5]
        >>> indices = buffer.transition_indices()
        >>> for before, later in zip(buffer.stack_frames((indices - 1) % 6), buffer.stack_frames(indices)):
        ...     print(before.flatten().tolist(), "to", later.flatten().tolist())
        [4, 4, 5] to [4, 5, 6]
        [4, 5, 6] to [5, 6, 7]
        [5, 6, 7] to [6, 7, 8]
        [4, 4, 4] to [4, 4, 5]
    """


def crop_offsets() -> None:
    """
    Answers: curl.crop-offsets
        No. numpy's `randint(0, 16)` stops at 15, so of 17 places for a window of 84 in 100 the last never occurs, in
        either direction: 33 of the 289 crops are missing. Every pixel below holds its own number, so that a crop's
        first pixel tells where it was cut.

        >>> import numpy as np, torch
        >>> from reference_impl.curl import random_crop
        >>> _ = torch.manual_seed(0)
        >>> numbered = torch.arange(100 * 100).reshape(1, 1, 100, 100).expand(5000, 1, 100, 100)
        >>> corner = random_crop(numbered, 84)[:, 0, 0, 0]
        >>> ours = len(torch.unique(corner // 100)), len(torch.unique(corner % 100)), len(torch.unique(corner))
        >>> published = np.random.default_rng(0).integers(0, 100 - 84, (5000, 2))
        >>> ours, len(np.unique(published[:, 0])), len(np.unique(published, axis=0))
        ((17, 17, 289), 16, 256)
    """


def what_is_a_step() -> None:
    """
    Answers: curl.what-is-a-step
        Fewer times than that: the 100,000 are steps of the environment, and each action is repeated 2, 4 or 8 times
        (Table 3). A run of cartpole decides 12,500 times, and learns at all of these but the first 1,000. On Atari it
        is the other way round: there 100,000 *are* the decisions, of four frames each. The buffer keeps what the
        agent saw, one frame a decision, so that such a run never fills it. Here are the transitions that one episode
        leaves:

        >>> import torch
        >>> from reference_impl.curl import ReplayBuffer
        >>> frame = torch.zeros(1, 1, 1, dtype=torch.uint8)
        >>> for task, repeat in {"walker": 2, "cheetah": 4, "cartpole": 8}.items():
        ...     buffer, steps = ReplayBuffer(capacity=1000, action_dim=1, frame_shape=(1, 1, 1)), 0
        ...     buffer.add_first(frame)
        ...     while steps < 1000:  # an episode of the control suite
        ...         steps += repeat
        ...         buffer.add(torch.zeros(1), 0.0, frame)
        ...     decisions = len(buffer.transition_indices())
        ...     print(task, decisions, "decisions an episode,", 100 * decisions, "a run")
        walker 500 decisions an episode, 50000 a run
        cheetah 250 decisions an episode, 25000 a run
        cartpole 125 decisions an episode, 12500 a run
    """
