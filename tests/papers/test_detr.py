"""DETR against transformers', against matching and positions computed by hand, and against the paper's numbers."""

import copy
import itertools
import math
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig
from transformers.loss import loss_for_object_detection

from reference_impl.checkpoints import load, save
from reference_impl.detr import (
    DETR,
    DecoderLayer,
    EncoderLayer,
    Memory,
    Predictions,
    ResNet,
    Targets,
    box_cxcywh_to_xyxy,
    box_intersection_and_union,
    box_loss,
    build_optimizer,
    generalized_box_iou,
    hungarian_loss,
    hungarian_match,
    pad_images,
    postprocess,
    sine_position_embedding,
    total_loss,
    train_step,
)
from reference_impl.layers.attention import MultiHeadAttention
from reference_impl.layers.positions import sinusoidal_positions
from reference_impl.transformer import FeedForward

CLASSES = 3
their_losses: Any = loss_for_object_detection


def randomize_weights(model: nn.Module) -> nn.Module:
    """Randomize what is initialized to zeros and ones too, statistics among them: such values would hide a fault."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if name.endswith("running_var"):
            nn.init.uniform_(tensor, 0.5, 2.0)
        elif tensor.dim() == 1:
            nn.init.normal_(tensor, mean=0.5, std=0.5)
    return model


def tiny(
    size: tuple[int, int, int, int] = (12, 3, 20, 2), queries: int = 5, dropout: float = 0.0, frozen_layers: int = 0
) -> DETR:
    d_model, heads, d_ff, layers = size
    backbone = ResNet((1, 2, 1, 1), width=2, frozen_layers=frozen_layers)
    model = DETR(CLASSES, queries, d_model, heads, d_ff, layers, dropout, backbone)
    randomize_weights(model)
    return model.eval()


def some_targets(*counts: int) -> list[Targets]:
    return [Targets(torch.randint(CLASSES, (count,)), 0.3 + 0.4 * torch.rand(count, 4)) for count in counts]


def some_predictions(b: int, n: int) -> Predictions:
    return Predictions(2 * torch.randn(b, n, CLASSES + 1), 0.2 + 0.6 * torch.rand(b, n, 4))


# Against transformers


def transformers_own(size: tuple[int, int, int, int], queries: int) -> Any:
    d_model, heads, d_ff, layers = size
    resnet: dict[str, Any] = {"hidden_sizes": [8, 16, 32, 64], "depths": [1, 2, 1, 1], "out_features": ["stage4"]}
    stacks = {"attention_heads": heads, "ffn_dim": d_ff, "layers": layers}
    config: dict[str, Any] = {f"{stack}_{k}": v for stack in ("encoder", "decoder") for k, v in stacks.items()}
    config |= {"backbone_config": ResNetConfig(embedding_size=2, **resnet), "use_timm_backbone": False}
    config |= {"d_model": d_model, "num_queries": queries, "num_labels": CLASSES, "dropout": 0.0}
    model: Any = DetrForObjectDetection(DetrConfig(**config | {"attn_implementation": "eager"}))
    return model.to(torch.get_default_dtype())


def in_transformers_names(ours: str) -> str:
    """Rename one of our tensors as it is called in a model with transformers' own ResNet."""
    part, _, rest = ours.partition(".")
    if part == "backbone":
        where, _, kind = rest.rpartition(".")
        stage, *inside = where.split(".")
        convolution_or_norm = {"c": "convolution", "b": "normalization", "0": "convolution", "1": "normalization"}
        if not inside:
            return f"model.backbone.model.embedder.embedder.{convolution_or_norm[stage[0]]}.{kind}"
        block = f"model.backbone.model.encoder.stages.{int(stage[5:]) - 1}.layers.{inside[0]}"
        if inside[1] == "downsample":
            return f"{block}.shortcut.{convolution_or_norm[inside[2]]}.{kind}"
        return f"{block}.layer.{int(inside[1][-1]) - 1}.{convolution_or_norm[inside[1][0]]}.{kind}"
    if part in ("encoder", "decoder"):
        layer, sublayer, rest = rest.split(".", 2)
        names = {"self_attention": "self_attn", "cross_attention": "encoder_attn"}
        norms = ["self_attn", "final"] if part == "encoder" else ["self_attn", "encoder_attn", "final"]
        if sublayer.startswith("norm"):
            named = f"{norms[int(sublayer[-1]) - 1]}_layer_norm.{rest}"
        elif sublayer == "feed_forward":
            named = f"mlp.fc{1 if rest[0] == '0' else 2}{rest[1:]}"
        else:
            named = f"{names[sublayer]}.{rest[0]}_proj.{rest.partition('.')[2]}"
        return f"model.{part}.layers.{layer}.{named}"
    if part == "bbox_embed":
        return f"bbox_predictor.layers.{int(rest[0]) // 2}{rest[1:]}"
    heads = {"input_proj": "model.input_projection", "decoder_norm": "model.decoder.layernorm"}
    heads |= {"class_embed": "class_labels_classifier", "query_embed": "model.query_position_embeddings"}
    return f"{heads[part]}.{rest or 'weight'}"


ODD_SIZES = [
    pytest.param((12, 3, 20, 2), 5, [(45, 70), (33, 50)], (2, 1), id="two images of two shapes, neither square"),
    pytest.param((4, 1, 7, 1), 1, [(20, 31)], (1,), id="one head, one layer, one query, one image, one cell"),
    pytest.param((8, 2, 9, 3), 4, [(90, 64), (20, 20)], (3, 0), id="all but one cell padded, and nothing in the image"),
]


