//! Schedules in cron's five fields: `0 3 * * *`, `*/15 8-18 * * mon-fri`, `@daily`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A schedule: minute, hour, day of month, month, day of week.
///
/// As in crontab(5): lists, ranges, steps, names of months and days, 7 is Sunday too, and when both
/// days are restricted either one suffices. `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly` and
/// `@annually` are short forms. It knows no time zone: it speaks of whatever clock the caller reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cron {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    either_day: bool,
}

/// A minute in civil time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CivilMinute {
    /// The year.
    pub year: i32,
    /// The month, 1 to 12.
    pub month: u8,
    /// The day, 1 to 31.
    pub day: u8,
    /// The hour, 0 to 23.
    pub hour: u8,
    /// The minute, 0 to 59.
    pub minute: u8,
}

/// Why a text is not a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a schedule: {problem}")]
pub struct CronError {
    /// The text as given.
    pub text: String,
    /// What is wrong with it.
    pub problem: String,
}

struct Field {
    name: &'static str,
    low: u8,
    high: u8,
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const FIELDS: [Field; 5] = [
    Field {
        name: "minute",
        low: 0,
        high: 59,
        names: &[],
    },
    Field {
        name: "hour",
        low: 0,
        high: 23,
        names: &[],
    },
    Field {
        name: "day of month",
        low: 1,
        high: 31,
        names: &[],
    },
    Field {
        name: "month",
        low: 1,
        high: 12,
        names: &MONTHS,
    },
    Field {
        name: "day of week",
        low: 0,
        high: 7,
        names: &DAYS,
    },
];

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let fail = |problem: String| CronError {
            text: text.escape_debug().to_string(),
            problem,
        };
        let long = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other if other.starts_with('@') => {
                return Err(fail(
                    "the short forms are @hourly, @daily, @weekly, @monthly and @yearly".into(),
                ));
            }
            other => other,
        };
        let parts: Vec<&str> = long.split_whitespace().collect();
        if parts.len() != 5 {
            let problem = format!(
                "expected 5 fields (minute hour day month weekday), found {}",
                parts.len()
            );
            return Err(fail(problem));
        }
        let mut sets = [0_u64; 5];
        for ((set, field), part) in sets.iter_mut().zip(&FIELDS).zip(&parts) {
            *set = field
                .parse(part)
                .map_err(|problem| fail(format!("{}: {problem}", field.name)))?;
        }
        let [minutes, hours, days, months, weekdays] = sets;
        let weekdays = (weekdays | weekdays >> 7) & 0x7f;
        let either_day = !parts[2].starts_with('*') && !parts[4].starts_with('*');
        let cron = Self {
            text: text.trim().to_owned(),
            minutes,
            hours,
            days,
            months,
            weekdays,
            either_day,
        };
        let start = CivilMinute {
            year: 2024,
            month: 1,
            day: 1,
            hour: 0,
            minute: 0,
        };
        match cron.next_after(start) {
            Some(_) => Ok(cron),
            None => Err(fail("there is no such day".into())),
        }
    }
}

impl Field {
    fn parse(&self, text: &str) -> Result<u64, String> {
        text.split(',')
            .try_fold(0, |set, part| Ok(set | self.parse_part(part)?))
    }

    fn parse_part(&self, part: &str) -> Result<u64, String> {
        let (range, step) = part
            .split_once('/')
            .map_or((part, None), |(range, step)| (range, Some(step)));
        let step = match step {
            None => 1,
            Some(step) => match step.parse::<u8>() {
                Ok(step) if step > 0 => step,
                _ => return Err(format!("`{step}` is not a step")),
            },
        };
        let (low, high) = match range.split_once('-') {
            _ if range == "*" => (self.low, self.high),
            Some((low, high)) => (self.number(low)?, self.number(high)?),
            None if step > 1 || part.contains('/') => (self.number(range)?, self.high),
            None => (self.number(range)?, self.number(range)?),
        };
        if low > high {
            return Err(format!("`{range}` runs backwards"));
        }
        Ok((low..=high)
            .step_by(step.into())
            .fold(0, |set, value| set | 1 << value))
    }

    fn number(&self, text: &str) -> Result<u8, String> {
        let lower = text.to_ascii_lowercase();
        if let Some(at) = self.names.iter().position(|name| *name == lower) {
            return Ok(at as u8 + if self.low == 1 { 1 } else { 0 });
        }
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse::<u8>() {
            Ok(value) if digits && (self.low..=self.high).contains(&value) => Ok(value),
            _ => Err(format!("`{text}` is not {} to {}", self.low, self.high)),
        }
    }
}

impl Cron {
    /// Tells whether it names every hour of the day, so that it says how often and not when.
    #[must_use]
    pub fn is_every_hour(&self) -> bool {
        (0..24).all(|hour| has(self.hours, hour))
    }

