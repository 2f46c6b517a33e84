r"""DETR on scenes of shapes: what its decoder's layers add, what suppression would, and what "no object" weighs.

Claims: Average precision rises from one decoder layer to the next, and to suppress duplicates helps after the first of
    them and no longer after the last (Section 4.2, Figure 4). Without an encoder, most is lost on large objects
    (Table 2). The loss of predictions that are paired with no object, ∅, weighs a tenth (Section 3.1).

Test: nets learn scenes of one to eight shapes of four classes, fresh ones at every step. Their predictions after each
    decoder layer are scored by pycocotools on the same 200 scenes that no net learns from, as they are and after
    suppression by class at an IoU of 0.5. Other nets learn with ∅ weighing as much as a class, or have no encoder; all
    begin with the same weights, as far as they have them, and take as many steps with the same scenes.

Stands in: shapes of 9 to 20 pixels on 48 × 48 for photographs. Small, medium and large are thirds of these sides. As
    the paper begins with a backbone that ImageNet taught, so do these nets with one that was taught first, once for
    all of them: to say of each of its cells which shape it lies in, and that shape's box. That is nearer to detection
    than ImageNet's task. Without it a net was at an AP under 1 after 1,800 steps of 16 scenes.

Departs: one encoder layer, three decoder layers, width 64 and 20 queries; one rate for backbone and Transformer, with
    warm-up and cosine; no dropout, since no scene is seen twice.

Sizes: `small` takes about ten minutes on one thread. No detector with anchors is trained beside DETR, nor nets with
    other positions or with one of the box losses alone. `full` has the paper's shape, for a GPU.
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
    Heatmap,
    Lines,
    Outcome,
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
    FrozenBatchNorm,
    Objects,
    Predictions,
    ResNet,
    box_loss,
    corners,
    detections,
    intersection_and_union,
    total_loss,
)
from reference_impl.experiments.judging import all_runs_above, each_seed_above, outcome
from reference_impl.experiments.scenes import CLASSES, PRECISIONS, Canvas, Scenes, average_precision, draw, objects
from reference_impl.experiments.training import Batch, Loss, Training, parameters


@dataclass(frozen=True)
class Arm:
    """What is learnt with: the weight of ∅, and an encoder or none."""

    no_object: float = 0.1
    encoder: bool = True


PLAIN, UNWEIGHTED, BARE = "DETR", "∅ weighs 1", "no encoder"
ARMS = {PLAIN: Arm(), UNWEIGHTED: Arm(no_object=1.0), BARE: Arm(encoder=False)}
SURE = 0.7
"""The score from which on a detection is drawn, and counted as one that finds an object again."""
SHOWN = 4
TEST = 2**40
"""Seeds the scenes that are measured on; those of training have lower seeds."""

Layers = Sequence[Mapping[str, float]]
"""What was measured after each decoder layer: average precisions, `suppressed` AP, and `repeats`."""
Curve = Sequence[Mapping[str, Any]]
"""AP and the loss at some of the steps."""


@dataclass(frozen=True)
class Size:
    """How much is run: steps of the backbone and of the nets, scenes a step, scenes to measure on, and DETR's shape."""

    seeds: int
    taught: int
    steps: int
    every: int
    batch: int
    scenes: int
    queries: int
    d_model: int
    heads: int
    d_ff: int
    encoder: int
    decoder: int
    depths: tuple[int, ...]
    width: int
    rate: float
    canvas: Canvas = field(default_factory=Canvas)


SIZES = {
    "smoke": Size(1, 4, 6, 3, 4, 16, 6, 16, 2, 32, 1, 2, (1, 1), 4, 1e-3, Canvas(32, 4, 8, 14)),
    "small": Size(3, 1200, 600, 100, 32, 200, 20, 64, 4, 128, 1, 3, (1, 2), 16, 1e-3),
    "full": Size(
        3, 50_000, 300_000, 10_000, 32, 1000, 100, 256, 8, 2048, 6, 6, (3, 4, 6, 3), 64, 1e-4, Canvas(256, 20, 16, 96)
    ),
}


