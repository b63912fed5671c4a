"""Folders and S3 prefixes read through TileDB, and what is kept of them in memory and on local disk."""
