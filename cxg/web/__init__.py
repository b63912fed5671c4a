"""The HTTP side: routes, pages, headers; the only part that uses Flask."""
