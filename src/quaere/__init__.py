"""Paper cards, answers that run, and the site that shows them.

For Python programs: `from quaere import Project` (see docs/guide/python.md).

Data flow through five packages (see docs/architecture.md): `content` reads an author's files into one `Library`,
`running` executes its code, `pages` renders pages from both, `site` builds a site from them, and `authoring` edits
files.
"""

# The commands import `quaere` too, and nothing of this: not even `typing`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from quaere.api import Answer, Paper, Project, Question
    from quaere.content.states import State
    from quaere.errors import AuthorError, Faults

__all__ = ["Answer", "AuthorError", "Faults", "Paper", "Project", "Question", "State"]

_HOMES = {"AuthorError": "quaere.errors", "Faults": "quaere.errors", "State": "quaere.content.states"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES.get(name, "quaere.api")), name)
