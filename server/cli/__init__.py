"""The command line: `unremember`."""


def main() -> None:
    """Entry point of the `unremember` script."""
    from server.cli.commands import run

    run()
