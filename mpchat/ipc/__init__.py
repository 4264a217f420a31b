"""Everything that processes share: scoreboard, channels and their messages. Standard library only."""
