// What the theme leaves to do for those who use no mouse: a way into what scrolls sideways.

const frames = new ResizeObserver((changes) => {
  for (const { target } of changes) {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});

// Each is measured when it is drawn, and not before: to ask for the width of what is out of sight has the browser draw it.
// The theme, too, lets the keyboard into code, but only when that has come into sight.
const code = document.querySelector(".q-reading") ? "" : ", .highlight code";
const watched = new Set();
const watch = () => {
  for (const frame of document.querySelectorAll(`.md-typeset__scrollwrap, div.arithmatex, .diagram, .q-across, .q-flow${code}`)) {
    if (!watched.has(frame)) frames.observe(frame);
    watched.add(frame);
  }
};

const article = document.querySelector("article");
// Tables are wrapped after this script has run.
if (article) new ResizeObserver(watch).observe(article);

// Who wants no motion gets none: the theme's contents scroll smoothly to what is being read.

const stillness = matchMedia("(prefers-reduced-motion: reduce)");

for (const name of ["scrollTo", "scrollBy"]) {
  const scroll = Element.prototype[name];
  Element.prototype[name] = function (...given) {
    const [to, ...rest] = given;
    scroll.apply(this, stillness.matches && to?.behavior ? [{ ...to, behavior: "instant" }, ...rest] : given);
  };
}

// What can be taken along: the text to copy is an attribute of the button.

for (const button of document.querySelectorAll(".q-copy")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const words = button.textContent;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Your browser refused";
    }
    setTimeout(() => { button.textContent = words; }, 1500);
  });
}

// The page of a module's code has more to do than others.

if (document.querySelector(".q-reading")) import("./code.js");

// A question opens where its address leads to it, and all of them by a button.

const openTarget = () => {
  // The browser reads the address, which may be malformed.
  const target = document.querySelector(":target");
  let around = target?.closest("details");
  if (!around) return;
  for (; around; around = around.parentElement.closest("details")) around.open = true;
  target.scrollIntoView();
};

addEventListener("hashchange", openTarget);
openTarget();

for (const button of document.querySelectorAll(".q-all")) {
  const folds = [...document.querySelectorAll(button.dataset.all)];
  button.hidden = folds.length < 2;
  button.addEventListener("click", () => {
    const open = folds.some((fold) => !fold.open);
    for (const fold of folds) fold.open = open;
    button.textContent = open ? "Close all" : "Open all";
  });
}

// A card prints as the reader sees it, where the theme would open all that is folded; and with all of it by a button, or
// where the address ends in `?print=all`.

const printer = document.querySelector(".q-print");

const openAll = () => {
  const closed = document.querySelectorAll("article details:not([open])");
  for (const fold of closed) fold.open = true;
  return closed;
};

if (printer) {
  // While capturing it comes before the theme's, whenever that is added.
  addEventListener("beforeprint", (event) => event.stopImmediatePropagation(), true);
  printer.hidden = false;
  printer.addEventListener("click", () => {
    const opened = openAll();
    addEventListener("afterprint", () => { for (const fold of opened) fold.open = false; }, { once: true });
    print();
  });
  if (new URLSearchParams(location.search).get("print") === "all") {
    openAll();
    addEventListener("load", () => print());
  }
}
