"""A newcomer's first minutes: the guide's first page, done to the letter with the wheel in an empty environment."""

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/guide/your-own-site.md").read_text(encoding="utf-8")
FIRST = GUIDE.partition("## What a card's text can hold")[0]


def run(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    # What the newcomer has is Python: no node, no git, and nothing of this project's environment.
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment = {**clean, "PATH": str(folder), "COLUMNS": "100", "NO_COLOR": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_the_first_page_of_the_guide_leads_from_nothing_to_a_whole_site(tmp_path: Path, wheel: Path) -> None:
    venv.create(tmp_path / "environment")
    python = tmp_path / "environment/bin/python"
    own = tmp_path / "own"
    own.mkdir()
    files = re.findall(r'```\w+ title="([^"]+)"\n(.*?)^```$', FIRST, re.DOTALL | re.MULTILINE)
    assert [name for name, _ in files] == ["papers/attention.yml", "papers/references.bib"]
    for name, text in files:
        (own / name).parent.mkdir(exist_ok=True)
        (own / name).write_text(text, encoding="utf-8")
    commands = re.findall(r"^```sh\n(.*?)\n```$", FIRST, re.DOTALL | re.MULTILINE)
    assert commands == ["pip install 'quaere[site]'", "quaere build"]

    def install(extra: str) -> None:
        # By the pip of this environment: to unpack one more takes seconds.
        pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile")
        done = run(*pip, "--constraint", ROOT / "constraints.txt", f"{wheel}{extra}", folder=own)
        assert done.returncode == 0, done.stderr

    install("")
    bare = run(python, "-m", "quaere", "build", folder=own)
    assert bare.returncode == 2, bare.stderr
    assert re.fullmatch(
        r"a site is built with .*mkdocs.*, not installed here\n  hint: pip install 'quaere\[site\]'\n", bare.stderr
    )
    assert run(python, "-m", "quaere", "check", folder=own).stdout == "1 papers, 1 questions, 0 answers: no faults\n"

    install("[site]")
    built = run(python, "-m", "quaere", "build", folder=own)
    assert built.returncode == 0, built.stderr
    assert not (own / "mkdocs.yml").exists()
    card = (own / "site/papers/attention/index.html").read_text(encoding="utf-8")
    for shown in (
        r'<annotation encoding="application/x-tex">\operatorname{softmax}(QK^\top/\sqrt{d_k})</annotation>',
        '<div class="q-flow" ',
        '<div class="admonition note">',
        'type="checkbox"',
        '<h3 id="why-scale">Why are the scores divided by the root of the width?',
    ):
        assert shown in card
    assert "<title>own</title>" in (own / "site/index.html").read_text(encoding="utf-8")
    for path in ("katex/katex.min.css", "mermaid/mermaid.esm.min.mjs"):
        assert (own / "site/assets/vendor" / path).is_file()
    assert len(list((own / "site/assets/vendor/katex/fonts").iterdir())) > 10
    assert len(list((own / "site/assets/vendor/mermaid/chunks/mermaid.esm.min").iterdir())) > 50
