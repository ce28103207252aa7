"""Patterns that keep one failure from spreading."""
