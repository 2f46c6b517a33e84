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


def cut(frame: Float[Tensor, "height width c"], size: int = 7, stride: int = 4) -> Float[Tensor, "n d_in"]:
    r"""Slide a window over a frame, and return what it shows at each stop, row by row.

    Source: Section 3.1, "Input Transformation"

    A patch is laid out as the frame is: rows, columns, channels. What the last full stop leaves over at the right and
    at the bottom is not looked at.

    Raises:
        ValueError: The frame is smaller than a patch.

    Answers: attention_agent.how-many-patches
        A window of 7 that moves in steps of 4 stops $\lfloor (96 - 7)/4 \rfloor + 1 = 23$ times in each direction: 529
        patches of 147 numbers. They overlap by 3, so one pixel may be part of four of them. Each votes on each, and the
        cost grows with the fourth power of the frame's side: twice the side, about sixteen times the votes.

        >>> import torch
        >>> from reference_impl.attention_agent import PatchVote, cut
        >>> patches = cut(torch.rand(96, 96, 3))
        >>> patches.shape
        torch.Size([529, 147])
        >>> pixel = torch.zeros(96, 96, 3)
        >>> pixel[30, 30] = 1
        >>> int(cut(pixel).any(dim=1).sum())
        4
        >>> def votes(side):
        ...     return PatchVote(147, 4).matrix(cut(torch.zeros(side, side, 3))).numel()
        >>> votes(96), votes(192), round(votes(192) / votes(96))
        (279841, 4879681, 17)
    """
    height, width, _ = frame.shape
    if min(height, width) < size:
        raise ValueError(f"a frame of {height} × {width} holds no patch of {size} × {size}")
    stops = frame.unfold(0, size, stride).unfold(1, size, stride)  # rows, columns, c, size, size
    return stops.permute(0, 1, 3, 4, 2).reshape(stops.shape[0] * stops.shape[1], -1)


