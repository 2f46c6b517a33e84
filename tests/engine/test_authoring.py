"""The verbs that change an author's files: what they write, what they refuse, and that nothing is lost on the way."""

import ast
import datetime
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from quaere.authoring import cards, changes, questions, renaming
from quaere.authoring.changes import Change, ChangedError, Changes
from quaere.content.model import Library
from quaere.errors import MisuseError
from quaere.project import Project
from tests.engine.conftest import Base
from tests.engine.test_add import reader

DAY = datetime.date(2026, 2, 3)


def made(base: Base, some: Changes) -> str:
    """Make changes; return the diff, whose knowledge base must be sound."""
    changes.apply(base.root, some)
    base.library()
    return some.diff


def lines(diff: str) -> list[str]:
    return [line for line in diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]


def test_a_question_is_asked_under_an_id_made_of_its_words(base: Base) -> None:
    some = questions.ask(base.library(), "toy", "Why are  the *scores* scaled by $\\sqrt d$?", id=None, asked=DAY)
    assert some.said == "asked toy.why-scores-scaled"
    mine = questions.ask(base.library(), "toy", "And mine?", id=None, asked=DAY, private=True)
    assert lines(mine.diff) == ["+  - {id: mine, ask: And mine?, asked: 2026-02-03, private: true}"]
    assert lines(made(base, some)) == [
        "+  - {id: why-scores-scaled, ask: Why are the *scores* scaled by $\\sqrt d$?, asked: 2026-02-03}"
    ]


@pytest.mark.parametrize(
    ("question", "taken", "id"),
    [
        ("What is it?", (), "what"),
        ("Is it?", (), "is-it"),
        ("Why?", ("why", "why-2"), "why-3"),
        ("为什么？", ("question-1",), "question-2"),
        (
            "Pneumonoultramicroscopicsilicovolcanoconiosis-and-more-of-it?",
            (),
            "pneumonoultramicroscopicsilicovolcanocon",
        ),
        ("¿Qué es el œuvre de Schrödinger — größer?", (), "que-es-el-oeuvre-de"),
        ("What's GPT-4's context of 128k tokens, when all the words count?", (), "what-gpt-4-context-128k"),
    ],
)
def test_an_id_is_short_and_free(question: str, taken: tuple[str, ...], id: str) -> None:
    assert questions.id_of(question, taken) == id


def test_an_answer_in_prose_is_written_on_the_card_and_over_another_only_by_force(base: Base) -> None:
    assert lines(made(base, questions.answer(base.library(), "toy.why", "Because: so."))) == [
        "-  - {id: why, ask: Why?, asked: 2026-01-31}",
        "+  - {id: why, ask: Why?, asked: 2026-01-31, answer: 'Because: so.'}",
    ]
    with pytest.raises(MisuseError, match=r"`toy[.]how` is answered already"):
        questions.answer(base.library(), "toy.how", "Otherwise.")
    made(base, questions.answer(base.library(), "toy.how", "Two\n\nparagraphs", replaces=True))
    assert base.library().questions["toy.how"].question.answer == "Two\n\nparagraphs\n"


def test_the_skeleton_of_an_answer_in_code_is_broken_until_it_is_written(base: Base) -> None:
    texts = {"reference_impl/__init__.py": ""}
    diff = made(base, questions.answer_in_code(base.library(), "toy.why", texts))
    assert "-implementation: null" in diff
    library = base.library()
    answer = library.questions["toy.why"].answer
    assert answer
    assert answer.place.file == "reference_impl/toy.py"
    ((_, verdict, _),) = base.project.verify(library, [answer])
    assert not verdict.passed
    with pytest.raises(MisuseError, match=r"`toy.why` is answered in reference_impl/toy.py:"):
        questions.answer_in_code(library, "toy.why", texts)
    # A second one stands below it, under the same heading.
    texts["reference_impl/toy.py"] = (base.root / "reference_impl/toy.py").read_text()
    made(base, questions.answer_in_code(library, "toy.how", texts))
    written = (base.root / "reference_impl/toy.py").read_text()
    assert written.count("# Answers") == 1
    assert written.index("def why()") < written.index("def how()")


