"""The one configuration tree: the YAML, the manifest and, later, the POST body are this class.

Every section is frozen and refuses unknown keys. A setting names its meaning and, where our tested default differs,
the default of the original description. The sections bear the original's names; what the original lists as
miscellaneous stands at the top of the tree.
"""

import math
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field, model_validator

from fedmem.modality import Modality

# YAML reads a bare `off` as false.
Policy = Annotated[Literal["required", "auto", "off"], BeforeValidator(lambda v: "off" if v is False else v)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(gt=0, le=1_000_000)]
LARGEST = 10_000
CPU_CHUNK = 16  # clients whose activations the caches of a core still hold
FEWEST_NODES = 3  # of a secure sum over nodes: of two each would know the other's part
Size = Annotated[int, Field(gt=0, le=LARGEST)]
Rounds = Annotated[int, Field(gt=0, le=1_000_000)]
Metrics = Annotated[tuple[Literal["HR", "NDCG", "MRR"], ...], Field(min_length=1, max_length=10), FailFast()]
WITHOUT_CUTOFF = frozenset({"MRR"})  # the metrics that are one number, and not one for each k
Rate = Annotated[float, Field(gt=0)]
Text = Annotated[str, Field(max_length=4096, pattern=r"^[^\x00-\x1f\x7f]+$")]  # a name or a path
NotNegative = Annotated[float, Field(ge=0)]
# Memory policies that choose from the whole history at once.
WholeHistory = Literal["random", "last"]
# Aggregations that look at each sender's change.
RobustMean = Literal["norm_clipping", "trimmed_mean", "median"]


def setting(default: Any, description: str, original: Any = None) -> Any:
    """Make a field with its meaning, and the original's default if that differs from ours."""
    extra = None if original is None else {"original": original}
    return Field(default=default, description=description, json_schema_extra=extra)


