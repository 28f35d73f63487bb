"""Conditions: which versions they match, and where a wrong one goes wrong."""

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.errors import InvalidExpression
from artifactstore.results import VersionInfo
from artifactstore.where import FIELDS, parse_condition

METADATA: dict[str, Any] = {
    "acc": 0.93,
    "steps": 9000,
    "zero": 0,
    "frozen": True,
    "digits": "5",
    "kind": "large model",
    "tags": ["night", 3, True, None],
    "train": {"lr": 1e-4, "val.acc": 0.5, "a b": 1, "": "empty", "runs": [{"seed": 7}]},
    "trained": "2026-11-20T23:30:00+02:00",
    "day": "2026-11-20",
    "month": "2026-11",
    "none": None,
    "name": "of metadata",
    "metadata": "deeper",
    "big": 2**63,
    "flat.key": 1,
    "train.lr": "hidden",
}
INFO = VersionInfo(
    name="team/model",
    version="team/model:v3",
    slot=3,
    tx="0" * 32,
    content_digest="0" * 64,
    created="2026-11-20T23:59:59.123Z",
    who="ann",
    host="box",
    message="second draft",
    metadata=METADATA,
    files=3,
    content_bytes=1_000_000,
)


def matches(expression: str) -> bool:
    return parse_condition(expression).matches(INFO)


@pytest.mark.parametrize(
    "expression",
    [
        "acc >= 0.9",
        "acc>=0.93",
        "  metadata.acc  >  .5".replace(" .5", " 0.5"),
        "acc = 93e-2",
        "acc != 1",
        "steps = 9000.0",
        "zero = -0",
        "big > 9223372036854775807",
        "frozen = true",
        "frozen != false",
        "digits = 5",
        'digits = "5"',
        "kind = large model",
        'kind = "large model"',
        "kind ~ large",
        "kind < zebra",
        "tags ~ night",
        "tags ~ 3",
        "tags ~ true",
        "tags ~ null",
        "tags.1 = 3",
        "train ~ lr",
        "train.lr < 0.001",
        "flat.key = 1",
        "metadata.flat.key = 1",
        'train."val.acc" = 0.5',
        'train."a b" = 1',
        'train."" = empty',
        "train.runs.0.seed = 7",
        "metadata ~ acc",
        "metadata.name = of metadata",
        "metadata.metadata = deeper",
        '"name" = of metadata',
        "none = null",
        "missing = null",
        "missing.below = null",
        "acc.below = null",
        "acc != null",
        "acc != large",
        "train != 1",
        "name = team/model",
        "name ~ team/",
        "version = 3",
        "version = v3",
        "version < v10",
        "files >= 3",
        "content_bytes > 9e5",
        "who = ann",
        "message ~ draft",
        "message != draft",
        "expires = null",
        "made_by = null",
    ],
)
def test_matches(expression: str) -> None:
    assert matches(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "acc < 0.9",
        "acc = large",
        'acc = "0.93"',
        "acc > low",
        "acc ~ 9",
        "frozen = 1",
        "frozen = yes",
        'frozen = "true"',
        "frozen > false",
        "digits > 50",
        "kind > zebra",
        'tags ~ "3"',
        "tags = night",
        "tags.9 = 3",
        "tags.-1 = true",
        "train = lr",
        "train.nothing = 1",
        "missing != 1",
        "missing < 1",
        "missing ~ a",
        "missing != null",
        "none != null",
        "acc = null",
        'none = "null"',
        "name = model",
        "expires < 2030",
        "expires != 2030",
        "made_by ~ a",
    ],
)
def test_does_not_match(expression: str) -> None:
    assert not matches(expression)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("created = 2026", True),
        ("created = 2026-11", True),
        ("created = 2026-11-20", True),
        ("created = 2026-11-20T23", True),
        ("created = 2026-11-20T23:59:59Z", True),
        ("created = 2026-11-20T23:59:59.1", True),
        ("created = 2026-11-20T23:59:59.123Z", True),
        ("created = 2026-11-20T23:59:59.124Z", False),
        ('created = "2026-11"', True),
        ("created != 2026-11", False),
        ("created <= 2026-11-20", True),
        ("created > 2026-11-20", False),
        ("created >= 2026-11-20", True),
        ("created < 2026-11-20", False),
        ("created < 2026-12", True),
        ("created = 2026-11-21T00:59:59+01:00", True),
        ("created > 2026-11-20T23:59:58.5Z", True),
        ("created ~ T23:59", True),
        ("trained = 2026-11-20T21:30Z", True),
        ("trained > 2026-11-20T22:00Z", False),
        ("trained = 2026-11", True),
        ('trained = "2026-11"', False),
        ("day = 2026-11", True),
        ("day < 2026-11-21T10:00", True),
        ("month = 2026-11", True),
        ("month = 2026", False),
        ("kind > 2026-11", True),
    ],
)
def test_times_are_compared_with_as_much_as_is_given_in_utc(expression: str, expected: bool) -> None:
    assert matches(expression) is expected


