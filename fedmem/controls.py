"""Controls of a trained model: what it ranks when a part of what it reads is emptied, shuffled or random.

If the metrics do not move, the part is decor.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from fedmem.checkpoint import Checkpoint, Snapshot
from fedmem.federated.transition_release import readable_transitions
from fedmem.memory.count_sketch import alike, as_pairs
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.prototypes import FloatArray, Prototypes
from fedmem.memory.transitions import TransitionCounts
from fedmem.modality import Modality
from fedmem.randomness import numpy_generator
from fedmem.serving import Recommender


def control_recommenders(snapshot: Snapshot, checkpoint: Checkpoint) -> dict[str, Recommender]:
    """Return the trained model and the same parameters reading something else, by name."""
    controls = {"trained model": Recommender.of(snapshot, checkpoint, "trained model")}
    if snapshot.config.uses_memory:
        another = _memory_of_another(snapshot.config.seed, checkpoint.memories)
        controls["empty local memory"] = Recommender.of(snapshot, checkpoint, "empty", lambda user: None)
        controls["another user's memory"] = Recommender.of(snapshot, checkpoint, "another", another)
    prototypes = checkpoint.server.global_memory
    if snapshot.config.uses_prototypes and prototypes is not None:
        random = random_prototypes(prototypes, numpy_generator(snapshot.config.seed, "random prototypes"))
        without = _with_prototypes(checkpoint, None)
        controls["empty prototypes"] = Recommender.of(snapshot, without, "empty prototypes")
        controls["random prototypes"] = Recommender.of(
            snapshot, _with_prototypes(checkpoint, random), "random prototypes"
        )
    else:
        without = checkpoint
    if snapshot.config.uses_transitions and readable_transitions(snapshot.config, checkpoint.server) is not None:
        controls |= _transition_controls(snapshot, checkpoint)
        without = with_transitions(without, None)
    if without is not checkpoint:
        controls["no memory at all"] = Recommender.of(snapshot, without, "no memory", lambda user: None)
    return controls


def _transition_controls(snapshot: Snapshot, checkpoint: Checkpoint) -> dict[str, Recommender]:
    """Read no transitions, those of another item, such as lead elsewhere, and all with one weight."""
    readable = readable_transitions(snapshot.config, checkpoint.server)
    assert readable is not None, "there are some"
    counts = as_pairs(readable, snapshot.config.transitions)
    drawn = numpy_generator(snapshot.config.seed, "shuffled transitions").permutation(counts.num_items) + 1
    other = np.concatenate([[0], drawn])
    changed = {
        "no transitions": None,
        "shuffled transition rows": alike(replace(counts, pairs=counts.pairs[other]), readable),
        "random transitions": alike(replace(counts, pairs=counts.pairs[:, other]), readable),
    }
    controls = {name: Recommender.of(snapshot, with_transitions(checkpoint, c), name) for name, c in changed.items()}
    if set(checkpoint.server.short_strengths.values()) - {checkpoint.server.strength}:
        one = replace(checkpoint, server=replace(checkpoint.server, short_strengths={}))
        controls["one weight for all histories"] = Recommender.of(snapshot, one, "one weight")
    return controls


def _memory_of_another(seed: int, memories: Mapping[int, MemoryEntries]) -> Callable[[int], MemoryEntries | None]:
    """Give every user another user's memory, all of it readable whatever the length of their own history."""
    owners = numpy_generator(seed, "shuffled memories").permutation(sorted(memories))

    def memory_of(user: int) -> MemoryEntries | None:
        others = owners[owners != user]
        if not len(others):
            return None
        entries = memories[int(others[user % len(others)])]
        return replace(entries, index=np.full_like(entries.index, -1))

    return memory_of


def random_prototypes(prototypes: Prototypes, rng: np.random.Generator) -> Prototypes:
    """Draw prototypes of the same masses and lengths that point in random directions."""

    def redirect(block: Modality) -> FloatArray:
        old = prototypes.sums[block]
        drawn = rng.standard_normal(old.shape).astype(old.dtype)
        length = np.linalg.norm(old, axis=1, keepdims=True)
        redirected: FloatArray = drawn * length / np.linalg.norm(drawn, axis=1, keepdims=True)
        return redirected

    return Prototypes({block: redirect(block) for block in prototypes.blocks}, prototypes.counts)


def with_transitions(checkpoint: Checkpoint, transitions: TransitionCounts | None) -> Checkpoint:
    """Return a checkpoint that reads another transition memory, released or not, or none."""
    released = None if checkpoint.server.released is None else transitions
    return replace(checkpoint, server=replace(checkpoint.server, transitions=transitions, released=released))


def _with_prototypes(checkpoint: Checkpoint, prototypes: Prototypes | None) -> Checkpoint:
    return replace(checkpoint, server=replace(checkpoint.server, global_memory=prototypes))
