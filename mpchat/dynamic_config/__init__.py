"""Dynamic config: variables that change while the service runs, validated, numbered, immutable."""
