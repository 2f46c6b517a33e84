"""CURL against its equations in numpy, torch's distributions, a list that remembers every frame, and its departures."""

import copy
import inspect
import math
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution
from torch.nn import functional as F

from reference_impl.curl import (
    CURL,
    Actor,
    BilinearSimilarity,
    ConvEncoder,
    Critic,
    PixelEncoder,
    ReplayBuffer,
    SoftActorCritic,
    Transitions,
    center_crop,
    ema_update,
    info_nce,
    optimizer_step,
    random_crop,
    sample,
    squashed_gaussian,
    weight_init,
)

# Largest difference that is allowed, for each precision.
PRECISIONS = [(torch.float64, 1e-8), (torch.float32, 1e-5)]
# Queries and keys, features: one pair, and one feature, among them.
SIZES = [(1, 1), (1, 5), (2, 1), (7, 3), (128, 50)]


def close(one: Tensor | np.ndarray, other: Tensor | np.ndarray, tolerance: float) -> bool:
    return np.allclose(numpy_of(one), numpy_of(other), rtol=0, atol=tolerance)


def numpy_of(tensor: Tensor | np.ndarray) -> np.ndarray:
    return tensor.detach().double().numpy() if isinstance(tensor, Tensor) else tensor


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def tiny(squash: bool = True) -> PixelEncoder:
    """Return an encoder of three features, for one channel of 9 × 9."""
    return PixelEncoder(9, 3, ConvEncoder(1, 4, 2), squash)


def linear(trunk: nn.Sequential, index: int) -> nn.Linear:
    layer = trunk[index]
    assert isinstance(layer, nn.Linear)
    return layer


def set_constant(trunk: nn.Sequential, value: float) -> None:
    """Make a perceptron return this value for every input."""
    nn.init.zeros_(linear(trunk, 4).weight)
    nn.init.constant_(linear(trunk, 4).bias, value)


def randomize(network: nn.Module) -> None:
    """Draw gains and biases at random too: ones and zeros would hide a fault."""
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.4)


def pixels(*shape: int) -> Tensor:
    return torch.randint(256, shape, dtype=torch.uint8)


def fill_buffer(
    episodes: list[int], capacity: int = 40, frame: tuple[int, int, int] = (1, 11, 11), stack: int = 1
) -> ReplayBuffer:
    """Return a buffer with episodes of so many actions, in frames of noise."""
    buffer = ReplayBuffer(capacity, 2, frame, stack)
    for decisions in episodes:
        buffer.add_first(pixels(*frame))
        for left in range(decisions, 0, -1):
            buffer.add(torch.rand(2), float(torch.rand(())), pixels(*frame), terminal=left == 1)
    return buffer


# The contrast