@pytest.mark.parametrize("title", ['a"""; ran = True; """', '""""a""""', '"a" "b"', "a\\N b \\", 'a\\""" b'])
def test_no_title_ends_the_docstring_of_the_module_that_an_answer_begins(base: Base, title: str) -> None:
    made(base, cards.begin_topic(base.library(), title, slug="heads", tags=[]))
    made(base, questions.ask(base.library(), "heads", "Why?", id=None, asked=DAY))
    made(base, questions.answer_in_code(base.library(), "heads.why", {"reference_impl/__init__.py": ""}))
    docstring, *others = ast.parse((base.root / "reference_impl/heads.py").read_text()).body
    assert isinstance(docstring, ast.Expr)
    assert ast.literal_eval(docstring.value) == f"{title}."
    assert [type(one) for one in others] == [ast.FunctionDef]


def test_an_answer_begins_in_a_module_with_a_byte_order_mark(base: Base) -> None:
    text = '\ufeff"""Toy."""\n'
    base.write({"reference_impl/toy.py": text, "reference_impl/__init__.py": ""})
    card = base.root / "papers/toy.yml"
    card.write_text(card.read_text().replace("implementation: null\n", ""))
    texts = {"reference_impl/toy.py": text, "reference_impl/__init__.py": ""}
    made(base, questions.answer_in_code(base.library(), "toy.why", texts))
    assert (base.root / "reference_impl/toy.py").read_text().startswith(text)


def test_tags_are_added_and_removed(base: Base) -> None:
    assert lines(made(base, cards.tag(base.library(), "toy", ["a b", "no"], []))) == ['+tags: [a b, "no"]']
    assert lines(made(base, cards.tag(base.library(), "toy", ["c", "no"], ["a b"]))) == [
        '-tags: [a b, "no"]',
        '+tags: ["no", c]',
    ]
    made(base, cards.tag(base.library(), "toy", [], ["no", "c"]))
    assert base.library().papers["toy"].card.tags == ()


def test_a_quote_is_written_word_for_word_below_the_others(base: Base) -> None:
    some = cards.quote(
        base.library(), "toy", "\n“Play”: *it* is [[said]],  # and done.\n", page="4", note="So [[toy]]."
    )
    assert some.said == "quoted toy, page 4"
    made(base, some)
    made(base, cards.quote(base.library(), "toy", " First.\r\n\fThen\ta\x02 last.\n", page=" §3.2 ", private=True))
    library = Project.find(base.root, shows_private=True).read()[0]
    assert [(one.text, one.page, one.note, one.private) for one in library.papers["toy"].card.quotes] == [
        ("“Play”: *it* is [[said]],  # and done.", "4", "So [[toy]].", False),
        ("First.\n\nThen\ta last.\n", "§3.2", None, True),
    ]
    with pytest.raises(MisuseError, match="the card `toy` has this quote already"):
        cards.quote(library, "toy", "First. Then a\nlast.")


def test_a_topic_is_begun_under_a_name_that_is_free(base: Base) -> None:
    base.write({"reference_impl/models_learn_play.py": '"""Play."""\n'})
    some = cards.begin_topic(base.library(), "How do  models learn to play?", tags=["a b", "no"])
    assert some.said == "began the topic models_learn_play_2"  # a module has the first name
    assert lines(made(base, some)) == ["+title: How do models learn to play?", '+tags: [a b, "no"]']
    assert base.library().papers["models_learn_play_2"].is_topic
    made(base, questions.ask(base.library(), "models_learn_play_2", "And why?", id=None, asked=DAY))
    with pytest.raises(MisuseError, match="the topic `models_learn_play_2` has this title already"):
        cards.begin_topic(base.library(), "how do models learn to play?")
    with pytest.raises(MisuseError, match="`models_learn_play_2` is a topic, no paper"):
        cards.quote(base.library(), "models_learn_play_2", "Their words.")


