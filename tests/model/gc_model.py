#!/usr/bin/env python3
"""Exhaustive model of the commit and garbage-collection protocol of docs/protocol.md.

Every step is one storage request of one process. All interleavings are explored, and no step is ever forced, so a
process may stop for ever anywhere: the invariants are checked in every reachable state, which covers crashes,
SIGKILL and a laptop that sleeps for a month. There is no clock: an upload may be called stale, a version deleted
and any pack condemned at any moment.

    in the store                    here
    packs/<id>               State.packs    a new name for each; "a0x-1" is put by upload a, holds x; 1 run was done
    tx/<id>/root, outcome    State.txs      (tx, the packs its root names, undecided | committed | fenced)
    a version's tombstone                   its transaction leaves State.txs: nothing needs it again
    gc/<n>/list              Run.condemned  put-if-absent; n counts up from 0, and starts when n-1 is done
    gc/<n>/delete            Run.delete     put-if-absent: the final list, decided once
    gc/<n>/done              Run.done       every pack on gc/<n>/delete is gone

Nothing under gc/ and no outcome is ever removed or changed, so a listing and then reads of what it named are as good
as one atomic step. And a collector keeps nothing of its own: what it decides is an object, the first to put it wins.
So *runs* are modelled, not collectors: condemned -> transactions listed -> decided -> deleting -> done, each step by
whoever comes by. That covers any number of collectors, and any of them finishing the run of another.
A run may condemn any packs, needed or not, and spare any; an upload may use any pack that answers, or none: real
ones do less. A PUT whose reply is lost is sent again, at any later time; a DELETE may arrive late, also after done.

Invariants: a committed transaction without a tombstone has all its packs; a committed one is never fenced.
Not modelled: slots and aliases, readers (they have a day's grace), leaks (a later run's work).

usage: gc_model.py [--quick | --deep] [--traces]    6 s, 3 min or 10 min and 8 GB
exit 0 when every protocol row is clean and every ablation is caught
"""

# ruff: noqa - one line for each step is what keeps the whole model readable at a glance
import sys
import time
from collections import deque
from itertools import combinations
from typing import Iterator, NamedTuple

UNDECIDED, COMMITTED, FENCED, LOST = "undecided", "committed", "fenced", "committed, then fenced"
NONE: frozenset[str] = frozenset()


class Run(NamedTuple):
    condemned: frozenset
    listed: frozenset | None = None        # the transactions that the deciding collector's listing named
    delete: frozenset | None = None
    done: bool = False
    rival: frozenset | None = None         # ablation: what a second collector decided


class Upload(NamedTuple):
    at: str = "done"                       # the next request
    attempt: int = 0                       # each has its own transaction id
    done: int = -1                         # the highest run that was done at (1)
    picks: tuple = ()                      # for each chunk its pack; "": to be put, None: not looked for yet


class State(NamedTuple):
    packs: frozenset
    txs: tuple
    runs: tuple
    uploads: tuple
    tombstoned: tuple = ()                 # ablation: for an undelete


class Row(NamedTuple):
    name: str
    uploads: int = 1
    attempts: int = 2
    runs: int = 2
    chunks: str = "x"
    packs: str = "Px"
    version: str = ""                      # the packs of a version there at the start, which may be deleted
    ablation: str = ""


def union(sets) -> frozenset:
    return NONE.union(*sets)


def subsets(items) -> Iterator[frozenset]:
    items = sorted(items)
    return (frozenset(c) for size in range(len(items) + 1) for c in combinations(items, size))


def with_tx(txs: tuple, tx: str, packs: frozenset, state: str) -> tuple:
    return tuple(sorted([t for t in txs if t[0] != tx] + [(tx, packs, state)]))


