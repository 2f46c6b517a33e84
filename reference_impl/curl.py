r"""CURL: soft actor-critic from pixels, with a contrastive loss on random crops as an auxiliary task for the encoder.

Source: Laskin, Srinivas and Abbeel 2020, "CURL: Contrastive Unsupervised Representations for Reinforcement Learning";
    sections, equations and tables below are this paper's. What it leaves unsaid is taken from the authors' public
    code, MishaLaskin/curl. The defaults are those of Table 3.

An observation is a stack of three frames, nine channels of pixels in [0, 255]. The buffer holds frames of 100 × 100;
networks read crops of 84 × 84.

Axes: $b$ observations of a batch, $n$ queries, $m$ keys, $d$ features; and by name the channels, rows and columns of
images, and the components of an action.
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
    """Convolutions of 3 × 3 with ReLU; the first layer has a stride of 2, the others of 1.

    Source: Appendix A, Architecture; Table 3

    Args:
        in_channels: Channels of the input.
        num_filters: Output channels of every layer.
        layers: The number of convolutions.
    """

    def __init__(self, in_channels: int = 9, num_filters: int = 32, layers: int = 4) -> None:
        super().__init__()
        self.num_filters, self.layers = num_filters, layers
        for layer in range(layers):
            width, stride = (num_filters, 1) if layer else (in_channels, 2)
            self.append(nn.Conv2d(width, num_filters, 3, stride)).append(nn.ReLU())

    def output_size(self, image_size: int) -> int:
        """Return the height and width of the feature maps for images of `image_size` × `image_size`.

        Raises:
            ValueError: The image is too small for the convolutions.
        """
        side = (image_size - 3) // 2 + 1 - 2 * (self.layers - 1)
        if side < 1:
            raise ValueError(f"image_size {image_size} is too small for {self.layers} convolutions")
        return side


class PixelEncoder(nn.Module):
    r"""Encode an observation: convolutions, a linear layer, layer norm and tanh.

    Source: Appendix A, Architecture
        $$f(o) = \tanh(\operatorname{LayerNorm}(W \operatorname{conv}(o / 255) + b))$$

    Departs: the paper's listing has a hidden layer of 1,024 between the feature maps and the features. The public code
    has none, and neither has this. The public code leaves the tanh out (`output_logits=True` there, `squash=False`
    here).

    Args:
        image_size: Height and width of the input.
        feature_dim: The dimension of the output.
        convs: The convolutions, which two encoders may share.
        squash: Whether tanh is applied to the output.

    Raises:
        ValueError: The image is too small for the convolutions.

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

    def forward(self, obs: Num[Tensor, "b channels rows columns"], detach: bool = False) -> Float[Tensor, "b d"]:
        """Return the features of each observation, in [-1, 1] with tanh.

        Args:
            obs: Pixels in [0, 255].
            detach: Whether to detach the feature maps, so that no gradient reaches the convolutions.
        """
        maps = self.convs(obs.to(self.fc.weight.dtype) / 255).flatten(1)  # (b, filters · rows · columns)
        features = self.ln(self.fc(maps.detach() if detach else maps))  # (b, d)
        return features.tanh() if self.squash else features