def test_reading_is_noted(base: Base) -> None:
    assert lines(made(base, cards.read(base.library(), "toy", "reading", "Section 3"))) == [
        "+reading:", "+  state: reading", "+  through: Section 3"
    ]  # fmt: skip
    assert lines(made(base, cards.read(base.library(), "toy", "read", ""))) == [
        "-  state: reading", "-  through: Section 3", "+  state: read"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "problem", "hint"),
    [
        (
            lambda all: questions.ask(all, "tiy", "Why?", id=None, asked=DAY),
            "there is no paper `tiy`",
            "did you mean `toy`?",
        ),
        (
            lambda all: questions.ask(all, "toy", " ", id=None, asked=DAY),
            "the question is empty",
            "write it in quotes: ",
        ),
        (
            lambda all: questions.ask(all, "toy", "Why?", id="why", asked=DAY),
            "the card `toy` has, or had, a question or an answer `why`",
            "choose ",
        ),
        (lambda all: questions.ask(all, "toy", "Why?", id="Why", asked=DAY), "`Why` is no id", "use lower-case words "),
        (lambda all: questions.answer(all, "toy.whi", "x"), "there is no question `toy.whi`", "did you mean `toy.why`"),
        (lambda all: questions.answer(all, "toy.why", "\n"), "the answer is empty", "nothing was changed"),
        (lambda all: cards.tag(all, "toy", [], ["x"]), "the card `toy` has no tag `x`", ""),
        (lambda all: cards.quote(all, "toy", "\n "), "the quote is empty", "write it in quotes: "),
        (lambda all: cards.begin_topic(all, " "), "the title is empty", "write it in quotes: "),
        (lambda all: cards.begin_topic(all, "Play", slug="toy"), "the name `toy` is taken", "choose another --slug"),
        (lambda all: cards.begin_topic(all, "Play", slug="Play"), "`Play` is no slug", "use lower-case letters"),
        (lambda all: cards.read(all, "toy", "raed", None), "`raed` is no state of reading", "did you mean `read`"),
    ],
)
def test_a_misuse_is_told_with_a_hint(
    base: Base, change: Callable[[Library], Changes], problem: str, hint: str
) -> None:
    with pytest.raises(MisuseError) as refused:
        change(base.library())
    assert refused.value.problem.startswith(problem)
    assert refused.value.hint.startswith(hint)
    assert str(refused.value).startswith(problem)


# All or nothing


def test_a_file_that_changed_meanwhile_is_not_written_over(base: Base) -> None:
    some = questions.ask(base.library(), "toy", "When?", id=None, asked=DAY)
    base.write({"papers/toy.yml": "cite: toy2020\nidea: Another.\nimplementation: null\n"})
    with pytest.raises(ChangedError, match=r"papers/toy[.]yml:1:1: this file was changed meanwhile"):
        changes.apply(base.root, some)
    assert "Another." in (base.root / "papers/toy.yml").read_text()


KILL = """
import os, sys
from pathlib import Path
from quaere import atomic
from quaere.authoring import changes
from quaere.authoring.changes import Change, Changes
count = int(sys.argv[1])
def counted(function):
    def call(*arguments, **options):
        global count
        count -= 1
        if count < 0:
            os._exit(9)
        return function(*arguments, **options)
    return call
for name in ("replace", "unlink"):
    setattr(Path, name, counted(getattr(Path, name)))
some = [Change("a", "old a", None), Change("b", None, "new b"), Change("c", "old c", "new c")]
changes.apply(Path.cwd(), Changes.of("all", some))
"""


@pytest.mark.parametrize("steps", range(8))
def test_a_kill_at_any_write_leaves_before_or_after(tmp_path: Path, steps: int) -> None:
    before, after = {"a": "old a", "c": "old c"}, {"b": "new b", "c": "new c"}
    for name, text in before.items():
        (tmp_path / name).write_text(text)
    code = subprocess.run([sys.executable, "-c", KILL, str(steps)], cwd=tmp_path, check=False).returncode
    changes.complete(tmp_path)  # as the next command does
    left = {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()}
    assert left in ((before, after) if code else (after,))
    assert not list((tmp_path / ".quaere").glob("changes.json"))
    assert code in (0, 9)


def test_the_diff_names_files_that_come_and_go() -> None:
    some = Changes.of("all", [Change("a", "x\n", None), Change("b", None, "y"), Change("c", "same", "same")])
    assert some.diff == (
        "--- a/a\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"
        "--- /dev/null\n+++ b/b\n@@ -0,0 +1 @@\n+y\n\\ No newline at end of file\n"
    )


# Names


