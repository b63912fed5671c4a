"""Links that open one hidden dataset without an account until a date: signed, recorded beside the datasets."""
