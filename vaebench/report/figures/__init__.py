"""Draw a report's figures as SVG, and galleries of images."""
