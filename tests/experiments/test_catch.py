import torch

from reference_impl.experiments import catch


def test_every_game_begins_once():
    assert len({*zip(*(column.tolist() for column in catch.start_columns()), strict=True)}) == 49


def test_a_screen_shows_one_ball_and_one_paddle_and_else_the_background():
    screen = catch.render_screens(catch.backgrounds()["blue"])[3, 2, 5]
    ball, paddle = screen[12:16, 8:12], screen[24:28, 20:24]
    assert (ball == torch.tensor(catch.BALL)).all()
    assert (paddle == torch.tensor(catch.PADDLE)).all()
    behind = (screen == torch.tensor([0.0, 0.0, 0.5])).all(dim=-1)
    assert behind.sum() == 28 * 28 - 2 * 16


def test_a_background_changes_no_pixel_of_ball_and_paddle():
    objects = (catch.ball_cells() | catch.paddle_cells()).repeat_interleave(4, dim=-2).repeat_interleave(4, dim=-1)
    black, *changed = (catch.render_screens(background) for background in catch.backgrounds().values())
    assert len(changed) == 6
    assert all(torch.equal(other[objects], black[objects]) for other in changed)
    assert not any(torch.equal(other, black) for other in changed)


def test_noise_is_another_on_each_screen():
    noise = catch.render_screens(catch.backgrounds()["noise"])
    assert not torch.equal(noise[0, 0, 0][8:20], noise[0, 0, 1][8:20])


def test_the_paddle_moves_by_one_cell_and_stays_on_the_screen():
    paddles, actions = torch.tensor([0, 3, 3, 3, 6]), torch.tensor([-1.0, -0.5, 0.3, 0.5, 1.0])
    assert catch.move_paddles(paddles, actions).tolist() == [0, 2, 3, 4, 6]


def test_random_moves_catch_one_ball_in_seven():
    draws = torch.Generator().manual_seed(0)
    balls, paddles = (column.repeat(400) for column in catch.start_columns())
    for _ in range(catch.STEPS):
        paddles = catch.move_paddles(paddles, 2 * torch.rand(len(paddles), generator=draws) - 1)
    assert abs((paddles == balls).float().mean() - catch.CHANCE) < 0.01
