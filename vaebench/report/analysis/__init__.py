"""Tables as pure functions of results: leaderboards, comparisons, variance, attributes."""
