"""UR4RecV2MoE: SASRec, preference experts over memory and fusion, scored by one inner product.

Everything that depends on an item is a row of the item matrix X, everything that depends on the user is the query q:
score(u, i) = ⟨q_u, x_i⟩. Training, evaluation and serving use this one function.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from fedmem.config import ModelConfig
from fedmem.model.fusion import Fusion
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
class FrozenFeatures:
    """Frozen item features by item index; row 0 is padding. A modality that is off is None.

    Attributes:
        text: [I + 1, D_t], centred; zero where the item has no text.
        text_mask: [I + 1], whether the item has text.
        image: [I + 1, D_v], centred; zero where the item has no image.
        image_mask: [I + 1], whether the item has an image.
    """

    text: Tensor | None = None
    text_mask: Tensor | None = None
    image: Tensor | None = None
    image_mask: Tensor | None = None

    def availability(self) -> Tensor | None:
        """Pattern of modalities of each item [I + 1], numbered from 0 over the patterns that occur; None if one."""
        if self.text_mask is None and self.image_mask is None:
            return None
        patterns, number = self.codes()[1:].unique(return_inverse=True)
        if len(patterns) == 1:
            return None
        return torch.cat([number.new_zeros(1), number])

    def codes(self) -> Tensor:
        """Which modalities each item has, as a number with a bit for each that is used [I + 1]."""
        masks = [mask.long() for mask in (self.text_mask, self.image_mask) if mask is not None]
        return sum((mask << bit for bit, mask in enumerate(masks)), torch.zeros_like(masks[0]))


@dataclass(frozen=True)
class ItemTable:
    """Item vectors of some rows of the catalogue, shared [n, ..] or once per client [C, n, ..].

    Attributes:
        rows: the sorted item indices [n] or [C, n], or None for all of 0..I.
        embedding: e_i [n, D].
        text: z_text,i [n, Z], or None.
        visual: z_visual,i [n, Z], or None.
        matrix: X [n, D_x], the item side of the score.
    """

    rows: Tensor | None
    embedding: Tensor
    text: Tensor | None
    visual: Tensor | None
    matrix: Tensor

    def position(self, items: Tensor) -> Tensor:
        """Where the items stand in this table; they must be in ``rows``."""
        if self.rows is None:
            return items
        if self.rows.dim() == 1:
            return torch.searchsorted(self.rows, items)
        return torch.searchsorted(self.rows, items.flatten(1)).view_as(items)


@dataclass(frozen=True)
class Reader:
    """What stands beside the sequence when a query is made.

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
        """The reader of one position per segment: column [B] of ``target_index`` -> [B, 1]."""
        return replace(self, target_index=self.target_index.gather(1, column[:, None]))

    def readable_preference(self) -> Preference | None:
        """The texts and where they may be read, or None."""
        if self.preference is None or self.preference_from is None:
            return None
        return Preference(self.preference, self.target_index >= self.preference_from[:, None])


