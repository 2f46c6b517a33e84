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

from reference_impl.bert import SpecialTokens, WordPieceTokenizer
from reference_impl.experiments import prose

SPECIAL_TOKENS = SpecialTokens(pad=0, cls=2, sep=3, mask=4)
TASKS = ("span", "topic")


@dataclass(frozen=True)
class Task:
    """Labelled sentences, and those to test with: what they say, their tokens, and what is asked of each."""

    texts: Sequence[str]
    input_ids: Tensor
    labels: Tensor
    test_texts: Sequence[str]
    test_input_ids: Tensor
    test_labels: Tensor


class Corpus:
    """All sentences as tokens: those to pre-train on, those with a word to guess, and the two tasks.

    Args:
        max_files: The most files that are read of a package; all if None.
        vocab_size: Number of word pieces.
        max_length: The most tokens of a sentence.
        max_test_sentences: The most sentences of a test.
    """

    def __init__(self, max_files: int | None, vocab_size: int, max_length: int, max_test_sentences: int) -> None:
        self.max_length, self.max_test_sentences = max_length, max_test_sentences
        sentences = prose.read_sentences(max_files)
        self.train_sentences = shuffle([one for one in sentences if not one.held_out], seed=0)
        self.test_sentences = shuffle([one for one in sentences if one.held_out], seed=0)
        self.tokenizer = WordPieceTokenizer(prose.build_vocab([one.text for one in self.train_sentences], vocab_size))
        input_ids = self.encode([one.text for one in self.train_sentences])
        self.input_ids = input_ids[attention_mask(input_ids).sum(dim=-1)[:, 0].argsort(stable=True)]
        self.test_input_ids = self.encode([one.text for one in self.test_sentences[:max_test_sentences]])
        self.cloze_positions = sample_cloze_positions(self.test_input_ids)
        splits = self.train_sentences, self.test_sentences
        self._spans = [[one for one in split if self.code_span(one)] for split in splits]
        self._topics = [[one for one in split if not one.mentions_package] for split in splits]

    def encode(self, texts: Sequence[str]) -> Int[Tensor, "b n"]:
        """Return texts as tokens, all padded to the same length."""
        input_ids = self.tokenizer(texts, self.max_length).input_ids
        return F.pad(input_ids, (0, self.max_length - input_ids.shape[1]), value=SPECIAL_TOKENS.pad)

    def sample_batch(self, count: int, generator: torch.Generator) -> Int[Tensor, "b n"]:
        """Return some sentences to pre-train on, of about one length: padding would cost as much as words."""
        start = int(torch.randint(len(self.input_ids) - count + 1, (), generator=generator))
        return trim_padding(self.input_ids[start : start + count])

    def build_task(self, name: str, seed: int, labels: int) -> Task:
        """Return a task with so many labelled sentences; with more labels, a seed has the same ones and others."""
        train, test = self._topics if name == "topic" else self._spans
        train = shuffle(train, seed)
        if name == "topic":
            train, test = interleave_packages(train), interleave_packages(test)
        return Task(*self._label(name, train[:labels]), *self._label(name, test[: self.max_test_sentences]))

    def code_span(self, sentence: prose.Sentence) -> tuple[int, int] | None:
        """Return the first and the last token of the one word that was code; none if its spelling may tell it."""
        if len(sentence.code) != 1:
            return None
        begin, end = sentence.code[0]
        word = sentence.text[begin:end]
        # Small letters alone, and nowhere else in the sentence: then nothing but its use tells that it is code.
        if not (word.isascii() and word.isalpha() and word.islower()) or sentence.text.lower().split().count(word) > 1:
            return None
        self.tokenizer.tokenizer.enable_truncation(self.max_length - 1)
        encoding = self.tokenizer.tokenizer.encode(sentence.text)
        first, last = encoding.char_to_token(begin), encoding.char_to_token(end - 1)
        return None if first is None or last is None else (first, last)

    def _label(self, name: str, sentences: Sequence[prose.Sentence]) -> tuple[list[str], Tensor, Tensor]:
        texts = [one.text for one in sentences]
        if name == "topic":
            return texts, self.encode(texts), torch.tensor([prose.PACKAGES.index(one.package) for one in sentences])
        return texts, self.encode(texts), torch.tensor([self.code_span(one) for one in sentences])


def shuffle(sentences: Sequence[prose.Sentence], seed: int) -> list[prose.Sentence]:
    """Return all sentences in an order of the seed's."""
    order = torch.randperm(len(sentences), generator=torch.Generator().manual_seed(seed))
    return [sentences[place] for place in order.tolist()]


def interleave_packages(sentences: Sequence[prose.Sentence]) -> list[prose.Sentence]:
    """Return one sentence of each package after another: the first ones are balanced, as long as all packages last."""
    of = [[one for one in sentences if one.package == package] for package in prose.PACKAGES]
    return [one for turn in zip_longest(*of) for one in turn if one is not None]


def sample_cloze_positions(input_ids: Int[Tensor, "b n"]) -> Int[Tensor, " b"]:
    """Choose one place of each sentence, between `[CLS]` and `[SEP]`; always the same."""
    inside = attention_mask(input_ids).sum(dim=-1)[:, 0] - 2
    return 1 + (torch.rand(len(input_ids), generator=torch.Generator().manual_seed(0)) * inside).long()


def attention_mask(input_ids: Int[Tensor, "b n"]) -> Bool[Tensor, "b 1 n"]:
    """Return where there is no padding."""
    return (input_ids != SPECIAL_TOKENS.pad)[:, None]


def trim_padding(input_ids: Int[Tensor, "b n"]) -> Int[Tensor, "b _"]:
    """Return the tokens without the places that are padding in all rows."""
    return input_ids[:, : int(attention_mask(input_ids).sum(dim=-1).max())]
