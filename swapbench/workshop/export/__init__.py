"""PyTorch networks to the files that ship, a module a format, and the outputs that parity compares."""
