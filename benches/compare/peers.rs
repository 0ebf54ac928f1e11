//! The programs that are compared, each told to read group 5 or `recv0`, and to export IPFIX to 127.0.0.1:9995.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Seconds until a flow ends, and until one that goes on is exported.
pub const INACTIVE: u32 = 5;
pub const ACTIVE: u32 = 10;

/// Nothing reads, and no rule logs; null only counts.
pub const NAMES: [&str; 5] = ["nothing", "null", "nfweir", "softflowd", "uacctd"];

/// The command of a program, with `folder` for its files; and what it says when it is ready, if it says so.
pub fn command(name: &str, folder: &Path) -> (Command, Option<&'static str>) {
    match name {
        "nothing" => (split("sleep 1000"), None),
        "null" => (split(&format!("{} null", env::current_exe().unwrap().display())), Some("ready")),
        "nfweir" => {
            let timeouts = format!("--inactive-timeout {INACTIVE}s --active-timeout {ACTIVE}s");
            let nfweir = env!("CARGO_BIN_EXE_nfweir");
            (split(&format!("{nfweir} run -g 5 -e ipfix://127.0.0.1:9995 {timeouts}")), Some("receiving NFLOG group"))
        }
        "softflowd" => (split(&format!("softflowd -d -i recv0 {}", softflowd_options())), None),
        "uacctd" => {
            let file = folder.join("uacctd.conf");
            fs::write(&file, uacctd_configuration()).unwrap();
            (split(&format!("uacctd -f {}", file.display())), None)
        }
        _ => unreachable!("one of NAMES"),
    }
}

pub fn split(command: &str) -> Command {
    let mut words = command.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command
}

pub fn softflowd_options() -> String {
    let timeouts = ["general", "tcp", "udp"].map(|which| format!("-t {which}={INACTIVE}")).join(" ");
    format!("-n 127.0.0.1:9995 -v 10 -m 2000000 {timeouts} -t maxlife={ACTIVE} -t expint=1")
}

fn uacctd_configuration() -> String {
    let timeouts = ["tcp", "udp", "tcp.rst", "tcp.fin", "general"].map(|which| format!("{which}={INACTIVE}")).join(":");
    format!(
        "daemonize: false\n\
         uacctd_group: 5\n\
         uacctd_nl_size: 33554432\n\
         uacctd_threshold: 64\n\
         snaplen: 128\n\
         plugin_buffer_size: 1024000\n\
         plugin_pipe_size: 102400000\n\
         plugins: nfprobe[a]\n\
         aggregate[a]: src_host, dst_host, src_port, dst_port, proto, tos\n\
         nfprobe_receiver[a]: 127.0.0.1:9995\n\
         nfprobe_version[a]: 10\n\
         nfprobe_maxflows[a]: 1000000\n\
         nfprobe_timeouts[a]: {timeouts}:maxlife={ACTIVE}:expint=1\n"
    )
}
