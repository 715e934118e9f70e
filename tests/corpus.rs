//! The corpus of the fuzz targets, replayed: what once was found stays found.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper that cannot go on fails its test")]

#[path = "fuzz/checks.rs"]
mod checks;

use std::path::Path;

/// Holds some bytes against what must be true of any.
type Check = fn(&[u8]);

#[test]
fn the_corpus_holds() {
    let targets: [(&str, Check); 7] = [
        ("proxy_header", checks::proxy_header),
        ("request", checks::request),
        ("chunks", checks::chunks),
        ("frames", checks::frames),
        ("path", checks::path),
        ("pattern", checks::pattern),
        ("config", checks::config),
    ];
    for (name, check) in targets {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
        let mut replayed = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let data = std::fs::read(&path).unwrap();
            // Each is also cut short and broken in each place: neighbours of what is good are where parsers go wrong.
            check(&data);
            for at in 0..data.len().min(300) {
                check(&data[..at]);
                let mut broken = data.clone();
                broken[at] ^= 0x21;
                if name != "config" || at % 16 == 0 {
                    check(&broken);
                }
            }
            replayed += 1;
        }
        assert!(replayed >= 3, "{} has {replayed} files", folder.display());
    }
}
