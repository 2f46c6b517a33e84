"""What a site was made of and what it consists of: whether anything changed, told by looking at files alone.

It imports nothing that takes time, so that a build with nothing to do ends at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CACHE = Path(".quaere") / "cache"
"""The folder of what is kept, from that of the knowledge base. It may be deleted at any time."""

CHECKED = "check.stamp"
"""The file there that tells of the last check."""

# A file that was changed so short a time ago may change again without another time of change.
_DOUBTFUL = 2_000_000_000
# Bytes. Nothing of a knowledge base is read beyond, and a file that has no end would be read forever.
_LARGEST = 100_000_000
_SITE_PACKAGES = ("site-packages", "dist-packages")

Files = dict[str, list[Any]]
"""Size, time of change in nanoseconds, and digest, by path."""


def scan(root: Path, names: Iterable[str], former: Mapping[str, list[Any]], at: int) -> Files:
    """Look at all files below some paths.

    Args:
        root: The folder of the knowledge base.
        names: The paths of files and folders, from there.
        former: What came of it before: what looks the same is not read.
        at: When that was, in nanoseconds.
    """
    found: Files = {}
    for name in sorted(set(names)):
        for path, status in _files(root / name, name):
            known = former.get(path)
            looks = _looks(status)
            is_known = known is not None and known[:2] == looks and looks[1] < at - _DOUBTFUL
            found[path] = known if known is not None and is_known else [*looks, _digest(root / path, status)]
    return found


def _files(path: Path, name: str) -> Iterator[tuple[str, os.stat_result | None]]:
    """Yield the files at or below a path; None for the status of what is no file, or can't be looked at."""
    # Paths as text: a site has many files.
    waiting = [(os.fspath(path), name)]
    while waiting:
        here, name = waiting.pop()
        try:
            with os.scandir(here) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except NotADirectoryError:
            yield name, _status(here)
            continue
        except FileNotFoundError:
            if os.path.lexists(here):
                yield name, None
            continue
        except OSError:
            yield name, None
            continue
        yield f"{name}/", None
        for entry in inside:
            own = f"{name}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    waiting.append((entry.path, own))
            else:
                yield own, _status(entry.path)


def _status(path: str | Path) -> os.stat_result | None:
    try:
        found = os.stat(path)  # noqa: PTH116  (see `_files`)
    except (OSError, ValueError):
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _digest(path: Path, status: os.stat_result | None) -> str:
    """Return a digest of a file, and of where it is if it is a link; of anything else what it is."""
    try:
        if status is None:
            return f"{path.lstat().st_mode}"
        link = f"{path.readlink()} " if path.is_symlink() else ""
        if status.st_size > _LARGEST:
            return f"{link}{status.st_size} {status.st_mtime_ns}"
        with path.open("rb") as opened:
            return link + hashlib.file_digest(opened, "sha256").hexdigest() + f" {os.access(path, os.R_OK)}"
    except OSError as error:
        return f"{error.errno}"


@dataclass(frozen=True)
class Inputs:
    """The files that a site follows from, as they looked at a time, in nanoseconds."""

    names: tuple[str, ...]
    files: Files
    at: int

    @property
    def digests(self) -> dict[str, str]:
        """The digest of each file."""
        return digests(self.files)

    def again(self, root: Path, names: Iterable[str]) -> Inputs:
        """Look again at the files below some paths; what looks the same is not read."""
        names, at = tuple(sorted(set(names))), time.time_ns()
        return Inputs(names, scan(root, names, self.files, self.at), at)


def look(root: Path, names: Iterable[str], kept: Path) -> Inputs:
    """Look at the files below some paths; `kept` is where an earlier look was written."""
    names, at, former = tuple(sorted(set(names))), time.time_ns(), read(kept)
    if isinstance(former, dict):
        with contextlib.suppress(KeyError, TypeError, AttributeError, IndexError):
            return Inputs(names, scan(root, names, former["inputs"], former["at"]), at)
    return Inputs(names, scan(root, names, {}, 0), at)


def keep(
    root: Path,
    site: Path,
    inputs: Inputs,
    environment: Mapping[str, str | None],
    outputs: Mapping[str, list[int]],
    said: Mapping[str, Any],
) -> None:
    """Remember what a site was made of, what it consists of now (`files_of`), and what the build had to say."""
    told = {
        "root": str(root),
        "site": str(site),
        "code": code(),
        "environment": dict(environment),
        "modules": modules(root),
        "names": list(inputs.names),
        "inputs": inputs.files,
        "at": inputs.at,
        "outputs": dict(outputs),
        "said": dict(said),
    }
    write(file(root, site, "stamp"), told)


def digests(files: Mapping[str, list[Any]]) -> dict[str, str]:
    """Return the digests of files."""
    return {path: told[2] for path, told in files.items()}


def code() -> str:
    """Return a digest of the code that makes a site: quaere's own, Python, and what is installed."""
    told: list[object] = [sys.version, os.environ.get("SOURCE_DATE_EPOCH", "")]
    package = Path(__file__).parent
    for path, status in _files(package, "quaere"):
        if status and not path.endswith(".pyc"):
            told.append((path, status.st_size, status.st_mtime_ns))
    for folder in sys.path:
        if Path(folder).name in _SITE_PACKAGES:
            with contextlib.suppress(OSError):
                told.append((folder, _installed(folder)))
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _installed(packages: str) -> list[tuple[str, int]]:
    """Return what a folder of packages holds: whatever is installed, removed or updated changes it.

    Its time of change tells too much: Python compiles modules into it when they are first imported.
    """
    with os.scandir(packages) as entries:
        return sorted(
            (entry.name, entry.stat().st_mtime_ns if entry.name.endswith("-info") else 0)
            for entry in entries
            if entry.name != "__pycache__"
        )


