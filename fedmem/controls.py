"""Controls of a trained model: what it ranks when a part of what it reads is emptied, shuffled or random.

If the metrics do not move, the part is decor.
"""

from dataclasses import replace

import numpy as np

from fedmem.checkpoint import Checkpoint, Snapshot
from fedmem.memory.prototypes import FloatArray, Prototypes
from fedmem.randomness import numpy_generator
from fedmem.serving import Recommender


def control_recommenders(snapshot: Snapshot, checkpoint: Checkpoint) -> dict[str, Recommender]:
    """The trained model and the same parameters reading something else, by name."""
    seed, memories = snapshot.config.seed, checkpoint.memories
    variants = {"trained model": checkpoint}
    if snapshot.config.uses_memory:
        shuffled = numpy_generator(seed, "shuffled memories").permutation(sorted(memories))
        variants["empty local memory"] = replace(checkpoint, memories={})
        variants["another user's memory"] = replace(
            checkpoint, memories={int(a): memories[int(b)] for a, b in zip(sorted(memories), shuffled, strict=True)}
        )
    prototypes = checkpoint.server.global_memory
    if snapshot.config.uses_prototypes and prototypes is not None:
        random = random_prototypes(prototypes, numpy_generator(seed, "random prototypes"))
        variants["empty prototypes"] = _with_prototypes(checkpoint, None)
        variants["random prototypes"] = _with_prototypes(checkpoint, random)
        variants["no memory at all"] = replace(_with_prototypes(checkpoint, None), memories={})
    return {name: Recommender(snapshot, variant, name) for name, variant in variants.items()}


def random_prototypes(prototypes: Prototypes, rng: np.random.Generator) -> Prototypes:
    """Prototypes of the same masses and lengths that point in random directions."""

    def redirect(block: str) -> FloatArray:
        old = prototypes.sums[block]
        drawn = rng.standard_normal(old.shape).astype(old.dtype)
        length = np.linalg.norm(old, axis=1, keepdims=True)
        redirected: FloatArray = drawn * length / np.linalg.norm(drawn, axis=1, keepdims=True)
        return redirected

    return Prototypes({block: redirect(block) for block in prototypes.blocks}, prototypes.counts)


def _with_prototypes(checkpoint: Checkpoint, prototypes: Prototypes | None) -> Checkpoint:
    return replace(checkpoint, server=replace(checkpoint.server, global_memory=prototypes))
