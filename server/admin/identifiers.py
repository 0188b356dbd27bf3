"""What ids look like."""

from __future__ import annotations

from typing import Final

REQUEST_ID: Final = r"fr_[0-9a-f]{32}"
JOB_ID: Final = r"job_[0-9a-f]{32}"
ARTEFACT_ID: Final = r"art_[0-9a-f]{32}"
