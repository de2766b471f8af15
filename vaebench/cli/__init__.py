"""The command line: parse, call, print. Commands import their engines when they run, so --help loads no torch."""
