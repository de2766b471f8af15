"""The CI gate: a candidate's table held against an accepted one."""
