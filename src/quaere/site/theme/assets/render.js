// Diagrams, drawn by a library of this site, which only the pages that need it load.

const vendor = (path) => new URL(`vendor/${path}`, import.meta.url).href;

const isDark = () => document.body.dataset.mdColorScheme === "slate";

const loadMermaid = async () => {
  if (location.protocol !== "file:") return (await import(vendor("mermaid/mermaid.esm.min.mjs"))).default;
  // From file:// no browser loads modules; a copy for it has Mermaid as one script.
  const script = Object.assign(document.createElement("script"), { src: vendor("mermaid/mermaid.min.js") });
  await new Promise((resolve, reject) => {
    script.addEventListener("load", resolve);
    script.addEventListener("error", reject);
    document.head.append(script);
  });
  return globalThis.mermaid;
};

const drawDiagrams = async (elements) => {
  const mermaid = await loadMermaid();
  const sources = elements.map((element) => element.textContent);
  const draw = async () => {
    const settings = Object.keys(mermaid.mermaidAPI.defaultConfig);
    mermaid.initialize({
      startOnLoad: false,
      suppressErrorRendering: true,
      securityLevel: "strict",
      // A diagram says what it shows and nothing of how it is drawn: its own settings don't count.
      secure: [...settings, "secure", "themeCSS", "themeVariables"],
      htmlLabels: false,
      flowchart: { htmlLabels: false },
      theme: isDark() ? "dark" : "neutral",
      // The grounds of the dark theme are too light for its letters.
      themeVariables: isDark() ? { edgeLabelBackground: "#191b22", clusterBkg: "#22252e" } : {},
      fontFamily: getComputedStyle(document.body).fontFamily,
    });
    for (const [index, element] of elements.entries()) {
      try {
        const { svg } = await mermaid.render(`diagram-${index}`, sources[index]);
        element.innerHTML = svg;
        element.dataset.drawn = "";
      } catch (error) {
        element.textContent = sources[index];
        document.getElementById(`ddiagram-${index}`)?.remove();
        console.error(`diagram ${index + 1}: ${error.message}`);
      }
    }
  };
  let drawn = null;
  let isDrawing = false;
  const redraw = async () => {
    if (isDrawing) return;
    isDrawing = true;
    // The colors may change while diagrams are drawn.
    while (drawn !== isDark()) {
      drawn = isDark();
      await draw();
    }
    isDrawing = false;
  };
  new MutationObserver(redraw).observe(document.body, { attributeFilter: ["data-md-color-scheme"] });
  await redraw();
};

const diagrams = [...document.querySelectorAll(".diagram")];
if (diagrams.length) drawDiagrams(diagrams);
