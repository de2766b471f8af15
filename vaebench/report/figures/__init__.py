"""Figures of a report, drawn as SVG, and galleries of images."""
