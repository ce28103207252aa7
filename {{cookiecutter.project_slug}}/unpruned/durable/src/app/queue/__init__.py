"""Jobs: what may happen after the answer. `jobs` takes them, the processors run them."""
