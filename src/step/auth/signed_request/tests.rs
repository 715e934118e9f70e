use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::SystemTime;

use http::Method;

use super::*;
use crate::observe::Metrics;
use crate::step::forwarded::Client;
use crate::step::shared::Shared;

const SECRET: &str = "a-secret-key-of-forty-characters-or-less";
const DATE: &str = "2018-12-16T08:30:00+09:00";
const VERSION: &str = "v4.20181215";

/// A request as it arrives.
#[derive(Clone)]
struct Arrived {
    method: Method,
    target: String,
    headers: Vec<(&'static str, String)>,
    has_body: bool,
    /// Seconds of Unix time.
    now: u64,
}

impl Arrived {
    /// A request that is signed well. The string to sign is written here anew.
    fn signed() -> Self {
        let lines = ["GET", "/v4/x?a=1&b=%2F", DATE, "host:api.test:8443", "content-type:application/json"];
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let text = format!("{}\nx-my-version:{VERSION}\n{empty}", lines.join("\n"));
        let mac = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
        let key = mac(mac(SECRET.as_bytes(), "20181216").as_ref(), "api.test:8443");
        let signature = data_encoding::HEXLOWER.encode(mac(key.as_ref(), &text).as_ref());
        Self {
            method: Method::GET,
            target: "/v4/x?a=1&b=%2F".to_owned(),
            headers: vec![
                ("host", "api.test:8443".to_owned()),
                ("date", DATE.to_owned()),
                ("content-type", "application/json; charset=utf-8".to_owned()),
                ("x-my-version", VERSION.to_owned()),
                ("authorization", format!("Mine signMethod=HMAC-SHA256, credential=AKIATEST:{signature}")),
            ],
            has_body: true,
            now: 1_544_916_600,
        }
    }

    fn with(&self, name: &'static str, value: &str) -> Self {
        let mut changed = self.clone();
        changed.headers.retain(|(known, _)| *known != name);
        if !value.is_empty() {
            changed.headers.push((name, value.to_owned()));
        }
        changed
    }

    fn header(&self, name: &str) -> String {
        self.headers.iter().find(|(known, _)| *known == name).unwrap().1.clone()
    }
}

struct Site {
    folder: tempfile::TempDir,
    shared: Shared,
    metrics: Metrics,
}

impl Site {
    fn new(keys: &str) -> Self {
        let site =
            Self { folder: tempfile::tempdir().unwrap(), shared: Shared::default(), metrics: Metrics::default() };
        site.write(keys, 0o640);
        site
    }

