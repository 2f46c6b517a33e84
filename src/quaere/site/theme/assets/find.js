// Finds things by words. What it reads is described in src/quaere/pages/search.py.
//
// First it looks through the names (`byName`): one file, no index, every row at each letter. Then through the words of
// all pages (`find`): the files of those words, and the parts of the best pages.

import { load } from "./data.js";

const FOLDER = "assets/data/search/";
const LETTERS = { ß: "ss", æ: "ae", œ: "oe", ø: "o", ł: "l", đ: "d", ð: "d", þ: "th", ı: "i", ς: "σ" };
const WORD = /[\p{L}\p{N}]+/gu;
const UNSPACED = /([\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]+)/;
const LONGEST = 40;
const MOST_WORDS = 12;
// How many hits of each kind are shown, and how many pages are read for them.
const NAMES = 8;
const HITS = 24;
const PAGES = 10;
// How much a match counts in each column of the names: title, short name, authors.
const COLUMNS = [1, 1.2, 0.8];
const KINDS = { P: "Paper", H: "Page", M: "API", T: "Tag", F: "Affiliation" };
const PARTS = { Q: "Question", C: "Claim", S: "Section", M: "API", "": "Text" };
// The tier of papers that a query names with other words around the name.
const AROUND = 1.5;
const PREFERENCE = { P: 0.3, T: 0.15, F: 0.1, H: 0.05, M: 0 };

// What isn't ASCII comes in few runs, again and again.
const runs = new Map();
const foldRun = (run) => {
  if (!runs.has(run)) {
    const plain = run.normalize("NFKD").replace(/[\u0300-\u036f]+/g, "").toLowerCase();
    runs.set(run, plain.replace(/[ßæœøłđðþıς]/g, (letter) => LETTERS[letter]).normalize("NFC"));
  }
  return runs.get(run);
};

/** A text in lower case without accents, as `fold` in search.py. */
export const fold = (text) => text.toLowerCase().replace(/[^\0-\x7f]+/g, foldRun);

/** The words of a query in order: `text`, and whether it is of a script without spaces, where it may start anywhere. */
export const terms = (query) => {
  const found = [];
  for (const word of fold(query).match(WORD) ?? []) {
    for (const run of word.split(UNSPACED).filter(Boolean)) {
      if (!UNSPACED.test(run)) {
        found.push({ text: run.slice(0, LONGEST), isRun: false });
      } else if (run.length === 1) {
        found.push({ text: run, isRun: true });
      } else {
        for (let at = 0; at + 2 <= run.length; at += 1) found.push({ text: run.slice(at, at + 2), isRun: true });
      }
    }
  }
  return [...new Map(found.map((term) => [term.text, term])).values()].slice(0, MOST_WORDS);
};