class Section(BaseModel):
    """A frozen section that refuses unknown keys and NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Repeats = Literal["hide", "offer"]


class DataConfig(Section):
    """Which users take part, with which of their interactions."""

    min_sequence_length: Annotated[int, Field(ge=3, le=1_000_000)] = setting(
        5, "Users with fewer interactions are served from the global memory and never trained on or evaluated."
    )
    cold_user_fraction: Probability = setting(0.0, "Share of users kept out of training for the cold-start protocol.")
    repeats: Repeats = setting(
        "hide",
        "Whether what a user has taken may be recommended to them again. `hide` ranks and serves new items only, and "
        "counts a repeated target as a miss; `offer` ranks and serves all.",
    )
    max_history: Annotated[int, Field(ge=1, le=1_000_000)] = setting(
        10_000,
        "Interactions of one user that are trained on at most, the newest; it bounds what a client takes in memory.",
    )

    @property
    def says_repeats(self) -> bool:
        """Whether ``repeats`` was given, or is the default, which a setting of the data set comes before."""
        return "repeats" in self.model_fields_set


class FeaturesConfig(Section):
    """Frozen features: a modality is required, auto (used where present) or off."""

    text: Policy = setting("auto", "Item texts through the text encoder model.text_model_name.")
    image: Policy = setting("auto", "Item images through image_model_name.")
    image_model_name: Text = setting(
        "clip-ViT-B-32",
        "CLIP by name or local path; `descriptor` for a weight-free one; or a file of precomputed vectors.",
    )
    preference_text: Policy = setting("auto", "Users' preference texts, written on the client; they need item texts.")
    preference_source: Literal["template", "endpoint"] = setting(
        "template", "`template` works offline; `endpoint` asks an OpenAI-compatible language model before training."
    )

    def policy(self, modality: Modality) -> Policy:
        """Look up the policy of a modality that has frozen features."""
        policy: Policy = getattr(self, modality.stored)
        return policy


class ModelConfig(Section):
    """Sizes of UR4RecV2MoE."""

    sasrec_hidden_dim: Size = setting(64, "Hidden size D of the sequence model.", original=256)
    sasrec_num_blocks: Size = setting(2, "Self-attention blocks.")
    sasrec_num_heads: Size = setting(2, "Attention heads of a block; divides sasrec_hidden_dim.", original=4)
    sasrec_dropout: Probability = setting(0.2, "Dropout on embeddings and on every sub-layer's output.", original=0.1)
    max_seq_len: Size = setting(50, "Longest context L, in items.")
    text_model_name: Text = setting("all-MiniLM-L6-v2", "Any sentence-transformers model name or local path.")
    text_embedding_dim: Positive | None = setting(
        None, "Expected size D_t of the text encoder's vectors; null takes what the encoder gives.", original=384
    )
    retriever_output_dim: Size = setting(64, "Size of the text and visual experts' item vectors.", original=256)
    moe_num_heads: Size = setting(2, "Heads of an expert's attention; divides sasrec_hidden_dim.", original=8)
    moe_dropout: Probability = setting(0.1, "Dropout on what an expert read from memory.")
    moe_balance: NotNegative = setting(
        0.1,
        "Weight of the loss that keeps all experts in use; without it the router gives one nearly all.",
        original=0.0,
    )
    fusion_method: Literal["weighted", "learned", "adaptive"] = setting(
        "weighted", "Fixed weights, trained scalars, or weights made from the user's state."
    )
    sasrec_weight: Rate = setting(0.5, "Weight w_s of the sequence score in weighted fusion.")
    retriever_weight: NotNegative = setting(0.5, "Weight w_r of the retriever's score.")

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        for name in ("sasrec_num_heads", "moe_num_heads"):
            if self.sasrec_hidden_dim % getattr(self, name):
                raise ValueError(
                    f"{name} = {getattr(self, name)} must divide sasrec_hidden_dim = {self.sasrec_hidden_dim}"
                )
        if self.fusion_method != "weighted" and self.retriever_weight == 0:
            raise ValueError(f"retriever_weight = 0 keeps {self.fusion_method} fusion at zero for ever; start above it")
        return self


class FedMemConfig(Section):
    """Local dynamic memory, prototypes and the contrastive loss."""

    memory_capacity: Size = setting(
        50, "Entries of a client's memory. As a guide: 20-50 for small, 50-100 for medium, 100-200 for large data sets."
    )
    surprise_threshold: NotNegative = setting(
        0.5, "An item is written when its mean BPR loss, in nats, is at least this."
    )
    surprise_quantile: Fraction | None = setting(
        None, "If set, the threshold is this quantile of the surprises of the local step instead."
    )
    memory_policy: Literal["surprise", WholeHistory] = setting(
        "surprise", "What is written: surprising items or, as controls, random or the last items of the history."
    )
    warmup_rounds: Annotated[int, Field(ge=0, le=1_000_000)] = setting(
        10, "Rounds before anything is written: an untrained model is surprised by everything."
    )
    recency_weight: NotNegative = setting(0.6, "Weight alpha of recency in an entry's utility.")
    frequency_weight: NotNegative = setting(0.4, "Weight beta of frequency in an entry's utility.")
    decay_time: Rate = setting(50.0, "e-folding time of recency, in interactions.")
    enable_prototype_aggregation: bool = setting(True, "Clients send prototypes; the server merges and returns them.")
    num_memory_prototypes: Size = setting(5, "Prototypes K.")
    prototype_aggregation: Literal["mean", "weighted", "recluster"] = setting(
        "weighted", "Mean over clients, mean weighted by prototype_weights, or weighted k-means of all uploads."
    )
    prototype_weights: Literal["samples", "counts"] = setting(
        "counts", "What weighs a client's prototype: the cluster's size or its training samples.", original="samples"
    )
    minimum_cluster: Size = setting(
        1, "Remembered items of a cluster at least; of fewer a client sends no prototype, whose items are easily found."
    )
    prototype_momentum: Probability = setting(0.9, "Share of the old (sum, count) kept in a round's moving average.")
    contrastive_lambda: NotNegative = setting(0.1, "Weight of the contrastive loss.")
    contrastive_temperature: Rate = setting(0.1, "Temperature of InfoNCE.")


class TransitionsConfig(Section):
    """The transition memory: what followed what in the clients' histories, as one sum over all of them."""

    window: Annotated[int, Field(gt=0, le=100)] = setting(
        10, "Steps within which one item follows another; a pair counts one over its distance."
    )
    source_power: NotNegative = setting(0.5, "Power a by which a row is divided by how often its own item was taken.")
    target_power: NotNegative = setting(
        0.3, "Power b by which an entry is divided by how often the item it leads to was."
    )
    neighbours: Size = setting(100, "Entries N that are kept of a row, the greatest.")
    items_read: Size = setting(20, "Latest items of a history whose rows are read.")
    recency_power: NotNegative = setting(1.0, "Power p of (1 + age) by which a row that is read weighs less.")
    strengths: Annotated[tuple[NotNegative, ...], Field(min_length=1, max_length=32), FailFast()] = setting(
        (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5),
        "Weights alpha of the transition memory in the score that validations try; the best by NDCG@10 is taken.",
    )
    short_histories: Annotated[tuple[Size, ...], Field(max_length=8), FailFast()] = setting(
        (1, 3, 10),
        "For users of up to so many interactions validations choose a weight of their own, by histories that are cut "
        "to this length; [] takes one for all, as a budget for metrics does.",
    )
    sketch_bits: Annotated[int, Field(ge=4, le=22)] | None = setting(
        None,
        "If set, clients hand their transitions on as the cells of a count sketch, whose rows have 2 to this power of "
        "them; else as all pairs.",
    )
    sketch_rows: Annotated[int, Field(gt=0, le=9)] = setting(
        3, "Rows of the count sketch, of which the median is read."
    )


