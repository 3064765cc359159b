//! The faults as a list, for whoever picks among them at random.

use std::time::Duration;

use solana_pubkey::Pubkey;
use solana_sdk_ids::sysvar::clock;

use super::Faults;
use crate::{
    conditions::{Ahead, State, TooMany},
    hostile::{
        answers::BadAnswer,
        flood::Flood,
        forged::Forged,
        junk::{Huge, Junk},
        malformed::Malformed,
    },
    lies::Side,
};

/// What a fault is aimed at, and how hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Aim {
    /// The account that faults of one account strike.
    pub account: Pubkey,
    /// Another one, whose contents may be told in its place.
    pub other: Pubkey,
    /// From 1, mild, to 10, hard: so many slots, times, tens of milliseconds, as the fault has it.
    pub strength: u64,
}

/// Declares the faults together with the list of those without data.
macro_rules! faults {
    ($($(#[$doc:meta])* $plain:ident,)* ; $($(#[$listed_doc:meta])* $listed:ident,)*) => {
        /// A kind of fault. What it does exactly is told by the methods of [`Faults`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Fault {
            $($(#[$doc])* $plain,)*
            $($(#[$listed_doc])* $listed($listed),)*
        }

        impl Fault {
            /// Every one there is.
            pub fn all() -> Vec<Self> {
                let mut all = vec![$(Self::$plain,)*];
                $(all.extend($listed::ALL.iter().copied().map(Self::$listed));)*
                all
            }
        }
    };
}

faults! {
    /// [`Faults::lag`].
    Lag,
    /// [`Faults::lag_by`].
    LagByTime,
    /// [`Faults::cut_with_reset`].
    CutWithReset,
    /// [`Faults::cut_with_fin`].
    CutWithFin,
    /// [`Faults::cut_with_close_frame`].
    CutWithCloseFrame,
    /// [`Faults::ws_down`].
    WsDown,
    /// [`Faults::ws_half_open`].
    WsHalfOpen,
    /// [`Faults::refuse_connections`] with 503.
    RefuseConnections,
    /// The same with 429 and Retry-After.
    RefuseConnectionsWithRetryAfter,
    /// [`Faults::close_idle`].
    CloseIdle,
    /// [`Faults::flood`] of the account.
    FloodOfAccount,
    /// [`Faults::flood`] of unknown ids.
    FloodOfUnknownIds,
    /// [`Faults::send_huge_frame`] of a notification.
    HugeNotification,
    /// [`Faults::send_huge_frame`] of text.
    HugeText,
    /// [`Faults::refuse_subscriptions`].
    RefuseSubscriptions,
    /// [`Faults::refuse_subscriptions_to`] the account.
    RefuseAccount,
    /// [`Faults::refuse_subscriptions_to`] the Clock.
    RefuseClock,
    /// [`Faults::ignore_subscriptions`].
    IgnoreSubscriptions,
    /// [`Faults::ignore_subscriptions_to`] the account.
    IgnoreAccount,
    /// [`Faults::delay_acknowledgements`].
    DelayAcknowledgements,
    /// [`Faults::delay_baselines`].
    DelayBaselines,
    /// [`Faults::kill_subscriptions_to`] the account.
    KillAccount,
    /// [`Faults::kill_subscriptions_to`] the Clock.
    KillClock,
    /// [`Faults::refuse_slices`].
    RefuseSlices,
    /// [`Faults::ignore_slices`].
    IgnoreSlices,
    /// [`Faults::limit_subscriptions`].
    LimitSubscriptions,
    /// [`Faults::silence`].
    Silence,
    /// [`Faults::silence_account`].
    SilenceAccount,
    /// [`Faults::silence_account`] of the Clock.
    SilenceClock,
    /// [`Faults::drop_notifications`] about the account.
    DropNotifications,
    /// [`Faults::delay_notifications`].
    DelayNotifications,
    /// [`Faults::duplicate_notifications`].
    DuplicateNotifications,
    /// [`Faults::reorder_notifications`].
    ReorderNotifications,
    /// [`Faults::lag_notifications`].
    LagNotifications,
    /// [`Faults::check_every`].
    SkipChecks,
    /// [`Faults::undecodable_rent_epoch`].
    UndecodableRentEpoch,
    /// [`Faults::silent_reverts`].
    SilentReverts,
    /// [`Faults::slots_ahead`] in notifications, by a thousand times the strength.
    NotificationsAhead,
    /// [`Faults::slots_ahead`] in notifications, up to 2^64 - 1.
    NotificationsAtMax,
    /// [`Faults::slots_ahead`] in RPC answers, by a thousand times the strength.
    RpcAhead,
    /// [`Faults::slots_ahead`] in RPC answers, up to 2^64 - 1.
    RpcAtMax,
    /// [`Faults::slots_ahead`] on both sides, up to 2^64 - 1.
    AllAtMax,
    /// [`Faults::lie`] in notifications.
    LieInNotifications,
    /// [`Faults::lie`] in RPC answers.
    LieInRpc,
    /// [`Faults::lie`] on both sides.
    LieEverywhere,
    /// [`Faults::tell_instead`] in notifications.
    TellOther,
    /// [`Faults::rpc_down`].
    RpcDown,
    /// [`Faults::rpc_stall`].
    RpcStall,
    /// [`Faults::rpc_delay`].
    RpcDelay,
    /// [`Faults::rpc_refuse`] with 429.
    RpcTooManyRequests,
    /// The same with Retry-After.
    RpcTooManyRequestsWithRetryAfter,
    /// [`Faults::rpc_refuse`] with 500.
    RpcServerError,
    /// [`Faults::rpc_error`].
    RpcError,
    /// [`Faults::hold_rpc`].
    HoldRpc,
    /// [`Faults::freeze_rpc`].
    FreezeRpc,
    /// [`Faults::min_context_slot_as_internal_error`].
    MinContextSlotAsInternalError,
    /// [`Faults::unhealthy`].
    Unhealthy,
    /// [`Faults::limit_keys`], refused with -32602.
    LimitKeys,
    /// [`Faults::limit_keys`], refused with HTTP 413.
    LimitPayload,
    /// [`Faults::freeze_clock`].
    FreezeClock,
    /// [`Faults::clock_behind`].
    ClockBehind,
    /// [`Faults::revert`].
    Revert,
    ;
    /// [`Faults::send_junk`].
    Junk,
    /// [`Faults::forge_acknowledgements`].
    Forged,
    /// [`Faults::malform`] of the account's notifications.
    Malformed,
    /// [`Faults::bad_answers`].
    BadAnswer,
}

/// Not a number of times, but until it is ended.
const UNTIL_ENDED: Option<u64> = None;
/// How long the huge frames are.
const HUGE: usize = 60_000_000;

impl Fault {
    /// Whether it is a state, which ends by [`Faults::end`]; others happen once.
    pub fn lasts(self) -> bool {
        !matches!(
            self,
            Self::CutWithReset
                | Self::CutWithFin
                | Self::CutWithCloseFrame
                | Self::HugeNotification
                | Self::HugeText
                | Self::KillAccount
                | Self::KillClock
                | Self::Revert
                | Self::Junk(_)
        )
    }

    /// Whether under it a node tells, in good form, slots or contents that are not the chain's.
    pub fn lies(self) -> bool {
        matches!(
            self,
            Self::NotificationsAhead
                | Self::NotificationsAtMax
                | Self::RpcAhead
                | Self::RpcAtMax
                | Self::AllAtMax
                | Self::LieInNotifications
                | Self::LieInRpc
                | Self::LieEverywhere
                | Self::TellOther
                | Self::Forged(Forged::SharedId)
                | Self::Malformed(Malformed::ShortData | Malformed::HugeSpace)
                | Self::BadAnswer(BadAnswer::Reversed | BadAnswer::Nulls)
        )
    }

    /// Whether it is of the chain, so that all nodes feel it.
    pub fn is_of_chain(self) -> bool {
        matches!(self, Self::FreezeClock | Self::ClockBehind | Self::Revert)
    }
}

/// Any of them.
impl Faults {
    /// Begins a fault of this node, or of the chain.
    pub fn begin(&self, fault: Fault, aim: &Aim) {
        let Aim { account, other, strength } = aim;
        let (strength, some) = (*strength, Duration::from_millis(10) * *strength as u32);
        // An amount that no honest test deals in.
        let amount = 0xbad0_0000 + strength;
        match fault {
            Fault::Lag => self.lag(strength),
            Fault::LagByTime => self.lag_by(some * 10),
            Fault::CutWithReset => drop(self.cut_with_reset()),
            Fault::CutWithFin => drop(self.cut_with_fin()),
            Fault::CutWithCloseFrame => drop(self.cut_with_close_frame()),
            Fault::WsDown => self.ws_down(true),
            Fault::WsHalfOpen => self.ws_half_open(true),
            Fault::RefuseConnections => self.refuse_connections(503, None, UNTIL_ENDED),
            Fault::RefuseConnectionsWithRetryAfter => self.refuse_connections(429, Some(1), UNTIL_ENDED),
            Fault::CloseIdle => self.close_idle(Some(some * 10)),
            Fault::FloodOfAccount => self.flood(Flood::Account(*account), 1000 * strength),
            Fault::FloodOfUnknownIds => self.flood(Flood::UnknownIds, 1000 * strength),
            Fault::HugeNotification => self.send_huge_frame(Huge::Notification, HUGE),
            Fault::HugeText => self.send_huge_frame(Huge::Text, HUGE),
            Fault::RefuseSubscriptions => self.refuse_subscriptions(-32603, "Internal error"),
            Fault::RefuseAccount => self.refuse_subscriptions_to(account, -32603, "Internal error"),
            Fault::RefuseClock => self.refuse_subscriptions_to(&clock::ID, -32602, "not offered"),
            Fault::IgnoreSubscriptions => self.ignore_subscriptions(true),
            Fault::IgnoreAccount => self.ignore_subscriptions_to(account),
            Fault::DelayAcknowledgements => self.delay_acknowledgements(some),
            Fault::DelayBaselines => self.delay_baselines(strength),
            Fault::KillAccount => drop(self.kill_subscriptions_to(account)),
            Fault::KillClock => drop(self.kill_subscriptions_to(&clock::ID)),
            Fault::RefuseSlices => self.refuse_slices(true),
            Fault::IgnoreSlices => self.ignore_slices(true),
            Fault::LimitSubscriptions => {
                self.limit_subscriptions(
                    Some(11 - strength.min(10) as usize),
                    -32603,
                    "too many subscriptions",
                );
            }
            Fault::Silence => self.silence(true),
            Fault::SilenceAccount => self.silence_account(account),
            Fault::SilenceClock => self.silence_account(&clock::ID),
            Fault::DropNotifications => self.drop_notifications(account, strength),
            Fault::DelayNotifications => self.delay_notifications(some),
            Fault::DuplicateNotifications => self.duplicate_notifications(strength),
            Fault::ReorderNotifications => self.reorder_notifications(strength as usize),
            Fault::LagNotifications => self.lag_notifications(strength),
            Fault::SkipChecks => self.check_every(1 + strength),
            Fault::UndecodableRentEpoch => self.undecodable_rent_epoch(true),
            Fault::SilentReverts => self.silent_reverts(true),
            Fault::NotificationsAhead => self.slots_ahead(Side::Notifications, 1000 * strength, None),
            Fault::NotificationsAtMax => self.slots_ahead(Side::Notifications, u64::MAX, None),
            Fault::RpcAhead => self.slots_ahead(Side::Rpc, 1000 * strength, None),
            Fault::RpcAtMax => self.slots_ahead(Side::Rpc, u64::MAX, None),
            Fault::AllAtMax => self.slots_ahead(Side::Both, u64::MAX, None),
            Fault::LieInNotifications => self.lie(account, amount, Side::Notifications),
            Fault::LieInRpc => self.lie(account, amount, Side::Rpc),
            Fault::LieEverywhere => self.lie(account, amount, Side::Both),
            Fault::TellOther => self.tell_instead(account, other, Side::Notifications),
            Fault::RpcDown => self.rpc_down(true),
            Fault::RpcStall => self.rpc_stall(true),
            Fault::RpcDelay => self.rpc_delay(some),
            Fault::RpcTooManyRequests => self.rpc_refuse(429, None, UNTIL_ENDED),
            Fault::RpcTooManyRequestsWithRetryAfter => self.rpc_refuse(429, Some(1), UNTIL_ENDED),
            Fault::RpcServerError => self.rpc_refuse(500, None, UNTIL_ENDED),
            Fault::RpcError => self.rpc_error(-32603, "Internal error"),
            Fault::HoldRpc => self.hold_rpc(strength),
            Fault::FreezeRpc => self.freeze_rpc(true),
            Fault::MinContextSlotAsInternalError => self.min_context_slot_as_internal_error(true),
            Fault::Unhealthy => self.unhealthy(Some(strength)),
            Fault::LimitKeys => self.limit_keys(Some(strength as usize), TooMany::InvalidParams),
            Fault::LimitPayload => self.limit_keys(Some(strength as usize), TooMany::PayloadTooLarge),
            Fault::FreezeClock => self.freeze_clock(true),
            Fault::ClockBehind => self.clock_behind(Duration::from_secs(10) * strength as u32),
            Fault::Revert => drop(self.revert(strength)),
            Fault::Junk(junk) => self.send_junk(junk),
            Fault::Forged(how) => self.forge_acknowledgements(Some(how)),
            Fault::Malformed(how) => self.malform(Some(how), Some(account)),
            Fault::BadAnswer(how) => self.bad_answers(Some(how)),
        }
    }

    /// Ends a fault that lasts, for all accounts. Of two kinds that set the same, either ends both.
    pub fn end(&self, fault: Fault) {
        match fault {
            Fault::FreezeClock => self.freeze_clock(false),
            Fault::ClockBehind => self.clock_behind(Duration::ZERO),
            fault => self.set(|state| undo(state, fault)),
        }
    }
}

fn undo(state: &mut State, fault: Fault) {
    match fault {
        Fault::Lag => state.behind = 0,
        Fault::LagByTime => state.behind_by = Duration::ZERO,
        Fault::WsDown => state.ws_down = false,
        Fault::WsHalfOpen => state.ws_half_open = false,
        Fault::RefuseConnections | Fault::RefuseConnectionsWithRetryAfter => state.ws_refusal = None,
        Fault::CloseIdle => state.idle_limit = None,
        Fault::FloodOfAccount | Fault::FloodOfUnknownIds => state.flood = None,
        Fault::RefuseSubscriptions => state.refuse_subscriptions = None,
        Fault::RefuseAccount => state.refuse_accounts.retain(|account, _| *account == clock::ID),
        Fault::RefuseClock => drop(state.refuse_accounts.remove(&clock::ID)),
        Fault::IgnoreSubscriptions => state.ignore_subscriptions = false,
        Fault::IgnoreAccount => state.ignore_accounts.clear(),
        Fault::DelayAcknowledgements => state.acknowledgement_delay = Duration::ZERO,
        Fault::DelayBaselines => state.baseline_delay = 0,
        Fault::RefuseSlices => state.refuse_slices = false,
        Fault::IgnoreSlices => state.ignore_slices = false,
        Fault::LimitSubscriptions => state.subscription_limit = None,
        Fault::Silence => state.silent = false,
        Fault::SilenceAccount => state.silent_accounts.retain(|account| *account == clock::ID),
        Fault::SilenceClock => drop(state.silent_accounts.remove(&clock::ID)),
        Fault::DropNotifications => state.drops.clear(),
        Fault::DelayNotifications => state.notification_delay = Duration::ZERO,
        Fault::DuplicateNotifications => state.duplicates = 0,
        Fault::ReorderNotifications => state.reorder_window = 0,
        Fault::LagNotifications => state.notifications_behind = 0,
        Fault::SkipChecks => state.check_every = 0,
        Fault::UndecodableRentEpoch => state.undecodable_rent_epoch = false,
        Fault::SilentReverts => state.silent_reverts = false,
        Fault::NotificationsAhead | Fault::NotificationsAtMax => state.notifications_ahead = Ahead::default(),
        Fault::RpcAhead | Fault::RpcAtMax => state.rpc_ahead = Ahead::default(),
        Fault::AllAtMax => {
            state.notifications_ahead = Ahead::default();
            state.rpc_ahead = Ahead::default();
        }
        Fault::LieInNotifications | Fault::LieInRpc | Fault::LieEverywhere | Fault::TellOther => {
            state.lies.clear();
        }
        Fault::RpcDown => state.rpc_down = false,
        Fault::RpcStall => state.rpc_stalled = false,
        Fault::RpcDelay => state.rpc_delay = Duration::ZERO,
        Fault::RpcTooManyRequests | Fault::RpcTooManyRequestsWithRetryAfter | Fault::RpcServerError => {
            state.rpc_refusal = None;
        }
        Fault::RpcError => state.rpc_error = None,
        Fault::HoldRpc => state.rpc_behind = 0,
        Fault::FreezeRpc => state.rpc_frozen_at = None,
        Fault::MinContextSlotAsInternalError => state.min_context_slot_as_internal_error = false,
        Fault::Unhealthy => state.unhealthy = None,
        Fault::LimitKeys | Fault::LimitPayload => state.key_limit = None,
        Fault::Forged(_) => state.forged = None,
        Fault::Malformed(_) => state.malformed = None,
        Fault::BadAnswer(_) => state.bad_answers = None,
        // Those of the chain are ended elsewhere, the others happen once.
        Fault::FreezeClock
        | Fault::ClockBehind
        | Fault::Revert
        | Fault::CutWithReset
        | Fault::CutWithFin
        | Fault::CutWithCloseFrame
        | Fault::HugeNotification
        | Fault::HugeText
        | Fault::KillAccount
        | Fault::KillClock
        | Fault::Junk(_) => {}
    }
}
