"""The rows, by what they measure; importing this package adds them all."""

from benchmarks.row import ROWS
from benchmarks.rows import attention, performer, pretrained, recurrent, reinforcement

__all__ = ["ROWS", "attention", "performer", "pretrained", "recurrent", "reinforcement"]
