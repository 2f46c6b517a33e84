"""A trained Transformer converted to a Performer: the accuracy before and after fine-tuning.

The model is a character-level language model of English. It is trained with softmax attention, converted to FAVOR+,
and fine-tuned with either.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from quaere.content.results import Finding, Heatmap, Lines, Table, spread
from quaere.running.experiments import Run
from reference_impl.experiments.arms import train_seeds
from reference_impl.experiments.cost import NB_FEATURES
from reference_impl.experiments.curves import Curve, curve_series, final_values, list_means
from reference_impl.experiments.judging import each_seed_above, outcome
from reference_impl.experiments.prose import character_ids
from reference_impl.experiments.training import Training, count_parameters, device_of
from reference_impl.layers.attention import causal_mask
from reference_impl.performer import FavorAttention, positive_features, replace_attention, trigonometric_features
from reference_impl.transformer import Embedding, EncoderLayer, PreNorm

FEATURE_MAPS = {"positive": positive_features, "sines and cosines": trigonometric_features}


@dataclass(frozen=True)
class TrainingSize:
    """The settings of the language model's training.

    Attributes:
        steps: Training steps with softmax attention.
        finetuning_steps: Steps of fine-tuning.
        d_model: The width of the model.
        batch_size: Windows of text in a batch.
        files: Files that are read of each package.
    """

    steps: int
    finetuning_steps: int
    d_model: int
    batch_size: int
    files: int


class CharTransformer(nn.Module):
    """A causal Transformer over characters, with exact or with FAVOR+ attention."""

    def __init__(self, d_model: int, heads: int = 2, layers: int = 2) -> None:
        super().__init__()
        self.embedding = Embedding(128, d_model, dropout=0.0)
        self.layers = nn.ModuleList(
            EncoderLayer(d_model, heads, 4 * d_model, dropout=0.0, residual=PreNorm) for _ in range(layers)
        )
        self.last = PreNorm.final_norm(d_model)

    def forward(self, text: Int[Tensor, "b n"]) -> Float[Tensor, "b n v"]:
        """Return the logits of the next character at each position."""
        x = self.embedding(text)
        for layer in self.layers:
            # FavorAttention is causal by itself, and has no matrix to mask.
            estimated = isinstance(layer.self_attention, FavorAttention)
            x = layer(x, None if estimated else causal_mask(text.shape[1], text.device))
        return self.embedding.logits(self.last(x))


def sample_windows(text: Tensor, count: int, generator: torch.Generator, length: int = 128) -> Int[Tensor, "b n"]:
    """Draw random windows of text, each with one character more than the model reads."""
    starts = torch.randint(len(text) - length, (count, 1), generator=generator)
    return text[starts + torch.arange(length + 1)]


def next_character_loss(model: nn.Module, windows: Int[Tensor, "b n"]) -> tuple[Tensor, int]:
    """Return the summed cross-entropy of the next characters, and their number."""
    right = windows[:, 1:].flatten()
    return F.cross_entropy(model(windows[:, :-1]).flatten(0, 1), right, reduction="sum"), len(right)


@torch.no_grad()
def accuracy(model: nn.Module, windows: Int[Tensor, "b n"]) -> float:
    """Return the accuracy of predicting the next character."""
    windows = windows.to(device_of(model))
    return float((model(windows[:, :-1]).argmax(dim=-1) == windows[:, 1:]).float().mean())


def serialize_weights(model: nn.Module) -> dict[str, str]:
    """Return a model's weights, in Base64."""
    file = io.BytesIO()
    torch.save({name: weight.cpu() for name, weight in model.state_dict().items()}, file)
    return {"weights": base64.b64encode(file.getvalue()).decode()}


def load_model(weights: str, size: TrainingSize) -> CharTransformer:
    """Return a model with weights written by `serialize_weights`."""
    model = CharTransformer(size.d_model)
    model.load_state_dict(torch.load(io.BytesIO(base64.b64decode(weights)), weights_only=True))
    return model


def to_performer(model: nn.Module, nb_features: int, feature_map: Any = positive_features) -> nn.Module:
    """Return a copy with causal FAVOR+ attention and one fixed projection."""
    return replace_attention(
        model,
        partial(
            FavorAttention, nb_features=nb_features, causal=True, feature_map=feature_map, feature_redraw_interval=None
        ),
    )


