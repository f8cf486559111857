//! Options that several commands share.

use std::path::PathBuf;
use std::time::Duration;

use chord::protocol::id::HashKind;
use chord::{Config, Endpoint, Expected, Interval, VirtualNodes};
use clap::Args;

use crate::cli::duration::parse_duration;
use crate::cli::{DEFAULT_CLIENT, Exit, read_password};
use crate::client::Client;

pub(super) const CREATE_EXAMPLES: &str = "\
Examples:
  chord-kv create --name n1 --listen quic://127.0.0.1:7001 --certs certs/n1
  chord-kv create --name n1 --listen zmq://127.0.0.1:7001 --client 127.0.0.1:6380
  chord-kv create --name n1 --listen quic://0.0.0.0:7001 --advertise quic://db1.example.org:7001 \\
                  --certs certs/n1 --client 0.0.0.0:6380 --password-file secret

The first SIGTERM or Ctrl-C lets the node hand its keys over and leave (at most 30 s); a second one, a tenth of a
second later or more, ends it at once.";

pub(super) const JOIN_EXAMPLES: &str = "\
Examples:
  chord-kv join --name n2 --listen quic://127.0.0.1:7002 --certs certs/n2 \\
                --known quic://n1@127.0.0.1:7001 --client 127.0.0.1:6381
  chord-kv join --name n3 --listen zmq://127.0.0.1:7003 --known zmq://127.0.0.1:7001,zmq://127.0.0.1:7002 \\
                --client 127.0.0.1:6382

Name, bits, hash and limits of the ring are taken over. Name, bits and hash that are given here are compared first: the
node takes no part in a ring that differs.";

/// Options of `create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Options of `join`.
#[derive(Debug, Args)]
pub struct JoinArgs {
    /// Endpoints of hosts of the ring, tried in turn.
    #[arg(long, value_name = "ENDPOINT", value_delimiter = ',', required = true)]
    pub known: Vec<Endpoint>,
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Options of a node.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// The host's name, unique in the ring: letters, digits, '-' and '_'.
    #[arg(long)]
    pub name: String,
    /// Where other hosts reach this one: quic://HOST:PORT or zmq://HOST:PORT.
    #[arg(long, value_name = "ENDPOINT")]
    pub listen: Endpoint,
    /// What other hosts are told to dial, when that is not where this one listens.
    #[arg(long, value_name = "ENDPOINT")]
    pub advertise: Option<Endpoint>,
    /// Where clients of the Redis protocol connect.
    #[arg(long, value_name = "HOST:PORT", default_value = DEFAULT_CLIENT)]
    pub client: String,
    /// The ring's name, for people to read [default: chord].
    #[arg(long, value_name = "NAME")]
    pub ring: Option<String>,
    /// Hosts that hold each key; only 1 so far.
    #[arg(long, value_name = "R", default_value_t = 1)]
    pub replicas: usize,
    /// Places the host takes on the circle [default: 8].
    #[arg(long, value_name = "V", conflicts_with = "virtual_node")]
    pub virtual_nodes: Option<usize>,
    /// One place with an id of your choice, decimal or 0x-hex; may be repeated. For teaching.
    #[arg(long, value_name = "NAME:ID")]
    pub virtual_node: Vec<String>,
    /// Bits of an id, 1 to 160 [default: 160].
    #[arg(long, value_name = "M")]
    pub bits: Option<u16>,
    /// The hash that makes ids: sha1, blake3, xxh3 or md5 [default: sha1].
    #[arg(long, value_name = "H")]
    pub hash: Option<HashKind>,
    /// Longest pause between rounds of stabilisation; shorter after a change [default: 5s].
    #[arg(long, value_name = "D", value_parser = parse_duration)]
    pub stabilize_interval: Option<Duration>,
    /// Longest pause between rounds of finger repair; shorter after a change [default: 10s].
    #[arg(long, value_name = "D", value_parser = parse_duration)]
    pub fix_fingers_interval: Option<Duration>,
    /// Directory with ca.crt, node.crt and node.key (see `chord-kv certs`); quic:// needs it.
    #[arg(long, value_name = "DIR")]
    pub certs: Option<PathBuf>,
    /// Allows zmq:// beyond loopback: whoever reaches it can read and write everything.
    #[arg(long)]
    pub trusted_network: bool,
    /// File whose first line clients must give as password; needed when --client is not loopback.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Most client connections at once; further ones are refused.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = at_least_one)]
    pub max_clients: usize,
    /// Most MiB that all client connections together hold in requests and replies under way.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub client_memory: usize,
    /// Most MiB of replies that one client connection holds, and so of the values of one MGET.
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    pub reply_memory: usize,
    /// Where to log; standard error without it. RUST_LOG chooses what (default: info).
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// Logs one JSON object a line.
    #[arg(long)]
    pub log_json: bool,
}

impl NodeArgs {
    /// The engine's configuration for a node that creates a ring.
    ///
    /// # Errors
    /// [`Exit::Usage`] with the first option that does not fit.
    pub fn creating(&self) -> Result<Config, Exit> {
        self.config(self.bits)
    }

