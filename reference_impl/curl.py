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


class Convolutions(nn.Sequential):
    """Turn pixels into maps: 3 × 3 filters throughout, the first layer with a stride of 2.

    Source: Appendix A, Architecture; Table 3
    """

    def __init__(self, channels: int = 9, filters: int = 32, layers: int = 4) -> None:
        super().__init__()
        self.filters, self.layers = filters, layers
        for layer in range(layers):
            width, stride = (filters, 1) if layer else (channels, 2)
            self.append(nn.Conv2d(width, filters, 3, stride)).append(nn.ReLU())

    def side(self, size: int) -> int:
        """Return how many rows and columns a map has when the pixels have `size` of each.

        Raises:
            ValueError: None is left.
        """
        side = (size - 3) // 2 + 1 - 2 * (self.layers - 1)
        if side < 1:
            raise ValueError(f"{size} rows of pixels are too few for {self.layers} convolutions")
        return side


class PixelEncoder(nn.Module):
    r"""Turn an observation into the few numbers that all else reads.

    Source: Appendix A, Architecture
        $$f(o) = \tanh(\operatorname{LayerNorm}(W \operatorname{conv}(o / 255) + b))$$

    Departs: the paper's sketch has a hidden layer of 1,024 between the maps and the features. The public code has none,
    and nor has this. The public code switches the tanh off (`squash=False`).

    Args:
        size: How many rows and columns of pixels are read.
        d: How many features come out.
        convolutions: What sees the pixels; two encoders may share one.
        squash: Whether tanh comes last.

    Raises:
        ValueError: So few pixels leave nothing after the convolutions.

    Answers: curl.encoder-size
        Four convolutions, which shrink 84 rows to 35, and one linear layer, which holds 98 of each 100 numbers because
        it reads every place of every map. An observation of 63,504 bytes leaves as 50 numbers.

        >>> import torch
        >>> from reference_impl.curl import PixelEncoder
        >>> encoder = PixelEncoder()
        >>> maps = torch.zeros(1, 9, 84, 84)
        >>> for layer in encoder.convolutions:
        ...     maps = layer(maps)
        ...     if hasattr(layer, "weight"):
        ...         print(tuple(layer.weight.shape), "to", tuple(maps.shape[1:]))
        (32, 9, 3, 3) to (32, 41, 41)
        (32, 32, 3, 3) to (32, 39, 39)
        (32, 32, 3, 3) to (32, 37, 37)
        (32, 32, 3, 3) to (32, 35, 35)
        >>> parts = (encoder.convolutions, encoder.linear, encoder.norm, encoder)
        >>> [sum(numbers.numel() for numbers in part.parameters()) for part in parts]
        [30368, 1960050, 100, 1990518]
        >>> encoder(torch.zeros(1, 9, 84, 84)).shape
        torch.Size([1, 50])
    """

    def __init__(
        self, size: int = 84, d: int = 50, convolutions: Convolutions | None = None, squash: bool = True
    ) -> None:
        super().__init__()
        self.size, self.d, self.squash = size, d, squash
        self.convolutions = Convolutions() if convolutions is None else convolutions
        maps = self.convolutions.filters * self.convolutions.side(size) ** 2
        self.linear, self.norm = nn.Linear(maps, d), nn.LayerNorm(d)

    def forward(self, pixels: Num[Tensor, "b channels rows columns"], stop: bool = False) -> Float[Tensor, "b d"]:
        """Return the features of each observation, in [-1, 1] where they are squashed.

        Args:
            pixels: In [0, 255].
            stop: Whether gradients stop before the convolutions.
        """
        maps = self.convolutions(pixels.to(self.linear.weight.dtype) / 255).flatten(1)
        features = self.norm(self.linear(maps.detach() if stop else maps))
        return features.tanh() if self.squash else features


def initialise(network: nn.Module) -> None:
    """Make linear layers orthogonal, and of each convolution's filters an orthogonal centre; biases begin at 0.

    Source: the public code; the centre is Xiao et al. 2018 (delta-orthogonal), with a gain for the ReLU
    """
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.dim() == 2:
            nn.init.orthogonal_(parameter)
        elif parameter.dim() == 4:
            nn.init.zeros_(parameter)
            nn.init.orthogonal_(parameter.data[:, :, 1, 1], nn.init.calculate_gain("relu"))


