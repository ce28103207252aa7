"""The template's own tests: the engine, the bakes, and every baked project's own checks."""
