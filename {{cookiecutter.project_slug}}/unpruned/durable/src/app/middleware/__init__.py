"""The middleware that requests pass through on their way to the routes."""
