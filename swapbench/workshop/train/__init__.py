"""Training: setup, loop and state, the domain loss, several processes, scores on the development split."""
