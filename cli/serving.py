"""``fedmem serve``, ``trainer`` and ``dashboard``: one service in the foreground."""

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from cli.options import DatabaseUrl
from cli.screen import notes


def serve(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]", help="A directory that `fedmem train` wrote; without it, the database's models."
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one. Default FEDMEM_PORT.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default FEDMEM_HOST.")] = None,
) -> None:
    """Answer over HTTP: one run's model, or everything that is in the database of DATABASE_URL.

    .env.example lists the settings. Beyond this machine it listens only with FEDMEM_API_KEY.
    """
    from backend import server
    from backend.settings import Settings

    settings = Settings.load(host=host, port=port)
    with server.listen(settings.host, settings.port) as listener:
        # Only now, because these take seconds: what is wrong above is said at once.
        from backend.app import create_app
        from backend.logs import log_to_stderr
        from fedmem.serving import Recommender

        recommender = None if run is None else Recommender.load_to_answer(run)
        app = create_app(settings, recommender)
        log_to_stderr()
        address = f"http://{settings.host}:{listener.getsockname()[1]}"
        if recommender is not None:
            user = quote(next(iter(recommender.dataset.vocabulary.known_users), "unknown"))
            notes.print(f"serving {recommender.model_version} until Ctrl-C")
            notes.print(f"  {address}/recommend/{user}?k=10\n  {address}/docs")
        else:
            notes.print(f"serving what is in the database until Ctrl-C\n  {address}/docs\n  {address}/health/ready")
        server.serve(app, listener)


def trainer(
    database_url: DatabaseUrl = None,
    until_idle: Annotated[bool, typer.Option("--until-idle", help="End when no job is left.")] = False,
) -> None:
    """Claim queued jobs and train them, until Ctrl-C. Settings come from the environment, see .env.example."""
    from trainer.settings import Settings

    settings = Settings.load(database_url=database_url)
    from trainer.worker import serve_jobs  # only now, because it takes seconds: what is wrong above is said at once

    serve_jobs(settings, until_idle=until_idle)


def dashboard() -> None:
    """Serve the dashboard, until Ctrl-C. Settings come from the environment, see .env.example."""
    from dashboard.__main__ import main

    main()
