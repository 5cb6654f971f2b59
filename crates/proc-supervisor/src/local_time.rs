//! The local time of schedules: an hour that is skipped or comes twice included.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use proc_spec::{CivilMinute, Cron};

/// By which clock on the wall a schedule goes.
///
/// A time that does not exist, because the clock is put forward over it, comes as much later as the
/// clock was put forward. A time that comes twice comes once; a schedule that is due every so many
/// minutes goes on through both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalTime(TimeZone);

impl LocalTime {
    /// Returns the time of this machine: `TZ`, else `/etc/localtime`; UTC where neither can be read.
    #[must_use]
    pub fn of_this_machine() -> Self {
        Self(TimeZone::try_system().unwrap_or(TimeZone::UTC))
    }

    /// Returns the time of a zone by its name in the machine's database (`Europe/Berlin`), or by its
    /// rule as in POSIX (`CET-1CEST,M3.5.0,M10.5.0/3`); `None` for what is neither.
    #[must_use]
    pub fn named(zone: &str) -> Option<Self> {
        let zone = TimeZone::get(zone).or_else(|_| TimeZone::posix(zone));
        zone.ok().map(Self)
    }

    /// Returns when a schedule is due next after a moment, both in milliseconds since 1970.
    pub(crate) fn next_after(&self, cron: &Cron, after: i64) -> Option<i64> {
        let now = Timestamp::from_millisecond(after).ok()?;
        let mut from = civil(&self.0.to_datetime(now))?;
        // Times of the hour that comes twice can lie behind us; at most as many as it has minutes.
        for _ in 0..=24 * 60 {
            let next = cron.next_after(from)?;
            if let Some(due) = self.moment_after(next, now) {
                let again = self.after_turn(cron, now).filter(|again| *again < due);
                return Some(again.unwrap_or(due).as_millisecond());
            }
            from = next;
        }
        None
    }

    /// Returns when a schedule that only says how often is due after the clock was put back: the
    /// times that come twice count twice for it.
    fn after_turn(&self, cron: &Cron, now: Timestamp) -> Option<Timestamp> {
        if !cron.is_every_hour() {
            return None;
        }
        let turn = self.0.following(now).next()?.timestamp();
        let minute = jiff::SignedDuration::from_mins(1);
        let before = self.0.to_datetime(turn).checked_sub(minute).ok()?;
        let next = date_time(cron.next_after(civil(&before)?)?)?;
        let both = self.0.to_ambiguous_timestamp(next);
        both.later().ok().filter(|due| *due >= turn)
    }

    /// Returns the first moment after `now` at which the clock shows this.
    fn moment_after(&self, minute: CivilMinute, now: Timestamp) -> Option<Timestamp> {
        let shown = date_time(minute)?;
        let both = self.0.to_ambiguous_timestamp(shown);
        let first = both.compatible().ok().filter(|due| *due > now);
        first.or_else(|| both.later().ok().filter(|due| *due > now))
    }
}

impl Default for LocalTime {
    /// UTC.
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

fn civil(time: &DateTime) -> Option<CivilMinute> {
    Some(CivilMinute {
        year: i32::from(time.year()),
        month: u8::try_from(time.month()).ok()?,
        day: u8::try_from(time.day()).ok()?,
        hour: u8::try_from(time.hour()).ok()?,
        minute: u8::try_from(time.minute()).ok()?,
    })
}

fn date_time(minute: CivilMinute) -> Option<DateTime> {
    DateTime::new(
        i16::try_from(minute.year).ok()?,
        i8::try_from(minute.month).ok()?,
        i8::try_from(minute.day).ok()?,
        i8::try_from(minute.hour).ok()?,
        i8::try_from(minute.minute).ok()?,
        0,
        0,
    )
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Central Europe: forward on the last Sunday of March at 2, back on that of October at 3.
    fn berlin() -> LocalTime {
        LocalTime::named("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn due(zone: &LocalTime, schedule: &str, after: &str, times: usize) -> Vec<String> {
        let cron: Cron = schedule.parse().unwrap();
        let mut at = after.parse::<Timestamp>().unwrap().as_millisecond();
        let next = |_| {
            at = zone.next_after(&cron, at).unwrap();
            Timestamp::from_millisecond(at).unwrap().to_string()
        };
        (0..times).map(next).collect()
    }

    #[test]
    fn a_daily_time_stays_the_same_on_the_wall() {
        let found = due(&berlin(), "0 3 * * *", "2026-03-27T12:00:00Z", 3);
        let wanted = [
            "2026-03-28T02:00:00Z",
            "2026-03-29T01:00:00Z",
            "2026-03-30T01:00:00Z",
        ];
        assert_eq!(found, wanted);
        let found = due(&berlin(), "0 4 * * *", "2026-10-24T12:00:00Z", 2);
        assert_eq!(found, ["2026-10-25T03:00:00Z", "2026-10-26T03:00:00Z"]);
    }

    #[test]
    fn a_time_that_is_skipped_comes_later_and_one_that_comes_twice_comes_once() {
        let found = due(&berlin(), "30 2 * * *", "2026-03-28T12:00:00Z", 2);
        assert_eq!(found, ["2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]);
        let found = due(&berlin(), "30 2 * * *", "2026-10-24T12:00:00Z", 2);
        assert_eq!(found, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    }

    #[test]
    fn what_is_due_every_so_often_is_so_through_both_hours() {
        for after in ["2026-03-29T00:00:00Z", "2026-10-25T00:00:00Z"] {
            let found = due(&berlin(), "*/20 * * * *", after, 9);
            let at = |text: &String| text.parse::<Timestamp>().unwrap().as_second();
            let gaps: Vec<i64> = found.windows(2).map(|w| at(&w[1]) - at(&w[0])).collect();
            assert_eq!(gaps, [1200; 8], "{found:?}");
        }
    }

    #[test]
    fn a_zone_is_found_by_name_or_rule_and_nothing_else() {
        assert_eq!(LocalTime::named("UTC"), Some(LocalTime::default()));
        assert_eq!(LocalTime::named("no such zone"), None);
    }
}
