"""Pruning: widths and their cost, magnitude pruning, MetaPruning and Meta-MMD, latency tables as budgets."""
