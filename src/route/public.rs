//! From upstream URLs back to public ones: what `Location`, `Set-Cookie` and links have to say to the client.
//!
//! A route mounts a piece of an upstream's URL space under a public prefix. [`PublicMap`] turns that around: a URL on
//! the upstream becomes the public URL that leads there, through the route's own mount first, else through the most
//! specific mount of any route, else through a dynamic route named for it. What is public already, and what no route
//! leads to, stays.

use std::sync::Arc;

use super::host::split_port;
use super::path::RequestPath;
use super::pattern::PathPattern;

/// A piece of an upstream's URL space under a public prefix. Prefixes are whole segments without a final slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The upstream's `host[:port]`.
    pub authority: String,
    /// The path on the upstream.
    pub upstream_prefix: String,
    /// The path for clients.
    pub public_prefix: String,
}

/// A dynamic route through which redirects to other servers go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via {
    /// Its path pattern.
    pub pattern: PathPattern,
    /// The capture that holds the host.
    pub host: String,
    /// The capture that holds the port.
    pub port: String,
    /// The listeners that serve it; empty for all that are not dedicated.
    pub listeners: Vec<String>,
}

/// Scheme and authority as the client sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Host, with a port where it is not the scheme's own.
    pub authority: String,
}

/// The way back from an upstream's URLs, for one request.
#[derive(Debug, Clone)]
pub struct PublicMap {
    /// The mount that the request went through.
    pub own: Mount,
    /// The path that the request had on the upstream: what relative references start from.
    pub request_path: String,
    /// The mounts of all routes.
    pub mounts: Arc<[Mount]>,
    /// Where redirects to other servers go.
    pub via: Option<Arc<Via>>,
    /// What the client sees.
    pub origin: Origin,
    /// The origin at which `via` is served.
    pub via_origin: Origin,
}

