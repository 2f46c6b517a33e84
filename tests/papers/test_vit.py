"""ViT against Hugging Face's, with the weights copied, and against the numbers of its paper."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from scipy.ndimage import zoom  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from transformers import ViTConfig as TransformersViTConfig
from transformers import ViTForImageClassification

from reference_impl import transformer
from reference_impl.bert import BertModel
from reference_impl.checkpoints import LAYOUTS, load, save
from reference_impl.vit import (
    CONFIGS,
    Block,
    ViT,
    ViTConfig,
    attention_distance,
    attention_rollout,
    finetuning_optimizer,
    interpolate_positions,
    loss,
    patchify,
    pretraining_optimizer,
    replace_head,
    vit,
)

# d_model, heads, d_ff, layers, patch_size, image_size: several heads; one head; one patch; an image that is not square
SHAPES = [
    (12, 3, 20, 2, 4, (12, 12)),
    (10, 1, 7, 1, 2, (6, 6)),
    (16, 2, 24, 1, 8, (8, 8)),
    (12, 2, 16, 2, 4, (8, 20)),
]


def randomize_weights(module: nn.Module) -> Any:
    """Initialize all weights with large values: zeros, and positions of 0.02, would hide a fault."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, mean=0.5 if parameter.dim() == 1 else 0.0, std=0.4)
    return module


def new(shape: tuple[Any, ...] = SHAPES[0], **options: Any) -> Any:
    return ViT(ViTConfig(*shape, **options))


def tiny(shape: tuple[Any, ...] = SHAPES[0], **options: Any) -> Any:
    return randomize_weights(new(shape, **{"num_classes": 5, **options}))


def theirs(shape: tuple[Any, ...], gelu: str, layer_norm_eps: float, num_channels: int = 3) -> Any:
    d_model, heads, d_ff, layers, patch_size, image_size = shape
    options: dict[str, Any] = {"num_labels": 5}
    config = TransformersViTConfig(
        hidden_size=d_model,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=d_ff,
        hidden_act={"erf": "gelu", "tanh": "gelu_pytorch_tanh"}[gelu],
        layer_norm_eps=layer_norm_eps,
        image_size=image_size,
        patch_size=patch_size,
        num_channels=num_channels,
        **options,
    )
    return ViTForImageClassification(config)


# Their names in memory, written down apart from the layout's table, which has those of the files.
IN_MEMORY = {
    "patch_embeddings.weight": "vit.embeddings.patch_embeddings.projection.weight",
    "patch_embeddings.bias": "vit.embeddings.patch_embeddings.projection.bias",
    "cls_token": "vit.embeddings.cls_token",
    "position_embeddings.table": "vit.embeddings.position_embeddings",
    "norm.weight": "vit.layernorm.weight",
    "norm.bias": "vit.layernorm.bias",
    "head.0.weight": "classifier.weight",
    "head.0.bias": "classifier.bias",
}
IN_MEMORY_OF_BLOCK = {
    "attention.query": "attention.q_proj",
    "attention.key": "attention.k_proj",
    "attention.value": "attention.v_proj",
    "attention.output": "attention.o_proj",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
}


def their_name(ours: str) -> str:
    if ours in IN_MEMORY:
        return IN_MEMORY[ours]
    _, number, part, kind = *ours.split(".", 2)[:2], *ours.split(".", 2)[2].rsplit(".", 1)
    return f"vit.layers.{number}.{IN_MEMORY_OF_BLOCK[part]}.{kind}"


def copy_weights(ours: ViT, oracle: nn.Module) -> None:
    shapes = {name: tensor.shape for name, tensor in oracle.state_dict().items()}
    state = {their_name(name): tensor for name, tensor in ours.state_dict().items()}
    oracle.load_state_dict({name: tensor.reshape(shapes[name]) for name, tensor in state.items()})


