"""Components: base classes, list, construction in each worker, the context of a request."""
