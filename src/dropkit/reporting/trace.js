// Choosing a site by click or arrow keys without a jump. The page is complete without it.
(() => {
  "use strict";

  const details = document.querySelector(".details");
  if (!details) return;

  const choose = (id) => {
    if (!document.getElementById(id)) return;
    for (const site of details.querySelectorAll(".site")) site.classList.toggle("chosen", site.id === id);
    for (const link of document.querySelectorAll(".chain a")) {
      link.classList.toggle("chosen", link.getAttribute("href") === `#${id}`);
    }
  };

  details.classList.add("ready");
  choose(location.hash.slice(1) || details.dataset.first);
  addEventListener("hashchange", () => choose(location.hash.slice(1)));

  for (const chain of document.querySelectorAll(".chain")) {
    const links = [...chain.querySelectorAll("a")];
    for (const [at, link] of links.entries()) {
      link.addEventListener("click", (event) => {
        event.preventDefault();
        choose(link.getAttribute("href").slice(1));
      });
      link.addEventListener("keydown", (event) => {
        const next = { ArrowLeft: at - 1, ArrowRight: at + 1 }[event.key];
        if (links[next]) {
          event.preventDefault();
          links[next].focus();
          choose(links[next].getAttribute("href").slice(1));
        }
      });
    }
  }
  for (const link of document.querySelectorAll("table.sites a")) {
    link.addEventListener("click", () => choose(link.getAttribute("href").slice(1)));
  }
})();
