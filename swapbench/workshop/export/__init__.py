"""PyTorch networks to ONNX and TFLite files in three precisions, and the outputs that parity compares."""
