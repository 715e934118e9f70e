use std::collections::BTreeMap;
use std::str::FromStr;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::config::expand::expand;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Site {
    #[serde(default)]
    upstreams: BTreeMap<String, Upstream>,
    #[serde(default)]
    routes: Vec<Route>,
    workers: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Upstream {
    endpoints: OneOrMany<StringOr<Endpoint>>,
    #[serde(default, deserialize_with = "string_or_struct_list")]
    spare: Vec<Endpoint>,
    #[serde(default)]
    balance: Balance,
    health: Option<Health>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Endpoint {
    url: String,
    #[serde(default)]
    weight: u8,
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.starts_with("http://") {
            return Err(format!("{text:?} has no scheme; write \"http://{text}\""));
        }
        Ok(Self { url: text.to_owned(), weight: 0 })
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Balance {
    #[default]
    RoundRobin,
    LeastRequests,
    Hash(String),
    Sticky {
        cookie: String,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Health {
    interval: u32,
    #[serde(default)]
    path: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Route {
    path: String,
    upstream: Option<String>,
    #[serde(default)]
    ports: BTreeMap<u16, (u8, u8)>,
    #[serde(default, deserialize_with = "string_or_struct_option")]
    fallback: Option<Endpoint>,
}

fn string_or_struct_option<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Endpoint>, D::Error> {
    string_or_struct(d).map(Some)
}

fn check(text: &str) -> (Option<Site>, String) {
    let document = Document::parse("t", text).unwrap();
    let (site, report) = read(&document, &KeyPath::root());
    (site, report.to_string())
}

fn problems(text: &str) -> String {
    check(text).1
}

fn fine(text: &str) -> Site {
    let (site, report) = check(text);
    assert_eq!(report, "");
    site.unwrap()
}

#[test]
fn a_sound_document_is_read() {
    let site = fine(
        "upstreams:\n  a: {endpoints: http://x, balance: least_requests}\n  b:\n    endpoints: [http://y, {url: z, weight: 2}]\n    \
         balance: {hash: client_ip}\n  c: {endpoints: {url: u}, balance: {sticky: {cookie: s}}}\n  d: {endpoints: [], balance: {round_robin: }}\n\
         routes: [{path: /, ports: {\"80\": [1, 2]}, fallback: http://f}]\nworkers: ~\n",
    );
    assert_eq!(site.upstreams["a"].endpoints[0].url, "http://x");
    assert_eq!(site.upstreams["b"].endpoints[1].weight, 2);
    assert_eq!(site.upstreams["b"].balance, Balance::Hash("client_ip".into()));
    assert_eq!(site.upstreams["c"].balance, Balance::Sticky { cookie: "s".into() });
    assert!(site.upstreams["d"].endpoints.is_empty());
    assert_eq!(site.routes[0].ports[&80], (1, 2));
    assert_eq!(fine("").routes, []);
}

#[test]
fn all_problems_are_found_at_once() {
    let (site, report) = check(
        "upstreams:\n  a:\n    endpoints: [x:80, {url: 5, wieght: 1}, {url: z, weight: 300}]\n    balance: least_request\n  \
         b:\n    endponts: http://x\n    health: {path: /}\nroutes:\n  - path: /\n    upsteam: a\n  - upstream: a\n  - path: [1]\n    \
         upstream: {}\n  - path: /x\n    ports: {http: [1, 2], \"81\": [1, x]}\n    fallback: {}\nworkers: many\n",
    );
    let expected = [
        r#"t:3:17  upstreams.a.endpoints[0]: "x:80" has no scheme; write "http://x:80""#,
        "t:3:29  upstreams.a.endpoints[1].url: expected a string, found the number 5; put it in quotes",
        "t:3:32  upstreams.a.endpoints[1].wieght: unknown key `wieght`; did you mean `weight`?",
        "t:3:61  upstreams.a.endpoints[2].weight: expected a whole number from 0 to 255, found the number 300",
        "t:4:14  upstreams.a.balance: unknown value `least_request`; did you mean `least_requests`?",
        "t:6:5  upstreams.b.endponts: unknown key `endponts`; did you mean `endpoints`?",
        "t:7:13  upstreams.b.health: missing key `interval`; add it",
        "t:10:5  routes[0].upsteam: unknown key `upsteam`; did you mean `upstream`?",
        "t:11:5  routes[1]: missing key `path`; add it",
        "t:12:11  routes[2].path: expected a string, found a list",
        "t:13:15  routes[2].upstream: expected a string, found a mapping",
        r#"t:15:13  routes[3].ports.http: expected a whole number from 0 to 65535, found the string "http""#,
        r#"t:15:37  routes[3].ports."81"[1]: expected a whole number from 0 to 255, found the string "x""#,
        "t:16:15  routes[3].fallback: missing key `url`; add it",
        r#"t:17:10  workers: expected a whole number from 0 to 65535, found the string "many""#,
    ];
    assert_eq!(report.lines().collect::<Vec<_>>(), expected);
    let site = site.expect("what is sound is there for later checks");
    assert_eq!(site.routes.len(), 2);
}

#[test]
fn types_are_told_in_plain_words() {
    for (text, expected) in [
        ("routes: x", r#"t:1:9  routes: expected a list, found the string "x"; write ["x"]"#),
        ("routes:", "t:1:1  routes: expected a list, found nothing; write a value, or remove the key"),
        ("routes: [[/, a]]", "t:1:10  routes[0]: expected a mapping, found a list"),
        ("routes: {}", "t:1:9  routes: expected a list, found a mapping"),
        ("upstreams: [a]", "t:1:12  upstreams: expected a mapping, found a list"),
        ("workers: 1.5", "t:1:10  workers: expected a whole number from 0 to 65535, found the number 1.5"),
        ("workers: true", "t:1:10  workers: expected a whole number from 0 to 65535, found the boolean true"),
        (
            "routes: [{path: true}]",
            "t:1:17  routes[0].path: expected a string, found the boolean true; put it in quotes",
        ),
        ("upstreams: {a: {endpoints: x}}", "t:1:28  upstreams.a.endpoints: \"x\" has no scheme; write \"http://x\""),
        (
            "upstreams: {a: {endpoints: []  , balance: hash}}",
            "t:1:43  upstreams.a.balance: `hash` needs a value; write it as `hash: …`",
        ),
        (
            "upstreams: {a: {endpoints: [], balance: {least_requests: 1}}}",
            "t:1:58  upstreams.a.balance.least_requests: `least_requests` takes no value; write just `least_requests`",
        ),
        (
            "upstreams: {a: {endpoints: [], balance: {hsh: 1}}}",
            "t:1:42  upstreams.a.balance.hsh: unknown value `hsh`; did you mean `hash`?",
        ),
        (
            "upstreams: {a: {endpoints: [], balance: {hash: 1}}}",
            "t:1:48  upstreams.a.balance.hash: expected a string, found the number 1; put it in quotes",
        ),
        (
            "upstreams: {a: {endpoints: [], balance: {hash: a, sticky: b}}}",
            "t:1:41  upstreams.a.balance: expected one of round_robin, least_requests, hash, sticky, found a mapping of 2 keys",
        ),
        (
            "upstreams: {a: {endpoints: [], balance: {sticky: {cokie: x}}}}",
            "t:1:51  upstreams.a.balance.sticky.cokie: unknown key `cokie`; did you mean `cookie`?",
        ),
        (
            "upstreams: {a: {endpoints: [], balance: zzzzz}}",
            "t:1:41  upstreams.a.balance: unknown value `zzzzz`; write one of round_robin, least_requests, hash, sticky",
        ),
        (
            "routes: [{path: a, ports: {\"1\": [1]}}]",
            "t:1:33  routes[0].ports.\"1\": expected a list of length 2, found 1 of them",
        ),
        ("zzz: 1", "t:1:1  zzz: unknown key `zzz`; write one of upstreams, routes, workers"),
        ("[]", "t:1:1  expected a mapping, found a list"),
    ] {
        assert_eq!(problems(text), expected, "{text}");
    }
}

#[test]
fn renamed_keys_name_their_new_place() {
    fn renamed(parent: &KeyPath, key: &str) -> Option<&'static str> {
        (parent.segments().len() == 2 && key == "check").then_some("health.interval")
    }
    let document = Document::parse("t", "upstreams: {a: {endpoints: [], check: 1}}\ncheck: 1\n").unwrap();
    let (_, report) = read_renamed::<Site>(&document, &KeyPath::root(), renamed);
    assert_eq!(
        report.to_string(),
        "t:1:32  upstreams.a.check: `check` was renamed `health.interval`; write that\n\
         t:2:1  check: unknown key `check`; write one of upstreams, routes, workers"
    );
}

#[test]
fn a_part_can_be_read_by_itself_and_parts_left_out() {
    let mut document = Document::parse("t", "a:\n  - {path: /, x: 1}\n  - {path: 1}\n  - {path: /b, y: 1}\n").unwrap();
    let at = KeyPath::root().then("a");
    document.omit(&at.then(0));
    let (routes, report) = read::<Vec<Route>>(&document, &at);
    let keys = "write one of path, upstream, ports, fallback";
    assert_eq!(
        report.to_string(),
        format!(
            "t:3:12  a[1].path: expected a string, found the number 1; put it in quotes\nt:4:16  a[2].y: unknown key `y`; {keys}"
        )
    );
    assert_eq!(routes.unwrap()[0].path, "/b");
    let (nothing, report) = read::<Site>(&document, &KeyPath::root().then("b"));
    assert!(nothing.is_none());
    assert_eq!(report.to_string(), "t:1:1  b: missing; add it");
}

#[test]
fn secrets_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "hunter\"2").unwrap();
    let text = format!("workers: ${{file:{0}}}\nupstreams: {{a: {{endpoints: '${{file:{0}}}'}}}}", file.display());
    let mut document = Document::parse("t", &text).unwrap();
    assert!(expand(&mut document, &BTreeMap::new()).report.is_empty());
    let (_, report) = read::<Site>(&document, &KeyPath::root());
    assert_eq!(
        report.to_string(),
        "t:1:10  workers: expected a whole number from 0 to 65535, found the string \"***\"\n\
         t:2:28  upstreams.a.endpoints: \"***\" has no scheme; write \"http://***\""
    );
}

#[test]
fn a_variable_that_is_not_set_is_told_once() {
    let mut document =
        Document::parse("t", "workers: ${N}\nupstreams: {a: {endpoints: ['${U:?a URL}', x]}}\n").unwrap();
    let expansion = expand(&mut document, &BTreeMap::new());
    assert_eq!((expansion.unset.len(), expansion.report.len()), (1, 1));
    let (_, report) = read::<Site>(&document, &KeyPath::root());
    assert_eq!(report.to_string(), "t:2:44  upstreams.a.endpoints[1]: \"x\" has no scheme; write \"http://x\"");
}

#[test]
fn a_hopeless_document_ends() {
    let text = format!("routes:\n{}", "  - {x: 1}\n".repeat(2000));
    let (site, report) = check(&text);
    assert!(site.is_none());
    assert!(report.ends_with("there are more problems than shown here; mend these first"));
}

fn text() -> impl Strategy<Value = String> {
    "[a-z/:\" '{}#\n-]{0,8}"
}

prop_compose! {
    fn site()(
        upstreams in prop::collection::btree_map(text(), (prop::collection::vec(any::<u8>(), 0..3), prop::option::of(any::<u32>()), text()), 0..4),
        routes in prop::collection::vec((text(), prop::option::of(text()), any::<u16>()), 0..4),
        workers in any::<Option<u16>>(),
    ) -> Site {
        let upstreams = upstreams.into_iter().map(|(name, (weights, health, hash))| {
            let endpoints = weights.into_iter().map(|weight| StringOr(Endpoint { url: "http://x".into(), weight })).collect();
            let health = health.map(|interval| Health { interval, path: None });
            (name, Upstream { endpoints, spare: Vec::new(), balance: Balance::Hash(hash), health })
        });
        let routes = routes.into_iter().map(|(path, upstream, port)| {
            let fallback = Some(Endpoint { url: "http://f".into(), weight: 0 });
            Route { path, upstream, ports: [(port, (1, 2))].into(), fallback }
        });
        Site { upstreams: upstreams.collect(), routes: routes.collect(), workers }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(site in site()) {
        // JSON is YAML, and can write an enum as a mapping.
        let text = serde_json::to_string(&site).unwrap();
        prop_assert_eq!(fine(&text), site);
    }

    #[test]
    fn any_document_is_read_or_refused(parts in prop::collection::vec(prop::sample::select(vec![
        "routes", "upstreams", "workers", "path", "endpoints", "balance", "hash", "a", ": ", "\n", "\n  ", "\n    ", "- ", "1", "[", "]", "{", "}", ",",
    ]), 0..40)) {
        if let Ok(document) = Document::parse("t", &parts.concat()) {
            let (site, report) = read::<Site>(&document, &KeyPath::root());
            prop_assert!(site.is_some() || !report.is_empty());
        }
    }
}
