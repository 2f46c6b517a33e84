"""ViT against Hugging Face's, with the weights copied, and against the numbers of its paper."""

import math
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import zoom  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from transformers import ViTConfig, ViTForImageClassification

from reference_impl import transformer
from reference_impl.bert import BertModel
from reference_impl.checkpoints import LAYOUTS, load, save
from reference_impl.vit import SIZES, Block, ViT, adam, cut, fine_tuned, loss, roll_out, sgd, stretch, vit

# d_model, heads, d_ff, layers, p, size: several heads, a single head, a single patch, and an image that is no square
SHAPES = [
    (12, 3, 20, 2, 4, (12, 12)),
    (10, 1, 7, 1, 2, (6, 6)),
    (16, 2, 24, 1, 8, (8, 8)),
    (12, 2, 16, 2, 4, (8, 20)),
]


def drawn(module: nn.Module) -> Any:
    """Draw all weights large: zeros and positions of 0.02 would hide a fault."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, mean=0.5 if parameter.dim() == 1 else 0.0, std=0.4)
    return module


def new(shape: tuple[Any, ...] = SHAPES[0], **options: Any) -> Any:
    return ViT(*shape, **options)


def tiny(shape: tuple[Any, ...] = SHAPES[0], **options: Any) -> Any:
    return drawn(new(shape, **{"classes": 5, **options}))


def theirs(shape: tuple[Any, ...], gelu: str, epsilon: float, channels: int = 3) -> Any:
    d_model, heads, d_ff, layers, p, size = shape
    options: dict[str, Any] = {"num_labels": 5}
    config = ViTConfig(
        hidden_size=d_model,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=d_ff,
        hidden_act={"erf": "gelu", "tanh": "gelu_pytorch_tanh"}[gelu],
        layer_norm_eps=epsilon,
        image_size=size,
        patch_size=p,
        num_channels=channels,
        **options,
    )
    return ViTForImageClassification(config)


# Their names in memory, written down apart from the layout's table, which has those of the files.
IN_MEMORY = {
    "project.weight": "vit.embeddings.patch_embeddings.projection.weight",
    "project.bias": "vit.embeddings.patch_embeddings.projection.bias",
    "class_token": "vit.embeddings.cls_token",
    "positions.table": "vit.embeddings.position_embeddings",
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
    "expand": "mlp.fc1",
    "contract": "mlp.fc2",
    "attention_norm": "layernorm_before",
    "mlp_norm": "layernorm_after",
}


def their_name(ours: str) -> str:
    if ours in IN_MEMORY:
        return IN_MEMORY[ours]
    _, number, part, kind = *ours.split(".", 2)[:2], *ours.split(".", 2)[2].rsplit(".", 1)
    return f"vit.layers.{number}.{IN_MEMORY_OF_BLOCK[part]}.{kind}"


def copied(ours: ViT, oracle: nn.Module) -> None:
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


# Hugging Face as an oracle


@pytest.mark.parametrize(("gelu", "epsilon"), [("erf", 1e-12), ("tanh", 1e-6)])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("shape", "images"), list(zip(SHAPES, [3, 1, 2, 2], strict=True)))
def test_it_agrees_with_hugging_face_in_scores_loss_and_gradients(
    shape: tuple[Any, ...], images: int, training: bool, gelu: Any, epsilon: float, tolerance: float
) -> None:
    ours = tiny(shape, gelu=gelu, epsilon=epsilon).train(training)
    oracle = theirs(shape, gelu, epsilon).train(training)
    copied(ours, oracle)
    pixels, labels = torch.randn(images, 3, *shape[-1]), torch.arange(images)
    expected = oracle(pixels, labels=labels)
    torch.testing.assert_close(ours(pixels), expected.logits, rtol=tolerance, atol=tolerance)
    value = loss(ours, pixels, labels)
    torch.testing.assert_close(value, expected.loss, rtol=tolerance, atol=tolerance)
    torch.autograd.backward([value, expected.loss])
    compare_gradients(ours, oracle, tolerance)


@pytest.mark.parametrize("size", [(12, 20), (8, 4), (24, 24), (4, 4), (20, 16)])
def test_images_of_another_size_agree_with_hugging_face(size: tuple[int, int], tolerance: float) -> None:
    ours = tiny(gelu="erf", epsilon=1e-12, method="bicubic")
    oracle = theirs(SHAPES[0], "erf", 1e-12)
    copied(ours, oracle)
    pixels = torch.randn(2, 3, *size)
    expected = oracle(pixels, interpolate_pos_encoding=True).logits
    torch.testing.assert_close(ours(pixels), expected, rtol=tolerance, atol=tolerance)
    torch.autograd.backward([ours(pixels).square().mean(), expected.square().mean()])
    compare_gradients(ours, oracle, tolerance)


def test_one_channel_agrees_with_hugging_face(float64: None) -> None:
    ours, oracle = tiny(channels=1, gelu="erf", epsilon=1e-12), theirs(SHAPES[0], "erf", 1e-12, channels=1)
    copied(ours, oracle)
    pixels = torch.randn(2, 1, 12, 12)
    torch.testing.assert_close(ours(pixels), oracle(pixels).logits, rtol=0, atol=1e-8)


def test_attention_agrees_with_hugging_face(float64: None) -> None:
    ours, oracle = tiny(gelu="erf", epsilon=1e-12), theirs(SHAPES[0], "erf", 1e-12)
    copied(ours, oracle)
    oracle.set_attn_implementation("eager")
    pixels = torch.randn(2, 3, 12, 12)
    expected = oracle(pixels, output_attentions=True).attentions
    for one, other in zip(ours.weights(pixels), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)  # theirs goes through float32


# The paper's numbers


@pytest.mark.parametrize(
    ("name", "size", "numbers"),
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
def test_published_sizes_have_their_numbers(name: str, size: int, numbers: int) -> None:
    with torch.device("meta"):
        model = vit(name, size=(size, size))
    assert sum(w.numel() for w in model.parameters()) == numbers


def test_the_base_models_parts_have_their_numbers() -> None:
    with torch.device("meta"):
        model, bert = vit("B/16"), BertModel()
    parts = model.project, model.positions, model.blocks, model.norm, model.head
    counts = [sum(w.numel() for w in part.parameters()) for part in parts]
    assert [*counts, model.class_token.numel()] == [590_592, 151_296, 85_054_464, 1_536, 769_000, 768]
    assert counts[2] == sum(w.numel() for w in bert.layers.parameters())


def test_operations_are_those_of_the_formula() -> None:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        vit("Ti/16")(torch.empty(2, 3, 224, 224))
    n, d, layers = 196, SIZES["Ti"].d_model, SIZES["Ti"].layers
    m = n + 1
    one = n * 768 * d + layers * (12 * m * d * d + 2 * m * m * d) + 1000 * d
    assert counter.get_total_flops() == 2 * 2 * one


# Patches


def test_patches_are_laid_out_as_torch_unfolds_them() -> None:
    images = torch.randn(2, 3, 8, 12)
    assert torch.equal(cut(images, 4), F.unfold(images, 4, stride=4).mT)


def test_projection_is_a_convolution_with_the_stride_of_a_patch(float64: None) -> None:
    model, images = tiny(), torch.randn(2, 3, 12, 20)
    kernel = model.project.weight.reshape(12, 3, 4, 4)
    expected = F.conv2d(images, kernel, model.project.bias, stride=4).flatten(2).mT
    torch.testing.assert_close(model.project(cut(images, 4)), expected, rtol=0, atol=1e-10)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_patches_hold_every_pixel_once(b: int, c: int, p: int, rows: int, columns: int) -> None:
    images = torch.arange(float(b * c * rows * columns * p * p)).reshape(b, c, rows * p, columns * p)
    patches = cut(images, p)
    assert patches.shape == (b, rows * columns, c * p * p)
    assert torch.equal(patches.flatten().sort().values, images.flatten())
    for i in range(rows * columns):
        row, column = i // columns * p, i % columns * p
        assert torch.equal(patches[:, i], images[:, :, row : row + p, column : column + p].flatten(1))


def test_an_image_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="13 × 12 does not divide into patches of 4 × 4"):
        tiny()(torch.randn(1, 3, 13, 12))
    with pytest.raises(ValueError, match="12 × 14 does not divide into patches of 4 × 4"):
        ViT(12, 2, 20, 1, 4, (12, 14))
    with pytest.raises(ValueError, match="patches of 0 × 0"):
        cut(torch.randn(1, 3, 4, 4), 0)
    with pytest.raises(ValueError, match="12 × 10 does not divide"):
        fine_tuned(tiny(), 3, (12, 10))


@pytest.mark.parametrize("name", ["G/14", "B", "B/x", "16"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"no size is called {name}; it is one of Ti, S, B, L, H"):
        vit(name)


# Positions


@pytest.mark.parametrize(("old", "new"), [(3, 5), (4, 2), (2, 7), (7, 12)])
def test_positions_are_stretched_as_in_the_authors_code(old: int, new: int) -> None:
    table = torch.randn(1 + old * old, 6, dtype=torch.float64)
    grid = zoom(table[1:].reshape(old, old, 6).numpy(), (new / old, new / old, 1), order=1)
    expected = torch.cat([table[:1], torch.from_numpy(grid).reshape(new * new, 6)])
    torch.testing.assert_close(stretch(table, (old, old), (new, new)), expected, rtol=0, atol=1e-12)


def test_positions_of_the_same_grid_stay() -> None:
    table = torch.randn(7, 4)
    assert stretch(table, (2, 3), (2, 3)) is table
    with pytest.raises(ValueError, match="7 positions are not those of a class token and 3 × 3 patches"):
        stretch(table, (3, 3), (4, 4))


def test_positions_are_learnt_and_stretched() -> None:
    model = tiny()
    model(torch.randn(1, 3, 12, 12))
    assert isinstance(model.positions.table, nn.Parameter)
    tokens = model.embed(torch.zeros(1, 3, 20, 8))[0]
    patch = model.project(torch.zeros(48))
    grid = model.positions.table[1:].reshape(3, 3, 12)
    torch.testing.assert_close(tokens[0], model.class_token + model.positions.table[0])
    for at, corner in {1: grid[0, 0], 2: grid[0, -1], 9: grid[-1, 0], 10: grid[-1, -1]}.items():
        torch.testing.assert_close(tokens[at], patch + corner)
    torch.testing.assert_close(tokens[5], patch + grid[1, 0])


@given(st.permutations(range(9)))
@settings(max_examples=10, deadline=None)
def test_without_positions_patches_are_a_bag(order: list[int]) -> None:
    torch.manual_seed(0)
    model = tiny(gelu="erf").double()
    images = torch.randn(2, 3, 12, 12, dtype=torch.float64)
    other = F.fold(F.unfold(images, 4, stride=4)[..., order], (12, 12), 4, stride=4)
    moved = order != list(range(9))
    assert (not torch.allclose(model(images), model(other), rtol=0, atol=1e-6)) == moved
    nn.init.zeros_(model.positions.table)
    torch.testing.assert_close(model(images), model(other), rtol=0, atol=1e-10)


# Departures


def test_norms_stand_before_the_sublayers_and_one_at_the_end() -> None:
    model = tiny()
    for block in model.blocks:
        for linear in (block.attention.output, block.contract):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
    images = torch.randn(2, 3, 12, 12)
    tokens = model.embed(images)
    assert torch.equal(model.blocks(tokens), tokens)
    torch.testing.assert_close(model(images), model.head(model.norm(tokens[:, 0])))


def test_the_block_is_the_transformers_but_for_gelu(float64: None) -> None:
    ours = drawn(Block(12, 3, 20, epsilon=1e-5))
    oracle = transformer.EncoderLayer(12, 3, 20, dropout=0.0, residual=transformer.PreNorm)
    oracle.feed_forward[1] = nn.GELU("tanh")
    pairs = {
        oracle.self_attention: ours.attention,
        oracle.feed_forward[0]: ours.expand,
        oracle.feed_forward[2]: ours.contract,
        oracle.around_self_attention.norm: ours.attention_norm,
        oracle.around_feed_forward.norm: ours.mlp_norm,
    }
    for other, one in pairs.items():
        other.load_state_dict(one.state_dict())
    z = torch.randn(2, 5, 12)
    torch.testing.assert_close(ours(z), oracle(z), rtol=0, atol=1e-10)


def test_scores_are_read_from_the_class_token_alone() -> None:
    model, seen = tiny(), list[Tensor]()
    model.head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    images = torch.randn(2, 3, 12, 12)
    model(images)
    torch.testing.assert_close(seen[0], model.norm(model.blocks(model.embed(images))[:, 0]))


def test_gelu_is_the_tanh_of_the_authors_unless_erf_is_asked_for() -> None:
    assert Block(12, 3, 20).gelu.approximate == "tanh"
    assert Block(12, 3, 20, gelu="erf").gelu.approximate == "none"
    assert {block.gelu.approximate for block in new().blocks} == {"tanh"}


def test_norms_have_the_epsilon_of_the_authors() -> None:
    def epsilons(model: nn.Module) -> set[float]:
        return {module.eps for module in model.modules() if isinstance(module, nn.LayerNorm)}

    assert epsilons(new()) == {1e-6}
    assert epsilons(new(epsilon=1e-12)) == {1e-12}


def test_dropout_falls_after_dense_layers_and_positions_but_not_on_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    model, dropped = tiny(dropout=0.25), list[tuple[tuple[int, ...], float]]()

    def note(x: Tensor, p: float, *_: Any) -> Tensor:
        dropped.append((tuple(x.shape), p))
        return x

    monkeypatch.setattr(F, "dropout", note)
    model.train()(torch.randn(1, 3, 12, 12))
    after_block = [(1, 10, 12), (1, 10, 20), (1, 10, 12)]  # attention's output, the MLP's hidden layer, its output
    assert dropped == [(shape, 0.25) for shape in [(1, 10, 12), *after_block, *after_block]]
    assert [block.attention.dropout for block in model.blocks] == [0.0, 0.0]


def test_a_model_begins_as_in_the_authors_code() -> None:
    model = new((256, 4, 512, 1, 8, (128, 128)), classes=7)
    block = model.blocks[0]
    assert not model.head[-1].weight.any()
    assert not model.head[-1].bias.any()
    assert not model.class_token.any()
    assert model.positions.table.std().item() == pytest.approx(0.02, rel=0.02)
    bound = math.sqrt(6 / (256 + 512))
    assert bound * 0.99 < block.expand.weight.abs().max().item() <= bound
    assert block.attention.query.weight.abs().max().item() == pytest.approx(math.sqrt(6 / 512), rel=0.01)
    deviation = (3 * 64) ** -0.5
    assert model.project.weight.std().item() == pytest.approx(deviation, rel=0.02)
    assert model.project.weight.abs().max().item() <= 2 * deviation / 0.8796
    assert 0 < block.expand.bias.abs().max().item() < 1e-5
    assert not block.attention.query.bias.any()


def test_adams_decay_is_apart_from_its_moments() -> None:
    model = tiny()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimiser = adam(model, rate=0.5)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, before[name] * (1 - 0.5 * 0.1))
    assert optimiser.defaults["betas"] == (0.9, 0.999)


def test_fine_tuning_steps_with_momentum_and_without_decay() -> None:
    model = tiny()
    before, optimiser = model.class_token.detach().clone(), sgd(model, rate=0.5)
    for _ in range(2):
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimiser.step()
    torch.testing.assert_close(model.class_token, before - 0.5 * (1 + 1.9))


# Fine-tuning


def test_fine_tuning_begins_with_a_head_of_zeros_and_all_else_kept() -> None:
    model = tiny(hidden=True).double()
    images = torch.randn(2, 3, 12, 12, dtype=torch.float64)
    scores = model(images).detach().clone()
    task = fine_tuned(model, classes=3, size=(12, 20))
    assert [type(layer) for layer in model.head] == [nn.Linear, nn.Tanh, nn.Linear]
    assert [type(layer) for layer in task.head] == [nn.Linear]
    larger = torch.randn(2, 3, 12, 20, dtype=torch.float64)
    assert torch.equal(task(larger), torch.zeros(2, 3, dtype=torch.float64))
    assert task.grid == (3, 5)
    torch.testing.assert_close(task.embed(larger), model.embed(larger))
    for name, kept in task.state_dict().items():
        if not name.startswith(("head", "positions")):
            assert torch.equal(kept, model.state_dict()[name]), name
    torch.autograd.backward(loss(task, larger, torch.tensor([0, 2])))
    assert all(parameter.grad is not None for parameter in task.parameters())
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.zero_()
    assert torch.equal(model(images), scores)  # the two share no memory


# Roll-out


def test_roll_out_is_abnar_and_zuidemas() -> None:
    weights = [torch.rand(2, 3, 5, 5, dtype=torch.float64).softmax(dim=-1) for _ in range(3)]
    for image, got in enumerate(roll_out(weights)):
        through = torch.eye(5, dtype=torch.float64).numpy()
        for block in weights:
            mixed = 0.5 * block[image].numpy().mean(axis=0) + 0.5 * torch.eye(5, dtype=torch.float64).numpy()
            through = (mixed / mixed.sum(axis=1, keepdims=True)) @ through
        torch.testing.assert_close(got, torch.from_numpy(through), rtol=0, atol=1e-12)


def test_roll_out_of_blocks_that_look_nowhere_else_is_the_identity() -> None:
    itself = torch.eye(4).expand(1, 2, 4, 4)
    assert torch.equal(roll_out([itself, itself])[0], torch.eye(4))
    with pytest.raises(ValueError, match="0 blocks"):
        roll_out([])


# Checkpoints


@pytest.mark.parametrize("channels", [1, 3])
def test_transformers_reads_what_is_saved_and_the_other_way_round(tmp_path: Path, channels: int) -> None:
    options: dict[str, Any] = {"gelu": "erf", "epsilon": 1e-12, "channels": channels}
    ours, again = tiny(**options), tiny(**options)
    pixels = torch.randn(2, channels, 12, 12)
    save(ours, tmp_path / "model.safetensors")
    oracle = theirs(SHAPES[0], "erf", 1e-12, channels)
    oracle.config.save_pretrained(tmp_path)
    read, report = cast(Any, ViTForImageClassification).from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    torch.testing.assert_close(read(pixels).logits, ours(pixels), rtol=1e-4, atol=1e-5)
    drawn(read).save_pretrained(tmp_path)
    load(again, tmp_path / "model.safetensors")
    torch.testing.assert_close(again(pixels), read(pixels).logits, rtol=1e-4, atol=1e-5)


def test_a_hidden_layer_of_the_head_has_no_place_in_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the layout has no name for head\.2"):
        save(tiny(hidden=True), tmp_path / "model.safetensors")


def test_the_layout_has_a_name_for_every_number() -> None:
    layout = LAYOUTS["vit.ViT"]
    names = [layout.checkpoint_key(name) for name in tiny().state_dict()]
    assert len(set(names)) == len(names)
