"""Prototypes: k-means against scikit-learn, (sum, count) algebra, collapse and drift by hand, and alignment."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from fedmem.memory.prototypes import (
    FrozenItemBlocks,
    Prototypes,
    assign,
    collapse,
    distil,
    distil_chunk,
    drift,
    from_catalogue,
    kmeans,
    kmeans_plus_plus,
    spread,
    summarise,
)
from fedmem.modality import Modality

TEXT, IMAGE, ID = Modality.TEXT, Modality.VISUAL, Modality.SEQUENTIAL

FloatArray = np.ndarray


def floats(values: object) -> FloatArray:
    return np.array(values, np.float32)


def of_centroids(centroids: object, counts: object | None = None, block: Modality = TEXT) -> Prototypes:
    """Prototypes of one block, and an id block of the same counts."""
    vectors = floats(centroids)
    n = np.ones(len(vectors), np.float32) if counts is None else floats(counts)
    return Prototypes({block: vectors * n[:, None], ID: vectors * n[:, None]}, {block: n, ID: n})


def means(vectors: FloatArray, assignment: FloatArray, k: int) -> FloatArray:
    return np.stack([vectors[assignment == i].mean(0) for i in range(k)])


# k-means


@pytest.mark.parametrize("seed", range(12))
def test_kmeans_is_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, k, dim = int(rng.integers(20, 120)), int(rng.integers(1, 6)), int(rng.integers(1, 8))
    vectors = rng.normal(size=(n, dim))
    start = vectors[rng.choice(n, k, replace=False)]
    reference = KMeans(k, init=start, n_init=1, algorithm="lloyd", tol=0, max_iter=300).fit(vectors)
    found = kmeans(vectors, start, max_iterations=300)
    assert len(np.unique(found)) == k, "a cluster emptied: the comparison says nothing"
    np.testing.assert_array_equal(found, reference.labels_)
    np.testing.assert_allclose(means(vectors, found, k), reference.cluster_centers_, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_weighted_kmeans_is_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, weights = rng.normal(size=(60, 3)), rng.uniform(0.1, 5, size=60)
    reference = KMeans(4, init=vectors[:4], n_init=1, algorithm="lloyd", tol=0).fit(vectors, sample_weight=weights)
    np.testing.assert_array_equal(kmeans(vectors, vectors[:4], weights, 300), reference.labels_)


@given(st.lists(st.integers(1, 4), min_size=6, max_size=15), st.integers(0, 1000))
def test_weights_are_repetitions(repeats: list[int], seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(len(repeats), 2))
    start = vectors[:3]
    weighted = kmeans(vectors, start, np.array(repeats, np.float64))
    repeated = kmeans(np.repeat(vectors, repeats, axis=0), start)
    np.testing.assert_array_equal(np.repeat(weighted, repeats), repeated)


def test_a_point_of_no_weight_pulls_nothing() -> None:
    vectors = floats([[0.0], [1.0], [9.0], [10.0], [40.0]])
    start = floats([[0.0], [9.0]])
    assert kmeans(vectors, start).tolist() == [0, 0, 0, 0, 1]
    assert kmeans(vectors, start, floats([1, 1, 1, 1, 0])).tolist() == [0, 0, 1, 1, 1]


def test_an_empty_cluster_keeps_its_centroid() -> None:
    """The middle centroid starts with no member; once the others have moved, what is nearest to it is its own."""
    start = floats([[0.0], [6.0], [20.0]])
    vectors = floats([[-3.0], [2.9], [13.1], [26.0]])
    found = kmeans(vectors, start)
    assert assign(vectors, start).tolist() == [0, 0, 2, 2]
    # The first pass moves the outer two to -0.05 and 19.55, so that 2.9 stays nearer to -0.05 than to 6 ...
    assert found.tolist() == [0, 0, 2, 2]
    # ... and in this one the kept centroid, and only it, wins a member in the second pass.
    vectors = floats([[-8.0], [2.9], [26.0]])
    assert assign(vectors, start).tolist() == [0, 0, 2]
    assert kmeans(vectors, start).tolist() == [0, 1, 2]


def test_one_iteration_is_one() -> None:
    vectors, start = floats([[-8.0], [2.9], [26.0]]), floats([[0.0], [6.0], [20.0]])
    assert kmeans(vectors, start, max_iterations=0).tolist() == [0, 0, 2]
    assert kmeans(vectors, start, max_iterations=1).tolist() == [0, 1, 2]


def test_the_nearest_by_euclidean_distance_and_the_lowest_of_a_tie() -> None:
    assert assign(floats([[1.0, 0.0], [5.0, 5.0]]), floats([[0.0, 0.0], [2.0, 0.0], [0.0, 0.0]])).tolist() == [0, 1]
    rng = np.random.default_rng(1)
    vectors, centroids = rng.normal(size=(200, 5)), rng.normal(size=(7, 5))
    distance = np.linalg.norm(vectors[:, None] - centroids, axis=-1)
    np.testing.assert_array_equal(assign(vectors, centroids), distance.argmin(1))


@given(st.integers(0, 500), st.integers(1, 12))
def test_kmeans_plus_plus_is_deterministic_and_chooses_distinct_points(seed: int, k: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    first, again = (kmeans_plus_plus(vectors, k, np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert len(np.unique(first, axis=0)) == k
    assert {tuple(row) for row in first.tolist()} <= {tuple(row) for row in vectors.tolist()}


def test_kmeans_plus_plus_prefers_what_is_far() -> None:
    near = np.random.default_rng(0).normal(0, 0.01, size=(99, 2))
    vectors = np.concatenate([near, [[50.0, 50.0]]])
    chosen = [kmeans_plus_plus(vectors, 2, np.random.default_rng(seed)).max() for seed in range(40)]
    assert min(chosen) == 50.0  # uniform choice would miss it 39 times of 40


def test_kmeans_plus_plus_survives_fewer_points_than_prototypes() -> None:
    assert kmeans_plus_plus(floats([[1.0], [1.0]]), 4, np.random.default_rng(0)).tolist() == [[1.0]] * 4


# (sum, count)


def test_summarise_by_hand() -> None:
    blocks = {TEXT: floats([[1, 2], [3, 4], [5, 6]]), ID: floats([[1], [10], [100]])}
    masks = {TEXT: np.array([True, False, True]), ID: np.ones(3, bool)}
    found = summarise(blocks, masks, np.array([0, 0, 2]), 3)
    assert found.sums[TEXT].tolist() == [[1, 2], [0, 0], [5, 6]]
    assert found.counts[TEXT].tolist() == [1, 0, 1]
    assert found.sums[ID].tolist() == [[11], [0], [100]]
    assert found.mass.tolist() == [2, 0, 1]
    assert found.present(TEXT).tolist() == [True, False, True]
    assert found.centroids(ID).tolist() == [[5.5], [0], [100]]


def test_the_sum_of_parts_is_the_whole() -> None:
    rng = np.random.default_rng(2)
    blocks = {TEXT: floats(rng.normal(size=(9, 4))), ID: floats(rng.normal(size=(9, 2)))}
    masks, assignment = {TEXT: rng.random(9) < 0.7, ID: np.ones(9, bool)}, rng.integers(0, 3, 9)

    def part(rows: slice) -> Prototypes:
        return summarise(
            {b: v[rows] for b, v in blocks.items()}, {b: m[rows] for b, m in masks.items()}, assignment[rows], 3
        )

    both, whole = part(slice(0, 4)) + part(slice(4, 9)), part(slice(0, 9))
    for block in (TEXT, ID):
        np.testing.assert_allclose(both.sums[block], whole.sums[block], atol=1e-6)
        np.testing.assert_array_equal(both.counts[block], whole.counts[block])


@pytest.mark.parametrize("factor", [0.25, floats([0.5, 2.0, 3.0])])
def test_scaling_keeps_centroids_and_dtype(factor: float | FloatArray) -> None:
    prototypes = of_centroids([[1, 2], [3, 4], [5, 6]], [2, 4, 0])
    scaled = prototypes.scaled(factor)
    np.testing.assert_allclose(scaled.centroids(TEXT), prototypes.centroids(TEXT))
    np.testing.assert_allclose(scaled.mass, prototypes.mass * factor)
    assert {v.dtype for v in (*scaled.sums.values(), *scaled.counts.values())} == {np.dtype(np.float32)}


def test_adding_weighs_by_mass() -> None:
    both = of_centroids([[0.0]], [3]) + of_centroids([[4.0]], [1])
    assert both.centroids(TEXT).tolist() == [[1.0]]
    assert (both.scaled(0.5) + both).centroids(TEXT).tolist() == [[1.0]]


def test_blocks_and_clustering_block() -> None:
    with_text = of_centroids([[1.0]])
    with_image = of_centroids([[1.0]], block=IMAGE)
    assert with_text.blocks == (TEXT, ID)
    assert with_image.blocks == (IMAGE, ID)
    assert (with_text.clustering_block, with_image.clustering_block) == (TEXT, ID)


def test_distil_starts_from_what_was_handed_down() -> None:
    """Index k stays index k whatever the order of the memory, and an index without members counts zero."""
    vectors = floats([[10.1, 0], [0, 10.2], [9.9, 0], [0, 9.8]])
    blocks, masks = {TEXT: vectors, ID: vectors}, {TEXT: np.ones(4, bool), ID: np.ones(4, bool)}
    start = of_centroids([[0, 10], [-10, -10], [10, 0]])
    for order in ([0, 1, 2, 3], [3, 2, 1, 0]):
        found = distil({b: v[order] for b, v in blocks.items()}, masks, start)
        assert found.mass.tolist() == [2, 0, 2]
        np.testing.assert_allclose(found.centroids(TEXT), [[0, 10], [0, 0], [10, 0]], atol=1e-5)


def test_without_text_clusters_are_made_on_ids() -> None:
    start = Prototypes(
        {IMAGE: floats([[5], [-5]]), ID: floats([[-1], [1]])}, {IMAGE: floats([1, 1]), ID: floats([1, 1])}
    )
    blocks = {IMAGE: floats([[5], [-5]]), ID: floats([[1], [-1]])}
    found = distil(blocks, {IMAGE: np.ones(2, bool), ID: np.ones(2, bool)}, start)
    assert found.sums[ID].tolist() == [[-1], [1]]
    assert found.sums[IMAGE].tolist() == [[-5], [5]]


def test_a_cluster_of_too_few_is_empty_and_its_block_alone_where_only_that_has_too_few() -> None:
    found = Prototypes(
        {TEXT: floats([[2, 4], [9, 9]]), ID: floats([[3], [5]])}, {TEXT: floats([2, 1]), ID: floats([3, 2])}
    )
    kept = found.of_at_least(2)
    assert kept.sums[TEXT].tolist() == [[2, 4], [0, 0]]
    assert kept.counts[TEXT].tolist() == [2, 0]
    assert kept.mass.tolist() == [3, 2]
    assert found.of_at_least(3).mass.tolist() == [3, 0]
    assert found.of_at_least(1).mass.tolist() == found.mass.tolist()


def test_the_catalogues_prototypes_have_one_members_mass_each() -> None:
    rng = np.random.default_rng(3)
    blocks = {TEXT: floats(rng.normal(size=(30, 4))), ID: floats(rng.normal(size=(30, 2)))}
    masks = {TEXT: np.ones(30, bool), ID: np.ones(30, bool)}
    found = from_catalogue(blocks, masks, 5, np.random.default_rng(1))
    np.testing.assert_allclose(found.mass, np.ones(5), rtol=1e-6)
    np.testing.assert_allclose(found.counts[TEXT], np.ones(5), rtol=1e-6)
    members = kmeans(blocks[TEXT], kmeans_plus_plus(blocks[TEXT], 5, np.random.default_rng(1)))
    np.testing.assert_allclose(found.centroids(TEXT), means(blocks[TEXT], members, 5), atol=1e-5)
    np.testing.assert_allclose(found.centroids(ID), means(blocks[ID], members, 5), atol=1e-5)


def test_a_catalogue_smaller_than_k_leaves_prototypes_that_hold_nothing() -> None:
    vectors = floats([[0.0, 1.0], [1.0, 0.0]])
    found = from_catalogue({ID: vectors}, {ID: np.ones(2, bool)}, 4, np.random.default_rng(0))
    assert sorted(found.mass.tolist()) == [0, 0, 1, 1]
    assert np.isfinite(found.centroids(ID)).all()


# Collapse and drift


@pytest.mark.parametrize(
    ("centroids", "expected"),
    [
        ([[1, 2, 3], [1, 2, 3], [1, 2, 3]], 1.0),
        ([[1, 0], [7, 0]], 1.0),
        ([[1, 0, 0], [0, 5, 0], [0, 0, 9]], 0.0),
        ([[1, 0], [-3, 0]], -1.0),
        ([[1, 0], [1, 1], [0, 2]], 2 * 2**0.5 / 6),
        ([[1, 1]], 0.0),
    ],
)
def test_collapse_by_hand(centroids: list[list[float]], expected: float) -> None:
    assert collapse(of_centroids(centroids)) == pytest.approx(expected, abs=1e-6)


def test_collapse_is_the_mean_off_diagonal_cosine() -> None:
    vectors = np.random.default_rng(4).normal(size=(6, 5))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = (unit @ unit.T)[~np.eye(6, dtype=bool)].mean()
    assert collapse(of_centroids(vectors, [1, 2, 3, 4, 5, 6])) == pytest.approx(cosine, abs=1e-6)


def test_collapse_leaves_out_prototypes_that_hold_nothing() -> None:
    assert collapse(of_centroids([[1, 0], [2, 0], [0, 1]], [1, 1, 0])) == pytest.approx(1.0)


def test_a_centroid_at_the_origin_has_no_direction() -> None:
    assert collapse(of_centroids([[0, 0], [3, 0]])) == pytest.approx(0.0, abs=1e-6)


def test_drift_by_hand() -> None:
    before = of_centroids([[3, 4], [0, 2]])
    assert drift(before, before) == 0.0
    assert drift(before, of_centroids([[3, 9], [0, 2]])) == pytest.approx(0.5)  # (5 / 5 + 0 / 2) / 2
    assert drift(before, of_centroids([[6, 8], [0, 3]])) == pytest.approx(0.75)  # (5 / 5 + 1 / 2) / 2


def test_drift_is_of_prototypes_present_before_and_after() -> None:
    before, after = of_centroids([[3, 4], [0, 2]], [1, 0]), of_centroids([[3, 9], [9, 9]])
    assert drift(before, after) == pytest.approx(1.0)
    assert drift(of_centroids([[3, 4]], [0]), of_centroids([[3, 4]])) == 0.0
    assert drift(before, of_centroids([[6, 8], [1, 1]], [7, 2])) == pytest.approx(1.0)  # masses are no motion


# Alignment

CLUSTERS, CLIENTS, MEMORY, TEXT_DIM = 5, 60, 50, 16


def client_memories(rng: np.random.Generator, shared: float) -> tuple[FloatArray, list[FloatArray]]:
    """Five true clusters around a shared mean of that length, and clients who know them unevenly."""
    truth = rng.normal(size=(CLUSTERS, TEXT_DIM))
    truth = 4 * (truth - truth.mean(0)) / np.linalg.norm(truth - truth.mean(0), axis=1, keepdims=True)
    truth += shared * np.eye(TEXT_DIM)[0]
    tastes = rng.dirichlet(np.full(CLUSTERS, 0.8), size=CLIENTS)
    drawn = [rng.choice(CLUSTERS, MEMORY, p=taste) for taste in tastes]
    return floats(truth), [floats(truth[of] + 0.3 * rng.normal(size=(MEMORY, TEXT_DIM))) for of in drawn]


def start_of_catalogue(truth: FloatArray, rng: np.random.Generator) -> FloatArray:
    """What the server hands down: k-means++ and Lloyd on a public catalogue of all clusters."""
    catalogue = floats(np.repeat(truth, 40, axis=0) + 0.3 * rng.normal(size=(40 * CLUSTERS, TEXT_DIM)))
    present = np.ones(len(catalogue), bool)
    blocks, masks = {TEXT: catalogue, ID: catalogue}, {TEXT: present, ID: present}
    return from_catalogue(blocks, masks, CLUSTERS, rng).centroids(TEXT)


def mean_by_index(memories: list[FloatArray], starts: list[FloatArray]) -> Prototypes:
    """Every client's k-means from its start; per index, the mean over the clients that have it."""
    total = of_centroids(np.zeros((CLUSTERS, TEXT_DIM)), np.zeros(CLUSTERS))
    for vectors, start in zip(memories, starts, strict=True):
        present = np.ones(len(vectors), bool)
        upload = distil({TEXT: vectors, ID: vectors}, {TEXT: present, ID: present}, of_centroids(start))
        total += upload.scaled(np.divide(1, upload.mass, out=np.zeros_like(upload.mass), where=upload.mass > 0))
    return total


