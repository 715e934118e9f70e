//! Files of users and of groups.

use std::collections::HashMap;
use std::sync::Arc;

use argon2::{Argon2, Params, PasswordHash, PasswordVerifier as _};

use crate::step::auth::live::lines;

/// The highest cost of bcrypt: a check takes a second or more then.
const COST: u32 = 15;
/// The most memory of Argon2, in KiB, and passes over it.
const MEMORY: u32 = 256 * 1024;
const PASSES: u32 = 16;

/// The hash of a password.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Bcrypt(String),
    Argon2(String),
}

/// Users, with the hashes of their passwords.
#[derive(Debug, Default)]
pub(super) struct Users {
    hashes: HashMap<String, Arc<Hash>>,
    /// What passwords of unknown users are checked against, so that this takes as long.
    decoy: Option<Arc<Hash>>,
}

impl Users {
    /// Reads a file.
    ///
    /// # Errors
    /// The line that is wrong, and the cure.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut users = Self::default();
        for (number, line) in lines(text) {
            let at = |why: String| format!("line {number}: {why}");
            let (user, rest) = line.split_once(':').ok_or_else(|| at("it is not `user:hash`".to_owned()))?;
            if user.is_empty() || user.chars().any(char::is_control) {
                return Err(at("it has no user name before its colon".to_owned()));
            }
            let hash = rest.split(':').next().unwrap_or_default();
            let hash = Arc::new(Hash::parse(hash).map_err(|why| at(format!("the hash of `{user}` {why}")))?);
            if users.hashes.insert(user.to_owned(), Arc::clone(&hash)).is_some() {
                return Err(at(format!("`{user}` is there already; remove one of the lines")));
            }
            users.decoy.get_or_insert(hash);
        }
        Ok(users)
    }

    /// The hash to check a password of a user against, and whether there is such a user; `None` where there is none at all.
    pub(super) fn find(&self, user: &str) -> Option<(Arc<Hash>, bool)> {
        match self.hashes.get(user) {
            Some(hash) => Some((Arc::clone(hash), true)),
            None => Some((Arc::clone(self.decoy.as_ref()?), false)),
        }
    }
}

impl Hash {
    fn parse(text: &str) -> Result<Self, String> {
        if ["$2a$", "$2b$", "$2y$"].iter().any(|kind| text.starts_with(kind)) {
            return bcrypt_hash(text);
        }
        if text.starts_with("$argon2i$") || text.starts_with("$argon2id$") {
            return argon2_hash(text);
        }
        let why = if text.starts_with("$apr1$") || text.starts_with("$1$") {
            "is MD5, which is guessed in no time"
        } else if text.starts_with("{SHA}") {
            "is SHA-1 without a salt, which is guessed in no time"
        } else if text.starts_with("$5$") || text.starts_with("$6$") {
            "is of crypt with SHA-2, which is not known here"
        } else {
            "is none, or the password itself"
        };
        Err(format!("{why}; write one of bcrypt: `htpasswd -B FILE USER`"))
    }

    /// Whether a password is the one. It takes long.
    pub(super) fn fits(&self, password: &str) -> bool {
        match self {
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::Argon2(hash) => PasswordHash::new(hash)
                .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()),
        }
    }
}

fn bcrypt_hash(text: &str) -> Result<Hash, String> {
    let broken = || "is not a whole one of bcrypt; write it anew: `htpasswd -B FILE USER`".to_owned();
    let (cost, rest) = text[4..].split_once('$').ok_or_else(broken)?;
    let alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'/';
    if cost.len() != 2 || rest.len() != 53 || !rest.bytes().all(alphabet) {
        return Err(broken());
    }
    match cost.parse() {
        Ok(4..=COST) => Ok(Hash::Bcrypt(text.to_owned())),
        Ok(cost @ 0..=31) => {
            Err(format!("has the cost {cost}; write it with one from 4 to {COST}: `htpasswd -B -C 10 FILE USER`"))
        }
        _ => Err(broken()),
    }
}

fn argon2_hash(text: &str) -> Result<Hash, String> {
    let broken = "is not a whole one of Argon2; write it anew";
    let hash = PasswordHash::new(text).map_err(|_| broken.to_owned())?;
    let params = Params::try_from(&hash).map_err(|_| broken.to_owned())?;
    if hash.hash.is_none() || hash.salt.is_none() {
        return Err(broken.to_owned());
    }
    if params.m_cost() > MEMORY || params.t_cost() > PASSES || params.p_cost() > 16 {
        return Err(format!("costs too much; write it with at most m={MEMORY}, t={PASSES} and p=16"));
    }
    Ok(Hash::Argon2(text.to_owned()))
}

/// The groups of users.
#[derive(Debug, Default)]
pub(super) struct Groups(HashMap<String, Vec<String>>);

