"""Experiments that draw batches: two processes have the gradients of one on the joined batch."""

from pathlib import Path
from typing import Any

import pytest

from tests.experiments.conftest import in_two, pool_of
from tests.experiments.gradients import first_gradients
from tests.experiments.test_training import gradients
from tests.experiments.together import write_together
from tests.own import LIBRARY

# What two processes can share: the others draw no batches, or none that is trained on.
IN_TWO = [slug for slug in sorted(LIBRARY.experiments) if slug not in ("performer", "attention_agent")]


# One of each kind of loss: a mean of words, a contrast, a matching of sets. The loop is the same for all.
ALWAYS = ("curl", "detr", "transformer")


@pytest.fixture(scope="module")
def alone_and_together(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, server: Any
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    mine = (item for item in request.session.items if item.path == request.path and isinstance(item, pytest.Function))
    wanted = [str(item.callspec.params["slug"]) for item in mine if "slug" in item.fixturenames]
    # As a person launches them, or forked.
    if set(wanted) - set(ALWAYS):
        return gradients(1, *wanted), gradients(2, *wanted)
    folder = tmp_path_factory.mktemp("gradients")
    with pool_of(1, server) as pool:
        _, alone = pool.submit(first_gradients, folder / "alone", *wanted).result(timeout=300)
    (processes, together), _ = in_two(server, folder, first_gradients, folder / "together", *wanted)
    assert processes == 2
    return alone, together


@pytest.mark.parametrize(
    "slug", [slug if slug in ALWAYS else pytest.param(slug, marks=pytest.mark.slow) for slug in IN_TWO]
)
def test_two_processes_have_the_gradients_of_one_on_the_joined_batch(
    slug: str, alone_and_together: tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]
) -> None:
    one, two = alone_and_together
    names = [name for name in one if name.startswith(f"{slug} ")]
    assert names
    for name in names:
        alone, together = one[name], two[name]
        assert alone.keys() == together.keys()
        size = max(value for weight, value in alone.items() if weight.endswith(" norm"))
        assert size > 0
        worst = max(abs(alone[weight] - together[weight]) for weight in alone if weight != "loss")
        assert worst < 2e-5 * (size + 1), name
        # DETR's is the mean of what its processes show: its classes are weighed by the share.
        assert together["loss"] == pytest.approx(alone["loss"], rel=1e-3), name


def test_two_processes_are_joined_and_the_first_of_them_writes(server: Any, tmp_path: Path) -> None:
    in_two(server, tmp_path, write_together, tmp_path / "lines")
    assert (tmp_path / "lines").read_text() == "2 processes\n"
