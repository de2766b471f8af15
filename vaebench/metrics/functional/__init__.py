"""Pure functions of tensors that metrics are made of."""
