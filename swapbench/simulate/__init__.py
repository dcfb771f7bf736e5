"""Simulated faces, cameras and attack instruments: data that need no download. Never PAD performance."""
