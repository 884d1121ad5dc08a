"""A room a family of systems: its networks, mathematics, loop, task, figures and recipes."""
