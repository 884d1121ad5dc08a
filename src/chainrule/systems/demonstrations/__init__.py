"""Claims of the course, each measured: a function builds the `Demonstration` that measures it and draws what came out."""
