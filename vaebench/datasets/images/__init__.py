"""Image files: found, decoded, cropped, faces detected."""