def experiment(run: Run) -> Report:
    """Teach a backbone, train the nets of all arms, and compare them and their layers."""
    size = SIZES[run.size]
    seeds = run.seeds(size.seeds)
    run.expect(1 + len(ARMS) * len(seeds))
    file = run.folder / "backbone.pt"
    taught = run.loop("backbone", lambda: Teaching(size, file, run.seed + 1000, run.device))
    found = {
        arm: [run.loop(f"{arm} seed {seed}", partial(detecting, size, file, what, seed, run.device)) for seed in seeds]
        for arm, what in ARMS.items()
    }
    layers = {arm: [one["layers"] for one in runs] for arm, runs in found.items()}
    learning = {arm: [one["curve"] for one in runs] for arm, runs in found.items()}
    counts = {arm: runs[0]["parameters"] for arm, runs in found.items()}
    first = found[PLAIN][0]
    return Report(
        findings=(
            layers_finding(layers[PLAIN]),
            duplicates_finding(layers[PLAIN]),
            weight_finding(learning),
            encoder_finding(layers, counts),
            *untried(),
        ),
        tables=(arms_table(layers, counts), layers_table(layers[PLAIN])),
        figures=(
            curves(learning),
            by_layer(layers[PLAIN]),
            pictures(size, first["pictures"]),
            attention(first["attention"]),
        ),
        seeds=tuple(seeds),
        settings=asdict(size),
        notes=(
            f"All nets begin with one backbone, taught for {size.taught:,} steps to say of each of its cells which "
            f"shape it lies in, and that shape's box. On other scenes it then names {100 * taught[-1]['named']:.0f}% "
            "of the cells in shapes rightly. The spread over seeds leaves out what another such backbone would change. "
            "All rules were made stricter after a run had been looked at."
        ),
    )


# The backbone


class Cells(nn.Module):
    """A backbone that says of each of its cells which shape it lies in, or none, and where that shape's box is."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.backbone = ResNet(size.depths, size.width, frozen=0)
        calibrate(self.backbone, seen(draw(64, torch.Generator().manual_seed(0), size.canvas).images))
        self.head = nn.Conv2d(self.backbone.channels, len(CLASSES) + 1 + 4, 1)

    def forward(self, images: Float[Tensor, "b 3 height width"]) -> Predictions:
        """Return what each cell says, row by row."""
        said: Tensor = self.head(self.backbone(images)).flatten(2).mT
        return Predictions(said[..., :-4], said[..., -4:].sigmoid())


class Teaching(Training):
    """Teach a backbone; its numbers go to a file."""

    def __init__(self, size: Size, file: Path, seed: int, device: str) -> None:
        super().__init__(
            partial(Cells, size),
            cells_loss,
            partial(drawn, size),
            size.taught,
            seed,
            optimiser=lambda model: torch.optim.AdamW(model.parameters(), lr=3e-3),
            schedule=partial(warm_cosine, size.taught),
            measure=partial(share_named, size),
            clip=1.0,
            interval=300,
            device=device,
        )
        self._file = file

    def result(self) -> Any:
        """Write the backbone's numbers, and return the curve."""
        self.written(lambda model: torch.save(model.get_submodule("backbone").state_dict(), self._file))
        return super().result()


@torch.no_grad()
def calibrate(backbone: ResNet, images: Float[Tensor, "b 3 height width"]) -> None:
    """Give the frozen batch norms the statistics of some images: no loaded weights bring any."""

    def keep(norm: Any, arguments: tuple[Tensor, ...]) -> None:
        norm.running_mean.copy_(arguments[0].mean(dim=(0, 2, 3)))
        norm.running_var.copy_(arguments[0].var(dim=(0, 2, 3)))

    norms = [module for module in backbone.modules() if isinstance(module, FrozenBatchNorm)]
    hooks = [norm.register_forward_pre_hook(keep) for norm in norms]
    backbone(images)
    for hook in hooks:
        hook.remove()


def cells_truth(
    labels: Int[Tensor, "b k"], boxes: Float[Tensor, "b k 4"], real: Bool[Tensor, "b k"], side: int
) -> tuple[Int[Tensor, "b m"], Float[Tensor, "b m 4"]]:
    """Return whose box each cell's centre lies in, the last one's if several, and that box; or ∅, and any box."""
    centre = (torch.arange(side, device=boxes.device) + 0.5) / side
    left, top, right, bottom = corners(boxes)[..., None].unbind(dim=2)
    across, down = (centre >= left) & (centre <= right), (centre >= top) & (centre <= bottom)
    inside = (down[..., None] & across[..., None, :] & real[..., None, None]).flatten(2)
    last = (inside * torch.arange(1, inside.shape[1] + 1, device=boxes.device)[:, None]).amax(dim=1) - 1
    owner = last.clamp(min=0)
    label = torch.where(last >= 0, labels.gather(1, owner), len(CLASSES))
    return label, boxes.gather(1, owner[..., None].expand(-1, -1, 4))


