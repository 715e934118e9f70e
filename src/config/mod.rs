//! Text → [`Spec`]: what an operator wrote, with the place of every key, and nothing decided yet.
//!
//! [`load`] reads a file with its systems and includes, expands `${VARIABLES}` in parsed scalars, leaves out what is
//! optional and not configured, and reports every problem at once.

mod access_spec;
mod assemble;
mod auth_spec;
pub mod document;
mod dynamic_spec;
pub mod expand;
mod instance_spec;
mod limit_spec;
mod listener_spec;
mod loaded;
mod log_spec;
mod optional;
mod pool_spec;
pub mod read;
mod redis_spec;
pub mod report;
mod route_spec;
mod source;
mod spec;
mod static_spec;
pub mod value;

pub use access_spec::*;
pub use assemble::{load, load_system, unknown_name};
pub use auth_spec::*;
pub use document::Document;
pub use dynamic_spec::*;
pub use expand::{Env, Variables};
pub use instance_spec::*;
pub use limit_spec::*;
pub use listener_spec::*;
pub use loaded::{Entry, LeftOut, Loaded};
pub use log_spec::*;
pub use optional::PROCESS_KEYS;
pub use pool_spec::*;
pub use read::{ListOr, OneOrMany, StringOr};
pub use redis_spec::*;
pub use report::{KeyPath, Place, Problem, Report};
pub use route_spec::*;
pub use source::{BUILT_IN, EXAMPLE, STAND_ALONE, built_in};
pub use spec::*;
pub use static_spec::*;
