"""M-CURL against loops in numpy, torch's encoder layer, a list of all windows, and its departures."""

import copy
import inspect
import math
from collections import Counter
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from reference_impl.curl import CURL, ConvEncoder, PixelEncoder, ReplayBuffer, Transitions, optimizer_step
from reference_impl.layers.positions import sinusoidal_positions
from reference_impl.m_curl import (
    MCURL,
    EncoderLayer,
    MCURLConfig,
    WindowTransformer,
    decay_schedule,
    mask_timesteps,
    sample_windows,
    warmup_schedule,
)

# Largest difference that is allowed, for each precision.
PRECISIONS = [(torch.float64, 1e-8), (torch.float32, 1e-5)]
# Windows, timesteps, features: one window, one timestep and an odd width among them.
SIZES = [(1, 1, 2), (2, 1, 5), (1, 7, 3), (3, 5, 8), (2, 32, 50)]


def close(one: Tensor | np.ndarray, other: Tensor | np.ndarray, tolerance: float) -> bool:
    return np.allclose(numpy_of(one), numpy_of(other), rtol=0, atol=tolerance)


def numpy_of(tensor: Tensor | np.ndarray) -> np.ndarray:
    return tensor.detach().double().numpy() if isinstance(tensor, Tensor) else tensor


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def randomize(network: nn.Module) -> None:
    """Draw gains and biases at random too: ones and zeros would hide a fault."""
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.4)


def pixels(*shape: int) -> Tensor:
    return torch.randint(256, shape, dtype=torch.uint8)


def tiny(lr: float = 1e-3, mask_ratio: float = 0.5, warmup: int = 6000) -> MCURL:
    encoder = PixelEncoder(9, 3, ConvEncoder(1, 4, 2))
    config = MCURLConfig(
        mtm_bsz=2, mtm_length=4, mtm_ratio=mask_ratio, num_attn_layer=1, dropout=0.0, adam_warmup_step=warmup
    )
    return MCURL(encoder, 2, 8, lr, config)


def fill_buffer(episodes: list[int], capacity: int = 40) -> ReplayBuffer:
    """Return a buffer with episodes of so many actions, in frames of noise."""
    buffer = ReplayBuffer(capacity, 2, (1, 11, 11), frame_stack=1)
    for decisions in episodes:
        buffer.add_first(pixels(1, 11, 11))
        for _ in range(decisions):
            buffer.add(torch.rand(2), float(torch.rand(())), pixels(1, 11, 11))
    return buffer


# The Transformer


def normalized(x: np.ndarray, norm: nn.LayerNorm) -> np.ndarray:
    centered = x - x.mean(axis=-1, keepdims=True)
    return centered / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5) * numpy_of(norm.weight) + numpy_of(norm.bias)


def through(linear: nn.Module, x: np.ndarray) -> np.ndarray:
    assert isinstance(linear, nn.Linear)
    return x @ numpy_of(linear.weight).T + numpy_of(linear.bias)


def by_hand(transformer: WindowTransformer, features: np.ndarray) -> np.ndarray:
    """Reconstruct timesteps in numpy, one at a time."""
    b, n, d = features.shape
    places = [[math.sin(t / 10000 ** (c / d)) if c % 2 == 0 else math.cos(t / 10000 ** ((c - 1) / d)) for c in range(d)]
              for t in range(n)]  # fmt: skip
    x = features + np.array(places)
    for layer in transformer.layers:
        assert isinstance(layer, EncoderLayer)
        mixed = np.zeros_like(x)
        for w in range(b):
            for i in range(n):
                query = through(layer.query, x[w, i])
                scores = [query @ through(layer.key, x[w, j]) / math.sqrt(d) for j in range(n)]
                weights = np.exp(np.array(scores) - max(scores))
                mixed[w, i] = sum(a * through(layer.value, x[w, j]) for j, a in enumerate(weights / weights.sum()))
        x = normalized(x + mixed, layer.norm1)
        change = through(layer.feed_forward[2], np.maximum(through(layer.feed_forward[0], x), 0))
        x = normalized(x + change, layer.norm2)
    return x


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("size", SIZES)
def test_the_transformer_is_its_loop(size: tuple[int, int, int], dtype: torch.dtype, tolerance: float) -> None:
    transformer = WindowTransformer(size[2], layers=2, dropout=0.0)
    randomize(transformer)
    transformer.to(dtype)
    features = torch.randn(size, dtype=dtype)
    # positions are made in float64 here, and rounded there
    assert close(transformer(features), by_hand(transformer, numpy_of(features)), max(tolerance, 2e-7))


