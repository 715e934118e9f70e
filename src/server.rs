//! The process: runtimes, listeners, signals, start and stop.

mod recording;
mod signals;
mod sockets;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora::apps::HttpServerOptions;
use pingora::connectors::ConnectorOptions;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use pingora::services::listening::Service as ProxyService;
use pingora_proxy::{HttpProxy, ProcessCustomSession, ProxyServiceBuilder};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::admin::{Admin, Sources};
use crate::config::{Loaded, Workers};
use crate::lifecycle::Lifecycle;
use recording::Recording;
use signals::Signals;
use sockets::{Sockets, claim, upgrade_socket};

use crate::instance::{Registry, RegistryOptions};
use crate::listen::{EdgeService, Handover, Listeners, connections_limit};
use crate::observe::{Logs, Metrics};
use crate::proxy::Gateway;
use crate::reload::{Reloader, Source, compile_all, start_upstreams};
use crate::snapshot::Snapshot;
use crate::upstream::{Http1, Resolver};

/// The status of a wrong configuration (`EX_CONFIG` of sysexits.h).
pub const BAD_CONFIG: u8 = 78;

/// Why a process does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] crate::config::Report),
    /// The system refuses something.
    #[error("{0}")]
    System(String),
}

impl StartError {
    /// The exit status that says so.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) => ExitCode::from(BAD_CONFIG),
            Self::System(_) => ExitCode::FAILURE,
        }
    }
}

/// A process that is ready to serve.
pub struct Process {
    listeners: Arc<Listeners>,
    sockets: Sockets,
    metrics: Metrics,
    loaded: Loaded,
    reloader: Arc<Reloader>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    control: tokio::runtime::Runtime,
    resolver: Resolver,
    recording: Recording,
    instances: Arc<Registry>,
    lifecycle: Arc<Lifecycle>,
    hangups: Signal,
}

impl Process {
    /// Reads and compiles the configuration, claims the addresses, looks upstreams up; nothing is served yet. With
    /// `upgrade`, the addresses are those of the running process, once that hands them over.
    ///
    /// # Errors
    /// What is wrong, and the cure.
    pub fn prepare(source: &Source, upgrade: bool) -> Result<Self, StartError> {
        raise_file_limit();
        let control = control_runtime()?;
        // From here on a HUP is kept for when it can be served, as is USR1; by themselves they would end the process.
        let handled =
            control.block_on(async { Ok((signal(SignalKind::hangup())?, signal(SignalKind::user_defined1())?)) });
        let (hangups, reopens) =
            handled.map_err(|error: std::io::Error| StartError::System(format!("cannot handle signals: {error}")))?;
        let first_look = source.fingerprint(&[]);
        let loaded = source.load()?;
        let others = source.others(&loaded);
        // A change while the files were being read is seen by the first look of the watch.
        let seen = if first_look == source.fingerprint(&[]) { source.fingerprint(&others) } else { first_look };
        let recording = Recording::start(&loaded)?;
        control.spawn(reopen_on_signal(Arc::clone(&recording.logs), reopens));
        let metrics = Metrics::default();
        let (listeners, snapshot) = compile_all(&loaded, None, &metrics)?;
        listeners.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
        let listeners = Arc::new(listeners);
        let mut sockets = control.block_on(claim(&loaded, &listeners, upgrade))?;
        let admin = sockets.admin.take();
        let resolver = control
            .block_on(async { Resolver::new(&loaded.process.resolver) })
            .map_err(|error| StartError::System(format!("resolver: {error}")))?;
        let instances = control.block_on(Registry::start(RegistryOptions::compile(&loaded)?));
        let instances = Arc::new(instances.map_err(StartError::System)?);
        control.block_on(start_upstreams(&snapshot, None, &resolver));
        say_left_out(&snapshot);
        metrics.config_in_use(snapshot.generation, &snapshot.hash);
        let snapshot = Arc::new(ArcSwap::from_pointee(snapshot));
        let reloader = Arc::new(Reloader::new(
            source.clone(),
            loaded.clone(),
            seen,
            Arc::clone(&snapshot),
            Arc::clone(&listeners),
            resolver.clone(),
            metrics.clone(),
        ));
        let process = Self {
            listeners,
            sockets,
            metrics,
            loaded,
            reloader,
            snapshot,
            control,
            resolver,
            recording,
            instances,
            lifecycle: Arc::default(),
            hangups,
        };
        if let Some(socket) = admin {
            process.start_admin(socket)?;
        }
        Ok(process)
    }

    fn start_admin(&self, socket: std::net::TcpListener) -> Result<(), StartError> {
        let admin = Admin::new(self.sources())
            .ok_or_else(|| StartError::System("admin: the system gives no random numbers".to_owned()))?;
        let socket = self.control.block_on(async { tokio::net::TcpListener::from_std(socket) });
        let socket = socket.map_err(|error| StartError::System(format!("admin: {error}")))?;
        self.control.spawn(admin.serve(socket));
        Ok(())
    }

