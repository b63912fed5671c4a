// Runs in each dataset's page. The browser's console tells which build it came from.
console.info("site build __CELLXGENE_COMMIT__");
