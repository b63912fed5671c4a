// `?embed=1`: the plot alone, for a frame in another page.

import { addLink } from "./bar.js";
import { linkOfView } from "./links.js";
import { isEmbedded } from "./page.js";
import { whenReady } from "./store.js";

/** Hide the side bars before the client measures its plot, and leave a link to the whole page. */
export function start() {
  if (!isEmbedded) return;
  document.documentElement.classList.add("cxg-embedded");
  const link = addLink({
    id: "open-in-full",
    label: "Open in full",
    title: "Open this view with all controls, in a new tab",
    href: fullAddress(),
  });
  link.target = "_blank";
  link.rel = "noopener";
  const update = () => {
    link.href = fullAddress();
  };
  for (const name of ["pointerdown", "focus", "click"]) link.addEventListener(name, update);
  // Without the bar of the client there is nothing that cells could be selected for.
  whenReady().then(
    (store) => store.dispatch({ type: "change graph interaction mode", data: "zoom" }),
    () => {},
  );
}

function fullAddress() {
  const link = new URL(linkOfView());
  link.searchParams.delete("embed");
  return link.href;
}
