"""Signs requests with botocore, for comparison. Reads one JSON object per line from a file, prints one JSON string per line.

{"kind": "header" | "presigned", "method", "host", "path", "query": [[name, value]], "headers": [[name, value]],
 "payload_hash", "access_key", "secret_key", "session_token"?, "region", "date", "expires"}

Path and query are not encoded; botocore's own functions encode them.
"""
import datetime, json, sys
from unittest import mock
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.utils import percent_encode


def sign(case):
    moment = datetime.datetime.strptime(case["date"], "%Y%m%dT%H%M%SZ")
    query = "&".join(percent_encode(n, safe="-._~") + "=" + percent_encode(v, safe="-._~") for n, v in case["query"])
    url = "https://" + case["host"] + percent_encode(case["path"], safe="/-._~") + ("?" + query if query else "")
    request = AWSRequest(method=case["method"], url=url)
    for name, value in case["headers"]:
        request.headers.add_header(name, value)
    credentials = Credentials(case["access_key"], case["secret_key"], case.get("session_token"))
    if case["kind"] == "presigned":
        signer = auth.S3SigV4QueryAuth(credentials, "s3", case["region"], expires=case["expires"])
    else:
        signer = auth.S3SigV4Auth(credentials, "s3", case["region"])
        signer.payload = lambda _: case["payload_hash"]
    with mock.patch.object(auth, "get_current_datetime", lambda: moment):
        signer.add_auth(request)
    return request.url if case["kind"] == "presigned" else request.headers["Authorization"]


with open(sys.argv[1], encoding="utf-8") as cases:
    for line in cases:
        print(json.dumps(sign(json.loads(line))))
