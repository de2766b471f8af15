"""Tables and figures: pure functions of what has been measured, byte-identical from run to run."""
