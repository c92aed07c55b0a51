"""From a model version to recommendations: for known users, new ones, histories and whole batches."""

from fedmem.serving.answers import Question, Recommendation, ScoredItem, SimilarTo
from fedmem.serving.new_items import described_item
from fedmem.serving.recommender import Recommender

__all__ = ["Question", "Recommendation", "Recommender", "ScoredItem", "SimilarTo", "described_item"]
