"""Bringing what was changed in a baked project back into the tree; no hook needs it."""
