r"""The Vision Transformer: an image cut into patches, and read as a sentence is.

Source: Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale"; sections
    and equations below are this paper's. What it leaves unsaid is taken from google-research/vision_transformer.

Axes: $b$ images of a batch, $c$ channels, $n$ patches, $m = n + 1$ tokens with the class token first, $d$ the width,
$h$ heads, $k$ classes. A patch has $p \times p$ pixels.

Left out: the hybrid that cuts up a ResNet's features (Section 3.1), and the masked patches of Section 4.6.
"""

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from reference_impl.layers.attention import MultiHeadAttention
from reference_impl.layers.positions import LearnedPositions

Grid = tuple[int, int]


def grid_of(size: Grid, p: int) -> Grid:
    """Return how many patches an image has, down and across.

    Raises:
        ValueError: They do not fill the image.
    """
    if p < 1 or size[0] % p or size[1] % p:
        raise ValueError(f"an image of {size[0]} × {size[1]} does not divide into patches of {p} × {p}")
    return size[0] // p, size[1] // p


def cut(images: Float[Tensor, "b c rows columns"], p: int) -> Float[Tensor, "b n cpp"]:
    r"""Cut images into patches, row by row, and lay each patch out as one vector.

    Source: Section 3.1: from $\mathbb{R}^{H \times W \times C}$ to $\mathbb{R}^{N \times (P^2 C)}$, with
        $$N = HW / P^2$$

    The numbers of a patch stand channel by channel, and then row by row: as in the kernel of a convolution, so that the
    weights of either fit the other.

    Departs: the public code leaves out the last rows and columns that fill no patch; here such an image is refused.

    Args:
        images: What is cut.
        p: The side of a patch, in pixels.

    Raises:
        ValueError: The image does not divide into patches.

    Answers: vit.instead-of-pixel-attention
        Attention among patches. Every pixel of a 224 × 224 image would attend to every other in 2.5 billion pairs:
        one head's weights alone fill 10 GB. Patches of 16 × 16 make 196 tokens, and 65,536 times fewer pairs; the
        pixels within a patch are mixed by the projection. Earlier work kept pixels, and let each look only nearby, at
        some others, or along its row and column.

        >>> import torch
        >>> from reference_impl.vit import cut
        >>> image = torch.empty(1, 3, 224, 224, device="meta")
        >>> tokens = {p: cut(image, p).shape[1] for p in (1, 14, 16, 32)}
        >>> tokens
        {1: 50176, 14: 256, 16: 196, 32: 49}
        >>> pairs = {p: n * n for p, n in tokens.items()}
        >>> pairs[1], pairs[16], pairs[1] // pairs[16]
        (2517630976, 38416, 65536)
        >>> round(4 * pairs[1] / 1e9)  # bytes of one head's weights
        10

        Nothing is lost on the way: the patches hold every pixel once, and in the base model a patch's 768 numbers
        become a token that is 768 wide.

        >>> image = torch.arange(3 * 64 * 64.0).reshape(1, 3, 64, 64)
        >>> cut(image, 16).shape, torch.equal(cut(image, 16).flatten().sort().values, image.flatten())
        (torch.Size([1, 16, 768]), True)
    """
    b, c, *size = images.shape
    rows, columns = grid_of((size[0], size[1]), p)
    grid = images.reshape(b, c, rows, p, columns, p).permute(0, 2, 4, 1, 3, 5)
    return grid.reshape(b, rows * columns, c * p * p)


