//! Ways in words, for `explain`: what each looks at, and where what it compares with comes from. No secret is in them.

use crate::config::{
    ApiKeySpec, AuthSpec, BasicSpec, ForwardAuthSpec, JwtSpec, LdapSpec, OidcSpec, SignedCookieSpec, SignedRequestSpec,
    TrustedHeadersSpec,
};
use crate::observe::redact;

/// What a way is about.
pub(super) fn about(spec: &AuthSpec) -> String {
    let texts = [
        spec.basic.as_ref().map(basic),
        spec.ldap.as_ref().map(ldap),
        spec.jwt.as_ref().map(jwt),
        spec.oidc.as_ref().map(oidc),
        spec.forward.as_ref().map(forward),
        spec.api_key.as_ref().map(api_key),
        spec.signed_request.as_ref().map(signed_request),
        spec.signed_cookie.as_ref().map(signed_cookie),
        spec.trusted_headers.as_ref().map(trusted_headers),
    ];
    texts.into_iter().flatten().next().unwrap_or_default()
}

fn listed<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn urls(texts: &[String]) -> String {
    texts.iter().map(|text| redact::url(text, &[])).collect::<Vec<_>>().join(", ")
}

fn url(text: &str) -> String {
    redact::url(text, &[]).into_owned()
}

fn basic(spec: &BasicSpec) -> String {
    let groups = spec.groups.as_ref().map_or_else(String::new, |file| format!(", groups of the file {file}"));
    format!("user names and passwords of the file {}{groups}", spec.file)
}

fn ldap(spec: &LdapSpec) -> String {
    let place = match (&spec.user_dn, &spec.search) {
        (Some(dn), _) => format!("as {dn}"),
        (None, Some(search)) => format!("for {} below {}", search.filter, search.base),
        (None, None) => String::new(),
    };
    format!("user names and passwords, asked of {} {place}", urls(&spec.url))
}

fn jwt(spec: &JwtSpec) -> String {
    let places = if spec.from.is_empty() { "bearer".to_owned() } else { listed(&spec.from) };
    let issuer = if spec.issuer.is_empty() { "any issuer".to_owned() } else { urls(&spec.issuer) };
    let audience = match &*spec.audience {
        [] => "nobody by name".to_owned(),
        [all] if all == "*" => "anybody".to_owned(),
        audience => listed(audience),
    };
    let keys = match (&spec.jwks, &spec.jwks_file, &*spec.public_keys) {
        (Some(place), ..) => format!("the keys of {}", url(place)),
        (_, Some(file), _) => format!("the keys of the file {file}"),
        (.., files @ [_, ..]) => format!("the keys of the files {}", listed(files)),
        _ if spec.secret.is_some() => "a secret".to_owned(),
        _ => "the keys that the issuer names".to_owned(),
    };
    format!("tokens ({places}) of {issuer} for {audience}, by {keys}")
}

fn oidc(spec: &OidcSpec) -> String {
    let (client, issuer) = (&spec.client_id, url(&spec.issuer));
    format!("sessions of the client {client} at {issuer}; without one, browsers are sent there to sign in")
}

fn forward(spec: &ForwardAuthSpec) -> String {
    format!("what {} says; its refusals and redirects go to the client", url(&spec.url))
}

fn api_key(spec: &ApiKeySpec) -> String {
    let header = spec.header.as_ref().map(ToString::to_string);
    let header = header.or_else(|| (spec.scheme.is_none() && spec.query.is_none()).then(|| "X-API-Key".to_owned()));
    let places = [
        header,
        spec.scheme.as_ref().map(|scheme| format!("Authorization: {scheme}")),
        spec.query.as_ref().map(|name| format!("the query's {name}")),
    ];
    let places: Vec<String> = places.into_iter().flatten().collect();
    format!("keys of the file {}, in {}", spec.file, places.join(" or "))
}

fn signed_request(spec: &SignedRequestSpec) -> String {
    let keys = match (&spec.keys.file, &spec.keys.redis) {
        (Some(file), _) => format!("the file {file}"),
        (None, _) => "Redis".to_owned(),
    };
    format!("requests signed as {}, with secrets of {keys}", listed(&spec.schemes))
}

fn signed_cookie(spec: &SignedCookieSpec) -> String {
    let names: Vec<&str> = spec.cookies.iter().map(|cookie| cookie.name.as_str()).collect();
    format!("the cookies {}, signed with a secret", names.join(", "))
}

fn trusted_headers(spec: &TrustedHeadersSpec) -> String {
    let user = spec.user.as_ref().map_or_else(|| "REMOTE_USER".to_owned(), ToString::to_string);
    format!("the header {user} and others, from {} alone", listed(&spec.from))
}
