"""Our own handlers, written with the names that every author has."""
