"""Lineage as text, JSON, Mermaid and Graphviz: readable, and safe whatever the names are."""

import json
import re
import shutil
import subprocess
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.artifacts.lineage import (
    EdgeKind,
    LineageDirection,
    LineageEdge,
    LineageGraph,
    LineageNode,
    NodeKind,
    NodeState,
)
from artifactstore.artifacts.lineage_pictures import lineage_fields, lineage_graphviz, lineage_mermaid, lineage_text

MADE_FROM, MADE_BY, USED_BY = EdgeKind.MADE_FROM, EdgeKind.MADE_BY, EdgeKind.USED_BY
HOSTILE = [
    '"]; click n0 "javascript:alert(1)"',
    "<script>alert('x')</script>",
    "a\nend\n%% b",
    "\x1b[2Jcleared",
    "back\\slash \\N \\G \\l",
    "&lt;&amp;#35;",
    "#quot; #35; `**bold**`",
    "end",
    "日本語 \u202egpj.exe",
    "{shape} | <record>",
    "'); drop",
    "x" * 5000,
]


def node(key: str, **fields: object) -> LineageNode:
    """A version called as its key, or with ``job=`` a job."""
    kind = NodeKind.JOB if "job" in fields else NodeKind.VERSION
    named = fields if "job" in fields else {"version": key, **fields}
    return LineageNode(key=key, kind=kind, **named)  # type: ignore[arg-type]


def graph(
    nodes: Sequence[LineageNode], edges: Sequence[tuple[str, str, EdgeKind]] = (), **fields: object
) -> LineageGraph:
    return LineageGraph(
        start=nodes[0].key,
        nodes=tuple(nodes),
        edges=tuple(LineageEdge(source=a, target=b, kind=kind) for a, b, kind in edges),
        **{"direction": LineageDirection.BOTH, "depth": 10, **fields},  # type: ignore[arg-type]
    )


SMALL = graph(
    [
        node(
            "model:v3",
            created="2026-01-31T08:00:00.000Z",
            who="ann",
            host="box",
            content_digest="ab" * 32,
            tx="1" * 32,
        ),
        node("train", job="train-3"),
        node("tokens:v1", formerly=("words:v1",)),
        node("raw:v7", state=NodeState.DELETED),
        node("other:v1", goes_on_up=True),
        node("report:v1", goes_on_down=True),
        node("eval", job="eval-9"),
    ],
    [
        ("train", "model:v3", MADE_BY),
        ("tokens:v1", "model:v3", MADE_FROM),
        ("other:v1", "model:v3", MADE_FROM),
        ("raw:v7", "tokens:v1", MADE_FROM),
        ("raw:v7", "other:v1", MADE_FROM),
        ("model:v3", "report:v1", MADE_FROM),
        ("model:v3", "eval", USED_BY),
    ],
)


def test_text_is_two_trees_under_the_version() -> None:
    assert lineage_text(SMALL).splitlines() == [
        "model:v3, by job train-3",
        "made from",
        "├── tokens:v1 (was words:v1)",
        "│   └── raw:v7 (deleted)",
        "└── other:v1",
        "    ├── raw:v7 (deleted)",
        "    └── …",
        "used by",
        "├── report:v1",
        "│   └── …",
        "└── job eval-9",
    ]


def test_text_of_one_direction_has_one_tree() -> None:
    alone = graph([node("a:v1")])
    assert lineage_text(alone) == "a:v1"
    up = graph([node("b:v1"), node("a:v1")], [("a:v1", "b:v1", MADE_FROM)], direction=LineageDirection.UP)
    assert lineage_text(up).splitlines() == ["b:v1", "made from", "└── a:v1"]
    down = graph([node("a:v1"), node("b:v1")], [("a:v1", "b:v1", MADE_FROM)], direction=LineageDirection.DOWN)
    assert lineage_text(down).splitlines() == ["a:v1", "used by", "└── b:v1"]


def test_text_shows_what_is_below_a_version_once() -> None:
    nodes = [node(f"{key}:v1") for key in "abcd"]
    edges = [("b:v1", "a:v1", MADE_FROM), ("c:v1", "a:v1", MADE_FROM)]
    edges += [("d:v1", "b:v1", MADE_FROM), ("b:v1", "c:v1", MADE_FROM)]
    assert lineage_text(graph(nodes, edges)).splitlines() == [
        "a:v1",
        "made from",
        "├── b:v1",
        "│   └── d:v1",
        "└── c:v1",
        "    └── b:v1 (shown above)",
    ]


def test_text_of_a_cycle_ends() -> None:
    edges = [("a:v1", "b:v1", MADE_FROM), ("b:v1", "a:v1", MADE_FROM), ("a:v1", "a:v1", MADE_FROM)]
    assert lineage_text(graph([node("a:v1"), node("b:v1")], edges)).splitlines() == [
        "a:v1",
        "made from",
        "├── b:v1",
        "│   └── a:v1 (shown above)",
        "└── a:v1 (shown above)",
        "used by",
        "├── b:v1",
        "│   └── a:v1 (shown above)",
        "└── a:v1 (shown above)",
    ]


def test_text_of_a_chain_longer_than_the_stack() -> None:
    nodes = [node(f"n:v{number}") for number in range(5000)]
    edges = [(f"n:v{number + 1}", f"n:v{number}", MADE_FROM) for number in range(4999)]
    lines = lineage_text(graph(nodes, edges)).splitlines()
    assert len(lines) == 5001 and lines[-1].endswith("└── n:v4999")


