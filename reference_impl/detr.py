r"""DETR: find the objects of an image as a set, by a Transformer that decodes all of them at once.

Source: Carion et al. 2020, "End-to-End Object Detection with Transformers"; sections and equations are this paper's

Axes: $b$ images of a batch, $n$ object queries ($N$ in the paper), $m$ cells of the feature map ($HW$), $d$ the width
of the Transformer, $h$ heads. A box is (centre x, centre y, width, height) in shares of its image, so in [0, 1]. The
class after the last, ∅, means that there is no object. Masks are true at what is real.

The module is longer than most: around the Transformer stand a backbone, a matching and a loss.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import StepLR

from reference_impl.layers.attention import MultiHeadAttention
from reference_impl.transformer import FeedForward, PostNorm


@dataclass(frozen=True)
class Objects:
    """What is in one image: the truth, in any order."""

    labels: Int[Tensor, " objects"]
    boxes: Float[Tensor, "objects 4"]


@dataclass(frozen=True)
class Predictions:
    """What each query of each image says: a score for every class and for ∅, which is the last, and a box."""

    logits: Float[Tensor, "b n classes"]
    boxes: Float[Tensor, "b n 4"]


def corners(boxes: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 4"]:
    """Turn (centre x, centre y, width, height) into (left, top, right, bottom)."""
    centre, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)


def intersection_and_union(
    one: Float[Tensor, "*#b 4"], other: Float[Tensor, "*#b 4"]
) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
    """Return the areas that two boxes share and that they cover together; boxes are given by their corners."""
    overlap = torch.minimum(one[..., 2:], other[..., 2:]) - torch.maximum(one[..., :2], other[..., :2])
    intersection = overlap.clamp(min=0).prod(dim=-1)
    one_area, other_area = ((box[..., 2:] - box[..., :2]).prod(dim=-1) for box in (one, other))
    return intersection, one_area + other_area - intersection


def generalised_iou(one: Float[Tensor, "*#b 4"], other: Float[Tensor, "*#b 4"]) -> Float[Tensor, "*b"]:
    r"""Return the share of two boxes' union that they have in common, less the share of their hull that neither fills.

    Source: Appendix A.2, Eq. 10, which cites Rezatofighi et al. 2019
        $$\operatorname{GIoU}(b, \hat b) = \frac{|b \cap \hat b|}{|b \cup \hat b|} -
          \frac{|B \setminus (b \cup \hat b)|}{|B|}$$

    $B$ is the smallest box around both. (The paper's text has "largest".) In (-1, 1]; boxes are given by their corners.
    Two boxes without any area have 0.

    Answers: detr.disjoint-boxes
        How far apart they are: the further, the nearer to -1, since more and more of the hull is empty. Plain IoU is 0
        for all of them, and its gradient too.

        >>> import torch
        >>> from reference_impl.detr import corners, generalised_iou, intersection_and_union
        >>> target, away = torch.tensor([0.2, 0.5, 0.2, 0.2]), torch.tensor([1.0, 0.0, 0.0, 0.0])
        >>> def iou(one, other):
        ...     intersection, union = intersection_and_union(one, other)
        ...     return intersection / union
        >>> steps = torch.tensor([0.2, 0.4, 0.6])[:, None]
        >>> [round(v, 2) for v in iou(corners(target), corners(target + steps * away)).tolist()]
        [0.0, 0.0, 0.0]
        >>> [round(v, 2) for v in generalised_iou(corners(target), corners(target + steps * away)).tolist()]
        [0.0, -0.33, -0.5]

        So gradients can pull a box to a target that it misses. By those of IoU it never moves.

        >>> def overlap_after_climbing(similarity):
        ...     box = (target + 0.6 * away).requires_grad_()
        ...     for _ in range(60):
        ...         (gradient,) = torch.autograd.grad(similarity(corners(target), corners(box)), box)
        ...         box = (box + 0.01 * gradient).detach().requires_grad_()
        ...     return iou(corners(target), corners(box)).item()
        >>> overlap_after_climbing(iou), overlap_after_climbing(generalised_iou) > 0.3
        (0.0, True)
    """
    intersection, union = intersection_and_union(one, other)
    hull = torch.maximum(one[..., 2:], other[..., 2:]) - torch.minimum(one[..., :2], other[..., :2])
    area, least = hull.prod(dim=-1), torch.finfo(union.dtype).tiny
    return intersection / union.clamp(min=least) - (area - union) / area.clamp(min=least)


def box_loss(one: Float[Tensor, "*#b 4"], other: Float[Tensor, "*#b 4"]) -> Float[Tensor, "*b"]:
    r"""Return how far each box is from the other, in size-free and in plain terms.

    Source: Section 3.1, "Bounding box loss"; Appendix A.2, Eq. 9; the weights from A.4
        $$\mathcal L_{box}(b, \hat b) = 2 \, (1 - \operatorname{GIoU}(b, \hat b)) + 5 \, \lVert b - \hat b \rVert_1$$

    Answers: detr.two-box-losses
        The distance counts in shares of the image, so that an error of a fifth of the box costs ten times as much on a
        box ten times as wide: alone it would leave small objects to look after themselves. GIoU costs the same on
        both, but it is blind as long as one box lies inside the other: wherever it lies there, union, intersection
        and hull stay the same. The distance sees that.

        >>> import torch
        >>> from reference_impl.detr import corners, generalised_iou
        >>> def losses(one, other):
        ...     return (one - other).abs().sum(dim=-1), 1 - generalised_iou(corners(one), corners(other))
        >>> boxes = torch.tensor([[0.5, 0.5, 0.04, 0.04], [0.5, 0.5, 0.4, 0.4]])
        >>> shifted = boxes + torch.stack([boxes[:, 2] / 5, *torch.zeros(3, 2)], dim=1)
        >>> distance, overlap = losses(boxes, shifted)
        >>> [round((loss[1] / loss[0]).item(), 2) for loss in (distance, overlap)]
        [10.0, 1.0]

        >>> inside = torch.tensor([0.45, 0.5, 0.2, 0.2], requires_grad=True)
        >>> gradients = [torch.autograd.grad(loss, inside)[0] for loss in losses(inside, boxes[1])]
        >>> [bool(gradient[:2].abs().sum() > 1e-6) for gradient in gradients]
        [True, False]
    """
    return 2 * (1 - generalised_iou(corners(one), corners(other))) + 5 * (one - other).abs().sum(dim=-1)


@torch.no_grad()
def match(
    predictions: Predictions, objects: Sequence[Objects]
) -> list[tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]]:
    r"""Pair each object with a prediction of its own, at the least cost in all.

    Source: Section 3.1, Eq. 1
        $$\hat\sigma = \operatorname*{arg\,min}_\sigma \sum_{i=1}^N [c_i \ne \varnothing] \,
          \bigl(\mathcal L_{box}(b_i, \hat b_{\sigma(i)}) - \hat p_{\sigma(i)}(c_i)\bigr)$$

    Objects that are padding, ∅, cost nothing wherever they go, so they are left out. No gradient passes.

    Returns:
        For each image, the predictions that have an object, and their objects.

    Raises:
        ValueError: An image has more objects than predictions.

    Answers: detr.best-pairing
        It is the best: on 100 random scenes none of the 360 ways to give four objects different predictions out of six
        is cheaper. A greedy pairing takes the cheapest pair there is, then the cheapest of what is left. It never costs
        less, and often more, since an early pair may take the only prediction that another object could have.

        >>> import itertools, torch
        >>> from reference_impl.detr import Objects, Predictions, box_loss, match
        >>> _ = torch.manual_seed(0)
        >>> predictions = Predictions(torch.randn(100, 6, 4), torch.rand(100, 6, 4))
        >>> objects = [Objects(torch.randint(3, (4,)), torch.rand(4, 4)) for _ in range(100)]
        >>> ways = torch.tensor(list(itertools.permutations(range(6), 4)))
        >>> best, greedier = 0, []
        >>> pairs = match(predictions, objects)
        >>> for logits, boxes, true, (queries, chosen) in zip(predictions.logits, predictions.boxes, objects, pairs):
        ...     cost = box_loss(boxes[:, None], true.boxes) - logits.softmax(dim=1)[:, true.labels]
        ...     least = cost[queries, chosen].sum()
        ...     best += bool(least <= cost[ways, torch.arange(4)].sum(dim=1).min() + 1e-5)
        ...     greedy, left = 0.0, cost.clone()
        ...     for _ in range(4):
        ...         query, one = divmod(left.argmin().item(), 4)
        ...         greedy += cost[query, one]
        ...         left[query], left[:, one] = torch.inf, torch.inf
        ...     greedier.append((greedy - least).item())
        >>> best, min(greedier) > -1e-5, sum(more > 1e-3 for more in greedier) > 20
        (100, True, True)

    Answers: detr.probability-not-logarithm
        A probability moves the cost by 1 at the most, so that class and box weigh against each other: no prediction is
        chosen whose box costs over 1 more than that of the best box. A logarithm has no bound. Early in training, when
        probabilities may be anything, it alone would decide, and good boxes would be taught to say ∅. In the loss it is
        in place: there it is the gradient that counts, and $-\log p$ still pulls where $p$ is next to 0.

        >>> import torch
        >>> from reference_impl.detr import Objects, Predictions, box_loss, match
        >>> _ = torch.manual_seed(0)
        >>> predictions = Predictions(5 * torch.randn(200, 10, 20), torch.rand(200, 10, 4))
        >>> objects = [Objects(torch.randint(19, (1,)), torch.rand(1, 4)) for _ in range(200)]
        >>> by_probability = torch.cat([queries for queries, _ in match(predictions, objects)])
        >>> labels = torch.stack([true.labels for true in objects])
        >>> boxes = box_loss(predictions.boxes, torch.stack([true.boxes for true in objects]))
        >>> log_p = predictions.logits.log_softmax(dim=2).take_along_dim(labels[:, :, None], dim=2).squeeze(2)
        >>> by_logarithm = (boxes - log_p).argmin(dim=1)
        >>> def worst_choice(queries):
        ...     return (boxes[torch.arange(200), queries] - boxes.amin(dim=1)).max().item()
        >>> worst_choice(by_probability) <= 1, worst_choice(by_logarithm) > 3
        (True, True)

        >>> logit = torch.tensor(-10.0, requires_grad=True)
        >>> terms = logit.sigmoid(), -logit.sigmoid().log()
        >>> [round(abs(torch.autograd.grad(term, logit)[0].item()), 3) for term in terms]
        [0.0, 1.0]
    """
    counts = [len(true.labels) for _, true in zip(predictions.boxes, objects, strict=True)]
    if max(counts, default=0) > predictions.boxes.shape[1]:
        raise ValueError(f"{max(counts)} objects exceed the {predictions.boxes.shape[1]} predictions")
    # All images' objects in one list, each beside the predictions of its own image: a few large operations.
    image = torch.arange(len(objects)).repeat_interleave(torch.tensor(counts))
    labels, boxes = torch.cat([true.labels for true in objects]), torch.cat([true.boxes for true in objects])
    cost = box_loss(predictions.boxes[image], boxes[:, None]) - predictions.logits.softmax(dim=-1)[image, :, labels]
    chosen = [linear_sum_assignment(each.T.numpy()) for each in cost.cpu().split(counts)]
    return [
        (torch.from_numpy(queries).to(boxes.device), torch.from_numpy(own).to(boxes.device)) for queries, own in chosen
    ]


def hungarian_loss(predictions: Predictions, objects: Sequence[Objects], no_object: float = 0.1) -> Float[Tensor, ""]:
    r"""Pair, then pay: for the class of every prediction, and for the box of those that have an object.

    Source: Section 3.1, Eq. 2
        $$\mathcal L = \sum_{i=1}^N \bigl(-\log \hat p_{\hat\sigma(i)}(c_i) +
          [c_i \ne \varnothing] \, \mathcal L_{box}(b_i, \hat b_{\hat\sigma(i)})\bigr)$$

    Departs: Appendix A.2 divides every loss by the number of objects in the batch. As in the public code, only the
    boxes' loss is: the classes' loss is the mean over all predictions, weighted as they are.

    Args:
        predictions: What the queries say.
        objects: What is in each image.
        no_object: The weight of a prediction whose class is ∅; any other weighs 1.

    Answers: detr.order-free
        No. The cheapest pairing has the same pairs in whatever order either side is listed, and the loss is a sum over
        pairs. Over 24 orders of four objects, with the predictions shuffled each time, it has one value. Paid in the
        order in which they stand, it would have 24.

        >>> import itertools, torch
        >>> from reference_impl.detr import Objects, Predictions, box_loss, hungarian_loss
        >>> _ = torch.manual_seed(0)
        >>> logits, boxes = torch.randn(1, 7, 6), torch.rand(1, 7, 4)
        >>> labels, true = torch.tensor([0, 1, 1, 4]), torch.rand(4, 4)
        >>> paired, as_they_stand = set(), set()
        >>> for order in itertools.permutations(range(4)):
        ...     objects, shuffle = Objects(labels[list(order)], true[list(order)]), torch.randperm(7)
        ...     loss = hungarian_loss(Predictions(logits[:, shuffle], boxes[:, shuffle]), [objects])
        ...     paired.add(round(loss.item(), 4))
        ...     as_they_stand.add(round(box_loss(boxes[0, :4], objects.boxes).sum().item(), 4))
        >>> len(paired), len(as_they_stand)
        (1, 24)

    Answers: detr.without-suppression
        The pairing. Each object is paired with one prediction, so a second one of the same object has nothing but ∅ to
        be paired with, and is taught to say so. Below, eight free predictions learn three objects: three are left. If
        each learns the object nearest to it, as the rules of other detectors have it, all eight stay, and somebody has
        to throw five away.

        >>> import torch
        >>> from torch.nn import functional as F
        >>> from reference_impl.detr import Objects, Predictions, box_loss, detections, hungarian_loss
        >>> boxes = torch.tensor([[0.2, 0.3, 0.2, 0.2], [0.6, 0.6, 0.3, 0.2], [0.8, 0.2, 0.2, 0.3]])
        >>> truth = Objects(torch.tensor([0, 1, 2]), boxes)
        >>> def nearest_loss(predictions, objects):
        ...     cost = box_loss(predictions.boxes[0][:, None], objects[0].boxes)
        ...     return cost.amin(dim=1).mean() + F.cross_entropy(predictions.logits[0], cost.argmin(dim=1))
        >>> def found(loss):
        ...     _ = torch.manual_seed(0)
        ...     logits, places = torch.zeros(1, 8, 4, requires_grad=True), torch.randn(1, 8, 4, requires_grad=True)
        ...     optimiser = torch.optim.Adam([logits, places], lr=0.2)
        ...     for _ in range(40):
        ...         predictions = Predictions(logits, places.sigmoid())
        ...         optimiser.zero_grad()
        ...         loss(predictions, [truth]).backward()
        ...         optimiser.step()
        ...     (result,) = detections(predictions, torch.tensor([[100, 100]]), threshold=0.5)
        ...     return sorted(result.labels.tolist())
        >>> found(hungarian_loss)
        [0, 1, 2]
        >>> len(found(nearest_loss))
        8

    Answers: detr.no-object-weight
        Of 100 predictions 93 are told ∅ if an image has seven objects, COCO's mean. A query that cannot tell yet does
        best to say ∅ with probability 0.93, and evidence for an object has to be 13 times as likely as not before the
        query says otherwise. Weighted by a tenth, ∅ is no longer certain beforehand: a factor of 1.3 is enough. Below,
        all queries share one score, which learns how likely an object is.

        >>> import torch
        >>> from reference_impl.detr import Objects, Predictions, hungarian_loss
        >>> _ = torch.manual_seed(0)
        >>> objects, boxes = [Objects(torch.zeros(7, dtype=torch.long), torch.rand(7, 4))], torch.rand(1, 100, 4)
        >>> def chance_of_an_object(no_object):
        ...     score = torch.zeros(2, requires_grad=True)
        ...     optimiser = torch.optim.Adam([score], lr=0.1)
        ...     for _ in range(80):
        ...         optimiser.zero_grad()
        ...         hungarian_loss(Predictions(score.expand(1, 100, 2), boxes), objects, no_object).backward()
        ...         optimiser.step()
        ...     return score.softmax(dim=0)[0].item()
        >>> unweighted, weighted = chance_of_an_object(1.0), chance_of_an_object(0.1)
        >>> round(unweighted, 2), round(weighted, 2)
        (0.07, 0.43)
        >>> round((1 - unweighted) / unweighted), round((1 - weighted) / weighted, 1)
        (13, 1.3)
    """
    pairs = match(predictions, objects)
    image = torch.cat([torch.full_like(queries, i) for i, (queries, _) in enumerate(pairs)])
    query = torch.cat([queries for queries, _ in pairs])
    labels = torch.cat([true.labels[chosen] for true, (_, chosen) in zip(objects, pairs, strict=True)])
    boxes = torch.cat([true.boxes[chosen] for true, (_, chosen) in zip(objects, pairs, strict=True)])
    b, n, classes = predictions.logits.shape
    wanted = labels.new_full((b, n), classes - 1)
    wanted[image, query] = labels
    weight = predictions.logits.new_ones(classes)
    weight[-1] = no_object
    class_loss = F.cross_entropy(predictions.logits.mT, wanted, weight)
    return class_loss + box_loss(predictions.boxes[image, query], boxes).sum() / max(len(labels), 1)


def total_loss(layers: Sequence[Predictions], objects: Sequence[Objects], no_object: float = 0.1) -> Float[Tensor, ""]:
    """Pay after every decoder layer, each with a matching of its own.

    Source: Section 3.2, "Auxiliary decoding losses"

    Answers: detr.auxiliary-losses
        So that every layer answers for itself. The heads and a norm before them are shared, so it costs no parameters,
        and each layer is paired anew, since it finds other things than the one before. Below, a decoder learns two
        objects. By the last loss alone its first layer is still no detector; by all of them it is one. That this helps
        the whole model, to find the right number of objects above all, is the paper's finding, not this sketch's.

        >>> import torch
        >>> from reference_impl.detr import DETR, Objects, ResNet, hungarian_loss, total_loss
        >>> def loss_of_first_layer(auxiliary):
        ...     _ = torch.manual_seed(2)
        ...     objects = [Objects(torch.tensor([0, 1]), 0.2 + 0.6 * torch.rand(2, 4))]
        ...     size = dict(queries=4, d_model=32, heads=4, d_ff=64, layers=3, dropout=0.0)
        ...     model = DETR(classes=2, **size, backbone=ResNet((1, 1), width=8))
        ...     with torch.no_grad():
        ...         memory = model.encode(torch.randn(1, 3, 32, 32))  # stays as it is: only the decoder learns
        ...     optimiser = torch.optim.Adam(model.parameters(), lr=0.003)
        ...     for _ in range(40):
        ...         layers = [model.predict(found) for found in model.decode(memory)]
        ...         optimiser.zero_grad()
        ...         total_loss(layers if auxiliary else layers[-1:], objects).backward()
        ...         optimiser.step()
        ...     return hungarian_loss(layers[0], objects).item()
        >>> loss_of_first_layer(auxiliary=False) > 2, loss_of_first_layer(auxiliary=True) < 1.5
        (True, True)
    """
    return torch.stack([hungarian_loss(predictions, objects, no_object) for predictions in layers]).sum()


class FrozenBatchNorm(nn.Module):
    r"""Batch norm that never learns: its statistics and its affine map are those of the weights that were loaded.

    Source: Section 4, "Technical details"; Appendix A.4, "Backbone"
        $$y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} \gamma + \beta$$
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Float[Tensor, "b channels rows columns"]) -> Float[Tensor, "b channels rows columns"]:
        """Scale and shift each channel by constants."""
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale[:, None, None] + shift[:, None, None]


