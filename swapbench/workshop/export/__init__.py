"""PyTorch networks to ONNX and TFLite files, and the proof that they compute the same."""