def perceptron(d_input: int, d_hidden: int, d_output: int) -> nn.Sequential:
    """Return a network with two hidden layers.

    Source: Table 3, Hidden units
    """
    first, second = nn.Linear(d_input, d_hidden), nn.Linear(d_hidden, d_hidden)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Linear(d_hidden, d_output))


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
    u = mean + log_std.exp() * noise
    log_normal = -noise.square() / 2 - log_std - math.log(2 * math.pi) / 2
    log_slope = 2 * (math.log(2) - u + F.logsigmoid(2 * u))
    return u.tanh(), (log_normal - log_slope).sum(dim=1)


class Actor(nn.Module):
    """Choose actions: features in, the mean and the spread of a Gaussian out.

    Source: Section 3.1; Appendix A. The limits of the spread are the public code's.
    """

    def __init__(self, encoder: PixelEncoder, actions: int, hidden: int = 1024) -> None:
        super().__init__()
        self.encoder, self.trunk = encoder, perceptron(encoder.d, hidden, 2 * actions)

    def forward(
        self, pixels: Num[Tensor, "b channels rows columns"], stop: bool = False
    ) -> tuple[Float[Tensor, "b actions"], Float[Tensor, "b actions"]]:
        """Return the mean, and the log of the standard deviation, which is in [-10, 2]."""
        mean, log_std = self.trunk(self.encoder(pixels, stop)).chunk(2, dim=1)
        return mean, 6 * log_std.tanh() - 4

    def sample(
        self, pixels: Num[Tensor, "b channels rows columns"], stop: bool = False
    ) -> tuple[Float[Tensor, "b actions"], Float[Tensor, " b"]]:
        """Draw an action for each observation, and return its log-density too."""
        mean, log_std = self(pixels, stop)
        return squashed_gaussian(mean, log_std, torch.randn_like(mean))


