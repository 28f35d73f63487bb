"""What is done to a bucket beside the measurements: make it, add up a prefix, empty a prefix.

    bucket.py make|usage|empty ENDPOINT BUCKET [PREFIX]     prints a number

A program of its own: see `scene.bucket_command`.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

import botocore.session
from botocore.exceptions import ClientError


def make(client: Any, bucket: str) -> int:
    """Make the bucket, unless it is ours already. 1 if it was made."""
    try:
        client.create_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            raise
        return 0
    return 1


def usage(client: Any, bucket: str, prefix: str) -> int:
    """Bytes of all objects below the prefix."""
    return sum(item["Size"] for page in _pages(client, bucket, prefix) for item in page)


def empty(client: Any, bucket: str, prefix: str) -> int:
    """Delete all objects below the prefix; how many there were."""
    count = 0
    for page in _pages(client, bucket, prefix):
        keys = [{"Key": item["Key"]} for item in page]
        client.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
        count += len(keys)
    return count


def _pages(client: Any, bucket: str, prefix: str) -> Iterator[list[dict[str, Any]]]:
    if not prefix:
        raise ValueError("a whole bucket is never meant")
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
        if page.get("Contents"):
            yield page["Contents"]


def main() -> None:
    """The command line."""
    verb, endpoint_url, bucket, prefix = sys.argv[1:]
    client = botocore.session.Session().create_client("s3", endpoint_url=endpoint_url)
    done = {"make": lambda: make(client, bucket), "usage": lambda: usage(client, bucket, prefix)}
    done["empty"] = lambda: empty(client, bucket, prefix)
    print(json.dumps(done[verb]()))


if __name__ == "__main__":
    main()
