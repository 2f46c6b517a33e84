"""A copy of a built site that works from `file://`, where a browser loads no modules and fetches nothing.

The site is taken as it is. In the copy links lead to files instead of folders, modules are part of one classic script,
and data are scripts.
"""

from __future__ import annotations

import html
import os
import posixpath
import re
import shutil
from collections.abc import Iterator, Mapping
from importlib.resources import files as package_files
from pathlib import Path
from urllib.parse import unquote

from quaere import atomic
from quaere.errors import MisuseError, Place

MERMAID = "assets/vendor/mermaid/mermaid.min.js"
"""Mermaid as one script, which only a copy has: it is many times larger than what a page loads of the modules."""

_MARK = "assets/quaere.css"
_ASSETS, _DATA, _BUNDLE = "assets/", "assets/data/", "assets/modules.js"
_ATTRIBUTE = r"""\s+[^\s=<>"'/]+(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'>]+))?"""
_TAG = re.compile(rf"<(?:a|area|link|meta|script|form)(?:{_ATTRIBUTE})+\s*/?>", re.IGNORECASE)
# The theme writes these for other languages (`extra.alternate`), and asks for sitemaps, which files don't give.
_ALTERNATE = re.compile(rf'<link rel="alternate"(?:{_ATTRIBUTE})*\s*/?>\s*')
_ADDRESS = re.compile(r'(\s(?:href="|action="|content="\d+; url=))([^"?#]*)')
# One that is loaded as no module is part of the bundle as well.
_MODULE = re.compile(r'<script src="([^"?#]*)" (?:type="module"|defer)>')


_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w-]+\.js)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:const|function|class|async function)\s+(\w+))", re.MULTILINE)
_LATER = re.compile(r'\bimport\("\./([\w-]+\.js)"\)')
_OTHER = re.compile(r"^(?:import|export)\b.*$", re.MULTILINE)
_LOADER = """\
(() => {
  const assets = new URL(".", document.currentScript.src);
  const made = {};
  globalThis.quaereModule = (name) => {
    if (!made[name]) {
      made[name] = {};
      modules[name](made[name], new URL(name, assets).href);
    }
    return made[name];
  };
  const modules = {
"""


def copy(site: Path) -> Path:
    """Copy a built site into the folder beside it whose name ends in `-offline`, and return that.

    It is new, empty, or holds a former copy. It changes at the end, all at once.

    Raises:
        MisuseError: The folder holds something else, or can't be written.
    """
    folder = site.with_name(f"{site.name}-offline")
    try:
        if os.path.lexists(folder) and not (
            folder.is_dir() and (not any(folder.iterdir()) or (folder / _MARK).exists())
        ):
            raise MisuseError(Place(str(folder), 0), "this contains something other than a site", "move it elsewhere")
        scratch = atomic.scratch(folder.parent)
        try:
            _write(site, scratch / "new")
            if folder.exists():
                folder.replace(scratch / "former")
            (scratch / "new").replace(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return folder
    except OSError as error:
        problem = f"the copy can't be written: {error.strerror or error}"
        raise MisuseError(Place(str(folder), 0), problem, "make room, or name another folder with --site") from error


def _write(site: Path, folder: Path) -> None:
    folders = {"."}
    files: list[str] = []
    for path in sorted(site.rglob("*")):
        name = path.relative_to(site).as_posix()
        # What begins with a dot is somebody else's, such as git's; and no server shows a page for what is not there.
        if name.startswith(".") or name == "404.html" or (posixpath.dirname(MERMAID) in name and name.endswith(".mjs")):
            continue
        if path.is_file():
            files.append(name)
            if path.name == "index.html":
                folders.add(posixpath.dirname(name) or ".")
    modules = {
        posixpath.basename(name): (site / name).read_text(encoding="utf-8")
        for name in files
        if re.fullmatch(r"assets/[\w-]+\.js", name)
    }
    for name in files:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".html"):
            page = (site / name).read_text(encoding="utf-8")
            target.write_text(_page(page, posixpath.dirname(name), folders), encoding="utf-8", newline="\n")
        elif name.startswith(_ASSETS) and posixpath.basename(name) in modules and name.count("/") == 1:
            target.write_text(f'quaereModule("{target.name}");\n', encoding="utf-8", newline="\n")
        elif name.startswith(_DATA) and name.endswith(".json"):
            value = (site / name).read_text(encoding="utf-8")
            target = target.with_name(f"{target.name}.js")
            target.write_text(f'quaereData("{name}", {value});\n', encoding="utf-8", newline="\n")
        else:
            shutil.copyfile(site / name, target)
    mermaid = package_files("quaere.site") / "theme" / MERMAID
    if (folder / MERMAID).parent.is_dir() and mermaid.is_file():
        (folder / MERMAID).write_bytes(mermaid.read_bytes())
    (folder / _BUNDLE).write_text("".join(_bundle(modules)), encoding="utf-8", newline="\n")


def _page(page: str, folder: str, folders: set[str]) -> str:
    """Return a page whose links lead to files and whose modules are classic scripts."""

    def led(found: re.Match[str]) -> str:
        path = unquote(html.unescape(found[2]))
        at = posixpath.normpath(posixpath.join(folder, path))
        is_folder = path and not path.startswith("/") and ":" not in path and at in folders
        return f"{found[1]}{posixpath.normpath(found[2])}/index.html" if is_folder else found[0]

    written = _TAG.sub(lambda tag: _ADDRESS.sub(led, tag[0]), _ALTERNATE.sub("", page))
    is_first = True

    def classic(found: re.Match[str]) -> str:
        nonlocal is_first
        name = posixpath.normpath(posixpath.join(folder, found[1]))
        if not re.fullmatch(r"assets/[\w-]+\.js", name):
            return found[0]
        bundle = posixpath.relpath(_BUNDLE, folder or ".")
        first, is_first = (f'<script src="{bundle}" defer></script>' if is_first else ""), False
        return f'{first}<script src="{found[1]}" defer>'

    return _MODULE.sub(classic, written)


def _bundle(modules: Mapping[str, str]) -> Iterator[str]:
    """Yield a classic script that makes each module when it is asked for it, once."""
    yield _LOADER
    for name, source in modules.items():
        yield f'"{name}": (quaereExported, quaereAddress) => {{\n"use strict";\n{_classic(name, source)}}},\n'
    yield "  };\n})();\n"


def _classic(name: str, source: str) -> str:
    """Return the body of a function that does what a module does. Modules of the theme keep to what is read here."""
    exported = [one for _, one in _EXPORT.findall(source)]
    body = _IMPORT.sub(
        lambda found: f'const {{{found[1].replace(" as ", ": ")}}} = quaereModule("{found[2]}");', source
    )
    body = _EXPORT.sub(r"\1", body)
    if other := _OTHER.search(body):
        raise ValueError(f"{name}: a copy for file:// can't hold `{other[0]}`")
    body = _LATER.sub(r'Promise.resolve(quaereModule("\1"))', body).replace("import.meta.url", "quaereAddress")
    return f"{body}\nObject.assign(quaereExported, {{ {', '.join(exported)} }});\n"
