"""What is trained, and how much is spent on it, as data. Needs no PyTorch."""
