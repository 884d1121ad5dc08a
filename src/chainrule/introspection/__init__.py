"""What looks inside a network: its graph, its layers, why it answers so."""
