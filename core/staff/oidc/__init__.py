"""Sign-on through an OpenID Connect provider (Core 1.0): the authorization code flow with PKCE (RFC 7636).

`tickets` is one try, kept in the browser; `metadata` and `id_token` are pure; `http` and `provider` ask the world;
`identities` says whose account it is. The provider says who someone is, never what they may do here.
"""
