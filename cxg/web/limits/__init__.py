"""Limits on what one request, one visitor and all visitors together may take of a worker."""
