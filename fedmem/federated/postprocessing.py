"""The one place between client and server: what a client sends, and what a sum of clients is, is changed here.

Clipping and noise are postprocessors; a round takes a chain of them. One that looks at single clients makes every
client of the round send an update of its own, postprocessed on its device before anything is added to it. Secure sums
mask what comes out of the chain (``masking``).
"""

from collections.abc import Sequence
from typing import Self

import numpy as np

from fedmem.federated.messages import Broadcast, ClientUpdate, MetricSums, UpdateSum


class Postprocessor:
    """Changes nothing; a subclass overrides one hook or several.

    Its representation, with its settings, stands in a run's manifest, so that no run is resumed without it.
    """

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def of_round(self, broadcast: Broadcast) -> Self:
        """Return what does the same to the updates of one round, by what clients are sent when it begins.

        Args:
            broadcast: the message to the clients.
        """
        return self

    def postprocess_one_client(self, update: ClientUpdate, rng: np.random.Generator) -> ClientUpdate:
        """Change what one client sends, on its own device.

        Args:
            update: what the client would send.
            rng: drawn from (seed, round, client), for noise and masks.
        """
        return update

    def postprocess_sum(self, total: UpdateSum, rng: np.random.Generator) -> UpdateSum:
        """Change the sum over all clients that an aggregation is made of, before the server applies it.

        Args:
            total: the sum, with the number of its clients.
            rng: drawn from (seed, step of the server's optimiser).
        """
        return total

    def postprocess_metrics(self, total: MetricSums, rng: np.random.Generator) -> MetricSums:
        """Change the sums of what clients measured in an evaluation, before the server reads them.

        Args:
            total: the sums over all clients that evaluated.
            rng: drawn from (seed, split, round).
        """
        return total


Postprocessors = Sequence[Postprocessor]


def of_round(postprocessors: Postprocessors, broadcast: Broadcast) -> Postprocessors:
    """Return all as they are in one round."""
    return [each.of_round(broadcast) for each in postprocessors]


def needs_single_clients(postprocessors: Postprocessors) -> bool:
    """Tell whether one of them looks at single clients, whom chunks that are summed as they are trained do not show."""
    unchanged = Postprocessor.postprocess_one_client
    return any(type(each).postprocess_one_client is not unchanged for each in postprocessors)


def postprocessed_update(
    postprocessors: Postprocessors, update: ClientUpdate, rng: np.random.Generator
) -> ClientUpdate:
    """Run what a client sends through all hooks, in order."""
    for each in postprocessors:
        update = each.postprocess_one_client(update, rng)
    return update


def postprocessed_sum(postprocessors: Postprocessors, total: UpdateSum, rng: np.random.Generator) -> UpdateSum:
    """Run the sum over a cohort through all hooks, in order."""
    for each in postprocessors:
        total = each.postprocess_sum(total, rng)
    return total


def postprocessed_metrics(postprocessors: Postprocessors, total: MetricSums, rng: np.random.Generator) -> MetricSums:
    """Run the metric sums of an evaluation through all hooks, in order."""
    for each in postprocessors:
        total = each.postprocess_metrics(total, rng)
    return total