def eq_4(similarities: np.ndarray, positive: list[int]) -> float:
    """Return Eq. 4 with its minus sign, one query and one key at a time."""
    losses = []
    for row, right in zip(similarities, positive, strict=True):
        others = sum(math.exp(row[j] - row[right]) for j in range(len(row)) if j != right)
        losses.append(-math.log(1 / (1 + others)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("size", SIZES)
def test_the_loss_is_eq_4(size: tuple[int, int], dtype: torch.dtype, tolerance: float) -> None:
    n, d = size
    similarity = BilinearSimilarity(d).to(dtype)
    query, key = (torch.randn(n, d, dtype=dtype) / math.sqrt(d) for _ in range(2))
    query.requires_grad_()
    logits = similarity(query, key)
    W = numpy_of(similarity.key.weight)
    by_hand = np.array([[numpy_of(q) @ W @ numpy_of(k) for k in key] for q in query])
    assert close(logits, by_hand, tolerance)
    loss = info_nce(logits, torch.arange(n))
    assert abs(loss.item() - eq_4(by_hand, list(range(n)))) < tolerance
    assert abs(loss.item() - F.cross_entropy(logits, torch.arange(n)).item()) < tolerance
    torch.autograd.backward(loss)
    exponentials = np.exp(by_hand - by_hand.max(axis=1, keepdims=True))
    wrong = (exponentials / exponentials.sum(axis=1, keepdims=True) - np.eye(n)) / n
    assert query.grad is not None
    assert similarity.key.weight.grad is not None
    assert close(query.grad, wrong @ numpy_of(key) @ W.T, tolerance)
    assert close(similarity.key.weight.grad, numpy_of(query).T @ wrong @ numpy_of(key), tolerance)


def test_a_query_s_own_key_may_be_any() -> None:
    logits, positive = torch.randn(4, 9, dtype=torch.float64), torch.tensor([3, 8, 0, 3])
    assert abs(info_nce(logits, positive).item() - eq_4(logits.numpy(), positive.tolist())) < 1e-12


def test_no_query_costs_nothing() -> None:
    logits = torch.zeros(0, 5, requires_grad=True)
    loss = info_nce(logits, torch.zeros(0, dtype=torch.long))
    torch.autograd.backward(loss)
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.isnan().any()


def test_similarities_in_the_hundreds_overflow_nothing() -> None:
    logits = torch.tensor([[900.0, 0.0], [0.0, -900.0]], requires_grad=True)
    loss = info_nce(logits, torch.arange(2))
    torch.autograd.backward(loss)
    assert loss.item() == 450
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_the_loss_falls_as_the_right_key_grows_likelier() -> None:
    logits = torch.randn(5, 5, requires_grad=True)
    loss = info_nce(logits, torch.arange(5))
    torch.autograd.backward(loss)
    assert loss > 0
    assert logits.grad is not None
    assert torch.equal(logits.grad.sign(), 1 - 2 * torch.eye(5))


def test_the_positive_is_one_of_the_classes_and_no_further_one() -> None:
    assert info_nce(torch.randn(1, 1), torch.tensor([0])).item() == 0
    assert info_nce(torch.zeros(8, 8), torch.arange(8)).item() == pytest.approx(math.log(8))


@given(st.integers(1, 9), st.integers(1, 6), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_shuffling_pairs_together_leaves_the_loss(n: int, d: int, seed: int) -> None:
    torch.manual_seed(seed)
    similarity, query, key, order = BilinearSimilarity(d).double(), *torch.randn(2, n, d).double(), torch.randperm(n)
    one = info_nce(similarity(query, key), torch.arange(n))
    other = info_nce(similarity(query[order], key[order]), torch.arange(n))
    assert torch.allclose(one, other, rtol=0, atol=1e-12)
    apart = info_nce(similarity(query, key[order]), order.argsort())
    assert torch.allclose(one, apart, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_the_contrast_compares_the_encoder_with_its_average() -> None:
    agent = CURL(tiny(), 2, hidden_dim=8)
    randomize(agent.critic_target)
    one, other = pixels(6, 1, 9, 9), pixels(6, 1, 9, 9)
    loss = agent.contrastive_loss(one, other)
    query, key = numpy_of(agent.critic.encoder(one)), numpy_of(agent.critic_target.encoder(other))
    assert abs(loss.item() - eq_4(query @ numpy_of(agent.similarity.key.weight) @ key.T, list(range(6)))) < 1e-8


# Crops


def numbered(b: int, channels: int, rows: int, columns: int) -> Tensor:
    """Return images whose every pixel tells example, channel, row and column."""
    return torch.arange(b * channels * rows * columns).reshape(b, channels, rows, columns)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 12), st.integers(1, 12), st.data())
@settings(max_examples=60, deadline=None)
def test_a_crop_is_a_slice(b: int, channels: int, rows: int, columns: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, min(rows, columns)))
    whole = numbered(b, channels, rows, columns)
    crops = random_crop(whole, size)
    for image, crop in zip(whole.numpy(), crops.numpy(), strict=True):
        (top,), (left,) = np.where(image[0] == crop[0, 0, 0])
        assert np.array_equal(crop, image[:, top : top + size, left : left + size])


def test_the_center_is_cut_as_in_numpy() -> None:
    whole = numbered(2, 3, 11, 8)
    assert np.array_equal(center_crop(whole, 5), whole.numpy()[:, :, 3:8, 1:6])
    assert torch.equal(center_crop(whole[..., :8, :], 8), whole[..., :8, :])


def test_every_offset_of_a_crop_occurs() -> None:
    corners = random_crop(numbered(1, 1, 100, 100).expand(6000, 1, 100, 100), 84)[:, 0, 0, 0]
    for offsets in (corners // 100, corners % 100):
        times = offsets.bincount(minlength=17)
        # 353 of each are expected; five standard deviations are 91
        assert len(times) == 17
        assert times.min() > 262
        assert times.max() < 444


def test_the_frames_of_a_stack_are_cut_alike_and_observations_apart() -> None:
    crops = random_crop(numbered(1, 1, 20, 20).expand(50, 9, 20, 20), 10)
    assert (crops == crops[:, :1]).all()
    assert len(torch.unique(crops[:, 0, 0, 0])) > 10


@pytest.mark.parametrize("crop", [random_crop, center_crop])
def test_a_crop_that_does_not_fit_is_refused(crop: Callable[[Tensor, int], Tensor]) -> None:
    with pytest.raises(ValueError, match="a crop of 9 does not fit into 12 × 8"):
        crop(numbered(1, 1, 12, 8), 9)


# The encoder


def convolved(maps: np.ndarray, kernel: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(maps, (3, 3), axis=(2, 3))[:, :, ::stride, ::stride]
    return np.maximum(np.einsum("bcijxy,fcxy->bfij", windows, kernel) + bias[:, None, None], 0)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("squash", [True, False])
@pytest.mark.parametrize(("b", "channels", "size", "layers"), [(1, 1, 3, 1), (2, 3, 11, 3), (3, 9, 12, 2)])
def test_the_encoder_is_its_sketch(
    b: int, channels: int, size: int, layers: int, squash: bool, dtype: torch.dtype, tolerance: float
) -> None:
    encoder = PixelEncoder(size, 5, ConvEncoder(channels, 4, layers), squash)
    randomize(encoder)
    encoder.to(dtype)
    seen = pixels(b, channels, size, size)
    maps = numpy_of(seen) / 255
    for layer in range(layers):
        convolution = encoder.convs[2 * layer]
        assert isinstance(convolution, nn.Conv2d)
        assert convolution.bias is not None
        maps = convolved(maps, numpy_of(convolution.weight), numpy_of(convolution.bias), 1 if layer else 2)
    hidden = maps.reshape(b, -1) @ numpy_of(encoder.fc.weight).T + numpy_of(encoder.fc.bias)
    spread = np.sqrt(hidden.var(axis=1, keepdims=True) + 1e-5)
    features = (hidden - hidden.mean(axis=1, keepdims=True)) / spread
    features = features * numpy_of(encoder.ln.weight) + numpy_of(encoder.ln.bias)
    assert close(encoder(seen), np.tanh(features) if squash else features, tolerance)


@pytest.mark.usefixtures("float64")
def test_the_encoder_s_gradients_are_those_of_differences() -> None:
    encoder = tiny()
    randomize(encoder)
    seen = (255 * torch.rand(2, 1, 9, 9)).requires_grad_()
    assert torch.autograd.gradcheck(encoder, (seen,), eps=1e-4, atol=1e-6)
    target = torch.randn(2, 3)
    torch.autograd.backward((encoder(seen) * target).sum())
    for parameter in encoder.parameters():
        at = tuple(0 for _ in parameter.shape)
        ends = []
        for step in (1e-6, -2e-6):
            parameter.data[at] += step
            ends.append((encoder(seen) * target).sum().item())
        parameter.data[at] += 1e-6
        assert parameter.grad is not None
        assert abs(parameter.grad[at].item() - (ends[0] - ends[1]) / 2e-6) < 1e-6


def test_the_published_encoder_has_its_count() -> None:
    encoder = PixelEncoder()
    assert count(encoder) == 1_990_518
    assert count(encoder.convs) == 30_368
    assert count(BilinearSimilarity()) == 2_500
    maps, sides = torch.zeros(1, 9, 84, 84), []
    for layer in encoder.convs:
        maps = layer(maps)
        sides.append(maps.shape[2])
    assert sides == [41, 41, 39, 39, 37, 37, 35, 35]


def test_the_encoder_has_no_hidden_layer() -> None:
    encoder = PixelEncoder()
    assert [layer.weight.shape for layer in encoder.modules() if isinstance(layer, nn.Linear)] == [(50, 32 * 35 * 35)]


def test_features_end_in_tanh_unless_that_is_switched_off() -> None:
    squashed, published = tiny(), tiny(squash=False)
    randomize(squashed)
    published.load_state_dict(squashed.state_dict())
    seen = pixels(4, 1, 9, 9)
    assert torch.equal(squashed(seen), published(seen).tanh())
    with torch.no_grad():
        published.ln.weight.mul_(10)
    assert published(seen).abs().max() > 1


def test_pixels_may_be_bytes_or_numbers() -> None:
    encoder, seen = tiny(), pixels(2, 1, 9, 9)
    assert torch.equal(encoder(seen), encoder(seen.float()))


def test_too_few_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="image_size 8 is too small for 4 convolutions"):
        PixelEncoder(8)


def test_initialization_is_orthogonal() -> None:
    agent = CURL(PixelEncoder(12, 6, ConvEncoder(3, 8, 2)), 2, hidden_dim=16)
    for layer in (layer for part in (agent.actor, agent.critic) for layer in part.modules()):
        if isinstance(layer, nn.Linear):
            short = layer.weight if layer.out_features <= layer.in_features else layer.weight.T
            assert close(short @ short.T, torch.eye(len(short)), 1e-5)
            assert all(not bias.any() for name, bias in layer.named_parameters() if name == "bias")
        if isinstance(layer, nn.Conv2d):
            center = layer.weight[:, :, 1, 1]
            short = center if layer.out_channels <= layer.in_channels else center.T
            assert close(short @ short.T, 2 * torch.eye(len(short)), 1e-5)
            assert layer.weight.count_nonzero() == center.count_nonzero()
            assert all(not bias.any() for name, bias in layer.named_parameters() if name == "bias")
    W = agent.similarity.key.weight
    assert W.min() >= 0
    assert W.max() <= 1
    assert 0.3 < W.mean() < 0.7


# The policy


def distribution(mean: Tensor, log_std: Tensor) -> TransformedDistribution:
    return TransformedDistribution(Independent(Normal(mean, log_std.exp()), 1), [TanhTransform(cache_size=1)])


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize(("b", "actions"), [(1, 1), (5, 1), (1, 6), (7, 3)])
def test_the_log_density_is_that_of_torch_s_distributions(
    b: int, actions: int, dtype: torch.dtype, tolerance: float
) -> None:
    begun = [torch.randn(b, actions, dtype=dtype) / 2 for _ in range(2)]
    leaves = [leaf.clone().requires_grad_() for leaf in begun * 2]
    noise = torch.randn(b, actions, dtype=dtype)
    action, log_p = squashed_gaussian(leaves[0], leaves[1], noise)
    theirs = distribution(leaves[2], leaves[3])
    transform = theirs.transforms[0]
    their_action = transform(leaves[2] + leaves[3].exp() * noise)
    assert close(action, their_action, tolerance)
    their_log_p = theirs.log_prob(their_action)  # type: ignore[no-untyped-call]
    assert close(log_p, their_log_p, tolerance)
    weight = torch.randn(b, dtype=dtype)
    torch.autograd.backward((log_p * weight + action.sum(dim=1)).sum())
    torch.autograd.backward((their_log_p * weight + their_action.sum(dim=1)).sum())
    for ours, reference in ((leaves[0], leaves[2]), (leaves[1], leaves[3])):
        assert ours.grad is not None
        assert reference.grad is not None
        assert close(ours.grad, reference.grad, tolerance)


def test_the_log_density_is_exact_where_tanh_saturates() -> None:
    u = torch.tensor([-30.0, -12.0, 0.0, 12.0, 30.0], dtype=torch.float64)
    zero = torch.zeros(5, 1, dtype=torch.float64)
    log_p = squashed_gaussian(u[:, None], zero, zero)[1]
    # for large |u|, 1 - tanh² u = 4 exp(-2|u|) / (1 + exp(-2|u|))²
    by_hand = [
        -math.log(2 * math.pi) / 2 - math.log(4) + 2 * abs(x) + 2 * math.log1p(math.exp(-2 * abs(x)))
        for x in u.tolist()
    ]
    assert close(log_p, np.array(by_hand), 1e-12)
    published = -math.log(2 * math.pi) / 2 - torch.log(1 - u.tanh().square() + 1e-6)
    assert (log_p - published).abs().tolist()[2] < 1e-5
    assert (log_p - published)[0] > 40


def test_the_standard_deviation_stays_within_its_bounds() -> None:
    actor = Actor(tiny(), 2, hidden_dim=8)
    seen = pixels(3, 1, 9, 9)
    for bias, log_std in ((-1e3, -10.0), (0.0, -4.0), (1e3, 2.0)):
        set_constant(actor.trunk, bias)
        assert close(actor(seen)[1], torch.full((3, 2), log_std), 1e-5)


def test_acting_draws_only_to_explore() -> None:
    agent = CURL(tiny(), 2, hidden_dim=8)
    whole = pixels(5, 1, 11, 11)
    assert torch.equal(agent.act(whole), agent.act(whole))
    assert not torch.equal(agent.act(whole, explore=True), agent.act(whole, explore=True))
    assert torch.equal(agent.act(whole), agent.actor(whole[:, :, 1:10, 1:10])[0].tanh())
    assert agent.act(whole).shape == (5, 2)
    assert not agent.act(whole).requires_grad


# Soft actor-critic


def through(trunk: nn.Sequential, x: np.ndarray) -> np.ndarray:
    """Return the output of a perceptron, in numpy."""
    for index in (0, 2, 4):
        x = x @ numpy_of(linear(trunk, index).weight).T + numpy_of(linear(trunk, index).bias)
        x = np.maximum(x, 0) if index < 4 else x
    return x


def q_values(critic: Critic, seen: Tensor, action: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    known = np.concatenate([numpy_of(critic.encoder(seen)), action], axis=1)
    return through(critic.Q1, known)[:, 0], through(critic.Q2, known)[:, 0]


def act(actor: Actor, seen: Tensor, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, spread = np.split(through(actor.trunk, numpy_of(actor.encoder(seen))), 2, axis=1)
    std = np.exp(-10 + (2 + 10) / 2 * (np.tanh(spread) + 1))
    u = mean + std * noise
    density = np.exp(-0.5 * ((u - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi)) / (1 - np.tanh(u) ** 2)
    return np.tanh(u), np.log(density).sum(axis=1)


@pytest.fixture
def agent(float64: None, monkeypatch: pytest.MonkeyPatch) -> CURL:
    """Return an agent whose every network is its own, and whose noise is always the same."""
    agent = CURL(tiny(), 2, hidden_dim=8, init_temperature=0.3)
    for network in (agent.actor, agent.critic, agent.critic_target):
        randomize(network)
    noise = torch.randn(6, 2)
    monkeypatch.setattr(torch, "randn_like", lambda mean: noise[: len(mean)])
    return agent


def six(size: int = 9) -> Transitions:
    terminal = torch.tensor([False, True, False, False, True, False])
    return Transitions(pixels(6, 1, size, size), torch.rand(6, 2), torch.randn(6), pixels(6, 1, size, size), terminal)


@pytest.mark.parametrize("b", [1, 6])
def test_the_critic_s_loss_is_eqs_1_and_2(agent: CURL, b: int) -> None:
    seen = six()
    seen = replace(seen, **{name: getattr(seen, name)[:b] for name in vars(seen)})
    noise = numpy_of(torch.randn_like(torch.empty(b, 2)))
    action, log_p = act(agent.actor, seen.next_obs, noise)
    target = np.minimum(*q_values(agent.critic_target, seen.next_obs, action)) - 0.3 * log_p
    goal = numpy_of(seen.reward) + 0.99 * (1 - numpy_of(seen.terminal)) * target
    values = q_values(agent.critic, seen.obs, numpy_of(seen.action))
    expected = sum(((value - goal) ** 2).mean() for value in values)
    loss = agent.critic_loss(seen)
    assert abs(loss.item() - expected) < 1e-8
    torch.autograd.backward(loss)
    # the last bias adds to every value: its gradient is twice the mean error
    for trunk, value in zip((agent.critic.Q1, agent.critic.Q2), values, strict=True):
        gradient = linear(trunk, 4).bias.grad
        assert gradient is not None
        assert abs(gradient.item() - 2 * (value - goal).mean()) < 1e-8


def test_the_actor_s_loss_is_eq_3_and_the_temperature_s_keeps_the_entropy(agent: CURL) -> None:
    seen = pixels(6, 1, 9, 9)
    action, log_p = act(agent.actor, seen, numpy_of(torch.randn_like(torch.empty(6, 2))))
    expected = (0.3 * log_p - np.minimum(*q_values(agent.critic, seen, action))).mean()
    actor_loss, alpha_loss = agent.actor_losses(seen)
    assert abs(actor_loss.item() - expected) < 1e-8
    # an action has two numbers, so the target is an entropy of -2
    assert abs(alpha_loss.item() - 0.3 * (2 - log_p).mean()) < 1e-8
    torch.autograd.backward(alpha_loss)
    assert agent.log_alpha.grad is not None
    assert abs(agent.log_alpha.grad.item() - alpha_loss.item()) < 1e-8
    assert all(parameter.grad is None for parameter in agent.actor.parameters())


def test_the_actor_lowers_what_eq_3_raises(agent: CURL) -> None:
    set_constant(agent.critic.Q1, 9.0)
    set_constant(agent.critic.Q2, 8.0)
    agent.log_alpha.data.fill_(-math.inf)
    assert agent.actor_losses(pixels(6, 1, 9, 9))[0].item() == pytest.approx(-8.0)


def test_the_gradients_of_the_losses_are_those_of_differences(agent: CURL) -> None:
    seen = six()
    losses: dict[str, Callable[[], Tensor]] = {
        "critic": lambda: agent.critic_loss(seen),
        "actor": lambda: agent.actor_losses(seen.obs)[0],
        "contrast": lambda: agent.contrastive_loss(seen.obs, seen.next_obs),
    }
    moved = {
        # the target's policy sees through the critic's convolutions, and the target is held fixed: these stay out
        "critic": nn.ModuleList([agent.critic.Q1, agent.critic.Q2, agent.critic.encoder.fc]),
        "actor": agent.actor.trunk,
        "contrast": nn.ModuleList([agent.critic.encoder, agent.similarity]),
    }
    for name, loss in losses.items():
        parameters = list(moved[name].parameters())
        gradients = torch.autograd.grad(loss(), parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            at = np.unravel_index(int(gradient.abs().argmax()), gradient.shape)
            ends = []
            for step in (1e-6, -2e-6):
                parameter.data[at] += step
                ends.append(loss().item())
            parameter.data[at] += 1e-6
            assert abs(gradient[at].item() - (ends[0] - ends[1]) / 2e-6) < 1e-5 * max(1, abs(gradient[at].item()))


def reached(agent: SoftActorCritic, loss: Tensor) -> set[str]:
    names, parameters = zip(*agent.named_parameters(), strict=True)
    moving = [(name, p) for name, p in zip(names, parameters, strict=True) if p.requires_grad]
    gradients = torch.autograd.grad(loss, [p for _, p in moving], allow_unused=True)
    return {name.rsplit(".", 1)[0] for (name, _), g in zip(moving, gradients, strict=True) if g is not None and g.any()}


def test_only_critic_and_contrast_reach_the_convolutions(agent: CURL) -> None:
    seen = six()
    convolutions = {"critic.encoder.convs.0", "critic.encoder.convs.2"}
    # named_parameters names what is shared once, by its first owner
    shared = {"actor.encoder.convs.0", "actor.encoder.convs.2"}
    actor_loss, alpha_loss = agent.actor_losses(seen.obs)
    assert shared <= reached(agent, agent.critic_loss(seen))
    assert shared <= reached(agent, agent.contrastive_loss(seen.obs, seen.obs))
    assert not (shared | convolutions) & reached(agent, actor_loss)
    assert reached(agent, alpha_loss) == {"log_alpha"}
    assert not any(p.requires_grad for p in agent.critic_target.parameters())


def test_actor_and_critic_share_convolutions_and_nothing_else() -> None:
    agent = CURL(tiny(), 2, hidden_dim=8)
    actor, critic, average = (
        {id(p) for p in part.parameters()} for part in (agent.actor, agent.critic, agent.critic_target)
    )
    assert actor & critic == {id(p) for p in agent.critic.encoder.convs.parameters()}
    assert not average & (actor | critic)
    own = {id(p) for group in agent.actor_optimizer.param_groups for p in group["params"]}
    assert own == actor - critic


@given(st.floats(0, 1), st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_a_moving_average_closes_a_fraction_tau_of_the_gap(tau: float, steps: int) -> None:
    one, other = nn.Linear(2, 3).double(), nn.Linear(2, 3).double()
    start = one.weight.detach().clone()
    for _ in range(steps):
        ema_update(one, other, tau)
    m = (1 - tau) ** steps
    assert close(one.weight, m * start + (1 - m) * other.weight.detach(), 1e-12)


def test_a_moving_average_is_of_a_network_of_the_same_shape() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ema_update(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), nn.Linear(2, 2), 0.5)


def test_moving_averages_have_their_own_rates() -> None:
    # without contrast nothing moves after the averages have
    agent = SoftActorCritic(tiny(), 2, hidden_dim=8, lr=0.01, tau=0.25, encoder_tau=0.5)
    before = copy.deepcopy(agent.critic_target)
    agent.update(fill_buffer([9]), step=0, batch_size=4)
    shares = {"Q1.0.weight": 0.25, "Q2.0.weight": 0.25, "encoder.fc.weight": 0.5}
    for name, tau in shares.items():
        old, new, network = (part.state_dict()[name] for part in (before, agent.critic_target, agent.critic))
        assert close(new, old + tau * (network - old), 1e-6)
        assert not torch.equal(old, new)


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed(before: dict[str, Tensor], module: nn.Module) -> set[str]:
    return {name.split(".")[0] for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}


def test_actor_temperature_and_targets_are_updated_at_every_second_step() -> None:
    agent = CURL(tiny(), 2, hidden_dim=8)
    buffer = fill_buffer([9, 9])
    before = state(agent)
    trunk = state(agent.actor.trunk)
    agent.update(buffer, step=1, batch_size=4)
    assert changed(before, agent) == {"actor", "critic", "similarity"}  # of the actor, the shared convolutions
    assert not changed(trunk, agent.actor.trunk)
    before = state(agent)
    agent.update(buffer, step=2, batch_size=4)
    assert changed(before, agent) == {"actor", "critic", "similarity", "critic_target", "log_alpha"}
    assert changed(trunk, agent.actor.trunk)


def test_the_target_encoder_is_updated_before_the_contrastive_step() -> None:
    agent = CURL(tiny(), 2, hidden_dim=8, lr=0.01, encoder_tau=1.0)
    agent.update(fill_buffer([9]), step=0, batch_size=4)
    mine, averaged = (part.encoder.fc.weight for part in (agent.critic, agent.critic_target))
    assert not torch.equal(mine, averaged)  # the contrast has moved the encoder since


def test_critic_actor_and_query_see_the_same_crop_and_the_key_another(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = CURL(tiny(), 2, hidden_dim=8)
    calls: dict[str, Tensor] = {}
    critic_loss, actor_losses, contrastive_loss = agent.critic_loss, agent.actor_losses, agent.contrastive_loss
    monkeypatch.setattr(agent, "critic_loss", lambda seen: [calls.update(critic=seen.obs), critic_loss(seen)][1])
    monkeypatch.setattr(agent, "actor_losses", lambda seen: [calls.update(actor=seen), actor_losses(seen)][1])
    monkeypatch.setattr(
        agent, "contrastive_loss", lambda q, k: [calls.update(query=q, key=k), contrastive_loss(q, k)][1]
    )
    agent.update(fill_buffer([9, 9]), step=0, batch_size=16)
    assert torch.equal(calls["critic"], calls["actor"])
    assert torch.equal(calls["critic"], calls["query"])
    assert not torch.equal(calls["query"], calls["key"])


def numbered_frames(transitions: int) -> ReplayBuffer:
    """Return an episode whose frames hold their number, and beside it the index of each pixel."""
    buffer, places = ReplayBuffer(100, 1, (2, 11, 11), frame_stack=1), torch.arange(121).reshape(11, 11)
    frames = [torch.stack([torch.full((11, 11), number), places]).to(torch.uint8) for number in range(transitions + 1)]
    buffer.add_first(frames[0])
    for number in range(1, transitions + 1):
        buffer.add(torch.tensor([number / 100]), float(number), frames[number])
    return buffer


@pytest.mark.parametrize("kind", [SoftActorCritic, CURL])
def test_an_update_gives_each_loss_its_own_observations(
    kind: type[SoftActorCritic], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = kind(PixelEncoder(9, 3, ConvEncoder(2, 4, 2)), 1, hidden_dim=8)
    seen: dict[str, Transitions | Tensor] = {}
    critic_loss, actor_losses = agent.critic_loss, agent.actor_losses
    monkeypatch.setattr(agent, "critic_loss", lambda batch: [seen.update(critic=batch), critic_loss(batch)][1])
    monkeypatch.setattr(agent, "actor_losses", lambda obs: [seen.update(actor=obs), actor_losses(obs)][1])
    if isinstance(agent, CURL):
        loss = agent.contrastive_loss
        monkeypatch.setattr(agent, "contrastive_loss", lambda q, k: [seen.update(query=q, key=k), loss(q, k)][1])
    agent.update(numbered_frames(30), step=0, batch_size=50)
    batch = seen.pop("critic")
    assert isinstance(batch, Transitions)
    number = batch.obs[:, 0, 0, 0]
    assert len(number) == 50
    assert torch.equal(batch.next_obs[:, 0, 0, 0], number + 1)
    assert torch.equal(batch.reward, number + 1.0)
    assert torch.allclose(batch.action[:, 0], (number + 1) / 100)
    for obs in seen.values():
        assert isinstance(obs, Tensor)
        assert torch.equal(obs[:, 0, 0, 0], number)
    # The first pixel tells where a crop was cut: at one of nine places. Actor and query see the critic's crop.
    corners = [obs[:, 1, 0, 0] for obs in (batch.obs, batch.next_obs, *seen.values()) if isinstance(obs, Tensor)]
    assert all(len(corner.unique()) > 5 for corner in corners)
    same = [torch.equal(corners[0], corner) for corner in corners]
    assert same == [True, False, True, True, False][: len(corners)]


def steps_taken(agent: SoftActorCritic, step: int) -> dict[str, int]:
    """Return how many steps each optimizer takes in an update."""
    taken = {name: 0 for name in vars(agent) if name.endswith("_optimizer")}
    for name in taken:
        optimizer = getattr(agent, name)
        optimizer.register_step_post_hook(lambda *_, name=name: taken.update({name: taken[name] + 1}))
    agent.update(fill_buffer([9]), step, batch_size=4)
    return taken


def test_each_optimizer_steps_once_an_update() -> None:
    every = {"critic_optimizer": 1, "cpc_optimizer": 1}
    assert steps_taken(CURL(tiny(), 2, hidden_dim=8), step=0) == {
        **every,
        "actor_optimizer": 1,
        "log_alpha_optimizer": 1,
    }
    assert steps_taken(CURL(tiny(), 2, hidden_dim=8), step=1) == {
        **every,
        "actor_optimizer": 0,
        "log_alpha_optimizer": 0,
    }


def test_a_step_forgets_the_gradients_before_it() -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    for _ in range(3):
        optimizer_step(optimizer, weight.sum())
    assert weight.item() == -3


def test_optimizers_move_what_their_losses_are_of_at_the_rates_of_table_3() -> None:
    agent = CURL(tiny(), 2, hidden_dim=8, lr=0.03)
    own = [agent.actor.encoder.fc, agent.actor.encoder.ln, agent.actor.trunk]
    moved = {
        "actor_optimizer": nn.ModuleList(own).parameters(),
        "critic_optimizer": agent.critic.parameters(),
        "cpc_optimizer": nn.ModuleList([agent.critic.encoder, agent.similarity]).parameters(),
        "log_alpha_optimizer": [agent.log_alpha],
    }
    for name, parameters in moved.items():
        (group,) = getattr(agent, name).param_groups
        assert {id(p) for p in group["params"]} == {id(p) for p in parameters}, name
        assert (group["lr"], group["betas"]) == (
            (1e-4, (0.5, 0.999)) if name == "log_alpha_optimizer" else (0.03, (0.9, 0.999))
        )


def test_the_defaults_are_those_of_table_3() -> None:
    agent = CURL(tiny(), 2)
    assert agent.log_alpha.exp().item() == pytest.approx(0.1)
    assert (agent.discount, agent.tau, agent.encoder_tau) == (0.99, 0.01, 0.05)
    assert linear(agent.actor.trunk, 2).weight.shape == linear(agent.critic.Q1, 2).weight.shape == (1024, 1024)
    assert agent.critic_optimizer.param_groups[0]["lr"] == agent.cpc_optimizer.param_groups[0]["lr"] == 1e-3
    assert inspect.signature(agent.update).parameters["batch_size"].default == 512
    assert agent.target_entropy == -2
    other = CURL(tiny(), 2, hidden_dim=8, discount=0.5, tau=0.2, encoder_tau=0.3, init_temperature=0.4)
    assert (other.discount, other.tau, other.encoder_tau) == (0.5, 0.2, 0.3)
    assert other.log_alpha.exp().item() == pytest.approx(0.4)


def test_the_q_functions_and_the_targets_are_networks_of_their_own() -> None:
    agent = CURL(tiny(), 2, hidden_dim=8)
    first, second = linear(agent.critic.Q1, 0).weight, linear(agent.critic.Q2, 0).weight
    assert not torch.equal(first, second)
    assert torch.equal(first, linear(agent.critic_target.Q1, 0).weight)
    assert first is not linear(agent.critic_target.Q1, 0).weight


def test_the_actor_s_encoder_has_the_tanh_of_the_critic_s() -> None:
    for squash in (True, False):
        assert CURL(tiny(squash), 2, hidden_dim=8).actor.encoder.squash == squash


def test_the_contrastive_update_steps_the_encoder_once() -> None:
    agent = CURL(tiny(), 2, hidden_dim=8, lr=0.01)
    before = agent.critic.encoder.fc.weight.detach().clone()
    whole = six(11)
    seen = replace(whole, obs=whole.obs[:, :, :9, :9], next_obs=whole.next_obs[:, :, :9, :9])
    agent.update_representation(fill_buffer([9]), whole, seen)
    moved = (agent.critic.encoder.fc.weight - before).abs().max().item()
    assert moved == pytest.approx(0.01, rel=1e-3)  # Adam's first step is the rate, whatever the gradient


def test_two_optimizers_of_one_rate_are_one_of_twice_the_rate() -> None:
    one, two = nn.Linear(4, 3).double(), nn.Linear(4, 3).double()
    two.load_state_dict(one.state_dict())
    doubled = torch.optim.Adam(one.parameters(), 0.02)
    twins = [torch.optim.Adam(two.parameters(), 0.01) for _ in range(2)]
    for _ in range(20):
        x = torch.randn(5, 4).double()
        optimizer_step(doubled, one(x).square().sum())
        twins[0].zero_grad()
        torch.autograd.backward(two(x).square().sum())
        for twin in twins:
            twin.step()
    assert close(one.weight, two.weight, 1e-12)


def test_learning_finds_the_rewarded_action() -> None:
    agent = CURL(tiny(), 1, hidden_dim=32, lr=0.01, init_temperature=0.01)
    buffer = ReplayBuffer(200, 1, (1, 11, 11), frame_stack=1)
    for _ in range(60):
        action = 2 * torch.rand(1) - 1
        buffer.add_first(pixels(1, 11, 11))
        buffer.add(action, -float((action - 0.5).square()), pixels(1, 11, 11), terminal=True)
    for step in range(100):
        agent.update(buffer, step, batch_size=32)
    assert (agent.act(pixels(20, 1, 11, 11)) - 0.5).abs().max() < 0.35


def test_without_an_auxiliary_loss_it_is_soft_actor_critic() -> None:
    agents = []
    for kind in (SoftActorCritic, CURL):
        torch.manual_seed(1)
        agents.append(kind(tiny(), 2, hidden_dim=8))
    assert set(state(agents[1])) - set(state(agents[0])) == {"similarity.key.weight"}
    buffer = fill_buffer([9])
    for agent in agents:
        torch.manual_seed(2)
        agent.update(buffer, step=0, batch_size=4)
    assert torch.equal(*(linear(agent.actor.trunk, 0).weight for agent in agents))
    assert not torch.equal(agents[0].critic.encoder.fc.weight, agents[1].critic.encoder.fc.weight)


# The buffer


class FrameStack:
    """Remember every observation that an agent saw: a deque that an episode's first frame fills."""

    def __init__(self, stack: int) -> None:
        self.frames: deque[int] = deque(maxlen=stack)
        self.steps: list[tuple[list[int], float, list[int], bool]] = []
        self.seen: list[list[int]] = []

    def begin(self, frame: int) -> None:
        self.frames.extend([frame] * (self.frames.maxlen or 0))
        self.seen.append(list(self.frames))

    def add(self, frame: int, terminal: bool) -> None:
        before = list(self.frames)
        self.frames.append(frame)
        self.steps.append((before, frame / 8, list(self.frames), terminal))
        self.seen.append(list(self.frames))


def replay(capacity: int, stack: int, episodes: list[int]) -> tuple[ReplayBuffer, FrameStack, int]:
    """Play episodes whose frames hold their own number, to a buffer and to one that remembers everything."""
    buffer, everything, frame = ReplayBuffer(capacity, 1, (1, 1, 2), stack), FrameStack(stack), 0
    for decisions in episodes:
        buffer.add_first(torch.full((1, 1, 2), frame, dtype=torch.uint8))
        everything.begin(frame)
        frame += 1
        for left in range(decisions, 0, -1):
            terminal = left == 1 and decisions % 2 == 0  # every other episode runs out of time
            buffer.add(torch.tensor([frame / 4]), frame / 8, torch.full((1, 1, 2), frame, dtype=torch.uint8), terminal)
            everything.add(frame, terminal)
            frame += 1
    return buffer, everything, frame


@given(st.integers(1, 4), st.integers(1, 12), st.lists(st.integers(0, 9), min_size=1, max_size=12))
@settings(max_examples=120, deadline=None)
def test_the_buffer_returns_exactly_what_was_seen(stack: int, more: int, episodes: list[int]) -> None:
    capacity = stack + more
    buffer, everything, frames = replay(capacity, stack, episodes)
    oldest = max(0, frames - capacity)
    slots = buffer.transition_indices()
    found = {
        (tuple(before), reward, tuple(after), terminal)
        for before, reward, after, terminal in zip(
            buffer.stack_frames((slots - 1) % capacity)[:, :, 0, 0].tolist(),
            buffer.reward[slots].tolist(),
            buffer.stack_frames(slots)[:, :, 0, 0].tolist(),
            buffer.terminal[slots].tolist(),
            strict=True,
        )
    }
    kept = [step for step in everything.steps if step[0][0] >= oldest]
    assert found == {(tuple(before), reward, tuple(after), terminal) for before, reward, after, terminal in kept}
    assert len(slots) == len(kept)
    assert torch.equal(2 * buffer.reward[slots], buffer.action[slots, 0])
    observed = buffer.stack_frames(buffer.observation_indices())[:, :, 0, 0].tolist()
    assert sorted(observed) == [seen for seen in everything.seen if seen[0] >= oldest]


def test_a_sample_is_made_of_transitions() -> None:
    buffer, everything, _ = replay(12, 3, [4, 0, 5, 2])
    sample = buffer.sample(200)
    steps = {(tuple(before), tuple(after)): (reward, terminal) for before, reward, after, terminal in everything.steps}
    for i in range(200):
        before, after = (tuple(x[i, :, 0, 0].tolist()) for x in (sample.obs, sample.next_obs))
        assert steps[before, after] == (sample.reward[i].item(), sample.terminal[i].item())
        assert sample.action[i].item() == 2 * sample.reward[i].item()
    assert len(torch.unique(sample.reward)) == len(buffer.transition_indices())
    assert sample.obs.shape == (200, 3, 1, 2)
    assert sample.obs.dtype == torch.uint8


def test_an_episode_begins_with_copies_of_its_first_frame() -> None:
    buffer = replay(20, 3, [3, 3])[0]
    stacks = buffer.stack_frames(buffer.observation_indices())[:, :, 0, 0].tolist()
    assert stacks == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3], [4, 4, 4], [4, 4, 5], [4, 5, 6], [5, 6, 7]]


def test_memory_is_bounded_and_as_stated() -> None:
    buffer = fill_buffer([3])
    before = buffer.nbytes
    for _ in range(5):
        buffer.add_first(pixels(1, 11, 11))
        for _ in range(30):
            buffer.add(torch.rand(2), 0.0, pixels(1, 11, 11))
    assert buffer.nbytes == before == 40 * (121 + 4 + 2 * 4 + 4 + 1)


def test_a_buffer_of_frames_takes_a_sixth_of_one_of_stacks() -> None:
    with torch.device("meta"):
        buffer = ReplayBuffer(100_000, action_dim=6)
    assert buffer.nbytes == 100_000 * (30_009 + 4 * 6) == 3_003_300_000
    stacks = 100_000 * 2 * 9 * 100 * 100
    assert 5.99 < stacks / buffer.nbytes < 6


def test_a_buffer_that_holds_no_transition_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity 3 is too small for a transition between stacks of 3"):
        ReplayBuffer(3, 1)
    buffer = ReplayBuffer(9, 2, (1, 2, 2))
    with pytest.raises(ValueError, match="call add_first before add: the buffer holds 0 frames"):
        buffer.add(torch.zeros(2), 0.0, pixels(1, 2, 2))
    buffer.add_first(pixels(1, 2, 2))
    with pytest.raises(ValueError, match="cannot sample 4 of 0 indices"):
        buffer.sample(4)


def test_draws_are_even() -> None:
    times = sample(torch.tensor([2, 5, 7]), 3000).bincount(minlength=8)
    assert times.nonzero().squeeze(1).tolist() == [2, 5, 7]
    assert times[[2, 5, 7]].min() > 850


def test_weight_init_leaves_norms_alone() -> None:
    encoder = tiny()
    nn.init.constant_(encoder.ln.weight, 3.0)
    weight_init(encoder)
    assert (encoder.ln.weight == 3).all()
    assert not encoder.ln.bias.any()


def test_the_widths_are_those_of_table_3_by_default() -> None:
    for agent in (CURL(PixelEncoder(), 1), SoftActorCritic(PixelEncoder(), 1)):
        widths = {linear(trunk, 0).out_features for trunk in (agent.actor.trunk, agent.critic.Q1)}
        assert widths == {1024}
        assert (agent.discount, agent.tau, agent.encoder_tau) == (0.99, 0.01, 0.05)
        assert agent.log_alpha.exp().item() == pytest.approx(0.1)
        optimizers = agent.actor_optimizer, agent.critic_optimizer, agent.log_alpha_optimizer
        assert [optimizer.defaults["lr"] for optimizer in optimizers] == [1e-3, 1e-3, 1e-4]
        assert agent.log_alpha_optimizer.defaults["betas"] == (0.5, 0.999)
        assert agent.critic.encoder.squash
    assert linear(Actor(PixelEncoder(), 1).trunk, 0).out_features == 1024
    assert linear(Critic(PixelEncoder(), 1).Q1, 0).out_features == 1024
    assert inspect.signature(CURL.update).parameters["batch_size"].default == 512


def test_an_actor_reaches_the_convolutions_unless_it_is_said_otherwise() -> None:
    actor = Actor(tiny(), 2, hidden_dim=8)
    for mean, _ in (actor(pixels(2, 1, 9, 9)), actor.sample(pixels(2, 1, 9, 9))):
        torch.autograd.backward(mean.sum())
        assert all(parameter.grad is not None for parameter in actor.encoder.convs.parameters())
        actor.zero_grad()


def test_a_transition_is_not_terminal_unless_it_is_said_otherwise() -> None:
    buffer = ReplayBuffer(9, 2, (1, 2, 2))
    buffer.add_first(pixels(1, 2, 2))
    buffer.add(torch.zeros(2), 0.0, pixels(1, 2, 2))
    assert not buffer.terminal.any()


def test_observations_are_stacked_on_the_device_of_the_buffer() -> None:
    with torch.device("meta"):
        buffer, indices = ReplayBuffer(9, 2, (1, 2, 2)), torch.arange(4)
    assert {one.device.type for one in (buffer.stack_frames(indices), buffer.num_older())} == {"meta"}
