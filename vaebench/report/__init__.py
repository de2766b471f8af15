"""Write tables and figures as pure functions of what has been measured, byte-identical from run to run.

``analysis/leaderboard.py`` ranks models on each metric by the tests of ``analysis/comparisons.py``; ``write.py`` writes
all files of a report.
"""
