"""``fedmem serve``, ``trainer`` and ``dashboard``: one service in the foreground."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from cli.options import DatabaseUrl

if TYPE_CHECKING:
    from backend.node_follower import NodeFollower
    from backend.served_model import ServedModel

LOG = logging.getLogger(__name__)


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
    node: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            help="Answer the users of this file or folder, of a node of the run: its own users, on its own machine.",
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(help="The node's store, with what its users remember; without it, histories are replayed."),
    ] = None,
) -> None:
    """Answer over HTTP: one run's model, or everything that is in the database of DATABASE_URL.

    .env.example lists the settings. Beyond this machine it listens only with FEDMEM_API_KEY.
    """
    from backend import server
    from backend.settings import Settings

    _check_node(run, node, store)
    settings = Settings.load(host=host, port=port)
    with server.listen(settings.host, settings.port) as listener:
        # Only now, because these take seconds: what is wrong above is said at once.
        from backend.app import create_app
        from backend.logs import SaidToCallers
        from backend.node_follower import NodeFollower
        from fedmem.logs import log_to_stderr

        found = None if run is None else _model_of_run(run, node, store)
        app = create_app(settings, found)
        model = found.model if isinstance(found, NodeFollower) else found
        log_to_stderr("backend" if node is None else "node", SaidToCallers())
        address = f"http://{settings.host}:{listener.getsockname()[1]}"
        if model is not None:
            known = (*model.recommender.dataset.vocabulary.known_users, *model.new_interactions.users)
            user = quote(next(iter(known), "unknown"))
            LOG.info("serving %s until Ctrl-C: %s/recommend/%s?k=10", model.version, address, user)
        else:
            LOG.info("serving what is in the database until Ctrl-C: %s/health/ready", address)
        LOG.info("what can be asked is listed at %s/docs", address)
        server.serve(app, listener)


def _check_node(run: Path | None, node: Path | None, store: Path | None) -> None:
    if node is not None and run is None:
        raise typer.BadParameter("--node DATA needs DIR, the folder of the run whose model is to answer")
    if store is not None and node is None:
        raise typer.BadParameter("--store DIR needs --node DATA, the file or folder with the node's users")


def _model_of_run(run: Path, node: Path | None, store: Path | None) -> "ServedModel | NodeFollower":
    """Load a run's best model, for the run's users or, as their data and it change, for those of one of its nodes."""
    from backend.node_follower import NodeFollower
    from backend.served_model import ServedModel
    from fedmem.serving import NodeModel, Recommender

    if node is None:
        return ServedModel.of_run(Recommender.load_to_answer(run))
    data = node

    def read() -> ServedModel:
        found = NodeModel.load(run, data, store)
        return ServedModel.of_run(found.recommender, found.since)

    return NodeFollower.begun(read, [run, data])


def trainer(
    database_url: DatabaseUrl = None,
    until_idle: Annotated[bool, typer.Option("--until-idle", help="End when no job is left.")] = False,
) -> None:
    """Claim queued jobs and train them, until Ctrl-C. Settings come from the environment, see .env.example."""
    from fedmem.logs import log_to_stderr
    from trainer.settings import Settings

    settings = Settings.load(database_url=database_url)
    log_to_stderr("trainer")
    from trainer.worker import serve_jobs  # only now, because it takes seconds: what is wrong above is said at once

    serve_jobs(settings, until_idle=until_idle)


def dashboard() -> None:
    """Serve the dashboard, until Ctrl-C. Settings come from the environment, see .env.example."""
    from dashboard.__main__ import main

    main()
