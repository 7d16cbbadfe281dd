//! The planner's reasons in words.

use std::fmt::{self, Display, Formatter};

use super::{Reason, WORTH, Wait};

impl Display for Reason {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let percent = |part: f64| (part * 100.0).round();
        match *self {
            Reason::Pays { partition, excess } => write!(
                f,
                "standing excess: partition {partition} is {} % above the level",
                percent(excess)
            ),
            Reason::ShortHistory { observed_s, needed_s } => {
                write!(f, "too early to tell: {} of {} observed", Span(observed_s), Span(needed_s))
            }
            Reason::NoLoad => f.write_str("there is no load to level"),
            Reason::Level { excess } => write!(
                f,
                "standing excess below {} %: no partition is more than {} % above the level",
                percent(WORTH),
                percent(excess.max(0.0)),
            ),
            Reason::Periodic { period_s, partition, below } => write!(
                f,
                "periodic load of {}: moving would not help: at the far side of the cycle partition \
                 {partition} is {} % below the level",
                Period(period_s),
                percent(below)
            ),
            Reason::Passing { partition, now, mean } => write!(
                f,
                "passing load: partition {partition} is {} % above the level now, {} % on average",
                percent(now),
                percent(mean)
            ),
            Reason::Recent { partition, window_s } => write!(
                f,
                "not standing yet: partition {partition} was not above the level in both halves \
                 of the last {}",
                Span(window_s)
            ),
            Reason::Decays { partition, within_s } => write!(
                f,
                "the excess of partition {partition} will decay by itself in {}",
                Span(within_s)
            ),
            Reason::Dear { partition, payback_s, quarter_s } => write!(
                f,
                "moving keys of partition {partition} would not pay: pay-back {} is above a \
                 quarter of the remaining life, {}",
                Span(payback_s),
                Span(quarter_s)
            ),
            Reason::NoRoom { partition } => write!(
                f,
                "no other partition on this server has room for keys of partition {partition}"
            ),
            Reason::Indivisible { partition } => write!(
                f,
                "the excess of partition {partition} does not go with keys that could be moved: \
                 one key brings more than that, or it is no key's load"
            ),
        }
    }
}

impl Display for Wait {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wait::Source => "the source is at a peak of its load",
            Wait::Destination => "the destination is above the level now",
        })
    }
}

/// A period in seconds: in seconds, unless it is very long.
struct Period(f64);

impl Display for Period {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0 < 7200.0 { write!(f, "{:.0} s", self.0) } else { Span(self.0).fmt(f) }
    }
}

/// A time in seconds, in the unit that suits it.
struct Span(f64);

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            s if s < 120.0 => write!(f, "{s:.0} s"),
            s if s < 7200.0 => write!(f, "{:.0} min", s / 60.0),
            s if s < 172_800.0 => write!(f, "{:.1} h", s / 3600.0),
            s if s.is_finite() => write!(f, "{:.1} days", s / 86_400.0),
            _ => f.write_str("no time"),
        }
    }
}
