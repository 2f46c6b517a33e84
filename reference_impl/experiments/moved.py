"""A trained Transformer converted to a Performer: the accuracy before and after fine-tuning.

The model is a character-level language model of English. It is trained with softmax attention until it stops improving,
converted to FAVOR+, and fine-tuned with either.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from quaere.content.results import Finding, Lines, Series, Table, spread
from quaere.running.experiments import Run
from reference_impl.experiments.arms import train_seeds
from reference_impl.experiments.cost import NB_FEATURES
from reference_impl.experiments.curves import Curve, has_plateaued
from reference_impl.experiments.judging import converged, enough_seeds, gate, judge, learned, quantity
from reference_impl.experiments.prose import character_ids, split_validation
from reference_impl.experiments.training import Training, count_parameters, device_of
from reference_impl.layers.attention import causal_mask
from reference_impl.performer import FavorAttention, positive_features, replace_attention, trigonometric_features
from reference_impl.transformer import Embedding, EncoderLayer, PreNorm

FEATURE_MAPS = {"positive": positive_features, "sines and cosines": trigonometric_features}


FINETUNING_SHARE = 0.1
"""The steps of fine-tuning, as a share of those that the model was trained for."""
PATIENCE = 6
"""The number of last measurements none of which is better, when training ends."""


@dataclass(frozen=True)
class TrainingSize:
    """The settings of the language model's training.

    Attributes:
        steps: Training steps with softmax attention, at most.
        every: Steps between two measurements.
        d_model: The width of the model.
        batch_size: Windows of text in a batch.
        files: Files that are read of each package.
        keep_every: Of the training text, keep each chunk of 512 characters whose number is a multiple of this.
    """

    steps: int
    every: int
    d_model: int
    batch_size: int
    files: int
    keep_every: int = 1


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


def sample_windows(text: Tensor, count: int, generator: torch.Generator, length: int = 64) -> Int[Tensor, "b n"]:
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
        softmax_curve: The curve of the training with softmax attention, until the model has converged.
        more_curve: The curve with softmax attention from there on, for the steps of fine-tuning.
        tuned_curve: The curve of the fine-tuning with FAVOR+.
        converted: The accuracies with FAVOR+ before fine-tuning, by the kind and number of features.
        num_parameters: The number of its parameters.
        num_characters: The number of characters of the training text.
        most_frequent: The accuracy of always naming the most frequent character.
    """

    softmax_curve: Curve
    more_curve: Curve
    tuned_curve: Curve
    converted: Mapping[str, float]
    num_parameters: int
    num_characters: int
    most_frequent: float

    @property
    def steps(self) -> int:
        """The steps that it was trained for."""
        return int(self.softmax_curve[-1]["step"])

    @property
    def before(self) -> float:
        """The accuracy before the conversion."""
        return float(self.softmax_curve[-1]["accuracy"])

    @property
    def lost(self) -> float:
        """The accuracy after the conversion, without fine-tuning."""
        return self.converted[f"positive, {NB_FEATURES}"]

    @property
    def after(self) -> float:
        """The accuracy after fine-tuning."""
        return float(self.tuned_curve[-1]["accuracy"])


