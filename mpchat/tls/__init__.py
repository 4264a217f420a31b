"""TLS: certificates and their checks, the contexts of a listener, the layer below a connection."""
