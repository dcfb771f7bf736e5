"""From records to rows: summaries, ratios to a reference, and what may be compared."""
