"""The routes under `/api`, for callers with an API key."""
