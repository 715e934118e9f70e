//! The limits of a listener, checked, with their defaults.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::Room;
use super::h1::HeadLimits;
use super::h2::Http2Limits;
use super::opening::ProxyProtocol;
use crate::config::ListenerSpec;
use crate::config::value::{ByteSize, Count, Span};

/// How long clients have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the PROXY header.
    pub proxy_header: Duration,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For a whole header section.
    pub header: Duration,
    /// For the first byte of a request.
    pub keep_alive: Duration,
}

/// The limits of one listener; what is out of range is reported.
pub(super) struct Checked<'a, F> {
    spec: &'a ListenerSpec,
    report: F,
}

impl<'a, F: FnMut(&[&'static str], String)> Checked<'a, F> {
    pub(super) fn new(spec: &'a ListenerSpec, report: F) -> Self {
        Self { spec, report }
    }

    fn time(&mut self, key: &[&'static str], given: Option<Span>, default: u64) -> Duration {
        let time = given.map_or(Duration::from_secs(default), Span::duration);
        if time.is_zero() {
            (self.report)(key, "no client is that fast; write a time above 0s".into());
        }
        time
    }

    fn number(&mut self, key: &[&'static str], given: Option<u64>, range: (u64, u64), default: u64) -> u64 {
        let number = given.unwrap_or(default);
        if number < range.0 || number > range.1 {
            (self.report)(key, format!("{number} is out of range; write {} to {}", range.0, range.1));
        }
        number
    }

    pub(super) fn timeouts(&mut self) -> Timeouts {
        let spec = &self.spec.timeouts;
        Timeouts {
            proxy_header: self.time(&["timeouts", "proxy_header"], spec.proxy_header, 5),
            handshake: self.time(&["timeouts", "handshake"], spec.handshake, 10),
            header: self.time(&["timeouts", "header"], spec.header, 10),
            keep_alive: self.time(&["timeouts", "keep_alive"], spec.keep_alive, 60),
        }
    }

    pub(super) fn head(&mut self) -> HeadLimits {
        let (spec, default) = (&self.spec.limits, HeadLimits::default());
        let bytes = |size: Option<ByteSize>| size.map(ByteSize::bytes);
        let headers = spec.headers.map(|count| u64::from(count.get()));
        HeadLimits {
            size: size(self.number(
                &["limits", "header_size"],
                bytes(spec.header_size),
                (1024, 1 << 20),
                default.size as u64,
            )),
            headers: size(self.number(&["limits", "headers"], headers, (10, 250), default.headers as u64)),
            target: size(self.number(
                &["limits", "target_size"],
                bytes(spec.target_size),
                (256, 1 << 16),
                default.target as u64,
            )),
        }
    }

    pub(super) fn http2(&mut self) -> Http2Limits {
        let spec = &self.spec.http2;
        let streams = spec.streams.map(|count| u64::from(count.get()));
        let streams = self.number(&["http2", "streams"], streams, (1, 1000), 100);
        let idle = self.time(&["http2", "idle"], spec.idle.or(self.spec.timeouts.keep_alive), 60);
        Http2Limits { streams: u32::try_from(streams).unwrap_or(u32::MAX), idle }
    }

    pub(super) fn proxy_protocol(&mut self) -> Option<ProxyProtocol> {
        let spec = self.spec.proxy_protocol.as_ref()?;
        let trusted: Vec<IpNet> = spec.trusted.iter().flat_map(|list| &list.0).map(|cidr| cidr.net()).collect();
        if trusted.is_empty() {
            (self.report)(
                &["proxy_protocol", "trusted"],
                "nobody is trusted, so no header would be read; name the load balancers, as 10.0.0.0/8".into(),
            );
        }
        Some(ProxyProtocol { trusted, required: spec.required.0 })
    }

    pub(super) fn room(&mut self) -> Arc<Room> {
        let spec = &self.spec.limits;
        if spec.connections.is_some_and(|count| count.get() == 0) {
            (self.report)(&["limits", "connections"], "nobody could connect; write 1 or more".into());
        }
        let all = spec.connections.map(Count::as_usize);
        let per_client = spec.connections_per_client.map(Count::as_usize).filter(|count| *count > 0);
        Arc::new(Room::new(all, per_client))
    }
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