class TrainingConfig(Section):
    """What a client does with its own data."""

    loss: Literal["bpr", "sampled_softmax", "full_softmax"] = setting(
        "full_softmax", "Recommendation loss; the softmax losses are what makes SASRec strong.", original="bpr"
    )
    optimizer: Literal["sgd", "adam"] = setting("sgd", "The client's optimiser.", original="adam")
    learning_rate: Rate = setting(
        1.0, "The client's rate; with one SGD step of rate 1 the update is the gradient.", original=0.001
    )
    weight_decay: NotNegative = setting(0.0, "L2 term in the client's gradient.", original=1e-5)
    momentum: Probability = setting(0.0, "Momentum of the client's SGD; one step has none.", original=0.9)
    beta1: Probability = setting(0.9, "First moment's decay of the client's Adam.")
    beta2: Probability = setting(0.999, "Second moment's decay of the client's Adam.")
    epsilon: Rate = setting(1e-8, "Denominator's floor of the client's Adam.")
    batch_size: Positive | None = setting(
        None, "Positions per local step; null takes the whole history in one step.", original=32
    )
    num_negatives: Positive = setting(100, "Negatives N per client and step, outside the training history.")
    crop_probability: Annotated[float, Field(ge=0, le=1)] = setting(
        0.3, "Probability that a segment is cut at a random point, so that short contexts occur everywhere.", original=0
    )


