"""The engine of this variant: calls and events in the process that serves them."""
