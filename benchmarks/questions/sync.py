"""Questions about keeping a directory here and a state elsewhere alike."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from harness.corpora import Corpus
from harness.measure import CommandFailed, Sample, drop_page_cache, measure, run_quietly
from harness.question import BEST_PEER, Answer, Column, Context, Goal, Measure, S3Use
from harness.scene import FolderTarget, S3Target, Scene, Target, isolated_environ
from harness.session import WrongContent, check_equal, fresh_scene
from harness.tools.protocol import Commands
from harness.tools.syncing import Syncer, make_syncers

_COUNTER: Final = Path(__file__).resolve().parent.parent / "harness" / "count_bytes.py"
_UP: Final = Column(name="up", title="upload of the change")
_DOWN: Final = Column(name="down", title="download onto the previous state")
_UNCHANGED: Final = Column(name="unchanged", title="upload, nothing changed")
_UNCHANGED_DOWN: Final = Column(name="unchanged-down", title="download, nothing changed")
_SETTLING_SECONDS: Final = 2.0
_SHOWN: Final = (Measure.WALL, Measure.COMMAND, Measure.CPU, Measure.PEAK_RSS, Measure.MOVED)


class _Sync:
    """One program: a sender, a store, and a receiver that holds the previous state."""

    def __init__(self, context: Context, syncer: Syncer, scene: Scene) -> None:
        self._context = context
        self._syncer = syncer
        self._scene = scene
        self._place = scene.scratch / "received"

    def begin(self) -> None:
        """Both have the first version. Not measured."""
        self._quietly(self._syncer.prepare(self._scene), "sender")
        self._syncer.stage(self._scene)
        self._quietly(self._syncer.up(self._scene), "sender")
        self._place.mkdir()
        self._syncer.stage_down(self._scene, self._place)
        self._quietly(self._syncer.down(self._scene, self._place), "receiver")
        self.check()

    def up(self) -> Sample:
        self._syncer.stage(self._scene)
        return self._timed(self._syncer.up(self._scene), "sender")

    def down(self) -> Sample:
        self._syncer.stage_down(self._scene, self._place)
        sample = self._timed(self._syncer.down(self._scene, self._place), "receiver")
        self.check()
        return sample

    def check(self) -> None:
        check_equal(self._scene.source, self._syncer.content(self._place))

    def _timed(self, commands: Commands, home: str) -> Sample:
        if self._context.drop_caches:
            drop_page_cache()
        return measure(commands, environ=self._environ(home), log=self._scene.scratch / "output")

    def _quietly(self, commands: Commands, home: str) -> None:
        run_quietly(commands, environ=self._environ(home), log=self._scene.scratch / "output")

    def _environ(self, home: str) -> dict[str, str]:
        return isolated_environ(self._scene.scratch / f"home-{home}", self._scene.target)


class _ByteCounter:
    """A process that passes on all traffic to a server, and counts it."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process = process
        self.url = f"http://127.0.0.1:{port}"

    def moved_bytes(self) -> int:
        """So far, both ways."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def _byte_counter(endpoint_url: str) -> Iterator[_ByteCounter]:
    server = urlsplit(endpoint_url)
    argv = [sys.executable, str(_COUNTER), server.hostname or "", str(server.port or 80)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield _ByteCounter(process, int(process.stdout.readline()))
        finally:
            process.kill()


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncQuestion:
    """Every program that syncs with this kind of store, in turns, in a fresh store each time.

    Attributes:
        versions: What the sender has first, and what it has when the clock runs.
    """

    name: str
    title: str
    note: str
    corpus: str
    versions: tuple[str, str]
    kind: type[Target]
    columns: Sequence[Column]
    goals: Sequence[Goal]
    is_large: bool = False

    @property
    def s3_use(self) -> S3Use:
        return S3Use.NEEDED if self.kind is S3Target else S3Use.NONE

    def ask(self, context: Context) -> Answer:
        """Times are taken at the server itself, bytes in a last run through a process that counts them."""
        data = context.corpus(self.corpus)
        syncers = make_syncers(context.tools, self.kind)
        samples: dict[str, dict[str, list[Sample]]] = {s.name: {c.name: [] for c in self.columns} for s in syncers}
        failed: dict[str, str] = {}
        runs = [*range(context.runs), *([None] if self.kind is S3Target else [])]
        for run in runs:
            first = (run or 0) % len(syncers)
            for syncer in [s for s in syncers[first:] + syncers[:first] if s.name not in failed]:
                what = "bytes" if run is None else f"run {run + 1} of {context.runs}"
                print(f"  {self.name}, {what}: {syncer.name}", file=sys.stderr, flush=True)
                try:
                    done = self._bytes(context, syncer, data) if run is None else self._times(context, syncer, data)
                except (CommandFailed, WrongContent) as error:
                    print(f"    {error}\n{getattr(error, 'output', '')}", file=sys.stderr, flush=True)
                    failed[syncer.name] = str(error)
                    continue
                for column, sample in done.items():
                    samples[syncer.name][column].append(sample)
        return Answer(
            name=self.name,
            title=self.title,
            note=self.note,
            columns=self.columns,
            shown=_SHOWN,
            ratios_to="rclone",
            goals=self.goals,
            samples={name: columns for name, columns in samples.items() if name not in failed},
            failed=failed,
            corpora={f"{self.corpus} {version}": asdict(content) for version, content in data.contents.items()},
            settings={syncer.name: syncer.settings for syncer in syncers},
        )

    def _times(self, context: Context, syncer: Syncer, data: Corpus) -> dict[str, Sample]:
        up, down = (column.name for column in self.columns)
        with self._begun(context, syncer, data) as sync:
            return {up: sync.up(), down: sync.down()}

    def _bytes(self, context: Context, syncer: Syncer, data: Corpus) -> dict[str, Sample]:
        assert context.s3 is not None
        with _byte_counter(context.s3.endpoint_url) as counter:
            through = replace(context, s3=replace(context.s3, endpoint_url=counter.url))
            with self._begun(through, syncer, data) as sync:
                marks = [counter.moved_bytes()]
                for step in (sync.up, sync.down):
                    step()
                    marks.append(counter.moved_bytes())
        moved = [after - before for before, after in pairwise(marks)]
        return {column.name: Sample(moved_bytes=count) for column, count in zip(self.columns, moved, strict=True)}

    @contextmanager
    def _begun(self, context: Context, syncer: Syncer, data: Corpus) -> Iterator[_Sync]:
        """Both sides have the first version, and the source is the second one now."""
        before, now = self.versions
        with fresh_scene(context, self.kind, data) as scene, ExitStack() as stack:
            sync = _Sync(context, syncer, scene)
            with data.shown(before):
                sync.begin()
            stack.enter_context(data.shown(now))
            if now != before:
                _touch(scene.source)
                time.sleep(_SETTLING_SECONDS)
            yield sync


def _touch(root: Path) -> None:
    """Make files as new as they would be: they changed after they were uploaded last."""
    for directory, _, names in os.walk(root):
        for name in names:
            os.utime(os.path.join(directory, name))


_BYTES: Final = "Bytes are what passes between the program and the server, both ways."
SYNC_CHANGE: Final = SyncQuestion(
    name="sync-change",
    title="A directory that changed in places, S3",
    note="8 files of 128 MiB; 1 % of each rewritten in regions of 64 KiB. The sender uploads the change, a receiver "
    "that holds the previous state downloads it. " + _BYTES,
    corpus="regions",
    versions=("v1", "v2"),
    kind=S3Target,
    columns=(_UP, _DOWN),
    goals=[
        goal
        for column in (_UP, _DOWN)
        for goal in (
            Goal(column=column.name, measure=Measure.MOVED, at_most=1 / 10, peer=BEST_PEER),
            Goal(column=column.name, measure=Measure.WALL, at_most=1 / 3, peer=BEST_PEER),
        )
    ],
)


def _unchanged(name: str, title: str, kind: type[Target], at_most: float) -> SyncQuestion:
    return SyncQuestion(
        name=name,
        title=title,
        note="20,000 files; nothing changed since the last upload and the last download. " + _BYTES,
        corpus="small",
        versions=("v1", "v1"),
        kind=kind,
        columns=(_UNCHANGED, _UNCHANGED_DOWN),
        goals=[
            Goal(column=column.name, measure=Measure.COMMAND, at_most=at_most)
            for column in (_UNCHANGED, _UNCHANGED_DOWN)
        ],
    )


SYNC_LOCAL: Final = _unchanged("sync-local", "An unchanged directory, local store", FolderTarget, 0.35)
SYNC_S3: Final = _unchanged("sync-s3", "An unchanged directory, S3", S3Target, 0.8)
