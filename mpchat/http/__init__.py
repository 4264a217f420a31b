"""HTTP by its RFCs: request heads, targets, framing, upgrades, responses. Pure."""
