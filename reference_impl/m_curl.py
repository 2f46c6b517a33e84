r"""M-CURL: soft actor-critic whose encoder also helps a small Transformer to rebuild hidden moments of a window.

Source: Zhu et al. 2020, "Masked Contrastive Representation Learning for Reinforcement Learning": its abstract. The body
    was not at hand; what the abstract leaves unsaid is taken from the authors' public code, teslacool/m-curl, and named
    by its files. The defaults are those of its README.

What stands here is what differs from CURL. The encoder, the actor and critic, the buffer, the crops and the loss are
CURL's, by import. A *moment* is one observation of a window, itself a stack of three frames.

Axes: $b$ windows of a batch, $n$ moments of a window, $d$ features, and by name the channels, rows and columns of
images.

Asked: m_curl.encoder-of-what, m_curl.contrastive-learning
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Num, UInt8
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from reference_impl.curl import (
    PixelEncoder,
    ReplayBuffer,
    SoftActorCritic,
    Transitions,
    info_nce,
    optimizer_step,
    random_crop,
    sample,
)
from reference_impl.layers.attention import dot_score, scaled_dot_product
from reference_impl.layers.positions import sinusoidal
from reference_impl.transformer import FeedForward, PostNorm


class EncoderLayer(nn.Module):
    r"""Let each moment look at all of its window, then change each by itself.

    Source: `AttnLayer` of ctmr_sac.py, after Vaswani et al. 2017, Sections 3.1 to 3.3
        $$y = \operatorname{LayerNorm}\Bigl(x + \operatorname{softmax}\Bigl(\frac{QK^\top}{\sqrt d}\Bigr)V\Bigr)$$

        $$z = \operatorname{LayerNorm}(y + \max(0, yW_1 + b_1)W_2 + b_2)$$

    One head, and its mean is added as it is: there is no projection behind it. Norms stand after the sums, and the
    feed-forward network is twice as wide as its input.

    Asked: m_curl.layer-size
    """

    def __init__(self, d_model: int = 50, dropout: float = 0.1) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(d_model, d_model) for _ in range(3))
        self.feed_forward = FeedForward(d_model, 2 * d_model)
        self.around_attention, self.around_feed_forward = PostNorm(d_model, dropout), PostNorm(d_model, dropout)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return the moments as the next layer sees them."""
        x = self.around_attention.after(x, scaled_dot_product(self.query(x), self.key(x), self.value(x)))
        return self.around_feed_forward.after(x, self.feed_forward(x))


