"""Statistics on plain numpy arrays, without files or requests."""