def stretch(
    table: Float[Tensor, "_ d"], old: Grid, new: Grid, method: Literal["bilinear", "bicubic"] = "bilinear"
) -> Float[Tensor, "_ d"]:
    """Make the positions of one grid of patches into those of another; the class token keeps its own.

    Source: Section 3.2; how, is not in the paper

    Args:
        table: The class token's row, then one a patch, row by row of the grid.
        old: The rows and columns of the grid that the table was trained on.
        new: The rows and columns that are wanted.
        method: Bilinear, with the corners on the corners, as in the authors' code; or bicubic, with the edges on the
            edges, as in Hugging Face's.

    Raises:
        ValueError: The table has another number of rows than the old grid asks for.

    Answers: vit.higher-resolution
        More pixels make more patches. Projection and blocks take any number of them; only the table of positions has
        one row each. It is laid out as the grid that it stands for, and stretched to the new grid, by interpolation.
        From 224 to 384 pixels the 196 rows become 576, the one part that grows; then the model is fine-tuned.

        >>> import torch
        >>> from reference_impl.vit import fine_tuned, stretch, vit
        >>> with torch.device("meta"):
        ...     small = vit("B/16")
        ...     large = fine_tuned(small, classes=1000, size=(384, 384))
        >>> small.positions.table.shape[0], large.positions.table.shape[0]
        (197, 577)
        >>> large.embed(torch.empty(1, 3, 384, 384, device="meta")).shape
        torch.Size([1, 577, 768])
        >>> count = [sum(w.numel() for w in model.parameters()) for model in (small, large)]
        >>> count, count[1] - count[0] == (577 - 197) * 768
        ([86567656, 86859496], True)

        Here lies the model's only knowledge that images have two dimensions. Let a table hold each patch's row and
        column. Stretched as a grid it still does, on a finer scale. Stretched as the sequence that the blocks see,
        columns that should run from 0 to 2 in every row no longer do.

        >>> def places(rows, columns):
        ...     down, across = torch.linspace(0, 2, rows), torch.linspace(0, 2, columns)
        ...     return torch.cat([torch.full((1, 2), 9.0), torch.cartesian_prod(down, across)])
        >>> torch.allclose(stretch(places(3, 3), (3, 3), (5, 7)), places(5, 7), atol=1e-6)
        True
        >>> torch.allclose(stretch(places(3, 3), (9, 1), (35, 1)), places(5, 7), atol=0.5)
        False
    """
    if len(table) != 1 + math.prod(old):
        raise ValueError(f"{len(table)} positions are not those of a class token and {old[0]} × {old[1]} patches")
    if old == new:
        return table
    grid = table[1:].reshape(*old, -1).permute(2, 0, 1)[None]
    # Left to None, torch's bicubic puts edges on edges; only the bilinear one is told where the corners go.
    grid = F.interpolate(grid, size=new, mode=method, align_corners=method == "bilinear")
    return torch.cat([table[:1], grid[0].flatten(1).mT])


class Block(nn.Module):
    r"""Let each token look at all of them, then change each by itself, with a norm before either.

    Source: Section 3.1, Eqs. 2 and 3
        $$z'_\ell = \operatorname{MSA}(\operatorname{LN}(z_{\ell-1})) + z_{\ell-1}, \qquad
          z_\ell = \operatorname{MLP}(\operatorname{LN}(z'_\ell)) + z'_\ell$$

    Source: Appendix B.1, of dropout: after each dense layer, but for those of queries, keys and values

    Answers: vit.patches-as-tokens
        Yes, from the projection on. A word's vector is a one-hot vector times a table; a patch's is its pixels times
        a table. Draw images from a vocabulary of twenty patches, and the projection is a look-up in twenty rows. What
        a patch lacks is the vocabulary: its pixels may take any values, which no table could list.

        >>> import torch
        >>> from torch.nn import functional as F
        >>> from reference_impl.vit import Block, ViT, cut
        >>> _ = torch.manual_seed(0)
        >>> model = ViT(d_model=16, heads=2, d_ff=32, layers=1, p=4, size=(8, 8), classes=3).double()
        >>> vocabulary, words = torch.randn(20, 3, 4, 4, dtype=torch.float64), torch.tensor([[7, 0, 19, 7]])
        >>> image = vocabulary[words].unflatten(1, (2, 2)).permute(0, 3, 1, 4, 2, 5).reshape(1, 3, 8, 8)
        >>> table = model.project(vocabulary.flatten(1))
        >>> torch.allclose(model.project(cut(image, 4)), F.embedding(words, table), rtol=0, atol=1e-12)
        True

        The same projection is a convolution that steps from patch to patch. And a block doesn't know what its tokens
        were: it is the Transformer's encoder layer, with the norms first and GELU for ReLU.

        >>> kernel = model.project.weight.reshape(16, 3, 4, 4)
        >>> convolved = F.conv2d(image, kernel, model.project.bias, stride=4).flatten(2).mT
        >>> torch.allclose(model.project(cut(image, 4)), convolved, rtol=0, atol=1e-12)
        True
        >>> from reference_impl.transformer import EncoderLayer, PreNorm
        >>> theirs = EncoderLayer(d_model=16, heads=2, d_ff=32, dropout=0.0, residual=PreNorm).double()
        >>> theirs.feed_forward[1] = torch.nn.GELU("tanh")
        >>> ours = Block(d_model=16, heads=2, d_ff=32).double()
        >>> of_ours = {"self_attention": ours.attention, "around_self_attention.norm": ours.attention_norm}
        >>> of_ours |= {"feed_forward.0": ours.expand, "feed_forward.2": ours.contract}
        >>> of_ours |= {"around_feed_forward.norm": ours.mlp_norm}
        >>> for name, part in of_ours.items():
        ...     _ = theirs.get_submodule(name).load_state_dict(part.state_dict())
        >>> x = torch.randn(2, 5, 16, dtype=torch.float64)
        >>> torch.allclose(ours(x), theirs(x), atol=1e-4)  # their epsilon in the norms is 1e-5, here it is 1e-6
        True
    """

    def __init__(
        self,
        d_model: int,
        heads: int,
        d_ff: int,
        dropout: float = 0.0,
        gelu: Literal["tanh", "erf"] = "tanh",
        epsilon: float = 1e-6,
    ) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(d_model, heads)
        self.expand, self.contract = nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model)
        self.attention_norm, self.mlp_norm = nn.LayerNorm(d_model, epsilon), nn.LayerNorm(d_model, epsilon)
        self.gelu, self.dropout = nn.GELU("tanh" if gelu == "tanh" else "none"), nn.Dropout(dropout)

    def forward(self, z: Float[Tensor, "b m d"]) -> Float[Tensor, "b m d"]:
        """Return the tokens as the next block sees them."""
        y = self.attention_norm(z)
        z = z + self.dropout(self.attention(y, y, y))
        y = self.dropout(self.gelu(self.expand(self.mlp_norm(z))))
        return z + self.dropout(self.contract(y))

    def weights(self, z: Float[Tensor, "b m d"]) -> Float[Tensor, "b h m m"]:
        """Return how much each token attends to each, in every head."""
        y = self.attention_norm(z)
        return self.attention.weights(y, y)


