"""R1 to R9: the speed of recommendations, as ratios in one interleaved run.

Here are R1, R2, R3 and R7, in this process: all times are CPU times of one thread. A side is timed turn by turn with
its peer, and a ratio is that of the medians.

r1_10k, r1_100k  the exact top 10 of one query among 10,000 and 100,000 items, D = 64, over FAISS' IndexFlatIP. Both
                 find the same items, or there is no figure.
r2               the same for 32 queries at once; the worse of both sizes.
r3               an answer with titles for a known user whose vector is not kept (UR4RecV2MoE with the text, visual and
                 sequential experts, fifty items of history, fifty entries of memory), over plain SASRec's forward pass
                 in torch and the exact top 10 of it; the worse of 3,706 and 10,000 items.
r7               the same answer over LensKit's ``recommend()`` with implicit matrix factorisation of as many factors,
                 for the same users and items; the worse of both sizes.

Vectors, histories and memories are drawn, because their values cost no time. R4, R5, R6 and R9 go over HTTP
(``serve_http``).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks import serve_http
from benchmarks.drawn import recommender_of
from benchmarks.measure import interleaved, machine, ratio
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import FedMemError
from fedmem.features.inference import one_thread
from fedmem.serving import Question, Recommender
from fedmem.serving.ranking import ExactRanking, TopK

DIM = 64
K = 10
BATCH = 32
FEW_ITEMS, MANY_ITEMS = 10_000, 100_000
MOVIELENS_ITEMS = 3706
USERS = 300
GOALS = {"r1_10k": 1.2, "r1_100k": 1.2, "r2": 0.6, "r3": 1.5, "r7": 0.4} | serve_http.GOALS
WHAT = {
    "r1_10k": "exact top 10 of one query, 10,000 items, of FAISS' IndexFlatIP",
    "r1_100k": "the same, 100,000 items",
    "r2": "the same, 32 queries at once",
    "r3": "an answer by UR4RecV2MoE, of plain SASRec and exact top 10",
    "r7": "the same answer, of LensKit's recommend() with implicit MF",
} | serve_http.WHAT

Advance = Callable[[str, int, int], None]
FloatArray = npt.NDArray[np.float32]
Part = Callable[[int], dict[str, float]]


def serve(repetitions: int = 15, advance: Advance = lambda *_: None) -> dict[str, Any]:
    """Measure everything; return one record.

    Raises:
        FedMemError: if faiss or lenskit, the peers, are not installed.
    """
    require_peers()
    record: dict[str, Any] = {}
    with one_thread():
        for done, part in enumerate(PARTS):
            advance("measuring", done, len(PARTS))
            record |= part(repetitions)
    record |= serve_http.serve_http(advance=advance)
    return record | {"machine": machine()}


def require_peers() -> None:
    """Raise FedMemError if a peer is not installed."""
    try:
        import faiss
        import lenskit  # noqa: F401
    except ImportError as error:
        raise FedMemError(
            f"{error.name} is not installed, and is what this is measured against: pip install 'fedmem[bench]'"
        ) from None
    faiss.omp_set_num_threads(1)


def top_k(repetitions: int) -> dict[str, float]:
    """Measure R1 and R2."""
    few = nearest(FEW_ITEMS, 100, repetitions)
    many = nearest(MANY_ITEMS, 10, repetitions)
    return {
        "r1_10k": few["one"],
        "r1_100k": many["one"],
        "r2": max(few["batch"], many["batch"]),
        "r1_microseconds_10k": few["microseconds"],
        "r1_microseconds_100k": many["microseconds"],
    }


def nearest(items: int, calls: int, repetitions: int) -> dict[str, float]:
    """Measure exact top 10 of one query and of 32, each over FAISS' time."""
    import faiss

    rng = np.random.default_rng(0)
    rows = rng.standard_normal((items, DIM)).astype(np.float32)
    queries = rng.standard_normal((BATCH, DIM)).astype(np.float32)
    index = faiss.IndexFlatIP(DIM)
    index.add(rows)
    ranking = ExactRanking(columns_of(rows))
    wanted = [TopK(K, np.zeros(0, np.int64))] * BATCH
    found = np.stack([columns for columns, _ in ranking.best(queries, wanted)]) - 1
    assert np.array_equal(found, index.search(queries, K)[1]), "both find the same items"
    one = queries[:1]
    single = interleaved(
        {
            "ours": lambda: [ranking.best(one, wanted[:1]) for _ in range(calls)],
            "faiss": lambda: [index.search(one, K) for _ in range(calls)],
        },
        repetitions,
    )
    batch = interleaved(
        {
            "ours": lambda: [ranking.best(queries, wanted) for _ in range(max(calls // 10, 1))],
            "faiss": lambda: [index.search(queries, K) for _ in range(max(calls // 10, 1))],
        },
        repetitions,
    )
    return {
        "one": ratio(single, "ours", "faiss"),
        "batch": ratio(batch, "ours", "faiss"),
        "microseconds": 1e6 * float(np.median(single["ours"])) / calls,
    }


def columns_of(rows: FloatArray) -> FloatArray:
    """Turn vectors [I, D] into the item matrix that rankings take [D, I + 1]."""
    return np.ascontiguousarray(np.concatenate([np.zeros((1, rows.shape[1]), np.float32), rows]).T)


def answers(repetitions: int) -> dict[str, float]:
    """Measure R3 and R7."""
    few, many = recommender_of(MOVIELENS_ITEMS, USERS), recommender_of(FEW_ITEMS, USERS)
    against_few = against_sasrec(few, repetitions)
    against_many = against_sasrec(many, repetitions)
    return {
        "r3": max(against_few["ratio"], against_many["ratio"]),
        "r3_3706": against_few["ratio"],
        "r3_10k": against_many["ratio"],
        "r3_milliseconds": against_few["milliseconds"],
        "r7": max(against_lenskit(few, repetitions), against_lenskit(many, repetitions)),
    }


def against_sasrec(recommender: Recommender, repetitions: int) -> dict[str, float]:
    """Measure an answer's time over that of a plain SASRec."""
    users, plain = recommender.dataset.vocabulary.users[:USERS], plain_sasrec(recommender)
    seconds = interleaved(
        {
            "answers": lambda: [recommender.answer(Question(user)) for user in users],
            "plain": lambda: [plain(user) for user in range(len(users))],
        },
        repetitions,
    )
    milliseconds = 1e3 * float(np.median(seconds["answers"])) / len(users)
    return {"ratio": ratio(seconds, "answers", "plain"), "milliseconds": milliseconds}


def plain_sasrec(recommender: Recommender) -> Callable[[int], torch.Tensor]:
    """Return a function that finds the exact top 10 of the sequence model alone, as one would write it with torch."""
    sasrec, dataset = recommender.scorer.model.sasrec, recommender.dataset
    columns = sasrec.item_embedding.detach().T.contiguous()

    @torch.inference_mode()
    def best(user: int) -> torch.Tensor:
        history = torch.from_numpy(dataset.history(user)).long()
        scores = (sasrec(history[None, -sasrec.max_seq_len :])[:, -1] @ columns)[0]
        scores[0] = -torch.inf
        scores[history] = -torch.inf
        return torch.topk(scores, K).indices

    return best


def against_lenskit(recommender: Recommender, repetitions: int) -> float:
    """Measure an answer's time over that of LensKit."""
    some, lenskit = recommender.dataset.vocabulary.users[:50], lenskit_of(recommender.dataset)
    seconds = interleaved(
        {
            "answers": lambda: [recommender.answer(Question(user)) for user in some],
            "lenskit": lambda: [lenskit(user) for user in some],
        },
        repetitions,
    )
    return ratio(seconds, "answers", "lenskit")


def lenskit_of(dataset: FederatedDataset) -> Callable[[str], object]:
    """Train LensKit's implicit matrix factorisation on the same users and items; return its recommend function."""
    import pandas as pd
    from lenskit import recommend, topn_pipeline
    from lenskit.als import ImplicitMFScorer
    from lenskit.data import from_interactions_df

    users = np.repeat(np.array(dataset.vocabulary.users), dataset.lengths)
    items = np.array(dataset.vocabulary.items)[dataset.sequence - 1]
    rows = pd.DataFrame({"user_id": users, "item_id": items})
    pipeline = topn_pipeline(ImplicitMFScorer(embedding_size=DIM, epochs=1), n=K)
    pipeline.train(from_interactions_df(rows))
    return lambda user: recommend(pipeline, user, n=K)


# What a record is put together from, in this order.
PARTS: tuple[Part, ...] = (top_k, answers)


def is_met(name: str, value: float) -> bool:
    """Say whether a figure reaches its goal."""
    return value <= GOALS[name]
