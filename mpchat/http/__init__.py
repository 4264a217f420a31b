"""HTTP by its RFCs: request heads, fields, targets, framing, bodies, upgrades, responses. Pure."""
