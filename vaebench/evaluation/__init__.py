"""Evaluation: one pass over the images of a source for all metrics; features, protocols and stored results."""