def train_and_transfer(run: Run, size: TrainingSize, seed: int) -> TransferredModel:
    """Train a language model until it stops improving, convert it, and fine-tune it with either attention."""
    text, held_out = (character_ids(size.files, held_out) for held_out in (False, True))
    text, validation = split_validation(text, size.keep_every)
    chosen_on, test = (
        sample_windows(part, 8 * size.batch_size, torch.Generator().manual_seed(0)) for part in (validation, held_out)
    )
    training = Training(
        model=lambda: CharTransformer(size.d_model),
        loss=next_character_loss,
        batch=lambda generator: (sample_windows(text, size.batch_size, generator),),
        steps=size.steps,
        optimizer=lambda model: torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.0),
        clip=1.0,
        measure=lambda model: {"accuracy": accuracy(model, test), "validation": accuracy(model, chosen_on)},
        every=size.every,
        stop=partial(has_plateaued, measure="validation", patience=PATIENCE),
        ending=serialize_weights,
    )
    (found,) = train_seeds(run, "softmax", training, [seed])

    def model() -> CharTransformer:
        return load_model(found["weights"], size)

    steps = max(1, round(FINETUNING_SHARE * found["curve"][-1]["step"]))
    tuning = replace(training, model=model, steps=steps, every=max(1, steps // 10), stop=None, ending=None)
    converted = replace(tuning, model=lambda: to_performer(model(), NB_FEATURES))
    # Other batches than in training, and the same for both arms.
    (more,) = train_seeds(run, "more softmax", tuning, [seed + 500])
    (tuned,) = train_seeds(run, "FAVOR+", converted, [seed + 500])
    return TransferredModel(
        softmax_curve=found["curve"],
        more_curve=more["curve"],
        tuned_curve=tuned["curve"],
        converted=run.piece(f"converted, seed {seed}", lambda: evaluate_performer(model(), test, seed)),
        num_parameters=count_parameters(model()),
        num_characters=len(text),
        most_frequent=float(test[:, 1:].flatten().bincount().max() / test[:, 1:].numel()),
    )


def evaluate_performer(model: CharTransformer, test: Tensor, seed: int) -> dict[str, float]:
    """Return a trained model's accuracies with FAVOR+ before fine-tuning, by the kind and number of features."""
    torch.manual_seed(seed)
    return {
        f"{kernel}, {m}": accuracy(to_performer(model, m, of_kernel).eval(), test)
        for m in (16, 64, NB_FEATURES, 1024)
        for kernel, of_kernel in FEATURE_MAPS.items()
    }


MIN_LOSS, MIN_RECOVERED = 0.01, 0.95
"""The least loss by the conversion from which anything can be recovered, and the share that counts as recovered."""


def judge_transfer(models: Sequence[TransferredModel]) -> Finding:
    """Judge whether fine-tuning recovers the accuracy that the conversion loses."""
    accuracies = {
        "softmax": [model.before for model in models],
        "FAVOR+, converted": [model.lost for model in models],
        "FAVOR+, fine-tuned": [model.after for model in models],
        "softmax, trained on as long": [model.more_curve[-1]["accuracy"] for model in models],
    }
    losses = [model.before - model.lost for model in models]
    shares = [
        (model.after - model.lost) / loss if loss > 0 else 0.0 for model, loss in zip(models, losses, strict=True)
    ]
    steps = [model.steps for model in models]
    return judge(
        "backwards-compatible",
        f"Reproduced if in every seed fine-tuning, for {FINETUNING_SHARE:.0%} of the steps of training, brings back at "
        f"least {MIN_RECOVERED:.0%} of the accuracy that the conversion loses; partly if in every seed more than half. "
        "(An earlier rule, for a model that was still learning, asked for more than the accuracy before the "
        "conversion.)",
        ran=f"a language model over characters, {models[0].num_characters:,} of English, {models[0].num_parameters:,} "
        f"parameters, trained for {min(steps):,} to {max(steps):,} steps, converted to {NB_FEATURES} positive features",
        quantities=[
            quantity(
                "accuracy of the next character", accuracies, "higher",
                levels={"the most frequent character": models[0].most_frequent},
            ),
            quantity("share of the lost accuracy that comes back", {"FAVOR+, fine-tuned": shares}, "higher"),
        ],
        reproduced=min(shares) >= MIN_RECOVERED,
        partly=min(shares) > 0.5,
        gates=[
            learned(
                {"softmax": accuracies["softmax"]}, models[0].most_frequent, "that of the most frequent character"
            ),
            converged({"softmax": [model.softmax_curve for model in models]}, "accuracy"),
            gate(
                f"The conversion loses more than {MIN_LOSS} of the accuracy in every seed: else there is nothing to "
                "recover.", min(losses) > MIN_LOSS, spread(losses),
            ),
            enough_seeds({"FAVOR+": shares}),
        ],
    )  # fmt: skip


def transfer_table(models: Sequence[TransferredModel]) -> Table:
    """Return the table of accuracies after the conversion, before and after fine-tuning."""
    accuracies = {
        "softmax": [model.before for model in models],
        **{name: [model.converted[name] for model in models] for name in models[0].converted},
        f"positive, {NB_FEATURES}, fine-tuned": [model.after for model in models],
    }
    return Table(
        title="A trained language model, converted: accuracy of the next character",
        columns=("attention", "accuracy"),
        rows=tuple((name, spread(found, ".3g")) for name, found in accuracies.items()),
        note=f"Mean (lowest to highest) of {len(models)} seeds; not fine-tuned unless it says so.",
    )


def transfer_figure(models: Sequence[TransferredModel]) -> Lines:
    """Plot the accuracy against the steps since the conversion, as a share of the steps of training."""
    curves = {
        "softmax goes on": [(model.before, *(point["accuracy"] for point in model.more_curve)) for model in models],
        "FAVOR+ from the conversion on": [
            (model.lost, *(point["accuracy"] for point in model.tuned_curve)) for model in models
        ],
    }
    # Measured at each tenth; where that leaves a rest, once more at the end.
    count = min(len(run) for runs in curves.values() for run in runs)
    told = "; ".join(
        f"{name}: {fmean(run[0] for run in runs):.3f} to {fmean(run[-1] for run in runs):.3f}"
        for name, runs in curves.items()
    )
    return Lines(
        id="switched",
        title="A converged model is converted to FAVOR+",
        caption="What the conversion loses, and how fast fine-tuning brings it back; softmax goes on beside it.",
        alt=f"Accuracy at the conversion and after fine-tuning: {told}.",
        x="steps since the conversion, as a share of the steps of training",
        y="accuracy of the next character",
        series=tuple(
            Series(
                name=name,
                x=tuple(FINETUNING_SHARE * place / (count - 1) for place in range(count)),
                runs=tuple(run[:count] for run in runs),
            )
            for name, runs in curves.items()
        ),
    )
