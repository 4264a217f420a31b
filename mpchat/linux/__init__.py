"""The system as the supervisor, the template, the monitor and a worker's boot use it."""
