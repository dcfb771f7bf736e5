"""swapbench measures speed, weight, accuracy and power of face anti-spoofing models in the file that ships.

Importing this package imports nothing heavy: workers start from it, and `swapbench --help` must answer at
once.
"""

__version__ = "0.1.0"
