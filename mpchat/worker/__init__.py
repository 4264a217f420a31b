"""The worker: a forked process with an event loop, components, and clients."""