/// A URL taken apart as far as mapping needs it.
enum Reference<'a> {
    Absolute { scheme: &'static str, authority: &'a str, path: &'a str },
    Path(&'a str),
    Relative(&'a str),
    Other,
}

impl PublicMap {
    /// The public form of a reference in a header; `None` leaves it as it is.
    #[must_use]
    pub fn location(&self, reference: &str) -> Option<String> {
        match parse(reference.trim(), self.own.scheme) {
            Reference::Absolute { scheme, authority, path } => {
                let (origin, path) = self.absolute(scheme, authority, path)?;
                let mapped = format!("{}://{}{path}", origin.scheme, origin.authority);
                (mapped != reference).then_some(mapped)
            }
            Reference::Path(path) => self.path(path),
            Reference::Relative(relative) => {
                let base = self.request_path.rfind('/').map_or("/", |at| &self.request_path[..=at]);
                let resolved = match relative.chars().next() {
                    None => return None,
                    Some('?' | '#') => format!("{}{relative}", self.request_path),
                    Some(_) => format!("{base}{relative}"),
                };
                let (path, tail) = split_path(&resolved);
                let normal = RequestPath::parse(path).ok()?;
                self.path(&format!("{}{tail}", normal.as_str()))
            }
            Reference::Other => None,
        }
    }

    /// The public path of a link in a page; `None` leaves it as it is. Relative links keep working by themselves.
    #[must_use]
    pub fn link(&self, url: &str) -> Option<String> {
        match parse(url.trim(), self.own.scheme) {
            Reference::Absolute { scheme, authority, path } => {
                let (origin, path) = self.absolute(scheme, authority, path)?;
                (*origin == self.origin && !same_authority(authority, &origin.authority, scheme)).then_some(path)
            }
            Reference::Path(path) => self.path(path),
            Reference::Relative(_) | Reference::Other => None,
        }
    }

    /// The value of a `Set-Cookie` with `Path` under the public prefix and without the upstream's own `Domain`.
    #[must_use]
    pub fn cookie(&self, value: &str) -> Option<String> {
        // Browsers refuse a `__Host-` cookie whose path is not `/`.
        let whole_host = value.trim_start().starts_with("__Host-");
        let mut changed = false;
        let mut parts: Vec<String> = Vec::new();
        for (index, part) in value.split(';').enumerate() {
            let (name, content) = part.split_once('=').unwrap_or((part, ""));
            let (name, content) = (name.trim(), content.trim());
            if index > 0
                && !whole_host
                && name.eq_ignore_ascii_case("path")
                && let Some(path) = self.cookie_path(content)
            {
                changed = true;
                parts.push(format!(" Path={path}"));
                continue;
            }
            if index > 0 && name.eq_ignore_ascii_case("domain") && self.is_own_domain(content) {
                changed = true;
                continue;
            }
            parts.push(part.to_owned());
        }
        changed.then(|| parts.join(";"))
    }

    fn cookie_path(&self, path: &str) -> Option<String> {
        let (public, upstream) = strip_common(&self.own.public_prefix, &self.own.upstream_prefix);
        if public == upstream || !path.starts_with('/') || is_under_own(path, public) {
            return None;
        }
        let mapped = match under(path, upstream) {
            Some(rest) => format!("{public}{rest}"),
            None if under(upstream, path.trim_end_matches('/')).is_some() => public.to_owned(),
            None => return None,
        };
        Some(if mapped.is_empty() { "/".to_owned() } else { mapped })
    }

    fn is_own_domain(&self, domain: &str) -> bool {
        let domain = domain.trim_start_matches('.').to_ascii_lowercase();
        let own = super::host::normalise(&self.own.authority);
        let public = super::host::normalise(&self.origin.authority);
        let covers = |host: &str| host == domain || host.ends_with(&format!(".{domain}"));
        covers(&own) && !covers(&public)
    }

    /// Maps a path on the own upstream. `path` may carry query and fragment.
    fn path(&self, reference: &str) -> Option<String> {
        let (path, tail) = split_path(reference);
        if is_under_own(path, &self.own.public_prefix) {
            return None;
        }
        let mapped = self.mounted(self.own.scheme, &self.own.authority, path)?;
        (mapped != path).then(|| format!("{mapped}{tail}"))
    }

    /// Maps an absolute URL: the origin and the path that it has for clients.
    fn absolute(&self, scheme: &'static str, authority: &str, reference: &str) -> Option<(&Origin, String)> {
        let (path, tail) = split_path(reference);
        let path = if path.is_empty() { "/" } else { path };
        let on = |mapped: String| Some((&self.origin, format!("{mapped}{tail}")));
        let own = same_server(authority, scheme, &self.own);
        if same_authority(authority, &self.origin.authority, scheme)
            && !(own && self.own.authority != self.origin.authority)
        {
            return on(path.to_owned());
        }
        if own && let Some(mapped) = self.mounted(self.own.scheme, &self.own.authority, path) {
            return on(mapped);
        }
        if let Some(mapped) = self.mounted(scheme, authority, path) {
            return on(mapped);
        }
        let mapped = self.through_via(scheme, authority, path)?;
        Some((&self.via_origin, format!("{mapped}{tail}")))
    }

    /// Maps through the own mount, else through the most specific one of all.
    fn mounted(&self, scheme: &str, authority: &str, path: &str) -> Option<String> {
        let matches = |mount: &Mount| {
            same_authority(authority, &mount.authority, scheme)
                .then(|| under(path, &mount.upstream_prefix))
                .flatten()
                .map(|rest| (mount.upstream_prefix.len(), format!("{}{rest}", mount.public_prefix)))
        };
        let found = matches(&self.own).or_else(|| {
            let all = self.mounts.iter().filter_map(matches);
            all.max_by_key(|(length, _)| *length)
        });
        found.map(|(_, path)| if path.is_empty() { "/".to_owned() } else { path })
    }

    fn through_via(&self, scheme: &str, authority: &str, path: &str) -> Option<String> {
        let via = self.via.as_deref().filter(|_| scheme == "http")?;
        let (host, port) = split_port(authority);
        let port = port.filter(|port| !port.is_empty()).unwrap_or("0");
        port.parse::<u16>().ok()?;
        let prefix = via.pattern.fill(|name| match name {
            name if name == via.host => Some(host),
            name if name == via.port => Some(port),
            _ => None,
        })?;
        Some(format!("{prefix}{path}"))
    }
}

fn parse<'a>(reference: &'a str, own_scheme: &'static str) -> Reference<'a> {
    let lower = reference.get(..8).unwrap_or(reference).to_ascii_lowercase();
    let absolute = |scheme, rest: &'a str| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        Reference::Absolute { scheme, authority: &rest[..end], path: &rest[end..] }
    };
    if lower.starts_with("http://") {
        absolute("http", &reference[7..])
    } else if lower.starts_with("https://") {
        absolute("https", &reference[8..])
    } else if let Some(rest) = reference.strip_prefix("//") {
        absolute(own_scheme, rest)
    } else if reference.starts_with('/') {
        Reference::Path(reference)
    } else if has_scheme(reference) {
        Reference::Other
    } else {
        Reference::Relative(reference)
    }
}

/// Whether a reference starts with a scheme (RFC 3986 §3.1).
fn has_scheme(reference: &str) -> bool {
    let end = reference.find([':', '/', '?', '#']);
    end.is_some_and(|at| reference[at..].starts_with(':') && at > 0)
}

/// Splits off query and fragment.
fn split_path(reference: &str) -> (&str, &str) {
    reference.split_at(reference.find(['?', '#']).unwrap_or(reference.len()))
}

/// What of a path follows a prefix of whole segments.
fn under<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// Whether a path is under a public prefix that says something.
fn is_under_own(path: &str, public_prefix: &str) -> bool {
    !public_prefix.is_empty() && under(path, public_prefix).is_some()
}

/// Removes the segments that both prefixes end in.
#[must_use]
pub fn strip_common<'a>(mut a: &'a str, mut b: &'a str) -> (&'a str, &'a str) {
    while let (Some((head_a, tail_a)), Some((head_b, tail_b))) = (a.rsplit_once('/'), b.rsplit_once('/')) {
        if tail_a != tail_b {
            break;
        }
        (a, b) = (head_a, head_b);
    }
    (a, b)
}

