//! The cluster of a soak, in a process of its own: it keeps a history, and grows.
//!
//! It is told what to do line by line, and answers each line when it is done.

use std::{
    io::{self, BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use balance_mirror::Pubkey;
use localnet::{Aim, Fault, Faults, Keypair, Localnet, Signer, Stats, tokens};

use crate::outcome::{Outcome, check};

/// A minute is twenty minutes of a chain whose slots take 400 ms.
pub(super) const SLOT: Duration = Duration::from_millis(20);
/// Set for the process that is to be the cluster.
pub(super) const ROLE: &str = "SOAK_CLUSTER";
/// What the test harness prints begins otherwise.
const MARK: &str = "soak: ";
const ACCOUNTS: usize = 12;

/// Where the nodes are, and which accounts change all the time.
#[derive(Clone, Debug)]
pub(super) struct Address {
    /// RPC and WebSocket of each.
    pub(super) nodes: Vec<(String, String)>,
    pub(super) accounts: Vec<Pubkey>,
}

/// Connections for RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Connections {
    pub(super) open: usize,
    /// Since the start.
    pub(super) ever: u64,
}

/// The other end of the process. Dropping it ends the process.
#[derive(Debug)]
pub(super) struct Remote {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub(super) address: Address,
}

impl Remote {
    pub(super) fn start(mut command: Command) -> Outcome<Self> {
        let mut process = command.env(ROLE, "1").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = process.stdin.take().ok_or("no way in")?;
        let answers = BufReader::new(process.stdout.take().ok_or("no way out")?);
        let address = Address { nodes: Vec::new(), accounts: Vec::new() };
        let mut remote = Self { process, orders, answers, address };
        let words = remote.answer()?;
        let mut words = words.split(' ');
        for _ in 0..2 {
            let node = words.next().zip(words.next()).ok_or("no node")?;
            remote.address.nodes.push((node.0.to_owned(), node.1.to_owned()));
        }
        for word in words {
            remote.address.accounts.push(word.parse()?);
        }
        Ok(remote)
    }

    /// A fault of one node begins, by its place in [`Fault::all`].
    pub(super) fn begin(&mut self, node: usize, fault: usize, victim: usize, strength: u64) -> Outcome {
        self.order(&format!("{node} {fault} {victim} {strength}")).map(drop)
    }

    /// Every fault ends.
    pub(super) fn clear(&mut self) -> Outcome {
        self.order("clear").map(drop)
    }

    /// Every connection of every mirror is cut, and none is kept for RPC.
    pub(super) fn renew(&mut self) -> Outcome {
        self.order("renew").map(drop)
    }

    /// Closes every connection for RPC, one with a request under way after its answer. How many
    /// there were.
    pub(super) fn hang_up(&mut self) -> Outcome<Connections> {
        let answer = self.order("hang up")?;
        let (open, ever) = answer.split_once(' ').ok_or("no numbers")?;
        Ok(Connections { open: open.parse()?, ever: ever.parse()? })
    }

    fn order(&mut self, order: &str) -> Outcome<String> {
        writeln!(self.orders, "{order}")?;
        self.answer()
    }

    fn answer(&mut self) -> Outcome<String> {
        let mut line = String::new();
        loop {
            line.clear();
            check!(self.answers.read_line(&mut line)? > 0, "the cluster ended");
            // The harness does not end its own line before a test begins.
            if let Some((_, words)) = line.split_once(MARK) {
                return Ok(words.trim().to_owned());
            }
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Is the cluster until its standard input ends; nothing if this process was not started for it.
///
/// # Errors
/// It cannot start, or is told what it does not understand.
pub fn serve() -> Outcome {
    if std::env::var_os(ROLE).is_none() {
        return Ok(());
    }
    let net = Localnet::builder().slot_time(SLOT).finalized_depth(8).start()?;
    let other = net.add_node()?;
    let (payer, owner) = (net.payer().pubkey(), Keypair::new());
    let mut accounts = Vec::new();
    for _ in 0..ACCOUNTS {
        let mint = Keypair::new();
        let create =
            tokens::create_mint(&tokens::TOKEN, &payer, &mint.pubkey(), 6, &payer, Some(&payer), &[]);
        net.send(&create, &[&mint])?;
        let mint = mint.pubkey();
        net.send(&[tokens::create_ata(&tokens::TOKEN, &payer, &owner.pubkey(), &mint)], &[])?;
        accounts.push((mint, tokens::ata(&tokens::TOKEN, &owner.pubkey(), &mint)));
    }
    let mut words = vec![net.rpc_url(), net.ws_url(), other.rpc_url(), other.ws_url()];
    words.extend(accounts.iter().map(|(_, address)| address.to_string()));
    say(&words.join(" "))?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let trading = scope.spawn(|| trade(&net, &accounts, &over));
        let obeyed = obey(&[(net.faults(), &|| net.stats()), (other.faults(), &|| other.stats())], &accounts);
        over.store(true, Relaxed);
        trading.join().map_err(|_| "the trader panicked")??;
        obeyed
    })
}

/// What breaks a node, and what it counts.
type Controls<'a> = (&'a Faults, &'a dyn Fn() -> Stats);

fn obey(nodes: &[Controls<'_>], accounts: &[(Pubkey, Pubkey)]) -> Outcome {
    let all = Fault::all();
    for line in io::stdin().lines() {
        let line = line?;
        if line == "hang up" {
            let open: usize = nodes.iter().map(|(faults, _)| faults.hang_up_rpc()).sum();
            let ever: u64 = nodes.iter().map(|(_, stats)| stats().rpc_connections).sum();
            say(&format!("{open} {ever}"))?;
            continue;
        }
        if line == "clear" {
            nodes.iter().for_each(|(faults, _)| faults.clear());
        } else if line == "renew" {
            nodes.iter().for_each(|(faults, _)| {
                faults.cut_with_reset();
                faults.hang_up_rpc();
            });
        } else {
            let numbers = line.split(' ').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
            let [node, fault, victim, strength] = numbers[..] else {
                return Err(format!("no order: {line}").into());
            };
            let address = |place: usize| accounts[place % accounts.len()].1;
            let aim = Aim { account: address(victim), other: address(victim + 1), strength: strength as u64 };
            nodes[node].0.begin(all[fault], &aim);
        }
        say("done")?;
    }
    Ok(())
}

/// One account after the other gets more tokens, one a slot.
fn trade(net: &Localnet, accounts: &[(Pubkey, Pubkey)], over: &AtomicBool) -> Outcome {
    let payer = net.payer().pubkey();
    for (number, (mint, account)) in (1..).zip(accounts.iter().cycle()) {
        if over.load(Relaxed) {
            break;
        }
        net.send(&[tokens::mint_to(&tokens::TOKEN, mint, account, &payer, number)], &[])?;
        thread::sleep(SLOT);
    }
    Ok(())
}

fn say(what: &str) -> Outcome {
    let mut out = io::stdout();
    writeln!(out, "{MARK}{what}")?;
    Ok(out.flush()?)
}
