//! The name that a client calls the server by. A page of the web can have its own name in the DNS turned to this machine (DNS
//! rebinding) and is then, for a browser, of the same origin as the server: what listens on the loopback interface answers to names
//! of that alone.

use std::net::IpAddr;

use axum::http::{HeaderMap, StatusCode, header};

use crate::app::App;
use crate::problem::Problem;

/// Why the server does not answer to the name that it is called by; `None` where it does.
pub(crate) fn refusal(app: &App, headers: &HeaderMap) -> Option<Problem> {
    // Browsers send it always.
    let host = headers.get(header::HOST)?;
    let name = without_port(host.to_str().unwrap_or_default());
    if is_answered(app, name) {
        return None;
    }
    let message = format!(
        "the server listens on this machine alone and does not answer to the name `{name}`: ask it by 127.0.0.1 or localhost, or \
         name it with `--allowed-host` if a proxy passes it on"
    );
    Some(Problem::new(StatusCode::FORBIDDEN, message).code("unknown_host"))
}

pub(crate) fn is_answered(app: &App, name: &str) -> bool {
    let settings = &app.settings;
    let is_named = |allowed: &String| allowed.eq_ignore_ascii_case(name);
    let is_origin = |origin: &String| {
        let host = origin.split_once("://").map(|(_, host)| without_port(host));
        // Whoever lets any page in has decided.
        origin == "*" || host.is_some_and(|host| host.eq_ignore_ascii_case(name))
    };
    !app.is_local
        || is_of_this_machine(name)
        || settings.allowed_hosts.iter().any(is_named)
        || settings.cors_origins.iter().any(is_origin)
}

/// An address, which no name in the DNS stands behind, or a name that is always this machine's.
fn is_of_this_machine(name: &str) -> bool {
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    address.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

/// `host`, `host:port`, `[address]:port`
pub(crate) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_are_told_from_others() {
        let is_ours = |host: &str| is_of_this_machine(without_port(host));
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "a.localhost:1",
            "127.0.0.1:80",
            "[::1]:80",
            "[::1]",
            "10.0.0.1",
        ] {
            assert!(is_ours(host), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example:80", "127.0.0.1.evil.example", "evil.example:localhost"]
        {
            assert!(!is_ours(host), "{host}");
        }
    }
}
