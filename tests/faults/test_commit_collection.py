"""Uploads while collection runs, in chosen orders: faults 13, 14, 26, 131, 134, 135, 137-139, 141, 142."""

from collections.abc import Callable

import pytest
from commit_worlds import MONTH_SECONDS, NAME, NEW, OLD, World, delete_all

from artifactstore.backend.wrappers.count import CountBackend
from artifactstore.backend.wrappers.fault import ErrorBefore, Fault, FaultBackend
from artifactstore.errors import CorruptData, ObjectNotFound, SourceChanged
from artifactstore.keys import TxId, outcome_key, pack_key, root_key, run_key
from artifactstore.manifest.format import decode_root
from artifactstore.manifest.model import PackRow
from artifactstore.testing.collector import DAY_SECONDS, Collector, packs_of_root
from artifactstore.testing.uploader import CUT, LocalState, ScriptedUpload, read_tree
from artifactstore.transaction.commit import commit
from artifactstore.transaction.outcomes import read_outcome
from artifactstore.transaction.roots import load_root
from artifactstore.transaction.runs import look
from artifactstore.transaction.upload import Action, Strategy, begin
from artifactstore.transaction.versions import live_versions, remove_version


@pytest.fixture
def world() -> World:
    return World()


# Every point of a push, every stage of a collection

STAGES: dict[str, Callable[[World], object]] = {
    "condemned": lambda w: w.collector.condemn(w.packs()),
    "decided": lambda w: w.collector.decide(w.collector.condemn(w.packs()) or 0),
    "deleted and done": lambda w: w.collector.collect(w.packs()),
}


@pytest.mark.parametrize("deleted", [False, True], ids=["base stays", "base deleted meanwhile"])
@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES.keys())
def test_collection_between_any_two_requests_of_a_push_leaves_a_complete_version(
    stage: Callable[[World], object], deleted: bool
) -> None:
    """Faults 13 and 14: all packs condemned, the base deleted, a month passing, between any two requests."""
    point, finished = 0, False
    while not finished:
        world = World()
        base = world.push(OLD).version
        uploading = world.task(NEW, local=LocalState())
        for _ in range(point):
            uploading.step()
        finished = uploading.finished
        if deleted:
            remove_version(world.memory, world.clock, base)
        world.clock.advance(MONTH_SECONDS)
        stage(world)
        result = uploading.finish()
        assert read_tree(world.memory, result.version) == NEW
        world.clock.advance(MONTH_SECONDS)
        world.collector.collect()
        world.collector.collect()
        world.check()
        assert read_tree(world.memory, result.version) == NEW
        point += 1
    assert point > 12


@pytest.mark.parametrize("runs", [1, 3])
def test_base_condemned_before_the_push_begins_is_avoided_or_put_again(world: World, runs: int) -> None:
    """Fault 13 and 135: collections one after the other, each condemning all there is."""
    world.push(OLD)
    uploading = world.task(NEW, local=LocalState())
    assert uploading.run_until("list", "gc/")
    uploading.step()
    assert uploading.run_until("list", "gc/")  # the second look, root already there
    delete_all(world)
    for _ in range(runs):
        run = world.collector.condemn(world.packs())
        assert run is not None
        world.collector.decide(run)
        world.collector.delete(run)
        world.collector.finish(run)
    result = uploading.finish()
    assert read_tree(world.memory, result.version) == NEW


def test_condemned_packs_are_put_again_under_a_new_transaction_and_the_old_one_is_fenced(world: World) -> None:
    """Fault 141: chunks, and the blocks that name them; the root's pack table is complete."""
    base = world.push(OLD).version
    old_packs = world.packs()
    uploading = world.task(NEW, local=LocalState())
    assert uploading.run_until("put", "/root")
    delete_all(world)
    run = world.collector.condemn(old_packs)
    assert run is not None
    world.collector.decide(run)
    world.collector.delete(run)
    uploading.step()
    before = set(filter(lambda key: key.endswith("/root"), world.memory.keys()))
    result = uploading.finish()
    assert (result.action, result.attempts) == (Action.COMMITTED, 2)
    abandoned = {TxId(key.split("/")[2]) for key in before} - {base.tx}
    for tx in abandoned:
        outcome = read_outcome(world.memory, tx)
        assert outcome is not None and not outcome.committed
    assert packs_of_root(world.memory.get(root_key(result.version.tx))).isdisjoint(old_packs)
    assert read_tree(world.memory, result.version) == NEW