def compare_gradients(ours: ViT, oracle: nn.Module, tolerance: float) -> None:
    expected = dict(oracle.named_parameters())
    for name, parameter in ours.named_parameters():
        gradient = expected[their_name(name)].grad
        assert parameter.grad is not None, name
        assert gradient is not None, name
        gradient = gradient.reshape(parameter.shape)
        scale = max(1.0, float(gradient.abs().max()))
        torch.testing.assert_close(parameter.grad / scale, gradient / scale, rtol=0, atol=tolerance, msg=name)


# Against Hugging Face


@pytest.mark.parametrize(("gelu", "layer_norm_eps"), [("erf", 1e-12), ("tanh", 1e-6)])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("shape", "images"), list(zip(SHAPES, [3, 1, 2, 2], strict=True)))
def test_it_agrees_with_hugging_face_in_logits_loss_and_gradients(
    shape: tuple[Any, ...], images: int, training: bool, gelu: Any, layer_norm_eps: float, tolerance: float
) -> None:
    ours = tiny(shape, gelu=gelu, layer_norm_eps=layer_norm_eps).train(training)
    oracle = theirs(shape, gelu, layer_norm_eps).train(training)
    copy_weights(ours, oracle)
    pixels, labels = torch.randn(images, 3, *shape[-1]), torch.arange(images)
    expected = oracle(pixels, labels=labels)
    torch.testing.assert_close(ours(pixels), expected.logits, rtol=tolerance, atol=tolerance)
    value = loss(ours, pixels, labels)
    torch.testing.assert_close(value, expected.loss, rtol=tolerance, atol=tolerance)
    torch.autograd.backward([value, expected.loss])
    compare_gradients(ours, oracle, tolerance)


@pytest.mark.parametrize("size", [(12, 20), (8, 4), (24, 24), (4, 4), (20, 16)])
def test_images_of_another_size_agree_with_hugging_face(size: tuple[int, int], tolerance: float) -> None:
    ours = tiny(gelu="erf", layer_norm_eps=1e-12, interpolation_mode="bicubic")
    oracle = theirs(SHAPES[0], "erf", 1e-12)
    copy_weights(ours, oracle)
    pixels = torch.randn(2, 3, *size)
    expected = oracle(pixels, interpolate_pos_encoding=True).logits
    torch.testing.assert_close(ours(pixels), expected, rtol=tolerance, atol=tolerance)
    torch.autograd.backward([ours(pixels).square().mean(), expected.square().mean()])
    compare_gradients(ours, oracle, tolerance)


def test_one_channel_agrees_with_hugging_face(float64: None) -> None:
    ours, oracle = (
        tiny(num_channels=1, gelu="erf", layer_norm_eps=1e-12),
        theirs(SHAPES[0], "erf", 1e-12, num_channels=1),
    )
    copy_weights(ours, oracle)
    pixels = torch.randn(2, 1, 12, 12)
    torch.testing.assert_close(ours(pixels), oracle(pixels).logits, rtol=0, atol=1e-8)


def test_attention_agrees_with_hugging_face(float64: None) -> None:
    ours, oracle = tiny(gelu="erf", layer_norm_eps=1e-12), theirs(SHAPES[0], "erf", 1e-12)
    copy_weights(ours, oracle)
    oracle.set_attn_implementation("eager")
    pixels = torch.randn(2, 3, 12, 12)
    expected = oracle(pixels, output_attentions=True).attentions
    for one, other in zip(ours.attention_weights(pixels), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)  # theirs goes through float32


# The paper's numbers


@pytest.mark.parametrize(
    ("name", "size", "parameters"),
    [
        ("Ti/16", 224, 5_717_416),
        ("S/16", 224, 22_050_664),
        ("B/16", 224, 86_567_656),
        ("B/32", 224, 88_224_232),
        ("L/16", 224, 304_326_632),
        ("H/14", 224, 632_045_800),
        ("B/16", 384, 86_859_496),
    ],
)
def test_published_sizes_have_their_parameter_counts(name: str, size: int, parameters: int) -> None:
    with torch.device("meta"):
        model = vit(name, image_size=(size, size))
    assert sum(w.numel() for w in model.parameters()) == parameters


