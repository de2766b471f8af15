"""A third party's recipe, dataset, metric and adapter: what a plugin author writes, and nothing else."""
