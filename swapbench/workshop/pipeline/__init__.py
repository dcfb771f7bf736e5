"""From samples to batches: frames decoded once, crops cut and augmented while the network trains."""