def test_abandoned_transaction_is_fenced_only_once_the_new_root_is_there(world: World) -> None:
    world.push(OLD)
    uploading = world.task(NEW, local=LocalState())
    assert uploading.run_until("put", "/root")
    world.collector.condemn(world.packs())
    uploading.step()
    assert uploading.run_until("put_if_absent", "/outcome")
    undecided = [t for t in world.collector.transactions() if t.outcome is None]
    assert len(undecided) == 2, "the new root is there before the old one is fenced"
    assert read_tree(world.memory, uploading.finish().version) == NEW


def test_source_that_changed_when_it_must_be_put_again_is_an_error_and_the_transaction_is_fenced(world: World) -> None:
    """Fault 14, the other end of it."""
    world.push(OLD)
    tree = dict(NEW)
    uploading = world.task(tree, local=LocalState())
    assert uploading.run_until("put", "/root")
    world.collector.condemn(world.packs())
    tree[b"a"] = b"edited"
    with pytest.raises(SourceChanged):
        uploading.finish()
    assert all(t.outcome is not None for t in world.collector.transactions())
    world.check()


def test_upload_fenced_before_its_outcome_goes_on_with_the_same_packs(world: World) -> None:
    """Faults 14 and 137: asleep for a month between slot and outcome."""
    uploading = world.task(NEW)
    assert uploading.run_until("put_if_absent", "/outcome")
    world.clock.advance(MONTH_SECONDS)
    assert len(world.collector.fence_stale()) == 1
    before = world.packs()
    result = uploading.finish()
    assert (result.attempts, result.version.slot) == (2, 2)
    assert world.packs() == before
    assert read_tree(world.memory, result.version) == NEW


def test_root_of_a_stale_transaction_is_removed_only_after_it_was_fenced(world: World) -> None:
    """Fault 137: its upload wakes when the root is gone, and can't commit without it."""
    uploading = world.task(NEW)
    assert uploading.run_until("put_if_absent", "/outcome")
    (stale,) = (t.tx for t in world.collector.transactions())
    world.clock.advance(MONTH_SECONDS)
    world.collector.collect()  # fences it: dead from the next run on
    world.collector.collect()
    with pytest.raises(ObjectNotFound):
        world.memory.get(root_key(stale))
    assert world.packs() == frozenset()
    result = uploading.finish()
    assert result.version.tx != stale
    assert read_tree(world.memory, result.version) == NEW


def test_month_old_local_state_is_not_trusted(world: World) -> None:
    """Faults 26 and 131: its packs are gone since, and one whole collection lies between."""
    world.push(OLD)
    delete_all(world)
    world.clock.advance(MONTH_SECONDS)
    world.collector.collect()
    assert world.packs() == frozenset()
    result = world.push(OLD)
    assert (result.action, result.version.slot) == (Action.COMMITTED, 2)
    assert read_tree(world.memory, result.version) == OLD


def test_base_deleted_and_collected_between_two_pushes_is_not_used(world: World) -> None:
    """Fault 131: a deleted version does not count as seen, although its root still lies there."""
    first = world.push(OLD).version
    delete_all(world)
    upload = begin(world.memory, world.clock, name=NAME)
    assert upload.latest is None
    assert load_root(world.memory, first).packs