NAMED = {
    "papers/toy.yml": """\
cite: toy2020
idea: A sound idea, told in [[toy.why]].
questions:
  - {id: why, ask: Why?, asked: 2026-01-31}
  - {id: how, ask: How?, asked: 2026-01-31, answer: By hand.}
""",
    "papers/doll.yml": """\
cite: toy2020
idea: "Like [[toy]] and [[toy|it]], not toys."  # kept
implementation: null
builds_on: [toy]
departures:
  - {of: paper, from: toy, where: Section 1, what: "It is [[toy#notes]]."}
notes: See [[toy.how]] and `[[toy]]`.
""",
    "reference_impl/__init__.py": "",
    "reference_impl/toy.py": '"""Toy.\n\nAsked: toy.why\n"""\n\n\ndef why() -> None:\n    """\n    Answers: toy.why\n'
    '        In code.\n\n        >>> import reference_impl.toy\n        >>> 1\n        1\n    """\n',
    "reference_impl/doll.py": "from reference_impl import toy\nfrom reference_impl.toy import why\n"
    "from . import toy as t\nx = toy.why\n",
    "tests/papers/test_toy.py": "from reference_impl.toy import why\n\n\ndef test_toy() -> None:\n    pass\n",
    "docs/page.md": "# Page\n\n[[toy]], [[toy.why|w]]\n\n<!-- quaere:question toy.why -->\n",
}


def texts(base: Base) -> Callable[[str], str | None]:
    return lambda path: (base.root / path).read_text() if (base.root / path).is_file() else None


def test_a_card_is_renamed_with_all_that_names_it(base: Base) -> None:
    base.write(NAMED)
    base.library()
    ((_, before, _),) = base.project.verify(base.library(), [base.library().answers[0]])
    made(base, renaming.rename_card(base.library(), "toy", "puppet", texts(base)))
    library = base.library()
    assert sorted(library.papers) == ["doll", "puppet"]
    assert library.papers["puppet"].card.formerly == ("toy",)
    assert library.papers["doll"].card.builds_on == ("puppet",)
    doll = (base.root / "papers/doll.yml").read_text()
    assert 'idea: "Like [[puppet]] and [[puppet|it]], not toys."  # kept' in doll
    assert "from: puppet" in doll
    assert (base.root / "reference_impl/doll.py").read_text() == (
        "from reference_impl import puppet as toy\nfrom reference_impl.puppet import why\n"
        "from . import puppet as t\nx = toy.why\n"
    )
    assert not (base.root / "reference_impl/toy.py").exists()
    assert (base.root / "tests/papers/test_puppet.py").read_text().startswith("from reference_impl.puppet import")
    assert (
        "[[puppet]], [[puppet.why|w]]\n\n<!-- quaere:question puppet.why -->"
        in (base.root / "docs/page.md").read_text()
    )
    asked = library.questions["puppet.why"]
    assert asked.answer
    assert before.passed


# Each kind of name that one can refer to a card, a question, or an answer by.
EVERY = {
    **NAMED,
    "papers/toy.yml": """\
cite: toy2020
idea: A sound idea.
questions:
  - {id: why, ask: Why?, asked: 2026-01-31}
  - id: how
    ask: How?
    asked: 2026-01-31
    answers:
      - {code: toy.by-hand, by: Ann}
      - {code: plays.alone}
quotes:
  - {text: "Play, they said.", page: 3, note: "As [[toy.why]] asks."}
notes: "![A drawing](toy/drawing.svg)"
""",
    "papers/toy/drawing.svg": '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>\n',
    "papers/doll.yml": """\
cite: toy2020
idea: Like [[toy]].
implementation: null
builds_on: [toy]
status: {state: superseded, by: toy}
questions:
  - {id: too, ask: Too?, asked: 2026-01-31, answers: [{code: toy.why}, {text: "[[toy.how]] and [it](toy.md#how)."}]}
""",
    "papers/play.yml": """\
title: Play
questions:
  - {id: who, ask: Who?, asked: 2026-01-31, answers: [{code: play.counted}]}
notes: "[[toy]] and [[play.who]]."
""",
    "reference_impl/toy.py": NAMED["reference_impl/toy.py"]
    + '\n\ndef by_hand() -> None:\n    """\n    Answers: toy.by-hand\n        So.\n\n'
    '        >>> 2\n        2\n    """\n',
    "reference_impl/more.py": '"""More.\n\nAnswers: plays.alone\n    So.\n\n    >>> 3\n    3\n\n'
    'Answers: play.counted\n    [[toy.why]] and [it](toy.md).\n\n    >>> 4\n    4\n"""\n\nrows = [[1, 2]]\n',
    "docs/page.md": "# Page\n\n[[toy]], [[toy.why|w]], [it](papers/toy.md#why), [API][reference_impl.toy]\n\n"
    "<!-- quaere:question toy.why -->\n\n<!-- quaere:question play.who -->\n\n[a]: papers/toy.md\n",
    "docs/deep/page.md": "# Deep\n\n[it](../papers/toy.md) and [no](toy.md)\n",
    "docs/deep/toy.md": "# Another\n",
    "mkdocs.yml": "site_name: Toys\nnav:\n  - Home: index.md\n  - Toy: papers/toy.md\n",
    "docs/index.md": "# Home\n",
}


