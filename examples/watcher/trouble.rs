//! A fault now and then.

use std::time::Duration;

use localnet::Faults;
use tokio::time::sleep;

use crate::output::{Output, Voice};

/// From the start to the first fault: the mirror is live by then, and the market has opened.
const FIRST: Duration = Duration::from_secs(5);
/// From the end of one to the next: time to see the recovery.
const BETWEEN: Duration = Duration::from_secs(5);

/// One fault: what it does, for how long, and what to watch for.
struct Act {
    begins: &'static str,
    watch_for: &'static str,
    begin: fn(&Faults),
    lasts: Duration,
}

/// In the order in which they are played, over and over.
const ACTS: [Act; 6] = [
    Act {
        begins: "the connection is cut, and no new one let in for 5 s",
        watch_for: "balances age, then RPC serves them; trades go on and are caught up with",
        begin: |faults| {
            faults.refuse_connections(503, None, None);
            faults.cut_with_reset();
        },
        lasts: Duration::from_secs(5),
    },
    Act {
        begins: "the connection is cut and RPC is down too, for 7 s",
        watch_for: "what is too old is refused with an error, never served as a fresh number",
        begin: |faults| {
            faults.rpc_down(true);
            faults.refuse_connections(503, None, None);
            faults.cut_with_reset();
        },
        lasts: Duration::from_secs(7),
    },
    Act {
        begins: "RPC refuses every call with HTTP 429 for 6 s, while the connection lives",
        watch_for: "readings notice nothing",
        begin: |faults| faults.rpc_refuse(429, None, None),
        lasts: Duration::from_secs(6),
    },
    Act {
        begins: "the node goes silent on an open socket for 6 s",
        watch_for: "the canary's deadline finds it",
        begin: |faults| faults.silence(true),
        lasts: Duration::from_secs(6),
    },
    Act {
        begins: "the connection is closed politely, with a Close frame",
        watch_for: "it is back before any balance is too old",
        begin: |faults| {
            faults.cut_with_close_frame();
        },
        lasts: Duration::from_secs(1),
    },
    Act {
        begins: "the connection is cut, and RPC falls 20 slots behind, for 6 s",
        watch_for: "an answer older than what is known is no answer",
        begin: |faults| {
            faults.hold_rpc(20);
            faults.refuse_connections(503, None, None);
            faults.cut_with_reset();
        },
        lasts: Duration::from_secs(6),
    },
];

/// Plays faults for ever, and counts them.
pub(crate) async fn play(faults: &Faults, output: &Output, played: &mut u64) {
    sleep(FIRST).await;
    for act in ACTS.iter().cycle() {
        output.tell(Voice::Fault, act.begins).await;
        output.tell(Voice::Fault, &format!("  watch for: {}", act.watch_for)).await;
        *played += 1;
        (act.begin)(faults);
        sleep(act.lasts).await;
        faults.clear();
        output.tell(Voice::Fault, "over: the node is well again").await;
        sleep(BETWEEN).await;
    }
}
