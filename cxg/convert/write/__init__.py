"""Writing the arrays of a CXG into an empty folder."""
