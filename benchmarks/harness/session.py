"""One tool, once through all steps of a question about a directory."""

import enum
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from harness.corpora import Corpus
from harness.measure import CommandFailed, Sample, drop_page_cache, measure, run_quietly
from harness.question import Column, Context
from harness.scene import FolderTarget, S3Target, Scene, Target, isolated_environ
from harness.tools import Tool
from harness.tools.protocol import Commands

FIRST_HOME: Final = "first"
_COMPARED_BLOCK_BYTES: Final = 1 << 20
_MANY_FILES: Final = 2000
_ASIDE: Final = "aside"


class Since(enum.Enum):
    """What happened since the push before."""

    FIRST = "there was none"
    CHANGED = "changes"
    UNCHANGED = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A push of a version of the data.

    Attributes:
        label: What the tool may call it.
        home: `FIRST_HOME` is warm after the first push; any other name is a machine that has not met the store yet.
    """

    version: str
    label: str
    since: Since
    home: str = FIRST_HOME


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """A pull of the newest version, which was pushed under ``label``, to a machine that has not met the store."""

    version: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A column of the table, and what is done for it."""

    name: str
    title: str
    action: Push | Pull

    @property
    def column(self) -> Column:
        """As reports know it."""
        return Column(name=self.name, title=self.title)


class WrongContent(Exception):
    """What was pulled is not what was pushed."""


def dispose(context: Context, path: Path, *, files: int) -> None:
    """Get a tree out of the way without slowing down who comes next.

    ext4 does not use the inodes of deleted files again for minutes, and searches around them: right after 20,000
    deletions, creating files takes everybody several times as long. So large trees are set aside, for `clear_away`.
    """
    if files < _MANY_FILES:
        shutil.rmtree(path, ignore_errors=True)
    elif path.exists():
        aside = context.work / _ASIDE
        aside.mkdir(exist_ok=True)
        path.rename(aside / secrets.token_hex(8))


def clear_away(work: Path) -> None:
    """Delete what `dispose` set aside. After the last measurement."""
    shutil.rmtree(work / _ASIDE, ignore_errors=True)


@contextmanager
def fresh_scene(context: Context, kind: type[Target], data: Corpus) -> Iterator[Scene]:
    """A folder and an empty place for a store; both are out of the way afterwards."""
    token = secrets.token_hex(4)
    scratch = context.work / f"run-{token}"
    scratch.mkdir(parents=True)
    target: Target
    if kind is S3Target:
        if context.s3 is None:
            raise ValueError("no S3 server")
        target = S3Target(server=context.s3, prefix=f"run-{token}")
    else:
        target = FolderTarget(path=scratch / "store", environ={})
    try:
        yield Scene(scratch=scratch, source=data.current, target=target)
    finally:
        if isinstance(target, S3Target):
            target.clear()
        dispose(context, scratch, files=data.contents["v1"].file_count)


class Session:
    """One tool and one store, step after step."""

    def __init__(self, context: Context, tool: Tool, scene: Scene, data: Corpus) -> None:
        self._context = context
        self._tool = tool
        self._scene = scene
        self._data = data
        self._log = scene.scratch / "output"
        self._staged = ""

    def run(self, steps: Sequence[Step]) -> dict[str, Sample]:
        """Measure every step that the tool has.

        Raises:
            CommandFailed: A command failed.
            WrongContent: A pull did not bring what was pushed.
        """
        run_quietly(self._tool.prepare(self._scene), environ=self._environ(FIRST_HOME), log=self._log)
        samples = {}
        shown = ""
        with ExitStack() as stack:
            for step in steps:
                if step.action.version != shown:
                    stack.close()
                    stack.enter_context(self._data.shown(step.action.version))
                    shown = step.action.version
                sample = self._measured(step.action)
                if sample is not None:
                    _tell(self._tool.name, step, sample)
                    samples[step.name] = sample
        return samples

    def _measured(self, action: Push | Pull) -> Sample | None:
        return self._push(action) if isinstance(action, Push) else self._pull(action)

    def _push(self, action: Push) -> Sample | None:
        tool, scene = self._tool, self._scene
        if action.version != self._staged:
            tool.stage(scene)
            self._staged = action.version
        push = {Since.FIRST: tool.push, Since.CHANGED: tool.push_changed, Since.UNCHANGED: tool.push_unchanged}
        commands = push[action.since](scene, action.label)
        if not commands:
            return None
        before = scene.target.stored_bytes()
        sample = self._timed(commands, action.home)
        return replace(sample, added_bytes=scene.target.stored_bytes() - before)

    def _pull(self, action: Pull) -> Sample:
        tool, scene = self._tool, self._scene
        destination = scene.scratch / f"pulled-{action.version}"
        destination.mkdir()
        tool.stage_pull(scene, destination)
        sample = self._timed(tool.pull(scene, action.label, destination), f"pull-{action.version}")
        check_equal(scene.source, tool.pulled(scene, destination))
        dispose(self._context, destination, files=self._data.contents[action.version].file_count)
        return sample

    def _timed(self, commands: Commands, home: str) -> Sample:
        if self._context.drop_caches:
            drop_page_cache()
        return measure(commands, environ=self._environ(home), log=self._log)

    def _environ(self, home: str) -> dict[str, str]:
        return isolated_environ(self._scene.scratch / f"home-{home}", self._scene.target)


def session(context: Context, tool: Tool, kind: type[Target], data: Corpus, steps: Sequence[Step]) -> dict[str, Sample]:
    """Run one session in a fresh scene; errors as `Session.run`."""
    with fresh_scene(context, kind, data) as scene:
        try:
            return Session(context, tool, scene, data).run(steps)
        except CommandFailed as error:
            print(f"    {tool.name}: {error}\n{error.output}", file=sys.stderr, flush=True)
            raise


def check_equal(expected: Path, actual: Path) -> None:
    """Compare two trees, files by all their bytes.

    Raises:
        WrongContent: They differ. Names the first path, relative to both.
    """
    left, right = _files(expected), _files(actual)
    if left != right:
        raise WrongContent(f"{len(left ^ right)} paths are in only one of the two")
    for path in sorted(left):
        with (expected / path).open("rb") as one, (actual / path).open("rb") as two:
            while (block := one.read(_COMPARED_BLOCK_BYTES)) == two.read(_COMPARED_BLOCK_BYTES):
                if not block:
                    break
            else:
                raise WrongContent(f"{path} has other bytes")


def _files(root: Path) -> set[str]:
    found = set()
    for directory, _, names in os.walk(root):
        inside = os.path.relpath(directory, root)
        found |= {os.path.normpath(os.path.join(inside, name)) for name in names}
    return found


def _tell(tool: str, step: Step, sample: Sample) -> None:
    text = f"    {tool:16} {step.title:28} {sample.wall_seconds:8.2f} s"
    print(text, file=sys.stderr, flush=True)
