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
from fedmem.contracts.service import Dataset, DatasetList, Live, Ready, Trainer, TrainerList

__all__ = [
    "Dataset",
    "DatasetList",
    "ItemPoint",
    "Job",
    "JobEvent",
    "JobLogs",
    "JobMetrics",
    "JobPage",
    "JobRequest",
    "Live",
    "LogLine",
    "MapPoint",
    "ModelPage",
    "ModelVersion",
    "NearestItem",
    "Problem",
    "Prototype",
    "PrototypeRound",
    "Ready",
    "RecommendationResponse",
    "RecommendedItem",
    "RoundMetrics",
    "Trainer",
    "TrainerList",
]
