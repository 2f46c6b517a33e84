"""Environments that are taken up again, agents that go on as if never stopped, and what a linear probe finds."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from reference_impl.curl import CURL, ConvEncoder, PixelEncoder
from reference_impl.experiments.control import (
    AgentTraining,
    DMControlEnvironment,
    Environment,
    MinAtarEnvironment,
    TimeStep,
    TrainingConfig,
    random_return,
)
from reference_impl.experiments.probe import (
    Recording,
    fill_replay_buffer,
    fork_rng,
    r_squared,
    record_episodes,
    stack_frames,
)
from reference_impl.m_curl import MCURL, MCURLConfig


def cartpole(seed: int) -> Environment:
    return DMControlEnvironment("cartpole", "swingup", action_repeat=100, image_size=20, seed=seed)


def breakout(seed: int) -> Environment:
    return MinAtarEnvironment("breakout", padding=1, seed=seed)


@pytest.mark.parametrize("make", [cartpole, breakout])
def test_an_environment_goes_on_where_its_state_was_taken(make: Callable[[int], Environment]) -> None:
    one, other = make(3), make(4)
    torch.manual_seed(0)
    one.reset()
    actions = [one.sample_action() for _ in range(12)]
    for action in actions[:4]:
        one.step(action)
    other.set_state(one.get_state())
    for action in actions[4:]:
        if (before := one.step(action)).done:
            one.reset()
        if (after := other.step(action)).done:
            other.reset()
        assert torch.equal(before.frame, after.frame)
        assert before.reward == after.reward


def test_an_action_is_repeated_and_an_episode_lasts_a_thousand_steps() -> None:
    task = DMControlEnvironment("cartpole", "swingup", action_repeat=250, image_size=20, seed=0)
    task.reset()
    assert [task.step(torch.zeros(1)).done for _ in range(4)] == [False, False, False, True]
    assert task.physics.time() == pytest.approx(10)


def test_a_game_s_margin_is_black_and_its_cells_are_as_the_game_says() -> None:
    frame, whole = (
        MinAtarEnvironment("breakout", padding=0, seed=0).reset(),
        MinAtarEnvironment("breakout", padding=1, seed=0).reset(),
    )
    assert whole.shape == (4, 12, 12)
    assert torch.equal(whole[:, 1:-1, 1:-1], frame)
    assert whole.sum() == frame.sum()
    assert set(frame.flatten().tolist()) == {0, 255}
    assert frame[3, 1:4].eq(255).all()  # three rows of bricks


def test_games_of_one_seed_are_alike_and_of_two_are_not() -> None:
    def played(seed: int) -> list[float]:
        game, returns = MinAtarEnvironment("space_invaders", 0, seed), []
        torch.manual_seed(0)
        game.reset()
        for _ in range(300):
            time_step = game.step(game.sample_action())
            returns.append(time_step.reward + float(time_step.frame.float().mean()))
            if time_step.done:
                game.reset()
        return returns

    assert played(1) == played(1)
    assert played(1) != played(2)


def playing() -> AgentTraining:
    def agent() -> MCURL:
        return MCURL(PixelEncoder(16, 8, ConvEncoder(9, 4, 2)), 1, 8, config=MCURLConfig(mtm_bsz=2, mtm_length=3))

    config = TrainingConfig(init_steps=5, batch_size=4, num_eval_episodes=1, curve_points=2)
    return AgentTraining(cartpole, agent, num_train_steps=12, seed=1, config=config, device="cpu")


def test_an_agent_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    begun = playing()
    for index in range(7):
        begun.step(index)
    begun.save(tmp_path)
    resumed = playing()
    resumed.restore(tmp_path)
    for index in range(7, 12):
        resumed.step(index)
    whole = playing()
    for index in range(12):
        whole.step(index)
    after = resumed.agent.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in whole.agent.state_dict().items())
    assert torch.equal(whole.replay_buffer.frames[:14], resumed.replay_buffer.frames[:14])
    assert whole.result() == resumed.result()


class Clock(Environment):
    """Three decisions an episode, each of which earns 1."""

    frame_shape, action_dim, action_repeat = (1, 6, 6), 1, 4
    count = 0

    def _reset(self) -> Tensor:
        self.count = 0
        return torch.zeros(1, 6, 6, dtype=torch.uint8)

    def _step(self, action: Tensor) -> TimeStep:
        self.count += 1
        return TimeStep(1.0, torch.full((1, 6, 6), self.count, dtype=torch.uint8), False, self.count == 3)


def test_a_curve_has_the_returns_of_the_episodes_that_ended_in_each_part() -> None:
    def agent() -> CURL:
        return CURL(PixelEncoder(6, 4, ConvEncoder(1, 2, 1)), 1, 4)

    config = TrainingConfig(init_steps=8, batch_size=2, frame_stack=1, num_eval_episodes=2, curve_points=4)
    loop = AgentTraining(Clock, agent, 8, 0, config, device="cpu")
    for index in range(8):
        loop.step(index)
    assert loop.episode_returns == [(3, 3.0), (6, 3.0)]
    expected = {"steps": [8, 16, 24, 32], "returns": [None, 3.0, 3.0, None], "score": 3.0, "episodes": 2}
    assert loop.result() == expected


def test_random_actions_earn_the_mean_return_of_episodes_and_depend_on_their_seed() -> None:
    assert random_return(Clock(0), 2, seed=0) == 3.0
    one, again, other = (random_return(breakout(0), 20, seed) for seed in (0, 0, 1))
    assert one == again != other
    assert 0.0 < one < 1.5


# The probe


@pytest.fixture(scope="module")
def recording() -> Recording:
    return record_episodes(2, 20, seed=0)


def test_recordings_of_a_seed_are_equal(recording: Recording) -> None:
    assert [tuple(part.shape) for part in recording] == [(2, 126, 3, 20, 20), (2, 126, 5)]
    again, other = record_episodes(2, 20, seed=0), record_episodes(2, 20, seed=1)
    assert all(torch.equal(one, two) for one, two in zip(recording, again, strict=True))
    assert not torch.equal(recording.frames, other.frames)


def test_a_recorded_state_is_that_of_its_frame(recording: Recording) -> None:
    frames, states = recording.frames[0].float(), recording.states[0]
    assert torch.allclose(states[:, 1].square() + states[:, 2].square(), torch.ones(126), atol=1e-5)
    # a cart in the picture is brighter and redder than all else: the further right it is, the further right they are
    red = (frames[:, 0] - frames[:, 2]).clamp(min=0).sum(dim=1)
    places = (red * torch.arange(20)).sum(dim=1) / red.sum(dim=1).clamp(min=1)
    in_sight = (states[:, 0].abs() < 1) & (red.sum(dim=1) > 0)
    assert torch.corrcoef(torch.stack([places, states[:, 0]])[:, in_sight])[0, 1] > 0.9


def test_stacks_of_episodes_are_those_of_the_buffer(recording: Recording) -> None:
    frames, buffer = recording.frames[:, :9], fill_replay_buffer(recording.frames[:, :9])
    slots = torch.arange(18).reshape(2, 9)[:, 2:]
    assert torch.equal(stack_frames(frames), buffer.stack_frames(slots))


def test_what_is_a_linear_map_of_features_is_read_and_noise_is_not() -> None:
    torch.manual_seed(0)
    features, noise = torch.randn(600, 8).double(), torch.randn(600, 1).double()
    truth = torch.cat([features @ torch.randn(8, 1).double() + 3, noise], dim=1)
    linear, random = r_squared(features[:400], features[400:], truth[:400], truth[400:])
    assert linear > 0.999
    assert random < 0.1


def test_r_squared_is_zero_for_the_mean_and_knows_no_test_episode() -> None:
    features, wanted = torch.zeros(40, 3).double(), torch.tensor([0.0, 2.0] * 20).double()[:, None]
    assert r_squared(features, features, wanted, wanted)[0] == pytest.approx(0)
    assert r_squared(features, features, wanted, wanted + 1)[0] == pytest.approx(-1)


def test_drawing_depends_on_its_generator_alone_and_leaves_no_trace() -> None:
    def drawn() -> float:
        with fork_rng(torch.Generator().manual_seed(5)):
            return float(torch.rand(()))

    torch.manual_seed(0)
    one, after = drawn(), float(torch.rand(()))
    torch.manual_seed(0)
    assert float(torch.rand(())) == after
    assert drawn() == one
