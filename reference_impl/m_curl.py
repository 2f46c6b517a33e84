r"""M-CURL: soft actor-critic from pixels, with masked contrastive learning over windows of consecutive observations.

Source: Zhu et al. 2020, "Masked Contrastive Representation Learning for Reinforcement Learning": the abstract. The body
    of the paper was not available; what the abstract does not say is taken from the authors' public code,
    teslacool/m-curl, whose files are named below. The defaults are those of its README.

This module holds what differs from CURL. Encoder, actor, critic, replay buffer, crops and InfoNCE are imported from
`reference_impl.curl`. A *timestep* of a window is one observation, itself a stack of three frames.

Axes: $b$ windows of a batch, $n$ timesteps of a window, $d$ features; and by name the channels, rows and columns of
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
from reference_impl.layers.attention import dot_score, scaled_dot_product_attention
from reference_impl.layers.positions import sinusoidal_positions
from reference_impl.transformer import FeedForward


class EncoderLayer(nn.Module):
    r"""A post-norm Transformer encoder layer with one head and without an output projection.

    Source: `AttnLayer` of ctmr_sac.py, after Vaswani et al. 2017, Sections 3.1 to 3.3
        $$y = \operatorname{LayerNorm}\Bigl(x + \operatorname{softmax}\Bigl(\frac{QK^\top}{\sqrt d}\Bigr)V\Bigr)$$

        $$z = \operatorname{LayerNorm}(y + \max(0, yW_1 + b_1)W_2 + b_2)$$

    The head's output is added to the residual stream as it is. The feed-forward network is twice as wide as its input.

    Args:
        d_model: The dimension of the features.
        dropout: The dropout rate of each sublayer's output.

    Asked: m_curl.layer-size
    """

    def __init__(self, d_model: int = 50, dropout: float = 0.1) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(d_model, d_model) for _ in range(3))
        self.feed_forward = FeedForward(d_model, 2 * d_model)
        self.norm1, self.norm2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return the output of the layer."""
        head = scaled_dot_product_attention(self.query(x), self.key(x), self.value(x))  # (b, n, d)
        x = self.norm1(x + self.dropout(head))
        return self.norm2(x + self.dropout(self.feed_forward(x)))