def states(base: Base) -> dict[str, str]:
    library = base.library()
    verdicts = base.project.verdicts(library)
    return {id: asked.state(verdicts).value for id, asked in library.questions.items()}


def verify(base: Base) -> list[str]:
    project, library = base.project, base.library()
    return sorted(answer.id for answer, _, _ in project.verify(library, project.stale(library)))


def every_text(base: Base) -> str:
    return "\n".join(path.read_text() for path in base.root.rglob("*") if path.suffix in (".yml", ".py", ".md"))


def test_every_kind_of_name_follows_a_renamed_card(base: Base) -> None:
    base.write(EVERY)
    assert verify(base) == ["play.counted", "plays.alone", "toy.by-hand", "toy.why"]
    made(base, renaming.rename_card(base.library(), "toy", "puppet", texts(base)))
    told = every_text(base)
    left = {line for line in told.splitlines() if "toy" in line and not re.search(r"toy2020|def test_", line)}
    assert left == {
        'notes: "![A drawing](toy/drawing.svg)"',  # pictures stay where they are
        "formerly: [toy]",
        "[it](../papers/puppet.md) and [no](toy.md)",
        "from reference_impl import puppet as toy",
        "x = toy.why",
    }
    # An answer that reaches the module has other code now; one that is only called anew keeps its verdict.
    assert verify(base) == ["puppet.why"]
    assert set(states(base).values()) == {"demonstrated"}


def test_every_kind_of_name_follows_a_renamed_question_or_topic(base: Base) -> None:
    base.write(EVERY)
    verify(base)
    made(base, renaming.rename_question(base.library(), "toy.why", "wherefore", texts(base)))
    made(base, renaming.rename_card(base.library(), "play", "game", texts(base)))
    assert [line for line in every_text(base).splitlines() if "toy.why" in line and "x =" not in line] == []
    assert "quaere:question game.who" in (base.root / "docs/page.md").read_text()
    assert "code: game.counted" in (base.root / "papers/game.yml").read_text()
    assert verify(base) == []
    assert set(states(base).values()) == {"demonstrated"}


def test_a_name_of_an_answer_is_taken(base: Base) -> None:
    base.write(EVERY)
    library = base.library()
    with pytest.raises(MisuseError, match="has, or had, a question or an answer `by-hand`"):
        renaming.rename_question(library, "toy.why", "by-hand", texts(base))
    with pytest.raises(MisuseError, match="has, or had, a question or an answer `by-hand`"):
        questions.ask(library, "toy", "By hand?", id="by-hand", asked=DAY)
    assert questions.ask(library, "toy", "By hand?", id=None, asked=DAY).said == "asked toy.hand"
    base.write({"reference_impl/more.py": EVERY["reference_impl/more.py"].replace("plays.alone", "plays.by-hand")})
    base.write({"papers/toy.yml": EVERY["papers/toy.yml"].replace("plays.alone", "plays.by-hand")})
    with pytest.raises(MisuseError, match=r"an answer is called `plays.by-hand` already"):
        renaming.rename_card(base.library(), "toy", "plays", texts(base))