class FederatedConfig(Section):
    """Rounds, aggregation and the server's optimiser."""

    num_rounds: Rounds = setting(400, "Rounds at most.", original=50)
    client_fraction: Fraction = setting(0.1, "Share of the trainable users selected in a round.")
    local_epochs: Size = setting(1, "Passes of a client over its data in a round.")
    aggregation_method: Literal["fedavg", "fedprox", RobustMean] = setting(
        "fedavg",
        "`fedprox` adds the proximal term, which acts from a client's second local step on. `norm_clipping`, "
        "`trimmed_mean` and `median` bound what a minority of poisoned senders can do; each counts once, and the "
        "server sees each one's change (docs/guide/training.md).",
    )
    trimmed_share: Annotated[float, Field(ge=0, lt=0.5)] = setting(
        0.2, "Share of the senders that `trimmed_mean` leaves out at either end, of each number."
    )
    fedprox_mu: Rate = setting(0.01, "Weight of FedProx's proximal term.")
    row_normalisation: bool = setting(
        False,
        "Divide an item row's update by the weight of the clients that touched it, not of all (a full softmax touches "
        "every row).",
    )
    server_optimizer: Literal["none", "momentum", "adam"] = setting(
        "adam", "What the server does with the averaged update.", original="none"
    )
    server_learning_rate: Rate = setting(0.003, "The server's rate; 1 with `none` is plain averaging.", original=1.0)
    server_momentum: Probability = setting(0.9, "Momentum of the server, for `momentum`.")
    server_beta1: Probability = setting(0.9, "First moment's decay of the server's Adam.")
    server_beta2: Probability = setting(0.99, "Second moment's decay of the server's Adam.")
    server_epsilon: Rate = setting(1e-8, "Denominator's floor of the server's Adam.")
    server_warmup_steps: Annotated[int, Field(ge=0, le=1_000_000)] = setting(
        20, "Server steps over which its rate rises."
    )
    server_averaging: Probability = setting(
        0.95,
        "Decay of the moving average of the global model that is evaluated and served; 0 serves the last one.",
        original=0,
    )
    patience: Rounds = setting(10, "Evaluations without a better validation NDCG@10 before training stops.")
    chunk_size: Size | None = setting(
        None,
        "Clients trained together at most; the unit of work, never of the numbers' meaning. Null takes 16 on a CPU, on "
        "a GPU as many of a round as it can hold.",
    )
    shards: Annotated[int, Field(gt=0, le=256)] = setting(
        1,
        "Parts into which clients are divided by their number. A chunk holds clients of one, and each of Ray's actors "
        "whole ones: so many actors at most. The last bits of sums depend on it, and not on who computes them.",
    )
    centralised_batch: Positive | None = setting(
        None,
        "If set, a round passes over its users in equal batches of about this many, one step each: pooled training.",
    )

    def cohort_size(self, clients: int) -> int:
        """Tell how many of so many clients a round selects."""
        return max(1, round(self.client_fraction * clients))

    def are_over(self, rounds: int, stale: int) -> bool:
        """Tell whether all rounds are done, or ``patience`` validations have brought nothing better."""
        return rounds >= self.num_rounds or stale >= self.patience


class SecureSumsConfig(Section):
    """Sums of which the server reads no client's part: masked arithmetic, as in SecAgg+."""

    enabled: bool = setting(
        False,
        "Clients mask updates, prototypes, transitions, popularity and metrics, so that the server reads sums alone. "
        "With engine = flower nodes do so, each for its users.",
    )
    minimum_cohort: Annotated[int, Field(ge=2, le=1_000_000)] = setting(
        20, "Fewest clients that a sum is made of; a smaller one betrays its clients, and is refused."
    )
    bits: Literal[32, 64] = setting(32, "Bits of each number of an update; all other numbers have 64.")
    clip: Rate = setting(
        1024.0,
        "A client's change of a parameter, times its weight, is clipped to plus or minus this before it is masked.",
    )
    neighbours: Annotated[int, Field(ge=2, le=1_000, multiple_of=2)] = setting(
        16, "Clients with whom each shares masks."
    )
    threshold: Annotated[float, Field(ge=0.5, le=1)] = setting(
        0.66,
        "Share of a client and its neighbours that must be left at the end, so that its mask can be taken off: 0.66 or "
        "more, and where not all are neighbours at least 13 of 17 (docs/privacy.md).",
    )


class FlowerConfig(Section):
    """Rounds over nodes of other owners, where engine is flower."""

    minimum_nodes: Annotated[int, Field(ge=1, le=1_000_000)] = setting(
        1,
        "Nodes a run begins with at least; a round goes on without others once so many have answered. Secure sums need "
        "3, and none is made of fewer than this.",
    )
    patience: Annotated[float, Field(gt=0, le=86_400)] = setting(600.0, "Seconds that a node has for its answer.")
    wait: Annotated[float, Field(gt=0, le=2_592_000)] = setting(
        1800.0,
        "Seconds that a run waits for so many nodes; then a trainer pauses its job and goes on with others, and "
        "`fedmem train` ends. Both are resumed.",
    )


