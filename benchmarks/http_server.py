"""``python -m benchmarks.http_server``: the backend as it is and, in the same application, what it is measured against.

GET /bench/hello  FastAPI's first example. It is the first route that a path is compared with.
GET /bench/cpu    CPU seconds of this process so far, of all its threads.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as python -m backend

import time

from fastapi import FastAPI

from backend.app import create_app
from backend.logs import SaidToCallers
from backend.server import listen, serve
from backend.settings import Settings
from fedmem.logs import log_to_stderr

HELLO, CPU = "/bench/hello", "/bench/cpu"


def with_peers(app: FastAPI) -> FastAPI:
    """Add the two routes to the application, before its own."""
    for path, answer in ((CPU, cpu), (HELLO, hello)):
        # response_model=None is what leaving the annotation out means: the answer is not validated.
        app.add_api_route(path, answer, response_model=None, include_in_schema=False)
        app.router.routes.insert(0, app.router.routes.pop())
    return app


async def hello() -> dict[str, str]:
    """Answer as FastAPI's first example does."""
    return {"message": "Hello World"}


async def cpu() -> float:
    """Return this process's CPU seconds, with those of the threads that query the database."""
    return time.process_time()


def main() -> None:
    """Run as ``python -m backend`` does."""
    log_to_stderr("backend", SaidToCallers())
    settings = Settings.load()
    serve(with_peers(create_app(settings)), listen(settings.host, settings.port))


if __name__ == "__main__":
    main()
