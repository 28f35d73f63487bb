"""Real `artifactstore push` processes, killed at random moments on a local store (faults 1-8, 11; test plan 5.5).

A short form runs always; ARTIFACTSTORE_SOAK=1 makes it a long one, ARTIFACTSTORE_SEED repeats one.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from artifactstore.backend.local import LocalBackend
from artifactstore.names import Name
from artifactstore.testing.stores import Thing, edit_tree, make_tree, quick_folder, stored_things, tree_at
from artifactstore.testing.strategies import seeded_bytes
from artifactstore.transaction.versions import live_versions

ROUNDS = 200 if os.environ.get("ARTIFACTSTORE_SOAK") else 12
SEED = int(os.environ.get("ARTIFACTSTORE_SEED", "0")) or random.randrange(1, 10**6)
SIGNALS = [signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGKILL, signal.SIGTERM]
NAME = "team/run"


@dataclass
class Killing:
    """A store, a tree, and a journal of what was acknowledged, kept outside the store."""

    folder: Path
    chance: random.Random
    acknowledged: dict[str, Mapping[bytes, Thing]] = field(default_factory=dict)
    interrupted: int = 0

    def start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "artifactstore", "--store", str(self.folder / "store")]
        return subprocess.Popen(
            [*command, "push", str(self.folder / "tree"), NAME, "--alias", "prod"],
            env={**os.environ, "ARTIFACTSTORE_STATE": str(self.folder / "state")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self) -> None:
        """The same command, left alone: it must succeed, whatever came before."""
        process = self.start()
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        newest = self.live()[0]
        self.acknowledged[newest] = tree_at(self.folder / "tree")
        assert stored_things(self.backend, f"{NAME}:prod") == self.acknowledged[newest]

    def kill(self, after_seconds: float) -> None:
        number = self.chance.choice(SIGNALS)
        process = self.start()
        try:
            process.wait(after_seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            self.interrupted += 1
        began = time.monotonic()
        out, err = process.communicate(timeout=20)
        assert time.monotonic() - began < 5, "it took too long to end"
        if process.returncode == 0:
            assert f"{NAME}:v" in out
            self.acknowledged[self.live()[0]] = tree_at(self.folder / "tree")
        elif number is not signal.SIGKILL:
            assert process.returncode in (128 + number, -number), err
            # A signal that comes while Python is still importing ends it as it ends any program in Python.
            assert "Traceback" not in err or err.rstrip().endswith("KeyboardInterrupt")

    @property
    def backend(self) -> LocalBackend:
        return LocalBackend(self.folder / "store")

    def live(self) -> list[str]:
        return [version.text for version in live_versions(self.backend, Name(NAME))]

    def check(self) -> None:
        """No acknowledged version is lost or changed; what else is visible is the new tree, whole."""
        live = self.live()
        assert set(self.acknowledged) <= set(live)
        now = tree_at(self.folder / "tree")
        for version in live:
            stored = stored_things(self.backend, version)
            assert stored == self.acknowledged.get(version, now), version
            self.acknowledged[version] = stored  # seen, so it stays

    def edit(self, number: int) -> None:
        which = self.chance.randrange(40)
        large = bytearray((self.folder / "tree" / "large").read_bytes())
        at = self.chance.randrange(len(large))
        large[at:at] = seeded_bytes(f"insert {number}", 5000)
        new = {b"small/%d" % which: b"%d" % number, b"new-%d" % number: seeded_bytes(str(number), 9000)}
        edit_tree(self.folder / "tree", {b"large": bytes(large), **new})


@pytest.mark.timeout(3600 if ROUNDS > 50 else 300)
def test_pushes_killed_at_random_moments_lose_nothing_acknowledged_and_are_finished_by_a_rerun() -> None:
    print(f"ARTIFACTSTORE_SEED={SEED}")
    with quick_folder() as folder:
        killing = Killing(folder, random.Random(SEED))
        tree = {b"small/%d" % n: seeded_bytes(str(n), 500) for n in range(40)}
        make_tree(folder / "tree", {**tree, b"large": seeded_bytes("large", 3_000_000)})
        began = time.monotonic()
        killing.finish()
        usual_seconds = time.monotonic() - began
        for number in range(ROUNDS):
            killing.edit(number)
            # Several in a row now and then: what one left behind is the next one's past.
            for _ in range(killing.chance.choice([1, 1, 2])):
                killing.kill(killing.chance.uniform(0.1, 1.0) * usual_seconds)
                killing.check()
            if number % 3 == 0:
                killing.finish()
                killing.check()
        killing.finish()
        killing.check()
        assert killing.interrupted > ROUNDS // 3, "most were cut off"
        print(f"killed {killing.interrupted}, acknowledged {len(killing.acknowledged)}, lost 0")
