"""``nbgov mlflow``: what a person does about MLflow in a terminal.

Loaded when the command is looked up, so it imports MLflow only when it runs.
Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

import click


@click.group()
def mlflow() -> None:
    """Bring MLflow's run pages up to date."""


@mlflow.command()
@click.argument("run_id", required=False, default="")
@click.option("--all", "is_all", is_flag=True, help="Every run that something is kept of.")
@click.pass_context
def sync(ctx: click.Context, run_id: str, is_all: bool) -> None:  # noqa: FBT001 - as click calls it
    """Write what MLflow did not take while its server was away.

    With RUN_ID, that run's page is written again even if nothing was kept of it, which also tags
    model versions that were registered since. Exit 1 when something could not be written; it stays
    kept.
    """
    if bool(run_id) == is_all:
        raise click.UsageError("Name a run, or say --all.")
    import nbgov
    from mlflow_plugin.sync import sync as write_kept

    chosen = ctx.find_root().obj or {}
    failed = 0
    with nbgov.connect(chosen.get("config"), as_=chosen.get("principal")) as session:
        for one in write_kept(session.state, run_id.removeprefix("runs:/")):
            failed += not one.is_written
            click.echo(f"{'written' if one.is_written else 'kept':8}{one.run_id}  {one.told}")
    if failed:
        ctx.exit(1)
