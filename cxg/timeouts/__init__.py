"""Calls into storage that may hang: each has a time limit, and none takes a thread for good."""
