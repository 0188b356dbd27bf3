"""How a job ends that does not end well."""

from __future__ import annotations


class JobError(Exception):
    """A job cannot be done. The message says why, is fit for an operator, and holds no forget text."""


class Stopped(Exception):
    """A job was cancelled, or whoever started it is gone. What it has done so far is kept in its directory."""