class WindowTransformer(nn.Module):
    r"""A Transformer encoder that reconstructs the features of masked timesteps; used in training only.

    Source: Abstract; `CTMR` of ctmr_sac.py

    Departs: from Vaswani et al. 2017, which scales embeddings by $\sqrt d$ and applies dropout to the sum of
    embeddings and positions. Here the features are added to the positions unscaled and without dropout.

    Args:
        d_model: The dimension of the features.
        layers: The number of layers.
        dropout: The dropout rate of each sublayer's output.

    Asked: m_curl.why-transformers
    """

    def __init__(self, d_model: int = 50, layers: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(d_model, dropout) for _ in range(layers))

    def forward(self, features: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return the reconstruction of each timestep from its whole window."""
        x = features + sinusoidal_positions(*features.shape[1:]).to(features)
        for layer in self.layers:
            x = layer(x)
        return x


def sample_windows(
    replay_buffer: ReplayBuffer, batch_size: int, length: int
) -> UInt8[Tensor, "b n channels rows columns"]:
    """Sample windows of consecutive observations, each within one episode.

    Source: `sample_ctmr` of utils.py

    Departs: in the public code a window may cross the end of an episode, and wrap around from the buffer's newest
    observation to its oldest.

    Args:
        replay_buffer: The buffer.
        batch_size: The number of windows.
        length: The number of timesteps of a window.

    Raises:
        ValueError: No episode in the buffer is that long.
    """
    first = replay_buffer.observation_indices()
    last = (first + length - 1) % replay_buffer.capacity
    # From first to last both the step of the episode and the position in the buffer advance by length - 1.
    progress = torch.stack([replay_buffer.episode_step, replay_buffer.num_older()])  # (2, capacity)
    is_consecutive = (progress[:, last] - progress[:, first] == length - 1).all(dim=0)
    first = sample(first[is_consecutive], batch_size)  # (b,)
    indices = (first[:, None] + torch.arange(length, device=first.device)) % replay_buffer.capacity  # (b, n)
    return replay_buffer.stack_frames(indices)


def mask_timesteps(
    obs: UInt8[Tensor, "b n channels rows columns"],
    replacements: UInt8[Tensor, "b n channels rows columns"],
    mask_ratio: float = 0.5,
) -> tuple[UInt8[Tensor, "b n channels rows columns"], Bool[Tensor, "b n"]]:
    """Mask timesteps at random, by BERT's rule.

    Source: `random_obs` of utils.py, after Devlin et al. 2019, Section 3.1

    Of the masked timesteps 80% become black, 10% are replaced by another observation, and 10% are kept. All are
    predicted.

    Departs: the abstract masks features; the public code masks pixels, before the encoder, and so does this.

    Args:
        obs: The windows.
        replacements: Random observations to replace some.
        mask_ratio: The probability that a timestep is masked.

    Returns:
        The masked windows, and the mask: true at the timesteps to predict (the public code calls it `non_masked`).

    Answers: m_curl.always-black
        No. As in [[bert]], a masked timestep becomes black in 80% of the cases, is replaced by another observation in
        10%, and is kept in 10%. It is predicted in every case, so a visible input can't simply be copied.

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
    draw, action = torch.rand(2, *obs.shape[:2], device=obs.device)  # (b, n) each
    mask = draw < mask_ratio
    black, replaced = mask & (action < 0.8), mask & (action >= 0.9)
    masked_obs = obs.masked_fill(black[..., None, None, None], 0)
    return torch.where(replaced[..., None, None, None], replacements, masked_obs), mask


def warmup_schedule(step: int, warmup_steps: int = 6000) -> float:
    r"""Return the factor of the Transformer's learning rate: linear warmup, then inverse square root decay.

    Source: `InverseSquareRootSchedule` of ctmr_sac.py
        $$0.0005 + 0.9995 \, t / t_w \quad (t < t_w), \qquad \sqrt{t_w / t} \quad (t \ge t_w)$$
    """
    return 5e-4 + (1 - 5e-4) * step / warmup_steps if step < warmup_steps else (warmup_steps / step) ** 0.5


def decay_schedule(step: int, warmup_steps: int = 6000) -> float:
    r"""Return the factor of the encoder's learning rate: constant, then inverse square root decay.

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
        adam_warmup_step: Updates until both learning rates start to decay, for an action repeat of 4; the public code
            (hyperpara.py) multiplies it by 4 and divides it by the repeat.
    """

    mtm_bsz: int = 16
    mtm_length: int = 32
    mtm_ratio: float = 0.5
    num_attn_layer: int = 2
    dropout: float = 0.1
    adam_warmup_step: int = 6000


class MCURL(SoftActorCritic):
    r"""Soft actor-critic whose encoder is also trained by reconstructing masked timesteps of a window.

    Source: Abstract; `CtmrSacAgent` of ctmr_sac.py

    Differences from CURL: windows with masked timesteps instead of single observations; a Transformer behind the
    encoder; dot products instead of the bilinear form; the keys of all timesteps of all windows; a loss at masked
    timesteps only; twice the learning rate for the encoder, and schedules for both learning rates.

    Args:
        encoder: The critic's encoder.
        action_dim: The dimension of an action.
        hidden_dim: The width of the hidden layers of actor and critic.
        lr: The learning rate; the masked contrastive loss trains the encoder at twice that.
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
        r"""Return the InfoNCE loss of each masked timestep's reconstruction among the keys of all timesteps.

        Source: `update_cpc` of ctmr_sac.py
            $$-\frac{1}{\lvert M \rvert} \sum_{i \in M} \log
            \frac{\exp(x_i^\top k_i)}{\sum_{j=1}^{bn} \exp(x_i^\top k_j)}$$

        Args:
            masked_obs: The masked windows.
            mask: $M$, true at the masked timesteps.
            obs: The unmasked windows. Their keys are detached, and come from the target encoder alone.

        Asked: m_curl.hidden-places-only
        """
        features = self.critic.encoder(masked_obs.flatten(0, 1))  # (b n, d)
        query = self.transformer(features.reshape(*mask.shape, -1))[mask]  # (masked, d)
        with torch.no_grad():
            key = self.critic_target.encoder(obs.flatten(0, 1))  # (b n, d)
        return info_nce(dot_score(query, key), mask.flatten().nonzero().squeeze(1))

    def update_representation(
        self, replay_buffer: ReplayBuffer, transitions: Transitions, cropped: Transitions
    ) -> None:
        """Take a masked contrastive step: sample windows, mask timesteps, and crop each observation by itself."""
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
        The unit of learning. CURL's loss is over a set of independent observations. M-CURL's is over *windows*, whose
        timesteps are ordered and resemble their neighbors; masking makes use of that. Permute the timesteps of each
        window, in inputs, mask and keys alike: CURL's loss stays the same, M-CURL's doesn't.

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

        And each of M-CURL's predictions attends to the whole window. On how many timesteps' features does the third
        depend?

        >>> features = torch.randn(1, 6, 8, requires_grad=True)
        >>> (gradient,) = torch.autograd.grad(m_curl.transformer(features)[0, 2].square().sum(), features)
        >>> int(gradient.any(dim=2).sum())
        6
    """


def why_transformers() -> None:
    """
    Answers: m_curl.why-transformers
        Consecutive observations are alike, so a masked one is best predicted from its neighbors. Self-attention reads
        those before and those after in one step, and learns which to read. Below, one layer learns to reconstruct
        random walks of 16 features, in windows of 32. Then the middle of 1,000 windows is masked: how many of them does
        it identify among all? And how many a layer whose queries are 0, so that attention is a uniform mean?

        >>> import torch
        >>> from torch import nn
        >>> from reference_impl.curl import info_nce, optimizer_step
        >>> from reference_impl.layers.attention import dot_score
        >>> from reference_impl.m_curl import WindowTransformer
        >>> def walks(b, n=32, d=16):
        ...     at = torch.randn(b, d)
        ...     return torch.stack([at := 0.8 * at + 0.6 * torch.randn(b, d) for _ in range(n)], dim=1)
        >>> def trained(attends):
        ...     _ = torch.manual_seed(0)
        ...     transformer = WindowTransformer(d_model=16, layers=1, dropout=0.0)
        ...     if not attends:
        ...         for parameter in transformer.layers[0].query.parameters():
        ...             nn.init.zeros_(parameter).requires_grad_(False)
        ...     optimizer = torch.optim.Adam([p for p in transformer.parameters() if p.requires_grad], lr=0.02)
        ...     for _ in range(150):
        ...         features, mask = walks(32), torch.rand(32, 32) < 0.5
        ...         query = transformer(features.masked_fill(mask[..., None], 0.0))[mask]
        ...         labels = mask.flatten().nonzero().squeeze(1)
        ...         optimizer_step(optimizer, info_nce(dot_score(query, features.flatten(0, 1)), labels))
        ...     return transformer
        >>> def identified(transformer, *visible):
        ...     masked = [timestep for timestep in range(32) if timestep not in visible]
        ...     query = transformer(features.index_fill(1, torch.tensor(masked), 0.0))[:, 16]
        ...     return int((dot_score(query, features[:, 16]).argmax(dim=1) == torch.arange(1000)).sum())
        >>> transformer, uniform, features = trained(attends=True), trained(attends=False), walks(1000)
        >>> before, after = range(16), range(17, 32)
        >>> both, mean_of_both = (identified(layer, *before, *after) for layer in (transformer, uniform))
        >>> both > 1.6 * mean_of_both
        True
        >>> before, after, neither = (identified(transformer, *visible) for visible in (before, after, ()))
        >>> both > 1.2 * before, both > 1.2 * after, before > 20 * neither
        (True, True, True)

        A recurrent network that reads from left to right has only the timesteps before; without neighbors there is only
        chance. (The abstract argues from the correlation of consecutive observations; it compares with no other
        network.)
    """


def what_makes_it_auxiliary() -> None:
    """
    Answers: m_curl.what-makes-it-auxiliary
        It only provides a gradient for the encoder. Its loss trains the convolutions that the actor uses, but its
        output is no input of the policy: delete it, and the actions for a given encoder are the same to the bit.

        >>> import torch
        >>> from reference_impl.curl import ConvEncoder, PixelEncoder
        >>> from reference_impl.m_curl import MCURL
        >>> _ = torch.manual_seed(0)
        >>> agent = MCURL(PixelEncoder(12, 8, ConvEncoder(3, 8, 2)), action_dim=2, hidden_dim=16)
        >>> whole, chosen = torch.randint(256, (4, 6, 3, 12, 12), dtype=torch.uint8), torch.rand(4, 6) < 0.5
        >>> agent.masked_loss(whole, chosen, whole).backward()
        >>> all(bool(p.grad.any()) for p in agent.actor.encoder.convs.parameters())
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
        Because acting never calls it: keeping it would cost time and change no action. These modules are called in one
        update, and in one action:

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

        Nor could it be used as it was trained: it attends to later timesteps too, which don't exist yet when an action
        is due. (This second reason is an inference of these notes; the abstract gives none.)

        >>> features = torch.randn(1, 4, 8, requires_grad=True)
        >>> (gradient,) = torch.autograd.grad(agent.transformer(features)[0, 1].square().sum(), features)
        >>> gradient.any(dim=2).tolist()
        [[True, True, True, True]]
    """


def policy_network() -> None:
    """
    Answers: m_curl.policy-network
        It chooses the action. Its input are the 50 features of the current observation, from the CNN and not from the
        Transformer. Two hidden layers of 1,024 map them to mean and log standard deviation of a Gaussian for each
        component of the action, and tanh maps a sample into [-1, 1]. That is soft actor-critic's actor, the same as
        CURL's. (On Atari the method builds on Rainbow instead, which has no actor: it takes the action of the highest
        value.)

        >>> import torch
        >>> from reference_impl.curl import ConvEncoder, PixelEncoder
        >>> from reference_impl.m_curl import MCURL
        >>> with torch.device("meta"):  # sizes only
        ...     policy = MCURL(PixelEncoder(), action_dim=6).actor.trunk
        >>> [tuple(layer.weight.shape) for layer in policy if hasattr(layer, "weight")]
        [(1024, 50), (1024, 1024), (12, 1024)]
        >>> sum(numbers.numel() for numbers in policy.parameters())
        1114124

        A small one at work. Its input is the encoder's output for this one observation:

        >>> _ = torch.manual_seed(0)
        >>> agent = MCURL(PixelEncoder(12, 50, ConvEncoder(3, 8, 2)), action_dim=6, hidden_dim=16)
        >>> inputs = []
        >>> _ = agent.actor.trunk.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
        >>> observation = torch.randint(256, (1, 3, 12, 12), dtype=torch.uint8)
        >>> action, another = agent.act(observation, explore=True), agent.act(observation, explore=True)
        >>> inputs[0].shape, torch.equal(inputs[0], agent.actor.encoder(observation))
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
        Only masked timesteps contribute, each against the keys of *all* timesteps of all windows, masked or not, the
        other timesteps of its own window among the negatives. Keys come from the unmasked windows by the target
        encoder, without the Transformer, and get no gradient.

        >>> import torch
        >>> from reference_impl.curl import ConvEncoder, PixelEncoder
        >>> from reference_impl.m_curl import MCURL, MCURLConfig
        >>> _ = torch.manual_seed(0)
        >>> config = MCURLConfig(dropout=0.0)
        >>> agent = MCURL(PixelEncoder(12, 8, ConvEncoder(3, 8, 2)), action_dim=1, hidden_dim=8, config=config)
        >>> obs, mask = torch.randint(256, (3, 5, 3, 12, 12), dtype=torch.uint8), torch.rand(3, 5) < 0.5
        >>> for numbers in agent.critic_target.encoder.parameters():  # else it equals the encoder
        ...     _ = numbers.normal_(std=0.4)
        >>> masked_obs, rebuilt = obs.masked_fill(mask[..., None, None, None], 0), []
        >>> _ = agent.transformer.register_forward_hook(lambda module, given, out: rebuilt.append(out))
        >>> loss = agent.masked_loss(masked_obs, mask, obs)
        >>> (gradient,) = torch.autograd.grad(loss, rebuilt[0], retain_graph=True)
        >>> torch.equal(gradient.any(dim=2), mask), int(mask.sum())
        (True, 7)
        >>> keys = agent.critic_target.encoder(obs.flatten(0, 1)).detach()
        >>> by_hand = []
        >>> for window, place in mask.nonzero().tolist():
        ...     likeness = keys @ rebuilt[0][window, place]
        ...     by_hand.append(likeness.logsumexp(dim=0) - likeness[5 * window + place])
        >>> by_hand = torch.stack(by_hand).mean()
        >>> keys.shape, torch.allclose(loss, by_hand)
        (torch.Size([15, 8]), True)
        >>> encoder = list(agent.critic.encoder.parameters())
        >>> gradients = [torch.autograd.grad(one, encoder, retain_graph=True) for one in (loss, by_hand)]
        >>> all(torch.allclose(*pair, atol=1e-6) for pair in zip(*gradients))
        True
        >>> any(numbers.requires_grad for numbers in agent.critic_target.parameters())
        False
    """


def pixels_or_features() -> None:
    """
    Answers: m_curl.pixels-or-features
        Pixels, in the public code; the abstract speaks of features. At first it is the same: biases are initialized at
        0, so a black observation has features of 0. Then the biases are trained, and the encoder maps black to a
        learned vector, the same for every masked timestep. It corresponds to the embedding of `[MASK]` in [[bert]].

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
        About half of them aren't. An observation stacks three frames, and each frame is part of three stacks. About
        half of the black observations can be assembled from frames that are visible in the neighboring stacks: there
        the task is to find and copy. (That is a remark of these notes, not of the paper's abstract.) The frames below
        hold their own index.

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
        18,000 parameters a layer, 36,000 in all: less than a fiftieth of the encoder that it helps to train. A layer of
        the original Transformer of this width has an output projection, and with it 2,550 parameters more.

        >>> from reference_impl.curl import PixelEncoder
        >>> from reference_impl.m_curl import EncoderLayer, WindowTransformer
        >>> from reference_impl.transformer import EncoderLayer as TransformerLayer
        >>> def count(module):
        ...     return sum(numbers.numel() for numbers in module.parameters())
        >>> [count(part) for part in EncoderLayer().children()]  # query, key, value, feed-forward, norms, dropout
        [2550, 2550, 2550, 10150, 100, 100, 0]
        >>> count(EncoderLayer()), count(WindowTransformer()), count(TransformerLayer(d_model=50, heads=1, d_ff=100))
        (18000, 36000, 20550)
        >>> count(PixelEncoder()) // count(WindowTransformer())
        55
    """
