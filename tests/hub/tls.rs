//! Whom the Hub's client trusts: a server whose certificate no root vouches for is told nothing, and a token goes over no network as
//! it stands.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::spawn;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::hub::{BERT, predict, served};
use crate::project::Project;

/// Of 127.0.0.1 and `localhost`, from 2020 to 2120, signed by itself: made by `openssl ca -selfsign` for these tests.
const CERTIFICATE: &[u8] = include_bytes!("../fixtures/tls/certificate.der");
const KEY: &[u8] = include_bytes!("../fixtures/tls/key.der");

/// A server that answers over TLS, with that certificate.
struct Stranger {
    address: SocketAddr,
    /// What it has been told in confidence.
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Stranger {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(KEY));
        let config = ServerConfig::builder().with_no_client_auth();
        let config = Arc::new(config.with_single_cert(vec![CertificateDer::from(CERTIFICATE)], key).unwrap());
        let stranger = Self { address: listener.local_addr().unwrap(), heard: Arc::default() };
        let heard = stranger.heard.clone();
        spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
                let mut bytes = [0; 4096];
                // A client that does not trust it says so and goes.
                let Ok(count) = stream.read(&mut bytes) else { continue };
                heard.lock().unwrap().extend(&bytes[..count]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}");
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        });
        stranger
    }

    fn heard(&self) -> String {
        String::from_utf8(self.heard.lock().unwrap().clone()).unwrap()
    }

    /// What a client hears that trusts its certificate.
    fn ask_as_a_friend(&self) -> String {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(CERTIFICATE)).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let mut stream = StreamOwned::new(connection, TcpStream::connect(self.address).unwrap());
        stream.write_all(b"GET /friend HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

#[test]
fn a_server_that_nobody_vouches_for_is_refused_before_anything_is_asked_of_it() {
    let stranger = Stranger::start();
    for host in ["127.0.0.1", "localhost"] {
        let endpoint = format!("https://{host}:{}", stranger.address.port());
        let project = Project::with_adapter()
            .env("HF_HUB_OFFLINE", "0")
            .env("HF_ENDPOINT", &endpoint)
            .env("HF_TOKEN", "hf_secret")
            // Variables by which other programs can be told whom to trust.
            .env("SSL_CERT_FILE", concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/tls/certificate.der"))
            .env("HF_HUB_DISABLE_SSL_VERIFY", "1")
            .env("CURL_CA_BUNDLE", "");
        let ran = predict(&project, BERT);
        let expected = format!(
            "error: the certificate of {endpoint} is not trusted: UnknownIssuer\n\
             help: another server may answer in its place, as where a network inspects its traffic. The roots of trust are \
             Mozilla's, which are part of kindling; others cannot be added. Fetch the model with another program, and name its \
             directory"
        );
        ran.failed(&expected);
    }
    assert_eq!(stranger.heard(), "");
    // Nothing else is wrong with it.
    assert!(stranger.ask_as_a_friend().ends_with("\r\n\r\n{}"));
    assert_eq!(stranger.heard(), "GET /friend HTTP/1.1\r\n\r\n");
}

/// On Linux 0.0.0.0 leads to this machine, but nothing says so: it is no loopback address.
#[cfg(target_os = "linux")]
#[test]
fn a_token_is_not_sent_to_another_machine_as_it_stands() {
    let (server, project) = served();
    let elsewhere = server.endpoint().replace("127.0.0.1", "0.0.0.0");
    let project = project.env("HF_TOKEN", "hf_secret").env("NO_PROXY", "0.0.0.0").env("HF_ENDPOINT", &elsewhere);
    predict(&project, BERT).done();
    let requests = server.requests();
    assert!(requests.len() > 3 && requests.iter().all(|request| request.authorization.is_none()), "{requests:?}");
    predict(&project, "kindling/private").refused(&format!(
        "error: `kindling/private` is neither a directory here nor a repository at {elsewhere}\n\
         help: check the spelling; the token is not sent to {elsewhere}, where it could be read on the way: set HF_ENDPOINT to \
         an https address"
    ));
}