def test_the_base_models_parts_have_their_parameter_counts() -> None:
    with torch.device("meta"):
        model, bert = vit("B/16"), BertModel()
    parts = model.patch_embeddings, model.position_embeddings, model.blocks, model.norm, model.head
    counts = [sum(w.numel() for w in part.parameters()) for part in parts]
    assert [*counts, model.cls_token.numel()] == [590_592, 151_296, 85_054_464, 1_536, 769_000, 768]
    assert counts[2] == sum(w.numel() for w in bert.layers.parameters())


@pytest.mark.parametrize(("name", "heads"), [("Ti/16", 3), ("S/16", 6), ("B/32", 12), ("L/32", 16), ("H/14", 16)])
def test_published_sizes_have_their_heads_classes_and_patches(name: str, heads: int) -> None:
    """None of which the number of parameters shows, or not for certain."""
    with torch.device("meta"):
        model = vit(name, num_classes=7, image_size=(448, 224))
        assert model(torch.empty(1, 3, 448, 224)).shape == (1, 7)
    assert {block.attention.heads for block in cast(Any, model.blocks)} == {heads}
    assert model.grid_size == (448 // int(name[-2:]), 224 // int(name[-2:]))
    assert {module.p for module in model.modules() if isinstance(module, nn.Dropout)} == {0.0}


def test_operations_are_those_of_the_formula() -> None:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        vit("Ti/16")(torch.empty(2, 3, 224, 224))
    n, d, layers = 196, CONFIGS["Ti"].d_model, CONFIGS["Ti"].layers
    m = n + 1
    one = n * 768 * d + layers * (12 * m * d * d + 2 * m * m * d) + 1000 * d
    assert counter.get_total_flops() == 2 * 2 * one


# Patches


def test_patches_are_flattened_as_torch_unfolds_them() -> None:
    images = torch.randn(2, 3, 8, 12)
    assert torch.equal(patchify(images, 4), F.unfold(images, 4, stride=4).mT)


def test_projection_is_a_convolution_with_the_stride_of_a_patch(float64: None) -> None:
    model, images = tiny(), torch.randn(2, 3, 12, 20)
    kernel = model.patch_embeddings.weight.reshape(12, 3, 4, 4)
    expected = F.conv2d(images, kernel, model.patch_embeddings.bias, stride=4).flatten(2).mT
    torch.testing.assert_close(model.patch_embeddings(patchify(images, 4)), expected, rtol=0, atol=1e-10)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_patches_hold_every_pixel_once(b: int, c: int, p: int, rows: int, columns: int) -> None:
    images = torch.arange(float(b * c * rows * columns * p * p)).reshape(b, c, rows * p, columns * p)
    patches = patchify(images, p)
    assert patches.shape == (b, rows * columns, c * p * p)
    assert torch.equal(patches.flatten().sort().values, images.flatten())
    for i in range(rows * columns):
        row, column = i // columns * p, i % columns * p
        assert torch.equal(patches[:, i], images[:, :, row : row + p, column : column + p].flatten(1))


def test_an_image_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="13 × 12 does not divide into patches of 4 × 4"):
        tiny()(torch.randn(1, 3, 13, 12))
    with pytest.raises(ValueError, match="12 × 14 does not divide into patches of 4 × 4"):
        ViT(ViTConfig(12, 2, 20, 1, 4, (12, 14)))
    with pytest.raises(ValueError, match="patches of 0 × 0"):
        patchify(torch.randn(1, 3, 4, 4), 0)
    with pytest.raises(ValueError, match="12 × 10 does not divide"):
        replace_head(tiny(), 3, (12, 10))


