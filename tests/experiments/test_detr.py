"""The criteria, the loss on shares of a batch, and the NMS of the DETR experiment."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from quaere.content.results import Outcome
from reference_impl.detr import DETR, Detections, Predictions, ResNet, Targets, box_cxcywh_to_xyxy, total_loss
from reference_impl.experiments import detr
from reference_impl.experiments.detr import NO_ENCODER, PLAIN, SIZES
from reference_impl.experiments.scenes import CLASSES, to_targets
from reference_impl.experiments.training import TrainingLoop

SIZE = replace(SIZES["smoke"], batch_size=7)
YES, PARTLY, NO, NO_VERDICT = Outcome.YES, Outcome.PARTLY, Outcome.NO, Outcome.NO_VERDICT


def layers(*values: tuple[float, float]) -> list[dict[str, float]]:
    return [
        {"AP": float(ap), "AP50": float(ap), "AP after NMS": float(after), "duplicates": 0.0} for ap, after in values
    ]


def tiny() -> DETR:
    torch.manual_seed(0)
    return DETR(len(CLASSES), SIZE.num_queries, 16, 2, 32, 2, 0.0, ResNet((1, 1), 4, frozen_layers=0))


# The loss


def gradient(model: DETR, loss: Any) -> torch.Tensor:
    model.zero_grad()
    loss.backward()
    return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])


@pytest.mark.parametrize("eos_coef", [0.1, 1.0])
def test_shares_add_up_to_the_gradient_of_the_whole_batch(eos_coef: float) -> None:
    model, batch = tiny(), detr.sample_batch(SIZE, torch.Generator().manual_seed(3))
    images, labels, boxes, valid, _ = batch
    counts = valid.sum(dim=1)
    assert counts[:5].float().mean() != counts[5:].float().mean()  # otherwise the shares' weights would agree anyhow
    whole = gradient(model, total_loss(model(images), to_targets(labels, boxes, valid), eos_coef))
    loss = detr.build_loss(eos_coef, SIZE.num_queries)
    parts = [loss(model, *(tensor[rows] for tensor in batch)) for rows in (slice(0, 5), slice(5, 7))]
    joined = gradient(model, sum(total for total, _ in parts) / float(sum(count for _, count in parts)))
    torch.testing.assert_close(joined, whole, rtol=1e-4, atol=1e-6)


def test_in_one_process_the_loss_is_the_modules_own() -> None:
    model, batch = tiny(), detr.sample_batch(SIZE, torch.Generator().manual_seed(3))
    total, count = detr.build_loss(0.1, SIZE.num_queries)(model, *batch)
    own = total_loss(model(batch[0]), to_targets(*batch[1:4]), 0.1)
    torch.testing.assert_close(total / count, own)


def test_the_target_of_a_cell_is_the_last_box_that_contains_its_center() -> None:
    labels, valid = torch.tensor([[2, 1, 0]]), torch.tensor([[True, True, False]])
    boxes = torch.tensor([[[0.25, 0.5, 0.5, 1.0], [0.25, 0.25, 0.5, 0.5], [0.75, 0.5, 0.5, 1.0]]])
    label, box = detr.cell_targets(labels, boxes, valid, side=2)
    none = len(CLASSES)
    assert label.tolist() == [[1, none, 2, none]]  # row by row; the third box is not valid
    assert torch.equal(box[0, 0], boxes[0, 1])
    assert torch.equal(box[0, 2], boxes[0, 0])


# The data and the models


def test_no_step_of_training_draws_from_the_seed_of_the_test(tmp_path: Path) -> None:
    seeds = []

    def noted(generator: torch.Generator) -> Any:
        seeds.append(generator.initial_seed())
        return detr.sample_batch(SIZE, generator)

    training = replace(detr.build_backbone_training(SIZE, tmp_path / "backbone.pt"), batch=noted)
    TrainingLoop(training, 2_000, "cpu").step(SIZES["full"].steps - 1)
    assert 0 < seeds[0] < detr.TEST_SEED < 2**32  # so are all before, and those of lower seeds


def test_models_of_all_arms_have_the_same_initial_weights_and_the_pretrained_backbone(tmp_path: Path) -> None:
    file = tmp_path / "backbone.pt"
    training = TrainingLoop(detr.build_backbone_training(replace(SIZE, backbone_steps=1), file), 5, "cpu")
    training.step(0)
    assert training.result()["curve"][-1]["accuracy"] >= 0
    states = [
        TrainingLoop(detr.build_training(SIZE, file, arm), 1, "cpu").model.state_dict() for arm in detr.ARMS.values()
    ]
    assert all(torch.equal(states[0][name], state[name]) for state in states for name in state)
    assert [any(name.startswith("encoder") for name in state) for state in states] == [True, False]
    for name, numbers in training.model.get_submodule("backbone").state_dict().items():
        assert torch.equal(states[0][f"backbone.{name}"], numbers)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_every_size_has_the_layers_that_it_says(size: detr.Size, tmp_path: Path) -> None:
    file = tmp_path / "backbone.pt"
    size = replace(size, depths=(1,), width=4)
    torch.save(ResNet(size.depths, size.width).state_dict(), file)
    model = detr.build_detr(size, file)
    assert (len(model.encoder), len(model.decoder)) == (size.encoder, size.decoder)
    assert size.num_queries >= size.canvas.max_objects


def test_calibrated_norms_have_mean_0_and_variance_1() -> None:
    torch.manual_seed(0)
    backbone, images = ResNet((1,), 4), 3 + 2 * torch.randn(8, 3, 32, 32)
    detr.calibrate_batch_norm(backbone, images)
    normed = backbone[1](backbone[0](images))
    torch.testing.assert_close(normed.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(normed.var(dim=(0, 2, 3)), torch.ones(4), atol=1e-3, rtol=0)


# Evaluation


def detections(*rows: tuple[float, int, tuple[float, ...]]) -> Detections:
    scores, labels, boxes = zip(*rows, strict=True)
    return Detections(torch.tensor(scores), torch.tensor(labels), torch.tensor(boxes))


BOX, NEAR, FAR = (0.0, 0.0, 10.0, 10.0), (1.0, 0.0, 11.0, 10.0), (6.0, 0.0, 16.0, 10.0)


def test_nms_keeps_the_best_box_of_each_class_and_place() -> None:
    kept = detr.non_maximum_suppression(detections((0.5, 0, BOX), (0.9, 0, NEAR), (0.4, 1, BOX), (0.3, 0, FAR)))
    torch.testing.assert_close(kept.scores, torch.tensor([0.9, 0.4, 0.3]))
    assert kept.labels.tolist() == [0, 1, 0]


def test_suppressed_boxes_suppress_nothing() -> None:
    chain = detections((0.9, 0, BOX), (0.8, 0, (3.0, 0.0, 13.0, 10.0)), (0.7, 0, (6.0, 0.0, 16.0, 10.0)))
    torch.testing.assert_close(detr.non_maximum_suppression(chain).scores, torch.tensor([0.9, 0.7]))


def test_a_duplicate_is_a_second_confident_box_of_an_objects_class() -> None:
    true = Targets(torch.tensor([0]), torch.tensor([[0.25, 0.25, 0.5, 0.5]]))
    assert torch.equal(box_cxcywh_to_xyxy(true.boxes) * 20, torch.tensor([BOX]))
    assert (
        detr.count_duplicates(true, detections((0.9, 0, BOX), (0.6, 0, NEAR), (0.9, 1, NEAR), (0.9, 0, FAR)), 20) == 0
    )
    assert detr.count_duplicates(true, detections((0.9, 0, BOX), (0.8, 0, NEAR), (0.8, 0, BOX)), 20) == 2


def test_the_attention_weights_shown_are_those_of_the_best_query() -> None:
    model, scenes = tiny().eval(), detr.test_scenes(SIZE)
    with torch.no_grad():
        seen = detr.probe_attention(model, scenes.images[0], SIZE)
        said: Predictions = detr.predict(model, scenes.images[:1])[-1]
    scores = said.logits[0].softmax(dim=1)[:, :-1].amax(dim=1)
    side = SIZE.canvas.image_size
    assert seen["score"] == pytest.approx(scores.max().item())
    torch.testing.assert_close(torch.tensor(seen["box"]), box_cxcywh_to_xyxy(said.boxes[0, scores.argmax()]) * side)
    assert torch.tensor(seen["weights"]).shape == (4, 4)
    assert torch.tensor(seen["weights"]).sum().item() == pytest.approx(1.0)


# Findings


def curve(*values: float) -> list[dict[str, Any]]:
    return [{"step": 10 * (i + 1), "AP": float(ap)} for i, ap in enumerate(values)]


LEVEL, RISING = curve(0, 30, 50, 60, 60, 60, 60, 60, 60), curve(0, 10, 20, 30, 40, 50, 60, 70, 80)


def gates_by(ap50: list[float], other: list[dict[str, Any]]) -> list[bool]:
    runs = [[{"AP50": 0.0}, {"AP50": value}] for value in ap50]
    bad = [[{"AP50": 0.0}, {"AP50": 1.0}]] * len(ap50)
    learning = {PLAIN: [LEVEL] * len(ap50), NO_ENCODER: [other] * len(ap50)}
    found = detr.learned_and_converged({PLAIN: runs, NO_ENCODER: bad}, learning, (PLAIN, NO_ENCODER))
    return [gate.is_met for gate in found]


def test_a_verdict_needs_a_detector_that_has_learned_curves_that_have_leveled_off_and_three_seeds() -> None:
    assert gates_by([80.0, 90.0, 85.0], LEVEL) == [True, True, True]
    assert gates_by([80.0, 69.0, 85.0], LEVEL) == [False, True, True]
    assert gates_by([80.0, 90.0, 85.0], RISING) == [True, False, True]
    assert gates_by([80.0, 90.0], LEVEL) == [True, True, False]


@pytest.mark.parametrize(
    ("seeds", "outcome"),
    [
        ([(10, 12, 14), (11, 13, 15)], YES),
        ([(10, 15, 16), (11, 13, 12.5)], PARTLY),  # the mean rises after every layer, and not with each seed
        ([(10, 12, 9), (11, 14, 20)], NO),  # the mean is higher after the last, and not with each seed
        ([(10, 12, 9), (11, 13, 11)], NO),
    ],
)
def test_layers_are_judged(seeds: list[tuple[float, ...]], outcome: Outcome) -> None:
    finding = detr.judge_layers([layers(*((ap, ap) for ap in seed)) for seed in seeds], "scenes", ())
    assert finding.outcome is outcome
    assert finding.quantities[0].arms["layer 3"] == tuple(seed[2] for seed in seeds)


@pytest.mark.parametrize(
    ("first", "last", "outcome"),
    [
        ((1.0, 2.0), (-0.2, -0.1), YES),
        ((1.0, 2.0), (-0.2, 0.1), PARTLY),  # still helps after the last with a seed
        ((1.0, 2.0), (1.1, 0.2), NO),  # with a seed, helps more after the last
        ((-0.1, 2.0), (-0.3, -0.2), NO),  # does not help after the first with each seed
        ((0.1, 0.1), (0.2, 0.3), NO),
        ((-0.1, -0.1), (-0.2, -0.2), NO),
    ],
)
def test_duplicates_are_judged(first: tuple[float, ...], last: tuple[float, ...], outcome: Outcome) -> None:
    runs = [layers((10, 10 + one), (20, 20 + other)) for one, other in zip(first, last, strict=True)]
    assert detr.judge_duplicates(runs, 3, "scenes", ()).outcome is outcome
    assert detr.judge_duplicates(runs, 0, "scenes", ()).outcome is NO_VERDICT


def test_objects_that_nms_confuses_are_of_one_class_and_overlap_by_half() -> None:
    near = torch.tensor([[0.5, 0.5, 0.4, 0.4], [0.6, 0.5, 0.4, 0.4], [0.8, 0.5, 0.4, 0.4]])  # IoU 0.6, 0.14, 1 / 3
    count = detr.count_confusable
    assert count([Targets(torch.tensor([1, 1, 1]), near)]) == 1
    assert count([Targets(torch.tensor([1, 2, 1]), near)]) == 0
    assert count([Targets(torch.tensor([1, 1, 1]), near)] * 2) == 2


@pytest.mark.parametrize(
    ("without", "outcome"),
    [
        ([(30, 29, 25), (31, 30, 24)], YES),
        ([(30, 15, 29), (31, 15, 29)], PARTLY),  # most is lost on small objects
        ([(30, 29, 10), (31, 10, 24)], PARTLY),  # with one seed, though not in the mean
        ([(30, 29, 25), (31, 38, 46)], PARTLY),  # with one seed, on medium ones
        ([(39.5, 29, 25), (22, 30, 24)], NO),  # with each seed, and not below every seed with one
        ([(42, 34, 25), (31, 34, 24)], NO),  # the mean falls, and not with each seed
        ([(45, 34, 25), (41, 34, 24)], NO),
    ],
)
def test_the_encoder_is_judged_where_objects_are_large(without: list[tuple[float, ...]], outcome: Outcome) -> None:
    def run(ap: float, small: float, large: float) -> list[dict[str, float]]:
        return [{"AP": 0.0}, {"AP": float(ap), "small": float(small), "medium": 35.0, "large": float(large)}]

    arms = {PLAIN: [run(40, 35, 45), run(39, 35, 45)], NO_ENCODER: [run(*values) for values in without]}
    finding = detr.judge_encoder(arms, 3.1, "scenes", ())
    assert finding.outcome is outcome
    assert finding.quantities[1].arms["large objects"] == tuple(45 - large for _, _, large in without)
    assert detr.judge_encoder(arms, 3.0, "scenes", ()).outcome is NO_VERDICT


@pytest.mark.parametrize("size", ["smoke", "small", "full"])
def test_a_cell_of_the_feature_map_is_as_wide_as_the_size_says(size: str) -> None:
    one = SIZES[size]
    images = torch.zeros(1, 3, one.canvas.image_size, one.canvas.image_size)
    assert ResNet(one.depths, 4)(images).shape[-1] * one.stride == one.canvas.image_size


def test_every_claim_of_the_card_is_judged_or_has_no_experiment() -> None:
    card = yaml.safe_load((Path(__file__).parents[2] / "papers" / "detr.yml").read_text(encoding="utf-8"))
    judged = {"decoder-layers", "duplicates", "encoder"}
    rest = {finding.claim for finding in detr.NO_EXPERIMENT}
    assert {claim["id"] for claim in card["claims"]} == judged | rest
    assert not judged & rest
