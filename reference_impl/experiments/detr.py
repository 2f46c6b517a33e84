r"""DETR on synthetic scenes: AP by decoder layer, with and without NMS, and without an encoder.

Claims: Average precision rises with every decoder layer, and non-maximum suppression (NMS) helps after the first layer
    and no longer after the last (Section 4.2, Figure 4). Without an encoder, most is lost on large objects (Table 2).

Task: random scenes of one or two shapes in four classes, new ones at every step. Shapes may overlap so far that NMS
    takes two of one class for one. The test scenes are the same for all.

Arms: DETR, and the same without the encoder.

Budget: both models have the same initial weights where they share them, the same scenes, the same learning rate, and
    the same number of steps.

Measures: COCO's average precision, by pycocotools, of the predictions after each decoder layer, as they are and after
    class-wise NMS at an IoU of 0.5.

Gates: DETR has learned the task (AP50 above 70 with each seed), the compared models have converged, and there are three
    seeds. NMS is judged where it can harm, and the encoder where large objects lie in more than three cells a side.

Rules: they are those of former runs, without gates, on scenes that were not learned: AP was 21 after 600 steps. A run
    of 2,000 steps learned them, and had not converged. It had a third arm, in which the class ∅ ("no object") has the
    weight of any other. That one was dropped to give the others three times as many steps.

Stands in: shapes of 10 to 15 pixels on 24 × 24 for photographs. Small, medium and large are thirds of these sides. In
    place of a backbone pre-trained on ImageNet, all models share one that was pre-trained on dense prediction: which
    shape each cell of the feature map lies in, and that shape's box. This is closer to detection than ImageNet is. The
    backbone is a stem and one stage, so that a cell is 4 pixels wide and not 32.

Departs: one encoder layer, three decoder layers, width 64 and 20 queries; one learning rate for backbone and
    Transformer, with warmup and cosine decay; no dropout, since no scene is repeated.

Sizes: `small` takes about a quarter of an hour on one thread. There is no detector with anchors to compare with, and no
    ablation of the positions, of the box losses, or of the weight of ∅. `full` has the paper's sizes, for a GPU.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from quaere.content.results import (
    Box,
    Finding,
    Gate,
    Heatmap,
    Lines,
    Picture,
    Pictures,
    Report,
    Series,
    Table,
    encoded,
    spread,
)
from quaere.running.experiments import Run
from reference_impl.detr import (
    DETR,
    DecoderLayer,
    Detections,
    FrozenBatchNorm2d,
    Predictions,
    ResNet,
    Targets,
    box_cxcywh_to_xyxy,
    box_intersection_and_union,
    box_loss,
    postprocess,
    total_loss,
)
from reference_impl.experiments.arms import train_seeds
from reference_impl.experiments.curves import Curve, curve_series, final_values, select
from reference_impl.experiments.judging import (
    all_runs_above,
    converged,
    differences,
    each_seed_above,
    enough_seeds,
    gate,
    judge,
    no_experiment,
    quantity,
)
from reference_impl.experiments.scenes import (
    CLASSES,
    METRICS,
    Canvas,
    Scenes,
    area_ranges,
    average_precision,
    draw_scenes,
    to_targets,
)
from reference_impl.experiments.training import Batch, Loss, Training, count_parameters, device_of, run_on_main_process


@dataclass(frozen=True)
class Size:
    """The size of a run: steps of the backbone and of the models, batch size, test scenes, and DETR's sizes.

    Attributes:
        encoder: The number of encoder layers.
        decoder: The number of decoder layers.
        depths: The number of blocks in each stage of the backbone.
        width: The number of channels of the backbone's stem.
    """

    seeds: int
    backbone_steps: int
    steps: int
    eval_every: int
    batch_size: int
    num_test_scenes: int
    num_queries: int
    d_model: int
    heads: int
    d_ff: int
    encoder: int
    decoder: int
    depths: tuple[int, ...]
    width: int
    lr: float
    canvas: Canvas = field(default_factory=Canvas)

    @property
    def stride(self) -> int:
        """The pixels that one cell of the feature map is wide: the stem's four, doubled by each stage but the first."""
        return 4 * 2 ** (len(self.depths) - 1)