class Model:
    """Steps yield (label, changes to the state); an uploader's also the uploader after it."""

    def __init__(self, row: Row):
        self.row, self.off = row, row.ablation
        version = (("v", frozenset(row.version.split()), COMMITTED),) if row.version else ()
        uploads = (Upload(picks=(None,) * len(row.chunks)),) * row.uploads
        self.start = State(frozenset(row.packs.split()), version, (), uploads)

    def upload(self, s: State, name: str, u: Upload):
        off, tx, needs = self.off, f"{name}{u.attempt}", frozenset(u.picks)
        if u.at == "done":                                      # (1) the highest run that is done
            done = max((n for n, r in enumerate(s.runs) if r.done), default=-1)
            if off == "every run taken for done": done = len(s.runs) - 1
            yield "done", {}, u._replace(at="pick" if None in needs else self.picked(u), done=done)
        elif u.at == "pick":                                    # (2) any pack that answers, or none
            chunk = u.picks.index(None)
            seen = {p for p in s.packs if self.row.chunks[chunk] in p}
            if off == "hint used without a request": seen |= {"Px"}
            if off == "named by an undecided transaction": seen |= union(t[1] for t in s.txs if t[2] == UNDECIDED)
            committed = union(t[1] for t in s.txs if t[2] == COMMITTED)
            for pack in sorted(seen) + [""]:
                # The pack of an unfinished upload brings that upload's number along: its PUT may be sent again, after a run
                # that deleted it is done, and a late DELETE of that run may still come.
                own = "-" in pack and pack not in committed and off != "orphan without its number"
                done = min(u.done, int(pack.split("-")[1]) - 1) if own else u.done
                v = u._replace(picks=u.picks[:chunk] + (pack,) + u.picks[chunk + 1:], done=done)
                at = "pick" if None in v.picks else "done" if off == "packs seen before (1)" else self.picked(v)
                yield f"pick {pack or 'none'}", {}, v._replace(at=at)
        elif u.at == "put":                                     # (3) one new pack for all that is to be put
            new = self.new_pack(tx, u)
            at = "recheck" if off == "recheck before the root" else "root"
            yield f"put {new}", dict(packs=s.packs | {new}), u._replace(at=at, picks=tuple(p or new for p in u.picks))
            if new not in s.packs: yield f"put {new}, no reply", dict(packs=s.packs | {new}), u
        elif u.at == "root":                                    # (4) what it needs is known from here on
            at = "outcome" if off in ("no recheck", "recheck before the root") else "recheck"
            yield "root", dict(txs=with_tx(s.txs, tx, needs, UNDECIDED)), u._replace(at=at)
        elif u.at == "recheck":                                 # (5) final lists, or else lists, of all runs after (1)'s
            runs = [r for r in s.runs[u.done + 1:] if not (r.done and off == "recheck leaves out done runs")]
            lists = [r.condemned if r.delete is None else r.delete for r in runs]
            if hit := needs & union(lists): yield f"condemned {' '.join(sorted(hit))}", *self.again(s, tx, u, hit)
            else: yield "clear", {}, u._replace(at="root" if off == "recheck before the root" else "outcome")
        elif u.at == "outcome":                                 # (7) put-if-absent
            state = next(t[2] for t in s.txs if t[0] == tx)
            if state == UNDECIDED or off == "fenced outcome forgotten":
                yield "commit", dict(txs=with_tx(s.txs, tx, needs, COMMITTED)), Upload("end")
            else:
                own = {p for p in needs if p.startswith(tx)} if off == "uploader deletes its packs" else NONE
                changes, after = self.again(s, tx, u, NONE)
                yield "fenced", changes | dict(packs=s.packs - own), after

    @staticmethod
    def picked(u: Upload) -> str:
        return "put" if "" in u.picks else "root"

    def new_pack(self, tx: str, u: Upload) -> str:
        chunks = "".join(c for c, p in zip(self.row.chunks, u.picks) if p == "")
        return f"P{chunks}" if self.off == "pack names used again" else f"{tx}{chunks}-{u.done + 1}"

    def again(self, s: State, tx: str, u: Upload, hit: frozenset):
        """On from (3) under a new transaction id: what (1) saw, and all other packs, stay good."""
        txs = tuple(t for t in s.txs if t[0] != tx or t[2] == UNDECIDED)        # an abandoned one is fenced later
        if u.attempt + 1 == self.row.attempts: return dict(txs=txs), Upload("end")
        u = u._replace(attempt=u.attempt + 1, picks=tuple("" if p in hit else p for p in u.picks))
        return dict(txs=txs), u._replace(at=self.picked(u))

    def collect(self, s: State):
        off, tx_names = self.off, frozenset(t[0] for t in s.txs)
        alive = (COMMITTED,) if off == "stale ones ignored, not fenced" else (UNDECIDED, COMMITTED)
        if len(s.runs) < self.row.runs and (not s.runs or s.runs[-1].done or off == "run begun before the last is done"):
            early = frozenset(t[0] for t in self.start.txs) if off == "transactions listed before the list" else None
            for packs in subsets(s.packs):
                if packs: yield f"condemn {len(s.runs)}: {' '.join(sorted(packs))}", dict(runs=s.runs + (Run(packs, early),))
        for n, r in enumerate(s.runs):
            def change(**kw): return dict(runs=s.runs[:n] + (r._replace(**kw),) + s.runs[n + 1:])
            if r.delete is None and r.listed is None:
                undecided = frozenset(t[0] for t in s.txs if t[2] == UNDECIDED)
                yield f"list transactions {n}", change(listed=undecided if off == "only undecided ones looked at" else tx_names)
            elif r.delete is None:
                needed = union(packs for tx, packs, state in s.txs if state in alive and tx in r.listed)
                for packs in subsets(r.condemned - needed):
                    yield f"decide {n}: {' '.join(sorted(packs)) or 'nothing'}", change(listed=None, delete=packs)
            else:
                if off == "decided twice" and r.rival is None:
                    yield f"decide {n} again", change(rival=r.condemned - union(t[1] for t in s.txs))
                for pack in sorted((r.delete | (r.rival or NONE)) & s.packs): yield f"delete {pack}", dict(packs=s.packs - {pack})
                gone = not r.delete & s.packs or off == "done before all is gone"
                if gone and not r.done: yield f"done {n}", change(done=True)
        if off == "runs removed when done" and s.runs and all(r.done for r in s.runs): yield "remove runs", dict(runs=())

    def others(self, s: State):
        for tx, packs, state in s.txs:
            if state == UNDECIDED: yield f"fence {tx}", dict(txs=with_tx(s.txs, tx, packs, FENCED))
            elif state == COMMITTED:
                if self.off == "fence overwrites": yield f"fence {tx}", dict(txs=with_tx(s.txs, tx, packs, LOST))
                kept = ((tx, packs, state),) if self.off == "tombstone removed" else ()
                yield f"tombstone {tx}", dict(txs=tuple(t for t in s.txs if t[0] != tx), tombstoned=kept)
        for t in s.tombstoned: yield f"undelete {t[0]}", dict(txs=s.txs + (t,), tombstoned=())

    def steps(self, s: State) -> Iterator[tuple[str, State]]:
        for i, u in enumerate(s.uploads):
            if u.at != "end":
                for label, changes, after in self.upload(s, "abc"[i], u):
                    uploads = s.uploads[:i] + (after,) + s.uploads[i + 1:]
                    yield f"{'abc'[i]}: {label}", self.normal(s._replace(uploads=uploads, **changes))
        for label, changes in (*self.collect(s), *self.others(s)):
            yield label, self.normal(s._replace(**changes))

    def normal(self, s: State) -> State:
        """Leaves out what no later step can see, so that states that differ in nothing else are one."""
        active = {f"{'abc'[i]}{u.attempt}": u for i, u in enumerate(s.uploads) if u.at != "end"}
        txs = tuple(t for t in s.txs if t[2] != FENCED or t[0] in active)
        names = frozenset(t[0] for t in txs)
        sent = (self.new_pack(tx, u) for tx, u in active.items() if u.at == "put")
        hints = {"Px"} if self.off == "hint used without a request" else NONE
        packs = s.packs.union(*(u.picks for u in active.values()), sent, hints)
        def run(r: Run) -> Run:
            if r.delete is None: return r._replace(condemned=r.condemned & packs, listed=None if r.listed is None else r.listed & names)
            condemned = r.condemned if self.off == "decided twice" else NONE
            return r._replace(condemned=condemned, delete=r.delete if self.off == "pack names used again" else r.delete & packs)
        return s._replace(txs=txs, runs=tuple(run(r) for r in s.runs))


