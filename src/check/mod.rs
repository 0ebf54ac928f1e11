//! `nfweir check`: why does the probe see nothing, or too much?
//!
//! The rules of nftables ([`nft`]) and iptables ([`iptables`]) become one small model ([`ruleset`]), packets are followed
//! through it ([`trace`]), and with what there is to know of the host ([`situation`]) each function of [`findings`] says
//! what it finds.

pub mod condition;
pub mod departure;
pub mod devices;
pub mod finding;
pub mod findings;
pub mod hook;
pub mod iptables;
pub mod nft;
pub mod program;
pub mod ruleset;
pub mod situation;
pub mod trace;
mod value;

use crate::config::RunConfig;
use crate::logging::printable;
use finding::Finding;
use situation::Situation;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// How long programs have to tell of rules where somebody waits for that.
const PATIENCE: Duration = Duration::from_secs(30);
/// And where a probe waits to start.
const START_PATIENCE: Duration = Duration::from_secs(1);

/// Prints what it finds, and says whether anything is wrong.
pub fn check(config: &RunConfig) -> io::Result<bool> {
    let mut situation = Situation::read(Instant::now() + PATIENCE);
    situation.add_sockets(&config.capture);
    let found =
        [findings::unread(&situation), findings::misnamed_devices(config), findings::all(&situation, config)].concat();
    print(&found, &mut io::stdout())?;
    Ok(found.iter().any(|finding| !finding.is_note))
}

fn print(found: &[Finding], out: &mut impl Write) -> io::Result<()> {
    for Finding { what, mend, is_note } in found {
        let (kind, mark) = if *is_note { ("note", "if that matters") } else { ("wrong", "mend") };
        writeln!(out, "{kind}: {}\n  {mark}: {}", printable(what), printable(mend))?;
    }
    if found.iter().all(|finding| finding.is_note) {
        writeln!(out, "nothing is found wrong")?;
    }
    Ok(())
}

/// Logs what it finds before a probe starts, of what can be read at once. What the probe itself meets, it says itself.
pub fn warn(config: &RunConfig) {
    let situation = Situation::read(Instant::now() + START_PATIENCE);
    for finding in findings::all(&situation, config) {
        log::log!(if finding.is_note { log::Level::Info } else { log::Level::Warn }, "{finding}");
    }
}
