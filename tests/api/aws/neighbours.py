"""Web distributions, invalidations, origin access identities, public keys and key groups as boto3 sees them."""

import subprocess

from cloudfront import *


def status(answer):
    return answer["ResponseMetadata"]["HTTPStatusCode"]


def web(reference=None, **more):
    """The least config of a web distribution, Smooth Streaming on: what edges can't do yet has to be kept all the same."""
    config = {
        "CallerReference": reference or unique("web"),
        "Origins": {"Quantity": 1, "Items": [{"Id": "o1", "DomainName": BUCKET, "S3OriginConfig": {"OriginAccessIdentity": ""}}]},
        "DefaultCacheBehavior": {
            "TargetOriginId": "o1",
            "ViewerProtocolPolicy": "allow-all",
            "SmoothStreaming": True,
            "Compress": False,
            "MinTTL": 0,
            "ForwardedValues": {"QueryString": False, "Cookies": {"Forward": "none"}},
            "TrustedSigners": {"Enabled": False, "Quantity": 0},
        },
        "Comment": "",
        "Enabled": True,
    }
    config.update(more)
    return config


def covers(got, wanted):
    """Whether all that was sent is in what came back (the service fills in more)."""
    if isinstance(wanted, dict):
        return isinstance(got, dict) and all(k in got and covers(got[k], v) for k, v in wanted.items())
    if isinstance(wanted, list):
        return isinstance(got, list) and len(got) == len(wanted) and all(map(covers, got, wanted))
    return got == wanted


def everything(case, operation, result):
    pages = case.api.get_paginator(operation).paginate(PaginationConfig={"PageSize": 2})
    return [item["Id"] for page in pages for item in page[result].get("Items", [])]


