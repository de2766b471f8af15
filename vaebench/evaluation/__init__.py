"""Evaluate models: one pass over the images of a source for all metrics; features, protocols and stored results.

``evaluate.py`` is the door (which runs, which metrics are missing, where results go); ``evaluator.py`` is the pass.
"""