@dataclass(frozen=True)
class TransferredModel:
    """A language model trained with softmax attention, then fine-tuned with softmax and with FAVOR+.

    Attributes:
        softmax_curve: The curve with softmax attention throughout, the fine-tuning steps included.
        performer: What `evaluate_performer` returns, and under "curve" the fine-tuning curve with FAVOR+.
        num_parameters: The number of its parameters.
    """

    softmax_curve: Curve
    performer: Mapping[str, Any]
    num_parameters: int


def train_and_transfer(run: Run, size: TrainingSize, seed: int) -> TransferredModel:
    """Train a language model, convert it, and fine-tune it with either attention."""
    text, held_out = (character_ids(size.files, held_out) for held_out in (False, True))
    test = sample_windows(held_out, 4 * size.batch_size, torch.Generator().manual_seed(0))
    training = Training(
        model=lambda: CharTransformer(size.d_model),
        loss=next_character_loss,
        batch=lambda generator: (sample_windows(text, size.batch_size, generator),),
        steps=size.steps,
        optimizer=lambda model: torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.0),
        clip=1.0,
        measure=lambda model: {"accuracy": accuracy(model, test)},
        every=max(1, size.steps // 10),
        ending=serialize_weights,
    )
    (found,) = train_seeds(run, "softmax", training, [seed])

    def model() -> CharTransformer:
        return load_model(found["weights"], size)

    tuning = replace(
        training, model=model, steps=size.finetuning_steps, every=max(1, size.finetuning_steps // 9), ending=None
    )
    converted = replace(tuning, model=lambda: to_performer(model(), NB_FEATURES))
    # Other batches than in training, and the same for both arms.
    (more,) = train_seeds(run, "more softmax", tuning, [seed + 500])
    (tuned,) = train_seeds(run, "FAVOR+", converted, [seed + 500])
    before = run.piece(f"converted, seed {seed}", lambda: evaluate_performer(model(), test, held_out, seed))
    return TransferredModel(
        softmax_curve=found["curve"] + shift_curve(more["curve"], size.steps),
        performer={**before, "curve": tuned["curve"]},
        num_parameters=count_parameters(model()),
    )


def shift_curve(curve: Curve, steps: int) -> list[dict[str, Any]]:
    """Return a curve shifted by a number of steps."""
    return [{**point, "step": point["step"] + steps} for point in curve]


def evaluate_performer(model: CharTransformer, test: Tensor, held_out: Tensor, seed: int) -> dict[str, Any]:
    """Return a trained model's accuracies with FAVOR+ before fine-tuning, and exact and estimated attention weights."""
    torch.manual_seed(seed)
    model.eval()
    found: dict[str, Any] = {}
    for m in (16, 64, NB_FEATURES, 1024):
        for kernel, of_kernel in FEATURE_MAPS.items():
            found[f"{kernel}, {m}"] = accuracy(to_performer(model, m, of_kernel).eval(), test)
    shown = held_out[:21]
    found["text"] = bytes(shown.tolist()).decode()
    found["weights"] = {
        "exact": first_head_weights(model, shown),
        "estimated": first_head_weights(to_performer(model, NB_FEATURES), shown),
    }
    return found


@torch.no_grad()
def first_head_weights(model: nn.Module, text: Int[Tensor, " n"]) -> list[list[float]]:
    """Return the attention weights of the first layer's first head."""
    assert isinstance(model, CharTransformer)
    layer = model.layers[0]
    assert isinstance(layer, EncoderLayer)
    x = layer.around_self_attention.input(model.embedding(text[None]))
    mask = None if isinstance(layer.self_attention, FavorAttention) else causal_mask(len(text))
    return layer.self_attention.attention_weights(x, x, mask)[0, 0].tolist()


def judge_transfer(softmax_curves: Sequence[Any], performers: Sequence[Any], size: TrainingSize) -> Finding:
    """Judge whether fine-tuning recovers the accuracy that the conversion loses."""
    before = [accuracy_at(curve, size.steps) for curve in softmax_curves]
    lost = [found[f"positive, {NB_FEATURES}"] for found in performers]
    after = [found["curve"][-1]["accuracy"] for found in performers]
    control = [curve[-1]["accuracy"] for curve in softmax_curves]
    dropped = each_seed_above(before, lost, margin=0.01)
    halfway = [(high + low) / 2 for high, low in zip(before, lost, strict=True)]
    return Finding(
        claim="backwards-compatible",
        outcome=outcome(dropped and each_seed_above(after, before), dropped and each_seed_above(after, halfway)),
        measured=(
            f"Next characters named: {spread(before, '.3g')} with softmax after {size.steps} steps, "
            f"{spread(lost, '.3g')} when switched to {NB_FEATURES} features, {spread(after, '.3g')} after "
            f"{size.finetuning_steps} steps of fine-tuning; with softmax, and as many steps more, "
            f"{spread(control, '.3g')}."
        ),
        why=(
            f"Reproduced if in every seed fine-tuning, for {size.finetuning_steps / size.steps:.0%} of the steps, "
            "brings the accuracy above what it was before the switch; partly if in every seed more than half of what "
            "was lost comes back. Where the switch loses no more than 0.01 in some seed there is nothing to bring "
            "back, and nothing is reproduced. A small model over characters of English stands in for LM1B."
        ),
    )


def accuracy_at(curve: Curve, step: int) -> float:
    """Return the accuracy at one step of a curve."""
    return next(point["accuracy"] for point in curve if point["step"] == step)


def transfer_table(models: Sequence[TransferredModel], size: TrainingSize) -> Table:
    """Return the table of accuracies after the conversion, before and after fine-tuning."""
    names = [name for name in models[0].performer if name.startswith(tuple(FEATURE_MAPS))]
    accuracies = {
        "softmax": [accuracy_at(model.softmax_curve, size.steps) for model in models],
        **{name: [model.performer[name] for model in models] for name in names},
        f"positive, {NB_FEATURES}, fine-tuned": [model.performer["curve"][-1]["accuracy"] for model in models],
        "softmax, trained on as long": [model.softmax_curve[-1]["accuracy"] for model in models],
    }
    return Table(
        title="A trained language model, switched: next characters named",
        columns=("attention", "parameters", "accuracy"),
        rows=tuple((name, models[0].num_parameters, spread(found, ".3g")) for name, found in accuracies.items()),
        note=f"Mean (lowest to highest) of {len(models)} seeds; not fine-tuned unless it says so.",
    )  # fmt: skip


def transfer_figure(models: Sequence[TransferredModel], size: TrainingSize) -> Lines:
    """Plot accuracy against steps, before and after the conversion."""
    tuned: list[Curve] = [
        [
            {"step": size.steps, "accuracy": model.performer[f"positive, {NB_FEATURES}"]},
            *shift_curve(model.performer["curve"], size.steps),
        ]
        for model in models
    ]
    curves = {"softmax": [model.softmax_curve for model in models], "FAVOR+ from the switch on": tuned}
    fell = fmean(curve[0]["accuracy"] for curve in tuned)
    told = list_means(final_values(curves, "accuracy"), ".3f", ", ")
    return Lines(
        id="switched",
        title="A trained model is switched to FAVOR+",
        caption="What the switch loses, and how fast fine-tuning brings it back; softmax goes on beside it.",
        alt=f"At the switch accuracy is {fell:.3f}; at the end: {told}.",
        x="steps", y="next characters named",
        series=curve_series(curves, "accuracy"),
    )  # fmt: skip


def attention_heatmaps(model: TransferredModel) -> tuple[Heatmap, ...]:
    """Return heat maps of the exact and the estimated attention weights on a line of text."""
    letters = tuple(model.performer["text"].replace(" ", "␣"))
    exact, estimated = (np.array(model.performer["weights"][kind]) for kind in ("exact", "estimated"))
    off = float(np.abs(exact - estimated).mean(where=np.tri(len(letters), dtype=bool)))
    return tuple(
        Heatmap(
            id=f"weights-{kind}",
            title=f"Attention weights, {kind}",
            caption=f"The first head of the trained model's first layer; {told}. Compare the two maps cell by cell.",
            alt=f"Causal weights over {len(letters)} characters, {told}. The maps differ by {off:.3f} a cell.",
            rows=letters,
            columns=letters,
            values=tuple(map(tuple, values.round(4).tolist())),
        )
        for kind, values, told in (
            ("exact", exact, "by softmax"),
            ("estimated", estimated, f"by {NB_FEATURES} positive features, before fine-tuning"),
        )
    )
