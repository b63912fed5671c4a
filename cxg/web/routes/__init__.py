"""The routes of one dataset: data, comparisons, metadata, pages."""