/// Whether two authorities are the same server for a scheme: ports compared with the default filled in.
fn same_authority(a: &str, b: &str, scheme: &str) -> bool {
    fn parts<'a>(authority: &'a str, scheme: &str) -> (&'a str, u16) {
        let default = if scheme == "https" { 443 } else { 80 };
        let (host, port) = split_port(authority);
        (host, port.and_then(|p| p.parse().ok()).unwrap_or(default))
    }
    let (host_a, port_a) = parts(a, scheme);
    let (host_b, port_b) = parts(b, scheme);
    port_a == port_b && host_a.eq_ignore_ascii_case(host_b)
}

/// Whether an authority names the server of a mount; servers often leave their port out or take the wrong scheme.
fn same_server(authority: &str, scheme: &str, mount: &Mount) -> bool {
    let (host, port) = split_port(authority);
    let (own_host, _) = split_port(&mount.authority);
    same_authority(authority, &mount.authority, scheme)
        || same_authority(authority, &mount.authority, mount.scheme)
        || (port.is_none() && host.eq_ignore_ascii_case(own_host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(authority: &str, upstream: &str, public: &str) -> Mount {
        Mount {
            scheme: "http",
            authority: authority.to_owned(),
            upstream_prefix: upstream.to_owned(),
            public_prefix: public.to_owned(),
        }
    }

    fn map(own: Mount) -> PublicMap {
        let origin = Origin { scheme: "https", authority: "pylon:8443".to_owned() };
        PublicMap {
            own,
            request_path: "/api/jobs/1".to_owned(),
            mounts: Arc::new([
                mount("nn:50070", "/webhdfs", "/webhdfs/api"),
                mount("nn:50070", "", "/webhdfs"),
                mount("graf:3000", "", "/grafana"),
            ]),
            via: Some(Arc::new(Via {
                pattern: "/a/{host}:{port:digits}/**".parse().unwrap(),
                host: "host".into(),
                port: "port".into(),
                listeners: Vec::new(),
            })),
            via_origin: origin.clone(),
            origin,
        }
    }

    #[test]
    fn locations_come_back_under_the_public_prefix() {
        let rest = map(mount("10.0.0.1:9186", "/api", "/rest-server/api"));
        for (location, expected) in [
            ("http://10.0.0.1:9186/api/jobs/2?x=%2F#f", Some("https://pylon:8443/rest-server/api/jobs/2?x=%2F#f")),
            ("http://10.0.0.1:9186/api", Some("https://pylon:8443/rest-server/api")),
            ("http://10.0.0.1:9186/apifoo", Some("https://pylon:8443/a/10.0.0.1:9186/apifoo")),
            ("https://10.0.0.1:9186/api/x", Some("https://pylon:8443/rest-server/api/x")),
            ("http://10.0.0.1/api/x", Some("https://pylon:8443/rest-server/api/x")),
            ("//10.0.0.1:9186/api/x", Some("https://pylon:8443/rest-server/api/x")),
            ("/api/x", Some("/rest-server/api/x")),
            ("/rest-server/api/x", None),
            ("/other", None),
            ("2", Some("/rest-server/api/jobs/2")),
            ("../up?q", Some("/rest-server/api/up?q")),
            ("?page=2", Some("/rest-server/api/jobs/1?page=2")),
            ("https://pylon:8443/rest-server/api/x", None),
            ("http://graf:3000/d/1", Some("https://pylon:8443/grafana/d/1")),
            ("http://nn:50070/webhdfs/v1/x", Some("https://pylon:8443/webhdfs/api/v1/x")),
            ("http://nn:50070/explorer.html", Some("https://pylon:8443/webhdfs/explorer.html")),
            ("http://dn:50075/webhdfs/v1/x?op=OPEN", Some("https://pylon:8443/a/dn:50075/webhdfs/v1/x?op=OPEN")),
            ("http://10.1.1.1/x", Some("https://pylon:8443/a/10.1.1.1:0/x")),
            ("https://elsewhere.org/x", None),
            ("mailto:a@b", None),
        ] {
            assert_eq!(rest.location(location).as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn the_root_of_an_upstream_is_the_prefix() {
        let grafana = map(mount("graf:3000", "", "/grafana"));
        assert_eq!(grafana.location("/").as_deref(), Some("/grafana/"));
        assert_eq!(grafana.location("/login").as_deref(), Some("/grafana/login"));
        assert_eq!(grafana.location("/grafana/login"), None);
        assert_eq!(grafana.link("http://graf:3000/a?b").as_deref(), Some("/grafana/a?b"));
        assert_eq!(grafana.link("app.js"), None);
    }

    #[test]
    fn cookies_stay_with_their_route() {
        let grafana = map(mount("graf:3000", "", "/grafana"));
        let cookie = |value| grafana.cookie(value);
        assert_eq!(cookie("a=b; Path=/; HttpOnly").as_deref(), Some("a=b; Path=/grafana/; HttpOnly"));
        assert_eq!(cookie("a=b; path=/x").as_deref(), Some("a=b; Path=/grafana/x"));
        assert_eq!(cookie("a=b; Path=/grafana/x"), None);
        assert_eq!(cookie("a=b; Domain=graf; Secure").as_deref(), Some("a=b; Secure"));
        assert_eq!(cookie("a=b; Domain=pylon"), None);
        assert_eq!(cookie("path=/x"), None);
        assert_eq!(cookie("__Host-a=b; Path=/; Secure"), None);
        let portal = map(mount("portal:80", "", ""));
        assert_eq!(portal.cookie("a=b; Path=/"), None);
        let rest = map(mount("r:1", "/api", "/rest-server/api"));
        assert_eq!(rest.cookie("a=b; Path=/").as_deref(), Some("a=b; Path=/rest-server/"));
    }
}