impl Groups {
    /// Reads a file.
    ///
    /// # Errors
    /// The line that is wrong, and the cure.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut groups = Self::default();
        for (number, line) in lines(text) {
            let parts = line.split_once(':').map(|(group, users)| (group.trim(), users));
            let Some((group, users)) = parts.filter(|(group, _)| !group.is_empty()) else {
                return Err(format!("line {number}: it is not `group: user user`"));
            };
            for user in users.split_ascii_whitespace() {
                let of_user = groups.0.entry(user.to_owned()).or_default();
                if !of_user.iter().any(|known| known == group) {
                    of_user.push(group.to_owned());
                }
            }
        }
        Ok(groups)
    }

    /// The groups of a user.
    pub(super) fn of(&self, user: &str) -> Vec<String> {
        self.0.get(user).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `secret`, as `htpasswd -B` and `argon2` write it.
    fn bcrypt_of(password: &str, version: bcrypt::Version) -> String {
        bcrypt::hash_with_result(password, 4).unwrap().format_for_version(version)
    }

    fn argon2_of(password: &str, algorithm: argon2::Algorithm) -> String {
        use argon2::password_hash::{PasswordHasher as _, SaltString};
        let params = Params::new(64, 1, 1, None).unwrap();
        let salt = SaltString::from_b64("c29tZXNhbHRzb21lc2FsdA").unwrap();
        let argon2 = Argon2::new(algorithm, argon2::Version::V0x13, params);
        argon2.hash_password(password.as_bytes(), &salt).unwrap().to_string()
    }

    #[test]
    fn passwords_fit_their_hashes_and_no_others() {
        let hashes = [
            bcrypt_of("pässwörd", bcrypt::Version::TwoY),
            bcrypt_of("pässwörd", bcrypt::Version::TwoA),
            bcrypt_of("pässwörd", bcrypt::Version::TwoB),
            argon2_of("pässwörd", argon2::Algorithm::Argon2id),
            argon2_of("pässwörd", argon2::Algorithm::Argon2i),
        ];
        for hash in hashes {
            let users = Users::parse(&format!("# users\n\nann:{hash}\nbob:{hash}:a comment\n")).unwrap();
            let (found, is_known) = users.find("ann").unwrap();
            assert!(is_known && found.fits("pässwörd"), "{hash}");
            for wrong in ["passwörd", "", "pässwörd ", "PÄSSWÖRD"] {
                assert!(!found.fits(wrong), "{hash} {wrong}");
            }
            let (decoy, is_known) = users.find("eve").unwrap();
            assert!(!is_known && decoy.fits("pässwörd"), "an unknown user costs as much");
        }
        assert!(Users::parse("# nobody\n").unwrap().find("ann").is_none());
    }

    #[test]
    fn lines_that_are_not_good_are_named_without_their_hash() {
        let good = bcrypt_of("x", bcrypt::Version::TwoY);
        for (line, expected) in [
            ("bob:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "line 2: the hash of `bob` is SHA-1"),
            ("bob:$apr1$abcdefgh$xxxxxxxxxxxxxxxxxxxxxx", "line 2: the hash of `bob` is MD5"),
            ("bob:$6$salt$abc", "is of crypt with SHA-2"),
            ("bob:secret", "is none, or the password itself; write one of bcrypt: `htpasswd -B FILE USER`"),
            ("bob:", "is none"),
            ("bob", "line 2: it is not `user:hash`"),
            (":x", "has no user name"),
            (&format!("bob:{}", &good[..40]), "is not a whole one of bcrypt"),
            (&format!("bob:{}", good.replace("$04$", "$31$")), "has the cost 31"),
            (&format!("bob:{}", good.replace("$04$", "$03$")), "has the cost 3"),
            (&format!("ann:{good}"), "`ann` is there already"),
            ("bob:$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ", "is not a whole one of Argon2"),
            ("bob:$argon2id$x", "is not a whole one of Argon2"),
            ("bob:$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAA", "costs too much"),
        ] {
            let message = Users::parse(&format!("ann:{good}\n{line}\n")).unwrap_err();
            assert!(message.contains(expected), "{line}: {message}");
            let hash = line.split_once(':').map_or("", |(_, hash)| hash);
            assert!(hash.len() < 2 || !message.contains(hash), "{message}");
        }
    }

    #[test]
    fn groups_are_read() {
        let groups = Groups::parse("# groups\nstaff: ann bob\n dev :ann ann\nnone:\n").unwrap();
        assert_eq!((groups.of("ann"), groups.of("bob")), (vec!["staff".into(), "dev".into()], vec!["staff".into()]));
        assert!(groups.of("eve").is_empty());
        assert!(Groups::parse("staff ann").unwrap_err().contains("line 1"));
    }
}
