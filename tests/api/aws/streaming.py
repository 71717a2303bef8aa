"""Streaming distributions as boto3 sees them: every operation, paginator, waiter and modelled error that can be made."""

from cloudfront import *

ID = re.compile(r"E[A-Z0-9]{12,13}$")
DOMAIN = re.compile(r"s[a-z0-9]{13}\.")


def headers(answer):
    return answer["ResponseMetadata"]["HTTPHeaders"]


def status(answer):
    return answer["ResponseMetadata"]["HTTPStatusCode"]


def create(case):
    """Statement 5, and what is read back."""
    config = streaming(
        aliases=[f"{unique('media')}.example.com", f"{unique('m2')}.example.com"],
        Comment="Größe <&> \"quoted\" 'x' ]]>",
        Logging={"Enabled": True, "Bucket": "mylogs.s3.amazonaws.com", "Prefix": "log/"},
        TrustedSigners=signers("self"),
        PriceClass="PriceClass_100",
    )
    answer = case.api.create_streaming_distribution(StreamingDistributionConfig=config)
    made = answer["StreamingDistribution"]
    case.same("status", status(answer), 201)
    case.check("ETag", answer.get("ETag") and '"' not in answer["ETag"], answer.get("ETag"))
    case.check("id", ID.match(made["Id"]), made["Id"])
    case.check("Location", answer.get("Location", "").endswith(f"/2020-05-31/streaming-distribution/{made['Id']}"), answer.get("Location"))
    account = case.words[0]
    case.same("ARN", made["ARN"], f"arn:aws:cloudfront::{account}:streaming-distribution/{made['Id']}")
    case.same("Status", made["Status"], "InProgress")
    case.check("domain", DOMAIN.match(made["DomainName"]), made["DomainName"])
    case.check("ActiveTrustedSigners", "Quantity" in made.get("ActiveTrustedSigners", {}), made)
    case.check("modified just now", abs(time.time() - made["LastModifiedTime"].timestamp()) < 300, made["LastModifiedTime"])
    for name in ("x-amz-request-id", "x-amzn-requestid"):
        case.check(name, headers(answer).get(name), headers(answer))
    case.same("config", made["StreamingDistributionConfig"], config)
    got = case.api.get_streaming_distribution(Id=made["Id"])
    case.same("config of get", got["StreamingDistribution"]["StreamingDistributionConfig"], config)
    case.same("ETag of get", got["ETag"], answer["ETag"])
    bare = case.api.get_streaming_distribution_config(Id=made["Id"])
    case.same("config alone", bare["StreamingDistributionConfig"], config)
    case.same("its ETag", bare["ETag"], answer["ETag"])
    # What may be left out comes back filled.
    least = case.api.create_streaming_distribution(StreamingDistributionConfig=streaming())["StreamingDistribution"]
    filled = least["StreamingDistributionConfig"]
    case.same("no aliases", filled["Aliases"]["Quantity"], 0)
    case.same("no logging", filled["Logging"], {"Enabled": False, "Bucket": "", "Prefix": ""})
    case.same("price class", filled["PriceClass"], "PriceClass_All")
    case.facts = {"id": made["Id"], "domain": made["DomainName"]}


def logging(case):
    """Switches logging on in a new distribution, moves it, or off: one step a call."""
    identity, bucket, *prefix = case.words
    wanted = {"Enabled": bucket != "off", "Bucket": "" if bucket == "off" else bucket, "Prefix": prefix[0] if prefix else ""}
    if identity == "new":
        made = case.api.create_streaming_distribution(StreamingDistributionConfig=streaming(Logging=wanted))
        identity = made["StreamingDistribution"]["Id"]
    else:
        known = case.api.get_streaming_distribution_config(Id=identity)
        config = changed(known["StreamingDistributionConfig"], Logging=wanted)
        made = case.api.update_streaming_distribution(Id=identity, IfMatch=known["ETag"], StreamingDistributionConfig=config)
    case.same("logging", made["StreamingDistribution"]["StreamingDistributionConfig"]["Logging"], wanted)
    got = case.api.get_streaming_distribution(Id=identity)
    case.same("logging of get", got["StreamingDistribution"]["StreamingDistributionConfig"]["Logging"], wanted)
    case.same("ETag", got["ETag"], made["ETag"])
    known = got["StreamingDistribution"]["StreamingDistributionConfig"]
    for bad in ({**wanted, "Enabled": True, "Bucket": "logs.example.com"}, {**wanted, "Enabled": True, "Bucket": BUCKET, "Prefix": "../x"}):
        case.refused(f"{bad}", "InvalidArgument", 400, case.api.update_streaming_distribution,
                     Id=identity, IfMatch=got["ETag"], StreamingDistributionConfig=changed(known, Logging=bad))  # fmt: skip
    case.deployed(identity)
    case.facts = {"id": identity}


