"""What a trained network can lose: weights and units (pruning), whole blocks (a residual network as a vote of paths)."""
