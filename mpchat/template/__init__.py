"""The template: config and code become a validated plan; forks workers and the monitor."""
