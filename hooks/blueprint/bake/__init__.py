"""Baking: the answers are looked at, and the tree becomes the chosen variant, with its record."""
