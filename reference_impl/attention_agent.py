r"""AttentionAgent: self-attention that selects patches of a frame, and an LSTM that acts on their positions alone.

Source: Tang, Nguyen and Ha 2020, "Neuroevolution of Self-Interpretable Agents"; sections and equations are this paper's

Axes: $n$ patches of $d_{in}$ values each, $d$ the dimension of keys and queries, $k$ selected patches, $a$ the
dimension of an action, $p$ parameters. A frame is (height, width, channels) in [0, 1]. There is no batch axis: an agent
acts on one frame at a time.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reference_impl.lstm import LSTMCell

State = tuple[Float[Tensor, "1 h"], Float[Tensor, "1 h"]]


def extract_patches(
    frame: Float[Tensor, "height width c"], patch_size: int = 7, stride: int = 4
) -> Float[Tensor, "n d_in"]:
    r"""Return the flattened patches of a frame, by a sliding window, row by row.

    Source: Section 3.1, "Input Transformation"

    A patch is flattened in the order rows, columns, channels. Pixels at the right and at the bottom that no full window
    covers are dropped.

    Args:
        frame: The frame.
        patch_size: Height and width of a patch, in pixels.
        stride: The step of the window, in pixels.

    Raises:
        ValueError: The frame is smaller than a patch.

    Asked: attention_agent.how-many-patches
    """
    height, width, _ = frame.shape
    if min(height, width) < patch_size:
        raise ValueError(f"a frame of {height} × {width} is smaller than a patch of {patch_size} × {patch_size}")
    windows = frame.unfold(0, patch_size, stride).unfold(1, patch_size, stride)  # (rows, columns, c, p, p)
    return windows.permute(0, 1, 3, 4, 2).reshape(windows.shape[0] * windows.shape[1], -1)  # (n, d_in)


def patch_centers(height: int, width: int, patch_size: int = 7, stride: int = 4) -> Float[Tensor, "n 2"]:
    """Return the row and column of each patch's center, in pixels, in the order of `extract_patches`.

    Source: Section 3.1
    """
    rows, columns = (torch.arange(0, side - patch_size + 1, stride) + patch_size // 2 for side in (height, width))
    return torch.cartesian_prod(rows, columns).float()  # (n, 2)


class PatchVote(nn.Module):
    r"""Self-attention over all patches, whose column sums are the importance of the patches.

    Source: Section 3.2, "Importance Voting via Self-Attention", Eq. 1
        $$A = \operatorname{softmax}\bigl((XW_k)(XW_q)^\top / \sqrt{d_{in}}\bigr)$$

    A patch's importance is the sum of its column of $A$.

    Departs: from the Transformer, which divides by $\sqrt d$, averages values, and adds positions. The authors' code
    swaps the names of keys and queries; this follows the equation.

    Args:
        d_in: The size of a flattened patch.
        d: The dimension of keys and queries.

    Answers: attention_agent.learnt-numbers
        1,184: a key and a query matrix of $147 \times 4$ each, with their biases. There are no values to average, so
        there is neither a value nor an output projection.

        >>> from reference_impl.attention_agent import PatchVote
        >>> vote = PatchVote(d_in=7 * 7 * 3, d=4)
        >>> {name: tuple(p.shape) for name, p in vote.named_parameters()}
        {'key.weight': (4, 147), 'key.bias': (4,), 'query.weight': (4, 147), 'query.bias': (4,)}
        >>> sum(p.numel() for p in vote.parameters())
        1184

    Asked: attention_agent.why-columns, attention_agent.which-scale, attention_agent.no-positions
    Asked: attention_agent.indirect-encoding
    """

    def __init__(self, d_in: int, d: int) -> None:
        super().__init__()
        self.key, self.query = nn.Linear(d_in, d), nn.Linear(d_in, d)

    def forward(self, patches: Float[Tensor, "n d_in"]) -> Float[Tensor, " n"]:
        """Return the importance of each patch, the sum of its column; the importances sum to n."""
        return self.attention_weights(patches).sum(dim=0)  # (n,)

    def attention_weights(self, patches: Float[Tensor, "n d_in"]) -> Float[Tensor, "n n"]:
        """Return $A$: the weights that each patch (row) gives to each patch (column); rows sum to 1."""
        return self.scores(patches).softmax(dim=-1)

    def scores(self, patches: Float[Tensor, "n d_in"]) -> Float[Tensor, "n n"]:
        """Return the scaled scores before the softmax."""
        return self.key(patches) @ self.query(patches).mT / math.sqrt(patches.shape[-1])  # (n, n)


class AttentionAgent(nn.Module):
    r"""Select the $k$ most important patches, and act on their positions with an LSTM.

    Source: Section 3; the sizes are Section 4's for CarRacing
        $$x_t = \tfrac{1}{L}\, [\text{centers of the top } k], \qquad
          h_t = \operatorname{LSTM}(x_t, h_{t-1}), \qquad u_t = \tanh(W h_t + b)$$

    Departs: among patches of equal importance the first is selected; the authors' code leaves ties to an unstable sort.

    Args:
        image_size: Height and width of the frame, $L$, in pixels.
        patch_size: Height and width of a patch, in pixels.
        stride: Pixels from one patch to the next.
        channels: Channels of a pixel.
        query_dim: The dimension of keys and queries.
        top_k: How many patches are selected.
        hidden_size: Hidden units of the LSTM.
        action_dim: The dimension of an action, each component in (-1, 1).

    Raises:
        ValueError: The frame has fewer than `top_k` patches.

    Answers: attention_agent.where-not-what
        Twenty numbers: row and column of ten patch centers, divided by the frame's size, the most important patch
        first. Neither pixels nor importances are passed on: below, the action is computed from these positions alone.

        >>> import torch
        >>> from reference_impl.attention_agent import AttentionAgent, extract_patches
        >>> _ = torch.manual_seed(0)
        >>> agent, frame = AttentionAgent(), torch.rand(96, 96, 3)
        >>> seen, best = agent.attended_positions(frame), agent.vote(extract_patches(frame)).topk(10).indices
        >>> seen.shape, torch.equal(seen.reshape(10, 2) * 96, agent.centers[best])
        (torch.Size([20]), True)
        >>> hidden, _ = agent.controller(seen[None], agent.controller.init_state(seen[None]))
        >>> torch.equal(agent.action(hidden)[0].tanh(), agent(frame)[0])
        True

    Asked: attention_agent.all-numbers, attention_agent.outside-the-patches, attention_agent.why-evolution
    Asked: attention_agent.can-evolution-find-it
    """

    centers: Tensor

    def __init__(
        self,
        image_size: int = 96,
        patch_size: int = 7,
        stride: int = 4,
        channels: int = 3,
        query_dim: int = 4,
        top_k: int = 10,
        hidden_size: int = 16,
        action_dim: int = 3,
    ) -> None:
        super().__init__()
        self.image_size, self.patch_size, self.stride, self.top_k = image_size, patch_size, stride, top_k
        self.register_buffer("centers", patch_centers(image_size, image_size, patch_size, stride), persistent=False)
        if len(self.centers) < top_k:
            raise ValueError(f"top_k {top_k} exceeds the {len(self.centers)} patches of a frame")
        self.vote = PatchVote(patch_size * patch_size * channels, query_dim)
        self.controller = LSTMCell(2 * top_k, hidden_size)
        self.action = nn.Linear(hidden_size, action_dim)

    def forward(
        self, frame: Float[Tensor, "side side c"], state: State | None = None
    ) -> tuple[Float[Tensor, " a"], State]:
        """Return the action and the LSTM's next state; the state is zero if none is given."""
        positions = self.attended_positions(frame)[None]  # (1, 2 k)
        state = self.controller.init_state(positions) if state is None else state
        hidden, cell = self.controller(positions, state)  # (1, h) each
        return self.action(hidden)[0].tanh(), (hidden, cell)  # (a,)

    def attended_positions(self, frame: Float[Tensor, "side side c"]) -> Float[Tensor, " input_size"]:
        """Return the input of the controller: row and column of each selected center, divided by the frame's size."""
        return self.centers[self.top_patches(frame)].flatten() / self.image_size  # (2 k,)

    def top_patches(self, frame: Float[Tensor, "side side c"]) -> Int[Tensor, " k"]:
        """Return the indices of the most important patches, the most important first."""
        votes = self.vote(extract_patches(frame, self.patch_size, self.stride))  # (n,)
        return votes.sort(descending=True, stable=True).indices[: self.top_k]

    def attended_pixels(self, frame: Float[Tensor, "side side c"]) -> Tensor:
        """Return a mask that is true where a selected patch covers the pixel."""
        mask = torch.zeros(self.image_size, self.image_size, dtype=torch.bool)
        for row, column in (self.centers[self.top_patches(frame)].long() - self.patch_size // 2).tolist():
            mask[row : row + self.patch_size, column : column + self.patch_size] = True
        return mask

    def get_params(self) -> Float[Tensor, " p"]:
        """Return all parameters as one vector, in the order of the authors' checkpoints.

        Source: the authors' code, `get_params`: layer by layer, sorted by parameter name within a layer. So biases
        come before weights, and an LSTM's hidden weights before its input weights.
        """
        return torch.cat([part.detach().flatten() for part in self._parts()])

    def set_params(self, params: Float[Tensor, " p"]) -> None:
        """Load all parameters from a vector in the order of `get_params`, such as `params` in the authors' `model.npz`.

        Raises:
            ValueError: The vector has the wrong length.
        """
        parts = self._parts()
        if len(params) != sum(part.numel() for part in parts):
            raise ValueError(f"{len(params)} parameters for {sum(part.numel() for part in parts)}")
        with torch.no_grad():
            for part, numbers in zip(parts, torch.split(params, [part.numel() for part in parts]), strict=True):
                part.copy_(numbers.reshape(part.shape))

    def _parts(self) -> list[Tensor]:
        cell = self.controller
        layers = [
            *((linear.bias, linear.weight) for linear in (self.vote.key, self.vote.query)),
            (cell.bias_hh, cell.bias_ih, cell.weight_hh, cell.weight_ih),
            (self.action.bias, self.action.weight),
        ]
        return [part for layer in layers for part in layer]


# Answers


def all_numbers() -> None:
    """
    Answers: attention_agent.all-numbers
        3,667: a third in the attention, two thirds in the controller. The agent for Doom has an action of one dimension
        and 3,633 parameters.

        >>> from reference_impl.attention_agent import AttentionAgent
        >>> agent = AttentionAgent()
        >>> {name: sum(p.numel() for p in part.parameters()) for name, part in agent.named_children()}
        {'vote': 1184, 'controller': 2432, 'action': 51}
        >>> len(agent.get_params()), len(AttentionAgent(action_dim=1).get_params())
        (3667, 3633)
    """


def why_columns() -> None:
    """
    Answers: attention_agent.why-columns
        Every row of $A$ is a softmax and sums to 1, whatever the patch shows: each patch has one vote to distribute. A
        column holds the votes that a patch receives from all patches. So row sums are all equal, and column sums rank
        the patches.

        >>> import torch
        >>> from reference_impl.attention_agent import PatchVote
        >>> _ = torch.manual_seed(0)
        >>> vote, patches = PatchVote(147, 4), 3 * torch.randn(529, 147)
        >>> matrix = vote.attention_weights(patches)
        >>> torch.allclose(matrix.sum(dim=1), torch.ones(529), atol=1e-5)
        True
        >>> columns = matrix.sum(dim=0)
        >>> bool(columns.max() > 1.5), bool(columns.min() < 0.9), round(columns.sum().item())
        (True, True, 529)
        >>> torch.equal(columns, vote(patches))
        True
    """


def which_scale() -> None:
    r"""
    Answers: attention_agent.which-scale
        By $\sqrt{d_{in}} = \sqrt{147}$, the root of the patch's size. The Transformer divides by the root of the key
        dimension, here $\sqrt 4$, which would make every score about six times as large: the softmax sharpens, and the
        votes concentrate on few patches. Most of the selected patches stay the same, so the agent's reward does not
        tell which scale is right.

        >>> import math, torch
        >>> from reference_impl.attention_agent import PatchVote
        >>> _ = torch.manual_seed(0)
        >>> vote, patches = PatchVote(147, 4), 3 * torch.randn(529, 147)
        >>> products = vote.key(patches) @ vote.query(patches).mT
        >>> published, other = products / math.sqrt(147), products / math.sqrt(4)
        >>> torch.allclose(vote.scores(patches), published, atol=1e-6), round((other.std() / published.std()).item(), 2)
        (True, 6.06)
        >>> votes = [scores.softmax(dim=-1).sum(dim=0) for scores in (published, other)]
        >>> share = [(one.topk(10).values.sum() / 529).item() for one in votes]
        >>> share[1] > 2 * share[0]
        True
        >>> len({*votes[0].topk(10).indices.tolist()} & {*votes[1].topk(10).indices.tolist()}) > 5
        True
    """


def how_many_patches() -> None:
    r"""
    Answers: attention_agent.how-many-patches
        A window of 7 with a stride of 4 fits $\lfloor (96 - 7)/4 \rfloor + 1 = 23$ times in each direction: 529 patches
        of 147 values. Neighboring patches overlap by 3 pixels, so one pixel is part of up to four of them. Attention
        compares all pairs, so its cost grows with the fourth power of the frame's side: twice the side, about sixteen
        times the weights.

        >>> import torch
        >>> from reference_impl.attention_agent import PatchVote, extract_patches
        >>> patches = extract_patches(torch.rand(96, 96, 3))
        >>> patches.shape
        torch.Size([529, 147])
        >>> pixel = torch.zeros(96, 96, 3)
        >>> pixel[30, 30] = 1
        >>> int(extract_patches(pixel).any(dim=1).sum())
        4
        >>> def votes(side):
        ...     return PatchVote(147, 4).attention_weights(extract_patches(torch.zeros(side, side, 3))).numel()
        >>> votes(96), votes(192), round(votes(192) / votes(96))
        (279841, 4879681, 17)
    """


def outside_the_patches() -> None:
    """
    Answers: attention_agent.outside-the-patches
        Nothing, as long as the same patches are selected. The attention of this agent is made to depend on the red
        channel alone. Change green and blue outside the selected patches, and the action is the same to the bit.

        >>> import torch
        >>> from reference_impl.attention_agent import AttentionAgent
        >>> _ = torch.manual_seed(0)
        >>> agent, frame = AttentionAgent(), torch.rand(96, 96, 3)
        >>> for linear in (agent.vote.key, agent.vote.query):
        ...     linear.weight.data.reshape(4, 7, 7, 3)[..., 1:] = 0
        >>> paint = torch.cat([frame[..., :1], torch.rand(96, 96, 2)], dim=2)
        >>> repainted = torch.where(agent.attended_pixels(frame)[..., None], frame, paint)
        >>> torch.equal(repainted, frame), torch.equal(agent(repainted)[0], agent(frame)[0])
        (False, True)

        A change that attracts attention does matter: with more red somewhere, other patches are selected.

        >>> repainted[60:80, 8:28, 0] *= 5
        >>> torch.equal(agent(repainted)[0], agent(frame)[0])
        False
    """


def no_positions() -> None:
    """
    Answers: attention_agent.no-positions
        No. The importance of a patch depends on the contents of the patches alone: permute the patches, and the
        importances are permuted with them. An object that is important in one corner is important in every corner, and
        if a scene shifts by a multiple of the stride, the importances shift with it.

        >>> import torch
        >>> from reference_impl.attention_agent import PatchVote, extract_patches
        >>> _ = torch.manual_seed(0)
        >>> vote, patches, order = PatchVote(147, 4), torch.rand(529, 147), torch.randperm(529)
        >>> torch.allclose(vote(patches[order]), vote(patches)[order], atol=1e-5)
        True
        >>> frame = torch.zeros(96, 96, 3)
        >>> frame[40:60, 40:60] = torch.rand(20, 20, 3)
        >>> moved = frame.roll((4, 8), dims=(0, 1))
        >>> before, after = (vote(extract_patches(f)).reshape(23, 23) for f in (frame, moved))
        >>> torch.allclose(before.roll((1, 2), dims=(0, 1)), after, atol=1e-4)
        True
    """


def why_evolution() -> None:
    """
    Answers: attention_agent.why-evolution
        Selecting the top ten is a step function: change the attention's weights a little, and either nothing changes or
        one patch replaces another. Its derivative is zero wherever it exists, so no gradient reaches the attention from
        the action. Evolution compares the rewards of whole agents and needs no gradient.

        >>> import torch
        >>> from reference_impl.attention_agent import AttentionAgent
        >>> _ = torch.manual_seed(0)
        >>> agent, frame = AttentionAgent(), torch.rand(96, 96, 3)
        >>> action, _ = agent(frame)
        >>> action.sum().backward()
        >>> [name for name, part in agent.named_children() if all(p.grad is None for p in part.parameters())]
        ['vote']
        >>> agent.vote.key.weight.data *= 1 + 1e-6
        >>> torch.equal(agent(frame)[0], action)
        True
    """


def indirect_encoding() -> None:
    """
    Answers: attention_agent.indirect-encoding
        1,184 parameters make 279,841 attention weights: the large matrix is not learned but computed from the frame, by
        two projections to four dimensions. Before the softmax it is a product of two matrices of four columns, so its
        rank is at most 4, however large the frame. The softmax raises the rank.

        >>> import torch
        >>> from reference_impl.attention_agent import PatchVote, extract_patches
        >>> _ = torch.manual_seed(0)
        >>> vote = PatchVote(147, 4).double()
        >>> patches = extract_patches(torch.rand(96, 96, 3, dtype=torch.float64))
        >>> scores = vote.scores(patches)
        >>> scores.numel(), int(torch.linalg.matrix_rank(scores))
        (279841, 4)
        >>> int(torch.linalg.matrix_rank(vote.attention_weights(patches))) > 4
        True
    """


def can_evolution_find_it() -> None:
    """
    Answers: attention_agent.can-evolution-find-it
        Yes. A square appears in one of five columns of a small noisy frame, and the action must tell which. The agent
        has 427 parameters for attention and control together. Each generation draws 24 perturbations of the current
        parameters and continues from the mean of the best five, without gradients. Always answering with the middle
        column costs an error of 0.18.

        >>> import torch
        >>> from reference_impl.attention_agent import AttentionAgent
        >>> _ = torch.manual_seed(0)
        >>> agent = AttentionAgent(20, patch_size=4, channels=1, query_dim=1, top_k=1, hidden_size=8, action_dim=1)
        >>> frames, targets = 0.2 * torch.rand(5, 20, 20, 1), torch.linspace(-0.6, 0.6, 5)
        >>> for i in range(5):
        ...     frames[i, 4 * (i % 3) : 4 * (i % 3) + 4, 4 * i : 4 * i + 4] = 1
        >>> @torch.no_grad()
        ... def error(params):
        ...     agent.set_params(params)
        ...     return (torch.cat([agent(frame)[0] for frame in frames]) - targets).square().mean().item()
        >>> params, spread = agent.get_params(), 2.0
        >>> first = error(params)
        >>> for generation in range(20):
        ...     relatives = params + spread * torch.randn(24, len(params))
        ...     order = torch.tensor([error(one) for one in relatives]).argsort()
        ...     params, spread = relatives[order[:5]].mean(dim=0), 0.92 * spread
        >>> len(params), first > 0.18, error(params) < 0.09
        (427, True, True)
    """
