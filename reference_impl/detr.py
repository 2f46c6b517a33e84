r"""DETR: object detection as set prediction, with a Transformer that predicts all objects of an image in parallel.

Source: Carion et al. 2020, "End-to-End Object Detection with Transformers"; sections and equations are this paper's

Axes: $b$ images of a batch, $n$ object queries ($N$ in the paper), $m$ cells of the feature map ($HW$), $d$ the width
of the Transformer, $h$ heads. A box is (center x, center y, width, height) as fractions of the image size, in [0, 1].
The last class, ∅, is "no object". Masks are true where the image is, and false at padding.

In the paper's order: matching and loss (Section 3.1), then backbone, Transformer and prediction heads (Section 3.2).
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
from reference_impl.transformer import FeedForward


@dataclass(frozen=True)
class Targets:
    """The ground truth of one image: the classes and boxes of its objects, in any order."""

    labels: Int[Tensor, " objects"]
    boxes: Float[Tensor, "objects 4"]


@dataclass(frozen=True)
class Predictions:
    """The model's output: for each query of each image, the logits of all classes, the last of them ∅, and a box."""

    logits: Float[Tensor, "b n classes"]
    boxes: Float[Tensor, "b n 4"]


def box_cxcywh_to_xyxy(boxes: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 4"]:
    """Convert (center x, center y, width, height) to (left, top, right, bottom)."""
    center, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat([center - size / 2, center + size / 2], dim=-1)


def box_intersection_and_union(
    boxes1: Float[Tensor, "*#b 4"], boxes2: Float[Tensor, "*#b 4"]
) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
    """Return the areas of the intersection and of the union of boxes in (left, top, right, bottom) format."""
    overlap = torch.minimum(boxes1[..., 2:], boxes2[..., 2:]) - torch.maximum(boxes1[..., :2], boxes2[..., :2])
    intersection = overlap.clamp(min=0).prod(dim=-1)
    area1, area2 = ((boxes[..., 2:] - boxes[..., :2]).prod(dim=-1) for boxes in (boxes1, boxes2))
    return intersection, area1 + area2 - intersection


def generalized_box_iou(boxes1: Float[Tensor, "*#b 4"], boxes2: Float[Tensor, "*#b 4"]) -> Float[Tensor, "*b"]:
    r"""Return the generalized IoU of boxes in (left, top, right, bottom) format.

    Source: Appendix A.2, Eq. 10, which cites Rezatofighi et al. 2019
        $$\operatorname{GIoU}(b, \hat b) = \frac{|b \cap \hat b|}{|b \cup \hat b|} -
          \frac{|B \setminus (b \cup \hat b)|}{|B|}$$

    $B$ is the smallest box around both. (The paper's text has "largest".) In [-1, 1]: 1 for the same box, -1 for two
    boxes without area, such as two points; but 0 if $B$ has no area either, as for a point and itself.

    Asked: detr.disjoint-boxes
    """
    intersection, union = box_intersection_and_union(boxes1, boxes2)
    hull = torch.maximum(boxes1[..., 2:], boxes2[..., 2:]) - torch.minimum(boxes1[..., :2], boxes2[..., :2])
    area, eps = hull.prod(dim=-1), torch.finfo(union.dtype).tiny
    return intersection / union.clamp(min=eps) - (area - union) / area.clamp(min=eps)


def box_loss(boxes1: Float[Tensor, "*#b 4"], boxes2: Float[Tensor, "*#b 4"]) -> Float[Tensor, "*b"]:
    r"""Return the bounding box loss: a weighted sum of the generalized IoU loss and the L1 distance.

    Source: Section 3.1, "Bounding box loss"; Appendix A.2, Eq. 9; the weights from A.4
        $$\mathcal L_{box}(b, \hat b) = 2 \, (1 - \operatorname{GIoU}(b, \hat b)) + 5 \, \lVert b - \hat b \rVert_1$$

    Asked: detr.two-box-losses
    """
    giou = generalized_box_iou(box_cxcywh_to_xyxy(boxes1), box_cxcywh_to_xyxy(boxes2))
    return 2 * (1 - giou) + 5 * (boxes1 - boxes2).abs().sum(dim=-1)


@torch.no_grad()
def hungarian_match(
    predictions: Predictions, targets: Sequence[Targets]
) -> list[tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]]:
    r"""Match each object to a different prediction, at the least total cost (the Hungarian algorithm).

    Source: Section 3.1, Eq. 1
        $$\hat\sigma = \operatorname*{arg\,min}_\sigma \sum_{i=1}^N [c_i \ne \varnothing] \,
          \bigl(\mathcal L_{box}(b_i, \hat b_{\sigma(i)}) - \hat p_{\sigma(i)}(c_i)\bigr)$$

    The paper pads the objects with ∅ to $N$; these cost nothing whatever they are matched to, and are left out here. No
    gradient flows through the matching.

    Returns:
        For each image, the indices of the matched predictions, and those of their objects.

    Raises:
        ValueError: An image has more objects than predictions.

    Asked: detr.best-pairing, detr.probability-not-logarithm
    """
    counts = [len(target.labels) for _, target in zip(predictions.boxes, targets, strict=True)]
    if max(counts, default=0) > predictions.boxes.shape[1]:
        raise ValueError(f"{max(counts)} objects exceed the {predictions.boxes.shape[1]} predictions")
    # The costs of all images at once: one row for each object, with the predictions of its image.
    image = torch.arange(len(targets)).repeat_interleave(torch.tensor(counts))  # (all objects,)
    labels, boxes = torch.cat([target.labels for target in targets]), torch.cat([target.boxes for target in targets])
    class_cost = -predictions.logits.softmax(dim=-1)[image, :, labels]  # (all objects, n)
    cost = box_loss(predictions.boxes[image], boxes[:, None]) + class_cost  # (all objects, n)
    pairs = [linear_sum_assignment(each.T.numpy()) for each in cost.cpu().split(counts)]  # each: (objects, n)
    return [(torch.from_numpy(src).to(boxes.device), torch.from_numpy(tgt).to(boxes.device)) for src, tgt in pairs]


