"""A corpus of English sentences from the docstrings of installed packages.

Nothing is downloaded or imported. The sentences depend on the packages' versions.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

PACKAGES = ("django", "matplotlib", "networkx", "numpy", "scipy", "sklearn", "sympy", "torch")
"""Packages with similar English on different subjects."""

_DOCSTRING = re.compile(r'"""(.*?)"""', re.DOTALL)
_NO_PROSE = re.compile(r">>>|::|\\|---|===|^\.\. ", re.MULTILINE)
_SENTENCE = re.compile(r"[A-Z][A-Za-z0-9 ,;()'\"-]*[a-z)]\.")
_ELSEWHERE = ("test", "_test", "conftest", "extern", "vendor", "array_api")


@dataclass(frozen=True)
class Sentence:
    """A sentence without its markup.

    Attributes:
        text: The sentence.
        package: The package that it is from.
        file: The file that it is from, relative to the package.
    """

    text: str
    package: str
    file: str

    @property
    def held_out(self) -> bool:
        """Whether it is a test sentence: whole files are held out, so that train and test share no text."""
        return zlib.crc32(f"{self.package}/{self.file}".encode()) % 5 == 0


def read_sentences(max_files: int | None = None, words: tuple[int, int] = (5, 16)) -> list[Sentence]:
    """Return the sentences of all packages, without duplicates.

    Args:
        max_files: The most files to read of a package, evenly spaced; all if None.
        words: The fewest and the most words that a sentence has.

    Raises:
        ModuleNotFoundError: A package is not installed.
    """
    found: dict[str, Sentence] = {}
    for package in PACKAGES:
        folder = _folder(package)
        for path in _spread(_sources(folder), max_files):
            source = path.read_text(encoding="utf-8", errors="replace")
            for text in extract_sentences(source):
                if words[0] <= len(text.split()) <= words[1]:
                    found.setdefault(text.lower(), Sentence(text, package, path.relative_to(folder).as_posix()))
    return list(found.values())


def character_ids(max_files: int, held_out: bool) -> Int[Tensor, " n"]:
    """Return the corpus as one sequence of ASCII codes: the training or the held-out files."""
    chosen = (sentence.text for sentence in read_sentences(max_files) if sentence.held_out is held_out)
    return torch.tensor(list(" ".join(chosen).encode("ascii", errors="replace")))


def split_validation(text: Int[Tensor, " n"], keep_every: int = 1) -> tuple[Int[Tensor, " m"], Int[Tensor, " k"]]:
    """Split a text into chunks of 512 characters for training and for validation, which every tenth chunk is for.

    Args:
        text: The text.
        keep_every: Of the chunks for training, keep those whose number is a multiple of this.
    """
    stretches = text[: len(text) // 5120 * 5120].view(-1, 10, 512)
    return stretches[:, :-1].flatten(0, 1)[::keep_every].flatten(), stretches[:, -1].flatten()


def extract_sentences(source: str) -> Iterator[str]:
    """Yield the sentences in a file's docstrings, one line each, without their markup; examples are skipped."""
    for docstring in _DOCSTRING.findall(source):
        for paragraph in re.split(r"\n\s*\n", docstring):
            if not _NO_PROSE.search(paragraph):
                # The names of roles go, as in :class:`Graph`.
                flat = re.sub(r":[a-z:]+:`~?|[`*]", "", " ".join(paragraph.split()))
                yield from filter(_SENTENCE.fullmatch, re.split(r"(?<=\.) (?=[A-Z])", flat))


def _folder(package: str) -> Path:
    found = util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(f"sentences are read from the package {package}: pip install 'quaere[experiments]'")
    return Path(found.submodule_search_locations[0])


def _sources(folder: Path) -> list[Path]:
    """Return a package's source files, sorted, without tests and vendored code."""

    def is_its_own(path: Path) -> bool:
        return not any(part.startswith(_ELSEWHERE) for part in path.relative_to(folder).parts)

    return sorted(filter(is_its_own, folder.rglob("*.py")), key=lambda path: path.as_posix())


def _spread(paths: Sequence[Path], most: int | None) -> Sequence[Path]:
    return paths if most is None else paths[:: max(1, len(paths) // most)][:most]
