"""Several files and frames that decide together: rules, what they cost, and how they are chosen.

Pure functions of scores and costs; nothing here runs a file.
"""
