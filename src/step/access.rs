//! `access`: which client addresses may pass.
//!
//! ```yaml
//!   access: { allow: [10.0.0.0/8, "fd00::/8"], deny: 10.9.0.0/16 }
//! ```

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::AccessSpec;

/// Networks that may pass, and those that may not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
    /// Whether only what is allowed may pass.
    listed: bool,
}

impl Access {
    /// Takes the step over; nothing in it can be wrong.
    #[must_use]
    pub fn compile(spec: &AccessSpec) -> Self {
        let nets = |lists: &crate::config::OneOrMany<crate::config::CidrList>| -> Vec<IpNet> {
            lists.iter().flat_map(|list| &list.0).map(|cidr| cidr.net()).collect()
        };
        let allow = nets(&spec.allow);
        Self { listed: !allow.is_empty(), allow, deny: nets(&spec.deny) }
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
        let access = |text: &str| Access::compile(&serde_yaml::from_str(text).unwrap());
        let both = access("{ allow: [10.0.0.0/8, '::1/128'], deny: '10.9.0.0/16,10.8.0.1/32' }");
        let passes = |access: &Access, text: &str| access.permits(text.parse().unwrap());
        assert!(passes(&both, "10.1.2.3") && passes(&both, "::ffff:10.1.2.3") && passes(&both, "::1"));
        assert!(!passes(&both, "10.9.2.3") && !passes(&both, "10.8.0.1") && !passes(&both, "11.0.0.1"));
        let denied = access("{ deny: 10.0.0.0/8 }");
        assert!(passes(&denied, "11.0.0.1") && !passes(&denied, "10.0.0.1"));
    }
}
