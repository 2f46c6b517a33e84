// Loads the site's data: everything below `assets/data/`, each file one JSON value.
//
//     import { load } from "./data.js";
//     const entries = await load("assets/data/search/names.json");
//
// The path is relative to the site's home, whatever page loads it. A file is loaded once; one that failed can be loaded
// again.
//
// From file:// no browser fetches anything. A copy for file:// has a classic script beside each of these files, named
// `<path>.js`, which calls a function with the path and the value, and can be the file between two strings:
//
//     quaereData("assets/data/search/names.json", {…});
//
// This file uses no `import.meta`, so that it can also be part of a classic script.

const loads = new Map();
const arrivals = new Map();
// Taken once, before anything changes the address.
const home = new URL(`${JSON.parse(document.getElementById("__config").textContent).base.replace(/\/$/, "")}/`, location.href);

globalThis.quaereData = (path, value) => arrivals.get(path)?.(value);

const fetched = async (path) => {
  const answer = await fetch(new URL(path, home));
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
};

const called = (path) =>
  new Promise((resolve, reject) => {
    arrivals.set(path, resolve);
    const script = document.createElement("script");
    script.src = new URL(`${path}.js`, home);
    script.addEventListener("error", () => reject(new Error(path)));
    document.head.append(script);
  });

/** The value of a data file, as a promise. */
export const load = (path) => {
  if (!loads.has(path)) {
    const loading = location.protocol === "file:" ? called(path) : fetched(path);
    loading.catch(() => loads.delete(path));
    loads.set(path, loading);
  }
  return loads.get(path);
};

/** The whole address of a page or a file of this site. From file:// that of a folder would list its files. */
export const addressOf = (path) => {
  const address = new URL(path, home);
  if (address.protocol === "file:" && address.pathname.endsWith("/")) address.pathname += "index.html";
  return address.href;
};