    fn write(&self, keys: &str, mode: u32) {
        let path = self.folder.path().join("keys.yaml");
        std::fs::write(&path, keys).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn compile(&self, spec: &str) -> Result<SignedRequest, Vec<Mistake>> {
        let spec: SignedRequestSpec = serde_yaml::from_str(spec).unwrap();
        let file = |path: &str| -> PathBuf { self.folder.path().join(path) };
        let scope =
            AuthScope { file: &file, shared: &self.shared, before: None, metrics: &self.metrics, captures: &[] };
        SignedRequest::compile(&spec, &scope)
    }
}

const SPEC: &str = "{ schemes: [Mine, Old], date: [Date, X-My-Date], version: X-My-Version,
    unsigned_body_from: v4.20181215, keys: { file: keys.yaml } }";

fn keys() -> String {
    format!("AKIATEST: {{ secret: {SECRET}, user: ann, groups: [staff] }}\nAKIAOTHER: another-secret-of-some-length\n")
}

async fn check(step: &SignedRequest, arrived: &Arrived) -> Finding {
    let mut headers = HeaderMap::new();
    for (name, value) in &arrived.headers {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let address = "192.0.2.1".parse().unwrap();
    let client = Client { peer: address, trusted: false, address, scheme: "https" };
    let asking = Asking {
        method: &arrived.method,
        target: &arrived.target,
        path: "/v4/x",
        host: "api.test:8443",
        headers: &headers,
        client: &client,
        has_body: arrived.has_body,
        captures: &(),
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(arrived.now),
    };
    step.identify(&asking).await
}

fn reason(finding: Finding) -> String {
    match finding {
        Finding::Wrong(reason) => reason.into_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_good_signature_proves_who_asks() {
    let step = Site::new(&keys()).compile(SPEC).unwrap();
    let arrived = Arrived::signed();
    let other_scheme = arrived.with("authorization", &arrived.header("authorization").replace("Mine", "Old"));
    let other_date = arrived.with("date", "").with("x-my-date", DATE);
    for arrived in [arrived, other_scheme, other_date] {
        let Finding::Proven(proof) = check(&step, &arrived).await else { panic!("not proven") };
        assert_eq!((proof.identity.user.as_str(), &*proof.identity.groups), ("ann", &["staff".to_owned()][..]));
        assert_eq!(proof.identity.claim_text("access_key").as_deref(), Some("AKIATEST"));
        assert!(proof.hide.is_empty());
    }
}

#[tokio::test]
async fn a_request_that_was_changed_is_refused() {
    let step = Site::new(&keys()).compile(SPEC).unwrap();
    let good = Arrived::signed();
    let authorization = good.header("authorization");
    let claimed = authorization.rsplit(':').next().unwrap().to_owned();
    let flipped = format!("{}{}", if claimed.starts_with('0') { '1' } else { '0' }, &claimed[1..]);
    let credential =
        |text: &str| good.with("authorization", &format!("Mine signMethod=HMAC-SHA256, credential={text}"));
    for changed in [
        Arrived { method: Method::HEAD, ..good.clone() },
        Arrived { target: "/v4/x?a=1&b=/".to_owned(), ..good.clone() },
        Arrived { target: "/v4/x".to_owned(), ..good.clone() },
        good.with("host", "api.test"),
        good.with("host", "API.test:8443"),
        good.with("date", "2018-12-16T08:30:01+09:00"),
        good.with("date", "2018-12-15T23:30:00Z"),
        good.with("content-type", "text/plain"),
        good.with("content-type", ""),
        good.with("x-my-version", "v5.20191215"),
        credential(&format!("AKIAOTHER:{claimed}")),
        credential(&format!("AKIANOBODY:{claimed}")),
        credential(&format!("AKIATEST:{flipped}")),
        credential(&format!("AKIATEST:{}", &claimed[..62])),
        credential(&format!("AKIATEST:{claimed}00")),
        credential(&format!("AKIATEST:{}", claimed.to_uppercase())),
        credential("AKIATEST:"),
        credential("AKIATEST:zz"),
    ] {
        assert_eq!(reason(check(&step, &changed).await), WRONG);
    }
}

#[tokio::test]
async fn what_cannot_be_checked_is_refused_with_a_reason() {
    let step = Site::new(&keys()).compile(SPEC).unwrap();
    let good = Arrived::signed();
    let authorization = good.header("authorization");
    let with = |from: &str, to: &str| good.with("authorization", &authorization.replace(from, to));
    let mut twice = good.clone();
    twice.headers.push(("authorization", authorization.clone()));
    let mut two_dates = good.clone();
    two_dates.headers.push(("date", DATE.to_owned()));
    let mut two_hosts = good.clone();
    two_hosts.headers.push(("host", "other".to_owned()));
    for (arrived, said) in [
        (good.with("date", ""), "no date"),
        (good.with("date", "yesterday"), "cannot be read"),
        (Arrived { now: good.now + 900, ..good.clone() }, "too far"),
        (Arrived { now: good.now - 900, ..good.clone() }, "too far"),
        (good.with("x-my-version", ""), "no version"),
        (good.with("x-my-version", "v3.20170615"), "Pylon does not check"),
        (with("HMAC-SHA256", "HMAC-MD5"), "not HMAC-SHA256"),
        (with("signMethod=HMAC-SHA256, ", ""), "not HMAC-SHA256"),
        (with("credential=", "credential=AKIAOTHER:00, credential="), "there twice"),
        (with("signMethod", "x, signMethod"), "no value"),
        (with("AKIATEST:", ""), "no credential"),
        (with("AKIATEST", ""), "odd form"),
        (with("AKIATEST", &"A".repeat(257)), "odd form"),
        (twice, "more than once"),
        (two_dates, "more than once"),
        (two_hosts, "more than once"),
    ] {
        let reason = reason(check(&step, &arrived).await);
        assert!(reason.contains(said), "{said}: {reason}");
        assert!(!reason.contains(SECRET));
    }
    for absent in [good.with("authorization", ""), good.with("authorization", "Bearer x"), with("Mine ", "Mines ")] {
        assert!(matches!(check(&step, &absent).await, Finding::Absent));
    }
}

#[tokio::test]
async fn bodies_of_old_versions_may_be_of_many_parts() {
    let step = Site::new(&keys()).compile(SPEC).unwrap();
    let good = Arrived::signed();
    // Another signature, but that is what it fails with.
    for (content_type, has_body) in [("multipart/form-data; boundary=x", true), ("text/plain", false)] {
        let arrived =
            Arrived { has_body, ..good.with("x-my-version", "v3.20170615").with("content-type", content_type) };
        assert_eq!(reason(check(&step, &arrived).await), WRONG, "{content_type}");
    }
}

#[tokio::test]
async fn a_signature_may_be_good_for_once() {
    let site = Site::new(&keys());
    let step = site.compile(&SPEC.replace("keys:", "once: true, keys:")).unwrap();
    let good = Arrived::signed();
    let forged = good.with("date", "2018-12-16T08:30:01+09:00");
    assert_eq!(reason(check(&step, &forged).await), WRONG);
    assert!(matches!(check(&step, &good).await, Finding::Proven(_)));
    assert_eq!(reason(check(&step, &good).await), "the signature was used before");
}

#[tokio::test]
async fn keys_that_change_are_taken_over() {
    let site = Site::new("AKIAOTHER: another-secret-of-some-length\n");
    let step = site.compile(SPEC).unwrap();
    site.shared.start();
    let good = Arrived::signed();
    assert_eq!(reason(check(&step, &good).await), WRONG);
    site.write("{ not: [a, key] }", 0o640);
    site.write(&keys(), 0o640);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !matches!(check(&step, &good).await, Finding::Proven(_)) {
        assert!(std::time::Instant::now() < deadline, "the new keys were not read");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn mistakes_name_their_key_and_no_secret() {
    for (file, mode, spec, at, said) in [
        ("{}", 0o640, "{ keys: { file: keys.yaml } }", "schemes", "missing"),
        ("{}", 0o640, "{ schemes: 'a b', keys: { file: keys.yaml } }", "schemes[0]", "one word"),
        ("{}", 0o640, "{ schemes: A, within: 2d, keys: { file: keys.yaml } }", "within", "1s to 1d"),
        (
            "{}",
            0o640,
            "{ schemes: A, unsigned_body_from: v1, keys: { file: keys.yaml } }",
            "unsigned_body_from",
            "version",
        ),
        ("{}", 0o640, "{ schemes: A }", "keys.file", "exactly one"),
        ("{}", 0o640, "{ schemes: A, keys: { file: none.yaml } }", "keys.file", "does not exist"),
        ("{}", 0o644, SPEC, "keys.file", "chmod o-rwx"),
        ("A: hidden", 0o640, SPEC, "keys.file", "too short"),
        ("A: [hidden]", 0o640, SPEC, "keys.file", "odd form"),
        ("A: { secret: hidden-hidden-hidden, usr: x }", 0o640, SPEC, "keys.file", "odd form"),
        ("hidden", 0o640, SPEC, "keys.file", "not a mapping"),
        ("A: 'hidden", 0o640, SPEC, "keys.file", "not a mapping"),
        ("{}", 0o640, "{ schemes: A, keys: { file: keys.yaml, cache: 1s } }", "keys.cache", "remove it"),
        ("{}", 0o640, "{ schemes: A, keys: { redis: 'redis://h', cache: 2h } }", "keys.cache", "1h"),
        ("{}", 0o640, "{ schemes: A, keys: { redis: { url: 'redis://h', ca: x } } }", "keys.redis.ca", "rediss"),
    ] {
        let site = Site::new("{}");
        site.write(file, mode);
        let found = site.compile(spec).unwrap_err();
        assert_eq!(found.len(), 1, "{spec}: {found:?}");
        assert_eq!(found[0].path.to_string(), at, "{spec}");
        assert!(found[0].message.contains(said) && !found[0].message.contains("hidden"), "{}", found[0].message);
    }
}
