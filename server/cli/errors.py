"""What goes wrong at the command line."""


class CliError(Exception):
    """Ends a command with status 1. The message is a sentence and its remedy."""