    /// Returns the first minute after `after` that the schedule names; `None` when there is none within 28 years,
    /// after which the calendar repeats.
    #[must_use]
    pub fn next_after(&self, after: CivilMinute) -> Option<CivilMinute> {
        let mut at = next_minute(after);
        let last = after.year.checked_add(28)?;
        while at.year <= last {
            if !has(self.months, at.month) {
                at = next_month(at);
            } else if !self.day_matches(at) {
                at = next_day(at);
            } else if !has(self.hours, at.hour) {
                at = next_hour(at);
            } else if !has(self.minutes, at.minute) {
                at = next_minute(at);
            } else {
                return Some(at);
            }
        }
        None
    }

    fn day_matches(&self, at: CivilMinute) -> bool {
        let day = has(self.days, at.day);
        let weekday = has(self.weekdays, weekday(at.year, at.month, at.day));
        if self.either_day {
            day || weekday
        } else {
            day && weekday
        }
    }
}

fn has(set: u64, value: u8) -> bool {
    set >> value & 1 == 1
}

fn next_minute(at: CivilMinute) -> CivilMinute {
    if at.minute < 59 {
        CivilMinute {
            minute: at.minute + 1,
            ..at
        }
    } else {
        next_hour(at)
    }
}

fn next_hour(at: CivilMinute) -> CivilMinute {
    if at.hour < 23 {
        CivilMinute {
            hour: at.hour + 1,
            minute: 0,
            ..at
        }
    } else {
        next_day(at)
    }
}

fn next_day(at: CivilMinute) -> CivilMinute {
    if at.day < days_in_month(at.year, at.month) {
        CivilMinute {
            day: at.day + 1,
            hour: 0,
            minute: 0,
            ..at
        }
    } else {
        next_month(at)
    }
}

fn next_month(at: CivilMinute) -> CivilMinute {
    let (year, month) = if at.month < 12 {
        (at.year, at.month + 1)
    } else {
        (at.year + 1, 1)
    };
    CivilMinute {
        year,
        month,
        day: 1,
        hour: 0,
        minute: 0,
    }
}

fn days_in_month(year: i32, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// The day of the week, 0 for Sunday (Sakamoto's method).
fn weekday(year: i32, month: u8, day: u8) -> u8 {
    const SHIFT: [i32; 12] = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4];
    let year = if month < 3 { year - 1 } else { year };
    let sum = year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    (sum + SHIFT[usize::from(month.clamp(1, 12)) - 1] + i32::from(day)).rem_euclid(7) as u8
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Cron {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cron {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> CivilMinute {
        let numbers: Vec<i32> = text
            .split(['-', ' ', ':'])
            .map(|n| n.parse().unwrap())
            .collect();
        let [year, month, day, hour, minute] = numbers[..] else {
            panic!("{text}")
        };
        CivilMinute {
            year,
            month: month as u8,
            day: day as u8,
            hour: hour as u8,
            minute: minute as u8,
        }
    }

    #[test]
    fn next_times() {
        for (cron, after, next) in [
            ("0 3 * * *", "2026-11-21 02:59", "2026-11-21 03:00"),
            ("0 3 * * *", "2026-11-21 03:00", "2026-11-22 03:00"),
            ("*/15 * * * *", "2026-11-21 10:07", "2026-11-21 10:15"),
            ("5/20 * * * *", "2026-11-21 10:46", "2026-11-21 11:05"),
            ("* * * * *", "2026-12-31 23:59", "2027-01-01 00:00"),
            ("0 0 29 2 *", "2026-11-21 00:00", "2028-02-29 00:00"),
            ("0 9 * * mon-fri", "2026-11-20 09:00", "2026-11-23 09:00"),
            ("0 9 * * 7", "2026-11-21 09:00", "2026-11-22 09:00"),
            ("0 0 13 * 5", "2026-11-21 00:00", "2026-11-27 00:00"),
            ("0 0 1,15 jan,JUL *", "2026-11-21 00:00", "2027-01-01 00:00"),
            ("0 0 */10 * mon", "2026-11-21 00:00", "2026-12-21 00:00"),
            ("@monthly", "2026-11-21 00:00", "2026-12-01 00:00"),
            ("@daily", "2024-02-28 00:00", "2024-02-29 00:00"),
        ] {
            assert_eq!(
                cron.parse::<Cron>().unwrap().next_after(at(after)),
                Some(at(next)),
                "{cron}"
            );
        }
    }

    #[test]
    fn wrong_ones_say_why() {
        for (text, part) in [
            ("", "found 0"),
            ("* * * *", "found 4"),
            ("* * * * * *", "found 6"),
            ("60 * * * *", "minute"),
            ("* 24 * * *", "hour"),
            ("* * 0 * *", "day of month"),
            ("* * * 13 *", "month"),
            ("* * * * 8", "day of week"),
            ("* * * * foo", "day of week"),
            ("5-1 * * * *", "backwards"),
            ("*/0 * * * *", "step"),
            ("1,,2 * * * *", "minute"),
            ("+1 * * * *", "minute"),
            ("0 0 31 2 *", "no such day"),
            ("@often", "short forms"),
        ] {
            let error = text.parse::<Cron>().unwrap_err();
            assert!(error.problem.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn weekdays_are_right() {
        assert_eq!(weekday(2026, 11, 21), 6);
        assert_eq!(weekday(2000, 1, 1), 6);
        assert_eq!(weekday(2024, 2, 29), 4);
    }
}
