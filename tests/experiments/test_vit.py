"""The data, models and criteria of the ViT experiment."""

import base64
import io
from typing import Any

import pytest
import torch
from PIL import Image

from quaere.content.results import Outcome
from reference_impl.experiments.training import count_parameters
from reference_impl.experiments.vit import (
    CONVNET,
    NO_POSITIONS,
    SIZES,
    VIT,
    Digits,
    build_model,
    encode_png,
    judge_inductive_bias,
    judge_overtaking,
    judge_position_similarity,
    judge_positions,
    judge_small_data,
    load_splits,
    sample_training_set,
    similarity_distance_correlation,
    warmup_cosine_schedule,
)

YES, PARTLY, NO = Outcome.YES, Outcome.PARTLY, Outcome.NO


def test_no_image_is_in_both_splits():
    pool, test = load_splits()
    assert (len(pool.labels), len(test.labels)) == (1347, 450)
    pixels = torch.cat([pool.images, test.images]).flatten(1)
    assert len(pixels.unique(dim=0)) == len(pixels), "an image is there twice"


def test_larger_training_sets_contain_the_smaller_ones_and_images_keep_their_labels():
    pool, _ = load_splits()
    few, many = sample_training_set(pool, 50, seed=1), sample_training_set(pool, 200, seed=1)
    assert torch.equal(many.images[:50], few.images)
    assert torch.equal(many.labels[:50], few.labels)
    assert not torch.equal(sample_training_set(pool, 50, seed=2).images, few.images)
    known = {tuple(image.flatten().tolist()): int(label) for image, label in zip(pool.images, pool.labels, strict=True)}
    assert [known[tuple(image.flatten().tolist())] for image in few.images] == few.labels.tolist()


def test_a_shift_moves_pixels_and_pads_with_blank_ones():
    image = torch.arange(1.0, 65).reshape(1, 1, 8, 8)
    shifted = Digits(image, torch.tensor([3])).shift(down=2, across=-1).images
    assert torch.equal(shifted[..., 2:, :-1], image[..., :-2, 1:])
    assert shifted[..., :2, :].count_nonzero() == shifted[..., -1].count_nonzero() == 0


@pytest.mark.parametrize("size", ["small", "full"])
def test_the_models_numbers_of_parameters_differ_by_less_than_five_percent(size):
    with torch.device("meta"):
        counts = {arm: count_parameters(build_model(arm, SIZES[size])) for arm in (VIT, NO_POSITIONS, CONVNET)}
    assert max(counts.values()) < 1.05 * min(counts.values()), counts


def test_without_positions_the_order_of_patches_does_not_matter():
    torch.manual_seed(0)
    image = torch.rand(1, 1, 8, 8)
    moved = image.roll(2, 3)  # by a whole patch
    for arm, alike in ((NO_POSITIONS, True), (VIT, False)):
        model: Any = build_model(arm, SIZES["smoke"])
        torch.nn.init.normal_(model.head[-1].weight)
        assert model.position_embeddings.table.requires_grad is not alike
        assert torch.allclose(model(image), model(moved), atol=1e-5) is alike


def test_the_learning_rate_warms_up_and_decays_to_zero():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    rate, rates = warmup_cosine_schedule(optimizer, steps=20), []
    for _ in range(20):
        rates.append(rate.get_last_lr()[0])
        optimizer.step()
        rate.step()
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert 0 < rates[-1] < 0.01
    assert rate.get_last_lr()[0] == pytest.approx(0)


