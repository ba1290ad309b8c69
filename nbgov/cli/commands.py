"""The ``nbgov`` group itself: its options, its exit codes, and what its commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import click

from nbgov.errors import ApprovalNeeded, BackendFailed, NbgovError

F = TypeVar("F", bound=Callable[..., Any])
GROUP = "nbgov.commands"
EXIT_PENDING = 3
EXIT_INTERRUPTED = 130


class Commands(click.Group):
    """A group that shows nbgov's errors without a stack, and has commands of other packages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of our own commands and of those that the entry points name."""
        return sorted({*super().list_commands(ctx), *points()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command; one of another package is imported when it is asked for."""
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name not in points():
            return own
        try:
            loaded = points()[cmd_name].load()
        except ImportError:
            return None  # A broken plugin costs its own command and no other.
        return loaded if isinstance(loaded, click.Command) else None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours ends the process with its own text and exit code."""
        try:
            return super().invoke(ctx)
        except ApprovalNeeded as error:
            click.echo(error.render(), err=True)
            ctx.exit(EXIT_PENDING)
        except NbgovError as error:
            click.echo(error.render(), err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(EXIT_INTERRUPTED)


@cache
def points() -> Mapping[str, metadata.EntryPoint]:
    """The commands that installed packages add, by name; finding them reads many files."""
    return {point.name: point for point in metadata.entry_points(group=GROUP)}


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nbgov")
@click.option(
    "--config",
    metavar="PATH",
    help="The nbgov.yaml, or its folder. Default: $NBGOV_CONFIG, else the nearest one above.",
)
@click.option("--as", "principal", metavar="NAME", help="Act as this declared principal.")
@click.pass_context
def main(ctx: click.Context, config: str | None, principal: str | None) -> None:
    """Governed SQL: policy, masking, approvals, audit, and the data behind each model."""
    ctx.obj = {"config": config, "principal": principal}


def with_session(command: F) -> F:
    """Give a command the session that the group's options and its own ``--as`` ask for."""

    @click.option("--as", "principal", metavar="NAME", help="Act as this declared principal.")
    @click.pass_context
    def run(ctx: click.Context, /, principal: str | None, **options: Any) -> Any:
        from nbgov.session import connect

        wanted = principal or ctx.obj["principal"]
        with connect(ctx.obj["config"], as_=wanted) as session:
            return command(session, **options)

    run.__doc__ = command.__doc__
    run.__name__ = command.__name__
    return run  # type: ignore[return-value]  # the decorators return a function of another shape


def write_file(path: str, data: bytes) -> None:
    """Write a file.

    Raises:
        BackendFailed: It cannot be written (``file-unwritable``).
    """
    try:
        Path(path).write_bytes(data)
    except OSError as error:
        raise BackendFailed(
            f"{Path(path).name} cannot be written.",
            code="file-unwritable",
            why=error.strerror or type(error).__name__,
            next_step="name a file in a folder that exists and that you may write to",
        ) from error
