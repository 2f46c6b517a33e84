"""List and read an author's files; anything else in their place is reported, and neither opened nor followed.

A folder, a pipe, a device or a link can stand wherever a file is expected, and the file can be of any size.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from quaere.errors import AuthorError, Place

LARGEST = 64_000_000
"""Bytes of a file that is read. What is larger got there by mistake, and would fill the memory."""

DEEPEST = 30
"""Levels of folders in a folder. MkDocs and the names of files have limits, too, of which they tell less."""

LONGEST = 200
"""Bytes of a name. What is made of a file has a longer one, and 255 is all that disks allow."""

ELSEWHERE = "this is a link to a file elsewhere", "put the file itself here: links out of a folder are not followed"
_FOLDER_LINK = "this is a link to a folder", "put the folder itself here: links to folders are not followed"
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_HINTS = {
    errno.EACCES: "let whoever runs this read it: chmod u+r, for a folder u+rx",
    errno.ELOOP: "it is a link that leads back to itself: remove it",
    errno.ENOENT: "it is a link to what is not there: remove it, or put the file itself here",
    errno.ENAMETOOLONG: "give it a shorter name, or move it up",
}
_UNFOLLOWED = sum(getattr(os, name, 0) for name in ("O_RDONLY", "O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC"))
# What a terminal would obey and what breaks lines: no name needs them, though what has one can be read.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL = "its name holds a control character", "give it another name"
# What stands for a byte that is not UTF-8.
_HALF = re.compile("[\ud800-\udfff]")

Problem = tuple[str, str]
"""What is wrong, and a hint."""

_Error = TypeVar("_Error", bound=AuthorError)


def read(root: Path, file: str, kind: type[_Error], within: str = "", most: int = LARGEST) -> bytes | None:
    """Return the content of a file; None if there is nothing of that name.

    Args:
        root: The folder of the project.
        file: The file, from there.
        kind: The error to raise.
        within: The folder, from there, that a link may not leave.
        most: How many bytes of it are wanted.

    Raises:
        AuthorError: There is something else of that name, or a file that can't be read.
    """
    try:
        if (handle := _opened_in(root, file, within)) is None:
            if not os.path.lexists(root / file):
                return None
            path = Path(os.path.realpath(root / file))
            if problem := _problem(path, root / within):
                raise kind(Place(file), *problem)
            # Between the look at it and now it may have become something that would block, or a link.
            handle = os.open(path, _UNFOLLOWED)
        try:
            status = os.fstat(handle)
            if problem := _of_status(status) or _of_size(status.st_size):
                raise kind(Place(file), *problem)
            with open(handle, "rb", closefd=False) as source:
                return source.read(most)
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:
        raise kind(Place(file), *_of_error("file", error)) from None


def _opened_in(root: Path, file: str, within: str) -> int | None:
    """Open a file that lies in a folder itself, as most do; None if it can't be, or if it is a link."""
    if not within or file.rpartition("/")[0] != within:
        return None
    path = f"{root}/{file}"
    with contextlib.suppress(OSError, ValueError):
        return os.open(path, _UNFOLLOWED) if stat.S_ISREG(os.lstat(path).st_mode) else None
    return None


def text(data: bytes, file: str, kind: type[_Error]) -> tuple[str, list[_Error]]:
    """Decode a file as UTF-8, with U+FFFD for invalid bytes and an error for the first of them."""
    try:
        return data.decode(), []
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        before = data[data.rfind(b"\n", 0, error.start) + 1 : error.start]
        place = Place(file, line, len(before.decode()) + 1)
        fault = kind(place, f"byte 0x{data[error.start]:02x} is not UTF-8", "save the file as UTF-8")
        return data.decode(errors="replace"), [fault]


