"""Tests of the tests: each rule of the protocol left out, one at a time, breaks what is promised (test plan 5.10).

The counterpart for collectors is the model (tests/model), whose ablations are checked there.
"""

import threading
from collections.abc import Callable

import pytest
from commit_worlds import MONTH_SECONDS, NAME, NEW, OLD, World, delete_all

from artifactstore.backend.wrappers.fault import ErrorAfter, ErrorBefore, Fault, FaultBackend
from artifactstore.clock import timestamp
from artifactstore.errors import ArtifactStoreError, BackendError, VersionExists
from artifactstore.keys import outcome_key, pack_key
from artifactstore.names import Latest
from artifactstore.testing.collector import packs_of_root
from artifactstore.testing.uploader import LocalState, ScriptedUpload, read_tree
from artifactstore.transaction import commit, conditional, outcomes, runs, upload, versions
from artifactstore.transaction.records import OutcomeRecord, OutcomeState, encode_record
from artifactstore.transaction.resolve import resolve
from artifactstore.transaction.upload import Action, Strategy

Patch = pytest.MonkeyPatch


# What must hold, as scenarios that fail where it does not


def base_is_collected_before_the_root() -> None:
    world = World()
    world.push(OLD)
    uploading = world.task(NEW, local=LocalState())
    assert uploading.run_until("put", "/root")
    delete_all(world)
    world.collector.collect(world.packs())
    assert read_tree(world.memory, uploading.finish().version) == NEW


def base_is_condemned_just_before_the_root_and_deleted_after_it() -> None:
    world = World()
    world.push(OLD)
    uploading = world.task(NEW, local=LocalState())
    assert uploading.run_until("put", "/root")
    delete_all(world)
    run = world.collector.condemn(world.packs())
    assert run is not None
    world.collector.decide(run)
    result = uploading.finish()
    world.collector.delete(run)
    assert read_tree(world.memory, result.version) == NEW


def run_is_under_way_when_the_push_begins() -> None:
    world = World()
    base = world.push(OLD).version
    run = world.collector.condemn(world.packs())
    assert run is not None
    uploading = world.task(NEW, local=LocalState())
    assert uploading.run_until("list", "/v/")
    uploading.step()  # the base is seen live
    delete_all(world)
    assert packs_of_root(world.memory.get(f"tx/{base.tx[:2]}/{base.tx}/root"))
    world.collector.decide(run)
    result = uploading.finish()
    world.collector.delete(run)
    assert read_tree(world.memory, result.version) == NEW


def late_delete_hits_a_pack_of_an_interrupted_upload() -> None:
    world = World()
    interrupted = world.task(NEW)
    assert interrupted.run_until("put", "/root")
    interrupted.kill()
    packs = world.packs()
    bodies = {pack: world.memory.get(pack_key(pack)) for pack in packs}
    world.collector.collect(packs)
    for pack, body in bodies.items():
        world.memory.put(pack_key(pack), body)
    result = world.push(NEW)
    for pack in packs:
        world.memory.delete(pack_key(pack))
    assert read_tree(world.memory, result.version) == NEW


def sleeper_is_fenced_and_collected() -> None:
    world = World()
    uploading = world.task(NEW)
    assert uploading.run_until("put_if_absent", "/outcome")
    world.clock.advance(MONTH_SECONDS)
    world.collector.collect()
    world.collector.collect()
    assert read_tree(world.memory, uploading.finish().version) == NEW


def pending_slot_is_no_version() -> None:
    world = World()
    stopped = world.task(OLD, local=LocalState())
    assert stopped.run_until("put_if_absent", "/outcome")
    assert world.push(OLD, local=LocalState()).action is Action.COMMITTED


def listing_of_runs_fails() -> None:
    world = World()
    world.push(OLD)
    faulty = FaultBackend(world.memory, faults=[Fault(verb="list", key="gc/", nth=2, action=ErrorBefore())])
    with pytest.raises(BackendError):
        world.push(NEW, through=faulty)


def reply_of_the_outcome_is_lost() -> None:
    world = World()
    faulty = FaultBackend(world.memory, faults=[Fault(key="*/outcome", action=ErrorAfter())])
    result = world.push(NEW, through=faulty)
    assert (result.version.slot, result.attempts) == (1, 1)


