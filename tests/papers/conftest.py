"""What the tests of all papers share: a seed, and precisions."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def float64() -> Iterator[None]:
    """Have torch make everything in double precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(params=[torch.float64, torch.float32])
def tolerance(request: pytest.FixtureRequest) -> Iterator[float]:
    """Return the largest difference that is allowed, in either precision; torch makes everything in that one."""
    torch.set_default_dtype(request.param)
    yield 1e-8 if request.param is torch.float64 else 1e-5
    torch.set_default_dtype(torch.float32)
