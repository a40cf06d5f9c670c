"""The command line: one thin file a command, and the only place that prints."""
