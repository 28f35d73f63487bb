"""Lineage: what a version was made from and by which job, and who used it.

    up      by `made_from` of each version's record: exact, by transaction
    down    by the hints beside each version (`transaction.uses`), each checked against the record of the user

A version that was deleted or moved keeps its record, so the walk goes on through it. Every node is read once, level by
level, at most `max_nodes` of them: cycles that somebody wrote by hand, and versions with a million users, end.
"""

import enum
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import Final, TypeVar

from artifactstore.backend.protocol import Backend
from artifactstore.errors import CorruptData, UnsupportedFormat
from artifactstore.names import Reference, Slot, parse_whole
from artifactstore.store import Store
from artifactstore.transaction.records import VersionPin
from artifactstore.transaction.resolve import resolve
from artifactstore.transaction.uses import Use, pinned_place, read_use, use_keys
from artifactstore.transaction.versions import Version, read_tombstone, read_version, slot_state

DEFAULT_DEPTH: Final = 10
MAX_NODES: Final = 1000
_MAX_MOVES: Final = 16
_LISTED_AT_ONCE: Final = 32
_T = TypeVar("_T")
_R = TypeVar("_R")


class LineageDirection(enum.Enum):
    """Which way to look from a version."""

    UP = "up"  # what it was made from
    DOWN = "down"  # who used it
    BOTH = "both"


class NodeKind(enum.Enum):
    VERSION = "version"
    JOB = "job"


class NodeState(enum.Enum):
    """What is there now of a version."""

    LIVE = "live"
    DELETED = "deleted"
    MISSING = "missing"  # never was in this store, as far as it can tell
    UNREADABLE = "unreadable"  # a record of it is damaged, or from a newer program


