"""A third party's recipe, dataset and metric: what a plugin author writes, and nothing else."""
