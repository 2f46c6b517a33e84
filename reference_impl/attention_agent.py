r"""AttentionAgent: attention that selects patches of the screen, and a controller that sees only where they are.

Source: Tang, Nguyen and Ha 2020, "Neuroevolution of Self-Interpretable Agents"; sections and equations are this paper's

Axes: $n$ patches of $d_{in}$ numbers each, $d$ the width of keys and queries, $k$ chosen patches, $a$ actions. A frame
is (height, width, channels) in [0, 1]. There is no batch: evolution tries one agent on one screen at a time.
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
    r"""Slide a window over a frame, and return what it shows at each stop, row by row.

    Source: Section 3.1, "Input Transformation"

    A patch is laid out as the frame is: rows, columns, channels. What the last full stop leaves over at the right and
    at the bottom is not looked at.

    Raises:
        ValueError: The frame is smaller than a patch.

    Asked: attention_agent.how-many-patches
    """
    height, width, _ = frame.shape
    if min(height, width) < patch_size:
        raise ValueError(f"a frame of {height} × {width} holds no patch of {patch_size} × {patch_size}")
    stops = frame.unfold(0, patch_size, stride).unfold(1, patch_size, stride)  # rows, columns, c, size, size
    return stops.permute(0, 1, 3, 4, 2).reshape(stops.shape[0] * stops.shape[1], -1)


def patch_centers(height: int, width: int, patch_size: int = 7, stride: int = 4) -> Float[Tensor, "n 2"]:
    """Return the row and the column of the middle of each patch that `extract_patches` returns, in pixels.

    Source: Section 3.1
    """
    rows, columns = (torch.arange(0, side - patch_size + 1, stride) + patch_size // 2 for side in (height, width))
    return torch.cartesian_prod(rows, columns).float()


class PatchVote(nn.Module):
    r"""Score each patch by the attention it receives.

    Source: Section 3.2, "Importance Voting via Self-Attention", Eq. 1
        $$A = \operatorname{softmax}\bigl((XW_k)(XW_q)^\top / \sqrt{d_{in}}\bigr)$$

    A patch's importance is the sum of its column of $A$.

    Departs: from the Transformer, which divides by $\sqrt d$, mixes values, and adds positions. The authors' code calls
    queries what the equation calls keys, and the other way round; here the equation's names stand.

    Answers: attention_agent.learnt-numbers
        1,184: a key and a query matrix of $147 \times 4$ each, with their biases. Nothing is mixed, so there is no
        value matrix, and nothing goes back to a model's width, so there is no output matrix.

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
        """Return the votes that each patch receives; they sum to n."""
        return self.attention_weights(patches).sum(dim=0)

    def attention_weights(self, patches: Float[Tensor, "n d_in"]) -> Float[Tensor, "n n"]:
        """Return the votes of each patch, a row each, for each patch, a column each."""
        return self.scores(patches).softmax(dim=-1)

    def scores(self, patches: Float[Tensor, "n d_in"]) -> Float[Tensor, "n n"]:
        """Return what the softmax is taken of."""
        return self.key(patches) @ self.query(patches).mT / math.sqrt(patches.shape[-1])