def hungarian_loss(predictions: Predictions, targets: Sequence[Targets], eos_coef: float = 0.1) -> Float[Tensor, ""]:
    r"""Return the set prediction loss: cross-entropy for every prediction, and the box loss for the matched ones.

    Source: Section 3.1, Eq. 2
        $$\mathcal L = \sum_{i=1}^N \bigl(-\log \hat p_{\hat\sigma(i)}(c_i) +
          [c_i \ne \varnothing] \, \mathcal L_{box}(b_i, \hat b_{\hat\sigma(i)})\bigr)$$

    Departs: Appendix A.2 divides every loss by the number of objects in the batch. As in the public code, only the box
    loss is divided by it; the classification loss is the weighted mean over all predictions.

    Args:
        predictions: The predictions of one decoder layer.
        targets: The objects of each image.
        eos_coef: The weight of the class ∅ in the classification loss; the other classes have weight 1.

    Asked: detr.without-suppression, detr.order-free, detr.no-object-weight
    """
    pairs = hungarian_match(predictions, targets)
    image = torch.cat([torch.full_like(src, i) for i, (src, _) in enumerate(pairs)])  # (all objects,)
    query = torch.cat([src for src, _ in pairs])  # (all objects,)
    labels = torch.cat([target.labels[tgt] for target, (_, tgt) in zip(targets, pairs, strict=True)])
    boxes = torch.cat([target.boxes[tgt] for target, (_, tgt) in zip(targets, pairs, strict=True)])  # (all objects, 4)
    b, n, classes = predictions.logits.shape
    target_classes = labels.new_full((b, n), classes - 1)  # ∅
    target_classes[image, query] = labels
    weight = predictions.logits.new_ones(classes)
    weight[-1] = eos_coef
    class_loss = F.cross_entropy(predictions.logits.mT, target_classes, weight)
    return class_loss + box_loss(predictions.boxes[image, query], boxes).sum() / max(len(labels), 1)


def total_loss(layers: Sequence[Predictions], targets: Sequence[Targets], eos_coef: float = 0.1) -> Float[Tensor, ""]:
    """Return the sum of the losses of all decoder layers, each with its own matching.

    Source: Section 3.2, "Auxiliary decoding losses"

    Asked: detr.auxiliary-losses
    """
    return torch.stack([hungarian_loss(predictions, targets, eos_coef) for predictions in layers]).sum()


class FrozenBatchNorm2d(nn.Module):
    r"""Batch norm with fixed statistics and affine parameters, those of the loaded weights.

    Source: Section 4, "Technical details"; Appendix A.4, "Backbone"
        $$y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} \gamma + \beta$$
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(num_features))
        self.register_buffer("bias", torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x: Float[Tensor, "b channels rows columns"]) -> Float[Tensor, "b channels rows columns"]:
        """Scale and shift each channel by constants."""
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale[:, None, None] + shift[:, None, None]


class Bottleneck(nn.Module):
    """A ResNet bottleneck block: 1 × 1, 3 × 3 and 1 × 1 convolutions with a residual connection.

    Source: He et al. 2016, Figure 5, right; the stride is in the 3 × 3 convolution, as in torchvision
    """

    def __init__(self, inplanes: int, planes: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 1, bias=False)
        self.bn1 = FrozenBatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, dilation, dilation, bias=False)
        self.bn2 = FrozenBatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = FrozenBatchNorm2d(4 * planes)
        self.downsample = None
        if stride != 1 or inplanes != 4 * planes:
            shortcut = nn.Conv2d(inplanes, 4 * planes, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, FrozenBatchNorm2d(4 * planes))

    def forward(self, x: Float[Tensor, "b _ _ _"]) -> Float[Tensor, "b _ _ _"]:
        """Return the block's feature map."""
        out = self.bn1(self.conv1(x)).relu()  # (b, planes, rows, columns)
        out = self.bn2(self.conv2(out)).relu()  # (b, planes, rows / stride, columns / stride)
        out = self.bn3(self.conv3(out))  # (b, 4·planes, rows / stride, columns / stride)
        return (out + (x if self.downsample is None else self.downsample(x))).relu()


class ResNet(nn.Sequential):
    """The backbone, a ResNet without its classifier; its feature map has 1/32 of the image's resolution.

    Source: Section 3.2, "Backbone"; He et al. 2016, Table 1

    Its parts have torchvision's names, which the public checkpoints have too. The paper starts from weights
    pre-trained on ImageNet; here the weights are initialized at random.

    Departs: the paper mentions frozen batch norm only; the stem and the first stage are frozen too, as in the public
    code.

    Args:
        depths: The number of blocks in each stage; ResNet-101 has (3, 4, 23, 3).
        width: The number of channels of the stem. The first stage has four times as many, each later one twice those
            of the stage before.
        dilation: Whether the last stage is dilated instead of strided, which doubles the resolution (DC5, Section 4).
        frozen_layers: How many of `conv1`, `layer1`, `layer2`, … are not trained.

    Asked: detr.small-objects
    """

    def __init__(
        self, depths: Sequence[int] = (3, 4, 6, 3), width: int = 64, dilation: bool = False, frozen_layers: int = 2
    ) -> None:
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=nn.Conv2d(3, width, 7, 2, 3, bias=False),
            bn1=FrozenBatchNorm2d(width),
            relu=nn.ReLU(),
            maxpool=nn.MaxPool2d(3, 2, 1),
        )
        inplanes = width
        for i, depth in enumerate(depths):
            planes, dilate = width * 2**i, dilation and i == len(depths) - 1
            blocks = [Bottleneck(inplanes, planes, stride=1 if i == 0 or dilate else 2)]
            blocks += [Bottleneck(4 * planes, planes, dilation=2 if dilate else 1) for _ in range(depth - 1)]
            parts[f"layer{i + 1}"] = nn.Sequential(*blocks)
            inplanes = 4 * planes
        super().__init__(parts)
        self.num_channels = inplanes
        for convolution in (module for module in self.modules() if isinstance(module, nn.Conv2d)):
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        trainable = [part for name, part in parts.items() if name == "conv1" or name.startswith("layer")]
        for part in trainable[:frozen_layers]:
            part.requires_grad_(False)


def sine_position_embedding(valid: Bool[Tensor, "b rows columns"], d_model: int) -> Float[Tensor, "b rows columns d"]:
    r"""Return the fixed 2-D sine position embedding: half of the channels encode the row, half the column.

    Source: Appendix A.4, "Spatial positional encoding"
        $$PE_{(pos,2i)} = \sin(pos / 10000^{4i/d}), \qquad PE_{(pos,2i+1)} = \cos(pos / 10000^{4i/d})$$

    Departs: the paper does not give the unit of $pos$. As in the public code, it is normalized to $2\pi$ at the last
    valid row or column of each image, whatever its size.

    Args:
        valid: Which cells are not padding; an image is in the upper left corner.
        d_model: The width.

    Raises:
        ValueError: The width is not a multiple of 4.
    """
    if d_model % 4:
        raise ValueError(f"d_model {d_model} is not a multiple of 4")
    # float64, as for the sinusoidal positions of a sentence
    exponent = torch.arange(0, d_model // 2, 2, dtype=torch.float64, device=valid.device) / (d_model // 2)
    frequencies = 10000.0**-exponent
    halves = []
    for axis in (1, 2):
        position = valid.cumsum(dim=axis, dtype=torch.float64)
        position = 2 * math.pi * position / (position.narrow(axis, -1, 1) + 1e-6)
        angles = position[..., None] * frequencies  # (b, rows, columns, d / 4)
        halves.append(torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2))  # (b, rows, columns, d / 2)
    return torch.cat(halves, dim=-1).to(torch.get_default_dtype())  # (b, rows, columns, d)


