"""A trained Transformer's weights put into a Performer: what the switch loses, and what fine-tuning brings back.

The model writes English character by character. It is trained with softmax, switched to FAVOR+, and fine-tuned either
way.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from quaere.content.results import Finding, Heatmap, Lines, Series, Table, spread
from quaere.running.experiments import Run
from reference_impl.experiments.cost import DIRECTIONS
from reference_impl.experiments.judging import in_every_seed, outcome
from reference_impl.experiments.prose import character_ids
from reference_impl.experiments.training import Training, count_parameters
from reference_impl.layers.attention import causal_mask
from reference_impl.performer import FavorAttention, positive, switched, trigonometric
from reference_impl.transformer import Embedding, EncoderLayer, PreNorm

KERNELS = {"positive": positive, "sines and cosines": trigonometric}


@dataclass(frozen=True)
class Text:
    """How long a model of how many features is trained on how much text.

    Attributes:
        steps: Steps with softmax.
        tuned: Steps of fine-tuning.
        width: Features of the model.
        batch: Stretches of text of a step.
        files: Files that are read of each package.
    """

    steps: int
    tuned: int
    width: int
    batch: int
    files: int


class Writer(nn.Module):
    """A causal Transformer over characters, exact or switched."""

    def __init__(self, d_model: int, heads: int = 2, layers: int = 2) -> None:
        super().__init__()
        self.embedding = Embedding(128, d_model, dropout=0.0)
        self.layers = nn.ModuleList(
            EncoderLayer(d_model, heads, 4 * d_model, dropout=0.0, residual=PreNorm) for _ in range(layers)
        )
        self.last = PreNorm.last(d_model)

    def forward(self, text: Int[Tensor, "b n"]) -> Float[Tensor, "b n v"]:
        """Score the character after each."""
        x = self.embedding(text)
        for layer in self.layers:
            # One that estimates is causal by itself, and has no matrix to mask.
            estimated = isinstance(layer.self_attention, FavorAttention)
            x = layer(x, None if estimated else causal_mask(text.shape[1], text.device))
        return self.embedding.logits(self.last(x))


def windows(text: Tensor, count: int, generator: torch.Generator, length: int = 128) -> Int[Tensor, "b n"]:
    """Draw stretches of text, each with one character more than is read."""
    starts = torch.randint(len(text) - length, (count, 1), generator=generator)
    return text[starts + torch.arange(length + 1)]


def next_character(model: nn.Module, drawn: Int[Tensor, "b n"]) -> tuple[Tensor, int]:
    """Return the loss of naming each next character, summed, and their count."""
    right = drawn[:, 1:].flatten()
    return F.cross_entropy(model(drawn[:, :-1]).flatten(0, 1), right, reduction="sum"), len(right)


@torch.no_grad()
def accuracy(model: nn.Module, drawn: Int[Tensor, "b n"]) -> float:
    """Return the share of next characters that are named."""
    drawn = drawn.to(next(model.parameters()).device)
    return float((model(drawn[:, :-1]).argmax(dim=-1) == drawn[:, 1:]).float().mean())


def kept(model: nn.Module) -> dict[str, str]:
    """Return a model's weights, in Base64."""
    file = io.BytesIO()
    torch.save({name: weight.cpu() for name, weight in model.state_dict().items()}, file)
    return {"weights": base64.b64encode(file.getvalue()).decode()}


def restored(weights: str, size: Text) -> Writer:
    """Return a model with weights that were `kept`."""
    model = Writer(size.width)
    model.load_state_dict(torch.load(io.BytesIO(base64.b64decode(weights)), weights_only=True))
    return model


def estimating(model: nn.Module, m: int, kernel: Any = positive) -> nn.Module:
    """Return a copy whose attentions are run by FAVOR+, causal, on one draw of directions."""
    return switched(model, partial(FavorAttention, features=m, causal=True, kernel=kernel, redraw_every=None))


