//! A running Pylon whose files the test edits, and the little of a client that it needs.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::support::{free_port, within};

/// A running Pylon whose files the test edits.
pub(crate) struct Running {
    child: Child,
    dir: TempDir,
    /// Where it serves.
    pub(crate) door: SocketAddr,
    /// Its admin port.
    pub(crate) admin: SocketAddr,
}

impl Running {
    /// Starts `pylon run -c pylon.yaml` with this routing part; `prepare` sees the folder before.
    pub(crate) async fn start_in(routing: &str, prepare: impl FnOnce(&Running)) -> Running {
        let (dir, door, admin) = (tempfile::tempdir().unwrap(), free_port(), free_port());
        let idle = Command::new("true").spawn().unwrap();
        let mut running = Running { child: idle, dir, door, admin };
        running.child.wait().unwrap();
        running.write(routing);
        prepare(&running);
        let log = fs::File::create(running.path("log")).unwrap();
        let mut command = running.pylon(&["run", "-c", "pylon.yaml"]);
        command.env("DIR", running.dir.path()).stdout(log.try_clone().unwrap()).stderr(log);
        running.child = command.spawn().unwrap();
        running.until("/healthz", 200, "Pylon ready.").await;
        running
    }

    pub(crate) async fn start(routing: &str) -> Running {
        Self::start_in(routing, |_| {}).await
    }

    pub(crate) fn pylon(&self, arguments: &[&str]) -> Command {
        let binary = std::env::var_os("PYLON_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_pylon").into());
        let mut command = Command::new(binary);
        command.args(arguments).current_dir(&self.dir).env_clear().stdin(Stdio::null());
        command
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The whole file for this routing part.
    pub(crate) fn file(&self, routing: &str) -> String {
        let (door, admin) = (self.door, self.admin);
        format!(
            "listeners: [{{ address: \"{door}\" }}]\nadmin: {{ address: \"{admin}\" }}\nlog: {{ access: false }}\n{routing}"
        )
    }

    /// Writes the file in place.
    pub(crate) fn write(&self, routing: &str) {
        fs::write(self.path("pylon.yaml"), self.file(routing)).unwrap();
    }

    /// `pylon reload`, with what it prints and its status.
    pub(crate) fn reload(&self) -> (String, Option<i32>) {
        let Output { status, stdout, stderr } =
            self.pylon(&["reload", "--admin", &self.admin.to_string()]).output().unwrap();
        (String::from_utf8([stdout, stderr].concat()).unwrap(), status.code())
    }

    pub(crate) fn hang_up(&self) {
        let kill = Command::new("sh").arg("-c").arg(format!("kill -HUP {}", self.child.id())).status();
        assert!(kill.unwrap().success());
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Asks until it answers so.
    pub(crate) async fn until(&self, path: &str, status: u16, body: &str) {
        let answers_so = async || get(self.door, path).await.is_some_and(|got| got.0 == status && got.1.contains(body));
        poll(&format!("{status} {body:?} at {path}"), answers_so).await;
    }

    pub(crate) async fn until_log(&self, text: &str) {
        poll(&format!("{text:?} in the log"), async || self.log().contains(text)).await;
    }

    pub(crate) async fn metric(&self, name: &str) -> String {
        let metrics = get(self.admin, "/metrics").await.unwrap().1;
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in\n{metrics}")).to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let telling: Vec<&str> = log.lines().filter(|line| !line.contains("request failed")).collect();
            eprintln!("--- what pylon logged ---\n{}\n---", telling.join("\n"));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn poll(what: &str, condition: impl AsyncFn() -> bool) {
    within(what, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// One request on a connection of its own: status and body, or nothing where nobody listens.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")).await
}

pub(crate) async fn ask(address: SocketAddr, request: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// Reads from a connection until `mark` has come.
pub(crate) async fn read_to(stream: &mut TcpStream, mark: &str) -> String {
    let mut text = String::new();
    within(mark, async {
        let mut part = [0; 4096];
        while !text.contains(mark) {
            let length = stream.read(&mut part).await.unwrap();
            assert!(length > 0, "the connection was closed after {text:?}");
            text.push_str(&String::from_utf8_lossy(&part[..length]));
        }
    })
    .await;
    text
}
