"""The cache of what was read from Retell, and the connection to Redis."""
