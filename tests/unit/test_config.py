"""Which store, and why; settings files; nothing secret is ever shown (fault 114)."""

import os
from pathlib import Path

import pytest

from artifactstore import config
from artifactstore.config import Source, find_store, load_settings, parse_size
from artifactstore.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "project" / "deep" / "er"
    directory.mkdir(parents=True)
    return directory


def write_user_file(text: str) -> Path:
    path = config.user_file_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_default_store_is_a_folder_under_the_users_data_directory(project: Path, tmp_path: Path) -> None:
    choice = find_store(environment={}, directory=project)
    assert choice.source is Source.DEFAULT
    assert choice.url.startswith(str(tmp_path / "home"))
    assert choice.url.endswith(os.path.join("artifactstore", "store"))


def test_each_source_overrides_those_below_it(project: Path) -> None:
    write_user_file('store = "/from/user"')
    assert find_store(environment={}, directory=project).url == "/from/user"
    (project.parent.parent / "artifactstore.toml").write_text('store = "/from/project"')
    assert find_store(environment={}, directory=project).url == "/from/project"
    env = {"ARTIFACTSTORE_URL": "s3://bucket/env"}
    assert find_store(environment=env, directory=project).url == "s3://bucket/env"
    choice = find_store("s3://bucket/flag", environment=env, directory=project)
    assert (choice.url, choice.source, choice.where) == ("s3://bucket/flag", Source.FLAG, "--store")


def test_every_candidate_is_listed_with_its_fate(project: Path) -> None:
    write_user_file("jobs = 3")
    choice = find_store(environment={"ARTIFACTSTORE_URL": "/a"}, directory=project)
    notes = {candidate.source: candidate.note for candidate in choice.candidates}
    assert notes == {
        Source.FLAG: "not set",
        Source.ENVIRONMENT: "used",
        Source.PROJECT_FILE: f"none here or above {project}",
        Source.USER_FILE: "it sets no store",
        Source.DEFAULT: "overridden",
    }
    assert "ARTIFACTSTORE_URL" in choice.why


def test_the_nearest_project_file_counts_and_no_other(project: Path) -> None:
    (project.parent.parent / "artifactstore.toml").write_text('store = "/far"\njobs = 2')
    (project / "artifactstore.toml").write_text('store = "/near"')
    settings = load_settings(environment={}, directory=project)
    assert settings.store.url == "/near"
    assert settings.jobs is None


def test_relative_paths_in_a_file_are_relative_to_the_file(project: Path) -> None:
    top = project.parent.parent
    (top / "artifactstore.toml").write_text('store = "data/store"')
    user = write_user_file('state_dir = "../state"')
    settings = load_settings(environment={}, directory=project)
    assert settings.store.url == str(top / "data" / "store")
    assert settings.state_path == user.parent.parent / "state"


@pytest.mark.parametrize("given", ["stores/one", "./stores/one"])
def test_relative_paths_on_the_command_line_are_relative_to_the_working_directory(project: Path, given: str) -> None:
    assert find_store(given, environment={}, directory=project).url == str(project / "stores" / "one")
    env = {"ARTIFACTSTORE_URL": given}
    assert find_store(environment=env, directory=project).url == str(project / "stores" / "one")


def test_tilde_is_the_home_directory_and_urls_stay_as_they_are(project: Path, tmp_path: Path) -> None:
    assert find_store("~/x", environment={}, directory=project).url == str(tmp_path / "home" / "x")
    for url in ("s3://b/p", "file:///a/b", "memory://x", "simplecache::gs://b/p"):
        assert find_store(url, environment={}, directory=project).url == url


def test_keys_are_decided_one_by_one(project: Path) -> None:
    user = write_user_file('jobs = 3\nlimit_rate = "10M"\ncompression = "none"')
    (project / "artifactstore.toml").write_text('jobs = 5\nmax_memory = "1GiB"')
    settings = load_settings(environment={}, directory=project)
    assert (settings.jobs, settings.limit_rate_bytes, settings.max_memory_bytes) == (5, 10 << 20, 1 << 30)
    assert settings.compression == "none"
    assert settings.origins["jobs"] == str(project / "artifactstore.toml")
    assert settings.origins["compression"] == str(user)


@pytest.mark.parametrize("given", ["", "s3:/bucket/x", "s3:bucket", "gs:/b", "HTTPS:/host", "file:/x"])
def test_a_url_that_lacks_something_is_no_folder(project: Path, given: str) -> None:
    with pytest.raises(ConfigurationError):
        find_store(given, environment={}, directory=project)
    (project / "artifactstore.toml").write_text(f'store = "{given}"')
    with pytest.raises(ConfigurationError):
        find_store(environment={}, directory=project)


@pytest.mark.parametrize("given", ["./s3:/bucket", "data:v1", "s3", "s3x:/b"])
def test_a_folder_may_have_a_colon_in_its_name(project: Path, given: str) -> None:
    assert find_store(given, environment={}, directory=project).url == str(project / given)


def test_the_state_directory_can_be_set_by_the_environment(project: Path) -> None:
    settings = load_settings(environment={"ARTIFACTSTORE_STATE_DIR": "here"}, directory=project)
    assert settings.state_path == project / "here"


def test_the_cache_is_the_users_and_of_our_choice_of_size_by_default(project: Path, tmp_path: Path) -> None:
    settings = load_settings(environment={}, directory=project)
    assert settings.cache_path == tmp_path / "home" / ".cache" / "artifactstore"
    assert (settings.cache_bytes, settings.cache_sharing) == (None, "owner")


