"""The package as it is installed: with and without a compiler, from its distributions, as an image."""
