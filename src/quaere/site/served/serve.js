// Keeps the reader's place when a page is loaded anew because a file has changed: what is at the top stays there, what
// is unfolded stays unfolded.

const key = () => `quaere-serve ${location.pathname}`;

const remember = () => {
  // What stands nearest to the top, below the header that stays there.
  const named = [...document.querySelectorAll("main [id]")].filter((one) => one.getClientRects().length);
  const away = (one) => Math.abs(one.getBoundingClientRect().top - 60);
  const anchor = named.length ? named.reduce((best, one) => (away(one) < away(best) ? one : best)) : undefined;
  const unfolded = [...document.querySelectorAll("details[id][open]")].map((one) => one.id);
  const place = { y: scrollY, id: anchor?.id, offset: anchor?.getBoundingClientRect().top, unfolded };
  sessionStorage.setItem(key(), JSON.stringify(place));
};

const restore = () => {
  const place = JSON.parse(sessionStorage.getItem(key()) ?? "null");
  if (!place || performance.getEntriesByType("navigation")[0]?.type !== "reload") return;
  for (const id of place.unfolded) {
    const one = document.getElementById(id);
    if (one) one.open = true;
  }
  const anchor = place.id && document.getElementById(place.id);
  const y = anchor ? scrollY + anchor.getBoundingClientRect().top - place.offset : place.y;
  scrollTo({ top: y, behavior: "instant" });
};

if (performance.getEntriesByType("navigation")[0]?.type === "reload") history.scrollRestoration = "manual";
addEventListener("beforeunload", remember);
addEventListener("load", restore);
