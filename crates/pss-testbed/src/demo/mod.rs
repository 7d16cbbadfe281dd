//! `make demo`: real flights into twin tables, one placed by pss and one by native hash, live.
//!
//! Two days to learn, two that are scored by the server's own counters, beside simulated rivals
//! that got the same rows and the same foreign load. Partitions of one server share its
//! processors and its log: the demo shows placement, not speed, and must say so.

pub mod counters;
pub mod flights;
mod foreign;
mod picture;
pub mod player;
mod report;
mod screen;
pub mod simulate;
pub mod twins;

use std::io::IsTerminal;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;

use crate::paths;
use crate::runner::Session;
use crate::server::{Cluster, Options};
use counters::{Sampler, Window};
use flights::Stream;
use foreign::Foreign;
use player::Clock;
use report::Outcome;
use screen::Screen;
use twins::Leaves;

/// Partitions of each twin.
pub const PARTITIONS: usize = 8;

/// Days played.
const DAYS: u32 = 4;

/// Seconds that a day takes.
const SECONDS_A_DAY: f64 = 30.0;

/// Seconds of the whole play.
const SECONDS: f64 = DAYS as f64 * SECONDS_A_DAY;

/// Where the scored days begin: two days are for learning.
const SCORED_FROM: f64 = 2.0 * SECONDS_A_DAY;

/// Connections that write.
const WRITERS: usize = 3;

/// How to play.
#[derive(Args)]
pub struct Wishes {
    /// Play so many times, each time other days and another foreign load
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Leave the last cluster running until Ctrl-C
    #[arg(long)]
    keep: bool,
}

/// What is played: rows and foreign load.
struct Play {
    /// First of its days, 0 = January 1st 2013.
    first_day: u32,
    stream: Stream,
    foreign: Foreign,
}

impl Play {
    /// The play of one run; each has other days and another foreign load.
    fn of_run(run: u32) -> Result<Self> {
        let file = paths::repository().join("tests/data/flights.csv.gz");
        let first_day = (run * 17 + 1) % (flights::DAYS - DAYS);
        let mut stream = flights::load(&file, first_day, DAYS, SECONDS_A_DAY)?;
        stream.events.retain(|event| event.at < SECONDS);
        let own = stream.events.len() as f64;
        let foreign = foreign::foreign_load(u64::from(run), SECONDS as usize, SECONDS_A_DAY, own);
        Ok(Self { first_day, stream, foreign })
    }
}

/// Plays, reports, and leaves `demo.svg` and `demo.json` in the build directory.
pub fn demo(session: &Session, wishes: &Wishes) -> Result<()> {
    println!(
        "Flights of {DAYS} days, a day in {SECONDS_A_DAY} s, into flights_pss and flights_hash, \
         {PARTITIONS} partitions each, on PostgreSQL {}.\n\
         Days 1 and 2 are for learning, days 3 and 4 are scored. All partitions are on one server \
         and share its processors: this shows placement, not speed.\n",
        session.pg.version
    );
    let mut outcomes = Vec::new();
    for run in 1..=wishes.runs {
        let play = Play::of_run(run)?;
        let cluster = start_cluster(session)?;
        let outcome = play_once(&cluster, &play, run, wishes.runs)?;
        outcome.print();
        outcomes.push(outcome);
        if run == wishes.runs {
            report::finish(&outcomes)?;
            linger(&cluster, wishes.keep);
        }
    }
    ensure!(outcomes.iter().all(Outcome::is_sound), "pss_check() found something wrong");
    Ok(())
}

/// A second in the demo is what 10 s are elsewhere: sampling and deciding go with it.
fn start_cluster(session: &Session) -> Result<Cluster> {
    let options = Options::default()
        .set("pss.sample_interval", "1s")
        .set("pss.refresh_interval", "1s")
        .set("log_min_messages", "warning");
    Cluster::start(&session.tree, options)
}

fn play_once(cluster: &Cluster, play: &Play, run: u32, runs: u32) -> Result<Outcome> {
    let mut client = cluster.connect("postgres")?;
    let leaves = twins::create(&mut client)?;
    let mut screen = Screen::new(run, runs, play.first_day);
    let clock = Clock::start();
    let windows = play_rows(cluster, play, &leaves, &clock, &mut screen)
        .map_err(|e| e.context(format!("the server's log ends:\n{}", cluster.log_tail())))?;
    twins::verify(&mut client)?;
    let check = twins::check(&mut client)?;
    let crashes = cluster.crashes();
    ensure!(crashes.is_empty(), "the server crashed:\n{}", crashes.join("\n"));
    Ok(Outcome::new(run, play, windows, clock.greatest_delay(), check))
}

/// Lets writers and readers play, and watches them, a window each second.
fn play_rows(
    cluster: &Cluster,
    play: &Play,
    leaves: &Leaves,
    clock: &Clock,
    screen: &mut Screen,
) -> Result<Vec<Window>> {
    let mut sampler = Sampler::new(cluster.connect("postgres")?, leaves, clock.start);
    let mut connections = Vec::new();
    for _ in 0..WRITERS + leaves.len() {
        connections.push(cluster.connect("postgres")?);
    }
    let (stream, foreign) = (&play.stream, &play.foreign);
    std::thread::scope(|scope| {
        let mut players = Vec::new();
        for (i, client) in connections.into_iter().enumerate() {
            players.push(scope.spawn(move || {
                let done = match i.checked_sub(WRITERS) {
                    None => player::write(client, stream, clock, (i, WRITERS), SECONDS),
                    Some(twin) => player::read(client, &leaves[twin], foreign, clock, SECONDS),
                };
                if done.is_err() {
                    clock.stop.store(true, Ordering::Relaxed);
                }
                done
            }));
        }
        let watched = watch(&mut sampler, clock, screen);
        clock.stop.store(true, Ordering::Relaxed);
        for player in players {
            player.join().map_err(|_| anyhow!("a player panicked"))??;
        }
        watched
    })
}

/// Takes a window at every second of the play.
fn watch(sampler: &mut Sampler, clock: &Clock, screen: &mut Screen) -> Result<Vec<Window>> {
    let mut windows = Vec::new();
    sampler.window()?;
    for second in 1..=SECONDS as u32 {
        while clock.now() < f64::from(second) {
            if clock.stop.load(Ordering::Relaxed) {
                return Ok(windows);
            }
            let left = f64::from(second) - clock.now();
            std::thread::sleep(Duration::from_secs_f64(left.clamp(0.0, 0.1)));
        }
        windows.extend(sampler.window().context("read the server's counters")?);
        screen.show(&windows, clock.greatest_delay());
    }
    Ok(windows)
}

/// Says how to look at the tables, and lets the user do so.
fn linger(cluster: &Cluster, keep: bool) {
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if !keep && !terminal {
        println!("The cluster is stopped. KEEP=1 make demo leaves it running to look at.");
        return;
    }
    println!(
        "To look at it, in another terminal:\n  {}\n  \
         SELECT * FROM pss.partitions;  SELECT * FROM pss.stat_balance;  TABLE pss.events LIMIT 20;",
        cluster.psql_command()
    );
    if terminal {
        println!("Enter or Ctrl-C stops the cluster and removes it.");
        std::io::stdin().read_line(&mut String::new()).ok();
    } else {
        println!("An interrupt stops the cluster and removes it.");
        loop {
            std::thread::park();
        }
    }
}
