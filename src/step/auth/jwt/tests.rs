//! Tokens as they should be and as nobody should take them; keys that change, and an issuer that is away.

mod keys;

use std::time::Duration;

use serde_json::{Value, json};

use super::testing::{Asked, Issuer, Signer, after, compiled};
use super::*;
use crate::step::shared::Shared;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn claims() -> Value {
    json!({
        "iss": "https://id.example.org", "aud": ["other", "pylon"], "sub": "ann", "exp": after(300), "nbf": after(-5),
        "email": "ann@example.org", "realm_access": {"roles": ["staff", "dev"]},
    })
}

fn changed(key: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[key] = value;
    claims
}

fn without(key: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(key);
    claims
}

fn jwks(keys: &[Value]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!({ "keys": keys }).to_string()).unwrap();
    file
}

fn step(text: &str) -> Jwt {
    compiled(text, &Shared::default(), Jwt::compile).unwrap()
}

fn of_file(file: &tempfile::NamedTempFile, more: &str) -> Jwt {
    let path = file.path().display();
    step(&format!("{{ issuer: 'https://id.example.org', audience: pylon, jwks_file: '{path}', {more} }}"))
}

async fn ask(jwt: &Jwt, token: &str) -> Finding {
    jwt.identify(&Asked::new("/", &[("authorization", &format!("Bearer {token}"))]).asking()).await
}

/// The user, or why not.
async fn user(jwt: &Jwt, token: &str) -> Result<String, String> {
    match ask(jwt, token).await {
        Finding::Proven(proof) => Ok(proof.identity.user.clone()),
        Finding::Wrong(reason) => Err(reason.into_owned()),
        other => Err(format!("{other:?}")),
    }
}

#[tokio::test]
async fn each_algorithm_is_verified_with_a_key_of_its_own_type() {
    let signers = [("rsa", Signer::rsa(1)), ("p256", Signer::p256()), ("p384", Signer::p384()), ("ed", Signer::ed())];
    let file = jwks(&signers.iter().map(|(id, key)| key.jwk(id)).collect::<Vec<_>>());
    let all = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
    let jwt = of_file(&file, &format!("algorithms: [{}]", all.join(", ")));
    for algorithm in all {
        let own = match algorithm {
            "ES256" => "p256",
            "ES384" => "p384",
            "EdDSA" => "ed",
            _ => "rsa",
        };
        for (id, signer) in &signers {
            for named in signers.iter().map(|(id, _)| Some(*id)).chain([None]) {
                let token = signer.sign(&json!({"alg": algorithm, "kid": named}), &claims());
                let good = *id == own && named.is_none_or(|named| named == own);
                assert_eq!(user(&jwt, &token).await.is_ok(), good, "{algorithm} by {id}, named {named:?}");
            }
        }
    }
    for (algorithm, length) in [("HS256", 32), ("HS384", 48), ("HS512", 64)] {
        let secret = "s".repeat(length);
        let jwt = step(&format!("{{ secret: {secret}, algorithms: {algorithm}, audience: '*' }}"));
        let token = Signer::Secret(secret.into_bytes()).sign(&json!({"alg": algorithm}), &claims());
        assert_eq!(user(&jwt, &token).await.as_deref(), Ok("ann"));
        let token = Signer::Secret(vec![b's'; 31]).sign(&json!({"alg": algorithm}), &claims());
        assert_eq!(user(&jwt, &token).await.unwrap_err(), "the signature is wrong");
    }
}

