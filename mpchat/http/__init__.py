"""HTTP by its RFCs: request heads, fields, targets, framing, upgrades, responses. Pure."""
