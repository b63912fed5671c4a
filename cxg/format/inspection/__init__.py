"""Looking a CXG over, for `cxg inspect` and `cxg doctor`."""
