"""What travels between client and server: parsing of requests, encoding of answers."""