class Critic(nn.Module):
    """Judge an action twice over: two networks read the same features.

    Source: Section 3.1
    """

    def __init__(self, encoder: PixelEncoder, actions: int, hidden: int = 1024) -> None:
        super().__init__()
        self.encoder = encoder
        self.first, self.second = (perceptron(encoder.d + actions, hidden, 1) for _ in range(2))

    def forward(
        self,
        pixels: Num[Tensor, "b channels rows columns"],
        action: Float[Tensor, "b actions"],
        stop: bool = False,
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
        """Return both values of each action."""
        known = torch.cat([self.encoder(pixels, stop), action], dim=1)
        return self.first(known).squeeze(1), self.second(known).squeeze(1)


@dataclass(frozen=True)
class Transitions:
    """What was seen, what was done, what it earned, what was seen next, and whether that was the end of the task."""

    pixels: Num[Tensor, "b channels rows columns"]
    action: Float[Tensor, "b actions"]
    reward: Float[Tensor, " b"]
    next_pixels: Num[Tensor, "b channels rows columns"]
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
        actions: How many numbers make an action.
        frame: The channels, rows and columns of a frame.
        stack: How many frames make an observation.

    Raises:
        ValueError: Not even one transition with full stacks fits.

    Answers: curl.buffer-memory
        3.0 GB for 100,000 frames, and it never grows. Each frame is in three stacks, and each stack is seen once as
        what came before an action and once as what came after: stored as stacks, as in the public code, every frame
        would lie there six times.

        >>> import torch
        >>> from reference_impl.curl import ReplayBuffer
        >>> with torch.device("meta"):  # sizes only
        ...     buffer = ReplayBuffer(capacity=100_000, actions=6)
        >>> buffer.nbytes, 100_000 * 2 * 9 * 100 * 100
        (3003300000, 18000000000)

        Nothing is lost by it. A buffer of six frames has seen an episode of four, and now one of five: what it can
        still make are stacks as they were seen, and none that mixes two episodes or lacks a frame.

        >>> buffer, frame = ReplayBuffer(capacity=6, actions=1, frame=(1, 1, 1)), 0
        >>> for length in (4, 5):
        ...     buffer.begin(torch.full((1, 1, 1), frame, dtype=torch.uint8))
        ...     for frame in range(frame + 1, frame + length):
        ...         buffer.add(torch.zeros(1), 0.0, torch.full((1, 1, 1), frame, dtype=torch.uint8))
        ...     frame += 1
        >>> buffer.frames.flatten().tolist()
        [6, 7, 8, 3, 4, 5]
        >>> slots = buffer.transitions()
        >>> for before, later in zip(buffer.stacks((slots - 1) % 6), buffer.stacks(slots)):
        ...     print(before.flatten().tolist(), "to", later.flatten().tolist())
        [4, 4, 5] to [4, 5, 6]
        [4, 5, 6] to [5, 6, 7]
        [5, 6, 7] to [6, 7, 8]
        [4, 4, 4] to [4, 4, 5]

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
        ...     buffer, steps = ReplayBuffer(capacity=1000, actions=1, frame=(1, 1, 1)), 0
        ...     buffer.begin(frame)
        ...     while steps < 1000:  # an episode of the control suite
        ...         steps += repeat
        ...         buffer.add(torch.zeros(1), 0.0, frame)
        ...     decisions = len(buffer.transitions())
        ...     print(task, decisions, "decisions an episode,", 100 * decisions, "a run")
        walker 500 decisions an episode, 50000 a run
        cheetah 250 decisions an episode, 25000 a run
        cartpole 125 decisions an episode, 12500 a run
    """

    def __init__(
        self, capacity: int, actions: int, frame: tuple[int, int, int] = (3, 100, 100), stack: int = 3
    ) -> None:
        if capacity <= stack:
            raise ValueError(f"capacity {capacity} is too small for a transition between stacks of {stack}")
        self.capacity, self.stack, self.count, self.head = capacity, stack, 0, 0
        self.frames = torch.empty(capacity, *frame, dtype=torch.uint8)
        self.age = torch.full((capacity,), -1, dtype=torch.int32)
        self.action, self.reward = torch.zeros(capacity, actions), torch.zeros(capacity)
        self.terminal = torch.zeros(capacity, dtype=torch.bool)

    @property
    def nbytes(self) -> int:
        """Count the bytes that the buffer takes, full or empty."""
        return sum(part.nbytes for part in (self.frames, self.age, self.action, self.reward, self.terminal))

    def begin(self, frame: UInt8[Tensor, "channels rows columns"]) -> None:
        """Take the first frame of an episode."""
        self._write(frame, age=0, action=torch.zeros_like(self.action[0]), reward=0.0, terminal=False)

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
        if not self.count:
            raise ValueError("no episode has begun: 0 frames are kept")
        self._write(frame, int(self.age[self.head - 1]) + 1, action, reward, terminal)

    def _write(self, frame: Tensor, age: int, action: Tensor, reward: float, terminal: bool) -> None:
        slot = self.head
        self.frames[slot], self.age[slot], self.action[slot] = frame, age, action
        self.reward[slot], self.terminal[slot] = reward, terminal
        self.head, self.count = (slot + 1) % self.capacity, min(self.count + 1, self.capacity)

    def stacks(self, slots: Int[Tensor, "*b"]) -> UInt8[Tensor, "*b channels rows columns"]:
        """Return the observations that end with these frames, the latest frame last."""
        back = torch.arange(self.stack - 1, -1, -1, device=slots.device)
        back = torch.minimum(back, self.age[slots][..., None])
        return self.frames[(slots[..., None] - back) % self.capacity].flatten(-4, -3)

    def older(self) -> Int[Tensor, " slots"]:
        """Count the frames that came before each and are kept; below 0 where no frame is."""
        slots = torch.arange(self.capacity, device=self.age.device)
        return (slots - self.head) % self.capacity - (self.capacity - self.count)

    def observations(self) -> Int[Tensor, " slots"]:
        """Return the slots whose stacks are whole: none of their frames has been overwritten."""
        needed = self.age.clamp(max=self.stack - 1)
        return ((self.age >= 0) & (self.older() >= needed)).nonzero().squeeze(1)

    def transitions(self) -> Int[Tensor, " slots"]:
        """Return the slots that a decision led to, from a stack that is whole."""
        needed = self.age.clamp(max=self.stack)
        return ((self.age >= 1) & (self.older() >= needed)).nonzero().squeeze(1)

    def sample(self, batch: int) -> Transitions:
        """Draw transitions, each as likely as any other.

        Raises:
            ValueError: There is none.
        """
        slots = drawn(self.transitions(), batch)
        seen, led_to = self.stacks((slots - 1) % self.capacity), self.stacks(slots)
        return Transitions(seen, self.action[slots], self.reward[slots], led_to, self.terminal[slots])


def drawn(slots: Int[Tensor, " slots"], count: int) -> Int[Tensor, " b"]:
    """Draw this many of the slots, with replacement.

    Raises:
        ValueError: There is no slot to draw.
    """
    if not len(slots):
        raise ValueError(f"cannot draw {count} from 0 slots")
    return slots[torch.randint(len(slots), (count,), device=slots.device)]


def random_crop(pixels: Num[Tensor, "b channels rows columns"], size: int) -> Num[Tensor, "b channels {size} {size}"]:
    """Cut a square out of each observation, anywhere in it; the frames of a stack are cut alike.

    Source: Section 4.3; Appendix A, Data Augmentation

    Departs: the paper's listing and the public code draw an offset with numpy's `randint(0, 100 - 84)`, which leaves
    the upper end out, so that the last of the 17 offsets never occurs. Here each is as likely as any other.

    Raises:
        ValueError: The square does not fit.

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

    Answers: curl.what-crops-teach
        Where in the frame things stand. Two crops of one observation show the same things shifted, and the encoder is
        paid for giving both the same features. Below, each observation has a colour and a square somewhere. Of two
        encoders that train alike, one gets two crops of each, the other the same crop twice. Then all is shifted by
        four pixels: how far do the features move, compared with the distance between different observations?

        >>> import torch
        >>> from reference_impl.curl import CURL, Convolutions, PixelEncoder, descend, follow, random_crop
        >>> def observations(n):
        ...     pixels = (255 * torch.rand(n, 3, 1, 1)).expand(n, 3, 16, 16).clone()
        ...     for i, (row, column) in enumerate(torch.randint(13, (n, 2)).tolist()):
        ...         pixels[i, :, row : row + 4, column : column + 4] = 255 * (i % 2)
        ...     return pixels.to(torch.uint8)
        >>> def moved(encoder):
        ...     seen = observations(64)
        ...     one, shifted = encoder(seen[:, :, :12, :12]), encoder(seen[:, :, 4:, 4:])
        ...     return ((one - shifted).square().sum() / (one - one.roll(1, 0)).square().sum()).item()
        >>> def trained(two_crops, steps=30):
        ...     _ = torch.manual_seed(0)
        ...     agent = CURL(PixelEncoder(12, 8, Convolutions(3, 8, 2)), actions=1, hidden=8, rate=0.02)
        ...     before = moved(agent.critic.encoder)
        ...     for _ in range(steps):
        ...         whole = observations(32)
        ...         query = random_crop(whole, 12)
        ...         key = random_crop(whole, 12) if two_crops else query
        ...         descend(agent.contrast_optimiser, agent.contrastive_loss(query, key))
        ...         follow(agent.average.encoder, agent.critic.encoder, 0.05)
        ...     return before, moved(agent.critic.encoder)
        >>> (before, two_crops), (_, one_crop) = trained(two_crops=True), trained(two_crops=False)
        >>> two_crops < one_crop / 2, two_crops < before / 4
        (True, True)

        That is a choice, and not free of risk: a task whose reward depends on where in the picture a thing stands has
        to tell it from other things that the crop shifts too.
    """
    b, _, rows, columns = pixels.shape
    if size > min(rows, columns):
        raise ValueError(f"a crop of {size} does not fit into {rows} × {columns}")
    top = torch.randint(rows - size + 1, (b,), device=pixels.device)
    left = torch.randint(columns - size + 1, (b,), device=pixels.device)
    windows = pixels.unfold(2, size, 1).unfold(3, size, 1)  # a view: no crop is copied but those that are picked
    return windows[torch.arange(b, device=pixels.device), :, top, left]


def centre_crop(pixels: Num[Tensor, "b channels rows columns"], size: int) -> Num[Tensor, "b channels {size} {size}"]:
    """Cut a square out of the middle: what the agent sees when it acts.

    Source: Appendix A, Data Augmentation

    Raises:
        ValueError: The square does not fit.
    """
    rows, columns = pixels.shape[2:]
    if size > min(rows, columns):
        raise ValueError(f"a crop of {size} does not fit into {rows} × {columns}")
    top, left = (rows - size) // 2, (columns - size) // 2
    return pixels[:, :, top : top + size, left : left + size]


def info_nce(logits: Float[Tensor, "n m"], positive: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    r"""Return the mean loss of telling each query's own key from all others, in nats; 0 for no query.

    Source: Section 3.3, Eq. 4 (InfoNCE, van den Oord et al. 2018)
        $$\mathcal L_q = -\log \frac{\exp s_+}{\sum_{j=1}^{m} \exp s_j}$$

    $s_j$ is the query's similarity to key $j$, and $s_+$ that to its own, which is among the $m$.

    Departs: Eq. 4 as printed has no minus sign, and adds $K$ negatives to the positive; as a softmax over $K$ classes,
    which the text says and the code does, it has $K - 1$.

    Args:
        logits: The similarities, not normalised.
        positive: Which key is a query's own.

    Answers: curl.positive-pair
        They are crops of one observation. The wrong keys are those of the other observations in the batch, which were
        drawn for the update anyway: nothing is stored for them. The loss pulls on every entry of the table of
        similarities, up at a query's own key and down at all others.

        >>> import torch
        >>> from reference_impl.curl import info_nce
        >>> _ = torch.manual_seed(0)
        >>> similarities = torch.randn(4, 4, requires_grad=True)
        >>> info_nce(similarities, positive=torch.arange(4)).backward()
        >>> (-similarities.grad.sign()).int().tolist()
        [[1, -1, -1, -1], [-1, 1, -1, -1], [-1, -1, 1, -1], [-1, -1, -1, 1]]

        Being different *draws* is all that is asked of the others. If one moment was drawn twice, its twin counts as a
        wrong key, and no encoder can get below $\log 2$ there: features that name each moment perfectly still pay it.

        >>> features = torch.eye(4)[[0, 1, 2, 2]]
        >>> best = 100 * features @ features.T
        >>> [round(abs(info_nce(best[i : i + 1], torch.tensor([i])).item()), 3) for i in range(4)]
        [0.0, 0.0, 0.693, 0.693]

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
        >>> optimiser = torch.optim.SGD([free], lr=10.0)
        >>> for _ in range(50):
        ...     optimiser.zero_grad()
        ...     (-info_nce(free, torch.arange(6))).backward()  # Eq. 4 as printed
        ...     optimiser.step()
        >>> torch.equal(free.argmin(dim=1), torch.arange(6))
        True

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
    log_p = logits.log_softmax(dim=1)
    return -log_p.gather(1, positive[:, None]).sum() / max(len(logits), 1)


class Similarity(GeneralScore):
    r"""Compare queries with keys by a learnt bilinear form.

    Source: Section 4.4; Section 4.7 for how $W$ begins
        $$s_{ij} = q_i^\top W k_j$$

    It is Luong's general score. Its numbers begin anywhere in [0, 1].

    Answers: curl.chance-level
        $\log K$ for $K$ keys, and that is the loss if all similarities are equal: 4.85 for 128. Where observations
        differ, training starts above it. A matrix of random numbers prefers keys at random, and strongly, since 2,500
        products are added up; wrong keys that look right cost more than knowing nothing. (With the tanh switched off,
        as in the public code, features are larger, and it is worse.) A falling loss therefore shows nothing until it
        has passed $\log K$.

        >>> import math, torch
        >>> from torch import nn
        >>> from reference_impl.curl import Similarity, info_nce
        >>> _ = torch.manual_seed(0)
        >>> features = nn.LayerNorm(50)(torch.randn(128, 50)).detach()
        >>> similarity, own = Similarity(50), torch.arange(128)
        >>> squashed, published = (info_nce(similarity(x, x), own).item() for x in (features.tanh(), features))
        >>> squashed > 2 * math.log(128), published > 5 * math.log(128)
        (True, True)
        >>> _ = nn.init.zeros_(similarity.key.weight)
        >>> round(info_nce(similarity(features, features), own).item(), 2), round(math.log(128), 2)
        (4.85, 4.85)

    Answers: curl.why-bilinear
        Weights of its own. A cosine counts every feature alike. $W$ can learn that some say nothing about which
        observation it is, and need not force the encoder to drop them: what the crops disturb may still be what acting
        needs. Below, 16 of 40 features survive the crop; in a cosine the other 24 drown them.

        >>> import math, torch
        >>> from reference_impl.curl import Similarity, descend, info_nce
        >>> from reference_impl.layers.attention import cosine_score
        >>> _ = torch.manual_seed(0)
        >>> def crops(n):
        ...     lasting = torch.randn(n, 16)
        ...     return [torch.cat([lasting, 1.5 * torch.randn(n, 24)], dim=1) for _ in range(2)]
        >>> similarity = Similarity(40)
        >>> optimiser = torch.optim.Adam(similarity.parameters(), lr=0.02)
        >>> for _ in range(150):
        ...     descend(optimiser, info_nce(similarity(*crops(128)), torch.arange(128)))
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

    def __init__(self, d: int = 50) -> None:
        super().__init__(d, d)
        nn.init.uniform_(self.key.weight)


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, share: float) -> None:
    r"""Move a network's average a little towards the network.

    Source: Section 4.5, with $m = 1 - share$
        $$\theta_k \leftarrow m \theta_k + (1 - m) \theta_q$$

    Answers: curl.why-a-moving-average
        So that the keys hold still while the queries learn: below they move half as far at a step as keys by the
        encoder itself would. That is a matter of degree. Nothing collapses without it, since the wrong keys push
        features apart, whoever makes them; the paper reports that the average did better (Figure 5, on one task). What
        collapses is a loss without wrong keys. (And the average costs nothing: soft actor-critic has it for its
        targets.) Three ways to train one encoder:

        >>> import copy, torch
        >>> from torch import nn
        >>> from reference_impl.curl import Similarity, descend, follow, info_nce
        >>> def trained(keys_from_average, wrong_keys, steps=100):
        ...     _ = torch.manual_seed(0)
        ...     encoder, similarity = nn.Sequential(nn.Linear(12, 6), nn.LayerNorm(6), nn.Linear(6, 6)), Similarity(6)
        ...     average, probe, moved = copy.deepcopy(encoder), torch.randn(256, 12), torch.zeros(2)
        ...     optimiser = torch.optim.Adam([*encoder.parameters(), *similarity.parameters()], lr=0.01)
        ...     for _ in range(steps):
        ...         seen, noise = (torch.randn(64, 12) * torch.linspace(1, 0.1, 12) for _ in range(2))
        ...         query = encoder(seen)
        ...         other = seen + 0.1 * noise
        ...         key = average(other).detach() if keys_from_average else encoder(other)
        ...         table = similarity(query, key)
        ...         before = torch.stack([encoder(probe), average(probe)]).detach()
        ...         alike = (query - key).square().mean()
        ...         descend(optimiser, info_nce(table, torch.arange(64)) if wrong_keys else alike)
        ...         follow(average, encoder, share=0.05)
        ...         after = torch.stack([encoder(probe), average(probe)]).detach()
        ...         moved += (after - before).square().mean(dim=(1, 2)).sqrt()
        ...     return encoder(probe).std(dim=0).mean().item(), moved
        >>> spread, (encoder_moved, average_moved) = trained(keys_from_average=True, wrong_keys=True)
        >>> bool(average_moved < 0.75 * encoder_moved)
        True
        >>> without_average, without_wrong_keys = (trained(False, wrong_keys)[0] for wrong_keys in (True, False))
        >>> spread > 0.5, without_average > 0.5, without_wrong_keys < 0.1
        (True, True, True)
    """
    for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
        slow.lerp_(fast, share)


def descend(optimiser: torch.optim.Optimizer, loss: Float[Tensor, ""]) -> None:
    """Take one step down a loss."""
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    optimiser.step()


class SoftActorCritic(nn.Module):
    r"""Learn to act from pixels: soft actor-critic on random crops, with no other task for its encoder.

    Source: Section 3.1; Appendix A; Haarnoja et al. 2018 (SAC and its applications) for the learnt temperature

    Actor and critic share their convolutions. Only the critic's loss moves them: the actor's stops before. The order of
    the steps, and that actor, temperature and averages take every second one, is the public code's.

    Args:
        encoder: The critic's encoder; the actor gets one with the same convolutions.
        actions: How many numbers make an action, each in [-1, 1].
        hidden: The width of the hidden layers.
        rate: The learning rate of all but the temperature; the paper takes 2e-4 for cheetah.
        discount: $\gamma$.
        share: How far the averages of the two value networks move at a time.
        encoder_share: How far the average of the encoder moves.
        temperature: $\alpha$ at the beginning.
    """

    def __init__(
        self,
        encoder: PixelEncoder,
        actions: int,
        hidden: int = 1024,
        rate: float = 1e-3,
        discount: float = 0.99,
        share: float = 0.01,
        encoder_share: float = 0.05,
        temperature: float = 0.1,
    ) -> None:
        super().__init__()
        self.discount, self.share, self.encoder_share = discount, share, encoder_share
        actors = PixelEncoder(encoder.size, encoder.d, encoder.convolutions, encoder.squash)
        self.actor, self.critic = Actor(actors, actions, hidden), Critic(encoder, actions, hidden)
        initialise(self.actor)
        initialise(self.critic)
        self.average = copy.deepcopy(self.critic).requires_grad_(False)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))
        self.target_entropy = -float(actions)
        own = [*actors.linear.parameters(), *actors.norm.parameters(), *self.actor.trunk.parameters()]
        self.actor_optimiser = torch.optim.Adam(own, rate)
        self.critic_optimiser = torch.optim.Adam(self.critic.parameters(), rate)
        self.temperature_optimiser = torch.optim.Adam([self.log_temperature], 1e-4, betas=(0.5, 0.999))

    @torch.no_grad()
    def act(
        self, pixels: UInt8[Tensor, "b channels rows columns"], explore: bool = False
    ) -> Float[Tensor, "b actions"]:
        """Return an action for each whole observation: the likeliest before tanh, or one that is drawn."""
        seen = centre_crop(pixels, self.critic.encoder.size)
        return self.actor.sample(seen)[0] if explore else self.actor(seen)[0].tanh()

    def critic_loss(self, seen: Transitions) -> Float[Tensor, ""]:
        r"""Return how far both values are from what the next moment promises.

        Source: Section 3.1, Eqs. 1 and 2
            $$\sum_{i=1,2} \bigl(Q_i(o, a) - (r + \gamma (1 - d) \mathcal T)\bigr)^2$$

            $$\mathcal T = \min_{i=1,2} \bar Q_i(o', a') - \alpha \log \pi(a' \mid o')$$

        $\bar Q_i$ is the average of $Q_i$, and $a'$ is drawn from the policy.
        """
        with torch.no_grad():
            action, log_p = self.actor.sample(seen.next_pixels)
            worse = torch.minimum(*self.average(seen.next_pixels, action))
            promised = worse - self.log_temperature.exp() * log_p
            target = seen.reward + self.discount * ~seen.terminal * promised
        first, second = self.critic(seen.pixels, seen.action)
        return F.mse_loss(first, target) + F.mse_loss(second, target)

    def actor_losses(
        self, pixels: Num[Tensor, "b channels rows columns"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        r"""Return the actor's loss and the temperature's.

        Source: Section 3.1, Eq. 3; Haarnoja et al. 2018 (SAC and its applications) for the temperature
            $$\mathbb E_{a \sim \pi}[\alpha \log \pi(a \mid o) - \min_i Q_i(o, a)]$$

            $$\mathbb E_{a \sim \pi}[\alpha (-\log \pi(a \mid o) - \bar{\mathcal H})]$$

        $\bar{\mathcal H}$, the entropy that is aimed at, is minus the numbers of an action.

        Departs: Eq. 3 is what the actor raises; this is minus that, to be lowered.
        """
        action, log_p = self.actor.sample(pixels, stop=True)
        worse = torch.minimum(*self.critic(pixels, action, stop=True))
        temperature = self.log_temperature.exp()
        actor_loss = (temperature.detach() * log_p - worse).mean()
        return actor_loss, (temperature * (-log_p - self.target_entropy).detach()).mean()

    def update(self, buffer: ReplayBuffer, step: int, batch: int = 512) -> None:
        """Take one step of learning: critic; every second time actor, temperature and averages; then the other task.

        Departs: Section 4.7 moves the average of the encoder after each step of the contrast. The public code moves it
        before that step, every second time; so does this.

        Args:
            buffer: What has been seen.
            step: The number of the decision; the paper begins after 1,000.
            batch: How many transitions are drawn: 512 in Table 3, 128 in the published script.
        """
        whole, size = buffer.sample(batch), self.critic.encoder.size
        crops = random_crop(whole.pixels, size), random_crop(whole.next_pixels, size)
        seen = replace(whole, pixels=crops[0], next_pixels=crops[1])
        descend(self.critic_optimiser, self.critic_loss(seen))
        if step % 2 == 0:
            actor_loss, temperature_loss = self.actor_losses(seen.pixels)
            descend(self.actor_optimiser, actor_loss)
            descend(self.temperature_optimiser, temperature_loss)
            follow(self.average.first, self.critic.first, self.share)
            follow(self.average.second, self.critic.second, self.share)
            follow(self.average.encoder, self.critic.encoder, self.encoder_share)
        self.represent(buffer, whole, seen)

    def represent(self, buffer: ReplayBuffer, whole: Transitions, seen: Transitions) -> None:
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
        actions: How many numbers make an action.
        hidden: The width of the hidden layers.
        rate: The learning rate of all but the temperature.
        settings: As for `SoftActorCritic`.

    Answers: curl.who-moves-the-encoder
        The critic's loss and the contrast. The actor reads features of the same convolutions, but its gradient stops
        before them (its own linear layer behind them learns), and the temperature's has nothing to do with pixels. The
        keys' encoder gets no gradient from anyone.

        >>> import torch
        >>> from reference_impl.curl import CURL, Convolutions, PixelEncoder, Transitions
        >>> _ = torch.manual_seed(0)
        >>> agent = CURL(PixelEncoder(12, 8, Convolutions(3, 8, 2)), actions=2, hidden=16)
        >>> one, other = torch.randint(256, (2, 4, 3, 12, 12), dtype=torch.uint8)
        >>> done = torch.zeros(4, dtype=torch.bool)
        >>> actor_loss, temperature_loss = agent.actor_losses(one)
        >>> losses = {
        ...     "critic": agent.critic_loss(Transitions(one, torch.rand(4, 2), torch.rand(4), other, done)),
        ...     "contrast": agent.contrastive_loss(one, other),
        ...     "actor": actor_loss,
        ...     "temperature": temperature_loss,
        ... }
        >>> def reaches(loss, module):
        ...     gradients = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)
        ...     return any(gradient is not None and bool(gradient.any()) for gradient in gradients)
        >>> convolutions, actors_layer = agent.critic.encoder.convolutions, agent.actor.encoder.linear
        >>> agent.actor.encoder.convolutions is convolutions
        True
        >>> for name, loss in losses.items():
        ...     print(name, reaches(loss, convolutions), reaches(loss, actors_layer))
        critic True False
        contrast True False
        actor False True
        temperature False False
        >>> any(numbers.requires_grad for numbers in agent.average.parameters())
        False

    Answers: curl.two-optimisers
        It doubles the encoder's learning rate for the contrast, and does nothing else. Both optimisers see the same
        gradients at every contrast and no others, so that their moments are equal, and so are their steps. M-CURL's
        code has one optimiser for the encoder, at twice the rate: the same.

        >>> import torch
        >>> from reference_impl.curl import CURL, Convolutions, PixelEncoder
        >>> def trained(encoder_rates):
        ...     _ = torch.manual_seed(0)
        ...     agent = CURL(PixelEncoder(12, 8, Convolutions(3, 8, 2)), actions=1, hidden=8).double()
        ...     optimisers = [torch.optim.Adam(agent.similarity.parameters(), lr=1e-3)]
        ...     optimisers += [torch.optim.Adam(agent.critic.encoder.parameters(), lr=rate) for rate in encoder_rates]
        ...     for _ in range(20):
        ...         one, other = torch.randint(256, (2, 8, 3, 12, 12), dtype=torch.uint8)
        ...         for optimiser in optimisers:
        ...             optimiser.zero_grad()
        ...         agent.contrastive_loss(one, other).backward()
        ...         for optimiser in optimisers:
        ...             optimiser.step()
        ...     return agent.critic.encoder(one).detach()
        >>> published, doubled, single = trained([1e-3, 1e-3]), trained([2e-3]), trained([1e-3])
        >>> torch.allclose(published, doubled, rtol=0, atol=1e-6), torch.allclose(published, single, rtol=0, atol=1e-2)
        (True, False)
    """

    def __init__(
        self, encoder: PixelEncoder, actions: int, hidden: int = 1024, rate: float = 1e-3, **settings: float
    ) -> None:
        super().__init__(encoder, actions, hidden, rate, **settings)
        self.similarity = Similarity(encoder.d)
        self.contrast_optimiser = torch.optim.Adam([*encoder.parameters(), *self.similarity.parameters()], rate)

    def contrastive_loss(
        self,
        query_pixels: Num[Tensor, "b channels rows columns"],
        key_pixels: Num[Tensor, "b channels rows columns"],
    ) -> Float[Tensor, ""]:
        """Return how hard it is to tell each query's own key; the keys are fixed.

        Source: Section 4.7
        """
        query = self.critic.encoder(query_pixels)
        with torch.no_grad():
            key = self.average.encoder(key_pixels)
        return info_nce(self.similarity(query, key), torch.arange(len(query), device=query.device))

    def represent(self, buffer: ReplayBuffer, whole: Transitions, seen: Transitions) -> None:
        """Tell each observation's crop, which actor and critic have seen too, by another crop of it."""
        key_pixels = random_crop(whole.pixels, self.critic.encoder.size)
        descend(self.contrast_optimiser, self.contrastive_loss(seen.pixels, key_pixels))