def again(case):
    """Statements 7 and 8 through boto3's old and new models."""
    for version in ("2018-11-05", "2019-03-26", NEWEST):
        config = streaming(Comment=version)
        client = case.client(version)
        client.create_streaming_distribution(StreamingDistributionConfig=config)
        case.refused(f"{version}: the same again", "StreamingDistributionAlreadyExists", 409,
                     client.create_streaming_distribution, StreamingDistributionConfig=config)  # fmt: skip
    for version in ("2014-05-31", "2016-01-28", "2018-06-18"):
        config = complete(Comment=version)
        client = case.client(version)
        first = client.create_streaming_distribution(StreamingDistributionConfig=config)
        second = client.create_streaming_distribution(StreamingDistributionConfig=config)
        case.same(f"{version}: the same again", status(second), 201)
        case.same(f"{version}: one distribution", second["StreamingDistribution"]["Id"], first["StreamingDistribution"]["Id"])
        case.refused(f"{version}: another comment", "StreamingDistributionAlreadyExists", 409,
                     client.create_streaming_distribution, StreamingDistributionConfig=changed(config, Comment="other"))  # fmt: skip
    everything = [s["Id"] for page in case.api.get_paginator("list_streaming_distributions").paginate()
                  for s in page["StreamingDistributionList"].get("Items", [])]  # fmt: skip
    case.same("distributions made", len(everything), 6)


def update(case):
    """Statements 10 and 11."""
    config = streaming(aliases=[f"{unique('a')}.example.com"])
    made = case.api.create_streaming_distribution(StreamingDistributionConfig=config)
    identity, first = made["StreamingDistribution"]["Id"], made["ETag"]
    put = case.api.update_streaming_distribution
    other = changed(config, Comment="upd", Enabled=True)
    case.refused("no If-Match", "InvalidIfMatchVersion", 400, put, Id=identity, StreamingDistributionConfig=other)
    answer = put(Id=identity, IfMatch=first, StreamingDistributionConfig=other)
    case.same("status", status(answer), 200)
    case.check("a new ETag", answer["ETag"] and answer["ETag"] != first, answer["ETag"])
    case.same("Status", answer["StreamingDistribution"]["Status"], "InProgress")
    case.same("Comment", answer["StreamingDistribution"]["StreamingDistributionConfig"]["Comment"], "upd")
    case.refused("a stale ETag", "PreconditionFailed", 412, put, Id=identity, IfMatch=first, StreamingDistributionConfig=config)
    quoted = put(Id=identity, IfMatch=f'"{answer["ETag"]}"', StreamingDistributionConfig=changed(other, Comment="quoted"))
    case.same("an ETag in quotes", status(quoted), 200)
    # A whole replacement: what is left out is gone.
    bare = changed(config, Comment="")
    del bare["Aliases"]
    replaced = put(Id=identity, IfMatch=quoted["ETag"], StreamingDistributionConfig=bare)
    case.same("aliases replaced", replaced["StreamingDistribution"]["StreamingDistributionConfig"]["Aliases"]["Quantity"], 0)
    tag = replaced["ETag"]
    case.refused("another CallerReference", "IllegalUpdate", 400, put, Id=identity, IfMatch=tag,
                 StreamingDistributionConfig=changed(bare, CallerReference=unique()))  # fmt: skip
    case.refused("no such distribution", "NoSuchStreamingDistribution", 404, put, Id="ENOPE", IfMatch=tag,
                 StreamingDistributionConfig=bare)  # fmt: skip
    case.refused("six signers", "TooManyTrustedSigners", 400, put, Id=identity, IfMatch=tag,
                 StreamingDistributionConfig=changed(bare, TrustedSigners=signers(*[f"{n:012}" for n in range(1, 7)])))  # fmt: skip
    case.refused("quantities", "InconsistentQuantities", 400, put, Id=identity, IfMatch=tag,
                 StreamingDistributionConfig=changed(bare, Aliases={"Quantity": 3, "Items": ["x.example.com"]}))  # fmt: skip
    name = f"{unique('taken')}.example.com"
    case.api.create_streaming_distribution(StreamingDistributionConfig=streaming(aliases=[name]))
    many = [f"n{n}.{unique('x')}.example.com" for n in range(101)]
    for what, code, http, more in [
        ("another origin", "IllegalUpdate", 400, {"S3Origin": {"DomainName": "vault.s3.amazonaws.com", "OriginAccessIdentity": ""}}),
        ("no such identity", "InvalidOriginAccessIdentity", 400,
         {"S3Origin": {"DomainName": BUCKET, "OriginAccessIdentity": "origin-access-identity/cloudfront/E0000000000NO"}}),
        ("a long comment", "InvalidArgument", 400, {"Comment": "c" * 129}),
        ("an unknown price class", "InvalidArgument", 400, {"PriceClass": "PriceClass_300"}),
        ("101 names", "TooManyStreamingDistributionCNAMEs", 400, {"Aliases": {"Quantity": 101, "Items": many}}),
        ("no such account", "TrustedSignerDoesNotExist", 400, {"TrustedSigners": signers("self", "999999999999")}),
        ("a name that is taken", "CNAMEAlreadyExists", 409, {"Aliases": {"Quantity": 1, "Items": [name]}}),
    ]:  # fmt: skip
        case.refused(what, code, http, put, Id=identity, IfMatch=tag, StreamingDistributionConfig=changed(bare, **more))
    now = case.api.get_streaming_distribution_config(Id=identity)
    case.same("refusals change nothing", (now["ETag"], now["StreamingDistributionConfig"]["Comment"]), (tag, ""))


