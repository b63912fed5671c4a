"""The parsing of requests and the encoding of answers."""
