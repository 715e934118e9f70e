//! What the built-in systems come to, as `pylon print-config` says it, and the schema of all that can be written.
//!
//! `UPDATE_GOLDEN=1 cargo test --test effective` rewrites the files in `effective`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper that cannot go on fails its test")]

#[path = "support/schema.rs"]
mod schema_check;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use schema_check::check;
use serde_json::Value;

/// A value for every variable of `conf/pai.yaml`; a new one there needs one here.
const ALL: [(&str, &str); 27] = [
    ("ALERT_MANAGER_URI", "http://10.0.0.1:9093"),
    ("ALERT_MANGER_URI", "http://10.0.0.1:1"),
    ("CRT_NAME", "site.crt"),
    ("DOCKER_CACHE_PLUGIN", "http://10.0.0.2:5000"),
    ("DSHUTTLE_URI", "http://10.0.0.3:19999"),
    ("GRAFANA_URI", "http://10.0.0.4:3000"),
    ("K8S_API_SERVER_URI", "http://10.0.0.5:8080"),
    ("K8S_DASHBOARD_URI", "https://10.0.0.6:9090"),
    ("KEY_NAME", "site.key"),
    ("MARKETPLACE_API_URI", "http://10.0.0.7:9292"),
    ("MARKETPLACE_WEBPORTAL_PLUGIN", "http://10.0.0.8:9293"),
    ("PAI_WEB_PORTAL_URI", "http://10.0.0.9:9286"),
    ("PROMETHEUS_URI", "http://10.0.0.10:9091"),
    ("PYLON_ADMIN_LISTEN", "127.0.0.1:19180"),
    ("PYLON_ADMIN_TOKEN", "a-token-that-is-not-shown"),
    ("PYLON_CERT_DIR", "/etc/pylon/tls"),
    ("PYLON_CONF_ETAG", "rules-7"),
    ("PYLON_DYNAMIC_ALLOW", "10.0.0.0/8:1-65535,*.cluster.local:8042"),
    ("PYLON_LISTEN", "0.0.0.0:8080"),
    ("PYLON_LISTEN_LEGACY", "0.0.0.0"),
    ("PYLON_LISTEN_TLS", "0.0.0.0:8443"),
    ("PYLON_TRUSTED_PROXIES", "10.1.0.0/16,10.2.0.1"),
    ("REST_SERVER_URI", "http://rest-server:9186"),
    ("SSL_ENABLE", "true"),
    ("WEBHDFS_LEGACY_PORT", "50070"),
    ("WEBHDFS_URI", "http://10.0.0.11:5070"),
    ("YARN_WEB_PORTAL_URI", "http://10.0.0.12:8088"),
];

