"""What annotations say of shapes is checked whenever tests run, whatever was imported before."""

import pytest
import torch
from jaxtyping import TypeCheckError

from reference_impl.lstm import RNNCell


def test_a_wrong_shape_is_refused_while_tests_run() -> None:
    cell = RNNCell(input_size=3, hidden_size=4)
    x = torch.zeros(2, 3)
    cell(x, cell.init_state(x))
    with pytest.raises(TypeCheckError, match="state"):
        cell(x, (torch.zeros(5, 4),))
