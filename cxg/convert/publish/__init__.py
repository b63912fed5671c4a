"""Putting a finished CXG in its place, all of it or nothing."""
