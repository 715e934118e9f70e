//! `access`: which client addresses may pass.
//!
//! ```yaml
//!   access: { allow: [10.0.0.0/8, "fd00::/8"], deny: 10.9.0.0/16 }
//! ```

use std::net::IpAddr;

use ipnet::IpNet;

use super::Mistake;
use crate::config::{AccessSpec, CidrList, KeyPath, OneOrMany};

/// Networks that may pass, and those that may not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
    /// Whether only what is allowed may pass.
    listed: bool,
}

impl Access {
    /// Checks the step. A list that is there has something in it: one that came to be empty, as of a variable that is not
    /// set, must not open a door.
    ///
    /// # Errors
    /// All mistakes, each below the key.
    pub fn compile(spec: &AccessSpec) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut nets = |key: &str, lists: &Option<OneOrMany<CidrList>>| -> Vec<IpNet> {
            let lists = lists.as_ref();
            let nets: Vec<IpNet> =
                lists.into_iter().flat_map(|all| all.iter()).flat_map(|list| &list.0).map(|cidr| cidr.net()).collect();
            if lists.is_some() && nets.is_empty() {
                mistakes.push(Mistake::at(key, "it is empty; list networks such as `10.0.0.0/8`, or leave it out"));
            }
            nets
        };
        let (allow, deny) = (nets("allow", &spec.allow), nets("deny", &spec.deny));
        if spec.allow.is_none() && spec.deny.is_none() {
            mistakes.push(Mistake::new(KeyPath::root(), "it lists no networks; write `allow` or `deny`, or remove it"));
        }
        if mistakes.is_empty() { Ok(Self { listed: spec.allow.is_some(), allow, deny }) } else { Err(mistakes) }
    }

    /// Whether an address may pass.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let within = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address));
        !within(&self.deny) && (!self.listed || within(&self.allow))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_denied_does_not_pass_even_where_it_is_allowed() {
        let access = |text: &str| Access::compile(&serde_yaml::from_str(text).unwrap()).unwrap();
        let both = access("{ allow: [10.0.0.0/8, '::1/128'], deny: '10.9.0.0/16,10.8.0.1/32' }");
        let passes = |access: &Access, text: &str| access.permits(text.parse().unwrap());
        assert!(passes(&both, "10.1.2.3") && passes(&both, "::ffff:10.1.2.3") && passes(&both, "::1"));
        assert!(!passes(&both, "10.9.2.3") && !passes(&both, "10.8.0.1") && !passes(&both, "11.0.0.1"));
        let denied = access("{ deny: 10.0.0.0/8 }");
        assert!(passes(&denied, "11.0.0.1") && !passes(&denied, "10.0.0.1"));
        for (empty, key) in [("{ allow: '' }", "allow"), ("{ allow: 10.0.0.1, deny: ['', ','] }", "deny")] {
            let mistakes = Access::compile(&serde_yaml::from_str(empty).unwrap()).unwrap_err();
            assert_eq!(mistakes[0].path.to_string(), key);
        }
    }
}
