//! Who asks again asks harder: once graceful, twice faster, thrice KILL.

use std::time::Duration;

use proc_core::Signal;
use proc_supervisor::{Grace, StopOptions};

/// The time between the second signal and KILL.
const FASTER: Duration = Duration::from_secs(1);

/// Returns how to stop for the `count`-th signal that asks for it, from 1; `first` is what the services get, by default
/// their own stop signal.
pub(crate) fn escalation(count: u32, first: Option<Signal>) -> StopOptions {
    let grace = |time: Duration| Some(Grace::from(Some(time)));
    match count {
        0 | 1 => StopOptions {
            signal: first,
            ..StopOptions::default()
        },
        2 => StopOptions {
            signal: first,
            grace: grace(FASTER),
            ..StopOptions::default()
        },
        _ => StopOptions {
            signal: Some(Signal::KILL),
            grace: grace(Duration::ZERO),
            ..StopOptions::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_is_harder_than_the_last() {
        assert_eq!(escalation(1, None), StopOptions::default());
        assert_eq!(escalation(1, Some(Signal::INT)).signal, Some(Signal::INT));
        assert_eq!(escalation(2, None).grace, Some(Grace::Ms(1000)));
        assert_eq!(escalation(3, Some(Signal::INT)).signal, Some(Signal::KILL));
        assert_eq!(escalation(4, None), escalation(3, None));
    }
}
