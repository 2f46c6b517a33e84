"""Synthetic scenes: their boxes against their pixels, and pycocotools' metrics of known detections."""

import math

import pytest
import torch

from reference_impl.detr import Detections, Targets, box_cxcywh_to_xyxy
from reference_impl.experiments.scenes import CLASSES, Canvas, Scenes, area_ranges, average_precision, draw_scenes

CANVAS = Canvas(image_size=40, max_objects=6, min_size=8, max_size=16)
COUNT = 40


def sample(seed: int = 0, canvas: Canvas = CANVAS) -> Scenes:
    return draw_scenes(COUNT, torch.Generator().manual_seed(seed), canvas)


def perfect_detections(targets: list[Targets]) -> list[Detections]:
    return [
        Detections(torch.ones(len(target.labels)), target.labels, box_cxcywh_to_xyxy(target.boxes) * CANVAS.image_size)
        for target in targets
    ]


def test_boxes_are_tight_around_each_visible_color() -> None:
    scenes = sample(canvas=Canvas(image_size=40, max_objects=6, min_size=8, max_size=16, noise=0.0))
    for image, true in zip(scenes.images, scenes.targets(), strict=True):
        pixels = image.flatten(1).mT
        colors, owner, counts = pixels.unique(dim=0, return_inverse=True, return_counts=True)
        bounds = set()
        for color in set(range(len(colors))) - {int(counts.argmax())}:  # the ground covers most
            rows, columns = (owner.reshape(40, 40) == color).nonzero().unbind(dim=1)
            bounds.add((int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1))
        assert {tuple(box) for box in (box_cxcywh_to_xyxy(true.boxes) * 40).round().int().tolist()} == bounds


def test_a_shape_is_what_its_label_says() -> None:
    scenes = sample(canvas=Canvas(image_size=40, max_objects=1, min_size=20, max_size=30, noise=0.0))
    for image, true in zip(scenes.images, scenes.targets(), strict=True):
        left, top, right, bottom = (box_cxcywh_to_xyxy(true.boxes[0]) * 40).round().int().tolist()
        patch = image[:, top:bottom, left:right]
        middle = (bottom - top) // 2
        is_ground = (image[:, 0, 0][:, None] if left or top else image[:, -1, -1][:, None]) == patch.flatten(1)
        ground = is_ground.all(dim=0).reshape(bottom - top, right - left)
        corner_is_ground = [bool(ground[0, 0]), bool(ground[-1, 0])]
        expected = {"disc": [True, True], "square": [False, False], "triangle": [True, False], "cross": [True, True]}
        name = CLASSES[int(true.labels[0])]
        assert corner_is_ground == expected[name]
        # A quarter of the way down and across, a disc is filled, and a cross is not.
        assert bool(ground[middle // 2, middle // 2]) == (name in ("cross", "triangle"))


def test_every_number_of_objects_class_and_seed_occurs_and_differs() -> None:
    scenes = sample()
    counts, labels = scenes.valid.sum(dim=1), scenes.labels[scenes.valid]
    assert set(counts.tolist()) == set(range(1, CANVAS.max_objects + 1))
    assert set(labels.tolist()) == set(range(len(CLASSES)))
    assert torch.equal(scenes.images, sample().images)
    assert not torch.equal(scenes.images, sample(seed=1).images)


def test_shapes_overlap_but_no_further_than_allowed() -> None:
    def most(allowed: float) -> float:
        scenes = sample(canvas=Canvas(image_size=40, max_objects=6, min_size=8, max_size=16, max_overlap=allowed))
        box = box_cxcywh_to_xyxy(scenes.boxes)
        shared = (
            torch.minimum(box[:, :, None, 2:], box[:, None, :, 2:])
            - torch.maximum(box[:, :, None, :2], box[:, None, :, :2])
        ).clamp(min=0).prod(dim=3) * ~torch.eye(6, dtype=torch.bool)
        area = (box[..., 2:] - box[..., :2]).prod(dim=2)
        return (shared / torch.minimum(area[:, :, None], area[:, None]).clamp(min=1e-4)).max().item()

    # Edges are rounded to pixels, hence some more than what is asked for.
    assert 0.1 < most(0.25) < 0.45
    assert most(0.9) > 0.5


def test_perfect_detections_score_100_and_none_0() -> None:
    truth = sample().targets()
    assert list(average_precision(truth, perfect_detections(truth), CANVAS).values()) == pytest.approx([100.0] * 6)
    nothing = [Detections(torch.zeros(0), torch.zeros(0, dtype=torch.long), torch.zeros(0, 4)) for _ in truth]
    assert set(average_precision(truth, nothing, CANVAS).values()) == {0.0}


def test_boxes_that_are_too_large_count_at_low_thresholds_only() -> None:
    truth = sample().targets()
    found = [
        Detections(o.scores, o.labels, o.boxes + torch.cat([-b, b], dim=1))
        for o in perfect_detections(truth)
        for b in [(o.boxes[:, 2:] - o.boxes[:, :2]) * 0.1]
    ]
    scores = average_precision(truth, found, CANVAS)
    # Grown by a fifth either way, an IoU is 1 / 1.44 = 0.69: right at 0.50, 0.55, 0.60 and 0.65, four of ten.
    assert scores["AP50"] == pytest.approx(100.0)
    assert scores["AP75"] == 0.0
    assert scores["AP"] == pytest.approx(40.0)


def test_detections_of_a_wrong_class_do_not_count() -> None:
    truth = sample().targets()
    found = [Detections(o.scores, (o.labels + 1) % len(CLASSES), o.boxes) for o in perfect_detections(truth)]
    assert average_precision(truth, found, CANVAS)["AP50"] < 20


def test_the_metric_of_a_size_that_no_object_has_is_nan() -> None:
    truth = [Targets(torch.tensor([0]), torch.tensor([[0.5, 0.5, 0.2, 0.2]]))]
    scores = average_precision(truth, perfect_detections(truth), CANVAS)
    assert scores["small"] == pytest.approx(100.0)
    assert math.isnan(scores["large"])


def test_thirds_of_the_sides_are_small_medium_and_large() -> None:
    limits = area_ranges(Canvas(min_size=9, max_size=21))
    assert limits["small"][1] == limits["medium"][0] == 13**2
    assert limits["medium"][1] == limits["large"][0] == 17**2