@pytest.mark.parametrize("name", ["G/14", "B", "B/x", "16"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"no model is called {name}: a name is Ti, S, B, L, H, then a slash"):
        vit(name)


# Positions


@pytest.mark.parametrize(
    ("old", "new"), [((3, 3), (5, 5)), ((4, 4), (2, 2)), ((2, 2), (7, 7)), ((7, 7), (12, 12)), ((2, 6), (3, 4))]
)
def test_positions_are_interpolated_as_in_the_authors_code(old: tuple[int, int], new: tuple[int, int]) -> None:
    table = torch.randn(1 + math.prod(old), 6, dtype=torch.float64)
    grid = zoom(table[1:].reshape(*old, 6).numpy(), (new[0] / old[0], new[1] / old[1], 1), order=1)
    expected = torch.cat([table[:1], torch.from_numpy(grid).flatten(0, 1)])
    torch.testing.assert_close(interpolate_positions(table, old, new), expected, rtol=0, atol=1e-12)


def test_positions_of_the_same_grid_stay() -> None:
    table = torch.randn(7, 4)
    assert interpolate_positions(table, (2, 3), (2, 3)) is table
    with pytest.raises(ValueError, match="7 positions do not fit a class token and 3 × 3 patches"):
        interpolate_positions(table, (3, 3), (4, 4))


def test_positions_are_learned_and_interpolated() -> None:
    model = tiny()
    model(torch.randn(1, 3, 12, 12))
    assert isinstance(model.position_embeddings.table, nn.Parameter)
    tokens = model.embed(torch.zeros(1, 3, 20, 8))[0]
    patch = model.patch_embeddings(torch.zeros(48))
    grid = model.position_embeddings.table[1:].reshape(3, 3, 12)
    torch.testing.assert_close(tokens[0], model.cls_token + model.position_embeddings.table[0])
    for at, corner in {1: grid[0, 0], 2: grid[0, -1], 9: grid[-1, 0], 10: grid[-1, -1]}.items():
        torch.testing.assert_close(tokens[at], patch + corner)
    torch.testing.assert_close(tokens[5], patch + grid[1, 0])


@given(st.permutations(range(9)))
@settings(max_examples=10, deadline=None)
def test_without_positions_the_order_of_patches_does_not_matter(order: list[int]) -> None:
    torch.manual_seed(0)
    model = tiny(gelu="erf").double()
    images = torch.randn(2, 3, 12, 12, dtype=torch.float64)
    other = F.fold(F.unfold(images, 4, stride=4)[..., order], (12, 12), 4, stride=4)
    moved = order != list(range(9))
    assert (not torch.allclose(model(images), model(other), rtol=0, atol=1e-6)) == moved
    nn.init.zeros_(model.position_embeddings.table)
    torch.testing.assert_close(model(images), model(other), rtol=0, atol=1e-10)


# Departures


def test_blocks_are_pre_norm_with_one_more_norm_at_the_end() -> None:
    model = tiny()
    for block in model.blocks:
        for linear in (block.attention.output, block.fc2):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
    images = torch.randn(2, 3, 12, 12)
    tokens = model.embed(images)
    assert torch.equal(model.blocks(tokens), tokens)
    torch.testing.assert_close(model(images), model.head(model.norm(tokens[:, 0])))


def test_the_block_is_the_transformers_except_for_gelu(float64: None) -> None:
    ours = randomize_weights(Block(12, 3, 20, layer_norm_eps=1e-5))
    oracle = transformer.EncoderLayer(12, 3, 20, dropout=0.0, residual=transformer.PreNorm)
    oracle.feed_forward[1] = nn.GELU("tanh")
    pairs = {
        oracle.self_attention: ours.attention,
        oracle.feed_forward[0]: ours.fc1,
        oracle.feed_forward[2]: ours.fc2,
        oracle.around_self_attention.norm: ours.norm1,
        oracle.around_feed_forward.norm: ours.norm2,
    }
    for other, one in pairs.items():
        other.load_state_dict(one.state_dict())
    z = torch.randn(2, 5, 12)
    torch.testing.assert_close(ours(z), oracle(z), rtol=0, atol=1e-10)


def test_logits_depend_on_the_class_token_alone() -> None:
    model, seen = tiny(), list[Tensor]()
    model.head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    images = torch.randn(2, 3, 12, 12)
    model(images)
    torch.testing.assert_close(seen[0], model.norm(model.blocks(model.embed(images))[:, 0]))


def test_gelu_is_the_tanh_approximation_unless_erf_is_chosen() -> None:
    assert Block(12, 3, 20).gelu.approximate == "tanh"
    assert Block(12, 3, 20, gelu="erf").gelu.approximate == "none"
    assert {block.gelu.approximate for block in new().blocks} == {"tanh"}


def test_norms_have_the_epsilon_of_the_authors() -> None:
    def epsilons(model: nn.Module) -> set[float]:
        return {module.eps for module in model.modules() if isinstance(module, nn.LayerNorm)}

    assert epsilons(new()) == {1e-6}
    assert epsilons(new(layer_norm_eps=1e-12)) == {1e-12}


def test_dropout_follows_dense_layers_and_positions_but_not_attention_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    model, dropped = tiny(dropout=0.25), list[tuple[tuple[int, ...], float, bool]]()

    def note(x: Tensor, p: float, training: bool, *_: Any) -> Tensor:
        dropped.append((tuple(x.shape), p, training))
        if x.shape[-1] == 20:
            assert x.min() > -0.2, "GELU comes first: it is nowhere lower"
        return x

    monkeypatch.setattr(F, "dropout", note)
    for training in (True, False):
        dropped.clear()
        model.train(training)(torch.randn(1, 3, 12, 12))
        after_block = [(1, 10, 12), (1, 10, 20), (1, 10, 12)]  # attention's output, the MLP's hidden layer, its output
        assert dropped == [(shape, 0.25, training) for shape in [(1, 10, 12), *after_block, *after_block]]
    assert [block.attention.dropout for block in model.blocks] == [0.0, 0.0]


def test_dropout_of_everything_leaves_the_residual_stream_but_nothing_of_the_embeddings() -> None:
    model, z = tiny(dropout=1.0).train(), torch.randn(2, 5, 12)
    assert torch.equal(model.blocks[0](z), z)
    assert not model.embed(torch.randn(1, 3, 12, 12)).any()


def test_weights_are_initialized_as_in_the_authors_code() -> None:
    model = new((256, 4, 512, 1, 8, (128, 128)), num_classes=7)
    block = model.blocks[0]
    assert not model.head[-1].weight.any()
    assert not model.head[-1].bias.any()
    assert not model.cls_token.any()
    assert model.position_embeddings.table.std().item() == pytest.approx(0.02, rel=0.02)
    bound = math.sqrt(6 / (256 + 512))
    assert bound * 0.99 < block.fc1.weight.abs().max().item() <= bound
    assert block.attention.query.weight.abs().max().item() == pytest.approx(math.sqrt(6 / 512), rel=0.01)
    std = (3 * 64) ** -0.5
    assert model.patch_embeddings.weight.std().item() == pytest.approx(std, rel=0.02)
    assert model.patch_embeddings.weight.abs().max().item() <= 2 * std / 0.8796
    for bias in (block.fc1.bias, block.fc2.bias):
        assert bias.std().item() == pytest.approx(1e-6, rel=0.2)
    for linear in (model.patch_embeddings, block.attention.query, block.attention.output):
        assert not linear.bias.any()
    hidden = new((64, 4, 128, 1, 8, (16, 16)), num_classes=7, representation_size=32).head[0]
    bound = math.sqrt(6 / (64 + 32))
    assert bound * 0.97 < hidden.weight.abs().max().item() <= bound


def test_the_weight_decay_of_adam_is_decoupled() -> None:
    model = tiny()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = pretraining_optimizer(model, lr=0.5)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, before[name] * (1 - 0.5 * 0.1))
    assert optimizer.defaults["betas"] == (0.9, 0.999)
    assert pretraining_optimizer(model).defaults["lr"] == 8e-4  # Table 3: ViT-B on JFT


