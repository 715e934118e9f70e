//! Host and path patterns, their precedence, templates, and the mapping between public and upstream URLs.
//!
//! Nothing here does I/O; all of it is compiled when a configuration is loaded.

pub mod allow;
pub mod asker;
pub mod host;
mod matcher;
mod path;
mod pattern;
pub mod public;
mod table;
pub mod template;
mod tie;

pub use matcher::{HeaderCondition, Matcher, PathRegex};
pub use path::{PathError, RequestPath};
pub use pattern::PathPattern;
pub use table::{Capture, Conflict, Match, RouteTable};