def storage_forgets_the_outcome() -> None:
    world = World()

    class Forgetful(FaultBackend):
        def put_if_absent(self, key, body) -> None:  # type: ignore[no-untyped-def]
            if not key.endswith("/outcome"):
                super().put_if_absent(key, body)

    with pytest.raises(BackendError):
        world.push(NEW, through=Forgetful(world.memory))


def ten_writers_with_error() -> None:
    world = World()
    winners: list[int] = []

    def write(number: int) -> None:
        try:
            world.push({b"f": b"%d" % number}, strategy=Strategy.ERROR, local=LocalState())
            winners.append(number)
        except VersionExists:
            pass

    stopped = [world.task({b"f": b"%d" % n}, strategy=Strategy.ERROR, local=LocalState()) for n in range(3)]
    for task in stopped:
        task.run_until("put_if_absent", "/outcome")  # the first gets there, the others wait for it
    threads = [threading.Thread(target=write, args=(number,)) for number in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for task in stopped:
        while not task.finished:
            task.step()
        winners += [0] * (task.error is None)
    assert len(winners) == 1


def unchanged_version_is_deleted_meanwhile() -> None:
    world = World()
    world.push(OLD)
    pushing = world.task(OLD)
    assert pushing.run_until("get", "/root")
    pushing.step()
    delete_all(world)
    result = pushing.finish()
    assert versions.is_live(world.memory, result.version)


def nothing_is_deleted_by_a_fenced_uploader() -> None:
    world = World()
    pushing = world.task(NEW)
    assert pushing.run_until("put_if_absent", "/outcome")
    world.clock.advance(MONTH_SECONDS)
    world.collector.fence_stale()
    before = set(world.memory.keys())
    pushing.finish()
    assert before <= set(world.memory.keys())
    assert resolve(world.memory, NAME, Latest()).slot == 2


def blocks_that_name_a_condemned_pack_are_put_again() -> None:
    base_is_collected_before_the_root()


# Rules, and how to leave them out


def nothing_condemned(patch: Patch) -> None:
    patch.setattr(commit, "condemned", lambda backend, *, after, packs: frozenset())


def done_runs_left_out(patch: Patch) -> None:
    whole = runs.condemned

    def some(backend, *, after, packs):  # type: ignore[no-untyped-def]
        return whole(backend, after=max(after, runs.look(backend).done), packs=packs)

    patch.setattr(commit, "condemned", some)


def looked_before_the_root(patch: Patch) -> None:
    encode = ScriptedUpload.encode_root
    early: list[frozenset] = []  # type: ignore[type-arg]

    def encode_root(self, *, done_run, target):  # type: ignore[no-untyped-def]
        encoded = encode(self, done_run=done_run, target=target)
        early[:] = [runs.condemned(self.upload.backend, after=done_run, packs=encoded.packs)]
        return encoded

    patch.setattr(ScriptedUpload, "encode_root", encode_root)
    patch.setattr(commit, "condemned", lambda backend, *, after, packs: early[0])


def every_run_taken_for_done(patch: Patch) -> None:
    look = runs.look

    def too_high(backend):  # type: ignore[no-untyped-def]
        view = look(backend)
        return runs.GcView(done=max((run.number for run in view.runs), default=-1), runs=view.runs)

    patch.setattr(upload, "look", too_high)


def recorded_number_ignored(patch: Patch) -> None:
    patch.setattr(upload.Upload, "adopt", lambda self, recorded: None)


def fence_overwritten(patch: Patch) -> None:
    def force(backend, clock, tx, outcome):  # type: ignore[no-untyped-def]
        memory = backend
        while hasattr(memory, "inner"):
            memory = memory.inner
        memory.delete(outcome_key(tx))
        memory.put(outcome_key(tx), encode_record(outcome))
        return outcome

    patch.setattr(commit, "decide", force)


def undecided_counts_as_committed(patch: Patch) -> None:
    confirm = versions.confirm

    def lax(name, state, record, outcome):  # type: ignore[no-untyped-def]
        if outcome is None or not outcome.committed:
            outcome = OutcomeRecord(
                nonce="0" * 32,
                state=OutcomeState.COMMITTED,
                slot=versions.NameKeys(name).slot(state.number),
                root="0" * 64,
                created=timestamp(0),
            )
        return confirm(name, state, record, outcome)

    patch.setattr(versions, "confirm", lax)


def error_taken_for_an_empty_listing(patch: Patch) -> None:
    whole = runs.condemned

    def lenient(backend, *, after, packs):  # type: ignore[no-untyped-def]
        try:
            return whole(backend, after=after, packs=packs)
        except BackendError:
            return frozenset()

    patch.setattr(commit, "condemned", lenient)


def lost_reply_taken_for_a_loss(patch: Patch) -> None:
    fenced = OutcomeRecord(nonce="0" * 32, state=OutcomeState.FENCED)
    patch.setattr(conditional, "_read_back", lambda *args, **options: encode_record(fenced))


def outcome_not_read_back(patch: Patch) -> None:
    patch.setattr(commit._Commit, "_read_back", lambda self, tx, wanted: None)


def lower_slots_not_looked_at(patch: Patch) -> None:
    patch.setattr(commit, "live_rival", lambda *args, **options: None)


def pending_slots_not_fenced(patch: Patch) -> None:
    patch.setattr("artifactstore.transaction.slots._fence_pending", lambda *args, **options: None)


def unchanged_not_looked_at_again(patch: Patch) -> None:
    patch.setattr(commit, "is_live", lambda backend, version: True)


def fenced_uploader_cleans_up(patch: Patch) -> None:
    decide = outcomes.decide

    def tidy(backend, clock, tx, outcome):  # type: ignore[no-untyped-def]
        decided = decide(backend, clock, tx, outcome)
        if not decided.committed:
            backend.delete(f"tx/{tx[:2]}/{tx}/root")
        return decided

    patch.setattr(commit, "decide", tidy)


def only_chunks_replaced(patch: Patch) -> None:
    def replace(self, packs):  # type: ignore[no-untyped-def]
        self._places = {d: place for d, place in self._places.items() if place.pack.pack not in packs}
        self.put_packs()

    patch.setattr(ScriptedUpload, "replace", replace)


CASES: dict[str, tuple[Callable[[Patch], None], Callable[[], None]]] = {
    "no second look": (nothing_condemned, base_is_collected_before_the_root),
    "second look leaves out done runs": (done_runs_left_out, base_is_collected_before_the_root),
    "second look before the root": (
        looked_before_the_root,
        base_is_condemned_just_before_the_root_and_deleted_after_it,
    ),
    "every run taken for done": (every_run_taken_for_done, run_is_under_way_when_the_push_begins),
    "orphan without its number": (recorded_number_ignored, late_delete_hits_a_pack_of_an_interrupted_upload),
    "fence overwritten": (fence_overwritten, sleeper_is_fenced_and_collected),
    "undecided counts": (undecided_counts_as_committed, pending_slot_is_no_version),
    "error taken for nothing condemned": (error_taken_for_an_empty_listing, listing_of_runs_fails),
    "lost reply taken for a loss": (lost_reply_taken_for_a_loss, reply_of_the_outcome_is_lost),
    "outcome not read back": (outcome_not_read_back, storage_forgets_the_outcome),
    "lower slots not looked at": (lower_slots_not_looked_at, ten_writers_with_error),
    "pending slots not fenced": (pending_slots_not_fenced, ten_writers_with_error),
    "unchanged not looked at again": (unchanged_not_looked_at_again, unchanged_version_is_deleted_meanwhile),
    "uploader cleans up": (fenced_uploader_cleans_up, nothing_is_deleted_by_a_fenced_uploader),
    "blocks not put again": (only_chunks_replaced, blocks_that_name_a_condemned_pack_are_put_again),
}
cases = pytest.mark.parametrize(("ablation", "scenario"), CASES.values(), ids=CASES.keys())


@cases
def test_scenario_holds_with_the_whole_protocol(
    ablation: Callable[[Patch], None], scenario: Callable[[], None]
) -> None:
    scenario()


@cases
def test_scenario_fails_without_this_rule(
    ablation: Callable[[Patch], None], scenario: Callable[[], None], monkeypatch: Patch
) -> None:
    ablation(monkeypatch)
    with pytest.raises((AssertionError, ArtifactStoreError, pytest.fail.Exception)):
        scenario()
