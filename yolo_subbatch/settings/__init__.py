"""A run on disk: its settings, its events, its folder. Neither torch nor Qt."""