class EncoderLayer(nn.Module):
    r"""A post-norm encoder layer: self-attention over the cells, with positions added to queries and keys, and an MLP.

    Source: Appendix A.3 and Figure 10, left; positions as in A.1, Eq. 7
        $$[Q; K; V] = [T_1 (X_q + P_q);\ T_2 (X_{kv} + P_{kv});\ T_3 X_{kv}]$$

    Asked: detr.positions-in-every-layer
    """

    def __init__(self, d_model: int, heads: int, d_ff: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(d_model, heads)
        self.feed_forward = FeedForward(d_model, d_ff)
        self.norm1, self.norm2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "b m d"], positions: Float[Tensor, "b m d"], mask: Bool[Tensor, "b 1 m"]
    ) -> Float[Tensor, "b m d"]:
        """Return the layer's output for each cell."""
        q = k = x + positions
        x = self.norm1(x + self.dropout(self.self_attention(q, k, x, mask)))
        return self.norm2(x + self.dropout(self.feed_forward(x)))


@dataclass(frozen=True)
class Memory:
    """The encoder's output, with the cells' position embeddings and the mask of those that are not padding."""

    features: Float[Tensor, "b m d"]
    positions: Float[Tensor, "b m d"]
    mask: Bool[Tensor, "b 1 m"]


class DecoderLayer(nn.Module):
    """A post-norm decoder layer: self-attention over the queries, without a mask, cross-attention, and an MLP.

    Source: Appendix A.3 and Figure 10, right; positions as in A.1, Eq. 7

    Asked: detr.decoder-self-attention, detr.first-self-attention
    """

    def __init__(self, d_model: int, heads: int, d_ff: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(d_model, heads)
        self.cross_attention = MultiHeadAttention(d_model, heads)
        self.feed_forward = FeedForward(d_model, d_ff)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(d_model) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, y: Float[Tensor, "b n d"], query_pos: Float[Tensor, "b n d"], memory: Memory
    ) -> Float[Tensor, "b n d"]:
        """Return the layer's output for each query; the object queries are added as positions."""
        q = k = y + query_pos
        y = self.norm1(y + self.dropout(self.self_attention(q, k, y)))
        q, k = y + query_pos, memory.features + memory.positions  # (b, n, d), (b, m, d)
        y = self.norm2(y + self.dropout(self.cross_attention(q, k, memory.features, memory.mask)))
        return self.norm3(y + self.dropout(self.feed_forward(y)))


