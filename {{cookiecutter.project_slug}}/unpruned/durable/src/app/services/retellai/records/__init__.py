"""The records behind `Repository`, a module for each: the tables, and leases on their rows."""
