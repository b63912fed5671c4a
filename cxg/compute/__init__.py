"""Statistics on plain numpy arrays; knows nothing of files or requests."""
