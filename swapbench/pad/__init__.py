"""Presentation attack detection after ISO/IEC 30107-3: scores, error rates, intervals, comparisons."""
