//! Ways from a page to the provider and back, and those that are refused.

use super::*;

#[tokio::test]
async fn a_sign_in_leads_back_to_the_page_and_proves_who_asks() {
    let mut stage = Stage::new("scopes: [groups], parameters: { prompt: login }").await;
    assert!(matches!(stage.find("/").await, Finding::Absent));
    let sent = stage.begin("/a/b?x=1&y=%2F").await;
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "pylon"),
        ("redirect_uri", "https://www.example.org/oauth2/callback"),
        ("scope", "openid groups"),
        ("code_challenge_method", "S256"),
        ("prompt", "login"),
    ] {
        assert_eq!(sent[name], value);
    }
    assert!(sent["state"].len() >= 22 && sent["nonce"].len() >= 22 && sent["code_challenge"].len() == 43);
    stage.give(&stage.id_token(&stage.claims(&sent["nonce"])));
    let reply = stage.answer(&format!("/oauth2/callback?code=c&state={}", sent["state"])).await;
    assert_eq!(reply.headers[LOCATION], "https://www.example.org/a/b?x=1&y=%2F");
    assert_eq!(stage.jar.keys().collect::<Vec<_>>(), ["__Host-pylon-session"]);
    let Finding::Proven(proof) = stage.find("/a/b").await else { panic!("signed in") };
    assert_eq!((proof.identity.user.as_str(), proof.identity.by), ("ann", "oidc"));
    assert_eq!(proof.identity.groups, ["staff"]);
    assert_eq!(stage.oidc.sign_in().cookies(), ["pylon-session", "__Host-pylon-session"]);
    assert!(proof.response.is_empty());
    // What came once does not come again.
    let again = stage.answer(&format!("/oauth2/callback?code=c&state={}", sent["state"])).await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST);
    assert!(stage.passes().await);
}

#[tokio::test]
async fn no_page_leads_to_another_site() {
    for target in
        ["//evil.example.org/x", "/\\evil.example.org", "/%2F/evil.example.org", "/a?u=https://evil.example.org"]
    {
        let mut stage = Stage::new("").await;
        let reply = stage.sign_in(target).await;
        assert_eq!(reply.headers[LOCATION], format!("https://www.example.org{target}"));
    }
    let mut stage = Stage::new("").await;
    let reply = stage.sign_in(&format!("/a?{}", "x".repeat(4000))).await;
    assert_eq!(reply.headers[LOCATION], "https://www.example.org/a");
}

#[tokio::test]
async fn a_way_back_that_was_not_begun_here_is_refused() {
    let mut stage = Stage::new("").await;
    let sent = stage.begin("/").await;
    stage.give(&stage.id_token(&stage.claims(&sent["nonce"])));
    let state = sent["state"].clone();
    let jar = stage.jar.clone();
    let other: String = state.chars().rev().collect();
    let (name, value) = jar.iter().next().unwrap();
    let of_other = format!("__Host-pylon-session.login.{}", &other[..12]);
    let back = format!("/oauth2/callback?code=c&state={state}");
    for (jar, target) in [
        (BTreeMap::new(), back.clone()),
        (BTreeMap::from([(of_other, value.clone())]), format!("/oauth2/callback?code=c&state={other}")),
        (BTreeMap::from([(name.clone(), value[..value.len() - 4].to_owned())]), back.clone()),
        (BTreeMap::from([(name.clone(), "x".to_owned())]), back.clone()),
        (jar.clone(), "/oauth2/callback".to_owned()),
        (jar.clone(), "/oauth2/callback?code=c".to_owned()),
        (jar.clone(), format!("/oauth2/callback?state={state}")),
        (jar.clone(), format!("/oauth2/callback?code=&state={state}")),
        (jar.clone(), format!("{back}&state={state}")),
        (jar.clone(), format!("{back}&code=d")),
        (jar.clone(), format!("{back}x")),
        (jar.clone(), format!("{back}&iss=https%3A%2F%2Fevil.example.org")),
        (jar.clone(), format!("{back}&error=%3Cscript%3E")),
    ] {
        stage.jar = jar;
        let reply = stage.answer(&target).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{target}");
        assert_eq!(reply.headers[CONTENT_TYPE], "text/plain; charset=utf-8");
        assert!(!String::from_utf8_lossy(&reply.body).contains("script"));
        assert_eq!(stage.issuer.asked("/token"), 0, "{target}");
    }
    stage.jar = jar.clone();
    let denied = stage.answer(&format!("/oauth2/callback?error=access_denied&state={state}")).await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN);
    stage.jar = jar.clone();
    stage.now += Duration::from_secs(601);
    assert_eq!(stage.answer(&back).await.status, StatusCode::BAD_REQUEST);
    stage.now -= Duration::from_secs(601);
    stage.jar = jar;
    assert_eq!(stage.answer(&back).await.status, StatusCode::FOUND);
}