class ViT(nn.Module):
    r"""Classify images by reading their patches.

    Source: Section 3.1, Eqs. 1 to 4, and Figure 1
        $$z_0 = [x_{class};\ x_p^1 E;\ \dots;\ x_p^N E] + E_{pos}, \qquad y = \operatorname{LN}(z_L^0)$$

    An image of another size than the model's is taken too, with the positions stretched. The defaults are ViT-B/16 with
    a head of one layer; `vit` knows the other sizes by name.

    Departs: GELU is computed by the hyperbolic tangent, and a norm's epsilon is $10^{-6}$, as in the authors' code; the
    paper says neither.

    Args:
        d_model: The width of every block's input and output.
        heads: How many heads share that width.
        d_ff: The width inside the MLP.
        layers: How many blocks.
        p: The side of a patch, in pixels.
        size: The rows and columns of the images, in pixels.
        classes: How many classes.
        channels: How many numbers a pixel has.
        hidden: Whether the head has a hidden layer, as wide as the model, with tanh: so it is pre-trained.
        dropout: The share dropped after dense layers, and after positions are added.
        gelu: The form of GELU: by the hyperbolic tangent, or by the error function, as in Hugging Face's code.
        epsilon: What norms add to the variance; Hugging Face's code adds 1e-12.
        method: How positions are stretched to another size.

    Answers: vit.components
        Patches and their projection, a class token, a table of positions, blocks of attention and MLP with the norms
        first, one norm at the end, and a head that reads the class token. In the base model nearly all numbers are in
        the twelve blocks, exactly as many as in BERT's twelve layers.

        >>> import torch
        >>> from reference_impl.bert import BertModel
        >>> from reference_impl.vit import cut, vit
        >>> with torch.device("meta"):
        ...     model, bert = vit("B/16"), BertModel()
        >>> parts = {name: sum(w.numel() for w in part.parameters()) for name, part in model.named_children()}
        >>> parts["class token"] = model.class_token.numel()
        >>> {name: numbers for name, numbers in parts.items() if numbers}
        {'project': 590592, 'positions': 151296, 'blocks': 85054464, 'norm': 1536, 'head': 769000, 'class token': 768}
        >>> sum(parts.values()), sum(w.numel() for w in bert.layers.parameters())
        (86567656, 85054464)

        One image on its way through them:

        >>> image = torch.empty(1, 3, 224, 224, device="meta")
        >>> patches = cut(image, 16)
        >>> tokens = model.embed(image)
        >>> [tuple(x.shape) for x in (patches, model.project(patches), tokens, model.blocks[0](tokens), model(image))]
        [(1, 196, 768), (1, 196, 768), (1, 197, 768), (1, 197, 768), (1, 1000)]

    Answers: vit.why-those-components
        Take each away and see what is lost. Without positions the patches are a bag: shuffle them, and the scores stay.
        Without attention nothing reaches the class token: all images score alike. Without the residual path there is
        no way straight through, which norms that come first leave open: with both sublayers silent, 24 blocks return
        their input, where a norm that comes last changes it. And the fine-tuned head begins at zero, so that the first
        steps don't spoil what was learnt.

        >>> import torch
        >>> from reference_impl.transformer import EncoderLayer
        >>> from reference_impl.vit import ViT
        >>> _ = torch.manual_seed(0)
        >>> model = ViT(d_model=32, heads=4, d_ff=64, layers=24, p=4, size=(16, 16), classes=5).eval()
        >>> images, order = torch.randn(3, 3, 16, 16), torch.randperm(16)
        >>> def shuffled(images):
        ...     grid = images.unflatten(3, (4, 4)).unflatten(2, (4, 4)).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
        ...     return grid[:, order].unflatten(1, (4, 4)).permute(0, 3, 1, 4, 2, 5).reshape_as(images)
        >>> model(images).count_nonzero().item()  # the head is zero
        0
        >>> _ = torch.nn.init.normal_(model.head[-1].weight), torch.nn.init.normal_(model.positions.table)
        >>> torch.allclose(model(shuffled(images)), model(images), atol=1e-3)
        False
        >>> _ = torch.nn.init.zeros_(model.positions.table)
        >>> torch.allclose(model(shuffled(images)), model(images), atol=1e-3)
        True

        >>> def score_alike():
        ...     return torch.allclose(model(images)[0], model(images)[1], atol=1e-3)
        >>> with_attention = score_alike()
        >>> for block in model.blocks:
        ...     _ = torch.nn.init.zeros_(block.attention.output.weight), torch.nn.init.zeros_(block.contract.weight)
        ...     _ = torch.nn.init.zeros_(block.attention.output.bias), torch.nn.init.zeros_(block.contract.bias)
        >>> with_attention, score_alike()
        (False, True)
        >>> tokens = model.embed(images)
        >>> torch.equal(model.blocks(tokens), tokens)
        True
        >>> norm_last = EncoderLayer(d_model=32, heads=4, d_ff=64, dropout=0.0)
        >>> for numbers in (*norm_last.self_attention.output.parameters(), *norm_last.feed_forward[2].parameters()):
        ...     _ = torch.nn.init.zeros_(numbers)
        >>> torch.allclose(norm_last(tokens), tokens, atol=0.1)
        False

    Answers: vit.against-convnets
        A convolution treats every place alike: shift the image, and the map shifts with it. ViT is not born so. It
        commutes with shifts by whole patches until positions are added, and with others not even then.

        >>> import torch
        >>> from torch import nn
        >>> from reference_impl.vit import ViT
        >>> _ = torch.manual_seed(0)
        >>> vit = ViT(d_model=16, heads=2, d_ff=32, layers=1, p=4, size=(8, 8), classes=2, channels=1).eval()
        >>> _ = nn.init.normal_(vit.positions.table)
        >>> convolution = nn.Conv2d(1, 16, 3, padding=1, padding_mode="circular")
        >>> image = torch.randn(1, 1, 8, 8)
        >>> def read(image):
        ...     return vit.blocks(vit.embed(image))[:, 1:].unflatten(1, (2, 2)).permute(0, 3, 1, 2)
        >>> def shifts(network, by, mapped):
        ...     return torch.allclose(network(image.roll(by, 3)), network(image).roll(mapped, 3), atol=1e-4)
        >>> shifts(convolution, by=1, mapped=1), shifts(convolution, by=4, mapped=4), shifts(read, by=4, mapped=1)
        (True, True, False)
        >>> positions = vit.positions.table.data.clone()
        >>> _ = vit.positions.table.data.zero_()
        >>> shifts(read, by=4, mapped=1), any(shifts(read, by=1, mapped=mapped) for mapped in range(2))
        (True, False)

        That is worth data. In the training images below one of two patterns stands on the left, and in the others
        further right. The ConvNet has seen enough to know it anywhere. ViT has to learn each place by itself.

        >>> crosses = torch.tensor([[[[2.0, 0, 2], [0, 2, 0], [2, 0, 2]]], [[[0.0, 2, 0], [2, 2, 2], [0, 2, 0]]]])
        >>> def draw(columns, images):
        ...     labels, rows = torch.randint(2, (images,)), torch.randint(6, (images,))
        ...     where = torch.zeros(images, 2, 6, 6)
        ...     where[torch.arange(images), labels, rows, torch.randint(*columns, (images,))] = 1
        ...     return nn.functional.conv_transpose2d(where, crosses) + 0.1 * torch.randn(images, 1, 8, 8), labels
        >>> left, right = (0, 2), (3, 6)
        >>> def trained(network):
        ...     optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
        ...     for _ in range(100):
        ...         images, labels = draw(left, 128)
        ...         optimiser.zero_grad()
        ...         nn.functional.cross_entropy(network(images), labels).backward()
        ...         optimiser.step()
        ...     return network
        >>> def accuracy(network, columns):
        ...     images, labels = draw(columns, 500)
        ...     return float((network(images).argmax(dim=1) == labels).float().mean())
        >>> _ = torch.manual_seed(0)
        >>> pool = nn.AdaptiveMaxPool2d(1)
        >>> convnet = trained(nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), pool, nn.Flatten(), nn.Linear(16, 2)))
        >>> accuracy(convnet, left) > 0.95, accuracy(convnet, right) > 0.95
        (True, True)
        >>> vit.positions.table.data = positions
        >>> vit = trained(vit)
        >>> accuracy(vit, left) > 0.95, accuracy(vit, right) < 0.9
        (True, True)

        In return ViT sees all of the image from the first block on, where a 3 × 3 convolution sees nine pixels; its
        attention grows with the square of the number of patches. Given 14 million images or more, the missing bias no
        longer hurts (the paper's Figures 3 and 4; not shown here).

        >>> def reach(network):
        ...     x = image.clone().requires_grad_()
        ...     network(x)[0, :, 1, 1].sum().backward()
        ...     return int(x.grad.count_nonzero())
        >>> reach(convolution), reach(read)
        (9, 64)
    """

    def __init__(
        self,
        d_model: int = 768,
        heads: int = 12,
        d_ff: int = 3072,
        layers: int = 12,
        p: int = 16,
        size: Grid = (224, 224),
        classes: int = 1000,
        channels: int = 3,
        hidden: bool = False,
        dropout: float = 0.0,
        gelu: Literal["tanh", "erf"] = "tanh",
        epsilon: float = 1e-6,
        method: Literal["bilinear", "bicubic"] = "bilinear",
    ) -> None:
        super().__init__()
        self.p, self.method, self.grid = p, method, grid_of(size, p)
        self.project = nn.Linear(channels * p * p, d_model)
        self.class_token = nn.Parameter(torch.zeros(d_model))
        self.positions = LearnedPositions(1 + math.prod(self.grid), d_model)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(d_model, heads, d_ff, dropout, gelu, epsilon) for _ in range(layers)))
        self.norm = nn.LayerNorm(d_model, epsilon)
        self.head = nn.Sequential(*([nn.Linear(d_model, d_model), nn.Tanh()] if hidden else []))
        self.head.append(nn.Linear(d_model, classes))
        initialise(self)

    def forward(self, images: Float[Tensor, "b c _ _"]) -> Float[Tensor, "b k"]:
        """Score every class.

        Raises:
            ValueError: The images do not divide into patches.
        """
        return self.head(self.norm(self.blocks(self.embed(images)))[:, 0])

    def embed(self, images: Float[Tensor, "b c _ _"]) -> Float[Tensor, "b m d"]:
        """Return the tokens that enter the first block (Eq. 1).

        Raises:
            ValueError: The images do not divide into patches.
        """
        patches = self.project(cut(images, self.p))
        rows, columns = images.shape[2:]
        positions = stretch(self.positions.table, self.grid, (rows // self.p, columns // self.p), self.method)
        tokens = torch.cat([self.class_token.expand(len(images), 1, -1), patches], dim=1)
        return self.dropout(tokens + positions)

    def weights(self, images: Float[Tensor, "b c _ _"]) -> list[Float[Tensor, "b h m m"]]:
        """Return each block's attention, from the first to the last."""
        z, weights = self.embed(images), []
        for block in cast(Iterable[Block], self.blocks):
            weights.append(block.weights(z))
            z = block(z)
        return weights


def initialise(model: ViT) -> None:
    """Draw all weights anew, as the authors' code does.

    Dense layers begin by Glorot and Bengio's rule, the projection of patches by LeCun's; the last layer of the head and
    the class token begin at zero, and positions with deviation 0.02, as `LearnedPositions` does.
    """
    for linear in (module for module in model.modules() if isinstance(module, nn.Linear)):
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
    for block in cast(Iterable[Block], model.blocks):
        nn.init.normal_(block.expand.bias, std=1e-6)
        nn.init.normal_(block.contract.bias, std=1e-6)
    deviation = model.project.in_features**-0.5 / 0.87962566  # what is cut off beyond two deviations, is made up for
    nn.init.trunc_normal_(model.project.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
    nn.init.zeros_(cast(nn.Linear, model.head[-1]).weight)


@dataclass(frozen=True)
class Size:
    """One of the published sizes."""

    d_model: int
    heads: int
    d_ff: int
    layers: int


SIZES = {
    "Ti": Size(192, 3, 768, 12),
    "S": Size(384, 6, 1536, 12),
    "B": Size(768, 12, 3072, 12),
    "L": Size(1024, 16, 4096, 24),
    "H": Size(1280, 16, 5120, 32),
}
"""Base, Large and Huge are the paper's (Table 1). Tiny and Small came later, with Touvron et al. 2021 (DeiT)."""


def vit(name: str, classes: int = 1000, size: Grid = (224, 224)) -> ViT:
    """Return a new model of a published size, by the name that the paper writes: `B/16` has patches of 16 × 16.

    Source: Section 4.1, Model Variants; Table 1

    Raises:
        ValueError: No size has this name, or the images do not divide into patches.

    Answers: vit.architecture-size
        Three sizes: Base has 12 blocks that are 768 wide, Large 24 of 1,024, Huge 32 of 1,280. With 1,000 classes and
        images of 224 × 224 that makes 87, 304 and 632 million parameters; the paper prints 86, 307 and 632. Smaller
        patches leave the number nearly as it is, and raise the cost: B/32 has more parameters than B/16, and about a
        quarter of the work.

        >>> import torch
        >>> from torch.utils.flop_counter import FlopCounterMode
        >>> from reference_impl.vit import vit
        >>> with torch.device("meta"):
        ...     models = {name: vit(name) for name in ("B/16", "B/32", "L/16", "H/14")}
        >>> {name: sum(w.numel() for w in model.parameters()) for name, model in models.items()}
        {'B/16': 86567656, 'B/32': 88224232, 'L/16': 304326632, 'H/14': 632045800}
        >>> image = torch.empty(1, 3, 224, 224, device="meta")
        >>> for name in ("B/16", "B/32"):
        ...     with FlopCounterMode(display=False) as counter:
        ...         _ = models[name](image)
        ...     print(name, f"{counter.get_total_flops() / 2e9:.1f} billion multiplications an image")
        B/16 17.6 billion multiplications an image
        B/32 4.4 billion multiplications an image

    Answers: vit.fewer-resources
        Not by being small: an image costs ViT-B/16 four times what it costs a ResNet-50. The rival that the phrase
        means is [[bit]]'s network, a ResNet-152 four times as wide. ViT-L/16 has a third of its weights and takes a
        third of its operations. Counted here, at the sizes of the papers, and the ResNets without their classifiers:

        >>> import torch
        >>> from torch.utils.flop_counter import FlopCounterMode
        >>> from reference_impl.detr import ResNet
        >>> from reference_impl.vit import vit
        >>> with torch.device("meta"):
        ...     image = torch.empty(1, 3, 224, 224)
        ...     models = {name: vit(name) for name in ("B/16", "L/16")}
        ...     models |= {"ResNet-50": ResNet(), "ResNet-152, ×4": ResNet(depths=(3, 8, 36, 3), width=256)}
        >>> cost = {}
        >>> for name, model in models.items():
        ...     with FlopCounterMode(display=False) as counter:
        ...         _ = model(image)
        ...     cost[name] = counter.get_total_flops()
        >>> {name: round(operations / 1e9) for name, operations in cost.items()}  # billions
        {'B/16': 35, 'L/16': 123, 'ResNet-50': 8, 'ResNet-152, ×4': 366}
        >>> weights = {name: sum(w.numel() for w in model.parameters()) for name, model in models.items()}
        >>> wide = "ResNet-152, ×4"
        >>> round(cost["L/16"] / cost[wide], 2), round(weights["L/16"] / weights[wide], 2)
        (0.34, 0.33)

        The table that the paper prints, 680 days of a TPU core against 9,900, says a fifteenth. Operations an image
        are a third; the rest lies in how often each image is shown and in how well a TPU is used, neither of which is
        counted here. And nothing is frugal about the sum: three times the operations, for the pass back, on 303
        million images shown seven times, make more than $10^{20}$ even for the base model.

        >>> total = 3 * cost["B/16"] * 303e6 * 7
        >>> 2.2e20 < total < 2.3e20
        True
    """
    letter, _, side = name.partition("/")
    if letter not in SIZES or not side.isdecimal():
        raise ValueError(f"no size is called {name}; it is one of {', '.join(SIZES)}, a stroke and a patch's side")
    of = SIZES[letter]
    return ViT(of.d_model, of.heads, of.d_ff, of.layers, int(side), size, classes)


def loss(model: ViT, images: Float[Tensor, "b c _ _"], labels: Int[Tensor, " b"]) -> Float[Tensor, ""]:
    r"""Return what training lowers, before and after fine-tuning: the labels' mean surprise.

    Source: Section 4.1 (classification); not written out in the paper
        $$-\frac{1}{b} \sum_i \log \operatorname{softmax}(f(x_i))_{y_i}$$

    Departs: an image has one label here. In ImageNet-21k and in JFT it may have several, and the paper does not say
    what is done with them.

    Answers: vit.how-pre-training-works
        By labels, unlike BERT's: each image comes with its class, and the loss is that of a classifier. Below, a small
        ViT learns four classes. Then the head goes, one of zeros for new classes comes, the positions are stretched,
        and fine-tuning goes on from there with twice the resolution. Its labels are what it learns by: the same images
        under shuffled labels teach nothing that would carry over to fresh ones.

        >>> import torch
        >>> from reference_impl.vit import ViT, adam, fine_tuned, loss, sgd
        >>> def draw(images, side=8):  # the class is the quarter of the image that is bright
        ...     labels = torch.randint(4, (images,))
        ...     bright = torch.nn.functional.one_hot(labels, 4).reshape(-1, 1, 2, 2).float()
        ...     noise = torch.randn(images, 1, side, side)
        ...     return 2 * bright.repeat_interleave(side // 2, 2).repeat_interleave(side // 2, 3) + noise, labels
        >>> def trained(shuffle):
        ...     _ = torch.manual_seed(0)
        ...     model = ViT(32, 2, 64, layers=1, p=4, size=(8, 8), classes=4, channels=1, hidden=True)
        ...     optimiser = adam(model, rate=0.003)
        ...     for _ in range(100):
        ...         images, labels = draw(64)
        ...         optimiser.zero_grad()
        ...         loss(model, images, labels[torch.randperm(64)] if shuffle else labels).backward()
        ...         optimiser.step()
        ...     return model
        >>> def accuracy(model, side=8, half=False):
        ...     images, labels = draw(500, side)
        ...     return float((model(images).argmax(dim=1) == (labels // 2 if half else labels)).float().mean())
        >>> model = trained(shuffle=False)
        >>> accuracy(model) > 0.8, accuracy(trained(shuffle=True)) < 0.5
        (True, True)

        >>> task = fine_tuned(model, classes=2, size=(16, 16))  # the upper half or the lower, and more pixels
        >>> images, labels = draw(64, side=16)
        >>> round(loss(task, images, labels // 2).item(), 4)  # as any guess: the logarithm of 2
        0.6931
        >>> model.head, task.head
        (Sequential(
          (0): Linear(in_features=32, out_features=32, bias=True)
          (1): Tanh()
          (2): Linear(in_features=32, out_features=4, bias=True)
        ), Sequential(
          (0): Linear(in_features=32, out_features=2, bias=True)
        ))
        >>> torch.equal(task.project.weight, model.project.weight)
        True
        >>> optimiser = sgd(task)
        >>> for _ in range(30):
        ...     images, labels = draw(64, side=16)
        ...     optimiser.zero_grad()
        ...     loss(task, images, labels // 2).backward()
        ...     _ = torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        ...     optimiser.step()
        >>> accuracy(task, side=16, half=True) > 0.8
        True

    Answers: vit.excellent-results
        Those of ViT-H/14, pre-trained on Google's private images: 88.55 % on ImageNet, 90.72 % on its corrected
        labels, 94.55 % on CIFAR-100, 77.63 % over VTAB's nineteen tasks. These are the paper's figures, quoted on
        this card and not reproduced: no one outside can train on those images, nor is there the compute here. What can
        be done is to read the table.

        >>> import re
        >>> from pathlib import Path
        >>> import reference_impl
        >>> card = Path(reference_impl.__file__).parents[1] / "papers" / "vit.yml"
        >>> rows = re.findall(r"\| (ImageNet|CIFAR-100|VTAB)[^|]*((?:\| *[\d.]* *)+)\|", card.read_text("utf-8"))
        >>> table = {name: [float(x) if x.strip() else None for x in row.split("|")[1:]] for name, row in rows}
        >>> margins = {}
        >>> for name, (huge, _, _, bit, student) in table.items():
        ...     margins[name] = [round(huge - rival, 2) for rival in (bit, student) if rival is not None]
        >>> margins
        {'ImageNet': [1.01, 0.15], 'CIFAR-100': [1.04], 'VTAB': [1.34]}

        The lead over the best earlier ConvNet on ImageNet, 0.15 points, is 75 of 50,000 images. A score measured on
        so many is itself uncertain by about as much. And the models that were pre-trained on public images stay
        below both rivals there.

        >>> huge, _, public, bit, student = table["ImageNet"]
        >>> round(50_000 * (huge - student) / 100)
        75
        >>> round(100 * (huge / 100 * (1 - huge / 100) / 50_000) ** 0.5, 2)  # its standard error, in points
        0.14
        >>> public < min(bit, student)
        True
    """
    return F.cross_entropy(model(images), labels)


def adam(model: ViT, rate: float = 8e-4) -> torch.optim.AdamW:
    """Return what pre-training steps with: Adam and a strong decay of all weights.

    Source: Section 4.1, Training & Fine-tuning; Table 3 (the rate of ViT-B on JFT)

    Departs: the decay is apart from Adam's moments; the paper does not say how it is applied.
    """
    return torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.999), weight_decay=0.1)


def sgd(model: ViT, rate: float = 0.03) -> torch.optim.SGD:
    """Return what fine-tuning steps with: stochastic gradient descent with momentum, and no decay.

    Source: Section 4.1, Training & Fine-tuning; Appendix B.1.1, where gradients are clipped to a norm of 1 as well
    """
    return torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)


