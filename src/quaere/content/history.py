"""When cards, answers and pages came and changed, by the commits that hold them.

What git knows is read once for each commit that is checked out: the names of the files that each commit changed, and
of their former versions only those that may show since when a question has an answer. Without git, and in a shallow
clone, whose oldest commit seems to add everything, nothing is known; in a clone that lacks former versions, nothing of
the answers.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import itertools
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from quaere.content.model import Library

_FORMAT = 2
"""Part of the key of what is kept."""
_PATIENCE = 120
_LAST = 64
"""Among how many of the last commits one is looked for of which something is kept."""
_ANSWERS = re.compile(rb"^[ \t]*Answers:[ ]*(\S.*?)[ ]*$", re.MULTILINE)
_QUESTIONS = re.compile(rb"^questions[ ]*:.*\n(?:(?![^\s#-]).*\n?)*", re.MULTILINE)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Kept = Callable[[bytes, Callable[[], str]], str]
Version = tuple[int, str]
"""When a commit wrote a file, in seconds since 1970, and the name of what the file then held."""


@dataclass(frozen=True)
class Span:
    """The times of the first and of the last commit that changed a file."""

    added: datetime.datetime
    changed: datetime.datetime


@dataclass(frozen=True)
class History:
    """What git knows; what it does not is left out.

    Attributes:
        files: When each file was added and last changed, by path from the root. Commits that only delete don't count.
        prose: When a card first held an answer in prose, by question.
        code: When the implementation first held an answer in code, by question.
    """

    files: Mapping[str, Span] = field(default_factory=dict)
    prose: Mapping[str, datetime.datetime] = field(default_factory=dict)
    code: Mapping[str, datetime.datetime] = field(default_factory=dict)

    def answered(self, id: str) -> datetime.datetime | None:
        """Return when a question first had an answer; None if that is not known."""
        return min(filter(None, (self.prose.get(id), self.code.get(id))), default=None)


def read(root: Path, library: Library, kept: Kept) -> History:
    """Read the history of a knowledge base.

    Args:
        root: Its folder.
        library: What is there now.
        kept: What keeps what was read of each commit.
    """
    found = History()
    with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError):
        told = _git(root, "rev-parse", "HEAD", "--is-shallow-repository", "--show-prefix").decode().split("\n")
        head, is_shallow, prefix = told[:3]
        if is_shallow != "false":
            return found
        settings = library.settings
        folders = (settings.papers, settings.implementation, settings.docs)
        versions = _versions(_changes(root, head, prefix, folders, kept))
        versions |= _renamed(versions, library)
        found = History({path: _span(known) for path, known in versions.items()})
        prose, code = dict(_prose(root, library, versions, kept)), dict(_code(root, library, versions, kept))
        found = replace(found, prose=prose, code=code)
    return found


def files_of_git(root: Path) -> tuple[str, ...]:
    """Return the files that tell which commit is checked out in a folder, as paths from it; they need not be there."""
    for folder in (root, *root.parents):
        try:
            own = folder / ".git"
            if own.is_file():
                own = folder / own.read_text(encoding="utf-8").partition("gitdir: ")[2].strip()
            if not own.is_dir():
                continue
            common = own / "commondir"
            shared = own / common.read_text(encoding="utf-8").strip() if common.is_file() else own
            branch = (own / "HEAD").read_text(encoding="utf-8").partition("ref: ")[2].strip()
            found = [own / "HEAD", shared / "packed-refs", shared / "shallow", *([shared / branch] if branch else [])]
            return tuple(os.path.relpath(file, root) for file in found)
        except (OSError, ValueError):
            return ()
    return ()


def _versions(changes: Mapping[str, Sequence[Sequence[object]]]) -> dict[str, list[Version]]:
    """Return the versions of each file, the oldest first."""
    return {path: sorted((int(str(at)), str(blob)) for at, blob in found) for path, found in changes.items()}


def _span(versions: Sequence[Version]) -> Span:
    return Span(_moment(versions[0][0]), _moment(versions[-1][0]))


def _moment(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


class _UnkeptError(Exception):
    """Nothing is kept of a commit."""


def _changes(root: Path, head: str, prefix: str, folders: Sequence[str], kept: Kept) -> dict[str, list[Version]]:
    """Return what the commits up to `head` wrote, by file, from what is kept of one of the last of them on."""

    def key(commit: str) -> bytes:
        return json.dumps(["history", _FORMAT, commit, prefix, folders]).encode()

    def missing() -> str:
        raise _UnkeptError

    def read() -> str:
        for commit in _git(root, "rev-list", f"--max-count={_LAST}", head).decode().split():
            with contextlib.suppress(_UnkeptError):
                found = json.loads(kept(key(commit), missing))
                for path, later in _written(root, f"{commit}..{head}", folders).items():
                    found.setdefault(path, []).extend(later)
                return json.dumps(found)
        return json.dumps(_written(root, head, folders))

    return json.loads(kept(key(head), read))  # type: ignore[no-any-return]


def _written(root: Path, commits: str, folders: Sequence[str]) -> dict[str, list[Version]]:
    """Return what some commits wrote, by file: each on its own, so that their order and their branches don't matter."""
    log = ("log", "--full-history", "--no-merges", "--raw", "-z", "--no-abbrev", "--no-renames", "--relative")
    fields = iter(_git(root, *log, "--format=@%ct", commits, "--", *folders).split(b"\0"))
    found: dict[str, list[Version]] = {}
    at = 0
    for one in fields:
        line = one.strip(b"\n")
        if line.startswith(b"@"):
            at = int(line[1:])
        elif line.startswith(b":"):
            _, mode, _, blob, status = line.split(b" ")
            path = next(fields)
            # Neither links nor submodules are read.
            if status != b"D" and mode.startswith(b"100"):
                found.setdefault(os.fsdecode(path), []).append((at, blob.decode()))
    return found


