//! Finds the accounts to watch on a real cluster, and watches them.

use std::{sync::Arc, time::Duration};

use balance_mirror::{CommitmentLevel, Mirror, NodeConfig, NodeMode, Pubkey, TokenProgram, WatchTarget};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::json;
use solana_client::{nonblocking::rpc_client::RpcClient, rpc_request::RpcRequest};

use crate::{
    Failure,
    args::{Args, Cluster, Wallet},
    client::{CallFailed, call, client, shown},
    events::{Identity, Registry},
    human::COLUMNS,
    output::{Output, Voice},
    watch::{End, Tally, Watch},
};

/// The shortest and the longest wait before the next try of a look-up; the wait doubles.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// Watches until asked to end.
pub(crate) async fn run(
    cluster: &Cluster,
    args: &Args,
    output: &Arc<Output>,
    registry: &Arc<Registry>,
) -> Result<(), Failure> {
    let clients: Vec<_> = cluster.nodes.iter().map(|node| client(&node.rpc, cluster.commitment)).collect();
    let max_age = args.max_age.unwrap_or(Duration::from_secs(30));
    let health_interval = args.health_interval.unwrap_or(Duration::from_secs(10));
    let mut nodes = cluster.nodes.iter().zip(&clients);
    let Some((first, rpc)) = nodes.next() else { return Err(Failure::Wrong("no node is given".to_owned())) };
    let mut builder = Mirror::builder(&first.rpc)
        .rpc_client(rpc.clone())
        .mode(if cluster.race { NodeMode::Race } else { NodeMode::Failover })
        .processed(args.processed)
        .commitment(cluster.commitment)
        .selling_age(max_age)
        .health_interval(health_interval);
    if let Some(url) = &first.ws {
        builder = builder.ws_url(url);
    }
    for (urls, rpc) in nodes {
        let node = NodeConfig::new(&urls.rpc).rpc_client(rpc.clone());
        builder = builder.node(match &urls.ws {
            Some(url) => node.ws_url(url),
            None => node,
        });
    }
    // Before anything is logged that somebody might answer with Ctrl-C.
    let mut end = End::of(args.duration)?;
    let mirror = builder.start()?;
    let updates = mirror.updates();
    let urls: Vec<String> = cluster.nodes.iter().map(|node| shown(&node.rpc)).collect();
    let between = if cluster.race { " raced with " } else { ", then " };
    let (urls, level) = (urls.join(between), cluster.commitment);
    output.tell(Voice::Watcher, &format!("{urls}, at {level}; Ctrl-C ends it")).await;
    output.tell(Voice::Watcher, &format!("the columns of a balance: mint, {COLUMNS}")).await;
    let watch = Watch {
        mirror,
        output: output.clone(),
        registry: registry.clone(),
        max_age,
        read_interval: args.read_interval,
        health_interval,
        tally: Tally::default(),
    };
    let given = cluster.accounts.iter().map(|account| (WatchTarget::account(*account), Identity::default()));
    watch.all(given.collect())?;
    let found = async {
        match watch.wallet(&clients, cluster).await {
            // The accounts are watched now; just wait for the end.
            Ok(()) => std::future::pending().await,
            Err(failure) => Err(failure),
        }
    };
    let work = async {
        tokio::select! {
            () = end.reached() => Ok(()),
            failed = found => failed,
        }
    };
    let ended = watch.run(updates, work).await.unwrap_or(Ok(()));
    output.tell(Voice::Watcher, &watch.tally.summary()).await;
    ended
}

impl Watch {
    /// Watches accounts, and records their owners.
    pub(crate) fn all(&self, accounts: Vec<(WatchTarget, Identity)>) -> Result<(), Failure> {
        for (target, identity) in &accounts {
            self.registry.expect(target, *identity);
        }
        self.mirror.watch_all(accounts.into_iter().map(|(target, _)| target))?;
        Ok(())
    }

    /// Finds the accounts of the wallet, however long that takes, and watches them.
    async fn wallet(&self, clients: &[Arc<RpcClient>], cluster: &Cluster) -> Result<(), Failure> {
        let Some(wallet) = &cluster.wallet else { return Ok(()) };
        let mut wait = WAITS.0;
        let found = loop {
            match look_up(clients, wallet, cluster.commitment).await {
                Ok(found) => break found,
                Err(LookUp::Call(failed)) if failed.transient => {
                    tracing::warn!(
                        target: "watcher",
                        "the wallet's accounts cannot be looked up: {failed}; trying again in {wait:?}"
                    );
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(WAITS.1);
                }
                Err(LookUp::Call(failed)) => {
                    return Err(Failure::Fatal(format!(
                        "the wallet's accounts cannot be looked up: {failed}"
                    )));
                }
                Err(LookUp::NoMint(mint)) => {
                    return Err(Failure::Fatal(format!(
                        "--mint {mint} is no mint on this cluster: no token program owns such an account"
                    )));
                }
            }
        };
        let (owner, count) = (wallet.owner, found.len());
        if found.is_empty() {
            let nothing = format!(
                "wallet {owner} has no token accounts; with --mint one that will be there is watched"
            );
            if cluster.accounts.is_empty() {
                return Err(Failure::Fatal(nothing));
            }
            self.output.tell(Voice::Watcher, &nothing).await;
        }
        self.all(found)?;
        self.output.tell(Voice::Watcher, &format!("wallet {owner}: accounts watched: {count}")).await;
        Ok(())
    }
}

