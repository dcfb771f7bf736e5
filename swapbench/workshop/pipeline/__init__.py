"""From samples to batches of crops."""
