"""Running things so that one failure stays one failure."""
