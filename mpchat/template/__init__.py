"""The template: turns config and code into a validated plan; forks workers and the monitor."""
