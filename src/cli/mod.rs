//! The command line: one file for each verb, exit codes here.

mod check;
mod demo;
mod drain;
mod explain;
mod healthcheck;
mod instances;
mod log_level;
mod print;
mod reload;
mod remote;
mod status;
mod table;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::STAND_ALONE;
use crate::reload::Source;
use crate::server::Process;

/// Where `run` and others look when no file is named.
const DEFAULT_FILE: &str = "/etc/pylon/pylon.yaml";

/// The one entry point of a shielded cluster.
#[derive(Debug, Parser)]
#[command(name = "pylon", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

/// Which configuration.
#[derive(Debug, Clone, Args)]
pub(crate) struct Which {
    /// The configuration file; default: what `PYLON_CONFIG` names, else /etc/pylon/pylon.yaml where it exists, else the
    /// built-in system.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Run a built-in system from the environment, in place of a file.
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    system: Option<String>,
}

/// Serve.
#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    which: Which,
    /// Take the listening sockets over from the running process, when that gets QUIT; needs `upgrade_socket`.
    #[arg(long)]
    upgrade: bool,
}

impl Which {
    pub(crate) fn source(&self) -> Source {
        match (&self.config, &self.system) {
            (Some(path), _) => Source::File(path.clone()),
            (None, Some(name)) => Source::system(name),
            (None, None) => {
                if let Some(named) = std::env::var_os("PYLON_CONFIG").filter(|named| !named.is_empty()) {
                    return Source::File(PathBuf::from(named));
                }
                let default = PathBuf::from(DEFAULT_FILE);
                if default.exists() { Source::File(default) } else { Source::system(STAND_ALONE) }
            }
        }
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve until a signal says stop: TERM lets requests finish, INT stops at once, HUP reloads.
    Run(Run),
    /// Check configuration files and say all that is wrong with them.
    Check(check::Check),
    /// Say which route a request takes and why, and what its upstream would see.
    Explain(explain::Explain),
    /// Print the configuration in effect: systems and includes merged, variables expanded.
    PrintConfig(Which),
    /// Print a JSON Schema of the configuration, for editors.
    Schema,
    /// Show what a running Pylon does: state, configuration, traffic, routes and pools.
    Status(status::Status),
    /// Say what became of a request, by the id that its answer carried.
    Why(why::Why),
    /// Make a running Pylon read its configuration again.
    Reload(reload::Reload),
    /// Take a running Pylon out of service, and back into it.
    Drain(drain::Drain),
    /// List the instances that are registered at a running Pylon.
    Instances(instances::Instances),
    /// Show what a running Pylon logs, or change it until its next start.
    LogLevel(log_level::LogLevel),
    /// Start stand-ins of all services and Pylon before them, and say what to try.
    Demo(demo::Demo),
    /// Ask a running Pylon whether it serves; exit 0 if so.
    Healthcheck(healthcheck::Healthcheck),
    /// Print the version.
    Version,
}

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match cli.verb {
        Verb::Run(verb) => run(&verb.which.source(), verb.upgrade),
        Verb::Check(check) => check.run(),
        Verb::Explain(explain) => explain.run(),
        Verb::PrintConfig(which) => print::config(&which),
        Verb::Schema => print::schema(),
        Verb::Status(status) => status.run(),
        Verb::Why(why) => why.run(),
        Verb::Reload(reload) => reload.run(),
        Verb::Drain(drain) => drain.run(),
        Verb::Instances(instances) => instances.run(),
        Verb::LogLevel(log_level) => log_level.run(),
        Verb::Demo(demo) => demo.run(),
        Verb::Healthcheck(healthcheck) => healthcheck.run(),
        Verb::Version => print::version(),
    }
}

fn run(source: &Source, upgrade: bool) -> ExitCode {
    let served = Process::prepare(source, upgrade).and_then(Process::serve);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_error(&error);
            error.exit_code()
        }
    }
}

/// Prints to standard output; a reader that went away is no error.
pub(crate) fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints to standard error.
pub(crate) fn say_error(error: &dyn std::fmt::Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{error}");
}
