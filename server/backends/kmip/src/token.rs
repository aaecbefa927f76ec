//! One `[[token]]` of the configuration, shared by the workers of its pool.

use std::sync::Arc;
use std::time::Duration;

use holdfast_custody::{Custodian, Error, Keysmith};

use crate::address::Address;
use crate::client::Client;
use crate::cluster::Cluster;
use crate::connection::Connection;
use crate::keysmith::Smith;
use crate::stream::{Patience, Stream};
use crate::tls::{Files, Tls};

/// The longest that one address may take to accept a connection.
const LONGEST_CONNECT: Duration = Duration::from_secs(2);

/// The way to one KMIP server, or to a cluster of them that holds the same keys.
#[derive(Clone)]
pub struct Token(Arc<Shared>);

/// What all connections share.
pub(crate) struct Shared {
    cluster: Cluster,
    tls: Tls,
    patience: Patience,
}

impl Token {
    /// Nothing is read or asked yet. `patience` is for one answer; for a connection it is a third of that, 2 s at most.
    pub fn new(addresses: Vec<Address>, files: Files, patience: Duration) -> Token {
        let patience = Patience { connect: (patience / 3).min(LONGEST_CONNECT), answer: patience };
        Token(Arc::new(Shared { cluster: Cluster::new(addresses), tls: Tls::new(files), patience }))
    }

    /// A new connection: to the first address that answers.
    pub fn connect(&self) -> Result<Box<dyn Custodian>, Error> {
        Ok(Box::new(self.open()?))
    }

    /// A connection that makes keys.
    pub fn keysmith(&self) -> Result<Box<dyn Keysmith>, Error> {
        Ok(Box::new(Smith::new(self.open()?)))
    }

    fn open(&self) -> Result<Connection, Error> {
        // What is wrong with the files is no fault of an address.
        let config = self.0.tls.config()?;
        self.0.cluster.connect(|address| {
            let client = Client::new(Stream::open(address, config.clone(), self.0.patience)?)?;
            tracing::debug!(%address, version = %client.version, vendor = client.vendor, "connected");
            Ok(Connection::new(self.0.clone(), client, address.to_string()))
        })
    }
}

impl Shared {
    /// Whether an address that failed answers again, so that the next connection goes to the first that does.
    pub(crate) fn look_again(&self) {
        // The worker that looks has nothing to do, but may get something.
        let patience = Patience { answer: self.patience.connect, ..self.patience };
        self.cluster.look_again(|address| {
            let stream = self.tls.config().and_then(|config| Stream::open(address, config, patience));
            stream.and_then(Client::new).map(drop)
        });
    }
}
