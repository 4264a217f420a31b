"""The live page: what runs, second by second, in a browser."""