def test_answers_of_both_merged_cards_stay_apart_and_keep_their_verdicts(base: Base) -> None:
    base.write(EVERY)
    more = '\n\ndef more() -> None:\n    """\n    Answers: doll.by-hand\n        Two.\n\n        >>> 5\n'
    more += '        5\n    """\n'
    base.write(
        {
            "papers/doll.yml": "cite: toy2020\nimplementation: null\nquestions:\n"
            "  - {id: too, ask: Too?, asked: 2026-01-31, answers: [{code: doll.by-hand}, {code: doll.free}]}\n",
            "reference_impl/more.py": EVERY["reference_impl/more.py"]
            + more
            + more.replace("more", "free").replace("by-hand", "free"),
        }
    )
    ran = verify(base)
    assert {"doll.by-hand", "toy.by-hand", "doll.free"} <= set(ran)
    made(base, renaming.merge(base.library(), "toy", "doll", texts(base)))
    names = [reply.code for reply in base.library().questions["toy.too"].question.answers]
    assert names == ["toy.by-hand-2", "toy.free"]
    assert verify(base) == ["toy.by-hand-2"]  # its former name is another's now


def test_a_question_is_renamed_with_all_that_names_it(base: Base) -> None:
    base.write(NAMED)
    made(base, renaming.rename_question(base.library(), "toy.why", "wherefore", texts(base)))
    library = base.library()
    assert library.questions["toy.wherefore"].answer
    assert library.questions["toy.wherefore"].question.formerly == ("why",)
    assert "Asked: toy.wherefore" in (base.root / "reference_impl/toy.py").read_text()
    assert "[[toy.wherefore|w]]\n\n<!-- quaere:question toy.wherefore -->" in (base.root / "docs/page.md").read_text()


def test_two_cards_of_one_paper_are_merged(base: Base) -> None:
    base.write(NAMED)
    base.write(
        {
            "papers/doll.yml": NAMED["papers/doll.yml"].replace(
                "builds_on: [toy]\n", "tags: [x]\nquestions:\n  - {id: why, ask: And why?, asked: 2026-01-01}\n"
            )
        }
    )
    made(base, renaming.merge(base.library(), "toy", "doll", texts(base)))
    library = base.library()
    assert list(library.papers) == ["toy"]
    card = library.papers["toy"].card
    assert (card.formerly, card.tags) == (("doll",), ("x",))
    assert [(one.id, one.ask) for one in card.questions] == [("why", "Why?"), ("how", "How?"), ("why-2", "And why?")]
    # What both say stays, and so does a comment.
    assert card.notes == "Like [[toy]] and [[toy|it]], not toys.\n\nSee [[toy.how]] and `[[toy]]`.\n"
    assert (base.root / "papers/toy.yml").read_text().endswith("# kept\n")


