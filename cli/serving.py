"""``fedmem serve``."""

from pathlib import Path
from urllib.parse import quote

from backend import server
from backend.app import create_app
from backend.logs import log_to_stderr
from backend.settings import Settings
from cli.screen import notes
from fedmem.serving import Recommender


def run_serve(run: Path | None, host: str | None, port: int | None) -> None:
    """Answer until Ctrl-C: from one run, or from the database."""
    settings = Settings.load(host=host, port=port)
    with server.listen(settings.host, settings.port) as listener:
        recommender = None if run is None else Recommender.load(run)
        app = create_app(settings, recommender)
        log_to_stderr()
        address = f"http://{settings.host}:{listener.getsockname()[1]}"
        if recommender is not None:
            user = quote(recommender.dataset.vocabulary.users[0])
            notes.print(f"serving {recommender.model_version} until Ctrl-C")
            notes.print(f"  {address}/recommend/{user}?k=10\n  {address}/docs")
        else:
            notes.print(f"serving what is in the database until Ctrl-C\n  {address}/docs\n  {address}/health/ready")
        server.serve(app, listener)
