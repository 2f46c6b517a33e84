"""A synthetic detection dataset: images ("scenes") of colored shapes, generated in batches, with tight boxes.

A scene has a dark, noisy background and up to `max_objects` discs, squares, triangles and crosses in six colors, which
are independent of the class. Shapes may overlap by no more than a fraction of the smaller one's box; later shapes cover
earlier ones.

Axes: $b$ scenes, $k$ slots for objects (not all of which are used), then pixels. A box is (center x, center y, width,
height) as fractions of the scene's size, as in `reference_impl.detr`.
"""

import contextlib
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from reference_impl.detr import Detections, Targets, box_cxcywh_to_xyxy, box_intersection_and_union

CLASSES = ("disc", "square", "triangle", "cross")
COLORS = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=torch.float32)
MAX_TRIES = 6


@dataclass(frozen=True)
class Canvas:
    """The options of the scenes; lengths are in pixels.

    Attributes:
        image_size: The side of a scene, which is square.
        max_objects: The largest number of objects in a scene; the number is uniform from 1 to it.
        min_size: The side of the smallest shape.
        max_size: The side of the largest shape.
        max_overlap: The largest allowed intersection of two boxes, as a fraction of the smaller box.
        noise: The amplitude of the uniform noise that is added to the pixels.
    """

    image_size: int = 48
    max_objects: int = 8
    min_size: int = 9
    max_size: int = 20
    max_overlap: float = 0.25
    noise: float = 0.1


@dataclass(frozen=True)
class Scenes:
    """A batch of scenes with their objects, in slots of which only the valid ones are used."""

    images: Float[Tensor, "b 3 side side"]
    labels: Int[Tensor, "b k"]
    boxes: Float[Tensor, "b k 4"]
    valid: Bool[Tensor, "b k"]

    def targets(self) -> list[Targets]:
        """Return the ground truth of each scene."""
        return to_targets(self.labels, self.boxes, self.valid)


def to_targets(labels: Int[Tensor, "b k"], boxes: Float[Tensor, "b k 4"], valid: Bool[Tensor, "b k"]) -> list[Targets]:
    """Return the ground truth of each scene, without the unused slots."""
    return [Targets(label[used], box[used]) for label, box, used in zip(labels, boxes, valid, strict=True)]


def draw_scenes(count: int, generator: torch.Generator, canvas: Canvas) -> Scenes:
    """Sample and draw scenes: positions and classes of the shapes, and the pixels."""
    places = _sample_places(count, generator, canvas)
    labels = torch.randint(len(CLASSES), places.shape[:2], generator=generator)
    visible = _visible(_masks(labels, places, canvas.image_size))
    colors, background = _sample_colors(count, generator, canvas), 0.3 * torch.rand(count, 1, 3, generator=generator)
    layers = torch.cat([visible, ~visible.any(dim=1, keepdim=True)], dim=1).flatten(2)
    images = (torch.cat([colors, background], dim=1).mT @ layers.float()).reshape(
        count, 3, canvas.image_size, canvas.image_size
    )
    noise = torch.rand(images.shape, generator=generator) * 2 - 1
    return Scenes(images + canvas.noise * noise, labels, _bounding_boxes(visible), visible.flatten(2).any(dim=2))


def _sample_places(count: int, generator: torch.Generator, canvas: Canvas) -> Float[Tensor, "b k 4"]:
    """Sample (left, top, right, bottom) in pixels by rejection, one slot after another; NaN where a slot is unused."""
    wanted = torch.randint(1, canvas.max_objects + 1, (count,), generator=generator)
    size = canvas.min_size + torch.rand(count, canvas.max_objects, MAX_TRIES, 1, generator=generator) * (
        canvas.max_size - canvas.min_size
    )
    corner = torch.rand(count, canvas.max_objects, MAX_TRIES, 2, generator=generator) * (canvas.image_size - size)
    tries = torch.cat([corner, corner + size], dim=3)
    places = torch.full((count, canvas.max_objects, 4), torch.nan)
    for k in range(canvas.max_objects):
        one, other = tries[:, k, :, None], places[:, None, :k]
        intersection, _ = box_intersection_and_union(one, other)
        smaller = torch.minimum((one[..., 2:] - one[..., :2]).prod(3), (other[..., 2:] - other[..., :2]).prod(3))
        fits = ~(intersection > canvas.max_overlap * smaller).any(dim=2)
        first = tries[torch.arange(count), k, fits.int().argmax(dim=1)]
        used = fits.any(dim=1) & (k < wanted)
        places[:, k] = torch.where(used[:, None], first, torch.nan)
    return places


def _sample_colors(count: int, generator: torch.Generator, canvas: Canvas) -> Float[Tensor, "b k 3"]:
    """Sample a color for each slot: one of six, with a random tint and brightness."""
    hue = torch.randint(len(COLORS), (count, canvas.max_objects), generator=generator)
    tint = torch.rand(count, canvas.max_objects, 3, generator=generator) * 0.25
    brightness = torch.rand(count, canvas.max_objects, 1, generator=generator) * 0.4 + 0.6
    return (COLORS[hue] * 0.75 + tint) * brightness