def cells_loss(model: nn.Module, images: Tensor, labels: Tensor, boxes: Tensor, real: Tensor, _: Tensor) -> Any:
    """Add up the losses of cells, of which those in no shape weigh a tenth; count the cells that lie in shapes."""
    said = model(images)
    label, box = cells_truth(labels, boxes, real, math.isqrt(said.logits.shape[1]))
    weight = torch.tensor([1.0] * len(CLASSES) + [0.1], device=images.device)
    covered = label < len(CLASSES)
    named = F.cross_entropy(said.logits.mT, label, weight, reduction="sum")
    return 2 * named + box_loss(said.boxes[covered], box[covered]).sum(), covered.sum()


def share_named(size: Size, model: nn.Module) -> dict[str, float]:
    """Return which share of the cells that lie in shapes of the test scenes is named rightly."""
    scenes = test_scenes(size)
    logits = torch.cat([model(part).logits.cpu() for part in parts_for(model, scenes.images)])
    label, _ = cells_truth(scenes.labels, scenes.boxes, scenes.real, math.isqrt(logits.shape[1]))
    covered = label < len(CLASSES)
    return {"named": (logits.argmax(dim=2) == label)[covered].float().mean().item()}


# The nets


def detecting(size: Size, backbone: Path, arm: Arm, seed: int, device: str) -> Training:
    """Return a DETR's training on scenes."""
    return Training(
        partial(detector, size, backbone, arm.encoder),
        set_loss(arm.no_object, size.queries),
        partial(drawn, size),
        size.steps,
        seed,
        optimiser=lambda model: torch.optim.AdamW(model.parameters(), lr=size.rate, weight_decay=1e-4),
        schedule=partial(warm_cosine, size.steps),
        measure=partial(precision, size),
        every=size.every,
        clip=0.1,
        ending=partial(all_layers, size),
        interval=150,
        device=device,
    )


def all_layers(size: Size, model: nn.Module) -> dict[str, Any]:
    """Return what every decoder layer scores in the end, and what is drawn of the last."""
    scenes = test_scenes(size)
    layers = [boxes_of(said, size) for said in predictions(model, scenes.images)]
    shown = layers[-1][:SHOWN]
    best = max(range(len(shown)), key=lambda scene: shown[scene].scores.max().item())
    return {
        "layers": [
            {"layer": 1.0 + i, **layer_measured(scenes.objects(), found, size.canvas)} for i, found in enumerate(layers)
        ],
        "pictures": [listed(found) for found in shown],
        "attention": {"scene": best, **looked_at(model, scenes.images[best], size)},
        "parameters": parameters(model),
    }


def detector(size: Size, backbone: Path, encoder: bool = True) -> DETR:
    """Make a DETR around the backbone that was taught; one without encoder begins with the same weights otherwise."""
    features = ResNet(size.depths, size.width, frozen=0)
    features.load_state_dict(torch.load(backbone, weights_only=True))
    layers = max(size.encoder, size.decoder)
    model = DETR(len(CLASSES), size.queries, size.d_model, size.heads, size.d_ff, layers, 0.0, features)
    model.encoder = model.encoder[: size.encoder if encoder else 0]
    model.decoder = model.decoder[: size.decoder]
    return model


def drawn(size: Size, generator: torch.Generator) -> Batch:
    """Draw a batch; its last tensor repeats, for every scene, how many objects the whole batch has a scene."""
    scenes = draw(size.batch, generator, size.canvas)
    crowd = scenes.real.sum(dim=1).float().mean().expand(size.batch)
    return seen(scenes.images), scenes.labels, scenes.boxes, scenes.real, crowd


def set_loss(no_object: float, queries: int) -> Loss:
    """Return DETR's loss, times the objects of the share, and their number.

    The boxes' losses are a sum over objects, which `Training` divides by those of all processes. The classes' are a
    weighted mean over predictions: a sum divided by the weights, which follow from the number of objects. A share's
    weights for each object are not the whole batch's, so gradients of the classes are put right by the ratio of both;
    it is 1 in one process. (The loss that is shown is not put right.)
    """

    def per_weight(crowd: Tensor) -> Tensor:
        return crowd / (crowd + no_object * (queries - crowd))

    def loss(model: nn.Module, images: Tensor, labels: Tensor, boxes: Tensor, real: Tensor, crowd: Tensor) -> Any:
        ratio = per_weight(crowd[0]) / per_weight(real.sum(dim=1).float().mean())
        layers = [Predictions(graded(said.logits, ratio), said.boxes) for said in model(images)]
        return total_loss(layers, objects(labels, boxes, real), no_object) * real.sum(), real.sum()

    return loss


