"""A question, what it is asked with, and the form of its answer."""

import enum
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.corpora import Corpus, corpus
from harness.measure import Sample
from harness.scene import S3Server
from harness.tools import Tool


class Measure(enum.Enum):
    """What of a sample is looked at; the values are fields of `Sample`."""

    WALL = "wall_seconds"
    COMMAND = "command_seconds"
    CPU = "cpu_seconds"
    PEAK_RSS = "peak_rss_bytes"
    ADDED = "added_bytes"
    REQUESTS = "request_count"
    MOVED = "moved_bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One thing that is measured: a step of a session, or what is asked for.

    Attributes:
        name: Key in the results.
        title: In tables.
    """

    name: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What `artifactstore` has to reach.

    Attributes:
        column: Which one, or `ANY_COLUMN`: the largest counts.
        at_most: In the unit of the measure; with a peer, as a multiple of what the peer took.
        peer: Tool to compare with, in the same column; `BEST_PEER` for whichever does best.
    """

    column: str
    measure: Measure
    at_most: float
    peer: str = ""


ANY_COLUMN = "*"
BEST_PEER = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was measured for one question.

    Attributes:
        samples: By tool and column, one for each run.
        failed: Tools that could not be measured, and why.
        corpora: What the data was: for each corpus and version `Content` as a mapping.
        settings: How tools were called, where that is not as usual.
        shown: Measures that tables show. ratios_to: The tool that times are compared with in tables.
    """

    name: str
    title: str
    note: str
    columns: Sequence[Column]
    shown: Sequence[Measure]
    ratios_to: str
    goals: Sequence[Goal]
    samples: Mapping[str, Mapping[str, Sequence[Sample]]]
    failed: Mapping[str, str] = field(default_factory=dict)
    corpora: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


def median(samples: Sequence[Sample], measure: Measure) -> float | None:
    """Over those samples that have the measure; None if none has."""
    values = [value for sample in samples if (value := getattr(sample, measure.value)) is not None]
    return statistics.median(values) if values else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What all questions are asked with.

    Attributes:
        work: Folder for data and stores.
        tools: Ours first, then the peers that are installed and chosen.
        s3: None where there is no server.
        drop_caches: Forget what was read from disk before every measurement.
    """

    work: Path
    tools: Sequence[Tool]
    runs: int
    scale: float
    s3: S3Server | None
    drop_caches: bool

    def corpus(self, name: str) -> Corpus:
        """Generated data of this run's scale."""
        return corpus(name, scale=self.scale, directory=self.work / "data")


class S3Use(enum.Enum):
    """What a question needs a server for."""

    NONE = "nothing"
    WELCOME = "asked elsewhere without one"
    NEEDED = "can't be asked without one"


class Question(Protocol):
    """One question.

    Attributes:
        name: What ``--only`` calls it.
        title: Heading in reports.
        is_large: It is asked with ``--large`` only.
    """

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def s3_use(self) -> S3Use: ...
    @property
    def is_large(self) -> bool: ...

    def ask(self, context: Context) -> Answer:
        """Measure, all tools in turns, ``context.runs`` times."""
        ...
