//! What a scenario plays in: one cluster, a proxy before each of its faces, and a client to move
//! the chain with.

use std::{
    fmt,
    future::Future,
    net::SocketAddr,
    sync::atomic::AtomicU64,
    time::{Duration, Instant},
};

use balance_mirror::{AccountState, Mirror, MirrorBuilder, NodeConfig, Pubkey, Reader, Reading};
use localnet::{CommitmentConfig, Keypair, Localnet};
use solana_rpc_client::nonblocking::rpc_client::RpcClient;

use crate::{
    cluster::Cluster,
    logs::SECRET,
    outcome::{Failure, Outcome, check},
    proxy::Proxy,
};

/// The header in which every mirror of the suite carries the secret.
pub(crate) const HEADER: &str = "x-suite-key";
/// Between two looks at something that notifies nobody.
const LOOK: Duration = Duration::from_millis(2);

/// A further way to a node, through proxies of its own: to a mirror, a node of its own.
pub(crate) struct Door {
    pub(crate) rpc: Proxy,
    pub(crate) ws: Proxy,
}

impl Door {
    pub(crate) fn open(rpc_url: &str, ws_url: &str) -> Outcome<Self> {
        Ok(Self { rpc: Proxy::start(address(rpc_url)?)?, ws: Proxy::start(address(ws_url)?)? })
    }

    /// As a mirror is told of it, with the secret.
    pub(crate) fn node(&self) -> NodeConfig {
        NodeConfig::new(format!("http://127.0.0.1:{}/?api-key={SECRET}", self.rpc.port()))
            .ws_url(format!("ws://127.0.0.1:{}/?api-key={SECRET}", self.ws.port()))
            .header(HEADER, SECRET)
    }
}

/// See the module.
pub struct World<'a> {
    cluster: &'a dyn Cluster,
    /// Between mirrors and the node's RPC.
    pub(crate) rpc_side: Proxy,
    /// Between mirrors and the node's WebSockets.
    pub(crate) ws_side: Proxy,
    /// Straight to the node.
    pub(crate) rpc: RpcClient,
    /// Transactions signed so far.
    pub(crate) signed: AtomicU64,
}

impl fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("cluster", &self.cluster.name()).finish_non_exhaustive()
    }
}

impl<'a> World<'a> {
    pub(crate) fn new(cluster: &'a dyn Cluster) -> Outcome<Self> {
        Ok(Self {
            rpc_side: Proxy::start(address(&cluster.rpc_url())?)?,
            ws_side: Proxy::start(address(&cluster.ws_url())?)?,
            rpc: RpcClient::new_with_commitment(cluster.rpc_url(), CommitmentConfig::confirmed()),
            cluster,
            signed: AtomicU64::new(0),
        })
    }

