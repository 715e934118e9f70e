//! Where keys come from: files, and URLs that follow their rotation.

use super::*;

#[tokio::test]
async fn keys_that_cannot_sign_for_pylon_are_passed_over() {
    let signer = Signer::rsa(1);
    let with = |key: &str, value: Value| {
        let mut jwk = signer.jwk("a");
        jwk[key] = value;
        jwk
    };
    let token = signer.sign(&json!({"alg": "RS256", "kid": "a"}), &claims());
    let odd = json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "odd"});
    for good in [with("use", json!("sig")), with("alg", json!("RS256")), with("key_ops", json!(["verify"]))] {
        let jwt = of_file(&jwks(&[odd.clone(), json!(7), good]), "");
        assert_eq!(user(&jwt, &token).await.as_deref(), Ok("ann"));
    }
    for bad in [
        with("use", json!("enc")),
        with("alg", json!("PS256")),
        with("alg", json!("XX")),
        with("key_ops", json!(["sign"])),
        with("n", json!("AQAB")),
        Signer::Secret(SECRET.into()).jwk("a"),
    ] {
        let jwt = of_file(&jwks(&[bad.clone(), Signer::p256().jwk("b")]), "");
        assert!(user(&jwt, &token).await.is_err(), "{bad}");
        let hmac = Signer::Secret(SECRET.into()).sign(&json!({"alg": "HS256", "kid": "a"}), &claims());
        assert!(user(&jwt, &hmac).await.is_err(), "{bad}");
    }
}

#[tokio::test]
async fn public_keys_come_in_pem() {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let certified = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
    let (one, two) = (folder.path().join("one.pem"), folder.path().join("two.pem"));
    std::fs::write(&one, key.public_key_pem()).unwrap();
    std::fs::write(&two, certified.cert.pem()).unwrap();
    let text = format!("{{ public_keys: ['{}', '{}'], audience: pylon }}", one.display(), two.display());
    let jwt = step(&text);
    for der in [key.serialize_der(), certified.signing_key.serialize_der()] {
        let algorithm = &ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair =
            ring::signature::EcdsaKeyPair::from_pkcs8(algorithm, &der, &ring::rand::SystemRandom::new()).unwrap();
        let token = Signer::P256(pair).sign(&json!({"alg": "ES256", "kid": "whatever"}), &claims());
        assert_eq!(user(&jwt, &token).await.as_deref(), Ok("ann"));
    }
    assert!(user(&jwt, &Signer::p256().sign(&json!({"alg": "ES256"}), &claims())).await.is_err());
    std::fs::write(&one, key.serialize_pem()).unwrap();
    let refused = compiled(&text, &Shared::default(), Jwt::compile).unwrap_err();
    assert!(refused[0].message.contains("private key"), "{refused:?}");
    std::fs::write(&one, include_bytes!("../testing/rsa-weak.pub.pem")).unwrap();
    let refused = compiled(&text, &Shared::default(), Jwt::compile).unwrap_err();
    assert!(refused[0].message.contains("2048"), "{refused:?}");
}

#[tokio::test]
async fn what_is_remembered_expires_and_goes_with_its_keys() {
    let jwt = step(&format!("{{ secret: {SECRET}, audience: pylon, leeway: 0s }}"));
    let token = Signer::Secret(SECRET.into()).sign(&json!({"alg": "HS256"}), &changed("exp", json!(after(100))));
    let mut asked = Asked::new("/", &[("authorization", &format!("Bearer {token}"))]);
    assert!(matches!(jwt.identify(&asked.asking()).await, Finding::Proven(_)));
    let remembered = jwt.known.0.as_ref().unwrap();
    assert!(remembered.get(&token, 0, asked.now).is_some());
    assert!(remembered.get(&token, 1, asked.now).is_none());
    assert!(remembered.get(&token[1..], 0, asked.now).is_none());
    asked.now += Duration::from_secs(102);
    assert!(remembered.get(&token, 0, asked.now).is_none());
}