def check_against_transformers(
    size: tuple[int, int, int, int],
    queries: int,
    shapes: list[tuple[int, int]],
    counts: tuple[int, ...],
    training: bool,
    tolerance: float,
) -> None:
    ours, theirs = tiny(size, queries).train(training), transformers_own(size, queries).train(training)
    theirs.load_state_dict({in_transformers_names(name): tensor for name, tensor in ours.state_dict().items()})
    theirs.requires_grad_()  # transformers freezes the whole of its own ResNet
    targets = some_targets(*counts)
    images, valid = pad_images([torch.randn(3, *shape) for shape in shapes])

    layers = ours(images, valid)
    loss = total_loss(layers, targets)
    torch.autograd.backward(loss)

    # With its auxiliary losses on, transformers gives each decoder layer the *normalized* output of the one before.
    # The authors' code normalizes for the heads only. So the losses are taken of a model that has them off.
    output = theirs(images, pixel_mask=valid.long(), output_hidden_states=True)
    normalized = [theirs.model.decoder.layernorm(y) for y in output.decoder_hidden_states[1:-1]]
    found = torch.stack([*normalized, output.last_hidden_state])
    logits, boxes = theirs.class_labels_classifier(found), theirs.bbox_predictor(found).sigmoid()
    theirs.config.auxiliary_loss = True
    labels = [{"class_labels": target.labels, "boxes": target.boxes} for target in targets]
    expected, *_ = their_losses.ForObjectDetectionLoss(
        output.logits, labels, images.device, output.pred_boxes, theirs.config, logits, boxes
    )
    torch.autograd.backward(expected)

    for ours_layer, theirs_logits, theirs_boxes in zip(layers, logits, boxes, strict=True):
        torch.testing.assert_close(ours_layer.logits, theirs_logits, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(ours_layer.boxes, theirs_boxes, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(layers[-1].logits, output.logits, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(loss, expected, rtol=tolerance, atol=tolerance)
    gradients = {in_transformers_names(name): p.grad for name, p in ours.named_parameters()}
    assert len(gradients) == len(list(theirs.parameters()))
    scale = max(float(p.grad.abs().max()) for p in theirs.parameters() if p.grad is not None)
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("size", "queries", "shapes", "counts"), ODD_SIZES)
def test_predictions_loss_and_gradients_agree_with_transformers_in_float64(
    float64: None,
    size: tuple[int, int, int, int],
    queries: int,
    shapes: list[tuple[int, int]],
    counts: tuple[int, ...],
    training: bool,
) -> None:
    check_against_transformers(size, queries, shapes, counts, training, 1e-8)


@pytest.mark.parametrize(("size", "queries", "shapes", "counts"), ODD_SIZES)
def test_predictions_loss_and_gradients_agree_with_transformers_in_float32(
    size: tuple[int, int, int, int], queries: int, shapes: list[tuple[int, int]], counts: tuple[int, ...]
) -> None:
    check_against_transformers(size, queries, shapes, counts, True, 1e-5)


def test_matching_agrees_with_transformers() -> None:
    matcher = their_losses.HungarianMatcher(class_cost=1, bbox_cost=5, giou_cost=2)
    for n in (4, 9, 30):
        predictions, targets = some_predictions(5, n), some_targets(4, 1, 0, 3, 2)
        labels = [{"class_labels": target.labels, "boxes": target.boxes} for target in targets]
        expected = matcher({"logits": predictions.logits, "pred_boxes": predictions.boxes}, labels)
        for pairs, pairs_expected in zip(hungarian_match(predictions, targets), expected, strict=True):
            assert all(torch.equal(one, other) for one, other in zip(pairs, pairs_expected, strict=True))


def test_generalized_iou_and_its_gradient_agree_with_transformers(float64: None) -> None:
    one, other = (box_cxcywh_to_xyxy(torch.rand(count, 4)).requires_grad_() for count in (40, 30))
    ours, theirs = generalized_box_iou(one[:, None], other), their_losses.generalized_box_iou(one, other)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    gradients = [torch.autograd.grad(pairwise.square().sum(), (one, other)) for pairwise in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


# counts


def count(*parts: nn.Module) -> int:
    return sum(p.numel() for part in parts for p in part.parameters())


def test_the_papers_model_has_exactly_this_many_parameters() -> None:
    with torch.device("meta"):
        model = DETR()
    parts = {
        "backbone": count(model.backbone),
        "projection": count(model.input_proj),
        "encoder": count(model.encoder),
        "decoder": count(model.decoder, model.decoder_norm),
        "queries": model.query_embed.numel(),
        "class": count(model.class_embed),
        "box": count(model.bbox_embed),
    }
    assert parts == {
        "backbone": 23_454_912,
        "projection": 524_544,
        "encoder": 7_890_432,
        "decoder": 9_473_024,
        "queries": 25_600,
        "class": 23_644,
        "box": 132_612,
    }
    assert count(model) == sum(parts.values()) == 41_524_768


def test_the_model_with_a_resnet_101_has_exactly_this_many_parameters() -> None:
    with torch.device("meta"):
        backbone = ResNet((3, 4, 23, 3))
        assert count(backbone) == 42_394_816
        assert count(DETR(backbone=backbone)) == 60_464_672


def test_without_its_feed_forward_networks_the_model_has_the_papers_28_7_million() -> None:
    with torch.device("meta"):
        model = DETR()
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    networks = [module for module in model.modules() if isinstance(module, FeedForward)]
    assert round((trained - count(*networks)) / 1e6, 1) == 28.7


def test_the_papers_model_has_its_heads_and_dropout() -> None:
    """Section 4.1 and Appendix A.4; the number of parameters shows neither."""
    with torch.device("meta"):
        model = DETR()
    heads = [module.heads for module in model.modules() if isinstance(module, MultiHeadAttention)]
    assert heads == 6 * [8] + 6 * [8, 8]
    assert {module.p for module in model.modules() if isinstance(module, nn.Dropout)} == {0.1}


# boxes

SHARES = st.floats(0.0625, 0.9375, width=32)
BOXES = st.tuples(SHARES, SHARES, SHARES, SHARES).map(torch.tensor)


@given(BOXES, BOXES)
@settings(deadline=None, max_examples=50)
def test_generalized_iou_is_symmetric_and_bounded_by_iou(one: Tensor, other: Tensor) -> None:
    value = generalized_box_iou(box_cxcywh_to_xyxy(one), box_cxcywh_to_xyxy(other))
    assert torch.equal(value, generalized_box_iou(box_cxcywh_to_xyxy(other), box_cxcywh_to_xyxy(one)))
    intersection, union = box_intersection_and_union(box_cxcywh_to_xyxy(one), box_cxcywh_to_xyxy(other))
    assert -1 < value <= intersection / union + 1e-6
    torch.testing.assert_close(generalized_box_iou(box_cxcywh_to_xyxy(one), box_cxcywh_to_xyxy(one)), torch.tensor(1.0))


@given(BOXES, BOXES, st.floats(0.1, 10), st.floats(-5, 5))
@settings(deadline=None, max_examples=50)
def test_generalized_iou_is_invariant_to_scale_and_translation(
    one: Tensor, other: Tensor, scale: float, shift: float
) -> None:
    moved = [box_cxcywh_to_xyxy(box.double()) * scale + shift for box in (one, other)]
    expected = generalized_box_iou(box_cxcywh_to_xyxy(one.double()), box_cxcywh_to_xyxy(other.double()))
    torch.testing.assert_close(generalized_box_iou(*moved), expected, rtol=0, atol=1e-8)


@given(BOXES, BOXES)
@settings(deadline=None, max_examples=50)
def test_box_loss_is_symmetric_and_zero_for_the_same_box_only(one: Tensor, other: Tensor) -> None:
    loss = box_loss(one, other)
    assert torch.equal(loss, box_loss(other, one))
    assert loss >= 5 * (one - other).abs().sum() - 1e-5
    torch.testing.assert_close(box_loss(one, one), torch.tensor(0.0), rtol=0, atol=1e-5)


def test_box_loss_by_hand() -> None:
    one, other = torch.tensor([0.2, 0.2, 0.2, 0.4]), torch.tensor([0.3, 0.2, 0.2, 0.4])
    iou = (0.1 * 0.4) / (0.3 * 0.4)  # side by side at one height: the hull is filled
    torch.testing.assert_close(box_loss(one, other), torch.tensor(2 * (1 - iou) + 5 * 0.1))


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        pytest.param((0.5, 0.5, 0.0, 0.0), 0.0, id="the same point"),
        pytest.param((0.7, 0.5, 0.0, 0.0), 0.0, id="a point in the same row: the hull has no area either"),
        pytest.param((0.7, 0.8, 0.0, 0.0), -1.0, id="another point: all of the hull is empty"),
        pytest.param((0.7, 0.8, 0.0, 0.2), -1.0, id="a line"),
        pytest.param((0.5, 0.5, 0.2, 0.2), 0.0, id="a box around the point: it fills the hull"),
        pytest.param((0.6, 0.6, 0.1, 0.1), 0.1**2 / 0.15**2 - 1, id="a box beside the point"),
    ],
)
def test_generalized_iou_of_a_point(other: tuple[float, ...], expected: float) -> None:
    point = torch.tensor([0.5, 0.5, 0.0, 0.0], requires_grad=True)
    value = generalized_box_iou(box_cxcywh_to_xyxy(point), box_cxcywh_to_xyxy(torch.tensor(other)))
    assert value.item() == pytest.approx(expected, abs=1e-5)
    assert torch.autograd.grad(value, point)[0].isfinite().all()


def test_width_comes_before_height() -> None:
    torch.testing.assert_close(
        box_cxcywh_to_xyxy(torch.tensor([0.5, 0.5, 0.2, 0.6])), torch.tensor([0.4, 0.2, 0.6, 0.8]), rtol=0, atol=1e-6
    )


# matching

SCENES = st.tuples(st.integers(0, 2**31), st.integers(1, 4), st.integers(0, 2)).map(
    lambda sizes: (sizes[0], sizes[1], sizes[1] + sizes[2])
)


def scene(seed: int, objects: int, queries: int) -> tuple[Predictions, list[Targets]]:
    torch.manual_seed(seed)
    return some_predictions(1, queries), some_targets(objects)


@given(SCENES)
@settings(deadline=None, max_examples=50)
def test_no_matching_is_cheaper(sizes: tuple[int, int, int]) -> None:
    predictions, (target,) = scene(*sizes)
    costs = [
        [float(box_loss(box, b) - logits.softmax(dim=0)[c]) for c, b in zip(target.labels, target.boxes, strict=True)]
        for logits, box in zip(predictions.logits[0], predictions.boxes[0], strict=True)
    ]
    ((queries, chosen),) = hungarian_match(predictions, [target])
    assert sorted(chosen.tolist()) == list(range(len(target.labels)))
    assert len(set(queries.tolist())) == len(queries)
    cost = sum(costs[query][one] for query, one in zip(queries.tolist(), chosen.tolist(), strict=True))
    ways = itertools.permutations(range(len(costs)), len(target.labels))
    assert cost <= min(sum(costs[query][one] for one, query in enumerate(way)) for way in ways) + 1e-5


@given(SCENES, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=50)
def test_pairs_and_loss_do_not_depend_on_any_order(sizes: tuple[int, int, int], random: Any) -> None:
    predictions, (target,) = scene(*sizes)
    order = list(range(predictions.boxes.shape[1]))
    order_of_objects = list(range(len(target.labels)))
    random.shuffle(order)
    random.shuffle(order_of_objects)
    shuffled = Predictions(predictions.logits[:, order], predictions.boxes[:, order])
    shuffled_target = Targets(target.labels[order_of_objects], target.boxes[order_of_objects])

    ((queries, chosen),) = hungarian_match(predictions, [target])
    ((queries_shuffled, chosen_shuffled),) = hungarian_match(shuffled, [shuffled_target])
    pairs = {(order[q], order_of_objects[c]) for q, c in zip(queries_shuffled, chosen_shuffled, strict=True)}
    assert pairs == set(zip(queries.tolist(), chosen.tolist(), strict=True))
    torch.testing.assert_close(hungarian_loss(shuffled, [shuffled_target]), hungarian_loss(predictions, [target]))


@given(st.integers(0, 2**31), st.integers(1, 6))
@settings(deadline=None, max_examples=50)
def test_matching_is_symmetric_if_all_classes_are_equally_likely(seed: int, n: int) -> None:
    torch.manual_seed(seed)
    boxes, others = torch.rand(n, 4), torch.rand(n, 4)

    def pairs(predicted: Tensor, true: Tensor) -> set[tuple[int, int]]:
        target = Targets(torch.zeros(n, dtype=torch.long), true)
        ((queries, chosen),) = hungarian_match(Predictions(torch.zeros(1, n, 2), predicted[None]), [target])
        return set(zip(queries.tolist(), chosen.tolist(), strict=True))

    assert pairs(boxes, others) == {(query, one) for one, query in pairs(others, boxes)}


def test_the_matching_cost_of_a_class_is_its_probability() -> None:
    """A logarithm would choose the second: its class is 20,000 times as likely, and its box misses."""
    target = Targets(torch.tensor([0]), torch.tensor([[0.3, 0.3, 0.2, 0.2]]))
    logits = torch.tensor([[[-10.0, 0.0], [10.0, 0.0]]])
    boxes = torch.stack([target.boxes, torch.tensor([[0.7, 0.7, 0.2, 0.2]])], dim=1)
    ((queries, _),) = hungarian_match(Predictions(logits, boxes), [target])
    assert queries.tolist() == [0]


def test_more_objects_than_queries_are_refused() -> None:
    with pytest.raises(ValueError, match="3 objects exceed the 2 predictions"):
        hungarian_match(some_predictions(1, 2), some_targets(3))


def test_no_gradient_passes_through_the_matching() -> None:
    predictions = Predictions(torch.randn(1, 3, 4, requires_grad=True), torch.rand(1, 3, 4, requires_grad=True))
    assert all(not side.requires_grad for pairs in hungarian_match(predictions, some_targets(2)) for side in pairs)


# loss


def test_the_loss_by_hand() -> None:
    """Two images, three objects; four predictions each."""
    predictions, targets = some_predictions(2, 4), some_targets(2, 1)
    weighted, weights, boxes = 0.0, 0.0, 0.0
    for i, (queries, chosen) in enumerate(hungarian_match(predictions, targets)):
        taken = dict(zip(queries.tolist(), chosen.tolist(), strict=True))
        for query in range(4):
            log_p = predictions.logits[i, query].log_softmax(dim=-1)
            label = int(targets[i].labels[taken[query]]) if query in taken else CLASSES
            weight = 1.0 if query in taken else 0.1
            weighted -= weight * log_p[label].item()
            weights += weight
            if query in taken:
                boxes += box_loss(predictions.boxes[i, query], targets[i].boxes[taken[query]]).item()
    assert hungarian_loss(predictions, targets).item() == pytest.approx(weighted / weights + boxes / 3, rel=1e-5)


def test_the_classification_loss_is_a_weighted_mean() -> None:
    """Divided by the number of objects instead, it would grow with the number of predictions that say ∅."""
    target = Targets(torch.tensor([0]), torch.tensor([[0.5, 0.5, 0.2, 0.2]]))

    def loss(n: int) -> float:
        logits = torch.zeros(1, n, 2)
        return hungarian_loss(Predictions(logits, target.boxes.expand(1, n, 4)), [target]).item()

    assert loss(10) == pytest.approx(math.log(2), rel=1e-5)
    assert loss(100) == pytest.approx(math.log(2), rel=1e-5)


def test_no_object_has_a_weight_of_a_tenth() -> None:
    target = Targets(torch.tensor([0]), torch.tensor([[0.5, 0.5, 0.2, 0.2]]))
    logits = torch.zeros(1, 11, 2, requires_grad=True)
    torch.autograd.backward(hungarian_loss(Predictions(logits, target.boxes.expand(1, 11, 4)), [target]))
    assert logits.grad is not None
    pull = logits.grad[0, :, 0].abs()
    torch.testing.assert_close(pull.max() / pull.min(), torch.tensor(10.0))


def test_images_without_objects_train_nothing_but_no_object() -> None:
    logits, boxes = torch.randn(2, 3, 4, requires_grad=True), torch.rand(2, 3, 4, requires_grad=True)
    loss = hungarian_loss(Predictions(logits, boxes), some_targets(0, 0))
    torch.autograd.backward(loss)
    torch.testing.assert_close(loss, F.cross_entropy(logits.flatten(0, 1), torch.full((6,), 3)))
    assert boxes.grad is not None
    assert not boxes.grad.any()


def test_every_layer_has_a_loss_and_a_matching_of_its_own() -> None:
    """The second layer's predictions are the first's in another order, so its pairs must be others."""
    predictions, targets = some_predictions(2, 5), some_targets(3, 2)
    turned = Predictions(predictions.logits.flip(1), predictions.boxes.flip(1))
    torch.testing.assert_close(total_loss([predictions, turned], targets), 2 * hungarian_loss(predictions, targets))


def test_the_weight_of_no_object_holds_in_every_layer() -> None:
    predictions, targets = some_predictions(2, 5), some_targets(3, 1)
    for eos_coef in (0.1, 0.5):
        expected = 2 * hungarian_loss(predictions, targets, eos_coef)
        torch.testing.assert_close(total_loss([predictions, predictions], targets, eos_coef), expected)
    assert hungarian_loss(predictions, targets, 0.1) != hungarian_loss(predictions, targets, 0.5)


# backbone


def test_the_parts_of_the_backbone_have_the_names_of_the_public_checkpoints() -> None:
    with torch.device("meta"):
        names = ResNet().state_dict().keys()
    assert len([name for name in names if name.endswith("running_var")]) == 53
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.downsample.0.weight", "layer4.2.bn3.bias"} <= names
    assert "layer1.0.downsample.1.running_var" in names
    assert not [name for name in names if name.startswith("fc.") or name.endswith("num_batches_tracked")]


def test_batch_norm_is_frozen() -> None:
    model = tiny().train()
    before = {name: buffer.clone() for name, buffer in model.backbone.named_buffers()}
    optimizer, _ = build_optimizer(model)
    train_step(model, optimizer, torch.randn(2, 3, 40, 40), some_targets(1, 1))
    assert before.keys() == {name for name in model.backbone.state_dict() if "bn" in name or "downsample.1" in name}
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.backbone.named_buffers())