def modules(root: Path) -> dict[str, list[int]]:
    """Return the files of the modules of this process that neither Python nor the packages' folders hold.

    They may be plugins under development; those of the knowledge base itself are looked at anyway.
    """
    found: dict[str, list[int]] = {}
    standard = os.path.realpath(os.path.dirname(os.__file__))  # noqa: PTH120  (a string is compared)
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or file.startswith((str(root) + os.sep, standard, sys.base_prefix)):
            continue
        if not any(f"{os.sep}{name}{os.sep}" in file for name in _SITE_PACKAGES) and (status := _status(Path(file))):
            found[file] = [status.st_size, status.st_mtime_ns]
    return found


def files_of(site: Path) -> dict[str, list[int]]:
    """Return size and time of change of each file of a site, without what begins with a dot, which is others'."""
    return {
        path.partition("/")[2]: _looks(status)
        for path, status in _files(site, "site")
        if not path.endswith("/") and not path.startswith("site/.")
    }


def looks(file: Path) -> list[int]:
    """Return size and time of change of a file."""
    return _looks(_status(file))


def _looks(status: os.stat_result | None) -> list[int]:
    return [status.st_size, status.st_mtime_ns] if status else [-1, -1]


def file(root: Path, site: Path, kind: str, served_at: str = "") -> Path:
    """Return the file in which something is kept about a site; for one that is served, which goes, beside it."""
    if served_at:
        return site.with_suffix(f".{kind}")
    name = hashlib.sha256(str(site).encode(errors="surrogatepass")).hexdigest()[:16]
    return root / CACHE / f"site-{name}.{kind}"


def read(file: Path) -> Any:
    """Return what was kept in a file; None if there is nothing, or something else."""
    return next(read_all(file), None)


def read_all(file: Path) -> Iterator[Any]:
    """Yield the values that were kept in a file; none if there are none, or something else."""
    try:
        data = file.read_bytes()
        end = data.rfind(b"\n", 0, -1) + 1
        if data[end:].strip().decode() != hashlib.sha256(memoryview(data)[:end]).hexdigest():
            return
        lines = io.BytesIO(data)
        while lines.tell() < end:
            yield json.loads(lines.readline())
    except (OSError, ValueError, RecursionError):
        return


def write(file: Path, value: Any) -> None:
    """Keep a value in a file, if that is possible."""
    write_all(file, [value])


def write_all(file: Path, values: Iterable[Any]) -> None:
    """Keep values in a file, one a line, if that is possible; a digest in the last line tells whether it is whole."""
    part = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with part.open("wb") as opened:
            for value in values:
                line = json.dumps(value).encode(errors="surrogatepass") + b"\n"
                digest.update(line)
                opened.write(line)
            opened.write(digest.hexdigest().encode() + b"\n")
        part.replace(file)
    except (OSError, ValueError):
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def unchanged(folder: Path, site: Path | None) -> dict[str, Any] | None:
    """Tell whether a build would change nothing.

    Args:
        folder: A folder of the knowledge base.
        site: The folder of the site; by default `site` in the knowledge base.

    Returns:
        What the last build had to say; None if anything has changed, or if nothing is known.
    """
    if (root := _root(folder)) is None:
        return None
    site = Path(os.path.realpath(site or root / "site"))
    kept = read(file(root, site, "stamp"))
    try:
        # A site has more files than a knowledge base: it is looked at last.
        is_same = kept["site"] == str(site) and _is_same(root, kept) and kept["outputs"] == files_of(site)
        return dict(kept["said"]) if is_same else None
    except (KeyError, TypeError, AttributeError, IndexError):
        return None


def keep_check(root: Path, inputs: Inputs, said: str) -> None:
    """Remember what was checked, and what there was to say."""
    told: dict[str, Any] = {"root": str(root), "code": code(), "environment": {}, "modules": modules(root)}
    told |= {"names": list(inputs.names), "inputs": inputs.files, "at": inputs.at, "said": said}
    write(root / CACHE / CHECKED, told)


def checked(folder: Path) -> str | None:
    """Return what the last check had to say; None if anything has changed, or if nothing is known."""
    if (root := _root(folder)) is None:
        return None
    kept = read(root / CACHE / CHECKED)
    try:
        return str(kept["said"]) if _is_same(root, kept) else None
    except (KeyError, TypeError, AttributeError, IndexError):
        return None


def _root(folder: Path) -> Path | None:
    """Return the folder of the knowledge base that a folder belongs to."""
    here = Path(os.path.realpath(folder))
    marks = ("pyproject.toml", "papers", ".quaere")
    return next((one for one in (here, *here.parents) if any((one / mark).exists() for mark in marks)), None)


def _is_same(root: Path, kept: Mapping[str, Any]) -> bool:
    """Return whether the code and all files are as they were."""
    return (
        kept["root"] == str(root)
        and kept["code"] == code()
        and all(os.environ.get(name) == value for name, value in kept["environment"].items())
        and all(
            (found := _status(Path(path))) is not None and [found.st_size, found.st_mtime_ns] == told
            for path, told in kept["modules"].items()
        )
        and digests(scan(root, kept["names"], kept["inputs"], kept["at"])) == digests(kept["inputs"])
    )
