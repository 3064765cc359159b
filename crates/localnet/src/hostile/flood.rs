//! Floods: a great many notifications beside the true ones.

use std::time::{Duration, Instant};

use solana_pubkey::Pubkey;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::junk;
use crate::{face::Face, hub::Topic, notifier::account_text};

/// The shortest time between two bursts.
const BURST: Duration = Duration::from_millis(5);

/// What a flood consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flood {
    /// The present state of this account, to those who subscribed to it, again and again.
    Account(Pubkey),
    /// Notifications of subscriptions that were never made, each with another id.
    UnknownIds,
}

/// The flood of one connection.
#[derive(Debug, Default)]
pub(crate) struct Flooding {
    /// When the last burst was sent.
    last: Option<Instant>,
    /// The notifications of all bursts.
    sent: u64,
}

impl Flooding {
    /// When the next burst is due: often, but not before there is one notification to send.
    pub(crate) fn due(&mut self, flood: Option<(Flood, u64)>) -> Option<Instant> {
        let Some((_, per_second)) = flood else {
            self.last = None;
            return None;
        };
        let per_second = u32::try_from(per_second.max(1)).unwrap_or(u32::MAX);
        let pause = (Duration::from_secs(1) / per_second).max(BURST);
        Some(self.last.map_or_else(Instant::now, |last| last + pause))
    }

    /// The notifications that have become due: not more than a second's worth, also for a peer that
    /// takes long to read.
    pub(crate) fn burst(
        &mut self,
        face: &Face,
        connection: u64,
        of: Flood,
        per_second: u64,
    ) -> Vec<Utf8Bytes> {
        let now = Instant::now();
        let since = self.last.replace(now).map_or(Duration::ZERO, |last| now - last);
        let count = (per_second as f64 * since.as_secs_f64().min(1.0)).round() as u64;
        let numbers = self.sent..self.sent + count.max(1);
        self.sent = numbers.end;
        match of {
            Flood::UnknownIds => numbers.map(junk::of_unknown_id).collect(),
            Flood::Account(address) => {
                let states = states(face, connection, &address);
                states.iter().cycle().take(count.max(1) as usize).cloned().collect()
            }
        }
    }
}

/// The notifications of an account's present state for the subscriptions of a connection.
fn states(face: &Face, connection: u64, address: &Pubkey) -> Vec<Utf8Bytes> {
    let held = face.hub.lock().held_to(connection, address);
    let chain = face.chain();
    let text = |(id, topic)| match topic {
        Topic::Account { commitment, encoding, .. } => {
            let slot = chain.ancestor(chain.slot(commitment), face.behind(&chain));
            Some(account_text(face, &chain, id, slot, address, encoding).into())
        }
        _ => None,
    };
    held.into_iter().filter_map(text).collect()
}