fn pylon(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let binary = std::env::var_os("PYLON_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_pylon").into());
    let run = Command::new(binary).args(arguments).env_clear().envs(variables.iter().copied()).output().unwrap();
    assert!(run.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

fn here(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn expect(golden: &str, got: &str) {
    let path = here("tests/effective").join(golden);
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        fs::write(&path, got).unwrap();
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    let at = wanted.lines().zip(got.lines()).take_while(|(a, b)| a == b).count();
    let line = |text: &str| text.lines().nth(at).unwrap_or("(the end)").to_owned();
    assert!(wanted == got, "{golden}, line {}:\n  wanted: {}\n  got:    {}", at + 1, line(&wanted), line(got));
}

#[test]
fn without_variables_only_what_needs_none_is_left() {
    expect("pai-without-variables.yaml", &pylon(&["print-config", "--system", "pai"], &[]));
}

#[test]
fn with_all_variables_nothing_is_left_out() {
    let got = pylon(&["print-config", "--system", "pai"], &ALL);
    assert!(!got.contains("left out") && !got.contains("${"), "{got}");
    expect("pai-with-all-variables.yaml", &got);
}

#[test]
fn all_variables_are_all_there_are() {
    let text = fs::read_to_string(here("conf/pai.yaml")).unwrap();
    let in_values = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let names = in_values
        .flat_map(|line| line.split("${").skip(1))
        .map(|rest| rest.split(|c: char| c != '_' && !c.is_ascii_alphanumeric()).next().unwrap_or_default().to_owned());
    let known = ALL.iter().map(|(name, _)| (*name).to_owned());
    assert_eq!(names.collect::<BTreeSet<_>>(), known.collect::<BTreeSet<_>>());
}

/// Bundles are spread over their routes already, so `use` goes; all else reads as the same configuration.
#[test]
fn the_effective_configuration_is_a_configuration_with_the_same_effect() {
    let first = pylon(&["print-config", "--system", "pai"], &ALL);
    let mut value: serde_yaml::Value = serde_yaml::from_str(&first).unwrap();
    for route in value["routes"].as_sequence_mut().unwrap() {
        route.as_mapping_mut().unwrap().shift_remove("use");
    }
    let expected = serde_yaml::to_string(&value).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("effective.yaml");
    fs::write(&file, &expected).unwrap();
    let second = pylon(&["print-config", "-c", file.to_str().unwrap()], &[]);
    let differs = second.lines().zip(expected.lines()).find(|(got, wanted)| got != wanted);
    assert!(second == expected, "{differs:?}");
}

fn schema() -> Value {
    serde_json::from_str(&pylon(&["schema"], &[])).unwrap()
}

/// Calls `each` for every schema in a schema, with where it stands.
fn walk(value: &Value, at: &str, each: &mut dyn FnMut(&Value, &str)) {
    each(value, at);
    match value {
        Value::Object(map) => map.iter().for_each(|(key, inner)| walk(inner, &format!("{at}/{key}"), each)),
        Value::Array(list) => list.iter().enumerate().for_each(|(i, inner)| walk(inner, &format!("{at}/{i}"), each)),
        _ => {}
    }
}

#[test]
fn the_schema_explains_every_key_and_takes_no_other() {
    let schema = schema();
    assert!(schema["$schema"].as_str().unwrap().starts_with("https://json-schema.org/"));
    let mut keys = 0;
    walk(&schema, "#", &mut |node, at| {
        if let Some(reference) = node.get("$ref").and_then(Value::as_str) {
            let target = reference.strip_prefix('#').and_then(|pointer| schema.pointer(pointer));
            assert!(target.is_some(), "{at}: {reference} is nowhere");
        }
        if at.ends_with("/properties") {
            return;
        }
        if let Some(properties) = node.get("properties").and_then(Value::as_object) {
            assert_eq!(node["additionalProperties"], false, "{at} takes unknown keys");
            for (key, property) in properties {
                let text = property["description"].as_str().unwrap_or_default();
                assert!(text.len() > 8 && text.ends_with(['.', ')']), "{at}: `{key}` is not explained: {text:?}");
                keys += 1;
            }
        }
    });
    assert!(keys > 80, "{keys} keys");
}

/// The keys of each struct in the source, by its name, as they are written in a file.
fn keys_in_the_source() -> BTreeMap<String, BTreeSet<String>> {
    let mut source = String::new();
    for folder in ["src/config", "src/config/auth_spec"] {
        let files = fs::read_dir(here(folder)).unwrap().map(|entry| entry.unwrap().path());
        for file in files.filter(|path| path.to_string_lossy().ends_with("spec.rs") || folder.ends_with("auth_spec")) {
            source.push_str(&fs::read_to_string(file).unwrap());
        }
    }
    let (mut structs, mut name, mut renamed) = (BTreeMap::<String, BTreeSet<String>>::new(), None, None);
    for line in source.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("pub struct ").filter(|rest| rest.ends_with('{')) {
            name = Some(rest.trim_end_matches([' ', '{']).to_owned());
        } else if line == "}" {
            name = None;
        } else if let Some(rest) = line.strip_prefix("#[serde(rename = \"") {
            renamed = rest.split('"').next().map(str::to_owned);
        } else if let (Some(name), Some(rest)) = (&name, line.strip_prefix("pub ")) {
            let field = rest.split(':').next().unwrap_or_default().to_owned();
            structs.entry(name.clone()).or_default().insert(renamed.take().unwrap_or(field));
        }
    }
    structs
}

#[test]
fn the_schema_has_every_key_of_the_source() {
    let schema = schema();
    let structs = keys_in_the_source();
    assert!(structs.len() > 30 && structs["RouteSpec"].contains("use"), "{structs:?}");
    for (name, keys) in structs {
        let node = if name == "Spec" { &schema } else { &schema["$defs"][&name] };
        let known = node["properties"].as_object().unwrap_or_else(|| panic!("no {name} in the schema"));
        assert_eq!(known.keys().cloned().collect::<BTreeSet<_>>(), keys, "{name}");
    }
}

/// The files that come along, and mistakes in them: editors must accept the one and mark the other.
#[test]
fn the_schema_takes_the_files_that_come_along() {
    let schema = schema();
    let files = fs::read_dir(here("conf")).unwrap().map(|entry| entry.unwrap().path());
    let mut count = 0;
    for path in files.filter(|path| path.extension().is_some_and(|ext| ext == "yaml")) {
        let good: Value = serde_yaml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        check(&schema, &schema, &good).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        count += 1;
    }
    assert!(count >= 2);
    for wrong in [
        "lisstners: []",
        "routes: {}",
        "routes: [{ name: [a] }]",
        "routes: [{ adapt: [css] }]",
        "upstreams: { a: { endpoints: [{ weight: 1 }] } }",
        "upstreams: { a: { endpoints: [{ url: ftp://web }] } }",
        "listeners: [{ address: '[::]:80', dedicated: maybe }]",
    ] {
        let value: Value = serde_yaml::from_str(wrong).unwrap();
        assert!(check(&schema, &schema, &value).is_err(), "{wrong}");
    }
}