def test_the_stem_and_the_first_stage_are_frozen() -> None:
    with torch.device("meta"):
        model = DETR()
    frozen = {name.split(".")[1] for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1", "layer1"}
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 41_302_368


@pytest.mark.parametrize(("height", "width"), [(64, 96), (45, 77)])
def test_a_dilated_last_stage_has_the_same_features_at_every_second_place(height: int, width: int) -> None:
    plain, dilated = ResNet((1, 1, 3), width=2), ResNet((1, 1, 3), width=2, dilation=True)
    randomize_weights(plain)
    dilated.load_state_dict(plain.state_dict())
    image = torch.randn(2, 3, height, width)
    torch.testing.assert_close(dilated(image)[:, :, ::2, ::2], plain(image), rtol=1e-5, atol=1e-4)


# positions


def test_positions_are_sines_of_the_row_and_of_the_column() -> None:
    rows, columns, d = 3, 5, 8
    got = sine_position_embedding(torch.ones(1, rows, columns, dtype=torch.bool), d)[0]
    for row, column, place in itertools.product(range(rows), range(columns), range(d)):
        half, entry = divmod(place, d // 2)
        turn = (column + 1) / columns if half else (row + 1) / rows
        angle = 2 * math.pi * turn / 10000 ** ((entry - entry % 2) / (d // 2))
        expected = math.cos(angle) if entry % 2 else math.sin(angle)
        assert got[row, column, place].item() == pytest.approx(expected, abs=1e-5)


def test_the_last_row_and_column_are_at_2_pi() -> None:
    """Of whatever size the image is; in whole numbers, as in a sentence, a larger image would go on turning."""
    valid = torch.zeros(2, 9, 9, dtype=torch.bool)
    valid[0, :4, :7], valid[1, :9, :5] = True, True
    small, large = sine_position_embedding(valid, 16)
    torch.testing.assert_close(small[3, 6], large[8, 4], rtol=0, atol=1e-5)
    torch.testing.assert_close(small[3, 6, 0], torch.tensor(0.0), rtol=0, atol=1e-5)
    assert not torch.allclose(small[3, 6, :8], sinusoidal_positions(5, 8)[4], atol=0.1)


def test_angles_are_computed_in_float64_whatever_the_default() -> None:
    valid = torch.ones(1, 700, 3, dtype=torch.bool)
    single = sine_position_embedding(valid, 16)
    torch.set_default_dtype(torch.float64)
    try:
        double = sine_position_embedding(valid, 16)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(single, double.float())


def test_positions_in_a_padded_batch_are_those_of_the_image_alone() -> None:
    valid = torch.zeros(1, 6, 9, dtype=torch.bool)
    valid[0, :4, :7] = True
    alone = sine_position_embedding(torch.ones(1, 4, 7, dtype=torch.bool), 12)
    torch.testing.assert_close(sine_position_embedding(valid, 12)[:, :4, :7], alone)


# the Transformer, and its departures


def test_positions_reach_queries_and_keys_but_not_values() -> None:
    attention = MultiHeadAttention(8, 2)
    given: list[tuple[Tensor, ...]] = []
    attention.register_forward_hook(lambda module, args, result: given.append(args))
    encoder, decoder = EncoderLayer(8, 2, 9).eval(), DecoderLayer(8, 2, 9).eval()
    x, positions, mask = torch.randn(1, 5, 8), torch.randn(1, 5, 8), torch.ones(1, 1, 5, dtype=torch.bool)
    y, queries = torch.randn(1, 3, 8), torch.randn(1, 3, 8)
    encoder.self_attention = decoder.self_attention = attention
    encoder(x, positions, mask)
    decoder(y, queries, Memory(x, positions, mask))
    for (query, key, value, *_), (content, place) in zip(given, [(x, positions), (y, queries)], strict=True):
        assert torch.equal(query, content + place)
        assert torch.equal(key, content + place)
        assert torch.equal(value, content)
    given.clear()
    decoder.cross_attention = attention
    decoder.self_attention = MultiHeadAttention(8, 2)
    decoder(y, queries, Memory(x, positions, mask))
    ((query, key, value, _),) = given
    after = decoder.norm1(y + decoder.dropout(decoder.self_attention(y + queries, y + queries, y)))
    torch.testing.assert_close(query, after + queries)
    assert torch.equal(key, x + positions)
    assert torch.equal(value, x)


def test_positions_are_added_in_every_layer() -> None:
    model = tiny((12, 3, 20, 3)).double()
    given: list[tuple[Tensor, ...]] = []
    for module in model.modules():
        if isinstance(module, MultiHeadAttention):
            module.register_forward_hook(lambda module, args, result: given.append(args))
    model(torch.randn(1, 3, 70, 70, dtype=torch.float64))
    memory = model.encode(torch.randn(1, 3, 70, 70, dtype=torch.float64))
    places = [key - value for _, key, value, *_ in given[:9]]
    encoder, decoder_self, decoder_cross = places[:3], places[3::2], places[4::2]
    for added, expected in (
        (encoder, memory.positions),
        (decoder_self, model.query_embed[None]),
        (decoder_cross, None),
    ):
        for place in added:
            torch.testing.assert_close(place, memory.positions if expected is None else expected)


def test_no_query_is_masked_from_another() -> None:
    layer, queries, cells = DecoderLayer(8, 2, 9).eval(), torch.randn(1, 4, 8), torch.randn(1, 5, 8)
    memory = Memory(cells, torch.randn_like(cells), torch.ones(1, 1, 5, dtype=torch.bool))
    y = torch.randn(1, 4, 8, requires_grad=True)
    for query in range(4):
        (heard,) = torch.autograd.grad(layer(y, queries, memory)[0, query, 0], y)
        assert (heard[0].abs().amax(dim=1) > 1e-5).all()


def test_the_input_of_the_decoder_is_zero() -> None:
    model = tiny()
    given: list[Tensor] = []
    model.decoder[0].register_forward_hook(lambda module, args, result: given.append(args[0]))
    model(torch.randn(2, 3, 40, 40))
    assert given[0].shape == (2, 5, 12)
    assert not given[0].any()


def test_one_norm_is_applied_before_the_heads_and_not_between_layers() -> None:
    """Transformers feeds the normalized outputs to the next layer when its auxiliary losses are on."""
    model = tiny((12, 3, 20, 3))
    given: list[Tensor] = []
    for layer in model.decoder:
        layer.register_forward_hook(lambda module, args, result: given.extend([args[0], result]))
    memory = model.encode(torch.randn(1, 3, 40, 40))
    found = model.decode(memory)
    outputs = given[1::2]
    assert all(torch.equal(y, model.decoder_norm(output)) for y, output in zip(found, outputs, strict=True))
    assert all(torch.equal(entering, left) for entering, left in zip(given[2::2], outputs, strict=False))


def test_dropout_is_applied_after_sublayers_only() -> None:
    model = tiny(dropout=0.5).train()
    images = torch.randn(1, 3, 40, 40)
    assert not torch.equal(model(images)[-1].boxes, model(images)[-1].boxes)
    dropped: list[float] = []
    dropouts = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    for dropout in dropouts:
        dropout.register_forward_hook(lambda module, args, output: dropped.append(module.p))
    model(images)
    assert dropped == [0.5] * (2 * 2 + 3 * 2)
    for dropout in dropouts:
        dropout.p = 0.0
    assert torch.equal(model(images)[-1].boxes, model(images)[-1].boxes)


def test_query_key_and_value_are_initialized_separately() -> None:
    """As one matrix of three times the rows, the bound of each would be smaller by the root of 2."""
    model = DETR(CLASSES, 5, 64, 4, 96, 1, backbone=ResNet((1,), 2))
    bound = math.sqrt(6 / (64 + 64))
    attentions = [module for module in model.modules() if isinstance(module, MultiHeadAttention)]
    assert len(attentions) == 3
    for attention in attentions:
        for linear in (attention.query, attention.key, attention.value, attention.output):
            assert 0.97 * bound < linear.weight.abs().max() <= bound
            assert not linear.bias.any()


def test_only_the_transformers_layers_are_glorot_uniform() -> None:
    """Queries are torch's embeddings, of variance 1, and the heads torch's linear layers, as in the public code."""
    model = DETR(CLASSES, 50, 64, 4, 96, 1, backbone=ResNet((1,), 8))
    networks = [module for module in model.modules() if isinstance(module, FeedForward)]
    assert len(networks) == 2
    for network in networks:
        for linear in (cast(Any, network[0]), cast(Any, network[2])):
            assert 0.97 < linear.weight.abs().max().item() / math.sqrt(6 / (64 + 96)) <= 1
            assert not linear.bias.any()
    assert model.query_embed.std().item() == pytest.approx(1, rel=0.05)
    for linear in (model.class_embed, model.bbox_embed[0], model.bbox_embed[4]):
        assert 0.5 < cast(Any, linear).weight.abs().max().item() * math.sqrt(64) <= 1
        assert cast(Any, linear).bias.any()


def test_the_backbones_convolutions_keep_the_variance_of_the_gradient() -> None:
    backbone = ResNet((1, 1), width=16)
    for convolution in (module for module in backbone.modules() if isinstance(module, nn.Conv2d)):
        fan_out = convolution.out_channels * math.prod(convolution.kernel_size)
        assert convolution.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.1)


def test_dropout_of_everything_leaves_the_residual_stream() -> None:
    encoder, decoder = EncoderLayer(12, 3, 20, dropout=1.0), DecoderLayer(12, 3, 20, dropout=1.0)
    randomize_weights(encoder), randomize_weights(decoder)
    x, mask, y = torch.randn(2, 6, 12), torch.ones(2, 1, 6, dtype=torch.bool), torch.randn(2, 4, 12)
    torch.testing.assert_close(encoder(x, x, mask), encoder.norm2(encoder.norm1(x)))
    expected = decoder.norm3(decoder.norm2(decoder.norm1(y)))
    torch.testing.assert_close(decoder(y, y, Memory(x, x, mask)), expected)


def test_the_content_of_padded_cells_does_not_matter() -> None:
    model = tiny()
    cells, positions, mask = torch.randn(2, 6, 12), torch.randn(2, 6, 12), torch.ones(2, 1, 6, dtype=torch.bool)
    mask[0, 0, 1:] = False
    noise = torch.randn_like(cells) * ~mask.mT
    for layer in model.encoder:
        one, other = layer(cells, positions, mask), layer(cells + noise, positions, mask)
        torch.testing.assert_close(one * mask.mT, other * mask.mT)
    one, other = (model.decode(Memory(x, positions, mask))[-1] for x in (cells, cells + noise))
    torch.testing.assert_close(one, other)


def test_an_image_that_is_all_padding_gives_finite_numbers() -> None:
    model = tiny()
    valid = torch.ones(2, 40, 40, dtype=torch.bool)
    valid[1] = False
    torch.autograd.backward(total_loss(model(torch.randn(2, 3, 40, 40), valid), some_targets(2, 0)))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_without_a_mask_all_pixels_are_valid() -> None:
    model, images = tiny(), torch.randn(2, 3, 40, 70)
    without, with_mask = model(images), model(images, torch.ones(2, 40, 70, dtype=torch.bool))
    assert torch.equal(without[-1].boxes, with_mask[-1].boxes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": 0}, "layers 0 is less than 1"),
        ({"d_model": 10, "heads": 2}, "d_model 10 is not a multiple of 4"),
        ({"d_model": 12, "heads": 5}, "d_model 12 is not a multiple of heads 5"),
    ],
)
def test_impossible_sizes_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DETR(backbone=ResNet((1,), 2), **arguments)


def test_impossible_positions_are_refused() -> None:
    with pytest.raises(ValueError, match="d_model 6 is not a multiple of 4"):
        sine_position_embedding(torch.ones(1, 2, 2, dtype=torch.bool), 6)


# inputs, outputs and training


def test_images_are_padded_at_the_right_and_at_the_bottom() -> None:
    one, other = torch.randn(3, 4, 2), torch.randn(3, 1, 5)
    images, valid = pad_images([one, other])
    assert images.shape == (2, 3, 4, 5)
    assert torch.equal(images[0, :, :4, :2], one)
    assert torch.equal(images[1, :, :1, :5], other)
    assert valid.sum().item() == 4 * 2 + 1 * 5
    assert not images.masked_select(~valid[:, None]).any()


def test_detections_are_in_pixels_and_no_object_is_replaced_by_the_second_class() -> None:
    probabilities = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.1, 0.25, 0.05, 0.6]])
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.4], [0.25, 0.5, 0.5, 1.0]], requires_grad=True)
    predictions = Predictions(probabilities.log()[None], boxes[None])
    (every,) = postprocess(predictions, torch.tensor([[50, 200]]))
    assert not every.boxes.requires_grad
    assert every.labels.tolist() == [0, 1]
    torch.testing.assert_close(every.scores, torch.tensor([0.7, 0.25]))
    torch.testing.assert_close(every.boxes, torch.tensor([[80.0, 15.0, 120.0, 35.0], [0.0, 0.0, 100.0, 50.0]]))
    (confident,) = postprocess(predictions, torch.tensor([[50, 200]]), threshold=0.5)
    assert confident.labels.tolist() == [0]
    (none,) = postprocess(predictions, torch.tensor([[50, 200]]), threshold=every.scores.max().item())
    assert not len(none.labels)  # an equal score is dropped


