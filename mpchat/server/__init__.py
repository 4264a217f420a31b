"""The HTTP side: accepting, admission, request heads, routes, the handshake, drain."""