def both_aggregations(shared: float) -> tuple[FloatArray, Prototypes, Prototypes]:
    """The true clusters, the aggregate from a shared start, and that from the clients' own shuffled starts."""
    rng = np.random.default_rng(5)
    truth, memories = client_memories(rng, shared)
    aligned = mean_by_index(memories, [start_of_catalogue(truth, rng)] * CLIENTS)
    own = [rng.permutation(kmeans_plus_plus(vectors, CLUSTERS, rng)) for vectors in memories]
    return truth, aligned, mean_by_index(memories, own)


def test_aligned_aggregation_does_not_collapse_where_the_mean_by_index_does() -> None:
    """As text vectors come from an encoder, with a mean that all share."""
    truth, aligned, shuffled = both_aggregations(shared=3.0)
    true, one, other = collapse(of_centroids(truth)), collapse(aligned), collapse(shuffled)
    said = f"mean off-diagonal cosine: true clusters {true:.3f}, aligned {one:.3f}, index-mean of shuffled {other:.3f}"
    assert one == pytest.approx(true, abs=0.05), said
    assert one < 0.5, said
    assert other > 0.9, said


def test_in_centred_space_the_unaligned_mean_collapses_onto_the_origin() -> None:
    """There the cosine of what is left says little: what collapses is the spread."""
    truth, aligned, shuffled = both_aggregations(shared=0.0)
    ratio = {name: spread(p) / spread(of_centroids(truth)) for name, p in (("a", aligned), ("s", shuffled))}
    said = f"spread relative to the true clusters: aligned {ratio['a']:.3f}, index-mean of shuffled {ratio['s']:.3f}"
    assert ratio["a"] == pytest.approx(1.0, abs=0.05), said
    assert ratio["s"] < 0.4, said
    assert collapse(aligned) == pytest.approx(collapse(of_centroids(truth)), abs=0.05)


