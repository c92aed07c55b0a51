"""What a server sees of recorded clients where sums are secure: masked words, and the decoded sum of a cohort."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fedmem.attacks.recorded import RecordedClient, RecordedCohort
from fedmem.config import ExperimentConfig
from fedmem.federated.aggregation import weighted
from fedmem.federated.encodings import transition_counts
from fedmem.federated.masking import masked_transitions, masked_updates
from fedmem.federated.messages import ClientUpdate, MaskedSum, Session, UpdateSum
from fedmem.federated.secure_aggregation import MaskingPopulation, SecureAggregation, added, read_update
from fedmem.memory.transitions import TransitionCounts


class SecuredCohorts:
    """Makes of what clients would send in the clear what crosses, in sessions as rounds have them.

    Args:
        config: the run's configuration.
        population: its clients.
    """

    def __init__(self, config: ExperimentConfig, population: MaskingPopulation) -> None:
        # What cohorts smaller than a run may have betray is to be seen, too.
        small = config.secure_sums.model_copy(update={"minimum_cohort": 2})
        self.config = config.model_copy(update={"secure_sums": small})
        self.secure = SecureAggregation(self.config, population)

    def seen(self, number: int, clients: Sequence[RecordedClient]) -> RecordedCohort:
        """Let the clients of cohort ``number`` mask what they send: their words, read as numbers, and their sum."""
        total, updates = self._updates("attacked updates", number, clients)
        _, again = self._updates("attacked updates of the next round", number, clients)
        transitions, counts = self._transitions(number, clients)
        seen = tuple(
            replace(client, update=update, again=later, transitions=one)
            for client, update, later, one in zip(clients, updates, again, counts, strict=True)
        )
        return RecordedCohort(seen, total.with_transitions(transitions, 0.0))

    def _updates(
        self, purpose: str, number: int, clients: Sequence[RecordedClient]
    ) -> tuple[UpdateSum, list[ClientUpdate]]:
        session = self._session(purpose, number, clients)
        sent = [client.update if purpose == "attacked updates" else client.again for client in clients]
        masked = [
            masked_updates(self.config.secure_sums, self.config.seed, session, [(client.user, self._weighted(update))])
            for client, update in zip(clients, sent, strict=True)
        ]
        total = self.secure.update(session, added(masked, lambda _: None))
        return total, [self._read(session, one) for one in masked]

    def _weighted(self, update: ClientUpdate) -> UpdateSum:
        return weighted(update, self.config.federated, self.config.fedmem)

    def _read(self, session: Session, masked: MaskedSum) -> ClientUpdate:
        """Read masked words as if they were not."""
        found = read_update(self.config.secure_sums, session, masked)
        return ClientUpdate(1, found.delta, found.prototypes)  # type: ignore[arg-type]

    def _transitions(
        self, number: int, clients: Sequence[RecordedClient]
    ) -> tuple[TransitionCounts, list[TransitionCounts]]:
        session = self._session("attacked transitions", number, clients)
        masked = [masked_transitions(self.config.seed, session, [(one.user, one.transitions)]) for one in clients]
        total = self.secure.transitions(session, added(masked, lambda _: None))
        return total, [transition_counts(one.lanes[0], one.form) for one in masked]

    def _session(self, purpose: str, number: int, clients: Sequence[RecordedClient]) -> Session:
        return self.secure.session(purpose, number, np.array([client.user for client in clients]))