class Moved:
    """One language model: trained with softmax, switched, and fine-tuned either way.

    Attributes:
        exact: Its curve, with the steps of fine-tuning at the end, and softmax throughout.
        swapped: What `swap` returns, and under "curve" that of fine-tuning with FAVOR+.
        parameters: How many numbers it learns.
    """

    def __init__(self, run: Run, seed: int, size: Text) -> None:
        text, held_out = (character_ids(size.files, held_out) for held_out in (False, True))
        test = windows(held_out, 4 * size.batch, torch.Generator().manual_seed(0))
        settings: dict[str, Any] = {
            "loss": next_character,
            "batch": lambda generator: (windows(text, size.batch, generator),),
            "measure": lambda model: {"accuracy": accuracy(model, test)},
            "optimiser": lambda model: torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.0),
            "clip": 1.0,
            "interval": 100,
            "device": run.device,
        }
        training = {"steps": size.steps, "every": max(1, size.steps // 10), "seed": seed} | settings
        # Other batches than those of the training, and the same ones for both arms.
        tuning = {"steps": size.tuned, "every": max(1, size.tuned // 9), "seed": seed + 500} | settings
        found = run.loop(f"softmax seed {seed}", lambda: Training(lambda: Writer(size.width), ending=kept, **training))

        def model() -> Writer:
            return restored(found["weights"], size)

        self.parameters = count_parameters(model())
        more = run.loop(f"more softmax seed {seed}", lambda: Training(model, **tuning))
        self.swapped = run.piece(f"switched seed {seed}", lambda: swap(model(), test, held_out, seed))
        self.swapped["curve"] = run.loop(
            f"FAVOR+ seed {seed}", lambda: Training(lambda: estimating(model(), DIRECTIONS), **tuning)
        )
        self.exact: list[dict[str, Any]] = found["curve"] + later(more, size.steps)


def later(curve: Sequence[Mapping[str, Any]], steps: int) -> list[dict[str, Any]]:
    """Return a curve that starts after so many steps."""
    return [{**point, "step": point["step"] + steps} for point in curve]


def swap(model: Writer, test: Tensor, held_out: Tensor, seed: int) -> dict[str, Any]:
    """Return a trained model's accuracies with FAVOR+ before fine-tuning, and its weights of attention, both ways."""
    torch.manual_seed(seed)
    model.eval()
    found: dict[str, Any] = {}
    for m in (16, 64, DIRECTIONS, 1024):
        for kernel, of_kernel in KERNELS.items():
            found[f"{kernel}, {m}"] = accuracy(estimating(model, m, of_kernel).eval(), test)
    shown = held_out[:21]
    found["text"] = bytes(shown.tolist()).decode()
    found["weights"] = {
        "exact": weights_of(model, shown),
        "estimated": weights_of(estimating(model, DIRECTIONS), shown),
    }
    return found


@torch.no_grad()
def weights_of(model: nn.Module, text: Int[Tensor, " n"]) -> list[list[float]]:
    """Return the attention weights of the first layer's first head."""
    assert isinstance(model, Writer)
    layer = model.layers[0]
    assert isinstance(layer, EncoderLayer)
    x = layer.around_self_attention.before(model.embedding(text[None]))
    mask = None if isinstance(layer.self_attention, FavorAttention) else causal_mask(len(text))
    return layer.self_attention.weights(x, x, mask)[0, 0].tolist()


def judged_move(exact: Sequence[Any], swapped: Sequence[Any], size: Text) -> Finding:
    """Say whether fine-tuning brings back what the switch loses."""
    before = [at(curve, size.steps) for curve in exact]
    lost = [found[f"positive, {DIRECTIONS}"] for found in swapped]
    after = [found["curve"][-1]["accuracy"] for found in swapped]
    control = [curve[-1]["accuracy"] for curve in exact]
    dropped = in_every_seed(before, lost, by=0.01)
    halfway = [(high + low) / 2 for high, low in zip(before, lost, strict=True)]
    return Finding(
        claim="backwards-compatible",
        outcome=outcome(dropped and in_every_seed(after, before), dropped and in_every_seed(after, halfway)),
        measured=(
            f"Next characters named: {spread(before, '.3g')} with softmax after {size.steps} steps, "
            f"{spread(lost, '.3g')} when "
            f"switched to {DIRECTIONS} features, {spread(after, '.3g')} after {size.tuned} steps of fine-tuning; with "
            f"softmax, and as many steps more, {spread(control, '.3g')}."
        ),
        why=(
            f"Reproduced if in every seed fine-tuning, for {size.tuned / size.steps:.0%} of the steps, brings the "
            "accuracy above what it was before the switch; partly if in every seed more than half of what was lost "
            "comes back. Where the switch loses no more than 0.01 in some seed there is nothing to bring back, and "
            "nothing is reproduced. A small model over characters of English stands in for LM1B."
        ),
    )


def at(curve: Sequence[Mapping[str, Any]], step: int) -> float:
    """Return the accuracy at one step of a curve."""
    return next(point["accuracy"] for point in curve if point["step"] == step)


def move_table(models: Sequence[Moved], size: Text) -> Table:
    """Return accuracies right after the switch."""
    names = [name for name in models[0].swapped if name.startswith(tuple(KERNELS))]
    rows = [("softmax", models[0].parameters, spread([at(model.exact, size.steps) for model in models], ".3g"))]
    rows += [(name, models[0].parameters, spread([model.swapped[name] for model in models], ".3g")) for name in names]
    rows += [
        (
            f"positive, {DIRECTIONS}, fine-tuned",
            models[0].parameters,
            spread([m.swapped["curve"][-1]["accuracy"] for m in models], ".3g"),
        )
    ]
    rows += [
        ("softmax, trained on as long", models[0].parameters, spread([m.exact[-1]["accuracy"] for m in models], ".3g"))
    ]
    return Table(
        title="A trained language model, switched: next characters named",
        columns=("attention", "parameters", "accuracy"),
        rows=tuple(rows),
        note=f"Mean (lowest to highest) of {len(models)} seeds; not fine-tuned unless it says so.",
    )  # fmt: skip


def move_figure(models: Sequence[Moved], size: Text) -> Lines:
    """Return accuracy against steps, before and after the switch."""
    tuned = [
        [
            {"step": size.steps, "accuracy": model.swapped[f"positive, {DIRECTIONS}"]},
            *later(model.swapped["curve"], size.steps),
        ]
        for model in models
    ]
    curves = {"softmax": [model.exact for model in models], "FAVOR+ from the switch on": tuned}
    ends = {name: float(np.mean([curve[-1]["accuracy"] for curve in each])) for name, each in curves.items()}
    fell = float(np.mean([curve[0]["accuracy"] for curve in tuned]))
    told = ", ".join(f"{name} {end:.3f}" for name, end in ends.items())
    return Lines(
        id="switched",
        title="A trained model is switched to FAVOR+",
        caption="What the switch loses, and how fast fine-tuning brings it back; softmax goes on beside it.",
        alt=f"At the switch accuracy is {fell:.3f}; at the end: {told}.",
        x="steps", y="next characters named",
        series=tuple(Series.of(name, each, "accuracy") for name, each in curves.items()),
    )  # fmt: skip


def heat_maps(model: Moved) -> tuple[Heatmap, ...]:
    """Return the weights of attention on a line of text, exact and estimated."""
    letters = tuple(model.swapped["text"].replace(" ", "␣"))
    exact, estimated = (np.array(model.swapped["weights"][kind]) for kind in ("exact", "estimated"))
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
            ("estimated", estimated, f"by {DIRECTIONS} positive features, before fine-tuning"),
        )
    )