def test_the_aligned_aggregate_finds_every_true_cluster() -> None:
    truth, aligned, _ = both_aggregations(shared=0.0)
    nearest = assign(truth, aligned.centroids(TEXT))
    assert sorted(nearest.tolist()) == list(range(CLUSTERS))
    error = np.linalg.norm(aligned.centroids(TEXT)[nearest] - truth, axis=1)
    assert error.max() < 0.4  # of length 4


def test_spread_by_hand():
    counts = np.ones(2, np.float32)
    apart = Prototypes({ID: np.array([[3.0, 0.0], [-3.0, 0.0]], np.float32)}, {ID: counts})
    together = Prototypes({ID: np.zeros((2, 2), np.float32)}, {ID: counts})
    assert spread(apart) == pytest.approx(3.0)
    assert spread(together) == 0.0


def test_an_item_without_text_moves_no_text_centroid():
    blocks = {TEXT: np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 0.0]], np.float32), ID: np.ones((3, 2), np.float32)}
    masks = {TEXT: np.array([True, True, False]), ID: np.ones(3, bool)}
    start = Prototypes(
        {TEXT: np.array([[0.4, 0.0], [-9.0, 0.0]], np.float32), ID: np.zeros((2, 2), np.float32)},
        {TEXT: np.ones(2, np.float32), ID: np.ones(2, np.float32)},
    )
    found = distil(blocks, masks, start)
    assert found.counts[TEXT].tolist() == [2, 0]
    assert found.centroids(TEXT)[0] == pytest.approx([0.95, 0.05])


