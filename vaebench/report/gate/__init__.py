"""Hold a candidate's table against an accepted one, as a gate of a CI run."""
