"""layers.positions against the formula entry by entry, and against known properties of sinusoids."""

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impl.layers.positions import LearnedPositions, integer_positions, sigmoid_positions, sinusoidal_positions


@pytest.fixture
def float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def by_hand(position: int, column: int, d: int) -> float:
    angle = position / 10000 ** (column // 2 * 2 / d)
    return math.cos(angle) if column % 2 else math.sin(angle)


@pytest.mark.parametrize(("length", "d"), [(7, 8), (1, 6), (5, 7), (3, 1), (60, 512)])
@pytest.mark.usefixtures("float64")
def test_sinusoids_agree_with_the_formula_in_float64(length: int, d: int) -> None:
    expected = torch.tensor([[by_hand(t, c, d) for c in range(d)] for t in range(length)])
    assert sinusoidal_positions(length, d).dtype == torch.float64
    assert torch.allclose(sinusoidal_positions(length, d), expected, rtol=0, atol=1e-10)


def test_sinusoids_at_late_positions_are_exact_in_float32() -> None:
    last = sinusoidal_positions(100_000, 8)[-1]
    assert last.dtype == torch.float32
    assert torch.allclose(last, torch.tensor([by_hand(99_999, c, 8) for c in range(8)]), rtol=0, atol=1e-6)


def test_sines_and_cosines_alternate_from_position_zero() -> None:
    assert torch.equal(sinusoidal_positions(1, 6)[0], torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0, 1.0]))
    assert sinusoidal_positions(0, 6).shape == (0, 6)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 400), st.integers(0, 400), st.integers(0, 100))
def test_the_product_of_two_positions_depends_on_their_offset_alone(first: int, second: int, offset: int) -> None:
    positions = sinusoidal_positions(501, 32).double()
    one, other = (positions[start] @ positions[start + offset] for start in (first, second))
    assert torch.allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("max_length", "d", "weights"), [(512, 768, 393_216), (197, 768, 151_296)])
def test_learned_positions_have_one_row_for_each_position(max_length: int, d: int, weights: int) -> None:
    positions = LearnedPositions(max_length, d)
    assert sum(p.numel() for p in positions.parameters()) == weights
    assert torch.equal(positions(5), positions.table[:5])
    assert positions(max_length).shape == (max_length, d)
    assert 0.019 < positions.table.std().item() < 0.021


def test_learned_positions_refuse_a_longer_sequence_with_both_numbers() -> None:
    with pytest.raises(ValueError, match=r"^length 513 exceeds the 512 positions of the table$"):
        LearnedPositions(512, 4)(513)


def test_only_the_positions_in_use_get_a_gradient() -> None:
    positions = LearnedPositions(6, 4)
    positions(2).sum().backward()
    assert positions.table.grad is not None
    assert positions.table.grad.sum(dim=1).tolist() == [4, 4, 0, 0, 0, 0]


def test_integer_and_sigmoid_positions_are_columns_that_can_be_added_to_any_width() -> None:
    assert integer_positions(4).tolist() == [[0], [1], [2], [3]]
    expected = [[1 / (1 + math.exp(-t))] for t in range(4)]
    assert torch.allclose(sigmoid_positions(4), torch.tensor(expected))
    assert (torch.zeros(4, 8) + sigmoid_positions(4)).shape == (4, 8)