# A chunk of memories


@st.composite
def chunks(draw: st.DrawFn) -> dict[str, object]:
    """Ragged memories of items of which some lack a text or an image, and prototypes handed down, some empty."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    k, capacity, sizes = draw(st.integers(1, 5)), 12, {TEXT: 9, IMAGE: 4, ID: 3}
    lengths = draw(st.lists(st.integers(0, capacity), min_size=1, max_size=5))
    blocks = draw(st.sampled_from([(TEXT, IMAGE), (TEXT,), (IMAGE,), ()]))
    vectors = {block: rng.normal(size=(31, sizes[block])).astype(dtype) for block in blocks}
    items, embedding = np.zeros((len(lengths), capacity), np.int32), np.zeros((len(lengths), capacity, 3), dtype)
    for client, n in enumerate(lengths):
        items[client, :n] = rng.permutation(30)[:n] + 1
        embedding[client, :n] = rng.normal(size=(n, 3))
    counts = {block: rng.integers(0, 3, k).astype(dtype) for block in (*blocks, ID)}
    start = Prototypes(
        {b: rng.normal(size=(k, sizes[b])).astype(dtype) * n[:, None] for b, n in counts.items()}, counts
    )
    masks = {block: rng.random(31) < 0.7 for block in blocks}
    features = FrozenItemBlocks(vectors, masks)
    return {"items": items, "id_embedding": embedding, "features": features, "start": start}


def one_by_one(chunk: dict[str, object]) -> list[Prototypes]:
    """Every memory distilled alone, without its empty slots."""
    found = []
    for items, embedding in zip(chunk["items"], chunk["id_embedding"], strict=True):
        held = items[items > 0]
        blocks = {block: rows[held] for block, rows in chunk["features"].vectors.items()} | {ID: embedding[items > 0]}
        masks = {block: mask[held] for block, mask in chunk["features"].masks.items()} | {ID: np.ones(len(held), bool)}
        found.append(distil(blocks, masks, chunk["start"]))
    return found


@given(chunks())
def test_a_chunk_is_distilled_as_its_memories_one_by_one(chunk: dict[str, object]) -> None:
    found, expected = distil_chunk(**chunk), one_by_one(chunk)
    dtype = chunk["id_embedding"].dtype
    for block in chunk["start"].sums:
        sums, counts = (np.stack([getattr(p, name)[block] for p in expected]) for name in ("sums", "counts"))
        assert found.sums[block].dtype == found.counts[block].dtype == dtype
        np.testing.assert_array_equal(found.counts[block], counts)
        np.testing.assert_allclose(found.sums[block], sums, rtol=0, atol=1e-10 if dtype == np.float64 else 1e-5)


@given(chunks())
def test_the_prototypes_of_a_chunk_are_each_clients_with_a_dimension_before(chunk: dict[str, object]) -> None:
    found = distil_chunk(**chunk)
    factor = np.random.default_rng(0).random(found.mass.shape).astype(found.mass.dtype)
    doubled = found.scaled(factor) + found.scaled(2)
    for client in range(len(found.mass)):
        alone = Prototypes(*({b: v[client] for b, v in part.items()} for part in (found.sums, found.counts)))
        expected = alone.scaled(factor[client]) + alone.scaled(2)
        for block in found.blocks:
            np.testing.assert_array_equal(doubled.sums[block][client], expected.sums[block])
            np.testing.assert_array_equal(doubled.counts[block][client], expected.counts[block])
            np.testing.assert_array_equal(found.centroids(block)[client], alone.centroids(block))
            np.testing.assert_array_equal(found.present(block)[client], alone.present(block))


@given(st.integers(0, 2**32), st.integers(0, 20))
def test_kmeans_of_several_is_each_ones(seed: int, iterations: int) -> None:
    """However many iterations there are, and whoever stands still before the others."""
    rng = np.random.default_rng(seed)
    vectors, weights = rng.normal(size=(6, 40, 2)), rng.integers(0, 3, size=(6, 40)).astype(float)
    start = rng.normal(size=(4, 2))
    found = kmeans(vectors, start, weights, iterations)
    alone = [kmeans(*memory, max_iterations=iterations) for memory in zip(vectors, [start] * 6, weights, strict=True)]
    np.testing.assert_array_equal(found, alone)


def test_in_a_chunk_ties_take_the_lowest_index_and_who_lacks_the_block_moves_none() -> None:
    """Along one line: a tie between equal starts, a far item without text, a third start that stays empty."""
    text = floats([[50.0], [1.0], [3.0], [90.0]])
    start = of_centroids([[0.0], [0.0], [60.0]])
    embedding = floats([[[1], [10], [100], [1000]], [[5], [7], [0], [0]]])
    items = np.array([[1, 2, 3, 0], [2, 1, 0, 0]])
    features = FrozenItemBlocks({TEXT: text}, {TEXT: np.array([True, True, True, False])})
    found = distil_chunk(items, embedding, features, start)
    assert found.counts[TEXT].tolist() == [[2, 0, 0], [2, 0, 0]]
    assert found.sums[TEXT][..., 0].tolist() == [[4, 0, 0], [4, 0, 0]]
    assert found.mass.tolist() == [[2, 0, 1], [2, 0, 0]]
    assert found.sums[ID][..., 0].tolist() == [[11, 0, 100], [12, 0, 0]]


def test_its_arrays_have_the_names_that_checkpoints_always_had_and_come_back() -> None:
    prototypes = of_centroids([[1.0, 2.0], [3.0, 4.0]], [2, 3], block=IMAGE)
    arrays = prototypes.to_arrays()
    assert arrays.keys() == {"sums/image", "sums/id", "counts/image", "counts/id"}
    back = Prototypes.from_arrays(arrays)
    assert set(back.blocks) == {IMAGE, ID}
    for block in back.blocks:
        np.testing.assert_array_equal(back.sums[block], prototypes.sums[block])
        np.testing.assert_array_equal(back.counts[block], prototypes.counts[block])
