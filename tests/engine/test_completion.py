"""A shell completes the names of papers and questions, without reading the whole library."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from quaere import cli
from tests.engine.conftest import Base

PROGRAM = Path(sys.executable).with_name("quaere")
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}",
    "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",  # which takes the test for the shell
    "TERM": "dumb",
}


def completed(base: Base, *words: str) -> list[str]:
    """Return what is proposed for the last of some words after `quaere`."""
    group = typer.main.get_group(cli.app)
    verb, *given, incomplete = words
    command = group.commands[verb]
    with command.make_context(verb, [*given, "--project", str(base.root)], resilient_parsing=True) as context:
        taken = [one for one in command.params if one.param_type_name == "argument"]
        return [item.value for item in taken[len(given)].shell_complete(context, incomplete)]


@pytest.mark.parametrize(
    ("words", "proposed"),
    [
        (("show", "t"), ["toy"]),
        (("show", "x"), []),
        (("show", "toy."), ["toy.why", "toy.how"]),
        (("answer", ""), ["toy.why", "toy.how"]),
        (("answer", "toy.w"), ["toy.why"]),
        (("answer", "none."), []),
        (("merge", "toy", "t"), ["torn", "toy"]),
        (("answer", "t"), ["torn.", "toy."]),
    ],
)
def test_papers_and_questions_are_proposed(base: Base, words: tuple[str, ...], proposed: list[str]) -> None:
    if "torn" in str(proposed):
        # A card that can't be read is completed by its name, and proposes no question.
        base.write({"papers/torn.yml": "questions: [: {"})
        assert completed(base, "show", "torn.") == []
    assert completed(base, *words) == proposed


def test_without_a_knowledge_base_nothing_is_proposed_nor_said(tmp_path: Path) -> None:
    assert completed(Base(tmp_path), "show", "t") == []


def test_bash_completes_what_is_typed(base: Base) -> None:
    script = """
        eval "$(quaere --show-completion bash)"
        COMP_WORDS=(quaere answer toy.); COMP_CWORD=2; _quaere_completion quaere; echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(["bash", "-c", script], cwd=base.root, env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("toy.why toy.how\n", "")


def asked_by_powershell(base: Base, typed: str, word: str) -> list[str]:
    """Return what PowerShell's script is answered: it gives the line without blanks at its end, and the last word."""
    asking = {
        "_QUAERE_COMPLETE": "complete_powershell",
        "_TYPER_COMPLETE_ARGS": typed.rstrip(),
        "_TYPER_COMPLETE_WORD_TO_COMPLETE": word,
    }
    done = subprocess.run(
        ["quaere"], cwd=base.root, env=ENVIRONMENT | asking, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [line for line in done.stdout.splitlines() if line]


def test_powershell_is_answered(base: Base) -> None:
    assert asked_by_powershell(base, "quaere answer toy.", "toy.") == ["toy.why::: ", "toy.how::: "]
    assert asked_by_powershell(base, "quaere show ", "") == ["toy::: "]
    assert asked_by_powershell(base, "quaere show x", "x") == []
    assert asked_by_powershell(base, "quaere quo", "quo") == ["quote:::Quote a paper on its card, word for word."]


def test_powershell_takes_each_line_for_a_proposal(base: Base) -> None:
    """A line that is none, such as the rest of a long help text, has no help, and PowerShell refuses all of them."""
    told = [line.split(":::") for line in asked_by_powershell(base, "quaere add --", "--")]
    assert all(len(parts) == 2 and parts[0].startswith("--") and parts[1] for parts in told), told
    assert any(len(help) > 80 for _, help in told)


@pytest.mark.parametrize("shell", ["powershell", "pwsh"])
def test_powershell_asks_the_command(shell: str) -> None:
    done = subprocess.run(["quaere", "--show-completion", shell], env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    set_ = re.findall(r"\$Env:(\w+) = (.*)", done.stdout)
    assert set_[:3] == [
        ("_QUAERE_COMPLETE", '"complete_powershell"'),
        ("_TYPER_COMPLETE_ARGS", "$commandAst.ToString()"),
        ("_TYPER_COMPLETE_WORD_TO_COMPLETE", "$wordToComplete"),
    ]
    assert "    quaere | ForEach-Object {" in done.stdout
    assert "Register-ArgumentCompleter -Native -CommandName quaere " in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("fish"), reason="there is no fish here")
def test_fish_completes_what_is_typed(base: Base) -> None:
    script = """
        quaere --show-completion fish | source
        complete -C "quaere show t"; complete -C "quaere answer toy."; complete -C "quaere quo"
    """
    done = subprocess.run(["fish", "-c", script], cwd=base.root, env=ENVIRONMENT, capture_output=True, text=True)
    told = [line for line in done.stdout.splitlines() if line]
    assert told == ["toy", "toy.how", "toy.why", "quote\tQuote a paper on its card, word for word."]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("zsh"), reason="there is no zsh here")
def test_zsh_completes_what_is_typed(base: Base) -> None:
    terminal, here = pty.openpty()
    shell = subprocess.Popen(
        ["zsh", "-f", "-i"],
        stdin=here,
        stdout=here,
        stderr=here,
        cwd=base.root,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    os.close(here)
    begin = "autoload -U compinit; compinit -u -D; eval \"$(quaere --show-completion zsh)\"; echo rea''dy\n"
    try:
        screen = ""
        for keys, shown in (
            (begin, "ready"),
            ("quaere answer toy.w\t", "toy.why "),
            ("\x15quaere show t\t", "show toy "),
        ):
            os.write(terminal, keys.encode())
            while shown not in screen:
                assert select.select([terminal], [], [], 30)[0], screen
                screen += os.read(terminal, 1 << 16).decode(errors="replace")
    finally:
        shell.kill()
        shell.wait()
        os.close(terminal)
