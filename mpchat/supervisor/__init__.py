"""The supervisor: owns sockets, scoreboard and children. Standard library only, no client bytes."""
