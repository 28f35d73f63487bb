"""Keys of objects: one spelling of each, the newest first in a listing, nothing outside the store."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from artifactstore.backend.protocol import check_object_key
from artifactstore.digest import Digest, PackId
from artifactstore.errors import InvalidName
from artifactstore.keys import (
    MAX_KEY_BYTES,
    LabelHint,
    NameKeys,
    SlotObject,
    TxId,
    check_key_length,
    counted,
    item_record_key,
    items_prefix,
    label_key,
    label_prefix,
    labelled_prefix,
    landmark_key,
    landmark_prefix,
    moved_key,
    outcome_key,
    pack_key,
    parse_counted,
    parse_item_record,
    parse_label_key,
    parse_pack_key,
    parse_run_key,
    parse_slot_key,
    parse_slot_object_key,
    parse_tx_id,
    parse_version_key,
    root_key,
    run_key,
    store_setting_key,
)
from artifactstore.names import Name, job_name

PACK = PackId(bytes(range(20)))
TX = TxId("0123456789abcdef" * 2)
DIGEST = Digest(bytes(range(32)))
numbers = st.integers(0, 10**16 - 1)
segments = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)
job_texts = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=16)
names = st.one_of(
    st.lists(segments, min_size=1, max_size=9).map("/".join).map(Name),
    st.builds(job_name, job_texts, st.sampled_from(["dir", "saved"]), job_texts),
)


def test_keys_are_those_of_the_format() -> None:
    """docs/format.md, "Objects and keys"."""
    assert counted(3) == "9999999999999996-3"
    assert pack_key(PACK) == f"packs/00/{PACK.hex()}"
    assert moved_key(PACK) == f"packs/00/{PACK.hex()}.moved"
    assert root_key(TX) == f"tx/01/{TX}/root"
    assert outcome_key(TX) == f"tx/01/{TX}/outcome"
    assert store_setting_key(1) == "store/9999999999999998-1"
    assert run_key(0, "list") == "gc/9999999999999999-0/list"
    assert landmark_key(DIGEST, TX, PACK) == f"landmarks/00/{DIGEST.hex()}/{TX}/{PACK.hex()}"
    assert landmark_key(DIGEST, TX, PACK).startswith(landmark_prefix(DIGEST))
    assert item_record_key("a/b", "c", 2, made=True) == "names/a/b/.folder/c/9999999999999997-2.made"
    assert item_record_key("", "@c", 1, made=False) == "names/.folder/@c/9999999999999998-1.removed"
    keys = NameKeys(Name("team/model"))
    assert keys.use(3, DIGEST) == f"names/team/@model/used/9999999999999996-3/{DIGEST.hex()}"
    assert keys.slot(3) == "names/team/@model/v/9999999999999996-3"
    assert keys.tombstone(3) == "names/team/@model/v/9999999999999996-3.deleted"
    assert keys.alias_move("prod", 1) == "names/team/@model/alias/prod/9999999999999998-1"
    assert keys.edit(3, 1) == "names/team/@model/meta/9999999999999996-3/9999999999999998-1"
    assert NameKeys(Name("top")).slot(1) == "names/@top/v/9999999999999998-1"
    assert label_key("good", Name("team/model"), 3, 0, on=True) == (
        "labels/good/team/@model/9999999999999996-3/9999999999999999-0.on"
    )


@given(numbers, numbers)
def test_the_newest_lists_first(one: int, other: int) -> None:
    assert (one < other) == (counted(one) > counted(other))
    assert parse_counted(counted(one)) == one


@pytest.mark.parametrize("number", [-1, 10**16])
def test_number_that_does_not_fit_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="can't stand in a key"):
        counted(number)


@given(st.text(max_size=30))
@example("9999999999999996-4")
@example("9999999999999996-03")
@example("٩999999999999996-3")
@example("9999999999999996-3\n")
@example("9999999999999996-+3")
def test_number_has_one_spelling(text: str) -> None:
    number = parse_counted(text)
    assert number is None or counted(number) == text


@given(names, numbers)
def test_slot_key_leads_back_to_its_name_and_number(name: Name, number: int) -> None:
    keys = NameKeys(name)
    assert parse_version_key(keys.slot(number)) == (name, number)
    assert parse_version_key(keys.tombstone(number)) is None
    assert parse_slot_key(keys.slot(number), keys.slots) == (number, SlotObject.RECORD)
    assert parse_slot_key(keys.tombstone(number), keys.slots) == (number, SlotObject.TOMBSTONE)
    assert parse_slot_key(keys.edited(number), keys.slots) == (number, SlotObject.EDITED)
    assert parse_slot_key(keys.slot(number) + ".other", keys.slots) is None
    assert [keys.slot(number), keys.tombstone(number), keys.edited(number)] == sorted(
        [keys.edited(number), keys.tombstone(number), keys.slot(number)]
    )
    check_object_key(keys.slot(number))


@given(names, names)
def test_names_share_no_key(one: Name, other: Name) -> None:
    """Not even a folder of one with the other: `a` and `a/b`, `a` and `a.b`."""
    mine, theirs = NameKeys(one).prefix, NameKeys(other).prefix
    assert mine == theirs if one == other else not mine.startswith(theirs)


@pytest.mark.parametrize(
    "key",
    [
        "names/@n/v/9999999999999998-1.deleted",
        "names/@n/v/9999999999999998-2",
        "names/@n/v/",
        "names/n/v/9999999999999998-1",
        "names/@../v/9999999999999998-1",
        "names/.jobs/1/@k/v/9999999999999998-1",
        "names/.jobs/%31/dir/@k/v/9999999999999998-1",
        "names/@n/alias/v/9999999999999998-1",
        "other/@n/v/9999999999999998-1",
        "names//@n/v/9999999999999998-1",
    ],
)
def test_foreign_key_is_no_version(key: str) -> None:
    assert parse_version_key(key) is None


def test_pack_key_leads_back_to_its_pack_and_nothing_else_does() -> None:
    assert parse_pack_key(pack_key(PACK)) == PACK
    for key in (
        moved_key(PACK),
        pack_key(PACK).upper(),
        f"packs/01/{PACK.hex()}",
        f"packs/{PACK.hex()}",
        f"packs/00/{PACK.hex()[:-1]}",
        f"packs/00/{PACK.hex()}/x",
        "packs/00/",
        "",
    ):
        assert parse_pack_key(key) is None, key


@given(numbers, st.sampled_from(["list", "delete", "done", "decided"]))
def test_run_key_leads_back_to_its_run(number: int, record: str) -> None:
    assert parse_run_key(run_key(number, record)) == (number, record)
    assert parse_run_key(f"gc/x{record}/{record}") is None


@pytest.mark.parametrize("text", ["", TX[:-1], TX + "0", TX.upper(), TX[:-1] + "g", TX + "\n"])
def test_transaction_has_one_spelling(text: str) -> None:
    assert parse_tx_id(TX) == TX
    with pytest.raises(ValueError, match="not a transaction id"):
        parse_tx_id(text)


def test_name_whose_longest_key_would_be_too_long_is_refused() -> None:
    """Fault 101."""
    fits = Name("/".join(["x" * 80] * 8))
    check_key_length(fits)
    too_long = Name("/".join(["x" * 128] * 6))
    with pytest.raises(InvalidName, match="over 900"):
        check_key_length(too_long)
    keys = NameKeys(fits)
    label = label_key("x" * 128, fits, 1, 1, on=False)
    longest = max(keys.tombstone(1), keys.alias_move("x" * 128, 1), keys.edit(1, 1), label, key=len)
    assert len(longest) <= MAX_KEY_BYTES
    assert longest.startswith("labels/")


@pytest.mark.parametrize("folder", ["", "a/b"])
@pytest.mark.parametrize("item", ["c", "@c"])
@pytest.mark.parametrize("made", [True, False])
def test_records_about_what_is_in_a_folder_have_one_spelling(folder: str, item: str, made: bool) -> None:
    key = item_record_key(folder, item, 7, made=made)
    assert parse_item_record(key.removeprefix(items_prefix(folder))) == (item, 7, made)


@pytest.mark.parametrize(
    "text",
    ["", "c", "c/9999999999999997-2", "c/9999999999999997-2.gone", "c/9999999999999997-3.made", "c/2.made",
     "c/d/9999999999999997-2.made", "/9999999999999997-2.made", "c/9999999999999999-0.made"],
)  # fmt: skip
def test_foreign_objects_among_records_about_folders_are_none(text: str) -> None:
    assert parse_item_record(text) is None


def test_label_keys_come_back_from_a_listing() -> None:
    for name, slot, number, on in (("a", 1, 0, True), ("team/sub/model", 12, 3, False)):
        key = label_key("good", Name(name), slot, number, on=on)
        assert parse_label_key(key) == LabelHint("good", Name(name), slot, number, on)
        assert key.startswith(labelled_prefix("good", Name(name), slot))
        assert key.startswith(label_prefix("good", Name(name).folder))
        assert key.startswith(label_prefix("good"))


@pytest.mark.parametrize(
    "key",
    [
        "labels/good/@a/9999999999999998-1/9999999999999999-0",
        "labels/good/@a/9999999999999998-1/9999999999999999-0.maybe",
        "labels/good/@a/9999999999999998-1/9999999999999999-1.on",
        "labels/good/@a/9999999999999998-01/9999999999999999-0.on",
        "labels/good/@a/x/9999999999999998-1/9999999999999999-0.on",
        "labels/good/a/9999999999999998-1/9999999999999999-0.on",
        "labels/good/te@m/@a/9999999999999998-1/9999999999999999-0.on",
        "labels/good/.jobs/@a/9999999999999998-1/9999999999999999-0.on",
        "names/good/@a/9999999999999998-1/9999999999999999-0.on",
        "labels/good",
    ],
)
def test_foreign_objects_are_no_label_hints(key: str) -> None:
    assert parse_label_key(key) is None


def test_objects_of_slots_come_back_from_a_listing_of_all_names() -> None:
    for text in ("a", "team/sub/model"):
        name = Name(text)
        keys = NameKeys(name)
        assert parse_slot_object_key(keys.slot(7)) == (name, 7, SlotObject.RECORD)
        assert parse_slot_object_key(keys.tombstone(7)) == (name, 7, SlotObject.TOMBSTONE)
        assert parse_slot_object_key(keys.edited(7)) == (name, 7, SlotObject.EDITED)


@pytest.mark.parametrize(
    "key",
    [
        "names/@a/v/9999999999999998-1.other",
        "names/@a/v/9999999999999998-2",
        "names/@a/v/x",
        "names/@a/alias/prod/9999999999999998-1",
        "names/@a/meta/9999999999999998-1/9999999999999998-1",
        "names/.jobs/j/dir/@k/v/9999999999999998-1",
        "names/a/v/9999999999999998-1",
        "names/te@m/v/9999999999999998-1",
        "names/@/v/9999999999999998-1",
        "names/.folder/@c/9999999999999998-1.removed",
    ],
)
def test_other_objects_below_names_are_no_objects_of_slots(key: str) -> None:
    assert parse_slot_object_key(key) is None
