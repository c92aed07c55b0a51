"""UR4RecV2MoE: SASRec, preference experts over memory and fusion, scored by one inner product.

Everything that depends on an item is a row of the item matrix X, everything that depends on the user is the query q:
score(u, i) = ⟨q_u, x_i⟩. Training, evaluation and serving use this one function.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from fedmem.config import ModelConfig
from fedmem.modality import FROZEN, Modality
from fedmem.model.fusion import Fusion
from fedmem.model.item_vectors import FrozenFeatures, ItemTable, MaskedVectors, availability
from fedmem.model.layers import Linear, take
from fedmem.model.losses import info_nce
from fedmem.model.packing import Packing
from fedmem.model.preference_retriever import (
    Preference,
    PreferenceExpert,
    PrototypeVectors,
    RetrievedMemory,
    TextPreferenceRetrieverMoE,
    with_null_slot,
)
from fedmem.model.sasrec import Dropout, SASRec, no_dropout

INITIAL_STD = 0.02


@dataclass(frozen=True)
class Reader:
    """What a query is made from besides the sequence.

    Attributes:
        memory: what may be read, or None.
        target_index: history index of each position's target [B, T].
        preference: encoded preference texts [B, D_t], or None.
        preference_from: the first target index that may read the text [B].
    """

    memory: RetrievedMemory | None
    target_index: Tensor
    preference: Tensor | None = None
    preference_from: Tensor | None = None

    def at(self, column: Tensor) -> "Reader":
        """Make the reader of one position per segment: column [B] of ``target_index`` -> [B, 1]."""
        return replace(self, target_index=self.target_index.gather(1, column[:, None]))

    def readable_preference(self) -> Preference | None:
        """Find the texts and where they may be read, or None."""
        if self.preference is None or self.preference_from is None:
            return None
        return Preference(self.preference, self.target_index >= self.preference_from[:, None])


class UR4RecV2MoE(nn.Module):
    """The global model.

    Args:
        config: sizes.
        num_items: I.
        features: frozen features of the modalities that take part.
        use_retriever: False leaves SASRec (with text, if there is any, in its item embeddings).
        use_contrastive: whether the contrastive loss will be asked for (its projection exists only then).
    """

    availability: Tensor | None

    def __init__(
        self,
        config: ModelConfig,
        num_items: int,
        features: FrozenFeatures | None = None,
        *,
        use_retriever: bool = True,
        use_contrastive: bool = True,
    ) -> None:
        super().__init__()
        features = features or {}
        self.modalities = tuple(modality for modality in FROZEN if modality in features)
        for name, value in self._buffers_of(features).items():
            self.register_buffer(name, value, persistent=False)
        dims = {modality: features[modality].vectors.shape[1] for modality in self.modalities}
        dim = config.sasrec_hidden_dim
        self.sasrec = SASRec(
            num_items,
            dim,
            config.sasrec_num_blocks,
            config.sasrec_num_heads,
            config.sasrec_dropout,
            config.max_seq_len,
        )
        self.text_embedding = Linear(dims[Modality.TEXT], dim, bias=False) if Modality.TEXT in dims else None
        self.retriever: TextPreferenceRetrieverMoE | None = None
        self.image_projection: Linear | None = None
        self.register_buffer("availability", availability(self.features) if use_retriever else None, persistent=False)
        if not use_retriever:
            return
        patterns = 1 if self.availability is None else int(self.availability.max()) + 1
        self.retriever = TextPreferenceRetrieverMoE(
            dim, config.retriever_output_dim, config.moe_num_heads, config.moe_dropout, dims, patterns
        )
        self.fusion = Fusion(config.fusion_method, dim, config.sasrec_weight, config.retriever_weight)
        if use_contrastive and {Modality.TEXT, Modality.VISUAL} <= dims.keys():
            self.image_projection = Linear(config.retriever_output_dim, dim, bias=False)

    @property
    def features(self) -> FrozenFeatures:
        """The frozen features, where the model lives and in its precision."""
        return {m: MaskedVectors(getattr(self, f"{m}_features"), getattr(self, f"{m}_mask")) for m in self.modalities}

    @property
    def text_dim(self) -> int | None:
        """Size D_t of the frozen text features, or None."""
        return self.text_embedding.in_features if self.text_embedding is not None else None

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> "UR4RecV2MoE":
        """Draw the starting weights: small normal embeddings, Xavier matrices, zero biases, zero expert outputs."""
        for name, parameter in self.named_parameters():
            if name.endswith(("item_embedding", "position_embedding", "start_token", "text_embedding.weight")):
                parameter.normal_(0, INITIAL_STD, generator=generator)
            elif parameter.dim() == 2:
                nn.init.xavier_uniform_(parameter, generator=generator)
            elif "norm" not in name and "scalars" not in name:
                parameter.zero_()
        self.sasrec.item_embedding[0] = 0
        if self.text_embedding is not None:
            self.text_embedding.weight /= self.text_embedding.in_features**0.5
        if self.retriever is not None:
            self._start_from_sasrec(self.retriever)
        return self

    def _start_from_sasrec(self, retriever: TextPreferenceRetrieverMoE) -> None:
        for _, expert in retriever.by_modality():
            expert.output.weight.zero_()
        if retriever.availability is not None:
            retriever.availability.weight.zero_()
        if self.fusion.method == "adaptive":
            self.fusion.gate.weight.zero_()

    def with_features(self, features: FrozenFeatures, availability: Tensor | None) -> "UR4RecV2MoE":
        """Make a model that shares these parameters and looks at other frozen features, of as many items.

        ``availability`` numbers the patterns of modalities as this model's does, [I + 1], or is None where it has none.
        """
        other = copy.copy(self)
        other._buffers = {**self._buffers_of(features), "availability": availability}
        return other

    @staticmethod
    def _buffers_of(features: FrozenFeatures) -> dict[str, Tensor | None]:
        vectors: dict[str, Tensor | None] = {f"{modality}_features": one.vectors for modality, one in features.items()}
        return vectors | {f"{modality}_mask": one.mask for modality, one in features.items()}

    def item_table(self, rows: Tensor | None = None, ids: Tensor | None = None) -> ItemTable:
        """Make the vectors of the items ``rows`` (sorted indices [n], or [C, n] of C clients), or of all.

        ``ids`` are the id embeddings of these rows where they were taken out of the model already.
        """
        ids = self._take(self.sasrec.item_embedding, rows) if ids is None else ids
        embedding = ids
        frozen = {modality: self._frozen(one.vectors, rows) for modality, one in self.features.items()}
        if self.text_embedding is not None:
            embedding = embedding + self.text_embedding(frozen[Modality.TEXT])
        vectors = {Modality.SEQUENTIAL: embedding}
        if self.retriever is None:
            return ItemTable(rows, vectors, embedding, ids)
        vectors |= {modality: self.retriever.adapter(modality)(one) for modality, one in frozen.items()}
        blocks = [*vectors.values(), *self._availability_block(rows, embedding)]
        return ItemTable(rows, vectors, torch.cat(blocks, dim=-1), ids)

    @staticmethod
    def _take(table: Tensor, rows: Tensor | None) -> Tensor:
        return table if rows is None else take(table, rows)

    def _frozen(self, table: Tensor, rows: Tensor | None) -> Tensor:
        """Take rows of a frozen table [n, ..], or [C, n, ..] for a model that holds the parameters of C clients."""
        if rows is not None:
            return table[rows]
        clients = self.sasrec.start_token.shape[:-1]
        return table.expand(*clients, *table.shape)

    def _availability_block(self, rows: Tensor | None, like: Tensor) -> Iterator[Tensor]:
        """Make the one-hot block of the patterns but the first, where there are several."""
        if self.retriever is None or self.retriever.availability is None:
            return
        assert self.availability is not None
        pattern = self._frozen(self.availability, rows)
        patterns = torch.arange(1, self.retriever.availability.out_features + 1, device=like.device)
        yield (pattern.unsqueeze(-1) == patterns).to(like.dtype)

    def states(self, table: ItemTable, items: Tensor, drop: Dropout = no_dropout) -> Tensor:
        """Compute the states h of all prefixes of the contexts ``items`` [B, T] -> [B, T + 1, D]."""
        return self.sasrec.encode(table.embedding[table.position(items)], drop)

    def last_state(self, table: ItemTable, items: Tensor, length: Tensor | None = None) -> Tensor:
        """Compute the state after whole contexts ``items`` [B, T] of ``length`` [B] (None: no padding) -> [B, 1, D]."""
        return self.sasrec.encode_last(take(table.embedding, table.position(items)), length)

    def packed_states(self, table: ItemTable, inputs: Tensor, packing: Packing, drop: Dropout = no_dropout) -> Tensor:
        """Compute the states of packed segments: the item before each token [C, P] (any at a start) -> [C, P, D]."""
        return self.sasrec.encode_packed(take(table.embedding, table.position(inputs)), packing, drop)

    def read_memory(self, h: Tensor, table: ItemTable, reader: Reader) -> dict[Modality, Tensor]:
        """Let each expert read at each position: [B, T, D] by modality; empty without a retriever or a memory."""
        preference = reader.readable_preference()
        return {
            modality: expert.read(h, vectors, readable, preference)
            for modality, expert, vectors, readable in self._readable(table, reader)
        }

    def read_by_mass(self, prototypes: PrototypeVectors, mass: Tensor) -> dict[Modality, Tensor]:
        """Let each expert read where nothing is known that could attend: [1, 1, D] by modality.

        The prototypes weigh as their ``mass`` [K] does; an expert whose modality none of them has reads nothing.
        """
        assert self.retriever is not None
        read = {}
        for modality, expert in self.retriever.by_modality():
            adapted = self.adapt_prototypes(modality, prototypes)
            weights = torch.cat([mass * adapted.mask, mass.new_zeros(1)])
            weights = weights / weights.sum().clamp(min=torch.finfo(mass.dtype).tiny)
            read[modality] = expert.values_of(with_null_slot(adapted.vectors[None]), weights.view(1, 1, 1, -1))
        return read

    def _readable(
        self, table: ItemTable, reader: Reader
    ) -> Iterator[tuple[Modality, PreferenceExpert, Tensor, Tensor]]:
        """List per expert the vectors in its modality [B, M, Z] and which position may read which [B, T, M]."""
        memory = reader.memory
        if self.retriever is None or memory is None:
            return
        written = (memory.items > 0)[:, None] & (memory.index[:, None] < reader.target_index[..., None])  # [B, T, M]
        for modality, expert in self.retriever.by_modality():
            local = self._local_entries(modality, table, memory)
            vectors, readable = local.vectors, written & local.mask[:, None]
            if memory.prototypes is not None:
                adapted = self.adapt_prototypes(modality, memory.prototypes)
                vectors = torch.cat([vectors, adapted.vectors.expand(len(vectors), -1, -1)], dim=1)
                readable = torch.cat([readable, adapted.mask.expand(*readable.shape[:2], -1)], dim=-1)
            yield modality, expert, vectors, readable

    def _local_entries(self, modality: Modality, table: ItemTable, memory: RetrievedMemory) -> MaskedVectors:
        """Find the local entries in one modality [B, M, Z] and whether they have it [B, M]."""
        if modality is Modality.SEQUENTIAL:
            return MaskedVectors(memory.id_embedding, memory.items > 0)
        vectors = take(table.vectors[modality], table.position(memory.items))
        return MaskedVectors(vectors, self.features[modality].mask[memory.items])

    def adapt_prototypes(self, modality: Modality, prototypes: PrototypeVectors) -> MaskedVectors:
        """Adapt the prototypes to what an expert sees of items: [K, Z] and the mask [K]."""
        assert self.retriever is not None
        block = prototypes[modality]
        if modality is Modality.SEQUENTIAL:
            return block
        adapter = self.retriever.adapter(modality)
        clients = adapter.weight.shape[:-2]  # none, or C models with an adapter each
        return MaskedVectors(adapter(block.vectors.expand(*clients, *block.vectors.shape)), block.mask)

    def queries(self, h: Tensor, read: Mapping[Modality, Tensor], drop: Dropout = no_dropout) -> Tensor:
        """Compute the user side of the score: states [B, T, D] and what was read -> q [B, T, D_x].

        Without a retriever q is h itself, so that scores are SASRec's bit for bit.
        """
        if self.retriever is None:
            return h
        sequence, retriever = self.fusion(h)
        parts = self.retriever.preferences(h, read, drop) if read else {}
        blocks = [sequence * h + retriever * parts[Modality.SEQUENTIAL] if parts else sequence * h]
        for modality in self.modalities:
            width = self.retriever.item_dim
            blocks.append(retriever * parts[modality] if parts else h.new_zeros(*h.shape[:-1], width))
        if self.retriever.availability is not None:
            blocks.append(retriever * self.retriever.availability(h))
        return torch.cat(blocks, dim=-1)

    def forward(self, items: Tensor, reader: Reader, drop: Dropout = no_dropout) -> Tensor:
        """Score all items after every prefix of the contexts [B, T] -> [B, T + 1, I + 1]; column 0 is padding."""
        table = self.item_table()
        h = self.states(table, items, drop)
        return self.queries(h, self.read_memory(h, table, reader), drop) @ table.matrix.T

    def get_user_preference_embeddings(self, read: Mapping[Modality, Tensor]) -> Tensor | None:
        """Find the user's text preference: what the text expert read, text and memory, before its output [B, T, D]."""
        return read.get(Modality.TEXT)

    def get_item_embeddings(self, table: ItemTable, items: Tensor) -> Tensor:
        """Make the id and image representation of items for the contrastive loss, without text: [..] -> [.., D]."""
        assert table.ids is not None, "a table that a loss is computed from"
        position = table.position(items)
        embedding = take(table.ids, position)
        if self.image_projection is not None:
            embedding = embedding + self.image_projection(take(table.vectors[Modality.VISUAL], position))
        return embedding

    def compute_contrastive_loss(
        self,
        read: Mapping[Modality, Tensor],
        table: ItemTable,
        positives: Tensor,
        negatives: Tensor,
        temperature: float,
    ) -> Tensor | None:
        """Compute InfoNCE of the user's text preference against positives [B, T] and negatives [B, N] -> [B, T].

        Positions that read nothing have no preference and a loss of zero; None when there is no text expert.
        """
        user = self.get_user_preference_embeddings(read)
        if user is None:
            return None
        has_preference = user.detach().abs().sum(-1) > 0
        loss = info_nce(
            user, self.get_item_embeddings(table, positives), self.get_item_embeddings(table, negatives), temperature
        )
        return loss * has_preference
