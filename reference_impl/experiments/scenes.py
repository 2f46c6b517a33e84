"""Scenes of shapes to detect: drawn at once for a whole batch, from a generator, with boxes read off the pixels.

A scene has a dim, noisy ground and up to so many discs, squares, triangles and crosses, of any of six colours; the
colour says nothing of the class. A later shape covers an earlier one, by no more than a share of the smaller one's box.

Axes: $b$ scenes, $k$ places for objects (not every one is taken), then pixels. A box is (centre x, centre y, width,
height) in shares of the scene, as in `reference_impl.detr`.
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

from reference_impl.detr import Detections, Objects, corners, intersection_and_union

CLASSES = ("disc", "square", "triangle", "cross")
COLOURS = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=torch.float32)
TRIES = 6


@dataclass(frozen=True)
class Canvas:
    """What scenes look like; lengths are in pixels.

    Attributes:
        side: Of a scene, which is square.
        objects: The most that there are in a scene; their number is drawn evenly from 1 up to it.
        least: The side of the smallest shape.
        most: The side of the largest.
        overlap: The largest share of the smaller of two boxes that both have in common.
        noise: The largest change of a pixel's colour.
    """

    side: int = 48
    objects: int = 8
    least: int = 9
    most: int = 20
    overlap: float = 0.25
    noise: float = 0.1


@dataclass(frozen=True)
class Scenes:
    """A batch of scenes with what is in them, in places of which only the real ones are taken."""

    images: Float[Tensor, "b 3 side side"]
    labels: Int[Tensor, "b k"]
    boxes: Float[Tensor, "b k 4"]
    real: Bool[Tensor, "b k"]

    def objects(self) -> list[Objects]:
        """Return what is in each scene."""
        return objects(self.labels, self.boxes, self.real)


def objects(labels: Int[Tensor, "b k"], boxes: Float[Tensor, "b k 4"], real: Bool[Tensor, "b k"]) -> list[Objects]:
    """Return what is in each scene, without the places that are not taken."""
    rows = zip(labels, boxes, real, strict=True)
    return [Objects(label[taken], box[taken]) for label, box, taken in rows]


def draw(count: int, generator: torch.Generator, canvas: Canvas) -> Scenes:
    """Draw scenes: where shapes stand, which they are, and their pixels."""
    places = _places(count, generator, canvas)
    labels = torch.randint(len(CLASSES), places.shape[:2], generator=generator)
    seen = _seen(_masks(labels, places, canvas.side))
    colours = torch.cat([_colours(count, generator, canvas), 0.3 * torch.rand(count, 1, 3, generator=generator)], dim=1)
    shown = torch.cat([seen, ~seen.any(dim=1, keepdim=True)], dim=1).flatten(2)
    images = (colours.mT @ shown.float()).reshape(count, 3, canvas.side, canvas.side)
    noise = torch.rand(images.shape, generator=generator) * 2 - 1
    return Scenes(images + canvas.noise * noise, labels, _bounds(seen), seen.flatten(2).any(dim=2))


def _places(count: int, generator: torch.Generator, canvas: Canvas) -> Float[Tensor, "b k 4"]:
    """Draw (left, top, right, bottom) in pixels one after another, apart from the earlier ones; NaN if not taken."""
    wanted = torch.randint(1, canvas.objects + 1, (count,), generator=generator)
    size = canvas.least + torch.rand(count, canvas.objects, TRIES, 1, generator=generator) * (
        canvas.most - canvas.least
    )
    corner = torch.rand(count, canvas.objects, TRIES, 2, generator=generator) * (canvas.side - size)
    tried = torch.cat([corner, corner + size], dim=3)
    taken = torch.full((count, canvas.objects, 4), torch.nan)
    for k in range(canvas.objects):
        one, other = tried[:, k, :, None], taken[:, None, :k]
        shared, _ = intersection_and_union(one, other)
        smaller = torch.minimum((one[..., 2:] - one[..., :2]).prod(3), (other[..., 2:] - other[..., :2]).prod(3))
        fits = ~(shared > canvas.overlap * smaller).any(dim=2)
        first = tried[torch.arange(count), k, fits.int().argmax(dim=1)]
        placed = fits.any(dim=1) & (k < wanted)
        taken[:, k] = torch.where(placed[:, None], first, torch.nan)
    return taken


def _colours(count: int, generator: torch.Generator, canvas: Canvas) -> Float[Tensor, "b k 3"]:
    """Draw a colour for each place: one of six, tinted and shaded."""
    hue = torch.randint(len(COLOURS), (count, canvas.objects), generator=generator)
    tint = torch.rand(count, canvas.objects, 3, generator=generator) * 0.25
    shade = torch.rand(count, canvas.objects, 1, generator=generator) * 0.4 + 0.6
    return (COLOURS[hue] * 0.75 + tint) * shade


def _masks(labels: Int[Tensor, "b k"], places: Float[Tensor, "b k 4"], side: int) -> Bool[Tensor, "b k side side"]:
    """Tell which pixels each shape covers, by their centres; none if its place is not taken."""
    centre = torch.arange(side) + 0.5
    middle, half = (places[..., 2:] + places[..., :2]) / 2, (places[..., 2:] - places[..., :2]) / 2
    across = ((centre - middle[..., :1]) / half[..., :1])[:, :, None, :]
    down = ((centre - middle[..., 1:]) / half[..., 1:])[:, :, :, None]
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


def _seen(masks: Bool[Tensor, "b k side side"]) -> Bool[Tensor, "b k side side"]:
    """Tell which pixels show which shape: the last that covers them."""
    number = torch.arange(1, masks.shape[1] + 1, dtype=torch.int8)[:, None, None]
    return (masks * number).amax(dim=1, keepdim=True) == number


def _bounds(seen: Bool[Tensor, "b k side side"]) -> Float[Tensor, "b k 4"]:
    """Return the boxes around what is seen of each shape, to the pixel; zeros if nothing is."""
    side, edges = seen.shape[-1], []
    for across in (seen.any(dim=2), seen.any(dim=3)):
        first, last = across.int().argmax(dim=2), side - across.flip(2).int().argmax(dim=2)
        edges.append(torch.stack([(first + last) / 2, last - first], dim=2) / side)
    boxes = torch.stack(edges, dim=3).flatten(2)
    # Rows are (centre, length), columns (across, down): in this order they are a box.
    return boxes * seen.flatten(2).any(dim=2)[:, :, None]


def areas(canvas: Canvas) -> dict[str, tuple[float, float]]:
    """Return which areas are small, medium and large: thirds of the shapes' sides. COCO's are for larger images."""
    third = (canvas.most - canvas.least) / 3
    low, high = (canvas.least + third) ** 2, (canvas.least + 2 * third) ** 2
    return {"all": (0.0, 1e10), "small": (0.0, low), "medium": (low, high), "large": (high, 1e10)}


def average_precision(truth: Sequence[Objects], found: Sequence[Detections], canvas: Canvas) -> dict[str, float]:
    """Return COCO's average precisions, in hundredths: over all thresholds of IoU, at 0.5 and 0.75, and by size.

    pycocotools computes them.

    Args:
        truth: What is in each scene.
        found: What was found there, boxes in pixels.
        canvas: Of the scenes: it says what is small and what is large.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        true = COCO()
        true.dataset = _dataset(truth, canvas.side)
        true.createIndex()
        rows = [_row(i, box, label) | {"score": score} for i, box, label, score in _found(found)]
        if not rows:
            return dict.fromkeys(PRECISIONS, 0.0)
        scored = COCOeval(true, true.loadRes(rows), "bbox")
        scored.params.areaRng = [list(limits) for limits in areas(canvas).values()]
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    # pycocotools says -1 where there is no object of that size.
    return {
        name: 100 * float(value) if value >= 0 else math.nan
        for name, value in zip(PRECISIONS, scored.stats, strict=False)
    }


PRECISIONS = ("AP", "AP50", "AP75", "small", "medium", "large")
"""The first of `COCOeval.stats`, in its order."""


def _dataset(truth: Sequence[Objects], side: int) -> Mapping[str, Any]:
    rows = [
        _row(i, box, label)
        for i, true in enumerate(truth)
        for box, label in zip((corners(true.boxes) * side).tolist(), true.labels.tolist(), strict=True)
    ]
    numbered = [row | {"id": number, "iscrowd": 0} for number, row in enumerate(rows, start=1)]
    categories = [{"id": label, "name": name} for label, name in enumerate(CLASSES)]
    return {
        "info": {},
        "images": [{"id": i} for i in range(len(truth))],
        "annotations": numbered,
        "categories": categories,
    }


def _found(found: Sequence[Detections]) -> Iterator[tuple[int, list[float], int, float]]:
    for i, seen in enumerate(found):
        for box, label, score in zip(seen.boxes.tolist(), seen.labels.tolist(), seen.scores.tolist(), strict=True):
            yield i, box, label, score


def _row(image: int, box: Sequence[float], label: int) -> dict[str, Any]:
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    return {"image_id": image, "category_id": label, "bbox": [left, top, width, height], "area": width * height}
