"""Training: one loop, its losses, several processes, the score on the development split."""
