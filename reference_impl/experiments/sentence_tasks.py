"""A corpus of tokenized sentences, and two tasks on them whose labels come with the text.

- *Topic*, sentence classification: which package is the sentence from? Sentences that name a package are left out.
- *Span*, extraction: which word was marked as code? The markup is removed. Only sentences with one such word are taken,
  in lowercase letters, so that its spelling does not give it away.
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
    """Labeled sentences to train and to test on: their texts, token ids and labels."""

    texts: Sequence[str]
    input_ids: Tensor
    labels: Tensor
    test_texts: Sequence[str]
    test_input_ids: Tensor
    test_labels: Tensor


class Corpus:
    """The tokenized corpus: sentences to pre-train on, test sentences with a position to predict, and the two tasks.

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
        """Return the token ids of texts, padded to `max_length`."""
        input_ids = self.tokenizer(texts, self.max_length).input_ids
        return F.pad(input_ids, (0, self.max_length - input_ids.shape[1]), value=SPECIAL_TOKENS.pad)

    def sample_batch(self, count: int, generator: torch.Generator) -> Int[Tensor, "b n"]:
        """Sample a batch to pre-train on, of sentences of similar length, so that there is little padding."""
        start = int(torch.randint(len(self.input_ids) - count + 1, (), generator=generator))
        return trim_padding(self.input_ids[start : start + count])

    def build_task(self, name: str, seed: int, labels: int) -> Task:
        """Build a task with a number of labeled sentences; with more labels, a seed adds to those of fewer."""
        train, test = self._topics if name == "topic" else self._spans
        train = shuffle(train, seed)
        if name == "topic":
            train, test = interleave_packages(train), interleave_packages(test)
        return Task(*self._label(name, train[:labels]), *self._label(name, test[: self.max_test_sentences]))

    def code_span(self, sentence: prose.Sentence) -> tuple[int, int] | None:
        """Return the first and the last token of the word that was code; None if its spelling may give it away."""
        if len(sentence.code) != 1:
            return None
        begin, end = sentence.code[0]
        word = sentence.text[begin:end]
        # In lowercase letters, and once in the sentence: then nothing but its context tells that it is code.
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
    """Return the sentences in a random order."""
    order = torch.randperm(len(sentences), generator=torch.Generator().manual_seed(seed))
    return [sentences[index] for index in order.tolist()]


def interleave_packages(sentences: Sequence[prose.Sentence]) -> list[prose.Sentence]:
    """Return one sentence of each package in turn, so that the first ones are balanced over packages."""
    groups = [[one for one in sentences if one.package == package] for package in prose.PACKAGES]
    return [one for turn in zip_longest(*groups) for one in turn if one is not None]


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