class UR4RecV2MoE(nn.Module):
    """The global model.

    Args:
        config: sizes.
        num_items: I.
        features: frozen features; a modality that is None takes no part.
        use_retriever: False leaves SASRec (with text, if there is any, in its item embeddings).
        use_contrastive: whether the contrastive loss will be asked for (its projection exists only then).
    """

    text: Tensor | None
    text_mask: Tensor | None
    image: Tensor | None
    image_mask: Tensor | None
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
        for name, value in vars(features or FrozenFeatures()).items():
            self.register_buffer(name, value, persistent=False)
        text_dim, image_dim = (None if x is None else x.shape[1] for x in (self.text, self.image))
        dim = config.sasrec_hidden_dim
        self.sasrec = SASRec(
            num_items,
            dim,
            config.sasrec_num_blocks,
            config.sasrec_num_heads,
            config.sasrec_dropout,
            config.max_seq_len,
        )
        self.text_embedding = Linear(text_dim, dim, bias=False) if text_dim else None
        self.retriever: TextPreferenceRetrieverMoE | None = None
        self.image_projection: Linear | None = None
        availability = self.features.availability() if use_retriever else None
        self.register_buffer("availability", availability, persistent=False)
        if not use_retriever:
            return
        patterns = 1 if availability is None else int(availability.max()) + 1
        self.retriever = TextPreferenceRetrieverMoE(
            dim, config.retriever_output_dim, config.moe_num_heads, config.moe_dropout, text_dim, image_dim, patterns
        )
        self.fusion = Fusion(config.fusion_method, dim, config.sasrec_weight, config.retriever_weight)
        if use_contrastive and text_dim and image_dim:
            self.image_projection = Linear(config.retriever_output_dim, dim, bias=False)

    @property
    def features(self) -> FrozenFeatures:
        """The frozen features, where the model lives and in its precision."""
        return FrozenFeatures(self.text, self.text_mask, self.image, self.image_mask)

    @property
    def text_dim(self) -> int | None:
        """Size D_t of the frozen text features, or None."""
        return None if self.text is None else self.text.shape[1]

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
        for _, expert in retriever.named_experts():
            expert.output.weight.zero_()
        if retriever.availability is not None:
            retriever.availability.weight.zero_()
        if self.fusion.method == "adaptive":
            self.fusion.gate.weight.zero_()

    def with_features(self, features: FrozenFeatures, availability: Tensor | None) -> "UR4RecV2MoE":
        """A model that shares these parameters and looks at other frozen features, of as many items.

        ``availability`` numbers the patterns of modalities as this model's does, [I + 1], or is None where it has none.
        """
        other = copy.copy(self)
        other._buffers = {**vars(features), "availability": availability}
        return other

    def item_table(self, rows: Tensor | None = None, ids: Tensor | None = None) -> ItemTable:
        """Vectors of the items ``rows`` (sorted indices [n], or [C, n] of C clients), or of all.

        ``ids`` are the id embeddings of these rows where they were taken out of the model already.
        """
        embedding = self._take(self.sasrec.item_embedding, rows) if ids is None else ids
        text, image = self._frozen(self.text, rows), self._frozen(self.image, rows)
        if self.text_embedding is not None and text is not None:
            embedding = embedding + self.text_embedding(text)
        if self.retriever is None:
            return ItemTable(rows, embedding, None, None, embedding)
        z_text = None if text is None else self.retriever.text_adapter(text)
        z_visual = None if image is None else self.retriever.visual_adapter(image)
        blocks = [embedding, z_text, z_visual, self._availability_block(rows, embedding)]
        matrix = torch.cat([block for block in blocks if block is not None], dim=-1)
        return ItemTable(rows, embedding, z_text, z_visual, matrix)

    @staticmethod
    def _take(table: Tensor, rows: Tensor | None) -> Tensor:
        return table if rows is None else take(table, rows)

    def _frozen(self, table: Tensor | None, rows: Tensor | None) -> Tensor | None:
        """Some rows of a frozen table [n, ..], or [C, n, ..] for a model that holds the parameters of C clients."""
        if table is None or rows is not None:
            return None if table is None else table[rows]
        clients = self.sasrec.start_token.shape[:-1]
        return table.expand(*clients, *table.shape)

    def _availability_block(self, rows: Tensor | None, like: Tensor) -> Tensor | None:
        if self.retriever is None or self.retriever.availability is None:
            return None
        pattern = self._frozen(self.availability, rows)
        assert pattern is not None
        patterns = torch.arange(1, self.retriever.availability.out_features + 1, device=like.device)
        return (pattern.unsqueeze(-1) == patterns).to(like.dtype)

    def states(self, table: ItemTable, items: Tensor, drop: Dropout = no_dropout) -> Tensor:
        """States h of all prefixes of the contexts ``items`` [B, T] -> [B, T + 1, D]."""
        return self.sasrec.encode(table.embedding[table.position(items)], drop)

    def last_state(self, table: ItemTable, items: Tensor, length: Tensor | None = None) -> Tensor:
        """The state after each whole context ``items`` [B, T] of ``length`` [B] (None: no padding) -> [B, 1, D]."""
        return self.sasrec.encode_last(take(table.embedding, table.position(items)), length)

    def packed_states(self, table: ItemTable, inputs: Tensor, packing: Packing, drop: Dropout = no_dropout) -> Tensor:
        """States of packed segments: the item before each token [C, P] (any at a start) -> [C, P, D]."""
        return self.sasrec.encode_packed(take(table.embedding, table.position(inputs)), packing, drop)

    def read_memory(self, h: Tensor, table: ItemTable, reader: Reader) -> dict[str, Tensor]:
        """What each expert reads at each position: {expert: [B, T, D]}; empty without a retriever or a memory."""
        preference = reader.readable_preference()
        return {
            name: expert.read(h, vectors, readable, preference)
            for name, expert, vectors, readable in self._readable(table, reader)
        }

    def read_by_mass(self, prototypes: PrototypeVectors, mass: Tensor) -> dict[str, Tensor]:
        """What each expert reads where nothing is known that could attend: {expert: [1, 1, D]}.

        The prototypes weigh as their ``mass`` [K] does; an expert whose modality none of them has reads nothing.
        """
        assert self.retriever is not None
        read = {}
        for name, expert in self.retriever.named_experts():
            vectors, present = self.adapt_prototypes(name, prototypes)
            weights = torch.cat([mass * present, mass.new_zeros(1)])
            weights = weights / weights.sum().clamp(min=torch.finfo(mass.dtype).tiny)
            read[name] = expert.values_of(with_null_slot(vectors[None]), weights.view(1, 1, 1, -1))
        return read

    def _readable(self, table: ItemTable, reader: Reader) -> Iterator[tuple[str, PreferenceExpert, Tensor, Tensor]]:
        """Per expert the vectors in its modality [B, M, Z] and which position may read which [B, T, M]."""
        memory = reader.memory
        if self.retriever is None or memory is None:
            return
        written = (memory.items > 0)[:, None] & (memory.index[:, None] < reader.target_index[..., None])  # [B, T, M]
        for name, expert in self.retriever.named_experts():
            vectors, present = self._local_entries(name, table, memory)
            readable = written & present[:, None]
            if memory.prototypes is not None:
                vectors, readable = self._append_prototypes(name, memory.prototypes, vectors, readable)
            yield name, expert, vectors, readable

    def _local_entries(self, name: str, table: ItemTable, memory: RetrievedMemory) -> tuple[Tensor, Tensor]:
        """The local entries in one modality [B, M, Z] and whether they have it [B, M]."""
        if name == "sequential":
            return memory.id_embedding, memory.items > 0
        vectors, mask = (table.text, self.text_mask) if name == "text" else (table.visual, self.image_mask)
        assert vectors is not None
        assert mask is not None
        return take(vectors, table.position(memory.items)), mask[memory.items]

    def _append_prototypes(
        self, name: str, prototypes: PrototypeVectors, vectors: Tensor, readable: Tensor
    ) -> tuple[Tensor, Tensor]:
        adapted, mask = self.adapt_prototypes(name, prototypes)
        vectors = torch.cat([vectors, adapted.expand(len(vectors), -1, -1)], dim=1)
        return vectors, torch.cat([readable, mask.expand(*readable.shape[:2], -1)], dim=-1)

    def adapt_prototypes(self, name: str, prototypes: PrototypeVectors) -> tuple[Tensor, Tensor]:
        """The prototypes as an expert sees items: [K, Z] and the mask [K]."""
        assert self.retriever is not None
        if name == "sequential":
            return prototypes.id, prototypes.id_mask
        if name == "text":
            block, mask, adapter = prototypes.text, prototypes.text_mask, self.retriever.text_adapter
        else:
            block, mask, adapter = prototypes.image, prototypes.image_mask, self.retriever.visual_adapter
        assert block is not None
        assert mask is not None
        clients = adapter.weight.shape[:-2]  # none, or C models with an adapter each
        return adapter(block.expand(*clients, *block.shape)), mask

    def queries(self, h: Tensor, read: dict[str, Tensor], drop: Dropout = no_dropout) -> Tensor:
        """User side of the score: states [B, T, D] and what was read -> q [B, T, D_x].

        Without a retriever q is h itself, so that scores are SASRec's bit for bit.
        """
        if self.retriever is None:
            return h
        sequence, retriever = self.fusion(h)
        parts = self.retriever.preferences(h, read, drop) if read else {}
        blocks = [sequence * h + retriever * parts["sequential"] if parts else sequence * h]
        for name in ("text", "visual"):
            if name in self.retriever.experts:
                width = self.retriever.item_dim
                blocks.append(retriever * parts[name] if parts else h.new_zeros(*h.shape[:-1], width))
        if self.retriever.availability is not None:
            blocks.append(retriever * self.retriever.availability(h))
        return torch.cat(blocks, dim=-1)

    def forward(self, items: Tensor, reader: Reader, drop: Dropout = no_dropout) -> Tensor:
        """Scores of all items after every prefix of the contexts [B, T] -> [B, T + 1, I + 1]; column 0 is padding."""
        table = self.item_table()
        h = self.states(table, items, drop)
        return self.queries(h, self.read_memory(h, table, reader), drop) @ table.matrix.T

    def get_user_preference_embeddings(self, read: dict[str, Tensor]) -> Tensor | None:
        """The user's text preference: what the text expert read, before its zero-started output matrix [B, T, D]."""
        return read.get("text")

    def get_item_embeddings(self, table: ItemTable, items: Tensor) -> Tensor:
        """Id and image representation of items for the contrastive loss: [..] -> [.., D]."""
        position = table.position(items)
        embedding = take(table.embedding, position)
        if self.image_projection is not None and table.visual is not None:
            embedding = embedding + self.image_projection(take(table.visual, position))
        return embedding

    def compute_contrastive_loss(
        self, read: dict[str, Tensor], table: ItemTable, positives: Tensor, negatives: Tensor, temperature: float
    ) -> Tensor | None:
        """InfoNCE of the user's text preference against positives [B, T] and negatives [B, N] -> [B, T].

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
