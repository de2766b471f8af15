"""Model families: one file each, its recipes beside it, named in vaebench/builtins.py."""
