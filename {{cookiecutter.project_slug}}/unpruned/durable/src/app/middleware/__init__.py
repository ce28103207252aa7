"""What every request of a kind passes through on its way to the routes."""
