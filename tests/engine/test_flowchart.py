"""Which flowcharts are read, what they say, how they are arranged, and that a hostile one does no harm."""

import html
import itertools
import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quaere.pages import flowchart, render
from quaere.pages.flowchart import Arrow, Figure, arrange, figures, read
from tests.engine.test_pages import Reading, small, view

CHART = r"""flowchart BT
  %% what goes in
  x["source tokens"] --> ex("embedding") & px([positions])
  subgraph encoder["encoder layer, 6 ×"]
    i(( )) --> sa{{attention}} --> n["add<br>and norm"]
    i --- n
  end
  ex & px --> i
  subgraph decoder
    ma[/masked/] ==> ca{cross} -. "s = #quot;1#quot;" .-> out[(memory)]
  end
  n -->|"keys, $\alpha x_1$"| ca; y --> ma
  out ~~~ s[[softmax]]
"""


def drawn(source: str) -> Figure:
    chart = read(source)
    assert chart
    figure = arrange(chart)
    assert figure
    return figure


def shown(source: str) -> str:
    return render.with_flowcharts(view(small()), f'<div class="diagram">{html.escape(source)}</div>')


def test_nodes_arrows_and_boxes_are_read() -> None:
    chart = read(CHART)
    assert chart
    assert {id: (node.lines, node.shape) for id, node in chart.nodes.items()} == {
        "x": (("source tokens",), "box"),
        "ex": (("embedding",), "round"),
        "px": (("positions",), "stadium"),
        "i": ((), "dot"),
        "sa": (("attention",), "hexagon"),
        "n": (("add", "and norm"), "box"),
        "ma": (("masked",), "lean"),
        "ca": (("cross",), "diamond"),
        "out": (("memory",), "cylinder"),
        "y": (("y",), "box"),
        "s": (("softmax",), "subroutine"),
    }
    assert {id: (box.title, box.inner) for id, box in chart.boxes.items() if id} == {
        "encoder": ("encoder layer, 6 ×", ["i", "sa", "n"]),
        "decoder": ("decoder", ["ma", "ca", "out"]),
    }
    assert chart.arrows == (
        Arrow("x", "ex"),
        Arrow("x", "px"),
        Arrow("i", "sa"),
        Arrow("sa", "n"),
        Arrow("i", "n", has_head=False),
        Arrow("ex", "i"),
        Arrow("px", "i"),
        Arrow("ma", "ca", "thick"),
        Arrow("ca", "out", "dotted", label=('s = "1"',)),
        Arrow("n", "ca", label=("keys, αx₁",)),
        Arrow("y", "ma"),
        Arrow("out", "s", "none", has_head=False),
    )


@pytest.mark.parametrize(
    "source",
    [
        "sequenceDiagram\n A->>B: x",
        "flowchart LR",
        "flowchart LR\n A --> ",
        "flowchart LR\n A --> B\n style A fill:#fff",
        "flowchart LR\n A --> B:::red",
        "flowchart LR\n A --> A",
        "flowchart LR\n A --o B",
        "flowchart LR\n A --x B --> C",
        "flowchart LR\n A <--> B",
        "flowchart LR\n A@{ shape: cloud }",
        "flowchart LR\n A(((a)))",
        "flowchart LR\n A[`*a*`]",
        'flowchart LR\n A["<b>a</b>"]',
        'flowchart LR\n A["$$x$$"]',
        'flowchart LR\n A["a]',
        "flowchart LR\n subgraph a\n b\n",
        "flowchart LR\n a\n end",
        "flowchart LR\n subgraph a\n b\n end\n a --> b",
        "flowchart LR\n subgraph a\n end\n b",
        "%%{init: {}}%%\nflowchart LR\n A --> B",
        "---\ntitle: A\n---\nflowchart LR\n A --> B",
    ],
)
def test_what_is_not_plain_is_left_to_mermaid(source: str) -> None:
    assert figures(source) == ()
    assert shown(source) == f'<div class="diagram">{html.escape(source)}</div>'


def test_boxes_that_an_arrow_joins_in_the_middle_stand_side_by_side() -> None:
    figure = drawn(CHART)
    encoder, decoder = sorted(figure.frames, key=lambda frame: frame.left)
    assert (encoder.title, decoder.title) == ("encoder layer, 6 ×", "decoder")
    assert encoder.left + encoder.width < decoder.left
    assert encoder.top + encoder.height == decoder.top + decoder.height
    # From bottom to top, and outside of the boxes what belongs to none.
    at = {node.id: (x, y) for node, x, y in figure.nodes}
    assert at["x"][1] > at["ex"][1] > encoder.top + encoder.height > at["i"][1] > at["sa"][1] > at["n"][1]
    assert at["s"][1] < decoder.top


def test_boxes_that_follow_one_another_stand_so() -> None:
    source = "flowchart TB\n subgraph a\n b --> c\n end\n subgraph d\n e --> f\n end\n c --> e"
    above, below = drawn(source).frames
    assert above.top + above.height < below.top


def test_a_box_has_its_own_direction_where_nothing_in_it_is_joined_to_others() -> None:
    source = "flowchart TB\n subgraph a\n direction LR\n b --> c\n end\n a --> d\n"
    at = {node.id: (x, y) for node, x, y in drawn(source).nodes}
    assert at["b"][1] == at["c"][1] < at["d"][1]
    joined = {node.id: (x, y) for node, x, y in drawn(f"{source} c --> e").nodes}
    assert joined["b"][1] < joined["c"][1] < joined["e"][1]