#[tokio::test]
async fn an_id_token_that_is_not_for_this_sign_in_is_refused() {
    let mut stage = Stage::new("").await;
    let none = |claims: &Value| {
        let text = |value: &Value| data_encoding::BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        format!("{}.{}.", text(&json!({"alg": "none"})), text(claims))
    };
    for case in 0..14 {
        stage.jar.clear();
        let sent = stage.begin("/").await;
        let mut claims = stage.claims(&sent["nonce"]);
        match case {
            0 => claims["nonce"] = "other".into(),
            1 => drop(claims.as_object_mut().unwrap().remove("nonce")),
            2 => claims["aud"] = "other".into(),
            3 => claims["aud"] = json!(["pylon", "other"]),
            4 => claims["azp"] = "other".into(),
            5 => claims["iss"] = "https://evil.example.org".into(),
            6 => claims["exp"] = after(-100).into(),
            7 => drop(claims.as_object_mut().unwrap().remove("exp")),
            8 => drop(claims.as_object_mut().unwrap().remove("sub")),
            9 => drop(claims.as_object_mut().unwrap().remove("iat")),
            _ => {}
        }
        let token = match case {
            10 => none(&claims),
            11 => Signer::Secret(b"a-secret-of-the-client".to_vec()).sign(&json!({"alg": "HS256"}), &claims),
            12 => Signer::p256().sign(&json!({"alg": "ES256", "kid": "a"}), &claims),
            13 => stage.id_token(&claims)[1..].to_owned(),
            _ => stage.id_token(&claims),
        };
        stage.give(&token);
        let reply = stage.answer(&format!("/oauth2/callback?code=c&state={}", sent["state"])).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "case {case}");
        assert!(!stage.jar.contains_key("__Host-pylon-session"), "case {case}");
    }
    let sent = stage.begin("/").await;
    let mut claims = stage.claims(&sent["nonce"]);
    (claims["aud"], claims["azp"]) = (json!(["pylon", "other"]), "pylon".into());
    stage.give(&stage.id_token(&claims));
    assert_eq!(
        stage.answer(&format!("/oauth2/callback?code=c&state={}", sent["state"])).await.status,
        StatusCode::FOUND
    );
    // Something is amiss at the provider: nobody passes, and the sign-in can go on.
    stage.jar.clear();
    let sent = stage.begin("/").await;
    let back = format!("/oauth2/callback?code=c&state={}", sent["state"]);
    for (status, body) in [(500, json!({})), (401, json!({"error": "invalid_client"})), (200, json!("x"))] {
        stage.issuer.answer("/token", status, &body);
        let found = stage.oidc.identify(&stage.asked(&back, &PAGE).asking()).await;
        assert!(matches!(found, Finding::Unavailable(_)), "{status}: {found:?}");
    }
    stage.issuer.answer("/token", 400, &json!({"error": "invalid_grant"}));
    assert_eq!(stage.answer(&back).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn tabs_do_not_hinder_each_other() {
    let mut stage = Stage::new("").await;
    let first = stage.begin("/one").await;
    let second = stage.begin("/two").await;
    stage.give(&stage.id_token(&stage.claims(&second["nonce"])));
    let reply = stage.answer(&format!("/oauth2/callback?code=c&state={}", second["state"])).await;
    assert_eq!(reply.headers[LOCATION], "https://www.example.org/two");
    stage.give(&stage.id_token(&stage.claims(&first["nonce"])));
    let reply = stage.answer(&format!("/oauth2/callback?code=c&state={}", first["state"])).await;
    assert_eq!(reply.headers[LOCATION], "https://www.example.org/one");
    stage.jar.clear();
    for _ in 0..20 {
        stage.now += Duration::from_secs(1);
        stage.begin("/").await;
    }
    assert_eq!(stage.jar.len(), 6);
}
