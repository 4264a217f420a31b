"""The template: turns config and code into a validated plan; forks workers, monitor and broker."""
