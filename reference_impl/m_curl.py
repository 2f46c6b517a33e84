r"""M-CURL: soft actor-critic whose encoder also helps a small Transformer to rebuild hidden moments of a window.

Source: Zhu et al. 2020, "Masked Contrastive Representation Learning for Reinforcement Learning": its abstract. The body
    was not at hand; what the abstract leaves unsaid is taken from the authors' public code, teslacool/m-curl, and named
    by its files. The defaults are those of its README.

What stands here is what differs from CURL. The encoder, the actor and critic, the buffer, the crops and the loss are
CURL's, by import. A *moment* is one observation of a window, itself a stack of three frames.

Axes: $b$ windows of a batch, $n$ moments of a window, $d$ features, and by name the channels, rows and columns of
images.

Answers: m_curl.encoder-of-what
    Of an observation: three frames of a game, stacked, in colour, so nine channels of 84 × 84 pixels. To *encode* it is
    to turn its 63,504 numbers into 50. Nothing is ever decoded: the 50 keep what the losses find useful.

    >>> import torch
    >>> from reference_impl.curl import PixelEncoder, ReplayBuffer, random_crop
    >>> buffer = ReplayBuffer(capacity=5, actions=1)
    >>> buffer.begin(torch.full((3, 100, 100), 10, dtype=torch.uint8))
    >>> for shade in (20, 30):
    ...     buffer.add(torch.zeros(1), 0.0, torch.full((3, 100, 100), shade, dtype=torch.uint8))
    >>> observation = random_crop(buffer.stacks(torch.tensor([2])), 84)
    >>> observation.shape, observation.numel(), observation[0, :, 0, 0].tolist()
    (torch.Size([1, 9, 84, 84]), 63504, [10, 10, 10, 20, 20, 20, 30, 30, 30])
    >>> PixelEncoder()(observation).shape
    torch.Size([1, 50])

Answers: m_curl.contrastive-learning
    Learning by comparison: things come in pairs that belong together, and a loss pulls each vector towards its partner
    and pushes it away from all others. No label is needed but "these two are one". Below, nothing is learnt but the
    vectors themselves. CURL pairs two crops of an observation; M-CURL pairs a hidden moment as rebuilt with itself.

    >>> import torch
    >>> from reference_impl.curl import info_nce
    >>> from reference_impl.layers.attention import dot_score
    >>> _ = torch.manual_seed(0)
    >>> one, other = torch.randn(2, 6, 4).unbind()
    >>> one, other, partner = one.requires_grad_(), other.requires_grad_(), torch.arange(6)
    >>> before = dot_score(one, other).detach()
    >>> optimiser = torch.optim.SGD([one, other], lr=0.5)
    >>> for _ in range(100):
    ...     optimiser.zero_grad()
    ...     info_nce(dot_score(one, other), partner).backward()
    ...     optimiser.step()
    >>> after = dot_score(one, other).detach()
    >>> int((before.argmax(dim=1) == partner).sum()), int((after.argmax(dim=1) == partner).sum())
    (0, 6)
    >>> change, own = after - before, torch.eye(6, dtype=torch.bool)
    >>> bool(change[own].mean() > 1), bool(change[~own].mean() < -1)
    (True, True)
"""

import torch
from jaxtyping import Bool, Float, Num, UInt8
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from reference_impl.curl import (
    PixelEncoder,
    ReplayBuffer,
    SoftActorCritic,
    Transitions,
    descend,
    drawn,
    info_nce,
    random_crop,
)
from reference_impl.layers.attention import dot_score, scaled_dot_product_attention
from reference_impl.layers.positions import sinusoidal_positions
from reference_impl.transformer import FeedForward, PostNorm


