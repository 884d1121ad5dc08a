"""The learning loops, one each: gradient descent on an objective, EM, two players, temporal differences.

Each reads like the algorithm box of its paper; everything around it belongs to the Run.
"""
