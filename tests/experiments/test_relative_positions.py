from functools import partial

import pytest
import torch

from quaere.results import Reproduced
from reference_impl.experiments.prose import characters
from reference_impl.experiments.relative_positions import (
    BOTH,
    CLIPPED,
    FUSED,
    GAPS,
    KEYS,
    LEARNED,
    LOOK_BACK,
    NONE,
    NOWHERE,
    PLAIN,
    RELATIVE,
    SINUSOIDS,
    SIZES,
    VALUES,
    Arm,
    PartlyRelative,
    Reader,
    fixed,
    gaps,
    judged_better,
    judged_both,
    judged_clipping,
    judged_lengths,
    judged_pace,
    judged_parts,
    look_back,
    mirror,
    windows,
)
from reference_impl.experiments.training import parameters
from reference_impl.relative_positions import RelativeMultiHeadAttention

YES, PARTLY, NO = Reproduced.YES, Reproduced.PARTLY, Reproduced.NO


@pytest.mark.parametrize(
    ("task", "text", "verdict"), [(0.99, 0.39, YES), (0.99, 0.3, PARTLY), (0.9, 0.4, PARTLY), (0.5, 0.3, NO)]
)
def test_accuracy_must_hold_on_both_tasks(task: float, text: float, verdict: Reproduced) -> None:
    def right(here: float, there: float) -> dict[str, list[dict[str, float]]]:
        held = {arm.name: [{"32": here, "128": here}] for arm in (SINUSOIDS, LEARNED)}
        return held | {NONE.name: [{"32": 0.1, "128": 0.1}], RELATIVE.name: [{"32": here, "128": there}]}

    assert judged_lengths({LOOK_BACK: right(1.0, task), GAPS: right(0.4, text)}).verdict is verdict


def test_accuracy_that_was_never_learnt_is_not_kept() -> None:
    chance = {arm.name: [{"32": 0.06, "128": 0.06}] for arm in (RELATIVE, SINUSOIDS, LEARNED, NONE)}
    assert judged_lengths({LOOK_BACK: chance, GAPS: chance}).verdict is NO


@pytest.mark.parametrize(
    ("ours", "verdict"), [([0.4, 0.5, 0.5], YES), ([0.2, 0.6, 0.6], PARTLY), ([0.2, 0.3, 0.4], NO)]
)
def test_relative_positions_must_win_with_every_seed(ours: list[float], verdict: Reproduced) -> None:
    assert judged_better(ours, [0.3, 0.4, 0.4]).verdict is verdict


@pytest.mark.parametrize(("both", "verdict"), [(0.2, YES), (0.41, PARTLY), (0.5, NO)])
def test_sinusoids_besides_must_add_nothing(both: float, verdict: Reproduced) -> None:
    assert judged_both([both], [0.4]).verdict is verdict


@pytest.mark.parametrize(("at_two", "verdict"), [(0.4, YES), (0.35, PARTLY), (0.2, NO)])
def test_two_places_must_gain_nearly_as_much_as_the_best(at_two: float, verdict: Reproduced) -> None:
    found = judged_clipping({0: [0.1], 1: [0.9], 2: [at_two], 4: [0.4], 16: [0.39]})
    assert found.verdict is verdict
    assert f"gains {(at_two - 0.1) / 0.3:.0%} of" in found.measured


def test_nothing_that_gains_nothing_is_called_reproduced() -> None:
    assert judged_clipping({0: [0.4], 2: [0.4], 4: [0.4]}).verdict is NO
    assert judged_parts([0.4], [0.4], [0.4], [0.4]).verdict is NO


@pytest.mark.parametrize(("keys", "verdict"), [(0.4, YES), (0.35, PARTLY), (0.2, NO)])
def test_keys_must_have_nearly_all_that_both_have(keys: float, verdict: Reproduced) -> None:
    assert judged_parts([0.4], [keys], [0.4], [0.1]).verdict is verdict


