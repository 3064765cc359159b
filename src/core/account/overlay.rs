//! The processed view of an account, kept beside its confirmed record.
//!
//! A processed state may belong to a fork that the chain abandons, and no source promises to report
//! that. So the processed view covers the confirmed record only while it is ahead of it:
//!
//! 1. On one connection the later arrival wins, even at an earlier slot: after a fork switch the
//!    node sends the old state again. From another connection only a later slot wins.
//! 2. The processed state is dropped as soon as the confirmed record is as of its slot. It is also
//!    dropped when its connection ends, because then no source would report that it was reverted.
//! 3. No processed state is shown for a slot that the confirmed record has reached.
//!
//! Slots of the processed and confirmed views come from one chain, and this is the only place where
//! they are compared: a confirmed record as of slot S includes the outcome of every slot up to S.

use crate::core::{
    base::ids::{Generation, Slot},
    chain::state::AccountState,
};

/// A processed state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shown {
    pub state: AccountState,
    pub slot: Slot,
    pub generation: Generation,
}

/// The confirmed record in brief: the slot as of which it is known, and its state, if it has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Confirmed {
    pub as_of: Slot,
    pub state: Option<AccountState>,
}

/// What a processed notification did to the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OverlayChange {
    /// The view now shows another state.
    Changed,
    /// The node took back what it had shown: the view now shows a state of an earlier slot.
    Reverted,
    /// The view shows the same state, now of this slot.
    Renewed,
    /// The node went back to the confirmed state: the view shows the confirmed record again.
    Dropped(Dropped),
    /// Older than what is shown or confirmed: no effect.
    Superseded,
}

/// The processed state was removed from the view, which now shows the confirmed record again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dropped {
    /// Whether the confirmed state differs from the one shown. Then the shown state was on an
    /// abandoned fork, or was overwritten within the slots that were confirmed at once. Anyone who
    /// acted on it should look again.
    pub reverted: bool,
}

/// One account's processed view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Overlay {
    shown: Option<Shown>,
}

impl Overlay {
    /// The processed state, if there is one ahead of the confirmed record.
    pub fn shown(&self) -> Option<&Shown> {
        self.shown.as_ref()
    }

    /// Applies a processed notification from an open connection.
    pub fn see(
        &mut self,
        generation: Generation,
        slot: Slot,
        state: AccountState,
        confirmed: &Confirmed,
    ) -> OverlayChange {
        let before = self.shown;
        if before.is_some_and(|shown| shown.generation != generation && slot <= shown.slot) {
            return OverlayChange::Superseded;
        }
        if slot <= confirmed.as_of {
            // If a state ahead of that is shown, its own connection takes it back with this.
            // (Invariants 1 and 3)
            return self.shown.take().map_or(OverlayChange::Superseded, |shown| {
                OverlayChange::Dropped(Dropped { reverted: !same(&shown.state, &state) })
            });
        }
        self.shown = Some(Shown { state, slot, generation });
        let visible = before.map(|shown| shown.state).or(confirmed.state);
        match before {
            _ if visible.is_some_and(|visible| same(&visible, &state)) => OverlayChange::Renewed,
            Some(shown) if slot < shown.slot => OverlayChange::Reverted,
            _ => OverlayChange::Changed,
        }
    }

    /// Call when the confirmed record has advanced. (Invariant 2)
    pub fn confirmed(&mut self, confirmed: &Confirmed) -> Option<Dropped> {
        let shown = self.shown.take_if(|shown| shown.slot <= confirmed.as_of)?;
        let reverted = !confirmed.state.is_some_and(|state| same(&shown.state, &state));
        Some(Dropped { reverted })
    }

    /// Call when a connection has ended. (Invariant 2) The drop does not count as a revert: the
    /// state shown may still be confirmed.
    pub fn ended(&mut self, generation: Generation) -> Option<Dropped> {
        let ended = self.shown.take_if(|shown| shown.generation == generation);
        ended.map(|_| Dropped { reverted: false })
    }
}

/// Whether two states mean the same account. An account that was created and closed while only
/// processed is `Closed` here, but `Absent` at confirmed.
fn same(one: &AccountState, other: &AccountState) -> bool {
    let nothing = |state: &AccountState| matches!(state, AccountState::Absent | AccountState::Closed);
    one == other || (nothing(one) && nothing(other))
}

#[cfg(test)]
mod tests {
    use solana_pubkey::Pubkey;

    use super::*;
    use crate::core::chain::token::{TokenAccount, TokenExtensions, TokenProgram};

    fn life(life: u32) -> Generation {
        Generation { life, ..Generation::default() }
    }

    fn tokens(amount: u64) -> AccountState {
        AccountState::Initialized(TokenAccount {
            program: TokenProgram::Token,
            mint: Pubkey::new_from_array([1; 32]),
            owner: Pubkey::new_from_array([2; 32]),
            amount,
            frozen: false,
            delegate: None,
            close_authority: None,
            native_reserve: None,
            extensions: TokenExtensions::default(),
        })
    }

    fn confirmed(as_of: Slot, amount: u64) -> Confirmed {
        Confirmed { as_of, state: Some(tokens(amount)) }
    }

    /// An overlay that shows 5 tokens at slot 12, seen by connection 1, over a record of 1 token as
    /// of slot 10.
    fn over() -> Overlay {
        let mut overlay = Overlay::default();
        assert_eq!(overlay.see(life(1), 12, tokens(5), &confirmed(10, 1)), OverlayChange::Changed);
        overlay
    }

