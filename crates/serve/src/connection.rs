//! A connection that ends where its client does not read: a write without progress times out. After it is closed it is read for
//! a moment (a lingering close), so that a client which was still sending finds the answer and not a reset. Its place is told what
//! comes and when all is sent.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::places::Place;

/// How long, and for how many bytes, a closed connection is read on.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 << 20;

#[derive(Debug)]
pub(crate) struct WriteTimeout<S> {
    stream: S,
    place: Arc<Place>,
    limit: Duration,
    /// Until which the write that waits must have made progress.
    write: Pin<Box<Sleep>>,
    is_waiting: bool,
    /// Until when a closed connection is read on, and how much of it is left.
    linger: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S> WriteTimeout<S> {
    pub(crate) fn new(stream: S, limit: Duration, place: Arc<Place>) -> Self {
        Self { stream, place, limit, write: Box::pin(sleep(limit)), is_waiting: false, linger: None }
    }

    /// The result of a write, or an error where it has waited too long.
    fn timed<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.is_waiting = false;
            return polled;
        }
        if !self.is_waiting {
            self.is_waiting = true;
            self.write.as_mut().reset(Instant::now() + self.limit);
        }
        match self.write.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = pin!(&mut this.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            this.place.received();
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = pin!(&mut this.stream).poll_write(context, bytes);
        this.timed(context, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = pin!(&mut this.stream).poll_write_vectored(context, bytes);
        this.timed(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = pin!(&mut this.stream).poll_flush(context);
        if matches!(polled, Poll::Ready(Ok(()))) {
            this.place.sent();
        }
        this.timed(context, polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(pin!(&mut this.stream).poll_shutdown(context))?;
        }
        if this.place.is_leaving() {
            return Poll::Ready(Ok(()));
        }
        let (until, left) = this.linger.get_or_insert_with(|| (Box::pin(sleep(LINGER)), LINGER_BYTES));
        let mut space = [0; 1 << 14];
        while *left > 0 && until.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut space);
            match ready!(pin!(&mut this.stream).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => *left = left.saturating_sub(buffer.filled().len()),
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