def fine_tuned(model: ViT, classes: int, size: Grid) -> ViT:
    """Return the model as fine-tuning begins with it; the one that is given stays as it is.

    Source: Section 3.2

    The head, with its hidden layer, goes; one layer of zeros comes. Positions are stretched, and all else is kept.

    Args:
        model: What was pre-trained.
        classes: How many classes the new task has.
        size: The rows and columns of its images, in pixels.

    Raises:
        ValueError: Those images do not divide into patches.
    """
    new = copy.deepcopy(model)
    new.grid = grid_of(size, model.p)
    table = stretch(model.positions.table.detach(), model.grid, new.grid, model.method)
    new.positions.table = nn.Parameter(table.clone())
    head = nn.Linear(table.shape[1], classes, device=table.device, dtype=table.dtype)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    new.head = nn.Sequential(head)
    return new


def roll_out(weights: Sequence[Float[Tensor, "b h m m"]]) -> Float[Tensor, "b m m"]:
    r"""Follow attention down through all blocks: how much of each first token is in each last one.

    Source: Appendix D.8; Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers", Section 3
        $$R_\ell = \tfrac12 (\bar A_\ell + I) R_{\ell-1}, \qquad R_0 = I$$

    $\bar A_\ell$ is the mean over the heads; $I$ stands for the residual path. The MLP, the values and the sizes of
    vectors are left out of account. Rows sum to 1.

    Args:
        weights: Each block's attention, from the first to the last, as `ViT.weights` returns it.

    Raises:
        ValueError: There is no block.

    Answers: vit.where-it-looks
        Attention of the last block alone speaks of tokens that have long been mixed. Roll-out multiplies the blocks,
        and counts the residual path as attention to oneself. Below, a ViT learns to tell two patterns apart,
        wherever in the image the one that shows stands. Then, of sixteen patches, the one with the pattern mostly
        gets the greatest share of the class token; chance would be one in sixteen.

        >>> import torch
        >>> from reference_impl.vit import ViT, loss, roll_out
        >>> _ = torch.manual_seed(0)
        >>> patterns = torch.tensor([[[2.0, -2], [-2, 2]], [[-2.0, 2], [2, -2]]])
        >>> def draw(images):
        ...     labels, places = torch.randint(2, (images,)), torch.randint(16, (images,))
        ...     patches = 0.2 * torch.randn(images, 16, 2, 2)
        ...     patches[torch.arange(images), places] += patterns[labels]
        ...     drawn = patches.unflatten(1, (4, 4)).permute(0, 1, 3, 2, 4).reshape(images, 1, 8, 8)
        ...     return drawn, labels, places
        >>> model = ViT(16, 1, 32, layers=2, p=2, size=(8, 8), classes=2, channels=1)
        >>> optimiser = torch.optim.Adam(model.parameters(), lr=0.005)
        >>> for _ in range(150):
        ...     images, labels, _ = draw(64)
        ...     optimiser.zero_grad()
        ...     loss(model, images, labels).backward()
        ...     optimiser.step()
        >>> images, labels, places = draw(500)
        >>> float((model(images).argmax(dim=1) == labels).float().mean()) > 0.95
        True
        >>> shares = roll_out(model.weights(images))
        >>> torch.allclose(shares.sum(dim=2), torch.ones(500, 17))
        True
        >>> float((shares[:, 0, 1:].argmax(dim=1) == places).float().mean()) > 0.5
        True
    """
    if not weights:
        raise ValueError("0 blocks have no attention")
    through = itself = torch.eye(weights[0].shape[-1], device=weights[0].device, dtype=weights[0].dtype)
    for block in weights:
        through = (block.mean(dim=1) + itself) / 2 @ through
    return through