SIZES = {
    "smoke": Size(1, 4, 6, 3, 4, 16, 6, 16, 2, 32, 1, 2, (1, 1), 4, 1e-3, Canvas(32, 4, 8, 14)),
    "small": Size(3, 4000, 6000, 400, 16, 300, 20, 64, 4, 128, 1, 3, (2,), 16, 1e-3, Canvas(24, 2, 10, 15, 0.9, 0.05)),
    "full": Size(
        3, 50000, 300000, 10000, 32, 1000, 100, 256, 8, 2048, 6, 6, (3, 4, 6, 3), 64, 1e-4, Canvas(256, 8, 32, 160, 0.9)
    ),
}


# Task and data

TEST_SEED = 2**32 - 1
"""The seed of the test scenes, of which only the lower 32 bits count; those of training are lower."""


def test_scenes(size: Size) -> Scenes:
    """Draw the scenes that every model is evaluated on."""
    return draw_scenes(size.num_test_scenes, torch.Generator().manual_seed(TEST_SEED), size.canvas)


test_scenes.__test__ = False  # type: ignore[attr-defined]  # pytest would take it for a test


def sample_batch(size: Size, generator: torch.Generator) -> Batch:
    """Sample a batch; its last tensor is the mean number of objects per scene, repeated for every scene."""
    scenes = draw_scenes(size.batch_size, generator, size.canvas)
    crowd = scenes.valid.sum(dim=1).float().mean().expand(size.batch_size)
    return normalize(scenes.images), scenes.labels, scenes.boxes, scenes.valid, crowd


