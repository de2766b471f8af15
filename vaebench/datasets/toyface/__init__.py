"""How a toy face is drawn: its attributes first, then a person who shows them, then the picture, part by part."""
