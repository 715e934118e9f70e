//! Live reload of a running Pylon: every way to ask for it, what it must not touch, and what it says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper that cannot go on fails its test")]

#[path = "reload/running.rs"]
mod running;
mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use running::{Running, ask, get, read_to};
use support::{Reply, Upstream, eventually, free_port, reply};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A route that answers with its own name.
fn route(name: &str) -> String {
    format!("routes: [{{ name: {name}, path: /{name}, answer: {{ body: {name} }} }}]\n")
}

#[tokio::test]
async fn a_file_that_is_replaced_is_taken_over() {
    let pylon = Running::start(&route("old")).await;
    pylon.until("/old", 200, "old").await;
    fs::write(pylon.path("next"), pylon.file(&route("new"))).unwrap();
    fs::rename(pylon.path("next"), pylon.path("pylon.yaml")).unwrap();
    pylon.until("/new", 200, "new").await;
    pylon.until("/old", 404, "").await;
    pylon.until_log("configuration taken over").await;
}

#[tokio::test]
async fn a_file_that_is_written_in_place_is_taken_over() {
    let pylon = Running::start(&route("old")).await;
    for name in ["new", "newer", "newest"] {
        pylon.write(&route(name));
        pylon.until(&format!("/{name}"), 200, name).await;
    }
    pylon.until("/old", 404, "").await;
}

/// Kubernetes mounts a `ConfigMap` so: the file links to `..data/`, and `..data` to the folder of the version.
#[tokio::test]
async fn a_link_that_is_swapped_is_taken_over() {
    let version = |pylon: &Running, folder: &str, name: &str| {
        fs::create_dir(pylon.path(folder)).unwrap();
        fs::write(pylon.path(folder).join("pylon.yaml"), pylon.file(&route(name))).unwrap();
        symlink(folder, pylon.path("..next")).unwrap();
        fs::rename(pylon.path("..next"), pylon.path("..data")).unwrap();
    };
    let mounted = |pylon: &Running| {
        fs::remove_file(pylon.path("pylon.yaml")).unwrap();
        version(pylon, "..2026_01", "old");
        symlink("..data/pylon.yaml", pylon.path("pylon.yaml")).unwrap();
    };
    let pylon = Running::start_in("", mounted).await;
    pylon.until("/old", 200, "old").await;
    for (folder, before, name) in [("..2026_02", "..2026_01", "new"), ("..2026_03", "..2026_02", "newer")] {
        version(&pylon, folder, name);
        fs::remove_dir_all(pylon.path(before)).unwrap();
        pylon.until(&format!("/{name}"), 200, name).await;
    }
    pylon.until("/old", 404, "").await;
}

