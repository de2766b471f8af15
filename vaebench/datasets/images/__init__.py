"""Find, decode and crop image files, and detect faces in them."""
