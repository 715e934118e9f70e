//! Session tickets sealed with keys from a file, so that a fleet of instances can resume each other's sessions.
//!
//! A ticket is `name (16) | salt (32) | sealed (issued (8) | session) | tag (16)`. Of the key in the file, HKDF-SHA256
//! derives a secret, and of that the name, by which the key is found again, and for every ticket a key of its own from
//! the random salt, which AES-256-GCM uses once. So no number of tickets, on however many instances, wears a key out.
//! What decides which clients are believed goes into the derivation: a session of a listener that asks for no
//! certificates cannot be resumed on one that does, and none outlives the authorities that it was made under.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::{BASE64, BASE64_NOPAD, HEXLOWER_PERMISSIVE};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::server::ProducesTickets;
use sha2::{Digest, Sha256};

/// How many bytes a key in the file has.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 32..=80;
const NAME: usize = 16;
const SALT: usize = 32;
const ISSUED: usize = 8;
/// Tickets hold the certificates of clients; what is larger than this is not worth resuming.
const MAX_SESSION: usize = 16 * 1024;
/// How far clocks of instances may differ.
const SKEW: u64 = 60;

/// Seals and opens tickets.
pub(super) struct SharedTickets {
    /// The first seals; all open.
    keys: Vec<Key>,
    lifetime: u32,
    /// Of the keys, as they stand in the file.
    pub(super) digest: [u8; 32],
    random: SystemRandom,
    now: fn() -> u64,
}

struct Key {
    name: [u8; NAME],
    secret: Prk,
}

/// How many bytes to derive.
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

impl Key {
    fn derive(material: &[u8], trust: &[u8; 32]) -> Option<Self> {
        let secret = Salt::new(HKDF_SHA256, b"pylon session tickets 1").extract(material);
        let mut bound = [0; 32];
        secret.expand(&[b"secret", trust], Bytes(32)).and_then(|okm| okm.fill(&mut bound)).ok()?;
        let secret = Prk::new_less_safe(HKDF_SHA256, &bound);
        let mut name = [0; NAME];
        secret.expand(&[b"name"], Bytes(NAME)).and_then(|okm| okm.fill(&mut name)).ok()?;
        Some(Self { name, secret })
    }

    /// The key of one ticket.
    fn of_ticket(&self, salt: &[u8]) -> Option<LessSafeKey> {
        let info = [&b"ticket"[..], salt];
        let okm = self.secret.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(okm)))
    }
}

/// The nonce of the only thing that a ticket's key ever seals.
fn only_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

impl SharedTickets {
    /// Reads the keys of a file. `trust` stands for what decides which clients are believed.
    ///
    /// # Errors
    /// What is wrong with the file, and the cure; never what it holds.
    pub(super) fn read(path: &Path, lifetime: Duration, trust: &[u8; 32]) -> Result<Self, String> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            format!("cannot read `{shown}`: {error}; give a text file that Pylon may read, with a key a line")
        })?;
        let materials = parse(&text).map_err(|problem| format!("`{shown}`: {problem}"))?;
        let keys: Option<Vec<Key>> = materials.iter().map(|material| Key::derive(material, trust)).collect();
        let keys = keys.ok_or_else(|| format!("`{shown}`: no keys can be derived from it; make new ones"))?;
        let lifetime = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
        let mut digest = Sha256::new();
        for material in &materials {
            digest.update([u8::try_from(material.len()).unwrap_or_default()]);
            digest.update(material);
        }
        Ok(Self { keys, lifetime, digest: digest.finalize().into(), random: SystemRandom::new(), now: seconds })
    }

    fn seal(&self, session: &[u8]) -> Option<Vec<u8>> {
        let key = self.keys.first().filter(|_| session.len() <= MAX_SESSION)?;
        let mut salt = [0; SALT];
        self.random.fill(&mut salt).ok()?;
        let mut sealed = [&(self.now)().to_be_bytes()[..], session].concat();
        let tag = key.of_ticket(&salt)?.seal_in_place_separate_tag(only_nonce(), Aad::from(key.name), &mut sealed);
        Some([&key.name[..], &salt, &sealed, tag.ok()?.as_ref()].concat())
    }

    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        // Names are no secret: each ticket shows its own.
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (salt, sealed) = rest.split_first_chunk::<SALT>()?;
        if sealed.len() > ISSUED + MAX_SESSION + AES_256_GCM.tag_len() {
            return None;
        }
        let key = self.keys.iter().find(|key| key.name == *name)?;
        let mut sealed = sealed.to_vec();
        let plain = key.of_ticket(salt)?.open_in_place(only_nonce(), Aad::from(key.name), &mut sealed).ok()?;
        let (issued, session) = plain.split_first_chunk::<ISSUED>()?;
        let (issued, now) = (u64::from_be_bytes(*issued), (self.now)());
        let good = issued <= now.saturating_add(SKEW) && now < issued.saturating_add(u64::from(self.lifetime));
        good.then(|| session.to_vec())
    }
}

impl ProducesTickets for SharedTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.lifetime
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open(cipher)
    }
}

