"""Rooms in a worker: who of its connections is in which room, and what the broker says about that."""