class WindowTransformer(nn.Module):
    """Rebuild the hidden moments of a window from those before and after: an aid in training, which no action needs.

    Source: Abstract; `CTMR` of ctmr_sac.py

    The embeddings of Vaswani et al. 2017 are multiplied by the root of $d$ before positions are added, and then thinned
    by dropout. These features are added to their positions as they are.

    Asked: m_curl.why-transformers
    """

    def __init__(self, d_model: int = 50, layers: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(d_model, dropout) for _ in range(layers))

    def forward(self, features: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return each moment, told from all of its window."""
        x = features + sinusoidal(*features.shape[1:]).to(features)
        for layer in self.layers:
            x = layer(x)
        return x


def sample_windows(
    replay_buffer: ReplayBuffer, batch_size: int, length: int
) -> UInt8[Tensor, "b n channels rows columns"]:
    """Draw windows of consecutive observations, each from one episode.

    Source: `sample_ctmr` of utils.py

    Departs: in the public code a window may run over the end of one episode into the next, and over the buffer's newest
    observation into its oldest.

    Raises:
        ValueError: No episode in the buffer is that long.
    """
    first, standing = (
        replay_buffer.observation_indices(),
        torch.stack([replay_buffer.episode_step, replay_buffer.num_older()]),
    )
    last = (first + length - 1) % replay_buffer.capacity
    # as many frames on in its episode, and as many on in the buffer: neither wraps in between
    whole = (standing[:, last] - standing[:, first] == length - 1).all(dim=0)
    first = sample(first[whole], batch_size)
    return replay_buffer.stack_frames(
        (first[:, None] + torch.arange(length, device=first.device)) % replay_buffer.capacity
    )


def mask_timesteps(
    obs: UInt8[Tensor, "b n channels rows columns"],
    replacements: UInt8[Tensor, "b n channels rows columns"],
    mask_ratio: float = 0.5,
) -> tuple[UInt8[Tensor, "b n channels rows columns"], Bool[Tensor, "b n"]]:
    """Choose moments to ask for, and hide most of them.

    Source: `random_obs` of utils.py, after Devlin et al. 2019, Section 3.1

    A chosen moment turns black in 80% of all cases and into a stranger in 10%; in the last 10% it stays, and is asked
    for all the same.

    Departs: the abstract hides features; the public code hides pixels, before the encoder, and so does this.

    Args:
        obs: The windows.
        replacements: Other observations, to stand in for some.
        mask_ratio: How many of the moments are chosen.

    Returns:
        The windows with what is hidden, and where a moment is chosen (the public code calls this `non_masked`).

    Answers: m_curl.always-black
        No. As in [[bert]], a chosen moment turns black in 80% of all cases, into some other observation in 10%, and in
        10% it stays as it is. It is asked for in each case, so that what looks like a moment can't simply be passed on.

        >>> import torch
        >>> from reference_impl.m_curl import mask_timesteps
        >>> _ = torch.manual_seed(0)
        >>> obs, replacements = torch.full((2, 200, 100, 1, 1, 1), 1, dtype=torch.uint8).unbind()
        >>> masked_obs, mask = mask_timesteps(obs, 2 * replacements, mask_ratio=0.5)
        >>> masked_obs = masked_obs.flatten(2).squeeze(2)
        >>> round(mask.float().mean().item(), 1), bool((masked_obs[~mask] == 1).all())
        (0.5, True)
        >>> [round((masked_obs[mask] == shade).float().mean().item(), 1) for shade in (0, 2, 1)]
        [0.8, 0.1, 0.1]

    Asked: m_curl.pixels-or-features, m_curl.overlapping-stacks
    """
    draw, fate = torch.rand(2, *obs.shape[:2], device=obs.device)
    mask = draw < mask_ratio
    black, strange = mask & (fate < 0.8), mask & (fate >= 0.9)
    masked_obs = obs.masked_fill(black[..., None, None, None], 0)
    return torch.where(strange[..., None, None, None], replacements, masked_obs), mask


def warmup_schedule(step: int, warmup_steps: int = 6000) -> float:
    r"""Return the Transformer's share of its learning rate: it climbs in a line, then falls with the root of the steps.

    Source: `InverseSquareRootSchedule` of ctmr_sac.py
        $$0.0005 + 0.9995 \, t / t_w \quad (t < t_w), \qquad \sqrt{t_w / t} \quad (t \ge t_w)$$
    """
    return 5e-4 + (1 - 5e-4) * step / warmup_steps if step < warmup_steps else (warmup_steps / step) ** 0.5


def decay_schedule(step: int, warmup_steps: int = 6000) -> float:
    r"""Return the encoder's share of its learning rate: all of it at first, then it falls with the root of the steps.

    Source: `AnneallingSchedule` of ctmr_sac.py
        $$\min(1, \sqrt{t_w / t})$$
    """
    return 1.0 if step < warmup_steps else (warmup_steps / step) ** 0.5


@dataclass(frozen=True)
class MCURLConfig:
    """The settings of the masked contrastive loss, by the names of the public code; the values are its README's.

    Attributes:
        mtm_bsz: Windows of a batch.
        mtm_length: Timesteps of a window.
        mtm_ratio: The probability that a timestep is masked.
        num_attn_layer: Layers of the Transformer.
        dropout: The dropout rate of each sublayer's output.
        adam_warmup_step: Steps until the schedules of the learning rates turn.
    """

    mtm_bsz: int = 16
    mtm_length: int = 32
    mtm_ratio: float = 0.5
    num_attn_layer: int = 2
    dropout: float = 0.1
    adam_warmup_step: int = 6000


class MCURL(SoftActorCritic):
    r"""Learn to act from pixels, and to rebuild hidden moments well enough to tell them from all others.

    Source: Abstract; `CtmrSacAgent` of ctmr_sac.py

    What differs from CURL: windows of moments for single observations, of which some are hidden; a Transformer behind
    the encoder; plain products for the bilinear form; keys that are all moments of all windows; a loss at chosen places
    alone; twice the rate for the encoder, and schedules for it and for the Transformer.

    Args:
        encoder: The critic's encoder.
        action_dim: How many numbers make an action.
        hidden_dim: The width of the hidden layers of actor and critic.
        lr: The learning rate; the contrast moves the encoder at twice that.
        config: The settings of the masked contrastive loss.
        kwargs: Passed to `SoftActorCritic`.

    Asked: m_curl.key-difference, m_curl.what-makes-it-auxiliary, m_curl.why-discarded, m_curl.policy-network
    """

    def __init__(
        self,
        encoder: PixelEncoder,
        action_dim: int,
        hidden_dim: int = 1024,
        lr: float = 1e-3,
        config: MCURLConfig | None = None,
        **kwargs: float,
    ) -> None:
        super().__init__(encoder, action_dim, hidden_dim, lr, **kwargs)
        self.config = MCURLConfig() if config is None else config
        self.transformer = WindowTransformer(encoder.feature_dim, self.config.num_attn_layer, self.config.dropout)
        groups = [
            {"params": encoder.parameters(), "lr": 2 * lr},
            {"params": self.transformer.parameters(), "lr": lr},
        ]
        self.cpc_optimizer = torch.optim.Adam(groups)
        warmup = self.config.adam_warmup_step
        rates = [lambda step: decay_schedule(step, warmup), lambda step: warmup_schedule(step, warmup)]
        self.schedule = LambdaLR(self.cpc_optimizer, rates)

    def masked_loss(
        self,
        masked_obs: Num[Tensor, "b n channels rows columns"],
        mask: Bool[Tensor, "b n"],
        obs: Num[Tensor, "b n channels rows columns"],
    ) -> Float[Tensor, ""]:
        r"""Return how hard it is to tell each chosen moment, as rebuilt, from all moments of the batch.

        Source: `update_cpc` of ctmr_sac.py
            $$-\frac{1}{\lvert M \rvert} \sum_{i \in M} \log
            \frac{\exp(x_i^\top k_i)}{\sum_{j=1}^{bn} \exp(x_i^\top k_j)}$$

        Args:
            masked_obs: The windows with what is hidden.
            mask: $M$.
            obs: The windows as they were. Their keys are fixed, and made by the encoder's average alone.

        Asked: m_curl.hidden-places-only
        """
        rebuilt = self.transformer(self.critic.encoder(masked_obs.flatten(0, 1)).reshape(*mask.shape, -1))
        with torch.no_grad():
            key = self.critic_target.encoder(obs.flatten(0, 1))
        return info_nce(dot_score(rebuilt[mask], key), mask.flatten().nonzero().squeeze(1))

    def update_representation(
        self, replay_buffer: ReplayBuffer, transitions: Transitions, cropped: Transitions
    ) -> None:
        """Take one step: hide parts of windows, crop each moment by itself, and rebuild."""
        b, n, image_size = self.config.mtm_bsz, self.config.mtm_length, self.critic.encoder.image_size
        obs = sample_windows(replay_buffer, b, n)
        others = replay_buffer.stack_frames(sample(replay_buffer.observation_indices(), b * n))
        masked_obs, mask = mask_timesteps(obs, others.reshape(obs.shape), self.config.mtm_ratio)
        crops = [
            random_crop(x.flatten(0, 1), image_size).reshape(*x.shape[:3], image_size, image_size)
            for x in (masked_obs, obs)
        ]
        optimizer_step(self.cpc_optimizer, self.masked_loss(crops[0], mask, crops[1]))
        self.schedule.step()


# Answers


def key_difference() -> None:
    """
    Answers: m_curl.key-difference
        The unit. CURL takes each observation by itself: its loss is that of a heap of pairs. M-CURL takes *windows*,
        whose moments stand in an order and resemble their neighbours; masking is how this is put to use. Put the
        moments of each window into another order, pixels, marks and keys alike: CURL's loss stays as it was, M-CURL's
        doesn't.

        >>> import torch
        >>> from reference_impl.curl import CURL, ConvEncoder, PixelEncoder
        >>> from reference_impl.m_curl import MCURL
        >>> _ = torch.manual_seed(0)
        >>> encoders = [PixelEncoder(12, 8, ConvEncoder(3, 8, 2)) for _ in range(2)]
        >>> curl = CURL(encoders[0], action_dim=1, hidden_dim=8)
        >>> m_curl = MCURL(encoders[1], action_dim=1, hidden_dim=8).eval()
        >>> one, other = torch.randint(256, (2, 4, 6, 3, 12, 12), dtype=torch.uint8)
        >>> chosen, order = torch.rand(4, 6) < 0.5, torch.tensor([3, 0, 5, 1, 4, 2])
        >>> def of_curl(one, other):
        ...     return curl.contrastive_loss(one.flatten(0, 1), other.flatten(0, 1)).item()
        >>> def of_m_curl(one, other, chosen):
        ...     return m_curl.masked_loss(one.masked_fill(chosen[..., None, None, None], 0), chosen, other).item()
        >>> abs(of_curl(one, other) - of_curl(one[:, order], other[:, order])) < 1e-4
        True
        >>> abs(of_m_curl(one, other, chosen) - of_m_curl(one[:, order], other[:, order], chosen[:, order])) > 0.01
        True

        And each of M-CURL's guesses looks at the whole window: how many moments' features does the third depend on?

        >>> features = torch.randn(1, 6, 8, requires_grad=True)
        >>> (gradient,) = torch.autograd.grad(m_curl.transformer(features)[0, 2].square().sum(), features)
        >>> int(gradient.any(dim=2).sum())
        6
    """


def why_transformers() -> None:
    """
    Answers: m_curl.why-transformers
        Consecutive moments are alike, so that a hidden one is best told from its neighbours, and a Transformer has
        them all within one step, those before and those after. One layer learns below to fill in walks through 16
        features. Then it is shown windows whose middle is hidden: how many of 1,000 does it tell from all the others?

        >>> import torch
        >>> from reference_impl.curl import info_nce, optimizer_step
        >>> from reference_impl.layers.attention import dot_score
        >>> from reference_impl.m_curl import WindowTransformer
        >>> _ = torch.manual_seed(0)
        >>> def walks(b, d=16):
        ...     at = torch.randn(b, d)
        ...     return torch.stack([at := 0.8 * at + 0.6 * torch.randn(b, d) for _ in range(5)], dim=1)
        >>> transformer = WindowTransformer(d_model=16, layers=1, dropout=0.0)
        >>> optimizer = torch.optim.Adam(transformer.parameters(), lr=0.02)
        >>> for _ in range(150):
        ...     moments, chosen = walks(32), torch.rand(32, 5) < 0.5
        ...     rebuilt = transformer(moments.masked_fill(chosen[..., None], 0.0))
        ...     own = chosen.flatten().nonzero().squeeze(1)
        ...     optimizer_step(optimizer, info_nce(dot_score(rebuilt[chosen], moments.flatten(0, 1)), own))
        >>> moments = walks(1000)
        >>> def found(*shown):
        ...     hidden = [place for place in range(5) if place not in shown]
        ...     guess = transformer(moments.index_fill(1, torch.tensor(hidden), 0.0))[:, 2]
        ...     return int((dot_score(guess, moments[:, 2]).argmax(dim=1) == torch.arange(1000)).sum())
        >>> both, before, after, neither = found(0, 1, 3, 4), found(0, 1), found(3, 4), found()
        >>> both > 1.2 * before, both > 1.2 * after, before > 20 * neither
        (True, True, True)

        What comes before is all that a recurrent network has which reads from left to right; without neighbours there
        is nothing but a guess. (The abstract argues from the likeness of neighbours; it compares with no other
        network.)
    """


def what_makes_it_auxiliary() -> None:
    """
    Answers: m_curl.what-makes-it-auxiliary
        That it gives the encoder a gradient, and nothing else to anyone. Its loss reaches the convolutions through
        which the agent sees. But no action is made of its output: delete it, and the actions for a given encoder are
        the same to the bit.

        >>> import torch
        >>> from reference_impl.curl import ConvEncoder, PixelEncoder
        >>> from reference_impl.m_curl import MCURL
        >>> _ = torch.manual_seed(0)
        >>> agent = MCURL(PixelEncoder(12, 8, ConvEncoder(3, 8, 2)), action_dim=2, hidden_dim=16)
        >>> whole, chosen = torch.randint(256, (4, 6, 3, 12, 12), dtype=torch.uint8), torch.rand(4, 6) < 0.5
        >>> agent.masked_loss(whole, chosen, whole).backward()
        >>> seen_through = agent.actor.encoder.convs
        >>> all(bool(numbers.grad.any()) for numbers in seen_through.parameters())
        True
        >>> observation = torch.randint(256, (32, 3, 16, 16), dtype=torch.uint8)
        >>> with_it = agent.act(observation)
        >>> del agent.transformer
        >>> torch.equal(agent.act(observation), with_it)
        True
    """


def encoder_of_what() -> None:
    """
    Answers: m_curl.encoder-of-what
        Of an observation: three stacked RGB frames, so nine channels of 84 × 84 pixels. To *encode* it is to map its
        63,504 numbers to 50 features. There is no decoder: the features keep what the losses find useful.

        >>> import torch
        >>> from reference_impl.curl import PixelEncoder, ReplayBuffer, random_crop
        >>> buffer = ReplayBuffer(capacity=5, action_dim=1)
        >>> buffer.add_first(torch.full((3, 100, 100), 10, dtype=torch.uint8))
        >>> for shade in (20, 30):
        ...     buffer.add(torch.zeros(1), 0.0, torch.full((3, 100, 100), shade, dtype=torch.uint8))
        >>> observation = random_crop(buffer.stack_frames(torch.tensor([2])), 84)
        >>> observation.shape, observation.numel(), observation[0, :, 0, 0].tolist()
        (torch.Size([1, 9, 84, 84]), 63504, [10, 10, 10, 20, 20, 20, 30, 30, 30])
        >>> PixelEncoder()(observation).shape
        torch.Size([1, 50])
    """


def why_discarded() -> None:
    """
    Answers: m_curl.why-discarded
        Since nothing that acts calls it: to keep it would cost time and change no action. Here is who is called in one
        step of learning, and in one decision.

        >>> from collections import Counter
        >>> import torch
        >>> from reference_impl.curl import ConvEncoder, PixelEncoder, ReplayBuffer
        >>> from reference_impl.m_curl import MCURL, MCURLConfig
        >>> _ = torch.manual_seed(0)
        >>> config = MCURLConfig(mtm_bsz=2, mtm_length=4)
        >>> agent = MCURL(PixelEncoder(12, 8, ConvEncoder(3, 8, 2)), action_dim=2, hidden_dim=16, config=config)
        >>> buffer, calls = ReplayBuffer(20, action_dim=2, frame_shape=(1, 16, 16)), Counter()
        >>> buffer.add_first(torch.randint(256, (1, 16, 16), dtype=torch.uint8))
        >>> for _ in range(9):
        ...     buffer.add(torch.rand(2), 0.0, torch.randint(256, (1, 16, 16), dtype=torch.uint8))
        >>> parts = {"CNN": agent.critic.encoder.convs, "Transformer": agent.transformer}
        >>> parts["policy"] = agent.actor.trunk
        >>> for name, part in parts.items():
        ...     _ = part.register_forward_hook(lambda *_, name=name: calls.update([name]))
        >>> agent.update(buffer, step=0, batch_size=4)
        >>> sorted(calls.items())
        [('CNN', 5), ('Transformer', 1), ('policy', 2)]
        >>> calls.clear()
        >>> _ = agent.act(buffer.stack_frames(buffer.observation_indices()[-1:]))
        >>> sorted(calls.items())
        [('CNN', 1), ('policy', 1)]

        Nor could it be called as it was trained. It tells a moment from later ones too, and when an action is due these
        haven't come. (This second reason is an inference of these notes; the abstract gives none.)

        >>> features = torch.randn(1, 4, 8, requires_grad=True)
        >>> (gradient,) = torch.autograd.grad(agent.transformer(features)[0, 1].square().sum(), features)
        >>> gradient.any(dim=2).tolist()
        [[True, True, True, True]]
    """


def policy_network() -> None:
    """
    Answers: m_curl.policy-network
        It acts. It reads the 50 features of the present observation, which come from the CNN and not from the
        Transformer, through two hidden layers of 1,024, and gives two numbers for each number of an action: mean and
        spread of a Gaussian, whose draw tanh squeezes into [-1, 1]. That is soft actor-critic's actor, the same as
        CURL's. (For Atari the method takes Rainbow instead, which has no actor: the best of a few actions, by their
        values.)

        >>> import torch
        >>> from reference_impl.curl import ConvEncoder, PixelEncoder
        >>> from reference_impl.m_curl import MCURL
        >>> with torch.device("meta"):  # sizes only
        ...     policy = MCURL(PixelEncoder(), action_dim=6).actor.trunk
        >>> [tuple(layer.weight.shape) for layer in policy if hasattr(layer, "weight")]
        [(1024, 50), (1024, 1024), (12, 1024)]
        >>> sum(numbers.numel() for numbers in policy.parameters())
        1114124

        Here is a small one at work. What goes in is what the encoder put out for this one observation:

        >>> _ = torch.manual_seed(0)
        >>> agent = MCURL(PixelEncoder(12, 50, ConvEncoder(3, 8, 2)), action_dim=6, hidden_dim=16)
        >>> heard = []
        >>> _ = agent.actor.trunk.register_forward_pre_hook(lambda module, given: heard.append(given[0]))
        >>> observation = torch.randint(256, (1, 3, 12, 12), dtype=torch.uint8)
        >>> action, another = agent.act(observation, explore=True), agent.act(observation, explore=True)
        >>> heard[0].shape, torch.equal(heard[0], agent.actor.encoder(observation))
        (torch.Size([1, 50]), True)
        >>> torch.equal(action, another), bool(action.abs().max() < 1)  # explored
        (False, True)
        >>> torch.equal(agent.act(observation), agent.act(observation))  # the mean
        True
    """


def contrastive_learning() -> None:
    """
    Answers: m_curl.contrastive-learning
        Learning by comparison. Examples come in positive pairs, and the loss pulls the two vectors of a pair together
        and pushes each away from all others. The pairing is the only label. Below, the vectors themselves are the only
        parameters. CURL pairs two crops of an observation; M-CURL pairs the reconstruction of a masked timestep with
        the encoding of that timestep.

        >>> import torch
        >>> from reference_impl.curl import info_nce
        >>> from reference_impl.layers.attention import dot_score
        >>> _ = torch.manual_seed(0)
        >>> one, other = torch.randn(2, 6, 4).unbind()
        >>> one, other, partner = one.requires_grad_(), other.requires_grad_(), torch.arange(6)
        >>> before = dot_score(one, other).detach()
        >>> optimizer = torch.optim.SGD([one, other], lr=0.5)
        >>> for _ in range(100):
        ...     optimizer.zero_grad()
        ...     info_nce(dot_score(one, other), partner).backward()
        ...     optimizer.step()
        >>> after = dot_score(one, other).detach()
        >>> int((before.argmax(dim=1) == partner).sum()), int((after.argmax(dim=1) == partner).sum())
        (0, 6)
        >>> change, own = after - before, torch.eye(6, dtype=torch.bool)
        >>> bool(change[own].mean() > 1), bool(change[~own].mean() < -1)
        (True, True)
    """


def hidden_places_only() -> None:
    """
    Answers: m_curl.hidden-places-only
        The places that were chosen pay, each against the keys of *all* moments of all windows, chosen or not: as
        many as windows times moments. The moments beside it in its window are wrong keys too. Keys are made from
        the whole windows by the encoder's average, without the Transformer, and get no gradient.

        >>> import torch
        >>> from reference_impl.curl import ConvEncoder, PixelEncoder
        >>> from reference_impl.m_curl import MCURL, MCURLConfig
        >>> _ = torch.manual_seed(0)
        >>> config = MCURLConfig(dropout=0.0)
        >>> agent = MCURL(PixelEncoder(12, 8, ConvEncoder(3, 8, 2)), action_dim=1, hidden_dim=8, config=config)
        >>> obs, mask = torch.randint(256, (3, 5, 3, 12, 12), dtype=torch.uint8), torch.rand(3, 5) < 0.5
        >>> rebuilt = []
        >>> _ = agent.transformer.register_forward_hook(lambda module, given, out: rebuilt.append(out))
        >>> loss = agent.masked_loss(obs, mask, obs)
        >>> (pay,) = torch.autograd.grad(loss, rebuilt[0])
        >>> torch.equal(pay.any(dim=2), mask), int(mask.sum())
        (True, 7)
        >>> keys = agent.critic_target.encoder(obs.flatten(0, 1))
        >>> by_hand = []
        >>> for window, place in mask.nonzero().tolist():
        ...     likeness = keys @ rebuilt[0][window, place]
        ...     by_hand.append(likeness.logsumexp(dim=0) - likeness[5 * window + place])
        >>> keys.shape, keys.requires_grad, torch.allclose(loss, torch.stack(by_hand).mean())
        (torch.Size([15, 8]), False, True)
    """


def pixels_or_features() -> None:
    """
    Answers: m_curl.pixels-or-features
        Pixels, in the public code; the abstract speaks of features. At first it is the same: biases begin at 0, and
        so a black observation has features of 0. Then the biases learn, and the encoder turns black into a vector of
        its own choice, the same for every hidden moment: what [[bert]] has as the learnt vector of `[MASK]`.

        >>> import torch
        >>> from reference_impl.curl import ConvEncoder, PixelEncoder, optimizer_step
        >>> from reference_impl.m_curl import MCURL
        >>> _ = torch.manual_seed(0)
        >>> agent = MCURL(PixelEncoder(12, 8, ConvEncoder(3, 8, 2)), action_dim=1, hidden_dim=8)
        >>> black = torch.zeros(2, 3, 12, 12, dtype=torch.uint8)
        >>> agent.critic.encoder(black).abs().max().item()
        0.0
        >>> for _ in range(10):
        ...     obs, mask = torch.randint(256, (4, 6, 3, 12, 12), dtype=torch.uint8), torch.rand(4, 6) < 0.5
        ...     masked_obs = obs.masked_fill(mask[..., None, None, None], 0)
        ...     optimizer_step(agent.cpc_optimizer, agent.masked_loss(masked_obs, mask, obs))
        >>> one, other = agent.critic.encoder(black)
        >>> torch.equal(one, other), bool(one.abs().max() > 0.01)
        (True, True)
    """


def overlapping_stacks() -> None:
    """
    Answers: m_curl.overlapping-stacks
        Half of them aren't. A moment is a stack of three frames, and each frame is in three stacks. About half of the
        black moments can be put together from pieces that stand, to the pixel, in the stacks beside them: there the
        task is to find and to copy. (That is a remark of these notes, not of the paper's abstract.) The frames below
        hold their own number.

        >>> import torch
        >>> from reference_impl.curl import ReplayBuffer
        >>> from reference_impl.m_curl import mask_timesteps, sample_windows
        >>> _ = torch.manual_seed(0)
        >>> buffer = ReplayBuffer(capacity=250, action_dim=1, frame_shape=(1, 1, 1))
        >>> buffer.add_first(torch.ones(1, 1, 1, dtype=torch.uint8))
        >>> for number in range(2, 250):
        ...     buffer.add(torch.zeros(1), 0.0, torch.full((1, 1, 1), number, dtype=torch.uint8))
        >>> obs = sample_windows(buffer, 64, 32)
        >>> masked_obs, _ = mask_timesteps(obs, replacements=torch.zeros_like(obs), mask_ratio=0.5)
        >>> black = in_pieces = 0
        >>> for window, shown in zip(obs.flatten(2).tolist(), masked_obs.flatten(2).tolist()):
        ...     visible = {frame for stack in shown for frame in stack}
        ...     for stack, left in zip(window, shown):
        ...         black += left == [0, 0, 0]
        ...         in_pieces += left == [0, 0, 0] and visible.issuperset(stack)
        >>> black > 800, 0.4 < in_pieces / black < 0.6
        (True, True)
    """


def layer_size() -> None:
    """
    Answers: m_curl.layer-size
        18,000 numbers a layer, 36,000 in all: less than a fiftieth of the encoder that it helps to train. The
        Transformer's own layer of this width has a projection behind the head, and with it 2,550 numbers more.

        >>> from reference_impl.curl import PixelEncoder
        >>> from reference_impl.m_curl import EncoderLayer, WindowTransformer
        >>> from reference_impl.transformer import EncoderLayer as TransformerLayer
        >>> def count(module):
        ...     return sum(numbers.numel() for numbers in module.parameters())
        >>> [count(part) for part in EncoderLayer().children()]  # query, key, value, feed-forward network, two norms
        [2550, 2550, 2550, 10150, 100, 100]
        >>> count(EncoderLayer()), count(WindowTransformer()), count(TransformerLayer(d_model=50, heads=1, d_ff=100))
        (18000, 36000, 20550)
        >>> count(PixelEncoder()) // count(WindowTransformer())
        55
    """
