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
        counted = _Counted(config, data)
        return cls(counted.memory, counted.disk)

    def __str__(self) -> str:
        return f"{shown(self.memory)} of memory and {shown(self.disk)} of disk"


def shown(count: float) -> str:
    """Write bytes for people.

    >>> shown(3 * 2**30), shown(250 * 2**20)
    ('3.0 GiB', '250 MiB')
    """
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / MIB:,.0f} MiB"


@dataclass(frozen=True)
class _Counted:
    """Counts a job's numbers; ``memory`` and ``disk`` are bytes."""

    config: ExperimentConfig
    data: DataSize

    @property
    def memory(self) -> int:
        process = PROCESS + FLOAT * (
            HOST * self.parameters + self.chunk + self.evaluation + self.features + self.masked
        )
        gathered = self.round_clients * self.parameters if self.config.gathers_changes else 0
        others = self.config.workers if self.config.workers > 1 else 0
        return FLOAT * (STATE * self.parameters + gathered) + (1 + others) * process

    @property
    def disk(self) -> int:
        """Count the checkpoints that are kept at once, the memories that train, and the snapshot."""
        config, data, memories = self.config, self.data, 0
        if config.uses_memory:
            filled = min(config.fedmem.memory_capacity, max(1, data.interactions // max(data.users, 1)))
            memories = data.users * filled * (ENTRY + FLOAT * config.model.sasrec_hidden_dim)
        kept = min(config.federated.num_rounds, config.save_interval + 2)
        snapshot = FLOAT * (self.features + data.interactions)
        return kept * STORED * FLOAT * self.parameters + 3 * memories + snapshot

    @property
    def parameters(self) -> int:
        return self.dense + self.items

    @property
    def dense(self) -> int:
        """Count the parameters beside the item embeddings."""
        model, dim = self.config.model, self.config.model.sasrec_hidden_dim
        experts = 3 * (2 * dim * dim + 3 * dim * model.retriever_output_dim) if self.config.uses_retriever else 0
        return 6 * model.sasrec_num_blocks * dim * dim + model.max_seq_len * dim + experts

    @property
    def items(self) -> int:
        return (self.data.items + 1) * self.config.model.sasrec_hidden_dim

    @property
    def features(self) -> int:
        asked = self.config.features
        text = 0 if asked.text == "off" else self.config.model.text_embedding_dim or TEXT_DIM
        image = IMAGE_DIM if asked.image == "required" else 0
        return (self.data.items + 1) * (text + image)

    @property
    def chunk(self) -> int:
        """Count what a chunk of clients holds in a step: activations and, of several steps, each client's own model.

        On another device than the CPU it is that device that holds them.
        """
        config, data = self.config, self.data
        if not config.on_a_cpu:
            return 0
        model, training = config.model, config.training
        longest = max(1, min(config.data.max_history, data.interactions // max(data.users, 1)))
        clients = min(config.clients_together, self.round_clients)
        tokens = clients * min(longest, training.batch_size or longest)
        vectors = BLOCK_ACTIVATIONS * model.sasrec_num_blocks + OTHER_ACTIVATIONS
        held = tokens * vectors * model.sasrec_hidden_dim
        if config.is_fedsgd and not config.gathers_changes:
            return held
        own_rows = self.items if training.loss == "full_softmax" else longest * model.sasrec_hidden_dim
        return held + OWN * clients * (self.dense + own_rows)

    @property
    def round_clients(self) -> int:
        return self.config.federated.cohort_size(self.data.users)

    @property
    def masked(self) -> int:
        """Count the masked words of all pairs of items, of a client, a chunk and the cohort."""
        masks = self.config.secure_sums.enabled and self.config.uses_transitions
        return 3 * (self.data.items + 1) ** 2 if masks else 0

    @property
    def evaluation(self) -> int:
        return min(EVALUATED_TOGETHER, self.data.users) * (self.data.items + 1)