class AttentionAgent(nn.Module):
    r"""Choose the patches with the most votes, and act on where they are.

    Source: Section 3; the sizes are Section 4's for CarRacing
        $$x_t = \tfrac{1}{L}\, [\text{centres of the } k \text{ best}], \qquad
          h_t = \operatorname{LSTM}(x_t, h_{t-1}), \qquad u_t = \tanh(W h_t + b)$$

    Departs: ties between votes fall to the patch that stands first; the authors' code leaves them to the sort.

    Args:
        image_size: Height and width of the frame, $L$, in pixels.
        patch_size: Height and width of a patch, in pixels.
        stride: Pixels from one patch to the next.
        channels: Numbers a pixel.
        query_dim: The width of keys and queries.
        top_k: How many patches are chosen.
        hidden_size: Units of the controller.
        action_dim: Numbers that the controller puts out, each in (-1, 1).

    Raises:
        ValueError: There are fewer patches than are to be chosen.

    Answers: attention_agent.where-not-what
        Twenty numbers: row and column of ten centres, over the side of the frame, the patch with the most votes first.
        No pixel and no vote goes further: the action is worked out below from these numbers alone.

        >>> import torch
        >>> from reference_impl.attention_agent import AttentionAgent
        >>> _ = torch.manual_seed(0)
        >>> agent, frame = AttentionAgent(), torch.rand(96, 96, 3)
        >>> seen = agent.attended_positions(frame)
        >>> seen.shape, torch.equal(seen.reshape(10, 2) * 96, agent.centers[agent.top_patches(frame)])
        (torch.Size([20]), True)
        >>> hidden, _ = agent.controller(seen[None], agent.controller.start(seen[None]))
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
            raise ValueError(f"{top_k} patches can't be chosen out of {len(self.centers)}")
        self.vote = PatchVote(patch_size * patch_size * channels, query_dim)
        self.controller = LSTMCell(2 * top_k, hidden_size)
        self.action = nn.Linear(hidden_size, action_dim)

    def forward(
        self, frame: Float[Tensor, "side side c"], state: State | None = None
    ) -> tuple[Float[Tensor, " a"], State]:
        """Return the action and the controller's next state; without a state an episode begins."""
        seen = self.attended_positions(frame)[None]
        state = self.controller(seen, self.controller.start(seen) if state is None else state)
        return self.action(state[0])[0].tanh(), state

    def attended_positions(self, frame: Float[Tensor, "side side c"]) -> Float[Tensor, " seen"]:
        """Return what the controller sees: row and column of each chosen centre, over the side of the frame."""
        return self.centers[self.top_patches(frame)].flatten() / self.image_size

    def top_patches(self, frame: Float[Tensor, "side side c"]) -> Int[Tensor, " k"]:
        """Return the patches with the most votes, the most first."""
        votes = self.vote(extract_patches(frame, self.patch_size, self.stride))
        return votes.sort(descending=True, stable=True).indices[: self.top_k]

    def attended_pixels(self, frame: Float[Tensor, "side side c"]) -> Tensor:
        """Return, for each pixel of the frame, whether a chosen patch shows it."""
        shown = torch.zeros(self.image_size, self.image_size, dtype=torch.bool)
        for row, column in (self.centers[self.top_patches(frame)].long() - self.patch_size // 2).tolist():
            shown[row : row + self.patch_size, column : column + self.patch_size] = True
        return shown

    def get_params(self) -> Float[Tensor, " p"]:
        """Return all numbers as one vector, in the order of the authors' files.

        Source: the authors' code, `get_params`: layer by layer, and in a layer by the names of its tensors, so that
        biases come before weights, and an LSTM's hidden part before its input part.
        """
        return torch.cat([part.detach().flatten() for part in self._parts()])

    def set_params(self, params: Float[Tensor, " p"]) -> None:
        """Load all parameters from a vector in the order of `get_params`, such as `params` in the authors' `model.npz`.

        Raises:
            ValueError: The vector has too many numbers or too few.
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
        3,667: a third chooses, two thirds act. The agent for Doom has one action and 3,633.

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
        Every row of $A$ is a softmax and sums to 1: a patch has one vote to divide, whatever it shows. Down a column
        stands what a patch is given by all of them. Rows can't tell patches apart, columns can.

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
        By $\sqrt{d_{in}} = \sqrt{147}$, the root of the patch's size. The Transformer's scale is the root of the keys'
        width, here $\sqrt 4$, and would make every score about six times as large: the rows sharpen, and the votes pile
        up on few patches. Which patches win is much the same, so a good score of the agent does not prove a scale.

        >>> import math, torch
        >>> from reference_impl.attention_agent import PatchVote
        >>> _ = torch.manual_seed(0)
        >>> vote, patches = PatchVote(147, 4), 3 * torch.randn(529, 147)
        >>> published = vote.scores(patches)
        >>> other = published * math.sqrt(147) / math.sqrt(4)
        >>> round((other.std() / published.std()).item(), 2)
        6.06
        >>> votes = [scores.softmax(dim=-1).sum(dim=0) for scores in (published, other)]
        >>> share = [(one.topk(10).values.sum() / 529).item() for one in votes]
        >>> share[1] > 2 * share[0]
        True
        >>> len({*votes[0].topk(10).indices.tolist()} & {*votes[1].topk(10).indices.tolist()}) >= 3
        True
    """


def how_many_patches() -> None:
    r"""
    Answers: attention_agent.how-many-patches
        A window of 7 that moves in steps of 4 stops $\lfloor (96 - 7)/4 \rfloor + 1 = 23$ times in each direction: 529
        patches of 147 numbers. They overlap by 3, so one pixel may be part of four of them. Each votes on each, and the
        cost grows with the fourth power of the frame's side: twice the side, about sixteen times the votes.

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
        Nothing, if the same patches win. The votes of this agent are made to depend on red alone: repaint the green and
        the blue of all that was not chosen, and the action is the same to the bit.

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

        A change that draws votes is another matter: more red somewhere, and other patches win.

        >>> repainted[60:80, 8:28, 0] *= 5
        >>> torch.equal(agent(repainted)[0], agent(frame)[0])
        False
    """


def no_positions() -> None:
    """
    Answers: attention_agent.no-positions
        No. A patch is scored by what it shows: give the patches in another order, and the votes come in that order.
        So what is worth looking at in one corner is worth it in every corner, and a scene that moves by one step of the
        window takes its votes along.

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
        To choose ten patches is a step: move the weights of the vote a little, and either nothing changes or a patch is
        swapped for another. Its derivative is zero wherever there is one, and autograd finds no road from the action to
        the vote. Evolution compares whole agents and needs no road.

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
        1,184 numbers make 279,841 votes: the matrix is not learnt but unfolded from the screen, by two thin maps.
        Before the softmax it is a product of two matrices of four columns, so its rank is 4 at most, however large the
        screen. The softmax gives it back what a product can't have.

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
        Yes. A square stands in one of five columns of a small screen, among noise, and the action must tell which. The
        agent has 427 parameters in all, for what to look at and for what to do. Each generation draws 24 variations of
        the current parameters and goes on from the mean of the best five; nothing is differentiated. Always to say "the
        middle" would cost 0.18.

        >>> import torch
        >>> from reference_impl.attention_agent import AttentionAgent
        >>> _ = torch.manual_seed(0)
        >>> agent = AttentionAgent(20, patch_size=4, channels=1, query_dim=1, top_k=1, hidden_size=8, action_dim=1)
        >>> frames, told = 0.2 * torch.rand(5, 20, 20, 1), torch.linspace(-0.6, 0.6, 5)
        >>> for i in range(5):
        ...     frames[i, 4 * (i % 3) : 4 * (i % 3) + 4, 4 * i : 4 * i + 4] = 1
        >>> @torch.no_grad()
        ... def error(params):
        ...     agent.set_params(params)
        ...     return (torch.cat([agent(frame)[0] for frame in frames]) - told).square().mean().item()
        >>> params, spread = agent.get_params(), 2.0
        >>> first = error(params)
        >>> for generation in range(20):
        ...     relatives = params + spread * torch.randn(24, len(params))
        ...     order = torch.tensor([error(one) for one in relatives]).argsort()
        ...     params, spread = relatives[order[:5]].mean(dim=0), 0.92 * spread
        >>> len(params), first > 0.18, error(params) < 0.09
        (427, True, True)
    """
