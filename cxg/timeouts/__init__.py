"""Calls into storage that may hang: each has a time limit, so none blocks a request forever."""
