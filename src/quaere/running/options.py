"""The options of an experiment, in a module without other imports, so that the command's help loads fast."""

from enum import StrEnum


class Size(StrEnum):
    """The size of an experiment: seconds, minutes on two cores, minutes on a GPU, or the paper's size."""

    SMOKE = "smoke"
    SMALL = "small"
    GPU = "gpu"
    FULL = "full"


class Device(StrEnum):
    """The device that an experiment runs on."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"