class PrivacyConfig(Section):
    """Differential privacy for a user: what is given away with noise, and how much of a budget that may take."""

    transitions_epsilon: Annotated[float, Field(ge=0.001, le=100)] | None = setting(
        None,
        "If set, the transition memory is released once, with Gaussian noise by which it is (epsilon, delta)-"
        "differentially private for a user; what came of clients since waits for the next run.",
    )
    weights_epsilon: Annotated[float, Field(ge=0.1, le=1000)] | None = setting(
        None,
        "If set, the weights are (epsilon, delta)-differentially private for a user: each client's update is clipped, "
        "the sum gets Gaussian noise, cohorts are drawn as Poisson samples, and training ends when this is spent.",
    )
    weights_clip: Rate = setting(20.0, "L2 norm to which a client's update is clipped, where the weights get noise.")
    weights_noise: NotNegative | None = setting(
        None,
        "Noise's standard deviation over weights_clip. Null takes what spends weights_epsilon in federated.num_rounds; "
        "0 clips and draws Poisson samples alone, which protects nothing.",
    )
    prototypes_epsilon: Annotated[float, Field(ge=0.1, le=1000)] | None = setting(
        None,
        "If set, what prototypes add to what the weights spend is no more than this: each client's sums and counts are "
        "clipped, their sum gets Gaussian noise. It needs a budget for the weights, and training ends with it.",
    )
    prototypes_clip: Rate = setting(
        40.0,
        "L2 norm to which a client's prototypes are clipped where they get noise: counts, and sums against the "
        "centroids handed down, over these centroids' length.",
    )
    prototypes_noise: NotNegative | None = setting(
        None,
        "Noise's standard deviation over prototypes_clip. Null takes what spends prototypes_epsilon in "
        "federated.num_rounds; 0 clips alone, which protects nothing.",
    )
    metrics_epsilon: Annotated[float, Field(ge=0.1, le=1000)] | None = setting(
        None,
        "If set, metrics have a budget beside the weights': clients send none of training, and all validations with "
        "the test get Gaussian noise that spends this. Fewer metrics and transitions.strengths need less noise.",
    )
    delta: Annotated[float, Field(gt=0, lt=1)] = setting(
        1e-6,
        "Delta of all budgets together: each of the transition memory, the metrics, and weights with prototypes has an "
        "equal part; it should be less than one over the number of users.",
    )


class EvaluationConfig(Section):
    """What is measured, and when."""

    k_list: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=100), FailFast()] = setting(
        (5, 10, 20), "Cut-offs of HR and NDCG."
    )
    metrics: Metrics = setting(
        ("HR", "NDCG", "MRR"), "Metrics reported; NDCG@10, or HR@10 where NDCG is none of them, stops training."
    )
    eval_every: Rounds = setting(10, "Rounds between validations.")

    @model_validator(mode="after")
    def _stopping_metric_present(self) -> Self:
        if 10 not in self.k_list or not {"NDCG", "HR"} & set(self.metrics):
            raise ValueError(
                "k_list must contain 10, and metrics must contain NDCG, or else HR: the best round, the weight of the "
                "transition memory and the end of training are chosen by NDCG@10 or, without it, by HR@10"
            )
        return self

    @property
    def stopping_metric(self) -> str:
        """By what the best round and the weight of the transition memory are chosen, and training stops early."""
        return "NDCG@10" if "NDCG" in self.metrics else "HR@10"


class AblationConfig(Section):
    """Switches that turn parts of the method off."""

    disable_memory: bool = setting(False, "No local memory, no prototypes and no transitions are read or written.")
    disable_transitions: bool = setting(False, "Transitions are neither sent nor read.")
    disable_prototype_agg: bool = setting(False, "Prototypes are neither sent nor read.")
    disable_contrastive: bool = setting(False, "No contrastive loss.")
    disable_moe: bool = setting(
        True,
        "No retriever, and so neither local memory nor prototypes: the sequence model and the transitions alone. No "
        "gain by them could be measured (docs/results.md).",
        original=False,
    )


