"""From text to validated values: YAML with positions, option types. Knows no component, no loop."""
