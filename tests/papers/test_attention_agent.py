"""AttentionAgent against numpy written from the paper, against torch.nn.LSTM, and in the authors' order of numbers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from reference_impl.attention_agent import AttentionAgent, PatchVote, extract_patches, patch_centers

EXACT = {torch.float64: 1e-8, torch.float32: 1e-5}


def cut_by_hand(frame: np.ndarray, size: int, stride: int) -> np.ndarray:
    height, width, _ = frame.shape
    return np.array(
        [
            frame[row : row + size, column : column + size].flatten()
            for row in range(0, height - size + 1, stride)
            for column in range(0, width - size + 1, stride)
        ]
    )


def votes_by_hand(patches: np.ndarray, vote: PatchVote) -> np.ndarray:
    """Work out Eq. 1 pair by pair."""
    weights = {name: p.detach().numpy().astype(np.float64) for name, p in vote.named_parameters()}
    received = np.zeros(len(patches))
    for row in patches:
        key = weights["key.weight"] @ row + weights["key.bias"]
        scores = np.array(
            [key @ (weights["query.weight"] @ column + weights["query.bias"]) for column in patches]
        ) / np.sqrt(len(row))
        shares = np.exp(scores - scores.max())
        received += shares / shares.sum()
    return received


@pytest.mark.parametrize(
    ("height", "width", "size", "stride"), [(9, 9, 3, 2), (7, 12, 3, 1), (12, 7, 2, 5), (4, 4, 4, 1), (11, 8, 1, 3)]
)
def test_patches_and_centers_are_those_of_a_sliding_window(height: int, width: int, size: int, stride: int) -> None:
    frame = torch.rand(height, width, 3)
    expected = cut_by_hand(frame.numpy(), size, stride)
    assert np.array_equal(extract_patches(frame, size, stride).numpy(), expected)
    numbered = torch.arange(height * width, dtype=torch.float32).reshape(height, width, 1)
    middle = (size // 2) * size + size // 2
    rows, columns = patch_centers(height, width, size, stride).T
    assert torch.equal(extract_patches(numbered, size, stride)[:, middle], rows * width + columns)


@pytest.mark.parametrize("dtype", EXACT)
@pytest.mark.parametrize(("n", "d_in", "d"), [(9, 12, 4), (1, 3, 2), (5, 1, 1)])
def test_votes_are_those_of_the_equation(dtype: torch.dtype, n: int, d_in: int, d: int) -> None:
    torch.manual_seed(0)
    vote, patches = PatchVote(d_in, d).to(dtype), 3 * torch.randn(n, d_in, dtype=dtype)
    expected = votes_by_hand(patches.numpy().astype(np.float64), vote)
    assert np.allclose(vote(patches).detach().numpy(), expected, rtol=0, atol=EXACT[dtype])


def test_gradients_of_the_votes_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    vote, patches = PatchVote(6, 2).double(), torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, _w, _v: vote(x), (patches, vote.key.weight, vote.query.bias))


def test_scores_are_scaled_by_patch_size_not_key_width() -> None:
    torch.manual_seed(0)
    vote, patches = PatchVote(147, 4).double(), torch.randn(5, 147, dtype=torch.float64)
    product = vote.key(patches) @ vote.query(patches).mT
    assert torch.allclose(vote.scores(patches) * 147**0.5, product, rtol=0, atol=1e-12)


def test_votes_are_counted_down_the_columns_of_the_patches_that_vote_by_key() -> None:
    """Patch 0 alone is looked for, by a query that only it answers, so it gets the votes and not the others."""
    vote = PatchVote(2, 1)
    with torch.no_grad():
        vote.key.weight.zero_(), vote.key.bias.fill_(5)
        vote.query.weight.copy_(torch.tensor([[9.0, 0.0]])), vote.query.bias.zero_()
    votes = vote(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]]))
    assert votes.argmax() == 0
    assert votes[0] > 2.9


def test_attention_averages_no_values_and_adds_no_positions() -> None:
    assert [name for name, _ in PatchVote(147, 4).named_parameters()] == [
        "key.weight", "key.bias", "query.weight", "query.bias",
    ]  # fmt: skip
    torch.manual_seed(0)
    vote, patches, order = PatchVote(12, 4).double(), torch.randn(8, 12, dtype=torch.float64), torch.randperm(8)
    assert torch.allclose(vote(patches[order]), vote(patches)[order], rtol=0, atol=1e-12)


@given(st.integers(1, 12), st.integers(0, 2**31))
def test_votes_sum_to_the_number_of_patches(n: int, seed: int) -> None:
    patches = torch.randn(n, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    votes = PatchVote(6, 3).double()(patches)
    assert votes.sum().item() == pytest.approx(n)
    assert (votes > 0).all()


def test_the_agent_has_the_published_count_of_numbers() -> None:
    agent = AttentionAgent()
    assert {name: sum(p.numel() for p in part.parameters()) for name, part in agent.named_children()} == {
        "vote": 1184,
        "controller": 2432,
        "action": 51,
    }
    assert len(agent.get_params()) == 3667
    assert len(AttentionAgent(action_dim=1).get_params()) == 3633
    assert len(agent.centers) == 529


def authors_layers(agent: AttentionAgent) -> list[nn.Module]:
    """Make the layers that the authors' code makes, in its order, with the agent's numbers."""
    q, k = nn.Linear(147, 4), nn.Linear(147, 4)
    lstm, last = nn.LSTM(20, 16), nn.Linear(16, 3)
    cell = agent.controller
    q.load_state_dict(agent.vote.key.state_dict())
    k.load_state_dict(agent.vote.query.state_dict())
    last.load_state_dict(agent.action.state_dict())
    lstm.load_state_dict(
        {f"{name}_l0": getattr(cell, name) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    )
    return [q, k, lstm, last]


def in_the_authors_order(layers: list[nn.Module]) -> np.ndarray:
    return np.concatenate(
        [layer.state_dict()[name].numpy().ravel() for layer in layers for name in sorted(layer.state_dict())]
    )


def test_the_parameters_stand_in_the_authors_order(tmp_path: pytest.TempPathFactory) -> None:
    torch.manual_seed(0)
    agent, other = AttentionAgent(), AttentionAgent()
    published = in_the_authors_order(authors_layers(agent))
    assert np.array_equal(agent.get_params().numpy(), published)
    file = f"{tmp_path}/model.npz"
    np.savez(file, params=published)
    with np.load(file) as stored:
        other.set_params(torch.from_numpy(stored["params"]))
    frame = torch.rand(96, 96, 3)
    assert torch.equal(agent(frame)[0], other(frame)[0])


def test_the_equation_s_keys_are_the_public_code_s_queries() -> None:
    torch.manual_seed(0)
    agent, patches = AttentionAgent(), torch.rand(529, 147)
    q, k, *_ = authors_layers(agent)
    public = (q(patches) @ k(patches).T / 147**0.5).softmax(dim=-1).sum(dim=0)
    assert torch.allclose(agent.vote(patches), public, atol=1e-5)


def test_a_whole_episode_is_that_of_torch_s_layers() -> None:
    torch.manual_seed(0)
    agent, state = AttentionAgent(), None
    _, _, lstm, last = authors_layers(agent)
    hidden = (torch.zeros(1, 1, 16), torch.zeros(1, 1, 16))
    with torch.no_grad():
        for frame in torch.rand(4, 96, 96, 3):
            votes = votes_of_torch(agent, frame)
            best = np.argsort(-votes, kind="stable")[:10]
            seen = torch.tensor([[3 + 4 * (i // 23), 3 + 4 * (i % 23)] for i in best]).float().reshape(1, 1, 20) / 96
            shown, hidden = lstm(seen, hidden)
            action, state = agent(frame, state)
            assert torch.allclose(action, last(shown)[0, 0].tanh(), atol=1e-6)


def votes_of_torch(agent: AttentionAgent, frame: torch.Tensor) -> np.ndarray:
    patches = torch.from_numpy(cut_by_hand(frame.numpy(), 7, 4))
    scores = agent.vote.key(patches) @ agent.vote.query(patches).T / 147**0.5
    return scores.softmax(dim=-1).sum(dim=0).numpy()


def test_ties_select_the_first_patch() -> None:
    agent = AttentionAgent()
    assert agent.top_patches(torch.zeros(96, 96, 3)).tolist() == list(range(10))


def test_selection_is_hard_and_passes_no_gradient() -> None:
    torch.manual_seed(0)
    agent = AttentionAgent()
    agent(torch.rand(96, 96, 3))[0].sum().backward()
    assert all(p.grad is None for p in agent.vote.parameters())
    assert all(p.grad is not None for p in [*agent.controller.parameters(), *agent.action.parameters()])


def test_attended_pixels_are_those_of_the_selected_patches() -> None:
    torch.manual_seed(0)
    agent, frame = AttentionAgent(top_k=2), torch.rand(96, 96, 3)
    expected = np.zeros((96, 96), dtype=bool)
    for index in agent.top_patches(frame).tolist():
        row, column = 4 * (index // 23), 4 * (index % 23)
        expected[row : row + 7, column : column + 7] = True
    assert np.array_equal(agent.attended_pixels(frame).numpy(), expected)


def test_public_faults_name_both_numbers() -> None:
    with pytest.raises(ValueError, match="a frame of 5 × 9 is smaller than a patch of 7 × 7"):
        extract_patches(torch.zeros(5, 9, 3))
    with pytest.raises(ValueError, match="top_k 10 exceeds the 1 patches of a frame"):
        AttentionAgent(image_size=7)
    with pytest.raises(ValueError, match="3 parameters for 3667"):
        AttentionAgent().set_params(torch.zeros(3))


def test_another_stride_and_another_size_go_everywhere() -> None:
    torch.manual_seed(0)
    agent, frame = AttentionAgent(20, patch_size=5, stride=3, channels=1, top_k=2), torch.rand(20, 20, 1)
    votes = votes_by_hand(cut_by_hand(frame.numpy(), 5, 3).astype(np.float64), agent.vote)
    best = np.argsort(-votes, kind="stable")[:2]
    assert agent.top_patches(frame).tolist() == best.tolist()
    corners = [(3 * (index // 6), 3 * (index % 6)) for index in best.tolist()]
    assert torch.allclose(agent.attended_positions(frame) * 20, torch.tensor(corners).flatten() + 2.0)
    expected = torch.zeros(20, 20, dtype=torch.bool)
    for row, column in corners:
        expected[row : row + 5, column : column + 5] = True
    assert torch.equal(agent.attended_pixels(frame), expected)


def test_a_frame_of_one_patch_suffices() -> None:
    agent = AttentionAgent(image_size=7, top_k=1)
    assert agent.top_patches(torch.rand(7, 7, 3)).tolist() == [0]


def test_parameters_are_detached_and_positions_no_part_of_a_checkpoint() -> None:
    agent = AttentionAgent()
    assert not agent.get_params().requires_grad
    assert "centers" not in agent.state_dict()


def test_centers_are_by_default_those_of_the_published_patches() -> None:
    assert torch.equal(patch_centers(96, 96), patch_centers(96, 96, patch_size=7, stride=4))
    assert len(patch_centers(96, 96)) == 23**2