def weight_init(module: nn.Module) -> None:
    """Initialize linear layers orthogonally, convolutions delta-orthogonally and biases at 0.

    Source: `weight_init` of the public code; delta-orthogonal is Xiao et al. 2018, here with the gain of ReLU
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
    """Return a multilayer perceptron with two hidden layers and ReLU.

    Source: Table 3, Hidden units
    """
    first, second = nn.Linear(input_dim, hidden_dim), nn.Linear(hidden_dim, hidden_dim)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Linear(hidden_dim, output_dim))


def squashed_gaussian(
    mean: Float[Tensor, "b actions"], log_std: Float[Tensor, "b actions"], noise: Float[Tensor, "b actions"]
) -> tuple[Float[Tensor, "b actions"], Float[Tensor, " b"]]:
    r"""Return the tanh of a Gaussian sample, and the log of its density.

    Source: Section 3.1; the density is Haarnoja et al. 2018 (SAC and its applications), Appendix C
        $$u = \mu + \sigma \odot \xi, \qquad a = \tanh u, \qquad \xi \sim \mathcal N(0, I)$$

        $$\log \pi(a) = \sum_i \log \mathcal N(u_i; \mu_i, \sigma_i^2) - \log(1 - \tanh^2 u_i)$$

    Departs: the public code adds $10^{-6}$ to $1 - \tanh^2 u$. Here it is exact for every $u$, since
    $1 - \tanh^2 u = 4 e^{-2u} \sigma(2u)^2$, where $\sigma$ is the logistic function.

    Args:
        mean: The mean of the Gaussian, before tanh.
        log_std: The log of its standard deviation.
        noise: A sample of the standard normal distribution.

    Returns:
        Actions in [-1, 1], and the log-density of each.

    Asked: curl.squashed-density
    """
    u = mean + log_std.exp() * noise
    log_normal = -noise.square() / 2 - log_std - math.log(2 * math.pi) / 2
    log_slope = 2 * (math.log(2) - u + F.logsigmoid(2 * u))
    return u.tanh(), (log_normal - log_slope).sum(dim=1)


class Actor(nn.Module):
    """The policy: a multilayer perceptron that maps features to the mean and log standard deviation of a Gaussian.

    Source: Section 3.1; Appendix A. The bounds of the standard deviation are the public code's.
    """

    def __init__(self, encoder: PixelEncoder, action_dim: int, hidden_dim: int = 1024) -> None:
        super().__init__()
        self.encoder, self.trunk = encoder, mlp(encoder.feature_dim, hidden_dim, 2 * action_dim)

    def forward(
        self, obs: Num[Tensor, "b channels rows columns"], detach: bool = False
    ) -> tuple[Float[Tensor, "b actions"], Float[Tensor, "b actions"]]:
        """Return the mean, and the log of the standard deviation, which is in [-10, 2]."""
        mean, log_std = self.trunk(self.encoder(obs, detach)).chunk(2, dim=1)  # (b, actions) each
        return mean, 6 * log_std.tanh() - 4

    def sample(
        self, obs: Num[Tensor, "b channels rows columns"], detach: bool = False
    ) -> tuple[Float[Tensor, "b actions"], Float[Tensor, " b"]]:
        """Sample an action for each observation, and return it with its log-density."""
        mean, log_std = self(obs, detach)
        return squashed_gaussian(mean, log_std, torch.randn_like(mean))


class Critic(nn.Module):
    """Two Q-functions of the same features.

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
        """Return both Q-values of each action."""
        obs_action = torch.cat([self.encoder(obs, detach), action], dim=1)  # (b, d + actions)
        return self.Q1(obs_action).squeeze(1), self.Q2(obs_action).squeeze(1)  # (b,) each


@dataclass(frozen=True)
class Transitions:
    """A batch of transitions; `terminal` is true where the task ended."""

    obs: Num[Tensor, "b channels rows columns"]
    action: Float[Tensor, "b actions"]
    reward: Float[Tensor, " b"]
    next_obs: Num[Tensor, "b channels rows columns"]
    terminal: Bool[Tensor, " b"]


