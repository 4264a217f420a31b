"""What processes say to each other: channels, messages, orders. Standard library only."""
