"""Where the nodes and the edges of a graph go, whatever the graph."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from quaere.pages.layered import Arrangement, Edge, Station, arrange, path, ranks

GAP = 10.0
NODES = [str(number) for number in range(12)]
PAIRS = st.lists(st.tuples(st.sampled_from(NODES), st.sampled_from(NODES)).filter(lambda pair: pair[0] != pair[1]))
SIZES = st.lists(st.tuples(st.floats(1, 200), st.floats(1, 100)), min_size=len(NODES), max_size=len(NODES)).map(
    lambda sizes: dict(zip(NODES, sizes, strict=True))
)
SOME = settings(max_examples=50, deadline=None)
SIZE = dict.fromkeys(NODES, (60.0, 20.0))


def placed(pairs: list[tuple[str, str]], sizes: dict[str, tuple[float, float]], **how: bool) -> Arrangement:
    return arrange(sizes, [Edge(*pair) for pair in pairs], ranks(sizes, pairs), gap=GAP, **how)


@SOME
@given(PAIRS, SIZES, st.booleans())
def test_nodes_keep_their_distance_and_lie_within_the_drawing(
    pairs: list[tuple[str, str]], sizes: dict[str, tuple[float, float]], is_shared: bool
) -> None:
    made = placed(pairs, sizes, is_shared=is_shared)
    for one, other in itertools.combinations(NODES, 2):
        (x, y), (to_x, to_y) = made.centers[one], made.centers[other]
        apart = abs(x - to_x) - (sizes[one][0] + sizes[other][0]) / 2
        above = abs(y - to_y) - (sizes[one][1] + sizes[other][1]) / 2
        assert apart >= GAP - 1e-6 or above > 0, (one, other)
    for node, (x, y) in made.centers.items():
        wide, high = sizes[node]
        assert -1e-6 <= x - wide / 2 <= x + wide / 2 <= made.across + 1e-6
        assert -1e-6 <= y - high / 2 <= y + high / 2 <= made.along + 1e-6


@SOME
@given(PAIRS, SIZES, st.booleans())
def test_every_edge_leads_from_border_to_border_and_across_no_other_node(
    pairs: list[tuple[str, str]], sizes: dict[str, tuple[float, float]], is_shared: bool
) -> None:
    made = placed(pairs, sizes, is_shared=is_shared)
    assert len(made.routes) == len(pairs)
    for (source, target), route in zip(pairs, made.routes, strict=True):
        (x, y), (to_x, to_y) = made.centers[source], made.centers[target]
        way = 1 if y < to_y else -1
        assert abs(route[0].start - (y + way * sizes[source][1] / 2)) < 1e-6
        assert abs(route[-1].end - (to_y - way * sizes[target][1] / 2)) < 1e-6
        assert abs(route[0].across - x) <= sizes[source][0] / 2
        assert abs(route[-1].across - to_x) <= sizes[target][0] / 2
        # In the rows that it passes, it runs straight beside the nodes.
        for station in route[1:-1]:
            for node, (across, along) in made.centers.items():
                is_in_row = min(station.start, station.end) - 1e-6 <= along <= max(station.start, station.end) + 1e-6
                assert not is_in_row or abs(station.across - across) >= sizes[node][0] / 2, node


@SOME
@given(PAIRS)
def test_rows_follow_the_edges_that_close_no_circle(pairs: list[tuple[str, str]]) -> None:
    rows = ranks(NODES, pairs)
    assert set(rows) == set(NODES)
    if all(int(one) < int(other) for one, other in pairs):
        assert all(rows[one] < rows[other] for one, other in pairs)


def test_rows_follow_the_edges() -> None:
    assert ranks("abcde", [("a", "b"), ("b", "c"), ("a", "c"), ("d", "c")]) == {"a": 0, "b": 1, "c": 2, "d": 1, "e": 0}
    assert sorted(ranks("abc", [("a", "b"), ("b", "c"), ("c", "a")]).values()) == [0, 1, 2]


@SOME
@given(PAIRS, SIZES)
def test_the_same_graph_is_arranged_alike(pairs: list[tuple[str, str]], sizes: dict[str, tuple[float, float]]) -> None:
    assert placed(pairs, sizes) == placed(pairs, dict(sizes))


def test_what_can_be_drawn_without_a_crossing_is() -> None:
    # In the order of the names, three edges would cross.
    pairs = [("0", "5"), ("1", "4"), ("2", "3")]
    centers = placed(pairs, {node: SIZE[node] for node in NODES[:6]}).centers
    above = sorted("012", key=lambda node: centers[node])
    assert [dict(pairs)[node] for node in above] == sorted("345", key=lambda node: centers[node])


def test_edges_of_one_source_run_together_where_they_may() -> None:
    # To a node far below, one may stop on the way.
    pairs = [("0", "1"), ("1", "2"), ("2", "3"), ("0", "3"), ("0", "2")]
    apart, together = (placed(pairs, SIZE, is_shared=is_shared).routes for is_shared in (False, True))
    assert together[3][1] == together[4][1]
    assert apart[3][1] != apart[4][1]


def test_a_path_is_straight_in_a_row_and_bends_between_rows() -> None:
    route = (Station(5, 0, 10), Station(5, 20, 30), Station(9, 40, 50))
    assert path(route) == "M5 0L5 10L5 30C5 35 9 35 9 40L9 50"
    assert path(route, is_turned=True) == "M0 5L10 5L30 5C35 5 35 9 40 9L50 9"
