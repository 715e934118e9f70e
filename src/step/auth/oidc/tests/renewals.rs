//! Tokens that are due, and what the provider says then.

use super::*;

#[tokio::test]
async fn tokens_are_renewed_once_and_in_time() {
    let mut stage = Stage::new("").await;
    stage.sign_in("/").await;
    let old = stage.jar.clone();
    assert_eq!(stage.issuer.asked("/token"), 1);
    stage.now += Duration::from_secs(74);
    assert!(stage.passes().await);
    assert_eq!(stage.issuer.asked("/token"), 1);
    stage.now += Duration::from_secs(2);
    let mut claims = stage.claims("");
    claims["groups"] = json!(["other"]);
    stage.give(&stage.id_token(&claims));
    let asked: Vec<Asked> = (0..20).map(|_| stage.asked("/", &[])).collect();
    let askings: Vec<Asking<'_>> = asked.iter().map(Asked::asking).collect();
    let all = futures_util::future::join_all(askings.iter().map(|asking| stage.oidc.identify(asking))).await;
    for found in all {
        let Finding::Proven(proof) = found else { panic!("{found:?}") };
        assert_eq!(proof.identity.groups, ["other"]);
        stage.keep(&proof.response);
    }
    assert_eq!(stage.issuer.asked("/token"), 2);
    assert_ne!(stage.jar, old);
    let Finding::Proven(proof) = stage.find("/").await else { panic!("signed in") };
    assert!(proof.response.is_empty());
    // A request with the cookie of before, which was under way, gets the new one.
    let new = std::mem::replace(&mut stage.jar, old);
    let Finding::Proven(proof) = stage.find("/").await else { panic!("signed in") };
    assert!(!proof.response.is_empty());
    assert_eq!(stage.issuer.asked("/token"), 2);
    // Another user's token renews nothing.
    stage.jar = new;
    stage.now += Duration::from_secs(101);
    claims["sub"] = "eve".into();
    stage.give(&stage.id_token(&claims));
    assert!(matches!(stage.find("/").await, Finding::Wrong(_)));
}

#[tokio::test]
async fn a_provider_that_refuses_ends_a_session_and_one_that_is_away_suspends_it() {
    let mut stage = Stage::new("").await;
    stage.sign_in("/").await;
    stage.issuer.answer("/token", 503, &json!({}));
    stage.now += Duration::from_secs(80);
    assert!(stage.passes().await, "it has not expired");
    stage.now += Duration::from_secs(21);
    for _ in 0..5 {
        assert!(matches!(stage.find("/").await, Finding::Unavailable(_)));
    }
    assert_eq!(stage.issuer.asked("/token"), 3, "it is let alone for a while");
    stage.give(&stage.id_token(&stage.claims("")));
    stage.now += Duration::from_secs(6);
    let Finding::Proven(proof) = stage.find("/").await else { panic!("it is back") };
    stage.keep(&proof.response);
    stage.issuer.answer("/token", 400, &json!({"error": "invalid_grant"}));
    stage.now += Duration::from_secs(101);
    assert!(matches!(stage.find("/").await, Finding::Wrong(_)));
    stage.begin("/").await;
    assert!(!stage.jar.contains_key("__Host-pylon-session"));
}

#[tokio::test]
async fn what_one_instance_is_refused_another_may_have_renewed() {
    let mut stage = Stage::new("").await;
    stage.sign_in("/").await;
    stage.now += Duration::from_secs(80);
    stage.issuer.answer("/token", 400, &json!({"error": "invalid_grant"}));
    assert!(stage.passes().await, "it has not expired");
    let other = Stage::oidc(&stage.issuer, &stage.keys, "", &Shared::default());
    stage.give(&stage.id_token(&stage.claims("")));
    let Finding::Proven(proof) = other.identify(&stage.asked("/", &[]).asking()).await else { panic!("renewed") };
    stage.keep(&proof.response);
    stage.now += Duration::from_secs(101);
    let Finding::Proven(proof) = stage.find("/").await else { panic!("its tokens are newer than those refused") };
    stage.keep(&proof.response);
    // What was refused once is not asked for again.
    let asked = stage.issuer.asked("/token");
    stage.issuer.answer("/token", 400, &json!({"error": "invalid_grant"}));
    stage.now += Duration::from_secs(101);
    for _ in 0..3 {
        assert!(matches!(stage.find("/").await, Finding::Wrong(_)));
    }
    assert_eq!(stage.issuer.asked("/token"), asked + 1);
}

