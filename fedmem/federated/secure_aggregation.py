"""Secure aggregation, the server's side: it announces sessions, adds masked words up, and reads what sums they are.

Nothing that one client sent can be read here; an import contract keeps the clients' secrets out of reach.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from fedmem.config import ExperimentConfig, SecureSumsConfig
from fedmem.errors import ConfigError, TrainingError
from fedmem.federated.encodings import numbers_point, parameters_point, transition_counts
from fedmem.federated.messages import Broadcast, MaskedSum, MetricSums, Session, UpdateSum
from fedmem.federated.sums import Mean
from fedmem.memory.transitions import TransitionCounts
from fedmem.randomness import numpy_generator
from fedmem.secure_sums.forms import rebuilt
from fedmem.secure_sums.graph import neighbours
from fedmem.secure_sums.server import Revealed, unmask
from fedmem.secure_sums.session import threshold_of

UserIndices = npt.NDArray[np.int64]


@runtime_checkable
class MaskingPopulation(Protocol):
    """The server's handle on clients each of which masks what it sends."""

    def announce_keys(self, purpose: str, number: int, clients: UserIndices) -> Mapping[int, bytes]:
        """Have clients draw secrets for a session; their public keys, by client."""
        ...

    def share_secrets(self, session: Session) -> None:
        """Have clients give their neighbours shares of their secrets, sealed."""
        ...

    def reveal_shares(self, session: Session, survivors: frozenset[int]) -> Revealed:
        """Have those whose words arrived reveal what takes the masks off the sum."""
        ...

    def having_transitions(self, round_number: int) -> UserIndices:
        """Tell which clients have something to hand on to the transition memory after a number of completed rounds."""
        ...

    def hand_on(self, clients: UserIndices, broadcast: Broadcast, session: Session) -> Generator[MaskedSum, None, None]:
        """Have these clients, after the round's training, hand on their new transitions in a session."""
        ...


@dataclass(frozen=True, eq=False)
class SecureAggregation:
    """Secure sums of one run.

    Attributes:
        config: the run's configuration.
        population: how clients are reached.
    """

    config: ExperimentConfig
    population: MaskingPopulation

    def session(self, purpose: str, number: int, clients: UserIndices) -> Session:
        """Open a session: draw who shares masks with whom, pass on public keys and sealed shares.

        Raises:
            ConfigError: if the clients are fewer than a sum may be made of.
        """
        config = self.config.secure_sums
        check_cohort(self.config, len(clients), purpose)
        keys = self.population.announce_keys(purpose, number, clients)
        rng = numpy_generator(self.config.seed, f"neighbours in {purpose}", number)
        graph = neighbours(clients.tolist(), config.neighbours, rng)
        degree = len(graph[int(clients[0])])
        session = Session(purpose, number, graph, keys, threshold_of(config.threshold, degree + 1, len(clients)))
        self.population.share_secrets(session)
        return session

    def update(self, session: Session, total: MaskedSum) -> UpdateSum:
        """Read the sum of clients' updates."""
        self._unmask(session, total)
        return read_update(self.config.secure_sums, session, total)

    def transitions(self, session: Session, total: MaskedSum) -> TransitionCounts:
        """Read the sum of what clients hand on to the transition memory."""
        self._unmask(session, total)
        return transition_counts(total.lanes[0], total.form)

    def metrics(self, session: Session, total: MaskedSum) -> MetricSums:
        """Read the sum of what clients measured in an evaluation."""
        self._unmask(session, total)
        found: MetricSums = rebuilt(total.form, numbers_point(len(session.neighbours)).decode(total.lanes[0]))
        return found

    def _unmask(self, session: Session, total: MaskedSum) -> None:
        least = self.config.secure_sums.minimum_cohort
        if total.clients < least:
            raise TrainingError(
                f"{total.clients} clients are left in the secure sum of {session.purpose}, and "
                f"secure_sums.minimum_cohort = {least} are needed. Repeat the round."
            )
        unmask(session, total.lanes, total.senders, self.population.reveal_shares(session, total.senders))


def read_update(config: SecureSumsConfig, session: Session, total: MaskedSum) -> UpdateSum:
    """Read words as a sum of updates, which they are once all masks are off."""
    clients, (delta_form, rest_form), (words, numbers) = len(session.neighbours), total.form, total.lanes
    delta = rebuilt(delta_form, parameters_point(config, clients).decode(words))
    rest = rebuilt(rest_form, numbers_point(clients).decode(numbers))
    sizes = {"weights": words.nbytes, "prototypes": _prototype_bytes(rest["prototypes"])}
    sizes["keys"] = total.num_bytes - sum(sizes.values()) + session.bytes_up()
    senders = float(total.clients)
    sent = {part: Mean(size * senders, senders) for part, size in sizes.items()}
    return UpdateSum(delta, **rest, upload_bytes=sent, clients=total.clients)


def check_cohort(config: ExperimentConfig, clients: int, purpose: str) -> None:
    """Refuse to add up what too few clients send.

    Raises:
        ConfigError: naming the settings.
    """
    least = config.secure_sums.minimum_cohort
    if clients < least:
        raise ConfigError(
            f"secure_sums.minimum_cohort = {least}, and only {clients} clients take part in {purpose}: raise "
            f"federated.client_fraction = {config.federated.client_fraction:g}, or give data with more users"
        )


def handing_on(least: int, seed: int, round_number: int, cohort: UserIndices, having: UserIndices) -> UserIndices:
    """Choose who hands on transitions in a round: those of the cohort who have any, and others so that they are enough.

    A client hands its transitions on once, so that a sum over clients of which all but one had none left would be that
    one's. Hence the others, drawn from all who have any; and when too few would be left for one more sum, all.

    Args:
        least: fewest clients that a sum is made of.
        seed: the run's.
        round_number: the round.
        cohort: the clients that train in it.
        having: all clients that have something to hand on.

    Returns:
        The clients, ascending; none where too few have anything.
    """
    chosen = np.intersect1d(cohort, having)
    if not len(chosen) or len(having) < least:
        return chosen[:0]
    others = numpy_generator(seed, "others who hand on", round_number).permutation(np.setdiff1d(having, chosen))
    more = max(0, least - len(chosen))
    if len(others) - more < least:
        more = len(others)
    return np.sort(np.concatenate([chosen, others[:more]]))


def added(parts: Iterable[Any], after: Callable[[Any], None]) -> Any:
    """Add sums up as they come, so that no more than two are held; ``after`` is called with each."""
    total = None
    for part in parts:
        total = part if total is None else total + part
        after(part)
    assert total is not None, "there are clients"
    return total


def _prototype_bytes(prototypes: Any) -> int:
    return 0 if prototypes is None else 8 * sum(values.size for values in prototypes.to_arrays().values())
