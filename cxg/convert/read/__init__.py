"""Reading an h5ad file: opening it, its tables, its matrix, its embeddings."""
