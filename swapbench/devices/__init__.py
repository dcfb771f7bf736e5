"""Devices: places where a program runs and a file is read."""
