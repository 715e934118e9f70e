//! What a config file can say of `auth: { forward: … }`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::read::OneOrMany;
use crate::config::value::{Count, Flag, HeaderName, Span};

/// A service of yours that is asked about each request. Answers of 200 to 299 let it pass; 401, 403 and redirects go to the
/// client as they are; with anything else, and without an answer, nothing passes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ForwardAuthSpec {
    /// The URL that is asked, with GET: `http://10.0.0.7:4180/check`.
    pub url: String,
    /// PEM file with the authorities that are believed at an https URL; default: the system's.
    pub ca: Option<String>,
    /// Headers of the client that the service gets; default `[Authorization, Cookie]`. It always gets
    /// `X-Forwarded-Method`, `-Uri`, `-Proto`, `-Host` and `-For` and `X-Real-IP`, never a body.
    pub headers: Option<OneOrMany<HeaderName>>,
    /// How long it may take to answer, 10ms to 60s; default 5s.
    pub timeout: Option<Span>,
    /// The header of its answer that names the user: without it in an answer, nothing passes. Default: everybody whom the
    /// service lets pass is `anonymous`.
    pub user: Option<HeaderName>,
    /// The header with their name among people.
    pub name: Option<HeaderName>,
    /// The header with their mail address.
    pub mail: Option<HeaderName>,
    /// The header with their groups.
    pub groups: Option<HeaderName>,
    /// What stands between groups; default `,`.
    pub group_separator: Option<String>,
    /// Headers of its answer that the upstream gets. What a client sends under these names passes on no route, but for
    /// `Authorization`, of which that is so on this route.
    pub pass: OneOrMany<HeaderName>,
    /// Whether cookies that it sets when it lets a request pass go to the client; default false.
    pub set_cookie: Flag,
    /// Remember that it let a request pass; default: each request is asked about.
    pub cache: Option<ForwardCacheSpec>,
}

/// What is remembered of answers that let a request pass. They are kept apart by all that the service was told of:
/// `headers`, the client's address, scheme and host. Answers with cookies for the client are not kept.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ForwardCacheSpec {
    /// For how long, 1s to 1h; default 5s.
    pub time: Option<Span>,
    /// Whether method, path and query keep answers apart too; default true. `false` where the service decides by who asks
    /// alone: it is then asked once for all of a page.
    pub by_path: Option<Flag>,
    /// How many answers are kept; default 10000.
    pub entries: Option<Count>,
}