class EdgeKind(enum.Enum):
    """What an edge says of its target, which is the younger one of both."""

    MADE_FROM = "made from"  # version, version
    MADE_BY = "made by"  # job, version
    USED_BY = "used by"  # version, job


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageNode:
    """A version or a job.

    Attributes:
        key: Names it in this graph: ``version:<transaction>`` or ``job:<id>``.
        version: ``name:v3``, as it is called now; of one that is missing, as it was called. Empty for a job.
        formerly: What it was called before it was moved, the latest first.
        job: Id of the job; empty for a version.
        created: RFC 3339; who, host: by whom. Empty where not known.
        goes_on_up: It was made from versions that are not shown: the depth or the number of nodes was reached.
        goes_on_down: It has users that are not shown.
    """

    key: str
    kind: NodeKind
    version: str = ""
    tx: str = ""
    content_digest: str = ""
    formerly: tuple[str, ...] = ()
    job: str = ""
    state: NodeState = NodeState.LIVE
    created: str = ""
    who: str = ""
    host: str = ""
    goes_on_up: bool = False
    goes_on_down: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageEdge:
    """From the older to the younger. ``source`` and ``target`` are keys of nodes."""

    source: str
    target: str
    kind: EdgeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageGraph:
    """What was found around a version.

    Attributes:
        start: Key of the version asked for; its node is the first.
        edges: Each once. There may be cycles, where somebody wrote them.
        notices: What could not be read, for people.
    """

    start: str
    direction: LineageDirection
    depth: int
    nodes: tuple[LineageNode, ...]
    edges: tuple[LineageEdge, ...]
    notices: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether depth and number of nodes left nothing out, and everything could be read."""
        return not self.notices and not any(node.goes_on_up or node.goes_on_down for node in self.nodes)


def lineage(
    store: Store,
    reference: str | Reference,
    *,
    depth: int = DEFAULT_DEPTH,
    direction: LineageDirection = LineageDirection.BOTH,
    max_nodes: int = MAX_NODES,
) -> LineageGraph:
    """What a version was made from, and who used it. Nothing is written.

    ``name:v3`` may be deleted. Ancestors and users that are deleted, moved, missing or damaged are shown as such; they
    are never an error.

    Args:
        depth: Steps from the version, each way; 0 shows it alone.
        max_nodes: Versions and jobs shown at most, 1 or more.

    Raises:
        InvalidName: No reference to a whole version.
        NameNotFound, VersionDeleted: The version asked for is not there.
        ValueError: ``depth`` or ``max_nodes`` too low.
        BackendError: The storage can't be read.
    """
    if depth < 0 or max_nodes < 1:
        raise ValueError("depth is 0 or more, max_nodes 1 or more")
    catalog = store.catalog
    start = _start(catalog.backend, parse_whole(reference))
    walk = _Walk(catalog.backend, catalog.requests, max_nodes=max_nodes)
    return walk.run(start, depth=depth, direction=direction)


def _start(backend: Backend, reference: Reference) -> Version:
    if isinstance(reference.version, Slot):
        state = slot_state(backend, reference.name, reference.version.number)
        if state is not None and state.deleted and (version := read_version(backend, reference.name, state)):
            return version
    return resolve(backend, reference.name, reference.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Located:
    """What a pin led to.

    Attributes:
        node: For the graph.
        version: As it is now, or was last; None where it is missing or unreadable.
        places: The pins under which users may have recorded their use: as it is called now, and before.
    """

    node: LineageNode
    version: Version | None = None
    places: tuple[VersionPin, ...] = ()

    @property
    def txs(self) -> frozenset[str]:
        return frozenset(pin.tx for pin in self.places)


@dataclass(slots=True)
class _Walk:
    """The graph while it grows."""

    backend: Backend
    pool: Executor
    max_nodes: int = field(kw_only=True)
    nodes: dict[str, LineageNode] = field(default_factory=dict)
    edges: dict[LineageEdge, None] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def run(self, start: Version, *, depth: int, direction: LineageDirection) -> LineageGraph:
        first = self._locate(start.pin)
        self._add(first)
        if direction is not LineageDirection.DOWN:
            self._levels(first, depth, self._sources, self._mark_up)
        if direction is not LineageDirection.UP:
            self._levels(first, depth, self._users, self._mark_down)
        return LineageGraph(
            start=first.node.key,
            direction=direction,
            depth=depth,
            nodes=tuple(self.nodes.values()),
            edges=tuple(self.edges),
            notices=tuple(sorted(set(self.notices))),
        )

    def _levels(
        self,
        first: _Located,
        depth: int,
        step: Callable[[list[_Located]], Iterator[_Located]],
        mark: Callable[[list[_Located]], None],
    ) -> None:
        """Breadth first; each version is expanded once."""
        expanded: set[str] = set()
        level = [first]
        for _ in range(depth):
            expanded.update(located.node.key for located in level)
            reached = {located.node.key: located for located in step(level)}
            level = [located for key, located in reached.items() if key not in expanded]
            if not level:
                return
        mark(level)

    # -- up ------------------------------------------------------------------------------------------

    def _sources(self, level: list[_Located]) -> Iterator[_Located]:
        wanted = [(located, pin) for located in level for pin in _made_from(located)]
        asked, left = wanted[: self._room], wanted[self._room :]
        self._mark_up([located for located, _ in left])
        for (located, _), source in zip(asked, self._all(self._locate, [pin for _, pin in asked]), strict=True):
            if self._add(source):
                self._edge(source.node.key, located.node.key, EdgeKind.MADE_FROM)
                yield source
            else:
                self._mark_up([located])

    def _mark_up(self, level: list[_Located]) -> None:
        for located in level:
            if located.version is not None and located.version.record.made_from:
                self.nodes[located.node.key] = replace(self.nodes[located.node.key], goes_on_up=True)

    # -- down ----------------------------------------------------------------------------------------

    def _users(self, level: list[_Located]) -> Iterator[_Located]:
        wanted: list[tuple[_Located, VersionPin]] = []
        for located, uses in self._uses_of(level):
            wanted += [(located, use.record.version) for use in uses if use.record.version is not None]
            for job in (use.record.job for use in uses if use.record.job):
                if self._add_job(job):
                    self._edge(located.node.key, f"job:{job}", EdgeKind.USED_BY)
                else:
                    self._goes_on_down(located)
        for (located, _), user in zip(wanted, self._all(self._locate, [pin for _, pin in wanted]), strict=True):
            if not _says_so(user, located):
                continue  # a hint that its user's record does not bear out
            if self._add(user):
                self._edge(located.node.key, user.node.key, EdgeKind.MADE_FROM)
                yield user
            else:
                self._goes_on_down(located)

    def _uses_of(self, level: list[_Located]) -> list[tuple[_Located, list[Use]]]:
        """Uses of a level's versions: of all together no more than there is room for."""
        room, asked = self._room, list[tuple[_Located, str]]()
        for first in range(0, len(level), _LISTED_AT_ONCE):
            some = level[first : first + _LISTED_AT_ONCE]
            if len(asked) >= room:
                self._mark_down(some)
                continue
            listed = self._all(partial(self._first_use_keys, count=room - len(asked) + 1), some)
            for located, keys in zip(some, listed, strict=True):
                taken = keys[: room - len(asked)]
                asked += [(located, key) for key in taken]
                if len(taken) < len(keys):
                    self._goes_on_down(located)
        found: dict[str, list[Use]] = {located.node.key: [] for located in level}
        for (located, _), use in zip(asked, self._all(self._use_at, asked), strict=True):
            if use is not None:
                found[located.node.key].append(use)
        order = attrgetter("record.created", "key")
        return [(located, sorted(found[located.node.key], key=order)) for located in level]

    def _use_at(self, asked: tuple[_Located, str]) -> Use | None:
        located, key = asked
        try:
            use = read_use(self.backend, key)
        except (CorruptData, UnsupportedFormat) as error:
            self.notices.append(f"a record of who used {located.node.version} can't be read: {error.what} ({key})")
            return None
        return use if use.record.used in located.txs else None

    def _first_use_keys(self, located: _Located, *, count: int) -> list[str]:
        return list(islice(self._use_keys(located), count))

    def _use_keys(self, located: _Located) -> Iterator[str]:
        for pin in located.places:
            place = pinned_place(pin)
            if place is not None:
                yield from use_keys(self.backend, *place)

    def _mark_down(self, level: list[_Located]) -> None:
        for located, key in zip(level, self._all(lambda one: next(self._use_keys(one), None), level), strict=True):
            if key is not None:
                self._goes_on_down(located)

    # -- nodes ---------------------------------------------------------------------------------------

    @property
    def _room(self) -> int:
        # Never nothing: what is there already may be met again, and is no new node.
        return max(1, self.max_nodes - len(self.nodes))

    def _add(self, located: _Located) -> bool:
        """Whether it is in the graph now."""
        node = located.node
        if node.key not in self.nodes:
            if len(self.nodes) >= self.max_nodes:
                return False
            self.nodes[node.key] = node
            job = located.version.record.made_by if located.version is not None else ""
            if job and self._add_job(job):
                self._edge(f"job:{job}", node.key, EdgeKind.MADE_BY)
        return True

    def _add_job(self, job: str) -> bool:
        key = f"job:{job}"
        if key not in self.nodes:
            if len(self.nodes) >= self.max_nodes:
                return False
            self.nodes[key] = LineageNode(key=key, kind=NodeKind.JOB, job=job)
        return True

    def _edge(self, source: str, target: str, kind: EdgeKind) -> None:
        self.edges[LineageEdge(source=source, target=target, kind=kind)] = None

    def _goes_on_down(self, located: _Located) -> None:
        self.nodes[located.node.key] = replace(self.nodes[located.node.key], goes_on_down=True)

    def _all(self, read: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
        return list(self.pool.map(read, items))

    # -- reading -------------------------------------------------------------------------------------

    def _locate(self, pin: VersionPin) -> _Located:
        """What a pin leads to, by the version's present name. Uses no pool: it runs in it."""
        try:
            version = _version_at(self.backend, pin)
            if version is None:
                return _Located(node=_lost(pin, NodeState.MISSING), places=(pin,))
            version = self._moved_on(version)
            places = (version.pin, *self._before(version))
        except (CorruptData, UnsupportedFormat) as error:
            self.notices.append(f"{pin.version} can't be read: {error.what} ({error.where})")
            return _Located(node=_lost(pin, NodeState.UNREADABLE), places=(pin,))
        return _Located(node=_node(version, places[1:]), version=version, places=places)

    def _moved_on(self, version: Version) -> Version:
        """The version that this one is now, where it was moved and that one says so too."""
        for _ in range(_MAX_MOVES):
            tombstone = read_tombstone(self.backend, version.name, version.slot) if version.deleted else None
            if tombstone is None or tombstone.moved_to is None:
                break
            later = _version_at(self.backend, tombstone.moved_to)
            if later is None or later.record.moved_from is None or later.record.moved_from.tx != version.tx:
                break
            version = later
        return version

    def _before(self, version: Version) -> list[VersionPin]:
        """What it was called before it was moved, the latest first."""
        pins: list[VersionPin] = []
        earlier: Version | None = version
        while earlier is not None and (pin := earlier.record.moved_from) is not None and len(pins) < _MAX_MOVES:
            if any(pin.tx == seen.tx for seen in (version.pin, *pins)):
                break
            pins.append(pin)
            earlier = _version_at(self.backend, pin)
        return pins


def _made_from(located: _Located) -> tuple[VersionPin, ...]:
    return located.version.record.made_from if located.version is not None else ()


def _says_so(user: _Located, used: _Located) -> bool:
    if user.node.state is NodeState.UNREADABLE:
        return True  # it can't be asked: it is shown as what it is
    return any(pin.tx in used.txs for pin in _made_from(user))


def _version_at(backend: Backend, pin: VersionPin) -> Version | None:
    """The committed version that a pin means, deleted or not; None where there is another one, or none."""
    place = pinned_place(pin)
    state = slot_state(backend, *place) if place is not None else None
    version = read_version(backend, place[0], state) if place is not None and state is not None else None
    return version if version is not None and version.tx == pin.tx else None


def _node(version: Version, before: tuple[VersionPin, ...]) -> LineageNode:
    record = version.record
    return LineageNode(
        key=f"version:{version.tx}",
        kind=NodeKind.VERSION,
        version=version.text,
        tx=version.tx,
        content_digest=record.content,
        formerly=tuple(pin.version for pin in before),
        state=NodeState.DELETED if version.deleted else NodeState.LIVE,
        created=record.created,
        who=record.who,
        host=record.host,
    )


def _lost(pin: VersionPin, state: NodeState) -> LineageNode:
    return LineageNode(
        key=f"version:{pin.tx}",
        kind=NodeKind.VERSION,
        version=pin.version,
        tx=pin.tx,
        content_digest=pin.content,
        state=state,
    )
