"""Whatever stands in mkdocs.yml is a fault with a place, or it works; nothing of it is a traceback."""

import os
import re
from pathlib import Path

import pytest

from quaere.errors import AuthorError, Faults
from quaere.site import defaults
from quaere.site.build import build
from tests.engine.conftest import Base


def nested(depth: int) -> str:
    return f"extra: {{a: {'[' * depth}{']' * depth}}}\n"


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [index.md]\n"]
    lines += (f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, levels))
    return "".join([*lines, f"nav: *a{levels - 1}\n"])


FAULTS = {
    "- a\n": "mkdocs.yml:1:1: expected a mapping",
    "x\n": "mkdocs.yml:1:1: expected a mapping",
    "a: [": "mkdocs.yml:1:5: not YAML: ",
    "\tsite_name: a\n": "mkdocs.yml:1:1: not YAML: ",
    "a: 1\n---\nb: 2\n": "mkdocs.yml:2:1: not YAML: but found another document",
    "site_name: !ENV [NOPE, 3]\n": "mkdocs.yml:1:1: site_name: ",
    "site_name: !ENV {a: b}\n": "mkdocs.yml:1:12: not YAML: ",
    "x: !!python/name:nope.nope\n": "mkdocs.yml:1:4: not YAML: cannot find module 'nope'",
    "x: !!python/object/apply:sys.exit [3]\n": "mkdocs.yml:1:1: not YAML: SystemExit(3)",
    "x: !!python/object/apply:int [a]\n": "mkdocs.yml:1:1: not YAML: ValueError(",
    "c: {<<: 3}\n": "mkdocs.yml:1:9: not YAML: ",
    "x: 2001-99-99\n": "mkdocs.yml:1:1: not YAML: ",
    "x: " + "1" * 50_000: "mkdocs.yml:1:4: a number of 50,000 characters",
    "x: " + "1:" * 50_000 + "1": "mkdocs.yml:1:4: a number of 100,001 characters",
    "a: *nope\n": "mkdocs.yml:1:4: *nope refers to a value that contains it, or to nothing",
    "extra: &a [*a]\n": "mkdocs.yml:1:12: *a refers to a value that contains it, or to nothing",
    bomb(40): "mkdocs.yml:6:45: more than 100,000 values, counting those of aliases",
    nested(20_000): "mkdocs.yml:1:60: nested more than 50 levels deep",
    "extra: " + "{a: " * 20_000: "mkdocs.yml:1:204: nested more than 50 levels deep",
    "".join(" " * n + "a:\n" for n in range(2_000)): "mkdocs.yml:51:51: nested more than 50 levels deep",
    "3: 4\n": "mkdocs.yml:1:1: `3` is no name of a setting",
    "site_name: x\n~: 4\n": "mkdocs.yml:1:1: `None` is no name of a setting",
    "[a]: 4\n": "mkdocs.yml:1:1: not YAML: found unhashable key",
    "site_name: x\nhooks: [gone.py]\n": "mkdocs.yml:2:1: hooks: The path ",
    "hooks: 3\n": "mkdocs.yml:1:1: `hooks`: expected a list",
    "hooks: [[a]]\n": "mkdocs.yml:1:1: hooks: ",
    "hooks: [pipe]\n": "mkdocs.yml:1:1: `pipe`: this is a pipe where a file is expected",
    "hooks: [out]\n": "mkdocs.yml:1:1: `out`: this is a link to a file elsewhere",
    "theme: 3\n": "mkdocs.yml:1:1: `theme`: expected a name or a mapping",
    "theme: [a]\n": "mkdocs.yml:1:1: `theme`: expected a name or a mapping",
    "theme: {name: [a]}\n": "mkdocs.yml:1:1: the theme is `['a']`",
    "theme: {name: material, features: 7}\n": "mkdocs.yml:1:1: `features`: expected a list",
    "theme: {name: material, custom_dir: gone}\n": "mkdocs.yml:1:1: theme: The path set in custom_dir ",
    "theme: {name: material, custom_dir: 3}\n": "mkdocs.yml: MkDocs can't read the settings: ",
    "theme: {name: material, custom_dir: theme}\n": "theme/main.html:1:1: this is a pipe where a file is expected",
    "theme: {name: material, language: xx}\n": "mkdocs.yml: MkDocs can't build the site: TemplateNotFound(",
    "theme: {name: material, palette: 7}\n": "mkdocs.yml: MkDocs can't build the site: ",
    "plugins: 7\n": "mkdocs.yml:1:1: `plugins`: expected a list",
    "plugins: [[x]]\n": "mkdocs.yml:1:1: `plugins` leaves out `quaere`",
    "plugins: [quaere, null]\n": 'mkdocs.yml:1:1: plugins: The "None" plugin is not installed',
    "plugins: [quaere, privacy: 7]\n": "mkdocs.yml:1:1: plugins: ",
    "plugins: {quaere: 7}\n": "mkdocs.yml:1:1: plugins: ",
    "plugins: [quaere, mkdocstrings: {handlers: {python: 7}}]\n": "mkdocs.yml: MkDocs can't build the site: ",
    "nav: 3\n": "mkdocs.yml:1:1: nav: Expected nav to be a list",
    "nav: [null]\n": "mkdocs.yml:1:1: nav: ",
    "nav: [3, {3: 4}]\n": "mkdocs.yml:1:1: nav: ",
    "nav: {a: {b: c}}\n": "mkdocs.yml:1:1: nav: ",
    "nav: [index.md, /etc/passwd]\n": "mkdocs.yml: An absolute path to '/etc/passwd' is included in the 'nav'",
    "nav: [index.md, ../x.md]\n": "mkdocs.yml: A reference to '../x.md' is included in the 'nav'",
    'nav: [index.md, "a\\0b.md"]\n': "mkdocs.yml: A reference to 'a\\x00b.md' is included in the 'nav'",
    "extra_css: 7\n": "mkdocs.yml:1:1: extra_css: ",
    "extra_css: [{a: b}]\n": "mkdocs.yml: MkDocs can't build the site: ",
    "extra_templates: [../x.html]\n": "mkdocs.yml: Template skipped: '../x.html' not found in docs_dir.",
    "markdown_extensions: 7\n": "mkdocs.yml:1:1: markdown_extensions: ",
    "markdown_extensions: [nope]\n": "mkdocs.yml:1:1: markdown_extensions: Failed to load extension 'nope'.",
    "markdown_extensions: [toc: 7]\n": "mkdocs.yml:1:1: markdown_extensions: ",
    "markdown_extensions: [toc: {nope: 7}]\n": "mkdocs.yml:1:1: markdown_extensions: Failed to load extension 'toc'.",
    "markdown_extensions: [[a]]\n": "mkdocs.yml:1:1: markdown_extensions: ",
    "INHERIT: gone.yml\n": "mkdocs.yml:1:1: there is no file `gone.yml`",
    "INHERIT: 3\n": "mkdocs.yml:1:1: `INHERIT`: expected the path of a file",
    "INHERIT: mkdocs.yml\n": "mkdocs.yml:1:1: `mkdocs.yml` inherits from this file",
    "INHERIT: round.yml\n": "round.yml:1:1: `mkdocs.yml` inherits from this file",
    "INHERIT: papers\n": "papers:1:1: this is a folder where a file is expected",
    "INHERIT: pipe\n": "pipe:1:1: this is a pipe where a file is expected",
    "site_url: 'http://[x'\n": "mkdocs.yml: MkDocs can't read the settings: ",
    "repo_url: [a]\n": "mkdocs.yml:1:1: repo_url: ",
    "validation: {links: {not_found: boo}}\n": "mkdocs.yml:1:1: validation: ",
    "exclude_docs: 7\n": "mkdocs.yml:1:1: exclude_docs: ",
    "extra: {social: 7}\n": "mkdocs.yml: MkDocs can't build the site: ",
    'site_name: "\\ud800"\n': "mkdocs.yml: MkDocs can't build the site: ",
    'theme: {name: material, custom_dir: "a\\0b"}\n': "a\\x00b: the folder can't be read: embedded null byte",
}
FINE = (
    "",
    "# nothing\n",
    "x: !!python/name:os.path.join\nc: &a {b: 1}\nd: {<<: *a}\nextra_css: [../../etc/passwd]\n"
    + "site_name: \"\\e[31m a\\0b\"\nexclude_docs: '['\nunknown: 1\nsite_name: twice\n",
    "INHERIT: parent.yml\nextra: {a: {c: 2}}\n",
    nested(48),
)


