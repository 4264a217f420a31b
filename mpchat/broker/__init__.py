"""The broker: one order for the messages of all rooms of a host, and their history."""
