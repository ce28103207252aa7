"""The cache of reads from Retell, and the link to Redis."""
