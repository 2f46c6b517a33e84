"""What Lighthouse says of a page, as on a phone."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).parent / "node_modules" / ".bin" / "lighthouse"
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --host-resolver-rules='MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'"
)


def chromium() -> str | None:
    """Return the browser: the one that QUAERE_CHROMIUM names, or the one on the PATH."""
    names = (os.environ.get("QUAERE_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def report(address: str) -> dict[str, Any]:
    """Run Lighthouse on a page and return its whole report."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "report.json"
        command = [str(PROGRAM), address, "--quiet", "--output=json", f"--output-path={output}"]
        command += [f"--only-categories={','.join(CATEGORIES)}", f"--chrome-flags={FLAGS}"]
        environment = {**os.environ, "CHROME_PATH": chromium() or "", "CI": "1", "TMPDIR": folder}
        subprocess.run(command, check=True, env=environment, capture_output=True, timeout=120)
        found: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
        return found


def scores(found: dict[str, Any]) -> tuple[int, ...]:
    """Return the scores of a report, of 100, in the order of `CATEGORIES`."""
    return tuple(round(100 * (found["categories"][name]["score"] or 0)) for name in CATEGORIES)
