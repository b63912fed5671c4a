"""The datasets of a dataroot: where a name leads, and the open datasets that requests share."""