#[tokio::test]
async fn what_is_not_told_any_more_does_not_hold_any_more() {
    let mut stage = Stage::with_userinfo(&json!({"sub": "ann", "role": "boss", "groups": ["staff"]})).await;
    stage.sign_in("/").await;
    let Finding::Proven(proof) = stage.find("/").await else { panic!("signed in") };
    assert_eq!(proof.identity.claim_text("role").as_deref(), Some("boss"));
    // The new ID token does not have the groups, which are told beside it as they were.
    let mut claims = stage.claims("");
    claims.as_object_mut().unwrap().remove("groups");
    stage.give(&stage.id_token(&claims));
    stage.now += Duration::from_secs(101);
    let Finding::Proven(proof) = stage.find("/").await else { panic!("renewed") };
    assert_eq!(proof.identity.groups, ["staff"]);
    stage.keep(&proof.response);
    stage.issuer.answer("/me", 200, &json!({"sub": "ann"}));
    stage.now += Duration::from_secs(101);
    let Finding::Proven(proof) = stage.find("/").await else { panic!("renewed") };
    assert_eq!((proof.identity.claim("role"), proof.identity.groups.len()), (None, 0));
}

#[tokio::test]
async fn what_is_told_anew_counts_before_an_id_token_of_before() {
    let told = |more: Value| {
        let mut told = json!({"sub": "ann"});
        told.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        told
    };
    let mut stage = Stage::with_userinfo(&told(json!({"groups": ["staff"], "role": "boss"}))).await;
    stage.sign_in("/").await;
    stage.give_no_id_token("r");
    let (staff, none) = (vec!["staff".to_owned()], Vec::<String>::new());
    for (now, groups, role) in [
        (json!({"groups": ["staff"], "role": "boss"}), &staff, Some("boss")),
        (json!({"groups": [], "role": "clerk"}), &none, Some("clerk")),
        (json!({"groups": ["staff"]}), &staff, None),
        // Some providers leave out what is empty.
        (json!({"role": "boss"}), &none, Some("boss")),
        (json!({}), &none, None),
        (json!({"groups": null}), &none, None),
        (json!({"groups": ["staff"]}), &staff, None),
    ] {
        stage.issuer.answer("/me", 200, &told(now.clone()));
        assert_eq!(stage.renewed().await, (groups.clone(), role.map(str::to_owned)), "{now}");
    }
    // A new ID token counts before what is told beside it.
    stage.issuer.answer("/me", 200, &told(json!({"groups": []})));
    stage.give(&stage.id_token(&stage.claims("")));
    assert_eq!(stage.renewed().await.0, staff);
    // What userinfo never told is as the ID token has it.
    let mut stage = Stage::with_userinfo(&told(json!({}))).await;
    stage.sign_in("/").await;
    stage.give_no_id_token("r");
    assert_eq!(stage.renewed().await.0, staff);
    assert_eq!(stage.renewed().await.0, staff);
}

#[tokio::test]
async fn tokens_that_came_are_kept_where_userinfo_fails() {
    let mut stage = Stage::with_userinfo(&json!({"sub": "ann", "groups": ["staff"]})).await;
    stage.sign_in("/").await;
    let of_before = stage.jar.clone();
    stage.issuer.answer("/me", 503, &json!({}));
    stage.give_no_id_token("second");
    stage.now += Duration::from_secs(80);
    let Finding::Proven(proof) = stage.find("/").await else { panic!("it has not expired") };
    assert_eq!(proof.identity.groups, ["staff"]);
    stage.keep(&proof.response);
    assert!(stage.issuer.last("/token").contains("refresh_token=r"), "what came with the sign-in");
    assert!(stage.passes().await);
    assert_eq!(stage.issuer.asked("/token"), 2, "the provider is let alone for a while");
    // What it then gave in its place is what it takes, and who asks is no younger for it.
    stage.give_no_id_token("third");
    stage.now += Duration::from_secs(21);
    let asked: Vec<Asked> = (0..5).map(|_| stage.asked("/", &[])).collect();
    let askings: Vec<Asking<'_>> = asked.iter().map(Asked::asking).collect();
    for found in futures_util::future::join_all(askings.iter().map(|asking| stage.oidc.identify(asking))).await {
        assert!(matches!(found, Finding::Unavailable(_)), "{found:?}");
    }
    assert_eq!(stage.issuer.asked("/token"), 3);
    assert!(stage.issuer.last("/token").contains("refresh_token=second"));
    // Browsers do not have the third one, nor one of them even the second.
    stage.issuer.answer("/me", 200, &json!({"sub": "ann", "groups": ["other"]}));
    stage.jar = of_before;
    stage.now += Duration::from_secs(6);
    let Finding::Proven(proof) = stage.find("/").await else { panic!("it is back") };
    assert_eq!(proof.identity.groups, ["other"]);
    assert!(stage.issuer.last("/token").contains("refresh_token=third"));
    assert_eq!(stage.issuer.asked("/token"), 4);
    stage.keep(&proof.response);
    assert!(stage.passes().await);
    assert_eq!(stage.issuer.asked("/token"), 4);
}