@pytest.mark.parametrize(("direction", "axis", "sign"), [("TB", 1, 1), ("BT", 1, -1), ("LR", 0, 1), ("RL", 0, -1)])
def test_arrows_point_in_the_direction_of_the_chart(direction: str, axis: int, sign: int) -> None:
    figure = drawn(f"flowchart {direction}\n a -->|to| b")
    (_, *a), (_, *b) = figure.nodes
    assert sign * (b[axis] - a[axis]) > 20
    assert b[1 - axis] == a[1 - axis]
    (line,) = figure.lines
    assert line.label == (("to", a[0] if axis else line.label[0][1], line.label[0][2]),)
    tip = [float(number) for number in re.findall(r"-?[\d.]+", line.head.partition("l")[0])]
    node = figure.nodes[1][0]
    assert tip[axis] == pytest.approx(b[axis] - sign * (node.height if axis else node.width) / 2)


def test_a_wide_chart_has_a_figure_for_narrow_pages() -> None:
    chain = " --> ".join(f"a{number}[some words]" for number in range(9))
    (wide, kind), (narrow, other) = figures(f"flowchart LR\n {chain}")
    assert (kind, other) == ("widest", "not-widest")
    assert wide.width > 700
    assert narrow.width < flowchart.NARROW
    assert [kind for _, kind in figures("flowchart LR\n a --> b")] == ["all"]
    assert [kind for _, kind in figures(f"flowchart TB\n {chain}")] == ["all"]


NAMES = [f"n{number}" for number in range(8)]
PAIR = st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)).filter(lambda pair: pair[0] != pair[1])


@settings(max_examples=60, deadline=None)
@given(st.lists(PAIR, min_size=1, max_size=14), st.lists(st.integers(0, 3), min_size=8, max_size=8), st.booleans())
def test_no_node_lies_over_another_and_each_within_its_boxes(
    pairs: list[tuple[str, str]], boxes: list[int], is_level: bool
) -> None:
    inside = [[name for name, box in zip(NAMES, boxes, strict=True) if box == number] for number in (1, 2)]
    text = "".join(f"subgraph b{at}\n {' & '.join(some)}\n end\n" for at, some in enumerate(inside) if some)
    figure = drawn(
        f"flowchart {'LR' if is_level else 'TB'}\n{text}" + "\n".join(f"{one} --> {to}" for one, to in pairs)
    )
    assert len(figure.lines) == len(pairs)
    for (one, x, y), (other, to_x, to_y) in itertools.combinations(figure.nodes, 2):
        assert abs(x - to_x) >= (one.width + other.width) / 2 or abs(y - to_y) >= (one.height + other.height) / 2
    frames = {frame.title: frame for frame in figure.frames}
    for node, x, y in figure.nodes:
        assert x - node.width / 2 >= 0
        assert x + node.width / 2 <= figure.width
        for at, some in enumerate(inside):
            if not some:
                continue
            frame = frames[f"b{at}"]
            is_in = frame.left < x < frame.left + frame.width and frame.top < y < frame.top + frame.height
            assert is_in == (node.id in some)


HOSTILE = """<script>alert(1)</script> "' onload=x javascript:alert(1) </svg></text>&lt;img src=x onerror=y&gt;"""


@given(
    st.sampled_from(["[{}]", '["{}"]', "-->|{}| b", "(({}))", "\n subgraph {}\n b\n end", "{}"]), st.text(max_size=40)
)
@example('["{}"]', HOSTILE)
@example('["{}"]', "#60;script#62;alert(1)")
@settings(deadline=None)
def test_whatever_a_chart_says_is_only_shown(place: str, words: str) -> None:
    made = shown(f"flowchart LR\n a{place.format(words)}")
    reading = Reading(made)
    assert {tag for tag, _ in reading.elements} <= {"div", "svg", "rect", "text", "path", "g"}
    assert {name for _, given in reading.elements for name in given} <= {
        *(
            "class",
            "data-where",
            "data-kind",
            "data-search-exclude",
            "role",
            "aria-label",
            "width",
            "height",
            "viewbox",
        ),
        *("d", "fill", "stroke", "x", "y", "rx", "transform", "text-anchor"),
    }
    assert reading.odd == []


def test_a_label_that_looks_like_a_tag_is_text() -> None:
    made = shown('flowchart LR\n a["#lt;script#gt; x"] --> b["1 < 2 & 3"]')
    assert "1 &lt; 2 &amp; 3" in made
    assert "<script" not in made


def test_a_large_chart_ends_soon() -> None:
    names = [f"n{number}" for number in range(150)]
    chain = " --> ".join(names)
    far = "\n".join(f"n0 --> {name}" for name in names[50:149])
    for source in (
        f"flowchart TB\n{chain}\n{far}",
        "flowchart LR\n" + "a --> b\n" * 3000,
        "flowchart LR\n" + "subgraph a\n" * 500,
        f"flowchart LR\n a[{'x' * 19_000}]",
        f"flowchart LR\n a -- {'- ' * 9_000}",
        f"flowchart LR\n{chain}",
        "flowchart LR\n " + " & ".join(names) + " --> " + " & ".join(names),
    ):
        started = time.process_time()
        figures(source)
        assert time.process_time() - started < 3


def test_a_chart_whose_arrows_pass_very_many_rows_is_left_to_mermaid() -> None:
    def chart(count: int) -> str:
        names = [f"n{number}" for number in range(count)]
        return f"flowchart TB\n{' --> '.join(names)}\n" + "\n".join(f"n0 --> {name}" for name in names[2:])

    # 1 + 2 + … rows, and as many for the chain.
    assert figures(chart(60))
    assert figures(chart(75)) == ()
