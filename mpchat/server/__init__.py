"""One worker's server: accepting, balance, limits, routes, the handshake, drain."""
