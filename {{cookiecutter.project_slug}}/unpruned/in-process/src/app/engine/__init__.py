"""The engine of this variant, which places calls and runs handlers in the request."""
