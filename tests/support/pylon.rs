//! The real binary, run for one test.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::TcpSocket;

use super::door::Door;
use super::tls::Certificate;

/// Pylon must be ready after this time. Generous, as a name that nobody answers for takes seconds by itself.
const START: Duration = Duration::from_secs(60);

/// A Pylon that is being described; [`Launch::start`] runs it.
pub(crate) struct Launch {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    config: Option<String>,
    tls: Option<Certificate>,
    legacy: bool,
}

/// A running Pylon. As a [`Door`] it is its plain listener.
pub(crate) struct Pylon {
    running: Running,
    plain: Door,
    https: Option<Door>,
    legacy: Option<Door>,
    admin: SocketAddr,
}

/// The process and where its log goes; ends with its owner, and shows the log when the test fails.
struct Running {
    child: Child,
    dir: TempDir,
}

/// How a Pylon ended that did not start.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) log: String,
}

impl Pylon {
    /// `pylon run` with no file: the routes come from the environment.
    pub(crate) fn standalone() -> Launch {
        Launch { arguments: vec!["run".into()], environment: Vec::new(), config: None, tls: None, legacy: false }
    }

    /// `pylon run -c FILE` with this text in the file, below listeners of the harness's choosing.
    pub(crate) fn with_config(yaml: &str) -> Launch {
        Launch { config: Some(yaml.to_owned()), ..Pylon::standalone() }
    }

    /// The TLS listener.
    pub(crate) fn https(&self) -> &Door {
        self.https.as_ref().unwrap()
    }

    /// The legacy WebHDFS listener.
    pub(crate) fn legacy(&self) -> &Door {
        self.legacy.as_ref().unwrap()
    }

    /// The admin listener.
    pub(crate) fn admin(&self) -> Door {
        Door::new(self.admin, None)
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.running.log()
    }
}

impl Deref for Pylon {
    type Target = Door;

    fn deref(&self) -> &Door {
        &self.plain
    }
}

impl Launch {
    /// Sets a variable; there are none but these and the listeners' ones.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Launch {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Terminates TLS on a listener of its own, as `SSL_ENABLE` says.
    pub(crate) fn tls(mut self) -> Launch {
        let certificate = Certificate::new();
        let dir = certificate.dir().to_owned();
        self.tls = Some(certificate);
        self.env("SSL_ENABLE", "true")
            .env("CRT_NAME", Certificate::CRT)
            .env("KEY_NAME", Certificate::KEY)
            .env("PYLON_CERT_DIR", dir)
    }

    /// Opens the legacy WebHDFS port.
    pub(crate) fn legacy(mut self) -> Launch {
        self.legacy = true;
        self
    }

    /// Runs it until it is ready.
    pub(crate) async fn start(self) -> Pylon {
        for _ in 0..3 {
            match self.attempt().await {
                Ok(pylon) => return pylon,
                Err(ended) if ended.log.contains("in use") => {}
                Err(ended) => panic!("pylon did not start, but ended with {:?}:\n{}", ended.code, ended.log),
            }
        }
        panic!("no free port found");
    }

    /// Runs it and waits for it to give up.
    pub(crate) async fn fails(self) -> Ended {
        match self.attempt().await {
            Ok(pylon) => panic!("pylon started:\n{}", pylon.log()),
            Err(ended) => ended,
        }
    }

    async fn attempt(&self) -> Result<Pylon, Ended> {
        let [plain, tls, admin, legacy] = std::array::from_fn(|_| free_port());
        let mut running = self.spawn(plain, tls, admin, legacy);
        let pylon = |running| Pylon {
            running,
            plain: Door::new(plain, None),
            https: self.tls.as_ref().map(|certificate| Door::new(tls, Some(certificate.connector()))),
            legacy: self.legacy.then(|| Door::new(legacy, None)),
            admin,
        };
        let deadline = Instant::now() + START;
        loop {
            if let Some(status) = running.ended() {
                return Err(Ended { code: status.code(), log: running.log() });
            }
            if ready(&Door::new(plain, None)).await {
                return Ok(pylon(running));
            }
            assert!(Instant::now() < deadline, "pylon is not ready after {START:?}:\n{}", running.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn spawn(&self, plain: SocketAddr, tls: SocketAddr, admin: SocketAddr, legacy: SocketAddr) -> Running {
        let dir = tempfile::tempdir().unwrap();
        let log = File::create(dir.path().join("log")).unwrap();
        let mut command = Command::new(binary());
        command.args(&self.arguments).current_dir(dir.path()).env_clear();
        command.env("PYLON_LISTEN", plain.to_string()).env("PYLON_ADMIN_LISTEN", admin.to_string());
        if self.tls.is_some() {
            command.env("PYLON_LISTEN_TLS", tls.to_string());
        }
        if self.legacy {
            command.env("WEBHDFS_LEGACY_PORT", legacy.port().to_string());
        }
        if let Some(config) = &self.config {
            let listeners = format!("listeners: [{{ address: \"{plain}\" }}]\nadmin: {{ address: \"{admin}\" }}\n");
            std::fs::write(dir.path().join("pylon.yaml"), format!("{listeners}{config}")).unwrap();
            command.args(["-c", "pylon.yaml"]);
        }
        command.envs(self.environment.iter().cloned());
        let child = command.stdin(std::process::Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        Running { child: child.unwrap(), dir }
    }
}

impl Running {
    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    fn log(&self) -> String {
        let bytes = std::fs::read(self.dir.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what pylon logged ---\n{}---", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn ready(door: &Door) -> bool {
    let attempt = async {
        let mut connection = door.try_connect().await.ok()?;
        connection.wire.send(door.request("GET", "/healthz").bytes()).await.ok()?;
        let head = connection.wire.head().await.ok()?;
        let body = connection.wire.exactly("Pylon ready.".len()).await.ok()?;
        Some(head.word(1) == "200" && body == b"Pylon ready.")
    };
    tokio::time::timeout(Duration::from_secs(2), attempt).await == Ok(Some(true))
}

fn binary() -> std::ffi::OsString {
    std::env::var_os("PYLON_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_pylon").into())
}

/// A port of 127.0.0.1 on which nobody listens, from below the range that the kernel hands out by itself.
///
/// It is bound, and not listened on: a process that is started at this moment has a copy of the socket until it becomes
/// another program, and that keeps nobody from listening.
pub(crate) fn free_port() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = u16::try_from(std::process::id() % 1000).unwrap_or_default() * 18;
    for _ in 0..1000 {
        let port = 12_000 + (spread + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        if socket.bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free port");
}
