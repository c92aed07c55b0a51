"""One client's round as the paper's pseudocode has it, with the objective and the memory of this folder.

It shares with the product what is drawn (segments, negatives, dropout masks), the model and torch's optimisers; neither
the step, nor the writing of memories, nor the distilling of prototypes for many clients.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from fedmem.config import ExperimentConfig
from fedmem.data.client_dataset import ClientDataset
from fedmem.federated.distributions import CLIENT_LOSS, SURPRISE
from fedmem.federated.dropout import chunk_dropout, dropout_generator
from fedmem.federated.local_optimizer import local_optimizer
from fedmem.federated.local_steps import LocalStep, LocalSteps
from fedmem.federated.messages import Broadcast, ClientUpdate
from fedmem.federated.parameters import load_parameters, parameter_arrays, prototype_vectors
from fedmem.federated.sums import Mean, Sum, Total
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.prototypes import FrozenItemBlocks, Prototypes, distil
from fedmem.memory.transitions import TransitionCounts
from fedmem.modality import Modality
from fedmem.model.recommender import UR4RecV2MoE
from fedmem.randomness import numpy_generator
from tests.reference.memory import SlowMemory
from tests.reference.objective import Reading, collate, local_objective
from tests.reference.transitions import slow_counts

ID = Modality.SEQUENTIAL


@dataclass
class SlowClient:
    """One user's device."""

    user: int
    data: ClientDataset
    memory: SlowMemory
    config: ExperimentConfig
    features: FrozenItemBlocks
    preference: npt.NDArray[np.float32] | None = None

    def participate(self, model: UR4RecV2MoE, broadcast: Broadcast) -> ClientUpdate:
        """One round: receive, train, remember, distil, and what is sent back."""
        load_parameters(model, broadcast.parameters)
        metrics = self.train(model, broadcast)
        delta = {name: value - broadcast.parameters[name] for name, value in parameter_arrays(model).items()}
        return ClientUpdate(len(self.data.history), delta, self.prototypes(broadcast.global_memory), metrics)

    def transitions(self) -> TransitionCounts:
        """What followed what in the whole history; this client has not handed on anything before."""
        history, window = self.data.history.tolist(), self.config.transitions.window
        return slow_counts(history, self.data.num_items, window)

    def train(self, model: UR4RecV2MoE, broadcast: Broadcast) -> Mapping[str, Sum]:
        """Local epochs over the client's own data; writes the memory and returns the sums of its metrics."""
        optimizer = local_optimizer(list(model.parameters()), self.config.training)
        prototypes = prototype_vectors(broadcast.global_memory, model.sasrec.item_embedding)
        start = [p.detach().clone() for p in model.parameters()] if self._proximal else []
        metrics: dict[str, Sum] = {}
        for number, reading in enumerate(self.readings(broadcast.round)):
            step = reading.step
            batch = collate([reading], prototypes, model.sasrec.item_embedding, model.text_dim)
            generator = dropout_generator(self.config.seed, broadcast.round, self.user, number)
            real = torch.from_numpy(step.items > 0).to(batch.items.device)
            drop = chunk_dropout([generator], [int(real.sum())], real)
            losses = local_objective(model, batch, self.config, drop)
            optimizer.zero_grad()
            (losses.total / step.num_samples + self._proximal_term(model, start)).backward()
            fill_gradients(model)
            written = self.remember(step, losses.surprise, losses.embedding, broadcast.round)
            means = {name: Mean(value, step.num_samples) for name, value in losses.metrics().items()}
            for name, found in {**means, **written}.items():
                metrics[name] = metrics[name] + found if name in metrics else found
            optimizer.step()
        mean_loss = metrics["recommendation_loss"].report("loss")["loss"]
        metrics["client_loss"] = CLIENT_LOSS.counts(np.array([mean_loss]))
        if self.config.uses_memory:
            metrics["memory_occupancy_mean"] = Mean(len(self.memory), 1)
        return metrics

    def prototypes(self, start: Prototypes | None) -> Prototypes | None:
        """The memory distilled into K (sum, count) pairs; None where prototypes take no part."""
        if start is None:
            return None
        found = self.memory.entries()
        blocks = {b: v[found.items] for b, v in self.features.vectors.items()} | {ID: found.id_embedding}
        masks = {b: m[found.items] for b, m in self.features.masks.items()} | {ID: np.ones(len(found), bool)}
        return distil(blocks, masks, start)

    def readings(self, round_number: int) -> Iterator[Reading]:
        """The local steps of a round; each reads the memory as it stands when its turn comes."""
        for step in LocalSteps.of(self.config).draw(round_number, self.user, self.data):
            if self.config.uses_memory:
                yield Reading(step, self.memory.entries(), self.preference)
            else:
                yield Reading(step)

    def remember(
        self,
        step: LocalStep,
        surprise: npt.NDArray[np.float32],
        embedding: npt.NDArray[np.float32],
        round_number: int,
    ) -> dict[str, Sum]:
        """Write the surprising items of a step into the memory; the step's metric sums."""
        chosen = step.chosen
        items = step.items[chosen]
        index = np.add.outer(step.start, np.arange(chosen.shape[1]))[chosen].astype(np.int32)
        surprise, embedding = (values[:, : chosen.shape[1]][chosen] for values in (surprise, embedding))
        if not self.config.uses_memory:
            return {}
        written = evicted = 0
        if round_number >= self.config.fedmem.warmup_rounds:
            entries = MemoryEntries(items, index, np.ones_like(items), surprise, embedding)
            written, evicted = self._write(entries, round_number)
        return {
            "surprise_mean": Mean(float(surprise.sum()), len(items)),
            "surprise": SURPRISE.counts(surprise),
            "memory_updates": Total(written),
            "memory_evictions": Total(evicted),
            "memory_written_fraction": Mean(written, len(items)),
        }

    def _write(self, entries: MemoryEntries, round_number: int) -> tuple[int, int]:
        """By the gate or, for the control policies, random or the last positions whatever their surprise."""
        if self.config.fedmem.memory_policy == "surprise":
            last = len(self.data.history) - 1
            return self.memory.update(entries.items, entries.index, entries.surprise, entries.id_embedding, last)
        wanted = min(self.config.fedmem.memory_capacity, len(entries))
        which = np.arange(len(entries))[len(entries) - wanted :]
        if self.config.fedmem.memory_policy == "random":
            rng = numpy_generator(self.config.seed, "random memory", round_number, self.user)
            which = rng.permutation(len(entries))[:wanted]
        self.memory.restore(entries.take(which).last_of_each_item())
        return wanted, 0

    @property
    def _proximal(self) -> bool:
        return self.config.federated.aggregation_method == "fedprox"

    def _proximal_term(self, model: UR4RecV2MoE, start: list[torch.Tensor]) -> torch.Tensor | float:
        """(μ/2)·‖θ − θ_global‖² (Li et al., MLSys 2020)."""
        squares = [(p - p0).square().sum() for p, p0 in zip(model.parameters(), start, strict=False)]
        return self.config.federated.fedprox_mu / 2 * sum(squares) if start else 0.0


def fill_gradients(model: UR4RecV2MoE) -> None:
    """Zero for parameters that a step did not read (no memory, no preference text): weight decay holds for all."""
    for parameter in model.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
