"""Presentation attack detection: datasets, preprocessing, metrics, simulated attacks."""
