"""The states of a question. They need nothing else, so that the help of the command need not load the model."""

from enum import StrEnum


class State(StrEnum):
    """What is known of a question's answer."""

    OPEN = "open"
    ANSWERED = "answered"
    DEMONSTRATED = "demonstrated"
    UNVERIFIED = "unverified"
    BROKEN = "broken"
