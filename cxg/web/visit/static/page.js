// What the server says about this page: one block of JSON, read once.

const block = document.getElementById("cxg-visit");

/** Facts of the page, see `page_data.py`: dataset, title, version, client, view, about, features. */
export const page = block ? JSON.parse(block.textContent) : { client: null, view: {}, features: {} };

/** Parameters of the address when the page was opened. */
export const parameters = new URLSearchParams(location.search);

/** Whether the page is shown without side bars, inside another page. */
export const isEmbedded = parameters.get("embed") === "1";
