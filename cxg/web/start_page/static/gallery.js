// Narrows the list while typing and choosing, and fetches it again while datasets are still being read.
// Without this script the form and a refreshing page do the same. The server does all the choosing.
"use strict";

const PAUSE_MS = 150;
const form = document.getElementById("find");
let asked = 0;

function address() {
  const found = new URL(location.href);
  found.search = "";
  for (const [name, value] of new FormData(form)) {
    const text = value.trim();
    if (text && !(name === "sort" && value === form.elements.sort.options[0].value)) found.searchParams.append(name, text);
  }
  return found;
}

function counts(facets) {
  const found = new Map();
  for (const box of facets.querySelectorAll("input[type=checkbox]")) {
    found.set(`${box.name}=${box.value}`, box.closest("label").querySelector(".count").textContent);
  }
  return found;
}

function show(page) {
  const [shown, found] = [document.getElementById("list"), page.getElementById("list")];
  // An equal list stays, and with it the focus.
  if (shown.outerHTML !== found.outerHTML) shown.replaceWith(found);
  const fresh = counts(page);
  // The boxes themselves stay, and with them the focus.
  for (const box of form.querySelectorAll("input[type=checkbox]")) {
    box.closest("label").querySelector(".count").textContent = fresh.get(`${box.name}=${box.value}`) ?? "0";
  }
  document.getElementById("clear").hidden = page.getElementById("clear")?.hidden ?? true;
}

// The list for what the form says now; false when the server did not answer, or something newer was asked for.
async function ask(where) {
  const number = ++asked;
  try {
    const answer = await fetch(where, { headers: { Accept: "text/html" } });
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (number !== asked) return false;
    show(page);
    return true;
  } catch {
    // The server does not answer: keep the list; the next change or refresh asks again.
    return false;
  }
}

let waiting;
function narrow() {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    const where = address();
    history.replaceState(null, "", where);
    ask(where);
  }, PAUSE_MS);
}

function refreshLater() {
  const seconds = Number(document.getElementById("list").dataset.refresh);
  if (seconds) {
    setTimeout(async () => {
      await ask(form ? address() : location.href);
      refreshLater();
    }, seconds * 1000);
  }
}

if (form) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    narrow();
  });
  form.addEventListener("input", narrow);
  refreshLater();
}
