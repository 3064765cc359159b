//! The RPC work as a part of the engine: who wants what read, and the answers to return.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use solana_pubkey::Pubkey;

use super::settings::EngineSettings;
use crate::core::{
    base::{
        failure::RpcFailure,
        ids::{AskId, Slot},
        time::Tick,
    },
    rpc::{
        mints::Mints,
        refresh::{RefreshSettings, Refresher},
        scheduler::RpcScheduler,
    },
};

/// Who wants what read by RPC, and the answers to return.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RpcWork {
    pub(super) scheduler: RpcScheduler,
    pub(super) refresher: Refresher,
    pub(super) mints: Mints,
    pub(super) awaited_mints: AwaitedMints,
    /// The answers for callers.
    pub(super) replies: VecDeque<(AskId, Result<Slot, RpcFailure>)>,
}

impl RpcWork {
    pub(super) fn new(settings: &EngineSettings) -> Self {
        Self {
            scheduler: RpcScheduler::new(settings.endpoints.len(), settings.max_asks),
            refresher: Refresher::new(RefreshSettings {
                every: settings.refresh_every,
                longest_wait: settings.refresh_every * 10,
                batches_a_second: batches_a_second(settings.refresh_every),
                ..RefreshSettings::default()
            }),
            mints: Mints::default(),
            awaited_mints: AwaitedMints::default(),
            replies: VecDeque::new(),
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Tick> {
        let due =
            [self.scheduler.next_deadline(), self.refresher.next_deadline(), self.mints.next_deadline()];
        due.into_iter().flatten().min()
    }

    /// Wants a mint read, unless it is known already.
    pub(super) fn name_mint(&mut self, mint: Pubkey) {
        self.awaited_mints.add(mint);
        if self.mints.get(&mint).is_none() {
            self.scheduler.want_mint(mint);
        }
    }
}

/// Two, or more if each account is to be read more often than that.
fn batches_a_second(every: Duration) -> u32 {
    let often = Duration::from_secs(1).as_millis().div_ceil(every.as_millis().max(1));
    u32::try_from(often).unwrap_or(u32::MAX).max(2)
}

/// The mints that callers wait for: how many callers for each, and the slot of the last answer that
/// showed no mint there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct AwaitedMints(pub(super) BTreeMap<Pubkey, (usize, Option<Slot>)>);

impl AwaitedMints {
    pub(super) fn add(&mut self, mint: Pubkey) {
        self.0.entry(mint).or_default().0 += 1;
    }

    pub(super) fn remove(&mut self, mint: &Pubkey) {
        if let Some((callers, _)) = self.0.get_mut(mint) {
            *callers -= 1;
            if *callers == 0 {
                self.0.remove(mint);
            }
        }
    }

    pub(super) fn unseen(&self, mint: &Pubkey) -> Option<Slot> {
        self.0.get(mint)?.1
    }

    pub(super) fn note_unseen(&mut self, mint: &Pubkey, slot: Slot) {
        if let Some((_, unseen)) = self.0.get_mut(mint) {
            *unseen = Some(slot);
        }
    }

    /// These mints, and those that `accounts` names.
    pub(super) fn with(&self, mut accounts: BTreeSet<Pubkey>) -> BTreeSet<Pubkey> {
        accounts.extend(self.0.keys());
        accounts
    }
}
