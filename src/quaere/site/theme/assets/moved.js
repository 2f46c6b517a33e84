// On the page that a card had before: leads to today's, and to the same part of it.

location.replace(document.querySelector("a").href + location.search + location.hash);
