// Starts everything that this server adds to the web client's page.
//
// The page loads this module before the client's deferred script, so a part may wrap what the client uses
// (`fetch`, `getContext`) in its `start`, which runs first.

import * as about from "./about.js";
import * as embed from "./embed.js";
import * as links from "./links.js";
import * as messages from "./messages.js";
import * as note from "./note.js";
import { hasView } from "./state.js";
import { page, parameters } from "./page.js";

// [switch of the configuration, or null for a part that is always there; module with a function `start`].
const PARTS = [
  [null, note],
  ["messages", messages],
  [null, embed],
  ["links", links],
  [null, about],
];

function startParts() {
  for (const [name, part] of PARTS) {
    if (name !== null && !page.features[name]) continue;
    try {
      part.start();
    } catch (error) {
      // A fault of ours must not keep the client from starting.
      console.error(error);
    }
  }
}

function tellUnknownClient() {
  const sentence =
    "This site uses a web client of its own, so links that carry a view, messages and downloads are switched off.";
  console.info(`cellxgene-eb: ${sentence}`);
  if (hasView(parameters)) note.show(`${sentence} The page shows its usual first view.`, { kind: "error" });
}

if (page.client) startParts();
else tellUnknownClient();
