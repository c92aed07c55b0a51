"""What a configuration may name is what the table beside the code has, so that a recipe touches those two files."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from fedmem.config import EvaluationConfig, FederatedConfig, FedMemConfig, TrainingConfig
from fedmem.evaluation.ranking_metrics import RANKING_METRICS
from fedmem.federated.aggregation import AGGREGATIONS
from fedmem.federated.prototype_aggregation import PROTOTYPE_AGGREGATIONS
from fedmem.federated.server_optimizers import SERVER_OPTIMIZERS
from fedmem.memory.policies import MEMORY_POLICIES
from fedmem.model.recommendation_losses import LOSSES

TABLES: list[tuple[type[BaseModel], str, Mapping[str, Any]]] = [
    (EvaluationConfig, "metrics", RANKING_METRICS),
    (TrainingConfig, "loss", LOSSES),
    (FederatedConfig, "aggregation_method", AGGREGATIONS),
    (FederatedConfig, "server_optimizer", SERVER_OPTIMIZERS),
    (FedMemConfig, "memory_policy", MEMORY_POLICIES),
    (FedMemConfig, "prototype_aggregation", PROTOTYPE_AGGREGATIONS),
]


def names_in(annotation: Any) -> Iterator[str]:
    """The names that an annotation allows, wherever its Literal stands."""
    for part in get_args(annotation):
        yield from [part] if isinstance(part, str) else names_in(part)


@pytest.mark.parametrize(("section", "field", "table"), TABLES, ids=[field for _, field, _ in TABLES])
def test_the_configuration_allows_what_the_table_has(
    section: type[BaseModel], field: str, table: Mapping[str, Any]
) -> None:
    assert sorted(names_in(section.model_fields[field].annotation)) == sorted(table)