@pytest.mark.parametrize(
    ("expression", "position", "said"),
    [
        ("", 0, "a key is expected"),
        ("   ", 3, "a key is expected"),
        ("= 3", 0, "a key is expected"),
        (".acc = 3", 0, "a key is expected"),
        ("train. = 3", 6, "a key is expected"),
        ("train..lr = 3", 6, "a key is expected"),
        ('"open = 3', 0, "a key is expected"),
        ("acc", 3, "an operator"),
        ("acc 3", 4, "an operator"),
        ("a b = 3", 2, "an operator"),
        ("acc == 3", 4, "no operator =="),
        ("acc => 3", 4, "no operator =>"),
        ("acc <> 3", 4, "no operator <>"),
        ("acc =~ 3", 4, "no operator =~"),
        ("acc ! 3", 4, "no operator !"),
        ("acc =", 5, "a value is expected"),
        ("acc =  ", 7, "a value is expected"),
        ('acc = "x', 6, "not closed"),
        ('acc = "x" y', 10, "nothing may follow"),
        (r'acc = "\q"', 6, "not a text as JSON"),
        (r'"\q" = 1', 0, "not a text as JSON"),
        ("created = yesterday", 10, "a time such as"),
        ("created < 2026-13", 10, "a time such as"),
        ("created < 2026-11-20T25", 10, "a time such as"),
        ("created < 2026-11T10", 10, "a time such as"),
        ("created < 2026-11-20T10+01:00", 10, "a time such as"),
        ("created < 0001-01-01T00:00+01:00", 10, "a time such as"),
        ("files = many", 8, "a number"),
        ("files ~ 3", 6, "~ looks into texts"),
        ("version = new", 10, "a number"),
        ("content_bytes > 10M", 16, "a number"),
    ],
)
def test_a_wrong_expression_says_at_which_character(expression: str, position: int, said: str) -> None:
    with pytest.raises(InvalidExpression, match=f"character {position + 1}: ") as caught:
        parse_condition(expression)
    assert caught.value.position == position
    assert said in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_the_error_survives_pickling() -> None:
    with pytest.raises(InvalidExpression) as caught:
        parse_condition("acc")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.position) == (str(caught.value), 3)


def test_every_field_is_one_of_a_version() -> None:
    assert set(FIELDS) - {"version"} <= set(VersionInfo.__slots__)


@given(st.text(max_size=40))
def test_any_text_is_a_condition_or_an_invalid_expression(text: str) -> None:
    try:
        condition = parse_condition(text)
    except InvalidExpression as error:
        assert 0 <= error.position <= len(text)
    else:
        assert isinstance(condition.matches(INFO), bool)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(VALUES, st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "~"]), st.text(min_size=1, max_size=8))
def test_any_stored_value_can_be_compared_with_any_text(value: object, how: str, text: str) -> None:
    info = VersionInfo(
        name="n", version="n:v1", slot=1, tx="0" * 32, content_digest="0" * 64, created="", metadata={"k": value}
    )
    try:
        condition = parse_condition(f"k {how} {text}")
    except InvalidExpression:
        return
    assert isinstance(condition.matches(info), bool)


INTEGERS = st.integers(-(10**20), 10**20)


@given(st.floats(allow_nan=False, allow_infinity=False) | INTEGERS, INTEGERS)
def test_numbers_are_ordered_as_numbers(stored: float, asked: int) -> None:
    info = VersionInfo(
        name="n", version="n:v1", slot=1, tx="0" * 32, content_digest="0" * 64, created="", metadata={"k": stored}
    )
    assert parse_condition(f"k < {asked}").matches(info) is (stored < asked)
    assert parse_condition(f"k >= {asked}").matches(info) is (stored >= asked)