class ReplayBuffer:
    r"""A replay buffer that stores each frame once, and stacks frames when it is sampled.

    Source: Table 3 (size, stacked frames); Section 4.3 (stacks)

    An entry holds a frame in bytes, its step within the episode, and the action, reward and terminal flag of the
    transition that led to it. With frames of 3 × 100 × 100 and actions of dimension $a$ an entry takes $30{,}009 + 4a$
    bytes: 100,000 take 3.0 GB. At the start of an episode its first frame is repeated to fill the stack.

    Departs: the public code stores every stack twice, as observation and as next observation: six times the bytes.

    Args:
        capacity: The number of frames that fit.
        action_dim: The dimension of an action.
        frame_shape: The channels, rows and columns of a frame.
        frame_stack: How many frames an observation stacks.

    Raises:
        ValueError: The capacity is too small for one transition.

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
        """The buffer's size in bytes, full or empty."""
        return sum(part.nbytes for part in (self.frames, self.episode_step, self.action, self.reward, self.terminal))

    def add_first(self, frame: UInt8[Tensor, "channels rows columns"]) -> None:
        """Add the first frame of an episode."""
        self._write(frame, episode_step=0, action=torch.zeros_like(self.action[0]), reward=0.0, terminal=False)

    def add(
        self,
        action: Float[Tensor, " actions"],
        reward: float,
        frame: UInt8[Tensor, "channels rows columns"],
        terminal: bool = False,
    ) -> None:
        """Add a transition: an action, its reward and the next frame. An episode that times out is not terminal.

        Raises:
            ValueError: `add_first` was never called.
        """
        if not self.num_frames:
            raise ValueError("call add_first before add: the buffer holds 0 frames")
        self._write(frame, int(self.episode_step[self.idx - 1]) + 1, action, reward, terminal)

    def _write(self, frame: Tensor, episode_step: int, action: Tensor, reward: float, terminal: bool) -> None:
        index = self.idx
        self.frames[index], self.episode_step[index], self.action[index] = frame, episode_step, action
        self.reward[index], self.terminal[index] = reward, terminal
        self.idx, self.num_frames = (index + 1) % self.capacity, min(self.num_frames + 1, self.capacity)

    def stack_frames(self, indices: Int[Tensor, "*b"]) -> UInt8[Tensor, "*b channels rows columns"]:
        """Return the observations whose last frames have these indices."""
        back = torch.arange(self.frame_stack - 1, -1, -1, device=indices.device)
        back = torch.minimum(back, self.episode_step[indices][..., None])
        frames = self.frames[(indices[..., None] - back) % self.capacity]  # (*b, frame_stack, channels, rows, columns)
        return frames.flatten(-4, -3)  # (*b, frame_stack · channels, rows, columns)

    def num_older(self) -> Int[Tensor, " slots"]:
        """Return, for each entry, how many older frames the buffer holds; negative where the entry is empty."""
        indices = torch.arange(self.capacity, device=self.episode_step.device)
        return (indices - self.idx) % self.capacity - (self.capacity - self.num_frames)

    def observation_indices(self) -> Int[Tensor, " slots"]:
        """Return the indices of complete observations: none of their frames has been overwritten."""
        needed = self.episode_step.clamp(max=self.frame_stack - 1)
        return ((self.episode_step >= 0) & (self.num_older() >= needed)).nonzero().squeeze(1)

    def transition_indices(self) -> Int[Tensor, " slots"]:
        """Return the indices of transitions whose two observations are complete."""
        needed = self.episode_step.clamp(max=self.frame_stack)
        return ((self.episode_step >= 1) & (self.num_older() >= needed)).nonzero().squeeze(1)

    def sample(self, batch_size: int) -> Transitions:
        """Sample transitions uniformly, with replacement.

        Raises:
            ValueError: The buffer holds no transition.
        """
        indices = sample(self.transition_indices(), batch_size)
        obs, next_obs = self.stack_frames((indices - 1) % self.capacity), self.stack_frames(indices)
        return Transitions(obs, self.action[indices], self.reward[indices], next_obs, self.terminal[indices])


def sample(indices: Int[Tensor, " slots"], n: int) -> Int[Tensor, " b"]:
    """Sample `n` indices uniformly, with replacement.

    Raises:
        ValueError: There is nothing to sample from.
    """
    if not len(indices):
        raise ValueError(f"cannot sample {n} of 0 indices")
    return indices[torch.randint(len(indices), (n,), device=indices.device)]


