"""How an experiment may be started. They need nothing else, so that the help of the command need not load the rest."""

from enum import StrEnum


class Size(StrEnum):
    """How much an experiment does: seconds, minutes on two cores, or what the paper did."""

    SMOKE = "smoke"
    SMALL = "small"
    FULL = "full"


class Device(StrEnum):
    """Where an experiment computes."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"
