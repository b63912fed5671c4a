"""Who may see which dataset, for every route: `rules` finds a dataset's rule, `visitors` who asks, `gate` closes."""
