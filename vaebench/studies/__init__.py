"""Latent-space studies: pictures with numbers, of one run or several side by side."""