class Layer(nn.Module):
    r"""Let each moment look at all of its window, then change each by itself.

    Source: `AttnLayer` of ctmr_sac.py, after Vaswani et al. 2017, Sections 3.1 to 3.3
        $$y = \operatorname{LayerNorm}\Bigl(x + \operatorname{softmax}\Bigl(\frac{QK^\top}{\sqrt d}\Bigr)V\Bigr)$$

        $$z = \operatorname{LayerNorm}(y + \max(0, yW_1 + b_1)W_2 + b_2)$$

    One head, and its mean is added as it is: there is no projection behind it. Norms stand after the sums, and the
    feed-forward network is twice as wide as its input.

    Answers: m_curl.layer-size
        18,000 numbers a layer, 36,000 in all: less than a fiftieth of the encoder that it helps to train. The
        Transformer's own layer of this width has a projection behind the head, and with it 2,550 numbers more.

        >>> from reference_impl.curl import PixelEncoder
        >>> from reference_impl.m_curl import Layer, MomentTransformer
        >>> from reference_impl.transformer import EncoderLayer
        >>> def count(module):
        ...     return sum(numbers.numel() for numbers in module.parameters())
        >>> [count(part) for part in Layer().children()]  # query, key, value, feed-forward network, two norms
        [2550, 2550, 2550, 10150, 100, 100]
        >>> count(Layer()), count(MomentTransformer()), count(EncoderLayer(d_model=50, heads=1, d_ff=100))
        (18000, 36000, 20550)
        >>> count(PixelEncoder()) // count(MomentTransformer())
        55
    """

    def __init__(self, d: int = 50, dropout: float = 0.1) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(d, d) for _ in range(3))
        self.feed_forward = FeedForward(d, 2 * d)
        self.around_attention, self.around_feed_forward = PostNorm(d, dropout), PostNorm(d, dropout)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return the moments as the next layer sees them."""
        x = self.around_attention.output(x, scaled_dot_product_attention(self.query(x), self.key(x), self.value(x)))
        return self.around_feed_forward.output(x, self.feed_forward(x))


class MomentTransformer(nn.Module):
    """Rebuild the hidden moments of a window from those before and after: an aid in training, which no action needs.

    Source: Abstract; `CTMR` of ctmr_sac.py

    The embeddings of Vaswani et al. 2017 are multiplied by the root of $d$ before positions are added, and then thinned
    by dropout. These features are added to their positions as they are.

    Answers: m_curl.why-transformers
        Consecutive moments are alike, so that a hidden one is best told from its neighbours, and a Transformer has
        them all within one step, those before and those after. One layer learns below to fill in walks through 16
        features. Then it is shown windows whose middle is hidden: how many of 1,000 does it tell from all the others?

        >>> import torch
        >>> from reference_impl.curl import descend, info_nce
        >>> from reference_impl.layers.attention import dot_score
        >>> from reference_impl.m_curl import MomentTransformer
        >>> _ = torch.manual_seed(0)
        >>> def walks(b, d=16):
        ...     at = torch.randn(b, d)
        ...     return torch.stack([at := 0.8 * at + 0.6 * torch.randn(b, d) for _ in range(5)], dim=1)
        >>> transformer = MomentTransformer(d=16, layers=1, dropout=0.0)
        >>> optimiser = torch.optim.Adam(transformer.parameters(), lr=0.02)
        >>> for _ in range(150):
        ...     moments, chosen = walks(32), torch.rand(32, 5) < 0.5
        ...     rebuilt = transformer(moments.masked_fill(chosen[..., None], 0.0))
        ...     own = chosen.flatten().nonzero().squeeze(1)
        ...     descend(optimiser, info_nce(dot_score(rebuilt[chosen], moments.flatten(0, 1)), own))
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

    def __init__(self, d: int = 50, layers: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(d, dropout) for _ in range(layers))

    def forward(self, features: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return each moment, told from all of its window."""
        x = features + sinusoidal_positions(*features.shape[1:]).to(features)
        for layer in self.layers:
            x = layer(x)
        return x


def windows(buffer: ReplayBuffer, batch: int, length: int) -> UInt8[Tensor, "b n channels rows columns"]:
    """Draw windows of consecutive observations, each from one episode.

    Source: `sample_ctmr` of utils.py

    Departs: in the public code a window may run over the end of one episode into the next, and over the buffer's newest
    observation into its oldest.

    Raises:
        ValueError: No episode in the buffer is that long.
    """
    first, standing = buffer.observations(), torch.stack([buffer.age, buffer.older()])
    last = (first + length - 1) % buffer.capacity
    # as many frames on in its episode, and as many on in the buffer: neither wraps in between
    whole = (standing[:, last] - standing[:, first] == length - 1).all(dim=0)
    first = drawn(first[whole], batch)
    return buffer.stacks((first[:, None] + torch.arange(length, device=first.device)) % buffer.capacity)


def hide(
    whole: UInt8[Tensor, "b n channels rows columns"],
    strangers: UInt8[Tensor, "b n channels rows columns"],
    share: float = 0.5,
) -> tuple[UInt8[Tensor, "b n channels rows columns"], Bool[Tensor, "b n"]]:
    """Choose moments to ask for, and hide most of them.

    Source: `random_obs` of utils.py, after Devlin et al. 2019, Section 3.1

    A chosen moment turns black in 80% of all cases and into a stranger in 10%; in the last 10% it stays, and is asked
    for all the same.

    Departs: the abstract hides features; the public code hides pixels, before the encoder, and so does this.

    Args:
        whole: The windows.
        strangers: Other observations, to stand in for some.
        share: How many of the moments are chosen.

    Returns:
        The windows with what is hidden, and where a moment is chosen (the public code calls this `non_masked`).

    Answers: m_curl.always-black
        No. As in [[bert]], a chosen moment turns black in 80% of all cases, into some other observation in 10%, and in
        10% it stays as it is. It is asked for in each case, so that what looks like a moment can't simply be passed on.

        >>> import torch
        >>> from reference_impl.m_curl import hide
        >>> _ = torch.manual_seed(0)
        >>> whole, strangers = torch.full((2, 200, 100, 1, 1, 1), 1, dtype=torch.uint8).unbind()
        >>> seen, chosen = hide(whole, 2 * strangers, share=0.5)
        >>> seen = seen.flatten(2).squeeze(2)
        >>> round(chosen.float().mean().item(), 1), bool((seen[~chosen] == 1).all())
        (0.5, True)
        >>> [round((seen[chosen] == shade).float().mean().item(), 1) for shade in (0, 2, 1)]
        [0.8, 0.1, 0.1]

    Answers: m_curl.pixels-or-features
        Pixels, in the public code; the abstract speaks of features. At first it is the same: biases begin at 0, and
        so a black observation has features of 0. Then the biases learn, and the encoder turns black into a vector of
        its own choice, the same for every hidden moment: what [[bert]] has as the learnt vector of `[MASK]`.

        >>> import torch
        >>> from reference_impl.curl import Convolutions, PixelEncoder, descend
        >>> from reference_impl.m_curl import MCURL
        >>> _ = torch.manual_seed(0)
        >>> agent = MCURL(PixelEncoder(12, 8, Convolutions(3, 8, 2)), actions=1, hidden=8)
        >>> black = torch.zeros(2, 3, 12, 12, dtype=torch.uint8)
        >>> agent.critic.encoder(black).abs().max().item()
        0.0
        >>> for _ in range(10):
        ...     whole, chosen = torch.randint(256, (4, 6, 3, 12, 12), dtype=torch.uint8), torch.rand(4, 6) < 0.5
        ...     seen = whole.masked_fill(chosen[..., None, None, None], 0)
        ...     descend(agent.contrast_optimiser, agent.masked_loss(seen, chosen, whole))
        >>> one, other = agent.critic.encoder(black)
        >>> torch.equal(one, other), bool(one.abs().max() > 0.01)
        (True, True)

    Answers: m_curl.overlapping-stacks
        Half of them aren't. A moment is a stack of three frames, and each frame is in three stacks. About half of the
        black moments can be put together from pieces that stand, to the pixel, in the stacks beside them: there the
        task is to find and to copy. (That is a remark of these notes, not of the paper's abstract.) The frames below
        hold their own number.

        >>> import torch
        >>> from reference_impl.curl import ReplayBuffer
        >>> from reference_impl.m_curl import hide, windows
        >>> _ = torch.manual_seed(0)
        >>> buffer = ReplayBuffer(capacity=250, actions=1, frame=(1, 1, 1))
        >>> buffer.begin(torch.ones(1, 1, 1, dtype=torch.uint8))
        >>> for number in range(2, 250):
        ...     buffer.add(torch.zeros(1), 0.0, torch.full((1, 1, 1), number, dtype=torch.uint8))
        >>> whole = windows(buffer, 64, 32)
        >>> seen, _ = hide(whole, strangers=torch.zeros_like(whole), share=0.5)
        >>> black = in_pieces = 0
        >>> for window, shown in zip(whole.flatten(2).tolist(), seen.flatten(2).tolist()):
        ...     visible = {frame for stack in shown for frame in stack}
        ...     for stack, left in zip(window, shown):
        ...         black += left == [0, 0, 0]
        ...         in_pieces += left == [0, 0, 0] and visible.issuperset(stack)
        >>> black > 800, 0.4 < in_pieces / black < 0.6
        (True, True)
    """
    draw, fate = torch.rand(2, *whole.shape[:2], device=whole.device)
    chosen = draw < share
    black, strange = chosen & (fate < 0.8), chosen & (fate >= 0.9)
    seen = whole.masked_fill(black[..., None, None, None], 0)
    return torch.where(strange[..., None, None, None], strangers, seen), chosen


def warming(done: int, warmup: int = 6000) -> float:
    r"""Return the Transformer's share of its learning rate: it climbs in a line, then falls with the root of the steps.

    Source: `InverseSquareRootSchedule` of ctmr_sac.py
        $$0.0005 + 0.9995 \, t / t_w \quad (t < t_w), \qquad \sqrt{t_w / t} \quad (t \ge t_w)$$
    """
    return 5e-4 + (1 - 5e-4) * done / warmup if done < warmup else (warmup / done) ** 0.5


def annealing(done: int, warmup: int = 6000) -> float:
    r"""Return the encoder's share of its learning rate: all of it at first, then it falls with the root of the steps.

    Source: `AnneallingSchedule` of ctmr_sac.py
        $$\min(1, \sqrt{t_w / t})$$
    """
    return 1.0 if done < warmup else (warmup / done) ** 0.5


class MCURL(SoftActorCritic):
    r"""Learn to act from pixels, and to rebuild hidden moments well enough to tell them from all others.

    Source: Abstract; `CtmrSacAgent` of ctmr_sac.py

    What differs from CURL: windows of moments for single observations, of which some are hidden; a Transformer behind
    the encoder; plain products for the bilinear form; keys that are all moments of all windows; a loss at chosen places
    alone; twice the rate for the encoder, and schedules for it and for the Transformer.

    Args:
        encoder: The critic's encoder.
        actions: How many numbers make an action.
        hidden: The width of the hidden layers of actor and critic.
        rate: The learning rate; the contrast moves the encoder at twice that.
        layers: How many layers the Transformer has.
        dropout: The share dropped from each of its sublayers' outputs.
        batch: How many windows are drawn.
        length: How many moments a window has.
        chosen: The share of the moments that are asked for.
        warmup: How many steps the rates take to their turn.
        settings: As for `SoftActorCritic`.

    Answers: m_curl.key-difference
        The unit. CURL takes each observation by itself: its loss is that of a heap of pairs. M-CURL takes *windows*,
        whose moments stand in an order and resemble their neighbours; masking is how this is put to use. Put the
        moments of each window into another order, pixels, marks and keys alike: CURL's loss stays as it was, M-CURL's
        doesn't.

        >>> import torch
        >>> from reference_impl.curl import CURL, Convolutions, PixelEncoder
        >>> from reference_impl.m_curl import MCURL
        >>> _ = torch.manual_seed(0)
        >>> encoders = [PixelEncoder(12, 8, Convolutions(3, 8, 2)) for _ in range(2)]
        >>> curl, m_curl = CURL(encoders[0], actions=1, hidden=8), MCURL(encoders[1], actions=1, hidden=8).eval()
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

    Answers: m_curl.what-makes-it-auxiliary
        That it gives the encoder a gradient, and nothing else to anyone. Its loss reaches the convolutions through
        which the agent sees. But no action is made of its output: delete it, and the actions for a given encoder are
        the same to the bit.

        >>> import torch
        >>> from reference_impl.curl import Convolutions, PixelEncoder
        >>> from reference_impl.m_curl import MCURL
        >>> _ = torch.manual_seed(0)
        >>> agent = MCURL(PixelEncoder(12, 8, Convolutions(3, 8, 2)), actions=2, hidden=16)
        >>> whole, chosen = torch.randint(256, (4, 6, 3, 12, 12), dtype=torch.uint8), torch.rand(4, 6) < 0.5
        >>> agent.masked_loss(whole, chosen, whole).backward()
        >>> seen_through = agent.actor.encoder.convolutions
        >>> all(bool(numbers.grad.any()) for numbers in seen_through.parameters())
        True
        >>> observation = torch.randint(256, (32, 3, 16, 16), dtype=torch.uint8)
        >>> with_it = agent.act(observation)
        >>> del agent.transformer
        >>> torch.equal(agent.act(observation), with_it)
        True

    Answers: m_curl.why-discarded
        Since nothing that acts calls it: to keep it would cost time and change no action. Here is who is called in one
        step of learning, and in one decision.

        >>> from collections import Counter
        >>> import torch
        >>> from reference_impl.curl import Convolutions, PixelEncoder, ReplayBuffer
        >>> from reference_impl.m_curl import MCURL
        >>> _ = torch.manual_seed(0)
        >>> agent = MCURL(PixelEncoder(12, 8, Convolutions(3, 8, 2)), actions=2, hidden=16, batch=2, length=4)
        >>> buffer, calls = ReplayBuffer(20, actions=2, frame=(1, 16, 16)), Counter()
        >>> buffer.begin(torch.randint(256, (1, 16, 16), dtype=torch.uint8))
        >>> for _ in range(9):
        ...     buffer.add(torch.rand(2), 0.0, torch.randint(256, (1, 16, 16), dtype=torch.uint8))
        >>> parts = {"CNN": agent.critic.encoder.convolutions, "Transformer": agent.transformer}
        >>> parts["policy"] = agent.actor.trunk
        >>> for name, part in parts.items():
        ...     _ = part.register_forward_hook(lambda *_, name=name: calls.update([name]))
        >>> agent.update(buffer, step=0, batch=4)
        >>> sorted(calls.items())
        [('CNN', 5), ('Transformer', 1), ('policy', 2)]
        >>> calls.clear()
        >>> _ = agent.act(buffer.stacks(buffer.observations()[-1:]))
        >>> sorted(calls.items())
        [('CNN', 1), ('policy', 1)]

        Nor could it be called as it was trained. It tells a moment from later ones too, and when an action is due these
        haven't come. (This second reason is an inference of these notes; the abstract gives none.)

        >>> features = torch.randn(1, 4, 8, requires_grad=True)
        >>> (gradient,) = torch.autograd.grad(agent.transformer(features)[0, 1].square().sum(), features)
        >>> gradient.any(dim=2).tolist()
        [[True, True, True, True]]

    Answers: m_curl.policy-network
        It acts. It reads the 50 features of the present observation, which come from the CNN and not from the
        Transformer, through two hidden layers of 1,024, and gives two numbers for each number of an action: mean and
        spread of a Gaussian, whose draw tanh squeezes into [-1, 1]. That is soft actor-critic's actor, the same as
        CURL's. (For Atari the method takes Rainbow instead, which has no actor: the best of a few actions, by their
        values.)

        >>> import torch
        >>> from reference_impl.curl import Convolutions, PixelEncoder
        >>> from reference_impl.m_curl import MCURL
        >>> with torch.device("meta"):  # sizes only
        ...     policy = MCURL(PixelEncoder(), actions=6).actor.trunk
        >>> [tuple(layer.weight.shape) for layer in policy if hasattr(layer, "weight")]
        [(1024, 50), (1024, 1024), (12, 1024)]
        >>> sum(numbers.numel() for numbers in policy.parameters())
        1114124

        Here is a small one at work. What goes in is what the encoder put out for this one observation:

        >>> _ = torch.manual_seed(0)
        >>> agent = MCURL(PixelEncoder(12, 50, Convolutions(3, 8, 2)), actions=6, hidden=16)
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

    def __init__(
        self,
        encoder: PixelEncoder,
        actions: int,
        hidden: int = 1024,
        rate: float = 1e-3,
        layers: int = 2,
        dropout: float = 0.1,
        batch: int = 16,
        length: int = 32,
        chosen: float = 0.5,
        warmup: int = 6000,
        **settings: float,
    ) -> None:
        super().__init__(encoder, actions, hidden, rate, **settings)
        self.batch, self.length, self.chosen = batch, length, chosen
        self.transformer = MomentTransformer(encoder.d, layers, dropout)
        groups = [
            {"params": encoder.parameters(), "lr": 2 * rate},
            {"params": self.transformer.parameters(), "lr": rate},
        ]
        self.contrast_optimiser = torch.optim.Adam(groups)
        rates = [lambda done: annealing(done, warmup), lambda done: warming(done, warmup)]
        self.schedule = LambdaLR(self.contrast_optimiser, rates)

    def masked_loss(
        self,
        seen: Num[Tensor, "b n channels rows columns"],
        chosen: Bool[Tensor, "b n"],
        whole: Num[Tensor, "b n channels rows columns"],
    ) -> Float[Tensor, ""]:
        r"""Return how hard it is to tell each chosen moment, as rebuilt, from all moments of the batch.

        Source: `update_cpc` of ctmr_sac.py
            $$-\frac{1}{\lvert M \rvert} \sum_{i \in M} \log
            \frac{\exp(x_i^\top k_i)}{\sum_{j=1}^{bn} \exp(x_i^\top k_j)}$$

        Args:
            seen: The windows with what is hidden.
            chosen: $M$.
            whole: The windows as they were. Their keys are fixed, and made by the encoder's average alone.

        Answers: m_curl.hidden-places-only
            The places that were chosen pay, each against the keys of *all* moments of all windows, chosen or not: as
            many as windows times moments. The moments beside it in its window are wrong keys too. Keys are made from
            the whole windows by the encoder's average, without the Transformer, and get no gradient.

            >>> import torch
            >>> from reference_impl.curl import Convolutions, PixelEncoder
            >>> from reference_impl.m_curl import MCURL
            >>> _ = torch.manual_seed(0)
            >>> agent = MCURL(PixelEncoder(12, 8, Convolutions(3, 8, 2)), actions=1, hidden=8, dropout=0.0)
            >>> whole, chosen = torch.randint(256, (3, 5, 3, 12, 12), dtype=torch.uint8), torch.rand(3, 5) < 0.5
            >>> rebuilt = []
            >>> _ = agent.transformer.register_forward_hook(lambda module, given, out: rebuilt.append(out))
            >>> loss = agent.masked_loss(whole, chosen, whole)
            >>> (pay,) = torch.autograd.grad(loss, rebuilt[0])
            >>> torch.equal(pay.any(dim=2), chosen), int(chosen.sum())
            (True, 7)
            >>> keys = agent.average.encoder(whole.flatten(0, 1))
            >>> by_hand = []
            >>> for window, place in chosen.nonzero().tolist():
            ...     likeness = keys @ rebuilt[0][window, place]
            ...     by_hand.append(likeness.logsumexp(dim=0) - likeness[5 * window + place])
            >>> keys.shape, keys.requires_grad, torch.allclose(loss, torch.stack(by_hand).mean())
            (torch.Size([15, 8]), False, True)
        """
        rebuilt = self.transformer(self.critic.encoder(seen.flatten(0, 1)).reshape(*chosen.shape, -1))
        with torch.no_grad():
            key = self.average.encoder(whole.flatten(0, 1))
        return info_nce(dot_score(rebuilt[chosen], key), chosen.flatten().nonzero().squeeze(1))

    def represent(self, buffer: ReplayBuffer, whole: Transitions, seen: Transitions) -> None:
        """Take one step: hide parts of windows, crop each moment by itself, and rebuild."""
        moments, size = windows(buffer, self.batch, self.length), self.critic.encoder.size
        others = buffer.stacks(drawn(buffer.observations(), self.batch * self.length))
        masked, chosen = hide(moments, others.reshape(moments.shape), self.chosen)
        crops = [random_crop(x.flatten(0, 1), size).reshape(*x.shape[:3], size, size) for x in (masked, moments)]
        descend(self.contrast_optimiser, self.masked_loss(crops[0], chosen, crops[1]))
        self.schedule.step()