def violation(s: State) -> str:
    for tx, packs, state in s.txs:
        if state == COMMITTED and not packs <= s.packs: return f"{tx} is committed and lacks {' '.join(sorted(packs - s.packs))}"
        if state == LOST: return f"{tx} was committed, then fenced"
    return ""


def explore(row: Row, limit: int = 10_000_000) -> tuple[int, list[str] | None]:
    """Breadth first. The number of states, and the shortest way to a violation, if there is one."""
    model = Model(row)
    came: dict[State, tuple[State, str] | None] = {model.start: None}
    queue = deque([model.start])
    while queue:
        s = queue.popleft()
        for label, t in model.steps(s):
            if t in came: continue
            came[t] = (s, label)
            if why := violation(t):
                way = [why]
                while step := came[t]: t, label = step; way.append(label)
                return len(came), way[::-1]
            queue.append(t)
        if len(came) > limit: raise SystemExit(f"{row.name}: more than {limit} states; not explored to the end")
    return len(came), None


QUICK = [
    Row("1 upload, 2 runs"), Row("1 upload, 2 runs, a version deleted", version="Px"),
    Row("1 upload with 3 attempts, 2 runs", attempts=3), Row("1 upload with 1 attempt, 3 runs", attempts=1, runs=3, version="Px"),
    Row("2 uploads, 1 run", uploads=2, attempts=1, runs=1, version="Px"),
    Row("2 chunks in 2 packs, 1 run", chunks="xy", packs="Px Py", version="Px Py", runs=1),
    Row("2 chunks, one pack with both, 1 run", chunks="xy", packs="Px Pxy", version="Pxy", runs=1)]