@pytest.mark.parametrize(("text", "size"), [('"20G"', 20 << 30), ("0", 0), ('"0"', 0), ("1000000", 1_000_000)])
def test_the_cache_can_be_set_by_the_users_file(project: Path, text: str, size: int) -> None:
    user = write_user_file(f'cache_dir = "here"\ncache_size = {text}\ncache_sharing = "group"')
    settings = load_settings(environment={}, directory=project)
    assert settings.cache_path == user.parent / "here"
    assert (settings.cache_bytes, settings.cache_sharing) == (size, "group")


def test_the_cache_can_be_set_by_the_environment(project: Path) -> None:
    write_user_file('cache_dir = "here"')
    (project / "artifactstore.toml").write_text('cache_size = "20G"')
    said = {"DIR": "there", "SIZE": "0", "SHARING": "group"}
    environment = {f"ARTIFACTSTORE_CACHE_{key}": value for key, value in said.items()}
    settings = load_settings(environment=environment, directory=project)
    assert settings.cache_path == project / "there"
    assert (settings.cache_bytes, settings.cache_sharing) == (0, "group")
    assert settings.origins["cache_size"] == "ARTIFACTSTORE_CACHE_SIZE"


@pytest.mark.parametrize(
    ("variable", "text"),
    [("ARTIFACTSTORE_CACHE_SIZE", "much"), ("ARTIFACTSTORE_CACHE_SIZE", "-1"), ("ARTIFACTSTORE_CACHE_SHARING", "all")],
)
def test_a_wrong_variable_about_the_cache_is_named(project: Path, variable: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=variable):
        load_settings(environment={variable: text}, directory=project)


@pytest.mark.parametrize("key", ["state_dir", "cache_dir", "cache_sharing"])
def test_a_project_does_not_say_where_folders_are_made_and_for_whom(project: Path, key: str) -> None:
    # It comes with a clone, and could name any folder of yours: they are filled, emptied, and opened to a group.
    (project / "artifactstore.toml").write_text(f'{key} = "group"')
    with pytest.raises(ConfigurationError, match=f"`{key}` can't be set by a project: set it in .*config.toml"):
        load_settings(environment={}, directory=project)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("cache_dir = 1", "`cache_dir` must be text"),
        ('state_dir = ""', "`state_dir` must be text"),
        ('cache_sharing = "world"', "`cache_sharing` must be one of owner, group"),
    ],
)
def test_errors_name_the_users_file_and_the_key(project: Path, text: str, named: str) -> None:
    path = write_user_file(text)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environment={}, directory=project)
    assert str(path) in str(caught.value)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("store = 3", "`store` must be text"),
        ('store = ""', "`store` must be text"),
        ('store = "s3://key:secret-thing@host/b"', "`store` holds a user or password"),
        ('jobs = "many"', "`jobs` must be a whole number"),
        ("jobs = true", "`jobs` must be a whole number"),
        ("jobs = 0", "`jobs` must be from 1 to 256"),
        ('limit_rate = "fast"', "`limit_rate` 'fast' is not a size"),
        ('limit_rate = "0"', "`limit_rate` '0': a size must be above zero"),
        ("limit_rate = 1.5", "`limit_rate` must be a size"),
        ('max_memory = "1M"', "`max_memory` must be 64M or more"),
        ('compression = "gzip"', "`compression` must be one of auto, zstd, none"),
        ("compression = 1", "`compression` must be one of"),
        ('cache_size = "all"', "`cache_size` 'all' is not a size"),
        ("cache_size = false", "`cache_size` must be a size"),
        ("cache_size = -1", "`cache_size` must be"),
        ("colour = 1", "`colour` is not a setting; there are store, "),
        ("jobs = ", "is not a TOML file"),
    ],
)
def test_errors_name_the_file_and_the_key(project: Path, text: str, named: str) -> None:
    path = project / "artifactstore.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environment={}, directory=project)
    assert str(path) in str(caught.value)
    assert named in str(caught.value)
    assert "secret-thing" not in str(caught.value)


def test_a_file_that_is_not_utf8_or_far_too_long_is_refused(project: Path) -> None:
    path = project / "artifactstore.toml"
    for body in (b'store = "\xff"', b"#" * (2 << 20)):
        path.write_bytes(body)
        with pytest.raises(ConfigurationError, match=r"artifactstore\.toml"):
            load_settings(environment={}, directory=project)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file that belongs to somebody else")
def test_a_file_planted_in_a_shared_directory_is_ignored_and_says_so(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "mine").mkdir(parents=True)
    shared.chmod(0o1777)
    (shared / "artifactstore.toml").write_text('store = "/evil"')
    os.chown(shared / "artifactstore.toml", 12345, 12345)
    choice = find_store(environment={}, directory=shared / "mine")
    assert choice.source is Source.DEFAULT
    assert any("another user's file" in candidate.note for candidate in choice.candidates)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        ("10M", 10 << 20),
        ("10m", 10 << 20),
        ("1.5GiB", 3 << 29),
        ("500K", 500 << 10),
        ("500kB", 500_000),
        ("2 TB", 2_000_000_000_000),
        ("12b", 12),
    ],
)
def test_sizes_in_the_usual_spellings(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "ten", "-1", "0", "1e9", "1 000", "10Mbit", "٣"])
def test_what_is_not_a_size_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(text)
