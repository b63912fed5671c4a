"""Reading X, in each of the forms in which a CXG keeps it."""
