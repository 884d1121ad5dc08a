"""Recipes of segmenters, a file for each kind of network."""
