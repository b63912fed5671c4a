"""Publishes a finished CXG, all of it or nothing."""
