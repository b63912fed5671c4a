"""The CXG format: reading every kind ever written, as numpy arrays."""
