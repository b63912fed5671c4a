// Filters the list while typing and fetches it again while datasets are still being read.
// Without this script the form and a refreshing page do the same.
"use strict";

const input = document.getElementById("q");

function textOf(card) {
  card.searched ??= `${card.querySelector("h2").textContent} ${card.querySelector(".name").textContent}`.toLowerCase();
  return card.searched;
}

function filter() {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  const cards = [...document.querySelectorAll(".card")];
  for (const card of cards) {
    card.hidden = !words.every((word) => textOf(card).includes(word));
  }
  const shown = cards.filter((card) => !card.hidden).length;
  const all = cards.length.toLocaleString("en");
  const noun = cards.length === 1 ? "dataset" : "datasets";
  document.getElementById("count").textContent = words.length ? `${shown.toLocaleString("en")} of ${all} ${noun}` : `${all} ${noun}`;
  document.getElementById("clear")?.toggleAttribute("hidden", !words.length);
}

function remember() {
  const address = new URL(location.href);
  if (input.value.trim()) address.searchParams.set("q", input.value.trim());
  else address.searchParams.delete("q");
  history.replaceState(null, "", address);
}

function refreshLater() {
  const seconds = Number(document.getElementById("list").dataset.refresh);
  if (seconds) setTimeout(refresh, seconds * 1000);
}

async function refresh() {
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.getElementById("list").replaceWith(page.getElementById("list"));
    filter();
  } catch {
    // The server does not answer: keep the list and try again.
  }
  refreshLater();
}

if (input) {
  input.form.addEventListener("submit", (event) => {
    event.preventDefault();
    remember();
  });
  input.addEventListener("input", () => {
    filter();
    remember();
  });
  refreshLater();
}
