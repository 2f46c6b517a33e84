"""Settings that must stand before any test imports torch or `reference_impl`, and how workers share out the tests."""

import atexit
import gc
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# How long something takes on a busy machine says nothing of it.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

os.environ["REFERENCE_IMPL_CHECK_SHAPES"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What is imported and collected stays to the end. To look through it for circles again and again, and once more at the
# end, took a third of the time of that.
gc.disable()
atexit.register(gc.freeze)

EXPERIMENTS = "tests/experiments/test_experiments.py"
GRADIENTS = "tests/experiments/test_gradients.py"
LONGEST = (
    EXPERIMENTS,
    "tests/site/test_accessibility.py",
    "tests/site/test_use.py",
    "tests/site/test_hostile.py",
    "tests/engine/test_verify.py",
    "tests/engine/test_newcomer.py",
    "tests/engine/test_kills.py",
    "tests/site/test_search.py",
    "tests/site/test_tasks.py",
    "tests/site/test_facets.py",
    "tests/site/test_pages.py",
    "tests/engine/test_files.py",
    "tests/fuzz/test_fuzz.py",
    "tests/papers/test_transformer.py",
    "tests/engine/test_cli.py",
    "tests/site/test_markup.py",
    "tests/engine/test_incremental.py",
    "tests/engine/test_time.py",
)
"""Files that take long begin first, so that no worker is at one of them alone at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {file: place for place, file in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: list[Any]) -> None:
    from tests import workers

    # A few files alone import less.
    if any(Path(argument).is_dir() for argument in config.args):
        config.add_cleanup(workers.share_imports(specs))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give all tests of a file to one worker, for what they share; those of the experiments, too, which share most.

    Marks can't say so: pytest-xdist 3.8 writes them where pytest 9.2 no longer looks.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return EXPERIMENTS if file == GRADIENTS else file

    return Together(config, log)
