"""YAML as settings are written: plain values, and no key twice, for of two the first would be lost without a word."""

from collections.abc import Hashable
from typing import Any

import yaml

from fedmem.errors import ConfigError

SHOWN = 40  # characters of a value that cannot be read


def parse_yaml(text: str, source: str) -> Any:
    """Parse a YAML text.

    Raises:
        ConfigError: naming the source and the line, and the key where one stands twice.
    """
    try:
        loader = _Loader(text, source)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConfigError(f"{source}: not usable YAML: it is nested too deeply") from None


class _Loader(yaml.SafeLoader):
    """The safe loader, which refuses repeated keys and says where an unusable value is."""

    def __init__(self, text: str, source: str) -> None:
        super().__init__(text)
        self.source = source

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse a repeated key, then do as PyYAML: before it merges ``<<``, which may be overridden."""
        lines: dict[str, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):  # which PyYAML refuses
                continue
            key, line = key_node.value, key_node.start_mark.line + 1
            if key in lines:
                raise ConfigError(
                    f"{self.source}: the key {key!r} stands twice, in line {lines[key]} and in line {line}; keep one"
                )
            lines[key] = line
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Do as PyYAML, but name a date of a 13th month and a number of thousands of digits."""
        try:
            return super().construct_object(node, deep)
        except ConfigError:
            raise
        except ValueError:
            start, text = node.start_mark.line + 1, str(node.value)
            shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}.. ({len(text):,} characters)"
            raise ConfigError(f"{self.source}: in line {start}, {shown} is no usable number or date") from None
