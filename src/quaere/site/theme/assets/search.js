// The dialog of the search. What is asked stands in the address as `?q=`, so it can be shared, and the back button
// leads from a hit back to the list.

import { addressOf } from "./data.js";
import { byName, find, prepare } from "./find.js";

const dialog = document.querySelector("dialog.q-search");
const opener = document.querySelector("button.q-search-open");
const input = dialog.querySelector("input");
const list = dialog.querySelector(".q-search-hits");
const said = dialog.querySelector(".q-search-said");
// How long nothing is typed before the texts are searched too; names are searched at each letter.
const PAUSE = 120;

let latest = 0;
let chosen = -1;
let timer;

const queryIn = (address) => new URL(address).searchParams.get("q") ?? "";

const addressWith = (query) => {
  const address = new URL(location.href);
  if (query) address.searchParams.set("q", query);
  else address.searchParams.delete("q");
  return address;
};

// A text with what was asked for marked: all of it is text, whatever it says.
const marked = (text, places) => {
  const shown = document.createDocumentFragment();
  let end = 0;
  for (const [from, to] of places) {
    const mark = document.createElement("mark");
    mark.textContent = text.slice(from, to);
    shown.append(text.slice(end, from), mark);
    end = to;
  }
  shown.append(text.slice(end));
  return shown;
};

const element = (name, className, ...content) => {
  const made = document.createElement(name);
  made.className = className;
  made.append(...content);
  return made;
};

const option = (hit, at, marks) => {
  const made = element("a", "q-hit", element("span", "q-hit-title", marked(hit.title, marks(hit.title))));
  made.href = addressOf(hit.address);
  made.id = `q-hit-${at}`;
  made.tabIndex = -1;
  made.setAttribute("role", "option");
  made.setAttribute("aria-selected", "false");
  const about = element("span", "q-hit-about", element("span", "q-hit-kind", hit.kind));
  if (hit.state) {
    const badge = element("span", "q-badge", hit.state);
    badge.dataset.state = hit.state;
    about.append(" ", badge);
  }
  if (hit.context) about.append(" ", element("span", "q-hit-context", marked(hit.context, marks(hit.context))));
  made.append(about);
  if (hit.snippet) made.append(element("span", "q-hit-text", marked(hit.snippet, marks(hit.snippet))));
  return made;
};

const choose = (at) => {
  const options = list.children;
  options[chosen]?.setAttribute("aria-selected", "false");
  chosen = options.length ? (at + options.length) % options.length : -1;
  const now = options[chosen];
  if (!now) {
    input.removeAttribute("aria-activedescendant");
    return;
  }
  now.setAttribute("aria-selected", "true");
  input.setAttribute("aria-activedescendant", now.id);
  now.scrollIntoView({ block: "nearest" });
};

const count = ({ hits, isCut }) => {
  if (!hits.length) return "Nothing found";
  return `${isCut ? "The best " : ""}${hits.length} result${hits.length === 1 ? "" : "s"}`;
};

const show = (found, isWhole) => {
  const { hits, marks } = found;
  // What the reader has chosen stays so while the list grows.
  const kept = chosen > 0 ? list.children[chosen].href : "";
  list.replaceChildren(...hits.map((hit, at) => option(hit, at, marks)));
  input.setAttribute("aria-expanded", String(hits.length > 0));
  chosen = -1;
  const again = kept ? [...list.children].findIndex((one) => one.href === kept) : -1;
  if (hits.length) choose(Math.max(again, 0));
  else choose(-1);
  if (isWhole) said.textContent = count(found);
  dialog.toggleAttribute("data-searched", isWhole);
};

const fail = () => {
  said.textContent = "The search can’t be loaded. Is the network there?";
};

const searchTexts = async (query, number) => {
  const isWanted = () => number === latest;
  try {
    const found = await find(query, (pages) => {
      if (isWanted()) show(pages, false);
      return isWanted();
    });
    if (isWanted()) show(found, true);
  } catch {
    if (isWanted()) fail();
  }
};

const ask = async () => {
  const query = input.value.trim();
  const number = (latest += 1);
  clearTimeout(timer);
  dialog.removeAttribute("data-searched");
  history.replaceState(history.state, "", addressWith(query));
  if (!query) {
    list.replaceChildren();
    input.setAttribute("aria-expanded", "false");
    choose(-1);
    said.textContent = "";
    return;
  }
  try {
    await prepare();
    // Of the letters that were typed meanwhile only the last is looked for.
    if (number !== latest) return;
    const named = await byName(query);
    if (number !== latest) return;
    if (named.hits.length || !list.children.length) show(named, false);
    timer = setTimeout(searchTexts, named.hits.length ? PAUSE : 0, query, number);
  } catch {
    if (number === latest) fail();
  }
};

const expect = () => prepare().catch?.(() => {});

const open = (query, isNew) => {
  if (dialog.open) return;
  if (isNew) history.pushState({ isSearch: true }, "", addressWith(query));
  // It comes while the dialog is drawn.
  expect();
  dialog.showModal();
  input.value = query;
  input.select();
  ask();
};

// Closes, and takes the search back out of the address and, where it put it there, out of the history.
const close = () => {
  if (!dialog.open) return;
  dialog.close();
  latest += 1;
  clearTimeout(timer);
  if (history.state?.isSearch) history.back();
  else history.replaceState(history.state, "", addressWith(""));
};

opener.hidden = false;
opener.addEventListener("click", () => open("", true));
for (const name of ["pointerenter", "focus"]) opener.addEventListener(name, expect, { once: true });
input.addEventListener("input", ask);
dialog.querySelector(".q-search-close").addEventListener("click", close);
dialog.addEventListener("cancel", (event) => {
  event.preventDefault();
  close();
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) close();
});
dialog.addEventListener("keydown", (event) => {
  const steps = { ArrowDown: 1, ArrowUp: -1 };
  if (event.isComposing) return;
  if (event.key in steps && list.children.length) {
    event.preventDefault();
    choose(chosen + steps[event.key]);
  } else if (event.key === "Enter" && event.target === input && list.children[chosen]) {
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) window.open(list.children[chosen].href, "_blank", "noopener");
    else location.assign(list.children[chosen].href);
  }
  // The theme has keys of its own.
  event.stopPropagation();
});

addEventListener("keydown", (event) => {
  const isTyping = event.target.closest?.("input, select, textarea, [contenteditable]");
  const isSlash = event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey;
  const isK = event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey;
  if ((isSlash || isK) && !dialog.open && !event.defaultPrevented) {
    event.preventDefault();
    open("", true);
  }
});

const follow = () => {
  const query = queryIn(location.href);
  if (!query && !history.state?.isSearch) {
    if (dialog.open) dialog.close();
  } else if (!dialog.open) {
    open(query, false);
  } else if (input.value.trim() !== query) {
    input.value = query;
    ask();
  }
};

addEventListener("popstate", follow);
if (queryIn(location.href)) follow();
