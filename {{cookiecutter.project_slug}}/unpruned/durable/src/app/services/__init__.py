"""The services of this app: `retellai` works with Retell, `calls` decides about calls."""
