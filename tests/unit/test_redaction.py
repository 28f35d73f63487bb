"""Secrets are not shown (fault 114)."""

import pytest

from artifactstore.redaction import redact, redact_url, secrets_of


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        ("/data/who@where?really#yes", "/data/who@where?really#yes"),
        ("s3://KEY:canary@bucket/prefix", "s3://***@bucket/prefix"),
        ("sftp://user:p@ss:canary@host:22/path", "sftp://***@host:22/path"),
        ("sftp://canary@host", "sftp://***@host"),
        ("sftp://me:can'ary and more@host/p", "sftp://***@host/p"),
        ("filecache::sftp://me:canary@host/p", "filecache::sftp://***@host/p"),
        ("gs://bucket/a@b/c", "gs://bucket/a@b/c"),
        ("https://h/x?X-Amz-Signature=canary&region=eu", "https://h/x?X-Amz-Signature=***&region=eu"),
        ("s3://b/p?endpoint_url=http://127.0.0.1:1&sig=zz", "s3://b/p?endpoint_url=http://127.0.0.1:1&sig=***"),
        ("s3://b?endpoint_url=http://k:canary@h", "s3://b?endpoint_url=***"),
        ("https://h/x?canary", "https://h/x?***"),
        ("https://host/path#canary", "https://host/path"),
        ("memory://", "memory://"),
    ],
)
def test_urls_are_shown_without_secrets(url: str, shown: str) -> None:
    assert redact_url(url) == shown
    assert redact_url(shown) == shown


def test_urls_in_a_text_lose_their_secrets() -> None:
    assert redact("see sftp://me:pass@host/p, and s3://k:s@b.") == "see sftp://***@host/p, and s3://***@b."
    assert redact("GET 'https://h/x?sig=canary' failed") == "GET 'https://h/x?sig=***' failed"


def test_secrets_of_the_environment_are_redacted_wherever_they_stand() -> None:
    env = {
        "AWS_SECRET_ACCESS_KEY": "canary-secret-1",
        "AWS_SESSION_TOKEN": "canary-token-22",
        "AZURE_STORAGE_CONNECTION_STRING": "canary-azure-33",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token",
        "HOME": "/home/somebody",
        "SHORT_TOKEN": "yes",
    }
    secrets = secrets_of(env)
    assert set(secrets) == {"canary-secret-1", "canary-token-22", "canary-azure-33"}
    text = "PUT with canary-secret-1; Authorization: AWS4-HMAC abc\nx-amz-security-token: def at /home yes"
    clean = redact(text, secrets=secrets)
    assert clean == "PUT with ***; Authorization: ***\nx-amz-security-token: ***"
