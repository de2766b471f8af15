"""The waist: types that plugins and engines share. Imports nothing else of vaebench."""
