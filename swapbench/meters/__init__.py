"""Meters: sets of energy counters that only go up. The catalogue names them; none imports another."""