def test_packs_of_an_undecided_transaction_do_not_count_as_seen(world: World) -> None:
    """Fault 139."""
    stopped = world.task(OLD, local=LocalState())
    assert stopped.run_until("put_if_absent", "/outcome")
    upload = begin(world.memory, world.clock, name=NAME)
    assert upload.latest is None and upload.seen == ()
    assert upload.highest_slot == 1
    theirs = world.packs()
    result = world.push(OLD)
    assert packs_of_root(world.memory.get(root_key(result.version.tx))).isdisjoint(theirs)


def test_packs_of_an_interrupted_upload_bring_its_number_along(world: World) -> None:
    """Fault 138: a late DELETE, or a resent PUT, of a run that was done before the new upload began."""
    interrupted = world.task(NEW)
    assert interrupted.run_until("put", "/root")
    interrupted.kill()
    packs = world.packs()
    run = world.collector.condemn(packs)
    assert run is not None
    world.collector.decide(run)
    bodies = {pack: world.memory.get(pack_key(pack)) for pack in packs}
    world.collector.delete(run)
    assert world.collector.finish(run)
    for pack, body in bodies.items():
        world.memory.put(pack_key(pack), body)  # the laptop wakes and sends its PUT again
    uploading = world.task(NEW)
    assert uploading.run_until("put", "/root")
    uploading.step()
    result = uploading.finish()
    assert decode_root(world.memory.get(root_key(result.version.tx))).done_run == -1
    for pack in packs:
        world.memory.delete(pack_key(pack))  # a DELETE of run 0 arrives late
    assert read_tree(world.memory, result.version) == NEW


def test_adopting_only_ever_lowers_the_number(world: World) -> None:
    world.push(OLD)
    world.collector.collect([])
    world.collector.collect([])
    upload = begin(world.memory, world.clock, name=NAME)
    assert upload.done_run == upload.view.done == 1
    for recorded, expected in ((5, 1), (0, 0), (1, 0), (-1, -1)):
        upload.adopt(recorded)
        assert upload.done_run == expected


def test_interrupted_upload_is_taken_up_again_without_sending_its_packs_twice(world: World) -> None:
    """Faults 4 and 26."""
    interrupted = world.task(NEW)
    assert interrupted.run_until("put", "/root")
    interrupted.kill()
    counted = CountBackend(world.memory)
    result = world.push(NEW, through=counted)
    assert counted.counts.sent_bytes < 4096
    assert counted.counts.requests["put"] == 2, "blocks and root"
    assert read_tree(world.memory, result.version) == NEW


def test_picks_that_a_run_under_way_condemns_are_avoided_from_the_start(world: World) -> None:
    world.push(OLD)
    world.collector.condemn(world.packs())
    result = world.push(NEW, local=LocalState())
    assert result.attempts == 1


def test_upload_that_meets_a_damaged_list_fails_closed(world: World) -> None:
    world.push(OLD)
    uploading = world.task(NEW, local=LocalState())
    assert uploading.run_until("put", "/root")
    world.collector.condemn(world.packs())
    world.memory.overwrite(run_key(0, "list"), b"nonsense")
    with pytest.raises(CorruptData):
        uploading.finish()
    assert [v.slot for v in live_versions(world.memory, NAME)] == [1]


def test_run_that_comes_up_after_the_root_spares_its_packs(world: World) -> None:
    """Fault 134: a run published during, or after, the second look sees the root."""
    world.push(OLD)
    uploading = world.task(NEW, local=LocalState())
    assert uploading.run_until("put", "/root")
    uploading.step()
    uploading.step()  # the second look: nothing there yet
    delete_all(world)
    run = world.collector.condemn(world.packs())
    assert run is not None
    world.collector.decide(run)
    world.collector.delete(run)
    assert world.collector.finish(run)
    result = uploading.finish()
    assert result.attempts == 1
    assert read_tree(world.memory, result.version) == NEW


