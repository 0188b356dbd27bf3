"""`unremember train`: what makes detection better, offline."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads it)
from typing import Annotated

import typer

from server.admin.jobs import job
from server.assets import encoder_directory
from server.cli import context, terminal
from server.cli.errors import CliError

app = typer.Typer(no_args_is_help=True, help="Train what the gateway uses. Nothing here talks to a gateway.")


@app.callback()
def _group() -> None:
    """With a callback, a group of one command stays a group."""


@app.command(
    epilog="Examples:\n\n"
    "unremember train encoder --out models/tuned\n\n"
    "unremember evaluate detector --data tofu:forget10 --tuned models/tuned\n\n"
    "UNREMEMBER_ENCODER=models/tuned unremember up\n\n"
    "The first start with another encoder calibrates the detector for it, and compiles every request again."
)
def encoder(
    out: Annotated[Path, typer.Option(help="Directory for the tuned encoder. It must not exist.", show_default=False)],
    pairs: Annotated[int, typer.Option(min=100, help="Pairs of questions to tune on.")] = 6_000,
    epochs: Annotated[int, typer.Option(min=1, help="How often each pair is seen.")] = 1,
    batch: Annotated[int, typer.Option(min=2, help="Pairs a step.")] = 16,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="Peak learning rate of AdamW.")] = 2e-5,
    margin: Annotated[
        float, typer.Option(min=0.0, max=2.0, help="Cosine distance that questions about different owners should have.")
    ] = 0.5,
    seed: Annotated[int, typer.Option(help="Draws the pairs and their order: the same seed, the same encoder.")] = 1,
) -> None:
    """Teach the sentence encoder that who is asked about matters, not the wording (CURaTE's recipe).

    Once, before any forget request exists: on paraphrases of invented questions, and on the same questions about
    somebody else. Takes the encoder of the settings, and about ten minutes on a processor.
    """
    if out.exists():
        raise CliError(f"{out} exists already. Choose another directory with --out.")
    settings = context.settings()
    source = encoder_directory(settings)
    tuning = job("tuning")(
        pairs=pairs, epochs=epochs, batch=batch, learning_rate=learning_rate, margin=margin, seed=seed
    )
    with terminal.bars() as progress:
        loss = job("tune-encoder")(
            source,
            out,
            tuning,
            threads=settings.encoder_threads,
            progress=lambda done, total: progress("tuning the encoder, pairs", done, total),
        )
    terminal.say(f"Tuned; the loss ended at {loss:.4f}. To use it: UNREMEMBER_ENCODER={out}")
