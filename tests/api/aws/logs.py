"""Access logs as boto3 finds them in a bucket: listed by pages, fetched whole, unpacked, read by the rules of CloudFront's format."""

import gzip
import hashlib
import io
from botocore import UNSIGNED

from cloudfront import *

KEY = re.compile(r"(E[A-Z0-9]{12,13})\.(\d{4}-\d\d-\d\d-\d\d)\.[A-Z0-9]+\.gz$")
FIELDS = (
    "date time x-edge-location c-ip x-event sc-bytes x-cf-status x-cf-client-id cs-uri-stem cs-uri-query c-referrer x-page-url "
    "c-user-agent x-sname x-sname-query x-file-ext x-sid"
)
STREAMS = {"play", "stop", "pause", "unpause", "seek"}
EVENTS = STREAMS | {"connect", "disconnect"}


def s3(case, signed=True):
    """A client of the S3 endpoint, with the keys that were printed or without any."""
    return boto3.client(
        "s3",
        endpoint_url=case.endpoint,
        aws_access_key_id=case.key_id,
        aws_secret_access_key=case.secret,
        region_name="us-east-1",
        config=Config(
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
            signature_version="s3v4" if signed else UNSIGNED,
        ),
    )


def listed(client, bucket, prefix=""):
    """All objects below a prefix, two a page, so that there are pages."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, PaginationConfig={"PageSize": 2})
    return [entry for page in pages for entry in page.get("Contents", [])]


def lines(case, key, packed):
    """The records of one file, each checked against the file's name and the format."""
    text = gzip.decompress(packed).decode("ascii")
    case.check(f"{key}: ends with a line feed", text.endswith("\n") and "\r" not in text)
    version, fields, *records = text[:-1].split("\n")
    case.same(f"{key}: version", version, "#Version: 1.0")
    case.same(f"{key}: fields", fields, f"#Fields: {FIELDS}")
    case.check(f"{key}: records", records)
    identity, hour = KEY.search(key).groups()
    rows = []
    for record in records:
        row = record.split("\t")
        if not case.same(f"{key}: fields of a record", len(row), 17):
            continue
        case.check(f"{key}: no field is empty or padded", all(field and field == field.strip() for field in row), row)
        case.same(f"{key}: hour", f"{row[0]}-{row[1][:2]}", hour)
        case.check(f"{key}: event", row[4] in EVENTS, row)
        case.check(f"{key}: bytes", row[5].isdecimal(), row)
        case.check(f"{key}: client id", re.fullmatch(r"[0-9a-f]{32}", row[7]), row)
        case.check(f"{key}: fields of the stream", row[4] in STREAMS or row[13:] == ["-"] * 4, row)
        rows.append([identity] + row)
    return rows


def read(case):
    """Every record in a bucket (words: bucket, prefix). Facts: the files' keys, and the rows, each with the distribution's id before it."""
    bucket, prefix = case.words
    client = s3(case)
    rows, keys = [], []
    for entry in listed(client, bucket, prefix):
        key, answer = entry["Key"], client.get_object(Bucket=bucket, Key=entry["Key"])
        packed = answer["Body"].read()
        keys.append(key)
        case.check(f"{key}: name", key.startswith(prefix) and KEY.fullmatch(key[len(prefix) :]), key)
        case.same(f"{key}: length", (answer["ContentLength"], len(packed)), (entry["Size"], entry["Size"]))
        case.same(f"{key}: ETag", (answer["ETag"], entry["ETag"]), (f'"{hashlib.md5(packed).hexdigest()}"',) * 2)
        # As Amazon delivers them: packed, and no client unpacks behind the reader's back.
        case.same(f"{key}: packed", (packed[:2], answer.get("ContentEncoding")), (b"\x1f\x8b", None))
        rows += lines(case, key, packed)
    case.same("no key twice", len(set(keys)), len(keys))
    case.facts = {"keys": keys, "rows": rows}


def private(case):
    """Who has no key reads no logs, and sees none (words: bucket, prefix)."""
    bucket, prefix = case.words
    stranger = s3(case, signed=False)
    for what, call in [
        ("list", lambda: stranger.list_objects_v2(Bucket=bucket)),
        ("get", lambda: stranger.get_object(Bucket=bucket, Key=listed(s3(case), bucket, prefix)[0]["Key"])),
        ("put", lambda: stranger.put_object(Bucket=bucket, Key="x", Body=b"x")),
    ]:
        try:
            case.check(f"{what} is refused", False, call())
        except ClientError as e:
            case.same(f"{what} is refused", e.response["Error"]["Code"], "AccessDenied")
    names = [entry["Name"] for entry in s3(case).list_buckets()["Buckets"]]
    case.check("the bucket is listed", bucket in names, names)
    # And by the transfer calls that scripts use.
    into = io.BytesIO()
    first = listed(s3(case), bucket, prefix)[0]
    s3(case).download_fileobj(bucket, first["Key"], into)
    case.same("a download", len(into.getvalue()), first["Size"])


def bucket(case):
    """Makes a bucket (words: its name)."""
    answer = s3(case).create_bucket(Bucket=case.words[0])
    case.same("made", answer["ResponseMetadata"]["HTTPStatusCode"], 200)


def distribution(case):
    """Makes a distribution over bucket `media` that logs (words: bucket, prefix, alias), at the control API."""
    to, prefix, alias = case.words
    config = streaming(aliases=[alias], Logging={"Enabled": True, "Bucket": f"{to}.s3.amazonaws.com", "Prefix": prefix})
    made = case.api.create_streaming_distribution(StreamingDistributionConfig=config)["StreamingDistribution"]
    case.same("its logging", made["StreamingDistributionConfig"]["Logging"], config["Logging"])
    case.deployed(made["Id"])
    case.facts = {"id": made["Id"], "domain": made["DomainName"]}


if __name__ == "__main__":
    main({"read": read, "private": private, "bucket": bucket, "distribution": distribution})
