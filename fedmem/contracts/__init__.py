"""What crosses HTTP, and what ``--json`` prints: the same shapes."""

from fedmem.contracts.jobs import (
    Job,
    JobEvent,
    JobLogs,
    JobMetrics,
    JobPage,
    JobRequest,
    LogLine,
    RoundMetrics,
)
from fedmem.contracts.memory import ItemPoint, MapPoint, NearestItem, Prototype, PrototypeRound
from fedmem.contracts.models import ModelPage, ModelVersion
from fedmem.contracts.problem import Problem
from fedmem.contracts.recommendations import RecommendationResponse, RecommendedItem

__all__ = [
    "ItemPoint",
    "Job",
    "JobEvent",
    "JobLogs",
    "JobMetrics",
    "JobPage",
    "JobRequest",
    "LogLine",
    "MapPoint",
    "ModelPage",
    "ModelVersion",
    "NearestItem",
    "Problem",
    "Prototype",
    "PrototypeRound",
    "RecommendationResponse",
    "RecommendedItem",
    "RoundMetrics",
]
