//! How requests end, and what is counted and logged of it. A leaf: nothing here knows routes or sessions.

mod access;
mod log;
mod metrics;
mod outcome;
mod rejection;
mod request_id;

pub use access::{AccessLog, AccessRecord};
pub use log::start as start_log;
pub use metrics::{Metrics, RouteMetrics};
pub use outcome::Outcome;
pub use rejection::{Rejection, Rejections};
pub use request_id::new_request_id;
