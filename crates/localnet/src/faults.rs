//! What can go wrong, at will.

mod kinds;
mod notifying;
mod rpc;
mod subscribing;

use std::{sync::Arc, time::Duration};

use tokio_tungstenite::tungstenite::Message;

pub use self::kinds::{Aim, Fault};
use crate::{
    conditions::{Refusal, RefusedCall, State},
    face::Face,
    hostile::{
        flood::Flood,
        junk::{Huge, Junk},
    },
    hub::Cut,
};

/// The faults of a node, and those of the chain, which all nodes feel. Each call takes effect at
/// once; those that last do so until [`clear`](Self::clear), or until the same call undoes them.
#[derive(Clone, Debug)]
pub struct Faults {
    face: Arc<Face>,
}

impl Faults {
    pub(crate) fn new(face: Arc<Face>) -> Self {
        Self { face }
    }

    /// Ends every lasting fault. Connections that were held half open are reset, RPC requests that
    /// were stalled end without an answer; what was lost stays lost. A block that was reverted
    /// stays so.
    pub fn clear(&self) {
        self.face.faults.change(|state| *state = State::default());
        let mut chain = self.face.chain();
        chain.clock_frozen = false;
        chain.clock_behind = 0;
    }

    /// The faults in force, in words, for logs. Equal texts mean equal faults.
    pub fn in_force(&self) -> String {
        let chain = self.face.chain();
        let of_chain = (chain.clock_frozen, chain.clock_behind);
        format!("{:?}, Clock frozen and behind: {of_chain:?}", *self.face.faults.read())
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        self.face.faults.change(change);
    }
}

/// The whole node.
impl Faults {
    /// The node is so many blocks behind the chain, with all that it notifies and answers. Zero
    /// ends it.
    pub fn lag(&self, blocks: u64) {
        self.set(|state| state.behind = blocks);
    }

    /// The node holds the bank that was the tip so long ago. No time ends it. It notifies as the
    /// chain's slots go on.
    pub fn lag_by(&self, time: Duration) {
        self.set(|state| state.behind_by = time);
    }
}

/// The connection.
impl Faults {
    /// Resets every WebSocket connection (TCP RST). Returns how many.
    pub fn cut_with_reset(&self) -> usize {
        self.face.hub.lock().cut_all(&Cut::Reset)
    }

    /// Ends the stream of every WebSocket connection (TCP FIN) without a Close frame. Returns how
    /// many.
    pub fn cut_with_fin(&self) -> usize {
        self.face.hub.lock().cut_all(&Cut::Fin)
    }

    /// Closes every WebSocket connection politely, with a Close frame. Returns how many.
    pub fn cut_with_close_frame(&self) -> usize {
        self.face.hub.lock().cut_all(&Cut::Close)
    }

    /// WebSocket connections are accepted and closed at once, before the handshake; those that
    /// exist are reset.
    pub fn ws_down(&self, on: bool) {
        self.set(|state| state.ws_down = on);
        if on {
            self.cut_with_reset();
        }
    }

    /// WebSocket connections, old and new ones, take bytes and answer nothing: no handshake, no
    /// acknowledgement, no notification, no pong. When it is over they are reset.
    pub fn ws_half_open(&self, on: bool) {
        self.set(|state| state.ws_half_open = on);
    }

    /// New WebSocket connections are refused with this HTTP status (429, 503), so many `times` or
    /// until cleared.
    pub fn refuse_connections(&self, status: u16, retry_after: Option<u64>, times: Option<u64>) {
        let refusal = Refusal { status, retry_after, times };
        self.set(|state| state.ws_refusal = Some(refusal));
    }

    /// Sends a text to every WebSocket connection, as it is.
    pub fn inject(&self, text: &str) {
        self.face.hub.lock().broadcast(|_| Message::text(text));
    }

    /// Sends a frame that no honest node sends to every WebSocket connection.
    pub fn send_junk(&self, junk: Junk) {
        self.face.hub.lock().broadcast(|_| junk.frame());
    }

    /// Sends a single frame of so many bytes, or some more, to every WebSocket connection.
    pub fn send_huge_frame(&self, what: Huge, bytes: usize) {
        self.face.hub.lock().broadcast(|held| Message::Text(what.text(bytes, held)));
    }

    /// Sends so many notifications a second to every WebSocket connection, beside what else there
    /// is. Zero ends it.
    pub fn flood(&self, of: Flood, per_second: u64) {
        self.set(|state| state.flood = (per_second > 0).then_some((of, per_second)));
    }

    /// A connection from which no message came for so long is closed, with a Close frame.
    pub fn close_idle(&self, after: Option<Duration>) {
        self.set(|state| state.idle_limit = after);
    }
}

/// The chain: whichever node's handle they are called on, all nodes feel them.
impl Faults {
    /// The Clock sysvar stands still while slots go on.
    pub fn freeze_clock(&self, on: bool) {
        self.face.chain().clock_frozen = on;
    }

    /// The Clock sysvar tells a time this much in the past, as that of a node that lags.
    pub fn clock_behind(&self, by: Duration) {
        self.face.chain().clock_behind = by.as_secs() as i64;
    }

    /// Reverts a fork: the newest `blocks` unconfirmed blocks are abandoned, with the transactions
    /// in them and in the open bank, and a new block on their parent becomes the tip in the same
    /// moment. Processed subscribers are told the reverted states, but by nodes with
    /// [`silent_reverts`](Self::silent_reverts); slot numbers go on. Returns the abandoned slots:
    /// fewer than asked for where confirmed blocks begin (see
    /// [`Builder::confirmed_depth`](crate::Builder::confirmed_depth)).
    pub fn revert(&self, blocks: u64) -> Vec<u64> {
        self.face.cluster.settle();
        let abandoned = self.face.cluster.revert(blocks);
        self.face.cluster.settle();
        abandoned
    }
}

fn refused(code: i64, message: &str) -> RefusedCall {
    RefusedCall { code, message: message.into() }
}
