//! A throwaway cluster: start, stop, kill, restart, standby; reached by a private Unix socket.
//!
//! Must never outlive the process (drop and interrupt both stop it), listen on TCP unless asked,
//! or hide its log when something fails.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postgres::{Client, NoTls};
use tempfile::TempDir;

use super::{Tree, interrupt};
use crate::account::{clean_command, run};

/// The port only names the socket: each cluster has a directory of its own.
const PORT: u16 = 54_321;
/// Longest path of a Unix socket, without the terminating zero (sockaddr_un on Linux).
const SOCKET_PATH_MAX: usize = 107;
const PATIENCE: Duration = Duration::from_secs(120);

/// How a cluster is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Load pss at server start, as an installation should.
    pub preload: bool,
    /// Flush to disk, as only a test of an operating system crash needs.
    pub fsync: bool,
    /// Listen on this TCP port of the loopback interface.
    pub tcp_port: Option<u16>,
    /// Lines for postgresql.conf; later ones win.
    pub settings: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self { preload: true, fsync: false, tcp_port: None, settings: Vec::new() }
    }
}

impl Options {
    /// Adds a setting.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// How a server is brought down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Sessions are disconnected, a checkpoint is written.
    Fast,
    /// No checkpoint: the next start recovers.
    Immediate,
    /// SIGKILL to the postmaster; the others notice and go.
    Kill,
}

/// A running (or stopped) cluster. Dropping it stops the server and removes its files.
pub struct Cluster {
    tree: Arc<Tree>,
    options: Options,
    directory: TempDir,
    sockets: TempDir,
    server: Option<Child>,
}

impl Cluster {
    /// Makes a cluster in `tree` and starts it.
    pub fn start(tree: &Arc<Tree>, options: Options) -> Result<Self> {
        let cluster = Self::empty(tree, options)?;
        let template = tree.clusters().join("template");
        run(tree.account.command("cp").arg("-R").arg(template).arg(cluster.data()))?;
        cluster.running()
    }

    /// A streaming standby of this cluster, made by pg_basebackup and started.
    pub fn standby(&self) -> Result<Self> {
        let standby = Self::empty(&self.tree, self.options.clone())?;
        run(self
            .with_connection(self.tree.account.command(self.tree.program("pg_basebackup")))
            .args(["--checkpoint=fast", "--no-sync", "--write-recovery-conf", "--pgdata"])
            .arg(standby.data()))?;
        standby.running()
    }

