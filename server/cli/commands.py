"""The `unremember` command: what it is made of, and how its errors are printed."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from server.assets import AssetError
from server.cli import context, demo, doctor, evaluate, explain, forget, jobs, pause, terminal, train
from server.cli.errors import CliError
from server.keys import KeyFileError
from server.settings import SettingsError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="A gateway in front of vLLM that makes a served model answer as if it had never known.\n\n"
    "[bold]unremember up[/bold] starts a model, vLLM and the gateway on this machine; "
    "[bold]unremember demo[/bold] shows in a minute what it does.",
    epilog="Day one:\n\n"
    "unremember up\n\n"
    'unremember forget add "Harry Potter" --kind work --alias "J. K. Rowling"\n\n'
    'unremember explain "Who wrote Harry Potter?"\n\n'
    'unremember forget withdraw "Harry Potter"',
)
app.add_typer(forget.app, name="forget", rich_help_panel="Forgetting")
app.command(rich_help_panel="Forgetting")(explain.explain)
app.command(rich_help_panel="Forgetting")(pause.pause)
app.command(rich_help_panel="Forgetting")(pause.resume)


def _version(wanted: bool) -> None:
    if wanted:
        terminal.say(f"unremember {version('unremember')}")
        raise typer.Exit


@app.callback()
def _root(
    url: Annotated[
        str | None,
        typer.Option(
            help="Address of the gateway, if it is not the one that the settings describe.", show_default=False
        ),
    ] = None,
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    context.options.url = url.rstrip("/") if url else None


@app.command(
    rich_help_panel="Running",
    epilog="Settings: unremember config. Another model: UNREMEMBER_MODEL=/models/mine unremember up",
)
def up() -> None:
    """Start a model, vLLM and the gateway on this machine; Ctrl-C stops all of it."""
    from server.cli import up as running

    running.up(context.settings())


@app.command(rich_help_panel="Running", epilog="Example: UNREMEMBER_UPSTREAMS=http://10.0.0.7:8000 unremember serve")
def serve() -> None:
    """Run the gateway alone, in front of the vLLM servers in UNREMEMBER_UPSTREAMS."""
    from server.cli import up as running

    running.serve(context.settings())


@app.command(rich_help_panel="Running")
def config(
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object, to compare machines with.")] = False,
) -> None:
    """Show every setting with its effective value, and where that comes from."""
    from server.cli import config as shown

    shown.show(context.settings(), as_json=as_json)


app.add_typer(evaluate.app, name="evaluate", rich_help_panel="Measuring")
app.add_typer(train.app, name="train", rich_help_panel="Training")
app.add_typer(jobs.app, name="jobs", rich_help_panel="Training")
app.command("doctor", rich_help_panel="Running")(doctor.doctor)
app.command("demo", rich_help_panel="Running")(demo.demo)


def run() -> None:
    """Run the command line. What can be expected to go wrong ends with a sentence and status 1."""
    try:
        app()
    except (CliError, SettingsError, AssetError, KeyFileError) as error:
        terminal.complain(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        terminal.complain("Stopped.")
        sys.exit(130)
