//! Plays a fault now and then.

use std::time::Duration;

use localnet::Faults;
use tokio::time::{Instant, sleep};

use crate::output::{Output, Voice};

/// The time from the start to the first fault: the mirror is live by then, and the market is open.
const FIRST: Duration = Duration::from_secs(5);
/// The time from the end of one fault to the next: long enough to see the recovery.
const BETWEEN: Duration = Duration::from_secs(5);

/// What a fault affects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whom {
    First,
    Both,
}

/// One fault: what it does, what it affects, for how long, and what to watch for.
struct Act {
    begins: &'static str,
    watch_for: &'static str,
    whom: Whom,
    begin: fn(&Faults),
    lasts: Duration,
}

/// The faults, in the order in which they are played, over and over.
const ACTS: [Act; 7] = [
    Act {
        begins: "the first node goes silent on an open socket, and lets no new connection in, for 8 s",
        watch_for: "its canary's deadline finds it, RPC serves meanwhile, the second node takes over",
        whom: Whom::First,
        begin: |faults| {
            faults.silence(true);
            faults.refuse_connections(503, None, None);
        },
        lasts: Duration::from_secs(8),
    },
    Act {
        begins: "both nodes cut the connection, and let no new one in for 5 s",
        watch_for: "balances age, then RPC serves them; trades go on and are caught up with",
        whom: Whom::Both,
        begin: |faults| {
            faults.refuse_connections(503, None, None);
            faults.cut_with_reset();
        },
        lasts: Duration::from_secs(5),
    },
    Act {
        begins: "both cut the connection, and their RPC is down too, for 7 s",
        watch_for: "what is too old is refused with an error, never served as a fresh number",
        whom: Whom::Both,
        begin: |faults| {
            faults.rpc_down(true);
            faults.refuse_connections(503, None, None);
            faults.cut_with_reset();
        },
        lasts: Duration::from_secs(7),
    },
    Act {
        begins: "both refuse every RPC call with HTTP 429 for 6 s, while the connections live",
        watch_for: "readings notice nothing",
        whom: Whom::Both,
        begin: |faults| faults.rpc_refuse(429, None, None),
        lasts: Duration::from_secs(6),
    },
    Act {
        begins: "both go silent on open sockets for 6 s",
        watch_for: "the canary's deadline finds them",
        whom: Whom::Both,
        begin: |faults| faults.silence(true),
        lasts: Duration::from_secs(6),
    },
    Act {
        begins: "both close the connection politely, with a Close frame",
        watch_for: "it is back before any balance is too old",
        whom: Whom::Both,
        begin: |faults| {
            faults.cut_with_close_frame();
        },
        lasts: Duration::from_secs(1),
    },
    Act {
        begins: "both cut the connection, and their RPC falls 20 slots behind, for 6 s",
        watch_for: "an answer older than what is known is no answer",
        whom: Whom::Both,
        begin: |faults| {
            faults.hold_rpc(20);
            faults.refuse_connections(503, None, None);
            faults.cut_with_reset();
        },
        lasts: Duration::from_secs(6),
    },
];

/// Plays faults for ever, and counts them. In a run of limited duration, begins none that would not
/// be over before the end.
pub(crate) async fn play(nodes: [&Faults; 2], output: &Output, duration: Option<Duration>, played: &mut u64) {
    let end = duration.and_then(|duration| Instant::now().checked_add(duration));
    sleep(FIRST).await;
    for act in ACTS.iter().cycle() {
        if end.is_some_and(|end| end.saturating_duration_since(Instant::now()) < act.lasts) {
            output.tell(Voice::Fault, "no further fault can be over before the end").await;
            return std::future::pending().await;
        }
        output.tell(Voice::Fault, act.begins).await;
        output.tell(Voice::Fault, &format!("  watch for: {}", act.watch_for)).await;
        *played += 1;
        let befallen = if act.whom == Whom::First { 1 } else { nodes.len() };
        nodes[..befallen].iter().for_each(|faults| (act.begin)(faults));
        sleep(act.lasts).await;
        nodes.iter().for_each(|faults| faults.clear());
        output.tell(Voice::Fault, "over: the nodes are well").await;
        sleep(BETWEEN).await;
    }
}