def below(
    root: Path,
    folder: str,
    kind: type[_Error],
    is_wanted: Callable[[str], bool] | None = None,
    *,
    levels: int = DEEPEST,
    hidden: bool = False,
) -> tuple[dict[str, str], list[_Error]]:
    """Find the files below a folder, which may be missing.

    Args:
        root: The folder of the project.
        folder: The folder, from there. It may be a link; what lies in it may not lead out of it.
        kind: The error of what is at fault.
        is_wanted: Tells by a path in the folder whether it is the name of a file that counts; without it all count.
        levels: How many levels of folders are looked at, from 1.
        hidden: Whether names count that start with a dot, which are those of editors and of tools.

    Returns:
        The paths from the root by the paths in the folder, sorted, and a fault for each thing that is no file in spite
        of its name, and for each folder that can't be looked at.
    """
    found: dict[str, str] = {}
    faults: list[_Error] = []

    def refuse(path: str, problem: Problem, line: int) -> None:
        faults.append(kind(Place(_joined(folder, path), line), *problem))

    waiting = [""]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(root / folder / here) as entries:
                inside = [entry for entry in entries if hidden or not entry.name.startswith(".")]
        except FileNotFoundError as error:
            if os.path.lexists(root / folder / here):
                refuse(here, _of_error("folder", error), 0)
            continue
        except NotADirectoryError:
            refuse(here, ("this is a file where a folder is expected", "move it away, and make the folder"), 0)
            continue
        except (OSError, ValueError) as error:
            refuse(here, _of_error("folder", error), 0)
            continue
        for entry in inside:
            path = f"{here}/{entry.name}" if here else entry.name
            is_named = is_wanted is None or is_wanted(path)
            is_folder = _is_folder(entry)
            if is_folder and levels > 1 and (problem := _of_folder(entry, path)):
                refuse(path, problem, 0)
                if problem != _CONTROL:
                    continue
            if is_folder and levels > path.count("/") + 1:
                waiting.append(path)
            if not is_named or (is_folder and is_wanted is None):
                continue
            problem = None if _is_readable(entry) else _problem(root / folder / path, root / folder)
            for one in filter(None, (of_name(entry.name), problem)):
                refuse(path, one, 1)
            if problem is None and of_name(entry.name) in (None, _CONTROL):
                found[path] = _joined(folder, path)
    in_order = sorted(found, key=lambda path: path.split("/"))
    return {path: found[path] for path in in_order}, faults


def _is_readable(entry: os.DirEntry[str]) -> bool:
    """Return whether it is a file itself, and no link to one, that can be read."""
    with contextlib.suppress(OSError, ValueError):
        return entry.is_file(follow_symlinks=False) and os.access(entry.path, os.R_OK)
    return False


def problems(root: Path, files: Iterable[str]) -> Iterator[tuple[str, Problem]]:
    """Yield the problems of files that another program will read."""
    for file in files:
        if os.path.lexists(root / file) and (problem := _problem(root / file, root)):
            yield file, problem


def _joined(folder: str, path: str) -> str:
    return "/".join(filter(None, (folder.rstrip("/"), path)))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere, or round
        return False


def _of_folder(entry: os.DirEntry[str], path: str) -> Problem | None:
    """Return the problem of a folder inside another, if it has one."""
    if entry.is_symlink():
        return _FOLDER_LINK
    if path.count("/") + 1 >= DEEPEST:
        return f"this folder lies more than {DEEPEST - 1} levels deep", "move it up"
    return of_name(entry.name)


def of_name(name: str) -> Problem | None:
    """Return what is wrong with a file's name by itself; None if nothing is."""
    size = len(os.fsencode(name))
    if size > LONGEST:
        return f"its name has {size} bytes, and {LONGEST} is the most", "shorten it"
    if _HALF.search(name):
        return "its name is not UTF-8", "give it another name"
    return _CONTROL if _UNFIT.search(name) else None


def _problem(path: Path, folder: Path) -> Problem | None:
    """Return why a path can't be read as a regular file in a folder; None if it can."""
    try:
        if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
            return ELSEWHERE
        status = path.stat()
        return _of_status(status) or (None if os.access(path, os.R_OK) else _of_error("file", PermissionError(13, "")))
    except (OSError, ValueError) as error:
        return _of_error("file", error)


def _of_status(status: os.stat_result) -> Problem | None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        return f"this is {kind} where a file is expected", "move it away, or give it another name"
    return None


def _of_size(size: int) -> Problem | None:
    hint = "keep data elsewhere, and link to them"
    told = f"the file has {size / 1e6:,.0f} MB, and {LARGEST / 1e6:.0f} MB is the most"
    return (told, hint) if size > LARGEST else None


def _of_error(what: str, error: Exception) -> Problem:
    if isinstance(error, OSError):
        code = error.errno or 0
        return f"the {what} can't be read: {os.strerror(code)}", _HINTS.get(code, "")
    return f"the {what} can't be read: {error}", "give it another name"
