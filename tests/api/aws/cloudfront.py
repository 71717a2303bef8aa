"""What the scripts with boto3 share: a client, a config, and a record of what was checked.

A script is called with the name of one of its cases, the endpoint, and the keys of an account of its own; it prints one JSON object: how many
checks there were, which of them failed, and facts for the caller to look at from outside.
"""

import json
import re
import sys
import time
import traceback
import uuid

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, ParamValidationError, WaiterError

NEWEST = "2020-05-31"
# Every version that boto3 still has a model of.
VERSIONS = [
    "2014-05-31", "2014-10-21", "2014-11-06", "2015-04-17", "2015-07-27", "2015-09-17", "2016-01-13", "2016-01-28", "2016-08-01",
    "2016-08-20", "2016-09-07", "2016-09-29", "2016-11-25", "2017-03-25", "2017-10-30", "2018-06-18", "2018-11-05", "2019-03-26", NEWEST,
]  # fmt: skip
BUCKET = "media.s3.amazonaws.com"


class Case:
    """One case: its client and its record."""

    def __init__(self, endpoint, key_id, secret, words):
        self.endpoint, self.key_id, self.secret, self.words = endpoint, key_id, secret, words
        self.checks, self.failed, self.facts = 0, [], {}
        self.clients = {}

    @property
    def api(self):
        return self.client()

    def client(self, version=NEWEST):
        """A client of that version of the API, which tries once."""
        if version not in self.clients:
            self.clients[version] = boto3.client(
                "cloudfront",
                endpoint_url=self.endpoint,
                api_version=version,
                aws_access_key_id=self.key_id,
                aws_secret_access_key=self.secret,
                region_name="us-east-1",
                config=Config(retries={"total_max_attempts": 1}, read_timeout=60),
            )
        return self.clients[version]

    def check(self, what, truth, seen=None):
        self.checks += 1
        if not truth:
            self.failed.append(what if seen is None else f"{what}: {seen!r}")
        return truth

    def same(self, what, got, wanted):
        return self.check(what, got == wanted, {"got": got, "wanted": wanted} if got != wanted else None)

    def refused(self, what, code, status, call, **arguments):
        """Checks that the call is refused so, as the client reads it."""
        try:
            answer = call(**arguments)
        except ClientError as e:
            error, meta = e.response["Error"], e.response["ResponseMetadata"]
            self.same(f"{what}: code and status", (error["Code"], meta["HTTPStatusCode"]), (code, status))
            self.check(f"{what}: a message", error.get("Message"), error)
            self.same(f"{what}: whose fault", error.get("Type"), "Sender" if status < 500 else "Receiver")
            self.check(f"{what}: a request id", meta.get("RequestId"), meta)
            modelled = getattr(self.api.exceptions, code, None) if code in self.api.meta.service_model.shape_names else None
            if modelled is not None:
                self.check(f"{what}: its class", isinstance(e, modelled), type(e).__name__)
            return e
        self.check(f"{what}: not refused", False, answer)
        return None

    def deployed(self, identity):
        """boto3's own waiter, asking more often than its minute."""
        self.api.get_waiter("streaming_distribution_deployed").wait(Id=identity, WaiterConfig={"Delay": 1, "MaxAttempts": 120})


def unique(word="ref"):
    return f"{word}-{uuid.uuid4().hex[:16]}"


def streaming(reference=None, origin=BUCKET, identity="", aliases=(), **more):
    """A streaming distribution's config with every required member."""
    config = {
        "CallerReference": reference or unique(),
        "S3Origin": {"DomainName": origin, "OriginAccessIdentity": identity},
        "Comment": "",
        "TrustedSigners": {"Enabled": False, "Quantity": 0},
        "Enabled": True,
    }
    if aliases:
        config["Aliases"] = {"Quantity": len(aliases), "Items": list(aliases)}
    config.update(more)
    return config


def complete(**more):
    """A config with every member there is: older models require them all."""
    config = streaming(Logging={"Enabled": False, "Bucket": "", "Prefix": ""}, PriceClass="PriceClass_All")
    config["Aliases"] = {"Quantity": 0}
    config.update(more)
    return config


def signers(*accounts):
    return {"Enabled": bool(accounts), "Quantity": len(accounts), "Items": list(accounts)}


def changed(config, **more):
    """A copy of a config with other values."""
    other = json.loads(json.dumps(config))
    other.update(more)
    return other


def main(cases):
    name, endpoint, key_id, secret, *words = sys.argv[1:]
    case = Case(endpoint, key_id, secret, words)
    try:
        cases[name](case)
    except Exception:
        case.failed.append(traceback.format_exc())
    print(json.dumps({"checks": case.checks, "failed": case.failed, "facts": case.facts}, default=str))