def graded(x: Float[Tensor, "*b"], factor: Float[Tensor, ""]) -> Float[Tensor, "*b"]:
    """Return the same numbers, whose gradients are multiplied."""
    return x * factor + (x * (1 - factor)).detach()


def warm_cosine(steps: int, optimiser: torch.optim.Optimizer) -> LRScheduler:
    """Raise the rate over the first twentieth of the steps, then let it sink to zero."""
    warm = max(steps // 20, 1)
    return LambdaLR(optimiser, lambda step: min((step + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * step / steps)))


def seen(images: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b 3 height width"]:
    """Bring the channels to about mean 0 and spread 1, by constants."""
    return (images - 0.3) / 0.25


def test_scenes(size: Size) -> Scenes:
    """Draw the scenes that every net is measured on."""
    return draw(size.scenes, torch.Generator().manual_seed(TEST), size.canvas)


test_scenes.__test__ = False  # type: ignore[attr-defined]  # pytest would take it for a test


# What is measured


def parts_for(model: nn.Module, images: Float[Tensor, "b 3 height width"]) -> Sequence[Float[Tensor, "_ 3 _ _"]]:
    """Return images as a model sees them, where it is, some at a time."""
    return torch.split(seen(images).to(next(model.parameters()).device), 50)


def predictions(model: nn.Module, images: Float[Tensor, "b 3 height width"]) -> list[Predictions]:
    """Return what is predicted of scenes after each decoder layer."""
    parts = [model(part) for part in parts_for(model, images)]
    return [
        Predictions(torch.cat([said.logits for said in layer]).cpu(), torch.cat([said.boxes for said in layer]).cpu())
        for layer in zip(*parts, strict=True)
    ]


def boxes_of(said: Predictions, size: Size) -> list[Detections]:
    """Return all predictions as boxes in pixels, as the paper scores them."""
    return detections(said, torch.full((len(said.boxes), 2), size.canvas.side))


def precision(size: Size, model: nn.Module) -> dict[str, float]:
    """Return the average precision of the last layer."""
    scenes = test_scenes(size)
    found = boxes_of(predictions(model, scenes.images)[-1], size)
    return {"AP": average_precision(scenes.objects(), found, size.canvas)["AP"]}


def layer_measured(truth: Sequence[Objects], found: Sequence[Detections], canvas: Canvas) -> dict[str, float]:
    """Return a layer's average precisions, what the first becomes by suppression, and how much is found again."""
    after = average_precision(truth, [suppressed(one) for one in found], canvas)["AP"]
    again = sum(repeats(true, one, canvas.side) for true, one in zip(truth, found, strict=True))
    count = sum(len(true.labels) for true in truth)
    return {**average_precision(truth, found, canvas), "suppressed": after, "repeats": 100 * again / count}


def suppressed(found: Detections, most: float = 0.5) -> Detections:
    """Drop every box that has a higher IoU than `most` with a kept one of its class that scores higher."""
    order = found.scores.argsort(descending=True, stable=True)
    boxes, labels = found.boxes[order], found.labels[order]
    shared, union = intersection_and_union(boxes[:, None], boxes)
    rival = (shared > most * union) & (labels[:, None] == labels)
    kept = torch.ones_like(labels, dtype=torch.bool)
    for i in range(len(order)):
        if kept[i]:
            kept[i + 1 :] &= ~rival[i, i + 1 :]
    return Detections(found.scores[order][kept], labels[kept], boxes[kept])


def repeats(true: Objects, found: Detections, side: int) -> int:
    """Count the sure boxes that find an object which another one finds too: its class, with an IoU of 0.5."""
    sure = found.scores > SURE
    shared, union = intersection_and_union(found.boxes[sure][:, None], corners(true.boxes) * side)
    finds = (shared >= 0.5 * union) & (found.labels[sure][:, None] == true.labels)
    return int((finds.sum(dim=0) - 1).clamp(min=0).sum())


def listed(found: Detections) -> list[dict[str, Any]]:
    """Return the sure boxes as JSON has them."""
    rows = zip(found.boxes.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True)
    return [{"box": box, "label": CLASSES[label], "score": score} for box, label, score in rows if score > SURE]


def looked_at(model: nn.Module, image: Float[Tensor, "3 side side"], size: Size) -> dict[str, Any]:
    """Return what the surest query finds on a scene, and the weights by which it looks, a mean over the heads."""
    layer, caught = model.decoder[-1], []  # type: ignore[index]  # of a DETR
    assert isinstance(layer, DecoderLayer)
    hook = layer.cross_attention.register_forward_pre_hook(lambda _, arguments: caught.append(arguments))
    (found,) = boxes_of(predictions(model, image[None])[-1], size)
    hook.remove()
    query, key, _, mask = caught[0]
    best = int(found.scores.argmax())
    weights = layer.cross_attention.attention_weights(query, key, mask)[0, :, best].mean(dim=0)
    return {
        "label": CLASSES[int(found.labels[best])],
        "score": found.scores[best].item(),
        "box": found.boxes[best].tolist(),
        "weights": weights.reshape(math.isqrt(len(weights)), -1).tolist(),
        "side": size.canvas.side,
    }


# What it says


def gains(runs: Sequence[Layers], layer: int) -> list[float]:
    """Return for each seed what suppression adds to a layer's AP."""
    return [layers[layer]["suppressed"] - layers[layer]["AP"] for layers in runs]


def layers_finding(runs: Sequence[Layers]) -> Finding:
    """Judge whether every decoder layer adds to AP."""
    by_layer = [[layers[i]["AP"] for layers in runs] for i in range(len(runs[0]))]
    added = [last - first for first, last in zip(by_layer[0], by_layer[-1], strict=True)]
    return Finding(
        claim="decoder-layers",
        outcome=outcome(all(each_seed_above(high, low) for low, high in pairwise(by_layer)), min(added) > 0),
        measured=f"AP {', '.join(f'{fmean(seeds):.1f}' for seeds in by_layer)} after layers 1 to {len(by_layer)}; "
        f"the last adds {spread(added, '.1f')} to the first",
        why="reproduced if AP rises with every layer, with each seed; partly if with each seed it is higher after the "
        "last layer than after the first",
    )


def duplicates_finding(runs: Sequence[Layers]) -> Finding:
    """Judge whether suppression helps after the first layer, and harms after the last."""
    first, last = gains(runs, 0), gains(runs, -1)
    again = [fmean(layers[i]["repeats"] for layers in runs) for i in (0, -1)]
    return Finding(
        claim="duplicates",
        outcome=outcome(min(first) > 0 > max(last), min(first) > 0 and each_seed_above(first, last)),
        measured=f"suppression adds {spread(first, '.2f')} AP after the first layer, {spread(last, '.2f')} after the "
        f"last; of 100 objects {again[0]:.1f} and {again[1]:.1f} are surely found again",
        why="reproduced if with each seed it adds to AP after the first layer, and takes from it after the last; "
        "partly if with each seed it adds after the first layer, and adds less after the last. No two of these shapes "
        "overlap so far that suppression takes one for the other, so harm can come only from a surer box that lies "
        "worse",
    )


def weight_finding(runs: Mapping[str, Sequence[Curve]]) -> Finding:
    """Judge whether AP is higher with ∅ weighted down, and whether nets without have learnt to their end."""
    low, full = ([curve[-1]["AP"] for curve in runs[arm]] for arm in (PLAIN, UNWEIGHTED))
    before = ", ".join(f"{earlier(curve):.1f}" for curve in runs[UNWEIGHTED])
    is_higher = all_runs_above(low, full)
    return Finding(
        claim="no-object-weight",
        outcome=outcome(is_higher and all(map(levelled, runs[UNWEIGHTED])), is_higher),
        measured=f"after {runs[PLAIN][0][-1]['step']:,} steps AP is {spread(low, '.1f')} with ∅ at 0.1, and "
        f"{spread(full, '.1f')} with ∅ at 1, by seed {', '.join(f'{ap:.1f}' for ap in full)}, where it was {before} "
        "when a third of the steps was left",
        why="reproduced if every seed with ∅ at 0.1 is above every seed with ∅ at 1, and the curves with ∅ at 1 have "
        "levelled: over the last third of the steps AP rises by less than a tenth, with each seed; partly if they "
        "still rise, since more steps may then close the gap. The rate sinks to zero meanwhile, which levels curves "
        "too. The loss of classes is divided by all weights, as in the public code, so ∅ at 1 also makes an object's "
        "class count for less",
    )


def earlier(curve: Curve) -> float:
    """Return the last AP that was measured before the last third of the steps; 0 if none was."""
    before = [point["AP"] for point in curve if 3 * point["step"] <= 2 * curve[-1]["step"]]
    return float(before[-1]) if before else 0.0


def levelled(curve: Curve) -> bool:
    """Say whether AP rose by less than a tenth over the last third of the steps; one that stays at 0 has not begun."""
    return bool(curve[-1]["AP"] < 1.1 * earlier(curve))


def encoder_finding(layers: Mapping[str, Sequence[Layers]], counts: Mapping[str, int]) -> Finding:
    """Judge whether AP is lower without encoder, and on large objects most."""
    whole, bare = ([one[-1]["AP"] for one in layers[arm]] for arm in (PLAIN, BARE))
    lost = {
        name: [one[-1][name] - other[-1][name] for one, other in zip(layers[PLAIN], layers[BARE], strict=True)]
        for name in ("AP", "small", "medium", "large")
    }
    most = all(each_seed_above(lost["large"], lost[name]) for name in ("small", "medium"))
    said = {name: ", ".join(f"{fall:.1f}" for fall in falls) for name, falls in lost.items()}
    return Finding(
        claim="encoder",
        outcome=outcome(all_runs_above(whole, bare) and most, all_runs_above(whole, bare)),
        measured=f"AP is {spread(whole, '.1f')} with an encoder, {spread(bare, '.1f')} without. By seed it falls "
        f"by {said['AP']}; on small objects by {said['small']}, on medium ones by {said['medium']}, on large ones by "
        f"{said['large']}. The nets without have {counts[PLAIN] - counts[BARE]:,} of {counts[PLAIN]:,} weights fewer",
        why="reproduced if every seed with an encoder is above every seed without, and with each seed AP falls most on "
        "large objects; partly if only the first. A negative fall is a rise. Nets without an encoder also have fewer "
        "weights, and no others were added in their place. Those with one have fewer layers of it than the paper's six",
    )


def untried() -> tuple[Finding, ...]:
    """Say what was left out, and what it would take."""
    faster = "it takes COCO, pre-trained weights, and a Faster R-CNN trained beside it for days on GPUs"
    ablation = "three more nets each would not fit into the minutes of this size"
    reasons = {
        "average-precision": faster,
        "large-objects": faster,
        "small-objects": faster,
        "larger-backbones": "it takes COCO and two pre-trained ResNets; shapes do not need a deep one",
        "positions": f"it takes nets with positions at the input only, and with none: {ablation}",
        "box-losses": f"it takes nets with either of the box losses alone: {ablation}",
    }
    return tuple(Finding(claim=claim, outcome=Outcome.NOT_TRIED, why=why) for claim, why in reasons.items())


def arms_table(layers: Mapping[str, Sequence[Layers]], counts: Mapping[str, int]) -> Table:
    """Put the arms side by side."""
    names = (*PRECISIONS, "repeats")
    return Table(
        title="Average precision after the last decoder layer",
        columns=(
            "nets",
            "parameters",
            *(f"AP {n}" if n.islower() else n for n in PRECISIONS),
            "found again, of 100",
        ),
        rows=tuple(
            (arm, counts[arm], *(spread([one[-1][name] for one in runs], ".1f") for name in names))
            for arm, runs in layers.items()
        ),
        note="Mean over seeds, lowest to highest in brackets. Small, medium and large are thirds of the shapes' sides, "
        f"by the areas of boxes. Found again: boxes that score over {SURE} and find an object that another finds too.",
    )


def layers_table(runs: Sequence[Layers]) -> Table:
    """Put the decoder layers below one another."""
    rows: list[tuple[Any, ...]] = [
        (
            i + 1,
            *(spread([layers[i][name] for layers in runs], ".1f") for name in ("AP", "AP50", "suppressed")),
            spread(gains(runs, i), ".2f"),
            spread([layers[i]["repeats"] for layers in runs], ".1f"),
        )
        for i in range(len(runs[0]))
    ]
    columns = ("decoder layer", "AP", "AP50", "AP after suppression", "which adds", "found again, of 100")
    return Table(title="DETR's decoder layers", columns=columns, rows=tuple(rows))


def curves(runs: Mapping[str, Sequence[Curve]]) -> Lines:
    """Draw AP against steps."""
    ends = "; ".join(f"{arm}: {spread([curve[-1]['AP'] for curve in seeds], '.1f')}" for arm, seeds in runs.items())
    return Lines(
        id="ap-by-steps",
        title="Average precision while learning",
        caption="COCO's AP on scenes that no net learns from. Compare DETR with nets to which "
        "∅, the prediction that there is no object, weighs as much as any, and with nets without encoder.",
        alt=f"{len(runs)} curves. AP in the end, {ends}.",
        x="training steps",
        y="AP",
        series=tuple(Series.of(arm, seeds, "AP") for arm, seeds in runs.items()),
    )


def by_layer(runs: Sequence[Layers]) -> Lines:
    """Draw AP against the decoder layer, with and without suppression."""
    names = {"as predicted": "AP", "after suppression": "suppressed"}
    means = [[fmean(layers[i][key] for layers in runs) for key in names.values()] for i in range(len(runs[0]))]
    said = "; ".join(f"layer {i}: {plain:.1f} and {after:.1f}" for i, (plain, after) in enumerate(means, start=1))
    return Lines(
        id="ap-by-layer",
        title="What each decoder layer adds, and what suppression would",
        caption="As the paper's Figure 4: every layer of the same nets is asked for its predictions. "
        "Look at the distance between the curves: it is what duplicates cost.",
        alt=f"Mean AP as predicted and after suppression, {said}.",
        x="decoder layer",
        y="AP",
        series=tuple(Series.of(name, runs, key, x="layer") for name, key in names.items()),
    )


def pictures(size: Size, found: Sequence[Sequence[Mapping[str, Any]]]) -> Pictures:
    """Draw some test scenes with what is there and what was found."""
    scenes = test_scenes(size)
    truths = [
        [boxed(box, CLASSES[label], "true") for box, label in zip(boxes.tolist(), true.labels.tolist(), strict=True)]
        for true in scenes.objects()[: len(found)]
        for boxes in [corners(true.boxes) * size.canvas.side]
    ]
    finds = [[boxed(one["box"], f"{one['label']} {one['score']:.2f}", "found") for one in scene] for scene in found]
    counts = ", ".join(f"{len(find)} found where {len(true)} are" for true, find in zip(truths, finds, strict=True))
    return Pictures(
        id="detections",
        title="Test scenes with true and found boxes",
        caption=f"The first test scenes, not chosen. Found boxes score over {SURE} ({PLAIN}, first seed); nothing "
        "is suppressed. Look for shapes that are missed, found twice, or called by another's name.",
        alt=f"{len(found)} scenes of shapes: {counts}.",
        pictures=tuple(
            Picture(title=f"scene {i}", png=png(image), boxes=(*true, *find))
            for i, (image, true, find) in enumerate(zip(scenes.images, truths, finds, strict=False), start=1)
        ),
    )


def boxed(box: Sequence[float], label: str, kind: Any) -> Box:
    """Make a box to draw."""
    left, top, right, bottom = box
    return Box(left=left, top=top, right=right, bottom=bottom, label=label, kind=kind)


def png(image: Float[Tensor, "3 side side"]) -> str:
    """Write a scene as PNG in Base64; of 64 colours, since noise does not compress."""
    pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    return encoded(Image.fromarray(pixels).quantize(64))


def attention(seen_by: Mapping[str, Any]) -> Heatmap:
    """Draw where the surest query of the shown scenes looks."""
    weights, side = seen_by["weights"], seen_by["side"]
    left, top, right, bottom = seen_by["box"]
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
        title=f"Where a query looks on scene {seen_by['scene'] + 1}",
        caption=f"The last decoder layer's weights on the cells of the feature map, a mean over heads, of the query "
        f"that finds: {seen_by['label']}, score {seen_by['score']:.2f}, from ({left:.0f}, {top:.0f}) to ({right:.0f}, "
        f"{bottom:.0f}). Compare the bright cells with the edges of that box in the picture.",
        alt=f"{len(weights)} by {len(weights)} cells. Those with their centre in the box hold {100 * inside:.0f}% of "
        f"the weight, the brightest cell {100 * max(map(max, weights)):.0f}%.",
        rows=names,
        columns=names,
        x="pixels from the left",
        y="pixels from the top",
        values=tuple(map(tuple, weights)),
    )
