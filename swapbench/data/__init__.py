"""Datasets: samples, layouts, manifests, protocols, folds; from a frame and a face box to a network's input."""
