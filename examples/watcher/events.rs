//! The events to show: changes and readings, as the mirror's public API returns them.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use balance_mirror::{
    AccountState, Balance, MintInfo, Pubkey, ReadError, StateOrigin, TokenProgram, WatchTarget,
};
use time::OffsetDateTime;

/// A moment of wall time, UTC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(OffsetDateTime);

impl Moment {
    pub(crate) fn now() -> Self {
        Self(OffsetDateTime::now_utc())
    }

    /// Formats it by RFC 3339, with milliseconds.
    pub(crate) fn rfc3339(self) -> String {
        let (year, month, day) = self.0.to_calendar_date();
        format!("{year:04}-{:02}-{day:02}T{}Z", u8::from(month), self.time_of_day())
    }

    /// `HH:MM:SS.mmm`.
    pub(crate) fn time_of_day(self) -> String {
        let (hour, minute, second, milli) = self.0.to_hms_milli();
        format!("{hour:02}:{minute:02}:{second:02}.{milli:03}")
    }
}

/// An account's record changed, or was observed for the first time.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) at: Moment,
    pub(crate) account: Pubkey,
    /// The account's owner and mint, as far as they are known.
    pub(crate) identity: Identity,
    pub(crate) state: AccountState,
    pub(crate) mint: Option<MintInfo>,
    pub(crate) slot: u64,
    pub(crate) origin: StateOrigin,
}

/// What the processed bank shows of an account. The chain may take it back.
#[derive(Clone, Debug)]
pub(crate) struct Preview {
    pub(crate) at: Moment,
    pub(crate) account: Pubkey,
    pub(crate) state: AccountState,
    pub(crate) mint: Option<MintInfo>,
    pub(crate) slot: u64,
}

/// The result of a read on a sell path.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) at: Moment,
    pub(crate) account: Pubkey,
    pub(crate) answer: Result<Balance, ReadError>,
    pub(crate) took: Duration,
}

/// What is known of an account besides its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) mint: Option<Pubkey>,
    pub(crate) owner: Option<Pubkey>,
    pub(crate) program: Option<TokenProgram>,
}

/// The accounts watched: what is known of them, and their names.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    identities: Mutex<HashMap<Pubkey, Identity>>,
    labels: HashMap<Pubkey, String>,
}

impl Registry {
    /// Makes a registry that shows these names for keys.
    pub(crate) fn with_labels(labels: HashMap<Pubkey, String>) -> Self {
        Self { identities: Mutex::default(), labels }
    }

    fn identities(&self) -> MutexGuard<'_, HashMap<Pubkey, Identity>> {
        self.identities.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an account that is about to be watched.
    pub(crate) fn expect(&self, target: &WatchTarget, identity: Identity) {
        self.identities().insert(target.address(), identity);
    }

    /// The account's owner and mint by `state`: from the chain, or, if there is no account, from
    /// what was known before.
    pub(crate) fn identify(&self, account: &Pubkey, state: &AccountState) -> Identity {
        match state {
            AccountState::Absent | AccountState::Closed => {
                self.identities().get(account).copied().unwrap_or_default()
            }
            _ => match state.token() {
                Some(token) => {
                    let seen = Identity {
                        mint: Some(token.mint),
                        owner: Some(token.owner),
                        program: Some(token.program),
                    };
                    self.identities().insert(*account, seen);
                    seen
                }
                None => Identity::default(),
            },
        }
    }

    /// The name of an account: its wallet's and its mint's name, or its own name, or the mint's
    /// address.
    pub(crate) fn name(&self, account: &Pubkey) -> String {
        let identity = self.identities().get(account).copied().unwrap_or_default();
        let known = |key: Option<Pubkey>| key.and_then(|key| self.labels.get(&key));
        match (known(identity.owner), known(identity.mint), identity.mint) {
            (Some(owner), Some(mint), _) => format!("{owner} {mint}"),
            (_, _, Some(mint)) => Short(&mint).to_string(),
            (_, _, None) => "?".to_owned(),
        }
    }
}

/// An address shortened for people to its two ends.
pub(crate) struct Short<'a>(pub &'a Pubkey);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        match (text.get(..4), text.get(text.len().saturating_sub(4)..)) {
            (Some(head), Some(tail)) => f.pad(&format!("{head}…{tail}")),
            _ => f.pad(&text),
        }
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_rfc_3339() {
        let moment = Moment(OffsetDateTime::from_unix_timestamp(951_782_400).expect("a time"));
        assert_eq!(moment.rfc3339(), "2000-02-29T00:00:00.000Z");
    }

    #[test]
    fn a_closed_account_is_still_whose_it_was() {
        let registry = Registry::default();
        let mint = Pubkey::new_from_array([7; 32]);
        let target = WatchTarget::account(Pubkey::new_from_array([1; 32])).mint(mint);
        let identity = Identity { mint: Some(mint), ..Identity::default() };
        registry.expect(&target, identity);
        assert_eq!(registry.identify(&target.address(), &AccountState::Closed), identity);
        assert_eq!(registry.name(&target.address()), Short(&mint).to_string());
        assert_eq!(Short(&mint).to_string().chars().count(), 9);
    }
}
