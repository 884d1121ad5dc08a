"""What the tape needs to follow a computation: the values seen so far, the module calls, functions of the user's own."""
