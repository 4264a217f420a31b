"""The monitor: the small child that outlives the supervisor long enough to clean up after it."""