def test_fine_tuning_steps_with_momentum_and_without_decay() -> None:
    model = tiny()
    before, optimizer = model.cls_token.detach().clone(), finetuning_optimizer(model, lr=0.5)
    for _ in range(2):
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    torch.testing.assert_close(model.cls_token, before - 0.5 * (1 + 1.9))
    assert finetuning_optimizer(model).defaults["lr"] == 0.03


# Fine-tuning


def test_replace_head_gives_a_head_of_zeros_and_keeps_all_else() -> None:
    model = tiny(representation_size=7).double()
    images = torch.randn(2, 3, 12, 12, dtype=torch.float64)
    scores = model(images).detach().clone()
    task = replace_head(model, num_classes=3, image_size=(12, 20))
    assert [type(layer) for layer in model.head] == [nn.Linear, nn.Tanh, nn.Linear]
    assert [type(layer) for layer in task.head] == [nn.Linear]
    larger = torch.randn(2, 3, 12, 20, dtype=torch.float64)
    assert torch.equal(task(larger), torch.zeros(2, 3, dtype=torch.float64))
    assert task.grid_size == (3, 5)
    torch.testing.assert_close(task.embed(larger), model.embed(larger))
    for name, kept in task.state_dict().items():
        if not name.startswith(("head", "position_embeddings")):
            assert torch.equal(kept, model.state_dict()[name]), name
    torch.autograd.backward(loss(task, larger, torch.tensor([0, 2])))
    assert all(parameter.grad is not None for parameter in task.parameters())
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.zero_()
    assert torch.equal(model(images), scores)  # the two share no memory


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("image_size", [(12, 12), (20, 16)])
def test_replace_head_gives_a_model_of_its_own_config_and_memory(image_size: tuple[int, int], mode: Any) -> None:
    model = tiny(representation_size=7, interpolation_mode=mode)
    images = torch.randn(2, 3, *image_size)
    embedded, task = model.embed(images).detach().clone(), replace_head(model, num_classes=3, image_size=image_size)
    assert task.config == replace(model.config, num_classes=3, image_size=image_size, representation_size=None)
    torch.testing.assert_close(task.embed(images), embedded)
    ViT(task.config).load_state_dict(task.state_dict())
    assert task.position_embeddings.table.requires_grad
    with torch.no_grad():
        task.position_embeddings.table.zero_()
    torch.testing.assert_close(model.embed(images), embedded)


