//! Requests that real clients signed with access key `AKIDEXAMPLE` and secret `wJalrXUtnFEMI`, lines ended by LF alone; headers that neither
//! scheme looks at are left out.

/// jets3t 0.7.2 makes a streaming distribution.
pub(super) const JETS3T_072: &str = r#"POST /2009-12-01/streaming-distribution HTTP/1.1
Date: Sat, 21 Nov 2026 11:07:42 GMT
Authorization: AWS AKIDEXAMPLE:52QrC31t4mqE9TK+nOQLwgxpIqQ=
Host: cloudfront.amazonaws.com
Content-Length: 398
Content-Type: text/xml; charset=UTF-8

<?xml version="1.0" encoding="UTF-8" standalone="no"?><StreamingDistributionConfig xmlns="http://cloudfront.amazonaws.com/doc/2009-12-01/"><Origin>mystreamingbucket.s3.amazonaws.com</Origin><CallerReference>1274000000000</CallerReference><CNAME>media.example.com</CNAME><CNAME>m2.example.com</CNAME><Comment>Test streaming distribution</Comment><Enabled>true</Enabled></StreamingDistributionConfig>"#;

/// jets3t 0.9.4 updates one.
pub(super) const JETS3T_094: &str = r#"PUT /2012-05-05/streaming-distribution/EGTXBD79H29TRA/config HTTP/1.1
If-Match: E2QWRUHEXAMPLA
Date: Sat, 21 Nov 2026 11:06:14 GMT
Authorization: AWS AKIDEXAMPLE:0ZdvUfeQ5Oxqjk5ZoC7iz4mtrwA=
Content-Length: 613
Content-Type: text/xml; charset=UTF-8
Host: cloudfront.amazonaws.com
Expect: 100-continue

<?xml version="1.0" encoding="UTF-8" standalone="no"?><StreamingDistributionConfig xmlns="http://cloudfront.amazonaws.com/doc/2012-05-05/"><CallerReference>1795259174445</CallerReference><Aliases><Quantity>1</Quantity><Items><CNAME>media.example.com</CNAME></Items></Aliases><DefaultRootObject/><S3Origin><DomainName>mystreamingbucket.s3.amazonaws.com</DomainName><OriginAccessIdentity/></S3Origin><TrustedSigners><Enabled>false</Enabled><Quantity>0</Quantity></TrustedSigners><Comment>upd</Comment><Logging><Enabled>false</Enabled><Bucket/><Prefix/></Logging><Enabled>true</Enabled></StreamingDistributionConfig>"#;

/// boto3 makes one with tags: a query without a value.
pub(super) const BOTO3_TAGS: &str = r#"POST /2020-05-31/streaming-distribution?WithTags HTTP/1.1
Host: 127.0.0.1:18443
X-Amz-Date: 20261121T110904Z
Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/us-east-1/cloudfront/aws4_request, SignedHeaders=host;x-amz-date, Signature=93878efa24d07c394b4985dfe20b8dca0eafc388204514f713467e8926e2861e
Content-Length: 923

<StreamingDistributionConfigWithTags xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/"><StreamingDistributionConfig><CallerReference>2</CallerReference><S3Origin><DomainName>mystreamingbucket.s3.amazonaws.com</DomainName><OriginAccessIdentity>origin-access-identity/cloudfront/E74FTE3AEXAMPLE</OriginAccessIdentity></S3Origin><Aliases><Quantity>1</Quantity><Items><CNAME>media.example.com</CNAME></Items></Aliases><Comment>c</Comment><Logging><Enabled>true</Enabled><Bucket>mylogs.s3.amazonaws.com</Bucket><Prefix>log/</Prefix></Logging><TrustedSigners><Enabled>true</Enabled><Quantity>2</Quantity><Items><AwsAccountNumber>self</AwsAccountNumber><AwsAccountNumber>111122223333</AwsAccountNumber></Items></TrustedSigners><PriceClass>PriceClass_All</PriceClass><Enabled>true</Enabled></StreamingDistributionConfig><Tags><Items><Tag><Key>a</Key><Value>b</Value></Tag></Items></Tags></StreamingDistributionConfigWithTags>"#;

