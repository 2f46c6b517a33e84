"""What is read of results and said of them."""

from reference_impl.experiments.curves import (
    curve_series,
    final_averages,
    final_values,
    has_plateaued,
    list_means,
    list_spreads,
    moving_average,
    select,
    sweep_series,
)

CURVES = {
    "ours": [[{"step": 1, "bleu": 1.0}, {"step": 2, "bleu": 3.0}], [{"step": 1, "bleu": 2.0}, {"step": 2, "bleu": 4.0}]]
}


def test_an_entry_of_the_results_is_selected_for_each_arm_and_seed() -> None:
    assert select({"ours": [{"reach": 1, "curve": []}, {"reach": 2, "curve": []}]}, "reach") == {"ours": [1, 2]}


def test_final_values_are_those_of_the_last_measurement() -> None:
    assert final_values(CURVES, "bleu") == {"ours": [3.0, 4.0]}


def test_a_moving_average_takes_the_last_three_points() -> None:
    curve = [{"bleu": score} for score in (3.0, 9.0, 6.0, 0.0)]
    assert moving_average(curve, "bleu") == [3.0, 6.0, 6.0, 5.0]


def test_a_sentence_says_the_means_or_the_spreads_of_all_arms() -> None:
    values = {"ours": [1.0, 2.0], "theirs": [0.0, 0.5]}
    assert list_means(values, ".2f") == "ours 1.50; theirs 0.25"
    assert list_spreads(values, ".1f", ", ") == "ours 1.5 (1.0 to 2.0), theirs 0.2 (0.0 to 0.5)"


def test_the_curves_of_a_figure_have_a_line_for_each_seed() -> None:
    (learned,) = curve_series(CURVES, "bleu")
    assert (learned.name, learned.x, learned.runs) == ("ours", (1, 2), ((1.0, 3.0), (2.0, 4.0)))
    (swept,) = sweep_series({"ours": {50: [0.1, 0.2], 100: [0.3, 0.4]}})
    assert (swept.name, swept.x, swept.runs) == ("ours", (50, 100), ((0.1, 0.3), (0.2, 0.4)))


def test_final_averages_are_of_the_last_three_measurements() -> None:
    assert final_averages({"ours": [[{"bleu": score} for score in (9.0, 3.0, 9.0, 6.0)]]}, "bleu") == {"ours": [6.0]}


def test_a_measure_has_plateaued_once_no_late_average_beats_the_early_ones() -> None:
    def curve(*scores: float) -> list[dict[str, float]]:
        return [{"bleu": score} for score in scores]

    assert has_plateaued(curve(0, 9, 9, 9, 9, 9), "bleu", patience=2)
    assert not has_plateaued(curve(0, 9, 9, 9, 10, 10), "bleu", patience=2)
    assert not has_plateaued(curve(9, 9), "bleu", patience=2)
    assert has_plateaued(curve(9, 1, 1, 1, 1, 1), "bleu", patience=2, higher_is_better=False)
    assert not has_plateaued(curve(9, 8, 7, 6, 5, 4), "bleu", patience=2, higher_is_better=False)
