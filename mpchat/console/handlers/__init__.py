"""userver's handlers of its monitor port, and ours of that kind: a file for each."""
