"""A network, a loss and metrics of the user's own in a task: built, adapted, and checked before the first step."""
