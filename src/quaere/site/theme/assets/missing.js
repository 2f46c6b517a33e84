// On the page for addresses that lead nowhere: what is called like the end of the address.

import { addressOf } from "./data.js";
import { byName, find } from "./find.js";

const FEW = 5;

const meant = document.querySelector(".q-meant");

/** The last words of an address: `papers/atention-agent/` gives `atention agent`. */
const lastWords = () => {
  const last = location.pathname.replace(/\/(?:index\.html)?$|\.\w+$/, "").split("/").at(-1);
  try {
    return decodeURIComponent(last).replace(/[-_.+]+/g, " ").trim();
  } catch {
    return last; // half of an escape
  }
};

const suggest = async () => {
  const query = lastWords();
  if (!query) return;
  const named = (await byName(query)).hits;
  const hits = named.length ? named : (await find(query)).hits;
  for (const { title, address, kind } of hits.slice(0, FEW)) {
    const link = Object.assign(document.createElement("a"), { textContent: title, href: addressOf(address) });
    const item = document.createElement("li");
    item.append(link, ` ${kind}`);
    meant.querySelector("ul").append(item);
  }
  meant.hidden = hits.length === 0;
};

if (meant) suggest();