class ExperimentConfig(Section):
    """The whole configuration of one training run."""

    seed: Annotated[int, Field(ge=0, lt=2**53)] = setting(42, "All randomness is derived from (seed, round, client).")
    device: Text = setting("cpu", "Where the model lives: cpu, cuda, cuda:0.")
    workers: Annotated[int, Field(gt=0, le=256)] = setting(
        1, "Processes that train clients side by side, or Ray's actors; on a CPU the numbers are the same for any."
    )
    engine: Literal["simulation", "ray", "flower"] = setting(
        "simulation",
        "Where clients train: on this machine, in Ray's actors on one or many, or on nodes of other owners that a "
        "Flower SuperLink reaches (docs/deployment.md).",
    )
    save_dir: Text = setting("runs/fedmem", "Where a run is written when the command line names no --out.")
    log_interval: Rounds = setting(10, "Rounds between log lines where there is no progress bar.")
    save_interval: Rounds = setting(10, "Rounds between checkpoints.")
    data: DataConfig = DataConfig()
    features: FeaturesConfig = FeaturesConfig()
    model: ModelConfig = ModelConfig()
    fedmem: FedMemConfig = FedMemConfig()
    transitions: TransitionsConfig = TransitionsConfig()
    training: TrainingConfig = TrainingConfig()
    federated: FederatedConfig = FederatedConfig()
    flower: FlowerConfig = FlowerConfig()
    secure_sums: SecureSumsConfig = SecureSumsConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    ablation: AblationConfig = AblationConfig()

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.features.preference_text == "required" and not self.uses_memory:
            raise ValueError(
                "features.preference_text is required, but the experts that read it are disabled: "
                "set ablation.disable_moe=false, or the text to auto"
            )
        if self.fedmem.memory_policy in get_args(WholeHistory) and self.training.batch_size is not None:
            raise ValueError(
                f"fedmem.memory_policy = {self.fedmem.memory_policy} chooses from the whole history: "
                "set training.batch_size to null"
            )
        return self

    @model_validator(mode="after")
    def _nodes_can(self) -> Self:
        """Refuse what clients on other owners' machines do not do."""
        wanted = {
            "privacy.weights_epsilon and privacy.weights_noise": self.clips_weights,
            "data.cold_user_fraction": bool(self.data.cold_user_fraction),
            "federated.centralised_batch": self.federated.centralised_batch is not None,
        }
        set_here = [key for key, is_set in wanted.items() if is_set]
        if not self.clients_here and set_here:
            raise ValueError(f"engine = flower does not do {set_here[0]} yet: leave it out, or set engine=simulation")
        if not self.clients_here and self.secure_sums.enabled and self.flower.minimum_nodes < FEWEST_NODES:
            raise ValueError(
                f"flower.minimum_nodes = {self.flower.minimum_nodes} with secure_sums.enabled: set it to "
                f"{FEWEST_NODES} or more, because a sum of fewer betrays them, and none is made of fewer than this"
            )
        return self

    @model_validator(mode="after")
    def _actors_can(self) -> Self:
        """Refuse actors that would have no client, or no device."""
        if self.engine == "ray" and self.workers > self.federated.shards:
            raise ValueError(
                f"engine = ray with workers = {self.workers} needs as many federated.shards at least, and there are "
                f"{self.federated.shards}: each actor holds the clients of whole shards"
            )
        if self.engine == "ray" and not self.on_a_cpu:
            raise ValueError(f"engine = ray trains on CPUs, and device = {self.device}: choose cpu")
        return self

    @model_validator(mode="after")
    def _sums_suffice(self) -> Self:
        """Refuse what cannot be made of sums, where there are only sums."""
        if not self.secure_sums.enabled:
            return self
        if self.uses_prototypes and self.fedmem.prototype_aggregation == "recluster":
            raise ValueError(
                "secure_sums.enabled leaves the server no client's prototypes, which fedmem.prototype_aggregation = "
                "recluster needs: choose weighted or mean"
            )
        if self.federated.centralised_batch is not None:
            raise ValueError(
                "secure_sums.enabled hides clients from a server, and federated.centralised_batch = "
                f"{self.federated.centralised_batch} is training on pooled data: set one of them only"
            )
        return self

    @model_validator(mode="after")
    def _changes_are_seen(self) -> Self:
        """Refuse what hides single changes from a robust aggregation, or has other means."""
        wanted = {
            "secure_sums.enabled": self.secure_sums.enabled,
            "privacy.weights_epsilon": self.clips_weights,
            "federated.row_normalisation": self.federated.row_normalisation,
            "federated.centralised_batch": self.federated.centralised_batch is not None,
        }
        set_here = [key for key, is_set in wanted.items() if is_set]
        if self.gathers_changes and set_here:
            raise ValueError(
                f"federated.aggregation_method = {self.federated.aggregation_method} looks at each client's change, "
                f"which does not go with {set_here[0]}: leave that out, or choose fedavg"
            )
        return self

    @model_validator(mode="after")
    def _pairs_can_be_private(self) -> Self:
        """Refuse noise on cells, which is added to all pairs."""
        if self.releases_transitions and self.transitions.sketch_bits is not None:
            raise ValueError(
                f"transitions.sketch_bits = {self.transitions.sketch_bits} with privacy.transitions_epsilon: set it to "
                "null, because noise is added to all pairs"
            )
        return self

    @model_validator(mode="after")
    def _weights_can_be_private(self) -> Self:
        """Refuse what would make a budget for the weights untrue."""
        if not self.clips_weights:
            return self
        self._noise_counts("weights")
        if self.uses_prototypes and not self.clips_prototypes:
            raise ValueError(
                "prototypes have no budget, and weights that are trained on them would not keep "
                "privacy.weights_epsilon: set privacy.prototypes_epsilon, ablation.disable_prototype_agg=true or "
                "ablation.disable_moe=true"
            )
        if self.secure_sums.enabled:
            raise ValueError(
                "secure_sums.enabled refuses cohorts below secure_sums.minimum_cohort, which the Poisson samples of "
                "privacy.weights_epsilon may be, and rounds what was clipped up: set one of them only"
            )
        for name, value in (("centralised_batch", None), ("row_normalisation", False)):
            if (found := getattr(self.federated, name)) != value:
                raise ValueError(
                    f"federated.{name} = {str(found).lower()} with privacy.weights_epsilon: set it to "
                    f"{'null' if value is None else 'false'}, because each client counts once in one sum a round"
                )
        return self

    @model_validator(mode="after")
    def _prototypes_can_be_private(self) -> Self:
        """Refuse what would make a budget for the prototypes, or for the weights that are trained on them, untrue."""
        if not self.clips_prototypes:
            return self
        self._noise_counts("prototypes")
        privacy, fedmem = self.privacy, self.fedmem
        if not self.clips_weights or (privacy.prototypes_epsilon is not None and privacy.weights_noise == 0):
            raise ValueError(
                "privacy.prototypes_epsilon without noise on the weights, which tell who took part and what clients "
                "chose to remember: set privacy.weights_epsilon too"
            )
        if privacy.prototypes_noise == 0 and privacy.weights_noise != 0:
            raise ValueError(
                "privacy.prototypes_noise = 0, and weights that are trained on prototypes would not keep "
                "privacy.weights_epsilon: set it to null, which computes the noise"
            )
        if (fedmem.prototype_aggregation, fedmem.prototype_weights) != ("weighted", "counts"):
            raise ValueError(
                f"fedmem.prototype_aggregation = {fedmem.prototype_aggregation} and fedmem.prototype_weights = "
                f"{fedmem.prototype_weights} with privacy.prototypes_epsilon: set weighted and counts, by which what "
                "was clipped is added up as it is"
            )
        return self

    @model_validator(mode="after")
    def _metrics_can_be_private(self) -> Self:
        """Refuse a budget for metrics beside updates that have none, which tell more than metrics do."""
        if self.noises_metrics and (not self.clips_weights or self.privacy.weights_noise == 0):
            raise ValueError(
                "privacy.metrics_epsilon without noise on the weights, which tell more than metrics: set "
                "privacy.weights_epsilon too"
            )
        return self

    def _noise_counts(self, part: Literal["weights", "prototypes"]) -> None:
        """Refuse noise that cannot be accounted for.

        Raises:
            ValueError: naming the setting.
        """
        noise, epsilon = getattr(self.privacy, f"{part}_noise"), getattr(self.privacy, f"{part}_epsilon")
        if epsilon is not None and noise == 0:
            raise ValueError(
                f"privacy.{part}_noise = 0 spends more than privacy.{part}_epsilon = {epsilon}: "
                "set it to null, which computes the noise"
            )
        if 0 < (noise or 0) < 0.01:
            raise ValueError(
                f"privacy.{part}_noise = {noise} protects nothing that could be counted: "
                "set at least 0.01, null, which computes it, or 0"
            )

    def settings(self) -> dict[str, Any]:
        """List every setting, as JSON holds it, by its dotted name."""
        found: dict[str, Any] = {}
        for name, value in self.model_dump(mode="json").items():
            section = value if isinstance(value, dict) else {}
            found |= {f"{name}.{key}": leaf for key, leaf in section.items()} or {name: value}
        return found

    @property
    def clients_here(self) -> bool:
        """Whether the clients and their data are of this installation, and not at other owners' nodes."""
        return self.engine != "flower"

    @property
    def is_fedsgd(self) -> bool:
        """Whether a client's round is a single SGD step over its whole history."""
        return (
            self.training.optimizer == "sgd"
            and self.training.batch_size is None
            and self.federated.local_epochs == 1
            and not self.federated.row_normalisation  # it asks which rows each client touched
        )

    @property
    def on_a_cpu(self) -> bool:
        """Whether the model lives in the machine's own memory."""
        return self.device.partition(":")[0] == "cpu"

    @property
    def clients_together(self) -> int:
        """Clients of a chunk at most, unless they are too long for that."""
        return self.federated.chunk_size or (CPU_CHUNK if self.on_a_cpu else LARGEST)

    @property
    def uses_retriever(self) -> bool:
        """Whether the experts take part in the score."""
        return not self.ablation.disable_moe

    @property
    def uses_memory(self) -> bool:
        """Whether anything is read from a local memory."""
        return self.uses_retriever and not self.ablation.disable_memory

    @property
    def uses_prototypes(self) -> bool:
        """Whether the global abstract memory is built and read."""
        enabled = self.fedmem.enable_prototype_aggregation and not self.ablation.disable_prototype_agg
        return self.uses_memory and enabled

    @property
    def uses_transitions(self) -> bool:
        """Whether the transition memory is built and read."""
        return not (self.ablation.disable_memory or self.ablation.disable_transitions)

    @property
    def cut_histories(self) -> tuple[int, ...]:
        """To which lengths validations cut histories: none where nothing is to choose, or figures need noise."""
        chooses = any(self.transitions.strengths) and not self.noises_metrics
        return self.transitions.short_histories if chooses else ()

    @property
    def releases_transitions(self) -> bool:
        """Whether the transition memory is read only as released once, with noise."""
        return self.uses_transitions and self.privacy.transitions_epsilon is not None

    @property
    def clips_weights(self) -> bool:
        """Whether clients' updates are clipped, cohorts Poisson samples, and sums noised where there is noise."""
        return self.privacy.weights_epsilon is not None or self.privacy.weights_noise is not None

    @property
    def gathers_changes(self) -> bool:
        """Whether the server sees what each client, or node, changes."""
        return self.federated.aggregation_method in get_args(RobustMean)

    @property
    def clips_prototypes(self) -> bool:
        """Whether clients' prototypes are clipped, and their sums noised where there is noise."""
        privacy = self.privacy
        return self.uses_prototypes and (privacy.prototypes_epsilon is not None or privacy.prototypes_noise is not None)

    @property
    def delta_each(self) -> float:
        """Delta of each: of what is released once, what every round is, and evaluations, where they have budgets."""
        weights = self.clips_weights and self.privacy.weights_noise != 0
        return self.privacy.delta / max(1, weights + self.releases_transitions + self.noises_metrics)

    @property
    def noises_metrics(self) -> bool:
        """Whether metrics have a budget."""
        return self.privacy.metrics_epsilon is not None

    @property
    def release_round(self) -> int:
        """The round after which it is released: 99 % of the clients are expected to have taken part by then."""
        fraction = self.federated.client_fraction
        # Of the least fractions there are it is infinite, and a million rounds are the most that a run has.
        return 1 if fraction > 0.99 else math.ceil(min(math.log(0.01) / math.log1p(-fraction), 1_000_000))

    @property
    def first_release_validation(self) -> int:
        """The first round whose validation reads what was released; a last round is not validated for being last."""
        every = self.evaluation.eval_every
        return (self.release_round // every + 1) * every

    @property
    def uses_contrastive(self) -> bool:
        """Whether the contrastive loss takes part."""
        return self.uses_memory and self.fedmem.contrastive_lambda > 0 and not self.ablation.disable_contrastive