#[tokio::test]
async fn what_a_header_says_opens_nothing() {
    let (signer, other) = (Signer::rsa(1), Signer::rsa(2));
    let mut jwk = signer.jwk("a");
    let file = jwks(&[jwk.clone()]);
    let jwt = of_file(&file, "");
    let good = json!({"alg": "RS256", "kid": "a", "typ": "JWT"});
    assert_eq!(user(&jwt, &signer.sign(&good, &claims())).await.as_deref(), Ok("ann"));
    let none = |alg: &str| {
        let text = |value: Value| data_encoding::BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        format!("{}.{}.", text(json!({"alg": alg})), text(claims()))
    };
    for alg in ["none", "None", "nOnE", "NONE", ""] {
        assert!(user(&jwt, &none(alg)).await.is_err(), "{alg}");
        assert!(user(&jwt, &format!("{}AAAA", none(alg))).await.is_err(), "{alg}");
    }
    // The public key is no secret: neither its modulus, nor its PEM, nor its DER signs with HMAC.
    let modulus = jwk["n"].as_str().unwrap();
    let pem = b"-----BEGIN PUBLIC KEY-----\n".to_vec();
    for secret in [modulus.as_bytes().to_vec(), data_encoding::BASE64URL_NOPAD.decode(modulus.as_bytes()).unwrap(), pem]
    {
        let token = Signer::Secret(secret).sign(&json!({"alg": "HS256", "kid": "a"}), &claims());
        assert_eq!(user(&jwt, &token).await.unwrap_err(), "the token's algorithm, HS256, is not allowed");
    }
    // Keys that a token brings along, addresses of keys, extensions, and names that are none.
    jwk = other.jwk("a");
    for header in [
        json!({"alg": "RS256", "jwk": jwk, "kid": "a"}),
        json!({"alg": "RS256", "jku": "http://127.0.0.1:9/keys", "kid": "a"}),
        json!({"alg": "RS256", "kid": "b"}),
        json!({"alg": "RS256", "kid": "../../dev/null"}),
        json!({"alg": "RS256", "kid": ""}),
        json!({"alg": "RS256"}),
        json!({"alg": "PS256", "kid": "a"}),
        json!({"alg": "ES256", "kid": "a"}),
        json!({"kid": "a"}),
        json!({"alg": ["RS256"], "kid": "a"}),
        json!({"alg": "RS256", "kid": 1}),
    ] {
        assert!(user(&jwt, &other.sign(&header, &claims())).await.is_err(), "{header}");
    }
    for header in [
        json!({"alg": "RS256", "kid": "a", "crit": ["b64"], "b64": false}),
        json!({"alg": "RS256", "kid": "a", "crit": []}),
        json!({"alg": "RS384", "kid": "a"}),
        json!({"alg": "RS256", "kid": "b"}),
        json!(["RS256"]),
        json!(null),
    ] {
        assert!(user(&jwt, &signer.sign(&header, &claims())).await.is_err(), "{header}");
    }
}

