"""Generated French sentences to pre-train on, and two tasks with few labels: which word does not agree?

The sentences are the French side of `reference_impl.experiments.translation`. Determiners and adjectives agree with
their noun, verbs with their subject, across whatever stands between. An error is one word in another form, where the
others tell that it is wrong: an adjective, a verb, or a determiner in the singular.

- *Acceptability*, sentence classification, as in CoLA: has the sentence an error? Half of them have.
- *Span*, extraction: each sentence has an error; which word is it?
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from reference_impl.bert import SpecialTokens
from reference_impl.experiments.translation import (
    ADJECTIVES,
    DETERMINERS,
    NOUNS,
    PREPOSITIONS,
    RELATIVE,
    VERBS,
    sample_pairs,
)

SPECIAL_TOKENS = SpecialTokens(pad=0, cls=1, sep=2, mask=3)
TASKS = ("span", "acceptability")
Words = tuple[str, ...]


def _paradigms() -> list[Words]:
    """Return the words that agree with others, each with its other forms."""
    determiners = [tuple(forms.split()[:2]) for forms in DETERMINERS.values()]
    adjectives = [tuple(f"{word}{e}{s}" for e in ("", "e") for s in ("", "s")) for word in ADJECTIVES.values()]
    return [*determiners, *adjectives, *((f"{stem}ait", f"{stem}aient") for stem in VERBS.values())]


OTHER_FORMS = {word: tuple(form for form in forms if form != word) for forms in _paradigms() for word in forms}
"""By word, the forms that are an error in its place."""
TOKENS = (
    *("[PAD]", "[CLS]", "[SEP]", "[MASK]"),
    *sorted(
        {*OTHER_FORMS, *PREPOSITIONS.values(), *RELATIVE.values()}
        | {forms.split()[2] for forms in DETERMINERS.values()}
        | {noun.split()[0] + plural for noun in NOUNS.values() for plural in ("", "s")}
    ),
)
"""All tokens: the special ones, and all words."""
_IDS = {token: index for index, token in enumerate(TOKENS)}


@dataclass(frozen=True)
class Task:
    """Labeled sentences to train and to test on: their words, token ids and labels.

    A label is a class, 1 if the sentence has an error, or the first and the last place of the word that is one.
    """

    texts: Sequence[Words]
    input_ids: Tensor
    labels: Tensor
    test_texts: Sequence[Words]
    test_input_ids: Tensor
    test_labels: Tensor


class Corpus:
    """Tokenized sentences to pre-train on, test sentences with a place to predict, and the two tasks.

    Args:
        sentences: The number of sentences to pre-train on, all different.
        max_words: The most words of a sentence.
        test_sentences: The number of sentences of a test; no model is trained on them.
    """

    def __init__(self, sentences: int, max_words: int, test_sentences: int) -> None:
        self.max_length = max_words + 2
        self.train_sentences, self.test_sentences = (
            distinct_sentences(count, max_words, held_out)
            for count, held_out in ((sentences, False), (test_sentences, True))
        )
        input_ids = self.encode(self.train_sentences)
        self.input_ids = input_ids[attention_mask(input_ids).sum(dim=-1)[:, 0].argsort(stable=True)]
        self.test_input_ids = self.encode(self.test_sentences)
        self.cloze_positions = sample_cloze_positions(self.test_input_ids)

    def encode(self, texts: Sequence[Words]) -> Int[Tensor, "b n"]:
        """Return the token ids of sentences between `[CLS]` and `[SEP]`, padded to `max_length`."""
        rows = torch.full((len(texts), self.max_length), SPECIAL_TOKENS.pad)
        for row, words in zip(rows, texts, strict=True):
            tokens = ("[CLS]", *words, "[SEP]")
            row[: len(tokens)] = torch.tensor([_IDS[token] for token in tokens])
        return rows

    def sample_batch(self, count: int, generator: torch.Generator) -> Int[Tensor, "b n"]:
        """Sample a batch to pre-train on, of sentences of similar length, so that there is little padding."""
        start = int(torch.randint(len(self.input_ids) - count + 1, (), generator=generator))
        return trim_padding(self.input_ids[start : start + count])

    def build_task(self, name: str, seed: int, labels: int) -> Task:
        """Build a task with a number of labeled sentences; with more labels, a seed adds to those of fewer."""
        rng = random.Random(seed)
        train = self._label(name, rng.sample(self.train_sentences, len(self.train_sentences))[:labels], rng)
        return Task(*train, *self._label(name, self.test_sentences, random.Random(0)))

    def _label(self, name: str, sentences: Sequence[Words], rng: random.Random) -> tuple[list[Words], Tensor, Tensor]:
        texts, labels = list[Words](), list[int | tuple[int, int]]()
        for number, words in enumerate(sentences):
            wrong, place = add_error(words, rng)
            has_error = name == "span" or number % 2 == 1
            texts.append(wrong if has_error else words)
            labels.append((place + 1, place + 1) if name == "span" else int(has_error))  # after [CLS]
        return texts, self.encode(texts), torch.tensor(labels)


def distinct_sentences(count: int, max_words: int, held_out: bool) -> list[Words]:
    """Return the first sentences that are generated, all different: those for training, or those held out."""
    pairs = sample_pairs(random.Random(0), (1, max_words), held_out)
    found: dict[Words, None] = {}
    while len(found) < count:
        found[next(pairs).target] = None
    return list(found)


def add_error(words: Words, rng: random.Random) -> tuple[Words, int]:
    """Return a sentence with one word in a form that is wrong there, and its place."""
    place = rng.choice([place for place, word in enumerate(words) if word in OTHER_FORMS])
    return (*words[:place], rng.choice(OTHER_FORMS[words[place]]), *words[place + 1 :]), place


def sample_cloze_positions(input_ids: Int[Tensor, "b n"]) -> Int[Tensor, " b"]:
    """Sample one position of each sentence, between `[CLS]` and `[SEP]`, with a fixed seed."""
    words = attention_mask(input_ids).sum(dim=-1)[:, 0] - 2
    return 1 + (torch.rand(len(input_ids), generator=torch.Generator().manual_seed(0)) * words).long()


def attention_mask(input_ids: Int[Tensor, "b n"]) -> Bool[Tensor, "b 1 n"]:
    """Return a mask that is true at real tokens, false at padding."""
    return (input_ids != SPECIAL_TOKENS.pad)[:, None]


def trim_padding(input_ids: Int[Tensor, "b n"]) -> Int[Tensor, "b _"]:
    """Remove the columns that are padding in all rows."""
    return input_ids[:, : int(attention_mask(input_ids).sum(dim=-1).max())]
