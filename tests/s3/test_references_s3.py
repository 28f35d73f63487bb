"""References into S3: the same suite as other places, with and without versions in the bucket."""

import os
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from s3.servers import S3Server, free_port

from artifactstore.artifacts.reference_rules import ReferenceRules, load_rules
from artifactstore.artifacts.references import DriftState, Origins, Proof, resolve, strength, verify
from artifactstore.config import load_settings
from artifactstore.errors import ReferenceNotFound, ReferenceUnreachable
from artifactstore.testing.origins import OriginConformance, Place, content_of


class S3Place:
    def __init__(self, server: S3Server, bucket: str, prefix: str, *, keeps_versions: bool) -> None:
        self.client = server.client()
        self.bucket = bucket
        self.prefix = prefix
        self.base = f"s3://{bucket}/{prefix}/"
        self.rules = load_rules(load_settings(environment={}), store_url=server.url("any"))
        self.keeps_versions = keeps_versions

    def uri(self, name: str) -> str:
        return self.base + name

    def write(self, name: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{name}", Body=content)

    def remove(self, name: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=f"{self.prefix}/{name}")


@pytest.fixture
def plain(s3_server: S3Server, s3_url: str) -> S3Place:
    path = urlsplit(s3_url).path.strip("/")
    return S3Place(s3_server, s3_server.bucket, path, keeps_versions=False)


@pytest.fixture
def versioned(s3_server: S3Server, s3_url: str) -> Iterator[S3Place]:
    if s3_server.kind == "given":
        pytest.skip("makes a bucket, and the server that was named is somebody's own")
    bucket, path = f"{s3_server.bucket}-versions", urlsplit(s3_url).path.strip("/")
    place = S3Place(s3_server, bucket, path, keeps_versions=True)
    place.client.create_bucket(Bucket=bucket)
    place.client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    yield place
    rows = place.client.list_object_versions(Bucket=bucket)
    for row in (*rows.get("Versions", ()), *rows.get("DeleteMarkers", ())):
        place.client.delete_object(Bucket=bucket, Key=row["Key"], VersionId=row["VersionId"])
    place.client.delete_bucket(Bucket=bucket)


class TestS3(OriginConformance):
    @pytest.fixture
    def place(self, plain: S3Place) -> Place:
        return plain


class TestS3WithVersions(OriginConformance):
    @pytest.fixture
    def place(self, versioned: S3Place) -> Place:
        return versioned


def test_entity_tag_is_kept_and_marked_weak(plain: S3Place) -> None:
    plain.write("x", b"content")
    with Origins(plain.rules) as origins:
        target = resolve(plain.uri("x"), origins).targets[b""]
        drift = verify(b"x", target, origins)
    assert target.etag
    assert target.version_id == ""
    assert strength(target) is Proof.ETAG
    assert drift.is_weak


def test_version_is_kept_and_is_a_strong_proof(versioned: S3Place) -> None:
    versioned.write("p/x", b"content")
    with Origins(versioned.rules) as origins:
        targets = [resolve(versioned.uri(name), origins).targets for name in ("p/x", "p/")]
        assert targets[0][b""] == targets[1][b"x"]
        target = targets[0][b""]
        drift = verify(b"x", target, origins)
    assert target.version_id
    assert (drift.state, drift.proof, drift.is_weak) == (DriftState.SAME, Proof.VERSION, False)


def test_uri_may_name_a_version(versioned: S3Place) -> None:
    versioned.write("x", b"old")
    with Origins(versioned.rules) as origins:
        old = resolve(versioned.uri("x"), origins).targets[b""]
        versioned.write("x", b"newer")
        found = resolve(f"{old.uri}?versionId={old.version_id}", origins)
        assert list(found.placed()) == [b"x"]
        assert content_of(found.targets[b""], origins) == b"old"
        assert verify(b"x", found.targets[b""], origins).state is DriftState.SAME


def test_more_objects_than_one_page_are_all_found(plain: S3Place) -> None:
    for number in range(1005):
        plain.write(f"many/{number:04}", b"x")
    with Origins(plain.rules) as origins:
        found = resolve(plain.uri("many/"), origins)
    assert [int(path) for path in found.targets] == list(range(1005))


def test_marker_of_a_folder_is_no_object(plain: S3Place) -> None:
    plain.write("p/", b"")
    with Origins(plain.rules) as origins:
        with pytest.raises(ReferenceNotFound):
            resolve(plain.uri("p/"), origins)
        plain.write("p/a", b"x")
        assert list(resolve(plain.uri("p/"), origins).targets) == [b"a"]


def test_bucket_that_is_not_there_is_not_found(plain: S3Place) -> None:
    with Origins(plain.rules) as origins, pytest.raises(ReferenceNotFound):
        resolve("s3://there-is-no-such-bucket-here/x/", origins)


def test_server_that_is_down_is_no_empty_prefix(plain: S3Place) -> None:
    options = {
        "endpoint_url": f"http://127.0.0.1:{free_port()}",
        "config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 1},
    }
    rules = ReferenceRules(options={"s3": options})
    with Origins(rules) as origins, pytest.raises(ReferenceUnreachable):
        resolve(plain.uri("p/"), origins)


def test_wrong_credentials_are_no_empty_prefix(s3_server: S3Server, plain: S3Place) -> None:
    if not s3_server.checks_clock_and_signature:
        pytest.skip("this server takes any credentials")
    plain.write("p/x", b"x")
    wrong = {"key": os.environ["AWS_ACCESS_KEY_ID"], "secret": "wrong-and-not-to-be-shown"}
    rules = ReferenceRules(options={"s3": {**plain.rules.options["s3"], **wrong}})
    with Origins(rules) as origins:
        for name in ("p/", "p/x"):
            with pytest.raises(ReferenceUnreachable) as caught:
                resolve(plain.uri(name), origins)
            assert "wrong-and-not-to-be-shown" not in f"{caught.value} {caught.value.__cause__!r} {rules!r}"


def test_own_endpoint_may_be_asked_by_http_too(s3_server: S3Server, plain: S3Place) -> None:
    """It is private, and trusted: that it answers "denied" shows that it was asked."""
    plain.write("x", b"x")
    with Origins(plain.rules) as origins, pytest.raises(ReferenceUnreachable, match="HTTP 403"):
        resolve(f"{s3_server.endpoint_url}/{plain.bucket}/{plain.prefix}/x", origins)
