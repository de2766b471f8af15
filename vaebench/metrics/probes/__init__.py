"""Linear support vector machines, many at once: solved together in torch, as liblinear would solve each."""