    /// The engine's configuration for a node that joins a ring, of which it expects what is given here.
    ///
    /// # Errors
    /// [`Exit::Usage`] with the first option that does not fit.
    pub fn joining(&self) -> Result<Config, Exit> {
        // The ring has at most as many bits as its hash.
        let mut config = self.config(self.bits.or(self.hash.map(HashKind::bits)))?;
        config.expected = Expected { ring_name: self.ring.clone(), bits: self.bits, hash: self.hash };
        Ok(config)
    }

    fn config(&self, bits: Option<u16>) -> Result<Config, Exit> {
        let mut config = Config::named(&self.name);
        config.replicas = self.replicas;
        if let Some(ring) = &self.ring {
            config.ring_name.clone_from(ring);
        }
        config.bits = bits.unwrap_or(config.bits);
        config.hash = self.hash.unwrap_or(config.hash);
        if let Some(ceiling) = self.stabilize_interval {
            config.stabilize = Interval::new(config.stabilize.floor.min(ceiling), ceiling);
        }
        if let Some(ceiling) = self.fix_fingers_interval {
            config.fix_fingers = Interval::new(config.fix_fingers.floor.min(ceiling), ceiling);
        }
        if let Some(count) = self.virtual_nodes {
            config.virtual_nodes = VirtualNodes::Count(count);
        }
        if !self.virtual_node.is_empty() {
            config.virtual_nodes = self.explicit_virtual_nodes(&config)?;
        }
        config.validate()?;
        Ok(config)
    }

    fn explicit_virtual_nodes(&self, config: &Config) -> Result<VirtualNodes, Exit> {
        let space = chord::protocol::id::IdSpace::new(config.bits, config.hash)
            .map_err(|error| Exit::Usage(error.to_string()))?;
        let parse = |text: &String| {
            let (label, id) = text
                .rsplit_once(':')
                .ok_or_else(|| Exit::Usage(format!("--virtual-node {text}: expected NAME:ID")))?;
            let id =
                space.parse(id).map_err(|reason| Exit::Usage(format!("--virtual-node {text}: {reason}")))?;
            Ok((label.to_owned(), id))
        };
        Ok(VirtualNodes::Explicit(self.virtual_node.iter().map(parse).collect::<Result<_, Exit>>()?))
    }
}

/// Options of the commands that ask a running node.
#[derive(Clone, Debug, Args)]
pub struct ClientArgs {
    /// The node's client port; for load, verify and bench several, used in parallel.
    #[arg(
        long,
        value_name = "HOST:PORT",
        value_delimiter = ',',
        default_value = DEFAULT_CLIENT,
        value_parser = host_and_port
    )]
    pub client: Vec<String>,
    /// File with the password; the variable CHORD_PASSWORD does as well.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

impl ClientArgs {
    /// The password, if there is one.
    ///
    /// # Errors
    /// [`Exit::Usage`] when its file cannot be read.
    pub fn password(&self) -> Result<Option<Vec<u8>>, Exit> {
        match &self.password_file {
            Some(path) => read_password(path).map(Some),
            None => Ok(std::env::var("CHORD_PASSWORD")
                .ok()
                .filter(|text| !text.is_empty())
                .map(String::into_bytes)),
        }
    }

    /// The node to ask.
    ///
    /// # Errors
    /// [`Exit::Usage`] when there is not exactly one.
    pub fn address(&self) -> Result<&str, Exit> {
        match self.client.as_slice() {
            [address] => Ok(address),
            _ => Err(Exit::Usage("this command asks one node: give --client one HOST:PORT".into())),
        }
    }

    /// A connection to the node to ask.
    ///
    /// # Errors
    /// [`Exit`] when there is none, or it does not let us in.
    pub async fn connect(&self) -> Result<Client, Exit> {
        let password = self.password()?;
        Ok(Client::connect(self.address()?, password.as_deref()).await?)
    }
}

/// A number of clients: with none there would be no port.
fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("expected at least 1".into()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}

/// An address to connect to; whether the host exists shows when it is dialled.
fn host_and_port(text: &str) -> Result<String, String> {
    let fits = |host: &str, port: &str| {
        let is_host =
            !host.is_empty() && (!host.contains(':') || host.starts_with('[') && host.ends_with(']'));
        is_host && port.parse::<u16>().is_ok()
    };
    match text.rsplit_once(':') {
        Some((host, port)) if fits(host, port) => Ok(text.to_owned()),
        _ => Err("expected HOST:PORT, for instance 127.0.0.1:6380 or [::1]:6380".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for text in ["127.0.0.1:6380", "db1.example.org:1", "[::1]:6380"] {
            assert_eq!(host_and_port(text).as_deref(), Ok(text));
        }
        for text in ["", "127.0.0.1", ":6380", "localhost:", "localhost:port", "localhost:65536", "::1"] {
            assert!(host_and_port(text).is_err(), "{text}");
        }
    }
}
