//! The client's side of SCRAM (RFC 5802, RFC 7677), without channel binding, as Kafka has it (KIP-84).
//!
//! Passwords are taken as they are: those with letters outside ASCII would need SASLprep (RFC 4013).

use data_encoding::BASE64;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha512};

/// More would be a way to keep a client busy; Kafka's own default is 4096.
const MOST_ITERATIONS: u32 = 1_000_000;
const FEWEST_ITERATIONS: u32 = 4096;

/// Which digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mechanism {
    Sha256,
    Sha512,
}

impl Mechanism {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "SCRAM-SHA-256" => Some(Self::Sha256),
            "SCRAM-SHA-512" => Some(Self::Sha512),
            _ => None,
        }
    }

    fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(data).to_vec(),
            Self::Sha512 => Sha512::digest(data).to_vec(),
        }
    }

    fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        // A key of any length will do.
        match self {
            Self::Sha256 => {
                Hmac::<Sha256>::new_from_slice(key).map(|mac| mac.chain_update(data).finalize().into_bytes().to_vec())
            }
            Self::Sha512 => {
                Hmac::<Sha512>::new_from_slice(key).map(|mac| mac.chain_update(data).finalize().into_bytes().to_vec())
            }
        }
        .unwrap_or_default()
    }

    /// RFC 5802, section 2.2: `Hi(password, salt, iterations)`.
    fn salted(self, password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
        let mut block = self.hmac(password, &[salt, &1_u32.to_be_bytes()].concat());
        let mut salted = block.clone();
        for _ in 1..iterations {
            block = self.hmac(password, &block);
            salted.iter_mut().zip(&block).for_each(|(sum, byte)| *sum ^= byte);
        }
        salted
    }
}

/// An exchange that has been begun.
pub(super) struct Scram<'a> {
    mechanism: Mechanism,
    password: &'a str,
    first_bare: String,
    nonce: String,
}

/// What is left to be checked of the server's last message.
#[derive(Debug)]
pub(super) struct Proved {
    pub(super) message: String,
    server_signature: Vec<u8>,
}

const HEADER: &str = "n,,";

impl<'a> Scram<'a> {
    /// Begins with a nonce that nobody has used before.
    pub(super) fn new(mechanism: Mechanism, user: &str, password: &'a str, nonce: String) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self { mechanism, password, first_bare: format!("n={user},r={nonce}"), nonce }
    }

    /// client-first-message.
    pub(super) fn first(&self) -> String {
        format!("{HEADER}{}", self.first_bare)
    }

    /// client-final-message, the answer to server-first-message. An error says what is wrong with the server's message.
    pub(super) fn prove(&self, server_first: &str) -> Result<Proved, &'static str> {
        let (mut nonce, mut salt, mut iterations) = (None, None, None);
        for part in server_first.split(',') {
            match part.split_once('=') {
                Some(("r", text)) => nonce = Some(text),
                Some(("s", text)) => salt = BASE64.decode(text.as_bytes()).ok(),
                Some(("i", text)) => iterations = text.parse().ok(),
                Some(("m", _)) => return Err("it demands an extension of SCRAM"),
                _ => {}
            }
        }
        let (Some(nonce), Some(salt), Some(iterations)) = (nonce, salt, iterations) else {
            return Err("its first message is no SCRAM");
        };
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("it did not take up the nonce");
        }
        if !(FEWEST_ITERATIONS..=MOST_ITERATIONS).contains(&iterations) {
            return Err("its number of iterations is out of bounds");
        }
        let mechanism = self.mechanism;
        let salted = mechanism.salted(self.password.as_bytes(), &salt, iterations);
        let without_proof = format!("c={},r={nonce}", BASE64.encode(HEADER.as_bytes()));
        let signed = format!("{},{server_first},{without_proof}", self.first_bare);
        let client_key = mechanism.hmac(&salted, b"Client Key");
        let signature = mechanism.hmac(&mechanism.digest(&client_key), signed.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, signed)| key ^ signed).collect();
        let server_key = mechanism.hmac(&salted, b"Server Key");
        Ok(Proved {
            message: format!("{without_proof},p={}", BASE64.encode(&proof)),
            server_signature: mechanism.hmac(&server_key, signed.as_bytes()),
        })
    }
}

impl Proved {
    /// Whether server-final-message proves that the server knows the password too.
    pub(super) fn is_answered_by(&self, server_final: &str) -> bool {
        let signature = server_final.split(',').find_map(|part| part.strip_prefix("v="));
        signature
            .and_then(|text| BASE64.decode(text.as_bytes()).ok())
            .is_some_and(|found| found == self.server_signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn scram() -> Scram<'static> {
        Scram::new(Mechanism::Sha256, "user", "pencil", "rOprNGfwEbeRWgbNEkqO".to_owned())
    }

    #[test]
    fn the_exchange_of_rfc_7677_is_taken_step_by_step() {
        let scram = scram();
        assert_eq!(scram.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let proved = scram.prove(SERVER_FIRST).unwrap();
        assert_eq!(
            proved.message,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert!(proved.is_answered_by("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert!(!proved.is_answered_by("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert!(!proved.is_answered_by("e=invalid-proof"));
    }

    #[test]
    fn a_server_that_does_not_play_by_the_rules_gets_no_proof() {
        for (from, to) in [
            ("r=rOpr", "r=xOpr"),
            ("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", ""),
            ("i=4096", "i=1"),
            ("i=4096", "i=99999999"),
            ("s=W22ZaJ0SNY7soEsUEjb6gQ==", "s=?"),
            ("i=4096", "i=4096,m=x"),
            ("i=4096", ""),
        ] {
            assert!(scram().prove(&SERVER_FIRST.replace(from, to)).is_err(), "{to}");
        }
        let odd = Scram::new(Mechanism::Sha512, "a,b=c", "p", "x".to_owned());
        assert_eq!(odd.first(), "n,,n=a=2Cb=3Dc,r=x");
    }
}
