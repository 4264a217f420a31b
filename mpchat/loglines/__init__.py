"""Log lines and the files they go to, for every process; standard library only."""
