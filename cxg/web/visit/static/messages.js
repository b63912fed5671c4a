// Shows the server's own sentence when a request fails, in place of the client's "Unexpected HTTP response".

import * as note from "./note.js";

const CLIENT_SENTENCE = /^Unexpected (differential expression )?HTTP (response|error)/;
const WATCH_MS = 5_000;
// The address of the data names the version that the page was made for; the dataset was replaced since.
const GONE = 410;

let observer = null;
let timer = 0;
let isReplaced = false;

/** Wrap `fetch`. Every answer and every failure still reaches the client as it is. */
export function start() {
  const original = window.fetch;
  window.fetch = async function fetchAndTell(input, init) {
    let answer;
    try {
      answer = await original.call(this ?? window, input, init);
    } catch (error) {
      if (error.name !== "AbortError" && isOurs(input)) tell(offlineSentence());
      throw error;
    }
    if (isOurs(input)) await look(answer);
    return answer;
  };
}

/** Show a sentence about a failed request, and put away what the client says about it. */
export function tell(sentence) {
  note.show(sentence, { kind: "error" });
  putAwayClientToasts();
}

function isOurs(input) {
  const url = new URL(typeof input === "string" ? input : (input.url ?? String(input)), location.href);
  return url.origin === location.origin && url.pathname.startsWith(location.pathname) && /\/api\//.test(url.pathname);
}

async function look(answer) {
  if (answer.status === GONE) tellReplaced();
  else if (!answer.ok && answer.status !== 304) {
    tell((await sentenceOf(answer)) ?? `The server answered with status ${answer.status}. Try again soon.`);
  }
}

async function sentenceOf(answer) {
  try {
    // The client reads the answer itself, so a copy is read here.
    const { message } = await answer.clone().json();
    return typeof message === "string" && message ? message : null;
  } catch {
    return null;
  }
}

function offlineSentence() {
  return navigator.onLine === false
    ? "There is no network connection. Try again when it is back."
    : "The server could not be reached. Try again soon.";
}

function tellReplaced() {
  if (isReplaced) return;
  isReplaced = true;
  note.show("This dataset was replaced since the page was opened, so what you see may be out of date.", {
    kind: "error",
    action: { label: "Reload", onClick: () => location.reload() },
  });
  putAwayClientToasts();
}

function putAwayClientToasts() {
  observer ??= new MutationObserver(hideToasts);
  observer.observe(document.body, { childList: true, subtree: true, characterData: true });
  clearTimeout(timer);
  timer = setTimeout(() => observer.disconnect(), WATCH_MS);
  hideToasts();
}

function hideToasts() {
  for (const toast of document.querySelectorAll(".bp3-toast:not(.cxg-hidden)")) {
    const text = toast.querySelector(".bp3-toast-message")?.textContent ?? "";
    if (!CLIENT_SENTENCE.test(text)) continue;
    toast.classList.add("cxg-hidden");
    // The last button of a toast dismisses it.
    [...toast.querySelectorAll("button")].at(-1)?.click();
  }
}