def test_the_backbone_has_a_tenth_of_the_learning_rate_and_both_drop_after_200_epochs() -> None:
    model = tiny(frozen_layers=2)
    model.query_embed.requires_grad_(False)  # what is not trained is not given to the optimizer
    optimizer, schedule = build_optimizer(model)
    rest, backbone = optimizer.param_groups
    assert (rest["lr"], backbone["lr"]) == (1e-4, 1e-5)
    assert rest["weight_decay"] == backbone["weight_decay"] == 1e-4
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == trained
    assert {id(p) for p in backbone["params"]} == trained & {id(p) for p in model.backbone.parameters()}
    optimizer.step()
    for _ in range(200):
        schedule.step()
    assert (rest["lr"], backbone["lr"]) == (pytest.approx(1e-5), pytest.approx(1e-6))
    assert isinstance(optimizer, torch.optim.AdamW)


def test_the_learning_rates_of_the_long_schedule_drop_after_400_epochs() -> None:
    optimizer, schedule = build_optimizer(tiny(), lr_drop=400)
    optimizer.step()
    rates = []
    for _ in range(401):
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.step()
    assert rates[:400] == 400 * [1e-4]
    assert rates[400] == pytest.approx(1e-5)


def test_a_step_clips_the_gradient_and_learns() -> None:
    model = tiny()
    images, targets = torch.randn(2, 3, 40, 40), some_targets(1, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    first = train_step(model, optimizer, images, targets)
    norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
    torch.testing.assert_close(norm, torch.tensor(0.1), rtol=1e-3, atol=0)
    for _ in range(5):
        last = train_step(model, optimizer, images, targets)
    assert last < first


def test_a_step_follows_the_clipped_gradient_of_its_own_batch_once(float64: None) -> None:
    """Two steps, the second on padded images: neither the first gradient nor the padding is left over in it."""
    model = tiny().train()
    expected, optimizer = copy.deepcopy(model), torch.optim.SGD(model.parameters(), lr=0.5)
    for shapes in ([(40, 40), (40, 40)], [(40, 70), (64, 33)]):
        images, valid = pad_images([torch.randn(3, *shape) for shape in shapes])
        targets = some_targets(1, 2)
        loss = total_loss(expected(images, valid), targets)
        parameters = dict(expected.named_parameters())
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
        with torch.no_grad():
            for parameter, gradient in zip(parameters.values(), gradients, strict=True):
                parameter.sub_(0.5 * gradient * 0.1 / norm)
        assert train_step(model, optimizer, images, targets, valid) == pytest.approx(loss.item(), rel=1e-8)
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(parameter, parameters[name], rtol=0, atol=1e-6)


# checkpoints


def equal_states(one: nn.Module, other: nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0]
    )


