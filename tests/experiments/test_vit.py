"""The data, models, gates and criteria of the ViT experiment."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from quaere.content.results import Finding, Outcome
from reference_impl.experiments import vit
from reference_impl.experiments.scenes import CLASSES, draw_scenes
from reference_impl.experiments.training import count_parameters
from reference_impl.experiments.vit import (
    CONVNET,
    DIGITS,
    FONTS,
    LEARNING_RATES,
    LETTERS,
    NO_POSITIONS,
    SIZES,
    VIT,
    Characters,
    build_model,
    draw_characters,
    encode_png,
    fit_least_squares,
    gates_of,
    held_out_images,
    judge_inductive_bias,
    judge_overtaking,
    judge_position_similarity,
    judge_positions,
    judge_small_data,
    pretraining_helps,
    render_glyphs,
    sample_training_set,
    similarity_distance_correlation,
    warmup_schedule,
)

YES, PARTLY, NO, NO_VERDICT = Outcome.YES, Outcome.PARTLY, Outcome.NO, Outcome.NO_VERDICT


def unmet(finding: Finding) -> list[str]:
    return [gate.needs for gate in finding.gates if not gate.is_met]


# Data


def test_each_character_is_whole_and_another_in_every_font() -> None:
    glyphs = render_glyphs(DIGITS + LETTERS, 12)
    assert glyphs.shape == (36, len(FONTS), 12, 12)
    ink = glyphs.flatten(2).sum(dim=2)
    assert ink.min() > 3
    edges = torch.cat([glyphs[..., 0, :], glyphs[..., -1, :], glyphs[..., 0], glyphs[..., -1]], dim=-1)
    assert edges[:10].amax() < 0.5, "a digit is cut off"
    assert len(glyphs.reshape(-1, 144).unique(dim=0)) == 36 * len(FONTS)


def test_larger_training_sets_contain_the_smaller_ones_and_all_images_are_distinct() -> None:
    few, many = sample_training_set(50, 1, 12), sample_training_set(1_200, 1, 12)
    assert torch.equal(many.images[:50], few.images)
    assert torch.equal(many.labels[:50], few.labels)
    assert not torch.equal(sample_training_set(50, 2, 12).images, few.images)
    validation, test = (held_out_images(DIGITS, seed, 12) for seed in (vit.VALIDATION_SEED, vit.TEST_SEED))
    pixels = torch.cat([many.images, validation.images, test.images]).flatten(1)
    assert len(pixels.unique(dim=0)) == len(pixels)


def test_an_image_has_the_character_that_its_label_says() -> None:
    drawn = draw_characters(300, torch.Generator().manual_seed(0), 12)
    means = render_glyphs(DIGITS, 12).mean(dim=1).flatten(1)
    nearest = torch.cdist(torch.nn.functional.normalize(drawn.images.flatten(1)), torch.nn.functional.normalize(means))
    right = (nearest.argmin(dim=1) == drawn.labels).float().mean()
    assert right > 0.4  # chance is 0.1
    assert set(drawn.labels.tolist()) == set(range(10))


def test_a_shift_moves_pixels_and_pads_with_blank_ones() -> None:
    image = torch.arange(1.0, 65).reshape(1, 1, 8, 8)
    shifted = Characters(image, torch.tensor([3])).shift(down=2, across=-1).images
    assert torch.equal(shifted[..., 2:, :-1], image[..., :-2, 1:])
    assert shifted[..., :2, :].count_nonzero() == shifted[..., -1].count_nonzero() == 0


def test_a_scene_has_one_shape_of_the_class_that_its_label_says() -> None:
    images, labels = vit.sample_scenes(200, torch.Generator().manual_seed(0))
    scenes = draw_scenes(200, torch.Generator().manual_seed(0), vit.SCENES)
    assert torch.equal(images, scenes.images)
    assert [target.labels.tolist() for target in scenes.targets()] == labels[:, None].tolist()
    assert set(labels.tolist()) == set(range(len(CLASSES)))


# Models


@pytest.mark.parametrize("size", ["small", "gpu"])
def test_the_models_numbers_of_parameters_differ_by_less_than_ten_percent(size: str) -> None:
    with torch.device("meta"):
        counts = {arm: count_parameters(build_model(arm, SIZES[size])) for arm in (VIT, NO_POSITIONS, CONVNET)}
    assert max(counts.values()) < 1.1 * min(counts.values()), counts


def test_without_positions_the_order_of_patches_does_not_matter() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 1, 12, 12)
    moved = image.roll(3, 3)  # by a whole patch
    for arm, alike in ((NO_POSITIONS, True), (VIT, False)):
        model: Any = build_model(arm, SIZES["smoke"])
        torch.nn.init.normal_(model.head[-1].weight)
        assert model.position_embeddings.table.requires_grad is not alike
        assert torch.allclose(model(image), model(moved), atol=1e-5) is alike


def test_the_representation_is_what_the_last_layer_reads() -> None:
    images = torch.rand(4, 1, 12, 12)
    for arm in (VIT, CONVNET):
        model: Any = build_model(arm, SIZES["smoke"]).eval()
        last = model.head if arm == VIT else model[-1]
        for weight in last.parameters():
            torch.nn.init.normal_(weight)
        torch.testing.assert_close(last(vit.representation(model, images)), model(images))


def test_the_learning_rate_warms_up_and_stays() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    rate, rates = warmup_schedule(optimizer, steps=4), []
    for _ in range(6):
        rates.append(rate.get_last_lr()[0])
        optimizer.step()
        rate.step()
    assert rates == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_least_squares_find_classes_that_are_linear_in_the_features_whatever_their_scale() -> None:
    torch.manual_seed(0)
    centers, labels = torch.randn(3, 8), torch.arange(3).repeat(20)
    x, given = (100 + 1000 * (centers[labels] + 0.05 * torch.randn(60, 8)) for _ in range(2))
    assert torch.equal(fit_least_squares(x, labels, given).argmax(dim=1), labels)


# Findings

Sweep = dict[int, list[float]]
TEST = {VIT: {100: [0.3, 0.3], 800: [0.9, 0.9]}, CONVNET: {100: [0.8, 0.8], 800: [0.95, 0.95]}}


def curves_of(end: float = 0.9) -> list[list[Mapping[str, float]]]:
    """Return learning curves of three seeds that have converged if they end at 0.9."""
    return [[{"step": i, "validation": v} for i, v in enumerate((0.1, 0.5, 0.8, 0.9, 0.9, 0.9, 0.9, end, end))]] * 3


def gates_by(accuracy: float = 0.9, end: float = 0.9, seeds: int = 3, rate: float = 0.001) -> list[bool]:
    held_out = {arm: {100: [0.9] * seeds, 800: [accuracy] * seeds} for arm in (VIT, CONVNET)}
    curves = {arm: {100: curves_of(), 800: curves_of(end)} for arm in (VIT, CONVNET)}
    rates = {VIT: 0.002, CONVNET: rate, NO_POSITIONS: max(LEARNING_RATES)}
    return [gate.is_met for gate in gates_of(held_out, curves, rates, (VIT, CONVNET), (100, 800))]


def test_a_verdict_needs_models_that_learned_and_converged_tuned_rates_and_three_seeds() -> None:
    assert gates_by() == [True, True, True, True]
    assert gates_by(accuracy=0.11) == [False, True, True, True]
    assert gates_by(end=1.5) == [True, False, True, True]
    assert gates_by(rate=max(LEARNING_RATES)) == [True, True, False, True]
    assert gates_by(seeds=2) == [True, True, True, False]


def test_few_shot_accuracy_has_to_be_above_that_of_untrained_models() -> None:
    few_shot = {VIT: {800: [0.5, 0.5]}, CONVNET: {800: [0.6, 0.6]}}
    assert pretraining_helps(few_shot, {VIT: [0.1, 0.1], CONVNET: [0.5, 0.4]}).is_met
    assert not pretraining_helps(few_shot, {VIT: [0.1, 0.1], CONVNET: [0.5, 0.7]}).is_met
    assert not pretraining_helps(few_shot, {VIT: [0.1, 0.6], CONVNET: [0.5, 0.5]}).is_met


@pytest.mark.parametrize(
    ("accuracies", "outcome"),
    [
        ({100: [0.4, 0.5], 800: [0.85, 0.85]}, YES),
        ({100: [0.4, 0.5], 800: [0.7, 0.75]}, PARTLY),  # the gap does not halve
        ({100: [0.4, 0.68], 800: [0.85, 0.83]}, PARTLY),  # it does with one seed only
        ({100: [0.4, 0.68], 800: [0.6, 0.7]}, NO),  # it shrinks with one seed only
        ({100: [0.4, 0.75], 800: [0.89, 0.89]}, NO),  # no lead of every ConvNet
    ],
)
def test_small_data_is_judged_by_who_leads_and_whether_the_gap_closes(accuracies: Sweep, outcome: Outcome) -> None:
    few_shot = {VIT: accuracies, CONVNET: {100: [0.7, 0.8], 800: [0.9, 0.9]}}
    assert judge_small_data(few_shot, TEST, "digits", ()).outcome is outcome


def test_a_gap_that_closes_at_perfection_is_not_judged() -> None:
    few_shot = {VIT: {100: [0.4, 0.5], 800: [0.95, 0.95]}, CONVNET: {100: [0.7, 0.8], 800: [0.94, 0.96]}}
    found = judge_small_data(few_shot, TEST, "digits", ())
    assert found.outcome is NO_VERDICT
    assert "near perfect" in found.needed


def test_overtaking_is_judged_on_the_most_images() -> None:
    convnet = {100: [0.5, 0.5], 900: [0.8, 0.9]}
    held_out = {VIT: convnet, CONVNET: convnet}
    for most, outcome in (([0.91, 0.95], YES), ([0.85, 0.91], PARTLY), ([0.89, 0.88], NO)):
        few_shot = {VIT: {100: [0.3, 0.4], 900: most}, CONVNET: convnet}
        assert judge_overtaking(few_shot, held_out, 900, "digits", ()).outcome is outcome


def test_overtaking_is_not_judged_without_a_lead_to_lose_or_on_few_images() -> None:
    def judged(least: Sequence[float], most: int) -> Finding:
        few_shot: dict[str, Mapping[Any, Sequence[float]]] = {
            VIT: {100: least, most: [0.9, 0.9]},
            CONVNET: {100: [0.5, 0.5], most: [0.8, 0.8]},
        }
        return judge_overtaking(few_shot, few_shot, 900, "digits", ())

    assert judged([0.3, 0.4], 900).outcome is YES
    (lead,) = unmet(judged([0.3, 0.5], 900))
    assert "leads on the fewest images, 100" in lead
    (images,) = unmet(judged([0.3, 0.4], 899))
    assert "as many as a training draws" in images


@pytest.mark.parametrize("name", ["small", "gpu"])
def test_the_most_images_are_no_fewer_than_a_training_draws(name: str) -> None:
    size = vit.SIZES[name]
    assert max(size.images) >= size.steps * size.batch_size


def test_inductive_bias_is_judged_by_the_accuracy_lost_to_a_shift() -> None:
    test = {VIT: [0.7, 0.7], CONVNET: [0.9, 0.9]}
    for moved, convnet, outcome in (
        ([0.2, 0.3], [0.8, 0.7], YES),
        ([0.55, 0.45], [0.8, 0.7], PARTLY),
        ([0.2, 0.55], [0.8, 0.7], NO),
        ([0.69, 0.68], [0.7, 0.7], NO),
    ):
        by_two = {VIT: [0.0, 0.0], CONVNET: [0.0, 0.0]}
        assert judge_inductive_bias(test, [{VIT: moved, CONVNET: convnet}, by_two], "digits", ()).outcome is outcome


def test_positions_are_judged_with_and_without() -> None:
    for without, outcome in (([0.6, 0.7], YES), ([0.6, 0.85], PARTLY), ([0.95, 0.6], NO)):
        accuracies = {VIT: [0.8, 0.9], NO_POSITIONS: without}
        even = {VIT: [0.5, 0.5], NO_POSITIONS: [0.5, 0.5]}
        assert judge_positions(accuracies, even, "digits", ()).outcome is outcome


def test_similarity_that_falls_with_distance_in_the_image_is_found() -> None:
    places = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0))
    near = -torch.cdist(places, places)
    in_a_row = -torch.cdist(torch.arange(16.0)[:, None], torch.arange(16.0)[:, None])
    assert similarity_distance_correlation(near) == pytest.approx(-1, abs=1e-5)
    assert -1 < similarity_distance_correlation(in_a_row) < -0.5


def test_position_similarity_is_judged_where_the_task_was_learned() -> None:
    for found, outcome in (([-0.5, -0.4, -0.6], YES), ([-0.6, -0.1, -0.6], PARTLY), ([-0.5, 0.1, -0.6], NO)):
        assert judge_position_similarity(found, curves_of(), "scenes").outcome is outcome
    low = [[{**point, "validation": point["validation"] / 2} for point in curve] for curve in curves_of()]
    for curves, needs in ((low, "above four of five"), (curves_of(1.5), "converged"), (curves_of()[:2], "3 seeds")):
        (failed,) = unmet(judge_position_similarity([-0.5] * len(curves), curves, "scenes"))
        assert needs in failed


def test_every_claim_of_the_card_is_judged_or_has_no_experiment() -> None:
    card = yaml.safe_load((Path(__file__).parents[2] / "papers" / "vit.yml").read_text(encoding="utf-8"))
    judged = {"small-data", "overtakes", "inductive-bias", "positions", "position-likeness"}
    rest = {finding.claim for finding in vit.NO_EXPERIMENT}
    assert {claim["id"] for claim in card["claims"]} == judged | rest
    assert not judged & rest


def test_a_png_has_the_pixels_of_its_image() -> None:
    pixels = torch.tensor([[0.0, 1.0], [0.5, 0.25]])
    image = Image.open(io.BytesIO(base64.b64decode(encode_png(pixels))))
    assert image.size == (24, 24)
    assert [image.getpixel(place) for place in ((0, 0), (23, 0), (0, 23), (23, 23))] == [0, 255, 127, 63]
