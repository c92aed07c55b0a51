"""The app of the server's side: carries letters between the trainer, at a socket of this machine, and the nodes.

The rounds are the trainer's. This process ends with the trainer's connection.
"""

import time
from collections.abc import Iterator
from multiprocessing.connection import Client, Connection

from flwr.app import Context, Message, MessageType
from flwr.serverapp import Grid, ServerApp

from fedmem.nodes.flower.records import letter_of, record_of
from fedmem.nodes.letter import Letter

LOOK = 0.1  # seconds from one look for answers to the next

app = ServerApp()


@app.main()
def carry(grid: Grid, context: Context) -> None:
    """Serve the trainer until it hangs up."""
    with Client(str(context.run_config["socket"]), "AF_UNIX") as trainer:
        try:
            while True:
                _serve(trainer, grid, Letter.from_bytes(trainer.recv_bytes()))
        except (EOFError, ConnectionError):
            return


def _serve(trainer: Connection, grid: Grid, asked: Letter) -> None:
    if asked.facts["ask"] == "nodes":
        trainer.send_bytes(Letter({"nodes": [str(number) for number in grid.get_node_ids()]}).to_bytes())
        return
    letters = {int(number): Letter.from_bytes(trainer.recv_bytes()) for number in asked.facts["nodes"]}
    for number, answer in _answers(grid, letters, float(asked.facts["patience"])):
        reason, content = (answer, b"") if isinstance(answer, str) else _written(answer)
        trainer.send_bytes(Letter({"node": str(number), "reason": reason}).to_bytes())
        if reason is None:
            trainer.send_bytes(content)


def _written(answer: Letter) -> tuple[str | None, bytes]:
    """Write an answer for the trainer, or say why it cannot be: it may hold arrays of text."""
    try:
        return None, answer.to_bytes()
    except Exception as error:  # whatever a node sends, this process goes on with the others
        return f"it is no letter ({type(error).__name__}: {error})", b""


def _answers(grid: Grid, letters: dict[int, Letter], patience: float) -> Iterator[tuple[int, Letter | str]]:
    """Send letters, and yield for each node, as it comes, its answer or why there is none."""
    sent = [Message(record_of(x), number, MessageType.QUERY, ttl=patience) for number, x in letters.items()]
    waiting = dict(zip(grid.push_messages(sent), letters, strict=True))
    deadline = time.monotonic() + patience
    while waiting and time.monotonic() < deadline:
        for reply in grid.pull_messages(list(waiting)):
            number = waiting.pop(reply.metadata.reply_to_message_id)
            yield number, _read(reply)
        time.sleep(LOOK)
    yield from ((number, f"none came within {patience:g} seconds") for number in waiting.values())


def _read(reply: Message) -> Letter | str:
    if reply.has_error():
        return f"{reply.error.reason} (Flower's error {reply.error.code})"
    try:
        return letter_of(reply.content)
    except ValueError as error:
        return str(error)