@pytest.mark.parametrize("size", [(12, 3, 20, 2), (4, 1, 7, 1)])
def test_weights_are_restored_from_a_file(tmp_path: Path, size: tuple[int, int, int, int]) -> None:
    saved, loaded = tiny(size), tiny(size)
    assert not equal_states(saved, loaded)
    save(saved, tmp_path / "model.safetensors")
    load(loaded, tmp_path / "model.safetensors")
    assert equal_states(saved, loaded)


def test_a_file_has_the_names_of_the_public_checkpoint(tmp_path: Path) -> None:
    """Some of the names in facebook/detr-resnet-50, and the number of all of them without its counters."""
    save(DETR(CLASSES, 5, 8, 2, 9, backbone=ResNet(width=1)), tmp_path / "model.safetensors")
    names = load_file(tmp_path / "model.safetensors").keys()
    assert {
        "model.backbone.conv_encoder.model.conv1.weight",
        "model.backbone.conv_encoder.model.layer1.0.downsample.1.running_var",
        "model.backbone.conv_encoder.model.layer4.2.bn3.bias",
        "model.input_projection.bias",
        "model.encoder.layers.5.self_attn.out_proj.weight",
        "model.encoder.layers.0.self_attn_layer_norm.weight",
        "model.encoder.layers.0.final_layer_norm.bias",
        "model.decoder.layers.5.self_attn.q_proj.bias",
        "model.decoder.layers.0.encoder_attn.k_proj.weight",
        "model.decoder.layers.0.encoder_attn_layer_norm.bias",
        "model.decoder.layers.3.fc1.weight",
        "model.decoder.layers.3.fc2.bias",
        "model.decoder.layernorm.weight",
        "model.query_position_embeddings.weight",
        "class_labels_classifier.weight",
        "bbox_predictor.layers.2.bias",
    } <= names
    encoder_layer, decoder_layer = 8 + 4 + 4, 2 * 8 + 4 + 6
    assert len(names) == 53 * 5 + 2 + 6 * (encoder_layer + decoder_layer) + 2 + 1 + 2 + 6