#[tokio::test]
async fn each_claim_that_is_wrong_or_of_a_wrong_type_refuses() {
    let signer = Signer::rsa(1);
    let jwt = of_file(&jwks(&[signer.jwk("a")]), "required_claims: [email, realm_access.roles]");
    let sign = |claims: &Value| signer.sign(&json!({"alg": "RS256"}), claims);
    for good in [
        changed("aud", json!("pylon")),
        changed("exp", json!(after(-25))),
        changed("exp", json!(f64::from(u32::try_from(after(60)).unwrap()) + 0.5)),
        changed("nbf", json!(after(25))),
        without("nbf"),
        changed("iat", json!("whenever")),
    ] {
        assert_eq!(user(&jwt, &sign(&good)).await.as_deref(), Ok("ann"), "{good}");
    }
    let mut bad = vec![
        changed("exp", json!(after(-40))),
        changed("exp", json!(0)),
        changed("nbf", json!(after(40))),
        changed("iss", json!("https://id.example.org/")),
        changed("iss", json!(["https://id.example.org"])),
        changed("aud", json!("pylon2")),
        changed("aud", json!(["Pylon", ""])),
        changed("aud", json!([])),
        changed("aud", json!(["pylon", 7])),
        changed("sub", json!("")),
        changed("sub", json!("ann\nX-Admin: 1")),
        changed("sub", json!(["ann"])),
        changed("email", json!(null)),
        changed("realm_access", json!({})),
        changed("realm_access", json!("roles")),
        json!([]),
        json!("ann"),
    ];
    for claim in ["exp", "nbf", "aud", "iss"] {
        let wrong = [json!("1"), json!(true), json!({}), json!([[]]), json!(-1), json!(1e300), json!("never")];
        bad.extend(wrong.into_iter().map(|value| changed(claim, value)));
    }
    bad.extend(["exp", "nbf"].map(|claim| changed(claim, json!(after(100).to_string()))));
    bad.extend(["exp", "aud", "iss"].map(|claim| changed(claim, json!(null))));
    bad.extend(["exp", "aud", "iss", "sub", "email", "realm_access"].map(without));
    for bad in bad {
        assert!(user(&jwt, &sign(&bad)).await.is_err(), "{bad}");
    }
    // A claim that is there twice.
    let text = claims().to_string();
    let twice = format!("{{\"exp\":{},{}", after(1000), &text[1..]);
    let encode = |text: &str| data_encoding::BASE64URL_NOPAD.encode(text.as_bytes());
    assert!(user(&jwt, &signer.sign_parts(&encode(r#"{"alg":"RS256"}"#), &encode(&twice), "RS256")).await.is_err());
}

#[tokio::test]
async fn without_an_audience_only_tokens_without_one_are_good() {
    let signer = Signer::Secret(SECRET.into());
    let sign = |claims: &Value| signer.sign(&json!({"alg": "HS256"}), claims);
    let strict = step(&format!("{{ secret: {SECRET} }}"));
    assert!(user(&strict, &sign(&claims())).await.is_err());
    assert!(user(&strict, &sign(&changed("aud", json!(7)))).await.is_err());
    assert_eq!(user(&strict, &sign(&without("aud"))).await.as_deref(), Ok("ann"));
    let any = step(&format!("{{ secret: {SECRET}, audience: '*', allow_no_expiry: true }}"));
    assert_eq!(user(&any, &sign(&claims())).await.as_deref(), Ok("ann"));
    assert_eq!(user(&any, &sign(&without("exp"))).await.as_deref(), Ok("ann"));
    for exp in [json!("x"), json!(null), json!(after(-100))] {
        assert!(user(&any, &sign(&changed("exp", exp))).await.is_err());
    }
    assert!(user(&any, &sign(&changed("aud", json!({})))).await.is_err());
}

#[tokio::test]
async fn no_byte_of_a_token_can_be_changed() {
    for signer in [Signer::p256(), Signer::rsa(1), Signer::ed()] {
        let algorithm = match signer {
            Signer::P256(_) => "ES256",
            Signer::Ed(_) => "EdDSA",
            _ => "RS256",
        };
        let jwt = of_file(&jwks(&[signer.jwk("a")]), "");
        let token = signer.sign(&json!({"alg": algorithm, "kid": "a"}), &claims());
        assert_eq!(user(&jwt, &token).await.as_deref(), Ok("ann"));
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(user(&jwt, &changed).await.is_err(), "byte {at} of {}", token.len());
            assert!(user(&jwt, &token[..at]).await.is_err(), "cut at {at}");
        }
        let parts: Vec<&str> = token.split('.').collect();
        for bad in [
            format!("{token}."),
            format!("{token}="),
            format!(".{token}"),
            format!("{}.{}", parts[0], parts[1]),
            format!("{}.{}.{}.x", parts[0], parts[1], parts[2]),
            format!("{}..{}", parts[0], parts[2]),
            "..".to_owned(),
            "x".repeat(1 << 20),
            signer.sign(&json!({"alg": algorithm, "kid": "a"}), &changed("pad", json!("x".repeat(16_000)))),
        ] {
            assert!(user(&jwt, &bad).await.is_err(), "{bad:.60}");
        }
    }
}

#[tokio::test]
async fn claims_tell_who_asks() {
    let signer = Signer::Secret(SECRET.into());
    let mapped = "claims: { user: email, groups: realm_access.roles }";
    let jwt = step(&format!("{{ secret: {SECRET}, audience: pylon, hide: true, {mapped} }}"));
    let token = signer.sign(&json!({"alg": "HS256"}), &claims());
    let Finding::Proven(proof) = ask(&jwt, &token).await else { panic!("it is good") };
    let identity = &proof.identity;
    assert_eq!((identity.user.as_str(), identity.by), ("ann@example.org", "jwt"));
    assert_eq!(identity.groups, ["staff", "dev"]);
    assert_eq!(identity.claim_text("sub").as_deref(), Some("ann"));
    assert_eq!(proof.hide.as_slice(), [AUTHORIZATION]);
    let doubted = signer.sign(&json!({"alg": "HS256"}), &changed("email_verified", json!(false)));
    assert!(user(&jwt, &doubted).await.unwrap_err().contains("not verified"));
    let jwt = step(&format!("{{ secret: {SECRET}, audience: pylon }}"));
    let Finding::Proven(proof) = ask(&jwt, &doubted).await else { panic!("it is good") };
    assert_eq!((proof.identity.user.as_str(), proof.identity.mail.as_deref()), ("ann", None));
}

#[tokio::test]
async fn tokens_are_found_where_they_may_be_and_nowhere_else() {
    let token = Signer::Secret(SECRET.into()).sign(&json!({"alg": "HS256"}), &claims());
    let at = |places: &str| step(&format!("{{ secret: {SECRET}, audience: pylon, from: {places} }}"));
    let bearer = format!("bEaReR {token}");
    let cookie = format!("a=1; t={token}; t=2");
    let target = format!("/ws?x=1&t={token}&t=2");
    let places = [
        ("bearer", Asked::new("/", &[("authorization", &bearer)])),
        ("header.X-Token", Asked::new("/", &[("x-token", &token)])),
        ("cookie.t", Asked::new("/", &[("cookie", &cookie)])),
        ("query.t", Asked::new(&target, &[("upgrade", "WebSocket")])),
    ];
    for (place, _) in &places {
        for (other, asked) in &places {
            let found = at(place).identify(&asked.asking()).await;
            let fits =
                if place == other { matches!(found, Finding::Proven(_)) } else { matches!(found, Finding::Absent) };
            assert!(fits, "{other} for {place}: {found:?}");
            assert!(matches!(
                at("[query.t, bearer, header.x-token, cookie.t]").identify(&asked.asking()).await,
                Finding::Proven(_)
            ));
        }
    }
    assert!(matches!(at("query.t").identify(&Asked::new(&target, &[]).asking()).await, Finding::Absent));
    let twice = Asked::new("/", &[("authorization", &bearer), ("authorization", "Bearer x")]);
    assert!(matches!(at("bearer").identify(&twice.asking()).await, Finding::Wrong(_)));
    let basic = Asked::new("/", &[("authorization", "Basic YTpi")]);
    assert!(matches!(at("bearer").identify(&basic.asking()).await, Finding::Absent));
    assert!(matches!(
        at("[bearer, cookie.t]").identify(&Asked::new("/", &[("cookie", "t=")]).asking()).await,
        Finding::Wrong(_)
    ));
}

#[test]
fn mistakes_name_their_cure() {
    for (text, key, part) in [
        ("{}", "", "add `jwks`"),
        ("{ jwks: id.example.org/keys }", "jwks", "https://"),
        ("{ jwks: 'https://me:pw@id.example.org/keys' }", "jwks", "***@id"),
        ("{ jwks_file: /nowhere, secret: x }", "secret", "keep one"),
        ("{ jwks_file: /nowhere }", "jwks_file", "/nowhere"),
        ("{ secret: short }", "secret", "openssl rand"),
        ("{ secret: 0123456789abcdef0123456789abcdef, algorithms: HS512 }", "secret", "64"),
        ("{ secret: 0123456789abcdef0123456789abcdef, algorithms: [HS256, RS256] }", "algorithms", "public key"),
        ("{ jwks: 'https://a/b', algorithms: [HS256] }", "algorithms", "secret"),
        ("{ jwks: 'https://a/b', leeway: 1h }", "leeway", "10m"),
        ("{ jwks: 'https://a/b', refresh: 1s }", "refresh", "10s"),
        ("{ jwks: 'https://a/b', ca: /nowhere }", "ca", "/nowhere"),
        ("{ jwks: 'https://a/b', audience: ['*', a] }", "audience", "alone"),
        ("{ jwks: 'https://a/b', hide: true, from: query.t }", "hide", "query"),
        ("{ jwks: 'https://a/b', realm: 'a\"b' }", "realm", "quoted"),
        ("{ discover: true }", "discover", "one `issuer`"),
        ("{ discover: true, issuer: id }", "issuer", "https://"),
    ] {
        let found = compiled(text, &Shared::default(), Jwt::compile).unwrap_err();
        assert!(found[0].path.to_string().contains(key) && found[0].message.contains(part), "{text}: {found:?}");
        assert!(!found[0].message.contains("short") && !found[0].message.contains("pw"), "{text}: {found:?}");
    }
}

#[tokio::test]
async fn challenges_tell_of_a_wrong_token_only_where_one_came() {
    let jwt = step(&format!("{{ secret: {SECRET}, realm: the cluster }}"));
    assert_eq!(jwt.challenge(false).unwrap(), "Bearer realm=\"the cluster\"");
    assert_eq!(jwt.challenge(true).unwrap(), "Bearer realm=\"the cluster\", error=\"invalid_token\"");
}
