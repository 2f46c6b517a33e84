"""This project's own knowledge base, read once for all tests of a process."""

from pathlib import Path

from quaere.project import Project

ROOT = Path(__file__).parents[1]
LIBRARY, FAULTS = Project.find(ROOT).read()