@pytest.mark.parametrize(
    ("vit", "convnet", "outcome"),
    [
        ({50: [0.4, 0.5], 800: [0.95, 0.95]}, {50: [0.7, 0.8], 800: [0.96, 0.98]}, YES),
        # The ConvNet has nothing left to gain: the gap shrinks, and the ratio of errors grows.
        ({50: [0.4, 0.5], 800: [0.9, 0.92]}, {50: [0.7, 0.8], 800: [0.97, 0.99]}, PARTLY),
        ({50: [0.4, 0.5], 800: [0.9, 0.92]}, {50: [0.7, 0.8], 800: [1.0, 1.0]}, PARTLY),
        ({50: [0.4, 0.5], 800: [0.5, 0.6]}, {50: [0.7, 0.8], 800: [0.7, 0.75]}, PARTLY),  # the gap does not halve
        ({50: [0.4, 0.68], 800: [0.9, 0.83]}, {50: [0.7, 0.8], 800: [0.9, 0.9]}, PARTLY),  # it does with one seed only
        ({50: [0.4, 0.5], 800: [0.6, 0.7]}, {50: [0.7, 0.8], 800: [0.9, 1.0]}, NO),  # neither
        ({50: [0.4, 0.75], 800: [0.95, 0.95]}, {50: [0.7, 0.8], 800: [0.96, 0.98]}, NO),  # no lead of every ConvNet
        ({50: [0.8, 0.7], 800: [0.8, 0.8]}, {50: [0.5, 0.5], 800: [0.8, 0.8]}, NO),
    ],
)
def test_small_data_is_judged_by_who_leads_and_whether_the_gap_closes_in_points_and_in_errors(vit, convnet, outcome):
    assert judge_small_data({VIT: vit, CONVNET: convnet}).outcome is outcome


def test_the_gap_is_reported_in_points_and_as_a_ratio_of_errors():
    test = {VIT: {50: [0.4, 0.5], 800: [0.9, 0.92]}, CONVNET: {50: [0.7, 0.8], 800: [1.0, 1.0]}}
    measured = judge_small_data(test).measured
    assert "from scratch" in measured
    assert "from 30.0 (30.0 to 30.0) to 9.0 (8.0 to 10.0) points" in measured
    assert "2.2 times as often" in measured  # 0.55 / 0.25
    assert "∞ times on the most" in measured


def test_overtaking_is_judged_on_the_most_images():
    convnet = {50: [0.5, 0.5], 800: [0.8, 0.9]}
    for most, outcome in (([0.91, 0.95], YES), ([0.85, 0.91], PARTLY), ([0.89, 0.88], NO), ([0.8, 0.85], NO)):
        found = judge_overtaking({VIT: {50: [0.6, 0.6], 800: most}, CONVNET: convnet})
        assert found.outcome is outcome
        assert ("800" in found.measured.partition(" images")[0]) is (sum(most) > sum(convnet[800]))


def test_inductive_bias_is_judged_by_the_accuracy_lost_to_a_shift():
    test = {VIT: {800: [0.7, 0.7]}, CONVNET: {800: [0.9, 0.9]}}
    for vit, convnet, outcome in (
        ([0.2, 0.3], [0.8, 0.7], YES),
        ([0.55, 0.45], [0.8, 0.7], PARTLY),
        ([0.2, 0.55], [0.8, 0.7], NO),
        ([0.69, 0.68], [0.7, 0.7], NO),
    ):
        assert judge_inductive_bias(test, {VIT: {800: vit}, CONVNET: {800: convnet}}).outcome is outcome


def test_positions_are_judged_with_and_without():
    for without, outcome in (([0.6, 0.7], YES), ([0.6, 0.85], PARTLY), ([0.95, 0.6], NO)):
        found = judge_positions({VIT: {800: [0.8, 0.9]}, NO_POSITIONS: {800: without}})
        assert found.outcome is outcome


def test_similarity_that_falls_with_distance_in_the_image_is_found():
    places = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0))
    near = -torch.cdist(places, places)
    in_a_row = -torch.cdist(torch.arange(16.0)[:, None], torch.arange(16.0)[:, None])
    assert similarity_distance_correlation(near) == pytest.approx(-1, abs=1e-5)
    assert -1 < similarity_distance_correlation(in_a_row) < -0.5
    assert [judge_position_similarity(found).outcome for found in ([-0.5, -0.4], [-0.6, -0.1], [-0.5, 0.1])] == [
        YES,
        PARTLY,
        NO,
    ]


def test_a_png_has_the_pixels_of_its_image():
    pixels = torch.tensor([[0.0, 1.0], [0.5, 0.25]])
    image = Image.open(io.BytesIO(base64.b64decode(encode_png(pixels))))
    assert image.size == (24, 24)
    assert [image.getpixel(place) for place in ((0, 0), (23, 0), (0, 23), (23, 23))] == [0, 255, 127, 63]