def test_long_upload_puts_a_root_every_two_days_and_fences_them_in_the_end(world: World) -> None:
    """Fault 142: three weeks of putting packs, with a collection every day, and nothing is sent twice."""
    tree = {b"f%02d" % n: b"content %d" % n for n in range(21)}
    upload = begin(world.memory, world.clock, name=NAME)
    sources = [ScriptedUpload(upload, {path: content}, world.local) for path, content in tree.items()]
    rows: list[PackRow] = []
    whole = ScriptedUpload(upload, tree, world.local)
    beats = 0
    for source in sources:
        source.put_packs()
        whole._places |= source._places
        rows += [place.pack for place in source._places.values()]
        world.clock.advance(DAY_SECONDS)
        beats += upload.heartbeat(rows.copy, cut=CUT)
        world.collector.collect(grace_seconds=0)
    assert beats in (10, 11)
    sent = whole.new_bytes
    whole.put_packs()
    result = commit(upload, whole)
    assert result.attempts <= 2
    assert whole.new_bytes - sent < 8192
    assert read_tree(world.memory, result.version) == tree
    undecided = [t.tx for t in world.collector.transactions() if t.outcome is None]
    assert undecided == []
    interim = [t for t in world.collector.transactions() if t.tx != result.version.tx]
    assert all(t.outcome is not None and not t.outcome.committed for t in interim)


def test_heartbeat_goes_by_whichever_clock_moved(world: World) -> None:
    upload = begin(world.memory, world.clock, name=NAME)
    assert not upload.heartbeat(list, cut=CUT)
    world.clock.set_now(world.clock.now() + 3 * DAY_SECONDS)  # asleep: the monotonic clock stood still
    assert upload.heartbeat(list, cut=CUT)
    assert not upload.heartbeat(list, cut=CUT)
    world.clock.advance(3 * DAY_SECONDS)
    world.clock.set_now(0.0)  # set back
    assert upload.heartbeat(list, cut=CUT)
    upload.close()
    assert all(t.outcome is not None for t in world.collector.transactions())


def test_interim_roots_that_can_not_be_fenced_do_not_fail_a_push_that_is_committed(world: World) -> None:
    faulty = FaultBackend(world.memory)
    upload = begin(faulty, world.clock, name=NAME)
    world.clock.advance(3 * DAY_SECONDS)
    assert upload.heartbeat(list, cut=CUT)
    (interim,) = (t.tx for t in world.collector.transactions())
    faulty.add(Fault(key=outcome_key(interim), times=None, action=ErrorBefore()))
    source = ScriptedUpload(upload, NEW, world.local)
    source.put_packs()
    assert commit(upload, source).action is Action.COMMITTED


# The collector itself


def test_collector_finishes_the_run_that_another_left_at_any_stage(world: World) -> None:
    for stage in range(4):
        world = World()
        world.push(OLD)
        keep = world.push(NEW, strategy=Strategy.REPLACE, local=LocalState()).version
        world.clock.advance(MONTH_SECONDS)
        left = Collector(world.memory, world.clock)
        run = left.condemn()
        assert run == 0
        if stage > 0:
            left.decide(run)
        if stage > 1:
            left.delete(run)
        if stage > 2:
            left.finish(run)
        world.collector.collect()
        assert look(world.memory).done >= 0
        world.collector.collect()
        assert world.packs() == packs_of_root(world.memory.get(root_key(keep.tx)))
        assert read_tree(world.memory, keep) == NEW


def test_second_collector_can_not_start_a_run_while_one_is_unfinished(world: World) -> None:
    world.push(OLD)
    assert world.collector.condemn([]) == 0
    assert Collector(world.memory, world.clock).condemn(world.packs()) is None


def test_pack_that_can_not_be_deleted_keeps_the_run_open(world: World) -> None:
    world.push(OLD)
    delete_all(world)
    run = world.collector.condemn(world.packs())
    assert run is not None
    world.collector.decide(run)
    assert not world.collector.finish(run)


def test_collector_stops_at_a_transaction_it_can_not_read(world: World) -> None:
    version = world.push(OLD).version
    world.memory.overwrite(root_key(version.tx), b"nonsense")
    world.clock.advance(MONTH_SECONDS)
    before = world.packs()
    with pytest.raises(CorruptData):
        world.collector.collect()
    assert world.packs() == before
