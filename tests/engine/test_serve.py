"""Serving: the port is one's own before anything is built, and is told if it is not."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quaere.errors import AuthorError, MisuseError
from quaere.site import serve
from tests.engine.conftest import SOUND, Base


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((serve.HOST, 0))
        return int(probe.getsockname()[1])


def test_a_port_that_was_taken_meanwhile_is_told_before_anything_is_built(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "build", lambda *_, **__: pytest.fail("it was built"))
    said: list[str] = []
    with socket.socket() as taken:
        taken.bind((serve.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MisuseError) as caught:
            serve.serve(base.project, base.library(), base.project.look(base.root), port, said.append)
    assert str(caught.value) == (
        f"http://127.0.0.1:{port}/: can't listen on port {port}: address already in use\n"
        "  hint: name another with --port, or leave it out"
    )
    assert said == []


HEEDING = (
    # A shell that runs these tests in its background has Ctrl-C ignored.
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from quaere.cli import main; main()"
)


@contextlib.contextmanager
def serving(base: Base, before: str = "") -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Serve a knowledge base; give its address and the process, which is stopped at the end.

    Args:
        base: The knowledge base.
        before: What the process does before, as Python.
    """
    port = free_port()
    command = [sys.executable, "-c", f"{before}\n{HEEDING}", "serve", "--port", str(port)]
    paths = {"PYTHONPATH": os.pathsep.join(str(Path(path).absolute()) for path in sys.path if path)}
    with (
        (base.root.parent / "said").open("w+") as said,
        subprocess.Popen(command, cwd=base.root, stderr=said, text=True, env={**os.environ, **paths}) as one,
    ):
        try:
            yield f"http://127.0.0.1:{port}/", one
        finally:
            one.send_signal(signal.SIGINT)
            try:
                one.wait(timeout=60)
            finally:
                one.kill()


def get(address: str) -> str:
    try:
        with urllib.request.urlopen(address, timeout=60) as page:
            return str(page.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()


def until(address: str, is_there: Callable[[str], bool]) -> str:
    """Get a page again and again until it is as expected; return it."""
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(urllib.error.URLError):
            if is_there(page := get(address)):
                return page
        assert time.monotonic() < deadline
        time.sleep(0.1)


CARD = SOUND["papers/toy.yml"]
MEANWHILE = """
from pathlib import Path
from quaere.site import serve
build = serve.build

def slow(*given, **more):
    made = build(*given, **more)
    card = Path("papers/toy.yml")
    if "sound" in (text := card.read_text()):
        card.write_text(text.replace("sound", "better"))
    return made

serve.build = slow
"""


def test_what_is_changed_while_the_first_site_is_made_is_seen(base: Base) -> None:
    with serving(base, MEANWHILE) as (address, _):
        until(f"{address}papers/toy/", lambda page: "A better idea" in page)
    assert (base.root.parent / "said").read_text().count("rebuilt") == 1


def test_answers_that_run_before_the_first_site_is_made_are_no_change(base: Base) -> None:
    answer = '"""Toy.\n\nAnswers: toy.why\n    >>> 1\n    1\n"""\n'
    base.write({"papers/toy.yml": CARD.replace("implementation: null\n", ""), "reference_impl/toy.py": answer})
    with serving(base) as (address, _):
        until(f"{address}papers/toy/", lambda page: "A sound idea" in page)
        time.sleep(4 * serve._LOOKED_AGAIN)
    assert (base.root / ".quaere/evidence.json").exists()
    assert "rebuilt" not in (base.root.parent / "said").read_text()


def test_what_mkdocs_reads_besides_is_followed_even_if_it_was_at_fault(base: Base) -> None:
    hook = "def on_page_content(html, **_):\n    return html + open('data/word').read()\n"
    base.write({"mkdocs.yml": "hooks: [hook.py]\nwatch: [data]\n", "hook.py": hook, "data/other": ""})
    base.write({"docs/index.md": "# Home\n"})
    with serving(base) as (address, _):
        until(address, lambda page: "q-faults" in page)
        base.write({"data/word": "Ebony"})
        until(address, lambda page: "Ebony" in page)
        base.write({"data/word": "Azure"})
        until(address, lambda page: "Azure" in page)


@pytest.mark.parametrize("watch", ["[]", "[.]", "[..]"])
def test_nothing_is_built_again_where_nothing_has_changed(base: Base, watch: str) -> None:
    base.write({"mkdocs.yml": f"watch: {watch}\n"})
    with serving(base) as (address, _):
        until(f"{address}papers/toy/", lambda page: "A sound idea" in page)
        (base.root / "papers/toy.yml").touch()
        (base.root / "notes.txt").write_text("not of the site")
        time.sleep(6 * serve._LOOKED_AGAIN)
    assert "rebuilt" not in (base.root.parent / "said").read_text()


HOSTILE = "</details></body><script>alert(1)</script>"


def test_faults_are_shown_in_the_page_until_they_are_mended(base: Base) -> None:
    base.write({"papers/toy.yml": CARD.replace("idea", "ieda")})
    with serving(base) as (address, one):
        # Nothing could be built yet.
        page = until(f"{address}papers/toy/", lambda page: "q-faults" in page)
        assert "There is no site yet" in page
        assert "<code>papers/toy.yml:2:1</code> unknown key `ieda` <span>(at $.ieda)</span>" in page
        assert "<p>did you mean `idea`?</p>" in page
        for kind in ("css", "js"):
            assert f"{address}quaere-serve/serve.{kind}".removeprefix(address[:-1]) in page
            assert "faults" in get(f"{address}quaere-serve/serve.{kind}") or kind == "js"
        base.write({"papers/toy.yml": CARD})
        page = until(f"{address}papers/toy/", lambda page: "A sound idea" in page)
        assert "q-faults" not in page
        # The last site stays, with what is wrong above it; a page that is not there shows it, too.
        base.write({"papers/toy.yml": CARD + f"tags: ['{HOSTILE}', '{HOSTILE}']\n"})
        page = until(f"{address}papers/toy/", lambda page: "q-faults" in page)
        assert "A sound idea" in page
        assert HOSTILE not in page
        assert "&lt;script&gt;alert(1)" in page
        assert "q-faults" in get(f"{address}nowhere/")
        assert get(f"{address}quaere-serve/../serve.py").count("def serve") == 0
        assert one.poll() is None
    said = (base.root.parent / "said").read_text()
    assert "unknown key `ieda`" in said
    # What a request has to say may come later still.
    assert "\nstopped\n" in said


def test_a_mistake_of_a_plugin_is_shown_as_a_fault(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> list[AuthorError]:
        raise ZeroDivisionError("by zero")

    (fault,) = serve._caught(fail)
    assert str(fault).startswith("a mistake in quaere, or in a plugin: ZeroDivisionError: by zero\n  hint: ")
    assert "in fail" in capsys.readouterr().err


def test_a_site_is_served_until_it_is_stopped_and_the_next_on_its_port_is_told(base: Base) -> None:
    with serving(base) as (address, one):
        until(f"{address}papers/toy/", lambda page: "Toys" in page)
        other = base.quaere("serve", "--port", address.rpartition(":")[2].strip("/"))
        assert (other.returncode, "Traceback" in other.stderr) == (2, False)
        assert other.stderr.startswith("somebody listens on port")
    said = (base.root.parent / "said").read_text()
    assert (one.returncode, "stopped\n" in said) == (0, True), said
