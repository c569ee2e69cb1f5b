//! Listens, accepts so many connections at a time, and speaks HTTP/1.1 on each until its client or the server stops, or until it is
//! idle and another one needs its place.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::app::App;
use crate::connection::WriteTimeout;
use crate::engine::THREADS;
use crate::head::MAX_HEAD_BYTES;
use crate::memory::{Memory, give_back};
use crate::metrics::Metrics;
use crate::places::{AnswerBody, Answering, Place, Places};
use crate::stage::{Stage, Stop, reached};
use crate::{Engine, Log, Settings, routes};

/// Connections that the system keeps until they are accepted; most systems keep no more.
const BACKLOG: i32 = 4096;
/// After the running answers were told that the server ends.
const FINAL_GRACE: Duration = Duration::from_secs(2);
/// After the system had no room for one more connection.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    #[error("cannot listen on {host}:{port}: {source}")]
    Listen { host: String, port: u16, source: io::Error },
    #[error("cannot start the server: {source}")]
    Start { source: io::Error },
}

/// A socket that listens; connections wait until [`Server::run`].
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    stages: watch::Sender<Stage>,
}

impl Server {
    /// Port 0 is any that is free.
    pub fn bind(host: &str, port: u16) -> Result<Self, Error> {
        let listen = || {
            let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
            let listener = TcpListener::bind(addresses.as_slice())?;
            // The standard library asks for 128.
            socket2::SockRef::from(&listener).listen(BACKLOG)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = listen().map_err(|source| Error::Listen { host: host.to_string(), port, source })?;
        Ok(Self { listener, address, stages: watch::Sender::new(Stage::Open) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What ends [`Server::run`].
    pub fn stop(&self) -> Stop {
        Stop(self.stages.clone())
    }

    /// Answers until it is stopped, and until the running answers have ended or were told.
    pub fn run(self, engine: Engine, settings: Settings, log: Log) -> Result<(), Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            // And one for the memory.
            .max_blocking_threads(THREADS + 1)
            .thread_name("http")
            .enable_all()
            .build()
            .map_err(|source| Error::Start { source })?;
        let ended = runtime.block_on(self.serve(engine, settings, log));
        // A thread that reads a text or renders a template is not waited for: whoever asked was told.
        runtime.shutdown_background();
        ended.map_err(|source| Error::Start { source })
    }

    async fn serve(self, engine: Engine, settings: Settings, log: Log) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let app = Arc::new(App {
            engine,
            log,
            metrics: Metrics::default(),
            memory: Memory::default(),
            stage: self.stages.subscribe(),
            is_local: self.address.ip().is_loopback(),
            settings,
        });
        let router = routes::router(app.clone());
        let places = Places::new(app.settings.max_connections);
        let mut connections = JoinSet::new();
        let mut stopping = self.stages.subscribe();
        let mut stop = pin!(reached(&mut stopping, Stage::Stopping));
        let mut given_back = pin!(give_back(&app));
        loop {
            // Whoever is there first, so that none leaves its place to nobody.
            let accept = async {
                let (stream, _) = listener.accept().await?;
                Ok::<_, io::Error>((stream, places.take().await))
            };
            let accepted = tokio::select! {
                accepted = accept => accepted,
                () = &mut stop => break,
                () = &mut given_back => continue,
            };
            match accepted {
                Ok((stream, place)) => {
                    let (router, app) = (router.clone(), app.clone());
                    connections.spawn(async move { serve_connection(stream, router, &app, place).await });
                }
                // Most likely there are no file descriptors left: those that end give some back.
                Err(_) => sleep(ACCEPT_RETRY).await,
            }
            while connections.try_join_next().is_some() {}
        }
        drop(listener);
        let ended = async { while connections.join_next().await.is_some() {} };
        if timeout(app.settings.grace, ended).await.is_err() {
            self.stages.send_replace(Stage::Ended);
            let told = async { while connections.join_next().await.is_some() {} };
            // Whoever does not even read that is left.
            let _ = timeout(FINAL_GRACE, told).await;
        }
        Ok(())
    }
}

/// Errors of a connection are not logged: its client is gone, or has broken the protocol.
async fn serve_connection(stream: TcpStream, router: Router, app: &App, place: Arc<Place>) {
    let limit = app.settings.client_timeout;
    // A token is sent when it is there.
    let _ = stream.set_nodelay(true);
    let router = TowerToHyperService::new(router);
    let held = place.clone();
    let answer = move |request: Request<Incoming>| {
        let answering = Answering::begin(held.clone());
        let answer = router.call(request);
        async move { answer.await.map(|response| response.map(|body| AnswerBody::new(body, answering))) }
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limit)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(WriteTimeout::new(stream, limit, place.clone())), service_fn(answer));
    let mut connection = pin!(connection);
    let mut stage = app.stage.clone();
    let mut stop = pin!(reached(&mut stage, Stage::Stopping));
    loop {
        tokio::select! {
            // First what has come: with a request it is not idle.
            biased;
            _ = connection.as_mut() => return,
            () = &mut stop => break,
            () = place.is_needed() => if place.leaves() { break },
        }
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