# Attention rollout


def test_rollout_is_abnar_and_zuidemas() -> None:
    weights = [torch.rand(2, 3, 5, 5, dtype=torch.float64).softmax(dim=-1) for _ in range(3)]
    for image, got in enumerate(attention_rollout(weights)):
        through = torch.eye(5, dtype=torch.float64).numpy()
        for block in weights:
            mixed = 0.5 * block[image].numpy().mean(axis=0) + 0.5 * torch.eye(5, dtype=torch.float64).numpy()
            through = (mixed / mixed.sum(axis=1, keepdims=True)) @ through
        torch.testing.assert_close(got, torch.from_numpy(through), rtol=0, atol=1e-12)


def test_rollout_of_identity_attention_is_the_identity() -> None:
    itself = torch.eye(4).expand(1, 2, 4, 4)
    assert torch.equal(attention_rollout([itself, itself])[0], torch.eye(4))
    with pytest.raises(ValueError, match="0 blocks: attention rollout needs at least 1"):
        attention_rollout([])


# Attention distance


def among_patches(weights: Tensor) -> Tensor:
    """Add a class token that attends to nothing, and that nothing attends to."""
    return F.pad(weights, (1, 0, 1, 0))[None, None]


def test_attention_distance_is_exact_where_it_can_be_told_by_hand() -> None:
    itself, everywhere = torch.eye(6), torch.full((6, 6), 1 / 6)  # two rows of three patches of 4 × 4 pixels
    right = itself[torch.tensor([1, 2, 2, 4, 5, 5])]  # the last of a row attends to itself
    below = itself[torch.tensor([3, 4, 5, 0, 1, 2])]
    opposite = itself[torch.tensor([5, 4, 3, 2, 1, 0])]
    from_corner = 0 + 4 + 8 + 4 + 4 * math.sqrt(2) + 4 * math.sqrt(5)
    from_middle = 4 + 0 + 4 + 4 * math.sqrt(2) + 4 + 4 * math.sqrt(2)
    expected = {
        itself: 0.0,
        right: 4 * 2 / 3,
        below: 4.0,
        opposite: 4 * (2 * math.sqrt(5) + 1) / 3,
        everywhere: (2 * from_corner + from_middle) / 3 / 6,
        (itself + below) / 2: 2.0,
    }
    for weights, distance in expected.items():
        assert attention_distance(among_patches(weights), (2, 3), 4).item() == pytest.approx(distance, rel=1e-6)


