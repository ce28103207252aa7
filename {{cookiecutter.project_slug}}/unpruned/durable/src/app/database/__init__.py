"""The database: connections, sessions and tables."""
