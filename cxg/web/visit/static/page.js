// What the server says about this page: one block of JSON, read once.

const block = document.getElementById("cxg-visit");

/** Facts of the page, see `page_data.py`: dataset, title, version, api, client, view, about, features. */
export const page = block ? JSON.parse(block.textContent) : { client: null, view: {}, features: {} };

/** Have the client ask for the data of the version that this page was made for, which browsers keep for good. */
export function useVersion() {
  const api = window.CELLXGENE?.API;
  if (api && page.api) api.prefix = new URL(page.api, location.origin + location.pathname).href;
}

/** Parameters of the address when the page was opened. */
export const parameters = new URLSearchParams(location.search);

/** Whether the page is shown without side bars, inside another page. */
export const isEmbedded = parameters.get("embed") === "1";
