"""`metadata.yaml` and `references.yaml` of a local directory: read strictly, written as t9k writes them.

    kind: Artifact
    name: demo
    labels: [a, b]
    description: ''
    createdTimestamp: '2022-08-23T19:47:28.123456+08:00'
    alternativeName: demo_220823_194728_4e48t2
    remote:
    - {action: upload, timestamp: …, host: …, id: …, path: …}

Every value is text, whatever YAML would make of it. Tags, anchors and aliases are refused,
and nothing is built by PyYAML itself: only its parser is used, which can't be made to run
anything, to recurse without end, or to multiply what it was given.
This module turns bytes into values and back. It does no I/O.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import yaml

from artifactstore.compat.t9k.errors import InvalidArtifactFile

MAX_METADATA_BYTES: Final = 16 << 20
"""Of a file that is read: its history grows with every upload."""
MAX_REFERENCES_BYTES: Final = 64 << 20
KIND: Final = "Artifact"
_MAX_DEPTH: Final = 16
# The compiled parser, where there is one: a tenth of the time. Both are iterative.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Node = str | None | list["Node"] | dict[str, "Node"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What an Artifact says of itself.

    Attributes:
        created_timestamp: ISO 8601.
        alternative_name: What its local directory is called.
        remote: Uploads and downloads, the oldest first.
    """

    name: str
    labels: list[str] = field(default_factory=list)
    description: str = ""
    created_timestamp: str
    alternative_name: str
    remote: list[dict[str, str]] = field(default_factory=list)

    def to_dict(self) -> dict[str, object]:
        """As it stands in the file."""
        return {
            "kind": KIND,
            "name": self.name,
            "labels": self.labels,
            "description": self.description,
            "createdTimestamp": self.created_timestamp,
            "alternativeName": self.alternative_name,
            "remote": self.remote,
        }


def metadata_from(data: Mapping[str, object]) -> Metadata:
    """The checked value of a dictionary as `Metadata.to_dict` makes it; lists in it are kept, not copied.

    Raises:
        KeyError: A field is missing.
        ValueError: A field is not what it should be.
    """
    labels, remote = data["labels"], data["remote"]
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ValueError("labels: not a list of texts")
    if not isinstance(remote, list) or not all(_is_record(record) for record in remote):
        raise ValueError("remote: not a list of records")
    return Metadata(
        name=_text(data, "name"),
        labels=labels,
        description=_text(data, "description"),
        created_timestamp=_text(data, "createdTimestamp"),
        alternative_name=_text(data, "alternativeName"),
        remote=remote,
    )


def _text(data: Mapping[str, object], key: str) -> str:
    value = data[key]
    if value is None and key == "description":
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{key}: not a text")
    return value


def _is_record(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(part, str) for pair in value.items() for part in pair)


def parse_document(body: bytes, *, where: str) -> dict[str, Node]:
    """A YAML mapping whose leaves are texts.

    Raises:
        InvalidArtifactFile: Not YAML, not UTF-8, no mapping, or with what no such file has: tags, anchors, aliases.
    """
    try:
        document = _build(yaml.parse(body.decode("utf-8-sig"), Loader=_LOADER))
    except (yaml.YAMLError, UnicodeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InvalidArtifactFile(f"Invalid file of Artifact: {where}: {reason}", where=where) from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise InvalidArtifactFile(f"Invalid file of Artifact: {where}: not a mapping", where=where)
    return document


def _build(events: Iterator[yaml.Event]) -> Node:
    """The one document of a stream of events, without recursion."""
    top: list[Node] = []
    stack: list[tuple[list[Node], yaml.Event | None]] = [(top, None)]
    for event in events:
        _refuse(event, depth=len(stack), documents=len(top))
        if isinstance(event, yaml.ScalarEvent):
            stack[-1][0].append(_scalar(event))
        elif isinstance(event, yaml.CollectionStartEvent):
            stack.append(([], event))
        elif isinstance(event, yaml.CollectionEndEvent):
            items, start = stack.pop()
            stack[-1][0].append(_mapping(items) if isinstance(start, yaml.MappingStartEvent) else items)
    return top[0] if top else None


def _refuse(event: yaml.Event, *, depth: int, documents: int) -> None:
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        raise ValueError("it has anchors or aliases")
    if getattr(event, "tag", None):
        raise ValueError("it has tags")
    if depth > _MAX_DEPTH:
        raise ValueError(f"it is more than {_MAX_DEPTH} levels deep")
    if isinstance(event, yaml.DocumentStartEvent) and documents:
        raise ValueError("it has more than one document")


def _scalar(event: yaml.ScalarEvent) -> str | None:
    text = str(event.value)
    return None if event.implicit[0] and text in ("", "~", "null", "Null", "NULL") else text


def _mapping(items: Sequence[Node]) -> dict[str, Node]:
    built: dict[str, Node] = {}
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, str):
            raise ValueError("a key is not a text")
        built[key] = value
    return built


def format_document(data: Mapping[str, object]) -> bytes:
    """The YAML of a mapping, keys in their order, ASCII only.

    Raises:
        ValueError: It holds text that is none (half of a surrogate pair).
    """
    body: str = yaml.safe_dump(_copied(data), sort_keys=False)
    return body.encode("utf-8")


def _copied(value: object) -> object:
    """Nothing in it twice: what is the same object twice would be written as an alias."""
    if isinstance(value, Mapping):
        return {str(key): _copied(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(part) for part in value]
    if isinstance(value, str):
        value.encode("utf-8")  # raises for half a surrogate pair
        return str(value)
    return value
