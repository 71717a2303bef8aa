"""Signed stream names by botocore's CloudFrontSigner: signer.py KEY_PAIR_ID PRIVATE_KEY_FILE NAME PATTERN.

Prints three names, a line each: NAME under a canned policy, NAME with a query of its own, and NAME under a custom policy over PATTERN for viewers on
the loopback network. openssl does the RSA, so that nothing but botocore is needed.
"""

import datetime
import subprocess
import sys

from botocore.signers import CloudFrontSigner

key_pair_id, key_file, name, pattern = sys.argv[1:]


def rsa(message):
    return subprocess.run(["openssl", "dgst", "-sha1", "-sign", key_file], input=message, capture_output=True, check=True).stdout


signer = CloudFrontSigner(key_pair_id, rsa)
end = datetime.datetime.now() + datetime.timedelta(hours=1)
print(signer.generate_presigned_url(name, date_less_than=end))
print(signer.generate_presigned_url(f"{name}?color=red", date_less_than=end))
policy = signer.build_policy(pattern, end, ip_address="127.0.0.0/8")
print(signer.generate_presigned_url(name, policy=policy))
