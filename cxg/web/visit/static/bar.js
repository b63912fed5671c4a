// Our buttons in the client's bar above the plot.

const BAR_MARK = '[data-testid="centroid-label-toggle"]';

let group = null;

/**
 * Add a button to the bar.
 *
 * @param {object} options
 * @param {string} options.id  the element gets the id `cxg-<id>`
 * @param {string} options.label  text of the button
 * @param {string} options.title  what it does, shown when the pointer rests on it
 * @param {(event: Event) => void} options.onClick
 * @returns {HTMLButtonElement}
 */
export function addButton({ id, label, title, onClick }) {
  const element = document.createElement("button");
  element.type = "button";
  element.addEventListener("click", onClick);
  return add(element, id, label, title);
}

/**
 * Add a link to the bar; the options are those of a button, with `href` in place of `onClick`.
 *
 * @returns {HTMLAnchorElement}
 */
export function addLink({ id, label, title, href }) {
  const element = document.createElement("a");
  element.href = href;
  return add(element, id, label, title);
}

function add(element, id, label, title) {
  element.id = `cxg-${id}`;
  // The client's own classes, so that our buttons look like their neighbours.
  element.className = "bp3-button";
  element.textContent = label;
  element.title = title;
  group ??= makeGroup();
  group.append(element);
  return element;
}

function makeGroup() {
  const made = document.createElement("div");
  made.className = "cxg-bar bp3-button-group";
  made.setAttribute("role", "group");
  made.setAttribute("aria-label", "This view");
  // The client renders its bar after its data is there, and again when it starts anew.
  const place = () => {
    if (made.isConnected) return;
    const bar = document.querySelector(BAR_MARK)?.closest("div");
    if (bar) bar.append(made);
  };
  new MutationObserver(place).observe(document.getElementById("root"), { childList: true, subtree: true });
  place();
  return made;
}
