"""Compute metrics as pure functions of tensors."""
