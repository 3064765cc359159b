//! One connection, and what the server does for it: requests, subscriptions that take effect in
//! order, and one queue of everything that it says.

use std::collections::VecDeque;

use balance_mirror::core::link::websocket::Subject;

use crate::chain::{Chain, Millis, Slot, Value, account_of};

/// What the client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Request {
    Subscribe(Subject),
    Unsubscribe(Subject),
}

/// What the server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    Acknowledged,
    Unsubscribed,
    /// A notification of the Clock, as canary or as barrier.
    Clock(Slot),
    Account(Slot, Value),
}

impl Event {
    pub(crate) fn is_answer(self) -> bool {
        matches!(self, Self::Acknowledged | Self::Unsubscribed)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Subscription {
    subject: Subject,
    /// What was last told of the account, and the slot in which it was written.
    told: Option<(Value, Slot)>,
    /// A barrier has told all there is to tell.
    over: bool,
}

/// What a node shows in a slot: what stands at each account, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Bank {
    slot: Slot,
    accounts: Vec<(Value, Slot)>,
}

/// An open connection, its client's end and its server's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Connection {
    pub(crate) node: u8,
    /// Shows the processed bank.
    pub(crate) processed: bool,
    /// Half-open: nothing passes any more, and nobody is told.
    pub(crate) frozen: bool,
    pub(crate) requests: VecDeque<Request>,
    /// What the notifier has not come to: subscriptions that are acknowledged, each with the banks
    /// behind it. Where none waits, a bank is told at once: how late it is heard is the queue's
    /// affair.
    backlog: VecDeque<(Subscription, Vec<Bank>)>,
    subscriptions: Vec<Subscription>,
    pub(crate) queue: VecDeque<(Subject, Event)>,
    /// What the client has heard: when of the last canary, and by account the last notification.
    pub(crate) ticked: Millis,
    pub(crate) heard: Vec<Option<(Slot, Value)>>,
}

/// Whether the server takes two subjects for one subscription, with one id.
fn share(one: Subject, other: Subject) -> bool {
    match (one, other) {
        (
            Subject::Account { address, attempt, own_parameters },
            Subject::Account { address: other, attempt: of_other, own_parameters: others },
        ) => address == other && own_parameters == others && (!own_parameters || attempt == of_other),
        _ => one == other,
    }
}

impl Connection {
    pub(crate) fn open(node: u8, processed: bool, accounts: u8) -> Self {
        Self {
            node,
            processed,
            frozen: false,
            requests: VecDeque::new(),
            backlog: VecDeque::new(),
            subscriptions: Vec::new(),
            queue: VecDeque::new(),
            ticked: 0,
            heard: vec![None; usize::from(accounts)],
        }
    }

    /// The server takes the oldest request.
    pub(crate) fn take(&mut self) {
        let Some(request) = self.requests.pop_front() else { return };
        match request {
            Request::Subscribe(subject) => {
                // Equal parameters are one subscription, whoever asks again.
                let waiting = self.backlog.iter_mut().map(|(held, _)| held);
                let mut all = self.subscriptions.iter_mut().chain(waiting);
                match all.find(|held| !held.over && share(held.subject, subject)) {
                    Some(held) => held.subject = subject,
                    None => {
                        let held = Subscription { subject, told: None, over: false };
                        self.backlog.push_back((held, Vec::new()));
                    }
                }
                self.queue.push_back((subject, Event::Acknowledged));
            }
            Request::Unsubscribe(subject) => {
                self.subscriptions.retain(|held| !share(held.subject, subject));
                // It is notified of nothing any more; the banks behind it keep their place.
                self.backlog.iter_mut().for_each(|(held, _)| held.over |= share(held.subject, subject));
                self.queue.push_back((subject, Event::Unsubscribed));
            }
        }
    }

    pub(crate) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// The oldest subscription takes effect: what changes from here on is told, and no initial
    /// state. Then come the banks behind it, up to the next one.
    pub(crate) fn take_effect(&mut self, shown: impl Fn(u8) -> (Value, Slot)) {
        let Some((mut held, banks)) = self.backlog.pop_front() else { return };
        if let Subject::Account { address, .. } = held.subject {
            held.told = Some(shown(account_of(&address)));
        }
        if !held.over {
            self.subscriptions.push(held);
        }
        for bank in banks {
            self.tell(&bank);
        }
    }

    /// The node shows a bank.
    pub(crate) fn notify(&mut self, slot: Slot, shown: impl Fn(u8) -> (Value, Slot)) {
        if self.frozen {
            return;
        }
        let accounts = (0..self.heard.len() as u8).map(shown).collect();
        let bank = Bank { slot, accounts };
        match self.backlog.back_mut() {
            Some((_, banks)) => banks.push(bank),
            None => self.tell(&bank),
        }
    }

    /// Within one slot the order is arbitrary: canaries go first in every other one.
    fn tell(&mut self, bank: &Bank) {
        let slot = bank.slot;
        let canaries_first = slot.is_multiple_of(2);
        for clocks in [canaries_first, !canaries_first] {
            for held in self.subscriptions.iter_mut().filter(|held| !held.over) {
                match held.subject {
                    Subject::Account { address, .. } if !clocks => {
                        let written = bank.accounts[usize::from(account_of(&address))];
                        // Older than what it began with, and not told.
                        let begun = held.told.is_some_and(|(_, since)| since > written.1);
                        if held.told != Some(written) && !begun {
                            held.told = Some(written);
                            self.queue.push_back((held.subject, Event::Account(slot, written.0)));
                        }
                    }
                    Subject::Canary if clocks => self.queue.push_back((held.subject, Event::Clock(slot))),
                    Subject::Barrier { .. } if clocks => {
                        // It goes on, and nobody listens any more.
                        held.over = true;
                        self.queue.push_back((held.subject, Event::Clock(slot)));
                    }
                    _ => {}
                }
            }
        }
    }

    /// Whether the server holds a subscription of the account that has taken effect.
    pub(crate) fn holds(&self, account: u8) -> bool {
        self.subscriptions.iter().any(|held| {
            matches!(held.subject, Subject::Account { address, .. } if account_of(&address) == account)
        })
    }

    /// The server forgets the account's subscription, and says nothing.
    pub(crate) fn kill(&mut self, account: u8) {
        self.subscriptions.retain(|held| {
            !matches!(held.subject, Subject::Account { address, .. } if account_of(&address) == account)
        });
    }
}

/// What a node shows of the confirmed chain when it has come to a slot.
pub(crate) fn confirmed(chain: &Chain, slot: Slot) -> impl Fn(u8) -> (Value, Slot) + '_ {
    move |account| (chain.value(account, slot).unwrap_or(Value::Absent), chain.written(account, slot))
}
