//! What the cookies of a session hold, for how long, and how it ends.

use super::*;

#[tokio::test]
async fn no_byte_of_a_session_can_be_changed() {
    let mut stage = Stage::new("").await;
    stage.sign_in("/").await;
    assert!(stage.passes().await);
    let (name, value) = stage.jar.pop_first().unwrap();
    for at in (0..value.len()).step_by(7) {
        let mut changed = value.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        for bad in [String::from_utf8(changed).unwrap(), value[..at].to_owned()] {
            stage.jar = BTreeMap::from([(name.clone(), bad)]);
            assert!(matches!(stage.find("/").await, Finding::Wrong(_)), "byte {at}");
        }
    }
    // A browser signs in anew; what was there goes.
    stage.begin("/").await;
    assert!(!stage.jar.contains_key(&name));
    // Under another name, or as a client of another name, it is nothing.
    stage.jar = BTreeMap::from([("pylon-session".to_owned(), value.clone())]);
    assert!(matches!(stage.find("/").await, Finding::Absent));
    let asked = stage.asked("/", &[]);
    let mut asking = asked.asking();
    let plain = crate::step::forwarded::Client { scheme: "http", ..*asking.client };
    asking.client = &plain;
    assert!(matches!(stage.oidc.identify(&asking).await, Finding::Wrong(_)));
    stage.jar = BTreeMap::from([(name, value)]);
    assert!(stage.passes().await);
    let same = Stage::oidc(&stage.issuer, &stage.keys, "", &Shared::default());
    assert!(matches!(same.identify(&stage.asked("/", &[]).asking()).await, Finding::Proven(_)));
    let other = Stage::oidc(&stage.issuer, &key_file(2), "", &Shared::default());
    assert!(matches!(other.identify(&stage.asked("/", &[]).asking()).await, Finding::Wrong(_)));
}

#[tokio::test]
async fn long_sessions_are_kept_in_parts() {
    let mut stage = Stage::new("").await;
    let sent = stage.begin("/").await;
    let mut claims = stage.claims(&sent["nonce"]);
    claims["groups"] = (0..500).map(|n| format!("group-{n}")).collect::<Vec<_>>().into();
    stage.give(&stage.id_token(&claims));
    stage.answer(&format!("/oauth2/callback?code=c&state={}", sent["state"])).await;
    assert!(stage.jar.len() >= 3, "{:?}", stage.jar.keys());
    let Finding::Proven(proof) = stage.find("/").await else { panic!("signed in") };
    assert_eq!(proof.identity.groups.len(), 500);
    let whole = stage.jar.clone();
    for name in whole.keys() {
        stage.jar = whole.clone();
        stage.jar.remove(name);
        assert!(matches!(stage.find("/").await, Finding::Wrong(_)), "without {name}");
    }
    // A shorter session takes the parts away that are left.
    stage.jar = whole;
    stage.now += Duration::from_secs(1801);
    stage.sign_in("/").await;
    assert_eq!(stage.jar.len(), 1);
    assert!(stage.passes().await);
    let sent = {
        stage.jar.clear();
        stage.begin("/").await
    };
    let mut claims = stage.claims(&sent["nonce"]);
    claims["groups"] = (0..5000).map(|n| format!("group-{n}")).collect::<Vec<_>>().into();
    stage.give(&stage.id_token(&claims));
    let reply = stage.answer(&format!("/oauth2/callback?code=c&state={}", sent["state"])).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "longer than a token may be");
}

#[tokio::test]
async fn sessions_end_when_they_are_old_or_not_used() {
    let mut stage = Stage::new("").await;
    let sent = stage.begin("/").await;
    let id_token = stage.id_token(&stage.claims(&sent["nonce"]));
    let tokens = json!({"access_token": "x", "token_type": "Bearer", "id_token": id_token});
    stage.issuer.answer("/token", 200, &tokens);
    stage.answer(&format!("/oauth2/callback?code=c&state={}", sent["state"])).await;
    let first = stage.jar.clone();
    let begun = stage.now;
    for minutes in 1..=60 {
        stage.now = begun + Duration::from_secs(minutes * 60 - 1);
        let Finding::Proven(proof) = stage.find("/").await else { panic!("minute {minutes}") };
        stage.keep(&proof.response);
    }
    stage.now = begun + Duration::from_secs(3602);
    assert!(matches!(stage.find("/").await, Finding::Wrong(_)), "an hour is over");
    stage.jar = first;
    stage.now = begun + Duration::from_secs(600);
    assert!(stage.passes().await);
    stage.now = begun + Duration::from_secs(602);
    assert!(!stage.passes().await, "ten minutes without a request");
}

#[tokio::test]
async fn a_session_ends_here_and_at_the_provider() {
    let mut stage = Stage::new("after_logout: /bye").await;
    stage.sign_in("/").await;
    let stolen = stage.jar.clone();
    let reply = stage.answer("/oauth2/logout").await;
    let url = url::Url::parse(reply.headers[LOCATION].to_str().unwrap()).unwrap();
    let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    assert!(url.as_str().starts_with(&format!("{}/end?", stage.issuer.url)));
    assert_eq!(query["post_logout_redirect_uri"], "https://www.example.org/bye");
    assert_eq!(query["client_id"], "pylon");
    assert!(query["id_token_hint"].split('.').count() == 3);
    assert!(stage.jar.is_empty());
    let reply = stage.answer("/oauth2/logout").await;
    assert_eq!(reply.headers[LOCATION], "https://www.example.org/bye");
    stage.jar = stolen;
    assert!(!stage.passes().await);
    let mut stage = Stage::new("").await;
    assert_eq!(stage.answer("/oauth2/logout").await.status, StatusCode::OK);
}
