"""The console: the child that shows operators what runs, where the config has a listener for it."""
