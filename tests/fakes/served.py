"""`unremember serve` with an encoder that needs no model: ``python -m tests.fakes.served``.

Settings come from the environment. A calibration for `WordEncoder` lies in the cache directory.
"""

from __future__ import annotations

import sys
from unittest import mock

from server import app
from server.cli import commands, up
from tests.fakes.encoder import WordEncoder


def main() -> None:
    """Run it, and end as the command line does."""
    sys.argv = ["unremember", "serve"]
    with (
        mock.patch.object(app, "load_encoder", return_value=WordEncoder()),
        mock.patch.object(up, "encoder_directory"),
    ):
        commands.run()


if __name__ == "__main__":
    main()