def _masks(labels: Int[Tensor, "b k"], places: Float[Tensor, "b k 4"], side: int) -> Bool[Tensor, "b k side side"]:
    """Return the mask of the pixels whose centers each shape covers; empty for unused slots."""
    pixel = torch.arange(side) + 0.5
    center, half = (places[..., 2:] + places[..., :2]) / 2, (places[..., 2:] - places[..., :2]) / 2
    across = ((pixel - center[..., :1]) / half[..., :1])[:, :, None, :]
    down = ((pixel - center[..., 1:]) / half[..., 1:])[:, :, :, None]
    inside = (across.abs() <= 1) & (down.abs() <= 1)
    shapes = {
        "disc": across.square() <= 1 - down.square(),
        "square": inside,
        "triangle": across.abs() <= (1 + down) / 2,
        "cross": (across.abs() <= 1 / 3) | (down.abs() <= 1 / 3),
    }
    covered = torch.zeros_like(inside)
    for label, name in enumerate(CLASSES):
        covered |= shapes[name] & (labels == label)[:, :, None, None]
    return covered & inside


def _visible(masks: Bool[Tensor, "b k side side"]) -> Bool[Tensor, "b k side side"]:
    """Return the mask of the visible pixels of each shape: those that no later shape covers."""
    number = torch.arange(1, masks.shape[1] + 1, dtype=torch.int8)[:, None, None]
    return (masks * number).amax(dim=1, keepdim=True) == number


def _bounding_boxes(visible: Bool[Tensor, "b k side side"]) -> Float[Tensor, "b k 4"]:
    """Return the tight boxes around the visible pixels of each shape; zeros if there are none."""
    side, edges = visible.shape[-1], []
    for across in (visible.any(dim=2), visible.any(dim=3)):
        first, last = across.int().argmax(dim=2), side - across.flip(2).int().argmax(dim=2)
        edges.append(torch.stack([(first + last) / 2, last - first], dim=2) / side)
    # Rows are (center, length), columns (x, y): flattened they are (center x, center y, width, height).
    boxes = torch.stack(edges, dim=3).flatten(2)
    return boxes * visible.flatten(2).any(dim=2)[:, :, None]


def area_ranges(canvas: Canvas) -> dict[str, tuple[float, float]]:
    """Return the areas of small, medium and large objects, by thirds of the shapes' sides, in place of COCO's."""
    third = (canvas.max_size - canvas.min_size) / 3
    low, high = (canvas.min_size + third) ** 2, (canvas.min_size + 2 * third) ** 2
    return {"all": (0.0, 1e10), "small": (0.0, low), "medium": (low, high), "large": (high, 1e10)}


def average_precision(targets: Sequence[Targets], detections: Sequence[Detections], canvas: Canvas) -> dict[str, float]:
    """Return COCO's average precisions in percent, as pycocotools computes them: `METRICS`.

    Args:
        targets: The ground truth of each scene.
        detections: The detections on each scene, boxes in pixels.
        canvas: The options of the scenes, which define small and large objects.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        true = COCO()
        true.dataset = _coco_dataset(targets, canvas.image_size)
        true.createIndex()
        rows = [_coco_row(i, box, label) | {"score": score} for i, box, label, score in _flatten(detections)]
        if not rows:
            return dict.fromkeys(METRICS, 0.0)
        coco_eval = COCOeval(true, true.loadRes(rows), "bbox")
        coco_eval.params.areaRng = [list(limits) for limits in area_ranges(canvas).values()]
        coco_eval.evaluate()
        coco_eval.accumulate()
        coco_eval.summarize()
    # pycocotools returns -1 where there is no object of that size.
    return {
        name: 100 * float(value) if value >= 0 else math.nan
        for name, value in zip(METRICS, coco_eval.stats, strict=False)
    }


METRICS = ("AP", "AP50", "AP75", "small", "medium", "large")
"""The first six of `COCOeval.stats`: AP over all IoU thresholds, at 0.5 and 0.75, and of small to large objects."""


def _coco_dataset(targets: Sequence[Targets], side: int) -> Mapping[str, Any]:
    rows = [
        _coco_row(i, box, label)
        for i, target in enumerate(targets)
        for box, label in zip((box_cxcywh_to_xyxy(target.boxes) * side).tolist(), target.labels.tolist(), strict=True)
    ]
    numbered = [row | {"id": number, "iscrowd": 0} for number, row in enumerate(rows, start=1)]
    categories = [{"id": label, "name": name} for label, name in enumerate(CLASSES)]
    return {
        "info": {},
        "images": [{"id": i} for i in range(len(targets))],
        "annotations": numbered,
        "categories": categories,
    }


def _flatten(detections: Sequence[Detections]) -> Iterator[tuple[int, list[float], int, float]]:
    for i, each in enumerate(detections):
        for box, label, score in zip(each.boxes.tolist(), each.labels.tolist(), each.scores.tolist(), strict=True):
            yield i, box, label, score


def _coco_row(image: int, box: Sequence[float], label: int) -> dict[str, Any]:
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    return {"image_id": image, "category_id": label, "bbox": [left, top, width, height], "area": width * height}
