//! What Pylon gives browsers to keep, encrypted so that nobody else reads or changes it: AES-256-GCM with keys of a file
//! that a fleet shares.

use data_encoding::{BASE64, BASE64URL, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

/// The form of what is sealed: this byte, the key's id, the nonce, what was encrypted.
const FORM: u8 = 1;
const ID: usize = 4;
const HEAD: usize = 1 + ID + NONCE_LEN;

/// A key, as it stands in the file.
pub(super) type Bytes = [u8; 32];

/// Keys that seal and open.
pub(super) struct Seal {
    /// The first seals, all open.
    keys: Vec<([u8; ID], LessSafeKey)>,
    random: SystemRandom,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seal").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

/// Reads the keys of a file.
///
/// # Errors
/// Which line is none.
pub(super) fn read(text: &str) -> Result<Vec<Bytes>, String> {
    let mut keys = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let forms = [&HEXLOWER_PERMISSIVE, &BASE64, &BASE64URL, &BASE64URL_NOPAD];
        let key = forms.iter().find_map(|form| Bytes::try_from(form.decode(text.as_bytes()).ok()?).ok());
        keys.push(key.ok_or_else(|| format!("line {line} is not a key of 32 bytes, in base64 or hexadecimal"))?);
    }
    if keys.is_empty() { Err("it has no key".to_owned()) } else { Ok(keys) }
}

impl Seal {
    /// Takes the keys over.
    pub(super) fn new(keys: &[Bytes]) -> Self {
        let key = |bytes: &Bytes| {
            let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
            let mut id = [0; ID];
            id.copy_from_slice(&digest.as_ref()[..ID]);
            Some((id, LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).ok()?)))
        };
        Self { keys: keys.iter().filter_map(key).collect(), random: SystemRandom::new() }
    }

    /// Random text of so many bytes, that can stand in a URL.
    pub(super) fn random(&self, bytes: usize) -> Option<String> {
        let mut random = vec![0; bytes];
        self.random.fill(&mut random).ok()?;
        Some(BASE64URL_NOPAD.encode(&random))
    }

    /// Encrypts, bound to what it is for.
    pub(super) fn seal(&self, purpose: &str, plain: &[u8]) -> Option<String> {
        let (id, key) = self.keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut sealed = Vec::with_capacity(HEAD + plain.len() + AES_256_GCM.tag_len());
        sealed.push(FORM);
        sealed.extend_from_slice(id);
        sealed.extend_from_slice(&nonce);
        let mut text = plain.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce, Aad::from(purpose.as_bytes()), &mut text).ok()?;
        sealed.extend_from_slice(&text);
        Some(BASE64URL_NOPAD.encode(&sealed))
    }

    /// Decrypts what was sealed for this purpose with one of the keys.
    pub(super) fn open(&self, purpose: &str, sealed: &str) -> Option<Vec<u8>> {
        let sealed = BASE64URL_NOPAD.decode(sealed.as_bytes()).ok()?;
        let (head, text) = sealed.split_at_checked(HEAD)?;
        if head[0] != FORM {
            return None;
        }
        let nonce: [u8; NONCE_LEN] = head[1 + ID..].try_into().ok()?;
        let fitting = self.keys.iter().filter(|(id, _)| head[1..=ID] == *id);
        fitting.into_iter().find_map(|(_, key)| {
            let mut text = text.to_vec();
            let nonce = Nonce::assume_unique_for_key(nonce);
            let plain = key.open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut text).ok()?.len();
            text.truncate(plain);
            Some(text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_keys_open_and_only_for_the_purpose() {
        let (old, new) = ([1; 32], [2; 32]);
        let (before, both, after) = (Seal::new(&[old]), Seal::new(&[new, old]), Seal::new(&[new]));
        let sealed = before.seal("session", b"ann").unwrap();
        assert_ne!(sealed, before.seal("session", b"ann").unwrap());
        assert_eq!(both.open("session", &sealed).as_deref(), Some(&b"ann"[..]));
        assert_eq!(after.open("session", &sealed), None);
        assert_eq!(after.open("session", &both.seal("session", b"").unwrap()).as_deref(), Some(&b""[..]));
        assert_eq!(before.open("login", &sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(before.open("session", std::str::from_utf8(&changed).unwrap()), None, "byte {at}");
            assert_eq!(before.open("session", &sealed[..at]), None, "cut at {at}");
        }
        assert_eq!(before.open("session", &format!("{sealed}A")), None);
    }

    #[test]
    fn keys_are_read_in_each_form() {
        let hex = "00".repeat(31) + "fF";
        let base64 = BASE64.encode(&[7; 32]);
        let keys = read(&format!("# new\n{hex}\n\n  {base64}  \r\n{}\n", BASE64URL_NOPAD.encode(&[255; 32]))).unwrap();
        assert_eq!((keys[0][31], keys[1], keys[2]), (255, [7; 32], [255; 32]));
        for bad in ["", "# x\n", "secret", &base64[4..], &hex[2..], &format!("{base64}\nAAAA")] {
            let error = read(bad).unwrap_err();
            assert!(!error.contains("secret") && !error.contains("AAAA"), "{error}");
        }
    }
}
