"""Training: one loop for all families, its batches, losses, checkpoints, and the fast paths of each device."""