    fn shows(overlay: &Overlay) -> Option<(AccountState, Slot)> {
        overlay.shown().map(|shown| (shown.state, shown.slot))
    }

    #[test]
    fn on_one_connection_the_later_arrival_wins_also_at_an_earlier_slot() {
        let mut overlay = over();
        let below = confirmed(10, 1);
        assert_eq!(overlay.see(life(1), 13, tokens(5), &below), OverlayChange::Renewed);
        assert_eq!(overlay.see(life(1), 13, tokens(6), &below), OverlayChange::Changed);
        assert_eq!(overlay.see(life(1), 11, tokens(2), &below), OverlayChange::Reverted);
        assert_eq!(shows(&overlay), Some((tokens(2), 11)));
        // The other fork goes on from there.
        assert_eq!(overlay.see(life(1), 12, tokens(3), &below), OverlayChange::Changed);
    }

    #[test]
    fn of_another_connection_only_a_later_slot_wins() {
        let mut overlay = over();
        let below = confirmed(10, 1);
        assert_eq!(overlay.see(life(2), 12, tokens(6), &below), OverlayChange::Superseded);
        assert_eq!(overlay.see(life(2), 11, tokens(6), &below), OverlayChange::Superseded);
        assert_eq!(shows(&overlay), Some((tokens(5), 12)));
        assert_eq!(overlay.see(life(2), 13, tokens(6), &below), OverlayChange::Changed);
        // From here on, it is the other's word that counts.
        assert_eq!(overlay.see(life(1), 13, tokens(5), &below), OverlayChange::Superseded);
        assert_eq!(overlay.ended(life(1)), None);
        assert_eq!(overlay.see(life(2), 11, tokens(4), &below), OverlayChange::Reverted);
    }

    #[test]
    fn it_is_dropped_when_the_confirmed_record_reaches_it() {
        let mut overlay = over();
        assert_eq!(overlay.confirmed(&confirmed(11, 1)), None);
        assert_eq!(overlay.confirmed(&confirmed(12, 5)), Some(Dropped { reverted: false }));
        assert_eq!(overlay, Overlay::default());
        assert_eq!(overlay.confirmed(&confirmed(13, 5)), None, "once");
        // As of the slot the record never saw what was shown: the fork is gone, and nobody said so.
        assert_eq!(over().confirmed(&confirmed(12, 1)), Some(Dropped { reverted: true }));
        assert_eq!(over().confirmed(&confirmed(99, 1)), Some(Dropped { reverted: true }));
        let unseen = Confirmed { as_of: 12, state: None };
        assert_eq!(over().confirmed(&unseen), Some(Dropped { reverted: true }));
    }

    #[test]
    fn nothing_is_shown_of_a_slot_that_is_confirmed() {
        let mut overlay = Overlay::default();
        assert_eq!(overlay.see(life(1), 10, tokens(5), &confirmed(10, 1)), OverlayChange::Superseded);
        assert_eq!(overlay.shown(), None);
        // A node that goes back as far as that takes back what it had shown.
        let back = over().see(life(1), 10, tokens(1), &confirmed(10, 1));
        assert_eq!(back, OverlayChange::Dropped(Dropped { reverted: true }));
        let mut overlay = over();
        assert_eq!(
            overlay.see(life(1), 9, tokens(5), &confirmed(10, 1)),
            OverlayChange::Dropped(Dropped { reverted: false })
        );
        assert_eq!(overlay.shown(), None);
        // Another node that is late takes nothing back.
        let mut overlay = over();
        assert_eq!(overlay.see(life(2), 10, tokens(1), &confirmed(10, 1)), OverlayChange::Superseded);
        assert_eq!(shows(&overlay), Some((tokens(5), 12)));
    }

    #[test]
    fn a_connection_takes_what_it_has_shown_with_it() {
        let mut overlay = over();
        assert_eq!(overlay.ended(life(2)), None);
        assert_eq!(overlay.ended(life(1)), Some(Dropped { reverted: false }));
        assert_eq!(overlay.shown(), None);
        // The next life of the same connection starts below without being superseded.
        assert_eq!(overlay.see(life(2), 11, tokens(2), &confirmed(10, 1)), OverlayChange::Changed);
    }

    #[test]
    fn what_is_confirmed_already_is_no_change_when_it_is_seen() {
        let mut overlay = Overlay::default();
        assert_eq!(overlay.see(life(1), 12, tokens(1), &confirmed(10, 1)), OverlayChange::Renewed);
        assert_eq!(shows(&overlay), Some((tokens(1), 12)));
        let first = Overlay::default().see(life(1), 12, tokens(1), &Confirmed::default());
        assert_eq!(first, OverlayChange::Changed);
    }

    #[test]
    fn an_account_that_came_and_went_is_not_a_revert() {
        let mut overlay = Overlay::default();
        let nothing = |as_of| Confirmed { as_of, state: Some(AccountState::Absent) };
        assert_eq!(overlay.see(life(1), 12, tokens(5), &nothing(10)), OverlayChange::Changed);
        assert_eq!(overlay.see(life(1), 13, AccountState::Closed, &nothing(10)), OverlayChange::Changed);
        assert_eq!(overlay.confirmed(&nothing(13)), Some(Dropped { reverted: false }));
    }
}