def test_a_file_that_transformers_wrote_gives_transformers_predictions(tmp_path: Path) -> None:
    size = (12, 3, 20, 2)
    theirs = transformers_own(size, queries=5).eval()
    randomize_weights(theirs)
    theirs.save_pretrained(tmp_path)
    ours = tiny(size)
    load(ours, tmp_path / "model.safetensors")
    images = torch.randn(2, 3, 45, 70)
    expected, got = theirs(images), ours(images)[-1]
    torch.testing.assert_close(got.logits, expected.logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got.boxes, expected.pred_boxes, rtol=1e-5, atol=1e-5)


def test_counters_of_batch_norm_are_ignored(tmp_path: Path) -> None:
    """The public file has four, left over in its shortcuts."""
    saved, loaded = tiny(), tiny()
    save(saved, tmp_path / "model.safetensors")
    numbers = load_file(tmp_path / "model.safetensors")
    counter = "model.backbone.conv_encoder.model.layer1.0.downsample.1.num_batches_tracked"
    save_file({**numbers, counter: torch.tensor(0)}, tmp_path / "model.safetensors")
    load(loaded, tmp_path / "model.safetensors")
    assert equal_states(saved, loaded)


def test_a_file_of_another_size_is_refused_with_every_fault(tmp_path: Path) -> None:
    save(tiny((12, 3, 20, 2)), tmp_path / "model.safetensors")
    model = DETR(CLASSES + 1, 5, 12, 3, 20, 1, backbone=ResNet((1, 2, 1), width=2))
    with pytest.raises(ValueError, match="does not fit DETR") as refused:
        load(model, tmp_path / "model.safetensors")
    message = str(refused.value)
    assert "misshapen: class_labels_classifier.bias is (4,) in the file, (5,) in the module" in message
    assert "surplus: model.decoder.layers.1.fc1.weight (20, 12)" in message
    assert "surplus: model.backbone.conv_encoder.model.layer4.0.conv1.weight" in message


def test_as_many_targets_as_images_are_asked_for() -> None:
    predictions = Predictions(torch.zeros(2, 5, CLASSES + 1), torch.rand(2, 5, 4))
    target = Targets(torch.tensor([1]), torch.rand(1, 4))
    with pytest.raises(ValueError, match="shorter"):
        hungarian_match(predictions, [target])


def test_positions_and_padding_are_computed_on_the_device_of_the_images() -> None:
    images = [torch.ones(3, 4, 6, device="meta"), torch.ones(3, 5, 2, device="meta")]
    batch, valid = pad_images(images)
    assert {one.device.type for one in (batch, valid, sine_position_embedding(valid, 8))} == {"meta"}