class Bottleneck(nn.Module):
    """Change a feature map through a narrow waist, and add the change to what came in.

    Source: He et al. 2016, Figure 5, right; the stride stands in the 3 × 3 convolution, as in torchvision
    """

    def __init__(self, channels: int, width: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = FrozenBatchNorm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = FrozenBatchNorm(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = FrozenBatchNorm(4 * width)
        self.downsample = None
        if stride != 1 or channels != 4 * width:
            shortcut = nn.Conv2d(channels, 4 * width, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, FrozenBatchNorm(4 * width))

    def forward(self, x: Float[Tensor, "b _ _ _"]) -> Float[Tensor, "b _ _ _"]:
        """Return the changed map."""
        change = self.bn1(self.conv1(x)).relu()
        change = self.bn2(self.conv2(change)).relu()
        change = self.bn3(self.conv3(change))
        return (change + (x if self.downsample is None else self.downsample(x))).relu()


class ResNet(nn.Sequential):
    """The backbone, without its classifier: features at a thirty-second of the image's resolution.

    Source: Section 3.2, "Backbone"; He et al. 2016, Table 1

    Its parts have torchvision's names, which the public checkpoints have too. The paper begins with weights trained on
    ImageNet; a new one here begins with random weights.

    Departs: the paper speaks of batch norm only; the stem and the first stage are frozen too, as in the public code.

    Args:
        depths: How many blocks in each stage; ResNet-101 has (3, 4, 23, 3).
        width: The stem's channels. Each stage has twice the one before; the first has four times the stem's.
        dilated: Whether the last stage keeps the resolution, and dilates instead (DC5, Section 4).
        frozen: How many parts are not trained, from the stem on.

    Answers: detr.small-objects
        Hardly any. Say that an image of 640 × 480 is enlarged to 1,067 × 800, as the paper does. The backbone makes
        850 cells of it. What COCO calls small has at most 32 × 32 pixels, 53 × 53 after enlarging, and covers less
        than three cells; a large object has at least 96 × 96, and covers 25. All that the Transformer sees of an object
        must be in its cells. To keep the resolution in the last stage (DC5) makes four times as many, without new
        weights, and 16 times as many pairs for the encoder's attention.

        >>> import torch
        >>> from reference_impl.detr import ResNet
        >>> with torch.device("meta"):
        ...     image = torch.empty(1, 3, 800, 1067)
        ...     plain, dilated = ResNet(), ResNet(dilated=True)
        ...     shapes = [tuple(backbone(image).shape[2:]) for backbone in (plain, dilated)]
        >>> shapes
        [(25, 34), (50, 67)]
        >>> [round((side * 800 / 480 / 32) ** 2, 1) for side in (16, 32, 96)]
        [0.7, 2.8, 25.0]
        >>> cells, more_cells = (rows * columns for rows, columns in shapes)
        >>> cells, round(more_cells / cells), round((more_cells / cells) ** 2)
        (850, 4, 16)
        >>> [sum(w.numel() for w in backbone.parameters()) for backbone in (plain, dilated)]
        [23454912, 23454912]
    """

    def __init__(
        self, depths: Sequence[int] = (3, 4, 6, 3), width: int = 64, dilated: bool = False, frozen: int = 2
    ) -> None:
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=nn.Conv2d(3, width, 7, 2, 3, bias=False),
            bn1=FrozenBatchNorm(width),
            relu=nn.ReLU(),
            maxpool=nn.MaxPool2d(3, 2, 1),
        )
        channels = width
        for i, depth in enumerate(depths):
            inner, dilates = width * 2**i, dilated and i == len(depths) - 1
            blocks = [Bottleneck(channels, inner, stride=1 if i == 0 or dilates else 2)]
            blocks += [Bottleneck(4 * inner, inner, dilation=2 if dilates else 1) for _ in range(depth - 1)]
            parts[f"layer{i + 1}"] = nn.Sequential(*blocks)
            channels = 4 * inner
        super().__init__(parts)
        self.channels = channels
        for convolution in (module for module in self.modules() if isinstance(module, nn.Conv2d)):
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        for part in [part for name, part in parts.items() if name == "conv1" or name.startswith("layer")][:frozen]:
            part.requires_grad_(False)


def sine_positions(real: Bool[Tensor, "b rows columns"], d: int) -> Float[Tensor, "b rows columns d"]:
    r"""Return a fixed encoding of every cell: half of it from the cell's row, half from its column.

    Source: Appendix A.4, "Spatial positional encoding"
        $$PE_{(pos,2i)} = \sin(pos / 10000^{4i/d}), \qquad PE_{(pos,2i+1)} = \cos(pos / 10000^{4i/d})$$

    Departs: the paper does not say in which unit $pos$ is. As in the public code, it runs up to $2\pi$ at the last real
    row or column of the image, whatever its size.

    Args:
        real: Which cells are no padding; an image stands in the upper left corner.
        d: The width.

    Raises:
        ValueError: The width does not divide into sines and cosines of rows and of columns.
    """
    if d % 4:
        raise ValueError(f"d {d} is not a multiple of 4")
    # float64, as for the sines of a sentence
    rates = 10000.0 ** (-torch.arange(0, d // 2, 2, dtype=torch.float64, device=real.device) / (d // 2))
    halves = []
    for axis in (1, 2):
        place = real.cumsum(dim=axis, dtype=torch.float64)
        place = 2 * math.pi * place / (place.narrow(axis, -1, 1) + 1e-6)
        angles = place[..., None] * rates
        halves.append(torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2))
    return torch.cat(halves, dim=-1).to(torch.get_default_dtype())


class EncoderLayer(nn.Module):
    r"""Let each cell look at all of them, then change each by itself.

    Source: Appendix A.3 and Figure 10, left; positions as in A.1, Eq. 7
        $$[Q; K; V] = [T_1 (X_q + P_q);\ T_2 (X_{kv} + P_{kv});\ T_3 X_{kv}]$$

    Answers: detr.positions-in-every-layer
        They are added to queries and keys in every layer, and never to values: those of the image to the cells, and the
        object queries, which are positions too, to what the queries have found. So they decide where a cell looks, and
        not what it finds. If all cells hold the same, every mean of their values is the same, wherever they look. In
        the values, positions would be found as if they were content.

        >>> import torch
        >>> from reference_impl.detr import EncoderLayer, sine_positions
        >>> _ = torch.manual_seed(0)
        >>> first, second = EncoderLayer(32, 4, 64).eval(), EncoderLayer(32, 4, 64).eval()
        >>> positions = sine_positions(torch.ones(1, 5, 7, dtype=torch.bool), 32).flatten(1, 2)
        >>> everywhere, blank = torch.ones(1, 1, 35, dtype=torch.bool), torch.randn(1, 1, 32).expand(1, 35, 32)
        >>> def spread(cells):
        ...     return (cells - cells[:, :1]).abs().max().item()
        >>> found = first(blank, positions, everywhere)
        >>> placed = blank + positions
        >>> found_with_places = first.self_attention(placed, placed, placed, everywhere)
        >>> spread(found) < 1e-5, spread(found_with_places) > 1e-3
        (True, True)

        Such an image, then, carries no place on to the next layer, and any other carries little: the layer has to be
        told again. One that is not cannot tell an image from the same cells in another order.

        >>> x, order = torch.randn(1, 35, 32), torch.randperm(35)
        >>> def change(positions):
        ...     in_order, shuffled = second(x, positions, everywhere), second(x[:, order], positions, everywhere)
        ...     return (in_order[:, order] - shuffled).abs().max().item()
        >>> change(torch.zeros_like(positions)) < 1e-5, change(positions) > 0.01
        (True, True)
    """

    def __init__(self, d_model: int, heads: int, d_ff: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(d_model, heads)
        self.feed_forward = FeedForward(d_model, d_ff)
        self.around_self_attention = PostNorm(d_model, dropout)
        self.around_feed_forward = PostNorm(d_model, dropout)

    def forward(
        self, x: Float[Tensor, "b m d"], positions: Float[Tensor, "b m d"], mask: Bool[Tensor, "b 1 m"]
    ) -> Float[Tensor, "b m d"]:
        """Return the cells as the next layer sees them."""
        placed = x + positions
        x = self.around_self_attention.output(x, self.self_attention(placed, placed, x, mask))
        return self.around_feed_forward.output(x, self.feed_forward(x))


@dataclass(frozen=True)
class Memory:
    """What the decoder looks at: the encoder's cells, where they stand, and which of them are real."""

    cells: Float[Tensor, "b m d"]
    positions: Float[Tensor, "b m d"]
    mask: Bool[Tensor, "b 1 m"]


class DecoderLayer(nn.Module):
    """Let each query look at the other queries, then at the image, then change each by itself; nothing is hidden.

    Source: Appendix A.3 and Figure 10, right; positions as in A.1, Eq. 7

    Answers: detr.first-self-attention
        Nothing: neither of the image nor of the queries. What the queries have found is zero in the beginning, and
        positions are not in the values, so all values are the same: the bias. Every mean of them is that too. Of the
        paper's 263,168 parameters in this place all that comes out is one vector, the same for every query and every
        image. The paper says itself that this attention may be skipped (Appendix A.3).

        >>> import torch
        >>> from torch import nn
        >>> from reference_impl.detr import DETR, ResNet
        >>> _ = torch.manual_seed(0)
        >>> model = DETR(3, queries=5, d_model=16, heads=2, d_ff=32, layers=2, backbone=ResNet((1,), 4)).eval()
        >>> for attention in (layer.self_attention for layer in model.decoder):
        ...     for bias in (attention.value.bias, attention.output.bias):
        ...         _ = nn.init.normal_(bias)  # as if trained: they begin as zeros
        >>> told = []
        >>> for layer in model.decoder:
        ...     _ = layer.self_attention.register_forward_hook(lambda module, given, result: told.append(result))
        >>> memory = model.encode(torch.randn(2, 3, 32, 32))  # two images
        >>> found = model.decode(memory)
        >>> first, second = (result.flatten(0, 1) for result in told)
        >>> attention = model.decoder[0].self_attention
        >>> torch.allclose(first, attention.output(attention.value.bias).expand(10, 16), atol=1e-5)
        True
        >>> len(second.detach().mul(1e4).round().unique(dim=0))
        10

    Answers: detr.decoder-self-attention
        It is the only way in which queries hear of one another, and they must: what a prediction is taught depends on
        the others. Below, the same prediction of an object is paired with it, or is left with ∅, by how good another
        one is. A query that heard nothing would have to work out from the image what all others are going to say.

        >>> import torch
        >>> from torch import nn
        >>> from reference_impl.detr import DETR, Objects, Predictions, ResNet, match
        >>> true = Objects(torch.tensor([0]), torch.tensor([[0.5, 0.5, 0.2, 0.2]]))
        >>> mine, better, worse = true.boxes + 0.05, true.boxes + 0.01, true.boxes + 0.1
        >>> for other in (better, worse):
        ...     ((queries, _),) = match(Predictions(torch.zeros(1, 2, 2), torch.stack([mine, other], dim=1)), [true])
        ...     print("the object" if 0 in queries else "∅")
        ∅
        the object

        What query 1 has found after the first layer reaches query 0 in the second; without self-attention it never
        does. And nothing passes within the first layer, where nothing has been found yet. So one layer alone finds
        objects twice, which the paper observed: suppressing duplicates helps after the first layer, and not after the
        last (Section 4.2, Figure 4).

        >>> _ = torch.manual_seed(0)
        >>> model = DETR(1, queries=3, d_model=16, heads=2, d_ff=32, layers=2, backbone=ResNet((1,), 4)).eval()
        >>> memory = model.encode(torch.randn(1, 3, 32, 32))
        >>> first, second = model.decoder
        >>> queries = model.queries[None]
        >>> y = first(torch.zeros_like(queries), queries, memory).detach().requires_grad_()
        >>> def heard():
        ...     (gradient,) = torch.autograd.grad(second(y, queries, memory)[0, 0, 0], y)
        ...     return gradient[0].abs().sum(dim=1).gt(1e-4).tolist()
        >>> heard()
        [True, True, True]
        >>> _ = nn.init.zeros_(second.self_attention.output.weight)
        >>> heard()
        [True, False, False]
    """

    def __init__(self, d_model: int, heads: int, d_ff: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(d_model, heads)
        self.cross_attention = MultiHeadAttention(d_model, heads)
        self.feed_forward = FeedForward(d_model, d_ff)
        self.around_self_attention = PostNorm(d_model, dropout)
        self.around_cross_attention = PostNorm(d_model, dropout)
        self.around_feed_forward = PostNorm(d_model, dropout)

    def forward(
        self, y: Float[Tensor, "b n d"], queries: Float[Tensor, "b n d"], memory: Memory
    ) -> Float[Tensor, "b n d"]:
        """Return what has been found by each query as the next layer sees it."""
        placed = y + queries
        y = self.around_self_attention.output(y, self.self_attention(placed, placed, y))
        keys = memory.cells + memory.positions
        found = self.cross_attention(y + queries, keys, memory.cells, memory.mask)
        y = self.around_cross_attention.output(y, found)
        return self.around_feed_forward.output(y, self.feed_forward(y))


class DETR(nn.Module):
    """Say of an image, in one pass, which objects stand where.

    Source: Section 3.2 and Figure 2

    The defaults are the paper's model with a ResNet-50. COCO's class numbers go up to 90, hence 91 classes.

    Departs: dropout stands after each sublayer, as Appendix A.4 has it; the public code also drops attention weights
    and the hidden units of the feed-forward networks. Weights of the Transformer begin as Glorot and Bengio draw them,
    query, key and value apart; the public code draws the three as one matrix, and so smaller.

    Args:
        classes: How many classes an object may have, ∅ not among them.
        queries: How many predictions are made of an image.
        d_model: The width of the Transformer.
        heads: How many heads share that width.
        d_ff: The width inside the feed-forward networks.
        layers: How many layers in each of the two stacks.
        dropout: The share dropped from each sublayer's output.
        backbone: What makes features of an image; a new ResNet-50 if none is given.

    Raises:
        ValueError: There is no decoder layer, or the width does not divide among heads or into positions.

    Answers: detr.parameters
        More than half are in the backbone, and the queries are almost nothing. The stem and the first stage are not
        trained, and batch norm is constants throughout: 41.3 million are trained, the number that the paper prints in
        Section 4.1. Its Table 2, with 0, 3, 6 and 12 encoder layers, comes out to the digit.

        >>> import torch
        >>> from reference_impl.detr import DETR
        >>> with torch.device("meta"):
        ...     model = DETR()
        >>> def count(*parts):
        ...     return sum(w.numel() for part in parts for w in part.parameters())
        >>> count(model), model.queries.numel()
        (41524768, 25600)
        >>> [count(part) for part in (model.backbone, model.project, model.encoder)]
        [23454912, 524544, 7890432]
        >>> [count(model.decoder, model.decoder_norm), count(model.classify), count(model.locate)]
        [9473024, 23644, 132612]
        >>> trained = sum(w.numel() for w in model.parameters() if w.requires_grad)
        >>> trained, count(model) - trained == count(model.backbone.conv1, model.backbone.layer1)
        (41302368, True)
        >>> [round((trained + (layers - 6) * count(model.encoder[0])) / 1e6, 1) for layers in (0, 3, 6, 12)]
        [33.4, 37.4, 41.3, 49.2]

    Answers: detr.object-queries
        One learnt vector for each prediction, the same for every image; to the decoder it is the position of a place
        that holds nothing yet. Nothing else tells predictions apart. Queries in another order give the predictions in
        that order. If all were the same, so would be all predictions, and an image would seem to have one object. In
        training they would not stay the same: the matching has to pick one of them.

        >>> import torch
        >>> from reference_impl.detr import DETR, Objects, ResNet, total_loss
        >>> _ = torch.manual_seed(0)
        >>> model = DETR(3, queries=5, d_model=16, heads=2, d_ff=32, layers=2, backbone=ResNet((1,), 4)).eval()
        >>> image, order = torch.randn(1, 3, 32, 32), torch.tensor([3, 1, 4, 0, 2])
        >>> def spread(rows):
        ...     return (rows - rows[0]).abs().max().item()
        >>> logits = model(image)[-1].logits[0]
        >>> _ = model.queries.data.copy_(model.queries[order])
        >>> spread(logits) > 0.01, torch.allclose(model(image)[-1].logits[0], logits[order], atol=1e-5)
        (True, True)
        >>> _ = model.queries.data.copy_(model.queries[:1].expand(5, 16))
        >>> layers = model(image)
        >>> spread(layers[-1].logits[0]) < 1e-5
        True
        >>> total_loss(layers, [Objects(torch.tensor([0]), torch.rand(1, 4))]).backward()
        >>> spread(model.queries.grad) > 1e-3
        True
    """

    def __init__(
        self,
        classes: int = 91,
        queries: int = 100,
        d_model: int = 256,
        heads: int = 8,
        d_ff: int = 2048,
        layers: int = 6,
        dropout: float = 0.1,
        backbone: ResNet | None = None,
    ) -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"layers {layers} is less than 1")
        if d_model % 4:
            raise ValueError(f"d_model {d_model} is not a multiple of 4")
        size = (d_model, heads, d_ff, dropout)
        self.backbone = ResNet() if backbone is None else backbone
        self.project = nn.Conv2d(self.backbone.channels, d_model, 1)
        self.encoder = nn.ModuleList(EncoderLayer(*size) for _ in range(layers))
        self.decoder = nn.ModuleList(DecoderLayer(*size) for _ in range(layers))
        self.decoder_norm = nn.LayerNorm(d_model)
        self.queries = nn.Parameter(torch.randn(queries, d_model))
        self.classify = nn.Linear(d_model, classes + 1)
        hidden = (nn.Linear(d_model, d_model), nn.ReLU(), nn.Linear(d_model, d_model), nn.ReLU())
        self.locate = nn.Sequential(*hidden, nn.Linear(d_model, 4))
        for stack in (self.encoder, self.decoder):
            for linear in (module for module in stack.modules() if isinstance(module, nn.Linear)):
                nn.init.xavier_uniform_(linear.weight)
                nn.init.zeros_(linear.bias)

    def forward(
        self, images: Float[Tensor, "b 3 height width"], real: Bool[Tensor, "b height width"] | None = None
    ) -> list[Predictions]:
        """Return the predictions after each decoder layer: the last are the model's, the others serve its training.

        Args:
            images: Images whose channels have been normalised, padded to one size at the right and at the bottom.
            real: True where a pixel is no padding; all are real if it is left out.
        """
        return [self.predict(y) for y in self.decode(self.encode(images, real))]

    def encode(
        self, images: Float[Tensor, "b 3 height width"], real: Bool[Tensor, "b height width"] | None = None
    ) -> Memory:
        """Make features of the images, and let their cells look at one another."""
        features = self.project(self.backbone(images))
        real = torch.ones_like(images[:, 0], dtype=torch.bool) if real is None else real
        kept = F.interpolate(real[:, None].to(features), size=features.shape[-2:])[:, 0].bool()
        positions = sine_positions(kept, features.shape[1]).to(features).flatten(1, 2)
        cells, mask = features.flatten(2).mT, kept.flatten(1)[:, None]
        for layer in self.encoder:
            cells = layer(cells, positions, mask)
        return Memory(cells, positions, mask)

    def decode(self, memory: Memory) -> list[Float[Tensor, "b n d"]]:
        """Return what the queries have found after each layer, normalised; they begin with nothing."""
        queries = self.queries.expand(len(memory.cells), -1, -1)
        y, found = torch.zeros_like(queries), []
        for layer in self.decoder:
            y = layer(y, queries, memory)
            found.append(self.decoder_norm(y))
        return found

    def predict(self, found: Float[Tensor, "b n d"]) -> Predictions:
        """Read a class and a box from what each query has found, by itself.

        Source: Section 3.2, "Prediction feed-forward networks"
        """
        return Predictions(self.classify(found), self.locate(found).sigmoid())


def pad(
    images: Sequence[Float[Tensor, "3 _ _"]],
) -> tuple[Float[Tensor, "b 3 height width"], Bool[Tensor, "b height width"]]:
    """Lay images of several sizes into the upper left corners of one batch; also return where they are.

    Answers: detr.padding
        To attention it does not: keys are masked, and positions count real cells only, so whatever stands in the padded
        cells, all predictions are the same. To the backbone it does: a convolution at the image's edge sees zeros when
        the image is alone, and what the layers below have made of the padding when it is not. So predictions depend a
        little on which images share a batch.

        >>> import torch
        >>> from torch import nn
        >>> from reference_impl.detr import DETR, Memory, ResNet, pad
        >>> _ = torch.manual_seed(0)
        >>> backbone = ResNet((1, 1), 4)
        >>> for name, constant in backbone.named_buffers():
        ...     if name.endswith("bias"):
        ...         _ = nn.init.normal_(constant)  # as in trained weights
        >>> model = DETR(3, queries=5, d_model=16, heads=2, d_ff=32, layers=2, backbone=backbone).eval()
        >>> small, large = torch.randn(3, 32, 40), torch.randn(3, 64, 48)
        >>> images, real = pad([small, large])
        >>> def furthest(one, other):
        ...     return (one.logits[0] - other.logits[0]).abs().max().item()
        >>> memory = model.encode(images, real)
        >>> noise = torch.randn_like(memory.cells) * ~memory.mask.mT
        >>> noisy = Memory(memory.cells + noise, memory.positions, memory.mask)
        >>> together, with_noise = (model.predict(model.decode(seen)[-1]) for seen in (memory, noisy))
        >>> bool(noise.any()), furthest(together, with_noise) < 1e-6
        (True, True)
        >>> alone = model(small[None])[-1]
        >>> furthest(alone, together) > 1e-3
        True
    """
    height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
    batch = images[0].new_zeros(len(images), 3, height, width)
    real = torch.zeros(len(images), height, width, dtype=torch.bool, device=batch.device)
    for i, image in enumerate(images):
        batch[i, :, : image.shape[1], : image.shape[2]] = image
        real[i, : image.shape[1], : image.shape[2]] = True
    return batch, real


@dataclass(frozen=True)
class Detections:
    """What has been found in one image; boxes are (left, top, right, bottom) in pixels."""

    scores: Float[Tensor, " found"]
    labels: Int[Tensor, " found"]
    boxes: Float[Tensor, "found 4"]


@torch.no_grad()
def detections(predictions: Predictions, sizes: Int[Tensor, "b 2"], threshold: float = 0.0) -> list[Detections]:
    """Turn the predictions of the last layer into boxes in pixels.

    Source: Section 4, "Technical details"

    A prediction whose likeliest class is ∅ counts with its second one, and with that class's probability. Nothing is
    suppressed. The paper scores all predictions; to look at some, raise the threshold.

    Args:
        predictions: What the queries say.
        sizes: The height and the width of each image, without padding.
        threshold: Only what scores higher is returned.
    """
    scores, labels = predictions.logits.softmax(dim=-1)[..., :-1].max(dim=-1)
    boxes = corners(predictions.boxes) * sizes.flip(1).repeat(1, 2)[:, None]
    rows = zip(scores, labels, boxes, scores > threshold, strict=True)
    return [Detections(score[kept], label[kept], box[kept]) for score, label, box, kept in rows]


def adamw(model: DETR, drop: int = 200) -> tuple[torch.optim.AdamW, StepLR]:
    """Return the optimiser and its schedule; call `step` of the schedule after each pass over the images.

    Source: Section 4, "Technical details"; Appendix A.4

    Args:
        model: The model; its backbone learns ten times more slowly.
        drop: After how many passes the rates fall to a tenth: 200 of 300, or 400 of 500.
    """
    rest = [p for name, p in model.named_parameters() if p.requires_grad and not name.startswith("backbone.")]
    backbone = [p for p in model.backbone.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [{"params": rest}, {"params": backbone, "lr": 1e-5}]
    optimiser = torch.optim.AdamW(groups, lr=1e-4, weight_decay=1e-4)
    return optimiser, StepLR(optimiser, drop)


def train_step(
    model: DETR,
    optimiser: torch.optim.Optimizer,
    images: Float[Tensor, "b 3 height width"],
    objects: Sequence[Objects],
    real: Bool[Tensor, "b height width"] | None = None,
) -> float:
    """Learn from one batch, and return its loss.

    Source: Appendix A.4; gradients are clipped to a norm of 0.1
    """
    loss = total_loss(model(images, real), objects)
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    optimiser.step()
    return loss.item()