def test_attention_distance_is_that_of_each_image_and_head() -> None:
    weights = torch.rand(2, 3, 7, 7, dtype=torch.float64).softmax(dim=-1)
    got = attention_distance(weights, (3, 2), 5)
    places = [(5 * (i // 2), 5 * (i % 2)) for i in range(6)]
    for image in range(2):
        for head in range(3):
            total = 0.0
            for i, one in enumerate(places):
                shares = weights[image, head, 1 + i, 1:] / weights[image, head, 1 + i, 1:].sum()
                total += sum(shares[j].item() * math.dist(one, other) for j, other in enumerate(places))
            assert got[image, head].item() == pytest.approx(total / 6, rel=1e-12)


def test_the_class_token_has_no_distance() -> None:
    """Neither what it attends to nor how much the patches attend to it counts, not even if they attend to it alone."""
    weights = torch.rand(1, 2, 5, 5).softmax(dim=-1)
    other = weights.clone()
    other[:, :, 0] = torch.rand(1, 2, 5).softmax(dim=-1)
    other[:, :, 1:, 1:] *= 0.25
    other[:, :, 1:, 0] = 1 - other[:, :, 1:, 1:].sum(dim=-1)
    torch.testing.assert_close(attention_distance(other, (2, 2), 3), attention_distance(weights, (2, 2), 3))
    to_token = torch.zeros(1, 1, 5, 5)
    to_token[..., 0] = 1
    assert attention_distance(to_token, (2, 2), 3).item() == 0


def test_attention_of_another_grid_has_no_distance() -> None:
    with pytest.raises(ValueError, match="7 tokens do not fit a class token and 3 × 3 patches"):
        attention_distance(torch.full((1, 1, 7, 7), 1 / 7), (3, 3), 4)


# Checkpoints


@pytest.mark.parametrize("num_channels", [1, 3])
def test_transformers_reads_what_is_saved_and_the_other_way_round(tmp_path: Path, num_channels: int) -> None:
    options: dict[str, Any] = {"gelu": "erf", "layer_norm_eps": 1e-12, "num_channels": num_channels}
    ours, again = tiny(**options), tiny(**options)
    pixels = torch.randn(2, num_channels, 12, 12)
    save(ours, tmp_path / "model.safetensors")
    oracle = theirs(SHAPES[0], "erf", 1e-12, num_channels)
    oracle.config.save_pretrained(tmp_path)
    read, report = cast(Any, ViTForImageClassification).from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    torch.testing.assert_close(read(pixels).logits, ours(pixels), rtol=1e-4, atol=1e-5)
    randomize_weights(read).save_pretrained(tmp_path)
    load(again, tmp_path / "model.safetensors")
    torch.testing.assert_close(again(pixels), read(pixels).logits, rtol=1e-4, atol=1e-5)


def test_a_hidden_layer_of_the_head_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the layout has no name for head\.2"):
        save(tiny(representation_size=7), tmp_path / "model.safetensors")


def test_the_layout_has_a_name_for_every_tensor() -> None:
    layout = LAYOUTS["vit.ViT"]
    names = [layout.checkpoint_key(name) for name in tiny().state_dict()]
    assert len(set(names)) == len(names)


def test_a_file_with_the_names_of_memory_is_read(tmp_path: Path) -> None:
    ours, oracle = new(num_classes=5), randomize_weights(theirs(SHAPES[0], "tanh", 1e-6))
    save_file(oracle.state_dict(), tmp_path / "model.safetensors")
    load(ours, tmp_path / "model.safetensors")
    images = torch.randn(2, 3, 12, 12)
    torch.testing.assert_close(ours.eval()(images), oracle.eval()(images).logits, rtol=1e-5, atol=1e-5)
