"""vaebench: train, measure, test and rank generative image models."""

__version__ = "0.2.0"
