"""Serving while one writes the code: restarts on a change, and a service in one process for debuggers."""
