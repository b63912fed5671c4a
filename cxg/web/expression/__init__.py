"""Expression of some genes by label: a page with a dot plot and a table, the plot as SVG, the numbers as CSV."""