/// Asks one node after another. If none answers, returns the last error that may be transient.
async fn look_up(
    clients: &[Arc<RpcClient>],
    wallet: &Wallet,
    commitment: CommitmentLevel,
) -> Result<Vec<(WatchTarget, Identity)>, LookUp> {
    let mut failed: Option<CallFailed> = None;
    for rpc in clients {
        let found = match wallet.mints.is_empty() {
            true => token_accounts(rpc, wallet, commitment).await,
            false => associated_accounts(rpc, wallet).await,
        };
        match found {
            Err(LookUp::Call(why)) if why.transient || failed.is_none() => failed = Some(why),
            Err(LookUp::Call(_)) => {}
            answered => return answered,
        }
    }
    failed.map_or(Ok(Vec::new()), |failed| Err(failed.into()))
}

/// Why a look-up gave no accounts.
enum LookUp {
    Call(CallFailed),
    NoMint(Pubkey),
}

impl From<CallFailed> for LookUp {
    fn from(failed: CallFailed) -> Self {
        Self::Call(failed)
    }
}

/// The needed part of the answer to `getTokenAccountsByOwner`.
#[derive(Deserialize)]
struct Owned {
    value: Vec<OwnedAccount>,
}

#[derive(Deserialize)]
struct OwnedAccount {
    pubkey: String,
    account: Sliced,
}

#[derive(Deserialize)]
struct Sliced {
    /// The data in base64, and the name of that encoding.
    data: (String, String),
}

/// All token accounts of the wallet, one call for each program.
async fn token_accounts(
    rpc: &RpcClient,
    wallet: &Wallet,
    commitment: CommitmentLevel,
) -> Result<Vec<(WatchTarget, Identity)>, LookUp> {
    let mut found = Vec::new();
    for program in TokenProgram::ALL {
        // The client's own method asks for jsonParsed. Only the mint is needed here, the first 32
        // bytes; the mirror reads the rest.
        let params = json!([
            wallet.owner.to_string(),
            { "programId": program.id().to_string() },
            {
                "encoding": "base64",
                "commitment": commitment.to_string(),
                "dataSlice": { "offset": 0, "length": 32 },
            },
        ]);
        let owned: Owned = call(rpc.send(RpcRequest::GetTokenAccountsByOwner, params)).await?;
        found.extend(owned.value.iter().filter_map(|account| account.target(wallet.owner, program)));
    }
    Ok(found)
}

impl OwnedAccount {
    fn target(&self, owner: Pubkey, program: TokenProgram) -> Option<(WatchTarget, Identity)> {
        let target = WatchTarget::account(self.pubkey.parse().ok()?).owner(owner).program(program);
        let data = BASE64_STANDARD.decode(&self.account.data.0).ok()?;
        let mint = Pubkey::try_from(data.get(..32)?).ok()?;
        let identity = Identity { mint: Some(mint), owner: Some(owner), program: Some(program) };
        Some((target.mint(mint), identity))
    }
}

/// The wallet's associated token accounts for the given mints. Their addresses depend on the mints'
/// programs.
async fn associated_accounts(
    rpc: &RpcClient,
    wallet: &Wallet,
) -> Result<Vec<(WatchTarget, Identity)>, LookUp> {
    let mut found = Vec::new();
    for mints in wallet.mints.chunks(100) {
        let config = solana_client::rpc_config::RpcAccountInfoConfig {
            encoding: Some(solana_account_decoder_client_types::UiAccountEncoding::Base64),
            ..Default::default()
        };
        let accounts = call(rpc.get_multiple_ui_accounts_with_config(mints, config)).await?.value;
        for (mint, account) in mints.iter().zip(accounts) {
            let program = account.and_then(|account| account.owner.parse().ok());
            let program =
                program.and_then(|owner| TokenProgram::from_id(&owner)).ok_or(LookUp::NoMint(*mint))?;
            let identity = Identity { mint: Some(*mint), owner: Some(wallet.owner), program: Some(program) };
            found.push((WatchTarget::ata(&wallet.owner, mint, program), identity));
        }
    }
    Ok(found)
}
