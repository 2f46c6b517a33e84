"""The states of a question, in a module without other imports, so that the command's help loads fast."""

from enum import StrEnum


class State(StrEnum):
    """The state of a question."""

    OPEN = "open"
    ANSWERED = "answered"
    DEMONSTRATED = "demonstrated"
    UNVERIFIED = "unverified"
    BROKEN = "broken"
