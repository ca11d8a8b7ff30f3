"""Who a request is from: static tokens of a file, then the access tokens of the issuers that are trusted.

`issuers` says whom the operator trusts, `keys` has their keys, `oidc` reads a token, `static` knows a file's tokens.
"""
