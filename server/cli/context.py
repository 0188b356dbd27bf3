"""What every command has at hand: the settings, and the address given with --url."""

from __future__ import annotations

from dataclasses import dataclass

from server.cli.client import Client, admin_client, data_client
from server.settings import Settings, load_settings


@dataclass(slots=True)
class Options:
    """Options that stand before the command."""

    url: str | None = None


options = Options()


def settings() -> Settings:
    """The effective settings. Raises SettingsError, fit to print."""
    return load_settings()


def admin() -> Client:
    """A client of the admin API that the options name."""
    return admin_client(settings(), options.url)


def data() -> Client:
    """A client of the OpenAI-compatible API that the options name."""
    return data_client(settings(), options.url)