def quantities(case):
    """Statement 12."""
    create = case.api.create_streaming_distribution
    reference = unique()
    for what, more in {
        "two promised": {"Aliases": {"Quantity": 2, "Items": [f"{unique('q')}.example.com"]}},
        "none promised": {"Aliases": {"Quantity": 0, "Items": [f"{unique('q')}.example.com"]}},
        "none there": {"Aliases": {"Quantity": 1}},
        "signers": {"TrustedSigners": {"Enabled": True, "Quantity": 2, "Items": ["self"]}},
    }.items():
        case.refused(what, "InconsistentQuantities", 400, create, StreamingDistributionConfig=streaming(reference, **more))
    case.same("nothing was made", listed(case), [])


def listed(case):
    return [s["Id"] for page in case.api.get_paginator("list_streaming_distributions").paginate()
            for s in page["StreamingDistributionList"].get("Items", [])]  # fmt: skip


def cnames(case):
    """Statement 13, on create and on update, and a name given back."""
    create, put = case.api.create_streaming_distribution, case.api.update_streaming_distribution
    name = f"{unique('taken')}.example.com"
    first = create(StreamingDistributionConfig=streaming("first", aliases=[name]))
    case.refused("on create", "CNAMEAlreadyExists", 409, create, StreamingDistributionConfig=streaming(aliases=[name]))
    case.refused("in other letters", "CNAMEAlreadyExists", 409, create, StreamingDistributionConfig=streaming(aliases=[name.upper()]))
    config = streaming("second")
    second = create(StreamingDistributionConfig=config)
    case.refused("on update", "CNAMEAlreadyExists", 409, put, Id=second["StreamingDistribution"]["Id"], IfMatch=second["ETag"],
                 StreamingDistributionConfig=changed(config, Aliases={"Quantity": 1, "Items": [name]}))  # fmt: skip
    put(Id=first["StreamingDistribution"]["Id"], IfMatch=first["ETag"], StreamingDistributionConfig=streaming("first"))
    moved = put(Id=second["StreamingDistribution"]["Id"], IfMatch=second["ETag"],
                StreamingDistributionConfig=changed(config, Aliases={"Quantity": 1, "Items": [name]}))  # fmt: skip
    case.same("given back and taken", moved["StreamingDistribution"]["StreamingDistributionConfig"]["Aliases"]["Items"], [name])
    case.same("distributions", len(listed(case)), 2)


