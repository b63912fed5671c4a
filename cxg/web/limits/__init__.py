"""What one request, one visitor and all of them together may take of a worker."""
