//! The `pylon` command.

use std::process::ExitCode;

/// Keeps a burst's memory for a second, then gives it back: an entry point sits idle between bursts.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    pylon::cli::main()
}
