"""The queue: `jobs` takes jobs for later, the processors run them."""
