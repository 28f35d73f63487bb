"""Lineage as text, as JSON, and as pictures: Mermaid and Graphviz.

Names and ids come from records that anybody may have written, so each form has a way of its own to write whatever there
is: nothing in a name is ever obeyed by a terminal, a browser or a layout program.
This module turns values into text. It does no I/O.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from artifactstore.artifacts.lineage import (
    EdgeKind,
    LineageDirection,
    LineageEdge,
    LineageGraph,
    LineageNode,
    NodeKind,
    NodeState,
)
from artifactstore.names import version_title

_LONGEST_LABEL: Final = 200
_MERMAID_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 /:-.,()")
_ELLIPSIS: Final = "…"


# -- text --------------------------------------------------------------------------------------------


def lineage_text(graph: LineageGraph) -> str:
    """Two trees under the version: what it was made from, and who used it. What was shown before is not shown again.

    One line for each step, without a line break at the end; characters that can't be printed are escaped.
    """
    tree = _Tree(graph)
    lines = [tree.line(graph.start)]
    if graph.direction is not LineageDirection.DOWN:
        lines += tree.section("made from", tree.up, graph.start)
    if graph.direction is not LineageDirection.UP:
        lines += tree.section("used by", tree.down, graph.start)
    return "\n".join([*lines, *(f"note: {_printable(notice)}" for notice in graph.notices)])


class _Tree:
    """The edges of a graph, by what stands above in the text."""

    def __init__(self, graph: LineageGraph) -> None:
        self._nodes = {node.key: node for node in graph.nodes}
        self.up: dict[str, list[str]] = defaultdict(list)
        self.down: dict[str, list[str]] = defaultdict(list)
        self._made_by: dict[str, list[str]] = defaultdict(list)
        for edge in graph.edges:
            if edge.kind is EdgeKind.MADE_BY:
                self._made_by[edge.target].append(self._nodes[edge.source].job)
            else:
                self.down[edge.source].append(edge.target)
                if edge.kind is EdgeKind.MADE_FROM:
                    self.up[edge.target].append(edge.source)

    def line(self, key: str) -> str:
        node = self._nodes[key]
        jobs = "".join(f", by job {_short(job)}" for job in self._made_by[key])
        return _printable(_title(node)) + _printable(jobs) + _remarks(node)

    def section(self, title: str, below: dict[str, list[str]], start: str) -> Iterator[str]:
        is_up = below is self.up
        if below[start] or self._goes_on(start, is_up=is_up):
            yield title
            yield from self._lines(below, start, is_up=is_up)

    def _lines(self, below: dict[str, list[str]], start: str, *, is_up: bool) -> Iterator[str]:
        """Depth first. By a list of its own: a chain may be longer than Python's stack."""
        shown = {start}
        rows = [iter(self._rows(below, start, is_up=is_up))]
        bars = [""]
        while rows:
            row = next(rows[-1], None)
            if row is None:
                rows.pop()
                bars.pop()
                continue
            key, is_last = row
            corner, bar = ("└── ", "    ") if is_last else ("├── ", "│   ")
            if key is None:
                yield f"{bars[-1]}{corner}{_ELLIPSIS}"
                continue
            has_more = bool(below[key]) or self._goes_on(key, is_up=is_up)
            again = " (shown above)" if key in shown and has_more else ""
            yield f"{bars[-1]}{corner}{self.line(key)}{again}"
            if key not in shown:
                shown.add(key)
                rows.append(iter(self._rows(below, key, is_up=is_up)))
                bars.append(bars[-1] + bar)

    def _rows(self, below: dict[str, list[str]], key: str, *, is_up: bool) -> list[tuple[str | None, bool]]:
        keys: list[str | None] = [*below[key], *([None] if self._goes_on(key, is_up=is_up) else [])]
        return [(one, number == len(keys)) for number, one in enumerate(keys, start=1)]

    def _goes_on(self, key: str, *, is_up: bool) -> bool:
        node = self._nodes[key]
        return node.goes_on_up if is_up else node.goes_on_down


def _title(node: LineageNode) -> str:
    return f"job {_short(node.job)}" if node.kind is NodeKind.JOB else _short(version_title(node.version))


def _remarks(node: LineageNode) -> str:
    before = f" (was {', '.join(_short(text) for text in node.formerly)})" if node.formerly else ""
    state = "" if node.state is NodeState.LIVE else f" ({node.state.value})"
    return _printable(before + state)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_LABEL else text[:_LONGEST_LABEL] + _ELLIPSIS


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


