"""A run's folder: its record, weights, history, per-image values, galleries and study figures."""
