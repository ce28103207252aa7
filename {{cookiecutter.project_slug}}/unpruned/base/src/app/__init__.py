"""A backend that places and receives AI phone calls with Retell AI."""