    /// The local cluster, for scenarios that no other can play.
    pub(crate) fn local(&self) -> Outcome<&'a Localnet> {
        self.cluster.local().ok_or_else(|| "only the local cluster can play this".into())
    }

    /// A second way to the cluster's node.
    pub(crate) fn back_door(&self) -> Outcome<Door> {
        Door::open(&self.cluster.rpc_url(), &self.cluster.ws_url())
    }

    pub(crate) fn payer(&self) -> &'a Keypair {
        self.cluster.payer()
    }

    // Time.

    /// So many slots, and never less than a fifth of as many seconds as on a validator: the Clock
    /// has whole seconds, and schedulers take their time.
    pub(crate) fn slots(&self, count: u32) -> Duration {
        self.cluster.slot_time() * count
    }

    /// The deadline of everything that is waited for: what a busy machine still meets.
    pub(crate) fn soon(&self) -> Duration {
        Duration::from_secs(30).max(self.slots(75))
    }

    /// The canary deadline of the suite's mirrors.
    pub(crate) fn canary_deadline(&self) -> Duration {
        Duration::from_secs(1).max(self.slots(12))
    }

    /// The shortest age that a live link satisfies at all times: the Clock's whole second, and some
    /// slots.
    pub(crate) fn short_age(&self) -> Duration {
        Duration::from_millis(1_500) + self.slots(5)
    }

    /// Waits for a future, and says in vain for what.
    pub(crate) async fn within<T>(&self, what: &str, future: impl Future<Output = T>) -> Outcome<T> {
        self.within_time(self.soon(), what, future).await
    }

    /// As [`within`](Self::within), with a deadline of its own.
    pub(crate) async fn within_time<T>(
        &self,
        time: Duration,
        what: &str,
        future: impl Future<Output = T>,
    ) -> Outcome<T> {
        tokio::time::timeout(time, future).await.map_err(|_| format!("no {what} within {time:?}").into())
    }

    /// Waits until something holds of which nobody is notified.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn() -> bool) -> Outcome {
        let look = async {
            while !holds() {
                tokio::time::sleep(LOOK).await;
            }
        };
        self.within(what, look).await
    }

    /// Waits until a count stands still for so long: whoever goes on counting never ends this.
    pub(crate) async fn until_still(
        &self,
        what: &str,
        spell: Duration,
        count: impl Fn() -> u64,
    ) -> Outcome<u64> {
        let still = async {
            loop {
                let before = count();
                tokio::time::sleep(spell).await;
                if count() == before {
                    return before;
                }
            }
        };
        self.within(what, still).await
    }

    /// Lets so much time pass: for what must not happen, or must get old.
    pub(crate) async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    // Mirrors.

    /// The settings of a mirror of this cluster, through the proxies, with the secret in its URLs
    /// and a header.
    pub(crate) fn builder(&self) -> MirrorBuilder {
        self.builder_without_header().header(HEADER, SECRET)
    }

    pub(crate) fn builder_without_header(&self) -> MirrorBuilder {
        let (rpc, ws) = (self.rpc_side.port(), self.ws_side.port());
        Mirror::builder(format!("http://127.0.0.1:{rpc}/?api-key={SECRET}"))
            .ws_url(format!("ws://127.0.0.1:{ws}/?api-key={SECRET}"))
            .canary_deadline(self.canary_deadline())
            .connect_timeout(Duration::from_secs(2))
            .rpc_timeout(Duration::from_secs(1))
            .read_deadline(Duration::from_secs(3))
            .reconnect_cap(Duration::from_millis(500))
            .health_interval(Duration::from_millis(250))
    }

    /// The settings of a mirror whose link no busy machine ends: for where the absence of losses is
    /// judged, or what a link that lives serves.
    pub(crate) fn steady_builder(&self) -> MirrorBuilder {
        self.builder().canary_deadline(Duration::from_secs(20))
    }

    pub(crate) fn mirror(&self) -> Outcome<Mirror> {
        Ok(self.builder().start()?)
    }

    /// Waits until the account is live.
    pub(crate) async fn live(&self, reader: &Reader) -> Outcome<Reading> {
        self.sees(reader, "live", |_| true).await
    }

    /// Waits until the account is live and holds so much.
    pub(crate) async fn holds(&self, reader: &Reader, amount: u64) -> Outcome<Reading> {
        let initialized = |state: &AccountState| matches!(state, AccountState::Initialized(_));
        let what = format!("live and of {amount}");
        self.sees(reader, &what, |state| initialized(state) && state.token_amount() == Some(amount)).await
    }

    /// Waits until the account is live and its state's name is this one.
    pub(crate) async fn is(&self, reader: &Reader, name: &str) -> Outcome<Reading> {
        self.sees(reader, name, |state| state.name() == name).await
    }

    /// Waits until the account is live and its state as wanted.
    pub(crate) async fn sees(
        &self,
        reader: &Reader,
        what: &str,
        wanted: impl Fn(&AccountState) -> bool,
    ) -> Outcome<Reading> {
        let met = |reading: &Reading| reading.is_live() && reading.last_known().is_some_and(&wanted);
        let seen = reader.wait_for(met, self.soon()).await;
        seen.map_err(|error| format!("not {what}: {error}; {:?}", reader.read()).into())
    }

    // The chain.

    /// The node's newest confirmed slot.
    pub(crate) async fn slot(&self) -> Outcome<u64> {
        Ok(self.rpc.get_slot_with_commitment(CommitmentConfig::confirmed()).await?)
    }

    /// Waits until the confirmed chain is so far. Returns the slot it has come to.
    pub(crate) async fn until_slot(&self, slot: u64) -> Outcome<u64> {
        let arrived = async {
            loop {
                let tip = self.slot().await?;
                if tip >= slot {
                    return Ok::<u64, Failure>(tip);
                }
                tokio::time::sleep(self.slots(1) / 4).await;
            }
        };
        self.within("slot", arrived).await?
    }

    /// The raw amount that RPC says an account holds, `None` without a token account there.
    pub(crate) async fn chain_amount(&self, address: &Pubkey) -> Outcome<Option<u64>> {
        let answer = self.rpc.get_account_with_commitment(address, CommitmentConfig::confirmed()).await?;
        Ok(answer.value.and_then(|account| amount(&account.data)))
    }
}

/// The amount in a token account's bytes.
pub(crate) fn amount(data: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(data.get(64..72)?.try_into().ok()?))
}

/// How long something took.
pub(crate) async fn timed<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    (future.await, began.elapsed())
}

fn address(url: &str) -> Outcome<SocketAddr> {
    let bare = url.split("://").nth(1).unwrap_or(url);
    let host = bare.split('/').next().unwrap_or(bare);
    Ok(host.replace("localhost", "127.0.0.1").parse()?)
}

impl World<'_> {
    /// Waits, nobody writing meanwhile, until every account is live and as of now, and compares it
    /// with RPC.
    pub(crate) async fn agree(&self, readers: &[Reader]) -> Outcome {
        // What was written last may be in the open bank still, one slot behind the processed one.
        let processed = self.rpc.get_slot_with_commitment(CommitmentConfig::processed()).await?;
        let tip = self.until_slot(processed + 2).await?;
        for reader in readers {
            let caught_up = |reading: &Reading| reading.is_live() && reading.as_of() >= Some(tip);
            let reading = reader.wait_for(caught_up, self.soon()).await;
            let reading = reading.map_err(|error| format!("{error}; {:?}", reader.read()))?;
            let chain = self.chain_amount(&reader.address()).await?.unwrap_or(0);
            let held = reading.last_known().and_then(AccountState::token_amount);
            check!(held == Some(chain), "the chain holds {chain}: {reading:?}");
        }
        Ok(())
    }
}
