"""Probes of latent spaces: linear SVMs, attribute vectors, novelty detection."""
