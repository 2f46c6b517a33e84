r"""ViT and a ConvNet of the same size, trained on 50 to 1,347 images.

Claims: On little data ConvNets do better; the gap closes with more data, and at scale ViT overtakes (Section 4.3,
    Figures 3 and 4). The reason given: ViT lacks a ConvNet's inductive bias (Section 3.1) and has to learn the
    structure of images, including the positions of patches (Section 4.5, Figure 7; Appendix D.4, Table 8).

Task: the handwritten digits of scikit-learn (8 × 8 pixels, ten classes), learned from scratch on ever more images.
    Every fourth image is a test image, always the same 450. A seed shuffles the other 1,347, and a training set of `n`
    images is the first `n` of them, the same for all models. Training uses no augmentation.

Arms: ViT with patches of 2 × 2, the same without positions, and a plain ConvNet.

Budget: the ConvNet's width makes it as large as ViT. All models take the same number of steps with the same batches,
    AdamW (weight decay 0.1), linear warmup and cosine decay. The learning rate of each model was tuned once, on 347
    held-out training images, in one run with 200 and one with 1,000 others, under a seed that `small` does not use:
    among 0.001, 0.002 and 0.004, and 0.008 for ViT. Dropout of 0.1 did not help ViT.

Measures: accuracy on the test images, and on copies shifted by one or two pixels in all eight directions, padded with
    blank pixels; the similarity of ViT's positions by the distance of the patches.

Stands in: 1,347 digits for 303 million photographs, 8 × 8 pixels for 224 × 224, and training for pre-training. The
    paper's curves cross between 9 and 90 million images.

Sizes: `small` takes about ten minutes on one thread. `full` has ViT-Ti's shape, and still only the digits.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Float, Int
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from quaere.content.results import Finding, Heatmap, Lines, Picture, Pictures, Report, Table, encoded, spread
from quaere.running.experiments import Run
from reference_impl.experiments.arms import match_width, train_seeds
from reference_impl.experiments.curves import Curve, Sweep, curve_series, final_values, list_means, select, sweep_series
from reference_impl.experiments.judging import (
    all_runs_above,
    differences,
    each_seed_above,
    not_tried,
    outcome,
    outcome_above,
)
from reference_impl.experiments.training import Batch, Training, count_parameters, device_of
from reference_impl.vit import ViT, ViTConfig, attention_rollout


@dataclass(frozen=True)
class Size:
    """The size of a run: seeds, numbers of training images, steps, batch size, and the shape of ViT.

    Attributes:
        images: The numbers of training images of ViT and the ConvNet.
        without_positions: Those of ViT without position embeddings.
    """

    seeds: int
    images: tuple[int, ...]
    without_positions: tuple[int, ...]
    steps: int
    batch_size: int
    d_model: int
    heads: int
    d_ff: int
    layers: int


SIZES = {
    "smoke": Size(1, (50, 200), (200,), 20, 32, 16, 2, 32, 1),
    "small": Size(3, (50, 100, 200, 400, 800, 1347), (100, 400, 1347), 1200, 32, 48, 4, 96, 3),
    "full": Size(5, (50, 100, 200, 400, 800, 1347), (50, 100, 200, 400, 800, 1347), 10_000, 256, 192, 3, 768, 12),
}


# Task and data


@dataclass(frozen=True)
class Digits:
    """Images with pixels in [0, 1], where 0 is blank, and their labels."""

    images: Float[Tensor, "b 1 8 8"]
    labels: Int[Tensor, " b"]

    def subset(self, indices: Int[Tensor, " picked"]) -> "Digits":
        """Return the images and labels at the given indices."""
        return Digits(self.images[indices], self.labels[indices])

    def shift(self, down: int, across: int) -> "Digits":
        """Return the images shifted by whole pixels, padded with blank pixels."""
        padded = F.pad(self.images, (across, -across, down, -down))
        return Digits(padded, self.labels)


@cache
def load_splits() -> tuple[Digits, Digits]:
    """Return the images to train on, and those to test on, which are every fourth."""
    pixels, labels = load_digits(return_X_y=True)
    images = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    digits, indices = Digits(images, torch.tensor(labels)), torch.arange(len(labels))
    return digits.subset(indices[indices % 4 != 0]), digits.subset(indices[indices % 4 == 0])


def sample_training_set(pool: Digits, n: int, seed: int) -> Digits:
    """Return the first n images in a seed's random order, so that a larger set contains the smaller ones."""
    return pool.subset(torch.randperm(len(pool.labels), generator=torch.Generator().manual_seed(seed))[:n])


# Arms