class DETR(nn.Module):
    """The detection transformer: backbone, encoder, decoder, and the heads that predict classes and boxes.

    Source: Section 3.2 and Figure 2

    The defaults are the paper's model with a ResNet-50. COCO's class ids go up to 90, hence 91 classes.

    Departs: dropout is applied to the output of each sublayer, as in Appendix A.4; the public code also drops attention
    weights and the hidden units of the feed-forward networks. The Transformer's weights are Glorot uniform, with query,
    key and value matrices initialized separately; the public code initializes the three as one matrix, hence smaller.

    Args:
        num_classes: The number of classes, without ∅.
        num_queries: The number of object queries, which is that of the predictions per image.
        d_model: The width of the Transformer.
        heads: The number of attention heads.
        d_ff: The width of the feed-forward networks' hidden layer.
        layers: The number of encoder layers and of decoder layers.
        dropout: The dropout rate of each sublayer's output.
        backbone: The backbone; a ResNet-50 with random weights by default.

    Raises:
        ValueError: There is no decoder layer, or the width is not a multiple of 4 or of the heads.

    Asked: detr.object-queries, detr.parameters, detr.long-training
    """

    def __init__(
        self,
        num_classes: int = 91,
        num_queries: int = 100,
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
        self.input_proj = nn.Conv2d(self.backbone.num_channels, d_model, 1)
        self.encoder = nn.ModuleList(EncoderLayer(*size) for _ in range(layers))
        self.decoder = nn.ModuleList(DecoderLayer(*size) for _ in range(layers))
        self.decoder_norm = nn.LayerNorm(d_model)
        self.query_embed = nn.Parameter(torch.randn(num_queries, d_model))
        self.class_embed = nn.Linear(d_model, num_classes + 1)
        hidden = (nn.Linear(d_model, d_model), nn.ReLU(), nn.Linear(d_model, d_model), nn.ReLU())
        self.bbox_embed = nn.Sequential(*hidden, nn.Linear(d_model, 4))
        for stack in (self.encoder, self.decoder):
            for linear in (module for module in stack.modules() if isinstance(module, nn.Linear)):
                nn.init.xavier_uniform_(linear.weight)
                nn.init.zeros_(linear.bias)

    def forward(
        self, images: Float[Tensor, "b 3 height width"], valid: Bool[Tensor, "b height width"] | None = None
    ) -> list[Predictions]:
        """Return the predictions after each decoder layer; the last are the model's, the others are for training.

        Args:
            images: Images with normalized channels, padded to one size at the right and at the bottom.
            valid: True where a pixel is not padding; without it, no pixel is.
        """
        return [self.predict(y) for y in self.decode(self.encode(images, valid))]

    def encode(
        self, images: Float[Tensor, "b 3 height width"], valid: Bool[Tensor, "b height width"] | None = None
    ) -> Memory:
        """Run the backbone and the encoder."""
        features = self.input_proj(self.backbone(images))  # (b, d, rows, columns)
        valid = torch.ones_like(images[:, 0], dtype=torch.bool) if valid is None else valid
        valid = F.interpolate(valid[:, None].to(features), size=features.shape[-2:])[:, 0].bool()  # (b, rows, columns)
        positions = sine_position_embedding(valid, features.shape[1]).to(features).flatten(1, 2)  # (b, m, d)
        features, mask = features.flatten(2).mT, valid.flatten(1)[:, None]  # (b, m, d) and (b, 1, m)
        for layer in self.encoder:
            features = layer(features, positions, mask)
        return Memory(features, positions, mask)

    def decode(self, memory: Memory) -> list[Float[Tensor, "b n d"]]:
        """Return the normalized output of each decoder layer; the first layer's input is zero."""
        query_pos = self.query_embed.expand(len(memory.features), -1, -1)  # (b, n, d)
        y, outputs = torch.zeros_like(query_pos), []
        for layer in self.decoder:
            y = layer(y, query_pos, memory)
            outputs.append(self.decoder_norm(y))
        return outputs

    def predict(self, y: Float[Tensor, "b n d"]) -> Predictions:
        """Predict a class and a box from each query's output.

        Source: Section 3.2, "Prediction feed-forward networks"
        """
        return Predictions(self.class_embed(y), self.bbox_embed(y).sigmoid())


def pad_images(
    images: Sequence[Float[Tensor, "3 _ _"]],
) -> tuple[Float[Tensor, "b 3 height width"], Bool[Tensor, "b height width"]]:
    """Pad images of several sizes to one batch, at the right and at the bottom; also return the mask of valid pixels.

    Asked: detr.padding
    """
    height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
    batch = images[0].new_zeros(len(images), 3, height, width)
    valid = torch.zeros(len(images), height, width, dtype=torch.bool, device=batch.device)
    for i, image in enumerate(images):
        batch[i, :, : image.shape[1], : image.shape[2]] = image
        valid[i, : image.shape[1], : image.shape[2]] = True
    return batch, valid


@dataclass(frozen=True)
class Detections:
    """The detected objects of one image; boxes are (left, top, right, bottom) in pixels."""

    scores: Float[Tensor, " detections"]
    labels: Int[Tensor, " detections"]
    boxes: Float[Tensor, "detections 4"]


@torch.no_grad()
def postprocess(predictions: Predictions, target_sizes: Int[Tensor, "b 2"], threshold: float = 0.0) -> list[Detections]:
    """Convert predictions to detections with boxes in pixels.

    Source: Section 4, "Technical details"

    A prediction of ∅ is replaced by its second most likely class, with that class's probability as the score. There is
    no non-maximum suppression. The paper evaluates all predictions; raise the threshold to visualize some.

    Args:
        predictions: The predictions of the last decoder layer.
        target_sizes: The height and the width of each image, without padding.
        threshold: Detections with a lower or equal score are dropped.
    """
    scores, labels = predictions.logits.softmax(dim=-1)[..., :-1].max(dim=-1)  # (b, n) each
    boxes = box_cxcywh_to_xyxy(predictions.boxes) * target_sizes.flip(1).repeat(1, 2)[:, None]  # (b, n, 4)
    rows = zip(scores, labels, boxes, scores > threshold, strict=True)
    return [Detections(score[kept], label[kept], box[kept]) for score, label, box, kept in rows]


def build_optimizer(model: DETR, lr_drop: int = 200) -> tuple[torch.optim.AdamW, StepLR]:
    """Return AdamW and its learning rate schedule, which is to be stepped once an epoch.

    Source: Section 4, "Technical details"; Appendix A.4

    Args:
        model: The model; its backbone has a tenth of the learning rate.
        lr_drop: The number of epochs after which the learning rates drop to a tenth: 200 of 300, or 400 of 500.
    """
    rest = [p for name, p in model.named_parameters() if p.requires_grad and not name.startswith("backbone.")]
    backbone = [p for p in model.backbone.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [{"params": rest}, {"params": backbone, "lr": 1e-5}]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, weight_decay=1e-4)
    return optimizer, StepLR(optimizer, lr_drop)


def train_step(
    model: DETR,
    optimizer: torch.optim.Optimizer,
    images: Float[Tensor, "b 3 height width"],
    targets: Sequence[Targets],
    valid: Bool[Tensor, "b height width"] | None = None,
) -> float:
    """Take one optimizer step on a batch, and return its loss.

    Source: Appendix A.4; gradients are clipped to a norm of 0.1
    """
    loss = total_loss(model(images, valid), targets)
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    optimizer.step()
    return loss.item()


# Answers


def without_suppression() -> None:
    """
    Answers: detr.without-suppression
        The matching. Each object is matched to one prediction, so a second prediction of the same object is matched to
        ∅, and is trained to predict that. Below, eight free predictions, which all begin as detections, learn three
        objects: three detections are left. If each prediction instead learns the object nearest to it, as in detectors
        with anchors, all eight remain, and five would have to be removed by non-maximum suppression.

        >>> import torch
        >>> from torch.nn import functional as F
        >>> from reference_impl.detr import Predictions, Targets, box_loss, hungarian_loss, postprocess
        >>> boxes = torch.tensor([[0.2, 0.3, 0.2, 0.2], [0.6, 0.6, 0.3, 0.2], [0.8, 0.2, 0.2, 0.3]])
        >>> target = Targets(torch.tensor([0, 1, 2]), boxes)
        >>> def nearest_loss(predictions, targets):
        ...     cost = box_loss(predictions.boxes[0][:, None], targets[0].boxes)
        ...     return cost.amin(dim=1).mean() + F.cross_entropy(predictions.logits[0], cost.argmin(dim=1))
        >>> def detect(loss):
        ...     _ = torch.manual_seed(0)
        ...     logits, places = torch.zeros(1, 8, 4), torch.randn(1, 8, 4, requires_grad=True)
        ...     logits[..., 0] = 2  # at first all detect an object of class 0
        ...     logits.requires_grad_()
        ...     optimizer = torch.optim.Adam([logits, places], lr=0.2)
        ...     for _ in range(40):
        ...         predictions = Predictions(logits, places.sigmoid())
        ...         optimizer.zero_grad()
        ...         loss(predictions, [target]).backward()
        ...         optimizer.step()
        ...     (detections,) = postprocess(predictions, torch.tensor([[100, 100]]), threshold=0.5)
        ...     return sorted(detections.labels.tolist())
        >>> detect(hungarian_loss)
        [0, 1, 2]
        >>> len(detect(nearest_loss))
        8
    """


def order_free() -> None:
    """
    Answers: detr.order-free
        No. The cheapest matching has the same pairs in whatever order the objects and the predictions are listed, and
        the loss is a sum over pairs. Over the 24 orders of four objects, with the predictions shuffled each time, it
        has one value. If the objects were paired with the predictions in the order of the lists, it would have 24.

        >>> import itertools, torch
        >>> from reference_impl.detr import Predictions, Targets, box_loss, hungarian_loss
        >>> _ = torch.manual_seed(0)
        >>> logits, boxes = torch.randn(1, 7, 6), torch.rand(1, 7, 4)
        >>> labels, true = torch.tensor([0, 1, 1, 4]), torch.rand(4, 4)
        >>> matched, in_list_order = set(), set()
        >>> for order in itertools.permutations(range(4)):
        ...     target, shuffle = Targets(labels[list(order)], true[list(order)]), torch.randperm(7)
        ...     loss = hungarian_loss(Predictions(logits[:, shuffle], boxes[:, shuffle]), [target])
        ...     matched.add(round(loss.item(), 4))
        ...     in_list_order.add(round(box_loss(boxes[0, :4], target.boxes).sum().item(), 4))
        >>> len(matched), len(in_list_order)
        (1, 24)
    """


def best_pairing() -> None:
    """
    Answers: detr.best-pairing
        It is optimal: on 100 random images none of the 360 ways to match four objects to different predictions out of
        six is cheaper. Greedy matching takes the cheapest pair, then the cheapest of the remaining ones. It never costs
        less, and often more, since an early pair may take the only good prediction of another object.

        >>> import itertools, torch
        >>> from reference_impl.detr import Predictions, Targets, box_loss, hungarian_match
        >>> _ = torch.manual_seed(0)
        >>> predictions = Predictions(torch.randn(100, 6, 4), torch.rand(100, 6, 4))
        >>> targets = [Targets(torch.randint(3, (4,)), torch.rand(4, 4)) for _ in range(100)]
        >>> ways = torch.tensor(list(itertools.permutations(range(6), 4)))
        >>> optimal, excess = 0, []
        >>> pairs = hungarian_match(predictions, targets)
        >>> for logits, boxes, target, (src, tgt) in zip(predictions.logits, predictions.boxes, targets, pairs):
        ...     cost = box_loss(boxes[:, None], target.boxes) - logits.softmax(dim=1)[:, target.labels]
        ...     least = cost[src, tgt].sum()
        ...     optimal += bool(least <= cost[ways, torch.arange(4)].sum(dim=1).min() + 1e-5)
        ...     greedy, left = 0.0, cost.clone()
        ...     for _ in range(4):
        ...         query, one = divmod(left.argmin().item(), 4)
        ...         greedy += cost[query, one]
        ...         left[query], left[:, one] = torch.inf, torch.inf
        ...     excess.append((greedy - least).item())
        >>> optimal, min(excess) > -1e-5, sum(more > 1e-3 for more in excess) > 20
        (100, True, True)
    """


def probability_not_logarithm() -> None:
    r"""
    Answers: detr.probability-not-logarithm
        A probability changes the cost by at most 1, so that class and box are on the same scale: no prediction is
        matched whose box loss is more than 1 above that of the best box. A logarithm is unbounded. Early in training,
        when probabilities are arbitrary, it would dominate, and good boxes would be trained to predict ∅. In the loss,
        what matters is the gradient, and that of $-\log p$ does not vanish where $p$ is near 0.

        >>> import torch
        >>> from reference_impl.detr import Predictions, Targets, box_loss, hungarian_match
        >>> _ = torch.manual_seed(0)
        >>> predictions = Predictions(5 * torch.randn(200, 10, 20), torch.rand(200, 10, 4))
        >>> targets = [Targets(torch.randint(19, (1,)), torch.rand(1, 4)) for _ in range(200)]
        >>> by_probability = torch.cat([src for src, _ in hungarian_match(predictions, targets)])
        >>> labels = torch.stack([target.labels for target in targets])
        >>> boxes = box_loss(predictions.boxes, torch.stack([target.boxes for target in targets]))
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


def two_box_losses() -> None:
    """
    Answers: detr.two-box-losses
        The L1 distance is in fractions of the image, so that an error of a fifth of the box costs ten times as much on
        a box ten times as wide: alone, it would neglect small objects. The generalized IoU costs the same on both, but
        it has no gradient for the center of a box that lies inside the other: wherever it lies there, union,
        intersection and hull are the same. The L1 distance has one, and so has the sum of both, DETR's box loss.

        >>> import torch
        >>> from reference_impl.detr import box_cxcywh_to_xyxy, box_loss, generalized_box_iou
        >>> def losses(one, other):
        ...     giou = generalized_box_iou(box_cxcywh_to_xyxy(one), box_cxcywh_to_xyxy(other))
        ...     distance = box_loss(one, other) - 2 * (1 - giou)  # what the box loss adds to the generalized IoU
        ...     return distance, 1 - giou, box_loss(one, other)
        >>> boxes = torch.tensor([[0.5, 0.5, 0.04, 0.04], [0.5, 0.5, 0.4, 0.4]])
        >>> shifted = boxes + torch.stack([boxes[:, 2] / 5, *torch.zeros(3, 2)], dim=1)
        >>> distance, overlap, _ = losses(boxes, shifted)
        >>> [round((loss[1] / loss[0]).item(), 2) for loss in (distance, overlap)]
        [10.0, 1.0]

        >>> inside = torch.tensor([0.45, 0.5, 0.2, 0.2], requires_grad=True)
        >>> gradients = [torch.autograd.grad(losses(inside, boxes[1])[i], inside)[0] for i in range(3)]
        >>> [bool(gradient[:2].abs().sum() > 1e-5) for gradient in gradients]
        [True, False, True]
    """


def disjoint_boxes() -> None:
    """
    Answers: detr.disjoint-boxes
        How far apart they are: it approaches -1 with their distance, as more of the hull is empty. Plain IoU is 0 for
        all disjoint boxes, and so is its gradient.

        >>> import torch
        >>> from reference_impl.detr import box_cxcywh_to_xyxy, box_intersection_and_union, generalized_box_iou
        >>> target, away = torch.tensor([0.2, 0.5, 0.2, 0.2]), torch.tensor([1.0, 0.0, 0.0, 0.0])
        >>> def iou(one, other):
        ...     intersection, union = box_intersection_and_union(one, other)
        ...     return intersection / union
        >>> steps = torch.tensor([0.2, 0.4, 0.6])[:, None]
        >>> one, others = box_cxcywh_to_xyxy(target), box_cxcywh_to_xyxy(target + steps * away)
        >>> [round(v, 2) for v in iou(one, others).tolist()]
        [0.0, 0.0, 0.0]
        >>> [round(v, 2) for v in generalized_box_iou(one, others).tolist()]
        [0.0, -0.33, -0.5]

        So gradient descent can move a box to a target that it does not overlap. With plain IoU it never moves.

        >>> def overlap_after_ascent(similarity):
        ...     box = (target + 0.6 * away).requires_grad_()
        ...     for _ in range(60):
        ...         (gradient,) = torch.autograd.grad(similarity(one, box_cxcywh_to_xyxy(box)), box)
        ...         box = (box + 0.01 * gradient).detach().requires_grad_()
        ...     return iou(one, box_cxcywh_to_xyxy(box)).item()
        >>> overlap_after_ascent(iou), overlap_after_ascent(generalized_box_iou) > 0.3
        (0.0, True)
    """


def object_queries() -> None:
    """
    Answers: detr.object-queries
        One learned vector for each prediction, the same for every image; the decoder uses them as position embeddings
        of its input, which is zero. Nothing else distinguishes the predictions. Queries in another order give the
        predictions in that order. If all queries were equal, all predictions would be equal too, and an image would
        seem to have one object. Training would not keep them equal: the matching has to choose one of them.

        >>> import torch
        >>> from reference_impl.detr import DETR, ResNet, Targets, total_loss
        >>> _ = torch.manual_seed(0)
        >>> model = DETR(3, num_queries=5, d_model=16, heads=2, d_ff=32, layers=2, backbone=ResNet((1,), 4)).eval()
        >>> image, order = torch.randn(1, 3, 32, 32), torch.tensor([3, 1, 4, 0, 2])
        >>> def spread(rows):
        ...     return (rows - rows[0]).abs().max().item()
        >>> logits = model(image)[-1].logits[0]
        >>> _ = model.query_embed.data.copy_(model.query_embed[order])
        >>> spread(logits) > 0.01, torch.allclose(model(image)[-1].logits[0], logits[order], atol=1e-5)
        (True, True)
        >>> given = []  # to the first layer: its input and the object queries
        >>> _ = model.decoder[0].register_forward_hook(lambda layer, args, output: given.append(args[:2]))
        >>> _ = model(torch.randn(2, 3, 32, 32))
        >>> [(bool(x.any()), torch.equal(x[0], x[1])) for x in given[0]]  # not zero? the same for both images?
        [(False, True), (True, True)]
        >>> _ = model.query_embed.data.copy_(model.query_embed[:1].expand(5, 16))
        >>> layers = model(image)
        >>> spread(layers[-1].logits[0]) < 1e-5
        True
        >>> total_loss(layers, [Targets(torch.tensor([0]), torch.rand(1, 4))]).backward()
        >>> spread(model.query_embed.grad) > 1e-3
        True
    """


def decoder_self_attention() -> None:
    """
    Answers: detr.decoder-self-attention
        Communication among the queries, which they need: the target of a prediction depends on the others. Below, the
        same prediction of an object is matched to the object or to ∅, depending on how good another prediction is. A
        query that could not attend to the others would have to infer from the image what all others will predict.

        >>> import torch
        >>> from torch import nn
        >>> from reference_impl.detr import DETR, Predictions, ResNet, Targets, hungarian_match
        >>> target = Targets(torch.tensor([0]), torch.tensor([[0.5, 0.5, 0.2, 0.2]]))
        >>> mine, better, worse = target.boxes + 0.05, target.boxes + 0.01, target.boxes + 0.1
        >>> for other in (better, worse):
        ...     predictions = Predictions(torch.zeros(1, 2, 2), torch.stack([mine, other], dim=1))
        ...     ((queries, _),) = hungarian_match(predictions, [target])
        ...     print("the object" if 0 in queries else "∅")
        ∅
        the object

        The output of query 1 after the first layer affects query 0 in the second; without self-attention it does not.
        Within the first layer nothing passes between the queries, since its self-attention is constant. So a single
        layer detects objects twice, which the paper observed: non-maximum suppression helps after the first layer, and
        not after the last (Section 4.2, Figure 4).

        >>> _ = torch.manual_seed(0)
        >>> model = DETR(1, num_queries=3, d_model=16, heads=2, d_ff=32, layers=2, backbone=ResNet((1,), 4)).eval()
        >>> memory = model.encode(torch.randn(1, 3, 32, 32))
        >>> first, second = model.decoder
        >>> query_pos = model.query_embed[None]
        >>> y = first(torch.zeros_like(query_pos), query_pos, memory).detach().requires_grad_()
        >>> def depends_on():
        ...     (gradient,) = torch.autograd.grad(second(y, query_pos, memory)[0, 0, 0], y)
        ...     return gradient[0].abs().sum(dim=1).gt(1e-4).tolist()
        >>> depends_on()
        [True, True, True]
        >>> _ = nn.init.zeros_(second.self_attention.output.weight)
        >>> depends_on()
        [True, False, False]
    """


def first_self_attention() -> None:
    """
    Answers: detr.first-self-attention
        Nothing, neither of the image nor of the queries. The decoder's input is zero, and positions are not added to
        the values, so all values are equal to the bias, and so is every weighted mean of them. The output of the
        paper's 263,168 parameters in this place is one vector, the same for every query and every image. The paper says
        itself that this attention may be skipped (Appendix A.3).

        >>> import torch
        >>> from torch import nn
        >>> from reference_impl.detr import DETR, ResNet
        >>> _ = torch.manual_seed(0)
        >>> model = DETR(3, num_queries=5, d_model=16, heads=2, d_ff=32, layers=2, backbone=ResNet((1,), 4)).eval()
        >>> for attention in (layer.self_attention for layer in model.decoder):
        ...     for bias in (attention.value.bias, attention.output.bias):
        ...         _ = nn.init.normal_(bias)  # as if trained: they are initialized to zero
        >>> outputs = []
        >>> for layer in model.decoder:
        ...     _ = layer.self_attention.register_forward_hook(lambda module, args, output: outputs.append(output))
        >>> memory = model.encode(torch.randn(2, 3, 32, 32))  # two images
        >>> _ = model.decode(memory)
        >>> first, second = (output.flatten(0, 1) for output in outputs)
        >>> attention = model.decoder[0].self_attention
        >>> torch.allclose(first, attention.output(attention.value.bias).expand(10, 16), atol=1e-5)
        True
        >>> len(second.detach().mul(1e4).round().unique(dim=0))
        10
    """


def positions_in_every_layer() -> None:
    """
    Answers: detr.positions-in-every-layer
        They are added to queries and keys in every layer, and never to values: the image's position embeddings to the
        cells, and the object queries, which are positions too, to the decoder's tokens. Below, what a key holds more
        than its value, in the three encoder layers, then in the two attentions of each of the three decoder layers:

        >>> import torch
        >>> from reference_impl.detr import DETR, EncoderLayer, ResNet, sine_position_embedding
        >>> _ = torch.manual_seed(0)
        >>> model = DETR(3, num_queries=5, d_model=32, heads=4, d_ff=64, layers=3, backbone=ResNet((1,), 4)).eval()
        >>> added = []
        >>> def note(attention, args, output):
        ...     query, key, value = args[:3]
        ...     added.append(key - value)
        >>> for layer in (*model.encoder, *model.decoder):
        ...     for name in ("self_attention", "cross_attention"):
        ...         _ = hasattr(layer, name) and getattr(layer, name).register_forward_hook(note)
        >>> memory = model.encode(torch.randn(1, 3, 64, 96))
        >>> _ = model.decode(memory)
        >>> expected = 3 * [memory.positions] + 3 * [model.query_embed[None], memory.positions]
        >>> [torch.allclose(one, other, atol=1e-5) for one, other in zip(added, expected, strict=True)]
        [True, True, True, True, True, True, True, True, True]

        So positions determine the attention weights, and not what is averaged. If all cells hold the same content,
        every weighted mean of their values is the same. If positions were added to the values, they would be mixed with
        the content.

        >>> first, second = EncoderLayer(32, 4, 64).eval(), EncoderLayer(32, 4, 64).eval()
        >>> positions = sine_position_embedding(torch.ones(1, 5, 7, dtype=torch.bool), 32).flatten(1, 2)
        >>> mask, blank = torch.ones(1, 1, 35, dtype=torch.bool), torch.randn(1, 1, 32).expand(1, 35, 32)
        >>> def spread(cells):
        ...     return (cells - cells[:, :1]).abs().max().item()
        >>> output = first(blank, positions, mask)
        >>> with_positions = blank + positions
        >>> output_with_positions = first.self_attention(with_positions, with_positions, with_positions, mask)
        >>> spread(output) < 1e-5, spread(output_with_positions) > 1e-3
        (True, True)

        Hence such an image passes no positions on to the next layer, and any other image few: they have to be added
        again. A layer without them is equivariant to permutations of the cells.

        >>> x, order = torch.randn(1, 35, 32), torch.randperm(35)
        >>> def change(positions):
        ...     in_order, shuffled = second(x, positions, mask), second(x[:, order], positions, mask)
        ...     return (in_order[:, order] - shuffled).abs().max().item()
        >>> change(torch.zeros_like(positions)) < 1e-5, change(positions) > 0.01
        (True, True)
    """


def no_object_weight() -> None:
    """
    Answers: detr.no-object-weight
        Of 100 predictions 93 are matched to ∅ if an image has seven objects, COCO's mean. A query without evidence
        minimizes the loss by predicting ∅ with probability 0.93, and needs a likelihood ratio of 13 to predict an
        object. With a weight of a tenth for ∅, a ratio of 1.3 is enough. Below, all queries share one pair of logits,
        which learns the probability of an object.

        >>> import torch
        >>> from reference_impl.detr import Predictions, Targets, hungarian_loss
        >>> _ = torch.manual_seed(0)
        >>> targets, boxes = [Targets(torch.zeros(7, dtype=torch.long), torch.rand(7, 4))], torch.rand(1, 100, 4)
        >>> def probability_of_an_object(eos_coef):
        ...     logits = torch.zeros(2, requires_grad=True)
        ...     optimizer = torch.optim.Adam([logits], lr=0.1)
        ...     for _ in range(80):
        ...         optimizer.zero_grad()
        ...         hungarian_loss(Predictions(logits.expand(1, 100, 2), boxes), targets, eos_coef).backward()
        ...         optimizer.step()
        ...     return logits.softmax(dim=0)[0].item()
        >>> unweighted, weighted = probability_of_an_object(1.0), probability_of_an_object(0.1)
        >>> round(unweighted, 2), round(weighted, 2)
        (0.07, 0.43)
        >>> round((1 - unweighted) / unweighted), round((1 - weighted) / weighted, 1)
        (13, 1.3)
    """


def auxiliary_losses() -> None:
    """
    Answers: detr.auxiliary-losses
        So that every layer is trained to detect objects. The prediction heads and the norm before them are shared, so
        it adds no parameters, and each layer has its own matching, since its predictions differ from those of the layer
        before. Below, a decoder learns two objects. With the last layer's loss alone, its first layer remains a bad
        detector; with all losses it becomes a good one. That this helps the whole model, most of all to predict the
        right number of objects, is the paper's finding and not shown here.

        >>> import torch
        >>> from reference_impl.detr import DETR, ResNet, Targets, hungarian_loss, total_loss
        >>> def loss_of_first_layer(auxiliary):
        ...     _ = torch.manual_seed(2)
        ...     targets = [Targets(torch.tensor([0, 1]), 0.2 + 0.6 * torch.rand(2, 4))]
        ...     size = dict(num_queries=4, d_model=32, heads=4, d_ff=64, layers=3, dropout=0.0)
        ...     model = DETR(num_classes=2, **size, backbone=ResNet((1, 1), width=8))
        ...     with torch.no_grad():
        ...         memory = model.encode(torch.randn(1, 3, 32, 32))  # fixed: only the decoder learns
        ...     optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
        ...     for _ in range(40):
        ...         layers = [model.predict(y) for y in model.decode(memory)]
        ...         optimizer.zero_grad()
        ...         total_loss(layers if auxiliary else layers[-1:], targets).backward()
        ...         optimizer.step()
        ...     return hungarian_loss(layers[0], targets).item()
        >>> loss_of_first_layer(auxiliary=False) > 2, loss_of_first_layer(auxiliary=True) < 1.5
        (True, True)
    """


def padding() -> None:
    """
    Answers: detr.padding
        To the Transformer it does not: padding is masked as keys, and positions count valid cells only, so the
        predictions do not depend on the content of the padded cells. To the backbone it does: at the edge of an image
        that is alone in its batch, a convolution is padded with zeros, whereas in a padded batch it sees what the
        layers below have computed from the padding. So predictions depend a little on the other images of the batch.

        >>> import torch
        >>> from torch import nn
        >>> from reference_impl.detr import DETR, ResNet, pad_images
        >>> _ = torch.manual_seed(0)
        >>> backbone = ResNet((1, 1), 4)
        >>> for name, constant in backbone.named_buffers():
        ...     if name.endswith("bias"):
        ...         _ = nn.init.normal_(constant)  # as in trained weights
        >>> model = DETR(3, num_queries=5, d_model=16, heads=2, d_ff=32, layers=2, backbone=backbone).eval()
        >>> small, large = torch.randn(3, 32, 40), torch.randn(3, 64, 48)
        >>> images, valid = pad_images([small, large])
        >>> def max_difference(one, other):
        ...     return (one.logits[0] - other.logits[0]).abs().max().item()
        >>> together, memory = model(images, valid)[-1], model.encode(images, valid)
        >>> padding = ~memory.mask.unflatten(2, (8, 6))  # the feature maps have 8 rows and 6 columns
        >>> def add_noise(input_proj, args, cells):
        ...     return cells + torch.randn_like(cells) * padding
        >>> hook = model.input_proj.register_forward_hook(add_noise)
        >>> with_noise = model(images, valid)[-1]
        >>> hook.remove()
        >>> int(padding[0].sum()), max_difference(together, with_noise) < 1e-5
        (28, True)
        >>> of_small = memory.mask[0, 0]
        >>> torch.allclose(memory.positions[0, of_small], model.encode(small[None]).positions[0], atol=1e-5)
        True
        >>> alone = model(small[None])[-1]
        >>> max_difference(alone, together) > 1e-3
        True
    """


def parameters() -> None:
    """
    Answers: detr.parameters
        More than half are in the backbone, and very few in the queries. The stem and the first stage are frozen, and
        batch norm has no trained parameters: 41.3 million are trained, the number that the paper prints in Section 4.1.
        Its Table 2, with 0, 3, 6 and 12 encoder layers, is reproduced to the digit.

        >>> import torch
        >>> from reference_impl.detr import DETR
        >>> with torch.device("meta"):
        ...     model = DETR()
        >>> def count(*parts):
        ...     return sum(w.numel() for part in parts for w in part.parameters())
        >>> count(model), model.query_embed.numel()
        (41524768, 25600)
        >>> [count(part) for part in (model.backbone, model.input_proj, model.encoder)]
        [23454912, 524544, 7890432]
        >>> [count(model.decoder, model.decoder_norm), count(model.class_embed), count(model.bbox_embed)]
        [9473024, 23644, 132612]
        >>> trained = sum(w.numel() for w in model.parameters() if w.requires_grad)
        >>> trained, count(model) - trained == count(model.backbone.conv1, model.backbone.layer1)
        (41302368, True)
        >>> [round((trained + (layers - 6) * count(model.encoder[0])) / 1e6, 1) for layers in (0, 3, 6, 12)]
        [33.4, 37.4, 41.3, 49.2]
    """


def small_objects() -> None:
    """
    Answers: detr.small-objects
        Less than three. An image of 640 × 480 pixels, resized to 1,067 × 800 as in the paper, has a feature map of 850
        cells. What COCO calls a small object has at most 32 × 32 pixels, 53 × 53 after resizing, and covers less than
        three cells; a large object has at least 96 × 96, and covers 25. All that the Transformer sees of an object is
        in its cells. Dilating the last stage (DC5) makes four times as many cells, without new weights, and 16 times as
        many pairs in the encoder's attention.

        >>> import torch
        >>> from reference_impl.detr import ResNet
        >>> with torch.device("meta"):
        ...     image = torch.empty(1, 3, 800, 1067)
        ...     strided, dilated = ResNet(), ResNet(dilation=True)
        ...     shapes = [tuple(backbone(image).shape[2:]) for backbone in (strided, dilated)]
        >>> shapes
        [(25, 34), (50, 67)]
        >>> [round((side * 800 / 480 / 32) ** 2, 1) for side in (16, 32, 96)]
        [0.7, 2.8, 25.0]
        >>> cells, more_cells = (rows * columns for rows, columns in shapes)
        >>> cells, round(more_cells / cells), round((more_cells / cells) ** 2)
        (850, 4, 16)
        >>> [sum(w.numel() for w in backbone.parameters()) for backbone in (strided, dilated)]
        [23454912, 23454912]
    """


def long_training() -> None:
    """
    Answers: detr.long-training
        Deformable DETR's explanation (Zhu et al. 2021, Sections 1 and 3) is that attention has to be learned from a
        start at which it is nearly uniform over all cells of the feature map. Below, before training, with the paper's
        width and heads, the 850 cells of an image of 1,067 × 800 pixels, and features of unit variance: in the encoder
        and in the decoder the entropy is that of attending to more than 350 cells alike, and the greatest weight of a
        query is below 4 % on average.

        >>> import torch
        >>> from reference_impl.detr import DETR, Memory, ResNet, sine_position_embedding
        >>> from reference_impl.layers.attention import MultiHeadAttention
        >>> _ = torch.manual_seed(0)
        >>> model = DETR(d_ff=64, layers=2, backbone=ResNet((1,), width=4)).eval()
        >>> weights = []
        >>> def note(attention, args, output):
        ...     query, key, value, mask = args
        ...     weights.append(attention.attention_weights(query, key, mask))
        >>> for layer in model.encoder:
        ...     _ = layer.self_attention.register_forward_hook(note)
        >>> for layer in model.decoder:
        ...     _ = layer.cross_attention.register_forward_hook(note)
        >>> features, mask = torch.randn(1, 850, 256), torch.ones(1, 1, 850, dtype=torch.bool)
        >>> positions = sine_position_embedding(torch.ones(1, 25, 34, dtype=torch.bool), 256).flatten(1, 2)
        >>> for layer in model.encoder:
        ...     features = layer(features, positions, mask)
        >>> _ = model.decode(Memory(features, positions, mask))
        >>> for w in weights:
        ...     entropy = -(w * w.log()).sum(dim=-1)  # in nats
        ...     print(w.shape[-1], bool(entropy.exp().mean() > 350), bool(w.amax(dim=-1).mean() < 0.04))
        850 True True
        850 True True
        850 True True
        850 True True

        So an output is the mean of hundreds of cells, and its gradient says little about each of them. To focus takes
        the longer, the more cells there are. Below, a query learns to read two numbers from the one marked cell; the
        steps are counted until the cell has half of the weight.

        >>> def steps_to_focus(cells):
        ...     _ = torch.manual_seed(0)
        ...     attention, query = MultiHeadAttention(16, heads=1), torch.randn(1, 1, 16, requires_grad=True)
        ...     optimizer = torch.optim.Adam([*attention.parameters(), query], lr=0.01)
        ...     for step in range(500):
        ...         contents, marked = torch.randn(32, cells, 16), torch.randint(cells, (32,))
        ...         contents[:, :, 0] = 4 * torch.nn.functional.one_hot(marked, cells)
        ...         found = attention(query.expand(32, 1, 16), contents, contents)[:, 0, :2]
        ...         weights = attention.attention_weights(query.expand(32, 1, 16), contents)[:, 0, 0]
        ...         if weights[torch.arange(32), marked].mean() > 0.5:
        ...             return step
        ...         loss = (found - contents[torch.arange(32), marked, 1:3]).square().mean()
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         optimizer.step()
        >>> few, many = steps_to_focus(cells=16), steps_to_focus(cells=850)
        >>> few < many / 2
        True

        That this is why it takes 500 epochs is not shown here. Zhu et al. support it: with 4 sampled cells for each
        head and scale in place of all cells, 50 epochs give an AP of 43.8, where DETR with dilation has 35.3 after 50
        epochs and 43.3 after 500 (their Table 1). But they change more than that: their features have several scales.
        DETR itself gains 1.5 AP from 500 epochs instead of 300 (Section 4).
    """
