"""FedMem: a federated sequential recommender whose users keep their data."""

__version__ = "0.1.0"
