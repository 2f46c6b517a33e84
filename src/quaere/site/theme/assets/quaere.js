// The filters of the page of all questions. What is chosen stands in the address, so it can be kept, shared and undone.

const form = document.querySelector("form.q-filters");

if (form) {
  const groups = [...document.querySelectorAll(".q-group")].map((element) => ({
    element,
    paper: element.dataset.paper,
    tags: JSON.parse(element.dataset.tags),
    entries: document.querySelectorAll(`.md-nav__item:has(> a[href$="#${element.dataset.paper}"])`),
    questions: [...element.querySelectorAll("li")].map((item) => ({
      item,
      state: item.querySelector(".q-badge").dataset.state,
    })),
  }));
  const total = groups.reduce((sum, group) => sum + group.questions.length, 0);
  const shown = document.querySelector(".q-shown");
  const nothing = document.querySelector(".q-nothing");

  const apply = () => {
    const { state, tag, paper } = Object.fromEntries(new FormData(form));
    let count = 0;
    for (const group of groups) {
      const isIn = (!paper || group.paper === paper) && (!tag || group.tags.includes(tag));
      const fitting = group.questions.filter((question) => {
        const fits = isIn && (!state || question.state === state);
        question.item.hidden = !fits;
        return fits;
      });
      group.element.hidden = fitting.length === 0;
      for (const entry of group.entries) entry.hidden = group.element.hidden;
      count += fitting.length;
    }
    shown.textContent = `${count} of ${total} questions`;
    nothing.hidden = count > 0;
  };

  const read = () => {
    const asked = new URLSearchParams(location.search);
    for (const select of form.querySelectorAll("select")) {
      select.value = asked.get(select.name) ?? "";
      if (select.selectedIndex < 0) {
        // The address names what no question has: say so, and show nothing rather than everything.
        select.add(new Option(asked.get(select.name), asked.get(select.name), false, true));
      }
    }
    apply();
  };

  const write = () => {
    const chosen = [...new FormData(form)].filter(([, value]) => value);
    const query = new URLSearchParams(chosen).toString();
    history.pushState(null, "", location.pathname + (query ? `?${query}` : ""));
    apply();
  };

  form.addEventListener("change", write);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(write));
  addEventListener("popstate", read);
  form.hidden = false;
  read();
}

// What the theme leaves to do for those who use no mouse: a name for the search, and a way into what scrolls sideways.

document.querySelector(".md-search[role=dialog]")?.setAttribute("aria-label", "Search");

const openToKeys = () => {
  for (const element of document.querySelectorAll(".md-typeset__scrollwrap, div.arithmatex, .diagram, .q-across")) {
    if (element.scrollWidth > element.clientWidth) {
      element.tabIndex = 0;
    } else {
      element.removeAttribute("tabindex");
    }
  }
};

const article = document.querySelector("article");
// Tables are wrapped, and mathematics and diagrams are drawn, after this script has run.
if (article) new ResizeObserver(openToKeys).observe(article);

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