def refusals(case):
    """Statement 14 and the other refusals of a create that the client lets through."""
    create = case.api.create_streaming_distribution

    def refuse(what, code, **config):
        case.refused(what, code, 400, create, StreamingDistributionConfig=streaming(**config))

    refuse("six signers", "TooManyTrustedSigners", TrustedSigners=signers(*[f"{n:012}" for n in range(1, 7)]))
    for origin in ("www.example.com", "bucket", "s3.amazonaws.com", "bucket.s3-accelerate.amazonaws.com", "s3.amazonaws.com/bucket", ""):
        refuse(f"origin {origin!r}", "InvalidOrigin", origin=origin)
    refuse("no such identity", "InvalidOriginAccessIdentity", identity="origin-access-identity/cloudfront/E0000000000NO")
    for account in ("999999999999", "nobody", "12345"):
        refuse(f"signer {account}", "TrustedSignerDoesNotExist", TrustedSigners=signers("self", account))
    refuse("a long comment", "InvalidArgument", Comment="c" * 129)
    refuse("a long reference", "InvalidArgument", reference="r" * 129)
    refuse("an unknown price class", "InvalidArgument", PriceClass="PriceClass_300")
    refuse("101 names", "TooManyStreamingDistributionCNAMEs", aliases=[f"n{n}.{unique('x')}.example.com" for n in range(101)])
    case.refused("MaxItems", "InvalidArgument", 400, case.api.list_streaming_distributions, MaxItems="many")
    case.refused("get", "NoSuchStreamingDistribution", 404, case.api.get_streaming_distribution, Id="ENOPE")
    case.refused("get config", "NoSuchStreamingDistribution", 404, case.api.get_streaming_distribution_config, Id="ENOPE")
    case.refused("delete", "NoSuchStreamingDistribution", 404, case.api.delete_streaming_distribution, Id="ENOPE", IfMatch="E2QWRUHAPOMQZL")
    case.same("nothing was made", listed(case), [])


def limit(case):
    """A hundred of them, and no more."""
    made = 0
    try:
        while made < 101:
            case.api.create_streaming_distribution(StreamingDistributionConfig=streaming())
            made += 1
    except ClientError as e:
        case.same("code", e.response["Error"]["Code"], "TooManyStreamingDistributions")
        case.same("status", status(e.response), 400)
    case.same("made", made, 100)
    pages = case.api.get_paginator("list_streaming_distributions").paginate(PaginationConfig={"PageSize": 30})
    sizes = [page["StreamingDistributionList"]["Quantity"] for page in pages]
    case.same("pages", sizes, [30, 30, 30, 10])
    case.same("no page is larger", case.api.list_streaming_distributions()["StreamingDistributionList"]["MaxItems"], 100)


def life(case):
    """Statements 15 and 16: made, deployed, not deletable, disabled, deployed, deleted."""
    config = streaming(aliases=[f"{unique('life')}.example.com"])
    made = case.api.create_streaming_distribution(StreamingDistributionConfig=config)
    identity, tag = made["StreamingDistribution"]["Id"], made["ETag"]
    delete = case.api.delete_streaming_distribution
    case.deployed(identity)
    case.refused("enabled", "StreamingDistributionNotDisabled", 409, delete, Id=identity, IfMatch=tag)
    got = case.api.get_streaming_distribution(Id=identity)
    case.same("untouched", (got["ETag"], got["StreamingDistribution"]["Status"]), (tag, "Deployed"))
    off = case.api.update_streaming_distribution(Id=identity, IfMatch=tag, StreamingDistributionConfig=changed(config, Enabled=False))
    case.same("InProgress", off["StreamingDistribution"]["Status"], "InProgress")
    case.deployed(identity)
    case.refused("no If-Match", "InvalidIfMatchVersion", 400, delete, Id=identity)
    case.refused("the ETag from before", "PreconditionFailed", 412, delete, Id=identity, IfMatch=tag)
    gone = delete(Id=identity, IfMatch=off["ETag"])
    case.same("status", status(gone), 204)
    case.check("no body", headers(gone).get("content-length", "0") == "0", headers(gone))
    case.refused("then", "NoSuchStreamingDistribution", 404, case.api.get_streaming_distribution, Id=identity)
    case.refused("twice", "NoSuchStreamingDistribution", 404, delete, Id=identity, IfMatch=off["ETag"])
    case.same("not listed", listed(case), [])
    # Its names are free again.
    case.api.create_streaming_distribution(StreamingDistributionConfig=streaming(aliases=config["Aliases"]["Items"]))