def torch_layer(layer: EncoderLayer, d: int) -> nn.TransformerEncoderLayer:
    """Return torch's layer with this one's weights, and the identity as output projection."""
    theirs = nn.TransformerEncoderLayer(d, 1, 2 * d, dropout=0.0, batch_first=True).to(layer.query.weight.dtype)
    first, second = layer.feed_forward[0], layer.feed_forward[2]
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    attention = theirs.self_attn
    with torch.no_grad():
        attention.in_proj_weight.copy_(torch.cat([layer.query.weight, layer.key.weight, layer.value.weight]))
        attention.in_proj_bias.copy_(torch.cat([layer.query.bias, layer.key.bias, layer.value.bias]))
        attention.out_proj.weight.copy_(torch.eye(d))
        attention.out_proj.bias.zero_()
        for mine, other in (
            (first, theirs.linear1),
            (second, theirs.linear2),
            (layer.norm1, theirs.norm1),
            (layer.norm2, theirs.norm2),
        ):
            other.load_state_dict(mine.state_dict())
    return theirs


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("size", SIZES)
def test_a_layer_is_torch_s_without_its_projection(
    size: tuple[int, int, int], dtype: torch.dtype, tolerance: float
) -> None:
    layer = EncoderLayer(size[2], dropout=0.0)
    randomize(layer)
    layer.to(dtype)
    theirs = torch_layer(layer, size[2])
    mine, other = (torch.randn(size, dtype=dtype, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    weight = torch.randn(size, dtype=dtype)
    for one, network, x in ((layer, layer, mine), (theirs, theirs, other)):
        torch.autograd.backward((network(x.requires_grad_()) * weight).sum())
        assert one.training
    assert close(layer(mine), theirs(other), tolerance)
    pairs = [(mine.grad, other.grad), (layer.norm1.weight.grad, theirs.norm1.weight.grad)]
    projections = [linear.weight.grad for linear in (layer.query, layer.key, layer.value)]
    assert all(gradient is not None for gradient in projections)
    pairs.append((torch.cat([g for g in projections if g is not None]), theirs.self_attn.in_proj_weight.grad))
    pairs.append((dict(layer.feed_forward.named_parameters())["2.weight"].grad, theirs.linear2.weight.grad))
    for ours, reference in pairs:
        assert ours is not None
        assert reference is not None
        assert close(ours, reference, 10 * tolerance if dtype == torch.float32 else tolerance)


def test_the_published_transformer_has_its_count() -> None:
    assert count(EncoderLayer()) == 18_000
    assert count(WindowTransformer()) == 36_000


def test_the_head_has_no_output_projection() -> None:
    layer = EncoderLayer(6, dropout=0.0)
    x = torch.randn(1, 1, 6)
    # one timestep attends to itself alone, so the output is its value, which is added without a projection
    inner = layer.norm1(x + layer.value(x))
    assert torch.allclose(layer(x), layer.norm2(inner + layer.feed_forward(inner)), atol=1e-6)
    assert [name for name, part in layer.named_modules() if isinstance(part, nn.Linear)] == [
        "query",
        "key",
        "value",
        "feed_forward.0",
        "feed_forward.2",
    ]


def test_the_feed_forward_network_is_twice_as_wide() -> None:
    assert [part.out_features for part in EncoderLayer(7).feed_forward if isinstance(part, nn.Linear)] == [14, 7]


def test_features_and_positions_are_added_as_they_are() -> None:
    transformer, features = WindowTransformer(6, layers=0), torch.randn(2, 4, 6)
    assert torch.equal(transformer.train()(features), features + sinusoidal_positions(4, 6))


def test_dropout_stands_behind_each_sublayer_and_nowhere_else() -> None:
    transformer, features = WindowTransformer(8, layers=2, dropout=0.5), torch.randn(1, 3, 8)
    assert not torch.equal(transformer(features), transformer(features))
    transformer.eval()
    assert torch.equal(transformer(features), transformer(features))
    everything = EncoderLayer(8, dropout=1.0).train()
    norms = everything.norm2(everything.norm1(features))
    assert torch.allclose(everything(features), norms, atol=1e-6)


@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_a_layer_knows_no_order(b: int, n: int, d: int, seed: int) -> None:
    torch.manual_seed(seed)
    layer, x, order = EncoderLayer(d, dropout=0.0).double(), torch.randn(b, n, d).double(), torch.randperm(n)
    assert torch.allclose(layer(x[:, order]), layer(x)[:, order], atol=1e-10)


# Masks


@given(st.integers(1, 4), st.integers(1, 6), st.floats(0, 1), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_unmasked_timesteps_are_unchanged(b: int, n: int, mask_ratio: float, seed: int) -> None:
    torch.manual_seed(seed)
    whole = 1 + torch.randint(100, (b, n, 2, 3, 3), dtype=torch.uint8)
    replacements = whole + 100
    masked_obs, mask = mask_timesteps(whole, replacements, mask_ratio)
    assert torch.equal(masked_obs[~mask], whole[~mask])
    for left, timestep, replacement in zip(masked_obs[mask], whole[mask], replacements[mask], strict=True):
        assert not left.any() or torch.equal(left, timestep) or torch.equal(left, replacement)
    assert mask.shape == (b, n)
    assert mask_ratio > 0 or not mask.any()
    assert mask_ratio < 1 or mask.all()


def test_eight_tenths_turn_black_and_a_tenth_are_replaced() -> None:
    whole = torch.full((400, 100, 1, 1, 1), 1, dtype=torch.uint8)
    masked_obs, mask = mask_timesteps(whole, 2 * whole, mask_ratio=0.5)
    # 40,000 draws: five standard deviations are 500 of the chosen 20,000
    assert abs(int(mask.sum()) - 20_000) < 500
    kept = Counter(masked_obs[mask].flatten().tolist())
    assert abs(kept[0] - 0.8 * mask.sum()) < 300
    assert abs(kept[2] - 0.1 * mask.sum()) < 220
    assert abs(kept[1] - 0.1 * mask.sum()) < 220


def test_each_timestep_is_masked_independently() -> None:
    whole = torch.zeros(3000, 4, 1, 1, 1, dtype=torch.uint8)
    _, mask = mask_timesteps(whole, whole, mask_ratio=0.25)
    # were a fixed number of each window masked, as in BERT, every window would have one
    assert set(mask.sum(dim=1).tolist()) == {0, 1, 2, 3, 4}


# Windows


def numbered(episodes: list[int], capacity: int, stack: int) -> tuple[ReplayBuffer, list[list[int]]]:
    """Play episodes whose frames hold their own number; return the episodes' numbers too."""
    buffer, frame, numbers = ReplayBuffer(capacity, 1, (1, 1, 1), stack), 0, []
    for decisions in episodes:
        numbers.append(list(range(frame, frame + decisions + 1)))
        buffer.add_first(torch.full((1, 1, 1), frame, dtype=torch.uint8))
        for frame in numbers[-1][1:]:
            buffer.add(torch.zeros(1), 0.0, torch.full((1, 1, 1), frame, dtype=torch.uint8))
        frame = numbers[-1][-1] + 1
    return buffer, numbers


@given(st.integers(1, 3), st.integers(1, 12), st.lists(st.integers(0, 6), min_size=1, max_size=5), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_a_window_stays_within_one_episode(stack: int, more: int, episodes: list[int], length: int) -> None:
    buffer, numbers = numbered(episodes, stack + more, stack)
    oldest = max(0, numbers[-1][-1] + 1 - buffer.capacity)
    whole = set()
    for episode in numbers:
        masked_obs = [[episode[max(0, i - back)] for back in range(stack - 1, -1, -1)] for i in range(len(episode))]
        for start in range(len(masked_obs) - length + 1):
            if masked_obs[start][0] >= oldest:
                whole.add(tuple(map(tuple, masked_obs[start : start + length])))
    if not whole:
        with pytest.raises(ValueError, match="cannot sample 40 of 0 indices"):
            sample_windows(buffer, 40, length)
        return
    found = {
        tuple(map(tuple, window)) for window in sample_windows(buffer, 30 * len(whole), length).flatten(2).tolist()
    }
    assert found == whole


def test_windows_are_stacks_in_a_row() -> None:
    buffer = fill_buffer([9, 9, 9])
    windows = sample_windows(buffer, 5, 4)
    assert windows.shape == (5, 4, 1, 11, 11)
    assert windows.dtype == torch.uint8


# The loss


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("b", "n"), [(1, 1), (1, 4), (3, 1), (4, 5)])
def test_the_loss_is_that_of_masked_timesteps_against_all(b: int, n: int) -> None:
    agent = tiny()
    for network in (agent.critic.encoder, agent.critic_target.encoder, agent.transformer):
        randomize(network)
    masked_obs, whole = pixels(b, n, 1, 9, 9), pixels(b, n, 1, 9, 9)
    mask = torch.rand(b, n) < 0.5
    mask[0, 0] = True
    reconstructed = by_hand(
        agent.transformer, numpy_of(agent.critic.encoder(masked_obs.flatten(0, 1))).reshape(b, n, -1)
    )
    keys = numpy_of(agent.critic_target.encoder(whole.flatten(0, 1)))
    losses = []
    for window, place in mask.nonzero().tolist():
        likeness = [math.exp(reconstructed[window, place] @ key) for key in keys]
        losses.append(-math.log(likeness[n * window + place] / sum(likeness)))
    loss = agent.masked_loss(masked_obs, mask, whole)
    assert abs(loss.item() - sum(losses) / len(losses)) < 1e-8
    logits = torch.tensor(reconstructed[mask.numpy()] @ keys.T)
    assert abs(loss.item() - F.cross_entropy(logits, mask.flatten().nonzero().squeeze(1)).item()) < 1e-8


def outputs(agent: MCURL) -> list[Tensor]:
    """Return a list that collects the Transformer's outputs."""
    put_out: list[Tensor] = []
    agent.transformer.register_forward_hook(lambda module, given, output: put_out.append(output))
    return put_out


@pytest.mark.usefixtures("float64")
def test_only_masked_timesteps_contribute() -> None:
    agent, whole = tiny(), pixels(3, 5, 1, 9, 9)
    mask, reconstructed = torch.rand(3, 5) < 0.4, outputs(agent)
    randomize(agent.critic_target.encoder)
    (gradient,) = torch.autograd.grad(agent.masked_loss(whole, mask, whole), reconstructed[0])
    keys = numpy_of(agent.critic_target.encoder(whole.flatten(0, 1)))
    likeness = np.exp(numpy_of(reconstructed[0]).reshape(15, -1) @ keys.T)
    wrong = (likeness / likeness.sum(axis=1, keepdims=True) - np.eye(15)) * numpy_of(mask.flatten())[:, None]
    assert close(gradient.flatten(0, 1), wrong @ keys / int(mask.sum()), 1e-8)
    assert torch.equal(gradient.any(dim=2), mask)


@pytest.mark.usefixtures("float64")
def test_the_gradients_of_the_loss_are_those_of_differences() -> None:
    agent, masked_obs, whole = tiny(), pixels(2, 4, 1, 9, 9), pixels(2, 4, 1, 9, 9)
    for network in (agent.critic.encoder, agent.critic_target.encoder, agent.transformer):
        randomize(network)
    mask = torch.tensor([[True, False, True, True], [False, False, True, False]])
    parameters = [*agent.critic.encoder.parameters(), *agent.transformer.parameters()]
    gradients = torch.autograd.grad(agent.masked_loss(masked_obs, mask, whole), parameters)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        at = np.unravel_index(int(gradient.abs().argmax()), gradient.shape)
        ends = []
        for step in (1e-6, -2e-6):
            parameter.data[at] += step
            ends.append(agent.masked_loss(masked_obs, mask, whole).item())
        parameter.data[at] += 1e-6
        assert abs(gradient[at].item() - (ends[0] - ends[1]) / 2e-6) < 1e-6


def test_similarities_are_dot_products() -> None:
    agent, whole = tiny(), pixels(2, 3, 1, 9, 9)
    everywhere = torch.ones(2, 3, dtype=torch.bool)
    reconstructed = outputs(agent)
    loss = agent.masked_loss(whole, everywhere, whole)
    logits = reconstructed[0].flatten(0, 1) @ agent.critic_target.encoder(whole.flatten(0, 1)).T
    assert torch.allclose(loss, F.cross_entropy(logits, torch.arange(6)), atol=1e-6)
    moved = {id(parameter) for group in agent.cpc_optimizer.param_groups for parameter in group["params"]}
    assert moved == {id(p) for p in (*agent.critic.encoder.parameters(), *agent.transformer.parameters())}
    assert not any(name.startswith("similarity") for name, _ in agent.named_parameters())


def test_keys_are_all_timesteps_of_all_windows() -> None:
    agent, whole = tiny(), pixels(2, 3, 1, 9, 9)
    mask = torch.zeros(2, 3, dtype=torch.bool)
    mask[0, 0] = True
    loss = agent.masked_loss(whole, mask, whole)
    for window in range(2):
        for place in range(3):
            other = whole.clone()
            other[window, place] = pixels(1, 9, 9)
            assert agent.masked_loss(whole, mask, other) != loss


def test_the_loss_depends_on_the_order_of_timesteps_and_curl_s_does_not() -> None:
    agent, masked_obs, whole = tiny(), pixels(2, 4, 1, 9, 9), pixels(2, 4, 1, 9, 9)
    curl = CURL(PixelEncoder(9, 3, ConvEncoder(1, 4, 2)), action_dim=2, hidden_dim=8)
    mask, order = torch.tensor([[True, False, True, False]]).expand(2, 4), torch.tensor([2, 0, 3, 1])
    one = agent.masked_loss(masked_obs, mask, whole)
    other = agent.masked_loss(masked_obs[:, order], mask[:, order], whole[:, order])
    assert (one - other).abs() > 1e-3
    of_curl = [
        curl.contrastive_loss(masked_obs[:, places].flatten(0, 1), whole[:, places].flatten(0, 1))
        for places in (torch.arange(4), order)
    ]
    assert torch.allclose(of_curl[0], of_curl[1], atol=1e-5)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_shuffling_windows_leaves_the_loss(b: int, n: int, seed: int) -> None:
    torch.manual_seed(seed)
    agent, masked_obs, whole = tiny(), pixels(b, n, 1, 9, 9), pixels(b, n, 1, 9, 9)
    mask, order = torch.rand(b, n) < 0.5, torch.randperm(b)
    one, other = (
        agent.masked_loss(masked_obs, mask, whole),
        agent.masked_loss(masked_obs[order], mask[order], whole[order]),
    )
    assert torch.allclose(one, other, atol=1e-5)


def test_an_empty_mask_costs_nothing() -> None:
    agent, whole = tiny(), pixels(2, 3, 1, 9, 9)
    loss = agent.masked_loss(whole, torch.zeros(2, 3, dtype=torch.bool), whole)
    torch.autograd.backward(loss)
    assert loss.item() == 0
    assert all(p.grad is None or not p.grad.isnan().any() for p in agent.parameters())


def test_the_loss_reaches_encoder_and_transformer_and_nothing_else() -> None:
    agent, whole = tiny(), pixels(2, 4, 1, 9, 9)
    torch.autograd.backward(agent.masked_loss(whole, torch.ones(2, 4, dtype=torch.bool), whole))
    reached = {name.rsplit(".", 1)[0].split(".")[0] for name, p in agent.named_parameters() if p.grad is not None}
    assert reached == {"actor", "critic", "transformer"}  # of the actor, the convolutions that it shares
    assert all(p.grad is None for p in (*agent.actor.trunk.parameters(), *agent.actor.encoder.fc.parameters()))
    assert all(p.grad is None for p in (*agent.critic.Q1.parameters(), *agent.critic.Q2.parameters()))


def test_the_masked_contrast_learns() -> None:
    encoder = PixelEncoder(9, 16, ConvEncoder(1, 4, 2))
    config = MCURLConfig(num_attn_layer=1, dropout=0.0)
    agent, whole = MCURL(encoder, action_dim=2, hidden_dim=8, lr=0.01, config=config), pixels(6, 4, 1, 9, 9)
    mask = torch.rand(6, 4) < 0.5
    masked_obs = whole.masked_fill(mask[..., None, None, None], 0)
    for group in agent.cpc_optimizer.param_groups:
        group["lr"] = 0.01
    for _ in range(100):
        loss = agent.masked_loss(masked_obs, mask, whole)
        optimizer_step(agent.cpc_optimizer, loss)
    assert loss < math.log(24) / 2  # half of what guessing costs


# The agent


def recorded(agent: MCURL, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """Return a list that collects the inputs of the loss."""
    given_to: list[tuple[Tensor, Tensor]] = []

    def loss(masked_obs: Tensor, mask: Tensor, whole: Tensor) -> Tensor:
        given_to.append((masked_obs, whole))
        return torch.zeros((), requires_grad=True)

    monkeypatch.setattr(agent, "masked_loss", loss)
    return given_to


def test_pixels_are_masked_before_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = tiny(mask_ratio=1.0)
    given_to = recorded(agent, monkeypatch)
    agent.config = replace(agent.config, mtm_bsz=40, mtm_length=5)
    agent.update(fill_buffer([9, 9]), step=1, batch_size=4)
    masked_obs, whole = given_to[0]
    black = (masked_obs == 0).flatten(2).all(dim=2)
    assert masked_obs.shape == whole.shape == (40, 5, 1, 9, 9)
    assert 130 < int(black.sum()) < 190  # 80% of 200
    assert not (whole == 0).flatten(2).all(dim=2).any()
    # a black observation still goes through the encoder, whose biases learn what it stands for
    nn.init.normal_(agent.critic.encoder.fc.bias)
    assert agent.critic.encoder(torch.zeros(1, 1, 9, 9)).any()


def test_a_timestep_and_its_key_are_cropped_independently(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = tiny(mask_ratio=0.0)
    given_to = recorded(agent, monkeypatch)
    agent.update(fill_buffer([9, 9]), step=1, batch_size=4)
    alike = (given_to[0][0] == given_to[0][1]).flatten(2).all(dim=2)
    assert not alike.all()


def numbered_frames(transitions: int) -> ReplayBuffer:
    """Return an episode whose frames hold their number, from 1 on, and beside it the index of each pixel."""
    buffer, places = ReplayBuffer(200, 2, (2, 11, 11), frame_stack=1), torch.arange(121).reshape(11, 11)
    frames = [torch.stack([torch.full((11, 11), n), places]).to(torch.uint8) for n in range(1, transitions + 2)]
    buffer.add_first(frames[0])
    for frame in frames[1:]:
        buffer.add(torch.zeros(2), 0.0, frame)
    return buffer


def test_an_update_gives_the_loss_masked_windows_and_whole_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    config = MCURLConfig(mtm_bsz=60, mtm_length=5, mtm_ratio=0.3, num_attn_layer=1)
    agent, given_to = MCURL(PixelEncoder(9, 3, ConvEncoder(2, 4, 2)), 2, 8, config=config), []
    loss = agent.masked_loss

    def masked_loss(*given: Any) -> Tensor:
        given_to.append(given)
        return loss(*given)

    monkeypatch.setattr(agent, "masked_loss", masked_loss)
    agent.update(numbered_frames(100), step=1, batch_size=4)
    ((masked_obs, mask, whole),) = given_to
    number, left = whole[:, :, 0, 0, 0].long(), masked_obs[:, :, 0, 0, 0].long()
    assert torch.equal(number, number[:, :1] + torch.arange(5))
    assert len(number[:, 0].unique()) > 25
    assert 60 < int(mask.sum()) < 120  # 30% of 300
    assert torch.equal(left[~mask], number[~mask])
    black, kept = (left == 0) & mask, (left == number) & mask
    replaced = mask & ~black & ~kept
    assert black.sum() > 0.6 * mask.sum()
    assert replaced.any()
    assert (left[replaced] - number[:, :1].expand_as(left)[replaced]).abs().max() > 10  # from other windows too
    # The first pixel tells where a crop was cut: at one of nine places, for each timestep by itself.
    here, there = (obs[:, :, 1, 0, 0][~mask] for obs in (masked_obs, whole))
    assert len(here.unique()) > 5
    assert len(there.unique()) > 5
    assert 0 < int((here == there).sum()) < 0.3 * len(here)
    corners = whole[:, :, 1, 0, 0]
    assert (corners != corners[:, :1]).any()


def test_an_update_takes_one_masked_step_and_one_of_the_schedules() -> None:
    agent, taken = tiny(), []
    agent.cpc_optimizer.register_step_post_hook(lambda *_: taken.append(agent.schedule.last_epoch))
    for step in range(3):
        agent.update(fill_buffer([9, 9]), step, batch_size=4)
    assert taken == [0, 1, 2]
    assert agent.schedule.last_epoch == 3


def test_the_defaults_are_those_of_the_readme() -> None:
    assert vars(MCURLConfig()) == {
        "mtm_bsz": 16,
        "mtm_length": 32,
        "mtm_ratio": 0.5,
        "num_attn_layer": 2,
        "dropout": 0.1,
        "adam_warmup_step": 6000,
    }


def test_an_agent_has_the_settings_that_it_is_given() -> None:
    config = MCURLConfig(num_attn_layer=3, dropout=0.25, adam_warmup_step=2)
    agent = MCURL(PixelEncoder(9, 3, ConvEncoder(1, 4, 2)), 2, 8, 0.01, config, discount=0.5, encoder_tau=0.3)
    assert len(agent.transformer.layers) == 3
    assert {part.p for part in agent.transformer.modules() if isinstance(part, nn.Dropout)} == {0.25}
    assert (agent.discount, agent.encoder_tau) == (0.5, 0.3)
    assert agent.critic_optimizer.param_groups[0]["lr"] == 0.01
    assert agent.schedule.base_lrs == [0.02, 0.01]  # of encoder and Transformer
    assert [rate(1) for rate in agent.schedule.lr_lambdas] == [1.0, pytest.approx(0.50025)]
    assert [rate(8) for rate in agent.schedule.lr_lambdas] == [0.5, 0.5]


@pytest.mark.parametrize("sublayer", ["value", "feed_forward"])
def test_dropout_is_applied_to_the_output_of_each_sublayer(sublayer: str) -> None:
    layer, x = EncoderLayer(8, dropout=0.5).train(), torch.randn(1, 3, 8)
    for parameter in layer.get_submodule("feed_forward" if sublayer == "value" else "value").parameters():
        nn.init.zeros_(parameter)  # the other sublayer's output is 0, dropped or not
    assert not torch.equal(layer(x), layer(x))


def test_the_encoder_learns_at_twice_the_rate() -> None:
    agent = tiny(lr=0.01, warmup=1)
    encoder, transformer = agent.cpc_optimizer.param_groups
    assert (encoder["lr"], transformer["lr"]) == (0.02, pytest.approx(0.01 * 5e-4))
    agent = tiny(lr=0.01)
    before = agent.critic.encoder.fc.weight.detach().clone()
    whole = pixels(2, 4, 1, 9, 9)
    optimizer_step(agent.cpc_optimizer, agent.masked_loss(whole, torch.ones(2, 4, dtype=torch.bool), whole))
    moved = (agent.critic.encoder.fc.weight - before).abs().max().item()
    assert moved == pytest.approx(0.02, rel=1e-3)  # Adam's first step is the rate, whatever the gradient


def test_rates_follow_their_schedules() -> None:
    assert [warmup_schedule(t, 4) for t in (0, 2, 4, 16)] == [5e-4, pytest.approx(0.50025), 1.0, 0.5]
    assert [decay_schedule(t, 4) for t in (0, 2, 4, 16)] == [1.0, 1.0, 1.0, 0.5]
    assert warmup_schedule(24_000) == decay_schedule(24_000) == 0.5
    agent, buffer = tiny(lr=0.01, warmup=4), fill_buffer([9, 9])
    for step in range(16):
        agent.update(buffer, step, batch_size=4)
    encoder, transformer = agent.cpc_optimizer.param_groups
    assert (encoder["lr"], transformer["lr"]) == (pytest.approx(0.01), pytest.approx(0.005))


def test_an_update_moves_all_that_learns() -> None:
    agent = tiny()
    before = copy.deepcopy(agent.state_dict())
    agent.update(fill_buffer([9, 9]), step=0, batch_size=4)
    same = {name for name, tensor in agent.state_dict().items() if torch.equal(tensor, before[name])}
    # a key's bias adds the same to every score of a query, and softmax takes it off again
    assert {name for name in same if not name.endswith("bias")} == set()


def test_acting_never_calls_the_transformer() -> None:
    agent, observation = tiny(), pixels(8, 1, 11, 11)
    reconstructed = outputs(agent)
    actions = agent.act(observation)
    torch.manual_seed(5)
    explored = agent.act(observation, explore=True)
    agent.critic_loss(
        Transitions(
            pixels(4, 1, 9, 9), torch.rand(4, 2), torch.rand(4), pixels(4, 1, 9, 9), torch.zeros(4, dtype=torch.bool)
        )
    )
    agent.actor_losses(pixels(4, 1, 9, 9))
    assert reconstructed == []
    del agent.transformer
    assert torch.equal(agent.act(observation), actions)
    torch.manual_seed(5)
    assert torch.equal(agent.act(observation, explore=True), explored)


def test_the_defaults_are_those_of_the_public_code() -> None:
    expected = {"mtm_bsz": 16, "mtm_length": 32, "mtm_ratio": 0.5, "num_attn_layer": 2, "dropout": 0.1}
    assert asdict(MCURLConfig()) == {**expected, "adam_warmup_step": 6000}
    agent = MCURL(PixelEncoder(), 1)
    first = agent.critic.Q1[0]
    assert isinstance(first, nn.Linear)
    assert first.out_features == 1024
    assert [one.defaults["lr"] for one in (agent.actor_optimizer, agent.critic_optimizer)] == [1e-3, 1e-3]
    assert inspect.signature(mask_timesteps).parameters["mask_ratio"].default == 0.5


def test_masks_are_drawn_on_the_device_of_the_windows() -> None:
    obs = torch.zeros(2, 3, 1, 4, 4, dtype=torch.uint8, device="meta")
    assert {one.device.type for one in mask_timesteps(obs, obs)} == {"meta"}
