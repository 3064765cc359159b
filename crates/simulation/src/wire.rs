//! A connection: a socket that keeps its order, and the client's channels behind it.

use std::collections::VecDeque;

use balance_mirror::core::link::websocket::Subject;

use crate::{
    agenda::Nanos,
    node::{Notice, Told},
    skin::account_of,
};

/// What the server sends, in order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Message {
    Acknowledged {
        subject: Subject,
        id: u64,
    },
    Refused(Subject),
    Unsubscribed(Subject),
    Notice(Notice),
    /// The connection is closed.
    End,
}

/// What the client sends, in order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Request {
    Subscribe(Subject),
    /// Of an id; without a subject where nobody waits for the answer.
    Unsubscribe(u64, Option<Subject>),
    Close,
}

/// What one of the client's channels holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arrival {
    Acknowledged,
    Refused,
    Unsubscribed,
    Told { slot: u64, told: Told, since: Nanos },
}

#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) node: usize,
    pub(crate) link: u16,
    /// The twin that looks at processed.
    pub(crate) processed: bool,
    pub(crate) delay: Nanos,
    /// Nothing arrives before: then all at once.
    pub(crate) stalled_until: Nanos,
    pub(crate) last_to_client: Nanos,
    pub(crate) last_to_server: Nanos,
    /// Nothing comes through any more, and nobody is told.
    pub(crate) half_open: bool,
    /// The server's side is there.
    pub(crate) served: bool,
    /// The client's side is there.
    pub(crate) held: bool,
    /// What is on its way will not arrive.
    pub(crate) cut: bool,
    /// Notices may come twice until then.
    pub(crate) doubles_until: Nanos,
    pub(crate) last_notice: Option<Notice>,
    /// The client's subscriptions by the server's ids.
    pub(crate) ids: Vec<(u64, Subject)>,
    /// The canary's channel.
    pub(crate) canaries: VecDeque<Arrival>,
    /// All the other channels.
    pub(crate) others: Vec<(Subject, Arrival)>,
    pub(crate) canary_replaced: bool,
    pub(crate) ended: bool,
    pub(crate) turning: bool,
}

impl Wire {
    pub(crate) fn new(node: usize, link: u16, processed: bool, delay: Nanos) -> Self {
        Self {
            node,
            link,
            processed,
            delay,
            stalled_until: 0,
            last_to_client: 0,
            last_to_server: 0,
            half_open: false,
            served: true,
            held: true,
            cut: false,
            doubles_until: 0,
            last_notice: None,
            ids: Vec::new(),
            canaries: VecDeque::new(),
            others: Vec::new(),
            canary_replaced: false,
            ended: false,
            turning: false,
        }
    }

    /// Sorts what arrives into the channels; an id that nobody knows is to be unsubscribed.
    pub(crate) fn arrive(&mut self, message: Message, since: Nanos) -> Option<u64> {
        match message {
            Message::Acknowledged { subject, id } => {
                // Equal parameters: the first stream ends, in silence.
                if let Some(place) = self.ids.iter().position(|(known, _)| *known == id) {
                    let (_, replaced) = self.ids.swap_remove(place);
                    if replaced == Subject::Canary {
                        self.canary_replaced = true;
                    } else {
                        self.ended = true;
                    }
                }
                self.ids.push((id, subject));
                self.file(subject, Arrival::Acknowledged);
            }
            Message::Refused(subject) => self.file(subject, Arrival::Refused),
            Message::Unsubscribed(subject) => self.file(subject, Arrival::Unsubscribed),
            Message::Notice(notice) => {
                let Some((_, subject)) = self.ids.iter().find(|(id, _)| *id == notice.id) else {
                    return Some(notice.id);
                };
                self.file(*subject, Arrival::Told { slot: notice.slot, told: notice.told, since });
            }
            Message::End => self.ended = true,
        }
        None
    }

    fn file(&mut self, subject: Subject, arrival: Arrival) {
        match subject {
            Subject::Canary => self.canaries.push_back(arrival),
            _ => self.others.push((subject, arrival)),
        }
    }

    /// The client stops a subscription: what it still delivers is dropped. Its id, if it has one.
    pub(crate) fn stop(&mut self, subject: Subject) -> Option<u64> {
        self.others.retain(|(other, _)| *other != subject);
        let place = self.ids.iter().position(|(_, other)| *other == subject)?;
        Some(self.ids.swap_remove(place).0)
    }

    /// The account whose subscription has that id.
    pub(crate) fn account_of(&self, id: u64) -> Option<usize> {
        match self.ids.iter().find(|(known, _)| *known == id)?.1 {
            Subject::Account { address, .. } => Some(account_of(&address)),
            _ => None,
        }
    }

    pub(crate) fn has_news(&self) -> bool {
        self.ended || self.canary_replaced || !self.canaries.is_empty() || !self.others.is_empty()
    }
}
