// The link from the client to the page that says what the dataset is.

import { addLink } from "./bar.js";
import { isEmbedded, page } from "./page.js";

export function start() {
  if (!page.about || isEmbedded) return;
  addLink({ id: "about", label: "About", title: "What this dataset is, and how to cite it", href: page.about });
}
