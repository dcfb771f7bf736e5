"""Pruning: widths and their cost, MetaPruning, Meta-MMD, latency tables."""
