//! Stand-ins for the services behind the built-in systems, for `pylon demo`.
//!
//! Each is small, but really does the part of its protocol that Pylon has to carry: redirects to other hosts, links
//! in pages, upgrades, endless streams, sign-in. All listen on loopback only, keep what they are given in memory, within
//! fixed bounds, and forget it when they stop. They are no substitute for the services themselves.

use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use tokio::runtime::{Builder, Runtime};

mod desks;
mod manager;
mod notebooks;
mod pai;
mod provider;
mod site;
#[cfg(test)]
mod testing;
mod transfer;

/// The systems that can be shown.
pub const SYSTEMS: [&str; 4] = ["pai", "backend-ai", "juliabox", "mliy"];

/// Which ports the stand-ins listen on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ports {
    /// Any free ones.
    #[default]
    Ephemeral,
    /// YARN's on the ports that the link rules of its routes name (8088 and 8042) where these are free, so that the
    /// links in its pages show those rules at work; all others, and those when taken, as [`Ports::Ephemeral`].
    Familiar,
}

/// Where Pylon is to be found.
#[derive(Clone, Debug)]
pub struct Public {
    /// Where it listens, as `127.0.0.1:8080`.
    pub listen: String,
    /// Where its admin port is.
    pub admin: String,
}

/// What a demo consists of. The stand-ins stop when this is dropped.
pub struct StandIns {
    /// The variables that make the stand-alone mode of the system lead to the stand-ins.
    pub variables: Vec<(&'static str, String)>,
    /// What to open and to ask, for a terminal.
    pub tour: String,
    _kept: Box<dyn Send>,
}

impl std::fmt::Debug for StandIns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StandIns").finish_non_exhaustive()
    }
}

/// Starts the stand-ins of a system; `None` where it cannot be shown.
///
/// # Errors
/// When a socket, a thread or a file cannot be had.
pub async fn start(system: &str, public: &Public) -> io::Result<Option<StandIns>> {
    let url = format!("http://{}", public.listen);
    Ok(match system {
        "pai" => {
            let all = pai::start_on(Ports::Familiar).await?;
            Some(StandIns { variables: all.environment(), tour: pai::tour(&url, &all), _kept: Box::new(all) })
        }
        "backend-ai" => Some(manager::start(&url).await?),
        "juliabox" => Some(notebooks::start(public).await?),
        "mliy" => Some(desks::start(public).await?),
        _ => None,
    })
}

/// A folder of the system's temporary ones that nobody else can read, which goes when this is dropped.
#[derive(Debug)]
struct TempFolder(PathBuf);

impl TempFolder {
    fn new(name: &str) -> io::Result<Self> {
        let unique = format!("pylon-demo-{name}-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let path = std::env::temp_dir().join(unique);
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }

    /// Writes a file below it.
    fn write(&self, name: &str, text: &str) -> io::Result<String> {
        let path = self.0.join(name);
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(text.as_bytes())?;
        Ok(path.display().to_string())
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        // The system clears its folder of temporary files anyway.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The stand-ins' own threads, so that stopping them ends their connections too and leaves nobody else's alone.
#[derive(Debug)]
struct Background(Option<Runtime>);

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Unlike a plain drop, this may be called from asynchronous code.
            runtime.shutdown_background();
        }
    }
}

/// Runs `open`, and whatever it spawns, on threads of the stand-ins' own.
async fn in_background<T: Send + 'static>(
    open: impl Future<Output = io::Result<T>> + Send + 'static,
) -> io::Result<(T, Background)> {
    let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("stand-in").enable_all().build()?;
    let opening = runtime.spawn(open);
    let background = Background(Some(runtime));
    Ok((opening.await.map_err(io::Error::other)??, background))
}
