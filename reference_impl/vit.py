r"""The Vision Transformer (ViT): a Transformer encoder that classifies an image from its patches.

Source: Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale"; sections
    and equations below are this paper's. What it leaves open is taken from google-research/vision_transformer.

Axes: $b$ images of a batch, $c$ channels, $n$ patches, $m = n + 1$ tokens with the class token first, $d$ the width
(`d_model`), $h$ heads, $k$ classes. A patch has $p \times p$ pixels.

Left out: the hybrid that takes its patches from a ResNet's feature map (Section 3.1), and the masked patch prediction
of Section 4.6.
"""

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from reference_impl.layers.attention import MultiHeadAttention
from reference_impl.layers.positions import LearnedPositions

Grid = tuple[int, int]


@dataclass(frozen=True)
class ViTConfig:
    """The sizes and options of a ViT; the defaults are ViT-B/16 with a linear head for 1,000 classes.

    Attributes:
        d_model: The width of the tokens.
        heads: The number of attention heads.
        d_ff: The width of the MLP's hidden layer.
        layers: The number of blocks.
        patch_size: The side of a patch, in pixels.
        image_size: The rows and columns of the images, in pixels.
        num_classes: The number of classes.
        num_channels: The number of channels of an image.
        representation_size: The width of the head's tanh hidden layer, which pre-training uses; None for a linear head.
        dropout: The dropout rate after dense layers, and after the position embeddings are added.
        gelu: The form of GELU: the tanh approximation, or the error function, as in Hugging Face's code.
        layer_norm_eps: The epsilon of the layer norms; Hugging Face's code has 1e-12.
        interpolation_mode: How position embeddings are interpolated to another image size.
    """

    d_model: int = 768
    heads: int = 12
    d_ff: int = 3072
    layers: int = 12
    patch_size: int = 16
    image_size: Grid = (224, 224)
    num_classes: int = 1000
    num_channels: int = 3
    representation_size: int | None = None
    dropout: float = 0.0
    gelu: Literal["tanh", "erf"] = "tanh"
    layer_norm_eps: float = 1e-6
    interpolation_mode: Literal["bilinear", "bicubic"] = "bilinear"


CONFIGS = {
    "Ti": ViTConfig(192, 3, 768, 12),
    "S": ViTConfig(384, 6, 1536, 12),
    "B": ViTConfig(768, 12, 3072, 12),
    "L": ViTConfig(1024, 16, 4096, 24),
    "H": ViTConfig(1280, 16, 5120, 32),
}
"""The published sizes. Base, Large and Huge are the paper's (Table 1); Tiny and Small came with DeiT (Touvron et al.
2021)."""


def grid_size(image_size: Grid, patch_size: int) -> Grid:
    """Return the number of patches in an image's rows and columns.

    Raises:
        ValueError: The image size is not a multiple of the patch size.
    """
    rows, columns = image_size
    if patch_size < 1 or rows % patch_size or columns % patch_size:
        raise ValueError(f"an image of {rows} × {columns} does not divide into patches of {patch_size} × {patch_size}")
    return rows // patch_size, columns // patch_size


def patchify(images: Float[Tensor, "b c rows columns"], patch_size: int) -> Float[Tensor, "b n cpp"]:
    r"""Split images into non-overlapping patches, in row-major order, and flatten each patch to a vector.

    Source: Section 3.1: from $\mathbb{R}^{H \times W \times C}$ to $\mathbb{R}^{N \times (P^2 C)}$, with
        $$N = HW / P^2$$

    The numbers of a patch are ordered by channel, then row, then column, as in a convolution kernel, so that the
    weights of a patch projection and of a convolution can be exchanged.

    Departs: the public code drops the last rows and columns that fill no patch; here such an image is an error.

    Args:
        images: The images to split.
        patch_size: The side of a patch, in pixels.

    Raises:
        ValueError: The image size is not a multiple of the patch size.

    Asked: vit.instead-of-pixel-attention
    """
    b, c, *size = images.shape
    rows, columns = grid_size((size[0], size[1]), patch_size)
    grid = images.reshape(b, c, rows, patch_size, columns, patch_size)
    grid = grid.permute(0, 2, 4, 1, 3, 5)  # (b, rows, columns, c, p, p)
    return grid.reshape(b, rows * columns, c * patch_size**2)  # (b, n, c·p·p)


def interpolate_positions(
    table: Float[Tensor, "_ d"], old: Grid, new: Grid, mode: Literal["bilinear", "bicubic"] = "bilinear"
) -> Float[Tensor, "_ d"]:
    """Interpolate the position embeddings of one grid of patches to another; the class token's stays.

    Source: Section 3.2; the paper does not say which interpolation it uses

    Args:
        table: The embedding of the class token's position, then those of the patches, in row-major order.
        old: The rows and columns of the grid that the table was trained on.
        new: The rows and columns of the grid to interpolate to.
        mode: `bilinear` with aligned corners, as in the authors' code, or `bicubic` without, as in Hugging Face's.

    Raises:
        ValueError: The number of rows of the table does not fit the old grid.

    Asked: vit.higher-resolution
    """
    if len(table) != 1 + math.prod(old):
        raise ValueError(f"{len(table)} positions do not fit a class token and {old[0]} × {old[1]} patches")
    if old == new:
        return table
    grid = table[1:].reshape(*old, -1).permute(2, 0, 1)[None]  # (1, d, rows, columns)
    # align_corners has to stay None for bicubic: the corners are aligned in the bilinear mode only.
    grid = F.interpolate(grid, size=new, mode=mode, align_corners=mode == "bilinear")
    return torch.cat([table[:1], grid[0].flatten(1).mT])  # (1 + new rows · new columns, d)