def test_what_could_not_be_read_stands_below() -> None:
    damaged = graph([node("a:v1")], notices=("b:v1 can't be read: \x1b[31m",))
    assert lineage_text(damaged).splitlines()[-1] == "note: b:v1 can't be read: \\u001b[31m"


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_text_has_one_printable_line_for_each_node_whatever_its_name(text: str) -> None:
    hostile = graph(
        [node("a:v1"), node("x", version=text, formerly=(text,)), node("j", job=text)],
        [("x", "a:v1", MADE_FROM), ("j", "a:v1", MADE_BY), ("a:v1", "j", USED_BY)],
    )
    lines = lineage_text(hostile).split("\n")
    assert len(lines) == 5
    assert all(line.isprintable() and len(line) < 700 for line in lines)


def test_json_has_nodes_and_edges() -> None:
    fields = json.loads(json.dumps(lineage_fields(SMALL)))
    assert fields["start"] == "model:v3" and fields["direction"] == "both" and fields["complete"] is False
    assert fields["nodes"][0] == {
        "key": "model:v3",
        "kind": "version",
        "version": "model:v3",
        "title": "model:v3",
        "state": "live",
        "tx": "1" * 32,
        "content_digest": "ab" * 32,
        "formerly": [],
        "created": "2026-01-31T08:00:00.000Z",
        "who": "ann",
        "host": "box",
        "goes_on_up": False,
        "goes_on_down": False,
    }
    assert fields["nodes"][1] == {"key": "train", "kind": "job", "job": "train-3"}
    assert fields["edges"][0] == {"source": "train", "target": "model:v3", "kind": "made by"}
    assert len(fields["edges"]) == 7


# -- Mermaid -------------------------------------------------------------------------------------------

# The whole language of what we write: a quoted label holds plain characters and entities only.
_LABEL = r'"(?:[A-Za-z0-9 /:\-.,()]|#[0-9]+;)*"'
_MERMAID = re.compile(
    r"flowchart LR\n"
    rf"(?:    n\d+(?:\[{_LABEL}\]|\(\[{_LABEL}\]\))(?::::start|:::gone)?\n)+"
    r'(?:    n\d+ (?:-->|-\. "(?:made|used by)" \.->) n\d+\n)*'
    r"    classDef start [a-z0-9:,.-]+\n    classDef gone [a-z0-9:,. -]+"
)


def mermaid_labels(text: str) -> list[str]:
    """Labels as a browser shows them."""
    found = re.findall(rf"n\d+\(?\[({_LABEL})\]", text)
    return [re.sub(r"#([0-9]+);", lambda match: chr(int(match[1])), label[1:-1]) for label in found]


def test_mermaid_is_a_flowchart_from_old_to_young() -> None:
    text = lineage_mermaid(SMALL)
    assert _MERMAID.fullmatch(text)
    assert text.splitlines()[:5] == [
        "flowchart LR",
        '    n0["model:v3"]:::start',
        '    n1(["job train-3"])',
        '    n2["tokens:v1 (was words:v1)"]',
        '    n3["raw:v7 (deleted)"]:::gone',
    ]
    assert '    n1 -. "made" .-> n0' in text
    assert "    n2 --> n0" in text
    assert '    n0 -. "used by" .-> n6' in text


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_mermaid_obeys_no_name(text: str) -> None:
    written = lineage_mermaid(graph([node("x", version=text), node("j", job=text)], [("j", "x", MADE_BY)]))
    assert _MERMAID.fullmatch(written)
    version, job = mermaid_labels(written)
    assert job == f"job {version}"
    if len(text) <= 200 and text.isprintable():
        assert version == text


# -- Graphviz ------------------------------------------------------------------------------------------

_QUOTED = r'"(?:[^"\\\n]|\\\\|\\")*"'
_DOT = re.compile(
    r'digraph lineage \{\n    rankdir=LR;\n    node \[fontname="sans-serif"\];\n'
    rf"(?:    n\d+ \[label={_QUOTED}, shape=(?:box|ellipse)(?:, (?:style=dashed|penwidth=3))?\];\n)+"
    r'(?:    n\d+ -> n\d+(?: \[label="(?:made|used by)", style=dashed\])?;\n)*\}'
)
needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")


def laid_out(text: str) -> list[str]:
    """The text that Graphviz draws for each node."""
    done = subprocess.run(["dot", "-Tjson"], input=text.encode(), capture_output=True, check=True, timeout=60)
    assert done.stderr == b""
    objects = json.loads(done.stdout)["objects"]
    return [next(step["text"] for step in one["_ldraw_"] if step["op"] == "T") for one in objects]


def test_graphviz_is_a_digraph_from_old_to_young() -> None:
    text = lineage_graphviz(SMALL)
    assert _DOT.fullmatch(text)
    assert '    n3 [label="raw:v7 (deleted)", shape=box, style=dashed];' in text
    assert "    n2 -> n0;" in text
    assert '    n1 -> n0 [label="made", style=dashed];' in text


@given(st.text(max_size=60))
def test_graphviz_and_mermaid_keep_to_their_grammar(text: str) -> None:
    one = graph([node("x", version=text, formerly=(text,)), node("j", job=text)], [("j", "x", MADE_BY)])
    assert _DOT.fullmatch(lineage_graphviz(one))
    assert _MERMAID.fullmatch(lineage_mermaid(one))


@needs_dot
def test_graphviz_draws_each_node_under_its_name() -> None:
    assert laid_out(lineage_graphviz(SMALL)) == [
        "model:v3", "job train-3", "tokens:v1 (was words:v1)", "raw:v7 (deleted)", "other:v1 …", "report:v1 …",
        "job eval-9",
    ]  # fmt: skip


@needs_dot
@pytest.mark.parametrize("text", [text for text in HOSTILE if len(text) < 200], ids=range(len(HOSTILE) - 1))
def test_graphviz_draws_a_name_as_it_is(text: str) -> None:
    (drawn,) = laid_out(lineage_graphviz(graph([node("x", version=text)])))
    assert drawn == "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
