"""From a model version to recommendations: for known users, new ones, histories and whole batches."""

from fedmem.checkpoint.erasure import erase_texts, erase_users, known_users, leftovers, texts_folder
from fedmem.data.interactions import Item
from fedmem.evaluation.comparable import ComparedRun, compare_runs
from fedmem.memory.transitions import TransitionTable
from fedmem.serving.answers import Recommendation, ScoredItem, SimilarTo
from fedmem.serving.catalogue import ServedCatalogue
from fedmem.serving.experiments import list_experiments, read_experiment
from fedmem.serving.exported_model import export_model
from fedmem.serving.job_map import JobMap
from fedmem.serving.leak_reports import read_leaks, write_leaks
from fedmem.serving.new_items import described_item, description_of
from fedmem.serving.node_model import NodeModel
from fedmem.serving.other_data import TransferredScorer
from fedmem.serving.question import Question
from fedmem.serving.recommender import Change, Recommender, best_of
from fedmem.serving.score_shares import score_shares
from fedmem.serving.transition_growth import TransitionGrowth
from fedmem.serving.transition_rows import ShownTransitions

__all__ = [
    "Change",
    "ComparedRun",
    "Item",
    "JobMap",
    "NodeModel",
    "Question",
    "Recommendation",
    "Recommender",
    "ScoredItem",
    "ServedCatalogue",
    "ShownTransitions",
    "SimilarTo",
    "TransferredScorer",
    "TransitionGrowth",
    "TransitionTable",
    "best_of",
    "compare_runs",
    "described_item",
    "description_of",
    "erase_texts",
    "erase_users",
    "export_model",
    "known_users",
    "leftovers",
    "list_experiments",
    "read_experiment",
    "read_leaks",
    "score_shares",
    "texts_folder",
    "write_leaks",
]
