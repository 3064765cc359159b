//! Deadlines as data: a table indexed by the kind of timer. Firing early or twice does no harm.

use crate::core::base::time::Tick;

/// What can be due on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timer {
    /// The wait before the next connect is over.
    Reconnect,
    /// The connect takes too long.
    Connect,
    /// The oldest subscribe still unanswered takes too long.
    Subscribe,
    /// No canary within its deadline.
    Canary,
    /// The connection has been unproven for long; another one may tick.
    Probe,
    /// A barrier's first notification is overdue.
    Barrier,
    /// The session should send something, so that the server does not close the connection as idle.
    Keepalive,
    /// The next subscribe may be sent.
    Pace,
    /// A refused subscription, or a recheck that failed, may be tried again.
    Retry,
    /// The next batch of accounts is to be compared with RPC.
    Audit,
}

impl Timer {
    const ALL: [Timer; 10] = [
        Timer::Reconnect,
        Timer::Connect,
        Timer::Subscribe,
        Timer::Canary,
        Timer::Probe,
        Timer::Barrier,
        Timer::Keepalive,
        Timer::Pace,
        Timer::Retry,
        Timer::Audit,
    ];
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Timers {
    due: [Option<Tick>; Timer::ALL.len()],
}

impl Timers {
    pub fn set(&mut self, timer: Timer, due: Tick) {
        self.due[timer as usize] = Some(due);
    }

    /// Sets the deadline to `due`, unless an earlier one is set.
    pub fn set_by(&mut self, timer: Timer, due: Tick) {
        let slot = &mut self.due[timer as usize];
        *slot = Some(slot.map_or(due, |earlier| earlier.min(due)));
    }

    /// Sets the deadline to `due`, or clears it.
    pub fn set_or_stop(&mut self, timer: Timer, due: Option<Tick>) {
        self.due[timer as usize] = due;
    }

    pub fn stop(&mut self, timer: Timer) {
        self.due[timer as usize] = None;
    }

    pub fn stop_all(&mut self) {
        *self = Self::default();
    }

    /// When one timer is due, if it is set.
    pub fn due(&self, timer: Timer) -> Option<Tick> {
        self.due[timer as usize]
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Tick> {
        self.due.iter().flatten().min().copied()
    }

    /// Clears and returns one timer that is due, the most urgent kind first.
    pub fn expire(&mut self, now: Tick) -> Option<Timer> {
        let timer =
            Timer::ALL.into_iter().find(|timer| self.due[*timer as usize].is_some_and(|due| due <= now))?;
        self.stop(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_wake_up_is_the_minimum_and_each_fires_once() {
        let at = Tick::from_nanos;
        let mut timers = Timers::default();
        assert_eq!(timers.next(), None);
        timers.set(Timer::Canary, at(30));
        timers.set(Timer::Audit, at(10));
        timers.set_by(Timer::Canary, at(20));
        timers.set_by(Timer::Canary, at(40));
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.expire(at(9)), None);
        assert_eq!(timers.expire(at(25)), Some(Timer::Canary));
        assert_eq!(timers.expire(at(25)), Some(Timer::Audit));
        assert_eq!(timers.expire(at(25)), None);
        assert_eq!(timers.next(), None);
    }
}
