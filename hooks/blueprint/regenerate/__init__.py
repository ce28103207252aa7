"""Regenerating: an existing project gets another variant, a newer template or other answers."""