def paging(case):
    """Statement 18."""
    made = [case.api.create_streaming_distribution(StreamingDistributionConfig=streaming(Comment=str(n)))["StreamingDistribution"]["Id"]
            for n in range(3)]  # fmt: skip
    first = case.api.list_streaming_distributions(MaxItems="2")["StreamingDistributionList"]
    case.same("truncated", (first["IsTruncated"], first["Quantity"], first["MaxItems"], len(first["Items"])), (True, 2, 2, 2))
    case.same("Marker echoed", first["Marker"], "")
    case.same("NextMarker", first["NextMarker"], first["Items"][1]["Id"])
    rest = case.api.list_streaming_distributions(MaxItems="2", Marker=first["NextMarker"])["StreamingDistributionList"]
    case.same("the rest", (rest["IsTruncated"], rest["Quantity"], rest["Marker"]), (False, 1, first["NextMarker"]))
    case.check("no NextMarker", "NextMarker" not in rest, rest)
    case.same("all three", sorted(s["Id"] for s in first["Items"] + rest["Items"]), sorted(made))
    for size in (1, 2, 3, 100):
        pages = case.api.get_paginator("list_streaming_distributions").paginate(PaginationConfig={"PageSize": size})
        case.same(f"pages of {size}", sorted(s["Id"] for p in pages for s in p["StreamingDistributionList"].get("Items", [])), sorted(made))
    one = next(s for s in first["Items"] + rest["Items"] if s["Id"] == made[0])
    case.check("a summary's members", {"Id", "ARN", "Status", "LastModifiedTime", "DomainName", "S3Origin", "Aliases", "TrustedSigners", "Comment",
                                       "PriceClass", "Enabled"} <= set(one), one)  # fmt: skip
    case.same("its comment", one["Comment"], "0")
    empty = case.api.list_streaming_distributions(Marker="EZZZZZZZZZZZZZ")["StreamingDistributionList"]
    case.same("past the end", (empty["Quantity"], empty["IsTruncated"]), (0, False))


def tags(case):
    """Statement 19 and the refusals of tagging."""
    answer = case.api.create_streaming_distribution_with_tags(
        StreamingDistributionConfigWithTags={
            "StreamingDistributionConfig": streaming(),
            "Tags": {"Items": [{"Key": "team", "Value": "media"}, {"Key": "empty", "Value": ""}]},
        }
    )
    arn = answer["StreamingDistribution"]["ARN"]
    case.same("status", status(answer), 201)

    def now():
        return {t["Key"]: t.get("Value", "") for t in case.api.list_tags_for_resource(Resource=arn)["Tags"].get("Items", [])}

    case.same("made with", now(), {"team": "media", "empty": ""})
    tagged = case.api.tag_resource(Resource=arn, Tags={"Items": [{"Key": "team", "Value": "films"}, {"Key": "Größe +-=._:/@", "Value": "a b"}]})
    case.same("Tag", status(tagged), 204)
    case.same("replaced and added", now(), {"team": "films", "empty": "", "Größe +-=._:/@": "a b"})
    gone = case.api.untag_resource(Resource=arn, TagKeys={"Items": ["team", "empty", "never there"]})
    case.same("Untag", status(gone), 204)
    case.same("gone", now(), {"Größe +-=._:/@": "a b"})
    tag = case.api.tag_resource
    case.refused("reserved", "InvalidTagging", 400, tag, Resource=arn, Tags={"Items": [{"Key": "aws:x", "Value": "y"}]})
    case.refused("51 of them", "InvalidTagging", 400, tag, Resource=arn, Tags={"Items": [{"Key": f"k{n}", "Value": "v"} for n in range(51)]})
    missing = arn.rsplit("/", 1)[0] + "/ENOPE"
    case.refused("no such resource", "NoSuchResource", 404, case.api.list_tags_for_resource, Resource=missing)
    case.refused("tagging it", "NoSuchResource", 404, tag, Resource=missing, Tags={"Items": [{"Key": "k", "Value": "v"}]})
    case.refused("no ARN", "InvalidArgument", 400, case.api.list_tags_for_resource, Resource="arn:aws:cloudfront::12:nothing")
    bad = {"StreamingDistributionConfig": streaming(), "Tags": {"Items": [{"Key": "aws:x", "Value": "y"}]}}
    case.refused("created with a reserved one", "InvalidTagging", 400, case.api.create_streaming_distribution_with_tags,
                 StreamingDistributionConfigWithTags=bad)  # fmt: skip
    case.same("which was not made", len(listed(case)), 1)
    case.same("after all that", now(), {"Größe +-=._:/@": "a b"})