def web_life(case):
    """A web distribution from create to delete, with tags, its list and its refusals."""
    name = f"{unique('web')}.example.com"
    config = web(Aliases={"Quantity": 1, "Items": [name]}, DefaultRootObject="index.html", PriceClass="PriceClass_100")
    answer = case.api.create_distribution(DistributionConfig=config)
    made = answer["Distribution"]
    case.same("status", status(answer), 201)
    case.check("Location", answer["Location"].endswith(f"/2020-05-31/distribution/{made['Id']}"), answer["Location"])
    # What edges can't do yet is said where every client looks, member by member.
    case.check("Status", made["Status"].startswith("Unsupported: ") and "SmoothStreaming" in made["Status"], made["Status"])
    case.check("domain", re.match(r"d[a-z0-9]{13}\.", made["DomainName"]), made["DomainName"])
    case.same("ARN", made["ARN"], f"arn:aws:cloudfront::{case.words[0]}:distribution/{made['Id']}")
    case.check("config", covers(made["DistributionConfig"], config), made["DistributionConfig"])
    got = case.api.get_distribution(Id=made["Id"])
    case.check("get", covers(got["Distribution"]["DistributionConfig"], config), got)
    bare = case.api.get_distribution_config(Id=made["Id"])
    case.same("ETag", (bare["ETag"], got["ETag"]), (answer["ETag"], answer["ETag"]))

    put, delete = case.api.update_distribution, case.api.delete_distribution
    # What boto3 got is what it may send back, changed.
    next_config = changed(bare["DistributionConfig"], Comment="upd")
    case.refused("no If-Match", "InvalidIfMatchVersion", 400, put, Id=made["Id"], DistributionConfig=next_config)
    updated = put(Id=made["Id"], IfMatch=bare["ETag"], DistributionConfig=next_config)
    case.same("Comment", updated["Distribution"]["DistributionConfig"]["Comment"], "upd")
    case.refused("stale", "PreconditionFailed", 412, put, Id=made["Id"], IfMatch=bare["ETag"], DistributionConfig=next_config)
    case.refused("enabled", "DistributionNotDisabled", 409, delete, Id=made["Id"], IfMatch=updated["ETag"])
    case.refused("another CallerReference", "IllegalUpdate", 400, put, Id=made["Id"], IfMatch=updated["ETag"],
                 DistributionConfig=changed(next_config, CallerReference=unique()))  # fmt: skip
    case.refused("the same again", "DistributionAlreadyExists", 409, case.api.create_distribution, DistributionConfig=config)
    case.refused("its name", "CNAMEAlreadyExists", 409, case.api.create_distribution,
                 DistributionConfig=web(Aliases={"Quantity": 1, "Items": [name]}))  # fmt: skip
    case.refused("its name for streaming", "CNAMEAlreadyExists", 409, case.api.create_streaming_distribution,
                 StreamingDistributionConfig=streaming(aliases=[name]))  # fmt: skip
    case.refused("quantities", "InconsistentQuantities", 400, case.api.create_distribution,
                 DistributionConfig=web(Aliases={"Quantity": 2, "Items": [f"{unique()}.example.com"]}))  # fmt: skip
    case.refused("get", "NoSuchDistribution", 404, case.api.get_distribution, Id="ENOPE")
    case.refused("get config", "NoSuchDistribution", 404, case.api.get_distribution_config, Id="ENOPE")
    case.refused("delete", "NoSuchDistribution", 404, delete, Id="ENOPE", IfMatch=updated["ETag"])

    tagged = case.api.create_distribution_with_tags(
        DistributionConfigWithTags={"DistributionConfig": web(), "Tags": {"Items": [{"Key": "k", "Value": "v"}]}}
    )["Distribution"]
    case.same("tags", case.api.list_tags_for_resource(Resource=tagged["ARN"])["Tags"]["Items"], [{"Key": "k", "Value": "v"}])
    third = case.api.create_distribution(DistributionConfig=web())["Distribution"]
    case.same("paginator", sorted(everything(case, "list_distributions", "DistributionList")),
              sorted([made["Id"], tagged["Id"], third["Id"]]))  # fmt: skip
    # ... and kept.
    smooth = case.api.get_distribution(Id=third["Id"])["Distribution"]["DistributionConfig"]
    case.check("Smooth Streaming kept", smooth["DefaultCacheBehavior"]["SmoothStreaming"] is True, smooth)

    off = put(Id=made["Id"], IfMatch=updated["ETag"], DistributionConfig=changed(next_config, Enabled=False))
    case.api.get_waiter("distribution_deployed").wait(Id=made["Id"], WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    # Nothing is asked of edges for a disabled one: it gets there.
    case.same("Deployed", case.api.get_distribution(Id=made["Id"])["Distribution"]["Status"], "Deployed")
    case.same("delete", status(delete(Id=made["Id"], IfMatch=off["ETag"])), 204)
    case.refused("then", "NoSuchDistribution", 404, case.api.get_distribution, Id=made["Id"])
    case.facts = {"id": third["Id"], "domain": third["DomainName"]}


def invalidations(case):
    """An invalidation runs to Completed; it is listed; the same reference is the same one."""
    made = case.api.create_distribution(DistributionConfig=web())["Distribution"]["Id"]
    batch = {"Paths": {"Quantity": 2, "Items": ["/a.flv", "/films/*"]}, "CallerReference": unique("inv")}
    answer = case.api.create_invalidation(DistributionId=made, InvalidationBatch=batch)
    one = answer["Invalidation"]
    case.same("status", status(answer), 201)
    case.check("Location", answer["Location"].endswith(f"/2020-05-31/distribution/{made}/invalidation/{one['Id']}"), answer["Location"])
    case.check("id", re.match(r"I[A-Z0-9]{12,13}$", one["Id"]), one["Id"])
    case.check("Status", one["Status"] in ("InProgress", "Completed"), one["Status"])
    case.same("batch", one["InvalidationBatch"], batch)
    case.api.get_waiter("invalidation_completed").wait(DistributionId=made, Id=one["Id"], WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    got = case.api.get_invalidation(DistributionId=made, Id=one["Id"])["Invalidation"]
    case.same("Completed", (got["Status"], got["InvalidationBatch"]), ("Completed", batch))
    others = [case.api.create_invalidation(DistributionId=made, InvalidationBatch={
        "Paths": {"Quantity": 1, "Items": [f"/{n}"]}, "CallerReference": unique("inv")})["Invalidation"]["Id"] for n in range(2)]  # fmt: skip
    pages = case.api.get_paginator("list_invalidations").paginate(DistributionId=made, PaginationConfig={"PageSize": 2})
    case.same("paginator", sorted(i["Id"] for p in pages for i in p["InvalidationList"].get("Items", [])), sorted([one["Id"], *others]))
    again = case.api.create_invalidation(DistributionId=made, InvalidationBatch=batch)
    case.same("the same again", (status(again), again["Invalidation"]["Id"]), (201, one["Id"]))
    other = changed(batch, Paths={"Quantity": 1, "Items": ["/other.flv"]})
    case.refused("its reference with other paths", "InvalidationBatchAlreadyExists", 409, case.api.create_invalidation,
                 DistributionId=made, InvalidationBatch=other)  # fmt: skip
    case.refused("no such invalidation", "NoSuchInvalidation", 404, case.api.get_invalidation, DistributionId=made, Id="INOPE")
    case.refused("no such distribution", "NoSuchDistribution", 404, case.api.create_invalidation, DistributionId="ENOPE",
                 InvalidationBatch=batch)  # fmt: skip
    case.refused("quantities", "InconsistentQuantities", 400, case.api.create_invalidation, DistributionId=made,
                 InvalidationBatch={"Paths": {"Quantity": 2, "Items": ["/a"]}, "CallerReference": unique("inv")})  # fmt: skip
    case.refused("3001 paths", "BatchTooLarge", 413, case.api.create_invalidation, DistributionId=made, InvalidationBatch={
        "Paths": {"Quantity": 3001, "Items": [f"/{n}" for n in range(3001)]}, "CallerReference": unique("inv")})  # fmt: skip


def invalidate(case):
    """WORDS are paths: a web distribution is made, they are invalidated, and that runs to Completed."""
    made = case.api.create_distribution(DistributionConfig=web())["Distribution"]["Id"]
    batch = {"Paths": {"Quantity": len(case.words), "Items": case.words}, "CallerReference": unique("inv")}
    one = case.api.create_invalidation(DistributionId=made, InvalidationBatch=batch)["Invalidation"]
    case.same("batch", one["InvalidationBatch"], batch)
    case.api.get_waiter("invalidation_completed").wait(DistributionId=made, Id=one["Id"], WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    case.check("Completed", True)


def identities(case):
    """Origin access identities: made, used, not deletable in use, changed, listed, deleted."""
    api = case.api
    config = {"CallerReference": unique("oai"), "Comment": "films"}
    answer = api.create_cloud_front_origin_access_identity(CloudFrontOriginAccessIdentityConfig=config)
    made = answer["CloudFrontOriginAccessIdentity"]
    case.same("status", status(answer), 201)
    case.check("Location", answer["Location"].endswith(f"/2020-05-31/origin-access-identity/cloudfront/{made['Id']}"), answer["Location"])
    case.check("id", re.match(r"E[A-Z0-9]{12,13}$", made["Id"]), made["Id"])
    case.check("a canonical user", re.match(r"[0-9a-f]{64,96}$", made["S3CanonicalUserId"]), made["S3CanonicalUserId"])
    case.same("config", made["CloudFrontOriginAccessIdentityConfig"], config)
    again = api.create_cloud_front_origin_access_identity(CloudFrontOriginAccessIdentityConfig=config)
    case.same("the same again", again["CloudFrontOriginAccessIdentity"]["Id"], made["Id"])
    case.refused("another comment", "CloudFrontOriginAccessIdentityAlreadyExists", 409, api.create_cloud_front_origin_access_identity,
                 CloudFrontOriginAccessIdentityConfig=changed(config, Comment="other"))  # fmt: skip
    got = api.get_cloud_front_origin_access_identity_config(Id=made["Id"])
    case.same("config alone", (got["ETag"], got["CloudFrontOriginAccessIdentityConfig"]), (answer["ETag"], config))
    case.same("whole", api.get_cloud_front_origin_access_identity(Id=made["Id"])["CloudFrontOriginAccessIdentity"], made)

    used = api.create_streaming_distribution(
        StreamingDistributionConfig=streaming("uses it", identity=f"origin-access-identity/cloudfront/{made['Id']}")
    )
    delete, put = api.delete_cloud_front_origin_access_identity, api.update_cloud_front_origin_access_identity
    case.refused("in use", "CloudFrontOriginAccessIdentityInUse", 409, delete, Id=made["Id"], IfMatch=answer["ETag"])
    other = changed(config, Comment="more films")
    case.refused("no If-Match", "InvalidIfMatchVersion", 400, put, Id=made["Id"], CloudFrontOriginAccessIdentityConfig=other)
    updated = put(Id=made["Id"], IfMatch=answer["ETag"], CloudFrontOriginAccessIdentityConfig=other)
    case.same("updated", updated["CloudFrontOriginAccessIdentity"]["CloudFrontOriginAccessIdentityConfig"], other)
    case.refused("stale", "PreconditionFailed", 412, put, Id=made["Id"], IfMatch=answer["ETag"], CloudFrontOriginAccessIdentityConfig=other)
    case.refused("another reference", "IllegalUpdate", 400, put, Id=made["Id"], IfMatch=updated["ETag"],
                 CloudFrontOriginAccessIdentityConfig=changed(other, CallerReference=unique()))  # fmt: skip
    more = [api.create_cloud_front_origin_access_identity(CloudFrontOriginAccessIdentityConfig={
        "CallerReference": unique("oai"), "Comment": ""})["CloudFrontOriginAccessIdentity"]["Id"] for _ in range(2)]  # fmt: skip
    case.same("paginator", sorted(everything(case, "list_cloud_front_origin_access_identities", "CloudFrontOriginAccessIdentityList")),
              sorted([made["Id"], *more]))  # fmt: skip
    case.refused("get", "NoSuchCloudFrontOriginAccessIdentity", 404, api.get_cloud_front_origin_access_identity, Id="ENOPE")
    case.refused("delete", "NoSuchCloudFrontOriginAccessIdentity", 404, delete, Id="ENOPE", IfMatch=answer["ETag"])
    # Given up by its distribution, it may go.
    api.update_streaming_distribution(Id=used["StreamingDistribution"]["Id"], IfMatch=used["ETag"],
                                      StreamingDistributionConfig=streaming("uses it"))  # fmt: skip
    case.same("delete", status(delete(Id=made["Id"], IfMatch=updated["ETag"])), 204)
    case.refused("then", "NoSuchCloudFrontOriginAccessIdentity", 404, api.get_cloud_front_origin_access_identity, Id=made["Id"])


def pem():
    private = subprocess.run(["openssl", "genrsa", "2048"], check=True, capture_output=True).stdout
    return subprocess.run(["openssl", "rsa", "-pubout"], input=private, check=True, capture_output=True).stdout.decode()


def keys(case):
    """Public keys and key groups: made, changed, in use, listed, deleted."""
    api = case.api
    config = {"CallerReference": unique("key"), "Name": unique("key"), "EncodedKey": pem(), "Comment": "films"}
    answer = api.create_public_key(PublicKeyConfig=config)
    made = answer["PublicKey"]
    case.same("status", status(answer), 201)
    case.check("Location", answer["Location"].endswith(f"/2020-05-31/public-key/{made['Id']}"), answer["Location"])
    case.check("id", re.match(r"[A-Z][A-Z0-9]{12,}$", made["Id"]), made["Id"])
    case.same("config", made["PublicKeyConfig"], config)
    case.check("made just now", abs(time.time() - made["CreatedTime"].timestamp()) < 300, made["CreatedTime"])
    case.same("whole", api.get_public_key(Id=made["Id"])["PublicKey"], made)
    got = api.get_public_key_config(Id=made["Id"])
    case.same("config alone", (got["ETag"], got["PublicKeyConfig"]), (answer["ETag"], config))
    put, delete = api.update_public_key, api.delete_public_key
    case.refused("another key", "CannotChangeImmutablePublicKeyFields", 400, put, Id=made["Id"], IfMatch=answer["ETag"],
                 PublicKeyConfig=changed(config, EncodedKey=pem()))  # fmt: skip
    case.refused("no If-Match", "InvalidIfMatchVersion", 400, put, Id=made["Id"], PublicKeyConfig=config)
    updated = put(Id=made["Id"], IfMatch=answer["ETag"], PublicKeyConfig=changed(config, Comment="more"))
    case.same("updated", updated["PublicKey"]["PublicKeyConfig"]["Comment"], "more")
    case.refused("stale", "PreconditionFailed", 412, put, Id=made["Id"], IfMatch=answer["ETag"], PublicKeyConfig=config)
    case.refused("no key at all", "InvalidArgument", 400, api.create_public_key,
                 PublicKeyConfig=changed(config, CallerReference=unique(), Name=unique(), EncodedKey="no key"))  # fmt: skip
    case.refused("the same reference", "PublicKeyAlreadyExists", 409, api.create_public_key,
                 PublicKeyConfig=changed(config, EncodedKey=pem()))  # fmt: skip
    case.refused("get", "NoSuchPublicKey", 404, api.get_public_key, Id="KNOPE")
    case.refused("delete", "NoSuchPublicKey", 404, delete, Id="KNOPE", IfMatch=answer["ETag"])
    spare = api.create_public_key(PublicKeyConfig={"CallerReference": unique("key"), "Name": unique("key"), "EncodedKey": pem()})

    group = {"Name": unique("group"), "Items": [made["Id"]], "Comment": "signers"}
    created = api.create_key_group(KeyGroupConfig=group)
    identity = created["KeyGroup"]["Id"]
    case.same("group", (status(created), created["KeyGroup"]["KeyGroupConfig"]), (201, group))
    case.same("its config", api.get_key_group_config(Id=identity)["KeyGroupConfig"], group)
    case.same("whole", api.get_key_group(Id=identity)["KeyGroup"], created["KeyGroup"])
    case.refused("its name", "KeyGroupAlreadyExists", 409, api.create_key_group, KeyGroupConfig=group)
    case.refused("no such key", "InvalidArgument", 400, api.create_key_group, KeyGroupConfig={"Name": unique("group"), "Items": ["KNOPE"]})
    case.refused("in use", "PublicKeyInUse", 409, delete, Id=made["Id"], IfMatch=updated["ETag"])
    both = changed(group, Items=[made["Id"], spare["PublicKey"]["Id"]])
    case.refused("stale", "PreconditionFailed", 412, api.update_key_group, Id=identity, IfMatch="E2QWRUHAPOMQZL", KeyGroupConfig=both)
    grown = api.update_key_group(Id=identity, IfMatch=created["ETag"], KeyGroupConfig=both)
    case.same("grown", grown["KeyGroup"]["KeyGroupConfig"]["Items"], both["Items"])
    listed = api.list_key_groups()["KeyGroupList"]
    case.same("groups", (listed["Quantity"], [g["KeyGroup"]["Id"] for g in listed["Items"]]), (1, [identity]))
    all_keys = everything(case, "list_public_keys", "PublicKeyList")
    case.same("keys", sorted(all_keys), sorted([made["Id"], spare["PublicKey"]["Id"]]))
    case.refused("get group", "NoSuchResource", 404, api.get_key_group, Id="00000000-0000-0000-0000-000000000000")
    # A web distribution that trusts the group keeps it.
    behaviour = {**web()["DefaultCacheBehavior"], "TrustedKeyGroups": {"Enabled": True, "Quantity": 1, "Items": [identity]}}
    user = api.create_distribution(DistributionConfig=web("uses it", DefaultCacheBehavior=behaviour))
    case.refused("group in use", "ResourceInUse", 409, api.delete_key_group, Id=identity, IfMatch=grown["ETag"])
    api.update_distribution(Id=user["Distribution"]["Id"], IfMatch=user["ETag"], DistributionConfig=web("uses it"))
    case.same("delete group", status(api.delete_key_group(Id=identity, IfMatch=grown["ETag"])), 204)
    case.same("delete key", status(delete(Id=made["Id"], IfMatch=updated["ETag"])), 204)
    case.refused("then", "NoSuchPublicKey", 404, api.get_public_key, Id=made["Id"])


def limits(case):
    """One more than the operator lets an account have: of each kind the word says how many that is."""
    api = case.api
    most = {kind: int(number) for kind, number in (word.split("=") for word in case.words)}
    listed = []

    def fill(kind, code, call, arguments, answer):
        for _ in range(most[kind]):
            listed.append(call(**arguments())[answer]["Id"])
        case.refused(f"one more {kind}", code, 400, call, **arguments())

    fill("identities", "TooManyCloudFrontOriginAccessIdentities", api.create_cloud_front_origin_access_identity,
         lambda: {"CloudFrontOriginAccessIdentityConfig": {"CallerReference": unique(), "Comment": ""}}, "CloudFrontOriginAccessIdentity")  # fmt: skip
    fill("distributions", "TooManyDistributions", api.create_distribution, lambda: {"DistributionConfig": web()}, "Distribution")
    fill("keys", "TooManyPublicKeys", api.create_public_key,
         lambda: {"PublicKeyConfig": {"CallerReference": unique(), "Name": unique(), "EncodedKey": pem()}}, "PublicKey")  # fmt: skip
    key = listed[-1]
    fill("groups", "TooManyKeyGroups", api.create_key_group, lambda: {"KeyGroupConfig": {"Name": unique(), "Items": [key]}}, "KeyGroup")
    case.refused("as one with tags", "TooManyDistributions", 400, api.create_distribution_with_tags,
                 DistributionConfigWithTags={"DistributionConfig": web(), "Tags": {"Items": []}})  # fmt: skip
    for operation, result, kind in [
        ("list_cloud_front_origin_access_identities", "CloudFrontOriginAccessIdentityList", "identities"),
        ("list_distributions", "DistributionList", "distributions"),
        ("list_public_keys", "PublicKeyList", "keys"),
    ]:
        case.same(kind, len(everything(case, operation, result)), most[kind])
    case.same("groups", api.list_key_groups()["KeyGroupList"]["Quantity"], most["groups"])
    # Who gives one back may have another.
    known = api.get_cloud_front_origin_access_identity(Id=listed[0])
    api.delete_cloud_front_origin_access_identity(Id=listed[0], IfMatch=known["ETag"])
    case.same("another", status(api.create_cloud_front_origin_access_identity(
        CloudFrontOriginAccessIdentityConfig={"CallerReference": unique(), "Comment": ""})), 201)  # fmt: skip


def forgetting(case):
    """As many invalidations as may be in progress, and one more; words: how many, and of the second call the distribution and their ids."""
    most, *words = case.words
    create = case.api.create_invalidation

    def batch(path):
        return {"Paths": {"Quantity": 1, "Items": [path]}, "CallerReference": unique()}

    if not words:
        made = case.api.create_distribution(DistributionConfig=web())["Distribution"]["Id"]
        ids = [create(DistributionId=made, InvalidationBatch=batch(f"/{n}"))["Invalidation"] for n in range(int(most))]
        case.same("in progress", {one["Status"] for one in ids}, {"InProgress"})
        case.refused("one more", "TooManyInvalidationsInProgress", 400, create, DistributionId=made, InvalidationBatch=batch("/more"))
        case.facts = {"words": [made, *(one["Id"] for one in ids)]}
    else:
        made, *ids = words
        for one in ids:
            case.api.get_waiter("invalidation_completed").wait(DistributionId=made, Id=one, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
        case.same("and now", status(create(DistributionId=made, InvalidationBatch=batch("/more"))), 201)


def elsewhere(case):
    """Another account's things don't exist: WORDS are its account, distribution, its ETag, web distribution, invalidation, identity, key, group."""
    account, mine, tag, download, invalidation, identity, key, group = case.words
    api = case.api
    none = "NoSuchStreamingDistribution"
    case.refused("get", none, 404, api.get_streaming_distribution, Id=mine)
    case.refused("config", none, 404, api.get_streaming_distribution_config, Id=mine)
    case.refused("update", none, 404, api.update_streaming_distribution, Id=mine, IfMatch=tag, StreamingDistributionConfig=streaming())
    case.refused("delete", none, 404, api.delete_streaming_distribution, Id=mine, IfMatch=tag)
    case.refused("web", "NoSuchDistribution", 404, api.get_distribution, Id=download)
    case.refused("web config", "NoSuchDistribution", 404, api.get_distribution_config, Id=download)
    case.refused("web update", "NoSuchDistribution", 404, api.update_distribution, Id=download, IfMatch=tag, DistributionConfig=web())
    case.refused("web delete", "NoSuchDistribution", 404, api.delete_distribution, Id=download, IfMatch=tag)
    case.refused("invalidation", "NoSuchDistribution", 404, api.get_invalidation, DistributionId=download, Id=invalidation)
    case.refused("invalidations", "NoSuchDistribution", 404, api.list_invalidations, DistributionId=download)
    case.refused("invalidate", "NoSuchDistribution", 404, api.create_invalidation, DistributionId=download,
                 InvalidationBatch={"Paths": {"Quantity": 1, "Items": ["/*"]}, "CallerReference": unique()})  # fmt: skip
    none = "NoSuchCloudFrontOriginAccessIdentity"
    case.refused("identity", none, 404, api.get_cloud_front_origin_access_identity, Id=identity)
    case.refused("identity config", none, 404, api.get_cloud_front_origin_access_identity_config, Id=identity)
    case.refused("identity delete", none, 404, api.delete_cloud_front_origin_access_identity, Id=identity, IfMatch=tag)
    case.refused("use the identity", "InvalidOriginAccessIdentity", 400, api.create_streaming_distribution,
                 StreamingDistributionConfig=streaming(identity=f"origin-access-identity/cloudfront/{identity}"))  # fmt: skip
    case.refused("public key", "NoSuchPublicKey", 404, api.get_public_key, Id=key)
    case.refused("public key delete", "NoSuchPublicKey", 404, api.delete_public_key, Id=key, IfMatch=tag)
    case.refused("group of it", "InvalidArgument", 400, api.create_key_group, KeyGroupConfig={"Name": unique("group"), "Items": [key]})
    case.refused("key group", "NoSuchResource", 404, api.get_key_group, Id=group)
    for kind, one in (("streaming-distribution", mine), ("distribution", download)):
        arn = f"arn:aws:cloudfront::{account}:{kind}/{one}"
        for what, call, more in (("list", api.list_tags_for_resource, {}),
                                 ("tag", api.tag_resource, {"Tags": {"Items": [{"Key": "a", "Value": "b"}]}}),
                                 ("untag", api.untag_resource, {"TagKeys": {"Items": ["a"]}})):  # fmt: skip
            try:
                call(Resource=arn, **more)
                case.check(f"{what} {arn}", False)
            except ClientError as e:
                case.check(f"{what} {arn}", e.response["Error"]["Code"] in ("NoSuchResource", "AccessDenied"), e.response)
    for what, call, result in [
        ("distributions", api.list_streaming_distributions, "StreamingDistributionList"),
        ("web distributions", api.list_distributions, "DistributionList"),
        ("identities", api.list_cloud_front_origin_access_identities, "CloudFrontOriginAccessIdentityList"),
        ("keys", api.list_public_keys, "PublicKeyList"),
        ("groups", api.list_key_groups, "KeyGroupList"),
    ]:
        case.same(what, call()[result]["Quantity"], 0)


def belongings(case):
    """One of each, for another account to look for."""
    api = case.api
    made = api.create_streaming_distribution(StreamingDistributionConfig=streaming())
    download = api.create_distribution(DistributionConfig=web())["Distribution"]["Id"]
    invalidation = api.create_invalidation(DistributionId=download, InvalidationBatch={
        "Paths": {"Quantity": 1, "Items": ["/a"]}, "CallerReference": unique()})["Invalidation"]["Id"]  # fmt: skip
    identity = api.create_cloud_front_origin_access_identity(CloudFrontOriginAccessIdentityConfig={
        "CallerReference": unique(), "Comment": ""})["CloudFrontOriginAccessIdentity"]["Id"]  # fmt: skip
    key = api.create_public_key(PublicKeyConfig={"CallerReference": unique(), "Name": unique(), "EncodedKey": pem()})["PublicKey"]["Id"]
    group = api.create_key_group(KeyGroupConfig={"Name": unique(), "Items": [key]})["KeyGroup"]["Id"]
    case.check("one of each", True)
    case.facts = {"words": [made["StreamingDistribution"]["Id"], made["ETag"], download, invalidation, identity, key, group]}


if __name__ == "__main__":
    stories = (web_life, invalidations, invalidate, identities, keys, limits, forgetting, elsewhere, belongings)
    main({f.__name__: f for f in stories})
