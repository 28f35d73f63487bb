"""Logging in and out: which store it is, what is refused, and what is never kept."""

import logging
import os
import pickle
import shutil
import sys
import types
from pathlib import Path

import pytest
from compat.t9k.conftest import things
from compat.t9k.test_upload import made, names

from artifactstore import ArtifactStoreError, Store, open_store
from artifactstore.compat.t9k import CONFIG, em, session
from artifactstore.compat.t9k.config import Config
from artifactstore.compat.t9k.errors import LoginFailed, login_failed

API_KEY = "0f1e2d3c-canary-4b5a-6978-api000key111"


def test_a_path_and_a_url_are_stores(store: Store, place: Path) -> None:
    for host in (str(place), f"file://{place}", os.path.relpath(place), f"{place}/"):
        em.login(ais_host=host)
        assert open_store(session.current().store.url).store_id == store.store_id


def test_config_comes_before_the_settings_and_after_the_argument(
    store: Store, place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ARTIFACTSTORE_URL", str(tmp_path / "by settings"))
    em.login()
    assert session.current().host == str(tmp_path / "by settings")
    CONFIG["aistore_host"] = str(tmp_path / "by config")
    em.login()
    assert session.current().host == str(tmp_path / "by config")
    em.login(ais_host=str(place))
    assert session.current().host == str(place)


def test_without_any_setting_it_is_the_default_store() -> None:
    em.login()
    assert session.current().host.endswith("artifactstore/store")


def test_another_login_takes_the_place_of_the_first(store: Store, place: Path, tmp_path: Path) -> None:
    em.login(str(tmp_path / "second"))
    made().upload()
    assert names(store) == []
    em.login(str(place))
    made("other").upload()
    assert names(store) == ["alice/default/other"]


def test_a_login_that_fails_leaves_the_one_before(store: Store, work: Path) -> None:
    (work / "full").mkdir()
    (work / "full" / "something").write_text("")
    with pytest.raises(OSError):
        em.login("full")
    made().upload()
    assert names(store) == ["alice/default/demo"]


def test_logging_out_ends_it_and_twice_only_warns(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    artifact = made()
    em.logout()
    with pytest.raises(RuntimeError, match="Not logged in"):
        artifact.upload()
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        em.logout()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_login_writes_nothing(place: Path, work: Path, store: Store) -> None:
    before = things(place), things(work)
    em.login(str(place))
    em.logout()
    assert (things(place), things(work)) == before


# -- what is no login ----------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["ftpx://host/x", "s3:/bucket", "s3://", "s3://bucket?nonsense=1", "file://other/x"])
def test_what_names_no_store_is_a_value_error(host: str, work: Path) -> None:
    for kind in (ValueError, ArtifactStoreError):
        with pytest.raises(kind):
            em.login(ais_host=host, api_key=API_KEY)
    assert not session.is_logged_in() and things(work) == {}


@pytest.mark.parametrize("host", [7, b"/x", Path("/x")])
def test_a_host_that_is_no_text_is_a_type_error(host: object) -> None:
    with pytest.raises(TypeError, match="ais_host"):
        em.login(ais_host=host)


@pytest.mark.parametrize("timeout", [0, -1, True, "5", float("nan")])
def test_a_timeout_is_seconds_over_zero(timeout: object, place: Path) -> None:
    with pytest.raises(ValueError, match="timeout"):
        em.login(str(place), timeout=timeout)


def test_a_folder_that_is_no_store_is_an_os_error(work: Path) -> None:
    (work / "full").mkdir()
    (work / "full" / "something").write_text("")
    before = things(work)
    for kind in (OSError, ArtifactStoreError, LoginFailed):
        with pytest.raises(kind, match="can't log in"):
            em.login("full")
    assert things(work) == before and not session.is_logged_in()


def test_a_server_that_is_not_there_is_an_os_error_within_the_timeout(s3_environment: None) -> None:
    with pytest.raises(OSError, match="can't log in"):
        em.login("s3://bucket/x?endpoint_url=http://127.0.0.1:9", timeout=0.2)


@pytest.fixture
def s3_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def test_a_web_address_needs_a_store_that_stands_for_it(
    store: Store, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "https://user:hunter2@home.example.com/t9k/aistore/server"
    em.logout()
    with pytest.raises(ValueError, match=r"address of a web server.*ARTIFACTSTORE_T9K_HOST") as caught:
        em.login(ais_host=address, api_key=API_KEY)
    assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("ARTIFACTSTORE_T9K_HOST", str(place))
    for given in (address, "HTTP://home"):
        em.login(ais_host=given, api_key=API_KEY)
        assert session.current().host == str(place)
    CONFIG["aistore_host"] = address
    em.login()
    assert session.current().host == str(place)


def test_a_place_that_became_another_store_is_an_os_error(store: Store, place: Path) -> None:
    shutil.rmtree(place)
    with open_store(place, state_path=place.parent / "state of somebody else") as other:
        other.init()
    with pytest.raises(OSError, match="another store before"):
        em.login(str(place))


# -- what is never kept --------------------------------------------------------------------------------


def test_the_api_key_is_nowhere(
    store: Store, place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    CONFIG["api_key"] = API_KEY
    CONFIG.update({"api_key": API_KEY})
    assert CONFIG["api_key"] is None and API_KEY not in repr(CONFIG) + str(CONFIG.to_dict())
    em.login(ais_host=str(place), api_key=API_KEY)
    artifact = made()
    artifact.upload()
    with pytest.raises(ValueError) as caught:
        em.login(ais_host="ftpx://host", api_key=API_KEY)
    told = caplog.text + "".join(capfd.readouterr()) + str(caught.value) + repr(vars(session)) + repr(artifact)
    assert API_KEY not in told
    for root in (place, tmp_path, Path(os.environ["XDG_DATA_HOME"])):
        assert not any(API_KEY.encode() in content for content in things(root).values())


# -- errors and CONFIG ---------------------------------------------------------------------------------


def test_where_requests_is_loaded_its_error_catches_a_failed_login(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class HTTPError(OSError):
        def __init__(self, *args: object, **kwargs: object) -> None:
            self.response = kwargs.pop("response", None)
            super().__init__(*args, **kwargs)

    monkeypatch.setitem(sys.modules, "requests", types.SimpleNamespace(HTTPError=HTTPError))
    (work / "full").mkdir()
    (work / "full" / "something").write_text("")
    with pytest.raises(HTTPError, match="can't log in") as caught:
        em.login("full")
    assert isinstance(caught.value, LoginFailed) and caught.value.response is None
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, LoginFailed) and str(again) == str(caught.value)


@pytest.mark.parametrize("requests", [None, types.SimpleNamespace(), types.SimpleNamespace(HTTPError=ValueError)])
def test_whatever_is_called_requests_does_no_harm(monkeypatch: pytest.MonkeyPatch, requests: object) -> None:
    if requests is None:
        monkeypatch.delitem(sys.modules, "requests", raising=False)
    else:
        monkeypatch.setitem(sys.modules, "requests", requests)
    assert type(login_failed("what", where="here", next_step="Do it.")) is LoginFailed


def test_config_has_the_items_of_the_original() -> None:
    config = Config()
    config.update({"aistore_host": "x", "asset_hub_host": "y"})
    assert (config["aistore_host"], config.get("asset_hub_host"), config.get("nothing", "z")) == ("x", "y", "z")
    assert dict(config.items()) == config.to_dict() == {"api_key": None, "aistore_host": "x", "asset_hub_host": "y"}
    assert "api_key" in config and "nothing" not in config
    del config["aistore_host"]
    assert config["aistore_host"] is None
    for call in (lambda: config["nothing"], lambda: config.update({"nothing": "x"})):
        with pytest.raises(ValueError, match="Invalid SDK config item"):
            call()
    with pytest.raises(TypeError):
        config["aistore_host"] = 7
