"""The form of a training: its fields, its presets, the check and the start."""