class Block(nn.Module):
    r"""A pre-norm encoder block: self-attention over all tokens, then an MLP on each token, both with residuals.

    Source: Section 3.1, Eqs. 2 and 3
        $$z'_\ell = \operatorname{MSA}(\operatorname{LN}(z_{\ell-1})) + z_{\ell-1}, \qquad
          z_\ell = \operatorname{MLP}(\operatorname{LN}(z'_\ell)) + z'_\ell$$

    Source: Appendix B.1, of dropout: after each dense layer except the query, key and value projections

    Asked: vit.patches-as-tokens
    """

    def __init__(
        self,
        d_model: int,
        heads: int,
        d_ff: int,
        dropout: float = 0.0,
        gelu: Literal["tanh", "erf"] = "tanh",
        layer_norm_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(d_model, heads)
        self.fc1, self.fc2 = nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model)
        self.norm1, self.norm2 = nn.LayerNorm(d_model, layer_norm_eps), nn.LayerNorm(d_model, layer_norm_eps)
        self.gelu, self.dropout = nn.GELU("tanh" if gelu == "tanh" else "none"), nn.Dropout(dropout)

    def forward(self, z: Float[Tensor, "b m d"]) -> Float[Tensor, "b m d"]:
        """Return the block's output for each token."""
        y = self.norm1(z)
        z = z + self.dropout(self.attention(y, y, y))
        y = self.dropout(self.gelu(self.fc1(self.norm2(z))))  # (b, m, d_ff)
        return z + self.dropout(self.fc2(y))  # (b, m, d)

    def attention_weights(self, z: Float[Tensor, "b m d"]) -> Float[Tensor, "b h m m"]:
        """Return the attention weights of every head, from each token (row) to each token (column)."""
        y = self.norm1(z)
        return self.attention.attention_weights(y, y)


