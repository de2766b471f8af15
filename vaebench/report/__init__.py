"""Write tables and figures as pure functions of what has been measured, byte-identical from run to run."""