def versions(case):
    """Every model boto3 has can make one, and all of them see the same."""
    config = streaming(
        aliases=[f"{unique('v')}.example.com"],
        Comment="all versions",
        Logging={"Enabled": True, "Bucket": "mylogs.s3.amazonaws.com", "Prefix": "p"},
        TrustedSigners=signers("self"),
        PriceClass="PriceClass_200",
    )
    made = case.api.create_streaming_distribution(StreamingDistributionConfig=config)
    for version in VERSIONS:
        client = case.client(version)
        got = client.get_streaming_distribution(Id=made["StreamingDistribution"]["Id"])
        case.same(f"{version} reads", got["StreamingDistribution"]["StreamingDistributionConfig"], config)
        case.same(f"{version}: ETag", got["ETag"], made["ETag"])
        if version < "2016-08":
            case.check(f"{version}: no ARN yet", "ARN" not in got["StreamingDistribution"], got["StreamingDistribution"])
        own = complete(Comment=f"from {version}")
        mine = client.create_streaming_distribution(StreamingDistributionConfig=own)
        case.check(f"{version}: Location", f"/{version}/streaming-distribution/" in mine["Location"], mine["Location"])
        identity = mine["StreamingDistribution"]["Id"]
        seen = case.api.get_streaming_distribution(Id=identity)["StreamingDistribution"]["StreamingDistributionConfig"]
        case.same(f"{version} made", seen["Comment"], f"from {version}")
        changed_to = client.update_streaming_distribution(Id=identity, IfMatch=mine["ETag"],
                                                          StreamingDistributionConfig=changed(own, Comment=f"again {version}"))  # fmt: skip
        case.same(f"{version}: update", status(changed_to), 200)
        page = client.list_streaming_distributions()["StreamingDistributionList"]
        case.check(f"{version} lists it", any(s["Id"] == identity for s in page["Items"]), page)


def strangers(case):
    """Keys that are wrong in each way, as the client tells its caller of them; words: what they shall be refused with."""
    code = case.words[0]
    tag = "E2QWRUHAPOMQZL"
    for what, call, arguments in [
        ("list", case.api.list_streaming_distributions, {}),
        ("create", case.api.create_streaming_distribution, {"StreamingDistributionConfig": streaming()}),
        ("get", case.api.get_streaming_distribution, {"Id": "ENOPE"}),
        ("update", case.api.update_streaming_distribution, {"Id": "ENOPE", "IfMatch": tag, "StreamingDistributionConfig": streaming()}),
        ("delete", case.api.delete_streaming_distribution, {"Id": "ENOPE", "IfMatch": tag}),
        ("tags", case.api.list_tags_for_resource, {"Resource": "arn:aws:cloudfront::123456789012:streaming-distribution/ENOPE"}),
    ]:  # fmt: skip
        case.refused(what, code, 403, call, **arguments)


def underway(case):
    """While a node has yet to hear of it, a disabled distribution is not deleted; words: of the account's second call, id and ETag."""
    delete = case.api.delete_streaming_distribution
    if len(case.words) == 1:
        config = streaming()
        made = case.api.create_streaming_distribution(StreamingDistributionConfig=config)
        identity = made["StreamingDistribution"]["Id"]
        off = case.api.update_streaming_distribution(Id=identity, IfMatch=made["ETag"],
                                                     StreamingDistributionConfig=changed(config, Enabled=False))  # fmt: skip
        for _ in range(3):
            case.refused("disabled, InProgress", "StreamingDistributionNotDisabled", 409, delete, Id=identity, IfMatch=off["ETag"])
        got = case.api.get_streaming_distribution(Id=identity)["StreamingDistribution"]
        case.same("Status", (got["Status"], got["StreamingDistributionConfig"]["Enabled"]), ("InProgress", False))
        case.facts = {"id": identity, "etag": off["ETag"]}
    else:
        _, identity, tag = case.words
        case.deployed(identity)
        case.same("deleted", status(delete(Id=identity, IfMatch=tag)), 204)