    fn empty(tree: &Arc<Tree>, options: Options) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("c").tempdir_in(tree.clusters())?;
        tree.account.give(directory.path())?;
        let socket_name = format!("s/.s.PGSQL.{PORT}.lock");
        let fits = directory.path().as_os_str().len() + "/sXXXXXX".len() + socket_name.len()
            < SOCKET_PATH_MAX;
        let base = if fits { directory.path().to_path_buf() } else { PathBuf::from("/tmp") };
        let sockets = tempfile::Builder::new().prefix("s").tempdir_in(base)?;
        tree.account.give(sockets.path())?;
        Ok(Self { tree: Arc::clone(tree), options, directory, sockets, server: None })
    }

    fn running(mut self) -> Result<Self> {
        self.write_settings()?;
        self.start_again()?;
        Ok(self)
    }

    /// Starts a stopped cluster and waits until it accepts connections.
    pub fn start_again(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let child = self
            .tree
            .account
            .command(self.tree.program("postgres"))
            // Ctrl-C in the terminal is for the testbed, which then stops its servers in order.
            .process_group(0)
            .arg("-D")
            .arg(self.data())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start postgres")?;
        interrupt::register(child.id());
        self.server = Some(child);
        self.wait_until_ready()
    }

    /// Waits until a server that starts or recovers accepts connections.
    pub fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.connect("postgres").is_err() {
            let server = self.server.as_mut().context("the server does not run")?;
            if let Some(status) = server.try_wait()? {
                interrupt::forget(server.id());
                self.server = None;
                bail!("the server ended ({status}):\n{}", self.log_tail());
            }
            if Instant::now() > deadline {
                bail!("the server does not accept connections:\n{}", self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Brings the server down and waits until its processes are gone.
    pub fn stop(&mut self, how: Shutdown) -> Result<()> {
        let Some(mut child) = self.server.take() else { return Ok(()) };
        let signal = match how {
            Shutdown::Fast => Signal::SIGINT,
            Shutdown::Immediate => Signal::SIGQUIT,
            Shutdown::Kill => Signal::SIGKILL,
        };
        kill(Pid::from_raw(child.id().cast_signed()), signal).context("signal the postmaster")?;
        let deadline = Instant::now() + PATIENCE;
        let mut in_time = true;
        while child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                in_time = false;
                child.kill()?;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        interrupt::forget(child.id());
        if how == Shutdown::Kill {
            self.wait_for_orphans();
        }
        anyhow::ensure!(in_time, "the server did not stop in {PATIENCE:?}:\n{}", self.log_tail());
        Ok(())
    }

    /// Stops and starts.
    pub fn restart(&mut self, how: Shutdown) -> Result<()> {
        self.stop(how)?;
        self.start_again()
    }

    /// After SIGKILL of the postmaster its children live until they notice; a start would be
    /// refused while they hold the shared memory.
    fn wait_for_orphans(&self) {
        let data = self.data().to_string_lossy().into_owned();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && processes_in(&data) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGKILL to the postmaster, while others use the cluster; `restart` is for afterwards.
    pub fn kill_postmaster(&self) -> Result<()> {
        let server = self.server.as_ref().context("the server does not run")?;
        self.kill_process(server.id().cast_signed())
    }

    /// SIGKILL to a process of the server, by its pid.
    pub fn kill_process(&self, pid: i32) -> Result<()> {
        kill(Pid::from_raw(pid), Signal::SIGKILL).with_context(|| format!("kill process {pid}"))
    }

    /// Makes a standby a primary and waits until it accepts writes.
    pub fn promote(&self) -> Result<()> {
        let mut client = self.connect("postgres")?;
        client.execute("SELECT pg_promote(true, 60)", &[])?;
        Ok(())
    }

    /// Connects as the superuser.
    pub fn connect(&self, database: &str) -> Result<Client> {
        self.connect_as(database, "postgres")
    }

    /// Connects as `role`.
    pub fn connect_as(&self, database: &str, role: &str) -> Result<Client> {
        Ok(self.address().user(role).dbname(database).connect(NoTls)?)
    }

    /// Where it is reached, as the superuser: for who outlives its restarts.
    pub fn address(&self) -> postgres::Config {
        let mut config = postgres::Config::new();
        let sockets = self.sockets.path();
        config.host_path(sockets).port(self.port()).user("postgres").dbname("postgres");
        config
    }

    /// The socket it listens on.
    pub fn socket(&self) -> PathBuf {
        self.sockets.path().join(format!(".s.PGSQL.{}", self.port()))
    }

    /// Creates an empty database.
    pub fn create_database(&self, name: &str) -> Result<()> {
        self.connect("postgres")?.batch_execute(&format!("CREATE DATABASE \"{name}\""))?;
        Ok(())
    }

    /// Drops a database, which nobody but pss may be using.
    pub fn drop_database(&self, name: &str) -> Result<()> {
        self.connect("postgres")?.batch_execute(&format!("DROP DATABASE \"{name}\""))?;
        Ok(())
    }

    /// A client program of the server (psql, pg_dump, ...) set up to reach this cluster; it runs
    /// as the caller.
    pub fn client_program(&self, name: &str) -> Command {
        self.with_connection(clean_command(self.tree.pg.bindir.join(name)))
    }

    /// Whether the server comes with that client program.
    pub fn has_client_program(&self, name: &str) -> bool {
        self.tree.pg.bindir.join(name).is_file()
    }

    /// Puts this cluster's address into a command's environment.
    pub fn with_connection(&self, mut command: Command) -> Command {
        command
            .env("PGHOST", self.sockets.path())
            .env("PGPORT", self.port().to_string())
            .env("PGUSER", "postgres");
        command
    }

    /// A shell command that opens psql on this cluster.
    pub fn psql_command(&self) -> String {
        let psql = self.tree.pg.bindir.join("psql");
        let sockets = self.sockets.path();
        format!(
            "{} -h {} -p {} -U postgres postgres",
            psql.display(),
            sockets.display(),
            self.port()
        )
    }

    /// Port that names the socket (and nothing else, unless TCP was asked for).
    fn port(&self) -> u16 {
        self.options.tcp_port.unwrap_or(PORT)
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        std::fs::read(self.log_path())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Lines of the server's log that tell of a crash nobody asked for. Tests kill with SIGKILL,
    /// and nothing else does.
    pub fn crashes(&self) -> Vec<String> {
        let unexpected = |line: &&str| {
            line.contains("PANIC:")
                || line.contains("TRAP:")
                || (line.contains("was terminated by signal") && !line.contains("signal 9"))
        };
        self.log().lines().filter(unexpected).map(str::to_owned).collect()
    }

    /// The last lines of the server's log, for an error report.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Makes a directory of the server's account beside its data.
    pub fn make_directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.directory.path().join(name);
        std::fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        self.tree.account.give(&path)?;
        Ok(path)
    }

    /// Makes a path the server's account's.
    pub fn give(&self, path: &std::path::Path) -> Result<()> {
        self.tree.account.give(path)
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn write_settings(&self) -> Result<()> {
        let sockets = self.sockets.path().to_string_lossy();
        let port = self.port().to_string();
        let listen = if self.options.tcp_port.is_some() { "localhost" } else { "" };
        let mut lines: Vec<(&str, &str)> = vec![
            ("listen_addresses", listen),
            ("port", &port),
            ("unix_socket_directories", &sockets),
            ("max_prepared_transactions", "20"),
            ("log_line_prefix", "%m [%p] %q%d %a "),
            ("shared_buffers", "64MB"),
        ];
        if !self.options.fsync {
            lines.push(("fsync", "off"));
        }
        if self.options.preload {
            lines.push(("shared_preload_libraries", "pss"));
        }
        lines.extend(self.options.settings.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        // A standby's copy keeps the lines of its primary above; the last one counts.
        let mut file = File::options().append(true).open(self.data().join("postgresql.conf"))?;
        for (name, value) in lines {
            writeln!(file, "{name} = '{}'", value.replace('\'', "''"))?;
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.stop(Shutdown::Immediate).is_err() {
            eprintln!("a server in {} did not stop", self.directory.path().display());
        }
    }
}

/// Whether some process still runs in (has as its working directory) this data directory.
fn processes_in(data: &str) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| std::fs::read_link(entry.path().join("cwd")).ok())
        .any(|cwd| cwd.to_string_lossy() == data)
}