def centres(height: int, width: int, size: int = 7, stride: int = 4) -> Float[Tensor, "n 2"]:
    """Return the row and the column of the middle of each patch that `cut` returns, in pixels.

    Source: Section 3.1
    """
    rows, columns = (torch.arange(0, side - size + 1, stride) + size // 2 for side in (height, width))
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

    Answers: attention_agent.why-columns
        Every row of $A$ is a softmax and sums to 1: a patch has one vote to divide, whatever it shows. Down a column
        stands what a patch is given by all of them. Rows can't tell patches apart, columns can.

        >>> import torch
        >>> from reference_impl.attention_agent import PatchVote
        >>> _ = torch.manual_seed(0)
        >>> vote, patches = PatchVote(147, 4), 3 * torch.randn(529, 147)
        >>> matrix = vote.matrix(patches)
        >>> torch.allclose(matrix.sum(dim=1), torch.ones(529), atol=1e-5)
        True
        >>> columns = matrix.sum(dim=0)
        >>> bool(columns.max() > 1.5), bool(columns.min() < 0.9), round(columns.sum().item())
        (True, True, 529)
        >>> torch.equal(columns, vote(patches))
        True

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

    Answers: attention_agent.no-positions
        No. A patch is scored by what it shows: give the patches in another order, and the votes come in that order.
        So what is worth looking at in one corner is worth it in every corner, and a scene that moves by one step of the
        window takes its votes along.

        >>> import torch
        >>> from reference_impl.attention_agent import PatchVote, cut
        >>> _ = torch.manual_seed(0)
        >>> vote, patches, order = PatchVote(147, 4), torch.rand(529, 147), torch.randperm(529)
        >>> torch.allclose(vote(patches[order]), vote(patches)[order], atol=1e-5)
        True
        >>> frame = torch.zeros(96, 96, 3)
        >>> frame[40:60, 40:60] = torch.rand(20, 20, 3)
        >>> moved = frame.roll((4, 8), dims=(0, 1))
        >>> before, after = (vote(cut(f)).reshape(23, 23) for f in (frame, moved))
        >>> torch.allclose(before.roll((1, 2), dims=(0, 1)), after, atol=1e-4)
        True

    Answers: attention_agent.indirect-encoding
        1,184 numbers make 279,841 votes: the matrix is not learnt but unfolded from the screen, by two thin maps.
        Before the softmax it is a product of two matrices of four columns, so its rank is 4 at most, however large the
        screen. The softmax gives it back what a product can't have.

        >>> import torch
        >>> from reference_impl.attention_agent import PatchVote, cut
        >>> _ = torch.manual_seed(0)
        >>> vote = PatchVote(147, 4).double()
        >>> patches = cut(torch.rand(96, 96, 3, dtype=torch.float64))
        >>> scores = vote.scores(patches)
        >>> scores.numel(), int(torch.linalg.matrix_rank(scores))
        (279841, 4)
        >>> int(torch.linalg.matrix_rank(vote.matrix(patches))) > 4
        True
    """

    def __init__(self, d_in: int, d: int) -> None:
        super().__init__()
        self.key, self.query = nn.Linear(d_in, d), nn.Linear(d_in, d)

    def forward(self, patches: Float[Tensor, "n d_in"]) -> Float[Tensor, " n"]:
        """Return the votes that each patch receives; they sum to n."""
        return self.matrix(patches).sum(dim=0)

    def matrix(self, patches: Float[Tensor, "n d_in"]) -> Float[Tensor, "n n"]:
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
        side: Height and width of the frame, $L$, in pixels.
        size: Height and width of a patch, in pixels.
        stride: Pixels from one patch to the next.
        channels: Numbers a pixel.
        d: The width of keys and queries.
        k: How many patches are chosen.
        d_hidden: Units of the controller.
        actions: Numbers that the controller puts out, each in (-1, 1).

    Raises:
        ValueError: There are fewer patches than are to be chosen.

    Answers: attention_agent.all-numbers
        3,667: a third chooses, two thirds act. The agent for Doom has one action and 3,633.

        >>> from reference_impl.attention_agent import AttentionAgent
        >>> agent = AttentionAgent()
        >>> {name: sum(p.numel() for p in part.parameters()) for name, part in agent.named_children()}
        {'vote': 1184, 'controller': 2432, 'action': 51}
        >>> len(agent.genome()), len(AttentionAgent(actions=1).genome())
        (3667, 3633)

    Answers: attention_agent.where-not-what
        Twenty numbers: row and column of ten centres, over the side of the frame, the patch with the most votes first.
        No pixel and no vote goes further: the action is worked out below from these numbers alone.

        >>> import torch
        >>> from reference_impl.attention_agent import AttentionAgent
        >>> _ = torch.manual_seed(0)
        >>> agent, frame = AttentionAgent(), torch.rand(96, 96, 3)
        >>> seen = agent.see(frame)
        >>> seen.shape, torch.equal(seen.reshape(10, 2) * 96, agent.centres[agent.choose(frame)])
        (torch.Size([20]), True)
        >>> hidden, _ = agent.controller(seen[None], agent.controller.init_state(seen[None]))
        >>> torch.equal(agent.action(hidden)[0].tanh(), agent(frame)[0])
        True

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
        >>> repainted = torch.where(agent.mask(frame)[..., None], frame, paint)
        >>> torch.equal(repainted, frame), torch.equal(agent(repainted)[0], agent(frame)[0])
        (False, True)

        A change that draws votes is another matter: more red somewhere, and other patches win.

        >>> repainted[60:80, 8:28, 0] *= 5
        >>> torch.equal(agent(repainted)[0], agent(frame)[0])
        False

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

    Answers: attention_agent.can-evolution-find-it
        Yes. A square stands in one of five columns of a small screen, among noise, and the action must tell which. The
        agent has 427 numbers in all, for what to look at and for what to do. Each generation draws 24 relatives of the
        present genome and goes on from the mean of the best five; nothing is differentiated. To always say "the middle"
        would cost 0.18.

        >>> import torch
        >>> from reference_impl.attention_agent import AttentionAgent
        >>> _ = torch.manual_seed(0)
        >>> agent = AttentionAgent(side=20, size=4, stride=4, channels=1, d=1, k=1, d_hidden=8, actions=1)
        >>> frames, told = 0.2 * torch.rand(5, 20, 20, 1), torch.linspace(-0.6, 0.6, 5)
        >>> for i in range(5):
        ...     frames[i, 4 * (i % 3) : 4 * (i % 3) + 4, 4 * i : 4 * i + 4] = 1
        >>> @torch.no_grad()
        ... def error(genome):
        ...     agent.express(genome)
        ...     return (torch.cat([agent(frame)[0] for frame in frames]) - told).square().mean().item()
        >>> genome, spread = agent.genome(), 2.0
        >>> first = error(genome)
        >>> for generation in range(20):
        ...     relatives = genome + spread * torch.randn(24, len(genome))
        ...     order = torch.tensor([error(one) for one in relatives]).argsort()
        ...     genome, spread = relatives[order[:5]].mean(dim=0), 0.92 * spread
        >>> len(genome), first > 0.18, error(genome) < 0.09
        (427, True, True)
    """

    centres: Tensor

    def __init__(
        self,
        side: int = 96,
        size: int = 7,
        stride: int = 4,
        channels: int = 3,
        d: int = 4,
        k: int = 10,
        d_hidden: int = 16,
        actions: int = 3,
    ) -> None:
        super().__init__()
        self.side, self.size, self.stride, self.k = side, size, stride, k
        self.register_buffer("centres", centres(side, side, size, stride), persistent=False)
        if len(self.centres) < k:
            raise ValueError(f"{k} patches can't be chosen out of {len(self.centres)}")
        self.vote = PatchVote(size * size * channels, d)
        self.controller = LSTMCell(2 * k, d_hidden)
        self.action = nn.Linear(d_hidden, actions)

    def forward(
        self, frame: Float[Tensor, "side side c"], state: State | None = None
    ) -> tuple[Float[Tensor, " a"], State]:
        """Return the action and the controller's next state; without a state an episode begins."""
        seen = self.see(frame)[None]
        state = self.controller(seen, self.controller.init_state(seen) if state is None else state)
        return self.action(state[0])[0].tanh(), state

    def see(self, frame: Float[Tensor, "side side c"]) -> Float[Tensor, " seen"]:
        """Return what the controller sees: row and column of each chosen centre, over the side of the frame."""
        return self.centres[self.choose(frame)].flatten() / self.side

    def choose(self, frame: Float[Tensor, "side side c"]) -> Int[Tensor, " k"]:
        """Return the patches with the most votes, the most first."""
        return self.vote(cut(frame, self.size, self.stride)).sort(descending=True, stable=True).indices[: self.k]

    def mask(self, frame: Float[Tensor, "side side c"]) -> Tensor:
        """Return, for each pixel of the frame, whether a chosen patch shows it."""
        shown = torch.zeros(self.side, self.side, dtype=torch.bool)
        for row, column in (self.centres[self.choose(frame)].long() - self.size // 2).tolist():
            shown[row : row + self.size, column : column + self.size] = True
        return shown

    def genome(self) -> Float[Tensor, " g"]:
        """Return all numbers as one vector, in the order of the authors' files.

        Source: the authors' code, `get_params`: layer by layer, and in a layer by the names of its tensors, so that
        biases come before weights, and an LSTM's hidden part before its input part.
        """
        return torch.cat([part.detach().flatten() for part in self._parts()])

    def express(self, genome: Float[Tensor, " g"]) -> None:
        """Take all numbers from a vector in the order of `genome`, such as the authors' `model.npz` holds in `params`.

        Raises:
            ValueError: The vector has too many numbers or too few.
        """
        parts = self._parts()
        if len(genome) != sum(part.numel() for part in parts):
            raise ValueError(f"a genome of {len(genome)} numbers for {sum(part.numel() for part in parts)}")
        with torch.no_grad():
            for part, numbers in zip(parts, torch.split(genome, [part.numel() for part in parts]), strict=True):
                part.copy_(numbers.reshape(part.shape))

    def _parts(self) -> list[Tensor]:
        cell = self.controller
        layers = [
            *((linear.bias, linear.weight) for linear in (self.vote.key, self.vote.query)),
            (cell.bias_hh, cell.bias_ih, cell.weight_hh, cell.weight_ih),
            (self.action.bias, self.action.weight),
        ]
        return [part for layer in layers for part in layer]