class ViT(nn.Module):
    r"""The Vision Transformer, an image classifier.

    Source: Section 3.1, Eqs. 1 to 4, and Figure 1
        $$z_0 = [x_{class};\ x_p^1 E;\ \dots;\ x_p^N E] + E_{pos}, \qquad y = \operatorname{LN}(z_L^0)$$

    Images of another size than `config.image_size` are accepted: the position embeddings are then interpolated.

    Departs: GELU is the tanh approximation, and the epsilon of the norms is $10^{-6}$, as in the authors' code; the
    paper specifies neither.

    Args:
        config: Sizes and options; `vit` builds the published models by their names.

    Raises:
        ValueError: The image size is not a multiple of the patch size.

    Asked: vit.components, vit.why-those-components, vit.against-convnets, vit.class-token-or-mean
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        self.grid_size = grid_size(config.image_size, config.patch_size)
        d_model, hidden = config.d_model, config.representation_size
        self.patch_embeddings = nn.Linear(config.num_channels * config.patch_size**2, d_model)
        self.cls_token = nn.Parameter(torch.zeros(d_model))
        self.position_embeddings = LearnedPositions(1 + math.prod(self.grid_size), d_model)
        self.dropout = nn.Dropout(config.dropout)
        block = (d_model, config.heads, config.d_ff, config.dropout, config.gelu, config.layer_norm_eps)
        self.blocks = nn.Sequential(*(Block(*block) for _ in range(config.layers)))
        self.norm = nn.LayerNorm(d_model, config.layer_norm_eps)
        self.head = nn.Sequential(*([nn.Linear(d_model, hidden), nn.Tanh()] if hidden else []))
        self.head.append(nn.Linear(hidden or d_model, config.num_classes))
        init_weights(self)

    def forward(self, images: Float[Tensor, "b c _ _"]) -> Float[Tensor, "b k"]:
        """Return the logits of the classes.

        Raises:
            ValueError: The image size is not a multiple of the patch size.
        """
        z = self.blocks(self.embed(images))  # (b, m, d)
        return self.head(self.norm(z)[:, 0])  # (b, k)

    def embed(self, images: Float[Tensor, "b c _ _"]) -> Float[Tensor, "b m d"]:
        """Return the input of the first block: class token and patch embeddings, plus position embeddings (Eq. 1).

        Raises:
            ValueError: The image size is not a multiple of the patch size.
        """
        b, _, rows, columns = images.shape
        patches = self.patch_embeddings(patchify(images, self.config.patch_size))  # (b, n, d)
        tokens = torch.cat([self.cls_token.expand(b, 1, -1), patches], dim=1)  # (b, m, d)
        grid = grid_size((rows, columns), self.config.patch_size)
        table, mode = self.position_embeddings.table, self.config.interpolation_mode
        positions = interpolate_positions(table, self.grid_size, grid, mode)  # (m, d)
        return self.dropout(tokens + positions)  # (b, m, d)

    def attention_weights(self, images: Float[Tensor, "b c _ _"]) -> list[Float[Tensor, "b h m m"]]:
        """Return the attention weights of each block, from the first to the last."""
        z, weights = self.embed(images), []
        for block in cast(Iterable[Block], self.blocks):
            weights.append(block.attention_weights(z))
            z = block(z)
        return weights


def init_weights(model: ViT) -> None:
    """Initialize the weights as the authors' code does.

    Dense layers are Glorot uniform, the patch projection is LeCun normal (truncated), the last layer of the head and
    the class token are zero, and the position embeddings have a standard deviation of 0.02 (`LearnedPositions`).
    """
    for linear in (module for module in model.modules() if isinstance(module, nn.Linear)):
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
    for block in cast(Iterable[Block], model.blocks):
        nn.init.normal_(block.fc1.bias, std=1e-6)
        nn.init.normal_(block.fc2.bias, std=1e-6)
    # Truncation at two standard deviations lowers the variance; the divisor restores it.
    std = model.patch_embeddings.in_features**-0.5 / 0.87962566
    nn.init.trunc_normal_(model.patch_embeddings.weight, std=std, a=-2 * std, b=2 * std)
    nn.init.zeros_(cast(nn.Linear, model.head[-1]).weight)


def vit(name: str, num_classes: int = 1000, image_size: Grid = (224, 224)) -> ViT:
    """Build a published model with new weights, by its name in the paper: `B/16` has patches of 16 × 16 pixels.

    Source: Section 4.1, Model Variants; Table 1

    Raises:
        ValueError: No model has this name, or the image size is not a multiple of the patch size.

    Asked: vit.architecture-size, vit.fewer-resources
    """
    size, _, patch_size = name.partition("/")
    if size not in CONFIGS or not patch_size.isdecimal():
        raise ValueError(f"no model is called {name}: a name is {', '.join(CONFIGS)}, then a slash and the patch size")
    config = replace(CONFIGS[size], patch_size=int(patch_size), num_classes=num_classes, image_size=image_size)
    return ViT(config)


def loss(model: ViT, images: Float[Tensor, "b c _ _"], labels: Int[Tensor, " b"]) -> Float[Tensor, ""]:
    r"""Return the mean cross-entropy, which both pre-training and fine-tuning minimize.

    Source: Section 4.1 (classification); not written out in the paper
        $$-\frac{1}{b} \sum_i \log \operatorname{softmax}(f(x_i))_{y_i}$$

    Departs: an image has one label here. In ImageNet-21k and in JFT it may have several, and the paper does not say
    how these are used.

    Asked: vit.how-pre-training-works, vit.excellent-results
    """
    return F.cross_entropy(model(images), labels)


def pretraining_optimizer(model: ViT, lr: float = 8e-4) -> torch.optim.AdamW:
    """Return the optimizer of pre-training: Adam with a strong weight decay of 0.1.

    Source: Section 4.1, Training & Fine-tuning; Table 3 (the learning rate of ViT-B on JFT)

    Departs: the weight decay is decoupled; the paper does not say how it is applied.
    """
    return torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.999), weight_decay=0.1)


def finetuning_optimizer(model: ViT, lr: float = 0.03) -> torch.optim.SGD:
    """Return the optimizer of fine-tuning: SGD with momentum, without weight decay.

    Source: Section 4.1, Training & Fine-tuning; Appendix B.1.1, which also clips gradients to a norm of 1
    """
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)


def replace_head(model: ViT, num_classes: int, image_size: Grid) -> ViT:
    """Return a copy of a pre-trained model, ready for fine-tuning, with a new head and interpolated positions.

    Source: Section 3.2

    The new head is one linear layer of zeros, without the hidden layer of pre-training. All other weights are copied.

    Args:
        model: The pre-trained model; it is not changed.
        num_classes: The number of classes of the new task.
        image_size: The rows and columns of its images, in pixels.

    Raises:
        ValueError: The image size is not a multiple of the patch size.
    """
    new = copy.deepcopy(model)
    new.config = replace(model.config, num_classes=num_classes, image_size=image_size, representation_size=None)
    new.grid_size = grid_size(image_size, model.config.patch_size)
    table, mode = model.position_embeddings.table.detach(), model.config.interpolation_mode
    table = interpolate_positions(table, model.grid_size, new.grid_size, mode)
    new.position_embeddings.table = nn.Parameter(table.clone())
    head = nn.Linear(table.shape[1], num_classes, device=table.device, dtype=table.dtype)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    new.head = nn.Sequential(head)
    return new


def attention_rollout(weights: Sequence[Float[Tensor, "b h m m"]]) -> Float[Tensor, "b m m"]:
    r"""Compose the attention of all blocks: how much each input token (column) contributes to each output token (row).

    Source: Appendix D.8; Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers", Section 3
        $$R_\ell = \tfrac12 (\bar A_\ell + I) R_{\ell-1}, \qquad R_0 = I$$

    $\bar A_\ell$ is the mean over the heads; $I$ stands for the residual connection. The MLPs, the values and the norms
    of the vectors are ignored. Rows sum to 1.

    Args:
        weights: Each block's attention weights, from the first to the last, as `ViT.attention_weights` returns them.

    Raises:
        ValueError: The sequence is empty.

    Asked: vit.where-it-looks
    """
    if not weights:
        raise ValueError("0 blocks: attention rollout needs at least 1")
    rollout = identity = torch.eye(weights[0].shape[-1], device=weights[0].device, dtype=weights[0].dtype)
    for block in weights:
        rollout = (block.mean(dim=1) + identity) / 2 @ rollout  # (b, m, m)
    return rollout


def attention_distance(weights: Float[Tensor, "b h m m"], grid_size: Grid, patch_size: int) -> Float[Tensor, "b h"]:
    r"""Return how far each head attends, in pixels: the mean distance to the other patches, weighted by the attention.

    Source: Section 4.5 and Figure 7, right; Appendix D.7 and Figure 11; in words only
        $$\frac{1}{n} \sum_{i=1}^n \frac{\sum_j A_{ij} \lVert p_i - p_j \rVert}{\sum_j A_{ij}}$$

    $p_i$ is the center of patch $i$. At least 0; uniform attention reaches 116 pixels in an image of 224 × 224.

    Departs: the paper does not say what it does about the class token, which has no place in the image. Here $i$ and
    $j$ run over the patches only. A patch that attends to the class token alone counts as 0.

    Args:
        weights: The attention weights of one block, as `ViT.attention_weights` returns them.
        grid_size: The number of patches in an image's rows and columns.
        patch_size: The side of a patch, in pixels.

    Raises:
        ValueError: The number of tokens does not fit the grid.

    Asked: vit.attention-distance
    """
    if weights.shape[-1] != 1 + math.prod(grid_size):
        raise ValueError(
            f"{weights.shape[-1]} tokens do not fit a class token and {grid_size[0]} × {grid_size[1]} patches"
        )
    centers = torch.cartesian_prod(*(patch_size * torch.arange(side).to(weights) for side in grid_size))  # (n, 2)
    among_patches = weights[..., 1:, 1:]  # (b, h, n, n)
    distances = (among_patches * (centers[:, None] - centers).norm(dim=-1)).sum(dim=-1)  # (b, h, n)
    total = among_patches.sum(dim=-1).clamp(min=torch.finfo(weights.dtype).tiny)
    return (distances / total).mean(dim=-1)  # (b, h)


# Answers


def fewer_resources() -> None:
    r"""
    Answers: vit.fewer-resources
        Not by being small: an image costs ViT-B/16 four times the operations of a ResNet-50. The comparison that the
        phrase refers to is with [[bit]]'s network, a ResNet-152 four times as wide. ViT-L/16 has a third of its weights
        and needs a third of its operations. Counted here at the sizes of the papers, the ResNets without their
        classifiers:

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

        The paper's table, 680 TPUv3-core-days against 9,900, says a fifteenth. The operations per image are a third;
        the rest is due to the number of epochs, 14 against 40 (Table 6; BiT's Section 3.3), and to how well the TPU is
        used, neither of which is counted here. And the total is not small: three times the forward operations, to
        include the backward pass, on 303 million images for seven epochs make $2.2 \times 10^{20}$ operations even for
        the base model, as in the paper's Table 6.

        >>> total = 3 * cost["B/16"] * 303e6 * 7
        >>> round(total / 1e18)  # exaFLOPs; the paper has 224
        224
    """


def excellent_results() -> None:
    r"""
    Answers: vit.excellent-results
        Those of ViT-H/14, pre-trained on Google's private JFT images: 88.55 % on ImageNet, 90.72 % on its corrected
        labels, 94.55 % on CIFAR-100, 77.63 % over VTAB's nineteen tasks. These are the paper's figures, quoted on
        this card and not reproduced: the images are not public, and the compute is out of reach. What can be done is
        to read the table.

        >>> import re
        >>> from pathlib import Path
        >>> import reference_impl
        >>> card = Path(reference_impl.__file__).parents[1] / "papers" / "vit.yml"
        >>> def numbers(cell):
        ...     return [float(number) for number in re.findall(r"[\d.]+", cell)]
        >>> rows = re.findall(r"\| (ImageNet|CIFAR-100|VTAB)[^|]*\|(.*)\|", card.read_text("utf-8"))
        >>> table = {name: [numbers(cell) for cell in row.split("|")] for name, row in rows}
        >>> margins = {}
        >>> for name, ((huge,), _, _, *rivals) in table.items():
        ...     margins[name] = [round(huge - rival, 2) for results in rivals for rival in results]
        >>> margins
        {'ImageNet': [1.01, 0.15, 0.05], 'CIFAR-100': [1.04], 'VTAB': [1.34]}

        The lead over the best earlier ConvNet on ImageNet, that of Touvron et al. (2020) with 88.5 %, is 0.05 points,
        or 25 of 50,000 images: a third of the standard error of an accuracy measured on that many images. And the model
        that was pre-trained on public images is below both ConvNets there.

        >>> (huge,), _, (public,), (bit,), student = table["ImageNet"]
        >>> round(50_000 * (huge - max(student)) / 100)
        25
        >>> round(100 * (huge / 100 * (1 - huge / 100) / 50_000) ** 0.5, 2)  # its standard error, in points
        0.14
        >>> public < min(bit, *student)
        True
    """


def architecture_size() -> None:
    """
    Answers: vit.architecture-size
        There are three sizes: Base has 12 blocks of width 768, Large 24 of width 1,024, Huge 32 of width 1,280. With
        1,000 classes and images of 224 × 224 these have 87, 304 and 632 million parameters; the paper prints 86, 307
        and 632. The patch size hardly changes the number of parameters, but it changes the cost: B/32 has more
        parameters than B/16, and about a quarter of its operations.

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
    """


def how_pre_training_works() -> None:
    """
    Answers: vit.how-pre-training-works
        It is supervised, unlike BERT's: each image has a class label, and the loss is the cross-entropy of a
        classifier. Below, a small ViT learns four classes. Then the head is replaced by one of zeros for new classes,
        the position embeddings are interpolated, and the model is fine-tuned at twice the resolution. The labels are
        what it learns from: with the same images and shuffled labels, accuracy on new images stays near chance.

        >>> import torch
        >>> from reference_impl.vit import (
        ...     ViT, ViTConfig, finetuning_optimizer, loss, pretraining_optimizer, replace_head
        ... )
        >>> def draw(images, side=8):  # the class is the quarter of the image that is bright
        ...     labels = torch.randint(4, (images,))
        ...     bright = torch.nn.functional.one_hot(labels, 4).reshape(-1, 1, 2, 2).float()
        ...     noise = torch.randn(images, 1, side, side)
        ...     return 2 * bright.repeat_interleave(side // 2, 2).repeat_interleave(side // 2, 3) + noise, labels
        >>> config = ViTConfig(32, 2, 64, 1, 4, (8, 8), num_classes=4, num_channels=1, representation_size=32)
        >>> def pretrain(shuffle):
        ...     _ = torch.manual_seed(0)
        ...     model = ViT(config)
        ...     optimizer = pretraining_optimizer(model, lr=0.003)
        ...     for _ in range(100):
        ...         images, labels = draw(64)
        ...         optimizer.zero_grad()
        ...         loss(model, images, labels[torch.randperm(64)] if shuffle else labels).backward()
        ...         optimizer.step()
        ...     return model
        >>> def accuracy(model, side=8, half=False):
        ...     images, labels = draw(500, side)
        ...     return float((model(images).argmax(dim=1) == (labels // 2 if half else labels)).float().mean())
        >>> model = pretrain(shuffle=False)
        >>> accuracy(model) > 0.8, accuracy(pretrain(shuffle=True)) < 0.5
        (True, True)

        >>> task = replace_head(model, num_classes=2, image_size=(16, 16))  # upper or lower half, and more pixels
        >>> images, labels = draw(64, side=16)
        >>> round(loss(task, images, labels // 2).item(), 4)  # that of a uniform guess, log 2
        0.6931
        >>> model.head, task.head
        (Sequential(
          (0): Linear(in_features=32, out_features=32, bias=True)
          (1): Tanh()
          (2): Linear(in_features=32, out_features=4, bias=True)
        ), Sequential(
          (0): Linear(in_features=32, out_features=2, bias=True)
        ))
        >>> torch.equal(task.patch_embeddings.weight, model.patch_embeddings.weight)
        True
        >>> optimizer = finetuning_optimizer(task)
        >>> for _ in range(30):
        ...     images, labels = draw(64, side=16)
        ...     optimizer.zero_grad()
        ...     loss(task, images, labels // 2).backward()
        ...     _ = torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        ...     optimizer.step()
        >>> accuracy(task, side=16, half=True) > 0.8
        True
    """


def components() -> None:
    """
    Answers: vit.components
        A linear projection of the patches, a class token, learned position embeddings, pre-norm blocks of
        self-attention and MLP, a final layer norm, and a head on the class token. In the base model nearly all
        parameters are in the twelve blocks, exactly as many as in BERT-base's twelve layers.

        >>> import torch
        >>> from reference_impl.bert import BertModel
        >>> from reference_impl.vit import patchify, vit
        >>> with torch.device("meta"):
        ...     model, bert = vit("B/16"), BertModel()
        >>> parts = {name: sum(w.numel() for w in part.parameters()) for name, part in model.named_children()}
        >>> parts["cls_token"] = model.cls_token.numel()
        >>> for name, parameters in parts.items():
        ...     print(f"{name:<19} {parameters:>10,}")
        patch_embeddings       590,592
        position_embeddings    151,296
        dropout                      0
        blocks              85,054,464
        norm                     1,536
        head                   769,000
        cls_token                  768
        >>> sum(parts.values()), sum(w.numel() for w in bert.layers.parameters())
        (86567656, 85054464)

        The shapes of one image on its way through them:

        >>> image = torch.empty(1, 3, 224, 224, device="meta")
        >>> patches = patchify(image, 16)
        >>> embedded, tokens = model.patch_embeddings(patches), model.embed(image)
        >>> [tuple(x.shape) for x in (patches, embedded, tokens, model.blocks[0](tokens), model(image))]
        [(1, 196, 768), (1, 196, 768), (1, 197, 768), (1, 197, 768), (1, 1000)]
    """


def why_those_components() -> None:
    """
    Answers: vit.why-those-components
        Remove each and see what is lost. Without position embeddings the model is invariant to the order of the
        patches: shuffle them, and the logits stay the same. Without attention no patch reaches the class token: all
        images have the same logits. Residual connections with the norms first (pre-norm) keep an identity path: with
        the output of both sublayers zero, 24 blocks return their input, whereas a post-norm layer changes it. And the
        new head starts at zero, so that the first steps of fine-tuning do not disturb the pre-trained weights.

        >>> import torch
        >>> from reference_impl.transformer import EncoderLayer
        >>> from reference_impl.vit import ViT, ViTConfig
        >>> _ = torch.manual_seed(0)
        >>> model = ViT(ViTConfig(32, 4, 64, layers=24, patch_size=4, image_size=(16, 16), num_classes=5)).eval()
        >>> images, order = torch.randn(3, 3, 16, 16), torch.randperm(16)
        >>> def shuffle(images):
        ...     grid = images.unflatten(3, (4, 4)).unflatten(2, (4, 4)).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
        ...     return grid[:, order].unflatten(1, (4, 4)).permute(0, 3, 1, 4, 2, 5).reshape_as(images)
        >>> model(images).count_nonzero().item()  # the head is zero
        0
        >>> _ = torch.nn.init.normal_(model.head[-1].weight), torch.nn.init.normal_(model.position_embeddings.table)
        >>> torch.allclose(model(shuffle(images)), model(images), atol=1e-3)
        False
        >>> _ = torch.nn.init.zeros_(model.position_embeddings.table)
        >>> torch.allclose(model(shuffle(images)), model(images), atol=1e-3)
        True

        >>> def same_logits():
        ...     return torch.allclose(model(images)[0], model(images)[1], atol=1e-3)
        >>> with_attention = same_logits()
        >>> for block in model.blocks:
        ...     _ = torch.nn.init.zeros_(block.attention.output.weight), torch.nn.init.zeros_(block.fc2.weight)
        ...     _ = torch.nn.init.zeros_(block.attention.output.bias), torch.nn.init.zeros_(block.fc2.bias)
        >>> with_attention, same_logits()
        (False, True)
        >>> tokens = model.embed(images)
        >>> torch.equal(model.blocks(tokens), tokens)
        True
        >>> post_norm = EncoderLayer(d_model=32, heads=4, d_ff=64, dropout=0.0)
        >>> for weight in (*post_norm.self_attention.output.parameters(), *post_norm.feed_forward[2].parameters()):
        ...     _ = torch.nn.init.zeros_(weight)
        >>> torch.allclose(post_norm(tokens), tokens, atol=0.1)
        False
    """


def against_convnets() -> None:
    """
    Answers: vit.against-convnets
        A convolution is translation equivariant: shift the image, and the feature map shifts with it. ViT is not. It
        is equivariant to shifts by whole patches until the position embeddings are added, and to other shifts not even
        then.

        >>> import torch
        >>> from torch import nn
        >>> from reference_impl.vit import ViT, ViTConfig
        >>> _ = torch.manual_seed(0)
        >>> config = ViTConfig(16, 2, 32, layers=1, patch_size=4, image_size=(8, 8), num_classes=2, num_channels=1)
        >>> vit = ViT(config).eval()
        >>> _ = nn.init.normal_(vit.position_embeddings.table)
        >>> convolution = nn.Conv2d(1, 16, 3, padding=1, padding_mode="circular")
        >>> image = torch.randn(1, 1, 8, 8)
        >>> def patch_features(image):
        ...     return vit.blocks(vit.embed(image))[:, 1:].unflatten(1, (2, 2)).permute(0, 3, 1, 2)
        >>> def is_equivariant(network, by, mapped):
        ...     return torch.allclose(network(image.roll(by, 3)), network(image).roll(mapped, 3), atol=1e-4)
        >>> is_equivariant(convolution, by=1, mapped=1), is_equivariant(convolution, by=4, mapped=4)
        (True, True)
        >>> is_equivariant(patch_features, by=4, mapped=1)
        False
        >>> positions = vit.position_embeddings.table.data.clone()
        >>> _ = vit.position_embeddings.table.data.zero_()
        >>> is_equivariant(patch_features, by=4, mapped=1)
        True
        >>> any(is_equivariant(patch_features, by=1, mapped=mapped) for mapped in range(2))
        False

        This makes a ConvNet data-efficient. In the training images below one of two patterns appears on the left, and
        in the test images further right. The ConvNet recognizes it anywhere. ViT has to learn each place separately.

        >>> crosses = torch.tensor([[[[2.0, 0, 2], [0, 2, 0], [2, 0, 2]]], [[[0.0, 2, 0], [2, 2, 2], [0, 2, 0]]]])
        >>> def draw(columns, images):
        ...     labels, rows = torch.randint(2, (images,)), torch.randint(6, (images,))
        ...     where = torch.zeros(images, 2, 6, 6)
        ...     where[torch.arange(images), labels, rows, torch.randint(*columns, (images,))] = 1
        ...     return nn.functional.conv_transpose2d(where, crosses) + 0.1 * torch.randn(images, 1, 8, 8), labels
        >>> left, right = (0, 2), (3, 6)
        >>> def train(network):
        ...     optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        ...     for _ in range(100):
        ...         images, labels = draw(left, 128)
        ...         optimizer.zero_grad()
        ...         nn.functional.cross_entropy(network(images), labels).backward()
        ...         optimizer.step()
        ...     return network
        >>> def accuracy(network, columns):
        ...     images, labels = draw(columns, 500)
        ...     return float((network(images).argmax(dim=1) == labels).float().mean())
        >>> _ = torch.manual_seed(0)
        >>> pool = nn.AdaptiveMaxPool2d(1)
        >>> convnet = train(nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), pool, nn.Flatten(), nn.Linear(16, 2)))
        >>> accuracy(convnet, left) > 0.95, accuracy(convnet, right) > 0.95
        (True, True)
        >>> vit.position_embeddings.table.data = positions
        >>> vit = train(vit)
        >>> accuracy(vit, left) > 0.95, accuracy(vit, right) < 0.9
        (True, True)

        In return ViT has a global receptive field from the first block on, where a 3 × 3 convolution sees nine pixels;
        the cost of its attention grows with the square of the number of patches. With 14 million pre-training images
        or more, the missing inductive bias no longer hurts (the paper's Figures 3 and 4; not shown here).

        >>> def receptive_field(network):
        ...     x = image.clone().requires_grad_()
        ...     network(x)[0, :, 1, 1].sum().backward()
        ...     return int(x.grad.count_nonzero())
        >>> receptive_field(convolution), receptive_field(patch_features)
        (9, 64)
    """


def instead_of_pixel_attention() -> None:
    """
    Answers: vit.instead-of-pixel-attention
        Attention among patches. Among the pixels of a 224 × 224 image there are 2.5 billion pairs: the attention
        weights of a single head fill 10 GB. Patches of 16 × 16 pixels make 196 tokens, and 65,536 times fewer pairs;
        the pixels within a patch are mixed by the linear projection. Earlier work kept the pixels as tokens and made
        attention local, sparse, or axial (along rows and columns).

        >>> import torch
        >>> from reference_impl.vit import patchify
        >>> image = torch.empty(1, 3, 224, 224, device="meta")
        >>> tokens = {patch_size: patchify(image, patch_size).shape[1] for patch_size in (1, 14, 16, 32)}
        >>> tokens
        {1: 50176, 14: 256, 16: 196, 32: 49}
        >>> pairs = {patch_size: n * n for patch_size, n in tokens.items()}
        >>> pairs[1], pairs[16], pairs[1] // pairs[16]
        (2517630976, 38416, 65536)
        >>> round(4 * pairs[1] / 1e9)  # gigabytes of one head's weights in float32
        10

        Nothing is lost: the patches contain every pixel once, and in the base model a patch's 768 numbers become a
        token of width 768.

        >>> image = torch.arange(3 * 64 * 64.0).reshape(1, 3, 64, 64)
        >>> patchify(image, 16).shape, torch.equal(patchify(image, 16).flatten().sort().values, image.flatten())
        (torch.Size([1, 16, 768]), True)
    """


def patches_as_tokens() -> None:
    """
    Answers: vit.patches-as-tokens
        Yes, from the projection on. A word embedding is a one-hot vector times a table; a patch embedding is the
        patch's pixels times a matrix. If images were made from a vocabulary of twenty patches, the projection would be
        a look-up in a table of twenty rows. What patches lack is a vocabulary: pixels take any values, which no table
        can list.

        >>> import torch
        >>> from torch.nn import functional as F
        >>> from reference_impl.vit import Block, ViT, ViTConfig, patchify
        >>> _ = torch.manual_seed(0)
        >>> config = ViTConfig(16, 2, 32, layers=1, patch_size=4, image_size=(8, 8), num_classes=3)
        >>> model = ViT(config).double()
        >>> vocabulary, words = torch.randn(20, 3, 4, 4, dtype=torch.float64), torch.tensor([[7, 0, 19, 7]])
        >>> image = vocabulary[words].unflatten(1, (2, 2)).permute(0, 3, 1, 4, 2, 5).reshape(1, 3, 8, 8)
        >>> table, embedded = model.patch_embeddings(vocabulary.flatten(1)), model.patch_embeddings(patchify(image, 4))
        >>> torch.allclose(embedded, F.embedding(words, table), rtol=0, atol=1e-12)
        True

        The same projection is a convolution whose stride is the patch size. And a block does not know what its tokens
        were made from: it is the Transformer's encoder layer in its pre-norm form, with GELU for ReLU.

        >>> kernel = model.patch_embeddings.weight.reshape(16, 3, 4, 4)
        >>> convolved = F.conv2d(image, kernel, model.patch_embeddings.bias, stride=4).flatten(2).mT
        >>> torch.allclose(embedded, convolved, rtol=0, atol=1e-12)
        True
        >>> from reference_impl.transformer import EncoderLayer, PreNorm
        >>> theirs = EncoderLayer(d_model=16, heads=2, d_ff=32, dropout=0.0, residual=PreNorm).double()
        >>> theirs.feed_forward[1] = torch.nn.GELU("tanh")
        >>> ours = Block(d_model=16, heads=2, d_ff=32).double()
        >>> of_ours = {"self_attention": ours.attention, "around_self_attention.norm": ours.norm1}
        >>> of_ours |= {"feed_forward.0": ours.fc1, "feed_forward.2": ours.fc2}
        >>> of_ours |= {"around_feed_forward.norm": ours.norm2}
        >>> for name, part in of_ours.items():
        ...     _ = theirs.get_submodule(name).load_state_dict(part.state_dict())
        >>> x = torch.randn(2, 5, 16, dtype=torch.float64)
        >>> torch.allclose(ours(x), theirs(x), atol=1e-4)  # their norms' epsilon is 1e-5, here it is 1e-6
        True
    """


def higher_resolution() -> None:
    """
    Answers: vit.higher-resolution
        A larger image makes more patches. The projection and the blocks take any number of them; only the position
        embeddings are a table with one row for each. The table is reshaped to the grid of the patches, interpolated to
        the new grid, and fine-tuned with the rest. From 224 to 384 pixels its 196 rows become 576, and nothing else
        grows.

        >>> import torch
        >>> from reference_impl.vit import interpolate_positions, replace_head, vit
        >>> with torch.device("meta"):
        ...     small = vit("B/16")
        ...     large = replace_head(small, num_classes=1000, image_size=(384, 384))
        >>> small.position_embeddings.table.shape[0], large.position_embeddings.table.shape[0]
        (197, 577)
        >>> large.embed(torch.empty(1, 3, 384, 384, device="meta")).shape
        torch.Size([1, 577, 768])
        >>> count = [sum(w.numel() for w in model.parameters()) for model in (small, large)]
        >>> count, count[1] - count[0] == (577 - 197) * 768
        ([86567656, 86859496], True)

        Besides the patches, this is the only place where the model uses that images are two-dimensional. Let a table
        hold the row and column of each patch. Interpolated as a grid it still does, on a finer scale. Interpolated as
        the sequence that the blocks see, it does not: the columns no longer run from 0 to 2 in every row.

        >>> def places(rows, columns):
        ...     down, across = torch.linspace(0, 2, rows), torch.linspace(0, 2, columns)
        ...     return torch.cat([torch.full((1, 2), 9.0), torch.cartesian_prod(down, across)])
        >>> torch.allclose(interpolate_positions(places(3, 3), (3, 3), (5, 7)), places(5, 7), atol=1e-6)
        True
        >>> torch.allclose(interpolate_positions(places(3, 3), (9, 1), (35, 1)), places(5, 7), atol=0.5)
        False
    """


def where_it_looks() -> None:
    """
    Answers: vit.where-it-looks
        By attention rollout. The attention of the last block alone is between tokens that have already been mixed.
        Rollout multiplies the attention of all blocks, with the residual connection counted as attention to oneself.
        Say patch 1 attends to patch 3 in the first block, and the class token to patch 1 in the second. The second
        block's weights point to patch 1 alone; rollout finds that half of what came from there is of patch 3.

        >>> import torch
        >>> from reference_impl.vit import ViT, ViTConfig, attention_rollout, loss
        >>> first, second = torch.eye(4), torch.eye(4)
        >>> first[1], second[0] = torch.eye(4)[3], torch.eye(4)[1]
        >>> second[0].tolist(), attention_rollout([first[None, None], second[None, None]])[0, 0].tolist()
        ([0.0, 1.0, 0.0, 0.0], [0.5, 0.25, 0.0, 0.25])

        Below, a ViT learns to tell apart two patterns, which may appear anywhere in the image. Of sixteen patches, the
        one with the pattern mostly has the greatest weight in the rollout for the class token; by the last block's
        attention it is found less often. Chance would be one in sixteen.

        >>> _ = torch.manual_seed(0)
        >>> patterns = torch.tensor([[[2.0, -2], [-2, 2]], [[-2.0, 2], [2, -2]]])
        >>> def draw(images):
        ...     labels, places = torch.randint(2, (images,)), torch.randint(16, (images,))
        ...     patches = 0.2 * torch.randn(images, 16, 2, 2)
        ...     patches[torch.arange(images), places] += patterns[labels]
        ...     pixels = patches.unflatten(1, (4, 4)).permute(0, 1, 3, 2, 4).reshape(images, 1, 8, 8)
        ...     return pixels, labels, places
        >>> model = ViT(ViTConfig(16, 1, 32, layers=2, patch_size=2, image_size=(8, 8), num_classes=2, num_channels=1))
        >>> optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
        >>> for _ in range(150):
        ...     images, labels, _ = draw(64)
        ...     optimizer.zero_grad()
        ...     loss(model, images, labels).backward()
        ...     optimizer.step()
        >>> images, labels, places = draw(500)
        >>> float((model(images).argmax(dim=1) == labels).float().mean()) > 0.95
        True
        >>> weights = model.attention_weights(images)
        >>> def found(by):
        ...     return float((by[:, 0, 1:].argmax(dim=1) == places).float().mean())
        >>> found(attention_rollout(weights)) > 0.7, found(weights[-1].mean(dim=1)) < 0.6
        (True, True)
    """


def class_token_or_mean() -> None:
    r"""
    Answers: vit.class-token-or-mean
        The mean would do. The token is there to stay close to BERT. A first attempt with the mean of the patches, as in
        a ResNet, did very poorly, but only because of the learning rate: with $3 \times 10^{-4}$ in place of
        $8 \times 10^{-4}$ the mean is about as accurate (Appendix D.3, Figure 9). Below, both learn which of two
        patterns is in a noisy image, at this size with the same learning rate.

        >>> import torch
        >>> from torch.nn import functional as F
        >>> from reference_impl.vit import ViT, ViTConfig
        >>> patterns = torch.tensor([[[2.0, -2], [-2, 2]], [[-2.0, 2], [2, -2]]])
        >>> def draw(images):
        ...     labels, patches = torch.randint(2, (images,)), torch.randn(images, 16, 2, 2)
        ...     patches[torch.arange(images), torch.randint(16, (images,))] += patterns[labels]
        ...     return patches.unflatten(1, (4, 4)).permute(0, 1, 3, 2, 4).reshape(images, 1, 8, 8), labels
        >>> def of_token(model, images):
        ...     return model(images)
        >>> def of_mean(model, images):  # there is no class token among the tokens
        ...     return model.head(model.norm(model.blocks(model.embed(images)[:, 1:])).mean(dim=1))
        >>> config = ViTConfig(16, 2, 32, layers=2, patch_size=2, image_size=(8, 8), num_classes=2, num_channels=1)
        >>> def train(logits):
        ...     _ = torch.manual_seed(0)
        ...     model = ViT(config)
        ...     optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
        ...     for _ in range(100):
        ...         images, labels = draw(64)
        ...         optimizer.zero_grad()
        ...         F.cross_entropy(logits(model, images), labels).backward()
        ...         optimizer.step()
        ...     return model
        >>> models = {logits: train(logits) for logits in (of_token, of_mean)}
        >>> images, labels = draw(1000)
        >>> def accuracy(logits):
        ...     return float((logits(models[logits], images).argmax(dim=1) == labels).float().mean())
        >>> accuracy(of_token) > 0.9, accuracy(of_mean) > 0.9
        (True, True)

        What differs is how the image reaches the head. The class token starts the same for every image, and gets all
        that it knows by attention. The mean gets a share of each patch directly. Without attention all images have the
        same logits by the class token, whereas by the mean they have different ones, now those of a bag of patches.

        >>> for model in models.values():
        ...     for block in model.blocks:
        ...         _ = torch.nn.init.zeros_(block.attention.output.weight)
        >>> [bool(logits(models[logits], images).std(dim=0).max() > 1e-3) for logits in models]
        [False, True]
    """


def attention_distance_() -> None:
    """
    Answers: vit.attention-distance
        The measure is the mean distance in pixels between a patch and those that it attends to, weighted by the
        attention. In an image of 14 × 14 patches of 16 pixels it is 0 for a head by which each patch attends to itself,
        16 for one by which it attends to a neighbor, and 116 if all patches have the same weight.

        >>> import torch
        >>> from torch.nn import functional as F
        >>> from reference_impl.vit import ViT, ViTConfig, attention_distance
        >>> itself, everywhere = torch.eye(196), torch.full((196, 196), 1 / 196)
        >>> neighbor = itself[torch.arange(196) ^ 1]  # in columns 0 and 1 to each other, in 2 and 3 to each other, …
        >>> for weights in (itself, neighbor, everywhere):
        ...     with_token = F.pad(weights, (1, 0, 1, 0))[None, None]  # the class token has no place: it does not count
        ...     print(round(attention_distance(with_token, (14, 14), patch_size=16).item(), 1))
        0.0
        16.0
        116.5

        In the paper's trained model it grows with depth: in the first blocks some heads attend to near patches and
        others to most of the image, in the second half most attend widely (Figure 7, right; Appendix D.7; not shown
        here). This is learned. Before training, every head of every block is within 5 % of 116, at any depth.

        >>> _ = torch.manual_seed(0)
        >>> model = ViT(ViTConfig(64, 4, 128, layers=6, patch_size=16, num_classes=2, num_channels=1)).eval()
        >>> images = torch.randn(2, 1, 224, 224)
        >>> distances = torch.stack([attention_distance(w, (14, 14), 16) for w in model.attention_weights(images)])
        >>> distances.shape, bool(((distances / 116.5 - 1).abs() < 0.05).all())  # blocks, images, heads
        (torch.Size([6, 2, 4]), True)

        In the last block it tells nothing about the prediction. Only the class token's output is used there, so that
        what the patches attend to changes no logit.

        >>> _ = torch.nn.init.normal_(model.head[-1].weight)
        >>> outputs = []
        >>> _ = model.blocks[-1].register_forward_hook(lambda block, args, output: outputs.append(output))
        >>> (gradient,) = torch.autograd.grad(model(images).sum(), outputs)
        >>> bool(gradient[:, 0].any()), bool(gradient[:, 1:].any())
        (True, False)
    """
