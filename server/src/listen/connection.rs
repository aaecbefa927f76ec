//! An accepted connection: its bytes, whose they are, and its place among the others.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::caller::{Caller, Peer};
use crate::limits::Place;

/// A connection whose peer is known.
pub(crate) struct Connection {
    stream: Stream,
    peer: Peer,
    patience: Patience,
    _places: (Place<()>, Place<Caller>),
}

/// How long a connection is waited for: until its first byte, and after its last request. gRPC's buffers live
/// as long as their connection and keep what was read into them, such as a private key that ocicrypt sent
/// along; once freed they are wiped.
struct Patience {
    timer: Pin<Box<Sleep>>,
    heard: bool,
    idle: Duration,
}

pub(crate) enum Stream {
    Unix(UnixStream),
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    pub(super) fn new(
        stream: Stream,
        peer: Peer,
        (first_byte, idle): (Duration, Duration),
        places: (Place<()>, Place<Caller>),
    ) -> Self {
        let patience = Patience { timer: Box::pin(tokio::time::sleep(first_byte)), heard: false, idle };
        Connection { stream, peer, patience, _places: places }
    }
}

impl Patience {
    fn heard(&mut self) {
        if !self.heard {
            self.heard = true;
            let first = Instant::now() + self.idle;
            self.timer.as_mut().reset(first.into());
        }
    }

    /// Ready when it is over: with an error where nothing ever came, else with the connection's end.
    fn poll(&mut self, context: &mut Context<'_>, peer: &Peer) -> Poll<io::Result<()>> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            if !self.heard {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            let now = Instant::now();
            let over = peer.last_request().unwrap_or(now) + self.idle;
            if over <= now {
                return Poll::Ready(Ok(()));
            }
            self.timer.as_mut().reset(over.into());
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let polled = match &mut this.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_read(context, into),
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, into),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, into),
        };
        if polled.is_pending() {
            return this.patience.poll(context, &this.peer);
        }
        this.patience.heard();
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Unix(stream) => stream.is_write_vectored(),
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_flush(context),
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
