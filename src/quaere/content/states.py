"""The states of a question, in a module without other imports, so that the command's help loads fast."""

from enum import StrEnum


class State(StrEnum):
    """The state of a question."""

    OPEN = "open"
    ANSWERED = "answered"
    DEMONSTRATED = "demonstrated"
    UNVERIFIED = "unverified"
    BROKEN = "broken"


class Kind(StrEnum):
    """What there is to do, the most urgent first."""

    BROKEN = "broken"
    UNVERIFIED = "unverified"
    OPEN = "open"
    TO_READ = "to-read"
    NO_IDEA = "no-idea"
    NO_CARD = "no-card"
