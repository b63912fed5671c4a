"""Encoded answers, kept in memory and sent from there before Flask handles the request."""