    fn sources(&self) -> Sources {
        Sources {
            reloader: Arc::clone(&self.reloader),
            metrics: self.metrics.clone(),
            instances: Arc::clone(&self.instances),
            listeners: Arc::clone(&self.listeners),
            lifecycle: Arc::clone(&self.lifecycle),
            logs: Arc::clone(&self.recording.logs),
            recorder: Arc::clone(&self.recording.recorder),
            exporter: self.recording.exporter.clone(),
            workers: self.workers(),
            connections_limit: connections_limit(),
        }
    }

    /// How many threads carry requests.
    fn workers(&self) -> usize {
        match self.loaded.process.workers {
            Workers::Auto => std::thread::available_parallelism().map_or(1, usize::from),
            Workers::Exactly(count) => usize::from(count.max(1)),
        }
    }

    /// The addresses that are served.
    #[must_use]
    pub fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// Serves until a signal says stop.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn serve(self) -> Result<(), StartError> {
        let grace = self.loaded.process.grace_period.as_ref().map_or(Duration::from_secs(30), |g| g.duration());
        let threads = self.workers();
        let conf = ServerConf {
            threads,
            // Idle upstream connections are watched by a task; on runtimes of one thread each, it often still holds a
            // connection when another thread wants to reuse it, and a new one has to be made.
            work_stealing: true,
            upstream_keepalive_pool_size: 256,
            ..ServerConf::default()
        };
        let mut server = Server::new_with_opt_and_conf(None, conf);
        server.bootstrap();
        let proxy = self.proxy(&server.configuration);
        server.add_service(EdgeService {
            sockets: self.sockets.data,
            taken: self.sockets.taken,
            proxy: Some(proxy),
            metrics: self.metrics.clone(),
            lifecycle: Arc::clone(&self.lifecycle),
            acceptors: threads,
        });
        self.control.spawn(Arc::clone(&self.reloader).watch());
        self.control.spawn(reload_on_hangup(Arc::clone(&self.reloader), self.hangups));
        let addresses: Vec<String> = self.listeners.all().iter().map(|l| l.address.to_string()).collect();
        tracing::info!(version = env!("CARGO_PKG_VERSION"), workers = threads, listening = ?addresses, "ready");
        server.run(RunArgs {
            shutdown_signal: Box::new(Signals {
                lifecycle: Arc::clone(&self.lifecycle),
                recording: self.recording.clone(),
                grace,
                upgrade_socket: upgrade_socket(&self.loaded),
                sockets: Arc::new(self.sockets.again.into()),
            }),
        });
        Ok(())
    }

    /// Pingora's proxy around our data path, and where it comes out for the connection loop.
    fn proxy(&self, conf: &Arc<ServerConf>) -> (ProxyService<Proxy>, oneshot::Receiver<Arc<Proxy>>) {
        let gateway = Gateway {
            snapshot: Arc::clone(&self.snapshot),
            listeners: Arc::clone(&self.listeners),
            instances: Arc::clone(&self.instances),
            resolver: self.resolver.clone(),
            metrics: self.metrics.clone(),
            journal: self.recording.journal.clone(),
            traced: self.recording.traced,
            lifecycle: Arc::clone(&self.lifecycle),
        };
        let (handover, handed) = Handover::<Proxy>::new();
        let mut accepts = HttpServerOptions::default();
        accepts.force_custom = true;
        let give: ProcessCustomSession<Gateway, Http1> = Arc::new(move |proxy, _stream, _shutdown| {
            handover.give(proxy);
            Box::pin(async { None })
        });
        let service = ProxyServiceBuilder::new(conf, gateway)
            .custom(Http1::new(ConnectorOptions::from_server_conf(conf)), give)
            .server_options(accepts)
            .build();
        (service, handed)
    }
}

/// Pingora's proxy around our data path.
type Proxy = HttpProxy<Gateway, Http1>;

/// Lets the process open as many files as the system allows: each connection is one.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::debug!(%error, "the limit of open files stays");
    }
}

/// The runtime of all that is not a request: admin port, reload, look-ups, signals.
fn control_runtime() -> Result<tokio::runtime::Runtime, StartError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(|error| StartError::System(format!("cannot start threads: {error}")))
}

/// Says what was left out: the causes, and how many routes followed.
fn say_left_out(snapshot: &Snapshot) {
    let (routes, causes): (Vec<_>, Vec<_>) = snapshot.left_out.iter().partition(|out| out.kind == "route");
    for out in causes {
        tracing::info!("{} `{}` is left out: {}", out.kind, out.name, out.reason);
    }
    if !routes.is_empty() {
        let names: Vec<&str> = routes.iter().map(|out| out.name.as_str()).collect();
        tracing::info!("with them go the routes {}", names.join(", "));
    }
}

async fn reopen_on_signal(logs: Arc<Logs>, mut signals: Signal) {
    while signals.recv().await.is_some() {
        logs.reopen();
        tracing::info!("log files are opened anew");
    }
}

async fn reload_on_hangup(reloader: Arc<Reloader>, mut hangups: Signal) {
    while hangups.recv().await.is_some() {
        let _ = reloader.reload().await;
    }
}
