// The facets of the pages of all papers and of all questions. What is chosen stands in the address, so that it can be
// kept, shared and undone.
//
// The choices of all items are loaded with the page; their texts only when some are drawn or searched, and drawn are as
// many as are looked at. Until something is chosen, the page shows the list that it came with.

import { load } from "./data.js";
import { fold } from "./find.js";

const AT_ONCE = 40; // Items that are drawn, before somebody asks for more.
const FEW = 8; // Values of a facet that are shown, likewise.
const MANY = 200; // Values that are ever shown: more can't be looked through, but searched.

/** Make an element; a text among the children stays one. */
const make = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};

/** Make an element of a text with emphasis and code, which the site was built with and which holds nothing alive. */
const makeShown = (name, attributes, html) => {
  const element = make(name, attributes);
  element.innerHTML = html;
  return element;
};

const SIGNS = { "&lt;": "<", "&gt;": ">", "&amp;": "&", "&quot;": '"', "&#34;": '"', "&#39;": "'" };

/** The words of such a text, folded. */
const plain = (html) => fold(html.replace(/<[^>]*>/g, "").replace(/&(?:lt|gt|amp|quot|#34|#39);/g, (sign) => SIGNS[sign]));

const badge = (state, words = state) => make("span", { class: "q-badge", "data-state": state }, words);

const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

// What the two lists have of their own: the values of an item in each facet, its words, how it is drawn, the orders.

const LISTS = {
  papers: {
    noun: "paper",
    choices: (data) => data.items,
    words: ([, heading, cited, idea, authors]) => `${heading} ${cited} ${authors} ${idea}`,
    orders: {
      title: ({ items }) => (a, b) => plain(items[a][1]).localeCompare(plain(items[b][1])),
      open: (_, { open }) => (a, b) => open[b] - open[a],
    },
    draw: (found, { items, states }, { facets, items: choices }) => {
      const cards = found.map((n) => {
        const [slug, heading, cited, idea, , counts] = items[n];
        const link = makeShown("a", { href: address(slug) }, heading);
        const card = make("div", { class: "q-card" }, make("h2", {}, link));
        if (cited) card.append(make("p", { class: "q-published" }, cited));
        card.append(makeShown("p", {}, idea));
        const tags = choices[n][0].map((value) => facets[0].values[value]).filter(Boolean).flatMap((tag) => {
          return [make("a", { class: "q-tag", href: `?${new URLSearchParams({ tag })}` }, tag), " "];
        });
        if (tags.length) card.append(make("p", {}, ...tags));
        const badges = states.flatMap((state, at) => (counts[at] ? [badge(state, `${counts[at]} ${state}`), " "] : []));
        if (badges.length) card.append(make("p", {}, ...badges));
        return card;
      });
      return [make("div", { class: "q-cards" }, ...cards)];
    },
  },
  questions: {
    noun: "question",
    choices: (data) => data.items.map(([paper, state]) => [[state], ...data.papers[paper]]),
    words: ([name, ask]) => `${ask} ${name}`,
    orders: {},
    draw: (found, { items, papers }, data) => {
      const groups = [];
      let before = -1;
      for (const n of found) {
        const [paper, state] = data.items[n];
        const [slug, heading] = papers[paper];
        if (paper !== before) {
          const link = makeShown("a", { href: address(slug) }, heading);
          groups.push(make("div", { class: "q-group" }, make("h2", {}, link), make("ul")));
        }
        before = paper;
        const [name, ask] = items[n];
        const link = makeShown("a", { href: `${address(slug)}#${name}` }, ask);
        groups.at(-1).lastChild.append(make("li", {}, link, " ", badge(data.facets[0].values[state])));
      }
      return groups;
    },
  },
};

const list = document.querySelector(".q-faceted");

// Cards stand beside one another, and the first page of a list links to one.
let card = "";
const address = (slug) => card.replace(/[^/]+?(\/index\.html|\/|\.html)$/, `${slug}$1`);

const start = async (name, form) => {
  const { noun, choices: choicesOf, words, orders, draw } = LISTS[name];
  const data = await load(`assets/data/${name}.json`);
  const { facets } = data;
  const choices = choicesOf(data);
  const texts = () => load(`assets/data/${name}-texts.json`);
  const at = facets.map(({ values }) => new Map(values.map((value, index) => [value, index])));
  const shown = list.querySelector(".q-shown");
  const found = list.querySelector(".q-found");
  const listed = list.querySelector(".q-listed");
  const text = form.elements.text;
  const sort = form.elements.sort;
  let searched = null; // The words of each item, once they are needed.
  let most = AT_ONCE;
  let turn = 0;

  // Each facet: its values as checkboxes. Those that are shown are few, and those that are chosen are always.

  const parts = facets.map((facet, index) => {
    const { values, labels = values, families = {} } = facet;
    const fieldset = form.querySelector(`fieldset[data-facet="${facet.name}"]`);
    const rows = make("ul");
    const part = { ...facet, chosen: new Set(), unknown: [], seen: new Set(), counts: new Uint32Array(values.length), isWhole: false };
    const all = Object.entries(families);
    const find = make("input", { type: "search", "aria-label": `Find in ${fieldset.querySelector("legend").textContent}`, placeholder: "Find …", autocomplete: "off" });
    const more = make("button", { type: "button", class: "q-all" });
    // A row is made once: the keyboard stays where it is while others change.
    const made = new Map();
    const row = (label, value, count, isChosen, change, isMixed = false) => {
      if (!made.has(value)) {
        const box = make("input", { type: "checkbox", "data-value": value });
        box.addEventListener("change", () => change(box.checked));
        const number = make("span", { class: "q-number" });
        made.set(value, { box, number, item: make("li", {}, make("label", {}, box, ` ${label} `, number)) });
      }
      const { box, number, item } = made.get(value);
      box.checked = isChosen;
      box.indeterminate = isMixed;
      number.textContent = count;
      item.className = count ? "" : "q-none";
      return item;
    };
    const choose = (some, isChosen) => {
      for (const value of some) part.chosen[isChosen ? "add" : "delete"](value);
      write();
    };

    part.draw = () => {
      const wanted = fold(find.value);
      const fits = (label) => fold(label).includes(wanted);
      const visible = [];
      // What was chosen once stays in sight, to be chosen again.
      for (const value of part.chosen) part.seen.add(value);
      for (let value = 0; value < values.length; value += 1) {
        const isLooked = wanted ? fits(labels[value]) : part.isWhole || value < FEW || part.seen.has(value);
        if (isLooked && (visible.length < MANY || part.chosen.has(value))) visible.push(value);
      }
      const family = all.filter(([label]) => !wanted || fits(label)).map(([label, members]) => {
        const chosen = members.filter((value) => part.chosen.has(value)).length;
        const is = chosen === members.length;
        return row(`${label}, all`, `family:${label}`, part.familyCounts.get(label), is, (to) => choose(members, to), chosen > 0 && !is);
      });
      const unknown = part.unknown.map((value) =>
        row(value, `unknown:${value}`, 0, true, () => { part.unknown = part.unknown.filter((one) => one !== value); write(); }));
      const now = [...unknown, ...family, ...visible.map((value) =>
        row(labels[value], values[value], part.counts[value], part.chosen.has(value), (to) => choose([value], to)))];
      if (now.length !== rows.children.length || now.some((item, n) => item !== rows.children[n])) {
        const focused = document.activeElement;
        rows.replaceChildren(...now);
        if (rows.contains(focused)) focused.focus();
      }
      find.hidden = values.length <= 2 * FEW;
      more.hidden = values.length <= FEW || wanted !== "";
      more.textContent = part.isWhole ? "Show fewer" : values.length <= MANY ? `Show all ${values.length}` : `Show ${MANY} of ${values.length}`;
    };
    find.addEventListener("input", part.draw);
    find.addEventListener("keydown", (event) => { if (event.key === "Enter") event.preventDefault(); });
    more.addEventListener("click", () => { part.isWhole = !part.isWhole; part.draw(); });
    fieldset.append(find, rows, more);
    part.isIn = (item) => choices[item][index].some((value) => part.chosen.has(value));
    part.isAsked = () => part.chosen.size + part.unknown.length > 0;
    return part;
  });

  const isAsked = () => parts.some((part) => part.isAsked()) || text.value.trim() !== "" || Boolean(sort?.value);

  /** Return the items that fit, and set how many would be left by each value of each facet. */
  const count = () => {
    const terms = fold(text.value).split(/\s+/).filter(Boolean);
    const asked = parts.map((part) => part.isAsked());
    const left = [];
    for (const part of parts) {
      part.counts.fill(0);
      part.familyCounts = new Map(Object.keys(part.families ?? {}).map((label) => [label, 0]));
    }
    const families = parts.map((part) => Object.entries(part.families ?? {}).map(([label, members]) => [label, new Set(members)]));
    for (let item = 0; item < choices.length; item += 1) {
      if (terms.length && !terms.every((term) => searched[item].includes(term))) continue;
      // A value counts what fits all facets but its own.
      let failed = -1;
      let failures = 0;
      for (let index = 0; index < parts.length && failures < 2; index += 1) {
        if (asked[index] && !parts[index].isIn(item)) {
          failed = index;
          failures += 1;
        }
      }
      if (failures > 1) continue;
      if (failures === 0) left.push(item);
      for (let index = 0; index < parts.length; index += 1) {
        if (failures && index !== failed) continue;
        for (const value of choices[item][index]) parts[index].counts[value] += 1;
        for (const [label, members] of families[index]) {
          if (choices[item][index].some((value) => members.has(value))) {
            parts[index].familyCounts.set(label, parts[index].familyCounts.get(label) + 1);
          }
        }
      }
    }
    return left;
  };

  const said = (left) => {
    const unknown = parts.flatMap((part) => part.unknown.map((value) => `No ${noun} has the ${part.name} “${value}”.`));
    return [`${left.length} of ${counted(choices.length, noun)}.`, ...unknown].join(" ");
  };

  const apply = async () => {
    const now = (turn += 1);
    const is = isAsked();
    let written = null;
    if (is) {
      if (text.value.trim() && !searched) shown.textContent = "Loading …";
      written = await texts();
      // Another choice may have been made meanwhile.
      if (now !== turn) return;
      if (text.value.trim()) searched ??= written.items.map((one) => plain(words(one)));
    }
    const left = count();
    for (const part of parts) part.draw();
    const chosen = parts.reduce((sum, part) => sum + part.chosen.size + part.unknown.length, 0);
    form.querySelector("summary").textContent = chosen ? `Filter: ${chosen} chosen` : "Filter";
    see.textContent = `See ${counted(left.length, noun)}`;
    listed.hidden = is;
    found.hidden = !is;
    shown.hidden = !is;
    reset.hidden = !is;
    if (!is) return;
    shown.textContent = said(left);
    const order = orders[sort?.value];
    if (order) left.sort(order(written, data));
    found.replaceChildren(...draw(left.slice(0, most), written, data));
    if (!left.length) found.append(make("p", { class: "q-nothing" }, `Nothing matches. `, make("a", { href: location.pathname }, `Show all ${noun}s`)));
    if (left.length > most) {
      const more = make("button", { type: "button", class: "md-button" }, `Show ${Math.min(AT_ONCE, left.length - most)} more`);
      more.addEventListener("click", async () => {
        const before = most;
        most += AT_ONCE;
        await apply();
        // The keyboard goes on where the new ones begin.
        found.querySelectorAll(".q-card h2 a, .q-group li > a")[before]?.focus();
      });
      found.append(make("p", {}, more));
    }
  };

  const read = () => {
    const asked = new URLSearchParams(location.search);
    parts.forEach((part, index) => {
      part.chosen = new Set();
      part.unknown = [];
      for (const written of asked.getAll(part.name)) {
        const value = part.former?.[written] ?? written;
        if (at[index].has(value)) part.chosen.add(at[index].get(value));
        else if (value) part.unknown.push(value);
      }
      for (const label of part.families ? asked.getAll("family") : []) {
        if (Object.hasOwn(part.families, label)) part.families[label].forEach((value) => part.chosen.add(value));
        else part.unknown.push(label);
      }
    });
    text.value = asked.get("text") ?? "";
    if (sort) {
      sort.value = asked.get("sort") ?? "";
      if (sort.selectedIndex < 0) sort.value = "";
    }
    most = AT_ONCE;
    return apply();
  };

  /** Put what is chosen into the address: a family that is chosen as a whole by its name. */
  const query = () => {
    const chosen = new URLSearchParams();
    for (const part of parts) {
      const whole = Object.entries(part.families ?? {}).filter(([, members]) => members.every((value) => part.chosen.has(value)));
      const inFamily = new Set(whole.flatMap(([, members]) => members));
      for (const [label] of whole) chosen.append("family", label);
      for (const value of part.chosen) if (!inFamily.has(value)) chosen.append(part.name, part.values[value]);
      for (const value of part.unknown) chosen.append(part.name, value);
    }
    if (text.value.trim()) chosen.set("text", text.value.trim());
    if (sort?.value) chosen.set("sort", sort.value);
    return chosen.toString();
  };

  // While somebody types, one entry of the history changes.
  let isTyping = false;
  const write = (event) => {
    const address = location.pathname + (query() ? `?${query()}` : "");
    const isText = event?.target === text;
    try {
      history[isText && isTyping ? "replaceState" : "pushState"](null, "", address);
    } catch {
      // A browser may refuse to change the address of a file.
    }
    isTyping = isText;
    most = AT_ONCE;
    return apply();
  };

  const reset = make("button", { type: "button", class: "q-reset" }, `Show all ${noun}s`);
  reset.addEventListener("click", () => {
    for (const part of parts) {
      part.chosen = new Set();
      part.unknown = [];
    }
    form.reset();
    write();
    text.focus();
  });
  // On a phone what was found is far below.
  const see = make("button", { type: "button", class: "q-reset q-see" });
  see.addEventListener("click", () => {
    form.querySelector("details").open = false;
    list.lastElementChild.scrollIntoView();
  });
  form.querySelector("details").append(see, " ", reset);

  card = listed.querySelector(".q-card h2 > a, .q-group h2 > a").getAttribute("href");
  text.addEventListener("input", write);
  sort?.addEventListener("change", write);
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("popstate", () => { isTyping = false; read(); });

  // A phone shows the facets when it is asked to.
  const wide = matchMedia("(min-width: 60em)");
  const openWhereWide = () => { form.querySelector("details").open = wide.matches; };
  wide.addEventListener("change", openWhereWide);
  openWhereWide();
  await read();
  form.hidden = false;

  // What the address names may stand on another page of the list since that has grown: then it is filtered, or opened.
  const named = location.hash.slice(1);
  if (named && !document.getElementById(named)) {
    const slug = parts.at(-1).former?.[named] ?? named;
    if (at.at(-1).has(slug) && parts.at(-1).name === "paper") location.replace(`?${new URLSearchParams({ paper: slug })}`);
    else if (name === "papers" && (await texts()).items.some(([one]) => one === slug)) location.replace(address(slug));
  }
};

const form = list?.querySelector("form.q-facets");
if (form) start(list.dataset.list, form);
