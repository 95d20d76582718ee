"""Bundled Darknet cfgs and the description of the data set ``shapes``."""
