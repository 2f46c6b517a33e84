// Whoever points at a paper of a lineage sees the lines that lead to it and from it.

// The frame listens: Chromium lets the keyboard stop at an SVG that listens for the focus.
for (const drawing of document.querySelectorAll(".q-across")) {
  const edges = [...drawing.querySelectorAll(".q-edge")];
  const show = (paper) => {
    for (const edge of edges) {
      const { from, to } = edge.dataset;
      edge.toggleAttribute("data-near", paper !== undefined && (from === paper || to === paper));
    }
  };
  for (const kind of ["pointerover", "focusin"]) {
    drawing.addEventListener(kind, ({ target }) => show(target.closest("[data-paper]")?.dataset.paper));
  }
  for (const kind of ["pointerleave", "focusout"]) drawing.addEventListener(kind, () => show(undefined));
}
