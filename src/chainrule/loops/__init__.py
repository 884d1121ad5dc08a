"""The training loops that two families or more share: gradient descent, choice among candidates, experiments.

A family's own loop is in its room. Each reads like the algorithm box of its paper; checkpoints, metrics and signals
belong to the Run.
"""