@pytest.mark.parametrize(("share", "verdict"), [(0.93, YES), (0.8, PARTLY), (0.5, NO)])
def test_the_pace_is_compared_turn_by_turn(share: float, verdict: Reproduced) -> None:
    # The machine's own pace changes from turn to turn; the ratio of the medians would be three times this share.
    turns = {PLAIN: [1.0, 100.0, 10.0], FUSED: [1.0, 100.0, 10.0]}
    assert judged_pace({"relative": [share, 100 * share, 30 * share], **turns}).verdict is verdict


def test_right_answers_stand_where_the_tasks_say() -> None:
    symbols, right = look_back(3, 12, torch.Generator().manual_seed(0))
    assert (right[:, :5] == NOWHERE).all()
    assert (right[:, 5:] == symbols[:, :7]).all()
    symbols, right = mirror(3, 12, torch.Generator().manual_seed(0))
    assert (right[:, 0] == symbols[:, -1]).all()
    assert (right[:, 2] == symbols[:, -3]).all()


def test_hidden_characters_are_asked_for_and_no_others() -> None:
    text = torch.arange(1, 101)
    symbols, right = gaps(text, 20, 50, torch.Generator().manual_seed(0))
    hidden = symbols == 0
    assert 0.1 < hidden.float().mean() < 0.2
    assert torch.equal(right == NOWHERE, ~hidden)
    assert (symbols.where(~hidden, right).diff(dim=1) == 1).all()


def test_a_test_hides_the_same_characters_at_every_length() -> None:
    text = torch.arange(1, 1025)
    parts = [[part.flatten() for part in windows(text, length)] for length in (64, 512)]
    assert all(torch.equal(one, other) for one, other in zip(*parts, strict=True))


def test_no_held_out_sentence_is_in_the_training_text() -> None:
    train, test = (bytes(characters(10, held_out).tolist()).decode() for held_out in (False, True))
    pieces = [test[start : start + 60] for start in range(0, len(test) - 60, 60)]
    assert len(pieces) > 20
    assert not any(piece in train for piece in pieces)


def test_arms_have_the_same_numbers_to_learn_within_a_twentieth() -> None:
    width = SIZES["small"].d_model
    arms = (RELATIVE, SINUSOIDS, LEARNED, NONE, BOTH, KEYS, VALUES, *CLIPPED)
    counts = [parameters(Reader(arm, width, trained, 512)) for arm in arms for trained in (32, 64)]
    assert max(counts) / min(counts) < 1.05


def test_learnt_rows_beyond_the_trained_length_are_no_parameters_and_stay() -> None:
    torch.manual_seed(0)
    model = Reader(LEARNED, 16, trained=4, longest=10)
    assert model.rows(3).shape == (3, 16)
    assert torch.equal(model.rows(9)[4:], model.untrained[:5])
    model(torch.randint(16, (2, 4))).sum().backward()
    assert model.positions.table.grad is not None
    assert "untrained" not in dict(model.named_parameters())


def test_with_both_tables_it_is_the_papers_attention_and_without_them_it_is_blind() -> None:
    torch.manual_seed(0)
    x, order = torch.randn(2, 6, 16), torch.tensor([3, 0, 5, 1, 4, 2])
    partly = PartlyRelative(16, 2, RELATIVE)
    whole = RelativeMultiHeadAttention(16, 2, RELATIVE.k)
    whole.load_state_dict(partly.state_dict())
    assert torch.allclose(partly(x), whole(x), atol=1e-6)
    blind = PartlyRelative(16, 2, NONE)
    assert torch.allclose(blind(x[:, order]), blind(x)[:, order], atol=1e-5)


@pytest.mark.parametrize("arm", [KEYS, VALUES], ids=lambda arm: arm.name)
def test_a_part_is_the_whole_with_the_other_table_at_zero(arm: Arm) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 6, 16)
    partly, whole = PartlyRelative(16, 2, arm), RelativeMultiHeadAttention(16, 2, arm.k)
    whole.load_state_dict(partly.state_dict(), strict=False)
    torch.nn.init.zeros_((whole.value_positions if arm.keys else whole.key_positions).table)
    assert torch.allclose(partly(x), whole(x), atol=1e-6)


def test_a_test_of_made_sequences_is_the_same_each_time() -> None:
    draw = partial(fixed, mirror, 640)
    assert torch.equal(draw(32)[0], draw(32)[0])
    assert draw(64)[0].shape == (10, 64)