impl fmt::Debug for SharedTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedTickets").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The keys of a text. A line of nothing but hex digits is hex, any other is base64.
fn parse(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let cure = "write 32 to 80 random bytes as hex or base64, as `openssl rand -hex 48` makes them";
    let mut keys: Vec<Vec<u8>> = Vec::new();
    for (number, line) in (1..).zip(text.lines()).map(|(number, line): (usize, _)| (number, line.trim())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = if line.bytes().all(|b| b.is_ascii_hexdigit()) {
            HEXLOWER_PERMISSIVE.decode(line.as_bytes())
        } else if line.ends_with('=') {
            BASE64.decode(line.as_bytes())
        } else {
            BASE64_NOPAD.decode(line.as_bytes())
        };
        let key = key.map_err(|_| format!("line {number} is neither hex nor base64; {cure}"))?;
        if !KEY_BYTES.contains(&key.len()) {
            return Err(format!("line {number} has {} bytes; {cure}", key.len()));
        }
        if keys.contains(&key) {
            return Err(format!("line {number} is a key that stands there already; remove one of the two"));
        }
        keys.push(key);
    }
    if keys.is_empty() { Err(format!("there is no key in it; {cure}")) } else { Ok(keys) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets(materials: &[[u8; 32]], lifetime: u32, trust: [u8; 32], now: fn() -> u64) -> SharedTickets {
        let keys = materials.iter().map(|material| Key::derive(material, &trust).unwrap()).collect();
        SharedTickets { keys, lifetime, digest: [0; 32], random: SystemRandom::new(), now }
    }

    #[test]
    fn who_has_the_key_opens_what_another_sealed() {
        let (one, other) = (tickets(&[[1; 32]], 60, [0; 32], || 1000), tickets(&[[1; 32]], 60, [0; 32], || 1000));
        let ticket = one.encrypt(b"session").unwrap();
        assert_eq!(other.decrypt(&ticket).unwrap(), b"session");
        assert_ne!(one.encrypt(b"session").unwrap(), ticket, "no two are the same");
        assert!(!ticket.windows(7).any(|part| part == b"session"));
    }

    #[test]
    fn every_bit_counts() {
        let tickets = tickets(&[[1; 32]], 60, [0; 32], || 1000);
        let ticket = tickets.encrypt(b"session").unwrap();
        for at in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[at] ^= 1;
            assert!(tickets.decrypt(&forged).is_none(), "byte {at}");
            assert!(tickets.decrypt(&ticket[..at]).is_none(), "cut at {at}");
        }
    }

    #[test]
    fn the_first_key_seals_and_all_open() {
        let old = tickets(&[[1; 32]], 60, [0; 32], || 1000);
        let both = tickets(&[[2; 32], [1; 32]], 60, [0; 32], || 1000);
        let new = tickets(&[[2; 32]], 60, [0; 32], || 1000);
        let ticket = old.encrypt(b"session").unwrap();
        assert!(both.decrypt(&ticket).is_some());
        assert!(new.decrypt(&ticket).is_none());
        let ticket = both.encrypt(b"session").unwrap();
        assert!(new.decrypt(&ticket).is_some());
        assert!(old.decrypt(&ticket).is_none());
    }

    #[test]
    fn tickets_age() {
        let at = |now| tickets(&[[1; 32]], 60, [0; 32], now);
        let ticket = at(|| 1000).encrypt(b"session").unwrap();
        assert!(at(|| 1059).decrypt(&ticket).is_some());
        assert!(at(|| 1060).decrypt(&ticket).is_none());
        assert!(at(|| 940).decrypt(&ticket).is_some(), "a clock that is a little slow");
        assert!(at(|| 939).decrypt(&ticket).is_none(), "from the future");
    }

    #[test]
    fn other_trust_is_another_key() {
        let (any, few) = (tickets(&[[1; 32]], 60, [0; 32], || 1000), tickets(&[[1; 32]], 60, [1; 32], || 1000));
        assert!(few.decrypt(&any.encrypt(b"session").unwrap()).is_none());
    }

    #[test]
    fn what_is_too_large_is_neither_sealed_nor_opened() {
        let tickets = tickets(&[[1; 32]], 60, [0; 32], || 1000);
        let largest = vec![7; MAX_SESSION];
        assert_eq!(tickets.decrypt(&tickets.encrypt(&largest).unwrap()).unwrap(), largest);
        assert!(tickets.encrypt(&vec![7; MAX_SESSION + 1]).is_none());
        assert!(tickets.decrypt(&vec![7; 70_000]).is_none());
    }

    #[test]
    fn keys_are_lines_of_hex_or_base64() {
        let hex = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
        let (padded, bare) = (BASE64.encode(&[7; 32]), BASE64_NOPAD.encode(&[9; 80]));
        let keys = parse(&format!("# ours\n\n{hex}\r\n  {padded}\n{bare}")).unwrap();
        assert_eq!(keys.iter().map(Vec::len).collect::<Vec<_>>(), [32, 32, 80]);
        assert_eq!((keys[0][1], keys[1][0], keys[2][0]), (0x11, 7, 9));
        for (text, said) in [
            ("", "there is no key"),
            ("# nothing\n", "there is no key"),
            ("no key!", "line 1 is neither"),
            ("\n\n0011", "line 3 has 2 bytes"),
            (&"ab".repeat(81), "line 1 has 81 bytes"),
            (&format!("{hex}\n{}", hex.to_lowercase()), "line 2 is a key that stands there already"),
        ] {
            let refused = parse(text).unwrap_err();
            assert!(refused.starts_with(said), "{text:?}: {refused}");
        }
    }
}
