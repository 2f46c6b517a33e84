import pytest

from quaere.pages.diagrams import drawable

DRAWN = (
    'flowchart LR\n A["Q & K"] --> B[/in/] & C[/out\\]\n style A fill:#fff;\n classDef x fill:#f9f,stroke:#333;',
    'flowchart LR\n A["a\\nb"] --> B["and/or"] --> C["$$\\frac{\\eta}{\\pi}$$"]\n A --> details --> D["x;y &lt; z"]',
    "sequenceDiagram\n A->>B: x #quot;y#quot;; z\n Note over A: 1/2",
    "gitGraph\n commit\n branch feature/x",
    "---\ntitle: A/B\n---\npie title a/b\n x : 3",
    "gantt\n todayMarker stroke-width:5px\n section A\n x :a, 2026-01-01, 1d",
)
"""Diagrams with all that looks like half of an address."""

ADDRESSES = (
    "//E/a", "https://E/a", "https:E", "HTTPS:E", "ws:E", r"\\E", r"/\E", r"\/\/E", "/\t/E", "/\n/E", "/\\\n/E",
    "/;/E", r"/;\E", "/%%{init: {}}%%/E", "/%%{}/E", "/\n\ufeff%% x\n/E", r"/\a /E", r"/\n/E", r"ht\tp:E", r"h\ttp:E",
    r"ht\ntp:E", "&#x2f;&#x2f;E",
    r"\2f\2fE", r"\x2f\x2fE", r"\u002f\u002fE", "/#9;/E", "/#10;/E", "/#13;/E", "/#Tab;/E", "#47;#47;E", "#sol;#sol;E",
    "/#092;E", "&#47;&#47;E", "&sol;&sol;E", "/&NewLine;/E", "ﬂ°°47¶ß/E", "#35;sol;",
)  # fmt: skip
"""Ways to name the host E."""

PLACES = (
    "gantt\n todayMarker filter:url({})",
    "stateDiagram-v2\n classDef x\n\n  filter:url({})",
    'flowchart LR\n A@{{ label: "x}}", "im": "{}" }}',
    "flowchart LR\n A@{{ label: 'x}}'\n ? im\n : {} }}",
    "pie\n title {}",
    "architecture-beta\n group a({})[x]",
)


@pytest.mark.parametrize("source", DRAWN)
def test_a_diagram_that_names_no_host_is_drawn(source: str) -> None:
    assert drawable(source) == source


@pytest.mark.parametrize("place", PLACES)
def test_a_diagram_that_could_name_a_host_is_shown_as_code(place: str) -> None:
    assert drawable(place.format("x")), "not drawn for another reason"
    assert [address for address in ADDRESSES if drawable(place.format(address))] == []


def test_where_a_click_leads_is_not_drawn() -> None:
    source = 'flowchart LR\n A --> B\n click A "https://a.org"\n %% https://a.org\n B --> C'
    assert drawable(source) == "flowchart LR\n A --> B\n B --> C"


def test_a_diagram_does_not_read_the_page() -> None:
    assert drawable("sequenceDiagram\n A->>B: x\n details A: id") is None
