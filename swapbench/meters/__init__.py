"""Meters: sets of energy counters that only go up. The catalogue names their finders by string; none imports another."""
