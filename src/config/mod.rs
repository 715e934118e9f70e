//! Text → [`Spec`]: what an operator wrote, with the place of every key, and nothing decided yet.
//!
//! [`load`] reads a file with its systems and includes, expands `${VARIABLES}` in parsed scalars, leaves out what is
//! optional and not configured, and reports every problem at once.

mod assemble;
pub mod document;
pub mod expand;
mod listener_spec;
mod loaded;
mod log_spec;
mod optional;
mod pool_spec;
pub mod read;
pub mod report;
mod source;
mod spec;
pub mod value;

pub use assemble::{load, load_system, unknown_name};
pub use document::Document;
pub use expand::{Env, Variables};
pub use listener_spec::*;
pub use loaded::{Entry, LeftOut, Loaded};
pub use log_spec::*;
pub use optional::PROCESS_KEYS;
pub use pool_spec::*;
pub use read::{ListOr, OneOrMany, StringOr};
pub use report::{KeyPath, Place, Problem, Report};
pub use source::{BUILT_IN, EXAMPLE, STAND_ALONE, built_in};
pub use spec::*;