fn remote(issuer: &Issuer, pause: u64) -> (Jwt, Arc<Remote>) {
    let shared = Shared::default();
    let text = format!("{{ jwks: '{}/keys', audience: pylon }}", issuer.url);
    let mut jwt = compiled(&text, &shared, Jwt::compile).unwrap();
    let settings = RemoteSettings {
        origin: Origin::Keys(http_url(&format!("{}/keys", issuer.url)).unwrap()),
        ca: None,
        refresh: Duration::from_secs(600),
        timeout: Duration::from_secs(5),
        pause: Duration::from_millis(pause),
    };
    let remote = Arc::new(Remote::new(settings, crate::remote::HttpClient::new(None).unwrap()));
    jwt.keys = Keys::Remote(Arc::clone(&remote));
    (jwt, remote)
}

#[tokio::test]
async fn keys_rotate_and_stay_while_their_issuer_is_away() {
    let issuer = Issuer::start().await;
    let (old, new) = (Signer::p256(), Signer::p256());
    let by_old = old.sign(&json!({"alg": "ES256", "kid": "old"}), &claims());
    let by_new = new.sign(&json!({"alg": "ES256", "kid": "new"}), &claims());
    let (jwt, _) = remote(&issuer, 0);
    issuer.answer("/keys", 503, &json!({}));
    assert!(matches!(ask(&jwt, &by_old).await, Finding::Unavailable(_)));
    issuer.answer("/keys", 200, &json!({"keys": []}));
    assert!(matches!(ask(&jwt, &by_old).await, Finding::Unavailable(_)));
    issuer.answer("/keys", 200, &json!({"keys": [old.jwk("old")]}));
    assert_eq!(user(&jwt, &by_old).await.as_deref(), Ok("ann"));
    assert!(user(&jwt, &by_new).await.is_err());
    issuer.answer("/keys", 500, &json!({"keys": [new.jwk("new")]}));
    assert!(user(&jwt, &by_new).await.is_err());
    assert_eq!(user(&jwt, &by_old).await.as_deref(), Ok("ann"));
    issuer.answer("/keys", 200, &json!({"keys": [new.jwk("new")]}));
    assert_eq!(user(&jwt, &by_new).await.as_deref(), Ok("ann"));
    // What the old key had signed was remembered, and is not any more.
    assert!(user(&jwt, &by_old).await.is_err());
}

#[tokio::test]
async fn strangers_do_not_make_pylon_hammer_an_issuer() {
    let issuer = Issuer::start().await;
    let (known, unknown) = (Signer::p256(), Signer::p256());
    issuer.answer("/keys", 200, &json!({"keys": [known.jwk("a")]}));
    let (jwt, _) = remote(&issuer, 60_000);
    let token = unknown.sign(&json!({"alg": "ES256", "kid": "b"}), &claims());
    let many = (0..200).map(|_| user(&jwt, &token));
    assert!(futures_util::future::join_all(many).await.iter().all(Result::is_err));
    assert_eq!(issuer.asked("/keys"), 1);
    let good = known.sign(&json!({"alg": "ES256", "kid": "a"}), &claims());
    assert_eq!(user(&jwt, &good).await.as_deref(), Ok("ann"));
}

#[tokio::test]
async fn keys_are_fetched_in_the_background_and_found_through_their_issuer() {
    let issuer = Issuer::start().await;
    let key = Signer::ed();
    let description = json!({"issuer": issuer.url, "jwks_uri": format!("{}/k", issuer.url)});
    issuer.answer("/.well-known/openid-configuration", 200, &description);
    issuer.answer("/k", 200, &json!({"keys": [key.jwk("a")]}));
    let shared = Shared::default();
    let text = format!("{{ issuer: '{}', discover: true, audience: pylon }}", issuer.url);
    let jwt = compiled(&text, &shared, Jwt::compile).unwrap();
    assert_eq!(issuer.asked("/k"), 0);
    shared.start();
    let token = key.sign(&json!({"alg": "EdDSA", "kid": "a"}), &changed("iss", json!(issuer.url)));
    assert_eq!(user(&jwt, &token).await.as_deref(), Ok("ann"));
    assert_eq!(issuer.asked("/k"), 1);
    let other = Issuer::start().await;
    other.answer("/.well-known/openid-configuration", 200, &description);
    let jwt = compiled(&text.replace(&issuer.url, &other.url), &Shared::default(), Jwt::compile).unwrap();
    assert!(matches!(ask(&jwt, &token).await, Finding::Unavailable(_)), "it describes another issuer");
}
