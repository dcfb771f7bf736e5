"""Making models: training, distillation, pruning. Needs PyTorch."""