def _prose(
    root: Path, library: Library, versions: Mapping[str, list[Version]], kept: Kept
) -> Iterator[tuple[str, datetime.datetime]]:
    """Yield since when questions are answered in prose."""
    wanted = [asked for asked in library.questions.values() if asked.question.prose]
    held: dict[str, set[str]] = {}
    several: dict[str, list[Version]] = {}
    for paper in {asked.paper.slug: asked.paper for asked in wanted}.values():
        known = versions.get(paper.file, [])
        if len(known) == 1 and known[0][1] == _name(paper.source.encode(errors="surrogatepass"), like=known[0][1]):
            # What the card holds today it has held from the beginning.
            held[known[0][1]] = {question.id for question in paper.card.questions if question.prose}
        else:
            several[paper.slug] = known
    held |= _held(root, several.values(), _answered_in_card, kept)
    for asked in wanted:
        ids = {asked.question.id, *asked.question.formerly}
        if times := [at for at, blob in versions.get(asked.paper.file, ()) if ids & held.get(blob, set())]:
            yield asked.id, _moment(min(times))


def _code(
    root: Path, library: Library, versions: Mapping[str, list[Version]], kept: Kept
) -> Iterator[tuple[str, datetime.datetime]]:
    """Yield since when questions are answered in code; an answer may have stood in another module before."""
    folder = f"{library.settings.implementation}/"
    modules = [known for path, known in versions.items() if path.startswith(folder) and path.endswith(".py")]
    held = _held(root, modules, _answered_in_module, kept)
    first: dict[str, int] = {}
    for at, blob in sorted(itertools.chain.from_iterable(modules), reverse=True):
        first |= dict.fromkeys(held.get(blob, ()), at)
    for asked in library.questions.values():
        names = (name for id in (asked.id, *asked.named) for name in (id, *library.former_names(id)))
        if asked.running and (times := [first[name] for name in names if name in first]):
            yield asked.id, _moment(min(times))


def _renamed(versions: Mapping[str, list[Version]], library: Library) -> dict[str, list[Version]]:
    """Return the versions of each card's file that was renamed, with those that it had under its former names."""
    found: dict[str, list[Version]] = {}
    for old, slug in library.former_slugs.items():
        file, folder = library.papers[slug].file, library.settings.papers
        former = [one for ending in ("yml", "yaml") for one in versions.get(f"{folder}/{old}.{ending}", ())]
        if former:
            found[file] = sorted([*found.get(file, versions.get(file, [])), *former])
    return found


def _held(
    root: Path, files: Iterable[Sequence[Version]], read: Callable[[bytes], Iterable[str]], kept: Kept
) -> dict[str, set[str]]:
    """Return the questions that each version of some files answers, as `read` finds them."""
    held: dict[str, set[str]] = {}
    blobs = sorted({blob for known in files for _, blob in known})
    # Kept in a few parts, of which a commit changes one or two.
    for _, part in itertools.groupby(blobs, key=lambda blob: blob[0]):
        names = list(part)
        key = json.dumps(["answers", _FORMAT, read.__name__, names]).encode()
        told = kept(key, lambda: json.dumps({blob: sorted(read(data)) for blob, data in _blobs(root, names)}))  # noqa: B023
        held |= {blob: set(ids) for blob, ids in json.loads(told).items()}
    return held


def _answered_in_module(data: bytes) -> set[str]:
    return {found.decode(errors="replace") for found in _ANSWERS.findall(data)}


def _answered_in_card(data: bytes) -> set[str]:
    """Return the questions of a card that have an answer; none if it is not to be read."""
    # Of the card the questions alone, up to the next key.
    found = _QUESTIONS.search(data)
    if not found or b"answer" not in found[0]:
        return set()
    try:
        asked = yaml.load(found[0].decode(), _LOADER)["questions"]
        return {
            str(one["id"])
            for one in asked
            if one.get("answer") or any(reply.get("text") for reply in one.get("answers") or ())
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, yaml.YAMLError):
        return set()


def _blobs(root: Path, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield what git stores under some names, with the name."""
    if not names:
        return
    answer = memoryview(_git(root, "cat-file", "--batch", told="".join(f"{name}\n" for name in names)))
    at = 0
    while at < len(answer):
        line = bytes(answer[at : at + 200]).partition(b"\n")[0]
        at += len(line) + 1
        name, _, size = line.decode().split(" ")
        yield name, bytes(answer[at : at + int(size)])
        at += int(size) + 1


def _name(data: bytes, like: str) -> str:
    """Return the name under which git stores some data: by SHA-1, or by SHA-256 where a name is `like` that."""
    return hashlib.new("sha1" if len(like) == 40 else "sha256", b"blob %d\0" % len(data) + data).hexdigest()


def _git(root: Path, *arguments: str, told: str = "") -> bytes:
    # Nothing is fetched into a clone that lacks former versions.
    plain = ("-c", "log.showSignature=false", "-c", "protocol.allow=never")
    command = ["git", "-C", str(root), *plain, *arguments]
    return subprocess.run(command, input=told.encode(), capture_output=True, timeout=_PATIENCE, check=True).stdout
