//! The sources of observations: RPC and WebSocket.

pub(crate) mod endpoint;
pub(crate) mod redact;
pub(crate) mod rpc;
pub(crate) mod websocket;

use base64::{Engine, prelude::BASE64_STANDARD};
use solana_account_decoder_client_types::{UiAccount, UiAccountData, UiAccountEncoding};
use solana_pubkey::{Pubkey, pubkey};

use crate::core::chain::token::Presence;

/// The Clock sysvar. It changes in every bank and carries the chain's own time.
pub(crate) const CLOCK: Pubkey = pubkey!("SysvarC1ock11111111111111111111111111111111");

/// The Rent sysvar, which does not change.
pub(crate) const RENT: Pubkey = pubkey!("SysvarRent111111111111111111111111111111111");

/// An account as sources report it, decoded from JSON.
#[derive(Debug)]
pub(crate) struct RawAccount {
    pub(crate) program: Pubkey,
    pub(crate) lamports: u64,
    pub(crate) data: Vec<u8>,
}

impl RawAccount {
    /// Decodes base64 only. The mirror asks for base64, and an answer in a compressed encoding
    /// could unpack to any size.
    pub(crate) fn decode(account: &UiAccount) -> Result<Self, String> {
        let program = account.owner.parse().map_err(|_| "the owner is not an address".to_owned())?;
        let UiAccountData::Binary(data, UiAccountEncoding::Base64) = &account.data else {
            return Err("the data is not in base64".to_owned());
        };
        let data =
            BASE64_STANDARD.decode(data).map_err(|error| format!("the data is not base64: {error}"))?;
        Ok(Self { program, lamports: account.lamports, data })
    }

    pub(crate) fn presence(&self) -> Presence {
        Presence::decode(&self.program, self.lamports, &self.data)
    }

    /// The chain's time, decoded from the Clock sysvar's bytes, in seconds since the Unix epoch.
    pub(crate) fn unix_timestamp(&self) -> Option<i64> {
        // slot, epoch_start_timestamp, epoch, leader_schedule_epoch, unix_timestamp: 8 bytes each.
        let bytes = self.data.get(32..40)?;
        Some(i64::from_le_bytes(bytes.try_into().ok()?))
    }
}

/// Wall time minus the chain's time, in milliseconds.
pub(crate) fn lag_ms(wall_ms: i64, unix_timestamp: i64) -> i64 {
    wall_ms.saturating_sub(unix_timestamp.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(data: UiAccountData) -> UiAccount {
        UiAccount {
            lamports: 1,
            data,
            owner: CLOCK.to_string(),
            executable: false,
            rent_epoch: 0,
            space: None,
        }
    }

    #[test]
    fn only_base64_is_taken() {
        let base64 = account(UiAccountData::Binary("AQID".to_owned(), UiAccountEncoding::Base64));
        assert_eq!(RawAccount::decode(&base64).map(|raw| raw.data), Ok(vec![1, 2, 3]));
        for data in [
            UiAccountData::Binary("AQID".to_owned(), UiAccountEncoding::Base64Zstd),
            UiAccountData::Binary("A!".to_owned(), UiAccountEncoding::Base64),
            UiAccountData::LegacyBinary("error: data too large for bs58 encoding".to_owned()),
        ] {
            assert!(RawAccount::decode(&account(data)).is_err());
        }
        let mut stranger = base64;
        stranger.owner = "nobody".to_owned();
        assert!(RawAccount::decode(&stranger).is_err());
    }

    #[test]
    fn the_clock_has_its_time_at_byte_32() {
        let mut data = vec![0; 40];
        data[32..40].copy_from_slice(&1_700_000_000i64.to_le_bytes());
        let raw = RawAccount { program: CLOCK, lamports: 1, data };
        assert_eq!(raw.unix_timestamp(), Some(1_700_000_000));
        assert_eq!(lag_ms(1_700_000_001_500, 1_700_000_000), 1_500);
        let short = RawAccount { data: vec![0; 39], ..raw };
        assert_eq!(short.unix_timestamp(), None);
        assert_eq!(lag_ms(0, i64::MIN), i64::MAX);
    }
}