/** The identifier that a query is, as written, with version, or in an address: what `identifiers.json` may hold. */
export const identifierOf = (query) => {
  let text = query.trim().toLowerCase();
  try {
    text = decodeURIComponent(text);
  } catch {
    // A percent sign that stands for itself.
  }
  const doi = /\b10\.\d{4,9}\/[^\s?#]+/.exec(text)?.[0].replace(/[.,;"']+$/, "");
  const arxiv = /(?:^|arxiv[:.]\s*|arxiv\.org\/\w+\/)(\d{4}\.\d{4,5}|[a-z-]+(?:\.[a-z]{2})?\/\d{7})(?:v\d+)?(?:\.pdf)?(?:$|[?#\s])/;
  const paper = arxiv.exec(text)?.[1].replace(/\.[a-z]{2}(?=\/)/, "");
  return paper ?? doi ?? (/^\d{4}\.\d{0,5}$/.test(text) ? text : "");
};

/** The edits that make a word of another's beginning, as far as `most`; two letters changed about are one. */
export const distance = (written, word, most) => {
  if (word.length + most < written.length) return most + 1;
  let before = [];
  let above = [];
  let row = Array.from({ length: written.length + 1 }, (_, at) => at);
  let best = row[written.length];
  const columns = Math.min(word.length, written.length + most);
  for (let column = 1; column <= columns; column += 1) {
    before = above;
    above = row;
    row = [column];
    let least = column;
    for (let at = 1; at <= written.length; at += 1) {
      const same = written[at - 1] === word[column - 1];
      let edits = Math.min(above[at - 1] + (same ? 0 : 1), above[at] + 1, row[at - 1] + 1);
      if (at > 1 && column > 1 && written[at - 1] === word[column - 2] && written[at - 2] === word[column - 1]) {
        edits = Math.min(edits, before[at - 2] + 1);
      }
      row.push(edits);
      least = Math.min(least, edits);
    }
    best = Math.min(best, row[written.length]);
    if (least > most) break;
  }
  return best;
};

const allowance = (text) => (text.length < 4 ? 0 : text.length < 8 ? 1 : 2);

// How well a word of the library fits a term: 1 if it is the term; less if it begins with it, or is like it.
const fit = (term, word) => {
  if (word === term.text) return 1;
  if (word.startsWith(term.text)) return 0.5 + (0.4 * term.text.length) / word.length;
  // A plural finds the singular.
  if (term.text.length > 4 && term.text === `${word}s`) return 0.9;
  return 0;
};

const likeness = (term, word) => {
  const most = allowance(term.text);
  // Hardly anybody mistakes the first letter, and half of the time goes into words with another one.
  if (!most || term.isRun || word[0] !== term.text[0] || word.length < 4) return 0;
  const edits = distance(term.text, word, most);
  return edits > most ? 0 : 0.5 - 0.15 * edits - 0.01 * Math.min(9, Math.abs(word.length - term.text.length));
};

const LETTER = /[\p{L}\p{N}]/u;
// Of a folded text.
const isLetter = (text, at) => {
  const code = text.charCodeAt(at);
  if (code < 128) return code > 96 ? code < 123 : code > 47 && code < 58;
  return LETTER.test(text.charAt(at));
};

const isStart = (text, at) => at === 0 || !isLetter(text, at - 1);

const endOf = (text, at) => {
  let end = at;
  while (end < text.length && isLetter(text, end)) end += 1;
  return end;
};

const numbersOf = (written) => {
  let last = 0;
  return written ? written.split(" ").map((step) => (last += Number(step))) : [];
};

// The names

let names;

const read = async () => {
  const raw = await load(`${FOLDER}names.json`);
  const [titles, shorts, authors, addresses, years] = ["titles", "shorts", "authors", "addresses", "years"].map((name) => raw[name].split("\n"));
  const numbers = numbersOf(raw.numbers);
  const rows = Array.from(raw.kinds, (kind, at) => ({
    kind,
    number: numbers[at],
    address: addresses[at],
    title: titles[at],
    short: shorts[at],
    authors: authors[at],
    year: years[at],
    weight: Number(raw.weights[at]),
  }));
  // A column is one text, which is searched faster than many.
  const folded = [raw.titles, raw.shorts, raw.authors].map(fold);
  return {
    rows,
    folded,
    starts: folded.map((text) => {
      const starts = [0];
      for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
      return starts;
    }),
    words: new Map(),
    byNumber: new Map(numbers.map((number, at) => [number, at])),
    common: new Set(raw.common.split(" ")),
  };
};

/** Reads the names, ahead of the first letter. */
export const prepare = () => {
  names ??= read().then((known) => (names = known));
  names.catch?.(() => (names = undefined));
  return names;
};

const textOf = (known, column, row) => {
  const starts = known.starts[column];
  return known.folded[column].slice(starts[row], row + 1 < starts.length ? starts[row + 1] - 1 : undefined);
};

// How well each row fits a term; undefined if none does.
const fits = (known, term, isLike) => {
  const scores = new Float32Array(known.rows.length);
  let found = false;
  for (const [column, text] of known.folded.entries()) {
    const starts = known.starts[column];
    for (const [word, like] of isLike ? wordsLike(known, term, column) : [[term.text, 0]]) {
      let row = 0;
      for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + word.length)) {
        let score = term.isRun ? 1 : 0;
        if (!score && isStart(text, at)) {
          const end = endOf(text, at + word.length);
          if (!like) score = fit(term, text.slice(at, end));
          else if (end === at + word.length) score = like;
        }
        if (!score) continue;
        found = true;
        while (starts[row + 1] <= at) row += 1;
        // What stands at the beginning is what a name is about.
        scores[row] = Math.max(scores[row], COLUMNS[column] * score + (at === starts[row] ? 0.1 : 0));
      }
    }
  }
  if (!found && !isLike && term.text.length > 4 && term.text.endsWith("s")) {
    return fits(known, { ...term, text: term.text.slice(0, -1) }, false);
  }
  return found ? scores : undefined;
};

// The words of a column that begin with a letter.
const wordsFrom = (known, letter, column) => {
  const key = `${column}${letter}`;
  if (!known.words.has(key)) {
    const text = known.folded[column];
    const words = new Set();
    for (let at = text.indexOf(letter); at >= 0; at = text.indexOf(letter, at + 1)) {
      if (isStart(text, at)) words.add(text.slice(at, endOf(text, at)));
    }
    known.words.set(key, [...words]);
  }
  return known.words.get(key);
};

const wordsLike = (known, term, column) =>
  wordsFrom(known, term.text[0], column)
    .map((word) => [word, likeness(term, word)])
    .filter(([, like]) => like > 0);

const secondLine = (row) => {
  if (row.kind === "T" || row.kind === "F") return `${row.year} paper${row.year === "1" ? "" : "s"}`;
  return [row.authors, row.year].filter(Boolean).join(" · ");
};

// Whether a term hardly tells pages apart, so that what is found need not hold it.
const isPlain = (known, term) => known.common.has(term.text) || (term.text.length < 2 && !term.isRun);

const nameHit = (row) => ({
  kind: KINDS[row.kind],
  address: row.address,
  title: row.short ? `${row.short}: ${row.title}` : row.title,
  context: secondLine(row),
});

const search = (known, query) => {
  const asked = terms(query).map((term) => {
    const exact = fits(known, term, false);
    const like = exact ? undefined : fits(known, term, true);
    return { ...term, scores: exact ?? like, isLike: Boolean(like) };
  });
  return { query, whole: (fold(query).match(WORD) ?? []).join(" "), asked };
};

const plainWords = (text) => (text.match(WORD) ?? []).join(" ");

// Whether a name stands in a query word by word, with other words around it: "what is BERT", "BERT on GitHub".
const isWithin = (name, whole) => name !== "" && ` ${whole} `.includes(` ${name} `);

// The terms that a name must hold: those that tell pages apart, but for words that the library has nowhere, unless most
// are such.
const neededOf = (known, asked) => {
  const telling = asked.filter((term) => !isPlain(known, term));
  const said = telling.filter((term) => !term.isUnknown);
  if (!telling.length) return new Set(asked);
  return new Set(2 * said.length < telling.length ? telling : said);
};

// The rows that hold each needed term, and papers that the query names with other words around the name.
const ranked = (known, { whole, asked }, extra) => {
  if (!asked.length) return [];
  const needed = neededOf(known, asked);
  const first = whole.split(" ")[0];
  const begins = (text) => text.startsWith(first, text.search(LETTER));
  const hits = [];
  for (let at = 0; at < known.rows.length; at += 1) {
    let score = 0;
    let held = 0;
    let isLike = false;
    for (const [place, term] of asked.entries()) {
      const one = term.scores?.[at] || (extra?.[place]?.get(known.rows[at].number) ?? 0) * 0.45;
      if (!one) continue;
      isLike ||= term.isLike;
      if (needed.has(term)) held += 1;
      score += needed.has(term) ? one / needed.size : (0.1 * one) / asked.length;
    }
    if (!held) continue;
    const row = known.rows[at];
    const [title, short] = [textOf(known, 0, at), textOf(known, 1, at)];
    let tier = isLike ? 2.5 : 1;
    if (held < needed.size) {
      if (row.kind !== "P" || ![title, short].some((name) => isWithin(plainWords(name), whole))) continue;
      tier = AROUND;
    }
    score += PREFERENCE[row.kind] + row.weight * 0.02;
    if (begins(title) || begins(short)) {
      const called = plainWords(title);
      if ([called, plainWords(short), plainWords(title.split(": ")[0])].includes(whole)) tier = 0;
      if (called.startsWith(whole)) score += 0.3;
    }
    score += (0.3 * Math.min(whole.length, title.length)) / Math.max(title.length, 1);
    hits.push({ at, score, tier });
  }
  return hits.sort((one, other) => one.tier - other.tier || other.score - one.score || one.at - other.at);
};

/** What is called as the query says, at once; the best first. */
export const byName = async (query) => {
  const known = await prepare();
  const found = search(known, query);
  return {
    marks: marker(found),
    hits: ranked(known, found)
      .slice(0, HITS)
      .map(({ at }) => nameHit(known.rows[at])),
  };
};

// The words of the pages

const shardOf = (word) =>
  /^[\0-\x7f]{1,2}$/.test(word.slice(0, 2)) ? word.slice(0, 2) : `x${(word.charCodeAt(0) >> 6).toString(16)}`;

const linesOf = async (name) => {
  try {
    return (await load(`${FOLDER}words/${name}.json`)).split("\n");
  } catch {
    return []; // no word begins so
  }
};

// Where a term is said: in which parts' titles, on which pages' names, and in which pages' texts, and how well it fits.
const occurrences = async (known, term) => {
  const found = { parts: new Map(), names: new Map(), texts: new Map() };
  if (isPlain(known, term)) return undefined;
  const lines = await linesOf(shardOf(term.text));
  const take = (rate) => {
    for (const line of lines) {
      const end = line.indexOf("|");
      const score = rate(term, line.slice(0, end));
      if (!score) continue;
      const [, texts, named] = line.split("|");
      for (const number of numbersOf(texts)) note(found.texts, number, score);
      for (const one of named ? named.split(" ") : []) {
        const number = Number(/^\d+/.exec(one)[0]);
        for (const [, kind, part] of one.matchAll(/([A-Z])(\d*)/g)) {
          if (kind === "N") note(found.names, number, score);
          else note(found.parts, `${number}:${part}`, score);
        }
      }
    }
  };
  const note = (map, key, score) => {
    if (score > (map.get(key) ?? 0)) map.set(key, score);
  };
  // A short beginning would be that of half of the words.
  take(term.text.length > 2 || term.isRun ? fit : (one, word) => (word === one.text ? 1 : 0));
  if (term.scores && !term.isLike) return found;
  if (found.parts.size || found.names.size) {
    term.scores = undefined; // no error: it is in titles, only in no name
    term.isLike = false;
  } else {
    take(likeness); // what is said in texts only may be an error there, too
    term.isLike = true;
  }
  return found;
};

const best = (rated, count) =>
  rated
    .sort((one, other) => one.tier - other.tier || other.score - one.score || one.number - other.number)
    .slice(0, count);

const partsOf = async (number) => {
  try {
    return await load(`${FOLDER}pages/${number}.json`);
  } catch {
    return [];
  }
};

// The pages and parts that hold all the terms, or as many as any does.
const candidates = (known, found, occurring) => {
  const count = found.asked.length;
  const parts = new Map();
  const pages = new Map();
  const heard = occurring.map((where) => where !== undefined);
  const needed = heard.filter(Boolean).length;
  const said = found.asked.filter((term, at) => heard[at] && !term.isUnknown).length;
  if (!needed) return { wanted: [], isWhole: true };
  const rarity = occurring.map((where) => {
    const held = where ? where.parts.size + where.texts.size + where.names.size : 0;
    return Math.log(1 + known.rows.length / (1 + held)) + 0.5;
  });
  const add = (map, key, number, part, at, score) => {
    const one = map.get(key) ?? { number, part, held: new Float32Array(count) };
    one.held[at] = Math.max(one.held[at], score);
    map.set(key, one);
  };
  for (const [at, where] of occurring.entries()) {
    if (!where) continue;
    for (const [key, score] of where.parts) {
      const [number, part] = key.split(":").map(Number);
      add(parts, key, number, part, at, score);
      add(pages, number, number, 0, at, 0.8 * score);
    }
    for (const [number, score] of where.names) add(pages, number, number, 0, at, 0.9 * score);
    for (const [number, score] of where.texts) add(pages, number, number, 0, at, 0.5 * score);
    const scores = found.asked[at].scores;
    for (let row = 0; scores && row < scores.length; row += 1) {
      const { number } = known.rows[row];
      if (scores[row] && number !== undefined) add(pages, number, number, 0, at, 0.7 * scores[row]);
    }
  }
  const rate = (one, of) => {
    let score = 0;
    let held = 0;
    for (let at = 0; at < count; at += 1) {
      if (!heard[at]) continue;
      const fitting = of(one, at);
      if (fitting) held += 1;
      score += fitting * rarity[at];
    }
    return { score, held };
  };
  const rated = [];
  for (const one of parts.values()) {
    // The page's name belongs to what its parts say: "transformer warm-up".
    const row = known.byNumber.get(one.number);
    const own = rate(one, (part, at) => part.held[at]);
    const all = rate(one, (part, at) => part.held[at] || 0.5 * (found.asked[at].scores?.[row] ?? 0));
    const isLike = found.asked.some((term, at) => term.isLike && (one.held[at] || term.scores?.[row]));
    if (own.held) rated.push({ ...one, tier: isLike ? 2.6 : 2, score: all.score, held: all.held, own: own.held });
  }
  for (const one of pages.values()) {
    const { score, held } = rate(one, (page, at) => page.held[at]);
    rated.push({ ...one, tier: 3, score, held, own: 0 });
  }
  const most = Math.max(0, ...rated.map((one) => one.held));
  const isWhole = most === said;
  return { isWhole, wanted: most >= needed / 2 ? rated.filter((one) => one.held === most) : [] };
};

const partHit = (row, part, found) => {
  const [id, kind, title, text, state] = part;
  return {
    kind: PARTS[kind] ?? "",
    state,
    address: id ? `${row.address}#${encodeURIComponent(id)}` : row.address,
    title: title || row.title,
    context: id ? row.short || row.title.split(": ")[0] : secondLine(row),
    snippet: snippet(text, found),
  };
};

// Some words of a text around the first that was asked for.
const snippet = (text, found) => {
  const marks = marker(found)(text);
  if (!marks.length) return "";
  const start = Math.max(0, marks[0][0] - 60);
  const from = start ? text.indexOf(" ", start) + 1 || start : 0;
  const cut = text.slice(from, from + 180);
  return `${from ? "… " : ""}${cut}${from + 180 < text.length ? " …" : ""}`;
};

// How much of a part the terms make, for which of a page's parts is shown.
const heldBy = (part, found) => {
  const words = new Set(fold(`${part[2]} ${part[3]}`).match(WORD) ?? []);
  const text = [...words].join(" ");
  let held = 0;
  for (const term of found.asked) {
    if (term.isRun ? text.includes(term.text) : [...words].some((word) => fit(term, word) || (term.isLike && likeness(term, word)))) held += 1;
  }
  return held;
};

/**
 * What the library says of the query, after what is called so; the best first.
 *
 * Where nothing is called so, `show` is given the pages first, before their parts are read, and tells whether to go on.
 */
export const find = async (query, show) => {
  const known = await prepare();
  const found = search(known, query);
  const identified = await byIdentifier(known, query);
  if (identified.length) return { marks: marker(found), hits: identified };
  const occurring = await Promise.all(found.asked.map((term) => occurrences(known, term)));
  for (const [at, where] of occurring.entries()) {
    const isSaid = where && where.parts.size + where.names.size + where.texts.size > 0;
    found.asked[at].isUnknown = Boolean(where) && !isSaid && !found.asked[at].scores;
  }
  const extra = occurring.map((where) => where?.names);
  const named = ranked(known, found, extra);
  const { wanted, isWhole } = candidates(known, found, occurring);
  // A paper that the query names with other words around is no reason to leave out what else holds most of them.
  const top = !isWhole && named.some(({ tier }) => tier !== AROUND) ? [] : best(wanted, 2 * HITS);
  // Each page is shown once for its text, and only if nothing of it is shown for its title.
  const numbers = [...new Set(top.map(({ number }) => number))].filter((one) => known.byNumber.has(one)).slice(0, PAGES);
  if (show && numbers.length && !named.length) {
    const pages = numbers.map((number) => nameHit(known.rows[known.byNumber.get(number)]));
    if (!show({ marks: marker(found), hits: pages })) return undefined;
  }
  const read = new Map(await Promise.all(numbers.map(async (number) => [number, await partsOf(number)])));
  const hits = [];
  const shown = new Set();
  for (const { at, tier } of named.slice(0, NAMES)) {
    hits.push({ ...nameHit(known.rows[at]), tier });
    shown.add(known.rows[at].address);
  }
  for (const one of top) {
    const row = known.rows[known.byNumber.get(one.number)];
    const parts = read.get(one.number);
    if (!parts?.length || !row) continue;
    let part = parts[one.part];
    if (one.tier === 3) {
      let most = 0;
      for (const each of parts) {
        const held = heldBy(each, found);
        if (held > most) [part, most] = [each, held];
      }
      if (!part || !most) continue;
    }
    const hit = partHit(row, part, found);
    if (shown.has(hit.address)) continue;
    const isName = one.tier < 3 && plainWords(fold(part[2])) === found.whole;
    shown.add(hit.address);
    hits.push({ ...hit, tier: isName ? 1.1 : one.tier });
  }
  for (const { at, tier } of named.slice(NAMES, HITS)) {
    if (!shown.has(known.rows[at].address)) hits.push({ ...nameHit(known.rows[at]), tier: tier + 2.1 });
  }
  // What is exactly so goes before what is only like it.
  hits.sort((one, other) => one.tier - other.tier);
  const pages = new Set(top.map(({ number }) => number)).size;
  const isCut = hits.length > HITS || named.length > HITS || (top.length > 0 && wanted.length > top.length) || pages > numbers.length;
  return { marks: marker(found), hits: hits.slice(0, HITS), isCut };
};

const byIdentifier = async (known, query) => {
  const wanted = identifierOf(query);
  if (!wanted) return [];
  const all = await load(`${FOLDER}identifiers.json`);
  const exact = all[wanted] === undefined ? [] : [all[wanted]];
  const paper = /^10\.48550\/arxiv\.(.+?)(?:v\d+)?$/.exec(wanted)?.[1];
  if (!exact.length && paper && all[paper] !== undefined) exact.push(all[paper]);
  if (!exact.length && wanted.length > 4) {
    for (const [name, number] of Object.entries(all)) if (name.startsWith(wanted)) exact.push(number);
  }
  return [...new Set(exact)].slice(0, NAMES).map((number) => nameHit(known.rows[known.byNumber.get(number)]));
};

// A function from a text to the places in it, [start, end], that the query asked for.
const marker = (found) => (text) => {
  const places = [];
  for (const { 0: word, index } of text.matchAll(WORD)) {
    const folded = fold(word);
    for (const term of found.asked) {
      if (term.isRun) {
        if (folded.length !== word.length) continue;
        for (let at = folded.indexOf(term.text); at >= 0; at = folded.indexOf(term.text, at + 1)) {
          places.push([index + at, index + at + term.text.length]);
        }
      } else if (folded.startsWith(term.text) && folded.length === word.length) {
        places.push([index, index + term.text.length]);
      } else if (fit(term, folded) || (term.isLike && likeness(term, folded))) {
        places.push([index, index + word.length]);
      }
    }
  }
  places.sort((one, other) => one[0] - other[0] || one[1] - other[1]);
  const joined = [];
  for (const place of places) {
    const last = joined.at(-1);
    if (last && place[0] <= last[1]) last[1] = Math.max(last[1], place[1]);
    else joined.push([...place]);
  }
  return joined;
};
