"""Runtimes: a worker and what its output means, one file each."""
