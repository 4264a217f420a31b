"""TLS on a listener: its certificates, and the layer between a socket and HTTP."""
