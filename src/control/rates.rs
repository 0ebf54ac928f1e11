//! How fast counters grow: sampled about once a second, for a minute.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::ops::AddAssign;
use std::time::{Duration, Instant};

/// Times over which rates are told.
const WINDOWS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60)];

/// What is sampled of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Packets that came.
    pub packets: u64,
    /// IP octets in flows.
    pub octets: u64,
    /// Packets that were lost in the kernel, or for lack of room in the table.
    pub lost_packets: u64,
}

/// A second's worth, on average.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Packets that came.
    pub packets: f64,
    /// IP octets in flows.
    pub octets: f64,
    /// Packets that were lost in the kernel, or for lack of room in the table.
    pub lost_packets: f64,
}

impl AddAssign for Rate {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.octets += other.octets;
        self.lost_packets += other.lost_packets;
    }
}

/// Averages over the latest times, or since the beginning if that is less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Of a second.
    pub last_second: Rate,
    /// Of ten.
    pub last_10_seconds: Rate,
    /// Of sixty.
    pub last_minute: Rate,
}

impl AddAssign for Rates {
    fn add_assign(&mut self, other: Self) {
        self.last_second += other.last_second;
        self.last_10_seconds += other.last_10_seconds;
        self.last_minute += other.last_minute;
    }
}

/// The samples of all groups.
#[derive(Debug, Default)]
pub struct Sampler(VecDeque<(Instant, Vec<Sample>)>);

impl Sampler {
    /// Remembers what the groups had come to at `now`.
    pub fn take(&mut self, now: Instant, groups: Vec<Sample>) {
        self.0.push_back((now, groups));
        let [.., longest] = WINDOWS;
        // one that is older is where the longest time begins
        while self.0.get(1).is_some_and(|(time, _)| now.duration_since(*time) >= longest) {
            self.0.pop_front();
        }
    }

    /// The rates of one group, by its place.
    pub fn rates(&self, group: usize) -> Rates {
        let [last_second, last_10_seconds, last_minute] = WINDOWS.map(|window| self.rate(group, window));
        Rates { last_second, last_10_seconds, last_minute }
    }

    fn rate(&self, group: usize, window: Duration) -> Rate {
        let Some((latest, now)) = self.0.back() else { return Rate::default() };
        let begins = |(time, _): &&(Instant, Vec<Sample>)| latest.duration_since(*time) >= window;
        let Some((then, before)) = self.0.iter().rev().find(begins).or(self.0.front()) else { return Rate::default() };
        let seconds = latest.duration_since(*then).as_secs_f64();
        let (Some(before), Some(now), true) = (before.get(group), now.get(group), seconds > 0.0) else {
            return Rate::default();
        };
        let rate = |count: fn(&Sample) -> u64| count(now).saturating_sub(count(before)) as f64 / seconds;
        Rate {
            packets: rate(|sample| sample.packets),
            octets: rate(|sample| sample.octets),
            lost_packets: rate(|sample| sample.lost_packets),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_averages_over_their_times() {
        let (mut sampler, begin) = (Sampler::default(), Instant::now());
        assert_eq!(sampler.rates(0), Rates::default());
        // a packet of 100 octets each second, and from second 60 on ten of them
        for second in 0..=65 {
            let packets = second + 9 * u64::saturating_sub(second, 60);
            let sample = Sample { packets, octets: 100 * packets, lost_packets: packets / 10 };
            sampler.take(begin + Duration::from_secs(second), vec![Sample::default(), sample]);
        }
        let rates = sampler.rates(1);
        assert_eq!(rates.last_second, Rate { packets: 10.0, octets: 1000.0, lost_packets: 1.0 });
        assert_eq!(rates.last_10_seconds.packets, 5.5);
        assert_eq!(rates.last_minute.packets, 105.0 / 60.0);
        assert_eq!(sampler.0.len(), 61);
        assert_eq!([sampler.rates(0), sampler.rates(2)], [Rates::default(); 2]);
    }

    #[test]
    fn in_the_beginning_they_are_over_what_there_is() {
        let (mut sampler, begin) = (Sampler::default(), Instant::now());
        let sample = |packets| vec![Sample { packets, ..Sample::default() }];
        sampler.take(begin, sample(0));
        assert_eq!(sampler.rates(0), Rates::default());
        sampler.take(begin + Duration::from_millis(500), sample(50));
        assert_eq!(sampler.rates(0).last_minute.packets, 100.0);
    }
}
