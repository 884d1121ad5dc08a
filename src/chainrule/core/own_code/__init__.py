"""The user's own code: a network, a loss, metrics, in a file that they name, FILE.py:NAME, or given from Python."""