VIT, NO_POSITIONS, CONVNET = "ViT", "ViT without positions", "ConvNet"
LEARNING_RATES = {VIT: 0.004, NO_POSITIONS: 0.004, CONVNET: 0.002}


class ConvNet(nn.Sequential):
    """A plain ConvNet: four 3 × 3 convolutions with group norm, max pooling after two, and global average pooling.

    It has group norm, as the ConvNets that the paper compares with, and not batch norm.

    Args:
        width: The number of channels of the first two convolutions; the other two have twice as many.
    """

    def __init__(self, width: int) -> None:
        super().__init__(
            *_convolution(1, width),
            *_convolution(width, width),
            nn.MaxPool2d(2),
            *_convolution(width, 2 * width),
            *_convolution(2 * width, 2 * width),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(2 * width, 10),
        )


def _convolution(in_channels: int, out_channels: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.GroupNorm(2, out_channels), nn.ReLU()


def size_matched_convnet(model: ViT) -> ConvNet:
    """Build the ConvNet whose number of parameters is nearest to the model's."""
    # Two groups of channels share a norm, so widths are even.
    return ConvNet(2 * match_width(lambda half: ConvNet(2 * half), count_parameters(model)))


def build_model(arm: str, size: Size) -> nn.Module:
    """Build a new model of one of the three arms."""
    shape = (size.d_model, size.heads, size.d_ff, size.layers)
    model = ViT(ViTConfig(*shape, patch_size=2, image_size=(8, 8), num_classes=10, num_channels=1))
    if arm == CONVNET:
        return size_matched_convnet(model)
    if arm == NO_POSITIONS:
        model.position_embeddings.table.requires_grad_(False).zero_()
    return model


# Training


def loss(model: nn.Module, images: Float[Tensor, "b 1 8 8"], labels: Int[Tensor, " b"]) -> tuple[Tensor, int]:
    """Return the summed cross-entropy, and the number of images."""
    return F.cross_entropy(model(images), labels, reduction="sum"), len(labels)


def warmup_cosine_schedule(optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
    """Return linear warmup over a tenth of the steps, then cosine decay to zero."""
    warmup = max(1, steps // 10)

    def factor(step: int) -> float:
        return min(1.0, (step + 1) / warmup) * (1 + math.cos(math.pi * max(0, step - warmup) / (steps - warmup))) / 2

    return LambdaLR(optimizer, factor)


def build_training(size: Size, arm: str, n: int, seed: int) -> Training:
    """Return the training of one arm on n digits, which the seed chooses."""
    pool, test = load_splits()
    training_set = sample_training_set(pool, n, seed)

    def batch(generator: torch.Generator) -> Batch:
        picked = training_set.subset(torch.randint(n, (size.batch_size,), generator=generator))
        return picked.images, picked.labels

    return Training(
        model=partial(build_model, arm, size),
        loss=loss,
        batch=batch,
        steps=size.steps,
        optimizer=lambda model: torch.optim.AdamW(model.parameters(), lr=LEARNING_RATES[arm], weight_decay=0.1),
        schedule=partial(warmup_cosine_schedule, steps=size.steps),
        clip=1.0,
        measure=lambda model: {"test": accuracy(model, test)},
        every=max(1, size.steps // 10),
        ending=partial(probe_model, training_set, test),
    )


# Measures

Accuracies = Mapping[str, Sweep]
"""By model and number of training images: the accuracy of each seed."""
SHOWN_DIGITS = (2, 4, 5, 7)
"""The classes of the example images in the figures."""


def accuracy(model: nn.Module, digits: Digits) -> float:
    """Return the fraction of the images that is classified correctly."""
    predicted = model(digits.images.to(device_of(model))).argmax(dim=1).cpu()
    return float((predicted == digits.labels).float().mean())


def shifted_accuracy(model: nn.Module, digits: Digits, by: int) -> float:
    """Return the mean accuracy over shifts by so many pixels in the eight directions."""
    shifts = [(down, across) for down in (-by, 0, by) for across in (-by, 0, by) if (down, across) != (0, 0)]
    return fmean(accuracy(model, digits.shift(*shift)) for shift in shifts)


def probe_model(training_set: Digits, test: Digits, model: nn.Module) -> dict[str, Any]:
    """Return a trained model's accuracies, and for ViT the similarity of its positions and its attention rollout."""
    found: dict[str, Any] = {
        "training": accuracy(model, training_set),
        "test": accuracy(model, test),
        **{f"shifted by {by}": shifted_accuracy(model, test, by) for by in (1, 2)},
    }
    if isinstance(model, ViT):
        table = F.normalize(model.position_embeddings.table[1:], dim=1)
        found["position similarity"] = (table @ table.mT).tolist()
        weights = model.attention_weights(example_images(test).images.to(table.device))
        found["rollout"] = attention_rollout(weights)[:, 0, 1:].tolist()
    return found


def example_images(digits: Digits) -> Digits:
    """Return the first image of each class of `SHOWN_DIGITS`."""
    return digits.subset(torch.stack([(digits.labels == kind).nonzero()[0, 0] for kind in SHOWN_DIGITS]))


def similarity_distance_correlation(similarity: Float[Tensor, "n n"]) -> float:
    """Return the correlation, over all pairs of patches, of position similarity and distance."""
    side = math.isqrt(len(similarity))
    places = torch.cartesian_prod(torch.arange(float(side)), torch.arange(float(side)))
    first, second = torch.triu_indices(len(similarity), len(similarity), offset=1)
    pairs = torch.stack([similarity[first, second], torch.cdist(places, places)[first, second]])
    return float(torch.corrcoef(pairs)[0, 1])


# Claims


def judge_small_data(test: Accuracies) -> Finding:
    """Judge whether the ConvNet leads on little data and the gap closes, in points and as a ratio of errors."""
    least, most = min(test[VIT]), max(test[VIT])
    gaps = {n: differences(test[CONVNET][n], test[VIT][n]) for n in (least, most)}
    ratios = {n: error_ratio(test, n) for n in (least, most)}
    leads = all_runs_above(test[CONVNET][least], test[VIT][least])
    closes = each_seed_above([gap / 2 for gap in gaps[least]], gaps[most])
    keeps_up = ratios[most] <= ratios[least]
    said = {n: (spread([100 * gap for gap in gaps[n]], ".1f"), f"{ratios[n]:.1f}".replace("inf", "∞")) for n in gaps}
    return Finding(
        claim="small-data",
        outcome=outcome(leads and closes and keeps_up, leads and (closes or keeps_up)),
        measured=(
            f"trained from scratch on {least} images, the ConvNet has {spread(test[CONVNET][least])} and ViT "
            f"{spread(test[VIT][least])}; on {most:,}, {spread(test[CONVNET][most])} and {spread(test[VIT][most])}. "
            f"The gap goes from {said[least][0]} to {said[most][0]} points; ViT errs {said[least][1]} times as often "
            f"as the ConvNet on the fewest and {said[most][1]} times on the most"
        ),
        why=(
            "On the fewest images the worst ConvNet must beat the best ViT. Then reproduced if, from the fewest to the "
            "most, the gap in points falls to less than half with each seed, and the ratio of the errors of all seeds "
            "does not grow; partly if only one of both holds. The ratio is there because the gap in points also closes "
            "where accuracy saturates. The claim is about pre-training data; here nothing is pre-trained."
        ),
    )


def error_ratio(test: Accuracies, n: int) -> float:
    """Return ViT's error rate over the ConvNet's, both means over all seeds: with one seed it may be zero."""
    vit, convnet = (fmean(1 - right for right in test[arm][n]) for arm in (VIT, CONVNET))
    return vit / convnet if convnet else math.inf


def judge_overtaking(test: Accuracies) -> Finding:
    """Judge whether ViT overtakes the ConvNet."""
    most = max(test[VIT])
    ahead = [n for n in test[VIT] if fmean(test[VIT][n]) > fmean(test[CONVNET][n])]
    crossing = f"ViT's mean is ahead at {', '.join(f'{n:,}' for n in ahead)} images" if ahead else "no crossing"
    ends = test[VIT][most], test[CONVNET][most]
    return Finding(
        claim="overtakes",
        outcome=outcome_above(*ends),
        measured=(
            f"{crossing} from {min(test[VIT]):,} to {most:,} images; at {most:,} ViT has {spread(ends[0])}, the "
            f"ConvNet {spread(ends[1])}, both trained from scratch"
        ),
        why=(
            "Reproduced if on the most images the worst ViT beats the best ConvNet, partly if with each seed ViT beats "
            "the ConvNet. The paper's curves cross between 9 and 90 million images: a miss at this size does not speak "
            "against it."
        ),
    )


def judge_inductive_bias(test: Accuracies, on_shifted: Accuracies) -> Finding:
    """Judge whether a shift of the images lowers ViT's accuracy more than the ConvNet's."""
    most = max(test[VIT])
    lost = {arm: differences(test[arm][most], on_shifted[arm][most]) for arm in (VIT, CONVNET)}
    return Finding(
        claim="inductive-bias",
        outcome=outcome_above(lost[VIT], lost[CONVNET]),
        measured=(
            f"after {most:,} images, none of them shifted, a shift by one pixel costs ViT {spread(lost[VIT])} of "
            f"accuracy and the ConvNet {spread(lost[CONVNET])}; shifted, they have {spread(on_shifted[VIT][most])} and "
            f"{spread(on_shifted[CONVNET][most])}"
        ),
        why="Reproduced if the ViT that loses least loses more than every ConvNet; partly if with each seed.",
    )


def judge_positions(test: Accuracies) -> Finding:
    """Judge whether position embeddings help."""
    most = max(test[VIT])
    ends = test[VIT][most], test[NO_POSITIONS][most]
    return Finding(
        claim="positions",
        outcome=outcome_above(*ends),
        measured=(
            f"{most:,} images: {spread(ends[0])} with positions, {spread(ends[1])} without; "
            + "; ".join(
                f"{n}: {fmean(test[VIT][n]):.3f}, {fmean(test[NO_POSITIONS][n]):.3f}"
                for n in test[NO_POSITIONS]
                if n != most
            )
        ),
        why="Reproduced if on the most images the worst ViT beats the best one without positions; partly if each does.",
    )


def judge_position_similarity(correlations: Sequence[float]) -> Finding:
    """Judge whether the position embeddings of neighboring patches are similar."""
    return Finding(
        claim="position-likeness",
        outcome=outcome(max(correlations) < -0.3, max(correlations) < 0),
        measured=f"correlation of the cosine of two patches' positions and their distance: {spread(correlations)}",
        why="Reproduced if the correlation over all pairs of patches is below -0.3 in each seed; partly if below 0.",
    )


NOT_TRIED = not_tried(
    {
        "imagenet": "It requires JFT's 303 million images, which are not public, and 2,500 TPUv3-core-days.",
        "real": "It requires the model that was pre-trained on JFT.",
        "transfer": "It requires the model that was pre-trained on JFT.",
        "compute": "It requires pre-training both models at scale, to about equal accuracy on ImageNet.",
        "masked-patches": "It requires pre-training on far more unlabeled images than there are digits.",
    }
)


# Report


def experiment(run: Run) -> Report:
    """Train the three models on training sets of several sizes, and compare them on the test images."""
    size, seeds = SIZES[run.size], run.seeds(SIZES[run.size].seeds)
    images = {VIT: size.images, NO_POSITIONS: size.without_positions, CONVNET: size.images}
    run.expect(len(seeds) * sum(map(len, images.values())))
    results = {
        arm: {n: train_seeds(run, f"{arm}, {n} images", partial(build_training, size, arm, n), seeds) for n in of_arm}
        for arm, of_arm in images.items()
    }

    def accuracies(test: str) -> Accuracies:
        return {arm: select(of_arm, test) for arm, of_arm in results.items()}

    test, on_shifted, on_shifted_twice = map(accuracies, ("test", "shifted by 1", "shifted by 2"))
    most = max(size.images)
    similarity = torch.tensor([result["position similarity"] for result in results[VIT][most]])
    return Report(
        findings=(
            judge_small_data(test),
            judge_overtaking(test),
            judge_inductive_bias(test, on_shifted),
            judge_positions(test),
            judge_position_similarity([similarity_distance_correlation(one) for one in similarity]),
            *NOT_TRIED,
        ),
        tables=(_table(size, accuracies("training"), test, on_shifted, on_shifted_twice),),
        figures=(
            _accuracy_by_images("accuracy", "Accuracy on 450 digits that were not trained on", test),
            _accuracy_by_images("accuracy-shifted", "Accuracy on the same digits, shifted by one pixel", on_shifted),
            _accuracy_by_steps(select({arm: of_arm[most] for arm, of_arm in results.items()}, "curve")),
            _position_heatmap(similarity[0], most),
            _attention_pictures(torch.tensor(results[VIT][most][0]["rollout"])),
            _shift_pictures(),
        ),
        seeds=tuple(seeds),
        settings={**asdict(size), "learning_rates": LEARNING_RATES},
        notes=(
            "Training and test images are by the same writers. Accuracy on shifted images is the mean over eight "
            "directions; the digits fill their images, so that a shift also cuts some of them off. The criteria were "
            "made stricter after the results of a first run."
        ),
    )


def _table(size: Size, training: Accuracies, *tests: Accuracies) -> Table:
    counts = {arm: count_parameters(build_model(arm, size)) for arm in LEARNING_RATES}
    return Table(
        title="Accuracy after the same steps",
        columns=("images", "model", "parameters", "training", "test", "shifted by 1", "shifted by 2"),
        rows=tuple(
            (n, arm, counts[arm], fmean(training[arm][n]), *(spread(of[arm][n]) for of in tests))
            for n in size.images
            for arm in LEARNING_RATES
            if n in training[arm]
        ),
        note="The mean over seeds, with the lowest and the highest. Shifts are in pixels. Chance is 0.1.",
    )


def _accuracy_by_images(name: str, title: str, found: Accuracies) -> Lines:
    ends = [
        f"{arm} from {fmean(of[min(of)]):.2f} at {min(of)} to {fmean(of[max(of)]):.2f} at {max(of):,}"
        for arm, of in found.items()
    ]
    return Lines(
        id=name,
        title=title,
        caption=(
            "All models have the same images, steps and batches. Look at the gap between ViT and the ConvNet on the "
            "left and on the right, and whether the curves cross."
        ),
        alt=f"Mean accuracy against training images: {'; '.join(ends)}. Chance is 0.1.",
        x="training images",
        y="accuracy",
        log=("x",),
        series=sweep_series(found),
        levels={"chance": 0.1},
    )


def _accuracy_by_steps(curves: Mapping[str, Sequence[Curve]]) -> Lines:
    ends = list_means(final_values(curves, "test"), ".2f", ", ")
    return Lines(
        id="learning",
        title="Accuracy on test images while training on all images",
        caption="Whether training had converged: the curves should be flat on the right.",
        alt=f"Mean accuracy against steps; after the last step: {ends}.",
        x="steps",
        y="accuracy",
        series=curve_series(curves, "test"),
        levels={"chance": 0.1},
    )


def _position_heatmap(similarity: Float[Tensor, "n n"], n: int) -> Heatmap:
    side = math.isqrt(len(similarity))
    names = tuple(f"{row + 1}, {column + 1}" for row in range(side) for column in range(side))
    return Heatmap(
        id="positions",
        title="Similarity of the learned position embeddings",
        caption=(
            f"The cosine of each two of the {len(names)} patches' positions (row, column), first seed, {n:,} images: "
            "the paper's Figure 7. A patch's neighbors to the left and right stand beside the diagonal, those above "
            f"and below {side} cells away from it."
        ),
        alt=(
            "The cosine of two positions; its correlation with the distance of the patches is "
            f"{similarity_distance_correlation(similarity):.2f}."
        ),
        rows=names,
        columns=names,
        x="patch",
        y="patch",
        values=tuple(tuple(row) for row in similarity.tolist()),
    )


def _attention_pictures(rollout: Float[Tensor, "b n"]) -> Pictures:
    digits = example_images(load_splits()[1])
    side = math.isqrt(rollout.shape[1])
    brightness = F.interpolate((rollout / rollout.amax(dim=1, keepdim=True)).reshape(-1, 1, side, side), scale_factor=2)
    pictures = []
    for kind, image, bright in zip(SHOWN_DIGITS, digits.images, brightness, strict=True):
        pictures += [
            Picture(title=f"a {kind}", png=encode_png(image[0])),
            Picture(title="attention", png=encode_png((bright * (0.3 + 0.7 * image))[0])),
        ]
    most = [f"{kind}: {share:.2f}" for kind, share in zip(SHOWN_DIGITS, rollout.amax(dim=1).tolist(), strict=True)]
    return Pictures(
        id="attention",
        title="Attention of ViT",
        caption=(
            "Four test images, and each again with the brightness of a patch scaled by its attention rollout for the "
            "class token (the paper's Figure 6), first seed. Each patch is 2 × 2 pixels."
        ),
        alt=f"Uniform attention would be {1 / rollout.shape[1]:.2f}. The greatest of a patch is, {', '.join(most)}.",
        pictures=tuple(pictures),
    )


def _shift_pictures() -> Pictures:
    digits = example_images(load_splits()[1])
    shifts = {"as it is": (0, 0), "by one pixel": (1, 1), "by two": (2, 2)}
    return Pictures(
        id="shifts",
        title="Shifted images",
        caption="A test image, and the same shifted down and right by one pixel and by two: some of it is cut off.",
        alt=f"A handwritten {SHOWN_DIGITS[1]} three times, further down and right each time, cut off in the last.",
        pictures=tuple(
            Picture(title=title, png=encode_png(digits.shift(*way).images[1, 0])) for title, way in shifts.items()
        ),
    )


def encode_png(pixels: Float[Tensor, "rows columns"]) -> str:
    """Return an image, 0 black and 1 white, twelve times as large, as PNG in Base64."""
    image = Image.fromarray((255 * pixels).clamp(0, 255).byte().numpy())
    return encoded(image.resize((12 * image.width, 12 * image.height), Image.Resampling.NEAREST))
