"""Datasets, from samples, layouts, manifests, protocols and folds to a network's input."""
