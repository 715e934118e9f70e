//! TLS towards clients: which certificate is shown, what is spoken, who the clients are, and how that changes live.
//!
//! A [`Policy`] is what a listener does. It makes a `rustls` configuration of what its files hold; a reload compiles
//! another from what they hold now, [`Policy::renew`] compares both, and [`Renewal::apply`] puts the new one in use for
//! the handshakes that follow. What is served never gets worse by itself: a certificate that does not fit its key, that
//! has expired, or that lacks a name which routes are for, is refused, and the one before stays.

mod certificate;
mod choose;
mod clients;
mod finding;
mod identity;
mod names;
mod pem;
mod policy;
mod renew;
mod tickets;

#[cfg(test)]
mod tests;

pub use finding::{Finding, Findings};
pub use identity::{ClientIdentity, identity};
pub use pem::{read_chain, read_key};
pub use policy::{Policy, UNRECOGNIZED_NAME, files};
pub use renew::Renewal;
