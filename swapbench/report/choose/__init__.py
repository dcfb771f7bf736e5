"""Which model to take: fronts, resampling, recommendations."""