def signing(case):
    """A distribution that trusts its own account, one step a call: make KEY_FILE, trust ID ACCOUNT..., forget KEY_ID."""
    step, *words = case.words
    api = case.api
    if step == "make":
        with open(words[0]) as file:
            key = {"CallerReference": unique("key"), "Name": unique("key"), "EncodedKey": file.read(), "Comment": "signs"}
        key = api.create_public_key(PublicKeyConfig=key)["PublicKey"]["Id"]
        config = streaming(TrustedSigners=signers("self"))
        made = api.create_streaming_distribution(StreamingDistributionConfig=config)["StreamingDistribution"]
        active = {"Enabled": True, "Quantity": 1, "Items": [{"AwsAccountNumber": "self", "KeyPairIds": {"Quantity": 1, "Items": [key]}}]}
        case.same("who signs by what", made["ActiveTrustedSigners"], active)
        case.deployed(made["Id"])
        case.facts = {"id": made["Id"], "domain": made["DomainName"], "key": key}
    elif step == "trust":
        identity, *accounts = words
        known = api.get_streaming_distribution_config(Id=identity)
        config = changed(known["StreamingDistributionConfig"], TrustedSigners=signers(*accounts))
        put = api.update_streaming_distribution(Id=identity, IfMatch=known["ETag"], StreamingDistributionConfig=config)
        active = put["StreamingDistribution"]["ActiveTrustedSigners"]
        case.same("who signs", [one["AwsAccountNumber"] for one in active.get("Items", [])], accounts)
        case.deployed(identity)
    else:
        known = api.get_public_key_config(Id=words[0])
        case.same("gone", status(api.delete_public_key(Id=words[0], IfMatch=known["ETag"])), 204)


def fresh(case):
    """Makes one and says what is needed to play it; with an id as word, waits for it first."""
    aliases = case.words[1:2]
    answer = case.api.create_streaming_distribution(StreamingDistributionConfig=streaming(aliases=aliases))
    made = answer["StreamingDistribution"]
    case.deployed(made["Id"])
    case.check("it says Deployed", case.api.get_streaming_distribution(Id=made["Id"])["StreamingDistribution"]["Status"] == "Deployed")
    case.facts = {"id": made["Id"], "domain": made["DomainName"], "etag": answer["ETag"]}


def show(case):
    """What boto3 reads of a distribution."""
    one = case.api.get_streaming_distribution(Id=case.words[0])["StreamingDistribution"]
    case.check("read", one["Id"] == case.words[0])
    case.facts = one


def denied(case):
    """Every operation with keys that may only read."""
    case.api.list_streaming_distributions()
    arn = f"arn:aws:cloudfront::{case.words[0]}:streaming-distribution/{case.words[1]}"
    case.api.get_streaming_distribution(Id=case.words[1])
    case.api.get_streaming_distribution_config(Id=case.words[1])
    case.api.list_tags_for_resource(Resource=arn)
    for what, call, arguments in [
        ("create", case.api.create_streaming_distribution, {"StreamingDistributionConfig": streaming()}),
        ("create with tags", case.api.create_streaming_distribution_with_tags,
         {"StreamingDistributionConfigWithTags": {"StreamingDistributionConfig": streaming(), "Tags": {"Items": []}}}),
        ("update", case.api.update_streaming_distribution,
         {"Id": case.words[1], "IfMatch": case.words[2], "StreamingDistributionConfig": streaming()}),
        ("delete", case.api.delete_streaming_distribution, {"Id": case.words[1], "IfMatch": case.words[2]}),
        ("tag", case.api.tag_resource, {"Resource": arn, "Tags": {"Items": [{"Key": "a", "Value": "b"}]}}),
        ("untag", case.api.untag_resource, {"Resource": arn, "TagKeys": {"Items": ["a"]}}),
        ("identity", case.api.create_cloud_front_origin_access_identity,
         {"CloudFrontOriginAccessIdentityConfig": {"CallerReference": unique(), "Comment": ""}}),
    ]:  # fmt: skip
        case.refused(what, "AccessDenied", 403, call, **arguments)


if __name__ == "__main__":
    main({f.__name__: f for f in (
        create, logging, again, update, quantities, cnames, refusals, limit, life, paging, tags, versions, strangers, underway, signing, fresh,
        show, denied)})  # fmt: skip