# -- JSON --------------------------------------------------------------------------------------------


def lineage_fields(graph: LineageGraph) -> dict[str, object]:
    """The graph as a JSON object. Fields are added, never renamed or removed."""
    return {
        "start": graph.start,
        "direction": graph.direction.value,
        "depth": graph.depth,
        "complete": graph.is_complete,
        "nodes": [_node_fields(node) for node in graph.nodes],
        "edges": [{"source": edge.source, "target": edge.target, "kind": edge.kind.value} for edge in graph.edges],
        "notices": list(graph.notices),
    }


def _node_fields(node: LineageNode) -> dict[str, object]:
    if node.kind is NodeKind.JOB:
        return {"key": node.key, "kind": node.kind.value, "job": node.job}
    return {
        "key": node.key,
        "kind": node.kind.value,
        "version": node.version,
        "title": version_title(node.version),
        "state": node.state.value,
        "tx": node.tx,
        "content_digest": node.content_digest,
        "formerly": list(node.formerly),
        "created": node.created or None,
        "who": node.who,
        "host": node.host,
        "goes_on_up": node.goes_on_up,
        "goes_on_down": node.goes_on_down,
    }


# -- Mermaid -----------------------------------------------------------------------------------------


def lineage_mermaid(graph: LineageGraph) -> str:
    """A Mermaid flowchart, from the oldest to the youngest; for a block ```` ```mermaid ```` in Markdown.

    Nodes are called n0, n1 and so on; names stand in quoted labels, and all but plain characters in them as entities.
    """
    ids = _ids(graph)
    lines = ["flowchart LR"]
    for node in graph.nodes:
        left, right = ("([", "])") if node.kind is NodeKind.JOB else ("[", "]")
        lines.append(f'    {ids[node.key]}{left}"{_mermaid(_label(node))}"{right}{_mermaid_class(node, graph)}')
    for edge in graph.edges:
        lines.append(f"    {ids[edge.source]} {_mermaid_arrow(edge)} {ids[edge.target]}")
    lines += ["    classDef start stroke-width:3px", "    classDef gone stroke-dasharray:4 4,opacity:0.6"]
    return "\n".join(lines)


def _mermaid(text: str) -> str:
    return "".join(c if c in _MERMAID_PLAIN else f"#{ord(c)};" for c in _printable(text))


def _mermaid_class(node: LineageNode, graph: LineageGraph) -> str:
    if node.key == graph.start:
        return ":::start"
    return "" if node.state is NodeState.LIVE else ":::gone"


def _mermaid_arrow(edge: LineageEdge) -> str:
    return "-->" if edge.kind is EdgeKind.MADE_FROM else f'-. "{_ACTIVE[edge.kind]}" .->'


# -- Graphviz ----------------------------------------------------------------------------------------


def lineage_graphviz(graph: LineageGraph) -> str:
    """A directed graph in Graphviz's language, from the oldest to the youngest, for `dot -Tsvg`."""
    ids = _ids(graph)
    lines = ["digraph lineage {", "    rankdir=LR;", '    node [fontname="sans-serif"];']
    for node in graph.nodes:
        shape = "ellipse" if node.kind is NodeKind.JOB else "box"
        style = ", style=dashed" if node.state is not NodeState.LIVE else ""
        style = ", penwidth=3" if node.key == graph.start else style
        lines.append(f'    {ids[node.key]} [label="{_dot(_label(node))}", shape={shape}{style}];')
    for edge in graph.edges:
        says = "" if edge.kind is EdgeKind.MADE_FROM else f' [label="{_ACTIVE[edge.kind]}", style=dashed]'
        lines.append(f"    {ids[edge.source]} -> {ids[edge.target]}{says};")
    return "\n".join([*lines, "}"])


def _dot(text: str) -> str:
    # `\\` for Graphviz's own escapes, `\"` for the end of the text, entities because it reads those of HTML.
    return _printable(text).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")


_ACTIVE: Final = {EdgeKind.MADE_BY: "made", EdgeKind.USED_BY: "used by"}


def _ids(graph: LineageGraph) -> dict[str, str]:
    return {node.key: f"n{number}" for number, node in enumerate(graph.nodes)}


def _label(node: LineageNode) -> str:
    more = f" {_ELLIPSIS}" if node.goes_on_up or node.goes_on_down else ""
    return _title(node) + _remarks(node) + more
