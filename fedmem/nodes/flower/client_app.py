"""The app of a node: hands each message to the same ``Node``, a process for every message.

``--node-config`` says who the node is: ``name``, ``data`` (a file or folder) and ``store`` (a folder). With
``minimum_nodes`` its owner takes part in secure sums alone, of so many nodes at least.
"""

from pathlib import Path

import torch
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedmem.nodes.flower.records import letter_of, record_of
from fedmem.nodes.letter import Letter
from fedmem.nodes.node import Node

NEEDED = {
    "name": "how the node is called",
    "data": "a file or folder of interactions",
    "store": "a folder in which the node keeps what its clients remember",
}

app = ClientApp()


@app.query()
def answer(message: Message, context: Context) -> Message:
    """Answer one letter."""
    torch.set_num_threads(1)
    try:
        node, letter = _node(context), letter_of(message.content)
    except ValueError as error:  # of how the node was started, or of what the server sent
        answered = Letter({"error": str(error)})
    else:
        answered = node.answer(letter)
    return Message(record_of(answered), reply_to=message)


def _node(context: Context) -> Node:
    given = context.node_config
    for key, what in NEEDED.items():
        if not given.get(key):
            raise ValueError(f'--node-config lacks {key}, {what}: --node-config \'name="a" data=".." store=".."\'')
    least = given.get("minimum_nodes")
    if least is not None and (not isinstance(least, int) or least < 3):
        raise ValueError(f"minimum_nodes = {least!r} of --node-config is to be a whole number, 3 or more")
    return Node(str(given["name"]), Path(str(given["data"])), Path(str(given["store"])), least)
