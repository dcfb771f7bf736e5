"""The regression gate: from paired rounds and records to checks, one verdict, and reports for CI services.

Pure functions.
"""
