"""Two tasks on sentences that are there already, with the labels that they come with, and the tokens that models read.

- *Topic*, a task on the whole sentence: which package is it from? Sentences that name a package are left out.
- *Span*, a task on tokens: which word was set as code? The markup is gone. Only sentences with one such word are taken,
  of small letters alone, so that its spelling does not tell.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn import functional as F

from reference_impl.bert import Special, WordPieces
from reference_impl.experiments import prose

SPECIAL = Special(pad=0, cls=2, sep=3, mask=4)
TASKS = ("span", "topic")


@dataclass(frozen=True)
class Task:
    """Labelled sentences, and those to test with: what they say, their tokens, and what is asked of each."""

    texts: Sequence[str]
    tokens: Tensor
    answers: Tensor
    test_texts: Sequence[str]
    test_tokens: Tensor
    test_answers: Tensor


class Corpus:
    """All sentences as tokens: those to pre-train on, those with a word to guess, and the two tasks.

    Args:
        files: The most files that are read of a package; all if None.
        vocabulary: How many word pieces there are.
        length: The most tokens of a sentence.
        tested: The most sentences of a test.
    """

    def __init__(self, files: int | None, vocabulary: int, length: int, tested: int) -> None:
        self.length, self.tested, sentences = length, tested, prose.read(files)
        self.seen = drawn([one for one in sentences if not one.held_out], seed=0)
        self.unseen = drawn([one for one in sentences if one.held_out], seed=0)
        self.pieces = WordPieces(prose.vocabulary([one.text for one in self.seen], vocabulary))
        tokens = self.read([one.text for one in self.seen])
        self.tokens = tokens[real(tokens).sum(dim=-1)[:, 0].argsort(stable=True)]
        self.test_tokens = self.read([one.text for one in self.unseen[:tested]])
        self.asked = guessed_places(self.test_tokens)
        self._spans = [[one for one in some if self.span(one)] for some in (self.seen, self.unseen)]
        self._topics = [[one for one in some if not one.names_a_package] for some in (self.seen, self.unseen)]

    def read(self, texts: Sequence[str]) -> Int[Tensor, "b n"]:
        """Return texts as tokens, all padded to the same length."""
        tokens = self.pieces(texts, self.length).tokens
        return F.pad(tokens, (0, self.length - tokens.shape[1]), value=SPECIAL.pad)

    def batch(self, count: int, generator: torch.Generator) -> Int[Tensor, "b n"]:
        """Return some sentences to pre-train on, of about one length: padding would cost as much as words."""
        start = int(torch.randint(len(self.tokens) - count + 1, (), generator=generator))
        return trimmed(self.tokens[start : start + count])

    def task(self, name: str, seed: int, labels: int) -> Task:
        """Return a task with so many labelled sentences; with more labels, a seed has the same ones and others."""
        seen, unseen = self._topics if name == "topic" else self._spans
        seen = drawn(seen, seed)
        if name == "topic":
            seen, unseen = in_turn(seen), in_turn(unseen)
        return Task(*self._labelled(name, seen[:labels]), *self._labelled(name, unseen[: self.tested]))

    def span(self, sentence: prose.Sentence) -> tuple[int, int] | None:
        """Return the first and the last token of the one word that was code; none if its spelling may tell it."""
        if len(sentence.code) != 1:
            return None
        begin, end = sentence.code[0]
        word = sentence.text[begin:end]
        # Small letters alone, and nowhere else in the sentence: then nothing but its use tells that it is code.
        if not (word.isascii() and word.isalpha() and word.islower()) or sentence.text.lower().split().count(word) > 1:
            return None
        self.pieces.tokenizer.enable_truncation(self.length - 1)
        read = self.pieces.tokenizer.encode(sentence.text)
        first, last = read.char_to_token(begin), read.char_to_token(end - 1)
        return None if first is None or last is None else (first, last)

    def _labelled(self, name: str, sentences: Sequence[prose.Sentence]) -> tuple[list[str], Tensor, Tensor]:
        texts = [one.text for one in sentences]
        if name == "topic":
            return texts, self.read(texts), torch.tensor([prose.PACKAGES.index(one.package) for one in sentences])
        return texts, self.read(texts), torch.tensor([self.span(one) for one in sentences])


def drawn(sentences: Sequence[prose.Sentence], seed: int) -> list[prose.Sentence]:
    """Return all sentences in an order of the seed's."""
    order = torch.randperm(len(sentences), generator=torch.Generator().manual_seed(seed))
    return [sentences[place] for place in order.tolist()]


def in_turn(sentences: Sequence[prose.Sentence]) -> list[prose.Sentence]:
    """Return one sentence of each package after another: the first ones are balanced, as long as all packages last."""
    of = [[one for one in sentences if one.package == package] for package in prose.PACKAGES]
    return [one for turn in zip_longest(*of) for one in turn if one is not None]


def guessed_places(tokens: Int[Tensor, "b n"]) -> Int[Tensor, " b"]:
    """Choose one place of each sentence, between `[CLS]` and `[SEP]`; always the same."""
    inside = real(tokens).sum(dim=-1)[:, 0] - 2
    return 1 + (torch.rand(len(tokens), generator=torch.Generator().manual_seed(0)) * inside).long()


def real(tokens: Int[Tensor, "b n"]) -> Bool[Tensor, "b 1 n"]:
    """Return where there is no padding."""
    return (tokens != SPECIAL.pad)[:, None]


def trimmed(tokens: Int[Tensor, "b n"]) -> Int[Tensor, "b _"]:
    """Return the tokens without the places that are padding in all rows."""
    return tokens[:, : int(real(tokens).sum(dim=-1).max())]
