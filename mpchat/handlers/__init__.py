"""Our own handlers, written only with the public names."""