/// A file that a value is read from lies elsewhere; only who asks for it gets its new contents for sure.
#[tokio::test]
async fn a_signal_or_a_call_reads_everything_again() {
    let routing = "routes: [{ name: word, path: /word, answer: { body: \"${file:${DIR}/words/word}\" } }]\n";
    let word = |pylon: &Running, word: &str| {
        fs::create_dir_all(pylon.path("words")).unwrap();
        fs::write(pylon.path("words/word"), word).unwrap();
    };
    let pylon = Running::start_in(routing, |pylon| word(pylon, "first")).await;
    pylon.until("/word", 200, "first").await;
    word(&pylon, "second");
    let (said, code) = pylon.reload();
    assert!(said.starts_with("configuration taken over: generation "), "{said}");
    assert_eq!((code, get(pylon.door, "/word").await), (Some(0), Some((200, "second".to_owned()))));
    let (said, code) = pylon.reload();
    assert!(said.starts_with("configuration unchanged: generation "), "{said}");
    assert_eq!(code, Some(0));
    word(&pylon, "third");
    pylon.hang_up();
    pylon.until("/word", 200, "third").await;
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_says_why() {
    let pylon = Running::start(&route("old")).await;
    assert_eq!(pylon.metric("pylon_config_last_reload_successful").await, "1");
    pylon.write("routes: [{ name: new, path: new, answer: {} }, { name: old, path: /old }]\n");
    let wrong = [
        "pylon.yaml:4:29  routes[0].path: `new` does not start with a slash; write `/new`",
        "pylon.yaml:4:48  routes[1]: the route does nothing; add one of `upstream`, `dynamic`, `instance`, `redirect`, \
         `static` and `answer`",
    ];
    pylon.until_log("configuration refused").await;
    for line in wrong {
        pylon.until_log(line).await;
    }
    let (said, code) = pylon.reload();
    assert!(wrong.iter().all(|line| said.contains(line)) && said.contains("stays in use"), "{said}");
    assert_eq!(code, Some(78));
    assert_eq!(pylon.metric("pylon_config_last_reload_successful").await, "0");
    assert_eq!(get(pylon.door, "/old").await, Some((200, "old".to_owned())));
    fs::remove_file(pylon.path("pylon.yaml")).unwrap();
    let (said, code) = pylon.reload();
    assert_eq!(code, Some(78), "{said}");
    assert_eq!(get(pylon.door, "/old").await, Some((200, "old".to_owned())));
    pylon.write(&route("new"));
    pylon.until("/new", 200, "new").await;
    pylon.until_log("configuration taken over").await;
    assert_eq!(pylon.metric("pylon_config_last_reload_successful").await, "1");
}

#[tokio::test]
async fn what_is_under_way_is_left_alone() {
    let (tap, slow) = reply(200).tapped("text/plain");
    let web = Upstream::named("web").at("/slow", slow).at("/socket", Reply::upgrade("websocket", b"hi")).start().await;
    let uri = web.uri();
    let pylon = Running::start(&format!(
        "upstreams: {{ web: {{ endpoints: \"{uri}\" }} }}\nroutes: [{{ name: web, path: /**, upstream: web }}]\n"
    ))
    .await;
    let open = async |request: &str| {
        let mut stream = TcpStream::connect(pylon.door).await.unwrap();
        stream.write_all(format!("{request}\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        stream
    };
    let mut slow = open("GET /slow HTTP/1.1").await;
    tap.send("before ");
    read_to(&mut slow, "before ").await;
    let mut socket = open("GET /socket HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket").await;
    assert!(read_to(&mut socket, "hi").await.starts_with("HTTP/1.1 101 "));
    for name in ["new", "newer"] {
        pylon.write(&route(name));
        pylon.until(&format!("/{name}"), 200, name).await;
    }
    pylon.until("/slow", 404, "").await;
    tap.send("after");
    drop(tap);
    assert!(read_to(&mut slow, "0\r\n\r\n").await.contains("after"));
    socket.write_all(b"still here").await.unwrap();
    read_to(&mut socket, "still here").await;
}

#[tokio::test]
async fn included_files_come_change_and_go() {
    let folder = |pylon: &Running| {
        fs::create_dir(pylon.path("conf.d")).unwrap();
    };
    let pylon = Running::start_in(&format!("include: [conf.d/*.yaml]\n{}", route("main")), folder).await;
    let write = |name: &str, text: &str| fs::write(pylon.path("conf.d").join(name), text).unwrap();
    write("one.yaml", &route("one"));
    pylon.until("/one", 200, "one").await;
    write("two.yaml", &route("two"));
    pylon.until("/two", 200, "two").await;
    write("one.yaml", &route("uno"));
    pylon.until("/uno", 200, "uno").await;
    pylon.until("/one", 404, "").await;
    fs::remove_file(pylon.path("conf.d/two.yaml")).unwrap();
    pylon.until("/two", 404, "").await;
    write("three.yaml", "routes: [{ name: uno, path: /three, answer: {} }]\n");
    pylon.until_log("conf.d/three.yaml:1:18  routes[0].name: ").await;
    assert_eq!(get(pylon.door, "/uno").await, Some((200, "uno".to_owned())));
    assert_eq!(get(pylon.door, "/main").await, Some((200, "main".to_owned())));
}

/// The process part is read at start; who changes it hears so, and the rest is taken over.
#[tokio::test]
async fn a_change_of_the_process_part_asks_for_a_restart() {
    let pylon = Running::start(&route("old")).await;
    let other = free_port();
    let text = pylon.file(&format!("workers: 2\n{}", route("new"))).replace("access: false", "level: warn");
    fs::write(pylon.path("pylon.yaml"), text.replace(&pylon.door.to_string(), &other.to_string())).unwrap();
    pylon.until("/new", 200, "new").await;
    let (said, code) = pylon.reload();
    assert!(said.contains("a restart is needed for: listeners, workers, log"), "{said}");
    assert_eq!(code, Some(0));
    assert!(get(other, "/new").await.is_none(), "the new address is served already");
    pylon.until_log("configuration taken over").await;
    let line = pylon.log().lines().find(|line| line.contains("configuration taken over")).unwrap().to_owned();
    assert!(["listeners", "workers", "log"].iter().all(|key| line.contains(key)), "{line}");
}

/// Requests on connections that stay open, while the routes change two hundred times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_reloads_rain() {
    let web = Upstream::named("web").start().await;
    let routing = |turn: usize| {
        let uri = web.uri();
        format!(
            "upstreams: {{ web: {{ endpoints: \"{uri}\" }} }}\nroutes:\n  - {{ name: web, path: /web/**, upstream: web }}\n  \
             - {{ name: turn, path: /turn, answer: {{ body: turn-{turn:03} }} }}\n"
        )
    };
    let pylon = Running::start(&routing(0)).await;
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = ["/turn", "/web/a", "/turn", "/web/b"]
        .map(|path| {
            let (stop, served, door) = (Arc::clone(&stop), Arc::clone(&served), pylon.door);
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(door).await.unwrap();
                while !stop.load(Ordering::Relaxed) {
                    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
                    let answer =
                        read_to(&mut stream, if path == "/turn" { "\r\n\r\nturn-" } else { "\r\n\r\nweb" }).await;
                    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
                    let turn = answer.split("\r\n\r\nturn-").nth(1).map_or(3, str::len);
                    stream.read_exact(&mut vec![0; 3 - turn]).await.unwrap();
                    served.fetch_add(1, Ordering::Relaxed);
                    // A breath, so that the machine has time for the reloads, too.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
        })
        .into();
    for turn in 1..=200 {
        fs::write(pylon.path("next"), pylon.file(&routing(turn))).unwrap();
        fs::rename(pylon.path("next"), pylon.path("pylon.yaml")).unwrap();
        let admin = pylon.admin;
        let call =
            format!("POST /api/reload HTTP/1.1\r\nHost: {admin}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let (status, said) = ask(admin, &call).await.unwrap();
        assert_eq!(status, 200, "{said}");
        assert_eq!(get(pylon.door, "/turn").await, Some((200, format!("turn-{turn:03}"))));
        // The clients go on asking meanwhile, however slow all of it is.
        eventually("clients to be served", || served.load(Ordering::Relaxed) >= 2 * turn).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
}

/// Certificates are taken over with the routes or not at all, and who replaces them hears why not.
#[tokio::test]
async fn certificates_are_read_again() {
    let make = |pylon: &Running, host: &str| {
        let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
        fs::write(pylon.path("site.crt"), made.cert.pem()).unwrap();
        fs::write(pylon.path("site.key"), made.signing_key.serialize_pem()).unwrap();
    };
    let tls = free_port();
    let file = |pylon: &Running, name: &str| {
        let listener =
            format!("{{ address: \"{tls}\", tls: {{ certificates: [{{ cert: site.crt, key: site.key }}] }} }}");
        let routes = format!(
            "routes:\n  - {{ name: {name}, path: /{name}, answer: {{ body: {name} }} }}\n  \
             - {{ name: a, host: a.example.org, path: /, answer: {{}} }}\n"
        );
        let text = pylon.file(&routes).replace("listeners: [", &format!("listeners: [{listener}, "));
        fs::write(pylon.path("pylon.yaml"), text).unwrap();
    };
    let pylon = Running::start_in("", |pylon| {
        make(pylon, "a.example.org");
        file(pylon, "old");
    })
    .await;
    // Nobody has to ask.
    make(&pylon, "a.example.org");
    pylon.until_log(&format!("certificates=[\"{tls}\"]")).await;
    make(&pylon, "b.example.org");
    file(&pylon, "new");
    let (said, code) = pylon.reload();
    assert!(said.contains("`site.crt` no longer has `a.example.org`, which routes are for"), "{said}");
    assert_eq!(code, Some(78));
    assert_eq!(get(pylon.door, "/old").await, Some((200, "old".to_owned())), "the routes stay, too");
    make(&pylon, "a.example.org");
    pylon.until("/new", 200, "new").await;
}
