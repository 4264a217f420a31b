"""Components: base class, list, construction in each worker."""
