"""The decisions about calls, apart from any input or output."""