def said(base: Base, settings: str) -> list[str]:
    """Build a site with settings; return what is wrong, as it is printed."""
    base.write({"docs/index.md": "# Home\n", "mkdocs.yml": settings})
    try:
        return list(map(str, build(base.project, base.project.read()[0], base.root / "site")[0]))
    except Faults as faults:
        return list(map(str, faults.errors))
    except AuthorError as error:
        return [str(error)]


@pytest.mark.parametrize(("settings", "fault"), FAULTS.items(), ids=lambda text: ascii(text[:60]))
def test_settings_at_fault_are_told_with_their_place(base: Base, settings: str, fault: str) -> None:
    base.write({"round.yml": "INHERIT: mkdocs.yml\n", "theme/x.html": ""})
    os.mkfifo(base.root / "pipe")
    os.mkfifo(base.root / "theme/main.html")
    (base.root / "out").symlink_to(Path("/etc/passwd"))
    told = said(base, settings)
    assert any(one.startswith(fault) for one in told), told
    assert not [one for one in told if "Traceback" in one or '  File "' in one]
    assert not any(re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]", one) for one in told)


@pytest.mark.parametrize("settings", FINE)
def test_settings_that_mean_something_work(base: Base, settings: str) -> None:
    base.write({"parent.yml": "site_name: Theirs\nextra: {a: {b: 1}}\n"})
    assert said(base, settings) == []


def test_what_is_inherited_stands_under_what_is_written(base: Base) -> None:
    base.write({"in/up.yml": "INHERIT: up2.yml\nextra: {a: {b: 1, c: 1}}\n", "in/up2.yml": "site_name: Theirs\n"})
    base.write({"mkdocs.yml": "INHERIT: in/up.yml\nextra: {a: {c: 2}}\n", "docs/index.md": "# Home\n"})
    config = defaults.load(base.root, base.project.read()[0], base.root / "site", base.root / "docs")
    assert (config.site_name, config.extra["a"]) == ("Theirs", {"b": 1, "c": 2})