TWO = """\
% mine
@misc{doll2018, title = {Toys}, author = {Maker, Ann}, year = 2018, note = {A preprint},
  eprint = {1701.00001}, archiveprefix = {arXiv}, file = {a.pdf}, ids = {old}}

@string{jt = "Journal of Toys"}
@article{toy2020,
  author = {Maker, Ann}, % who
  title = {Toys}, journal = jt, year = {2020}, ids = {mine}, note = {Mine}
}
@misc{other, title = {Other}}
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_entry_of_a_merged_card_goes_into_the_other_s(base: Base, end: str) -> None:
    card = "cite: doll2018\nimplementation: null\nnotes: Mine.\n"
    base.write({"papers/references.bib": TWO.replace("\n", end), "papers/doll.yml": card})
    merged = renaming.merge(base.library(), "toy", "doll", reader(base))
    assert merged.said == "merged doll into toy, and the entry doll2018 into toy2020; not taken from doll2018: year"
    made(base, merged)
    assert (base.root / "papers/references.bib").read_bytes().decode() == (
        "% mine\n" + TWO[TWO.index("@string") :].replace(
            "ids = {mine}, note = {Mine}\n}",
            "ids = {doll2018, old, mine}, note = {Mine},\n  eprint = {1701.00001},\n  archiveprefix = {arXiv},\n"
            "  file = {a.pdf}\n}",
        )
    ).replace("\n", end)  # fmt: skip
    paper = base.library().papers["toy"]
    assert (paper.reference.arxiv, paper.reference.venue, paper.card.notes) == (
        "1701.00001", "Journal of Toys", "`note`: A preprint\n\nMine.\n"
    )  # fmt: skip
    # Whatever cites it by one of its other keys still does.
    base.write(
        {"papers/toy.yml": (base.root / "papers/toy.yml").read_text().replace("cite: toy2020", "cite: doll2018")}
    )
    assert base.library().papers["toy"].reference.key == "toy2020"


@pytest.mark.parametrize(
    "files",
    [
        {"papers/play.yml": "cite: doll2018\nimplementation: null\n"},
        {"papers/play.yml": "cite: old\nimplementation: null\n"},
        {"papers/references.bib": TWO.replace("@misc{other,", "@misc{other, crossref = {doll2018},")},
        {"papers/references.bib": TWO.replace("@article{toy2020,", "@article{toy2020, xdata = {old, doll2018},")},
    ],
)
def test_an_entry_that_something_else_needs_stays(base: Base, files: dict[str, str]) -> None:
    base.write({"papers/references.bib": TWO, "papers/doll.yml": "cite: doll2018\nimplementation: null\n", **files})
    before = (base.root / "papers/references.bib").read_bytes()
    merged = renaming.merge(base.library(), "toy", "doll", texts(base))
    assert merged.said == "merged doll into toy; the entry doll2018 stays, which something else needs"
    made(base, merged)
    assert (base.root / "papers/references.bib").read_bytes() == before


def test_a_private_card_is_not_merged_into_a_public_one(base: Base) -> None:
    base.write({"papers/doll.yml": "cite: toy2020\nprivate: true\nnotes: A secret.\nimplementation: null\n"})
    library = Project.find(base.root, shows_private=True).read()[0]
    with pytest.raises(MisuseError, match="the card `doll` is private, and `toy` is not"):
        renaming.merge(library, "toy", "doll", texts(base))
    assert renaming.merge(library, "doll", "toy", texts(base)).files


def test_a_card_that_something_names_is_not_removed(base: Base) -> None:
    base.write(NAMED)
    with pytest.raises(MisuseError, match=r"`toy` is named in docs/page.md, papers/doll.yml, reference_impl/doll.py"):
        renaming.remove(base.library(), "toy", texts(base))
    made(base, renaming.remove(base.library(), "doll", texts(base)))
    assert list(base.library().papers) == ["toy"]


def test_what_needs_a_card_that_is_to_go_is_named_however_it_does(base: Base) -> None:
    base.write(EVERY)
    named = {
        "papers/doll.yml": "cite: toy2020\nimplementation: null\nquestions:\n"
        "  - {id: too, ask: Too?, asked: 2026-01-31, answers: [{code: doll.own}]}\n",
        "reference_impl/toy.py": EVERY["reference_impl/toy.py"].replace("Answers: toy.by-hand", "Answers: doll.own"),
        "papers/toy.yml": EVERY["papers/toy.yml"].replace("{code: toy.by-hand, by: Ann}", "{text: Yes.}")
        + "formerly: [gamble]\n",
        "papers/play.yml": EVERY["papers/play.yml"].replace("[[toy]] and", "[x](gamble.md) and"),
    }
    base.write(named)
    for name in ("docs/page.md", "docs/deep/page.md", "mkdocs.yml", "reference_impl/doll.py"):
        (base.root / name).unlink()
    base.write(
        {"reference_impl/more.py": EVERY["reference_impl/more.py"].replace("[[toy.why]] and [it](toy.md)", "So")}
    )
    library = base.project.read()[0]
    with pytest.raises(MisuseError, match=r"^`toy` is named in papers/doll.yml, papers/play.yml\n"):
        renaming.remove(library, "toy", texts(base))


def test_a_removed_card_takes_its_pictures_along_but_none_that_others_show(base: Base) -> None:
    base.write(
        {
            "papers/toy.yml": "cite: toy2020\nprivate: true\nimplementation: null\nnotes: '![A](toy/a.svg)'\n",
            "papers/doll.yml": "cite: toy2020\nimplementation: null\nnotes: '![B](toy/b.svg)'\n",
            **{f"papers/toy/{name}.svg": EVERY["papers/toy/drawing.svg"] for name in "abc"},
        }
    )
    library = Project.find(base.root, shows_private=True).read()[0]
    some = renaming.remove(library, "toy", texts(base))
    assert "Binary files a/papers/toy/c.svg and /dev/null differ\n" in some.diff
    made(base, some)
    assert sorted(path.name for path in base.root.rglob("*.svg")) == ["b.svg"]
