"""Modality: one kind of evidence about items, from its frozen features to its share of a score."""

from enum import StrEnum


class Modality(StrEnum):
    """A kind of evidence by which items are compared with what is remembered; each that is present has an expert.

    The value names it everywhere: parameters, gates, metrics, explanations. All but the first have frozen features.

    Attributes:
        stored: the name of its arrays in checkpoints and, with frozen features, of its setting in ``features``.
        label: how readers see it.
    """

    stored: str
    label: str

    SEQUENTIAL = "sequential", "id", "Sequence"
    TEXT = "text", "text", "Text"
    VISUAL = "visual", "image", "Image"

    def __new__(cls, value: str, stored: str = "", label: str = "") -> "Modality":
        """Make a member of its three names."""
        member = str.__new__(cls, value)
        member._value_, member.stored, member.label = value, stored, label
        return member


FROZEN = tuple(Modality)[1:]