def random_crop(
    imgs: Num[Tensor, "b channels rows columns"], output_size: int
) -> Num[Tensor, "b channels {output_size} {output_size}"]:
    """Crop each image at a random position; all channels of an image are cropped alike.

    Source: Section 4.3; Appendix A, Data Augmentation

    Departs: the paper's listing and the public code draw an offset by numpy's `randint(0, 100 - 84)`, whose upper bound
    is exclusive, so the last of the 17 offsets never occurs. Here all offsets are equally likely.

    Args:
        imgs: The images.
        output_size: Height and width of the crop.

    Raises:
        ValueError: The crop is larger than the image.

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
    """Crop each image at its center, as the agent does when it acts.

    Source: Appendix A, Data Augmentation

    Raises:
        ValueError: The crop is larger than the image.
    """
    rows, columns = imgs.shape[2:]
    if output_size > min(rows, columns):
        raise ValueError(f"a crop of {output_size} does not fit into {rows} × {columns}")
    top, left = (rows - output_size) // 2, (columns - output_size) // 2
    return imgs[:, :, top : top + output_size, left : left + output_size]


def info_nce(logits: Float[Tensor, "n m"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    r"""Return the InfoNCE loss: cross-entropy over the keys, averaged over the queries, in nats; 0 without queries.

    Source: Section 3.3, Eq. 4 (InfoNCE, van den Oord et al. 2018)
        $$\mathcal L_q = -\log \frac{\exp s_+}{\sum_{j=1}^{m} \exp s_j}$$

    $s_j$ is the query's similarity to key $j$, and $s_+$ its similarity to the positive, which is one of the $m$ keys.

    Departs: Eq. 4 as printed lacks the minus sign, and sums $K$ negatives beside the positive; as a softmax over $K$
    classes, as in the text and in the code, it has $K - 1$.

    Args:
        logits: The similarities, a row each query.
        labels: The index of each query's positive key.

    Asked: curl.positive-pair, curl.loss-is-cross-entropy, curl.more-negatives
    """
    log_p = logits.log_softmax(dim=1)  # (n, m)
    return -log_p.gather(1, labels[:, None]).sum() / max(len(logits), 1)


class BilinearSimilarity(GeneralScore):
    r"""The similarity of queries and keys by a learned bilinear form.

    Source: Section 4.4; Section 4.7 for the initialization of $W$
        $$s_{ij} = q_i^\top W k_j$$

    It is Luong's general score, with $W$ initialized uniformly in [0, 1].

    Asked: curl.chance-level, curl.why-bilinear
    """

    def __init__(self, feature_dim: int = 50) -> None:
        super().__init__(feature_dim, feature_dim)
        nn.init.uniform_(self.key.weight)


@torch.no_grad()
def ema_update(target_net: nn.Module, net: nn.Module, tau: float) -> None:
    r"""Update the exponential moving average of a network's parameters.

    Source: Section 4.5, with $m = 1 - \tau$
        $$\theta_k \leftarrow m \theta_k + (1 - m) \theta_q$$

    Asked: curl.why-a-moving-average
    """
    for slow, fast in zip(target_net.parameters(), net.parameters(), strict=True):
        slow.lerp_(fast, tau)


def optimizer_step(optimizer: torch.optim.Optimizer, loss: Float[Tensor, ""]) -> None:
    """Take one optimizer step on a loss: clear the gradients, backpropagate and step."""
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()


class SoftActorCritic(nn.Module):
    r"""Soft actor-critic on random crops of pixels, without an auxiliary loss.

    Source: Section 3.1; Appendix A; Haarnoja et al. 2018 (SAC and its applications) for the learned temperature

    Actor and critic share their convolutions, which only the critic's loss trains: the actor reads them detached. As in
    the public code, the actor, the temperature and the target networks are updated at every second step.

    Args:
        encoder: The critic's encoder; the actor gets one with the same convolutions.
        action_dim: The dimension of an action, each component in [-1, 1].
        hidden_dim: The width of the hidden layers.
        lr: The learning rate of all but the temperature; the paper takes 2e-4 for cheetah.
        discount: $\gamma$.
        tau: The rate of the moving average of the Q-functions.
        encoder_tau: The rate of the moving average of the encoder.
        init_temperature: The initial $\alpha$.

    Asked: curl.contrast-or-crops
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
        actor_encoder = PixelEncoder(encoder.image_size, encoder.feature_dim, encoder.convs, encoder.squash)
        self.actor = Actor(actor_encoder, action_dim, hidden_dim)
        self.critic = Critic(encoder, action_dim, hidden_dim)
        weight_init(self.actor)
        weight_init(self.critic)
        self.critic_target = copy.deepcopy(self.critic).requires_grad_(False)
        self.log_alpha = nn.Parameter(torch.tensor(math.log(init_temperature)))
        self.target_entropy = -float(action_dim)
        own_layers = nn.ModuleList([actor_encoder.fc, actor_encoder.ln, self.actor.trunk])  # all but the convolutions
        self.actor_optimizer = torch.optim.Adam(own_layers.parameters(), lr)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), lr)
        self.log_alpha_optimizer = torch.optim.Adam([self.log_alpha], 1e-4, betas=(0.5, 0.999))

    @torch.no_grad()
    def act(self, obs: UInt8[Tensor, "b channels rows columns"], explore: bool = False) -> Float[Tensor, "b actions"]:
        """Return an action for each observation: the policy's mean, or a sample if it explores."""
        obs = center_crop(obs, self.critic.encoder.image_size)
        return self.actor.sample(obs)[0] if explore else self.actor(obs)[0].tanh()

    def critic_loss(self, batch: Transitions) -> Float[Tensor, ""]:
        r"""Return the mean squared Bellman error of both Q-functions.

        Source: Section 3.1, Eqs. 1 and 2
            $$\sum_{i=1,2} \bigl(Q_i(o, a) - (r + \gamma (1 - d) \mathcal T)\bigr)^2$$

            $$\mathcal T = \min_{i=1,2} \bar Q_i(o', a') - \alpha \log \pi(a' \mid o')$$

        $\bar Q_i$ is the moving average of $Q_i$, and $a'$ is sampled from the policy.
        """
        with torch.no_grad():
            action, log_p = self.actor.sample(batch.next_obs)
            target_q = torch.minimum(*self.critic_target(batch.next_obs, action))  # (b,)
            target_v = target_q - self.log_alpha.exp() * log_p
            target = batch.reward + self.discount * ~batch.terminal * target_v
        q1, q2 = self.critic(batch.obs, batch.action)  # (b,) each
        return F.mse_loss(q1, target) + F.mse_loss(q2, target)

    def actor_losses(self, obs: Num[Tensor, "b channels rows columns"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        r"""Return the actor's loss and the temperature's.

        Source: Section 3.1, Eq. 3; Haarnoja et al. 2018 (SAC and its applications) for the temperature
            $$\mathbb E_{a \sim \pi}[\alpha \log \pi(a \mid o) - \min_i Q_i(o, a)]$$

            $$\mathbb E_{a \sim \pi}[\alpha (-\log \pi(a \mid o) - \bar{\mathcal H})]$$

        $\bar{\mathcal H}$, the target entropy, is minus the dimension of an action.

        Departs: Eq. 3 is the objective that the actor maximizes; this is its negative, to be minimized.
        """
        action, log_p = self.actor.sample(obs, detach=True)
        q = torch.minimum(*self.critic(obs, action, detach=True))  # (b,)
        alpha = self.log_alpha.exp()
        actor_loss = (alpha.detach() * log_p - q).mean()
        return actor_loss, (alpha * (-log_p - self.target_entropy).detach()).mean()

    def update(self, replay_buffer: ReplayBuffer, step: int, batch_size: int = 512) -> None:
        """Update the critic; at every second step actor, temperature and target networks; then the representation.

        Departs: Section 4.7 updates the target encoder after each contrastive step. The public code updates it before
        that step, at every second step; so does this.

        Args:
            replay_buffer: The transitions so far.
            step: The number of actions so far; the paper starts to learn after 1,000.
            batch_size: How many transitions are sampled: 512 in Table 3, 128 in the published script.
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
        """Train the encoder on an auxiliary task. Here there is none.

        Args:
            replay_buffer: The transitions so far.
            transitions: The batch of the other losses, uncropped.
            cropped: The same batch, as cropped for the other losses.
        """


class CURL(SoftActorCritic):
    """Soft actor-critic whose encoder is also trained to match two random crops of the same observation.

    Source: Section 4

    The target critic's encoder, which soft actor-critic has anyway, encodes the keys. Both losses have the same weight
    and learning rate.

    Departs: the public code steps the encoder twice at each contrastive update, by two optimizers of the same rate and
    gradient, which equals one optimizer of twice the rate. Here there is one, as in the paper's listing.

    Args:
        encoder: The critic's encoder, which encodes the queries.
        action_dim: The dimension of an action.
        hidden_dim: The width of the hidden layers.
        lr: The learning rate of all but the temperature.
        kwargs: Passed to `SoftActorCritic`.

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
        """Return the InfoNCE loss of each anchor's positive among all keys; the keys are detached.

        Source: Section 4.7

        Args:
            obs_anchor: Crops that make the queries.
            obs_pos: Other crops of the same observations, which make the keys.
        """
        query = self.critic.encoder(obs_anchor)  # (b, d)
        with torch.no_grad():
            key = self.critic_target.encoder(obs_pos)  # (b, d)
        return info_nce(self.similarity(query, key), torch.arange(len(query), device=query.device))

    def update_representation(
        self, replay_buffer: ReplayBuffer, transitions: Transitions, cropped: Transitions
    ) -> None:
        """Take a contrastive step: the crops of the critic's loss are the anchors, new crops the positives."""
        obs_pos = random_crop(transitions.obs, self.critic.encoder.image_size)
        optimizer_step(self.cpc_optimizer, self.contrastive_loss(cropped.obs, obs_pos))


# Answers


def positive_pair() -> None:
    r"""
    Answers: curl.positive-pair
        They are crops of the same observation. The negatives are the keys of the other observations in the batch, which
        was sampled for the update anyway, so there is no memory bank. Minimizing the loss raises each query's
        similarity to its positive and lowers all others.

        >>> import torch
        >>> from reference_impl.curl import info_nce
        >>> _ = torch.manual_seed(0)
        >>> similarities = torch.randn(4, 4, requires_grad=True)
        >>> info_nce(similarities, labels=torch.arange(4)).backward()
        >>> (-similarities.grad.sign()).int().tolist()
        [[1, -1, -1, -1], [-1, 1, -1, -1], [-1, -1, 1, -1], [-1, -1, -1, 1]]

        A negative is any other *sample*, not any other content. If an observation was sampled twice, its duplicate
        counts as a negative, and no encoder can get below $\log 2$ there, not even with features that identify every
        observation.

        >>> features = torch.eye(4)[[0, 1, 2, 2]]
        >>> best = 100 * features @ features.T
        >>> [round(abs(info_nce(best[i : i + 1], torch.tensor([i])).item()), 3) for i in range(4)]
        [0.0, 0.0, 0.693, 0.693]
    """


def loss_is_cross_entropy() -> None:
    """
    Answers: curl.loss-is-cross-entropy
        No. It is cross-entropy over as many classes as there are keys, and the label of a query is its row number.
        Eq. 4 as printed lacks the minus sign; minimizing *that* would make each query's positive the least likely key.

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
        $\log K$ for $K$ keys, the loss of equal similarities: 4.85 for 128. If observations differ, training starts
        above it. The random initial $W$ ranks keys at random, but with large logits, since each is a sum of 2,500
        products; a confident wrong choice costs more than a uniform one. (Without the tanh, as in the public code,
        features are larger, and so is the loss.) A falling loss therefore shows nothing until it is below $\log K$.

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
        The moving average keeps the keys stable while the queries learn: below they change about half as much per step
        as keys of the encoder itself would. Nothing collapses without it, since the negatives push features apart,
        whichever network encodes them; the paper reports that the average did better (Figure 5, on one task). What
        collapses is a loss without negatives. (The average costs nothing: soft actor-critic has it for its target
        values.) One encoder, trained in three ways:

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
        The position of things in the frame. Two crops of an observation show the same content, shifted, and the loss
        asks for similar features of both. Below, each observation has a background color and a square at a random
        position. One encoder is trained on two crops of each, the other on the same crop twice. Then the input is
        shifted by four pixels: how far do the features move, relative to the distance between different observations?

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

        This invariance can hurt: if the reward depends on the absolute position of an object in the frame, the encoder
        must recover it relative to other objects, which the crop shifts as well.
    """


def why_bilinear() -> None:
    r"""
    Answers: curl.why-bilinear
        Learned weights for the features. A cosine weights all features equally. $W$ can learn to ignore features that
        differ between crops, without forcing the encoder to drop them, since the policy may need them. Below, 16 of 40
        features are the same in both crops; in the cosine, the noise of the other 24 dominates.

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

        $W$ also learns the scale of the logits. Cosines are bounded by 1, so without a temperature their softmax stays
        flat: even perfect features can't get far below $\log 128 = 4.85$.

        >>> perfect = torch.eye(128)
        >>> round(info_nce(cosine_score(perfect, perfect), torch.arange(128)).item(), 2)
        3.87
    """


def who_moves_the_encoder() -> None:
    """
    Answers: curl.who-moves-the-encoder
        The critic's loss and the contrastive loss. The actor reads the same convolutions detached, and trains only its
        own layers behind them; the temperature's loss does not depend on pixels.

        >>> import torch
        >>> from reference_impl.curl import CURL, ConvEncoder, PixelEncoder, Transitions, info_nce
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

        The target encoder gets no gradient, and its keys are constants: the gradient of the contrastive loss is that
        with keys that were computed before.

        >>> any(numbers.requires_grad for numbers in agent.critic_target.parameters())
        False
        >>> keys = agent.critic_target.encoder(other).detach()
        >>> fixed = info_nce(agent.similarity(agent.critic.encoder(one), keys), torch.arange(4))
        >>> encoder = list(agent.critic.encoder.parameters())
        >>> gradients = [torch.autograd.grad(loss, encoder) for loss in (losses["contrast"], fixed)]
        >>> all(torch.allclose(*pair, atol=1e-6) for pair in zip(*gradients))
        True
    """


def more_negatives() -> None:
    r"""
    Answers: curl.more-negatives
        There are more negatives to confuse the positive with. Features of the same noise level find their positive
        nearly always among 4 keys, and mostly not among 1,024; chance level, $\log K$, grows as well. So losses at
        different batch sizes are not comparable, and a batch of $K$ can show at most $\log K$ nats of mutual
        information between the two crops.

        >>> import torch
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
        >>> right[0] > 0.9, right[-1] < 0.5
        (True, True)
        >>> [round(info_nce(torch.zeros(K, K), torch.arange(K)).item(), 2) for K in (4, 32, 256, 1024)]
        [1.39, 3.47, 5.55, 6.93]
    """


def encoder_size() -> None:
    """
    Answers: curl.encoder-size
        Four convolutions, which reduce 84 × 84 to 35 × 35, and one linear layer, which holds 98% of the parameters
        since it reads the flattened feature maps. It encodes an observation of 63,504 bytes as 50 features.

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
        It doubles the encoder's learning rate in the contrastive update, and does nothing else. Both optimizers see the
        same gradients at every contrastive update and no others, so their Adam moments are equal, and so are their
        steps. M-CURL's code has one optimizer of twice the rate for the encoder, which is equivalent.

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
        By the change of variables $a = \tanh u$: the density of $a$ is that of $u$ divided by the derivative of tanh,
        which is small near -1 and 1, where tanh squeezes many $u$ into few $a$. With this factor the density of the
        actions integrates to 1, without it it doesn't.

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

        The temperature is learned from this log-density: it keeps its mean at the target entropy.
    """


def buffer_memory() -> None:
    """
    Answers: curl.buffer-memory
        3.0 GB for 100,000 frames, allocated once. Each frame is part of three stacks, and each stack is once an
        observation and once a next observation. Stored as stacks, as in the public code, every frame is held six times.

        >>> import torch
        >>> from reference_impl.curl import ReplayBuffer
        >>> with torch.device("meta"):  # sizes only
        ...     buffer = ReplayBuffer(capacity=100_000, action_dim=6)
        >>> buffer.nbytes, 100_000 * 2 * 9 * 100 * 100
        (3003300000, 18000000000)

        Nothing is lost. Below, a buffer for eight frames has stored two episodes of five frames. It returns the stacks
        as they were observed, and none that mixes episodes or lacks a frame.

        >>> buffer, frame = ReplayBuffer(capacity=8, action_dim=1, frame_shape=(1, 1, 1)), 0
        >>> for length in (5, 5):
        ...     buffer.add_first(torch.full((1, 1, 1), frame, dtype=torch.uint8))
        ...     for frame in range(frame + 1, frame + length):
        ...         buffer.add(torch.zeros(1), 0.0, torch.full((1, 1, 1), frame, dtype=torch.uint8))
        ...     frame += 1
        >>> buffer.frames.flatten().tolist()
        [8, 9, 2, 3, 4, 5, 6, 7]
        >>> indices = buffer.transition_indices()
        >>> for before, later in zip(buffer.stack_frames((indices - 1) % 8), buffer.stack_frames(indices)):
        ...     print(before.flatten().tolist(), "to", later.flatten().tolist())
        [5, 6, 7] to [6, 7, 8]
        [6, 7, 8] to [7, 8, 9]
        [5, 5, 5] to [5, 5, 6]
        [5, 5, 6] to [5, 6, 7]
    """


def crop_offsets() -> None:
    """
    Answers: curl.crop-offsets
        No. The upper bound of numpy's `randint(0, 16)` is exclusive. So of the 17 offsets of a crop of 84 in 100 the
        last never occurs, in either direction: 33 of the 289 crops are missing. Every pixel below holds its own index,
        so that a crop's first pixel tells its offset.

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
        Less often: the 100,000 are environment steps, and each action is repeated 2, 4 or 8 times (Table 3). A run of
        cartpole takes 12,500 actions, and updates after all but the first 1,000. On Atari it is the other way round:
        there the 100,000 count *actions*, of four frames each. The buffer stores one frame per action, so such a run
        never fills it. These are the transitions of one episode:

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


def contrast_or_crops() -> None:
    """
    Answers: curl.contrast-or-crops
        Either helps by itself. Crops in the critic's loss teach through the reward, which is the same for every crop of
        an observation; the contrastive loss needs no reward. Below, frames of noise show a square at a random position,
        and its color decides the reward. How well can a linear layer read the color from the encoder's features, in
        other frames than those of training? (A constant guess has an error of 1.) The first arm has neither crops in
        the critic's loss nor a contrastive loss, the others have one of the two.

        >>> import torch
        >>> from reference_impl.curl import CURL, ConvEncoder, PixelEncoder, Transitions
        >>> from reference_impl.curl import center_crop, ema_update, optimizer_step, random_crop
        >>> def observations(n):
        ...     imgs, color = 30 * torch.rand(n, 3, 16, 16), torch.arange(n) % 2
        ...     for i, (row, column) in enumerate(torch.randint(12, (n, 2)).tolist()):
        ...         imgs[i, color[i], row : row + 5, column : column + 5] += 120
        ...     return imgs.to(torch.uint8), 2.0 * color - 1
        >>> @torch.no_grad()
        ... def readout_error(encoder):
        ...     obs, color = observations(400)
        ...     features = torch.cat([encoder(center_crop(obs, 12)), torch.ones(400, 1)], dim=1)
        ...     readout = torch.linalg.lstsq(features[:200], color[:200, None]).solution
        ...     return (features[200:] @ readout - color[200:, None]).square().mean().item()
        >>> def error(contrast=False, crops=False, rewarded=True, steps=60):
        ...     _ = torch.manual_seed(0)
        ...     agent = CURL(PixelEncoder(12, 16, ConvEncoder(3, 8, 2)), action_dim=1, hidden_dim=32, lr=0.01)
        ...     (obs, color), done = observations(20), torch.ones(20, dtype=torch.bool)
        ...     for _ in range(steps):
        ...         seen = random_crop(obs, 12) if crops else center_crop(obs, 12)
        ...         batch = Transitions(seen, torch.zeros(20, 1), rewarded * color, seen, done)
        ...         optimizer_step(agent.critic_optimizer, agent.critic_loss(batch))
        ...         ema_update(agent.critic_target.encoder, agent.critic.encoder, 0.05)
        ...         if contrast:
        ...             loss = agent.contrastive_loss(random_crop(obs, 12), random_crop(obs, 12))
        ...             optimizer_step(agent.cpc_optimizer, loss)
        ...     return readout_error(agent.critic.encoder)
        >>> neither, with_crops, with_contrast = error(), error(crops=True), error(contrast=True)
        >>> with_crops < 0.6 * neither, with_contrast < 0.6 * neither
        (True, True)

        Without rewards, crops alone teach next to nothing: the error is nearly that of an untrained encoder. The
        contrastive loss teaches all the same.

        >>> untrained = error(steps=0)
        >>> error(crops=True, rewarded=False) > 0.7 * untrained, error(contrast=True, rewarded=False) < 0.3 * untrained
        (True, True)

        So the paper argues too (Appendix G): where rewards are rich, RAD and DrQ, which have crops and no contrastive
        loss, are likely to do better; where they are not, the contrast remains. This is what each part can do, not what
        it did on the paper's tasks.
    """
