// The page of a module's code: lines and ranges in the address, copying without what stands beside the code, and the
// contents that follow.

const page = document.querySelector(".q-reading");

// The address names a line, `#L42`, or some, `#L42-L58`.

const named = () => location.hash.match(/^#L(\d+)(?:-L(\d+))?$/)?.slice(1).map((part) => part && Number(part));

const show = (isMoving) => {
  for (const line of page.querySelectorAll(".q-on")) line.classList.remove("q-on");
  const [first, last] = named() ?? [];
  if (!last) return;
  const lines = [];
  for (let n = Math.min(first, last); n <= Math.max(first, last); n += 1) {
    const line = document.getElementById(`L${n}`);
    if (line) lines.push(line);
  }
  for (const line of lines) line.classList.add("q-on");
  const fold = lines[0]?.closest("details");
  if (fold) fold.open = true;
  if (isMoving) lines[0]?.scrollIntoView();
};

addEventListener("hashchange", () => show(true));
show(true);

// A click on a line's number names it, and one with the shift key all lines up to it.

page.addEventListener("click", (event) => {
  const line = event.target.closest(".q-lines code > span[id]");
  if (!line || event.target !== line) return;
  const number = parseFloat(getComputedStyle(line, "::before").width);
  if (event.clientX > line.getBoundingClientRect().left + number) return;
  event.preventDefault();
  getSelection().removeAllRanges();
  const [first] = named() ?? [];
  const hash = event.shiftKey && first ? `#L${first}-${line.id}` : `#${line.id}`;
  // A link to a line is marked by the browser where it leads, without the page being moved.
  const top = scrollY;
  location.hash = hash;
  scrollTo(0, top);
  show(false);
});

// What is copied of several rows is code alone.

document.addEventListener("copy", (event) => {
  const selection = getSelection();
  if (!selection.rangeCount || selection.isCollapsed) return;
  const range = selection.getRangeAt(0);
  const isCode = (node) => Boolean((node.closest ? node : node.parentElement)?.closest(".q-lines"));
  if (!isCode(range.startContainer) || !isCode(range.endContainer)) return;
  const copied = range.cloneContents();
  const lines = copied.querySelectorAll("span[data-n]");
  if (!lines.length) return;
  const text = [...lines].map((line) => line.textContent.replace(/\n$/, "")).join("\n");
  event.clipboardData.setData("text/plain", text);
  event.preventDefault();
});

// The contents are open where there is room for them beside the code, and tell what is being read.

const wide = matchMedia("(min-width: 76.25em)");
const openGuide = () => {
  for (const [index, fold] of page.querySelectorAll(".q-guide details").entries()) fold.open = wide.matches && index < 2;
};
wide.addEventListener("change", openGuide);
openGuide();

const entries = new Map([...page.querySelectorAll(".q-guide li a")].map((link) => [link.hash.slice(1), link]));
const headings = [...page.querySelectorAll(".q-prose :is(h2, h3)[id]")];
const rows = new Map(headings.map((heading) => [heading.closest(".q-row"), heading.id]));
const seen = new Set();
let current = null;

const follow = (changes) => {
  for (const { target, isIntersecting } of changes) seen[isIntersecting ? "add" : "delete"](target);
  const first = [...rows.keys()].find((row) => seen.has(row));
  const link = first && entries.get(encodeURIComponent(rows.get(first)));
  if (!link || link === current) return;
  current?.removeAttribute("aria-current");
  current = link;
  current.setAttribute("aria-current", "location");
  const guide = current.closest(".q-guide");
  if (guide.scrollHeight > guide.clientHeight) {
    guide.scrollTop = current.offsetTop - guide.offsetTop - guide.clientHeight / 2;
  }
};

const observer = new IntersectionObserver(follow, { rootMargin: "-15% 0px -60% 0px" });
for (const row of rows.keys()) observer.observe(row);
