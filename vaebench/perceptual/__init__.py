"""Perceptual networks: one file each, named in vaebench/builtins.py."""
