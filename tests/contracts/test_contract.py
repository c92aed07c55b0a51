"""What enters costs little to refuse, however much is wrong with it: counted in errors, each of which takes time."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from backend.routers.recommend import KnownUserQuery
from fedmem.config import ExperimentConfig
from fedmem.contracts import BatchRequest, FeedbackRequest, ItemAvailability, ItemUpdate, RecommendationRequest

ENTERING = (RecommendationRequest, BatchRequest, ItemAvailability, ItemUpdate, KnownUserQuery)
WRONG: list[object] = [{}] * 1000


def errors(model: type[BaseModel], value: object) -> list[Any]:
    with pytest.raises(ValidationError) as refused:
        model.model_validate(value)
    return refused.value.errors()


def lists(model: type[BaseModel]) -> Iterator[tuple[type[BaseModel], str]]:
    for name, field in model.model_fields.items():
        if str(field.annotation).startswith("tuple["):
            yield model, name
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from lists(field.annotation)


@pytest.mark.parametrize(
    ("model", "name"), [place for model in (*ENTERING, ExperimentConfig) for place in lists(model)]
)
def test_the_first_wrong_member_ends_the_reading_of_a_list(model, name):
    members = [{"exclude": WRONG}] * 34 if model is BatchRequest else WRONG
    found = [error for error in errors(model, {name: members}) if error["loc"][0] == name]
    assert [error["loc"][1] for error in found if error["type"] != "too_short"] == [0]


@pytest.mark.parametrize("model", [RecommendationRequest, BatchRequest, ItemAvailability, ItemUpdate, FeedbackRequest])
def test_many_unknown_keys_are_one_error_and_few_are_told_one_by_one(model):
    (error,) = errors(model, dict.fromkeys((f"key{i}" for i in range(9000)), 1))
    assert error["msg"] == "Value error, 9,000 keys are unknown here, the first of them 'key0'"
    unknown = [error["loc"] for error in errors(model, {"kk": 1, "of": 2}) if error["type"] == "extra_forbidden"]
    assert unknown == [("kk",), ("of",)]