def normalize(images: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b 3 height width"]:
    """Normalize the channels to about zero mean and unit variance, by constants."""
    return (images - 0.3) / 0.25


# Arms


PLAIN, NO_ENCODER = "DETR", "no encoder"
ARMS = {PLAIN: True, NO_ENCODER: False}
"""By arm, whether it has an encoder."""
EOS_COEF = 0.1
"""The weight of ∅ in the classification loss."""


def build_detr(size: Size, backbone: Path, encoder: bool = True) -> DETR:
    """Build a DETR with the pre-trained backbone; without an encoder, its other initial weights are the same."""
    features = ResNet(size.depths, size.width, frozen_layers=0)
    features.load_state_dict(torch.load(backbone, weights_only=True))
    layers = max(size.encoder, size.decoder)
    model = DETR(len(CLASSES), size.num_queries, size.d_model, size.heads, size.d_ff, layers, 0.0, features)
    model.encoder = model.encoder[: size.encoder if encoder else 0]
    model.decoder = model.decoder[: size.decoder]
    return model


# Training: first the backbone, by dense prediction, then each arm's DETR


class CellDetector(nn.Module):
    """A backbone with a dense head: for a cell, the class of the shape that it lies in, or ∅, and that shape's box."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.backbone = ResNet(size.depths, size.width, frozen_layers=0)
        scenes = draw_scenes(64, torch.Generator().manual_seed(0), size.canvas)
        calibrate_batch_norm(self.backbone, normalize(scenes.images))
        self.head = nn.Conv2d(self.backbone.num_channels, len(CLASSES) + 1 + 4, 1)

    def forward(self, images: Float[Tensor, "b 3 height width"]) -> Predictions:
        """Return the prediction of each cell, in row-major order."""
        output: Tensor = self.head(self.backbone(images)).flatten(2).mT  # (b, m, classes + 1 + 4)
        return Predictions(output[..., :-4], output[..., -4:].sigmoid())


@torch.no_grad()
def calibrate_batch_norm(backbone: ResNet, images: Float[Tensor, "b 3 height width"]) -> None:
    """Set the statistics of the frozen batch norms to those of some images, as there are no pre-trained weights."""

    def keep(norm: Any, arguments: tuple[Tensor, ...]) -> None:
        norm.running_mean.copy_(arguments[0].mean(dim=(0, 2, 3)))
        norm.running_var.copy_(arguments[0].var(dim=(0, 2, 3)))

    norms = [module for module in backbone.modules() if isinstance(module, FrozenBatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(keep) for norm in norms]
    backbone(images)
    for hook in hooks:
        hook.remove()


def cell_targets(
    labels: Int[Tensor, "b k"], boxes: Float[Tensor, "b k 4"], valid: Bool[Tensor, "b k"], side: int
) -> tuple[Int[Tensor, "b m"], Float[Tensor, "b m 4"]]:
    """Return the label and box of the last object whose box contains each cell's center; ∅ and any box if none does."""
    center = (torch.arange(side, device=boxes.device) + 0.5) / side
    left, top, right, bottom = box_cxcywh_to_xyxy(boxes)[..., None].unbind(dim=2)
    across, down = (center >= left) & (center <= right), (center >= top) & (center <= bottom)
    inside = (down[..., None] & across[..., None, :] & valid[..., None, None]).flatten(2)
    last = (inside * torch.arange(1, inside.shape[1] + 1, device=boxes.device)[:, None]).amax(dim=1) - 1
    owner = last.clamp(min=0)
    label = torch.where(last >= 0, labels.gather(1, owner), len(CLASSES))
    return label, boxes.gather(1, owner[..., None].expand(-1, -1, 4))


def cell_loss(model: nn.Module, images: Tensor, labels: Tensor, boxes: Tensor, valid: Tensor, _: Tensor) -> Any:
    """Return the summed loss of the cells, with a weight of 0.1 for ∅, and the number of cells in shapes."""
    predictions = model(images)
    label, box = cell_targets(labels, boxes, valid, math.isqrt(predictions.logits.shape[1]))
    weight = torch.tensor([1.0] * len(CLASSES) + [0.1], device=images.device)
    covered = label < len(CLASSES)
    class_loss = F.cross_entropy(predictions.logits.mT, label, weight, reduction="sum")
    return 2 * class_loss + box_loss(predictions.boxes[covered], box[covered]).sum(), covered.sum()


def evaluate_cells(size: Size, model: nn.Module) -> dict[str, float]:
    """Return the accuracy of the labels of the test scenes' cells that lie in shapes."""
    scenes = test_scenes(size)
    logits = torch.cat([model(part).logits.cpu() for part in split_batches(model, scenes.images)])
    label, _ = cell_targets(scenes.labels, scenes.boxes, scenes.valid, math.isqrt(logits.shape[1]))
    covered = label < len(CLASSES)
    return {"accuracy": (logits.argmax(dim=2) == label)[covered].float().mean().item()}


def build_backbone_training(size: Size, file: Path) -> Training:
    """Return the pre-training of the backbone, which ends by saving its weights to a file."""

    def save(model: nn.Module) -> dict[str, Any]:
        run_on_main_process(lambda: torch.save(model.get_submodule("backbone").state_dict(), file))
        return {}

    return Training(
        model=partial(CellDetector, size),
        loss=cell_loss,
        batch=partial(sample_batch, size),
        steps=size.backbone_steps,
        optimizer=lambda model: torch.optim.AdamW(model.parameters(), lr=3e-3),
        schedule=partial(warmup_cosine_schedule, size.backbone_steps),
        clip=1.0,
        measure=partial(evaluate_cells, size),
        ending=save,
    )


def build_training(size: Size, backbone: Path, encoder: bool) -> Training:
    """Return the training of one arm's DETR."""
    return Training(
        model=partial(build_detr, size, backbone, encoder),
        loss=build_loss(EOS_COEF, size.num_queries),
        batch=partial(sample_batch, size),
        steps=size.steps,
        optimizer=lambda model: torch.optim.AdamW(model.parameters(), lr=size.lr, weight_decay=1e-4, fused=True),
        schedule=partial(warmup_cosine_schedule, size.steps),
        clip=0.1,
        measure=partial(evaluate, size),
        every=size.eval_every,
        ending=partial(probe_layers, size),
    )


def build_loss(eos_coef: float, num_queries: int) -> Loss:
    """Build DETR's loss, as a sum over the objects of a process's share of the batch, with their number.

    The box loss is a sum over objects, which `Training` divides by those of all processes. The classification loss is a
    weighted mean over predictions, whose total weight depends on the number of objects. Its total weight per object in
    a share differs from that in the whole batch, so its gradient is scaled by the ratio of the two, which is 1 with one
    process. (The value of the loss is not corrected.)
    """

    def per_weight(crowd: Tensor) -> Tensor:
        return crowd / (crowd + eos_coef * (num_queries - crowd))

    def loss(model: nn.Module, images: Tensor, labels: Tensor, boxes: Tensor, valid: Tensor, crowd: Tensor) -> Any:
        ratio = per_weight(crowd[0]) / per_weight(valid.sum(dim=1).float().mean())
        layers = [Predictions(scale_gradient(layer.logits, ratio), layer.boxes) for layer in model(images)]
        return total_loss(layers, to_targets(labels, boxes, valid), eos_coef) * valid.sum(), valid.sum()

    return loss


def scale_gradient(x: Float[Tensor, "*b"], factor: Float[Tensor, ""]) -> Float[Tensor, "*b"]:
    """Return x unchanged, with its gradient multiplied by a factor."""
    return x * factor + (x * (1 - factor)).detach()


def warmup_cosine_schedule(steps: int, optimizer: torch.optim.Optimizer) -> LRScheduler:
    """Return linear warmup over a twentieth of the steps, and cosine decay to zero."""
    warmup = max(steps // 20, 1)
    return LambdaLR(optimizer, lambda step: min((step + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * step / steps)))


# Measures

LayerMetrics = Sequence[Mapping[str, float]]
"""The metrics of each decoder layer: average precisions, `AP after NMS`, and `duplicates`."""
SCORE_THRESHOLD = 0.7
"""Detections with a higher score are drawn, and counted as duplicates of others."""
NUM_PICTURES = 4


def evaluate(size: Size, model: nn.Module) -> dict[str, float]:
    """Return the AP of the last layer on the test scenes."""
    scenes = test_scenes(size)
    detections = to_detections(predict(model, scenes.images)[-1], size)
    return {"AP": average_precision(scenes.targets(), detections, size.canvas)["AP"]}


def probe_layers(size: Size, model: nn.Module) -> dict[str, Any]:
    """Return the metrics of every decoder layer of a trained model, and what the figures of the last layer show."""
    scenes = test_scenes(size)
    layers = [to_detections(predictions, size) for predictions in predict(model, scenes.images)]
    shown = layers[-1][:NUM_PICTURES]
    best = max(range(len(shown)), key=lambda scene: shown[scene].scores.max().item())
    return {
        "layers": [
            {"layer": 1.0 + i, **evaluate_layer(scenes.targets(), detections, size.canvas)}
            for i, detections in enumerate(layers)
        ],
        "pictures": [to_json(detections) for detections in shown],
        "attention": {"scene": best, **probe_attention(model, scenes.images[best], size)},
        "parameters": count_parameters(model),
    }


def evaluate_layer(targets: Sequence[Targets], detections: Sequence[Detections], canvas: Canvas) -> dict[str, float]:
    """Return a layer's average precisions, its AP after NMS, and its duplicates per 100 objects."""
    after = average_precision(targets, [non_maximum_suppression(one) for one in detections], canvas)["AP"]
    pairs = zip(targets, detections, strict=True)
    duplicates = sum(count_duplicates(target, found, canvas.image_size) for target, found in pairs)
    count = sum(len(target.labels) for target in targets)
    return {
        **average_precision(targets, detections, canvas),
        "AP after NMS": after,
        "duplicates": 100 * duplicates / count,
    }


def predict(model: nn.Module, images: Float[Tensor, "b 3 height width"]) -> list[Predictions]:
    """Return the predictions on images after each decoder layer."""
    batches = [model(batch) for batch in split_batches(model, images)]
    return [
        Predictions(torch.cat([one.logits for one in layer]).cpu(), torch.cat([one.boxes for one in layer]).cpu())
        for layer in zip(*batches, strict=True)
    ]


def split_batches(model: nn.Module, images: Float[Tensor, "b 3 height width"]) -> Sequence[Float[Tensor, "_ 3 _ _"]]:
    """Return normalized images on the model's device, split into batches."""
    return torch.split(normalize(images).to(device_of(model)), 50)


def to_detections(predictions: Predictions, size: Size) -> list[Detections]:
    """Convert all predictions to detections, as the paper evaluates them, without a score threshold."""
    return postprocess(predictions, torch.full((len(predictions.boxes), 2), size.canvas.image_size))


def non_maximum_suppression(detections: Detections, iou_threshold: float = 0.5) -> Detections:
    """Drop every box that overlaps, by a higher IoU than the threshold, a kept one of its class with a higher score."""
    order = detections.scores.argsort(descending=True, stable=True)
    boxes, labels = detections.boxes[order], detections.labels[order]
    intersection, union = box_intersection_and_union(boxes[:, None], boxes)
    overlaps = (intersection > iou_threshold * union) & (labels[:, None] == labels)
    kept = torch.ones_like(labels, dtype=torch.bool)
    for i in range(len(order)):
        if kept[i]:
            kept[i + 1 :] &= ~overlaps[i, i + 1 :]
    return Detections(detections.scores[order][kept], labels[kept], boxes[kept])


def count_duplicates(target: Targets, detections: Detections, side: int) -> int:
    """Count the confident detections of objects beyond the first: of their class, with an IoU of at least 0.5."""
    confident = detections.scores > SCORE_THRESHOLD
    boxes = box_cxcywh_to_xyxy(target.boxes) * side
    intersection, union = box_intersection_and_union(detections.boxes[confident][:, None], boxes)
    detects = (intersection >= 0.5 * union) & (detections.labels[confident][:, None] == target.labels)
    return int((detects.sum(dim=0) - 1).clamp(min=0).sum())


def to_json(detections: Detections) -> list[dict[str, Any]]:
    """Return the confident detections as plain lists and numbers."""
    rows = zip(detections.boxes.tolist(), detections.labels.tolist(), detections.scores.tolist(), strict=True)
    return [
        {"box": box, "label": CLASSES[label], "score": score} for box, label, score in rows if score > SCORE_THRESHOLD
    ]


def probe_attention(model: nn.Module, image: Float[Tensor, "3 side side"], size: Size) -> dict[str, Any]:
    """Return the detection with the highest score on a scene, and its cross-attention weights averaged over heads."""
    layer, calls = model.decoder[-1], []  # type: ignore[index]  # of a DETR
    assert isinstance(layer, DecoderLayer)
    hook = layer.cross_attention.register_forward_pre_hook(lambda _, arguments: calls.append(arguments))
    (detections,) = to_detections(predict(model, image[None])[-1], size)
    hook.remove()
    query, key, _, mask = calls[0]
    best = int(detections.scores.argmax())
    weights = layer.cross_attention.attention_weights(query, key, mask)[0, :, best].mean(dim=0)
    return {
        "label": CLASSES[int(detections.labels[best])],
        "score": detections.scores[best].item(),
        "box": detections.boxes[best].tolist(),
        "weights": weights.reshape(math.isqrt(len(weights)), -1).tolist(),
        "side": size.canvas.image_size,
    }


# Claims

LEARNED_AP50 = 70.0
"""The AP50 at which we say that the task was learned."""


def learned_and_converged(
    layers: Mapping[str, Sequence[LayerMetrics]], learning: Mapping[str, Sequence[Curve]], arms: Sequence[str]
) -> tuple[Gate, ...]:
    """Return what any verdict needs of some arms; the arm that the others are compared with has to learn the task."""
    ap50 = [run[-1]["AP50"] for run in layers[PLAIN]]
    return (
        gate(
            f"The task is learned: AP50 of {PLAIN} is above {LEARNED_AP50:.0f} after the last layer, with each seed.",
            min(ap50) > LEARNED_AP50,
            f"AP50 {', '.join(f'{value:.1f}' for value in ap50)}",
        ),
        converged({arm: learning[arm] for arm in arms}, "AP"),
        enough_seeds({arm: [run[-1]["AP50"] for run in layers[arm]] for arm in arms}),
    )


def by_layer(runs: Sequence[LayerMetrics], name: str) -> dict[str, list[float]]:
    """Return a metric of each decoder layer, for each seed."""
    return {f"layer {i + 1}": [layers[i][name] for layers in runs] for i in range(len(runs[0]))}


def judge_layers(runs: Sequence[LayerMetrics], ran: str, gates: Sequence[Gate]) -> Finding:
    """Judge whether AP rises with every decoder layer."""
    aps = by_layer(runs, "AP")
    seeds = list(aps.values())
    return judge(
        "decoder-layers",
        "Reproduced if AP rises with every layer, with each seed; partly if with each seed it is higher after the last "
        "layer than after the first.",
        ran=ran,
        quantities=[quantity(f"{name} by decoder layer", by_layer(runs, name), "higher") for name in ("AP", "AP50")],
        reproduced=all(each_seed_above(high, low) for low, high in pairwise(seeds)),
        partly=each_seed_above(seeds[-1], seeds[0]),
        gates=gates,
    )


def judge_duplicates(runs: Sequence[LayerMetrics], confusable: int, ran: str, gates: Sequence[Gate]) -> Finding:
    """Judge whether NMS helps after the first layer, and harms after the last.

    Args:
        runs: The metrics of each seed's decoder layers.
        confusable: The pairs of objects in the test scenes of which NMS would drop one (`count_confusable`).
        ran: What was run.
        gates: What any verdict needs.
    """
    first, last = nms_gains(runs, 0), nms_gains(runs, -1)
    ends = {"after the first layer": 0, "after the last layer": -1}
    return judge(
        "duplicates",
        "Reproduced if with each seed NMS raises AP after the first layer, and lowers it after the last; partly if "
        "with each seed it raises AP after the first layer, and by less after the last.",
        ran=ran,
        quantities=(
            quantity("AP added by NMS", {name: nms_gains(runs, i) for name, i in ends.items()}, levels={"none": 0.0}),
            quantity(
                "duplicates per 100 objects",
                {name: [layers[i]["duplicates"] for layers in runs] for name, i in ends.items()},
                "lower",
            ),
        ),
        reproduced=min(first) > 0 > max(last),
        partly=min(first) > 0 and each_seed_above(first, last),
        gates=(
            *gates,
            gate(
                "NMS can harm: there are two objects of one class that overlap by an IoU above 0.5.",
                confusable > 0,
                f"{confusable} pairs in the test scenes",
            ),
        ),
    )


def nms_gains(runs: Sequence[LayerMetrics], layer: int) -> list[float]:
    """Return what NMS adds to a layer's AP, for each seed."""
    return [layers[layer]["AP after NMS"] - layers[layer]["AP"] for layers in runs]


def count_confusable(targets: Sequence[Targets]) -> int:
    """Count the pairs of objects of one class that overlap by an IoU above 0.5, so that NMS takes them for one."""
    pairs = 0
    for target in targets:
        boxes = box_cxcywh_to_xyxy(target.boxes)
        intersection, union = box_intersection_and_union(boxes[:, None], boxes)
        alike = (target.labels[:, None] == target.labels) & (intersection > 0.5 * union)
        pairs += int(alike.triu(diagonal=1).sum())
    return pairs


def judge_encoder(
    layers: Mapping[str, Sequence[LayerMetrics]], cells: float, ran: str, gates: Sequence[Gate]
) -> Finding:
    """Judge whether AP is lower without an encoder, and most on large objects.

    Args:
        layers: The metrics of each arm's decoder layers.
        cells: The side of the smallest large object, in cells of the feature map.
        ran: What was run.
        gates: What any verdict needs.
    """
    aps = {name: final_values(layers, name) for name in ("AP", "small", "medium", "large")}
    lost = {name: differences(of_arm[PLAIN], of_arm[NO_ENCODER]) for name, of_arm in aps.items()}
    is_higher = all_runs_above(aps["AP"][PLAIN], aps["AP"][NO_ENCODER])
    return judge(
        "encoder",
        "Reproduced if every seed with an encoder is above every seed without, and with each seed AP falls most on "
        "large objects; partly if only the first.",
        ran=ran,
        quantities=(
            quantity("AP", {arm: aps["AP"][arm] for arm in (PLAIN, NO_ENCODER)}, "higher"),
            quantity(
                "what AP falls by without an encoder",
                {f"{name} objects": lost[name] for name in ("small", "medium", "large")},
                levels={"none": 0.0},
            ),
        ),
        reproduced=is_higher and all(each_seed_above(lost["large"], lost[name]) for name in ("small", "medium")),
        partly=is_higher,
        gates=(
            *gates,
            gate(
                "Large objects lie in many cells of the feature map, which the encoder relates: over 3 cells a side, "
                "as in COCO, where large ones are over 96 pixels and a cell is 32.",
                cells > 3,
                f"{cells:.1f} cells",
            ),
        ),
    )


FASTER = "It requires COCO, pre-trained weights, and training a Faster R-CNN for days on GPUs."
ABLATION = "three more models each would not fit into the minutes of this size."
NO_EXPERIMENT = no_experiment(
    {
        "average-precision": FASTER,
        "large-objects": FASTER,
        "small-objects": FASTER,
        "larger-backbones": "It requires COCO and two pre-trained ResNets; shapes do not need a deep one.",
        "no-object-weight": "It requires models in which ∅ has the weight of any class, trained until they stop "
        "improving, which takes many more steps than with a tenth of it.",
        "positions": f"It requires models with positions at the input only, and without: {ABLATION}",
        "box-losses": f"It requires models with either of the box losses alone: {ABLATION}",
    }
)


# Report


def experiment(run: Run) -> Report:
    """Pre-train a backbone, train the models of all arms, and compare them and their decoder layers."""
    size = SIZES[run.size]
    seeds = run.seeds(size.seeds)
    run.expect(1 + len(ARMS) * len(seeds))
    file = run.folder / "backbone.pt"
    (backbone,) = train_seeds(run, "backbone", build_backbone_training(size, file), [run.seed + 1000])
    results = {name: train_seeds(run, name, build_training(size, file, arm), seeds) for name, arm in ARMS.items()}
    layers, learning = select(results, "layers"), select(results, "curve")
    counts = {name: runs[0]["parameters"] for name, runs in results.items()}
    first, targets = results[PLAIN][0], test_scenes(size).targets()
    large = math.sqrt(area_ranges(size.canvas)["large"][0])
    ran = (
        f"new scenes of {size.canvas.image_size} × {size.canvas.image_size} pixels with {size.canvas.max_objects} "
        f"shapes at most; {counts[PLAIN]:,} parameters; {size.steps:,} steps at most, of {size.batch_size} scenes"
    )
    gates = {arm: learned_and_converged(layers, learning, sorted({PLAIN, arm})) for arm in ARMS}
    return Report(
        findings=(
            judge_layers(layers[PLAIN], ran, gates[PLAIN]),
            judge_duplicates(layers[PLAIN], count_confusable(targets), ran, gates[PLAIN]),
            judge_encoder(layers, large / size.stride, ran, gates[NO_ENCODER]),
            *NO_EXPERIMENT,
        ),
        tables=(arms_table(layers, counts),),
        figures=(
            ap_curves(learning),
            ap_by_layer(layers[PLAIN]),
            scene_pictures(size, first["pictures"]),
            attention_heatmap(first["attention"]),
        ),
        seeds=tuple(seeds),
        settings=asdict(size),
        notes=(
            f"All models start from one backbone, pre-trained for {size.backbone_steps:,} steps. On the test scenes it "
            f"then classifies {100 * backbone['curve'][-1]['accuracy']:.0f}% of the cells in shapes correctly. The "
            "spread over seeds does not include that over backbones."
        ),
    )


def arms_table(layers: Mapping[str, Sequence[LayerMetrics]], counts: Mapping[str, int]) -> Table:
    """Return the metrics of the arms after the last decoder layer."""
    names = (*METRICS, "duplicates")
    return Table(
        title="Average precision after the last decoder layer",
        columns=(
            "models",
            "parameters",
            *(f"AP {n}" if n.islower() else n for n in METRICS),
            "duplicates per 100 objects",
        ),
        rows=tuple(
            (arm, counts[arm], *(spread(final_values(layers, name)[arm], ".1f") for name in names)) for arm in layers
        ),
        note="Mean over seeds, lowest to highest in brackets. Small, medium and large are thirds of the shapes' sides, "
        f"by the areas of boxes. Duplicates: detections that score over {SCORE_THRESHOLD} beyond an object's first.",
    )


def ap_curves(runs: Mapping[str, Sequence[Curve]]) -> Lines:
    """Plot AP against training steps."""
    ends = "; ".join(f"{arm}: {spread(seeds, '.1f')}" for arm, seeds in final_values(runs, "AP").items())
    return Lines(
        id="ap-by-steps",
        title="Average precision during training",
        caption="COCO's AP on the test scenes. Compare DETR with models in whose loss ∅ (no object) has the weight "
        "of any class, and with models without an encoder.",
        alt=f"{len(runs)} curves. AP in the end, {ends}.",
        x="training steps",
        y="AP",
        series=curve_series(runs, "AP"),
    )


def ap_by_layer(runs: Sequence[LayerMetrics]) -> Lines:
    """Plot AP against the decoder layer, with and without NMS."""
    names = {"as predicted": "AP", "after NMS": "AP after NMS"}
    means = [[fmean(layers[i][key] for layers in runs) for key in names.values()] for i in range(len(runs[0]))]
    said = "; ".join(f"layer {i}: {plain:.1f} and {after:.1f}" for i, (plain, after) in enumerate(means, start=1))
    return Lines(
        id="ap-by-layer",
        title="AP after each decoder layer, with and without NMS",
        caption="As the paper's Figure 4: the predictions after every decoder layer of the same models. "
        "The gap between the curves is what duplicates cost.",
        alt=f"Mean AP as predicted and after NMS, {said}.",
        x="decoder layer",
        y="AP",
        series=tuple(Series.of(name, runs, key, x="layer") for name, key in names.items()),
    )


def scene_pictures(size: Size, found: Sequence[Sequence[Mapping[str, Any]]]) -> Pictures:
    """Return some test scenes with their true and detected boxes."""
    scenes = test_scenes(size)
    truths = [
        [to_box(box, CLASSES[label], "true") for box, label in zip(boxes.tolist(), true.labels.tolist(), strict=True)]
        for true in scenes.targets()[: len(found)]
        for boxes in [box_cxcywh_to_xyxy(true.boxes) * size.canvas.image_size]
    ]
    finds = [[to_box(one["box"], f"{one['label']} {one['score']:.2f}", "found") for one in scene] for scene in found]
    counts = ", ".join(f"{len(find)} found where {len(true)} are" for true, find in zip(truths, finds, strict=True))
    return Pictures(
        id="detections",
        title="Test scenes with true and detected boxes",
        caption=f"The first test scenes, not selected, with the detections that score over {SCORE_THRESHOLD} ({PLAIN}, "
        "first seed), without NMS. Look for shapes that are missed, detected twice, or misclassified.",
        alt=f"{len(found)} scenes of shapes: {counts}.",
        pictures=tuple(
            Picture(title=f"scene {i}", png=encode_png(image), boxes=(*true, *find))
            for i, (image, true, find) in enumerate(zip(scenes.images, truths, finds, strict=False), start=1)
        ),
    )


def to_box(box: Sequence[float], label: str, kind: Any) -> Box:
    """Return a box to draw."""
    left, top, right, bottom = box
    return Box(left=left, top=top, right=right, bottom=bottom, label=label, kind=kind)


def encode_png(image: Float[Tensor, "3 side side"]) -> str:
    """Return a scene as PNG in Base64, with 64 colors, since noise does not compress."""
    pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    return encoded(Image.fromarray(pixels).quantize(64))


def attention_heatmap(probe: Mapping[str, Any]) -> Heatmap:
    """Return the cross-attention of the query with the highest score on the shown scenes."""
    weights, side = probe["weights"], probe["side"]
    left, top, right, bottom = probe["box"]
    cell = side / len(weights)
    inside = sum(
        weight
        for i, row in enumerate(weights)
        for j, weight in enumerate(row)
        if left <= (j + 0.5) * cell <= right and top <= (i + 0.5) * cell <= bottom
    )
    names = tuple(f"{i * cell:.0f}–{(i + 1) * cell:.0f}" for i in range(len(weights)))
    return Heatmap(
        id="decoder-attention",
        title=f"Cross-attention of a query on scene {probe['scene'] + 1}",
        caption=f"The last decoder layer's attention weights over the cells of the feature map, averaged over heads, "
        f"of the query that detects: {probe['label']}, score {probe['score']:.2f}, from ({left:.0f}, {top:.0f}) to "
        f"({right:.0f}, {bottom:.0f}). Compare the bright cells with the edges of that box in the picture.",
        alt=f"{len(weights)} by {len(weights)} cells. Those with their center in the box hold {100 * inside:.0f}% of "
        f"the weight, the brightest cell {100 * max(map(max, weights)):.0f}%.",
        rows=names,
        columns=names,
        x="pixels from the left",
        y="pixels from the top",
        values=tuple(map(tuple, weights)),
    )