FULL = [
    Row("1 upload with 3 attempts, 3 runs", attempts=3, runs=3, version="Px"),
    Row("2 chunks in 2 packs, 2 runs", chunks="xy", packs="Px Py", version="Px Py"),
    Row("2 chunks in one pack, 2 runs", chunks="xy", packs="Pxy", version="Pxy"),
    Row("2 uploads, 2 runs", uploads=2, attempts=1, version="Px"),
    Row("2 uploads with 2 attempts, 1 run", uploads=2, runs=1, version="Px"),
    Row("3 uploads, 1 run", uploads=3, attempts=1, runs=1, version="Px")]
DEEP = [Row("2 uploads with 2 attempts, 2 runs", uploads=2, version="Px")]
ABLATIONS = [Row(name, ablation=name, **kw) for name, kw in [
    ("every run taken for done", {}), ("packs seen before (1)", {}), ("hint used without a request", {}), ("named by an undecided transaction", dict(uploads=2, runs=1)),
    ("orphan without its number", dict(uploads=2, attempts=1, runs=1)), ("recheck before the root", {}), ("no recheck", {}), ("recheck leaves out done runs", {}), ("pack names used again", {}), ("fenced outcome forgotten", {}),
    ("fence overwrites", {}), ("uploader deletes its packs", dict(uploads=2, runs=0)), ("transactions listed before the list", {}), ("only undecided ones looked at", {}),
    ("stale ones ignored, not fenced", {}), ("decided twice", {}), ("done before all is gone", {}), ("run begun before the last is done", {}),
    ("runs removed when done", {}), ("tombstone removed", dict(version="Px"))]]


def main(options: list[str]) -> int:
    wrong, traces = 0, "--traces" in options
    for row in QUICK + FULL * ("--quick" not in options) + DEEP * ("--deep" in options) + ABLATIONS:
        began = time.perf_counter()
        states, way = explore(row)
        wrong += bool(way) != bool(row.ablation)
        found = f"violation in {len(way) - 1} steps" if way else "no violation"
        print(f"{'without: ' if row.ablation else ''}{row.name:{38 if row.ablation else 47}} {states:9,} states {time.perf_counter() - began:6.1f} s  {found}", flush=True)
        if way and (traces or not row.ablation): print("   " + " > ".join(way))
    print("as expected" if not wrong else f"{wrong} rows are NOT as expected")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
