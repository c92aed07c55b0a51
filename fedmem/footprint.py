"""What a training job takes of a machine, estimated from its configuration and its data's size before it begins.

The estimate counts arrays by their shapes. It is there to tell what cannot fit from what can, so it errs on the low
side: what it refuses is too large, and what it lets pass may be refused by the machine still.
"""

from dataclasses import dataclass

from fedmem.config import ExperimentConfig

MIB = 2**20
FLOAT = 4  # bytes
PROCESS = 300 * MIB  # the interpreter with its libraries
STATE = 12  # copies of the parameters: two states of four kinds each, sums, what is written
HOST = 5  # of a process that trains: the model, its gradients, the one that evaluates, a broadcast, a change
OWN = 3  # of a client that takes several steps: its copy, gradients, one moment
STORED = 4  # in a checkpoint: parameters, their average, two moments
BLOCK_ACTIVATIONS, OTHER_ACTIVATIONS = 8, 8  # vectors of a token that a step holds, per block and beside the blocks
EVALUATED_TOGETHER = 256
TEXT_DIM, IMAGE_DIM = 384, 512  # of the default encoders
ENTRY = 16  # bytes of a memory's entry beside its embedding


@dataclass(frozen=True)
class DataSize:
    """How large a data set is."""

    users: int
    items: int
    interactions: int


@dataclass(frozen=True)
class Footprint:
    """Bytes that a job takes at its peak: of memory, all its processes together, and of disk."""

    memory: int
    disk: int

    @classmethod
    def of(cls, config: ExperimentConfig, data: DataSize) -> "Footprint":
        """Estimate a job's peak."""
        parameters = _dense(config) + _items(config, data)
        process = PROCESS + FLOAT * (
            HOST * parameters
            + _chunk(config, data)
            + _evaluation(data)
            + _features(config, data)
            + _masked(config, data)
        )
        gathered = _round_clients(config, data) * parameters if config.gathers_changes else 0
        others = config.workers if config.workers > 1 else 0
        return cls(FLOAT * (STATE * parameters + gathered) + (1 + others) * process, _disk(config, data, parameters))

    def __str__(self) -> str:
        return f"{shown(self.memory)} of memory and {shown(self.disk)} of disk"


def shown(count: float) -> str:
    """Write bytes for people.

    >>> shown(3 * 2**30), shown(250 * 2**20)
    ('3.0 GiB', '250 MiB')
    """
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / MIB:,.0f} MiB"


def _dense(config: ExperimentConfig) -> int:
    """Count the parameters beside the item embeddings."""
    model, dim = config.model, config.model.sasrec_hidden_dim
    experts = 3 * (2 * dim * dim + 3 * dim * model.retriever_output_dim) if config.uses_retriever else 0
    return 6 * model.sasrec_num_blocks * dim * dim + model.max_seq_len * dim + experts


def _items(config: ExperimentConfig, data: DataSize) -> int:
    return (data.items + 1) * config.model.sasrec_hidden_dim


def _features(config: ExperimentConfig, data: DataSize) -> int:
    text = 0 if config.features.text == "off" else config.model.text_embedding_dim or TEXT_DIM
    image = IMAGE_DIM if config.features.image == "required" else 0
    return (data.items + 1) * (text + image)


def _chunk(config: ExperimentConfig, data: DataSize) -> int:
    """Count what a chunk of clients holds in a step: activations and, of several steps, each client's own model.

    On another device than the CPU it is that device that holds them.
    """
    if not config.on_a_cpu:
        return 0
    model, federated, training = config.model, config.federated, config.training
    longest = max(1, min(config.data.max_history, data.interactions // max(data.users, 1)))
    clients = min(config.clients_together, _round_clients(config, data))
    tokens = clients * min(longest, training.batch_size or longest)
    vectors = BLOCK_ACTIVATIONS * model.sasrec_num_blocks + OTHER_ACTIVATIONS
    held = tokens * vectors * model.sasrec_hidden_dim
    single = training.optimizer == "sgd" and training.batch_size is None and federated.local_epochs == 1
    if single and not federated.row_normalisation and not config.gathers_changes:
        return held
    own_rows = _items(config, data) if training.loss == "full_softmax" else longest * model.sasrec_hidden_dim
    return held + OWN * clients * (_dense(config) + own_rows)


def _round_clients(config: ExperimentConfig, data: DataSize) -> int:
    return max(1, round(config.federated.client_fraction * data.users))


def _masked(config: ExperimentConfig, data: DataSize) -> int:
    """Count the masked words of all pairs of items, of a client, a chunk and the cohort."""
    return 3 * (data.items + 1) ** 2 if config.secure_sums.enabled and config.uses_transitions else 0


def _evaluation(data: DataSize) -> int:
    return min(EVALUATED_TOGETHER, data.users) * (data.items + 1)


def _disk(config: ExperimentConfig, data: DataSize, parameters: int) -> int:
    """Count the checkpoints that are kept at once, the memories that train, and the snapshot."""
    memories = 0
    if config.uses_memory:
        filled = min(config.fedmem.memory_capacity, max(1, data.interactions // max(data.users, 1)))
        memories = data.users * filled * (ENTRY + FLOAT * config.model.sasrec_hidden_dim)
    kept = min(config.federated.num_rounds, config.save_interval + 2)
    snapshot = FLOAT * (_features(config, data) + data.interactions)
    return kept * STORED * FLOAT * parameters + 3 * memories + snapshot
