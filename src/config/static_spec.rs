//! What a config file can say of files that are served.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::read::OneOrMany;
use super::route_spec::ContentCoding;

/// Files of a folder, or one file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StaticSpec {
    /// The folder, which must be there; a relative path is relative to the config file. Nothing outside of it is served,
    /// whatever the path of a request or a symbolic link in it says.
    pub folder: Option<String>,
    /// In place of `folder`, the one file that every path of the route stands for.
    pub file: Option<String>,
    /// The path below the folder, from captures; default `/{**}`, the rest of the route's path.
    pub path: Option<String>,
    /// What stands for a folder whose path ends in a slash: the first of these files that is there; default
    /// `index.html`, `[]` for none. Folders are never listed.
    pub index: Option<OneOrMany<String>>,
    /// Content codings, the preferred first, of files that were compressed beforehand and stand beside the plain ones
    /// with `.br`, `.zst` or `.gz` at the end of their names; default none.
    pub precompressed: OneOrMany<ContentCoding>,
    /// `Cache-Control` of files, such as `public, max-age=3600`; default none.
    pub cache_control: Option<String>,
    /// The file below the folder that is the body of a 404; default: the route's error page.
    pub not_found: Option<String>,
    /// In place of a 404, answer 200 with this file below the folder, for applications that find their way in the
    /// browser. It is sent with `Cache-Control: no-cache`.
    pub fallback: Option<String>,
    /// Names that begin with a dot and are served all the same, such as `.well-known`; default none.
    pub hidden: OneOrMany<String>,
}

impl FromStr for StaticSpec {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self { folder: Some(text.to_owned()), ..Self::default() })
    }
}