/// boto3 updates one: If-Match is signed.
pub(super) const BOTO3_UPDATE: &str = r#"PUT /2020-05-31/streaming-distribution/EGTXBD79H29TRA/config HTTP/1.1
Host: 127.0.0.1:18443
If-Match: EBAD
X-Amz-Date: 20261121T110904Z
Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/us-east-1/cloudfront/aws4_request, SignedHeaders=host;if-match;x-amz-date, Signature=4b78d65c92c42413841122ba065ec40d16a478ba75945c55f86a2797db6aa3dd
Content-Length: 793

<StreamingDistributionConfig xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/"><CallerReference>1274000000000</CallerReference><S3Origin><DomainName>mystreamingbucket.s3.amazonaws.com</DomainName><OriginAccessIdentity>origin-access-identity/cloudfront/E74FTE3AEXAMPLE</OriginAccessIdentity></S3Origin><Aliases><Quantity>1</Quantity><Items><CNAME>media.example.com</CNAME></Items></Aliases><Comment>c</Comment><Logging><Enabled>true</Enabled><Bucket>mylogs.s3.amazonaws.com</Bucket><Prefix>log/</Prefix></Logging><TrustedSigners><Enabled>true</Enabled><Quantity>2</Quantity><Items><AwsAccountNumber>self</AwsAccountNumber><AwsAccountNumber>111122223333</AwsAccountNumber></Items></TrustedSigners><PriceClass>PriceClass_All</PriceClass><Enabled>true</Enabled></StreamingDistributionConfig>"#;

/// boto3 tags one: a query with escapes.
pub(super) const BOTO3_TAG: &str = r#"POST /2020-05-31/tagging?Operation=Tag&Resource=arn%3Aaws%3Acloudfront%3A%3A123456789012%3Astreaming-distribution%2FEGTXBD79H29TRA HTTP/1.1
Host: 127.0.0.1:18443
X-Amz-Date: 20261121T110904Z
Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/us-east-1/cloudfront/aws4_request, SignedHeaders=host;x-amz-date, Signature=0a5287d3286f628be0522748d2f2c037981b1ac418d1cdbba2563808988e5e9f
Content-Length: 123

<Tags xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/"><Items><Tag><Key>k</Key><Value>v</Value></Tag></Items></Tags>"#;

/// boto3 reads a page: two parameters.
pub(super) const BOTO3_PAGE: &str = r#"GET /2020-05-31/streaming-distribution?Marker=EGTXBD79H29TRA&MaxItems=1 HTTP/1.1
Host: 127.0.0.1:18446
X-Amz-Date: 20261121T112449Z
Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/us-east-1/cloudfront/aws4_request, SignedHeaders=host;x-amz-date, Signature=6d8c8b3aade998fb2bbacaa9b7e854003af253b2495ef7bdcd789b20848519d1

"#;

/// awscli deletes one: a body of no bytes.
pub(super) const AWSCLI_DELETE: &str = r#"DELETE /2020-05-31/streaming-distribution/EGTXBD79H29TRA HTTP/1.1
Host: 127.0.0.1:18444
If-Match: E2QWRUHEXAMPLA2
X-Amz-Date: 20261121T110913Z
Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/us-east-1/cloudfront/aws4_request, SignedHeaders=host;if-match;x-amz-date, Signature=27d43f7aa44457e1fbfaf7383699c9e5505ad49e2421640e474c3a50844fa4bf
Content-Length: 0

"#;

/// All of them.
pub(super) const ALL: &[&str] =
    &[JETS3T_072, JETS3T_094, BOTO3_TAGS, BOTO3_UPDATE, BOTO3_TAG, BOTO3_PAGE, AWSCLI_DELETE];
