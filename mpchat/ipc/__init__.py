"""What processes share: the scoreboard, channels, the messages on them. Standard library only."""
