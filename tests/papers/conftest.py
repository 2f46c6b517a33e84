"""Fixtures of the tests of all papers: the seed and the precision."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def float64() -> Iterator[None]:
    """Set torch's default dtype to float64."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(params=[torch.float64, torch.float32])
def tolerance(request: pytest.FixtureRequest) -> Iterator[float]:
    """Set torch's default dtype to float64, then float32, and return the tolerance for each."""
    torch.set_default_dtype(request.param)
    yield 1e-8 if request.param is torch.float64 else 1e-5
    torch.set_default_dtype(torch.float32)
